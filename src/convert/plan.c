/* plan.c - see plan.h. Walks the family's table of tensors, layer by layer. */
#include "convert/plan.h"

#include "format/format.h"
#include "source/quote.h"

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

/* A vector may be stored as [1][n] or [heads][head_dim], a matrix not as a vector. */
static bool fits(const struct slm_source_tensor *t, const struct slm_weight *w)
{
    uint64_t all = 1, rows = w->transposed ? w->cols : w->source_rows;
    uint32_t cols = w->transposed ? w->source_rows : slm_weight_source_cols(w);
    uint32_t stacked = slm_weight_stacked(w);
    for (uint32_t i = 0; i < t->n_dims; i++)
        if (__builtin_mul_overflow(all, t->shape[i], &all))
            return false;
    if (t->n_dims == 0)
        return false;
    if (!w->matrix) {
        bool heads = w->role == SLM_ROLE_ATTN_Q_NORM || w->role == SLM_ROLE_ATTN_K_NORM;
        return all == w->source_rows * (uint64_t)stacked &&
               (heads || t->shape[t->n_dims - 1] == w->source_rows);
    }
    return t->n_dims >= 2 && t->shape[t->n_dims - 1] == cols && all == rows * cols * stacked &&
           (stacked == 1 || (t->n_dims == 3 && t->shape[0] == stacked));
}

static int check_source(const struct slm_weight *w, const struct slm_source_tensor *t,
                        const char *name)
{
    const struct slm_source_type *type = slm_source_type(t->type);
    char of[32] = "";
    if (slm_weight_stacked(w) > 1)
        snprintf(of, sizeof of, "%u x ", (unsigned)w->n_experts);
    if (!fits(t, w)) {
        uint32_t rows = w->source_rows, cols = slm_weight_source_cols(w);
        if (w->matrix)
            return slm_fail(SLM_EFORMAT,
                            "tensor '%s' is %s, but the configuration makes it %s%u x %u", name,
                            shape_text(t).text, of, (unsigned)(w->transposed ? cols : rows),
                            (unsigned)(w->transposed ? rows : cols));
        return slm_fail(SLM_EFORMAT, "tensor '%s' is %s, but the configuration makes it %s%u", name,
                        shape_text(t).text, of, (unsigned)rows);
    }
    if (!type->decode)
        return slm_fail(SLM_EUNSUPPORTED, "tensor '%s' has the type %s; supported: %s", name,
                        type->name, slm_source_types_supported());
    if (w->transposed && type->values != 1)
        return slm_fail(SLM_EUNSUPPORTED, "tensor '%s' has the type %s and must be transposed",
                        name, type->name);
    return SLM_OK;
}

uint64_t slm_weight_source_bytes(const struct slm_weight *w)
{
    if (!w->source)
        return 0;
    const struct slm_source_type *type = slm_weight_source_type(w);
    uint64_t pieces = w->pieces ? w->n_pieces : 1;
    uint64_t elements =
        w->matrix ? (uint64_t)w->rows * slm_weight_source_cols(w) : w->source_rows * pieces;
    if (w->n_experts)
        elements = (uint64_t)w->n_experts * w->expert_rows * (w->matrix ? w->cols : 1);
    return elements / type->values * type->bytes;
}

/* Vectors are f32 in the format; the head's options reach the embedding as well, which may be the
 * head itself. Positions and types of tokens are added, not multiplied with: they are small, and stay
 * exact; so do the score head, and routers, which would choose other experts. */
static uint32_t type_of(const struct slm_weight *w, const struct slm_plan_types *types)
{
    if (!w->matrix)
        return SLM_TYPE_F32;
    if (w->role == SLM_ROLE_POSITION_EMBEDDING || w->role == SLM_ROLE_TOKEN_TYPE_EMBEDDING ||
        w->role == SLM_ROLE_SCORE_DENSE || w->role == SLM_ROLE_SCORE || w->role == SLM_ROLE_ROUTER ||
        w->role == SLM_ROLE_SHARED_GATE)
        return SLM_TYPE_F32;
    bool head = w->role == SLM_ROLE_EMBEDDING || w->role == SLM_ROLE_HEAD;
    int32_t wanted = head ? types->head : types->type;
    return wanted >= 0 ? (uint32_t)wanted : slm_weight_source_type(w)->keep;
}

/* Where a role stands in a fused matrix: of q, k and v, or of gate and up. */
static uint32_t place_of(uint32_t role)
{
    switch (role) {
    case SLM_ROLE_ATTN_K:
    case SLM_ROLE_ATTN_K_BIAS:
    case SLM_ROLE_FFN_UP:
    case SLM_ROLE_FFN_UP_BIAS:
    case SLM_ROLE_EXPERTS_UP:
    case SLM_ROLE_EXPERTS_UP_BIAS: return 1;
    case SLM_ROLE_ATTN_V:
    case SLM_ROLE_ATTN_V_BIAS: return 2;
    }
    return 0;
}

/* q, k and v in one matrix: first all heads of q, or group by group those that belong together. */
static void map_fused_heads(struct slm_weight *w, const struct slm_layer_traits *l, bool grouped)
{
    uint32_t groups = grouped ? l->n_kv_heads : 1, place = place_of(w->role);
    uint32_t q = l->n_heads / groups, kv = l->n_kv_heads / groups; /* heads in a group */
    w->head_dim = l->head_dim;
    w->source_rows = (l->n_heads + 2 * l->n_kv_heads) * l->head_dim;
    w->run = place == 0 ? q : kv;
    w->base = place == 0 ? 0 : q + (place - 1) * kv;
    w->stride = q + 2 * kv;
}

/* Gate and up in one matrix: one below the other, or row by row in turns. */
static void map_fused_gate(struct slm_weight *w, bool turns)
{
    w->first_row = place_of(w->role) * (turns ? 1 : w->source_rows);
    w->row_step = turns ? 2 : 1;
    w->source_rows *= 2;
}

static bool is_of_heads(uint32_t role)
{
    return role == SLM_ROLE_ATTN_Q || role == SLM_ROLE_ATTN_Q_BIAS || role == SLM_ROLE_ATTN_K ||
           role == SLM_ROLE_ATTN_K_BIAS || role == SLM_ROLE_ATTN_V || role == SLM_ROLE_ATTN_V_BIAS;
}

/* Which rows of the source, and how many it has. */
static void map_rows(struct slm_weight *w, const struct slm_config *config, uint32_t how)
{
    w->source_rows = w->n_experts ? w->expert_rows : w->matrix ? w->rows : w->cols;
    w->row_step = 1;
    if (how & SLM_HOW_OFFSET_2) {
        w->first_row = 2;
        w->source_rows += 2;
    }
    if (w->layer == SLM_NO_LAYER)
        return;
    const struct slm_layer_traits *l = &config->layers[w->layer];
    w->run = l->n_heads; /* all heads one after another */
    if (how & SLM_HOW_ROTATES && config->neighbours && config->n_ropes) {
        w->head_dim = l->head_dim; /* in layers that don't rotate, too: it changes nothing there */
        w->rotating = config->rope_traits[0].dims;
    }
    if (how & (SLM_HOW_BY_HEAD | SLM_HOW_REPEATED)) { /* a tensor has one head's */
        w->head_dim = w->source_rows = l->head_dim;
        w->run = how & SLM_HOW_REPEATED ? 1 : l->n_heads; /* every head is the source's first */
    } else if (how & SLM_HOW_FUSED && is_of_heads(w->role)) {
        map_fused_heads(w, l, how & SLM_HOW_GROUPED);
    } else if (how & SLM_HOW_FUSED) {
        map_fused_gate(w, how & SLM_HOW_TURNS);
    }
}

/* Take a tensor of that name, which must be what the weight needs. */
static int take(const struct slm_weight *w, struct slm_import *import, const char *name,
                const struct slm_source_tensor **source)
{
    *source = slm_source_take(&import->source, name);
    if (!*source)
        return slm_fail(SLM_EFORMAT, "tensor '%s' is missing (%s, %u x %u)", name,
                        slm_role_info(w->role)->name,
                        (unsigned)(w->n_experts ? w->source_rows : w->rows), (unsigned)w->cols);
    return check_source(w, *source, name);
}

/* A tensor for each head or expert: "...norms.0.weight" and so on. All have one type. */
static int take_pieces(struct slm_weight *w, struct slm_import *import,
                       const struct slm_family_tensor *tensor, bool bias)
{
    uint32_t n = w->n_experts ? w->n_experts : w->cols / w->head_dim;
    w->pieces = slm_calloc(import->allocator, n * sizeof *w->pieces);
    if (!w->pieces)
        return SLM_ENOMEM;
    w->n_pieces = n;
    for (uint32_t i = 0; i < n; i++) {
        char own[SLM_FAMILY_NAME];
        slm_family_name(&import->names, tensor, w->layer, i, bias, own);
        int err = take(w, import, own, &w->pieces[i]);
        if (!err && w->pieces[i]->type != w->pieces[0]->type)
            err = slm_fail(SLM_EUNSUPPORTED, "tensor '%s' has another type than the first of its kind",
                           own);
        if (err)
            return err;
    }
    w->source = w->pieces[0];
    return SLM_OK;
}

/* Whether t is [a][b][c] bytes, or [a][b][c][d]; d 0: three sides. */
static bool is_bytes(const struct slm_source_tensor *t, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    return t && t->type == SLM_SOURCE_U8 && t->n_dims == (d ? 4 : 3) && t->shape[0] == a &&
           t->shape[1] == b && t->shape[2] == c && (!d || t->shape[3] == d);
}

/* Matrices in MXFP4, rows in our order: "NAME_blocks" and "NAME_scales". 1, 0: there are none, or an
 * error. */
static int take_blocks(struct slm_weight *w, struct slm_import *import, const char *name)
{
    char own[SLM_FAMILY_NAME + 8];
    snprintf(own, sizeof own, "%s_blocks", name);
    const struct slm_source_tensor *blocks = slm_source_take(&import->source, own);
    if (!blocks)
        return 0;
    snprintf(own, sizeof own, "%s_scales", name);
    w->scales = slm_source_take(&import->source, own);
    w->source = blocks;
    w->transposed = false;
    if (!w->scales)
        return slm_fail(SLM_EFORMAT, "tensor '%s' is missing", own);
    if (w->cols % 32 || !is_bytes(blocks, w->n_experts, w->source_rows, w->cols / 32, 16) ||
        !is_bytes(w->scales, w->n_experts, w->source_rows, w->cols / 32, 0))
        return slm_fail(SLM_EFORMAT, "tensors '%s_blocks' and '%s': the configuration makes them bytes, "
                        "%u x %u x %u x 16 and without the 16", name, own, (unsigned)w->n_experts,
                        (unsigned)w->source_rows, (unsigned)w->cols / 32);
    return 1;
}

/* The second matrix of a product. */
static int take_factor(struct slm_weight *w, struct slm_import *import,
                       const struct slm_family_tensor *tensor)
{
    char name[SLM_FAMILY_NAME];
    uint32_t n = w->factor_rows;
    struct slm_weight factor = {.role = w->role,
                                .matrix = true,
                                .source_rows = w->turned ? w->cols : n,
                                .rows = w->turned ? w->cols : n,
                                .cols = w->turned ? n : w->cols};
    slm_family_factor(&import->names, tensor, name);
    return take(&factor, import, name, &w->factor);
}

/* The row of the table that names a tensor: where the head is a copy, the embedding's. */
static const struct slm_family_tensor *named_by(const struct slm_config *config,
                                                const struct slm_family_tensor *tensor, bool bias)
{
    if (tensor->role != SLM_ROLE_HEAD || bias || !config->head_copies)
        return tensor;
    return slm_family_tensor_of(config->family, SLM_ROLE_EMBEDDING);
}

/* The next line of the plan: a tensor of the family's table, or its bias, in one layer. */
static int add(struct slm_plan *plan, struct slm_import *import,
               const struct slm_family_tensor *tensor, bool bias, uint32_t layer,
               const struct slm_plan_types *types)
{
    const struct slm_config *config = &import->config;
    uint32_t how = slm_family_how(&import->names, tensor);
    uint32_t role = bias ? slm_role_info(tensor->role)->bias : tensor->role;
    struct slm_weight *w = &plan->weights[plan->n++];
    *w = (struct slm_weight){.role = role,
                             .layer = layer,
                             .type = SLM_TYPE_F32,
                             .matrix = slm_role_info(role)->matrix,
                             .plus_one = how & SLM_HOW_PLUS_ONE && !bias,
                             .computed = how & SLM_HOW_ONES ? config->ones : NULL};
    if (!slm_role_shape(role, layer, &config->traits, config->layers, config->rope_traits, &w->rows,
                        &w->cols))
        return slm_fail(SLM_EFORMAT, "the family's tensor %s is not in its traits",
                        slm_role_info(role)->name);
    if (w->computed)
        return SLM_OK;
    w->transposed = how & SLM_HOW_TRANSPOSED && w->matrix;
    w->factor_rows = how & SLM_HOW_PRODUCT ? config->embedding_dim : 0;
    w->turned = how & SLM_HOW_TURNED;
    if (layer != SLM_NO_LAYER)
        w->expert_rows = slm_role_expert_rows(role, &config->traits, &config->layers[layer]);
    w->n_experts = w->expert_rows ? config->layers[layer].n_experts : 0;
    map_rows(w, config, how);
    char name[SLM_FAMILY_NAME];
    slm_family_name(&import->names, named_by(config, tensor, bias), layer, 0, bias, name);
    int err = w->n_experts && w->matrix ? take_blocks(w, import, name) : 0;
    if (err == 1)
        err = SLM_OK;
    else if (!err)
        err = slm_family_pieces(&import->names, tensor) ? take_pieces(w, import, tensor, bias)
                                                        : take(w, import, name, &w->source);
    if (!err && w->factor_rows)
        err = take_factor(w, import, tensor);
    if (err)
        return err;
    w->type = type_of(w, types);
    plan->source_bytes += slm_weight_source_bytes(w);
    return SLM_OK;
}

/* What no source has. */
static void add_computed(struct slm_plan *plan, const struct slm_config *config, uint32_t role,
                         uint32_t layer, const float *values)
{
    struct slm_weight *w = &plan->weights[plan->n++];
    *w =
        (struct slm_weight){.role = role, .layer = layer, .type = SLM_TYPE_F32, .computed = values};
    slm_role_shape(role, layer, &config->traits, config->layers, config->rope_traits, &w->rows,
                   &w->cols);
}

/* All tensors of one layer, or (SLM_NO_LAYER) those of the model before or after the layers. */
static int add_all(struct slm_plan *plan, struct slm_import *import, uint32_t layer, bool before,
                   const struct slm_plan_types *types)
{
    const struct slm_config *config = &import->config;
    const struct slm_family_tensor *t = config->family->tensors;
    for (; t->role; t++) {
        bool per_layer = slm_role_info(t->role)->per_layer;
        bool first = t->role == SLM_ROLE_EMBEDDING || t->role == SLM_ROLE_EMBEDDING_NORM ||
                     t->role == SLM_ROLE_POSITION_EMBEDDING ||
                     t->role == SLM_ROLE_TOKEN_TYPE_EMBEDDING;
        if (per_layer != (layer != SLM_NO_LAYER) || (!per_layer && before != first) ||
            (t->part && !(slm_config_parts(config, layer) & t->part)) ||
            (t->how & SLM_HOW_NOT_FIRST && layer == 0))
            continue;
        int err = add(plan, import, t, false, layer, types);
        if (!err && t->bias & slm_config_parts(config, layer) && !(t->how & SLM_HOW_ONES))
            err = add(plan, import, t, true, layer, types);
        if (err)
            return err;
    }
    if (layer != SLM_NO_LAYER && config->slopes)
        add_computed(plan, config, SLM_ROLE_ATTN_SLOPES, layer, config->slopes);
    return SLM_OK;
}

/* Nothing may be left over: it would be a part of the model that we don't compute. */
static int check_unused(struct slm_import *import)
{
    /* With a shared head the copy of the embedding that some files have is not read. */
    const struct slm_family *family = import->config.family;
    const struct slm_family_tensor *head = slm_family_tensor_of(family, SLM_ROLE_HEAD);
    if (head && !(import->config.parts & SLM_PART_HEAD)) {
        char name[SLM_FAMILY_NAME];
        slm_family_name(&import->names, head, 0, 0, false, name);
        slm_source_take(&import->source, name);
    }
    const struct slm_source_tensor *extra = slm_source_unused(&import->source, family);
    if (!extra)
        return SLM_OK;
    return slm_fail(
        SLM_EUNSUPPORTED, "tensor %s (%s) is not part of a '%s' model with this configuration",
        slm_quote(extra->name, extra->name_length).text, shape_text(extra).text, family->name);
}

static const struct slm_source_tensor *find_role(struct slm_import *import, uint32_t role)
{
    char name[SLM_FAMILY_NAME];
    const struct slm_family_tensor *t = slm_family_tensor_of(import->config.family, role);
    if (!t)
        return NULL;
    slm_family_name(&import->names, t, 0, 0, false, name);
    return slm_source_find(&import->source, name);
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
    if (import->log && !import->config.head_not_said)
        import->log(
            import->log_user, SLM_LOG_WARNING,
            "the configuration says that head and embedding are shared, but the file has a head "
            "of its own: it is kept");
}

/* The bias of a head that is shared must go somewhere: such a head is stored once more. */
static void copy_head(struct slm_import *import)
{
    struct slm_config *config = &import->config;
    const struct slm_family_tensor *head = slm_family_tensor_of(config->family, SLM_ROLE_HEAD);
    char name[SLM_FAMILY_NAME];
    if (!head || config->parts & SLM_PART_HEAD || !(config->parts & SLM_PART_HEAD_BIAS) ||
        config->headless)
        return;
    slm_family_name(&import->names, head, 0, 0, true, name);
    if (slm_source_find(&import->source, name))
        config->parts |= SLM_PART_HEAD;
    config->head_copies = !find_role(import, SLM_ROLE_HEAD);
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
    copy_head(import);
    /* 1,024 layers and a few dozen rows of the table: nothing overflows. */
    plan->allocator = import->allocator;
    const struct slm_config *config = &import->config;
    plan->capacity = 2 * SLM_CONFIG_ROPES +
                     (1 + 2 * count_tensors(config->family)) * ((size_t)config->n_layers + 1);
    plan->weights = slm_calloc(plan->allocator, plan->capacity * sizeof *plan->weights);
    if (!plan->weights)
        return SLM_ENOMEM;
    for (uint32_t i = 0; i < config->n_ropes; i++) {
        add_computed(plan, config, SLM_ROLE_ROPE_FREQUENCIES, i, config->frequencies[i]);
        if (config->long_frequencies[i])
            add_computed(plan, config, SLM_ROLE_ROPE_LONG_FREQUENCIES, i,
                         config->long_frequencies[i]);
    }
    int err = add_all(plan, import, SLM_NO_LAYER, true, types);
    for (uint32_t layer = 0; layer < import->config.n_layers && !err; layer++)
        err = add_all(plan, import, layer, false, types);
    if (!err)
        err = add_all(plan, import, SLM_NO_LAYER, false, types);
    return err ? err : check_unused(import);
}

void slm_plan_free(struct slm_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct slm_weight *w = &plan->weights[i];
        slm_free(plan->allocator, w->pieces, w->n_pieces * sizeof *w->pieces);
    }
    slm_free(plan->allocator, plan->weights, plan->capacity * sizeof *plan->weights);
    plan->weights = NULL;
}
