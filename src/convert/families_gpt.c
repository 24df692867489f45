/*
 * families_gpt.c - GPT-2 and the decoders of its time, each with names of its own; as families.c.
 */
#include "convert/config.h"
#include "convert/families.h"

#include "format/format.h"

#include <math.h>

/* ------------------------------------------------------------------------ tensors --- */

/* clang-format off */

static const struct slm_family_tensor gpt2_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "wte", NULL},
    {SLM_ROLE_POSITION_EMBEDDING, 0, 0, 0, "wpe", NULL},
    NORM(ATTN_NORM, "h.{}.ln_1", 0),
    FUSED_QKV("h.{}.attn.c_attn", SLM_HOW_TRANSPOSED),
    {SLM_ROLE_ATTN_OUT, 0, ALWAYS, SLM_HOW_TRANSPOSED, "h.{}.attn.c_proj", NULL},
    NORM(FFN_NORM, "h.{}.ln_2", 0),
    {SLM_ROLE_FFN_UP, 0, ALWAYS, SLM_HOW_TRANSPOSED, "h.{}.mlp.c_fc", NULL},
    {SLM_ROLE_FFN_DOWN, 0, ALWAYS, SLM_HOW_TRANSPOSED, "h.{}.mlp.c_proj", NULL},
    NORM(FINAL_NORM, "ln_f", 0),
    HEAD,
    END,
};

static const struct slm_family_tensor gptj_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "wte", NULL},
    NORM(ATTN_NORM, "h.{}.ln_1", 0),
    {SLM_ROLE_ATTN_Q, 0, 0, SLM_HOW_ROTATES, "h.{}.attn.q_proj", NULL},
    {SLM_ROLE_ATTN_K, 0, 0, SLM_HOW_ROTATES, "h.{}.attn.k_proj", NULL},
    {SLM_ROLE_ATTN_V, 0, 0, 0, "h.{}.attn.v_proj", NULL},
    {SLM_ROLE_ATTN_OUT, 0, 0, 0, "h.{}.attn.out_proj", NULL},
    FFN_NORM(NULL, "h.{}.ln_1"),
    {SLM_ROLE_FFN_UP, 0, ALWAYS, 0, "h.{}.mlp.fc_in", NULL},
    {SLM_ROLE_FFN_DOWN, 0, ALWAYS, 0, "h.{}.mlp.fc_out", NULL},
    NORM(FINAL_NORM, "ln_f", 0),
    HEAD,
    END,
};

static const struct slm_family_tensor gpt_neox_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "embed_in", NULL},
    NORM(ATTN_NORM, "layers.{}.input_layernorm", 0),
    FUSED_QKV("layers.{}.attention.query_key_value", SLM_HOW_GROUPED),
    {SLM_ROLE_ATTN_OUT, 0, SLM_PART_OUT_BIAS, 0, "layers.{}.attention.dense", NULL},
    NORM(FFN_NORM, "layers.{}.post_attention_layernorm", 0),
    {SLM_ROLE_FFN_UP, 0, ALWAYS, 0, "layers.{}.mlp.dense_h_to_4h", NULL},
    {SLM_ROLE_FFN_DOWN, 0, ALWAYS, 0, "layers.{}.mlp.dense_4h_to_h", NULL},
    NORM(FINAL_NORM, "final_layer_norm", 0),
    {SLM_ROLE_HEAD, SLM_PART_HEAD, 0, 0, "embed_out", NULL},
    END,
};

static const struct slm_family_tensor bloom_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "word_embeddings", NULL},
    NORM(EMBEDDING_NORM, "word_embeddings_layernorm", 0),
    NORM(ATTN_NORM, "h.{}.input_layernorm", 0),
    FUSED_QKV("h.{}.self_attention.query_key_value", SLM_HOW_GROUPED),
    {SLM_ROLE_ATTN_OUT, 0, ALWAYS, 0, "h.{}.self_attention.dense", NULL},
    NORM(FFN_NORM, "h.{}.post_attention_layernorm", 0),
    {SLM_ROLE_FFN_UP, 0, ALWAYS, 0, "h.{}.mlp.dense_h_to_4h", NULL},
    {SLM_ROLE_FFN_DOWN, 0, ALWAYS, 0, "h.{}.mlp.dense_4h_to_h", NULL},
    NORM(FINAL_NORM, "ln_f", 0),
    HEAD,
    END,
};

#define ONE_NORM (SLM_PART_FFN_NORM | SLM_PART_SHARED_NORM)

static const struct slm_family_tensor falcon_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "word_embeddings", NULL},
    {SLM_ROLE_ATTN_NORM, ONE_NORM, ALWAYS, 0, "h.{}.input_layernorm", NULL},
    {SLM_ROLE_ATTN_NORM, SLM_PART_TWO_NORMS, ALWAYS, 0, "h.{}.ln_attn", "blk.{}.attn_norm_2"},
    FUSED_QKV("h.{}.self_attention.query_key_value", SLM_HOW_GROUPED),
    {SLM_ROLE_ATTN_OUT, 0, SLM_PART_OUT_BIAS, 0, "h.{}.self_attention.dense", NULL},
    FFN_NORM("h.{}.post_attention_layernorm", "h.{}.input_layernorm"),
    {SLM_ROLE_FFN_NORM, SLM_PART_TWO_NORMS, ALWAYS, 0, "h.{}.ln_mlp", "blk.{}.attn_norm"},
    {SLM_ROLE_FFN_UP, 0, SLM_PART_FFN_BIAS, 0, "h.{}.mlp.dense_h_to_4h", NULL},
    {SLM_ROLE_FFN_DOWN, 0, SLM_PART_FFN_BIAS, 0, "h.{}.mlp.dense_4h_to_h", NULL},
    NORM(FINAL_NORM, "ln_f", 0),
    HEAD,
    END,
};

static const struct slm_family_tensor mpt_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "wte", NULL},
    NORM(ATTN_NORM, "blocks.{}.norm_1", 0),
    FUSED_QKV("blocks.{}.attn.Wqkv", 0),
    {SLM_ROLE_ATTN_OUT, 0, 0, 0, "blocks.{}.attn.out_proj", NULL},
    NORM(FFN_NORM, "blocks.{}.norm_2", 0),
    {SLM_ROLE_FFN_UP, 0, 0, 0, "blocks.{}.ffn.up_proj", NULL},
    {SLM_ROLE_FFN_DOWN, 0, 0, 0, "blocks.{}.ffn.down_proj", NULL},
    NORM(FINAL_NORM, "norm_f", 0),
    HEAD,
    END,
};

/* Norms stand before blocks, or (350M) behind them, and then there is none at the end. */
#define BEFORE SLM_PART_FFN_NORM
#define BEHIND SLM_PART_SUM_NORMS

static const struct slm_family_tensor opt_tensors[] = {
    {SLM_ROLE_EMBEDDING, SLM_PART_AS_WIDE, 0, 0, "embed_tokens", NULL},
    {SLM_ROLE_EMBEDDING, SLM_PART_NARROW, 0, SLM_HOW_PRODUCT | SLM_HOW_TURNED,
     "embed_tokens*project_in", NULL},
    {SLM_ROLE_POSITION_EMBEDDING, 0, 0, SLM_HOW_OFFSET_2, "embed_positions", NULL},
    {SLM_ROLE_ATTN_NORM, BEFORE, ALWAYS, 0, "layers.{}.self_attn_layer_norm", NULL},
    QKV,
    {SLM_ROLE_ATTN_OUT, 0, SLM_PART_OUT_BIAS, 0, "layers.{}.self_attn.out_proj", NULL},
    {SLM_ROLE_ATTN_SUM_NORM, BEHIND, ALWAYS, 0, "layers.{}.self_attn_layer_norm", NULL},
    {SLM_ROLE_FFN_NORM, BEFORE, ALWAYS, 0, "layers.{}.final_layer_norm", NULL},
    {SLM_ROLE_FFN_UP, 0, SLM_PART_FFN_BIAS, 0, "layers.{}.fc1", NULL},
    {SLM_ROLE_FFN_DOWN, 0, SLM_PART_FFN_BIAS, 0, "layers.{}.fc2", NULL},
    {SLM_ROLE_FFN_SUM_NORM, BEHIND, ALWAYS, 0, "layers.{}.final_layer_norm", NULL},
    {SLM_ROLE_FINAL_NORM, BEFORE, ALWAYS, 0, "final_layer_norm", NULL},
    HEAD,
    {SLM_ROLE_HEAD, SLM_PART_NARROW, 0, SLM_HOW_PRODUCT, "embed_tokens*project_out", NULL},
    END,
};

/* clang-format on */

/* -------------------------------------------------------------------------- rules --- */

static int gpt2_rule(struct slm_config *config, const struct slm_keys *keys)
{
    (void)config;
    return slm_first_of(slm_keys_expect(keys, "scale_attn_by_inverse_layer_idx", NULL, 0),
                        slm_keys_expect(keys, "scale_attn_weights", NULL, 1));
}

static int gpt_neox_rule(struct slm_config *config, const struct slm_keys *keys)
{
    double parallel = 1;
    int err = slm_keys_number(keys, "use_parallel_residual", "use_parallel_residual", &parallel);
    if (parallel != 0)
        config->parts |= SLM_PART_PARALLEL;
    return err < 0 ? err : SLM_OK;
}

static int bloom_rule(struct slm_config *config, const struct slm_keys *keys)
{
    config->slope_exponent = 8;
    return slm_keys_expect(keys, "apply_residual_connection_post_layernorm", NULL, 0);
}

/* new_decoder_architecture: norms side by side, any number of key-value heads. multi_query: one. */
static int falcon_rule(struct slm_config *config, const struct slm_keys *keys)
{
    if (keys->gguf) { /* only the parallel ones */
        config->parts |= SLM_PART_PARALLEL;
        return SLM_OK;
    }
    double norms = 2;
    int err = slm_keys_number(keys, "num_ln_in_parallel_attn", NULL, &norms);
    bool newer = slm_keys_bool(keys, "new_decoder_architecture", false);
    if (slm_keys_bool(keys, "parallel_attn", true)) {
        config->parts |= SLM_PART_PARALLEL;
        if (norms == 2 && (newer || err == 1))
            config->parts |= SLM_PART_TWO_NORMS;
    } else {
        config->parts |= SLM_PART_FFN_NORM;
    }
    if (!newer)
        config->n_kv_heads = slm_keys_bool(keys, "multi_query", true) ? 1 : config->n_heads;
    if (slm_keys_bool(keys, "alibi", false)) {
        config->n_ropes = 0;
        config->slope_exponent = 8; /* added before the scores are scaled: so they are as well */
        config->slope_scale = 1 / sqrt((double)config->dim / config->n_heads);
    }
    return err < 0 ? err : SLM_OK;
}

static int mpt_rule(struct slm_config *config, const struct slm_keys *keys)
{
    double ratio = 4, exponent = 8;
    int err = slm_keys_number(keys, "expansion_ratio", NULL, &ratio);
    if (err >= 0 && keys->json && !(ratio >= 1 && ratio * config->dim <= SLM_LIMIT_FFN_DIM))
        err = slm_fail(SLM_EFORMAT, "config.json: expansion_ratio is %g", ratio);
    if (err < 0)
        return err;
    if (keys->json)
        config->ffn_dim = (uint32_t)(ratio * config->dim);
    struct slm_keys attention = *keys;
    if (keys->json)
        attention.node = slm_json_get(keys->json, keys->node, "attn_config");
    err = slm_first_of(slm_keys_expect(&attention, "clip_qkv", "attention.clamp_kqv", 0),
                       slm_keys_expect(&attention, "alibi", NULL, 1));
    err = slm_first_of(err, slm_keys_expect(&attention, "qk_ln", NULL, 0));
    err = slm_first_of(err, slm_keys_expect(&attention, "prefix_lm", NULL, 0));
    if (err)
        return err;
    if ((err = slm_keys_number(&attention, "softmax_scale", NULL, &config->attention_scale)) < 0 ||
        (err = slm_keys_number(&attention, "alibi_bias_max", "attention.max_alibi_bias",
                               &exponent)) < 0)
        return err;
    if (!(exponent > 0 && exponent < 64))
        return slm_fail(SLM_EFORMAT, "%s is %g",
                        keys->json ? "config.json: alibi_bias_max" : "mpt.attention.max_alibi_bias",
                        exponent);
    config->slope_exponent = exponent;
    return SLM_OK;
}

/* A narrow embedding is multiplied out, once as such and once as the head that it serves as. */
static int opt_rule(struct slm_config *config, const struct slm_keys *keys)
{
    double width = config->dim;
    int err = slm_keys_number(keys, "word_embed_proj_dim", NULL, &width);
    if (err >= 0 && !(width >= 1 && width <= SLM_LIMIT_DIM && width == floor(width)))
        err = slm_fail(SLM_EFORMAT, "config.json: word_embed_proj_dim is %g", width);
    if (err < 0)
        return err;
    config->embedding_dim = (uint32_t)width;
    config->parts |= width == config->dim ? SLM_PART_AS_WIDE : SLM_PART_NARROW;
    config->parts |= slm_keys_bool(keys, "do_layer_norm_before", true) ? BEFORE : BEHIND;
    return slm_first_of(slm_keys_expect(keys, "layer_norm_elementwise_affine", NULL, 1),
                        slm_keys_expect(keys, "_remove_final_layer_norm", NULL, 0));
}

/* -------------------------------------------------------------------------- table --- */

const struct slm_family slm_gpts[] = {
    {
        .name = "gpt2",
        .models = "GPT-2, distilgpt2",
        .classes = {"GPT2LMHeadModel"},
        .architectures = {"gpt2"},
        .prefix = "transformer.",
        .parts = SLM_PART_QKV_BIAS | SLM_PART_NORM_BIAS,
        .norm = SLM_NORM_LAYER,
        .activation = SLM_ACT_GELU_TANH,
        .position = SLM_FAMILY_LEARNED,
        .ffn_factor = 4,
        .rule = gpt2_rule,
        .tensors = gpt2_tensors,
    },
    {
        .name = "gpt-neox",
        .models = "GPT-NeoX, Pythia",
        .classes = {"GPTNeoXForCausalLM"},
        .architectures = {"gptneox"},
        .prefix = "gpt_neox.",
        .parts = SLM_PART_NORM_BIAS,
        .switches = {{"attention_bias", ATTENTION_BIAS, true}},
        .norm = SLM_NORM_LAYER,
        .activation = SLM_ACT_GELU,
        .rotary = 0.25,
        .rule = gpt_neox_rule,
        .tensors = gpt_neox_tensors,
    },
    {
        .name = "gpt-j",
        .models = "GPT-J",
        .classes = {"GPTJForCausalLM"},
        .prefix = "transformer.",
        .hf_neighbours = true,
        .parts = SLM_PART_NORM_BIAS | SLM_PART_HEAD_BIAS,
        .norm = SLM_NORM_LAYER,
        .activation = SLM_ACT_GELU_TANH,
        .ffn_factor = 4,
        .tensors = gptj_tensors,
    },
    {
        .name = "bloom",
        .models = "BLOOM",
        .classes = {"BloomForCausalLM"},
        .architectures = {"bloom"},
        .prefix = "transformer.",
        .parts = SLM_PART_QKV_BIAS | SLM_PART_NORM_BIAS,
        .norm = SLM_NORM_LAYER,
        .activation = SLM_ACT_GELU_TANH,
        .position = SLM_FAMILY_SLOPES,
        .ffn_factor = 4,
        .rule = bloom_rule,
        .tensors = bloom_tensors,
    },
    {
        .name = "opt",
        .models = "OPT",
        .classes = {"OPTForCausalLM"},
        .prefix = "model.decoder.",
        .switches = {{"enable_bias", ATTENTION_BIAS | SLM_PART_FFN_BIAS, true}},
        .norm = SLM_NORM_LAYER,
        .activation = SLM_ACT_RELU,
        .position = SLM_FAMILY_LEARNED,
        .norm_eps = 1e-5,
        .rule = opt_rule,
        .tensors = opt_tensors,
    },
    {
        .name = "falcon",
        .models = "Falcon, Falcon 2, Falcon-RW",
        .classes = {"FalconForCausalLM", "RWForCausalLM"},
        .architectures = {"falcon"},
        .prefix = "transformer.",
        .parts = SLM_PART_NORM_BIAS,
        .switches = {{"bias", ATTENTION_BIAS | SLM_PART_FFN_BIAS, false}},
        .norm = SLM_NORM_LAYER,
        .activation = SLM_ACT_GELU,
        .ffn_factor = 4,
        .rule = falcon_rule,
        .tensors = falcon_tensors,
    },
    {
        .name = "mpt",
        .models = "MPT",
        .classes = {"MPTForCausalLM", "MptForCausalLM"},
        .architectures = {"mpt"},
        .prefix = "transformer.",
        .norm = SLM_NORM_LAYER,
        .activation = SLM_ACT_GELU,
        .position = SLM_FAMILY_SLOPES,
        .norm_eps = 1e-5,
        .ffn_factor = 4,
        .rule = mpt_rule,
        .tensors = mpt_tensors,
    },
    {.name = NULL},
};
