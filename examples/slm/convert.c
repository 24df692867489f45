/*
 * convert.c - slm convert: other formats to .slm.
 */
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <slm/convert.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIELD(name) offsetof(struct cli_settings, name)

static const struct cli_option options[] = {
    {'o', "output", CLI_TEXT, FIELD(output), "OUT", "the new file (default: beside IN, with .slm)",
     1, 0, NULL},
    {0, "type", CLI_TEXT, FIELD(type), "T",
     "keep (default), q4, q4a, q8, f16, bf16 or f32: type of the\nmatrices", 0, 0, NULL},
    {0, "head-type", CLI_TEXT, FIELD(head_type), "T", "the same for embedding and head", 0, 0,
     NULL},
    {0, "tokenizer", CLI_TEXT, FIELD(tokenizer), "FILE",
     "a tokenizer's file (tokenizer.json, tokenizer.model, GGUF and\nwhat else "
     "docs/format-tokenizer.md "
     "lists), or a model's folder\n(default: what comes with the weights)",
     1, 0, NULL},
    {0, "vocabulary", CLI_FLAG, FIELD(vocabulary), NULL,
     "tokenizer and chat template alone, without weights: IN may\n"
     "then be a vocabulary, or a tokenizer's file",
     0, 0, NULL},
    {0, "tensors", CLI_FLAG, FIELD(tensors), NULL, "list what each tensor of the source became", 0,
     0, NULL},
    {0, "json", CLI_FLAG, FIELD(json), NULL, "print a JSON object", 0, 0, NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {{"Options", options}, {NULL, NULL}};

/* All tensors that went from one type to another. */
struct kind {
    char from[24], to[24];
    size_t n;
    uint64_t source_bytes, bytes;
    double worst; /* greatest error of one tensor */
};
enum { MOST_KINDS = 64 };

struct report {
    struct kind kinds[MOST_KINDS];
    size_t n;
    struct cli_table *tensors; /* NULL: nobody wants the list */
    struct cli_progress progress;
};

static void add_line(struct cli_table *table, const slm_convert_tensor *tensor)
{
    cli_cell(table, "%s", *tensor->source_name ? tensor->source_name : "-");
    cli_cell(table, "%s", tensor->source_type);
    if (tensor->layer < 0)
        cli_cell(table, "%s", tensor->role);
    else
        cli_cell(table, "%s of layer %d", tensor->role, (int)tensor->layer);
    cli_cell(table, "%s", tensor->type);
    cli_cell(table, "%d x %d", (int)tensor->rows, (int)tensor->cols);
    if (tensor->error > 0)
        cli_cell(table, "%.3f %%", tensor->error * 100);
    else
        cli_cell(table, "exact");
}

static void on_tensor(void *user, const slm_convert_tensor *tensor)
{
    struct report *r = user;
    size_t i = 0;
    if (r->tensors)
        add_line(r->tensors, tensor);
    while (i < r->n && (strcmp(r->kinds[i].from, tensor->source_type) != 0 ||
                        strcmp(r->kinds[i].to, tensor->type) != 0))
        i++;
    if (i == MOST_KINDS)
        return;
    struct kind *k = &r->kinds[i];
    if (i == r->n) {
        *k = (struct kind){.n = 0};
        snprintf(k->from, sizeof k->from, "%s", tensor->source_type);
        snprintf(k->to, sizeof k->to, "%s", tensor->type);
        r->n++;
    }
    k->n++;
    k->source_bytes += tensor->source_bytes;
    k->bytes += tensor->bytes;
    k->worst = tensor->error > k->worst ? tensor->error : k->worst;
}

static void on_log(void *user, int level, const char *text)
{
    cli_progress_end(&((struct report *)user)->progress);
    if (level >= SLM_LOG_WARNING)
        cli_note("note: %s", text);
}

/* IN without its extension, with .slm; the caller frees it. */
static char *default_output(const char *in)
{
    size_t n = strlen(in);
    while (n > 1 && in[n - 1] == '/')
        n--; /* a directory may be written with a slash */
    size_t stem = n;
    for (size_t i = n; i-- > 0 && in[i] != '/';)
        if (in[i] == '.' && i > 0 && in[i - 1] != '/' && stem == n)
            stem = i;
    struct stat st;
    if (stat(in, &st) == 0 && S_ISDIR(st.st_mode))
        stem = n; /* a folder's dots belong to its name */
    char *out = NULL;
    return asprintf(&out, "%.*s.slm", (int)stem, in) < 0 ? NULL : out;
}

/* What was understood: read from the new file, so that it is what it will say of itself. */
static void print_model(const char *out)
{
    slm_model *model;
    slm_info info = {.size = sizeof info};
    if (slm_model_open(&model, out, NULL) != 0 || slm_model_info(model, &info) != 0)
        return;
    struct cli_table table = {.n_columns = 2, .align = "ll"};
    const char *architecture = slm_model_metadata(model, "architecture");
    bool has_weights = info.n_layers > 0;
    if (has_weights) {
        cli_cell(&table, "architecture");
        cli_cell(&table, "%s", architecture ? architecture : "-");
        cli_cell(&table, "size");
        cli_cell(&table, "%d layers, width %d, %d heads (%d key-value) of %d, feed-forward %d",
                 info.n_layers, info.dim, info.n_heads, info.n_kv_heads, info.head_dim,
                 info.ffn_dim);
    }
    cli_cell(&table, "vocabulary");
    cli_cell(&table, "%d%s", info.n_vocab, info.has_tokenizer ? "" : ", no tokenizer");
    cli_cell(&table, has_weights ? "parameters" : "chat template");
    cli_cell(&table, "%s",
             has_weights         ? cli_count(info.n_params).text
             : info.has_template ? "yes"
                                 : "no");
    cli_traits(&table, model);
    cli_table_print(&table, CLI_TABLE_PLAIN, false);
    putchar('\n');
    slm_model_unref(model);
}

/* What the tensors' types became; a vocabulary has none. */
static void print_kinds(const struct report *r)
{
    if (r->tensors) {
        cli_table_print(r->tensors, CLI_TABLE_PLAIN, true);
        putchar('\n');
    }
    struct cli_table table = {.n_columns = 6, .align = "llrrrr"};
    static const char *const head[] = {"from", "to", "tensors", "size", "new size", "error"};
    for (size_t i = 0; i < 6; i++)
        cli_cell(&table, "%s", head[i]);
    for (size_t i = 0; i < r->n; i++) {
        const struct kind *k = &r->kinds[i];
        cli_cell(&table, "%s", k->from);
        cli_cell(&table, "%s", k->to);
        cli_cell(&table, "%zu", k->n);
        cli_cell(&table, "%s", k->source_bytes ? cli_bytes(k->source_bytes).text : "-");
        cli_cell(&table, "%s", cli_bytes(k->bytes).text);
        if (k->worst > 0)
            cli_cell(&table, "%.3f %%", k->worst * 100);
        else
            cli_cell(&table, "exact");
    }
    cli_table_print(&table, CLI_TABLE_PLAIN, true);
}

static void print_text(const struct report *r, const char *out, uint64_t length)
{
    print_model(out);
    if (r->n > 0)
        print_kinds(r);
    printf("%s: %s\n", out, cli_bytes(length).text);
}

static void print_json(const struct report *r, const char *out, uint64_t length, const char *kind)
{
    struct cli_json json = {0};
    cli_json_open(&json, NULL, '{');
    cli_json_name(&json, "output", out);
    cli_json_int(&json, "bytes", (int64_t)length);
    cli_json_name(&json, "source", kind);
    cli_json_open(&json, "types", '[');
    for (size_t i = 0; i < r->n; i++) {
        const struct kind *k = &r->kinds[i];
        cli_json_open(&json, NULL, '{');
        cli_json_name(&json, "from", k->from);
        cli_json_name(&json, "to", k->to);
        cli_json_int(&json, "tensors", (int64_t)k->n);
        cli_json_int(&json, "source_bytes", (int64_t)k->source_bytes);
        cli_json_int(&json, "bytes", (int64_t)k->bytes);
        cli_json_number(&json, "error", k->worst);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    cli_json_close(&json, '}');
    cli_json_print(&json);
}

static int run(const struct cli_settings *s)
{
    const char *in = s->arguments[0], *named = s->output ? s->output : s->arguments[1];
    if (s->output && s->arguments[1])
        return cli_usage_error("convert", "OUT stands there twice: '%s' and -o '%s'",
                               s->arguments[1], s->output);
    if (named && strcmp(named, "-") == 0)
        return cli_usage_error("convert", "a .slm file is not written in one go, so it needs a "
                                          "name and can't be standard output");
    int code = cli_check_model(in);
    if (code != CLI_OK)
        return code;
    int kind = s->vocabulary ? 0 : slm_convert_detect(in);
    if (kind < 0)
        return cli_fail("%s", slm_last_error());
    char *chosen = named ? NULL : default_output(in);
    const char *out = named ? named : chosen;
    if (!out)
        return cli_fail("out of memory");

    struct report report = {.progress = {.label = "converting"}};
    struct cli_table tensors = {.n_columns = 6, .align = "llllrr"};
    if (s->tensors && !s->json) {
        static const char *const head[] = {"source", "type", "became", "type", "shape", "error"};
        for (size_t i = 0; i < 6; i++)
            cli_cell(&tensors, "%s", head[i]);
        report.tensors = &tensors;
    }
    const slm_convert_options how = {
        .size = sizeof how,
        .type = s->type,
        .head_type = s->head_type,
        .tokenizer = s->tokenizer,
        .vocabulary = s->vocabulary,
        .progress = cli_progress_or_stop,
        .progress_user = &report.progress,
        .report = on_tensor,
        .report_user = &report,
        .log = on_log,
        .log_user = &report,
    };
    cli_catch_signals(NULL); /* the library ends it, and leaves no half file behind */
    int rc = slm_convert(in, out, &how);
    cli_release_interrupt();
    cli_progress_end(&report.progress);

    struct stat st = {0};
    if (rc == SLM_EINTR)
        code = CLI_INTERRUPTED;
    else if (rc == SLM_EINVAL) /* a type that does not exist */
        code = cli_usage_error("convert", "%s", slm_last_error());
    else if (rc < 0 || stat(out, &st) < 0)
        code = cli_fail("%s", slm_last_error());
    else if (s->json)
        print_json(&report, out, (uint64_t)st.st_size,
                   kind ? slm_convert_kind_name(kind) : "vocabulary");
    else
        print_text(&report, out, (uint64_t)st.st_size);
    free(chosen);
    return code;
}

const struct cli_command cli_convert = {
    .name = "convert",
    .usage = "IN [OUT] [--type T] [--head-type T] [--tokenizer FILE] [--vocabulary] [--tensors]",
    .summary = "bring a model into the .slm format",
    .details =
        "IN is a .gguf file, a Hugging Face directory (config.json, *.safetensors, tokenizer) or\n"
        "a llama2.c checkpoint. Without OUT, dir/model.gguf becomes dir/model.slm, and a folder\n"
        "dir/model the file dir/model.slm. OUT appears when it is complete. The error is the root\n"
        "mean square of what a tensor lost, in percent of its own; the largest of each row "
        "stands.\n"
        "'computed' is what the source does not store: RoPE's frequencies, ALiBi's slopes.",
    .examples = "  slm convert model.gguf\n"
                "  slm convert ~/models/SmolLM2-135M-Instruct --type q8 -o smol-q8.slm",
    .min_arguments = 1,
    .max_arguments = 2,
    .groups = groups,
    .run = run,
};
