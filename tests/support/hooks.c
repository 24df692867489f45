/*
 * hooks.c - see hooks.h. In front of each block stand its size and its owner, in a header as large
 * as the alignment. Fresh memory is filled with a pattern of NaNs, so that whoever reads before
 * writing gets found out.
 */
#include "support/hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x51A110C8, FRESH = 0xFF, FREED = 0xDD };

struct header {
    struct hooks *owner;
    size_t size, front; /* of the block; from its beginning to the data */
    uint32_t magic;
};

static void complain(struct hooks *h, const char *what)
{
    fprintf(stderr, "hooks: %s\n", what);
    h->n_errors++;
}

static void *hook_alloc(void *user, size_t size, size_t align)
{
    struct hooks *h = user;
    if (!pthread_equal(pthread_self(), h->thread))
        complain(h, "alloc was called by another thread");
    if (align < 16 || (align & (align - 1)))
        complain(h, "alignment below 16 or no power of two");
    h->n_allocs++;
    if (h->fail_at && (h->n_allocs == h->fail_at || (h->fail_after && h->n_allocs > h->fail_at))) {
        h->n_failed++;
        return NULL;
    }
    size_t front = align > sizeof(struct header) ? align : 2 * align;
    while (front < sizeof(struct header))
        front *= 2;
    void *block = NULL;
    if (posix_memalign(&block, align, front + size) != 0)
        return NULL;
    uint8_t *data = (uint8_t *)block + front;
    struct header header = {h, size, front, MAGIC};
    memcpy(data - sizeof header, &header, sizeof header);
    memset(data, FRESH, size);
    h->live++;
    h->live_bytes += size;
    if (h->live_bytes > h->peak_bytes)
        h->peak_bytes = h->live_bytes;
    return data;
}

static void hook_free(void *user, void *p, size_t size)
{
    struct hooks *h = user;
    if (!pthread_equal(pthread_self(), h->thread))
        complain(h, "free was called by another thread");
    struct header header;
    if (!p) {
        complain(h, "free of NULL");
        return;
    }
    memcpy(&header, (uint8_t *)p - sizeof header, sizeof header);
    if (header.magic != MAGIC || header.owner != h) {
        complain(h, "free of a block that is not of these hooks");
        return;
    }
    if (header.size != size)
        complain(h, "free with another size than alloc");
    h->live--;
    h->live_bytes -= header.size;
    size_t front = header.front;
    header.magic = 0;
    memcpy((uint8_t *)p - sizeof header, &header, sizeof header);
    memset(p, FREED, header.size);
    free((uint8_t *)p - front);
}

void hooks_init(struct hooks *h)
{
    memset(h, 0, sizeof *h);
    h->allocator = (slm_allocator){hook_alloc, hook_free, h};
    h->thread = pthread_self();
}

bool hooks_clean(const struct hooks *h)
{
    if (h->live)
        fprintf(stderr, "hooks: %zu blocks, %zu bytes were not freed\n", h->live, h->live_bytes);
    return h->live == 0 && h->n_errors == 0;
}
