/*
 * attend_tmpl.h - attention over one span of positions, for a few query rows at once.
 *
 * Scores: lane = position, products added dimension by dimension. Values: lane = dimension, added
 * position by position. A row sees the positions [begin, end) of the sequence and nothing outside
 * is read into its sums: lanes beyond are replaced before they are used (their memory may hold
 * anything), so a row's result does not depend on which rows share its tile.
 */

/* Asking for the type at every load costs nothing beside what is done with it, and saves a second
 * copy of all that follows. */
INLINED size_t element_bytes(uint32_t kv)
{
    return kv == SLM_KV_F32 ? 4 : 2;
}

INLINED vf kv_load(const uint8_t *p, uint32_t kv)
{
    return kv == SLM_KV_F32 ? vf_load((const float *)p) : vf_load_f16((const uint16_t *)p);
}

INLINED const uint8_t *keys_of(const struct slm_attend *a, size_t position)
{
    return a->keys + a->pages[position / SLM_PAGE] * a->shape.key_bytes;
}

INLINED const uint8_t *values_of(const struct slm_attend *a, size_t position)
{
    return a->values + a->pages[position / SLM_PAGE] * a->shape.value_bytes;
}

/* q8: [blocks][SLM_PAGE] behind the page's keys. */
INLINED const uint16_t *value_scales(const struct slm_attend *a, size_t position)
{
    const size_t blocks = (a->head_dim + 31) / 32;
    return (const uint16_t *)(const void *)(keys_of(a, position) +
                                            SLM_PAGE / 16 * blocks * SLM_TILE_Q8);
}

/* Scores of `rows` rows from r on, at 16 * vectors positions of one page. */
INLINED void score_floats(const struct slm_attend *a, size_t position, float *scores, size_t r,
                          const int rows, const int vectors, uint32_t kv)
{
    const size_t column = SLM_PAGE * element_bytes(kv);
    const uint8_t *keys = keys_of(a, position) + position % SLM_PAGE * element_bytes(kv);
    const float *query = a->query + r;
    vf acc[VM_ROWS];
    UNROLLED
    for (int i = 0; i < rows * vectors; i++)
        acc[i] = vf_set(0);
    const uint8_t *values = values_of(a, position); /* are wanted next, and as long as keys */
    for (size_t d = 0; d < a->head_dim; d++, query += SLM_TILE_ROWS) {
        ask_soon(values + d * column, 1);
        UNROLLED
        for (int v = 0; v < vectors; v++) {
            vf k = kv_load(keys + d * column + (size_t)v * 16 * element_bytes(kv), kv);
            UNROLLED
            for (int i = 0; i < rows; i++)
                acc[i * vectors + v] = vf_fma(k, vf_set(query[i]), acc[i * vectors + v]);
        }
    }
    UNROLLED
    for (int i = 0; i < rows * vectors; i++)
        vf_store(scores + (r + (size_t)(i / vectors)) * SLM_SPAN + 16 * (i % vectors),
                 vf_mul(acc[i], vf_set(a->scale)));
}

/* Scores of `rows` rows at all positions of a page; what lies beyond the sequence too, which
 * softmax_row() leaves out. */
INLINED void score_page(const struct slm_attend *a, size_t page, size_t r, const int rows,
                        uint32_t kv)
{
    const int vectors = rows * 2 <= VM_ROWS ? 2 : 1;
    for (size_t i = 0; i < SLM_PAGE; i += 16 * (size_t)vectors)
        score_floats(a, page + i, a->scores + (page + i) % SLM_SPAN, r, rows, vectors, kv);
}

/* Weighted sum of 16 * vectors dimensions of the values over the positions [from, to), for `rows`
 * rows that see all of these. */
INLINED void value_part(const struct slm_attend *a, size_t from, size_t to, size_t dim, size_t r,
                        const int rows, const int vectors, uint32_t kv)
{
    vf acc[VM_ROWS];
    UNROLLED
    for (int i = 0; i < rows * vectors; i++)
        acc[i] = vf_load(a->out[r + (size_t)(i / vectors)] + dim + 16 * (i % vectors));
    size_t stride = a->shape.value_stride * element_bytes(kv);
    const float *weights = a->scores + r * SLM_SPAN + from % SLM_SPAN;
    for (size_t position = from; position < to;) {
        size_t slot = position % SLM_PAGE, n = SLM_PAGE - slot;
        if (n > to - position)
            n = to - position;
        const uint8_t *values = values_of(a, position) + slot * stride + dim * element_bytes(kv);
        for (size_t i = 0; i < n; i++, values += stride, weights++) {
            UNROLLED
            for (int v = 0; v < vectors; v++) {
                vf value = kv_load(values + (size_t)v * 16 * element_bytes(kv), kv);
                UNROLLED
                for (int j = 0; j < rows; j++)
                    acc[j * vectors + v] =
                        vf_fma(vf_set(weights[j * SLM_SPAN]), value, acc[j * vectors + v]);
            }
        }
        position += n;
    }
    UNROLLED
    for (int i = 0; i < rows * vectors; i++)
        vf_store(a->out[r + (size_t)(i / vectors)] + dim + 16 * (i % vectors), acc[i]);
}

/* All dimensions: as many at once as there are registers for. */
INLINED void value_rows(const struct slm_attend *a, size_t from, size_t to, size_t r,
                        const int rows, uint32_t kv)
{
    if (from >= to)
        return;
    const int vectors = rows * 4 <= VM_ROWS ? 4 : rows * 2 <= VM_ROWS ? 2 : 1;
    size_t dim = 0, dims = a->shape.value_stride;
    for (; dim + 16 * (size_t)vectors <= dims; dim += 16 * (size_t)vectors)
        value_part(a, from, to, dim, r, rows, vectors, kv);
    if (vectors > 1)
        for (; dim < dims; dim += 16)
            value_part(a, from, to, dim, r, rows, 1, kv);
}

/* What may happen to scores between q.k and softmax: a soft cap; a slope over the distance. */
INLINED vf adjust(const struct slm_attend *a, size_t r, size_t position, vf score)
{
    static const float lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    if (a->cap > 0)
        score = vf_mul(vf_set(a->cap), vf_tanh(vf_div(score, vf_set(a->cap))));
    if (a->sloped) { /* positions are whole numbers below 2^24: their difference is exact */
        vf ahead = vf_sub(vf_add(vf_load(lanes), vf_set((float)position)),
                          vf_set((float)(a->end[r] - 1)));
        score = vf_fma(vf_set(a->slope[r]), ahead, score);
    }
    return score;
}

/* Positions [from, to) of row r's scores become weights e^(score - largest), the rest 0. */
INLINED void softmax_row(const struct slm_attend *a, size_t r, size_t start, size_t from, size_t to)
{
    float *scores = a->scores + r * SLM_SPAN;
    vf minus = vf_set(-INFINITY), largest = minus, total = vf_set(0), zero = vf_set(0);
    size_t first = (from - start) / 16 * 16;
    for (size_t i = first; i < to - start; i += 16) {
        vf s = adjust(a, r, start + i, vf_load(scores + i));
        if (start + i < from)
            s = vf_first(minus, from - start - i, s);
        if (to - start - i < 16)
            s = vf_first(s, to - start - i, minus);
        vf_store(scores + i, s);
        largest = vf_max(s, largest);
    }
    float top = vf_largest(largest);
    for (size_t i = first; i < to - start; i += 16) {
        vf weight = vf_exp(vf_sub(vf_load(scores + i), vf_set(top)));
        if (start + i < from)
            weight = vf_first(zero, from - start - i, weight);
        if (to - start - i < 16)
            weight = vf_first(weight, to - start - i, zero);
        vf_store(scores + i, weight);
        total = vf_add(total, weight);
    }
    a->largest[r] = top;
    a->total[r] = vf_sum(total);
}

/* Calls one of the bodies above for all rows, with a constant number of them at once, at most
 * `most`, so that they stay in registers. */
#define EACH_ROWS(n_rows, most, call)                                                              \
    do {                                                                                           \
        size_t r = 0;                                                                              \
        for (; most > 1 && n_rows - r >= most; r += most)                                          \
            call(most);                                                                            \
        for (; most > 4 && n_rows - r >= 4; r += 4)                                                \
            call(4);                                                                               \
        for (; most > 3 && n_rows - r >= 3; r += 3)                                                \
            call(3);                                                                               \
        for (; r < n_rows; r++)                                                                    \
            call(1);                                                                               \
    } while (0)

static size_t later(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t earlier(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void softmax_rows(const struct slm_attend *a, size_t start)
{
    for (size_t r = 0; r < a->n_rows; r++) {
        size_t from = later(start, a->begin[r]), to = earlier(start + SLM_SPAN, a->end[r]);
        memset(a->out[r], 0, a->shape.value_stride * sizeof(float));
        if (from < to) {
            softmax_row(a, r, start, from, to);
        } else {
            a->largest[r] = -INFINITY;
            a->total[r] = 0;
        }
    }
}

/* Positions of the span that any row sees, as whole pages: [*from, *to), perhaps none. */
static void pages_seen(const struct slm_attend *a, size_t start, size_t *from, size_t *to)
{
    *from = start + SLM_SPAN;
    for (size_t r = 0; r < a->n_rows; r++)
        *from = earlier(*from, a->begin[r]);
    *from = later(start, *from) / SLM_PAGE * SLM_PAGE;
    *to = later(*from, slm_round_up(earlier(start + SLM_SPAN, a->end[a->n_rows - 1]), SLM_PAGE));
}

/* The same for one row, in a function of its own: this is called from several places. */
static void value_row(const struct slm_attend *a, size_t from, size_t to, size_t r)
{
    value_rows(a, from, to, r, 1, a->kv_type);
}

/* Rows that see the same positions go together; the others (the diagonal of a prompt, the edge of a
 * window) take the common part together and the rest alone, positions still in order. */
INLINED void attend_values(const struct slm_attend *a, size_t start, uint32_t kv)
{
    size_t stop = start + SLM_SPAN, common_from = start, common_to = stop;
    for (size_t r = 0; r < a->n_rows; r++) {
        common_from = later(common_from, a->begin[r]);
        common_to = earlier(common_to, later(start, a->end[r]));
    }
    if (common_from > common_to)
        common_from = common_to;
    for (int part = 0; part < 3; part++) {
        if (part == 1) {
#define VALUE(rows)                                                                                \
    if (rows == 1)                                                                                 \
        value_row(a, common_from, common_to, r);                                                   \
    else                                                                                           \
        value_rows(a, common_from, common_to, r, rows, kv)
            EACH_ROWS(a->n_rows, VM_ROWS, VALUE);
#undef VALUE
            continue;
        }
        for (size_t r = 0; r < a->n_rows; r++) {
            size_t from = later(start, a->begin[r]), to = earlier(stop, a->end[r]);
            if (part == 0)
                to = earlier(to, common_from);
            else
                from = later(from, common_to);
            value_row(a, from, to, r);
        }
    }
}

INLINED void attend_floats(const struct slm_attend *a, size_t span, uint32_t kv)
{
    size_t start = span * SLM_SPAN, from, to;
    pages_seen(a, start, &from, &to);
    for (size_t page = from; page < to; page += SLM_PAGE) {
#define SCORE(rows) score_page(a, page, r, rows, kv)
        EACH_ROWS(a->n_rows, VM_ROWS, SCORE);
#undef SCORE
    }
    softmax_rows(a, start);
    attend_values(a, start, kv);
}

/* --------------------------------------------------------------------------- q8 --- */

/*
 * The change of basis of keys and queries: 32 dimensions times the matrix of Hadamard, whose
 * entries are 1 and -1. Products of two vectors grow by 32 and nothing else changes; but a few
 * dimensions that are much larger than the rest, as keys have them, no longer spoil the scale of
 * their block.
 */
static void mix(vf *a, vf *b)
{
    static const float signs[4][16] = {{1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1},
                                       {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1},
                                       {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1},
                                       {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1}};
    vf sum = vf_add(*a, *b), difference = vf_sub(*a, *b);
#define STAGE(i, distance)                                                                         \
    sum = vf_fma(sum, vf_load(signs[i]), vf_swap(sum, distance));                                  \
    difference = vf_fma(difference, vf_load(signs[i]), vf_swap(difference, distance))
    STAGE(0, 8);
    STAGE(1, 4);
    STAGE(2, 2);
    STAGE(3, 1);
#undef STAGE
    *a = sum;
    *b = difference;
}

/* Dimensions [32 block, ...) of a head, zeros beyond its end. */
static void load_block(const float *x, size_t head_dim, size_t block, vf *a, vf *b)
{
    size_t n = head_dim - 32 * block;
    x += 32 * block;
    *a = vf_load_n(x, n < 16 ? n : 16);
    *b = n > 16 ? vf_load_n(x + 16, n < 32 ? n - 16 : 16) : vf_set(0);
}

static void kv_query(const float *query, size_t head_dim, int8_t *q, struct slm_act_block *blocks)
{
    for (size_t i = 0; 32 * i < head_dim; i++) {
        float mixed[32];
        vf a, b;
        load_block(query, head_dim, i, &a, &b);
        mix(&a, &b);
        vf_store(mixed, a);
        vf_store(mixed + 16, b);
        quantize(mixed, 32, q + 32 * i, blocks + i);
    }
}

/* 16 positions are a panel of weights, and queries are its activations. */
INLINED void score_panel(const struct slm_attend *a, size_t position, size_t r, const int rows)
{
    const struct slm_gemm g = {.acts = a->acts, .n_tiles = (a->head_dim + 31) / 32};
    const uint8_t *tile = keys_of(a, position) + position % SLM_PAGE / 16 * g.n_tiles * SLM_TILE_Q8;
    vf acc[VM_TOKENS], scale = vf_set(a->scale * 0x1p-5f); /* mix() made 32 times too much */
    UNROLLED
    for (int i = 0; i < rows; i++)
        acc[i] = vf_set(0);
    for (size_t block = 0; block < g.n_tiles; block++, tile += SLM_TILE_Q8)
        tile_q8(tile, block, &g, r, acc, rows);
    UNROLLED
    for (int i = 0; i < rows; i++)
        vf_store(a->scores + (r + (size_t)i) * SLM_SPAN + position % SLM_SPAN,
                 vf_mul(acc[i], scale));
}

/*
 * Softmax's weights as what q8 values are multiplied with. The scale of a value belongs to its
 * position, so it is part of the weight, and there is a set of weights for every block of 32
 * dimensions. A page of a set has one scale of its own.
 */
struct weights {
    size_t n_scales; /* of a row: [blocks][pages of a span], padded to 16 */
    float *scaled;   /* [blocks][SLM_SPAN]: weights of one row, times the scales of the values */
    float *inverse;  /* [n_scales] of the same row */
    float *scales;   /* [SLM_TILE_ROWS][n_scales] */
    int8_t *q;       /* [blocks][SLM_TILE_ROWS][SLM_SPAN]: 0 to 127 */
};

INLINED struct weights weights_of(const struct slm_attend *a)
{
    size_t blocks = (a->head_dim + 31) / 32;
    struct weights w = {.n_scales = slm_round_up(blocks * (SLM_SPAN / SLM_PAGE), 16)};
    w.scaled = a->scores + SLM_TILE_ROWS * SLM_SPAN;
    w.inverse = w.scaled + blocks * SLM_SPAN;
    w.scales = w.inverse + w.n_scales;
    w.q = (int8_t *)(w.scales + SLM_TILE_ROWS * w.n_scales);
    return w;
}

/* Row r's weights of 16 positions, 0 outside [begin, end). */
INLINED vf weights_at(const struct slm_attend *a, size_t r, size_t position, size_t begin,
                      size_t end)
{
    vf w = vf_load(a->scores + r * SLM_SPAN + position % SLM_SPAN), zero = vf_set(0);
    if (position < begin)
        w = vf_first(zero, earlier(begin - position, 16), w);
    if (position + 16 > end)
        w = vf_first(w, later(end, position) - position, zero);
    return w;
}

static void quantize_weights(const struct slm_attend *a, const struct weights *w, size_t r,
                             size_t from, size_t to)
{
    const size_t blocks = (a->head_dim + 31) / 32, pages = SLM_SPAN / SLM_PAGE;
    size_t begin = later(from, a->begin[r]), end = later(begin, earlier(to, a->end[r]));
    memset(w->inverse, 0, w->n_scales * sizeof *w->inverse);
    for (size_t page = from; page < to; page += SLM_PAGE) {
        vf low = weights_at(a, r, page, begin, end), high = weights_at(a, r, page + 16, begin, end);
        const uint16_t *scales = value_scales(a, page);
        float *scaled = w->scaled + page % SLM_SPAN;
        for (size_t i = 0; i < blocks; i++, scales += SLM_PAGE, scaled += SLM_SPAN) {
            vf x = vf_mul(low, vf_load_f16(scales)), y = vf_mul(high, vf_load_f16(scales + 16));
            vf_store(scaled, x);
            vf_store(scaled + 16, y);
            w->inverse[i * pages + page % SLM_SPAN / SLM_PAGE] = vf_largest(vf_max(x, y));
        }
    }
    vf most = vf_set(127), tiny = vf_set(TINY);
    for (size_t i = 0; i < w->n_scales; i += 16) {
        vf largest = vf_load(w->inverse + i);
        vf_store(w->scales + r * w->n_scales + i,
                 vf_where_ge(largest, tiny, vf_div(largest, most)));
        vf_store(w->inverse + i, vf_where_ge(largest, tiny, vf_div(most, largest)));
    }
    for (size_t i = 0; i < blocks; i++)
        for (size_t at = from % SLM_SPAN; at < from % SLM_SPAN + (to - from); at += 16) {
            vf inverse = vf_set(w->inverse[i * pages + at / SLM_PAGE]);
            vi_store_i8(w->q + (i * SLM_TILE_ROWS + r) * SLM_SPAN + at,
                        vf_to_i(vf_mul(vf_load(w->scaled + i * SLM_SPAN + at), inverse)));
        }
}

/* A page is one tile of each panel of 16 dimensions. */
INLINED void value_page(const struct slm_attend *a, const struct weights *w, size_t page, size_t r,
                        const int rows)
{
    const uint8_t *groups = values_of(a, page);
    for (size_t dim = 0; dim < a->shape.value_stride; dim += 16, groups += 16 * SLM_PAGE) {
        const int8_t *x = w->q + (dim / 32 * SLM_TILE_ROWS + r) * SLM_SPAN + page % SLM_SPAN;
        const float *scales = w->scales + r * w->n_scales + dim / 32 * (SLM_SPAN / SLM_PAGE) +
                              page % SLM_SPAN / SLM_PAGE;
        vs dot[VM_TOKENS];
        UNROLLED
        for (int i = 0; i < rows; i++)
            dot[i] = vs_begin(0);
        ROLLED
        for (int c = 0; c < 4; c++)
            vp_dots(dot, groups + 128 * c, x + 8 * c, SLM_SPAN, rows);
        vs_split(dot, rows);
        UNROLLED
        for (int i = 0; i < rows; i++) {
            float *out = a->out[r + (size_t)i] + dim;
            vf scale = vf_set(scales[(size_t)i * w->n_scales]);
            vf_store(out, vf_fma(vs_end(dot[i]), scale, vf_load(out)));
        }
    }
}

/* While keys are multiplied their values come from memory, and with these the keys of the next span:
 * memory never waits for softmax. */
static void attend_integers(const struct slm_attend *a, size_t span)
{
    enum { AT_ONCE = VM_TOKENS < 4 ? VM_TOKENS : 4 }; /* more are larger, and not faster */
    size_t start = span * SLM_SPAN, from, to;
    pages_seen(a, start, &from, &to);
    for (size_t position = from; position < to; position += 16) {
        size_t bytes = 16 * a->shape.value_stride;
        show_next_page(keys_of(a, position));
        ask_soon(values_of(a, position) + position % SLM_PAGE / 16 * bytes, bytes);
#define SCORE(rows) score_panel(a, position, r, rows)
        EACH_ROWS(a->n_rows, AT_ONCE, SCORE);
#undef SCORE
    }
    softmax_rows(a, start);
    struct weights w = weights_of(a);
    for (size_t r = 0; r < a->n_rows; r++)
        quantize_weights(a, &w, r, from, to);
    for (size_t page = from; page < to; page += SLM_PAGE) {
        show_next_page(values_of(a, page));
        if (page + SLM_SPAN < a->end[a->n_rows - 1])
            ask_soon(keys_of(a, page + SLM_SPAN), a->shape.key_bytes);
#define VALUE(rows) value_page(a, &w, page, r, rows)
        EACH_ROWS(a->n_rows, AT_ONCE, VALUE);
#undef VALUE
    }
}

static void attend(const struct slm_attend *a, size_t span)
{
    if (a->kv_type == SLM_KV_Q8)
        attend_integers(a, span);
    else
        attend_floats(a, span, a->kv_type);
}

static void attend_merge(float *largest, float *total, float *out, float span_largest,
                         float span_total, const float *span_out, size_t n)
{
    if (!(span_largest > -INFINITY))
        return;
    float top = *largest > span_largest ? *largest : span_largest;
    float factors[16] = {*largest, span_largest};
    vf_store(factors, vf_exp(vf_sub(vf_load(factors), vf_set(top))));
    vf before = vf_set(factors[0]), added = vf_set(factors[1]);
    for (size_t i = 0; i < n; i += 16)
        vf_store(out + i, vf_fma(vf_load(span_out + i), added, vf_mul(vf_load(out + i), before)));
    *total = *total * factors[0] + span_total * factors[1];
    *largest = top;
}

/* Half precision ends at 65504: what is larger is held there, so that no infinity meets a 0. */
static vf f16_range(vf v)
{
    return vf_max(vf_min(v, vf_set(65504.0f)), vf_set(-65504.0f));
}

/* Transposed into the page: a position's key becomes one column. */
static void store_floats(uint8_t *keys, uint8_t *values, size_t slot, const float *key,
                         const float *value, size_t head_dim, uint32_t kv)
{
    values += slot * slm_round_up(head_dim, 16) * element_bytes(kv);
    for (size_t d = 0; d < head_dim; d += 16) {
        size_t n = head_dim - d < 16 ? head_dim - d : 16;
        vf k = vf_load_n(key + d, n), v = vf_load_n(value + d, n);
        if (kv == SLM_KV_F32) {
            float lanes[16];
            vf_store(lanes, k);
            for (size_t i = 0; i < n; i++)
                ((float *)keys)[(d + i) * SLM_PAGE + slot] = lanes[i];
            vf_store((float *)values + d, v);
        } else {
            uint16_t lanes[16];
            vf_store_f16(lanes, f16_range(k));
            for (size_t i = 0; i < n; i++)
                ((uint16_t *)keys)[(d + i) * SLM_PAGE + slot] = lanes[i];
            vf_store_f16((uint16_t *)values + d, f16_range(v));
        }
    }
}

/* 32 numbers as bytes times a scale that f16 holds: the scale. */
static uint16_t store_block(vf a, vf b, int8_t *q)
{
    float largest = vf_largest(vf_max(vf_abs(a), vf_abs(b))), scale[16];
    uint16_t half[16];
    vf_store_f16(half, f16_range(vf_set(largest / 127.0f)));
    vf_store(scale, vf_load_f16(half));
    to_bytes(a, b, scale[0] > 0 ? 1.0f / scale[0] : 0.0f, q);
    return half[0];
}

static void store_integers(uint8_t *keys, uint8_t *values, size_t slot, const float *key,
                           const float *value, size_t head_dim)
{
    size_t blocks = (head_dim + 31) / 32, stride = slm_round_up(head_dim, 16);
    uint16_t *scales = (uint16_t *)(void *)(keys + SLM_PAGE / 16 * blocks * SLM_TILE_Q8) + slot;
    keys += slot / 16 * blocks * SLM_TILE_Q8;
    values += slot / 4 * 64 + slot % 4;
    for (size_t i = 0; i < blocks; i++, keys += SLM_TILE_Q8) {
        int8_t q[32];
        vf a, b;
        load_block(key, head_dim, i, &a, &b);
        mix(&a, &b);
        ((uint16_t *)(void *)keys)[slot % 16] = store_block(a, b, q);
        for (size_t c = 0; c < 8; c++)
            memcpy(keys + 32 + 64 * c + slot % 16 * 4, q + 4 * c, 4);
        load_block(value, head_dim, i, &a, &b);
        scales[i * SLM_PAGE] = store_block(a, b, q);
        for (size_t d = 0; d < 32 && 32 * i + d < stride; d++)
            values[(32 * i + d) / 16 * 16 * SLM_PAGE + d % 16 * 4] = (uint8_t)q[d];
    }
}

static void kv_store(void *keys, void *values, size_t slot, const float *key, const float *value,
                     size_t head_dim, uint32_t kv_type)
{
    switch (kv_type) {
    case SLM_KV_F32: store_floats(keys, values, slot, key, value, head_dim, SLM_KV_F32); break;
    case SLM_KV_F16: store_floats(keys, values, slot, key, value, head_dim, SLM_KV_F16); break;
    default: store_integers(keys, values, slot, key, value, head_dim);
    }
}
