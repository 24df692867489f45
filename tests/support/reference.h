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

#endif
