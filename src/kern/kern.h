/*
 * kern.h - the arithmetic of a transformer, in one table of functions a CPU tier.
 *
 * Bodies are written once, in *_tmpl.h, over the virtual machine of vm.h; a tier compiles them for
 * its instructions. Every tier gives the same bits: docs/numerics.md says in which order numbers
 * meet, and tests/check compares each slot of each tier with the plain C one by memcmp.
 *
 * Shapes: a "row" is one token's vector. Row buffers are padded to 32 floats with zeros, and every
 * function here keeps that padding zero. Lane i of a vector is element i.
 */
#ifndef SLM_KERN_KERN_H
#define SLM_KERN_KERN_H

#include "quant/quant.h"

#include <float.h>

#if FLT_EVAL_METHOD != 0 || defined(__FAST_MATH__)
#error "floats must be computed as floats: no x87, no -ffast-math (docs/numerics.md)"
#endif

/* Activations for integer weights: symmetric int8 in blocks of 32, one row a token. */
struct slm_act_block {
    float scale;      /* largest magnitude / 127 */
    float offset;     /* scale * sum of q: what a weight's minimum is multiplied with */
    int32_t minus8;   /* -8 * sum of q: where the dot with nibbles that stand for q - 8 begins */
    int32_t minus128; /* -128 * sum of q: likewise for signed bytes that a machine has shifted */
};
struct slm_acts {
    int8_t *q;                    /* [rows][cols] */
    struct slm_act_block *blocks; /* [rows][cols/32] */
    size_t cols;                  /* from row to row: a multiple of 32, at least the width */
};

/* y[t][r] = sum over c of w[r][c] * x[t][c] (+ bias[r]) (+ what was in y[t][r]) */
struct slm_gemm {
    const uint8_t *panels;  /* as in quant/quant.h */
    size_t n_tiles;         /* of a panel: cols / 32 */
    size_t rows;            /* true number of rows; y is written up to a multiple of 16 */
    const float *bias;      /* [rows] or NULL */
    const float *x;         /* float types: [n][x_stride] */
    size_t x_stride;
    struct slm_acts acts;   /* integer types: [n] rows */
    size_t n;               /* tokens */
    float *y;               /* [n][y_stride] */
    size_t y_stride;
    float scale;            /* multiplies the product (residual_scale); 1 leaves it exact */
    bool add;
};

enum {
    SLM_PAGE = 32,  /* positions of a KV page */
    SLM_SPAN = 256, /* positions that attention works on together; a multiple of the page */
    SLM_TILE_ROWS = 12 /* query rows of one attention tile at most */
};

/* Activations, by the numbers that files have. */
enum slm_kern_activation {
    SLM_KERN_SILU = 1,
    SLM_KERN_GELU = 2,
    SLM_KERN_GELU_TANH = 3,
    SLM_KERN_GELU_QUICK = 4,
    SLM_KERN_RELU = 5,
    SLM_KERN_ACTIVATIONS = 6
};

/*
 * Keys and values of one KV head lie in two rows of pages, so that both are read from memory as one
 * stream. One page, in f16 or f32:
 *     keys   [head_dim][SLM_PAGE]         lane = position
 *     values [SLM_PAGE][value_stride]     lane = dimension; value_stride: head_dim padded to 16
 * In q8 both are weights of integer products, tiles of signed bytes as in quant.h. Each position has a
 * scale (f16) for every block of 32 dimensions, the last filled up with zeros:
 *     keys   [SLM_PAGE / 16][blocks] q8 tiles of a matrix [position][dimension]; then, since it comes
 *            from memory with these, u16 [blocks][SLM_PAGE]: the scales of the values
 *     values [value_stride / 16] tiles of a matrix [dimension][position], without scales
 * Keys are stored, and queries multiplied with them, after a change of basis that spreads a block's
 * outliers over all of it: see mix() in attend_tmpl.h.
 */
struct slm_kv_shape {
    size_t value_stride;           /* elements */
    size_t key_bytes, value_bytes; /* of a page: multiples of 64 */
};

static inline struct slm_kv_shape slm_kv_shape(uint32_t kv_type, size_t head_dim)
{
    size_t stride = slm_round_up(head_dim, 16), blocks = (head_dim + 31) / 32;
    if (kv_type == SLM_KV_Q8)
        return (struct slm_kv_shape){stride, blocks * (SLM_PAGE / 16 * SLM_TILE_Q8 + SLM_PAGE * 2),
                                     SLM_PAGE * stride};
    size_t element = kv_type == SLM_KV_F32 ? 4 : 2;
    return (struct slm_kv_shape){stride, SLM_PAGE * head_dim * element,
                                 SLM_PAGE * stride * element};
}

/* Floats of scratch that attend() works in: scores; for q8 struct weights of attend_tmpl.h too. */
static inline size_t slm_attend_scratch(uint32_t kv_type, size_t head_dim)
{
    size_t blocks = (head_dim + 31) / 32, scales = slm_round_up(blocks * (SLM_SPAN / SLM_PAGE), 16);
    size_t scores = SLM_TILE_ROWS * SLM_SPAN, weights = blocks * scores / 4;
    return kv_type == SLM_KV_Q8
               ? scores + blocks * SLM_SPAN + (1 + SLM_TILE_ROWS) * scales + weights
               : scores;
}

struct slm_attend {
    uint32_t kv_type;         /* SLM_KV_ */
    size_t head_dim;
    struct slm_kv_shape shape;
    const uint8_t *keys, *values; /* of this KV head: pages one after another */
    const uint32_t *pages;    /* page table of the sequence */
    size_t n_rows;            /* 1 to SLM_TILE_ROWS */
    const float *query;       /* f16 and f32 pages: [head_dim][SLM_TILE_ROWS] */
    struct slm_acts acts;     /* q8 pages: the same [n_rows], from kv_query */
    size_t begin[SLM_TILE_ROWS];       /* first position seen (windows) */
    size_t end[SLM_TILE_ROWS];         /* one past the last; ascending with the row */
    float scale;              /* multiplies q.k */
    float cap;                /* then: cap * tanh(score / cap); 0: no cap */
    float slope[SLM_TILE_ROWS];        /* then: less slope * distance; 0: nothing */
    bool sloped;              /* whether any slope is not 0 */
    float *scores;            /* scratch, begins with [SLM_TILE_ROWS][SLM_SPAN] */
    float *largest;           /* out [n_rows] of this span; -INFINITY: nothing seen here */
    float *total;             /* out [n_rows] */
    float *out[SLM_TILE_ROWS];/* out [value_stride]: sum of exp(score - largest) * value */
};

struct slm_kern {
    unsigned tier; /* SLM_CPU_ bit */

    /* Panels [first, last) of a product, by weight type (NULL where the type is unknown). */
    void (*gemm[SLM_N_TYPES])(const struct slm_gemm *g, size_t first, size_t last);

    /* x[n] to one row of activations; n a multiple of 32. */
    void (*quantize)(const float *x, size_t n, int8_t *q, struct slm_act_block *blocks);

    /* out = weight * x / sqrt(mean(x^2) + eps) + bias: all [n], any n; bias may be NULL, out may
     * be x. layer_norm takes the mean of x away from it first. */
    void (*rms_norm)(float *out, const float *x, const float *weight, const float *bias, size_t n,
                     float eps);
    void (*layer_norm)(float *out, const float *x, const float *weight, const float *bias, size_t n,
                       float eps);

    /* x = act(x) * up, or act(x) where up is NULL; n a multiple of 16. */
    void (*activate[SLM_KERN_ACTIVATIONS])(float *x, const float *up, size_t n);

    /* x = cap * tanh(x / cap); n a multiple of 16. */
    void (*soft_cap)(float *x, size_t n, float cap);

    /* Rotate the pairs (i, i + half) of one head by the angles whose cos and sin are given [half]. */
    void (*rope)(float *head, const float *cosine, const float *sine, size_t half);

    /* Put one position's key [head_dim] and value [head_dim] into a page; see slm_attend. */
    void (*kv_store)(void *keys, void *values, size_t slot, const float *key, const float *value,
                     size_t head_dim, uint32_t kv_type);

    /* A query [head_dim] as what q8 keys are multiplied with: a row of activations. */
    void (*kv_query)(const float *query, size_t head_dim, int8_t *q, struct slm_act_block *blocks);

    /* One span of positions [span * SLM_SPAN, ...) for up to SLM_TILE_ROWS query rows. */
    void (*attend)(const struct slm_attend *a, size_t span);

    /* (total, largest, out) of earlier spans and of one more, in this order: [n] out. */
    void (*attend_merge)(float *largest, float *total, float *out, float span_largest,
                         float span_total, const float *span_out, size_t n);

    /* out[n] = x[n] * factor, for any n. */
    void (*scale)(float *out, const float *x, float factor, size_t n);

    /* y[i] = e^x[i]: for tests of the function that the others are made of; n a multiple of 16. */
    void (*exp)(float *y, const float *x, size_t n);
};

/* The best tier among `allowed` (SLM_CPU_ bits) that this machine has; NULL: none of them. */
const struct slm_kern *slm_kern_select(unsigned allowed);

/* Tiers that are both compiled in and usable here. */
unsigned slm_kern_tiers(void);

/* "c", "avx2"...; NULL unless exactly one known bit is set. */
const char *slm_kern_name(unsigned tier);

#endif
