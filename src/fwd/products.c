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

/* Bytes of a row of what w reads. */
static size_t row_bytes(const struct slm_matrix *w)
{
    size_t block = SLM_TILE_COLS + sizeof(struct slm_act_block);
    return w->n_tiles * (w->quant->integer ? block : SLM_TILE_COLS * sizeof(float));
}

/* Multiply-adds of a row in one panel. */
static size_t row_work(const struct slm_matrix *w)
{
    return w->n_tiles * SLM_PANEL_ROWS * SLM_TILE_COLS;
}

/* `most` rows, or so many fewer that kernels like to take them together. */
static size_t whole(size_t most)
{
    enum { WHOLE = 12 }; /* what they take at once divides it */
    return most >= WHOLE ? most - most % WHOLE : most > 0 ? most : 1;
}

size_t slm_rows_at_once(const struct slm_matrix *w, size_t rows)
{
    size_t most = whole(SLM_CACHED_ROWS / row_bytes(w));
    return rows < most ? rows : most;
}

/* Panels [first, last) for n rows, with looks at the interrupt: some panels for all rows, or where
 * one panel of a wide matrix is too much for that, some rows at a time. */
static void panels_of(struct slm_fwd *f, const struct slm_product *p, const struct slm_operand *in,
                      float *y, size_t n, size_t first, size_t last)
{
    const struct slm_matrix *w = p->w;
    size_t rows = SLM_INTERRUPT_WORK / row_work(w), panels = rows / n;
    rows = whole(rows);
    panels = panels > 0 ? panels : 1;
    for (size_t panel = first; panel < last; panel += panels)
        for (size_t row = 0; row < n && !slm_interrupted(f); row += rows) {
            struct slm_operand from = slm_operand_from(in, row);
            const struct slm_gemm gemm = {
                .panels = w->panels,
                .n_tiles = w->n_tiles,
                .rows = w->rows,
                .bias = w->bias,
                .x = from.rows,
                .x_stride = from.stride,
                .acts = from.acts,
                .n = n - row < rows ? n - row : rows,
                .y = y + row * p->y_stride,
                .y_stride = p->y_stride,
                .scale = p->scale,
                .add = p->add,
            };
            f->kern->gemm[w->quant->type](&gemm, panel,
                                          last - panel < panels ? last : panel + panels);
        }
}

void slm_product_rows(struct slm_fwd *f, const struct slm_product *p, const struct slm_operand *in,
                      size_t rows, size_t first, size_t last)
{
    size_t step = slm_rows_at_once(p->w, rows);
    for (size_t row = 0; row < rows; row += step) {
        struct slm_operand from = slm_operand_from(in, row);
        panels_of(f, p, &from, p->y + row * p->y_stride, rows - row < step ? rows - row : step,
                  first, last);
    }
}

void slm_products(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    size_t total = 0, first, last, start = 0;
    for (uint32_t i = 0; i < step->n_products; i++)
        total += step->products[i].w->n_panels * panel_bytes(step->products[i].w);
    slm_share(total, part, n_parts, &first, &last);
    struct slm_operand input = slm_operand_from(step->input, f->first_row);
    for (uint32_t i = 0; i < step->n_products; i++) {
        struct slm_product product = step->products[i];
        const struct slm_matrix *w = product.w;
        product.y += f->first_row * product.y_stride;
        slm_product_rows(f, &product, &input, f->n_rows, panel_at(w, start, first),
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
    struct slm_product p = {.w = &f->model->head,
                            .y = f->out_rows[0]->logits,
                            .y_stride = f->model->head.n_panels * SLM_PANEL_ROWS,
                            .scale = f->model->traits->logit_scale};
    slm_product_rows(f, &p, &f->h, f->n_out_rows, first, last);
    if (f->model->traits->logit_cap > 0)
        for (size_t i = 0; i < f->n_out_rows && !slm_interrupted(f); i++)
            f->kern->soft_cap(p.y + i * p.y_stride + first * SLM_PANEL_ROWS,
                              (last - first) * SLM_PANEL_ROWS, f->model->traits->logit_cap);
}
