/*
 * sampler.h - from logits to a token.
 *
 * The object holds settings, the history that penalties look back on, random numbers and scratch
 * memory for one choice; nothing is allocated after slm_sampler_create(). Results are the same bits
 * on every machine (sample/numbers.h, sample/random.h).
 */
#ifndef SLM_SAMPLE_SAMPLER_H
#define SLM_SAMPLE_SAMPLER_H

#include "base/alloc.h"
#include "sample/candidates.h"
#include "sample/random.h"

/* One entry of the logit bias. */
struct slm_bias {
    slm_token token;
    float value;
};

struct slm_sampler {
    slm_model *model; /* the reference that src/api took; nothing here looks at it */
    const slm_allocator *allocator;
    size_t bytes; /* of this block */
    size_t n_vocab;

    float temperature, top_p, min_p;
    size_t top_k; /* 0: off */
    float repeat_penalty, presence_penalty, frequency_penalty;
    const struct slm_bias *biases; /* [n_bias] */
    size_t n_bias;
    bool logprobs; /* somebody wants to know them */
    uint64_t seed;
    struct slm_random random;

    /* The last `window` tokens and how often each stands there. Penalties off: both NULL. */
    uint32_t *counts;  /* [n_vocab] */
    slm_token *recent; /* [window] ring; NULL: everything counts, nothing is forgotten */
    size_t window, n_recent, next_recent;

    float *adjusted;            /* [n_vocab] logits after bias and penalties; NULL: unchanged */
    struct slm_candidates pool; /* [n_vocab]; NULL arrays when greedy */
};

/* Options as in slm.h, complete and already checked (slm_sampler_check). */
int slm_sampler_create(struct slm_sampler **out, size_t n_vocab, const slm_sampler_options *options,
                       const slm_allocator *a);
void slm_sampler_destroy(struct slm_sampler *sampler); /* NULL is a no-op */

/* SLM_EINVAL names the option, what it is and what it may be. */
int slm_sampler_check(const slm_sampler_options *options, size_t n_vocab);

void slm_sampler_restart(struct slm_sampler *sampler);

/* Remember one token, which must be in range. */
void slm_sampler_remember(struct slm_sampler *sampler, slm_token token);

/* Errors: as slm_softmax_of(). An error leaves the sampler as it was. */
int slm_sampler_choose(struct slm_sampler *sampler, const float *logits, slm_choice *choice);

#endif
