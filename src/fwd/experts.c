/*
 * experts.c - feed-forward blocks of which each row goes through a few.
 *
 * slm_route() chooses them for each row. slm_experts_gather() puts the rows into slots, those of
 * one expert side by side; each expert then computes its slots as if they were a batch, and
 * slm_experts_add() brings the results back to the rows. A row's results are added in the order of
 * their weights, so neither the rows beside it nor the threads change a bit. Of the experts that
 * nobody has chosen nothing is read.
 */
#include "fwd/fwd.h"

#include <math.h>
#include <string.h>

/* ----------------------------------------------------------------------- choosing --- */

/* The largest of logits[n], in order, their logits for weights. Of equal ones the first comes
 * first, and what is no number comes last. */
static void choose(const float *logits, size_t n, struct slm_chosen *choices, size_t n_chosen)
{
    size_t found = 0;
    for (uint32_t e = 0; e < n; e++) {
        float x = logits[e] == logits[e] ? logits[e] : -INFINITY;
        if (found == n_chosen && !(x > choices[found - 1].weight))
            continue;
        found += found < n_chosen;
        size_t at = found - 1;
        for (; at > 0 && x > choices[at - 1].weight; at--)
            choices[at] = choices[at - 1];
        choices[at] = (struct slm_chosen){e, 0, x};
    }
}

/* From logits to weights; logits become e^(logit - largest). */
static void weigh(const struct slm_fwd *f, const struct slm_layer_traits *t, float *logits,
                  struct slm_chosen *choices)
{
    float largest = choices[0].weight, total = 0;
    for (size_t e = 0; e < t->n_experts; e++)
        logits[e] -= largest;
    f->kern->exp(logits, logits, slm_round_up(t->n_experts, 16));
    size_t n = t->router == SLM_ROUTER_ALL ? t->n_experts : t->n_chosen;
    for (size_t i = 0; i < n; i++)
        total += logits[t->router == SLM_ROUTER_ALL ? i : choices[i].expert];
    for (size_t i = 0; i < t->n_chosen; i++)
        choices[i].weight = logits[choices[i].expert] / total;
}

void slm_route(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer *layer = &f->model->layers[step->layer];
    const struct slm_layer_traits *t = layer->traits;
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++) {
        float *logits = f->router + i * f->router_stride, *share = f->share + i * SLM_PANEL_ROWS;
        struct slm_chosen *choices = f->chosen + i * t->n_chosen;
        choose(logits, t->n_experts, choices, t->n_chosen);
        weigh(f, t, logits, choices);
        share[0] = layer->shared_gate.panels ? 0 - share[0] : 0;
        f->kern->exp(share, share, SLM_PANEL_ROWS);
        share[0] = layer->shared_gate.panels ? 1 / (1 + share[0]) : 1;
    }
}

/* Where rows go: a stable counting sort by expert. It is so little that every part does all of it,
 * and copies its own rows. */
void slm_experts_gather(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer_traits *t = f->model->layers[step->layer].traits;
    size_t first, last, n_chosen = f->n_rows * t->n_chosen;
    size_t dim = slm_round_up(f->model->traits->dim, SLM_TILE_COLS);
    uint32_t next[SLM_LIMIT_EXPERTS + 1] = {0}; /* slot of an expert */
    for (size_t i = 0; i < n_chosen; i++)
        next[f->chosen[i].expert + 1]++;
    for (size_t e = 0; e < t->n_experts; e++)
        next[e + 1] += next[e];
    if (part == 0)
        memcpy(f->expert_slots, next, (t->n_experts + 1) * sizeof *next);
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = 0; i < n_chosen; i++) {
        size_t row = i / t->n_chosen, slot = next[f->chosen[i].expert]++;
        if (row < first || row >= last || slm_interrupted(f))
            continue;
        f->chosen[i].slot = (uint32_t)slot;
        const struct slm_operand from = slm_operand_from(&f->h, row);
        const struct slm_operand to = slm_operand_from(&f->slots, slot);
        memcpy(to.rows, from.rows, dim * sizeof *to.rows);
        if (!step->quantize)
            continue;
        memcpy(to.acts.q, from.acts.q, dim);
        memcpy(to.acts.blocks, from.acts.blocks, dim / SLM_TILE_COLS * sizeof *to.acts.blocks);
    }
}

/* ---------------------------------------------------------------------- computing --- */

/* Which part does an expert's n-th share: another one with each expert, so that shares of different
 * size even out. */
static int turn(size_t expert, int part, int n_parts)
{
    return (int)((expert + (size_t)part) % (size_t)n_parts);
}

/* An expert's matrix in a stack of those that have `rows` rows. */
static struct slm_matrix matrix_of(const struct slm_matrix *stack, size_t expert, size_t rows)
{
    size_t n_panels = (rows + SLM_PANEL_ROWS - 1) / SLM_PANEL_ROWS;
    return slm_matrix_from(stack, expert * n_panels, rows);
}

void slm_experts_in(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer *layer = &f->model->layers[step->layer];
    const struct slm_layer_traits *t = layer->traits;
    if (layer->up.panels) /* the block beside them */
        slm_ffn(f, step, part, n_parts);
    for (size_t e = 0; e < t->n_experts && !slm_interrupted(f); e++) {
        size_t slot = f->expert_slots[e], n = f->expert_slots[e + 1] - slot;
        if (n == 0)
            continue;
        struct slm_matrix up = matrix_of(&layer->experts_up, e, t->expert_dim);
        struct slm_matrix gate = matrix_of(&layer->experts_gate, e, t->expert_dim);
        const struct slm_ffn ffn = {t, &up, &gate, &layer->experts_down, slm_scratch(f, part)};
        struct slm_operand in = slm_operand_from(&f->slots, slot);
        struct slm_operand out = slm_operand_from(&f->slots_inner, slot);
        slm_ffn_rows(f, &ffn, &in, &out, n, turn(e, part, n_parts), n_parts);
    }
}

void slm_experts_out(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer *layer = &f->model->layers[step->layer];
    const struct slm_layer_traits *t = layer->traits;
    slm_products(f, step, part, n_parts); /* of the block beside them */
    for (size_t e = 0; e < t->n_experts && !slm_interrupted(f); e++) {
        size_t slot = f->expert_slots[e], n = f->expert_slots[e + 1] - slot, first, last;
        if (n == 0)
            continue;
        struct slm_matrix down = matrix_of(&layer->experts_down, e, f->model->traits->dim);
        struct slm_operand in = slm_operand_from(&f->slots_inner, slot);
        const struct slm_product p = {&down, f->slots.rows + slot * f->slots.stride,
                                      f->slots.stride, 1, false};
        slm_share(down.n_panels, turn(e, part, n_parts), n_parts, &first, &last);
        slm_product_rows(f, &p, &in, n, first, last);
    }
}

/* ------------------------------------------------------------------------- adding --- */

/* sum += weight * y. In pieces of 16, which compilers make vectors of; the padding of both is free. */
static void add_weighted(float *restrict sum, const float *restrict y, float weight, size_t n)
{
    for (size_t c = 0; c < n; c += 16, sum += 16, y += 16)
        for (size_t i = 0; i < 16; i++)
            sum[i] += weight * y[i];
}

/* What the block beside the experts has left, then what they have, in order of weight. */
static void add_row(struct slm_fwd *f, const struct slm_layer *layer, size_t row)
{
    const struct slm_traits *m = f->model->traits;
    const struct slm_chosen *chosen = f->chosen + row * layer->traits->n_chosen;
    float share = f->share[row * SLM_PANEL_ROWS];
    float *sum = f->h.rows + row * f->h.stride; /* nobody needs that any more */
    const float *block = f->block + row * f->dim_stride;
    memset(sum, 0, slm_round_up(m->dim, 16) * sizeof *sum);
    if (layer->up.panels)
        add_weighted(sum, block, share, m->dim);
    for (size_t k = 0; k < layer->traits->n_chosen; k++)
        add_weighted(sum, slm_operand_from(&f->slots, chosen[k].slot).rows, chosen[k].weight, m->dim);
    if (layer->ffn_post_norm.weight) {
        memcpy(f->block + row * f->dim_stride, sum, m->dim * sizeof *sum);
        return;
    }
    float *x = f->x + row * f->dim_stride;
    for (size_t i = 0; i < m->dim; i++)
        x[i] += sum[i] * m->residual_scale;
}

void slm_experts_add(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++)
        add_row(f, &f->model->layers[step->layer], i);
}
