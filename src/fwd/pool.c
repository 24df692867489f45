/*
 * pool.c - from the vectors of a text's positions to one, and what the score head does with it.
 *
 * A text may come in several passes: each adds its rows to what the passes before have left, in the
 * order of the text, so neither the cut of a text nor the number of threads changes a bit.
 */
#include "fwd/fwd.h"

/* pooled += h, for the rows that slm_head_norm() has put side by side. */
void slm_pool(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    (void)step;
    size_t first, last, dim = f->model->traits->dim;
    slm_share(dim, part, n_parts, &first, &last);
    for (size_t i = 0; i < f->n_out_rows && f->out_rows[i]->pooled; i++) {
        float *pooled = f->out_rows[i]->pooled;
        const float *h = f->h.rows + i * f->h.stride;
        for (size_t c = first; c < last; c++)
            pooled[c] += h[c];
    }
}

/* x = act(x), for rows that hold what score_dense gave. */
void slm_score_activate(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    (void)step;
    size_t first, last, width = slm_round_up(f->model->traits->dim, SLM_PANEL_ROWS);
    uint32_t activation = f->model->traits->score_activation;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last; i++) {
        float *x = f->x + i * f->dim_stride;
        if (activation == SLM_ACT_TANH)
            f->kern->soft_cap(x, width, 1);
        else if (activation)
            f->kern->activate[activation](x, NULL, width);
    }
}
