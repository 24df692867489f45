/* reference.c - see reference.h. It shares with the library only the reading of the file. */
#include "support/reference.h"

#include "quant/quant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Row `row` of a matrix or vector; zeros when the file does not have it. */
static float *row_of(const struct slm_file *file, uint32_t role, uint32_t layer, size_t row,
                     size_t n)
{
    float *out = calloc(n, sizeof *out);
    const struct slm_tensor_entry *entry = slm_file_tensor(file, role, layer);
    if (entry && slm_role_info(role)->matrix)
        slm_quant_row(slm_quant(entry->type), file->data + entry->offset, row, n, out);
    else if (entry)
        memcpy(out, file->data + entry->offset, n * sizeof *out);
    return out;
}

/* Rows [first, first + rows) of w x + bias; free() it. */
static double *rows_times(const struct slm_file *file, uint32_t role, uint32_t layer, size_t first,
                          size_t rows, size_t cols, const double *x)
{
    double *y = calloc(rows, sizeof *y);
    float *bias = row_of(file, slm_role_info(role)->bias, layer, 0, first + rows);
    for (size_t r = 0; r < rows; r++) {
        float *w = row_of(file, role, layer, first + r, cols);
        for (size_t c = 0; c < cols; c++)
            y[r] += (double)w[c] * x[c];
        y[r] += (double)bias[first + r];
        free(w);
    }
    free(bias);
    return y;
}

/* w x + bias; free() it. */
static double *product(const struct slm_file *file, uint32_t role, uint32_t layer, size_t rows,
                       size_t cols, const double *x)
{
    return rows_times(file, role, layer, 0, rows, cols, x);
}

/* Elements [at, at + n) of a vector of weights applied to x[n]. */
static void norm_part(const struct slm_file *file, uint32_t role, uint32_t layer, double *x,
                      size_t at, size_t n)
{
    float *w = row_of(file, role, layer, 0, at + n);
    float *bias = row_of(file, slm_role_info(role)->bias, layer, 0, at + n);
    double sum = 0, mean = 0;
    for (size_t i = 0; i < n && file->traits->norm == SLM_NORM_LAYER; i++)
        mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    double r = 1 / sqrt(sum / (double)n + (double)file->traits->norm_eps);
    for (size_t i = 0; i < n; i++)
        x[i] = (x[i] - mean) * r * (double)w[at + i] + (double)bias[at + i];
    free(w);
    free(bias);
}

/* A copy of x, normalised where the file has that norm; free() it. */
static double *norm(const struct slm_file *file, uint32_t role, uint32_t layer, const double *x)
{
    size_t dim = file->traits->dim;
    double *y = malloc(dim * sizeof *y);
    memcpy(y, x, dim * sizeof *y);
    if (slm_file_tensor(file, role, layer))
        norm_part(file, role, layer, y, 0, dim);
    return y;
}

static void norm_heads(const struct slm_file *file, uint32_t role, uint32_t layer, double *heads,
                       size_t n)
{
    const struct slm_layer_traits *t = &file->layers[layer];
    if (t->parts & SLM_LAYER_WIDE_NORMS)
        norm_part(file, role, layer, heads, 0, n * t->head_dim);
    for (size_t h = 0; h < n && t->parts & SLM_LAYER_HEAD_NORMS; h++)
        norm_part(file, role, layer, heads + h * t->head_dim, h * t->head_dim, t->head_dim);
}

static double activation(uint32_t kind, double x)
{
    switch (kind) {
    case SLM_ACT_GELU: return x / 2 * (1 + erf(x / sqrt(2)));
    case SLM_ACT_GELU_TANH:
        return x / 2 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case SLM_ACT_GELU_QUICK: return x / (1 + exp(-1.702 * x));
    case SLM_ACT_RELU: return fmax(x, 0);
    case SLM_ACT_TANH: return tanh(x);
    default: return x / (1 + exp(-x));
    }
}

static double capped(double x, double cap)
{
    return cap > 0 ? cap * tanh(x / cap) : x;
}

/* Rotate all heads of q or k at a position. */
static void rotate(const struct slm_file *file, const struct slm_layer_traits *t, double *heads,
                   size_t n_heads, size_t position, size_t length)
{
    if (t->rope == SLM_NO_ROPE)
        return;
    const struct slm_rope_traits *rope = &file->ropes[t->rope];
    size_t half = rope->dims / 2;
    bool is_long = rope->scaling == SLM_ROPE_LONG && length > rope->original_context;
    float *frequency = row_of(
        file, is_long ? SLM_ROLE_ROPE_LONG_FREQUENCIES : SLM_ROLE_ROPE_FREQUENCIES, t->rope, 0, half);
    for (size_t i = 0; i < half; i++) {
        double f = (double)frequency[i], seen = (double)position + 1;
        if (rope->scaling == SLM_ROPE_DYNAMIC && seen > rope->original_context) {
            double factor = (double)rope->factor;
            double base =
                (double)rope->base * pow(factor * seen / rope->original_context - (factor - 1),
                                         (double)rope->dims / (rope->dims - 2.0));
            f = pow(base, -2.0 * (double)i / rope->dims);
        }
        double c = cos((double)position * f) * (double)rope->magnitude;
        double s = sin((double)position * f) * (double)rope->magnitude;
        for (size_t h = 0; h < n_heads; h++) {
            double *a = heads + h * t->head_dim + i, *b = a + half, before = *a;
            *a = before * c - *b * s;
            *b = before * s + *b * c;
        }
    }
    free(frequency);
}

/* Attention of one position over the keys and values of n others: [n_heads * head_dim]; free() it. */
static double *attend(const struct slm_layer_traits *t, const float *slopes, const float *sinks,
                      const double *q, double *const *keys, double *const *values, size_t position, size_t n)
{
    size_t group = t->n_heads / t->n_kv_heads, dim = t->head_dim;
    size_t first = t->window && position + 1 > t->window ? position + 1 - t->window : 0;
    size_t last = t->window && position + t->window < n ? position + t->window : n;
    double *out = calloc((size_t)t->n_heads * dim, sizeof *out);
    double *weight = malloc(n * sizeof *weight);
    for (size_t h = 0; h < t->n_heads; h++) {
        size_t kv = h / group * dim;
        double largest = sinks ? (double)sinks[h] : -INFINITY, sum = 0;
        for (size_t p = first; p < last; p++) {
            weight[p] = 0;
            for (size_t d = 0; d < dim; d++)
                weight[p] += q[h * dim + d] * keys[p][kv + d];
            weight[p] = capped(weight[p] * (double)t->attention_scale, (double)t->attention_cap);
            weight[p] -= (double)slopes[h] * ((double)position - (double)p);
            largest = fmax(largest, weight[p]);
        }
        for (size_t p = first; p < last; p++)
            sum += weight[p] = exp(weight[p] - largest);
        sum += sinks ? exp((double)sinks[h] - largest) : 0;
        for (size_t p = first; p < last; p++)
            for (size_t d = 0; d < dim; d++)
                out[h * dim + d] += weight[p] / sum * values[p][kv + d];
    }
    free(weight);
    return out;
}

static void add_scaled(double *x, double *y, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] += scale * y[i];
    free(y);
}

/* Three matrices, of which the first is for the gate; those of an expert begin at a row of their stack. */
struct mlp {
    uint32_t gate, up, down;
    size_t inner, first_inner, first_outer;
};

static double *mlp(const struct slm_file *file, uint32_t layer, const struct mlp *m, const double *h)
{
    const struct slm_layer_traits *t = &file->layers[layer];
    size_t dim = file->traits->dim;
    double limit = t->gate_limit > 0 ? (double)t->gate_limit : (double)INFINITY;
    double *up = rows_times(file, m->up, layer, m->first_inner, m->inner, dim, h);
    if (t->parts & SLM_LAYER_GATE) {
        double *gate = rows_times(file, m->gate, layer, m->first_inner, m->inner, dim, h);
        for (size_t i = 0; i < m->inner; i++)
            up[i] = (fmax(fmin(up[i], limit), -limit) + !!(t->parts & SLM_LAYER_UP_PLUS_ONE)) *
                    activation(file->traits->activation, fmin(gate[i], limit));
        free(gate);
    } else {
        for (size_t i = 0; i < m->inner; i++)
            up[i] = activation(file->traits->activation, up[i]);
    }
    double *y = rows_times(file, m->down, layer, m->first_outer, dim, m->inner, up);
    free(up);
    return y;
}

/* y += what the chosen experts make of h */
static void add_experts(const struct slm_file *file, uint32_t layer, const double *h, double *y)
{
    const struct slm_layer_traits *t = &file->layers[layer];
    size_t dim = file->traits->dim, inner = slm_round_up(t->expert_dim, 16);
    double *logits = rows_times(file, SLM_ROLE_ROUTER, layer, 0, t->n_experts, dim, h), all = 0, few = 0;
    uint32_t *rank = calloc(t->n_experts, sizeof *rank); /* how many are larger */
    for (uint32_t e = 0; e < t->n_experts; e++) {
        for (uint32_t k = 0; k < t->n_experts; k++)
            rank[e] += logits[k] > logits[e] || (logits[k] == logits[e] && k < e);
        all += exp(logits[e]);
        few += rank[e] < t->n_chosen ? exp(logits[e]) : 0;
    }
    for (uint32_t e = 0; e < t->n_experts; e++) {
        if (rank[e] >= t->n_chosen)
            continue;
        struct mlp m = {SLM_ROLE_EXPERTS_GATE, SLM_ROLE_EXPERTS_UP, SLM_ROLE_EXPERTS_DOWN,
                        t->expert_dim, e * inner, e * slm_round_up(dim, 16)};
        add_scaled(y, mlp(file, layer, &m, h), dim,
                   exp(logits[e]) / (t->router == SLM_ROUTER_ALL ? all : few));
    }
    free(rank);
    free(logits);
}

static double *ffn(const struct slm_file *file, uint32_t layer, const double *x)
{
    const struct slm_layer_traits *t = &file->layers[layer];
    const struct mlp m = {SLM_ROLE_FFN_GATE, SLM_ROLE_FFN_UP, SLM_ROLE_FFN_DOWN, t->ffn_dim, 0, 0};
    size_t dim = file->traits->dim;
    double *h = norm(file, SLM_ROLE_FFN_NORM, layer, x), *y = calloc(dim, sizeof *y), share = 1;
    if (t->parts & SLM_LAYER_SHARED_GATE) {
        double *gate = rows_times(file, SLM_ROLE_SHARED_GATE, layer, 0, 1, dim, h);
        share = 1 / (1 + exp(-*gate));
        free(gate);
    }
    if (t->ffn_dim)
        add_scaled(y, mlp(file, layer, &m, h), dim, share);
    if (t->n_experts)
        add_experts(file, layer, h, y);
    free(h);
    double *normed = norm(file, SLM_ROLE_FFN_POST_NORM, layer, y);
    free(y);
    return normed;
}

/* x becomes norm(x) where the file has that norm. */
static void norm_sum(const struct slm_file *file, uint32_t role, uint32_t layer, double *x)
{
    if (slm_file_tensor(file, role, layer))
        norm_part(file, role, layer, x, 0, file->traits->dim);
}

/* One layer over a whole text: x[n] are its rows. */
static void block(const struct slm_file *file, uint32_t layer, double **x, size_t n)
{
    const struct slm_layer_traits *t = &file->layers[layer];
    size_t dim = file->traits->dim, width = (size_t)t->n_heads * t->head_dim;
    size_t kv_width = (size_t)t->n_kv_heads * t->head_dim;
    double scale = (double)file->traits->residual_scale;
    bool both = file->traits->attention == SLM_ATTENTION_BOTH;
    double **queries = calloc(3 * n, sizeof *queries), **keys = queries + n, **values = keys + n;
    for (size_t i = 0; i < n; i++) {
        double *h = norm(file, SLM_ROLE_ATTN_NORM, layer, x[i]);
        queries[i] = product(file, SLM_ROLE_ATTN_Q, layer, width, dim, h);
        keys[i] = product(file, SLM_ROLE_ATTN_K, layer, kv_width, dim, h);
        values[i] = product(file, SLM_ROLE_ATTN_V, layer, kv_width, dim, h);
        norm_heads(file, SLM_ROLE_ATTN_Q_NORM, layer, queries[i], t->n_heads);
        norm_heads(file, SLM_ROLE_ATTN_K_NORM, layer, keys[i], t->n_kv_heads);
        rotate(file, t, queries[i], t->n_heads, i, n);
        rotate(file, t, keys[i], t->n_kv_heads, i, n);
        free(h);
    }
    float *slopes = row_of(file, SLM_ROLE_ATTN_SLOPES, layer, 0, t->n_heads);
    float *sinks = t->parts & SLM_LAYER_SINKS ? row_of(file, SLM_ROLE_ATTN_SINKS, layer, 0, t->n_heads) : NULL;
    for (size_t i = 0; i < n; i++) {
        double *a = attend(t, slopes, sinks, queries[i], keys, values, i, both ? n : i + 1);
        double *out = product(file, SLM_ROLE_ATTN_OUT, layer, dim, width, a);
        double *normed = norm(file, SLM_ROLE_ATTN_POST_NORM, layer, out);
        double *early = t->parts & SLM_LAYER_PARALLEL ? ffn(file, layer, x[i]) : NULL;
        add_scaled(x[i], normed, dim, scale);
        norm_sum(file, SLM_ROLE_ATTN_SUM_NORM, layer, x[i]);
        add_scaled(x[i], early ? early : ffn(file, layer, x[i]), dim, scale);
        norm_sum(file, SLM_ROLE_FFN_SUM_NORM, layer, x[i]);
        free(out);
        free(a);
    }
    for (size_t i = 0; i < 3 * n; i++)
        free(queries[i]);
    free(queries);
    free(slopes);
    free(sinks);
}

static void add_row(const struct slm_file *file, uint32_t role, size_t row, size_t n, double *x)
{
    float *values = row_of(file, role, SLM_NO_LAYER, row, n);
    for (size_t i = 0; i < n; i++)
        x[i] += (double)values[i];
    free(values);
}

double *reference_hidden(const struct slm_file *file, const int32_t *tokens, size_t n, size_t n_first)
{
    const struct slm_traits *t = file->traits;
    double *hidden = calloc(n * t->dim, sizeof *hidden), **x = calloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++) {
        x[i] = hidden + i * t->dim;
        add_row(file, SLM_ROLE_EMBEDDING, (size_t)tokens[i], t->dim, x[i]);
        for (size_t c = 0; c < t->dim; c++)
            x[i][c] *= (double)t->embedding_scale;
        add_row(file, SLM_ROLE_POSITION_EMBEDDING, i, t->dim, x[i]);
        add_row(file, SLM_ROLE_TOKEN_TYPE_EMBEDDING, i >= n_first, t->dim, x[i]);
        norm_sum(file, SLM_ROLE_EMBEDDING_NORM, SLM_NO_LAYER, x[i]);
    }
    for (uint32_t layer = 0; layer < t->n_layers; layer++)
        block(file, layer, x, n);
    for (size_t i = 0; i < n; i++)
        norm_sum(file, SLM_ROLE_FINAL_NORM, SLM_NO_LAYER, x[i]);
    free(x);
    return hidden;
}

double *reference_logits(const struct slm_file *file, const int32_t *tokens, size_t n)
{
    const struct slm_traits *t = file->traits;
    bool tied = !slm_file_tensor(file, SLM_ROLE_HEAD, SLM_NO_LAYER);
    double *logits = malloc(n * t->n_vocab * sizeof *logits);
    double *hidden = reference_hidden(file, tokens, n, n);
    for (size_t position = 0; position < n; position++) {
        double *y = product(file, tied ? SLM_ROLE_EMBEDDING : SLM_ROLE_HEAD, SLM_NO_LAYER, t->n_vocab,
                            t->dim, hidden + position * t->dim);
        if (tied)
            add_row(file, SLM_ROLE_HEAD_BIAS, 0, t->n_vocab, y);
        for (size_t i = 0; i < t->n_vocab; i++)
            logits[position * t->n_vocab + i] =
                capped(y[i] * (double)t->logit_scale, (double)t->logit_cap);
        free(y);
    }
    free(hidden);
    return logits;
}

double *reference_pooled(const struct slm_file *file, const double *hidden, size_t n)
{
    const struct slm_traits *t = file->traits;
    size_t first = t->pooling == SLM_POOLED_LAST ? n - 1 : 0;
    size_t last = t->pooling == SLM_POOLED_FIRST ? 1 : n;
    double *out = calloc(t->dim, sizeof *out), squares = 0;
    for (size_t i = first; i < last; i++)
        for (size_t c = 0; c < t->dim; c++)
            out[c] += hidden[i * t->dim + c] / (double)(last - first);
    for (size_t c = 0; c < t->dim; c++)
        squares += out[c] * out[c];
    for (size_t c = 0; c < t->dim && t->parts & SLM_MODEL_UNIT_LENGTH; c++)
        out[c] /= sqrt(squares);
    return out;
}

double *reference_scores(const struct slm_file *file, const double *pooled)
{
    const struct slm_traits *t = file->traits;
    double *x = malloc(t->dim * sizeof *x);
    memcpy(x, pooled, t->dim * sizeof *x);
    if (t->parts & SLM_MODEL_SCORE_DENSE) {
        free(x);
        x = product(file, SLM_ROLE_SCORE_DENSE, SLM_NO_LAYER, t->dim, t->dim, pooled);
        for (size_t i = 0; i < t->dim && t->score_activation; i++)
            x[i] = activation(t->score_activation, x[i]);
    }
    norm_sum(file, SLM_ROLE_SCORE_NORM, SLM_NO_LAYER, x);
    double *scores = product(file, SLM_ROLE_SCORE, SLM_NO_LAYER, t->n_scores, t->dim, x);
    free(x);
    return scores;
}
