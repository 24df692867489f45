/*
 * config.c - see config.h. First the table of numbers with their two spellings, then what only one
 * of the worlds has. config_rope.c, config_layers.c and config_traits.c have the rest.
 */
#include "convert/config.h"

#include "source/quote.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ------------------------------------------------------------------------ numbers --- */

struct field {
    const char *hf, *gguf; /* NULL: that world does not have it; "a|b": either */
    size_t offset;         /* in struct slm_config */
    uint32_t high;         /* an integer of 1 to high; 0: a number, as double */
    bool required;
    size_t of_layer; /* in struct slm_shape: it may be a list, one for each layer; or NO_LIST */
};

#define AT(member) offsetof(struct slm_config, member)
#define OF(member) offsetof(struct slm_shape, member)
#define NO_LIST SIZE_MAX

/* What is required has no default that one could trust: the classes of transformers have some, but
 * a file that leaves out its width is damaged. What a family may know stands in complete(). */
static const struct field model_fields[] = {
    {"num_hidden_layers|n_layer|n_layers|num_layers|num_transformer_layers", "block_count",
     AT(n_layers), SLM_LIMIT_LAYERS, true, NO_LIST},
    {"hidden_size|n_embd|n_embed|d_model|dim|model_dim", "embedding_length", AT(dim), SLM_LIMIT_DIM,
     true, NO_LIST},
    {"intermediate_size|n_inner|ffn_dim|ffn_hidden_size|hidden_dim", "feed_forward_length",
     AT(ffn_dim), SLM_LIMIT_FFN_DIM, false, OF(ffn_dim)},
    {"num_attention_heads|n_head|n_heads|num_query_heads", "attention.head_count", AT(n_heads),
     SLM_LIMIT_HEADS, true, OF(n_heads)},
    {"num_key_value_heads|num_kv_heads|n_head_kv", "attention.head_count_kv", AT(n_kv_heads),
     SLM_LIMIT_HEADS, false, OF(n_kv_heads)},
    {"head_dim", "attention.key_length", AT(head_dim), SLM_LIMIT_HEAD_DIM, false, NO_LIST},
    {"max_position_embeddings|n_positions|max_seq_len|seq_length|max_context_length",
     "context_length", AT(max_context), SLM_LIMIT_CONTEXT, false, NO_LIST},
    {"rms_norm_eps|layer_norm_eps|layer_norm_epsilon|norm_epsilon|norm_eps",
     "attention.layer_norm_rms_epsilon|attention.layer_norm_epsilon", AT(norm_eps), 0, false,
     NO_LIST},
    {"rope_theta|rotary_emb_base|rope_freq_constant", "rope.freq_base", AT(rope.base), 0, false,
     NO_LIST},
    {"rotary_dim", "rope.dimension_count", AT(rope.dims), SLM_LIMIT_HEAD_DIM, false, NO_LIST},
    {NULL, "vocab_size", AT(n_vocab), SLM_LIMIT_VOCAB, false, NO_LIST},
    {"vocab_size", NULL, AT(n_vocab), SLM_LIMIT_VOCAB, true, NO_LIST},
    {"embedding_multiplier", "embedding_scale", AT(embedding_scale), 0, false, NO_LIST},
    {"residual_multiplier", "residual_scale", AT(residual_scale), 0, false, NO_LIST},
    {"attention_multiplier", "attention.scale", AT(attention_scale), 0, false, NO_LIST},
    {"logit_scale", "logit_scale", AT(logit_scale), 0, false, NO_LIST},
    {"logits_scaling", NULL, AT(logit_divisor), 0, false, NO_LIST},
    {"attn_logit_softcapping", "attn_logit_softcapping", AT(attention_cap), 0, false, NO_LIST},
    {"final_logit_softcapping", "final_logit_softcapping", AT(logit_cap), 0, false, NO_LIST},
    {NULL, NULL, 0, 0, false, NO_LIST},
};

static void full_name(const struct slm_keys *keys, const char *name, char out[160])
{
    snprintf(out, 160, "%s%s", keys->prefix, name);
}

/* Member of an object; null counts as not there. */
static slm_json_node member(const struct slm_json *json, slm_json_node node, const char *key)
{
    slm_json_node found = slm_json_get(json, node, key);
    return found >= 0 && slm_json_type(json, found) == JSON_NULL ? -1 : found;
}

/* An integer or a double by one name; flags: a boolean will do as well. */
static int one_number(const struct slm_keys *keys, const char *name, bool flags, double *value)
{
    if (keys->gguf) {
        char full[160];
        full_name(keys, name, full);
        const struct slm_gguf_key *key = slm_gguf_find(keys->gguf, full);
        bool flag;
        if (!flags || !key || key->array || key->type != SLM_GGUF_BOOL)
            return slm_gguf_f64(keys->gguf, full, value);
        int found = slm_gguf_bool(keys->gguf, full, &flag);
        *value = found == 1 ? flag : *value;
        return found;
    }
    slm_json_node node = member(keys->json, keys->node, name);
    if (node < 0)
        return 0;
    enum slm_json_type type = slm_json_type(keys->json, node);
    if (flags && (type == JSON_TRUE || type == JSON_FALSE)) {
        *value = type == JSON_TRUE;
        return 1;
    }
    if (type != JSON_NUMBER)
        return slm_fail(SLM_EFORMAT, "config.json: %s is not a number", name);
    *value = slm_json_number(keys->json, node, 0);
    return 1;
}

/* Whether a key is there under this name. */
static bool has_key(const struct slm_keys *keys, const char *name)
{
    char full[160];
    full_name(keys, name, full);
    return keys->gguf ? slm_gguf_find(keys->gguf, full) != NULL
                      : member(keys->json, keys->node, name) >= 0;
}

/* The first of "a|b" that is there into found[96]; where none is, the first one, for messages. */
static bool find_key(const struct slm_keys *keys, const char *names, char found[96])
{
    for (const char *name = names; name;) {
        size_t n = strcspn(name, "|");
        snprintf(found, 96, "%.*s", (int)n, name);
        if (has_key(keys, found))
            return true;
        name = name[n] ? name + n + 1 : NULL;
    }
    snprintf(found, 96, "%.*s", (int)strcspn(names, "|"), names);
    return false;
}

int slm_keys_number(const struct slm_keys *keys, const char *hf, const char *gguf, double *value)
{
    char found[96];
    const char *names = keys->gguf ? gguf : hf;
    int code = names && find_key(keys, names, found) ? one_number(keys, found, true, value) : 0;
    if (code == 1 && !isfinite(*value))
        return slm_fail(SLM_EFORMAT, "%s%s%s is not a finite number",
                        keys->gguf ? "" : "config.json: ", keys->prefix, found);
    return code;
}

bool slm_keys_is(const struct slm_keys *keys, const char *hf, const char *text)
{
    const char *found =
        keys->json ? slm_json_string(keys->json, slm_json_get(keys->json, keys->node, hf), NULL) : NULL;
    return found && strcmp(found, text) == 0;
}

bool slm_keys_bool(const struct slm_keys *keys, const char *hf, bool missing)
{
    return keys->json ? slm_json_bool(keys->json, slm_json_get(keys->json, keys->node, hf), missing)
                      : missing;
}

int slm_keys_expect(const struct slm_keys *keys, const char *hf, const char *gguf, double value)
{
    double found = value;
    int code = slm_keys_number(keys, hf, gguf, &found);
    if (code < 0 || found == value)
        return code < 0 ? code : SLM_OK;
    return slm_fail(SLM_EUNSUPPORTED, "%s%s%s is %g; only %g is supported",
                    keys->gguf ? "" : "config.json: ", keys->prefix, keys->gguf ? gguf : hf, found,
                    value);
}

/* A number that counts something. full: its key, for messages. */
static int to_count(double value, uint32_t high, const char *full, uint32_t *count)
{
    if (!(value >= 1) || value != floor(value))
        return slm_fail(SLM_EFORMAT, "%s is %g; it must be a positive integer", full, value);
    if (value > high)
        return slm_fail(SLM_ELIMIT, "%s is %.0f; the limit is %u", full, value, (unsigned)high);
    *count = (uint32_t)value;
    return SLM_OK;
}

int slm_keys_list(const struct slm_keys *keys, const char *name, uint32_t n, double *values)
{
    char full[160];
    full_name(keys, name, full);
    size_t count = 0;
    const struct slm_gguf_key *key = keys->gguf ? slm_gguf_find(keys->gguf, full) : NULL;
    slm_json_node list = keys->gguf ? -1 : member(keys->json, keys->node, name);
    if (keys->gguf ? !key || !key->array || !slm_gguf_is_integer(key)
                   : slm_json_type(keys->json, list) != JSON_ARRAY)
        return 0;
    count = key ? (size_t)key->count : slm_json_count(keys->json, list);
    if (count != n)
        return slm_fail(SLM_EFORMAT, "%s%s has %zu entries for %u layers",
                        keys->gguf ? "" : "config.json: ", full, count, (unsigned)n);
    slm_json_node entry = key ? -1 : slm_json_first(keys->json, list);
    for (uint32_t i = 0; i < n; i++) {
        values[i] =
            key ? (double)slm_gguf_integer_at(key, i) : slm_json_number(keys->json, entry, NAN);
        entry = key ? -1 : slm_json_next(keys->json, entry);
    }
    return 1;
}

/* A list gives each layer its own number; the model's is that of the first. */
static int read_list(const struct slm_keys *keys, const struct field *field, const char *name,
                     struct slm_config *config)
{
    double values[SLM_LIMIT_LAYERS];
    char full[200];
    int found = slm_keys_list(keys, name, config->n_layers, values);
    for (uint32_t i = 0; i < config->n_layers && found == 1; i++) {
        uint32_t count = 0;
        snprintf(full, sizeof full, "%s%s%s[%u]", keys->gguf ? "" : "config.json: ", keys->prefix,
                 name, (unsigned)i);
        int err = to_count(values[i], field->high, full, &count);
        if (err)
            return err;
        memcpy((uint8_t *)&config->shapes[i] + field->of_layer, &count, sizeof count);
        if (i == 0)
            memcpy((uint8_t *)config + field->offset, &count, sizeof count);
    }
    return found;
}

/* One row of a table into its member. What a source does not name stays as it was, so members are
 * preset with their defaults; 0 stands for "not said". */
static int read_field(const struct slm_keys *keys, const struct field *field,
                      struct slm_config *config)
{
    const char *names = keys->gguf ? field->gguf : field->hf;
    void *target = (uint8_t *)config + field->offset;
    double value;
    if (!names)
        return SLM_OK;
    char name[96], full[200];
    bool there = find_key(keys, names, name);
    snprintf(full, sizeof full, "%s%s%s", keys->gguf ? "" : "config.json: ", keys->prefix, name);
    if (!there)
        return field->required ? slm_fail(SLM_EFORMAT, "%s is missing", full) : SLM_OK;
    int found = field->of_layer == NO_LIST ? 0 : read_list(keys, field, name, config);
    if (found)
        return found < 0 ? found : SLM_OK;
    if ((found = one_number(keys, name, false, &value)) < 0)
        return found;
    if (field->high == 0) {
        if (!isfinite(value))
            return slm_fail(SLM_EFORMAT, "%s is not a finite number", full);
        memcpy(target, &value, sizeof value);
        return SLM_OK;
    }
    uint32_t count = 0;
    int err = to_count(value, field->high, full, &count);
    if (!err)
        memcpy(target, &count, sizeof count);
    return err;
}

static int read_fields(const struct slm_keys *keys, const struct field *fields,
                       struct slm_config *config)
{
    for (; fields->hf || fields->gguf; fields++) {
        int err = read_field(keys, fields, config);
        if (err)
            return err;
    }
    return SLM_OK;
}

/* --------------------------------------------------------------------------- json --- */

static bool ends_with(const char *name, size_t n, const char *ending)
{
    size_t length = strlen(ending);
    return n >= length && memcmp(name + n - length, ending, length) == 0;
}

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
    if (!config->family)
        return slm_family_unknown_class(name, n);
    if (ends_with(name, n, "ForSequenceClassification"))
        config->parts = SLM_PART_SCORE;
    config->headless =
        config->parts || (ends_with(name, n, "Model") && !ends_with(name, n, "LMHeadModel"));
    return SLM_OK;
}

/* "hidden_act" goes by several names. */
static int json_activation(struct slm_config *config, const struct slm_json *json)
{
    static const char *const keys[] = {"hidden_activation", "hidden_act", "activation_function",
                                       "activation_fn_name", "activation"};
    static const struct {
        const char *name;
        uint32_t activation;
    } names[] = {
        {"silu", SLM_ACT_SILU},           {"swish", SLM_ACT_SILU},
        {"gelu", SLM_ACT_GELU},           {"gelu_pytorch_tanh", SLM_ACT_GELU_TANH},
        {"gelu_new", SLM_ACT_GELU_TANH},  {"gelu_fast", SLM_ACT_GELU_TANH},
        {"gelu_tanh", SLM_ACT_GELU_TANH}, {"quick_gelu", SLM_ACT_GELU_QUICK},
        {"relu", SLM_ACT_RELU},           {"swiglu", SLM_ACT_SILU},
    };
    size_t n = 0;
    const char *act = NULL, *key = NULL;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !act; i++)
        act = slm_json_string(json, member(json, 0, key = keys[i]), &n);
    if (!act)
        return SLM_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i].name) == n && memcmp(names[i].name, act, n) == 0) {
            config->activation = names[i].activation;
            return SLM_OK;
        }
    return slm_fail(SLM_EUNSUPPORTED,
                    "config.json: %s %s is not supported; supported: silu, gelu, gelu_new, "
                    "gelu_pytorch_tanh, quick_gelu, relu",
                    key, slm_quote(act, n).text);
}

/* Things that config.json can ask for and that would change the result if they were ignored. */
static int json_refuse(const struct slm_json *json, bool encoder)
{
    struct slm_keys keys = {.json = json, .node = 0};
    slm_json_node quantization = member(json, 0, "quantization_config");
    if (quantization < 0) /* embedding models are made of decoders that see both sides, too */
        return encoder
                   ? SLM_OK
                   : slm_first_of(slm_keys_expect(&keys, "is_causal", NULL, 1),
                                  slm_keys_expect(&keys, "use_bidirectional_attention", NULL, 0));
    size_t n = 0;
    const char *how = slm_json_string(json, member(json, quantization, "quant_method"), &n);
    if (how && strcmp(how, "mxfp4") == 0)
        return SLM_OK; /* whatever is stored so has names of its own */
    return slm_fail(SLM_EUNSUPPORTED,
                    "config.json: weights quantized with %s are not supported; take the "
                    "original model, or a GGUF file",
                    how ? slm_quote(how, n).text : "an unknown method");
}

/* What is the same for both worlds before the first key is read. */
static void preset(struct slm_config *config)
{
    const struct slm_family *family = config->family;
    config->parts |= family->parts | SLM_PART_ALWAYS;
    config->activation = family->activation ? family->activation : SLM_ACT_SILU;
    config->n_ropes = family->position == SLM_FAMILY_ROPE ? 1 : 0;
    config->norm_eps = -1; /* not said: 0 would be an answer, if a wrong one */
}

/* How llama.cpp makes a vector of a text; it gives vectors length 1. */
static int gguf_pooling(struct slm_config *config, const struct slm_keys *keys)
{
    double pooling = 0;
    int found = slm_keys_number(keys, NULL, "pooling_type", &pooling);
    if (pooling >= SLM_POOLED_MEAN && pooling <= SLM_POOLED_LAST) {
        config->pooling = (uint32_t)pooling;
        config->unit_length = true;
    }
    return found < 0 ? found : SLM_OK;
}

static int model_keys(struct slm_config *config, const struct slm_keys *keys)
{
    int err = read_fields(keys, model_fields, config);
    /* A file may have both; each kind of norm goes by its own. */
    if (!err && config->family->norm &&
        (err = slm_keys_number(keys, "layer_norm_eps|layer_norm_epsilon",
                               "attention.layer_norm_epsilon", &config->norm_eps)) < 0)
        return err;
    err = err > 0 ? SLM_OK : err;
    if (!err && config->norm_eps < 0 && config->family->norm_eps == 0) {
        const char *name = config->family->norm ? "layer_norm_eps" : "rms_norm_eps";
        err = keys->json ? slm_fail(SLM_EFORMAT, "config.json: %s is missing", name)
                         : slm_fail(SLM_EFORMAT, "%sattention.layer_norm_%sepsilon is missing",
                                    keys->prefix, config->family->norm ? "" : "rms_");
    }
    if (!err)
        err = slm_config_rope(config, keys);
    if (!err)
        err = slm_config_windows(config, keys);
    if (!err && config->family->experts)
        err = slm_config_experts(config, keys);
    if (!err)
        err = gguf_pooling(config, keys);
    if (!err && config->family->rule)
        err = config->family->rule(config, keys);
    if (!err && config->ffn_dim == 0 && config->family->ffn_factor == 0)
        err = slm_fail(SLM_EFORMAT, "%s%s is missing", keys->json ? "config.json: " : keys->prefix,
                       keys->json ? "intermediate_size" : "feed_forward_length");
    return err;
}

int slm_config_from_json(struct slm_config *config, const struct slm_json *json)
{
    struct slm_keys keys = {.json = json, .node = 0};
    if (slm_json_type(json, 0) != JSON_OBJECT)
        return slm_fail(SLM_EFORMAT, "config.json: not an object");
    int err = json_family(config, json);
    if (err || (err = json_refuse(json, config->family->encoder)))
        return err;
    preset(config);
    config->neighbours = config->family->hf_neighbours;
    if ((err = json_activation(config, json)) || (err = model_keys(config, &keys)))
        return err;
    for (const struct slm_family_switch *s = config->family->switches; s->key; s++)
        if (slm_keys_bool(&keys, s->key, s->missing))
            config->parts |= s->parts;
    if (config->headless)
        return SLM_OK;
    slm_json_node tied = member(json, 0, "tie_word_embeddings");
    config->head_not_said = tied < 0;
    if (tied >= 0 && !slm_json_bool(json, tied, false))
        config->parts |= SLM_PART_HEAD;
    return SLM_OK;
}

/* --------------------------------------------------------------------------- gguf --- */

/* Keys that would change the result if they were ignored. */
static int gguf_refuse(const struct slm_keys *keys, const struct slm_config *config)
{
    double value_length = config->head_dim;
    int err = slm_keys_number(keys, NULL, "attention.value_length", &value_length);
    if (err < 0)
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
    if (!slm_family_of_gguf(name, n, false) && !slm_family_of_gguf(name, n, true))
        return slm_family_unknown_gguf(name, n);
    struct slm_keys keys = {.gguf = gguf};
    snprintf(keys.prefix, sizeof keys.prefix, "%.*s.", (int)n, name); /* n: of a known name */
    double experts = 0;
    int err = slm_keys_number(&keys, NULL, "expert_count", &experts);
    if (err < 0)
        return err;
    config->family = slm_family_of_gguf(name, n, experts != 0);
    if (!config->family)
        return slm_fail(SLM_EUNSUPPORTED, "%sexpert_count is %g: models of this architecture %s experts "
                        "are not supported", keys.prefix, experts, experts != 0 ? "with" : "without");
    preset(config);
    config->neighbours = config->family->gguf_neighbours;
    /* Parts and vocabulary follow from the tensors: slm_import_finish(). */

    err = model_keys(config, &keys);
    return err ? err : gguf_refuse(&keys, config);
}
