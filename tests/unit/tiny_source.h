/*
 * tiny_source.h - one tiny LLaMA as a GGUF file, a Hugging Face directory and a llama2.c
 * checkpoint, so that tests can compare what becomes of them.
 *
 * The table of tensors is written down anew here, and the order of rotating rows is that of
 * llama.cpp's converter, in its own terms: what the library makes of it must agree.
 */
#ifndef TINY_SOURCE_H
#define TINY_SOURCE_H

#include "unit/source_files.h"

#include "format/format.h"

struct tiny {
    uint32_t layers, dim, heads, kv_heads, head_dim, ffn, vocab, context;
    bool head, qkv_bias, out_bias, ffn_bias;
};

/* Shapes that fill no panel, and shapes that K blocks of 256 fit into. */
static const struct tiny TINY_ODD = {2, 40, 4, 2, 10, 70, 37, 128, false, false, false, false};
static const struct tiny TINY_WIDE = {1, 256, 4, 2, 64, 256, 24, 128, true, false, false, false};

struct tiny_tensor {
    uint32_t role;
    const char *hf, *gguf; /* %u: the layer */
};

static const struct tiny_tensor TINY_TENSORS[] = {
    {SLM_ROLE_EMBEDDING, "model.embed_tokens.weight", "token_embd.weight"},
    {SLM_ROLE_ATTN_NORM, "model.layers.%u.input_layernorm.weight", "blk.%u.attn_norm.weight"},
    {SLM_ROLE_ATTN_Q, "model.layers.%u.self_attn.q_proj.weight", "blk.%u.attn_q.weight"},
    {SLM_ROLE_ATTN_K, "model.layers.%u.self_attn.k_proj.weight", "blk.%u.attn_k.weight"},
    {SLM_ROLE_ATTN_V, "model.layers.%u.self_attn.v_proj.weight", "blk.%u.attn_v.weight"},
    {SLM_ROLE_ATTN_OUT, "model.layers.%u.self_attn.o_proj.weight", "blk.%u.attn_output.weight"},
    {SLM_ROLE_ATTN_Q_BIAS, "model.layers.%u.self_attn.q_proj.bias", "blk.%u.attn_q.bias"},
    {SLM_ROLE_ATTN_K_BIAS, "model.layers.%u.self_attn.k_proj.bias", "blk.%u.attn_k.bias"},
    {SLM_ROLE_ATTN_V_BIAS, "model.layers.%u.self_attn.v_proj.bias", "blk.%u.attn_v.bias"},
    {SLM_ROLE_ATTN_OUT_BIAS, "model.layers.%u.self_attn.o_proj.bias", "blk.%u.attn_output.bias"},
    {SLM_ROLE_FFN_NORM, "model.layers.%u.post_attention_layernorm.weight",
     "blk.%u.ffn_norm.weight"},
    {SLM_ROLE_FFN_GATE, "model.layers.%u.mlp.gate_proj.weight", "blk.%u.ffn_gate.weight"},
    {SLM_ROLE_FFN_UP, "model.layers.%u.mlp.up_proj.weight", "blk.%u.ffn_up.weight"},
    {SLM_ROLE_FFN_DOWN, "model.layers.%u.mlp.down_proj.weight", "blk.%u.ffn_down.weight"},
    {SLM_ROLE_FFN_GATE_BIAS, "model.layers.%u.mlp.gate_proj.bias", "blk.%u.ffn_gate.bias"},
    {SLM_ROLE_FFN_UP_BIAS, "model.layers.%u.mlp.up_proj.bias", "blk.%u.ffn_up.bias"},
    {SLM_ROLE_FFN_DOWN_BIAS, "model.layers.%u.mlp.down_proj.bias", "blk.%u.ffn_down.bias"},
    {SLM_ROLE_FINAL_NORM, "model.norm.weight", "output_norm.weight"},
    {SLM_ROLE_HEAD, "lm_head.weight", "output.weight"},
};
enum { TINY_N_TENSORS = sizeof TINY_TENSORS / sizeof TINY_TENSORS[0] };

/* How often the model has a tensor: once a layer, once, or never. rows 0: a vector. */
static inline uint32_t tiny_times(const struct tiny *m, uint32_t role, uint32_t *rows,
                                  uint32_t *cols)
{
    uint32_t q = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    *rows = 0;
    switch (role) {
    case SLM_ROLE_EMBEDDING: return *rows = m->vocab, *cols = m->dim, 1;
    case SLM_ROLE_HEAD: return *rows = m->vocab, *cols = m->dim, m->head;
    case SLM_ROLE_FINAL_NORM: return *cols = m->dim, 1;
    case SLM_ROLE_ATTN_NORM:
    case SLM_ROLE_FFN_NORM: return *cols = m->dim, m->layers;
    case SLM_ROLE_ATTN_Q: return *rows = q, *cols = m->dim, m->layers;
    case SLM_ROLE_ATTN_K:
    case SLM_ROLE_ATTN_V: return *rows = kv, *cols = m->dim, m->layers;
    case SLM_ROLE_ATTN_OUT: return *rows = m->dim, *cols = q, m->layers;
    case SLM_ROLE_FFN_GATE:
    case SLM_ROLE_FFN_UP: return *rows = m->ffn, *cols = m->dim, m->layers;
    case SLM_ROLE_FFN_DOWN: return *rows = m->dim, *cols = m->ffn, m->layers;
    case SLM_ROLE_ATTN_Q_BIAS: return *cols = q, m->qkv_bias ? m->layers : 0;
    case SLM_ROLE_ATTN_K_BIAS:
    case SLM_ROLE_ATTN_V_BIAS: return *cols = kv, m->qkv_bias ? m->layers : 0;
    case SLM_ROLE_ATTN_OUT_BIAS: return *cols = m->dim, m->out_bias ? m->layers : 0;
    case SLM_ROLE_FFN_GATE_BIAS:
    case SLM_ROLE_FFN_UP_BIAS: return *cols = m->ffn, m->ffn_bias ? m->layers : 0;
    case SLM_ROLE_FFN_DOWN_BIAS: return *cols = m->dim, m->ffn_bias ? m->layers : 0;
    }
    return 0;
}

static inline bool tiny_rotates(uint32_t role)
{
    return role == SLM_ROLE_ATTN_Q || role == SLM_ROLE_ATTN_K || role == SLM_ROLE_ATTN_Q_BIAS ||
           role == SLM_ROLE_ATTN_K_BIAS;
}

/* Where llama.cpp's converter puts row `row` of a rotating matrix: each head's rows as
 * [2][head_dim / 2], transposed. */
static inline uint32_t tiny_neighbour(const struct tiny *m, uint32_t row)
{
    uint32_t head = row / m->head_dim, k = row % m->head_dim / (m->head_dim / 2),
             j = row % (m->head_dim / 2);
    return head * m->head_dim + 2 * j + k;
}

/* The weights of a tensor, [rows][cols]; the caller frees. Norms are near 1. */
static inline float *tiny_weights(uint32_t role, uint32_t layer, uint32_t rows, uint32_t cols)
{
    uint64_t seed = role * 1000u + layer;
    size_t n = (size_t)(rows ? rows : 1) * cols;
    float *w = malloc(n * sizeof *w);
    for (size_t i = 0; i < n; i++)
        w[i] = random_weight(&seed) + (rows ? 0.0f : 1.0f);
    return w;
}

/* The same with the rows (or, of a bias, the elements) of rotating heads as neighbours. */
static inline float *tiny_permuted(const struct tiny *m, uint32_t role, uint32_t layer,
                                   uint32_t rows, uint32_t cols)
{
    float *w = tiny_weights(role, layer, rows, cols);
    if (!tiny_rotates(role))
        return w;
    uint32_t n = rows ? rows : cols, width = rows ? cols : 1;
    float *p = malloc((size_t)n * width * sizeof *p);
    for (uint32_t r = 0; r < n; r++)
        memcpy(p + (size_t)tiny_neighbour(m, r) * width, w + (size_t)r * width, width * sizeof *w);
    free(w);
    return p;
}

/* ---------------------------------------------------------------------------- gguf --- */

static inline void tiny_gguf_keys(const struct tiny *m, struct gguf_builder *g)
{
    gguf_text(g, "general.architecture", "llama");
    gguf_u32(g, "llama.block_count", m->layers);
    gguf_u32(g, "llama.context_length", m->context);
    gguf_u32(g, "llama.embedding_length", m->dim);
    gguf_u32(g, "llama.feed_forward_length", m->ffn);
    gguf_u32(g, "llama.attention.head_count", m->heads);
    gguf_u32(g, "llama.attention.head_count_kv", m->kv_heads);
    gguf_f32(g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_u32(g, "llama.rope.dimension_count", m->head_dim);
    gguf_f32(g, "llama.rope.freq_base", 10000);
}

/* Random blocks whose f16 scales are small finite numbers. */
static inline void *random_blocks(uint32_t type, uint64_t seed, size_t n)
{
    static const struct {
        uint32_t type;
        int halves[2];
    } scales[] = {
        {SLM_SOURCE_Q4_0, {0, -1}},  {SLM_SOURCE_Q4_1, {0, 2}},    {SLM_SOURCE_Q5_0, {0, -1}},
        {SLM_SOURCE_Q5_1, {0, 2}},   {SLM_SOURCE_Q8_0, {0, -1}},   {SLM_SOURCE_IQ4_NL, {0, -1}},
        {SLM_SOURCE_Q2_K, {80, 82}}, {SLM_SOURCE_Q3_K, {108, -1}}, {SLM_SOURCE_Q4_K, {0, 2}},
        {SLM_SOURCE_Q5_K, {0, 2}},   {SLM_SOURCE_Q6_K, {208, -1}}, {SLM_SOURCE_F16, {0, -1}},
        {SLM_SOURCE_BF16, {0, -1}},  {SLM_SOURCE_MXFP4, {-1, -1}},
    };
    size_t bytes = slm_source_type(type)->bytes, k = 0;
    uint8_t *blocks = malloc(n * bytes);
    while (scales[k].type != type)
        k++;
    for (size_t i = 0; i < n * bytes; i++)
        blocks[i] = (uint8_t)random_u32(&seed);
    for (size_t i = 0; i < n; i++)
        for (int h = 0; h < 2 && scales[k].halves[h] >= 0; h++) {
            float x = random_weight(&seed);
            uint16_t half = type == SLM_SOURCE_BF16 ? slm_f32_to_bf16(x) : slm_f32_to_f16(x);
            memcpy(blocks + i * bytes + scales[k].halves[h], &half, 2);
        }
    for (size_t i = 0; i < n && type == SLM_SOURCE_MXFP4; i++)
        blocks[i * bytes] = (uint8_t)(112 + blocks[i * bytes] % 16); /* the scale's exponent */
    return blocks;
}

/* Matrices in f32, or filled by the caller: blocks(role, layer, rows, cols) of `type`. */
static inline void tiny_gguf_tensors(const struct tiny *m, struct gguf_builder *g, uint32_t type,
                                     void *(*blocks)(uint32_t type, uint64_t seed, size_t n))
{
    for (int i = 0; i < TINY_N_TENSORS; i++) {
        uint32_t rows, cols, role = TINY_TENSORS[i].role;
        uint32_t times = tiny_times(m, role, &rows, &cols);
        for (uint32_t layer = 0; layer < times; layer++) {
            char name[64];
            snprintf(name, sizeof name, TINY_TENSORS[i].gguf, (unsigned)layer);
            if (blocks && rows) {
                const struct slm_source_type *t = slm_source_type(type);
                size_t n = (size_t)rows * cols / t->values;
                void *data = blocks(type, role * 1000u + layer, n);
                gguf_tensor(g, name, type, rows, cols, data, n * t->bytes);
                free(data);
            } else {
                float *w = tiny_permuted(m, role, layer, rows, cols);
                gguf_tensor(g, name, SLM_SOURCE_F32, rows, cols, w,
                            (size_t)(rows ? rows : 1) * cols * sizeof *w);
                free(w);
            }
        }
    }
}

static inline struct slm_buf tiny_gguf(const struct tiny *m)
{
    struct gguf_builder g = {0};
    tiny_gguf_keys(m, &g);
    tiny_gguf_tensors(m, &g, 0, NULL);
    return gguf_finish(&g);
}

/* ---------------------------------------------------------------------- hugging face --- */

/* config.json with further members ("\"a\":1,"), which win over those before. */
static inline struct slm_buf tiny_config(const struct tiny *m, const char *more)
{
    struct slm_buf b = {0};
    slm_buf_format(&b,
                   "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":%u,"
                   "\"intermediate_size\":%u,\"num_hidden_layers\":%u,\"num_attention_heads\":%u,"
                   "\"num_key_value_heads\":%u,\"head_dim\":%u,\"vocab_size\":%u,"
                   "\"max_position_embeddings\":%u,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
                   "\"hidden_act\":\"silu\",",
                   (unsigned)m->dim, (unsigned)m->ffn, (unsigned)m->layers, (unsigned)m->heads,
                   (unsigned)m->kv_heads, (unsigned)m->head_dim, (unsigned)m->vocab,
                   (unsigned)m->context);
    slm_buf_format(&b, "\"attention_bias\":%s,\"mlp_bias\":%s,%s\"tie_word_embeddings\":%s}",
                   m->qkv_bias ? "true" : "false", m->ffn_bias ? "true" : "false", more,
                   m->head ? "false" : "true");
    return b;
}

/* Tensors i with i mod of == part, in F32, F16 or BF16. */
static inline void tiny_safetensors(const struct tiny *m, struct safetensors_builder *s,
                                    const char *dtype, int part, int of)
{
    for (int i = part; i < TINY_N_TENSORS; i += of) {
        uint32_t rows, cols, role = TINY_TENSORS[i].role;
        uint32_t times = tiny_times(m, role, &rows, &cols);
        for (uint32_t layer = 0; layer < times; layer++) {
            char name[96];
            snprintf(name, sizeof name, TINY_TENSORS[i].hf, (unsigned)layer);
            size_t n = (size_t)(rows ? rows : 1) * cols;
            float *w = tiny_weights(role, layer, rows, cols);
            uint16_t *h = malloc(n * sizeof *h);
            for (size_t k = 0; k < n; k++)
                h[k] = dtype[0] == 'B' ? slm_f32_to_bf16(w[k]) : slm_f32_to_f16(w[k]);
            bool half = strcmp(dtype, "F32") != 0;
            safetensors_add(s, name, dtype, rows, cols, half ? (void *)h : w, n * (half ? 2 : 4));
            free(w);
            free(h);
        }
    }
}

/* ------------------------------------------------------------------------- llama2.c --- */

static inline void tiny_llama2c_kind(const struct tiny *m, struct slm_buf *b, uint32_t role)
{
    uint32_t rows, cols, times = tiny_times(m, role, &rows, &cols);
    for (uint32_t layer = 0; layer < times; layer++) {
        float *w = tiny_permuted(m, role, layer, rows, cols);
        slm_buf_append(b, w, (size_t)(rows ? rows : 1) * cols * sizeof *w);
        free(w);
    }
}

static inline struct slm_buf tiny_llama2c(const struct tiny *m)
{
    static const uint32_t first[] = {SLM_ROLE_EMBEDDING, SLM_ROLE_ATTN_NORM, SLM_ROLE_ATTN_Q,
                                     SLM_ROLE_ATTN_K,    SLM_ROLE_ATTN_V,    SLM_ROLE_ATTN_OUT,
                                     SLM_ROLE_FFN_NORM,  SLM_ROLE_FFN_GATE,  SLM_ROLE_FFN_DOWN,
                                     SLM_ROLE_FFN_UP,    SLM_ROLE_FINAL_NORM};
    struct slm_buf b = {0};
    uint32_t header[7] = {m->dim,    m->ffn,      m->layers,
                          m->heads,  m->kv_heads, m->head ? 0 - m->vocab : m->vocab,
                          m->context};
    for (int i = 0; i < 7; i++)
        slm_buf_u32(&b, header[i]);
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        tiny_llama2c_kind(m, &b, first[i]);
    memset(slm_buf_grow(&b, (size_t)m->context * m->head_dim * 4), 0xAA,
           (size_t)m->context * m->head_dim * 4); /* tables that must not be read */
    tiny_llama2c_kind(m, &b, SLM_ROLE_HEAD);
    return b;
}

/* A llama2.c tokenizer of n tokens: the bytes, then "a0", "a1"... */
static inline struct slm_buf llama2c_tokenizer(uint32_t n)
{
    struct slm_buf b = {0};
    slm_buf_u32(&b, 6);
    for (uint32_t id = 0; id < n; id++) {
        char text[16];
        if (id >= 3 && id < 259)
            snprintf(text, sizeof text, "<0x%02X>", (unsigned)id - 3);
        else
            snprintf(text, sizeof text, "a%u", (unsigned)id);
        put_f32(&b, -(float)id);
        slm_buf_u32(&b, (uint32_t)strlen(text));
        slm_buf_text(&b, text);
    }
    return b;
}

/* Three tokens and one merge. */
#define TINY_TOKENIZER_JSON                                                                        \
    "{\"added_tokens\":[{\"id\":2,\"content\":\"</s>\",\"special\":true,"                          \
    "\"normalized\":false,\"single_word\":false,\"lstrip\":false,\"rstrip\":false}],"              \
    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","                               \
    "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"                        \
    "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},"                                \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"</s>\":2,"                           \
    "\"ab\":3},\"merges\":[[\"a\",\"b\"]]}}"

#endif
