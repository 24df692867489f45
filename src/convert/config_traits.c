/*
 * config_traits.c - from what was read to the records of the file.
 */
#include "convert/config.h"

#include "format/format.h"

#include <math.h>

static uint32_t or_else(uint32_t count, uint32_t otherwise)
{
    return count ? count : otherwise;
}

/* Every layer gets its shape; heads must share key-value heads evenly in each. */
static int complete_shapes(struct slm_config *config)
{
    for (uint32_t i = 0; i < config->n_layers; i++) {
        struct slm_shape *s = &config->shapes[i];
        bool own = s->n_heads && s->n_heads != config->n_heads;
        s->n_heads = or_else(s->n_heads, config->n_heads);
        s->n_kv_heads = or_else(s->n_kv_heads, or_else(config->n_kv_heads, s->n_heads));
        s->ffn_dim = or_else(s->ffn_dim, config->ffn_dim);
        if (s->n_heads % s->n_kv_heads)
            return slm_fail(SLM_EFORMAT, "%u attention heads can't share %u key-value heads evenly",
                            (unsigned)s->n_heads, (unsigned)s->n_kv_heads);
        if (own && config->head_dim == 0)
            return slm_fail(SLM_EFORMAT, "layers have different heads, and head_dim is not given");
        if (own && config->slope_exponent != 0)
            return slm_fail(SLM_EUNSUPPORTED, "ALiBi with different heads in layers");
    }
    config->n_kv_heads = config->shapes[0].n_kv_heads;
    return SLM_OK;
}

/* What no key says follows from the others, or from the family. */
static int complete(struct slm_config *config)
{
    const struct slm_family *family = config->family;
    if (!(config->parts & (SLM_PART_FFN_NORM | SLM_PART_TWO_NORMS)))
        config->parts |= SLM_PART_SHARED_NORM;
    for (const struct slm_family_tensor *t = family->tensors; t->role; t++)
        if (t->part == SLM_PART_SHARED_NORM && t->part & config->parts)
            config->parts |= SLM_PART_PARALLEL; /* one norm for both blocks: both read it at once */
    if (config->ffn_dim == 0)
        config->ffn_dim = family->ffn_factor * config->dim;
    int err = complete_shapes(config);
    if (err)
        return err;
    if (config->head_dim == 0) {
        if (config->dim % config->n_heads)
            return slm_fail(SLM_EFORMAT,
                            "a width of %u is no multiple of %u heads, and head_dim "
                            "is not given",
                            (unsigned)config->dim, (unsigned)config->n_heads);
        config->head_dim = config->dim / config->n_heads;
    }
    if (config->head_dim > SLM_LIMIT_HEAD_DIM)
        return slm_fail(SLM_ELIMIT, "heads of %u dimensions; the limit is %d",
                        (unsigned)config->head_dim, SLM_LIMIT_HEAD_DIM);
    if (config->norm_eps < 0)
        config->norm_eps = family->norm_eps;
    if (!(config->norm_eps > 0 && config->norm_eps < 1))
        return slm_fail(SLM_EFORMAT, "the epsilon of the norms is %g", config->norm_eps);
    if (family->position == SLM_FAMILY_LEARNED && config->max_context == 0)
        return slm_fail(SLM_EFORMAT, "positions are learned, but their number is not given");
    return SLM_OK;
}

/* transformers' defaults: all of a head rotates, and lengths count from the trained one. */
static int complete_rope(struct slm_config *config)
{
    struct slm_rope_config *rope = &config->rope;
    if (rope->dims == 0)
        rope->dims = config->head_dim;
    if (rope->dims > config->head_dim)
        return slm_fail(SLM_EFORMAT, "%u rotating dimensions in heads of %u", (unsigned)rope->dims,
                        (unsigned)config->head_dim);
    if (rope->base == 0)
        rope->base = config->family->theta ? config->family->theta : 10000;
    if (rope->original_context == 0 || rope->kind == SLM_ROPE_KIND_DYNAMIC)
        rope->original_context = config->max_context;
    bool counts = rope->kind == SLM_ROPE_KIND_YARN || rope->kind == SLM_ROPE_KIND_LONG;
    if (rope->factor == 0 && counts && rope->original_context > 0)
        rope->factor = config->max_context / rope->original_context;
    config->local_rope.dims = rope->dims;
    return SLM_OK;
}

static float *take(const struct slm_config *config, uint32_t n)
{
    return slm_calloc(config->allocator, n * sizeof(float));
}

/* The table and the record beside it. Only dynamic scaling leaves the runtime something to do. */
static int fill_rope(struct slm_config *config, uint32_t i)
{
    const struct slm_rope_config *rope = i ? &config->local_rope : &config->rope;
    struct slm_rope_traits *traits = &config->rope_traits[i];
    traits->dims = rope->dims;
    traits->base = (float)rope->base;
    if (!(config->frequencies[i] = take(config, rope->dims / 2)))
        return SLM_ENOMEM;
    int err = slm_rope_table(rope, config->frequencies[i], &traits->magnitude);
    if (err)
        return err;
    if (config->rope_magnitude != 0 && i == 0)
        traits->magnitude = rope->kind == SLM_ROPE_KIND_LONG
                                ? (float)config->rope_magnitude
                                : traits->magnitude * (float)config->rope_magnitude;
    if (!(traits->magnitude > 0) || !isfinite(traits->magnitude))
        return slm_fail(SLM_EFORMAT, "RoPE scaling: the attention factor is %g",
                        (double)traits->magnitude);
    traits->original_context = (uint32_t)rope->original_context;
    switch (rope->kind) {
    case SLM_ROPE_KIND_DYNAMIC:
        traits->scaling = SLM_ROPE_DYNAMIC;
        traits->factor = (float)rope->factor;
        return SLM_OK;
    case SLM_ROPE_KIND_LONG:
        traits->scaling = SLM_ROPE_LONG;
        config->long_frequencies[i] = take(config, rope->dims / 2);
        return config->long_frequencies[i] ? slm_rope_long_table(rope, config->long_frequencies[i])
                                           : SLM_ENOMEM;
    default: traits->original_context = 0; return SLM_OK;
    }
}

/* ALiBi: 2^-(e i / n) for the heads i = 1 to n, n a power of two; the heads beyond that come in
 * between, with those of 2 n at odd places. */
static int fill_slopes(struct slm_config *config)
{
    if (config->slope_exponent == 0)
        return SLM_OK;
    if (!(config->slopes = take(config, config->n_heads)))
        return SLM_ENOMEM;
    uint32_t n = 1;
    while (2 * n <= config->n_heads)
        n *= 2;
    double scale = config->slope_scale ? config->slope_scale : 1;
    for (uint32_t i = 0; i < config->n_heads; i++) {
        double step = i < n ? i + 1.0 : i - n + 0.5;
        config->slopes[i] = (float)(scale * exp2(-config->slope_exponent * step / n));
    }
    return SLM_OK;
}

uint32_t slm_config_parts(const struct slm_config *config, uint32_t layer)
{
    uint32_t of_layer = 0;
    if (layer != SLM_NO_LAYER && (config->n_experts == 0 || config->dense[layer]))
        of_layer = SLM_PART_DENSE;
    else if (layer != SLM_NO_LAYER)
        of_layer = SLM_PART_EXPERTS | (config->shared_dim ? SLM_PART_SHARED : 0);
    return config->parts | of_layer;
}

/* What a layer is put together from, by the tensors that it has. */
static uint32_t layer_parts(const struct slm_config *config, uint32_t layer)
{
    uint32_t parts = config->slopes ? SLM_LAYER_SLOPES : 0, has = slm_config_parts(config, layer);
    if (config->parts & SLM_PART_PARALLEL)
        parts |= SLM_LAYER_PARALLEL;
    for (const struct slm_family_tensor *t = config->family->tensors; t->role; t++) {
        if ((t->part && !(t->part & has)) || (t->how & SLM_HOW_NOT_FIRST && layer == 0))
            continue;
        switch (t->role) {
        case SLM_ROLE_ATTN_NORM: parts |= SLM_LAYER_ATTN_NORM; break;
        case SLM_ROLE_ATTN_POST_NORM: parts |= SLM_LAYER_ATTN_POST_NORM; break;
        case SLM_ROLE_FFN_NORM: parts |= SLM_LAYER_FFN_NORM; break;
        case SLM_ROLE_FFN_POST_NORM: parts |= SLM_LAYER_FFN_POST_NORM; break;
        case SLM_ROLE_ATTN_SUM_NORM: parts |= SLM_LAYER_ATTN_SUM_NORM; break;
        case SLM_ROLE_FFN_SUM_NORM: parts |= SLM_LAYER_FFN_SUM_NORM; break;
        case SLM_ROLE_FFN_GATE:
        case SLM_ROLE_EXPERTS_GATE: parts |= SLM_LAYER_GATE; break;
        case SLM_ROLE_SHARED_GATE: parts |= SLM_LAYER_SHARED_GATE; break;
        case SLM_ROLE_ATTN_SINKS: parts |= SLM_LAYER_SINKS; break;
        case SLM_ROLE_ATTN_Q_NORM:
            parts |= config->family->wide_norms ? SLM_LAYER_WIDE_NORMS : SLM_LAYER_HEAD_NORMS;
            break;
        default: break;
        }
    }
    return parts | (config->up_plus_one ? SLM_LAYER_UP_PLUS_ONE : 0);
}

static uint32_t model_parts(const struct slm_config *config)
{
    uint32_t parts = config->unit_length ? SLM_MODEL_UNIT_LENGTH : 0;
    for (const struct slm_family_tensor *t = config->family->tensors; t->role; t++) {
        if (t->part && !(t->part & config->parts))
            continue;
        switch (t->role) {
        case SLM_ROLE_EMBEDDING_NORM: parts |= SLM_MODEL_EMBEDDING_NORM; break;
        case SLM_ROLE_FINAL_NORM: parts |= SLM_MODEL_FINAL_NORM; break;
        case SLM_ROLE_SCORE_DENSE: parts |= SLM_MODEL_SCORE_DENSE; break;
        case SLM_ROLE_SCORE_NORM: parts |= SLM_MODEL_SCORE_NORM; break;
        default: break;
        }
    }
    return parts;
}

static float or_one(double x)
{
    return x != 0 ? (float)x : 1;
}

/* A factor that a key has set must be one that a file may have. */
static int check_numbers(const struct slm_config *config)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"embedding scale", config->embedding_scale},
        {"residual scale", config->residual_scale},
        {"logit scale", config->logit_scale},
        {"divisor of the logits", config->logit_divisor},
        {"attention scale", config->attention_scale},
        {"cap of attention", config->attention_cap},
        {"cap of the logits", config->logit_cap},
        {"limit of the gate", config->gate_limit},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!(numbers[i].value >= 0 && numbers[i].value < 1e30) ||
            (numbers[i].value > 0 && numbers[i].value < 1e-30))
            return slm_fail(SLM_EFORMAT, "the %s is %g", numbers[i].name, numbers[i].value);
    return SLM_OK;
}

/* A score head decides what it reads; else an encoder's vectors are averaged where nobody says. */
static void complete_pooling(struct slm_config *config)
{
    if (config->parts & SLM_PART_SCORE) {
        config->pooling = config->scored ? config->scored : SLM_POOLED_LAST;
        config->unit_length = false;
    } else if (config->family->encoder && config->pooling == 0) {
        config->pooling = SLM_POOLED_MEAN;
    }
}

static int fill_records(struct slm_config *config)
{
    complete_pooling(config);
    bool short_texts = config->max_text > 0 && config->max_text < config->max_context;
    config->traits = (struct slm_traits){
        .n_layers = config->n_layers,
        .dim = config->dim,
        .n_vocab = config->n_vocab,
        .max_context = short_texts ? config->max_text : config->max_context,
        .norm = config->family->norm ? config->family->norm : SLM_NORM_RMS,
        .norm_eps = (float)config->norm_eps,
        .n_positions = config->family->position == SLM_FAMILY_LEARNED ? config->max_context : 0,
        .n_ropes = config->n_ropes,
        .attention = config->family->encoder ? SLM_ATTENTION_BOTH : SLM_ATTENTION_CAUSAL,
        .activation = config->activation,
        .embedding_scale = or_one(config->embedding_scale),
        .residual_scale = or_one(config->residual_scale),
        .logit_scale = config->logit_divisor != 0 ? (float)(1 / config->logit_divisor)
                                                  : or_one(config->logit_scale),
        .logit_cap = (float)config->logit_cap,
        .parts = model_parts(config),
        .n_token_types = config->parts & SLM_PART_TOKEN_TYPES ? config->n_token_types : 0,
        .pooling = config->pooling,
        .n_scores = config->parts & SLM_PART_SCORE ? config->n_scores : 0,
        .score_activation = config->parts & SLM_PART_SCORE ? config->score_activation : 0,
        .n_separators = config->n_separators,
    };
    config->layers = slm_calloc(config->allocator, config->n_layers * sizeof *config->layers);
    if (!config->layers)
        return SLM_ENOMEM;
    for (uint32_t i = 0; i < config->n_layers; i++)
        config->layers[i] = (struct slm_layer_traits){
            .n_heads = config->shapes[i].n_heads,
            .n_kv_heads = config->shapes[i].n_kv_heads,
            .head_dim = config->head_dim,
            .ffn_dim = config->shapes[i].ffn_dim,
            .window = config->slides[i] ? config->window : 0,
            .rope = config->n_ropes ? config->rope_of[i] : SLM_NO_ROPE,
            .attention_scale = config->attention_scale != 0 ? (float)config->attention_scale
                                                            : (float)(1 / sqrt(config->head_dim)),
            .attention_cap = (float)config->attention_cap,
            .parts = layer_parts(config, i),
            .gate_limit = (float)config->gate_limit,
        };
    for (uint32_t i = 0; i < config->n_layers; i++)
        if (slm_config_parts(config, i) & SLM_PART_EXPERTS) {
            struct slm_layer_traits *l = &config->layers[i];
            l->ffn_dim = config->shared_dim;
            l->n_experts = config->n_experts;
            l->n_chosen = config->n_chosen;
            l->expert_dim = config->expert_dim;
            l->router = config->router;
        }
    return SLM_OK;
}

int slm_config_finish(struct slm_config *config)
{
    int err = complete(config);
    if (!err)
        err = check_numbers(config);
    if (!err && config->n_ropes)
        err = complete_rope(config);
    for (uint32_t i = 0; i < config->n_ropes && !err; i++)
        err = fill_rope(config, i);
    if (!err)
        err = fill_slopes(config);
    if (!err && !(config->ones = take(config, config->dim)))
        err = SLM_ENOMEM;
    for (uint32_t i = 0; i < config->dim && !err; i++)
        config->ones[i] = 1;
    return err ? err : fill_records(config);
}

void slm_config_free(struct slm_config *config)
{
    const slm_allocator *a = config->allocator;
    size_t pairs = config->rope.dims / 2 * sizeof(float);
    slm_free(a, config->layers, config->n_layers * sizeof *config->layers);
    for (int i = 0; i < SLM_CONFIG_ROPES; i++) {
        slm_free(a, config->frequencies[i], pairs);
        slm_free(a, config->long_frequencies[i], pairs);
        config->frequencies[i] = config->long_frequencies[i] = NULL;
    }
    slm_free(a, config->slopes, config->n_heads * sizeof(float));
    slm_free(a, config->ones, config->dim * sizeof(float));
    slm_buf_free(&config->factors);
    config->layers = NULL;
    config->slopes = config->ones = NULL;
}
