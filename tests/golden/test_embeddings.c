/*
 * test_embeddings.c - from text to vectors and scores, against the reference tokenizers and PyTorch.
 *
 * Each folder of tests/data/embeddings has a tiny random model with a tokenizer, texts and pairs of
 * them, how short they are to be cut, and what becomes of them (make_embeddings.py).
 */
#include "golden/golden.h"

#include "base/json.h"

static const double CLOSE = 1e-4;
static const char *const names[] = {"bert-mean",       "bert-pairs",       "roberta-pairs",
                                    "qwen3-embedding", "qwen3-classifier", "qwen3-moe-classifier"};

struct model {
    slm_model *model;
    slm_info info;
    struct slm_json *texts; /* [[text, second or null, longest]...] */
    float *wanted;          /* [n][width] */
    size_t n, width;
};

static void open_model(struct model *m, const char *name)
{
    char folder[128], path[PATH_SIZE];
    size_t length;
    snprintf(folder, sizeof folder, "embeddings/%s", name);
    data_path(path, folder, "");
    convert(path, model_path(), "f32");
    assert_int_equal(slm_model_open(&m->model, model_path(), NULL), SLM_OK);
    m->info = (slm_info){.size = sizeof m->info};
    assert_int_equal(slm_model_info(m->model, &m->info), SLM_OK);
    data_path(path, folder, "texts.json");
    char *text = read_data(path, &length);
    assert_int_equal(slm_json_parse(&m->texts, text, length, NULL), SLM_OK);
    free(text);
    m->n = slm_json_count(m->texts, 0);
    m->width = (size_t)(m->info.n_scores ? m->info.n_scores : m->info.dim);
    data_path(path, folder, "vectors.f32");
    m->wanted = (float *)(void *)read_data(path, &length);
    assert_int_equal(length, m->n * m->width * sizeof(float));
    assert_true(m->n >= 7);
}

static void close_model(struct model *m)
{
    slm_json_free(m->texts);
    slm_model_unref(m->model);
    free(m->wanted);
}

/* Input i; returns to how many tokens it is cut, or 0. */
static int32_t input_at(const struct model *m, size_t i, slm_input *input)
{
    slm_json_node line = slm_json_at(m->texts, 0, i);
    *input = (slm_input){.size = sizeof *input};
    input->text = slm_json_string(m->texts, slm_json_at(m->texts, line, 0), &input->n);
    input->second = slm_json_string(m->texts, slm_json_at(m->texts, line, 1), &input->n_second);
    return (int32_t)slm_json_number(m->texts, slm_json_at(m->texts, line, 2), 0);
}

static slm_ctx *context_for(const struct model *m, int32_t longest)
{
    slm_ctx *ctx;
    slm_ctx_options options = {.size = sizeof options, .n_threads = 1, .kv_type = SLM_KV_F32,
                               .max_tokens = longest ? longest : 256};
    assert_int_equal(slm_ctx_new(&ctx, m->model, &options), SLM_OK);
    return ctx;
}

static void compute(const struct model *m, slm_ctx *ctx, const slm_input *input, int32_t longest, float *out)
{
    slm_embed_options options = {.size = sizeof options, .truncate = longest > 0};
    int64_t rows = m->info.n_scores ? slm_score(ctx, input, 1, &options, out, 1)
                                    : slm_embed(ctx, input, 1, &options, out, 1);
    if (rows != 1)
        fail_msg("%s", slm_last_error());
}

/* The same as tokens, put together here: what the end of the first text is, the second one repeats. */
static size_t as_tokens(const struct model *m, slm_input *input, slm_token *tokens, size_t cap)
{
    int64_t n = slm_tokenize(m->model, input->text, input->n, SLM_TEXT_ADD_SPECIAL, tokens, cap);
    assert_in_range(n, 1, cap / 2);
    slm_token end = tokens[n - 1];
    input->n_first = 0;
    if (input->second) {
        for (uint32_t more = 1; more < (m->info.dim == 36 ? 2u : 1u); more++) /* RoBERTa has two */
            tokens[n++] = end;
        input->n_first = (size_t)n;
        n += slm_tokenize(m->model, input->second, input->n_second, 0, tokens + n, cap / 2);
        tokens[n++] = end;
    }
    *input = (slm_input){.size = sizeof *input, .tokens = tokens, .n_tokens = (size_t)n, .n_first = input->n_first};
    return (size_t)n;
}

static void check_model(const char *name)
{
    struct model m;
    open_model(&m, name);
    double largest = 0;
    size_t n_cut = 0;
    for (size_t i = 0; i < m.n; i++) {
        slm_input input;
        slm_token tokens[1024];
        float out[64], again[64];
        int32_t longest = input_at(&m, i, &input);
        slm_ctx *ctx = context_for(&m, longest);
        compute(&m, ctx, &input, longest, out);
        for (size_t k = 0; k < m.width; k++) {
            double by = fabs((double)out[k] - (double)m.wanted[i * m.width + k]);
            largest = by <= largest ? largest : by == by ? by : (double)INFINITY;
        }
        n_cut += as_tokens(&m, &input, tokens, 1024) > (size_t)longest && longest;
        compute(&m, ctx, &input, longest, again);
        if (memcmp(out, again, m.width * sizeof *out) != 0)
            fail_msg("%s: text %zu differs from its tokens", name, i);
        slm_ctx_free(ctx);
    }
    print_message("%-20s %zu texts, %zu cut: largest difference %.2g\n", name, m.n, n_cut, largest);
    assert_true(largest < CLOSE);
    assert_true(n_cut >= 3);
    close_model(&m);
}

static void texts_give_pytorchs_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_model(names[i]);
}

/* A vector for each token: which are whose, and their mean is the text's. */
static void rows_tell_their_input(void **state)
{
    (void)state;
    struct model m;
    open_model(&m, "bert-mean");
    slm_input inputs[3];
    slm_token tokens[1024];
    size_t n_rows[3] = {0}, ones[3] = {0}, at = 0, dim = (size_t)m.info.dim;
    slm_ctx *ctx = context_for(&m, 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(input_at(&m, i, &inputs[i]), 0);
    slm_embed_options options = {.size = sizeof options, .pooling = SLM_POOL_NONE, .normalise = -1,
                                 .n_rows = n_rows};
    int64_t all = slm_embed(ctx, inputs, 3, &options, NULL, 0);
    assert_in_range(all, 6, 256);
    assert_int_equal(n_rows[0] + n_rows[1] + n_rows[2], all);
    float *rows = malloc((size_t)all * dim * sizeof *rows), vectors[3 * 64];
    assert_int_equal(slm_embed(ctx, inputs, 3, &options, rows, (size_t)all), all);
    options = (slm_embed_options){.size = sizeof options, .normalise = -1, .n_rows = ones};
    assert_int_equal(slm_embed(ctx, inputs, 3, &options, vectors, 3), 3);
    for (size_t i = 0; i < 3; i++) {
        slm_input one = inputs[i];
        assert_int_equal(as_tokens(&m, &one, tokens, 1024), n_rows[i]);
        assert_int_equal(ones[i], 1);
        for (size_t k = 0; k < dim; k++) {
            double mean = 0;
            for (size_t r = 0; r < n_rows[i]; r++)
                mean += (double)rows[(at + r) * dim + k] / (double)n_rows[i];
            assert_true(fabs(mean - (double)vectors[i * dim + k]) < 1e-5);
        }
        at += n_rows[i];
    }
    free(rows);
    slm_ctx_free(ctx);
    close_model(&m);
}

/* Special tokens alone are too many: nothing is left to cut. */
static void some_room_is_needed(void **state)
{
    (void)state;
    struct model m;
    slm_input input = {.size = sizeof input, .text = "Who?", .n = 4, .second = "Who?", .n_second = 4};
    float out[4];
    open_model(&m, "bert-pairs");
    slm_ctx *ctx = context_for(&m, 2);
    slm_embed_options options = {.size = sizeof options, .truncate = 1};
    assert_int_equal(slm_score(ctx, &input, 1, &options, out, 1), SLM_ELIMIT);
    assert_non_null(strstr(slm_last_error(), "the limit of context and model is 2"));
    slm_ctx_free(ctx);
    ctx = context_for(&m, 3);
    assert_int_equal(slm_score(ctx, &input, 1, &options, out, 1), 1);
    slm_ctx_free(ctx);
    close_model(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_give_pytorchs_vectors),
        cmocka_unit_test(rows_tell_their_input),
        cmocka_unit_test(some_room_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
