/*
 * bits.h - numbers in files: little-endian loads, half precision, checksums.
 */
#ifndef SLM_BASE_BITS_H
#define SLM_BASE_BITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t slm_load_u16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t slm_load_u32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t slm_load_u64(const void *p)
{
    return (uint64_t)slm_load_u32(p) | (uint64_t)slm_load_u32((const uint8_t *)p + 4) << 32;
}

static inline float slm_load_f32(const void *p)
{
    uint32_t bits = slm_load_u32(p);
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline uint32_t slm_bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

static inline float slm_float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* IEEE 754 binary16. To half: nearest, ties to even; what is too large becomes infinity. Integer
 * arithmetic only, so no rounding mode or flush-to-zero setting can change a bit. */
float slm_f16_to_f32(uint16_t h);
uint16_t slm_f32_to_f16(float f);

/* The upper half of a float. To bf16: nearest, ties to even. */
static inline float slm_bf16_to_f32(uint16_t h)
{
    return slm_float_of((uint32_t)h << 16);
}
uint16_t slm_f32_to_bf16(float f);

/* XXH64 (Yann Collet's xxHash, algorithm as specified in its doc/xxhash_spec.md), seed 0. It
 * catches accidents, not attackers. */
uint64_t slm_hash64(const void *data, size_t n);

/* The same of bytes that come in pieces: the cuts change nothing. */
struct slm_hasher {
    uint64_t lanes[4];
    uint64_t length;  /* bytes so far */
    uint8_t tail[32]; /* the last length % 32 of them */
};
void slm_hasher_start(struct slm_hasher *h);
void slm_hasher_add(struct slm_hasher *h, const void *data, size_t n);
uint64_t slm_hasher_end(const struct slm_hasher *h);

#endif
