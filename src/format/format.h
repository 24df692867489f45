/*
 * format.h - the .slm file: bytes and length in, a validated directory out; and its writer.
 *
 * Byte for byte in docs/format.md. In short:
 *
 *     header      64 bytes
 *     directory   one entry of 32 bytes a section, in the order of the file
 *     sections    each aligned to 64: traits, tokenizer, template, metadata, data, tensors
 *
 * The reader is pure: it looks at bytes, allocates nothing and never touches the weights' values.
 * What it accepts is safe to index: every offset, length, count and shape was checked against
 * the file's length, against the limits in base/limits.h and against the traits.
 */
#ifndef SLM_FORMAT_FORMAT_H
#define SLM_FORMAT_FORMAT_H

#include "base/buf.h"
#include "format/traits.h"

#define SLM_FILE_MAGIC "\x89SLM\r\n\x1a\n" /* 8 bytes; as in PNG, it catches text-mode transfers */
#define SLM_FILE_MAJOR 1
#define SLM_FILE_MINOR 0
#define SLM_FILE_ALIGN 64

struct slm_file_header {     /* 64 bytes */
    uint8_t magic[8];
    uint16_t major, minor;   /* a newer minor is readable, a newer major is refused */
    uint32_t n_sections;
    uint64_t length;         /* of the whole file */
    uint64_t directory_hash; /* XXH64 of header (this field as 0) and directory */
    uint8_t reserved[32];    /* 0 */
};

enum slm_section {
    SLM_SECTION_TRAITS = 1,    /* slm_traits, slm_layer_traits[n_layers], slm_rope_traits[n_ropes] */
    SLM_SECTION_TOKENIZER = 2, /* see text/text.h; optional */
    SLM_SECTION_TEMPLATE = 3,  /* the chat template's source, UTF-8; optional */
    SLM_SECTION_METADATA = 4,  /* u32 count, u32 0, then {u32 key_length, value_length, key NUL value NUL}... */
    SLM_SECTION_TENSORS = 5,   /* slm_tensor_entry[], in the order of their data */
    SLM_SECTION_DATA = 6,      /* the weights, one after the other, each padded to 64 bytes */
    SLM_SECTION_SIGNATURE = 7  /* reserved; skipped by this version */
};

struct slm_section_entry {   /* 32 bytes */
    uint32_t kind;           /* unknown kinds are skipped */
    uint32_t reserved;       /* 0 */
    uint64_t offset;         /* from the start of the file, a multiple of 64 */
    uint64_t length;
    uint64_t hash;           /* XXH64 of the section; 0 for DATA, where each tensor has its own */
};

/* What a weight is for. The value stands in files: never renumber. */
enum slm_role {
    SLM_ROLE_EMBEDDING = 1,    /* matrix [n_vocab][dim]; also the head when there is none */
    SLM_ROLE_HEAD = 2,         /* matrix [n_vocab][dim] */
    SLM_ROLE_HEAD_BIAS = 3,    /* vector [n_vocab] */
    SLM_ROLE_FINAL_NORM = 4,   /* vector [dim] */
    SLM_ROLE_ROPE_FREQUENCIES = 5, /* vector [dims / 2], layer = rope index */
    SLM_ROLE_FINAL_NORM_BIAS = 6,
    SLM_ROLE_EMBEDDING_NORM = 7, /* vector [dim] */
    SLM_ROLE_EMBEDDING_NORM_BIAS = 8,
    SLM_ROLE_POSITION_EMBEDDING = 9,     /* matrix [n_positions][dim] */
    SLM_ROLE_ROPE_LONG_FREQUENCIES = 10, /* as rope_frequencies, for SLM_ROPE_LONG */
    SLM_ROLE_TOKEN_TYPE_EMBEDDING = 11,  /* matrix [n_token_types][dim] */

    SLM_ROLE_ATTN_NORM = 16,   /* vector [dim] */
    SLM_ROLE_ATTN_Q = 17,      /* matrix [n_heads * head_dim][dim] */
    SLM_ROLE_ATTN_K = 18,      /* matrix [n_kv_heads * head_dim][dim] */
    SLM_ROLE_ATTN_V = 19,      /* matrix [n_kv_heads * head_dim][dim] */
    SLM_ROLE_ATTN_OUT = 20,    /* matrix [dim][n_heads * head_dim] */
    SLM_ROLE_ATTN_Q_BIAS = 21, /* vectors as long as their matrix has rows */
    SLM_ROLE_ATTN_K_BIAS = 22,
    SLM_ROLE_ATTN_V_BIAS = 23,
    SLM_ROLE_ATTN_OUT_BIAS = 24,
    SLM_ROLE_ATTN_NORM_BIAS = 25, /* biases of norms: as long as their weights */
    SLM_ROLE_ATTN_POST_NORM = 26, /* vector [dim] */
    SLM_ROLE_ATTN_POST_NORM_BIAS = 27,
    SLM_ROLE_ATTN_Q_NORM = 28,    /* vector [n_heads * head_dim] */
    SLM_ROLE_ATTN_Q_NORM_BIAS = 29,
    SLM_ROLE_ATTN_K_NORM = 30,    /* vector [n_kv_heads * head_dim] */
    SLM_ROLE_ATTN_K_NORM_BIAS = 31,
    SLM_ROLE_ATTN_SLOPES = 32,    /* vector [n_heads] */
    SLM_ROLE_ATTN_SUM_NORM = 33,  /* vector [dim] */
    SLM_ROLE_ATTN_SUM_NORM_BIAS = 34,
    SLM_ROLE_ATTN_SINKS = 35,     /* vector [n_heads] */

    SLM_ROLE_FFN_NORM = 48,    /* vector [dim] */
    SLM_ROLE_FFN_GATE = 49,    /* matrix [ffn_dim][dim] */
    SLM_ROLE_FFN_UP = 50,      /* matrix [ffn_dim][dim] */
    SLM_ROLE_FFN_DOWN = 51,    /* matrix [dim][ffn_dim] */
    SLM_ROLE_FFN_GATE_BIAS = 52,
    SLM_ROLE_FFN_UP_BIAS = 53,
    SLM_ROLE_FFN_DOWN_BIAS = 54,
    SLM_ROLE_FFN_NORM_BIAS = 55,
    SLM_ROLE_FFN_POST_NORM = 56, /* vector [dim] */
    SLM_ROLE_FFN_POST_NORM_BIAS = 57,
    SLM_ROLE_FFN_SUM_NORM = 58,  /* vector [dim] */
    SLM_ROLE_FFN_SUM_NORM_BIAS = 59,
    SLM_ROLE_ROUTER = 60,      /* matrix [n_experts][dim] */
    SLM_ROLE_ROUTER_BIAS = 61,
    SLM_ROLE_SHARED_GATE = 62, /* matrix [1][dim] */
    /* One expert under the other, each filled up to a multiple of 16 rows: so are their biases. */
    SLM_ROLE_EXPERTS_GATE = 64, /* matrix [n_experts][expert_dim][dim] */
    SLM_ROLE_EXPERTS_GATE_BIAS = 65,
    SLM_ROLE_EXPERTS_UP = 66,   /* matrix [n_experts][expert_dim][dim] */
    SLM_ROLE_EXPERTS_UP_BIAS = 67,
    SLM_ROLE_EXPERTS_DOWN = 68, /* matrix [n_experts][dim][expert_dim] */
    SLM_ROLE_EXPERTS_DOWN_BIAS = 69,

    SLM_ROLE_SCORE_DENSE = 80, /* matrix [dim][dim], of the model, as the next */
    SLM_ROLE_SCORE_DENSE_BIAS = 81,
    SLM_ROLE_SCORE_NORM = 82,  /* vector [dim] */
    SLM_ROLE_SCORE_NORM_BIAS = 83,
    SLM_ROLE_SCORE = 84,       /* matrix [n_scores][dim] */
    SLM_ROLE_SCORE_BIAS = 85,
    SLM_N_ROLES = 86           /* one above the last: tables are indexed by role */
};

/* Everything about a role that is data: one table in format/roles.c. */
struct slm_role_info {
    uint32_t role;
    const char *name;        /* "attn_q" */
    bool per_layer;          /* layer counts layers (rope_frequencies: ropes) */
    bool matrix;             /* panels of a quantized or float type; else a plain f32 vector */
    bool required;           /* where the traits have it at all: see slm_role_shape() */
    uint32_t bias;           /* role of the bias that goes with it; 0: there is none */
};
const struct slm_role_info *slm_role_info(uint32_t role); /* NULL: unknown */
/* Is the role's layer the number of a rope? */
bool slm_role_of_rope(uint32_t role);
/* Rows of one of the matrices that a role stacks, without what fills them up; 0: it stacks none. */
uint32_t slm_role_expert_rows(uint32_t role, const struct slm_traits *traits,
                              const struct slm_layer_traits *layer);
/* How many layers (or ropes) have this role; 0 when it belongs to the whole model. */
uint32_t slm_role_layers(uint32_t role, const struct slm_traits *traits);
/* The shape that the traits demand; false when the role does not exist there: no such layer, or a
 * part that the model or layer does not have. */
bool slm_role_shape(uint32_t role, uint32_t layer, const struct slm_traits *traits,
                    const struct slm_layer_traits *layers, const struct slm_rope_traits *ropes,
                    uint32_t *rows, uint32_t *cols);

#define SLM_NO_LAYER 0xFFFFFFFFu

struct slm_tensor_entry {    /* 64 bytes */
    uint32_t role;           /* enum slm_role; unknown roles are refused */
    uint32_t layer;          /* SLM_NO_LAYER when not of a layer */
    uint32_t type;           /* enum slm_type, quant/quant.h */
    uint32_t rows, cols;     /* true shape, without padding; a vector has rows = 1 */
    uint32_t reserved0;      /* 0 */
    uint64_t offset;         /* in the file: the end of the one before, rounded up to 64 */
    uint64_t length;         /* slm_tensor_bytes(type, rows, cols) */
    uint64_t hash;           /* XXH64 of the bytes */
    uint64_t reserved[2];    /* 0 */
};

/* Bytes of a matrix in panels (rows padded to 16, columns to 32) or of a vector. false: it does
 * not fit 64 bits, the type is unknown, or it is not the one type (f32) and row of a vector. */
bool slm_tensor_bytes(bool matrix, uint32_t type, uint32_t rows, uint32_t cols, uint64_t *bytes);

/* A validated file; every pointer points into the caller's bytes. */
struct slm_file {
    const uint8_t *data;
    uint64_t length;
    const struct slm_traits *traits;
    const struct slm_layer_traits *layers;  /* [n_layers] */
    const struct slm_rope_traits *ropes;    /* [n_ropes] */
    const struct slm_tensor_entry *tensors; /* [n_tensors] */
    uint32_t n_tensors;
    const uint8_t *tokenizer;               /* NULL: none */
    uint64_t tokenizer_length;
    const char *chat_template;              /* NULL: none; not NUL-terminated */
    uint64_t chat_template_length;
    const uint8_t *metadata;                /* the section; NULL: none */
    uint64_t metadata_length;
    uint32_t n_metadata;
};

/* The i-th line of what a model is made of, in words: "norms", "RMSNorm, epsilon 1e-05: before..."
 * into value[size]. false past the last. */
bool slm_traits_describe(const struct slm_file *file, size_t i, const char **name, char *value,
                         size_t size);

/* Least and most of a field of n layers' traits, a u32 at `offset`, over layers where it is not 0. */
struct slm_extent {
    uint32_t least, most;
};
struct slm_extent slm_layer_extent(const struct slm_layer_traits *layers, uint32_t n, size_t offset);

/* data must be aligned to 64. Checks the hashes of all sections but TOKENIZER and DATA (those are
 * slm_file_verify's). On an error *file is all zero. Messages name the byte, not the path: who
 * knows it puts it in front with slm_fail_in(). Errors: SLM_EFORMAT, SLM_EVERSION,
 * SLM_EUNSUPPORTED, SLM_ELIMIT; SLM_EINVAL: data is not aligned. */
int slm_file_parse(struct slm_file *file, const void *data, uint64_t length);

/* Every byte of a parsed file: it has a hash that matches, or is padding and zero. Returns 0,
 * SLM_EFORMAT (the message names the section or tensor) or SLM_EINTR. progress may be NULL. */
int slm_file_verify(const struct slm_file *file, slm_progress_fn progress, void *user);

/* What a file that is no .slm seems to be, with the remedy; static text for messages. NULL: nothing
 * that is known. */
const char *slm_foreign_file(const uint8_t *data, uint64_t length);

/* The tensor, or NULL. Linear: whoever wants all of them walks file->tensors once. */
const struct slm_tensor_entry *slm_file_tensor(const struct slm_file *file, uint32_t role, uint32_t layer);

/* The i-th pair, both NUL-terminated; false past the last. */
bool slm_file_metadata(const struct slm_file *file, uint32_t i, const char **key, const char **value);

/* The writer streams: sections first, then tensors in any order, one at a time, each in pieces.
 * Nothing appears under `path` before slm_writer_finish(); until then the bytes are in a temporary
 * file beside it, which slm_writer_free() removes. Finish writes the directories, syncs the file,
 * has slm_file_parse() read it, renames it and syncs the folder: what comes out can be opened.
 * Every SLM_EIO message names the path and what the system said. After a failure every call but
 * slm_writer_free() returns the same code again. */
struct slm_writer;
int slm_writer_new(struct slm_writer **out, const char *path);
/* A whole section, copied to the file at once. TRAITS is needed; METADATA, TENSORS and DATA are
 * the writer's own. An empty section is not written. */
int slm_writer_section(struct slm_writer *w, uint32_t kind, const void *data, uint64_t length);
/* Bytes that are not UTF-8 become U+FFFD. A key that was given before: SLM_EINVAL. */
int slm_writer_metadata(struct slm_writer *w, const char *key, const char *value);
/* Begin a tensor; its slm_tensor_bytes() must then be written before the next begins. For reading
 * ahead to help, write them in the order in which they are used: embedding, layer by layer, head. */
int slm_writer_tensor(struct slm_writer *w, uint32_t role, uint32_t layer, uint32_t type,
                      uint32_t rows, uint32_t cols);
int slm_writer_write(struct slm_writer *w, const void *data, uint64_t length);
uint64_t slm_writer_length(const struct slm_writer *w); /* bytes so far */
int slm_writer_finish(struct slm_writer *w);
void slm_writer_free(struct slm_writer *w); /* NULL is a no-op */

_Static_assert(sizeof(struct slm_file_header) == 64, "as in docs/format.md");
_Static_assert(sizeof(struct slm_section_entry) == 32, "as in docs/format.md");
_Static_assert(sizeof(struct slm_tensor_entry) == 64, "as in docs/format.md");

#endif
