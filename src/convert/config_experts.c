/*
 * config_experts.c - what sources say about experts: how many, how many of them for a token, how wide;
 * which layers have any; what the router's softmax is over.
 */
#include "convert/config.h"

#include "format/format.h"

#include <math.h>

/* A count; 0 where no key says it. */
static int count(const struct slm_keys *keys, const char *hf, const char *gguf, uint32_t high,
                 uint32_t *out)
{
    double value = 0;
    int err = slm_keys_number(keys, hf, gguf, &value);
    if (err < 0)
        return err;
    const char *where = keys->gguf ? keys->prefix : "config.json: ", *name = keys->gguf ? gguf : hf;
    if (!(value >= 0) || value != floor(value))
        return slm_fail(SLM_EFORMAT, "%s%s is %g; it counts something", where, name, value);
    if (value > high)
        return slm_fail(SLM_ELIMIT, "%s%s is %.0f; the limit is %u", where, name, value, (unsigned)high);
    *out = (uint32_t)value;
    return SLM_OK;
}

/* Qwen: layers named in a list, and with a step all but each step's last. */
static int dense_layers(struct slm_config *config, const struct slm_keys *keys)
{
    const struct slm_json *json = keys->json;
    uint32_t step = 1;
    int err = count(keys, "decoder_sparse_step", NULL, SLM_LIMIT_LAYERS, &step);
    for (uint32_t i = 0; i < config->n_layers && step > 1; i++)
        config->dense[i] = (i + 1) % step != 0;
    slm_json_node list = json ? slm_json_get(json, 0, "mlp_only_layers") : -1;
    if (err || !json || slm_json_type(json, list) != JSON_ARRAY)
        return err;
    for (slm_json_node entry = slm_json_first(json, list); entry >= 0; entry = slm_json_next(json, entry)) {
        double layer = slm_json_number(json, entry, -1);
        if (!(layer >= 0 && layer < config->n_layers) || layer != floor(layer))
            return slm_fail(SLM_EFORMAT, "config.json: mlp_only_layers names a layer that is not one of %u",
                            (unsigned)config->n_layers);
        config->dense[(uint32_t)layer] = true;
    }
    return SLM_OK;
}

/* llama.cpp fixes by architecture what config.json may say. */
static int read_router(struct slm_config *config, const struct slm_keys *keys)
{
    double chosen = 0;
    int err = slm_keys_number(keys, "norm_topk_prob", "expert_weights_norm", &chosen);
    config->router = config->family->router ? config->family->router : SLM_ROUTER_CHOSEN;
    if (err == 1)
        config->router = chosen != 0 ? SLM_ROUTER_CHOSEN : SLM_ROUTER_ALL;
    return err < 0 ? err : slm_keys_expect(keys, "routed_scaling_factor", "expert_weights_scale", 1);
}

int slm_config_experts(struct slm_config *config, const struct slm_keys *keys)
{
    const char *chosen = keys->gguf ? "expert_used_count" : "num_experts_per_tok";
    const char *where = keys->gguf ? keys->prefix : "config.json: ";
    int err = count(keys, "num_local_experts", "expert_count", SLM_LIMIT_EXPERTS, &config->n_experts);
    if (!err && config->n_experts == 0)
        err = count(keys, "num_experts", NULL, SLM_LIMIT_EXPERTS, &config->n_experts);
    if (!err)
        err = count(keys, "num_experts_per_tok", "expert_used_count", SLM_LIMIT_CHOSEN, &config->n_chosen);
    if (!err)
        err = count(keys, "moe_intermediate_size", "expert_feed_forward_length", SLM_LIMIT_FFN_DIM,
                    &config->expert_dim);
    if (!err)
        err = count(keys, "shared_expert_intermediate_size|shared_intermediate_size",
                    "expert_shared_feed_forward_length", SLM_LIMIT_FFN_DIM, &config->shared_dim);
    if (err)
        return err;
    if (config->n_experts == 0)
        return slm_fail(SLM_EFORMAT, "%s%s is missing", where,
                        keys->gguf ? "expert_count" : "num_experts (or num_local_experts)");
    if (config->n_chosen == 0)
        return slm_fail(SLM_EFORMAT, "%s%s is missing", where, chosen);
    if (config->n_chosen > config->n_experts)
        return slm_fail(SLM_EFORMAT, "%s%s is %u, but there are %u experts", where, chosen,
                        (unsigned)config->n_chosen, (unsigned)config->n_experts);
    if (config->expert_dim == 0)
        config->expert_dim = config->ffn_dim;
    err = dense_layers(config, keys);
    return err ? err : read_router(config, keys);
}
