/*
 * test_config.c - what config.json and GGUF keys say about a model: numbers, RoPE scalings against
 * transformers (tests/golden/make_rope.py), windows, optional parts; and what they can't say.
 */
#include "unit/tiny_source.h"

#include "convert/config.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* One after the other; each call makes it new. */
static struct slm_config config;

static int from_text(const char *text)
{
    struct slm_json *json;
    slm_config_free(&config);
    memset(&config, 0, sizeof config);
    int err = slm_json_parse(&json, text, strlen(text), NULL);
    if (!err)
        err = slm_config_from_json(&config, json);
    slm_json_free(json);
    return err ? err : slm_config_finish(&config);
}

/* The config.json of a tiny model, and the changes of a test in it. */
static int from_json(const char *more)
{
    struct slm_buf b = tiny_config(&TINY_WIDE, more);
    slm_buf_byte(&b, 0);
    int err = from_text((const char *)b.data);
    slm_buf_free(&b);
    return err;
}

static void refuse_json(const char *more, int code, const char *text)
{
    int err = from_json(more);
    if (err != code || !strstr(slm_error_message(), text))
        fail_msg("%s: code %d, \"%s\"; wanted %d and \"%s\"", more, err, slm_error_message(), code,
                 text);
}

static int from_gguf(struct gguf_builder *g)
{
    struct slm_buf file = gguf_finish(g);
    struct slm_gguf *gguf;
    slm_config_free(&config);
    memset(&config, 0, sizeof config);
    assert_int_equal(slm_gguf_open(&gguf, file.data, file.length, NULL), SLM_OK);
    int err = slm_config_from_gguf(&config, gguf);
    if (!err)
        err = slm_config_finish(&config);
    slm_gguf_free(gguf);
    slm_buf_free(&file);
    return err;
}

static void refuse_gguf(struct gguf_builder *g, int code, const char *text)
{
    int err = from_gguf(g);
    if (err != code || !strstr(slm_error_message(), text))
        fail_msg("code %d, \"%s\"; wanted %d and \"%s\"", err, slm_error_message(), code, text);
}

static int free_config(void **state)
{
    (void)state;
    slm_config_free(&config);
    return 0;
}

/* ---------------------------------------------------------------------------- numbers --- */

static void reads_numbers(void **state)
{
    (void)state;
    assert_int_equal(from_json(""), SLM_OK);
    struct slm_config from_hf = config;
    assert_string_equal(config.family->name, "llama");
    assert_int_equal(config.traits.n_layers, 1);
    assert_int_equal(config.traits.dim, 256);
    assert_int_equal(config.traits.n_vocab, 24);
    assert_int_equal(config.traits.max_context, 128);
    assert_true(config.traits.norm_eps == 1e-5f);
    assert_int_equal(config.traits.norm, SLM_NORM_RMS);
    assert_int_equal(config.traits.attention, SLM_ATTENTION_CAUSAL);
    assert_int_equal(config.traits.activation, SLM_ACT_SILU);
    assert_true(config.traits.embedding_scale == 1 && config.traits.residual_scale == 1 &&
                config.traits.logit_scale == 1);
    assert_int_equal(config.layers[0].n_heads, 4);
    assert_int_equal(config.layers[0].n_kv_heads, 2);
    assert_int_equal(config.layers[0].head_dim, 64);
    assert_int_equal(config.layers[0].ffn_dim, 256);
    assert_int_equal(config.layers[0].window, 0);
    assert_true(config.layers[0].attention_scale == 0.125f);
    assert_int_equal(config.rope_traits[0].dims, 64);
    assert_true(config.rope_traits[0].magnitude == 1);
    assert_true(config.frequencies[0][0] == 1);

    struct gguf_builder g = {0};
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_u32(&g, "llama.vocab_size", 24);
    float first = config.frequencies[0][31];
    from_hf.layers = NULL;
    from_hf.frequencies[0] = NULL;
    assert_int_equal(from_gguf(&g), SLM_OK);
    assert_memory_equal(&config.traits, &from_hf.traits, sizeof config.traits);
    assert_memory_equal(&config.rope_traits, &from_hf.rope_traits, sizeof config.rope_traits);
    assert_true(config.frequencies[0][31] == first);
    assert_true(config.neighbours);
    assert_false(from_hf.neighbours);
}

static void fills_in_what_is_not_said(void **state)
{
    (void)state;
    assert_int_equal(from_json("\"head_dim\":null,\"num_key_value_heads\":null,"), SLM_OK);
    assert_int_equal(config.layers[0].head_dim, 64);
    assert_int_equal(config.layers[0].n_kv_heads, 4);
    assert_int_equal(from_json("\"head_dim\":32,"), SLM_OK); /* heads narrower than the model */
    assert_int_equal(config.layers[0].head_dim, 32);
    assert_true(config.layers[0].attention_scale == (float)(1 / sqrt(32)));
    assert_int_equal(from_json("\"rope_theta\":null,"), SLM_OK);
    assert_true(config.rope.base == 10000);
    assert_int_equal(from_json("\"rope_parameters\":{\"rope_theta\":77.5,"
                               "\"rope_type\":\"default\"},"),
                     SLM_OK);
    assert_true(config.rope.base == 77.5);
    assert_int_equal(from_json("\"partial_rotary_factor\":0.5,"), SLM_OK);
    assert_int_equal(config.rope_traits[0].dims, 32);
    assert_int_equal(from_json("\"max_position_embeddings\":null,"), SLM_OK);
    assert_int_equal(config.traits.max_context, 0);
}

static void names_what_is_missing(void **state)
{
    (void)state;
    static const char *const needed[] = {"hidden_size",       "intermediate_size",
                                         "num_hidden_layers", "num_attention_heads",
                                         "rms_norm_eps",      "vocab_size"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        char more[64], text[64];
        snprintf(more, sizeof more, "\"%s\":null,", needed[i]);
        snprintf(text, sizeof text, "config.json: %s is missing", needed[i]);
        refuse_json(more, SLM_EFORMAT, text);
        snprintf(more, sizeof more, "\"%s\":\"12\",", needed[i]);
        snprintf(text, sizeof text, "config.json: %s is not a number", needed[i]);
        refuse_json(more, SLM_EFORMAT, text);
    }
    static const char *const keys[] = {"llama.block_count", "llama.embedding_length",
                                       "llama.feed_forward_length", "llama.attention.head_count",
                                       "llama.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct gguf_builder g = {0};
        tiny_gguf_keys(&TINY_WIDE, &g);
        for (size_t at = 0; at < g.keys.length; at++) /* spoil the name */
            if (memcmp(g.keys.data + at, keys[i], strlen(keys[i])) == 0) {
                g.keys.data[at] = 'X';
                break;
            }
        char text[80];
        snprintf(text, sizeof text, "%s is missing", keys[i]);
        refuse_gguf(&g, SLM_EFORMAT, text);
    }
}

static void refuses_impossible_numbers(void **state)
{
    (void)state;
    refuse_json("\"hidden_size\":0,", SLM_EFORMAT, "hidden_size is 0");
    refuse_json("\"hidden_size\":-4,", SLM_EFORMAT, "hidden_size is -4");
    refuse_json("\"hidden_size\":255.5,", SLM_EFORMAT, "hidden_size is 255.5");
    refuse_json("\"hidden_size\":1e9,", SLM_ELIMIT, "hidden_size is 1000000000; the limit is");
    refuse_json("\"num_hidden_layers\":1025,", SLM_ELIMIT, "num_hidden_layers is 1025");
    refuse_json("\"num_key_value_heads\":3,", SLM_EFORMAT, "can't share 3");
    refuse_json("\"num_attention_heads\":6,\"head_dim\":null,", SLM_EFORMAT, "no multiple of 6");
    refuse_json("\"head_dim\":63,", SLM_EFORMAT, "even number");
    refuse_json("\"rms_norm_eps\":0,", SLM_EFORMAT, "epsilon");
    refuse_json("\"rms_norm_eps\":1e999,", SLM_EFORMAT, "not a finite number");
    refuse_json("\"rope_theta\":-1,", SLM_EFORMAT, "theta");
    refuse_json("\"partial_rotary_factor\":1.5,", SLM_EFORMAT, "partial_rotary_factor is 1.5");
    assert_int_equal(from_text("[]"), SLM_EFORMAT);
    assert_int_equal(from_text("{}"), SLM_EFORMAT);
    assert_non_null(strstr(slm_error_message(), "architectures is missing"));

    struct gguf_builder g = {0};
    gguf_u32(&g, "llama.block_count", 3);
    refuse_gguf(&g, SLM_EFORMAT, "general.architecture is missing");
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_u32(&g, "llama.attention.key_length", 2000);
    refuse_gguf(&g, SLM_ELIMIT, "llama.attention.key_length is 2000; the limit is 1024");
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_u32(&g, "llama.attention.key_length", 32); /* dimension_count says 64 */
    refuse_gguf(&g, SLM_EFORMAT, "64 rotating dimensions in heads of 32");
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_u32(&g, "llama.attention.key_length", 64);
    gguf_u32(&g, "llama.attention.value_length", 32);
    refuse_gguf(&g, SLM_EUNSUPPORTED, "value_length is 32");
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_u32(&g, "llama.expert_count", 8);
    refuse_gguf(&g, SLM_EFORMAT, "llama.expert_used_count is missing");
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_u32(&g, "llama.expert_count", 8);
    gguf_u32(&g, "llama.expert_used_count", 9);
    refuse_gguf(&g, SLM_EFORMAT, "expert_used_count is 9, but there are 8 experts");
    gguf_text(&g, "general.architecture", "gpt2");
    gguf_u32(&g, "gpt2.expert_count", 8);
    refuse_gguf(&g, SLM_EUNSUPPORTED, "gpt2.expert_count is 8: models of this architecture with experts");
    gguf_text(&g, "general.architecture", "olmoe");
    refuse_gguf(&g, SLM_EUNSUPPORTED, "models of this architecture without experts");
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_u32(&g, "split.count", 3);
    refuse_gguf(&g, SLM_EUNSUPPORTED, "one of 3 parts");
}

#define MIXTRAL "\"architectures\":[\"MixtralForCausalLM\"],"
#define OF_EIGHT MIXTRAL "\"num_local_experts\":8,\"num_experts_per_tok\":2,"

static void reads_experts(void **state)
{
    (void)state;
    assert_int_equal(from_json(OF_EIGHT), SLM_OK);
    assert_int_equal(config.layers[0].n_experts, 8);
    assert_int_equal(config.layers[0].n_chosen, 2);
    assert_int_equal(config.layers[0].expert_dim, 256);
    assert_int_equal(config.layers[0].ffn_dim, 0);
    assert_int_equal(config.layers[0].router, SLM_ROUTER_CHOSEN);
    assert_true(config.layers[0].parts & SLM_LAYER_GATE);
    struct gguf_builder g = {0};
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_u32(&g, "llama.vocab_size", 24);
    gguf_u32(&g, "llama.expert_count", 8);
    gguf_u32(&g, "llama.expert_used_count", 2);
    struct slm_layer_traits expected = config.layers[0];
    assert_int_equal(from_gguf(&g), SLM_OK);
    assert_string_equal(config.family->name, "mixtral");
    assert_memory_equal(&config.layers[0], &expected, sizeof expected);

    refuse_json(MIXTRAL, SLM_EFORMAT, "num_experts (or num_local_experts) is missing");
    refuse_json(MIXTRAL "\"num_local_experts\":8,", SLM_EFORMAT, "num_experts_per_tok is missing");
    refuse_json(OF_EIGHT "\"num_experts_per_tok\":9,", SLM_EFORMAT,
                "num_experts_per_tok is 9, but there are 8 experts");
    refuse_json(OF_EIGHT "\"num_local_experts\":1025,", SLM_ELIMIT, "num_local_experts is 1025");
    refuse_json(OF_EIGHT "\"num_local_experts\":-1,", SLM_EFORMAT, "num_local_experts is -1");
    refuse_json(OF_EIGHT "\"num_local_experts\":2.5,", SLM_EFORMAT, "num_local_experts is 2.5");
    refuse_json(OF_EIGHT "\"num_local_experts\":\"8\",", SLM_EFORMAT, "is not a number");
    refuse_json(OF_EIGHT "\"moe_intermediate_size\":1e9,", SLM_ELIMIT, "moe_intermediate_size");
    refuse_json(OF_EIGHT "\"mlp_only_layers\":[1],", SLM_EFORMAT, "mlp_only_layers names a layer");
    refuse_json(OF_EIGHT "\"mlp_only_layers\":[0.5],", SLM_EFORMAT, "mlp_only_layers");
    refuse_json(OF_EIGHT "\"routed_scaling_factor\":2,", SLM_EUNSUPPORTED, "routed_scaling_factor is 2");
}

static void knows_what_it_does_not_know(void **state)
{
    (void)state;
    refuse_json("\"architectures\":[\"MambaForCausalLM\"],", SLM_EUNSUPPORTED,
                "architecture 'MambaForCausalLM' is not supported; supported: LlamaForCausalLM");
    assert_non_null(strstr(slm_error_message(), "MistralForCausalLM"));
    assert_non_null(strstr(slm_error_message(), "Qwen2ForCausalLM"));
    refuse_json("\"architectures\":[],", SLM_EFORMAT, "architectures is missing");
    refuse_json("\"hidden_act\":\"mish\",", SLM_EUNSUPPORTED, "hidden_act 'mish'");
    refuse_json("\"quantization_config\":{\"quant_method\":\"gptq\"},", SLM_EUNSUPPORTED,
                "quantized with 'gptq'");
    refuse_json("\"rope_scaling\":{\"type\":\"mrope\",\"factor\":2},", SLM_EUNSUPPORTED,
                "'mrope' is not supported; supported: default, linear, dynamic, yarn, llama3, longrope");
    refuse_json("\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2},", SLM_EFORMAT,
                "short_factor is not a list of 32 numbers");
    refuse_json("\"rope_scaling\":7,", SLM_EFORMAT, "rope_scaling is not an object");
    struct gguf_builder g = {0};
    gguf_text(&g, "general.architecture", "mamba\n");
    refuse_gguf(&g, SLM_EUNSUPPORTED, "architecture 'mamba?' is not supported; supported: llama");
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_text(&g, "llama.rope.scaling.type", "longrope");
    refuse_gguf(&g, SLM_EFORMAT, "longrope without its two lists");
}

/* ------------------------------------------------------------------------------- rope --- */

/* Units in the last place between two positive floats. */
static int64_t ulps(float a, float b)
{
    return llabs((int64_t)slm_bits_of(a) - (int64_t)slm_bits_of(b));
}

static void rope_equals_transformers(void **state)
{
    (void)state;
    size_t n;
    char *text = (char *)load_data("rope/tables.txt", &n);
    if (!text)
        fail_msg("rope/tables.txt is missing: set SLM_TEST_DATA to the folder tests/data");
    int cases = 0, exact = 0, all = 0;
    for (char *line = text; *line; cases++) {
        char *magnitude = strchr(line, '\n'), *table = strchr(magnitude + 1, '\n');
        *magnitude++ = '\0';
        *table++ = '\0';
        if (from_text(line) != SLM_OK)
            fail_msg("%s: %s", line, slm_error_message());
        assert_true(config.rope_traits[0].magnitude == (float)strtod(magnitude, NULL));
        for (uint32_t i = 0; i < config.rope_traits[0].dims / 2; i++) {
            float expected = slm_float_of((uint32_t)strtoul(table, &table, 16));
            /* Its pow has an error of up to one unit. */
            if (ulps(config.frequencies[0][i], expected) > 1)
                fail_msg("%s: frequency %u is %.9g, not %.9g", line, (unsigned)i,
                         (double)config.frequencies[0][i], (double)expected);
            exact += config.frequencies[0][i] == expected;
            all++;
        }
        assert_int_equal(*table, '\n');
        line = table + 1;
        bool dynamic = config.rope.kind == SLM_ROPE_KIND_DYNAMIC;
        assert_int_equal(config.rope_traits[0].scaling, dynamic ? SLM_ROPE_DYNAMIC : SLM_ROPE_TABLE);
    }
    assert_int_equal(cases, 15);
    assert_true(exact > all * 95 / 100);
    free(text);
}

static void dynamic_scaling_keeps_its_numbers(void **state)
{
    (void)state;
    assert_int_equal(from_json("\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4},"
                               "\"max_position_embeddings\":2048,\"rope_theta\":5000,"),
                     SLM_OK);
    assert_true(config.rope_traits[0].base == 5000);
    assert_true(config.rope_traits[0].factor == 4);
    assert_int_equal(config.rope_traits[0].original_context, 2048);
}

static void refuses_bad_scalings(void **state)
{
    (void)state;
    refuse_json("\"rope_scaling\":{\"type\":\"linear\"},", SLM_EFORMAT, "factor is missing");
    refuse_json("\"rope_scaling\":{\"type\":\"linear\",\"factor\":-2},", SLM_EFORMAT, "factor");
    refuse_json("\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"2\"},", SLM_EFORMAT,
                "factor is not a number");
    refuse_json("\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2},"
                "\"max_position_embeddings\":null,",
                SLM_EFORMAT, "original context");
    refuse_json("\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2},", SLM_EFORMAT,
                "low_freq_factor");
    refuse_json("\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"attention_factor\":-1},",
                SLM_EFORMAT, "attention factor");
}

/* The keys that llama.cpp's converter writes for the same model give the same table. */
static void gguf_scalings_equal_json(void **state)
{
    (void)state;
    assert_int_equal(from_json("\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":4.0},"),
                     SLM_OK);
    float expected[32], magnitude;
    memcpy(expected, config.frequencies[0], sizeof expected);
    struct gguf_builder g = {0};
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_u32(&g, "llama.vocab_size", 24);
    gguf_text(&g, "llama.rope.scaling.type", "linear");
    gguf_f32(&g, "llama.rope.scaling.factor", 4);
    assert_int_equal(from_gguf(&g), SLM_OK);
    assert_memory_equal(config.frequencies[0], expected, sizeof expected);
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_f32(&g, "llama.rope.scaling.factor", 4); /* a factor alone is linear */
    assert_int_equal(from_gguf(&g), SLM_OK);
    assert_memory_equal(config.frequencies[0], expected, sizeof expected);
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_text(&g, "llama.rope.scaling.type", "none");
    gguf_f32(&g, "llama.rope.scaling.factor", 4);
    assert_int_equal(from_gguf(&g), SLM_OK);
    assert_true(config.frequencies[0][31] != expected[31]);

    assert_int_equal(from_json("\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":8.0,"
                               "\"original_max_position_embeddings\":64,\"beta_fast\":20,"
                               "\"beta_slow\":2,\"attention_factor\":1.25},"),
                     SLM_OK);
    memcpy(expected, config.frequencies[0], sizeof expected);
    magnitude = config.rope_traits[0].magnitude;
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_text(&g, "llama.rope.scaling.type", "yarn");
    gguf_f32(&g, "llama.rope.scaling.factor", 8);
    gguf_u32(&g, "llama.rope.scaling.original_context_length", 64);
    gguf_f32(&g, "llama.rope.scaling.yarn_beta_fast", 20);
    gguf_f32(&g, "llama.rope.scaling.yarn_beta_slow", 2);
    gguf_f32(&g, "llama.rope.scaling.yarn_attn_factor", 1.25f);
    assert_int_equal(from_gguf(&g), SLM_OK);
    assert_memory_equal(config.frequencies[0], expected, sizeof expected);
    assert_true(config.rope_traits[0].magnitude == magnitude && magnitude == 1.25f);

    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_text(&g, "llama.rope.scaling.type", "yarn");
    gguf_f32(&g, "llama.rope.scaling.factor", 8);
    gguf_f32(&g, "llama.rope.scaling.attn_factor", 0.5f);
    gguf_f32(&g, "llama.rope.scaling.yarn_ext_factor", 1);
    assert_int_equal(from_gguf(&g), SLM_OK);
    assert_true(config.rope_traits[0].magnitude == (float)(0.1 * log(8) + 1) * 0.5f);
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_f32(&g, "llama.rope.scaling.yarn_ext_factor", 0.5f);
    refuse_gguf(&g, SLM_EUNSUPPORTED, "yarn_ext_factor is 0.5");
    tiny_gguf_keys(&TINY_WIDE, &g);
    gguf_text(&g, "llama.rope.scaling.type", "linear");
    gguf_f32(&g, "llama.rope.scaling.factor", 4);
    gguf_f32(&g, "llama.rope.scaling.original_context_length", 1e20f);
    refuse_gguf(&g, SLM_EFORMAT, "original context length is 1e+20");
}

/* ---------------------------------------------------------------------------- families --- */

static uint32_t window_of(uint32_t layer)
{
    return config.layers[layer].window;
}

static void windows(void **state)
{
    (void)state;
#define MISTRAL "\"architectures\":[\"MistralForCausalLM\"],\"num_hidden_layers\":3,"
#define QWEN "\"architectures\":[\"Qwen2ForCausalLM\"],\"num_hidden_layers\":3,"
    assert_int_equal(from_json("\"sliding_window\":64,"), SLM_OK); /* llama does not know it */
    assert_int_equal(window_of(0), 0);
    assert_int_equal(from_json(MISTRAL "\"sliding_window\":64,"), SLM_OK);
    assert_string_equal(config.family->name, "mistral");
    assert_true(window_of(0) == 64 && window_of(2) == 64);
    assert_int_equal(from_json(MISTRAL "\"sliding_window\":null,"), SLM_OK);
    assert_int_equal(window_of(0), 0);
    assert_int_equal(from_json(MISTRAL), SLM_OK); /* the default of its class */
    assert_int_equal(window_of(0), 4096);
    assert_int_equal(from_json(QWEN "\"sliding_window\":64,\"max_window_layers\":1,"), SLM_OK);
    assert_int_equal(window_of(2), 0);
    assert_int_equal(from_json(QWEN "\"sliding_window\":64,\"max_window_layers\":1,"
                                    "\"use_sliding_window\":true,"),
                     SLM_OK);
    assert_true(window_of(0) == 0 && window_of(1) == 64 && window_of(2) == 64);
    assert_int_equal(from_json(QWEN "\"sliding_window\":64,\"use_sliding_window\":true,"
                                    "\"layer_types\":[\"sliding_attention\",\"full_attention\","
                                    "\"sliding_attention\"],"),
                     SLM_OK);
    assert_true(window_of(0) == 64 && window_of(1) == 0 && window_of(2) == 64);
    refuse_json(MISTRAL "\"sliding_window\":0,", SLM_EFORMAT, "sliding_window is 0");
    refuse_json(MISTRAL "\"sliding_window\":2.5,", SLM_EFORMAT, "sliding_window is 2.5");
    refuse_json(QWEN "\"use_sliding_window\":true,\"layer_types\":[\"full_attention\"],",
                SLM_EFORMAT, "1 entries for 3 layers");
    refuse_json(QWEN "\"use_sliding_window\":true,\"layer_types\":[\"full_attention\",7,8],",
                SLM_EUNSUPPORTED, "layer_types[1]");
}

static void optional_parts(void **state)
{
    (void)state;
    assert_int_equal(from_json(""), SLM_OK);
    const uint32_t always = SLM_PART_ALWAYS | SLM_PART_FFN_NORM;
    assert_int_equal(config.parts, always | SLM_PART_HEAD); /* the tiny wide model has one */
    assert_int_equal(from_json("\"attention_bias\":true,"), SLM_OK);
    assert_int_equal(config.parts, always | SLM_PART_HEAD | SLM_PART_QKV_BIAS | SLM_PART_OUT_BIAS);
    assert_int_equal(from_json("\"mlp_bias\":true,"), SLM_OK);
    assert_int_equal(config.parts, always | SLM_PART_HEAD | SLM_PART_FFN_BIAS);
    assert_int_equal(from_json(QWEN), SLM_OK);
    assert_int_equal(config.parts, always | SLM_PART_HEAD | SLM_PART_QKV_BIAS);
    struct gguf_builder g = {0};
    gguf_text(&g, "general.architecture", "qwen2");
    gguf_u32(&g, "qwen2.block_count", 1);
    gguf_u32(&g, "qwen2.embedding_length", 64);
    gguf_u32(&g, "qwen2.feed_forward_length", 64);
    gguf_u32(&g, "qwen2.attention.head_count", 4);
    gguf_f32(&g, "qwen2.attention.layer_norm_rms_epsilon", 1e-6f);
    assert_int_equal(from_gguf(&g), SLM_OK);
    assert_string_equal(config.family->name, "qwen2");
    assert_false(config.neighbours); /* its GGUF files keep the order of the rows */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(fills_in_what_is_not_said),
        cmocka_unit_test(names_what_is_missing),
        cmocka_unit_test(refuses_impossible_numbers),
        cmocka_unit_test(reads_experts),
        cmocka_unit_test(knows_what_it_does_not_know),
        cmocka_unit_test(rope_equals_transformers),
        cmocka_unit_test(dynamic_scaling_keeps_its_numbers),
        cmocka_unit_test(refuses_bad_scalings),
        cmocka_unit_test(gguf_scalings_equal_json),
        cmocka_unit_test(windows),
        cmocka_unit_test(optional_parts),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, free_config);
}
