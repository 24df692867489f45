/*
 * eval.c - slm_eval(): validate all, reserve all, compute, commit.
 *
 * Until the last of these nothing that a caller can see has changed: a sequence's length says which
 * of its positions exist, and it is set at the end. What an interrupted call wrote into pages lies
 * beyond that length and is overwritten by the next.
 */
#include "run/run.h"

static int check_span(struct slm_ctx *ctx, const slm_span *span, size_t index)
{
    const struct slm_seq *seq = span->seq;
    if (seq < ctx->seqs || seq >= ctx->seqs + ctx->max_seqs || !seq->alive)
        return slm_fail(SLM_EINVAL, "span %zu: the sequence does not belong to this context", index);
    if (seq->last_call == ctx->n_calls)
        return slm_fail(SLM_EINVAL, "span %zu: its sequence stands in an earlier span of this call",
                        index);
    if (span->n == 0)
        return slm_fail(SLM_EINVAL, "span %zu has no tokens", index);
    if (span->n_logits > span->n)
        return slm_fail(SLM_EINVAL, "span %zu wants logits of %zu positions and has %zu tokens", index,
                        span->n_logits, span->n);
    if (span->n > ctx->max_tokens - (size_t)seq->length)
        return slm_fail(SLM_ELIMIT, "context overflow: span %zu would take its sequence from %d to %zu "
                        "tokens, and the context holds %zu; shorten the text or make the context with "
                        "a larger max_tokens", index, seq->length, (size_t)seq->length + span->n,
                        ctx->max_tokens);
    uint32_t most = ctx->model->traits->n_positions;
    if (most && (uint64_t)seq->length + span->n > most)
        return slm_fail(SLM_ELIMIT, "span %zu would take its sequence from %d to %zu tokens, and the "
                        "model has learned %u positions: no text can be longer", index, seq->length,
                        (size_t)seq->length + span->n, most);
    for (size_t i = 0; i < span->n; i++)
        if (span->tokens[i] < 0 || (uint32_t)span->tokens[i] >= ctx->model->traits->n_vocab)
            return slm_fail(SLM_EINVAL, "span %zu, token %zu: %d is out of range; ids go from 0 to %u",
                            index, i, span->tokens[i], ctx->model->traits->n_vocab - 1);
    return SLM_OK;
}

static int validate(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans)
{
    size_t n_logits = 0;
    ctx->n_calls++;
    for (size_t i = 0; i < n_spans; i++) {
        int rc = check_span(ctx, &spans[i], i);
        if (rc < 0)
            return rc;
        spans[i].seq->last_call = ctx->n_calls;
        n_logits += spans[i].n_logits; /* each at most max_tokens: no overflow */
    }
    if (n_logits > ctx->max_logits)
        return slm_fail(SLM_ELIMIT, "logits of %zu positions are wanted, and the context keeps %zu; make "
                        "it with a larger max_logits", n_logits, ctx->max_logits);
    return SLM_OK;
}

/* Spans before number `index` that end in the same page as it and so copy it first. Looks at them
 * only when the page is shared at all. */
static uint32_t copied_before(const struct slm_ctx *ctx, const slm_span *spans, size_t index,
                              uint32_t group)
{
    const struct slm_seq *seq = spans[index].seq;
    if (seq->length % SLM_PAGE == 0)
        return 0;
    uint32_t page = seq->tables[group].pages[seq->length / SLM_PAGE], n = 0;
    if (ctx->kv.groups[group].counts[page] == 1)
        return 0;
    for (size_t i = 0; i < index; i++) {
        const struct slm_seq *other = spans[i].seq;
        n += other->length % SLM_PAGE != 0 &&
             other->tables[group].pages[other->length / SLM_PAGE] == page;
    }
    return n;
}

static int reserve(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans)
{
    for (uint32_t g = 0; g < ctx->kv.n_groups; g++) {
        size_t missing = 0;
        for (size_t i = 0; i < n_spans; i++) {
            uint32_t length = (uint32_t)spans[i].seq->length;
            missing += slm_kv_missing(&ctx->kv, g, &spans[i].seq->tables[g], length,
                                      length + (uint32_t)spans[i].n, copied_before(ctx, spans, i, g));
        }
        if (missing > ctx->kv.groups[g].n_free)
            return slm_fail(SLM_ENOSPACE, "the call needs %zu pages of %d tokens and %u are free: other "
                            "sequences hold the rest; truncate or free one, or make the context with a "
                            "larger max_tokens", missing, SLM_PAGE, ctx->kv.groups[g].n_free);
    }
    for (uint32_t g = 0; g < ctx->kv.n_groups; g++)
        for (size_t i = 0; i < n_spans; i++) {
            uint32_t length = (uint32_t)spans[i].seq->length;
            slm_kv_grow(&ctx->kv, g, &spans[i].seq->tables[g], length, length + (uint32_t)spans[i].n);
        }
    return SLM_OK;
}

/* All spans' tokens in order, cut into batches of max_batch rows. Logits rows are dealt out in the
 * same order, so those of one batch lie one after another. */
static int compute(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans)
{
    struct slm_fwd *f = &ctx->fwd;
    size_t logits = 0;
    f->n_rows = 0;
    for (size_t i = 0; i < n_spans; i++) {
        const slm_span *span = &spans[i];
        ctx->span_logits[i] = (struct slm_span_logits){logits, span->n_logits};
        for (size_t t = 0; t < span->n; t++) {
            bool wanted = t >= span->n - span->n_logits;
            f->rows[f->n_rows++] = (struct slm_row){
                .token = span->tokens[t],
                .position = (uint32_t)span->seq->length + (uint32_t)t,
                .sequence = (uint32_t)i,
                .tables = span->seq->tables,
                .logits = wanted ? ctx->logits + logits++ * ctx->logits_stride : NULL,
            };
            bool last = i + 1 == n_spans && t + 1 == span->n;
            if (f->n_rows < f->max_rows && !last)
                continue;
            int rc = slm_forward(f);
            if (rc < 0)
                return rc;
            f->n_rows = 0;
        }
    }
    return SLM_OK;
}

static void count(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans, double seconds)
{
    size_t prompt = 0, decode = 0;
    for (size_t i = 0; i < n_spans; i++)
        *(spans[i].n > 1 ? &prompt : &decode) += spans[i].n;
    /* A call that does both is split by tokens, as its time roughly is. */
    double share = (double)prompt / (double)(prompt + decode);
    ctx->prompt_tokens += prompt;
    ctx->decode_tokens += decode;
    ctx->prompt_seconds += seconds * share;
    ctx->decode_seconds += seconds * (1 - share);
}

int slm_evaluate(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans)
{
    ctx->n_spans = 0; /* the last call's logits are gone, whatever happens now */
    int rc = validate(ctx, spans, n_spans);
    if (rc == SLM_OK)
        rc = reserve(ctx, spans, n_spans);
    if (rc < 0)
        return rc;

    double start = slm_clock();
    rc = compute(ctx, spans, n_spans);
    for (size_t i = 0; i < n_spans; i++) {
        struct slm_seq *seq = spans[i].seq;
        if (rc == SLM_OK)
            seq->length += (int32_t)spans[i].n;
        else
            slm_sequence_truncate(seq, seq->length); /* gives back what was reserved */
    }
    if (rc == SLM_EINTR)
        atomic_store(&ctx->interrupt, false);
    if (rc < 0)
        return rc;
    ctx->n_spans = n_spans;
    count(ctx, spans, n_spans, slm_clock() - start);
    return SLM_OK;
}
