/*
 * test_fault.c - memory runs out at the first, the second, the third... allocation of every public
 * call that allocates. Each time the call has to say so, give everything back, and leave the
 * objects that it was given as they were: the same call with memory must then succeed, with the
 * same result.
 */
#include "support/evaluate.h"
#include "support/hooks.h"

#include "base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT "Once upon a time, there was a little girl named Lily. \xF0\x9F\x98\x80 <|x|> 123"
#define CHAT                                                                                       \
    "{%- macro turn(m) -%}<|{{ m.role | upper }}|>{{ m['content'] | trim }}{% endmacro -%}"        \
    "{% set ns = namespace(first=true) %}"                                                         \
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}[{{ bos_token }}]{% endif "  \
    "%}"                                                                                           \
    "{{ turn(m) }}{% set ns.first = false %}\n{% endfor %}"                                        \
    "{% if tools %}{{ tools | tojson(indent=2) }}{% endif %}{{ extra | default('-') }}"            \
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
#define TOOLS "[{\"name\": \"f\", \"parameters\": {\"x\": [1, 2.5, null, true]}}]"

/* The model whose calls are tried: tokenizer of the example, template of above. */
struct world {
    struct hooks hooks;
    char path[600];
    slm_model *model;
    slm_ctx *ctx;
    slm_seq *seq;
    slm_sampler *sampler;
    void *bytes; /* the file, for slm_model_open_memory */
    size_t n_bytes;
    char result[65536]; /* of the last call: the next must give the same */
    size_t n_result;
};

typedef int64_t operation(struct world *w);

static void keep(struct world *w, const void *data, size_t n)
{
    w->n_result = n < sizeof w->result ? n : sizeof w->result;
    memcpy(w->result, data, w->n_result);
}

/*
 * Run op without failures, then with the k-th allocation failing, alone or with all after it, until
 * it takes fewer than k. Afterwards memory must be as before, and op must work again.
 */
static void try_all(struct world *w, operation *op)
{
    struct hooks *h = &w->hooks;
    h->fail_at = 0;
    must(op(w));
    size_t live = h->live, bytes = h->live_bytes, n = w->n_result, tried = 0;
    char *expected = malloc(n + 1);
    memcpy(expected, w->result, n);
    for (int after = 0; after < 2; after++)
        for (size_t k = 1;; k++) {
            h->fail_at = h->n_allocs + k;
            h->fail_after = after;
            h->n_failed = 0;
            int64_t rc = op(w);
            h->fail_at = 0;
            assert_int_equal(h->live, live);
            assert_int_equal(h->live_bytes, bytes);
            assert_int_equal(h->n_errors, 0);
            if (h->n_failed == 0) {
                must(rc);
                break;
            }
            tried++;
            if (rc != SLM_ENOMEM || !strstr(slm_last_error(), "memory"))
                fail_msg("allocation %zu failed: %s: %s", k, slm_strerror((int)rc),
                         slm_last_error());
            must(op(w));
            assert_int_equal(w->n_result, n);
            assert_memory_equal(w->result, expected, n);
            assert_int_equal(h->live, live);
        }
    assert_true(tried > 0); /* otherwise nothing was tested */
    printf("# %zu failed allocations\n", tried);
    free(expected);
}

/* ----------------------------------------------------------------------- world --- */

static void make_file(char *path, size_t size)
{
    const char *examples = getenv("SLM_EXAMPLES");
    char source[600];
    snprintf(source, sizeof source, "%s/stories260K.slm", examples ? examples : "examples");
    struct slm_mapping map;
    struct slm_file file;
    must(slm_map_path(&map, source, false, NULL));
    must(slm_file_parse(&file, map.data, map.length));
    struct tiny_model tiny = *tiny_model_named("plain");
    tiny.n_vocab = file.traits->n_vocab;
    snprintf(path, size, "%s", temporary_path("fault.slm"));
    must(tiny_model_write(&tiny, path, CHAT, file.tokenizer, (size_t)file.tokenizer_length));
    slm_unmap(&map);
}

static slm_model_options model_options(struct world *w, int copy)
{
    return (slm_model_options){
        .size = sizeof(slm_model_options), .copy = copy, .allocator = &w->hooks.allocator};
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    hooks_init(&w->hooks);
    make_file(w->path, sizeof w->path);
    FILE *f = fopen(w->path, "rb");
    fseek(f, 0, SEEK_END);
    w->n_bytes = (size_t)ftell(f);
    rewind(f);
    w->bytes = aligned_alloc(64, (w->n_bytes + 63) / 64 * 64);
    w->n_bytes = fread(w->bytes, 1, w->n_bytes, f);
    fclose(f);
    slm_model_options options = model_options(w, 0);
    must(slm_model_open(&w->model, w->path, &options));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    slm_sampler_free(w->sampler);
    slm_seq_free(w->seq);
    slm_ctx_free(w->ctx);
    slm_model_unref(w->model);
    bool clean = hooks_clean(&w->hooks);
    free(w->bytes);
    free(w);
    return clean ? 0 : -1;
}

/* ------------------------------------------------------------------ operations --- */

/* An object that was made is looked at and freed; one that was not must be NULL. */
static int64_t finish_model(struct world *w, int rc, slm_model *model)
{
    if (rc < 0) {
        assert_null(model);
        return rc;
    }
    slm_info info;
    memset(&info, 0, sizeof info);
    info.size = sizeof info;
    must(slm_model_info(model, &info));
    keep(w, &info, sizeof info);
    slm_model_unref(model);
    return rc;
}

static int64_t open_mapped(struct world *w)
{
    slm_model *model = (slm_model *)w;
    slm_model_options options = model_options(w, 0);
    int rc = slm_model_open(&model, w->path, &options);
    return finish_model(w, rc, model);
}

static int64_t open_copied(struct world *w)
{
    slm_model *model = (slm_model *)w;
    slm_model_options options = model_options(w, 1);
    int rc = slm_model_open(&model, w->path, &options);
    return finish_model(w, rc, model);
}

static int64_t open_memory(struct world *w)
{
    slm_model *model = (slm_model *)w;
    slm_model_options options = model_options(w, 0);
    int rc = slm_model_open_memory(&model, w->bytes, w->n_bytes, &options);
    return finish_model(w, rc, model);
}

static int64_t open_memory_copied(struct world *w)
{
    slm_model *model = (slm_model *)w;
    slm_model_options options = model_options(w, 1);
    int rc = slm_model_open_memory(&model, w->bytes, w->n_bytes, &options);
    return finish_model(w, rc, model);
}

static int64_t new_context(struct world *w)
{
    slm_ctx *ctx = (slm_ctx *)w;
    slm_ctx_options options = {.size = sizeof options, .n_threads = 3, .max_tokens = 100};
    int rc = slm_ctx_new(&ctx, w->model, &options); /* the allocator is the model's */
    if (rc < 0) {
        assert_null(ctx);
        return rc;
    }
    slm_seq *seq = NULL;
    must(slm_seq_new(&seq, ctx));
    append(ctx, seq, (slm_token[]){1, 2, 3}, 3, 1, 1, (float *)(void *)w->result);
    w->n_result = 4;
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    return rc;
}

static int64_t new_sampler(struct world *w)
{
    static const slm_token tokens[] = {5, 9};
    static const float values[] = {1.5f, -2};
    slm_sampler *sampler = (slm_sampler *)w;
    slm_sampler_options options = {.size = sizeof options,
                                   .temperature = 0.8f,
                                   .top_k = 40,
                                   .top_p = 0.9f,
                                   .repeat_penalty = 1.1f,
                                   .penalty_window = -1,
                                   .bias_tokens = tokens,
                                   .bias_values = values,
                                   .n_bias = 2};
    int rc = slm_sampler_new(&sampler, w->model, &options);
    if (rc < 0)
        assert_null(sampler);
    w->n_result = 0;
    slm_sampler_free(sampler);
    return rc;
}

/* History without an end: memory of the sampler grows while it is used. */
static int64_t accept_tokens(struct world *w)
{
    slm_token *tokens = calloc(5000, sizeof *tokens);
    int rc = slm_sampler_accept(w->sampler, tokens, 5000);
    free(tokens);
    slm_sampler_reset(w->sampler);
    w->n_result = 0;
    return rc;
}

static int64_t tokenize(struct world *w)
{
    slm_token tokens[300];
    int64_t n = slm_tokenize(w->model, TEXT, strlen(TEXT), SLM_TEXT_ADD_SPECIAL, tokens, 300);
    if (n >= 0)
        keep(w, tokens, (size_t)n * sizeof *tokens);
    return n;
}

static int64_t detokenize(struct world *w)
{
    slm_token tokens[200];
    for (int i = 0; i < 200; i++)
        tokens[i] = 3 + i * 2;
    char text[4096];
    int64_t n = slm_detokenize(w->model, tokens, 200, SLM_TEXT_SHOW_SPECIAL, text, sizeof text);
    if (n >= 0)
        keep(w, text, (size_t)n);
    return n;
}

static int64_t stream(struct world *w)
{
    slm_text_stream *s = (slm_text_stream *)w;
    char text[4096];
    size_t length = 0;
    int rc = slm_text_stream_new(&s, w->model, 0);
    if (rc < 0) {
        assert_null(s);
        return rc;
    }
    for (int i = 0; i <= 60 && rc == 0; i++) {
        const char *piece = NULL;
        size_t n = 0;
        rc = slm_text_stream_push(s, i < 60 ? 200 + i : SLM_TOKEN_NONE, &piece, &n);
        memcpy(text + length, rc == 0 && piece ? piece : "", n);
        length += n;
    }
    slm_text_stream_free(s);
    if (rc == 0)
        keep(w, text, length);
    return rc;
}

static const slm_message messages[] = {{sizeof(slm_message), "system", "Be kind.  "},
                                       {sizeof(slm_message), "user", TEXT}};

static int64_t chat(struct world *w)
{
    char text[4096];
    slm_chat_options options = {.size = sizeof options,
                                .variables_json = "{\"extra\": [1, {\"a\": \"b\"}]}",
                                .tools_json = TOOLS};
    int64_t n = slm_chat_format(w->model, messages, 2, &options, text, sizeof text);
    if (n >= 0)
        keep(w, text, (size_t)n);
    return n;
}

static int64_t chat_tokens(struct world *w)
{
    slm_token tokens[1000];
    int64_t n = slm_chat_tokenize(w->model, messages, 2, NULL, tokens, 1000);
    if (n >= 0)
        keep(w, tokens, (size_t)n * sizeof *tokens);
    return n;
}

static int collect(void *user, const slm_piece *piece)
{
    struct world *w = user;
    if (w->n_result + piece->n <= sizeof w->result)
        memcpy(w->result + w->n_result, piece->text, piece->n);
    w->n_result += piece->n;
    return 0;
}

/* Without a sampler slm_generate() makes its own. Whatever happens, the sequence can be cut back.
 */
static int64_t generate(struct world *w)
{
    static const char *const stop[] = {"never to be found", "\x01\x02"};
    static const slm_token prompt[] = {1, 400, 410};
    slm_generate_options options = {.size = sizeof options,
                                    .max_tokens = 30,
                                    .stop = stop,
                                    .n_stop = 2,
                                    .ignore_stop_tokens = 1};
    w->n_result = 0;
    int rc = slm_generate(w->seq, NULL, prompt, 3, &options, collect, w);
    assert_in_range(slm_seq_length(w->seq), 0, 33);
    must(slm_seq_truncate(w->seq, 0));
    return rc;
}

static int64_t top_logprobs(struct world *w)
{
    float logits[512];
    slm_token tokens[20];
    float values[20];
    for (int i = 0; i < 512; i++)
        logits[i] = (float)(i * 7 % 64);
    int64_t n = slm_top_logprobs(w->model, logits, 20, tokens, values);
    if (n >= 0)
        keep(w, tokens, sizeof tokens);
    return n;
}

/* ----------------------------------------------------------------------- tests --- */

#define TRY(name, op)                                                                              \
    static void name(void **state)                                                                 \
    {                                                                                              \
        try_all(*state, op);                                                                       \
    }

TRY(test_open_mapped, open_mapped)
TRY(test_open_copied, open_copied)
TRY(test_open_memory, open_memory)
TRY(test_open_memory_copied, open_memory_copied)
TRY(test_context, new_context)
TRY(test_sampler, new_sampler)
TRY(test_tokenize, tokenize)
TRY(test_detokenize, detokenize)
TRY(test_stream, stream)
TRY(test_chat, chat)
TRY(test_chat_tokens, chat_tokens)

static void test_generate(void **state)
{
    struct world *w = *state;
    slm_ctx_options options = {.size = sizeof options, .n_threads = 1, .max_tokens = 100};
    must(slm_ctx_new(&w->ctx, w->model, &options));
    must(slm_seq_new(&w->seq, w->ctx));
    try_all(w, generate);
}

/* Calls that need no memory: with none left they work all the same. */
static void without_memory(void **state)
{
    struct world *w = *state;
    slm_sampler_options greedy = {
        .size = sizeof greedy, .penalty_window = -1, .repeat_penalty = 1.2f};
    must(slm_sampler_new(&w->sampler, w->model, &greedy));
    slm_ctx_options options = {
        .size = sizeof options, .n_threads = 2, .max_tokens = 100, .max_seqs = 2};
    must(slm_ctx_new(&w->ctx, w->model, &options));
    w->hooks.fail_at = w->hooks.n_allocs + 1;
    w->hooks.fail_after = true;
    slm_seq *seq = NULL, *fork = NULL;
    must(slm_seq_new(&seq, w->ctx));
    append(w->ctx, seq, (slm_token[]){1, 2, 3}, 3, 1, 1, (float[1]){0});
    slm_choice choice = {.size = sizeof choice};
    must(slm_sample(w->sampler, slm_logits(w->ctx, 0, 0), &choice));
    must(slm_seq_fork(&fork, seq));
    append(w->ctx, fork, &choice.token, 1, 0, 1, NULL);
    must(slm_seq_truncate(fork, 1));
    slm_seq_free(seq);
    slm_seq_free(fork);
    must(top_logprobs(w));
    must(slm_model_verify(w->model, NULL, NULL));
    size_t n = 0;
    assert_non_null(slm_token_text(w->model, 300, &n));
    assert_non_null(slm_model_metadata(w->model, "name"));
    assert_int_equal(w->hooks.n_failed, 0);
    w->hooks.fail_at = 0;
    must(accept_tokens(w));
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_open_mapped), CASE(test_open_copied),
        CASE(test_open_memory), CASE(test_open_memory_copied),
        CASE(test_context),     CASE(test_sampler),
        CASE(test_tokenize),    CASE(test_detokenize),
        CASE(test_stream),      CASE(test_chat),
        CASE(test_chat_tokens), CASE(test_generate),
        CASE(without_memory),
    };
    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
