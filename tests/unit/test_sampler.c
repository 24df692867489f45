/*
 * test_sampler.c - the sampler against a naive one: double precision, libm, everything sorted.
 *
 * The kept set is made visible by a very high temperature, at which every kept token is drawn
 * equally often. Random numbers are compared with the numbers that PCG's author published.
 */
#include "sample/numbers.h"
#include "sample/sampler.h"
#include "sample/softmax.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* A logit vector of a language model's shape: a few peaks over a broad floor. */
static float *make_logits(size_t n, unsigned seed)
{
    float *x = malloc(n * sizeof *x);
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < 6; j++) {
            state = state * 1664525u + 1013904223u;
            sum += (state >> 8) / 16777216.0;
        }
        x[i] = (float)((sum - 3) * 4);
    }
    return x;
}

static struct slm_sampler *make_sampler(size_t n, slm_sampler_options options)
{
    struct slm_sampler *s = NULL;
    assert_int_equal(slm_sampler_check(&options, n), SLM_OK);
    assert_int_equal(slm_sampler_create(&s, n, &options, NULL), SLM_OK);
    return s;
}

static slm_token choose(struct slm_sampler *s, const float *logits)
{
    slm_choice choice = {0};
    assert_int_equal(slm_sampler_choose(s, logits, &choice), SLM_OK);
    return choice.token;
}

/* ------------------------------------------------------------------ numbers and random --- */

static void test_random_published(void **state)
{
    (void)state;
    /* pcg32-demo, seeded with 42 and 54, round 1. */
    const uint32_t expected[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330,
                                 0x83d2f293, 0xbfa4784b, 0xcbed606e};
    struct slm_random random;
    slm_random_seed(&random, 42, 54);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(slm_random_u32(&random), expected[i]);
}

static void test_random_unit(void **state)
{
    (void)state;
    struct slm_random random;
    slm_random_seed(&random, 1, 54);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double u = slm_random_unit(&random);
        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.005); /* five standard errors */
}

static void test_exp(void **state)
{
    (void)state;
    for (double x = -87; x <= 1; x += 1e-4) {
        float y = (float)x;
        slm_exp_all(&y, 1);
        double error = fabs((double)y / exp((double)(float)x) - 1);
        assert_true(error < 2e-7 + 1e-7 * fabs(x));
    }
    float ends[5] = {0, -0.0f, -87, -1000, -INFINITY};
    slm_exp_all(ends, 5);
    assert_true(ends[0] == 1 && ends[1] == 1);
    assert_true(ends[2] >= FLT_MIN && ends[3] == ends[2] && ends[4] == ends[2]);
}

static void test_log(void **state)
{
    (void)state;
    assert_true(slm_log_double(1.0) == 0);
    for (double x = 1e-290; x < 1e290; x *= 1.01)
        assert_true(fabs(slm_log_double(x) - log(x)) <= 4.5e-16 * fabs(log(x)));
    for (double x = 0.5; x < 2; x += 1e-4)
        assert_true(fabs(slm_log_double(x) - log(x)) <= 4.5e-16 * fabs(log(x)) + 1e-300);
}

/* ------------------------------------------------------------------------------ softmax --- */

static void test_softmax_against_libm(void **state)
{
    (void)state;
    const size_t sizes[] = {1, 2, 15, 16, 17, 512, 1023, 1024, 1025, 5000, 49152};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k];
        float *x = make_logits(n, (unsigned)k);
        if (n > 100)
            x[7] = -INFINITY;
        size_t best = 0;
        for (size_t i = 0; i < n; i++)
            best = x[i] > x[best] ? i : best;
        double sum = 0, weighted = 0;
        for (size_t i = 0; i < n; i++) {
            double d = (double)x[i] - (double)x[best];
            sum += exp(d);
            weighted += isinf(d) ? 0 : d * exp(d);
        }
        struct slm_softmax got;
        assert_int_equal(slm_softmax_of(&got, x, n), SLM_OK);
        assert_int_equal(got.best, best);
        assert_true(got.max == x[best]);
        assert_true(fabs(got.log_sum - log(sum)) < 5e-7);
        assert_true(fabs(got.entropy - (log(sum) - weighted / sum)) < 2e-6);
        free(x);
    }
}

static void test_softmax_ties_and_ends(void **state)
{
    (void)state;
    struct slm_softmax got;
    float *x = calloc(3000, sizeof *x); /* all equal: the lowest id, ln n */
    assert_int_equal(slm_softmax_of(&got, x, 3000), SLM_OK);
    assert_int_equal(got.best, 0);
    assert_true(fabs(got.entropy - log(3000)) < 1e-6);
    x[2999] = 1;
    x[1030] = 1;
    assert_int_equal(slm_softmax_of(&got, x, 3000), SLM_OK);
    assert_int_equal(got.best, 1030);
    /* One token has everything. */
    for (int i = 0; i < 3000; i++)
        x[i] = -FLT_MAX;
    x[5] = FLT_MAX;
    assert_int_equal(slm_softmax_of(&got, x, 3000), SLM_OK);
    assert_int_equal(got.best, 5);
    assert_true(got.entropy < 1e-6 && got.log_sum < 1e-6);
    free(x);
}

static void test_bad_logits(void **state)
{
    (void)state;
    struct slm_softmax got;
    for (size_t at = 0; at < 1100; at += 73) {
        float *x = make_logits(1100, 3);
        x[at] = NAN;
        assert_int_equal(slm_softmax_of(&got, x, 1100), SLM_EINVAL);
        assert_non_null(strstr(slm_last_error(), "is NaN"));
        x[at] = INFINITY;
        assert_int_equal(slm_softmax_of(&got, x, 1100), SLM_EINVAL);
        assert_non_null(strstr(slm_last_error(), "is +infinity"));
        free(x);
    }
    float none[40];
    for (int i = 0; i < 40; i++)
        none[i] = -INFINITY;
    assert_int_equal(slm_softmax_of(&got, none, 40), SLM_ESTATE);
    assert_non_null(strstr(slm_last_error(), "every token is forbidden"));
}

/* -------------------------------------------------------------------------- candidates --- */

struct pair {
    float logit;
    int token;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

/* All tokens, the best first. */
static struct pair *sorted(const float *x, size_t n)
{
    struct pair *pairs = malloc(n * sizeof *pairs);
    for (size_t i = 0; i < n; i++)
        pairs[i] = (struct pair){x[i], (int)i};
    qsort(pairs, n, sizeof *pairs, compare_pairs);
    return pairs;
}

static void test_top_k_sorted(void **state)
{
    (void)state;
    enum { N = 3000 };
    float *x = make_logits(N, 9);
    for (int i = 0; i < N; i++)
        x[i] = roundf(x[i]); /* many ties */
    struct pair *expected = sorted(x, N);
    const size_t ks[] = {0, 1, 2, 40, 1000, N, N + 5};
    for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
        size_t k = ks[j] < N ? ks[j] : N;
        float logits[N];
        slm_token tokens[N];
        struct slm_candidates c = {logits, tokens, 0};
        slm_top_k(&c, ks[j], x, N);
        assert_int_equal(c.n, k);
        if (k > 0)
            assert_int_equal(tokens[0], expected[k - 1].token);
        slm_candidates_sort(&c);
        for (size_t i = 0; i < k; i++)
            assert_int_equal(tokens[i], expected[i].token);
    }
    free(expected);
    free(x);
}

/* ------------------------------------------------------------------------ the kept set --- */

/* How many of the best are kept, by the definition in slm.h; every step sums up anew. */
static size_t naive_kept(const struct pair *best, size_t n, slm_sampler_options o)
{
    size_t kept = n;
    if (o.top_k > 0 && (size_t)o.top_k < kept)
        kept = (size_t)o.top_k;
    if (o.top_p > 0 && o.top_p < 1) {
        double total = 0, sum = 0;
        for (size_t i = 0; i < kept; i++)
            total += exp((double)best[i].logit - (double)best[0].logit);
        for (size_t i = 0; i < kept; i++) {
            sum += exp((double)best[i].logit - (double)best[0].logit);
            if (sum >= (double)o.top_p * total)
                kept = i + 1;
        }
    }
    if (o.min_p > 0) {
        size_t i = 0;
        while (i < kept && exp((double)best[i].logit - (double)best[0].logit) >= (double)o.min_p)
            i++;
        kept = i;
    }
    return kept;
}

static void check_kept(const float *x, size_t n, slm_sampler_options o)
{
    struct pair *best = sorted(x, n);
    size_t kept = naive_kept(best, n, o);
    o.temperature = 1e9f; /* all weights equal */
    o.seed = 1234;
    struct slm_sampler *s = make_sampler(n, o);
    char *seen = calloc(n, 1);
    for (size_t i = 0; i < kept * 20 + 50; i++) /* misses one with e^-20 */
        seen[choose(s, x)] = 1;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(seen[best[i].token], i < kept);
    free(seen);
    slm_sampler_destroy(s);
    free(best);
}

static void test_kept_sets(void **state)
{
    (void)state;
    const slm_sampler_options options[] = {
        {.top_k = 1},
        {.top_k = 40},
        {.top_p = 0.5f},
        {.top_p = 0.95f},
        {.top_p = 1e-9f},
        {.min_p = 0.05f},
        {.min_p = 1.0f},
        {.top_k = 30, .top_p = 0.7f},
        {.top_k = 30, .top_p = 0.9f, .min_p = 0.2f},
        {.top_p = 0.8f, .min_p = 0.01f},
        {0},
    };
    for (unsigned seed = 0; seed < 3; seed++) {
        float *x = make_logits(700, seed + 20);
        if (seed == 2)
            for (int i = 0; i < 700; i++)
                x[i] = roundf(x[i]); /* ties at every border */
        for (size_t i = 0; i < sizeof options / sizeof *options; i++)
            check_kept(x, 700, options[i]);
        free(x);
    }
}

static void test_top_p_is_the_smallest_set(void **state)
{
    (void)state;
    /* 0.4, 0.3, 0.2, 0.1 in scrambled order. */
    const float x[4] = {logf(0.2f), logf(0.4f), logf(0.1f), logf(0.3f)};
    check_kept(x, 4, (slm_sampler_options){.top_p = 0.39f});
    check_kept(x, 4, (slm_sampler_options){.top_p = 0.41f});
    check_kept(x, 4, (slm_sampler_options){.top_p = 0.69f});
    check_kept(x, 4, (slm_sampler_options){.top_p = 0.71f});
    check_kept(x, 4, (slm_sampler_options){.top_p = 0.91f});
    /* Over top-k's two, 0.4 has 4/7: top-p sees what top-k left. */
    check_kept(x, 4, (slm_sampler_options){.top_k = 2, .top_p = 0.55f});
    check_kept(x, 4, (slm_sampler_options){.top_k = 2, .top_p = 0.6f});
}

/* Frequencies of 100,000 draws against the exact probabilities at a temperature. */
static void test_distribution(void **state)
{
    (void)state;
    enum { N = 37, DRAWS = 100000 };
    float *x = make_logits(N, 5);
    struct slm_sampler *s = make_sampler(N, (slm_sampler_options){.temperature = 1.7f, .seed = 3});
    double p[N], total = 0, chi = 0;
    int count[N] = {0};
    for (int i = 0; i < N; i++)
        total += p[i] = exp((double)x[i] / (double)1.7f);
    for (int i = 0; i < DRAWS; i++)
        count[choose(s, x)]++;
    for (int i = 0; i < N; i++) {
        double expected = DRAWS * p[i] / total;
        chi += (count[i] - expected) * (count[i] - expected) / expected;
    }
    assert_true(chi < 36 + 5 * sqrt(72)); /* mean and five standard deviations of chi square */
    slm_sampler_destroy(s);
    free(x);
}

static void test_seed(void **state)
{
    (void)state;
    float *x = make_logits(2000, 8);
    const slm_sampler_options o = {.temperature = 1, .top_p = 0.9f, .seed = 77};
    struct slm_sampler *a = make_sampler(2000, o), *b = make_sampler(2000, o);
    slm_token first[50];
    for (int i = 0; i < 50; i++) {
        first[i] = choose(a, x);
        assert_int_equal(first[i], choose(b, x));
    }
    slm_sampler_restart(a);
    for (int i = 0; i < 50; i++)
        assert_int_equal(first[i], choose(a, x));
    struct slm_sampler *c =
        make_sampler(2000, (slm_sampler_options){.temperature = 1, .top_p = 0.9f, .seed = 78});
    int same = 0;
    for (int i = 0; i < 50; i++)
        same += choose(c, x) == first[i];
    assert_true(same < 25);
    slm_sampler_destroy(a);
    slm_sampler_destroy(b);
    slm_sampler_destroy(c);
    free(x);
}

/* Every line of sampler.txt: what an independent sampler draws, token by token. */
static void check_golden(char *line)
{
    enum { N = 300 };
    double v[10];
    int used = 0;
    unsigned long long seed;
    assert_int_equal(sscanf(line, "%lf %lf %lf %lf %lf %lf %lf %lf %lf %lf %llu :%n", &v[0], &v[1],
                            &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &seed, &used),
                     11);
    slm_token bias_token = (slm_token)v[8];
    float bias_value = (float)v[9];
    struct slm_sampler *s = make_sampler(N, (slm_sampler_options){
                                                .temperature = (float)v[0],
                                                .top_k = (int32_t)v[1],
                                                .top_p = (float)v[2],
                                                .min_p = (float)v[3],
                                                .repeat_penalty = (float)v[4],
                                                .presence_penalty = (float)v[5],
                                                .frequency_penalty = (float)v[6],
                                                .penalty_window = (int32_t)v[7],
                                                .bias_tokens = &bias_token,
                                                .bias_values = &bias_value,
                                                .n_bias = bias_token >= 0,
                                                .seed = seed,
                                            });
    static uint32_t row;
    uint32_t state = 1000 + row++;
    int n = 0;
    for (char *p = line + used; *p && *p != '\n'; n++) {
        float x[N];
        for (int i = 0; i < N; i++) {
            uint32_t total = 0;
            for (int j = 0; j < 3; j++) {
                state = state * 1664525u + 1013904223u;
                total += state >> 22;
            }
            x[i] = ((float)total - 1536) * 2 / 256;
        }
        assert_int_equal(choose(s, x), strtol(p, &p, 10));
    }
    assert_true(n >= 3);
    slm_sampler_destroy(s);
}

static void test_golden(void **state)
{
    (void)state;
    const char *folder = getenv("SLM_TEST_DATA");
    char path[4096], line[4096];
    snprintf(path, sizeof path, "%s/sampler.txt", folder ? folder : "tests/data");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (line[0] != '#')
            check_golden(line);
    fclose(file);
}

/* ------------------------------------------------------------------- bias and penalties --- */

static void test_greedy_and_logprob(void **state)
{
    (void)state;
    const float x[4] = {logf(0.1f), logf(0.6f), logf(0.05f), logf(0.25f)};
    struct slm_sampler *s = make_sampler(4, (slm_sampler_options){0});
    slm_choice choice;
    assert_int_equal(slm_sampler_choose(s, x, &choice), SLM_OK);
    assert_int_equal(choice.token, 1);
    assert_true(isnan(choice.logprob) && isnan(choice.entropy)); /* nobody asked */
    slm_sampler_destroy(s);

    s = make_sampler(4, (slm_sampler_options){.logprobs = 1});
    assert_int_equal(slm_sampler_choose(s, x, &choice), SLM_OK);
    assert_int_equal(choice.token, 1);
    assert_true(fabsf(choice.logprob - logf(0.6f)) < 1e-6f);
    double entropy = -(0.1 * log(0.1) + 0.6 * log(0.6) + 0.05 * log(0.05) + 0.25 * log(0.25));
    assert_true(fabs((double)choice.entropy - entropy) < 1e-6);
    slm_sampler_destroy(s);
}

static void test_bias(void **state)
{
    (void)state;
    const float x[4] = {logf(0.1f), logf(0.6f), logf(0.05f), logf(0.25f)};
    const slm_token tokens[2] = {1, 0};
    const float values[2] = {-INFINITY, 1};
    struct slm_sampler *s = make_sampler(
        4, (slm_sampler_options){.bias_tokens = tokens, .bias_values = values, .n_bias = 2, .logprobs = 1});
    slm_choice choice;
    assert_int_equal(slm_sampler_choose(s, x, &choice), SLM_OK);
    assert_int_equal(choice.token, 0);                       /* 0.1 e = 0.27 beats 0.25 */
    assert_true(fabsf(choice.logprob - logf(0.1f)) < 1e-6f); /* of the model's own softmax */
    slm_sampler_destroy(s);

    const slm_token all[4] = {0, 1, 2, 3};
    const float never[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    s = make_sampler(4,
                     (slm_sampler_options){.bias_tokens = all, .bias_values = never, .n_bias = 4});
    assert_int_equal(slm_sampler_choose(s, x, &choice), SLM_ESTATE);
    slm_sampler_destroy(s);
}

static void test_repeat_penalty(void **state)
{
    (void)state;
    /* Positive logits are divided, negative ones multiplied: both fall. */
    const float positive[3] = {4, 3, 1}, negative[3] = {-1, -1.5f, -9};
    struct slm_sampler *s = make_sampler(3, (slm_sampler_options){.repeat_penalty = 2});
    assert_int_equal(choose(s, positive), 0);
    assert_int_equal(choose(s, positive), 1); /* 2, 3, 1 */
    assert_int_equal(choose(s, positive), 0); /* 2, 1.5, 1 */
    slm_sampler_restart(s);
    assert_int_equal(choose(s, negative), 0);
    assert_int_equal(choose(s, negative), 1); /* -2, -1.5, -9 */
    assert_int_equal(choose(s, negative), 0); /* -2, -3, -9 */
    slm_sampler_destroy(s);
}

static void test_presence_and_frequency(void **state)
{
    (void)state;
    const float x[2] = {3, 0};
    struct slm_sampler *s = make_sampler(2, (slm_sampler_options){.frequency_penalty = 1});
    for (int i = 0; i < 4; i++)
        assert_int_equal(choose(s, x), 0); /* 3 - i against 0: a tie at the fourth */
    assert_int_equal(choose(s, x), 1);
    slm_sampler_destroy(s);

    s = make_sampler(2, (slm_sampler_options){.presence_penalty = 2.5f});
    for (int i = 0; i < 10; i++)
        assert_int_equal(choose(s, x), 0); /* 3, then 0.5 however often */
    slm_sampler_destroy(s);
}

static void test_window(void **state)
{
    (void)state;
    const float x[3] = {3, 2, 1};
    /* A window of 2 forgets the token before last but one: the three take turns. */
    struct slm_sampler *s =
        make_sampler(3, (slm_sampler_options){.presence_penalty = 9, .penalty_window = 2});
    for (int i = 0; i < 30; i++)
        assert_int_equal(choose(s, x), i % 3);
    slm_sampler_destroy(s);

    /* The default looks back on 64 tokens. */
    s = make_sampler(3, (slm_sampler_options){.presence_penalty = 1.5f});
    slm_sampler_remember(s, 0);
    for (int i = 0; i < 63; i++)
        slm_sampler_remember(s, 2);
    assert_int_equal(choose(s, x), 1); /* 0 is the 64th back: still penalised */
    slm_sampler_restart(s);
    slm_sampler_remember(s, 0);
    for (int i = 0; i < 64; i++)
        slm_sampler_remember(s, 2);
    assert_int_equal(choose(s, x), 0); /* and now forgotten */
    slm_sampler_destroy(s);

    s = make_sampler(3, (slm_sampler_options){.presence_penalty = 9, .penalty_window = -1});
    slm_sampler_remember(s, 0);
    for (int i = 0; i < 1000; i++)
        slm_sampler_remember(s, 2);
    assert_int_equal(choose(s, x), 1); /* everything counts */
    slm_sampler_destroy(s);
}

/* ----------------------------------------------------------------------------- options --- */

static void refuse(slm_sampler_options o, const char *words)
{
    assert_int_equal(slm_sampler_check(&o, 100), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), words));
}

static void test_bad_options(void **state)
{
    (void)state;
    const slm_token out_of_range[1] = {100}, negative[1] = {-1}, fine[1] = {99};
    const float nan_value[1] = {NAN}, infinite[1] = {INFINITY}, one[1] = {1};
    refuse((slm_sampler_options){.temperature = -1}, "temperature is -1, but must be from 0");
    refuse((slm_sampler_options){.temperature = NAN}, "temperature is nan");
    refuse((slm_sampler_options){.temperature = INFINITY}, "temperature is inf");
    refuse((slm_sampler_options){.top_k = -3}, "top_k is -3, but must be 0 (off) or more");
    refuse((slm_sampler_options){.top_p = 1.5f}, "top_p is 1.5, but must be from 0 to 1");
    refuse((slm_sampler_options){.top_p = NAN}, "top_p is nan");
    refuse((slm_sampler_options){.min_p = -0.5f}, "min_p is -0.5");
    refuse((slm_sampler_options){.repeat_penalty = -2}, "repeat_penalty is -2");
    refuse((slm_sampler_options){.presence_penalty = INFINITY}, "presence_penalty is inf");
    refuse((slm_sampler_options){.frequency_penalty = NAN}, "frequency_penalty is nan");
    refuse((slm_sampler_options){.penalty_window = -2}, "penalty_window is -2");
    refuse((slm_sampler_options){.n_bias = 1}, "bias_tokens or bias_values is NULL");
    refuse((slm_sampler_options){.n_bias = 1, .bias_tokens = out_of_range, .bias_values = one},
           "bias_tokens[0] is 100, but token ids are 0 to 99");
    refuse((slm_sampler_options){.n_bias = 1, .bias_tokens = negative, .bias_values = one},
           "bias_tokens[0] is -1");
    refuse((slm_sampler_options){.n_bias = 1, .bias_tokens = fine, .bias_values = nan_value},
           "bias_values[0] is nan");
    refuse((slm_sampler_options){.n_bias = 1, .bias_tokens = fine, .bias_values = infinite},
           "bias_values[0] is inf");
}

/* An error changes nothing: the draws go on as if the bad call had not been. */
static void test_error_leaves_state(void **state)
{
    (void)state;
    float *x = make_logits(500, 4), *bad = make_logits(500, 4);
    bad[499] = NAN;
    const slm_sampler_options o = {.temperature = 2, .repeat_penalty = 1.3f, .seed = 5};
    struct slm_sampler *a = make_sampler(500, o), *b = make_sampler(500, o);
    for (int i = 0; i < 40; i++) {
        slm_choice choice;
        assert_int_equal(slm_sampler_choose(b, bad, &choice), SLM_EINVAL);
        assert_int_equal(choose(a, x), choose(b, x));
    }
    slm_sampler_destroy(a);
    slm_sampler_destroy(b);
    free(x);
    free(bad);
}

static void *no_memory(void *user, size_t size, size_t align)
{
    (void)user, (void)size, (void)align;
    return NULL;
}
static void no_free(void *user, void *p, size_t size)
{
    (void)user, (void)p, (void)size;
}

static void test_no_memory(void **state)
{
    (void)state;
    const slm_allocator a = {no_memory, no_free, NULL};
    struct slm_sampler *s = (void *)1;
    slm_sampler_options o = {.temperature = 1};
    assert_int_equal(slm_sampler_create(&s, 1000, &o, &a), SLM_ENOMEM);
    assert_null(s);
}

/* Not a test: microseconds of one choice, with `test_sampler --bench`. */
static void bench(void)
{
    const struct {
        const char *name;
        slm_sampler_options options;
    } rows[] = {
        {"greedy", {0}},
        {"repeat_penalty", {.repeat_penalty = 1.1f}},
        {"temperature", {.temperature = 1}},
        {"top_k 40", {.temperature = 1, .top_k = 40}},
        {"top_p 0.95", {.temperature = 1, .top_p = 0.95f}},
        {"min_p 0.05", {.temperature = 1, .min_p = 0.05f}},
        {"top_k 40, top_p 0.95", {.temperature = 1, .top_k = 40, .top_p = 0.95f}},
    };
    const size_t sizes[] = {49152, 262144};
    for (size_t k = 0; k < 2; k++) {
        float *x = make_logits(sizes[k], 1);
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            struct slm_sampler *s = make_sampler(sizes[k], rows[r].options);
            struct timespec a, b;
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
            for (int i = 0; i < 300; i++)
                choose(s, x);
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
            double seconds = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
            printf("%7zu logits  %-22s %8.1f us\n", sizes[k], rows[r].name, seconds / 300 * 1e6);
            slm_sampler_destroy(s);
        }
        free(x);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench();
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_published),
        cmocka_unit_test(test_random_unit),
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_softmax_against_libm),
        cmocka_unit_test(test_softmax_ties_and_ends),
        cmocka_unit_test(test_bad_logits),
        cmocka_unit_test(test_top_k_sorted),
        cmocka_unit_test(test_kept_sets),
        cmocka_unit_test(test_top_p_is_the_smallest_set),
        cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_greedy_and_logprob),
        cmocka_unit_test(test_bias),
        cmocka_unit_test(test_repeat_penalty),
        cmocka_unit_test(test_presence_and_frequency),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_error_leaves_state),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
