/*
 * test_encoders.c - every kind of encoder that can be converted, against PyTorch.
 *
 * Each folder of tests/data/encoders holds a tiny random model as published ones look, texts as token
 * ids, and what transformers makes of them (make_encoders.py): an embedding, or the scores of the
 * model's own head. Converted to f32 ours must be the same within 1e-4; with 8-bit weights within what
 * the order of sums can make of a rounding. Then one thing at a time is changed, a number of the
 * configuration or a tensor, and the comparison must fail by far.
 */
#include "golden/golden.h"

#include "base/json.h"

#include <dirent.h>

enum { N_MODELS = 10, N_GGUF = 6, MAX_TEXTS = 8, MAX_TOKENS = 64 };

static const double CLOSE = 1e-4, CLOSE_Q8 = 0.01, FAR = 1e-2;

static char changed[PATH_SIZE], pooling_folder[PATH_SIZE];
static int n_models, n_gguf;

static int make_folder(void **state)
{
    (void)state;
    snprintf(changed, sizeof changed, "%s", temporary_path("changed"));
    snprintf(pooling_folder, sizeof pooling_folder, "%s", temporary_path("changed/1_Pooling"));
    return mkdir(changed, 0700) || mkdir(pooling_folder, 0700);
}

/* ------------------------------------------------------------------------- texts --- */

struct texts {
    slm_token tokens[MAX_TEXTS][MAX_TOKENS];
    slm_input inputs[MAX_TEXTS];
    size_t n;
};

static void load_texts(struct texts *t, const char *name)
{
    char where[128], path[PATH_SIZE];
    size_t n;
    snprintf(where, sizeof where, "encoders/%s", name);
    data_path(path, where, "texts.txt");
    char *text = read_data(path, &n);
    t->n = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(t->n < MAX_TEXTS);
        slm_input *in = &t->inputs[t->n];
        char *end;
        *in = (slm_input){.size = sizeof *in, .tokens = t->tokens[t->n], .n_first = strtoul(line, &end, 10)};
        for (char *at = end; *at; at = end) {
            assert_true(in->n_tokens < MAX_TOKENS);
            t->tokens[t->n][in->n_tokens++] = (slm_token)strtol(at, &end, 10);
        }
        t->n++;
    }
    free(text);
}

/* What the model in model_path() makes of them, [n][width]; free() it. */
static float *compute_by(struct texts *t, slm_ctx_options options, size_t *width)
{
    slm_model *model;
    slm_ctx *ctx = NULL;
    slm_info info = {.size = sizeof info};
    options.size = sizeof options;
    if (slm_model_open(&model, model_path(), NULL) || slm_ctx_new(&ctx, model, &options))
        fail_msg("%s", slm_last_error());
    slm_model_info(model, &info);
    assert_int_equal(info.is_encoder, 1);
    *width = (size_t)(info.n_scores ? info.n_scores : info.dim);
    float *out = calloc(t->n * *width, sizeof *out);
    int64_t rows = info.n_scores ? slm_score(ctx, t->inputs, t->n, NULL, out, t->n)
                                 : slm_embed(ctx, t->inputs, t->n, NULL, out, t->n);
    if (rows != (int64_t)t->n)
        fail_msg("%s", slm_last_error());
    slm_ctx_free(ctx);
    slm_model_unref(model);
    return out;
}

static float *compute(struct texts *t, size_t *width)
{
    return compute_by(t, (slm_ctx_options){.n_threads = 2}, width);
}

/* The largest difference from a file of the folder. */
static double difference_from(const char *name, const char *file)
{
    struct texts t;
    char where[128], path[PATH_SIZE];
    size_t width, length;
    load_texts(&t, name);
    float *ours = compute(&t, &width);
    snprintf(where, sizeof where, "encoders/%s", name);
    data_path(path, where, file);
    float *expected = (float *)(void *)read_data(path, &length);
    assert_int_equal(length, t.n * width * sizeof *ours);
    double largest = 0;
    for (size_t i = 0; i < t.n * width; i++) {
        double by = fabs((double)ours[i] - (double)expected[i]);
        largest = by <= largest ? largest : by == by ? by : (double)INFINITY;
    }
    free(expected);
    free(ours);
    return largest;
}

/* ------------------------------------------------------------------------ models --- */

static void each_model(void (*check)(const char *name, const char *path))
{
    char path[PATH_SIZE];
    data_path(path, ".", "encoders");
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.') {
            char model[PATH_SIZE];
            assert_true(snprintf(model, sizeof model, "%s/%s", path, entry->d_name) < PATH_SIZE);
            check(entry->d_name, model);
        }
    closedir(dir);
}

static void check_f32(const char *name, const char *path)
{
    convert(path, model_path(), "f32");
    double by = difference_from(name, "vectors.f32");
    print_message("%-24s %.2g\n", name, by);
    if (!(by < CLOSE))
        fail_msg("%s: off by %g", name, by);
    n_models++;
}

static void vectors_equal_pytorch(void **state)
{
    (void)state;
    each_model(check_f32);
    assert_true(n_models >= N_MODELS);
}

static void check_q8(const char *name, const char *path)
{
    convert(path, model_path(), "q8");
    double by = difference_from(name, "vectors.q8.f32");
    print_message("%-24s %.2g\n", name, by);
    if (!(by < CLOSE_Q8))
        fail_msg("%s: off by %g", name, by);
}

static void eight_bit_weights_equal_pytorch(void **state)
{
    (void)state;
    each_model(check_q8);
}

/* All tiers, threads, and texts alone or together. */
static void check_bits(const char *name, const char *path)
{
    struct texts t;
    size_t n;
    load_texts(&t, name);
    convert(path, model_path(), "q8");
    float *truth = compute_by(&t, (slm_ctx_options){.n_threads = 1, .cpu = SLM_CPU_C, .max_seqs = 1}, &n);
    for (uint32_t tier = 1; tier <= slm_cpu_tiers(); tier <<= 1)
        for (int32_t threads = 1; threads <= 3 && slm_cpu_tiers() & tier; threads++) {
            slm_ctx_options options = {.n_threads = threads, .cpu = tier, .max_seqs = 4, .max_tokens = 50};
            float *other = compute_by(&t, options, &n);
            if (memcmp(other, truth, t.n * n * sizeof *truth) != 0)
                fail_msg("%s: other bits with %s and %d threads", name, slm_cpu_tier_name(tier), (int)threads);
            free(other);
        }
    free(truth);
}

static void bits_are_the_same_everywhere(void **state)
{
    (void)state;
    each_model(check_bits);
}

static void check_gguf(const char *name, const char *path)
{
    char file[PATH_SIZE];
    size_t n[2];
    assert_true(snprintf(file, sizeof file, "%s/model.gguf", path) < PATH_SIZE);
    if (access(file, R_OK) != 0)
        return;
    convert(file, model_path(), "f32");
    struct texts t;
    load_texts(&t, name);
    float *theirs = compute(&t, &n[0]);
    convert(path, model_path(), "f32");
    float *ours = compute(&t, &n[1]);
    assert_int_equal(n[0], n[1]);
    if (memcmp(ours, theirs, t.n * n[0] * sizeof *ours) != 0)
        fail_msg("%s: another model comes from GGUF", name);
    free(ours);
    free(theirs);
    n_gguf++;
}

static void gguf_gives_the_same_model(void **state)
{
    (void)state;
    each_model(check_gguf);
    assert_true(n_gguf >= N_GGUF);
}

/* ----------------------------------------------------------------------- changes --- */

static void link_file(const char *name, const char *file)
{
    char where[128], from[PATH_SIZE], to[PATH_SIZE];
    snprintf(where, sizeof where, "encoders/%s", name);
    data_path(from, where, file);
    assert_true(snprintf(to, sizeof to, "%s/%s", changed, file) < PATH_SIZE);
    if (access(from, R_OK) == 0)
        assert_int_equal(symlink(from, to), 0);
}

static const char *const files[] = {"config.json", "model.safetensors", "modules.json",
                                    "1_Pooling/config.json"};

/* All files of a model are links, but for one, which gets these bytes. */
static void lay_out(const char *name, const char *but, const char *data, size_t n)
{
    char path[PATH_SIZE];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(files[i], but) != 0)
            link_file(name, files[i]);
    assert_true(snprintf(path, sizeof path, "%s/%s", changed, but) < PATH_SIZE);
    write_data(path, data, n);
}

static void clean_up(void)
{
    char path[PATH_SIZE];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        assert_true(snprintf(path, sizeof path, "%s/%s", changed, files[i]) < PATH_SIZE);
        unlink(path);
    }
}

/* One text in a file is another; the vectors must move, or (refused) the model must not convert. */
static const struct change {
    const char *model, *file, *from, *to;
    const char *refused; /* words of the message */
} changes[] = {
    {"bert", "config.json", "\"layer_norm_eps\": 0.0002", "\"layer_norm_eps\": 0.2", NULL},
    {"bert", "config.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"", NULL},
    {"bert", "config.json", "\"num_attention_heads\": 5", "\"num_attention_heads\": 4", NULL},
    {"bert", "1_Pooling/config.json", "mean_tokens\": true", "cls_token\": true, \"x\": false", NULL},
    {"bert", "1_Pooling/config.json", "max_tokens\": false", "max_tokens\": true", "pooling is supported"},
    {"bert", "modules.json", "sentence_transformers.models.Normalize", "sentence_transformers.models.Dense",
     "'Dense', which is not supported"},
    {"bert", "modules.json", "\"1_Pooling\"", "\"../1_Pooling\"", "is no folder"},
    {"bert", "config.json", "\"type_vocab_size\": 2", "\"type_vocab_size\": 3", "token_type_embeddings"},
    {"bert", "config.json", "\"max_position_embeddings\": 60", "\"max_position_embeddings\": 61",
     "position_embeddings"},
    {"roberta", "config.json", "\"pad_token_id\": 1", "\"pad_token_id\": 0", "pad_token_id is 0"},
    {"roberta", "config.json", "Roberta", "Bert", NULL},
    {"distilbert", "config.json", "\"n_heads\": 4", "\"n_heads\": 5", NULL},
    {"modernbert", "config.json", "\"local_attention\": 12", "\"local_attention\": 8", NULL},
    {"modernbert", "config.json", "\"global_rope_theta\": 400.0", "\"global_rope_theta\": 9000.0", NULL},
    {"modernbert", "config.json", "\"local_rope_theta\": 30.0", "\"local_rope_theta\": 9000.0", NULL},
    {"modernbert", "config.json", "every_n_layers\": 3", "every_n_layers\": 2", NULL},
    {"modernbert", "config.json", "\"norm_eps\": 0.0002", "\"norm_eps\": 0.2", NULL},
    {"modernbert", "config.json", "\"mlp_bias\": false", "\"mlp_bias\": true", "is missing"},
    {"modernbert-reranker", "config.json", "pooling\": \"mean\"", "pooling\": \"cls\"", NULL},
    {"nomic-bert", "config.json", "\"rotary_emb_base\": 500", "\"rotary_emb_base\": 20", NULL},
    {"nomic-bert", "config.json", "\"prenorm\": false", "\"prenorm\": true", "prenorm is 1"},
};

static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at)
        fail_msg("there is no %s", from);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void changed_models_differ(void **state)
{
    (void)state;
    size_t missed = 0;
    slm_convert_options options = {.size = sizeof options, .type = "f32"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const struct change *c = &changes[i];
        char where[128], path[PATH_SIZE];
        size_t n;
        snprintf(where, sizeof where, "encoders/%s", c->model);
        data_path(path, where, c->file);
        char *text = read_data(path, &n), *other = replaced(text, c->from, c->to);
        lay_out(c->model, c->file, other, strlen(other));
        int rc = slm_convert(changed, model_path(), &options);
        double by = rc == SLM_OK ? difference_from(c->model, "vectors.f32") : 0;
        bool good = c->refused ? rc < 0 && strstr(slm_last_error(), c->refused) : rc == SLM_OK && by > FAR;
        print_message("%s %-20s %s -> %s: %.2g%s\n", good ? "  " : "!!", c->model, c->from, c->to, by,
                      rc < 0 ? slm_last_error() : "");
        missed += !good;
        clean_up();
        free(text);
        free(other);
    }
    assert_int_equal(missed, 0);
}

/* Each tensor set to zero in turn: none may be without effect. */
static void check_tensors(const char *name, const char *path)
{
    char file[PATH_SIZE];
    size_t n, missed = 0;
    struct slm_json *header;
    assert_true(snprintf(file, sizeof file, "%s/model.safetensors", path) < PATH_SIZE);
    char *data = read_data(file, &n), *copy = malloc(n);
    uint64_t length;
    memcpy(&length, data, sizeof length);
    assert_int_equal(slm_json_parse(&header, data + 8, length, NULL), SLM_OK);
    for (slm_json_node t = slm_json_first(header, 0); t >= 0; t = slm_json_next(header, t)) {
        const char *key = slm_json_key(header, t, NULL);
        slm_json_node offsets = slm_json_get(header, t, "data_offsets");
        bool unused = strstr(key, "cls.") || (strstr(key, "pooler.") && !strstr(name, "reranker"));
        if (offsets < 0 || unused)
            continue;
        size_t from = 8 + length + (size_t)slm_json_number(header, slm_json_at(header, offsets, 0), 0);
        size_t to = 8 + length + (size_t)slm_json_number(header, slm_json_at(header, offsets, 1), 0);
        memcpy(copy, data, n);
        memset(copy + from, 0, to - from);
        lay_out(name, "model.safetensors", copy, n);
        convert(changed, model_path(), "f32");
        double by = difference_from(name, "vectors.f32");
        clean_up();
        /* A bias of keys moves all scores of a position alike. */
        if (!(by > FAR) && !strstr(key, "key.bias") && !strstr(key, "k_lin.bias")) {
            print_message("!! %s: %s set to zero changes vectors by %.2g\n", name, key, by);
            missed++;
        }
    }
    slm_json_free(header);
    free(copy);
    free(data);
    assert_int_equal(missed, 0);
}

static void every_tensor_matters(void **state)
{
    (void)state;
    each_model(check_tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_equal_pytorch),     cmocka_unit_test(eight_bit_weights_equal_pytorch),
        cmocka_unit_test(bits_are_the_same_everywhere), cmocka_unit_test(gguf_gives_the_same_model),
        cmocka_unit_test(changed_models_differ),     cmocka_unit_test(every_tensor_matters),
    };
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
