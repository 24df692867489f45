/*
 * family.h - the model families that can be imported: what their sources call things.
 *
 * A family is a row of one table (families.c). It names the classes and architectures it goes by,
 * says which parts its models have and which keys switch parts on, and lists its tensors under the
 * names of both worlds; everything else about a model is read from its configuration (config.h)
 * into traits. What no table can say is a rule: a short function beside the table.
 */
#ifndef SLM_CONVERT_FAMILY_H
#define SLM_CONVERT_FAMILY_H

#include "base/buf.h"

struct slm_config;
struct slm_keys;

/* Parts that not every model of a family, or not every family, has. */
enum slm_part {
    SLM_PART_ALWAYS = 1 << 0, /* every model of every family has it */
    SLM_PART_HEAD = 1 << 1,   /* a head of its own; else the embedding serves as head */
    SLM_PART_HEAD_BIAS = 1 << 2,
    SLM_PART_QKV_BIAS = 1 << 3,
    SLM_PART_OUT_BIAS = 1 << 4,
    SLM_PART_FFN_BIAS = 1 << 5,
    SLM_PART_NORM_BIAS = 1 << 6,
    SLM_PART_QK_NORM = 1 << 7,
    SLM_PART_FFN_NORM = 1 << 8,    /* the feed-forward block has a norm of its own, */
    SLM_PART_SHARED_NORM = 1 << 9, /* or reads what attention reads: whatever lacks the other */
    SLM_PART_TWO_NORMS = 1 << 10,  /* Falcon's names for two norms side by side */
    SLM_PART_PARALLEL = 1 << 11,   /* both blocks read the same residual stream */
    SLM_PART_TOKEN_TYPES = 1 << 12,
    SLM_PART_SCORE = 1 << 13,     /* a score head */
    SLM_PART_SUM_NORMS = 1 << 14, /* norms of the stream behind each block, where others have them
                                     before it */
    SLM_PART_NARROW = 1 << 15,    /* the embedding is narrower than the stream, */
    SLM_PART_AS_WIDE = 1 << 16,   /* or it is not */

    /* These belong to layers: see slm_config_parts(). */
    SLM_PART_DENSE = 1 << 20,   /* a feed-forward block and no experts */
    SLM_PART_EXPERTS = 1 << 21, /* experts, */
    SLM_PART_SHARED = 1 << 22,  /* and a feed-forward block beside them */

    /* GGUF has no keys for these: a model has what its first layer has. */
    SLM_PARTS_OF_TENSORS = SLM_PART_HEAD | SLM_PART_HEAD_BIAS | SLM_PART_QKV_BIAS |
                           SLM_PART_OUT_BIAS | SLM_PART_FFN_BIAS | SLM_PART_NORM_BIAS |
                           SLM_PART_QK_NORM | SLM_PART_FFN_NORM | SLM_PART_TWO_NORMS |
                           SLM_PART_SCORE
};

/* How a tensor differs from what our file wants. llama.cpp's converter has undone some of it. */
enum slm_how {
    SLM_HOW_ROTATES = 1 << 0,    /* rows are those of heads that RoPE rotates: see neighbours */
    SLM_HOW_FUSED = 1 << 1,      /* one matrix for q, k and v, or for gate and up, in this order */
    SLM_HOW_GROUPED = 1 << 2,    /* Hugging Face: q, k, v of one key-value head after another */
    SLM_HOW_TRANSPOSED = 1 << 3, /* Hugging Face: a column for each output */
    SLM_HOW_PLUS_ONE = 1 << 4,   /* Hugging Face: the weight is 1 more than what is stored */
    SLM_HOW_REPEATED = 1 << 5,   /* one weight for all heads */
    SLM_HOW_OFFSET_2 = 1 << 6,   /* the first two rows are not used */
    SLM_HOW_ONES = 1 << 7,       /* there is no such tensor: the weights are all 1 */
    SLM_HOW_NOT_FIRST = 1 << 8,  /* in all layers but the first */
    SLM_HOW_OWN_NAME = 1 << 9,   /* Hugging Face: its name has no prefix, as the head's */
    SLM_HOW_BY_HEAD = 1 << 10,   /* Hugging Face: a vector for each head */
    SLM_HOW_PRODUCT = 1 << 11,   /* of two matrices, "a*b": each row of a times b, */
    SLM_HOW_TURNED = 1 << 12,    /* or times b transposed */
    SLM_HOW_NO_ENDING = 1 << 20, /* Hugging Face: nor ".weight" behind it, and "_bias" for its bias */
    SLM_HOW_TURNS = 1 << 21      /* Hugging Face: rows of gate and up take turns in a fused matrix */
};

/* A tensor of every layer, or of the whole model, and what sources call it; "{}" is the layer, a
 * second one the expert or head: without it, all of a layer are in one tensor. Its bias, if it has
 * one, goes by the same name. */
struct slm_family_tensor {
    uint32_t role;    /* enum slm_role */
    uint32_t part;    /* exists in models with one of these parts; 0: in all */
    uint32_t bias;    /* has a bias in models with one of these parts; 0: never */
    uint32_t how;     /* enum slm_how */
    const char *hf;   /* "layers.{}.self_attn.q_proj", behind the family's prefix */
    const char *gguf; /* "blk.{}.attn_q"; NULL: the name that the role has everywhere. A matrix that
                         has one is never fused there. */
};

/* A boolean of config.json and the parts that it switches on. */
struct slm_family_switch {
    const char *key;
    uint32_t parts;
    bool missing; /* what it means when the key is not there */
};

/* Which layers attend to a window of `sliding_window` positions only. A list "layer_types" in
 * config.json has the last word. */
enum slm_family_window {
    SLM_WINDOW_NONE,
    SLM_WINDOW_ALL,     /* every layer */
    SLM_WINDOW_LATE,    /* with use_sliding_window: those from max_window_layers on */
    SLM_WINDOW_PERIODIC /* all but each period's last */
};

enum slm_family_position { SLM_FAMILY_ROPE, SLM_FAMILY_LEARNED, SLM_FAMILY_SLOPES };

struct slm_family {
    const char *name;             /* metadata "architecture" */
    const char *models;           /* published models of the family, for people */
    const char *classes[5];       /* "architectures" of config.json; the last is NULL */
    const char *architectures[5]; /* general.architecture of GGUF; likewise */
    const char *prefix; /* of its Hugging Face names but the head's; some files leave it out */
    bool hf_neighbours; /* dimensions (2i, 2i + 1) form a pair, not (i, i + dims / 2) */
    bool gguf_neighbours;
    bool encoder;   /* attention sees both sides, and there are no logits */
    bool experts;   /* its layers have experts; what else goes by its names has none */
    uint32_t router; /* enum slm_router where no key says it; 0: the chosen ones' */
    uint32_t parts; /* parts that every model of the family has */
    struct slm_family_switch switches[5];
    uint32_t norm;       /* enum slm_norm; 0: RMS */
    uint32_t activation; /* enum slm_activation where no key says it; 0: SiLU */
    bool wide_norms;     /* norms of queries and keys are over all heads */
    enum slm_family_position position;
    double norm_eps;     /* where no key says it; 0: a key must */
    double rotary;       /* share of a head that rotates where no key says it; 0: all */
    double theta;        /* RoPE's base where no key says it; 0: 10000 */
    uint32_t ffn_factor; /* ffn_dim / dim where no key says it; 0: a key must */
    enum slm_family_window window;
    uint32_t default_window; /* where config.json does not name sliding_window; 0: none */
    uint32_t period;         /* of SLM_WINDOW_PERIODIC, where no key says it */
    int (*rule)(struct slm_config *config, const struct slm_keys *keys); /* or NULL */
    const char *unused[6]; /* parts of names of tensors that need not be read */
    const struct slm_family_tensor *tensors;                             /* ends with role 0 */
};

/* The tables (families.c, families_gpt.c, families_experts.c and families_encoders.c); each ends
 * with name NULL. */
extern const struct slm_family slm_families[], slm_gpts[], slm_mixtures[], slm_encoders[];

/* The family with that class or architecture (n bytes), or NULL. Of a decoder the class without a
 * head is known too, and that with a score head: "Qwen3Model", "Qwen3ForSequenceClassification". */
const struct slm_family *slm_family_of_class(const char *name, size_t n);
const struct slm_family *slm_family_of_gguf(const char *name, size_t n, bool experts);

/* Row i of the tables together; NULL past the last. */
const struct slm_family *slm_family_at(size_t i);

/* The answer to an unknown name: SLM_EUNSUPPORTED, with a list of those that are known. */
int slm_family_unknown_class(const char *name, size_t n);
int slm_family_unknown_gguf(const char *name, size_t n);

/* What a tensor (or its bias) of a layer, and of a piece where it comes in several, is called in a
 * source: "blk.7.attn_q.weight", into out[SLM_FAMILY_NAME]. */
enum { SLM_FAMILY_NAME = 128 };
struct slm_family_names {
    const struct slm_family *family;
    bool gguf;
    bool bare; /* Hugging Face names lack the family's prefix */
    bool fused_qkv,
        fused_gate; /* what this GGUF file has as one, whatever the family's others do */
};
void slm_family_name(const struct slm_family_names *names, const struct slm_family_tensor *tensor,
                     uint32_t layer, uint32_t piece, bool bias, char *out);

/* The first row of the family's tensors with that role; NULL: there is none. */
const struct slm_family_tensor *slm_family_tensor_of(const struct slm_family *family,
                                                     uint32_t role);

/* Whether each expert, or head, has a tensor of its own. */
bool slm_family_pieces(const struct slm_family_names *names, const struct slm_family_tensor *tensor);

/* The second matrix of a product, likewise. */
void slm_family_factor(const struct slm_family_names *names, const struct slm_family_tensor *tensor,
                       char *out);

/* How a tensor of this source differs from what our file wants: enum slm_how. */
uint32_t slm_family_how(const struct slm_family_names *names,
                        const struct slm_family_tensor *tensor);

/* Tensors that a source may have and nobody needs: buffers that are computed anyway, and what the
 * family names. */
bool slm_family_ignores(const struct slm_family *family, const char *name, size_t n);

#endif
