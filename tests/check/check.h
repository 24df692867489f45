/*
 * check.h - every kernel of every tier against the plain C one, and that one against arithmetic
 * in double precision.
 *
 * Each check_ function is a cmocka test of one slot of struct slm_kern for one tier. Its state is
 * a struct check. When the tier is the plain C one there is nothing to compare by memcmp; then the
 * oracle does the work.
 */
#ifndef TESTS_CHECK_CHECK_H
#define TESTS_CHECK_CHECK_H

#include "kern/kern.h"
#include "support/guarded.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct check {
    const struct slm_kern *kern; /* what is tested */
    const struct slm_kern *c;    /* what it must equal */
    uint32_t type;               /* weight type, for gemm */
    uint64_t seed;
    char name[64];
};

static inline struct random check_random(const struct check *check)
{
    return random_stream(check->seed, 1 + check->type);
}

/* check_gemm.c */
void check_gemm_shapes(void **state);
void check_gemm_extremes(void **state);
void check_gemm_blas(void **state); /* skipped where OpenBLAS was not found */

/* check_rows.c */
void check_quantize(void **state);
void check_quantize_special(void **state);
void check_rms_norm(void **state);
void check_layer_norm(void **state);
void check_activations(void **state);
void check_soft_cap(void **state);
void check_rope(void **state);
void check_scale(void **state);
void check_exp(void **state);

/* check_attend.c */
void check_kv_store(void **state);
void check_kv_store_q8(void **state);
void check_attend(void **state);
void check_attend_alone(void **state); /* a row alone, and among others */
void check_attend_merge(void **state);
void check_attention(void **state); /* spans and merges against a naive softmax */

/* bench_kernels.c: a table on stdout. */
void bench_kernels(unsigned tiers, uint64_t seed);

#endif
