/* bits.c - half precision and XXH64; see bits.h. */
#include "base/bits.h"

float slm_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = h >> 10 & 31, mantissa = h & 0x3FF;
    if (exponent == 31) { /* infinity; NaN becomes quiet, as the conversion instructions do */
        uint32_t quiet = mantissa ? 0x400000 : 0;
        return slm_float_of(sign | 0x7F800000 | quiet | mantissa << 13);
    }
    if (exponent == 0) {
        if (mantissa == 0)
            return slm_float_of(sign);
        exponent = 1; /* a denormal half is a normal float: shift its leading one into place */
        while (!(mantissa & 0x400)) {
            mantissa <<= 1;
            exponent--;
        }
        mantissa &= 0x3FF;
    }
    return slm_float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t slm_f32_to_f16(float f)
{
    uint32_t bits = slm_bits_of(f);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000) /* NaN: quiet, upper payload bits kept */
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x47800000) /* 65536 and more */
        return (uint16_t)(sign | 0x7C00);
    if (magnitude < 0x38800000) { /* below 2^-14: denormal half, units of 2^-24 */
        uint32_t exponent = magnitude >> 23;
        if (exponent < 102)
            return sign; /* below half a unit */
        uint32_t mantissa = (magnitude & 0x7FFFFF) | 0x800000;
        uint32_t shift = 126 - exponent; /* 14 to 24 */
        uint32_t units = mantissa >> shift;
        uint32_t rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
        if (rest > half || (rest == half && (units & 1)))
            units++;
        return (uint16_t)(sign | units);
    }
    uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13); /* a carry may reach infinity */
}

uint16_t slm_f32_to_bf16(float f)
{
    uint32_t bits = slm_bits_of(f);
    if ((bits & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

#define PRIME1 0x9E3779B185EBCA87u
#define PRIME2 0xC2B2AE3D27D4EB4Fu
#define PRIME3 0x165667B19E3779F9u
#define PRIME4 0x85EBCA77C2B2AE63u
#define PRIME5 0x27D4EB2F165667C5u

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static uint64_t lane_round(uint64_t lane, uint64_t input)
{
    return rotate(lane + input * PRIME2, 31) * PRIME1;
}

static uint64_t merge(uint64_t hash, uint64_t lane)
{
    return (hash ^ lane_round(0, lane)) * PRIME1 + PRIME4;
}

void slm_hasher_start(struct slm_hasher *h)
{
    *h = (struct slm_hasher){.lanes = {PRIME1 + PRIME2, PRIME2, 0, 0 - PRIME1}};
}

/* Whole stripes of 32 bytes. The lanes are locals here, so they stay in registers. */
static void add_stripes(struct slm_hasher *h, const uint8_t *p, size_t n)
{
    uint64_t a = h->lanes[0], b = h->lanes[1], c = h->lanes[2], d = h->lanes[3];
    for (const uint8_t *end = p + n; p < end; p += 32) {
        a = lane_round(a, slm_load_u64(p));
        b = lane_round(b, slm_load_u64(p + 8));
        c = lane_round(c, slm_load_u64(p + 16));
        d = lane_round(d, slm_load_u64(p + 24));
    }
    h->lanes[0] = a, h->lanes[1] = b, h->lanes[2] = c, h->lanes[3] = d;
}

void slm_hasher_add(struct slm_hasher *h, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t held = h->length % 32;
    if (n == 0)
        return;
    h->length += n;
    if (held) { /* fill the stripe that the last piece left open */
        size_t take = n < 32 - held ? n : 32 - held;
        memcpy(h->tail + held, p, take);
        if (held + take < 32)
            return;
        add_stripes(h, h->tail, 32);
        p += take;
        n -= take;
    }
    add_stripes(h, p, n / 32 * 32);
    memcpy(h->tail, p + n / 32 * 32, n % 32);
}

uint64_t slm_hasher_end(const struct slm_hasher *h)
{
    const uint64_t *lanes = h->lanes;
    const uint8_t *p = h->tail, *end = p + h->length % 32;
    uint64_t hash = PRIME5;
    if (h->length >= 32) {
        hash = rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) +
               rotate(lanes[3], 18);
        for (int i = 0; i < 4; i++)
            hash = merge(hash, lanes[i]);
    }
    hash += h->length;
    for (; end - p >= 8; p += 8)
        hash = rotate(hash ^ lane_round(0, slm_load_u64(p)), 27) * PRIME1 + PRIME4;
    if (end - p >= 4) {
        hash = rotate(hash ^ slm_load_u32(p) * PRIME1, 23) * PRIME2 + PRIME3;
        p += 4;
    }
    for (; p < end; p++)
        hash = rotate(hash ^ *p * PRIME5, 11) * PRIME1;
    hash = (hash ^ hash >> 33) * PRIME2;
    hash = (hash ^ hash >> 29) * PRIME3;
    return hash ^ hash >> 32;
}

uint64_t slm_hash64(const void *data, size_t n)
{
    struct slm_hasher h;
    slm_hasher_start(&h);
    slm_hasher_add(&h, data, n);
    return slm_hasher_end(&h);
}
