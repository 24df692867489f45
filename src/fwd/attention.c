/*
 * attention.c - dealing out attention.
 *
 * The unit of work is a tile: a few rows of one sequence times the query heads that share a KV
 * head, at most SLM_TILE_ROWS in all. Positions are taken in spans of SLM_SPAN, and the spans'
 * results merged in order. With many tiles a thread does all spans of a tile; with few (a single
 * token after a long text) the threads share the spans, and slm_attention_finish() merges. Both
 * merge the same numbers in the same order, so the result is the same.
 */
#include "fwd/fwd.h"

#include <math.h>
#include <string.h>

/* What a layer's tiles have in common. */
struct tiling {
    struct slm_fwd *f;
    const struct slm_layer_traits *traits;
    const struct slm_kv_layer *kv;
    const float *slopes; /* [n_heads] or NULL */
    size_t group;      /* query heads of a KV head */
    size_t heads;      /* of them in a tile */
    size_t tokens;     /* rows in a tile */
    bool split;        /* by spans */
    float *scores;     /* this thread's scratch */
};

/* One tile: `n` rows from `row` on, `n_heads` query heads from `head` on, all of one KV head. */
struct tile {
    size_t row, n, head, n_heads, kv_head;
};

static size_t first_seen(const struct slm_layer_traits *t, size_t position)
{
    return t->window && position + 1 > t->window ? position + 1 - t->window : 0;
}

static void prepare(const struct tiling *g, const struct tile *tile, struct slm_attend *a)
{
    const struct slm_fwd *f = g->f;
    const struct slm_row *rows = f->rows + tile->row;
    a->kv_type = f->kv->type;
    a->head_dim = g->traits->head_dim;
    a->value_stride = g->kv->value_stride;
    a->plane = g->kv->plane + tile->kv_head * g->kv->head_bytes;
    a->page_bytes = g->kv->page_bytes;
    a->values_offset = g->kv->values_offset;
    a->pages = rows[0].tables[g->kv->group].pages;
    a->n_rows = tile->n * tile->n_heads;
    a->scale = g->traits->attention_scale;
    a->cap = g->traits->attention_cap;
    a->sloped = g->slopes;
    a->scores = g->scores;
    for (size_t i = 0; i < tile->n; i++)
        for (size_t h = 0; h < tile->n_heads; h++) {
            size_t r = i * tile->n_heads + h;
            a->query[r] = f->q + (tile->row + i) * f->query_stride +
                          (tile->head + h) * g->traits->head_dim;
            a->slope[r] = g->slopes ? g->slopes[tile->head + h] : 0;
            a->begin[r] = first_seen(g->traits, rows[i].position);
            a->end[r] = (size_t)rows[i].position + 1;
        }
}

/* All spans of a tile, merged, into h. */
static void whole_tile(const struct tiling *g, const struct tile *tile)
{
    struct slm_fwd *f = g->f;
    size_t stride = g->kv->value_stride;
    float *sums = g->scores + SLM_TILE_ROWS * SLM_SPAN; /* of all spans so far; then of one */
    float largest[SLM_TILE_ROWS], total[SLM_TILE_ROWS];
    float span_largest[SLM_TILE_ROWS], span_total[SLM_TILE_ROWS];
    struct slm_attend a = {.largest = span_largest, .total = span_total};
    prepare(g, tile, &a);
    memset(sums, 0, SLM_TILE_ROWS * stride * sizeof *sums);
    for (size_t r = 0; r < a.n_rows; r++) {
        a.out[r] = sums + (SLM_TILE_ROWS + r) * stride;
        largest[r] = -INFINITY;
        total[r] = 0;
    }
    size_t last = (a.end[a.n_rows - 1] - 1) / SLM_SPAN;
    for (size_t span = a.begin[0] / SLM_SPAN; span <= last; span++) {
        if (slm_interrupted(f)) /* a tile of a long text is long */
            return;
        f->kern->attend(&a, span);
        for (size_t r = 0; r < a.n_rows; r++)
            f->kern->attend_merge(&largest[r], &total[r], sums + r * stride, span_largest[r],
                                  span_total[r], a.out[r], stride);
    }
    for (size_t r = 0; r < a.n_rows; r++) {
        size_t row = tile->row + r / tile->n_heads, head = tile->head + r % tile->n_heads;
        f->kern->scale(f->h + row * f->h_stride + head * g->traits->head_dim, sums + r * stride,
                       1.0f / total[r], g->traits->head_dim);
    }
}

static size_t part_of(const struct slm_fwd *f, size_t row, size_t head, size_t span)
{
    return (row * f->max_heads + head) * f->max_spans + span;
}

/* One span of a tile of one row. */
static void one_span(const struct tiling *g, const struct tile *tile, size_t span)
{
    struct slm_fwd *f = g->f;
    float largest[SLM_TILE_ROWS], total[SLM_TILE_ROWS];
    struct slm_attend a = {.largest = largest, .total = total};
    prepare(g, tile, &a);
    for (size_t h = 0; h < tile->n_heads; h++)
        a.out[h] = f->span_out + part_of(f, tile->row, tile->head + h, span) * f->value_stride;
    f->kern->attend(&a, span);
    for (size_t h = 0; h < tile->n_heads; h++) {
        size_t part = part_of(f, tile->row, tile->head + h, span);
        f->span_largest[part] = largest[h];
        f->span_total[part] = total[h];
    }
}

static bool is_split(const struct slm_fwd *f)
{
    return f->n_rows <= f->split_rows;
}

/* Rows from `row` on that belong to the same sequence, at most `most`. */
static size_t same_sequence(const struct slm_fwd *f, size_t row, size_t most)
{
    size_t n = 1;
    while (n < most && row + n < f->n_rows && f->rows[row + n].sequence == f->rows[row].sequence)
        n++;
    return n;
}

void slm_attention(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer_traits *t = f->model->layers[step->layer].traits;
    struct tiling g = {
        .f = f,
        .traits = t,
        .kv = &f->kv->layers[step->layer],
        .slopes = f->model->layers[step->layer].slopes,
        .group = t->n_heads / t->n_kv_heads,
        .split = is_split(f),
        .scores = f->scores + (size_t)part * (f->score_bytes / sizeof(float)),
    };
    g.heads = g.group < SLM_TILE_ROWS ? g.group : SLM_TILE_ROWS;
    g.tokens = g.split ? 1 : SLM_TILE_ROWS / g.heads;

    /* Units are dealt in turn: neighbours cost about the same, later positions more. */
    size_t unit = 0;
    for (size_t row = 0, n; row < f->n_rows; row += n) {
        n = same_sequence(f, row, g.tokens);
        for (size_t kv_head = 0; kv_head < t->n_kv_heads; kv_head++)
            for (size_t h = 0; h < g.group; h += g.heads) {
                struct tile tile = {row, n, kv_head * g.group + h,
                                    g.group - h < g.heads ? g.group - h : g.heads, kv_head};
                if (!g.split) {
                    if (unit++ % (size_t)n_parts == (size_t)part)
                        whole_tile(&g, &tile);
                    continue;
                }
                size_t position = f->rows[row].position;
                for (size_t s = first_seen(t, position) / SLM_SPAN; s <= position / SLM_SPAN; s++)
                    if (unit++ % (size_t)n_parts == (size_t)part && !slm_interrupted(f))
                        one_span(&g, &tile, s);
            }
    }
}

static void merge_spans(struct slm_fwd *f, const struct slm_layer_traits *t, size_t row, size_t head,
                        int scratch)
{
    size_t position = f->rows[row].position, span = first_seen(t, position) / SLM_SPAN;
    size_t stride = slm_round_up(t->head_dim, 16);
    float *out = f->scores + (size_t)scratch * (f->score_bytes / sizeof(float));
    float largest = -INFINITY, total = 0; /* as in whole_tile() */
    memset(out, 0, stride * sizeof *out);
    for (; span <= position / SLM_SPAN; span++) {
        size_t part = part_of(f, row, head, span);
        f->kern->attend_merge(&largest, &total, out, f->span_largest[part], f->span_total[part],
                              f->span_out + part * f->value_stride, stride);
    }
    f->kern->scale(f->h + row * f->h_stride + head * t->head_dim, out, 1.0f / total, t->head_dim);
}

void slm_attention_finish(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer_traits *t = f->model->layers[step->layer].traits;
    size_t first, last, width = (size_t)t->n_heads * t->head_dim;
    size_t cols = slm_round_up(width, SLM_TILE_COLS);
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++) {
        float *h = f->h + i * f->h_stride;
        if (is_split(f))
            for (size_t head = 0; head < t->n_heads; head++)
                merge_spans(f, t, i, head, part);
        memset(h + width, 0, (cols - width) * sizeof *h);
        if (step->quantize)
            f->kern->quantize(h, cols, f->acts.q + i * cols,
                              f->acts.blocks + i * (cols / SLM_TILE_COLS));
    }
}
