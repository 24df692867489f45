/*
 * roles.c - what every weight of a transformer is called and which shape the traits give it.
 *
 * One row a role. The reader checks files against this table, so whoever gets a validated file
 * may take shapes for granted.
 */
#include "format/format.h"

#include "quant/quant.h"

/* How long one side of a tensor is, in terms of the traits; of its own layer where it has one. */
enum extent {
    ONE,
    DIM,
    VOCAB,
    HEADS,    /* n_heads * head_dim */
    KV_HEADS, /* n_kv_heads * head_dim */
    FFN,
    ROPE_PAIRS /* dims / 2 */
};

struct role {
    struct slm_role_info info;
    enum extent rows, cols;
};

/* So that the table reads as a table. */
#define LAYER true
#define MODEL false
#define MATRIX true
#define VECTOR false
#define REQUIRED true
#define OPTIONAL false

static const struct role roles[] = {
    {{SLM_ROLE_EMBEDDING, "embedding", MODEL, MATRIX, REQUIRED}, VOCAB, DIM},
    {{SLM_ROLE_HEAD, "head", MODEL, MATRIX, OPTIONAL}, VOCAB, DIM},
    {{SLM_ROLE_HEAD_BIAS, "head_bias", MODEL, VECTOR, OPTIONAL}, ONE, VOCAB},
    {{SLM_ROLE_FINAL_NORM, "final_norm", MODEL, VECTOR, REQUIRED}, ONE, DIM},
    {{SLM_ROLE_ROPE_FREQUENCIES, "rope_frequencies", LAYER, VECTOR, REQUIRED}, ONE, ROPE_PAIRS},

    {{SLM_ROLE_ATTN_NORM, "attn_norm", LAYER, VECTOR, REQUIRED}, ONE, DIM},
    {{SLM_ROLE_ATTN_Q, "attn_q", LAYER, MATRIX, REQUIRED}, HEADS, DIM},
    {{SLM_ROLE_ATTN_K, "attn_k", LAYER, MATRIX, REQUIRED}, KV_HEADS, DIM},
    {{SLM_ROLE_ATTN_V, "attn_v", LAYER, MATRIX, REQUIRED}, KV_HEADS, DIM},
    {{SLM_ROLE_ATTN_OUT, "attn_out", LAYER, MATRIX, REQUIRED}, DIM, HEADS},
    {{SLM_ROLE_ATTN_Q_BIAS, "attn_q_bias", LAYER, VECTOR, OPTIONAL}, ONE, HEADS},
    {{SLM_ROLE_ATTN_K_BIAS, "attn_k_bias", LAYER, VECTOR, OPTIONAL}, ONE, KV_HEADS},
    {{SLM_ROLE_ATTN_V_BIAS, "attn_v_bias", LAYER, VECTOR, OPTIONAL}, ONE, KV_HEADS},
    {{SLM_ROLE_ATTN_OUT_BIAS, "attn_out_bias", LAYER, VECTOR, OPTIONAL}, ONE, DIM},

    {{SLM_ROLE_FFN_NORM, "ffn_norm", LAYER, VECTOR, REQUIRED}, ONE, DIM},
    {{SLM_ROLE_FFN_GATE, "ffn_gate", LAYER, MATRIX, REQUIRED}, FFN, DIM},
    {{SLM_ROLE_FFN_UP, "ffn_up", LAYER, MATRIX, REQUIRED}, FFN, DIM},
    {{SLM_ROLE_FFN_DOWN, "ffn_down", LAYER, MATRIX, REQUIRED}, DIM, FFN},
    {{SLM_ROLE_FFN_GATE_BIAS, "ffn_gate_bias", LAYER, VECTOR, OPTIONAL}, ONE, FFN},
    {{SLM_ROLE_FFN_UP_BIAS, "ffn_up_bias", LAYER, VECTOR, OPTIONAL}, ONE, FFN},
    {{SLM_ROLE_FFN_DOWN_BIAS, "ffn_down_bias", LAYER, VECTOR, OPTIONAL}, ONE, DIM},
};

static const struct role *find(uint32_t role)
{
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (roles[i].info.role == role)
            return &roles[i];
    return NULL;
}

const struct slm_role_info *slm_role_info(uint32_t role)
{
    const struct role *r = find(role);
    return r ? &r->info : NULL;
}

uint32_t slm_role_layers(uint32_t role, const struct slm_traits *traits)
{
    const struct role *r = find(role);
    if (!r || !r->info.per_layer)
        return 0;
    return role == SLM_ROLE_ROPE_FREQUENCIES ? traits->n_ropes : traits->n_layers;
}

bool slm_role_shape(uint32_t role, uint32_t layer, const struct slm_traits *traits,
                    const struct slm_layer_traits *layers, const struct slm_rope_traits *ropes,
                    uint32_t *rows, uint32_t *cols)
{
    const struct role *r = find(role);
    if (!r)
        return false;
    if (r->info.per_layer ? layer >= slm_role_layers(role, traits) : layer != SLM_NO_LAYER)
        return false;

    /* The limits keep every product far below 2^32: 1,024 heads of 1,024 dimensions. */
    bool rope = role == SLM_ROLE_ROPE_FREQUENCIES;
    const struct slm_layer_traits *l = r->info.per_layer && !rope ? &layers[layer] : NULL;
    uint32_t extents[] = {
        [ONE] = 1,
        [DIM] = traits->dim,
        [VOCAB] = traits->n_vocab,
        [HEADS] = l ? l->n_heads * l->head_dim : 0,
        [KV_HEADS] = l ? l->n_kv_heads * l->head_dim : 0,
        [FFN] = l ? l->ffn_dim : 0,
        [ROPE_PAIRS] = rope ? ropes[layer].dims / 2 : 0,
    };
    *rows = extents[r->rows];
    *cols = extents[r->cols];
    return true;
}

bool slm_tensor_bytes(bool matrix, uint32_t type, uint32_t rows, uint32_t cols, uint64_t *bytes)
{
    if (!matrix) {
        *bytes = (uint64_t)cols * 4;
        return type == SLM_TYPE_F32 && rows == 1;
    }
    const struct slm_quant *quant = slm_quant(type);
    if (!quant)
        return false;
    /* 64 bits everywhere: a machine of 32 bits must come to the same verdict about a file. */
    uint64_t panels = ((uint64_t)rows + SLM_PANEL_ROWS - 1) / SLM_PANEL_ROWS;
    uint64_t tiles = ((uint64_t)cols + SLM_TILE_COLS - 1) / SLM_TILE_COLS;
    return !__builtin_mul_overflow(panels * tiles, (uint64_t)quant->tile_bytes, bytes);
}
