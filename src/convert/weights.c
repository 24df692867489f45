/*
 * weights.c - see weights.h.
 *
 * A row goes one of two ways. Where the source's blocks hold what ours hold, they are transferred
 * with their scales and integers; everything else is decoded to floats and encoded anew. Nothing
 * but finite numbers gets through.
 */
#include "convert/weights.h"

#include "base/bits.h"
#include "source/quote.h"

#include <math.h>

/* Scratch for a tensor: one panel and three rows. */
struct bench {
    const struct slm_weight *w;
    const struct slm_source_tensor *source; /* the expert's, where it has its own */
    uint64_t source_first;                  /* row where the expert's begin, where it has not */
    uint32_t rows;                          /* of the matrix, or of an expert's */
    const struct slm_source_type *from;
    const struct slm_quant *to;
    bool transfer; /* blocks go over as they are */
    bool measure;  /* something may be lost */
    size_t tiles;  /* of a row */
    uint8_t *panel;
    size_t panel_bytes;
    float *values;          /* [cols rounded up to 32]: a row as the source has it */
    float *decoded;         /* the same as the file will have it */
    float *factor;          /* [factor_rows][cols] of a product, or NULL */
    float *narrow;          /* [factor_rows rounded up to 32]: a row before it is multiplied */
    double *sums;           /* [cols] */
    uint8_t *blocks;        /* a row of MXFP4 put together from two tensors, or NULL */
    size_t row_bytes;       /* of values or decoded */
    double squares, errors; /* sums over all rows */
};

/* Which row of the source is row `row` of the file. */
static uint64_t source_row(const struct slm_weight *w, uint32_t row)
{
    if (!w->head_dim)
        return (uint64_t)w->first_row + (uint64_t)w->row_step * row;
    uint32_t i = row % w->head_dim, head = row / w->head_dim, half = w->rotating / 2;
    if (i < w->rotating)
        i = i < half ? 2 * i : 2 * (i - half) + 1;
    uint64_t from = (uint64_t)(head / w->run) * w->stride + w->base + head % w->run;
    return from * w->head_dim + i;
}

static int not_finite(const struct slm_source_tensor *source, uint64_t row, size_t col)
{
    return slm_fail(SLM_EFORMAT, "tensor %s: row %llu, column %zu is not a finite number",
                    slm_quote(source->name, source->name_length).text, (unsigned long long)row,
                    col);
}

static int not_held(const struct bench *b, uint64_t row, size_t col)
{
    return slm_fail(
        SLM_EUNSUPPORTED,
        "tensor %s: row %llu, column %zu is %g, too large for %s; choose another --type",
        slm_quote(b->source->name, b->source->name_length).text, (unsigned long long)row, col,
        (double)b->values[col], b->to->name);
}

/* GGUF's order: a byte has elements i and i + 16 where the source has 2 i and 2 i + 1. */
static const uint8_t *join_blocks(const struct bench *b, uint64_t row)
{
    size_t n = b->w->cols / 32;
    const uint8_t *scales = b->w->scales->data + row * n, *pairs = b->source->data + row * n * 16;
    for (size_t k = 0; k < n; k++, pairs += 16) {
        uint8_t *block = b->blocks + 17 * k;
        block[0] = scales[k];
        for (size_t i = 0; i < 16; i++) {
            unsigned shift = i % 2 ? 4 : 0;
            unsigned low = pairs[i / 2] >> shift & 15, high = pairs[8 + i / 2] >> shift & 15;
            block[1 + i] = (uint8_t)(low | high << 4);
        }
    }
    return b->blocks;
}

static const uint8_t *row_data(const struct bench *b, uint64_t row)
{
    size_t cols = slm_weight_source_cols(b->w);
    if (b->blocks)
        return join_blocks(b, b->source_first + row);
    return b->source->data + (b->source_first + row) * (cols / b->from->values * b->from->bytes);
}

/* values = narrow times factor; each is rounded once. */
static void multiply(struct bench *b)
{
    size_t cols = b->w->cols;
    memset(b->sums, 0, cols * sizeof *b->sums);
    for (size_t i = 0; i < b->w->factor_rows; i++) {
        const float *factor = b->factor + i * cols;
        double x = (double)b->narrow[i];
        for (size_t c = 0; c < cols; c++)
            b->sums[c] += x * (double)factor[c];
    }
    for (size_t c = 0; c < cols; c++)
        b->values[c] = (float)b->sums[c];
}

/* A row of a matrix as floats, padded with zeros; every one of them finite. */
static int load_row(struct bench *b, uint64_t row)
{
    size_t cols = slm_weight_source_cols(b->w);
    float *values = b->w->factor ? b->narrow : b->values;
    if (b->w->transposed)
        for (size_t i = 0; i < cols; i++)
            b->from->decode(b->source->data + (b->source_first * cols + i * b->w->source_rows + row) *
                                                  b->from->bytes,
                            1, &values[i]);
    else
        b->from->decode(row_data(b, row), cols / b->from->values, values);
    for (size_t i = 0; i < cols; i++)
        if (!isfinite(values[i]))
            return not_finite(b->source, b->source_first + row, i);
    if (b->w->factor)
        multiply(b);
    return SLM_OK;
}

static bool finite_half(uint16_t bits)
{
    return (bits & 0x7C00) != 0x7C00;
}

/* Row `row` of the source into row `lane` of the panel, without floats. */
static int transfer_row(struct bench *b, uint64_t row, int lane)
{
    const uint8_t *data = row_data(b, row);
    unsigned parts = b->from->values / 32;
    for (size_t t = 0; t < b->tiles; t++) {
        struct slm_block block = {.minimum = 0};
        b->from->transfer(data + t / parts * b->from->bytes, (unsigned)(t % parts), &block);
        if (!finite_half(block.scale) || !finite_half(block.minimum))
            return not_finite(b->source, b->source_first + row, 32 * t);
        b->to->pack(b->panel + t * b->to->tile_bytes, lane, &block);
    }
    return SLM_OK;
}

static void encode_row(struct bench *b, int lane)
{
    for (size_t t = 0; t < b->tiles; t++) {
        struct slm_block block = {.minimum = 0};
        b->to->encode(&block, b->values + 32 * t);
        b->to->pack(b->panel + t * b->to->tile_bytes, lane, &block);
    }
}

/* Compare a row of the panel with the source. */
static int measure_row(struct bench *b, uint64_t row, int lane)
{
    size_t cols = b->w->cols;
    slm_quant_row(b->to, b->panel, (size_t)lane, cols, b->decoded);
    for (size_t i = 0; i < cols; i++) {
        if (!isfinite(b->decoded[i]))
            return not_held(b, row, i);
        double value = b->values[i], difference = b->decoded[i] - value;
        b->squares += value * value;
        b->errors += difference * difference;
    }
    return SLM_OK;
}

static int convert_row(struct bench *b, uint64_t row, int lane)
{
    int err = SLM_OK;
    if (!b->transfer || b->measure)
        err = load_row(b, row);
    if (!err && b->transfer)
        err = transfer_row(b, row, lane);
    else if (!err)
        encode_row(b, lane);
    if (!err && b->measure)
        err = measure_row(b, row, lane);
    return err;
}

/* Rows first to first + 15, as far as there are any. */
static int convert_panel(struct bench *b, uint32_t first)
{
    memset(b->panel, 0, b->panel_bytes);
    for (int lane = 0; lane < SLM_PANEL_ROWS && first + (uint32_t)lane < b->rows; lane++) {
        int err = convert_row(b, source_row(b->w, first + (uint32_t)lane), lane);
        if (err)
            return err;
    }
    return SLM_OK;
}

static int write_matrix(struct bench *b, struct slm_writer *writer,
                        const struct slm_weight_progress *progress)
{
    uint64_t row_length = slm_weight_source_cols(b->w) / b->from->values * b->from->bytes;
    for (uint32_t first = 0; first < b->rows; first += SLM_PANEL_ROWS) {
        uint32_t rows = b->rows - first < SLM_PANEL_ROWS ? b->rows - first : SLM_PANEL_ROWS;
        int err = convert_panel(b, first);
        if (!err)
            err = slm_writer_write(writer, b->panel, b->panel_bytes);
        if (!err && progress->advance(progress->user, rows * row_length))
            err = slm_fail(SLM_EINTR, "the conversion was stopped");
        if (err)
            return err;
    }
    return SLM_OK;
}

/* One expert's after the other's. */
static int write_matrices(struct bench *b, struct slm_writer *writer,
                          const struct slm_weight_progress *progress)
{
    const struct slm_weight *w = b->w;
    for (uint32_t e = 0; e < w->n_experts; e++) {
        if (w->pieces)
            b->source = w->pieces[e];
        else
            b->source_first = (uint64_t)e * w->source_rows;
        int err = write_matrix(b, writer, progress);
        if (err)
            return err;
    }
    return SLM_OK;
}

/* Numbers that a vector's tensor has. */
static size_t vector_length(const struct slm_weight *w)
{
    return (size_t)w->source_rows * slm_weight_stacked(w);
}

/* Which element of the source is element i of a vector; -1: it fills up a panel. */
static int64_t source_element(const struct slm_weight *w, uint32_t i)
{
    if (w->n_experts == 0)
        return (int64_t)source_row(w, i);
    uint32_t of_one = w->cols / w->n_experts, e = i / of_one, row = i % of_one;
    return row < w->expert_rows ? (int64_t)((uint64_t)e * w->source_rows + source_row(w, row)) : -1;
}

/* The floats of a vector, whole or in pieces. */
static int load_vector(struct bench *b)
{
    const struct slm_weight *w = b->w;
    for (size_t p = 0; p < (w->pieces ? w->n_pieces : 1); p++) {
        const struct slm_source_tensor *source = w->pieces ? w->pieces[p] : w->source;
        size_t n = vector_length(w);
        float *values = b->values + p * n;
        b->from->decode(source->data, n / b->from->values, values);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(values[i]))
                return not_finite(source, 0, i);
    }
    return SLM_OK;
}

/* A vector is plain f32; its elements are chosen like the rows of a matrix. */
static int write_vector(struct bench *b, struct slm_writer *writer,
                        const struct slm_weight_progress *progress)
{
    int err = load_vector(b);
    if (err)
        return err;
    for (uint32_t i = 0; i < b->w->cols; i++) {
        int64_t from = source_element(b->w, i);
        b->decoded[i] = from < 0 ? 0 : b->values[from] + (b->w->plus_one ? 1.0f : 0.0f);
    }
    err = slm_writer_write(writer, b->decoded, (uint64_t)b->w->cols * 4);
    if (!err && progress->advance(progress->user, slm_weight_source_bytes(b->w)))
        err = slm_fail(SLM_EINTR, "the conversion was stopped");
    return err;
}

/* The second matrix of a product as floats, row by row of the first one's columns. */
static int load_factor(struct bench *b, const slm_allocator *a)
{
    const struct slm_weight *w = b->w;
    const struct slm_source_type *type = slm_source_type(w->factor->type);
    size_t rows = w->turned ? w->cols : w->factor_rows, cols = w->turned ? w->factor_rows : w->cols;
    size_t longest = slm_round_up(cols, 256); /* a block is at most so long */
    b->factor = slm_alloc(a, (size_t)w->factor_rows * w->cols * sizeof *b->factor);
    b->narrow = slm_calloc(a, slm_round_up(w->factor_rows, 256) * sizeof *b->narrow);
    b->sums = slm_alloc(a, w->cols * sizeof *b->sums);
    float *row = slm_alloc(a, longest * sizeof *row);
    int err = b->factor && b->narrow && b->sums && row ? SLM_OK : SLM_ENOMEM;
    for (size_t r = 0; r < rows && !err; r++) {
        type->decode(w->factor->data + r * (cols / type->values * type->bytes), cols / type->values,
                     row);
        for (size_t c = 0; c < cols && !err; c++) {
            b->factor[w->turned ? c * w->cols + r : r * w->cols + c] = row[c];
            if (!isfinite(row[c]))
                err = not_finite(w->factor, r, c);
        }
    }
    slm_free(a, row, longest * sizeof *row);
    return err;
}

static int open_bench(struct bench *b, const struct slm_weight *w, const slm_allocator *a)
{
    *b = (struct bench){.w = w,
                        .source = w->source,
                        .rows = w->n_experts ? w->expert_rows : w->rows,
                        .from = slm_weight_source_type(w),
                        .to = slm_quant(w->type)};
    b->transfer =
        w->matrix && !w->transposed && !w->factor && b->from->transfer && b->from->keep == w->type;
    b->measure = w->matrix && !(b->transfer && b->from->exact);
    b->tiles = ((size_t)w->cols + SLM_TILE_COLS - 1) / SLM_TILE_COLS;
    size_t longest = w->matrix || w->cols > vector_length(w) ? w->cols : vector_length(w);
    b->row_bytes =
        slm_round_up(longest, SLM_TILE_COLS) * sizeof(float); /* shapes' limits keep both */
    b->panel_bytes = b->tiles * b->to->tile_bytes;            /* far from overflow */
    b->panel = slm_alloc(a, b->panel_bytes);
    b->values = slm_calloc(a, b->row_bytes);
    b->decoded = slm_calloc(a, b->row_bytes);
    b->blocks = w->scales ? slm_alloc(a, w->cols / 32 * 17) : NULL;
    int err = b->panel && b->values && b->decoded && (b->blocks || !w->scales) ? SLM_OK : SLM_ENOMEM;
    return err || !w->factor ? err : load_factor(b, a);
}

static void close_bench(struct bench *b, const slm_allocator *a)
{
    slm_free(a, b->panel, b->panel_bytes);
    slm_free(a, b->values, b->row_bytes);
    slm_free(a, b->decoded, b->row_bytes);
    slm_free(a, b->blocks, b->w->cols / 32 * 17);
    slm_free(a, b->factor, (size_t)b->w->factor_rows * b->w->cols * sizeof *b->factor);
    slm_free(a, b->narrow, slm_round_up(b->w->factor_rows, 256) * sizeof *b->narrow);
    slm_free(a, b->sums, b->w->cols * sizeof *b->sums);
}

int slm_weight_write(const struct slm_weight *w, struct slm_writer *writer, const slm_allocator *a,
                     const struct slm_weight_progress *progress, double *error)
{
    struct bench b;
    *error = 0;
    int err = open_bench(&b, w, a);
    if (!err)
        err = slm_writer_tensor(writer, w->role, w->layer, w->type, w->rows, w->cols);
    if (!err)
        err = (!w->matrix     ? write_vector
               : w->n_experts ? write_matrices
                              : write_matrix)(&b, writer, progress);
    close_bench(&b, a);
    if (!err && b.squares > 0)
        *error = sqrt(b.errors / b.squares);
    return err;
}
