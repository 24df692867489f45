/*
 * vocab.h - what an importer knows about a tokenizer, and the builder of the section from it.
 *
 * Importers (tokenizer.json, tokenizer.model, GGUF metadata, llama2.c) fill a slm_vocab; one
 * builder turns it into the bytes that text/ uses as mapped. Whatever is particular to a format or
 * to a family ends here.
 */
#ifndef SLM_VOCAB_VOCAB_H
#define SLM_VOCAB_VOCAB_H

#include "base/buf.h"
#include "text/tokenizer.h"

struct slm_gguf;
struct slm_json;

struct slm_vocab_token {
    uint32_t text; /* offset in slm_vocab.pool: what the token stands for, as bytes */
    uint32_t length;
    uint32_t pattern, pattern_length; /* added tokens: what to look for; length 0: the text */
    double score;                     /* SentencePiece */
    uint8_t kind;                     /* enum slm_token_kind; 0: no token has this id */
    uint8_t flags;                    /* added tokens: enum slm_added_flags */
    bool added;                       /* looked for in the text before anything else */
    bool in_model;                    /* what merging may begin with or end in */
};

/* A stretch of slm_vocab.pool. */
struct slm_vocab_text {
    uint32_t text, length;
};

struct slm_vocab_normal {
    uint32_t kind, flags; /* enum slm_normal_kind */
    struct slm_vocab_text a, b;
    bool clusters; /* CHARSMAP: as Hugging Face's tokenizers apply it */
};

struct slm_vocab_step {
    struct slm_vocab_text pattern; /* see vocab/regex.h */
    uint32_t behaviour;            /* enum slm_scan_behaviour */
    uint32_t flags;                /* enum slm_scan_flags */
};

struct slm_vocab {
    uint32_t model;       /* enum slm_text_model */
    uint32_t flags;       /* enum slm_text_section_flags */
    bool raw_patterns;    /* late added tokens are looked for as they are, not normalized */
    bool meta_space;      /* the tokenizer writes spaces as U+2581; here they are spaces */
    bool by_score;        /* merges follow from scores; otherwise from the list */
    bool ignore_merges;   /* a piece that is a token is that token, whatever merging would give */
    uint32_t max_word;    /* WordPiece: see struct slm_text_header */
    bool cleanup;         /* decoding: no space before punctuation and English endings */
    double unknown_score; /* Unigram: of a character that is no token */
    struct slm_vocab_text continuation; /* WordPiece: what begins a token inside a word */
    struct slm_buf pool; /* texts, as raw bytes: a space is a space, not U+0120 or U+2581 */
    struct slm_vocab_token *tokens; /* [n_tokens] */
    uint32_t n_tokens, capacity;
    struct slm_buf merges; /* uint32_t[][2]: left and right id, best first */
    struct slm_vocab_normal normal[SLM_TEXT_MAX_STEPS];
    uint32_t n_normal;
    struct slm_vocab_step steps[SLM_TEXT_MAX_STEPS];
    uint32_t n_steps;
    uint32_t bos, eos, unknown, padding; /* or SLM_TEXT_NO_TOKEN */
    uint32_t named[SLM_NAMED_COUNT];     /* the same; BOS and EOS here are those above */
    uint32_t prefix[SLM_TEXT_MAX_AFFIX], suffix[SLM_TEXT_MAX_AFFIX], stop[SLM_TEXT_MAX_STOP];
    uint32_t n_prefix, n_suffix, n_stop;
    uint32_t pair[SLM_TEXT_MAX_AFFIX], n_pair; /* SLM_PAIR_: what two texts become */
    const char *chat_template; /* [n_template]: what it writes becomes SLM_ADDED_MARKUP; or NULL */
    size_t n_template;
    const slm_allocator *allocator;
};

void slm_vocab_init(struct slm_vocab *v, const slm_allocator *a);
void slm_vocab_free(struct slm_vocab *v);

/* Importers. Each fills an initialised vocabulary that is empty; free it whatever they return.
 * Errors: SLM_EFORMAT; SLM_EUNSUPPORTED names what it found and what there is; SLM_ENOMEM. */

/* The texts of a Hugging Face directory; NULL: not there. tokenizer is tokenizer.json, tekken.json,
 * or vocab.json with merges (merges.txt). generation_config may be config.json. */
struct slm_vocab_json {
    const char *tokenizer, *tokenizer_config, *generation_config;
    size_t tokenizer_length, tokenizer_config_length, generation_config_length;
    const char *merges, *config, *special_tokens, *added_tokens; /* ..._map.json, ....json */
    size_t merges_length, config_length, special_tokens_length, added_tokens_length;
    const char *class_tokens; /* see slm_vocab_json_of_class(); ends with NUL */
};
int slm_vocab_from_json(struct slm_vocab *v, const struct slm_vocab_json *files);

/* SentencePiece: the bytes of tokenizer.model. The two configurations as above, or NULL: BOS, EOS
 * and the stop set come from them if they name some. */
int slm_vocab_from_sentencepiece(struct slm_vocab *v, const void *data, size_t length,
                                 const struct slm_vocab_json *files);

/* vocab.json and merges.txt, as classes of transformers use them: what such a directory says becomes
 * the text of a tokenizer.json in *out; *tokens gets what special tokens are called unless a file
 * says otherwise, static JSON. vocabulary: files->tokenizer, parsed. */
int slm_vocab_json_of_class(struct slm_buf *out, const struct slm_json *vocabulary,
                            const struct slm_vocab_json *files, const char **tokens);

/* tiktoken: lines of base64 and rank; and Mistral's tekken.json, parsed. What comes before merging
 * and which tokens are special follows from how many ranks there are, and from the configurations. */
bool slm_vocab_are_ranks(const void *data, size_t n);
int slm_vocab_from_tiktoken(struct slm_vocab *v, const char *text, size_t n,
                            const struct slm_vocab_json *files);
int slm_vocab_from_tekken(struct slm_vocab *v, const struct slm_json *doc);

/* llama2.c: the bytes of tokenizer.bin; n_vocab is the checkpoint's. */
int slm_vocab_from_llama2c(struct slm_vocab *v, const void *data, size_t length, uint32_t n_vocab);

/* BERT: the text of vocab.txt, a token a line. The two configurations as above, or NULL. */
int slm_vocab_from_wordlist(struct slm_vocab *v, const char *text, size_t n,
                            const struct slm_vocab_json *files);

/* GGUF: the keys tokenizer.ggml.*. */
int slm_vocab_from_gguf(struct slm_vocab *v, const struct slm_gguf *gguf);

/* The section. n_vocab is the model's: tokens above it are left out, so that no id can be produced
 * that has no row in the embedding. out is appended to and must be empty. */
int slm_vocab_build(const struct slm_vocab *v, uint32_t n_vocab, struct slm_buf *out);

/* ------------------------------------------------------------------ for importers -------- */

/* Copy a text into the pool. On failure the pool is marked. */
struct slm_vocab_text slm_vocab_keep(struct slm_vocab *v, const void *text, size_t n);
/* Define token `id`. SLM_ELIMIT: id or text too large. */
int slm_vocab_set(struct slm_vocab *v, uint32_t id, const void *text, size_t n, uint32_t kind);
int slm_vocab_add_normal(struct slm_vocab *v, uint32_t kind, uint32_t flags, const char *a,
                         const char *b);
/* A SLM_NORMAL_MAP with rows of slm_unicode_mapping(); their buffer is freed. */
int slm_vocab_add_map(struct slm_vocab *v, uint32_t flags, struct slm_buf *rows);
/* A SLM_NORMAL_CHARSMAP with the bytes that SentencePiece calls precompiled_charsmap. */
int slm_vocab_add_charsmap(struct slm_vocab *v, const void *data, size_t n, bool clusters);
/* What SentencePiece does with spaces, behind its table: a prefix, and no more of them than needed;
 * and what its decoder does to undo that. */
int slm_vocab_add_spaces(struct slm_vocab *v, bool prefix, bool squeeze);
/* Unigram with such a table: it leaves the symbols that the user defined as they are. */
int slm_vocab_keep_symbols(struct slm_vocab *v);
int slm_vocab_add_step(struct slm_vocab *v, const char *pattern, size_t n, uint32_t behaviour,
                       uint32_t flags);
void slm_vocab_add_stop(struct slm_vocab *v, uint32_t id); /* ids out of range are ignored */

/* Append to v->pair. false: it is full. */
bool slm_vocab_add_pair(struct slm_vocab *v, const uint32_t *items, size_t n, uint32_t type);
/* The usual way: prefix A suffix, `between` n times, B suffix; what follows has the type. */
void slm_vocab_set_pair(struct slm_vocab *v, uint32_t between, uint32_t n, uint32_t type);

/* From the text of a token in GPT-2's printable alphabet to its bytes, in out[n]; 0: some
 * character is not of that alphabet. */
size_t slm_vocab_printable_bytes(const char *text, size_t n, uint8_t *out);

/* The byte that a text like <0x0A> stands for; -1: it is no such text. */
int slm_vocab_byte_token(const char *text, size_t n);

/* Base64 to bytes, appended; false: it is none. The value of one of its 64 digits, or -1. */
bool slm_vocab_base64(struct slm_buf *out, const char *text, size_t n);
int slm_vocab_base64_digit(char c);

/* U+2581, what SentencePiece writes for a space. The second makes spaces of them, in place, and
 * returns the new length. */
#define SLM_META_SPACE "\xE2\x96\x81"
uint32_t slm_vocab_plain_spaces(uint8_t *text, uint32_t n);

/* Text to id. */
struct slm_vocab_index {
    uint32_t *slots; /* [mask + 1]: id + 1, or 0 */
    uint32_t mask;
    const struct slm_vocab *vocab;
};
/* All tokens for which `in_model` is set (or all, if not only_model); the last of equal texts wins.
 */
int slm_vocab_index_init(struct slm_vocab_index *index, const struct slm_vocab *v, bool only_model);
void slm_vocab_index_free(struct slm_vocab_index *index);
uint32_t slm_vocab_find(const struct slm_vocab_index *index, const void *text, size_t n);

/* Pre-tokenizers by the name that GGUF has for them (tokenizer.ggml.pre): adds steps and
 * normalizers and sets ignore_merges. *add_bos: whether these models begin with BOS when the file
 * does not say. SLM_EUNSUPPORTED lists the known ones. */
int slm_vocab_named_steps(struct slm_vocab *v, const char *name, size_t n, bool *add_bos);

/* BERT's normalizer, and how it cuts a text into words and punctuation. */
extern const char slm_bert_pattern[];
/* What Unicode 8.0 calls punctuation, and what is left of ASCII's: the inside of a [set]. */
#define SLM_PUNCTUATION_SET "\\p{P8}$+<=>\\^`|~"
int slm_vocab_bert_normal(struct slm_vocab *v, bool clean, bool space_chinese, bool strip_accents,
                          bool lower);

/* Everything that vocabularies of BERT have in common: special tokens are those in v->named, with
 * v->unknown and v->padding; the texts stand as in vocab.txt. */
int slm_vocab_finish_bert(struct slm_vocab *v, bool strip_accents, bool lower);

/* GPT-2's pattern, which Hugging Face's ByteLevel has built in. */
extern const char slm_gpt2_pattern[];

/* BOS, EOS and the stop set as tokenizer_config.json and generation_config.json name them; what
 * they don't name stays. index: of all tokens, by the texts that the files use. */
int slm_vocab_read_configs(struct slm_vocab *v, const struct slm_vocab_json *files,
                           const struct slm_vocab_index *index, bool has_template);

#endif
