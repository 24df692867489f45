/*
 * config.h - what a source says about a model, and the traits that follow from it.
 *
 * config.json and GGUF keys say the same things under different names: one table in config.c has
 * both. What neither names follows from the rest, and what can't be true is an error that names the
 * key.
 */
#ifndef SLM_CONVERT_CONFIG_H
#define SLM_CONVERT_CONFIG_H

#include "base/json.h"
#include "base/limits.h"
#include "convert/family.h"
#include "convert/rope.h"
#include "format/traits.h"
#include "source/gguf.h"

enum { SLM_CONFIG_ROPES = 2 }; /* the model's, and that of local layers where they have their own */

/* What may differ from layer to layer; 0: as the model's. */
struct slm_shape {
    uint32_t n_heads, n_kv_heads, ffn_dim;
};

struct slm_config {
    const struct slm_family *family;
    uint32_t parts;     /* enum slm_part: what this model has */
    bool neighbours;    /* rows of q and k come in pairs (2i, 2i + 1) */
    bool head_not_said; /* whether it has a head of its own, its tensors say */
    bool headless;      /* a decoder's class without a head for text */
    bool head_copies;   /* the embedding serves as head, but with a bias: it is stored once more */

    uint32_t n_layers, dim, n_vocab, max_context;
    uint32_t n_heads, n_kv_heads, head_dim, ffn_dim; /* where layers differ, the first one's */
    struct slm_shape shapes[SLM_LIMIT_LAYERS];
    uint32_t embedding_dim; /* of a narrow embedding */
    uint32_t activation;    /* enum slm_activation */
    uint32_t max_text;   /* what texts are cut to; 0: max_context */
    bool lower_case;     /* texts are, before the tokenizer sees them */
    uint32_t pooling;    /* enum slm_pooled; 0: not said */
    bool unit_length;
    uint32_t scored;     /* enum slm_pooled: what the score head reads */
    uint32_t score_activation, n_scores, n_token_types, n_separators;
    double norm_eps;
    double embedding_scale, residual_scale, logit_scale, logit_divisor; /* 0: 1 */
    double attention_scale;                                             /* 0: 1 / sqrt(head_dim) */
    double attention_cap, logit_cap;
    uint32_t n_experts, n_chosen, expert_dim; /* n_experts 0: there are none */
    uint32_t shared_dim;                /* of the block beside the experts; 0: none */
    uint32_t router;                    /* enum slm_router */
    bool dense[SLM_LIMIT_LAYERS];       /* layers that have no experts though others have */
    double gate_limit;
    bool up_plus_one;
    double slope_exponent;              /* of ALiBi: the last head's slope is 2^-this */
    double slope_scale;                 /* multiplies slopes; 0: 1 */
    uint32_t window;                    /* positions; 0: all */
    bool slides[SLM_LIMIT_LAYERS];      /* whether a layer uses the window */
    uint32_t rope_of[SLM_LIMIT_LAYERS]; /* index of ropes, or SLM_NO_ROPE */
    uint32_t n_ropes;
    struct slm_rope_config rope, local_rope; /* number 0 and 1 */
    double rope_magnitude;                   /* a further factor of cos and sin; 0: none */

    /* slm_config_finish() fills these from those. */
    struct slm_traits traits;
    struct slm_layer_traits *layers; /* [n_layers] */
    struct slm_rope_traits rope_traits[SLM_CONFIG_ROPES];
    float *frequencies[SLM_CONFIG_ROPES];      /* [rope.dims / 2] */
    float *long_frequencies[SLM_CONFIG_ROPES]; /* the same for long texts, or NULL */
    float *slopes;                             /* [n_heads] or NULL */
    float *ones;                               /* [dim]: weights that the family does not store */
    struct slm_buf factors; /* float[]: rope.divisors and rope.long_divisors, read from JSON */
    const slm_allocator *allocator;
};

/* Where to look for keys: exactly one of json and gguf is there. */
struct slm_keys {
    const struct slm_json *json;
    slm_json_node node;
    const struct slm_gguf *gguf;
    char prefix[32]; /* "llama." */
};

/* A number under one of several names, "num_attention_heads|n_head"; hf or gguf NULL: that world
 * does not have it. A true counts as 1. Returns 1 found, 0 not there (or null), or an error. */
int slm_keys_number(const struct slm_keys *keys, const char *hf, const char *gguf, double *value);

/* A list of n numbers; of GGUF, integers. Returns 1, 0 when there is no such list, or an error. */
int slm_keys_list(const struct slm_keys *keys, const char *name, uint32_t n, double *values);

/* A boolean of config.json, at its top. */
bool slm_keys_bool(const struct slm_keys *keys, const char *hf, bool missing);

/* Whether config.json has this text there. */
bool slm_keys_is(const struct slm_keys *keys, const char *hf, const char *text);

/* SLM_EUNSUPPORTED, "config.json: clip_qkv is 8; ...", when the key is there with another value. */
int slm_keys_expect(const struct slm_keys *keys, const char *hf, const char *gguf, double value);

/* The first error of two; both are computed. */
static inline int slm_first_of(int a, int b)
{
    return a ? a : b;
}

/* Zero-initialise the struct, read one of these, complete what only the source knows (parts,
 * n_vocab, rope.divisors), then finish. Errors: SLM_EFORMAT, SLM_EUNSUPPORTED, SLM_ELIMIT. */
int slm_config_from_json(struct slm_config *config, const struct slm_json *json);
int slm_config_from_gguf(struct slm_config *config, const struct slm_gguf *gguf);
int slm_config_finish(struct slm_config *config);
void slm_config_free(struct slm_config *config);

/* enum slm_part of one layer; SLM_NO_LAYER: of the model. */
uint32_t slm_config_parts(const struct slm_config *config, uint32_t layer);

/* For config.c: config_layers.c reads what differs from layer to layer, config_rope.c RoPE,
 * config_experts.c experts. */
int slm_config_experts(struct slm_config *config, const struct slm_keys *keys);
int slm_config_windows(struct slm_config *config, const struct slm_keys *keys);
int slm_config_rope(struct slm_config *config, const struct slm_keys *keys);

#endif
