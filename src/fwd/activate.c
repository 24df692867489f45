/*
 * activate.c - between the matrices of a feed-forward block: h = act(gate) * up, or h = act(up)
 * where there is no gate.
 */
#include "fwd/fwd.h"

#include <string.h>

_Static_assert((int)SLM_KERN_SILU == (int)SLM_ACT_SILU, "kernels go by the numbers of the file");
_Static_assert((int)SLM_KERN_RELU == (int)SLM_ACT_RELU, "kernels go by the numbers of the file");
_Static_assert((int)SLM_KERN_ACTIVATIONS == (int)SLM_N_ACTIVATIONS, "all of them");

void slm_activate(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    /* Blocks of 32 columns over all rows, so that threads share the work of a single row too. */
    const struct slm_layer *layer = &f->model->layers[step->layer];
    size_t width = layer->traits->ffn_dim;
    size_t cols = slm_round_up(width, SLM_TILE_COLS), blocks = cols / SLM_TILE_COLS;
    size_t first, last;
    slm_share(f->n_rows * blocks, part, n_parts, &first, &last);
    while (first < last && !slm_interrupted(f)) {
        size_t row = first / blocks, col = first % blocks * SLM_TILE_COLS;
        size_t n = cols - col;
        if (n > (last - first) * SLM_TILE_COLS)
            n = (last - first) * SLM_TILE_COLS;
        float *up = f->up + row * f->ffn_stride + col, *h = f->h + row * f->h_stride + col;
        const float *act = layer->gate.panels ? f->gate + row * f->ffn_stride + col : up;
        size_t used = n < width - col ? n : width - col; /* of the products, which fill panels */
        size_t lanes = slm_round_up(used, SLM_PANEL_ROWS);
        memcpy(h, act, lanes * sizeof *h);
        f->kern->activate[f->model->traits->activation](h, act == up ? NULL : up, lanes);
        memset(h + used, 0, (n - used) * sizeof *h); /* another layer may have left something there */
        if (step->quantize)
            f->kern->quantize(h, n, f->acts.q + row * cols + col, f->acts.blocks + first);
        first += n / SLM_TILE_COLS;
    }
}
