/*
 * evaluate.h - texts through a model, in every way that must give the same bits.
 *
 * Failures end the running cmocka test with the library's own message.
 */
#ifndef TESTS_SUPPORT_EVALUATE_H
#define TESTS_SUPPORT_EVALUATE_H

#include "support/models.h"

#include <slm/slm.h>

/* How a text is evaluated; zero is the default of each, as in slm_ctx_options. */
struct way {
    uint32_t cpu;    /* one SLM_CPU_ bit */
    int32_t threads; /* 0: 1 */
    int32_t kv_type;
    int32_t max_batch;
    int32_t window_tokens; /* max_window_tokens */
    size_t first; /* tokens of the first slm_eval(); 0: as the others */
    size_t chunk; /* tokens of every other; 0: all */
    uint8_t fill; /* each byte of the context's memory before anything is written there */
    size_t room; /* tokens that the context of text_logits() holds; 0: just the text */
};

/* rc must be 0. */
void must(int64_t rc);

slm_model *open_tiny(const struct tiny_model *m);

/* n pseudo-random tokens of the model; the same for the same stream. free() them. */
slm_token *make_text(const struct tiny_model *m, size_t n, uint64_t stream);

/* Room for max_tokens and rows of logits for as many; any number of sequences up to max_seqs. */
slm_ctx *make_context(slm_model *model, const struct way *way, size_t max_tokens, size_t max_seqs);

/* Append to a sequence and copy the logits of the last n_logits positions to
 * out[n_logits][n_vocab]. */
void append(slm_ctx *ctx, slm_seq *seq, const slm_token *tokens, size_t n, size_t n_logits,
            size_t n_vocab, float *out);

/* Logits of every position, [n][n_vocab], from a context of its own; free() them. */
float *text_logits(slm_model *model, const struct way *way, const slm_token *tokens, size_t n);

size_t vocab_of(const slm_model *model);

/* memcmp of rows [n][n_vocab]; on a difference the test fails, naming `what` and the position. */
void same_logits(const float *a, const float *b, size_t n, size_t n_vocab, const char *what);

#endif
