/*
 * candidates.c - see candidates.h. A binary heap over two parallel arrays.
 */
#include "sample/candidates.h"

#include <math.h>

/* Does element a belong above element b? */
static bool above(const struct slm_candidates *c, size_t a, size_t b, enum slm_heap_order order)
{
    bool better = slm_better(c->logits[a], c->tokens[a], c->logits[b], c->tokens[b]);
    return order == SLM_HEAP_BEST_FIRST ? better : !better;
}

static void swap(struct slm_candidates *c, size_t a, size_t b)
{
    float logit = c->logits[a];
    slm_token token = c->tokens[a];
    c->logits[a] = c->logits[b];
    c->tokens[a] = c->tokens[b];
    c->logits[b] = logit;
    c->tokens[b] = token;
}

static void sift_down(struct slm_candidates *c, size_t i, enum slm_heap_order order)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= c->n)
            return;
        if (child + 1 < c->n && above(c, child + 1, child, order))
            child++;
        if (!above(c, child, i, order))
            return;
        swap(c, i, child);
        i = child;
    }
}

void slm_heap_make(struct slm_candidates *c, enum slm_heap_order order)
{
    for (size_t i = c->n / 2; i-- > 0;)
        sift_down(c, i, order);
}

void slm_heap_pop(struct slm_candidates *c, enum slm_heap_order order)
{
    c->n--;
    swap(c, 0, c->n);
    sift_down(c, 0, order);
}

void slm_top_k(struct slm_candidates *c, size_t k, const float *logits, size_t n)
{
    size_t i = 0;
    for (c->n = 0; i < n && c->n < k; i++) {
        if (logits[i] > -INFINITY) {
            c->logits[c->n] = logits[i];
            c->tokens[c->n] = (slm_token)i;
            c->n++;
        }
    }
    slm_heap_make(c, SLM_HEAP_WORST_FIRST);
    if (c->n == 0)
        return;
    /* Ids rise, so an equal logit is worse than the one that is there. */
    for (; i < n; i++) {
        if (logits[i] > c->logits[0]) {
            c->logits[0] = logits[i];
            c->tokens[0] = (slm_token)i;
            sift_down(c, 0, SLM_HEAP_WORST_FIRST);
        }
    }
}

void slm_candidates_sort(struct slm_candidates *c)
{
    size_t n = c->n;
    slm_heap_make(c, SLM_HEAP_WORST_FIRST);
    while (c->n > 0)
        slm_heap_pop(c, SLM_HEAP_WORST_FIRST); /* the worst go to the end */
    c->n = n;
}
