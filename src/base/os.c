/* os.c - POSIX; see os.h. The only file that knows which system this is, with team.c. */
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#include <fenv.h>
#endif

/* ---------------------------------------------------------------------- files --- */

static int copy_file(struct slm_mapping *map, int fd, uint64_t offset, size_t length,
                     const char *name, const slm_allocator *a)
{
    uint8_t *data = slm_alloc(a, length);
    if (!data)
        return SLM_ENOMEM;
    size_t done = 0;
    while (done < length) {
        ssize_t n = pread(fd, data + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int code = n < 0 ? slm_fail(SLM_EIO, "%s: can't read: %s", name, strerror(errno))
                             : slm_fail(SLM_EIO, "%s: it became shorter while being read", name);
            slm_free(a, data, length);
            return code;
        }
        done += (size_t)n;
    }
    *map = (struct slm_mapping){data, length, data, length, true, a};
    return SLM_OK;
}

int slm_map_fd(struct slm_mapping *map, int fd, uint64_t offset, uint64_t length, bool copy,
               const char *name, const slm_allocator *a)
{
    memset(map, 0, sizeof *map);
    struct stat st;
    if (fstat(fd, &st) != 0)
        return slm_fail(SLM_EIO, "%s: %s", name, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return slm_fail(SLM_EIO, "%s: this is a directory; give the .slm file", name);
    if (!S_ISREG(st.st_mode))
        return slm_fail(SLM_EIO, "%s: not a regular file", name);
    uint64_t size = (uint64_t)st.st_size;
    if (offset > size || length > size - offset)
        return slm_fail(SLM_EINVAL, "%s: %llu bytes from offset %llu lie outside the file (%llu bytes)",
                        name, (unsigned long long)length, (unsigned long long)offset,
                        (unsigned long long)size);
    if (length == 0)
        length = size - offset;
    if (length == 0)
        return slm_fail(SLM_EFORMAT, "%s: the file is empty", name);
    if (length > SIZE_MAX / 2)
        return slm_fail(SLM_ELIMIT, "%s: too large for this machine's address space", name);
    if (copy || offset % 64 != 0) /* records are read in place: they need their alignment */
        return copy_file(map, fd, offset, (size_t)length, name, a);

    long page = sysconf(_SC_PAGESIZE);
    uint64_t start = offset - offset % (uint64_t)page;
    size_t whole = (size_t)(offset - start + length);
    void *base = mmap(NULL, whole, PROT_READ, MAP_SHARED, fd, (off_t)start);
    if (base == MAP_FAILED)
        return slm_fail(SLM_EIO, "%s: can't map the file: %s", name, strerror(errno));
    *map = (struct slm_mapping){(const uint8_t *)base + (offset - start), length, base, whole, false,
                                NULL};
    return SLM_OK;
}

int slm_map_path(struct slm_mapping *map, const char *path, bool copy, const slm_allocator *a)
{
    memset(map, 0, sizeof *map);
    int fd; /* a FIFO without a writer must not block: it is refused below */
    do
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return slm_fail(SLM_EIO, "%s: %s", path, strerror(errno));
    int rc = slm_map_fd(map, fd, 0, 0, copy, path, a);
    close(fd);
    return rc;
}

void slm_unmap(struct slm_mapping *map)
{
    if (!map->base)
        return;
    if (map->copied)
        slm_free(map->allocator, map->base, map->base_length);
    else
        munmap(map->base, map->base_length);
    memset(map, 0, sizeof *map);
}

void slm_map_done(const struct slm_mapping *map, const void *p, uint64_t n)
{
    /* Whole pages only: a neighbour on the first or last page may still be in use. */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), base = (uintptr_t)map->base;
    uintptr_t begin = ((uintptr_t)p + page - 1) / page * page, end = ((uintptr_t)p + n) / page * page;
    if (!map->copied && begin >= base && begin < end && end <= base + map->base_length)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* ----------------------------------------------------------------------- time --- */

double slm_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ------------------------------------------------------------- floating point --- */

#if defined(__x86_64__)

void slm_fenv_enter(struct slm_fenv *env)
{
    env->saved = _mm_getcsr();
    _mm_setcsr(0x1F80); /* the power-on value of MXCSR */
}

void slm_fenv_leave(const struct slm_fenv *env)
{
    _mm_setcsr((unsigned)env->saved);
}

#elif defined(__aarch64__)

void slm_fenv_enter(struct slm_fenv *env)
{
    __asm__ volatile("mrs %0, fpcr" : "=r"(env->saved));
    uint64_t none = 0;
    __asm__ volatile("msr fpcr, %0" : : "r"(none));
}

void slm_fenv_leave(const struct slm_fenv *env)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(env->saved));
}

#else

void slm_fenv_enter(struct slm_fenv *env)
{
    env->saved = (uint64_t)fegetround();
    fesetround(FE_TONEAREST);
}

void slm_fenv_leave(const struct slm_fenv *env)
{
    fesetround((int)env->saved);
}

#endif
