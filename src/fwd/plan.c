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

/* A step that leaves rows in f->h, and the matrices that read them. */
static void add_products(struct planner *planner, struct slm_step before, struct slm_step products)
{
    before.quantize = any_integer(products.products, products.n_products);
    add(planner, before);
    products.run = slm_products;
    products.input = &planner->f->h;
    products.layer = before.layer;
    add(planner, products);
}

/* Behind a block: a norm of what it has left in f->block, and one of the residual stream. */
static void add_norms(struct planner *planner, uint32_t layer, const struct slm_norm_weights *norm,
                      const struct slm_norm_weights *sum)
{
    uint32_t dim = planner->f->model->traits->dim;
    if (norm->weight)
        add(planner, (struct slm_step){
                         .run = slm_add_normed, .layer = layer, .width = dim, .norm = norm});
    if (sum->weight)
        add(planner,
            (struct slm_step){.run = slm_sum_norm, .layer = layer, .width = dim, .norm = sum});
}

/* The matrix whose result is added to the residual stream: as it is, or normalised; then the stream
 * itself may be. */
static void add_to_stream(struct planner *planner, uint32_t layer, const struct slm_operand *input,
                          const struct slm_matrix *w, const struct slm_norm_weights *norm,
                          const struct slm_norm_weights *sum)
{
    const struct slm_fwd *f = planner->f;
    const struct slm_traits *t = f->model->traits;
    bool normed = norm->weight;
    struct slm_product product = {w, normed ? f->block : f->x, f->dim_stride,
                                  normed ? 1 : t->residual_scale, !normed};
    add(planner, (struct slm_step){.run = slm_products,
                                   .layer = layer,
                                   .input = input,
                                   .products = {product},
                                   .n_products = 1});
    add_norms(planner, layer, norm, sum);
}

static struct slm_step norm_step(const struct slm_fwd *f, uint32_t layer,
                                 const struct slm_norm_weights *norm)
{
    return (struct slm_step){
        .run = slm_norm, .layer = layer, .width = f->model->traits->dim, .norm = norm};
}

/* From the residual stream to what `out` reads. */
static void add_attention(struct planner *planner, uint32_t i)
{
    const struct slm_fwd *f = planner->f;
    const struct slm_layer *layer = &f->model->layers[i];
    uint32_t query = layer->traits->n_heads * layer->traits->head_dim;
    uint32_t key = layer->traits->n_kv_heads * layer->traits->head_dim;
    add_products(planner, norm_step(f, i, &layer->attn_norm),
                 (struct slm_step){.products = {{&layer->q, f->q, f->query_stride, 1, false},
                                                {&layer->k, f->k, f->kv_stride, 1, false},
                                                {&layer->v, f->v, f->kv_stride, 1, false}},
                                   .n_products = 3});
    add(planner, (struct slm_step){.run = slm_rotate_store, .layer = i, .width = query + 2 * key});
    add(planner, (struct slm_step){.run = slm_attention, .layer = i});
    for (uint32_t round = 1; round < f->max_rounds; round++) {
        add(planner, (struct slm_step){.run = slm_attention_merge, .layer = i, .round = round});
        add(planner, (struct slm_step){.run = slm_attention, .layer = i, .round = round});
    }
    add(planner, (struct slm_step){.run = slm_attention_finish,
                                   .layer = i,
                                   .width = query,
                                   .quantize = layer->out.quant->integer});
}

static bool is_integer(const struct slm_matrix *w)
{
    return w->panels && w->quant->integer;
}

/* Behind the norm: which experts a row goes through, and what their `down` reads. */
static void add_experts(struct planner *planner, uint32_t i, bool quantize)
{
    const struct slm_fwd *f = planner->f;
    const struct slm_layer *layer = &f->model->layers[i];
    uint32_t n_chosen = layer->traits->n_chosen;
    const struct slm_product router = {&layer->router, f->router, f->router_stride, 1, false};
    const struct slm_product share = {&layer->shared_gate, f->share, SLM_PANEL_ROWS, 1, false};
    add(planner, (struct slm_step){.run = slm_products,
                                   .layer = i,
                                   .input = &f->h,
                                   .products = {router, share},
                                   .n_products = layer->shared_gate.panels ? 2 : 1});
    add(planner, (struct slm_step){
                     .run = slm_route, .layer = i, .width = layer->traits->n_experts * n_chosen});
    add(planner, (struct slm_step){.run = slm_experts_gather,
                                   .layer = i,
                                   .width = f->model->traits->dim * n_chosen,
                                   .quantize = quantize});
    add(planner, (struct slm_step){.run = slm_experts_in, .layer = i});
}

/* From the residual stream to what `down` reads. */
static void add_ffn(struct planner *planner, uint32_t i)
{
    const struct slm_fwd *f = planner->f;
    const struct slm_layer *layer = &f->model->layers[i];
    struct slm_step norm = norm_step(f, i, &layer->ffn_norm);
    norm.quantize = is_integer(&layer->up) || is_integer(&layer->gate) ||
                    is_integer(&layer->experts_up) || is_integer(&layer->experts_gate) ||
                    is_integer(&layer->router) || is_integer(&layer->shared_gate);
    add(planner, norm);
    if (layer->router.panels)
        add_experts(planner, i, norm.quantize);
    else
        add(planner, (struct slm_step){.run = slm_ffn, .layer = i});
}

/* What add_ffn() has begun goes into the residual stream. */
static void end_ffn(struct planner *planner, uint32_t i)
{
    const struct slm_fwd *f = planner->f;
    const struct slm_layer *layer = &f->model->layers[i];
    if (!layer->router.panels) {
        add_to_stream(planner, i, &f->inner, &layer->down, &layer->ffn_post_norm,
                      &layer->ffn_sum_norm);
        return;
    }
    add(planner, (struct slm_step){.run = slm_experts_out,
                                   .layer = i,
                                   .input = &f->inner,
                                   .products = {{&layer->down, f->block, f->dim_stride, 1, false}},
                                   .n_products = layer->down.panels ? 1 : 0});
    add(planner, (struct slm_step){
                     .run = slm_experts_add,
                     .layer = i,
                     .width = f->model->traits->dim * layer->traits->n_chosen});
    add_norms(planner, i, &layer->ffn_post_norm, &layer->ffn_sum_norm);
}

size_t slm_plan(struct slm_fwd *f, struct slm_step *steps)
{
    struct planner plan = {f, steps, 0};
    const struct slm_model *m = f->model;

    add(&plan, (struct slm_step){.run = slm_embed_rows, .width = m->traits->dim});
    for (uint32_t i = 0; i < m->traits->n_layers; i++) {
        const struct slm_layer *layer = &m->layers[i];
        bool parallel = layer->traits->parts & SLM_LAYER_PARALLEL;

        if (parallel)
            add_ffn(&plan, i); /* before anything is added to the residual stream */
        add_attention(&plan, i);
        add_to_stream(&plan, i, &f->h, &layer->out, &layer->attn_post_norm, &layer->attn_sum_norm);
        if (!parallel)
            add_ffn(&plan, i);
        end_ffn(&plan, i);
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

/* From pooled texts in x to their scores; a classifier may begin with a matrix and a norm. */
size_t slm_plan_scores(struct slm_fwd *f, struct slm_step *steps)
{
    static const struct slm_norm_weights none = {NULL, NULL};
    struct planner plan = {f, steps, 0};
    const struct slm_model *m = f->model;
    if (!m->score.panels)
        return 0;
    if (m->score_dense.panels) {
        add_products(
            &plan, norm_step(f, 0, &none),
            (struct slm_step){.products = {{&m->score_dense, f->x, f->dim_stride, 1, false}},
                              .n_products = 1});
        add(&plan, (struct slm_step){.run = slm_score_activate, .width = m->traits->dim});
    }
    add_products(&plan, norm_step(f, 0, &m->score_norm),
                 (struct slm_step){.products = {{&m->score, f->scores, f->scores_stride, 1, false}},
                                   .n_products = 1});
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

/* From row to row: an odd number of cache lines, or the same columns of all rows would fall into
 * the same few places of the cache. */
static size_t odd_lines(size_t bytes)
{
    return (slm_round_up(bytes, 64) / 64 | 1) * 64;
}

static size_t row_stride(size_t width)
{
    return odd_lines(padded(width) * sizeof(float)) / sizeof(float);
}

static void take_operand(struct slm_arena *arena, struct slm_operand *in, size_t rows, size_t width,
                         bool floats)
{
    in->stride = row_stride(width);
    in->rows = floats ? take_rows(arena, rows, in->stride) : NULL;
    in->acts.cols = odd_lines(padded(width));
    in->acts.q = slm_arena_take(arena, rows, in->acts.cols);
    in->acts.blocks =
        slm_arena_take_rows(arena, rows, in->acts.cols / SLM_TILE_COLS, sizeof *in->acts.blocks);
}

/* Nothing where no layer has any. */
static void take_experts(struct slm_fwd *f, size_t expert_dim, bool float_down,
                         struct slm_arena *arena)
{
    size_t rows = f->most_experts ? f->max_rows : 0;
    size_t slots = rows * f->most_chosen; /* limits keep this small */
    f->router_stride = padded(f->most_experts);
    f->router = take_rows(arena, rows, f->router_stride);
    f->share = take_rows(arena, rows, SLM_PANEL_ROWS);
    f->chosen = slm_arena_take(arena, slots, sizeof *f->chosen);
    f->expert_slots = slm_arena_take(arena, rows ? f->most_experts + 1 : 0, sizeof *f->expert_slots);
    take_operand(arena, &f->slots, slots, f->model->traits->dim, true);
    take_operand(arena, &f->slots_inner, slots, expert_dim, float_down);
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

    bool blocks = false, float_down = false, float_experts = false;
    size_t query = 0, key = 0, ffn = 0, expert = 0, head = 0, heads = 0, kv_heads = SIZE_MAX;
    for (uint32_t i = 0; i < model->traits->n_layers; i++) {
        const struct slm_layer_traits *t = model->layers[i].traits;
        query = most(query, (size_t)t->n_heads * t->head_dim);
        key = most(key, (size_t)t->n_kv_heads * t->head_dim);
        ffn = most(ffn, t->ffn_dim);
        head = most(head, t->head_dim);
        heads = most(heads, t->n_heads);
        blocks |= t->parts & (SLM_LAYER_ATTN_POST_NORM | SLM_LAYER_FFN_POST_NORM) ||
                  (t->n_experts && t->ffn_dim);
        float_down |= t->ffn_dim && !is_integer(&model->layers[i].down);
        float_experts |= t->n_experts && !is_integer(&model->layers[i].experts_down);
        f->most_experts = most(f->most_experts, t->n_experts);
        f->most_chosen = most(f->most_chosen, t->n_chosen);
        expert = most(expert, t->expert_dim);
        kv_heads = t->n_kv_heads < kv_heads ? t->n_kv_heads : kv_heads;
    }
    f->dim_stride = row_stride(model->traits->dim);
    f->query_stride = row_stride(query);
    f->kv_stride = row_stride(key);
    f->rows = slm_arena_take(arena, max_rows, sizeof *f->rows);
    f->out_rows = slm_arena_take(arena, max_rows, sizeof *f->out_rows);
    f->apart = slm_arena_take(arena, (size_t)n_threads, sizeof *f->apart);
    f->x = take_rows(arena, max_rows, f->dim_stride);
    f->block = take_rows(arena, blocks ? max_rows : 0, f->dim_stride);
    take_operand(arena, &f->h, max_rows, most(model->traits->dim, query), true);
    take_operand(arena, &f->inner, max_rows, ffn, float_down);
    take_experts(f, expert, float_experts, arena);
    f->q = take_rows(arena, max_rows, f->query_stride);
    f->k = take_rows(arena, max_rows, f->kv_stride);
    f->v = take_rows(arena, max_rows, f->kv_stride);
    f->scores_stride = slm_round_up(model->traits->n_scores, SLM_PANEL_ROWS);
    f->scores = take_rows(arena, model->traits->n_scores ? max_rows : 0, f->scores_stride);

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
    /* Of a thread: struct tiling of attention.c says what for, or two matrices in ffn.c. */
    f->attend_scratch = slm_attend_scratch(kv->type, head);
    size_t attention = f->attend_scratch + SLM_TILE_ROWS * (2 * f->value_stride + padded(head));
    size_t rows = max_rows < SLM_FFN_PIECE ? max_rows : SLM_FFN_PIECE;
    size_t piece = rows * most(padded(ffn), f->slots_inner.stride);
    piece = piece < SLM_FFN_PIECE ? piece : SLM_FFN_PIECE;
    f->scratch_bytes = sizeof(float) * most(attention, 2 * piece);
    f->scratch = slm_arena_take(arena, (size_t)n_threads, f->scratch_bytes);
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
