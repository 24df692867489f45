/*
 * write_logits.c - every tiny model with a text and what the library computes, for test_numerics.py:
 * FOLDER/NAME.slm, NAME.ids (int32), NAME.f16 and NAME.f32 (rows of f32 logits, by KV type); of those
 * for embeddings NAME.pooled (the text's embedding, then its scores, in f32).
 */
#include "support/evaluate.h"

#include <stdio.h>
#include <stdlib.h>

/* Small enough for two spans of positions in Python. */
static const struct tiny_model longest = {
    .name = "spans",
    .dim = 16,
    .n_vocab = 24,
    .n_layers = 2,
    .layers = {{.n_heads = 2, .n_kv_heads = 1, .head_dim = 4, .ffn_dim = 20},
               {.n_heads = 2, .n_kv_heads = 2, .head_dim = 3, .ffn_dim = 20, .window = 260}},
    .n_ropes = 1,
    .ropes = {{.dims = 2, .scaling = SLM_ROPE_TABLE}},
    .types = {SLM_TYPE_Q8, SLM_TYPE_F32},
    .n_types = 2,
};

static int write_file(const char *folder, const char *name, const char *ending, const void *data,
                      size_t n)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, ending);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0) {
        perror(path);
        return 1;
    }
    return 0;
}

static int write_model(const char *folder, const struct tiny_model *m, size_t n)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s.slm", folder, m->name);
    slm_model *model = NULL;
    if (tiny_model_write(m, path, NULL, NULL, 0) != 0 || slm_model_open(&model, path, NULL) != 0) {
        fprintf(stderr, "%s: %s\n", path, slm_last_error());
        return 1;
    }
    slm_token *text = make_text(m, n, 31);
    static const char *const kv_names[] = {"f16", "f32", "q8"}; /* by SLM_KV_ */
    int rc = write_file(folder, m->name, "ids", text, n * sizeof *text);
    for (int32_t kv = SLM_KV_F16; kv <= SLM_KV_Q8 && rc == 0; kv++) {
        float *logits = text_logits(model, &(struct way){.kv_type = kv, .threads = 2}, text, n);
        rc = write_file(folder, m->name, kv_names[kv], logits, n * m->n_vocab * sizeof *logits);
        free(logits);
    }
    free(text);
    slm_model_unref(model);
    return rc;
}

/* The first tokens are one text and the rest another. */
static int write_embedder(const char *folder, const struct tiny_model *m, size_t n, size_t n_first)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s.slm", folder, m->name);
    slm_model *model = NULL;
    if (tiny_model_write(m, path, NULL, NULL, 0) != 0 || slm_model_open(&model, path, NULL) != 0) {
        fprintf(stderr, "%s: %s\n", path, slm_last_error());
        return 1;
    }
    slm_token *text = make_text(m, n, 32);
    slm_ctx *ctx = make_context(model, &(struct way){.threads = 2}, n, 1);
    slm_input input = {.size = sizeof input, .tokens = text, .n_tokens = n, .n_first = n_first};
    float *out = calloc(m->dim + m->n_scores, sizeof *out);
    int rc = slm_embed(ctx, &input, 1, NULL, out, 1) != 1 ||
             slm_score(ctx, &input, 1, NULL, out + m->dim, 1) != 1;
    rc = rc || write_file(folder, m->name, "ids", text, n * sizeof *text) ||
         write_file(folder, m->name, "pooled", out, (m->dim + m->n_scores) * sizeof *out);
    free(out);
    free(text);
    slm_ctx_free(ctx);
    slm_model_unref(model);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: write_logits FOLDER\n");
        return 2;
    }
    int rc = write_model(argv[1], &longest, 290);
    for (const struct tiny_model *m = tiny_models; m->name && rc == 0; m++) /* past position 100 */
        rc = write_model(argv[1], m, m->ropes[0].scaling != SLM_ROPE_TABLE ? 106 : 20);
    for (const struct tiny_model *m = tiny_embedders; m->name && rc == 0; m++)
        rc = write_embedder(argv[1], m, 30, 11);
    return rc;
}
