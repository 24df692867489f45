/*
 * families_experts.c - the families whose layers have experts; see families.c.
 */
#include "convert/config.h"
#include "convert/families.h"

#include "format/format.h"

/* clang-format off */

#define DENSE SLM_PART_DENSE
#define SHARED SLM_PART_SHARED
#define EXPERTS SLM_PART_EXPERTS

static const struct slm_family_tensor mixtral_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    QK_NORMS(0),
    OUT,
    NORM(FFN_NORM, "layers.{}.post_attention_layernorm", 0),
    {SLM_ROLE_ROUTER, EXPERTS, 0, 0, "layers.{}.block_sparse_moe.gate", NULL},
    {SLM_ROLE_EXPERTS_GATE, EXPERTS, 0, 0, "layers.{}.block_sparse_moe.experts.{}.w1", NULL},
    {SLM_ROLE_EXPERTS_UP, EXPERTS, 0, 0, "layers.{}.block_sparse_moe.experts.{}.w3", NULL},
    {SLM_ROLE_EXPERTS_DOWN, EXPERTS, 0, 0, "layers.{}.block_sparse_moe.experts.{}.w2", NULL},
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

/* Qwen's, and OLMoE's, which has neither dense layers nor a block beside the experts. */
#define QWEN_EXPERTS                                                                               \
    NORM(FFN_NORM, "layers.{}.post_attention_layernorm", 0),                                       \
    {SLM_ROLE_FFN_GATE, DENSE, 0, 0, "layers.{}.mlp.gate_proj", NULL},                             \
    {SLM_ROLE_FFN_UP, DENSE, 0, 0, "layers.{}.mlp.up_proj", NULL},                                 \
    {SLM_ROLE_FFN_DOWN, DENSE, 0, 0, "layers.{}.mlp.down_proj", NULL},                             \
    {SLM_ROLE_ROUTER, EXPERTS, 0, 0, "layers.{}.mlp.gate", NULL},                                  \
    {SLM_ROLE_SHARED_GATE, SHARED, 0, 0, "layers.{}.mlp.shared_expert_gate", NULL},                \
    {SLM_ROLE_FFN_GATE, SHARED, 0, 0, "layers.{}.mlp.shared_expert.gate_proj",                     \
     "blk.{}.ffn_gate_shexp"},                                                                     \
    {SLM_ROLE_FFN_UP, SHARED, 0, 0, "layers.{}.mlp.shared_expert.up_proj", "blk.{}.ffn_up_shexp"}, \
    {SLM_ROLE_FFN_DOWN, SHARED, 0, 0, "layers.{}.mlp.shared_expert.down_proj",                     \
     "blk.{}.ffn_down_shexp"},                                                                     \
    {SLM_ROLE_EXPERTS_GATE, EXPERTS, 0, 0, "layers.{}.mlp.experts.{}.gate_proj", NULL},            \
    {SLM_ROLE_EXPERTS_UP, EXPERTS, 0, 0, "layers.{}.mlp.experts.{}.up_proj", NULL},                \
    {SLM_ROLE_EXPERTS_DOWN, EXPERTS, 0, 0, "layers.{}.mlp.experts.{}.down_proj", NULL}

static const struct slm_family_tensor qwen_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    QK_NORMS(SLM_HOW_REPEATED),
    OUT,
    QWEN_EXPERTS,
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

static const struct slm_family_tensor olmoe_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    QK_NORMS(0),
    OUT,
    QWEN_EXPERTS,
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

#define FUSED SLM_HOW_FUSED

static const struct slm_family_tensor granite_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    QK_NORMS(0),
    OUT,
    NORM(FFN_NORM, "layers.{}.post_attention_layernorm", 0),
    {SLM_ROLE_ROUTER, EXPERTS, 0, 0, "layers.{}.block_sparse_moe.router.layer", NULL},
    {SLM_ROLE_FFN_GATE, SHARED, 0, FUSED, "layers.{}.shared_mlp.input_linear", "blk.{}.ffn_gate_shexp"},
    {SLM_ROLE_FFN_UP, SHARED, 0, FUSED, "layers.{}.shared_mlp.input_linear", "blk.{}.ffn_up_shexp"},
    {SLM_ROLE_FFN_DOWN, SHARED, 0, 0, "layers.{}.shared_mlp.output_linear", "blk.{}.ffn_down_shexp"},
    {SLM_ROLE_EXPERTS_GATE, EXPERTS, 0, FUSED, "layers.{}.block_sparse_moe.input_linear", NULL},
    {SLM_ROLE_EXPERTS_UP, EXPERTS, 0, FUSED, "layers.{}.block_sparse_moe.input_linear", NULL},
    {SLM_ROLE_EXPERTS_DOWN, EXPERTS, 0, 0, "layers.{}.block_sparse_moe.output_linear", NULL},
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

#define PLAIN SLM_HOW_NO_ENDING
#define TURNS (PLAIN | FUSED | SLM_HOW_TURNS | SLM_HOW_TRANSPOSED)

static const struct slm_family_tensor gpt_oss_tensors[] = {
    EMBEDDING,
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    QKV,
    QK_NORMS(0),
    OUT,
    {SLM_ROLE_ATTN_SINKS, 0, 0, PLAIN, "layers.{}.self_attn.sinks", NULL},
    {SLM_ROLE_FFN_NORM, 0, 0, 0, "layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"},
    {SLM_ROLE_ROUTER, EXPERTS, EXPERTS, 0, "layers.{}.mlp.router", NULL},
    {SLM_ROLE_EXPERTS_GATE, EXPERTS, EXPERTS, TURNS, "layers.{}.mlp.experts.gate_up_proj", NULL},
    {SLM_ROLE_EXPERTS_UP, EXPERTS, EXPERTS, TURNS, "layers.{}.mlp.experts.gate_up_proj", NULL},
    {SLM_ROLE_EXPERTS_DOWN, EXPERTS, EXPERTS, PLAIN | SLM_HOW_TRANSPOSED,
     "layers.{}.mlp.experts.down_proj", NULL},
    NORM(FINAL_NORM, "norm", 0),
    HEAD,
    END,
};

/* clang-format on */

/* -------------------------------------------------------------------------- rules --- */

/* The classes of Qwen 2 and 3 apply a window differently, and no published model has one. */
static int qwen_rule(struct slm_config *config, const struct slm_keys *keys)
{
    if (keys->json && !slm_keys_bool(keys, "norm_topk_prob", false))
        config->router = SLM_ROUTER_ALL;
    return slm_keys_expect(keys, "use_sliding_window", NULL, 0);
}

static int olmoe_rule(struct slm_config *config, const struct slm_keys *keys)
{
    (void)config;
    return slm_keys_expect(keys, "clip_qkv", "attention.clamp_kqv", 0);
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

/* Whatever hidden_act says. llama.cpp has the limit in its code. */
static int gpt_oss_rule(struct slm_config *config, const struct slm_keys *keys)
{
    config->activation = SLM_ACT_GELU_QUICK;
    config->up_plus_one = true;
    config->gate_limit = 7;
    if (keys->gguf)
        config->rope.truncate = false; /* as published; GGUF has no key for it */
    int err = slm_keys_number(keys, "swiglu_limit", NULL, &config->gate_limit);
    return err < 0 ? err : slm_keys_expect(keys, "swiglu_alpha", NULL, 1.702);
}

/* -------------------------------------------------------------------------- table --- */

const struct slm_family slm_mixtures[] = {
    {
        .name = "mixtral",
        .models = "Mixtral",
        .classes = {"MixtralForCausalLM"},
        .architectures = {"llama"}, /* with experts */
        .prefix = "model.",
        .gguf_neighbours = true,
        .experts = true,
        .parts = SLM_PART_FFN_NORM,
        .theta = 1000000,
        .window = SLM_WINDOW_ALL,
        .tensors = mixtral_tensors,
    },
    {
        .name = "qwen2-moe",
        .models = "Qwen 1.5 and 2 MoE",
        .classes = {"Qwen2MoeForCausalLM"},
        .architectures = {"qwen2moe"},
        .prefix = "model.",
        .experts = true,
        .router = SLM_ROUTER_ALL,
        .parts = SLM_PART_FFN_NORM,
        .switches = {{"qkv_bias", SLM_PART_QKV_BIAS, true}},
        .rule = qwen_rule,
        .tensors = qwen_tensors,
    },
    {
        .name = "qwen3-moe",
        .models = "Qwen 3 MoE",
        .classes = {"Qwen3MoeForCausalLM"},
        .architectures = {"qwen3moe"},
        .prefix = "model.",
        .experts = true,
        .parts = SLM_PART_QK_NORM | SLM_PART_FFN_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .rule = qwen_rule,
        .tensors = qwen_tensors,
    },
    {
        .name = "olmoe",
        .models = "OLMoE",
        .classes = {"OlmoeForCausalLM"},
        .architectures = {"olmoe"},
        .prefix = "model.",
        .experts = true,
        .router = SLM_ROUTER_ALL,
        .parts = SLM_PART_QK_NORM | SLM_PART_FFN_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .wide_norms = true,
        .rule = olmoe_rule,
        .tensors = olmoe_tensors,
    },
    {
        .name = "granite-moe",
        .models = "Granite 3 MoE",
        .classes = {"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"},
        .architectures = {"granitemoe"},
        .prefix = "model.",
        .gguf_neighbours = true,
        .experts = true,
        .parts = SLM_PART_FFN_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, false}},
        .rule = granite_rule,
        .tensors = granite_tensors,
    },
    {
        .name = "gpt-oss",
        .models = "gpt-oss",
        .classes = {"GptOssForCausalLM"},
        .architectures = {"gpt-oss"},
        .prefix = "model.",
        .experts = true,
        .parts = SLM_PART_FFN_NORM,
        .switches = {{"attention_bias", ATTENTION_BIAS, true}},
        .theta = 150000,
        .window = SLM_WINDOW_PERIODIC,
        .default_window = 128,
        .period = 2,
        .rule = gpt_oss_rule,
        .tensors = gpt_oss_tensors,
    },
    {.name = NULL},
};
