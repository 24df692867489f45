/*
 * types.h - the weight types of files that are imported: how many weights a block holds, in
 * how many bytes, what they are worth, and which of our types can hold them.
 *
 * One table serves GGUF and safetensors. Values equal those of gguf-py's dequantize() bit for bit.
 */
#ifndef SLM_SOURCE_TYPES_H
#define SLM_SOURCE_TYPES_H

#include "quant/quant.h"

/* GGUF's numbers, which stand in files; what only safetensors has follows from 1000 on. */
enum slm_source_type_id {
    SLM_SOURCE_F32 = 0,
    SLM_SOURCE_F16 = 1,
    SLM_SOURCE_Q4_0 = 2,
    SLM_SOURCE_Q4_1 = 3,
    SLM_SOURCE_Q5_0 = 6,
    SLM_SOURCE_Q5_1 = 7,
    SLM_SOURCE_Q8_0 = 8,
    SLM_SOURCE_Q2_K = 10,
    SLM_SOURCE_Q3_K = 11,
    SLM_SOURCE_Q4_K = 12,
    SLM_SOURCE_Q5_K = 13,
    SLM_SOURCE_Q6_K = 14,
    SLM_SOURCE_IQ4_NL = 20,
    SLM_SOURCE_I8 = 24,
    SLM_SOURCE_I16 = 25,
    SLM_SOURCE_I32 = 26,
    SLM_SOURCE_I64 = 27,
    SLM_SOURCE_F64 = 28,
    SLM_SOURCE_BF16 = 30,
    SLM_SOURCE_MXFP4 = 39,
    SLM_SOURCE_BOOL = 1000,
    SLM_SOURCE_U8,
    SLM_SOURCE_U16,
    SLM_SOURCE_U32,
    SLM_SOURCE_U64,
    SLM_SOURCE_F8_E4M3,
    SLM_SOURCE_F8_E5M2
};

struct slm_source_type {
    uint32_t id;
    const char *name; /* as its own world writes it: "Q4_K", "BF16" */
    uint32_t values;  /* weights of one row in a block */
    uint32_t bytes;   /* of a block */
    uint32_t keep;    /* enum slm_type that --type keep chooses */

    /* What n blocks are worth: out[n * values]. NULL: the type is known and can be skipped over,
     * but weights of it are not supported. */
    void (*decode)(const uint8_t *blocks, size_t n, float *out);

    /* Where blocks go over into blocks of type `keep` without a detour through floats: weights
     * 32 * part to 32 * part + 31 of a block. NULL: decode and encode. */
    void (*transfer)(const uint8_t *block, unsigned part, struct slm_block *out);
    bool exact; /* transfer loses nothing */
};

/* NULL for an unknown number. */
const struct slm_source_type *slm_source_type(uint32_t id);
/* "F32, F16, BF16, Q4_0, ...": those with decode, for error messages; static. */
const char *slm_source_types_supported(void);
/* The name even of GGUF types that the table does not have ("IQ2_XS"); NULL: never heard of. */
const char *slm_source_type_name(uint32_t id);

/* A tensor of a source file, as its reader found it: inside the mapped bytes, length checked. */
struct slm_source_tensor {
    const char *name; /* not NUL-terminated */
    size_t name_length;
    uint32_t type;     /* enum slm_source_type_id, in the table */
    uint32_t n_dims;   /* 0 to 4 */
    uint64_t shape[4]; /* outermost first: rows, columns; unused ones are 1 */
    const uint8_t *data;
    uint64_t length; /* bytes: what type and shape make */
};

/* Bytes of n values in rows that are multiples of the block; false: overflow. */
bool slm_source_bytes(const struct slm_source_type *type, uint64_t n, uint64_t *bytes);

#endif
