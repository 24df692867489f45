/*
 * files.c - see files.h.
 */
#include "files.h"

#include "terminal.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------- files --- */

int cli_read_file(const char *path, size_t limit, struct slm_buf *out)
{
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    FILE *file = is_stdin ? stdin : fopen(path, "rb");
    if (!file)
        return cli_fail("%s can't be opened: %s", path, strerror(errno));
    char block[65536];
    size_t n;
    while (slm_buf_ok(out) == 0 && out->length <= limit &&
           (n = fread(block, 1, sizeof block, file)) > 0)
        slm_buf_append(out, block, n);
    int code = CLI_OK;
    if (ferror(file))
        code = cli_fail("%s can't be read: %s", name, strerror(errno));
    else if (slm_buf_ok(out) < 0)
        code = cli_fail("%s is too large for the memory", name);
    else if (out->length > limit)
        code = cli_fail("%s is larger than %s, the most that is read of it", name,
                        cli_bytes(limit).text);
    if (!is_stdin)
        fclose(file);
    return code;
}

const char *cli_prompt_source(const struct cli_settings *settings)
{
    if (settings->prompt)
        return "-p";
    if (settings->arguments[1])
        return "the text";
    if (settings->file && strcmp(settings->file, "-") != 0)
        return settings->file;
    return "standard input";
}

int cli_read_prompt(const char *command, const struct cli_settings *settings, size_t limit,
                    struct slm_buf *out)
{
    const char *text = settings->arguments[1];
    if (text && (settings->prompt || settings->file))
        return cli_usage_error(command, "the text '%.40s' can't be given together with %s", text,
                               settings->prompt ? "-p" : "-f");
    if (settings->prompt && settings->file)
        return cli_usage_error(command, "-p and -f can't both be given");
    if (settings->prompt || text) {
        slm_buf_text(out, text ? text : settings->prompt);
        return slm_buf_ok(out) < 0 ? cli_fail("out of memory") : CLI_OK;
    }
    if (settings->file)
        return cli_read_file(settings->file, limit, out);
    if (cli_is_terminal(stdin))
        return cli_usage_error(
            command,
            "there is no text: put it in quotes behind the model, give -p TEXT or -f FILE, or "
            "pipe it in");
    return cli_read_file("-", limit, out);
}

/* ------------------------------------------------------------------------------ tokens --- */

void cli_tokens_free(struct cli_tokens *tokens)
{
    free(tokens->ids);
    *tokens = (struct cli_tokens){0};
}

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '[' || c == ']';
}

/* Say what is wrong with the id that stands at text[start..start + length). */
static int bad_id(const char *command, const char *source, const char *text, size_t start,
                  size_t length, const slm_info *info)
{
    char id[32], wrong[160];
    size_t n = length < sizeof id ? length : sizeof id - 1;
    for (size_t i = 0; i < n; i++) /* it may be anything: nothing that a terminal obeys */
        id[i] = text[start + i] >= ' ' && text[start + i] <= '~' ? text[start + i] : '?';
    id[n] = '\0';
    int64_t value;
    if (cli_parse_int(id, &value))
        snprintf(wrong, sizeof wrong,
                 "%s at byte %zu is no token id of this model: they are 0 to %d", id, start,
                 (int)info->n_vocab - 1);
    else
        snprintf(wrong, sizeof wrong,
                 "'%s' at byte %zu is no token id; ids are whole numbers, "
                 "separated by commas or blanks",
                 id, start);
    return command ? cli_usage_error(command, "%s: %s", source, wrong)
                   : cli_fail("%s: %s", source, wrong);
}

int cli_parse_ids(const char *command, const char *source, const char *text, size_t n,
                  const slm_info *info, struct cli_tokens *out)
{
    /* Every id takes two bytes at least, with what separates it. */
    out->ids = malloc((n / 2 + 1) * sizeof *out->ids);
    out->n = 0;
    if (!out->ids)
        return cli_fail("out of memory");
    for (size_t i = 0; i < n;) {
        if (is_separator(text[i])) {
            i++;
            continue;
        }
        char word[16] = "";
        size_t length = 0, start = i;
        while (i < n && !is_separator(text[i])) {
            if (length + 1 < sizeof word)
                word[length] = text[i];
            length++;
            i++;
        }
        int64_t id;
        if (length >= sizeof word || !cli_parse_int(word, &id) || id < 0 || id >= info->n_vocab) {
            cli_tokens_free(out);
            return bad_id(command, source, text, start, length, info);
        }
        out->ids[out->n++] = (slm_token)id;
    }
    return CLI_OK;
}

int cli_tokenize_text(const slm_model *model, const char *text, size_t n, unsigned flags,
                      struct cli_tokens *out)
{
    *out = (struct cli_tokens){0};
    /* There are rarely more ids than bytes; if there are, the second call has the room. */
    size_t capacity = n + 8;
    for (;;) {
        slm_token *ids = realloc(out->ids, capacity * sizeof *ids);
        if (!ids) {
            cli_tokens_free(out);
            return cli_fail("out of memory");
        }
        out->ids = ids;
        int64_t count = slm_tokenize(model, text, n, flags, ids, capacity);
        if (count < 0) {
            cli_tokens_free(out);
            return cli_fail_library((int)count);
        }
        out->n = (size_t)count;
        if (out->n <= capacity)
            return CLI_OK;
        capacity = out->n;
    }
}

int cli_write_text_of(const slm_model *model, const struct cli_tokens *tokens, FILE *stream)
{
    int64_t n = slm_detokenize(model, tokens->ids, tokens->n, SLM_TEXT_SHOW_SPECIAL, NULL, 0);
    if (n < 0)
        return cli_fail_library((int)n);
    char *text = malloc((size_t)n + 1);
    if (!text)
        return cli_fail("out of memory");
    n = slm_detokenize(model, tokens->ids, tokens->n, SLM_TEXT_SHOW_SPECIAL, text, (size_t)n);
    if (n > 0)
        fwrite(text, 1, (size_t)n, stream);
    free(text);
    return n < 0 ? cli_fail_library((int)n) : CLI_OK;
}

/* -------------------------------------------------------------------------------- JSON --- */

static void begin_value(struct cli_json *json, const char *key)
{
    if (json->comma)
        slm_buf_text(&json->text, ", ");
    json->comma = true;
    if (key) {
        slm_json_write_string(&json->text, key, strlen(key));
        slm_buf_text(&json->text, ": ");
    }
}

void cli_json_open(struct cli_json *json, const char *key, char bracket)
{
    begin_value(json, key);
    slm_buf_byte(&json->text, (uint8_t)bracket);
    json->comma = false;
}

void cli_json_close(struct cli_json *json, char bracket)
{
    slm_buf_byte(&json->text, (uint8_t)bracket);
    json->comma = true;
}

void cli_json_text(struct cli_json *json, const char *key, const char *text, size_t n)
{
    begin_value(json, key);
    slm_json_write_string(&json->text, text, n);
}

static bool is_utf8(const char *text, size_t n)
{
    uint32_t c;
    for (size_t at = 0, length; at < n; at += length)
        if ((length = slm_utf8_decode(text + at, n - at, &c)) == 0)
            return false;
    return true;
}

void cli_json_bytes(struct cli_json *json, const char *key, const char *text, size_t n)
{
    if (is_utf8(text, n)) {
        cli_json_name(json, key, NULL);
        return;
    }
    cli_json_open(json, key, '[');
    for (size_t i = 0; i < n; i++)
        cli_json_int(json, NULL, (unsigned char)text[i]);
    cli_json_close(json, ']');
}

void cli_json_name(struct cli_json *json, const char *key, const char *text)
{
    if (text) {
        cli_json_text(json, key, text, strlen(text));
        return;
    }
    begin_value(json, key);
    slm_buf_text(&json->text, "null");
}

void cli_json_number(struct cli_json *json, const char *key, double value)
{
    begin_value(json, key);
    slm_json_write_number(&json->text, value);
}

void cli_json_int(struct cli_json *json, const char *key, int64_t value)
{
    begin_value(json, key);
    slm_buf_format(&json->text, "%lld", (long long)value);
}

void cli_json_bool(struct cli_json *json, const char *key, bool value)
{
    begin_value(json, key);
    slm_buf_text(&json->text, value ? "true" : "false");
}

int cli_json_print(struct cli_json *json)
{
    int code = CLI_OK;
    if (slm_buf_ok(&json->text) < 0)
        code = cli_fail("out of memory");
    else if (json->text.length > 0)
        fwrite(json->text.data, 1, json->text.length, stdout);
    putchar('\n');
    slm_buf_free(&json->text);
    return code;
}
