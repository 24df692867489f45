/*
 * test_bad_text.c - texts, ids and lists of merges as nobody should write them: very long ones, bytes
 * that are no characters, ids that no token has, merges that lead back to where they began.
 */
#include "model/model.h"
#include "support/evaluate.h"
#include "unit/tokenizer_files.h"

/* 100 MB of words, NUL bytes and bytes that are no UTF-8: as many tokens as its parts have, where
 * the text is taken as it is and where it is normalized first. */
static void hundred_megabytes(void **state)
{
    static const char PART[] = "The quick\0brown fox's \xFF\xC3 12345 \xED\xA0\x80 jumps.\nover  \xF0\x9F\x98\x80 it\n";
    static const char *const NAMES[] = {"smollm", "bert"};
    const size_t n = sizeof PART - 1, times = 100 * 1000 * 1000 / n + 1;
    (void)state;
    char *text = malloc(n * times);
    assert_non_null(text);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * n, PART, n);
    for (int i = 0; i < 2; i++) {
        struct tokenizer t = tokenizer_json(NAMES[i]);
        int64_t one = slm_text_encode(&t.text, PART, n, 0, NULL, 0, NULL, 0, NULL);
        assert_in_range(one, 10, 100);
        assert_int_equal(slm_text_encode(&t.text, text, n * times, SLM_TEXT_PARSE_SPECIAL, NULL, 0,
                                         NULL, 0, NULL),
                         one * (int64_t)times);
        tokenizer_free(&t);
    }
    free(text);
}

static void says(int64_t rc, int code, const char *words)
{
    if (rc != code || !strstr(slm_last_error(), words))
        fail_msg("%d, wanted %d; '%s', wanted '%s'", (int)rc, code, slm_last_error(), words);
}

static slm_model *stories(void)
{
    char path[600];
    slm_model *model;
    snprintf(path, sizeof path, "%s/stories260K.slm", getenv("SLM_EXAMPLES"));
    must(slm_model_open(&model, path, NULL));
    return model;
}

/* Beyond the limit nothing is read, let alone allocated: there are no such texts here. A
 * conversation of 100 MB is no prompt. */
static void beyond_the_limits(void **state)
{
    (void)state;
    slm_model *model = stories();
    const size_t more = (size_t)SLM_LIMIT_TEXT + 1;
    size_t n_first;
    says(slm_tokenize(model, "x", more, 0, NULL, 0), SLM_ELIMIT, "2147483647");
    says(slm_tokenize_pair(model, "x", more, "y", 1, 0, NULL, 0, &n_first), SLM_ELIMIT,
         "2147483647");
    says(slm_tokenize_pair(model, "x", 1, "y", more, 0, NULL, 0, &n_first), SLM_ELIMIT,
         "2147483647");
    const size_t n = 100 * 1000 * 1000;
    char *content = malloc(n + 1);
    assert_non_null(content);
    memset(content, 'a', n);
    content[n] = '\0';
    slm_message message = {.size = sizeof message, .role = "user", .content = content};
    slm_chat_options how = {.size = sizeof how,
                            .template_source =
                                "{% for m in messages %}{{ m.content }}{% endfor %}"};
    says(slm_chat_format(model, &message, 1, &how, NULL, 0), SLM_ELIMIT,
         "a text of more than 16 MB");
    says(slm_chat_tokenize(model, &message, 1, &how, NULL, 0), SLM_ELIMIT,
         "a text of more than 16 MB");
    content[1000] = '\0';
    assert_int_equal(slm_chat_format(model, &message, 1, &how, NULL, 0), 1000);
    free(content);
    slm_model_unref(model);
}

/* Of what is no UTF-8 in a message, the prompt has U+FFFD; a NUL is a character. */
static void odd_bytes_of_conversations(void **state)
{
    static const struct {
        const char *content, *json, *template, *prompt;
        size_t n;
    } CASES[] = {
        {"a\xFF\xC3(", NULL, "{{ messages[0].content }}", "a\xEF\xBF\xBD\xEF\xBF\xBD(", 8},
        {"\xED\xA0\x80", NULL, "{{ messages[0].content | length }}", "3", 1},
        {NULL, "[{\"content\": \"a\\u0000b\"}]", "{{ messages[0].content }}", "a\0b", 3},
        {NULL, "[{\"content\": \"\\ud800\"}]", "{{ messages[0].content }}", "\xEF\xBF\xBD", 3},
    };
    (void)state;
    slm_model *model = stories();
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        slm_message message = {.size = sizeof message, .role = "user", .content = CASES[i].content};
        slm_chat_options how = {.size = sizeof how,
                                .template_source = CASES[i].template,
                                .messages_json = CASES[i].json};
        char out[32];
        int64_t n = slm_chat_format(model, CASES[i].json ? NULL : &message, CASES[i].json ? 0 : 1,
                                    &how, out, sizeof out);
        if (n != (int64_t)CASES[i].n || memcmp(out, CASES[i].prompt, CASES[i].n) != 0)
            fail_msg("%zu: %d, '%.*s', '%s'", i, (int)n, n > 0 ? (int)n : 0, out, slm_last_error());
    }
    slm_chat_options how = {.size = sizeof how, .template_source = "a\n{{ 'b' }}\xE2\x82"};
    says(slm_chat_format(model, NULL, 0, &how, NULL, 0), SLM_EFORMAT,
         "line 2, column 10: a byte that is not valid UTF-8");
    slm_model_unref(model);
}

/* Messages that nest 10,000 deep, and a template that does or that never ends, as callers meet
 * them. */
static void deep_and_endless(void **state)
{
    enum { DEEP = 10000 };
    (void)state;
    slm_model *model = stories();
    char *json = malloc(2 * DEEP + 64), *at = json, *source = malloc(16 * DEEP), *end = source;
    at += sprintf(at, "[{\"content\": ");
    memset(at, '[', DEEP);
    memset(at + DEEP, ']', DEEP);
    strcpy(at + 2 * DEEP, "}]");
    slm_chat_options how = {.size = sizeof how, .messages_json = json, .template_source = "x"};
    says(slm_chat_format(model, NULL, 0, &how, NULL, 0), SLM_ELIMIT, "line 1, column");
    how.messages_json = "[]";
    for (int i = 0; i < DEEP; i++)
        end += sprintf(end, "{%% if 1 %%}\n");
    how.template_source = source;
    says(slm_chat_format(model, NULL, 0, &how, NULL, 0), SLM_ELIMIT, "line 64, column");
    how.template_source =
        "{% set r = range(100000) %}\n{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}";
    says(slm_chat_format(model, NULL, 0, &how, NULL, 0), SLM_ELIMIT, "line 2, column");
    says(slm_chat_tokenize(model, NULL, 0, &how, NULL, 0), SLM_ELIMIT, "does it loop for ever?");
    free(json);
    free(source);
    slm_model_unref(model);
}

static void ids_out_of_range(void **state)
{
    char out[64];
    slm_text_stream *stream;
    (void)state;
    slm_model *model = stories();
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

/* The ids of `text` with what was imported, or the error; the vocabulary is freed. */
static int64_t ids_with(struct slm_vocab vocabulary, int64_t rc, const char *text, slm_token *out,
                        size_t cap)
{
    struct slm_vocab v = vocabulary;
    struct slm_text runtime;
    struct slm_buf section = {0};
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

/* With this model of a tokenizer.json. Expected ids are those of tokenizers 0.23. */
static int64_t with_model(const char *model, const char *text, slm_token *out, size_t cap)
{
    char json[800];
    struct slm_vocab v;
    snprintf(json, sizeof json, "{\"model\":{%s}}", model);
    struct slm_vocab_json files = {.tokenizer = json, .tokenizer_length = strlen(json)};
    slm_vocab_init(&v, NULL);
    int rc = slm_vocab_from_json(&v, &files);
    return ids_with(v, rc, text, out, cap);
}

static int64_t with_merges(const char *merges, const char *text, slm_token *out, size_t cap)
{
    char model[600];
    snprintf(model, sizeof model,
             "\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"aa\":2,\"aaa\":3,\"aaaa\":4,\"ab\":5,"
             "\"aab\":6}%s",
             merges);
    return with_model(model, text, out, cap);
}

/* A text that two tokens have is the last one; an id can't be two tokens. */
static void duplicate_tokens(void **state)
{
#define BPE "\"type\":\"BPE\",\"vocab\":"
    static const char TWICE[] =
        BPE "{\"a\":0,\"b\":1,\"a\":2,\"ab\":3,\"ab\":4},\"merges\":[\"a b\"]";
    static const char PIECES[] =
        "\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"a\",-1],[\"b\",-2],"
        "[\"a\",-3],[\"ab\",-2.5],[\"ab\",-9]]";
    static const char WORDS[] = "[UNK]\na\n##b\na\nab\n##b\n";
    static const struct {
        const char *model, *text;
        slm_token ids[3];
        int n;
    } CASES[] = {
        {TWICE, "a", {2}, 1},  {TWICE, "ab", {4}, 1},     {TWICE, "aab", {2, 4}, 2},
        {PIECES, "a", {3}, 1}, {PIECES, "ab", {3, 2}, 2}, {PIECES, "ba", {2, 3}, 2},
        {WORDS, "a", {3}, 1},  {WORDS, "ab", {4}, 1},     {WORDS, "abb", {4, 5}, 2},
        {WORDS, "c", {0}, 1},
    };
    slm_token ids[8];
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct slm_vocab v;
        int64_t n;
        if (CASES[i].model == WORDS) {
            slm_vocab_init(&v, NULL);
            int rc = slm_vocab_from_wordlist(&v, WORDS, sizeof WORDS - 1, NULL);
            n = ids_with(v, rc, CASES[i].text, ids, 8);
        } else {
            n = with_model(CASES[i].model, CASES[i].text, ids, 8);
        }
        if (n != CASES[i].n || memcmp(ids, CASES[i].ids, (size_t)n * sizeof *ids) != 0)
            fail_msg("%zu: %d tokens, the first is %d; '%s'", i, (int)n, (int)ids[0],
                     n < 0 ? slm_last_error() : "");
    }
    says(with_model(BPE "{\"a\":0,\"b\":0,\"c\":1}", "a", ids, 8), SLM_EFORMAT,
         "'b' and another token have the id 0");
    assert_int_equal(with_model(BPE "{\"a\":0,\"a\":0,\"c\":1}", "ac", ids, 8), 2);
#undef BPE
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
        cmocka_unit_test(beyond_the_limits),
        cmocka_unit_test(odd_bytes_of_conversations),
        cmocka_unit_test(deep_and_endless),
        cmocka_unit_test(ids_out_of_range),
        cmocka_unit_test(duplicate_tokens),
        cmocka_unit_test(odd_merges),
    };
    return cmocka_run_group_tests_name("bad_text", tests, NULL, NULL);
}
