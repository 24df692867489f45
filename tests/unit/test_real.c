/*
 * test_real.c - exp, log, pow, sin and cos against the C library's long double ones, which are good
 * to 64 bits on the machines where long double has them.
 */
#include "base/real.h"

#include "support/random.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint64_t seed;

/* Distance in units of the last place of a double near the true value. */
static double ulps(double x, long double truth)
{
    int exponent;
    (void)frexpl(truth, &exponent);
    return (double)(fabsl((long double)x - truth) / ldexpl(1, exponent - 53));
}

static void test_exp(void **state)
{
    (void)state;
    struct random r = random_stream(seed, 1);
    double worst = 0;
    for (int i = 0; i < 200000; i++) {
        double x = (double)random_unit(&r) * (i % 3 == 0 ? 700 : i % 3 == 1 ? 30 : 1);
        worst = fmax(worst, ulps(slm_exp(x), expl((long double)x)));
    }
    assert_true(worst < 2);
    assert_true(slm_exp(0) == 1);
    assert_true(slm_exp(-708.5) == 0 && slm_exp(-INFINITY) == 0);
    assert_true(isinf(slm_exp(709.8)) && isinf(slm_exp(INFINITY)));
    assert_true(slm_exp(709.7) > 1e308 && slm_exp(-708.0) > 0);
    assert_true(isnan(slm_exp(NAN)));
}

static void test_log(void **state)
{
    (void)state;
    struct random r = random_stream(seed, 2);
    double worst = 0;
    for (int i = 0; i < 200000; i++) {
        double x = i & 1 ? exp((double)random_unit(&r) * 700) : 1 + (double)random_unit(&r) * 0.4;
        worst = fmax(worst, ulps(slm_log(x), logl((long double)x)));
    }
    /* Between 0.7 and 1.4 k * ln 2 and the rest may cancel by half: a few units. */
    if (!(worst < 4))
        fail_msg("log is off by %g units", worst);
    assert_true(slm_log(1) == 0);
    assert_true(slm_log(2) == 0x1.62e42fefa39efp-1);
}

static void test_pow(void **state)
{
    (void)state;
    struct random r = random_stream(seed, 3);
    for (int i = 0; i < 100000; i++) {
        double x = exp((double)random_unit(&r) * 16), y = (double)random_unit(&r) * 3;
        long double truth = powl((long double)x, (long double)y);
        /* The error of the logarithm, times the exponent. */
        assert_true(fabsl((long double)slm_pow(x, y) - truth) <=
                    truth * (1 + fabsl(logl(truth))) * 0x1p-51L);
    }
    assert_true(slm_pow(10000, 0) == 1);
}

/* Each is right to the last bit of a float, but where the truth lies within a ten-thousandth of the
 * middle between two. */
static void check_sincos(float x)
{
    float s, c;
    slm_sincos(x, &s, &c);
    const long double truth[] = {sinl((long double)x), cosl((long double)x)};
    const float got[] = {s, c};
    for (int i = 0; i < 2; i++) {
        int exponent;
        (void)frexpl(truth[i], &exponent);
        long double unit = ldexpl(1, exponent - 24);
        if (!(fabsl((long double)got[i] - truth[i]) <= 0.5001L * unit))
            fail_msg("%s(%a) is %a, not %La", i ? "cos" : "sin", (double)x, (double)got[i],
                     truth[i]);
    }
}

static void test_sincos(void **state)
{
    (void)state;
    if (LDBL_MANT_DIG < 64)
        skip();
    struct random r = random_stream(seed, 4);
    for (int i = 0; i < 300000; i++) {
        const float ranges[] = {0x1p24f, 4096, 10, 0.01f, 0x1p-60f};
        check_sincos(random_unit(&r) * ranges[i % 5] * 0.9999999f);
    }
    for (int k = -100000; k < 100000; k++) { /* where one of the two is nearly 0 */
        float near = (float)(k * 0x1.921fb54442d18p+0);
        check_sincos(near);
        check_sincos(nextafterf(near, INFINITY));
    }
    for (float x = 0; x < 16777216; x += 4097) /* positions themselves: frequency 1 */
        check_sincos(x);
    check_sincos(16777215);
}

static void test_sincos_outside(void **state)
{
    (void)state;
    const float outside[] = {0x1p24f, -0x1p24f, 1e30f, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        float s = 0, c = 0;
        slm_sincos(outside[i], &s, &c);
        assert_true(isnan(s) && isnan(c));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_pow),
        cmocka_unit_test(test_sincos),
        cmocka_unit_test(test_sincos_outside),
    };
    seed = random_start("test_real");
    return cmocka_run_group_tests_name("real", tests, NULL, NULL);
}
