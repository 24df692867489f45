/*
 * traits.h - what a transformer can be made of, as numbers in a file.
 *
 * The runtime knows these and no model family: a converter describes a family with them. All
 * records are little-endian, without padding, and exactly as they lie in the file (docs/format.md).
 * A value that is zero means "not used" wherever that makes sense, so a later version can add
 * fields in `reserved`: a reader that finds a reserved byte set refuses the file (SLM_EVERSION)
 * instead of computing something else.
 */
#ifndef SLM_FORMAT_TRAITS_H
#define SLM_FORMAT_TRAITS_H

#include <stdbool.h>
#include <stdint.h>

enum slm_norm {
    SLM_NORM_RMS = 1,  /* y = w * x / sqrt(mean(x^2) + eps) (+ b) */
    SLM_NORM_LAYER = 2 /* y = w * (x - mean(x)) / sqrt(variance(x) + eps) (+ b) */
};
enum slm_attention_kind {
    SLM_ATTENTION_CAUSAL = 1, /* a position sees itself and what stands before it */
    SLM_ATTENTION_BOTH = 2    /* and what stands behind it: an encoder, which has no logits */
};
enum slm_activation {
    SLM_ACT_SILU = 1,      /* x / (1 + exp(-x)) */
    SLM_ACT_GELU = 2,      /* x / 2 * (1 + erf(x / sqrt(2))) */
    SLM_ACT_GELU_TANH = 3, /* x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) */
    SLM_ACT_GELU_QUICK = 4,/* x / (1 + exp(-1.702 x)) */
    SLM_ACT_RELU = 5,      /* max(x, 0) */
    SLM_N_ACTIVATIONS = 6, /* one above the last: tables are indexed by it */
    SLM_ACT_TANH = 6       /* of the score head only */
};
enum slm_rope_scaling {
    SLM_ROPE_TABLE = 0,   /* inverse frequencies stand in the file, scaling included */
    SLM_ROPE_DYNAMIC = 1, /* beyond original_context the base grows with the position (dynamic NTK) */
    SLM_ROPE_LONG = 2     /* contexts longer than original_context use a second table (longrope) */
};

/* What the outputs of a token's experts are multiplied with: e^logit over its sum. */
enum slm_router {
    SLM_ROUTER_ALL = 1,   /* over all experts: the weights of the chosen ones add up to less than 1 */
    SLM_ROUTER_CHOSEN = 2 /* over the chosen ones */
};

/* How the vectors of a text's positions become one. */
enum slm_pooled {
    SLM_POOLED_MEAN = 1, /* of all positions, special tokens included */
    SLM_POOLED_FIRST = 2,
    SLM_POOLED_LAST = 3
};

/* What a model has besides embedding, layers and head: bits of slm_traits.parts. */
enum slm_model_part {
    SLM_MODEL_EMBEDDING_NORM = 1 << 0, /* of the sum of token and position embedding */
    SLM_MODEL_FINAL_NORM = 1 << 1,     /* before the head */
    SLM_MODEL_UNIT_LENGTH = 1 << 2,    /* embeddings of texts are scaled to length 1 */
    SLM_MODEL_SCORE_DENSE = 1 << 3,    /* what the score head begins with: a matrix, activated, */
    SLM_MODEL_SCORE_NORM = 1 << 4,     /* and a norm */
    SLM_MODEL_PARTS = (1 << 5) - 1     /* all that are known */
};

/* What a layer is put together from: bits of slm_layer_traits.parts. */
enum slm_layer_part {
    SLM_LAYER_ATTN_NORM = 1 << 0,      /* of what attention reads; else it reads x as it is */
    SLM_LAYER_ATTN_POST_NORM = 1 << 1, /* of what attention adds to x */
    SLM_LAYER_FFN_NORM = 1 << 2,       /* likewise for the feed-forward block */
    SLM_LAYER_FFN_POST_NORM = 1 << 3,
    SLM_LAYER_HEAD_NORMS = 1 << 4,     /* queries and keys are normalised before they rotate, each */
    SLM_LAYER_WIDE_NORMS = 1 << 5,     /* head by itself, or all heads of a position as one vector */
    SLM_LAYER_PARALLEL = 1 << 6,       /* the feed-forward block reads x from before attention */
    SLM_LAYER_GATE = 1 << 7,           /* down(act(gate(h)) * up(h)); else down(act(up(h))) */
    SLM_LAYER_SLOPES = 1 << 8,         /* ALiBi: a score falls by slope[head] * distance */
    SLM_LAYER_ATTN_SUM_NORM = 1 << 9,  /* of x, once attention was added: post-norm blocks */
    SLM_LAYER_FFN_SUM_NORM = 1 << 10,
    SLM_LAYER_SHARED_GATE = 1 << 11,   /* beside experts: the feed-forward block's share, 0 to 1 */
    SLM_LAYER_SINKS = 1 << 12,         /* attention has one more score, of nothing, for each head */
    SLM_LAYER_UP_PLUS_ONE = 1 << 13,   /* act(gate(h)) * (up(h) + 1) */
    SLM_LAYER_PARTS = (1 << 14) - 1    /* all that are known */
};

/* For the whole model: 128 bytes. A file of a vocabulary alone has n_vocab, and zeros for the rest. */
struct slm_traits {
    uint32_t n_layers;
    uint32_t dim;             /* residual width */
    uint32_t n_vocab;
    uint32_t max_context;     /* positions trained for; 0: unknown */
    uint32_t norm;            /* enum slm_norm: of every norm there is */
    float norm_eps;
    uint32_t n_positions;     /* rows of a learned position embedding: no text can be longer; 0: none */
    uint32_t n_ropes;         /* rope records that follow */
    uint32_t attention;       /* enum slm_attention_kind */
    uint32_t activation;      /* enum slm_activation */
    float embedding_scale;    /* multiplies the token embedding; 1: none */
    float residual_scale;     /* multiplies what each block adds; 1: none */
    float logit_scale;        /* multiplies the logits; 1: none */
    float logit_cap;          /* c: logits become c * tanh(logit / c); 0: none */
    uint32_t parts;           /* enum slm_model_part */
    uint32_t n_token_types;   /* rows of the embedding of token types; 0: none */
    uint32_t pooling;         /* enum slm_pooled: of a text's embedding; 0: not said */
    uint32_t n_scores;        /* numbers that the score head gives for a text; 0: there is none */
    uint32_t score_activation;/* enum slm_activation, behind score_dense; 0: none */
    uint32_t n_separators;    /* EOS tokens between the two texts of a pair; 0: it takes no pairs */
    uint32_t reserved[12];    /* 0 */
};

/* One a layer: 96 bytes. Layers may differ (pruned models, local and global attention). */
struct slm_layer_traits {
    uint32_t n_heads;
    uint32_t n_kv_heads;      /* divides n_heads */
    uint32_t head_dim;
    uint32_t ffn_dim;         /* beside experts: of a block that every token goes through; 0: none */
    uint32_t window;          /* positions that attention looks back (and ahead, where it sees
                                 both), itself included; 0: all */
    uint32_t rope;            /* index of a rope record; 0xFFFFFFFF: this layer has none */
    float attention_scale;    /* multiplies q.k before the softmax; usually 1/sqrt(head_dim) */
    float attention_cap;      /* c: scores become c * tanh(score / c); 0: none */
    uint32_t parts;           /* enum slm_layer_part */
    uint32_t n_experts;       /* feed-forward blocks of which each token goes through a few; 0: none */
    uint32_t n_chosen;        /* that few; at most n_experts */
    uint32_t expert_dim;      /* their ffn_dim */
    uint32_t router;          /* enum slm_router */
    float gate_limit;         /* c: gate(h) is held at c, up(h) within -c and c; 0: not at all */
    uint32_t reserved[10];    /* 0 */
};

/* One a rope variant: 48 bytes. Pairs are (i, i + dims/2) within a head ("halves"); converters
 * permute rows of families that pair neighbours. The tensor rope_frequencies with layer = index of
 * this record holds float[dims / 2]; with SLM_ROPE_LONG rope_long_frequencies does too. */
struct slm_rope_traits {
    uint32_t dims;            /* leading dimensions of a head that rotate; even */
    uint32_t scaling;         /* enum slm_rope_scaling */
    float magnitude;          /* multiplies cos and sin (YaRN's attention factor); 1: none */
    float base;               /* theta, which SLM_ROPE_DYNAMIC needs; else for people, 0: unknown */
    float factor;             /* for SLM_ROPE_DYNAMIC */
    uint32_t original_context;/* for SLM_ROPE_DYNAMIC and SLM_ROPE_LONG */
    uint32_t reserved[6];     /* 0 */
};

#define SLM_NO_ROPE 0xFFFFFFFFu

/* A whole traits section: slm_traits, slm_layer_traits[n_layers], slm_rope_traits[n_ropes],
 * aligned to 4. `offset` is where it stands in its file; messages name the byte. Errors:
 * SLM_EFORMAT, SLM_EVERSION, SLM_EUNSUPPORTED, SLM_ELIMIT. */
int slm_traits_check(const void *section, uint64_t length, uint64_t offset);

_Static_assert(sizeof(struct slm_traits) == 128, "as in docs/format.md");
_Static_assert(sizeof(struct slm_layer_traits) == 96, "as in docs/format.md");
_Static_assert(sizeof(struct slm_rope_traits) == 48, "as in docs/format.md");

#endif
