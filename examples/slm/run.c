/*
 * run.c - slm run: one text in, one answer out.
 */
#include "answer.h"
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(struct cli_settings, name)

static const struct cli_option options[] = {
    {'p', "prompt", CLI_TEXT, FIELD(prompt), "TEXT", "the text to answer", 0, 0, NULL},
    {'f', "file", CLI_TEXT, FIELD(file), "FILE", "read it from a file; - is standard input", 1, 0,
     NULL},
    {0, "system", CLI_TEXT, FIELD(system), "TEXT", "the system message", 0, 0, NULL},
    {'n', "tokens", CLI_INT, FIELD(n), "N", CLI_TOKENS_HELP, 0, 1e9, NULL},
    {'c', "context", CLI_INT, FIELD(context), "N",
     "context in tokens (default: the model's, at most 4096)", 1, 16777216, NULL},
    {0, "raw", CLI_FLAG, FIELD(raw), NULL,
     "continue the text as it is, without the chat template;\n"
     "special tokens such as <|im_end|> are recognised in it",
     0, 0, NULL},
    {0, "show-prompt", CLI_FLAG, FIELD(show_prompt), NULL,
     "print what the model gets to see on stderr, before its answer", 0, 0, NULL},
    {0, "stop", CLI_LIST, FIELD(stop), "TEXT", "end the answer before this text. Repeatable", 0, 0,
     NULL},
    {0, "ignore-eos", CLI_FLAG, FIELD(ignore_stop), NULL, "go on when the model wants to stop", 0,
     0, NULL},
    {0, "json", CLI_FLAG, FIELD(json), NULL, "print one JSON object instead of the text", 0, 0,
     NULL},
    {0, "logprobs", CLI_INT, FIELD(logprobs), "K",
     "with --json: log probabilities of each token and of the\nK likeliest", 1, 1000, NULL},
    {0, "stats", CLI_FLAG, FIELD(stats), NULL, "print times, speeds and memory on stderr", 0, 0,
     NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {
    {"Options", options},
    {"Sampling", cli_sampling_options},
    {"Engine", cli_engine_options},
    {NULL, NULL},
};

/* A user's message is a C string with something in it. */
static int check_message(const struct cli_settings *s, const struct slm_buf *text)
{
    const char *data = (const char *)text->data;
    const char *nul = memchr(data, '\0', text->length);
    if (nul)
        return cli_fail("%s: byte %zu is NUL, which a message can't hold; --raw takes any text",
                        cli_prompt_source(s), (size_t)(nul - data));
    if (data[strspn(data, " \t\r\n")] == '\0')
        return cli_usage_error("run", "%s is empty: there is nothing to answer",
                               cli_prompt_source(s));
    return CLI_OK;
}

/* The tokens of the prompt: the chat template around it, or the text itself. */
static int make_prompt(const struct cli_engine *engine, const struct cli_settings *s,
                       const struct slm_buf *text, struct cli_tokens *tokens)
{
    bool raw = s->raw;
    if (s->system && !engine->info.has_template)
        return cli_fail("--system needs a chat template, which this model does not have: leave it "
                        "out");
    if (!raw && !engine->info.has_template) {
        cli_note("this model has no chat template: it continues the text (--raw)");
        raw = true;
    }
    /* Only who writes --raw -p "" can mean it: the model begins by itself, after BOS. */
    if (raw && text->length == 0 &&
        !(s->raw && (s->prompt || s->arguments[1]) && cli_adds_bos(engine)))
        return cli_usage_error("run", "%s is empty: there is nothing to continue",
                               cli_prompt_source(s));
    int code;
    if (raw) {
        code = cli_tokenize_text(engine->model, (const char *)text->data, text->length,
                                 SLM_TEXT_ADD_SPECIAL | SLM_TEXT_PARSE_SPECIAL, tokens);
        if (code == CLI_OK && s->show_prompt)
            code = cli_show_tokens(engine->model, tokens);
        return code;
    }

    code = check_message(s, text);
    if (code != CLI_OK)
        return code;
    slm_message messages[2];
    size_t n = 0;
    if (s->system)
        messages[n++] = (slm_message){sizeof *messages, "system", s->system};
    messages[n++] = (slm_message){sizeof *messages, "user", (const char *)text->data};
    if (s->show_prompt && (code = cli_show_prompt(engine->model, messages, n)) != CLI_OK)
        return code;
    return cli_tokenize_chat(engine->model, messages, n, tokens);
}

static void print_json(const struct cli_engine *engine, const struct cli_answer *answer,
                       const char *finish, uint64_t seed, size_t n_prompt)
{
    struct cli_json json = {0};
    cli_json_open(&json, NULL, '{');
    cli_json_text(&json, "text", (const char *)answer->text.data, answer->text.length);
    cli_json_name(&json, "finish", finish);
    cli_json_int(&json, "prompt_tokens", (int64_t)n_prompt);
    cli_json_int(&json, "tokens", (int64_t)answer->tokens.n);
    cli_json_open(&json, "token_ids", '[');
    for (size_t i = 0; i < answer->tokens.n; i++)
        cli_json_int(&json, NULL, answer->tokens.ids[i]);
    cli_json_close(&json, ']');
    if (answer->logprobs > 0)
        cli_answer_json_logprobs(answer, engine->model, &json);
    /* As text: a JSON number holds only 53 bits. */
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    cli_json_name(&json, "seed", text);
    cli_json_open(&json, "stats", '{');
    cli_stats_json(engine, answer, &json);
    cli_json_close(&json, '}');
    cli_json_close(&json, '}');
    cli_json_print(&json);
}

static int answer_prompt(struct cli_engine *engine, const struct cli_settings *s,
                         const struct cli_tokens *prompt, slm_sampler *sampler, uint64_t seed)
{
    slm_seq *seq;
    int made = slm_seq_new(&seq, engine->ctx);
    if (made < 0)
        return cli_fail_library(made);
    struct cli_answer answer = {
        .engine = engine, .logprobs = s->json ? (size_t)s->logprobs : 0, .print = !s->json};
    const slm_generate_options how = {
        .size = sizeof how,
        .max_tokens = (size_t)s->n,
        .stop = s->stop.items,
        .n_stop = s->stop.n,
        .ignore_stop_tokens = s->ignore_stop,
    };
    slm_sampler_accept(sampler, prompt->ids, prompt->n); /* penalties see the prompt too */
    cli_catch_interrupt(engine->ctx);
    int finish =
        slm_generate(seq, sampler, prompt->ids, prompt->n, &how, cli_answer_piece, &answer);
    cli_release_interrupt();

    if (!s->json && cli_is_terminal(stdout))
        putchar('\n');
    int code = finish < 0 ? cli_fail_library(finish) : CLI_OK;
    if (answer.failed)
        code = cli_fail("out of memory");
    if (s->json && (code == CLI_OK || code == CLI_INTERRUPTED))
        print_json(engine, &answer, cli_finish_name(finish), seed, prompt->n);
    if (!s->json)
        cli_note_unfinished(finish, s);
    if (s->stats)
        cli_stats_print(engine, &answer, prompt->n, finish);
    cli_answer_free(&answer);
    slm_seq_free(seq);
    return code;
}

static int run(const struct cli_settings *s)
{
    struct cli_engine engine = {0};
    struct slm_buf text = {0};
    struct cli_tokens prompt = {0};
    slm_sampler *sampler = NULL;
    uint64_t seed = 0;
    if (s->raw && s->system)
        return cli_usage_error("run",
                               "--system is a message of the chat template, and --raw leaves "
                               "that out: give one of them");
    if (s->logprobs > 0 && !s->json)
        cli_note("note: --logprobs changes nothing without --json");
    int code = cli_check_stop("run", s);
    if (code == CLI_OK)
        code = cli_read_prompt("run", s, CLI_TEXT_LIMIT, &text);
    if (code == CLI_OK)
        code = cli_engine_decoder(&engine, s);
    slm_buf_byte(&text, 0); /* chat messages end with NUL */
    text.length--;
    if (code == CLI_OK && slm_buf_ok(&text) < 0)
        code = cli_fail("out of memory");
    if (code == CLI_OK)
        code = make_prompt(&engine, s, &text, &prompt);
    if (code == CLI_OK)
        code = cli_engine_sampler("run", &engine, s, &sampler, &seed);
    if (code == CLI_OK) {
        const struct cli_wants wants = {.max_tokens = cli_engine_context_length(&engine, s)};
        if (prompt.n > (size_t)wants.max_tokens)
            code = cli_fail("the prompt has %zu tokens, and the context holds %d: shorten it, or "
                            "give a larger -c",
                            prompt.n, (int)wants.max_tokens);
        else
            code = cli_engine_context(&engine, s, &wants);
    }
    if (code == CLI_OK)
        code = answer_prompt(&engine, s, &prompt, sampler, seed);
    slm_sampler_free(sampler);
    cli_tokens_free(&prompt);
    slm_buf_free(&text);
    cli_engine_close(&engine);
    return code;
}

static void defaults(struct cli_settings *s)
{
    s->n = CLI_DEFAULT_TOKENS;
}

const struct cli_command cli_run = {
    .name = "run",
    .usage = "MODEL [TEXT | -p TEXT | -f FILE] [options]",
    .summary = "answer one text",
    .details =
        "TEXT is a user's message in the model's own chat template, unless --raw. Only the\n"
        "answer goes to standard output. Without sampling options the likeliest token is taken\n"
        "each time, so the same text gives the same answer on every machine. Small models answer\n"
        "best after a system message like those that they were trained with.",
    .examples =
        "  slm run model.slm \"What is the capital of France?\" --system \"You are a helpful AI "
        "assistant.\"\n"
        "  slm run model.slm --raw -p \"Once upon a time\" -n 50\n"
        "  slm run model.slm -f letter.txt --system \"Summarise in one sentence.\" --stats\n"
        "  echo \"Name a colour\" | slm run model.slm --temp 0.8 --top-p 0.9 --seed 7",
    .min_arguments = 1,
    .max_arguments = 2,
    .groups = groups,
    .defaults = defaults,
    .run = run,
};
