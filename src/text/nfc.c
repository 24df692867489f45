/*
 * nfc.c - Unicode's normal forms (Unicode Standard Annex 15), and mappings of single characters.
 *
 * A stretch runs from a character that can't join anything before it to the next such one. It is
 * decomposed, its marks are brought into order, and what composes is put together again, unless the
 * decomposed form is wanted. Whether the form is a compatible one is in the table alone.
 */
#include "text/nfc.h"

#include "base/utf8.h"

#include <string.h>

enum {
    HANGUL = 0xAC00,
    HANGUL_END = 0xD7A4,
    LEAD = 0x1100,
    VOWEL = 0x1161,
    TRAIL = 0x11A7, /* one before the first */
    N_LEAD = 19,
    N_VOWEL = 21,
    N_TRAIL = 28
};

/* Lengths only; indices are checked where they are used, since the table has some ten thousand. */
bool slm_nfc_open(struct slm_nfc_view *view, const void *data, size_t length)
{
    const struct slm_nfc *head = data;
    if (length < sizeof(*head) || head->n_stage % 2 != 0)
        return false;
    uint64_t need = sizeof(*head) + (uint64_t)head->n_stage * 2 + (uint64_t)head->n_blocks * 256 +
                    ((uint64_t)head->n_entries + head->n_words) * 4 + (uint64_t)head->n_pairs * 12;
    if (need > length)
        return false;
    view->head = head;
    view->stage = (const uint16_t *)(const void *)(head + 1);
    view->blocks = view->stage + head->n_stage;
    view->entries = (const uint32_t *)(const void *)(view->blocks + (size_t)head->n_blocks * 128);
    view->words = view->entries + head->n_entries;
    view->pairs = view->words + head->n_words;
    view->decomposed = false;
    return true;
}

/* 0 for most characters: they combine with nothing and stay as they are. */
static uint32_t entry_of(const struct slm_nfc_view *v, uint32_t c)
{
    if (c >> 7 >= v->head->n_stage || v->stage[c >> 7] >= v->head->n_blocks)
        return 0;
    uint32_t number = v->blocks[(size_t)v->stage[c >> 7] << 7 | (c & 127)];
    return number < v->head->n_entries ? v->entries[number] : 0;
}

/* Whether something before the character could join with it, or it with itself. */
static bool is_loose(const struct slm_nfc_view *v, uint32_t c)
{
    return (entry_of(v, c) & (SLM_NFC_CLASS | SLM_NFC_CHANGES)) != 0 ||
           (v->decomposed && c >= HANGUL && c < HANGUL_END);
}

/* Everything up to the last character that stands firm is skipped; ASCII always does. */
bool slm_nfc_next(const struct slm_nfc_view *view, const uint8_t *data, size_t n, size_t from,
                  struct slm_nfc_stretch *stretch)
{
    size_t at = from, before = from;
    bool found = false;
    while (at < n) {
        uint32_t c;
        if (data[at] < 0x80) {
            if (found)
                break;
            before = at++;
            continue;
        }
        size_t length = slm_utf8_decode((const char *)data + at, n - at, &c);
        if (length == 0)
            length = 1; /* can't be: the text was repaired */
        else if (is_loose(view, c))
            found = true;
        else if (found)
            break;
        else
            before = at;
        at += length;
    }
    *stretch = (struct slm_nfc_stretch){before, at};
    return found;
}

/* ------------------------------------------------------------------------- decomposing --- */

/* Unicode's longest decomposition has 18 characters. */
enum { LONGEST_DECOMPOSITION = 32 };

/* What the character becomes, behind its length; NULL: it stays. */
static const uint32_t *words_of(const struct slm_nfc_view *v, uint32_t c)
{
    uint32_t at = entry_of(v, c) >> SLM_NFC_WORDS_SHIFT;
    if (at == 0 || at >= v->head->n_words || v->words[at] >= v->head->n_words - at ||
        v->words[at] > LONGEST_DECOMPOSITION)
        return NULL;
    return v->words + at;
}

/* Full decomposition; the table has it ready, so there is no recursion. */
static void decompose(const struct slm_nfc_view *v, uint32_t c, struct slm_buf *out)
{
    if (c >= HANGUL && c < HANGUL_END) {
        uint32_t index = c - HANGUL;
        slm_buf_u32(out, LEAD + index / (N_VOWEL * N_TRAIL));
        slm_buf_u32(out, VOWEL + index % (N_VOWEL * N_TRAIL) / N_TRAIL);
        if (index % N_TRAIL != 0)
            slm_buf_u32(out, TRAIL + index % N_TRAIL);
        return;
    }
    const uint32_t *words = words_of(v, c);
    if (!words)
        slm_buf_u32(out, c);
    for (uint32_t i = 1; words && i <= words[0]; i++)
        slm_buf_u32(out, words[i] <= 0x10FFFF ? words[i] : 0xFFFD);
}

static uint32_t class_of(const struct slm_nfc_view *v, uint32_t c)
{
    return entry_of(v, c) & SLM_NFC_CLASS;
}

/* Marks in a row, ordered by class, equal ones as they come. Counting, since there may be
 * millions of them. spare[n] is scratch. */
static void order_marks(const struct slm_nfc_view *v, uint32_t *marks, size_t n, uint32_t *spare)
{
    size_t starts[256] = {0}, sum = 0;
    bool ordered = true;
    for (size_t i = 1; i < n && ordered; i++)
        ordered = class_of(v, marks[i - 1]) <= class_of(v, marks[i]);
    if (ordered)
        return;
    for (size_t i = 0; i < n; i++)
        starts[class_of(v, marks[i])]++;
    for (int c = 0; c < 256; c++) {
        size_t count = starts[c];
        starts[c] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        spare[starts[class_of(v, marks[i])]++] = marks[i];
    memcpy(marks, spare, n * sizeof(*marks));
}

/* --------------------------------------------------------------------------- composing --- */

/* What the two make together; 0: they stay apart. */
static uint32_t joined(const struct slm_nfc_view *v, uint32_t a, uint32_t b)
{
    if (a >= LEAD && a < LEAD + N_LEAD && b >= VOWEL && b < VOWEL + N_VOWEL)
        return HANGUL + ((a - LEAD) * N_VOWEL + (b - VOWEL)) * N_TRAIL;
    if (a >= HANGUL && a < HANGUL_END && (a - HANGUL) % N_TRAIL == 0 && b > TRAIL &&
        b < TRAIL + N_TRAIL)
        return a + (b - TRAIL);
    uint32_t low = 0, high = v->head->n_pairs;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const uint32_t *pair = v->pairs + 3 * (size_t)middle;
        if (pair[0] < a || (pair[0] == a && pair[1] < b))
            low = middle + 1;
        else
            high = middle;
    }
    const uint32_t *pair = v->pairs + 3 * (size_t)low;
    if (low == v->head->n_pairs || pair[0] != a || pair[1] != b || pair[2] > 0x10FFFF)
        return 0;
    return pair[2];
}

/* Put together in place; returns the new length. A mark joins the last starter unless one of its
 * own or a higher class stands between. */
static size_t compose_all(const struct slm_nfc_view *v, uint32_t *c, size_t n)
{
    size_t kept = 0, starter = SIZE_MAX;
    uint32_t last_class = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t class = class_of(v, c[i]), both = 0;
        bool adjacent = starter != SIZE_MAX && starter + 1 == kept;
        if (starter != SIZE_MAX && (adjacent || last_class < class))
            both = joined(v, c[starter], c[i]);
        if (both != 0) {
            c[starter] = both;
            continue;
        }
        if (class == 0)
            starter = kept;
        last_class = class;
        c[kept++] = c[i];
    }
    return kept;
}

/* A damaged table must not make text that is no UTF-8. */
static void put(uint32_t c, struct slm_buf *out)
{
    char utf8[4];
    bool bad = c > 0x10FFFF || (c >= 0xD800 && c < 0xE000);
    slm_buf_append(out, utf8, slm_utf8_encode(bad ? 0xFFFD : c, utf8));
}

/* Decompose, order, compose, write. The work space holds the characters, and behind them as much
 * again to sort in. */
void slm_nfc_compose(const struct slm_nfc_view *view, const uint8_t *data, size_t n,
                     struct slm_buf *work, struct slm_buf *out)
{
    work->length = 0;
    for (size_t at = 0; at < n;) {
        uint32_t c;
        size_t length = slm_utf8_decode((const char *)data + at, n - at, &c);
        decompose(view, length ? c : 0xFFFD, work);
        at += length ? length : 1;
    }
    size_t count = work->length / 4;
    slm_buf_grow(work, work->length); /* room to order marks in */
    if (work->failed)
        return;
    uint32_t *c = (uint32_t *)(void *)work->data;
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && class_of(view, c[end]) != 0)
            end++;
        if (end > i + 1)
            order_marks(view, c + i, end - i, c + count);
        i = end + 1;
    }
    if (!view->decomposed)
        count = compose_all(view, c, count);
    for (size_t i = 0; i < count; i++)
        put(c[i], out);
}

/* -------------------------------------------------------------------------------- maps --- */

uint32_t slm_nfc_class(const struct slm_nfc_view *view, uint32_t c)
{
    return class_of(view, c);
}

size_t slm_nfc_mapped(const struct slm_nfc_view *view, const uint8_t *data, size_t n, size_t from)
{
    const uint32_t *ascii = view->head->ascii;
    for (size_t at = from; at < n;) {
        uint32_t c = data[at];
        size_t length = 1;
        if (c < 0x80) {
            if (ascii[c >> 5] >> (c & 31) & 1)
                return at;
        } else {
            length = slm_utf8_decode((const char *)data + at, n - at, &c);
            if (length == 0)
                length = 1; /* can't be: the text was repaired */
            else if (words_of(view, c))
                return at;
        }
        at += length;
    }
    return n;
}

size_t slm_nfc_map(const struct slm_nfc_view *view, const uint8_t *data, size_t n,
                   struct slm_buf *out)
{
    uint32_t c;
    size_t length = slm_utf8_decode((const char *)data, n, &c);
    const uint32_t *words = length ? words_of(view, c) : NULL;
    if (!words)
        slm_buf_append(out, data, length ? length : 1);
    for (uint32_t i = 1; words && i <= words[0]; i++)
        put(words[i] == SLM_NFC_SELF ? c : words[i], out);
    return length ? length : 1;
}
