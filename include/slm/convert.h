/*
 * convert.h - bring a model into the .slm format (library libslm-convert).
 *
 * Apps that only run models need slm.h alone; this is a second library so that they can leave it
 * out. What it reads:
 *
 *     GGUF               version 2 and 3, one file
 *     Hugging Face       a directory: config.json, *.safetensors (one, or shards with an index),
 *                        tokenizer.json or another of the files that docs/format-tokenizer.md lists
 *     llama2.c           a legacy checkpoint (seven int32, then f32) with its tokenizer beside it
 *
 * Weights keep what they are wherever one of our types can hold it without loss (docs/convert.md
 * has the table); a type that you ask for is applied on the way. The source is mapped and read
 * once, so a model may be larger than the memory: at most 16 rows of one matrix are held. (While it
 * is read it must not be truncated: the operating system would raise SIGBUS.)
 *
 * The output appears under its name when it is complete, synced and checked, or not at all.
 *
 * The rules of slm.h hold here as well: 0 or a negative slm_error is returned, slm_last_error()
 * tells more, nothing is printed, no state is global, and any number of threads may convert at
 * once. It needs libslm, of the same version.
 */
#ifndef SLM_CONVERT_H
#define SLM_CONVERT_H

#include <slm/slm.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a path holds. */
enum slm_convert_kind {
    SLM_CONVERT_GGUF = 1,
    SLM_CONVERT_HF = 2,      /* a Hugging Face directory */
    SLM_CONVERT_LLAMA2C = 3  /* a llama2.c checkpoint */
};

/* slm_last_error() by the name that it had here when each library kept its own, for programs and
 * bindings of that time. */
SLM_API const char *slm_convert_last_error(void);

/* Look at the file or directory: an slm_convert_kind, or SLM_EIO (not there, not readable), or
 * SLM_EUNSUPPORTED (nothing that can be converted; the message says what it seems to be). */
SLM_API int slm_convert_detect(const char *path);

/* "GGUF", "Hugging Face", "llama2.c"; NULL for anything else. Static. */
SLM_API const char *slm_convert_kind_name(int kind);

/* One tensor of the file that was written, for a report. */
typedef struct slm_convert_tensor {
    size_t size;
    const char *source_name; /* "blk.0.attn_q.weight"; valid during the call, as the next; "" for
                                what no source stores: RoPE's frequencies, ALiBi's slopes */
    const char *source_type; /* "Q4_1"; "computed" for these */
    const char *role;        /* "attn_q"; lives as long as the library, as the next */
    const char *type;        /* "q4a" */
    int32_t layer;           /* -1: not of a layer */
    int32_t rows;            /* 1 for a vector */
    int32_t cols;
    uint64_t source_bytes;
    uint64_t bytes;          /* in the new file, padding included */
    double error;            /* root mean squared error over root mean square; 0: without loss */
} slm_convert_tensor;

typedef void (*slm_convert_report_fn)(void *user, const slm_convert_tensor *tensor);

typedef struct slm_convert_options {
    size_t size; /* sizeof(slm_convert_options) */

    /* "keep" (or NULL): the nearest of our types, without loss where there is one.
     * "f32", "f16", "bf16", "q8", "q4", "q4a": all matrices in this type. Vectors stay f32. */
    const char *type;
    const char *head_type; /* the same for embedding and head alone; NULL: as `type` */

    /* A tokenizer to take instead of what comes with the weights: a file of any kind that
     * docs/format-tokenizer.md lists, or the folder of a Hugging Face model, with its
     * tokenizer_config.json. NULL: what comes with them. "": none, a model that takes token ids
     * only. */
    const char *tokenizer;

    slm_progress_fn progress; /* bytes of the source; may stop the work. NULL: none */
    void *progress_user;
    slm_convert_report_fn report; /* called for each tensor once it is written. NULL: none */
    void *report_user;
    slm_log_fn log; /* what was understood, and what was left out. NULL: silence */
    void *log_user;
    const slm_allocator *allocator; /* NULL: malloc */

    /* Not 0: tokenizer and chat template alone, into a small file that slm_tokenize() and
     * slm_chat_format() work with. `in` is then a GGUF file with or without weights, a directory
     * that need not have any, a checkpoint, or a tokenizer's file. `type` and `head_type` change
     * nothing. */
    int vocabulary;
} slm_convert_options;

/* Convert what lies at `in` and write it to the file `out`. options may be NULL.
 * A file that stands there is replaced only if it is a .slm file.
 * Returns 0, or
 *   SLM_EIO          a file can't be read or written (no space left: nothing stays behind)
 *   SLM_EFORMAT      damaged or contradictory; the message names the key or the tensor
 *   SLM_EUNSUPPORTED architecture, weight type or option that is not known; it lists those that are
 *   SLM_EINVAL       a type that does not exist, or `out` is something else than a .slm file
 *   SLM_EINTR        progress() asked to stop
 *   SLM_ELIMIT, SLM_ENOMEM
 * slm_last_error() has the sentence. */
SLM_API int slm_convert(const char *in, const char *out, const slm_convert_options *options);

/* The i-th model class ("LlamaForCausalLM") and its family ("llama") that can be converted; false
 * (0) past the last. Both live as long as the library. */
SLM_API int slm_convert_class(size_t i, const char **name, const char **family);

typedef struct slm_convert_family {
    size_t size;        /* sizeof(slm_convert_family) */
    const char *name;   /* "gpt2": metadata "architecture" of what is converted */
    const char *models; /* published models, for people: "GPT-2, distilgpt2" */
    const char *const *classes;       /* "architectures" in config.json; ends with NULL */
    const char *const *architectures; /* general.architecture in GGUF; likewise, may be empty */
} slm_convert_family;

/* The i-th family that can be converted. Returns 0, or SLM_EINVAL past the last. All texts live as
 * long as the library. */
SLM_API int slm_convert_family_at(size_t i, slm_convert_family *family);

#ifdef __cplusplus
}
#endif

#endif
