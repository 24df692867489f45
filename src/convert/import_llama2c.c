/*
 * import_llama2c.c - a legacy llama2.c checkpoint: a LLaMA without names.
 *
 * Seven int32 (width, feed-forward width, layers, heads, key-value heads, vocabulary, context),
 * then f32 tensors in a fixed order, each kind for all layers in a row. A negative vocabulary means
 * that the head is a tensor of its own, at the end. Two tables of RoPE's cosines and sines, which
 * nobody needs, stand before it. The tensors get the names that GGUF gives them.
 */
#include "base/bits.h"
#include "convert/import.h"
#include "format/format.h"

#include <inttypes.h>

enum { HEADER = 28, ROPE_TABLES = 0 };

/* Seven small integers; the exact length of the file is checked below. */
bool slm_import_is_llama2c(const uint8_t *head, size_t n)
{
    if (n < HEADER)
        return false;
    for (int i = 0; i < 7; i++) {
        int32_t value = (int32_t)slm_load_u32(head + 4 * i);
        if (i == 5 && value < 0) /* a negative vocabulary: the head is separate */
            value = value == INT32_MIN ? 0 : -value;
        if (value < 1 || value > 1 << 24)
            return false;
    }
    return true;
}

/* The order of the tensors in the file, by role. */
static const uint32_t order[] = {
    SLM_ROLE_EMBEDDING,  SLM_ROLE_ATTN_NORM, SLM_ROLE_ATTN_Q,   SLM_ROLE_ATTN_K,   SLM_ROLE_ATTN_V,
    SLM_ROLE_ATTN_OUT,   SLM_ROLE_FFN_NORM,  SLM_ROLE_FFN_GATE, SLM_ROLE_FFN_DOWN, SLM_ROLE_FFN_UP,
    SLM_ROLE_FINAL_NORM, ROPE_TABLES,        SLM_ROLE_HEAD,
};
enum { N_KINDS = sizeof order / sizeof order[0] };

static int read_header(struct slm_config *config, const uint8_t *data)
{
    static const struct {
        const char *name;
        int32_t high;
    } fields[7] = {{"dim", SLM_LIMIT_DIM},          {"hidden_dim", SLM_LIMIT_FFN_DIM},
                   {"n_layers", SLM_LIMIT_LAYERS},  {"n_heads", SLM_LIMIT_HEADS},
                   {"n_kv_heads", SLM_LIMIT_HEADS}, {"vocab_size", SLM_LIMIT_VOCAB},
                   {"seq_len", SLM_LIMIT_CONTEXT}};
    int32_t n[7];
    for (int i = 0; i < 7; i++) {
        n[i] = (int32_t)slm_load_u32(data + 4 * i);
        bool separate_head = i == 5 && n[i] < 0 && n[i] != INT32_MIN;
        if (separate_head) {
            n[i] = -n[i];
            config->parts |= SLM_PART_HEAD;
        }
        if (n[i] < 1 || n[i] > fields[i].high)
            return slm_fail(SLM_EFORMAT, "llama2.c header: %s is %d, not 1 to %d", fields[i].name,
                            (int)n[i], (int)fields[i].high);
    }
    config->family = slm_family_of_gguf("llama", 5, false);
    config->neighbours = true;
    config->dim = (uint32_t)n[0];
    config->ffn_dim = (uint32_t)n[1];
    config->n_layers = (uint32_t)n[2];
    config->n_heads = (uint32_t)n[3];
    config->n_kv_heads = (uint32_t)n[4];
    config->n_vocab = (uint32_t)n[5];
    config->max_context = (uint32_t)n[6];
    config->parts |= config->family->parts | SLM_PART_ALWAYS;
    config->activation = SLM_ACT_SILU;
    config->n_ropes = 1;
    config->norm_eps = 1e-5; /* the next two stand in the source code of llama2.c */
    config->rope.base = 10000;
    return slm_config_finish(config);
}

/* How often a kind stands in the file, and the shape of each. */
static uint32_t kind_shape(const struct slm_config *config, uint32_t role, uint32_t *rows,
                           uint32_t *cols)
{
    if (role == ROPE_TABLES) {
        *rows = config->max_context;
        *cols = config->head_dim / 2;
        return 2;
    }
    if (role == SLM_ROLE_HEAD && !(config->parts & SLM_PART_HEAD))
        return 0;
    bool per_layer = slm_role_info(role)->per_layer;
    slm_role_shape(role, per_layer ? 0 : SLM_NO_LAYER, &config->traits, config->layers,
                   config->rope_traits, rows, cols);
    return per_layer ? config->n_layers : 1;
}

/* The file has no other way to tell that it is whole. No overflow: the limits allow 13 kinds of
 * 2^10 times 2^20 times 2^22 numbers. */
static int check_length(const struct slm_config *config, uint64_t length)
{
    uint64_t expected = HEADER;
    for (int i = 0; i < N_KINDS; i++) {
        uint32_t rows = 0, cols = 0, times = kind_shape(config, order[i], &rows, &cols);
        expected += 4 * (uint64_t)times * rows * cols;
    }
    if (length != expected)
        return slm_fail(SLM_EFORMAT,
                        "a llama2.c checkpoint with this header has %" PRIu64
                        " bytes, but the file has %" PRIu64,
                        expected, length);
    return SLM_OK;
}

static int add_tensors(struct slm_import *import, const uint8_t *data)
{
    const struct slm_config *config = &import->config;
    size_t n_names = (size_t)config->n_layers * N_KINDS + N_KINDS;
    char *names = slm_buf_grow(&import->texts, n_names * SLM_FAMILY_NAME);
    if (!names)
        return SLM_ENOMEM;
    for (int i = 0; i < N_KINDS; i++) {
        uint32_t rows = 0, cols = 0, times = kind_shape(config, order[i], &rows, &cols);
        uint64_t bytes = 4 * (uint64_t)rows * cols;
        for (uint32_t layer = 0; layer < times; layer++, data += bytes) {
            if (order[i] == ROPE_TABLES)
                continue;
            slm_family_name(&import->names, slm_family_tensor_of(config->family, order[i]), layer,
                            0, false, names);
            struct slm_source_tensor tensor = {.name = names,
                                               .name_length = strlen(names),
                                               .type = SLM_SOURCE_F32,
                                               .n_dims = 2,
                                               .shape = {rows, cols, 1, 1},
                                               .data = data,
                                               .length = bytes};
            int err = slm_source_add(&import->source, &tensor, 1);
            if (err)
                return err;
            names += SLM_FAMILY_NAME;
        }
    }
    return slm_source_close(&import->source);
}

int slm_import_llama2c(struct slm_import *import)
{
    struct slm_import_file *file;
    int err = slm_import_files(import, 1);
    if (err || (err = slm_import_map(import, NULL, &file)))
        return err;
    import->names.gguf = true;
    import->texts.allocator = import->allocator;
    if (file->map.length < HEADER)
        err = slm_fail(SLM_EFORMAT, "%" PRIu64 " bytes are too few for a llama2.c checkpoint",
                       file->map.length);
    if (!err)
        err = read_header(&import->config, file->map.data);
    if (!err)
        err = check_length(&import->config, file->map.length);
    if (!err)
        import->names.family = import->config.family;
    if (!err)
        err = add_tensors(import, file->map.data + HEADER);
    if (err)
        return slm_fail_in(err, "%s", import->path);
    slm_import_metadata(import, "source_format", "llama2.c", 8);
    return SLM_OK;
}
