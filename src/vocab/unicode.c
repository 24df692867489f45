/*
 * unicode.c - sets of characters as sorted ranges, and the properties that patterns name.
 *
 * A set is small (some hundred ranges at most), so everything is a simple walk over it. The
 * generated tables live in this file alone.
 */
#include "vocab/unicode.h"

#include "base/bits.h"
#include "text/charsmap.h"
#include "vocab/unicode_data.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int compare_ranges(const void *a, const void *b)
{
    const struct slm_char_range *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Sort, and join what overlaps or touches. */
static void tidy(struct slm_char_set *set)
{
    size_t n = set->ranges.length / sizeof(struct slm_char_range);
    struct slm_char_range *r = (struct slm_char_range *)(void *)set->ranges.data;
    if (n == 0 || set->ranges.failed)
        return;
    qsort(r, n, sizeof(*r), compare_ranges);
    size_t kept = 0;
    for (size_t i = 1; i < n; i++) {
        if (r[i].first <= r[kept].last + 1) {
            if (r[i].last > r[kept].last)
                r[kept].last = r[i].last;
        } else {
            r[++kept] = r[i];
        }
    }
    set->ranges.length = (kept + 1) * sizeof(*r);
}

/* Without tidying: for many in a row. */
static void append(struct slm_char_set *set, uint32_t first, uint32_t last)
{
    struct slm_char_range range = {first, last};
    slm_buf_append(&set->ranges, &range, sizeof(range));
}

void slm_set_add(struct slm_char_set *set, uint32_t first, uint32_t last)
{
    append(set, first, last);
    tidy(set);
}

void slm_set_add_set(struct slm_char_set *set, const struct slm_char_set *other)
{
    slm_buf_append(&set->ranges, other->ranges.data, other->ranges.length);
    set->ranges.failed |= other->ranges.failed;
    tidy(set);
}

/* What lies between the ranges, up to the last character of Unicode. */
void slm_set_invert(struct slm_char_set *set)
{
    struct slm_char_set out = {.ranges.allocator = set->ranges.allocator};
    size_t n;
    const struct slm_char_range *r = slm_set_ranges(set, &n);
    uint32_t next = 0;
    for (size_t i = 0; i < n; i++) {
        if (r[i].first > next)
            append(&out, next, r[i].first - 1);
        next = r[i].last + 1;
    }
    if (next <= SLM_UNICODE_LAST)
        append(&out, next, SLM_UNICODE_LAST);
    out.ranges.failed |= set->ranges.failed;
    slm_set_free(set);
    *set = out;
}

/* Two sorted lists side by side; whichever range ends first has had its turn. */
void slm_set_intersect(struct slm_char_set *set, const struct slm_char_set *other)
{
    struct slm_char_set out = {.ranges.allocator = set->ranges.allocator};
    size_t n, m, i = 0, j = 0;
    const struct slm_char_range *a = slm_set_ranges(set, &n);
    const struct slm_char_range *b = slm_set_ranges(other, &m);
    while (i < n && j < m) {
        uint32_t first = a[i].first > b[j].first ? a[i].first : b[j].first;
        uint32_t last = a[i].last < b[j].last ? a[i].last : b[j].last;
        if (first <= last)
            append(&out, first, last);
        if (a[i].last < b[j].last)
            i++;
        else
            j++;
    }
    out.ranges.failed |= set->ranges.failed || other->ranges.failed;
    slm_set_free(set);
    *set = out;
}

/* Binary search for the first range that does not end before c. */
bool slm_set_has(const struct slm_char_set *set, uint32_t c)
{
    size_t n;
    const struct slm_char_range *r = slm_set_ranges(set, &n);
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && r[low].first <= c;
}

bool slm_set_equal(const struct slm_char_set *a, const struct slm_char_set *b)
{
    return a->ranges.length == b->ranges.length &&
           (a->ranges.length == 0 || memcmp(a->ranges.data, b->ranges.data, a->ranges.length) == 0);
}

bool slm_set_disjoint(const struct slm_char_set *a, const struct slm_char_set *b)
{
    size_t n, m, i = 0, j = 0;
    const struct slm_char_range *x = slm_set_ranges(a, &n), *y = slm_set_ranges(b, &m);
    while (i < n && j < m) {
        if (x[i].last < y[j].first)
            i++;
        else if (y[j].last < x[i].first)
            j++;
        else
            return false;
    }
    return true;
}

void slm_set_free(struct slm_char_set *set)
{
    slm_buf_free(&set->ranges);
}

/* ------------------------------------------------------------------------ properties --- */

/* Add every run whose category is in the bit mask. */
static void add_categories(struct slm_char_set *set, uint32_t mask)
{
    for (size_t i = 0; i < COUNT(CATEGORY_RUNS); i++) {
        if (!(mask >> (CATEGORY_RUNS[i] & 0xFF) & 1))
            continue;
        uint32_t last =
            i + 1 < COUNT(CATEGORY_RUNS) ? (CATEGORY_RUNS[i + 1] >> 8) - 1 : SLM_UNICODE_LAST;
        append(set, CATEGORY_RUNS[i] >> 8, last);
    }
    tidy(set);
}

/* Categories whose name begins with the n characters given: "L" means all five kinds of letters. */
static uint32_t categories_named(const char *name, size_t n)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < N_CATEGORIES; i++)
        if (n >= 1 && n <= 2 && memcmp(CATEGORY_NAMES[i], name, n) == 0)
            mask |= 1u << i;
    return mask;
}

bool slm_set_add_property(struct slm_char_set *set, const char *name, size_t n)
{
    uint32_t mask = categories_named(name, n);
    if (n == 2 && memcmp(name, "P8", 2) == 0) {
        for (size_t i = 0; i < COUNT(PUNCTUATION_8); i += 2)
            append(set, PUNCTUATION_8[i], PUNCTUATION_8[i + 1]);
        tidy(set);
        return true;
    }
    if (mask == 0)
        return false;
    add_categories(set, mask);
    return true;
}

void slm_set_add_space(struct slm_char_set *set)
{
    /* White_Space: 25 characters, unchanged since Unicode 6.3. */
    static const struct slm_char_range SPACES[] = {
        {0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
        {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
    slm_buf_append(&set->ranges, SPACES, sizeof(SPACES));
    tidy(set);
}

void slm_set_add_digit(struct slm_char_set *set)
{
    add_categories(set, 1u << CATEGORY_ND);
}

/* Letters, marks, decimal and letter numbers, connecting punctuation. */
void slm_set_add_word(struct slm_char_set *set)
{
    add_categories(set, categories_named("L", 1) | categories_named("M", 1) | 1u << CATEGORY_ND |
                            1u << CATEGORY_NL | 1u << CATEGORY_PC);
}

/* (?i) concerns short English words in all published patterns; anything beyond ASCII is refused
 * by the parser, but for what folds into it. */
void slm_set_fold_case(struct slm_char_set *set)
{
    struct slm_char_set more = {.ranges.allocator = set->ranges.allocator};
    for (uint32_t c = 'a'; c <= 'z'; c++) {
        uint32_t upper = c - 'a' + 'A';
        /* Two letters outside ASCII fold into it: the long s and the Kelvin sign. */
        uint32_t third = c == 's' ? 0x17F : c == 'k' ? 0x212A : c;
        if (!slm_set_has(set, c) && !slm_set_has(set, upper) && !slm_set_has(set, third))
            continue;
        append(&more, c, c);
        append(&more, upper, upper);
        append(&more, third, third);
    }
    slm_set_add_set(set, &more);
    slm_set_free(&more);
}

/* ------------------------------------------------------------------------- normal forms --- */

/* What is to be known of characters: see struct slm_nfc. */
struct nfc_builder {
    uint16_t *number;       /* [0x110000]: of the entry; 0 for most */
    struct slm_buf entries; /* u32[]; entry 0 is that of most characters */
    struct slm_buf words;   /* u32[]: decompositions, each behind its length */
    bool with_pairs;
};

/* Give the character an entry of its own to hold `bits`, unless it has one. */
static void add_entry(struct nfc_builder *b, uint32_t c, uint32_t bits)
{
    if (b->number[c] == 0) {
        b->number[c] = (uint16_t)(b->entries.length / 4);
        slm_buf_u32(&b->entries, 0);
    }
    if (!b->entries.failed) {
        uint8_t *entry = b->entries.data + 4 * (size_t)b->number[c];
        uint32_t value = slm_load_u32(entry) | bits;
        memcpy(entry, &value, 4);
    }
}

static bool is_composed(uint32_t c)
{
    for (size_t i = 2; i < COUNT(COMPOSITIONS); i += 3)
        if (COMPOSITIONS[i] == c)
            return true;
    return false;
}

/* Rows as in unicode_data.h: c << 8 | n, then what c becomes. A character that has a decomposition
 * already keeps it. */
static void add_decompositions(struct nfc_builder *b, const uint32_t *rows, size_t n, bool final)
{
    for (size_t i = 0; i < n; i += 1 + (rows[i] & 0xFF)) {
        uint32_t c = rows[i] >> 8, count = rows[i] & 0xFF;
        uint32_t at = (uint32_t)(b->words.length / 4) << SLM_NFC_WORDS_SHIFT;
        if (b->number[c] != 0)
            continue;
        add_entry(b, c, at | (final || !is_composed(c) ? SLM_NFC_CHANGES : 0));
        slm_buf_u32(&b->words, count);
        for (uint32_t k = 1; k <= count; k++)
            slm_buf_u32(&b->words, rows[i + k]);
    }
}

/* Three reasons to have an entry: a decomposition, a combining class, or being the second part of a
 * composition. */
static void add_entries(struct nfc_builder *b, bool compatible, bool decomposed)
{
    if (compatible)
        add_decompositions(b, COMPATIBILITY, COUNT(COMPATIBILITY), true);
    add_decompositions(b, DECOMPOSITIONS, COUNT(DECOMPOSITIONS), decomposed);
    for (size_t i = 0; i < COUNT(COMBINING_RUNS); i++) {
        uint32_t last =
            i + 1 < COUNT(COMBINING_RUNS) ? (COMBINING_RUNS[i + 1] >> 8) - 1 : SLM_UNICODE_LAST;
        for (uint32_t c = COMBINING_RUNS[i] >> 8; (COMBINING_RUNS[i] & 0xFF) && c <= last; c++)
            add_entry(b, c, COMBINING_RUNS[i] & 0xFF);
    }
    b->with_pairs = !decomposed;
    if (decomposed)
        return;
    for (size_t i = 1; i < COUNT(COMPOSITIONS); i += 3)
        add_entry(b, COMPOSITIONS[i], SLM_NFC_CHANGES);
    for (uint32_t c = 0x1161; c <= 0x1175; c++) /* vowels and final consonants of Hangul */
        add_entry(b, c, SLM_NFC_CHANGES);
    for (uint32_t c = 0x11A8; c <= 0x11C2; c++)
        add_entry(b, c, SLM_NFC_CHANGES);
}

static void write_table(const struct nfc_builder *b, struct slm_buf *blocks, struct slm_buf *out)
{
    uint32_t last = SLM_UNICODE_LAST, n_blocks = 0;
    uint16_t stage[(SLM_UNICODE_LAST + 1) / 128];
    while (last > 0 && b->number[last] == 0)
        last--;
    uint32_t n_stage = (last / 256 + 1) * 2; /* even, so that what follows is aligned */
    for (uint32_t i = 0; i < n_stage && !blocks->failed; i++) {
        const uint16_t *block = b->number + (size_t)i * 128;
        uint32_t same = 0;
        while (same < n_blocks && memcmp(blocks->data + (size_t)same * 256, block, 256) != 0)
            same++;
        if (same == n_blocks) {
            slm_buf_append(blocks, block, 256);
            n_blocks++;
        }
        stage[i] = (uint16_t)same;
    }
    struct slm_nfc head = {.n_stage = n_stage,
                           .n_blocks = n_blocks,
                           .n_entries = (uint32_t)(b->entries.length / 4),
                           .n_words = (uint32_t)(b->words.length / 4),
                           .n_pairs = b->with_pairs ? (uint32_t)(COUNT(COMPOSITIONS) / 3) : 0};
    for (uint32_t c = 0; c < 128; c++)
        head.ascii[c >> 5] |= (uint32_t)(b->number[c] != 0) << (c & 31);
    slm_buf_append(out, &head, sizeof(head));
    slm_buf_append(out, stage, head.n_stage * sizeof(stage[0]));
    slm_buf_append(out, blocks->data, blocks->length);
    slm_buf_append(out, b->entries.data, b->entries.length);
    slm_buf_append(out, b->words.data, b->words.length);
    slm_buf_append(out, COMPOSITIONS, head.n_pairs * 12);
}

/* Fill a table with `fill` and append it. */
static int build_table(struct slm_buf *out, void (*fill)(struct nfc_builder *, const void *),
                       const void *what)
{
    struct nfc_builder b = {.entries.allocator = out->allocator, .words.allocator = out->allocator};
    struct slm_buf blocks = {.allocator = out->allocator};
    size_t size = (SLM_UNICODE_LAST + 1) * sizeof(uint16_t);
    int rc = SLM_ENOMEM;
    b.number = slm_calloc(out->allocator, size);
    if (b.number) {
        slm_buf_u32(&b.entries, 0);
        slm_buf_u32(&b.words, 0);
        fill(&b, what);
        write_table(&b, &blocks, out);
        out->failed |= b.entries.failed || b.words.failed || blocks.failed;
        rc = slm_buf_ok(out);
    }
    slm_free(out->allocator, b.number, size);
    slm_buf_free(&b.entries);
    slm_buf_free(&b.words);
    slm_buf_free(&blocks);
    return rc;
}

static void fill_form(struct nfc_builder *b, const void *what)
{
    const bool *form = what;
    add_entries(b, form[0], form[1]);
}

int slm_unicode_normal_tables(struct slm_buf *out, bool compatible, bool decomposed)
{
    bool form[2] = {compatible, decomposed};
    return build_table(out, fill_form, form);
}

/* ----------------------------------------------------------------------------- mappings --- */

void slm_unicode_map_row(struct slm_buf *rows, uint32_t first, uint32_t last, uint32_t n,
                         const uint32_t *to)
{
    slm_buf_u32(rows, first);
    slm_buf_u32(rows, last);
    slm_buf_u32(rows, n);
    slm_buf_append(rows, to, (size_t)n * 4);
}

static void map_ranges(struct slm_buf *rows, const uint32_t *ranges, size_t n, uint32_t count,
                       const uint32_t *to)
{
    for (size_t i = 0; i < n; i += 2)
        slm_unicode_map_row(rows, ranges[i], ranges[i + 1], count, to);
}

void slm_unicode_mapping(struct slm_buf *rows, enum slm_unicode_mapping which)
{
    static const uint32_t SPACE[] = {' '}, AROUND[] = {' ', SLM_NFC_SELF, ' '};
    static const uint32_t SPACES[] = {'\t',   '\n',   '\r',   '\r',   0xA0,   0xA0,   0x1680,
                                      0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x202F,
                                      0x205F, 0x205F, 0x3000, 0x3000, 0xFFFD, 0xFFFD};
    /* As BERT has them, with a gap before U+2B920 that its authors meant to be none. */
    static const uint32_t CHINESE[] = {0x4E00,  0x9FFF,  0x3400,  0x4DBF,  0x20000,
                                       0x2A6DF, 0x2A700, 0x2B81F, 0x2B920, 0x2CEAF,
                                       0xF900,  0xFAFF,  0x2F800, 0x2FA1F};
    static const uint32_t WHITE[] = {9,      13,     0x85,   0x85,   0xA0,   0xA0,
                                     0x1680, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029,
                                     0x202F, 0x202F, 0x205F, 0x205F, 0x3000, 0x3000};
    static const uint32_t NMT_SPACES[] = {9,      10,     12,     13,     0x1680, 0x1680,
                                          0x200B, 0x200F, 0x2028, 0x2029, 0x2581, 0x2581,
                                          0xFEFF, 0xFEFF, 0xFFFD, 0xFFFD};
    static const uint32_t NMT_NONE[] = {1, 8, 11, 11, 14, 0x1F, 0x7F, 0x7F, 0x8F, 0x8F, 0x9F, 0x9F};
    switch (which) {
    case SLM_MAP_LOWER:
        for (size_t i = 0; i < COUNT(LOWERCASE); i += 1 + (LOWERCASE[i] & 0xFF))
            slm_unicode_map_row(rows, LOWERCASE[i] >> 8, LOWERCASE[i] >> 8, LOWERCASE[i] & 0xFF,
                                LOWERCASE + i + 1);
        break;
    case SLM_MAP_NO_ACCENTS: map_ranges(rows, NONSPACING_8, COUNT(NONSPACING_8), 0, NULL); break;
    case SLM_MAP_NO_MARKS: map_ranges(rows, MARKS_9, COUNT(MARKS_9), 0, NULL); break;
    case SLM_MAP_CLEAN:
        map_ranges(rows, OTHER_8, COUNT(OTHER_8), 0, NULL);
        map_ranges(rows, SPACES, COUNT(SPACES) - 2, 1, SPACE);
        map_ranges(rows, SPACES + COUNT(SPACES) - 2, 2, 0, NULL); /* U+FFFD vanishes */
        break;
    case SLM_MAP_SPACE_CHINESE: map_ranges(rows, CHINESE, COUNT(CHINESE), 3, AROUND); break;
    case SLM_MAP_WHITE: map_ranges(rows, WHITE, COUNT(WHITE), 1, SPACE); break;
    case SLM_MAP_NMT:
        map_ranges(rows, NMT_SPACES, COUNT(NMT_SPACES), 1, SPACE);
        map_ranges(rows, NMT_NONE, COUNT(NMT_NONE), 0, NULL);
        break;
    }
}

/* Characters of a row share an entry. */
static void fill_map(struct nfc_builder *b, const void *what)
{
    const struct slm_buf *rows = what;
    const uint32_t *row = (const uint32_t *)(const void *)rows->data;
    const uint32_t *end = row + rows->length / 4;
    for (; row < end; row += 3 + row[2]) {
        uint16_t number = (uint16_t)(b->entries.length / 4);
        slm_buf_u32(&b->entries, (uint32_t)(b->words.length / 4) << SLM_NFC_WORDS_SHIFT);
        slm_buf_append(&b->words, row + 2, (size_t)(row[2] + 1) * 4);
        for (uint32_t c = row[0]; c <= row[1]; c++)
            b->number[c] = number;
    }
}

int slm_unicode_map_table(const struct slm_buf *rows, struct slm_buf *out)
{
    return build_table(out, fill_map, rows);
}

/* ----------------------------------------------------------------------------- clusters --- */

static void fill_clusters(struct nfc_builder *b, const void *what)
{
    static const struct {
        const uint32_t *ranges;
        size_t n;
        uint32_t class;
    } CLASSES[] = {{CLUSTER_EXTEND, COUNT(CLUSTER_EXTEND), SLM_CLUSTER_EXTEND},
                   {CLUSTER_PREPEND, COUNT(CLUSTER_PREPEND), SLM_CLUSTER_PREPEND},
                   {CLUSTER_CONTROL, COUNT(CLUSTER_CONTROL), SLM_CLUSTER_CONTROL}};
    (void)what;
    for (size_t k = 0; k < COUNT(CLASSES); k++) {
        uint16_t number = (uint16_t)(b->entries.length / 4);
        slm_buf_u32(&b->entries, CLASSES[k].class);
        for (size_t i = 0; i < CLASSES[k].n; i += 2)
            for (uint32_t c = CLASSES[k].ranges[i]; c <= CLASSES[k].ranges[i + 1]; c++)
                b->number[c] = number;
    }
}

int slm_unicode_cluster_table(struct slm_buf *out)
{
    return build_table(out, fill_clusters, NULL);
}
