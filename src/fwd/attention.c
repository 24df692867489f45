/*
 * attention.c - dealing out attention.
 *
 * The unit of work is a tile: a few rows of one sequence times the query heads that share a KV
 * head, at most SLM_TILE_ROWS in all. Positions are taken in spans of SLM_SPAN, and the spans'
 * results merged in order. With many tiles a thread does all spans of a tile; with few (a single
 * token after a long text) the threads share the spans, and slm_attention_finish() merges. Both
 * merge the same numbers in the same order, so the result is the same.
 *
 * Results of shared spans wait in slots. There are only so many: a longer text goes through them in
 * rounds, and what a round has merged waits in the first slot of its row.
 */
#include "fwd/fwd.h"

#include <math.h>
#include <string.h>

/* What a layer's tiles have in common. */
struct tiling {
    struct slm_fwd *f;
    const struct slm_layer_traits *traits;
    const struct slm_kv_layer *kv;
    const float *slopes, *sinks; /* [n_heads] or NULL */
    size_t group;      /* query heads of a KV head */
    size_t heads;      /* of them in a tile */
    size_t tiles;      /* that a group is cut into */
    size_t tokens;     /* rows in a tile */

    /* This thread's scratch. */
    float *scores; /* attend()'s own */
    float *sums;   /* [2][SLM_TILE_ROWS][value_stride]: of all spans so far, and of one */
    float *query;  /* [head_dim][SLM_TILE_ROWS] or, for q8 pages, the same as activations */
};

/* One tile: `n` rows from `row` on, `n_heads` query heads from `head` on, all of one KV head. */
struct tile {
    size_t row, n, head, n_heads, kv_head;
};

static size_t first_seen(const struct slm_layer_traits *t, size_t position)
{
    return t->window && position + 1 > t->window ? position + 1 - t->window : 0;
}

static size_t end_seen(const struct slm_layer_traits *t, const struct slm_row *row)
{
    size_t end = (size_t)row->position + t->window; /* only a row that looks ahead sees so far */
    return t->window && end < row->end ? end : row->end;
}

/* Tile number `i` of n rows from `row` on. */
static struct tile tile_of(const struct tiling *g, size_t row, size_t n, size_t i)
{
    size_t kv_head = i / g->tiles, begin = i % g->tiles * g->heads;
    size_t heads = g->group - begin < g->heads ? g->group - begin : g->heads;
    return (struct tile){row, n, kv_head * g->group + begin, heads, kv_head};
}

/* Row r of the tile is the query q[head_dim], in the form that the pages are multiplied with. */
static void put_query(const struct tiling *g, struct slm_attend *a, size_t r, const float *q)
{
    if (a->kv_type == SLM_KV_Q8) {
        size_t cols = slm_round_up(a->head_dim, SLM_TILE_COLS), blocks = cols / SLM_TILE_COLS;
        a->acts.blocks = (struct slm_act_block *)(void *)g->query;
        a->acts.q = (int8_t *)(a->acts.blocks + SLM_TILE_ROWS * blocks);
        a->acts.cols = cols;
        g->f->kern->kv_query(q, a->head_dim, a->acts.q + r * cols, a->acts.blocks + r * blocks);
    } else {
        a->query = g->query;
        for (size_t d = 0; d < a->head_dim; d++)
            g->query[d * SLM_TILE_ROWS + r] = q[d];
    }
}

static void prepare(const struct tiling *g, const struct tile *tile, struct slm_attend *a)
{
    const struct slm_fwd *f = g->f;
    const struct slm_row *rows = f->rows + tile->row;
    a->kv_type = f->kv->type;
    a->head_dim = g->traits->head_dim;
    a->shape = g->kv->shape;
    a->keys = g->kv->keys + tile->kv_head * g->kv->key_plane;
    a->values = g->kv->values + tile->kv_head * g->kv->value_plane;
    a->pages = rows[0].tables[g->kv->group].pages;
    a->n_rows = tile->n * tile->n_heads;
    a->scale = g->traits->attention_scale;
    a->cap = g->traits->attention_cap;
    a->sloped = g->slopes;
    a->scores = g->scores;
    for (size_t i = 0; i < tile->n; i++)
        for (size_t h = 0; h < tile->n_heads; h++) {
            size_t r = i * tile->n_heads + h;
            put_query(g, a, r,
                      f->q + (tile->row + i) * f->query_stride +
                          (tile->head + h) * g->traits->head_dim);
            a->slope[r] = g->slopes ? g->slopes[tile->head + h] : 0;
            a->begin[r] = first_seen(g->traits, rows[i].position);
            a->end[r] = end_seen(g->traits, &rows[i]);
        }
}

/* What spans are merged into: nothing yet, or a sink, which has a score and no value. */
static void begin_sum(const float *sinks, size_t head, float *largest, float *total)
{
    *largest = sinks ? sinks[head] : -INFINITY;
    *total = sinks ? 1 : 0;
}

/* All spans of a tile, merged, into h. */
static void whole_tile(const struct tiling *g, const struct tile *tile)
{
    struct slm_fwd *f = g->f;
    size_t stride = g->kv->shape.value_stride;
    float *sums = g->sums;
    float largest[SLM_TILE_ROWS], total[SLM_TILE_ROWS];
    float span_largest[SLM_TILE_ROWS], span_total[SLM_TILE_ROWS];
    struct slm_attend a = {.largest = span_largest, .total = span_total};
    prepare(g, tile, &a);
    memset(sums, 0, a.n_rows * stride * sizeof *sums);
    for (size_t r = 0; r < a.n_rows; r++) {
        a.out[r] = sums + (SLM_TILE_ROWS + r) * stride;
        begin_sum(g->sinks, tile->head + r % tile->n_heads, &largest[r], &total[r]);
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
        f->kern->scale(f->h.rows + row * f->h.stride + head * g->traits->head_dim, sums + r * stride,
                       1.0f / total[r], g->traits->head_dim);
    }
}

static bool is_split(const struct slm_fwd *f)
{
    return f->n_rows <= f->split_rows;
}

/* Enough to keep the threads busy, and no more than all spans and the first slot. */
enum { LEAST_SLOTS = 64, LEAST_OF_ROW = 4 };

size_t slm_attention_slots(size_t rows, size_t max_spans)
{
    size_t of_row = rows * LEAST_OF_ROW > LEAST_SLOTS ? LEAST_OF_ROW : LEAST_SLOTS / (rows ? rows : 1);
    return rows * (of_row < max_spans + 1 ? of_row : max_spans + 1);
}

static uint32_t rounds_for(size_t spans, size_t of_row)
{
    return (uint32_t)((spans + of_row - 1) / of_row);
}

uint32_t slm_attention_most_rounds(size_t rows, size_t max_spans)
{
    return rows ? rounds_for(max_spans, slm_attention_slots(rows, max_spans) / rows - 1) : 1;
}

/* Spans of a row in one round. */
static size_t spans_of_round(const struct slm_fwd *f)
{
    return f->n_slots / f->n_rows - 1;
}

uint32_t slm_attention_rounds(const struct slm_fwd *f)
{
    size_t last = 0; /* windows make some rounds of some layers empty */
    for (size_t i = 0; i < f->n_rows && is_split(f); i++)
        last = f->rows[i].end > last ? f->rows[i].end : last;
    return is_split(f) ? rounds_for((last + SLM_SPAN - 1) / SLM_SPAN, spans_of_round(f)) : 1;
}

/* The spans [*first, *last) of a row's round. */
static void round_spans(const struct slm_fwd *f, const struct slm_layer_traits *t, size_t row,
                        uint32_t round, size_t *first, size_t *last)
{
    size_t end = (end_seen(t, &f->rows[row]) + SLM_SPAN - 1) / SLM_SPAN;
    *first = first_seen(t, f->rows[row].position) / SLM_SPAN + round * spans_of_round(f);
    *last = *first + spans_of_round(f) < end ? *first + spans_of_round(f) : end;
}

/* Where a row's slot for a head is: number 0 holds what was merged. */
static size_t slot_of(const struct slm_fwd *f, size_t row, size_t slot, size_t head)
{
    return (row * (spans_of_round(f) + 1) + slot) * f->max_heads + head;
}

/* One span of a tile of one row, into a slot. */
static void one_span(const struct tiling *g, const struct tile *tile, size_t span, size_t slot)
{
    struct slm_fwd *f = g->f;
    struct slm_attend a = {0};
    prepare(g, tile, &a);
    size_t at = slot_of(f, tile->row, slot, tile->head);
    a.largest = f->span_largest + at;
    a.total = f->span_total + at;
    for (size_t h = 0; h < tile->n_heads; h++)
        a.out[h] = f->span_out + (at + h) * f->value_stride;
    f->kern->attend(&a, span);
}

/* Rows from `row` on that belong to the same sequence, at most `most`. */
static size_t same_sequence(const struct slm_fwd *f, size_t row, size_t most)
{
    size_t n = 1;
    while (n < most && row + n < f->n_rows && f->rows[row + n].sequence == f->rows[row].sequence)
        n++;
    return n;
}

/* Few rows: single spans of all rows and tiles in one long list, of which each part takes a piece,
 * so that it reads keys and values in the order in which they lie. */
static void split_spans(const struct tiling *g, uint32_t round, int part, int n_parts)
{
    struct slm_fwd *f = g->f;
    size_t n = 0, at = 0, begin, end, first, last;
    size_t tiles = g->traits->n_kv_heads * g->tiles;
    for (size_t row = 0; row < f->n_rows; row++) {
        round_spans(f, g->traits, row, round, &first, &last);
        n += first < last ? (last - first) * tiles : 0;
    }
    slm_share(n, part, n_parts, &begin, &end);
    for (size_t row = 0; row < f->n_rows && at < end; row++) {
        round_spans(f, g->traits, row, round, &first, &last);
        for (size_t i = 0; i < tiles && at < end; i++)
            for (size_t span = first; span < last && at < end; span++, at++)
                if (at >= begin && !slm_interrupted(f)) {
                    struct tile tile = tile_of(g, row, 1, i);
                    one_span(g, &tile, span, 1 + span - first);
                }
    }
}

/* Positions that the tiles of n rows from `row` on see. */
static size_t positions_seen(const struct tiling *g, size_t row, size_t n)
{
    const struct slm_row *rows = g->f->rows + row;
    return end_seen(g->traits, &rows[n - 1]) - first_seen(g->traits, rows[0].position);
}

/* Many rows: whole tiles, a piece of the rows to each part, with about the same number of positions:
 * most of what a thread reads is then what it has stored, or goes on with, itself. */
static void deal_tiles(const struct tiling *g, int part, int n_parts)
{
    const struct slm_fwd *f = g->f;
    size_t tiles = g->traits->n_kv_heads * g->tiles, all = 0, at = 0, begin, end, n;
    for (size_t row = 0; row < f->n_rows; row += n) {
        n = same_sequence(f, row, g->tokens);
        all += tiles * positions_seen(g, row, n);
    }
    slm_share(all, part, n_parts, &begin, &end);
    for (size_t row = 0; row < f->n_rows && at < end; row += n) {
        n = same_sequence(f, row, g->tokens);
        for (size_t i = 0; i < tiles; i++, at += positions_seen(g, row, n))
            if (at >= begin && at < end) {
                struct tile tile = tile_of(g, row, n, i);
                whole_tile(g, &tile);
            }
    }
}

void slm_attention(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer_traits *t = f->model->layers[step->layer].traits;
    struct tiling g = {
        .f = f,
        .traits = t,
        .kv = &f->kv->layers[step->layer],
        .slopes = f->model->layers[step->layer].slopes,
        .sinks = f->model->layers[step->layer].sinks,
        .group = t->n_heads / t->n_kv_heads,
        .scores = slm_scratch(f, part),
    };
    g.sums = g.scores + f->attend_scratch;
    g.query = g.sums + 2 * SLM_TILE_ROWS * f->value_stride;
    g.heads = g.group < SLM_TILE_ROWS ? g.group : SLM_TILE_ROWS;
    g.tiles = (g.group + g.heads - 1) / g.heads;
    g.tokens = SLM_TILE_ROWS / g.heads;
    if (is_split(f))
        split_spans(&g, step->round, part, n_parts);
    else
        deal_tiles(&g, part, n_parts);
}

/* A round's spans join what was merged before. */
static void merge_spans(struct slm_fwd *f, const struct slm_layer *layer, size_t row, size_t head,
                        uint32_t round)
{
    const struct slm_layer_traits *t = layer->traits;
    size_t stride = slm_round_up(t->head_dim, 16), merged = slot_of(f, row, 0, head), from, to;
    float *out = f->span_out + merged * f->value_stride;
    if (round == 0) { /* as in whole_tile() */
        begin_sum(layer->sinks, head, &f->span_largest[merged], &f->span_total[merged]);
        memset(out, 0, stride * sizeof *out);
    }
    round_spans(f, t, row, round, &from, &to);
    for (size_t span = from; span < to; span++) {
        size_t slot = slot_of(f, row, 1 + span - from, head);
        f->kern->attend_merge(&f->span_largest[merged], &f->span_total[merged], out,
                              f->span_largest[slot], f->span_total[slot],
                              f->span_out + slot * f->value_stride, stride);
    }
}

/* The round before this step's: the next needs its slots. */
void slm_attention_merge(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer *layer = &f->model->layers[step->layer];
    size_t first, last, n_heads = layer->traits->n_heads;
    slm_share(f->n_rows * n_heads, part, n_parts, &first, &last);
    for (size_t i = first; i < last; i++)
        merge_spans(f, layer, i / n_heads, i % n_heads, step->round - 1);
}

/* The last round of a row, and its result into h. */
static void finish_row(struct slm_fwd *f, const struct slm_layer *layer, size_t row)
{
    const struct slm_layer_traits *t = layer->traits;
    for (size_t head = 0; head < t->n_heads; head++) {
        merge_spans(f, layer, row, head, f->n_rounds - 1);
        size_t merged = slot_of(f, row, 0, head);
        f->kern->scale(f->h.rows + row * f->h.stride + head * t->head_dim,
                       f->span_out + merged * f->value_stride, 1.0f / f->span_total[merged],
                       t->head_dim);
    }
}

void slm_attention_finish(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer *layer = &f->model->layers[step->layer];
    size_t first, last, width = (size_t)layer->traits->n_heads * layer->traits->head_dim;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++) {
        if (is_split(f))
            finish_row(f, layer, i);
        slm_complete_row(f, &f->h, i, width, step->quantize);
    }
}
