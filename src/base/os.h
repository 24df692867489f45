/*
 * os.h - what the library wants from the operating system: files in memory, time, and the
 * floating-point environment.
 */
#ifndef SLM_BASE_OS_H
#define SLM_BASE_OS_H

#include "base/alloc.h"

/* A file's bytes, mapped or copied; data is aligned to 64. */
struct slm_mapping {
    const uint8_t *data;
    uint64_t length;
    void *base;        /* what munmap or the allocator gets back */
    size_t base_length;
    bool copied;
    const slm_allocator *allocator;
};

/* `name` only serves the messages. length 0: up to the end. */
int slm_map_fd(struct slm_mapping *map, int fd, uint64_t offset, uint64_t length, bool copy,
               const char *name, const slm_allocator *a);
int slm_map_path(struct slm_mapping *map, const char *path, bool copy, const slm_allocator *a);
void slm_unmap(struct slm_mapping *map);

/* Bytes of a mapping that were read and won't be needed again soon: the system may take their
 * memory back. They can still be read. */
void slm_map_done(const struct slm_mapping *map, const void *p, uint64_t n);

/* Seconds of a clock that never goes back. */
double slm_clock(void);

/*
 * Results must not depend on what the host did to rounding or flush-to-zero: every public call
 * that computes is wrapped in enter and leave, and worker threads call enter once.
 */
struct slm_fenv {
    uint64_t saved;
};
void slm_fenv_enter(struct slm_fenv *env); /* nearest even, denormals kept, exceptions masked */
void slm_fenv_leave(const struct slm_fenv *env);

#endif
