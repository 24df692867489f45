/*
 * models.h - tiny random transformers in .slm files, each with something that goes wrong easily.
 *
 * A model is described by the library's own trait records; weights come from a generator that
 * gives the same numbers on every machine, with the spread that keeps activations near 1.
 */
#ifndef TESTS_SUPPORT_MODELS_H
#define TESTS_SUPPORT_MODELS_H

#include "format/format.h"
#include "quant/quant.h"

#include <stdbool.h>

/* What most models of today have. */
#define TINY_PARTS (SLM_LAYER_ATTN_NORM | SLM_LAYER_FFN_NORM | SLM_LAYER_GATE)

enum { TINY_MAX_LAYERS = 4, TINY_MAX_ROPES = 2, TINY_MAX_TYPES = 8 };

struct tiny_model {
    const char *name;
    uint32_t dim, n_vocab, n_layers, n_ropes;
    /* attention_scale 0: 1 / sqrt(head_dim); parts 0: TINY_PARTS */
    struct slm_layer_traits layers[TINY_MAX_LAYERS];
    struct slm_rope_traits ropes[TINY_MAX_ROPES];    /* magnitude 0: 1 */
    float scales[3];                                 /* embedding, residual, logit; 0: 1 */
    uint32_t norm, activation;                       /* 0: RMS, SiLU */
    uint32_t n_positions, parts;                     /* parts: besides the final norm */
    float logit_cap;
    uint32_t types[TINY_MAX_TYPES];                  /* of the matrices in turn */
    uint32_t n_types;                                /* 0: all six */
    uint32_t router_type;                            /* 0: f32; 8 bits may choose other experts */
    bool untied, biases;
    /* Encoders, and whatever has embeddings or scores. attention 0: causal. */
    uint32_t attention, n_token_types, pooling, n_scores, score_activation, n_separators;
    bool reversed; /* tensors stand in the file from the last to the first */
    uint64_t seed;
};

/* The models of this table, up to the one with name NULL. */
extern const struct tiny_model tiny_models[];
const struct tiny_model *tiny_model_named(const char *name); /* aborts when there is none */

/* Models for slm_embed() and slm_score(), likewise: encoders, and a decoder that pools. */
extern const struct tiny_model tiny_embedders[];

/* Write the model; tokenizer[length] may be NULL. 0 or an error of the writer. */
int tiny_model_write(const struct tiny_model *model, const char *path, const char *chat_template,
                     const void *tokenizer, size_t length);

/* A new folder for this process' files, removed with everything in it at exit. */
const char *temporary_folder(void);
/* folder/name, in a static buffer that lives until the next call. */
const char *temporary_path(const char *name);

/* Write the model into the temporary folder (once for a name) and return its path. */
const char *tiny_model_path(const struct tiny_model *model);

#endif
