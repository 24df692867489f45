/*
 * tokenizer_files.h - what tests of text/ share: small tokenizers, built from the data that the
 * golden tests use, and from scratch.
 */
#ifndef TOKENIZER_FILES_H
#define TOKENIZER_FILES_H

#include "base/bits.h"
#include "golden/golden.h"
#include "vocab/vocab.h"

struct tokenizer {
    struct slm_text text;
    struct slm_buf section;
};

static inline char *tokenizer_file(const char *name, size_t *n)
{
    char path[PATH_SIZE];
    data_path(path, "tokenizers", name);
    return read_data(path, n);
}

/* Build the vocabulary, which is freed. */
static inline void tokenizer_build(struct tokenizer *t, struct slm_vocab *v, int rc)
{
    uint32_t n = v->n_tokens;
    t->section = (struct slm_buf){0};
    if (rc == SLM_OK)
        rc = slm_vocab_build(v, n, &t->section);
    slm_vocab_free(v);
    if (rc == SLM_OK)
        rc = slm_text_open(&t->text, t->section.data, t->section.length, n);
    if (rc < 0)
        fail_msg("%s", slm_error_message());
}

/* tests/data/tokenizers/NAME.json */
static inline struct tokenizer tokenizer_json(const char *name)
{
    char file[64];
    struct slm_vocab_json files = {0};
    struct slm_vocab v;
    struct tokenizer t;
    snprintf(file, sizeof file, "%s.json", name);
    char *json = tokenizer_file(file, &files.tokenizer_length);
    files.tokenizer = json;
    slm_vocab_init(&v, NULL);
    tokenizer_build(&t, &v, slm_vocab_from_json(&v, &files));
    free(json);
    return t;
}

/* The SentencePiece vocabulary of stories260K. */
static inline struct tokenizer tokenizer_tok512(void)
{
    struct slm_vocab v;
    struct tokenizer t;
    size_t n;
    char *model = tokenizer_file("tok512.model", &n);
    slm_vocab_init(&v, NULL);
    tokenizer_build(&t, &v, slm_vocab_from_sentencepiece(&v, model, n, NULL));
    free(model);
    return t;
}

static inline void tokenizer_free(struct tokenizer *t)
{
    slm_buf_free(&t->section);
}

static inline slm_token id_of(const struct tokenizer *t, const char *text)
{
    for (uint32_t i = 0; i < t->text.n_tokens; i++) {
        size_t n;
        const char *own = slm_text_token(&t->text, (slm_token)i, &n);
        if (n == strlen(text) && memcmp(own, text, n) == 0)
            return (slm_token)i;
    }
    fail_msg("no token \"%s\"", text);
    return SLM_TOKEN_NONE;
}

#endif
