/* activate.c - between the matrices of a gated feed-forward block: h = act(gate) * up. */
#include "fwd/fwd.h"

#include <string.h>

void slm_activate(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    /* Blocks of 32 columns over all rows, so that threads share the work of a single row too. */
    size_t width = f->model->layers[step->layer].traits->ffn_dim;
    size_t cols = slm_round_up(width, SLM_TILE_COLS), blocks = cols / SLM_TILE_COLS;
    size_t first, last;
    slm_share(f->n_rows * blocks, part, n_parts, &first, &last);
    while (first < last) {
        size_t row = first / blocks, col = first % blocks * SLM_TILE_COLS;
        size_t n = cols - col;
        if (n > (last - first) * SLM_TILE_COLS)
            n = (last - first) * SLM_TILE_COLS;
        float *gate = f->gate + row * f->ffn_stride + col, *h = f->h + row * f->h_stride + col;
        f->kern->silu_mul(gate, f->up + row * f->ffn_stride + col, n);
        memcpy(h, gate, n * sizeof *h);
        if (col + n > width) /* what another layer, of another width, may have left there */
            memset(h + (width - col), 0, (col + n - width) * sizeof *h);
        if (step->quantize)
            f->kern->quantize(h, n, f->acts.q + row * cols + col, f->acts.blocks + first);
        first += n / SLM_TILE_COLS;
    }
}
