/*
 * config_rope.c - what sources say about rotary embeddings.
 *
 * Three spellings of config.json, GGUF's keys; then an own base for local layers, a share of the
 * head, and lists of factors. rope.c makes the tables.
 */
#include "convert/config.h"

#include "source/quote.h"

#include <math.h>
#include <stdio.h>

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
        {"longrope", SLM_ROPE_KIND_LONG},   {"su", SLM_ROPE_KIND_LONG},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strlen(kinds[i].name) == n && memcmp(kinds[i].name, name, n) == 0) {
            *kind = kinds[i].kind;
            return SLM_OK;
        }
    return slm_fail(SLM_EUNSUPPORTED,
                    "RoPE scaling %s is not supported; supported: default, linear, dynamic, yarn, "
                    "llama3, longrope",
                    slm_quote(name, n).text);
}

/* Numbers of the object rope_parameters or rope_scaling, and of GGUF. */
static int read_scaling(struct slm_rope_config *rope, const struct slm_keys *keys)
{
    const struct {
        const char *hf, *gguf;
        double *value;
    } fields[] = {
        {"rope_theta", NULL, &rope->base},
        {NULL, "rope.scale_linear", &rope->factor}, /* its name in old files */
        {"factor", "rope.scaling.factor", &rope->factor},
        {"original_max_position_embeddings", "rope.scaling.original_context_length",
         &rope->original_context},
        {"attention_factor", "rope.scaling.yarn_attn_factor", &rope->attention_factor},
        {"beta_fast", "rope.scaling.yarn_beta_fast", &rope->beta_fast},
        {"beta_slow", "rope.scaling.yarn_beta_slow", &rope->beta_slow},
        {"mscale", NULL, &rope->mscale},
        {"mscale_all_dim", "rope.scaling.yarn_log_multiplier", &rope->mscale_all_dim},
        {"low_freq_factor", NULL, &rope->low_freq_factor},
        {"high_freq_factor", NULL, &rope->high_freq_factor},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        int found = slm_keys_number(keys, fields[i].hf, fields[i].gguf, fields[i].value);
        if (found < 0)
            return found;
    }
    return SLM_OK;
}

static slm_json_node object_of(const struct slm_json *json, slm_json_node node, const char *key)
{
    slm_json_node found = slm_json_get(json, node, key);
    return slm_json_type(json, found) == JSON_OBJECT && slm_json_count(json, found) > 0 ? found
                                                                                        : -1;
}

/* A list of longrope: one divisor a pair. */
static int read_factors(struct slm_config *config, const struct slm_json *json,
                        slm_json_node object, const char *key, uint32_t pairs,
                        const float **factors)
{
    slm_json_node list = slm_json_get(json, object, key);
    if (slm_json_type(json, list) != JSON_ARRAY || slm_json_count(json, list) != pairs)
        return slm_fail(SLM_EFORMAT, "config.json: %s is not a list of %u numbers", key,
                        (unsigned)pairs);
    float *out = (float *)(void *)config->factors.data + config->factors.length / sizeof *out;
    config->factors.length += pairs * sizeof *out;
    slm_json_node entry = slm_json_first(json, list);
    for (uint32_t i = 0; i < pairs; i++, entry = slm_json_next(json, entry)) {
        out[i] = (float)slm_json_number(json, entry, 0);
        if (!(out[i] > 0) || !isfinite(out[i]))
            return slm_fail(SLM_EFORMAT, "config.json: %s[%u] is no positive number", key,
                            (unsigned)i);
    }
    *factors = out;
    return SLM_OK;
}

static int json_long(struct slm_config *config, const struct slm_json *json, slm_json_node object)
{
    uint32_t dims = config->rope.dims;
    if (dims == 0)
        dims = config->head_dim ? config->head_dim : config->dim / config->n_heads;
    config->factors.allocator = config->allocator;
    if (!slm_buf_grow(&config->factors, 2 * (size_t)(dims / 2) * sizeof(float)))
        return SLM_ENOMEM;
    config->factors.length = 0; /* both lists into what is there: pointers stay */
    int err = read_factors(config, json, object, "short_factor", dims / 2, &config->rope.divisors);
    return err ? err
               : read_factors(config, json, object, "long_factor", dims / 2,
                              &config->rope.long_divisors);
}

/* Old files: "rope_scaling": {"type": ...}; newer: {"rope_type": ...}; newest: "rope_parameters",
 * which has the base in it as well, or an object of those for each kind of layer. */
static int json_rope(struct slm_config *config, const struct slm_json *json)
{
    struct slm_keys top = {.json = json, .node = 0}, keys = top;
    keys.node = slm_json_get(json, 0, "rope_scaling");
    if (slm_json_type(json, keys.node) == JSON_NULL ||
        (slm_json_type(json, keys.node) == JSON_OBJECT && slm_json_count(json, keys.node) == 0))
        keys.node = slm_json_get(json, 0, "rope_parameters"); /* {} counts as not there */
    struct slm_keys local = {.json = json, .node = object_of(json, keys.node, "sliding_attention")};
    if (object_of(json, keys.node, "full_attention") >= 0)
        keys.node = object_of(json, keys.node, "full_attention");
    config->rope.truncate = true;

    double partial = config->family->rotary ? config->family->rotary : 1;
    static const char *const share = "partial_rotary_factor|rotary_pct|rope_pct";
    int err = slm_keys_number(&top, share, NULL, &partial);
    if (err < 0)
        return err;
    bool scaled = keys.node >= 0 && slm_json_type(json, keys.node) != JSON_NULL;
    if (scaled) {
        if (slm_json_type(json, keys.node) != JSON_OBJECT)
            return slm_fail(SLM_EFORMAT, "config.json: rope_scaling is not an object");
        size_t n = 0;
        const char *name = slm_json_string(json, slm_json_get(json, keys.node, "rope_type"), &n);
        if (!name)
            name = slm_json_string(json, slm_json_get(json, keys.node, "type"), &n);
        if (name && (err = rope_kind(name, n, &config->rope.kind)))
            return err;
        if ((err = slm_keys_number(&keys, share, NULL, &partial)) < 0 ||
            (err = read_scaling(&config->rope, &keys)))
            return err;
        config->rope.truncate =
            slm_json_bool(json, slm_json_get(json, keys.node, "truncate"), true);
    }
    if (local.node >= 0 &&
        (err = slm_keys_number(&local, "rope_theta", NULL, &config->local_rope.base)) < 0)
        return err;
    /* A top-level value has precedence over the one inside, as in transformers. */
    err = slm_keys_number(&top, "original_max_position_embeddings", NULL,
                          &config->rope.original_context);
    if (err < 0)
        return err;
    if (!(partial > 0 && partial <= 1))
        return slm_fail(SLM_EFORMAT, "config.json: partial_rotary_factor is %g", partial);
    if (partial < 1) { /* rounded down, as Python's int() does */
        config->rope.dims =
            (uint32_t)(partial *
                       (config->head_dim ? config->head_dim : config->dim / config->n_heads));
        if (config->rope.dims == 0)
            return slm_fail(SLM_EFORMAT,
                            "config.json: partial_rotary_factor %g leaves no dimension", partial);
    }
    return config->rope.kind == SLM_ROPE_KIND_LONG ? json_long(config, json, keys.node) : SLM_OK;
}

/* The type may be missing, and then it is linear; so it can't be read from a table. */
static int gguf_rope(struct slm_config *config, const struct slm_keys *keys)
{
    char full[96];
    const char *text;
    size_t n;
    int err = read_scaling(&config->rope, keys);
    if (!err)
        err = slm_keys_number(keys, NULL, "rope.scaling.attn_factor", &config->rope_magnitude);
    if (err < 0)
        return err;
    /* A factor without a type is linear. */
    bool scaled = config->rope.factor != 0 && config->rope.factor != 1;
    config->rope.kind = scaled ? SLM_ROPE_KIND_LINEAR : SLM_ROPE_KIND_DEFAULT;
    config->rope.truncate = true;
    /* GGUF has one of the two numbers of yarn's attention factor; the other is always 1. */
    config->rope.mscale = config->rope.mscale_all_dim != 0 ? 1 : 0;
    snprintf(full, sizeof full, "%srope.scaling.type", keys->prefix);
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
    return slm_keys_expect(keys, NULL, "rope.scaling.yarn_ext_factor", 1);
}

int slm_config_rope(struct slm_config *config, const struct slm_keys *keys)
{
    return keys->gguf ? gguf_rope(config, keys) : json_rope(config, keys->json);
}
