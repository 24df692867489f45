/*
 * test_bits.c - half precision against an exact integer model and the compiler's own type, and
 * XXH64 against published values.
 */
#include "base/bits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---------------------------------------------------------------- half precision --- */

/* What the 16 bits stand for, from the definition: sign * 2^(e - 15) * 1.m, or 2^-14 * 0.m. Exact
 * in double. */
static double half_value(uint32_t h)
{
    int exponent = (int)(h >> 10 & 31);
    double mantissa = h & 0x3FF;
    double value = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -value : value;
}

static bool is_half_nan(uint32_t h)
{
    return (h & 0x7FFF) > 0x7C00;
}

/* The nearest half by search: among the finite magnitudes the one with the least distance, at a
 * tie the one with the even pattern. 65520 is where infinity begins (half a step past 65504). */
static uint16_t nearest_half(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    double magnitude = fabs(x);
    if (magnitude >= 65520)
        return sign | 0x7C00;
    uint32_t low = 0, high = 0x7BFF; /* patterns of magnitudes are ordered as their values */
    while (low < high) {             /* the largest pattern not above magnitude */
        uint32_t middle = (low + high + 1) / 2;
        if (half_value(middle) <= magnitude)
            low = middle;
        else
            high = middle - 1;
    }
    if (low == 0x7BFF)
        return sign | 0x7BFF;
    double below = magnitude - half_value(low), above = half_value(low + 1) - magnitude;
    if (above < below || (above == below && (low & 1)))
        low++;
    return (uint16_t)(sign | low);
}

static void every_half_has_its_value(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = slm_f16_to_f32((uint16_t)h);
        if (is_half_nan(h)) {
            /* quiet, sign and payload kept: what VCVTPH2PS and FCVT give */
            uint32_t want = (h & 0x8000) << 16 | 0x7FC00000 | (h & 0x3FF) << 13;
            assert_int_equal(slm_bits_of(f), want);
        } else if ((h & 0x7FFF) == 0x7C00) {
            assert_true(isinf(f) && !!signbit(f) == !!(h & 0x8000));
        } else {
            assert_true((double)f == half_value(h) && !!signbit(f) == !!(h & 0x8000));
        }
    }
}

static void every_half_survives_the_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t back = slm_f32_to_f16(slm_f16_to_f32((uint16_t)h));
        assert_int_equal(back, is_half_nan(h) ? h | 0x200 : h);
    }
}

/* Between any two neighbours: the middle goes to even, one float to either side does not. */
static void every_tie_goes_to_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7C00; h++) {
        double next = h == 0x7BFF ? 65536 : half_value(h + 1);
        float tie = (float)((half_value(h) + next) / 2); /* 12 significant bits: exact */
        assert_int_equal(slm_f32_to_f16(tie), h & 1 ? h + 1 : h);
        assert_int_equal(slm_f32_to_f16(nextafterf(tie, 0)), h);
        assert_int_equal(slm_f32_to_f16(nextafterf(tie, INFINITY)), h + 1);
        assert_int_equal(slm_f32_to_f16(-tie), 0x8000 | (h & 1 ? h + 1 : h));
    }
}

static uint64_t random_state = 88172645463325252u;

static uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static void floats_go_to_the_nearest_half(void **state)
{
    (void)state;
    for (int i = 0; i < 1000000; i++) {
        /* Half of the time an exponent near those of halves, else anything. */
        uint32_t bits = random_u32();
        if (i & 1)
            bits = (bits & 0x807FFFFF) | (100 + bits % 45) << 23;
        float f = slm_float_of(bits);
        if (isnan(f))
            assert_true(is_half_nan(slm_f32_to_f16(f)));
        else
            assert_int_equal(slm_f32_to_f16(f), nearest_half(f));
#ifdef __FLT16_MAX__ /* the compiler's own conversion, in its library or in hardware */
        _Float16 theirs = (_Float16)f;
        uint16_t bits16;
        memcpy(&bits16, &theirs, 2);
        if (!isnan(f))
            assert_int_equal(slm_f32_to_f16(f), bits16);
#endif
    }
    assert_int_equal(slm_f32_to_f16(INFINITY), 0x7C00);
    assert_int_equal(slm_f32_to_f16(-INFINITY), 0xFC00);
    assert_int_equal(slm_f32_to_f16(65519.996f), 0x7BFF);
    assert_int_equal(slm_f32_to_f16(65520.0f), 0x7C00);
    assert_int_equal(slm_f32_to_f16(-0.0f), 0x8000);
    assert_int_equal(slm_f32_to_f16(slm_float_of(1)), 0); /* the least denormal float */
    assert_int_equal(slm_f32_to_f16(slm_float_of(0x7F800001)), 0x7E00); /* signalling NaN: quiet */
    assert_int_equal(slm_f32_to_f16(slm_float_of(0xFFFFE000)), 0xFFFF);
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = slm_bf16_to_f32((uint16_t)h);
        assert_int_equal(slm_bits_of(f), h << 16);
        bool nan = (h & 0x7FFF) > 0x7F80;
        assert_int_equal(slm_f32_to_bf16(f), nan ? h | 0x40 : h);
        if ((h & 0x7FFF) >= 0x7F80)
            continue;
        /* The 16 bits below: 0x8000 is the tie. */
        assert_int_equal(slm_f32_to_bf16(slm_float_of(h << 16 | 0x7FFF)), h);
        assert_int_equal(slm_f32_to_bf16(slm_float_of(h << 16 | 0x8000)), h + (h & 1));
        assert_int_equal(slm_f32_to_bf16(slm_float_of(h << 16 | 0x8001)), h + 1);
    }
    assert_int_equal(slm_f32_to_bf16(slm_float_of(0x7F800001)), 0x7FC0); /* NaN stays one */
    assert_int_equal(slm_f32_to_bf16(slm_float_of(0x7FFFFFFF)), 0x7FFF);
}

/* ------------------------------------------------------------------------- XXH64 --- */

/* The sanity buffer of xxHash: byte i is the top byte of PRIME32 * PRIME64^i. Its checksums with
 * seed 0 are published with the algorithm (tests/sanity_test_vectors.h and older xxhsum.c). */
static void fill_sanity(uint8_t *buffer, size_t n)
{
    uint64_t generator = 2654435761u;
    for (size_t i = 0; i < n; i++) {
        buffer[i] = (uint8_t)(generator >> 56);
        generator *= 11400714785074694797u;
    }
}

static const struct {
    size_t length;
    uint64_t hash;
} sanity[] = {
    {0, 0xEF46DB3751D8E999u},  {1, 0xE934A84ADB052768u},   {4, 0x9136A0DCA57457EEu},
    {14, 0x8282DCC4994E35C8u}, {222, 0xB641AE8CB691C174u},
};

static const struct {
    const char *text;
    uint64_t hash;
} texts[] = {
    {"", 0xEF46DB3751D8E999u},
    {"a", 0xD24EC4F1A98C6E5Bu},
    {"abc", 0x44BC2CF5AD770999u},
    {"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1u},
};

static void hash_equals_published_values(void **state)
{
    (void)state;
    uint8_t buffer[222];
    fill_sanity(buffer, sizeof buffer);
    for (size_t i = 0; i < sizeof sanity / sizeof sanity[0]; i++)
        assert_true(slm_hash64(buffer, sanity[i].length) == sanity[i].hash);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_true(slm_hash64(texts[i].text, strlen(texts[i].text)) == texts[i].hash);
    assert_true(slm_hash64(NULL, 0) == 0xEF46DB3751D8E999u);
}

/* Every way to cut 100 bytes in three gives the hash of the whole; so do single bytes. */
static void pieces_give_the_same_hash(void **state)
{
    (void)state;
    uint8_t buffer[100];
    fill_sanity(buffer, sizeof buffer);
    uint64_t whole = slm_hash64(buffer, sizeof buffer);
    for (size_t a = 0; a <= sizeof buffer; a++) {
        for (size_t b = a; b <= sizeof buffer; b++) {
            struct slm_hasher h;
            slm_hasher_start(&h);
            slm_hasher_add(&h, buffer, a);
            slm_hasher_add(&h, buffer + a, b - a);
            slm_hasher_add(&h, buffer + b, sizeof buffer - b);
            assert_true(slm_hasher_end(&h) == whole);
        }
    }
    for (size_t n = 0; n <= sizeof buffer; n++) {
        struct slm_hasher h;
        slm_hasher_start(&h);
        for (size_t i = 0; i < n; i++)
            slm_hasher_add(&h, buffer + i, 1);
        assert_true(slm_hasher_end(&h) == slm_hash64(buffer, n));
    }
}

/* The address of the data does not matter. */
static void hash_ignores_alignment(void **state)
{
    (void)state;
    uint8_t buffer[64 + 100], *copy = malloc(64 + 100);
    assert_non_null(copy);
    fill_sanity(buffer, 100);
    for (size_t shift = 0; shift < 64; shift++) {
        memcpy(copy + shift, buffer, 100);
        assert_true(slm_hash64(copy + shift, 100) == slm_hash64(buffer, 100));
    }
    free(copy);
}

static void loads_are_little_endian(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0xFF, 0x01, 0x02, 0x03, 0x84, 0x05, 0x06, 0x07, 0x98};
    assert_int_equal(slm_load_u16(bytes + 1), 0x0201);
    assert_int_equal(slm_load_u32(bytes + 1), 0x84030201u);
    assert_true(slm_load_u64(bytes + 1) == 0x9807060584030201u);
    static const uint8_t one[] = {0, 0, 0x80, 0x3F};
    assert_true(slm_load_f32(one) == 1.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_has_its_value),
        cmocka_unit_test(every_half_survives_the_round_trip),
        cmocka_unit_test(every_tie_goes_to_even),
        cmocka_unit_test(floats_go_to_the_nearest_half),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(hash_equals_published_values),
        cmocka_unit_test(pieces_give_the_same_hash),
        cmocka_unit_test(hash_ignores_alignment),
        cmocka_unit_test(loads_are_little_endian),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
