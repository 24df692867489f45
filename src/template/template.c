/*
 * template.c - see template.h: parsing and rendering from the outside, and how the caller's JSON
 * becomes the template's variables.
 */
#include "template/template.h"

#include "base/limits.h"
#include "base/utf8.h"
#include "template/run.h"
#include "template/text.h"

#include <string.h>

/* --------------------------------------------------------------------------------- parsing --- */

/* A copy of the source in which every line ends in "\n", and the last line end is gone. */
static int copy_source(struct slm_template *t, const char *source, size_t n)
{
    char *copy = slm_work_take(&t->memory, n + 1, 1);
    if (!copy)
        return t->memory.code;
    size_t length = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t bytes = slm_utf8_decode(source + i, n - i, &c);
        if (bytes == 0) {
            t->memory.source = copy;
            t->memory.source_length = t->memory.position = length;
            slm_work_fail(&t->memory, SLM_EFORMAT, "a byte that is not valid UTF-8");
            return t->memory.code;
        }
        if (c == '\r') {
            copy[length++] = '\n';
            i += i + 1 < n && source[i + 1] == '\n' ? 2 : 1;
            continue;
        }
        memcpy(copy + length, source + i, bytes);
        length += bytes;
        i += bytes;
    }
    if (length > 0 && copy[length - 1] == '\n')
        length--;
    copy[length] = '\0';
    t->source = t->memory.source = copy;
    t->source_length = t->memory.source_length = length;
    return SLM_OK;
}

int slm_template_parse(struct slm_template **out, const char *source, size_t n,
                       const slm_allocator *a)
{
    *out = NULL;
    if (n > SLM_LIMIT_TEMPLATE)
        return slm_fail(SLM_ELIMIT, "a chat template of %zu bytes: the limit is %d", n,
                        SLM_LIMIT_TEMPLATE);
    struct slm_template *t = slm_calloc(a, sizeof *t);
    if (!t)
        return SLM_ENOMEM;
    if (a) {
        t->allocator = *a;
        t->has_allocator = true;
        t->memory.allocator = &t->allocator;
    }
    int code = copy_source(t, source, n);
    if (!code)
        code = slm_template_parse_source(t);
    if (code) {
        slm_template_free(t);
        return code;
    }
    *out = t;
    return SLM_OK;
}

void slm_template_free(struct slm_template *t)
{
    if (!t)
        return;
    slm_allocator copy = t->allocator;
    const slm_allocator *a = t->has_allocator ? &copy : NULL;
    slm_work_free(&t->memory);
    slm_free(a, t, sizeof *t);
}

/* ------------------------------------------------------------------------------- variables --- */

static struct value load_text(struct render *r, const char *text, size_t n, bool data)
{
    struct value v = value_text(text, n);
    if (data)
        v.marks = slm_work_data_marks(&r->work, n);
    return v;
}

static struct value load_number(const struct slm_json *doc, slm_json_node node)
{
    const char *text = slm_json_number_text(doc, node);
    int64_t i;
    if (slm_json_is_integer(doc, node, &i))
        return value_integer(i);
    if (strpbrk(text, ".eE"))
        return value_float(slm_json_number(doc, node, 0));
    struct value v = value_text(text, strlen(text));
    v.type = VALUE_BIG;
    return v;
}

/* A JSON value as the template's; data: its strings came from data. The recursion is as deep as
 * the reader of JSON allowed. */
static struct value load(struct render *r, const struct slm_json *doc, slm_json_node node,
                         bool data)
{
    size_t n;
    const char *text;
    if (!slm_work_spend(&r->work, 0))
        return value_none();
    switch (slm_json_type(doc, node)) {
    case JSON_NULL: return value_none();
    case JSON_FALSE: return value_boolean(false);
    case JSON_TRUE: return value_boolean(true);
    case JSON_NUMBER: return load_number(doc, node);
    case JSON_STRING: text = slm_json_string(doc, node, &n); return load_text(r, text, n, data);
    case JSON_ARRAY: {
        struct sequence *s = slm_sequence_new(&r->work, slm_json_count(doc, node));
        for (slm_json_node i = slm_json_first(doc, node); i >= 0; i = slm_json_next(doc, i))
            slm_sequence_add(&r->work, s, load(r, doc, i, data));
        return value_sequence(VALUE_LIST, s);
    }
    case JSON_OBJECT: break;
    }
    struct dict *d = slm_dict_new(&r->work);
    for (slm_json_node i = slm_json_first(doc, node); i >= 0; i = slm_json_next(doc, i)) {
        text = slm_json_key(doc, i, &n);
        slm_dict_set(&r->work, d, load_text(r, text, n, data), load(r, doc, i, data));
    }
    return value_dict(d);
}

/* Templates build "<|user|>" from roles: one that is a plain word is not treated as data. False:
 * there is none. */
static bool trust_role(struct render *r, struct dict *message)
{
    struct value *role = slm_dict_get_text(&r->work, message, "role");
    if (!role || !is_string(*role))
        return role != NULL;
    for (size_t i = 0; i < role->length; i++) {
        char c = role->text[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || c == '-';
        if (!plain)
            return true;
    }
    role->marks = NULL;
    return true;
}

/* A message as transformers hands it on: without members that are null, as some programs write
 * content beside tool_calls; and since reasoning goes by three names, one that has it under any of
 * them gets those that templates read, in transformers' order. */
static struct dict *complete_message(struct render *r, const struct dict *message)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    struct workspace *w = &r->work;
    struct dict *d = slm_dict_new(w);
    const struct value *reasoning = NULL;
    for (int i = 0; i < 3 && !reasoning; i++) {
        reasoning = slm_dict_get_text(w, message, names[i]);
        if (reasoning && reasoning->type == VALUE_NONE)
            reasoning = NULL;
    }
    if (reasoning)
        slm_dict_set(w, d, value_text("thinking", 8), *reasoning);
    for (uint32_t i = 0; i < message->n; i++)
        if (message->entries[i].value.type != VALUE_NONE)
            slm_dict_set(w, d, message->entries[i].key, message->entries[i].value);
    if (reasoning)
        slm_dict_set(w, d, value_text("reasoning_content", 17), *reasoning);
    return d;
}

/* Here transformers is milder: what a template makes of a message without a role looks right, and
 * is not. */
static void prepare_messages(struct render *r, struct value messages)
{
    if (messages.type != VALUE_LIST || !messages.sequence)
        return;
    bool reads_role = strstr(r->template->source, "role") != NULL;
    for (uint32_t i = 0; i < messages.sequence->n && !r->work.code; i++) {
        struct value *message = &messages.sequence->items[i];
        if (message->type != VALUE_DICT) {
            r->work.code =
                slm_fail(SLM_EINVAL, "messages[%u] is no object with role and content", i);
            return;
        }
        message->dict = complete_message(r, message->dict);
        if (!r->work.code && !trust_role(r, message->dict) && reads_role)
            r->work.code = slm_fail(SLM_EINVAL, "messages[%u] has no role", i);
    }
}

static bool ends_with(const char *text, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && memcmp(text + n - m, end, m) == 0;
}

/* Every variable that the template mentions: a function, undefined, or what the caller gave. */
static void load_variables(struct render *r, const struct slm_json *variables)
{
    const struct slm_template *t = r->template;
    r->globals = slm_work_take(&r->work, t->n_symbols, sizeof *r->globals);
    if (!r->globals)
        return;
    for (uint32_t i = 0; i < t->n_symbols; i++) {
        struct value name = t->symbols[i];
        r->globals[i] = value_missing(MISSING_NAME, name.text, name.length);
        const struct builtin *function = slm_template_function(name);
        if (function) {
            r->globals[i] = value_of_type(VALUE_FUNCTION);
            r->globals[i].builtin = function;
        }
    }
    for (slm_json_node node = slm_json_first(variables, 0); node >= 0 && !r->work.code;
         node = slm_json_next(variables, node)) {
        size_t n;
        const char *key = slm_json_key(variables, node, &n);
        uint32_t i = 0;
        while (i < t->n_symbols &&
               !(t->symbols[i].length == n && memcmp(t->symbols[i].text, key, n) == 0))
            i++;
        r->work.steps += i / 8;
        if (i == t->n_symbols)
            continue;
        bool data = !ends_with(key, n, "_token") && !ends_with(key, n, "_tokens");
        r->globals[i] = load(r, variables, node, data);
        if (slm_value_is_text(t->symbols[i], "messages"))
            prepare_messages(r, r->globals[i]);
    }
}

/* ------------------------------------------------------------------------------- rendering --- */

/* {begin, end} of each run of marked bytes, as they will lie in the caller's buffer. */
static int write_ranges(struct slm_buf *ranges, struct value text, size_t offset)
{
    size_t before = ranges->length;
    for (size_t i = 0; text.marks && i < text.length;) {
        const uint8_t *begin = memchr(text.marks + i, 1, text.length - i);
        if (!begin)
            break;
        size_t first = (size_t)(begin - text.marks);
        const uint8_t *end = memchr(begin, 0, text.length - first);
        i = end ? (size_t)(end - text.marks) : text.length;
        uint32_t range[2] = {(uint32_t)(offset + first), (uint32_t)(offset + i)};
        slm_buf_append(ranges, range, sizeof range);
    }
    int code = slm_buf_ok(ranges);
    if (code)
        ranges->length = before;
    return code;
}

static int deliver(struct value text, struct slm_buf *out, struct slm_buf *ranges)
{
    size_t before = ranges ? ranges->length : 0, offset = out->length;
    if (offset + text.length > UINT32_MAX)
        return slm_fail(SLM_ELIMIT, "the buffer for a prompt is beyond 4 GiB");
    int code = ranges ? write_ranges(ranges, text, offset) : SLM_OK;
    if (code)
        return code;
    slm_buf_append(out, text.text, text.length);
    code = slm_buf_ok(out);
    if (code && ranges)
        ranges->length = before;
    return code;
}

int slm_template_render_at(const struct slm_template *t, const struct slm_json *variables,
                           const struct tm *now, struct slm_buf *out, struct slm_buf *ranges,
                           const slm_allocator *a)
{
    struct render r = {.template = t};
    struct builder text = {.w = &r.work};
    struct scope root = {0};
    r.work.allocator = a;
    r.work.source = t->source;
    r.work.source_length = t->source_length;
    r.output = &text;
    r.scope = &root;
    if (now)
        r.now = *now;
    load_variables(&r, variables);
    slm_template_run(&r, t->root);
    int code = r.work.code;
    if (!code)
        code = deliver(slm_builder_string(&text), out, ranges);
    slm_work_free(&r.work);
    return code;
}

int slm_template_render(const struct slm_template *t, const struct slm_json *variables,
                        struct slm_buf *out, struct slm_buf *ranges, const slm_allocator *a)
{
    return slm_template_render_at(t, variables, NULL, out, ranges, a);
}
