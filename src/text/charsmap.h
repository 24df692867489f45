/*
 * charsmap.h - the table of characters that SentencePiece models carry ("precompiled charsmap").
 */
#ifndef SLM_TEXT_CHARSMAP_H
#define SLM_TEXT_CHARSMAP_H

#include "text/nfc.h"

/* u32 bytes of a trie, the trie (a double array), then texts that end with a zero. */
struct slm_charsmap {
    const uint8_t *units; /* u32[n_units], not aligned */
    const uint8_t *texts;
    uint32_t n_units, n_texts;
};

/* What a character is to its neighbours, where one that they form is looked up as a whole: class of
 * its entry in a table of struct slm_nfc. */
enum slm_cluster_class {
    SLM_CLUSTER_OTHER = 0,
    SLM_CLUSTER_EXTEND = 1,  /* belongs to what is before it */
    SLM_CLUSTER_PREPEND = 2, /* belongs to what is behind it */
    SLM_CLUSTER_CONTROL = 3  /* stands alone */
};

/* False when the lengths contradict each other. */
bool slm_charsmap_open(struct slm_charsmap *map, const uint8_t *data, size_t length);

/* What the beginning of data[0..n), n > 0, becomes: *text, or NULL if it stays as it is. Returns
 * how many bytes that was.
 *
 * clusters NULL: the longest entry that fits, as SentencePiece has it, or the first character as it
 * is. Otherwise as Hugging Face's tokenizers do it: characters that people see as one, if they have
 * less than 6 bytes together, become what the shortest entry says that they begin with, and where
 * there is none, each by itself does so. *alone is 0 at the start of a text: how many bytes are
 * still to be looked at one by one. */
size_t slm_charsmap_next(const struct slm_charsmap *map, const struct slm_nfc_view *clusters,
                         const uint8_t *data, size_t n, size_t *alone, const char **text);

#endif
