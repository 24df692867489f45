/*
 * golden.h - what the golden tests share: expected logits from files, ours from a model, and the
 * difference between the two.
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <slm/convert.h>
#include <slm/slm.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/models.h"

enum { PATH_SIZE = 1024 };

/* ------------------------------------------------------------------------- files --- */

/* "<tests/data>/<folder>/<file>", absolute, so that links to it work from anywhere. */
static inline void data_path(char out[PATH_SIZE], const char *folder, const char *file)
{
    const char *root = getenv("SLM_TEST_DATA");
    char *absolute = realpath(root ? root : "tests/data", NULL);
    assert_non_null(absolute);
    assert_true(snprintf(out, PATH_SIZE, "%s/%s/%s", absolute, folder, file) < PATH_SIZE);
    free(absolute);
}

/* Where a test's converted model goes. It is removed at exit. */
static inline const char *model_path(void)
{
    static char path[PATH_SIZE];
    if (!*path)
        snprintf(path, sizeof path, "%s", temporary_path("model.slm"));
    return path;
}

/* Free it. One NUL follows, which *n does not count. */
static inline char *read_data(const char *path, size_t *n)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info) != 0)
        fail_msg("%s can't be read", path);
    *n = (size_t)info.st_size;
    char *data = malloc(*n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *n, file), *n);
    data[*n] = '\0';
    fclose(file);
    return data;
}

static inline void write_data(const char *path, const void *data, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* ---------------------------------------------------------------------- expected --- */

/* A text and the logits that PyTorch computes after its last n_rows tokens. */
struct golden {
    slm_token *ids; /* [n] */
    size_t n;
    float *logits; /* [n_rows][n_vocab] */
    size_t n_rows;
    size_t n_vocab;
};

/* From two files of a folder of tests/data. Where the text is longer than the first `most` tokens,
 * it is cut there (0: not at all). */
static inline void golden_load(struct golden *g, const char *folder, const char *ids,
                               const char *logits, size_t n_vocab, size_t most)
{
    char path[PATH_SIZE];
    size_t length;
    data_path(path, folder, ids);
    char *text = read_data(path, &length);
    *g = (struct golden){.n_vocab = n_vocab};
    g->ids = malloc((length / 2 + 1) * sizeof *g->ids); /* each has a digit and a newline */
    assert_non_null(g->ids);
    char *at = text, *end;
    for (long id = strtol(at, &end, 10); end != at; id = strtol(at = end, &end, 10))
        if (!most || g->n < most)
            g->ids[g->n++] = (slm_token)id;
    free(text);

    data_path(path, folder, logits);
    g->logits = (float *)(void *)read_data(path, &length);
    assert_int_equal(length % (n_vocab * sizeof(float)), 0);
    g->n_rows = length / (n_vocab * sizeof(float));
    assert_in_range(g->n_rows, 1, g->n);
}

static inline void golden_free(struct golden *g)
{
    free(g->ids);
    free(g->logits);
}

/* -------------------------------------------------------------------------- ours --- */

/* A conversion that must work. */
static inline void convert(const char *in, const char *out, const char *type)
{
    slm_convert_options options = {.size = sizeof options, .type = type};
    if (slm_convert(in, out, &options) != SLM_OK)
        fail_msg("%s: %s", in, slm_last_error());
}

/* Our logits of the same rows, computed in pieces of `step` tokens (0: all at once) by one thread.
 * Free them. */
static inline float *evaluate(const char *model_path, const struct golden *g, size_t step,
                              enum slm_kv_type kv)
{
    slm_model *model;
    slm_ctx *ctx;
    slm_seq *seq;
    if (slm_model_open(&model, model_path, NULL) != SLM_OK)
        fail_msg("%s", slm_last_error());
    slm_info info = {.size = sizeof info};
    assert_int_equal(slm_model_info(model, &info), SLM_OK);
    assert_int_equal(info.n_vocab, g->n_vocab);
    slm_ctx_options options = {.size = sizeof options,
                               .n_threads = 1,
                               .max_tokens = (int32_t)g->n,
                               .max_logits = (int32_t)g->n,
                               .kv_type = kv};
    if (slm_ctx_new(&ctx, model, &options) != SLM_OK || slm_seq_new(&seq, ctx) != SLM_OK)
        fail_msg("%s", slm_last_error());

    float *logits = malloc(g->n_rows * g->n_vocab * sizeof *logits);
    assert_non_null(logits);
    size_t first = g->n - g->n_rows; /* position of the first row */
    for (size_t at = 0; at < g->n;) {
        size_t n = step && step < g->n - at ? step : g->n - at;
        size_t skipped = at < first ? first - at : 0;
        slm_span span = {.size = sizeof span,
                         .seq = seq,
                         .tokens = g->ids + at,
                         .n = n,
                         .n_logits = skipped < n ? n - skipped : 0};
        if (slm_eval(ctx, &span, 1) != SLM_OK)
            fail_msg("%s", slm_last_error());
        for (size_t i = 0; i < span.n_logits; i++)
            memcpy(logits + (at + n - span.n_logits + i - first) * g->n_vocab,
                   slm_logits(ctx, 0, i), g->n_vocab * sizeof *logits);
        at += n;
    }
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    slm_model_unref(model);
    return logits;
}

/* -------------------------------------------------------------------- difference --- */

struct difference {
    double largest;   /* of two logits */
    double mean_kl;   /* Kullback-Leibler divergence from PyTorch's distribution, nats a row */
    size_t other_top; /* rows whose first choice differs though PyTorch's margin is larger */
    size_t n_decided; /* rows where it is that large */
};

static inline size_t top_of(const float *row, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (row[i] > row[best])
            best = i;
    return best;
}

static inline double margin_of(const float *row, size_t n)
{
    size_t best = top_of(row, n);
    double second = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (i != best)
            second = fmax(second, (double)row[i]);
    return (double)row[best] - second;
}

static inline double log_sum(const float *row, size_t n)
{
    double most = (double)row[top_of(row, n)], sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)row[i] - most);
    return most + log(sum);
}

/* What is no number differs by infinity. */
static inline struct difference compare(const struct golden *g, const float *ours, double margin)
{
    struct difference d = {.largest = 0};
    for (size_t r = 0; r < g->n_rows; r++) {
        const float *want = g->logits + r * g->n_vocab, *have = ours + r * g->n_vocab;
        double want_sum = log_sum(want, g->n_vocab), have_sum = log_sum(have, g->n_vocab);
        for (size_t i = 0; i < g->n_vocab; i++) {
            double by = fabs((double)want[i] - (double)have[i]);
            d.largest = by <= d.largest ? d.largest : by == by ? by : (double)INFINITY;
            double p = (double)want[i] - want_sum, q = (double)have[i] - have_sum;
            d.mean_kl += exp(p) * (p - q) / (double)g->n_rows;
        }
        bool decided = margin_of(want, g->n_vocab) > margin;
        d.n_decided += decided;
        d.other_top += decided && top_of(want, g->n_vocab) != top_of(have, g->n_vocab);
    }
    return d;
}

#endif
