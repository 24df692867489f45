/*
 * vm_neon.h - the virtual machine on the NEON that every 64-bit ARM has.
 *
 * smlal multiplies bytes and adds to int16. A nibble times an int8 is at most 15 * 127, so the 8
 * products of a tile that meet in one int16 lane stay below 32,768 (15,240), and so do two lanes
 * (30,480): they are added and widened once a tile. Of signed bytes two products fit (at most
 * 2 * 128 * 127 = 32,512): they are widened every 8 columns.
 */
#ifndef SLM_KERN_ARM_VM_NEON_H
#define SLM_KERN_ARM_VM_NEON_H

#include "kern/arm/floats_neon.h"

#define VM_TOKENS 2
#define VM_ROWS 6
#define VM_DOTS

typedef struct {
    int16x8_t v[8]; /* of each row, its 4 columns side by side */
} vu;
typedef struct {
    int32x4_t v[8]; /* of each row, two sums side by side */
} vs;

static inline int8x16_t four(const int8_t *x)
{
    int32_t bits;
    memcpy(&bits, x, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(bits));
}

static inline vu vu_begin(int32_t start)
{
    (void)start;
    int16x8_t zero = vdupq_n_s16(0);
    return (vu){{zero, zero, zero, zero, zero, zero, zero, zero}};
}

static inline int16x8_t low_add(int16x8_t acc, int8x16_t w, int8x16_t x)
{
    return vmlal_s8(acc, vget_low_s8(w), vget_low_s8(x));
}

static inline void vu_quarter(vu *dot, const int quarter, int8x16_t first, int8x16_t second,
                              int8x16_t x0, int8x16_t x1)
{
    int16x8_t *acc = dot->v + 2 * quarter;
    acc[0] = low_add(low_add(acc[0], first, x0), second, x1);
    acc[1] = vmlal_high_s8(vmlal_high_s8(acc[1], first, x0), second, x1);
}

static inline void vu_dots(vu *dot, vb first, vb second, const int8_t *x, size_t stride,
                           const int tokens)
{
    for (int i = 0; i < tokens; i++) {
        int8x16_t x0 = four(x + (size_t)i * stride), x1 = four(x + (size_t)i * stride + 4);
        vu_quarter(&dot[i], 0, first.a, second.a, x0, x1);
        vu_quarter(&dot[i], 1, first.b, second.b, x0, x1);
        vu_quarter(&dot[i], 2, first.c, second.c, x0, x1);
        vu_quarter(&dot[i], 3, first.d, second.d, x0, x1);
    }
}

static inline void vu_split(vu *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

static inline vf vu_end(vu acc, int32_t start)
{
    vi sums = sums_from(start);
    return sums_to_f((vi){vpadalq_s16(sums.a, vpaddq_s16(acc.v[0], acc.v[1])),
                          vpadalq_s16(sums.b, vpaddq_s16(acc.v[2], acc.v[3])),
                          vpadalq_s16(sums.c, vpaddq_s16(acc.v[4], acc.v[5])),
                          vpadalq_s16(sums.d, vpaddq_s16(acc.v[6], acc.v[7]))});
}

static inline vs vs_begin(int32_t shift)
{
    (void)shift;
    int32x4_t zero = vdupq_n_s32(0);
    return (vs){{zero, zero, zero, zero, zero, zero, zero, zero}};
}

static inline void vs_quarter(vs *dot, const int quarter, int8x16_t first, int8x16_t second,
                              int8x16_t x0, int8x16_t x1)
{
    int32x4_t *acc = dot->v + 2 * quarter;
    int16x8_t low = low_add(vmull_s8(vget_low_s8(first), vget_low_s8(x0)), second, x1);
    int16x8_t high = vmlal_high_s8(vmull_high_s8(first, x0), second, x1);
    acc[0] = vpadalq_s16(acc[0], low);
    acc[1] = vpadalq_s16(acc[1], high);
}

static inline void vs_dots(vs *dot, vb first, vb second, const int8_t *x, size_t stride,
                           const int tokens)
{
    for (int i = 0; i < tokens; i++) {
        int8x16_t x0 = four(x + (size_t)i * stride), x1 = four(x + (size_t)i * stride + 4);
        vs_quarter(&dot[i], 0, first.a, second.a, x0, x1);
        vs_quarter(&dot[i], 1, first.b, second.b, x0, x1);
        vs_quarter(&dot[i], 2, first.c, second.c, x0, x1);
        vs_quarter(&dot[i], 3, first.d, second.d, x0, x1);
    }
}

static inline void vs_split(vs *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

static inline vf vs_end(vs acc)
{
    return vi_to_f((vi){vpaddq_s32(acc.v[0], acc.v[1]), vpaddq_s32(acc.v[2], acc.v[3]),
                        vpaddq_s32(acc.v[4], acc.v[5]), vpaddq_s32(acc.v[6], acc.v[7])});
}

#endif
