/*
 * cache.c - a MODEL that is no .slm file is converted once, into $XDG_CACHE_HOME/slm or
 * ~/.cache/slm.
 *
 * The name there tells what it was made from: NAME-PATH-STATE.slm, where PATH is a hash of the
 * absolute path and STATE one of the sizes and times of the source's files and of this version. So
 * a changed source is converted anew, and what was made from its old state is removed. What does
 * not open is made anew, too.
 */
#include "engine.h"
#include "terminal.h"

#include <slm/convert.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* FNV-1a (Fowler, Noll, Vo), 64 bits: names, no secrets. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#define HASH_START UINT64_C(0xcbf29ce484222325)

static uint64_t hash_file_state(uint64_t hash, const struct stat *st)
{
    const int64_t state[3] = {st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec};
    return hash_bytes(hash, state, sizeof state);
}

/* All files of a directory (not of its folders); the sum does not depend on their order. */
static uint64_t hash_directory_state(const char *path)
{
    uint64_t sum = 0;
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct stat st;
        if (fstatat(dirfd(directory), entry->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode))
            continue;
        uint64_t hash = hash_bytes(HASH_START, entry->d_name, strlen(entry->d_name));
        sum += hash_file_state(hash, &st);
    }
    if (directory)
        closedir(directory);
    return sum;
}

static uint64_t hash_source_state(const char *path, const struct stat *st)
{
    uint64_t hash = hash_bytes(HASH_START, SLM_VERSION_STRING, strlen(SLM_VERSION_STRING));
    if (!S_ISDIR(st->st_mode))
        return hash_file_state(hash, st);
    uint64_t files = hash_directory_state(path);
    return hash_bytes(hash, &files, sizeof files);
}

/* Make the folder and those above it, as far as they are missing. 0, or the errno of the first that
 * could neither be made nor stands there. */
static int make_folders(char *path)
{
    for (char *p = path + 1;; p++) {
        char end = *p;
        if (end != '/' && end != '\0')
            continue;
        *p = '\0';
        struct stat st;
        int code = mkdir(path, 0777) == 0 ? 0 : errno;
        if (code != 0 && stat(path, &st) == 0)
            code = 0;
        *p = end;
        if (code != 0 || end == '\0')
            return code;
    }
}

/* The cache's folder, made if need be. */
static int cache_folder(char folder[PATH_MAX])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;
    if (cache && *cache == '/')
        n = snprintf(folder, PATH_MAX, "%s/slm", cache);
    else if (home && *home == '/')
        n = snprintf(folder, PATH_MAX, "%s/.cache/slm", home);
    else
        return cli_fail("there is no place for a converted model: set HOME or XDG_CACHE_HOME, or "
                        "run 'slm convert' and give the .slm file");
    if (n >= PATH_MAX)
        return cli_fail("the path of the cache is too long: %s", cache ? cache : home);
    int code = make_folders(folder);
    if (code != 0)
        return cli_fail(
            "%s can't be made: %s; set XDG_CACHE_HOME to another place, or run 'slm convert' and "
            "give the .slm file",
            folder, strerror(code));
    return CLI_OK;
}

/* The last part of a path without its extension, cut to a sane length. */
static void stem_of(const char *path, char stem[64])
{
    const char *name = strrchr(path, '/');
    snprintf(stem, 64, "%.63s", name ? name + 1 : path);
    char *dot = strrchr(stem, '.');
    if (dot && dot != stem)
        *dot = '\0';
}

/* Was it begun a day ago or more, and never finished? */
static bool is_abandoned(int folder, const char *name)
{
    struct stat st;
    return strstr(name, ".slm.tmp") && fstatat(folder, name, &st, 0) == 0 &&
           st.st_mtim.tv_sec < time(NULL) - 24 * 60 * 60;
}

/* Remove what was made from the same path in another state: NAME-PATH-*.slm but `keep`. And what a
 * conversion left there that was killed. */
static void remove_old(const char *folder, const char *prefix, const char *keep)
{
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        size_t n = strlen(entry->d_name);
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        bool old =
            n > 4 && strcmp(entry->d_name + n - 4, ".slm") == 0 && strcmp(entry->d_name, keep) != 0;
        if (old || is_abandoned(dirfd(directory), entry->d_name))
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    if (directory)
        closedir(directory);
}

/* Does a message begin with this path, which it is about? */
static bool is_about(const char *message, const char *path)
{
    size_t n = strlen(path);
    return strncmp(message, path, n) == 0 && strncmp(message + n, ": ", 2) == 0;
}

static int convert_into_cache(const char *source, const char *path, bool vocabulary)
{
    cli_catch_signals(NULL); /* a half file would stay for ever: nobody looks into a cache */
    if (!vocabulary)         /* that takes no time worth a line */
        cli_note("converting %s once, into %s", source, path);
    struct cli_progress progress = {.label = "converting"};
    const slm_convert_options options = {
        .size = sizeof options,
        .progress = cli_progress_or_stop,
        .progress_user = &progress,
        .vocabulary = vocabulary,
    };
    int code = slm_convert(source, path, &options);
    if (code == SLM_OK &&
        cli_interrupted()) /* too late for the conversion, and meant for what follows */
        code = SLM_EINTR;
    cli_release_interrupt();
    cli_progress_end(&progress);
    if (code == SLM_EINTR)
        return CLI_INTERRUPTED;
    if (code < 0)
        cli_fail("%s", slm_last_error());
    if (code == SLM_EIO && is_about(slm_last_error(), path))
        cli_note(
            "set XDG_CACHE_HOME to another place, or run 'slm convert' and give the .slm file");
    return code < 0 ? CLI_FAILED : CLI_OK;
}

/* Is it a .slm file? An empty or unreadable one is for slm_model_open() to explain. */
static bool is_slm_file(const char *path)
{
    unsigned char magic[4] = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return true;
    size_t n = fread(magic, 1, sizeof magic, file);
    fclose(file);
    return n == 0 || memcmp(magic, "\x89SLM", 4) == 0;
}

/* A file that nothing can read: say so for both readers at once. */
static int fail_unknown(const char *model)
{
    const char *text = slm_last_error();
    bool named = is_about(text, model);
    return cli_fail("%s is no .slm file and can't be converted: %s%s", model, named ? "it " : "",
                    named ? text + strlen(model) + 2 : text);
}

static bool opens(const char *path)
{
    slm_model *model;
    if (slm_model_open(&model, path, NULL) < 0)
        return false;
    slm_model_unref(model);
    return true;
}

int cli_check_model(const char *name)
{
    if (strcmp(name, "-") != 0)
        return CLI_OK;
    return cli_fail(
        "a model can't come from standard input: give the file, which is mapped and not read");
}

int cli_cache_resolve(const char *model, bool vocabulary, char **path)
{
    struct stat st;
    if (cli_check_model(model) != CLI_OK)
        return CLI_FAILED;
    bool there = stat(model, &st) == 0;
    if (!there || (!S_ISDIR(st.st_mode) && is_slm_file(model))) {
        *path = strdup(model);
        return *path ? CLI_OK : cli_fail("out of memory");
    }
    if (!vocabulary && slm_convert_detect(model) < 0)
        return fail_unknown(model);

    char absolute[PATH_MAX], folder[PATH_MAX], stem[64], prefix[96], name[128];
    if (!realpath(model, absolute))
        return cli_fail("%s: %s", model, strerror(errno));
    int code = cache_folder(folder);
    if (code != CLI_OK)
        return code;
    stem_of(absolute, stem);
    unsigned long long of_path = hash_bytes(HASH_START, absolute, strlen(absolute));
    snprintf(prefix, sizeof prefix, "%s-%s%08llx-", stem, vocabulary ? "vocabulary-" : "",
             of_path & 0xFFFFFFFFu);
    snprintf(name, sizeof name, "%s%016llx.slm", prefix,
             (unsigned long long)hash_source_state(absolute, &st));
    if (asprintf(path, "%s/%s", folder, name) < 0) {
        *path = NULL;
        return cli_fail("out of memory");
    }
    if (opens(*path))
        return CLI_OK;
    unlink(*path); /* damaged, or made by another build of this version */
    code = convert_into_cache(model, *path, vocabulary);
    if (code == CLI_OK) {
        remove_old(folder, prefix, name);
    } else {
        free(*path);
        *path = NULL;
    }
    return code;
}
