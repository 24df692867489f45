/*
 * test_traits.c - every trait counts: changed alone, it is refused, or PyTorch's logits are missed.
 *
 * Each model of tests/data/golden is converted to f32. Then every field of every record of its
 * traits gets another value, one at a time, checksums put right; what comes out must differ by
 * more than test_models.c allows. What nothing reads (the trained context, numbers of a scaling
 * that is not used) is left out.
 */
#include "golden/golden.h"

#include "base/bits.h"
#include "format/format.h"

#include <dirent.h>

enum { N_MODELS = 50, LONGEST = 200 /* tokens: longer texts would take minutes */ };

static const double CLOSE = 1e-4; /* as in test_models.c */

/* A file's bytes, and where its traits are. */
struct file {
    uint8_t *data; /* aligned */
    size_t length;
    struct slm_section_entry *directory, *traits;
    struct slm_traits *model;
    struct slm_layer_traits *layers;
    struct slm_rope_traits *ropes;
};

static struct file open_file(const char *path)
{
    struct file f;
    char *bytes = read_data(path, &f.length);
    f.data = aligned_alloc(64, slm_round_up(f.length, 64));
    assert_non_null(f.data);
    memcpy(f.data, bytes, f.length);
    free(bytes);
    f.directory = (void *)(f.data + sizeof(struct slm_file_header));
    f.traits = f.directory;
    while (f.traits->kind != SLM_SECTION_TRAITS)
        f.traits++;
    f.model = (void *)(f.data + f.traits->offset);
    f.layers = (void *)(f.model + 1);
    f.ropes = (void *)(f.layers + f.model->n_layers);
    return f;
}

static void rehash(struct file *f)
{
    struct slm_file_header *header = (void *)f->data;
    f->traits->hash = slm_hash64(f->data + f->traits->offset, f->traits->length);
    header->directory_hash = 0;
    header->directory_hash =
        slm_hash64(f->data, sizeof *header + header->n_sections * sizeof *f->directory);
}

/* The largest difference from PyTorch, in two pieces; infinity when the file is refused. */
static double difference_of(const struct file *f, const struct golden *g)
{
    slm_model *model;
    slm_ctx *ctx = NULL;
    slm_seq *seq = NULL;
    if (slm_model_open_memory(&model, f->data, f->length, NULL) != SLM_OK)
        return (double)INFINITY;
    slm_ctx_options options = {.size = sizeof options,
                               .n_threads = 1,
                               .max_tokens = (int32_t)g->n,
                               .max_logits = (int32_t)g->n,
                               .kv_type = SLM_KV_F32};
    size_t cut = g->n * 3 / 5, skipped = g->n - g->n_rows;
    double largest = 0;
    bool good = slm_ctx_new(&ctx, model, &options) == SLM_OK && slm_seq_new(&seq, ctx) == SLM_OK;
    for (size_t at = 0; at < g->n && good; at = cut) {
        size_t n = at ? g->n - cut : cut;
        slm_span span = {sizeof span, seq, g->ids + at, n, n};
        good = slm_eval(ctx, &span, 1) == SLM_OK;
        for (size_t i = at > skipped ? 0 : skipped - at; good && i < n; i++)
            for (size_t k = 0; k < g->n_vocab; k++) {
                double by = fabs((double)slm_logits(ctx, 0, i)[k] -
                                 (double)g->logits[(at + i - skipped) * g->n_vocab + k]);
                largest = by <= largest ? largest : by == by ? by : (double)INFINITY;
            }
        if (at)
            break;
    }
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    slm_model_unref(model);
    return good ? largest : (double)INFINITY;
}

/* What is tried on a model. */
struct trial {
    struct file file;
    struct golden golden;
    const char *name;
    size_t tried, missed;
};

static void try_it(struct trial *t, const char *what, unsigned index)
{
    rehash(&t->file);
    double by = difference_of(&t->file, &t->golden);
    t->tried++;
    if (by > CLOSE)
        return;
    t->missed++;
    print_message("!! %-22s %s %u changes logits by %.2g\n", t->name, what, index, by);
}

static void try_u32(struct trial *t, uint32_t *field, uint32_t value, const char *what, unsigned i)
{
    uint32_t before = *field;
    *field = value;
    if (value != before)
        try_it(t, what, i);
    *field = before;
}

static void try_f32(struct trial *t, float *field, float value, const char *what, unsigned i)
{
    float before = *field;
    *field = value;
    try_it(t, what, i);
    *field = before;
}

static void try_bits(struct trial *t, uint32_t *parts, uint32_t all, const char *what, unsigned i)
{
    for (uint32_t bit = 1; bit && bit <= all; bit <<= 1)
        if (all & bit)
            try_u32(t, parts, *parts ^ bit, what, i);
}

static void try_model(struct trial *t)
{
    struct slm_traits *m = t->file.model;
    try_u32(t, &m->n_layers, m->n_layers - 1, "n_layers", 0);
    try_u32(t, &m->dim, m->dim + 1, "dim", 0);
    try_u32(t, &m->n_vocab, m->n_vocab + 1, "n_vocab", 0);
    try_u32(t, &m->norm, SLM_NORM_RMS + SLM_NORM_LAYER - m->norm, "norm", 0);
    try_f32(t, &m->norm_eps, m->norm_eps * 2, "norm_eps", 0);
    try_u32(t, &m->n_positions, m->n_positions + 1, "n_positions", 0);
    try_u32(t, &m->n_ropes, m->n_ropes ? 0 : 1, "n_ropes", 0);
    try_u32(t, &m->attention, 2, "attention", 0);
    for (uint32_t act = SLM_ACT_SILU; act < SLM_N_ACTIVATIONS; act++)
        try_u32(t, &m->activation, act, "activation", act);
    try_f32(t, &m->embedding_scale, m->embedding_scale * 1.05f, "embedding_scale", 0);
    try_f32(t, &m->residual_scale, m->residual_scale * 1.02f, "residual_scale", 0);
    try_f32(t, &m->logit_scale, m->logit_scale * 1.02f, "logit_scale", 0);
    try_f32(t, &m->logit_cap, m->logit_cap > 0 ? m->logit_cap * 1.05f : 9, "logit_cap", 0);
    /* But for what only embeddings of texts show. */
    try_bits(t, &m->parts, SLM_MODEL_PARTS & ~(uint32_t)SLM_MODEL_UNIT_LENGTH, "parts", 0);
}

static void try_layer(struct trial *t, unsigned i)
{
    struct slm_layer_traits *l = &t->file.layers[i], before = *l;
    uint32_t n_ropes = t->file.model->n_ropes;
    try_u32(t, &l->n_heads, l->n_heads * 2, "n_heads", i);
    try_u32(t, &l->n_kv_heads, l->n_kv_heads == 1 ? l->n_heads : 1, "n_kv_heads", i);
    try_u32(t, &l->head_dim, l->head_dim + 2, "head_dim", i);
    if (l->head_dim % 2 == 0) { /* the same shapes, cut into other heads */
        l->n_heads *= 2;
        l->n_kv_heads *= 2;
        l->head_dim /= 2;
        try_it(t, "heads of half the size", i);
        *l = before;
    }
    try_u32(t, &l->ffn_dim, l->ffn_dim + 1, "ffn_dim", i);
    try_u32(t, &l->window, l->window ? l->window + 1 : 20, "window", i);
    try_u32(t, &l->window, l->window ? 0 : 30, "window", i);
    for (uint32_t r = 0; r < n_ropes; r++)
        try_u32(t, &l->rope, r, "rope", i);
    try_u32(t, &l->rope, n_ropes ? SLM_NO_ROPE : 0, "rope", i);
    try_f32(t, &l->attention_scale, l->attention_scale * 1.05f, "attention_scale", i);
    try_f32(t, &l->attention_cap, l->attention_cap > 0 ? l->attention_cap * 1.05f : 2,
            "attention_cap", i);
    try_bits(t, &l->parts, SLM_LAYER_PARTS, "parts", i);
    if (l->n_experts) {
        try_u32(t, &l->n_experts, l->n_experts + 1, "n_experts", i);
        try_u32(t, &l->n_chosen, l->n_chosen + 1, "n_chosen", i);
        try_u32(t, &l->n_chosen, l->n_chosen - 1, "n_chosen", i);
        try_u32(t, &l->expert_dim, l->expert_dim + 1, "expert_dim", i);
        try_u32(t, &l->router, SLM_ROUTER_ALL + SLM_ROUTER_CHOSEN - l->router, "router", i);
    }
    try_f32(t, &l->gate_limit, l->gate_limit > 0 ? l->gate_limit * 1.05f : 0.5f, "gate_limit", i);
    const uint32_t norms = SLM_LAYER_HEAD_NORMS | SLM_LAYER_WIDE_NORMS;
    if (l->parts & norms && l->n_heads > 1)
        try_u32(t, &l->parts, l->parts ^ norms, "head or wide norms", i);
}

static void try_rope(struct trial *t, unsigned i)
{
    struct slm_rope_traits *r = &t->file.ropes[i];
    try_u32(t, &r->dims, r->dims - 2, "dims", i);
    try_f32(t, &r->magnitude, r->magnitude * 1.02f, "magnitude", i);
    if (r->scaling == SLM_ROPE_TABLE) {
        try_u32(t, &r->scaling, SLM_ROPE_DYNAMIC, "scaling", i);
        try_u32(t, &r->scaling, SLM_ROPE_LONG, "scaling", i);
        return;
    }
    try_u32(t, &r->scaling, SLM_ROPE_TABLE, "scaling", i);
    uint32_t length = (uint32_t)t->golden.n;
    try_u32(t, &r->original_context, r->original_context < length ? length : length / 2,
            "original_context", i);
    if (r->scaling != SLM_ROPE_DYNAMIC)
        return;
    try_f32(t, &r->base, r->base * 1.05f, "base", i);
    try_f32(t, &r->factor, r->factor * 1.05f, "factor", i);
}

static size_t vocab_of(const char *path)
{
    slm_model *model;
    slm_info info = {.size = sizeof info};
    assert_int_equal(slm_model_open(&model, path, NULL), SLM_OK);
    assert_int_equal(slm_model_info(model, &info), SLM_OK);
    slm_model_unref(model);
    return (size_t)info.n_vocab;
}

/* Returns how many changes passed unnoticed. */
static size_t check_model(const char *name)
{
    char folder[300], path[PATH_SIZE];
    struct trial t = {.name = name};
    snprintf(folder, sizeof folder, "golden/%s", name);
    data_path(path, folder, "");
    convert(path, model_path(), "f32");
    golden_load(&t.golden, folder, "ids.txt", "logits.f32", vocab_of(model_path()), 0);
    t.file = open_file(model_path());
    if (t.golden.n <= LONGEST) {
        assert_true(difference_of(&t.file, &t.golden) < CLOSE);
        try_model(&t);
        for (unsigned i = 0; i < t.file.model->n_layers; i++)
            try_layer(&t, i);
        for (unsigned i = 0; i < t.file.model->n_ropes; i++)
            try_rope(&t, i);
        print_message("%-22s %zu changes, %zu without effect\n", name, t.tried, t.missed);
    }
    golden_free(&t.golden);
    free(t.file.data);
    return t.missed;
}

static void every_trait_matters(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    data_path(path, "golden", "");
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort), models = 0;
    size_t missed = 0;
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            missed += check_model(names[i]->d_name);
            models++;
        }
        free(names[i]);
    }
    free(names);
    assert_true(models >= N_MODELS);
    assert_int_equal(missed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_trait_matters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
