/*
 * ffn.c - the first half of a feed-forward block: act(gate) * up, or act(up) where there is no
 * gate.
 *
 * Both matrices and the activation are one step, cut by columns of the result. It goes through a
 * thread's scratch, a piece of rows and columns at a time, and is quantized from there: it never
 * needs the room of all rows in floats, nor the way to memory and back.
 */
#include "fwd/fwd.h"

#include <string.h>

_Static_assert((int)SLM_KERN_SILU == (int)SLM_ACT_SILU, "kernels go by the numbers of the file");
_Static_assert((int)SLM_KERN_RELU == (int)SLM_ACT_RELU, "kernels go by the numbers of the file");
_Static_assert((int)SLM_KERN_ACTIVATIONS == (int)SLM_N_ACTIVATIONS, "all of them");

/* Rows [0, n) and blocks of 32 columns [first, last) of a block's inner vectors. */
struct piece {
    size_t n, first, last;
    size_t stride; /* columns: of a row in scratch, too */
};

/* y[n][stride] = w * in, for the piece's columns. */
static void product(struct slm_fwd *f, const struct slm_matrix *w, const struct slm_operand *in,
                    const struct piece *piece, float *y)
{
    size_t first = piece->first * SLM_TILE_COLS, last = piece->last * SLM_TILE_COLS;
    last = last < w->rows ? last : w->rows;
    struct slm_matrix some = slm_matrix_from(w, first / SLM_PANEL_ROWS, last - first);
    const struct slm_product p = {.w = &some, .y = y, .y_stride = piece->stride, .scale = 1};
    slm_product_rows(f, &p, in, piece->n, 0, some.n_panels);
}

/* What some layers do to both before the activation; n values. */
static void hold(const struct slm_layer_traits *t, float *gate, float *up, size_t n)
{
    float limit = t->gate_limit;
    for (size_t i = 0; i < n && limit > 0; i++) {
        gate[i] = gate[i] > limit ? limit : gate[i]; /* what is no number stays so */
        up[i] = up[i] > limit ? limit : up[i];
        up[i] = up[i] < -limit ? -limit : up[i];
    }
    for (size_t i = 0; i < n && t->parts & SLM_LAYER_UP_PLUS_ONE; i++)
        up[i] += 1;
}

/* The block's last columns, which no row of its matrices stands for: 0, and so after the
 * activation. */
static void clear_behind(float *rows, const struct piece *piece, size_t width)
{
    size_t col = piece->first * SLM_TILE_COLS, n = piece->stride;
    for (size_t row = 0; row < piece->n && width - col < n; row++)
        memset(rows + row * n + (width - col), 0, (n - (width - col)) * sizeof *rows);
}

/* act(gate) * up, or act(up), to where the next matrix reads it. A piece's rows lie side by side in
 * scratch: activated as one, since a call for each, of 32 numbers, would mostly wait for itself. */
static void activate(struct slm_fwd *f, const struct slm_ffn *ffn, const struct piece *piece,
                     float *gate, float *up, const struct slm_operand *out)
{
    size_t col = piece->first * SLM_TILE_COLS, n = piece->stride;
    clear_behind(gate, piece, ffn->up->rows);
    if (up) {
        clear_behind(up, piece, ffn->up->rows);
        hold(ffn->traits, gate, up, piece->n * n);
    }
    f->kern->activate[f->model->traits->activation](gate, up, piece->n * n);
    for (size_t row = 0; row < piece->n; row++, gate += n) {
        struct slm_operand to = slm_operand_from(out, row);
        if (ffn->down->quant->integer)
            f->kern->quantize(gate, n, to.acts.q + col, to.acts.blocks + piece->first);
        else
            memcpy(to.rows + col, gate, n * sizeof *gate);
    }
}

void slm_ffn_rows(struct slm_fwd *f, const struct slm_ffn *ffn, const struct slm_operand *in,
                  const struct slm_operand *out, size_t n_rows, int part, int n_parts)
{
    float *scratch = ffn->scratch;
    size_t blocks = (ffn->up->rows + SLM_TILE_COLS - 1) / SLM_TILE_COLS, first, last;
    size_t rows = slm_rows_at_once(ffn->up, SLM_FFN_PIECE / SLM_TILE_COLS);
    slm_share(blocks, part, n_parts, &first, &last);
    struct piece piece;
    for (size_t row = 0; row < n_rows; row += piece.n) {
        piece.n = n_rows - row < rows ? n_rows - row : rows;
        struct slm_operand from = slm_operand_from(in, row);
        struct slm_operand to = slm_operand_from(out, row);
        size_t step = SLM_FFN_PIECE / SLM_TILE_COLS / piece.n;
        for (piece.first = first; piece.first < last; piece.first = piece.last) {
            piece.last = last - piece.first < step ? last : piece.first + step;
            piece.stride = (piece.last - piece.first) * SLM_TILE_COLS;
            float *up = scratch, *gate = scratch + piece.n * piece.stride;
            product(f, ffn->up, &from, &piece, up);
            if (ffn->gate->panels)
                product(f, ffn->gate, &from, &piece, gate);
            if (slm_interrupted(f))
                return;
            activate(f, ffn, &piece, ffn->gate->panels ? gate : up, ffn->gate->panels ? up : NULL,
                     &to);
        }
    }
}

void slm_ffn(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer *layer = &f->model->layers[step->layer];
    const struct slm_ffn ffn = {layer->traits, &layer->up, &layer->gate, &layer->down,
                                slm_scratch(f, part)};
    slm_ffn_rows(f, &ffn, &f->h, &f->inner, f->n_rows, part, n_parts);
}
