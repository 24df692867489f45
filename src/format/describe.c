/*
 * describe.c - traits in words, for people: what `slm info` shows.
 *
 * One line a subject. What differs from layer to layer says in how many of them it holds.
 */
#include "format/format.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* A text that is put together; what does not fit is cut off. */
struct text {
    char *out;
    size_t size, length;
};

SLM_PRINTF(2, 3) static void put(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->out + t->length, t->size - t->length, format, args);
    va_end(args);
    if (n > 0)
        t->length = t->length + (size_t)n < t->size ? t->length + (size_t)n : t->size - 1;
}

/* ", " between the parts of a line. */
static void next(struct text *t)
{
    if (t->length)
        put(t, ", ");
}

/* Layers of which something is true. */
typedef bool layer_test(const struct slm_layer_traits *layer, uint32_t value);

static uint32_t count(const struct slm_file *file, layer_test *test, uint32_t value)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < file->traits->n_layers; i++)
        n += test(&file->layers[i], value);
    return n;
}

/* The first layer of which it is true, or NULL. */
static const struct slm_layer_traits *first(const struct slm_file *file, layer_test *test)
{
    for (uint32_t i = 0; i < file->traits->n_layers; i++)
        if (test(&file->layers[i], 0))
            return &file->layers[i];
    return NULL;
}

static void in_layers(struct text *t, const struct slm_file *file, uint32_t n)
{
    if (n < file->traits->n_layers)
        put(t, " in %u of %u layers", n, file->traits->n_layers);
}

static bool has_part(const struct slm_layer_traits *layer, uint32_t part)
{
    return layer->parts & part;
}

struct slm_extent slm_layer_extent(const struct slm_layer_traits *layers, uint32_t n, size_t offset)
{
    struct slm_extent range = {UINT32_MAX, 0};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t value;
        memcpy(&value, (const char *)&layers[i] + offset, sizeof value);
        if (value && value < range.least)
            range.least = value;
        range.most = value > range.most ? value : range.most;
    }
    range.least = range.most ? range.least : 0;
    return range;
}

/* Only where it differs: slm_info has the number of the first layer. */
static void put_range(struct text *t, const struct slm_file *file, size_t offset, const char *name)
{
    struct slm_extent range = slm_layer_extent(file->layers, file->traits->n_layers, offset);
    if (range.least < range.most)
        put(t, ", %s %u to %u", name, range.least, range.most);
}

static void put_part(struct text *t, const struct slm_file *file, uint32_t part, const char *name)
{
    uint32_t n = count(file, has_part, part);
    if (n == 0)
        return;
    next(t);
    put(t, "%s", name);
    in_layers(t, file, n);
}

/* ---------------------------------------------------------------------- the lines --- */

static void norms(struct text *t, const struct slm_file *file)
{
    const struct slm_traits *m = file->traits;
    put(t, "%s, epsilon %g: ", m->norm == SLM_NORM_LAYER ? "LayerNorm" : "RMSNorm",
        (double)m->norm_eps);
    struct text places = {t->out + t->length, t->size - t->length, 0};
    if (m->parts & SLM_MODEL_EMBEDDING_NORM)
        put(&places, "of the embedding");
    put_part(&places, file, SLM_LAYER_ATTN_NORM, "before attention");
    put_part(&places, file, SLM_LAYER_ATTN_POST_NORM, "after attention");
    put_part(&places, file, SLM_LAYER_HEAD_NORMS, "of each head of queries and keys");
    put_part(&places, file, SLM_LAYER_WIDE_NORMS, "of queries and keys");
    put_part(&places, file, SLM_LAYER_ATTN_SUM_NORM, "of the sum with attention");
    put_part(&places, file, SLM_LAYER_FFN_NORM, "before feed-forward");
    put_part(&places, file, SLM_LAYER_FFN_POST_NORM, "after feed-forward");
    put_part(&places, file, SLM_LAYER_FFN_SUM_NORM, "of the sum with feed-forward");
    if (m->parts & SLM_MODEL_FINAL_NORM) {
        next(&places);
        put(&places, "before the head");
    }
}

static bool uses_rope(const struct slm_layer_traits *layer, uint32_t rope)
{
    return layer->rope == rope;
}

static void positions(struct text *t, const struct slm_file *file)
{
    const struct slm_traits *m = file->traits;
    if (m->n_positions)
        put(t, "learned, %u", m->n_positions);
    for (uint32_t i = 0; i < m->n_ropes; i++) {
        const struct slm_rope_traits *rope = &file->ropes[i];
        uint32_t n = count(file, uses_rope, i);
        if (n == 0)
            continue;
        put(t, t->length ? "; " : "");
        put(t, "rotary, %u dimensions", rope->dims);
        if (rope->base > 0)
            put(t, ", base %.9g", (double)rope->base);
        if (rope->scaling != SLM_ROPE_TABLE)
            put(t, ", %s beyond %u",
                rope->scaling == SLM_ROPE_DYNAMIC ? "base grows" : "another table",
                rope->original_context);
        in_layers(t, file, n);
    }
    put_part(t, file, SLM_LAYER_SLOPES, "linear slopes (ALiBi)");
    if (t->length == 0)
        put(t, "none");
}

static bool has_window(const struct slm_layer_traits *layer, uint32_t window)
{
    return layer->window == window;
}

static bool has_cap(const struct slm_layer_traits *layer, uint32_t unused)
{
    (void)unused;
    return layer->attention_cap > 0;
}

static void attention(struct text *t, const struct slm_file *file)
{
    const struct slm_layer_traits *capped = first(file, has_cap);
    put(t, file->traits->attention == SLM_ATTENTION_BOTH ? "both ways" : "causal");
    put_range(t, file, offsetof(struct slm_layer_traits, n_heads), "heads");
    put_range(t, file, offsetof(struct slm_layer_traits, n_kv_heads), "key-value heads");
    for (uint32_t i = 0; i < file->traits->n_layers; i++) {
        uint32_t window = file->layers[i].window, seen = 0;
        for (uint32_t k = 0; k < i; k++)
            seen |= file->layers[k].window == window;
        if (!window || seen)
            continue;
        put(t, ", window %u", window);
        in_layers(t, file, count(file, has_window, window));
    }
    put(t, ", scale %g", (double)file->layers->attention_scale);
    if (capped)
        put(t, ", scores capped at %g", (double)capped->attention_cap);
    put_part(t, file, SLM_LAYER_SINKS, "sinks");
}

static bool has_limit(const struct slm_layer_traits *layer, uint32_t unused)
{
    (void)unused;
    return layer->gate_limit > 0;
}

static void feed_forward(struct text *t, const struct slm_file *file)
{
    static const char *const names[SLM_N_ACTIVATIONS] = {
        [SLM_ACT_SILU] = "SiLU",
        [SLM_ACT_GELU] = "GELU",
        [SLM_ACT_GELU_TANH] = "GELU (tanh)",
        [SLM_ACT_GELU_QUICK] = "quick GELU",
        [SLM_ACT_RELU] = "ReLU",
    };
    const struct slm_layer_traits *limited = first(file, has_limit);
    put(t, "%s", names[file->traits->activation]);
    put_range(t, file, offsetof(struct slm_layer_traits, ffn_dim), "size");
    put_part(t, file, SLM_LAYER_GATE, "gated");
    put_part(t, file, SLM_LAYER_PARALLEL, "parallel to attention");
    if (limited)
        put(t, ", held at %g", (double)limited->gate_limit);
    put_part(t, file, SLM_LAYER_UP_PLUS_ONE, "up + 1");
}

static bool has_experts(const struct slm_layer_traits *layer, uint32_t unused)
{
    (void)unused;
    return layer->n_experts > 0;
}

/* Of the first layer that has any. */
static void experts(struct text *t, const struct slm_file *file)
{
    const struct slm_layer_traits *l = first(file, has_experts);
    if (!l)
        return;
    put(t, "%u, %u chosen, feed-forward %u", l->n_experts, l->n_chosen, l->expert_dim);
    in_layers(t, file, count(file, has_experts, 0));
    put(t, ", softmax of %s", l->router == SLM_ROUTER_ALL ? "all" : "the chosen");
    if (l->ffn_dim)
        put(t, ", beside one of %u for every token%s", l->ffn_dim,
            l->parts & SLM_LAYER_SHARED_GATE ? ", which has a gate" : "");
}

static void head(struct text *t, const struct slm_file *file)
{
    bool own = slm_file_tensor(file, SLM_ROLE_HEAD, SLM_NO_LAYER);
    put(t, "%s", own ? "its own" : "the embedding");
    if (slm_file_tensor(file, SLM_ROLE_HEAD_BIAS, SLM_NO_LAYER))
        put(t, ", with bias");
    if (file->traits->logit_cap > 0)
        put(t, ", logits capped at %g", (double)file->traits->logit_cap);
}

static void put_scale(struct text *t, const char *name, float scale)
{
    if (scale == 1)
        return;
    next(t);
    put(t, "%s %g", name, (double)scale);
}

static void scales(struct text *t, const struct slm_file *file)
{
    put_scale(t, "embedding", file->traits->embedding_scale);
    put_scale(t, "residual", file->traits->residual_scale);
    put_scale(t, "logits", file->traits->logit_scale);
}

/* Which matrices have biases. */
static void biases(struct text *t, const struct slm_file *file)
{
    static const struct {
        uint32_t role;
        const char *name;
    } some[] = {
        {SLM_ROLE_ATTN_Q_BIAS, "queries"},      {SLM_ROLE_ATTN_K_BIAS, "keys"},
        {SLM_ROLE_ATTN_V_BIAS, "values"},       {SLM_ROLE_ATTN_OUT_BIAS, "attention's output"},
        {SLM_ROLE_FFN_UP_BIAS, "feed-forward"}, {SLM_ROLE_EXPERTS_UP_BIAS, "experts"},
        {SLM_ROLE_ROUTER_BIAS, "router"},       {SLM_ROLE_ATTN_NORM_BIAS, "norms"}};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        uint32_t n = 0;
        for (uint32_t k = 0; k < file->n_tensors; k++)
            n += file->tensors[k].role == some[i].role;
        if (n == 0)
            continue;
        next(t);
        put(t, "%s", some[i].name);
        in_layers(t, file, n);
    }
}

bool slm_traits_describe(const struct slm_file *file, size_t i, const char **name, char *value,
                         size_t size)
{
    static const struct {
        const char *name;
        void (*write)(struct text *t, const struct slm_file *file);
    } lines[] = {{"norms", norms},
                 {"positions", positions},
                 {"attention", attention},
                 {"feed-forward", feed_forward},
                 {"experts", experts},
                 {"biases", biases},
                 {"scales", scales},
                 {"head", head}};
    for (size_t k = 0; file->traits->n_layers && k < sizeof lines / sizeof lines[0]; k++) {
        struct text t = {value, size, 0};
        value[0] = '\0';
        lines[k].write(&t, file);
        if (value[0] && i-- == 0) {
            *name = lines[k].name;
            return true;
        }
    }
    return false;
}
