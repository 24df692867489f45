/*
 * bench.c - slm bench: tokens a second, for prompts and for answers.
 *
 * Each test is warmed up once and repeated; the median counts, because the fastest run is luck and
 * the slowest somebody else's. Tokens are random, sampling is left out. Only evaluation is timed.
 */
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(struct cli_settings, name)

static const struct cli_option options[] = {
    {'p', "prompt", CLI_INT, FIELD(n_prompt), "N",
     "tokens of the prompt test (default: 512; 0: none)", 0, 1e6, NULL},
    {'n', "tokens", CLI_INT, FIELD(n_generate), "N",
     "tokens of the answer test (default: 128; 0: none)", 0, 1e6, NULL},
    {'d', "depth", CLI_INT, FIELD(depth), "N", "tokens that are there already (default: 0)", 0, 1e7,
     NULL},
    {'b', "batch", CLI_INT, FIELD(batch), "N", "sequences at once (default: 1)", 1, 1024, NULL},
    {'r', "repetitions", CLI_INT, FIELD(repetitions), "N",
     "measured runs; the median counts (default: 5)", 1, 1000, NULL},
    {0, "md", CLI_FLAG, FIELD(markdown), NULL, "print a Markdown table (default)", 0, 0, NULL},
    {0, "csv", CLI_FLAG, FIELD(csv), NULL, "print CSV", 0, 0, NULL},
    {0, "json", CLI_FLAG, FIELD(json), NULL, "print a JSON array", 0, 0, NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {
    {"Options", options}, {"Engine", cli_engine_options}, {NULL, NULL}};

struct bench {
    struct cli_engine engine;
    size_t batch, depth;
    slm_seq **seqs;    /* [batch] */
    slm_span *spans;   /* [batch] */
    slm_token *tokens; /* [batch][length] random */
    size_t length;     /* the longest a sequence gets */
};

struct result {
    int32_t n_prompt, n_generate;
    double median, mean, least, most; /* tokens a second, all sequences together */
};

/* Evaluate tokens from..to of every sequence, `step` at a time. */
static int evaluate(struct bench *b, size_t from, size_t to, size_t step, size_t n_logits)
{
    for (size_t at = from; at < to; at += step) {
        size_t n = to - at < step ? to - at : step;
        for (size_t i = 0; i < b->batch; i++)
            b->spans[i] = (slm_span){.size = sizeof(slm_span),
                                     .seq = b->seqs[i],
                                     .tokens = b->tokens + i * b->length + at,
                                     .n = n,
                                     .n_logits = n_logits};
        int rc = slm_eval(b->engine.ctx, b->spans, b->batch);
        if (rc < 0)
            return cli_fail_library(rc);
    }
    return CLI_OK;
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One test: n tokens beyond the depth, as a prompt (in one call) or one by one. */
static int measure(struct bench *b, const struct cli_settings *s, bool prompt,
                   struct result *result)
{
    size_t n = (size_t)(prompt ? s->n_prompt : s->n_generate);
    size_t runs = (size_t)s->repetitions;
    double *speeds = calloc(runs, sizeof *speeds);
    if (!speeds)
        return cli_fail("out of memory");
    *result = (struct result){prompt ? s->n_prompt : 0, prompt ? 0 : s->n_generate, 0, 0, 0, 0};
    int code = CLI_OK;
    struct cli_progress progress = {.label = prompt ? "prompt" : "answer"};
    for (size_t run = 0; run <= runs && code == CLI_OK; run++) { /* the first warms up */
        if (run == 0)
            cli_progress_text(&progress, "warming up");
        else
            cli_progress_text(&progress, "run %zu of %zu", run, runs);
        for (size_t i = 0; i < b->batch; i++)
            slm_seq_truncate(b->seqs[i], (int32_t)b->depth);
        double start = cli_clock();
        code = evaluate(b, b->depth, b->depth + n, prompt ? n : 1, 1);
        if (run > 0) {
            speeds[run - 1] = (double)(n * b->batch) / (cli_clock() - start);
            result->mean += speeds[run - 1] / (double)runs;
        }
    }
    cli_progress_end(&progress);
    qsort(speeds, runs, sizeof *speeds, compare_numbers);
    result->least = speeds[0];
    result->most = speeds[runs - 1];
    result->median = (speeds[runs / 2] + speeds[(runs - 1) / 2]) / 2;
    free(speeds);
    return code;
}

/* "pp512", "tg128 @ d4096" */
static struct cli_text test_name(const struct result *r, size_t depth)
{
    struct cli_text name;
    int n = snprintf(name.text, sizeof name.text, r->n_prompt ? "pp%d" : "tg%d",
                     (int)(r->n_prompt ? r->n_prompt : r->n_generate));
    if (depth > 0)
        snprintf(name.text + n, sizeof name.text - (size_t)n, " @ d%zu", depth);
    return name;
}

static void print_json(const struct bench *b, const struct cli_settings *s,
                       const struct result *results, size_t n)
{
    slm_stats stats = {.size = sizeof stats};
    slm_ctx_stats(b->engine.ctx, &stats);
    struct cli_json json = {0};
    cli_json_open(&json, NULL, '[');
    for (size_t i = 0; i < n; i++) {
        const struct result *r = &results[i];
        cli_json_open(&json, NULL, '{');
        cli_json_name(&json, "test", test_name(r, b->depth).text);
        cli_json_int(&json, "n_prompt", r->n_prompt);
        cli_json_int(&json, "n_gen", r->n_generate);
        cli_json_int(&json, "depth", s->depth);
        cli_json_int(&json, "batch", s->batch);
        cli_json_int(&json, "threads", stats.n_threads);
        cli_json_number(&json, "tokens_per_second", r->median);
        cli_json_number(&json, "mean", r->mean);
        cli_json_number(&json, "min", r->least);
        cli_json_number(&json, "max", r->most);
        cli_json_int(&json, "repetitions", s->repetitions);
        cli_json_name(&json, "cpu", slm_cpu_tier_name(stats.cpu));
        cli_json_name(&json, "kv", cli_kv_name(s->kv));
        cli_json_name(&json, "model", s->arguments[0]);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    cli_json_print(&json);
}

static void print_table(const struct bench *b, const struct cli_settings *s,
                        const struct result *results, size_t n)
{
    slm_stats stats = {.size = sizeof stats};
    slm_ctx_stats(b->engine.ctx, &stats);
    static const char *const head[] = {"test", "batch",    "threads", "cpu",
                                       "kv",   "tokens/s", "min",     "max"};
    struct cli_table table = {.n_columns = 8, .align = "lrrllrrr"};
    for (size_t i = 0; i < 8; i++)
        cli_cell(&table, "%s", head[i]);
    for (size_t i = 0; i < n; i++) {
        cli_cell(&table, "%s", test_name(&results[i], b->depth).text);
        cli_cell(&table, "%d", (int)s->batch);
        cli_cell(&table, "%d", (int)stats.n_threads);
        cli_cell(&table, "%s", slm_cpu_tier_name(stats.cpu));
        cli_cell(&table, "%s", cli_kv_name(s->kv));
        cli_cell(&table, "%.1f", results[i].median);
        cli_cell(&table, "%.1f", results[i].least);
        cli_cell(&table, "%.1f", results[i].most);
    }
    cli_table_print(&table, s->csv ? CLI_TABLE_CSV : CLI_TABLE_MARKDOWN, true);
}

/* Sequences, spans and random tokens. */
static int prepare(struct bench *b)
{
    b->seqs = calloc(b->batch, sizeof(slm_seq *));
    b->spans = calloc(b->batch, sizeof *b->spans);
    b->tokens = calloc(b->batch * b->length, sizeof *b->tokens);
    if (!b->seqs || !b->spans || !b->tokens)
        return cli_fail("out of memory");
    uint32_t state = 1; /* a linear congruential generator: the same tokens each time */
    for (size_t i = 0; i < b->batch * b->length; i++) {
        state = state * 1664525u + 1013904223u;
        b->tokens[i] = (slm_token)((state >> 8) % (uint32_t)b->engine.info.n_vocab);
    }
    for (size_t i = 0; i < b->batch; i++) {
        int rc = slm_seq_new(&b->seqs[i], b->engine.ctx);
        if (rc < 0)
            return cli_fail_library(rc);
    }
    return b->depth > 0 ? evaluate(b, 0, b->depth, b->depth, 0) : CLI_OK;
}

static int run(const struct cli_settings *s)
{
    struct bench b = {.batch = (size_t)s->batch, .depth = (size_t)s->depth};
    int32_t longest = s->n_prompt > s->n_generate ? s->n_prompt : s->n_generate;
    b.length = b.depth + (size_t)longest;
    if (longest == 0)
        return cli_usage_error("bench", "with -p 0 and -n 0 there is nothing to measure");
    if (s->markdown + s->csv + s->json > 1)
        return cli_usage_error("bench", "give only one of --md, --csv and --json");
    if (b.length * b.batch > 1 << 24)
        return cli_usage_error("bench", "%zu tokens are more than a context can hold",
                               b.length * b.batch);

    int code = cli_engine_decoder(&b.engine, s);
    if (code == CLI_OK)
        cli_note_untrained(&b.engine, "a sequence", b.length);
    /* A sequence takes whole pages, so leave room for one more each. */
    const struct cli_wants wants = {
        .max_tokens = (int32_t)((b.length + 256) * b.batch),
        .max_seqs = s->batch,
    };
    if (code == CLI_OK)
        code = cli_engine_context(&b.engine, s, &wants);
    if (code == CLI_OK)
        code = prepare(&b);
    struct result results[2];
    size_t n = 0;
    for (int prompt = 1; prompt >= 0 && code == CLI_OK; prompt--)
        if (prompt ? s->n_prompt > 0 : s->n_generate > 0)
            code = measure(&b, s, prompt, &results[n++]);
    if (code == CLI_OK) {
        if (s->json)
            print_json(&b, s, results, n);
        else
            print_table(&b, s, results, n);
    }
    for (size_t i = 0; b.seqs && i < b.batch; i++)
        slm_seq_free(b.seqs[i]);
    free(b.seqs);
    free(b.spans);
    free(b.tokens);
    cli_engine_close(&b.engine);
    return code;
}

static void defaults(struct cli_settings *s)
{
    s->n_prompt = 512;
    s->n_generate = 128;
    s->batch = 1;
    s->repetitions = 5;
}

const struct cli_command cli_bench = {
    .name = "bench",
    .usage = "MODEL [-p 512] [-n 128] [-d 0] [-b 1] [-r 5]",
    .summary = "measure tokens a second",
    .details =
        "pp is a prompt of -p tokens at once, tg an answer of -n tokens one by one, each after -d\n"
        "tokens of context and for -b sequences together, whose tokens are all counted.",
    .examples = "  slm bench model.slm -t 2\n"
                "  slm bench model.slm -p 0 -n 64 -d 4096 -b 8 --json",
    .min_arguments = 1,
    .max_arguments = 1,
    .groups = groups,
    .defaults = defaults,
    .run = run,
};
