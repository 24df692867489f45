/*
 * floats_neon.h - what all machines on NEON share: floats, int32 and the unpacking of weights; four
 * registers are one vector. The machines themselves (vm_neon.h, vm_neon_dot.h, vm_neon_i8mm.h) add
 * the integer dots.
 *
 * Minimum and maximum are compare and select: the instructions of that name treat NaN otherwise.
 */
#ifndef SLM_KERN_ARM_FLOATS_NEON_H
#define SLM_KERN_ARM_FLOATS_NEON_H

#include "base/bits.h"

#include <arm_neon.h>

#define VM_REGISTERS

#include "kern/unroll.h"

typedef struct {
    float32x4_t a, b, c, d;
} vf;
typedef struct {
    int32x4_t a, b, c, d;
} vi;

/* One call for each quarter. */
#define QUARTERS1(type, f, x) ((type){f((x).a), f((x).b), f((x).c), f((x).d)})
#define QUARTERS2(type, f, x, y)                                                                   \
    ((type){f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)})

static inline vf vf_set(float x)
{
    float32x4_t v = vdupq_n_f32(x);
    return (vf){v, v, v, v};
}

static inline vf vf_load(const float *p)
{
    return (vf){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}

static inline void vf_store(float *p, vf v)
{
    vst1q_f32(p, v.a);
    vst1q_f32(p + 4, v.b);
    vst1q_f32(p + 8, v.c);
    vst1q_f32(p + 12, v.d);
}

/* There are no masked loads: what is not whole goes through memory. */
static inline vf vf_load_n(const float *p, size_t n)
{
    if (n >= 16)
        return vf_load(p);
    float lanes[16] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i] = p[i];
    return vf_load(lanes);
}

static inline void vf_store_n(float *p, vf v, size_t n)
{
    if (n >= 16) {
        vf_store(p, v);
        return;
    }
    float lanes[16];
    vf_store(lanes, v);
    for (size_t i = 0; i < n; i++)
        p[i] = lanes[i];
}

static inline float32x4_t f16_quarter(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

static inline vf vf_load_f16(const uint16_t *p)
{
    return (vf){f16_quarter(p), f16_quarter(p + 4), f16_quarter(p + 8), f16_quarter(p + 12)};
}

static inline float32x4_t bf16_quarter(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    return (vf){bf16_quarter(p), bf16_quarter(p + 4), bf16_quarter(p + 8), bf16_quarter(p + 12)};
}

static inline void vf_store_f16(uint16_t *p, vf v)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v.a)));
    vst1_u16(p + 4, vreinterpret_u16_f16(vcvt_f16_f32(v.b)));
    vst1_u16(p + 8, vreinterpret_u16_f16(vcvt_f16_f32(v.c)));
    vst1_u16(p + 12, vreinterpret_u16_f16(vcvt_f16_f32(v.d)));
}

static inline vf vf_add(vf x, vf y)
{
    return QUARTERS2(vf, vaddq_f32, x, y);
}

static inline vf vf_sub(vf x, vf y)
{
    return QUARTERS2(vf, vsubq_f32, x, y);
}

static inline vf vf_mul(vf x, vf y)
{
    return QUARTERS2(vf, vmulq_f32, x, y);
}

static inline vf vf_div(vf x, vf y)
{
    return QUARTERS2(vf, vdivq_f32, x, y);
}

static inline vf vf_fma(vf x, vf y, vf z)
{
    return (vf){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
                vfmaq_f32(z.d, x.d, y.d)};
}

static inline float32x4_t smaller(float32x4_t x, float32x4_t y)
{
    return vbslq_f32(vcltq_f32(x, y), x, y);
}

static inline float32x4_t greater(float32x4_t x, float32x4_t y)
{
    return vbslq_f32(vcgtq_f32(x, y), x, y);
}

static inline vf vf_min(vf x, vf y)
{
    return QUARTERS2(vf, smaller, x, y);
}

static inline vf vf_max(vf x, vf y)
{
    return QUARTERS2(vf, greater, x, y);
}

static inline vf vf_abs(vf v)
{
    return QUARTERS1(vf, vabsq_f32, v);
}

/* v in the lanes below n of the lanes first..first + 3, the others of y. */
static inline float32x4_t below(float32x4_t v, size_t n, unsigned first, float32x4_t y)
{
    const uint32_t lane[4] = {first, first + 1, first + 2, first + 3};
    return vbslq_f32(vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n)), v, y);
}

static inline vf vf_first(vf v, size_t n, vf other)
{
    return (vf){below(v.a, n, 0, other.a), below(v.b, n, 4, other.b), below(v.c, n, 8, other.c),
                below(v.d, n, 12, other.d)};
}

static inline float32x4_t where_ge(float32x4_t x, float32x4_t t, float32x4_t y)
{
    return vreinterpretq_f32_u32(vandq_u32(vcgeq_f32(x, t), vreinterpretq_u32_f32(y)));
}

static inline float32x4_t swap_quarter(float32x4_t v, const int n)
{
    return n == 2 ? vextq_f32(v, v, 2) : vrev64q_f32(v);
}

static inline vf vf_swap(vf v, const int n)
{
    return n == 8   ? (vf){v.c, v.d, v.a, v.b}
           : n == 4 ? (vf){v.b, v.a, v.d, v.c}
                    : (vf){swap_quarter(v.a, n), swap_quarter(v.b, n), swap_quarter(v.c, n),
                           swap_quarter(v.d, n)};
}

static inline vf vf_where_ge(vf x, vf t, vf y)
{
    return (vf){where_ge(x.a, t.a, y.a), where_ge(x.b, t.b, y.b), where_ge(x.c, t.c, y.c),
                where_ge(x.d, t.d, y.d)};
}

static inline float vf_sum(vf v)
{
    float32x4_t four = vaddq_f32(vaddq_f32(v.a, v.c), vaddq_f32(v.b, v.d));
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

static inline float vf_largest(vf v)
{
    float32x4_t four = greater(greater(v.a, v.c), greater(v.b, v.d));
    four = greater(four, vextq_f32(four, four, 2));
    four = greater(four, vextq_f32(four, four, 1));
    return vgetq_lane_f32(four, 0);
}

static inline vi vi_set(int32_t x)
{
    int32x4_t v = vdupq_n_s32(x);
    return (vi){v, v, v, v};
}

static inline vi vi_add(vi x, vi y)
{
    return QUARTERS2(vi, vaddq_s32, x, y);
}

static inline vf vi_to_f(vi v)
{
    return QUARTERS1(vf, vcvtq_f32_s32, v);
}

static inline vi vf_to_i(vf v)
{
    return QUARTERS1(vi, vcvtnq_s32_f32, v);
}

static inline float32x4_t power2(int32x4_t v)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(v, vdupq_n_s32(127)), 23));
}

static inline vf vi_power2(vi v)
{
    return QUARTERS1(vf, power2, v);
}

static inline int32_t vi_sum(vi v)
{
    return vaddvq_s32(vaddq_s32(vaddq_s32(v.a, v.b), vaddq_s32(v.c, v.d)));
}

static inline void vi_store_i8(int8_t *p, vi v)
{
    int16x8_t low = vcombine_s16(vmovn_s32(v.a), vmovn_s32(v.b));
    int16x8_t high = vcombine_s16(vmovn_s32(v.c), vmovn_s32(v.d));
    vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

/* Quarters that are multiplied before the first is needed again: enough chains for a core that
 * executes in order, and no more registers than there are. */
INLINED int quarters_at_once(const int tokens)
{
    return tokens > 1 ? 2 : 4;
}

/* 16 bytes of weights: 4 columns of 4 rows, or nibbles of 8 columns, the first 4 in the low ones.
 */
static inline int8x16_t bytes_at(const uint8_t *p)
{
    return vld1q_s8((const int8_t *)p);
}

static inline int8x16_t low_nibbles(int8x16_t v)
{
    return vandq_s8(v, vdupq_n_s8(15));
}

static inline int8x16_t high_nibbles(int8x16_t v)
{
    return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(v), 4));
}

/*
 * Sums that begin at the bits of 1.5 * 2^23 are, read as a float, that number plus the sum as long
 * as it stays below 2^22 (a tile's is at most 32 * 128 * 127): one exact subtraction makes it a
 * float, where the conversion instruction has half the rate or less.
 */
#define SUM_BITS 0x4B400000
#define SUM_FLOAT 0x1.8p23f

static inline int32x4_t sums_from(int32_t start)
{
    return vdupq_n_s32(SUM_BITS + start);
}

/* The sums, less `from`: SUM_FLOAT, or that and what the sums have to be reduced by. */
static inline float32x4_t sums_to_f(int32x4_t sums, float32x4_t from)
{
    return vsubq_f32(vreinterpretq_f32_s32(sums), from);
}

#endif
