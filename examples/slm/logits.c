/*
 * logits.c - slm logits: the raw numbers, for comparisons and for teachers in distillation.
 */
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIELD(name) offsetof(struct cli_settings, name)

enum { MOST_TOKENS = 1 << 24 }; /* what -c of the other commands allows, too */

static const struct cli_option options[] = {
    {0, "ids", CLI_TEXT, FIELD(ids), "1,2,3", "the tokens to evaluate", 0, 0, NULL},
    {'f', "file", CLI_TEXT, FIELD(file), "FILE",
     "or the text to evaluate, with BOS if the model wants it", 1, 0, NULL},
    {'p', "prompt", CLI_TEXT, FIELD(prompt), "TEXT", "the same, from the command line", 0, 0, NULL},
    {'o', "output", CLI_TEXT, FIELD(output), "OUT.f32", "where to; - is standard output", 1, 0,
     NULL},
    {0, "all", CLI_FLAG, FIELD(all), NULL, "a row for every position, not only the last", 0, 0,
     NULL},
    {0, "chunk", CLI_INT, FIELD(chunk), "N",
     "evaluate in pieces of N tokens (the result is the same)", 1, 1e9, NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {
    {"Options", options}, {"Engine", cli_engine_options}, {NULL, NULL}};

static int read_tokens(const struct cli_engine *engine, const struct cli_settings *s,
                       struct cli_tokens *tokens)
{
    if (s->ids)
        return cli_parse_ids("logits", "--ids", s->ids, strlen(s->ids), &engine->info, tokens);
    struct slm_buf text = {0};
    int code = cli_read_prompt("logits", s, CLI_TEXT_LIMIT, &text);
    if (code == CLI_OK)
        code = cli_tokenize_text(engine->model, (const char *)text.data, text.length,
                                 SLM_TEXT_ADD_SPECIAL, tokens);
    slm_buf_free(&text);
    return code;
}

/* Write one row in little-endian order, whatever this machine's is. */
static bool write_row(FILE *out, const float *row, size_t n)
{
    const union {
        uint16_t word;
        uint8_t low;
    } order = {1};
    if (order.low)
        return fwrite(row, sizeof *row, n, out) == n;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &row[i], sizeof bits);
        const uint8_t bytes[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                                  (uint8_t)(bits >> 24)};
        if (fwrite(bytes, 1, 4, out) != 4)
            return false;
    }
    return true;
}

static int evaluate(const struct cli_engine *engine, const struct cli_settings *s,
                    const struct cli_tokens *tokens, size_t chunk, FILE *out)
{
    slm_seq *seq;
    int rc = slm_seq_new(&seq, engine->ctx);
    if (rc < 0)
        return cli_fail_library(rc);
    int code = CLI_OK;
    struct cli_progress progress = {.label = "evaluating"};
    for (size_t at = 0; at < tokens->n && code == CLI_OK; at += chunk) {
        size_t n = tokens->n - at < chunk ? tokens->n - at : chunk;
        bool last = at + n == tokens->n;
        size_t rows = s->all ? n : last;
        const slm_span span = {
            .size = sizeof span, .seq = seq, .tokens = tokens->ids + at, .n = n, .n_logits = rows};
        rc = slm_eval(engine->ctx, &span, 1);
        if (rc < 0)
            code = cli_fail_library(rc);
        for (size_t i = 0; i < rows && code == CLI_OK; i++)
            if (!write_row(out, slm_logits(engine->ctx, 0, i), (size_t)engine->info.n_vocab))
                code = cli_fail("%s can't be written: %s", s->output, strerror(errno));
        if (!last)
            cli_progress_text(&progress, "%zu of %zu tokens", at + n, tokens->n);
    }
    cli_progress_end(&progress);
    slm_seq_free(seq);
    return code;
}

/* Tokens to evaluate at once: as the user says, else 512, and less where the rows of --all would
 * take more than 128 MB. */
static size_t chunk_length(const struct cli_engine *engine, const struct cli_settings *s, size_t n)
{
    size_t chunk = s->chunk > 0 ? (size_t)s->chunk : 512;
    size_t fits = ((size_t)128 << 20) / ((size_t)engine->info.n_vocab * sizeof(float));
    if (s->chunk == 0 && s->all && chunk > fits)
        chunk = fits ? fits : 1;
    return chunk < n ? chunk : n;
}

static int write_logits(struct cli_engine *engine, const struct cli_settings *s,
                        const struct cli_tokens *tokens)
{
    size_t chunk = chunk_length(engine, s, tokens->n);
    const struct cli_wants wants = {
        .max_tokens = (int32_t)tokens->n,
        .max_batch = (int32_t)(chunk < 512 ? chunk : 512),
        .max_logits = s->all ? (int32_t)chunk : 1,
    };
    int code = cli_engine_context(engine, s, &wants);
    if (code != CLI_OK)
        return code;
    bool to_stdout = strcmp(s->output, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(s->output, "wb");
    if (!out)
        return cli_fail("%s can't be written: %s", s->output, strerror(errno));
    cli_catch_signals(engine->ctx); /* so that none of them leaves a half file either */
    code = evaluate(engine, s, tokens, chunk, out);
    cli_release_interrupt();
    if (!to_stdout && fclose(out) != 0 && code == CLI_OK)
        code = cli_fail("%s can't be written: %s", s->output, strerror(errno));
    struct stat st;
    if (code != CLI_OK && !to_stdout && stat(s->output, &st) == 0 && S_ISREG(st.st_mode))
        remove(s->output); /* no half file; but /dev/null stays */
    return code;
}

static int run(const struct cli_settings *s)
{
    if (!s->output)
        return cli_usage_error("logits", "where to? give -o OUT.f32");
    if (!!s->ids + !!s->file + !!s->prompt + !!s->arguments[1] != 1)
        return cli_usage_error("logits", "give one of --ids, -f, -p and a text behind the model");
    struct cli_engine engine = {0};
    struct cli_tokens tokens = {0};
    int code = cli_engine_decoder(&engine, s);
    if (code == CLI_OK)
        code = read_tokens(&engine, s, &tokens);
    if (code == CLI_OK && tokens.n == 0)
        code = cli_usage_error("logits", "%s is empty: there are no tokens to evaluate",
                               s->ids ? "--ids" : cli_prompt_source(s));
    if (code == CLI_OK && tokens.n > MOST_TOKENS)
        code = cli_fail("%s has %zu tokens, and a context can hold %d",
                        s->ids ? "--ids" : cli_prompt_source(s), tokens.n, MOST_TOKENS);
    if (code == CLI_OK)
        cli_note_untrained(&engine, "a text", tokens.n);
    if (code == CLI_OK)
        code = write_logits(&engine, s, &tokens);
    cli_tokens_free(&tokens);
    cli_engine_close(&engine);
    return code;
}

const struct cli_command cli_logits = {
    .name = "logits",
    .usage = "MODEL (TEXT | -p TEXT | -f FILE | --ids 1,2,3) [--all] -o OUT.f32",
    .summary = "write the logits of a text",
    .details =
        "Raw little-endian 32-bit floats, one row of n_vocab a position; row i is what the model\n"
        "expects after token i. The bits do not depend on --cpu, -t or --chunk.",
    .examples = "  slm logits model.slm --ids 1,403,407 -o last.f32\n"
                "  slm logits model.slm -f text.txt --all -o teacher.f32",
    .min_arguments = 1,
    .max_arguments = 2,
    .groups = groups,
    .run = run,
};
