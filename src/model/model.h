/*
 * model.h - an open .slm file as the transformer wants it: every weight under its role.
 *
 * Immutable once open and counted. All pointers lead into the mapping; the only memory of its own
 * is this struct with its layers, and the parsed chat template.
 */
#ifndef SLM_MODEL_MODEL_H
#define SLM_MODEL_MODEL_H

#include "base/limits.h"
#include "base/os.h"
#include "format/format.h"
#include "quant/quant.h"
#include "template/template.h"
#include "text/tokenizer.h"

#include <stdatomic.h>

/* panels NULL: the model has no such matrix. */
struct slm_matrix {
    const uint8_t *panels;
    const float *bias;  /* [rows] or NULL */
    const struct slm_quant *quant;
    size_t rows, cols;  /* true shape */
    size_t n_panels, n_tiles;
};

/* weight NULL: nothing is normalised. */
struct slm_norm_weights {
    const float *weight;
    const float *bias;  /* as long, or NULL */
};

struct slm_layer {
    const struct slm_layer_traits *traits;
    struct slm_norm_weights attn_norm, attn_post_norm, attn_sum_norm; /* [dim] */
    struct slm_norm_weights q_norm;  /* [n_heads * head_dim] */
    struct slm_norm_weights k_norm;  /* [n_kv_heads * head_dim] */
    const float *slopes;     /* [n_heads] or NULL */
    const float *sinks;      /* [n_heads] or NULL */
    struct slm_matrix q;     /* [n_heads * head_dim][dim] */
    struct slm_matrix k, v;  /* [n_kv_heads * head_dim][dim] */
    struct slm_matrix out;   /* [dim][n_heads * head_dim] */
    struct slm_norm_weights ffn_norm, ffn_post_norm, ffn_sum_norm; /* [dim] */
    struct slm_matrix gate, up; /* [ffn_dim][dim]; gate NULL: there is none; up NULL: experts only */
    struct slm_matrix down;  /* [dim][ffn_dim] */

    struct slm_matrix router; /* [n_experts][dim]; NULL: there are no experts, nor what follows */
    struct slm_matrix shared_gate; /* [1][dim]; NULL: the block beside them counts in full */
    struct slm_matrix experts_gate, experts_up; /* [n_experts][expert_dim in panels][dim] */
    struct slm_matrix experts_down; /* [n_experts][dim in panels][expert_dim] */
};

struct slm_model {
    atomic_int references;
    slm_allocator hooks;            /* a copy of the caller's */
    const slm_allocator *allocator; /* &hooks, or NULL for malloc */
    slm_log_fn log;
    void *log_user;

    struct slm_mapping mapping;     /* base NULL: the caller's memory */
    struct slm_file file;
    const struct slm_traits *traits; /* = &own_traits */
    struct slm_traits own_traits;
    bool has_text;
    struct slm_text text;
    struct slm_template *chat;      /* NULL: no template */

    struct slm_matrix embedding, head; /* [n_vocab][dim]; tied: the same panels; an encoder has no head */
    struct slm_matrix positions;    /* [n_positions][dim]; panels NULL: none are learned */
    struct slm_matrix token_types;  /* [n_token_types][dim]; likewise */
    struct slm_matrix score_dense;  /* [dim][dim] */
    struct slm_norm_weights score_norm; /* [dim] */
    struct slm_matrix score;        /* [n_scores][dim] */
    struct slm_norm_weights embedding_norm, final_norm; /* [dim] */
    const float *rope_frequencies[SLM_LIMIT_ROPE_TABLES];      /* [dims / 2] */
    const float *rope_long_frequencies[SLM_LIMIT_ROPE_TABLES]; /* [dims / 2], or NULL */
    size_t bytes;                   /* of this struct with its layers */
    struct slm_layer layers[];      /* [n_layers]; behind them their traits and the ropes' */
};

/* Takes over the mapping, on failure too. */
int slm_model_load(struct slm_model **out, struct slm_mapping *mapping,
                   const slm_model_options *options);
void slm_model_drop(struct slm_model *model); /* one owner less */

#endif
