/*
 * unicode.c - what Python's string methods know about characters: white space, case,
 * which are printable. The tables are in unicode_data.h.
 *
 * Left out: the Greek final sigma, which str.lower() alone makes depend on its neighbours, is
 * found by looking at the characters right beside it, see string.c.
 */
#include "base/utf8.h"
#include "template/text.h"

struct case_run {
    uint32_t first : 21;
    uint32_t extent : 10;   /* the last one is first + extent */
    uint32_t alternate : 1; /* only every second character */
    int32_t delta;
};

struct case_special {
    uint16_t c;
    uint16_t out[3]; /* 0: no further character */
};

#include "template/unicode_data.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

bool slm_char_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

bool slm_char_is_printable(uint32_t c)
{
    size_t low = 0, high = COUNT(printable_changes); /* changes at or below c: their number */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (printable_changes[middle] <= c)
            low = middle + 1;
        else
            high = middle;
    }
    return low % 2 == 1;
}

static const struct case_run *find_run(const struct case_run *runs, size_t n, uint32_t c)
{
    size_t low = 0, high = n; /* the first run that ends at or after c */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (runs[middle].first + runs[middle].extent < c)
            low = middle + 1;
        else
            high = middle;
    }
    bool found =
        low < n && runs[low].first <= c && (!runs[low].alternate || (c - runs[low].first) % 2 == 0);
    return found ? &runs[low] : NULL;
}

/* The mapping of c in one pair of tables, or 0 when it has none. */
static size_t map_case(const struct case_run *runs, size_t n_runs,
                       const struct case_special *specials, size_t n_specials, uint32_t c,
                       uint32_t out[3])
{
    const struct case_run *run = find_run(runs, n_runs, c);
    if (run) {
        out[0] = (uint32_t)((int32_t)c + run->delta);
        return 1;
    }
    for (size_t i = 0; i < n_specials && c >= specials[0].c; i++) {
        if (specials[i].c != c)
            continue;
        for (int k = 0; k < 3; k++)
            out[k] = specials[i].out[k];
        return out[2] ? 3 : 2;
    }
    return 0;
}

#define MAP(name, c, out)                                                                          \
    map_case(name##_runs, COUNT(name##_runs), name##_specials, COUNT(name##_specials), c, out)

static size_t same(uint32_t c, uint32_t out[3])
{
    out[0] = c;
    return 1;
}

size_t slm_char_lower(uint32_t c, uint32_t out[3])
{
    size_t n = MAP(lower, c, out);
    return n ? n : same(c, out);
}

size_t slm_char_upper(uint32_t c, uint32_t out[3])
{
    size_t n = MAP(upper, c, out);
    return n ? n : same(c, out);
}

size_t slm_char_title(uint32_t c, uint32_t out[3])
{
    size_t n = MAP(title, c, out);
    return n ? n : slm_char_upper(c, out);
}

bool slm_char_is_cased(uint32_t c)
{
    uint32_t out[3];
    return MAP(lower, c, out) || MAP(upper, c, out);
}

size_t slm_text_leading_space(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint32_t c;
        size_t length = slm_utf8_decode(text + i, n - i, &c);
        if (length == 0 || !slm_char_is_space(c))
            break;
        i += length;
    }
    return i;
}

size_t slm_text_trailing_space(const char *text, size_t n)
{
    size_t end = n;
    while (end > 0) {
        uint32_t c;
        size_t begin = end - 1;
        while (begin > 0 && (text[begin] & 0xC0) == 0x80)
            begin--;
        if (slm_utf8_decode(text + begin, end - begin, &c) == 0 || !slm_char_is_space(c))
            break;
        end = begin;
    }
    return n - end;
}
