/*
 * family.h - the model families that can be imported: what their sources call things.
 *
 * A family is a row of one table. It names the classes and architectures it goes by, says which
 * optional parts it has, and lists its tensors under the names of both worlds; everything else
 * about a model is read from its configuration (config.h) into traits.
 */
#ifndef SLM_CONVERT_FAMILY_H
#define SLM_CONVERT_FAMILY_H

#include "base/buf.h"

/* Parts that not every model of a family has. Hugging Face configurations say which; in GGUF the
 * tensors of the first layer do. */
enum slm_part {
    SLM_PART_ALWAYS = 0,
    SLM_PART_HEAD = 1 << 0, /* a head of its own; else the embedding serves as head */
    SLM_PART_HEAD_BIAS = 1 << 1,
    SLM_PART_QKV_BIAS = 1 << 2,
    SLM_PART_OUT_BIAS = 1 << 3,
    SLM_PART_FFN_BIAS = 1 << 4
};

/* A tensor of every layer, or of the whole model, and what sources call it; "{}" is the layer. */
struct slm_family_tensor {
    uint32_t role;    /* enum slm_role */
    uint32_t part;    /* enum slm_part: exists when the model has it */
    bool rotates;     /* rows are those of heads that RoPE rotates: their order is a convention */
    const char *hf;   /* "model.layers.{}.self_attn.q_proj.weight" */
    const char *gguf; /* "blk.{}.attn_q.weight" */
};

/* A boolean of config.json and the parts that it switches on. */
struct slm_family_switch {
    const char *key;
    uint32_t parts;
};

/* Which layers attend to a window of `sliding_window` positions only. A list "layer_types" in
 * config.json has the last word. */
enum slm_family_window {
    SLM_WINDOW_NONE,
    SLM_WINDOW_ALL, /* every layer */
    SLM_WINDOW_LATE /* with use_sliding_window: those from max_window_layers on */
};

struct slm_family {
    const char *name;             /* metadata "architecture" */
    const char *classes[4];       /* "architectures" of config.json */
    const char *architectures[4]; /* general.architecture of GGUF */
    bool gguf_neighbours;         /* GGUF rotates dimensions (2i, 2i + 1), not (i, i + dims / 2) */
    uint32_t parts;               /* parts that every model of the family has */
    struct slm_family_switch switches[4];
    enum slm_family_window window;
    uint32_t default_window; /* where config.json does not name sliding_window; 0: none */
    const struct slm_family_tensor *tensors; /* ends with role 0 */
};

/* The family with that class or architecture (n bytes), or NULL. */
const struct slm_family *slm_family_of_class(const char *name, size_t n);
const struct slm_family *slm_family_of_gguf(const char *name, size_t n);

/* Row i of the table; NULL past the last. */
const struct slm_family *slm_family_at(size_t i);

/* The answer to an unknown name: SLM_EUNSUPPORTED, with a list of those that are known. */
int slm_family_unknown_class(const char *name, size_t n);
int slm_family_unknown_gguf(const char *name, size_t n);

/* "blk.{}.attn_q.weight" for layer 7: "blk.7.attn_q.weight", into out[SLM_FAMILY_NAME]. */
enum { SLM_FAMILY_NAME = 128 };
void slm_family_name(const char *pattern, uint32_t layer, char *out);

/* Tensors that a source may have and nobody needs: buffers that are computed anyway. */
bool slm_family_ignores(const char *name, size_t n);

#endif
