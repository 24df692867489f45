/*
 * bench_kernels.c - how fast each slot of each tier is beside plain C, one thread, data in cache:
 * what a tier gains, and where it does not pay. Speeds at the shapes of a real model, from memory
 * and with several threads: bench/kernels.c.
 */
#include "check/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROWS = 256, COLS = 576, MAX_TOKENS = 48, HEAD = 64, CONTEXT = SLM_SPAN };

/* Inputs and outputs that all measurements share. */
struct bench {
    const struct slm_kern *kern;
    uint32_t type;
    size_t tokens;
    uint8_t *panels;
    float *x, *y, *small;
    struct slm_acts acts;
    struct slm_attend attend;
    uint32_t pages[CONTEXT / SLM_PAGE];
};

typedef void work_fn(struct bench *b);

static void do_gemm(struct bench *b)
{
    struct slm_gemm g = {.panels = b->panels,
                         .n_tiles = COLS / SLM_TILE_COLS,
                         .rows = ROWS,
                         .x = b->x,
                         .x_stride = COLS,
                         .acts = b->acts,
                         .n = b->tokens,
                         .y = b->y,
                         .y_stride = ROWS,
                         .scale = 1};
    b->kern->gemm[b->type](&g, 0, ROWS / SLM_PANEL_ROWS);
}

static void do_quantize(struct bench *b)
{
    b->kern->quantize(b->x, COLS, b->acts.q, b->acts.blocks);
}

static void do_rms_norm(struct bench *b)
{
    b->kern->rms_norm(b->y, b->x, b->small, NULL, COLS, 1e-5f);
}

static void do_silu(struct bench *b)
{
    b->kern->activate[SLM_KERN_SILU](b->y, b->x, COLS);
}

static void do_rope(struct bench *b)
{
    for (size_t head = 0; head < COLS; head += HEAD)
        b->kern->rope(b->y + head, b->small, b->small + HEAD, HEAD / 2);
}

static void do_exp(struct bench *b)
{
    b->kern->exp(b->y, b->x, COLS);
}

static void do_kv_store(struct bench *b)
{
    for (size_t slot = 0; slot < 8; slot++)
        b->kern->kv_store((void *)(uintptr_t)b->attend.keys, (void *)(uintptr_t)b->attend.values,
                          slot, b->x, b->x + HEAD, HEAD, b->attend.kv_type);
}

static void do_attend(struct bench *b)
{
    b->kern->attend(&b->attend, 0);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one call: the best of five measurements of 20 ms. */
static double measure(work_fn *work, struct bench *b)
{
    double best = INFINITY;
    size_t n = 1;
    for (int i = 0; i < 5;) {
        double start = now();
        for (size_t j = 0; j < n; j++)
            work(b);
        double seconds = now() - start;
        if (seconds < 0.02) {
            n *= 2;
            continue;
        }
        best = fmin(best, seconds / (double)n);
        i++;
    }
    return best;
}

/* One line: `amount` units of work a call, for each tier. */
static void line(struct bench *b, unsigned tiers, const char *name, const char *unit, work_fn *work,
                 double amount)
{
    double c = 0;
    printf("%-24s", name);
    for (unsigned tier = 1; tier && tier <= tiers; tier <<= 1) {
        if (!(tiers & tier))
            continue;
        b->kern = slm_kern_select(tier);
        double seconds = measure(work, b);
        c = c > 0 ? c : seconds;
        printf(" %9.2f x%-6.1f", amount / seconds * 1e-9, c / seconds);
    }
    printf(" %s\n", unit);
    fflush(stdout);
}

static void set_attend(struct bench *b, uint32_t kv_type, size_t n_rows)
{
    struct slm_attend *a = &b->attend;
    a->kv_type = kv_type;
    a->head_dim = HEAD;
    a->shape = slm_kv_shape(kv_type, HEAD);
    a->pages = b->pages;
    a->n_rows = n_rows;
    a->scale = 0.125f;
    a->query = b->x;
    a->acts = (struct slm_acts){b->acts.q, b->acts.blocks, HEAD};
    for (size_t i = 0; i < n_rows; i++) {
        a->begin[i] = 0;
        a->end[i] = CONTEXT;
        a->out[i] = b->y + i * HEAD;
    }
}

void bench_kernels(unsigned tiers, uint64_t seed)
{
    static const char *const kv_names[] = {"f16", "f32", "q8"}; /* by SLM_KV_ */
    struct random r = random_stream(seed, 0);
    struct bench b = {.panels = calloc(ROWS * COLS, 4),
                      .x = malloc(MAX_TOKENS * COLS * sizeof(float)),
                      .y = calloc(MAX_TOKENS * COLS, sizeof(float)),
                      .small = malloc(COLS * sizeof(float))};
    b.acts = (struct slm_acts){malloc(MAX_TOKENS * COLS),
                               calloc(MAX_TOKENS * COLS / 32, sizeof(struct slm_act_block)), COLS};
    uint8_t *keys = calloc(CONTEXT, HEAD * sizeof(float)),
            *values = calloc(CONTEXT, HEAD * sizeof(float));
    float *scratch = calloc(slm_attend_scratch(SLM_KV_Q8, HEAD), sizeof(float));
    float largest[SLM_TILE_ROWS], total[SLM_TILE_ROWS];
    for (size_t i = 0; i < MAX_TOKENS * COLS; i++) {
        b.x[i] = random_normal(&r);
        b.acts.q[i] = (int8_t)random_between(&r, 0, 126);
    }
    for (size_t i = 0; i < COLS; i++)
        b.small[i] = random_unit(&r);
    for (uint32_t i = 0; i < CONTEXT / SLM_PAGE; i++)
        b.pages[i] = i;
    b.attend = (struct slm_attend){
        .keys = keys, .values = values, .scores = scratch, .largest = largest, .total = total};

    printf("%-24s", "one thread, in cache");
    for (unsigned tier = 1; tier && tier <= tiers; tier <<= 1)
        if (tiers & tier)
            printf(" %9s %-7s", slm_kern_name(tier), "");
    printf("\n");
    char name[64];
    const struct slm_quant *quant;
    for (size_t t = 0; (quant = slm_quant_at(t)); t++) {
        const size_t counts[] = {1, 4, MAX_TOKENS};
        for (size_t i = 0; i < 3; i++) {
            b.type = quant->type;
            b.tokens = counts[i];
            snprintf(name, sizeof name, "gemm %s, %zu token%s", quant->name, b.tokens,
                     b.tokens > 1 ? "s" : "");
            line(&b, tiers, name, "GOPS", do_gemm, 2.0 * ROWS * COLS * (double)b.tokens);
        }
    }
    line(&b, tiers, "quantize", "G elements/s", do_quantize, COLS);
    line(&b, tiers, "rms_norm", "G elements/s", do_rms_norm, COLS);
    line(&b, tiers, "silu", "G elements/s", do_silu, COLS);
    line(&b, tiers, "rope", "G elements/s", do_rope, COLS);
    line(&b, tiers, "exp", "G elements/s", do_exp, COLS);
    for (uint32_t kv = SLM_KV_F16; kv <= SLM_KV_Q8; kv++) {
        const char *type = kv_names[kv];
        set_attend(&b, kv, 1);
        snprintf(name, sizeof name, "kv_store %s", type);
        line(&b, tiers, name, "G elements/s", do_kv_store, 8 * 2 * HEAD);
        for (size_t rows = 1; rows <= SLM_TILE_ROWS; rows = rows == 1 ? 3 : rows * 4) {
            set_attend(&b, kv, rows);
            snprintf(name, sizeof name, "attend %s, %zu row%s", type, rows, rows > 1 ? "s" : "");
            line(&b, tiers, name, "GFLOPS", do_attend, 4.0 * HEAD * CONTEXT * (double)rows);
        }
    }
    free(b.panels);
    free(b.x);
    free(b.y);
    free(b.small);
    free(b.acts.q);
    free(b.acts.blocks);
    free(keys);
    free(values);
    free(scratch);
}
