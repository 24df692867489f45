/*
 * test_model.c - whole models give the same bits, whatever the CPU tier, the number of threads, the
 * way in which a prompt is cut, and whatever else is evaluated beside it.
 *
 * Every test runs for each tiny model of tests/support/models.c and for each KV type. The truth
 * is one call with plain C on one thread; everything else is compared with it by memcmp, at every
 * position. Texts are longer than two spans of 256 positions, so attention is merged from several,
 * whole by one thread and split among threads.
 */
#include "support/evaluate.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LENGTH = 560, MAX_SUBJECTS = 63, MAX_TESTS = 8 * MAX_SUBJECTS };

/* Of the matrices behind a norm only this one reads bytes. */
static const struct tiny_model routed = {
    .name = "routed by bytes",
    .dim = 40,
    .n_vocab = 50,
    .n_layers = 1,
    .layers = {{.n_heads = 2, .n_kv_heads = 1, .head_dim = 20, .n_experts = 5, .n_chosen = 2,
                .expert_dim = 24, .router = SLM_ROUTER_CHOSEN}},
    .n_ropes = 1,
    .ropes = {{.dims = 20, .scaling = SLM_ROPE_TABLE}},
    .types = {SLM_TYPE_F32},
    .n_types = 1,
    .router_type = SLM_TYPE_Q8,
};

struct subject {
    const struct tiny_model *tiny;
    int32_t kv_type;
    char name[96];

    /* Made by the first test that needs them. */
    slm_model *model;
    slm_token *text; /* [LENGTH] */
    float *truth;    /* [LENGTH][n_vocab] */
    size_t n_vocab;
};

static struct subject *prepare(void **state)
{
    struct subject *s = *state;
    if (s->truth)
        return s;
    s->model = open_tiny(s->tiny);
    s->n_vocab = vocab_of(s->model);
    s->text = make_text(s->tiny, LENGTH, 1);
    struct way way = {.cpu = SLM_CPU_C, .kv_type = s->kv_type};
    s->truth = text_logits(s->model, &way, s->text, LENGTH);
    return s;
}

/* The best tier: everything but the tiers' own test uses it. */
static uint32_t fastest(void)
{
    uint32_t best = SLM_CPU_C;
    for (uint32_t tier = 1; tier <= slm_cpu_tiers(); tier <<= 1)
        if (slm_cpu_tiers() & tier)
            best = tier;
    return best;
}

static void compare(const struct subject *s, struct way way, const char *what)
{
    way.kv_type = s->kv_type;
    float *logits = text_logits(s->model, &way, s->text, LENGTH);
    same_logits(logits, s->truth, LENGTH, s->n_vocab, what);
    free(logits);
}

/* Nothing is read that was never written. */
static void unwritten(void **state)
{
    const struct subject *s = prepare(state);
    compare(s, (struct way){.cpu = fastest(), .fill = 0x5A}, "in memory full of 0x5A");
    compare(s, (struct way){.cpu = fastest(), .fill = 0xFF, .threads = 2, .chunk = 100},
            "in memory full of 0xFF");
}

/* Would a kernel that computes nothing pass? Logits are finite and differ from row to row. */
static void truth_is_alive(void **state)
{
    const struct subject *s = prepare(state);
    for (size_t i = 0; i < LENGTH * s->n_vocab; i++)
        assert_true(s->truth[i] > -1e6f && s->truth[i] < 1e6f);
    for (size_t i = 1; i < LENGTH; i++)
        assert_memory_not_equal(s->truth + i * s->n_vocab, s->truth, s->n_vocab * sizeof(float));
}

static void tiers_and_threads(void **state)
{
    const struct subject *s = prepare(state);
    const int32_t threads[] = {1, 2, 3, 7};
    for (uint32_t tier = 1; tier <= slm_cpu_tiers(); tier <<= 1)
        for (size_t i = 0; i < 4 && slm_cpu_tiers() & tier; i++) {
            char what[64];
            snprintf(what, sizeof what, "tier %s, %d threads", slm_cpu_tier_name(tier), threads[i]);
            if (tier != SLM_CPU_C || threads[i] == 3)
                compare(s, (struct way){.cpu = tier, .threads = threads[i]}, what);
        }
}

static void chunks(void **state)
{
    const struct subject *s = prepare(state);
    const struct {
        size_t first, chunk;
        int32_t threads;
    } cuts[] = {{0, 1, 1},   {0, 7, 1},   {0, 512, 1}, {0, 7, 2},
                {500, 1, 2}, {540, 1, 7}, {3, 512, 3}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        char what[64];
        snprintf(what, sizeof what, "slm_eval of %zu tokens, %d threads", cuts[i].chunk,
                 cuts[i].threads);
        compare(s,
                (struct way){.cpu = fastest(),
                             .threads = cuts[i].threads,
                             .first = cuts[i].first,
                             .chunk = cuts[i].chunk},
                what);
    }
}

static void batches(void **state)
{
    const struct subject *s = prepare(state);
    const int32_t sizes[] = {1, 5, 512};
    for (size_t i = 0; i < 3; i++) {
        char what[64];
        snprintf(what, sizeof what, "max_batch %d", sizes[i]);
        compare(s, (struct way){.cpu = fastest(), .max_batch = sizes[i]}, what);
        compare(s, (struct way){.cpu = fastest(), .max_batch = sizes[i], .threads = 3}, what);
    }
}

/* Five texts advance by random steps, side by side; the first is the subject's. */
static void among_others(void **state)
{
    const struct subject *s = prepare(state);
    enum { N = 5 };
    for (int32_t threads = 1; threads <= 3; threads++) {
        struct random r = random_stream(7, (uint64_t)threads);
        struct way way = {
            .cpu = fastest(), .threads = threads, .kv_type = s->kv_type, .max_batch = 64};
        slm_ctx *ctx = make_context(s->model, &way, N * LENGTH, N);
        slm_seq *seqs[N];
        slm_token *texts[N];
        float *truths[N];
        size_t done[N] = {0}, at_work = N;
        for (size_t i = 0; i < N; i++) {
            must(slm_seq_new(&seqs[i], ctx));
            texts[i] = i ? make_text(s->tiny, LENGTH, 1 + i) : s->text;
            struct way alone = {.cpu = fastest(), .kv_type = s->kv_type};
            truths[i] = i ? text_logits(s->model, &alone, texts[i], LENGTH) : s->truth;
        }
        while (at_work > 0) {
            slm_span spans[N];
            size_t which[N], n = 0;
            for (size_t i = 0; i < N; i++) {
                size_t left = LENGTH - done[i],
                       step = random_between(&r, 1, random_u64(&r) & 1 ? 1 : 40);
                if (left == 0 || random_between(&r, 0, 3) == 0)
                    continue;
                step = step < left ? step : left;
                which[n] = i;
                spans[n++] = (slm_span){sizeof *spans, seqs[i], texts[i] + done[i], step,
                                        random_between(&r, 0, step)};
            }
            if (n == 0)
                continue;
            must(slm_eval(ctx, spans, n));
            for (size_t k = 0; k < n; k++) {
                size_t i = which[k], first = done[i] + spans[k].n - spans[k].n_logits;
                for (size_t j = 0; j < spans[k].n_logits; j++)
                    same_logits(slm_logits(ctx, k, j), truths[i] + (first + j) * s->n_vocab, 1,
                                s->n_vocab, "side by side with others");
                assert_null(slm_logits(ctx, k, spans[k].n_logits));
                done[i] += spans[k].n;
                at_work -= done[i] == LENGTH;
            }
        }
        for (size_t i = 0; i < N; i++)
            slm_seq_free(seqs[i]);
        slm_ctx_free(ctx);
        for (size_t i = 1; i < N; i++) {
            free(texts[i]);
            free(truths[i]);
        }
    }
}

/* Fork at odd places, write another text after one of the two, then go on with both. */
static void forked(void **state)
{
    const struct subject *s = prepare(state);
    struct way way = {.cpu = fastest(), .threads = 2, .kv_type = s->kv_type};
    slm_ctx *ctx = make_context(s->model, &way, 2 * LENGTH, 3);
    const size_t cuts[] = {1, 31, 32, 33, 256, 300, 559};
    float *logits = malloc(LENGTH * s->n_vocab * sizeof *logits);
    slm_token *other = make_text(s->tiny, LENGTH, 99);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        size_t cut = cuts[i], rest = LENGTH - cut;
        slm_seq *seq = NULL, *fork = NULL;
        must(slm_seq_new(&seq, ctx));
        append(ctx, seq, s->text, cut, 0, s->n_vocab, NULL);
        must(slm_seq_fork(&fork, seq));
        assert_int_equal(slm_seq_length(fork), cut);
        append(ctx, fork, other, rest < 40 ? rest : 40, 0, s->n_vocab, NULL);
        append(ctx, seq, s->text + cut, rest, rest, s->n_vocab, logits);
        same_logits(logits, s->truth + cut * s->n_vocab, rest, s->n_vocab,
                    "the original after a fork");
        must(slm_seq_truncate(fork, (int32_t)cut));
        append(ctx, fork, s->text + cut, rest, rest, s->n_vocab, logits);
        same_logits(logits, s->truth + cut * s->n_vocab, rest, s->n_vocab, "the fork");
        slm_seq_free(seq);
        slm_seq_free(fork);
    }
    free(other);
    free(logits);
    slm_ctx_free(ctx);
}

/* Forget the end, write something else, forget that, and go on. */
static void truncated(void **state)
{
    const struct subject *s = prepare(state);
    struct way way = {.cpu = fastest(), .threads = 3, .kv_type = s->kv_type};
    slm_ctx *ctx = make_context(s->model, &way, LENGTH, 1);
    struct random r = random_stream(8, 8);
    float *logits = malloc(LENGTH * s->n_vocab * sizeof *logits);
    slm_token *other = make_text(s->tiny, LENGTH, 98);
    slm_seq *seq = NULL;
    must(slm_seq_new(&seq, ctx));
    size_t length = 0; /* tokens of the text that the sequence holds */
    for (int i = 0; i < 20; i++) {
        size_t more = random_between(&r, 1, LENGTH - length);
        append(ctx, seq, s->text + length, more, more, s->n_vocab, logits);
        same_logits(logits, s->truth + length * s->n_vocab, more, s->n_vocab, "after truncating");
        length = random_between(&r, 0, length + more);
        must(slm_seq_truncate(seq, (int32_t)length));
        if (length < LENGTH) {
            append(ctx, seq, other, random_between(&r, 1, LENGTH - length), 0, s->n_vocab, NULL);
            must(slm_seq_truncate(seq, (int32_t)length));
        }
        if (length == LENGTH)
            length = 0, must(slm_seq_truncate(seq, 0));
    }
    free(other);
    free(logits);
    slm_seq_free(seq);
    slm_ctx_free(ctx);
}

static void forget(struct subject *s)
{
    slm_model_unref(s->model);
    free(s->text);
    free(s->truth);
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction test;
    } slots[] = {
        {"alive", truth_is_alive}, {"tiers and threads", tiers_and_threads}, {"chunks", chunks},
        {"batches", batches},      {"among others", among_others},           {"forked", forked},
        {"truncated", truncated},  {"unwritten", unwritten},
    };
    static const char *const kv_names[] = {"f16", "f32", "q8"}; /* by SLM_KV_ */
    enum { N_SLOTS = sizeof slots / sizeof *slots };
    static struct subject subjects[MAX_SUBJECTS];
    static struct CMUnitTest tests[MAX_TESTS];
    static char names[MAX_TESTS][96];
    size_t n = 0, n_subjects = 0;
    for (const struct tiny_model *m = tiny_models, *next; m; m = next) {
        next = m == &routed ? NULL : m[1].name ? m + 1 : &routed;
        for (int32_t kv = SLM_KV_F16; kv <= SLM_KV_Q8; kv++) {
            if (n_subjects == MAX_SUBJECTS)
                return fputs("more models than MAX_SUBJECTS\n", stderr), 1;
            struct subject *s = &subjects[n_subjects++];
            *s = (struct subject){.tiny = m, .kv_type = kv};
            for (size_t i = 0; i < N_SLOTS; i++, n++) {
                snprintf(names[n], sizeof names[n], "%s, %s: %s", m->name, kv_names[kv],
                         slots[i].name);
                tests[n] = (struct CMUnitTest){names[n], slots[i].test, NULL, NULL, s};
            }
        }
    }
    int failures = _cmocka_run_group_tests("model", tests, n, NULL, NULL);
    for (size_t i = 0; i < n_subjects; i++)
        forget(&subjects[i]);
    return failures;
}
