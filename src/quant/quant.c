/*
 * quant.c - the weight types: how 32 weights of a row are encoded, and where they lie in a tile.
 *
 * This is the definition that docs/format.md describes and that every kernel is tested against.
 * Speed does not matter here: kernels read tiles their own way. Encoders round to nearest with the
 * scale that makes the largest weight exact; converters that know better fill a block themselves.
 */
#include "quant/quant.h"

#include "base/bits.h"

#include <math.h>
#include <string.h>

static int clamp_round(float x, int low, int high)
{
    if (!(x >= (float)low)) /* NaN too */
        return low;
    if (x > (float)high)
        return high;
    return (int)lrintf(x);
}

/* Where column `col` of `row` stands in the nibble or byte groups of a tile. */
static size_t nibble_byte(int row, int col)
{
    return (size_t)(col / 8 * 64 + row * 4 + col % 4);
}

static size_t byte_index(int row, int col)
{
    return (size_t)(col / 4 * 64 + row * 4 + col % 4);
}

static void put_u16(uint8_t *tile, int index, uint16_t value)
{
    tile[2 * index] = (uint8_t)value;
    tile[2 * index + 1] = (uint8_t)(value >> 8);
}

/* ----------------------------------------------------------------- float types --- */

static void float_encode(struct slm_block *block, const float *values)
{
    memcpy(block->values, values, sizeof block->values);
}

static void float_decode(const struct slm_block *block, float *values)
{
    memcpy(values, block->values, sizeof block->values);
}

static void f32_pack(void *tile, int row, const struct slm_block *block)
{
    for (int i = 0; i < 32; i++)
        memcpy((uint8_t *)tile + 4 * (i * 16 + row), &block->values[i], 4);
}

static void f32_unpack(const void *tile, int row, struct slm_block *block)
{
    for (int i = 0; i < 32; i++)
        block->values[i] = slm_load_f32((const uint8_t *)tile + 4 * (i * 16 + row));
}

static void f16_pack(void *tile, int row, const struct slm_block *block)
{
    for (int i = 0; i < 32; i++)
        put_u16(tile, i * 16 + row, slm_f32_to_f16(block->values[i]));
}

static void f16_unpack(const void *tile, int row, struct slm_block *block)
{
    for (int i = 0; i < 32; i++)
        block->values[i] = slm_f16_to_f32(slm_load_u16((const uint8_t *)tile + 2 * (i * 16 + row)));
}

static void bf16_pack(void *tile, int row, const struct slm_block *block)
{
    for (int i = 0; i < 32; i++)
        put_u16(tile, i * 16 + row, slm_f32_to_bf16(block->values[i]));
}

static void bf16_unpack(const void *tile, int row, struct slm_block *block)
{
    for (int i = 0; i < 32; i++)
        block->values[i] = slm_bf16_to_f32(slm_load_u16((const uint8_t *)tile + 2 * (i * 16 + row)));
}

/* -------------------------------------------------------------------------- q8 --- */

/* Store a scale or minimum as f16 and return what was stored: the integers follow from that, so
 * rounding it costs nothing more. What is beyond f16 becomes its largest finite value. */
static float store_f16(uint16_t *field, float value)
{
    *field = slm_f32_to_f16(value);
    if ((*field & 0x7FFF) == 0x7C00)
        (*field)--;
    return slm_f16_to_f32(*field);
}

static void q8_encode(struct slm_block *block, const float *values)
{
    float largest = 0;
    for (int i = 0; i < 32; i++)
        if (fabsf(values[i]) > largest)
            largest = fabsf(values[i]);
    float scale = store_f16(&block->scale, largest / 127);
    for (int i = 0; i < 32; i++)
        block->q[i] = (int8_t)(scale == 0 ? 0 : clamp_round(values[i] / scale, -127, 127));
}

static void symmetric_decode(const struct slm_block *block, float *values)
{
    float scale = slm_f16_to_f32(block->scale);
    for (int i = 0; i < 32; i++)
        values[i] = scale * (float)block->q[i];
}

static void q8_pack(void *tile, int row, const struct slm_block *block)
{
    uint8_t *bytes = (uint8_t *)tile + 32;
    put_u16(tile, row, block->scale);
    for (int i = 0; i < 32; i++)
        bytes[byte_index(row, i)] = (uint8_t)block->q[i];
}

static void q8_unpack(const void *tile, int row, struct slm_block *block)
{
    const uint8_t *bytes = (const uint8_t *)tile + 32;
    block->scale = slm_load_u16((const uint8_t *)tile + 2 * row);
    for (int i = 0; i < 32; i++)
        block->q[i] = (int8_t)bytes[byte_index(row, i)];
}

/* -------------------------------------------------------------------------- q4 --- */

static void q4_encode(struct slm_block *block, const float *values)
{
    /* The weight of largest magnitude becomes -8 exactly: the range -8..7 has its extra step on
     * the negative side, so the scale takes the opposite sign of that weight. */
    float extreme = 0;
    for (int i = 0; i < 32; i++)
        if (fabsf(values[i]) > fabsf(extreme))
            extreme = values[i];
    float scale = store_f16(&block->scale, extreme / -8);
    for (int i = 0; i < 32; i++)
        block->q[i] = (int8_t)(scale == 0 ? 0 : clamp_round(values[i] / scale, -8, 7));
}

static void nibbles_pack(uint8_t *bytes, int row, const int8_t *q, int offset)
{
    for (int i = 0; i < 32; i++) {
        uint8_t *byte = &bytes[nibble_byte(row, i)];
        int nibble = (q[i] + offset) & 15;
        *byte = (uint8_t)(i & 4 ? (*byte & 0x0F) | nibble << 4 : (*byte & 0xF0) | nibble);
    }
}

static void nibbles_unpack(const uint8_t *bytes, int row, int8_t *q, int offset)
{
    for (int i = 0; i < 32; i++) {
        uint8_t byte = bytes[nibble_byte(row, i)];
        q[i] = (int8_t)((i & 4 ? byte >> 4 : byte & 15) - offset);
    }
}

static void q4_pack(void *tile, int row, const struct slm_block *block)
{
    put_u16(tile, row, block->scale);
    nibbles_pack((uint8_t *)tile + 32, row, block->q, 8);
}

static void q4_unpack(const void *tile, int row, struct slm_block *block)
{
    block->scale = slm_load_u16((const uint8_t *)tile + 2 * row);
    nibbles_unpack((const uint8_t *)tile + 32, row, block->q, 8);
}

/* ------------------------------------------------------------------------- q4a --- */

static void q4a_encode(struct slm_block *block, const float *values)
{
    float low = values[0], high = values[0];
    for (int i = 1; i < 32; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    float scale = store_f16(&block->scale, (high - low) / 15);
    float minimum = store_f16(&block->minimum, low);
    for (int i = 0; i < 32; i++)
        block->q[i] = (int8_t)(scale == 0 ? 0 : clamp_round((values[i] - minimum) / scale, 0, 15));
}

static void q4a_decode(const struct slm_block *block, float *values)
{
    float scale = slm_f16_to_f32(block->scale), minimum = slm_f16_to_f32(block->minimum);
    for (int i = 0; i < 32; i++)
        values[i] = scale * (float)block->q[i] + minimum;
}

static void q4a_pack(void *tile, int row, const struct slm_block *block)
{
    put_u16(tile, row, block->scale);
    put_u16(tile, 16 + row, block->minimum);
    nibbles_pack((uint8_t *)tile + 64, row, block->q, 0);
}

static void q4a_unpack(const void *tile, int row, struct slm_block *block)
{
    block->scale = slm_load_u16((const uint8_t *)tile + 2 * row);
    block->minimum = slm_load_u16((const uint8_t *)tile + 32 + 2 * row);
    nibbles_unpack((const uint8_t *)tile + 64, row, block->q, 0);
}

/* ----------------------------------------------------------------------- table --- */

static const struct slm_quant quants[] = {
    {SLM_TYPE_F32, "f32", SLM_TILE_F32, false, float_encode, float_decode, f32_pack, f32_unpack},
    {SLM_TYPE_F16, "f16", SLM_TILE_F16, false, float_encode, float_decode, f16_pack, f16_unpack},
    {SLM_TYPE_BF16, "bf16", SLM_TILE_BF16, false, float_encode, float_decode, bf16_pack,
     bf16_unpack},
    {SLM_TYPE_Q8, "q8", SLM_TILE_Q8, true, q8_encode, symmetric_decode, q8_pack, q8_unpack},
    {SLM_TYPE_Q4, "q4", SLM_TILE_Q4, true, q4_encode, symmetric_decode, q4_pack, q4_unpack},
    {SLM_TYPE_Q4A, "q4a", SLM_TILE_Q4A, true, q4a_encode, q4a_decode, q4a_pack, q4a_unpack},
};

enum { N_QUANTS = sizeof quants / sizeof quants[0] };

const struct slm_quant *slm_quant_at(size_t index)
{
    return index < N_QUANTS ? &quants[index] : NULL;
}

const struct slm_quant *slm_quant(uint32_t type)
{
    for (size_t i = 0; i < N_QUANTS; i++)
        if (quants[i].type == type)
            return &quants[i];
    return NULL;
}

const struct slm_quant *slm_quant_named(const char *name)
{
    for (size_t i = 0; i < N_QUANTS; i++)
        if (strcmp(quants[i].name, name) == 0)
            return &quants[i];
    return NULL;
}

bool slm_quant_bytes(const struct slm_quant *quant, size_t rows, size_t cols, size_t *bytes)
{
    if (rows > SIZE_MAX - 16 || cols > SIZE_MAX - 32)
        return false;
    size_t panels = (rows + 15) / 16, tiles = (cols + 31) / 32;
    return slm_size_mul(panels, tiles, bytes) && slm_size_mul(*bytes, quant->tile_bytes, bytes);
}

void slm_quant_row(const struct slm_quant *quant, const void *panels, size_t row, size_t cols,
                   float *out)
{
    size_t tiles = (cols + 31) / 32;
    const uint8_t *tile = (const uint8_t *)panels + row / 16 * tiles * quant->tile_bytes;
    for (size_t col = 0; col < cols; col += 32, tile += quant->tile_bytes) {
        struct slm_block block;
        float values[32];
        quant->unpack(tile, (int)(row % 16), &block);
        quant->decode(&block, values);
        memcpy(out + col, values, (cols - col < 32 ? cols - col : 32) * sizeof *out);
    }
}
