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
    int16x8_t v[8]; /* two a quarter; of each row its 4 columns side by side */
} vu;
typedef struct {
    int32x4_t v[8]; /* likewise two sums a row */
} vs;

/* 4 bytes, four times. */
static inline int8x16_t four(const int8_t *x)
{
    int32_t bits;
    memcpy(&bits, x, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(bits));
}

/* The first and the second 4 bytes of each token. */
INLINED void load_fours(int8x16_t *x0, int8x16_t *x1, const int8_t *x, size_t stride,
                        const int tokens)
{
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        x0[i] = four(x + (size_t)i * stride);
        x1[i] = four(x + (size_t)i * stride + 4);
    }
}

static inline int16x8_t low_products(int16x8_t sums, int8x16_t w, int8x16_t x)
{
    return vmlal_s8(sums, vget_low_s8(w), vget_low_s8(x));
}

static inline vu vu_begin(int32_t start)
{
    (void)start;
    int16x8_t zero = vdupq_n_s16(0);
    return (vu){{zero, zero, zero, zero, zero, zero, zero, zero}};
}

INLINED void vu_dots(vu *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    const int at_once = quarters_at_once(tokens);
    int8x16_t x0[VM_TOKENS], x1[VM_TOKENS], low[4], high[4];
    load_fours(x0, x1, x, stride, tokens);
    UNROLLED
    for (int from = 0; from < 4; from += at_once) {
        UNROLLED
        for (int q = from; q < from + at_once; q++) {
            int8x16_t w = bytes_at(p + 16 * q);
            low[q] = low_nibbles(w);
            high[q] = high_nibbles(w);
        }
        UNROLLED
        for (int i = 0; i < tokens; i++)
            UNROLLED
        for (int q = from; q < from + at_once; q++) {
            dot[i].v[2 * q] = low_products(dot[i].v[2 * q], low[q], x0[i]);
            dot[i].v[2 * q + 1] = vmlal_high_s8(dot[i].v[2 * q + 1], low[q], x0[i]);
        }
        UNROLLED
        for (int i = 0; i < tokens; i++)
            UNROLLED
        for (int q = from; q < from + at_once; q++) {
            dot[i].v[2 * q] = low_products(dot[i].v[2 * q], high[q], x1[i]);
            dot[i].v[2 * q + 1] = vmlal_high_s8(dot[i].v[2 * q + 1], high[q], x1[i]);
        }
    }
}

static inline void vu_split(vu *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

static inline float32x4_t vu_quarter(vu acc, const int q, int32_t start)
{
    int16x8_t pairs = vpaddq_s16(acc.v[2 * q], acc.v[2 * q + 1]);
    return sums_to_f(vpadalq_s16(sums_from(start), pairs), vdupq_n_f32(SUM_FLOAT));
}

static inline vf vu_end(vu acc, int32_t start)
{
    return (vf){vu_quarter(acc, 0, start), vu_quarter(acc, 1, start), vu_quarter(acc, 2, start),
                vu_quarter(acc, 3, start)};
}

static inline vs vs_begin(int32_t shift)
{
    (void)shift;
    int32x4_t zero = vdupq_n_s32(0);
    return (vs){{zero, zero, zero, zero, zero, zero, zero, zero}};
}

INLINED void vs_dots(vs *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    const int at_once = quarters_at_once(tokens);
    int8x16_t x0[VM_TOKENS], x1[VM_TOKENS];
    load_fours(x0, x1, x, stride, tokens);
    UNROLLED
    for (int from = 0; from < 4; from += at_once) {
        int16x8_t sums[VM_TOKENS][8];
        UNROLLED
        for (int q = from; q < from + at_once; q++) {
            int8x16_t w = bytes_at(p + 16 * q);
            UNROLLED
            for (int i = 0; i < tokens; i++) {
                sums[i][2 * q] = vmull_s8(vget_low_s8(w), vget_low_s8(x0[i]));
                sums[i][2 * q + 1] = vmull_high_s8(w, x0[i]);
            }
        }
        UNROLLED
        for (int q = from; q < from + at_once; q++) {
            int8x16_t w = bytes_at(p + 64 + 16 * q);
            UNROLLED
            for (int i = 0; i < tokens; i++) {
                sums[i][2 * q] = low_products(sums[i][2 * q], w, x1[i]);
                sums[i][2 * q + 1] = vmlal_high_s8(sums[i][2 * q + 1], w, x1[i]);
            }
        }
        UNROLLED
        for (int i = 0; i < tokens; i++)
            UNROLLED
        for (int h = 2 * from; h < 2 * (from + at_once); h++)
            dot[i].v[h] = vpadalq_s16(dot[i].v[h], sums[i][h]);
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
