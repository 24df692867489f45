/*
 * unicode.h - sets of characters, and what Unicode says about characters (version 16.0, pinned).
 *
 * Only conversion needs this: what a tokenizer uses of it is written into the .slm file.
 */
#ifndef SLM_VOCAB_UNICODE_H
#define SLM_VOCAB_UNICODE_H

#include "base/buf.h"

#define SLM_UNICODE_LAST 0x10FFFFu

/* A set is a sorted list of ranges that neither overlap nor touch. */
struct slm_char_range {
    uint32_t first, last; /* both inside */
};

struct slm_char_set {
    struct slm_buf ranges; /* struct slm_char_range[] */
};

static inline const struct slm_char_range *slm_set_ranges(const struct slm_char_set *set, size_t *n)
{
    *n = set->ranges.length / sizeof(struct slm_char_range);
    return (const struct slm_char_range *)(const void *)set->ranges.data;
}

/* Each leaves a proper set behind. Out of memory shows in set->ranges.failed. */
void slm_set_add(struct slm_char_set *set, uint32_t first, uint32_t last);
void slm_set_add_set(struct slm_char_set *set, const struct slm_char_set *other);
void slm_set_invert(struct slm_char_set *set);
void slm_set_intersect(struct slm_char_set *set, const struct slm_char_set *other);
bool slm_set_has(const struct slm_char_set *set, uint32_t c);
bool slm_set_equal(const struct slm_char_set *a, const struct slm_char_set *b);
bool slm_set_disjoint(const struct slm_char_set *a, const struct slm_char_set *b);
void slm_set_free(struct slm_char_set *set);

/* Add \p{name}: a general category ("Lu"), or a group of them ("L"); "P8" is Unicode 8.0's
 * punctuation, which the reference tokenizers mean outside of patterns. False: not known. */
bool slm_set_add_property(struct slm_char_set *set, const char *name, size_t n);
/* Add \s, \d or \w, as Oniguruma and the regex crate define them. */
void slm_set_add_space(struct slm_char_set *set);
void slm_set_add_digit(struct slm_char_set *set);
void slm_set_add_word(struct slm_char_set *set);
/* Add the letters that differ from a member in case only, where the member is ASCII. */
void slm_set_fold_case(struct slm_char_set *set);

/* Append the table behind a normal form as text/nfc.h has it. */
int slm_unicode_normal_tables(struct slm_buf *out, bool compatible, bool decomposed);

/* Mappings of characters are rows of u32: first, last, n, then the n characters that each of those
 * becomes (SLM_NFC_SELF: itself). A later row counts more. The second makes a table of them. */
enum slm_unicode_mapping {
    SLM_MAP_LOWER,         /* lower case, without regard to neighbours */
    SLM_MAP_NO_ACCENTS,    /* what BERT calls accents vanishes: nonspacing marks */
    SLM_MAP_NO_MARKS,      /* all marks vanish */
    SLM_MAP_CLEAN,         /* BERT: white space to spaces, control characters vanish */
    SLM_MAP_SPACE_CHINESE, /* BERT: spaces around Chinese characters */
    SLM_MAP_WHITE,         /* all white space to spaces */
    SLM_MAP_NMT /* SentencePiece's nmt: some white space to spaces, some controls vanish */
};
void slm_unicode_mapping(struct slm_buf *rows, enum slm_unicode_mapping which);
void slm_unicode_map_row(struct slm_buf *rows, uint32_t first, uint32_t last, uint32_t n,
                         const uint32_t *to);
/* Append the table of enum slm_cluster_class (text/charsmap.h). */
int slm_unicode_cluster_table(struct slm_buf *out);
int slm_unicode_map_table(const struct slm_buf *rows, struct slm_buf *out);

#endif
