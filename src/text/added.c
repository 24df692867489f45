/*
 * added.c - finding added tokens in a text: leftmost, then longest, as Hugging Face's tokenizers.
 *
 * The rows are sorted, so those that share a beginning are neighbours: a search narrows a
 * range of rows byte by byte. Only bytes that some row begins with start one.
 */
#include "text/added.h"

#include "base/utf8.h"
#include "text/scan.h"

#include <string.h>

/* Longer added tokens are not found: it bounds the work at each place of a text. */
#define LONGEST 1024

/* A row is checked where it is used; a damaged one is never found. */
static const uint8_t *row_text(const struct slm_text *t, const struct slm_text_added *row)
{
    if (row->length == 0 || row->length > LONGEST || row->text > t->added_pool_length ||
        row->length > t->added_pool_length - row->text || row->token >= t->n_tokens)
        return NULL;
    return t->added_pool + row->text;
}

/* Byte `depth` of a row; -1 when it ends before. */
static int row_byte(const struct slm_text *t, const struct slm_text_added *row, size_t depth)
{
    const uint8_t *text = row_text(t, row);
    return text && depth < row->length ? text[depth] : -1;
}

/* In rows[low..high), sorted by the byte at depth: the first with one that is at least `byte`. */
static uint32_t lower_bound(const struct slm_added_search *s, uint32_t low, uint32_t high,
                            size_t depth, int byte)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (row_byte(s->text, &s->table->rows[middle], depth) < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool slm_added_is_markup(const void *source, size_t n_source, const uint8_t *text, size_t n)
{
    bool blank = true;
    for (size_t i = 0; i < n; i++)
        blank = blank && (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r'));
    return !blank && n > 1 && source && memmem(source, n_source, text, n);
}

/* The template is searched once for a token, however often that stands in the text. What it has is
 * the token's text, of which the row may be another form. */
static bool is_markup(const struct slm_added_search *s, const struct slm_text_added *row)
{
    enum { UNKNOWN, NO, YES };
    const struct slm_text *t = s->text;
    if ((row->flags & (SLM_ADDED_SPECIAL | SLM_ADDED_MARKUP)) || !s->markup)
        return (row->flags & (SLM_ADDED_SPECIAL | SLM_ADDED_MARKUP)) != 0;
    uint8_t *known = &s->markup[row->token];
    if (*known == UNKNOWN) {
        size_t n;
        const uint8_t *text = slm_text_bytes(t, row->token, &n);
        bool found = slm_added_is_markup(t->chat_template, t->n_template, text, n) ||
                     slm_added_is_markup(t->chat_template, t->n_template, row_text(t, row), row->length);
        *known = found ? YES : NO;
    }
    return *known == YES;
}

/* Special tokens count only under PARSE_SPECIAL, and neither they nor other markup where they touch an
 * opaque byte. */
static bool allowed(struct slm_added_search *s, const struct slm_text_added *row, size_t begin)
{
    size_t end = begin + row->length;
    if ((row->flags & SLM_ADDED_KEPT) && !s->kept)
        return false;
    if (!s->markup && !(row->flags & (SLM_ADDED_SPECIAL | SLM_ADDED_MARKUP)))
        return true;
    while (s->at_opaque < s->n_opaque && s->opaque[2 * s->at_opaque + 1] <= begin)
        s->at_opaque++;
    for (size_t i = s->at_opaque; i < s->n_opaque && s->opaque[2 * i] < end; i++)
        if (s->opaque[2 * i + 1] > begin && s->opaque[2 * i] < s->opaque[2 * i + 1])
            return !is_markup(s, row);
    return s->special || !(row->flags & SLM_ADDED_SPECIAL);
}

/* The longest row that data[at..n) begins with; NULL when there is none. */
static const struct slm_text_added *longest_at(struct slm_added_search *s, const uint8_t *data,
                                               size_t n, size_t at)
{
    const struct slm_text_added *best = NULL;
    uint32_t low = s->table->index[data[at]], high = s->table->index[data[at] + 1];
    for (size_t depth = 1; low < high && depth <= LONGEST; depth++) {
        const struct slm_text_added *row = &s->table->rows[low];
        /* Among rows with the same beginning the one that is nothing else stands first. */
        if (row->length == depth && row_text(s->text, row)) {
            if (allowed(s, row, at))
                best = row;
            low++;
        }
        if (at + depth >= n)
            break;
        int byte = data[at + depth];
        low = lower_bound(s, low, high, depth, byte);
        high = lower_bound(s, low, high, depth, byte + 1);
    }
    return best;
}

/* White_Space, for tokens that take along what surrounds them. */
static bool is_space(const struct slm_added_search *s, uint32_t c)
{
    return slm_is_white_space(c) && !(c == ' ' && s->meta_space);
}

static size_t character_before(const uint8_t *data, size_t from, size_t at)
{
    do {
        at--;
    } while (at > from && (data[at] & 0xC0) == 0x80);
    return at;
}

/* Single words: no letter, digit or mark may touch the match. */
static bool stands_alone(const struct slm_added_search *s, const uint8_t *data, size_t n,
                         size_t begin, size_t end)
{
    bool word_before =
        begin > 0 && slm_scan_is_word(s->text, data, character_before(data, 0, begin), begin);
    return !word_before && !(end < n && slm_scan_is_word(s->text, data, end, n));
}

/* The match with the white space that belongs to it. */
static struct slm_added_match widen(const struct slm_added_search *s,
                                    const struct slm_text_added *row, const uint8_t *data, size_t n,
                                    size_t from, size_t at)
{
    struct slm_added_match match = {at, at + row->length, row->token};
    uint32_t c;
    while ((row->flags & SLM_ADDED_STRIP_LEFT) && match.begin > from) {
        size_t before = character_before(data, from, match.begin);
        if (slm_utf8_decode((const char *)data + before, match.begin - before, &c) == 0 ||
            !is_space(s, c))
            break;
        match.begin = before;
    }
    while ((row->flags & SLM_ADDED_STRIP_RIGHT) && match.end < n) {
        size_t length = slm_utf8_decode((const char *)data + match.end, n - match.end, &c);
        if (length == 0 || !is_space(s, c))
            break;
        match.end += length;
    }
    return match;
}

/* A step for each byte that could begin a token; for all others two loads. */
bool slm_added_next(struct slm_added_search *s, const uint8_t *data, size_t n, size_t from,
                    struct slm_added_match *match)
{
    /* Vocabularies with special tokens only, and a caller who wants none of them: nothing to do. */
    if (!s->table || (!s->special && s->table->n_ordinary == 0))
        return false;
    const uint32_t *index = s->table->index;
    for (size_t at = from; at < n; at++) {
        if (index[data[at]] == index[data[at] + 1])
            continue;
        const struct slm_text_added *row = longest_at(s, data, n, at);
        if (!row)
            continue;
        if ((row->flags & SLM_ADDED_SINGLE_WORD) &&
            !stands_alone(s, data, n, at, at + row->length)) {
            at += row->length - 1; /* the reference goes on behind it, too */
            continue;
        }
        *match = widen(s, row, data, n, from, at);
        return true;
    }
    return false;
}

size_t slm_added_kept(const struct slm_text *text, const uint8_t *data, size_t n)
{
    struct slm_added_search s = {.text = text, .table = text->added[1], .kept = true};
    const struct slm_text_added *row = s.table ? longest_at(&s, data, n, 0) : NULL;
    return row ? row->length : 0;
}
