/*
 * normal.h - what happens to a text before it is cut into pieces: made valid UTF-8, then the
 * normalizers that the section lists.
 */
#ifndef SLM_TEXT_NORMAL_H
#define SLM_TEXT_NORMAL_H

#include "text/tokenizer.h"

/* Places in a text that must be found again after it was rewritten: ascending offsets. */
struct slm_marks {
    uint32_t *at;
    size_t n;
};

/* A text that is rewritten step by step. `data` points to the caller's bytes as long as nothing
 * had to change, else into one of the two buffers, which are used in turns. */
struct slm_normal_text {
    const uint8_t *data;
    size_t length;
    struct slm_buf buffers[2];
    uint32_t current; /* buffer that data does not point into */
    size_t most;      /* bytes that it may grow to: a damaged section must not fill the memory */
    struct slm_marks marks;
};

/* Replace what is not UTF-8 by U+FFFD, one for each part that can't be continued. */
int slm_normal_repair(struct slm_normal_text *text);
/* Apply the steps that are late, or those that are not. first: the text stands at the start of the
 * input. */
int slm_normal_apply(const struct slm_text *t, struct slm_normal_text *text, bool first, bool late);
void slm_normal_free(struct slm_normal_text *text);

#endif
