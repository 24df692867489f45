/*
 * vm_neon_i8mm.h - the virtual machine on NEON with dot products and matrix products (FEAT_I8MM:
 * ARMv8.2 with the option, always from 8.6): smmla multiplies 2 rows x 8 columns with 8 columns x
 * 2 tokens. They go in pairs; one without a partner is multiplied by sdot.
 *
 * While a pair is added up, the first token's quarter q holds rows 4q and 4q + 1 of both, as
 * [row: token 0, token 1, next row: token 0, token 1], and the second's the other two rows.
 */
#ifndef SLM_KERN_ARM_VM_NEON_I8MM_H
#define SLM_KERN_ARM_VM_NEON_I8MM_H

#include "kern/arm/floats_neon.h"

#define VM_TOKENS 6
#define VM_ROWS 6
#define VM_DOTS

typedef struct {
    int32x4_t v[4];
} vu;
typedef vu vs;

static inline vu vu_begin(int32_t start)
{
    (void)start; /* tokens share registers: theirs is added at the end */
    int32x4_t v = sums_from(0);
    return (vu){{v, v, v, v}};
}

/* One token: sdot, all first columns before a sum is needed again. */
INLINED void one_token(vu *dot, const int8x16_t *first, const int8x16_t *second, const int8_t *x)
{
    int8x8_t x8 = vld1_s8(x);
    UNROLLED
    for (int q = 0; q < 4; q++)
        dot->v[q] = vdotq_lane_s32(dot->v[q], first[q], x8, 0);
    UNROLLED
    for (int q = 0; q < 4; q++)
        dot->v[q] = vdotq_lane_s32(dot->v[q], second[q], x8, 1);
}

/* 8 columns of tokens 2i and 2i + 1. */
INLINED void load_pairs(int8x16_t *pairs, const int8_t *x, size_t stride, const int tokens)
{
    UNROLLED
    for (int i = 0; i < tokens / 2; i++, x += 2 * stride)
        pairs[i] = vcombine_s8(vld1_s8(x), vld1_s8(x + stride));
}

/* dot[tokens] += 8 columns of quarter q; `second` has columns 4 to 7. */
INLINED void quarter_of_pairs(vu *dot, const int q, int8x16_t first, int8x16_t second,
                              const int8x16_t *pairs, const int tokens)
{
    int32x4_t a = vreinterpretq_s32_s8(first), b = vreinterpretq_s32_s8(second);
    int8x16_t rows01 = vreinterpretq_s8_s32(vzip1q_s32(a, b));
    int8x16_t rows23 = vreinterpretq_s8_s32(vzip2q_s32(a, b));
    UNROLLED
    for (int i = 0; i + 1 < tokens; i += 2) {
        dot[i].v[q] = vmmlaq_s32(dot[i].v[q], rows01, pairs[i / 2]);
        dot[i + 1].v[q] = vmmlaq_s32(dot[i + 1].v[q], rows23, pairs[i / 2]);
    }
}

INLINED void vu_dots(vu *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    int8x16_t pairs[VM_TOKENS / 2], low[4], high[4];
    load_pairs(pairs, x, stride, tokens);
    UNROLLED
    for (int q = 0; q < 4; q++) {
        int8x16_t w = bytes_at(p + 16 * q);
        low[q] = low_nibbles(w);
        high[q] = high_nibbles(w);
        if (tokens > 1)
            quarter_of_pairs(dot, q, low[q], high[q], pairs, tokens);
    }
    if (tokens % 2)
        one_token(&dot[tokens - 1], low, high, x + (size_t)(tokens - 1) * stride);
}

INLINED void vu_split(vu *dot, const int tokens)
{
    UNROLLED
    for (int i = 0; i + 1 < tokens; i += 2)
        UNROLLED
    for (int q = 0; q < 4; q++) {
        int32x4_t rows01 = dot[i].v[q], rows23 = dot[i + 1].v[q];
        dot[i].v[q] = vuzp1q_s32(rows01, rows23);
        dot[i + 1].v[q] = vuzp2q_s32(rows01, rows23);
    }
}

static inline vf vu_end(vu acc, int32_t start)
{
    float32x4_t from = vreinterpretq_f32_s32(vdupq_n_s32(SUM_BITS - start));
    return (vf){sums_to_f(acc.v[0], from), sums_to_f(acc.v[1], from), sums_to_f(acc.v[2], from),
                sums_to_f(acc.v[3], from)};
}

static inline vs vs_begin(int32_t shift)
{
    (void)shift;
    return vu_begin(0);
}

INLINED void vs_dots(vs *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    int8x16_t pairs[VM_TOKENS / 2], first[4], second[4];
    load_pairs(pairs, x, stride, tokens);
    UNROLLED
    for (int q = 0; q < 4; q++) {
        first[q] = bytes_at(p + 16 * q);
        second[q] = bytes_at(p + 64 + 16 * q);
        if (tokens > 1)
            quarter_of_pairs(dot, q, first[q], second[q], pairs, tokens);
    }
    if (tokens % 2)
        one_token(&dot[tokens - 1], first, second, x + (size_t)(tokens - 1) * stride);
}

INLINED void vs_split(vs *dot, const int tokens)
{
    vu_split(dot, tokens);
}

static inline vf vs_end(vs acc)
{
    return vu_end(acc, 0);
}

#endif
