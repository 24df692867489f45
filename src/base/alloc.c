/*
 * alloc.c - see alloc.h. Everything is aligned to a cache line: one rule instead of many sizes.
 */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static void *default_alloc(size_t size)
{
    void *p = NULL;
    return posix_memalign(&p, ALIGNMENT, size) == 0 ? p : NULL;
}

void *slm_alloc(const slm_allocator *a, size_t size)
{
    if (size == 0)
        size = 1;
    void *p = a ? a->alloc(a->user, size, ALIGNMENT) : default_alloc(size);
    if (!p)
        slm_fail(SLM_ENOMEM, "out of memory: %zu bytes could not be allocated", size);
    return p;
}

void *slm_calloc(const slm_allocator *a, size_t size)
{
    void *p = slm_alloc(a, size);
    if (p)
        memset(p, 0, size ? size : 1);
    return p;
}

void slm_free(const slm_allocator *a, void *p, size_t size)
{
    if (!p)
        return;
    if (a)
        a->free(a->user, p, size ? size : 1);
    else
        free(p);
}

void *slm_arena_take(struct slm_arena *arena, size_t n, size_t size)
{
    size_t bytes, end;
    if (!slm_size_mul(n, size, &bytes) || bytes > SIZE_MAX - ALIGNMENT ||
        !slm_size_add(arena->used, slm_round_up(bytes, ALIGNMENT), &end)) {
        arena->overflow = true;
        return NULL;
    }
    uint8_t *p = NULL;
    if (arena->base) {
        if (end > arena->capacity) {
            arena->overflow = true;
            return NULL;
        }
        p = arena->base + arena->used;
    }
    arena->used = end;
    return p;
}

void *slm_arena_take_rows(struct slm_arena *arena, size_t rows, size_t cols, size_t size)
{
    size_t n;
    if (!slm_size_mul(rows, cols, &n))
        n = SIZE_MAX; /* as much as nobody has: the product below overflows too, or nothing fits */
    return slm_arena_take(arena, n, size);
}
