/*
 * plan.h - which tensor of the source becomes which tensor of the file, in which type.
 *
 * Made before anything is written, so whatever does not fit (a missing tensor, one too many, a
 * wrong shape, a type that can't be read) is found first.
 */
#ifndef SLM_CONVERT_PLAN_H
#define SLM_CONVERT_PLAN_H

#include "convert/import.h"

/* One tensor of the file. */
struct slm_weight {
    uint32_t role, layer; /* as in the file; layer SLM_NO_LAYER: of the whole model */
    uint32_t type;        /* enum slm_type */
    uint32_t rows, cols;
    bool matrix;
    const struct slm_source_tensor *source; /* NULL: computed */
    const float *computed;                  /* [cols] */
    const struct slm_source_tensor *
        *pieces; /* [n_pieces] a tensor for each head or expert; NULL: one for all */
    uint32_t n_pieces;

    /* A product: rows are those of the source, of factor_rows numbers, times this matrix. */
    const struct slm_source_tensor
        *factor;          /* [factor_rows][cols], or turned: [cols][factor_rows] */
    uint32_t factor_rows; /* 0: no product */
    bool turned;

    /* MXFP4 in two tensors: the source has 16 bytes for 32 numbers, this the exponents of their scales. */
    const struct slm_source_tensor *scales; /* or NULL */

    /* Matrices of experts, one under the other: rows below are those of each. */
    uint32_t n_experts;   /* 0: it is one matrix */
    uint32_t expert_rows; /* in our file, before panels are filled up */

    /* Which row of the source (element, of a vector) becomes which of ours. Rows of heads are
     * head_dim to a head; 0: rows are not of heads, and the source's begin at first_row. */
    uint32_t first_row, row_step;
    uint32_t source_rows; /* what the source has in all; of a vector, or its piece: elements */
    uint32_t head_dim;
    uint32_t run, stride, base; /* head h is the source's h / run * stride + base + h % run */
    uint32_t rotating;          /* dimensions that the source pairs (2i, 2i + 1); 0: in our order */
    bool transposed;            /* the source's columns are our rows */
    bool plus_one;              /* 1 is added */
};

/* The type of what the source has. */
static inline const struct slm_source_type *slm_weight_source_type(const struct slm_weight *w)
{
    return slm_source_type(w->scales ? (uint32_t)SLM_SOURCE_MXFP4 : w->source->type);
}

/* How many matrices, or vectors, stand in the tensor. */
static inline uint32_t slm_weight_stacked(const struct slm_weight *w)
{
    return w->n_experts && !w->pieces ? w->n_experts : 1;
}

/* Numbers of a row of the source. */
static inline uint32_t slm_weight_source_cols(const struct slm_weight *w)
{
    return w->factor_rows ? w->factor_rows : w->cols;
}

/* Bytes of the source that a weight stands for. */
uint64_t slm_weight_source_bytes(const struct slm_weight *w);

struct slm_plan {
    struct slm_weight *weights; /* [n], in the order in which they are used */
    size_t n, capacity;
    uint64_t source_bytes; /* that will be read */
    const slm_allocator *allocator;
};

/* What the user asked for; -1: keep. */
struct slm_plan_types {
    int32_t type;
    int32_t head; /* embedding and head */
};

int slm_plan_make(struct slm_plan *plan, struct slm_import *import,
                  const struct slm_plan_types *types);
void slm_plan_free(struct slm_plan *plan);

#endif
