/*
 * test_generate.c - slm_generate() on a real model: stories260K in f32, whose greedy text is
 * published. What the callback gets must add up to that text, however it is stopped and resumed.
 */
#include <slm/convert.h>
#include <slm/slm.h>

#include "support/models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char prompt[] = "Once upon a time";

static slm_model *model;
static char expected[8192]; /* the published continuation of the prompt */

/* What a callback saw. */
struct seen {
    char text[16384];
    size_t n;
    slm_token tokens[1024];
    size_t n_tokens;
    size_t n_last_pieces; /* pieces without a token */
    bool logprobs;        /* the sampler was asked for them */
    size_t stop_after;    /* tokens; 0: never */
    slm_ctx *interrupt;   /* when stop_after is reached, instead of stopping */
};

static int on_piece(void *user, const slm_piece *piece)
{
    struct seen *seen = user;
    assert_true(piece->size == sizeof *piece);
    assert_true(seen->n + piece->n < sizeof seen->text);
    if (piece->n > 0) {
        /* Whole characters: the first byte begins one and the last ends one. */
        assert_true(((unsigned char)piece->text[0] & 0xC0) != 0x80);
        unsigned char last = (unsigned char)piece->text[piece->n - 1];
        assert_true(last < 0xC0);
        memcpy(seen->text + seen->n, piece->text, piece->n);
    }
    seen->n += piece->n;
    seen->text[seen->n] = '\0';
    if (piece->token == SLM_TOKEN_NONE) {
        assert_true(piece->n > 0 && piece->logits == NULL);
        seen->n_last_pieces++;
        return 0;
    }
    assert_true(seen->n_last_pieces == 0);
    slm_token best;
    float logprob;
    assert_int_equal(slm_top_logprobs(model, piece->logits, 1, &best, &logprob), 1);
    assert_int_equal(best, piece->token); /* greedy, in all tests that look */
    if (seen->logprobs)
        assert_true(logprob == piece->logprob && piece->entropy >= 0);
    else
        assert_true(isnan(piece->logprob) && isnan(piece->entropy));
    seen->tokens[seen->n_tokens++] = piece->token;
    if (seen->stop_after && seen->n_tokens == seen->stop_after) {
        if (!seen->interrupt)
            return 1;
        slm_ctx_interrupt(seen->interrupt);
    }
    return 0;
}

struct fixture {
    slm_ctx *ctx;
    slm_seq *seq;
    slm_token ids[64];
    size_t n_ids;
    struct seen seen;
};

static void begin(struct fixture *f, int32_t max_tokens)
{
    memset(f, 0, sizeof *f);
    const slm_ctx_options options = {
        .size = sizeof options, .n_threads = 1, .max_tokens = max_tokens, .kv_type = SLM_KV_F32};
    assert_int_equal(slm_ctx_new(&f->ctx, model, &options), 0);
    assert_int_equal(slm_seq_new(&f->seq, f->ctx), 0);
    int64_t n = slm_tokenize(model, prompt, strlen(prompt), SLM_TEXT_ADD_SPECIAL, f->ids, 64);
    assert_true(n > 0 && n < 64);
    f->n_ids = (size_t)n;
}

static void end(struct fixture *f)
{
    slm_seq_free(f->seq);
    slm_ctx_free(f->ctx);
}

static int generate(struct fixture *f, slm_generate_options options)
{
    options.size = sizeof options;
    return slm_generate(f->seq, NULL, f->ids, f->n_ids, &options, on_piece, &f->seen);
}

static void assert_prefix(const struct seen *seen, size_t n)
{
    assert_int_equal(seen->n, n);
    assert_memory_equal(seen->text, expected, n);
}

/* ------------------------------------------------------------------------------- tests --- */

static void test_published_text(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 512);
    assert_int_equal(generate(&f, (slm_generate_options){.max_tokens = 195}), SLM_FINISH_LENGTH);
    assert_int_equal(f.seen.n_tokens, 195);
    assert_true(f.seen.n >= strlen(expected));
    assert_memory_equal(f.seen.text, expected, strlen(expected));
    /* The last token is the next call's first. */
    assert_int_equal(slm_seq_length(f.seq), f.n_ids + 195 - 1);
    end(&f);
}

/* A greedy sampler that was asked for log probabilities: they come, and the text is the same. */
static void test_logprobs(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 512);
    slm_sampler_options options = {.size = sizeof options, .logprobs = 1};
    slm_sampler *sampler;
    assert_int_equal(slm_sampler_new(&sampler, model, &options), 0);
    slm_generate_options how = {.size = sizeof how, .max_tokens = 100};
    f.seen.logprobs = true;
    assert_int_equal(slm_generate(f.seq, sampler, f.ids, f.n_ids, &how, on_piece, &f.seen),
                     SLM_FINISH_LENGTH);
    assert_prefix(&f.seen, f.seen.n);
    slm_sampler_free(sampler);
    end(&f);
}

static void test_resume(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 512);
    assert_int_equal(generate(&f, (slm_generate_options){.max_tokens = 10}), SLM_FINISH_LENGTH);
    for (int i = 0; i < 9; i++) {
        slm_token last = f.seen.tokens[f.seen.n_tokens - 1];
        const slm_generate_options ten = {.size = sizeof ten, .max_tokens = 10};
        assert_int_equal(slm_generate(f.seq, NULL, &last, 1, &ten, on_piece, &f.seen),
                         SLM_FINISH_LENGTH);
    }
    assert_int_equal(f.seen.n_tokens, 100);
    assert_prefix(&f.seen, f.seen.n);
    end(&f);
}

/* Every word of the text as a stop text: the answer ends before its first place. */
static void test_stop_texts(void **state)
{
    (void)state;
    const char *const stops[] = {"a",  " little",   "Lily", "named Lily. S", "ball.", "high.\nLil",
                                 "\n", ", there w", "e"};
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        struct fixture f;
        begin(&f, 512);
        const char *at = strstr(expected, stops[i]);
        assert_non_null(at);
        const char *pair[2] = {"never in a story", stops[i]};
        int finish = generate(&f, (slm_generate_options){.stop = pair, .n_stop = 2});
        assert_int_equal(finish, SLM_FINISH_TEXT);
        assert_prefix(&f.seen, (size_t)(at - expected));
        end(&f);
    }
}

/* A stop text that never comes, but often seems to: nothing gets lost. */
static void test_held_back_text_is_released(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 512);
    const char *stops[3] = {"Lily was sad!", "She wanted to fly", "little girl named Lilya"};
    int finish =
        generate(&f, (slm_generate_options){.stop = stops, .n_stop = 3, .max_tokens = 100});
    assert_int_equal(finish, SLM_FINISH_LENGTH);
    struct fixture g;
    begin(&g, 512);
    generate(&g, (slm_generate_options){.max_tokens = 100});
    assert_string_equal(f.seen.text, g.seen.text);
    end(&f);
    end(&g);

    /* Cut in the middle of what looks like a stop text: it comes at the end. */
    begin(&f, 512);
    finish = generate(&f, (slm_generate_options){.stop = stops, .n_stop = 3, .max_tokens = 9});
    assert_int_equal(finish, SLM_FINISH_LENGTH);
    assert_int_equal(f.seen.n_last_pieces, 1);
    assert_prefix(&f.seen, f.seen.n);
    assert_true(f.seen.n > strlen(", there was a lit"));
    end(&f);
}

static void test_callback_stops(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 512);
    f.seen.stop_after = 7;
    assert_int_equal(generate(&f, (slm_generate_options){0}), SLM_FINISH_CALLBACK);
    assert_int_equal(f.seen.n_tokens, 7);
    assert_int_equal(slm_seq_length(f.seq), f.n_ids + 6);
    end(&f);
}

static void test_context_full(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 48);
    assert_int_equal(generate(&f, (slm_generate_options){0}), SLM_FINISH_CONTEXT);
    assert_int_equal(slm_seq_length(f.seq), 48);
    assert_int_equal(f.seen.n_tokens, 48 - f.n_ids + 1);
    assert_prefix(&f.seen, f.seen.n);
    /* No room for the prompt: an error, and nothing changed. */
    assert_int_equal(generate(&f, (slm_generate_options){0}), SLM_ELIMIT);
    assert_int_equal(slm_seq_length(f.seq), 48);
    end(&f);
}

static void test_interrupt(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 512);
    f.seen.stop_after = 20;
    f.seen.interrupt = f.ctx;
    assert_int_equal(generate(&f, (slm_generate_options){0}), SLM_EINTR);
    assert_int_equal(f.seen.n_tokens, 20);
    assert_int_equal(slm_seq_length(f.seq), f.n_ids + 19);
    /* And it goes on as if nothing had been. */
    f.seen.interrupt = NULL;
    f.seen.stop_after = 0;
    slm_token last = f.seen.tokens[19];
    const slm_generate_options more = {.size = sizeof more, .max_tokens = 80};
    assert_int_equal(slm_generate(f.seq, NULL, &last, 1, &more, on_piece, &f.seen),
                     SLM_FINISH_LENGTH);
    assert_prefix(&f.seen, f.seen.n);

    /* Before it begins: the prompt is not evaluated. */
    int32_t length = slm_seq_length(f.seq);
    slm_ctx_interrupt(f.ctx);
    assert_int_equal(generate(&f, (slm_generate_options){0}), SLM_EINTR);
    assert_int_equal(slm_seq_length(f.seq), length);
    end(&f);
}

/* EOS made certain by a bias: the answer ends, and goes on where that is ignored. */
static void test_stop_token(void **state)
{
    (void)state;
    slm_info info = {.size = sizeof info};
    assert_int_equal(slm_model_info(model, &info), 0);
    assert_true(slm_token_is_stop(model, info.eos));
    assert_false(slm_token_is_stop(model, 300));
    const float plenty = 1000;
    const slm_sampler_options options = {
        .size = sizeof options, .bias_tokens = &info.eos, .bias_values = &plenty, .n_bias = 1};
    slm_sampler *sampler;
    assert_int_equal(slm_sampler_new(&sampler, model, &options), 0);
    struct fixture f;
    begin(&f, 512);
    assert_int_equal(slm_generate(f.seq, sampler, f.ids, f.n_ids, NULL, NULL, NULL),
                     SLM_FINISH_STOP);
    assert_int_equal(slm_seq_length(f.seq), f.n_ids);
    const slm_generate_options ignore = {
        .size = sizeof ignore, .ignore_stop_tokens = 1, .max_tokens = 5};
    assert_int_equal(slm_generate(f.seq, sampler, &info.eos, 1, &ignore, NULL, NULL),
                     SLM_FINISH_LENGTH);
    slm_sampler_free(sampler);
    end(&f);
}

static int on_bytes(void *user, const slm_piece *piece)
{
    struct seen *seen = user;
    memcpy(seen->text + seen->n, piece->n ? piece->text : "", piece->n);
    seen->n += piece->n;
    seen->text[seen->n] = '\0';
    if (piece->n)
        assert_true(piece->n == 2 || piece->n == 3); /* a whole ö, or U+FFFD */
    return 0;
}

/* Byte tokens forced to alternate: every second piece is a whole character, none is half of one. An
 * odd number ends in the middle of a character, which appears when the answer goes on. */
static void test_whole_characters(void **state)
{
    (void)state;
    slm_token ids[8];
    int64_t n = slm_tokenize(model, "\xC3\xB6", 2, 0, ids, 8);
    assert_true(n >= 2 && n <= 3);
    const slm_token bytes[2] = {ids[n - 2], ids[n - 1]};
    const float bias[2] = {20000, 19000}; /* against these, what the model thinks is nothing */
    const slm_sampler_options options = {.size = sizeof options,
                                         .bias_tokens = bytes,
                                         .bias_values = bias,
                                         .n_bias = 2,
                                         .frequency_penalty = 2000};
    for (size_t count = 1; count <= 6; count++) {
        slm_sampler *sampler;
        assert_int_equal(slm_sampler_new(&sampler, model, &options), 0);
        struct fixture f;
        begin(&f, 512);
        const slm_generate_options how = {.size = sizeof how, .max_tokens = count};
        assert_int_equal(slm_generate(f.seq, sampler, f.ids, f.n_ids, &how, on_bytes, &f.seen),
                         SLM_FINISH_LENGTH);
        char text[32] = "";
        for (size_t i = 0; i < count / 2; i++)
            strcat(text, "\xC3\xB6");
        assert_string_equal(f.seen.text, text);
        const slm_generate_options one = {.size = sizeof one, .max_tokens = 1};
        assert_int_equal(
            slm_generate(f.seq, sampler, &bytes[(count + 1) % 2], 1, &one, on_bytes, &f.seen),
            SLM_FINISH_LENGTH);
        strcat(text, count % 2 ? "\xC3\xB6" : "");
        assert_string_equal(f.seen.text, text);
        slm_sampler_free(sampler);
        end(&f);
    }
}

/* The model itself ends in the middle of a character: U+FFFD, as in slm_detokenize(). */
static void test_character_broken_off(void **state)
{
    (void)state;
    slm_token ids[8];
    int64_t n = slm_tokenize(model, "\xC3\xB6", 2, 0, ids, 8);
    assert_true(n >= 2 && n <= 3);
    slm_info info = {.size = sizeof info};
    assert_int_equal(slm_model_info(model, &info), 0);
    const slm_token tokens[2] = {ids[n - 2], info.eos};
    const float bias[2] = {20000, 19000};
    const slm_sampler_options options = {.size = sizeof options,
                                         .bias_tokens = tokens,
                                         .bias_values = bias,
                                         .n_bias = 2,
                                         .frequency_penalty = 2000};
    slm_sampler *sampler;
    assert_int_equal(slm_sampler_new(&sampler, model, &options), 0);
    struct fixture f;
    begin(&f, 512);
    assert_int_equal(slm_generate(f.seq, sampler, f.ids, f.n_ids, NULL, on_bytes, &f.seen),
                     SLM_FINISH_STOP);
    assert_string_equal(f.seen.text, "\xEF\xBF\xBD");
    slm_sampler_free(sampler);
    end(&f);
}

/* A space after the prompt is kept: prompt and answer together are the text. */
static void test_space_after_prompt(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 512);
    f.n_ids = (size_t)slm_tokenize(model, "Once upon", 9, SLM_TEXT_ADD_SPECIAL, f.ids, 64);
    assert_int_equal(generate(&f, (slm_generate_options){.max_tokens = 2}), SLM_FINISH_LENGTH);
    assert_string_equal(f.seen.text, " a time");
    end(&f);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 512);
    const char *empty = "";
    assert_int_equal(slm_generate(NULL, NULL, f.ids, 1, NULL, NULL, NULL), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "seq is NULL"));
    assert_int_equal(slm_generate(f.seq, NULL, f.ids, 0, NULL, NULL, NULL), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "at least one"));
    assert_int_equal(slm_generate(f.seq, NULL, NULL, 3, NULL, NULL, NULL), SLM_EINVAL);
    assert_int_equal(generate(&f, (slm_generate_options){.stop = &empty, .n_stop = 1}), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "stop[0] is empty"));
    f.ids[1] = 512;
    assert_int_equal(generate(&f, (slm_generate_options){0}), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "512"));
    f.ids[1] = -1;
    assert_int_equal(generate(&f, (slm_generate_options){0}), SLM_EINVAL);
    assert_int_equal(slm_seq_length(f.seq), 0);
    slm_generate_options unset = {.size = 0};
    assert_int_equal(slm_generate(f.seq, NULL, f.ids, 1, &unset, NULL, NULL), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "slm_generate_options.size"));
    end(&f);
}

/* --------------------------------------------------------------- the exported sampling --- */

static void test_sampling_arguments(void **state)
{
    (void)state;
    slm_sampler *sampler = (void *)1;
    slm_sampler_options options = {.size = sizeof options, .top_p = 2};
    assert_int_equal(slm_sampler_new(&sampler, model, &options), SLM_EINVAL);
    assert_null(sampler);
    assert_non_null(strstr(slm_last_error(), "top_p is 2"));
    assert_int_equal(slm_sampler_new(NULL, model, NULL), SLM_EINVAL);
    assert_int_equal(slm_sampler_new(&sampler, NULL, NULL), SLM_EINVAL);
    assert_int_equal(slm_sampler_new(&sampler, model, NULL), 0);

    float logits[512] = {0};
    logits[77] = 3;
    slm_choice choice = {.size = sizeof choice};
    assert_int_equal(slm_sample(NULL, logits, &choice), SLM_EINVAL);
    assert_int_equal(slm_sample(sampler, NULL, &choice), SLM_EINVAL);
    assert_int_equal(slm_sample(sampler, logits, NULL), SLM_EINVAL);
    assert_int_equal(slm_sample(sampler, logits, &choice), 0);
    assert_int_equal(choice.token, 77);

    /* An older program, whose struct ended before entropy: nothing is written behind it. */
    choice = (slm_choice){.size = offsetof(slm_choice, entropy), .entropy = 5};
    assert_int_equal(slm_sample(sampler, logits, &choice), 0);
    assert_int_equal(choice.token, 77);
    assert_true(choice.entropy == 5);

    const slm_token bad[2] = {3, 512};
    assert_int_equal(slm_sampler_accept(sampler, bad, 2), SLM_EINVAL);
    assert_non_null(strstr(slm_last_error(), "tokens[1] is 512"));
    assert_int_equal(slm_sampler_accept(sampler, NULL, 0), 0);

    slm_token best[3];
    float logprobs[3];
    logits[5] = 3;
    assert_int_equal(slm_top_logprobs(model, logits, 3, best, logprobs), 3);
    assert_int_equal(best[0], 5);
    assert_int_equal(best[1], 77);
    assert_int_equal(best[2], 0);
    assert_true(logprobs[0] == logprobs[1] && logprobs[1] > logprobs[2]);
    assert_int_equal(slm_top_logprobs(model, logits, 3, NULL, logprobs), SLM_EINVAL);
    assert_int_equal(slm_top_logprobs(model, logits, 0, NULL, NULL), 0);
    slm_sampler_reset(NULL);
    slm_sampler_free(NULL);
    slm_sampler_free(sampler);
}

static int open_model(void **state)
{
    (void)state;
    const char *data = getenv("SLM_TEST_DATA");
    char source[4096], text[4096];
    snprintf(source, sizeof source, "%s/stories260K/stories260K.bin", data ? data : "tests/data");
    snprintf(text, sizeof text, "%s/stories260K/text.txt", data ? data : "tests/data");
    FILE *file = fopen(text, "r");
    if (!file)
        return -1;
    size_t n = fread(expected, 1, sizeof expected - 1, file);
    fclose(file);
    while (n > 0 && expected[n - 1] == '\n')
        expected[--n] = '\0';
    memmove(expected, expected + strlen(prompt), n - strlen(prompt) + 1);
    const char *path = temporary_path("model.slm");
    if (slm_convert(source, path, NULL) < 0) {
        fprintf(stderr, "%s\n", slm_last_error());
        return -1;
    }
    return slm_model_open(&model, path, NULL);
}

static int close_model(void **state)
{
    (void)state;
    slm_model_unref(model);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_text),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_stop_texts),
        cmocka_unit_test(test_held_back_text_is_released),
        cmocka_unit_test(test_callback_stops),
        cmocka_unit_test(test_context_full),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_stop_token),
        cmocka_unit_test(test_whole_characters),
        cmocka_unit_test(test_character_broken_off),
        cmocka_unit_test(test_space_after_prompt),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_sampling_arguments),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
