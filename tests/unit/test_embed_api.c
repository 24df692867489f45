/* test_embed_api.c - what slm_embed() and slm_score() refuse, count, cut and leave as it was. */
#include "support/evaluate.h"
#include "unit/tokenizer_files.h"
#include "vocab/vocab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct tiny_model *embedder(const char *name)
{
    const struct tiny_model *m = tiny_embedders;
    while (strcmp(m->name, name) != 0)
        m++;
    return m;
}

static slm_ctx *context_of(slm_model *model, int32_t max_tokens, int32_t max_seqs)
{
    slm_ctx_options options = {.size = sizeof options, .n_threads = 1, .max_tokens = max_tokens,
                               .max_seqs = max_seqs};
    slm_ctx *ctx = NULL;
    must(slm_ctx_new(&ctx, model, &options));
    return ctx;
}

static void refuses(int64_t rc, int code, const char *words)
{
    if (rc != code || !strstr(slm_last_error(), words))
        fail_msg("%d, wanted %d; '%s', wanted '%s'", (int)rc, code, slm_last_error(), words);
}

static void wrong_arguments(void **state)
{
    (void)state;
    slm_model *model = open_tiny(embedder("bert"));
    slm_ctx *ctx = context_of(model, 64, 0);
    static const slm_token tokens[65] = {1, 2, 3};
    static float out[64 * 64];
    slm_input good = {.size = sizeof good, .tokens = tokens, .n_tokens = 3}, in = good;
    slm_embed_options options = {.size = sizeof options};
    refuses(slm_embed(NULL, &in, 1, NULL, out, 1), SLM_EINVAL, "ctx is NULL");
    refuses(slm_embed(ctx, NULL, 1, NULL, out, 1), SLM_EINVAL, "inputs is NULL");
    refuses(slm_embed(ctx, &in, 1, NULL, NULL, 1), SLM_EINVAL, "out is NULL");
    refuses(slm_score(ctx, NULL, 1, NULL, out, 1), SLM_EINVAL, "slm_score: inputs");
    refuses(slm_embed(ctx, (slm_input[2]){good, good}, 2, NULL, out, 1), SLM_ELIMIT, "room for 1");
    refuses(slm_score(ctx, (slm_input[2]){good, good}, 2, NULL, out, 1), SLM_ELIMIT, "room for 1");
    options.pooling = 5;
    refuses(slm_embed(ctx, &in, 1, &options, out, 1), SLM_EINVAL, "pooling is 5");
    in.n_tokens = 0;
    refuses(slm_embed(ctx, &in, 1, NULL, out, 1), SLM_EINVAL, "input 0: it has no tokens");
    in = good;
    in.n_first = 4;
    refuses(slm_embed(ctx, &in, 1, NULL, out, 1), SLM_EINVAL, "n_first is 4");
    in = good;
    in.text = "both";
    refuses(slm_embed(ctx, &in, 1, NULL, out, 1), SLM_EINVAL, "either text or tokens");
    in = (slm_input){.size = sizeof in, .text = "no tokenizer", .n = 12};
    refuses(slm_embed(ctx, (slm_input[2]){good, in}, 2, NULL, out, 2), SLM_EUNSUPPORTED, "input 1: the model");
    slm_token outside[2] = {1, 90};
    in = (slm_input){.size = sizeof in, .tokens = outside, .n_tokens = 2};
    refuses(slm_embed(ctx, &in, 1, NULL, out, 1), SLM_EINVAL, "90 is out of range");
    in = (slm_input){.size = sizeof in, .tokens = tokens, .n_tokens = 65};
    refuses(slm_embed(ctx, &in, 1, NULL, out, 1), SLM_ELIMIT, "65 tokens, and the limit of context");
    assert_int_equal(slm_embed(ctx, NULL, 0, NULL, NULL, 0), 0);
    slm_ctx_free(ctx);
    slm_model_unref(model);
}

/* Which rows belong to which input, also where there is no room for them, and of scores. */
static void rows_of_each_input(void **state)
{
    (void)state;
    slm_model *model = open_tiny(embedder("bert"));
    slm_ctx *ctx = context_of(model, 64, 0);
    static const slm_token tokens[3] = {1, 2, 3};
    static float out[64];
    const slm_input in[2] = {{.size = sizeof *in, .tokens = tokens, .n_tokens = 3},
                             {.size = sizeof *in, .tokens = tokens, .n_tokens = 2}};
    size_t rows[2] = {0};
    slm_embed_options options = {.size = sizeof options, .pooling = SLM_POOL_NONE, .n_rows = rows};
    refuses(slm_embed(ctx, in, 2, &options, out, 1), SLM_ELIMIT, "room for 1");
    assert_true(rows[0] == 3 && rows[1] == 2);
    assert_int_equal(slm_score(ctx, in, 2, &options, out, 2), 2);
    assert_true(rows[0] == 1 && rows[1] == 1);
    slm_ctx_free(ctx);
    slm_model_unref(model);
}

static void encoders_have_no_sequences(void **state)
{
    (void)state;
    slm_model *model = open_tiny(embedder("local"));
    slm_ctx *ctx = context_of(model, 64, 0);
    slm_seq *seq;
    refuses(slm_seq_new(&seq, ctx), SLM_EUNSUPPORTED, "slm_embed()");
    slm_ctx_free(ctx);
    slm_model_unref(model);
}

static void models_without_a_head_or_pooling(void **state)
{
    (void)state;
    slm_model *model = open_tiny(&tiny_models[0]);
    slm_ctx *ctx = context_of(model, 64, 0);
    static const slm_token tokens[3] = {1, 2, 3};
    slm_input in = {.size = sizeof in, .tokens = tokens, .n_tokens = 3};
    float out[64], again[64];
    refuses(slm_embed(ctx, &in, 1, NULL, out, 1), SLM_EINVAL, "set slm_embed_options.pooling");
    refuses(slm_score(ctx, &in, 1, NULL, out, 1), SLM_EUNSUPPORTED, "no score head");
    slm_embed_options options = {.size = sizeof options, .pooling = SLM_POOL_LAST};
    assert_int_equal(slm_embed(ctx, &in, 1, &options, out, 1), 1);
    /* A sequence in progress takes the one place that there is, and its logits stay away. */
    slm_seq *seq;
    must(slm_seq_new(&seq, ctx));
    refuses(slm_embed(ctx, &in, 1, &options, again, 1), SLM_ELIMIT, "max_seqs");
    slm_seq_free(seq);
    assert_int_equal(slm_embed(ctx, &in, 1, &options, again, 1), 1);
    assert_memory_equal(out, again, sizeof out);
    slm_ctx_free(ctx);
    slm_model_unref(model);
}

/* Beside sequences that live; pages and places come back. */
static void leaves_nothing_behind(void **state)
{
    (void)state;
    const struct tiny_model *tiny = embedder("causal");
    slm_model *model = open_tiny(tiny);
    slm_ctx *ctx = context_of(model, 256, 4);
    slm_token *text = make_text(tiny, 100, 3);
    slm_seq *seq;
    must(slm_seq_new(&seq, ctx));
    append(ctx, seq, text, 40, 0, 0, NULL);
    slm_stats before = {.size = sizeof before}, after = before;
    must(slm_ctx_stats(ctx, &before));
    slm_input in[7];
    float out[7 * 48], alone[48];
    for (size_t i = 0; i < 7; i++)
        in[i] = (slm_input){.size = sizeof *in, .tokens = text, .n_tokens = 10 + 15 * i};
    assert_int_equal(slm_embed(ctx, in, 7, NULL, out, 7), 7);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(slm_embed(ctx, in + i, 1, NULL, alone, 1), 1);
        assert_memory_equal(alone, out + i * 48, sizeof alone);
    }
    must(slm_ctx_stats(ctx, &after));
    assert_int_equal(after.kv_positions_free, before.kv_positions_free);
    assert_int_equal(slm_seq_length(seq), 40);
    slm_ctx_interrupt(ctx);
    refuses(slm_embed(ctx, in, 7, NULL, out, 7), SLM_EINTR, "interrupted");
    assert_int_equal(slm_embed(ctx, in, 7, NULL, out, 7), 7);
    slm_seq_free(seq);
    free(text);
    slm_ctx_free(ctx);
    slm_model_unref(model);
}

/* Text is what slm_tokenize() makes of it; truncated, it keeps its beginning. */
static void texts(void **state)
{
    (void)state;
    const char *examples = getenv("SLM_EXAMPLES");
    char path[600];
    snprintf(path, sizeof path, "%s/stories260K.slm", examples ? examples : "examples");
    slm_model *model = NULL;
    must(slm_model_open(&model, path, NULL));
    slm_ctx *ctx = context_of(model, 32, 2);
    static const char story[] = "Once upon a time, there was a little girl named Lily.";
    slm_token tokens[100];
    int64_t n = slm_tokenize(model, story, sizeof story - 1, SLM_TEXT_ADD_SPECIAL, tokens, 100);
    assert_in_range(n, 8, 32);
    slm_embed_options options = {.size = sizeof options, .pooling = SLM_POOL_MEAN, .normalise = 1};
    slm_input in[2] = {{.size = sizeof *in, .text = story, .n = sizeof story - 1},
                       {.size = sizeof *in, .tokens = tokens, .n_tokens = (size_t)n}};
    float out[2 * 64];
    assert_int_equal(slm_embed(ctx, in, 2, &options, out, 2), 2);
    assert_memory_equal(out, out + 64, 64 * sizeof *out);
    float length = 0;
    for (size_t i = 0; i < 64; i++)
        length += out[i] * out[i];
    assert_true(length > 0.9999f && length < 1.0001f);
    in[0].second = story;
    refuses(slm_embed(ctx, in, 1, &options, out, 2), SLM_EUNSUPPORTED, "no pairs");

    char book[2000];
    memset(book, 'x', sizeof book);
    memcpy(book, story, sizeof story - 1);
    in[0] = (slm_input){.size = sizeof *in, .text = book, .n = sizeof book};
    refuses(slm_embed(ctx, in, 1, &options, out, 2), SLM_ELIMIT, "slm_embed_options.truncate");
    options.truncate = 1;
    assert_int_equal(slm_embed(ctx, in, 1, &options, out, 2), 1);
    slm_token all[2001];
    must(slm_tokenize(model, book, sizeof book, SLM_TEXT_ADD_SPECIAL, all, 2001));
    in[1] = (slm_input){.size = sizeof *in, .tokens = all, .n_tokens = 32};
    assert_int_equal(slm_embed(ctx, in + 1, 1, &options, out + 64, 1), 1);
    assert_memory_equal(out, out + 64, 64 * sizeof *out);
    slm_ctx_free(ctx);
    slm_model_unref(model);
}

/* A BERT vocabulary, which has no EOS: [CLS] is 2, [SEP] is 3. */
static void write_reranker(const char *path, bool takes_pairs)
{
    static const char words[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\none\ntwo\nthree\n";
    struct tiny_model tiny = *embedder("bert");
    struct slm_vocab vocab;
    struct slm_buf section = {0};
    slm_vocab_init(&vocab, NULL);
    must(slm_vocab_from_wordlist(&vocab, words, sizeof words - 1, NULL));
    assert_int_equal(vocab.eos, SLM_TEXT_NO_TOKEN);
    if (!takes_pairs)
        vocab.n_pair = 0;
    must(slm_vocab_build(&vocab, tiny.n_vocab, &section));
    must(tiny_model_write(&tiny, path, NULL, section.data, section.length));
    slm_buf_free(&section);
    slm_vocab_free(&vocab);
}

/* What two texts become is the tokenizer's to say; no EOS is needed for it. */
static void pairs_without_eos(void **state)
{
    static const slm_token tokens[] = {2, 5, 6, 3, 7, 3};
    const char *path = temporary_path("reranker.slm");
    (void)state;
    for (int takes_pairs = 0; takes_pairs < 2; takes_pairs++) {
        slm_model *model = NULL;
        float scores[2 * 3];
        write_reranker(path, takes_pairs);
        must(slm_model_open(&model, path, NULL));
        slm_ctx *ctx = context_of(model, 32, 2);
        slm_input in[2] = {{.size = sizeof *in, .text = "one two", .n = 7, .second = "three", .n_second = 5},
                           {.size = sizeof *in, .tokens = tokens, .n_tokens = 6, .n_first = 4}};
        if (takes_pairs) {
            assert_int_equal(slm_score(ctx, in, 2, NULL, scores, 2), 2);
            assert_memory_equal(scores, scores + 3, 3 * sizeof *scores);
        } else {
            refuses(slm_score(ctx, in, 1, NULL, scores, 2), SLM_EUNSUPPORTED, "no pairs");
        }
        slm_ctx_free(ctx);
        slm_model_unref(model);
    }
}

/* A pair of texts is what slm_tokenize_pair() makes of it; truncated, the second text loses its end. */
static void pairs(void **state)
{
    (void)state;
    struct tokenizer t = tokenizer_json("bert");
    struct tiny_model tiny = *embedder("bert");
    tiny.n_vocab = t.text.n_tokens;
    char path[512];
    snprintf(path, sizeof path, "%s", temporary_path("pairs.slm"));
    must(tiny_model_write(&tiny, path, NULL, t.section.data, t.section.length));
    tokenizer_free(&t);
    slm_model *model;
    must(slm_model_open(&model, path, NULL));
    slm_ctx *ctx = context_of(model, 32, 2);
    static const char a[] = "the first of them", b[] = "and all the others that could be there with them now";
    slm_token ids[64], single[64];
    size_t n_first = 0;
    int64_t n = slm_tokenize_pair(model, a, sizeof a - 1, b, sizeof b - 1, 0, ids, 64, &n_first);
    assert_in_range(n, 10, 32);
    int64_t first = slm_tokenize(model, a, sizeof a - 1, SLM_TEXT_ADD_SPECIAL, single, 64);
    assert_int_equal(n_first, first); /* [CLS] a [SEP], then b [SEP] */
    assert_memory_equal(ids, single, n_first * sizeof *ids);
    assert_int_equal(ids[n - 1], ids[n_first - 1]);
    assert_int_equal(slm_tokenize_pair(model, a, sizeof a - 1, b, sizeof b - 1, 0, NULL, 0, NULL), n);

    slm_input in[2] = {{.size = sizeof *in, .text = a, .n = sizeof a - 1, .second = b, .n_second = sizeof b - 1},
                       {.size = sizeof *in, .tokens = ids, .n_tokens = (size_t)n, .n_first = n_first}};
    float scores[2 * 3], other[3];
    assert_int_equal(slm_score(ctx, in, 2, NULL, scores, 2), 2);
    assert_memory_equal(scores, scores + 3, 3 * sizeof *scores);
    in[1].n_first = 0; /* all of type 0 */
    assert_int_equal(slm_score(ctx, in + 1, 1, NULL, other, 1), 1);
    assert_memory_not_equal(scores, other, sizeof other);

    size_t kept = (size_t)n - 1; /* of the second text, which is the longer one, and [SEP] stays */
    slm_ctx *small = context_of(model, (int32_t)kept, 2);
    slm_embed_options options = {.size = sizeof options};
    refuses(slm_score(small, in, 1, &options, scores, 1), SLM_ELIMIT, "truncate");
    options.truncate = 1;
    assert_int_equal(slm_score(small, in, 1, &options, scores, 1), 1);
    ids[kept - 1] = ids[n - 1];
    in[1].n_tokens = kept;
    in[1].n_first = n_first;
    assert_int_equal(slm_score(small, in + 1, 1, NULL, other, 1), 1);
    assert_memory_equal(scores, other, sizeof other);
    slm_ctx_free(small);
    small = context_of(model, 2, 2); /* no room for what stands around the texts */
    refuses(slm_score(small, in, 1, &options, scores, 1), SLM_ELIMIT, "it has");
    slm_ctx_free(small);

    refuses(slm_tokenize_pair(NULL, a, 1, b, 1, 0, NULL, 0, NULL), SLM_EINVAL, "model is NULL");
    refuses(slm_tokenize_pair(model, NULL, 1, b, 1, 0, NULL, 0, NULL), SLM_EINVAL, "NULL");
    refuses(slm_tokenize_pair(model, a, 1, b, 1, 64, NULL, 0, NULL), SLM_EINVAL, "0x40");
    slm_ctx_free(ctx);
    slm_model_unref(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(rows_of_each_input),
        cmocka_unit_test(encoders_have_no_sequences),
        cmocka_unit_test(models_without_a_head_or_pooling),
        cmocka_unit_test(leaves_nothing_behind),
        cmocka_unit_test(texts),
        cmocka_unit_test(pairs_without_eos),
        cmocka_unit_test(pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
