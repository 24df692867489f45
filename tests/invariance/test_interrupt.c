/*
 * test_interrupt.c - how soon an interrupt is seen, in work instead of time: what is between two
 * looks at the flag is bounded, on a model with wide matrices and on a long text. The kernels are
 * wrapped: each call counts its multiply-adds, or what takes as long, and one of them raises the flag.
 */
#include "run/run.h"

#include "support/evaluate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LENGTH = 700, BATCH = 512, TEXTS = 70 };

static const struct tiny_model wide = {
    .name = "interrupted",
    .dim = 64,
    .n_vocab = 9000,
    .n_layers = 1,
    .layers = {{.n_heads = 4, .n_kv_heads = 2, .head_dim = 16, .ffn_dim = 20000}},
    .n_ropes = 1,
    .ropes = {{.dims = 16, .scaling = SLM_ROPE_TABLE}},
    .types = {SLM_TYPE_Q8},
    .n_types = 1,
    .logit_cap = 30,
};

/* What the wrapped kernels of one test share. */
static struct {
    const struct slm_kern *kern; /* the real ones */
    slm_ctx *ctx;
    atomic_size_t n_calls, greatest; /* calls so far, and the most multiply-adds of one */
    size_t raise_at;                 /* number of the call that interrupts; 0: none */
    bool cleared;                    /* somebody has seen it, and it was cleared at once */
    atomic_size_t late;              /* work that began afterwards */
    atomic_bool raised;
} watch;

static void begin_call(size_t work)
{
    size_t n = atomic_fetch_add(&watch.n_calls, 1) + 1, greatest = atomic_load(&watch.greatest);
    while (work > greatest && !atomic_compare_exchange_weak(&watch.greatest, &greatest, work))
        ;
    if (atomic_load(&watch.raised))
        atomic_fetch_add(&watch.late, work);
    if (n == watch.raise_at) {
        if (watch.cleared)
            atomic_store(watch.ctx->fwd.interrupted, true);
        else
            slm_ctx_interrupt(watch.ctx);
        atomic_store(&watch.raised, true);
    }
}

static void watched_gemm(const struct slm_gemm *g, size_t first, size_t last)
{
    begin_call(g->n * g->n_tiles * SLM_TILE_COLS * (last - first) * SLM_PANEL_ROWS);
    watch.kern->gemm[SLM_TYPE_Q8](g, first, last);
}

static void watched_attend(const struct slm_attend *a, size_t span)
{
    begin_call(2 * a->n_rows * a->head_dim * SLM_SPAN);
    watch.kern->attend(a, span);
}

/* The rest goes through single numbers: each takes as long as so many multiply-adds of products. */
enum { OF_NUMBER = 16, OF_EXPONENTIAL = 32 };

static void watched_merge(float *largest, float *total, float *out, float span_largest,
                          float span_total, const float *span_out, size_t n)
{
    begin_call(n * OF_NUMBER);
    watch.kern->attend_merge(largest, total, out, span_largest, span_total, span_out, n);
}

static void watched_norm(float *out, const float *x, const float *weight, const float *bias, size_t n,
                         float eps)
{
    begin_call(n * OF_NUMBER);
    watch.kern->rms_norm(out, x, weight, bias, n, eps);
}

static void watched_quantize(const float *x, size_t n, int8_t *q, struct slm_act_block *blocks)
{
    begin_call(n * OF_NUMBER);
    watch.kern->quantize(x, n, q, blocks);
}

static void watched_rope(float *head, const float *cosine, const float *sine, size_t half)
{
    begin_call(2 * half * OF_NUMBER);
    watch.kern->rope(head, cosine, sine, half);
}

static void watched_store(void *keys, void *values, size_t slot, const float *key, const float *value,
                          size_t head_dim, uint32_t kv_type)
{
    begin_call(2 * head_dim * OF_NUMBER);
    watch.kern->kv_store(keys, values, slot, key, value, head_dim, kv_type);
}

static void watched_activate(float *x, const float *up, size_t n)
{
    begin_call(n * OF_EXPONENTIAL);
    watch.kern->activate[SLM_KERN_SILU](x, up, n);
}

static void watched_cap(float *x, size_t n, float cap)
{
    begin_call(n * OF_EXPONENTIAL);
    watch.kern->soft_cap(x, n, cap);
}

struct bench {
    slm_model *model;
    slm_token *text;
    slm_ctx *ctx;
    slm_seq *seqs[TEXTS];
    size_t n; /* texts, each of LENGTH / n tokens */
    struct slm_kern kern;
};

static void set_up(struct bench *b, int32_t threads, size_t n)
{
    memset(b, 0, sizeof *b);
    b->n = n;
    b->model = open_tiny(&wide);
    b->text = make_text(&wide, LENGTH, 1);
    slm_ctx_options options = {.size = sizeof options,
                               .n_threads = threads,
                               .max_tokens = LENGTH + (int64_t)n * SLM_PAGE,
                               .max_seqs = (int32_t)n,
                               .max_batch = BATCH,
                               .max_logits = LENGTH};
    must(slm_ctx_new(&b->ctx, b->model, &options));
    for (size_t i = 0; i < n; i++)
        must(slm_seq_new(&b->seqs[i], b->ctx));
    memset(&watch, 0, sizeof watch);
    watch.ctx = b->ctx;
    watch.kern = b->ctx->fwd.kern;
    b->kern = *watch.kern;
    b->kern.gemm[SLM_TYPE_Q8] = watched_gemm;
    b->kern.attend = watched_attend;
    b->kern.attend_merge = watched_merge;
    b->kern.rms_norm = watched_norm;
    b->kern.quantize = watched_quantize;
    b->kern.rope = watched_rope;
    b->kern.kv_store = watched_store;
    b->kern.activate[SLM_KERN_SILU] = watched_activate;
    b->kern.soft_cap = watched_cap;
    b->ctx->fwd.kern = &b->kern;
}

static void tear_down(struct bench *b)
{
    for (size_t i = 0; i < b->n; i++)
        slm_seq_free(b->seqs[i]);
    slm_ctx_free(b->ctx);
    slm_model_unref(b->model);
    free(b->text);
}

static int evaluate(struct bench *b, size_t raise_at)
{
    watch.raise_at = raise_at;
    watch.n_calls = watch.late = 0;
    watch.raised = false;
    slm_span spans[TEXTS];
    for (size_t i = 0, n = LENGTH / b->n; i < b->n; i++) {
        must(slm_seq_truncate(b->seqs[i], 0));
        spans[i] = (slm_span){sizeof *spans, b->seqs[i], b->text + i * n, n, n};
    }
    return slm_eval(b->ctx, spans, b->n);
}

/* Wherever the interrupt comes, each thread ends what is between two looks, and no more. */
static void expect_little(int32_t threads, size_t n_texts)
{
    struct bench b;
    set_up(&b, threads, n_texts);
    must(evaluate(&b, 0));
    assert_int_equal(b.ctx->fwd.is_apart, threads > 1 && n_texts > 1);
    size_t n_calls = watch.n_calls;
    assert_true(n_calls > 100);
    assert_in_range(watch.greatest, SLM_INTERRUPT_WORK / 4, SLM_INTERRUPT_WORK);
    for (size_t at = 1; at <= n_calls; at += n_calls / 31) {
        int rc = evaluate(&b, at);
        if (rc == SLM_OK) /* it came in the very last calls */
            assert_true(at + 100 > n_calls && slm_ctx_interrupt_clear(b.ctx));
        else
            assert_int_equal(rc, SLM_EINTR);
        assert_in_range(watch.late, 0, (size_t)threads * SLM_INTERRUPT_WORK);
    }
    tear_down(&b);
}

static void little_follows(void **state)
{
    (void)state;
    expect_little(1, 1);
    expect_little(3, 1);
    expect_little(3, TEXTS);
}

/* What one thread has left out, no other may use, even if the interrupt is taken back meanwhile. */
static void clearing_resumes_nothing(void **state)
{
    (void)state;
    for (int32_t threads = 1; threads <= 3; threads += 2) {
        struct bench b;
        set_up(&b, threads, 1);
        watch.cleared = true;
        must(evaluate(&b, 0));
        size_t n_calls = watch.n_calls;
        for (size_t at = 1; at + 100 < n_calls; at += n_calls / 13) {
            assert_int_equal(evaluate(&b, at), SLM_EINTR);
            assert_in_range(watch.late, 0, (size_t)threads * SLM_INTERRUPT_WORK);
        }
        tear_down(&b);
    }
}

/* Looking more often changes no bit: rows of wide matrices are taken in groups. */
static void groups_change_nothing(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b, 1, 1);
    must(evaluate(&b, 0));
    float *all = malloc(LENGTH * (size_t)wide.n_vocab * sizeof *all);
    for (size_t i = 0; i < LENGTH; i++)
        memcpy(all + i * wide.n_vocab, slm_logits(b.ctx, 0, i), wide.n_vocab * sizeof *all);
    for (size_t i = LENGTH - 50; i > 100; i -= 99) { /* one by one: a group is a row */
        must(slm_seq_truncate(b.seqs[0], (int32_t)i));
        slm_span span = {sizeof span, b.seqs[0], b.text + i, 1, 1};
        must(slm_eval(b.ctx, &span, 1));
        same_logits(slm_logits(b.ctx, 0, 0), all + i * wide.n_vocab, 1, wide.n_vocab, "alone");
    }
    free(all);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_follows),
        cmocka_unit_test(clearing_resumes_nothing),
        cmocka_unit_test(groups_change_nothing),
    };
    return cmocka_run_group_tests_name("interrupt", tests, NULL, NULL);
}
