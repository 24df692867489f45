/*
 * text.h - text to tokens and back, over a tokenizer section that is ready to use as mapped.
 *
 * struct slm_text is a view: pointers into the section and nothing else; opening one allocates
 * nothing and copies nothing. All functions are pure in it, so any number of threads may share it.
 */
#ifndef SLM_TEXT_TEXT_H
#define SLM_TEXT_TEXT_H

#include "base/buf.h"

struct slm_text; /* text/tokenizer.h has the fields */

/* Check the section and point into it. Errors: SLM_EFORMAT, SLM_EVERSION. */
int slm_text_open(struct slm_text *text, const void *section, size_t length, uint32_t n_vocab);

/* Tokens needed; at most cap are written. flags: slm_text_flags. opaque[n_opaque] are ranges
 * {begin, end} of bytes, ascending, in which no special token is recognised even under
 * SLM_TEXT_PARSE_SPECIAL (text that a user wrote). Memory comes from `a`, bounded by O(n). */
struct slm_range {
    uint32_t begin, end;
};
int64_t slm_text_encode(const struct slm_text *text, const char *input, size_t n, unsigned flags,
                        const struct slm_range *opaque, size_t n_opaque, slm_token *out, size_t cap,
                        const slm_allocator *a);

/* The same of two texts, which become what the model makes of a pair: SLM_TEXT_ADD_SPECIAL is meant
 * in any case, and nothing is opaque. *n_first gets how many of the tokens are of type 0; those of
 * type 1 follow. SLM_EUNSUPPORTED: the section does not say how. */
int64_t slm_text_encode_pair(const struct slm_text *text, const char *const input[2], const size_t n[2],
                             unsigned flags, slm_token *out, size_t cap, size_t *n_first,
                             const slm_allocator *a);

/* How many of the n tokens of a pair are of type 0, when those of its second text begin at `second`. */
size_t slm_text_pair_first(const struct slm_text *text, size_t second, size_t n);

/* Bytes of one token as they appear in a text (special tokens: their own text). Points into the
 * section. NULL when out of range. */
const char *slm_text_token(const struct slm_text *text, slm_token token, size_t *n);

/* The streaming detokenizer: a value, no allocation. Feeding it tokens gives whole UTF-8. */
struct slm_decoder {
    const struct slm_text *text;
    unsigned flags;
    uint8_t held[4];   /* the beginning of a character that is not complete yet */
    uint8_t n_held;
    bool at_start;     /* nothing has come out yet: SentencePiece drops one leading space there */
};
void slm_decoder_init(struct slm_decoder *decoder, const struct slm_text *text, unsigned flags);
/* Append what is complete to `out`. SLM_EINVAL: id out of range. */
int slm_decoder_push(struct slm_decoder *decoder, slm_token token, struct slm_buf *out);
/* The end: what is held comes out as U+FFFD. */
int slm_decoder_finish(struct slm_decoder *decoder, struct slm_buf *out);

/* Special ids; SLM_TOKEN_NONE where there is none. */
slm_token slm_text_bos(const struct slm_text *text);
slm_token slm_text_eos(const struct slm_text *text);
slm_token slm_text_named(const struct slm_text *text, int name); /* enum slm_text_named */
bool slm_text_is_stop(const struct slm_text *text, slm_token token);

#endif
