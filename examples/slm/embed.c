/*
 * embed.c - slm embed: a vector for each line of text, or how well each answers a question.
 */
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(struct cli_settings, name)

enum { TOGETHER = 64 }; /* lines that go to the library in one call */

static const struct cli_choice poolings[] = {
    {"mean", SLM_POOL_MEAN},
    {"first", SLM_POOL_FIRST},
    {"last", SLM_POOL_LAST},
    {"none", SLM_POOL_NONE},
    {NULL, 0},
};

static const struct cli_option options[] = {
    {'p', "prompt", CLI_TEXT, FIELD(prompt), "TEXT", "the text; each of its lines is one", 1, 0,
     NULL},
    {'f', "file", CLI_TEXT, FIELD(file), "FILE", "read it from a file; - is standard input", 0, 0,
     NULL},
    {'q', "query", CLI_TEXT, FIELD(query), "TEXT",
     "print how well each line fits this one: what a reranker\nsays, or the cosine of the two "
     "vectors",
     1, 0, NULL},
    {0, "scores", CLI_FLAG, FIELD(scores), NULL,
     "print what a classifier's score head says of each line", 0, 0, NULL},
    {0, "ids", CLI_FLAG, FIELD(print_ids), NULL,
     "lines are token ids, special ones included: 101 7592 102", 0, 0, NULL},
    {0, "pooling", CLI_CHOICE, FIELD(pooling), "mean|first|last|none",
     "make one vector of a text so (default: as the model\nwas trained); none: print one for each "
     "token",
     0, 0, poolings},
    {'c', "context", CLI_INT, FIELD(context), "N",
     "tokens of the longest line (default: the model's, at most\n4096)", 1, 16777216, NULL},
    {0, "truncate", CLI_FLAG, FIELD(truncate), NULL,
     "leave out the end of lines that are too long; of a pair,\nof the longer text first", 0, 0,
     NULL},
    {0, "json", CLI_FLAG, FIELD(json), NULL, "print one JSON object", 0, 0, NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {
    {"Options", options}, {"Engine", cli_engine_options}, {NULL, NULL}};

struct job {
    const struct cli_settings *s;
    struct cli_engine engine;
    int32_t context; /* tokens that it holds */
    struct slm_buf text;
    size_t at;          /* bytes of it that are done */
    size_t done;        /* lines that are */
    size_t width;       /* numbers that are printed of a line, or of each of its tokens */
    float *out;         /* [capacity][width] */
    size_t capacity;
    size_t rows[TOGETHER]; /* vectors of each line */
    float *query;       /* [dim] of -q, where the two vectors are compared */
    struct cli_json json;

    /* The lines of one call. */
    slm_input inputs[TOGETHER];
    struct cli_tokens ids[TOGETHER];
    size_t n;
};

static bool uses_head(const struct job *job)
{
    return job->s->scores || (job->s->query && job->engine.info.n_scores > 0);
}

/* The next lines; none at the end of the text. */
static int next_lines(struct job *job)
{
    for (job->n = 0; job->n < TOGETHER && job->at < job->text.length; job->n++) {
        const char *line = (const char *)job->text.data + job->at;
        const char *end = memchr(line, '\n', job->text.length - job->at);
        size_t n = end ? (size_t)(end - line) : job->text.length - job->at;
        job->at += n + 1;
        n -= n > 0 && line[n - 1] == '\r';
        slm_input *input = &job->inputs[job->n];
        *input = (slm_input){.size = sizeof *input, .text = line, .n = n};
        if (job->s->query && job->engine.info.n_scores > 0) {
            input->text = job->s->query;
            input->n = strlen(job->s->query);
            input->second = line;
            input->n_second = n;
        }
        if (!job->s->print_ids)
            continue;
        struct cli_tokens *ids = &job->ids[job->n];
        int code = cli_parse_ids(NULL, cli_prompt_source(job->s), line, n, &job->engine.info, ids);
        if (code != CLI_OK)
            return code;
        *input = (slm_input){.size = sizeof *input, .tokens = ids->ids, .n_tokens = ids->n};
    }
    return CLI_OK;
}

static void print_row(struct job *job, const float *row, size_t n)
{
    if (job->s->json && n > 1)
        cli_json_open(&job->json, NULL, '[');
    for (size_t i = 0; i < n; i++)
        if (job->s->json)
            cli_json_number(&job->json, NULL, (double)row[i]);
        else
            printf("%s%.9g", i ? " " : "", (double)row[i]);
    if (job->s->json && n > 1)
        cli_json_close(&job->json, ']');
    else if (!job->s->json)
        putchar('\n');
}

static float cosine(const float *a, const float *b, size_t n)
{
    double dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? (float)(dot / sqrt(aa * bb)) : 0;
}

/* What the library makes of the lines, or (out NULL) how many rows that is. */
static int64_t ask(struct job *job, const slm_embed_options *o, float *out, size_t cap)
{
    return uses_head(job) ? slm_score(job->engine.ctx, job->inputs, job->n, o, out, cap)
                          : slm_embed(job->engine.ctx, job->inputs, job->n, o, out, cap);
}

/* Several vectors of a line are a list of their own, or end with an empty line. */
static void print_line(struct job *job, const float *rows, size_t n)
{
    size_t dim = (size_t)job->engine.info.dim;
    bool tokens = job->s->pooling == SLM_POOL_NONE && !job->query && !uses_head(job);
    float angle = job->query ? cosine(job->query, rows, dim) : 0;
    if (tokens && job->s->json)
        cli_json_open(&job->json, NULL, '[');
    for (size_t r = 0; r < n; r++)
        print_row(job, job->query ? &angle : rows + r * job->width, job->query ? 1 : job->width);
    if (tokens && job->s->json)
        cli_json_close(&job->json, ']');
    else if (tokens)
        putchar('\n');
}

/* What is wrong with one of the inputs, or with the query. The library counts the inputs of a call
 * from 0, and tells C callers what to set; people count lines of their file from 1. */
static int fail_input(const struct job *job, int rc, bool is_query)
{
    const char *text = slm_last_error(), *hint = strstr(text, ": set slm_");
    char line[32] = "";
    size_t i;
    int begin = 0;
    if (sscanf(text, "input %zu: %n", &i, &begin) != 1 || begin == 0)
        return cli_fail_library(rc);
    if (!is_query)
        snprintf(line, sizeof line, ", line %zu", job->done + i + 1);
    text += begin;
    int32_t trained = job->engine.info.max_context;
    const char *help = rc != SLM_ELIMIT || job->s->truncate ? ""
                       : trained == 0 || job->context < trained
                           ? "; a larger -c takes all of it, --truncate its beginning"
                           : "; --truncate takes its beginning";
    return cli_fail("%s%s: %.*s%s", is_query ? "--query" : cli_prompt_source(job->s), line,
                    (int)(hint ? (size_t)(hint - text) : strlen(text)), text, help);
}

static int do_lines(struct job *job, slm_embed_options *o)
{
    for (int code = CLI_OK;;) {
        if ((code = next_lines(job)) != CLI_OK || job->n == 0)
            return code;
        for (size_t i = 0; i < job->n; i++)
            job->rows[i] = 1; /* of scores nobody tells */
        o->n_rows = job->rows;
        int64_t rows = ask(job, o, NULL, 0);
        if (rows > (int64_t)job->capacity) {
            float *more = realloc(job->out, (size_t)rows * job->width * sizeof *more);
            if (!more)
                return cli_fail("out of memory");
            job->out = more;
            job->capacity = (size_t)rows;
        }
        if (rows >= 0)
            rows = ask(job, o, job->out, job->capacity);
        if (rows < 0)
            return fail_input(job, (int)rows, false);
        const float *at = job->out;
        for (size_t i = 0; i < job->n; at += job->rows[i++] * job->width)
            print_line(job, at, job->rows[i]);
        for (size_t i = 0; i < job->n; i++)
            cli_tokens_free(&job->ids[i]);
        job->done += job->n;
    }
}

static int compute(struct job *job)
{
    const struct cli_settings *s = job->s;
    const slm_info *info = &job->engine.info;
    if (s->scores && info->n_scores == 0)
        return cli_fail("%s: the model has no score head", s->arguments[0]);
    if (!uses_head(job) && info->pooling == SLM_POOL_MODEL && s->pooling == SLM_POOL_MODEL)
        return cli_fail("this model does not say how it makes one vector of a text: give --pooling last, "
                        "which fits decoders, or mean");
    slm_embed_options o = {.size = sizeof o, .pooling = s->pooling, .truncate = s->truncate};
    size_t dim = (size_t)info->dim, n_scores = (size_t)info->n_scores;
    job->width = uses_head(job) ? n_scores : dim;
    int code = CLI_OK;
    if (s->query && !uses_head(job)) {
        slm_input query = {.size = sizeof query, .text = s->query, .n = strlen(s->query)};
        job->query = malloc(dim * sizeof *job->query);
        if (!job->query)
            return cli_fail("out of memory");
        int64_t rc = slm_embed(job->engine.ctx, &query, 1, &o, job->query, 1);
        if (rc < 0)
            code = fail_input(job, (int)rc, true);
    }
    if (s->json) {
        cli_json_open(&job->json, NULL, '{');
        cli_json_int(&job->json, "width", job->query ? 1 : (int64_t)job->width);
        cli_json_open(&job->json, s->query || s->scores ? "scores" : "embeddings", '[');
    }
    cli_catch_interrupt(job->engine.ctx);
    if (code == CLI_OK)
        code = do_lines(job, &o);
    if (s->json && code == CLI_OK) {
        cli_json_close(&job->json, ']');
        cli_json_close(&job->json, '}');
        code = cli_json_print(&job->json);
    }
    slm_buf_free(&job->json.text);
    free(job->query);
    free(job->out);
    return code;
}

static int run(const struct cli_settings *s)
{
    if (s->query && s->scores)
        return cli_usage_error("embed", "--scores is for single texts: --query uses the head of a model "
                                        "that has one");
    if (s->query && s->pooling == SLM_POOL_NONE)
        return cli_usage_error(
            "embed", "--query compares one vector of a text, and --pooling none makes many");
    if (s->query && s->print_ids)
        return cli_usage_error("embed", "--query takes text, and --ids token ids");
    if (s->arguments[1] && !*s->arguments[1])
        return cli_usage_error("embed", "the text is empty");
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return cli_fail("out of memory");
    job->s = s;
    int code = cli_read_prompt("embed", s, CLI_CORPUS_LIMIT, &job->text);
    if (code == CLI_OK)
        code = cli_engine_model(&job->engine, s);
    if (code == CLI_OK) {
        job->context = cli_engine_context_length(&job->engine, s);
        const struct cli_wants wants = {.max_tokens = job->context, .max_seqs = TOGETHER / 2};
        code = cli_engine_context(&job->engine, s, &wants);
    }
    if (code == CLI_OK)
        code = compute(job);
    for (size_t i = 0; i < TOGETHER; i++)
        cli_tokens_free(&job->ids[i]);
    cli_engine_close(&job->engine);
    slm_buf_free(&job->text);
    free(job);
    return code;
}

const struct cli_command cli_embed = {
    .name = "embed",
    .usage = "MODEL [TEXT | -p TEXT | -f FILE] [-q TEXT | --scores] [--json]",
    .summary = "turn lines of text into vectors, or compare them with a question",
    .examples = "  slm embed minilm.slm \"A sentence\"\n"
                "  slm embed minilm.slm -f sentences.txt --json\n"
                "  slm embed reranker.slm -q \"Who wrote it?\" -f passages.txt",
    .min_arguments = 1,
    .max_arguments = 2,
    .groups = groups,
    .run = run,
};
