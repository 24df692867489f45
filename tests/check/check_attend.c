/*
 * check_attend.c - attention: one span, many rows, every way in which rows can see different
 * positions; and whole contexts against a naive softmax.
 *
 * Pages lie shuffled in a pool whose unused bytes are NaN. A kernel that lets a position in which
 * it must not see, or a page of somebody else, shows it at once.
 */
#include "check/check.h"

#include "base/bits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* One KV head of one layer: a context of `length` positions in shuffled pages. */
struct context {
    uint32_t kv_type;
    size_t head_dim, stride, length, n_pages;
    size_t element, page_bytes, values_offset;
    struct guarded pool;
    uint32_t *pages;      /* [n_pages of the sequence] */
    float *keys, *values; /* [length][head_dim] as stored */
};

static float through_kv(float x, uint32_t kv_type)
{
    return kv_type == SLM_KV_F32 ? x : slm_f16_to_f32(slm_f32_to_f16(x));
}

static void put(const struct context *c, void *at, float x)
{
    uint16_t half = slm_f32_to_f16(x);
    if (c->kv_type == SLM_KV_F32)
        memcpy(at, &x, 4);
    else
        memcpy(at, &half, 2);
}

static struct context make_context(struct random *r, uint32_t kv_type, size_t head_dim,
                                   size_t length)
{
    struct context c = {.kv_type = kv_type, .head_dim = head_dim, .length = length};
    c.stride = slm_round_up(head_dim, 16);
    c.element = kv_type == SLM_KV_F32 ? 4 : 2;
    c.values_offset = slm_round_up(head_dim * SLM_PAGE * c.element, 64);
    /* Another head's part and a gap follow before the next page. */
    c.page_bytes = c.values_offset + c.stride * SLM_PAGE * c.element + 64 * random_between(r, 0, 3);
    size_t used = (length + SLM_PAGE - 1) / SLM_PAGE;
    c.n_pages = used + random_between(r, 0, 3);
    c.pool = guarded_input(c.n_pages * c.page_bytes);
    for (size_t i = 0; i < c.pool.size / c.element; i++)
        put(&c, (uint8_t *)c.pool.data + i * c.element, NAN);

    uint32_t *order = malloc(c.n_pages * sizeof *order);
    for (uint32_t i = 0; i < c.n_pages; i++) {
        size_t j = random_between(r, 0, i);
        order[i] = order[j];
        order[j] = i;
    }
    c.pages = order; /* beyond `used` stand pages of others, as in a table that shrank */

    c.keys = malloc(length * head_dim * sizeof *c.keys);
    c.values = malloc(length * head_dim * sizeof *c.values);
    for (size_t p = 0; p < length; p++) {
        uint8_t *page = (uint8_t *)c.pool.data + c.pages[p / SLM_PAGE] * c.page_bytes;
        uint8_t *values = page + c.values_offset + p % SLM_PAGE * c.stride * c.element;
        for (size_t d = 0; d < c.stride; d++) {
            float k = random_normal(r), v = random_normal(r);
            put(&c, values + d * c.element, d < head_dim ? v : 0);
            if (d >= head_dim)
                continue;
            put(&c, page + (d * SLM_PAGE + p % SLM_PAGE) * c.element, k);
            c.keys[p * head_dim + d] = through_kv(k, kv_type);
            c.values[p * head_dim + d] = through_kv(v, kv_type);
        }
    }
    guarded_seal(&c.pool);
    return c;
}

static void free_context(struct context *c)
{
    guarded_free(&c->pool);
    free(c->pages);
    free(c->keys);
    free(c->values);
}

/* Query rows and what they see. */
struct queries {
    size_t n;
    struct guarded query[SLM_TILE_ROWS]; /* each ends at a forbidden page */
    size_t begin[SLM_TILE_ROWS], end[SLM_TILE_ROWS];
    float scale, cap, slope[SLM_TILE_ROWS]; /* cap and slopes 0: none */
};

/* Ends ascend as those of a prompt's rows do; several heads of one position have the same. */
static struct queries make_queries(struct random *r, const struct context *c, size_t n)
{
    struct queries q = {.n = n, .scale = 1 / sqrtf((float)c->head_dim)};
    size_t heads = random_between(r, 1, 4), positions = (n + heads - 1) / heads;
    size_t last = random_between(r, positions < c->length ? positions : c->length, c->length);
    size_t window = random_between(r, 0, 2) ? 0 : random_between(r, 1, c->length);
    q.cap = random_between(r, 0, 2) ? 0 : 1.5f;
    bool sloped = random_between(r, 0, 2) == 0;
    for (size_t i = 0; i < n; i++) {
        size_t back = positions - 1 - i / heads;
        q.slope[i] = sloped ? random_unit(r) * 0.1f : 0;
        q.end[i] = last > back ? last - back : 1;
        q.begin[i] = window && q.end[i] > window ? q.end[i] - window : 0;
        q.query[i] = guarded_input(c->head_dim * sizeof(float));
        for (size_t d = 0; d < c->head_dim; d++)
            ((float *)q.query[i].data)[d] = random_normal(r) * 2;
        guarded_seal(&q.query[i]);
    }
    return q;
}

static void free_queries(struct queries *q)
{
    for (size_t i = 0; i < q->n; i++)
        guarded_free(&q->query[i]);
}

/* What one span gives, between canaries. */
struct result {
    struct guarded largest, total, out, scores;
};

static struct result run(const struct slm_kern *kern, const struct context *c,
                         const struct queries *q, size_t first, size_t n, size_t span)
{
    struct result result = {
        guarded_output(n * sizeof(float)),
        guarded_output(n * sizeof(float)),
        guarded_output(n * c->stride * sizeof(float)),
        guarded_output(SLM_TILE_ROWS * SLM_SPAN * sizeof(float)),
    };
    for (size_t i = 0; i < SLM_TILE_ROWS * SLM_SPAN; i++) /* as left by somebody else */
        ((float *)result.scores.data)[i] = NAN;
    struct slm_attend a = {
        .kv_type = c->kv_type,
        .head_dim = c->head_dim,
        .value_stride = c->stride,
        .plane = c->pool.data,
        .page_bytes = c->page_bytes,
        .values_offset = c->values_offset,
        .pages = c->pages,
        .n_rows = n,
        .scale = q->scale,
        .cap = q->cap,
        .sloped = q->slope[0] != 0,
        .scores = result.scores.data,
        .largest = result.largest.data,
        .total = result.total.data,
    };
    for (size_t i = 0; i < n; i++) {
        a.query[i] = q->query[first + i].data;
        a.begin[i] = q->begin[first + i];
        a.end[i] = q->end[first + i];
        a.slope[i] = q->slope[first + i];
        a.out[i] = (float *)result.out.data + i * c->stride;
    }
    kern->attend(&a, span);
    assert_true(guarded_check(&result.largest));
    assert_true(guarded_check(&result.total));
    assert_true(guarded_check(&result.out));
    assert_true(guarded_check(&result.scores));
    return result;
}

static void free_result(struct result *result)
{
    guarded_free(&result->largest);
    guarded_free(&result->total);
    guarded_free(&result->out);
    guarded_free(&result->scores);
}

/* One row of one span in double precision. */
/* Score of a position after soft cap and slope. */
static double adjusted(const struct queries *q, size_t row, size_t p, double score)
{
    if (q->cap > 0)
        score = (double)q->cap * tanh(score / (double)q->cap);
    return score - (double)q->slope[row] * (double)(q->end[row] - 1 - p);
}

static void span_oracle(const struct context *c, const struct queries *q, size_t row, size_t span,
                        const struct result *result)
{
    const float *query = q->query[row].data;
    size_t from = span * SLM_SPAN, to = from + SLM_SPAN;
    from = from > q->begin[row] ? from : q->begin[row];
    to = to < q->end[row] ? to : q->end[row];
    float largest = ((float *)result->largest.data)[row],
          total = ((float *)result->total.data)[row];
    const float *out = (float *)result->out.data + row * c->stride;
    if (from >= to) {
        assert_true(largest == -INFINITY && total == 0);
        for (size_t d = 0; d < c->stride; d++)
            assert_true(out[d] == 0);
        return;
    }
    double *score = malloc((to - from) * sizeof *score), top = -INFINITY, sum = 0, error = 0;
    for (size_t p = from; p < to; p++) {
        double dot = 0, magnitude = 0;
        for (size_t d = 0; d < c->head_dim; d++) {
            dot += (double)query[d] * (double)c->keys[p * c->head_dim + d];
            magnitude += fabs((double)query[d] * (double)c->keys[p * c->head_dim + d]);
        }
        score[p - from] = adjusted(q, row, p, dot * (double)q->scale);
        top = fmax(top, score[p - from]);
        error = fmax(error, magnitude * (double)q->scale * (double)(c->head_dim + 2) * 0x1p-24 +
                                (fabs(score[p - from]) + (double)q->cap * 4) * 0x1p-23);
    }
    assert_true(fabs((double)largest - top) <= error);
    /* An error e of a score is a factor 1 + e of its weight; two of them meet in a difference. */
    double relative = 2 * error + 1e-6 + (double)SLM_SPAN * 0x1p-24;
    for (size_t p = from; p < to; p++)
        sum += exp(score[p - from] - (double)largest);
    assert_true(fabs((double)total - sum) <= relative * sum);
    for (size_t d = 0; d < c->stride; d++) {
        double expected = 0, magnitude = 0;
        for (size_t p = from; p < to && d < c->head_dim; p++) {
            double term =
                exp(score[p - from] - (double)largest) * (double)c->values[p * c->head_dim + d];
            expected += term;
            magnitude += fabs(term);
        }
        assert_true(fabs((double)out[d] - expected) <= relative * magnitude);
    }
    free(score);
}

static const size_t head_dims[] = {8, 16, 40, 64, 80, 128, 1, 20};
enum { N_HEAD_DIMS = sizeof head_dims / sizeof *head_dims };

void check_attend(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 12 * N_HEAD_DIMS; i++) {
        struct context c = make_context(&r, i & 1 ? SLM_KV_F32 : SLM_KV_F16,
                                        head_dims[i % N_HEAD_DIMS], random_between(&r, 1, 800));
        for (size_t n = 1; n <= SLM_TILE_ROWS; n += 1 + i % 2) {
            struct queries q = make_queries(&r, &c, n);
            for (size_t span = 0; span <= (c.length - 1) / SLM_SPAN; span++) {
                struct result expected = run(check->c, &c, &q, 0, n, span);
                struct result got = run(check->kern, &c, &q, 0, n, span);
                bool equal =
                    !memcmp(got.largest.data, expected.largest.data, expected.largest.size) &&
                    !memcmp(got.total.data, expected.total.data, expected.total.size) &&
                    !memcmp(got.out.data, expected.out.data, expected.out.size);
                if (!equal)
                    fail_msg("%s: other bits than plain C: head_dim %zu, %zu rows, span %zu",
                             check->name, c.head_dim, n, span);
                for (size_t row = 0; row < n && check->kern == check->c; row++)
                    span_oracle(&c, &q, row, span, &got); /* the other tiers have equal bits */
                free_result(&expected);
                free_result(&got);
            }
            free_queries(&q);
        }
        free_context(&c);
    }
}

/* A row's result does not depend on its neighbours. */
void check_attend_alone(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 6 * N_HEAD_DIMS; i++) {
        struct context c = make_context(&r, i & 1 ? SLM_KV_F32 : SLM_KV_F16,
                                        head_dims[i % N_HEAD_DIMS], random_between(&r, 1, 600));
        struct queries q = make_queries(&r, &c, random_between(&r, 2, SLM_TILE_ROWS));
        for (size_t span = 0; span <= (c.length - 1) / SLM_SPAN; span++) {
            struct result together = run(check->kern, &c, &q, 0, q.n, span);
            for (size_t row = 0; row < q.n; row++) {
                struct result alone = run(check->kern, &c, &q, row, 1, span);
                assert_memory_equal(alone.largest.data, (float *)together.largest.data + row, 4);
                assert_memory_equal(alone.total.data, (float *)together.total.data + row, 4);
                assert_memory_equal(alone.out.data, (float *)together.out.data + row * c.stride,
                                    c.stride * sizeof(float));
                free_result(&alone);
            }
            free_result(&together);
        }
        free_queries(&q);
        free_context(&c);
    }
}

/* --------------------------------------------------------------- whole contexts --- */

/* One query over all of a long context: spans, merged in order, against a naive softmax. */
void check_attention(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 3 * N_HEAD_DIMS; i++) {
        struct context c = make_context(&r, i & 1 ? SLM_KV_F32 : SLM_KV_F16,
                                        head_dims[i % N_HEAD_DIMS], random_between(&r, 1, 2000));
        struct queries q = make_queries(&r, &c, 1);
        float largest = -INFINITY, total = 0;
        float *out = calloc(c.stride, sizeof *out);
        for (size_t span = 0; span <= (q.end[0] - 1) / SLM_SPAN; span++) {
            struct result one = run(check->kern, &c, &q, 0, 1, span);
            check->kern->attend_merge(&largest, &total, out, *(float *)one.largest.data,
                                      *(float *)one.total.data, one.out.data, c.stride);
            free_result(&one);
        }
        double top = -INFINITY, sum = 0;
        double *weight = malloc(c.length * sizeof *weight);
        const float *query = q.query[0].data;
        for (size_t p = q.begin[0]; p < q.end[0]; p++) {
            double dot = 0;
            for (size_t d = 0; d < c.head_dim; d++)
                dot += (double)query[d] * (double)c.keys[p * c.head_dim + d];
            weight[p] = adjusted(&q, 0, p, dot * (double)q.scale);
            top = fmax(top, weight[p]);
        }
        for (size_t p = q.begin[0]; p < q.end[0]; p++)
            sum += weight[p] = exp(weight[p] - top);
        for (size_t d = 0; d < c.head_dim; d++) {
            double expected = 0;
            for (size_t p = q.begin[0]; p < q.end[0]; p++)
                expected += weight[p] / sum * (double)c.values[p * c.head_dim + d];
            double got = (double)out[d] / (double)total;
            if (!(fabs(got - expected) <= 5e-5))
                fail_msg("dimension %zu of %zu: %g, not %g", d, c.head_dim, got, expected);
        }
        free(weight);
        free(out);
        free_queries(&q);
        free_context(&c);
    }
}

void check_attend_merge(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 300; i++) {
        size_t n = 16 * random_between(&r, 1, 9);
        struct guarded span = guarded_input(n * sizeof(float));
        struct guarded a = guarded_output(n * sizeof(float)), b = guarded_output(n * sizeof(float));
        for (size_t j = 0; j < n; j++) {
            ((float *)span.data)[j] = random_normal(&r);
            ((float *)a.data)[j] = random_normal(&r);
        }
        guarded_seal(&span);
        float spread = i % 3 ? 3.0f : 200.0f; /* far apart: one side's factor becomes 0 */
        float largest = i % 5 == 1 ? -INFINITY : random_normal(&r) * spread, largest_c = largest;
        float added = i % 5 == 2 ? -INFINITY : random_normal(&r) * spread;
        float total = largest > -INFINITY ? 1 + fabsf(random_normal(&r)) : 0, total_c = total;
        float total_before = total, largest_before = largest, span_total = 2.5f;
        if (largest == -INFINITY)
            memset(a.data, 0, a.size);
        float *before = malloc(n * sizeof *before);
        memcpy(before, a.data, a.size);
        memcpy(b.data, a.data, a.size);
        check->c->attend_merge(&largest_c, &total_c, b.data, added, span_total, span.data, n);
        check->kern->attend_merge(&largest, &total, a.data, added, span_total, span.data, n);
        assert_true(guarded_check(&a) && guarded_check(&b));
        assert_memory_equal(a.data, b.data, a.size);
        assert_memory_equal(&largest, &largest_c, sizeof largest);
        assert_memory_equal(&total, &total_c, sizeof total);

        double top = fmax((double)largest_before, (double)added);
        double f = top > -INFINITY ? exp((double)largest_before - top) : 1;
        double g = top > -INFINITY ? exp((double)added - top) : 0;
        assert_true((double)largest == top);
        assert_true(fabs((double)total - (f * (double)total_before + g * 2.5)) <=
                    1e-6 * (double)total);
        for (size_t j = 0; j < n; j++) {
            double x = f * (double)before[j], y = g * (double)((float *)span.data)[j];
            assert_true(fabs((double)((float *)a.data)[j] - (x + y)) <=
                        1e-6 * (fabs(x) + fabs(y)) + 1e-37);
        }
        free(before);
        guarded_free(&span);
        guarded_free(&a);
        guarded_free(&b);
    }
}

/* ------------------------------------------------------------------- kv_store --- */

static float kv_value(struct random *r, size_t i)
{
    switch (i % 4) {
    case 0: return random_finite(r);          /* mostly beyond half precision, or below it */
    case 1: return random_unit(r) * 70000;    /* around its end */
    case 2: return random_unit(r) * 0x1p-14f; /* its denormals */
    default: return random_normal(r);
    }
}

/* What half precision makes of x; beyond 65504 it is held there. */
static uint16_t expected_half(float x)
{
    return slm_f32_to_f16(fminf(fmaxf(x, -65504.0f), 65504.0f));
}

void check_kv_store(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 400; i++) {
        uint32_t kv_type = i & 1 ? SLM_KV_F32 : SLM_KV_F16;
        size_t element = kv_type == SLM_KV_F32 ? 4 : 2;
        size_t dim = i % 3 ? head_dims[i % N_HEAD_DIMS] : random_between(&r, 1, 130);
        size_t stride = slm_round_up(dim, 16), slot = random_between(&r, 0, SLM_PAGE - 1);
        struct guarded key = guarded_input(dim * sizeof(float));
        struct guarded value = guarded_input(dim * sizeof(float));
        for (size_t d = 0; d < dim; d++) {
            ((float *)key.data)[d] = kv_value(&r, i / 2 + d);
            ((float *)value.data)[d] = kv_value(&r, i / 2 + d);
        }
        guarded_seal(&key);
        guarded_seal(&value);
        struct guarded keys = guarded_output(dim * SLM_PAGE * element);
        struct guarded values = guarded_output(stride * SLM_PAGE * element);
        struct guarded keys_before = guarded_output(keys.size),
                       values_before = guarded_output(values.size);
        memcpy(keys_before.data, keys.data, keys.size);
        memcpy(values_before.data, values.data, values.size);
        check->kern->kv_store(keys.data, values.data, slot, key.data, value.data, dim, kv_type);
        assert_true(guarded_check(&keys) && guarded_check(&values));
        for (size_t p = 0; p < SLM_PAGE; p++)
            for (size_t d = 0; d < stride; d++) {
                float k = d < dim ? ((float *)key.data)[d] : 0;
                float v = d < dim ? ((float *)value.data)[d] : 0;
                uint16_t half_k = expected_half(k), half_v = expected_half(v);
                size_t at_k = (d * SLM_PAGE + p) * element, at_v = (p * stride + d) * element;
                const void *expect_k = kv_type == SLM_KV_F32 ? (void *)&k : &half_k;
                const void *expect_v = kv_type == SLM_KV_F32 ? (void *)&v : &half_v;
                if (p != slot) { /* the other positions are as they were */
                    expect_k = (uint8_t *)keys_before.data + at_k;
                    expect_v = (uint8_t *)values_before.data + at_v;
                }
                if (d < dim)
                    assert_memory_equal((uint8_t *)keys.data + at_k, expect_k, element);
                assert_memory_equal((uint8_t *)values.data + at_v, expect_v, element);
            }
        guarded_free(&key);
        guarded_free(&value);
        guarded_free(&keys);
        guarded_free(&values);
        guarded_free(&keys_before);
        guarded_free(&values_before);
    }
}
