/*
 * test_models.c - every kind of model that can be converted, against PyTorch.
 *
 * Each folder of tests/data/golden holds a tiny random model as published ones look, a text of
 * random tokens, and the logits that transformers computes (make_models.py). Converted to f32, ours
 * must be the same within 1e-4; they have a standard deviation of 1.5.
 *
 * A comparison is worth what it notices. So the second half of this file changes one thing at a
 * time in a model, a number of its configuration or a tensor, and requires that the comparison
 * fails by far, or that the conversion refuses the model.
 */
#include "golden/golden.h"

#include "base/json.h"

#include <dirent.h>

enum {
    N_MODELS = 68,   /* at least: an empty folder is no success */
    N_GGUF = 41,     /* of them in GGUF as well: make_gguf.py */
    N_QUANTIZED = 6, /* rows of logits.q8.f32 */
};

static const double CLOSE = 1e-4;
static const double FAR = 1e-2; /* what a changed model must differ by */

static char changed[PATH_SIZE]; /* a folder with a changed model */
static int n_gguf;

static int make_folder(void **state)
{
    (void)state;
    snprintf(changed, sizeof changed, "%s", temporary_path("changed"));
    return mkdir(changed, 0700);
}

/* ------------------------------------------------------------------------- models --- */

struct model {
    char name[64];    /* its folder */
    char folder[128]; /* "golden/<name>" */
    char path[PATH_SIZE];
    struct golden golden;
};

static slm_json_node config_of(const struct model *m, struct slm_json **json, const char *key)
{
    char path[PATH_SIZE];
    size_t n;
    data_path(path, m->folder, "config.json");
    char *text = read_data(path, &n);
    assert_int_equal(slm_json_parse(json, text, n, NULL), SLM_OK);
    free(text);
    return slm_json_get(*json, 0, key);
}

static void open_model(struct model *m, const char *name)
{
    struct slm_json *json;
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->folder, sizeof m->folder, "golden/%s", m->name);
    data_path(m->path, m->folder, "");
    slm_json_node vocab = config_of(m, &json, "vocab_size");
    golden_load(&m->golden, m->folder, "ids.txt", "logits.f32",
                (size_t)slm_json_number(json, vocab, 0), 0);
    slm_json_free(json);
}

static void close_model(struct model *m)
{
    golden_free(&m->golden);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Names of all models, in order; n of them. Free each, and the array. */
static struct dirent **list_models(int *n)
{
    char path[PATH_SIZE];
    struct dirent **names;
    data_path(path, "golden", "");
    *n = scandir(path, &names, visible, alphasort);
    assert_true(*n >= N_MODELS);
    return names;
}

/* In two pieces, so that the second attends to pages of the first. */
static struct difference measure(const struct model *m, double margin)
{
    float *ours = evaluate(model_path(), &m->golden, m->golden.n * 3 / 5, SLM_KV_F32);
    struct difference d = compare(&m->golden, ours, margin);
    free(ours);
    return d;
}

static void for_each_model(void (*check)(const struct model *m))
{
    int n;
    struct dirent **names = list_models(&n);
    for (int i = 0; i < n; i++) {
        struct model m;
        open_model(&m, names[i]->d_name);
        check(&m);
        close_model(&m);
        free(names[i]);
    }
    free(names);
}

static void check_f32(const struct model *m)
{
    convert(m->path, model_path(), "f32");
    struct difference d = measure(m, 1e-3);
    print_message("%-22s f32: largest difference %.2g\n", m->name, d.largest);
    if (!(d.largest < CLOSE) || d.other_top != 0)
        fail_msg("%s: largest difference %g, first choice differs at %zu positions", m->name,
                 d.largest, d.other_top);
}

static void logits_equal_pytorch(void **state)
{
    (void)state;
    for_each_model(check_f32);
}

/* Where PyTorch rounds weights and activations to 8 bits as well, it gets our logits. On the whole
 * text the two part, since a last bit decides how an activation is rounded: there, the first choice
 * stays where it was clear. (The models are chosen so that PyTorch's own changes at no margin above
 * 0.09; its logits change by up to 1: random models amplify what trained ones don't.) */
static void check_q8(const struct model *m)
{
    struct golden first;
    golden_load(&first, m->folder, "ids.txt", "logits.q8.f32", m->golden.n_vocab, N_QUANTIZED);
    assert_int_equal(first.n_rows, N_QUANTIZED);
    convert(m->path, model_path(), "q8");
    float *ours = evaluate(model_path(), &first, 0, SLM_KV_F32);
    struct difference d = compare(&first, ours, 0.01), all = measure(m, 0.1);
    free(ours);
    golden_free(&first);
    print_message("%-22s q8: largest difference %.2g; to f32: %.2g, mean KL %.2g, "
                  "%zu of %zu choices clear\n",
                  m->name, d.largest, all.largest, all.mean_kl, all.n_decided, m->golden.n_rows);
    if (!(d.largest < CLOSE) || d.other_top != 0)
        fail_msg("%s: largest difference from PyTorch in q8 %g", m->name, d.largest);
    if (!(all.mean_kl < 1e-2) || all.other_top != 0)
        fail_msg("%s: mean KL %g, first choice differs at %zu positions", m->name, all.mean_kl,
                 all.other_top);
}

static void eight_bit_weights_equal_pytorch(void **state)
{
    (void)state;
    for_each_model(check_q8);
}

/* --------------------------------------------------------------------------- gguf --- */

/* Every tensor of both: the same place, shape, type and values. Returns how many there are. */
static size_t compare_tensors(const slm_model *a, const slm_model *b, const char *name)
{
    slm_tensor_info x = {.size = sizeof x}, y = {.size = sizeof y};
    size_t n = 0;
    for (; slm_model_tensor(a, n, &x) == SLM_OK; n++) {
        assert_int_equal(slm_model_tensor(b, n, &y), SLM_OK);
        assert_string_equal(x.role, y.role);
        assert_string_equal(x.type, y.type);
        if (x.layer != y.layer || x.rows != y.rows || x.cols != y.cols)
            fail_msg("%s: %s of layer %d differs in shape", name, x.role, (int)x.layer);
        size_t bytes = (size_t)x.cols * sizeof(float);
        float *rows[2] = {malloc(bytes), malloc(bytes)};
        for (int32_t r = 0; r < x.rows; r++) {
            assert_int_equal(slm_model_tensor_row(a, n, (size_t)r, rows[0]), SLM_OK);
            assert_int_equal(slm_model_tensor_row(b, n, (size_t)r, rows[1]), SLM_OK);
            if (memcmp(rows[0], rows[1], bytes) != 0)
                fail_msg("%s: %s of layer %d differs in row %d", name, x.role, (int)x.layer,
                         (int)r);
        }
        free(rows[0]);
        free(rows[1]);
    }
    assert_int_equal(slm_model_tensor(b, n, &y), SLM_EINVAL);
    return n;
}

/* llama.cpp's conversion of the same folder. */
static void check_gguf_file(const struct model *m, const char *file)
{
    char in[PATH_SIZE], other_path[PATH_SIZE];
    data_path(in, m->folder, file);
    if (access(in, F_OK) != 0)
        return;
    n_gguf++;
    snprintf(other_path, sizeof other_path, "%s", temporary_path("gguf.slm"));
    convert(m->path, model_path(), "keep");
    convert(in, other_path, "keep");
    slm_model *a, *b;
    assert_int_equal(slm_model_open(&a, model_path(), NULL), SLM_OK);
    assert_int_equal(slm_model_open(&b, other_path, NULL), SLM_OK);
    size_t n = compare_tensors(a, b, m->name);
    slm_model_unref(a);
    slm_model_unref(b);

    /* Equal traits as well: what the tensors don't show, logits do. */
    float *ours = evaluate(model_path(), &m->golden, 0, SLM_KV_F32);
    float *theirs = evaluate(other_path, &m->golden, 0, SLM_KV_F32);
    size_t bytes = m->golden.n_rows * m->golden.n_vocab * sizeof *ours;
    print_message("%-22s from GGUF: %zu tensors, logits %s\n", m->name, n,
                  memcmp(ours, theirs, bytes) == 0 ? "equal" : "differ");
    assert_memory_equal(ours, theirs, bytes);
    free(ours);
    free(theirs);
    assert_int_equal(unlink(other_path), 0);
}

static void check_gguf(const struct model *m)
{
    check_gguf_file(m, "model.gguf");
    check_gguf_file(m, "model-fused.gguf");
}

static void gguf_gives_the_same_model(void **state)
{
    (void)state;
    n_gguf = 0;
    for_each_model(check_gguf);
    assert_true(n_gguf >= N_GGUF);
}

/* ------------------------------------------------------------------------ changes --- */

/* Everything of the model but one file, as links. */
static void link_files(const struct model *m, const char *but)
{
    DIR *dir = opendir(m->path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        char from[PATH_SIZE], to[PATH_SIZE];
        if (!visible(e) || strcmp(e->d_name, but) == 0)
            continue;
        assert_true(snprintf(from, sizeof from, "%s/%s", m->path, e->d_name) < PATH_SIZE);
        assert_true(snprintf(to, sizeof to, "%s/%s", changed, e->d_name) < PATH_SIZE);
        assert_int_equal(symlink(from, to), 0);
    }
    closedir(dir);
}

static void empty_changed(void)
{
    DIR *dir = opendir(changed);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        if (visible(e)) {
            char path[PATH_SIZE];
            assert_true(snprintf(path, sizeof path, "%s/%s", changed, e->d_name) < PATH_SIZE);
            assert_int_equal(unlink(path), 0);
        }
    closedir(dir);
}

/* What the changed model gives: a code of slm_convert(), or the difference in *largest. */
static int try_changed(const struct model *m, double *largest)
{
    slm_convert_options options = {.size = sizeof options, .type = "f32"};
    int code = slm_convert(changed, model_path(), &options);
    *largest = code == SLM_OK ? measure(m, 0).largest : 0;
    return code;
}

/* `text` with its only `find` replaced. Free it. */
static char *replaced(char *text, const char *find, const char *replace)
{
    char *at = strstr(text, find);
    if (!at || strstr(at + 1, find))
        fail_msg("config.json has '%s' %s", find, at ? "twice" : "not at all");
    char *out = malloc(strlen(text) + strlen(replace) + 1);
    assert_non_null(out);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, replace, at + strlen(find));
    free(text);
    return out;
}

/* A change of config.json, in up to three places. */
struct change {
    const char *model;
    enum { SAME, DIFFERS, REFUSED } what;
    const char *edits[6]; /* find, replace... */
};

/* An expert whose tensor goes by another name, and one of another shape: the header of the weights. */
static void experts_must_be_there(void **state)
{
    (void)state;
    static const struct {
        const char *model, *edits[2], *message;
    } cases[] = {
        {"mixtral", {"layers.1.block_sparse_moe.experts.3.w2", "layers.1.block_sparse_moe.experts.9.w2"},
         "tensor 'model.layers.1.block_sparse_moe.experts.3.w2.weight' is missing (experts_down, 36 x 28)"},
        {"qwen3-moe", {"layers.0.mlp.experts.8.up_proj", "layers.0.mlp.experts.9.up_proj"},
         "tensor 'model.layers.0.mlp.experts.8.up_proj.weight' is missing (experts_up, 17 x 36)"},
        {"granite-moe", {"\"shape\":[6,36,24]", "\"shape\":[36,6,24]"},
         "output_linear.weight' is 36 x 6 x 24, but the configuration makes it 6 x 36 x 24"},
        {"gpt-oss-mxfp4", {"layers.0.mlp.experts.down_proj_scales", "layers.0.mlp.experts.down_proj_stales"},
         "tensor 'model.layers.0.mlp.experts.down_proj_scales' is missing"},
        {"gpt-oss-mxfp4", {"\"shape\":[4,64,2,16]", "\"shape\":[4,64,16,2]"},
         "gate_up_proj_scales': the configuration makes them bytes, 4 x 64 x 2 x 16"},
        {"gpt-oss", {"layers.1.self_attn.sinks", "layers.1.self_attn.xinks"},
         "tensor 'model.layers.1.self_attn.sinks' is missing (attn_sinks, 1 x 2)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct model m;
        char path[PATH_SIZE];
        size_t n, length = strlen(cases[i].edits[0]);
        double largest;
        open_model(&m, cases[i].model);
        link_files(&m, "model.safetensors");
        data_path(path, m.folder, "model.safetensors");
        char *file = read_data(path, &n), *at = memmem(file, n, cases[i].edits[0], length);
        assert_non_null(at);
        memcpy(at, cases[i].edits[1], length);
        assert_true(snprintf(path, sizeof path, "%s/model.safetensors", changed) < PATH_SIZE);
        write_data(path, file, n);
        assert_int_equal(try_changed(&m, &largest), SLM_EFORMAT);
        if (!strstr(slm_convert_last_error(), cases[i].message))
            fail_msg("'%s' lacks '%s'", slm_convert_last_error(), cases[i].message);
        empty_changed();
        free(file);
        close_model(&m);
    }
}

static const struct change changes[] = {
    /* Shape. What the tensors contradict is refused; where they fit both ways, numbers tell. */
    {"llama-untied", REFUSED, {"_layers\": 3", "_layers\": 2"}},
    {"llama-untied", REFUSED, {"_layers\": 3", "_layers\": 4"}},
    {"llama-untied", REFUSED, {"attention_heads\": 5", "attention_heads\": 10"}},
    {"llama-untied", REFUSED, {"_value_heads\": 1", "_value_heads\": 5"}},
    {"llama-untied", REFUSED, {"\"num_key_value_heads\": 1,", ""}},
    {"llama-untied", REFUSED, {"intermediate_size\": 52", "intermediate_size\": 51"}},
    {"llama-untied", REFUSED, {"hidden_size\": 40", "hidden_size\": 80"}},
    {"llama-untied", REFUSED, {"vocab_size\": 259", "vocab_size\": 258"}},
    {"llama-untied", REFUSED, {"\"silu\"", "\"mish\""}},
    {"llama-untied", DIFFERS, {"\"silu\"", "\"gelu\""}},
    {"llama-untied", SAME, {"embeddings\": false", "embeddings\": true"}}, /* the file has a head */
    {"llama-tied-f16", REFUSED, {"embeddings\": true", "embeddings\": false"}},
    {"llama-tied-f16",
     DIFFERS,
     {"attention_heads\": 2", "attention_heads\": 4", "_value_heads\": 2", "_value_heads\": 4"}},
    {"llama-head-dim",
     DIFFERS,
     {"head_dim\": 40", "head_dim\": 20", "attention_heads\": 3", "attention_heads\": 6",
      "_value_heads\": 1", "_value_heads\": 2"}},
    {"llama-head-dim", REFUSED, {"\"head_dim\": 40,", ""}},
    {"llama-sharded",
     DIFFERS,
     {"head_dim\": 8", "head_dim\": 16", "attention_heads\": 6", "attention_heads\": 3",
      "_value_heads\": 2", "_value_heads\": 1"}},

    /* Biases: a tensor that the configuration does not know, or one that is missing. */
    {"llama-biases", REFUSED, {"attention_bias\": true", "attention_bias\": false"}},
    {"llama-biases", REFUSED, {"mlp_bias\": true", "mlp_bias\": false"}},
    {"llama-head-dim", REFUSED, {"\"attention_bias\": true,", ""}},
    {"llama-biases", REFUSED, {"\"LlamaForCausalLM\"", "\"Qwen2ForCausalLM\""}},
    {"qwen2", REFUSED, {"\"Qwen2ForCausalLM\"", "\"LlamaForCausalLM\""}},
    {"mistral-full", REFUSED, {"\"MistralForCausalLM\"", "\"Qwen2ForCausalLM\""}},

    /* Lists, an entry for each layer. */
    {"openelm", REFUSED, {"[\n    2,\n    4,\n    6\n  ]", "[\n    2,\n    4\n  ]"}},
    {"openelm", REFUSED, {"[\n    2,\n    4,\n    6\n  ]", "[\n    2,\n    4,\n    5\n  ]"}},
    {"openelm", REFUSED, {"[\n    2,\n    4,\n    6\n  ]", "[\n    2,\n    4.5,\n    6\n  ]"}},
    {"openelm", REFUSED, {"[\n    1,\n    2,\n    3\n  ]", "[\n    1,\n    2,\n    2\n  ]"}},
    {"openelm", REFUSED, {"[\n    1,\n    2,\n    3\n  ]", "1"}},
    {"openelm", REFUSED, {"    2.1\n", "    2.4\n"}},
    {"openelm", REFUSED, {"    2.1\n", "    -2.1\n"}},
    {"openelm", REFUSED, {"dim_divisor\": 8", "dim_divisor\": 0"}},
    {"openelm", REFUSED, {"with_glu\": true", "with_glu\": false"}},
    {"openelm", REFUSED, {"projections\": true", "projections\": false"}},
    {"openelm", REFUSED, {"\"head_dim\": 12,", ""}},
    {"openelm", DIFFERS, {"constant\": 700", "constant\": 600"}},
    {"openelm", DIFFERS, {"\"swish\"", "\"gelu\""}},

    /* Norms behind blocks, and a narrow embedding. */
    {"opt-350m", REFUSED, {"norm_before\": false", "norm_before\": true"}},
    {"opt-350m", REFUSED, {"proj_dim\": 22", "proj_dim\": 36"}},
    {"opt-350m", REFUSED, {"proj_dim\": 22", "proj_dim\": 20"}},

    /* Epsilon. */
    {"llama-untied", DIFFERS, {"eps\": 1e-05", "eps\": 1e-06"}},
    {"llama-f32", DIFFERS, {"eps\": 1e-06", "eps\": 1e-05"}},
    {"llama-biases", DIFFERS, {"eps\": 1e-05", "eps\": 2e-05"}},
    {"qwen2", DIFFERS, {"eps\": 1e-06", "eps\": 1e-05"}},
    {"mistral-full", DIFFERS, {"eps\": 1e-05", "eps\": 1e-06"}},

    /* RoPE's base, at the top and inside rope_parameters. */
    {"llama-untied", DIFFERS, {"theta\": 10000.0", "theta\": 9900.0"}},
    {"llama-tied-f16", DIFFERS, {"theta\": 1000000.0", "theta\": 950000.0"}},
    {"llama-tied-f16", DIFFERS, {"\"rope_theta\": 1000000.0,", ""}},
    {"llama-long", DIFFERS, {"theta\": 500000.0", "theta\": 499000.0"}},
    {"qwen2", DIFFERS, {"theta\": 1000000.0", "theta\": 950000.0"}},
    {"mistral-full", DIFFERS, {"theta\": 1000000.0", "theta\": 950000.0"}},
    {"yarn-old", DIFFERS, {"theta\": 300.0", "theta\": 310.0"}},
    {"yarn-mscale", DIFFERS, {"theta\": 500.0", "theta\": 510.0"}},
    {"dynamic-new", DIFFERS, {"theta\": 5000.0", "theta\": 5100.0"}},
    {"llama3-new", DIFFERS, {"theta\": 500000.0", "theta\": 490000.0"}},

    /* Its scaling. */
    {"linear-old", DIFFERS, {"factor\": 2.5", "factor\": 2.6"}},
    {"linear-old", DIFFERS, {"\"linear\"", "\"default\""}},
    {"linear-old", DIFFERS, {"\"linear\"", "\"dynamic\""}},
    {"linear-old", REFUSED, {"\"linear\"", "\"longrope\""}},
    {"linear-old", REFUSED, {"\"factor\": 2.5,", ""}},
    {"linear-new", DIFFERS, {"factor\": 4.0", "factor\": 4.1"}},
    {"linear-new", DIFFERS, {"\"linear\"", "\"default\""}},
    {"dynamic-old", DIFFERS, {"factor\": 3.0", "factor\": 3.1"}},
    {"dynamic-old", DIFFERS, {"position_embeddings\": 20", "position_embeddings\": 21"}},
    {"dynamic-old", DIFFERS, {"\"dynamic\"", "\"default\""}},
    {"dynamic-new", DIFFERS, {"factor\": 2.0", "factor\": 2.1"}},
    {"dynamic-new", DIFFERS, {"position_embeddings\": 32", "position_embeddings\": 33"}},
    {"dynamic-new", DIFFERS, {"\"dynamic\"", "\"linear\""}},
    {"yarn-old", DIFFERS, {"\"factor\": 4.0", "\"factor\": 4.1"}},
    {"yarn-old", DIFFERS, {"embeddings\": 16", "embeddings\": 32"}},
    {"yarn-old", DIFFERS, {"\"yarn\"", "\"linear\""}},
    {"yarn-mscale", DIFFERS, {"\"factor\": 8.0", "\"factor\": 8.1"}},
    {"yarn-mscale", DIFFERS, {"embeddings\": 32", "embeddings\": 48"}},
    {"yarn-mscale", DIFFERS, {"mscale\": 1.0", "mscale\": 0.99"}},
    {"yarn-mscale", DIFFERS, {"\"mscale\": 1.0,", ""}},
    {"yarn-mscale", DIFFERS, {"all_dim\": 0.6", "all_dim\": 0.61"}},
    {"yarn-mscale", DIFFERS, {"fast\": 2.0", "fast\": 1.5"}},
    {"yarn-mscale", DIFFERS, {"\"beta_fast\": 2.0,", ""}},
    {"yarn-mscale", DIFFERS, {"slow\": 0.5", "slow\": 0.25"}},
    {"yarn-attention-factor", DIFFERS, {"attention_factor\": 1.25", "attention_factor\": 1.24"}},
    {"yarn-attention-factor", DIFFERS, {"\"attention_factor\": 1.25,", ""}},
    {"yarn-attention-factor", DIFFERS, {"truncate\": false", "truncate\": true"}},
    {"llama3-old", DIFFERS, {"\"factor\": 8.0", "\"factor\": 8.2"}},
    {"llama3-old", DIFFERS, {"low_freq_factor\": 1.0", "low_freq_factor\": 1.1"}},
    {"llama3-old", DIFFERS, {"high_freq_factor\": 4.0", "high_freq_factor\": 4.2"}},
    {"llama3-old", DIFFERS, {"embeddings\": 64", "embeddings\": 66"}},
    {"llama3-old", DIFFERS, {"\"llama3\"", "\"default\""}},
    {"llama3-old", REFUSED, {"\"low_freq_factor\": 1.0,", ""}},
    {"llama3-new", DIFFERS, {"\"factor\": 4.0", "\"factor\": 4.1"}},
    {"llama3-new", DIFFERS, {"low_freq_factor\": 1.5", "low_freq_factor\": 1.4"}},
    {"llama3-new", DIFFERS, {"high_freq_factor\": 5.0", "high_freq_factor\": 4.8"}},
    {"llama3-new", DIFFERS, {"embeddings\": 48", "embeddings\": 50"}},

    /* Windows. */
    {"mistral-window", DIFFERS, {"window\": 17", "window\": 18"}},
    {"mistral-window", DIFFERS, {"window\": 17", "window\": 16"}},
    {"mistral-window", DIFFERS, {"window\": 17", "window\": null"}},
    {"mistral-window", DIFFERS, {"\"sliding_window\": 17,", ""}},
    {"mistral-window", DIFFERS, {"\"MistralForCausalLM\"", "\"LlamaForCausalLM\""}},
    {"mistral-full", DIFFERS, {"window\": null", "window\": 47"}},
    {"qwen2", DIFFERS, {"use_sliding_window\": false", "use_sliding_window\": true"}},
    {"qwen2-late-window", DIFFERS, {"window_layers\": 1", "window_layers\": 0"}},
    {"qwen2-late-window", DIFFERS, {"window_layers\": 1", "window_layers\": 2"}},
    {"qwen2-late-window", DIFFERS, {"\"max_window_layers\": 1,", ""}},
    {"qwen2-late-window", DIFFERS, {"sliding_window\": 16", "sliding_window\": 17"}},
    {"qwen2-late-window", DIFFERS, {"use_sliding_window\": true", "use_sliding_window\": false"}},
    {"qwen2-layer-types", DIFFERS, {"\"full_attention\"", "\"sliding_attention\""}},
    {"qwen2-layer-types", REFUSED, {"\"full_attention\",", ""}},
    {"qwen2-layer-types", REFUSED, {"\"full_attention\"", "\"chunked_attention\""}},

    /* Families: what their own keys do. */
    {"qwen3", REFUSED, {"attention_bias\": false", "attention_bias\": true"}},
    {"gemma", SAME, {"\"gelu\"", "\"gelu_pytorch_tanh\""}},
    {"gemma", DIFFERS, {"\"gelu\"", "\"silu\""}},
    {"gemma2", DIFFERS, {"attn_logit_softcapping\": 2.5", "attn_logit_softcapping\": 2.6"}},
    {"gemma2", DIFFERS, {"attn_logit_softcapping\": 2.5", "attn_logit_softcapping\": null"}},
    {"gemma2", DIFFERS, {"final_logit_softcapping\": 4.0", "final_logit_softcapping\": 4.1"}},
    {"gemma2", REFUSED, {"final_logit_softcapping\": 4.0", "final_logit_softcapping\": -4.0"}},
    {"gemma2", DIFFERS, {"query_pre_attn_scalar\": 24", "query_pre_attn_scalar\": 25"}},
    {"gemma2", DIFFERS, {"sliding_window\": 13", "sliding_window\": 12"}},
    {"gemma3", DIFFERS, {"sliding_window_pattern\": 6", "sliding_window_pattern\": 3"}},
    {"gemma3", DIFFERS, {"local_base_freq\": 10000.0", "local_base_freq\": 8000.0"}},
    {"gemma3", DIFFERS, {"\"factor\": 3.0", "\"factor\": 2.5"}},
    {"gemma3-new", DIFFERS, {"theta\": 90.0", "theta\": 100.0"}},
    {"gpt2", REFUSED, {"n_positions\": 64", "n_positions\": 65"}},
    {"gpt2", REFUSED, {"\"n_inner\"", "\"scale_attn_by_inverse_layer_idx\": true, \"n_inner\""}},
    {"gpt2", REFUSED, {"n_inner\": null", "n_inner\": 100"}},
    {"gpt-neox", DIFFERS, {"parallel_residual\": true", "parallel_residual\": false"}},
    {"gpt-neox", DIFFERS, {"rotary_pct\": 0.45", "rotary_pct\": 0.25"}},
    {"gpt-neox", DIFFERS, {"emb_base\": 10000", "emb_base\": 9000"}},
    {"gpt-j", DIFFERS, {"rotary_dim\": 10", "rotary_dim\": 8"}},
    {"bloom",
     REFUSED,
     {"\"n_layer\"", "\"apply_residual_connection_post_layernorm\": true, \"n_layer\""}},
    {"opt", REFUSED, {"layer_norm_before\": true", "layer_norm_before\": false"}},
    {"opt", REFUSED, {"proj_dim\": 36", "proj_dim\": 20"}},
    {"opt", REFUSED, {"\"ffn_dim\"", "\"enable_bias\": false, \"ffn_dim\""}},
    {"falcon-7b", REFUSED, {"multi_query\": true", "multi_query\": false"}},
    {"falcon-7b", REFUSED, {"parallel_attn\": true", "parallel_attn\": false"}},
    {"falcon-40b", REFUSED, {"architecture\": true", "architecture\": false"}},
    {"falcon-40b", REFUSED, {"num_kv_heads\": 2", "num_kv_heads\": 1"}},
    {"falcon-rw", DIFFERS, {"alibi\": true", "alibi\": false"}},
    {"mpt", REFUSED, {"clip_qkv\": null", "clip_qkv\": 8"}},
    {"mpt", REFUSED, {"alibi\": true", "alibi\": false"}},
    {"mpt", DIFFERS, {"bias_max\": 8", "bias_max\": 9"}},
    {"mpt", DIFFERS, {"softmax_scale\": null", "softmax_scale\": 0.3"}},
    {"mpt", REFUSED, {"expansion_ratio\": 4", "expansion_ratio\": 3"}},

    /* Experts. */
    {"mixtral", DIFFERS, {"per_tok\": 2", "per_tok\": 3"}},
    {"mixtral", DIFFERS, {"per_tok\": 2", "per_tok\": 1"}},
    {"mixtral", REFUSED, {"per_tok\": 2", "per_tok\": 7"}},
    {"mixtral", REFUSED, {"per_tok\": 2", "per_tok\": 65"}},
    {"mixtral", REFUSED, {"\"num_experts_per_tok\": 2,", ""}},
    {"mixtral", REFUSED, {"local_experts\": 6", "local_experts\": 5"}},
    {"mixtral", REFUSED, {"local_experts\": 6", "local_experts\": 7"}},
    {"mixtral", REFUSED, {"\"num_local_experts\": 6,", ""}},
    {"mixtral", REFUSED, {"intermediate_size\": 28", "intermediate_size\": 27"}},
    {"mixtral", DIFFERS, {"sliding_window\": null", "sliding_window\": 20"}},
    {"qwen2-moe", DIFFERS, {"topk_prob\": false", "topk_prob\": true"}},
    {"qwen2-moe", SAME, {"\"norm_topk_prob\": false,", ""}},
    {"qwen2-moe", REFUSED, {"shared_expert_intermediate_size\": 44", "shared_expert_intermediate_size\": 43"}},
    {"qwen2-moe", REFUSED, {"\"shared_expert_intermediate_size\": 44,", ""}},
    {"qwen2-moe", REFUSED, {"\"moe_intermediate_size\": 20", "\"moe_intermediate_size\": 21"}},
    {"qwen2-moe", REFUSED, {"use_sliding_window\": false", "use_sliding_window\": true"}},
    {"qwen2-moe", REFUSED, {"\"vocab_size\"", "\"qkv_bias\": false, \"vocab_size\""}},
    {"qwen2-moe", REFUSED, {"\"vocab_size\"", "\"routed_scaling_factor\": 2.5, \"vocab_size\""}},
    {"qwen2-moe-dense", REFUSED, {"[\n    1\n  ]", "[0]"}},
    {"qwen2-moe-dense", REFUSED, {"[\n    1\n  ]", "[3]"}},
    {"qwen2-moe-dense", REFUSED, {"intermediate_size\": 40", "intermediate_size\": 41"}},
    {"qwen3-moe", DIFFERS, {"\"norm_topk_prob\": true,", ""}},
    {"qwen3-moe-step", DIFFERS, {"topk_prob\": false", "topk_prob\": true"}},
    {"qwen3-moe-step", REFUSED, {"sparse_step\": 2", "sparse_step\": 1"}},
    {"olmoe", REFUSED, {"clip_qkv\": null", "clip_qkv\": 8"}},
    {"olmoe", DIFFERS, {"topk_prob\": false", "topk_prob\": true"}},
    {"granite-moe", DIFFERS, {"residual_multiplier\": 0.35", "residual_multiplier\": 0.36"}},
    {"granite-moe", REFUSED, {"intermediate_size\": 24", "intermediate_size\": 48"}},
    {"granite-moe-shared", REFUSED, {"shared_intermediate_size\": 36", "shared_intermediate_size\": 0"}},
    {"gpt-oss", DIFFERS, {"swiglu_limit\": 7.0", "swiglu_limit\": 6.5"}},
    {"gpt-oss", REFUSED, {"\"swiglu_limit\"", "\"swiglu_alpha\": 1.5, \"swiglu_limit\""}},
    {"gpt-oss", DIFFERS, {"truncate\": false", "truncate\": true"}},
    {"gpt-oss", REFUSED, {"attention_bias\": true", "attention_bias\": false"}},
    {"gpt-oss", SAME, {"\"silu\"", "\"gelu\""}},
    {"starcoder2", DIFFERS, {"window\": 14", "window\": null"}},
    {"starcoder2", REFUSED, {"use_bias\": true", "use_bias\": false"}},
    {"stablelm", REFUSED, {"parallel_residual\": false", "parallel_residual\": true"}},
    {"stablelm", REFUSED, {"use_qkv_bias\": true", "use_qkv_bias\": false"}},
    {"stablelm", REFUSED, {"qk_layernorm\": false", "qk_layernorm\": true"}},
    {"stablelm", SAME, {"\"partial_rotary_factor\": 0.25,", ""}},
    {"phi", DIFFERS, {"rotary_factor\": 0.45", "rotary_factor\": 0.25"}},
    {"phi-qk-norm", REFUSED, {"qk_layernorm\": true", "qk_layernorm\": false"}},
    {"phi3", DIFFERS, {"window\": 15", "window\": null"}},
    {"phi3-long", DIFFERS, {"embeddings\": 20", "embeddings\": 64"}},
    {"phi3-long", SAME, {"\"longrope\"", "\"su\""}},
    {"phi3-long", REFUSED, {"\"short_factor\"", "\"other_factor\""}},
    {"phi3-long", REFUSED, {"rotary_factor\": 0.75", "rotary_factor\": 0.5"}},
    {"smollm3", SAME, {"\"no_rope_layer_interval\": 4,", ""}},
    {"olmo", REFUSED, {"clip_qkv\": null", "clip_qkv\": 8.0"}},
    {"granite", DIFFERS, {"embedding_multiplier\": 6.0", "embedding_multiplier\": 6.5"}},
    {"granite", DIFFERS, {"residual_multiplier\": 0.35", "residual_multiplier\": 0.4"}},
    {"granite", DIFFERS, {"attention_multiplier\": 0.11", "attention_multiplier\": 0.2"}},
    {"granite", DIFFERS, {"logits_scaling\": 4.0", "logits_scaling\": 4.2"}},
    {"granite", REFUSED, {"logits_scaling\": 4.0", "logits_scaling\": -1.0"}},
    {"cohere", DIFFERS, {"logit_scale\": 0.25", "logit_scale\": 0.26"}},
    {"cohere-qk-norm", REFUSED, {"use_qk_norm\": true", "use_qk_norm\": false"}},
    {"cohere2", DIFFERS, {"window_pattern\": 4", "window_pattern\": 3"}},
    {"cohere2", DIFFERS, {"window\": 12", "window\": 11"}},
    {"exaone4", DIFFERS, {"window\": 12", "window\": 11"}},
    {"exaone4-global", SAME, {"\"sliding_window_pattern\": null,", ""}},

    /* Another way to say the same: transformers reads these as it does the originals. */
    {"linear-old", SAME, {"\"rope_theta\": 10000.0,", ""}},
    {"linear-old", SAME, {"\"type\": \"linear\"", "\"rope_type\": \"linear\", \"type\": \"yarn\""}},
    {"linear-new", SAME, {"\"tie_word_embeddings\": false,", "\"rope_scaling\": {},"}},
    {"linear-new", SAME, {"\"num_key_value_heads\": 2,", "\"head_dim\": null,"}},
    {"linear-new", SAME, {"_value_heads\": 2", "_value_heads\": null"}},
    {"llama-untied", SAME, {"\"rope_scaling\": null,", ""}},
    {"yarn-old", SAME, {"\"factor\": 4.0", "\"beta_fast\": null, \"factor\": null"}},
    {"yarn-old", SAME, {"\"factor\": 4.0", "\"factor\": 4, \"mscale\": 0.5"}},
    {"yarn-old",
     SAME,
     {"\"original_max_position_embeddings\": 16,", "", "\"hidden_act\"",
      "\"original_max_position_embeddings\": 16, \"hidden_act\""}},
    {"qwen2", SAME, {"\"hidden_act\"", "\"head_dim\": 24, \"hidden_act\""}},
    {"mistral-full", SAME, {"\"hidden_act\"", "\"attention_bias\": true, \"hidden_act\""}},
};

/* What the comparison sees of one change, as a line; false when that is not enough. */
static bool try_change(const struct change *c)
{
    struct model m;
    size_t n;
    double largest;
    char path[PATH_SIZE];
    open_model(&m, c->model);
    data_path(path, m.folder, "config.json");
    char *text = read_data(path, &n);
    for (int i = 0; i < 6 && c->edits[i]; i += 2)
        text = replaced(text, c->edits[i], c->edits[i + 1]);
    link_files(&m, "config.json");
    assert_true(snprintf(path, sizeof path, "%s/config.json", changed) < PATH_SIZE);
    write_data(path, text, strlen(text));
    int code = try_changed(&m, &largest);
    bool good = c->what == REFUSED ? code < 0 : code == SLM_OK;
    good = good && (c->what != SAME || largest < CLOSE) && (c->what != DIFFERS || largest > FAR);
    print_message("%s %-22s %s -> %s: ", good ? "  " : "!!", c->model, c->edits[0], c->edits[1]);
    if (code < 0)
        print_message("%s\n", slm_last_error());
    else
        print_message("%.2g\n", largest);
    empty_changed();
    free(text);
    close_model(&m);
    return good;
}

static void changed_configurations_have_their_effect(void **state)
{
    (void)state;
    size_t missed = 0;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        missed += !try_change(&changes[i]);
    if (missed)
        fail_msg("%zu changes had another effect", missed);
}

/* ------------------------------------------------------------------------ tensors --- */

/* The model with the bytes [begin, end) of its file set to zero. */
static void zero_bytes(const struct model *m, size_t begin, size_t end)
{
    char path[PATH_SIZE];
    size_t n;
    data_path(path, m->folder, "model.safetensors");
    char *data = read_data(path, &n);
    assert_true(begin < end && end <= n);
    memset(data + begin, 0, end - begin);
    link_files(m, "model.safetensors");
    assert_true(snprintf(path, sizeof path, "%s/model.safetensors", changed) < PATH_SIZE);
    write_data(path, data, n);
    free(data);
}

/* Set each tensor to zero in turn: none may be without effect. */
static void check_tensors(const char *name)
{
    struct model m;
    char path[PATH_SIZE];
    size_t n, tried = 0, missed = 0;
    struct slm_json *header;
    open_model(&m, name);
    data_path(path, m.folder, "model.safetensors");
    char *data = read_data(path, &n);
    uint64_t length;
    memcpy(&length, data, sizeof length);
    assert_int_equal(slm_json_parse(&header, data + 8, length, NULL), SLM_OK);
    free(data);

    slm_json_node tensor = slm_json_first(header, 0);
    for (; tensor >= 0; tensor = slm_json_next(header, tensor)) {
        const char *key = slm_json_key(header, tensor, NULL);
        slm_json_node offsets = slm_json_get(header, tensor, "data_offsets");
        if (offsets < 0 || strstr(key, "inv_freq")) /* metadata; a buffer that nobody reads */
            continue;
        size_t start = 8 + length;
        zero_bytes(&m, start + (size_t)slm_json_number(header, slm_json_at(header, offsets, 0), 0),
                   start + (size_t)slm_json_number(header, slm_json_at(header, offsets, 1), 0));
        double largest;
        if (try_changed(&m, &largest) != SLM_OK)
            fail_msg("%s: %s", name, slm_last_error());
        empty_changed();
        if (!(largest > FAR))
            print_message("!! %s: %s set to zero changes logits by %.2g\n", name, key, largest);
        missed += !(largest > FAR);
        tried++;
    }
    print_message("%-22s each of %zu tensors matters\n", name, tried);
    slm_json_free(header);
    close_model(&m);
    assert_int_equal(missed, 0);
    assert_true(tried >= 15);
}

static void every_tensor_matters(void **state)
{
    (void)state;
    check_tensors("llama-untied");
    check_tensors("llama-tied-f16");
    check_tensors("llama-biases");
    check_tensors("llama-head-dim");
    check_tensors("mistral-window");
    check_tensors("qwen2");
    check_tensors("qwen2-layer-types");
    check_tensors("gemma3");
    check_tensors("gpt2");
    check_tensors("gpt-neox");
    check_tensors("falcon-40b");
    check_tensors("bloom");
    check_tensors("cohere-qk-norm");
    check_tensors("olmo2");
    check_tensors("phi-qk-norm");
    check_tensors("openelm");
    check_tensors("stablelm-qk-norm");
    check_tensors("qwen2-moe");
    check_tensors("gpt-oss");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_must_be_there),
        cmocka_unit_test(logits_equal_pytorch),
        cmocka_unit_test(eight_bit_weights_equal_pytorch),
        cmocka_unit_test(gguf_gives_the_same_model),
        cmocka_unit_test(changed_configurations_have_their_effect),
        cmocka_unit_test(every_tensor_matters),
    };
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
