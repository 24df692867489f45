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

static double *norm(const struct slm_file *file, uint32_t role, uint32_t layer, const double *x)
{
    size_t dim = file->traits->dim;
    float *w = row_of(file, role, layer, 0, dim);
    double *y = malloc(dim * sizeof *y), sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += x[i] * x[i];
    for (size_t i = 0; i < dim; i++)
        y[i] = x[i] / sqrt(sum / (double)dim + (double)file->traits->norm_eps) * (double)w[i];
    free(w);
    return y;
}

/* Rotate all heads of q or k at a position. */
static void rotate(const struct slm_file *file, const struct slm_layer_traits *t, double *heads,
                   size_t n_heads, size_t position)
{
    if (t->rope == SLM_NO_ROPE)
        return;
    const struct slm_rope_traits *rope = &file->ropes[t->rope];
    size_t half = rope->dims / 2;
    float *frequency = row_of(file, SLM_ROLE_ROPE_FREQUENCIES, t->rope, 0, half);
    for (size_t i = 0; i < half; i++) {
        double f = (double)frequency[i], length = (double)position + 1;
        if (rope->scaling == SLM_ROPE_DYNAMIC && length > rope->original_context) {
            double factor = (double)rope->factor;
            double base =
                (double)rope->base * pow(factor * length / rope->original_context - (factor - 1),
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
static double *attend(const struct slm_layer_traits *t, const double *q, double *const *keys,
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
            weight[p] *= (double)t->attention_scale;
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

static void block(const struct slm_file *file, uint32_t layer, double *x, double **keys,
                  double **values, size_t position)
{
    const struct slm_layer_traits *t = &file->layers[layer];
    size_t dim = file->traits->dim, width = (size_t)t->n_heads * t->head_dim;
    size_t kv_width = (size_t)t->n_kv_heads * t->head_dim;
    double scale = (double)file->traits->residual_scale;

    double *h = norm(file, SLM_ROLE_ATTN_NORM, layer, x);
    double *q = product(file, SLM_ROLE_ATTN_Q, SLM_ROLE_ATTN_Q_BIAS, layer, width, dim, h);
    keys[position] = product(file, SLM_ROLE_ATTN_K, SLM_ROLE_ATTN_K_BIAS, layer, kv_width, dim, h);
    values[position] =
        product(file, SLM_ROLE_ATTN_V, SLM_ROLE_ATTN_V_BIAS, layer, kv_width, dim, h);
    rotate(file, t, q, t->n_heads, position);
    rotate(file, t, keys[position], t->n_kv_heads, position);
    double *a = attend(t, q, keys, values, position);
    add_scaled(x, product(file, SLM_ROLE_ATTN_OUT, SLM_ROLE_ATTN_OUT_BIAS, layer, dim, width, a),
               dim, scale);
    free(a);
    free(q);
    free(h);

    h = norm(file, SLM_ROLE_FFN_NORM, layer, x);
    double *gate =
        product(file, SLM_ROLE_FFN_GATE, SLM_ROLE_FFN_GATE_BIAS, layer, t->ffn_dim, dim, h);
    double *up = product(file, SLM_ROLE_FFN_UP, SLM_ROLE_FFN_UP_BIAS, layer, t->ffn_dim, dim, h);
    for (size_t i = 0; i < t->ffn_dim; i++)
        gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    add_scaled(
        x, product(file, SLM_ROLE_FFN_DOWN, SLM_ROLE_FFN_DOWN_BIAS, layer, dim, t->ffn_dim, gate),
        dim, scale);
    free(gate);
    free(up);
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
        for (uint32_t layer = 0; layer < t->n_layers; layer++)
            block(file, layer, x, cache + 2 * layer * n, cache + (2 * layer + 1) * n, position);
        double *h = norm(file, SLM_ROLE_FINAL_NORM, SLM_NO_LAYER, x);
        double *y = product(file, tied ? SLM_ROLE_EMBEDDING : SLM_ROLE_HEAD, SLM_ROLE_HEAD_BIAS,
                            SLM_NO_LAYER, t->n_vocab, t->dim, h);
        for (size_t i = 0; i < t->n_vocab; i++)
            logits[position * t->n_vocab + i] = y[i] * (double)t->logit_scale;
        free(y);
        free(h);
        free(x);
    }
    for (size_t i = 0; i < 2 * (size_t)t->n_layers * n; i++)
        free(cache[i]);
    free(cache);
    return logits;
}
