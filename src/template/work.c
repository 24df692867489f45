/*
 * work.c - the memory of a parse or rendering, its budget, and its first error.
 */
#include "base/limits.h"
#include "template/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct memory_chunk {
    struct memory_chunk *next;
    size_t size; /* of the whole chunk */
    size_t used;
};

enum { ALIGNMENT = 16, FIRST_CHUNK = 8192, BYTES_A_STEP = 64 };

/* Open a chunk with room for n bytes. Chunks grow with what is in use, so there are few. */
static struct memory_chunk *open_chunk(struct workspace *w, size_t n)
{
    size_t header = slm_round_up(sizeof(struct memory_chunk), ALIGNMENT);
    size_t size = w->memory_used / 2 > FIRST_CHUNK ? w->memory_used / 2 : FIRST_CHUNK;
    if (size < n + header)
        size = n + header;
    if (size > SLM_LIMIT_TEMPLATE_MEMORY - w->memory_used)
        size = n + header;
    if (size > SLM_LIMIT_TEMPLATE_MEMORY - w->memory_used) {
        slm_work_fail(w, SLM_ELIMIT, "it needs more than %d MB of memory",
                      SLM_LIMIT_TEMPLATE_MEMORY >> 20);
        return NULL;
    }
    struct memory_chunk *chunk = slm_alloc(w->allocator, size);
    if (!chunk) {
        w->code = SLM_ENOMEM;
        return NULL;
    }
    w->memory_used += size;
    *chunk = (struct memory_chunk){w->chunks, size, header};
    w->chunks = chunk;
    return chunk;
}

void *slm_work_take(struct workspace *w, size_t n, size_t size)
{
    size_t bytes;
    if (w->code)
        return NULL;
    if (!slm_size_mul(n, size, &bytes) || bytes > SLM_LIMIT_TEMPLATE_MEMORY) {
        slm_work_fail(w, SLM_ELIMIT, "it needs more than %d MB of memory",
                      SLM_LIMIT_TEMPLATE_MEMORY >> 20);
        return NULL;
    }
    bytes = slm_round_up(bytes, ALIGNMENT);
    struct memory_chunk *chunk = w->chunks;
    if (!chunk || chunk->size - chunk->used < bytes)
        chunk = open_chunk(w, bytes);
    if (!chunk)
        return NULL;
    void *p = (char *)chunk + chunk->used;
    chunk->used += bytes;
    return p;
}

void slm_work_free(struct workspace *w)
{
    struct memory_chunk *chunk = w->chunks;
    while (chunk) {
        struct memory_chunk *next = chunk->next;
        slm_free(w->allocator, chunk, chunk->size);
        chunk = next;
    }
    w->chunks = NULL;
}

/* Looking at 64 bytes counts as much as evaluating one node: both take some nanoseconds. */
bool slm_work_spend(struct workspace *w, size_t bytes)
{
    if (w->code)
        return false;
    w->steps += 1 + bytes / BYTES_A_STEP;
    if (w->steps > SLM_LIMIT_TEMPLATE_STEPS) {
        slm_work_fail(w, SLM_ELIMIT, "it takes more than %d steps: does it loop for ever?",
                      SLM_LIMIT_TEMPLATE_STEPS);
        return false;
    }
    return true;
}

/* One block of ones serves all texts of the workspace; it grows by doubling. */
const uint8_t *slm_work_data_marks(struct workspace *w, size_t n)
{
    if (n > w->n_ones) {
        size_t size = 2 * w->n_ones > n ? 2 * w->n_ones : n;
        if (size < 1024)
            size = 1024;
        uint8_t *ones = slm_work_take(w, size, 1);
        if (!ones)
            return NULL; /* the rendering has failed: nobody will look at marks */
        memset(ones, 1, size);
        w->ones = ones;
        w->n_ones = size;
    }
    return w->ones;
}

/* Lines and columns are counted only now; columns in characters. */
struct value slm_work_fail(struct workspace *w, int code, const char *format, ...)
{
    if (w->code)
        return value_of_type(VALUE_UNDEFINED);
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t line = 1, column = 1;
    for (size_t i = 0; i < w->position && i < w->source_length; i++) {
        if (w->source[i] == '\n') {
            line++;
            column = 1;
        } else if ((w->source[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    w->code = slm_fail(code, "chat template, line %zu, column %zu: %s", line, column, text);
    return value_of_type(VALUE_UNDEFINED);
}

struct value slm_work_fail_undefined(struct workspace *w, struct value v)
{
    int n = v.length < 200 ? (int)v.length : 200;
    struct value object = {.type = v.detail >> MISSING_BITS};
    const char *type = slm_value_type_name(object);
    switch ((enum missing)(v.detail & ((1 << MISSING_BITS) - 1))) {
    case MISSING_NAME: return slm_work_fail(w, SLM_EINVAL, "'%.*s' is undefined", n, v.text);
    case MISSING_MEMBER:
        return slm_work_fail(w, SLM_EINVAL, "'%s' has no member '%.*s'", type, n, v.text);
    case MISSING_FORBIDDEN:
        return slm_work_fail(w, SLM_EINVAL, "templates may not use '%.*s' of '%s'", n, v.text,
                             type);
    case MISSING_OTHER: break;
    }
    return slm_work_fail(w, SLM_EINVAL, "%.*s", n, v.length ? v.text : "the value is undefined");
}
