/*
 * model.c - from a validated directory to weights by role.
 *
 * slm_file_parse() has checked that every tensor that the traits demand is there in its shape, so
 * this only notes where they lie. It touches the directory and the vocabulary's header, no weights:
 * that is why opening takes milliseconds whatever the size.
 */
#include "model/model.h"

#include "base/limits.h"

#include <stddef.h>
#include <string.h>

/* Where the model keeps a role: in itself, in each of its layers, or in an array by rope. */
struct place {
    enum { NOWHERE, IN_MODEL, IN_LAYER, BY_ROPE } owner;
    size_t offset;
};

#define MODEL(role, member) [SLM_ROLE_##role] = {IN_MODEL, offsetof(struct slm_model, member)}
#define LAYER(role, member) [SLM_ROLE_##role] = {IN_LAYER, offsetof(struct slm_layer, member)}
#define ROPE(role, member) [SLM_ROLE_##role] = {BY_ROPE, offsetof(struct slm_model, member)}
/* A matrix or a norm, and the bias that stands in it. */
#define MATRIX(of, role, member) of(role, member), of(role##_BIAS, member.bias)
#define NORM(of, role, member) of(role, member.weight), of(role##_BIAS, member.bias)

static const struct place places[SLM_N_ROLES] = {
    MODEL(EMBEDDING, embedding),
    MODEL(POSITION_EMBEDDING, positions),
    MODEL(TOKEN_TYPE_EMBEDDING, token_types),
    MATRIX(MODEL, SCORE_DENSE, score_dense),
    NORM(MODEL, SCORE_NORM, score_norm),
    MATRIX(MODEL, SCORE, score),
    NORM(MODEL, EMBEDDING_NORM, embedding_norm),
    MATRIX(MODEL, HEAD, head),
    NORM(MODEL, FINAL_NORM, final_norm),
    ROPE(ROPE_FREQUENCIES, rope_frequencies),
    ROPE(ROPE_LONG_FREQUENCIES, rope_long_frequencies),

    NORM(LAYER, ATTN_NORM, attn_norm),
    MATRIX(LAYER, ATTN_Q, q),
    MATRIX(LAYER, ATTN_K, k),
    MATRIX(LAYER, ATTN_V, v),
    NORM(LAYER, ATTN_Q_NORM, q_norm),
    NORM(LAYER, ATTN_K_NORM, k_norm),
    LAYER(ATTN_SLOPES, slopes),
    LAYER(ATTN_SINKS, sinks),
    MATRIX(LAYER, ATTN_OUT, out),
    NORM(LAYER, ATTN_POST_NORM, attn_post_norm),
    NORM(LAYER, ATTN_SUM_NORM, attn_sum_norm),

    NORM(LAYER, FFN_NORM, ffn_norm),
    MATRIX(LAYER, FFN_GATE, gate),
    MATRIX(LAYER, FFN_UP, up),
    MATRIX(LAYER, FFN_DOWN, down),
    NORM(LAYER, FFN_POST_NORM, ffn_post_norm),
    NORM(LAYER, FFN_SUM_NORM, ffn_sum_norm),
    MATRIX(LAYER, ROUTER, router),
    LAYER(SHARED_GATE, shared_gate),
    MATRIX(LAYER, EXPERTS_GATE, experts_gate),
    MATRIX(LAYER, EXPERTS_UP, experts_up),
    MATRIX(LAYER, EXPERTS_DOWN, experts_down),
};

/* Everything but the bias, which may have come first: tensors stand in any order. */
static void set_matrix(struct slm_matrix *m, const struct slm_tensor_entry *entry, const uint8_t *data)
{
    m->panels = data;
    m->quant = slm_quant(entry->type);
    m->rows = entry->rows;
    m->cols = entry->cols;
    m->n_panels = (m->rows + SLM_PANEL_ROWS - 1) / SLM_PANEL_ROWS;
    m->n_tiles = (m->cols + SLM_TILE_COLS - 1) / SLM_TILE_COLS;
}

static void set_weight(struct slm_model *model, const struct slm_tensor_entry *entry)
{
    const uint8_t *data = model->file.data + entry->offset;
    const struct place *place = &places[entry->role];
    char *owner = place->owner == IN_LAYER ? (char *)&model->layers[entry->layer] : (char *)model;
    void *member = owner + place->offset;
    if (place->owner == NOWHERE)
        return;
    if (slm_role_info(entry->role)->matrix)
        set_matrix(member, entry, data);
    else
        ((const float **)member)[place->owner == BY_ROPE ? entry->layer : 0] =
            (const float *)(const void *)data;
}

/* One walk over the directory, whatever its length and order. */
static void find_weights(struct slm_model *model)
{
    const struct slm_file *file = &model->file;
    for (uint32_t i = 0; i < file->traits->n_layers; i++)
        model->layers[i].traits = &file->layers[i];
    for (uint32_t i = 0; i < file->n_tensors; i++)
        set_weight(model, &file->tensors[i]);
    if (!model->head.panels && file->traits->attention == SLM_ATTENTION_CAUSAL) { /* tied */
        const float *bias = model->head.bias;
        model->head = model->embedding;
        model->head.bias = bias;
    }
}

static int open_text(struct slm_model *model)
{
    const struct slm_file *file = &model->file;
    if (file->tokenizer) {
        int rc = slm_text_open(&model->text, file->tokenizer, file->tokenizer_length,
                               file->traits->n_vocab);
        if (rc < 0)
            return rc;
        model->has_text = true;
    }
    if (!file->chat_template)
        return SLM_OK;
    int rc = slm_template_parse(&model->chat, file->chat_template, file->chat_template_length,
                                model->allocator);
    if (rc == SLM_ENOMEM)
        return rc;
    if (rc < 0) { /* the model is of use without it: slm_chat_format() will say what is wrong */
        model->chat = NULL;
        if (model->log)
            model->log(model->log_user, SLM_LOG_WARNING, slm_error_message());
    }
    return SLM_OK;
}

static void destroy(struct slm_model *model)
{
    slm_allocator hooks = model->hooks; /* the block that holds them goes last */
    const slm_allocator *allocator = model->allocator ? &hooks : NULL;
    slm_template_free(model->chat);
    model->mapping.allocator = allocator;
    slm_unmap(&model->mapping);
    slm_free(allocator, model, model->bytes);
}

static int load(struct slm_model **out, struct slm_mapping *mapping, const slm_model_options *options)
{
    *out = NULL;
    struct slm_file file;
    int rc = slm_file_parse(&file, mapping->data, mapping->length);
    if (rc < 0) {
        slm_unmap(mapping);
        return rc;
    }
    size_t n_layers = file.traits->n_layers, n_ropes = file.traits->n_ropes;
    size_t bytes = sizeof(struct slm_model) +
                   n_layers * (sizeof(struct slm_layer) + sizeof(struct slm_layer_traits)) +
                   n_ropes * sizeof(struct slm_rope_traits);
    struct slm_model *model = slm_calloc(options->allocator, bytes);
    if (!model) {
        slm_unmap(mapping);
        return SLM_ENOMEM;
    }
    atomic_init(&model->references, 1);
    if (options->allocator) {
        model->hooks = *options->allocator;
        model->allocator = &model->hooks;
    }
    model->log = options->log;
    model->log_user = options->log_user;
    model->mapping = *mapping;
    /* What decides where evaluation writes is copied: the mapping shows what others write into the
     * file, and shapes must not change once they are checked. */
    model->own_traits = *file.traits;
    struct slm_layer_traits *layers = (void *)(model->layers + n_layers);
    struct slm_rope_traits *ropes = (void *)(layers + n_layers);
    memcpy(layers, file.layers, n_layers * sizeof *layers);
    memcpy(ropes, file.ropes, n_ropes * sizeof *ropes);
    file.traits = &model->own_traits;
    file.layers = layers;
    file.ropes = ropes;
    model->file = file;
    model->traits = file.traits;
    model->bytes = bytes;
    find_weights(model);
    rc = open_text(model);
    if (rc < 0) {
        destroy(model);
        return rc;
    }
    *out = model;
    return SLM_OK;
}

int slm_model_load(struct slm_model **out, struct slm_mapping *mapping,
                   const slm_model_options *options)
{
    struct slm_fenv env; /* floats are compared and read here too */
    slm_fenv_enter(&env);
    int rc = load(out, mapping, options);
    slm_fenv_leave(&env);
    return rc;
}

void slm_model_drop(struct slm_model *model)
{
    if (model && atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) == 1)
        destroy(model);
}
