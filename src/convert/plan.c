/* plan.c - see plan.h. Walks the family's table of tensors, layer by layer. */
#include "convert/plan.h"

#include "convert/quote.h"
#include "format/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* "640 x 576", or "576" for a vector. */
struct shape_text {
    char text[100];
};

static struct shape_text shape_text(const struct slm_source_tensor *t)
{
    struct shape_text s = {"one number"};
    int at = 0;
    for (uint32_t i = 0; i < t->n_dims; i++)
        at += snprintf(s.text + at, sizeof s.text - (size_t)at, "%s%" PRIu64, i ? " x " : "",
                       t->shape[i]);
    return s;
}

/* A vector may be stored as [1][n], a matrix not as a vector. */
static bool fits(const struct slm_source_tensor *t, uint32_t rows, uint32_t cols, bool matrix)
{
    uint32_t last = t->n_dims - 1;
    if (t->n_dims == 0 || (matrix && t->n_dims < 2) || t->shape[last] != cols)
        return false;
    uint64_t others = 1;
    for (uint32_t i = 0; i < last; i++)
        if (__builtin_mul_overflow(others, t->shape[i], &others))
            return false;
    return others == rows;
}

static int check_source(const struct slm_weight *w, const char *name)
{
    const struct slm_source_tensor *t = w->source;
    const struct slm_source_type *type = slm_source_type(t->type);
    if (!fits(t, w->rows, w->cols, w->matrix)) {
        if (w->matrix)
            return slm_fail(SLM_EFORMAT,
                            "tensor '%s' is %s, but the configuration makes it %u x %u", name,
                            shape_text(t).text, (unsigned)w->rows, (unsigned)w->cols);
        return slm_fail(SLM_EFORMAT, "tensor '%s' is %s, but the configuration makes it %u", name,
                        shape_text(t).text, (unsigned)w->cols);
    }
    if (!type->decode)
        return slm_fail(SLM_EUNSUPPORTED, "tensor '%s' has the type %s; supported: %s", name,
                        type->name, slm_source_types_supported());
    return SLM_OK;
}

/* Vectors are f32 in the format; the head's options reach the embedding as well, which may be the
 * head itself. */
static uint32_t type_of(const struct slm_weight *w, const struct slm_plan_types *types)
{
    if (!w->matrix)
        return SLM_TYPE_F32;
    bool head = w->role == SLM_ROLE_EMBEDDING || w->role == SLM_ROLE_HEAD;
    int32_t wanted = head ? types->head : types->type;
    return wanted >= 0 ? (uint32_t)wanted : slm_source_type(w->source->type)->keep;
}

/* The next line of the plan: a tensor of the family's table, in one layer. */
static int add(struct slm_plan *plan, struct slm_import *import,
               const struct slm_family_tensor *tensor, uint32_t layer,
               const struct slm_plan_types *types)
{
    const struct slm_config *config = &import->config;
    struct slm_weight *w = &plan->weights[plan->n++];
    *w = (struct slm_weight){
        .role = tensor->role, .layer = layer, .matrix = slm_role_info(tensor->role)->matrix};
    slm_role_shape(w->role, layer, &config->traits, config->layers, &config->rope_traits, &w->rows,
                   &w->cols);
    if (tensor->rotates && config->neighbours) {
        w->head_dim = config->layers[layer].head_dim;
        w->rotating = config->rope_traits.dims;
    }
    char name[SLM_FAMILY_NAME];
    slm_family_name(import->gguf_names ? tensor->gguf : tensor->hf, layer, name);
    w->source = slm_source_take(&import->source, name);
    if (!w->source)
        return slm_fail(SLM_EFORMAT, "tensor '%s' is missing (%s, %u x %u)", name,
                        slm_role_info(w->role)->name, (unsigned)w->rows, (unsigned)w->cols);
    int err = check_source(w, name);
    if (err)
        return err;
    w->type = type_of(w, types);
    plan->source_bytes += w->source->length;
    return SLM_OK;
}

/* All tensors of one layer, or (SLM_NO_LAYER) those of the model before or after the layers. */
static int add_all(struct slm_plan *plan, struct slm_import *import, uint32_t layer, bool embedding,
                   const struct slm_plan_types *types)
{
    const struct slm_family_tensor *t = import->config.family->tensors;
    for (; t->role; t++) {
        bool per_layer = slm_role_info(t->role)->per_layer;
        if (per_layer != (layer != SLM_NO_LAYER) ||
            (!per_layer && embedding != (t->role == SLM_ROLE_EMBEDDING)) ||
            (t->part && !(import->config.parts & t->part)))
            continue;
        int err = add(plan, import, t, layer, types);
        if (err)
            return err;
    }
    return SLM_OK;
}

/* Nothing may be left over: it would be a part of the model that we don't compute. */
static int check_unused(struct slm_import *import)
{
    /* With a shared head the copy of the embedding that some files have is not read. */
    if (!(import->config.parts & SLM_PART_HEAD))
        for (const struct slm_family_tensor *t = import->config.family->tensors; t->role; t++)
            if (t->part == SLM_PART_HEAD)
                slm_source_take(&import->source, import->gguf_names ? t->gguf : t->hf);
    const struct slm_source_tensor *extra = slm_source_unused(&import->source);
    if (!extra)
        return SLM_OK;
    return slm_fail(SLM_EUNSUPPORTED,
                    "tensor %s (%s) is not part of a '%s' model with this configuration",
                    slm_quote(extra->name, extra->name_length).text, shape_text(extra).text,
                    import->config.family->name);
}

static const struct slm_source_tensor *find_role(struct slm_import *import, uint32_t role)
{
    for (const struct slm_family_tensor *t = import->config.family->tensors; t->role; t++)
        if (t->role == role)
            return slm_source_find(&import->source, import->gguf_names ? t->gguf : t->hf);
    return NULL;
}

/* A configuration may call the head shared while the file has one that is not the embedding: the
 * weights decide then, as in transformers since version 5. */
static void keep_own_head(struct slm_import *import)
{
    const struct slm_source_tensor *head = find_role(import, SLM_ROLE_HEAD);
    const struct slm_source_tensor *embedding = find_role(import, SLM_ROLE_EMBEDDING);
    if ((import->config.parts & SLM_PART_HEAD) || !head || !embedding)
        return;
    if (head->type == embedding->type && head->length == embedding->length &&
        memcmp(head->data, embedding->data, head->length) == 0)
        return;
    import->config.parts |= SLM_PART_HEAD;
    if (import->log)
        import->log(import->log_user, SLM_LOG_WARNING,
                    "the configuration says that head and embedding are shared, but the file has a head "
                    "of its own: it is kept");
}

static size_t count_tensors(const struct slm_family *family)
{
    size_t n = 0;
    while (family->tensors[n].role)
        n++;
    return n;
}

int slm_plan_make(struct slm_plan *plan, struct slm_import *import,
                  const struct slm_plan_types *types)
{
    keep_own_head(import);
    /* 1,024 layers and a few dozen rows of the table: nothing overflows. */
    plan->allocator = import->allocator;
    plan->capacity =
        1 + count_tensors(import->config.family) * ((size_t)import->config.n_layers + 1);
    plan->weights = slm_calloc(plan->allocator, plan->capacity * sizeof *plan->weights);
    if (!plan->weights)
        return SLM_ENOMEM;
    plan->weights[plan->n++] = (struct slm_weight){.role = SLM_ROLE_ROPE_FREQUENCIES,
                                                   .layer = 0,
                                                   .type = SLM_TYPE_F32,
                                                   .rows = 1,
                                                   .cols = import->config.rope_traits.dims / 2};
    int err = add_all(plan, import, SLM_NO_LAYER, true, types);
    for (uint32_t layer = 0; layer < import->config.n_layers && !err; layer++)
        err = add_all(plan, import, layer, false, types);
    if (!err)
        err = add_all(plan, import, SLM_NO_LAYER, false, types);
    return err ? err : check_unused(import);
}

void slm_plan_free(struct slm_plan *plan)
{
    slm_free(plan->allocator, plan->weights, plan->capacity * sizeof *plan->weights);
    plan->weights = NULL;
}
