/*
 * embed.c - the first stage: each row starts as its token's embedding, with that of its position
 * and of its token's type where the model has learned any. A row that begins a KV page clears it:
 * the first step is done before any key of its text is stored.
 */
#include "fwd/fwd.h"

#include <string.h>

/* x += a row of a matrix */
static void add_row(struct slm_fwd *f, size_t row, const struct slm_matrix *w, size_t index, float *x)
{
    float *h = f->h.rows + row * f->h.stride; /* free until the first norm */
    slm_quant_row(w->quant, w->panels, index, w->cols, h);
    for (size_t i = 0; i < w->cols; i++)
        x[i] += h[i];
}

static void embed_row(struct slm_fwd *f, size_t row, float *x)
{
    const struct slm_model *m = f->model;
    size_t dim = m->traits->dim;
    slm_quant_row(m->embedding.quant, m->embedding.panels, (size_t)f->rows[row].token, dim, x);
    if (m->traits->embedding_scale != 1.0f)
        f->kern->scale(x, x, m->traits->embedding_scale, dim);
    if (m->positions.panels)
        add_row(f, row, &m->positions, f->rows[row].position, x);
    if (m->token_types.panels)
        add_row(f, row, &m->token_types, f->rows[row].type, x);
    if (m->embedding_norm.weight)
        slm_norm_values(f, &m->embedding_norm, x, x, dim);
    /* Here, once a pass: a text before may have overflowed, and 0 * infinity is NaN. */
    memset(x + dim, 0, (f->dim_stride - dim) * sizeof *x);
}

static void begin_page(const struct slm_fwd *f, const struct slm_row *row)
{
    for (uint32_t g = 0; g < f->kv->n_groups && row->position % SLM_PAGE == 0; g++)
        slm_kv_clear(f->kv, g, row->tables[g].pages[row->position / SLM_PAGE]);
}

void slm_embed_rows(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    (void)step;
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++) {
        begin_page(f, &f->rows[i]);
        embed_row(f, i, f->x + i * f->dim_stride);
    }
    slm_rope_angles(f, part, n_parts);
}
