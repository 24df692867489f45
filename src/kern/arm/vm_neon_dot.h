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

typedef struct {
    int32x4_t v[4]; /* a quarter each */
} vu;
typedef vu vs;

static inline vu vu_begin(int32_t start)
{
    int32x4_t v = sums_from(start);
    return (vu){{v, v, v, v}};
}

INLINED void load_eights(int8x8_t *x8, const int8_t *x, size_t stride, const int tokens)
{
    UNROLLED
    for (int i = 0; i < tokens; i++)
        x8[i] = vld1_s8(x + (size_t)i * stride);
}

/* dot[tokens] += 8 columns of the quarters [from, last); `second` has columns 4 to 7. */
INLINED void add_dots(vu *dot, const int from, const int last, const int8x16_t *first,
                      const int8x16_t *second, const int8x8_t *x, const int tokens)
{
    UNROLLED
    for (int i = 0; i < tokens; i++)
        UNROLLED
    for (int q = from; q < last; q++)
        dot[i].v[q] = vdotq_lane_s32(dot[i].v[q], first[q], x[i], 0);
    UNROLLED
    for (int i = 0; i < tokens; i++)
        UNROLLED
    for (int q = from; q < last; q++)
        dot[i].v[q] = vdotq_lane_s32(dot[i].v[q], second[q], x[i], 1);
}

INLINED void vu_dots(vu *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    const int at_once = quarters_at_once(tokens);
    int8x8_t x8[VM_TOKENS];
    int8x16_t low[4], high[4];
    load_eights(x8, x, stride, tokens);
    UNROLLED
    for (int from = 0; from < 4; from += at_once) {
        UNROLLED
        for (int q = from; q < from + at_once; q++) {
            int8x16_t w = bytes_at(p + 16 * q);
            low[q] = low_nibbles(w);
            high[q] = high_nibbles(w);
        }
        add_dots(dot, from, from + at_once, low, high, x8, tokens);
    }
}

static inline void vu_split(vu *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

static inline vf vu_end(vu acc, int32_t start)
{
    (void)start;
    float32x4_t from = vdupq_n_f32(SUM_FLOAT);
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
    const int at_once = quarters_at_once(tokens);
    int8x8_t x8[VM_TOKENS];
    int8x16_t first[4], second[4];
    load_eights(x8, x, stride, tokens);
    UNROLLED
    for (int from = 0; from < 4; from += at_once) {
        UNROLLED
        for (int q = from; q < from + at_once; q++) {
            first[q] = bytes_at(p + 16 * q);
            second[q] = bytes_at(p + 64 + 16 * q);
        }
        add_dots(dot, from, from + at_once, first, second, x8, tokens);
    }
}

static inline void vs_split(vs *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

static inline vf vs_end(vs acc)
{
    return vu_end(acc, 0);
}

#endif
