/*
 * config.c - see config.h. First the table of numbers with their two spellings, then what only one
 * of the worlds has, then the traits.
 */
#include "convert/config.h"

#include "convert/quote.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ------------------------------------------------------------------------ numbers --- */

/* Where to look: exactly one of json and gguf is there. */
struct keys {
    const struct slm_json *json;
    slm_json_node node;
    const struct slm_gguf *gguf;
    char prefix[32]; /* "llama." */
};

struct field {
    const char *hf, *gguf; /* NULL: that world does not have it */
    size_t offset;         /* in struct slm_config */
    uint32_t high;         /* an integer of 1 to high; 0: a number, as double */
    bool required;
};

#define AT(member) offsetof(struct slm_config, member)

/* What is required has no default that one could trust: the classes of transformers have some, but
 * a file that leaves out its width is damaged. */
static const struct field model_fields[] = {
    {"num_hidden_layers", "block_count", AT(n_layers), SLM_LIMIT_LAYERS, true},
    {"hidden_size", "embedding_length", AT(dim), SLM_LIMIT_DIM, true},
    {"intermediate_size", "feed_forward_length", AT(ffn_dim), SLM_LIMIT_FFN_DIM, true},
    {"num_attention_heads", "attention.head_count", AT(n_heads), SLM_LIMIT_HEADS, true},
    {"num_key_value_heads", "attention.head_count_kv", AT(n_kv_heads), SLM_LIMIT_HEADS, false},
    {"head_dim", "attention.key_length", AT(head_dim), SLM_LIMIT_HEAD_DIM, false},
    {"max_position_embeddings", "context_length", AT(max_context), SLM_LIMIT_CONTEXT, false},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon", AT(norm_eps), 0, true},
    {"rope_theta", "rope.freq_base", AT(rope.base), 0, false},
    {NULL, "rope.dimension_count", AT(rope.dims), SLM_LIMIT_HEAD_DIM, false},
    {NULL, "vocab_size", AT(n_vocab), SLM_LIMIT_VOCAB, false},
    {"vocab_size", NULL, AT(n_vocab), SLM_LIMIT_VOCAB, true},
    {NULL, NULL, 0, 0, false},
};

/* Of the object rope_parameters or rope_scaling. */
static const struct field rope_fields[] = {
    {"rope_theta", NULL, AT(rope.base), 0, false},
    {NULL, "rope.scale_linear", AT(rope.factor), 0, false}, /* its name in old files */
    {"factor", "rope.scaling.factor", AT(rope.factor), 0, false},
    {"original_max_position_embeddings", "rope.scaling.original_context_length",
     AT(rope.original_context), 0, false},
    {"attention_factor", "rope.scaling.yarn_attn_factor", AT(rope.attention_factor), 0, false},
    {NULL, "rope.scaling.attn_factor", AT(rope_magnitude), 0, false},
    {"beta_fast", "rope.scaling.yarn_beta_fast", AT(rope.beta_fast), 0, false},
    {"beta_slow", "rope.scaling.yarn_beta_slow", AT(rope.beta_slow), 0, false},
    {"mscale", NULL, AT(rope.mscale), 0, false},
    {"mscale_all_dim", "rope.scaling.yarn_log_multiplier", AT(rope.mscale_all_dim), 0, false},
    {"low_freq_factor", NULL, AT(rope.low_freq_factor), 0, false},
    {"high_freq_factor", NULL, AT(rope.high_freq_factor), 0, false},
    {NULL, NULL, 0, 0, false},
};

static void full_name(const struct keys *keys, const char *name, char out[96])
{
    snprintf(out, 96, "%s%s", keys->prefix, name);
}

/* Member of an object; null counts as not there. */
static slm_json_node member(const struct slm_json *json, slm_json_node node, const char *key)
{
    slm_json_node found = slm_json_get(json, node, key);
    return found >= 0 && slm_json_type(json, found) == JSON_NULL ? -1 : found;
}

/* An integer or a double by name: 1 found, 0 not there, or an error. */
static int find_number(const struct keys *keys, const char *name, double *value)
{
    if (keys->gguf) {
        char full[96];
        full_name(keys, name, full);
        return slm_gguf_f64(keys->gguf, full, value);
    }
    slm_json_node node = member(keys->json, keys->node, name);
    if (node < 0)
        return 0;
    if (slm_json_type(keys->json, node) != JSON_NUMBER)
        return slm_fail(SLM_EFORMAT, "config.json: %s is not a number", name);
    *value = slm_json_number(keys->json, node, 0);
    return 1;
}

/* One row of a table into its member. What a source does not name stays as it was, so members are
 * preset with their defaults; 0 stands for "not said". */
static int read_field(const struct keys *keys, const struct field *field, struct slm_config *config)
{
    const char *name = keys->gguf ? field->gguf : field->hf;
    void *target = (uint8_t *)config + field->offset;
    double value;
    if (!name)
        return SLM_OK;
    char full[96];
    full_name(keys, name, full);
    const char *where = keys->gguf ? "" : "config.json: ";

    int found = find_number(keys, name, &value);
    if (found < 0)
        return found;
    if (!found)
        return field->required ? slm_fail(SLM_EFORMAT, "%s%s is missing", where, full) : SLM_OK;
    if (field->high == 0) {
        if (!isfinite(value))
            return slm_fail(SLM_EFORMAT, "%s%s is not a finite number", where, full);
        memcpy(target, &value, sizeof value);
        return SLM_OK;
    }
    if (value < 1 || value != floor(value))
        return slm_fail(SLM_EFORMAT, "%s%s is %g; it must be a positive integer", where, full,
                        value);
    if (value > field->high)
        return slm_fail(SLM_ELIMIT, "%s%s is %.0f; the limit is %u", where, full, value,
                        (unsigned)field->high);
    uint32_t count = (uint32_t)value;
    memcpy(target, &count, sizeof count);
    return SLM_OK;
}

static int read_fields(const struct keys *keys, const struct field *fields,
                       struct slm_config *config)
{
    for (; fields->hf || fields->gguf; fields++) {
        int err = read_field(keys, fields, config);
        if (err)
            return err;
    }
    return SLM_OK;
}

/* ------------------------------------------------------------------- rope scaling --- */

/* Both worlds use the same words, but that GGUF knows neither dynamic nor llama3: it has a table of
 * divisors for the latter. */
static int rope_kind(const char *name, size_t n, enum slm_rope_kind *kind)
{
    static const struct {
        const char *name;
        enum slm_rope_kind kind;
    } kinds[] = {
        {"default", SLM_ROPE_KIND_DEFAULT}, {"none", SLM_ROPE_KIND_DEFAULT},
        {"linear", SLM_ROPE_KIND_LINEAR},   {"dynamic", SLM_ROPE_KIND_DYNAMIC},
        {"yarn", SLM_ROPE_KIND_YARN},       {"llama3", SLM_ROPE_KIND_LLAMA3},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strlen(kinds[i].name) == n && memcmp(kinds[i].name, name, n) == 0) {
            *kind = kinds[i].kind;
            return SLM_OK;
        }
    return slm_fail(SLM_EUNSUPPORTED,
                    "RoPE scaling %s is not supported; supported: default, linear, dynamic, yarn, "
                    "llama3",
                    slm_quote(name, n).text);
}

/* Old files: "rope_scaling": {"type": ...}; newer: {"rope_type": ...}; newest: "rope_parameters",
 * which has the base in it as well. */
static int json_rope(struct slm_config *config, const struct slm_json *json)
{
    struct keys keys = {.json = json, .node = member(json, 0, "rope_scaling")};
    if (keys.node < 0 || (slm_json_type(json, keys.node) == JSON_OBJECT &&
                          slm_json_count(json, keys.node) == 0)) /* {} counts as not there */
        keys.node = member(json, 0, "rope_parameters");
    config->rope.truncate = true;
    double partial = 1;
    struct keys top = {.json = json, .node = 0};
    int err = find_number(&top, "partial_rotary_factor", &partial);
    if (err < 0)
        return err;
    if (keys.node >= 0) {
        if (slm_json_type(json, keys.node) != JSON_OBJECT)
            return slm_fail(SLM_EFORMAT, "config.json: rope_scaling is not an object");
        slm_json_node type = member(json, keys.node, "rope_type");
        if (type < 0)
            type = member(json, keys.node, "type");
        size_t n = 0;
        const char *name = slm_json_string(json, type, &n);
        if (name && (err = rope_kind(name, n, &config->rope.kind)))
            return err;
        if ((err = find_number(&keys, "partial_rotary_factor", &partial)) < 0 ||
            (err = read_fields(&keys, rope_fields, config)))
            return err;
        config->rope.truncate =
            slm_json_bool(json, slm_json_get(json, keys.node, "truncate"), true);
    }
    /* A top-level value has precedence over the one inside, as in transformers. */
    err = find_number(&top, "original_max_position_embeddings", &config->rope.original_context);
    if (err < 0)
        return err;
    if (!(partial > 0 && partial <= 1))
        return slm_fail(SLM_EFORMAT, "config.json: partial_rotary_factor is %g", partial);
    if (partial < 1) /* rounded down, as Python's int() does */
        config->rope.dims =
            (uint32_t)(partial *
                       (config->head_dim ? config->head_dim : config->dim / config->n_heads));
    return SLM_OK;
}

/* The type may be missing, and then it is linear; so it can't be read from a table. */
static int gguf_rope(struct slm_config *config, const struct keys *keys)
{
    char full[96];
    const char *text;
    size_t n;
    int err = read_fields(keys, rope_fields, config);
    if (err)
        return err;
    /* A factor without a type is linear. */
    bool scaled = config->rope.factor != 0 && config->rope.factor != 1;
    config->rope.kind = scaled ? SLM_ROPE_KIND_LINEAR : SLM_ROPE_KIND_DEFAULT;
    config->rope.truncate = true;
    /* GGUF has one of the two numbers of yarn's attention factor; the other is always 1. */
    config->rope.mscale = config->rope.mscale_all_dim != 0 ? 1 : 0;
    full_name(keys, "rope.scaling.type", full);
    int found = slm_gguf_text(keys->gguf, full, &text, &n);
    if (found < 0)
        return found;
    if (found) {
        enum slm_rope_kind kind;
        if ((err = rope_kind(text, n, &kind)))
            return err;
        if (kind != SLM_ROPE_KIND_LINEAR)
            config->rope.kind = kind;
    }
    double extrapolation = 1;
    if ((err = find_number(keys, "rope.scaling.yarn_ext_factor", &extrapolation)) < 0)
        return err;
    if (extrapolation != 1)
        return slm_fail(SLM_EUNSUPPORTED,
                        "%srope.scaling.yarn_ext_factor is %g; only 1 is supported", keys->prefix,
                        extrapolation);
    return SLM_OK;
}

/* --------------------------------------------------------------------------- json --- */

/* Only the first class counts; published files have one. */
static int json_family(struct slm_config *config, const struct slm_json *json)
{
    slm_json_node classes = slm_json_get(json, 0, "architectures");
    size_t n = 0;
    const char *name = slm_json_string(json, slm_json_at(json, classes, 0), &n);
    if (!name)
        return slm_fail(SLM_EFORMAT, "config.json: architectures is missing: it names the class "
                                     "of the model, such as [\"LlamaForCausalLM\"]");
    config->family = slm_family_of_class(name, n);
    return config->family ? SLM_OK : slm_family_unknown_class(name, n);
}

/* Things that config.json can ask for and that would change the result if they were ignored. */
static int json_refuse(const struct slm_json *json)
{
    size_t n = 0;
    const char *act = slm_json_string(json, slm_json_get(json, 0, "hidden_act"), &n);
    if (act && strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return slm_fail(SLM_EUNSUPPORTED, "config.json: hidden_act %s is not supported, only silu",
                        slm_quote(act, n).text);
    slm_json_node quantization = member(json, 0, "quantization_config");
    if (quantization >= 0) {
        const char *how = slm_json_string(json, member(json, quantization, "quant_method"), &n);
        return slm_fail(SLM_EUNSUPPORTED,
                        "config.json: weights quantized with %s are not supported; take the "
                        "original model, or a GGUF file",
                        how ? slm_quote(how, n).text : "an unknown method");
    }
    return SLM_OK;
}

/* One entry of layer_types a layer, else what the family does. */
static int json_windows(struct slm_config *config, const struct slm_json *json)
{
    const struct slm_family *family = config->family;
    if (family->window == SLM_WINDOW_NONE)
        return SLM_OK;
    /* Qwen writes a window into every file, and a switch that says whether to use it. */
    if (family->window == SLM_WINDOW_LATE &&
        !slm_json_bool(json, slm_json_get(json, 0, "use_sliding_window"), false))
        return SLM_OK;
    double window = family->default_window, first = 0;
    struct keys keys = {.json = json, .node = 0};
    int err = find_number(&keys, "sliding_window", &window);
    if (err < 0)
        return err;
    /* null is an answer here, "no window", where a missing key means the default. */
    slm_json_node node = slm_json_get(json, 0, "sliding_window");
    if (node >= 0 && slm_json_type(json, node) == JSON_NULL)
        return SLM_OK;
    if (!(window >= 1 && window <= SLM_LIMIT_CONTEXT) || window != floor(window))
        return slm_fail(SLM_EFORMAT, "config.json: sliding_window is %g", window);
    config->window = (uint32_t)window;

    if (family->window == SLM_WINDOW_LATE) {
        first = 28; /* the default of its class */
        if ((err = find_number(&keys, "max_window_layers", &first)) < 0)
            return err;
    }
    slm_json_node types = member(json, 0, "layer_types");
    if (types >= 0 && slm_json_count(json, types) != config->n_layers)
        return slm_fail(SLM_EFORMAT, "config.json: layer_types has %zu entries for %u layers",
                        slm_json_count(json, types), (unsigned)config->n_layers);
    slm_json_node type = slm_json_first(json, types);
    for (uint32_t i = 0; i < config->n_layers; i++) {
        config->slides[i] = i >= first;
        if (types < 0)
            continue;
        size_t n = 0;
        const char *name = slm_json_string(json, type, &n);
        if (!name || (strcmp(name, "sliding_attention") && strcmp(name, "full_attention")))
            return slm_fail(SLM_EUNSUPPORTED,
                            "config.json: layer_types[%u] %s is not supported; supported: "
                            "full_attention, sliding_attention",
                            (unsigned)i, name ? slm_quote(name, n).text : "");
        config->slides[i] = name[0] == 's';
        type = slm_json_next(json, type);
    }
    return SLM_OK;
}

int slm_config_from_json(struct slm_config *config, const struct slm_json *json)
{
    struct keys keys = {.json = json, .node = 0};
    if (slm_json_type(json, 0) != JSON_OBJECT)
        return slm_fail(SLM_EFORMAT, "config.json: not an object");
    int err = json_family(config, json);
    if (err || (err = json_refuse(json)) || (err = read_fields(&keys, model_fields, config)) ||
        (err = json_rope(config, json)) || (err = json_windows(config, json)))
        return err;
    config->parts = config->family->parts;
    for (const struct slm_family_switch *s = config->family->switches; s->key; s++)
        if (slm_json_bool(json, slm_json_get(json, 0, s->key), false))
            config->parts |= s->parts;
    if (!slm_json_bool(json, slm_json_get(json, 0, "tie_word_embeddings"), false))
        config->parts |= SLM_PART_HEAD;
    return SLM_OK;
}

/* --------------------------------------------------------------------------- gguf --- */

/* Keys that would change the result if they were ignored. */
static int gguf_refuse(const struct keys *keys, const struct slm_config *config)
{
    double experts = 0, value_length = config->head_dim;
    int err = find_number(keys, "expert_count", &experts);
    if (err < 0)
        return err;
    if (experts != 0)
        return slm_fail(SLM_EUNSUPPORTED,
                        "%sexpert_count is %g: mixtures of experts are not "
                        "supported",
                        keys->prefix, experts);
    if ((err = find_number(keys, "attention.value_length", &value_length)) < 0)
        return err;
    if (config->head_dim && value_length != config->head_dim)
        return slm_fail(SLM_EUNSUPPORTED,
                        "%sattention.value_length is %g and key_length %u: heads with two sizes "
                        "are not supported",
                        keys->prefix, value_length, (unsigned)config->head_dim);
    uint32_t files = 1;
    if ((err = slm_gguf_u32(keys->gguf, "split.count", &files)) < 0)
        return err;
    if (files > 1)
        return slm_fail(SLM_EUNSUPPORTED,
                        "this GGUF is one of %u parts of a model; join them with "
                        "llama-gguf-split --merge",
                        (unsigned)files);
    return SLM_OK;
}

int slm_config_from_gguf(struct slm_config *config, const struct slm_gguf *gguf)
{
    const char *name;
    size_t n;
    int found = slm_gguf_text(gguf, "general.architecture", &name, &n);
    if (found <= 0)
        return found ? found : slm_fail(SLM_EFORMAT, "GGUF: general.architecture is missing");
    config->family = slm_family_of_gguf(name, n);
    if (!config->family)
        return slm_family_unknown_gguf(name, n);
    config->neighbours = config->family->gguf_neighbours;
    /* Parts and vocabulary follow from the tensors: slm_import_finish(). */

    struct keys keys = {.gguf = gguf};
    snprintf(keys.prefix, sizeof keys.prefix, "%.*s.", (int)n, name); /* n: of a known name */
    int err = read_fields(&keys, model_fields, config);
    if (err || (err = gguf_rope(config, &keys)))
        return err;
    return gguf_refuse(&keys, config);
}

/* ------------------------------------------------------------------------- traits --- */

/* What no key says follows from the others. */
static int complete(struct slm_config *config)
{
    if (config->n_kv_heads == 0)
        config->n_kv_heads = config->n_heads;
    if (config->n_heads % config->n_kv_heads)
        return slm_fail(SLM_EFORMAT, "%u attention heads can't share %u key-value heads evenly",
                        (unsigned)config->n_heads, (unsigned)config->n_kv_heads);
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
    struct slm_rope_config *rope = &config->rope;
    /* transformers' defaults: all of a head rotates, and lengths count from the trained one. */
    if (rope->dims == 0)
        rope->dims = config->head_dim;
    if (rope->dims > config->head_dim)
        return slm_fail(SLM_EFORMAT, "%u rotating dimensions in heads of %u", (unsigned)rope->dims,
                        (unsigned)config->head_dim);
    if (rope->base == 0)
        rope->base = 10000;
    if (rope->original_context == 0 || rope->kind == SLM_ROPE_KIND_DYNAMIC)
        rope->original_context = config->max_context;
    if (rope->factor == 0 && rope->kind == SLM_ROPE_KIND_YARN && rope->original_context > 0)
        rope->factor = config->max_context / rope->original_context;
    if (!(config->norm_eps > 0 && config->norm_eps < 1))
        return slm_fail(SLM_EFORMAT, "the epsilon of the norms is %g", config->norm_eps);
    return SLM_OK;
}

/* The table and the record beside it. Only dynamic scaling leaves the runtime something to do. */
static int fill_rope(struct slm_config *config)
{
    const struct slm_rope_config *rope = &config->rope;
    config->frequencies = slm_alloc(config->allocator, rope->dims / 2 * sizeof(float));
    if (!config->frequencies)
        return SLM_ENOMEM;
    struct slm_rope_traits *traits = &config->rope_traits;
    traits->dims = rope->dims;
    int err = slm_rope_table(rope, config->frequencies, &traits->magnitude);
    if (err)
        return err;
    if (config->rope_magnitude != 0)
        traits->magnitude *= (float)config->rope_magnitude;
    if (!(traits->magnitude > 0) || !isfinite(traits->magnitude))
        return slm_fail(SLM_EFORMAT, "RoPE scaling: the attention factor is %g",
                        (double)traits->magnitude);
    if (rope->kind == SLM_ROPE_KIND_DYNAMIC) {
        traits->scaling = SLM_ROPE_DYNAMIC;
        traits->base = (float)rope->base;
        traits->factor = (float)rope->factor;
        traits->original_context = (uint32_t)rope->original_context;
    }
    return SLM_OK;
}

int slm_config_finish(struct slm_config *config)
{
    int err = complete(config);
    if (err || (err = fill_rope(config)))
        return err;
    config->traits = (struct slm_traits){
        .n_layers = config->n_layers,
        .dim = config->dim,
        .n_vocab = config->n_vocab,
        .max_context = config->max_context,
        .norm = SLM_NORM_RMS,
        .norm_eps = (float)config->norm_eps,
        .n_ropes = 1,
        .attention = SLM_ATTENTION_CAUSAL,
        .activation = SLM_ACT_SILU,
        .parts = SLM_MODEL_FINAL_NORM,
        .embedding_scale = 1,
        .residual_scale = 1,
        .logit_scale = 1,
    };
    config->layers = slm_calloc(config->allocator, config->n_layers * sizeof *config->layers);
    if (!config->layers)
        return SLM_ENOMEM;
    for (uint32_t i = 0; i < config->n_layers; i++)
        config->layers[i] = (struct slm_layer_traits){
            .n_heads = config->n_heads,
            .n_kv_heads = config->n_kv_heads,
            .head_dim = config->head_dim,
            .ffn_dim = config->ffn_dim,
            .window = config->slides[i] ? config->window : 0,
            .rope = 0,
            .attention_scale = (float)(1 / sqrt(config->head_dim)),
            .parts = SLM_LAYER_ATTN_NORM | SLM_LAYER_FFN_NORM | SLM_LAYER_GATE,
        };
    return SLM_OK;
}

void slm_config_free(struct slm_config *config)
{
    slm_free(config->allocator, config->layers, config->n_layers * sizeof *config->layers);
    slm_free(config->allocator, config->frequencies, config->rope.dims / 2 * sizeof(float));
    config->layers = NULL;
    config->frequencies = NULL;
}
