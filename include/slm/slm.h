/*
 * slm.h - small language models inside your own program.
 *
 * The objects, and who holds whom:
 *
 *     slm_model ----------- one .slm file: weights, vocabulary, chat template. Immutable.
 *        |  \
 *        |   slm_sampler -- how a token is chosen from logits: greedy, temperature, penalties...
 *        |
 *     slm_ctx ------------- memory and threads for evaluation: KV pages, scratch, logits.
 *        |
 *     slm_seq ------------- one text in progress: a table of KV pages. Cheap to fork and truncate.
 *
 * Encoders (BERT and its kin) have no sequences: slm_embed() and slm_score() take a context alone.
 *
 * Threads:    a model may be used by any number of threads at once.
 *             A context, with its sequences, belongs to one thread at a time; so does a sampler.
 *             From any thread come slm_ctx_interrupt(), slm_ctx_interrupt_clear() and
 *             slm_seq_free(), even while the context is busy.
 *             Different contexts never wait for one another. A model survives fork() in the
 *             child; a context, whose threads fork() does not copy, must not be touched there.
 *
 * Ownership:  whatever a function called slm_x_new, slm_x_open or slm_x_fork gave you, you free,
 *             once, in any order: what others still need stays until they are freed too. After its
 *             context a sequence is an empty handle, whose use is SLM_ESTATE. So finalizers of a
 *             garbage collector may free everything, in any order and from any thread.
 *             Text and options that you pass in are copied or used during the call only.
 *             A const pointer that you get back lives as long as the comment beside it says.
 *
 * Errors:     a function returns 0 (or a count) when it worked and a negative slm_error when it
 *             did not; slm_last_error() then says what, where and what to do about it.
 *             Nothing here ever prints, exits or aborts.
 *
 * Hello, world (complete in README.md and examples/hello.c):
 *
 *     slm_model *model;  slm_model_open(&model, "model.slm", NULL);
 *     slm_ctx *ctx;      slm_ctx_new(&ctx, model, NULL);
 *     slm_seq *seq;      slm_seq_new(&seq, ctx);
 *     slm_token ids[256];
 *     int64_t n = slm_tokenize(model, "Once upon a time", 16, SLM_TEXT_ADD_SPECIAL, ids, 256);
 *     slm_generate(seq, NULL, ids, (size_t)n, NULL, print_piece, NULL);
 *     slm_seq_free(seq);  slm_ctx_free(ctx);  slm_model_unref(model);
 *
 * Numbers:    logits are bit-identical on every CPU tier, for any number of threads, any batch
 *             and any chunking of a prompt (docs/numerics.md). Weights that are not finite, or so
 *             large that sums overflow, are not looked for: logits are then NaN or infinite, and
 *             which of them may differ from tier to tier. Nothing crashes, hangs or reads outside
 *             its memory, and other sequences keep their bits. Choosing from such logits is an
 *             error (slm_sample()), but for -infinity, which forbids a token.
 */
#ifndef SLM_SLM_H
#define SLM_SLM_H

#include <stddef.h>
#include <stdint.h>

#include <slm/version.h>

#if defined(SLM_STATIC)
#define SLM_API
#elif defined(_WIN32)
#if defined(SLM_BUILD)
#define SLM_API __declspec(dllexport)
#else
#define SLM_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define SLM_API __attribute__((visibility("default")))
#else
#define SLM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------- 1 version --- */

/* The version of the library that runs: major * 10000 + minor * 100 + patch. The macro
 * SLM_VERSION_NUMBER is the version that you compiled against. */
SLM_API int slm_version_number(void);
SLM_API const char *slm_version_string(void); /* "0.1.0"; static */

/* The kernels that this build holds, one bit each. A context picks the best tier that the CPU
 * and the operating system allow; all of them give the same bits. */
enum slm_cpu {
    SLM_CPU_C = 1 << 0,         /* plain C: any CPU, the reference */
    SLM_CPU_AVX2 = 1 << 1,      /* AVX2 + FMA + F16C */
    SLM_CPU_AVXVNNI = 1 << 2,   /* AVX2's and AVX-VNNI */
    SLM_CPU_AVX512 = 1 << 3,    /* AVX-512 F, BW, DQ, VL and VNNI */
    SLM_CPU_NEON = 1 << 4,      /* any 64-bit ARM */
    SLM_CPU_NEON_DOT = 1 << 5,  /* NEON's and dot products (FEAT_DotProd) */
    SLM_CPU_NEON_I8MM = 1 << 6  /* these and 8-bit matrix products (FEAT_I8MM) */
};

/* The tiers that this machine can run, as a set of SLM_CPU_ bits. Never 0. */
SLM_API unsigned slm_cpu_tiers(void);

/* "c", "avx2", "neon-dot"... for one SLM_CPU_ bit that this build holds; else NULL. Static. */
SLM_API const char *slm_cpu_tier_name(unsigned tier);

/* -------------------------------------------------------------------------- 2 errors --- */

enum slm_error {
    SLM_OK = 0,
    SLM_EINVAL = -1,       /* an argument is wrong: a bug in the caller */
    SLM_ENOMEM = -2,       /* the allocator returned NULL */
    SLM_EIO = -3,          /* the system refused: no such file, no permission, disk full */
    SLM_EFORMAT = -4,      /* the file is damaged or not what it claims to be */
    SLM_EVERSION = -5,     /* the file needs another version of the library, mostly a newer one */
    SLM_ELIMIT = -6,       /* larger than the context, or than a limit of the library */
    SLM_ENOSPACE = -7,     /* the context has no free KV page: other sequences hold them */
    SLM_ESTATE = -8,       /* not possible in the object's present state */
    SLM_EINTR = -9,        /* slm_ctx_interrupt(), or a callback asked to stop */
    SLM_EUNSUPPORTED = -10 /* well-formed, but this library can't do it */
};

/* A short English name for a code ("out of memory"); static, never NULL. */
SLM_API const char *slm_strerror(int code);

/* What went wrong in the last call of this thread that failed: a sentence that names the thing,
 * the place and, where there is one, the remedy. Empty before the first failure. Valid until the
 * next failing call of the same thread. */
SLM_API const char *slm_last_error(void);

/* For libraries and bindings on top of this one: store a message for slm_last_error(), of which
 * 1023 bytes are kept, and return code. message NULL: "". */
SLM_API int slm_set_last_error(int code, const char *message);

/* --------------------------------------------------------------------------- 3 hooks --- */

/* Where memory comes from. alloc returns `size` bytes aligned to `align` (a power of two, at
 * least 16), or NULL; free gets the same size back. Both are called from the thread that calls the
 * library, never from its workers. That may be any thread: a model's are called by every thread
 * that uses the model, a context's and a team's free by whoever frees the last of what belongs
 * together (a context and its sequences; a team and its contexts). So they must be safe for several
 * at once unless one thread does all of that. Copied; `user` must outlive the object it was given
 * to, a context's also the sequences, a team's also the contexts. */
typedef struct slm_allocator {
    void *(*alloc)(void *user, size_t size, size_t align);
    void (*free)(void *user, void *p, size_t size);
    void *user;
} slm_allocator;

enum slm_log_level { SLM_LOG_INFO = 0, SLM_LOG_WARNING = 1 };

/* Gets one line without a newline. There is no log unless you give one. */
typedef void (*slm_log_fn)(void *user, int level, const char *message);

/* Called now and then during long work with what is done of what, in bytes. Return 0 to go on,
 * anything else to stop: the work then ends with SLM_EINTR and leaves nothing behind. */
typedef int (*slm_progress_fn)(void *user, uint64_t done, uint64_t total);

/* --------------------------------------------------------------------------- 4 model --- */

typedef int32_t slm_token;
#define SLM_TOKEN_NONE ((slm_token)-1)

/* A loaded .slm file. Immutable, counted, shared by threads and contexts. */
typedef struct slm_model slm_model;

typedef struct slm_model_options {
    size_t size; /* sizeof(slm_model_options) */

    /* 0: map the file. Pages are read when first used and shared between processes, and opening
     *    takes milliseconds. The file must then stay as it is: if somebody truncates it while it
     *    is mapped, the operating system raises SIGBUS in the thread that touches a lost page,
     *    and no library can turn that into an error code; if somebody writes into it, weights
     *    change under way, and what the tokenizer then does is undefined: its tables were checked
     *    when the file was opened. To replace a file, write a new one and rename it over the old.
     * 1: read the file into memory first. Slower to open, twice the memory where several
     *    processes share a model, immune to changes of the file. */
    int copy;

    const slm_allocator *allocator; /* NULL: malloc */
    slm_log_fn log;                 /* NULL: silence */
    void *log_user;
} slm_model_options;

/* Open a .slm file. Everything but the weights' values is validated here (slm_model_verify()
 * checks those too). options may be NULL.
 * Returns 0, or SLM_EIO, SLM_EFORMAT, SLM_EVERSION, SLM_EUNSUPPORTED, SLM_ENOMEM, SLM_EINVAL;
 * *out is NULL then. Free with slm_model_unref(). */
SLM_API int slm_model_open(slm_model **out, const char *path, const slm_model_options *options);

/* The same from an open descriptor: `length` bytes (0: up to the end) from `offset` on, as in an
 * Android asset or a bundle. The descriptor may be closed afterwards. */
SLM_API int slm_model_open_fd(slm_model **out, int fd, uint64_t offset, uint64_t length,
                              const slm_model_options *options);

/* The same from memory, which must be aligned to 64 bytes and stay unchanged until the model is
 * gone, unless options->copy is set (then any alignment and lifetime will do). */
SLM_API int slm_model_open_memory(slm_model **out, const void *data, size_t length,
                                  const slm_model_options *options);

/* One more owner (returns model), one owner less (NULL is a no-op; contexts and samplers hold
 * their own reference, so the order of freeing does not matter). Any thread. */
SLM_API slm_model *slm_model_ref(slm_model *model);
SLM_API void slm_model_unref(slm_model *model);

typedef struct slm_info {
    size_t size;           /* sizeof(slm_info) */
    uint64_t file_size;    /* bytes */
    uint64_t n_params;     /* weights and biases; a tied embedding counts once */
    int32_t n_layers;      /* 0: the file is a vocabulary without weights. It serves section 5,
                              text, and slm_ctx_new() is SLM_EUNSUPPORTED */
    int32_t dim;           /* width of the residual stream */
    int32_t n_heads;       /* of the first layer, as the next three */
    int32_t n_kv_heads;
    int32_t head_dim;
    int32_t ffn_dim;
    int32_t n_vocab;
    int32_t max_context;   /* tokens that the model was trained for; 0: unknown */
    slm_token bos;         /* SLM_TOKEN_NONE: it has none */
    slm_token eos;
    int32_t has_tokenizer; /* 0 or 1 */
    int32_t has_template;  /* 0 or 1: slm_chat_format() works */
    int32_t is_encoder;    /* 0 or 1: it sees a text as a whole: slm_embed(), no slm_eval() */
    int32_t pooling;       /* SLM_POOL_: how it makes one vector of a text; 0: it does not say */
    int32_t unit_length;   /* 0 or 1: that vector has length 1 */
    int32_t n_scores;      /* numbers that slm_score() gives for a text; 0: it has no score head */
} slm_info;

/* Fill *info (set info->size first). Returns 0 or SLM_EINVAL. */
SLM_API int slm_model_info(const slm_model *model, slm_info *info);

/* A metadata text: "name", "architecture", "license", "source", "quantization"... NULL when the
 * file does not have it. Lives as long as the model. */
SLM_API const char *slm_model_metadata(const slm_model *model, const char *key);

/* The i-th key, in the file's order; NULL past the last. Lives as long as the model. */
SLM_API const char *slm_model_metadata_key(const slm_model *model, size_t i);

typedef struct slm_tensor_info {
    size_t size;       /* sizeof(slm_tensor_info) */
    const char *role;  /* "attn_q", "embedding"...; lives as long as the library */
    const char *type;  /* "f32", "q8", "q4a"...; likewise */
    int32_t layer;     /* -1: not of a layer */
    int32_t rows;      /* outputs; 1 for a vector. Experts stand one under the other, each filled up
                          with rows that mean nothing to a multiple of 16 */
    int32_t cols;      /* inputs, or the length of a vector */
    uint64_t offset;   /* in the file, bytes */
    uint64_t length;   /* bytes, padding included */
    int32_t rope;      /* number of a table of RoPE's frequencies, which layers share; else -1 */
} slm_tensor_info;

/* Fill *info for the i-th tensor. Returns 0, or SLM_EINVAL past the last. */
SLM_API int slm_model_tensor(const slm_model *model, size_t i, slm_tensor_info *info);

/* Dequantize one row of the i-th tensor into out[cols]. Returns 0 or SLM_EINVAL. */
SLM_API int slm_model_tensor_row(const slm_model *model, size_t i, size_t row, float *out);

typedef struct slm_trait {
    size_t size;      /* sizeof(slm_trait) */
    const char *name; /* "norms", "positions", "attention"...; lives as long as the library */
    char value[240];  /* "rotary, 64 dimensions, in 3 of 4 layers": for people, and may change */
} slm_trait;

/* The i-th line of what the model is made of, in words. Returns 0, or SLM_EINVAL past the last. */
SLM_API int slm_model_trait(const slm_model *model, size_t i, slm_trait *trait);

/* Read the whole file and compare every checksum. progress may be NULL.
 * Returns 0, SLM_EFORMAT (slm_last_error() names the tensor), or SLM_EINTR. */
SLM_API int slm_model_verify(const slm_model *model, slm_progress_fn progress, void *user);

/* ---------------------------------------------------------------------------- 5 text --- */

enum slm_text_flags {
    SLM_TEXT_ADD_SPECIAL = 1 << 0,  /* tokenize: add BOS and EOS where the model wants them */
    SLM_TEXT_PARSE_SPECIAL = 1 << 1,/* tokenize: "<|im_end|>" in the text is that token */
    SLM_TEXT_SHOW_SPECIAL = 1 << 2  /* detokenize: write special tokens instead of dropping them */
};

/* Text to token ids. text: n bytes, need not be valid UTF-8 or end with NUL. Writes at most cap
 * ids to out (NULL with cap 0 only counts) and returns how many the text has: call again with
 * more room when that exceeds cap. Linear in n. Any thread.
 * Errors: SLM_EINVAL, SLM_ELIMIT (2 GiB of text), SLM_ENOMEM, SLM_EUNSUPPORTED (no tokenizer). */
SLM_API int64_t slm_tokenize(const slm_model *model, const char *text, size_t n, unsigned flags,
                             slm_token *out, size_t cap);

/* Two texts to the ids of a pair, as classifiers of pairs and rerankers take them: with the special
 * tokens that the model puts around and between them. *n_first_tokens (may be NULL) gets how many
 * ids are of token type 0, those of type 1 follow: slm_input.n_first. Otherwise as slm_tokenize();
 * SLM_TEXT_ADD_SPECIAL changes nothing. SLM_EUNSUPPORTED: the model takes no pairs. */
SLM_API int64_t slm_tokenize_pair(const slm_model *model, const char *first, size_t n_first,
                                  const char *second, size_t n_second, unsigned flags,
                                  slm_token *out, size_t cap, size_t *n_first_tokens);

/* Token ids to text. Writes at most cap bytes (no NUL is added) and returns how many there are.
 * Bytes that are not UTF-8 become U+FFFD. Errors: SLM_EINVAL (an id out of range)... */
SLM_API int64_t slm_detokenize(const slm_model *model, const slm_token *tokens, size_t n,
                               unsigned flags, char *out, size_t cap);

/* The vocabulary's own text of one token ("Ġthe" is " the" here); *n gets its length in bytes. It
 * is not UTF-8 where a token is part of a character, and does not end with NUL: without n it is of
 * no use. NULL when the id is out of range. Lives as long as the model. */
SLM_API const char *slm_token_text(const slm_model *model, slm_token token, size_t *n);

/* Detokenizing piece by piece: what comes out is always whole UTF-8, and all pieces together
 * equal slm_detokenize() of all tokens. */
typedef struct slm_text_stream slm_text_stream;
SLM_API int slm_text_stream_new(slm_text_stream **out, slm_model *model, unsigned flags);

/* Add a token; *piece and *n get the text that is complete now (n may be 0). token
 * SLM_TOKEN_NONE ends the text: what was held back comes out and the stream starts anew.
 * *piece lives until the next call. Returns 0, SLM_EINVAL or SLM_ENOMEM; after an error the token
 * was not taken. */
SLM_API int slm_text_stream_push(slm_text_stream *stream, slm_token token, const char **piece,
                                 size_t *n);
SLM_API void slm_text_stream_free(slm_text_stream *stream);

/* One message of a conversation, NUL-terminated UTF-8. */
typedef struct slm_message {
    size_t size;      /* sizeof(slm_message); the same in all messages of an array */
    const char *role; /* "system", "user", "assistant"... */
    const char *content;
} slm_message;

typedef struct slm_chat_options {
    size_t size; /* sizeof(slm_chat_options) */

    int no_generation_prompt; /* 0: end with the start of the assistant's answer */

    /* More variables for the template, a JSON object: {"enable_thinking": false}. NULL: none. */
    const char *variables_json;

    /* The conversation as JSON, for tools and multi-part content: an array of message objects as
     * in the OpenAI API, each with its role if the template has that word. When given, `messages`
     * must be NULL. NULL: none. A byte order mark at the start of any of these texts is skipped. */
    const char *messages_json;
    const char *tools_json; /* an array of tool definitions, or NULL */

    /* Jinja source of another template than the model's own. NULL: the model's. With it
     * slm_chat_format() needs no model (NULL); variables_json may then hold bos_token and so on. */
    const char *template_source;
} slm_chat_options;

/* Render the model's own chat template, or that of the options. Writes at most cap bytes (no NUL)
 * and returns how many there are. Errors: SLM_EUNSUPPORTED (no template), SLM_EINVAL (the template
 * refuses: its own message), SLM_EFORMAT (the template is broken: line and column), SLM_ELIMIT. */
SLM_API int64_t slm_chat_format(const slm_model *model, const slm_message *messages, size_t n,
                                const slm_chat_options *options, char *out, size_t cap);

/* The same, to tokens: what the template writes may be special, what the messages hold never is,
 * so nobody can end a turn by writing "<|im_end|>", nor a thought by writing "</think>" where the
 * template in use, or the model's own, has that token. Returns the number of ids. */
SLM_API int64_t slm_chat_tokenize(const slm_model *model, const slm_message *messages, size_t n,
                                  const slm_chat_options *options, slm_token *out, size_t cap);

/* ------------------------------------------------------------------------- 6 context --- */

/* Threads for evaluation. A context makes its own unless it is given a team; contexts of a process
 * may share one. It serves one of them at a time, and nobody waits: who finds it busy computes
 * alone, in the calling thread. Results are the same bits either way. Idle threads sleep. */
typedef struct slm_team slm_team;

/* Runs part(arg, 0) to part(arg, n - 1), each once, in any order, on any threads, and returns when
 * all of them have: a loop is enough, a host's thread pool is what it is for. */
typedef void (*slm_parallel_fn)(void *user, int32_t n, void (*part)(void *arg, int32_t i),
                                void *arg);

typedef struct slm_team_options {
    size_t size;          /* sizeof(slm_team_options) */
    int32_t n_threads;    /* the calling one included; 0: the performance cores that the process may
                             use (affinity and cgroup quota respected; hardware threads of a core
                             count once) */
    slm_parallel_fn parallel_for; /* NULL: threads of its own. Else these run n_threads parts at a
                                     time, some hundred times a token; several calls at once when
                                     several contexts share the team */
    void *user;                     /* for parallel_for */
    const slm_allocator *allocator; /* NULL: malloc */
} slm_team_options;

/* Make a team. options may be NULL. Errors: SLM_EINVAL, SLM_ELIMIT, SLM_ENOMEM, SLM_EIO (no thread
 * to be had). Free with slm_team_free(), at any time: contexts hold a reference of their own. */
SLM_API int slm_team_new(slm_team **out, const slm_team_options *options);
SLM_API void slm_team_free(slm_team *team);

/* Memory and threads for evaluation. Takes all of its memory when it is made. */
typedef struct slm_ctx slm_ctx;

enum slm_kv_type {
    SLM_KV_F16 = 0, /* keys and values in half precision: the default */
    SLM_KV_F32 = 1, /* for exact comparisons */
    SLM_KV_Q8 = 2   /* 8 bits and a scale for every 32 numbers: half the memory of f16, and faster
                       after long texts; almost as good (docs/numerics.md) */
};

typedef struct slm_ctx_options {
    size_t size;          /* sizeof(slm_ctx_options) */
    int32_t n_threads;    /* of a team of its own, as in slm_team_options */
    slm_team *team;       /* NULL: a team of its own. Else n_threads must be 0 */
    int32_t max_tokens;   /* KV positions that are stored, all sequences together; 0: the smaller of
                             the model's max_context and 4096. They come in pages of 32, and there
                             is a page more for each of max_seqs but one: so many fit however they
                             are spread. Of an encoder: the longest text, and how much is computed
                             together */
    int32_t max_seq_tokens; /* tokens of the longest sequence; 0: max_tokens. More than that helps
                             where all layers have sliding windows: they store less than they read.
                             Of a model with RoPE tables for short and for long texts ("longrope")
                             it chooses the one for all texts, however short: above the length that
                             the model was first trained for, the long one; logits depend on it */
    int32_t max_window_tokens; /* KV positions of layers with a sliding window, all sequences
                             together; 0: max_tokens. Less saves memory: positions that no window
                             reaches are dropped when room is needed. Raised to what one sequence
                             needs: two windows and a batch */
    int32_t max_seqs;     /* sequences alive at once, and texts that slm_embed() computes together;
                             0: 1, of an encoder 32 */
    int32_t max_batch;    /* tokens computed together; longer prompts are cut. 0: 512. An encoder
                             has no use for it, nor for the next two */
    int32_t max_logits;   /* rows of logits kept by a call; 0: max_seqs */
    int32_t kv_type;      /* SLM_KV_ */
    uint32_t cpu;         /* SLM_CPU_ bits to choose from; 0: all */
    const slm_allocator *allocator; /* NULL: the model's */
} slm_ctx_options;

/* What slm_ctx_new() with these options takes from the allocator, to the byte. (A shared team is
 * not counted; threads have stacks of their own from the operating system.) Returns bytes, or an
 * error as slm_ctx_new(). */
SLM_API int64_t slm_ctx_memory(const slm_model *model, const slm_ctx_options *options);

/* Make a context. options may be NULL. Errors: SLM_EINVAL, SLM_ENOMEM, SLM_ELIMIT, SLM_EIO (no
 * thread to be had), SLM_EUNSUPPORTED (cpu names no tier of this machine). */
SLM_API int slm_ctx_new(slm_ctx **out, slm_model *model, const slm_ctx_options *options);

/* Free the context: its threads end, its memory goes back. Sequences that were not freed are empty
 * from now on (SLM_ESTATE); their handles, some bytes each, go when the last of them is freed.
 * NULL is a no-op. Not from a callback of the context's own slm_generate(). */
SLM_API void slm_ctx_free(slm_ctx *ctx);

/* Stop the evaluation that runs now, or the next one if none does: it returns SLM_EINTR within
 * milliseconds, and its sequences are as they were. From any thread or a signal handler. */
SLM_API void slm_ctx_interrupt(slm_ctx *ctx);

/* Take an interrupt back that no evaluation has answered yet: the one that came too late for an
 * answer must not end the next. Call it before new work begins. Returns 1 if there was one, 0 if
 * not. From any thread or a signal handler; an evaluation that has already seen the interrupt ends
 * with SLM_EINTR all the same. */
SLM_API int slm_ctx_interrupt_clear(slm_ctx *ctx);

typedef struct slm_stats {
    size_t size;              /* sizeof(slm_stats) */
    uint64_t prompt_tokens;   /* evaluated in spans of more than one token */
    uint64_t decode_tokens;   /* evaluated one at a time */
    double prompt_seconds;
    double decode_seconds;
    uint64_t memory;          /* bytes taken from the allocator */
    int32_t kv_positions;     /* KV capacity in tokens, all sequences together: max_tokens */
    int32_t kv_positions_free; /* 32 for each page that no sequence has begun, kv_positions at most:
                             with those left in its last page, what a sequence can grow by. Forks
                             share a page until one of them goes on in it. Encoders keep nothing:
                             all are free */
    int32_t n_threads;
    uint32_t cpu;             /* the SLM_CPU_ bit in use */
} slm_stats;

/* Fill *stats (set stats->size first). Returns 0 or SLM_EINVAL. */
SLM_API int slm_ctx_stats(slm_ctx *ctx, slm_stats *stats);

/* ------------------------------------------------------------------------ 7 sequence --- */

/* One text in progress: which tokens were evaluated, and where their keys and values lie. */
typedef struct slm_seq slm_seq;

/* An empty sequence. SLM_ELIMIT when max_seqs are alive. Free with slm_seq_free(). */
SLM_API int slm_seq_new(slm_seq **out, slm_ctx *ctx);

/* Give the sequence up, before or after its context and from any thread: its pages are free at the
 * context's next call. NULL is a no-op. */
SLM_API void slm_seq_free(slm_seq *seq);

/* A copy that shares all pages so far; it takes microseconds, and no page until one of the two
 * goes on. */
SLM_API int slm_seq_fork(slm_seq **out, slm_seq *seq);

/* Number of tokens evaluated, or SLM_ESTATE; 0 for NULL. */
SLM_API int32_t slm_seq_length(const slm_seq *seq);

/* Forget all but the first n tokens. SLM_EINVAL when n is negative or above the length; SLM_ESTATE
 * when a sliding window would need positions that were dropped: only where max_window_tokens or
 * max_seq_tokens were set, or where sequences compete and all layers have windows. 0 is always
 * possible. */
SLM_API int slm_seq_truncate(slm_seq *seq, int32_t n);

/* ---------------------------------------------------------------------------- 8 eval --- */

/* Tokens to append to one sequence. */
typedef struct slm_span {
    size_t size; /* sizeof(slm_span); the same in all spans of an array */
    slm_seq *seq;
    const slm_token *tokens; /* [n] */
    size_t n;                /* at least 1 */
    size_t n_logits;         /* logits wanted of the last n_logits positions: 0 to n */
} slm_span;

/* Append every span to its sequence (a sequence at most once a call) and compute logits. One
 * call serves a prompt, a token, many sequences at once, or the check of drafted tokens.
 * All or nothing: on an error no sequence has changed.
 * Returns 0, SLM_EINVAL (a token out of range...), SLM_ELIMIT (a sequence would exceed
 * max_seq_tokens or what max_tokens can store, or the sum of n_logits exceeds max_logits),
 * SLM_ENOSPACE, SLM_EINTR. */
SLM_API int slm_eval(slm_ctx *ctx, const slm_span *spans, size_t n_spans);

/* Row i (0 to n_logits - 1) of a span of the last slm_eval(): float[n_vocab], valid until the
 * next slm_eval(). NULL when there is no such row. */
SLM_API const float *slm_logits(const slm_ctx *ctx, size_t span, size_t i);

/* ------------------------------------------------------------------------ 9 sampling --- */

/* How the next token is chosen. The steps run in this order: bias, penalties, top-k, top-p,
 * min-p, temperature, draw. */
typedef struct slm_sampler slm_sampler;

typedef struct slm_sampler_options {
    size_t size;             /* sizeof(slm_sampler_options) */
    float temperature;       /* 0: greedy, the most likely token (ties: the lowest id) */
    int32_t top_k;           /* 0: off */
    float top_p;             /* 0 or 1: off */
    float min_p;             /* 0: off */
    float repeat_penalty;    /* 0 or 1: off; divides positive and multiplies negative logits */
    float presence_penalty;  /* subtracted once from tokens that occurred */
    float frequency_penalty; /* subtracted for each occurrence */
    int32_t penalty_window;  /* tokens that penalties look back; 0: 64, -1: all */
    const slm_token *bias_tokens; /* [n_bias] logit bias; copied */
    const float *bias_values;     /* [n_bias] added to the logit; -INFINITY forbids */
    size_t n_bias;
    uint64_t seed; /* the same seed gives the same tokens on every machine */
    int logprobs;  /* 1: compute log probability and entropy of each choice too, which costs more
                      than a greedy choice itself; 0: both are NaN */
} slm_sampler_options;

/* options NULL: greedy. Errors: SLM_EINVAL (which option, and its range), SLM_ENOMEM. */
SLM_API int slm_sampler_new(slm_sampler **out, slm_model *model,
                            const slm_sampler_options *options);
SLM_API void slm_sampler_free(slm_sampler *sampler);

/* Back to the start: history empty, random numbers from the seed. */
SLM_API void slm_sampler_reset(slm_sampler *sampler);

typedef struct slm_choice {
    size_t size;     /* sizeof(slm_choice) */
    slm_token token;
    float logprob;   /* natural log of its probability under the model's own softmax */
    float entropy;   /* of that softmax, in nats; both NaN unless the sampler has logprobs set */
} slm_choice;

/* Choose from logits[n_vocab] and remember the choice for penalties. Fills *choice.
 * Errors: SLM_EINVAL (also a logit that is NaN or +infinity: its index is in the message),
 * SLM_ESTATE (every token is forbidden: all are -infinity). The sampler is then as it was. */
SLM_API int slm_sample(slm_sampler *sampler, const float *logits, slm_choice *choice);

/* Remember tokens that were not sampled (a prompt) for penalties. */
SLM_API int slm_sampler_accept(slm_sampler *sampler, const slm_token *tokens, size_t n);

/* The k most likely tokens of logits[n_vocab] with their log probabilities, best first, into
 * tokens[k] and logprobs[k] (ties: the lower id first). Returns how many, at most k: forbidden
 * tokens (-infinity) are left out. Errors: as slm_sample(). */
SLM_API int64_t slm_top_logprobs(const slm_model *model, const float *logits, size_t k,
                                 slm_token *tokens, float *logprobs);

/* ------------------------------------------------------------------------ 10 generate --- */

/*
 * To keep a conversation going: tokenize all messages with slm_chat_tokenize(); compare with the
 * tokens that the sequence holds (the caller keeps them: prompt and reported tokens, cut to
 * slm_seq_length()); slm_seq_truncate() to the common beginning, leaving at least one token to
 * evaluate; slm_generate() with the rest; add the answer's text as a message. When the tokens would
 * exceed the context, drop the oldest messages first. One sampler serves all turns. The command's
 * examples/slm/chat.c does this.
 */

typedef struct slm_generate_options {
    size_t size;              /* sizeof(slm_generate_options) */
    size_t max_tokens;        /* 0: until the model stops or the context is full */
    const char *const *stop;  /* [n_stop] texts that end the answer; never part of it */
    size_t n_stop;
    int ignore_stop_tokens;   /* 1: go on after EOS (for measurements) */
    int show_special;         /* 1: special tokens appear in the text */
} slm_generate_options;

/* What the callback gets: a whole number of characters of new text. */
typedef struct slm_piece {
    size_t size;
    const char *text; /* n bytes, not NUL-terminated; valid during the call */
    size_t n;         /* 0 when a token only completed part of a character */
    slm_token token;  /* SLM_TOKEN_NONE for text that was held back and comes out at the end */
    float logprob;    /* these two as in slm_choice */
    float entropy;
    const float *logits; /* [n_vocab] that it was chosen from; NULL with SLM_TOKEN_NONE */
} slm_piece;

/* Return 0 to go on, anything else to stop. */
typedef int (*slm_piece_fn)(void *user, const slm_piece *piece);

enum slm_finish {
    SLM_FINISH_STOP = 1,     /* the model ended its answer: EOS, end of turn, end of message */
    SLM_FINISH_TEXT = 2,     /* a stop text */
    SLM_FINISH_LENGTH = 3,   /* max_tokens */
    SLM_FINISH_CONTEXT = 4,  /* the context is full */
    SLM_FINISH_CALLBACK = 5  /* the callback said so */
};

/* Append tokens[n] (a prompt; at least 1) to the sequence, then choose, append and report tokens
 * until something ends it; the token that ends an answer is reported too, without text. sampler
 * NULL: greedy, without log probabilities; on_piece NULL: nobody listens. Afterwards the
 * sequence holds the prompt and every token that was reported but the last, which is the next
 * call's first if you go on. Penalties see the tokens that are generated; for a prompt's to count,
 * give them to slm_sampler_accept() first.
 * A character that a limit or an interrupt cut in two does not appear: it comes whole from a call
 * that goes on, if all its tokens are in that call's prompt. Where the model breaks one off, and
 * ends or writes something else, U+FFFD stands for it, as in slm_detokenize().
 * Returns an slm_finish, or an error as slm_eval(). After an error, SLM_EINTR too, the sequence is
 * as it was if the prompt was not complete, and otherwise holds the prompt and the reported tokens
 * but the last: slm_seq_length() tells which.
 * The callback may use the context's other sequences, but must not free ctx, seq or sampler. */
SLM_API int slm_generate(slm_seq *seq, slm_sampler *sampler, const slm_token *tokens, size_t n,
                         const slm_generate_options *options, slm_piece_fn on_piece, void *user);

/* 1 if the token ends an answer (any EOS, EOT or EOM that the model names), else 0. */
SLM_API int slm_token_is_stop(const slm_model *model, slm_token token);

/* ------------------------------------------------------------------------- 11 embed --- */

/* One text, or a pair of texts that belong together (a question and a passage, for a reranker):
 * as text, or as the tokens that it comes to, special tokens included. */
typedef struct slm_input {
    size_t size;             /* sizeof(slm_input) */
    const char *text;        /* [n] bytes; its special tokens are added, none is recognised in it */
    size_t n;
    const char *second;      /* [n_second] the other text of a pair, or NULL */
    size_t n_second;
    const slm_token *tokens; /* [n_tokens] instead of texts, at least 1; or NULL */
    size_t n_tokens;
    size_t n_first;          /* of a pair of tokens: how many belong to the first text, with the
                                special tokens behind it; 0: all */
} slm_input;

enum slm_pool {
    SLM_POOL_MODEL = 0, /* as the model was trained; slm_info has it */
    SLM_POOL_MEAN = 1,  /* the mean over all tokens, special ones included */
    SLM_POOL_FIRST = 2, /* the first token's vector: "CLS" */
    SLM_POOL_LAST = 3,  /* the last token's: what decoders are trained for */
    SLM_POOL_NONE = 4   /* a vector for each token */
};

typedef struct slm_embed_options {
    size_t size;       /* sizeof(slm_embed_options) */
    int32_t pooling;   /* SLM_POOL_ */
    int32_t normalise; /* 0: as the model was trained; 1: vectors get length 1; -1: they stay */
    int32_t truncate;  /* 1: what is too long loses tokens at its end, but not the special ones that
                          begin and end a text; of a pair, the longer text loses them first, then
                          both (as "longest_first" of tokenizer libraries). 0: it is SLM_ELIMIT */
    size_t *n_rows;    /* written, though options are const: [n] of the caller's own gets how many
                          rows of out belong to each input: 1, or with SLM_POOL_NONE its tokens. It
                          is filled when out is NULL and when cap is too small (SLM_ELIMIT), too;
                          after any other error what it holds is undefined. NULL: nobody asks */
} slm_embed_options;

/* The vectors of n inputs, with any model: an encoder sees each text as a whole, a decoder from its
 * beginning. out: float[rows][dim], where rows is n, or with SLM_POOL_NONE the number of all
 * tokens, one input after another; dim is that of slm_info. `cap` is how many rows it can take; out
 * NULL with cap 0 only counts. inputs: an array whose step is the first one's size; options may be
 * NULL.
 * A text's vector has the same bits whatever stands beside it, for any number of threads and on
 * every CPU. Nothing is kept; a decoder's texts need free sequences and pages meanwhile, one
 * sequence at least. Memory for tokens comes from the context's allocator during the call.
 * Returns rows, or SLM_EINVAL (a text without tokens; the model does not say how to pool),
 * SLM_ELIMIT (a text is longer than max_tokens or than the model's learned positions; cap is too
 * small), SLM_EUNSUPPORTED (text, and no tokenizer), SLM_ENOSPACE, SLM_ENOMEM, SLM_EINTR; what out
 * then holds is undefined. */
SLM_API int64_t slm_embed(slm_ctx *ctx, const slm_input *inputs, size_t n,
                          const slm_embed_options *options, float *out, size_t cap);

/* What the model's score head says of n inputs: out is float[n][n_scores], n_scores that of
 * slm_info. A reranker has one score, the higher the better the two texts fit; a classifier has one
 * for each label. They are as the head gives them: no sigmoid, no softmax. Of options (NULL: none)
 * only truncate and n_rows (1 each) count. Returns n, or an error as slm_embed(), SLM_EUNSUPPORTED
 * when there is no head. */
SLM_API int64_t slm_score(slm_ctx *ctx, const slm_input *inputs, size_t n,
                          const slm_embed_options *options, float *out, size_t cap);

#ifdef __cplusplus
}
#endif

#endif
