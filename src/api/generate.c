/*
 * generate.c - the exported generation functions: argument checks around src/gen. The loop calls
 * slm_eval() and slm_sample(), which set the floating-point mode themselves; the callback runs in
 * the caller's.
 */
#include "gen/generate.h"
#include "api/sized.h"
#include "run/run.h"
#include "sample/sampler.h"

int slm_generate(slm_seq *seq, slm_sampler *sampler, const slm_token *tokens, size_t n,
                 const slm_generate_options *options, slm_piece_fn on_piece, void *user)
{
    int code = slm_sequence_check(seq, "slm_generate");
    if (code < 0)
        return code;
    if (!tokens || n == 0)
        return slm_fail(SLM_EINVAL, "slm_generate: there are no tokens; it needs at least one");
    struct slm_model *model = seq->ctx->model;
    if (sampler && sampler->n_vocab != model->traits->n_vocab)
        return slm_fail(SLM_EINVAL,
                        "slm_generate: the sampler is for %zu tokens, but the model has %u",
                        sampler->n_vocab, (unsigned)model->traits->n_vocab);

    struct slm_generation what = {
        .ctx = seq->ctx,
        .seq = seq,
        .sampler = sampler,
        .text = model->has_text ? &model->text : NULL,
        .allocator = seq->ctx->allocator,
        .on_piece = on_piece,
        .user = user,
    };
    code = slm_sized_read(&what.options, sizeof what.options, options, "slm_generate_options");
    if (code < 0)
        return code;
    if (what.options.n_stop > 0 && !what.text)
        return slm_fail(SLM_EUNSUPPORTED, "stop texts need a tokenizer, and the model has none");
    if (!sampler)
        code = slm_sampler_new(&what.sampler, model, NULL);
    if (code == SLM_OK)
        code = slm_generate_run(&what, tokens, n);
    if (!sampler)
        slm_sampler_free(what.sampler);
    return code;
}
