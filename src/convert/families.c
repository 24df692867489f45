/*
 * families.c - LLaMA and the families that kept its names. docs/add-a-family.md tells how to add
 * one.
 *
 * First the tensors, then the rules (what neither a key of the tables in config.c nor a column here
 * can say), then the table itself. Older decoders, experts and encoders have files of their own.
 */
#include "convert/config.h"
#include "convert/families.h"

#include "format/format.h"

#include <math.h>

/* ------------------------------------------------------------------------ tensors --- */

/* clang-format off */

static const struct slm_family_tensor llama_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    QK_NORMS(SLM_HOW_REPEATED),
    OUT,
    FFN_NORM("layers.{}.post_attention_layernorm", "layers.{}.input_layernorm"),
    GATED,
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

/* The 12B model has norms of queries and keys, each head with weights of its own. */
#define BY_HEAD (SLM_HOW_BY_HEAD | SLM_HOW_ROTATES)

static const struct slm_family_tensor stablelm_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    {SLM_ROLE_ATTN_Q_NORM, SLM_PART_QK_NORM, 0, BY_HEAD,
     "layers.{}.self_attn.q_layernorm.norms.{}", NULL},
    {SLM_ROLE_ATTN_K_NORM, SLM_PART_QK_NORM, 0, BY_HEAD,
     "layers.{}.self_attn.k_layernorm.norms.{}", NULL},
    OUT,
    FFN_NORM("layers.{}.post_attention_layernorm", "layers.{}.input_layernorm"),
    GATED,
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

/* Norms of queries and keys have weights for each head. */
static const struct slm_family_tensor cohere_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    QK_NORMS(SLM_HOW_ROTATES),
    OUT,
    FFN_NORM(NULL, "layers.{}.input_layernorm"),
    GATED,
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

#define ONE SLM_HOW_PLUS_ONE

static const struct slm_family_tensor gemma_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", ONE),
    QKV,
    OUT,
    NORM(FFN_NORM, "layers.{}.post_attention_layernorm", ONE),
    GATED,
    NORM(FINAL_NORM, "norm", ONE),
    HEAD,
    END,
};

/* Gemma 2 and 3: norms on both sides of each block. */
static const struct slm_family_tensor gemma2_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", ONE),
    QKV,
    QK_NORMS(ONE | SLM_HOW_REPEATED),
    OUT,
    NORM(ATTN_POST_NORM, "layers.{}.post_attention_layernorm", ONE),
    NORM(FFN_NORM, "layers.{}.pre_feedforward_layernorm", ONE),
    GATED,
    NORM(FFN_POST_NORM, "layers.{}.post_feedforward_layernorm", ONE),
    NORM(FINAL_NORM, "norm", ONE),
    HEAD,
    END,
};

/* Layers differ in heads and in the width of the feed-forward block. */
static const struct slm_family_tensor openelm_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "token_embeddings", NULL},
    NORM(ATTN_NORM, "layers.{}.attn_norm", 0),
    FUSED_QKV("layers.{}.attn.qkv_proj", 0),
    {SLM_ROLE_ATTN_Q_NORM, SLM_PART_QK_NORM, 0, SLM_HOW_REPEATED, "layers.{}.attn.q_norm", NULL},
    {SLM_ROLE_ATTN_K_NORM, SLM_PART_QK_NORM, 0, SLM_HOW_REPEATED, "layers.{}.attn.k_norm", NULL},
    {SLM_ROLE_ATTN_OUT, 0, 0, 0, "layers.{}.attn.out_proj", NULL},
    NORM(FFN_NORM, "layers.{}.ffn_norm", 0),
    {SLM_ROLE_FFN_GATE, 0, 0, SLM_HOW_FUSED, "layers.{}.ffn.proj_1", NULL},
    {SLM_ROLE_FFN_UP, 0, 0, SLM_HOW_FUSED, "layers.{}.ffn.proj_1", NULL},
    {SLM_ROLE_FFN_DOWN, 0, 0, 0, "layers.{}.ffn.proj_2", NULL},
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

/* OLMo 2 and EXAONE 4: norms of what blocks add, none of what they read. */
static const struct slm_family_tensor olmo2_tensors[] = {
    EMBEDDING,
    QKV,
    QK_NORMS(0),
    OUT,
    NORM(ATTN_POST_NORM, "layers.{}.post_attention_layernorm", 0),
    GATED,
    NORM(FFN_POST_NORM, "layers.{}.post_feedforward_layernorm", 0),
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

static const struct slm_family_tensor exaone4_tensors[] = {
    EMBEDDING,
    QKV,
    QK_NORMS(SLM_HOW_REPEATED),
    OUT,
    NORM(ATTN_POST_NORM, "layers.{}.post_attention_layernorm", 0),
    GATED,
    NORM(FFN_POST_NORM, "layers.{}.post_feedforward_layernorm", 0),
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

/* LayerNorm without weights. */
static const struct slm_family_tensor olmo_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, NULL, SLM_HOW_ONES),
    QKV,
    OUT,
    NORM(FFN_NORM, NULL, SLM_HOW_ONES),
    GATED,
    NORM(FINAL_NORM, NULL, SLM_HOW_ONES),
    HEAD,
    END,
};

static const struct slm_family_tensor phi3_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    FUSED_QKV("layers.{}.self_attn.qkv_proj", 0),
    OUT,
    NORM(FFN_NORM, "layers.{}.post_attention_layernorm", 0),
    {SLM_ROLE_FFN_GATE, 0, 0, SLM_HOW_FUSED, "layers.{}.mlp.gate_up_proj", NULL},
    {SLM_ROLE_FFN_UP, 0, 0, SLM_HOW_FUSED, "layers.{}.mlp.gate_up_proj", NULL},
    {SLM_ROLE_FFN_DOWN, 0, 0, 0, "layers.{}.mlp.down_proj", NULL},
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

static const struct slm_family_tensor starcoder2_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    OUT,
    NORM(FFN_NORM, "layers.{}.post_attention_layernorm", 0),
    {SLM_ROLE_FFN_UP, 0, SLM_PART_FFN_BIAS, 0, "layers.{}.mlp.c_fc", NULL},
    {SLM_ROLE_FFN_DOWN, 0, SLM_PART_FFN_BIAS, 0, "layers.{}.mlp.c_proj", NULL},
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

static const struct slm_family_tensor phi_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    {SLM_ROLE_ATTN_Q_NORM, SLM_PART_QK_NORM, ALWAYS, SLM_HOW_REPEATED,
     "layers.{}.self_attn.q_layernorm", NULL},
    {SLM_ROLE_ATTN_K_NORM, SLM_PART_QK_NORM, ALWAYS, SLM_HOW_REPEATED,
     "layers.{}.self_attn.k_layernorm", NULL},
    {SLM_ROLE_ATTN_OUT, 0, ALWAYS, 0, "layers.{}.self_attn.dense", NULL},
    FFN_NORM(NULL, "layers.{}.input_layernorm"),
    {SLM_ROLE_FFN_UP, 0, ALWAYS, 0, "layers.{}.mlp.fc1", NULL},
    {SLM_ROLE_FFN_DOWN, 0, ALWAYS, 0, "layers.{}.mlp.fc2", NULL},
    NORM(FINAL_NORM, "final_layernorm", 0),
    HEAD,
    END,
};

/* clang-format on */

/* -------------------------------------------------------------------------- rules --- */

/* "gelu" in old files of Gemma means the approximation; embeddings grow with the width. */
static int gemma_rule(struct slm_config *config, const struct slm_keys *keys)
{
    (void)keys;
    if (config->activation == SLM_ACT_GELU)
        config->activation = SLM_ACT_GELU_TANH;
    config->embedding_scale = sqrt(config->dim);
    return SLM_OK;
}

/* The scale of attention may be another than that of the head: of 27B in either generation, which
 * GGUF tells by the number of layers. */
static int gemma_attention(struct slm_config *config, const struct slm_keys *keys)
{
    double scalar = 0;
    int err = slm_keys_number(keys, "query_pre_attn_scalar", NULL, &scalar);
    if (err < 0)
        return err;
    if (keys->gguf && (config->n_layers == 46 || config->n_layers == 62))
        scalar = (double)config->dim / config->n_heads;
    if (scalar > 0)
        config->attention_scale = 1 / sqrt(scalar);
    return gemma_rule(config, keys);
}

/* The caps were implied once. */
static int gemma2_rule(struct slm_config *config, const struct slm_keys *keys)
{
    if (keys->gguf && config->attention_cap == 0)
        config->attention_cap = 50;
    if (keys->gguf && config->logit_cap == 0)
        config->logit_cap = 30;
    return gemma_attention(config, keys);
}

/* Local layers have a RoPE of their own, which no scaling stretches. */
static int gemma3_rule(struct slm_config *config, const struct slm_keys *keys)
{
    if (config->local_rope.base == 0)
        config->local_rope.base = 10000;
    int err = slm_keys_number(keys, "rope_local_base_freq", "rope.freq_base_swa",
                              &config->local_rope.base);
    if (err < 0)
        return err;
    config->n_ropes = 2;
    for (uint32_t i = 0; i < config->n_layers; i++)
        config->rope_of[i] = config->slides[i];
    return gemma_attention(config, keys);
}

static int cohere_rule(struct slm_config *config, const struct slm_keys *keys)
{
    (void)keys;
    if (config->logit_scale == 0)
        config->logit_scale = 0.0625;
    return SLM_OK;
}

/* Layers that see everything have no positions. */
static int only_local_layers_rotate(struct slm_config *config)
{
    for (uint32_t i = 0; i < config->n_layers; i++)
        config->rope_of[i] = config->slides[i] ? 0 : SLM_NO_ROPE;
    return SLM_OK;
}

static int cohere2_rule(struct slm_config *config, const struct slm_keys *keys)
{
    int err = cohere_rule(config, keys);
    return err ? err : only_local_layers_rotate(config);
}

static int exaone4_rule(struct slm_config *config, const struct slm_keys *keys)
{
    (void)keys;
    return config->window ? only_local_layers_rotate(config) : SLM_OK;
}

/* GGUF has the divisor of the logits under the name of their factor. */
static int granite_rule(struct slm_config *config, const struct slm_keys *keys)
{
    if (keys->gguf) {
        config->logit_divisor = config->logit_scale;
        config->logit_scale = 0;
    }
    return SLM_OK;
}

static int olmo_rule(struct slm_config *config, const struct slm_keys *keys)
{
    (void)config;
    return slm_keys_expect(keys, "clip_qkv", "attention.clamp_kqv", 0);
}

/* A list of layers that rotate, or all but each fourth. */
static int smollm3_rule(struct slm_config *config, const struct slm_keys *keys)
{
    double interval = 4;
    int err = slm_keys_number(keys, "no_rope_layer_interval", NULL, &interval);
    if (err < 0)
        return err;
    if (!(interval >= 1 && interval <= 1e6))
        return slm_fail(SLM_EFORMAT, "config.json: no_rope_layer_interval is %g", interval);
    slm_json_node list = keys->json ? slm_json_get(keys->json, 0, "no_rope_layers") : -1;
    bool listed = keys->json && slm_json_type(keys->json, list) == JSON_ARRAY;
    if (listed && slm_json_count(keys->json, list) != config->n_layers)
        return slm_fail(SLM_EFORMAT, "config.json: no_rope_layers has %zu entries for %u layers",
                        slm_json_count(keys->json, list), (unsigned)config->n_layers);
    slm_json_node entry = listed ? slm_json_first(keys->json, list) : -1;
    for (uint32_t i = 0; i < config->n_layers; i++) {
        bool rotates = (i + 1) % (uint32_t)interval != 0;
        if (listed) {
            rotates = slm_json_number(keys->json, entry, 1) != 0;
            entry = slm_json_next(keys->json, entry);
        }
        config->rope_of[i] = rotates ? 0 : SLM_NO_ROPE;
        if (keys->json && slm_json_get(keys->json, 0, "layer_types") < 0)
            config->slides[i] = !rotates; /* where there is a window */
    }
    return SLM_OK;
}

static int stablelm_rule(struct slm_config *config, const struct slm_keys *keys)
{
    if (keys->json && !slm_keys_bool(keys, "use_parallel_residual", false))
        config->parts |= SLM_PART_FFN_NORM;
    return SLM_OK;
}

/* The width of each layer's feed-forward block: a factor, rounded to a multiple of a divisor, and
 * up where that would take off a tenth. */
static int openelm_rule(struct slm_config *config, const struct slm_keys *keys)
{
    double divisor = 256, factors[SLM_LIMIT_LAYERS];
    if (keys->gguf)
        return SLM_OK;
    int err = slm_keys_number(keys, "ffn_dim_divisor", NULL, &divisor);
    if (err >= 0)
        err = slm_keys_expect(keys, "ffn_with_glu", NULL, 1);
    if (err >= 0 && (err = slm_keys_list(keys, "ffn_multipliers", config->n_layers, factors)) == 0)
        err = slm_fail(SLM_EFORMAT, "config.json: ffn_multipliers is no list");
    for (uint32_t i = 0; i < config->n_layers && err >= 0; i++) {
        double width = factors[i] * config->dim;
        if (!(divisor >= 1 && width >= 0 && width <= SLM_LIMIT_FFN_DIM - divisor))
            return slm_fail(SLM_EFORMAT,
                            "config.json: ffn_multipliers[%u] is %g, ffn_dim_divisor %g",
                            (unsigned)i, factors[i], divisor);
        double whole = floor(floor(width + divisor / 2) / divisor) * divisor;
        whole = whole < divisor ? divisor : whole;
        config->shapes[i].ffn_dim = (uint32_t)(whole < 0.9 * width ? whole + divisor : whole);
    }
    if (err >= 0)
        config->ffn_dim = config->shapes[0].ffn_dim;
    return err < 0 ? err : SLM_OK;
}

/* -------------------------------------------------------------------------- table --- */

/* What a row leaves out is zero: RMSNorm, SiLU, RoPE, rows in our order, no window. */
const struct slm_family slm_families[] = {
    {
        .name = "llama",
        .models = "LLaMA 1 to 3.2, TinyLlama, SmolLM 1 and 2",
        .classes = {"LlamaForCausalLM", "LLaMAForCausalLM"},
        .architectures = {"llama"},
        .prefix = "model.",
        .gguf_neighbours = true,
        .parts = SLM_PART_FFN_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, false},
                     {"mlp_bias", SLM_PART_FFN_BIAS, false}},
        .tensors = llama_tensors,
    },
    {
        .name = "mistral", /* its GGUF files say "llama" */
        .models = "Mistral",
        .classes = {"MistralForCausalLM"},
        .prefix = "model.",
        .parts = SLM_PART_FFN_NORM,
        .window = SLM_WINDOW_ALL,
        .default_window = 4096,
        .tensors = llama_tensors,
    },
    {
        .name = "qwen2",
        .models = "Qwen 1.5, 2 and 2.5",
        .classes = {"Qwen2ForCausalLM"},
        .architectures = {"qwen2"},
        .prefix = "model.",
        .parts = SLM_PART_QKV_BIAS | SLM_PART_FFN_NORM,
        .window = SLM_WINDOW_LATE,
        .default_window = 4096,
        .tensors = llama_tensors,
    },
    {
        .name = "qwen3",
        .models = "Qwen 3",
        .classes = {"Qwen3ForCausalLM"},
        .architectures = {"qwen3"},
        .prefix = "model.",
        .parts = SLM_PART_QK_NORM | SLM_PART_FFN_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .window = SLM_WINDOW_LATE,
        .default_window = 4096,
        .tensors = llama_tensors,
    },
    {
        .name = "gemma",
        .models = "Gemma 1",
        .classes = {"GemmaForCausalLM"},
        .architectures = {"gemma"},
        .prefix = "model.",
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .activation = SLM_ACT_GELU_TANH,
        .rule = gemma_rule,
        .tensors = gemma_tensors,
    },
    {
        .name = "gemma2",
        .models = "Gemma 2",
        .classes = {"Gemma2ForCausalLM"},
        .architectures = {"gemma2"},
        .prefix = "model.",
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .activation = SLM_ACT_GELU_TANH,
        .window = SLM_WINDOW_PERIODIC,
        .default_window = 4096,
        .period = 2,
        .rule = gemma2_rule,
        .tensors = gemma2_tensors,
    },
    {
        .name = "gemma3",
        .models = "Gemma 3 (text)",
        .classes = {"Gemma3ForCausalLM", "Gemma3TextModel"},
        .architectures = {"gemma3"},
        .prefix = "model.",
        .parts = SLM_PART_QK_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .activation = SLM_ACT_GELU_TANH,
        .theta = 1000000,
        .window = SLM_WINDOW_PERIODIC,
        .default_window = 4096,
        .period = 6,
        .rule = gemma3_rule,
        .tensors = gemma2_tensors,
    },
    {
        .name = "starcoder2",
        .models = "StarCoder 2",
        .classes = {"Starcoder2ForCausalLM"},
        .architectures = {"starcoder2"},
        .prefix = "model.",
        .parts = SLM_PART_NORM_BIAS,
        .switches = {{"use_bias", ATTENTION_BIAS | SLM_PART_FFN_BIAS, true}},
        .norm = SLM_NORM_LAYER,
        .activation = SLM_ACT_GELU_TANH,
        .window = SLM_WINDOW_ALL,
        .tensors = starcoder2_tensors,
    },
    {
        .name = "stablelm",
        .models = "StableLM 2, StableLM 3B",
        .classes = {"StableLmForCausalLM", "StableLMEpochForCausalLM"},
        .architectures = {"stablelm"},
        .prefix = "model.",
        .parts = SLM_PART_NORM_BIAS,
        .switches = {{"use_qkv_bias", SLM_PART_QKV_BIAS, false},
                     {"qk_layernorm", SLM_PART_QK_NORM, false}},
        .norm = SLM_NORM_LAYER,
        .rotary = 0.25,
        .rule = stablelm_rule,
        .tensors = stablelm_tensors,
    },
    {
        .name = "phi",
        .models = "Phi-1, Phi-1.5, Phi-2",
        .classes = {"PhiForCausalLM"},
        .architectures = {"phi2"},
        .prefix = "model.",
        .parts = SLM_PART_QKV_BIAS | SLM_PART_NORM_BIAS | SLM_PART_HEAD_BIAS,
        .switches = {{"qk_layernorm", SLM_PART_QK_NORM, false}},
        .norm = SLM_NORM_LAYER,
        .activation = SLM_ACT_GELU_TANH,
        .rotary = 0.5,
        .tensors = phi_tensors,
    },
    {
        .name = "phi3",
        .models = "Phi-3, Phi-3.5-mini, Phi-4, Phi-4-mini",
        .classes = {"Phi3ForCausalLM"},
        .architectures = {"phi3"},
        .prefix = "model.",
        .window = SLM_WINDOW_ALL,
        .tensors = phi3_tensors,
    },
    {
        .name = "smollm3",
        .models = "SmolLM 3",
        .classes = {"SmolLM3ForCausalLM"},
        .architectures = {"smollm3"},
        .prefix = "model.",
        .gguf_neighbours = true,
        .parts = SLM_PART_FFN_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, false},
                     {"mlp_bias", SLM_PART_FFN_BIAS, false}},
        .theta = 2000000,
        .window = SLM_WINDOW_LATE,
        .rule = smollm3_rule,
        .tensors = llama_tensors,
    },
    {
        .name = "olmo",
        .models = "OLMo 1",
        .classes = {"OlmoForCausalLM"},
        .architectures = {"olmo"},
        .prefix = "model.",
        .gguf_neighbours = true,
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .norm = SLM_NORM_LAYER,
        .norm_eps = 1e-5,
        .rule = olmo_rule,
        .tensors = olmo_tensors,
    },
    {
        .name = "olmo2",
        .models = "OLMo 2",
        .classes = {"Olmo2ForCausalLM"},
        .architectures = {"olmo2"},
        .prefix = "model.",
        .parts = SLM_PART_QK_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .wide_norms = true,
        .tensors = olmo2_tensors,
    },
    {
        .name = "granite",
        .models = "Granite 3",
        .classes = {"GraniteForCausalLM"},
        .architectures = {"granite"},
        .prefix = "model.",
        .gguf_neighbours = true,
        .parts = SLM_PART_FFN_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, false},
                     {"mlp_bias", SLM_PART_FFN_BIAS, false}},
        .rule = granite_rule,
        .tensors = llama_tensors,
    },
    {
        .name = "cohere",
        .models = "Command R",
        .classes = {"CohereForCausalLM"},
        .architectures = {"command-r"},
        .prefix = "model.",
        .hf_neighbours = true,
        .gguf_neighbours = true,
        .switches = {{"attention_bias", ATTENTION_BIAS, false},
                     {"use_qk_norm", SLM_PART_QK_NORM, false}},
        .norm = SLM_NORM_LAYER,
        .theta = 500000,
        .rule = cohere_rule,
        .tensors = cohere_tensors,
    },
    {
        .name = "cohere2",
        .models = "Command R7B",
        .classes = {"Cohere2ForCausalLM"},
        .architectures = {"cohere2"},
        .prefix = "model.",
        .hf_neighbours = true,
        .gguf_neighbours = true,
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .norm = SLM_NORM_LAYER,
        .window = SLM_WINDOW_PERIODIC,
        .default_window = 4096,
        .period = 4,
        .rule = cohere2_rule,
        .tensors = cohere_tensors,
    },
    {
        .name = "exaone4",
        .models = "EXAONE 4",
        .classes = {"Exaone4ForCausalLM"},
        .architectures = {"exaone4"},
        .prefix = "model.",
        .parts = SLM_PART_QK_NORM,
        .window = SLM_WINDOW_PERIODIC,
        .default_window = 4096,
        .period = 4,
        .rule = exaone4_rule,
        .tensors = exaone4_tensors,
    },
    {
        .name = "openelm",
        .models = "OpenELM",
        .classes = {"OpenELMForCausalLM"},
        .architectures = {"openelm"},
        .prefix = "transformer.",
        .parts = SLM_PART_FFN_NORM,
        .switches = {{"normalize_qk_projections", SLM_PART_QK_NORM, false}},
        .norm_eps = 1e-6,
        .rule = openelm_rule,
        .unused = {"transformer.classifier."},
        .tensors = openelm_tensors,
    },
    {.name = NULL},
};
