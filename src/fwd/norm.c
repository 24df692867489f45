/*
 * norm.c - normalised rows: what the matrices that follow read, and what a block adds to the
 * residual stream where that is normalised first.
 */
#include "fwd/fwd.h"

#include <string.h>

void slm_norm_values(const struct slm_fwd *f, const struct slm_norm_weights *norm, float *out, const float *x,
                     size_t n)
{
    const struct slm_traits *t = f->model->traits;
    (t->norm == SLM_NORM_LAYER ? f->kern->layer_norm : f->kern->rms_norm)(
        out, x, norm->weight, norm->bias, n, t->norm_eps);
}

void slm_complete_row(const struct slm_fwd *f, const struct slm_operand *in, size_t row, size_t width,
                      bool quantize)
{
    size_t cols = slm_round_up(width, SLM_TILE_COLS);
    struct slm_operand to = slm_operand_from(in, row);
    memset(to.rows + width, 0, (cols - width) * sizeof *to.rows);
    if (quantize)
        f->kern->quantize(to.rows, cols, to.acts.q, to.acts.blocks);
}

/* Row `from` of the residual stream becomes row `to` of the next matrices' input. */
static void norm_row(struct slm_fwd *f, const struct slm_step *step, size_t from, size_t to)
{
    size_t dim = f->model->traits->dim;
    float *h = f->h.rows + to * f->h.stride;
    const float *x = f->x + from * f->dim_stride;
    if (step->norm->weight)
        slm_norm_values(f, step->norm, h, x, dim);
    else
        memcpy(h, x, dim * sizeof *h);
    slm_complete_row(f, &f->h, to, dim, step->quantize);
}

void slm_norm(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++)
        norm_row(f, step, i, i);
}

/* x += residual_scale * norm(what a block has left in f->block) */
void slm_add_normed(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_traits *t = f->model->traits;
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++) {
        float *x = f->x + i * f->dim_stride, *block = f->block + i * f->dim_stride;
        slm_norm_values(f, step->norm, block, block, t->dim);
        if (t->residual_scale != 1.0f)
            f->kern->scale(block, block, t->residual_scale, t->dim);
        for (size_t c = 0; c < t->dim; c++)
            x[c] += block[c];
    }
}

/* x = norm(x), once a block was added. */
void slm_sum_norm(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++) {
        float *x = f->x + i * f->dim_stride;
        slm_norm_values(f, step->norm, x, x, f->model->traits->dim);
    }
}

/* Only rows that somebody wants go on, side by side at the front of h. */
void slm_head_norm(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    size_t first, last;
    slm_share(f->n_out_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++)
        norm_row(f, step, (size_t)(f->out_rows[i] - f->rows), i);
}
