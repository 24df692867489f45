/*
 * context.c - making a context: check the options, lay out one block, start the threads.
 *
 * The layout function runs twice, over nothing and over the block, so slm_ctx_memory() and
 * slm_ctx_new() can't differ.
 */
#include "run/run.h"

#include "base/limits.h"

#include <string.h>

/* What the options mean for this model. */
struct sizes {
    int n_threads;
    size_t max_tokens, max_seqs, max_batch, max_logits;
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

static int read_options(struct sizes *s, const struct slm_model *model, const slm_ctx_options *o)
{
    int64_t trained = model->traits->max_context;
    int64_t tokens = trained > 0 && trained < 4096 ? trained : 4096;
    size_t threads = 0;
    int64_t cpus = o->n_threads == 0 ? slm_cpu_count() : 1;
    int rc = pick(&threads, "n_threads", o->n_threads, cpus < SLM_LIMIT_THREADS ? cpus : SLM_LIMIT_THREADS,
                  SLM_LIMIT_THREADS);
    if (rc == SLM_OK)
        rc = pick(&s->max_tokens, "max_tokens", o->max_tokens, tokens, SLM_LIMIT_CONTEXT);
    if (rc == SLM_OK)
        rc = pick(&s->max_seqs, "max_seqs", o->max_seqs, 1, SLM_LIMIT_SEQS);
    if (rc == SLM_OK)
        rc = pick(&s->max_batch, "max_batch", o->max_batch, 512, SLM_LIMIT_BATCH);
    if (rc == SLM_OK)
        rc = pick(&s->max_logits, "max_logits", o->max_logits, (int64_t)s->max_seqs, SLM_LIMIT_LOGITS);
    if (rc < 0)
        return rc;
    s->n_threads = (int)threads;
    if (s->max_batch > s->max_tokens)
        s->max_batch = s->max_tokens;
    if (o->kv_type != SLM_KV_F16 && o->kv_type != SLM_KV_F32)
        return slm_fail(SLM_EINVAL, "option kv_type is %d; it is SLM_KV_F16 or SLM_KV_F32",
                        (int)o->kv_type);
    s->kv_type = (uint32_t)o->kv_type;
    s->kern = slm_kern_select(o->cpu ? o->cpu : ~0u);
    if (!s->kern)
        return slm_fail(SLM_EUNSUPPORTED, "option cpu is 0x%x, and this machine can run none of these "
                        "tiers; slm_cpu_tiers() says which it can", (unsigned)o->cpu);
    return SLM_OK;
}

/* Everything in the block, in order. base NULL: only measured, and ctx is a scratch copy. */
static int lay_out(struct slm_ctx *ctx, const struct slm_model *model, const struct sizes *s,
                   struct slm_arena *arena)
{
    slm_arena_take(arena, 1, sizeof *ctx);
    ctx->n_threads = s->n_threads;
    ctx->max_tokens = s->max_tokens;
    ctx->max_seqs = s->max_seqs;
    ctx->max_batch = s->max_batch;
    ctx->max_logits = s->max_logits;

    int rc = slm_kv_init(&ctx->kv, model->file.layers, model->traits->n_layers, s->kv_type,
                         (uint32_t)s->max_tokens, (uint32_t)s->max_seqs, arena);
    if (rc < 0)
        return rc;
    struct slm_seq *seqs = slm_arena_take(arena, s->max_seqs, sizeof *seqs);
    size_t n_tables = s->max_seqs * ctx->kv.n_groups;
    struct slm_kv_table *tables = slm_arena_take(arena, n_tables, sizeof *tables);
    uint32_t *pages = slm_arena_take(arena, n_tables * ctx->kv.max_pages, sizeof *pages);
    ctx->spans = slm_arena_take(arena, s->max_seqs, sizeof *ctx->spans);
    ctx->span_logits = slm_arena_take(arena, s->max_seqs, sizeof *ctx->span_logits);
    ctx->logits_stride = slm_round_up(model->traits->n_vocab, SLM_PANEL_ROWS);
    ctx->logits = slm_arena_take(arena, s->max_logits, ctx->logits_stride * sizeof(float));
    if (arena->base && !arena->overflow) {
        for (size_t i = 0; i < s->max_seqs; i++)
            seqs[i] = (struct slm_seq){.ctx = ctx, .tables = tables + i * ctx->kv.n_groups};
        for (size_t i = 0; i < n_tables; i++)
            tables[i] = (struct slm_kv_table){.pages = pages + i * ctx->kv.max_pages};
        ctx->seqs = seqs;
    }
    rc = slm_fwd_init(&ctx->fwd, model, s->kern, &ctx->kv, s->max_batch, s->max_tokens, s->n_threads,
                      arena);
    if (rc == SLM_OK && arena->overflow)
        rc = slm_fail(SLM_ELIMIT, "a context of %zu tokens and %zu rows of logits does not fit this "
                      "machine's address space", s->max_tokens, s->max_logits);
    return rc;
}

static int measure(size_t *bytes, const struct slm_model *model, const struct sizes *s)
{
    struct slm_ctx scratch = {0};
    struct slm_arena arena = {0};
    int rc = lay_out(&scratch, model, s, &arena);
    *bytes = arena.used;
    return rc;
}

int64_t slm_context_bytes(const struct slm_model *model, const slm_ctx_options *options)
{
    struct sizes s;
    size_t bytes;
    int rc = read_options(&s, model, options);
    if (rc == SLM_OK)
        rc = measure(&bytes, model, &s);
    return rc < 0 ? rc : (int64_t)(bytes + slm_team_bytes(s.n_threads));
}

int slm_context_new(struct slm_ctx **out, struct slm_model *model, const slm_ctx_options *options)
{
    *out = NULL;
    struct sizes s;
    size_t bytes;
    int rc = read_options(&s, model, options);
    if (rc == SLM_OK)
        rc = measure(&bytes, model, &s);
    if (rc < 0)
        return rc;
    const slm_allocator *allocator = options->allocator ? options->allocator : model->allocator;
    struct slm_arena arena = {.base = slm_alloc(allocator, bytes), .capacity = bytes};
    if (!arena.base)
        return SLM_ENOMEM;
    struct slm_ctx *ctx = (struct slm_ctx *)(void *)arena.base;
    memset(ctx, 0, sizeof *ctx);
    rc = lay_out(ctx, model, &s, &arena);
    if (rc == SLM_OK)
        rc = slm_team_new(&ctx->team, s.n_threads, allocator);
    if (rc < 0) {
        slm_free(allocator, ctx, bytes);
        return rc;
    }
    if (allocator) {
        ctx->hooks = *allocator;
        ctx->allocator = &ctx->hooks;
    }
    ctx->bytes = bytes;
    ctx->team_bytes = slm_team_bytes(s.n_threads);
    atomic_init(&ctx->interrupt, false);
    ctx->fwd.team = ctx->team;
    ctx->fwd.interrupt = &ctx->interrupt;
    ctx->model = model;
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    *out = ctx;
    return SLM_OK;
}

void slm_context_free(struct slm_ctx *ctx)
{
    struct slm_model *model = ctx->model;
    slm_allocator hooks = ctx->hooks; /* they lie in the block */
    const slm_allocator *allocator = ctx->allocator ? &hooks : NULL;
    slm_team_free(ctx->team, allocator);
    slm_free(allocator, ctx, ctx->bytes);
    slm_model_drop(model);
}
