/*
 * generate.h - the loop that turns a prompt into an answer, on the public header's verbs.
 */
#ifndef SLM_GEN_GENERATE_H
#define SLM_GEN_GENERATE_H

#include "base/error.h"
#include "text/text.h"

/* What slm_generate() was asked, checked and complete. */
struct slm_generation {
    slm_ctx *ctx;
    slm_seq *seq;
    slm_sampler *sampler;
    const struct slm_text *text; /* NULL: the model has no tokenizer; pieces are empty */
    const slm_allocator *allocator;
    slm_generate_options options;
    slm_piece_fn on_piece; /* NULL: nobody listens */
    void *user;
};

/* Returns an slm_finish or an error; see slm_generate() in slm.h. */
int slm_generate_run(const struct slm_generation *what, const slm_token *tokens, size_t n);

#endif
