/*
 * types.c - the table of imported weight types, with the decoders of the small blocks of 32
 * weights; the blocks of 256 are in blocks256.c.
 *
 * Every product and sum is a separate f32 operation in the order of gguf-py's numpy expressions, so
 * values agree bit for bit. All loads are unaligned and little-endian.
 */
#include "source/types.h"

#include "base/bits.h"
#include "source/blocks256.h"

#include <math.h>

/* ------------------------------------------------------------------------- floats --- */

static void f32_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = slm_load_f32(blocks + 4 * i);
}

static void f16_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = slm_f16_to_f32(slm_load_u16(blocks + 2 * i));
}

static void bf16_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = slm_bf16_to_f32(slm_load_u16(blocks + 2 * i));
}

/* --------------------------------------------------- 32 weights with one scale --- */

/* 16 bytes of nibbles: the low halves are weights 0 to 15, the high halves 16 to 31. */
static void nibbles(const uint8_t *bytes, int8_t *q)
{
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)(bytes[i] & 15);
        q[i + 16] = (int8_t)(bytes[i] >> 4);
    }
}

/* The same with a fifth bit for each weight in a word of 32 bits. */
static void nibbles_and_bits(const uint8_t *bytes, uint32_t bits, int8_t *q)
{
    nibbles(bytes, q);
    for (int i = 0; i < 32; i++)
        q[i] = (int8_t)(q[i] | (bits >> i & 1) << 4);
}

/* f16 scale, nibbles: scale * (q - 8) */
static void q4_0_transfer(const uint8_t *block, unsigned part, struct slm_block *out)
{
    (void)part;
    out->scale = slm_load_u16(block);
    nibbles(block + 2, out->q);
    for (int i = 0; i < 32; i++)
        out->q[i] = (int8_t)(out->q[i] - 8);
}

/* f16 scale, f16 minimum, nibbles: scale * q + minimum */
static void q4_1_transfer(const uint8_t *block, unsigned part, struct slm_block *out)
{
    (void)part;
    out->scale = slm_load_u16(block);
    out->minimum = slm_load_u16(block + 2);
    nibbles(block + 4, out->q);
}

/* f16 scale, 32 fifth bits, nibbles: scale * (q - 16) */
static void q5_0_transfer(const uint8_t *block, unsigned part, struct slm_block *out)
{
    (void)part;
    out->scale = slm_load_u16(block);
    nibbles_and_bits(block + 6, slm_load_u32(block + 2), out->q);
    for (int i = 0; i < 32; i++)
        out->q[i] = (int8_t)(out->q[i] - 16);
}

/* f16 scale, signed bytes: scale * q */
static void q8_0_transfer(const uint8_t *block, unsigned part, struct slm_block *out)
{
    (void)part;
    out->scale = slm_load_u16(block);
    memcpy(out->q, block + 2, 32);
}

/* f16 scale, nibbles that index 16 fixed levels: scale * level[q] */
static void iq4_nl_transfer(const uint8_t *block, unsigned part, struct slm_block *out)
{
    static const int8_t levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
    (void)part;
    out->scale = slm_load_u16(block);
    nibbles(block + 2, out->q);
    for (int i = 0; i < 32; i++)
        out->q[i] = levels[out->q[i]];
}

/* Floats of four bits, twice as large: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives. */
static const int8_t mxfp4_levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* Half of the scale, 2^(byte - 128). */
static float mxfp4_scale(uint8_t exponent)
{
    return slm_float_of(exponent < 2 ? UINT32_C(0x00200000) << exponent : (exponent - 1u) << 23);
}

/* exponent of the scale, nibbles that index the levels: scale * level[q]. Exact where f16 has the
 * scale, from 2^-24 to 2^15. */
static void mxfp4_transfer(const uint8_t *block, unsigned part, struct slm_block *out)
{
    (void)part;
    out->scale = slm_f32_to_f16(mxfp4_scale(block[0]));
    nibbles(block + 1, out->q);
    for (int i = 0; i < 32; i++)
        out->q[i] = mxfp4_levels[out->q[i]];
}

static void mxfp4_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t b = 0; b < n; b++, blocks += 17) {
        int8_t q[32];
        nibbles(blocks + 1, q);
        for (int i = 0; i < 32; i++)
            *out++ = mxfp4_scale(blocks[0]) * (float)mxfp4_levels[q[i]];
    }
}

/* What a transferred block is worth, for the five types above that keep every bit. */
static void decode_through(uint32_t type, const uint8_t *blocks, size_t n, float *out)
{
    const struct slm_source_type *source = slm_source_type(type);
    const struct slm_quant *quant = slm_quant(source->keep);
    for (size_t i = 0; i < n; i++) {
        struct slm_block block;
        source->transfer(blocks + i * source->bytes, 0, &block);
        quant->decode(&block, out + 32 * i);
    }
}

static void q4_0_decode(const uint8_t *blocks, size_t n, float *out)
{
    decode_through(SLM_SOURCE_Q4_0, blocks, n, out);
}

static void q4_1_decode(const uint8_t *blocks, size_t n, float *out)
{
    decode_through(SLM_SOURCE_Q4_1, blocks, n, out);
}

static void q5_0_decode(const uint8_t *blocks, size_t n, float *out)
{
    decode_through(SLM_SOURCE_Q5_0, blocks, n, out);
}

static void q8_0_decode(const uint8_t *blocks, size_t n, float *out)
{
    decode_through(SLM_SOURCE_Q8_0, blocks, n, out);
}

static void iq4_nl_decode(const uint8_t *blocks, size_t n, float *out)
{
    decode_through(SLM_SOURCE_IQ4_NL, blocks, n, out);
}

/* f16 scale, f16 minimum, 32 fifth bits, nibbles: scale * q + minimum */
static void q5_1_decode(const uint8_t *blocks, size_t n, float *out)
{
    for (size_t b = 0; b < n; b++, blocks += 24) {
        float scale = slm_f16_to_f32(slm_load_u16(blocks));
        float minimum = slm_f16_to_f32(slm_load_u16(blocks + 2));
        int8_t q[32];
        nibbles_and_bits(blocks + 8, slm_load_u32(blocks + 4), q);
        for (int i = 0; i < 32; i++)
            *out++ = scale * (float)q[i] + minimum;
    }
}

/* -------------------------------------------------------------------------- table --- */

/* The right-hand columns are choices: docs/convert.md has the measurements behind them. */
static const struct slm_source_type types[] = {
    {SLM_SOURCE_F32, "F32", 1, 4, SLM_TYPE_F32, f32_decode, NULL, false},
    {SLM_SOURCE_F16, "F16", 1, 2, SLM_TYPE_F16, f16_decode, NULL, false},
    {SLM_SOURCE_BF16, "BF16", 1, 2, SLM_TYPE_BF16, bf16_decode, NULL, false},
    {SLM_SOURCE_Q4_0, "Q4_0", 32, 18, SLM_TYPE_Q4, q4_0_decode, q4_0_transfer, true},
    {SLM_SOURCE_Q4_1, "Q4_1", 32, 20, SLM_TYPE_Q4A, q4_1_decode, q4_1_transfer, true},
    {SLM_SOURCE_Q5_0, "Q5_0", 32, 22, SLM_TYPE_Q8, q5_0_decode, q5_0_transfer, true},
    {SLM_SOURCE_Q5_1, "Q5_1", 32, 24, SLM_TYPE_Q8, q5_1_decode, NULL, false},
    {SLM_SOURCE_Q8_0, "Q8_0", 32, 34, SLM_TYPE_Q8, q8_0_decode, q8_0_transfer, true},
    {SLM_SOURCE_IQ4_NL, "IQ4_NL", 32, 18, SLM_TYPE_Q8, iq4_nl_decode, iq4_nl_transfer, true},
    {SLM_SOURCE_MXFP4, "MXFP4", 32, 17, SLM_TYPE_Q8, mxfp4_decode, mxfp4_transfer, false},
    {SLM_SOURCE_Q2_K, "Q2_K", 256, 84, SLM_TYPE_Q4A, slm_q2_k_decode, NULL, false},
    {SLM_SOURCE_Q3_K, "Q3_K", 256, 110, SLM_TYPE_Q4, slm_q3_k_decode, NULL, false},
    {SLM_SOURCE_Q4_K, "Q4_K", 256, 144, SLM_TYPE_Q4A, slm_q4_k_decode, slm_q4_k_transfer, false},
    {SLM_SOURCE_Q5_K, "Q5_K", 256, 176, SLM_TYPE_Q8, slm_q5_k_decode, NULL, false},
    {SLM_SOURCE_Q6_K, "Q6_K", 256, 210, SLM_TYPE_Q8, slm_q6_k_decode, NULL, false},
    /* Not weights: files hold tables and counters of these types, which are skipped over. */
    {SLM_SOURCE_I8, "I8", 1, 1, 0, NULL, NULL, false},
    {SLM_SOURCE_I16, "I16", 1, 2, 0, NULL, NULL, false},
    {SLM_SOURCE_I32, "I32", 1, 4, 0, NULL, NULL, false},
    {SLM_SOURCE_I64, "I64", 1, 8, 0, NULL, NULL, false},
    {SLM_SOURCE_F64, "F64", 1, 8, 0, NULL, NULL, false},
    {SLM_SOURCE_BOOL, "BOOL", 1, 1, 0, NULL, NULL, false},
    {SLM_SOURCE_U8, "U8", 1, 1, 0, NULL, NULL, false},
    {SLM_SOURCE_U16, "U16", 1, 2, 0, NULL, NULL, false},
    {SLM_SOURCE_U32, "U32", 1, 4, 0, NULL, NULL, false},
    {SLM_SOURCE_U64, "U64", 1, 8, 0, NULL, NULL, false},
    {SLM_SOURCE_F8_E4M3, "F8_E4M3", 1, 1, 0, NULL, NULL, false},
    {SLM_SOURCE_F8_E5M2, "F8_E5M2", 1, 1, 0, NULL, NULL, false},
};

const struct slm_source_type *slm_source_type(uint32_t id)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].id == id)
            return &types[i];
    return NULL;
}

const char *slm_source_types_supported(void)
{
    return "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, MXFP4";
}

const char *slm_source_type_name(uint32_t id)
{
    static const struct {
        uint32_t id;
        const char *name;
    } others[] = {
        {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
        {19, "IQ1_S"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"}, {29, "IQ1_M"},
        {34, "TQ1_0"}, {35, "TQ2_0"}, {40, "NVFP4"},
    };
    const struct slm_source_type *type = slm_source_type(id);
    if (type)
        return type->name;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i].id == id)
            return others[i].name;
    return NULL;
}

bool slm_source_bytes(const struct slm_source_type *type, uint64_t n, uint64_t *bytes)
{
    return !__builtin_mul_overflow(n / type->values, (uint64_t)type->bytes, bytes);
}
