/*
 * wordpiece.c - BERT's way to encode one piece: the longest token that fits, again and again.
 *
 * Tokens that continue a word are written with a prefix ("##"). The word is copied, so that the
 * prefix can be written in front of what is left of it, over what has been encoded already. If at
 * some place no token fits, the whole word is one unknown token; so is a word of too many
 * characters, which bounds the work for each.
 */
#include "text/wordpiece.h"

#include <string.h>

static size_t count_characters(const uint8_t *data, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += (data[i] & 0xC0) != 0x80;
    return count;
}

/* The longest token that text[n] begins with, and its length; it must be longer than `least`. */
static uint32_t longest_token(const struct slm_text *t, const uint8_t *text, size_t n, size_t least,
                              size_t *length)
{
    uint32_t longest = SLM_TEXT_NO_TOKEN;
    uint64_t h = slm_text_hash(text, least);
    for (size_t end = least; end < n && end < t->header->max_length;) {
        do
            h = h * SLM_HASH_BASE + text[end++] + 1;
        while (end < n && (text[end] & 0xC0) == 0x80);
        uint32_t token = slm_text_find(t, text, end, h);
        if (token != SLM_TEXT_NO_TOKEN) {
            longest = token;
            *length = end;
        }
        if (!slm_text_goes_on(t, h))
            break;
    }
    return longest;
}

static void put_unknown(const struct slm_text *t, struct slm_token_sink *sink)
{
    if (t->header->unknown != SLM_TEXT_NO_TOKEN)
        slm_sink_put(sink, t->header->unknown);
}

int slm_wordpiece(const struct slm_text *t, const uint8_t *data, size_t n, struct slm_buf *word,
                  struct slm_token_sink *sink)
{
    size_t prefix = t->n_continuation, length = 0;
    struct slm_token_sink mark = *sink;
    if (n / 4 > t->header->max_word || count_characters(data, n) > t->header->max_word) {
        put_unknown(t, sink);
        return SLM_OK;
    }
    word->length = 0;
    uint8_t *at = slm_buf_grow(word, prefix + n);
    if (!at)
        return SLM_ENOMEM;
    uint8_t *end = at + prefix + n;
    memcpy(at + prefix, data, n);
    /* at[0..used) is what every token begins with from here on: nothing, then the prefix. */
    at += prefix;
    for (size_t used = 0; at + used < end; used = prefix) {
        uint32_t token = longest_token(t, at, (size_t)(end - at), used, &length);
        if (token == SLM_TEXT_NO_TOKEN) {
            *sink = mark;
            put_unknown(t, sink);
            return SLM_OK;
        }
        slm_sink_put(sink, token);
        at += length - prefix;
        if (prefix)
            memcpy(at, t->continuation, prefix);
    }
    return SLM_OK;
}
