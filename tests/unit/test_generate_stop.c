/*
 * test_generate_stop.c - stop texts against a naive search, for every way to cut the text.
 */
#include "gen/stop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 4 };

/* The whole answer at once: the first end at which a stop text ends, the longest of those. Returns
 * the length of the answer; *hit tells whether there was a stop text. */
static size_t naive(const char *text, const char *const *stops, size_t n, bool *hit)
{
    size_t length = strlen(text);
    for (size_t end = 1; end <= length; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < n; i++) {
            size_t m = strlen(stops[i]);
            if (m <= end && m > longest && memcmp(text + end - m, stops[i], m) == 0)
                longest = m;
        }
        if (longest > 0) {
            *hit = true;
            return end - longest;
        }
    }
    *hit = false;
    return length;
}

/* Is some proper beginning of a stop text the end of text[n]? Then that much must be held. */
static size_t naive_held(const char *text, size_t n, const char *const *stops, size_t n_stops)
{
    size_t held = 0;
    for (size_t i = 0; i < n_stops; i++)
        for (size_t m = strlen(stops[i]) - 1; m > held; m--)
            if (m <= n && memcmp(text + n - m, stops[i], m) == 0)
                held = m;
    return held;
}

/* Feed the text in pieces, cut where the bits of `cuts` are set, and compare. */
static void check_cut(const char *text, const char *const *stops, size_t n, unsigned cuts)
{
    size_t length = strlen(text);
    bool expect_hit;
    size_t expected = naive(text, stops, n, &expect_hit);

    struct slm_stop *stop;
    assert_int_equal(slm_stop_new(&stop, stops, n, NULL), SLM_OK);
    char out[64];
    size_t n_out = 0;
    int hit = 0;
    const char *released;
    size_t n_released;
    for (size_t begin = 0; begin < length && !hit;) {
        size_t end = begin + 1;
        while (end < length && !(cuts >> (end - 1) & 1))
            end++;
        hit = slm_stop_push(stop, text + begin, end - begin, &released, &n_released);
        assert_true(hit == 0 || hit == 1);
        memcpy(out + n_out, released, n_released);
        n_out += n_released;
        if (!hit) /* no more is held than has to be */
            assert_int_equal(n_out, end - naive_held(text, end, stops, n));
        begin = end;
    }
    slm_stop_finish(stop, &released, &n_released);
    if (n_released > 0)
        memcpy(out + n_out, released, n_released);
    n_out += n_released;
    slm_stop_free(stop);
    assert_int_equal(hit, expect_hit);
    assert_int_equal(n_out, expected);
    assert_memory_equal(out, text, expected);
}

static void check_all_cuts(const char *text, const char *const *stops, size_t n)
{
    unsigned borders = (unsigned)strlen(text) - 1;
    for (unsigned cuts = 0; cuts < 1u << borders; cuts++)
        check_cut(text, stops, n, cuts);
}

static void test_every_cut(void **state)
{
    (void)state;
    const struct {
        const char *text;
        const char *stops[MOST];
    } cases[] = {
        {"hello world", {"wor"}},
        {"hello world", {"word", "xyz"}}, /* looks like one, is none */
        {"aaaaab", {"aab"}},              /* needs the border of the border */
        {"abababac", {"ababac"}},
        {"abcabcabd", {"abcabd", "bd"}},
        {"xabcx", {"abc", "b"}},  /* the shorter is complete first */
        {"xabcx", {"abc", "bc"}}, /* both end together: the longest counts */
        {"ends with Use", {"User:"}},
        {"\xC3\xA9t\xC3\xA9!", {"\xC3\xA9!"}},
        {"stop", {"stop"}},
        {"s", {"s"}},
        {"nothing", {0}},
        {"\n\nUser:", {"\n\n", "\nUser"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 0;
        while (n < MOST && cases[i].stops[n])
            n++;
        check_all_cuts(cases[i].text, cases[i].stops, n);
    }
}

/* All texts over two letters, against pairs of short stop texts: every overlap there is. */
static void test_small_alphabet(void **state)
{
    (void)state;
    const char *stops[] = {"aba", "abb", "bab", "aa", "bbb", "abab", "aab"};
    enum { N = sizeof stops / sizeof *stops, LENGTH = 9 };
    for (unsigned bits = 0; bits < 1u << LENGTH; bits++) {
        char text[LENGTH + 1] = {0};
        for (int i = 0; i < LENGTH; i++)
            text[i] = bits >> i & 1 ? 'b' : 'a';
        for (size_t i = 0; i < N; i++) {
            const char *pair[2] = {stops[i], stops[(i + bits) % N]};
            check_cut(text, pair, 2, 0);
            check_cut(text, pair, 2, ~0u);
            check_cut(text, pair, 2, bits * 2654435761u);
        }
    }
}

static void test_bad_texts(void **state)
{
    (void)state;
    struct slm_stop *stop = (void *)1;
    const char *empty[2] = {"a", ""}, *null[1] = {NULL}, *broken[1] = {"ab\xA9"};
    assert_int_equal(slm_stop_new(&stop, empty, 2, NULL), SLM_EINVAL);
    assert_null(stop);
    assert_non_null(strstr(slm_last_error(), "stop[1] is empty"));
    assert_int_equal(slm_stop_new(&stop, null, 1, NULL), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "stop[0] is NULL"));
    assert_int_equal(slm_stop_new(&stop, broken, 1, NULL), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "stop[0] is not UTF-8 at byte 2"));
    assert_int_equal(slm_stop_new(&stop, NULL, 1, NULL), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "stop is NULL"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_small_alphabet),
        cmocka_unit_test(test_bad_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
