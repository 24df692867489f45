/*
 * answer.c - see answer.h.
 */
#include "answer.h"

#include "files.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------- collecting --- */

/* realloc an array to n elements in place; false leaves it as it was. */
static bool grow(void *array, size_t n, size_t size)
{
    void *old, *new;
    memcpy(&old, array, sizeof old);
    if (size != 0 && n > SIZE_MAX / size)
        return false;
    new = realloc(old, n * size);
    if (!new)
        return false;
    memcpy(array, &new, sizeof new);
    return true;
}

static bool make_room(struct cli_answer *a)
{
    if (a->tokens.n < a->capacity)
        return true;
    size_t n = a->capacity ? 2 * a->capacity : 256;
    size_t k = a->logprobs;
    if (!grow(&a->tokens.ids, n, sizeof *a->tokens.ids))
        return false;
    if (k > 0 &&
        (!grow(&a->chosen, n, sizeof *a->chosen) || !grow(&a->entropy, n, sizeof *a->entropy) ||
         !grow(&a->top, n, k * sizeof *a->top) ||
         !grow(&a->top_logprobs, n, k * sizeof *a->top_logprobs)))
        return false;
    a->capacity = n;
    return true;
}

static void keep_token(struct cli_answer *a, const slm_piece *piece)
{
    size_t i = a->tokens.n++, k = a->logprobs;
    a->tokens.ids[i] = piece->token;
    if (k == 0)
        return;
    a->chosen[i] = piece->logprob;
    a->entropy[i] = piece->entropy;
    /* A small vocabulary may have fewer than k. */
    for (size_t j = 0; j < k; j++)
        a->top[i * k + j] = SLM_TOKEN_NONE;
    slm_top_logprobs(a->engine->model, piece->logits, k, a->top + i * k, a->top_logprobs + i * k);
}

int cli_answer_piece(void *user, const slm_piece *piece)
{
    struct cli_answer *a = user;
    if (piece->token != SLM_TOKEN_NONE) {
        if (a->tokens.n == 0)
            a->first_token = cli_uptime();
        if (!make_room(a)) {
            a->failed = true;
            return 1;
        }
        keep_token(a, piece);
    }
    if (piece->n == 0)
        return 0;
    slm_buf_append(&a->text, piece->text, piece->n);
    a->failed = slm_buf_ok(&a->text) < 0;
    return a->failed || (a->print && !cli_print(piece->text, piece->n));
}

void cli_answer_free(struct cli_answer *a)
{
    slm_buf_free(&a->text);
    cli_tokens_free(&a->tokens);
    free(a->chosen);
    free(a->entropy);
    free(a->top);
    free(a->top_logprobs);
}

void cli_note_unfinished(int finish, const struct cli_settings *s)
{
    if (!cli_is_terminal(stderr))
        return;
    if (finish == SLM_FINISH_LENGTH && s->n == CLI_DEFAULT_TOKENS)
        cli_note("(the answer is cut at %d tokens; -n sets how long it may get)", (int)s->n);
    if (finish == SLM_FINISH_CONTEXT)
        cli_note("(the answer is cut: the context is full; -c sets how much it holds)");
}

const char *cli_finish_name(int finish)
{
    switch (finish) {
    case SLM_FINISH_STOP: return "stop";
    case SLM_FINISH_TEXT: return "stop_text";
    case SLM_FINISH_LENGTH: return "length";
    case SLM_FINISH_CONTEXT: return "context";
    case SLM_FINISH_CALLBACK: return "stopped";
    case SLM_EINTR: return "interrupted";
    }
    return "error";
}

static void json_token(struct cli_json *json, const slm_model *model, slm_token token,
                       double logprob)
{
    size_t n = 0;
    const char *text = slm_token_text(model, token, &n);
    cli_json_int(json, "id", token);
    cli_json_text(json, "text", text ? text : "", n);
    cli_json_bytes(json, "bytes", text ? text : "", n);
    cli_json_number(json, "logprob", logprob);
}

void cli_answer_json_logprobs(const struct cli_answer *a, const slm_model *model,
                              struct cli_json *json)
{
    size_t k = a->logprobs;
    cli_json_open(json, "logprobs", '[');
    for (size_t i = 0; i < a->tokens.n; i++) {
        cli_json_open(json, NULL, '{');
        json_token(json, model, a->tokens.ids[i], (double)a->chosen[i]);
        cli_json_number(json, "entropy", (double)a->entropy[i]);
        cli_json_open(json, "top", '[');
        for (size_t j = i * k; j < (i + 1) * k && a->top[j] != SLM_TOKEN_NONE; j++) {
            cli_json_open(json, NULL, '{');
            json_token(json, model, a->top[j], (double)a->top_logprobs[j]);
            cli_json_close(json, '}');
        }
        cli_json_close(json, ']');
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

int cli_tokenize_chat(const slm_model *model, const slm_message *messages, size_t n,
                      struct cli_tokens *out)
{
    *out = (struct cli_tokens){0};
    int64_t needed = slm_chat_tokenize(model, messages, n, NULL, NULL, 0);
    if (needed < 0)
        return cli_fail_library((int)needed);
    out->ids = malloc(((size_t)needed + 1) * sizeof *out->ids);
    if (!out->ids)
        return cli_fail("out of memory");
    out->n = (size_t)needed;
    needed = slm_chat_tokenize(model, messages, n, NULL, out->ids, out->n);
    if (needed != (int64_t)out->n) {
        cli_tokens_free(out);
        return needed < 0 ? cli_fail_library((int)needed)
                          : cli_fail("the chat template gave two different prompts");
    }
    return CLI_OK;
}

int cli_show_prompt(const slm_model *model, const slm_message *messages, size_t n)
{
    int64_t length = slm_chat_format(model, messages, n, NULL, NULL, 0), again = 0;
    if (length < 0)
        return cli_fail_library((int)length);
    char *text = malloc((size_t)length + 1);
    if (!text)
        return cli_fail("out of memory");
    again = slm_chat_format(model, messages, n, NULL, text, (size_t)length);
    fflush(stdout);
    fputs(cli_style(stderr, CLI_DIM), stderr);
    fwrite(text, 1, (size_t)(again < length ? again : length), stderr);
    fprintf(stderr, "%s\n", cli_style(stderr, CLI_PLAIN));
    free(text);
    return CLI_OK;
}

int cli_show_tokens(const slm_model *model, const struct cli_tokens *tokens)
{
    fflush(stdout);
    fputs(cli_style(stderr, CLI_DIM), stderr);
    int code = cli_write_text_of(model, tokens, stderr);
    fprintf(stderr, "%s\n", cli_style(stderr, CLI_PLAIN));
    return code;
}

/* --------------------------------------------------------------------------- statistics --- */

static double per_second(uint64_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

void cli_stats_print(const struct cli_engine *engine, const struct cli_answer *answer,
                     size_t n_prompt, int finish)
{
    slm_stats stats = {.size = sizeof stats};
    slm_ctx_stats(engine->ctx, &stats);
    fflush(stdout);
    fprintf(stderr, "load         %8.1f ms\n", engine->load_seconds * 1e3);
    if (answer->tokens.n > 0)
        fprintf(stderr, "first token  %8.1f ms after the start\n", answer->first_token * 1e3);
    fprintf(stderr, "prompt       %8zu tokens  %8.1f tokens/s\n", n_prompt,
            per_second(stats.prompt_tokens, stats.prompt_seconds));
    fprintf(stderr, "answer       %8zu tokens  %8.1f tokens/s\n", answer->tokens.n,
            per_second(stats.decode_tokens, stats.decode_seconds));
    fprintf(stderr, "peak memory  %8.1f MB\n", (double)cli_peak_memory() / 1e6);
    fprintf(stderr, "context      %8d tokens, %d threads, %s\n", (int)stats.kv_positions,
            (int)stats.n_threads, slm_cpu_tier_name(stats.cpu));
    fprintf(stderr, "ended by     %s\n", cli_finish_name(finish));
}

void cli_stats_json(const struct cli_engine *engine, const struct cli_answer *answer,
                    struct cli_json *json)
{
    slm_stats stats = {.size = sizeof stats};
    slm_ctx_stats(engine->ctx, &stats);
    cli_json_number(json, "load_seconds", engine->load_seconds);
    if (answer->tokens.n > 0)
        cli_json_number(json, "first_token_seconds", answer->first_token);
    cli_json_number(json, "prompt_tokens_per_second",
                    per_second(stats.prompt_tokens, stats.prompt_seconds));
    cli_json_number(json, "tokens_per_second",
                    per_second(stats.decode_tokens, stats.decode_seconds));
    cli_json_int(json, "peak_memory", (int64_t)cli_peak_memory());
    cli_json_int(json, "context", stats.kv_positions);
    cli_json_int(json, "threads", stats.n_threads);
    cli_json_name(json, "cpu", slm_cpu_tier_name(stats.cpu));
}
