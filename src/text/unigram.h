/*
 * unigram.h - SentencePiece's other way to encode a piece: the tokens with the best sum of scores.
 */
#ifndef SLM_TEXT_UNIGRAM_H
#define SLM_TEXT_UNIGRAM_H

#include "text/merge.h"

/* Work space, used again for every piece; four bytes for each of the longest one. */
struct slm_unigram {
    const struct slm_text *text;
    const slm_allocator *allocator;
    struct slm_buf tokens; /* uint32_t[n + 1]: the token that ends at a byte */
    struct slm_buf ring;   /* double[power of two]: the best sum up to the next bytes */
    double sum;            /* of what came before in the same piece, when that is cut */
};

void slm_unigram_init(struct slm_unigram *u, const struct slm_text *text, const slm_allocator *a);
void slm_unigram_free(struct slm_unigram *u);

/* Encode data[n], valid UTF-8, and add its score to u->sum. */
int slm_unigram(struct slm_unigram *u, const uint8_t *data, size_t n, struct slm_token_sink *sink);

#endif
