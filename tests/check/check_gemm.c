/*
 * check_gemm.c - matrix products: ragged shapes, extreme contents, and three independent answers.
 *
 * A problem has its inputs in read-only memory that ends at a forbidden page, and its outputs
 * between canaries. Weights are made through quant/, which defines the layout by itself; the
 * oracle reads them back with slm_quant_row(), so it shares no line with a kernel.
 */
#include "check/check.h"

#include "base/bits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#ifdef HAVE_CBLAS
#include <cblas.h>
#endif

enum fill {
    RANDOM,
    ZERO,    /* every bit of weights and activations */
    LARGEST, /* nibbles of 15, bytes of -128 and 127, activations of 127 and -127 */
    TINY,    /* denormal scales and values: products are denormal too */
    N_FILLS
};

struct problem {
    const struct slm_quant *quant;
    size_t rows, cols, tokens;
    size_t padded_rows, padded_cols;
    struct guarded panels, bias, x, q, blocks;
    float *before;        /* [tokens * y_stride] what y holds before the call */
    struct slm_gemm gemm; /* without y */
};

/* ------------------------------------------------------------------- contents --- */

static float random_weight(struct random *r, enum fill fill, uint32_t type)
{
    switch (fill) {
    case LARGEST: /* far enough from the largest float that no sum overflows */
        return (random_u64(r) & 1 ? 1 : -1) * (type == SLM_TYPE_F16 ? 65504.0f : 0x1p100f);
    case TINY: return random_unit(r) * (type == SLM_TYPE_F16 ? 0x1p-16f : 0x1p-128f);
    case ZERO: return 0;
    default: return random_normal(r);
    }
}

static uint16_t random_scale(struct random *r, enum fill fill)
{
    switch (fill) {
    case ZERO: return 0;
    case LARGEST: return (uint16_t)(0x7BFF | (random_u64(r) & 0x8000));
    case TINY: return (uint16_t)(random_u64(r) & 0x83FF);
    default: return slm_f32_to_f16(random_normal(r) * 0.05f);
    }
}

/* What a type's tiles can hold, asked of the type: what comes back from one as it was. */
struct holds {
    int low, high, zero_bits; /* q: the least, the largest, and what a tile of zeros has */
};

static struct holds what_it_holds(const struct slm_quant *quant)
{
    uint8_t tile[SLM_TILE_F32] = {0};
    struct slm_block block, back = {0};
    quant->unpack(tile, 0, &back);
    struct holds holds = {.low = 1, .high = 0, .zero_bits = back.q[0]};
    for (int q = -128; q < 128; q++) {
        block = (struct slm_block){.q = {(int8_t)q}};
        quant->pack(tile, 0, &block);
        quant->unpack(tile, 0, &back);
        if (back.q[0] == q) {
            holds.low = holds.low > holds.high ? q : holds.low;
            holds.high = q;
        }
    }
    return holds;
}

static int8_t random_q(struct random *r, enum fill fill, const struct holds *holds, size_t row)
{
    switch (fill) {
    case ZERO: return (int8_t)holds->zero_bits;
    case LARGEST: return (int8_t)(row % 3 == 0 ? holds->low : holds->high);
    default:
        return (int8_t)(holds->low +
                        (int)random_between(r, 0, (size_t)(holds->high - holds->low)));
    }
}

/* Rows beyond the true ones stand for 0, as in a file. Columns beyond them do so for float types;
 * of integer types they may hold anything, because their activations are 0. */
static void fill_panels(struct random *r, struct problem *p, enum fill fill)
{
    size_t tiles = p->padded_cols / SLM_TILE_COLS;
    struct holds holds = what_it_holds(p->quant);
    for (size_t row = 0; row < p->padded_rows; row++)
        for (size_t tile = 0; tile < tiles; tile++) {
            struct slm_block block = {0};
            bool real = row < p->rows;
            for (size_t i = 0; i < SLM_TILE_COLS; i++) {
                bool inside = real && tile * SLM_TILE_COLS + i < p->cols;
                block.values[i] = inside ? random_weight(r, fill, p->quant->type) : 0;
                block.q[i] = p->quant->integer ? random_q(r, fill, &holds, row) : 0;
            }
            block.scale = real ? random_scale(r, fill) : 0;
            block.minimum = real ? random_scale(r, fill) : 0;
            p->quant->pack((uint8_t *)p->panels.data +
                               (row / 16 * tiles + tile) * p->quant->tile_bytes,
                           (int)(row % 16), &block);
        }
    guarded_seal(&p->panels);
}

/* What lies between a row's padded end and the next row must not matter: 99 and NaN. */
static void fill_acts(struct random *r, struct problem *p, enum fill fill)
{
    struct slm_act_block *blocks = p->blocks.data;
    for (size_t i = 0; i < p->blocks.size / sizeof *blocks; i++)
        blocks[i] = (struct slm_act_block){NAN, NAN, 99, 99};
    memset(p->q.data, 99, p->q.size);
    for (size_t t = 0; t < p->tokens; t++) {
        int8_t *q = (int8_t *)p->q.data + t * p->gemm.acts.cols;
        blocks = (struct slm_act_block *)p->blocks.data + t * (p->gemm.acts.cols / SLM_TILE_COLS);
        for (size_t i = 0; i < p->padded_cols; i += SLM_TILE_COLS, blocks++) {
            int sum = 0;
            for (size_t c = i; c < i + SLM_TILE_COLS; c++, q++) {
                int value = (int)random_between(r, 0, 254) - 127;
                if (fill == LARGEST) /* all 127, all -127, or mixed */
                    value = t % 3 == 0 ? 127 : t % 3 == 1 ? -127 : value > 0 ? 127 : -127;
                *q = (int8_t)(c < p->cols && fill != ZERO ? value : 0);
                sum += *q;
            }
            float scale = fill == ZERO     ? 0
                          : fill == TINY   ? 0x1p-107f
                          : fill == RANDOM ? fabsf(random_normal(r)) * 0.1f
                                           : 1000.0f;
            *blocks = (struct slm_act_block){scale, scale * (float)sum, -8 * sum, -128 * sum};
        }
    }
    guarded_seal(&p->q);
    guarded_seal(&p->blocks);
}

/* What lies between a row's padded end and the next row must not matter: NaN. */
static void fill_x(struct random *r, struct problem *p, enum fill fill)
{
    float *x = p->x.data;
    for (size_t i = 0; i < p->x.size / sizeof *x; i++) {
        size_t col = i % p->gemm.x_stride;
        if (col >= p->padded_cols)
            x[i] = NAN;
        else if (col >= p->cols || fill == ZERO)
            x[i] = 0;
        else
            x[i] = fill == TINY ? random_unit(r) * 0x1p-10f : random_normal(r);
    }
    guarded_seal(&p->x);
}

static struct problem make_problem(struct random *r, uint32_t type, size_t rows, size_t cols,
                                   size_t tokens, enum fill fill)
{
    struct problem p = {.quant = slm_quant(type), .rows = rows, .cols = cols, .tokens = tokens};
    p.padded_rows = slm_round_up(rows, SLM_PANEL_ROWS);
    p.padded_cols = slm_round_up(cols, SLM_TILE_COLS);
    size_t bytes = 0;
    assert_true(slm_quant_bytes(p.quant, rows, cols, &bytes));
    p.panels = guarded_input(bytes);
    p.gemm = (struct slm_gemm){
        .panels = p.panels.data,
        .n_tiles = p.padded_cols / SLM_TILE_COLS,
        .rows = rows,
        .n = tokens,
        .x_stride = p.padded_cols + 16 * random_between(r, 0, 2),
        .y_stride = p.padded_rows + 16 * random_between(r, 0, 2),
        .scale = random_u64(r) & 1 ? 1.0f : 0.37f,
        .add = random_u64(r) & 1,
    };
    fill_panels(r, &p, fill);

    size_t stride = p.padded_cols + SLM_TILE_COLS * random_between(r, 0, 2);
    size_t act_bytes = (tokens - 1) * stride + p.padded_cols;
    p.x = guarded_input(((tokens - 1) * p.gemm.x_stride + p.padded_cols) * sizeof(float));
    p.q = guarded_input(act_bytes);
    p.blocks = guarded_input(act_bytes / SLM_TILE_COLS * sizeof(struct slm_act_block));
    if (p.quant->integer) {
        p.gemm.acts = (struct slm_acts){p.q.data, p.blocks.data, stride};
        fill_acts(r, &p, fill);
    } else {
        fill_x(r, &p, fill);
        p.gemm.x = p.x.data;
    }

    p.bias = guarded_input(rows * sizeof(float));
    for (size_t i = 0; i < rows; i++)
        ((float *)p.bias.data)[i] = fill == TINY ? random_unit(r) * 0x1p-130f : random_normal(r);
    guarded_seal(&p.bias);
    if (random_u64(r) & 1)
        p.gemm.bias = p.bias.data;

    /* The padding of y is 0 before, as in the decoder; the gap up to the stride is nobody's. */
    p.before = malloc(tokens * p.gemm.y_stride * sizeof(float));
    for (size_t i = 0; i < tokens * p.gemm.y_stride; i++) {
        size_t row = i % p.gemm.y_stride;
        p.before[i] = row < rows ? random_normal(r) : row < p.padded_rows ? 0 : -77.0f;
    }
    return p;
}

static void free_problem(struct problem *p)
{
    guarded_free(&p->panels);
    guarded_free(&p->bias);
    guarded_free(&p->x);
    guarded_free(&p->q);
    guarded_free(&p->blocks);
    free(p->before);
}

/* ----------------------------------------------------------------------- runs --- */

/* y between canaries; the panels are computed in one call, or in two with a cut somewhere. */
static struct guarded run(struct random *r, const struct slm_kern *kern, const struct problem *p)
{
    struct guarded y = guarded_output(p->tokens * p->gemm.y_stride * sizeof(float));
    memcpy(y.data, p->before, y.size);
    struct slm_gemm gemm = p->gemm;
    gemm.y = y.data;
    size_t panels = p->padded_rows / SLM_PANEL_ROWS, cut = random_between(r, 0, panels);
    kern->gemm[p->quant->type](&gemm, cut, panels);
    kern->gemm[p->quant->type](&gemm, 0, cut);
    assert_true(guarded_check(&y));
    return y;
}

static float activation(const struct problem *p, size_t t, size_t col)
{
    if (!p->quant->integer)
        return p->gemm.x[t * p->gemm.x_stride + col];
    const struct slm_acts *acts = &p->gemm.acts;
    return acts->blocks[t * (acts->cols / 32) + col / 32].scale *
           (float)acts->q[t * acts->cols + col];
}

/* |weight| of a row, or what a kernel adds up in its place: scale * q and a minimum may cancel in a
 * weight, but go into the sum separately. `weights` are the row's [cols]. */
static void row_magnitudes(const struct problem *p, size_t row, const float *weights,
                           double *magnitudes)
{
    const uint8_t *tile = (const uint8_t *)p->panels.data +
                          row / 16 * p->gemm.n_tiles * p->quant->tile_bytes;
    struct slm_block block = {0};
    for (size_t c = 0; c < p->cols; c++) {
        magnitudes[c] = fabs((double)weights[c]);
        if (!p->quant->integer)
            continue;
        if (c % 32 == 0)
            p->quant->unpack(tile + c / 32 * p->quant->tile_bytes, (int)(row % 16), &block);
        magnitudes[c] = fabs((double)slm_f16_to_f32(block.scale) * block.q[c % 32]) +
                        fabs((double)slm_f16_to_f32(block.minimum));
    }
}

/*
 * Every element against double precision. A sum of n terms, each rounded once, is off by at most
 * n / 2^24 of the sum of magnitudes; products of scales, offsets and decoded weights (rounded by
 * slm_quant_row itself) add a few roundings of each term. Denormals add their own step.
 */
static void compare_with_double(const struct problem *p, const float *y)
{
    float *row = malloc(p->cols * sizeof *row);
    double *magnitudes = malloc(p->cols * sizeof *magnitudes);
    double terms = p->quant->integer ? 2.0 * (double)p->gemm.n_tiles : (double)p->cols;
    for (size_t r = 0; r < p->rows; r++) {
        slm_quant_row(p->quant, p->panels.data, r, p->cols, row);
        row_magnitudes(p, r, row, magnitudes);
        for (size_t t = 0; t < p->tokens; t++) {
            double sum = p->gemm.bias ? p->gemm.bias[r] : 0, magnitude = fabs(sum);
            for (size_t c = 0; c < p->cols; c++) {
                double x = activation(p, t, c);
                sum += (double)row[c] * x;
                magnitude += magnitudes[c] * fabs(x);
            }
            size_t at = t * p->gemm.y_stride + r;
            sum = sum * (double)p->gemm.scale + (p->gemm.add ? (double)p->before[at] : 0);
            magnitude += p->gemm.add ? fabs((double)p->before[at]) : 0;
            double tolerance = (terms + 8) * (0x1p-24 * magnitude + 0x1p-149 * 2048);
            if (!(fabs((double)y[at] - sum) <= tolerance))
                fail_msg("%s %zux%zu, %zu tokens: y[%zu][%zu] is %g, not %g (tolerance %g)",
                         p->quant->name, p->rows, p->cols, p->tokens, t, r, (double)y[at], sum,
                         tolerance);
        }
    }
    for (size_t t = 0; t < p->tokens; t++)
        for (size_t r = p->rows; r < p->gemm.y_stride; r++) {
            size_t at = t * p->gemm.y_stride + r;
            assert_memory_equal(&y[at], &p->before[at], sizeof *y); /* padding stays 0 */
        }
    free(row);
    free(magnitudes);
}

static void compare(struct random *r, const struct check *check, struct problem *p)
{
    struct guarded expected = run(r, check->c, p);
    if (check->kern == check->c) {
        compare_with_double(p, expected.data);
    } else {
        struct guarded y = run(r, check->kern, p);
        if (memcmp(y.data, expected.data, y.size) != 0)
            fail_msg("%s %s %zux%zu, %zu tokens, add %d, bias %d: other bits than plain C",
                     check->name, p->quant->name, p->rows, p->cols, p->tokens, p->gemm.add,
                     p->gemm.bias != NULL);
        guarded_free(&y);
    }
    guarded_free(&expected);
    free_problem(p);
}

static void one(struct random *r, const struct check *check, size_t rows, size_t cols,
                size_t tokens, enum fill fill)
{
    struct problem p = make_problem(r, check->type, rows, cols, tokens, fill);
    compare(r, check, &p);
}

void check_gemm_shapes(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (size_t tokens = 1; tokens <= 30; tokens++) /* every way in which tokens are grouped */
        one(&r, check, 1 + tokens % 17, 1 + tokens % 70, tokens, RANDOM);
    for (int i = 0; i < 120; i++)
        one(&r, check, random_between(&r, 1, 100), random_between(&r, 1, 200),
            random_between(&r, 1, 30), RANDOM);
    one(&r, check, 576, 1536, 1, RANDOM);
    one(&r, check, 576, 1536, 13, RANDOM);
    one(&r, check, 1536, 576, 5, RANDOM);
    one(&r, check, 3, 5000, 12, RANDOM);
    one(&r, check, 3001, 40, 2, RANDOM);
}

void check_gemm_extremes(void **state)
{
    const struct check *check = *state;
    struct random r = check_random(check);
    for (enum fill fill = 0; fill < N_FILLS; fill++)
        for (int i = 0; i < 25; i++)
            one(&r, check, random_between(&r, 1, 50), random_between(&r, 1, 400),
                random_between(&r, 1, 16), fill);
}

/* A third opinion with a summation order of its own. */
void check_gemm_blas(void **state)
{
#ifdef HAVE_CBLAS
    const struct check *check = *state;
    struct random r = check_random(check);
    for (int i = 0; i < 20; i++) {
        struct problem p =
            make_problem(&r, check->type, random_between(&r, 1, 300), random_between(&r, 1, 600),
                         random_between(&r, 1, 20), RANDOM);
        p.gemm.add = false;
        p.gemm.bias = NULL;
        p.gemm.scale = 1;
        float *w = malloc(p.rows * p.cols * sizeof *w), *x = malloc(p.tokens * p.cols * sizeof *x);
        float *expected = malloc(p.tokens * p.rows * sizeof *expected);
        for (size_t row = 0; row < p.rows; row++)
            slm_quant_row(p.quant, p.panels.data, row, p.cols, w + row * p.cols);
        double largest_w = 0, largest_x = 0;
        for (size_t j = 0; j < p.rows * p.cols; j++)
            largest_w = fmax(largest_w, fabs((double)w[j]));
        for (size_t t = 0; t < p.tokens; t++)
            for (size_t c = 0; c < p.cols; c++) {
                x[t * p.cols + c] = activation(&p, t, c);
                largest_x = fmax(largest_x, fabs((double)x[t * p.cols + c]));
            }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p.tokens, (int)p.rows,
                    (int)p.cols, 1, x, (int)p.cols, w, (int)p.cols, 0, expected, (int)p.rows);
        struct guarded y = run(&r, check->kern, &p);
        double tolerance = (double)p.cols * largest_w * largest_x * (double)p.cols * 0x1p-23;
        for (size_t t = 0; t < p.tokens; t++)
            for (size_t row = 0; row < p.rows; row++)
                assert_true(fabs((double)((float *)y.data)[t * p.gemm.y_stride + row] -
                                 (double)expected[t * p.rows + row]) <= tolerance);
        guarded_free(&y);
        free(w);
        free(x);
        free(expected);
        free_problem(&p);
    }
#else
    (void)state;
    skip();
#endif
}
