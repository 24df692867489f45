/*
 * test_bad_text.c - texts, ids and lists of merges as nobody should write them: very long ones, bytes
 * that are no characters, ids that no token has, merges that lead back to where they began.
 */
#include "model/model.h"
#include "support/evaluate.h"
#include "unit/tokenizer_files.h"

/* 100 MB of words, NUL bytes and bytes that are no UTF-8: as many tokens as its parts have. */
static void hundred_megabytes(void **state)
{
    static const char PART[] = "The quick\0brown fox's \xFF\xC3 12345 \xED\xA0\x80 jumps.\nover  \xF0\x9F\x98\x80 it\n";
    const size_t n = sizeof PART - 1, times = 100 * 1000 * 1000 / n + 1;
    (void)state;
    struct tokenizer t = tokenizer_json("smollm");
    char *text = malloc(n * times);
    assert_non_null(text);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * n, PART, n);
    int64_t one = slm_text_encode(&t.text, PART, n, 0, NULL, 0, NULL, 0, NULL);
    assert_in_range(one, 10, 100);
    int64_t all = slm_text_encode(&t.text, text, n * times, SLM_TEXT_PARSE_SPECIAL, NULL, 0, NULL, 0, NULL);
    assert_int_equal(all, one * (int64_t)times);
    free(text);
    tokenizer_free(&t);
}

static void says(int64_t rc, int code, const char *words)
{
    if (rc != code || !strstr(slm_last_error(), words))
        fail_msg("%d, wanted %d; '%s', wanted '%s'", (int)rc, code, slm_last_error(), words);
}

static void ids_out_of_range(void **state)
{
    char path[600], out[64];
    slm_model *model;
    slm_text_stream *stream;
    (void)state;
    snprintf(path, sizeof path, "%s/stories260K.slm", getenv("SLM_EXAMPLES"));
    must(slm_model_open(&model, path, NULL));
    slm_token good[8];
    int64_t n = slm_tokenize(model, "Once", 4, 0, good, 8);
    must(slm_text_stream_new(&stream, model, 0));
    static const slm_token BAD[] = {-1, -2, INT32_MIN, 512, 513, INT32_MAX};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        slm_token ids[3] = {good[0], BAD[i], good[0]};
        size_t length = 7;
        const char *piece;
        says(slm_detokenize(model, ids, 3, 0, out, sizeof out), SLM_EINVAL, "the vocabulary has 0 to 511");
        assert_null(slm_token_text(model, BAD[i], &length));
        assert_int_equal(length, 0);
        assert_int_equal(slm_token_is_stop(model, BAD[i]), 0);
        if (BAD[i] != SLM_TOKEN_NONE) /* which ends a stream */
            says(slm_text_stream_push(stream, BAD[i], &piece, &length), SLM_EINVAL, "token");
    }
    size_t at = 0; /* a stream goes on as if nothing had happened */
    for (int64_t i = 0; i < n; i++) {
        const char *piece;
        size_t length;
        must(slm_text_stream_push(stream, good[i], &piece, &length));
        memcpy(out + at, piece, length);
        at += length;
    }
    assert_int_equal(at, 4);
    assert_memory_equal(out, "Once", 4);
    slm_text_stream_free(stream);
    slm_model_unref(model);
}

/* The ids of `text` with this list of merges, or the error. Expected ones are tokenizers' 0.23. */
static int64_t with_merges(const char *merges, const char *text, slm_token *out, size_t cap)
{
    char json[600];
    struct slm_vocab v;
    struct slm_text runtime;
    struct slm_buf section = {0};
    snprintf(json, sizeof json,
             "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"aa\":2,\"aaa\":3,\"aaaa\":4,\"ab\":5,"
             "\"aab\":6}%s}}", merges);
    struct slm_vocab_json files = {.tokenizer = json, .tokenizer_length = strlen(json)};
    slm_vocab_init(&v, NULL);
    int64_t rc = slm_vocab_from_json(&v, &files);
    if (rc == SLM_OK)
        rc = slm_vocab_build(&v, v.n_tokens, &section);
    if (rc == SLM_OK)
        rc = slm_text_open(&runtime, section.data, section.length, v.n_tokens);
    if (rc == SLM_OK)
        rc = slm_text_encode(&runtime, text, strlen(text), 0, NULL, 0, out, cap, NULL);
    slm_vocab_free(&v);
    slm_buf_free(&section);
    return rc;
}

/* Merges that are listed twice, that make the same token in many ways, that lead into one another. */
static void odd_merges(void **state)
{
    static const char CIRCLE[] = ",\"merges\":[\"a a\",\"aa aa\",\"aa a\",\"a aa\",\"a a\",\"a b\",\"aa b\",\"a ab\"]";
    static const struct {
        const char *text;
        slm_token ids[4];
        int n;
    } CASES[] = {
        {"a", {0}, 1}, {"aa", {2}, 1}, {"aaa", {3}, 1}, {"aaaa", {3, 0}, 2},
        {"aaaaa", {3, 2}, 2}, {"aaaaaaa", {3, 3, 0}, 3}, {"ab", {5}, 1}, {"aab", {6}, 1},
        {"aaab", {3, 1}, 2}, {"aaaab", {3, 5}, 2}, {"aaaaab", {3, 6}, 2}, {"aaaaaaaaaaab", {3, 3, 3, 6}, 4},
    };
    slm_token ids[8];
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        assert_int_equal(with_merges(CIRCLE, CASES[i].text, ids, 8), CASES[i].n);
        assert_memory_equal(ids, CASES[i].ids, (size_t)CASES[i].n * sizeof *ids);
    }
    char *long_text = malloc(100001);
    memset(long_text, 'a', 100000);
    long_text[100000] = '\0';
    assert_int_equal(with_merges(CIRCLE, long_text, NULL, 0), 33334);
    free(long_text);
    /* Without a list nothing merges; what names no token is refused. */
    assert_int_equal(with_merges("", "aab", ids, 8), 3);
    assert_int_equal(with_merges(",\"merges\":[]", "aab", ids, 8), 3);
    says(with_merges(",\"merges\":[\"a c\"]", "a", ids, 8), SLM_EFORMAT, "\"c\" is not in model.vocab");
    says(with_merges(",\"merges\":[\"b a\"]", "a", ids, 8), SLM_EFORMAT, "to a text that is no token");
    says(with_merges(",\"merges\":[\"a\"]", "a", ids, 8), SLM_EFORMAT, "no pair of texts");
    says(with_merges(",\"merges\":[[\"a\",7]]", "a", ids, 8), SLM_EFORMAT, "no pair of texts");
    says(with_merges(",\"merges\":[\"a a\",\"\\u0000 a\"]", "a", ids, 8), SLM_EFORMAT, "is not in model.vocab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hundred_megabytes),
        cmocka_unit_test(ids_out_of_range),
        cmocka_unit_test(odd_merges),
    };
    return cmocka_run_group_tests_name("bad_text", tests, NULL, NULL);
}
