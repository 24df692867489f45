/*
 * options.c - what a sampler's options may be. One row an option; every value that is not finite
 * or not in its range is refused by name, because a silently corrected option is a wrong text.
 */
#include "base/limits.h"
#include "sample/sampler.h"

#include <math.h>

/* A float option of slm_sampler_options and the values that make sense. */
struct float_option {
    const char *name;
    float value, least, most;
};

static int check_float(const struct float_option *o)
{
    if (o->value >= o->least && o->value <= o->most)
        return SLM_OK;
    return slm_fail(SLM_EINVAL, "%s is %g, but must be from %g to %g", o->name, (double)o->value,
                    (double)o->least, (double)o->most);
}

static int check_bias(const slm_sampler_options *o, size_t n_vocab)
{
    if (o->n_bias > 0 && (!o->bias_tokens || !o->bias_values))
        return slm_fail(SLM_EINVAL, "n_bias is %zu, but bias_tokens or bias_values is NULL",
                        o->n_bias);
    if (o->n_bias > n_vocab)
        return slm_fail(SLM_EINVAL, "n_bias is %zu, but the vocabulary has only %zu tokens",
                        o->n_bias, n_vocab);
    for (size_t i = 0; i < o->n_bias; i++) {
        if (o->bias_tokens[i] < 0 || (size_t)o->bias_tokens[i] >= n_vocab)
            return slm_fail(SLM_EINVAL, "bias_tokens[%zu] is %d, but token ids are 0 to %zu", i,
                            (int)o->bias_tokens[i], n_vocab - 1);
        if (isnan(o->bias_values[i]) || o->bias_values[i] == INFINITY)
            return slm_fail(SLM_EINVAL, "bias_values[%zu] is %g, but must be a number or -infinity",
                            i, (double)o->bias_values[i]);
    }
    return SLM_OK;
}

int slm_sampler_check(const slm_sampler_options *o, size_t n_vocab)
{
    const float large = 1e9f; /* finite after any sum, and far from any use */
    const struct float_option floats[] = {
        {"temperature", o->temperature, 0, large},
        {"top_p", o->top_p, 0, 1},
        {"min_p", o->min_p, 0, 1},
        {"repeat_penalty", o->repeat_penalty, 0, large},
        {"presence_penalty", o->presence_penalty, -large, large},
        {"frequency_penalty", o->frequency_penalty, -large, large},
    };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        int code = check_float(&floats[i]);
        if (code < 0)
            return code;
    }
    if (o->top_k < 0)
        return slm_fail(SLM_EINVAL, "top_k is %d, but must be 0 (off) or more", (int)o->top_k);
    if (o->penalty_window < -1 || o->penalty_window > SLM_LIMIT_CONTEXT)
        return slm_fail(SLM_EINVAL,
                        "penalty_window is %d, but must be -1 (everything), 0 (64) or "
                        "up to %d",
                        (int)o->penalty_window, SLM_LIMIT_CONTEXT);
    return check_bias(o, n_vocab);
}
