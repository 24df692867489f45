/*
 * test_embed.c - vectors and scores of texts: the same bits on every CPU tier, for any number of
 * threads, alone or among other texts, whatever the context's limits; and close to a naive encoder
 * in double precision.
 */
#include "support/evaluate.h"
#include "support/random.h"
#include "support/reference.h"

#include "base/os.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_TEXTS = 9, MAX_TESTS = 64, LONGEST = 290 };

/* Short ones, one that fills a page, one of more than a span; a pair. */
static const size_t lengths[N_TEXTS] = {1, 5, 32, 33, 64, LONGEST, 7, 100, 60};
static const size_t firsts[N_TEXTS] = {0, 2, 0, 20, 0, 65, 0, 0, 59};

struct texts {
    slm_token *tokens[N_TEXTS];
    slm_input inputs[N_TEXTS];
};

static void make_texts(struct texts *t, const struct tiny_model *tiny)
{
    for (size_t i = 0; i < N_TEXTS; i++) {
        t->tokens[i] = make_text(tiny, lengths[i], 70 + i);
        t->inputs[i] = (slm_input){.size = sizeof(slm_input), .tokens = t->tokens[i],
                                   .n_tokens = lengths[i], .n_first = firsts[i]};
    }
}

static void free_texts(struct texts *t)
{
    for (size_t i = 0; i < N_TEXTS; i++)
        free(t->tokens[i]);
}

struct vectors {
    size_t dim, n_scores;
    float *pooled; /* [N_TEXTS][dim] */
    float *means;  /* [N_TEXTS][dim] of another pooling, not normalised */
    float *all;    /* [of LONGEST][dim] of each token of one text */
    float *scores; /* [N_TEXTS][n_scores] */
};

static void make_room(struct vectors *v, const slm_model *model)
{
    slm_info info = {.size = sizeof info};
    must(slm_model_info(model, &info));
    v->dim = (size_t)info.dim;
    v->n_scores = (size_t)info.n_scores;
    v->pooled = calloc(N_TEXTS * v->dim, sizeof(float));
    v->means = calloc(N_TEXTS * v->dim, sizeof(float));
    v->all = calloc(LONGEST * v->dim, sizeof(float));
    v->scores = calloc(N_TEXTS * v->n_scores, sizeof(float));
}

static void free_vectors(struct vectors *v)
{
    free(v->pooled);
    free(v->means);
    free(v->all);
    free(v->scores);
}

/* Everything that can be asked of the texts, `step` of them in a call. */
static void compute(struct vectors *v, slm_ctx *ctx, const struct texts *t, size_t step)
{
    slm_embed_options means = {.size = sizeof means, .pooling = SLM_POOL_MEAN, .normalise = -1};
    slm_embed_options none = {.size = sizeof none, .pooling = SLM_POOL_NONE};
    for (size_t i = 0; i < N_TEXTS; i += step) {
        size_t n = N_TEXTS - i < step ? N_TEXTS - i : step;
        int64_t rows = (int64_t)n;
        assert_int_equal(slm_embed(ctx, t->inputs + i, n, NULL, NULL, 0), rows);
        must(slm_embed(ctx, t->inputs + i, n, NULL, v->pooled + i * v->dim, n));
        must(slm_embed(ctx, t->inputs + i, n, &means, v->means + i * v->dim, n));
        must(slm_score(ctx, t->inputs + i, n, NULL, v->scores + i * v->n_scores, n));
    }
    assert_int_equal(slm_embed(ctx, t->inputs + 5, 1, &none, NULL, 0), LONGEST);
    assert_int_equal(slm_embed(ctx, t->inputs + 5, 1, &none, v->all, LONGEST), LONGEST);
}

static void same(const struct vectors *a, const struct vectors *b, const char *what)
{
    size_t bytes = N_TEXTS * a->dim * sizeof(float);
    if (memcmp(a->pooled, b->pooled, bytes) || memcmp(a->means, b->means, bytes))
        fail_msg("%s: vectors differ", what);
    if (memcmp(a->all, b->all, LONGEST * a->dim * sizeof(float)))
        fail_msg("%s: vectors of single tokens differ", what);
    if (memcmp(a->scores, b->scores, N_TEXTS * a->n_scores * sizeof(float)))
        fail_msg("%s: scores differ", what);
}

static uint32_t fastest(void)
{
    uint32_t best = SLM_CPU_C;
    for (uint32_t tier = 1; tier <= slm_cpu_tiers(); tier <<= 1)
        if (slm_cpu_tiers() & tier)
            best = tier;
    return best;
}

/* In plain C, one text at a time, is the truth. */
static void same_bits(void **state)
{
    const struct tiny_model *tiny = *state;
    slm_model *model = open_tiny(tiny);
    struct texts texts;
    struct vectors truth, other;
    make_texts(&texts, tiny);
    make_room(&truth, model);
    make_room(&other, model);
    slm_ctx *ctx = make_context(model, &(struct way){.cpu = SLM_CPU_C}, LONGEST, 1);
    compute(&truth, ctx, &texts, 1);
    slm_ctx_free(ctx);

    const struct {
        int32_t threads, max_batch;
        size_t max_tokens, max_seqs, step;
    } ways[] = {{1, 0, LONGEST, 1, N_TEXTS}, {1, 7, 2000, 9, N_TEXTS}, {3, 0, 600, 4, N_TEXTS},
                {2, 64, 1500, 0, 5},          {7, 0, 700, 2, 1}};
    for (uint32_t tier = 1; tier <= slm_cpu_tiers(); tier <<= 1)
        for (size_t i = 0; i < sizeof ways / sizeof *ways && slm_cpu_tiers() & tier; i++) {
            if (tier != fastest() && i != 2)
                continue;
            char what[80];
            snprintf(what, sizeof what, "%s, tier %s, way %zu", tiny->name, slm_cpu_tier_name(tier), i);
            struct way way = {.cpu = tier, .threads = ways[i].threads, .max_batch = ways[i].max_batch};
            ctx = make_context(model, &way, ways[i].max_tokens, ways[i].max_seqs);
            compute(&other, ctx, &texts, ways[i].step);
            same(&other, &truth, what);
            slm_ctx_free(ctx);
        }
    free_vectors(&truth);
    free_vectors(&other);
    free_texts(&texts);
    slm_model_unref(model);
}

struct comparison {
    double error;  /* largest difference, relative to the largest element */
    double cosine; /* smallest */
};

static void add_comparison(struct comparison *c, const float *a, const double *b, size_t n)
{
    double largest = 0, error = 0, dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(b[i]));
        error = fmax(error, fabs((double)a[i] - b[i]));
        dot += (double)a[i] * b[i];
        aa += (double)a[i] * (double)a[i];
        bb += b[i] * b[i];
    }
    c->error = fmax(c->error, error / largest);
    c->cosine = fmin(c->cosine, dot / sqrt(aa * bb));
}

static struct comparison compare(const struct tiny_model *tiny)
{
    struct comparison c = {0, 1};
    slm_model *model = open_tiny(tiny);
    struct slm_mapping map;
    struct slm_file file;
    must(slm_map_path(&map, tiny_model_path(tiny), true, NULL));
    must(slm_file_parse(&file, map.data, map.length));
    struct texts texts;
    struct vectors v;
    make_texts(&texts, tiny);
    make_room(&v, model);
    struct way way = {.threads = 2, .kv_type = SLM_KV_F32};
    slm_ctx *ctx = make_context(model, &way, 700, 8);
    compute(&v, ctx, &texts, N_TEXTS);
    for (size_t i = 0; i < N_TEXTS; i++) {
        size_t n_first = firsts[i] && tiny->n_token_types > 1 ? firsts[i] : lengths[i];
        double *hidden = reference_hidden(&file, texts.tokens[i], lengths[i], n_first);
        double *pooled = reference_pooled(&file, hidden, lengths[i]);
        double *scores = reference_scores(&file, pooled);
        add_comparison(&c, v.pooled + i * v.dim, pooled, v.dim);
        add_comparison(&c, v.scores + i * v.n_scores, scores, v.n_scores);
        if (lengths[i] == LONGEST && !(tiny->parts & SLM_MODEL_UNIT_LENGTH))
            add_comparison(&c, v.all, hidden, LONGEST * v.dim);
        free(hidden);
        free(pooled);
        free(scores);
    }
    slm_ctx_free(ctx);
    free_vectors(&v);
    free_texts(&texts);
    slm_unmap(&map);
    slm_model_unref(model);
    return c;
}

static void in_floats(void **state)
{
    struct tiny_model floats = *(const struct tiny_model *)*state;
    char name[64];
    snprintf(name, sizeof name, "%s-f32", floats.name);
    floats.name = name;
    floats.types[0] = SLM_TYPE_F32;
    floats.n_types = 1;
    struct comparison c = compare(&floats);
    if (!(c.error < 2e-5))
        fail_msg("off by %g of the largest element", c.error);
}

static void as_it_is(void **state)
{
    struct comparison c = compare(*state);
    if (!(c.cosine > 0.98))
        fail_msg("the cosine falls to %g", c.cosine);
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction test;
    } slots[] = {{"same bits", same_bits}, {"in f32", in_floats}, {"as it is", as_it_is}};
    static struct CMUnitTest tests[MAX_TESTS];
    static char names[MAX_TESTS][64];
    size_t n = 0;
    for (const struct tiny_model *m = tiny_embedders; m->name; m++)
        for (size_t i = 0; i < 3; i++, n++) {
            snprintf(names[n], sizeof names[n], "%s: %s", m->name, slots[i].name);
            tests[n] = (struct CMUnitTest){names[n], slots[i].test, NULL, NULL, (void *)(uintptr_t)m};
        }
    return _cmocka_run_group_tests("embed", tests, n, NULL, NULL);
}
