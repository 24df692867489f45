/*
 * family.c - the table of families; see family.h. To add one, add a row: docs/convert.md.
 */
#include "convert/family.h"

#include "convert/quote.h"
#include "format/format.h"

#include <stdio.h>

/* LLaMA, and all that changed nothing but numbers. */
static const struct slm_family_tensor llama_tensors[] = {
    {SLM_ROLE_EMBEDDING, SLM_PART_ALWAYS, false, "model.embed_tokens.weight", "token_embd.weight"},
    {SLM_ROLE_ATTN_NORM, SLM_PART_ALWAYS, false, "model.layers.{}.input_layernorm.weight",
     "blk.{}.attn_norm.weight"},
    {SLM_ROLE_ATTN_Q, SLM_PART_ALWAYS, true, "model.layers.{}.self_attn.q_proj.weight",
     "blk.{}.attn_q.weight"},
    {SLM_ROLE_ATTN_Q_BIAS, SLM_PART_QKV_BIAS, true, "model.layers.{}.self_attn.q_proj.bias",
     "blk.{}.attn_q.bias"},
    {SLM_ROLE_ATTN_K, SLM_PART_ALWAYS, true, "model.layers.{}.self_attn.k_proj.weight",
     "blk.{}.attn_k.weight"},
    {SLM_ROLE_ATTN_K_BIAS, SLM_PART_QKV_BIAS, true, "model.layers.{}.self_attn.k_proj.bias",
     "blk.{}.attn_k.bias"},
    {SLM_ROLE_ATTN_V, SLM_PART_ALWAYS, false, "model.layers.{}.self_attn.v_proj.weight",
     "blk.{}.attn_v.weight"},
    {SLM_ROLE_ATTN_V_BIAS, SLM_PART_QKV_BIAS, false, "model.layers.{}.self_attn.v_proj.bias",
     "blk.{}.attn_v.bias"},
    {SLM_ROLE_ATTN_OUT, SLM_PART_ALWAYS, false, "model.layers.{}.self_attn.o_proj.weight",
     "blk.{}.attn_output.weight"},
    {SLM_ROLE_ATTN_OUT_BIAS, SLM_PART_OUT_BIAS, false, "model.layers.{}.self_attn.o_proj.bias",
     "blk.{}.attn_output.bias"},
    {SLM_ROLE_FFN_NORM, SLM_PART_ALWAYS, false, "model.layers.{}.post_attention_layernorm.weight",
     "blk.{}.ffn_norm.weight"},
    {SLM_ROLE_FFN_GATE, SLM_PART_ALWAYS, false, "model.layers.{}.mlp.gate_proj.weight",
     "blk.{}.ffn_gate.weight"},
    {SLM_ROLE_FFN_GATE_BIAS, SLM_PART_FFN_BIAS, false, "model.layers.{}.mlp.gate_proj.bias",
     "blk.{}.ffn_gate.bias"},
    {SLM_ROLE_FFN_UP, SLM_PART_ALWAYS, false, "model.layers.{}.mlp.up_proj.weight",
     "blk.{}.ffn_up.weight"},
    {SLM_ROLE_FFN_UP_BIAS, SLM_PART_FFN_BIAS, false, "model.layers.{}.mlp.up_proj.bias",
     "blk.{}.ffn_up.bias"},
    {SLM_ROLE_FFN_DOWN, SLM_PART_ALWAYS, false, "model.layers.{}.mlp.down_proj.weight",
     "blk.{}.ffn_down.weight"},
    {SLM_ROLE_FFN_DOWN_BIAS, SLM_PART_FFN_BIAS, false, "model.layers.{}.mlp.down_proj.bias",
     "blk.{}.ffn_down.bias"},
    {SLM_ROLE_FINAL_NORM, SLM_PART_ALWAYS, false, "model.norm.weight", "output_norm.weight"},
    {SLM_ROLE_HEAD, SLM_PART_HEAD, false, "lm_head.weight", "output.weight"},
    {SLM_ROLE_HEAD_BIAS, SLM_PART_HEAD_BIAS, false, "lm_head.bias", "output.bias"},
    {0, 0, false, NULL, NULL},
};

/* What a row leaves out is zero: no window, no switches, rows in our order. */
static const struct slm_family families[] = {
    {
        .name = "llama",
        .classes = {"LlamaForCausalLM", "LLaMAForCausalLM"},
        .architectures = {"llama"},
        .gguf_neighbours = true,
        .switches = {{"attention_bias", SLM_PART_QKV_BIAS | SLM_PART_OUT_BIAS},
                     {"mlp_bias", SLM_PART_FFN_BIAS}},
        .tensors = llama_tensors,
    },
    {
        .name = "mistral", /* its GGUF files say "llama" */
        .classes = {"MistralForCausalLM"},
        .window = SLM_WINDOW_ALL,
        .default_window = 4096,
        .tensors = llama_tensors,
    },
    {
        .name = "qwen2",
        .classes = {"Qwen2ForCausalLM"},
        .architectures = {"qwen2"},
        .parts = SLM_PART_QKV_BIAS,
        .window = SLM_WINDOW_LATE,
        .default_window = 4096,
        .tensors = llama_tensors,
    },
};

enum { N_FAMILIES = sizeof families / sizeof families[0] };

static bool is_one_of(const char *const *names, const char *name, size_t n)
{
    for (int i = 0; i < 4 && names[i]; i++)
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0)
            return true;
    return false;
}

const struct slm_family *slm_family_of_class(const char *name, size_t n)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (is_one_of(families[i].classes, name, n))
            return &families[i];
    return NULL;
}

const struct slm_family *slm_family_of_gguf(const char *name, size_t n)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (is_one_of(families[i].architectures, name, n))
            return &families[i];
    return NULL;
}

const struct slm_family *slm_family_at(size_t i)
{
    return i < N_FAMILIES ? &families[i] : NULL;
}

/* ", "-separated names of all families, of one world. */
static int unknown(const char *name, size_t n, bool gguf)
{
    char list[600];
    size_t at = 0;
    list[0] = '\0';
    for (size_t i = 0; i < N_FAMILIES; i++) {
        const char *const *names = gguf ? families[i].architectures : families[i].classes;
        for (int k = 0; k < 4 && names[k] && at < sizeof list; k++)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "", names[k]);
    }
    return slm_fail(SLM_EUNSUPPORTED, "architecture %s is not supported; supported: %s",
                    slm_quote(name, n).text, list);
}

int slm_family_unknown_class(const char *name, size_t n)
{
    return unknown(name, n, false);
}

int slm_family_unknown_gguf(const char *name, size_t n)
{
    return unknown(name, n, true);
}

void slm_family_name(const char *pattern, uint32_t layer, char *out)
{
    const char *hole = strstr(pattern, "{}");
    if (hole)
        snprintf(out, SLM_FAMILY_NAME, "%.*s%u%s", (int)(hole - pattern), pattern, (unsigned)layer,
                 hole + 2);
    else
        snprintf(out, SLM_FAMILY_NAME, "%s", pattern);
}

bool slm_family_ignores(const char *name, size_t n)
{
    static const char *const endings[] = {"rotary_emb.inv_freq", "rotary_emb.cos_cached",
                                          "rotary_emb.sin_cached"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t length = strlen(endings[i]);
        if (n >= length && memcmp(name + n - length, endings[i], length) == 0)
            return true;
    }
    return false;
}
