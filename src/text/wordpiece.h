/*
 * wordpiece.h - BERT's way to encode one piece: the longest token that fits, again and again.
 */
#ifndef SLM_TEXT_WORDPIECE_H
#define SLM_TEXT_WORDPIECE_H

#include "text/merge.h"

/* Encode data[n], valid UTF-8 and one word. word is work space, used again for every word. */
int slm_wordpiece(const struct slm_text *t, const uint8_t *data, size_t n, struct slm_buf *word,
                  struct slm_token_sink *sink);

#endif
