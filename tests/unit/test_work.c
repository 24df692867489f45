/*
 * test_work.c - encoding is linear in the length of any text, and takes the same stack for all.
 *
 * text/ is compiled once more for this program with a call in each basic block
 * (-fsanitize-coverage=trace-pc): what is counted here is steps, which no machine makes fewer or
 * more of. Four times the text may take four times the steps and a little; a quadratic algorithm
 * would take sixteen times as many.
 */
#include "unit/tokenizer_files.h"

#include <stdint.h>

static uint64_t steps;
static uintptr_t deepest;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    steps++;
    if (here < deepest)
        deepest = here;
}

/* What a text consists of: a part, again and again, or letters as they come. */
static const char *const PARTS[] = {
    "a",
    " ",
    "\n",
    ".",
    "ab",
    "\xF0\x9F\x98\x80",                                             /* an emoji */
    "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7\xF0\x9F\x8F\xBD", /* a family of them */
    "\xE4\xBD\xA0",                                                 /* a Chinese character */
    "\xCC\x81",                                                     /* accents, one on the other */
    "\xCC\x81\xCC\xA3",                                             /* ... out of order */
    "\xE1\x84\x80\xE1\x85\xA1",                                     /* Hangul to compose */
    "<|begin|",                                                     /* nearly a special token */
    "\xFF",                                                         /* not UTF-8 */
    "random letters",
};

static void fill(char *text, size_t n, const char *part)
{
    size_t length = strlen(part);
    uint32_t state = 1;
    bool random = length == 14;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        text[i] = random ? (char)('a' + (state >> 24) % 26) : part[i % length];
    }
}

struct cost {
    uint64_t steps;
    size_t stack;
};

static struct cost encode(const struct slm_text *t, const char *text, size_t n)
{
    steps = 0;
    uintptr_t top = deepest = (uintptr_t)__builtin_frame_address(0);
    assert_true(slm_text_encode(t, text, n, SLM_TEXT_PARSE_SPECIAL, NULL, 0, NULL, 0, NULL) >= 0);
    return (struct cost){steps, top - deepest};
}

static void test_linear(void **state)
{
    struct tokenizer t = *state ? tokenizer_json(*state) : tokenizer_tok512();
    enum { SHORT = 6 << 10, LONG = 4 * SHORT };
    char *text = malloc(LONG);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++) {
        fill(text, LONG, PARTS[i]);
        struct cost few = encode(&t.text, text, SHORT), many = encode(&t.text, text, LONG);
        assert_true(few.steps > SHORT / 64); /* it is counted */
        if (many.steps > 5 * few.steps || many.stack > few.stack + 64 || many.stack > 1 << 15)
            fail_msg("%s, \"%s\": %d bytes take %llu steps and %zu bytes of stack, %d bytes %llu "
                     "and %zu",
                     *state ? (char *)*state : "tok512", PARTS[i], SHORT,
                     (unsigned long long)few.steps, few.stack, LONG, (unsigned long long)many.steps,
                     many.stack);
    }
    free(text);
    tokenizer_free(&t);
}

#define JSON(name)                                                                                 \
    {                                                                                              \
        name, test_linear, NULL, NULL, (void *)(uintptr_t)name                                     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* byte-level BPE */ JSON("gpt2"),
        JSON("smollm"),
        JSON("qwen2"),
        JSON("o200k"),
        JSON("flags"),
        JSON("nfkd"),
        /* SentencePiece's BPE */ JSON("mistral"),
        JSON("gemma"),
        JSON("metaspace"),
        cmocka_unit_test(test_linear),
        /* Unigram */ JSON("unigram"),
        JSON("unigram-strip"),
        JSON("unigram-bytes"),
        /* WordPiece */ JSON("bert"),
        JSON("wordpiece"),
    };
    return cmocka_run_group_tests_name("work", tests, NULL, NULL);
}
