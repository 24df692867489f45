/*
 * added.h - finding added tokens ("<|im_end|>") in a text.
 */
#ifndef SLM_TEXT_ADDED_H
#define SLM_TEXT_ADDED_H

#include "text/tokenizer.h"

/* What may be found, and where. */
struct slm_added_search {
    const struct slm_text *text;
    const struct slm_text_added_table *table;
    bool meta_space;        /* a space is U+2581: SLM_TEXT_META_SPACE */
    bool kept;              /* those with SLM_ADDED_KEPT too */
    bool special;           /* special ones too, outside of ... */
    uint8_t *markup;        /* [n_tokens], 0 to begin with: what is known of those in the chat template;
                               NULL: it is not looked at */
    const uint32_t *opaque; /* [2 * n_opaque]: begin and end of ranges, ascending */
    size_t n_opaque;
    size_t at_opaque; /* ranges before this one end before what is still to be searched */
};

struct slm_added_match {
    size_t begin, end; /* with the white space that it takes along */
    uint32_t token;
};

/* Does a template with this source write the token's text itself? White space is no markup. */
bool slm_added_is_markup(const void *source, size_t n_source, const uint8_t *text, size_t n);

/* The leftmost match in data[from..n), the longest of those; false when there is none. Matches of
 * earlier calls end at `from`. */
bool slm_added_next(struct slm_added_search *search, const uint8_t *data, size_t n, size_t from,
                    struct slm_added_match *match);

/* Bytes at data[0..n), n > 0, that SentencePiece's table of characters must not change, because they
 * are a symbol that the user defined. */
size_t slm_added_kept(const struct slm_text *text, const uint8_t *data, size_t n);

#endif
