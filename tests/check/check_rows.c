/*
 * check_rows.c - what happens to one row between products: quantize, norm, activation, rotation,
 * scaling, and the exponential function.
 */
#include "check/check.h"

#include "base/bits.h"

#include <math.h>
#include <stdlib.h>

/* How far a is from b in units of b's last place, for normal numbers. */
static double ulps(float a, double b)
{
    int exponent;
    frexp(b, &exponent);
    return fabs((double)a - b) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static void same(const struct guarded *a, const struct guarded *b, const struct check *check,
                 size_t n)
{
    assert_true(guarded_check(a));
    assert_true(guarded_check(b));
    if (memcmp(a->data, b->data, a->size) != 0)
        fail_msg("%s: other bits than plain C at n = %zu", check->name, n);
}

/* ------------------------------------------------------------------- quantize --- */

enum row_fill { NORMAL, ANY, ZEROS, DENORMAL, NEAR_TINY, TIES, HUGE_VALUES, N_ROW_FILLS };

static float row_value(struct random *r, enum row_fill fill)
{
    switch (fill) {
    case ANY: return random_finite(r);
    case ZEROS: return random_u64(r) & 1 ? 0.0f : -0.0f;
    case DENORMAL: return random_unit(r) * 0x1p-126f;
    case NEAR_TINY: return random_unit(r) * 0x1.1p-100f; /* where a block begins to count as 0 */
    case TIES: return (float)random_between(r, 0, 254) - 127 + 0.5f * (float)(random_u64(r) & 1);
    case HUGE_VALUES: return random_unit(r) * 0x1.fffffep127f;
    default: return random_normal(r);
    }
}

struct quantized {
    struct guarded q, blocks;
};

static struct quantized run_quantize(const struct slm_kern *kern, const float *x, size_t n)
{
    struct quantized out = {guarded_output(n),
                            guarded_output(n / 32 * sizeof(struct slm_act_block))};
    kern->quantize(x, n, out.q.data, out.blocks.data);
    return out;
}

static void free_quantized(struct quantized *out)
{
    guarded_free(&out->q);
    guarded_free(&out->blocks);
}

static void quantize_oracle(const float *x, size_t n, const struct quantized *out)
{
    const int8_t *q = out->q.data;
    const struct slm_act_block *block = out->blocks.data;
    for (size_t i = 0; i < n; i += 32, block++) {
        double largest = 0;
        int sum = 0;
        for (size_t j = i; j < i + 32; j++)
            largest = fmax(largest, fabs((double)x[j]));
        if (largest < 0x1p-100) {
            assert_true(block->scale == 0 && block->offset == 0);
        } else {
            assert_true(ulps(block->scale, largest / 127) <= 0.5);
        }
        for (size_t j = i; j < i + 32; j++) {
            assert_in_range(q[j] + 128, 1, 255); /* never -128 */
            /* Half a step, and what rounding the scale and its reciprocal may add. */
            assert_true(fabs(q[j] * (double)block->scale - (double)x[j]) <=
                        (0.5 + 127 * 0x1p-22) * largest / 127 + 0x1p-100);
            sum += q[j];
        }
        assert_true(block->offset == block->scale * (float)sum);
        assert_int_equal(block->minus8, -8 * sum);
        assert_int_equal(block->minus128, -128 * sum);
    }
}

void check_quantize(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 40 * N_ROW_FILLS; i++) {
        size_t n = 32 * random_between(&r, 1, 40);
        struct guarded x = guarded_input(n * sizeof(float));
        for (size_t j = 0; j < n; j++)
            ((float *)x.data)[j] = row_value(&r, (enum row_fill)(i % N_ROW_FILLS));
        guarded_seal(&x);
        struct quantized expected = run_quantize(check->c, x.data, n);
        struct quantized got = run_quantize(check->kern, x.data, n);
        same(&got.q, &expected.q, check, n);
        same(&got.blocks, &expected.blocks, check, n);
        quantize_oracle(x.data, n, &expected);
        free_quantized(&expected);
        free_quantized(&got);
        guarded_free(&x);
    }
}

/* Infinity and NaN in a row: the integers still agree on all tiers and stay within -127..127. */
void check_quantize_special(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    const float special[] = {INFINITY, -INFINITY, NAN, -NAN};
    for (size_t i = 0; i < 200; i++) {
        float x[32];
        for (size_t j = 0; j < 32; j++)
            x[j] = random_normal(&r);
        for (size_t j = 0; j <= i % 3; j++)
            x[random_between(&r, 0, 31)] = special[random_between(&r, 0, 3)];
        struct quantized expected = run_quantize(check->c, x, 32);
        struct quantized got = run_quantize(check->kern, x, 32);
        same(&got.q, &expected.q, check, 32);
        const struct slm_act_block *a = got.blocks.data, *b = expected.blocks.data;
        assert_memory_equal(&a->minus8, &b->minus8, 8);
        assert_true(a->scale == b->scale || (isnan(a->scale) && isnan(b->scale)));
        assert_true(a->offset == b->offset || (isnan(a->offset) && isnan(b->offset)));
        for (size_t j = 0; j < 32; j++)
            assert_in_range(((int8_t *)got.q.data)[j] + 128, 1, 255);
        free_quantized(&expected);
        free_quantized(&got);
    }
}

/* ----------------------------------------------------------------------- norms --- */

static void norm_oracle(const float *out, const float *x, const float *weight, const float *bias,
                        size_t n, float eps, bool centre)
{
    double squares = 0, mean = 0, largest = 0;
    for (size_t i = 0; i < n && centre; i++)
        mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
        largest = fmax(largest, fabs((double)x[i]));
    }
    double inverse = 1 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        double scaled = ((double)x[i] - mean) * inverse * (double)weight[i];
        double expected = scaled + (bias ? (double)bias[i] : 0);
        /* A sum of n / 16 terms a lane, a tree, five operations, two products. The mean is off by
         * some roundings of the largest element. */
        double tolerance = (fabs(scaled) + fabs(expected)) * (double)(n / 16 + 16) * 0x1p-24;
        if (centre)
            tolerance += largest * inverse * fabs((double)weight[i]) * (double)(n / 16 + 8) * 0x1p-24;
        assert_true(fabs((double)out[i] - expected) <= tolerance + 0x1p-140);
    }
}

static void check_norms(const struct check *check, bool centre)
{
    struct random r = check_random(check);
    const size_t sizes[] = {1, 15, 16, 17, 31, 32, 33, 48, 49, 64, 576, 960, 1536, 4096};
    for (size_t i = 0; i < 300; i++) {
        size_t n = i < sizeof sizes / sizeof *sizes ? sizes[i] : random_between(&r, 1, 300);
        struct guarded x = guarded_input(n * sizeof(float));
        struct guarded weight = guarded_input(n * sizeof(float));
        struct guarded bias = guarded_input(n * sizeof(float));
        float magnitude = i % 5 == 4 ? 0x1p-70f : i % 5 == 3 ? 1e15f : 3.0f;
        for (size_t j = 0; j < n; j++) {
            ((float *)x.data)[j] = random_normal(&r) * magnitude;
            ((float *)weight.data)[j] = random_normal(&r);
            ((float *)bias.data)[j] = random_normal(&r);
        }
        if (i % 7 == 6)
            memset(x.data, 0, x.size);
        guarded_seal(&x);
        guarded_seal(&weight);
        guarded_seal(&bias);
        float eps = i & 1 ? 1e-5f : 1e-6f;
        const float *b = i & 2 ? bias.data : NULL;
        struct guarded expected = guarded_output(n * sizeof(float));
        struct guarded out = guarded_output(n * sizeof(float));
        const struct slm_kern *tables[] = {check->c, check->kern};
        float *outs[] = {expected.data, out.data};
        for (int k = 0; k < 2; k++) {
            const float *in = x.data;
            if (i & 4) /* in place */
                in = memcpy(outs[k], x.data, n * sizeof(float));
            (centre ? tables[k]->layer_norm : tables[k]->rms_norm)(outs[k], in, weight.data, b, n, eps);
        }
        same(&out, &expected, check, n);
        norm_oracle(out.data, x.data, weight.data, b, n, eps, centre);
        guarded_free(&x);
        guarded_free(&weight);
        guarded_free(&bias);
        guarded_free(&expected);
        guarded_free(&out);
    }
}

void check_rms_norm(void **state)
{
    check_norms(*state, false);
}

void check_layer_norm(void **state)
{
    check_norms(*state, true);
}

/* ----------------------------------------------------------------- activations --- */

static double activation_oracle(enum slm_kern_activation kind, double x)
{
    double u = sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
    switch (kind) {
    case SLM_KERN_SILU: return x / (1 + exp(-x));
    case SLM_KERN_GELU: return x / 2 * erfc(-x / sqrt(2));
    case SLM_KERN_GELU_TANH: return x / (1 + exp(-2 * u));
    case SLM_KERN_GELU_QUICK: return x / (1 + exp(-1.702 * x));
    case SLM_KERN_RELU: return fmax(x, 0);
    default: return NAN;
    }
}

static void check_activation(const struct check *check, struct random *r,
                             enum slm_kern_activation kind, size_t i)
{
    size_t n = 16 * random_between(r, 1, 40);
    struct guarded up = guarded_input(n * sizeof(float));
    struct guarded expected = guarded_output(n * sizeof(float));
    struct guarded out = guarded_output(n * sizeof(float));
    float *before = malloc(n * sizeof *before);
    for (size_t j = 0; j < n; j++) {
        ((float *)up.data)[j] = random_normal(r);
        before[j] =
            i % 3 == 0 ? random_finite(r) * 0x1p-8f : random_unit(r) * (i % 3 == 1 ? 5 : 100);
    }
    guarded_seal(&up);
    const float *other = i & 1 ? up.data : NULL;
    memcpy(expected.data, before, n * sizeof *before);
    memcpy(out.data, before, n * sizeof *before);
    check->c->activate[kind](expected.data, other, n);
    check->kern->activate[kind](out.data, other, n);
    same(&out, &expected, check, n);
    for (size_t j = 0; j < n; j++) {
        double x = before[j], u = other ? (double)other[j] : 1, y = ((float *)out.data)[j];
        double truth = activation_oracle(kind, x) * u;
        /* A few roundings and the exponential's error, which grows with its argument; where e^-x
         * exceeds e^88, or falls below e^-87, it is held: nearly nothing is left of x. */
        double argument = kind == SLM_KERN_GELU ? x * x / 2 : fmin(fabs(x * x * x), 200) + fabs(x);
        double tolerance = fabs(truth) * (1e-6 + 1.2e-7 * fmin(argument, 100)) + 2e-37 * fabs(x * u);
        if (!(fabs(y - truth) <= tolerance + 0x1p-140) && fabs(x) < 1e12)
            fail_msg("activation %d of %a times %a is %a, not %a", (int)kind, x, u, y, truth);
    }
    free(before);
    guarded_free(&up);
    guarded_free(&expected);
    guarded_free(&out);
}

void check_activations(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (int kind = SLM_KERN_SILU; kind < SLM_KERN_ACTIVATIONS; kind++)
        for (size_t i = 0; i < 120; i++)
            check_activation(check, &r, (enum slm_kern_activation)kind, i);
}

void check_soft_cap(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 200; i++) {
        size_t n = 16 * random_between(&r, 1, 40);
        float cap = i % 3 == 0 ? 30 : i % 3 == 1 ? 0.5f : 1;
        struct guarded expected = guarded_output(n * sizeof(float));
        struct guarded out = guarded_output(n * sizeof(float));
        float *before = malloc(n * sizeof *before);
        for (size_t j = 0; j < n; j++)
            before[j] = i % 4 == 0 ? random_finite(&r) : random_normal(&r) * cap;
        memcpy(expected.data, before, n * sizeof *before);
        memcpy(out.data, before, n * sizeof *before);
        check->c->soft_cap(expected.data, n, cap);
        check->kern->soft_cap(out.data, n, cap);
        same(&out, &expected, check, n);
        for (size_t j = 0; j < n; j++) {
            double truth = (double)cap * tanh((double)before[j] / (double)cap);
            double y = ((float *)out.data)[j];
            if (!(fabs(y - truth) <= 4e-7 * fabs(truth) + 0x1p-140))
                fail_msg("%g * tanh(%a / %g) is %a, not %a", (double)cap, (double)before[j],
                         (double)cap, y, truth);
        }
        free(before);
        guarded_free(&expected);
        guarded_free(&out);
    }
}

/* ----------------------------------------------------------------------- rope --- */

void check_rope(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 200; i++) {
        size_t half = i < 70 ? i + 1 : random_between(&r, 1, 130);
        struct guarded head = guarded_output(2 * half * sizeof(float));
        struct guarded expected = guarded_output(2 * half * sizeof(float));
        struct guarded cosine = guarded_input(half * sizeof(float));
        struct guarded sine = guarded_input(half * sizeof(float));
        float *before = malloc(2 * half * sizeof *before);
        for (size_t j = 0; j < half; j++) {
            double angle = 3.2 * (double)random_unit(&r);
            ((float *)cosine.data)[j] = (float)cos(angle);
            ((float *)sine.data)[j] = (float)sin(angle);
            before[j] = random_normal(&r);
            before[half + j] = random_normal(&r);
        }
        guarded_seal(&cosine);
        guarded_seal(&sine);
        memcpy(head.data, before, head.size);
        memcpy(expected.data, before, head.size);
        check->c->rope(expected.data, cosine.data, sine.data, half);
        check->kern->rope(head.data, cosine.data, sine.data, half);
        same(&head, &expected, check, half);
        for (size_t j = 0; j < half; j++) {
            double a = before[j], b = before[half + j];
            double c = ((float *)cosine.data)[j], s = ((float *)sine.data)[j];
            double tolerance = (fabs(a) + fabs(b)) * 0x1p-23;
            assert_true(fabs(((float *)head.data)[j] - (a * c - b * s)) <= tolerance);
            assert_true(fabs(((float *)head.data)[half + j] - (a * s + b * c)) <= tolerance);
        }
        free(before);
        guarded_free(&head);
        guarded_free(&expected);
        guarded_free(&cosine);
        guarded_free(&sine);
    }
}

/* ---------------------------------------------------------------------- scale --- */

void check_scale(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t n = 1; n <= 100; n++) {
        struct guarded x = guarded_input(n * sizeof(float));
        struct guarded out = guarded_output(n * sizeof(float));
        struct guarded same_row = guarded_output(n * sizeof(float));
        for (size_t j = 0; j < n; j++)
            ((float *)x.data)[j] = random_normal(&r);
        guarded_seal(&x);
        memcpy(same_row.data, x.data, x.size);
        float factor = random_normal(&r);
        check->kern->scale(out.data, x.data, factor, n);
        check->kern->scale(same_row.data, same_row.data, factor, n); /* in place */
        same(&out, &same_row, check, n);
        for (size_t j = 0; j < n; j++) {
            float expected = ((float *)x.data)[j] * factor;
            assert_memory_equal(&((float *)out.data)[j], &expected, sizeof expected);
        }
        guarded_free(&x);
        guarded_free(&out);
        guarded_free(&same_row);
    }
}

/* ------------------------------------------------------------------------ exp --- */

static void exp_oracle(float x, float y)
{
    if (!(x >= -87.0f)) { /* NaN too */
        assert_true(slm_bits_of(y) == 0);
        return;
    }
    double expected = exp(x > 88.0f ? 88.0 : (double)x);
    if (!(fabs((double)y - expected) <= 1e-7 * expected))
        fail_msg("exp(%a) is %a, not %a", (double)x, (double)y, expected);
}

void check_exp(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    const float special[] = {0,   -0.0f,      1,        -1,     88,       0x1.600002p6f,
                             -87, -87.0001f,  1e30f,    -1e30f, INFINITY, -INFINITY,
                             NAN, -0x1p-149f, 0x1p-149f};
    enum { N = 1 << 12 };
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), *expected = malloc(N * sizeof *x);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < N; i++)
            x[i] = round == 0 && i < sizeof special / sizeof *special ? special[i]
                   : round % 2                                        ? random_finite(&r)
                               : random_unit(&r) * (round % 4 ? 90 : 2);
        check->c->exp(expected, x, N);
        check->kern->exp(y, x, N);
        assert_memory_equal(y, expected, N * sizeof *y);
        for (size_t i = 0; i < N; i++)
            exp_oracle(x[i], y[i]);
    }
    x[0] = 0;
    check->kern->exp(y, x, 16);
    assert_true(y[0] == 1); /* exactly: a merge with nothing must change nothing */
    free(x);
    free(y);
    free(expected);
}
