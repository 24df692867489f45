/*
 * test_api.c - the edges of the public functions: structs of other versions, unknown flags, models
 * that lack optional sections, paths that are no files.
 */
#include "model/model.h"
#include "support/evaluate.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void fails(int64_t code, int expected, const char *words)
{
    assert_int_equal(code, expected);
    if (!strstr(slm_last_error(), words))
        fail_msg("'%s' does not say '%s'", slm_last_error(), words);
}

/* What a library on top of this one has to say; cut where a character begins. */
static void messages_of_others(void **state)
{
    (void)state;
    assert_int_equal(slm_set_last_error(-77, "100 %s"), -77);
    assert_string_equal(slm_last_error(), "100 %s");
    assert_int_equal(slm_set_last_error(SLM_EIO, slm_last_error() + 4), SLM_EIO);
    assert_string_equal(slm_last_error(), "%s");
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    memcpy(text + 1022, "\xC3\xA9", 2);
    slm_set_last_error(SLM_EIO, text);
    assert_int_equal(strlen(slm_last_error()), 1022);
    slm_set_last_error(SLM_EIO, NULL);
    assert_string_equal(slm_last_error(), "");
}

/* A struct of a program that was compiled against a later version. */
struct newer_options {
    slm_ctx_options known;
    uint64_t later[2];
};

static void structs_of_other_versions(void **state)
{
    (void)state;
    slm_model *model = open_tiny(&tiny_models[0]);
    slm_ctx *ctx;
    struct newer_options newer = {.known = {.size = sizeof newer, .n_threads = 1, .max_tokens = 64}};
    must(slm_ctx_new(&ctx, model, &newer.known));
    slm_ctx_free(ctx);
    newer.later[1] = 1;
    fails(slm_ctx_new(&ctx, model, &newer.known), SLM_EUNSUPPORTED, "slm_ctx_options");
    assert_null(ctx);
    newer.known.size = 3;
    fails(slm_ctx_new(&ctx, model, &newer.known), SLM_EINVAL, "sizeof(slm_ctx_options)");
    newer.known.size = SIZE_MAX;
    fails(slm_ctx_new(&ctx, model, &newer.known), SLM_EINVAL, "sizeof(slm_ctx_options)");

    struct {
        slm_info known;
        uint64_t later[2];
    } info;
    memset(&info, 0x55, sizeof info);
    info.known.size = sizeof info;
    must(slm_model_info(model, &info.known));
    assert_int_equal(info.known.n_layers, tiny_models[0].n_layers);
    assert_int_equal(info.later[0], 0);
    assert_int_equal(info.later[1], 0);
    uint64_t old[2] = {sizeof old, 0x55}; /* of a program that knows file_size and no more */
    must(slm_model_info(model, (slm_info *)old));
    assert_int_equal(old[1], info.known.file_size);
    slm_model_unref(model);
}

/* A template does not need a tokenizer to be rendered; what needs one says so. */
static void model_without_tokenizer(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", temporary_path("template-only.slm"));
    must(tiny_model_write(&tiny_models[0], path, "{{ bos_token }}{{ messages[0].content }}", NULL, 0));
    slm_model *model;
    must(slm_model_open(&model, path, NULL));
    slm_message message = {sizeof message, "user", "hi"};
    char out[16];
    assert_int_equal(slm_chat_format(model, &message, 1, NULL, out, sizeof out), 2);
    assert_memory_equal(out, "hi", 2);
    slm_message pair[2] = {message, {sizeof message, NULL, NULL}};
    fails(slm_chat_format(model, pair, 2, NULL, out, 16), SLM_EINVAL, "message 1: role is NULL");
    pair[1] = (slm_message){16, "user", NULL};
    fails(slm_chat_format(model, pair, 2, NULL, out, 16), SLM_EINVAL, "message 1: slm_message.size");
    pair[0].size = 0;
    fails(slm_chat_format(model, pair, 2, NULL, out, 16), SLM_EINVAL, "message 0: slm_message.size");
    /* A byte order mark, as Windows editors write it, says nothing. */
    slm_chat_options options = {.size = sizeof options, .messages_json = "\xEF\xBB\xBF[{\"content\": \"ho\"}]"};
    assert_int_equal(slm_chat_format(model, NULL, 0, &options, out, sizeof out), 2);
    assert_memory_equal(out, "ho", 2);
    options.messages_json = "\xEF\xBB[]";
    fails(slm_chat_format(model, NULL, 0, &options, out, sizeof out), SLM_EINVAL, "messages_json");
    slm_token tokens[4];
    fails(slm_chat_tokenize(model, &message, 1, NULL, tokens, 4), SLM_EUNSUPPORTED, "no tokenizer");
    fails(slm_tokenize(model, "hi", 2, 0, tokens, 4), SLM_EUNSUPPORTED, "no tokenizer");
    fails(slm_detokenize(model, tokens, 0, 0, out, 0), SLM_EUNSUPPORTED, "no tokenizer");
    slm_text_stream *stream;
    fails(slm_text_stream_new(&stream, model, 0), SLM_EUNSUPPORTED, "no tokenizer");
    assert_null(slm_token_text(model, 0, NULL));
    assert_int_equal(slm_token_is_stop(model, 0), 0);
    slm_info info = {.size = sizeof info};
    must(slm_model_info(model, &info));
    assert_int_equal(info.has_tokenizer, 0);
    assert_int_equal(info.bos, SLM_TOKEN_NONE);
    slm_model_unref(model);

    must(slm_model_open(&model, tiny_model_path(&tiny_models[0]), NULL));
    fails(slm_chat_format(model, &message, 1, NULL, out, sizeof out), SLM_EUNSUPPORTED, "no chat template");
    slm_model_unref(model);
}

static void unknown_flags(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/stories260K.slm", getenv("SLM_EXAMPLES"));
    slm_model *model;
    must(slm_model_open(&model, path, NULL));
    slm_token tokens[8];
    char text[8];
    slm_text_stream *stream;
    fails(slm_tokenize(model, "a", 1, 1u << 31, tokens, 8), SLM_EINVAL, "0x80000000");
    fails(slm_detokenize(model, tokens, 0, 8, text, 8), SLM_EINVAL, "0x8");
    fails(slm_text_stream_new(&stream, model, 16), SLM_EINVAL, "0x10");
    assert_true(slm_tokenize(model, "a", 1, SLM_TEXT_ADD_SPECIAL | SLM_TEXT_PARSE_SPECIAL, tokens, 8) > 0);
    slm_model_unref(model);
}

static void paths_that_are_no_files(void **state)
{
    (void)state;
    slm_model *model;
    fails(slm_model_open(&model, temporary_folder(), NULL), SLM_EIO, "directory");
    assert_null(model);
    char fifo[512];
    snprintf(fifo, sizeof fifo, "%s", temporary_path("fifo"));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    fails(slm_model_open(&model, fifo, NULL), SLM_EIO, "not a regular file"); /* and does not wait */
    fails(slm_model_open(&model, temporary_path("nowhere"), NULL), SLM_EIO, "No such file");
    fails(slm_model_open(&model, NULL, NULL), SLM_EINVAL, "path is NULL");
}

/* A file that is written over while it is open may change weights, never shapes. */
static void traits_are_copied(void **state)
{
    (void)state;
    const struct tiny_model *m = &tiny_models[0];
    char path[512];
    snprintf(path, sizeof path, "%s", temporary_path("overwritten.slm"));
    must(tiny_model_write(m, path, NULL, NULL, 0));
    slm_model *model;
    must(slm_model_open(&model, path, NULL));
    slm_token *text = make_text(m, 20, 1);
    struct way way = {0};
    slm_ctx *ctx = make_context(model, &way, 64, 1);
    slm_seq *seq;
    must(slm_seq_new(&seq, ctx));
    FILE *f = fopen(path, "r+b"); /* all that is not weights: traits above all */
    assert_non_null(f);
    char garbage[2048];
    memset(garbage, 0x7F, sizeof garbage);
    assert_int_equal(fwrite(garbage, 1, sizeof garbage, f), sizeof garbage);
    fclose(f);
    slm_span span = {.size = sizeof span, .seq = seq, .tokens = text, .n = 20, .n_logits = 1};
    must(slm_eval(ctx, &span, 1));
    slm_info info = {.size = sizeof info};
    must(slm_model_info(model, &info));
    assert_int_equal(info.n_layers, m->n_layers);
    free(text);
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    slm_model_unref(model);
}

/* Weights go to their roles in whatever order the file has them, biases before matrices too. */
static void order_of_tensors_is_free(void **state)
{
    (void)state;
    struct tiny_model tiny = *tiny_model_named("ragged");
    slm_token *text = make_text(&tiny, 20, 1);
    float *logits[2];
    for (int i = 0; i < 2; i++) {
        tiny.reversed = i;
        char path[512];
        snprintf(path, sizeof path, "%s", temporary_path(i ? "reversed.slm" : "forward.slm"));
        must(tiny_model_write(&tiny, path, NULL, NULL, 0));
        slm_model *model;
        must(slm_model_open(&model, path, NULL));
        slm_tensor_info first = {.size = sizeof first};
        must(slm_model_tensor(model, 0, &first));
        assert_int_equal(strcmp(first.role, "embedding") == 0, !i);
        logits[i] = text_logits(model, &(struct way){0}, text, 20);
        slm_model_unref(model);
    }
    same_logits(logits[0], logits[1], 20, tiny.n_vocab, "reversed");
    free(logits[0]);
    free(logits[1]);
    free(text);
}

/* A file of a vocabulary alone: text works, and what needs weights says that there are none. */
static void vocabulary_alone(void **state)
{
    (void)state;
    char path[512], examples[512];
    slm_model *whole, *model;
    snprintf(examples, sizeof examples, "%s/stories260K.slm", getenv("SLM_EXAMPLES"));
    must(slm_model_open(&whole, examples, NULL));
    const struct slm_file *file = &whole->file;
    struct slm_traits traits = {.n_vocab = 512};
    snprintf(path, sizeof path, "%s", temporary_path("vocabulary.slm"));
    for (int bad = 0; bad < 2; bad++) {
        struct slm_writer *w;
        traits.max_context = bad ? 64 : 0; /* of what? */
        must(slm_writer_new(&w, path));
        must(slm_writer_section(w, SLM_SECTION_TRAITS, &traits, sizeof traits));
        must(slm_writer_section(w, SLM_SECTION_TOKENIZER, file->tokenizer, file->tokenizer_length));
        must(slm_writer_section(w, SLM_SECTION_TEMPLATE, "{{ messages[0].content }}", 25));
        must(slm_writer_metadata(w, "name", "words"));
        if (bad)
            fails(slm_writer_finish(w), SLM_EFORMAT, "n_layers is 0");
        else
            must(slm_writer_finish(w));
        slm_writer_free(w);
    }

    must(slm_model_open(&model, path, NULL));
    must(slm_model_verify(model, NULL, NULL));
    slm_info info = {.size = sizeof info};
    must(slm_model_info(model, &info));
    assert_int_equal(info.n_layers, 0);
    assert_int_equal(info.n_vocab, 512);
    assert_int_equal(info.n_params, 0);
    assert_true(info.has_tokenizer && info.has_template);
    assert_string_equal(slm_model_metadata(model, "name"), "words");
    slm_token ids[32], same[32];
    int64_t n = slm_tokenize(model, "Once upon a time", 16, 0, ids, 32);
    assert_int_equal(slm_tokenize(whole, "Once upon a time", 16, 0, same, 32), n);
    assert_memory_equal(ids, same, (size_t)n * sizeof *ids);
    slm_message message = {sizeof message, "user", "hi"};
    assert_int_equal(slm_chat_format(model, &message, 1, NULL, NULL, 0), 2);
    slm_sampler *sampler; /* chooses from anybody's logits */
    must(slm_sampler_new(&sampler, model, NULL));
    slm_sampler_free(sampler);

    slm_ctx *ctx;
    slm_trait trait = {.size = sizeof trait};
    slm_tensor_info tensor = {.size = sizeof tensor};
    fails(slm_ctx_new(&ctx, model, NULL), SLM_EUNSUPPORTED, "vocabulary, no weights");
    assert_null(ctx);
    fails(slm_ctx_memory(model, NULL), SLM_EUNSUPPORTED, "vocabulary, no weights");
    fails(slm_model_trait(model, 0, &trait), SLM_EINVAL, "no line 0");
    fails(slm_model_tensor(model, 0, &tensor), SLM_EINVAL, "no tensor 0");
    slm_model_unref(model);
    slm_model_unref(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_others),
        cmocka_unit_test(structs_of_other_versions), cmocka_unit_test(model_without_tokenizer),
        cmocka_unit_test(unknown_flags),             cmocka_unit_test(paths_that_are_no_files),
        cmocka_unit_test(traits_are_copied),         cmocka_unit_test(order_of_tensors_is_free),
        cmocka_unit_test(vocabulary_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
