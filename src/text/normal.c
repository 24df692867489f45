/*
 * normal.c - the steps that rewrite a text.
 *
 * Each step reads one buffer and writes the other, and does nothing at all where the text is
 * already as it should be; so most texts are never copied. Every step moves the marks along.
 */
#include "text/normal.h"

#include "base/utf8.h"
#include "text/added.h"
#include "text/charsmap.h"

#include <string.h>

/* Where a step stands: what it writes, and the marks that it has moved so far. */
struct rewriter {
    struct slm_buf *out;
    struct slm_marks *marks;
    size_t moved;
};

/* Start a step: its output goes to the buffer that the text is not in. */
static struct rewriter begin(struct slm_normal_text *text)
{
    struct rewriter r = {&text->buffers[text->current], &text->marks, 0};
    r.out->length = 0;
    if (text->most == 0) /* the first step: no real tokenizer grows a text by more than this */
        text->most =
            text->length < SLM_LIMIT_TEXT / 16 - 4096 ? 16 * text->length + 65536 : SLM_LIMIT_TEXT;
    return r;
}

/* Everything up to `in` has been written: marks up to there get their new place. */
static void move_marks(struct rewriter *r, size_t in)
{
    while (r->moved < r->marks->n && r->marks->at[r->moved] <= in)
        r->marks->at[r->moved++] = (uint32_t)r->out->length;
}

/* The output becomes the text, and its buffer the one to be read next. */
static int finish(struct rewriter *r, struct slm_normal_text *text)
{
    move_marks(r, SIZE_MAX);
    if (slm_buf_ok(r->out) < 0)
        return SLM_ENOMEM;
    if (r->out->length > text->most)
        return slm_fail(SLM_ELIMIT, "normalized text: more than %zu bytes", text->most);
    text->data = r->out->data;
    text->length = r->out->length;
    text->current ^= 1;
    return SLM_OK;
}

/* Copy in[from..to) as it is. Marks inside keep their distance. */
static void copy(struct rewriter *r, const uint8_t *in, size_t from, size_t to)
{
    size_t shift = r->out->length - from;
    while (r->moved < r->marks->n && r->marks->at[r->moved] <= to) {
        r->marks->at[r->moved] = (uint32_t)(r->marks->at[r->moved] + shift);
        r->moved++;
    }
    slm_buf_append(r->out, in + from, to - from);
}

/* ---------------------------------------------------------------------------- repairing --- */

/* How many bytes at p[0..n), n > 0, belong to the character that fails to decode there: those that
 * a valid one could begin with, at least 1. */
static size_t bad_part(const uint8_t *p, size_t n)
{
    uint8_t low = 0x80, high = 0xBF;
    size_t length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2, good = 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 1;
    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F;
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;
    while (good < length && good < n && p[good] >= low && p[good] <= high) {
        low = 0x80;
        high = 0xBF;
        good++;
    }
    return good;
}

/* The length of the valid UTF-8 at the beginning. */
static size_t valid_part(const uint8_t *p, size_t n)
{
    size_t at = 0;
    while (at < n) {
        uint32_t c;
        if (n - at >= 8 && (slm_load_u64(p + at) & 0x8080808080808080ull) == 0) {
            at += 8;
            continue;
        }
        size_t length = slm_utf8_decode((const char *)p + at, n - at, &c);
        if (length == 0)
            break;
        at += length;
    }
    return at;
}

/* Valid text, nearly all there is, is only looked at. */
int slm_normal_repair(struct slm_normal_text *text)
{
    const uint8_t *in = text->data;
    size_t n = text->length, at = valid_part(in, n);
    if (at == n)
        return SLM_OK;
    struct rewriter r = begin(text);
    copy(&r, in, 0, at);
    while (at < n) {
        slm_buf_text(r.out, SLM_UTF8_REPLACEMENT);
        at += bad_part(in + at, n - at);
        move_marks(&r, at);
        size_t good = valid_part(in + at, n - at);
        copy(&r, in, at, at + good);
        at += good;
    }
    return finish(&r, text);
}

/* -------------------------------------------------------------------------------- steps --- */

/* What is looked for has a few bytes, nearly always one to three. */
static const uint8_t *find(const uint8_t *in, size_t n, const uint8_t *what, size_t length)
{
    const uint8_t *end = in + n;
    while ((size_t)(end - in) >= length) {
        in = memchr(in, what[0], (size_t)(end - in) - length + 1);
        if (!in || memcmp(in, what, length) == 0)
            return in;
        in++;
    }
    return NULL;
}

/* Non-overlapping, from left to right. A text that never occurs costs one search and no copy. */
static int replace(const struct slm_text *t, const struct slm_text_normal *step,
                   struct slm_normal_text *text)
{
    const uint8_t *what = t->normal_pool + step->a, *by = t->normal_pool + step->b;
    const uint8_t *in = text->data;
    const uint8_t *found = find(in, text->length, what, step->a_length);
    if (!found)
        return SLM_OK;
    struct rewriter r = begin(text);
    size_t at = 0;
    while (found) {
        copy(&r, in, at, (size_t)(found - in));
        slm_buf_append(r.out, by, step->b_length);
        at = (size_t)(found - in) + step->a_length;
        move_marks(&r, at);
        if (r.out->length > text->most)
            break; /* finish() says so */
        found = find(in + at, text->length - at, what, step->a_length);
    }
    copy(&r, in, at, text->length);
    return finish(&r, text);
}

/* The space that SentencePiece puts before a text, so that its first word looks like the others. */
static int prepend(const struct slm_text *t, const struct slm_text_normal *step,
                   struct slm_normal_text *text, bool first)
{
    const uint8_t *what = t->normal_pool + step->a;
    if ((text->length == 0 && !(step->flags & SLM_PREPEND_ALWAYS)) ||
        ((step->flags & SLM_PREPEND_FIRST_ONLY) && !first))
        return SLM_OK;
    if ((step->flags & SLM_PREPEND_UNLESS_THERE) && text->length >= step->a_length &&
        memcmp(text->data, what, step->a_length) == 0)
        return SLM_OK;
    struct rewriter r = begin(text);
    slm_buf_append(r.out, what, step->a_length);
    copy(&r, text->data, 0, text->length);
    return finish(&r, text);
}

/* Where the text ends without white space at its end, and where it begins without. */
static size_t white_end(const uint8_t *in, size_t n)
{
    size_t at = n;
    uint32_t c = ' ';
    while (at > 0) {
        size_t start = at - 1;
        while (start > 0 && (in[start] & 0xC0) == 0x80)
            start--;
        if (!slm_utf8_decode((const char *)in + start, at - start, &c) || !slm_is_white_space(c))
            break;
        at = start;
    }
    return at;
}

static size_t white_start(const uint8_t *in, size_t n)
{
    size_t at = 0, length;
    uint32_t c;
    while (at < n && (length = slm_utf8_decode((const char *)in + at, n - at, &c)) > 0 &&
           slm_is_white_space(c))
        at += length;
    return at;
}

/* No spaces at the ends, and never two in a row; or a part of that. */
static int squeeze(struct slm_normal_text *text, uint32_t flags)
{
    const uint8_t *in = text->data;
    size_t n = text->length, at = 0;
    bool all = (flags & (SLM_SQUEEZE_BEGIN | SLM_SQUEEZE_END | SLM_SQUEEZE_INSIDE |
                         SLM_SQUEEZE_LAST)) == 0;
    if (n == 0 || ((flags & SLM_SQUEEZE_LAST) && in[n - 1] != ' '))
        return SLM_OK;
    struct rewriter r = begin(text);
    while ((flags & SLM_SQUEEZE_LAST) && n > 0 && in[n - 1] == ' ')
        n--;
    if (flags & SLM_SQUEEZE_END)
        n = white_end(in, n);
    if (flags & SLM_SQUEEZE_BEGIN)
        at = white_start(in, n);
    move_marks(&r, at);
    while (at < n) {
        size_t spaces = at;
        while (spaces < n && in[spaces] == ' ')
            spaces++;
        if (!all && !(flags & SLM_SQUEEZE_INSIDE))
            copy(&r, in, at, spaces);
        else if (spaces > at && (!all || (spaces < n && r.out->length > 0)))
            slm_buf_byte(r.out, ' ');
        move_marks(&r, spaces);
        at = spaces;
        while (at < n && in[at] != ' ')
            at++;
        copy(&r, in, spaces, at);
    }
    return finish(&r, text);
}

static int open_table(struct slm_nfc_view *view, const struct slm_text *t,
                      const struct slm_text_normal *step)
{
    return slm_nfc_open(view, t->normal_pool + step->a, step->a_length)
               ? SLM_OK
               : slm_fail(SLM_EFORMAT, "tokenizer section: a table of characters is damaged");
}

/* Each character by itself: lower case, accents removed, spaces around. */
static int map(const struct slm_text *t, const struct slm_text_normal *step,
               struct slm_normal_text *text)
{
    struct slm_nfc_view view;
    const uint8_t *in = text->data;
    size_t n = text->length, at = 0;
    int rc = open_table(&view, t, step);
    if (rc < 0)
        return rc;
    size_t next = slm_nfc_mapped(&view, in, n, 0);
    if (next == n)
        return SLM_OK;
    struct rewriter r = begin(text);
    while (next < n && r.out->length <= text->most) {
        copy(&r, in, at, next);
        at = next + slm_nfc_map(&view, in + next, n - next, r.out);
        move_marks(&r, at);
        next = slm_nfc_mapped(&view, in, n, at);
    }
    copy(&r, in, at, n);
    return finish(&r, text);
}

/* SentencePiece's table of characters. The text is copied when the first one changes. */
static int charsmap(const struct slm_text *t, const struct slm_text_normal *step,
                    struct slm_normal_text *text)
{
    struct slm_charsmap table;
    struct slm_nfc_view clusters;
    bool by_clusters = step->b_length > 0;
    const uint8_t *in = text->data;
    size_t n = text->length, at = 0, done = 0, alone = 0;
    if (!slm_charsmap_open(&table, t->normal_pool + step->a, step->a_length) ||
        (by_clusters && !slm_nfc_open(&clusters, t->normal_pool + step->b, step->b_length)))
        return slm_fail(SLM_EFORMAT, "tokenizer section: a table of characters is damaged");
    struct rewriter r = {0};
    while (at < n && (!r.out || r.out->length <= text->most)) {
        const char *becomes = NULL;
        size_t length = by_clusters ? 0 : slm_added_kept(t, in + at, n - at);
        if (length == 0)
            length = slm_charsmap_next(&table, by_clusters ? &clusters : NULL, in + at, n - at,
                                       &alone, &becomes);
        at += length;
        if (!becomes)
            continue;
        if (!r.out)
            r = begin(text);
        copy(&r, in, done, at - length);
        slm_buf_text(r.out, becomes);
        move_marks(&r, at);
        done = at;
    }
    if (!r.out)
        return SLM_OK;
    copy(&r, in, done, n);
    return finish(&r, text);
}

/* Normal forms. Only the stretches that may change are looked at closely. */
static int compose(const struct slm_text *t, const struct slm_text_normal *step,
                   struct slm_normal_text *text)
{
    struct slm_nfc_view nfc;
    struct slm_nfc_stretch stretch = {0};
    const uint8_t *in = text->data;
    size_t n = text->length, at = 0;
    int rc = open_table(&nfc, t, step);
    if (rc < 0)
        return rc;
    nfc.decomposed = (step->flags & SLM_NORMAL_DECOMPOSED) != 0;
    if (!slm_nfc_next(&nfc, in, n, 0, &stretch))
        return SLM_OK;
    struct rewriter r = begin(text);
    struct slm_buf work = {.allocator = r.out->allocator};
    do {
        copy(&r, in, at, stretch.begin);
        slm_nfc_compose(&nfc, in + stretch.begin, stretch.end - stretch.begin, &work, r.out);
        at = stretch.end;
        move_marks(&r, at);
    } while (slm_nfc_next(&nfc, in, n, at, &stretch));
    copy(&r, in, at, n);
    r.out->failed |= work.failed;
    slm_buf_free(&work);
    return finish(&r, text);
}

int slm_normal_apply(const struct slm_text *t, struct slm_normal_text *text, bool first, bool late)
{
    int rc = SLM_OK;
    for (uint32_t i = 0; i < t->n_normal && rc == SLM_OK; i++) {
        const struct slm_text_normal *step = &t->normal[i];
        if (late != ((step->flags & SLM_NORMAL_LATE) != 0))
            continue;
        switch (step->kind) {
        case SLM_NORMAL_REPLACE: rc = replace(t, step, text); break;
        case SLM_NORMAL_PREPEND: rc = prepend(t, step, text, first); break;
        case SLM_NORMAL_FORM: rc = compose(t, step, text); break;
        case SLM_NORMAL_SQUEEZE: rc = squeeze(text, step->flags); break;
        case SLM_NORMAL_MAP: rc = map(t, step, text); break;
        case SLM_NORMAL_CHARSMAP: rc = charsmap(t, step, text); break;
        default: break;
        }
    }
    return rc;
}

void slm_normal_free(struct slm_normal_text *text)
{
    slm_buf_free(&text->buffers[0]);
    slm_buf_free(&text->buffers[1]);
}
