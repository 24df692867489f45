/* model.c - the exported model functions: argument checks around src/model and src/format. */
#include "model/model.h"

#include "api/sized.h"

#include <string.h>

static int read_options(slm_model_options *own, slm_model **out, const slm_model_options *options)
{
    if (!out)
        return slm_fail(SLM_EINVAL, "slm_model_open: out is NULL");
    *out = NULL;
    int rc = slm_sized_read(own, sizeof *own, options, "slm_model_options");
    if (rc == SLM_OK && own->allocator && (!own->allocator->alloc || !own->allocator->free))
        rc = slm_fail(SLM_EINVAL, "slm_model_options.allocator lacks alloc or free");
    return rc;
}

int slm_model_open(slm_model **out, const char *path, const slm_model_options *options)
{
    slm_model_options own;
    int rc = read_options(&own, out, options);
    if (rc < 0)
        return rc;
    if (!path)
        return slm_fail(SLM_EINVAL, "slm_model_open: path is NULL");
    struct slm_mapping mapping;
    rc = slm_map_path(&mapping, path, own.copy != 0, own.allocator);
    if (rc < 0)
        return rc;
    rc = slm_model_load(out, &mapping, &own);
    return rc < 0 ? slm_fail_in(rc, "%s", path) : SLM_OK;
}

int slm_model_open_fd(slm_model **out, int fd, uint64_t offset, uint64_t length,
                      const slm_model_options *options)
{
    slm_model_options own;
    int rc = read_options(&own, out, options);
    if (rc < 0)
        return rc;
    struct slm_mapping mapping;
    rc = slm_map_fd(&mapping, fd, offset, length, own.copy != 0, "file descriptor", own.allocator);
    return rc < 0 ? rc : slm_model_load(out, &mapping, &own);
}

int slm_model_open_memory(slm_model **out, const void *data, size_t length,
                          const slm_model_options *options)
{
    slm_model_options own;
    int rc = read_options(&own, out, options);
    if (rc < 0)
        return rc;
    if (!data || length == 0)
        return slm_fail(SLM_EINVAL, "slm_model_open_memory: there are no bytes");
    struct slm_mapping mapping = {.data = data, .length = length};
    if (own.copy) {
        void *copy = slm_alloc(own.allocator, length);
        if (!copy)
            return SLM_ENOMEM;
        memcpy(copy, data, length);
        mapping = (struct slm_mapping){copy, length, copy, length, true, own.allocator};
    } else if ((uintptr_t)data % SLM_FILE_ALIGN != 0) {
        return slm_fail(SLM_EINVAL, "slm_model_open_memory: data must be aligned to %d bytes; align it, "
                        "or set slm_model_options.copy", SLM_FILE_ALIGN);
    }
    return slm_model_load(out, &mapping, &own);
}

slm_model *slm_model_ref(slm_model *model)
{
    if (model)
        atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return model;
}

void slm_model_unref(slm_model *model)
{
    slm_model_drop(model);
}

/* Without the rows that fill up experts' panels. */
static uint64_t tensor_parameters(const struct slm_file *file, const struct slm_tensor_entry *t)
{
    const struct slm_layer_traits *layer = t->layer < file->traits->n_layers ? &file->layers[t->layer] : NULL;
    uint32_t rows = layer ? slm_role_expert_rows(t->role, file->traits, layer) : 0;
    if (slm_role_of_rope(t->role) || t->role == SLM_ROLE_ATTN_SLOPES)
        return 0;
    if (rows == 0)
        return (uint64_t)t->rows * t->cols;
    return (uint64_t)layer->n_experts * rows * (t->rows > 1 ? t->cols : 1);
}

static uint64_t count_parameters(const struct slm_file *file)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < file->n_tensors; i++)
        n += tensor_parameters(file, &file->tensors[i]);
    return n;
}

int slm_model_info(const slm_model *model, slm_info *info)
{
    if (!model || !info)
        return slm_fail(SLM_EINVAL, "slm_model_info: %s is NULL", model ? "info" : "model");
    const struct slm_traits *t = model->traits;
    static const struct slm_layer_traits none;
    const struct slm_layer_traits *first = t->n_layers ? model->file.layers : &none;
    slm_info own = {
        .file_size = model->file.length,
        .n_params = count_parameters(&model->file),
        .n_layers = (int32_t)t->n_layers,
        .dim = (int32_t)t->dim,
        .n_heads = (int32_t)first->n_heads,
        .n_kv_heads = (int32_t)first->n_kv_heads,
        .head_dim = (int32_t)first->head_dim,
        .ffn_dim = (int32_t)first->ffn_dim,
        .n_vocab = (int32_t)t->n_vocab,
        .max_context = (int32_t)t->max_context,
        .bos = model->has_text ? slm_text_bos(&model->text) : SLM_TOKEN_NONE,
        .eos = model->has_text ? slm_text_eos(&model->text) : SLM_TOKEN_NONE,
        .has_tokenizer = model->has_text,
        .has_template = model->chat != NULL,
        .is_encoder = t->attention == SLM_ATTENTION_BOTH,
        .pooling = (int32_t)t->pooling,
        .unit_length = (t->parts & SLM_MODEL_UNIT_LENGTH) != 0,
        .n_scores = (int32_t)t->n_scores,
    };
    return slm_sized_write(info, &own, sizeof own, "slm_info");
}

const char *slm_model_metadata_key(const slm_model *model, size_t i)
{
    const char *key, *value;
    if (!model || i >= model->file.n_metadata ||
        !slm_file_metadata(&model->file, (uint32_t)i, &key, &value))
        return NULL;
    return key;
}

const char *slm_model_metadata(const slm_model *model, const char *wanted)
{
    const char *key, *value;
    for (uint32_t i = 0; model && wanted && slm_file_metadata(&model->file, i, &key, &value); i++)
        if (strcmp(key, wanted) == 0)
            return value;
    return NULL;
}

static int tensor_at(const slm_model *model, size_t i, const struct slm_tensor_entry **entry)
{
    if (!model || i >= model->file.n_tensors)
        return slm_fail(SLM_EINVAL, "there is no tensor %zu; the model has %u", i,
                        model ? model->file.n_tensors : 0);
    *entry = &model->file.tensors[i];
    return SLM_OK;
}

int slm_model_trait(const slm_model *model, size_t i, slm_trait *trait)
{
    slm_trait own = {.size = sizeof own};
    if (!model || !trait)
        return slm_fail(SLM_EINVAL, "slm_model_trait: %s is NULL", model ? "trait" : "model");
    if (!slm_traits_describe(&model->file, i, &own.name, own.value, sizeof own.value))
        return slm_fail(SLM_EINVAL, "slm_model_trait: there is no line %zu", i);
    return slm_sized_write(trait, &own, sizeof own, "slm_trait");
}

int slm_model_tensor(const slm_model *model, size_t i, slm_tensor_info *info)
{
    const struct slm_tensor_entry *entry;
    int rc = tensor_at(model, i, &entry);
    if (rc < 0)
        return rc;
    if (!info)
        return slm_fail(SLM_EINVAL, "slm_model_tensor: info is NULL");
    bool of_rope = slm_role_of_rope(entry->role);
    slm_tensor_info own = {
        .role = slm_role_info(entry->role)->name,
        .type = slm_quant(entry->type)->name,
        .layer = of_rope || entry->layer == SLM_NO_LAYER ? -1 : (int32_t)entry->layer,
        .rows = (int32_t)entry->rows,
        .cols = (int32_t)entry->cols,
        .offset = entry->offset,
        .length = entry->length,
        .rope = of_rope ? (int32_t)entry->layer : -1,
    };
    return slm_sized_write(info, &own, sizeof own, "slm_tensor_info");
}

int slm_model_tensor_row(const slm_model *model, size_t i, size_t row, float *out)
{
    const struct slm_tensor_entry *entry;
    int rc = tensor_at(model, i, &entry);
    if (rc < 0)
        return rc;
    if (!out || row >= entry->rows)
        return slm_fail(SLM_EINVAL, "tensor %zu: %s", i, out ? "it has no such row" : "out is NULL");
    const uint8_t *data = model->file.data + entry->offset;
    struct slm_fenv env;
    slm_fenv_enter(&env);
    if (slm_role_info(entry->role)->matrix)
        slm_quant_row(slm_quant(entry->type), data, row, entry->cols, out);
    else
        memcpy(out, data, entry->cols * sizeof *out);
    slm_fenv_leave(&env);
    return SLM_OK;
}

int slm_model_verify(const slm_model *model, slm_progress_fn progress, void *user)
{
    if (!model)
        return slm_fail(SLM_EINVAL, "slm_model_verify: model is NULL");
    return slm_file_verify(&model->file, progress, user);
}
