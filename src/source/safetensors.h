/*
 * safetensors.h - a .safetensors file as a list of tensors.
 *
 * Pure like gguf.h: it looks at bytes that the caller mapped. What it accepts is safe to index: the
 * tensors fill the data without a gap or an overlap, and each is as long as its type and shape say.
 */
#ifndef SLM_SOURCE_SAFETENSORS_H
#define SLM_SOURCE_SAFETENSORS_H

#include "base/json.h"
#include "source/types.h"

struct slm_safetensors {
    struct slm_source_tensor *tensors; /* [n_tensors], as their data lies in the file */
    size_t n_tensors;
    size_t capacity;         /* of tensors */
    struct slm_json *header; /* holds the names */
    const slm_allocator *allocator;
};

/* Read the header of data[length], which must stay mapped as long as *out lives. Errors:
 * SLM_EFORMAT (naming the tensor), SLM_EUNSUPPORTED (a dtype), SLM_ELIMIT, SLM_ENOMEM; *out is NULL
 * then. Messages name no path: who knows it puts it in front with slm_fail_in(). */
int slm_safetensors_open(struct slm_safetensors **out, const void *data, size_t length,
                         const slm_allocator *a);
void slm_safetensors_free(struct slm_safetensors *file); /* NULL is a no-op */

#endif
