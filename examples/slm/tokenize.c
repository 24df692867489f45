/*
 * tokenize.c - slm tokenize: text to token ids and back.
 */
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(struct cli_settings, name)

static const struct cli_option options[] = {
    {'p', "prompt", CLI_TEXT, FIELD(prompt), "TEXT", "the text, or with --decode the ids", 0, 0,
     NULL},
    {'f', "file", CLI_TEXT, FIELD(file), "FILE", "read it from a file; - is standard input", 1, 0,
     NULL},
    {0, "second", CLI_TEXT, FIELD(second), "TEXT",
     "the other text of a pair, with the special tokens that the\nmodel puts around both", 0, 0, NULL},
    {0, "ids", CLI_FLAG, FIELD(print_ids), NULL, "print the ids alone: 1,2,3", 0, 0, NULL},
    {0, "count", CLI_FLAG, FIELD(count), NULL, "print only how many there are", 0, 0, NULL},
    {0, "json", CLI_FLAG, FIELD(json), NULL, "print a JSON object with ids and their texts", 0, 0,
     NULL},
    {0, "add-special", CLI_FLAG, FIELD(add_special), NULL,
     "add BOS and EOS where the model wants them", 0, 0, NULL},
    {0, "parse-special", CLI_FLAG, FIELD(parse_special), NULL,
     "recognise special tokens such as <|im_end|> in the text", 0, 0, NULL},
    {0, "decode", CLI_FLAG, FIELD(decode), NULL, "the other way: ids to text", 0, 0, NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {{"Options", options}, {NULL, NULL}};

static void print_ids(const struct cli_tokens *tokens)
{
    for (size_t i = 0; i < tokens->n; i++)
        printf(i ? ",%d" : "%d", (int)tokens->ids[i]);
    putchar('\n');
}

/* n_first: tokens of type 0; of a pair the others are of type 1. */
static int print_json(const slm_model *model, const struct cli_tokens *tokens, bool pair, size_t n_first)
{
    struct cli_json json = {0};
    cli_json_open(&json, NULL, '{');
    cli_json_int(&json, "count", (int64_t)tokens->n);
    cli_json_open(&json, "ids", '[');
    for (size_t i = 0; i < tokens->n; i++)
        cli_json_int(&json, NULL, tokens->ids[i]);
    cli_json_close(&json, ']');
    for (int bytes = 0; bytes < 2; bytes++) {
        cli_json_open(&json, bytes ? "bytes" : "texts", '[');
        for (size_t i = 0; i < tokens->n; i++) {
            size_t n = 0;
            const char *text = slm_token_text(model, tokens->ids[i], &n);
            (bytes ? cli_json_bytes : cli_json_text)(&json, NULL, text ? text : "", n);
        }
        cli_json_close(&json, ']');
    }
    if (pair)
        cli_json_open(&json, "types", '[');
    for (size_t i = 0; pair && i < tokens->n; i++)
        cli_json_int(&json, NULL, i >= n_first);
    if (pair)
        cli_json_close(&json, ']');
    cli_json_close(&json, '}');
    return cli_json_print(&json);
}

/* One token a line: its id and its text, quoted so that blanks can be seen, and what is no UTF-8 as
 * "\\xE4". */
static void print_table(const slm_model *model, const struct cli_tokens *tokens)
{
    for (size_t i = 0; i < tokens->n; i++) {
        size_t n = 0;
        const char *text = slm_token_text(model, tokens->ids[i], &n);
        printf("%7d  ", (int)tokens->ids[i]);
        cli_print_quoted(text ? text : "", n);
        putchar('\n');
    }
}

static int tokenize_pair(const slm_model *model, const struct slm_buf *text, const char *second,
                         unsigned flags, struct cli_tokens *out, size_t *n_first)
{
    const char *first = (const char *)text->data;
    size_t length = strlen(second);
    int64_t n = slm_tokenize_pair(model, first, text->length, second, length, flags, NULL, 0, n_first);
    if (n < 0)
        return cli_fail_library((int)n);
    out->n = (size_t)n;
    out->ids = malloc((out->n + 1) * sizeof *out->ids);
    if (!out->ids)
        return cli_fail("out of memory");
    n = slm_tokenize_pair(model, first, text->length, second, length, flags, out->ids, out->n, n_first);
    return n < 0 ? cli_fail_library((int)n) : CLI_OK;
}

static int encode(const struct cli_engine *engine, const struct cli_settings *s,
                  const struct slm_buf *text)
{
    struct cli_tokens tokens = {0};
    unsigned flags = (s->add_special ? SLM_TEXT_ADD_SPECIAL : 0) |
                     (s->parse_special ? SLM_TEXT_PARSE_SPECIAL : 0);
    size_t n_first = 0;
    int code = s->second ? tokenize_pair(engine->model, text, s->second, flags, &tokens, &n_first)
                         : cli_tokenize_text(engine->model, (const char *)text->data, text->length,
                                             flags, &tokens);
    if (code == CLI_OK) {
        if (s->count)
            printf("%zu\n", tokens.n);
        else if (s->print_ids)
            print_ids(&tokens);
        else if (s->json)
            code = print_json(engine->model, &tokens, s->second, n_first);
        else
            print_table(engine->model, &tokens);
    }
    cli_tokens_free(&tokens);
    return code;
}

/* The text alone, nothing added: what was encoded comes back byte for byte. */
static int decode(const struct cli_engine *engine, const struct cli_settings *s,
                  const struct slm_buf *text)
{
    struct cli_tokens tokens = {0};
    int code = cli_parse_ids(s->prompt || s->arguments[1] ? "tokenize" : NULL, cli_prompt_source(s),
                             (const char *)text->data, text->length, &engine->info, &tokens);
    if (code != CLI_OK)
        return code;
    code = cli_write_text_of(engine->model, &tokens, stdout);
    if (code == CLI_OK && cli_is_terminal(stdout))
        putchar('\n');
    cli_tokens_free(&tokens);
    return code;
}

static int run(const struct cli_settings *s)
{
    if (s->print_ids + s->count + s->json + s->decode > 1)
        return cli_usage_error("tokenize", "give only one of --ids, --count, --json and --decode");
    if (s->decode && (s->add_special || s->parse_special || s->second))
        return cli_usage_error("tokenize",
                               "--add-special, --parse-special and --second are for text, not for "
                               "--decode");
    struct cli_engine engine = {0};
    struct slm_buf text = {0};
    int code = cli_read_prompt("tokenize", s, CLI_CORPUS_LIMIT, &text);
    if (code == CLI_OK)
        code = cli_engine_vocabulary(&engine, s);
    if (code == CLI_OK)
        code = s->decode ? decode(&engine, s, &text) : encode(&engine, s, &text);
    slm_buf_free(&text);
    cli_engine_close(&engine);
    return code;
}

const struct cli_command cli_tokenize = {
    .name = "tokenize",
    .usage = "MODEL [TEXT | -p TEXT | -f FILE] [--ids | --count | --json | --decode]",
    .summary = "turn text into token ids, or back",
    .details = "No weights are needed: MODEL may also be a GGUF file of a vocabulary, a directory with a\n"
               "tokenizer alone, or tokenizer.json, tokenizer.model, tekken.json, vocab.json (with\n"
               "merges.txt), vocab.txt or a file of tiktoken.",
    .examples = "  slm tokenize model.slm \"Hello, world\"\n"
                "  slm tokenize model.slm -f book.txt --count\n"
                "  slm tokenize model.slm --decode 1,403,407",
    .min_arguments = 1,
    .max_arguments = 2,
    .groups = groups,
    .run = run,
};
