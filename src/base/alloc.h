/*
 * alloc.h - memory through the caller's hooks, and sizes that can't overflow.
 *
 * `a` may be NULL everywhere: malloc. A failed allocation returns NULL and leaves the message for
 * slm_last_error(), so callers just return SLM_ENOMEM.
 */
#ifndef SLM_BASE_ALLOC_H
#define SLM_BASE_ALLOC_H

#include "base/error.h"

#include <stdbool.h>

void *slm_alloc(const slm_allocator *a, size_t size);  /* aligned to 64, not cleared */
void *slm_calloc(const slm_allocator *a, size_t size); /* the same, zeroed */
void slm_free(const slm_allocator *a, void *p, size_t size); /* p may be NULL */

/* *out = a + b or a * b; false when that does not fit. */
static inline bool slm_size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool slm_size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline size_t slm_round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/*
 * An arena is one block cut into pieces. The same code runs twice: first with base NULL, when it
 * only adds up what would be needed, then over a block of that size. So slm_ctx_memory() can't
 * disagree with slm_ctx_new().
 */
struct slm_arena {
    uint8_t *base;
    size_t used;
    size_t capacity;
    bool overflow; /* a size did not fit size_t, or the block was too small */
};

/* n * size bytes aligned to 64; NULL while measuring. */
void *slm_arena_take(struct slm_arena *arena, size_t n, size_t size);
/* rows * cols * size of them. */
void *slm_arena_take_rows(struct slm_arena *arena, size_t rows, size_t cols, size_t size);

#endif
