/* norm.c - normalise rows, and quantize them for the matrices that follow. */
#include "fwd/fwd.h"

/* Row `from` of the residual stream becomes row `to` of the next matrices' input. */
static void norm_row(struct slm_fwd *f, const struct slm_step *step, size_t from, size_t to)
{
    const struct slm_traits *t = f->model->traits;
    float *h = f->h + to * f->h_stride;
    f->kern->rms_norm(h, f->x + from * f->dim_stride, step->weight, t->dim, t->norm_eps);
    if (step->quantize)
        f->kern->quantize(h, f->dim_stride, f->acts.q + to * f->dim_stride,
                          f->acts.blocks + to * (f->dim_stride / SLM_TILE_COLS));
}

void slm_norm(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last; i++)
        norm_row(f, step, i, i);
}

/* Only rows whose logits are wanted go on, side by side at the front of h. */
void slm_head_norm(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    size_t first, last;
    slm_share(f->n_logit_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last; i++)
        norm_row(f, step, (size_t)(f->logit_rows[i] - f->rows), i);
}
