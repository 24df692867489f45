/*
 * test_sequences.c - what happens to sequences: errors that change nothing, interrupts, memory that
 * is known to the byte, the host's floating-point mode, and long random histories of forks,
 * truncations and batches against the same text evaluated from scratch.
 */
#include "support/evaluate.h"
#include "support/hooks.h"
#include "support/random.h"

#include "base/os.h"
#include "run/run.h"

#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <cmocka.h>

/* A model, a text, and what its logits must be. */
struct known {
    const struct tiny_model *tiny;
    slm_model *model;
    size_t n_vocab, length;
    slm_token *text;
    float *truth;
};

static struct known know(const char *name, size_t length)
{
    struct known k = {.tiny = tiny_model_named(name), .length = length};
    k.model = open_tiny(k.tiny);
    k.n_vocab = vocab_of(k.model);
    k.text = make_text(k.tiny, length, 3);
    k.truth = text_logits(k.model, &(struct way){0}, k.text, length);
    return k;
}

static void forget(struct known *k)
{
    slm_model_unref(k->model);
    free(k->text);
    free(k->truth);
}

/* The sequence holds the first `length` tokens of the text: append some more and see. */
static void expect_at(const struct known *k, slm_ctx *ctx, slm_seq *seq, size_t length, size_t more)
{
    assert_int_equal(slm_seq_length(seq), length);
    float *logits = malloc(more * k->n_vocab * sizeof *logits);
    append(ctx, seq, k->text + length, more, more, k->n_vocab, logits);
    same_logits(logits, k->truth + length * k->n_vocab, more, k->n_vocab, "after the error");
    free(logits);
}

static void expect_error(int rc, int expected, const char *words)
{
    assert_int_equal(rc, expected);
    if (!strstr(slm_last_error(), words))
        fail_msg("\"%s\" does not say \"%s\"", slm_last_error(), words);
}

static slm_span make_span(slm_seq *seq, const slm_token *tokens, size_t n, size_t n_logits)
{
    return (slm_span){sizeof(slm_span), seq, tokens, n, n_logits};
}

/* ---------------------------------------------------------------------- errors --- */

static void errors_change_nothing(void **state)
{
    (void)state;
    struct known k = know("ragged", 120);
    slm_ctx_options options = {
        .size = sizeof options, .n_threads = 2, .max_tokens = 100, .max_seqs = 2};
    slm_ctx *ctx = NULL, *other = NULL;
    must(slm_ctx_new(&ctx, k.model, &options));
    must(slm_ctx_new(&other, k.model, &options));
    slm_seq *a = NULL, *b = NULL, *foreign = NULL, *none = NULL;
    must(slm_seq_new(&a, ctx));
    must(slm_seq_new(&b, ctx));
    must(slm_seq_new(&foreign, other));
    append(ctx, a, k.text, 40, 0, k.n_vocab, NULL);
    append(ctx, b, k.text, 10, 1, k.n_vocab, (float[64]){0});
    assert_non_null(slm_logits(ctx, 0, 0));

    slm_token bad[4] = {0, 1, (slm_token)k.n_vocab, 2};
    slm_span spans[3] = {make_span(a, k.text + 40, 5, 1), make_span(b, bad, 4, 1)};
    expect_error(slm_eval(ctx, spans, 2), SLM_EINVAL, "span 1, token 2: 37 is out of range");
    assert_null(slm_logits(ctx, 0, 0)); /* those of the call before are gone */
    bad[2] = -1;
    expect_error(slm_eval(ctx, spans, 2), SLM_EINVAL, "-1 is out of range");

    spans[0] = make_span(a, k.text, 61, 0);
    expect_error(slm_eval(ctx, spans, 1), SLM_ELIMIT,
                 "from 40 to 101 tokens, and the context holds 100");
    spans[0] = make_span(a, k.text, SIZE_MAX, 0);
    expect_error(slm_eval(ctx, spans, 1), SLM_ELIMIT, "context overflow");

    spans[0] = make_span(a, k.text + 40, 5, 2);
    spans[1] = make_span(b, k.text + 10, 5, 1);
    expect_error(slm_eval(ctx, spans, 2), SLM_ELIMIT, "max_logits");
    spans[0] = make_span(a, k.text + 40, 5, 6);
    expect_error(slm_eval(ctx, spans, 1), SLM_EINVAL, "6 positions");
    spans[0] = make_span(a, k.text + 40, 0, 0);
    expect_error(slm_eval(ctx, spans, 1), SLM_EINVAL, "no tokens");

    spans[0] = spans[1] = make_span(a, k.text + 40, 5, 0);
    expect_error(slm_eval(ctx, spans, 2), SLM_EINVAL, "earlier span");
    spans[1] = make_span(foreign, k.text, 5, 0);
    expect_error(slm_eval(ctx, spans, 2), SLM_EINVAL, "does not belong");
    spans[1] = make_span(NULL, k.text, 5, 0);
    expect_error(slm_eval(ctx, spans, 2), SLM_EINVAL, "seq is NULL");
    spans[1] = make_span(b, NULL, 5, 0);
    expect_error(slm_eval(ctx, spans, 2), SLM_EINVAL, "tokens is NULL");
    spans[1] = make_span(b, k.text + 10, 5, 0);
    spans[1].size = 8;
    expect_error(slm_eval(ctx, spans, 2), SLM_EINVAL, "size");
    spans[0].size = 0;
    expect_error(slm_eval(ctx, spans, 1), SLM_EINVAL, "size");
    expect_error(slm_eval(ctx, spans, 0), SLM_EINVAL, "no spans");
    expect_error(slm_eval(ctx, spans, 3), SLM_EINVAL, "3 spans");
    expect_error(slm_eval(NULL, spans, 1), SLM_EINVAL, "ctx is NULL");

    expect_error(slm_seq_new(&none, ctx), SLM_ELIMIT, "2 sequences already");
    assert_null(none);
    expect_error(slm_seq_fork(&none, a), SLM_ELIMIT, "max_seqs");
    expect_error(slm_seq_truncate(a, 41), SLM_EINVAL, "40 tokens to 41");
    expect_error(slm_seq_truncate(a, -1), SLM_EINVAL, "to -1");

    expect_at(&k, ctx, a, 40, 1);
    expect_at(&k, ctx, b, 10, 1);
    assert_int_equal(slm_seq_length(foreign), 0);

    slm_seq_free(b);
    spans[0] = make_span(b, k.text, 5, 0);
    expect_error(slm_eval(ctx, spans, 1), SLM_EINVAL, "does not belong");
    slm_seq_free(b); /* twice: harmless while the context lives */
    expect_at(&k, ctx, a, 41, 1);
    slm_seq_free(a);
    slm_seq_free(foreign);
    slm_ctx_free(ctx);
    slm_ctx_free(other);
    forget(&k);
}

static void no_space(void **state)
{
    (void)state;
    struct known k = know("windows", 120);
    slm_ctx_options options = {
        .size = sizeof options, .max_tokens = 64, .max_seqs = 2, .max_logits = 64};
    slm_ctx *ctx = NULL;
    must(slm_ctx_new(&ctx, k.model, &options));
    slm_seq *a = NULL, *b = NULL;
    must(slm_seq_new(&a, ctx));
    must(slm_seq_new(&b, ctx));
    append(ctx, a, k.text, 60, 0, k.n_vocab, NULL);
    append(ctx, b, k.text, 30, 0, k.n_vocab, NULL);
    slm_stats stats = {.size = sizeof stats};
    must(slm_ctx_stats(ctx, &stats));
    assert_int_equal(stats.kv_positions_free, 0);
    slm_span spans[2] = {make_span(a, k.text + 60, 1, 0), make_span(b, k.text + 30, 20, 0)};
    expect_error(slm_eval(ctx, spans, 2), SLM_ENOSPACE, "other sequences hold the rest");
    expect_at(&k, ctx, a, 60, 2);
    expect_at(&k, ctx, b, 30, 2);
    must(slm_seq_truncate(a, 20));
    expect_at(&k, ctx, b, 32, 30);
    expect_at(&k, ctx, a, 20, 3);
    slm_seq_free(a);
    slm_seq_free(b);
    slm_ctx_free(ctx);
    forget(&k);
}

/* As long as all sequences together are no longer than max_tokens there is room, whoever shares
 * what with whom. */
/* max_tokens fit whatever pages they begin, and what slm_stats counts is pages that nobody has begun. */
static void tokens_fit_however_spread(void **state)
{
    (void)state;
    static const size_t lengths[] = {33, 1, 65, 29}; /* 128 in 2 + 1 + 3 + 1 of 4 + 3 pages */
    static const int32_t left[] = {128, 128, 32, 0}; /* 5, 4, 1 and no pages of 32, 128 at most */
    struct known k = know("grouped", 120);
    slm_ctx_options options = {.size = sizeof options, .max_tokens = 128, .max_seqs = 4};
    slm_ctx *ctx = NULL;
    must(slm_ctx_new(&ctx, k.model, &options));
    slm_stats stats = {.size = sizeof stats};
    slm_seq *seqs[4];
    for (size_t i = 0; i < 4; i++) {
        must(slm_seq_new(&seqs[i], ctx));
        append(ctx, seqs[i], k.text, lengths[i], 0, k.n_vocab, NULL);
        must(slm_ctx_stats(ctx, &stats));
        assert_int_equal(stats.kv_positions, 128);
        assert_int_equal(stats.kv_positions_free, left[i]);
    }
    for (size_t i = 0; i < 4; i++)
        slm_seq_free(seqs[i]);
    slm_ctx_free(ctx);
    forget(&k);
}

static void room_for_forks(void **state)
{
    (void)state;
    struct known k = know("plain", 64);
    enum { N = 16 };
    slm_ctx_options options = {
        .size = sizeof options, .max_tokens = 2 * N, .max_seqs = N, .max_logits = N};
    slm_ctx *ctx = NULL;
    must(slm_ctx_new(&ctx, k.model, &options));
    slm_seq *seqs[N];
    must(slm_seq_new(&seqs[0], ctx));
    append(ctx, seqs[0], k.text, 1, 0, k.n_vocab, NULL);
    slm_span spans[N];
    for (int i = 0; i < N; i++) {
        if (i)
            must(slm_seq_fork(&seqs[i], seqs[0]));
        spans[i] = make_span(seqs[i], k.text + 1, 1, 1);
    }
    must(slm_eval(ctx, spans, N));
    for (size_t i = 0; i < N; i++)
        same_logits(slm_logits(ctx, i, 0), k.truth + k.n_vocab, 1, k.n_vocab, "a fork");
    for (int i = 0; i < N; i++)
        slm_seq_free(seqs[i]);
    slm_ctx_free(ctx);
    forget(&k);
}

/* Many rows and threads share few slots for spans: attention takes two rounds, and the logits are
 * those of each sequence alone. */
static void rounds_of_spans(void **state)
{
    (void)state;
    enum { N = 16, PREFIX = 1000 };
    static const char *const names[] = {"wide", "posted"};
    for (int m = 0; m < 2; m++) {
        struct known k = know(names[m], PREFIX + N);
        slm_ctx_options options = {.size = sizeof options,
                                   .n_threads = 8,
                                   .max_tokens = 2048,
                                   .max_seqs = N,
                                   .max_seq_tokens = PREFIX + N}; /* as know(): posted looks at it */
        slm_ctx *ctx = NULL;
        must(slm_ctx_new(&ctx, k.model, &options));
        slm_seq *seqs[N];
        slm_span spans[N];
        must(slm_seq_new(&seqs[0], ctx));
        append(ctx, seqs[0], k.text, PREFIX, 1, k.n_vocab, NULL);
        for (int i = 0; i < N; i++) { /* sequence i is i tokens longer than the first */
            if (i) {
                must(slm_seq_fork(&seqs[i], seqs[i - 1]));
                append(ctx, seqs[i], k.text + PREFIX + i - 1, 1, 1, k.n_vocab, NULL);
            }
            spans[i] = make_span(seqs[i], k.text + PREFIX + i, 1, 1);
        }
        must(slm_eval(ctx, spans, N));
        if (m == 0) /* of one KV head */
            assert_true(ctx->fwd.n_rounds > 1);
        for (int i = 0; i < N; i++) {
            same_logits(slm_logits(ctx, (size_t)i, 0), k.truth + (size_t)(PREFIX + i) * k.n_vocab, 1,
                        k.n_vocab, "in rounds");
            slm_seq_free(seqs[i]);
        }
        slm_ctx_free(ctx);
        forget(&k);
    }
}

/* The scratch of split attention does not grow with the context. */
static void scratch_is_bounded(void **state)
{
    (void)state;
    struct known k = know("wide", 1);
    int64_t bytes[2][2];
    for (int threads = 0; threads < 2; threads++)
        for (int longer = 0; longer < 2; longer++) {
            slm_ctx_options options = {.size = sizeof options,
                                       .n_threads = 1 + 63 * threads,
                                       .max_tokens = longer ? 1 << 22 : 1 << 20,
                                       .max_batch = 64};
            bytes[threads][longer] = slm_ctx_memory(k.model, &options);
            must(bytes[threads][longer]);
        }
    /* What is left are the plan's steps for more rounds: below a byte a position and thread. */
    int64_t grown = (bytes[1][1] - bytes[1][0]) - (bytes[0][1] - bytes[0][0]);
    assert_in_range(grown, 0, 3 << 20);
    forget(&k);
}

/* ------------------------------------------------------------ sliding windows --- */

static slm_ctx *windowed_context(const struct known *k, int32_t stored, int32_t longest, int32_t windows,
                                 int32_t max_seqs)
{
    slm_ctx_options options = {.size = sizeof options,
                               .n_threads = 2,
                               .max_tokens = stored,
                               .max_seq_tokens = longest,
                               .max_window_tokens = windows,
                               .max_seqs = max_seqs,
                               .max_batch = 20,
                               .max_logits = 64};
    slm_ctx *ctx = NULL;
    must(slm_ctx_new(&ctx, k->model, &options));
    return ctx;
}

/* A model that looks back 50 positions reads a text of 900 with room for 192: the same logits, in
 * pieces of any length, after interrupts too; and what was dropped can't be gone back to. */
static void longer_than_stored(void **state)
{
    (void)state;
    struct known k = know("local", 900);
    slm_ctx *ctx = windowed_context(&k, 192, 900, 0, 1);
    slm_seq *seq = NULL;
    must(slm_seq_new(&seq, ctx));
    struct random r = random_stream(random_start("longer_than_stored"), 0);
    for (size_t done = 0, n; done < 900; done += n) {
        n = random_between(&r, 1, random_u64(&r) & 1 ? 3 : 250);
        n = n < 900 - done ? n : 900 - done;
        slm_span span = make_span(seq, k.text + done, n, n < 64 ? n : 64);
        slm_ctx_interrupt(ctx);
        assert_int_equal(slm_eval(ctx, &span, 1), SLM_EINTR); /* and has dropped nothing needed */
        must(slm_eval(ctx, &span, 1));
        for (size_t i = 0; i < span.n_logits; i++)
            same_logits(slm_logits(ctx, 0, i), k.truth + (done + n - span.n_logits + i) * k.n_vocab, 1,
                        k.n_vocab, "longer than stored");
    }
    assert_int_equal(slm_seq_length(seq), 900);
    slm_span span = make_span(seq, k.text, 1, 1);
    expect_error(slm_eval(ctx, &span, 1), SLM_ELIMIT, "from 900 to 901 tokens");
    expect_error(slm_seq_truncate(seq, 300), SLM_ESTATE, "truncate to 0");
    must(slm_seq_truncate(seq, 899));
    expect_at(&k, ctx, seq, 899, 1);
    must(slm_seq_truncate(seq, 0));
    expect_at(&k, ctx, seq, 0, 60);
    slm_stats stats = {.size = sizeof stats};
    must(slm_seq_truncate(seq, 0));
    must(slm_ctx_stats(ctx, &stats));
    assert_int_equal(stats.kv_positions_free, 192);
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    forget(&k);
}

/* A call that finds no room has not even cost the others what their windows have left behind. */
static void no_space_forgets_nothing(void **state)
{
    (void)state;
    enum { N = 4 };
    static const size_t lengths[N] = {200, 100, 0, 0};
    struct known k = know("local", 900);
    slm_ctx *ctx = windowed_context(&k, 320, 900, 0, N); /* 13 pages */
    slm_seq *seqs[N];
    for (int i = 0; i < N; i++) {
        must(slm_seq_new(&seqs[i], ctx));
        if (lengths[i] > 0)
            append(ctx, seqs[i], k.text, lengths[i], 0, k.n_vocab, NULL);
    }
    slm_span spans[2] = {make_span(seqs[2], k.text, 300, 0), make_span(seqs[3], k.text, 300, 0)};
    expect_error(slm_eval(ctx, spans, 2), SLM_ENOSPACE, "room for 224:");
    must(slm_seq_truncate(seqs[0], 60));
    expect_at(&k, ctx, seqs[0], 60, 3);
    must(slm_seq_truncate(seqs[1], 20));
    expect_at(&k, ctx, seqs[1], 20, 3);
    must(slm_eval(ctx, spans, 1)); /* and now there is room */
    expect_at(&k, ctx, seqs[2], 300, 3);
    for (int i = 0; i < N; i++)
        slm_seq_free(seqs[i]);
    slm_ctx_free(ctx);
    forget(&k);
}

/* Local and global layers: less is stored for the local ones, and less memory taken; forks share
 * what there is. Without the option nothing is ever dropped. */
static void small_windows(void **state)
{
    (void)state;
    struct known k = know("windows", 800);
    slm_ctx_options options = {.size = sizeof options, .max_tokens = 4096, .n_threads = 1};
    int64_t all = slm_ctx_memory(k.model, &options);
    options.max_window_tokens = 1;
    assert_true(slm_ctx_memory(k.model, &options) < all);

    for (int32_t windows = 0; windows < 2; windows++) {
        slm_ctx *ctx = windowed_context(&k, 1700, 800, windows, 2);
        slm_seq *seq = NULL, *fork = NULL;
        must(slm_seq_new(&seq, ctx));
        append(ctx, seq, k.text, 730, 1, k.n_vocab, NULL);
        must(slm_seq_fork(&fork, seq));
        expect_at(&k, ctx, seq, 730, 40);
        expect_at(&k, ctx, fork, 730, 50);
        expect_at(&k, ctx, seq, 770, 30);
        if (windows)
            expect_error(slm_seq_truncate(fork, 100), SLM_ESTATE, "sliding window");
        else
            must(slm_seq_truncate(fork, 100));
        must(slm_seq_truncate(seq, 0));
        expect_at(&k, ctx, fork, windows ? 780 : 100, 20);
        slm_seq_free(seq);
        slm_seq_free(fork);
        slm_ctx_free(ctx);
    }

    /* The global layers still need every position. */
    slm_ctx *ctx = windowed_context(&k, 320, 800, 0, 1);
    slm_seq *seq = NULL;
    must(slm_seq_new(&seq, ctx));
    slm_span span = make_span(seq, k.text, 321, 0);
    expect_error(slm_eval(ctx, &span, 1), SLM_ELIMIT, "the context stores 320");
    expect_at(&k, ctx, seq, 0, 64);
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    forget(&k);
}

/* ---------------------------------------------------------------------- options --- */

static void wrong_options(void **state)
{
    (void)state;
    struct known k = know("plain", 1);
    slm_team *team = NULL, *none = (slm_team *)&k;
    must(slm_team_new(&team, NULL));
    slm_team_options wrong = {.size = sizeof wrong, .n_threads = 1000};
    expect_error(slm_team_new(&none, &wrong), SLM_ELIMIT, "n_threads");
    assert_null(none);
    const struct {
        slm_ctx_options options;
        int code;
        const char *words;
    } cases[] = {
        {{.n_threads = -1}, SLM_EINVAL, "n_threads"},
        {{.n_threads = 100000}, SLM_ELIMIT, "n_threads"},
        {{.max_tokens = -5}, SLM_EINVAL, "max_tokens"},
        {{.max_tokens = INT32_MAX}, SLM_ELIMIT, "max_tokens"},
        {{.max_seqs = 1000000}, SLM_ELIMIT, "max_seqs"},
        {{.max_batch = 1000000}, SLM_ELIMIT, "max_batch"},
        {{.max_logits = -1}, SLM_EINVAL, "max_logits"},
        {{.kv_type = 7}, SLM_EINVAL, "kv_type"},
        {{.max_seq_tokens = -1}, SLM_EINVAL, "max_seq_tokens"},
        {{.max_window_tokens = INT32_MAX}, SLM_ELIMIT, "max_window_tokens"},
        {{.n_threads = 2, .team = team}, SLM_EINVAL, "team and n_threads"},
        {{.cpu = 1u << 30}, SLM_EUNSUPPORTED, "cpu"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slm_ctx_options options = cases[i].options;
        options.size = sizeof options;
        slm_ctx *ctx = (slm_ctx *)&k;
        expect_error(slm_ctx_new(&ctx, k.model, &options), cases[i].code, cases[i].words);
        assert_null(ctx);
        expect_error((int)slm_ctx_memory(k.model, &options), cases[i].code, cases[i].words);
    }
    /* A context with a shared team takes no memory for threads, and keeps the team alive. */
    slm_ctx_options shared = {.size = sizeof shared, .team = team};
    slm_ctx *ctx = NULL;
    must(slm_ctx_new(&ctx, k.model, &shared));
    slm_stats stats = {.size = sizeof stats};
    must(slm_ctx_stats(ctx, &stats));
    assert_int_equal(stats.memory, slm_ctx_memory(k.model, &shared));
    shared = (slm_ctx_options){.size = sizeof shared, .n_threads = stats.n_threads};
    assert_true(slm_ctx_memory(k.model, &shared) > (int64_t)stats.memory);
    slm_team_free(team);
    slm_seq *seq = NULL;
    must(slm_seq_new(&seq, ctx));
    expect_at(&k, ctx, seq, 0, 1);
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    ctx = NULL;

    /* Everything at its limit is a number of bytes that no machine has, or on a small one no number
     * of bytes at all; the allocator is asked for exactly that and says no. */
    struct hooks hooks;
    hooks_init(&hooks);
    hooks.fail_at = 2;
    hooks.fail_after = true;
    slm_ctx_options huge = {.size = sizeof huge,
                            .n_threads = 256,
                            .max_tokens = 1 << 24,
                            .max_seqs = 4096,
                            .max_batch = 8192,
                            .max_logits = 65536,
                            .kv_type = SLM_KV_F32,
                            .allocator = &hooks.allocator};
    int64_t bytes = slm_ctx_memory(k.model, &huge);
    assert_true(sizeof(size_t) > 4 ? bytes > INT64_C(1) << 33 : bytes == SLM_ELIMIT);
    if (bytes > 0)
        expect_error(slm_ctx_new(&ctx, k.model, &huge), SLM_ENOMEM, "could not be allocated");
    assert_null(ctx);
    assert_true(hooks_clean(&hooks));
    expect_error(slm_ctx_new(&ctx, k.model, &(slm_ctx_options){.size = 0}), SLM_EINVAL, "size");
    expect_error(slm_ctx_new(&ctx, NULL, NULL), SLM_EINVAL, "model is NULL");
    expect_error(slm_ctx_new(NULL, k.model, NULL), SLM_EINVAL, "out is NULL");
    forget(&k);
}

/* ---------------------------------------------------------------------- memory --- */

static void memory_to_the_byte(void **state)
{
    (void)state;
    struct random r = random_stream(1, 1);
    for (const struct tiny_model *m = tiny_models; m->name; m++) {
        slm_model *model = open_tiny(m);
        slm_token *text = make_text(m, 400, 1);
        for (int i = 0; i < 12; i++) {
            struct hooks hooks;
            hooks_init(&hooks);
            slm_ctx_options options = {
                .size = sizeof options,
                .n_threads = (int32_t)random_between(&r, 1, 4),
                .max_tokens = i ? (int32_t)random_between(&r, 80, 1000) : 0,
                .max_seqs = (int32_t)random_between(&r, 0, 9),
                .max_batch = (int32_t)random_between(&r, 0, 100),
                .max_logits = (int32_t)random_between(&r, 0, 30),
                .kv_type = (int32_t)random_between(&r, 0, 2),
                .allocator = &hooks.allocator,
            };
            int64_t bytes = slm_ctx_memory(model, &options);
            must(bytes);
            assert_int_equal(hooks.n_allocs, 0);
            slm_ctx *ctx = NULL;
            must(slm_ctx_new(&ctx, model, &options));
            assert_int_equal(hooks.live_bytes, bytes);
            assert_int_equal(hooks.peak_bytes, bytes);
            slm_stats stats = {.size = sizeof stats};
            must(slm_ctx_stats(ctx, &stats));
            assert_int_equal(stats.memory, bytes);

            size_t allocs = hooks.n_allocs;
            slm_seq *seq = NULL, *fork = NULL;
            must(slm_seq_new(&seq, ctx));
            append(ctx, seq, text, 70, 0, 0, NULL);
            if (options.max_seqs > 1) {
                must(slm_seq_fork(&fork, seq));
                append(ctx, fork, text, 5, 0, 0, NULL);
                slm_seq_free(fork);
            }
            must(slm_seq_truncate(seq, 10));
            append(ctx, seq, text, 1, 1, 0, NULL);
            assert_int_equal(hooks.n_allocs, allocs);
            slm_seq_free(seq);
            slm_ctx_free(ctx);
            assert_true(hooks_clean(&hooks));
        }
        free(text);
        slm_model_unref(model);
    }
}

/* Fresh memory of the hooks is all NaN, as reused memory may be: whoever reads before writing, or
 * counts on zeros that nobody wrote, gives other logits. */
static void memory_may_hold_anything(void **state)
{
    (void)state;
    for (const struct tiny_model *m = tiny_models; m->name; m++)
        for (int32_t threads = 1; threads <= 3; threads += 2) {
            struct known k = know(m->name, 300);
            struct hooks hooks;
            hooks_init(&hooks);
            slm_ctx_options options = {.size = sizeof options,
                                       .n_threads = threads,
                                       .max_tokens = 300,
                                       .max_logits = 300,
                                       .max_batch = 100,
                                       .allocator = &hooks.allocator};
            slm_ctx *ctx = NULL;
            slm_seq *seq = NULL;
            must(slm_ctx_new(&ctx, k.model, &options));
            must(slm_seq_new(&seq, ctx));
            expect_at(&k, ctx, seq, 0, 270);
            for (size_t i = 270; i < 300; i++)
                expect_at(&k, ctx, seq, i, 1);
            slm_seq_free(seq);
            slm_ctx_free(ctx);
            assert_true(hooks_clean(&hooks));
            forget(&k);
        }
}

/* Everything may be freed in any order: a context outlives its creator's reference to the model, and
 * sequences, as empty handles, their context. */
static void order_of_freeing(void **state)
{
    (void)state;
    struct known k = know("plain", 10);
    struct hooks hooks;
    hooks_init(&hooks);
    slm_ctx_options options = {.size = sizeof options,
                               .n_threads = 2,
                               .max_seqs = 3,
                               .max_logits = 8,
                               .allocator = &hooks.allocator};
    slm_ctx *ctx = NULL;
    must(slm_ctx_new(&ctx, k.model, &options));
    slm_model_unref(k.model);
    k.model = NULL;
    slm_seq *seq = NULL, *fork = NULL, *early = NULL, *none = (slm_seq *)&k;
    must(slm_seq_new(&seq, ctx));
    expect_at(&k, ctx, seq, 0, 5);
    must(slm_seq_fork(&fork, seq));
    must(slm_seq_fork(&early, seq));
    slm_seq_free(early);
    assert_int_equal(slm_seq_truncate(early, 0), SLM_EINVAL);
    size_t bytes = hooks.live_bytes;
    slm_ctx_free(ctx);
    assert_true(hooks.live_bytes < bytes / 100); /* the handles */
    expect_error(slm_seq_truncate(seq, 0), SLM_ESTATE, "context of the sequence was freed");
    expect_error(slm_seq_length(seq), SLM_ESTATE, "slm_seq_length");
    expect_error(slm_seq_fork(&none, seq), SLM_ESTATE, "slm_seq_fork");
    assert_null(none);
    expect_error(slm_generate(seq, NULL, k.text, 1, NULL, NULL, NULL), SLM_ESTATE, "slm_generate");
    slm_seq_free(seq);
    assert_int_equal(hooks.live, 1);
    slm_seq_free(fork);
    assert_true(hooks_clean(&hooks));
    slm_ctx_free(NULL);
    slm_seq_free(NULL);
    slm_model_unref(NULL);
    forget(&k);
}

/* ------------------------------------------------------------------ interrupts --- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void interrupt_before(void **state)
{
    (void)state;
    struct known k = know("grouped", 80);
    for (int32_t threads = 1; threads <= 3; threads += 2) {
        slm_ctx *ctx = make_context(k.model, &(struct way){.threads = threads}, 100, 2);
        slm_seq *seq = NULL;
        must(slm_seq_new(&seq, ctx));
        append(ctx, seq, k.text, 33, 0, k.n_vocab, NULL);
        slm_ctx_interrupt(ctx);
        slm_span span = make_span(seq, k.text + 33, 10, 1);
        expect_error(slm_eval(ctx, &span, 1), SLM_EINTR, "interrupted");
        assert_null(slm_logits(ctx, 0, 0));
        expect_at(&k, ctx, seq, 33, 10); /* it ends one call, not two */

        /* A call that fails anyway has not run: the next one is the one that ends. */
        slm_ctx_interrupt(ctx);
        slm_token bad = -1;
        slm_span wrong = make_span(seq, &bad, 1, 0);
        assert_int_equal(slm_eval(ctx, &wrong, 1), SLM_EINVAL);
        span = make_span(seq, k.text + 43, 10, 1);
        assert_int_equal(slm_eval(ctx, &span, 1), SLM_EINTR);
        expect_at(&k, ctx, seq, 43, 10);

        /* One that came too late can be taken back, once. */
        assert_int_equal(slm_ctx_interrupt_clear(ctx), 0);
        slm_ctx_interrupt(ctx);
        slm_ctx_interrupt(ctx);
        assert_int_equal(slm_ctx_interrupt_clear(ctx), 1);
        assert_int_equal(slm_ctx_interrupt_clear(ctx), 0);
        expect_at(&k, ctx, seq, 53, 10);
        slm_seq_free(seq);
        slm_ctx_free(ctx);
    }
    forget(&k);
}

struct later {
    slm_ctx *ctx;
    double when; /* it happened */
};

static void *interrupt_later(void *arg)
{
    struct later *later = arg;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    later->when = now();
    slm_ctx_interrupt(later->ctx);
    return NULL;
}

/* A long prompt on the slowest tier, stopped from another thread. The prompt's batches are small,
 * as steps are what an evaluation stops between. */
static void interrupt_during(void **state)
{
    (void)state;
    struct known k = know("wide", 40);
    enum { LONG = 4000 };
    slm_token *prompt = make_text(k.tiny, LONG, 11);
    for (int32_t threads = 1; threads <= 2; threads++) {
        struct way way = {.cpu = SLM_CPU_C, .threads = threads, .max_batch = 32};
        slm_ctx *ctx = make_context(k.model, &way, LONG + 100, 2);
        slm_seq *seq = NULL, *fork = NULL;
        must(slm_seq_new(&seq, ctx));
        append(ctx, seq, k.text, 20, 0, k.n_vocab, NULL);
        must(slm_seq_fork(&fork, seq));
        slm_stats before = {.size = sizeof before}, after = {.size = sizeof after};
        must(slm_ctx_stats(ctx, &before));

        struct later later = {.ctx = ctx};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, interrupt_later, &later), 0);
        slm_span span = make_span(seq, prompt, LONG, 1);
        int rc = slm_eval(ctx, &span, 1);
        double end = now();
        pthread_join(thread, NULL);
        expect_error(rc, SLM_EINTR, "interrupted");
        if (end - later.when > 1.0) /* a step of this takes milliseconds even with sanitizers */
            fail_msg("the evaluation ended %.3f s after the interrupt", end - later.when);

        /* Pages are back; the one that was shared may have become the sequence's own. */
        must(slm_ctx_stats(ctx, &after));
        assert_in_range(before.kv_positions_free - after.kv_positions_free, 0, 32);
        expect_at(&k, ctx, seq, 20, 10);
        expect_at(&k, ctx, fork, 20, 10);
        slm_seq_free(seq);
        slm_seq_free(fork);
        slm_ctx_free(ctx);
    }
    free(prompt);
    forget(&k);
}

static slm_ctx *alarmed;

static void on_alarm(int signal)
{
    (void)signal;
    slm_ctx_interrupt(alarmed);
}

static void interrupt_from_a_signal(void **state)
{
    (void)state;
    struct known k = know("wide", 40);
    enum { LONG = 4000 };
    slm_token *prompt = make_text(k.tiny, LONG, 12);
    struct way way = {.cpu = SLM_CPU_C, .threads = 2, .max_batch = 32};
    alarmed = make_context(k.model, &way, LONG + 100, 1);
    slm_seq *seq = NULL;
    must(slm_seq_new(&seq, alarmed));
    append(alarmed, seq, k.text, 20, 0, k.n_vocab, NULL);
    struct sigaction action = {.sa_handler = on_alarm}, old;
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {.tv_usec = 20000}}, NULL);
    slm_span span = make_span(seq, prompt, LONG, 1);
    assert_int_equal(slm_eval(alarmed, &span, 1), SLM_EINTR);
    sigaction(SIGALRM, &old, NULL);
    expect_at(&k, alarmed, seq, 20, 10);
    slm_seq_free(seq);
    slm_ctx_free(alarmed);
    free(prompt);
    forget(&k);
}

/* -------------------------------------------------------- the host's arithmetic --- */

#if defined(__x86_64__)
/* All that a host can do to MXCSR: flush-to-zero and denormals-are-zero, the three other rounding
 * modes, and exceptions that trap: then the library's first inexact sum would kill the process. */
static void host_arithmetic(void **state)
{
    (void)state;
    const unsigned modes[] = {0x1F80 | 0x8040, 0x1F80 | 0x2000, 0x1F80 | 0x4000,
                              0x1F80 | 0x6000, 0x0000,          0x8040 | 0x6000};
    for (const struct tiny_model *m = tiny_models; m->name; m++) {
        struct known k = know(m->name, 300);
        float *logits = malloc(k.length * k.n_vocab * sizeof *logits);
        float *row = malloc(4096 * sizeof *row), *expected_row = malloc(4096 * sizeof *row);
        must(slm_model_tensor_row(k.model, 0, 1, expected_row));
        for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
            slm_ctx_options options = {.size = sizeof options,
                                       .n_threads = 1 + (int32_t)(i % 3),
                                       .max_tokens = 300,
                                       .max_logits = 300};
            slm_ctx *ctx = NULL;
            slm_seq *seq = NULL;
            slm_stats stats = {.size = sizeof stats};
            slm_span span = make_span(NULL, k.text, 290, 290);
            slm_model *again = NULL;
            const char *path = tiny_model_path(m);
            unsigned host = _mm_getcsr();
            _mm_setcsr(modes[i]);
            int rc = slm_model_open(&again, path, NULL);
            rc = rc ? rc : slm_model_tensor_row(again, 0, 1, row);
            rc = rc ? rc : slm_ctx_new(&ctx, again, &options);
            rc = rc ? rc : slm_seq_new(&seq, ctx);
            span.seq = seq;
            rc = rc ? rc : slm_eval(ctx, &span, 1);
            for (size_t j = 0; j < 290 && !rc; j++)
                memcpy(logits + j * k.n_vocab, slm_logits(ctx, 0, j), k.n_vocab * sizeof *logits);
            for (size_t j = 290; j < 300 && !rc; j++) {
                span = make_span(seq, k.text + j, 1, 1);
                rc = slm_eval(ctx, &span, 1);
                if (!rc)
                    memcpy(logits + j * k.n_vocab, slm_logits(ctx, 0, 0),
                           k.n_vocab * sizeof *logits);
            }
            rc = rc ? rc : slm_ctx_stats(ctx, &stats);
            slm_seq_free(seq);
            slm_ctx_free(ctx);
            slm_model_unref(again);
            unsigned afterwards = _mm_getcsr();
            _mm_setcsr(host);
            must(rc);
            assert_int_equal(afterwards, modes[i]);
            same_logits(logits, k.truth, 300, k.n_vocab, "under the host's arithmetic");
            assert_memory_equal(row, expected_row, k.tiny->dim * sizeof *row);
        }
        free(row);
        free(expected_row);
        free(logits);
        forget(&k);
    }
}
#else
static void host_arithmetic(void **state)
{
    (void)state;
    const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (const struct tiny_model *m = tiny_models; m->name; m++) {
        struct known k = know(m->name, 300);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(fesetround(modes[i]), 0);
            float *logits = text_logits(k.model, &(struct way){.threads = 2}, k.text, 300);
            int afterwards = fegetround();
            fesetround(FE_TONEAREST);
            assert_int_equal(afterwards, modes[i]);
            same_logits(logits, k.truth, 300, k.n_vocab, "under the host's arithmetic");
            free(logits);
        }
        forget(&k);
    }
}
#endif

/* ------------------------------------------------------------- nothing is left --- */

/* The embedding of token 0 becomes infinite, in the file. (Opening does not read weights.) */
static void poison_token(const char *path)
{
    struct slm_mapping map;
    struct slm_file file;
    must(slm_map_path(&map, path, false, NULL));
    must(slm_file_parse(&file, map.data, map.length));
    const struct slm_tensor_entry *entry = slm_file_tensor(&file, SLM_ROLE_EMBEDDING, SLM_NO_LAYER);
    assert_non_null(entry);
    assert_int_equal(entry->type, SLM_TYPE_F32);
    FILE *f = fopen(path, "r+b");
    for (uint32_t col = 0; col < entry->cols; col++) {
        float infinite = INFINITY; /* row 0 of a tile: every 16th value */
        fseek(f, (long)entry->offset + 64 * (long)col, SEEK_SET);
        fwrite(&infinite, sizeof infinite, 1, f);
    }
    assert_int_equal(fclose(f), 0);
    slm_unmap(&map);
}

/* A text that overflows fills all buffers with infinities and NaN, padding and pages too. The next
 * one, and the one beside it, must not notice. */
static void overflow_leaves_nothing(void **state)
{
    (void)state;
    for (int32_t kv = SLM_KV_F16; kv <= SLM_KV_Q8; kv++) {
        struct tiny_model m = *tiny_model_named("ragged");
        m.name = "overflow";
        poison_token(tiny_model_path(&m));
        struct known k = {.tiny = &m, .model = open_tiny(&m), .length = 150};
        k.n_vocab = vocab_of(k.model);
        k.text = make_text(&m, k.length, 4);
        for (size_t i = 0; i < k.length; i++)
            k.text[i] += k.text[i] == 0;
        struct way way = {.kv_type = kv, .threads = 2};
        k.truth = text_logits(k.model, &way, k.text, k.length);
        slm_token bad[150] = {0};
        slm_ctx *ctx = make_context(k.model, &way, 300, 2);
        slm_seq *seq = NULL, *beside = NULL;
        must(slm_seq_new(&seq, ctx));
        must(slm_seq_new(&beside, ctx));
        slm_span spans[] = {make_span(beside, bad, 140, 1), make_span(seq, k.text, 20, 1)};
        must(slm_eval(ctx, spans, 2));
        same_logits(slm_logits(ctx, 1, 0), k.truth + 19 * k.n_vocab, 1, k.n_vocab, "beside NaN");
        slm_seq_free(beside);
        must(slm_seq_new(&beside, ctx));
        expect_at(&k, ctx, beside, 0, 150); /* over the same pages and buffers */
        expect_at(&k, ctx, seq, 20, 100);
        slm_seq_free(seq);
        slm_seq_free(beside);
        slm_ctx_free(ctx);
        forget(&k);
    }
}

/* --------------------------------------------------------------- random history --- */

enum { MOST_SEQS = 6, MOST_TOKENS = 400 };

struct history {
    slm_seq *seq; /* NULL: not alive */
    size_t length;
    slm_token tokens[MOST_TOKENS];
};

/* A new sequence, empty or forked from one that is alive. */
static void start(struct random *r, slm_ctx *ctx, struct history *all, struct history *h)
{
    const struct history *from = &all[random_between(r, 0, MOST_SEQS - 1)];
    h->length = 0;
    if (!from->seq) {
        must(slm_seq_new(&h->seq, ctx));
        return;
    }
    must(slm_seq_fork(&h->seq, from->seq));
    h->length = from->length;
    memcpy(h->tokens, from->tokens, from->length * sizeof *h->tokens);
}

/* The same tokens from scratch give the same logits. */
static void verify(const struct known *k, const struct way *way, const struct history *h,
                   const slm_ctx *ctx, size_t span, size_t n_logits)
{
    float *truth = text_logits(k->model, way, h->tokens, h->length);
    for (size_t i = 0; i < n_logits; i++)
        same_logits(slm_logits(ctx, span, i), truth + (h->length - n_logits + i) * k->n_vocab, 1,
                    k->n_vocab, "a random history");
    free(truth);
}

static void advance(struct random *r, const struct known *k, const struct way *way, slm_ctx *ctx,
                    struct history *all, bool *pending)
{
    slm_span spans[MOST_SEQS];
    struct history *who[MOST_SEQS];
    size_t n = 0;
    for (size_t i = 0; i < MOST_SEQS; i++) {
        struct history *h = &all[i];
        size_t step = random_u64(r) & 1 ? 1 : random_between(r, 1, 60);
        if (!h->seq || h->length + step > MOST_TOKENS || random_u64(r) & 1)
            continue;
        for (size_t j = 0; j < step; j++)
            h->tokens[h->length + j] = (slm_token)random_between(r, 0, k->n_vocab - 1);
        who[n] = h;
        spans[n++] = make_span(h->seq, h->tokens + h->length, step, random_between(r, 0, step));
    }
    if (n == 0)
        return;
    if (random_between(r, 0, 9) == 0) {
        slm_ctx_interrupt(ctx);
        *pending = true; /* until a call runs that has room */
    }
    int rc = slm_eval(ctx, spans, n);
    if (rc == SLM_ENOSPACE || *pending) {
        for (size_t i = 0; i < n; i++)
            assert_int_equal(slm_seq_length(who[i]->seq), who[i]->length);
        if (rc != SLM_ENOSPACE) {
            assert_int_equal(rc, SLM_EINTR);
            *pending = false;
        }
        return;
    }
    must(rc);
    for (size_t i = 0; i < n; i++)
        who[i]->length += spans[i].n;
    size_t i = random_between(r, 0, n - 1); /* all of them would take long */
    verify(k, way, who[i], ctx, i, spans[i].n_logits);
}

static void random_histories(void **state)
{
    (void)state;
    uint64_t seed = random_start("random_histories");
    for (const struct tiny_model *m = tiny_models; m->name; m++) {
        struct known k = know(m->name, 1);
        for (uint64_t round = 0; round < 4; round++) {
            struct random r = random_stream(seed, round);
            struct way way = {.threads = 1 + (int32_t)(round % 3),
                              .kv_type = (int32_t)(round % 3),
                              .max_batch = 50,
                              .window_tokens = round == 3 ? 1 : 0};
            /* Of the same size: some models rotate otherwise where long texts have room. */
            struct way alone = {.kv_type = way.kv_type, .room = 900};
            slm_ctx *ctx = make_context(k.model, &way, alone.room, MOST_SEQS);
            struct history *all = calloc(MOST_SEQS, sizeof *all);
            bool pending = false;
            for (int i = 0; i < 80; i++) {
                struct history *h = &all[random_between(&r, 0, MOST_SEQS - 1)];
                size_t action = random_between(&r, 0, 9);
                if (!h->seq) {
                    start(&r, ctx, all, h);
                } else if (action == 0) {
                    slm_seq_free(h->seq);
                    h->seq = NULL;
                } else if (action <= 2) {
                    h->length = random_between(&r, 0, h->length);
                    int rc = slm_seq_truncate(h->seq, (int32_t)h->length);
                    if (rc == SLM_ESTATE && (way.window_tokens || strcmp(m->name, "local") == 0))
                        rc = slm_seq_truncate(h->seq, (int32_t)(h->length = 0));
                    must(rc);
                }
                advance(&r, &k, &alone, ctx, all, &pending);
            }
            /* Nothing got lost: with all sequences gone every page is free again. */
            for (size_t i = 0; i < MOST_SEQS; i++)
                slm_seq_free(all[i].seq);
            slm_stats stats = {.size = sizeof stats};
            must(slm_ctx_stats(ctx, &stats));
            assert_int_equal(stats.kv_positions_free, stats.kv_positions);
            free(all);
            slm_ctx_free(ctx);
        }
        forget(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_change_nothing), cmocka_unit_test(no_space),
        cmocka_unit_test(room_for_forks),        cmocka_unit_test(wrong_options),
        cmocka_unit_test(memory_to_the_byte),    cmocka_unit_test(memory_may_hold_anything),
        cmocka_unit_test(rounds_of_spans),       cmocka_unit_test(scratch_is_bounded),
        cmocka_unit_test(no_space_forgets_nothing), cmocka_unit_test(longer_than_stored),    cmocka_unit_test(small_windows),
        cmocka_unit_test(order_of_freeing),      cmocka_unit_test(interrupt_before),
        cmocka_unit_test(interrupt_during),      cmocka_unit_test(interrupt_from_a_signal),
        cmocka_unit_test(host_arithmetic),       cmocka_unit_test(overflow_leaves_nothing),
        cmocka_unit_test(random_histories),      cmocka_unit_test(tokens_fit_however_spread),
    };
    return cmocka_run_group_tests_name("sequences", tests, NULL, NULL);
}
