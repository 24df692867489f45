/*
 * vm_neon_i8mm.h - the virtual machine on NEON with dot products and matrix products (FEAT_I8MM:
 * ARMv8.2 with the option, always from 8.6): smmla multiplies 2 rows x 8 columns with 8 columns x
 * 2 tokens. Tokens go in pairs; a last one without partner is multiplied by sdot.
 *
 * While a pair is added up, register k of its 8 (the first token's four and then the second's...
 * alternating) holds rows 2k and 2k + 1: [row 2k: token 0, token 1, row 2k + 1: token 0, token 1].
 */
#ifndef SLM_KERN_ARM_VM_NEON_I8MM_H
#define SLM_KERN_ARM_VM_NEON_I8MM_H

#include "kern/arm/floats_neon.h"

#define VM_TOKENS 4
#define VM_ROWS 6
#define VM_DOTS

typedef vi vu;
typedef vi vs;

static inline vu vu_begin(int32_t start)
{
    (void)start; /* tokens share registers: theirs is added at the end */
    return sums_from(0);
}

static inline vi dot8(vi acc, vb first, vb second, const int8_t *x)
{
    int8x8_t x8 = vld1_s8(x);
    acc = (vi){vdotq_lane_s32(acc.a, first.a, x8, 0), vdotq_lane_s32(acc.b, first.b, x8, 0),
               vdotq_lane_s32(acc.c, first.c, x8, 0), vdotq_lane_s32(acc.d, first.d, x8, 0)};
    return (vi){vdotq_lane_s32(acc.a, second.a, x8, 1), vdotq_lane_s32(acc.b, second.b, x8, 1),
                vdotq_lane_s32(acc.c, second.c, x8, 1), vdotq_lane_s32(acc.d, second.d, x8, 1)};
}

/* 8 columns of rows 0 and 1, or of rows 2 and 3, of a quarter. */
static inline int8x16_t rows01(int8x16_t first, int8x16_t second)
{
    return vreinterpretq_s8_s32(vzip1q_s32(vreinterpretq_s32_s8(first), vreinterpretq_s32_s8(second)));
}

static inline int8x16_t rows23(int8x16_t first, int8x16_t second)
{
    return vreinterpretq_s8_s32(vzip2q_s32(vreinterpretq_s32_s8(first), vreinterpretq_s32_s8(second)));
}

static inline void vu_dots(vu *dot, vb first, vb second, const int8_t *x, size_t stride,
                           const int tokens)
{
    if (tokens % 2)
        dot[tokens - 1] = dot8(dot[tokens - 1], first, second, x + (size_t)(tokens - 1) * stride);
    vb w01 = QUARTERS2(vb, rows01, first, second), w23 = QUARTERS2(vb, rows23, first, second);
    for (int i = 0; i + 1 < tokens; i += 2) {
        const int8_t *x0 = x + (size_t)i * stride;
        int8x16_t pair = vcombine_s8(vld1_s8(x0), vld1_s8(x0 + stride));
        vi p = dot[i], q = dot[i + 1];
        dot[i] = (vi){vmmlaq_s32(p.a, w01.a, pair), vmmlaq_s32(p.b, w01.b, pair),
                      vmmlaq_s32(p.c, w01.c, pair), vmmlaq_s32(p.d, w01.d, pair)};
        dot[i + 1] = (vi){vmmlaq_s32(q.a, w23.a, pair), vmmlaq_s32(q.b, w23.b, pair),
                          vmmlaq_s32(q.c, w23.c, pair), vmmlaq_s32(q.d, w23.d, pair)};
    }
}

static inline void vu_split(vu *dot, const int tokens)
{
    for (int i = 0; i + 1 < tokens; i += 2) {
        vi p = dot[i], q = dot[i + 1];
        dot[i] = QUARTERS2(vi, vuzp1q_s32, p, q);
        dot[i + 1] = QUARTERS2(vi, vuzp2q_s32, p, q);
    }
}

static inline vf vu_end(vu acc, int32_t start)
{
    float32x4_t base = vreinterpretq_f32_s32(vdupq_n_s32(SUM_BITS - start));
    return (vf){vsubq_f32(vreinterpretq_f32_s32(acc.a), base),
                vsubq_f32(vreinterpretq_f32_s32(acc.b), base),
                vsubq_f32(vreinterpretq_f32_s32(acc.c), base),
                vsubq_f32(vreinterpretq_f32_s32(acc.d), base)};
}

static inline vs vs_begin(int32_t shift)
{
    (void)shift;
    return sums_from(0);
}

static inline void vs_dots(vs *dot, vb first, vb second, const int8_t *x, size_t stride,
                           const int tokens)
{
    vu_dots(dot, first, second, x, stride, tokens);
}

static inline void vs_split(vs *dot, const int tokens)
{
    vu_split(dot, tokens);
}

static inline vf vs_end(vs acc)
{
    return sums_to_f(acc);
}

#endif
