/*
 * sampling.c - the exported sampling functions: argument checks and ownership around src/sample.
 */
#include "api/sized.h"
#include "model/model.h"
#include "sample/sampler.h"
#include "sample/softmax.h"

int slm_sampler_new(slm_sampler **out, slm_model *model, const slm_sampler_options *options)
{
    if (!out)
        return slm_fail(SLM_EINVAL, "slm_sampler_new: out is NULL");
    *out = NULL;
    if (!model)
        return slm_fail(SLM_EINVAL, "slm_sampler_new: model is NULL");
    slm_sampler_options o;
    int code = slm_sized_read(&o, sizeof o, options, "slm_sampler_options");
    if (code < 0)
        return code;
    size_t n_vocab = model->traits->n_vocab;
    code = slm_sampler_check(&o, n_vocab);
    if (code < 0)
        return code;
    code = slm_sampler_create(out, n_vocab, &o, model->allocator);
    if (code < 0)
        return code;
    (*out)->model = slm_model_ref(model);
    return SLM_OK;
}

void slm_sampler_free(slm_sampler *sampler)
{
    if (!sampler)
        return;
    /* Its memory goes back through the model's allocator, so the model goes last. */
    slm_model *model = sampler->model;
    slm_sampler_destroy(sampler);
    slm_model_unref(model);
}

void slm_sampler_reset(slm_sampler *sampler)
{
    if (sampler)
        slm_sampler_restart(sampler);
}

int slm_sample(slm_sampler *sampler, const float *logits, slm_choice *choice)
{
    if (!sampler || !logits || !choice)
        return slm_fail(SLM_EINVAL, "slm_sample: %s is NULL",
                        !sampler  ? "sampler"
                        : !logits ? "logits"
                                  : "choice");
    slm_choice own = {.size = sizeof own};
    /* Before the draw: a call that fails must not use up a random number. */
    int code = slm_sized_write(choice, &own, sizeof own, "slm_choice");
    if (code < 0)
        return code;
    struct slm_fenv env;
    slm_fenv_enter(&env);
    code = slm_sampler_choose(sampler, logits, &own);
    slm_fenv_leave(&env);
    if (code < 0)
        return code;
    return slm_sized_write(choice, &own, sizeof own, "slm_choice");
}

int slm_sampler_accept(slm_sampler *sampler, const slm_token *tokens, size_t n)
{
    if (!sampler || (!tokens && n > 0))
        return slm_fail(SLM_EINVAL, "slm_sampler_accept: %s is NULL",
                        sampler ? "tokens" : "sampler");
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (size_t)tokens[i] >= sampler->n_vocab)
            return slm_fail(SLM_EINVAL,
                            "slm_sampler_accept: tokens[%zu] is %d, but token ids are 0 to %zu", i,
                            (int)tokens[i], sampler->n_vocab - 1);
    }
    for (size_t i = 0; i < n; i++)
        slm_sampler_remember(sampler, tokens[i]);
    return SLM_OK;
}

int64_t slm_top_logprobs(const slm_model *model, const float *logits, size_t k, slm_token *tokens,
                         float *logprobs)
{
    if (!model || !logits)
        return slm_fail(SLM_EINVAL, "slm_top_logprobs: %s is NULL", model ? "logits" : "model");
    if (k > 0 && (!tokens || !logprobs))
        return slm_fail(SLM_EINVAL, "slm_top_logprobs: k is %zu, but %s is NULL", k,
                        tokens ? "logprobs" : "tokens");
    size_t n_vocab = model->traits->n_vocab;
    struct slm_fenv env;
    slm_fenv_enter(&env);
    struct slm_softmax softmax;
    int code = slm_softmax_of(&softmax, logits, n_vocab);
    struct slm_candidates best = {logprobs, tokens, 0};
    if (code == SLM_OK) {
        slm_top_k(&best, k, logits, n_vocab);
        slm_candidates_sort(&best);
        for (size_t i = 0; i < best.n; i++)
            logprobs[i] = slm_softmax_logprob(&softmax, logprobs[i]);
    }
    slm_fenv_leave(&env);
    return code < 0 ? code : (int64_t)best.n;
}
