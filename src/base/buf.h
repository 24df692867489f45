/*
 * buf.h - bytes that grow: for text and sections that are built, never on the path of a token.
 *
 * Zero-initialise, set the allocator if you have one. An append that fails marks the buffer and
 * every later append does nothing, so a long builder checks once, at its end: slm_buf_ok().
 */
#ifndef SLM_BASE_BUF_H
#define SLM_BASE_BUF_H

#include "base/alloc.h"

struct slm_buf {
    uint8_t *data;
    size_t length;
    size_t capacity;
    const slm_allocator *allocator;
    bool failed;
};

/* Room for n more bytes at the end, already counted in length; NULL when that failed. */
void *slm_buf_grow(struct slm_buf *b, size_t n);
void slm_buf_append(struct slm_buf *b, const void *data, size_t n);
void slm_buf_text(struct slm_buf *b, const char *text); /* without its NUL */
void slm_buf_byte(struct slm_buf *b, uint8_t byte);
void slm_buf_u32(struct slm_buf *b, uint32_t value); /* little-endian */
void slm_buf_format(struct slm_buf *b, const char *format, ...) SLM_PRINTF(2, 3);
void slm_buf_align(struct slm_buf *b, size_t to); /* zeros up to a multiple */
void slm_buf_free(struct slm_buf *b);

/* SLM_OK or SLM_ENOMEM. */
int slm_buf_ok(const struct slm_buf *b);

#endif
