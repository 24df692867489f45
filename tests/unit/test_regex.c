/*
 * test_regex.c - patterns of pre-tokenizers to automata, and the scanner that runs them. What the
 * pieces are comes from backtracking by hand; the published patterns are compared with the
 * reference in golden/test_tokenizers.c.
 */
#include "text/scan.h"
#include "vocab/regex.h"
#include "vocab/vocab.h"

#include "support/hooks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A vocabulary of bytes, cut by these steps. */
static int build(const struct slm_regex_step *steps, size_t n, struct slm_buf *section,
                 const slm_allocator *a)
{
    struct slm_vocab v;
    int rc = SLM_OK;
    slm_vocab_init(&v, a);
    v.model = SLM_TEXT_BPE_BYTES;
    for (uint32_t i = 0; i < 256 && rc == SLM_OK; i++) {
        uint8_t byte = (uint8_t)i;
        rc = slm_vocab_set(&v, i, &byte, 1, SLM_TOKEN_NORMAL);
        if (rc == SLM_OK)
            v.tokens[i].in_model = true;
    }
    for (size_t i = 0; i < n && rc == SLM_OK; i++)
        rc = slm_vocab_add_step(&v, steps[i].pattern, steps[i].length, steps[i].behaviour,
                                steps[i].flags);
    if (rc == SLM_OK)
        rc = slm_vocab_build(&v, 256, section);
    slm_vocab_free(&v);
    return rc;
}

/* The pieces of the text, joined by |. */
static void pieces_are(const struct slm_regex_step *steps, size_t n, const char *text,
                       const char *expected)
{
    struct slm_buf section = {0}, joined = {0};
    struct slm_text t;
    struct slm_scan scan;
    size_t begin, end, last = 0;
    if (build(steps, n, &section, NULL) < 0)
        fail_msg("%s: %s", steps[0].pattern, slm_error_message());
    assert_int_equal(slm_text_open(&t, section.data, section.length, 256), SLM_OK);
    slm_scan_start(&scan, &t, (const uint8_t *)text, 0, strlen(text));
    while (slm_scan_next(&scan, &begin, &end)) {
        if (begin < last || end <= begin || end > strlen(text))
            fail_msg("%s on \"%s\": piece %zu to %zu", steps[0].pattern, text, begin, end);
        if (joined.length)
            slm_buf_byte(&joined, '|');
        slm_buf_append(&joined, text + begin, end - begin);
        last = end;
    }
    slm_buf_byte(&joined, 0);
    if (strcmp((char *)joined.data, expected) != 0)
        fail_msg("%s on \"%s\": %s; should be %s", steps[0].pattern, text, (char *)joined.data,
                 expected);
    slm_buf_free(&section);
    slm_buf_free(&joined);
}

static struct slm_regex_step step(const char *pattern, uint32_t behaviour, uint32_t flags)
{
    return (struct slm_regex_step){pattern, strlen(pattern), behaviour, flags};
}

static void one(const char *pattern, const char *text, const char *expected)
{
    struct slm_regex_step s = step(pattern, SLM_SCAN_ISOLATED, 0);
    pieces_are(&s, 1, text, expected);
}

static void test_preference(void **state)
{
    (void)state;
    one("a|ab", "abab", "a|b|a|b"); /* the first alternative, not the longest */
    one("ab|a", "abab", "ab|ab");
    one("a*b|a", "aaab aaa", "aaab| |a|a|a"); /* falls back after looking far ahead */
    one("a+?b?", "aab", "a|ab");              /* lazy */
    one("a{2}", "aaaaa", "aa|aa|a");
    one("a{2,3}", "aaaaaaa", "aaa|aaa|a"); /* 7 = 3 + 3 + 1 */
    one("a{2,}", "aaaaa a", "aaaaa| a");
    one("a{,2}b", "aaab", "a|aab");
    one("(ab|c)+d?", "abcabdx", "abcabd|x");
    one("x(?:a|b(?:c|d)*)?y", "xyxbcdcyxay", "xy|xbcdcy|xay");
    one("a{2}?b", "aabab", "aab|a|b"); /* Oniguruma's reading: a{2}, or nothing */
}

static void test_sets(void **state)
{
    (void)state;
    one("[^\\s]+", "ab  cd", "ab|  |cd");
    one("[a-c\\d]+", "abcd12e", "abc|d|12|e");
    one("[\\p{L}&&[^a-z]]+", "abÄÖcD", "ab|ÄÖ|c|D");
    one("[]a]+", "a]b", "a]|b");
    one("[\\]\\-a]+", "a-]b", "a-]|b");
    one("\\p{^L}+", "ab12", "ab|12");
    one("\\P{L}+", "ab12", "ab|12");
    one("\\x{e9}|\\u00e8|\\x41", "éèAx", "é|è|A|x");
    one("(?i:ab)c", "ABcabcaBC", "ABc|abc|aBC");
    one("(?i)s", "xſS", "x|ſ|S"); /* the long s is a small s */
    one("(?s:.)x|.x", "\nxax\n", "\nx|ax|\n");
    one(".x", "\nx", "\nx");
    one("\\w+", "añ_1٣!", "añ_1٣|!");
}

static void test_ahead(void **state)
{
    (void)state;
    one("\\s+(?!\\S)|\\s+", "a   b  ", "a|  | |b|  ");
    one("\\s+(?!\\S)|\\s+", " x", " |x");
    one("a(?=b)", "abaa", "a|baa");
    one("a(?=b|$)", "abac\na", "a|bac\n|a");
    one("\\s+$", "a \nb  ", "a| |\nb|  "); /* the end of a line */
    one("\\s+\\z", "a \nb  ", "a \nb|  ");
    one("a++b|[^x]?+x+|b{1,2}+", "aaabxxbbb",
        "aaab|xx|bbb"); /* possessive, but it does not matter */
}

static void test_behaviours(void **state)
{
    (void)state;
    static const char *const expected[] = {"a|,|,|b|c|,|d", "a|b|c|d", "a,|,|b|c,|d", "a|,|,b|c|,d",
                                           "a|,,|b|c|,|d"};
    for (uint32_t behaviour = SLM_SCAN_ISOLATED; behaviour <= SLM_SCAN_CONTIGUOUS; behaviour++) {
        struct slm_regex_step s[] = {step(";", SLM_SCAN_REMOVED, 0), step(",", behaviour, 0)};
        pieces_are(s, 2, "a,,b;c,d", expected[behaviour]);
    }
    struct slm_regex_step words = step("\\w+", SLM_SCAN_REMOVED, SLM_SCAN_INVERT);
    pieces_are(&words, 1, " ab, c!", "ab|c");
    /* Steps see no further than their piece: the space before 5 is at the end of one. */
    struct slm_regex_step two[] = {step("\\p{N}", SLM_SCAN_ISOLATED, 0),
                                   step(" ?\\p{L}+|\\s+(?!\\S)|\\s+", SLM_SCAN_ISOLATED, 0)};
    pieces_are(two, 2, "a  55  b", "a|  |5|5| | b");
    /* Bytes as GPT-2 writes them: the second byte of é is a sign, of ½ a number. */
    struct slm_regex_step bytes[] = {step("é", SLM_SCAN_ISOLATED, 0),
                                     step("\\p{N}", SLM_SCAN_ISOLATED, SLM_SCAN_BYTES)};
    pieces_are(bytes, 2, "aé½", "a|é|\xC2|\xBD");
}

static void test_refused(void **state)
{
    static const struct {
        const char *pattern;
        int code;
        const char *message;
    } BAD[] = {
        {"a(b", SLM_EFORMAT, "( without )"},
        {"a)b", SLM_EFORMAT, ") without ("},
        {"[a", SLM_EFORMAT, "[ without ]"},
        {"*a", SLM_EFORMAT, "nothing before it"},
        {"[z-a]", SLM_EFORMAT, "ends before it begins"},
        {"a{3,2}", SLM_EFORMAT, "m above n"},
        {"\\p{L", SLM_EFORMAT, "without }"},
        {"a\xFF", SLM_EFORMAT, "not UTF-8"},
        {"a\\", SLM_EFORMAT, "too early"},
        {"\\x{110000}", SLM_EFORMAT, "\\x{"},
        {"\\p{Han}", SLM_EUNSUPPORTED, "\\p{Han}"},
        {"^a", SLM_EUNSUPPORTED, "looking back"},
        {"a\\b", SLM_EUNSUPPORTED, "looking back"},
        {"(?<=a)b", SLM_EUNSUPPORTED, "this kind of group"},
        {"(a)\\1", SLM_EUNSUPPORTED, "reference to a group"},
        {"a(?=bc)", SLM_EUNSUPPORTED, "more than one character"},
        {"a(?=b*)", SLM_EUNSUPPORTED, "more than one character"},
        {"a++a", SLM_EUNSUPPORTED, "possessive"},
        {"(?:a?)+b", SLM_EUNSUPPORTED, "may be empty"},
        {"a*", SLM_EUNSUPPORTED, "matches the empty text"},
        {"(?!a)", SLM_EUNSUPPORTED, "matches the empty text"},
        {"[^\\s\\S]", SLM_EUNSUPPORTED, "matches nothing"},
        {"[[:alpha:]]", SLM_EUNSUPPORTED, "[:name:]"},
        {"(?i:é)", SLM_EUNSUPPORTED, "outside ASCII"},
        {"a{2000}", SLM_ELIMIT, "repeated more than"},
        {"(?:a{1000}){1000}", SLM_ELIMIT, "more than"},
        {"((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))", SLM_ELIMIT,
         "nested"},
        {"(?:a|b)*a(?:a|b){14}", SLM_ELIMIT, "transitions"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct slm_regex_step s = step(BAD[i].pattern, SLM_SCAN_ISOLATED, 0);
        struct slm_buf section = {0};
        int rc = build(&s, 1, &section, NULL);
        if (rc != BAD[i].code || !strstr(slm_error_message(), BAD[i].message))
            fail_msg("%s: code %d, \"%s\"; should be %d, \"%s\"", BAD[i].pattern, rc,
                     slm_error_message(), BAD[i].code, BAD[i].message);
        slm_buf_free(&section);
    }
}

/* Published patterns must stay small: they are walked whole when a model opens. */
static void test_size(void **state)
{
    static const char *const NAMES[] = {"gpt-2",  "smollm",      "llama-bpe", "qwen2",   "gpt-4o",
                                        "tekken", "deepseek-v3", "falcon",    "default", "viking"};
    (void)state;
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        struct slm_vocab v;
        struct slm_regex_step steps[SLM_TEXT_MAX_STEPS];
        struct slm_buf classes = {0}, scanners = {0};
        bool bos;
        slm_vocab_init(&v, NULL);
        assert_int_equal(slm_vocab_named_steps(&v, NAMES[i], strlen(NAMES[i]), &bos), SLM_OK);
        for (uint32_t k = 0; k < v.n_steps; k++)
            steps[k] = (struct slm_regex_step){(char *)v.pool.data + v.steps[k].pattern.text,
                                               v.steps[k].pattern.length, 0, v.steps[k].flags};
        assert_int_equal(slm_regex_compile(steps, v.n_steps, false, &classes, &scanners, NULL),
                         SLM_OK);
        assert_in_range(classes.length, 1, 60000);
        assert_in_range(scanners.length, 1, 4096);
        slm_buf_free(&classes);
        slm_buf_free(&scanners);
        slm_vocab_free(&v);
    }
}

/* Out of memory at every allocation in turn: an error, and nothing stays behind. */
static void test_memory(void **state)
{
    struct slm_regex_step s[] = {step("\\p{N}{1,3}|[\\p{L}&&[^a]]++", SLM_SCAN_ISOLATED, 0),
                                 step("(?i:'s)| ?\\w+|\\s+(?!\\S)", SLM_SCAN_CONTIGUOUS, 0)};
    (void)state;
    for (size_t fail = 1;; fail++) {
        struct hooks hooks;
        struct slm_buf section = {.allocator = &hooks.allocator};
        hooks_init(&hooks);
        hooks.fail_at = fail;
        int rc = build(s, 2, &section, &hooks.allocator);
        slm_buf_free(&section);
        assert_true(hooks_clean(&hooks));
        if (hooks.n_failed == 0) {
            assert_int_equal(rc, SLM_OK);
            break;
        }
        assert_int_equal(rc, SLM_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preference), cmocka_unit_test(test_sets),
        cmocka_unit_test(test_ahead),      cmocka_unit_test(test_behaviours),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_size),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("regex", tests, NULL, NULL);
}
