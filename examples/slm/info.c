/*
 * info.c - slm info: what a model is.
 */
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(struct cli_settings, name)

static const struct cli_option options[] = {
    {0, "tensors", CLI_FLAG, FIELD(tensors), NULL, "list the tensors too", 0, 0, NULL},
    {0, "short", CLI_FLAG, FIELD(short_form), NULL, "one line: layers, parameters, quantization", 0, 0,
     NULL},
    {0, "json", CLI_FLAG, FIELD(json), NULL, "print a JSON object", 0, 0, NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {{"Options", options}, {NULL, NULL}};

/* Every number of slm_info under the name that people and programs see. */
static const struct {
    const char *name;
    const char *label;
    size_t offset;
} numbers[] = {
    {"n_layers", "layers", offsetof(slm_info, n_layers)},
    {"dim", "width", offsetof(slm_info, dim)},
    {"n_heads", "heads", offsetof(slm_info, n_heads)},
    {"n_kv_heads", "key-value heads", offsetof(slm_info, n_kv_heads)},
    {"head_dim", "head size", offsetof(slm_info, head_dim)},
    {"ffn_dim", "feed-forward size", offsetof(slm_info, ffn_dim)},
    {"n_vocab", "vocabulary", offsetof(slm_info, n_vocab)},
    {"max_context", "context", offsetof(slm_info, max_context)},
    {"bos", "BOS token", offsetof(slm_info, bos)},
    {"eos", "EOS token", offsetof(slm_info, eos)},
};
enum { N_NUMBERS = sizeof numbers / sizeof *numbers };

static int32_t number(const slm_info *info, size_t i)
{
    int32_t value;
    memcpy(&value, (const char *)info + numbers[i].offset, sizeof value);
    return value;
}

/* Weights by type: how many tensors, how many bytes. */
struct type_sum {
    const char *type;
    size_t n;
    uint64_t bytes;
};
enum { MOST_TYPES = 32 };

static size_t sum_types(const slm_model *model, struct type_sum *sums)
{
    size_t n = 0;
    slm_tensor_info tensor = {.size = sizeof tensor};
    for (size_t i = 0; slm_model_tensor(model, i, &tensor) == 0; i++) {
        size_t k = 0;
        while (k < n && strcmp(sums[k].type, tensor.type) != 0)
            k++;
        if (k == MOST_TYPES)
            continue;
        if (k == n)
            sums[n++] = (struct type_sum){tensor.type, 0, 0};
        sums[k].n++;
        sums[k].bytes += tensor.length;
    }
    return n;
}

/* { layers 12, params 90M, quant int8 }: the type that most bytes have, in the words of the field. */
static void print_short(const struct cli_engine *engine)
{
    static const char *const words[][2] = {
        {"q8", "int8"}, {"q4", "int4"}, {"q4a", "int4"}, {"f16", "fp16"}, {"f32", "fp32"}};
    struct type_sum sums[MOST_TYPES];
    size_t n = sum_types(engine->model, sums), most = 0;
    for (size_t i = 1; i < n; i++)
        most = sums[i].bytes > sums[most].bytes ? i : most;
    const char *quant = n ? sums[most].type : "none";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(quant, words[i][0]) == 0)
            quant = words[i][1];
    if (n == 0) {
        printf("{ vocabulary %d, no weights }\n", (int)engine->info.n_vocab);
        return;
    }
    double params = (double)engine->info.n_params;
    const char *unit = params >= 999.5e6 ? "B" : params >= 999.5e3 ? "M" : "K";
    params /= unit[0] == 'B' ? 1e9 : unit[0] == 'M' ? 1e6 : 1e3;
    printf("{ layers %d, params %.*f%s, quant %s }\n", (int)engine->info.n_layers,
           params < 9.95 ? 1 : 0, params, unit, quant);
}

void cli_traits(struct cli_table *table, const slm_model *model)
{
    slm_trait trait = {.size = sizeof trait};
    for (size_t i = 0; slm_model_trait(model, i, &trait) == 0; i++) {
        cli_cell(table, "%s", trait.name);
        cli_cell(table, "%s", trait.value);
    }
}

static void print_text(const struct cli_engine *engine, const struct cli_settings *s)
{
    const slm_model *model = engine->model;
    const slm_info *info = &engine->info;
    struct cli_table table = {.n_columns = 2, .align = "ll"};
    for (size_t i = 0; slm_model_metadata_key(model, i); i++) {
        const char *key = slm_model_metadata_key(model, i);
        const char *value = slm_model_metadata(model, key);
        cli_cell(&table, "%s", key);
        /* One line, and not a whole licence text. */
        cli_cell(&table, "%.*s", (int)(strcspn(value, "\n") < 100 ? strcspn(value, "\n") : 100),
                 value);
    }
    if (info->n_layers > 0) {
        cli_cell(&table, "parameters");
        cli_cell(&table, "%s", cli_count(info->n_params).text);
    }
    cli_cell(&table, engine->converted ? "converted into" : "file");
    cli_cell(&table, engine->converted ? "%s, %s" : "%s", cli_bytes(info->file_size).text,
             engine->converted);
    for (size_t i = 0; i < N_NUMBERS; i++) {
        int32_t value = number(info, i);
        bool is_token = numbers[i].offset >= offsetof(slm_info, bos);
        if (value == (is_token ? SLM_TOKEN_NONE : 0)) /* there is none, or nobody knows */
            continue;
        cli_cell(&table, "%s", numbers[i].label);
        cli_cell(&table, "%d", (int)value);
    }
    cli_traits(&table, model);
    cli_cell(&table, "tokenizer");
    cli_cell(&table, "%s", info->has_tokenizer ? "yes" : "no");
    cli_cell(&table, "chat template");
    cli_cell(&table, "%s", info->has_template ? "yes" : "no");
    struct type_sum sums[MOST_TYPES];
    size_t n = sum_types(model, sums);
    if (n == 0) {
        cli_cell(&table, "weights");
        cli_cell(&table, "none: this is a vocabulary, for 'slm tokenize' and 'slm template'");
    }
    for (size_t i = 0; i < n; i++) {
        cli_cell(&table, "%s", i == 0 ? "weights" : "");
        cli_cell(&table, "%s: %zu tensor%s, %s", sums[i].type, sums[i].n, cli_s(sums[i].n),
                 cli_bytes(sums[i].bytes).text);
    }
    cli_table_print(&table, CLI_TABLE_PLAIN, false);
    if (!s->tensors || n == 0)
        return;

    putchar('\n');
    struct cli_table list = {.n_columns = 6, .align = "rllrrr"};
    static const char *const head[] = {"layer", "role", "type", "rows", "columns", "bytes"};
    for (size_t i = 0; i < 6; i++)
        cli_cell(&list, "%s", head[i]);
    slm_tensor_info tensor = {.size = sizeof tensor};
    for (size_t i = 0; slm_model_tensor(model, i, &tensor) == 0; i++) {
        if (tensor.layer < 0)
            cli_cell(&list, "-");
        else
            cli_cell(&list, "%d", (int)tensor.layer);
        if (tensor.rope > 0)
            cli_cell(&list, "%s %d", tensor.role, (int)tensor.rope);
        else
            cli_cell(&list, "%s", tensor.role);
        cli_cell(&list, "%s", tensor.type);
        cli_cell(&list, "%d", (int)tensor.rows);
        cli_cell(&list, "%d", (int)tensor.cols);
        cli_cell(&list, "%llu", (unsigned long long)tensor.length);
    }
    cli_table_print(&list, CLI_TABLE_PLAIN, true);
}

static void json_tensors(const slm_model *model, struct cli_json *json)
{
    cli_json_open(json, "tensors", '[');
    slm_tensor_info tensor = {.size = sizeof tensor};
    for (size_t i = 0; slm_model_tensor(model, i, &tensor) == 0; i++) {
        cli_json_open(json, NULL, '{');
        cli_json_name(json, "role", tensor.role);
        cli_json_int(json, "layer", tensor.layer);
        cli_json_int(json, "rope", tensor.rope);
        cli_json_name(json, "type", tensor.type);
        cli_json_int(json, "rows", tensor.rows);
        cli_json_int(json, "cols", tensor.cols);
        cli_json_int(json, "offset", (int64_t)tensor.offset);
        cli_json_int(json, "bytes", (int64_t)tensor.length);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

static int print_json(const struct cli_engine *engine, const struct cli_settings *s)
{
    const slm_model *model = engine->model;
    const slm_info *info = &engine->info;
    struct cli_json json = {0};
    cli_json_open(&json, NULL, '{');
    cli_json_name(&json, "model", s->arguments[0]);
    cli_json_name(&json, "converted", engine->converted);
    cli_json_int(&json, "file_size", (int64_t)info->file_size);
    cli_json_int(&json, "n_params", (int64_t)info->n_params);
    for (size_t i = 0; i < N_NUMBERS; i++)
        cli_json_int(&json, numbers[i].name, number(info, i));
    cli_json_bool(&json, "has_tokenizer", info->has_tokenizer);
    cli_json_bool(&json, "has_template", info->has_template);
    cli_json_open(&json, "metadata", '{');
    for (size_t i = 0; slm_model_metadata_key(model, i); i++) {
        const char *key = slm_model_metadata_key(model, i);
        cli_json_name(&json, key, slm_model_metadata(model, key));
    }
    cli_json_close(&json, '}');
    cli_json_open(&json, "traits", '{');
    slm_trait trait = {.size = sizeof trait};
    for (size_t i = 0; slm_model_trait(model, i, &trait) == 0; i++)
        cli_json_name(&json, trait.name, trait.value);
    cli_json_close(&json, '}');
    cli_json_open(&json, "types", '[');
    struct type_sum sums[MOST_TYPES];
    size_t n = sum_types(model, sums);
    for (size_t i = 0; i < n; i++) {
        cli_json_open(&json, NULL, '{');
        cli_json_name(&json, "type", sums[i].type);
        cli_json_int(&json, "tensors", (int64_t)sums[i].n);
        cli_json_int(&json, "bytes", (int64_t)sums[i].bytes);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    if (s->tensors)
        json_tensors(model, &json);
    cli_json_close(&json, '}');
    return cli_json_print(&json);
}

static int run(const struct cli_settings *s)
{
    if (s->short_form && (s->json || s->tensors))
        return cli_usage_error("info", "--short is all that it prints: leave out %s",
                               s->json ? "--json" : "--tensors");
    struct cli_engine engine = {0};
    int code = cli_engine_model(&engine, s);
    if (code == CLI_OK && s->short_form)
        print_short(&engine);
    else if (code == CLI_OK && s->json)
        code = print_json(&engine, s);
    else if (code == CLI_OK)
        print_text(&engine, s);
    cli_engine_close(&engine);
    return code;
}

const struct cli_command cli_info = {
    .name = "info",
    .usage = "MODEL [--short] [--json] [--tensors]",
    .summary = "show what a model is",
    .min_arguments = 1,
    .max_arguments = 1,
    .groups = groups,
    .run = run,
};
