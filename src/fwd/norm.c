/* norm.c - normalise rows, and quantize them for the matrices that follow. */
#include "fwd/fwd.h"

void slm_norm(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_traits *t = f->model->traits;
    size_t first, last, cols = f->dim_stride;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last; i++) {
        float *h = f->h + i * f->h_stride;
        f->kern->rms_norm(h, f->x + i * f->dim_stride, step->weight, t->dim, t->norm_eps);
        if (step->quantize)
            f->kern->quantize(h, cols, f->acts.q + i * cols,
                              f->acts.blocks + i * (cols / SLM_TILE_COLS));
    }
}
