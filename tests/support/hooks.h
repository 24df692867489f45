/*
 * hooks.h - an allocator that counts, checks, and fails when it is told to.
 *
 * It checks that what is freed was allocated, with the size that was asked for and by the same
 * hooks; hooks_clean() then says whether everything came back. It must be called by one thread
 * only, which is what slm_allocator promises: a call from another thread is counted as an error.
 */
#ifndef TESTS_SUPPORT_HOOKS_H
#define TESTS_SUPPORT_HOOKS_H

#include <slm/slm.h>

#include <pthread.h>
#include <stdbool.h>

struct hooks {
    slm_allocator allocator; /* give this to the library */
    size_t n_allocs;         /* calls that were answered with memory or refused */
    size_t fail_at;          /* refuse this call (1: the first); 0: none */
    bool fail_after;         /* and all after it */
    size_t n_failed;
    size_t live, live_bytes; /* blocks, and their bytes as asked for */
    size_t peak_bytes;
    size_t n_errors; /* wrong size, wrong pointer, wrong thread, wrong alignment */
    pthread_t thread;
};

void hooks_init(struct hooks *h);
bool hooks_clean(const struct hooks *h); /* nothing is left, nothing went wrong */

#endif
