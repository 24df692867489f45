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
    POSITIONS,
    TOKEN_TYPES,
    SCORES,
    HEADS,      /* n_heads * head_dim */
    KV_HEADS,   /* n_kv_heads * head_dim */
    EACH_HEAD,  /* n_heads */
    FFN,
    EXPERTS,
    EXPERT_FFN,  /* expert_dim */
    EXPERTS_FFN, /* n_experts * expert_dim, each filled up to whole panels */
    EXPERTS_DIM, /* n_experts * dim, likewise */
    ROPE_PAIRS, /* dims / 2 */
    LONG_PAIRS, /* the same, where there is a second table */
    N_EXTENTS
};

struct role {
    struct slm_role_info info;
    enum extent rows, cols;
    uint32_t part; /* exists only with one of these bits of its model's or layer's parts; 0: always */
};

/* So that the table reads as a table. */
#define LAYER true
#define MODEL false
#define MATRIX true
#define VECTOR false
#define REQUIRED true
#define OPTIONAL false
#define QK_NORMS (SLM_LAYER_HEAD_NORMS | SLM_LAYER_WIDE_NORMS)

/* A weight, and under it the bias that goes with it. */
#define WEIGHT(role, name, of, kind, need, rows, cols, part)                                       \
    {{SLM_ROLE_##role, name, of, kind, need, SLM_ROLE_##role##_BIAS}, rows, cols, part},           \
    {                                                                                              \
        {SLM_ROLE_##role##_BIAS, name "_bias", of, VECTOR, OPTIONAL, 0}, ONE,                      \
            (kind) == MATRIX ? rows : cols, part                                                   \
    }
#define PLAIN(role, name, of, kind, need, rows, cols, part)                                        \
    {                                                                                              \
        {SLM_ROLE_##role, name, of, kind, need, 0}, rows, cols, part                               \
    }

static const struct role roles[] = {
    PLAIN(EMBEDDING, "embedding", MODEL, MATRIX, REQUIRED, VOCAB, DIM, 0),
    WEIGHT(HEAD, "head", MODEL, MATRIX, OPTIONAL, VOCAB, DIM, 0),
    WEIGHT(FINAL_NORM, "final_norm", MODEL, VECTOR, REQUIRED, ONE, DIM, SLM_MODEL_FINAL_NORM),
    WEIGHT(EMBEDDING_NORM, "embedding_norm", MODEL, VECTOR, REQUIRED, ONE, DIM,
           SLM_MODEL_EMBEDDING_NORM),
    PLAIN(POSITION_EMBEDDING, "position_embedding", MODEL, MATRIX, REQUIRED, POSITIONS, DIM, 0),
    PLAIN(TOKEN_TYPE_EMBEDDING, "token_type_embedding", MODEL, MATRIX, REQUIRED, TOKEN_TYPES, DIM,
          0),
    PLAIN(ROPE_FREQUENCIES, "rope_frequencies", LAYER, VECTOR, REQUIRED, ONE, ROPE_PAIRS, 0),
    PLAIN(ROPE_LONG_FREQUENCIES, "rope_long_frequencies", LAYER, VECTOR, REQUIRED, ONE, LONG_PAIRS,
          0),

    WEIGHT(ATTN_NORM, "attn_norm", LAYER, VECTOR, REQUIRED, ONE, DIM, SLM_LAYER_ATTN_NORM),
    WEIGHT(ATTN_Q, "attn_q", LAYER, MATRIX, REQUIRED, HEADS, DIM, 0),
    WEIGHT(ATTN_K, "attn_k", LAYER, MATRIX, REQUIRED, KV_HEADS, DIM, 0),
    WEIGHT(ATTN_V, "attn_v", LAYER, MATRIX, REQUIRED, KV_HEADS, DIM, 0),
    WEIGHT(ATTN_OUT, "attn_out", LAYER, MATRIX, REQUIRED, DIM, HEADS, 0),
    WEIGHT(ATTN_Q_NORM, "attn_q_norm", LAYER, VECTOR, REQUIRED, ONE, HEADS, QK_NORMS),
    WEIGHT(ATTN_K_NORM, "attn_k_norm", LAYER, VECTOR, REQUIRED, ONE, KV_HEADS, QK_NORMS),
    PLAIN(ATTN_SLOPES, "attn_slopes", LAYER, VECTOR, REQUIRED, ONE, EACH_HEAD, SLM_LAYER_SLOPES),
    WEIGHT(ATTN_POST_NORM, "attn_post_norm", LAYER, VECTOR, REQUIRED, ONE, DIM,
           SLM_LAYER_ATTN_POST_NORM),
    WEIGHT(ATTN_SUM_NORM, "attn_sum_norm", LAYER, VECTOR, REQUIRED, ONE, DIM,
           SLM_LAYER_ATTN_SUM_NORM),
    PLAIN(ATTN_SINKS, "attn_sinks", LAYER, VECTOR, REQUIRED, ONE, EACH_HEAD, SLM_LAYER_SINKS),

    WEIGHT(FFN_NORM, "ffn_norm", LAYER, VECTOR, REQUIRED, ONE, DIM, SLM_LAYER_FFN_NORM),
    WEIGHT(FFN_GATE, "ffn_gate", LAYER, MATRIX, REQUIRED, FFN, DIM, SLM_LAYER_GATE),
    WEIGHT(FFN_UP, "ffn_up", LAYER, MATRIX, REQUIRED, FFN, DIM, 0),
    WEIGHT(FFN_DOWN, "ffn_down", LAYER, MATRIX, REQUIRED, DIM, FFN, 0),
    WEIGHT(FFN_POST_NORM, "ffn_post_norm", LAYER, VECTOR, REQUIRED, ONE, DIM,
           SLM_LAYER_FFN_POST_NORM),
    WEIGHT(FFN_SUM_NORM, "ffn_sum_norm", LAYER, VECTOR, REQUIRED, ONE, DIM, SLM_LAYER_FFN_SUM_NORM),

    WEIGHT(ROUTER, "router", LAYER, MATRIX, REQUIRED, EXPERTS, DIM, 0),
    PLAIN(SHARED_GATE, "shared_gate", LAYER, MATRIX, REQUIRED, ONE, DIM, SLM_LAYER_SHARED_GATE),
    WEIGHT(EXPERTS_GATE, "experts_gate", LAYER, MATRIX, REQUIRED, EXPERTS_FFN, DIM, SLM_LAYER_GATE),
    WEIGHT(EXPERTS_UP, "experts_up", LAYER, MATRIX, REQUIRED, EXPERTS_FFN, DIM, 0),
    WEIGHT(EXPERTS_DOWN, "experts_down", LAYER, MATRIX, REQUIRED, EXPERTS_DIM, EXPERT_FFN, 0),

    WEIGHT(SCORE_DENSE, "score_dense", MODEL, MATRIX, REQUIRED, DIM, DIM, SLM_MODEL_SCORE_DENSE),
    WEIGHT(SCORE_NORM, "score_norm", MODEL, VECTOR, REQUIRED, ONE, DIM, SLM_MODEL_SCORE_NORM),
    WEIGHT(SCORE, "score", MODEL, MATRIX, REQUIRED, SCORES, DIM, 0),
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

bool slm_role_of_rope(uint32_t role)
{
    return role == SLM_ROLE_ROPE_FREQUENCIES || role == SLM_ROLE_ROPE_LONG_FREQUENCIES;
}

uint32_t slm_role_layers(uint32_t role, const struct slm_traits *traits)
{
    const struct role *r = find(role);
    if (!r || !r->info.per_layer)
        return 0;
    return slm_role_of_rope(role) ? traits->n_ropes : traits->n_layers;
}

/* Rows in whole panels. */
static uint32_t padded(uint32_t rows)
{
    return (uint32_t)slm_round_up(rows, SLM_PANEL_ROWS);
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

    /* The limits keep every product below 2^32: 1,024 heads of 1,024 dimensions, 1,024 experts of
     * 1,048,576. */
    const struct slm_layer_traits *l = r->info.per_layer && !slm_role_of_rope(role) ? &layers[layer] : NULL;
    const struct slm_rope_traits *rope = slm_role_of_rope(role) ? &ropes[layer] : NULL;
    if (r->part && !(r->part & (l ? l->parts : traits->parts)))
        return false;
    uint32_t pairs = rope ? rope->dims / 2 : 0;
    uint32_t extents[N_EXTENTS] = {
        [ONE] = 1,
        [DIM] = traits->dim,
        [VOCAB] = traits->n_vocab,
        [POSITIONS] = traits->n_positions,
        [TOKEN_TYPES] = traits->n_token_types,
        [SCORES] = traits->n_scores,
        [HEADS] = l ? l->n_heads * l->head_dim : 0,
        [KV_HEADS] = l ? l->n_kv_heads * l->head_dim : 0,
        [EACH_HEAD] = l ? l->n_heads : 0,
        [FFN] = l ? l->ffn_dim : 0,
        [EXPERTS] = l ? l->n_experts : 0,
        [EXPERT_FFN] = l ? l->expert_dim : 0,
        [EXPERTS_FFN] = l ? l->n_experts * padded(l->expert_dim) : 0,
        [EXPERTS_DIM] = l ? l->n_experts * padded(traits->dim) : 0,
        [ROPE_PAIRS] = pairs,
        [LONG_PAIRS] = rope && rope->scaling == SLM_ROPE_LONG ? pairs : 0,
    };
    *rows = extents[r->rows];
    *cols = extents[r->cols];
    if (role == SLM_ROLE_FFN_DOWN_BIAS && l->ffn_dim == 0)
        return false; /* no bias without its weight */
    return *rows > 0 && *cols > 0; /* no learned positions: no matrix of them */
}

uint32_t slm_role_expert_rows(uint32_t role, const struct slm_traits *traits,
                              const struct slm_layer_traits *layer)
{
    if (role < SLM_ROLE_EXPERTS_GATE || role > SLM_ROLE_EXPERTS_DOWN_BIAS)
        return 0;
    return role < SLM_ROLE_EXPERTS_DOWN ? layer->expert_dim : traits->dim;
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
