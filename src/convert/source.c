/* source.c - a sorted array and binary search; see source.h. */
#include "convert/source.h"

#include "convert/family.h"
#include "source/quote.h"

#include <stdlib.h>

static const struct slm_source_tensor *all(const struct slm_source *source)
{
    return (const struct slm_source_tensor *)(const void *)source->tensors.data;
}

size_t slm_source_count(const struct slm_source *source)
{
    return source->tensors.length / sizeof(struct slm_source_tensor);
}

int slm_source_add(struct slm_source *source, const struct slm_source_tensor *tensors, size_t n)
{
    slm_buf_append(&source->tensors, tensors, n * sizeof *tensors);
    return slm_buf_ok(&source->tensors);
}

/* By bytes; the shorter of two first. */
static int compare(const void *a, const void *b)
{
    const struct slm_source_tensor *x = a, *y = b;
    size_t n = x->name_length < y->name_length ? x->name_length : y->name_length;
    int order = memcmp(x->name, y->name, n);
    return order ? order : (x->name_length > y->name_length) - (x->name_length < y->name_length);
}

int slm_source_close(struct slm_source *source)
{
    size_t n = slm_source_count(source);
    const struct slm_source_tensor *tensors = all(source);
    if (n)
        qsort(source->tensors.data, n, sizeof *tensors, compare);
    for (size_t i = 1; i < n; i++)
        if (compare(&tensors[i - 1], &tensors[i]) == 0)
            return slm_fail(SLM_EFORMAT, "tensor %s stands twice",
                            slm_quote(tensors[i].name, tensors[i].name_length).text);
    source->used.allocator = source->tensors.allocator;
    uint8_t *used = slm_buf_grow(&source->used, n + 1); /* never nothing */
    if (!used)
        return SLM_ENOMEM;
    memset(used, 0, n);
    return SLM_OK;
}

void slm_source_free(struct slm_source *source)
{
    slm_buf_free(&source->tensors);
    slm_buf_free(&source->used);
}

const struct slm_source_tensor *slm_source_find(const struct slm_source *source, const char *name)
{
    struct slm_source_tensor wanted = {.name = name, .name_length = strlen(name)};
    size_t n = slm_source_count(source);
    return n ? bsearch(&wanted, all(source), n, sizeof wanted, compare) : NULL;
}

const struct slm_source_tensor *slm_source_take(struct slm_source *source, const char *name)
{
    const struct slm_source_tensor *tensor = slm_source_find(source, name);
    if (tensor)
        source->used.data[tensor - all(source)] = 1;
    return tensor;
}

const struct slm_source_tensor *slm_source_unused(const struct slm_source *source,
                                                  const struct slm_family *family)
{
    const struct slm_source_tensor *tensors = all(source);
    for (size_t i = 0; i < slm_source_count(source); i++)
        if (!source->used.data[i] && !slm_family_ignores(family, tensors[i].name, tensors[i].name_length))
            return &tensors[i];
    return NULL;
}
