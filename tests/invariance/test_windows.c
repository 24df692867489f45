/*
 * test_windows.c - what sliding windows store: memory is bounded by the window however long a text
 * grows, layers with different windows keep different page tables, and a sequence can be cut to
 * wherever its windows are whole, or not at all.
 */
#include "support/evaluate.h"
#include "support/hooks.h"

#include "run/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LONG = 20000, STORED = 192, EVERY = 500 };

/* Pages that a sequence holds in a group. */
static size_t pages_held(const slm_seq *seq, uint32_t group)
{
    const struct slm_kv_table *table = &seq->tables[group];
    size_t n = 0;
    for (uint32_t i = 0; i < table->n_pages; i++)
        n += table->pages[i] != SLM_NO_PAGE;
    return n;
}

static slm_token most_likely(const float *logits, size_t n_vocab, size_t step)
{
    size_t best = 0;
    for (size_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    return (slm_token)((best + step / 7) % n_vocab); /* a tiny model would repeat itself */
}

/* Every layer looks back 50 positions at most. 20,000 tokens one by one, each from the logits of the one
 * before, with room for 192: no byte more is taken than at the beginning, no more pages are held, and
 * what comes out are the bits of a context that stores everything. */
static void twenty_thousand_tokens(void **state)
{
    (void)state;
    const struct tiny_model *tiny = tiny_model_named("local");
    slm_model *model = open_tiny(tiny);
    size_t n_vocab = vocab_of(model);
    struct hooks h;
    hooks_init(&h);
    slm_ctx_options small = {.size = sizeof small, .n_threads = 1, .max_tokens = STORED, .max_seq_tokens = LONG,
                             .max_batch = 16, .allocator = &h.allocator};
    slm_ctx_options large = {.size = sizeof large, .n_threads = 1, .max_tokens = LONG, .max_batch = 16};
    int64_t bytes = slm_ctx_memory(model, &small);
    must(bytes);
    assert_true(bytes < slm_ctx_memory(model, &large) / 10);

    slm_ctx *ctx = NULL;
    slm_seq *seq = NULL;
    must(slm_ctx_new(&ctx, model, &small));
    must(slm_seq_new(&seq, ctx));
    assert_int_equal(h.live_bytes, bytes);
    slm_token *text = calloc(LONG, sizeof *text);
    float *logits = malloc(LONG / EVERY * n_vocab * sizeof *logits);
    size_t most[SLM_LIMIT_KV_GROUPS] = {0};
    for (size_t i = 0; i < LONG; i++) {
        slm_span span = {sizeof span, seq, text + i, 1, 1};
        must(slm_eval(ctx, &span, 1));
        const float *row = slm_logits(ctx, 0, 0);
        if (i + 1 < LONG)
            text[i + 1] = most_likely(row, n_vocab, i);
        if (i % EVERY == EVERY - 1)
            memcpy(logits + i / EVERY * n_vocab, row, n_vocab * sizeof *row);
        for (uint32_t g = 0; g < ctx->kv.n_groups; g++) {
            size_t held = pages_held(seq, g);
            most[g] = held > most[g] ? held : most[g];
        }
    }
    assert_int_equal(slm_seq_length(seq), LONG);
    assert_int_equal(h.live_bytes, bytes);
    assert_int_equal(h.peak_bytes, bytes);
    assert_int_equal(ctx->kv.n_groups, 2);
    for (uint32_t g = 0; g < ctx->kv.n_groups; g++)
        assert_in_range(most[g], 1, STORED / SLM_PAGE + 2); /* a batch, and a page that it begins in */
    slm_seq_free(seq);
    slm_ctx_free(ctx);

    must(slm_ctx_new(&ctx, model, &large));
    must(slm_seq_new(&seq, ctx));
    for (size_t i = 0; i < LONG; i += EVERY) {
        float whole[64];
        append(ctx, seq, text + i, EVERY, 1, n_vocab, whole);
        same_logits(whole, logits + i / EVERY * n_vocab, 1, n_vocab, "a long text");
    }
    assert_true(pages_held(seq, 0) >= LONG / SLM_PAGE);
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    slm_model_unref(model);
    free(text);
    free(logits);
}

static slm_ctx *context_of(slm_model *model, int32_t max_tokens, int32_t windows)
{
    slm_ctx *ctx = NULL;
    slm_ctx_options options = {.size = sizeof options, .n_threads = 1, .max_tokens = max_tokens,
                               .max_window_tokens = windows, .max_seqs = 2, .max_batch = 32, .max_logits = 8};
    must(slm_ctx_new(&ctx, model, &options));
    return ctx;
}

/* Windows of 32, 300 and 1 positions, and a layer that sees all: four tables, as long as each needs. */
static void a_table_for_each_window(void **state)
{
    (void)state;
    enum { N = 1500 };
    const struct tiny_model *tiny = tiny_model_named("windows");
    slm_model *model = open_tiny(tiny);
    slm_token *text = make_text(tiny, N, 5);
    slm_ctx *ctx = context_of(model, 2 * N, 1);
    slm_seq *seq = NULL;
    must(slm_seq_new(&seq, ctx));
    append(ctx, seq, text, N, 0, vocab_of(model), NULL);
    assert_int_equal(ctx->kv.n_groups, 4);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t window = tiny->layers[i].window, group = ctx->kv.layers[i].group;
        assert_int_equal(ctx->kv.groups[group].window, window);
        for (uint32_t k = 0; k < i; k++)
            assert_int_not_equal(group, ctx->kv.layers[k].group);
        size_t held = pages_held(seq, group), all = (N + SLM_PAGE - 1) / SLM_PAGE;
        print_message("window %3u: %zu pages\n", (unsigned)window, held);
        if (window == 0)
            assert_int_equal(held, all);
        else /* two windows and a batch, in whole pages */
            assert_in_range(held, 1, (2 * window + 32) / SLM_PAGE + 2);
        assert_int_equal(seq->tables[group].n_pages, all); /* holes are remembered as such */
    }
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    slm_model_unref(model);
    free(text);
}

/* Cut back to every length: either the next tokens get the bits that they must have, or it is
 * SLM_ESTATE and nothing has changed. */
static void cut_back(void **state)
{
    (void)state;
    enum { N = 700, MORE = 8 };
    const struct tiny_model *tiny = tiny_model_named("windows");
    slm_model *model = open_tiny(tiny);
    size_t n_vocab = vocab_of(model), n_refused = 0, n_cut = 0;
    slm_token *text = make_text(tiny, N + MORE, 6);
    float *truth = text_logits(model, &(struct way){0}, text, N + MORE);
    slm_ctx *ctx = context_of(model, 2 * N, 1);
    slm_seq *seq = NULL, *fork = NULL;
    must(slm_seq_new(&seq, ctx));
    append(ctx, seq, text, N, 0, n_vocab, NULL);
    for (int32_t length = N; length >= 0; length -= length > 650 ? 1 : 13) {
        float logits[MORE * 64];
        must(slm_seq_fork(&fork, seq));
        int rc = slm_seq_truncate(fork, length);
        if (rc == SLM_OK) {
            append(ctx, fork, text + length, MORE, MORE, n_vocab, logits);
            same_logits(logits, truth + (size_t)length * n_vocab, MORE, n_vocab, "cut back");
            assert_true(n_refused == 0 || length == 0); /* what was dropped lies before what is there */
            n_cut++;
        } else {
            assert_int_equal(rc, SLM_ESTATE);
            assert_non_null(strstr(slm_last_error(), "window"));
            assert_int_equal(slm_seq_length(fork), N);
            append(ctx, fork, text + N, MORE, MORE, n_vocab, logits);
            same_logits(logits, truth + (size_t)N * n_vocab, MORE, n_vocab, "not cut");
            n_refused++;
        }
        slm_seq_free(fork);
    }
    print_message("%zu lengths can be gone back to, %zu can't\n", n_cut, n_refused);
    assert_true(n_cut >= 2 && n_refused >= 20);
    must(slm_seq_truncate(seq, 0));
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    slm_model_unref(model);
    free(text);
    free(truth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twenty_thousand_tokens),
        cmocka_unit_test(a_table_for_each_window),
        cmocka_unit_test(cut_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
