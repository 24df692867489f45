/*
 * merges.h - which merge makes a token, and in which order merges go.
 */
#ifndef SLM_VOCAB_MERGES_H
#define SLM_VOCAB_MERGES_H

#include "vocab/vocab.h"

struct slm_merge_plan {
    uint8_t *splits;     /* [n_tokens]: SLM_INFO_SPLIT */
    bool *whole;         /* [n_tokens]: merging a token's own text ends in the token */
    uint32_t *ranks;     /* [n_tokens]; NULL: the rank of a token is its id */
    struct slm_buf rows; /* struct slm_text_merge[] */
    uint32_t n_tokens;
    const slm_allocator *allocator;
};

/* For the first n_tokens of the vocabulary. index: of the tokens of the model. mergeable: tokens
 * that merging may make or begin with; in models without merges all of them are whole.
 * SLM_EFORMAT: a merge makes no token. */
int slm_merge_plan(struct slm_merge_plan *plan, const struct slm_vocab *v, uint32_t n_tokens,
                   const struct slm_vocab_index *index,
                   bool (*mergeable)(const struct slm_vocab_token *));
void slm_merge_plan_free(struct slm_merge_plan *plan);

#endif
