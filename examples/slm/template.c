/*
 * template.c - slm template: a conversation as the prompt that a model gets to see.
 *
 * The command's files become one JSON object of variables, in which the last of equal names counts:
 * first what a file of messages brings along, then the options.
 */
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(struct cli_settings, name)

static const struct cli_option options[] = {
    {'f', "file", CLI_TEXT, FIELD(file), "FILE",
     "the messages: a JSON array, or an object with \"messages\" and\n"
     "other variables of the template; - is standard input",
     1, 0, NULL},
    {0, "template", CLI_TEXT, FIELD(template_file), "FILE",
     "render this template instead of the model's", 1, 0, NULL},
    {0, "tools", CLI_TEXT, FIELD(tools), "FILE", "tool definitions: a JSON array", 1, 0, NULL},
    {0, "documents", CLI_TEXT, FIELD(documents), "FILE", "documents: a JSON array", 1, 0, NULL},
    {0, "set", CLI_LIST, FIELD(variables), "NAME=VALUE",
     "a variable of the template: JSON, as in enable_thinking=false\n"
     "(False does as well), or else a text. Repeatable",
     0, 0, NULL},
    {0, "bos", CLI_TEXT, FIELD(bos), "TEXT", "the template's bos_token", 0, 0, NULL},
    {0, "eos", CLI_TEXT, FIELD(eos), "TEXT", "its eos_token", 0, 0, NULL},
    {0, "no-generation-prompt", CLI_FLAG, FIELD(no_generation_prompt), NULL,
     "end with the last message, not with the start of an answer", 0, 0, NULL},
    {0, "ids", CLI_FLAG, FIELD(print_ids), NULL,
     "print the prompt's token ids: what the model itself gets", 0, 0, NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {{"Options", options}, {NULL, NULL}};

/* ---------------------------------------------------------------------- variables --- */

static const char *name_of(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* A whole file, which ends with NUL and has no other. */
static int read_text(const char *path, struct slm_buf *text)
{
    int code = cli_read_file(path, CLI_TEXT_LIMIT, text);
    if (code != CLI_OK)
        return code;
    const char *nul = text->length ? memchr(text->data, 0, text->length) : NULL;
    if (nul)
        return cli_fail("%s is no text: byte %zu is NUL", name_of(path),
                        (size_t)(nul - (const char *)text->data));
    slm_buf_byte(text, 0);
    return slm_buf_ok(text) < 0 ? cli_fail("out of memory") : CLI_OK;
}

/* Without the byte order mark that editors on Windows write. */
static const char *start_of(const struct slm_buf *text)
{
    const char *data = (const char *)text->data;
    return strncmp(data, "\xEF\xBB\xBF", 3) == 0 ? data + 3 : data;
}

static void put_key(struct slm_buf *json, const char *key, size_t n)
{
    slm_buf_text(json, json->length > 1 ? "," : "");
    slm_json_write_string(json, key, n);
    slm_buf_byte(json, ':');
}

/* What a document is, in the words of JSON. */
static const char *kind_of(const struct slm_json *doc)
{
    switch (slm_json_type(doc, 0)) {
    case JSON_ARRAY: return "an array";
    case JSON_OBJECT: return "an object";
    case JSON_STRING: return "a string";
    case JSON_NUMBER: return "a number";
    case JSON_NULL: return "null";
    default: return "true or false";
    }
}

/* The file's array under a name. */
static int put_array(struct slm_buf *json, const char *name, const char *path)
{
    struct slm_buf text = {0};
    struct slm_json *doc = NULL;
    int code = path ? read_text(path, &text) : CLI_OK;
    if (path && code == CLI_OK) {
        const char *array = start_of(&text);
        if (slm_json_parse(&doc, array, strlen(array), NULL) < 0)
            code = cli_fail("%s: %s", path, slm_last_error());
        else if (slm_json_type(doc, 0) != JSON_ARRAY)
            code = cli_fail("%s: %s must be a JSON array, this is %s", path, name, kind_of(doc));
        put_key(json, name, strlen(name));
        slm_buf_text(json, array);
    }
    slm_json_free(doc);
    slm_buf_free(&text);
    return code;
}

/* Messages alone, or with other variables beside them. */
static int put_messages(struct slm_buf *json, const char *path)
{
    struct slm_buf text = {0};
    struct slm_json *doc = NULL;
    const char *name = name_of(path);
    int code = read_text(path, &text);
    const char *start = code == CLI_OK ? start_of(&text) : "";
    if (code == CLI_OK && slm_json_parse(&doc, start, strlen(start), NULL) < 0)
        code = cli_fail("%s: %s", name, slm_last_error());
    if (code == CLI_OK && slm_json_type(doc, 0) == JSON_ARRAY) {
        put_key(json, "messages", 8);
        slm_buf_text(json, start);
    } else if (code == CLI_OK &&
               slm_json_type(doc, slm_json_get(doc, 0, "messages")) == JSON_ARRAY) {
        const char *open = strchr(start, '{') + 1, *close = strrchr(start, '}');
        slm_buf_append(json, open, (size_t)(close - open));
    } else if (code == CLI_OK) {
        bool is_object = slm_json_type(doc, 0) == JSON_OBJECT;
        code = cli_fail(
            "%s: messages must be a JSON array, or \"messages\" of an object; this is %s%s", name,
            kind_of(doc), is_object ? " without them" : "");
    }
    slm_json_free(doc);
    slm_buf_free(&text);
    return code;
}

/* A value as JSON: most templates are documented in Python, which has other names for three of
 * them. NULL: it is a text. */
static const char *as_json(const char *value)
{
    static const char *const names[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(value, names[i][0]) == 0)
            return names[i][1];
    struct slm_json *doc = NULL;
    int rc = slm_json_parse(&doc, value, strlen(value), NULL);
    slm_json_free(doc);
    return rc == 0 ? value : NULL;
}

/* NAME=VALUE of --set. */
static int put_variable(struct slm_buf *json, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return cli_usage_error("template", "--set: '%s' is not NAME=VALUE", text);
    const char *value = equals + 1, *whole = as_json(value);
    if (!whole && strchr("{[\"", *value) && *value) /* nobody means a text that begins so */
        return cli_usage_error("template", "--set %s: %s", text, slm_last_error());
    put_key(json, text, (size_t)(equals - text));
    if (whole)
        slm_buf_text(json, whole);
    else
        slm_json_write_string(json, value, strlen(value));
    return CLI_OK;
}

static int put_variables(struct slm_buf *json, const struct cli_settings *s)
{
    slm_buf_byte(json, '{');
    int code = put_messages(json, s->file ? s->file : "-");
    if (code == CLI_OK)
        code = put_array(json, "tools", s->tools);
    if (code == CLI_OK)
        code = put_array(json, "documents", s->documents);
    const char *const tokens[2][2] = {{"bos_token", s->bos}, {"eos_token", s->eos}};
    for (int i = 0; i < 2; i++)
        if (tokens[i][1]) {
            put_key(json, tokens[i][0], strlen(tokens[i][0]));
            slm_json_write_string(json, tokens[i][1], strlen(tokens[i][1]));
        }
    if (s->no_generation_prompt)
        slm_buf_text(json, ",\"add_generation_prompt\":false");
    for (size_t i = 0; i < s->variables.n && code == CLI_OK; i++)
        code = put_variable(json, s->variables.items[i]);
    slm_buf_byte(json, '}');
    slm_buf_byte(json, 0);
    return code == CLI_OK && slm_buf_ok(json) < 0 ? cli_fail("out of memory") : code;
}

/* ------------------------------------------------------------------------- output --- */

/* What went wrong is in the template, or in the messages that it got. */
static int fail(const struct cli_settings *s, int64_t code)
{
    if (s->template_file && strncmp(slm_last_error(), "messages[", 9) != 0)
        return cli_fail("%s: %s", s->template_file, slm_last_error());
    return cli_fail_library((int)code);
}

/* The prompt, appended to *text: its length, or an error. */
static int64_t format(const slm_model *model, const slm_chat_options *how, struct slm_buf *text)
{
    int64_t n = slm_chat_format(model, NULL, 0, how, NULL, 0);
    char *room = n > 0 ? slm_buf_grow(text, (size_t)n) : NULL;
    if (n > 0 && !room)
        return slm_set_last_error(SLM_ENOMEM, "out of memory");
    if (room && slm_chat_format(model, NULL, 0, how, room, (size_t)n) != n)
        return slm_set_last_error(SLM_ESTATE, "the chat template gave two different prompts");
    return n; /* strftime_now, between two seconds, is how it can give two */
}

static int print_prompt(const struct cli_settings *s, const slm_model *model,
                        const slm_chat_options *how)
{
    struct slm_buf text = {0};
    int64_t n = format(model, how, &text);
    int code = n < 0 ? fail(s, n) : CLI_OK;
    if (n > 0)
        fwrite(text.data, 1, text.length, stdout);
    if (code == CLI_OK && cli_is_terminal(stdout))
        putchar('\n');
    slm_buf_free(&text);
    return code;
}

/* Many templates know nothing of tools or documents, and leave them out without a word. Whether
 * this one does shows in the prompt without them. */
static void note_unused(const slm_model *model, const slm_chat_options *how, const char *name)
{
    const char *json = how->variables_json;
    struct slm_json *doc = NULL;
    struct slm_buf without = {0}, texts[2] = {{0}, {0}};
    if (slm_json_parse(&doc, json, strlen(json), NULL) == 0 &&
        slm_json_count(doc, slm_json_get(doc, 0, name)) > 0) {
        slm_buf_append(&without, json, strlen(json) - 1); /* but for its bracket */
        slm_buf_format(&without, ",\"%s\":null}", name);
        slm_buf_byte(&without, 0);
        slm_chat_options other = *how;
        other.variables_json = (const char *)without.data;
        int64_t n = slm_buf_ok(&without) == 0 ? format(model, &other, &texts[0]) : -1;
        if (n >= 0 && format(model, how, &texts[1]) == n &&
            (n == 0 || memcmp(texts[0].data, texts[1].data, (size_t)n) == 0))
            cli_note("note: the template makes no use of %s: without them the prompt is the same", name);
    }
    slm_json_free(doc);
    slm_buf_free(&without);
    slm_buf_free(&texts[0]);
    slm_buf_free(&texts[1]);
}

static int print_ids(const struct cli_settings *s, const slm_model *model,
                     const slm_chat_options *how)
{
    int64_t n = slm_chat_tokenize(model, NULL, 0, how, NULL, 0);
    slm_token *ids = n > 0 ? malloc((size_t)n * sizeof *ids) : NULL;
    int code = n < 0 ? fail(s, n) : n > 0 && !ids ? cli_fail("out of memory") : CLI_OK;
    if (ids && slm_chat_tokenize(model, NULL, 0, how, ids, (size_t)n) != n)
        code = cli_fail("the chat template gave two different prompts");
    for (int64_t i = 0; i < n && code == CLI_OK; i++)
        printf(i ? ",%d" : "%d", (int)ids[i]);
    if (code == CLI_OK)
        putchar('\n');
    free(ids);
    return code;
}

static int run(const struct cli_settings *s)
{
    bool has_model = s->n_arguments > 0;
    if (!has_model && !s->template_file)
        return cli_usage_error("template", "whose template? Give MODEL or --template FILE");
    if (!has_model && s->print_ids)
        return cli_usage_error("template", "--ids needs MODEL, whose tokens they are");
    if (!s->file && cli_is_terminal(stdin))
        return cli_usage_error("template", "there are no messages: give -f FILE, or pipe them in");
    struct cli_engine engine = {0};
    struct slm_buf json = {0}, source = {0};
    int code = put_variables(&json, s);
    if (code == CLI_OK && s->template_file)
        code = read_text(s->template_file, &source);
    if (code == CLI_OK && has_model)
        code = cli_engine_vocabulary(&engine, s);
    const slm_chat_options how = {
        .size = sizeof how,
        .variables_json = (const char *)json.data,
        .template_source = (const char *)source.data,
    };
    if (code == CLI_OK)
        code = s->print_ids ? print_ids(s, engine.model, &how) : print_prompt(s, engine.model, &how);
    if (code == CLI_OK) {
        note_unused(engine.model, &how, "tools");
        note_unused(engine.model, &how, "documents");
    }
    slm_buf_free(&json);
    slm_buf_free(&source);
    cli_engine_close(&engine);
    return code;
}

const struct cli_command cli_template = {
    .name = "template",
    .usage = "(MODEL | --template FILE) [-f messages.json] [options]",
    .summary = "show the prompt that a conversation becomes",
    .details =
        "The prompt is printed exactly, and nothing else. MODEL may be whatever 'slm tokenize'\n"
        "takes. With MODEL and --template, special tokens are the model's.",
    .examples = "  slm template model.slm -f messages.json\n"
                "  slm template model.gguf -f messages.json --tools tools.json --ids\n"
                "  slm template --template chat.jinja --bos \"<s>\" --eos \"</s>\" -f messages.json\n"
                "  echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | slm template model.slm",
    .min_arguments = 0,
    .max_arguments = 1,
    .groups = groups,
    .run = run,
};
