/*
 * attend_tmpl.h - attention over one span of positions, for a few query rows at once.
 *
 * Scores: lane = position, products added dimension by dimension. Values: lane = dimension, added
 * position by position. A row sees the positions [begin, end) of the sequence and nothing outside
 * is read into its sums: lanes beyond are replaced before they are used (their memory may hold
 * anything), so a row's result does not depend on which rows share its tile.
 */

INLINED size_t element_bytes(const bool wide)
{
    return wide ? 4 : 2;
}

INLINED vf kv_load(const uint8_t *p, const bool wide)
{
    return wide ? vf_load((const float *)p) : vf_load_f16((const uint16_t *)p);
}

INLINED const uint8_t *page_of(const struct slm_attend *a, size_t position)
{
    return a->plane + (size_t)a->pages[position / SLM_PAGE] * a->page_bytes;
}

/* Scores of `rows` rows from r on, at 16 positions. */
INLINED void score_rows(const struct slm_attend *a, size_t position, size_t column, size_t r,
                        const int rows, const bool wide)
{
    const uint8_t *keys = page_of(a, position) + position % SLM_PAGE * element_bytes(wide);
    vf acc[VM_ROWS];
    UNROLLED
    for (int i = 0; i < rows; i++)
        acc[i] = vf_set(0);
    for (size_t d = 0; d < a->head_dim; d++) {
        vf k = kv_load(keys + d * SLM_PAGE * element_bytes(wide), wide);
        UNROLLED
        for (int i = 0; i < rows; i++)
            acc[i] = vf_fma(k, vf_set(a->query[r + (size_t)i][d]), acc[i]);
    }
    UNROLLED
    for (int i = 0; i < rows; i++)
        vf_store(a->scores + (r + (size_t)i) * SLM_SPAN + column, vf_mul(acc[i], vf_set(a->scale)));
}

/* Weighted sum of 16 dimensions of the values, for `rows` rows that see the same positions. */
INLINED void value_rows(const struct slm_attend *a, size_t from, size_t to, size_t start, size_t dim,
                        size_t r, const int rows, const bool wide)
{
    if (from >= to)
        return;
    vf acc[VM_ROWS];
    UNROLLED
    for (int i = 0; i < rows; i++)
        acc[i] = vf_load(a->out[r + (size_t)i] + dim);
    size_t stride = a->value_stride * element_bytes(wide);
    for (size_t position = from; position < to;) {
        size_t slot = position % SLM_PAGE, n = SLM_PAGE - slot;
        if (n > to - position)
            n = to - position;
        const uint8_t *values = page_of(a, position) + a->values_offset + slot * stride +
                                dim * element_bytes(wide);
        const float *weights = a->scores + (position - start);
        for (size_t i = 0; i < n; i++, values += stride) {
            vf v = kv_load(values, wide);
            UNROLLED
            for (int j = 0; j < rows; j++)
                acc[j] = vf_fma(vf_set(weights[(r + (size_t)j) * SLM_SPAN + i]), v, acc[j]);
        }
        position += n;
    }
    UNROLLED
    for (int i = 0; i < rows; i++)
        vf_store(a->out[r + (size_t)i] + dim, acc[i]);
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

/* Calls one of the bodies above with a constant number of rows, so that they stay in registers. */
#if VM_ROWS > 4
#define EACH_ROWS(n_rows, call)                                                                    \
    do {                                                                                           \
        size_t r = 0;                                                                              \
        for (; n_rows - r >= VM_ROWS; r += VM_ROWS)                                                \
            call(VM_ROWS);                                                                         \
        for (; n_rows - r >= 3; r += 3)                                                            \
            call(3);                                                                               \
        for (; r < n_rows; r++)                                                                    \
            call(1);                                                                               \
    } while (0)
#else
#define EACH_ROWS(n_rows, call)                                                                    \
    do {                                                                                           \
        size_t r = 0;                                                                              \
        for (; n_rows - r >= VM_ROWS; r += VM_ROWS)                                                \
            call(VM_ROWS);                                                                         \
        for (; r < n_rows; r++)                                                                    \
            call(1);                                                                               \
    } while (0)
#endif

static size_t later(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t earlier(size_t a, size_t b)
{
    return a < b ? a : b;
}

INLINED void attend_typed(const struct slm_attend *a, size_t span, const bool wide)
{
    size_t start = span * SLM_SPAN, stop = start + SLM_SPAN;
    size_t from = a->begin[0], to = later(start, earlier(stop, a->end[a->n_rows - 1]));
    for (size_t r = 1; r < a->n_rows; r++)
        from = earlier(from, a->begin[r]);
    from = later(start, from);

#define SCORE(rows) score_rows(a, position, position - start, r, rows, wide)
    for (size_t position = from / 16 * 16; position < to; position += 16)
        EACH_ROWS(a->n_rows, SCORE);
#undef SCORE

    for (size_t r = 0; r < a->n_rows; r++) {
        size_t row_from = later(start, a->begin[r]), row_to = earlier(stop, a->end[r]);
        memset(a->out[r], 0, a->value_stride * sizeof(float));
        if (row_from >= row_to) {
            a->largest[r] = -INFINITY;
            a->total[r] = 0;
        } else {
            softmax_row(a, r, start, row_from, row_to);
        }
    }

    /* Rows that see the same positions go together; the others (the diagonal of a prompt, the edge
     * of a window) take the common part together and the rest alone, positions still in order. */
    size_t common_from = start, common_to = stop;
    for (size_t r = 0; r < a->n_rows; r++) {
        common_from = later(common_from, a->begin[r]);
        common_to = earlier(common_to, later(start, a->end[r]));
    }
    if (common_from > common_to)
        common_from = common_to;
    for (size_t dim = 0; dim < a->value_stride; dim += 16) {
        for (size_t r = 0; r < a->n_rows; r++)
            value_rows(a, later(start, a->begin[r]),
                       earlier(common_from, earlier(stop, a->end[r])), start, dim, r, 1, wide);
#define VALUE(rows) value_rows(a, common_from, common_to, start, dim, r, rows, wide)
        EACH_ROWS(a->n_rows, VALUE);
#undef VALUE
        for (size_t r = 0; r < a->n_rows; r++)
            value_rows(a, later(common_to, later(start, a->begin[r])), earlier(stop, a->end[r]), start,
                       dim, r, 1, wide);
    }
}

static void attend(const struct slm_attend *a, size_t span)
{
    if (a->kv_type == SLM_KV_F32)
        attend_typed(a, span, true);
    else
        attend_typed(a, span, false);
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
static void kv_store(void *keys, void *values, size_t slot, const float *key, const float *value,
                     size_t head_dim, uint32_t kv_type)
{
    bool wide = kv_type == SLM_KV_F32;
    size_t stride = slm_round_up(head_dim, 16);
    for (size_t d = 0; d < head_dim; d += 16) {
        size_t n = head_dim - d < 16 ? head_dim - d : 16;
        vf k = vf_load_n(key + d, n), v = vf_load_n(value + d, n);
        if (wide) {
            float lanes[16];
            vf_store(lanes, k);
            for (size_t i = 0; i < n; i++)
                ((float *)keys)[(d + i) * SLM_PAGE + slot] = lanes[i];
            vf_store((float *)values + slot * stride + d, v);
        } else {
            uint16_t lanes[16];
            vf_store_f16(lanes, f16_range(k));
            for (size_t i = 0; i < n; i++)
                ((uint16_t *)keys)[(d + i) * SLM_PAGE + slot] = lanes[i];
            vf_store_f16((uint16_t *)values + slot * stride + d, f16_range(v));
        }
    }
}
