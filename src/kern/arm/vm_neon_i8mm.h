/*
 * vm_neon_i8mm.h - the virtual machine on NEON with dot products and matrix products (FEAT_I8MM:
 * ARMv8.2 with the option, always from 8.6): smmla multiplies 2 rows x 8 columns with 8 columns x
 * 2 tokens. Tokens go in pairs; one that has no partner is multiplied by sdot.
 *
 * While a pair is added up, the first token's quarter q holds rows 4q and 4q + 1 of both, as
 * [row: token 0, token 1, next row: token 0, token 1], and the second's holds rows 4q + 2 and 4q
 * + 3.
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

/* Two tokens' 8 columns, or one's and nothing. */
INLINED void load_pairs(int8x16_t *pairs, const int8_t *x, size_t stride, const int tokens)
{
    UNROLLED
    for (int i = 0; i < tokens; i += 2) {
        int8x8_t x0 = vld1_s8(x + (size_t)i * stride);
        int8x8_t x1 = i + 1 < tokens ? vld1_s8(x + (size_t)(i + 1) * stride) : x0;
        pairs[i / 2] = vcombine_s8(x0, x1);
    }
}

/* dot[tokens] += 8 columns of quarter q; `second` has columns 4 to 7. */
INLINED void quarter_dots(vu *dot, const int q, int8x16_t first, int8x16_t second,
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
    if (tokens % 2) {
        int32x4_t *sum = &dot[tokens - 1].v[q];
        int8x8_t x = vget_low_s8(pairs[tokens / 2]);
        *sum = vdotq_lane_s32(vdotq_lane_s32(*sum, first, x, 0), second, x, 1);
    }
}

INLINED void vu_dots(vu *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    int8x16_t pairs[(VM_TOKENS + 1) / 2];
    load_pairs(pairs, x, stride, tokens);
    UNROLLED
    for (int q = 0; q < 4; q++) {
        int8x16_t w = bytes_at(p + 16 * q);
        quarter_dots(dot, q, low_nibbles(w), high_nibbles(w), pairs, tokens);
    }
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
    int8x16_t pairs[(VM_TOKENS + 1) / 2];
    load_pairs(pairs, x, stride, tokens);
    UNROLLED
    for (int q = 0; q < 4; q++)
        quarter_dots(dot, q, bytes_at(p + 16 * q), bytes_at(p + 64 + 16 * q), pairs, tokens);
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
