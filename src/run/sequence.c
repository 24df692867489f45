/* sequence.c - sequences are slots of a context and tables of pages; see run.h and kv/kv.h. */
#include "run/run.h"

int slm_sequence_open(struct slm_seq **out, struct slm_ctx *ctx)
{
    *out = NULL;
    for (size_t i = 0; i < ctx->max_seqs; i++) {
        struct slm_seq *seq = &ctx->seqs[i];
        if (seq->alive)
            continue;
        seq->alive = true;
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

void slm_sequence_close(struct slm_seq *seq)
{
    slm_sequence_truncate(seq, 0);
    seq->alive = false;
}
