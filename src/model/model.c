/*
 * model.c - from a validated directory to weights by role.
 *
 * slm_file_parse() has checked that every tensor that the traits demand is there in its shape, so
 * this only follows pointers. It touches the directory and the vocabulary's header, no weights:
 * that is why opening takes milliseconds whatever the size.
 */
#include "model/model.h"

#include "base/limits.h"

#include <string.h>

static const float *vector(const struct slm_file *file, uint32_t role, uint32_t layer)
{
    const struct slm_tensor_entry *entry = role ? slm_file_tensor(file, role, layer) : NULL;
    return entry ? (const float *)(const void *)(file->data + entry->offset) : NULL;
}

static struct slm_norm_weights norm(const struct slm_file *file, uint32_t role, uint32_t layer)
{
    return (struct slm_norm_weights){vector(file, role, layer),
                             vector(file, slm_role_info(role)->bias, layer)};
}

static struct slm_matrix matrix(const struct slm_file *file, uint32_t role, uint32_t layer)
{
    const struct slm_tensor_entry *entry = slm_file_tensor(file, role, layer);
    if (!entry)
        return (struct slm_matrix){0};
    return (struct slm_matrix){
        .panels = file->data + entry->offset,
        .bias = vector(file, slm_role_info(role)->bias, layer),
        .quant = slm_quant(entry->type),
        .rows = entry->rows,
        .cols = entry->cols,
        .n_panels = (entry->rows + SLM_PANEL_ROWS - 1) / SLM_PANEL_ROWS,
        .n_tiles = (entry->cols + SLM_TILE_COLS - 1) / SLM_TILE_COLS,
    };
}

static void find_weights(struct slm_model *model)
{
    const struct slm_file *file = &model->file;
    model->embedding = matrix(file, SLM_ROLE_EMBEDDING, SLM_NO_LAYER);
    model->positions = matrix(file, SLM_ROLE_POSITION_EMBEDDING, SLM_NO_LAYER);
    model->embedding_norm = norm(file, SLM_ROLE_EMBEDDING_NORM, SLM_NO_LAYER);
    model->head = matrix(file, SLM_ROLE_HEAD, SLM_NO_LAYER);
    if (!model->head.panels) { /* tied */
        model->head = model->embedding;
        model->head.bias = vector(file, SLM_ROLE_HEAD_BIAS, SLM_NO_LAYER);
    }
    model->final_norm = norm(file, SLM_ROLE_FINAL_NORM, SLM_NO_LAYER);
    for (uint32_t i = 0; i < file->traits->n_ropes; i++) {
        model->rope_frequencies[i] = vector(file, SLM_ROLE_ROPE_FREQUENCIES, i);
        model->rope_long_frequencies[i] = vector(file, SLM_ROLE_ROPE_LONG_FREQUENCIES, i);
    }

    for (uint32_t i = 0; i < file->traits->n_layers; i++) {
        struct slm_layer *layer = &model->layers[i];
        layer->traits = &file->layers[i];
        layer->attn_norm = norm(file, SLM_ROLE_ATTN_NORM, i);
        layer->q = matrix(file, SLM_ROLE_ATTN_Q, i);
        layer->k = matrix(file, SLM_ROLE_ATTN_K, i);
        layer->v = matrix(file, SLM_ROLE_ATTN_V, i);
        layer->q_norm = norm(file, SLM_ROLE_ATTN_Q_NORM, i);
        layer->k_norm = norm(file, SLM_ROLE_ATTN_K_NORM, i);
        layer->slopes = vector(file, SLM_ROLE_ATTN_SLOPES, i);
        layer->out = matrix(file, SLM_ROLE_ATTN_OUT, i);
        layer->attn_post_norm = norm(file, SLM_ROLE_ATTN_POST_NORM, i);
        layer->ffn_norm = norm(file, SLM_ROLE_FFN_NORM, i);
        layer->gate = matrix(file, SLM_ROLE_FFN_GATE, i);
        layer->up = matrix(file, SLM_ROLE_FFN_UP, i);
        layer->down = matrix(file, SLM_ROLE_FFN_DOWN, i);
        layer->ffn_post_norm = norm(file, SLM_ROLE_FFN_POST_NORM, i);
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
