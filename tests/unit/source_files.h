/*
 * source_files.h - small GGUF files, Hugging Face directories and llama2.c checkpoints, built in
 * memory, for tests of the converter. Weights are pseudo-random and the same on every machine.
 */
#ifndef SOURCE_FILES_H
#define SOURCE_FILES_H

#include "base/bits.h"
#include "base/buf.h"
#include "source/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------------- random --- */

static inline uint32_t random_u32(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* About normal, a few hundredths in size, as weights are. */
static inline float random_weight(uint64_t *state)
{
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)(random_u32(state) >> 8) / 16777216.0f - 0.5f;
    return sum * 0.06f;
}

/* ---------------------------------------------------------------------------- gguf --- */

struct gguf_builder {
    struct slm_buf keys, tensors, data;
    uint64_t n_keys, n_tensors;
    uint32_t version;
};

static inline void put_u64(struct slm_buf *b, uint64_t value)
{
    slm_buf_u32(b, (uint32_t)value);
    slm_buf_u32(b, (uint32_t)(value >> 32));
}

static inline void put_text(struct slm_buf *b, const char *text)
{
    put_u64(b, strlen(text));
    slm_buf_text(b, text);
}

static inline void put_f32(struct slm_buf *b, float value)
{
    slm_buf_u32(b, slm_bits_of(value));
}

static inline void gguf_key(struct gguf_builder *g, const char *name, uint32_t type)
{
    put_text(&g->keys, name);
    slm_buf_u32(&g->keys, type);
    g->n_keys++;
}

static inline void gguf_u32(struct gguf_builder *g, const char *name, uint32_t value)
{
    gguf_key(g, name, SLM_GGUF_U32);
    slm_buf_u32(&g->keys, value);
}

static inline void gguf_f32(struct gguf_builder *g, const char *name, float value)
{
    gguf_key(g, name, SLM_GGUF_F32);
    put_f32(&g->keys, value);
}

static inline void gguf_text(struct gguf_builder *g, const char *name, const char *value)
{
    gguf_key(g, name, SLM_GGUF_STRING);
    put_text(&g->keys, value);
}

/* The array's elements must follow in g->keys. */
static inline void gguf_array(struct gguf_builder *g, const char *name, uint32_t type, uint64_t n)
{
    gguf_key(g, name, SLM_GGUF_ARRAY);
    slm_buf_u32(&g->keys, type);
    put_u64(&g->keys, n);
}

/* rows 0: a vector. The data is copied and padded to 32. */
static inline void gguf_tensor(struct gguf_builder *g, const char *name, uint32_t type,
                               uint64_t rows, uint64_t cols, const void *data, size_t length)
{
    put_text(&g->tensors, name);
    slm_buf_u32(&g->tensors, rows ? 2 : 1);
    put_u64(&g->tensors, cols); /* innermost first */
    if (rows)
        put_u64(&g->tensors, rows);
    slm_buf_u32(&g->tensors, type);
    put_u64(&g->tensors, g->data.length);
    slm_buf_append(&g->data, data, length);
    slm_buf_align(&g->data, 32);
    g->n_tensors++;
}

/* The whole file; empties the builder. */
static inline struct slm_buf gguf_finish(struct gguf_builder *g)
{
    struct slm_buf file = {0};
    slm_buf_text(&file, "GGUF");
    slm_buf_u32(&file, g->version ? g->version : 3);
    put_u64(&file, g->n_tensors);
    put_u64(&file, g->n_keys);
    slm_buf_append(&file, g->keys.data, g->keys.length);
    slm_buf_append(&file, g->tensors.data, g->tensors.length);
    if (g->n_tensors)
        slm_buf_align(&file, 32);
    slm_buf_append(&file, g->data.data, g->data.length);
    slm_buf_free(&g->keys);
    slm_buf_free(&g->tensors);
    slm_buf_free(&g->data);
    *g = (struct gguf_builder){.version = g->version};
    return file;
}

/* --------------------------------------------------------------------- safetensors --- */

struct safetensors_builder {
    struct slm_buf header, data;
};

/* rows 0: a vector. */
static inline void safetensors_add(struct safetensors_builder *s, const char *name,
                                   const char *dtype, uint64_t rows, uint64_t cols,
                                   const void *data, size_t length)
{
    slm_buf_format(&s->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                   s->header.length ? "," : "{", name, dtype);
    if (rows)
        slm_buf_format(&s->header, "%llu,", (unsigned long long)rows);
    slm_buf_format(&s->header, "%llu],\"data_offsets\":[%zu,%zu]}", (unsigned long long)cols,
                   s->data.length, s->data.length + length);
    slm_buf_append(&s->data, data, length);
}

static inline struct slm_buf safetensors_finish(struct safetensors_builder *s)
{
    struct slm_buf file = {0};
    slm_buf_text(&s->header, s->header.length ? "}" : "{}");
    put_u64(&file, s->header.length);
    slm_buf_append(&file, s->header.data, s->header.length);
    slm_buf_append(&file, s->data.data, s->data.length);
    slm_buf_free(&s->header);
    slm_buf_free(&s->data);
    *s = (struct safetensors_builder){0};
    return file;
}

/* A file of any header and data. */
static inline struct slm_buf safetensors_raw(const char *header, const void *data, size_t length)
{
    struct slm_buf file = {0};
    put_u64(&file, strlen(header));
    slm_buf_text(&file, header);
    slm_buf_append(&file, data, length);
    return file;
}

/* --------------------------------------------------------------------------- files --- */

static inline void write_file(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0)
        abort();
}

/* The whole file and a NUL; aligned to 64; the caller frees. */
static inline uint8_t *load_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    void *data = NULL;
    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    if (posix_memalign(&data, 64, *n + 1) != 0 || fread(data, 1, *n, f) != *n)
        abort();
    ((uint8_t *)data)[*n] = 0;
    fclose(f);
    return data;
}

/* A file of tests/data. */
static inline uint8_t *load_data(const char *name, size_t *n)
{
    const char *root = getenv("SLM_TEST_DATA");
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root ? root : "tests/data", name);
    return load_file(path, n);
}

#endif
