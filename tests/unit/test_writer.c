/*
 * test_writer.c - the .slm writer: the same bytes every time, a whole file or none, and a refusal
 * of whatever the reader would refuse.
 */
#include "unit/tiny_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ----------------------------------------------------------------------- folder --- */

static char folder[] = "/tmp/slm-writer-XXXXXX";
static char target[64];

static int make_folder(void **state)
{
    (void)state;
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    if (!mkdtemp(folder))
        return -1;
    snprintf(target, sizeof target, "%s/model.slm", folder);
    return 0;
}

/* Names in a folder besides "." and "..", removing each if asked. */
static int count_files(const char *path, bool remove_them)
{
    DIR *d = opendir(path);
    assert_non_null(d);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        n++;
        char name[512];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (remove_them)
            assert_int_equal(unlink(name), 0);
    }
    closedir(d);
    return n;
}

static int remove_folder(void **state)
{
    (void)state;
    count_files(folder, true);
    return rmdir(folder);
}

struct bytes {
    uint8_t *data; /* aligned to 64 */
    size_t length;
};

static struct bytes read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    struct bytes b = {NULL, (size_t)ftell(f)};
    rewind(f);
    assert_int_equal(posix_memalign((void **)&b.data, 64, b.length + 1), 0);
    assert_int_equal(fread(b.data, 1, b.length, f), b.length);
    fclose(f);
    return b;
}

static void assert_says(const char *words)
{
    if (!strstr(slm_error_message(), words))
        fail_msg("'%s' does not say '%s'", slm_error_message(), words);
}

/* ------------------------------------------------------------------------- good --- */

static void pieces_and_paths_change_no_byte(void **state)
{
    (void)state;
    char second[80];
    snprintf(second, sizeof second, "%s/a-much-longer-name-than-the-first", folder);
    assert_int_equal(tiny_file_write(target, true, true, 0), SLM_OK);
    struct bytes first = read_file(target);
    static const size_t pieces[] = {0, 1, 3, 64, 1000, 4096};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        assert_int_equal(tiny_file_write(second, true, true, pieces[i]), SLM_OK);
        struct bytes again = read_file(second);
        assert_int_equal(again.length, first.length);
        assert_memory_equal(again.data, first.data, first.length);
        free(again.data);
    }
    assert_int_equal(count_files(folder, false), 2); /* no temporary file is left */
    free(first.data);
}

static void relative_paths_work(void **state)
{
    (void)state;
    char back[512];
    assert_non_null(getcwd(back, sizeof back));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(tiny_file_write("plain.slm", false, false, 0), SLM_OK);
    assert_int_equal(tiny_file_write("./dot.slm", false, false, 0), SLM_OK);
    assert_int_equal(chdir(back), 0);
    assert_int_equal(count_files(folder, false), 2);
}

/* A tensor larger than the buffer, written in every way of mixing large and small pieces. */
static void large_tensors_pass_the_buffer(void **state)
{
    (void)state;
    enum { ROWS = 1600, COLS = 1024 }; /* 6.5 MB as f32 */
    struct tiny_traits traits = tiny_traits();
    traits.model.n_layers = 1;
    traits.model.n_ropes = 0;
    traits.model.dim = COLS;
    traits.model.n_vocab = ROWS;
    traits.layers[0] = (struct slm_layer_traits){
        .n_heads = 1, .n_kv_heads = 1, .head_dim = 1, .ffn_dim = 1, .rope = SLM_NO_ROPE,
        .attention_scale = 1, .parts = SLM_LAYER_ATTN_NORM | SLM_LAYER_FFN_NORM | SLM_LAYER_GATE};
    size_t bytes = (size_t)ROWS * COLS * 4;
    uint32_t *weights = malloc(bytes);
    assert_non_null(weights);
    for (size_t i = 0; i < bytes / 4; i++)
        weights[i] = (uint32_t)i * 2654435761u;
    static const uint32_t roles[] = {SLM_ROLE_ATTN_NORM, SLM_ROLE_ATTN_Q,   SLM_ROLE_ATTN_K,
                                     SLM_ROLE_ATTN_V,    SLM_ROLE_ATTN_OUT, SLM_ROLE_FFN_NORM,
                                     SLM_ROLE_FFN_GATE,  SLM_ROLE_FFN_UP,   SLM_ROLE_FFN_DOWN,
                                     SLM_ROLE_FINAL_NORM};
    struct slm_writer *w;
    assert_int_equal(slm_writer_new(&w, target), SLM_OK);
    assert_int_equal(slm_writer_section(w, SLM_SECTION_TRAITS, &traits, 128 + 96), SLM_OK);
    assert_int_equal(
        slm_writer_tensor(w, SLM_ROLE_EMBEDDING, SLM_NO_LAYER, SLM_TYPE_F32, ROWS, COLS), SLM_OK);
    size_t done = 0;
    static const size_t pieces[] = {5, 1 << 20, (1 << 20) - 1, 17, (2 << 20) + 3, 1 << 19};
    for (size_t i = 0; done < bytes; i++) {
        size_t n = pieces[i % 6] < bytes - done ? pieces[i % 6] : bytes - done;
        assert_int_equal(slm_writer_write(w, (uint8_t *)weights + done, n), SLM_OK);
        done += n;
    }
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        uint32_t rows, cols, layer = roles[i] == SLM_ROLE_FINAL_NORM ? SLM_NO_LAYER : 0;
        uint64_t length;
        assert_true(
            slm_role_shape(roles[i], layer, &traits.model, traits.layers, NULL, &rows, &cols));
        assert_true(
            slm_tensor_bytes(slm_role_info(roles[i])->matrix, SLM_TYPE_F32, rows, cols, &length));
        assert_int_equal(slm_writer_tensor(w, roles[i], layer, SLM_TYPE_F32, rows, cols), SLM_OK);
        assert_int_equal(slm_writer_write(w, weights, length), SLM_OK);
    }
    assert_int_equal(slm_writer_finish(w), SLM_OK);
    uint64_t length = slm_writer_length(w);
    slm_writer_free(w);

    struct bytes b = read_file(target);
    struct slm_file file;
    assert_int_equal(b.length, length);
    assert_int_equal(slm_file_parse(&file, b.data, b.length), SLM_OK);
    assert_int_equal(slm_file_verify(&file, NULL, NULL), SLM_OK);
    const struct slm_tensor_entry *t = slm_file_tensor(&file, SLM_ROLE_EMBEDDING, SLM_NO_LAYER);
    assert_memory_equal(b.data + t->offset, weights, bytes);
    assert_null(file.metadata);
    assert_null(file.tokenizer);
    assert_null(file.chat_template);
    free(b.data);
    free(weights);
}

static void metadata_is_cleaned(void **state)
{
    (void)state;
    struct slm_writer *w;
    assert_int_equal(slm_writer_new(&w, target), SLM_OK);
    assert_int_equal(slm_writer_metadata(w, "latin", "caf\xE9 \xC3"), SLM_OK);
    assert_int_equal(slm_writer_metadata(w, "latin", "twice"), SLM_EINVAL);
    assert_int_equal(slm_writer_metadata(w, "", "no key"), SLM_EINVAL);
    char *huge = malloc(1048578);
    assert_non_null(huge);
    memset(huge, 'a', 1048577);
    huge[1048577] = '\0';
    assert_int_equal(slm_writer_metadata(w, "huge", huge), SLM_ELIMIT);
    huge[1048576] = '\0';
    assert_int_equal(slm_writer_metadata(w, "large", huge), SLM_OK);
    assert_int_equal(tiny_file_fill(w, false, false, 0), SLM_OK);
    assert_int_equal(slm_writer_metadata(w, "late", ""), SLM_ESTATE);
    assert_int_equal(slm_writer_finish(w), SLM_OK);
    slm_writer_free(w);

    struct bytes b = read_file(target);
    struct slm_file file;
    const char *key, *value;
    assert_int_equal(slm_file_parse(&file, b.data, b.length), SLM_OK);
    assert_int_equal(file.n_metadata, 5);
    assert_true(slm_file_metadata(&file, 0, &key, &value));
    assert_string_equal(key, "latin");
    assert_string_equal(value, "caf\xEF\xBF\xBD \xEF\xBF\xBD");
    assert_true(slm_file_metadata(&file, 1, &key, &value));
    assert_string_equal(key, "large");
    assert_string_equal(value, huge);
    free(huge);
    free(b.data);
}

static void files_get_the_mode_that_the_umask_asks_for(void **state)
{
    (void)state;
    struct stat info;
    mode_t old = umask(027);
    assert_int_equal(tiny_file_write(target, false, false, 0), SLM_OK);
    umask(old);
    assert_int_equal(stat(target, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

/* -------------------------------------------------------------- whole or nothing --- */

static void nothing_appears_before_finish(void **state)
{
    (void)state;
    struct slm_writer *w;
    struct stat info;
    assert_int_equal(slm_writer_new(&w, target), SLM_OK);
    assert_int_equal(tiny_file_fill(w, true, true, 0), SLM_OK);
    assert_int_equal(stat(target, &info), -1);
    assert_int_equal(count_files(folder, false), 1);
    slm_writer_free(w);
    assert_int_equal(count_files(folder, false), 0);
}

static void old_file_stays_until_the_new_is_whole(void **state)
{
    (void)state;
    FILE *f = fopen(target, "w");
    assert_non_null(f);
    fputs("old", f);
    fclose(f);
    struct slm_writer *w;
    assert_int_equal(slm_writer_new(&w, target), SLM_OK);
    assert_int_equal(tiny_file_fill(w, true, true, 0), SLM_OK);
    struct bytes old = read_file(target);
    assert_int_equal(old.length, 3);
    assert_memory_equal(old.data, "old", 3);
    free(old.data);
    assert_int_equal(slm_writer_finish(w), SLM_OK);
    slm_writer_free(w);
    struct bytes fresh = read_file(target);
    assert_int_equal(fresh.data[0], 0x89);
    free(fresh.data);
    assert_int_equal(count_files(folder, false), 1);
}

static void what_a_killed_writer_left_is_stepped_over(void **state)
{
    (void)state;
    char left[128];
    snprintf(left, sizeof left, "%s.tmp%ld-0", target, (long)getpid());
    FILE *f = fopen(left, "w");
    assert_non_null(f);
    fclose(f);
    struct slm_writer *a, *b; /* and two at once do not meet either */
    assert_int_equal(slm_writer_new(&a, target), SLM_OK);
    assert_int_equal(slm_writer_new(&b, target), SLM_OK);
    assert_int_equal(tiny_file_fill(a, true, false, 0), SLM_OK);
    assert_int_equal(tiny_file_fill(b, false, false, 0), SLM_OK);
    assert_int_equal(slm_writer_finish(b), SLM_OK);
    assert_int_equal(slm_writer_finish(a), SLM_OK);
    slm_writer_free(a);
    slm_writer_free(b);
    assert_int_equal(count_files(folder, false), 2);
    struct bytes last = read_file(target);
    struct slm_file file;
    assert_int_equal(slm_file_parse(&file, last.data, last.length), SLM_OK);
    assert_non_null(file.tokenizer);
    free(last.data);
}

/* The system refuses to let the file grow past a size, at many sizes: each time SLM_EIO, the old
 * file as it was, and nothing else in the folder. */
static void a_refused_write_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(tiny_file_write(target, true, true, 0), SLM_OK);
    struct bytes whole = read_file(target);
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (size_t size = 0; size < whole.length; size += whole.length / 50) {
        limit = (struct rlimit){size, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int code = tiny_file_write(target, true, true, size % 3 ? 1000 : 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(code, SLM_EIO);
        assert_says("model.slm: could not be written: File too large");
        assert_int_equal(count_files(folder, false), 1);
    }
    signal(SIGXFSZ, handler);
    struct bytes after = read_file(target);
    assert_int_equal(after.length, whole.length);
    assert_memory_equal(after.data, whole.data, whole.length);
    free(whole.data);
    free(after.data);
}

/* Exit codes of the child below. */
enum { CHILD_OK = 0, CHILD_SKIP = 77 };

/* In a mount namespace of its own: a disk of 32 KB. */
static int fill_small_disk(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("small", folder, "tmpfs", 0, "size=32k") != 0)
        return CHILD_SKIP;
    int code = tiny_file_write(target, true, true, 0);
    if (code != SLM_EIO || !strstr(slm_error_message(), "No space left on device"))
        return 1;
    return count_files(folder, false) == 0 ? CHILD_OK : 2;
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(fill_small_disk());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_SKIP)
        skip(); /* no right to mount */
    assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

static void impossible_targets_are_refused_at_once(void **state)
{
    (void)state;
    struct slm_writer *w = (void *)1;
    assert_int_equal(slm_writer_new(&w, folder), SLM_EIO);
    assert_null(w);
    assert_says("is a directory");
    assert_int_equal(slm_writer_new(&w, "/dev/null"), SLM_EIO);
    assert_says("no regular file");
    assert_int_equal(slm_writer_new(&w, ""), SLM_EINVAL);
    char path[128];
    snprintf(path, sizeof path, "%s/none/model.slm", folder);
    assert_int_equal(slm_writer_new(&w, path), SLM_EIO);
    assert_says("none/model.slm: could not be created: No such file or directory");
    if (geteuid() != 0) { /* root may write anywhere */
        assert_int_equal(chmod(folder, 0500), 0);
        assert_int_equal(slm_writer_new(&w, target), SLM_EIO);
        assert_says("Permission denied");
        assert_int_equal(chmod(folder, 0700), 0);
    }
    assert_null(w);
    assert_int_equal(count_files(folder, false), 0);
}

/* ----------------------------------------------------------------------- misuse --- */

static void misuse_is_an_error(void **state)
{
    (void)state;
    struct slm_writer *w;
    struct tiny_traits traits = tiny_traits();
    float weights[80] = {0};
    assert_int_equal(slm_writer_new(&w, target), SLM_OK);
    assert_int_equal(slm_writer_finish(w), SLM_ESTATE);
    assert_says("without sections");
    assert_int_equal(slm_writer_write(w, weights, 4), SLM_EINVAL);
    static const uint32_t own[] = {SLM_SECTION_METADATA, SLM_SECTION_TENSORS, SLM_SECTION_DATA};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(slm_writer_section(w, own[i], weights, 4), SLM_EINVAL);
    assert_int_equal(slm_writer_section(w, SLM_SECTION_TRAITS, &traits, sizeof traits), SLM_OK);

    const uint32_t f32 = SLM_TYPE_F32, none = SLM_NO_LAYER;
    assert_int_equal(slm_writer_tensor(w, 999, 0, f32, 1, 40), SLM_EINVAL);
    assert_int_equal(slm_writer_tensor(w, SLM_ROLE_FINAL_NORM, none, 7, 1, 40), SLM_EINVAL);
    assert_int_equal(slm_writer_tensor(w, SLM_ROLE_FINAL_NORM, none, f32, 2, 40), SLM_EINVAL);
    assert_int_equal(slm_writer_tensor(w, SLM_ROLE_FINAL_NORM, none, SLM_TYPE_F16, 1, 40),
                     SLM_EINVAL);
    assert_int_equal(slm_writer_tensor(w, SLM_ROLE_EMBEDDING, none, f32, ~0u, ~0u), SLM_EINVAL);
    assert_int_equal(slm_writer_tensor(w, SLM_ROLE_EMBEDDING, none, f32, 0, 40), SLM_EINVAL);

    assert_int_equal(slm_writer_tensor(w, SLM_ROLE_FINAL_NORM, none, f32, 1, 40), SLM_OK);
    assert_int_equal(slm_writer_write(w, weights, 164), SLM_EINVAL);
    assert_says("164 bytes for a tensor that wants 160");
    assert_int_equal(slm_writer_write(w, weights, 100), SLM_OK);
    assert_int_equal(slm_writer_tensor(w, SLM_ROLE_ATTN_NORM, 0, f32, 1, 40), SLM_ESTATE);
    assert_says("still wants 60 bytes");
    assert_int_equal(slm_writer_finish(w), SLM_ESTATE);
    assert_int_equal(slm_writer_section(w, SLM_SECTION_TEMPLATE, "late", 4), SLM_ESTATE);
    assert_int_equal(slm_writer_write(w, weights, 60), SLM_OK);

    /* All of it was well-formed, but it is no model. */
    assert_int_equal(slm_writer_finish(w), SLM_EFORMAT);
    assert_says("model.slm: as written: tensor embedding is missing");
    assert_int_equal(slm_writer_tensor(w, SLM_ROLE_ATTN_NORM, 0, f32, 1, 40), SLM_EFORMAT);
    assert_says("has failed before");
    slm_writer_free(w);
    slm_writer_free(NULL);
    assert_int_equal(count_files(folder, false), 0);
}

static void a_finished_writer_writes_no_more(void **state)
{
    (void)state;
    struct slm_writer *w;
    assert_int_equal(slm_writer_new(&w, target), SLM_OK);
    assert_int_equal(tiny_file_fill(w, false, false, 0), SLM_OK);
    assert_int_equal(slm_writer_finish(w), SLM_OK);
    struct bytes before = read_file(target);
    assert_int_equal(slm_writer_finish(w), SLM_ESTATE);
    assert_int_equal(slm_writer_tensor(w, SLM_ROLE_ATTN_NORM, 0, SLM_TYPE_F32, 1, 40), SLM_ESTATE);
    assert_int_equal(slm_writer_write(w, "x", 1), SLM_ESTATE);
    slm_writer_free(w);
    struct bytes after = read_file(target);
    assert_int_equal(before.length, after.length);
    assert_memory_equal(before.data, after.data, after.length);
    free(before.data);
    free(after.data);
}

/* What the reader refuses, the writer does not finish. */
static void only_readable_models_are_finished(void **state)
{
    (void)state;
    struct slm_writer *w;
    assert_int_equal(slm_writer_new(&w, target), SLM_OK);
    assert_int_equal(slm_writer_section(w, SLM_SECTION_TEMPLATE, "{}", 2), SLM_OK);
    assert_int_equal(tiny_file_fill(w, false, false, 0), SLM_OK);
    assert_int_equal(slm_writer_finish(w), SLM_EFORMAT);
    assert_says("(template) at byte 128 is there twice");
    slm_writer_free(w);

    assert_int_equal(slm_writer_new(&w, target), SLM_OK);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(slm_writer_section(w, 100 + i, "x", 1), SLM_OK);
    assert_int_equal(slm_writer_section(w, 200, "", 0), SLM_OK); /* empty: not written */
    assert_int_equal(tiny_file_fill(w, false, false, 0), SLM_OK);
    assert_int_equal(slm_writer_finish(w),
                     SLM_OK); /* 9, traits, template, metadata, data, tensors */
    slm_writer_free(w);

    assert_int_equal(slm_writer_new(&w, target), SLM_OK);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(slm_writer_section(w, 100 + i, "x", 1), SLM_OK);
    int code = tiny_file_fill(w, false, false, 0);
    assert_int_equal(code ? code : slm_writer_finish(w), SLM_ELIMIT);
    assert_says("more than 14 sections");
    slm_writer_free(w);
    assert_int_equal(count_files(folder, false), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pieces_and_paths_change_no_byte),
        TEST(relative_paths_work),
        TEST(large_tensors_pass_the_buffer),
        TEST(metadata_is_cleaned),
        TEST(files_get_the_mode_that_the_umask_asks_for),
        TEST(nothing_appears_before_finish),
        TEST(old_file_stays_until_the_new_is_whole),
        TEST(what_a_killed_writer_left_is_stepped_over),
        TEST(a_refused_write_leaves_nothing),
        TEST(a_full_disk_leaves_nothing),
        TEST(impossible_targets_are_refused_at_once),
        TEST(misuse_is_an_error),
        TEST(a_finished_writer_writes_no_more),
        TEST(only_readable_models_are_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
