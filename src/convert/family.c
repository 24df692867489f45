/* family.c - looking things up in the table of families; see family.h. */
#include "convert/family.h"

#include "format/format.h"
#include "source/quote.h"

#include <stdio.h>

static bool is_one_of(const char *const *names, const char *name, size_t n)
{
    for (int i = 0; i < 4 && names[i]; i++)
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0)
            return true;
    return false;
}

const struct slm_family *slm_family_at(size_t i)
{
    static const struct slm_family *const tables[] = {slm_families, slm_gpts, slm_mixtures,
                                                     slm_encoders};
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct slm_family *f = tables[t]; f->name; f++)
            if (i-- == 0)
                return f;
    return NULL;
}

/* How long a class's name is without one of these endings. */
static size_t stem(const char *name, size_t n, const char *const endings[2])
{
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(endings[i]);
        if (n > length && memcmp(name + n - length, endings[i], length) == 0)
            return n - length;
    }
    return n;
}

/* Whether one of these classes has a head for text, and is called the same but for that. */
static bool is_kin(const char *const *classes, const char *name, size_t n)
{
    static const char *const heads[2] = {"ForCausalLM", "LMHeadModel"};
    for (int i = 0; i < 4 && classes[i]; i++) {
        size_t length = strlen(classes[i]), own = stem(classes[i], length, heads);
        if (own < length && own == n && memcmp(classes[i], name, n) == 0)
            return true;
    }
    return false;
}

const struct slm_family *slm_family_of_class(const char *name, size_t n)
{
    static const char *const others[2] = {"ForSequenceClassification", "Model"};
    const struct slm_family *f;
    for (size_t i = 0; (f = slm_family_at(i)); i++)
        if (is_one_of(f->classes, name, n))
            return f;
    size_t length = stem(name, n, others);
    for (size_t i = 0; length < n && (f = slm_family_at(i)); i++)
        if (is_kin(f->classes, name, length))
            return f;
    return NULL;
}

const struct slm_family *slm_family_of_gguf(const char *name, size_t n, bool experts)
{
    const struct slm_family *f;
    for (size_t i = 0; (f = slm_family_at(i)); i++)
        if (f->experts == experts && is_one_of(f->architectures, name, n))
            return f;
    return NULL;
}

/* ", "-separated names of all families, of one world. */
static int unknown(const char *name, size_t n, bool gguf)
{
    char list[2000];
    size_t at = 0;
    list[0] = '\0';
    const struct slm_family *f;
    for (size_t i = 0; (f = slm_family_at(i)); i++) {
        const char *const *names = gguf ? f->architectures : f->classes;
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

const struct slm_family_tensor *slm_family_tensor_of(const struct slm_family *family, uint32_t role)
{
    for (const struct slm_family_tensor *t = family->tensors; t->role; t++)
        if (t->role == role)
            return t;
    return NULL;
}

/* llama.cpp has one name a role, whatever the family. */
static const char *gguf_name(const struct slm_family_tensor *t, bool fused)
{
    static const char *const names[SLM_N_ROLES] = {
        [SLM_ROLE_EMBEDDING] = "token_embd",
        [SLM_ROLE_EMBEDDING_NORM] = "token_embd_norm",
        [SLM_ROLE_POSITION_EMBEDDING] = "position_embd",
        [SLM_ROLE_HEAD] = "output",
        [SLM_ROLE_FINAL_NORM] = "output_norm",
        [SLM_ROLE_ATTN_NORM] = "blk.{}.attn_norm",
        [SLM_ROLE_ATTN_Q] = "blk.{}.attn_q",
        [SLM_ROLE_ATTN_K] = "blk.{}.attn_k",
        [SLM_ROLE_ATTN_V] = "blk.{}.attn_v",
        [SLM_ROLE_ATTN_OUT] = "blk.{}.attn_output",
        [SLM_ROLE_ATTN_Q_NORM] = "blk.{}.attn_q_norm",
        [SLM_ROLE_ATTN_K_NORM] = "blk.{}.attn_k_norm",
        [SLM_ROLE_ATTN_POST_NORM] = "blk.{}.post_attention_norm",
        [SLM_ROLE_FFN_NORM] = "blk.{}.ffn_norm",
        [SLM_ROLE_FFN_GATE] = "blk.{}.ffn_gate",
        [SLM_ROLE_FFN_UP] = "blk.{}.ffn_up",
        [SLM_ROLE_FFN_DOWN] = "blk.{}.ffn_down",
        [SLM_ROLE_FFN_POST_NORM] = "blk.{}.post_ffw_norm",
        [SLM_ROLE_TOKEN_TYPE_EMBEDDING] = "token_types",
        [SLM_ROLE_ATTN_SUM_NORM] = "blk.{}.attn_output_norm",
        [SLM_ROLE_FFN_SUM_NORM] = "blk.{}.layer_output_norm",
        [SLM_ROLE_ATTN_SINKS] = "blk.{}.attn_sinks",
        [SLM_ROLE_ROUTER] = "blk.{}.ffn_gate_inp",
        [SLM_ROLE_SHARED_GATE] = "blk.{}.ffn_gate_inp_shexp",
        [SLM_ROLE_EXPERTS_GATE] = "blk.{}.ffn_gate_exps",
        [SLM_ROLE_EXPERTS_UP] = "blk.{}.ffn_up_exps",
        [SLM_ROLE_EXPERTS_DOWN] = "blk.{}.ffn_down_exps",
        [SLM_ROLE_SCORE_DENSE] = "cls",
        [SLM_ROLE_SCORE_NORM] = "cls.norm",
        [SLM_ROLE_SCORE] = "cls.output",
    };
    if (t->gguf)
        return t->gguf;
    if (fused)
        return t->role == SLM_ROLE_FFN_GATE || t->role == SLM_ROLE_FFN_UP ? "blk.{}.ffn_up"
                                                                          : "blk.{}.attn_qkv";
    return names[t->role];
}

/* llama.cpp's converter has undone what is peculiar to the other world; what is one matrix there
 * may be three in one file and one in another. */
uint32_t slm_family_how(const struct slm_family_names *names,
                        const struct slm_family_tensor *tensor)
{
    const uint32_t undone = SLM_HOW_GROUPED | SLM_HOW_TRANSPOSED | SLM_HOW_PLUS_ONE |
                            SLM_HOW_OFFSET_2 | SLM_HOW_BY_HEAD;
    if (!names->gguf)
        return tensor->how;
    uint32_t how = tensor->how & ~undone;
    switch (tensor->role) {
    case SLM_ROLE_ATTN_Q:
    case SLM_ROLE_ATTN_K:
    case SLM_ROLE_ATTN_V:
        return names->fused_qkv ? how | SLM_HOW_FUSED : how & ~(uint32_t)SLM_HOW_FUSED;
    case SLM_ROLE_FFN_GATE:
    case SLM_ROLE_FFN_UP:
        return names->fused_gate && !tensor->gguf ? how : how & ~(uint32_t)SLM_HOW_FUSED;
    default: return how & ~(uint32_t)SLM_HOW_FUSED;
    }
}

/* n bytes of a pattern, and what stands before and behind it. */
static void compose(const struct slm_family_names *names, const struct slm_family_tensor *tensor,
                    const char *pattern, size_t n, uint32_t layer, uint32_t piece, bool bias, char *out)
{
    bool own = tensor->role == SLM_ROLE_HEAD || tensor->how & SLM_HOW_OWN_NAME;
    bool prefixed = !names->gguf && !names->bare && names->family->prefix &&
                    (!own || tensor->how & SLM_HOW_PRODUCT);
    bool plain = tensor->how & SLM_HOW_NO_ENDING && !names->gguf;
    const char *prefix = prefixed ? names->family->prefix : "", *end = pattern + n;
    const char *ending = plain ? bias ? "_bias" : "" : bias ? ".bias" : ".weight";
    int at = snprintf(out, SLM_FAMILY_NAME, "%s", prefix);
    for (const char *hole; (hole = strstr(pattern, "{}")) && hole < end; pattern = hole + 2, layer = piece)
        at += snprintf(out + at, SLM_FAMILY_NAME - (size_t)at, "%.*s%u", (int)(hole - pattern), pattern,
                       (unsigned)layer);
    snprintf(out + at, SLM_FAMILY_NAME - (size_t)at, "%.*s%s", (int)(end - pattern), pattern, ending);
}

void slm_family_name(const struct slm_family_names *names, const struct slm_family_tensor *tensor,
                     uint32_t layer, uint32_t piece, bool bias, char *out)
{
    bool fused = slm_family_how(names, tensor) & SLM_HOW_FUSED;
    const char *pattern = names->gguf ? gguf_name(tensor, fused) : tensor->hf;
    out[0] = '\0';
    if (pattern)
        compose(names, tensor, pattern, strcspn(pattern, "*"), layer, piece, bias, out);
}

bool slm_family_pieces(const struct slm_family_names *names, const struct slm_family_tensor *tensor)
{
    const char *hole = names->gguf || !tensor->hf ? NULL : strstr(tensor->hf, "{}");
    return hole && strstr(hole + 2, "{}");
}

void slm_family_factor(const struct slm_family_names *names, const struct slm_family_tensor *tensor,
                       char *out)
{
    const char *pattern = strchr(tensor->hf, '*') + 1;
    compose(names, tensor, pattern, strlen(pattern), 0, 0, false, out);
}

/* Whether a name of n bytes has this text in it. */
static bool contains(const char *name, size_t n, const char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(name + i, text, length) == 0)
            return true;
    return false;
}

bool slm_family_ignores(const struct slm_family *family, const char *name, size_t n)
{
    static const char *const endings[] = {
        "rotary_emb.inv_freq",       "rotary_emb.cos_cached",
        "rotary_emb.sin_cached",     ".attn.bias",
        ".attn.masked_bias",         ".attention.bias",
        ".attention.masked_bias",    ".attn.embed_positions",
        ".attn.rotary_emb.inv_freq",
    };
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t length = strlen(endings[i]);
        if (n >= length && memcmp(name + n - length, endings[i], length) == 0)
            return true;
    }
    for (size_t i = 0; i < 6 && family->unused[i]; i++)
        if (contains(name, n, family->unused[i]))
            return true;
    return false;
}
