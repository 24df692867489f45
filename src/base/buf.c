/* buf.c - see buf.h. Grows by half, so appending n bytes costs O(n). */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *slm_buf_grow(struct slm_buf *b, size_t n)
{
    size_t need;
    if (b->failed || !slm_size_add(b->length, n, &need)) {
        b->failed = true;
        return NULL;
    }
    if (need > b->capacity) {
        size_t capacity = b->capacity + b->capacity / 2;
        if (capacity < need)
            capacity = need;
        if (capacity < 64)
            capacity = 64;
        uint8_t *data = slm_alloc(b->allocator, capacity);
        if (!data) {
            b->failed = true;
            return NULL;
        }
        if (b->length)
            memcpy(data, b->data, b->length);
        slm_free(b->allocator, b->data, b->capacity);
        b->data = data;
        b->capacity = capacity;
    }
    void *p = b->data + b->length;
    b->length = need;
    return p;
}

void slm_buf_append(struct slm_buf *b, const void *data, size_t n)
{
    if (n == 0)
        return;
    void *p = slm_buf_grow(b, n);
    if (p)
        memcpy(p, data, n);
}

void slm_buf_text(struct slm_buf *b, const char *text)
{
    slm_buf_append(b, text, strlen(text));
}

void slm_buf_byte(struct slm_buf *b, uint8_t byte)
{
    slm_buf_append(b, &byte, 1);
}

void slm_buf_u32(struct slm_buf *b, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                        (uint8_t)(value >> 24)};
    slm_buf_append(b, bytes, 4);
}

void slm_buf_format(struct slm_buf *b, const char *format, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < sizeof small) {
        slm_buf_append(b, small, (size_t)n);
    } else {
        char *p = slm_buf_grow(b, (size_t)n + 1);
        if (p) {
            vsnprintf(p, (size_t)n + 1, format, again);
            b->length--;
        }
    }
    va_end(again);
}

void slm_buf_align(struct slm_buf *b, size_t to)
{
    size_t n = slm_round_up(b->length, to) - b->length;
    void *p = n ? slm_buf_grow(b, n) : NULL;
    if (p)
        memset(p, 0, n);
}

void slm_buf_free(struct slm_buf *b)
{
    slm_free(b->allocator, b->data, b->capacity);
    b->data = NULL;
    b->length = b->capacity = 0;
    b->failed = false;
}

int slm_buf_ok(const struct slm_buf *b)
{
    return b->failed ? SLM_ENOMEM : SLM_OK;
}
