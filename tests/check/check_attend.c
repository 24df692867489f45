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
    size_t head_dim, blocks, length, n_pages, element;
    struct slm_kv_shape shape;
    struct guarded keys_pool, values_pool;
    uint32_t *pages;      /* [n_pages of the sequence] */
    double *keys, *values; /* [length][32 * blocks] as stored; q8 keys in their own basis */
    double *scales;        /* q8 [length][blocks] of the values */
};

static float through_f16(float x)
{
    return slm_f16_to_f32(slm_f32_to_f16(x));
}

static void put(const struct context *c, void *at, float x)
{
    uint16_t half = slm_f32_to_f16(x);
    if (c->kv_type == SLM_KV_F32)
        memcpy(at, &x, 4);
    else
        memcpy(at, &half, 2);
}

/* Position p of a context in floats, as kern.h says where. */
static void put_floats(struct context *c, struct random *r, size_t p, uint8_t *keys,
                       uint8_t *values)
{
    size_t slot = p % SLM_PAGE;
    for (size_t d = 0; d < c->shape.value_stride; d++) {
        float k = random_normal(r), v = random_normal(r);
        put(c, values + (slot * c->shape.value_stride + d) * c->element, d < c->head_dim ? v : 0);
        if (d >= c->head_dim)
            continue;
        put(c, keys + (d * SLM_PAGE + slot) * c->element, k);
        bool half = c->kv_type == SLM_KV_F16;
        c->keys[p * 32 * c->blocks + d] = (double)(half ? through_f16(k) : k);
        c->values[p * 32 * c->blocks + d] = (double)(half ? through_f16(v) : v);
    }
}

/* The same in q8: any bytes, any scale. */
static void put_bytes(struct context *c, struct random *r, size_t p, uint8_t *keys, uint8_t *values)
{
    size_t slot = p % SLM_PAGE;
    for (size_t b = 0; b < c->blocks; b++) {
        uint8_t *tile = keys + (slot / 16 * c->blocks + b) * 544;
        uint8_t *scales = keys + 2 * c->blocks * 544 + b * 64;
        float ks = through_f16((1 + random_unit(r) / 2) / 64 * 6);
        float vs = through_f16((1 + random_unit(r)) / 64);
        uint16_t half = slm_f32_to_f16(ks);
        memcpy(tile + slot % 16 * 2, &half, 2);
        half = slm_f32_to_f16(vs);
        memcpy(scales + slot * 2, &half, 2);
        c->scales[p * c->blocks + b] = (double)vs;
        for (size_t i = 0; i < 32; i++) {
            size_t d = 32 * b + i;
            int k = (int)random_between(r, 0, 254) - 127, v = (int)random_between(r, 0, 254) - 127;
            v = d < c->head_dim ? v : 0;
            tile[32 + i / 4 * 64 + slot % 16 * 4 + i % 4] = (uint8_t)k;
            if (d < c->shape.value_stride)
                values[d / 16 * 512 + slot / 4 * 64 + d % 16 * 4 + slot % 4] = (uint8_t)v;
            c->keys[p * 32 * c->blocks + d] = (double)ks * k;
            c->values[p * 32 * c->blocks + d] = (double)vs * v;
        }
    }
}

/* What a page holds that nobody wrote: NaN; in q8 bytes that mean something. */
static void fill(const struct context *c, struct random *r, struct guarded *pool)
{
    for (size_t i = 0; i < pool->size / c->element; i++)
        if (c->kv_type == SLM_KV_Q8)
            ((uint8_t *)pool->data)[i] = (uint8_t)random_between(r, 0, 0x7B); /* no infinite f16 */
        else
            put(c, (uint8_t *)pool->data + i * c->element, NAN);
}

static struct context make_context(struct random *r, uint32_t kv_type, size_t head_dim,
                                   size_t length)
{
    struct context c = {.kv_type = kv_type, .head_dim = head_dim, .length = length};
    c.blocks = (head_dim + 31) / 32;
    c.element = kv_type == SLM_KV_F32 ? 4 : kv_type == SLM_KV_F16 ? 2 : 1;
    c.shape = slm_kv_shape(kv_type, head_dim);
    size_t used = (length + SLM_PAGE - 1) / SLM_PAGE;
    c.n_pages = used + random_between(r, 0, 3);
    c.keys_pool = guarded_input(c.n_pages * c.shape.key_bytes);
    c.values_pool = guarded_input(c.n_pages * c.shape.value_bytes);
    fill(&c, r, &c.keys_pool);
    fill(&c, r, &c.values_pool);

    uint32_t *order = malloc(c.n_pages * sizeof *order);
    for (uint32_t i = 0; i < c.n_pages; i++) {
        size_t j = random_between(r, 0, i);
        order[i] = order[j];
        order[j] = i;
    }
    c.pages = order; /* beyond `used` stand pages of others, as in a table that shrank */

    c.keys = calloc(length * 32 * c.blocks, sizeof *c.keys);
    c.values = calloc(length * 32 * c.blocks, sizeof *c.values);
    c.scales = calloc(length * c.blocks, sizeof *c.scales);
    for (size_t p = 0; p < length; p++) {
        uint8_t *keys = (uint8_t *)c.keys_pool.data + c.pages[p / SLM_PAGE] * c.shape.key_bytes;
        uint8_t *values =
            (uint8_t *)c.values_pool.data + c.pages[p / SLM_PAGE] * c.shape.value_bytes;
        (kv_type == SLM_KV_Q8 ? put_bytes : put_floats)(&c, r, p, keys, values);
    }
    guarded_seal(&c.keys_pool);
    guarded_seal(&c.values_pool);
    return c;
}

static void free_context(struct context *c)
{
    guarded_free(&c->keys_pool);
    guarded_free(&c->values_pool);
    free(c->pages);
    free(c->keys);
    free(c->values);
    free(c->scales);
}

/* q8 keys and queries: 32 dimensions times a matrix of 1 and -1, by its definition. */
static void mix(const float *x, size_t n, double *mixed)
{
    for (size_t i = 0; i < 32; i++) {
        mixed[i] = 0;
        for (size_t j = 0; j < n; j++)
            mixed[i] += (double)x[j] * (__builtin_popcountl(i & j) % 2 ? -1 : 1);
    }
}

/* q.k of one position as it should be; *error: how far rounding may take it from that. */
static double dot(const struct context *c, const float *query, size_t p, double *error)
{
    const double *key = c->keys + p * 32 * c->blocks;
    double sum = 0;
    *error = 0;
    if (c->kv_type != SLM_KV_Q8) {
        for (size_t d = 0; d < c->head_dim; d++) {
            sum += (double)query[d] * key[d];
            *error += fabs((double)query[d] * key[d]) * (double)(c->head_dim + 2) * 0x1p-24;
        }
        return sum;
    }
    for (size_t b = 0; b < c->blocks; b++) {
        double mixed[32], largest = 0, sizes = 0;
        size_t n = c->head_dim - 32 * b;
        mix(query + 32 * b, n < 32 ? n : 32, mixed);
        for (size_t i = 0; i < 32; i++) {
            largest = fmax(largest, fabs(mixed[i]));
            sizes += fabs(key[32 * b + i]) / 32;
            sum += mixed[i] * key[32 * b + i] / 32;
        }
        *error += largest / 127 * 0.5001 * sizes; /* queries are rounded to 8 bits */
    }
    return sum;
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
    size_t stride = c->shape.value_stride, scratch = slm_attend_scratch(c->kv_type, c->head_dim);
    struct result result = {
        guarded_output(n * sizeof(float)),
        guarded_output(n * sizeof(float)),
        guarded_output(n * stride * sizeof(float)),
        guarded_output(scratch * sizeof(float)),
    };
    for (size_t i = 0; i < scratch; i++) /* as left by somebody else */
        ((float *)result.scores.data)[i] = NAN;
    struct slm_attend a = {
        .kv_type = c->kv_type,
        .head_dim = c->head_dim,
        .shape = c->shape,
        .keys = c->keys_pool.data,
        .values = c->values_pool.data,
        .pages = c->pages,
        .n_rows = n,
        .scale = q->scale,
        .cap = q->cap,
        .sloped = q->slope[0] != 0,
        .scores = result.scores.data,
        .largest = result.largest.data,
        .total = result.total.data,
    };
    /* Queries, with numbers of rows that are not there beside them, end at a forbidden page. */
    struct guarded query = guarded_input(c->head_dim * SLM_TILE_ROWS * sizeof(float));
    struct guarded bytes = guarded_input(n * 32 * c->blocks);
    struct guarded headers = guarded_input(n * c->blocks * sizeof(struct slm_act_block));
    for (size_t i = 0; i < n; i++) {
        const float *row = q->query[first + i].data;
        for (size_t d = 0; d < c->head_dim; d++)
            ((float *)query.data)[d * SLM_TILE_ROWS + i] = row[d];
        kern->kv_query(row, c->head_dim, (int8_t *)bytes.data + i * 32 * c->blocks,
                       (struct slm_act_block *)headers.data + i * c->blocks);
        a.begin[i] = q->begin[first + i];
        a.end[i] = q->end[first + i];
        a.slope[i] = q->slope[first + i];
        a.out[i] = (float *)result.out.data + i * stride;
    }
    guarded_seal(&query);
    guarded_seal(&bytes);
    guarded_seal(&headers);
    a.query = query.data;
    a.acts = (struct slm_acts){bytes.data, headers.data, 32 * c->blocks};
    kern->attend(&a, span);
    guarded_free(&query);
    guarded_free(&bytes);
    guarded_free(&headers);
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

/* q8: what rounding the weights of a page to 7 bits may do to dimension d. */
static double weight_error(const struct context *c, const double *weight, size_t from, size_t to,
                           size_t d)
{
    double error = 0;
    for (size_t p = from; p < to && c->kv_type == SLM_KV_Q8 && d < c->head_dim;) {
        double largest = 0, bytes = 0;
        size_t page = p / SLM_PAGE;
        for (; p < to && p / SLM_PAGE == page; p++) {
            double scale = c->scales[p * c->blocks + d / 32];
            largest = fmax(largest, weight[p - from] * scale);
            if (scale > 0) /* else all 32 values of the position are 0 */
                bytes += fabs(c->values[p * 32 * c->blocks + d]) / scale;
        }
        error += largest / 127 * 0.5001 * bytes;
    }
    return error;
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
    size_t stride = c->shape.value_stride;
    const float *out = (float *)result->out.data + row * stride;
    if (from >= to) {
        assert_true(largest == -INFINITY && total == 0);
        for (size_t d = 0; d < stride; d++)
            assert_true(out[d] == 0);
        return;
    }
    double *weight = malloc((to - from) * sizeof *weight), top = -INFINITY, sum = 0, error = 0;
    for (size_t p = from; p < to; p++) {
        double e;
        weight[p - from] = adjusted(q, row, p, dot(c, query, p, &e) * (double)q->scale);
        top = fmax(top, weight[p - from]);
        error = fmax(error, e * (double)q->scale +
                                (fabs(weight[p - from]) + (double)q->cap * 4) * 0x1p-23);
    }
    assert_true(fabs((double)largest - top) <= error);
    /* An error e of a score is a factor e^e of its weight; two of them meet in a difference. */
    double relative = expm1(2 * error) + 1e-6 + (double)SLM_SPAN * 0x1p-24;
    for (size_t p = from; p < to; p++) {
        weight[p - from] = exp(weight[p - from] - (double)largest);
        sum += weight[p - from];
    }
    assert_true(fabs((double)total - sum) <= relative * sum);
    for (size_t d = 0; d < stride; d++) {
        double expected = 0, magnitude = 0;
        for (size_t p = from; p < to && d < c->head_dim; p++) {
            double term = weight[p - from] * c->values[p * 32 * c->blocks + d];
            expected += term;
            magnitude += fabs(term);
        }
        assert_true(fabs((double)out[d] - expected) <=
                    relative * magnitude + weight_error(c, weight, from, to, d) * (1 + relative));
    }
    free(weight);
}

static const size_t head_dims[] = {8, 16, 40, 64, 80, 128, 1, 20};
enum { N_HEAD_DIMS = sizeof head_dims / sizeof *head_dims };

/* All three with every head size, in turn. */
static uint32_t kv_type_of(size_t i)
{
    return (uint32_t)((i + i / N_HEAD_DIMS) % 3);
}

void check_attend(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 18 * N_HEAD_DIMS; i++) {
        struct context c =
            make_context(&r, kv_type_of(i), head_dims[i % N_HEAD_DIMS], random_between(&r, 1, 800));
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
    for (size_t i = 0; i < 9 * N_HEAD_DIMS; i++) {
        struct context c =
            make_context(&r, kv_type_of(i), head_dims[i % N_HEAD_DIMS], random_between(&r, 1, 600));
        struct queries q = make_queries(&r, &c, random_between(&r, 2, SLM_TILE_ROWS));
        for (size_t span = 0; span <= (c.length - 1) / SLM_SPAN; span++) {
            struct result together = run(check->kern, &c, &q, 0, q.n, span);
            for (size_t row = 0; row < q.n; row++) {
                struct result alone = run(check->kern, &c, &q, row, 1, span);
                assert_memory_equal(alone.largest.data, (float *)together.largest.data + row, 4);
                assert_memory_equal(alone.total.data, (float *)together.total.data + row, 4);
                assert_memory_equal(alone.out.data,
                                    (float *)together.out.data + row * c.shape.value_stride,
                                    c.shape.value_stride * sizeof(float));
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
    for (size_t i = 0; i < 6 * N_HEAD_DIMS; i++) {
        struct context c = make_context(&r, kv_type_of(i), head_dims[i % N_HEAD_DIMS],
                                        random_between(&r, 1, 2000));
        struct queries q = make_queries(&r, &c, 1);
        float largest = -INFINITY, total = 0;
        float *out = calloc(c.shape.value_stride, sizeof *out);
        for (size_t span = 0; span <= (q.end[0] - 1) / SLM_SPAN; span++) {
            struct result one = run(check->kern, &c, &q, 0, 1, span);
            check->kern->attend_merge(&largest, &total, out, *(float *)one.largest.data,
                                      *(float *)one.total.data, one.out.data, c.shape.value_stride);
            free_result(&one);
        }
        double top = -INFINITY, sum = 0, error = 0;
        double *weight = malloc(c.length * sizeof *weight);
        size_t begin = q.begin[0], end = q.end[0];
        for (size_t p = begin; p < end; p++) {
            double e;
            weight[p] = adjusted(&q, 0, p, dot(&c, q.query[0].data, p, &e) * (double)q.scale);
            top = fmax(top, weight[p]);
            error = fmax(error, e * (double)q.scale);
        }
        for (size_t p = begin; p < end; p++)
            sum += weight[p] = exp(weight[p] - top);
        for (size_t d = 0; d < c.head_dim; d++) {
            double expected = 0, magnitude = 0;
            for (size_t p = begin; p < end; p++) {
                expected += weight[p] / sum * c.values[p * 32 * c.blocks + d];
                magnitude += fabs(weight[p] / sum * c.values[p * 32 * c.blocks + d]);
            }
            double got = (double)out[d] / (double)total, allowed = 5e-5;
            if (c.kv_type == SLM_KV_Q8) /* numerator and denominator feel errors of the scores */
                allowed += (expm1(4 * error) * magnitude +
                            weight_error(&c, weight + begin, begin, end, d) / sum * exp(4 * error));
            if (!(fabs(got - expected) <= allowed))
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

/* q8: scale * byte is within half a step of what was stored; other positions are as they were. */
void check_kv_store_q8(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t i = 0; i < 300; i++) {
        size_t dim = i % 3 ? head_dims[i % N_HEAD_DIMS] : random_between(&r, 1, 130);
        size_t blocks = (dim + 31) / 32, slot = random_between(&r, 0, SLM_PAGE - 1);
        struct slm_kv_shape shape = slm_kv_shape(SLM_KV_Q8, dim);
        struct guarded in[2] = {guarded_input(dim * sizeof(float)),
                                guarded_input(dim * sizeof(float))};
        for (size_t d = 0; d < dim; d++)
            for (int j = 0; j < 2; j++)
                ((float *)in[j].data)[d] = i % 7 == 0 ? 0 : kv_value(&r, i % 4 ? i : i / 4 + d);
        guarded_seal(&in[0]);
        guarded_seal(&in[1]);
        /* keys, values, both again as plain C stores them, and as they were before */
        struct guarded out[6];
        for (int j = 0; j < 6; j++) {
            out[j] = guarded_output(j & 1 ? shape.value_bytes : shape.key_bytes);
            memset(out[j].data, 0x55, out[j].size);
        }
        check->kern->kv_store(out[0].data, out[1].data, slot, in[0].data, in[1].data, dim,
                              SLM_KV_Q8);
        check->c->kv_store(out[2].data, out[3].data, slot, in[0].data, in[1].data, dim, SLM_KV_Q8);
        for (int j = 0; j < 6; j++)
            assert_true(guarded_check(&out[j]));
        assert_memory_equal(out[0].data, out[2].data, shape.key_bytes);
        assert_memory_equal(out[1].data, out[3].data, shape.value_bytes);

        uint8_t *keys = out[0].data, *values = out[1].data;
        for (size_t b = 0; b < blocks; b++) {
            double mixed[32];
            size_t n = dim - 32 * b < 32 ? dim - 32 * b : 32;
            const float *value = (float *)in[1].data + 32 * b;
            mix((float *)in[0].data + 32 * b, n, mixed);
            uint8_t *tile = keys + (slot / 16 * blocks + b) * 544;
            uint8_t *scales = keys + 2 * blocks * 544 + b * 64;
            double largest_k = 0, largest_v = 0, sum = 0;
            for (size_t d = 0; d < 32; d++) {
                largest_k = fmax(largest_k, fabs(mixed[d]));
                largest_v = d < n ? fmax(largest_v, fabs((double)value[d])) : largest_v;
                sum += d < n ? fabs((double)((float *)in[0].data)[32 * b + d]) : 0;
            }
            double ks = (double)slm_f16_to_f32(slm_load_u16(tile + 2 * (slot % 16)));
            double vs = (double)slm_f16_to_f32(slm_load_u16(scales + 2 * slot));
            /* Beyond f16's largest scale bytes end at 127; below its smallest there is none. */
            bool k_held = largest_k > 65504.0 * 127, v_held = largest_v > 65504.0 * 127;
            for (size_t d = 0; d < 32; d++) {
                int8_t *k = (int8_t *)tile + 32 + d / 4 * 64 + slot % 16 * 4 + d % 4;
                assert_true(k_held || fabs(ks * *k - mixed[d]) <= 0.501 * ks + sum * 1e-6 + 4e-6);
                *k = 0x55;
                if (32 * b + d >= shape.value_stride)
                    continue;
                int8_t *v = (int8_t *)values + (32 * b + d) / 16 * 512 + slot / 4 * 64 +
                            d % 16 * 4 + slot % 4;
                double x = d < n ? (double)value[d] : 0;
                assert_true(v_held || fabs(vs * *v - x) <= 0.501 * vs + 4e-6);
                *v = 0x55;
            }
            memset(tile + 2 * (slot % 16), 0x55, 2);
            memset(scales + 2 * slot, 0x55, 2);
        }
        assert_memory_equal(keys, out[4].data, shape.key_bytes);
        assert_memory_equal(values, out[5].data, shape.value_bytes);
        for (int j = 0; j < 6; j++)
            guarded_free(&out[j]);
        guarded_free(&in[0]);
        guarded_free(&in[1]);
    }
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
