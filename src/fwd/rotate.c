/*
 * rotate.c - norms of queries and keys, rotary position embedding, and keys and values into pages.
 *
 * Angles are position * frequency, rounded to float as the models' training code does, then reduced
 * and evaluated in double: sine and cosine are right to the last bit of a float for any position,
 * and the same on every system, which libm's are not.
 */
#include "base/real.h"
#include "fwd/fwd.h"

#include <math.h>

/*
 * Inverse frequency of pair i at a position, for dynamic NTK scaling: beyond the trained context the
 * base grows with the length so far. The length is taken to be position + 1, as when a text is
 * generated token by token; so a position's rotation never depends on how the prompt was cut.
 */
static float dynamic_frequency(const struct slm_rope_traits *rope, uint32_t position, uint32_t i)
{
    double length = (double)position + 1, dims = rope->dims;
    double stretch = rope->factor * length / rope->original_context - (rope->factor - 1.0);
    double base = rope->base * slm_pow(stretch, dims / (dims - 2));
    return (float)slm_pow(base, -2.0 * i / dims);
}

void slm_rope_angles(struct slm_fwd *f, int part, int n_parts)
{
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (uint32_t r = 0; r < f->model->traits->n_ropes; r++) {
        const struct slm_rope_traits *rope = &f->model->file.ropes[r];
        const float *frequencies = f->long_text && f->model->rope_long_frequencies[r]
                                       ? f->model->rope_long_frequencies[r]
                                       : f->model->rope_frequencies[r];
        for (size_t row = first; row < last && !slm_interrupted(f); row++) {
            uint32_t position = f->rows[row].position;
            bool dynamic = rope->scaling == SLM_ROPE_DYNAMIC && position >= rope->original_context;
            float *cosine = f->cosine + (r * f->max_rows + row) * f->angle_stride;
            float *sine = f->sine + (r * f->max_rows + row) * f->angle_stride;
            for (uint32_t i = 0; i < rope->dims / 2; i++) {
                float frequency = dynamic ? dynamic_frequency(rope, position, i) : frequencies[i];
                slm_sincos((float)position * frequency, &sine[i], &cosine[i]);
                sine[i] *= rope->magnitude;
                cosine[i] *= rope->magnitude;
            }
        }
    }
}

/* Queries or keys of one row: each head by itself, or all as one vector. */
static void norm_heads(const struct slm_fwd *f, const struct slm_layer_traits *t,
                       const struct slm_norm_weights *norm, float *heads, size_t n)
{
    if (t->parts & SLM_LAYER_WIDE_NORMS)
        slm_norm_values(f, norm, heads, heads, n * t->head_dim);
    for (size_t i = 0; i < n && t->parts & SLM_LAYER_HEAD_NORMS; i++) {
        size_t at = i * t->head_dim;
        struct slm_norm_weights own = {norm->weight + at, norm->bias ? norm->bias + at : NULL};
        slm_norm_values(f, &own, heads + at, heads + at, t->head_dim);
    }
}

static void rotate(const struct slm_fwd *f, const struct slm_layer_traits *t, float *heads, size_t n,
                   size_t row)
{
    size_t half = f->model->file.ropes[t->rope].dims / 2;
    size_t angles = (t->rope * f->max_rows + row) * f->angle_stride;
    for (size_t i = 0; i < n; i++)
        f->kern->rope(heads + i * t->head_dim, f->cosine + angles, f->sine + angles, half);
}

void slm_rotate_store(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    const struct slm_layer *layer = &f->model->layers[step->layer];
    const struct slm_layer_traits *t = layer->traits;
    const struct slm_kv_layer *kv = &f->kv->layers[step->layer];
    size_t first, last;
    slm_share(f->n_rows, part, n_parts, &first, &last);
    for (size_t i = first; i < last && !slm_interrupted(f); i++) {
        const struct slm_row *row = &f->rows[i];
        float *q = f->q + i * f->query_stride, *k = f->k + i * f->kv_stride;
        norm_heads(f, t, &layer->q_norm, q, t->n_heads);
        norm_heads(f, t, &layer->k_norm, k, t->n_kv_heads);
        if (t->rope != SLM_NO_ROPE) {
            rotate(f, t, q, t->n_heads, i);
            rotate(f, t, k, t->n_kv_heads, i);
        }
        size_t page = row->tables[kv->group].pages[row->position / SLM_PAGE];
        uint8_t *keys = kv->keys + page * kv->shape.key_bytes;
        uint8_t *values = kv->values + page * kv->shape.value_bytes;
        for (uint32_t h = 0; h < t->n_kv_heads; h++)
            f->kern->kv_store(keys + h * kv->key_plane, values + h * kv->value_plane,
                              row->position % SLM_PAGE, k + h * t->head_dim,
                              f->v + i * f->kv_stride + h * t->head_dim, t->head_dim, f->kv->type);
    }
}
