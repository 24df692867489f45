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

/* As many as stay in the cache meanwhile, and no more than may lie between two looks at the
 * interrupt for a single panel. */
size_t slm_rows_at_once(const struct slm_matrix *w, size_t rows)
{
    enum { WHOLE = 12 }; /* what kernels like to take together divides it */
    size_t cached = SLM_CACHED_ROWS / row_bytes(w), work = SLM_INTERRUPT_WORK / row_work(w);
    size_t most = cached < work ? cached : work;
    most = most >= WHOLE ? most - most % WHOLE : most > 0 ? most : 1;
    return rows < most ? rows : most;
}

void slm_product_rows(struct slm_fwd *f, const struct slm_product *p, const struct slm_operand *in,
                      size_t rows, size_t first, size_t last)
{
    const struct slm_matrix *w = p->w;
    struct slm_gemm gemm = {
        .panels = w->panels,
        .n_tiles = w->n_tiles,
        .rows = w->rows,
        .bias = w->bias,
        .x_stride = in->stride,
        .y_stride = p->y_stride,
        .scale = p->scale,
        .add = p->add,
    };
    size_t rows_at_once = slm_rows_at_once(w, rows), panels_at_once;
    for (size_t row = 0; row < rows; row += gemm.n) {
        struct slm_operand from = slm_operand_from(in, row, w->n_tiles * SLM_TILE_COLS);
        gemm.n = rows - row < rows_at_once ? rows - row : rows_at_once;
        gemm.x = from.rows;
        gemm.acts = from.acts;
        gemm.y = p->y + row * p->y_stride;
        panels_at_once = SLM_INTERRUPT_WORK / row_work(w) / gemm.n;
        panels_at_once = panels_at_once > 0 ? panels_at_once : 1;
        for (size_t panel = first, end; panel < last && !slm_interrupted(f); panel = end) {
            end = last - panel < panels_at_once ? last : panel + panels_at_once;
            f->kern->gemm[w->quant->type](&gemm, panel, end);
        }
    }
}

void slm_products(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    size_t total = 0, first, last, start = 0;
    for (uint32_t i = 0; i < step->n_products; i++)
        total += step->products[i].w->n_panels * panel_bytes(step->products[i].w);
    slm_share(total, part, n_parts, &first, &last);
    for (uint32_t i = 0; i < step->n_products; i++) {
        const struct slm_matrix *w = step->products[i].w;
        slm_product_rows(f, &step->products[i], step->input, f->n_rows, panel_at(w, start, first),
                         panel_at(w, start, last));
        start += w->n_panels * panel_bytes(w);
    }
}

void slm_head(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    if (f->n_out_rows == 0 || !f->out_rows[0]->logits)
        return;
    size_t first, last;
    slm_share(f->model->head.n_panels, part, n_parts, &first, &last);
    /* The logits of wanted rows lie one after another: run/eval.c deals them out in order. */
    struct slm_product p = {.w = &f->model->head,
                            .y = f->out_rows[0]->logits,
                            .y_stride = f->model->head.n_panels * SLM_PANEL_ROWS,
                            .scale = f->model->traits->logit_scale};
    slm_product_rows(f, &p, step->input, f->n_out_rows, first, last);
    if (f->model->traits->logit_cap > 0)
        for (size_t i = 0; i < f->n_out_rows; i++)
            f->kern->soft_cap(p.y + i * p.y_stride + first * SLM_PANEL_ROWS,
                              (last - first) * SLM_PANEL_ROWS, f->model->traits->logit_cap);
}
