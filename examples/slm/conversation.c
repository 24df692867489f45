/*
 * conversation.c - see conversation.h.
 */
#include "conversation.h"

#include "files.h"
#include "terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool has_system(const struct cli_conversation *c)
{
    return c->n > 0 && strcmp(c->messages[0].role, "system") == 0;
}

static void remove_at(struct cli_conversation *c, size_t i)
{
    free((char *)c->messages[i].content);
    memmove(&c->messages[i], &c->messages[i + 1], (c->n - i - 1) * sizeof *c->messages);
    c->n--;
}

static int insert_at(struct cli_conversation *c, size_t i, const char *role, const char *text)
{
    char *copy = strdup(text);
    slm_message *messages = realloc(c->messages, (c->n + 1) * sizeof *messages);
    if (messages)
        c->messages = messages;
    if (!copy || !messages) {
        free(copy);
        return cli_fail("out of memory");
    }
    memmove(&messages[i + 1], &messages[i], (c->n - i) * sizeof *messages);
    messages[i] = (slm_message){.size = sizeof *messages, .role = role, .content = copy};
    c->n++;
    return CLI_OK;
}

int cli_conversation_add(struct cli_conversation *c, const char *role, const char *text)
{
    return insert_at(c, c->n, role, text);
}

void cli_conversation_remove_last(struct cli_conversation *c)
{
    if (c->n > 0)
        remove_at(c, c->n - 1);
}

int cli_conversation_set_system(struct cli_conversation *c, const char *text)
{
    if (has_system(c))
        remove_at(c, 0);
    return text ? insert_at(c, 0, "system", text) : CLI_OK;
}

void cli_conversation_clear(struct cli_conversation *c)
{
    while (c->n > (size_t)has_system(c))
        remove_at(c, c->n - 1);
}

bool cli_conversation_drop_oldest(struct cli_conversation *c)
{
    size_t first = has_system(c), end = first + 1;
    while (end < c->n && strcmp(c->messages[end].role, "user") != 0)
        end++;
    if (end >= c->n)
        return false;
    for (; end > first; end--)
        remove_at(c, first);
    return true;
}

void cli_conversation_free(struct cli_conversation *c)
{
    while (c->n > 0)
        remove_at(c, c->n - 1);
    free(c->messages);
    c->messages = NULL;
}

/* ------------------------------------------------------------------------------- files --- */

int cli_conversation_save(const struct cli_conversation *c, const char *path)
{
    struct cli_json json = {0};
    cli_json_open(&json, NULL, '[');
    for (size_t i = 0; i < c->n; i++) {
        cli_json_open(&json, NULL, '{');
        cli_json_name(&json, "role", c->messages[i].role);
        cli_json_name(&json, "content", c->messages[i].content);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    slm_buf_byte(&json.text, '\n');
    int code = slm_buf_ok(&json.text) < 0 ? cli_fail("out of memory") : CLI_OK;
    FILE *file = code == CLI_OK ? fopen(path, "wb") : NULL;
    if (file) {
        bool written = fwrite(json.text.data, 1, json.text.length, file) == json.text.length;
        if (fclose(file) != 0 || !written)
            code = cli_fail("%s can't be written: %s", path, strerror(errno));
    } else if (code == CLI_OK) {
        code = cli_fail("%s can't be written: %s", path, strerror(errno));
    }
    slm_buf_free(&json.text);
    return code;
}

/* The role as a literal; NULL for one that a conversation here does not have. */
static const char *known_role(const char *role)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    for (size_t i = 0; role && i < 3; i++)
        if (strcmp(role, roles[i]) == 0)
            return roles[i];
    return NULL;
}

static int take_messages(struct cli_conversation *c, const struct slm_json *doc, const char *path)
{
    slm_json_node list = 0;
    if (slm_json_type(doc, 0) == JSON_OBJECT)
        list = slm_json_get(doc, 0, "messages");
    if (slm_json_type(doc, list) != JSON_ARRAY)
        return cli_fail("%s holds no conversation: a JSON array of messages is needed", path);
    size_t i = 0;
    for (slm_json_node m = slm_json_first(doc, list); m >= 0; m = slm_json_next(doc, m), i++) {
        size_t n;
        const char *role = known_role(slm_json_string(doc, slm_json_get(doc, m, "role"), NULL));
        const char *content = slm_json_string(doc, slm_json_get(doc, m, "content"), &n);
        if (!role || !content || (i > 0 && strcmp(role, "system") == 0))
            return cli_fail("%s: message %zu needs a role (system first, user, assistant) and a "
                            "content",
                            path, i + 1);
        if (strlen(content) != n)
            return cli_fail("%s: the content of message %zu has a NUL, which a message can't hold",
                            path, i + 1);
        int code = cli_conversation_add(c, role, content);
        if (code != CLI_OK)
            return code;
    }
    return CLI_OK;
}

int cli_conversation_load(struct cli_conversation *c, const char *path)
{
    struct slm_buf text = {0};
    struct slm_json *doc = NULL;
    struct cli_conversation loaded = {0};
    int code = cli_read_file(path, CLI_TEXT_LIMIT, &text);
    if (code == CLI_OK && slm_json_parse(&doc, (const char *)text.data, text.length, NULL) < 0)
        code = cli_fail("%s: %s", path, slm_last_error());
    if (code == CLI_OK)
        code = take_messages(&loaded, doc, path);
    if (code == CLI_OK) {
        struct cli_conversation old = *c;
        *c = loaded;
        loaded = old;
    }
    cli_conversation_free(&loaded);
    slm_json_free(doc);
    slm_buf_free(&text);
    return code;
}
