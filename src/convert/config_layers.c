/*
 * config_layers.c - which layers see a window only: a list, a period, or what the family does.
 */
#include "convert/config.h"

#include "source/quote.h"

#include <math.h>
#include <stdio.h>

/* All layers, those from `first` on, or all but each period's last. */
static void slide(struct slm_config *config, double first, double period)
{
    bool periodic = config->family->window == SLM_WINDOW_PERIODIC;
    for (uint32_t i = 0; i < config->n_layers; i++)
        config->slides[i] = periodic ? fmod(i + 1, period) != 0 : i >= first;
}

/* "LLLG": a letter for each layer of a period. */
static bool slide_by_letters(struct slm_config *config, const struct slm_json *json)
{
    size_t n = 0;
    const char *letters =
        slm_json_string(json, slm_json_get(json, 0, "sliding_window_pattern"), &n);
    if (!letters || n == 0)
        return false;
    for (uint32_t i = 0; i < config->n_layers; i++)
        config->slides[i] = letters[i % n] == 'L';
    return true;
}

static int slide_by_list(struct slm_config *config, const struct slm_json *json)
{
    slm_json_node types = slm_json_get(json, 0, "layer_types");
    if (slm_json_type(json, types) == JSON_NULL)
        return SLM_OK;
    if (slm_json_count(json, types) != config->n_layers)
        return slm_fail(SLM_EFORMAT, "config.json: layer_types has %zu entries for %u layers",
                        slm_json_count(json, types), (unsigned)config->n_layers);
    slm_json_node type = slm_json_first(json, types);
    for (uint32_t i = 0; i < config->n_layers; i++, type = slm_json_next(json, type)) {
        size_t n = 0;
        const char *name = slm_json_string(json, type, &n);
        if (!name || (strcmp(name, "sliding_attention") && strcmp(name, "full_attention")))
            return slm_fail(SLM_EUNSUPPORTED,
                            "config.json: layer_types[%u] %s is not supported; supported: "
                            "full_attention, sliding_attention",
                            (unsigned)i, name ? slm_quote(name, n).text : "");
        config->slides[i] = name[0] == 's';
    }
    return SLM_OK;
}

/* An integer that counts positions or layers. */
static int whole(double value, double low, double high, const char *name)
{
    return value >= low && value <= high && value == floor(value)
               ? SLM_OK
               : slm_fail(SLM_EFORMAT, "%s is %g", name, value);
}

static int json_windows(struct slm_config *config, const struct slm_keys *keys)
{
    const struct slm_family *family = config->family;
    const struct slm_json *json = keys->json;
    /* Qwen writes a window into every file, and a switch that says whether to use it. */
    if (family->window == SLM_WINDOW_LATE && !slm_keys_bool(keys, "use_sliding_window", false))
        return SLM_OK;
    double window = family->default_window, first = 0, period = family->period;
    int err = slm_keys_number(keys, "sliding_window", NULL, &window);
    if (err < 0)
        return err;
    /* null is an answer here, "no window", where a missing key means the default. */
    slm_json_node node = slm_json_get(json, 0, "sliding_window");
    if ((node >= 0 && slm_json_type(json, node) == JSON_NULL) || (node < 0 && window == 0))
        return SLM_OK;
    if ((err = whole(window, 1, SLM_LIMIT_CONTEXT, "config.json: sliding_window")))
        return err;
    config->window = (uint32_t)window;

    if (family->window == SLM_WINDOW_LATE) {
        first = 28; /* the default of its class */
        err = slm_keys_number(keys, "max_window_layers", NULL, &first);
    } else if (family->window == SLM_WINDOW_PERIODIC && !slide_by_letters(config, json)) {
        err = slm_keys_number(keys, "sliding_window_pattern", NULL, &period);
        if (err >= 0)
            err = whole(period, 1, SLM_LIMIT_LAYERS, "config.json: sliding_window_pattern");
    } else if (family->window == SLM_WINDOW_PERIODIC) {
        return slide_by_list(config, json);
    }
    if (err < 0)
        return err;
    slide(config, first, period);
    return slide_by_list(config, json);
}

/* The window is a key; which layers have it may be an array, a period, or the family's custom. */
static int gguf_windows(struct slm_config *config, const struct slm_keys *keys)
{
    char full[96];
    double window = 0, period = config->family->period;
    int err = slm_keys_number(keys, NULL, "attention.sliding_window", &window);
    if (err < 0 || window == 0)
        return err < 0 ? err : SLM_OK;
    snprintf(full, sizeof full, "%sattention.sliding_window", keys->prefix);
    if ((err = whole(window, 1, SLM_LIMIT_CONTEXT, full)))
        return err;
    config->window = (uint32_t)window;
    snprintf(full, sizeof full, "%sattention.sliding_window_pattern", keys->prefix);
    const struct slm_gguf_key *pattern = slm_gguf_find(keys->gguf, full);
    if (pattern && pattern->array) {
        if (pattern->count != config->n_layers ||
            (pattern->type != SLM_GGUF_BOOL && !slm_gguf_is_integer(pattern)))
            return slm_fail(SLM_EFORMAT, "%s is not a list of %u flags", full,
                            (unsigned)config->n_layers);
        for (uint32_t i = 0; i < config->n_layers; i++)
            config->slides[i] = slm_gguf_integer_at(pattern, i) != 0;
        return SLM_OK;
    }
    if (pattern &&
        (err = slm_keys_number(keys, NULL, "attention.sliding_window_pattern", &period)) < 0)
        return err;
    if ((err = whole(period, 0, SLM_LIMIT_LAYERS, full)))
        return err;
    slide(config, 0, period > 0 ? period : 1);
    return SLM_OK;
}

int slm_config_windows(struct slm_config *config, const struct slm_keys *keys)
{
    if (config->family->window == SLM_WINDOW_NONE)
        return SLM_OK;
    return keys->gguf ? gguf_windows(config, keys) : json_windows(config, keys);
}
