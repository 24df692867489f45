/*
 * nfc.h - Unicode's normal forms, and other mappings of single characters, from tables in the file.
 */
#ifndef SLM_TEXT_NFC_H
#define SLM_TEXT_NFC_H

#include "base/buf.h"

/* The table. A character's entry is entries[blocks[stage[c >> 7]][c & 127]]; 0 where stage[] has
 * ended. Hangul syllables follow their own rule and have none. */
struct slm_nfc {
    uint32_t n_stage; /* even */
    uint32_t n_blocks, n_entries, n_words, n_pairs;
    uint32_t ascii[4]; /* bit c: character c is mapped; for slm_nfc_map() */
    /* uint16_t stage[n_stage], blocks[n_blocks][128];
     * uint32_t entries[n_entries]: see below
     * uint32_t words[n_words]: what characters are decomposed or mapped to, each behind its length
     * uint32_t pairs[n_pairs][3]: first, second, composed; ascending */
};

#define SLM_NFC_CLASS 0xFFu /* bits 0 to 7: combining class */
#define SLM_NFC_CHANGES                                                                            \
    0x100u                    /* it may not stay as it is: decomposes for good, or may join what   \
                                 is before it */
#define SLM_NFC_WORDS_SHIFT 9 /* the rest: where in words[] its decomposition is; 0: none */
#define SLM_NFC_SELF 0xFFFFFFFFu /* in words[]: the character itself */

struct slm_nfc_view {
    const struct slm_nfc *head;
    const uint16_t *stage, *blocks;
    const uint32_t *entries, *words, *pairs;
    bool decomposed; /* the form wanted: NFD or NFKD; else NFC or NFKC */
};

/* False when the lengths contradict each other. data must be aligned to 4. */
bool slm_nfc_open(struct slm_nfc_view *view, const void *data, size_t length);

/* A stretch of text that composing may change; it begins and ends where nothing can join. */
struct slm_nfc_stretch {
    size_t begin, end;
};
/* The first one in data[from..n), valid UTF-8; false when there is none. */
bool slm_nfc_next(const struct slm_nfc_view *view, const uint8_t *data, size_t n, size_t from,
                  struct slm_nfc_stretch *stretch);
/* Append the normal form of such a stretch to out. work is scratch, reused between calls. */
void slm_nfc_compose(const struct slm_nfc_view *view, const uint8_t *data, size_t n,
                     struct slm_buf *work, struct slm_buf *out);

/* The low 8 bits of a character's entry: its combining class, or what a table has there. */
uint32_t slm_nfc_class(const struct slm_nfc_view *view, uint32_t c);

/* The first character at or behind data[from] that is mapped to something else; n: there is none.
 */
size_t slm_nfc_mapped(const struct slm_nfc_view *view, const uint8_t *data, size_t n, size_t from);
/* Append what the character at data[0..n) is mapped to, and return its length. */
size_t slm_nfc_map(const struct slm_nfc_view *view, const uint8_t *data, size_t n,
                   struct slm_buf *out);

#endif
