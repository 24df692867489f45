/*
 * guarded.h - memory that notices when somebody touches what is not his.
 *
 * A buffer ends right at a page that nobody may touch, or, for outputs, 64 bytes before it; those
 * bytes and everything in front hold a pattern that guarded_check() compares. Reading one element
 * too many of an input is a segmentation fault, which cmocka reports as a failure of that test.
 * guarded_seal() makes an input read-only: writing to it is a fault as well.
 */
#ifndef TESTS_SUPPORT_GUARDED_H
#define TESTS_SUPPORT_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GUARDED_CANARY = 64 };

struct guarded {
    void *data; /* [size] */
    size_t size;
    uint8_t *map; /* the whole mapping */
    size_t map_size;
};

/* Aborts the program when there is no memory: a test can't go on without it. */
struct guarded guarded_input(size_t size);  /* ends at the forbidden page */
struct guarded guarded_output(size_t size); /* a canary of 64 bytes on both sides */

/* From now on its pages are read-only. */
void guarded_seal(const struct guarded *g);

/* Are all bytes outside data as they were? */
bool guarded_check(const struct guarded *g);

void guarded_free(struct guarded *g);

#endif
