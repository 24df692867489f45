/*
 * sequence.c - sequences are slots of a context and tables of pages; see run.h and kv/kv.h.
 *
 * Pages are the business of the context's thread alone. Who frees a sequence, in whatever thread,
 * only says so; the context collects what was left behind before it needs room.
 */
#include "run/run.h"

int slm_sequence_check(const struct slm_seq *seq, const char *function)
{
    if (!seq)
        return slm_fail(SLM_EINVAL, "%s: seq is NULL", function);
    if (atomic_load(&seq->state) != SLM_SEQ_ALIVE)
        return slm_fail(SLM_EINVAL, "%s: seq was freed", function);
    if (seq->ctx->closed)
        return slm_fail(SLM_ESTATE, "%s: the context of the sequence was freed; all that is left to do "
                        "is to free the sequence", function);
    return SLM_OK;
}

int slm_sequence_open(struct slm_seq **out, struct slm_ctx *ctx)
{
    *out = NULL;
    slm_sequence_collect(ctx);
    for (size_t i = 0; i < ctx->max_seqs; i++) {
        struct slm_seq *seq = &ctx->seqs[i];
        if (atomic_load(&seq->state) != SLM_SEQ_FREE)
            continue;
        atomic_fetch_add(&ctx->references, 1);
        atomic_store(&seq->state, SLM_SEQ_ALIVE);
        seq->length = 0;
        seq->last_call = 0;
        *out = seq;
        return SLM_OK;
    }
    return slm_fail(SLM_ELIMIT, "the context holds %zu sequence%s already; free one, or make the "
                    "context with a larger max_seqs", ctx->max_seqs, ctx->max_seqs == 1 ? "" : "s");
}

int slm_sequence_fork(struct slm_seq **out, struct slm_seq *from)
{
    int rc = slm_sequence_open(out, from->ctx);
    if (rc < 0)
        return rc;
    for (uint32_t g = 0; g < from->ctx->kv.n_groups; g++)
        slm_kv_share(&from->ctx->kv, g, &(*out)->tables[g], &from->tables[g]);
    (*out)->length = from->length;
    return SLM_OK;
}

void slm_sequence_truncate(struct slm_seq *seq, int32_t length)
{
    for (uint32_t g = 0; g < seq->ctx->kv.n_groups; g++)
        slm_kv_shrink(&seq->ctx->kv, g, &seq->tables[g], (uint32_t)length);
    seq->length = length;
}

void slm_sequence_leave(struct slm_seq *seq)
{
    struct slm_ctx *ctx = seq->ctx;
    int alive = SLM_SEQ_ALIVE;
    if (!atomic_compare_exchange_strong(&seq->state, &alive, SLM_SEQ_LEFT))
        return; /* freed twice */
    atomic_fetch_add(&ctx->n_left, 1);
    slm_context_unref(ctx);
}

void slm_sequence_collect(struct slm_ctx *ctx)
{
    for (size_t i = 0; i < ctx->max_seqs && atomic_load(&ctx->n_left) > 0; i++) {
        struct slm_seq *seq = &ctx->seqs[i];
        if (atomic_load(&seq->state) != SLM_SEQ_LEFT)
            continue;
        slm_sequence_truncate(seq, 0);
        atomic_store(&seq->state, SLM_SEQ_FREE);
        atomic_fetch_sub(&ctx->n_left, 1);
    }
}
