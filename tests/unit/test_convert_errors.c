/*
 * test_convert_errors.c - conversions that must fail: missing, wrong and surplus tensors, damaged
 * files, full disks, refused allocations. Each names its reason, and none leaves a file.
 */
#include "unit/convert_folder.h"

#include "support/hooks.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

/* ---------------------------------------------------------------------------- weights --- */

/* A GGUF file of which one tensor is another: name NULL drops it. */
static struct slm_buf gguf_but(const char *which, const char *name, uint32_t type, uint64_t rows,
                               uint64_t cols)
{
    struct slm_buf file = tiny_gguf(&TINY_ODD);
    struct slm_gguf *g;
    struct gguf_builder b = {0};
    assert_int_equal(slm_gguf_open(&g, file.data, file.length, NULL), SLM_OK);
    tiny_gguf_keys(&TINY_ODD, &b);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct slm_source_tensor *t = &g->tensors[i];
        char text[64];
        snprintf(text, sizeof text, "%.*s", (int)t->name_length, t->name);
        if (strcmp(text, which) != 0)
            gguf_tensor(&b, text, t->type, t->n_dims == 2 ? t->shape[0] : 0,
                        t->shape[t->n_dims - 1], t->data, t->length);
        else if (name)
            gguf_tensor(&b, name, type, rows, cols, t->data, t->length);
    }
    slm_gguf_free(g);
    slm_buf_free(&file);
    return gguf_finish(&b);
}

static void tensors_must_fit(void **state)
{
    (void)state;
    const char *q = "blk.1.attn_q.weight", *norm = "blk.0.ffn_norm.weight";
    expect(put("m.gguf", gguf_but(q, NULL, 0, 0, 0)), NULL, SLM_EFORMAT,
           "tensor 'blk.1.attn_q.weight' is missing (attn_q, 40 x 40)");
    expect(put("m.gguf", gguf_but("token_embd.weight", NULL, 0, 0, 0)), NULL, SLM_EFORMAT,
           "'token_embd.weight' is missing");
    expect(put("m.gguf", gguf_but(q, q, SLM_SOURCE_F32, 20, 80)), NULL, SLM_EFORMAT,
           "tensor 'blk.1.attn_q.weight' is 20 x 80, but the configuration makes it 40 x 40");
    expect(put("m.gguf", gguf_but(q, q, SLM_SOURCE_F32, 0, 1600)), NULL, SLM_EFORMAT,
           "'blk.1.attn_q.weight' is 1600, but");
    expect(put("m.gguf", gguf_but(norm, norm, SLM_SOURCE_F32, 2, 20)), NULL, SLM_EFORMAT,
           "'blk.0.ffn_norm.weight' is 2 x 20, but the configuration makes it 40");
    expect(put("m.gguf", gguf_but(q, q, SLM_SOURCE_I32, 40, 40)), NULL, SLM_EUNSUPPORTED,
           "'blk.1.attn_q.weight' has the type I32; supported: F32");
    expect(put("m.gguf", gguf_but(norm, "blk.0.attn_q_norm.weight", SLM_SOURCE_F32, 0, 40)), NULL,
           SLM_EFORMAT, "'blk.0.ffn_norm.weight' is missing");
    struct result r = convert_to(put("m.gguf", gguf_but(norm, norm, SLM_SOURCE_F32, 1, 40)), NULL);
    release(&r); /* a vector as a matrix of one row is fine */

    /* One tensor too many: it would be part of a model that we don't compute. */
    static const char *const surplus[] = {"blk.0.attn_q_norm.weight", "blk.2.attn_q.weight",
                                          "blk.1.attn_q.bias"};
    float zeros[64] = {0};
    for (size_t i = 0; i < sizeof surplus / sizeof surplus[0]; i++) {
        struct gguf_builder g = {0};
        tiny_gguf_keys(&TINY_ODD, &g);
        tiny_gguf_tensors(&TINY_ODD, &g, 0, NULL);
        gguf_tensor(&g, surplus[i], SLM_SOURCE_F32, 0, 40, zeros, 160);
        /* A bias of layer 1 alone: layer 0 has none, so the model has none. */
        expect(put("m.gguf", gguf_finish(&g)), NULL, SLM_EUNSUPPORTED, surplus[i]);
        assert_non_null(strstr(slm_last_error(), "is not part of a 'llama' model"));
    }
    struct gguf_builder g = {0};
    tiny_gguf_keys(&TINY_ODD, &g);
    expect(put("m.gguf", gguf_finish(&g)), NULL, SLM_EUNSUPPORTED, "vocabulary only");
}

/* Llama 3's table of divisors. */
static void rope_divisors(void **state)
{
    (void)state;
    struct result plain = convert_to(put("m.gguf", tiny_gguf(&TINY_ODD)), NULL);
    float divisors[5] = {1, 1, 2, 4, 8};
    struct gguf_builder g = {0};
    tiny_gguf_keys(&TINY_ODD, &g);
    tiny_gguf_tensors(&TINY_ODD, &g, 0, NULL);
    gguf_tensor(&g, "rope_freqs.weight", SLM_SOURCE_F32, 0, 5, divisors, sizeof divisors);
    struct result r = convert_to(put("m.gguf", gguf_finish(&g)), NULL);
    for (int i = 0; i < 5; i++) {
        const struct slm_tensor_entry *a = tensor(&plain, SLM_ROLE_ROPE_FREQUENCIES, 0);
        const struct slm_tensor_entry *b = tensor(&r, SLM_ROLE_ROPE_FREQUENCIES, 0);
        assert_true(slm_load_f32(bytes_of(&r, b) + 4 * i) ==
                    slm_load_f32(bytes_of(&plain, a) + 4 * i) / divisors[i]);
    }
    release(&plain);
    release(&r);
    const struct {
        float value;
        uint64_t n;
        const char *name, *text;
        int code;
    } bad[] = {{0, 5, "rope_freqs.weight", "element 2 is 0", SLM_EFORMAT},
               {NAN, 5, "rope_freqs.weight", "element 2 is", SLM_EFORMAT},
               {1, 4, "rope_freqs.weight", "not a vector of 5 F32", SLM_EFORMAT},
               {1, 5, "rope_factors_long.weight", "longrope without its two lists", SLM_EFORMAT}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        divisors[2] = bad[i].value;
        tiny_gguf_keys(&TINY_ODD, &g);
        tiny_gguf_tensors(&TINY_ODD, &g, 0, NULL);
        gguf_tensor(&g, bad[i].name, SLM_SOURCE_F32, 0, bad[i].n, divisors, 4 * bad[i].n);
        expect(put("m.gguf", gguf_finish(&g)), NULL, bad[i].code, bad[i].text);
    }
}

/* What is no .slm file is never replaced, the source least of all. */
static void other_files_stay(void **state)
{
    (void)state;
    char source[512];
    snprintf(source, sizeof source, "%s", put("m.gguf", tiny_gguf(&TINY_ODD)));
    assert_int_equal(slm_convert(source, source, NULL), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "is no .slm file"));
    assert_int_equal(slm_convert_detect(source), SLM_CONVERT_GGUF);
    struct result r = convert_to(source, NULL);
    assert_weights(&r, &TINY_ODD, SLM_TYPE_F32);
    release(&r);
}

/* Of a Hugging Face directory: what may be ignored, and what may not. */
static void surplus_in_safetensors(void **state)
{
    (void)state;
    struct result plain = convert_to(put_hf(&TINY_ODD, "F32", ""), NULL);
    struct tiny m = TINY_ODD;
    m.head = true;
    struct safetensors_builder s = {0};
    float zeros[64] = {0};
    /* config.json says that the head is shared, and the file has the copy of it... */
    float *embedding = tiny_weights(SLM_ROLE_EMBEDDING, 0, m.vocab, m.dim);
    tiny_safetensors(&TINY_ODD, &s, "F32", 0, 1);
    safetensors_add(&s, "lm_head.weight", "F32", m.vocab, m.dim, embedding,
                    sizeof(float) * m.vocab * m.dim);
    free(embedding);
    safetensors_add(&s, "model.layers.0.self_attn.rotary_emb.inv_freq", "F32", 0, 5, zeros, 20);
    put("hf/model.safetensors", safetensors_finish(&s));
    struct result r = convert_to(in_folder("hf"), NULL);
    assert_same_model(&plain, &r);
    release(&plain);
    release(&r);

    /* ... or another one, which counts. */
    tiny_safetensors(&m, &s, "F32", 0, 1);
    put("hf/model.safetensors", safetensors_finish(&s));
    r = convert_to(in_folder("hf"), NULL);
    assert_weights(&r, &m, SLM_TYPE_F32);
    release(&r);

    put("hf/config.json", tiny_config(&m, "")); /* a head of its own, which is missing */
    tiny_safetensors(&TINY_ODD, &s, "F32", 0, 1);
    put("hf/model.safetensors", safetensors_finish(&s));
    expect(in_folder("hf"), NULL, SLM_EFORMAT, "tensor 'lm_head.weight' is missing");
    put("hf/config.json", tiny_config(&TINY_ODD, "\"attention_bias\":true,"));
    expect(in_folder("hf"), NULL, SLM_EFORMAT, "self_attn.q_proj.bias' is missing");
    put("hf/config.json", tiny_config(&TINY_ODD, "\"num_hidden_layers\":1,"));
    expect(in_folder("hf"), NULL, SLM_EUNSUPPORTED, "'model.layers.1.");
    put("hf/config.json", tiny_config(&TINY_ODD, "\"intermediate_size\":71,"));
    expect(in_folder("hf"), NULL, SLM_EFORMAT,
           "'model.layers.0.mlp.gate_proj.weight' is 70 x 40, but the configuration makes it 71 x "
           "40");
    put("hf/config.json", tiny_config(&TINY_ODD, ""));
    uint8_t bytes[37 * 40] = {0};
    safetensors_add(&s, "model.embed_tokens.weight", "I8", 37, 40, bytes, 37 * 40);
    put("hf/model.safetensors", safetensors_finish(&s));
    expect(in_folder("hf"), NULL, SLM_EUNSUPPORTED,
           "'model.embed_tokens.weight' has the type I8; supported: F32");
    unlink(in_folder("hf/model.safetensors"));
    expect(in_folder("hf"), NULL, SLM_EIO, "save them as safetensors");
    put_text_file("hf/config.json", "{\"architectures\": [\"LlamaForCausalLM\"]");
    expect(in_folder("hf"), NULL, SLM_EFORMAT, "config.json: ");
}

static void bad_llama2c(void **state)
{
    (void)state;
    static const struct {
        int field;
        int32_t value;
        const char *text;
    } bad[] = {{0, 39, "a width of 39 is no multiple of 4 heads"},
               {1, 71, "bytes, but the file has"},
               {4, 3, "can't share 3"},
               {5, 38, "has "},
               {6, 129, "but the file has"},
               {2, 3, "but the file has"},
               {0, 70000, "dim is 70000, not 1 to 65536"},
               {4, 4000, "n_kv_heads is 4000, not 1 to 1024"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slm_buf b = tiny_llama2c(&TINY_ODD);
        memcpy(b.data + 4 * bad[i].field, &bad[i].value, 4);
        expect(put("m.bin", b), NULL, SLM_EFORMAT, bad[i].text);
    }
    struct slm_buf b = tiny_llama2c(&TINY_ODD);
    slm_buf_byte(&b, 0);
    expect(put("m.bin", b), NULL, SLM_EFORMAT, "but the file has");
}

static void weights_must_be_finite(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        struct slm_buf file = tiny_gguf(&TINY_ODD);
        struct slm_gguf *g;
        assert_int_equal(slm_gguf_open(&g, file.data, file.length, NULL), SLM_OK);
        for (size_t k = 0; k < g->n_tensors; k++) /* row 3, column 5 of one matrix */
            if (g->tensors[k].name_length == 19 &&
                memcmp(g->tensors[k].name, "blk.1.ffn_up.weight", 19) == 0)
                memcpy((void *)(uintptr_t)(g->tensors[k].data + 4 * (3 * 40 + 5)), &bad[i], 4);
        slm_gguf_free(g);
        expect(put("nan.gguf", file), NULL, SLM_EFORMAT,
               "'blk.1.ffn_up.weight': row 3, column 5 is not a finite number");
    }
    /* A scale of a block that is transferred. */
    struct gguf_builder g = {0};
    tiny_gguf_keys(&TINY_WIDE, &g);
    tiny_gguf_tensors(&TINY_WIDE, &g, SLM_SOURCE_Q8_0, random_blocks);
    g.data.data[1] = 0x7C;
    expect(put("inf.gguf", gguf_finish(&g)), NULL, SLM_EFORMAT,
           "'token_embd.weight': row 0, column 0");
    /* A norm. */
    struct slm_buf checkpoint = tiny_llama2c(&TINY_ODD);
    const float nan_value = NAN;
    memcpy(checkpoint.data + 28 + 4 * (37 * 40 + 7), &nan_value, 4);
    expect(put("nan.bin", checkpoint), NULL, SLM_EFORMAT, "'blk.0.attn_norm.weight'");
    /* What f32 holds and f16 doesn't. */
    checkpoint = tiny_llama2c(&TINY_ODD);
    const float large = 70000;
    memcpy(checkpoint.data + 28 + 4 * 41, &large, 4);
    slm_convert_options options = {.size = sizeof options, .type = "f16"};
    expect(put("large.bin", checkpoint), &options, SLM_EUNSUPPORTED,
           "'token_embd.weight': row 1, column 1 is 70000, too large for f16");
    options.type = "bf16";
    struct result r = convert(in_folder("large.bin"), &options);
    release(&r);
}

/* ------------------------------------------------------------------------------ files --- */

static void names_what_it_was_given(void **state)
{
    (void)state;
    struct result r = convert_to(put("m.gguf", tiny_gguf(&TINY_ODD)), NULL);
    release(&r);
    put_text_file("empty", "");
    put_text_file("text", "some text that is long enough to be looked at, 64 bytes or more......");
    write_file(in_folder("x.safetensors"), "\x02\0\0\0\0\0\0\0{}", 10);
    write_file(in_folder("x.pt"), "PK\3\4zip archive", 15);
    write_file(in_folder("v1.bin"), "24ka\1\0\0\0", 8);
    mkdir(in_folder("nothing"), 0777);
    expect(in_folder("missing"), NULL, SLM_EIO, "missing: No such file");
    expect(in_folder("empty"), NULL, SLM_EUNSUPPORTED, "empty: is empty");
    expect(in_folder("text"), NULL, SLM_EUNSUPPORTED, "none of GGUF");
    expect(in_folder("out.slm"), NULL, SLM_EUNSUPPORTED, "a .slm file already");
    expect(in_folder("x.safetensors"), NULL, SLM_EUNSUPPORTED, "give the directory");
    expect(in_folder("x.pt"), NULL, SLM_EUNSUPPORTED, "PyTorch");
    expect(in_folder("v1.bin"), NULL, SLM_EUNSUPPORTED, "version 1 or 2");
    expect(in_folder("nothing"), NULL, SLM_EUNSUPPORTED, "without config.json");
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    expect(in_folder("pipe"), NULL, SLM_EIO, "pipe: is no regular file");
    assert_int_equal(slm_convert_detect(NULL), SLM_EINVAL);
    assert_int_equal(slm_convert(NULL, "x", NULL), SLM_EINVAL);
    assert_int_equal(slm_convert("x", NULL, NULL), SLM_EINVAL);
    slm_convert_options options = {.size = 0};
    expect(in_folder("m.gguf"), &options, SLM_EINVAL, "options->size is 0");
    options = (slm_convert_options){.size = sizeof options, .type = "q5"};
    expect(in_folder("m.gguf"), &options, SLM_EINVAL, "type 'q5': there is no such type");
    options = (slm_convert_options){.size = sizeof options, .head_type = "Q4"};
    expect(in_folder("m.gguf"), &options, SLM_EINVAL, "head_type 'Q4'");
    assert_string_equal(slm_convert_kind_name(SLM_CONVERT_GGUF), "GGUF");
    assert_null(slm_convert_kind_name(0));
    const char *name, *family;
    size_t n = 0;
    while (slm_convert_class(n, &name, &family))
        n++;
    assert_true(n >= 4);
    assert_int_equal(slm_convert_class(0, &name, &family), 1);
    assert_string_equal(name, "LlamaForCausalLM");
    assert_string_equal(family, "llama");
    if (geteuid() != 0) { /* root may read everything */
        chmod(in_folder("m.gguf"), 0);
        expect(in_folder("m.gguf"), NULL, SLM_EIO, "Permission denied");
    }
}

static void options_of_an_older_program(void **state)
{
    (void)state;
    slm_convert_options options;
    memset(&options, 0xFF, sizeof options); /* what lies past its struct is garbage */
    options.size = offsetof(slm_convert_options, head_type);
    options.type = "q8";
    struct result r = convert(put("m.gguf", tiny_gguf(&TINY_ODD)), &options);
    assert_int_equal(tensor(&r, SLM_ROLE_EMBEDDING, SLM_NO_LAYER)->type, SLM_TYPE_Q8);
    release(&r);
}

static void no_half_file_is_left(void **state)
{
    (void)state;
    put("m.gguf", tiny_gguf(&TINY_ODD));
    int before = n_files(folder, false);
    assert_int_equal(slm_convert(in_folder("m.gguf"), in_folder("no/such/folder.slm"), NULL),
                     SLM_EIO);
    assert_int_equal(slm_convert(in_folder("m.gguf"), folder, NULL), SLM_EIO);

    /* A disk that is full after so many bytes: the limit on file sizes acts like one. */
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    for (rlim_t size = 0; size < 200000; size += 30011) {
        small = (struct rlimit){size, old.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
        int err = slm_convert(in_folder("m.gguf"), in_folder("full.slm"), NULL);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(err, SLM_EIO);
        assert_non_null(strstr(slm_last_error(), "full.slm"));
        assert_int_equal(n_files(folder, false), before);
    }

    /* What stood there before stays as it was. */
    static const char precious[] = SLM_FILE_MAGIC "precious";
    put_text_file("full.slm", precious);
    small = (struct rlimit){5000, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(slm_convert(in_folder("m.gguf"), in_folder("full.slm"), NULL), SLM_EIO);
    setrlimit(RLIMIT_FSIZE, &old);
    size_t n;
    uint8_t *data = load_file(in_folder("full.slm"), &n);
    assert_memory_equal(data, precious, sizeof precious - 1);
    assert_int_equal(n, sizeof precious - 1);
    free(data);
    assert_int_equal(slm_convert(in_folder("m.gguf"), in_folder("full.slm"), NULL), SLM_OK);
    assert_int_equal(n_files(folder, false), before + 1);
}

/* Files cut at every 1/64, and 1,000 with flipped bits in what comes before the weights: an error
 * with a message or a file that opens, never anything else. */
static void mutilated_sources(void **state)
{
    (void)state;
    struct slm_buf sources[] = {tiny_gguf(&TINY_ODD), tiny_llama2c(&TINY_ODD)};
    size_t header[] = {2600, 28};
    for (int s = 0; s < 2; s++) {
        struct slm_buf *b = &sources[s];
        for (size_t i = 0; i < 64; i++) {
            write_file(in_folder("cut"), b->data, b->length * i / 64);
            int err = slm_convert(in_folder("cut"), in_folder("cut.slm"), NULL);
            assert_true(err == SLM_EFORMAT || err == SLM_EUNSUPPORTED);
            assert_true(strlen(slm_last_error()) > 10);
        }
        uint64_t seed = 42;
        int refused = 0;
        for (int i = 0; i < (s ? 100 : 1000); i++) {
            size_t at = random_u32(&seed) % header[s];
            uint8_t bit = (uint8_t)(1 << random_u32(&seed) % 8);
            b->data[at] ^= bit;
            write_file(in_folder("flip"), b->data, b->length);
            b->data[at] ^= bit;
            int err = slm_convert(in_folder("flip"), in_folder("flip.slm"), NULL);
            if (err) {
                refused++;
                continue;
            }
            struct result r = load(in_folder("flip.slm"));
            release(&r);
        }
        assert_true(refused > (s ? 50 : 500));
        slm_buf_free(b);
    }
    unlink(in_folder("cut"));
    unlink(in_folder("flip"));
    unlink(in_folder("flip.slm"));
    assert_int_equal(n_files(folder, false), 0);
}

/* ----------------------------------------------------------------------------- memory --- */

/* Refuse every allocation in turn: a clean error each time, and nothing left. */
static void survives_failing_allocations(void **state)
{
    (void)state;
    struct tiny m = TINY_ODD;
    m.vocab = 260;
    put("m.gguf", tiny_gguf(&m));
    put("m.bin", tiny_llama2c(&m));
    put("tokenizer.bin", llama2c_tokenizer(260));
    put_hf(&m, "F32", "");
    put_text_file("hf/tokenizer.json", TINY_TOKENIZER_JSON);
    put_text_file("hf/tokenizer_config.json", "{\"chat_template\":\"x\"}");
    static const char *const inputs[] = {"m.gguf", "m.bin", "hf"};
    int before = n_files(folder, false);
    for (int k = 0; k < 3; k++) {
        size_t n = 0;
        for (size_t i = 1;; i++) {
            struct hooks h;
            hooks_init(&h);
            h.fail_at = i;
            slm_convert_options options = {.size = sizeof options, .allocator = &h.allocator};
            int err = slm_convert(in_folder(inputs[k]), in_folder("out.slm"), &options);
            assert_true(hooks_clean(&h));
            if (h.n_failed == 0) {
                assert_int_equal(err, SLM_OK);
                n = i;
                break;
            }
            assert_int_equal(err, SLM_ENOMEM);
            assert_int_equal(n_files(folder, false), before);
        }
        assert_true(n > 10);
        unlink(in_folder("out.slm"));
    }
}

/* A matrix of 8 MB goes through a few rows of memory. */
static void memory_stays_small(void **state)
{
    (void)state;
    struct tiny m = TINY_ODD;
    m.vocab = 50000;
    put("m.bin", tiny_llama2c(&m));
    struct hooks h;
    hooks_init(&h);
    slm_convert_options options = {.size = sizeof options, .allocator = &h.allocator};
    struct result r = convert(in_folder("m.bin"), &options);
    assert_true(hooks_clean(&h));
    assert_true(h.peak_bytes < 256 * 1024);
    release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(tensors_must_fit),
        IN_FOLDER(rope_divisors),
        IN_FOLDER(other_files_stay),
        IN_FOLDER(surplus_in_safetensors),
        IN_FOLDER(bad_llama2c),
        IN_FOLDER(weights_must_be_finite),
        IN_FOLDER(names_what_it_was_given),
        IN_FOLDER(options_of_an_older_program),
        IN_FOLDER(no_half_file_is_left),
        IN_FOLDER(mutilated_sources),
        IN_FOLDER(survives_failing_allocations),
        IN_FOLDER(memory_stays_small),
    };
    return cmocka_run_group_tests_name("convert_errors", tests, NULL, NULL);
}
