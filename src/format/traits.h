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

#include <stdint.h>

enum slm_norm { SLM_NORM_RMS = 1 };          /* y = w * x / sqrt(mean(x^2) + eps) */
enum slm_position { SLM_POSITION_NONE = 0, SLM_POSITION_ROPE = 1 };
enum slm_ffn { SLM_FFN_GATED = 1 };          /* down(act(gate(x)) * up(x)) */
enum slm_activation { SLM_ACT_SILU = 1 };    /* x / (1 + exp(-x)) */
enum slm_rope_scaling {
    SLM_ROPE_TABLE = 0,  /* inverse frequencies stand in the file, scaling included */
    SLM_ROPE_DYNAMIC = 1 /* beyond original_context the base grows with the position (dynamic NTK) */
};

/* For the whole model: 128 bytes. */
struct slm_traits {
    uint32_t n_layers;
    uint32_t dim;             /* residual width */
    uint32_t n_vocab;
    uint32_t max_context;     /* positions trained for; 0: unknown */
    uint32_t norm;            /* enum slm_norm */
    float norm_eps;
    uint32_t position;        /* enum slm_position */
    uint32_t n_ropes;         /* rope records that follow */
    uint32_t ffn;             /* enum slm_ffn */
    uint32_t activation;      /* enum slm_activation */
    float embedding_scale;    /* multiplies the embedding; 1: none */
    float residual_scale;     /* multiplies what each block adds; 1: none */
    float logit_scale;        /* multiplies the logits; 1: none */
    uint32_t reserved[19];    /* 0 */
};

/* One a layer: 48 bytes. Layers may differ (pruned models, local and global attention). */
struct slm_layer_traits {
    uint32_t n_heads;
    uint32_t n_kv_heads;      /* divides n_heads */
    uint32_t head_dim;
    uint32_t ffn_dim;
    uint32_t window;          /* positions that attention looks back, itself included; 0: all */
    uint32_t rope;            /* index of a rope record; 0xFFFFFFFF: this layer has none */
    float attention_scale;    /* multiplies q.k before the softmax; usually 1/sqrt(head_dim) */
    uint32_t reserved[5];     /* 0 */
};

/* One a rope variant: 48 bytes. Pairs are (i, i + dims/2) within a head ("halves"); converters
 * permute rows of families that pair neighbours. The tensor rope_frequencies with layer = index of
 * this record holds float[dims / 2]. */
struct slm_rope_traits {
    uint32_t dims;            /* leading dimensions of a head that rotate; even */
    uint32_t scaling;         /* enum slm_rope_scaling */
    float magnitude;          /* multiplies cos and sin (YaRN's attention factor); 1: none */
    float base;               /* for SLM_ROPE_DYNAMIC: theta; else not used, as the next two */
    float factor;             /* for SLM_ROPE_DYNAMIC */
    uint32_t original_context;/* for SLM_ROPE_DYNAMIC */
    uint32_t reserved[6];     /* 0 */
};

#define SLM_NO_ROPE 0xFFFFFFFFu

/* A whole traits section: slm_traits, slm_layer_traits[n_layers], slm_rope_traits[n_ropes],
 * aligned to 4. `offset` is where it stands in its file; messages name the byte. Errors:
 * SLM_EFORMAT, SLM_EVERSION, SLM_EUNSUPPORTED, SLM_ELIMIT. */
int slm_traits_check(const void *section, uint64_t length, uint64_t offset);

_Static_assert(sizeof(struct slm_traits) == 128, "as in docs/format.md");
_Static_assert(sizeof(struct slm_layer_traits) == 48, "as in docs/format.md");
_Static_assert(sizeof(struct slm_rope_traits) == 48, "as in docs/format.md");

#endif
