/*
 * run.h - contexts and sequences, and what slm_eval() does with them.
 *
 * A context is one block of memory, laid out as the members of struct slm_ctx are: the context
 * itself, its sequences, the KV pages, the activations, the logits. Nothing is allocated after it
 * was made.
 */
#ifndef SLM_RUN_RUN_H
#define SLM_RUN_RUN_H

#include "fwd/fwd.h"

struct slm_seq {
    struct slm_ctx *ctx;
    int32_t length;              /* tokens evaluated */
    bool alive;
    uint64_t last_call;          /* number of the slm_eval() that named it last: finds doubles */
    struct slm_kv_table *tables; /* [n_groups] */
};

/* Which logits a span of the last call has. */
struct slm_span_logits {
    size_t first, n; /* rows of ctx->logits */
};

struct slm_ctx {
    struct slm_model *model;     /* a reference */
    slm_allocator hooks;
    const slm_allocator *allocator;
    size_t bytes;                /* of the block that this struct begins */
    size_t team_bytes;
    atomic_bool interrupt;

    /* Limits, with the options' defaults filled in. */
    int n_threads;
    size_t max_tokens, max_seqs, max_batch, max_logits;

    struct slm_team *team;
    struct slm_kv kv;
    struct slm_fwd fwd;
    struct slm_seq *seqs;        /* [max_seqs] */

    float *logits;               /* [max_logits][logits_stride] */
    size_t logits_stride;        /* n_vocab padded to 16 */
    slm_span *spans;             /* [max_seqs] the call's spans as this library's structs */
    struct slm_span_logits *span_logits; /* [max_seqs] of the last call */
    size_t n_spans;
    uint64_t n_calls;

    uint64_t prompt_tokens, decode_tokens;
    double prompt_seconds, decode_seconds;
};

/* context.c; options are complete structs here (src/api filled in what an old caller lacks). */
int64_t slm_context_bytes(const struct slm_model *model, const slm_ctx_options *options);
int slm_context_new(struct slm_ctx **out, struct slm_model *model, const slm_ctx_options *options);
void slm_context_free(struct slm_ctx *ctx);

/* sequence.c */
int slm_sequence_open(struct slm_seq **out, struct slm_ctx *ctx);
int slm_sequence_fork(struct slm_seq **out, struct slm_seq *from);
void slm_sequence_truncate(struct slm_seq *seq, int32_t length);
void slm_sequence_close(struct slm_seq *seq);

/* eval.c; spans are complete structs with valid pointers. */
int slm_evaluate(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans);

#endif
