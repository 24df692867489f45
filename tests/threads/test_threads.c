/*
 * test_threads.c - many threads at once: contexts side by side on one model, interrupts from
 * outside, owners that come and go. Made to run under ThreadSanitizer; without it the logits still
 * have to be right.
 */
#include "support/evaluate.h"
#include "support/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { N_THREADS = 4, LENGTH = 300 };

/* cmocka's assertions belong to the main thread: others report by return value. */
typedef void *thread_fn(void *);

static void run_all(thread_fn *fn, void *args, size_t size, size_t n)
{
    pthread_t threads[32];
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fn, (char *)args + i * size), 0);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

/* ------------------------------------------------------- contexts side by side --- */

struct worker {
    slm_model *model;
    const slm_token *text; /* [LENGTH] */
    const float *truth;    /* [LENGTH][n_vocab] */
    size_t n_vocab;
    int32_t threads;
    slm_team *team; /* of all workers; NULL: each context has its own, of `threads` */
    uint64_t seed;
    int rc; /* 0, an slm_error, or 1: other logits */
};

static int evaluate(struct worker *w, slm_ctx *ctx, slm_seq *seq, struct random *r)
{
    for (size_t done = 0, n; done < LENGTH; done += n) {
        n = random_between(r, 1, random_u64(r) & 1 ? 2 : 90);
        n = n < LENGTH - done ? n : LENGTH - done;
        slm_span span = {sizeof span, seq, w->text + done, n, n};
        int rc = slm_eval(ctx, &span, 1);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < n; i++)
            if (memcmp(slm_logits(ctx, 0, i), w->truth + (done + i) * w->n_vocab,
                       w->n_vocab * sizeof(float)) != 0)
                return 1;
    }
    return 0;
}

/* Contexts of its own, one after the other, with teams of their own. */
static void *work(void *arg)
{
    struct worker *w = arg;
    struct random r = random_stream(w->seed, 0);
    for (int i = 0; i < 3 && w->rc == 0; i++) {
        slm_ctx_options options = {.size = sizeof options,
                                   .n_threads = w->team ? 0 : w->threads,
                                   .team = w->team,
                                   .max_tokens = LENGTH,
                                   .max_logits = LENGTH};
        slm_ctx *ctx = NULL;
        slm_seq *seq = NULL;
        w->rc = slm_ctx_new(&ctx, w->model, &options);
        if (w->rc == 0)
            w->rc = slm_seq_new(&seq, ctx);
        if (w->rc == 0)
            w->rc = evaluate(w, ctx, seq, &r);
        slm_seq_free(seq);
        slm_ctx_free(ctx);
    }
    slm_model_unref(w->model); /* the last one frees it, whoever that is */
    return NULL;
}

/* The host's own threads, as simple as they can be. */
static void one_by_one(void *user, int32_t n, void (*part)(void *arg, int32_t i), void *arg)
{
    atomic_fetch_add((atomic_int *)user, 1);
    for (int32_t i = n; i-- > 0;)
        part(arg, i);
}

/* With teams of their own, with one for all, and with the host's threads. */
static void contexts_side_by_side(void **state)
{
    (void)state;
    const char *names[] = {"grouped", "ragged", "grouped", "ragged", "windows"};
    for (size_t m = 0; m < 5; m++) {
        const struct tiny_model *tiny = tiny_model_named(names[m]);
        atomic_int host_calls = 0;
        slm_team_options team_options = {
            .size = sizeof team_options, .n_threads = 3, .user = &host_calls};
        slm_team *team = NULL;
        if (m == 4)
            team_options.parallel_for = one_by_one;
        if (m >= 2)
            must(slm_team_new(&team, &team_options));
        slm_model *model = open_tiny(tiny);
        slm_token *text = make_text(tiny, LENGTH, 21);
        size_t n_vocab = vocab_of(model);
        float *truth = text_logits(model, &(struct way){0}, text, LENGTH);
        struct worker workers[N_THREADS];
        for (size_t i = 0; i < N_THREADS; i++)
            workers[i] = (struct worker){
                .model = slm_model_ref(model),
                .text = text,
                .truth = truth,
                .n_vocab = n_vocab,
                .threads = 1 + (int32_t)(i % 3),
                .team = team,
                .seed = i,
            };
        slm_model_unref(model);
        run_all(work, workers, sizeof *workers, N_THREADS);
        slm_team_free(team);
        assert_true((m == 4) == (host_calls > 0));
        for (size_t i = 0; i < N_THREADS; i++)
            assert_int_equal(workers[i].rc, 0);
        free(text);
        free(truth);
    }
}

/* ------------------------------------------------------------------ interrupts --- */

struct nagger {
    slm_ctx *ctx;
    atomic_bool *stop;
    uint64_t seed;
};

static void *nag(void *arg)
{
    struct nagger *nagger = arg;
    struct random r = random_stream(nagger->seed, 1);
    while (!atomic_load(nagger->stop)) {
        nanosleep(&(struct timespec){.tv_nsec = (long)random_between(&r, 0, 3000000)}, NULL);
        slm_ctx_interrupt(nagger->ctx);
        if (random_between(&r, 0, 3) == 0)
            slm_ctx_interrupt_clear(nagger->ctx); /* in time or not: nothing else may change */
    }
    return NULL;
}

/* Whatever is interrupted, what gets through is right, and what does not has changed nothing. */
static void interrupts_from_outside(void **state)
{
    (void)state;
    const struct tiny_model *tiny = tiny_model_named("windows");
    slm_model *model = open_tiny(tiny);
    slm_token *text = make_text(tiny, LENGTH, 22);
    size_t n_vocab = vocab_of(model);
    float *truth = text_logits(model, &(struct way){0}, text, LENGTH);
    for (int32_t threads = 1; threads <= 3; threads++) {
        struct way way = {.threads = threads, .max_batch = 16, .window_tokens = 1};
        slm_ctx *ctx = make_context(model, &way, LENGTH, 1);
        slm_seq *seq = NULL;
        must(slm_seq_new(&seq, ctx));
        atomic_bool stop = false;
        struct nagger naggers[2] = {{ctx, &stop, 1}, {ctx, &stop, 2}};
        pthread_t ids[2];
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&ids[i], NULL, nag, &naggers[i]), 0);
        struct random r = random_stream(3, (uint64_t)threads);
        size_t done = 0, interrupted = 0, wrong = 0;
        for (int i = 0; i < 400; i++) {
            size_t n = random_between(&r, 1, 60);
            n = n < LENGTH - done ? n : LENGTH - done;
            slm_span span = {sizeof span, seq, text + done, n, 1};
            int rc = slm_eval(ctx, &span, 1);
            interrupted += rc == SLM_EINTR;
            wrong += rc != 0 && rc != SLM_EINTR;
            if (rc == 0) {
                done += n;
                wrong += memcmp(slm_logits(ctx, 0, 0), truth + (done - 1) * n_vocab,
                                n_vocab * sizeof(float)) != 0;
            }
            wrong += slm_seq_length(seq) != (int32_t)done;
            if (done == LENGTH) {
                done = random_between(&r, 0, LENGTH - 1);
                int cut = slm_seq_truncate(seq, (int32_t)done);
                if (cut == SLM_ESTATE) /* windows have moved on */
                    cut = slm_seq_truncate(seq, (int32_t)(done = 0));
                must(cut);
            }
        }
        atomic_store(&stop, true);
        for (size_t i = 0; i < 2; i++)
            pthread_join(ids[i], NULL);
        assert_int_equal(wrong, 0);
        assert_true(interrupted > 0);
        slm_seq_free(seq);
        slm_ctx_free(ctx);
    }
    free(truth);
    free(text);
    slm_model_unref(model);
}

/* ---------------------------------------------------------------------- owners --- */

static void *come_and_go(void *arg)
{
    slm_model *model = *(slm_model **)arg;
    for (int i = 0; i < 2000; i++) {
        slm_model *mine = slm_model_ref(model);
        slm_info info = {.size = sizeof info};
        if (slm_model_info(mine, &info) != 0 || info.n_layers != 2)
            return arg; /* wrong: anything but NULL */
        slm_model_unref(mine);
    }
    slm_model_unref(model);
    return NULL;
}

static void owners_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        slm_model *model = open_tiny(tiny_model_named("grouped")), *models[8];
        for (size_t t = 0; t < 8; t++)
            models[t] = slm_model_ref(model);
        slm_model_unref(model);
        run_all(come_and_go, models, sizeof *models, 8);
    }
}

/* What a garbage collector does: sequences are freed by threads of its own while their context works
 * on others, and after it has gone. */
struct finalizer {
    slm_seq *_Atomic inbox; /* NULL: nothing to free */
    atomic_bool stop;
};

static void *finalize(void *arg)
{
    struct finalizer *f = arg;
    for (bool stop = false; !stop;) {
        stop = atomic_load(&f->stop);
        slm_seq_free(atomic_exchange(&f->inbox, NULL));
    }
    return NULL;
}

static void sequences_freed_by_others(void **state)
{
    (void)state;
    enum { MAX_SEQS = 4 };
    const struct tiny_model *tiny = tiny_model_named("grouped");
    slm_model *model = open_tiny(tiny);
    slm_token *text = make_text(tiny, LENGTH, 24);
    size_t n_vocab = vocab_of(model);
    float *truth = text_logits(model, &(struct way){0}, text, LENGTH);
    for (int round = 0; round < 20; round++) {
        slm_ctx *ctx = make_context(model, &(struct way){.threads = 2}, LENGTH, MAX_SEQS);
        struct finalizer finalizer = {.inbox = NULL};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, finalize, &finalizer), 0);
        slm_seq *last = NULL;
        for (int i = 0; i < 40; i++) {
            slm_seq *seq = NULL;
            int rc;
            while ((rc = slm_seq_new(&seq, ctx)) == SLM_ELIMIT) /* until one was taken back */
                ;
            must(rc);
            slm_span span = {sizeof span, seq, text, 20, 1};
            while ((rc = slm_eval(ctx, &span, 1)) == SLM_ENOSPACE)
                ;
            must(rc);
            same_logits(slm_logits(ctx, 0, 0), truth + 19 * n_vocab, 1, n_vocab, "among the freed");
            last = atomic_exchange(&finalizer.inbox, seq);
            slm_seq_free(last); /* the other was not in time */
        }
        slm_ctx_free(ctx); /* at about the same time as the last sequence */
        atomic_store(&finalizer.stop, true);
        pthread_join(thread, NULL);
    }
    free(truth);
    free(text);
    slm_model_unref(model);
}

/* Errors are a thread's own: nobody reads another's message. */
static void *fail_often(void *arg)
{
    size_t *number = arg;
    char path[64];
    snprintf(path, sizeof path, "/nowhere/%zu.slm", *number);
    for (int i = 0; i < 300; i++) {
        slm_model *model = NULL;
        if (slm_model_open(&model, path, NULL) != SLM_EIO || !strstr(slm_last_error(), path)) {
            *number = SIZE_MAX;
            return NULL;
        }
    }
    return NULL;
}

static void messages_are_the_threads_own(void **state)
{
    (void)state;
    size_t numbers[8];
    for (size_t i = 0; i < 8; i++)
        numbers[i] = i;
    run_all(fail_often, numbers, sizeof *numbers, 8);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(numbers[i], i);
}

/* ----------------------------------------------------------- more than there are --- */

/* More threads than any machine of today has: slow is fine, a standstill is not. */
static void more_threads_than_cores(void **state)
{
    (void)state;
    const struct tiny_model *tiny = tiny_model_named("plain");
    slm_model *model = open_tiny(tiny);
    slm_token *text = make_text(tiny, 60, 23);
    size_t n_vocab = vocab_of(model);
    float *truth = text_logits(model, &(struct way){0}, text, 60);
    float *logits =
        text_logits(model, &(struct way){.threads = 32, .first = 50, .chunk = 1}, text, 60);
    same_logits(logits, truth, 60, n_vocab, "32 threads");
    free(logits);
    free(truth);
    free(text);
    slm_model_unref(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_side_by_side),   cmocka_unit_test(interrupts_from_outside),
        cmocka_unit_test(owners_come_and_go),      cmocka_unit_test(messages_are_the_threads_own),
        cmocka_unit_test(more_threads_than_cores), cmocka_unit_test(sequences_freed_by_others),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
