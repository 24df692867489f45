/*
 * products.c - matrices times activations, their panels dealt to the parts of a step.
 *
 * Matrices that read the same activations are one step: their panels form one row, which is cut so
 * that every part reads about the same number of bytes.
 */
#include "fwd/fwd.h"

static size_t panel_bytes(const struct slm_matrix *w)
{
    return w->n_tiles * w->quant->tile_bytes;
}

/* The first panel of w that begins at or after `bytes`, where w begins at `start`. */
static size_t panel_at(const struct slm_matrix *w, size_t start, size_t bytes)
{
    if (bytes <= start)
        return 0;
    size_t panel = (bytes - start + panel_bytes(w) - 1) / panel_bytes(w);
    return panel < w->n_panels ? panel : w->n_panels;
}

/* How much of a product is done between two looks at the interrupt: some panels for all rows, or
 * where one panel of a wide matrix is too much for that, some rows at a time. */
static void choose_step(const struct slm_matrix *w, size_t rows, size_t *panel_step, size_t *row_step)
{
    enum { WHOLE = 12 }; /* rows that kernels like to take together divide it */
    size_t of_row = w->n_tiles * SLM_PANEL_ROWS * SLM_TILE_COLS; /* in one panel */
    *panel_step = SLM_INTERRUPT_WORK / of_row / rows;
    *row_step = rows;
    if (*panel_step > 0)
        return;
    *panel_step = 1;
    *row_step = SLM_INTERRUPT_WORK / of_row;
    if (*row_step >= WHOLE)
        *row_step -= *row_step % WHOLE;
    else
        *row_step = *row_step > 0 ? *row_step : 1;
}

static void product(struct slm_fwd *f, const struct slm_product *p, size_t rows, float scale,
                    bool add, size_t first, size_t last)
{
    if (first >= last)
        return;
    const struct slm_gemm whole = {
        .panels = p->w->panels,
        .n_tiles = p->w->n_tiles,
        .rows = p->w->rows,
        .bias = p->w->bias,
        .x = f->h,
        .x_stride = f->h_stride,
        .acts = {f->acts.q, f->acts.blocks, p->w->n_tiles * SLM_TILE_COLS},
        .y = p->y,
        .y_stride = p->y_stride,
        .scale = scale,
        .add = add,
    };
    size_t panel_step, row_step;
    choose_step(p->w, rows, &panel_step, &row_step);
    for (size_t panel = first; panel < last; panel += panel_step)
        for (size_t row = 0; row < rows && !slm_interrupted(f); row += row_step) {
            struct slm_gemm gemm = whole;
            gemm.n = rows - row < row_step ? rows - row : row_step;
            gemm.x += row * gemm.x_stride;
            gemm.acts.q += row * gemm.acts.cols;
            gemm.acts.blocks += row * gemm.n_tiles;
            gemm.y += row * gemm.y_stride;
            size_t end = last - panel < panel_step ? last : panel + panel_step;
            f->kern->gemm[p->w->quant->type](&gemm, panel, end);
        }
}

void slm_products(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    size_t total = 0, first, last, start = 0;
    for (uint32_t i = 0; i < step->n_products; i++)
        total += step->products[i].w->n_panels * panel_bytes(step->products[i].w);
    slm_share(total, part, n_parts, &first, &last);
    float scale = step->add ? f->model->traits->residual_scale : 1.0f;
    for (uint32_t i = 0; i < step->n_products; i++) {
        const struct slm_matrix *w = step->products[i].w;
        product(f, &step->products[i], f->n_rows, scale, step->add, panel_at(w, start, first),
                panel_at(w, start, last));
        start += w->n_panels * panel_bytes(w);
    }
}

void slm_head(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    (void)step;
    if (f->n_out_rows == 0 || !f->out_rows[0]->logits)
        return;
    size_t first, last;
    slm_share(f->model->head.n_panels, part, n_parts, &first, &last);
    /* The logits of wanted rows lie one after another: run/eval.c deals them out in order. */
    struct slm_product p = {&f->model->head, f->out_rows[0]->logits,
                            f->model->head.n_panels * SLM_PANEL_ROWS};
    product(f, &p, f->n_out_rows, f->model->traits->logit_scale, false, first, last);
    if (f->model->traits->logit_cap > 0)
        for (size_t i = 0; i < f->n_out_rows; i++)
            f->kern->soft_cap(p.y + i * p.y_stride + first * SLM_PANEL_ROWS,
                              (last - first) * SLM_PANEL_ROWS, f->model->traits->logit_cap);
}
