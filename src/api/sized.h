/*
 * sized.h - structs that begin with their size, so that programs and libraries of different
 * versions understand each other: both sides use what both know.
 */
#ifndef SLM_API_SIZED_H
#define SLM_API_SIZED_H

#include "base/error.h"

#include <string.h>

enum { SLM_SIZED_MOST = 4096 }; /* more is no size of a struct, but a forgotten initialiser */

/* Copy a caller's options into *out (own_size bytes): fields that the caller's version does not
 * have are zero, their default; fields that only a newer version has must be zero, or they would be
 * ignored in silence. options NULL: all zero. `name` is for the message. */
static inline int slm_sized_read(void *out, size_t own_size, const void *options, const char *name)
{
    memset(out, 0, own_size);
    if (!options)
        return SLM_OK;
    size_t size;
    memcpy(&size, options, sizeof size);
    if (size < sizeof size)
        return slm_fail(SLM_EINVAL, "%s.size is %zu: set it to sizeof(%s)", name, size, name);
    if (size > SLM_SIZED_MOST)
        return slm_fail(SLM_EINVAL, "%s.size is %zu: set it to sizeof(%s)", name, size, name);
    for (size_t i = own_size; i < size; i++)
        if (((const char *)options)[i])
            return slm_fail(SLM_EUNSUPPORTED, "%s: a field that this library (version %s) does not have "
                            "is set", name, SLM_VERSION_STRING);
    memcpy(out, options, size < own_size ? size : own_size);
    return SLM_OK;
}

/* Element i of a caller's array of such structs. Their own size is the step from one to the next, so
 * all must have that of the first; elements are read in order. */
static inline int slm_sized_read_at(void *out, size_t own_size, const void *array, size_t i,
                                    const char *name)
{
    size_t step, size;
    memcpy(&step, array, sizeof step);
    const char *at = (const char *)array + i * step;
    int rc = slm_sized_read(out, own_size, at, name);
    memcpy(&size, at, sizeof size);
    if (rc == SLM_OK && size != step)
        rc = slm_fail(SLM_EINVAL, "%s.size is %zu, and that of the first element is %zu", name, size,
                      step);
    return rc;
}

/* The other way: fill the caller's struct, whose size field must be set, as far as it goes. */
static inline int slm_sized_write(void *result, const void *own, size_t own_size, const char *name)
{
    size_t size;
    memcpy(&size, result, sizeof size);
    if (size < sizeof size)
        return slm_fail(SLM_EINVAL, "%s.size is %zu: set it to sizeof(%s)", name, size, name);
    if (size > SLM_SIZED_MOST)
        return slm_fail(SLM_EINVAL, "%s.size is %zu: set it to sizeof(%s)", name, size, name);
    size_t n = size < own_size ? size : own_size;
    memcpy((char *)result + sizeof size, (const char *)own + sizeof size, n - sizeof size);
    memset((char *)result + n, 0, size - n); /* what only a newer library would fill */
    return SLM_OK;
}

#endif
