/*
 * test_tokenizers.c - tokenizers of every kind against the libraries that define them: ids of 160
 * texts, and the texts that ids decode to (tests/golden/make_tokenizers.py, make_unigrams.py).
 */
#include "golden/golden.h"
#include "source/gguf.h"
#include "vocab/vocab.h"

#include "base/bits.h"

struct reader {
    const uint8_t *at, *end;
};

static uint32_t take(struct reader *r, size_t n)
{
    assert_true((size_t)(r->end - r->at) >= n);
    uint32_t value = n == 2 ? slm_load_u16(r->at) : slm_load_u32(r->at);
    r->at += n;
    return value;
}

static uint32_t fnv(const struct slm_buf *text)
{
    uint32_t h = 0x811C9DC5;
    for (size_t i = 0; i < text->length; i++)
        h = (h ^ text->data[i]) * 0x01000193;
    return h;
}

static uint8_t *load(const char *name, const char *ending, size_t *n)
{
    char file[128], path[PATH_SIZE];
    snprintf(file, sizeof file, "%s%s", name, ending);
    data_path(path, "tokenizers", file);
    return (uint8_t *)read_data(path, n);
}

static void open_text(struct slm_text *text, struct slm_vocab *vocab, int rc,
                      struct slm_buf *section)
{
    if (rc == SLM_OK)
        rc = slm_vocab_build(vocab, vocab->n_tokens, section);
    if (rc == SLM_OK)
        rc = slm_text_open(text, section->data, section->length, vocab->n_tokens);
    if (rc < 0)
        fail_msg("%s", slm_error_message());
    slm_vocab_free(vocab);
}

static void encode_is(const struct slm_text *text, const char *name, size_t number,
                      const uint8_t *bytes, size_t n, const slm_token *expected, size_t count)
{
    slm_token ids[4096];
    int64_t got =
        slm_text_encode(text, (const char *)bytes, n, SLM_TEXT_ADD_SPECIAL | SLM_TEXT_PARSE_SPECIAL,
                        NULL, 0, ids, 4096, NULL);
    for (size_t i = 0; i < count && (int64_t)i < got; i++)
        if (ids[i] != expected[i])
            fail_msg("%s, text %zu: token %zu is %d, should be %d", name, number, i, ids[i],
                     expected[i]);
    if (got != (int64_t)count)
        fail_msg("%s, text %zu: %lld tokens, should be %zu", name, number, (long long)got, count);
}

/* The text of the ids, and that it comes out the same whatever the pieces. */
static void decode_is(const struct slm_text *text, const char *name, size_t number,
                      const slm_token *ids, size_t count, unsigned flags, uint32_t expected)
{
    struct slm_decoder decoder;
    struct slm_buf all = {0};
    slm_decoder_init(&decoder, text, flags);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(slm_decoder_push(&decoder, ids[i], &all), SLM_OK);
    assert_int_equal(slm_decoder_finish(&decoder, &all), SLM_OK);
    if (fnv(&all) != expected)
        fail_msg("%s, %zu, flags %u: decodes to \"%.*s\"", name, number, flags, (int)all.length,
                 (char *)all.data);
    slm_buf_free(&all);
}

static size_t take_ids(struct reader *r, slm_token *ids)
{
    size_t count = take(r, 2);
    assert_true(count <= 4096);
    for (size_t i = 0; i < count; i++)
        ids[i] = (slm_token)take(r, 2);
    return count;
}

/* cases: the file of the texts. */
static void check(const struct slm_text *text, const char *name, const char *cases_name)
{
    static slm_token ids[4096];
    size_t n, n_cases;
    uint8_t *file = load(name, ".expected", &n);
    uint8_t *texts = load(cases_name, ".bin", &n_cases);
    struct reader expected = {file, file + n}, cases = {texts, texts + n_cases};
    size_t total = take(&cases, 4);
    bool from_sentencepiece =
        strcmp(name, "tok512") == 0 || strncmp(name, "sp-", 3) == 0 || strcmp(name, "t5") == 0;
    assert_true(total > 100);
    for (size_t i = 0; i <= total; i++) {
        size_t sequences = i < total ? 1 : take(&expected, 2);
        for (size_t k = 0; k < sequences; k++) {
            size_t count = take_ids(&expected, ids);
            if (i < total) {
                size_t length = take(&cases, 4);
                encode_is(text, name, i, cases.at, length, ids, count);
                cases.at += length;
            }
            uint32_t dropped = take(&expected, 4), kept = take(&expected, 4);
            decode_is(text, name, i + k, ids, count, 0, dropped);
            if (!from_sentencepiece) /* it never shows them */
                decode_is(text, name, i + k, ids, count, SLM_TEXT_SHOW_SPECIAL, kept);
        }
    }
    assert_ptr_equal(expected.at, expected.end);
    assert_ptr_equal(cases.at, cases.end);
    free(file);
    free(texts);
}

static void test_json(void **state)
{
    const char *name = *state;
    struct slm_vocab_json files = {0};
    struct slm_vocab vocab;
    struct slm_text text;
    struct slm_buf section = {0};
    uint8_t *json = load(name, ".json", &files.tokenizer_length);
    files.tokenizer = (const char *)json;
    slm_vocab_init(&vocab, NULL);
    open_text(&text, &vocab, slm_vocab_from_json(&vocab, &files), &section);
    check(&text, name, "cases");
    slm_buf_free(&section);
    free(json);
}

static void test_wordlist(void **state)
{
    struct slm_vocab vocab;
    struct slm_text text;
    struct slm_buf section = {0};
    size_t n;
    uint8_t *words = load("bert", ".vocab.txt", &n);
    (void)state;
    slm_vocab_init(&vocab, NULL);
    open_text(&text, &vocab, slm_vocab_from_wordlist(&vocab, (char *)words, n, NULL), &section);
    check(&text, "bert", "cases");
    slm_buf_free(&section);
    free(words);
}

static void test_sentencepiece(void **state)
{
    struct slm_vocab vocab;
    struct slm_text text;
    struct slm_buf section = {0};
    size_t n;
    const char *name = *state;
    uint8_t *model = load(name, ".model", &n);
    slm_vocab_init(&vocab, NULL);
    open_text(&text, &vocab, slm_vocab_from_sentencepiece(&vocab, model, n, NULL), &section);
    check(&text, name, strcmp(name, "sp-ties") == 0 ? "sp-ties" : "cases");
    slm_buf_free(&section);
    free(model);
}

static void test_gguf(void **state)
{
    struct slm_vocab vocab;
    struct slm_text text;
    struct slm_buf section = {0};
    struct slm_gguf *gguf;
    size_t n;
    uint8_t *file = load("t5", ".gguf", &n);
    (void)state;
    slm_vocab_init(&vocab, NULL);
    assert_int_equal(slm_gguf_open(&gguf, file, n, NULL), SLM_OK);
    open_text(&text, &vocab, slm_vocab_from_gguf(&vocab, gguf), &section);
    check(&text, "t5", "cases");
    slm_buf_free(&section);
    slm_gguf_free(gguf);
    free(file);
}

static void test_llama2c(void **state)
{
    struct slm_vocab vocab;
    struct slm_text text;
    struct slm_buf section = {0};
    char path[PATH_SIZE];
    size_t n;
    (void)state;
    data_path(path, "stories260K", "tok512.bin");
    char *file = read_data(path, &n);
    slm_vocab_init(&vocab, NULL);
    open_text(&text, &vocab, slm_vocab_from_llama2c(&vocab, file, n, 512), &section);
    check(&text, "tok512", "cases");
    slm_buf_free(&section);
    free(file);
}

#define JSON(name)                                                                                 \
    {                                                                                              \
        "json " name, test_json, NULL, NULL, (void *)(uintptr_t)name                               \
    }

#define MODEL(name)                                                                                \
    {                                                                                              \
        "model " name, test_sentencepiece, NULL, NULL, (void *)(uintptr_t)name                     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        JSON("gpt2"),
        JSON("smollm"),
        JSON("llama3"),
        JSON("qwen2"),
        JSON("o200k"),
        JSON("flags"),
        JSON("roberta"),
        JSON("falcon"),
        JSON("deepseek"),
        JSON("behaviours"),
        JSON("odd"),
        JSON("ties-id"),
        JSON("ties-length"),
        JSON("ties-partial"),
        JSON("ties-shuffled"),
        JSON("nfkc"),
        JSON("nfkd"),
        JSON("bert"),
        JSON("bert-cased"),
        JSON("wordpiece"),
        JSON("unigram"),
        JSON("unigram-strip"),
        JSON("unigram-bytes"),
        JSON("unigram-read"),
        JSON("unigram-nmt"),
        JSON("unigram-white"),
        JSON("mistral"),
        JSON("gemma"),
        JSON("metaspace"),
        JSON("always"),
        cmocka_unit_test(test_wordlist),
        MODEL("tok512"),
        MODEL("sp-map"),
        MODEL("sp-bytes"),
        MODEL("sp-ties"),
        cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_llama2c),
    };
    return cmocka_run_group_tests_name("tokenizers", tests, NULL, NULL);
}
