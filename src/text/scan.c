/*
 * scan.c - the one scanner behind all pre-tokenizers: it walks an automaton from the file.
 *
 * No stack and no going back but to the end of the last match: the automata are such that the
 * match seen last is the right one (vocab/regex_dfa.c). slm_text_open() has proven that every
 * transition stays inside the table.
 */
#include "text/scan.h"

/* Two loads; the table ends where all characters are of the same class. */
static inline uint32_t class_of(const struct slm_text *t, uint32_t c)
{
    if (c >> 7 >= t->classes->n_stage)
        return t->classes->default_class;
    return t->blocks[(uint32_t)t->classes->stage[c >> 7] << 7 | (c & 127)];
}

/* The class of the character that begins with the byte p[0] >= 0x80, of `left` bytes, and its
 * length. What a file's normalizer writes need not be UTF-8: a cut character is one byte. */
static inline uint32_t class_of_long(const struct slm_text *t, const uint8_t *p, size_t left,
                                     size_t *length)
{
    uint32_t c;
    if (left < 4 && left < (p[0] < 0xE0 ? 2u : p[0] < 0xF0 ? 3u : 4u)) {
        *length = 1;
        return t->classes->default_class;
    }
    if (p[0] < 0xE0) {
        c = (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
        *length = 2;
    } else if (p[0] < 0xF0) {
        c = (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
        *length = 3;
    } else {
        c = (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
            (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
        *length = 4;
    }
    return class_of(t, c);
}

/* The same as below for a scanner that reads bytes. */
static size_t match_bytes(const struct slm_text *t, const struct slm_text_scanner *scanner,
                          const uint8_t *data, size_t at, size_t end)
{
    const uint16_t *transitions = t->transitions + scanner->first;
    uint32_t state = t->classes->n_classes;
    size_t last = at;
    for (; at < end; at++) {
        uint32_t entry = transitions[state + class_of(t, slm_printable(data[at]))];
        if (entry & SLM_SCAN_MATCH)
            last = at;
        state = entry & ~SLM_SCAN_MATCH;
        if (state == 0)
            return last;
    }
    return transitions[state] & SLM_SCAN_MATCH ? end : last;
}

/* Where the match that begins at `at` ends; `at` itself when there is none. */
static size_t match_at(const struct slm_text *t, const struct slm_text_scanner *scanner,
                       const uint8_t *data, size_t at, size_t end)
{
    const uint16_t *transitions = t->transitions + scanner->first;
    const uint8_t *ascii = t->blocks;
    /* Rows are premultiplied: a state is the place where its row begins. */
    uint32_t state = t->classes->n_classes; /* the second row */
    size_t last = at;
    while (at < end) {
        size_t length = 1;
        uint32_t class = data[at] < 0x80 ? ascii[data[at]] : class_of_long(t, data + at, end - at, &length);
        uint32_t entry = transitions[state + class];
        if (entry & SLM_SCAN_MATCH)
            last = at;
        state = entry & ~SLM_SCAN_MATCH;
        if (state == 0)
            return last;
        at += length;
    }
    return transitions[state] & SLM_SCAN_MATCH ? end : last;
}

/* The text is valid UTF-8, so continuation bytes are all there is to skip. */
static inline size_t next_character(const uint8_t *data, size_t at, size_t end)
{
    do {
        at++;
    } while (at < end && (data[at] & 0xC0) == 0x80);
    return at;
}

/* The next match or the text before it. The end is an empty span. */
static struct slm_scan_span next_span(struct slm_scan *scan, size_t step)
{
    struct slm_scan_level *level = &scan->levels[step];
    const struct slm_text_scanner *scanner = &scan->text->scanners[step];
    struct slm_scan_span span = level->next;
    if (span.begin < span.end) {
        level->next.end = level->next.begin;
        return span;
    }
    bool bytes = (scanner->flags & SLM_SCAN_BYTES) != 0;
    /* Nothing waits: look for a match at each place in turn. What is passed over on the way is a
     * span of its own, and the match has to wait. */
    span = (struct slm_scan_span){level->at, level->at, !(scanner->flags & SLM_SCAN_INVERT)};
    size_t at = level->at;
    while (at < level->end) {
        size_t match = bytes ? match_bytes(scan->text, scanner, scan->data, at, level->end)
                             : match_at(scan->text, scanner, scan->data, at, level->end);
        if (match > at) {
            level->at = match;
            if (at == span.begin) {
                span.end = match;
                return span;
            }
            level->next = (struct slm_scan_span){at, match, span.match};
            break;
        }
        at = bytes ? at + 1 : next_character(scan->data, at, level->end);
    }
    if (at >= level->end)
        level->at = level->end;
    span.end = at < level->end ? at : level->end;
    span.match = !span.match;
    return span;
}

/* The next piece of one step; false when its text is used up. */
static bool next_piece(struct slm_scan *scan, size_t step, size_t *begin, size_t *end)
{
    struct slm_scan_level *level = &scan->levels[step];
    uint32_t behaviour = scan->text->scanners[step].behaviour;
    struct slm_scan_span span = next_span(scan, step);
    while (behaviour == SLM_SCAN_REMOVED && span.match && span.begin < span.end)
        span = next_span(scan, step);
    if (span.begin == span.end)
        return false;
    /* The other behaviours join neighbours. */
    while (behaviour == SLM_SCAN_PREVIOUS || behaviour == SLM_SCAN_NEXT ||
           behaviour == SLM_SCAN_CONTIGUOUS) {
        struct slm_scan_span after = next_span(scan, step);
        bool join = behaviour == SLM_SCAN_PREVIOUS ? !span.match && after.match
                    : behaviour == SLM_SCAN_NEXT   ? span.match && !after.match
                                                   : span.match == after.match;
        if (after.begin == after.end || !join) {
            level->at =
                after.begin; /* read it again next time: spans are found from left to right */
            level->next.end = level->next.begin;
            break;
        }
        span.end = after.end;
        if (behaviour != SLM_SCAN_CONTIGUOUS)
            break;
    }
    *begin = span.begin;
    *end = span.end;
    return true;
}

void slm_scan_start(struct slm_scan *scan, const struct slm_text *text, const uint8_t *data,
                    size_t begin, size_t end)
{
    scan->text = text;
    scan->data = data;
    scan->begin = begin;
    scan->end = end;
    for (uint32_t i = 0; i < text->n_scanners; i++)
        scan->levels[i] = (struct slm_scan_level){0};
    scan->levels[0].at = begin;
    scan->levels[0].end = end;
}

/* A counter with as many digits as there are steps: the last one runs fastest. */
bool slm_scan_next(struct slm_scan *scan, size_t *begin, size_t *end)
{
    uint32_t n = scan->text->n_scanners;
    if (n == 0) {
        *begin = scan->begin;
        *end = scan->begin = scan->end;
        return *begin < *end;
    }
    /* From the last step backwards to the first that still has a piece, and down again with it. */
    uint32_t step = n - 1;
    for (;;) {
        if (next_piece(scan, step, begin, end)) {
            if (step == n - 1)
                return true;
            step++;
            scan->levels[step] = (struct slm_scan_level){.at = *begin, .end = *end};
        } else if (step-- == 0) {
            return false;
        }
    }
}

bool slm_scan_is_word(const struct slm_text *text, const uint8_t *data, size_t at, size_t end)
{
    return text->word_scanner >= 0 &&
           match_at(text, &text->scanners[text->word_scanner], data, at, end) > at;
}
