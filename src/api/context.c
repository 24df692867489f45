/* context.c - the exported team, context, sequence and evaluation functions: argument checks around
 * src/run. Whatever computes is wrapped in the library's own floating-point mode. */
#include "api/sized.h"
#include "run/run.h"

int slm_team_new(slm_team **out, const slm_team_options *options)
{
    slm_team_options own;
    if (!out)
        return slm_fail(SLM_EINVAL, "slm_team_new: out is NULL");
    *out = NULL;
    int rc = slm_sized_read(&own, sizeof own, options, "slm_team_options");
    if (rc == SLM_OK && own.allocator && (!own.allocator->alloc || !own.allocator->free))
        rc = slm_fail(SLM_EINVAL, "slm_team_options.allocator lacks alloc or free");
    if (rc == SLM_OK)
        rc = slm_pick_threads(&own.n_threads, own.n_threads);
    return rc < 0 ? rc : slm_team_start(out, &own);
}

void slm_team_free(slm_team *team)
{
    slm_team_unref(team);
}

int64_t slm_ctx_memory(const slm_model *model, const slm_ctx_options *options)
{
    slm_ctx_options own;
    if (!model)
        return slm_fail(SLM_EINVAL, "slm_ctx_memory: model is NULL");
    int rc = slm_sized_read(&own, sizeof own, options, "slm_ctx_options");
    return rc < 0 ? rc : slm_context_bytes(model, &own);
}

int slm_ctx_new(slm_ctx **out, slm_model *model, const slm_ctx_options *options)
{
    slm_ctx_options own;
    if (!out)
        return slm_fail(SLM_EINVAL, "slm_ctx_new: out is NULL");
    *out = NULL;
    if (!model)
        return slm_fail(SLM_EINVAL, "slm_ctx_new: model is NULL");
    int rc = slm_sized_read(&own, sizeof own, options, "slm_ctx_options");
    if (rc == SLM_OK && own.allocator && (!own.allocator->alloc || !own.allocator->free))
        rc = slm_fail(SLM_EINVAL, "slm_ctx_options.allocator lacks alloc or free");
    return rc < 0 ? rc : slm_context_new(out, model, &own);
}

void slm_ctx_free(slm_ctx *ctx)
{
    if (ctx)
        slm_context_free(ctx);
}

void slm_ctx_interrupt(slm_ctx *ctx)
{
    if (ctx)
        atomic_store_explicit(&ctx->interrupt, true, memory_order_relaxed);
}

int slm_ctx_interrupt_clear(slm_ctx *ctx)
{
    return ctx && atomic_exchange_explicit(&ctx->interrupt, false, memory_order_relaxed);
}

/* Positions that can be stored, and that are free: of the tightest group of layers. Groups with windows
 * give back what they have left behind, so they count only where there are no others. */
static void count_positions(const struct slm_ctx *ctx, size_t *stored, size_t *n_free)
{
    const struct slm_kv *kv = &ctx->kv;
    bool windows = true;
    for (uint32_t g = 0; g < kv->n_groups; g++)
        windows = windows && kv->groups[g].window;
    *stored = *n_free = ctx->max_tokens;
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        size_t pages = kv->groups[g].n_pages, free_pages = kv->groups[g].n_free;
        if (!windows && kv->groups[g].window)
            continue;
        *stored = pages * SLM_PAGE < *stored ? pages * SLM_PAGE : *stored;
        *n_free = free_pages * SLM_PAGE < *n_free ? free_pages * SLM_PAGE : *n_free;
    }
}

int slm_ctx_stats(slm_ctx *ctx, slm_stats *stats)
{
    if (!ctx || !stats)
        return slm_fail(SLM_EINVAL, "slm_ctx_stats: %s is NULL", ctx ? "stats" : "ctx");
    slm_sequence_collect(ctx);
    size_t stored, n_free;
    count_positions(ctx, &stored, &n_free);
    slm_stats own = {
        .prompt_tokens = ctx->prompt_tokens,
        .decode_tokens = ctx->decode_tokens,
        .prompt_seconds = ctx->prompt_seconds,
        .decode_seconds = ctx->decode_seconds,
        .memory = ctx->handle_bytes + ctx->work_bytes + ctx->team_bytes,
        .kv_positions = (int32_t)stored,
        .kv_positions_free = (int32_t)n_free,
        .n_threads = ctx->n_threads,
        .cpu = ctx->fwd.kern->tier,
    };
    return slm_sized_write(stats, &own, sizeof own, "slm_stats");
}

int slm_seq_new(slm_seq **out, slm_ctx *ctx)
{
    if (!out)
        return slm_fail(SLM_EINVAL, "slm_seq_new: out is NULL");
    *out = NULL;
    if (!ctx)
        return slm_fail(SLM_EINVAL, "slm_seq_new: ctx is NULL");
    if (ctx->model->traits->attention != SLM_ATTENTION_CAUSAL)
        return slm_fail(SLM_EUNSUPPORTED, "the model is an encoder, which can't continue a "
                                          "text; slm_embed() gives its embeddings");
    return slm_sequence_open(out, ctx);
}

void slm_seq_free(slm_seq *seq)
{
    if (seq)
        slm_sequence_leave(seq);
}

int slm_seq_fork(slm_seq **out, slm_seq *seq)
{
    if (!out)
        return slm_fail(SLM_EINVAL, "slm_seq_fork: out is NULL");
    *out = NULL;
    int rc = slm_sequence_check(seq, "slm_seq_fork");
    return rc < 0 ? rc : slm_sequence_fork(out, seq);
}

int32_t slm_seq_length(const slm_seq *seq)
{
    if (!seq)
        return 0;
    int rc = slm_sequence_check(seq, "slm_seq_length");
    return rc < 0 ? rc : seq->length;
}

int slm_seq_truncate(slm_seq *seq, int32_t n)
{
    int rc = slm_sequence_check(seq, "slm_seq_truncate");
    if (rc < 0)
        return rc;
    if (n < 0 || n > seq->length)
        return slm_fail(SLM_EINVAL, "slm_seq_truncate: can't cut %d tokens to %d", seq->length, n);
    for (uint32_t g = 0; g < seq->ctx->kv.n_groups; g++)
        if (!slm_kv_reaches(&seq->ctx->kv, g, &seq->tables[g], (uint32_t)n))
            return slm_fail(SLM_ESTATE, "slm_seq_truncate: positions before %d that a sliding window "
                            "needs were given back; truncate to 0 and evaluate the text again", n);
    slm_sequence_truncate(seq, n);
    return SLM_OK;
}

static int read_span(slm_span *own, const slm_span *spans, size_t i)
{
    int rc = slm_sized_read_at(own, sizeof *own, spans, i, "slm_span");
    if (rc == SLM_OK && (!own->seq || (!own->tokens && own->n)))
        rc = slm_fail(SLM_EINVAL, "%s is NULL", own->seq ? "tokens" : "seq");
    return rc < 0 ? slm_fail_in(rc, "span %zu", i) : SLM_OK;
}

int slm_eval(slm_ctx *ctx, const slm_span *spans, size_t n_spans)
{
    if (!ctx || !spans || n_spans == 0)
        return slm_fail(SLM_EINVAL, "slm_eval: %s", !ctx ? "ctx is NULL" : "there are no spans");
    if (n_spans > ctx->max_seqs)
        return slm_fail(SLM_EINVAL, "slm_eval: %zu spans, and the context has %zu sequences", n_spans,
                        ctx->max_seqs);
    for (size_t i = 0; i < n_spans; i++) {
        int rc = read_span(&ctx->spans[i], spans, i);
        if (rc < 0)
            return rc;
    }
    struct slm_fenv env;
    slm_fenv_enter(&env);
    int rc = slm_evaluate(ctx, ctx->spans, n_spans, NULL);
    slm_fenv_leave(&env);
    return rc;
}

const float *slm_logits(const slm_ctx *ctx, size_t span, size_t i)
{
    if (!ctx || span >= ctx->n_spans || i >= ctx->span_logits[span].n)
        return NULL;
    return ctx->logits + (ctx->span_logits[span].first + i) * ctx->logits_stride;
}
