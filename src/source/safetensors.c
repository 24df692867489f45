/*
 * safetensors.c - see safetensors.h.
 *
 * u64 length of the header; the header, a JSON object: name -> {"dtype", "shape", "data_offsets"},
 * and "__metadata__", which is text for people; then the data that the offsets count from.
 */
#include "source/safetensors.h"

#include "base/bits.h"
#include "base/limits.h"
#include "source/quote.h"

#include <inttypes.h>
#include <stdlib.h>

/* Bytes of JSON: the reference implementation refuses more as well. */
static const uint64_t MAX_HEADER = 100000000;

static int dtype(const char *name, size_t n, uint32_t *type)
{
    static const struct {
        const char *name;
        uint32_t type;
    } dtypes[] = {
        {"F64", SLM_SOURCE_F64},   {"F32", SLM_SOURCE_F32},         {"F16", SLM_SOURCE_F16},
        {"BF16", SLM_SOURCE_BF16}, {"I64", SLM_SOURCE_I64},         {"I32", SLM_SOURCE_I32},
        {"I16", SLM_SOURCE_I16},   {"I8", SLM_SOURCE_I8},           {"U64", SLM_SOURCE_U64},
        {"U32", SLM_SOURCE_U32},   {"U16", SLM_SOURCE_U16},         {"U8", SLM_SOURCE_U8},
        {"BOOL", SLM_SOURCE_BOOL}, {"F8_E4M3", SLM_SOURCE_F8_E4M3}, {"F8_E5M2", SLM_SOURCE_F8_E5M2},
    };
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strlen(dtypes[i].name) == n && memcmp(dtypes[i].name, name, n) == 0) {
            *type = dtypes[i].type;
            return SLM_OK;
        }
    return SLM_EUNSUPPORTED;
}

/* A dimension or an offset: an integer of 0 to 2^53, or false. */
static bool count(const struct slm_json *json, slm_json_node node, uint64_t *value)
{
    int64_t integer;
    if (!slm_json_is_integer(json, node, &integer) || integer < 0 || integer > (int64_t)1 << 53)
        return false;
    *value = (uint64_t)integer;
    return true;
}

static int read_shape(const struct slm_json *json, slm_json_node node, const char *name,
                      struct slm_source_tensor *tensor, uint64_t *values)
{
    *values = 1;
    for (int i = 0; i < 4; i++)
        tensor->shape[i] = 1;
    slm_json_node shape = slm_json_get(json, node, "shape");
    if (slm_json_type(json, shape) != JSON_ARRAY)
        return slm_fail(SLM_EFORMAT, "tensor %s: shape is no array", name);
    if (slm_json_count(json, shape) > 4)
        return slm_fail(SLM_EUNSUPPORTED, "tensor %s has more than 4 dimensions", name);
    for (slm_json_node d = slm_json_first(json, shape); d >= 0; d = slm_json_next(json, d)) {
        uint64_t extent;
        if (!count(json, d, &extent) || __builtin_mul_overflow(*values, extent, values))
            return slm_fail(SLM_EFORMAT, "tensor %s: impossible shape", name);
        tensor->shape[tensor->n_dims++] = extent;
    }
    return SLM_OK;
}

/* One member of the header; data[length] is what offsets count in. */
static int read_tensor(const struct slm_json *json, slm_json_node node, const uint8_t *data,
                       uint64_t length, struct slm_source_tensor *tensor)
{
    tensor->name = slm_json_key(json, node, &tensor->name_length);
    struct slm_quoted name = slm_quote(tensor->name, tensor->name_length);
    if (slm_json_type(json, node) != JSON_OBJECT)
        return slm_fail(SLM_EFORMAT, "tensor %s: no object with dtype, shape and data_offsets",
                        name.text);
    size_t n = 0;
    const char *type = slm_json_string(json, slm_json_get(json, node, "dtype"), &n);
    if (!type)
        return slm_fail(SLM_EFORMAT, "tensor %s: dtype is missing", name.text);
    if (dtype(type, n, &tensor->type))
        return slm_fail(SLM_EUNSUPPORTED, "tensor %s: unknown dtype %s", name.text,
                        slm_quote(type, n).text);

    uint64_t values, begin, end;
    int err = read_shape(json, node, name.text, tensor, &values);
    if (err)
        return err;
    slm_json_node offsets = slm_json_get(json, node, "data_offsets");
    if (slm_json_count(json, offsets) != 2 || !count(json, slm_json_at(json, offsets, 0), &begin) ||
        !count(json, slm_json_at(json, offsets, 1), &end))
        return slm_fail(SLM_EFORMAT, "tensor %s: data_offsets are not two byte offsets", name.text);
    if (begin > end || end > length)
        return slm_fail(SLM_EFORMAT,
                        "tensor %s: data_offsets [%" PRIu64 ", %" PRIu64
                        "] lie outside the %" PRIu64 " bytes of data; is the file complete?",
                        name.text, begin, end, length);
    if (!slm_source_bytes(slm_source_type(tensor->type), values, &tensor->length) ||
        tensor->length != end - begin)
        return slm_fail(SLM_EFORMAT,
                        "tensor %s: %" PRIu64
                        " bytes of data, but its dtype and shape need %" PRIu64,
                        name.text, end - begin, tensor->length);
    tensor->data = data + begin;
    return SLM_OK;
}

static int compare_data(const void *a, const void *b)
{
    const struct slm_source_tensor *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return (x->length > y->length) - (x->length < y->length); /* empty ones first */
}

/* One tensor after the other, from the first byte of data to the last. */
static int check_layout(const struct slm_safetensors *file, const uint8_t *data, uint64_t length)
{
    uint64_t at = 0;
    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct slm_source_tensor *t = &file->tensors[i];
        uint64_t begin = (uint64_t)(t->data - data);
        if (begin != at)
            return slm_fail(
                SLM_EFORMAT, "tensor %s begins at offset %" PRIu64 ", %s %" PRIu64,
                slm_quote(t->name, t->name_length).text, begin,
                begin < at ? "within the one before, which ends at" : "leaving a gap after", at);
        at = begin + t->length;
    }
    if (at != length)
        return slm_fail(SLM_EFORMAT,
                        "the tensors end at offset %" PRIu64 " of %" PRIu64
                        " bytes of data: the header does not belong to this file",
                        at, length);
    return SLM_OK;
}

static int read_tensors(struct slm_safetensors *file, const uint8_t *data, uint64_t length)
{
    const struct slm_json *json = file->header;
    if (slm_json_type(json, 0) != JSON_OBJECT)
        return slm_fail(SLM_EFORMAT, "the header is no JSON object");
    size_t n = slm_json_count(json, 0), i = 0;
    if (n > SLM_LIMIT_TENSORS)
        return slm_fail(SLM_ELIMIT, "more than %d tensors", SLM_LIMIT_TENSORS);
    file->tensors = slm_calloc(file->allocator, n * sizeof *file->tensors);
    if (!file->tensors)
        return SLM_ENOMEM;
    file->capacity = n;
    for (slm_json_node node = slm_json_first(json, 0); node >= 0;
         node = slm_json_next(json, node)) {
        size_t length_of_key;
        const char *key = slm_json_key(json, node, &length_of_key);
        if (length_of_key == 12 && memcmp(key, "__metadata__", 12) == 0)
            continue;
        int err = read_tensor(json, node, data, length, &file->tensors[i++]);
        if (err)
            return err;
    }
    file->n_tensors = i;
    qsort(file->tensors, i, sizeof *file->tensors, compare_data);
    return check_layout(file, data, length);
}

int slm_safetensors_open(struct slm_safetensors **out, const void *data, size_t length,
                         const slm_allocator *a)
{
    *out = NULL;
    const uint8_t *bytes = data;
    if (length < 8)
        return slm_fail(SLM_EFORMAT, "%zu bytes are too few for a safetensors file", length);
    uint64_t header = slm_load_u64(bytes);
    if (header > MAX_HEADER || header > length - 8)
        return slm_fail(SLM_EFORMAT,
                        "a header of %" PRIu64 " bytes is announced in a file of %zu (and at most "
                        "%" PRIu64 " are allowed)",
                        header, length, MAX_HEADER);
    struct slm_safetensors *file = slm_calloc(a, sizeof *file);
    if (!file)
        return SLM_ENOMEM;
    file->allocator = a;
    int err = slm_json_parse(&file->header, (const char *)bytes + 8, (size_t)header, a);
    if (err)
        slm_fail_in(err, "header");
    else
        err = read_tensors(file, bytes + 8 + header, length - 8 - header);
    if (err) {
        slm_safetensors_free(file);
        return err;
    }
    *out = file;
    return SLM_OK;
}

void slm_safetensors_free(struct slm_safetensors *file)
{
    if (!file)
        return;
    const slm_allocator *a = file->allocator;
    slm_free(a, file->tensors, file->capacity * sizeof *file->tensors);
    slm_json_free(file->header);
    slm_free(a, file, sizeof *file);
}
