/*
 * numbers.h - exp and log that give the same bits on every machine.
 *
 * libm differs from system to system, so sampling never calls it. Here are only IEEE additions,
 * multiplications, divisions and bit patterns, in a fixed order, built with -ffp-contract=off.
 *
 * Four floats at a time, in the vectors that gcc and clang offer on any CPU: every 64-bit CPU has
 * registers of that size, and elements never mix, so this changes no bit.
 */
#ifndef SLM_SAMPLE_NUMBERS_H
#define SLM_SAMPLE_NUMBERS_H

#include "base/bits.h"

typedef float slm_float4 __attribute__((vector_size(16)));
typedef int32_t slm_int4 __attribute__((vector_size(16)));

static inline slm_float4 slm_load4(const float *p)
{
    slm_float4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void slm_store4(float *p, slm_float4 v)
{
    memcpy(p, &v, sizeof v);
}

static inline slm_float4 slm_all4(float x)
{
    return (slm_float4){x, x, x, x};
}

/* The greater of each pair; a NaN in a gives b. */
static inline slm_float4 slm_max4(slm_float4 a, slm_float4 b)
{
    slm_int4 mask = a > b;
    return (slm_float4)(((slm_int4)a & mask) | ((slm_int4)b & ~mask));
}

/* max(x, -87): what goes into slm_exp4(). e^-87 is about the smallest power that is a normal float,
 * so a host that flushes subnormals to zero gets the same bits; 4 million such tokens add up to
 * 1e-31. */
static inline slm_float4 slm_exp_clamp4(slm_float4 x)
{
    return slm_max4(x, slm_all4(-87.0f));
}

/* e^x for -87 <= x <= 1. Relative error below 2e-7 + 1e-7 |x|: as good as the logit that it comes
 * from.
 *
 * x log2(e) = k + f with |f| <= 1/2, and e^x = 2^k 2^f. The polynomial is 1 + f q(f) with the q of
 * degree 4 whose greatest relative error is least (9.2e-8, found by iterated least squares). */
static inline slm_float4 slm_exp4(slm_float4 x)
{
    /* Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits. */
    const slm_float4 shift = slm_all4(12582912.0f);
    slm_float4 y = x * 1.44269504f;
    slm_float4 shifted = y + shift;
    slm_float4 f = y - (shifted - shift);
    slm_float4 p = f * 0x1.5bba14p-10f + 0x1.3cea88p-7f;
    p = p * f + 0x1.c6b752p-5f;
    p = p * f + 0x1.ebf9bcp-3f;
    p = p * f + 0x1.62e42ap-1f;
    p = p * f + 1.0f;
    /* Multiply by 2^k: add k to the exponent. */
    return (slm_float4)((slm_int4)p + ((slm_int4)shifted << 23));
}

/* e^x of each of x[n], in place; below -87 it stays at e^-87. */
static inline void slm_exp_all(float *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        slm_store4(x + i, slm_exp4(slm_exp_clamp4(slm_load4(x + i))));
    if (i < n) {
        float tail[4] = {0};
        memcpy(tail, x + i, (n - i) * sizeof *x);
        slm_store4(tail, slm_exp4(slm_exp_clamp4(slm_load4(tail))));
        memcpy(x + i, tail, (n - i) * sizeof *x);
    }
}

/* The natural logarithm of a positive normal double, within 2 ulp.
 *
 * x = 2^k m with m in [sqrt(1/2), sqrt(2)); with s = (m - 1) / (m + 1), log m = 2 atanh s
 * = 2 (s + s^3/3 + s^5/5 + ...), and s^2 <= 0.0295 makes twelve terms enough. */
static inline double slm_log_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    /* This is sqrt(1/2): counted from there, the exponent field is k. */
    const uint64_t root = UINT64_C(0x3FE6A09E667F3BCD);
    int64_t k = (int64_t)(bits - root) >> 52;
    bits -= (uint64_t)k << 52;
    double m;
    memcpy(&m, &bits, sizeof m);

    double s = (m - 1.0) / (m + 1.0);
    double q = s * s;
    double sum = 0.0;
    for (int i = 12; i >= 1; i--)
        sum = (sum + 1.0 / (2 * i + 1)) * q;
    /* ln2 in two parts: k times the first is exact. */
    const double ln2_high = 0x1.62e42fefa38p-1, ln2_low = 0x1.ef35793c7673p-45;
    return (double)k * ln2_high + (2.0 * s + (2.0 * s * sum + (double)k * ln2_low));
}

#endif
