/*
 * tiny_file.h - a small .slm with everything in it: all weight types, shapes that fit no panel,
 * layers that differ, biases, two ropes, metadata, template. The weights are pseudo-random and
 * the same on every machine. For tests of the format; nobody would talk to this model.
 */
#ifndef TINY_FILE_H
#define TINY_FILE_H

#include "format/format.h"
#include "quant/quant.h"

#include <stdlib.h>
#include <string.h>

enum { TINY_LAYERS = 2, TINY_ROPES = 2, TINY_UNKNOWN_SECTION = 4711 };

struct tiny_traits {
    struct slm_traits model;
    struct slm_layer_traits layers[TINY_LAYERS];
    struct slm_rope_traits ropes[TINY_ROPES];
};

static inline struct tiny_traits tiny_traits(void)
{
    return (struct tiny_traits){
        .model = {.n_layers = TINY_LAYERS,
                  .dim = 40,
                  .n_vocab = 37,
                  .max_context = 128,
                  .norm = SLM_NORM_RMS,
                  .norm_eps = 1e-5f,
                  .n_ropes = TINY_ROPES,
                  .attention = SLM_ATTENTION_CAUSAL,
                  .activation = SLM_ACT_SILU,
                  .parts = SLM_MODEL_FINAL_NORM,
                  .embedding_scale = 1,
                  .residual_scale = 1,
                  .logit_scale = 1},
        .layers = {{.n_heads = 4,
                    .n_kv_heads = 2,
                    .head_dim = 10,
                    .ffn_dim = 70,
                    .rope = 0,
                    .attention_scale = 0.3125f,
                    .parts = SLM_LAYER_ATTN_NORM | SLM_LAYER_FFN_NORM | SLM_LAYER_GATE},
                   {.n_heads = 3,
                    .n_kv_heads = 1,
                    .head_dim = 12,
                    .ffn_dim = 33,
                    .window = 16,
                    .rope = 1,
                    .attention_scale = 0.25f,
                    .parts = SLM_LAYER_ATTN_NORM | SLM_LAYER_FFN_NORM | SLM_LAYER_GATE}},
        .ropes = {{.dims = 10, .scaling = SLM_ROPE_TABLE, .magnitude = 1},
                  {.dims = 8,
                   .scaling = SLM_ROPE_DYNAMIC,
                   .magnitude = 1,
                   .base = 10000,
                   .factor = 2,
                   .original_context = 64}},
    };
}

struct tiny_tensor {
    uint32_t role, layer, type;
};

/* In the order of the file. Each type stands for a panel format; vectors are always f32. */
static const struct tiny_tensor tiny_tensors[] = {
    {SLM_ROLE_EMBEDDING, SLM_NO_LAYER, SLM_TYPE_Q8},
    {SLM_ROLE_ROPE_FREQUENCIES, 0, SLM_TYPE_F32},
    {SLM_ROLE_ROPE_FREQUENCIES, 1, SLM_TYPE_F32},
    {SLM_ROLE_ATTN_NORM, 0, SLM_TYPE_F32},
    {SLM_ROLE_ATTN_Q, 0, SLM_TYPE_F32},
    {SLM_ROLE_ATTN_K, 0, SLM_TYPE_F16},
    {SLM_ROLE_ATTN_V, 0, SLM_TYPE_BF16},
    {SLM_ROLE_ATTN_OUT, 0, SLM_TYPE_Q8},
    {SLM_ROLE_FFN_NORM, 0, SLM_TYPE_F32},
    {SLM_ROLE_FFN_GATE, 0, SLM_TYPE_Q4},
    {SLM_ROLE_FFN_UP, 0, SLM_TYPE_Q4A},
    {SLM_ROLE_FFN_DOWN, 0, SLM_TYPE_Q4A},
    {SLM_ROLE_ATTN_NORM, 1, SLM_TYPE_F32},
    {SLM_ROLE_ATTN_Q, 1, SLM_TYPE_Q4},
    {SLM_ROLE_ATTN_Q_BIAS, 1, SLM_TYPE_F32},
    {SLM_ROLE_ATTN_K, 1, SLM_TYPE_Q4A},
    {SLM_ROLE_ATTN_K_BIAS, 1, SLM_TYPE_F32},
    {SLM_ROLE_ATTN_V, 1, SLM_TYPE_Q8},
    {SLM_ROLE_ATTN_V_BIAS, 1, SLM_TYPE_F32},
    {SLM_ROLE_ATTN_OUT, 1, SLM_TYPE_F16},
    {SLM_ROLE_ATTN_OUT_BIAS, 1, SLM_TYPE_F32},
    {SLM_ROLE_FFN_NORM, 1, SLM_TYPE_F32},
    {SLM_ROLE_FFN_GATE, 1, SLM_TYPE_F32},
    {SLM_ROLE_FFN_UP, 1, SLM_TYPE_BF16},
    {SLM_ROLE_FFN_UP_BIAS, 1, SLM_TYPE_F32},
    {SLM_ROLE_FFN_DOWN, 1, SLM_TYPE_Q4},
    {SLM_ROLE_FINAL_NORM, SLM_NO_LAYER, SLM_TYPE_F32},
    {SLM_ROLE_HEAD_BIAS, SLM_NO_LAYER, SLM_TYPE_F32},
};
enum { TINY_TENSORS = sizeof tiny_tensors / sizeof tiny_tensors[0] };

/* Weight [row][col] of a tensor: -1 to 1, by a hash of its place. */
static inline float tiny_weight(const struct tiny_tensor *t, uint32_t row, uint32_t col)
{
    uint32_t x = t->role * 0x9E3779B1u ^ (t->layer + 1) * 0x85EBCA77u ^ row * 0xC2B2AE3Du ^ col;
    for (int i = 0; i < 2; i++) {
        x ^= x >> 16;
        x *= 0x7FEB352Du;
        x ^= x >> 15;
        x *= 0x846CA68Bu;
    }
    return (float)(int32_t)x / 2147483648.0f;
}

/* The bytes of a tensor as they shall stand in the file; free() them. */
static inline uint8_t *tiny_tensor_bytes(const struct tiny_tensor *t, uint32_t rows, uint32_t cols,
                                         uint64_t *length)
{
    const struct slm_quant *quant = slm_quant(t->type);
    bool matrix = slm_role_info(t->role)->matrix;
    if (!slm_tensor_bytes(matrix, t->type, rows, cols, length))
        return NULL;
    uint8_t *bytes = calloc(1, (size_t)*length);
    size_t tiles = (cols + 31) / 32;
    for (uint32_t row = 0; bytes && row < rows; row++) {
        for (uint32_t col = 0; col < cols; col += 32) {
            struct slm_block block;
            float values[32] = {0};
            for (uint32_t i = 0; i < 32 && col + i < cols; i++)
                values[i] = tiny_weight(t, row, col + i);
            if (matrix) {
                quant->encode(&block, values);
                quant->pack(bytes + (row / 16 * tiles + col / 32) * quant->tile_bytes,
                            (int)(row % 16), &block);
            } else {
                memcpy(bytes + 4 * col, values, 4 * (cols - col < 32 ? cols - col : 32));
            }
        }
    }
    return bytes;
}

#define TINY_TEMPLATE "{{ messages[0].content }} \xC3\xA9"

/* A section of this text stands in for the tokenizer where the reader does not look into it. */
#define TINY_TOKENIZER "not a tokenizer"

/* Everything but finish. tokenizer and an unknown section are optional; `piece` is how many bytes
 * go into each slm_writer_write(), 0: the whole tensor. The first error code, or 0. */
static inline int tiny_file_fill(struct slm_writer *w, bool tokenizer, bool unknown, size_t piece)
{
    struct tiny_traits traits = tiny_traits();
    int code = slm_writer_section(w, SLM_SECTION_TRAITS, &traits, sizeof traits);
    if (!code && tokenizer)
        code = slm_writer_section(w, SLM_SECTION_TOKENIZER, TINY_TOKENIZER, strlen(TINY_TOKENIZER));
    if (!code && unknown)
        code = slm_writer_section(w, TINY_UNKNOWN_SECTION, "from the future", 15);
    if (!code)
        code = slm_writer_section(w, SLM_SECTION_TEMPLATE, TINY_TEMPLATE, strlen(TINY_TEMPLATE));
    if (!code)
        code = slm_writer_metadata(w, "name", "tiny");
    if (!code)
        code = slm_writer_metadata(w, "license", "MIT");
    if (!code)
        code = slm_writer_metadata(w, "empty", "");
    for (size_t i = 0; !code && i < TINY_TENSORS; i++) {
        const struct tiny_tensor *t = &tiny_tensors[i];
        uint32_t rows, cols;
        uint64_t length, done = 0;
        if (!slm_role_shape(t->role, t->layer, &traits.model, traits.layers, traits.ropes, &rows,
                            &cols))
            return SLM_EINVAL;
        uint8_t *bytes = tiny_tensor_bytes(t, rows, cols, &length);
        if (!bytes)
            return SLM_ENOMEM;
        code = slm_writer_tensor(w, t->role, t->layer, t->type, rows, cols);
        while (!code && done < length) {
            uint64_t n = piece && piece < length - done ? piece : length - done;
            code = slm_writer_write(w, bytes + done, n);
            done += n;
        }
        free(bytes);
    }
    return code;
}

static inline int tiny_file_write(const char *path, bool tokenizer, bool unknown, size_t piece)
{
    struct slm_writer *w;
    int code = slm_writer_new(&w, path);
    if (code)
        return code;
    code = tiny_file_fill(w, tokenizer, unknown, piece);
    if (!code)
        code = slm_writer_finish(w);
    slm_writer_free(w);
    return code;
}

#endif
