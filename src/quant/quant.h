/*
 * quant.h - what the bytes of a weight type mean.
 *
 * A matrix [rows][cols] lies in panels of 16 rows; a panel is a row of tiles of 16 rows x 32
 * columns, one after the other. Rows are padded to 16 and columns to 32, with zeros.
 *
 *   f32 f16 bf16  tile[32][16]: for each column the values of the 16 rows
 *   q8            u16 scale[16] (f16), then 8 groups of 64 bytes: byte 4*row + j of group c is
 *                 column 4c + j, a signed byte.                           w = scale * q
 *   q4            u16 scale[16], then 4 groups of 64 bytes: byte 4*row + j of group c holds column
 *                 8c + j in its low and column 8c + 4 + j in its high half. w = scale * (q - 8)
 *   q4a           u16 scale[16], u16 minimum[16], then groups as in q4.   w = scale * q + minimum
 *
 * A vector (norm weights, biases) is plain f32.
 *
 * One struct slm_block is 32 columns of one row, unpacked; every integer type goes through it, so
 * a new type is four small functions and a row in the table: docs/add-a-quant.md has the steps.
 */
#ifndef SLM_QUANT_QUANT_H
#define SLM_QUANT_QUANT_H

#include "base/alloc.h"

enum { SLM_PANEL_ROWS = 16, SLM_TILE_COLS = 32 };

/* Bytes of a tile. */
enum {
    SLM_TILE_F32 = 4 * 16 * 32,
    SLM_TILE_F16 = 2 * 16 * 32,
    SLM_TILE_BF16 = 2 * 16 * 32,
    SLM_TILE_Q8 = 32 + 16 * 32,
    SLM_TILE_Q4 = 32 + 16 * 32 / 2,
    SLM_TILE_Q4A = 64 + 16 * 32 / 2
};

/* The value stands in files: never renumber. */
enum slm_type {
    SLM_TYPE_F32 = 0,
    SLM_TYPE_F16 = 1,
    SLM_TYPE_BF16 = 2,
    SLM_TYPE_Q8 = 8,
    SLM_TYPE_Q4 = 16,
    SLM_TYPE_Q4A = 17,
    SLM_N_TYPES = 18 /* one above the last: tables are indexed by type */
};

struct slm_block {
    float values[32];  /* float types */
    int8_t q[32];      /* q8: -128..127; q4: -8..7; q4a: 0..15 */
    uint16_t scale;    /* f16 bits */
    uint16_t minimum;  /* f16 bits; q4a only */
};

struct slm_quant {
    uint32_t type;
    const char *name;
    uint32_t tile_bytes;  /* of 16 x 32 weights */
    bool integer;         /* multiplied with int8 activations */
    /* Nearest representation of 32 values. */
    void (*encode)(struct slm_block *block, const float *values /* [32] */);
    /* The values that the block stands for. */
    void (*decode)(const struct slm_block *block, float *values /* [32] */);
    void (*pack)(void *tile, int row, const struct slm_block *block);
    void (*unpack)(const void *tile, int row, struct slm_block *block);
};

/* The types there are, in order; NULL after the last. */
const struct slm_quant *slm_quant_at(size_t index);

/* NULL for an unknown type or name. */
const struct slm_quant *slm_quant(uint32_t type);
const struct slm_quant *slm_quant_named(const char *name);

/* Bytes of the panels of [rows][cols]; false when that overflows. */
bool slm_quant_bytes(const struct slm_quant *quant, size_t rows, size_t cols, size_t *bytes);

/* Dequantize row `row` of panels into out[cols]. */
void slm_quant_row(const struct slm_quant *quant, const void *panels, size_t row, size_t cols,
                   float *out);

#endif
