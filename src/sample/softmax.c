/*
 * softmax.c - see softmax.h. Two passes: the greatest logit, then the sums.
 *
 * Sums have an order that does not depend on the machine: lane i of 16 adds the elements i mod 16
 * of a block, blocks of BLOCK elements go into doubles, and a fixed tree adds the lanes.
 */
#include "sample/softmax.h"

#include "sample/numbers.h"

#include <float.h>
#include <math.h>

enum {
    LANES = 16,
    FOURS = LANES / 4, /* vectors that hold them */
    BLOCK = 1024       /* 64 additions a lane: the float sums stay exact to 1e-6 */
};

/* Greatest element of x[n], n a multiple of LANES; *bad becomes nonzero on NaN and +infinity. */
static float block_max(const float *x, size_t n, int32_t *bad)
{
    slm_float4 max[FOURS];
    slm_int4 fine[FOURS]; /* all ones so far */
    for (int j = 0; j < FOURS; j++) {
        max[j] = slm_all4(-INFINITY);
        fine[j] = (slm_int4){-1, -1, -1, -1};
    }
    for (size_t i = 0; i < n; i += LANES) {
        for (int j = 0; j < FOURS; j++) {
            slm_float4 v = slm_load4(x + i + 4 * j);
            max[j] = slm_max4(v, max[j]);
            fine[j] &= v <= slm_all4(FLT_MAX);
        }
    }
    float best = -INFINITY;
    for (int j = 0; j < FOURS; j++) {
        for (int l = 0; l < 4; l++) {
            best = max[j][l] > best ? max[j][l] : best;
            *bad |= ~fine[j][l];
        }
    }
    return best;
}

/* The last, incomplete block: a copy, filled up with -infinity, which changes neither a maximum nor
 * a sum. Returns its padded length. */
static size_t pad_tail(float *tail, const float *x, size_t n)
{
    size_t padded = (n + LANES - 1) / LANES * LANES;
    for (size_t i = 0; i < padded; i++)
        tail[i] = i < n ? x[i] : -INFINITY;
    return padded;
}

/* Which logit is wrong, in words. */
static int fail_logits(const float *logits, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!(logits[i] <= FLT_MAX))
            return slm_fail(SLM_EINVAL,
                            "logits[%zu] is %s: damaged weights, or not the logits of this model",
                            i, isnan(logits[i]) ? "NaN" : "+infinity");
    }
    return slm_fail(SLM_ESTATE, "every token is forbidden: all %zu logits are -infinity", n);
}

int slm_softmax_best(struct slm_softmax *out, const float *logits, size_t n)
{
    float tail[BLOCK];
    float best = -INFINITY;
    size_t best_block = 0;
    int32_t bad = 0;
    for (size_t i = 0; i < n; i += BLOCK) {
        const float *x = logits + i;
        size_t length = BLOCK;
        if (n - i < BLOCK) {
            length = pad_tail(tail, x, n - i);
            x = tail;
        }
        float max = block_max(x, length, &bad);
        if (max > best) { /* not >=: the first block that has it */
            best = max;
            best_block = i;
        }
    }
    if (bad || best == -INFINITY)
        return fail_logits(logits, n);

    size_t id = best_block;
    while (logits[id] != best)
        id++;
    *out = (struct slm_softmax){.max = best, .best = (slm_token)id};
    return SLM_OK;
}

/* Add e^d and d e^d of d = x - max over a block to the lanes. */
static void block_sums(const float *x, size_t n, float max, double *sum, double *weighted)
{
    slm_float4 s[FOURS] = {0}, w[FOURS] = {0};
    for (size_t i = 0; i < n; i += LANES) {
        for (int j = 0; j < FOURS; j++) {
            /* Not below -87, or -infinity times 0 would be NaN. */
            slm_float4 d = slm_exp_clamp4(slm_load4(x + i + 4 * j) - max);
            slm_float4 e = slm_exp4(d);
            s[j] += e;
            w[j] += d * e;
        }
    }
    for (int l = 0; l < LANES; l++) {
        sum[l] += (double)s[l / 4][l % 4];
        weighted[l] += (double)w[l / 4][l % 4];
    }
}

static double add_lanes(double *lanes)
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

int slm_softmax_of(struct slm_softmax *out, const float *logits, size_t n)
{
    int code = slm_softmax_best(out, logits, n);
    if (code < 0)
        return code;

    float tail[BLOCK];
    double sums[LANES] = {0}, weights[LANES] = {0};
    for (size_t i = 0; i < n; i += BLOCK) {
        if (n - i < BLOCK)
            block_sums(tail, pad_tail(tail, logits + i, n - i), out->max, sums, weights);
        else
            block_sums(logits + i, BLOCK, out->max, sums, weights);
    }
    out->sum = add_lanes(sums);
    out->log_sum = slm_log_double(out->sum);
    /* - the sum of p log p with p = e^d / sum. */
    out->entropy = out->log_sum - add_lanes(weights) / out->sum;
    if (out->entropy < 0) /* rounding, when one token has all of it */
        out->entropy = 0;
    return SLM_OK;
}

float slm_softmax_logprob(const struct slm_softmax *softmax, float logit)
{
    return (float)((double)logit - (double)softmax->max - softmax->log_sum);
}
