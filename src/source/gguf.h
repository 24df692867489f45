/*
 * gguf.h - a GGUF file (version 2 or 3, little-endian) as keys and tensors.
 *
 * The reader is pure: it looks at bytes that the caller mapped, never writes, and keeps pointers
 * into them. slm_gguf_open() walks the whole header once and checks every count, length, offset
 * and product, so everything below is safe on what it accepted, whatever the bytes were. Errors
 * name the key or tensor and the offset in the file.
 *
 * Texts are not NUL-terminated and not checked to be UTF-8: a pointer and a length.
 */
#ifndef SLM_SOURCE_GGUF_H
#define SLM_SOURCE_GGUF_H

#include "base/alloc.h"
#include "source/types.h"

/* Types of values, as numbered in the file. */
enum slm_gguf_type {
    SLM_GGUF_U8 = 0,
    SLM_GGUF_I8 = 1,
    SLM_GGUF_U16 = 2,
    SLM_GGUF_I16 = 3,
    SLM_GGUF_U32 = 4,
    SLM_GGUF_I32 = 5,
    SLM_GGUF_F32 = 6,
    SLM_GGUF_BOOL = 7,
    SLM_GGUF_STRING = 8,
    SLM_GGUF_ARRAY = 9,
    SLM_GGUF_U64 = 10,
    SLM_GGUF_I64 = 11,
    SLM_GGUF_F64 = 12
};

/* One key and its value. A scalar is like an array of one element. */
struct slm_gguf_key {
    const char *name;
    size_t name_length;
    bool array;
    uint32_t type;  /* of the elements: enum slm_gguf_type; ARRAY: nested, only to be skipped */
    uint64_t count; /* elements; 1 for a scalar */
    const uint8_t *data; /* first byte of the first element */
    uint64_t offset;     /* of data, in the file */
};

struct slm_gguf {
    uint32_t version;
    const struct slm_gguf_key *keys;         /* [n_keys], sorted by name */
    const struct slm_source_tensor *tensors; /* [n_tensors], as their data lies in the file */
    size_t n_keys, n_tensors;
    const slm_allocator *allocator;
};

/* Read the header of data[length], which must stay mapped as long as *out lives.
 * Errors: SLM_EFORMAT, SLM_EUNSUPPORTED (another version, byte order or tensor type), SLM_ELIMIT,
 * SLM_ENOMEM; *out is NULL then. */
int slm_gguf_open(struct slm_gguf **out, const void *data, size_t length, const slm_allocator *a);
void slm_gguf_free(struct slm_gguf *gguf); /* NULL is a no-op */

/* The key of that name ("tokenizer.ggml.tokens"), or NULL. */
const struct slm_gguf_key *slm_gguf_find(const struct slm_gguf *gguf, const char *name);

/* A scalar by name. Each returns 1 and sets *value when the key is there, 0 and leaves *value alone
 * when it is not, and SLM_EFORMAT, naming the key, when it is there with an unfitting type or
 * outside the range: *value may so be preset with the default.
 * Integers are taken from any integer type; numbers from any integer or float type. */
int slm_gguf_u32(const struct slm_gguf *gguf, const char *name, uint32_t *value);
int slm_gguf_f64(const struct slm_gguf *gguf, const char *name, double *value);
int slm_gguf_bool(const struct slm_gguf *gguf, const char *name, bool *value);
int slm_gguf_text(const struct slm_gguf *gguf, const char *name, const char **text, size_t *n);

/* Element i of a key with a fixed-size type, widened; 0 when i is past the end or it is a string.
 * Fast enough for a loop over a vocabulary. */
double slm_gguf_number_at(const struct slm_gguf_key *key, uint64_t i);
int64_t slm_gguf_integer_at(const struct slm_gguf_key *key, uint64_t i); /* floats: 0 */
bool slm_gguf_is_integer(const struct slm_gguf_key *key); /* u8 to i64, not bool, not float */

/* Walk the strings of an array (or the one of a scalar):
 *
 *     struct slm_gguf_strings walk = slm_gguf_strings(key);
 *     while (slm_gguf_next(&walk, &text, &n)) ...
 *
 * A key that is NULL or holds no strings gives none. */
struct slm_gguf_strings {
    const uint8_t *next;
    uint64_t left;
};
struct slm_gguf_strings slm_gguf_strings(const struct slm_gguf_key *key);
bool slm_gguf_next(struct slm_gguf_strings *walk, const char **text, size_t *n);

#endif
