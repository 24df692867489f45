/* embed.c - the first stage: each row starts as its token's embedding. */
#include "fwd/fwd.h"

#include <string.h>

void slm_embed(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    (void)step;
    const struct slm_model *m = f->model;
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last; i++) {
        float *x = f->x + i * f->dim_stride;
        slm_quant_row(m->embedding.quant, m->embedding.panels, (size_t)f->rows[i].token,
                      m->traits->dim, x);
        if (m->traits->embedding_scale != 1.0f)
            f->kern->scale(x, x, m->traits->embedding_scale, m->traits->dim);
        /* Here, once a pass: a text before may have overflowed, and 0 * infinity is NaN. */
        memset(x + m->traits->dim, 0, (f->dim_stride - m->traits->dim) * sizeof *x);
    }
    slm_rope_angles(f, part, n_parts);
}
