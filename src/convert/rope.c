/*
 * rope.c - see rope.h. Where transformers computes on tensors, the operations here are f32 and in
 * the same order; where it computes on Python numbers, they are f64. Its pow comes from a vector
 * library and may differ from ours, which is rounded correctly, in the last bit.
 */
#include "convert/rope.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* base ^ (2i / dims) */
static float wave(const struct slm_rope_config *rope, uint32_t i)
{
    float exponent = (float)(2 * i) / (float)rope->dims;
    return (float)pow((double)(float)rope->base, (double)exponent);
}

/* --------------------------------------------------------------------------- yarn --- */

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double yarn_magnitude(const struct slm_rope_config *rope)
{
    if (rope->attention_factor != 0)
        return rope->attention_factor;
    if (rope->mscale != 0 && rope->mscale_all_dim != 0)
        return yarn_mscale(rope->factor, rope->mscale) /
               yarn_mscale(rope->factor, rope->mscale_all_dim);
    return yarn_mscale(rope->factor, 1);
}

/* The pair whose wave turns that often within the original context. */
static double yarn_dimension(const struct slm_rope_config *rope, double rotations)
{
    return rope->dims * log(rope->original_context / (rotations * 2 * PI)) / (2 * log(rope->base));
}

/* Fast pairs keep their frequency, slow ones are divided by the factor, a ramp lies between. */
static void yarn_table(const struct slm_rope_config *rope, float *table)
{
    double low = yarn_dimension(rope, rope->beta_fast != 0 ? rope->beta_fast : 32);
    double high = yarn_dimension(rope, rope->beta_slow != 0 ? rope->beta_slow : 1);
    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, rope->dims - 1.0);
    if (low == high)
        high += 0.001;
    for (uint32_t i = 0; i < rope->dims / 2; i++) {
        float w = wave(rope, i);
        float ramp = ((float)i - (float)low) / (float)(high - low);
        float keep = 1 - fminf(fmaxf(ramp, 0), 1);
        table[i] = 1 / ((float)rope->factor * w) * (1 - keep) + 1 / w * keep;
    }
}

/* ------------------------------------------------------------------------- llama3 --- */

/* Long waves are stretched by the factor, short ones stay, those between are blended. */
static float llama3_frequency(const struct slm_rope_config *rope, float frequency)
{
    float context = (float)rope->original_context, factor = (float)rope->factor;
    float length = (float)(2 * PI) / frequency;
    float longest = (float)(rope->original_context / rope->low_freq_factor);
    float shortest = (float)(rope->original_context / rope->high_freq_factor);
    if (length > longest)
        return frequency / factor;
    if (length < shortest)
        return frequency;
    float smooth = (context / length - (float)rope->low_freq_factor) /
                   (float)(rope->high_freq_factor - rope->low_freq_factor);
    return (1 - smooth) * frequency / factor + smooth * frequency;
}

/* ----------------------------------------------------------------------- longrope --- */

static int long_table(const struct slm_rope_config *rope, const float *divisors, float *table)
{
    for (uint32_t i = 0; i < rope->dims / 2; i++) {
        table[i] = 1 / (divisors[i] * wave(rope, i));
        if (!(table[i] >= 0) || !isfinite(table[i]))
            return slm_fail(SLM_EFORMAT, "RoPE: inverse frequency %u is %g", (unsigned)i,
                            (double)table[i]);
    }
    return SLM_OK;
}

static double long_magnitude(const struct slm_rope_config *rope)
{
    if (rope->attention_factor != 0)
        return rope->attention_factor;
    return rope->factor <= 1 ? 1 : sqrt(1 + log(rope->factor) / log(rope->original_context));
}

int slm_rope_long_table(const struct slm_rope_config *rope, float *table)
{
    return long_table(rope, rope->long_divisors, table);
}

/* -------------------------------------------------------------------------- table --- */

static bool positive(double x)
{
    return x > 0 && isfinite(x);
}

static int check(const struct slm_rope_config *rope)
{
    if (rope->dims == 0 || rope->dims % 2)
        return slm_fail(SLM_EFORMAT, "RoPE: %u rotating dimensions; there must be an even number",
                        (unsigned)rope->dims);
    if (!positive(rope->base) || rope->base > 1e30)
        return slm_fail(SLM_EFORMAT, "RoPE: the base (theta) is %g", rope->base);
    if (!(rope->original_context >= 0 && rope->original_context <= UINT32_MAX))
        return slm_fail(SLM_EFORMAT, "RoPE scaling: the original context length is %g",
                        rope->original_context);
    if (rope->kind == SLM_ROPE_KIND_DEFAULT)
        return SLM_OK;
    if (!positive(rope->factor))
        return slm_fail(SLM_EFORMAT, "RoPE scaling: the factor is missing, or not positive (%g)",
                        rope->factor);
    if (rope->kind != SLM_ROPE_KIND_LINEAR && !positive(rope->original_context))
        return slm_fail(SLM_EFORMAT, "RoPE scaling: the original context length is not known");
    if (rope->kind == SLM_ROPE_KIND_LONG && !(rope->divisors && rope->long_divisors))
        return slm_fail(SLM_EFORMAT, "RoPE scaling: longrope without its two lists of factors");
    if (rope->kind == SLM_ROPE_KIND_LONG && rope->original_context < 2)
        return slm_fail(SLM_EFORMAT, "RoPE scaling: the original context length is %g",
                        rope->original_context);
    if (rope->kind == SLM_ROPE_KIND_DYNAMIC && rope->dims == 2)
        return slm_fail(SLM_EFORMAT, "RoPE scaling: dynamic needs more than 2 dimensions");
    if (rope->kind == SLM_ROPE_KIND_YARN && (rope->base <= 1 || !(yarn_magnitude(rope) > 0)))
        return slm_fail(SLM_EFORMAT, "RoPE scaling: yarn with base %g and attention factor %g",
                        rope->base, yarn_magnitude(rope));
    if (rope->kind == SLM_ROPE_KIND_LLAMA3 &&
        (!positive(rope->low_freq_factor) || !positive(rope->high_freq_factor) ||
         rope->low_freq_factor == rope->high_freq_factor))
        return slm_fail(SLM_EFORMAT, "RoPE scaling: low_freq_factor %g and high_freq_factor %g",
                        rope->low_freq_factor, rope->high_freq_factor);
    return SLM_OK;
}

int slm_rope_table(const struct slm_rope_config *rope, float *table, float *magnitude)
{
    int err = check(rope);
    if (err)
        return err;
    *magnitude = rope->kind == SLM_ROPE_KIND_YARN ? (float)yarn_magnitude(rope) : 1;
    if (rope->kind == SLM_ROPE_KIND_LONG) {
        *magnitude = (float)long_magnitude(rope);
        return long_table(rope, rope->divisors, table);
    }
    if (rope->kind == SLM_ROPE_KIND_YARN)
        yarn_table(rope, table);
    for (uint32_t i = 0; i < rope->dims / 2; i++) {
        float frequency = 1 / wave(rope, i);
        if (rope->kind == SLM_ROPE_KIND_YARN)
            frequency = table[i];
        else if (rope->kind == SLM_ROPE_KIND_LINEAR)
            frequency = frequency / (float)rope->factor;
        else if (rope->kind == SLM_ROPE_KIND_LLAMA3)
            frequency = llama3_frequency(rope, frequency);
        if (rope->divisors)
            frequency /= rope->divisors[i];
        if (!(frequency >= 0) || !isfinite(frequency))
            return slm_fail(SLM_EFORMAT, "RoPE: inverse frequency %u is %g", (unsigned)i,
                            (double)frequency);
        table[i] = frequency;
    }
    return SLM_OK;
}
