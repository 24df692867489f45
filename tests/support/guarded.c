/* guarded.c - see guarded.h. One mapping a buffer: pages, then one without any permission. */
#include "support/guarded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATTERN = 0xA5 };

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static struct guarded make(size_t size, size_t canary)
{
    size_t page = page_size();
    /* At least one canary fits in front, whatever the size. */
    size_t usable = (size + canary + GUARDED_CANARY + page - 1) / page * page;
    struct guarded g = {.size = size, .map_size = usable + page};
    g.map = mmap(NULL, g.map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect(g.map + usable, page, PROT_NONE) != 0) {
        perror("guarded buffer");
        abort();
    }
    memset(g.map, PATTERN, usable);
    g.data = g.map + usable - canary - size;
    return g;
}

struct guarded guarded_input(size_t size)
{
    return make(size, 0);
}

struct guarded guarded_output(size_t size)
{
    return make(size, GUARDED_CANARY);
}

void guarded_seal(const struct guarded *g)
{
    if (mprotect(g->map, g->map_size - page_size(), PROT_READ) != 0) {
        perror("guarded buffer");
        abort();
    }
}

bool guarded_check(const struct guarded *g)
{
    const uint8_t *data = g->data, *end = g->map + g->map_size - page_size();
    for (const uint8_t *p = g->map; p < end; p++) {
        if (p == data)
            p += g->size; /* what follows is the canary behind, or the end */
        if (p < end && *p != PATTERN)
            return false;
    }
    return true;
}

void guarded_free(struct guarded *g)
{
    if (g->map)
        munmap(g->map, g->map_size);
    memset(g, 0, sizeof *g);
}
