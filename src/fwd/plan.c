/*
 * plan.c - from traits to steps: this is where a transformer is put together.
 *
 * Read slm_plan() as the model. It runs once for a context; nothing about it is decided again for
 * a token.
 */
#include "fwd/fwd.h"

#include "base/limits.h"

#include <math.h>
#include <string.h>

struct planner {
    const struct slm_fwd *f;
    struct slm_step *steps; /* NULL: count */
    size_t n;
};

static void add(struct planner *planner, struct slm_step step)
{
    if (planner->steps)
        planner->steps[planner->n] = step;
    planner->n++;
}

static bool any_integer(const struct slm_product *products, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (products[i].w->quant->integer)
            return true;
    return false;
}

/* A step that leaves activations, and the matrices that read them. */
static void add_products(struct planner *planner, struct slm_step before, struct slm_step products)
{
    before.quantize = any_integer(products.products, products.n_products);
    add(planner, before);
    products.run = slm_products;
    products.layer = before.layer;
    add(planner, products);
}

/* A step that leaves activations, and the matrix whose result is added to the residual stream: as it
 * is, or normalised; then the stream itself may be. */
static void add_to_stream(struct planner *planner, struct slm_step before, const struct slm_matrix *w,
                          const struct slm_norm_weights *norm, const struct slm_norm_weights *sum)
{
    const struct slm_fwd *f = planner->f;
    uint32_t dim = f->model->traits->dim;
    bool normed = norm->weight;
    add_products(planner, before,
                 (struct slm_step){.products = {{w, normed ? f->block : f->x, f->dim_stride}},
                                   .n_products = 1,
                                   .add = !normed});
    if (normed)
        add(planner, (struct slm_step){
                         .run = slm_add_normed, .layer = before.layer, .width = dim, .norm = norm});
    if (sum->weight)
        add(planner, (struct slm_step){
                         .run = slm_sum_norm, .layer = before.layer, .width = dim, .norm = sum});
}

static struct slm_step norm_step(const struct slm_fwd *f, uint32_t layer,
                                 const struct slm_norm_weights *norm)
{
    return (struct slm_step){
        .run = slm_norm, .layer = layer, .width = f->model->traits->dim, .norm = norm};
}

static void read_attention(struct planner *planner, uint32_t i)
{
    const struct slm_fwd *f = planner->f;
    const struct slm_layer *layer = &f->model->layers[i];
    add_products(planner, norm_step(f, i, &layer->attn_norm),
                 (struct slm_step){.products = {{&layer->q, f->q, f->query_stride},
                                                {&layer->k, f->k, f->kv_stride},
                                                {&layer->v, f->v, f->kv_stride}},
                                   .n_products = 3});
}

static void read_ffn(struct planner *planner, uint32_t i)
{
    const struct slm_fwd *f = planner->f;
    const struct slm_layer *layer = &f->model->layers[i];
    add_products(planner, norm_step(f, i, &layer->ffn_norm),
                 (struct slm_step){.products = {{&layer->up, f->up, f->ffn_stride},
                                                {&layer->gate, f->gate, f->ffn_stride}},
                                   .n_products = layer->gate.panels ? 2 : 1});
}

size_t slm_plan(struct slm_fwd *f, struct slm_step *steps)
{
    struct planner plan = {f, steps, 0};
    const struct slm_model *m = f->model;

    add(&plan, (struct slm_step){.run = slm_embed_rows, .width = m->traits->dim});
    for (uint32_t i = 0; i < m->traits->n_layers; i++) {
        const struct slm_layer *layer = &m->layers[i];
        bool parallel = layer->traits->parts & SLM_LAYER_PARALLEL;

        read_attention(&plan, i);
        if (parallel)
            read_ffn(&plan, i); /* before anything is added to the residual stream */
        uint32_t heads = layer->traits->n_heads * layer->traits->head_dim;
        uint32_t kv_heads = layer->traits->n_kv_heads * layer->traits->head_dim;
        add(&plan, (struct slm_step){
                       .run = slm_rotate_store, .layer = i, .width = heads + 2 * kv_heads});
        add(&plan, (struct slm_step){.run = slm_attention, .layer = i});
        for (uint32_t round = 1; round < f->max_rounds; round++) {
            add(&plan, (struct slm_step){.run = slm_attention_merge, .layer = i, .round = round});
            add(&plan, (struct slm_step){.run = slm_attention, .layer = i, .round = round});
        }
        add_to_stream(&plan, (struct slm_step){.run = slm_attention_finish, .layer = i, .width = heads},
                      &layer->out, &layer->attn_post_norm, &layer->attn_sum_norm);
        if (!parallel)
            read_ffn(&plan, i);
        add_to_stream(&plan, (struct slm_step){.run = slm_activate, .layer = i}, &layer->down,
                      &layer->ffn_post_norm, &layer->ffn_sum_norm);
    }
    bool head = m->head.panels;
    add(&plan, (struct slm_step){.run = slm_head_norm,
                                 .width = m->traits->dim,
                                 .norm = &m->final_norm,
                                 .quantize = head && m->head.quant->integer});
    if (head)
        add(&plan, (struct slm_step){.run = slm_head});
    add(&plan, (struct slm_step){.run = slm_pool, .width = m->traits->dim});
    return plan.n;
}

/* From pooled texts in x to scores in up; a classifier may begin with a matrix and a norm. */
size_t slm_plan_scores(struct slm_fwd *f, struct slm_step *steps)
{
    static const struct slm_norm_weights none = {NULL, NULL};
    struct planner plan = {f, steps, 0};
    const struct slm_model *m = f->model;
    if (!m->score.panels)
        return 0;
    if (m->score_dense.panels) {
        add_products(&plan, norm_step(f, 0, &none),
                     (struct slm_step){.products = {{&m->score_dense, f->x, f->dim_stride}},
                                       .n_products = 1});
        add(&plan, (struct slm_step){.run = slm_score_activate, .width = m->traits->dim});
    }
    add_products(&plan, norm_step(f, 0, &m->score_norm),
                 (struct slm_step){.products = {{&m->score, f->up, f->ffn_stride}}, .n_products = 1});
    return plan.n;
}

/* ---------------------------------------------------------------- activations --- */

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t padded(size_t n)
{
    return slm_round_up(n, SLM_TILE_COLS);
}

static float *take_rows(struct slm_arena *arena, size_t rows, size_t stride)
{
    return slm_arena_take_rows(arena, rows, stride, sizeof(float));
}

int slm_fwd_init(struct slm_fwd *f, const struct slm_model *model, const struct slm_kern *kern,
                 const struct slm_kv *kv, size_t max_rows, size_t max_tokens, int n_threads,
                 struct slm_arena *arena)
{
    memset(f, 0, sizeof *f);
    f->model = model;
    f->kern = kern;
    f->kv = kv;
    f->max_rows = max_rows;

    bool post_norms = false;
    size_t query = 0, key = 0, ffn = 0, head = 0, heads = 0, kv_heads = SIZE_MAX;
    for (uint32_t i = 0; i < model->traits->n_layers; i++) {
        const struct slm_layer_traits *t = model->layers[i].traits;
        query = most(query, (size_t)t->n_heads * t->head_dim);
        key = most(key, (size_t)t->n_kv_heads * t->head_dim);
        ffn = most(ffn, t->ffn_dim);
        head = most(head, t->head_dim);
        heads = most(heads, t->n_heads);
        post_norms |= t->parts & (SLM_LAYER_ATTN_POST_NORM | SLM_LAYER_FFN_POST_NORM);
        kv_heads = t->n_kv_heads < kv_heads ? t->n_kv_heads : kv_heads;
    }
    f->dim_stride = padded(model->traits->dim);
    f->query_stride = padded(query);
    f->kv_stride = padded(key);
    f->ffn_stride = padded(most(ffn, model->traits->n_scores));
    f->h_stride = most(most(f->dim_stride, f->query_stride), f->ffn_stride);

    f->rows = slm_arena_take(arena, max_rows, sizeof *f->rows);
    f->out_rows = slm_arena_take(arena, max_rows, sizeof *f->out_rows);
    f->x = take_rows(arena, max_rows, f->dim_stride);
    f->block = take_rows(arena, post_norms ? max_rows : 0, f->dim_stride);
    f->h = take_rows(arena, max_rows, f->h_stride);
    f->acts.q = slm_arena_take(arena, max_rows, f->h_stride);
    f->acts.blocks = slm_arena_take_rows(arena, max_rows, f->h_stride / SLM_TILE_COLS,
                                         sizeof *f->acts.blocks);
    f->q = take_rows(arena, max_rows, f->query_stride);
    f->k = take_rows(arena, max_rows, f->kv_stride);
    f->v = take_rows(arena, max_rows, f->kv_stride);
    f->gate = take_rows(arena, max_rows, f->ffn_stride);
    f->up = take_rows(arena, max_rows, f->ffn_stride);

    for (uint32_t i = 0; i < model->traits->n_ropes; i++) {
        const struct slm_rope_traits *rope = &model->file.ropes[i];
        f->long_text |= rope->scaling == SLM_ROPE_LONG && max_tokens > rope->original_context;
        f->angle_stride = most(f->angle_stride, slm_round_up(rope->dims / 2, 16));
    }
    f->cosine = take_rows(arena, model->traits->n_ropes * max_rows, f->angle_stride);
    f->sine = take_rows(arena, model->traits->n_ropes * max_rows, f->angle_stride);

    f->max_heads = heads;
    f->value_stride = slm_round_up(head, 16);
    f->split_rows = n_threads == 1 ? 0 : most(1, 2 * (size_t)n_threads / kv_heads);
    f->split_rows = f->split_rows < max_rows ? f->split_rows : max_rows;
    /* Of a thread: struct tiling of attention.c says what for. */
    f->attend_scratch = slm_attend_scratch(kv->type, head);
    f->score_bytes =
        sizeof(float) * (f->attend_scratch + SLM_TILE_ROWS * (2 * f->value_stride + padded(head)));
    f->scores = slm_arena_take(arena, (size_t)n_threads, f->score_bytes);
    size_t max_spans = (max_tokens + SLM_SPAN - 1) / SLM_SPAN;
    f->n_slots = slm_attention_slots(f->split_rows, max_spans);
    f->max_rounds = slm_attention_most_rounds(f->split_rows, max_spans);
    f->span_largest = take_rows(arena, f->n_slots, f->max_heads);
    f->span_total = take_rows(arena, f->n_slots, f->max_heads);
    f->span_out = take_rows(arena, f->n_slots, f->max_heads * f->value_stride);

    f->n_steps = slm_plan(f, NULL);
    struct slm_step *steps = slm_arena_take(arena, f->n_steps, sizeof *steps);
    if (steps)
        slm_plan(f, steps);
    f->plan = steps;
    f->n_score_steps = slm_plan_scores(f, NULL);
    f->score_plan = slm_arena_take(arena, f->n_score_steps, sizeof *steps);
    if (f->score_plan)
        slm_plan_scores(f, f->score_plan);
    f->shared = slm_arena_take(arena, f->n_steps + f->n_score_steps, sizeof *f->shared);
    return SLM_OK;
}
