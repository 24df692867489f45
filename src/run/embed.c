/*
 * embed.c - texts to vectors, and vectors to scores.
 *
 * A passage becomes a sequence for as long as it is computed. As many passages as the context has
 * room for go through the model together; a vector does not depend on which those are.
 */
#include "run/run.h"

#include "base/limits.h"

#include <math.h>
#include <string.h>

size_t slm_longest_passage(const struct slm_ctx *ctx)
{
    const struct slm_traits *t = ctx->model->traits;
    size_t most = ctx->max_seq_tokens;
    if (t->attention == SLM_ATTENTION_BOTH && most > ctx->max_batch)
        most = ctx->max_batch; /* what looks ahead needs all of its text at once */
    return t->n_positions && t->n_positions < most ? t->n_positions : most;
}

/* How much more fits the group of passages that is being put together. */
struct room {
    size_t seqs, pages, rows;
};

static struct room room_of(const struct slm_ctx *ctx)
{
    struct room room = {0, SIZE_MAX, SIZE_MAX};
    for (size_t i = 0; i < ctx->max_seqs; i++)
        room.seqs += atomic_load(&ctx->seqs[i].state) == SLM_SEQ_FREE;
    for (uint32_t g = 0; g < ctx->kv.n_groups; g++)
        if (ctx->kv.groups[g].n_free < room.pages)
            room.pages = ctx->kv.groups[g].n_free;
    if (ctx->model->traits->attention == SLM_ATTENTION_BOTH)
        room.rows = ctx->max_batch;
    return room;
}

static bool take_room(struct room *room, const struct slm_passage *passage)
{
    size_t pages = (passage->n + SLM_PAGE - 1) / SLM_PAGE;
    if (room->seqs == 0 || room->pages < pages || room->rows < passage->n)
        return false;
    room->seqs--;
    room->pages -= pages;
    room->rows -= passage->n;
    return true;
}

/* How many of the n passages go through together: at least one, which then may fail. */
static size_t group_size(struct slm_ctx *ctx, const struct slm_passage *passages, size_t n)
{
    slm_sequence_collect(ctx);
    struct room room = room_of(ctx);
    size_t k = 0;
    while (k < n && take_room(&room, &passages[k]))
        k++;
    return k ? k : 1;
}

static int open_group(struct slm_ctx *ctx, const struct slm_passage *passages, size_t n, size_t *n_first)
{
    for (size_t i = 0; i < n; i++) {
        slm_span *span = &ctx->spans[i];
        *span = (slm_span){.size = sizeof *span, .tokens = passages[i].tokens, .n = passages[i].n};
        n_first[i] = passages[i].n_first;
        int rc = slm_sequence_open(&span->seq, ctx);
        if (rc < 0)
            return rc;
    }
    return SLM_OK;
}

/* The group's sums, in out[n or tokens][dim]. */
static int sum_group(struct slm_ctx *ctx, const struct slm_passage *passages, size_t n, uint32_t kind,
                     float *out)
{
    struct slm_pooling pooling = {kind, out, ctx->n_first};
    for (size_t i = 0; i < n; i++)
        ctx->spans[i].seq = NULL;
    int rc = open_group(ctx, passages, n, ctx->n_first);
    if (rc == SLM_OK)
        rc = slm_evaluate(ctx, ctx->spans, n, &pooling);
    for (size_t i = 0; i < n; i++)
        if (ctx->spans[i].seq)
            slm_sequence_leave(ctx->spans[i].seq);
    ctx->n_spans = 0; /* there are no logits */
    return rc;
}

static void scale_to_unit(const struct slm_fwd *f, float *v, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (double)v[i] * (double)v[i];
    if (sum > 0)
        f->kern->scale(v, v, (float)(1 / sqrt(sum)), dim);
}

static int embed_group(struct slm_ctx *ctx, const struct slm_passage *passages, size_t n, uint32_t kind,
                       bool unit_length, float *out, size_t *rows)
{
    const struct slm_fwd *f = &ctx->fwd;
    size_t dim = ctx->model->traits->dim;
    *rows = kind ? n : 0;
    for (size_t i = 0; i < n && !kind; i++)
        *rows += passages[i].n;
    memset(out, 0, *rows * dim * sizeof *out);
    int rc = sum_group(ctx, passages, n, kind, out);
    for (size_t i = 0; i < *rows && rc == SLM_OK; i++) {
        if (kind == SLM_POOLED_MEAN)
            f->kern->scale(out + i * dim, out + i * dim, 1.0f / (float)passages[i].n, dim);
        if (unit_length)
            scale_to_unit(f, out + i * dim, dim);
    }
    return rc;
}

int slm_embed_passages(struct slm_ctx *ctx, const struct slm_passage *passages, size_t n,
                       uint32_t kind, bool unit_length, float *out)
{
    size_t rows;
    for (size_t k; n > 0; passages += k, n -= k, out += rows * ctx->model->traits->dim) {
        k = group_size(ctx, passages, n);
        int rc = embed_group(ctx, passages, k, kind, unit_length, out, &rows);
        if (rc < 0)
            return rc;
    }
    return SLM_OK;
}

/* ctx->pooled[n] through the score head, as many at once as there are rows. */
static int score_group(struct slm_ctx *ctx, size_t n, float *out)
{
    struct slm_fwd *f = &ctx->fwd;
    size_t dim = ctx->model->traits->dim, n_scores = ctx->model->traits->n_scores;
    for (size_t at = 0; at < n; at += f->n_rows) {
        f->n_rows = n - at < f->max_rows ? n - at : f->max_rows;
        for (size_t i = 0; i < f->n_rows; i++)
            memcpy(f->x + i * f->dim_stride, ctx->pooled + (at + i) * dim, dim * sizeof *out);
        int rc = slm_forward_scores(f);
        if (rc == SLM_EINTR)
            atomic_store(&ctx->interrupt, false);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < f->n_rows; i++)
            memcpy(out + (at + i) * n_scores, f->scores + i * f->scores_stride, n_scores * sizeof *out);
    }
    return SLM_OK;
}

int slm_score_passages(struct slm_ctx *ctx, const struct slm_passage *passages, size_t n, float *out)
{
    const struct slm_traits *t = ctx->model->traits;
    size_t rows;
    for (size_t k; n > 0; passages += k, n -= k, out += k * t->n_scores) {
        k = group_size(ctx, passages, n);
        int rc = embed_group(ctx, passages, k, t->pooling, t->parts & SLM_MODEL_UNIT_LENGTH, ctx->pooled,
                             &rows);
        if (rc == SLM_OK)
            rc = score_group(ctx, k, out);
        if (rc < 0)
            return rc;
    }
    return SLM_OK;
}
