/*
 * fuzz_messages.c - any conversation through the published chat templates.
 *
 * Byte 0 of the input chooses a template of tests/data/templates (SLM_TEST_DATA says where that
 * is); the rest is read as a program that writes the variables, so that every input is sound JSON
 * of a shape that templates half expect. Each text in it has a character of its own, U+E000:
 * wherever that comes out, the byte must be marked as data, or a user could write a special token.
 */
#include "base/utf8.h"
#include "template/template.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MARK "\xEE\x80\x80"
enum { MOST_TEMPLATES = 256, LARGEST = 1 << 20, DEEPEST = 6 };

static struct slm_template *templates[MOST_TEMPLATES];
static size_t n_templates;

static void check(int condition)
{
    if (!condition)
        abort();
}

static int is_template(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return n > 6 && strcmp(entry->d_name + n - 6, ".jinja") == 0;
}

/* All templates of the folder, by name, so that an input means the same everywhere. */
static void load_templates(void)
{
    static char source[LARGEST];
    const char *root = getenv("SLM_TEST_DATA");
    char folder[2048], path[4096];
    struct dirent **entries;
    snprintf(folder, sizeof folder, "%s/templates", root ? root : "tests/data");
    int n = scandir(folder, &entries, is_template, alphasort);
    check(n > 0 && n <= MOST_TEMPLATES);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        FILE *file = fopen(path, "rb");
        check(file != NULL);
        size_t length = fread(source, 1, sizeof source, file);
        fclose(file);
        if (slm_template_parse(&templates[n_templates], source, length, NULL) == SLM_OK)
            n_templates++;
        free(entries[i]);
    }
    free(entries);
    check(n_templates > 0);
}

/* What is left of the input; nothing but zeros behind its end. */
struct program {
    const uint8_t *at, *end;
};

static unsigned take(struct program *p)
{
    return p->at < p->end ? *p->at++ : 0;
}

static void put_text(struct program *p, struct slm_buf *out)
{
    static const char *const WORDS[] = {"a",        " ",       "\\n",  "<|im_end|>", "user", "text",
                                        "</think>", "<think>", "\\\"", "é",          "{",    "}",
                                        "'",        "%s",      "0",    "image"};
    slm_buf_text(out, "\"" MARK);
    for (unsigned n = take(p) & 7; n > 0; n--)
        slm_buf_text(out, WORDS[take(p) & 15]);
    slm_buf_text(out, "\"");
}

/* Half of all keys are those that templates ask for. */
static void put_key(struct program *p, struct slm_buf *out)
{
    static const char *const KEYS[] = {
        "\"role\"",        "\"content\"",     "\"tool_calls\"",
        "\"function\"",    "\"name\"",        "\"arguments\"",
        "\"type\"",        "\"text\"",        "\"parameters\"",
        "\"properties\"",  "\"description\"", "\"required\"",
        "\"id\"",          "\"thinking\"",    "\"reasoning_content\"",
        "\"tool_call_id\""};
    slm_buf_text(out, KEYS[take(p) & 15]);
}

static void put_value(struct program *p, struct slm_buf *out, int depth)
{
    static const char *const PLAIN[] = {
        "null",          "true",     "false",      "0",        "-1",
        "2.5",           "\"user\"", "\"system\"", "\"tool\"", "\"function\"",
        "\"assistant\"", "\"text\"", "\"\"",       "[]",       "{}",
        "1e300"};
    unsigned op = take(p);
    if (depth == DEEPEST || op < 80) {
        slm_buf_text(out, PLAIN[op & 15]);
    } else if (op < 160) {
        put_text(p, out);
    } else {
        bool list = op < 190;
        slm_buf_text(out, list ? "[" : "{");
        for (unsigned i = 0; i < (op & 7); i++) {
            slm_buf_text(out, i > 0 ? "," : "");
            if (!list) {
                put_key(p, out);
                slm_buf_text(out, ":");
            }
            put_value(p, out, depth + 1);
        }
        slm_buf_text(out, list ? "]" : "}");
    }
}

/* Messages with a role and a content at least, nearly always. */
static void put_messages(struct program *p, struct slm_buf *out)
{
    static const char *const ROLES[] = {"\"user\"", "\"assistant\"", "\"system\"", "\"tool\""};
    unsigned n = take(p) & 7;
    slm_buf_text(out, "[");
    for (unsigned i = 0; i < n; i++) {
        unsigned op = take(p);
        slm_buf_text(out, i > 0 ? ",{\"role\":" : "{\"role\":");
        slm_buf_text(out, ROLES[op & 3]);
        slm_buf_text(out, ",\"content\":");
        if (op & 4)
            put_value(p, out, 1);
        else
            put_text(p, out);
        for (op = op >> 3 & 3; op > 0; op--) {
            slm_buf_text(out, ",");
            put_key(p, out);
            slm_buf_text(out, ":");
            put_value(p, out, 1);
        }
        slm_buf_text(out, "}");
    }
    slm_buf_text(out, "]");
}

static void put_variables(struct program *p, struct slm_buf *out)
{
    unsigned op = take(p);
    slm_buf_text(out, "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"add_generation_prompt\":");
    slm_buf_text(out, op & 1 ? "true" : "false");
    slm_buf_text(out, ",\"messages\":");
    if (op & 128)
        put_value(p, out, 0);
    else
        put_messages(p, out);
    static const char *const MORE[] = {",\"tools\":", ",\"documents\":", ",\"enable_thinking\":"};
    for (int i = 0; i < 3; i++) {
        slm_buf_text(out, MORE[i]);
        if (op >> (i + 1) & 1)
            put_value(p, out, 0);
        else
            slm_buf_text(out, "null");
    }
    slm_buf_text(out, "}");
}

/* Valid UTF-8; ranges ascending and inside; every mark within one. */
static void check_output(const struct slm_buf *out, const struct slm_buf *ranges)
{
    size_t n = ranges->length / sizeof(uint32_t), range = 0;
    uint32_t c, *at = (uint32_t *)(void *)ranges->data;
    for (size_t i = 0; i < n; i++)
        check(at[i] <= out->length && (i == 0 || at[i] > at[i - 1]));
    for (size_t i = 0, length; i < out->length; i += length) {
        length = slm_utf8_decode((const char *)out->data + i, out->length - i, &c);
        check(length > 0);
        while (range < n && at[range + 1] <= i)
            range += 2;
        check(c != 0xE000 || (range < n && at[range] <= i && i + length <= at[range + 1]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tm now = {.tm_year = 125, .tm_mon = 6, .tm_mday = 9};
    struct slm_buf text = {0}, out = {0}, ranges = {0};
    struct slm_json *variables;
    if (size == 0)
        return 0;
    if (n_templates == 0)
        load_templates();
    struct program p = {data + 1, data + size};
    put_variables(&p, &text);
    check(slm_json_parse(&variables, (const char *)text.data, text.length, NULL) == SLM_OK);
    if (slm_template_render_at(templates[data[0] % n_templates], variables, &now, &out, &ranges,
                               NULL) == SLM_OK)
        check_output(&out, &ranges);
    else
        check(out.length == 0 && ranges.length == 0);
    slm_buf_free(&text);
    slm_buf_free(&out);
    slm_buf_free(&ranges);
    slm_json_free(variables);
    return 0;
}
