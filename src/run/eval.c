/*
 * eval.c - slm_eval(), and what slm_embed() is made of: validate all, reserve all, compute, commit.
 *
 * Until the last of these nothing that a caller can see has changed: a sequence's length says which
 * of its positions exist, and it is set at the end. What an interrupted call wrote into pages lies
 * beyond that length and is overwritten by the next.
 */
#include "run/run.h"

static int check_span(struct slm_ctx *ctx, const slm_span *span, size_t index)
{
    const struct slm_seq *seq = span->seq;
    if (seq < ctx->seqs || seq >= ctx->seqs + ctx->max_seqs ||
        atomic_load(&seq->state) != SLM_SEQ_ALIVE)
        return slm_fail(SLM_EINVAL, "span %zu: the sequence does not belong to this context", index);
    if (seq->last_call == ctx->n_calls)
        return slm_fail(SLM_EINVAL, "span %zu: its sequence stands in an earlier span of this call",
                        index);
    if (span->n == 0)
        return slm_fail(SLM_EINVAL, "span %zu has no tokens", index);
    if (span->n_logits > span->n)
        return slm_fail(SLM_EINVAL, "span %zu wants logits of %zu positions and has %zu tokens", index,
                        span->n_logits, span->n);
    if (span->n > ctx->max_seq_tokens - (size_t)seq->length)
        return slm_fail(SLM_ELIMIT, "context overflow: span %zu would take its sequence from %d to %zu "
                        "tokens, and the context holds %zu; shorten the text or make the context with "
                        "a larger %s", index, seq->length, (size_t)seq->length + span->n,
                        ctx->max_seq_tokens,
                        ctx->max_seq_tokens < ctx->max_tokens ? "max_seq_tokens" : "max_tokens");
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
        n_logits += spans[i].n_logits; /* each at most max_seq_tokens: no overflow */
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

typedef uint32_t kv_need(const struct slm_kv *, uint32_t, const struct slm_kv_table *, uint32_t,
                             uint32_t, uint32_t);

/* Pages that group `g` must have free for the whole call, by one of kv.h's two counts. */
static size_t pages_needed(const struct slm_ctx *ctx, const slm_span *spans, size_t n_spans, uint32_t g,
                           kv_need *need)
{
    size_t n = 0;
    for (size_t i = 0; i < n_spans; i++) {
        uint32_t length = (uint32_t)spans[i].seq->length;
        n += need(&ctx->kv, g, &spans[i].seq->tables[g], length, length + (uint32_t)spans[i].n,
                  copied_before(ctx, spans, i, g));
    }
    return n;
}

/* The end of what the group's window has left behind of a sequence. Its pages are kept until somebody
 * needs them, because a sequence can be truncated as far as they reach. */
static uint32_t seen_from(const struct slm_ctx *ctx, const struct slm_seq *seq, uint32_t g)
{
    return slm_kv_first_seen(&ctx->kv, g, (uint32_t)seq->length);
}

/* Every sequence gives back what the group's window has left behind. */
static void forget_unseen(struct slm_ctx *ctx, uint32_t g)
{
    for (size_t i = 0; i < ctx->max_seqs; i++)
        slm_kv_forget(&ctx->kv, g, &ctx->seqs[i].tables[g], 0, seen_from(ctx, &ctx->seqs[i], g));
}

/* What a call would need of a group, and what it would find, if that were given back. */
struct demand {
    size_t all, at_once, n_free; /* pages; all: when none are given back during the call */
};

static struct demand demand_after_forgetting(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans,
                                             uint32_t g)
{
    struct demand demand = {.n_free = ctx->kv.groups[g].n_free};
    for (size_t i = 0; i < ctx->max_seqs; i++)
        demand.n_free +=
            slm_kv_disown(&ctx->kv, g, &ctx->seqs[i].tables[g], 0, seen_from(ctx, &ctx->seqs[i], g));
    demand.all = pages_needed(ctx, spans, n_spans, g, slm_kv_missing);
    demand.at_once = pages_needed(ctx, spans, n_spans, g, slm_kv_missing_at_once);
    for (size_t i = 0; i < ctx->max_seqs; i++)
        slm_kv_own(&ctx->kv, g, &ctx->seqs[i].tables[g], 0, seen_from(ctx, &ctx->seqs[i], g));
    return demand;
}

/* No room in group g: would there be, if this sequence were alone? */
static int no_room(const struct slm_ctx *ctx, const slm_span *spans, size_t n_spans, uint32_t g,
                   const struct demand *demand)
{
    const struct slm_kv_group *group = &ctx->kv.groups[g];
    for (size_t i = 0; i < n_spans; i++) {
        size_t length = (size_t)spans[i].seq->length + spans[i].n;
        if (!group->window && (length + SLM_PAGE - 1) / SLM_PAGE > group->n_pages)
            return slm_fail(SLM_ELIMIT, "context overflow: span %zu would take its sequence to %zu "
                            "tokens, and the context stores %zu; shorten the text or make the context "
                            "with a larger max_tokens", i, length, ctx->max_tokens);
    }
    return slm_fail(SLM_ENOSPACE, "the call needs room for %zu tokens more (in pages of %d) and there "
                    "is room for %zu: other sequences hold the rest; truncate or free one, or make the "
                    "context with a larger %s", demand->at_once * SLM_PAGE, SLM_PAGE,
                    demand->n_free * SLM_PAGE, group->window ? "max_window_tokens" : "max_tokens");
}

/* Is there room in a group? Perhaps once what windows have left behind is given back (a bit of
 * *forgetting). Where a window lets a long span do with fewer pages, the group (a bit of
 * ctx->recycling) takes and gives back from batch to batch. */
static int find_room(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans, uint32_t g,
                     uint32_t *forgetting)
{
    if (pages_needed(ctx, spans, n_spans, g, slm_kv_missing) <= ctx->kv.groups[g].n_free)
        return SLM_OK;
    struct demand demand = demand_after_forgetting(ctx, spans, n_spans, g);
    if (demand.at_once > demand.n_free)
        return no_room(ctx, spans, n_spans, g, &demand);
    *forgetting |= 1u << g;
    if (demand.all > demand.n_free)
        ctx->recycling |= 1u << g;
    return SLM_OK;
}

/* All pages are taken before anything is computed, and nothing is given back before there is room in
 * all groups. */
static int reserve(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans)
{
    uint32_t forgetting = 0;
    ctx->recycling = 0;
    for (uint32_t g = 0; g < ctx->kv.n_groups; g++) {
        int rc = find_room(ctx, spans, n_spans, g, &forgetting);
        if (rc < 0)
            return rc;
    }
    for (uint32_t g = 0; g < ctx->kv.n_groups; g++)
        if (forgetting & 1u << g)
            forget_unseen(ctx, g);
    for (uint32_t g = 0; g < ctx->kv.n_groups; g++)
        for (size_t i = 0; i < n_spans && !(ctx->recycling & 1u << g); i++) {
            uint32_t length = (uint32_t)spans[i].seq->length;
            slm_kv_grow(&ctx->kv, g, &spans[i].seq->tables[g], length, length + (uint32_t)spans[i].n);
        }
    return SLM_OK;
}

/* Before a batch, for one sequence in it: positions of this call that its first row, at `first`, no
 * longer sees make room for those up to `end`. What was there before the call stays until it has
 * succeeded. */
static void recycle(struct slm_ctx *ctx, struct slm_seq *seq, uint32_t first, uint32_t end)
{
    for (uint32_t g = 0; g < ctx->kv.n_groups; g++) {
        if (!(ctx->recycling & 1u << g))
            continue;
        uint32_t length = (uint32_t)seq->length;
        slm_kv_forget(&ctx->kv, g, &seq->tables[g], length, slm_kv_first_seen(&ctx->kv, g, first));
        slm_kv_grow(&ctx->kv, g, &seq->tables[g], length, end);
    }
}

/* Compute the rows that are collected, and begin anew. */
static int compute_batch(struct slm_ctx *ctx, const slm_span *spans)
{
    struct slm_fwd *f = &ctx->fwd;
    for (size_t row = 0, end; ctx->recycling && row < f->n_rows; row = end) {
        for (end = row; end < f->n_rows && f->rows[end].sequence == f->rows[row].sequence;)
            end++;
        recycle(ctx, spans[f->rows[row].sequence].seq, f->rows[row].position,
                f->rows[end - 1].position + 1);
    }
    int rc = slm_forward(f);
    f->n_rows = 0;
    return rc;
}

/* Where token t of a span, the `token`-th of the call, is added to; NULL: nowhere. */
static float *pooled_at(const struct slm_pooling *pooling, const slm_span *span, size_t index, size_t t,
                        size_t token, size_t dim)
{
    if (!pooling || (pooling->kind == SLM_POOLED_FIRST && t > 0) ||
        (pooling->kind == SLM_POOLED_LAST && t + 1 < span->n))
        return NULL;
    return pooling->out + (pooling->kind ? index : token) * dim;
}

/* All spans' tokens in order, cut into batches of max_batch rows. Logits rows are dealt out in the
 * same order, so those of one batch lie one after another. */
static int compute(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans,
                   const struct slm_pooling *pooling)
{
    struct slm_fwd *f = &ctx->fwd;
    const struct slm_traits *traits = ctx->model->traits;
    bool both = traits->attention == SLM_ATTENTION_BOTH;
    size_t logits = 0, token = 0;
    f->n_rows = 0;
    for (size_t i = 0; i < n_spans; i++) {
        const slm_span *span = &spans[i];
        ctx->span_logits[i] = (struct slm_span_logits){logits, span->n_logits};
        for (size_t t = 0; t < span->n; t++, token++) {
            bool wanted = t >= span->n - span->n_logits;
            f->rows[f->n_rows++] = (struct slm_row){
                .token = span->tokens[t],
                .type = pooling && traits->n_token_types > 1 && t >= pooling->n_first[i],
                .position = (uint32_t)span->seq->length + (uint32_t)t,
                .end = (uint32_t)span->seq->length + (uint32_t)(both ? span->n : t + 1),
                .sequence = (uint32_t)i,
                .tables = span->seq->tables,
                .logits = wanted ? ctx->logits + logits++ * ctx->logits_stride : NULL,
                .pooled = pooled_at(pooling, span, i, t, token, traits->dim),
            };
            bool last = i + 1 == n_spans && t + 1 == span->n;
            if (f->n_rows < f->max_rows && !last)
                continue;
            int rc = compute_batch(ctx, spans);
            if (rc < 0)
                return rc;
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

int slm_evaluate(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans,
                 const struct slm_pooling *pooling)
{
    ctx->n_spans = 0; /* the last call's logits are gone, whatever happens now */
    slm_sequence_collect(ctx);
    int rc = validate(ctx, spans, n_spans);
    if (rc == SLM_OK)
        rc = reserve(ctx, spans, n_spans);
    if (rc < 0)
        return rc;

    double start = slm_clock();
    rc = compute(ctx, spans, n_spans, pooling);
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
