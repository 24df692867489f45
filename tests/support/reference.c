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

/* w x + bias; free() it. */
static double *product(const struct slm_file *file, uint32_t role, uint32_t bias_role,
                       uint32_t layer, size_t rows, size_t cols, const double *x)
{
    double *y = calloc(rows, sizeof *y);
    float *bias = row_of(file, bias_role, layer, 0, rows);
    for (size_t r = 0; r < rows; r++) {
        float *w = row_of(file, role, layer, r, cols);
        for (size_t c = 0; c < cols; c++)
            y[r] += (double)w[c] * x[c];
        y[r] += (double)bias[r];
        free(w);
    }
    free(bias);
    return y;
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

/* Attention of one position over the keys and values so far: [n_heads * head_dim]; free() it. */
static double *attend(const struct slm_layer_traits *t, const float *slopes, const double *q, double *const *keys,
                      double *const *values, size_t position)
{
    size_t group = t->n_heads / t->n_kv_heads, dim = t->head_dim;
    size_t first = t->window && position + 1 > t->window ? position + 1 - t->window : 0;
    double *out = calloc((size_t)t->n_heads * dim, sizeof *out);
    double *weight = malloc((position + 1) * sizeof *weight);
    for (size_t h = 0; h < t->n_heads; h++) {
        size_t kv = h / group * dim;
        double largest = -INFINITY, sum = 0;
        for (size_t p = first; p <= position; p++) {
            weight[p] = 0;
            for (size_t d = 0; d < dim; d++)
                weight[p] += q[h * dim + d] * keys[p][kv + d];
            weight[p] = capped(weight[p] * (double)t->attention_scale, (double)t->attention_cap);
            weight[p] -= (double)slopes[h] * (double)(position - p);
            largest = fmax(largest, weight[p]);
        }
        for (size_t p = first; p <= position; p++)
            sum += weight[p] = exp(weight[p] - largest);
        for (size_t p = first; p <= position; p++)
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

static double *ffn(const struct slm_file *file, uint32_t layer, const double *x)
{
    const struct slm_layer_traits *t = &file->layers[layer];
    size_t dim = file->traits->dim;
    double *h = norm(file, SLM_ROLE_FFN_NORM, layer, x);
    double *up = product(file, SLM_ROLE_FFN_UP, SLM_ROLE_FFN_UP_BIAS, layer, t->ffn_dim, dim, h);
    if (t->parts & SLM_LAYER_GATE) {
        double *gate =
            product(file, SLM_ROLE_FFN_GATE, SLM_ROLE_FFN_GATE_BIAS, layer, t->ffn_dim, dim, h);
        for (size_t i = 0; i < t->ffn_dim; i++)
            up[i] *= activation(file->traits->activation, gate[i]);
        free(gate);
    } else {
        for (size_t i = 0; i < t->ffn_dim; i++)
            up[i] = activation(file->traits->activation, up[i]);
    }
    double *y = product(file, SLM_ROLE_FFN_DOWN, SLM_ROLE_FFN_DOWN_BIAS, layer, dim, t->ffn_dim, up);
    free(up);
    free(h);
    double *normed = norm(file, SLM_ROLE_FFN_POST_NORM, layer, y);
    free(y);
    return normed;
}

static void block(const struct slm_file *file, uint32_t layer, double *x, double **keys,
                  double **values, size_t position, size_t length)
{
    const struct slm_layer_traits *t = &file->layers[layer];
    size_t dim = file->traits->dim, width = (size_t)t->n_heads * t->head_dim;
    size_t kv_width = (size_t)t->n_kv_heads * t->head_dim;
    double scale = (double)file->traits->residual_scale;

    double *h = norm(file, SLM_ROLE_ATTN_NORM, layer, x);
    double *q = product(file, SLM_ROLE_ATTN_Q, SLM_ROLE_ATTN_Q_BIAS, layer, width, dim, h);
    double *k = product(file, SLM_ROLE_ATTN_K, SLM_ROLE_ATTN_K_BIAS, layer, kv_width, dim, h);
    keys[position] = k;
    values[position] =
        product(file, SLM_ROLE_ATTN_V, SLM_ROLE_ATTN_V_BIAS, layer, kv_width, dim, h);
    norm_heads(file, SLM_ROLE_ATTN_Q_NORM, layer, q, t->n_heads);
    norm_heads(file, SLM_ROLE_ATTN_K_NORM, layer, k, t->n_kv_heads);
    rotate(file, t, q, t->n_heads, position, length);
    rotate(file, t, k, t->n_kv_heads, position, length);
    float *slopes = row_of(file, SLM_ROLE_ATTN_SLOPES, layer, 0, t->n_heads);
    double *a = attend(t, slopes, q, keys, values, position);
    double *out = product(file, SLM_ROLE_ATTN_OUT, SLM_ROLE_ATTN_OUT_BIAS, layer, dim, width, a);
    double *normed = norm(file, SLM_ROLE_ATTN_POST_NORM, layer, out);
    double *early = t->parts & SLM_LAYER_PARALLEL ? ffn(file, layer, x) : NULL;
    add_scaled(x, normed, dim, scale);
    add_scaled(x, early ? early : ffn(file, layer, x), dim, scale);
    free(out);
    free(slopes);
    free(a);
    free(q);
    free(h);
}

double *reference_logits(const struct slm_file *file, const int32_t *tokens, size_t n)
{
    const struct slm_traits *t = file->traits;
    bool tied = !slm_file_tensor(file, SLM_ROLE_HEAD, SLM_NO_LAYER);
    double *logits = malloc(n * t->n_vocab * sizeof *logits);
    double **cache = calloc(2 * (size_t)t->n_layers * n, sizeof *cache);
    for (size_t position = 0; position < n; position++) {
        double *x = malloc(t->dim * sizeof *x);
        float *embedding =
            row_of(file, SLM_ROLE_EMBEDDING, SLM_NO_LAYER, (size_t)tokens[position], t->dim);
        for (size_t i = 0; i < t->dim; i++)
            x[i] = (double)embedding[i] * (double)t->embedding_scale;
        free(embedding);
        float *learned =
            row_of(file, SLM_ROLE_POSITION_EMBEDDING, SLM_NO_LAYER, position, t->dim);
        for (size_t i = 0; i < t->dim; i++)
            x[i] += (double)learned[i];
        free(learned);
        double *normed = norm(file, SLM_ROLE_EMBEDDING_NORM, SLM_NO_LAYER, x);
        free(x);
        x = normed;
        for (uint32_t layer = 0; layer < t->n_layers; layer++)
            block(file, layer, x, cache + 2 * layer * n, cache + (2 * layer + 1) * n, position,
                  n);
        double *h = norm(file, SLM_ROLE_FINAL_NORM, SLM_NO_LAYER, x);
        double *y = product(file, tied ? SLM_ROLE_EMBEDDING : SLM_ROLE_HEAD, SLM_ROLE_HEAD_BIAS,
                            SLM_NO_LAYER, t->n_vocab, t->dim, h);
        for (size_t i = 0; i < t->n_vocab; i++)
            logits[position * t->n_vocab + i] =
                capped(y[i] * (double)t->logit_scale, (double)t->logit_cap);
        free(y);
        free(h);
        free(x);
    }
    for (size_t i = 0; i < 2 * (size_t)t->n_layers * n; i++)
        free(cache[i]);
    free(cache);
    return logits;
}
