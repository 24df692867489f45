/*
 * test_quant.c - the weight types: where each weight lies in a tile, what its bytes stand for, and
 * how far an encoder may be off.
 *
 * The places are computed here from the text of docs/format.md, not from the code under test.
 */
#include "quant/quant.h"

#include "base/bits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_state = 0x9E3779B97F4A7C15u;

static uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static float random_float(void) /* -1 to 1 */
{
    return (float)(int32_t)random_u32() / 2147483648.0f;
}

/* ------------------------------------------------------------------------- table --- */

static void the_table_is_what_files_hold(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t type, tile_bytes;
        bool integer;
    } want[] = {
        {"f32", 0, 2048, false}, {"f16", 1, 1024, false}, {"bf16", 2, 1024, false},
        {"q8", 8, 544, true},    {"q4", 16, 288, true},   {"q4a", 17, 320, true},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const struct slm_quant *quant = slm_quant_named(want[i].name);
        assert_non_null(quant);
        assert_ptr_equal(quant, slm_quant(want[i].type));
        assert_int_equal(quant->type, want[i].type);
        assert_int_equal(quant->tile_bytes, want[i].tile_bytes);
        assert_int_equal(quant->integer, want[i].integer);
        assert_string_equal(quant->name, want[i].name);
        assert_true(quant->type < SLM_N_TYPES);
    }
    size_t n = 0;
    for (uint32_t type = 0; type < 300; type++)
        n += slm_quant(type) != NULL;
    assert_int_equal(n, sizeof want / sizeof want[0]);
    assert_non_null(slm_quant_at(n - 1));
    assert_null(slm_quant_at(n));
    assert_null(slm_quant(3));
    assert_null(slm_quant(UINT32_MAX));
    assert_null(slm_quant_named("q5"));
    assert_null(slm_quant_named(""));
}

static void sizes_are_padded_and_checked(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        size_t rows, cols, bytes;
    } want[] = {
        {SLM_TYPE_Q8, 16, 32, 544},          {SLM_TYPE_Q8, 1, 1, 544},
        {SLM_TYPE_Q8, 17, 32, 1088},         {SLM_TYPE_Q8, 16, 33, 1088},
        {SLM_TYPE_Q4, 576, 576, 186624},     {SLM_TYPE_Q4A, 576, 576, 207360},
        {SLM_TYPE_F32, 3, 40, 4096},         {SLM_TYPE_F16, 3, 40, 2048},
        {SLM_TYPE_Q8, 49152, 576, 30081024}, {SLM_TYPE_BF16, 0, 40, 0},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        size_t bytes = 1;
        assert_true(slm_quant_bytes(slm_quant(want[i].type), want[i].rows, want[i].cols, &bytes));
        assert_int_equal(bytes, want[i].bytes);
    }
    size_t bytes;
    const struct slm_quant *f32 = slm_quant(SLM_TYPE_F32);
    assert_false(slm_quant_bytes(f32, SIZE_MAX, 1, &bytes));
    assert_false(slm_quant_bytes(f32, 1, SIZE_MAX, &bytes));
    assert_false(slm_quant_bytes(f32, SIZE_MAX / 4, SIZE_MAX / 4, &bytes));
    assert_false(slm_quant_bytes(f32, SIZE_MAX / 2048, 1024, &bytes));
}

/* ------------------------------------------------------------------------ layout --- */

/* A tile full of 0xA5 with one row packed into it: bytes of the other rows must not move. */
static void each_row_owns_its_bytes(void **state)
{
    (void)state;
    const struct slm_quant *quant;
    for (size_t t = 0; (quant = slm_quant_at(t)); t++) {
        uint8_t owners[2048] = {0};
        for (int row = 0; row < 16; row++) {
            uint8_t ones[2048], zeros[2048];
            struct slm_block block;
            memset(ones, 0xFF, sizeof ones);
            memset(zeros, 0, sizeof zeros);
            memset(&block, 0, sizeof block);
            for (int i = 0; i < 32; i++) {
                block.values[i] = random_float();
                block.q[i] = (int8_t)(random_u32() % 8);
            }
            block.scale = 0x1234;
            block.minimum = 0x5678;
            quant->pack(ones, row, &block);
            quant->pack(zeros, row, &block);
            /* A byte that belongs to the row is the same over both backgrounds. */
            size_t owned = 0;
            for (size_t i = 0; i < quant->tile_bytes; i++) {
                if (ones[i] == zeros[i]) {
                    owned++;
                    owners[i]++;
                } else {
                    assert_int_equal(ones[i], 0xFF);
                    assert_int_equal(zeros[i], 0);
                }
            }
            assert_int_equal(owned, quant->tile_bytes / 16);
        }
        for (size_t i = 0; i < quant->tile_bytes; i++)
            assert_int_equal(owners[i], 1);
    }
}

static void q8_bytes_lie_as_documented(void **state)
{
    (void)state;
    uint8_t tile[544] = {0};
    struct slm_block block = {.scale = 0x3C00}; /* 1.0 */
    for (int i = 0; i < 32; i++)
        block.q[i] = (int8_t)(i - 16);
    slm_quant(SLM_TYPE_Q8)->pack(tile, 5, &block);
    assert_int_equal(tile[2 * 5], 0x00);
    assert_int_equal(tile[2 * 5 + 1], 0x3C);
    /* Row 5: columns 0 to 3 at 32 + 20, columns 4 to 7 64 bytes later. By hand: */
    static const uint8_t first[] = {0xF0, 0xF1, 0xF2, 0xF3}, second[] = {0xF4, 0xF5, 0xF6, 0xF7};
    static const uint8_t last[] = {0x0C, 0x0D, 0x0E, 0x0F};
    assert_memory_equal(tile + 52, first, 4);
    assert_memory_equal(tile + 116, second, 4);
    assert_memory_equal(tile + 500, last, 4);
    for (int group = 0; group < 8; group++)
        for (int j = 0; j < 4; j++)
            assert_int_equal((int8_t)tile[32 + 64 * group + 4 * 5 + j], 4 * group + j - 16);
}

static void q4_bytes_lie_as_documented(void **state)
{
    (void)state;
    uint8_t tile[288] = {0};
    struct slm_block block = {.scale = 0xB800}; /* -0.5 */
    for (int i = 0; i < 32; i++)
        block.q[i] = (int8_t)(i % 16 - 8);
    slm_quant(SLM_TYPE_Q4)->pack(tile, 15, &block);
    assert_int_equal(tile[30], 0x00);
    assert_int_equal(tile[31], 0xB8);
    /* Row 15 is the last of each group of 64: columns 0..3 low and 4..7 high, then 8..11 and
     * 12..15, and so on. Stored is q + 8, here the column modulo 16. */
    static const uint8_t groups[4][4] = {{0x40, 0x51, 0x62, 0x73},
                                         {0xC8, 0xD9, 0xEA, 0xFB},
                                         {0x40, 0x51, 0x62, 0x73},
                                         {0xC8, 0xD9, 0xEA, 0xFB}};
    for (int group = 0; group < 4; group++)
        assert_memory_equal(tile + 32 + 64 * group + 60, groups[group], 4);
    float values[32];
    struct slm_block back;
    slm_quant(SLM_TYPE_Q4)->unpack(tile, 15, &back);
    slm_quant(SLM_TYPE_Q4)->decode(&back, values);
    for (int i = 0; i < 32; i++)
        assert_true(values[i] == -0.5f * (float)(i % 16 - 8));
}

static void q4a_bytes_lie_as_documented(void **state)
{
    (void)state;
    uint8_t tile[320] = {0};
    struct slm_block block = {.scale = 0x3400 /* 0.25 */, .minimum = 0xC000 /* -2 */};
    for (int i = 0; i < 32; i++)
        block.q[i] = (int8_t)(15 - i % 16);
    slm_quant(SLM_TYPE_Q4A)->pack(tile, 0, &block);
    assert_int_equal(tile[0], 0x00);
    assert_int_equal(tile[1], 0x34);
    assert_int_equal(tile[32], 0x00);
    assert_int_equal(tile[33], 0xC0);
    static const uint8_t groups[4][4] = {{0xBF, 0xAE, 0x9D, 0x8C},
                                         {0x37, 0x26, 0x15, 0x04},
                                         {0xBF, 0xAE, 0x9D, 0x8C},
                                         {0x37, 0x26, 0x15, 0x04}};
    for (int group = 0; group < 4; group++)
        assert_memory_equal(tile + 64 + 64 * group, groups[group], 4);
    float values[32];
    struct slm_block back;
    slm_quant(SLM_TYPE_Q4A)->unpack(tile, 0, &back);
    slm_quant(SLM_TYPE_Q4A)->decode(&back, values);
    for (int i = 0; i < 32; i++)
        assert_true(values[i] == 0.25f * (float)(15 - i % 16) - 2.0f);
}

static void float_tiles_are_columns_of_16(void **state)
{
    (void)state;
    uint8_t tile[2048] = {0};
    struct slm_block block = {0};
    for (int i = 0; i < 32; i++)
        block.values[i] = 1.0f + (float)i;
    slm_quant(SLM_TYPE_F32)->pack(tile, 2, &block);
    for (int i = 0; i < 32; i++)
        assert_true(slm_load_f32(tile + 4 * (16 * i + 2)) == 1.0f + (float)i);
    assert_int_equal(slm_load_u32(tile + 8), 0x3F800000);      /* column 0 */
    assert_int_equal(slm_load_u32(tile + 64 + 8), 0x40000000); /* column 1 */

    memset(tile, 0, sizeof tile);
    slm_quant(SLM_TYPE_F16)->pack(tile, 2, &block);
    assert_int_equal(slm_load_u16(tile + 4), 0x3C00);
    assert_int_equal(slm_load_u16(tile + 31 * 32 + 4), 0x5000); /* 32.0 */

    memset(tile, 0, sizeof tile);
    slm_quant(SLM_TYPE_BF16)->pack(tile, 2, &block);
    assert_int_equal(slm_load_u16(tile + 4), 0x3F80);
    assert_int_equal(slm_load_u16(tile + 31 * 32 + 4), 0x4200);
}

/* Any bytes at all: unpack and pack again gives them back, so no bit pattern is lost. NaN halves
 * become quiet, which is all that a float may lose on the way. */
static void any_tile_survives_unpack_and_pack(void **state)
{
    (void)state;
    const struct slm_quant *quant;
    for (size_t t = 0; (quant = slm_quant_at(t)); t++) {
        uint8_t tile[2048], copy[2048];
        for (size_t i = 0; i < sizeof tile; i++)
            tile[i] = (uint8_t)random_u32();
        if (quant->type == SLM_TYPE_F16)
            for (size_t i = 1; i < sizeof tile; i += 2)
                tile[i] &= 0xBF; /* no NaN */
        if (quant->type == SLM_TYPE_BF16)
            for (size_t i = 1; i < sizeof tile; i += 2)
                tile[i] &= 0xBF;
        if (quant->type == SLM_TYPE_F32)
            for (size_t i = 3; i < sizeof tile; i += 4)
                tile[i] &= 0xBF;
        memset(copy, 0x5A, sizeof copy);
        for (int row = 0; row < 16; row++) {
            struct slm_block block;
            quant->unpack(tile, row, &block);
            quant->pack(copy, row, &block);
        }
        assert_memory_equal(tile, copy, quant->tile_bytes);
    }
}

/* ---------------------------------------------------------------------- encoders --- */

/* Half a step of the scale that the extreme demands, and what rounding that scale (and a minimum)
 * to f16 adds: 2^-11 of it, over as many steps as the weight is away from 0. */
static double error_bound(uint32_t type, const float *values)
{
    double largest = 0, low = values[0], high = values[0];
    for (int i = 0; i < 32; i++) {
        largest = fmax(largest, fabs(values[i]));
        low = fmin(low, values[i]);
        high = fmax(high, values[i]);
    }
    double f16 = 1.0 / 2048, tiny = 0x1p-25; /* relative; half of the least denormal */
    double range = high - low;
    switch (type) {
    case SLM_TYPE_Q8: return largest / 127 / 2 * (1 + f16) + largest * f16 + 128 * tiny;
    /* On the side opposite to the extreme the range ends at 7 steps instead of 8. */
    case SLM_TYPE_Q4: return largest / 8 * (1 + f16) + largest * f16 + 8 * tiny;
    case SLM_TYPE_Q4A:
        return range / 15 / 2 * (1 + f16) + range * f16 + fabs(low) * f16 + 32 * tiny;
    case SLM_TYPE_F16: return largest * f16 + tiny;
    case SLM_TYPE_BF16: return largest / 256;
    default: return 0;
    }
}

static void encoders_stay_within_their_bounds(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        float values[32], magnitude = ldexpf(1, (int)(random_u32() % 40) - 30);
        float offset = round % 3 ? 0 : 4 * random_float();
        for (int i = 0; i < 32; i++)
            values[i] = magnitude * (random_float() + offset);
        const struct slm_quant *quant;
        for (size_t t = 0; (quant = slm_quant_at(t)); t++) {
            uint8_t tile[2048];
            struct slm_block block, back;
            float decoded[32];
            memset(&block, 0, sizeof block);
            quant->encode(&block, values);
            quant->pack(tile, round % 16, &block);
            quant->unpack(tile, round % 16, &back);
            quant->decode(&back, decoded);
            double bound = error_bound(quant->type, values);
            for (int i = 0; i < 32; i++) {
                double error = fabs((double)decoded[i] - (double)values[i]);
                if (error > bound)
                    fail_msg("%s: %.9g became %.9g, off by %g, bound %g", quant->name,
                             (double)values[i], (double)decoded[i], error, bound);
            }
        }
    }
}

/* What is representable comes back as it was. */
static void representable_blocks_are_exact(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        float scale = ldexpf(1 + (float)(random_u32() % 8) / 8, (int)(random_u32() % 16) - 10);
        float q8[32], q4[32], q4a[32], out[32];
        for (int i = 0; i < 32; i++) {
            q8[i] = scale * (float)((int)(random_u32() % 255) - 127);
            q4[i] = scale * (float)((int)(random_u32() % 16) - 8);
            q4a[i] = scale * (float)(random_u32() % 16) - 3 * scale;
        }
        q8[3] = -127 * scale;
        q4[7] = -8 * scale;
        q4a[0] = -3 * scale;
        q4a[31] = 12 * scale;
        struct slm_block block;
        slm_quant(SLM_TYPE_Q8)->encode(&block, q8);
        slm_quant(SLM_TYPE_Q8)->decode(&block, out);
        assert_memory_equal(out, q8, sizeof out);
        slm_quant(SLM_TYPE_Q4)->encode(&block, q4);
        slm_quant(SLM_TYPE_Q4)->decode(&block, out);
        for (int i = 0; i < 32; i++)
            assert_true(out[i] == q4[i]); /* 0 may come back as -0 */
        slm_quant(SLM_TYPE_Q4A)->encode(&block, q4a);
        slm_quant(SLM_TYPE_Q4A)->decode(&block, out);
        for (int i = 0; i < 32; i++)
            assert_true(out[i] == q4a[i]);
    }
}

/* Weights that no f16 scale can carry must still give finite weights. */
static void extreme_blocks_stay_finite(void **state)
{
    (void)state;
    static const float extremes[] = {0,     -0.0f, 1e-45f, -1e-45f, 1e-38f,       6e-8f,
                                     1e-5f, 65504, -1e5f,  1e30f,   3.402823e38f, -3.402823e38f};
    for (size_t e = 0; e < sizeof extremes / sizeof extremes[0]; e++) {
        for (int fill = 0; fill < 3; fill++) {
            float values[32] = {0}, out[32];
            for (int i = 0; i < 32; i++)
                values[i] = fill == 0 ? extremes[e] : fill == 1 && i == 9 ? extremes[e] : 0;
            if (fill == 2) { /* both signs */
                values[0] = extremes[e];
                values[1] = -extremes[e];
            }
            const struct slm_quant *quant;
            for (size_t t = 0; (quant = slm_quant_at(t)); t++) {
                if (!quant->integer)
                    continue;
                struct slm_block block;
                quant->encode(&block, values);
                quant->decode(&block, out);
                for (int i = 0; i < 32; i++)
                    assert_true(isfinite(out[i]));
            }
        }
    }
}

/* -------------------------------------------------------------------------- rows --- */

/* Ragged matrices: each row of the panels, read back through slm_quant_row, against a picture of
 * the matrix kept as plain values; nothing behind out[cols] is written. */
static void rows_of_ragged_matrices(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {16, 32}, {17, 33}, {3, 100}, {50, 31}, {31, 64}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t rows = sizes[s][0], cols = sizes[s][1], tiles = (cols + 31) / 32;
        const struct slm_quant *quant;
        for (size_t t = 0; (quant = slm_quant_at(t)); t++) {
            size_t bytes;
            assert_true(slm_quant_bytes(quant, rows, cols, &bytes));
            uint8_t *panels = calloc(1, bytes);
            float *want = calloc(rows * tiles * 32, sizeof *want); /* [rows][tiles * 32] */
            float *out = malloc(cols * sizeof *out);               /* exact: ASan watches the end */
            assert_true(panels && want && out);
            for (size_t row = 0; row < rows; row++) {
                for (size_t tile = 0; tile < tiles; tile++) {
                    struct slm_block block;
                    float values[32];
                    for (int i = 0; i < 32; i++)
                        values[i] = tile * 32 + (size_t)i < cols ? random_float() : 0;
                    memset(&block, 0, sizeof block);
                    quant->encode(&block, values);
                    size_t place = (row / 16 * tiles + tile) * quant->tile_bytes;
                    quant->pack(panels + place, (int)(row % 16), &block);
                    quant->unpack(panels + place, (int)(row % 16), &block);
                    quant->decode(&block, want + (row * tiles + tile) * 32);
                }
            }
            for (size_t row = 0; row < rows; row++) {
                slm_quant_row(quant, panels, row, cols, out);
                assert_memory_equal(out, want + row * tiles * 32, cols * sizeof *out);
            }
            free(panels);
            free(want);
            free(out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_what_files_hold),
        cmocka_unit_test(sizes_are_padded_and_checked),
        cmocka_unit_test(each_row_owns_its_bytes),
        cmocka_unit_test(q8_bytes_lie_as_documented),
        cmocka_unit_test(q4_bytes_lie_as_documented),
        cmocka_unit_test(q4a_bytes_lie_as_documented),
        cmocka_unit_test(float_tiles_are_columns_of_16),
        cmocka_unit_test(any_tile_survives_unpack_and_pack),
        cmocka_unit_test(encoders_stay_within_their_bounds),
        cmocka_unit_test(representable_blocks_are_exact),
        cmocka_unit_test(extreme_blocks_stay_finite),
        cmocka_unit_test(rows_of_ragged_matrices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
