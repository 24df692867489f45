/*
 * candidates.h - the best few of many tokens, without sorting them all.
 *
 * A list of candidates is two arrays of the caller. "Better" means a greater logit, or the same
 * logit and a lower id: no two candidates are equal, so every result here is the only one possible
 * and does not depend on how it was found.
 */
#ifndef SLM_SAMPLE_CANDIDATES_H
#define SLM_SAMPLE_CANDIDATES_H

#include "base/error.h"

#include <stdbool.h>

struct slm_candidates {
    float *logits;     /* [n] */
    slm_token *tokens; /* [n] */
    size_t n;
};

static inline bool slm_better(float a_logit, slm_token a, float b_logit, slm_token b)
{
    return a_logit > b_logit || (a_logit == b_logit && a < b);
}

/* A heap keeps either the worst candidate in element 0 (to throw it out when a better one comes)
 * or the best (to take the candidates out in order). */
enum slm_heap_order { SLM_HEAP_WORST_FIRST, SLM_HEAP_BEST_FIRST };

void slm_heap_make(struct slm_candidates *c, enum slm_heap_order order);
/* Move element 0 to the end of the list and make the heap one shorter: n counts what is left. */
void slm_heap_pop(struct slm_candidates *c, enum slm_heap_order order);

/* Fill *c (arrays of k) with the k best of logits[n], in no order but the worst first; tokens
 * with -infinity never get in. Afterwards c->n is at most k. */
void slm_top_k(struct slm_candidates *c, size_t k, const float *logits, size_t n);

/* Sort, the best first. */
void slm_candidates_sort(struct slm_candidates *c);

#endif
