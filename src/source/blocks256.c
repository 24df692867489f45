/*
 * blocks256.c - what blocks of 256 weights are worth; see blocks256.h.
 *
 * Each block stores its weights' low and high bits in separate planes, and its parts' scales as
 * small integers that two f16 numbers for the whole block multiply. The order of the f32 operations
 * is that of gguf-py.
 */
#include "source/blocks256.h"

#include "base/bits.h"

#include <math.h>

static float half_at(const uint8_t *p)
{
    return slm_f16_to_f32(slm_load_u16(p));
}

/* Q2_K, 84 bytes: 16 x (4-bit scale, 4-bit minimum), 64 bytes of 2-bit weights, f16 d, f16 dmin.
 * Each half of 128 weights takes 32 bytes, whose four bit pairs are four runs of 32 weights. */
void slm_q2_k_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t b = 0; b < n; b++, blocks += 84) {
        const uint8_t *weights = blocks + 16;
        float d = half_at(blocks + 80), dmin = half_at(blocks + 82);
        for (int i = 0; i < 256; i++) {
            uint8_t scales = blocks[i / 16];
            int q = weights[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            float scale = d * (float)(scales & 15), minimum = dmin * (float)(scales >> 4);
            *out++ = scale * (float)q - minimum;
        }
    }
}

/* The 16 signed 6-bit scales of Q3_K: low nibbles in 8 bytes, high bit pairs in 4. */
static int q3_k_scale(const uint8_t *scales, int i)
{
    int low = scales[i % 8] >> (i / 8 * 4) & 15;
    int high = scales[8 + i % 4] >> (i / 4 * 2) & 3;
    return (low | high << 4) - 32;
}

/* Q3_K, 110 bytes: 32 bytes of third bits, 64 bytes of 2-bit weights, 12 bytes of scales, f16 d.
 * A third bit that is not set means 4 less. */
void slm_q3_k_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t b = 0; b < n; b++, blocks += 110) {
        const uint8_t *weights = blocks + 32, *scales = blocks + 96;
        float d = half_at(blocks + 108);
        for (int i = 0; i < 256; i++) {
            int q = weights[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            int third = blocks[i % 32] >> (i / 32) & 1;
            float scale = d * (float)q3_k_scale(scales, i / 16);
            *out++ = scale * (float)(third ? q : q - 4);
        }
    }
}

/* The 8 pairs of 6-bit scales and minima of Q4_K and Q5_K in 12 bytes: pairs 0 to 3 lie in the low
 * six bits of bytes 0 to 3 and 4 to 7; those of 4 to 7 have their low nibbles in bytes 8 to 11 and
 * their upper two bits on top of the others. */
static void scale_and_minimum(const uint8_t *p, unsigned i, int *scale, int *minimum)
{
    if (i < 4) {
        *scale = p[i] & 63;
        *minimum = p[i + 4] & 63;
    } else {
        *scale = (p[i + 4] & 15) | (p[i - 4] >> 6) << 4;
        *minimum = p[i + 4] >> 4 | (p[i] >> 6) << 4;
    }
}

/* Scale and minimum of 32 weights of a Q4_K or Q5_K block as floats. */
static void part_scales(const uint8_t *block, unsigned part, float *scale, float *minimum)
{
    int s, m;
    scale_and_minimum(block + 4, part, &s, &m);
    *scale = half_at(block) * (float)s;
    *minimum = half_at(block + 2) * (float)m;
}

/* Q4_K, 144 bytes: f16 d, f16 dmin, 12 bytes of scales and minima, 128 bytes of nibbles: each 32
 * bytes hold 32 weights in their low and the next 32 in their high halves. */
static int q4_k_nibble(const uint8_t *block, unsigned i)
{
    return block[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
}

void slm_q4_k_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t b = 0; b < n; b++, blocks += 144) {
        for (unsigned part = 0; part < 8; part++) {
            float scale, minimum;
            part_scales(blocks, part, &scale, &minimum);
            for (unsigned i = 32 * part; i < 32 * part + 32; i++)
                *out++ = scale * (float)q4_k_nibble(blocks, i) - minimum;
        }
    }
}

void slm_q4_k_transfer(const uint8_t *block, unsigned part, struct slm_block *out)
{
    float scale, minimum;
    part_scales(block, part, &scale, &minimum);
    out->scale = slm_f32_to_f16(scale);
    out->minimum = slm_f32_to_f16(-minimum);
    float stored_scale = slm_f16_to_f32(out->scale), stored_minimum = slm_f16_to_f32(out->minimum);
    for (unsigned i = 0; i < 32; i++) {
        int q = q4_k_nibble(block, 32 * part + i);
        float value = scale * (float)q - minimum;
        /* A scale that underflows to zero carries nothing: any integer will do. */
        float nearest = rintf((value - stored_minimum) / stored_scale);
        out->q[i] = (int8_t)(nearest >= 0 && nearest <= 15 ? (int)nearest : q);
    }
}

/* Q5_K, 176 bytes: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit `part` of byte i is
 * that of weight i of the part. */
void slm_q5_k_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t b = 0; b < n; b++, blocks += 176) {
        const uint8_t *fifth = blocks + 16;
        for (unsigned part = 0; part < 8; part++) {
            float scale, minimum;
            part_scales(blocks, part, &scale, &minimum);
            for (unsigned i = 0; i < 32; i++) {
                int q = q4_k_nibble(blocks + 32, 32 * part + i) | (fifth[i] >> part & 1) << 4;
                *out++ = scale * (float)q - minimum;
            }
        }
    }
}

/* Q6_K, 210 bytes: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed bytes of scales,
 * f16 d. In each half of 128 weights, 64 bytes hold the low nibbles of weights 0 to 63 and, in
 * their high halves, of 64 to 127; 32 bytes hold the bit pairs of four runs of 32. */
void slm_q6_k_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t b = 0; b < n; b++, blocks += 210) {
        const uint8_t *high = blocks + 128, *scales = blocks + 192;
        float d = half_at(blocks + 208);
        for (int i = 0; i < 256; i++) {
            int low = blocks[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
            int pair = high[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            float scale = d * (float)(int8_t)scales[i / 16];
            *out++ = scale * (float)((low | pair << 4) - 32);
        }
    }
}
