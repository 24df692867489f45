/*
 * run.h - contexts and sequences, and what slm_eval() does with them.
 *
 * A context is two blocks of memory. The handles, struct slm_ctx and its sequences, stay until the
 * context and every sequence were freed, in whatever order and by whatever threads: programs with
 * garbage collection can't promise more. All the rest, KV pages, activations, logits, goes when the
 * context is freed. Nothing is allocated after it was made.
 */
#ifndef SLM_RUN_RUN_H
#define SLM_RUN_RUN_H

#include "fwd/fwd.h"

enum slm_seq_state {
    SLM_SEQ_FREE,  /* a slot */
    SLM_SEQ_ALIVE, /* somebody has it */
    SLM_SEQ_LEFT   /* was freed, perhaps by another thread: the context takes its pages back when it
                      next looks */
};

struct slm_seq {
    struct slm_ctx *ctx;
    atomic_int state;            /* enum slm_seq_state */
    int32_t length;              /* tokens evaluated */
    uint64_t last_call;          /* number of the slm_eval() that named it last: finds doubles */
    struct slm_kv_table *tables; /* [n_groups] */
};

/* Which logits a span of the last call has. */
struct slm_span_logits {
    size_t first, n; /* rows of ctx->logits */
};

struct slm_ctx {
    atomic_int references;       /* its own and one of each sequence: owners of the handles */
    atomic_int n_left;           /* sequences that are SLM_SEQ_LEFT */
    bool closed;                 /* slm_ctx_free() was called: what follows is gone */
    slm_allocator hooks;
    const slm_allocator *allocator;
    size_t handle_bytes, work_bytes, team_bytes;
    void *work;                  /* the second block */
    struct slm_model *model;     /* a reference */
    atomic_bool interrupt;
    atomic_bool interrupted; /* the pass that is computed, or was last */

    /* Limits, with the options' defaults filled in. */
    int n_threads;
    size_t max_tokens, max_seq_tokens, max_seqs, max_batch, max_logits;

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
    uint32_t recycling;          /* bits of KV groups that the call takes pages for batch by batch */

    size_t *n_first;             /* [max_seqs] of a group of passages: tokens of the first text */
    float *pooled;               /* [max_seqs][dim] texts for the score head; NULL: it has none */

    uint64_t prompt_tokens, decode_tokens;
    double prompt_seconds, decode_seconds;
};

/* context.c; options are complete structs here (src/api filled in what an old caller lacks). */
int64_t slm_context_bytes(const struct slm_model *model, const slm_ctx_options *options);
int slm_context_new(struct slm_ctx **out, struct slm_model *model, const slm_ctx_options *options);
void slm_context_free(struct slm_ctx *ctx);

/* n_threads of a context or a team: 0 is made the default. */
int slm_pick_threads(int *out, int32_t n_threads);
void slm_context_unref(struct slm_ctx *ctx); /* one owner of the handles less */

/* sequence.c */
/* Whether a caller's sequence can be used: SLM_EINVAL when it is NULL or was freed, SLM_ESTATE when
 * its context was. `function` is for the message. */
int slm_sequence_check(const struct slm_seq *seq, const char *function);
int slm_sequence_open(struct slm_seq **out, struct slm_ctx *ctx);
int slm_sequence_fork(struct slm_seq **out, struct slm_seq *from);
void slm_sequence_truncate(struct slm_seq *seq, int32_t length);
void slm_sequence_leave(struct slm_seq *seq);  /* any thread */
void slm_sequence_collect(struct slm_ctx *ctx); /* pages of those that left come back */

/* What may be wanted instead of logits: of each span one vector, or (kind 0) one for each token. */
struct slm_pooling {
    uint32_t kind;  /* enum slm_pooled, or 0 */
    float *out;     /* [n_spans or tokens][dim]: sums are added to what is there */
    const size_t *n_first; /* [n_spans] tokens behind these are of type 1 */
};

/* eval.c; spans are complete structs with valid pointers. pooling NULL: logits. */
int slm_evaluate(struct slm_ctx *ctx, const slm_span *spans, size_t n_spans,
                 const struct slm_pooling *pooling);

/* embed.c; a text, or a pair of which n_first tokens are the first, special tokens included. */
struct slm_passage {
    const slm_token *tokens; /* [n] */
    size_t n, n_first;
};
/* One vector for each passage, or (kind 0) for each token, into out[][dim]. */
int slm_embed_passages(struct slm_ctx *ctx, const struct slm_passage *passages, size_t n,
                       uint32_t kind, bool unit_length, float *out);
/* The score head's numbers, into out[n][n_scores]. */
int slm_score_passages(struct slm_ctx *ctx, const struct slm_passage *passages, size_t n, float *out);
/* Most tokens that a passage can have. */
size_t slm_longest_passage(const struct slm_ctx *ctx);

#endif
