/*
 * reference.h - a transformer in double precision, written from docs/format.md's traits in the
 * plainest way: no cache, no pages, no batches, one position after the other. What the library
 * computes in f32 from float weights must come close to it.
 */
#ifndef TESTS_SUPPORT_REFERENCE_H
#define TESTS_SUPPORT_REFERENCE_H

#include "format/format.h"

/* Logits [n][n_vocab] of a text's every position; free() them. */
double *reference_logits(const struct slm_file *file, const int32_t *tokens, size_t n);

/* What the head would read, [n][dim]; tokens from n_first on are of type 1. free() it. */
double *reference_hidden(const struct slm_file *file, const int32_t *tokens, size_t n, size_t n_first);

/* The file's own pooling of that, [dim], and what its score head makes of it, [n_scores]. */
double *reference_pooled(const struct slm_file *file, const double *hidden, size_t n);
double *reference_scores(const struct slm_file *file, const double *pooled);

#endif
