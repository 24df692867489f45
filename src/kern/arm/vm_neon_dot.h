/*
 * vm_neon_dot.h - the virtual machine on NEON with dot products (FEAT_DotProd: ARMv8.2 with the
 * option, always from 8.4): sdot adds up 4 columns of 4 rows, with 4 bytes of x taken by lane.
 */
#ifndef SLM_KERN_ARM_VM_NEON_DOT_H
#define SLM_KERN_ARM_VM_NEON_DOT_H

#include "kern/arm/floats_neon.h"

#define VM_TOKENS 4
#define VM_ROWS 6
#define VM_DOTS

typedef vi vu;
typedef vi vs;

static inline vi dot8(vi acc, vb first, vb second, const int8_t *x)
{
    int8x8_t x8 = vld1_s8(x);
    acc = (vi){vdotq_lane_s32(acc.a, first.a, x8, 0), vdotq_lane_s32(acc.b, first.b, x8, 0),
               vdotq_lane_s32(acc.c, first.c, x8, 0), vdotq_lane_s32(acc.d, first.d, x8, 0)};
    return (vi){vdotq_lane_s32(acc.a, second.a, x8, 1), vdotq_lane_s32(acc.b, second.b, x8, 1),
                vdotq_lane_s32(acc.c, second.c, x8, 1), vdotq_lane_s32(acc.d, second.d, x8, 1)};
}

static inline void vu_dots(vu *dot, vb first, vb second, const int8_t *x, size_t stride,
                           const int tokens)
{
    for (int i = 0; i < tokens; i++)
        dot[i] = dot8(dot[i], first, second, x + (size_t)i * stride);
}

static inline vu vu_begin(int32_t start)
{
    return sums_from(start);
}

static inline void vu_split(vu *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

static inline vf vu_end(vu acc, int32_t start)
{
    (void)start;
    return sums_to_f(acc);
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
