/*
 * gguf.c - see gguf.h. A cursor walks the header once; nothing is read that it has not checked.
 *
 * Header: "GGUF", u32 version, u64 tensors, u64 keys; each key: string name, u32 type, value; each
 * tensor: string name, u32 dimensions, u64 each dimension, u32 type, u64 offset in the data; then
 * padding to general.alignment, then the data. A string is a u64 length and its bytes, an array a
 * u32 type, a u64 count and its elements.
 */
#include "source/gguf.h"

#include "base/bits.h"
#include "base/limits.h"
#include "source/quote.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_NAME = 65535, /* bytes; the specification's own limit for keys */
    MAX_NESTING = 8,  /* arrays in arrays; published files have none */
    MAX_ALIGNMENT = 1 << 20,
    DEFAULT_ALIGNMENT = 32,
    KEY_BYTES = 8 + 1 + 4 + 1, /* the least that a key takes in the file */
    TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8
};

/* ------------------------------------------------------------------------- cursor --- */

struct cursor {
    const uint8_t *data;
    uint64_t length;
    uint64_t at;
};

static uint64_t left(const struct cursor *c)
{
    return c->length - c->at;
}

static int truncated(const struct cursor *c, const char *what)
{
    return slm_fail(SLM_EFORMAT,
                    "GGUF: the file ends at byte %" PRIu64 " within %s; is it complete?", c->length,
                    what);
}

static int take_u32(struct cursor *c, const char *what, uint32_t *value)
{
    if (left(c) < 4)
        return truncated(c, what);
    *value = slm_load_u32(c->data + c->at);
    c->at += 4;
    return SLM_OK;
}

static int take_u64(struct cursor *c, const char *what, uint64_t *value)
{
    if (left(c) < 8)
        return truncated(c, what);
    *value = slm_load_u64(c->data + c->at);
    c->at += 8;
    return SLM_OK;
}

static int take_name(struct cursor *c, const char *what, const char **name, size_t *n)
{
    uint64_t at = c->at, length = 0;
    int err = take_u64(c, what, &length);
    if (err)
        return err;
    if (length == 0 || length > MAX_NAME)
        return slm_fail(SLM_EFORMAT,
                        "GGUF: %s at byte %" PRIu64 " has %" PRIu64 " bytes, not 1 to %d", what, at,
                        length, MAX_NAME);
    if (length > left(c))
        return truncated(c, what);
    *name = (const char *)c->data + c->at;
    *n = (size_t)length;
    c->at += length;
    return SLM_OK;
}

/* --------------------------------------------------------------------------- keys --- */

/* Bytes of a value of fixed size, else 0. */
static unsigned scalar_bytes(uint32_t type)
{
    static const uint8_t bytes[] = {
        [SLM_GGUF_U8] = 1,  [SLM_GGUF_I8] = 1,  [SLM_GGUF_U16] = 2, [SLM_GGUF_I16] = 2,
        [SLM_GGUF_U32] = 4, [SLM_GGUF_I32] = 4, [SLM_GGUF_F32] = 4, [SLM_GGUF_BOOL] = 1,
        [SLM_GGUF_U64] = 8, [SLM_GGUF_I64] = 8, [SLM_GGUF_F64] = 8,
    };
    return type < sizeof bytes ? bytes[type] : 0;
}

/* Step over `count` values of a type that is no array. */
static int skip_values(struct cursor *c, const struct slm_gguf_key *key, uint32_t type,
                       uint64_t count)
{
    struct slm_quoted name = slm_quote(key->name, key->name_length);
    unsigned bytes = scalar_bytes(type);
    if (bytes) {
        if (count > left(c) / bytes)
            return slm_fail(SLM_EFORMAT,
                            "GGUF: key %s at byte %" PRIu64 " announces %" PRIu64
                            " values, more than the file holds",
                            name.text, c->at, count);
        c->at += count * bytes;
        return SLM_OK;
    }
    if (type != SLM_GGUF_STRING)
        return slm_fail(SLM_EFORMAT, "GGUF: key %s at byte %" PRIu64 " has the unknown type %u",
                        name.text, c->at, (unsigned)type);
    /* Each string takes at least its length, so the loop is bounded by the file. */
    if (count > left(c) / 8)
        return slm_fail(SLM_EFORMAT,
                        "GGUF: key %s at byte %" PRIu64 " announces %" PRIu64
                        " strings, more than the file holds",
                        name.text, c->at, count);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t length = 0;
        if (take_u64(c, "a string", &length) || length > left(c))
            return slm_fail(SLM_EFORMAT,
                            "GGUF: key %s: string %" PRIu64 " at byte %" PRIu64
                            " reaches beyond the end of the file",
                            name.text, i, c->at);
        c->at += length;
    }
    return SLM_OK;
}

/* Arrays of arrays are stepped over and never read. open[] holds how many arrays are still to come
 * on each level. */
static int skip_arrays(struct cursor *c, const struct slm_gguf_key *key, uint64_t count)
{
    uint64_t open[MAX_NESTING] = {count};
    int depth = 0, err;
    while (depth >= 0) {
        if (open[depth] == 0) {
            depth--;
            continue;
        }
        open[depth]--;
        uint32_t type;
        uint64_t n;
        if ((err = take_u32(c, "a nested array", &type)) ||
            (err = take_u64(c, "a nested array", &n)))
            return err;
        if (type != SLM_GGUF_ARRAY) {
            if ((err = skip_values(c, key, type, n)))
                return err;
        } else if (++depth == MAX_NESTING) {
            return slm_fail(SLM_EFORMAT, "GGUF: key %s: arrays nested deeper than %d",
                            slm_quote(key->name, key->name_length).text, MAX_NESTING);
        } else {
            open[depth] = n;
        }
    }
    return SLM_OK;
}

static int take_key(struct cursor *c, struct slm_gguf_key *key)
{
    int err = take_name(c, "the name of a key", &key->name, &key->name_length);
    if (err || (err = take_u32(c, "the type of a key", &key->type)))
        return err;
    key->count = 1;
    key->array = key->type == SLM_GGUF_ARRAY;
    if (key->array) {
        if ((err = take_u32(c, "an array", &key->type)) ||
            (err = take_u64(c, "an array", &key->count)))
            return err;
    }
    key->data = c->data + c->at;
    key->offset = c->at;
    return key->type == SLM_GGUF_ARRAY ? skip_arrays(c, key, key->count)
                                       : skip_values(c, key, key->type, key->count);
}

static int compare_names(const char *a, size_t na, const char *b, size_t nb)
{
    int order = memcmp(a, b, na < nb ? na : nb);
    return order ? order : (na > nb) - (na < nb);
}

static int compare_keys(const void *a, const void *b)
{
    const struct slm_gguf_key *x = a, *y = b;
    return compare_names(x->name, x->name_length, y->name, y->name_length);
}

static int take_keys(struct cursor *c, struct slm_gguf_key *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int err = take_key(c, &keys[i]);
        if (err)
            return err;
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 1; i < n; i++)
        if (compare_keys(&keys[i - 1], &keys[i]) == 0)
            return slm_fail(SLM_EFORMAT,
                            "GGUF: key %s stands twice, at bytes %" PRIu64 " and %" PRIu64,
                            slm_quote(keys[i].name, keys[i].name_length).text, keys[i - 1].offset,
                            keys[i].offset);
    return SLM_OK;
}

/* ------------------------------------------------------------------------ tensors --- */

/* Everything but where the data lies: `data` stays NULL and *offset gets the offset. */
static int take_tensor(struct cursor *c, struct slm_source_tensor *tensor, uint64_t *offset)
{
    uint64_t at = c->at, values = 1;
    int err = take_name(c, "the name of a tensor", &tensor->name, &tensor->name_length);
    if (err || (err = take_u32(c, "a tensor", &tensor->n_dims)))
        return err;
    struct slm_quoted name = slm_quote(tensor->name, tensor->name_length);
    if (tensor->n_dims < 1 || tensor->n_dims > 4)
        return slm_fail(SLM_EFORMAT,
                        "GGUF: tensor %s at byte %" PRIu64 " has %u dimensions, not 1 to 4",
                        name.text, at, (unsigned)tensor->n_dims);
    for (int i = 0; i < 4; i++)
        tensor->shape[i] = 1;
    for (uint32_t i = tensor->n_dims; i-- > 0;) { /* the file has the innermost first */
        if ((err = take_u64(c, "a tensor", &tensor->shape[i])))
            return err;
        if (tensor->shape[i] == 0 || __builtin_mul_overflow(values, tensor->shape[i], &values))
            return slm_fail(SLM_EFORMAT,
                            "GGUF: tensor %s at byte %" PRIu64 " has an impossible shape",
                            name.text, at);
    }
    if ((err = take_u32(c, "a tensor", &tensor->type)) || (err = take_u64(c, "a tensor", offset)))
        return err;

    const struct slm_source_type *type = slm_source_type(tensor->type);
    if (!type || type->id >= SLM_SOURCE_BOOL) {
        const char *known = type ? NULL : slm_source_type_name(tensor->type);
        return slm_fail(
            SLM_EUNSUPPORTED,
            "GGUF: tensor %s has the type %s (%u), which is not supported; supported: %s",
            name.text, known ? known : "unknown", (unsigned)tensor->type,
            slm_source_types_supported());
    }
    if (tensor->shape[tensor->n_dims - 1] % type->values)
        return slm_fail(SLM_EFORMAT,
                        "GGUF: tensor %s at byte %" PRIu64 ": rows of %" PRIu64
                        " are no whole number of %s blocks of %u",
                        name.text, at, tensor->shape[tensor->n_dims - 1], type->name,
                        (unsigned)type->values);
    if (!slm_source_bytes(type, values, &tensor->length))
        return slm_fail(SLM_EFORMAT, "GGUF: tensor %s at byte %" PRIu64 " has an impossible shape",
                        name.text, at);
    return SLM_OK;
}

static int compare_data(const void *a, const void *b)
{
    const struct slm_source_tensor *x = a, *y = b;
    return (x->data > y->data) - (x->data < y->data);
}

/* general.alignment, a power of two. */
static int alignment(const struct slm_gguf *gguf, uint32_t *value)
{
    *value = DEFAULT_ALIGNMENT;
    int found = slm_gguf_u32(gguf, "general.alignment", value);
    if (found < 0)
        return found;
    if (*value == 0 || *value > MAX_ALIGNMENT || (*value & (*value - 1)))
        return slm_fail(SLM_EFORMAT, "GGUF: general.alignment is %u, not a power of two up to %d",
                        (unsigned)*value, MAX_ALIGNMENT);
    return SLM_OK;
}

/* Give each tensor its data, check that it lies in the file and that no two overlap. */
static int place(struct cursor *c, const struct slm_gguf *gguf, struct slm_source_tensor *tensors,
                 const uint64_t *offsets, size_t n)
{
    uint32_t align;
    int err = alignment(gguf, &align);
    if (err || n == 0)
        return err;
    uint64_t begin = c->at + (align - c->at % align) % align; /* at most 2^20 past the end */
    for (size_t i = 0; i < n; i++) {
        struct slm_quoted name = slm_quote(tensors[i].name, tensors[i].name_length);
        if (offsets[i] % align)
            return slm_fail(SLM_EFORMAT, "GGUF: tensor %s: offset %" PRIu64 " is not aligned to %u",
                            name.text, offsets[i], (unsigned)align);
        if (begin > c->length || offsets[i] > c->length - begin ||
            tensors[i].length > c->length - begin - offsets[i])
            return slm_fail(SLM_EFORMAT,
                            "GGUF: tensor %s: %" PRIu64 " bytes at offset %" PRIu64
                            " of the data reach beyond the end of the file (%" PRIu64
                            " bytes); is it complete?",
                            name.text, tensors[i].length, offsets[i], c->length);
        tensors[i].data = c->data + begin + offsets[i];
    }
    qsort(tensors, n, sizeof *tensors, compare_data);
    for (size_t i = 1; i < n; i++)
        if (tensors[i].data < tensors[i - 1].data + tensors[i - 1].length)
            return slm_fail(SLM_EFORMAT, "GGUF: tensors %s and %s overlap",
                            slm_quote(tensors[i - 1].name, tensors[i - 1].name_length).text,
                            slm_quote(tensors[i].name, tensors[i].name_length).text);
    return SLM_OK;
}

static int take_tensors(struct cursor *c, const struct slm_gguf *gguf,
                        struct slm_source_tensor *tensors, size_t n)
{
    uint64_t *offsets = slm_alloc(gguf->allocator, n * sizeof *offsets);
    int err = offsets ? SLM_OK : SLM_ENOMEM;
    for (size_t i = 0; i < n && !err; i++)
        err = take_tensor(c, &tensors[i], &offsets[i]);
    if (!err)
        err = place(c, gguf, tensors, offsets, n);
    slm_free(gguf->allocator, offsets, n * sizeof *offsets);
    return err;
}

/* --------------------------------------------------------------------------- open --- */

static int take_header(struct cursor *c, uint32_t *version, uint64_t *n_keys, uint64_t *n_tensors)
{
    if (c->length < 4 || memcmp(c->data, "GGUF", 4) != 0)
        return slm_fail(SLM_EFORMAT, "GGUF: the file does not begin with \"GGUF\"");
    c->at = 4;
    int err = take_u32(c, "the header", version);
    if (err)
        return err;
    if (*version != 2 && *version != 3)
        return slm_fail(SLM_EUNSUPPORTED, "GGUF: version %u is not supported, only 2 and 3%s",
                        (unsigned)*version,
                        (*version & 0xFFFF) == 0 ? " (this file is big-endian)" : "");
    if ((err = take_u64(c, "the header", n_tensors)) || (err = take_u64(c, "the header", n_keys)))
        return err;
    if (*n_keys > left(c) / KEY_BYTES || *n_tensors > left(c) / TENSOR_BYTES)
        return slm_fail(SLM_EFORMAT,
                        "GGUF: %" PRIu64 " keys and %" PRIu64
                        " tensors are announced at byte 8, more than %" PRIu64 " bytes can hold",
                        *n_keys, *n_tensors, c->length);
    if (*n_keys > SLM_LIMIT_METADATA || *n_tensors > SLM_LIMIT_TENSORS)
        return slm_fail(SLM_ELIMIT, "GGUF: more than %d keys or %d tensors", SLM_LIMIT_METADATA,
                        SLM_LIMIT_TENSORS);
    return SLM_OK;
}

int slm_gguf_open(struct slm_gguf **out, const void *data, size_t length, const slm_allocator *a)
{
    *out = NULL;
    struct cursor c = {data, length, 0};
    uint32_t version;
    uint64_t n_keys, n_tensors;
    int err = take_header(&c, &version, &n_keys, &n_tensors);
    if (err)
        return err;

    struct slm_gguf *gguf = slm_calloc(a, sizeof *gguf);
    if (!gguf)
        return SLM_ENOMEM;
    gguf->version = version;
    gguf->allocator = a;
    gguf->n_keys = (size_t)n_keys; /* the limits keep the products below 2^32 */
    gguf->n_tensors = (size_t)n_tensors;
    struct slm_gguf_key *keys = slm_calloc(a, gguf->n_keys * sizeof *keys);
    struct slm_source_tensor *tensors = slm_calloc(a, gguf->n_tensors * sizeof *tensors);
    gguf->keys = keys;
    gguf->tensors = tensors;
    err = keys && tensors ? take_keys(&c, keys, gguf->n_keys) : SLM_ENOMEM;
    if (!err)
        err = take_tensors(&c, gguf, tensors, gguf->n_tensors);
    if (err) {
        slm_gguf_free(gguf);
        return err;
    }
    *out = gguf;
    return SLM_OK;
}

void slm_gguf_free(struct slm_gguf *gguf)
{
    if (!gguf)
        return;
    const slm_allocator *a = gguf->allocator;
    slm_free(a, (void *)(uintptr_t)gguf->keys, gguf->n_keys * sizeof *gguf->keys);
    slm_free(a, (void *)(uintptr_t)gguf->tensors, gguf->n_tensors * sizeof *gguf->tensors);
    slm_free(a, gguf, sizeof *gguf);
}

/* ------------------------------------------------------------------------- values --- */

const struct slm_gguf_key *slm_gguf_find(const struct slm_gguf *gguf, const char *name)
{
    struct slm_gguf_key wanted = {.name = name, .name_length = strlen(name)};
    return gguf->n_keys ? bsearch(&wanted, gguf->keys, gguf->n_keys, sizeof wanted, compare_keys)
                        : NULL;
}

bool slm_gguf_is_integer(const struct slm_gguf_key *key)
{
    return scalar_bytes(key->type) && key->type != SLM_GGUF_F32 && key->type != SLM_GGUF_F64 &&
           key->type != SLM_GGUF_BOOL;
}

int64_t slm_gguf_integer_at(const struct slm_gguf_key *key, uint64_t i)
{
    if (i >= key->count || scalar_bytes(key->type) == 0)
        return 0;
    const uint8_t *p = key->data + i * scalar_bytes(key->type);
    switch (key->type) {
    case SLM_GGUF_U8: return *p;
    case SLM_GGUF_I8: return (int8_t)*p;
    case SLM_GGUF_BOOL: return *p != 0;
    case SLM_GGUF_U16: return slm_load_u16(p);
    case SLM_GGUF_I16: return (int16_t)slm_load_u16(p);
    case SLM_GGUF_U32: return slm_load_u32(p);
    case SLM_GGUF_I32: return (int32_t)slm_load_u32(p);
    case SLM_GGUF_U64:
    case SLM_GGUF_I64: return (int64_t)slm_load_u64(p);
    }
    return 0;
}

double slm_gguf_number_at(const struct slm_gguf_key *key, uint64_t i)
{
    if (i >= key->count)
        return 0;
    if (key->type == SLM_GGUF_F32)
        return slm_load_f32(key->data + 4 * i);
    if (key->type == SLM_GGUF_F64) {
        uint64_t bits = slm_load_u64(key->data + 8 * i);
        double value;
        memcpy(&value, &bits, 8);
        return value;
    }
    if (key->type == SLM_GGUF_U64)
        return (double)(uint64_t)slm_gguf_integer_at(key, i);
    return (double)slm_gguf_integer_at(key, i);
}

static int unfitting(const struct slm_gguf_key *key, const char *wanted)
{
    return slm_fail(SLM_EFORMAT, "GGUF: key %s at byte %" PRIu64 " is not %s",
                    slm_quote(key->name, key->name_length).text, key->offset, wanted);
}

int slm_gguf_u32(const struct slm_gguf *gguf, const char *name, uint32_t *value)
{
    const struct slm_gguf_key *key = slm_gguf_find(gguf, name);
    if (!key)
        return 0;
    int64_t integer = slm_gguf_integer_at(key, 0);
    if (key->array || !slm_gguf_is_integer(key) || integer < 0 || integer > UINT32_MAX)
        return unfitting(key, "an integer of 0 to 4294967295");
    *value = (uint32_t)integer;
    return 1;
}

int slm_gguf_f64(const struct slm_gguf *gguf, const char *name, double *value)
{
    const struct slm_gguf_key *key = slm_gguf_find(gguf, name);
    if (!key)
        return 0;
    if (key->array || key->type == SLM_GGUF_STRING || key->type == SLM_GGUF_BOOL)
        return unfitting(key, "a number");
    *value = slm_gguf_number_at(key, 0);
    return 1;
}

int slm_gguf_bool(const struct slm_gguf *gguf, const char *name, bool *value)
{
    const struct slm_gguf_key *key = slm_gguf_find(gguf, name);
    if (!key)
        return 0;
    if (key->array || key->type != SLM_GGUF_BOOL)
        return unfitting(key, "true or false");
    *value = *key->data != 0;
    return 1;
}

int slm_gguf_text(const struct slm_gguf *gguf, const char *name, const char **text, size_t *n)
{
    const struct slm_gguf_key *key = slm_gguf_find(gguf, name);
    if (!key)
        return 0;
    if (key->array || key->type != SLM_GGUF_STRING)
        return unfitting(key, "a text");
    struct slm_gguf_strings walk = slm_gguf_strings(key);
    slm_gguf_next(&walk, text, n);
    return 1;
}

struct slm_gguf_strings slm_gguf_strings(const struct slm_gguf_key *key)
{
    struct slm_gguf_strings walk = {NULL, 0};
    if (key && key->type == SLM_GGUF_STRING) {
        walk.next = key->data;
        walk.left = key->count;
    }
    return walk;
}

bool slm_gguf_next(struct slm_gguf_strings *walk, const char **text, size_t *n)
{
    if (walk->left == 0)
        return false;
    /* Lengths were checked when the file was opened. */
    *n = (size_t)slm_load_u64(walk->next);
    *text = (const char *)walk->next + 8;
    walk->next += 8 + *n;
    walk->left--;
    return true;
}
