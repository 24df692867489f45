/*
 * real.c - see real.h. Each reduces its argument to a small interval and sums a Taylor series
 * there, long enough that the first term left out is below 2^-53 of the result.
 */
#include "base/real.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* ln 2 and pi / 2 cut so that a product with an integer below 2^24 is exact but for the last part. */
static const double LN2_HIGH = 0x1.62e42fee00000p-1, LN2_LOW = 0x1.a39ef35793c76p-33;
static const double PI2_HIGH = 0x1.921fb50000000p+0, PI2_MIDDLE = 0x1.110b460000000p-26,
                    PI2_LOW = 0x1.1a62633145c07p-54;

/* c[0] + x * (c[1] + x * (...)) */
static double polynomial(const double *c, int n, double x)
{
    double sum = c[n - 1];
    for (int i = n - 2; i >= 0; i--)
        sum = sum * x + c[i];
    return sum;
}

double slm_exp(double x)
{
    static const double terms[] = {1.0,           1.0,            1.0 / 2,       1.0 / 6,
                                   1.0 / 24,      1.0 / 120,      1.0 / 720,     1.0 / 5040,
                                   1.0 / 40320,   1.0 / 362880,   1.0 / 3628800, 1.0 / 39916800,
                                   1.0 / 479001600, 1.0 / 6227020800.0};
    if (!(x >= -708.0))
        return x < -708.0 ? 0.0 : x; /* NaN stays */
    if (x > 709.7)
        return INFINITY;
    double k = nearbyint(x * 0x1.71547652b82fep+0);
    double r = (x - k * LN2_HIGH) - k * LN2_LOW;
    double p = polynomial(terms, sizeof terms / sizeof terms[0], r);
    uint64_t bits = (uint64_t)((int64_t)k + 1022) << 52; /* 2^(k - 1): k may be 1024 */
    double power;
    memcpy(&power, &bits, sizeof power);
    return p * power * 2.0;
}

double slm_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int k = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 0x1.6a09e667f3bcdp+0) { /* sqrt 2 */
        m *= 0.5;
        k++;
    }
    static const double terms[] = {2.0,      2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9, 2.0 / 11,
                                   2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21};
    double s = (m - 1) / (m + 1); /* log m = 2 artanh s, |s| < 0.172 */
    double p = s * polynomial(terms, sizeof terms / sizeof terms[0], s * s);
    return k * LN2_HIGH + (p + k * LN2_LOW);
}

double slm_pow(double x, double y)
{
    return slm_exp(y * slm_log(x));
}

void slm_sincos(float x, float *sine, float *cosine)
{
    static const double sine_terms[] = {1.0,           -1.0 / 6,       1.0 / 120,
                                        -1.0 / 5040,   1.0 / 362880,   -1.0 / 39916800,
                                        1.0 / 6227020800.0, -1.0 / 1307674368000.0};
    static const double cosine_terms[] = {1.0,          -1.0 / 2,        1.0 / 24,
                                          -1.0 / 720,   1.0 / 40320,     -1.0 / 3628800,
                                          1.0 / 479001600.0, -1.0 / 87178291200.0,
                                          1.0 / 20922789888000.0};
    enum { SINE_TERMS = 8, COSINE_TERMS = 9 };
    if (!(fabsf(x) < 0x1p24f)) { /* only a damaged file asks for it */
        *sine = *cosine = NAN;
        return;
    }
    double k = nearbyint(x * 0x1.45f306dc9c883p-1);
    double r = ((x - k * PI2_HIGH) - k * PI2_MIDDLE) - k * PI2_LOW;
    double s = r * polynomial(sine_terms, SINE_TERMS, r * r);
    double c = polynomial(cosine_terms, COSINE_TERMS, r * r);
    switch ((int64_t)k & 3) {
    case 0: *sine = (float)s, *cosine = (float)c; break;
    case 1: *sine = (float)c, *cosine = (float)-s; break;
    case 2: *sine = (float)-s, *cosine = (float)-c; break;
    case 3: *sine = (float)-c, *cosine = (float)s; break;
    }
}
