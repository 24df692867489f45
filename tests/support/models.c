/* models.c - see models.h. */
#include "support/models.h"

#include "support/random.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TABLE_ROPE(pairs)                                                                          \
    {                                                                                              \
        .dims = 2 * (pairs), .scaling = SLM_ROPE_TABLE                                             \
    }

const struct tiny_model tiny_models[] = {
    {.name = "plain", /* one layer, every side a multiple of its tile */
     .dim = 64,
     .n_vocab = 96,
     .n_layers = 1,
     .layers = {{.n_heads = 4, .n_kv_heads = 4, .head_dim = 16, .ffn_dim = 128}},
     .n_ropes = 1,
     .ropes = {TABLE_ROPE(8)},
     .types = {SLM_TYPE_F32},
     .n_types = 1},
    {.name = "grouped", /* like SmolLM2: 9 query heads, 3 KV heads, tied, biggest tile of 12 rows */
     .dim = 72,
     .n_vocab = 131,
     .n_layers = 2,
     .layers = {{.n_heads = 9, .n_kv_heads = 3, .head_dim = 8, .ffn_dim = 200},
                {.n_heads = 9, .n_kv_heads = 3, .head_dim = 8, .ffn_dim = 200}},
     .n_ropes = 1,
     .ropes = {TABLE_ROPE(4)},
     .types = {SLM_TYPE_Q4A, SLM_TYPE_Q4, SLM_TYPE_Q8},
     .n_types = 3},
    {.name = "ragged", /* nothing fits anything; layers differ in every number */
     .dim = 43,
     .n_vocab = 37,
     .n_layers = 4,
     .layers = {{.n_heads = 3, .n_kv_heads = 1, .head_dim = 24, .ffn_dim = 131},
                {.n_heads = 4, .n_kv_heads = 2, .head_dim = 10, .ffn_dim = 33, .window = 20},
                {.n_heads = 1, .n_kv_heads = 1, .head_dim = 40, .ffn_dim = 7, .rope = 1},
                {.n_heads = 2, .n_kv_heads = 2, .head_dim = 5, .ffn_dim = 75, .rope = SLM_NO_ROPE}},
     .n_ropes = 2,
     .ropes = {TABLE_ROPE(4), TABLE_ROPE(20)},
     .scales = {3.5f, 0.4f, 0.7f},
     .untied = true,
     .biases = true},
    {.name = "windows", /* local and global layers, as in Gemma; windows of a page and of more */
     .dim = 48,
     .n_vocab = 64,
     .n_layers = 4,
     .layers = {{.n_heads = 2, .n_kv_heads = 1, .head_dim = 40, .ffn_dim = 64, .window = 32},
                {.n_heads = 2, .n_kv_heads = 1, .head_dim = 40, .ffn_dim = 64, .window = 300},
                {.n_heads = 2, .n_kv_heads = 1, .head_dim = 40, .ffn_dim = 64, .window = 1},
                {.n_heads = 2, .n_kv_heads = 1, .head_dim = 40, .ffn_dim = 64, .rope = 1}},
     .n_ropes = 2,
     .ropes = {TABLE_ROPE(20), {.dims = 40, .scaling = SLM_ROPE_TABLE, .magnitude = 1.25f}},
     .types = {SLM_TYPE_F16, SLM_TYPE_Q8},
     .n_types = 2},
    {.name = "dynamic", /* the rotary base grows from position 100 on; heads rotate in part */
     .dim = 64,
     .n_vocab = 80,
     .n_layers = 2,
     .layers = {{.n_heads = 4, .n_kv_heads = 2, .head_dim = 24, .ffn_dim = 96},
                {.n_heads = 4, .n_kv_heads = 2, .head_dim = 24, .ffn_dim = 96}},
     .n_ropes = 1,
     .ropes = {{.dims = 16,
                .scaling = SLM_ROPE_DYNAMIC,
                .base = 10000,
                .factor = 2,
                .original_context = 100}},
     .types = {SLM_TYPE_BF16, SLM_TYPE_Q4},
     .n_types = 2,
     .biases = true},
    {.name = "wide", /* one KV head for 13 query heads: more than a tile takes; large head */
     .dim = 160,
     .n_vocab = 50,
     .n_layers = 1,
     .layers = {{.n_heads = 13, .n_kv_heads = 1, .head_dim = 80, .ffn_dim = 96}},
     .n_ropes = 1,
     .ropes = {TABLE_ROPE(40)},
     .types = {SLM_TYPE_Q8, SLM_TYPE_F32},
     .n_types = 2,
     .untied = true},
    {.name = "parallel", /* LayerNorm, biases everywhere, no gate, half a head rotates */
     .dim = 50,
     .n_vocab = 70,
     .n_layers = 2,
     .layers = {{.n_heads = 3, .n_kv_heads = 3, .head_dim = 20, .ffn_dim = 90,
                 .parts = SLM_LAYER_ATTN_NORM | SLM_LAYER_FFN_NORM | SLM_LAYER_PARALLEL},
                {.n_heads = 3, .n_kv_heads = 1, .head_dim = 20, .ffn_dim = 90,
                 .parts = TINY_PARTS | SLM_LAYER_PARALLEL}},
     .n_ropes = 1,
     .ropes = {TABLE_ROPE(5)},
     .norm = SLM_NORM_LAYER,
     .activation = SLM_ACT_GELU,
     .untied = true,
     .biases = true},
    {.name = "slopes", /* ALiBi and learned positions, a norm of the embedding, odd activations */
     .dim = 44,
     .n_vocab = 61,
     .n_layers = 2,
     .layers = {{.n_heads = 6, .n_kv_heads = 2, .head_dim = 9, .ffn_dim = 70, .window = 70,
                 .rope = SLM_NO_ROPE, .parts = SLM_LAYER_ATTN_NORM | SLM_LAYER_SLOPES},
                {.n_heads = 2, .n_kv_heads = 2, .head_dim = 22, .ffn_dim = 50,
                 .rope = SLM_NO_ROPE, .parts = TINY_PARTS | SLM_LAYER_SLOPES}},
     .norm = SLM_NORM_LAYER,
     .activation = SLM_ACT_GELU_QUICK,
     .n_positions = 600,
     .parts = SLM_MODEL_EMBEDDING_NORM,
     .types = {SLM_TYPE_Q8, SLM_TYPE_F32, SLM_TYPE_Q4A},
     .n_types = 3,
     .biases = true},
    {.name = "capped", /* soft caps, norms before and after blocks and of each head, scales */
     .dim = 40,
     .n_vocab = 83,
     .n_layers = 2,
     .layers = {{.n_heads = 4, .n_kv_heads = 2, .head_dim = 18, .ffn_dim = 66, .window = 33,
                 .attention_cap = 2, .parts = TINY_PARTS | SLM_LAYER_ATTN_POST_NORM |
                                              SLM_LAYER_FFN_POST_NORM | SLM_LAYER_HEAD_NORMS},
                {.n_heads = 4, .n_kv_heads = 1, .head_dim = 18, .ffn_dim = 66, .rope = 1,
                 .attention_cap = 3, .parts = TINY_PARTS | SLM_LAYER_ATTN_POST_NORM |
                                              SLM_LAYER_FFN_POST_NORM | SLM_LAYER_HEAD_NORMS}},
     .n_ropes = 2,
     .ropes = {TABLE_ROPE(9), TABLE_ROPE(4)},
     .scales = {6, 0.5f, 2},
     .activation = SLM_ACT_GELU_TANH,
     .logit_cap = 1.5f,
     .types = {SLM_TYPE_Q8, SLM_TYPE_Q4},
     .n_types = 2},
    {.name = "posted", /* norms of what is added only; queries and keys as one vector; ReLU */
     .dim = 36,
     .n_vocab = 52,
     .n_layers = 2,
     .layers = {{.n_heads = 3, .n_kv_heads = 3, .head_dim = 12, .ffn_dim = 40,
                 .parts = SLM_LAYER_ATTN_POST_NORM | SLM_LAYER_FFN_POST_NORM |
                          SLM_LAYER_WIDE_NORMS | SLM_LAYER_GATE},
                {.n_heads = 6, .n_kv_heads = 2, .head_dim = 6, .ffn_dim = 33,
                 .parts = SLM_LAYER_ATTN_POST_NORM | SLM_LAYER_FFN_NORM | SLM_LAYER_WIDE_NORMS}},
     .n_ropes = 1,
     .ropes = {{.dims = 6, .scaling = SLM_ROPE_LONG, .magnitude = 1.1f, .original_context = 64}},
     .activation = SLM_ACT_RELU,
     .types = {SLM_TYPE_BF16, SLM_TYPE_Q8},
     .n_types = 2},
    {.name = "experts", /* with and without a block beside them, whose share may be its own; sinks */
     .dim = 44,
     .n_vocab = 71,
     .n_layers = 3,
     .layers = {{.n_heads = 4, .n_kv_heads = 2, .head_dim = 11, .parts = TINY_PARTS | SLM_LAYER_SINKS,
                 .n_experts = 7, .n_chosen = 2, .expert_dim = 37, .router = SLM_ROUTER_CHOSEN},
                {.n_heads = 4, .n_kv_heads = 1, .head_dim = 11, .ffn_dim = 50, .window = 40,
                 .parts = TINY_PARTS | SLM_LAYER_SHARED_GATE | SLM_LAYER_SINKS, .n_experts = 33,
                 .n_chosen = 5, .expert_dim = 20, .router = SLM_ROUTER_ALL},
                {.n_heads = 4, .n_kv_heads = 4, .head_dim = 11, .ffn_dim = 64,
                 .parts = TINY_PARTS | SLM_LAYER_FFN_POST_NORM, .n_experts = 3, .n_chosen = 3,
                 .expert_dim = 70, .router = SLM_ROUTER_ALL}},
     .n_ropes = 1,
     .ropes = {TABLE_ROPE(5)},
     .scales = {2, 0.6f, 1}},
    {.name = "clamped", /* experts with biases and held gates, beside attention and without a gate */
     .dim = 64,
     .n_vocab = 50,
     .n_layers = 3,
     .layers = {{.n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .n_experts = 1, .n_chosen = 1,
                 .parts = TINY_PARTS | SLM_LAYER_UP_PLUS_ONE | SLM_LAYER_SINKS, .expert_dim = 64,
                 .router = SLM_ROUTER_CHOSEN, .gate_limit = 0.5f},
                {.n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .ffn_dim = 40, .gate_limit = 0.75f,
                 .parts = TINY_PARTS | SLM_LAYER_UP_PLUS_ONE},
                {.n_heads = 2, .n_kv_heads = 1, .head_dim = 32, .ffn_dim = 33, .n_experts = 6,
                 .parts = SLM_LAYER_ATTN_NORM | SLM_LAYER_PARALLEL | SLM_LAYER_FFN_POST_NORM,
                 .n_chosen = 4, .expert_dim = 48, .router = SLM_ROUTER_CHOSEN}},
     .n_ropes = 1,
     .ropes = {TABLE_ROPE(16)},
     .activation = SLM_ACT_GELU_QUICK,
     .types = {SLM_TYPE_Q8, SLM_TYPE_F32, SLM_TYPE_Q4, SLM_TYPE_Q4A, SLM_TYPE_Q8},
     .n_types = 5,
     .biases = true},
    {.name = "local", /* nothing but windows: sequences may be longer than what is stored */
     .dim = 32,
     .n_vocab = 40,
     .n_layers = 2,
     .layers = {{.n_heads = 2, .n_kv_heads = 1, .head_dim = 16, .ffn_dim = 32, .window = 50},
                {.n_heads = 2, .n_kv_heads = 2, .head_dim = 16, .ffn_dim = 32, .window = 1}},
     .n_ropes = 1,
     .ropes = {TABLE_ROPE(8)},
     .types = {SLM_TYPE_Q8, SLM_TYPE_F32},
     .n_types = 2},
    {.name = NULL},
};

#define POST_NORMS (SLM_LAYER_ATTN_SUM_NORM | SLM_LAYER_FFN_SUM_NORM)

const struct tiny_model tiny_embedders[] = {
    {.name = "bert", /* post-norm blocks, learned positions, two kinds of tokens, a score head */
     .dim = 60,
     .n_vocab = 90,
     .n_layers = 2,
     .layers = {{.n_heads = 5, .n_kv_heads = 5, .head_dim = 12, .ffn_dim = 100,
                 .rope = SLM_NO_ROPE, .parts = POST_NORMS},
                {.n_heads = 5, .n_kv_heads = 5, .head_dim = 12, .ffn_dim = 70,
                 .rope = SLM_NO_ROPE, .parts = POST_NORMS}},
     .norm = SLM_NORM_LAYER,
     .activation = SLM_ACT_GELU,
     .n_positions = 600,
     .parts = SLM_MODEL_EMBEDDING_NORM | SLM_MODEL_UNIT_LENGTH | SLM_MODEL_SCORE_DENSE,
     .biases = true,
     .attention = SLM_ATTENTION_BOTH,
     .n_token_types = 2,
     .pooling = SLM_POOLED_FIRST,
     .n_scores = 3,
     .score_activation = SLM_ACT_TANH},
    {.name = "local", /* local and global layers with ropes of their own, a final norm, no bias */
     .dim = 44,
     .n_vocab = 70,
     .n_layers = 3,
     .layers = {{.n_heads = 4, .n_kv_heads = 2, .head_dim = 10, .ffn_dim = 40,
                 .parts = SLM_LAYER_FFN_NORM | SLM_LAYER_GATE},
                {.n_heads = 3, .n_kv_heads = 3, .head_dim = 12, .ffn_dim = 66, .window = 65, .rope = 1},
                {.n_heads = 1, .n_kv_heads = 1, .head_dim = 30, .ffn_dim = 33, .window = 3, .rope = 1}},
     .n_ropes = 2,
     .ropes = {TABLE_ROPE(5), TABLE_ROPE(6)},
     .norm = SLM_NORM_LAYER,
     .activation = SLM_ACT_GELU,
     .parts = SLM_MODEL_SCORE_DENSE | SLM_MODEL_SCORE_NORM,
     .attention = SLM_ATTENTION_BOTH,
     .pooling = SLM_POOLED_MEAN,
     .n_scores = 1,
     .score_activation = SLM_ACT_GELU},
    {.name = "causal", /* a decoder whose last token stands for the text */
     .dim = 48,
     .n_vocab = 80,
     .n_layers = 2,
     .layers = {{.n_heads = 4, .n_kv_heads = 2, .head_dim = 12, .ffn_dim = 80},
                {.n_heads = 4, .n_kv_heads = 2, .head_dim = 12, .ffn_dim = 80, .window = 50}},
     .n_ropes = 1,
     .ropes = {TABLE_ROPE(6)},
     .parts = SLM_MODEL_UNIT_LENGTH,
     .pooling = SLM_POOLED_LAST,
     .n_scores = 2},
    {.name = NULL},
};

const struct tiny_model *tiny_model_named(const char *name)
{
    for (const struct tiny_model *m = tiny_models; m->name; m++)
        if (strcmp(m->name, name) == 0)
            return m;
    fprintf(stderr, "there is no tiny model called %s\n", name);
    abort();
}

/* --------------------------------------------------------------------- writing --- */

struct records {
    struct slm_traits traits;
    uint8_t rest[TINY_MAX_LAYERS * sizeof(struct slm_layer_traits) +
                 TINY_MAX_ROPES * sizeof(struct slm_rope_traits)];
};

static float or_one(float x)
{
    return x != 0 ? x : 1;
}

/* The traits section, with the defaults filled in; returns its length. */
static size_t make_records(const struct tiny_model *m, struct records *records,
                           struct slm_layer_traits *layers, struct slm_rope_traits *ropes)
{
    for (uint32_t i = 0; i < m->n_layers; i++) {
        layers[i] = m->layers[i];
        if (layers[i].attention_scale == 0)
            layers[i].attention_scale = 1 / sqrtf((float)layers[i].head_dim);
        if (layers[i].parts == 0)
            layers[i].parts = TINY_PARTS;
    }
    for (uint32_t i = 0; i < m->n_ropes; i++) {
        ropes[i] = m->ropes[i];
        ropes[i].magnitude = or_one(ropes[i].magnitude);
    }
    *records = (struct records){
        .traits = {.n_layers = m->n_layers,
                   .dim = m->dim,
                   .n_vocab = m->n_vocab,
                   .max_context = 1024,
                   .norm = m->norm ? m->norm : SLM_NORM_RMS,
                   .norm_eps = 1e-5f,
                   .n_positions = m->n_positions,
                   .n_ropes = m->n_ropes,
                   .attention = m->attention ? m->attention : SLM_ATTENTION_CAUSAL,
                   .activation = m->activation ? m->activation : SLM_ACT_SILU,
                   .logit_cap = m->logit_cap,
                   .parts = m->parts | (POST_NORMS & m->layers[0].parts ? 0 : SLM_MODEL_FINAL_NORM),
                   .n_token_types = m->n_token_types,
                   .pooling = m->pooling,
                   .n_scores = m->n_scores,
                   .score_activation = m->score_activation,
                   .n_separators = m->n_separators,
                   .embedding_scale = or_one(m->scales[0]),
                   .residual_scale = or_one(m->scales[1]),
                   .logit_scale = or_one(m->scales[2])},
    };
    size_t layer_bytes = m->n_layers * sizeof *layers, rope_bytes = m->n_ropes * sizeof *ropes;
    memcpy(records->rest, layers, layer_bytes);
    memcpy(records->rest + layer_bytes, ropes, rope_bytes);
    return sizeof records->traits + layer_bytes + rope_bytes;
}

/* 32 weights of a row. A matrix keeps the spread of what it is multiplied with; norms are near 1,
 * biases small; rope frequencies are the usual ones of base 10000. */
static void make_values(struct random *r, uint32_t role, uint32_t cols, uint32_t col, bool matrix,
                        float *values)
{
    float spread = role == SLM_ROLE_EMBEDDING ? 1 : matrix ? 1 / sqrtf((float)cols) : 0.1f;
    bool norm = !matrix && slm_role_info(role)->bias; /* no other vector has one */
    for (uint32_t i = 0; i < 32; i++) {
        float x = random_normal(r) * spread + (norm ? 1 : 0);
        if (role == SLM_ROLE_ROPE_FREQUENCIES)
            x = (float)pow(10000, -(double)(col + i) / cols);
        if (role == SLM_ROLE_ROPE_LONG_FREQUENCIES)
            x = (float)pow(30000, -(double)(col + i) / cols);
        if (role == SLM_ROLE_ATTN_SLOPES)
            x = (float)pow(2, -1 - (double)(col + i));
        values[i] = col + i < cols ? x : 0;
    }
}

static int write_tensor(struct slm_writer *w, struct random *r, uint32_t role, uint32_t layer,
                        uint32_t type, uint32_t rows, uint32_t cols)
{
    bool matrix = slm_role_info(role)->matrix;
    const struct slm_quant *quant = slm_quant(type);
    uint64_t length;
    if (!slm_tensor_bytes(matrix, type, rows, cols, &length))
        return SLM_EINVAL;
    uint8_t *bytes = calloc(1, (size_t)length + 128); /* a vector is written by 32 values */
    size_t tiles = (cols + 31) / 32;
    for (uint32_t row = 0; row < rows; row++)
        for (uint32_t col = 0; col < cols; col += 32) {
            struct slm_block block = {0};
            float values[32];
            make_values(r, role, cols, col, matrix, values);
            if (!matrix) {
                memcpy(bytes + 4 * col, values, sizeof values);
                continue;
            }
            quant->encode(&block, values);
            quant->pack(bytes + (row / 16 * tiles + col / 32) * quant->tile_bytes, (int)(row % 16),
                        &block);
        }
    int rc = slm_writer_tensor(w, role, layer, type, rows, cols);
    if (!rc)
        rc = slm_writer_write(w, bytes, length);
    free(bytes);
    return rc;
}

static bool is_wanted(const struct tiny_model *m, uint32_t role)
{
    const struct slm_role_info *info = slm_role_info(role);
    if (!info)
        return false;
    if (role == SLM_ROLE_HEAD)
        return m->untied;
    return info->required || (m->biases && !info->matrix);
}

struct tensor {
    uint32_t role, layer, type, rows, cols;
};

/* What the model has, role by role; returns how many. */
static size_t list_tensors(const struct tiny_model *m, const struct slm_traits *traits,
                           const struct slm_layer_traits *layers, const struct slm_rope_traits *ropes,
                           struct tensor *tensors)
{
    size_t n = 0, n_matrices = 0, n_types = 0;
    while (slm_quant_at(n_types))
        n_types++;
    for (uint32_t role = 0; role < SLM_N_ROLES; role++) {
        if (!is_wanted(m, role))
            continue;
        const struct slm_role_info *info = slm_role_info(role);
        for (uint32_t i = 0; i < (info->per_layer ? slm_role_layers(role, traits) : 1); i++) {
            uint32_t type = SLM_TYPE_F32, layer = info->per_layer ? i : SLM_NO_LAYER, rows, cols;
            if (!slm_role_shape(role, layer, traits, layers, ropes, &rows, &cols))
                continue; /* a part that this layer does not have */
            if (role == SLM_ROLE_ROUTER)
                type = m->router_type;
            else if (info->matrix)
                type = m->n_types ? m->types[n_matrices++ % m->n_types]
                                  : slm_quant_at(n_matrices++ % n_types)->type;
            tensors[n++] = (struct tensor){role, layer, type, rows, cols};
        }
    }
    return n;
}

static int write_all(struct slm_writer *w, const struct tiny_model *m)
{
    struct slm_layer_traits layers[TINY_MAX_LAYERS];
    struct slm_rope_traits ropes[TINY_MAX_ROPES];
    struct records records;
    struct tensor tensors[SLM_N_ROLES * TINY_MAX_LAYERS];
    size_t length = make_records(m, &records, layers, ropes);
    size_t n = list_tensors(m, &records.traits, layers, ropes, tensors);
    int rc = slm_writer_section(w, SLM_SECTION_TRAITS, &records, length);
    for (size_t i = 0; !rc && i < n; i++) {
        size_t which = m->reversed ? n - 1 - i : i;
        const struct tensor *t = &tensors[which];
        struct random r = random_stream(m->seed, which); /* the order changes no weight */
        rc = write_tensor(w, &r, t->role, t->layer, t->type, t->rows, t->cols);
    }
    return rc;
}

int tiny_model_write(const struct tiny_model *m, const char *path, const char *chat_template,
                     const void *tokenizer, size_t length)
{
    struct slm_writer *w;
    int rc = slm_writer_new(&w, path);
    if (rc)
        return rc;
    rc = slm_writer_metadata(w, "name", m->name);
    if (!rc && chat_template)
        rc = slm_writer_section(w, SLM_SECTION_TEMPLATE, chat_template, strlen(chat_template));
    if (!rc && tokenizer)
        rc = slm_writer_section(w, SLM_SECTION_TOKENIZER, tokenizer, length);
    if (!rc)
        rc = write_all(w, m);
    if (!rc)
        rc = slm_writer_finish(w);
    slm_writer_free(w);
    return rc;
}

/* ----------------------------------------------------------------------- files --- */

static char folder[256];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *temporary_folder(void)
{
    if (folder[0])
        return folder;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/slm-test-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        abort();
    }
    atexit(remove_folder);
    return folder;
}

const char *temporary_path(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", temporary_folder(), name);
    return path;
}

const char *tiny_model_path(const struct tiny_model *m)
{
    char name[64];
    snprintf(name, sizeof name, "%s.slm", m->name);
    const char *path = temporary_path(name);
    if (access(path, R_OK) != 0 && tiny_model_write(m, path, NULL, NULL, 0) != 0) {
        fprintf(stderr, "%s: %s\n", path, slm_last_error());
        abort();
    }
    return path;
}
