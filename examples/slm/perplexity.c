/*
 * perplexity.c - slm perplexity, by llama.cpp's convention, so that numbers can be compared.
 *
 * The file's tokens are cut into chunks of --ctx tokens, each evaluated by itself. The logits at
 * positions ctx / 2 to ctx - 2 predict the tokens ctx / 2 + 1 to ctx - 1: the first half only gives
 * context. A model that begins texts with BOS has it in place of each chunk's first token.
 */
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(struct cli_settings, name)

static const struct cli_option options[] = {
    {'f', "file", CLI_TEXT, FIELD(file), "FILE", "the text; - is standard input", 1, 0, NULL},
    {'c', "ctx", CLI_INT, FIELD(window), "N", "tokens of a chunk (default: 512)", 4, 16777216,
     NULL},
    {0, "chunks", CLI_INT, FIELD(n_chunks), "N", "stop after N chunks (default: all)", 1, 1e9,
     NULL},
    {0, "json", CLI_FLAG, FIELD(json), NULL, "print a JSON object", 0, 0, NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {
    {"Options", options}, {"Engine", cli_engine_options}, {NULL, NULL}};

/* Negative log likelihoods so far. */
struct sums {
    double sum, squares;
    size_t n;
};

/* -log softmax(logits)[token], in double. */
static double negative_log_likelihood(const float *logits, size_t n, slm_token token)
{
    double max = (double)logits[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        max = (double)logits[i] > max ? (double)logits[i] : max;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - max);
    return log(sum) - ((double)logits[token] - max);
}

static double perplexity_of(const struct sums *s)
{
    return exp(s->sum / (double)s->n);
}

/* Of the perplexity: the error of the mean, carried through exp. */
static double standard_error(const struct sums *s)
{
    double mean = s->sum / (double)s->n;
    double variance = s->squares / (double)s->n - mean * mean;
    if (variance <= 0 || s->n < 2)
        return 0;
    return sqrt(variance / (double)(s->n - 1)) * perplexity_of(s);
}

/* Evaluate one chunk and add what it says. The second half goes in pieces, so that not all of its
 * logits have to be held. */
static int add_chunk(const struct cli_engine *engine, const slm_token *ids, size_t window,
                     size_t piece, struct sums *sums)
{
    slm_seq *seq;
    int rc = slm_seq_new(&seq, engine->ctx);
    if (rc < 0)
        return cli_fail_library(rc);
    size_t n_vocab = (size_t)engine->info.n_vocab;
    size_t first = window / 2;
    slm_span span = {.size = sizeof span, .seq = seq, .tokens = ids, .n = first};
    rc = slm_eval(engine->ctx, &span, 1);
    for (size_t at = first; rc == 0 && at < window - 1; at += span.n) {
        span.tokens = ids + at;
        span.n = window - 1 - at < piece ? window - 1 - at : piece;
        span.n_logits = span.n;
        rc = slm_eval(engine->ctx, &span, 1);
        for (size_t i = 0; rc == 0 && i < span.n; i++) {
            const float *row = slm_logits(engine->ctx, 0, i);
            double nll = negative_log_likelihood(row, n_vocab, ids[at + i + 1]);
            sums->sum += nll;
            sums->squares += nll * nll;
            sums->n++;
        }
    }
    slm_seq_free(seq);
    return rc < 0 ? cli_fail_library(rc) : CLI_OK;
}

static void print_result(const struct cli_settings *s, const struct sums *sums, size_t n_chunks,
                         double seconds)
{
    if (!s->json) {
        printf("perplexity %.4f +/- %.4f  (%zu chunk%s of %d tokens, %zu prediction%s, %.1f s)\n",
               perplexity_of(sums), standard_error(sums), n_chunks, cli_s(n_chunks), (int)s->window,
               sums->n, cli_s(sums->n), seconds);
        return;
    }
    struct cli_json json = {0};
    cli_json_open(&json, NULL, '{');
    cli_json_number(&json, "perplexity", perplexity_of(sums));
    cli_json_number(&json, "standard_error", standard_error(sums));
    cli_json_number(&json, "nll", sums->sum / (double)sums->n);
    cli_json_int(&json, "chunks", (int64_t)n_chunks);
    cli_json_int(&json, "ctx", s->window);
    cli_json_int(&json, "predictions", (int64_t)sums->n);
    cli_json_number(&json, "seconds", seconds);
    cli_json_close(&json, '}');
    cli_json_print(&json);
}

static int measure(struct cli_engine *engine, const struct cli_settings *s,
                   struct cli_tokens *tokens, bool bos)
{
    size_t window = (size_t)s->window, n_chunks = tokens->n / window;
    if (n_chunks == 0)
        return cli_fail("the text is %zu token%s long, less than one chunk of %zu: take a longer "
                        "one, or a smaller --ctx",
                        tokens->n, cli_s(tokens->n), window);
    cli_note_untrained(engine, "a chunk", window);
    if (s->n_chunks > 0 && (size_t)s->n_chunks < n_chunks)
        n_chunks = (size_t)s->n_chunks;
    /* Rows of logits for at most 64 MB at a time. */
    size_t piece = ((size_t)64 << 20) / ((size_t)engine->info.n_vocab * sizeof(float));
    piece = piece < 1 ? 1 : piece < window ? piece : window;
    const struct cli_wants wants = {
        .max_tokens = s->window,
        .max_batch = s->window < 512 ? s->window : 512,
        .max_logits = (int32_t)piece,
    };
    int code = cli_engine_context(engine, s, &wants);
    struct sums sums = {0};
    struct cli_progress progress = {.label = "perplexity"};
    double start = cli_clock();
    for (size_t i = 0; i < n_chunks && code == CLI_OK; i++) {
        slm_token *ids = tokens->ids + i * window;
        if (bos)
            ids[0] = engine->info.bos;
        code = add_chunk(engine, ids, window, piece, &sums);
        if (code == CLI_OK)
            cli_progress_text(&progress, "%.4f after chunk %zu of %zu", perplexity_of(&sums), i + 1,
                              n_chunks);
    }
    cli_progress_end(&progress);
    if (code == CLI_OK)
        print_result(s, &sums, n_chunks, cli_clock() - start);
    return code;
}

static int run(const struct cli_settings *s)
{
    struct cli_engine engine = {0};
    struct slm_buf text = {0};
    struct cli_tokens tokens = {0};
    if (!s->file)
        return cli_usage_error("perplexity", "of what? give -f FILE");
    int code = cli_engine_decoder(&engine, s);
    if (code == CLI_OK)
        code = cli_read_file(s->file, CLI_CORPUS_LIMIT, &text);
    if (code == CLI_OK) {
        /* With BOS in front where the model adds it, as llama.cpp has it: chunks begin there. */
        bool bos = cli_adds_bos(&engine);
        code = cli_tokenize_text(engine.model, (const char *)text.data, text.length,
                                 bos ? SLM_TEXT_ADD_SPECIAL : 0, &tokens);
        if (code == CLI_OK)
            code = measure(&engine, s, &tokens, bos);
    }
    cli_tokens_free(&tokens);
    slm_buf_free(&text);
    cli_engine_close(&engine);
    return code;
}

static void defaults(struct cli_settings *s)
{
    s->window = 512;
}

const struct cli_command cli_perplexity = {
    .name = "perplexity",
    .usage = "MODEL -f FILE [--ctx 512] [--chunks N]",
    .summary = "measure how well a model predicts a text",
    .details =
        "Lower is better. The convention is llama.cpp's: chunks of --ctx tokens, each by itself,\n"
        "of which the second half is predicted. Logarithms are taken in double precision.",
    .examples = "  slm perplexity model.slm -f wiki.test.raw --chunks 40",
    .min_arguments = 1,
    .max_arguments = 1,
    .groups = groups,
    .defaults = defaults,
    .run = run,
};
