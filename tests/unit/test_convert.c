/*
 * test_convert.c - whole conversions of tiny models: what they become, bit for bit, from every
 * format and every weight type; reports, texts and progress. What sources may say about a model is
 * in test_config.c, what goes wrong in test_convert_errors.c.
 */
#include "unit/convert_folder.h"

#include "text/tokenizer.h"

#include <math.h>

/* ---------------------------------------------------------------------------- formats --- */

/* The same weights from all three kinds of sources become the same bytes. */
static void formats_agree(void **state)
{
    (void)state;
    struct tiny models[] = {TINY_ODD, TINY_ODD, TINY_ODD};
    models[1].head = true;
    models[2].kv_heads = 4;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        const struct tiny *m = &models[i];
        assert_int_equal(slm_convert_detect(put("m.gguf", tiny_gguf(m))), SLM_CONVERT_GGUF);
        assert_int_equal(slm_convert_detect(put_hf(m, "F32", "")), SLM_CONVERT_HF);
        assert_int_equal(slm_convert_detect(put("m.bin", tiny_llama2c(m))), SLM_CONVERT_LLAMA2C);
        struct result gguf = convert_to(in_folder("m.gguf"), NULL);
        struct result hf = convert_to(in_folder("hf"), "keep");
        struct result llama2c = convert_to(in_folder("m.bin"), "f32");
        assert_weights(&gguf, m, SLM_TYPE_F32);
        assert_same_model(&gguf, &hf);
        assert_same_model(&gguf, &llama2c);
        assert_int_equal(gguf.file.traits->n_vocab, m->vocab);
        assert_int_equal(gguf.file.layers[1].n_kv_heads, m->kv_heads);
        assert_true(gguf.file.traits->norm_eps == 1e-5f);
        assert_string_equal(metadata(&gguf, "architecture"), "llama");
        assert_string_equal(metadata(&gguf, "source_format"), "GGUF v3");
        assert_string_equal(metadata(&gguf, "source"), "m.gguf");
        assert_string_equal(metadata(&hf, "source_format"), "Hugging Face");
        assert_string_equal(metadata(&hf, "name"), "hf");
        assert_string_equal(metadata(&llama2c, "source_format"), "llama2.c");
        release(&gguf);
        release(&hf);
        release(&llama2c);
    }
}

static void biases_agree(void **state)
{
    (void)state;
    struct tiny m = TINY_ODD;
    m.qkv_bias = m.out_bias = m.ffn_bias = true;
    struct result gguf = convert_to(put("m.gguf", tiny_gguf(&m)), NULL);
    struct result hf = convert_to(put_hf(&m, "F32", ""), NULL);
    assert_weights(&gguf, &m, SLM_TYPE_F32);
    assert_same_model(&gguf, &hf);
    release(&gguf);
    release(&hf);
}

static void half_precision_stays(void **state)
{
    (void)state;
    static const char *const dtypes[] = {"F16", "BF16"};
    for (int i = 0; i < 2; i++) {
        struct result r = convert_to(put_hf(&TINY_ODD, dtypes[i], ""), NULL);
        uint32_t type = i ? SLM_TYPE_BF16 : SLM_TYPE_F16;
        const struct slm_tensor_entry *t = tensor(&r, SLM_ROLE_FFN_DOWN, 1);
        assert_int_equal(t->type, type);
        float *w = tiny_weights(SLM_ROLE_FFN_DOWN, 1, t->rows, t->cols), row[70];
        for (uint32_t k = 0; k < t->rows; k++) {
            slm_quant_row(slm_quant(type), bytes_of(&r, t), k, t->cols, row);
            for (uint32_t c = 0; c < t->cols; c++) {
                float x = w[k * t->cols + c];
                assert_true(row[c] == (i ? slm_bf16_to_f32(slm_f32_to_bf16(x))
                                         : slm_f16_to_f32(slm_f32_to_f16(x))));
            }
        }
        assert_int_equal(tensor(&r, SLM_ROLE_FINAL_NORM, SLM_NO_LAYER)->type, SLM_TYPE_F32);
        free(w);
        release(&r);
    }
}

static void shards_are_joined(void **state)
{
    (void)state;
    struct result whole = convert_to(put_hf(&TINY_ODD, "F32", ""), NULL);
    unlink(in_folder("hf/model.safetensors"));
    struct slm_buf index = {0};
    slm_buf_text(&index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    for (int part = 0; part < 3; part++) {
        struct safetensors_builder s = {0};
        char name[64];
        snprintf(name, sizeof name, "hf/model-0000%d-of-00003.safetensors", part + 1);
        tiny_safetensors(&TINY_ODD, &s, "F32", part, 3);
        put(name, safetensors_finish(&s));
        for (int i = part; i < TINY_N_TENSORS; i += 3) /* patterns will do: values count */
            slm_buf_format(&index, "%s\"%s\":\"%s\"", part || i > part ? "," : "",
                           TINY_TENSORS[i].hf, name + 3);
    }
    slm_buf_text(&index, "}}");
    put("hf/model.safetensors.index.json", index);
    struct result sharded = convert_to(in_folder("hf"), NULL);
    assert_same_model(&whole, &sharded);
    release(&whole);
    release(&sharded);
    unlink(in_folder("hf/model-00002-of-00003.safetensors"));
    expect(in_folder("hf"), NULL, SLM_EIO, "model-00002-of-00003.safetensors");

    static const struct {
        const char *index, *text;
        int code;
    } bad[] = {
        {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}", "'../x.safetensors' is no file name",
         SLM_EFORMAT},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "is no file name", SLM_EFORMAT},
        {"{\"weight_map\":{\"a\":7}}", "an entry is no file name", SLM_EFORMAT},
        {"{\"weight_map\":[]}", "weight_map is missing", SLM_EFORMAT},
        {"{\"weight_map\":{}}", "is missing", SLM_EFORMAT},
        {"{", "index.json", SLM_EFORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slm_buf b = {0};
        slm_buf_text(&b, bad[i].index);
        put("hf/model.safetensors.index.json", b);
        expect(in_folder("hf"), NULL, bad[i].code, bad[i].text);
    }
}

/* ------------------------------------------------------------------------ weight types --- */

struct reports {
    int n;
    uint64_t source_bytes, bytes;
    double worst;
    char type[8];
    double error_of[SLM_ROLE_FFN_DOWN + 1];
};

static void collect(void *user, const slm_convert_tensor *t)
{
    struct reports *r = user;
    assert_int_equal(t->size, sizeof *t);
    r->n++;
    r->source_bytes += t->source_bytes;
    r->bytes += t->bytes;
    r->worst = t->error > r->worst ? t->error : r->worst;
    if (strcmp(t->role, "ffn_down") == 0) {
        snprintf(r->type, sizeof r->type, "%s", t->type);
        r->error_of[SLM_ROLE_FFN_DOWN] = t->error;
        assert_string_equal(t->source_name, "blk.0.ffn_down.weight");
        assert_int_equal(t->layer, 0);
        assert_int_equal(t->rows, 256);
        assert_int_equal(t->cols, 256);
    }
    if (strcmp(t->role, "embedding") == 0)
        assert_int_equal(t->layer, -1);
    if (strcmp(t->role, "rope_frequencies") == 0) {
        assert_string_equal(t->source_name, "");
        assert_string_equal(t->source_type, "computed");
        assert_int_equal(t->layer, -1);
        assert_int_equal(t->source_bytes, 0);
    }
}

/* Compare a matrix of the file with its source, decoded: the relative error, 0 if all bits agree.
 */
static double error_of(const struct result *r, const struct tiny *m, uint32_t type, uint32_t role)
{
    const struct slm_source_type *from = slm_source_type(type);
    uint32_t rows, cols;
    tiny_times(m, role, &rows, &cols);
    const struct slm_tensor_entry *t =
        tensor(r, role, slm_role_info(role)->per_layer ? 0 : SLM_NO_LAYER);
    uint8_t *blocks = random_blocks(type, role * 1000u, (size_t)rows * cols / from->values);
    float *source = malloc(cols * sizeof *source), *row = malloc(cols * sizeof *row);
    double squares = 0, errors = 0;
    bool same = true;
    for (uint32_t k = 0; k < rows; k++) {
        uint32_t at = tiny_rotates(role) ? tiny_neighbour(m, k) : k;
        from->decode(blocks + (size_t)at * cols / from->values * from->bytes, cols / from->values,
                     source);
        slm_quant_row(slm_quant(t->type), bytes_of(r, t), k, cols, row);
        same = same && memcmp(source, row, cols * sizeof *row) == 0;
        for (uint32_t c = 0; c < cols; c++) {
            squares += (double)source[c] * source[c];
            errors += ((double)source[c] - row[c]) * ((double)source[c] - row[c]);
        }
    }
    free(blocks);
    free(source);
    free(row);
    return same ? 0 : sqrt(errors / squares);
}

/* What --type keep makes of each type: exact, or within the bound that docs/convert.md states. */
static void every_type_is_kept(void **state)
{
    (void)state;
    static const struct {
        uint32_t source;
        const char *kept;
        double bound; /* random blocks are harsher than real weights */
    } kinds[] = {
        {SLM_SOURCE_F16, "f16", 0},    {SLM_SOURCE_BF16, "bf16", 0},
        {SLM_SOURCE_Q4_0, "q4", 0},    {SLM_SOURCE_Q4_1, "q4a", 0},
        {SLM_SOURCE_Q5_0, "q8", 0},    {SLM_SOURCE_Q8_0, "q8", 0},
        {SLM_SOURCE_IQ4_NL, "q8", 0},  {SLM_SOURCE_Q4_K, "q4a", 5e-4},
        {SLM_SOURCE_Q5_1, "q8", 0.01}, {SLM_SOURCE_Q2_K, "q4a", 0.1},
        {SLM_SOURCE_Q3_K, "q4", 0.1},  {SLM_SOURCE_Q5_K, "q8", 0.01},
        {SLM_SOURCE_Q6_K, "q8", 0.01}, {SLM_SOURCE_MXFP4, "q8", 0},
    };
    const struct tiny *m = &TINY_WIDE;
    static const uint32_t roles[] = {SLM_ROLE_EMBEDDING, SLM_ROLE_HEAD,     SLM_ROLE_ATTN_Q,
                                     SLM_ROLE_ATTN_K,    SLM_ROLE_ATTN_V,   SLM_ROLE_ATTN_OUT,
                                     SLM_ROLE_FFN_GATE,  SLM_ROLE_FFN_DOWN, SLM_ROLE_FFN_UP};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct gguf_builder g = {0};
        tiny_gguf_keys(m, &g);
        tiny_gguf_tensors(m, &g, kinds[i].source, random_blocks);
        struct reports reports = {.n = 0};
        slm_convert_options options = {
            .size = sizeof options, .report = collect, .report_user = &reports};
        struct result r = convert(put("types.gguf", gguf_finish(&g)), &options);
        assert_string_equal(reports.type, kinds[i].kept);
        assert_int_equal(reports.n, r.file.n_tensors);
        for (size_t k = 0; k < sizeof roles / sizeof roles[0]; k++) {
            double error = error_of(&r, m, kinds[i].source, roles[k]);
            if (!(error <= kinds[i].bound) || (kinds[i].bound > 0 && error == 0))
                fail_msg("%s %s: relative error %g", slm_source_type(kinds[i].source)->name,
                         slm_role_info(roles[k])->name, error);
            if (roles[k] == SLM_ROLE_FFN_DOWN)
                assert_true(fabs(error - reports.error_of[roles[k]]) < 1e-12);
        }
        release(&r);
    }
}

/* A type that is asked for holds the nearest encoding of each 32 columns, zeros beyond the last. */
static void every_type_can_be_asked_for(void **state)
{
    (void)state;
    const struct tiny *m = &TINY_ODD;
    put("m.gguf", tiny_gguf(m));
    const struct slm_quant *quant;
    for (size_t i = 0; (quant = slm_quant_at(i)); i++) {
        struct result r = convert_to(in_folder("m.gguf"), quant->name);
        const struct slm_tensor_entry *t = tensor(&r, SLM_ROLE_FFN_DOWN, 1); /* 40 x 70 */
        assert_int_equal(t->type, quant->type);
        float *w = tiny_weights(SLM_ROLE_FFN_DOWN, 1, 40, 70);
        uint8_t *panels = calloc(9, quant->tile_bytes);
        for (int row = 0; row < 40; row++)
            for (int tile = 0; tile < 3; tile++) {
                float values[32] = {0};
                struct slm_block block = {.minimum = 0};
                int n = tile < 2 ? 32 : 70 - 64;
                memcpy(values, w + row * 70 + tile * 32, (size_t)n * sizeof *w);
                quant->encode(&block, values);
                quant->pack(panels + (row / 16 * 3 + tile) * (int)quant->tile_bytes, row % 16,
                            &block);
            }
        assert_int_equal(t->length, 9 * quant->tile_bytes);
        assert_memory_equal(bytes_of(&r, t), panels, t->length);
        assert_string_equal(metadata(&r, "source_type"), "15 F32");
        free(w);
        free(panels);
        release(&r);
    }
}

static void head_has_a_type_of_its_own(void **state)
{
    (void)state;
    struct tiny m = TINY_ODD;
    m.head = true;
    slm_convert_options options = {.size = sizeof options, .type = "q4", .head_type = "q8"};
    struct result r = convert(put("m.gguf", tiny_gguf(&m)), &options);
    assert_int_equal(tensor(&r, SLM_ROLE_EMBEDDING, SLM_NO_LAYER)->type, SLM_TYPE_Q8);
    assert_int_equal(tensor(&r, SLM_ROLE_HEAD, SLM_NO_LAYER)->type, SLM_TYPE_Q8);
    assert_int_equal(tensor(&r, SLM_ROLE_ATTN_Q, 0)->type, SLM_TYPE_Q4);
    assert_string_equal(metadata(&r, "quantization"), "2 q8, 14 q4");
    release(&r);
    options.head_type = "keep";
    r = convert(in_folder("m.gguf"), &options);
    assert_int_equal(tensor(&r, SLM_ROLE_HEAD, SLM_NO_LAYER)->type, SLM_TYPE_F32);
    release(&r);
    options = (slm_convert_options){.size = sizeof options, .head_type = "q4a"};
    r = convert(in_folder("m.gguf"), &options);
    assert_int_equal(tensor(&r, SLM_ROLE_EMBEDDING, SLM_NO_LAYER)->type, SLM_TYPE_Q4A);
    assert_int_equal(tensor(&r, SLM_ROLE_ATTN_Q, 0)->type, SLM_TYPE_F32);
    release(&r);
}

/* A source that is quantized already and the same type asked for: its blocks go over as they are.
 */
static void asking_for_the_kept_type_loses_nothing(void **state)
{
    (void)state;
    struct gguf_builder g = {0};
    tiny_gguf_keys(&TINY_WIDE, &g);
    tiny_gguf_tensors(&TINY_WIDE, &g, SLM_SOURCE_Q4_0, random_blocks);
    put("m.gguf", gguf_finish(&g));
    struct result kept = convert_to(in_folder("m.gguf"), "keep");
    struct result asked = convert_to(in_folder("m.gguf"), "q4");
    struct result f32 = convert_to(in_folder("m.gguf"), "f32");
    assert_same_model(&kept, &asked);
    assert_true(error_of(&f32, &TINY_WIDE, SLM_SOURCE_Q4_0, SLM_ROLE_ATTN_K) == 0);
    release(&kept);
    release(&asked);
    release(&f32);
}

/* ------------------------------------------------------------------------------ texts --- */

static void log_line(void *user, int level, const char *message)
{
    char *text = user; /* [512]: all warnings */
    size_t n = strlen(text);
    if (level == SLM_LOG_WARNING)
        snprintf(text + n, 512 - n, "%s\n", message);
}

static void assert_template(const struct result *r, const char *text)
{
    assert_int_equal(r->file.chat_template_length, strlen(text));
    if (text[0])
        assert_memory_equal(r->file.chat_template, text, strlen(text));
}

static void templates_are_found(void **state)
{
    (void)state;
    struct gguf_builder g = {0};
    tiny_gguf_keys(&TINY_ODD, &g);
    gguf_text(&g, "tokenizer.chat_template", "{{ 'gguf' }}");
    gguf_text(&g, "general.name", "Tiny");
    gguf_text(&g, "general.license", "apache-2.0");
    tiny_gguf_tensors(&TINY_ODD, &g, 0, NULL);
    struct result r = convert_to(put("m.gguf", gguf_finish(&g)), NULL);
    assert_template(&r, "{{ 'gguf' }}");
    assert_string_equal(metadata(&r, "name"), "Tiny");
    assert_string_equal(metadata(&r, "license"), "apache-2.0");
    release(&r);

    put_hf(&TINY_ODD, "F32", "\"_name_or_path\":\"org/tiny\",");
    r = convert_to(in_folder("hf"), NULL);
    assert_template(&r, "");
    assert_string_equal(metadata(&r, "name"), "org/tiny");
    release(&r);
    put_text_file("hf/chat_template.json", "{\"chat_template\":\"json\"}");
    r = convert_to(in_folder("hf"), NULL);
    assert_template(&r, "json");
    release(&r);
    put_text_file("hf/tokenizer_config.json",
                  "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"no\"},"
                  "{\"name\":\"default\",\"template\":\"named \\u00e9\"}]}");
    r = convert_to(in_folder("hf"), NULL);
    assert_template(&r, "named \xC3\xA9");
    release(&r);
    put_text_file("hf/tokenizer_config.json", "{\"chat_template\":\"config\"}");
    r = convert_to(in_folder("hf"), NULL);
    assert_template(&r, "config");
    release(&r);
    put_text_file("hf/chat_template.jinja", "jinja\n");
    r = convert_to(in_folder("hf"), NULL);
    assert_template(&r, "jinja\n");
    release(&r);

    char warning[512] = "";
    slm_convert_options options = {.size = sizeof options, .log = log_line, .log_user = warning};
    put_text_file("hf/chat_template.jinja", "bad \xFF utf-8");
    r = convert(in_folder("hf"), &options);
    assert_template(&r, "");
    assert_non_null(strstr(warning, "not valid UTF-8"));
    release(&r);
    unlink(in_folder("hf/chat_template.jinja"));
    put_text_file("hf/tokenizer_config.json", "{\"chat_template\":");
    expect(in_folder("hf"), NULL, SLM_EFORMAT, "tokenizer_config.json: ");
}

static void assert_tokenizer(const struct result *r, bool there)
{
    struct slm_text text;
    assert_int_equal(r->file.tokenizer != NULL, there);
    if (there)
        assert_int_equal(slm_text_open(&text, r->file.tokenizer, (size_t)r->file.tokenizer_length,
                                       r->file.traits->n_vocab),
                         SLM_OK);
}

static void tokenizers_are_found(void **state)
{
    (void)state;
    struct tiny m = TINY_ODD;
    m.vocab = 300;
    char warning[512] = "";
    slm_convert_options options = {.size = sizeof options, .log = log_line, .log_user = warning};
    put("m.bin", tiny_llama2c(&m));
    struct result r = convert(in_folder("m.bin"), &options);
    assert_tokenizer(&r, false);
    assert_non_null(strstr(warning, "no tokenizer"));
    release(&r);
    put("tokenizer.bin", llama2c_tokenizer(300));
    r = convert(in_folder("m.bin"), &options);
    assert_tokenizer(&r, true);
    release(&r);
    options.tokenizer = ""; /* none */
    r = convert(in_folder("m.bin"), &options);
    assert_tokenizer(&r, false);
    release(&r);
    options.tokenizer = in_folder("tokenizer.bin"); /* for another kind of source */
    r = convert(put("m.gguf", tiny_gguf(&m)), &options);
    assert_tokenizer(&r, true);
    release(&r);

    put("tok300.bin", llama2c_tokenizer(299)); /* comes first, and is too short */
    expect(in_folder("m.bin"), NULL, SLM_EFORMAT, "tok300.bin: ");
    options.tokenizer = in_folder("missing.json");
    expect(in_folder("m.bin"), &options, SLM_EIO, "missing.json: No such file");

    put_hf(&m, "F32", "");
    put_text_file("hf/tokenizer.json", "{\"model\":{\"type\":\"Strange\"}}");
    expect(in_folder("hf"), NULL, SLM_EUNSUPPORTED, "hf/tokenizer.json: ");
    put_text_file("hf/tokenizer.json", TINY_TOKENIZER_JSON);
    put_text_file("hf/generation_config.json", "{\"eos_token_id\":2}");
    r = convert_to(in_folder("hf"), NULL);
    assert_tokenizer(&r, true);
    struct slm_text text;
    slm_text_open(&text, r.file.tokenizer, (size_t)r.file.tokenizer_length, 300);
    assert_true(slm_text_is_stop(&text, 2));
    slm_token ids[4];
    assert_int_equal(slm_text_encode(&text, "abb", 3, 0, NULL, 0, ids, 4, NULL), 2);
    assert_true(ids[0] == 3 && ids[1] == 1);
    release(&r);
    /* A folder stands for the tokenizer in it, with what its other files say about that. */
    options.tokenizer = in_folder("hf");
    r = convert(put("m.gguf", tiny_gguf(&m)), &options);
    slm_text_open(&text, r.file.tokenizer, (size_t)r.file.tokenizer_length, 300);
    assert_true(slm_text_is_stop(&text, 2));
    release(&r);
    options.tokenizer = in_folder("");
    expect(in_folder("m.gguf"), &options, SLM_EIO, "is a directory without a tokenizer: no tokenizer.json");
    expect(in_folder("m.gguf"), &options, SLM_EIO, "qwen.tiktoken or tiktoken.model");
    /* Without generation_config.json, config.json says where an answer ends. */
    unlink(in_folder("hf/generation_config.json"));
    put("hf/config.json", tiny_config(&m, "\"eos_token_id\":1,"));
    r = convert_to(in_folder("hf"), NULL);
    slm_text_open(&text, r.file.tokenizer, (size_t)r.file.tokenizer_length, 300);
    assert_true(slm_text_is_stop(&text, 1));
    release(&r);
}

/* --------------------------------------------------------------------------- progress --- */

struct progress {
    uint64_t last, total;
    int calls, stop_at;
};

static int on_progress(void *user, uint64_t done, uint64_t total)
{
    struct progress *p = user;
    assert_true(done > p->last || p->calls == 0);
    assert_true(done <= total);
    p->last = done;
    p->total = total;
    return ++p->calls == p->stop_at;
}

static void progress_counts_and_stops(void **state)
{
    (void)state;
    struct progress p = {.calls = 0};
    slm_convert_options options = {
        .size = sizeof options, .progress = on_progress, .progress_user = &p};
    put("m.gguf", tiny_gguf(&TINY_ODD));
    struct result r = convert(in_folder("m.gguf"), &options);
    assert_true(p.last == p.total && p.calls > 20);
    release(&r);
    unlink(in_folder("out.slm"));
    int calls = p.calls;
    for (int stop = 1; stop <= calls; stop += 7) {
        p = (struct progress){.stop_at = stop};
        expect(in_folder("m.gguf"), &options, SLM_EINTR, "stopped");
        assert_int_equal(p.calls, stop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(formats_agree),
        IN_FOLDER(biases_agree),
        IN_FOLDER(half_precision_stays),
        IN_FOLDER(shards_are_joined),
        IN_FOLDER(every_type_is_kept),
        IN_FOLDER(every_type_can_be_asked_for),
        IN_FOLDER(head_has_a_type_of_its_own),
        IN_FOLDER(asking_for_the_kept_type_loses_nothing),
        IN_FOLDER(templates_are_found),
        IN_FOLDER(tokenizers_are_found),
        IN_FOLDER(progress_counts_and_stops),
    };
    return cmocka_run_group_tests_name("convert", tests, NULL, NULL);
}
