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
#include "convert/gguf.h"
#include "convert/rope.h"
#include "format/traits.h"

struct slm_config {
    const struct slm_family *family;
    uint32_t parts;  /* enum slm_part: what this model has */
    bool neighbours; /* rows of q and k come in pairs (2i, 2i + 1) */

    uint32_t n_layers, dim, n_vocab, max_context;
    uint32_t n_heads, n_kv_heads, head_dim, ffn_dim;
    double norm_eps;
    uint32_t window;               /* positions; 0: all */
    bool slides[SLM_LIMIT_LAYERS]; /* whether a layer uses the window */
    struct slm_rope_config rope;
    double rope_magnitude; /* a further factor of cos and sin; 0: none */

    /* slm_config_finish() fills these from those. */
    struct slm_traits traits;
    struct slm_layer_traits *layers; /* [n_layers] */
    struct slm_rope_traits rope_traits;
    float *frequencies; /* [rope.dims / 2] */
    const slm_allocator *allocator;
};

/* Zero-initialise the struct, read one of these, complete what only the source knows (parts,
 * n_vocab, rope.divisors), then finish. Errors: SLM_EFORMAT, SLM_EUNSUPPORTED, SLM_ELIMIT. */
int slm_config_from_json(struct slm_config *config, const struct slm_json *json);
int slm_config_from_gguf(struct slm_config *config, const struct slm_gguf *gguf);
int slm_config_finish(struct slm_config *config);
void slm_config_free(struct slm_config *config);

#endif
