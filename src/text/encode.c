/*
 * encode.c - text to tokens, from one end to the other.
 *
 * repaired text -> added tokens and what lies between -> normalizers -> added tokens that are
 * looked for in normalized text -> pieces -> the token that a piece is, or merging.
 * Work space is taken once a call; nothing is allocated for a piece or a token.
 */
#include "text/added.h"
#include "text/merge.h"
#include "text/normal.h"
#include "text/scan.h"
#include "text/unigram.h"
#include "text/wordpiece.h"

#include <string.h>

struct encoder {
    const struct slm_text *text;
    const slm_allocator *allocator;
    unsigned flags;
    struct slm_normal_text input;   /* all of it; its marks are the opaque ranges */
    struct slm_normal_text segment; /* a stretch between added tokens of the first kind */
    struct slm_normal_text stretch; /* a stretch between added tokens of either kind */
    bool late_steps;                /* there are normalizers for stretches */
    uint32_t *marks;                /* [4 * n_opaque]: of input, then of segment */
    size_t n_opaque;
    uint8_t *markup;            /* [n_tokens]: of struct slm_added_search; NULL without a template */
    struct slm_buf known_bytes; /* see without_unknown_bytes() */
    struct slm_buf word;        /* work space of slm_wordpiece() */
    struct slm_merger merger;
    struct slm_unigram unigram;
    struct slm_token_sink sink;
    bool drops_bytes; /* bytes without a token vanish */
};

/* ------------------------------------------------------------------------------ pieces --- */

/* A byte vocabulary that lacks a byte and an unknown token drops it, as the reference does. */
static int without_unknown_bytes(struct encoder *e, const uint8_t **data, size_t *n)
{
    size_t known = 0;
    while (known < *n && e->text->bytes[(*data)[known]] != SLM_TEXT_NO_TOKEN)
        known++;
    if (known == *n)
        return SLM_OK;
    e->known_bytes.length = 0;
    for (size_t i = 0; i < *n; i++)
        if (e->text->bytes[(*data)[i]] != SLM_TEXT_NO_TOKEN)
            slm_buf_byte(&e->known_bytes, (*data)[i]);
    *data = e->known_bytes.data;
    *n = e->known_bytes.length;
    return slm_buf_ok(&e->known_bytes);
}

/* Most pieces are a token; the others are merged. */
static int encode_piece(struct encoder *e, const uint8_t *data, size_t n)
{
    const struct slm_text *t = e->text;
    bool unigram = t->header->model == SLM_TEXT_UNIGRAM;
    /* Sums of scores that go on are rounded differently from those that begin with this piece. */
    if (n <= t->header->max_length && !(unigram && e->unigram.sum != 0)) {
        uint32_t token = slm_text_find(t, data, n, slm_text_hash(data, n));
        if (token != SLM_TEXT_NO_TOKEN && (t->info[token] & SLM_INFO_WHOLE)) {
            slm_sink_put(&e->sink, token);
            e->unigram.sum = unigram ? slm_text_score(t, token) : 0;
            return SLM_OK;
        }
    }
    if (unigram)
        return slm_unigram(&e->unigram, data, n, &e->sink);
    if (t->header->model == SLM_TEXT_WORDPIECE)
        return slm_wordpiece(t, data, n, &e->word, &e->sink);
    if (e->drops_bytes) {
        int rc = without_unknown_bytes(e, &data, &n);
        if (rc < 0 || n == 0)
            return rc;
    }
    return slm_merge(&e->merger, data, n, &e->sink);
}

/* Cut where two bytes meet that meet in no token: no merge can reach across. Without a
 * pre-tokenizer, this is what makes words of a text. */
static int encode_cut(struct encoder *e, const uint8_t *data, size_t n)
{
    const uint8_t *cuts = e->text->cuts;
    size_t begin = 0;
    int rc = SLM_OK;
    for (size_t i = 1; i < n && rc == SLM_OK; i++) {
        uint32_t pair = (uint32_t)data[i - 1] << 8 | data[i];
        if ((cuts[pair >> 3] >> (pair & 7) & 1) || (data[i] & 0xC0) == 0x80)
            continue;
        rc = encode_piece(e, data + begin, i - begin);
        begin = i;
    }
    return rc == SLM_OK ? encode_piece(e, data + begin, n - begin) : rc;
}

/* Text without added tokens. first: at the start of the input. */
static int encode_stretch(struct encoder *e, const uint8_t *data, size_t from, size_t to,
                          bool first)
{
    struct slm_scan scan;
    size_t begin, end;
    int rc = SLM_OK;
    if (e->late_steps) {
        e->stretch.data = data + from;
        e->stretch.length = to - from;
        e->stretch.most = 0;
        if ((rc = slm_normal_apply(e->text, &e->stretch, first, true)) < 0)
            return rc;
        data = e->stretch.data;
        from = 0;
        to = e->stretch.length;
    }
    slm_scan_start(&scan, e->text, data, from, to);
    while (rc == SLM_OK && slm_scan_next(&scan, &begin, &end)) {
        e->sink.after_unknown = false;
        e->unigram.sum = 0;
        rc = e->text->cuts ? encode_cut(e, data + begin, end - begin)
                           : encode_piece(e, data + begin, end - begin);
    }
    return rc;
}

/* ---------------------------------------------------------------------------- segments --- */

/* The opaque ranges as they lie in the segment input[begin..end). */
static void mark_segment(struct encoder *e, size_t begin, size_t end)
{
    struct slm_marks *marks = &e->segment.marks;
    marks->n = 0;
    for (size_t i = 0; i < e->input.marks.n; i += 2) {
        size_t from = e->input.marks.at[i], to = e->input.marks.at[i + 1];
        from = from > begin ? from : begin;
        to = to < end ? to : end;
        if (from >= to)
            continue;
        marks->at[marks->n++] = (uint32_t)(from - begin);
        marks->at[marks->n++] = (uint32_t)(to - begin);
    }
}

/* Text without added tokens of the first kind. */
static int encode_segment(struct encoder *e, size_t begin, size_t end)
{
    const struct slm_text *t = e->text;
    struct slm_normal_text *segment = &e->segment;
    if (begin == end)
        return SLM_OK;
    /* A view of the input: most segments are never copied. */
    segment->data = e->input.data + begin;
    segment->length = end - begin;
    segment->most = 0;
    segment->marks.n = 0;
    if (t->added[1])
        mark_segment(e, begin, end);
    int rc = slm_normal_apply(t, segment, begin == 0, false);
    if (rc < 0)
        return rc;
    struct slm_added_search search = {
        .text = t,
        .table = t->added[1],
        .meta_space = (t->header->flags & SLM_TEXT_META_SPACE) != 0,
        .special = (e->flags & SLM_TEXT_PARSE_SPECIAL) != 0,
        .markup = e->markup,
        .opaque = segment->marks.at,
        .n_opaque = segment->marks.n / 2,
    };
    struct slm_added_match match;
    size_t at = 0;
    while (slm_added_next(&search, segment->data, segment->length, at, &match)) {
        if ((rc = encode_stretch(e, segment->data, at, match.begin, begin + at == 0)) < 0)
            return rc;
        slm_sink_put(&e->sink, match.token);
        at = match.end;
    }
    return encode_stretch(e, segment->data, at, segment->length, begin + at == 0);
}

/* The whole text: segments, and the added tokens between them. */
static int encode_input(struct encoder *e)
{
    struct slm_added_search search = {
        .text = e->text,
        .table = e->text->added[0],
        .special = (e->flags & SLM_TEXT_PARSE_SPECIAL) != 0,
        .markup = e->markup,
        .opaque = e->input.marks.at,
        .n_opaque = e->input.marks.n / 2,
    };
    struct slm_added_match match;
    size_t at = 0;
    while (slm_added_next(&search, e->input.data, e->input.length, at, &match)) {
        int rc = encode_segment(e, at, match.begin);
        if (rc < 0)
            return rc;
        slm_sink_put(&e->sink, match.token);
        at = match.end;
    }
    return encode_segment(e, at, e->input.length);
}

/* --------------------------------------------------------------------------------- all --- */

/* Views and buffers. Nothing is allocated here but the marks, and what a template has of the added
 * tokens; the rest comes when it is needed. */
static int prepare(struct encoder *e, const char *input, size_t n, const struct slm_range *opaque)
{
    e->input.data = (const uint8_t *)input;
    e->input.length = n;
    e->input.buffers[0].allocator = e->input.buffers[1].allocator = e->allocator;
    e->segment.buffers[0].allocator = e->segment.buffers[1].allocator = e->allocator;
    e->stretch.buffers[0].allocator = e->stretch.buffers[1].allocator = e->allocator;
    for (uint32_t i = 0; i < e->text->n_normal; i++)
        e->late_steps = e->late_steps || (e->text->normal[i].flags & SLM_NORMAL_LATE);
    e->known_bytes.allocator = e->word.allocator = e->allocator;
    e->drops_bytes = e->text->header->model == SLM_TEXT_BPE_BYTES &&
                     e->text->header->unknown == SLM_TEXT_NO_TOKEN;
    if (e->n_opaque > 0) {
        e->marks = slm_alloc(e->allocator, e->n_opaque * 4 * sizeof(uint32_t));
        if (!e->marks)
            return SLM_ENOMEM;
        for (size_t i = 0; i < e->n_opaque; i++) {
            e->marks[2 * i] = opaque[i].begin;
            e->marks[2 * i + 1] = opaque[i].end;
        }
        e->input.marks = (struct slm_marks){e->marks, e->n_opaque * 2};
        e->segment.marks = (struct slm_marks){e->marks + e->n_opaque * 2, 0};
    }
    if (e->n_opaque > 0 && e->text->chat_template) {
        if (!(e->markup = slm_alloc(e->allocator, e->text->n_tokens)))
            return SLM_ENOMEM;
        memset(e->markup, 0, e->text->n_tokens);
    }
    slm_merger_init(&e->merger, e->text, e->allocator);
    slm_unigram_init(&e->unigram, e->text, e->allocator);
    return slm_normal_repair(&e->input);
}

/* What a caller may get wrong. Opaque ranges are looked at in one pass later, hence the order. */
static int check(size_t n, const struct slm_range *opaque, size_t n_opaque)
{
    if (n > SLM_LIMIT_TEXT)
        return slm_fail(SLM_ELIMIT, "text to tokenize: %zu bytes; the limit is %d", n,
                        SLM_LIMIT_TEXT);
    for (size_t i = 0; i < n_opaque; i++)
        if (opaque[i].begin > opaque[i].end || opaque[i].end > n ||
            (i > 0 && opaque[i].begin < opaque[i - 1].end))
            return slm_fail(SLM_EINVAL, "text to tokenize: opaque range %zu is not in order", i);
    return SLM_OK;
}

int64_t slm_text_encode(const struct slm_text *text, const char *input, size_t n, unsigned flags,
                        const struct slm_range *opaque, size_t n_opaque, slm_token *out, size_t cap,
                        const slm_allocator *a)
{
    struct encoder e = {.text = text, .allocator = a, .flags = flags, .n_opaque = n_opaque};
    int rc = check(n, opaque, n_opaque);
    if (rc < 0)
        return rc;
    e.sink = (struct slm_token_sink){.out = out, .capacity = cap};
    /* Counting goes on when there is no room left, so the caller learns how much is needed. */
    for (uint32_t i = 0; (flags & SLM_TEXT_ADD_SPECIAL) && i < text->n_prefix; i++)
        slm_sink_put(&e.sink, text->prefix[i]);
    if (n > 0) {
        rc = prepare(&e, input, n, opaque);
        if (rc == SLM_OK)
            rc = encode_input(&e);
    }
    for (uint32_t i = 0; (flags & SLM_TEXT_ADD_SPECIAL) && i < text->n_suffix; i++)
        slm_sink_put(&e.sink, text->suffix[i]);
    slm_merger_free(&e.merger);
    slm_unigram_free(&e.unigram);
    slm_normal_free(&e.input);
    slm_normal_free(&e.segment);
    slm_normal_free(&e.stretch);
    slm_buf_free(&e.known_bytes);
    slm_buf_free(&e.word);
    slm_free(a, e.marks, e.n_opaque * 4 * sizeof(uint32_t));
    slm_free(a, e.markup, text->n_tokens);
    return rc < 0 ? rc : (int64_t)e.sink.n;
}

/* Items of type 1 are the last ones, and none stands before the first text: all but a text are one
 * token each, so they are counted back from the second text or from the end. */
size_t slm_text_pair_first(const struct slm_text *text, size_t second, size_t n)
{
    uint32_t begin = 0;
    while (begin < text->n_pair && !(text->pair[begin] & SLM_PAIR_TYPE_1))
        begin++;
    for (uint32_t i = begin; i < text->n_pair; i++)
        if (text->pair[i] == (SLM_PAIR_SECOND | SLM_PAIR_TYPE_1))
            return second - (i - begin);
    return n - (text->n_pair - begin);
}

int64_t slm_text_encode_pair(const struct slm_text *text, const char *const input[2], const size_t n[2],
                             unsigned flags, slm_token *out, size_t cap, size_t *n_first,
                             const slm_allocator *a)
{
    struct slm_token_sink sink = {.out = out, .capacity = cap};
    if (text->n_pair == 0)
        return slm_fail(SLM_EUNSUPPORTED, "the model takes no pairs of texts: its tokenizer does not say how "
                        "two become one");
    flags &= ~(unsigned)SLM_TEXT_ADD_SPECIAL;
    size_t second = 0;
    for (uint32_t i = 0; i < text->n_pair; i++) {
        uint32_t item = text->pair[i] & ~SLM_PAIR_TYPE_1;
        if (item < SLM_PAIR_FIRST) {
            slm_sink_put(&sink, item);
        } else {
            size_t k = item - SLM_PAIR_FIRST, room = sink.n < cap ? cap - sink.n : 0;
            second = sink.n;
            int64_t count = slm_text_encode(text, input[k], n[k], flags, NULL, 0,
                                            room ? out + sink.n : NULL, room, a);
            if (count < 0)
                return count;
            sink.n += (size_t)count;
        }
    }
    *n_first = slm_text_pair_first(text, second, sink.n);
    return (int64_t)sink.n;
}
