/*
 * merge.h - byte pair encoding of one piece: merging neighbours, the best pair first.
 */
#ifndef SLM_TEXT_MERGE_H
#define SLM_TEXT_MERGE_H

#include "text/tokenizer.h"

/* Where tokens go: counted always, written as long as there is room. */
struct slm_token_sink {
    slm_token *out; /* [capacity] */
    size_t capacity;
    size_t n;
    bool after_unknown; /* the last token is the unknown one, and more of it would join it */
};

static inline void slm_sink_put(struct slm_token_sink *sink, uint32_t token)
{
    if (sink->n < sink->capacity)
        sink->out[sink->n] = (slm_token)token;
    sink->n++;
    sink->after_unknown = false;
}

/* Put out the token of a symbol, bytes[n], or what stands for it when it has none: the tokens of
 * its bytes, or the unknown token, or nothing. */
void slm_put_symbol(const struct slm_text *t, const uint8_t *bytes, size_t n, uint32_t token,
                    struct slm_token_sink *sink);

/* What merging two tokens makes. Remembered, since the same pairs come again and again. */
struct slm_merge_pair {
    uint32_t left, right;
    uint32_t merged;
    uint64_t key;
};
#define SLM_MERGE_PAIRS 2048

/* Work space, used again for every piece. It grows to a bounded size (see merge.c), whatever the
 * length of a piece. */
struct slm_merger {
    const struct slm_text *text;
    const slm_allocator *allocator;
    void *block;
    size_t block_size;
    uint32_t capacity; /* symbols */

    struct slm_merge_pair *pairs; /* [SLM_MERGE_PAIRS], each where a hash of its tokens says */
    uint64_t *powers;             /* [max_length + 1]: powers of SLM_HASH_BASE */
    uint64_t *hashes;             /* [capacity + 1]: of the first i bytes of the window */
    uint64_t *keys;   /* the tree of merge.c; its first row is [n_symbols]: key of merging with
                         the next symbol, NO_MERGE when that makes no token */
    uint32_t *tokens; /* [capacity]: of a symbol */
    uint32_t *merged; /* [capacity]: what merging with the next symbol makes */
    uint32_t *starts; /* [capacity + 1]: first byte */
    uint32_t *next;   /* [capacity]: the next symbol, n_symbols at the end */
    uint32_t *before; /* [capacity] */
};

/* Takes no memory yet: many texts consist of whole tokens. */
void slm_merger_init(struct slm_merger *m, const struct slm_text *text, const slm_allocator *a);
void slm_merger_free(struct slm_merger *m);

/* Encode data[n], valid UTF-8 and one piece. */
int slm_merge(struct slm_merger *m, const uint8_t *data, size_t n, struct slm_token_sink *sink);

#endif
