/*
 * scan.h - cutting a text into the pieces that are tokenized on their own.
 *
 * Steps run one inside the other: each cuts every piece of the step before it, and sees nothing
 * beyond that piece. Without steps the whole text is one piece. The text must be valid UTF-8.
 */
#ifndef SLM_TEXT_SCAN_H
#define SLM_TEXT_SCAN_H

#include "text/tokenizer.h"

struct slm_scan_span {
    size_t begin, end;
    bool match; /* the pattern matched it; else it lies between matches */
};

struct slm_scan {
    const struct slm_text *text;
    const uint8_t *data;
    struct slm_scan_level {
        size_t at, end;            /* what is left of the piece that this step cuts */
        struct slm_scan_span next; /* found already, when it is not empty */
    } levels[SLM_TEXT_MAX_STEPS];
    size_t begin, end; /* without steps: the one piece */
};

void slm_scan_start(struct slm_scan *scan, const struct slm_text *text, const uint8_t *data,
                    size_t begin, size_t end);
/* The next piece; false when there is none. Pieces are never empty. */
bool slm_scan_next(struct slm_scan *scan, size_t *begin, size_t *end);

/* Whether the character at data[at] belongs to a word (\w). */
bool slm_scan_is_word(const struct slm_text *text, const uint8_t *data, size_t at, size_t end);

#endif
