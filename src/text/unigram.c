/*
 * unigram.c - SentencePiece's other way to encode a piece: the tokens with the best sum of scores.
 *
 * Viterbi's algorithm, over the places where characters begin: from each, every token that fits
 * leads to a place further on, which remembers the best way to it: of equal ones the first that
 * came, which is the one with the longest last token. A character that is no token is unknown, at a
 * score lower than any. Sums go on from piece to piece where a piece is cut at places that no token
 * reaches across, so that they are rounded as if it had not been cut. SentencePiece itself has sums
 * of 32 bits, which it starts again before they lose the scores: so do we where the file says so.
 */
#include "text/unigram.h"

#include <math.h>
#include <string.h>

#define LONGEST_CHARACTER 4
#define LARGEST_NARROW_SUM 1e5 /* SentencePiece's: a way that has cost more begins again at 0 */

void slm_unigram_init(struct slm_unigram *u, const struct slm_text *text, const slm_allocator *a)
{
    *u = (struct slm_unigram){
        .text = text, .allocator = a, .tokens.allocator = a, .ring.allocator = a};
}

void slm_unigram_free(struct slm_unigram *u)
{
    slm_buf_free(&u->tokens);
    slm_buf_free(&u->ring);
}

/* What a walk over the piece needs at hand. */
struct walk {
    const struct slm_text *text;
    uint32_t *tokens; /* [n + 1] */
    double *ring;     /* [mask + 1]: -INFINITY where no way has led yet */
    size_t mask;
    bool narrow; /* sums have 32 bits */
};

/* A way to place `at`, with `token` as its last step: is it better than the one known? */
static inline void try_way(const struct walk *w, size_t at, double sum, uint32_t token)
{
    double *best = &w->ring[at & w->mask];
    if (w->narrow)
        sum = (float)sum; /* two floats added as doubles: rounded once, like a sum of floats */
    if (sum > *best) {
        *best = sum;
        w->tokens[at] = token;
    }
}

static inline double score_of(const struct slm_text *t, uint32_t token)
{
    if (t->header->flags & SLM_TEXT_WIDE_SCORES)
        return ((const double *)t->scores)[token];
    return (double)((const float *)t->scores)[token];
}

double slm_text_score(const struct slm_text *t, uint32_t token)
{
    return score_of(t, token);
}

/* Everything that is compared from here on, relative to the sum up to here. */
static void start_again(const struct walk *w, double *sum)
{
    for (size_t i = 0; i <= w->mask; i++)
        w->ring[i] = (float)(w->ring[i] - *sum);
    *sum = 0;
}

/* All ways on from `at`, whose best sum is `sum`; returns where the next character begins. */
static size_t go_on(const struct walk *w, const uint8_t *data, size_t n, size_t at, double sum)
{
    const struct slm_text *t = w->text;
    size_t first = 0, longest = t->header->max_length;
    uint64_t h = 0;
    bool known = false;
    for (size_t end = at; end < n && (end - at < longest || first == 0);) {
        do
            h = h * SLM_HASH_BASE + data[end++] + 1;
        while (end < n && (data[end] & 0xC0) == 0x80);
        first = first == 0 ? end : first;
        uint32_t token = slm_text_find(t, data + at, end - at, h);
        if (token != SLM_TEXT_NO_TOKEN && end - at <= longest) {
            try_way(w, end, sum + score_of(t, token), token);
            known |= end == first;
        }
        if (!slm_text_goes_on(t, h))
            break;
    }
    if (!known)
        try_way(w, first, sum + t->header->unknown_score, SLM_TEXT_NO_TOKEN);
    return first;
}

/* Bytes of a step that ends at `at`: its token's, or one character's. */
static size_t step_length(const struct walk *w, uint32_t token, const uint8_t *data, size_t at)
{
    size_t n = 0;
    if (token != SLM_TEXT_NO_TOKEN)
        slm_text_bytes(w->text, token, &n);
    if (n == 0 || n > at)
        for (n = 1; n < at && (data[at - n] & 0xC0) == 0x80;)
            n++;
    return n;
}

/* From the end to the beginning along the best way, each step's token now where it begins. */
static void turn_around(const struct walk *w, const uint8_t *data, size_t n)
{
    uint32_t token = w->tokens[n];
    for (size_t at = n; at > 0;) {
        size_t start = at - step_length(w, token, data, at);
        uint32_t before = w->tokens[start];
        w->tokens[start] = token;
        token = before;
        at = start;
    }
}

static void put_out(const struct walk *w, const uint8_t *data, size_t n,
                    struct slm_token_sink *sink)
{
    for (size_t at = 0; at < n;) {
        uint32_t token = w->tokens[at];
        size_t length = 0;
        if (token != SLM_TEXT_NO_TOKEN)
            slm_text_bytes(w->text, token, &length);
        if (length == 0 || length > n - at) {
            token = SLM_TEXT_NO_TOKEN;
            for (length = 1; at + length < n && (data[at + length] & 0xC0) == 0x80;)
                length++;
        }
        slm_put_symbol(w->text, data + at, length, token, sink);
        at += length;
    }
}

int slm_unigram(struct slm_unigram *u, const uint8_t *data, size_t n, struct slm_token_sink *sink)
{
    size_t size = 16;
    while (size <= u->text->header->max_length + LONGEST_CHARACTER)
        size *= 2;
    if (u->ring.length < size * sizeof(double)) /* once, unless the file is changed meanwhile */
        slm_buf_grow(&u->ring, size * sizeof(double) - u->ring.length);
    u->tokens.length = 0;
    struct walk w = {
        .text = u->text,
        .tokens = slm_buf_grow(&u->tokens, (n + 1) * sizeof(uint32_t)),
        .ring = (double *)(void *)u->ring.data,
        .mask = size - 1,
        .narrow = (u->text->header->flags & SLM_TEXT_NARROW_SUMS) != 0,
    };
    if (!w.tokens || u->ring.failed)
        return SLM_ENOMEM;
    memset(w.tokens, 0xFF, (n + 1) * sizeof(uint32_t)); /* SLM_TEXT_NO_TOKEN */
    for (size_t i = 0; i < size; i++)
        w.ring[i] = -INFINITY;
    w.ring[0] = u->sum;
    for (size_t at = 0; at < n;) {
        double sum = w.ring[at & w.mask];
        w.ring[at & w.mask] = -INFINITY;
        if (w.narrow && fabs(sum) > LARGEST_NARROW_SUM)
            start_again(&w, &sum);
        at = go_on(&w, data, n, at, sum);
    }
    u->sum = w.ring[n & w.mask];
    turn_around(&w, data, n);
    put_out(&w, data, n, sink);
    return SLM_OK;
}
