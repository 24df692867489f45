/*
 * fuzz_tokenizer.c - damaged tokenizer sections, and any text through a sound one.
 *
 * Input: byte 0 chooses one of six tokenizers that are built here; bits 0 to 3 of byte 1 are a
 * number of patches, each 4 bytes of offset (modulo the section's length) and a byte to xor; the
 * rest is the text. With patches, nothing may be touched that is not the section's, and every id
 * must exist. Without, the text must come back as it went in, with U+FFFD for what is not UTF-8, in
 * whole characters. With bit 7, the text is repeated as bits 4 to 6 say and taken for one piece,
 * which must give what merging pair by pair, or trying every way, gives.
 */
#include "base/bits.h"
#include "text/merge.h"
#include "text/unigram.h"
#include "vocab/vocab.h"

#include <math.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int condition)
{
    if (!condition)
        abort();
}

static uint32_t add(struct slm_vocab *v, const char *text, size_t n, uint32_t kind)
{
    uint32_t id = v->n_tokens;
    check(slm_vocab_set(v, id, text, n, kind) == SLM_OK);
    v->tokens[id].in_model = kind == SLM_TOKEN_NORMAL;
    v->tokens[id].score = -(float)id;
    return id;
}

/* All bytes, and a few words on top of them. kind 0, 1: byte BPE; 2, 3: SentencePiece; 4: Unigram;
 * 5: WordPiece. */
static void make_vocabulary(struct slm_vocab *v, int kind)
{
    static const char *const WORDS[] = {"aa",
                                        "aaaa",
                                        "ab",
                                        " a",
                                        " ab",
                                        "the",
                                        "th",
                                        " the",
                                        "\n\n",
                                        "\xC3\xA9",
                                        "\xF0\x9F\x98\x80",
                                        "aab",
                                        "b",
                                        "a",
                                        "e",
                                        " "};
    static const char PATTERN[] = "(?i:'s)| ?\\p{L}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    bool bytes = kind < 2;
    v->model = bytes       ? SLM_TEXT_BPE_BYTES
               : kind == 4 ? SLM_TEXT_UNIGRAM
               : kind == 5 ? SLM_TEXT_WORDPIECE
                           : SLM_TEXT_BPE_CHARS;
    v->by_score = !bytes;
    v->flags = bytes ? 0 : SLM_TEXT_BYTE_FALLBACK | SLM_TEXT_BAD_BYTES_SINGLE;
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        add(v, &byte, 1, bytes ? SLM_TOKEN_NORMAL : SLM_TOKEN_BYTE);
    }
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++)
        if (!bytes || strlen(WORDS[i]) > 1)
            add(v, WORDS[i], strlen(WORDS[i]), SLM_TOKEN_NORMAL);
    struct slm_vocab_index index;
    check(slm_vocab_index_init(&index, v, true) == SLM_OK);
    for (uint32_t t = 256; bytes && t < v->n_tokens; t++) {
        const uint8_t *text = v->pool.data + v->tokens[t].text;
        for (uint32_t i = 1; i < v->tokens[t].length; i++) {
            uint32_t left = slm_vocab_find(&index, text, i);
            uint32_t right = slm_vocab_find(&index, text + i, v->tokens[t].length - i);
            if (left == SLM_TEXT_NO_TOKEN || right == SLM_TEXT_NO_TOKEN)
                continue;
            slm_buf_u32(&v->merges, left);
            slm_buf_u32(&v->merges, right);
        }
    }
    slm_vocab_index_free(&index);
    uint32_t end = add(v, "<|end|>", 7, SLM_TOKEN_CONTROL),
             tool = add(v, "<tool>", 6, SLM_TOKEN_USER);
    v->tokens[end].added = v->tokens[tool].added = true;
    v->tokens[end].flags = SLM_ADDED_SPECIAL;
    v->tokens[tool].flags =
        kind & 1 ? SLM_ADDED_SINGLE_WORD | SLM_ADDED_STRIP_LEFT | SLM_ADDED_NORMALIZED : 0;
    if (bytes)
        check(slm_vocab_add_step(v, "\\p{N}", 5, SLM_SCAN_ISOLATED, 0) == SLM_OK &&
              slm_vocab_add_step(v, PATTERN, strlen(PATTERN),
                                 kind == 1 ? SLM_SCAN_CONTIGUOUS : SLM_SCAN_ISOLATED, 0) == SLM_OK);
    if (kind == 4)
        v->unknown_score = -1000;
    if (kind == 5) {
        v->unknown = v->named[SLM_NAMED_UNKNOWN] = end;
        check(slm_vocab_finish_bert(v, true, true) == SLM_OK);
        v->continuation.length = 0; /* so that words have parts */
    }
    if (kind == 1)
        check(slm_vocab_add_normal(v, SLM_NORMAL_FORM, 0, "", "") == SLM_OK);
    if (kind == 3)
        check(slm_vocab_add_normal(v, SLM_NORMAL_REPLACE, 0, "ee", "e") == SLM_OK &&
              slm_vocab_add_normal(v, SLM_NORMAL_PREPEND, 0, " ", "") == SLM_OK);
}

#define KINDS 6
static struct slm_buf sections[KINDS];
static uint32_t n_vocab[KINDS];

static void make_sections(void)
{
    for (int kind = 0; kind < KINDS && sections[kind].length == 0; kind++) {
        struct slm_vocab v;
        slm_vocab_init(&v, NULL);
        make_vocabulary(&v, kind);
        n_vocab[kind] = v.n_tokens;
        check(slm_vocab_build(&v, v.n_tokens, &sections[kind]) == SLM_OK);
        slm_vocab_free(&v);
    }
}

/* Python's and Rust's replacement of what is not UTF-8, the slow way. */
static void repaired(const uint8_t *text, size_t n, struct slm_buf *out)
{
    for (size_t at = 0; at < n;) {
        uint8_t b = text[at], low = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
        uint8_t high = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
        size_t length = b < 0x80   ? 1
                        : b < 0xC2 ? 0
                        : b < 0xE0 ? 2
                        : b < 0xF0 ? 3
                        : b < 0xF5 ? 4
                                   : 0;
        size_t good = 1;
        while (good < length && at + good < n && text[at + good] >= (good == 1 ? low : 0x80) &&
               text[at + good] <= (good == 1 ? high : 0xBF))
            good++;
        if (good == length)
            slm_buf_append(out, text + at, length);
        else
            slm_buf_text(out, "\xEF\xBF\xBD");
        at += good;
    }
}

/* -------------------------------------------------------------------- by the book ------ */

enum { LONGEST = 2560 }; /* windows of merge.c have 1,024 */

struct symbols {
    size_t n;
    size_t start[LONGEST + 1];
    uint32_t token[LONGEST];
};

static uint32_t find(const struct slm_text *t, const uint8_t *text, size_t n)
{
    return n > t->header->max_length ? SLM_TEXT_NO_TOKEN
                                     : slm_text_find(t, text, n, slm_text_hash(text, n));
}

/* Bytes of the character at text[at..n). */
static size_t character(const uint8_t *text, size_t at, size_t n)
{
    size_t end = at + 1;
    while (end < n && (text[end] & 0xC0) == 0x80)
        end++;
    return end - at;
}

/* The pair with the lowest key of all, again and again. */
static void merge_slowly(const struct slm_text *t, const uint8_t *text, size_t n, struct symbols *s)
{
    bool bytes = t->header->model == SLM_TEXT_BPE_BYTES;
    s->n = 0;
    for (size_t at = 0; at < n;) {
        size_t length = bytes ? 1 : character(text, at, n);
        s->start[s->n] = at;
        s->token[s->n++] = bytes ? t->bytes[text[at]] : find(t, text + at, length);
        at += length;
    }
    s->start[s->n] = n;
    for (;;) {
        size_t best = s->n;
        uint64_t least = UINT64_MAX;
        for (size_t i = 0; i + 1 < s->n; i++) {
            size_t begin = s->start[i];
            uint32_t token = find(t, text + begin, s->start[i + 2] - begin);
            if (token == SLM_TEXT_NO_TOKEN)
                continue;
            uint64_t key = ((uint64_t)(t->ranks ? t->ranks[token] : token) + 1) << 32;
            size_t split = t->info[token] & SLM_INFO_SPLIT;
            for (uint32_t k = 0; split == SLM_SPLIT_ROW && k < t->n_merges; k++)
                if (t->merges[k].token == token) {
                    split = t->merges[k].split;
                    key = t->merges[k].key;
                }
            if (split == s->start[i + 1] - begin && key < least) {
                least = key;
                best = i;
            }
        }
        if (best == s->n)
            return;
        s->token[best] = find(t, text + s->start[best], s->start[best + 2] - s->start[best]);
        memmove(s->start + best + 1, s->start + best + 2, (s->n - best - 1) * sizeof s->start[0]);
        memmove(s->token + best + 1, s->token + best + 2, (s->n - best - 2) * sizeof s->token[0]);
        s->n--;
    }
}

/* The best sum up to every place, by every token that ends there; then back from the end. */
static void try_all_ways(const struct slm_text *t, const uint8_t *text, size_t n, struct symbols *s)
{
    static double sums[LONGEST + 1];
    static size_t from[LONGEST + 1];
    static uint32_t last[LONGEST + 1];
    for (size_t i = 0; i <= n; i++)
        sums[i] = i ? -INFINITY : 0;
    for (size_t at = 0; at < n; at += character(text, at, n)) {
        size_t first = at + character(text, at, n);
        bool known = false;
        for (size_t end = first; end <= n && end - at <= t->header->max_length + 4; end++) {
            if (end < n && (text[end] & 0xC0) == 0x80)
                continue;
            uint32_t token = find(t, text + at, end - at);
            if (token == SLM_TEXT_NO_TOKEN && !(end == first && !known))
                continue;
            double sum = sums[at] + (token == SLM_TEXT_NO_TOKEN ? t->header->unknown_score
                                                                : slm_text_score(t, token));
            known = true;
            if (sum > sums[end]) {
                sums[end] = sum;
                from[end] = at;
                last[end] = token;
            }
        }
    }
    s->n = 0;
    for (size_t at = n; at > 0; at = from[at])
        s->n++;
    size_t i = s->n;
    s->start[i] = n;
    for (size_t at = n; at > 0; at = from[at]) {
        s->start[--i] = from[at];
        s->token[i] = last[at];
    }
}

/* A long piece, whatever it consists of, encoded as one. */
static void same_as_by_the_book(const struct slm_text *t, const uint8_t *text, size_t n)
{
    static struct symbols s;
    static slm_token expected[LONGEST], got[LONGEST];
    struct slm_token_sink slow = {.out = expected, .capacity = LONGEST},
                          fast = {.out = got, .capacity = LONGEST};
    if (t->header->model == SLM_TEXT_UNIGRAM) {
        struct slm_unigram u;
        try_all_ways(t, text, n, &s);
        slm_unigram_init(&u, t, NULL);
        check(slm_unigram(&u, text, n, &fast) == SLM_OK);
        slm_unigram_free(&u);
    } else {
        struct slm_merger m;
        merge_slowly(t, text, n, &s);
        slm_merger_init(&m, t, NULL);
        check(slm_merge(&m, text, n, &fast) == SLM_OK);
        slm_merger_free(&m);
    }
    for (size_t i = 0; i < s.n; i++)
        slm_put_symbol(t, text + s.start[i], s.start[i + 1] - s.start[i], s.token[i], &slow);
    check(slow.n == fast.n && memcmp(expected, got, slow.n * sizeof got[0]) == 0);
}

static void repeat(const struct slm_text *t, const uint8_t *text, size_t n, size_t times)
{
    static uint8_t piece[LONGEST];
    struct slm_buf good = {0};
    repaired(text, n, &good);
    size_t length = 0;
    while (times-- > 0 && good.length && length + good.length <= LONGEST) {
        memcpy(piece + length, good.data, good.length);
        length += good.length;
    }
    if (length > 0)
        same_as_by_the_book(t, piece, length);
    slm_buf_free(&good);
}

static void run(const struct slm_text *t, const uint8_t *text, size_t n, bool sound, uint32_t vocab)
{
    struct slm_buf all = {0}, expected = {0};
    struct slm_decoder decoder;
    struct slm_range opaque = {(uint32_t)(n / 3), (uint32_t)(n / 2)};
    unsigned flags = SLM_TEXT_PARSE_SPECIAL;
    int64_t count = slm_text_encode(t, (const char *)text, n, flags, &opaque, 1, NULL, 0, NULL);
    check(!sound || count >= 0);
    if (count < 0)
        return;
    slm_token *ids = malloc(((size_t)count + 1) * sizeof *ids);
    check(ids && slm_text_encode(t, (const char *)text, n, flags, &opaque, 1, ids, (size_t)count,
                                 NULL) == count);
    slm_decoder_init(&decoder, t, SLM_TEXT_SHOW_SPECIAL);
    for (int64_t i = 0; i < count; i++) {
        check(ids[i] >= 0 && (uint32_t)ids[i] < vocab);
        check(slm_decoder_push(&decoder, ids[i], &all) == SLM_OK);
    }
    slm_decoder_finish(&decoder, &all);
    repaired(text, n, &expected);
    if (sound)
        check(all.length == expected.length &&
              (all.length == 0 || memcmp(all.data, expected.data, all.length) == 0));
    slm_buf_free(&all);
    slm_buf_free(&expected);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slm_text t;
    if (size < 2)
        return 0;
    make_sections();
    int kind = data[0] % KINDS;
    size_t n_patches = data[1] & 15, n = sections[kind].length;
    if (size < 2 + 5 * n_patches)
        return 0;
    uint8_t *section = malloc(n); /* exactly: the sanitizer watches its end */
    check(section != NULL);
    memcpy(section, sections[kind].data, n);
    for (size_t i = 0; i < n_patches; i++)
        section[slm_load_u32(data + 2 + 5 * i) % n] ^= data[6 + 5 * i];
    if (slm_text_open(&t, section, n, n_vocab[kind]) == SLM_OK)
        /* Kinds 1, 3 and 5 normalize: their text comes back changed. */
        run(&t, data + 2 + 5 * n_patches, size - 2 - 5 * n_patches,
            n_patches == 0 && (kind & 1) == 0, n_vocab[kind]);
    if (n_patches == 0 && kind != 5 && data[1] & 128)
        repeat(&t, data + 2, size - 2, (size_t)1 << (data[1] >> 4 & 7));
    free(section);
    return 0;
}
