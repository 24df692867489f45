/*
 * context.c - making a context: check the options, lay out its memory, start the threads.
 *
 * The layout function runs twice, over nothing and over the blocks, so slm_ctx_memory() and
 * slm_ctx_new() can't differ.
 */
#include "run/run.h"

#include "base/cpus.h"
#include "base/limits.h"

#include <string.h>

/* Texts that an encoder computes together, where nobody says: their pages are small. */
enum { ENCODER_SEQS = 32 };

/* What the options mean for this model. */
struct sizes {
    slm_team *team; /* NULL: one of its own */
    int n_threads;
    size_t max_tokens, max_seq_tokens, max_window_tokens, max_seqs, max_batch, max_logits;
    uint32_t kv_type;
    const struct slm_kern *kern;
};

static int pick(size_t *out, const char *name, int64_t value, int64_t otherwise, int64_t limit)
{
    if (value < 0)
        return slm_fail(SLM_EINVAL, "option %s is %lld; it can't be negative", name, (long long)value);
    if (value == 0)
        value = otherwise;
    if (value > limit)
        return slm_fail(SLM_ELIMIT, "option %s is %lld; the limit is %lld", name, (long long)value,
                        (long long)limit);
    *out = (size_t)value;
    return SLM_OK;
}

int slm_pick_threads(int *out, int32_t n_threads)
{
    int64_t cpus = n_threads == 0 ? slm_cpu_default_threads() : 1;
    size_t threads = 1;
    int rc = pick(&threads, "n_threads", n_threads, cpus < SLM_LIMIT_THREADS ? cpus : SLM_LIMIT_THREADS,
                  SLM_LIMIT_THREADS);
    *out = (int)threads;
    return rc;
}

static int read_options(struct sizes *s, const struct slm_model *model, const slm_ctx_options *o)
{
    int64_t trained = model->traits->max_context;
    int64_t tokens = trained > 0 && trained < 4096 ? trained : 4096;
    bool encoder = model->traits->attention == SLM_ATTENTION_BOTH;
    if (model->traits->n_layers == 0)
        return slm_fail(SLM_EUNSUPPORTED, "the file holds a vocabulary, no weights: there is nothing to "
                        "evaluate");
    if (o->team && o->n_threads)
        return slm_fail(SLM_EINVAL, "options team and n_threads are both set; the team knows its "
                        "threads");
    int rc = SLM_OK;
    s->team = o->team;
    if (o->team)
        s->n_threads = slm_team_parts(o->team);
    else
        rc = slm_pick_threads(&s->n_threads, o->n_threads);
    if (rc == SLM_OK)
        rc = pick(&s->max_tokens, "max_tokens", o->max_tokens, tokens, SLM_LIMIT_CONTEXT);
    if (rc == SLM_OK)
        rc = pick(&s->max_seq_tokens, "max_seq_tokens", o->max_seq_tokens, (int64_t)s->max_tokens,
                  SLM_LIMIT_CONTEXT);
    if (rc == SLM_OK)
        rc = pick(&s->max_window_tokens, "max_window_tokens", o->max_window_tokens,
                  (int64_t)s->max_tokens, SLM_LIMIT_CONTEXT);
    if (rc == SLM_OK)
        rc = pick(&s->max_seqs, "max_seqs", o->max_seqs, encoder ? ENCODER_SEQS : 1, SLM_LIMIT_SEQS);
    if (rc == SLM_OK)
        rc = pick(&s->max_batch, "max_batch", o->max_batch, 512, SLM_LIMIT_BATCH);
    if (rc == SLM_OK)
        rc = pick(&s->max_logits, "max_logits", o->max_logits, (int64_t)s->max_seqs, SLM_LIMIT_LOGITS);
    if (rc < 0)
        return rc;
    if (s->max_batch > s->max_tokens)
        s->max_batch = s->max_tokens;
    if (o->kv_type != SLM_KV_F16 && o->kv_type != SLM_KV_F32 && o->kv_type != SLM_KV_Q8)
        return slm_fail(SLM_EINVAL,
                        "option kv_type is %d; it is SLM_KV_F16, SLM_KV_F32 or SLM_KV_Q8",
                        (int)o->kv_type);
    s->kv_type = (uint32_t)o->kv_type;
    if (encoder) { /* whole texts, of which nothing is kept */
        s->max_batch = s->max_tokens < SLM_LIMIT_BATCH ? s->max_tokens : SLM_LIMIT_BATCH;
        s->max_logits = 0;
        s->kv_type = SLM_KV_F32;
    }
    s->kern = slm_kern_select(o->cpu ? o->cpu : ~0u);
    if (!s->kern)
        return slm_fail(SLM_EUNSUPPORTED, "option cpu is 0x%x, and this machine can run none of these "
                        "tiers; slm_cpu_tiers() says which it can", (unsigned)o->cpu);
    return SLM_OK;
}

/* Everything in both blocks, in order. While they are measured (base NULL), ctx is a scratch copy. */
static int lay_out(struct slm_ctx *ctx, const struct slm_model *model, const struct sizes *s,
                   struct slm_arena *handles, struct slm_arena *arena)
{
    slm_arena_take(handles, 1, sizeof *ctx);
    struct slm_seq *seqs = slm_arena_take(handles, s->max_seqs, sizeof *seqs);
    ctx->n_threads = s->n_threads;
    ctx->max_tokens = s->max_tokens;
    ctx->max_seq_tokens = s->max_seq_tokens;
    ctx->max_seqs = s->max_seqs;
    ctx->max_batch = s->max_batch;
    ctx->max_logits = s->max_logits;

    const struct slm_kv_sizes kv = {
        .max_tokens = (uint32_t)s->max_tokens,
        .max_window_tokens = (uint32_t)s->max_window_tokens,
        .max_seq_tokens = (uint32_t)s->max_seq_tokens,
        .max_seqs = (uint32_t)s->max_seqs,
        .max_batch = (uint32_t)s->max_batch,
        .layers_share_pages = model->traits->attention == SLM_ATTENTION_BOTH,
    };
    int rc = slm_kv_init(&ctx->kv, model->file.layers, model->traits->n_layers, s->kv_type, &kv, arena);
    if (rc < 0)
        return rc;
    size_t n_tables = s->max_seqs * ctx->kv.n_groups;
    struct slm_kv_table *tables = slm_arena_take(arena, n_tables, sizeof *tables);
    uint32_t *pages = slm_arena_take_rows(arena, n_tables, ctx->kv.max_pages, sizeof *pages);
    ctx->spans = slm_arena_take(arena, s->max_seqs, sizeof *ctx->spans);
    ctx->span_logits = slm_arena_take(arena, s->max_seqs, sizeof *ctx->span_logits);
    ctx->logits_stride = slm_round_up(model->traits->n_vocab, SLM_PANEL_ROWS);
    ctx->n_first = slm_arena_take(arena, s->max_seqs, sizeof *ctx->n_first);
    ctx->pooled = slm_arena_take_rows(arena, model->traits->n_scores ? s->max_seqs : 0,
                                      model->traits->dim, sizeof(float));
    ctx->logits = slm_arena_take_rows(arena, s->max_logits, ctx->logits_stride, sizeof(float));
    if (arena->base && !arena->overflow && !handles->overflow) {
        for (size_t i = 0; i < s->max_seqs; i++)
            seqs[i] = (struct slm_seq){.ctx = ctx, .tables = tables + i * ctx->kv.n_groups};
        for (size_t i = 0; i < n_tables; i++)
            tables[i] = (struct slm_kv_table){.pages = pages + i * ctx->kv.max_pages};
        ctx->seqs = seqs;
    }
    rc = slm_fwd_init(&ctx->fwd, model, s->kern, &ctx->kv, s->max_batch, s->max_seq_tokens,
                      s->n_threads, arena);
    if (rc == SLM_OK && (arena->overflow || handles->overflow))
        rc = slm_fail(SLM_ELIMIT, "a context of %zu tokens and %zu rows of logits does not fit this "
                      "machine's address space", s->max_tokens, s->max_logits);
    return rc;
}

/* Bytes of each piece. */
struct bill {
    size_t handles, work, team, total;
};

static int measure(struct bill *bill, const struct slm_model *model, const struct sizes *s)
{
    struct slm_ctx scratch = {0};
    struct slm_arena handles = {0}, arena = {0};
    int rc = lay_out(&scratch, model, s, &handles, &arena);
    if (rc < 0)
        return rc;
    const slm_team_options team = {.n_threads = s->n_threads};
    *bill = (struct bill){handles.used, arena.used, s->team ? 0 : slm_team_bytes(&team), 0};
    if (!slm_size_add(bill->handles, bill->work, &bill->total) ||
        !slm_size_add(bill->total, bill->team, &bill->total) || bill->total > PTRDIFF_MAX)
        return slm_fail(SLM_ELIMIT, "a context of %zu tokens and %zu rows of logits does not fit this "
                        "machine's address space", s->max_tokens, s->max_logits);
    return SLM_OK;
}

int64_t slm_context_bytes(const struct slm_model *model, const slm_ctx_options *options)
{
    struct sizes s;
    struct bill bill;
    int rc = read_options(&s, model, options);
    if (rc == SLM_OK)
        rc = measure(&bill, model, &s);
    return rc < 0 ? rc : (int64_t)bill.total;
}

/* Both blocks exist: fill them and start the threads. */
static int build(struct slm_ctx *ctx, struct slm_model *model, const struct sizes *s,
                 const struct bill *bill, const slm_allocator *allocator)
{
    struct slm_arena handles = {.base = (uint8_t *)ctx, .capacity = bill->handles};
    struct slm_arena arena = {.base = ctx->work, .capacity = bill->work};
    int rc = lay_out(ctx, model, s, &handles, &arena);
    const slm_team_options team = {.n_threads = s->n_threads, .allocator = allocator};
    if (rc == SLM_OK && !s->team)
        rc = slm_team_start(&ctx->team, &team);
    if (rc < 0)
        return rc;
    if (s->team)
        ctx->team = slm_team_ref(s->team);
    if (allocator) {
        ctx->hooks = *allocator;
        ctx->allocator = &ctx->hooks;
    }
    ctx->handle_bytes = bill->handles;
    ctx->work_bytes = bill->work;
    ctx->team_bytes = bill->team;
    atomic_init(&ctx->references, 1);
    atomic_init(&ctx->n_left, 0);
    atomic_init(&ctx->interrupt, false);
    atomic_init(&ctx->interrupted, false);
    ctx->fwd.team = ctx->team;
    ctx->fwd.interrupt = &ctx->interrupt;
    ctx->fwd.interrupted = &ctx->interrupted;
    ctx->model = model;
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return SLM_OK;
}

int slm_context_new(struct slm_ctx **out, struct slm_model *model, const slm_ctx_options *options)
{
    *out = NULL;
    struct sizes s;
    struct bill bill;
    int rc = read_options(&s, model, options);
    if (rc == SLM_OK)
        rc = measure(&bill, model, &s);
    if (rc < 0)
        return rc;
    const slm_allocator *allocator = options->allocator ? options->allocator : model->allocator;
    struct slm_ctx *ctx = slm_calloc(allocator, bill.handles);
    if (!ctx)
        return SLM_ENOMEM;
    ctx->work = slm_alloc(allocator, bill.work);
    rc = ctx->work ? build(ctx, model, &s, &bill, allocator) : SLM_ENOMEM;
    if (rc < 0) {
        slm_free(allocator, ctx->work, bill.work);
        slm_free(allocator, ctx, bill.handles);
        return rc;
    }
    *out = ctx;
    return SLM_OK;
}

void slm_context_free(struct slm_ctx *ctx)
{
    slm_team_unref(ctx->team);
    slm_free(ctx->allocator, ctx->work, ctx->work_bytes);
    slm_model_drop(ctx->model);
    ctx->closed = true;
    slm_context_unref(ctx);
}

void slm_context_unref(struct slm_ctx *ctx)
{
    if (atomic_fetch_sub(&ctx->references, 1) > 1)
        return;
    slm_allocator hooks = ctx->hooks; /* they lie in the block */
    slm_free(ctx->allocator ? &hooks : NULL, ctx, ctx->handle_bytes);
}
