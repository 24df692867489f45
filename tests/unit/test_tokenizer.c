/*
 * test_tokenizer.c - encoding and decoding beyond the golden texts: special tokens and who may
 * write them, streaming, limits, lack of memory, long inputs, and damaged sections.
 */
#include "unit/tokenizer_files.h"

#include "base/utf8.h"
#include "support/guarded.h"
#include "support/hooks.h"
#include "support/random.h"
#include "text/nfc.h"
#include "text/scan.h"
#include "text/unigram.h"
#include "vocab/unicode.h"

static uint64_t seed;

/* ids of the text, malloc'ed. */
static slm_token *encode(const struct slm_text *t, const char *text, size_t n, unsigned flags,
                         const struct slm_range *opaque, size_t n_opaque, size_t *count)
{
    int64_t need = slm_text_encode(t, text, n, flags, opaque, n_opaque, NULL, 0, NULL);
    assert_true(need >= 0);
    slm_token *ids = malloc(((size_t)need + 1) * sizeof *ids);
    assert_non_null(ids);
    ids[need] = -7; /* must survive */
    int64_t got = slm_text_encode(t, text, n, flags, opaque, n_opaque, ids, (size_t)need, NULL);
    assert_int_equal(got, need);
    assert_int_equal(ids[need], -7);
    *count = (size_t)need;
    return ids;
}

static void decode(const struct slm_text *t, const slm_token *ids, size_t n, unsigned flags,
                   struct slm_buf *out)
{
    struct slm_decoder decoder;
    slm_decoder_init(&decoder, t, flags);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(slm_decoder_push(&decoder, ids[i], out), SLM_OK);
    assert_int_equal(slm_decoder_finish(&decoder, out), SLM_OK);
}

static size_t count_of(const slm_token *ids, size_t n, slm_token id)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ids[i] == id;
    return count;
}

/* --------------------------------------------------------------------------- special --- */

static void test_special(void **state)
{
    struct tokenizer t = tokenizer_json("smollm");
    const char *text = "<|begin|>user <tool>hi<|end|>";
    slm_token begin = id_of(&t, "<|begin|>"), end = id_of(&t, "<|end|>"),
              tool = id_of(&t, "<tool>");
    size_t n;
    (void)state;
    /* Without PARSE_SPECIAL a special token is text; one that is not special is found always. */
    slm_token *ids = encode(&t.text, text, strlen(text), 0, NULL, 0, &n);
    assert_int_equal(count_of(ids, n, begin) + count_of(ids, n, end), 0);
    assert_int_equal(count_of(ids, n, tool), 1);
    free(ids);
    ids = encode(&t.text, text, strlen(text), SLM_TEXT_PARSE_SPECIAL, NULL, 0, &n);
    assert_int_equal(ids[0], begin);
    assert_int_equal(ids[n - 1], end);
    free(ids);
    /* The texts of special tokens are shown on demand only. */
    struct slm_buf out = {0};
    slm_token some[] = {begin, id_of(&t, "a"), end};
    decode(&t.text, some, 3, 0, &out);
    assert_int_equal(out.length, 1);
    decode(&t.text, some, 3, SLM_TEXT_SHOW_SPECIAL, &out);
    assert_memory_equal(out.data, "a<|begin|>a<|end|>", 18);
    slm_buf_free(&out);
    tokenizer_free(&t);
}

/* What a user writes never becomes special, wherever the ranges are cut. */
static void test_opaque(void **state)
{
    static const char *const NAMES[] = {"smollm", "mistral", "flags", "gemma"};
    const char *text = "<|begin|>x <|end|>\xff<|end|>e\xCC\x81<|begin|>[MASK]<|end|>";
    size_t length = strlen(text), n;
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        struct tokenizer t = tokenizer_json(NAMES[k]);
        slm_token begin = id_of(&t, "<|begin|>"), end = id_of(&t, "<|end|>");
        for (uint32_t from = 0; from <= length; from++) {
            for (uint32_t to = from; to <= length; to++) {
                struct slm_range opaque = {from, to};
                slm_token *ids =
                    encode(&t.text, text, length, SLM_TEXT_PARSE_SPECIAL, &opaque, 1, &n);
                size_t expected = 0;
                for (const char *at = text; (at = strstr(at, "<|")); at++) {
                    size_t first = (size_t)(at - text), last = first + (at[2] == 'b' ? 9 : 7);
                    expected += from == to || last <= from || first >= to;
                }
                size_t got = count_of(ids, n, begin) + count_of(ids, n, end);
                if (got != expected)
                    fail_msg("%s, opaque %u to %u: %zu special tokens, should be %zu", NAMES[k],
                             from, to, got, expected);
                free(ids);
            }
        }
        tokenizer_free(&t);
    }
}

/* Ranges change nothing else: without special tokens in the text the ids stay the same. */
static void test_opaque_exact(void **state)
{
    struct tokenizer t = tokenizer_json("llama3");
    const char *text = "Hello world, it's 12345 o'clock.\n\n  Don't panic!";
    size_t n, m;
    (void)state;
    slm_token *plain = encode(&t.text, text, strlen(text), SLM_TEXT_PARSE_SPECIAL, NULL, 0, &n);
    for (uint32_t i = 0; i < strlen(text); i++) {
        struct slm_range opaque[] = {{0, i / 2}, {i / 2, i}, {i, (uint32_t)strlen(text)}};
        slm_token *ids = encode(&t.text, text, strlen(text), SLM_TEXT_PARSE_SPECIAL, opaque, 3, &m);
        assert_int_equal(m, n);
        assert_memory_equal(ids, plain, n * sizeof *ids);
        free(ids);
    }
    struct slm_range bad[][2] = {{{5, 4}, {6, 7}}, {{0, 5}, {4, 7}}, {{0, 1}, {2, 1000}}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(slm_text_encode(&t.text, text, strlen(text), 0, bad[i], 2, NULL, 0, NULL),
                         SLM_EINVAL);
    free(plain);
    tokenizer_free(&t);
}

static void test_affixes(void **state)
{
    struct tokenizer t = tokenizer_json("roberta"), s = tokenizer_tok512();
    size_t n;
    (void)state;
    slm_token *ids = encode(&t.text, "", 0, SLM_TEXT_ADD_SPECIAL, NULL, 0, &n);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], id_of(&t, "<|begin|>"));
    assert_int_equal(ids[1], id_of(&t, "<|end|>"));
    free(ids);
    free(encode(&t.text, "", 0, 0, NULL, 0, &n));
    assert_int_equal(n, 0);
    assert_int_equal(slm_text_bos(&s.text), 1);
    assert_int_equal(slm_text_eos(&s.text), 2);
    assert_true(slm_text_is_stop(&s.text, 2));
    assert_false(slm_text_is_stop(&s.text, 300));
    assert_false(slm_text_is_stop(&s.text, SLM_TOKEN_NONE));
    assert_int_equal(slm_text_bos(&t.text), SLM_TOKEN_NONE); /* no configuration named one */
    tokenizer_free(&t);
    tokenizer_free(&s);
}

static void test_token_text(void **state)
{
    struct tokenizer t = tokenizer_json("smollm"), s = tokenizer_tok512();
    size_t n = 99;
    (void)state;
    assert_null(slm_text_token(&t.text, -1, &n));
    assert_int_equal(n, 0);
    assert_null(slm_text_token(&t.text, (slm_token)t.text.n_vocab, &n));
    assert_memory_equal(slm_text_token(&s.text, 3 + 0xE2, &n), "\xE2", 1);
    assert_int_equal(n, 1);
    assert_string_not_equal(slm_text_token(&t.text, id_of(&t, " the"), &n), "");
    assert_int_equal(n, 4);
    /* A model may have more rows than the tokenizer tokens: they have no text. */
    struct slm_text wide;
    struct slm_buf out = {0};
    struct slm_decoder decoder;
    assert_int_equal(slm_text_open(&wide, t.section.data, t.section.length, t.text.n_tokens + 5),
                     SLM_OK);
    assert_non_null(slm_text_token(&wide, (slm_token)wide.n_tokens + 4, &n));
    assert_int_equal(n, 0);
    slm_decoder_init(&decoder, &wide, 0);
    assert_int_equal(slm_decoder_push(&decoder, (slm_token)wide.n_tokens + 4, &out), SLM_OK);
    assert_int_equal(slm_decoder_push(&decoder, (slm_token)wide.n_tokens + 5, &out), SLM_EINVAL);
    assert_non_null(strstr(slm_error_message(), "the vocabulary has 0 to"));
    assert_int_equal(slm_decoder_push(&decoder, -1, &out), SLM_EINVAL);
    assert_int_equal(out.length, 0);
    slm_buf_free(&out);
    tokenizer_free(&t);
    tokenizer_free(&s);
}

/* ------------------------------------------------------------------------- streaming --- */

static bool is_utf8(const uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t length = p[at] < 0x80 ? 1 : p[at] < 0xE0 ? 2 : p[at] < 0xF0 ? 3 : 4;
        if (p[at] >= 0x80 && (p[at] < 0xC2 || p[at] > 0xF4))
            return false;
        for (size_t i = 1; i < length; i++)
            if (at + i >= n || (p[at + i] & 0xC0) != 0x80)
                return false;
        at += length;
    }
    return true;
}

static void stream_is_whole(const struct slm_text *t, const slm_token *ids, size_t n)
{
    struct slm_buf all = {0}, pieces = {0};
    struct slm_decoder decoder;
    decode(t, ids, n, 0, &all);
    slm_decoder_init(&decoder, t, 0);
    for (size_t i = 0; i <= n; i++) {
        size_t before = pieces.length;
        if (i < n)
            assert_int_equal(slm_decoder_push(&decoder, ids[i], &pieces), SLM_OK);
        else
            assert_int_equal(slm_decoder_finish(&decoder, &pieces), SLM_OK);
        assert_true(is_utf8(pieces.data + before, pieces.length - before));
    }
    assert_int_equal(pieces.length, all.length);
    if (all.length)
        assert_memory_equal(pieces.data, all.data, all.length);
    slm_buf_free(&all);
    slm_buf_free(&pieces);
}

static void test_stream(void **state)
{
    struct tokenizer sets[] = {tokenizer_json("gpt2"), tokenizer_json("mistral"),
                               tokenizer_tok512()};
    struct random r = random_stream(seed, 1);
    (void)state;
    for (int k = 0; k < 3; k++) {
        for (int round = 0; round < 2000; round++) {
            slm_token ids[20];
            size_t n = random_between(&r, 1, 20);
            for (size_t i = 0; i < n; i++)
                ids[i] = (slm_token)random_between(&r, 0, sets[k].text.n_vocab - 1);
            stream_is_whole(&sets[k].text, ids, n);
        }
        tokenizer_free(&sets[k]);
    }
}

/* How bytes that are no UTF-8 come out: as in Rust and Python, and as in SentencePiece. */
static void test_bad_bytes(void **state)
{
    static const struct {
        const char *bytes;
        int parts, singles; /* U+FFFD */
    } CASES[] = {{"\x80", 1, 1},         {"\xE2\x96", 1, 2},     {"\xF0\x9F\x98", 1, 3},
                 {"\xED\xA0\x80", 3, 3}, {"\xF0\x80\x80", 3, 3}, {"\xC0\x80", 2, 2},
                 {"\xE2\x96\xE2", 2, 3}, {"\xF5\x80", 2, 2},     {"\xF4\x90\x80\x80", 4, 4},
                 {"\xE0\x9F\x80", 3, 3}, {"\xC2\xC2", 2, 2}};
    struct tokenizer t = tokenizer_json("llama3"), s = tokenizer_tok512();
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        slm_token ids[2][8];
        size_t n = strlen(CASES[i].bytes);
        for (size_t k = 0; k < n; k++) {
            ids[0][k] = (slm_token)t.text.bytes[(uint8_t)CASES[i].bytes[k]];
            ids[1][k] = 3 + (uint8_t)CASES[i].bytes[k];
        }
        for (int which = 0; which < 2; which++) {
            struct slm_buf out = {0};
            decode(which ? &s.text : &t.text, ids[which], n, 0, &out);
            assert_int_equal(out.length, 3 * (which ? CASES[i].singles : CASES[i].parts));
            for (size_t k = 0; k < out.length; k += 3)
                assert_memory_equal(out.data + k, "\xEF\xBF\xBD", 3);
            slm_buf_free(&out);
        }
    }
    tokenizer_free(&t);
    tokenizer_free(&s);
}

/* Text that is valid comes back byte for byte. */
static void test_round_trip(void **state)
{
    static const char *const NAMES[] = {"gpt2", "smollm", "llama3", "o200k", "deepseek", "gemma"};
    struct random r = random_stream(seed, 2);
    (void)state;
    for (size_t k = 0; k < 6; k++) {
        struct tokenizer t = tokenizer_json(NAMES[k]);
        for (int round = 0; round < 500; round++) {
            char text[200];
            size_t n = 0, count;
            while (n < 190) {
                static const uint32_t TOP[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF, 0x20, 0x2E7F};
                uint32_t c = (uint32_t)random_between(&r, 0, TOP[random_between(&r, 0, 5)]);
                if (c >= 0xD800 && c < 0xE000)
                    continue;
                if (c == 0x2581) /* SentencePiece's space: one way only */
                    continue;
                if (c < 0x80)
                    text[n++] = (char)c;
                else if (c < 0x800) {
                    text[n++] = (char)(0xC0 | c >> 6);
                    text[n++] = (char)(0x80 | (c & 63));
                } else if (c < 0x10000) {
                    text[n++] = (char)(0xE0 | c >> 12);
                    text[n++] = (char)(0x80 | (c >> 6 & 63));
                    text[n++] = (char)(0x80 | (c & 63));
                } else {
                    text[n++] = (char)(0xF0 | c >> 18);
                    text[n++] = (char)(0x80 | (c >> 12 & 63));
                    text[n++] = (char)(0x80 | (c >> 6 & 63));
                    text[n++] = (char)(0x80 | (c & 63));
                }
            }
            slm_token *ids = encode(&t.text, text, n, 0, NULL, 0, &count);
            struct slm_buf out = {0};
            decode(&t.text, ids, count, 0, &out);
            assert_int_equal(out.length, n);
            assert_memory_equal(out.data, text, n);
            slm_buf_free(&out);
            free(ids);
        }
        tokenizer_free(&t);
    }
}

/* ----------------------------------------------------------------------------- limits --- */

/* A window's boundaries must not show: a long piece is what its repetition says. */
static void test_long_pieces(void **state)
{
    static const char *const UNITS[] = {"a", " ", "\n", "abc", "é", "the", "\xF0\x9F\x98\x80", "."};
    static const char *const NAMES[] = {"gpt2", "llama3", "odd", "gemma", "mistral"};
    enum { MOST = 300000 };
    char *text = malloc(MOST + 8);
    (void)state;
    assert_non_null(text);
    for (size_t k = 0; k < 5; k++) {
        struct tokenizer t = tokenizer_json(NAMES[k]);
        for (size_t u = 0; u < sizeof UNITS / sizeof UNITS[0]; u++) {
            size_t unit = strlen(UNITS[u]), n = 0, count, few;
            for (; n < MOST; n += unit)
                memcpy(text + n, UNITS[u], unit);
            /* The first 900 bytes fit a window: most of their tokens are those of the long text. */
            slm_token *all = encode(&t.text, text, n, 0, NULL, 0, &count);
            slm_token *head = encode(&t.text, text, 900 / unit * unit, 0, NULL, 0, &few);
            assert_true(count > few);
            if (strcmp(NAMES[k], "odd") != 0)
                assert_memory_equal(all, head, few * 3 / 4 * sizeof *all);
            struct slm_buf out = {0};
            decode(&t.text, all, count, 0, &out);
            if (strcmp(NAMES[k], "odd") != 0) /* it has no token for some bytes */
                assert_int_equal(out.length, n);
            slm_buf_free(&out);
            free(all);
            free(head);
        }
        tokenizer_free(&t);
    }
    free(text);
}

/* A vocabulary in which the end of a text decides about its beginning: of 2,001 characters each can
 * merge with the next, the later the better. So no window is large enough but the whole piece. */
static void test_far_dependence(void **state)
{
    enum { N = 2001 };
    struct slm_vocab v;
    struct tokenizer t;
    struct slm_buf text = {0};
    slm_token ids[N];
    (void)state;
    slm_vocab_init(&v, NULL);
    v.model = SLM_TEXT_BPE_CHARS;
    v.by_score = true;
    for (uint32_t i = 0; i < N; i++) {
        uint32_t c = 0x4E00 + i;
        char utf8[3] = {(char)(0xE0 | c >> 12), (char)(0x80 | (c >> 6 & 63)),
                        (char)(0x80 | (c & 63))};
        slm_buf_append(&text, utf8, 3);
        assert_int_equal(slm_vocab_set(&v, i, utf8, 3, SLM_TOKEN_NORMAL), SLM_OK);
    }
    for (uint32_t i = 0; i + 1 < N; i++) {
        assert_int_equal(slm_vocab_set(&v, N + i, text.data + 3 * i, 6, SLM_TOKEN_NORMAL), SLM_OK);
        v.tokens[N + i].score = (float)i;
    }
    for (uint32_t i = 0; i < v.n_tokens; i++)
        v.tokens[i].in_model = true;
    tokenizer_build(&t, &v, SLM_OK);
    assert_int_equal(
        slm_text_encode(&t.text, (char *)text.data, text.length, 0, NULL, 0, ids, N, NULL),
        N / 2 + 1);
    assert_int_equal(ids[0], 0); /* the odd one is left over at the start */
    for (int i = 1; i < N / 2 + 1; i++)
        assert_int_equal(ids[i], N + 2 * i - 1);
    slm_buf_free(&text);
    tokenizer_free(&t);
}

static void test_limits(void **state)
{
    struct tokenizer t = tokenizer_json("smollm");
    (void)state;
    assert_int_equal(
        slm_text_encode(&t.text, "x", (size_t)SLM_LIMIT_TEXT + 1, 0, NULL, 0, NULL, 0, NULL),
        SLM_ELIMIT);
    tokenizer_free(&t);
}

/* Every allocation fails once: SLM_ENOMEM, and nothing stays behind. */
static void test_memory(void **state)
{
    static const char *const NAMES[] = {"odd", "mistral", "qwen2", "roberta", "always"};
    const char *text = "x\xff e\xCC\x81 \xE2\x96\x81 unbelievable <|end|> zzz";
    (void)state;
    for (size_t k = 0; k < 5; k++) {
        struct tokenizer t = tokenizer_json(NAMES[k]);
        struct slm_range opaque = {3, 5};
        for (size_t fail = 1;; fail++) {
            struct hooks hooks;
            hooks_init(&hooks);
            hooks.fail_at = fail;
            int64_t rc = slm_text_encode(&t.text, text, strlen(text), SLM_TEXT_PARSE_SPECIAL,
                                         &opaque, 1, NULL, 0, &hooks.allocator);
            assert_true(hooks_clean(&hooks));
            if (hooks.n_failed == 0) {
                assert_true(rc > 0);
                break;
            }
            assert_int_equal(rc, SLM_ENOMEM);
        }
        tokenizer_free(&t);
    }
}

/* --------------------------------------------------------------------- damaged sections --- */

static const char STRESS[] =
    "The quick brown fox's 12345 jumps!\n\n\t<|begin|> x<tool> "
    "\xE2\x96\x81 \xC3\xA9 e\xCC\x81 \xF0\x9F\x98\x80 \xff aaaaaaaaaaaaaaaa";

/* Whatever the section is, using it must stay inside of it; the sanitizers judge. Returns whether
 * it was accepted. */
static bool use(const uint8_t *section, size_t n, uint32_t n_vocab)
{
    struct slm_text t;
    struct slm_decoder decoder;
    struct slm_buf out = {0};
    slm_token ids[512];
    int rc = slm_text_open(&t, section, n, n_vocab);
    if (rc < 0) {
        assert_true(rc == SLM_EFORMAT || rc == SLM_EVERSION || rc == SLM_EUNSUPPORTED);
        assert_true(strlen(slm_error_message()) > 10);
        return false;
    }
    int64_t count =
        slm_text_encode(&t, STRESS, sizeof STRESS - 1,
                        SLM_TEXT_ADD_SPECIAL | SLM_TEXT_PARSE_SPECIAL, NULL, 0, ids, 512, NULL);
    for (int64_t i = 0; i < count && i < 512; i++)
        assert_true(ids[i] >= 0 && (uint32_t)ids[i] < n_vocab);
    slm_decoder_init(&decoder, &t, SLM_TEXT_SHOW_SPECIAL);
    for (uint32_t i = 0; i < n_vocab; i++) {
        size_t length;
        slm_text_token(&t, (slm_token)i, &length);
        slm_decoder_push(&decoder, (slm_token)i, &out);
        slm_text_is_stop(&t, (slm_token)i);
    }
    slm_decoder_finish(&decoder, &out);
    slm_buf_free(&out);
    return true;
}

/* A copy that ends exactly where the section does. */
static uint8_t *exact_copy(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, data, n);
    return copy;
}

static void test_damaged(void **state)
{
    static const char *const NAMES[] = {"smollm", "mistral", "qwen2", "flags", "odd", "behaviours"};
    struct random r = random_stream(seed, 3);
    (void)state;
    for (size_t k = 0; k < 6; k++) {
        struct tokenizer t = tokenizer_json(NAMES[k]);
        uint32_t n_vocab = t.text.n_vocab;
        size_t n = t.section.length, accepted = 0;
        assert_true(use(t.section.data, n, n_vocab));
        assert_false(use(t.section.data, n, n_vocab - 1)); /* more tokens than the model has rows */
        for (size_t part = 0; part < 64; part++) {
            uint8_t *copy = exact_copy(t.section.data, n * part / 64);
            assert_false(use(copy, n * part / 64, n_vocab));
            free(copy);
        }
        for (int flip = 0; flip < 1000; flip++) {
            uint8_t *copy = exact_copy(t.section.data, n);
            /* Half of them in the header and the list of tables. */
            size_t at = random_between(&r, 0, flip % 2 ? n - 1 : 63 + 8 * SLM_TEXT_N_TABLES);
            copy[at] ^= (uint8_t)(1u << random_between(&r, 0, 7));
            accepted += use(copy, n, n_vocab);
            free(copy);
        }
        assert_true(accepted > 100);               /* damage in a token's text can't be seen */
        for (int round = 0; round < 50; round++) { /* a large part at random */
            uint8_t *copy = exact_copy(t.section.data, n);
            size_t from = random_between(&r, 64 + 8 * SLM_TEXT_N_TABLES, n - 1);
            size_t to = random_between(&r, from, n);
            for (size_t i = from; i < to; i++)
                copy[i] = (uint8_t)random_u64(&r);
            use(copy, n, n_vocab);
            free(copy);
        }
        tokenizer_free(&t);
    }
}

/* Every number in the tables that are read without a walk at opening, made absurd. */
static void test_absurd_numbers(void **state)
{
    static const char *const NAMES[] = {"flags", "ties-partial", "bert", "unigram"};
    static const uint32_t TABLES[] = {SLM_TEXT_BASES,      SLM_TEXT_MERGES, SLM_TEXT_ADDED,
                                      SLM_TEXT_ADDED_LATE, SLM_TEXT_NORMAL, SLM_TEXT_STOP};
    static const uint32_t VALUES[] = {0xFFFFFFFF, 0x7FFFFFF0, 1000};
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct tokenizer t = tokenizer_json(NAMES[k]);
        uint8_t *copy = exact_copy(t.section.data, t.section.length);
        for (size_t i = 0; i < sizeof TABLES / sizeof TABLES[0]; i++) {
            struct slm_text_table table = slm_text_tables(t.text.header)[TABLES[i]];
            for (uint32_t at = table.offset; at + 4 <= table.offset + table.length; at += 4) {
                for (int value = 0; value < 3; value++) {
                    memcpy(copy + at, &VALUES[value], 4);
                    use(copy, t.section.length, t.text.n_vocab);
                }
                memcpy(copy + at, t.section.data + at, 4);
            }
        }
        free(copy);
        tokenizer_free(&t);
    }
}

/* What a file's normalizers write need not be UTF-8: the scanner reads nothing behind its end. */
static void test_cut_character(void **state)
{
    static const char *const CUT[] = {"a\xC3",     "a\xE2\x82", "a\xE2", "a\xF0\x9F\x98",
                                      "a\xF0\x9F", "\xF0",      " \xFF"};
    static const char *const NAMES[] = {"gpt2", "llama3", "o200k", "falcon", "flags"};
    (void)state;
    for (size_t k = 0; k < sizeof NAMES / sizeof NAMES[0]; k++) {
        struct tokenizer t = tokenizer_json(NAMES[k]);
        for (size_t i = 0; i < sizeof CUT / sizeof CUT[0]; i++) {
            size_t n = strlen(CUT[i]), begin, end, at = 0;
            struct guarded text = guarded_input(n); /* a byte more is a fault */
            struct slm_scan scan;
            memcpy(text.data, CUT[i], n);
            slm_scan_start(&scan, &t.text, text.data, 0, n);
            while (slm_scan_next(&scan, &begin, &end)) {
                assert_true(begin >= at && end > begin && end <= n);
                at = end;
            }
            if (t.text.word_scanner >= 0)
                slm_scan_is_word(&t.text, text.data, n - 1, n);
            guarded_free(&text);
        }
        tokenizer_free(&t);
    }
}

/* The work space of Unigram fits the longest token, also when the mapped file is changed while it
 * is in use. */
static void test_ring(void **state)
{
    struct tokenizer t = tokenizer_json("unigram");
    struct slm_text_header *header = (struct slm_text_header *)(void *)t.section.data;
    struct slm_unigram u;
    struct slm_token_sink sink = {0};
    const char *text = " about the unbelievable people";
    (void)state;
    slm_unigram_init(&u, &t.text, NULL);
    for (uint32_t longest = 2; longest < 3000; longest *= 3) {
        header->max_length = longest;
        u.sum = 0;
        assert_int_equal(slm_unigram(&u, (const uint8_t *)text, strlen(text), &sink), SLM_OK);
        assert_true(u.ring.length > (longest + 4) * sizeof(double));
    }
    slm_unigram_free(&u);
    tokenizer_free(&t);
}

/* A table maps the characters that it was made of and no others, wherever the last one is. */
static void test_map_table(void **state)
{
    static const uint32_t LAST[] = {0x41, 0x85, 0x3000, 0x3080, 0x10FFFF}, TO[] = {' '};
    (void)state;
    for (size_t i = 0; i < sizeof LAST / sizeof LAST[0]; i++) {
        struct slm_buf rows = {0}, table = {0};
        struct slm_nfc_view view;
        slm_unicode_map_row(&rows, '!', '!', 1, TO);
        slm_unicode_map_row(&rows, LAST[i], LAST[i], 1, TO);
        assert_int_equal(slm_unicode_map_table(&rows, &table), SLM_OK);
        assert_true(slm_nfc_open(&view, table.data, table.length));
        for (uint32_t c = 0; c <= 0x10FFFF; c++) {
            char utf8[4];
            if (c >= 0xD800 && c < 0xE000)
                continue;
            size_t n = slm_utf8_encode(c, utf8);
            bool mapped = slm_nfc_mapped(&view, (uint8_t *)utf8, n, 0) == 0;
            if (mapped != (c == '!' || c == LAST[i]))
                fail_msg("U+%04X, in a table up to U+%04X", c, LAST[i]);
        }
        slm_buf_free(&rows);
        slm_buf_free(&table);
    }
}

static void test_versions(void **state)
{
    struct tokenizer t = tokenizer_json("smollm");
    struct slm_text_header *h = (void *)t.section.data;
    struct slm_text text;
    uint32_t n = t.text.n_vocab;
    (void)state;
    h->minor++; /* a newer minor version is readable */
    assert_int_equal(slm_text_open(&text, h, t.section.length, n), SLM_OK);
    h->major++;
    assert_int_equal(slm_text_open(&text, h, t.section.length, n), SLM_EVERSION);
    assert_non_null(strstr(slm_error_message(), "this library reads 2.x: a newer libslm is needed"));
    h->major = 1;
    assert_int_equal(slm_text_open(&text, h, t.section.length, n), SLM_EVERSION);
    assert_non_null(strstr(slm_error_message(), "the file is older, convert its model again"));
    h->major = 2;
    h->reserved2[0] = 80; /* tables lay there in 2.0's first days */
    assert_int_equal(slm_text_open(&text, h, t.section.length, n), SLM_EVERSION);
    assert_non_null(strstr(slm_error_message(), "older or newer"));
    h->reserved2[0] = 0;
    h->model = 5;
    assert_int_equal(slm_text_open(&text, h, t.section.length, n), SLM_EUNSUPPORTED);
    h->model = 1;
    uint8_t *moved = malloc(t.section.length + 8);
    assert_non_null(moved);
    memcpy(moved + 4, h, t.section.length);
    assert_int_equal(slm_text_open(&text, moved + 4, t.section.length, n), SLM_EINVAL);
    free(moved);
    tokenizer_free(&t);
}

/* What two texts become is checked as a whole when the section is opened. */
static void test_pair_table(void **state)
{
#define ONE SLM_PAIR_TYPE_1
    enum { A = SLM_PAIR_FIRST, B = SLM_PAIR_SECOND };
    static const uint32_t GOOD[5] = {2, A, 3, B | ONE, 3 | ONE};
    static const uint32_t TYPES[][6] = {
        /* and how many of 1 + 1 + 1 + 2 + 1 tokens are of type 0 */
        {2, A, 3 | ONE, B | ONE, 3 | ONE, 2},
        {2, A, 3, B | ONE, 3 | ONE, 3},
        {2, A, 3, B, 3 | ONE, 5},
        {2, A, 3, B, 3, 6},
    };
    static const uint32_t BAD[][5] = {
        {2, A, 3, 3, 3},       /* no second text */
        {2, 3, 3, B, 3},       /* no first one */
        {2, B, 3, A, 3},       /* the wrong order */
        {2, A, A, B, 3},       /* twice */
        {2, A, B, B, 3},
        {2, A, 3, B, 0xFFFFF}, /* no such token */
        {2, A, 0x7FFFFFFD, B, 3},
        {2, A | ONE, 3, B | ONE, 3}, /* types descend */
        {2, A | ONE, 3 | ONE, B | ONE, 3 | ONE}, /* nothing of type 0 but a token */
        {2 | ONE, A | ONE, 3 | ONE, B | ONE, 3 | ONE},
    };
    struct tokenizer t = tokenizer_json("bert");
    struct slm_text text;
    uint32_t *pair = (void *)(t.section.data + slm_text_tables(t.text.header)[SLM_TEXT_PAIR].offset);
    (void)state;
    assert_int_equal(t.text.n_pair, 5);
    assert_memory_equal(pair, GOOD, sizeof GOOD);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        memcpy(pair, BAD[i], sizeof BAD[i]);
        if (slm_text_open(&text, t.section.data, t.section.length, t.text.n_vocab) != SLM_EFORMAT)
            fail_msg("pair %zu was taken", i);
    }
    memcpy(pair, GOOD, sizeof GOOD);
    const char *const texts[2] = {"the", "of the"};
    const size_t n[2] = {3, 6};
    slm_token ids[8];
    size_t n_first;
    /* Too little room: the rest is counted. */
    assert_int_equal(slm_text_encode_pair(&t.text, texts, n, 0, ids, 2, &n_first, NULL), 6);
    assert_int_equal(n_first, 3);
    assert_int_equal(slm_text_encode_pair(&t.text, texts, n, 0, ids, 8, &n_first, NULL), 6);
    assert_int_equal(ids[5], 3);
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
        memcpy(pair, TYPES[i], sizeof GOOD);
        assert_int_equal(slm_text_open(&text, t.section.data, t.section.length, t.text.n_vocab), SLM_OK);
        assert_int_equal(slm_text_encode_pair(&text, texts, n, 0, ids, 8, &n_first, NULL), 6);
        assert_int_equal(n_first, TYPES[i][5]);
    }
    t.text.n_pair = 0;
    assert_int_equal(slm_text_encode_pair(&t.text, texts, n, 0, ids, 8, &n_first, NULL), SLM_EUNSUPPORTED);
    assert_true(ONE == 1u << 31);
#undef ONE
    tokenizer_free(&t);
}

/* At each place of a text WordPiece and Unigram try every length that a token may have. */
static void test_work_at_a_place(void **state)
{
    static const char *const NAMES[] = {"bert", "unigram"};
    struct slm_text text;
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct tokenizer t = tokenizer_json(NAMES[k % 2]);
        struct slm_text_header *h = (void *)t.section.data;
        *(k < 2 ? &h->max_length : &h->max_word) = 1024;
        assert_int_equal(slm_text_open(&text, h, t.section.length, t.text.n_vocab), SLM_OK);
        *(k < 2 ? &h->max_length : &h->max_word) = 1025;
        assert_int_equal(slm_text_open(&text, h, t.section.length, t.text.n_vocab), SLM_ELIMIT);
        assert_non_null(strstr(slm_error_message(), "the limit of both is 1024"));
        tokenizer_free(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special),        cmocka_unit_test(test_opaque),
        cmocka_unit_test(test_opaque_exact),   cmocka_unit_test(test_affixes),
        cmocka_unit_test(test_token_text),     cmocka_unit_test(test_stream),
        cmocka_unit_test(test_bad_bytes),      cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_long_pieces),    cmocka_unit_test(test_cut_character),
        cmocka_unit_test(test_far_dependence), cmocka_unit_test(test_absurd_numbers),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_memory),
        cmocka_unit_test(test_damaged),        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_ring),           cmocka_unit_test(test_map_table),
        cmocka_unit_test(test_pair_table),     cmocka_unit_test(test_work_at_a_place),
    };
    seed = random_start("test_tokenizer");
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
