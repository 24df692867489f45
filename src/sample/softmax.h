/*
 * softmax.h - what the model itself says about the next token: the best one, and the softmax over
 * all logits, before any option of the sampler changes them.
 */
#ifndef SLM_SAMPLE_SOFTMAX_H
#define SLM_SAMPLE_SOFTMAX_H

#include "base/error.h"

/* softmax(i) = e^(logits[i] - max) / sum. */
struct slm_softmax {
    float max;      /* the greatest logit */
    slm_token best; /* where it stands; the lowest id if several do */
    double sum;     /* of e^(logit - max): 1 or more */
    double log_sum;
    double entropy; /* nats */
};

/* logits[n], n at least 1. -infinity (a forbidden token) is fine. Errors: SLM_EINVAL when there is
 * a NaN or +infinity, SLM_ESTATE when all are -infinity. The same bits on every machine. */
int slm_softmax_of(struct slm_softmax *out, const float *logits, size_t n);

/* The first half of it, when nobody asks for probabilities: max and best. */
int slm_softmax_best(struct slm_softmax *out, const float *logits, size_t n);

/* Natural logarithm of the probability of a token with this logit. */
float slm_softmax_logprob(const struct slm_softmax *softmax, float logit);

#endif
