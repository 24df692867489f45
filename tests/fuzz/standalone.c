/*
 * standalone.c - run a fuzz target over files, without libFuzzer: corpora as ordinary tests.
 *
 * Each argument is a file or a folder of files; a folder that does not exist is an error.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int n_inputs;

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    uint8_t *data = NULL; /* grows to exactly the file's size: the end is watched by ASan */
    size_t size = 0, n;
    uint8_t part[65536];
    while ((n = fread(part, 1, sizeof part, f)) > 0) {
        uint8_t *more = realloc(data, size + n);
        if (!more)
            break;
        data = more;
        memcpy(data + size, part, n);
        size += n;
    }
    int failed = !feof(f) || ferror(f);
    fclose(f);
    if (failed)
        fprintf(stderr, "%s: can't be read\n", path);
    else
        LLVMFuzzerTestOneInput(data, size);
    free(data);
    n_inputs++;
    return failed;
}

static int run(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return run_file(path);
    int failed = 0;
    for (struct dirent *e; (e = readdir(d));) {
        char name[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        failed |= run_file(name);
    }
    closedir(d);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= run(argv[i]);
    printf("%d inputs\n", n_inputs);
    return failed || n_inputs == 0;
}
