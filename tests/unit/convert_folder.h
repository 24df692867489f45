/*
 * convert_folder.h - conversions in a folder of the test's own: tiny models go in, and what comes
 * out is opened, verified and compared.
 */
#ifndef CONVERT_FOLDER_H
#define CONVERT_FOLDER_H

#include "unit/tiny_source.h"

#include <slm/convert.h>

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --------------------------------------------------------------------------- folder --- */

static char folder[64];

/* A path in the test's folder; 8 of them are valid at a time. */
static inline const char *in_folder(const char *name)
{
    static char paths[8][160];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline int n_files(const char *path, bool remove_them)
{
    DIR *d = opendir(path);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        char name[1024];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        n++;
        if (snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name)
            return -1;
        struct stat info;
        if (remove_them && stat(name, &info) == 0 && S_ISDIR(info.st_mode)) {
            n_files(name, true);
            rmdir(name);
        } else if (remove_them) {
            unlink(name);
        }
    }
    if (d)
        closedir(d);
    return n;
}

static inline int make_folder(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.40s/slm-convert-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    (void)state;
    n_files(folder, true);
    return rmdir(folder);
}

/* Write the buffer to a file of the folder, and free it. */
static inline const char *put(const char *name, struct slm_buf b)
{
    const char *path = in_folder(name);
    write_file(path, b.data, b.length);
    slm_buf_free(&b);
    return path;
}

static inline void put_text_file(const char *name, const char *text)
{
    write_file(in_folder(name), text, strlen(text));
}

/* A Hugging Face directory "hf" of the model. */
static inline const char *put_hf(const struct tiny *m, const char *dtype, const char *more)
{
    mkdir(in_folder("hf"), 0777);
    put("hf/config.json", tiny_config(m, more));
    struct safetensors_builder s = {0};
    tiny_safetensors(m, &s, dtype, 0, 1);
    put("hf/model.safetensors", safetensors_finish(&s));
    return in_folder("hf");
}

/* ---------------------------------------------------------------------------- result --- */

struct result {
    uint8_t *data;
    struct slm_file file;
};

static inline struct result load(const char *path)
{
    struct result r;
    size_t n;
    r.data = load_file(path, &n);
    assert_non_null(r.data);
    if (slm_file_parse(&r.file, r.data, n) != SLM_OK ||
        slm_file_verify(&r.file, NULL, NULL) != SLM_OK)
        fail_msg("%s: %s", path, slm_error_message());
    return r;
}

static inline struct result convert(const char *in, const slm_convert_options *options)
{
    const char *out = in_folder("out.slm");
    int err = slm_convert(in, out, options);
    if (err)
        fail_msg("code %d: %s", err, slm_last_error());
    return load(out);
}

static inline struct result convert_to(const char *in, const char *type)
{
    slm_convert_options options = {.size = sizeof options, .type = type};
    return convert(in, &options);
}

/* It must fail so, with the text in its message, and leave no file. */
static inline void expect(const char *in, const slm_convert_options *options, int code,
                          const char *text)
{
    const char *out = in_folder("never.slm");
    int before = n_files(folder, false), err = slm_convert(in, out, options);
    if (err != code || !strstr(slm_last_error(), text))
        fail_msg("code %d, message \"%s\"; wanted %d and \"%s\"", err, slm_last_error(),
                 code, text);
    assert_int_equal(n_files(folder, false), before);
}

static inline const uint8_t *bytes_of(const struct result *r, const struct slm_tensor_entry *t)
{
    return r->file.data + t->offset;
}

static inline const struct slm_tensor_entry *tensor(const struct result *r, uint32_t role,
                                                    uint32_t layer)
{
    const struct slm_tensor_entry *t = slm_file_tensor(&r->file, role, layer);
    if (!t)
        fail_msg("%s of layer %d is missing", slm_role_info(role)->name, (int)layer);
    return t;
}

static inline const char *metadata(const struct result *r, const char *wanted)
{
    const char *key, *value;
    for (uint32_t i = 0; slm_file_metadata(&r->file, i, &key, &value); i++)
        if (strcmp(key, wanted) == 0)
            return value;
    return "";
}

/* Traits, tensors and their bytes are the same. */
static inline void assert_same_model(const struct result *a, const struct result *b)
{
    assert_memory_equal(a->file.traits, b->file.traits, sizeof *a->file.traits);
    assert_memory_equal(a->file.layers, b->file.layers,
                        a->file.traits->n_layers * sizeof *a->file.layers);
    assert_memory_equal(a->file.ropes, b->file.ropes, sizeof *a->file.ropes);
    assert_int_equal(a->file.n_tensors, b->file.n_tensors);
    for (uint32_t i = 0; i < a->file.n_tensors; i++) {
        const struct slm_tensor_entry *x = &a->file.tensors[i];
        const struct slm_tensor_entry *y = tensor(b, x->role, x->layer);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->length, y->length);
        if (memcmp(bytes_of(a, x), bytes_of(b, y), x->length) != 0)
            fail_msg("%s of layer %d differs", slm_role_info(x->role)->name, (int)x->layer);
    }
}

/* Every tensor is there, of the type, with exactly these values (f32 and exact types). */
static inline void assert_weights(const struct result *r, const struct tiny *m, uint32_t type)
{
    uint32_t n = 1; /* the RoPE table */
    for (int i = 0; i < TINY_N_TENSORS; i++) {
        uint32_t rows, cols, role = TINY_TENSORS[i].role;
        uint32_t times = tiny_times(m, role, &rows, &cols);
        for (uint32_t layer = 0; layer < times; layer++, n++) {
            const struct slm_tensor_entry *t =
                tensor(r, role, slm_role_info(role)->per_layer ? layer : SLM_NO_LAYER);
            float *w = tiny_weights(role, layer, rows, cols), *row = malloc(cols * sizeof *row);
            assert_int_equal(t->type, rows ? type : SLM_TYPE_F32);
            assert_int_equal(t->rows, rows ? rows : 1);
            assert_int_equal(t->cols, cols);
            if (!rows)
                assert_memory_equal(bytes_of(r, t), w, cols * sizeof *w);
            for (uint32_t k = 0; k < rows; k++) {
                slm_quant_row(slm_quant(type), bytes_of(r, t), k, cols, row);
                assert_memory_equal(row, w + (size_t)k * cols, cols * sizeof *row);
            }
            free(w);
            free(row);
        }
    }
    assert_int_equal(r->file.n_tensors, n);
}

static inline void release(struct result *r)
{
    free(r->data);
    r->data = NULL;
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

#endif
