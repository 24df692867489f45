/*
 * source.h - all tensors of a model that is imported, by name, whatever files they lie in.
 */
#ifndef SLM_CONVERT_SOURCE_H
#define SLM_CONVERT_SOURCE_H

#include "base/buf.h"
#include "source/types.h"

struct slm_family;

struct slm_source {
    struct slm_buf tensors; /* slm_source_tensor[]; set its allocator before the first add */
    struct slm_buf used;    /* a byte for each */
};

int slm_source_add(struct slm_source *source, const struct slm_source_tensor *tensors, size_t n);

/* After the last add: sorts. Errors: SLM_EFORMAT when a name stands twice. */
int slm_source_close(struct slm_source *source);
void slm_source_free(struct slm_source *source);

size_t slm_source_count(const struct slm_source *source);

/* By name, or NULL. take marks it as used. */
const struct slm_source_tensor *slm_source_find(const struct slm_source *source, const char *name);
const struct slm_source_tensor *slm_source_take(struct slm_source *source, const char *name);

/* The first tensor that nobody took, past those that the family ignores; NULL: none. */
const struct slm_source_tensor *slm_source_unused(const struct slm_source *source,
                                                  const struct slm_family *family);

#endif
