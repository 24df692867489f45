/*
 * json.c - see json.h.
 *
 * A document is an array of nodes in the order in which the values begin in the text, so the first
 * child of a container is the node after it, and `next` skips a whole subtree. Keys, strings and
 * numbers lie in one pool, each followed by a NUL; the pool never outgrows the source, because
 * quotes, separators and escapes always take more room than what they stand for.
 *
 * Nesting lives in a small array of frames, not on the C stack. Numbers stay text until somebody
 * asks: reading 35 MB of vocabulary converts none.
 */
#include "base/json.h"

#include "base/limits.h"
#include "base/number.h"
#include "base/utf8.h"

#include <math.h>
#include <string.h>

struct node {
    uint32_t text;   /* string, number: offset in the pool */
    uint32_t length; /* string, number: bytes; array, object: children */
    uint32_t key;    /* name in the parent object: offset in the pool */
    uint32_t key_length;
    int32_t next; /* next sibling, -1: none */
    uint8_t type; /* enum slm_json_type */
};

struct slm_json {
    const slm_allocator *allocator;
    slm_allocator allocator_copy;
    struct slm_buf nodes; /* of struct node */
    char *pool;
    size_t pool_capacity;
};

/* ------------------------------------------------------------------------------ reading --- */

struct frame {
    int32_t container;
    int32_t last_child; /* -1: none yet */
};

struct reader {
    struct slm_json *doc;
    const char *begin, *p, *end;
    size_t pool_used;
    size_t depth;
    struct frame frames[SLM_LIMIT_JSON_DEPTH];
};

/* The error at the present place, with its line and its column in characters. */
static int fail_here(const struct reader *r, int code, const char *what)
{
    size_t line = 1, column = 1;
    for (const char *p = r->begin; p < r->p; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if ((*p & 0xC0) != 0x80) {
            column++;
        }
    }
    return slm_fail(code, "JSON, line %zu, column %zu: %s", line, column, what);
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        r->p++;
}

static bool at(const struct reader *r, char c)
{
    return r->p < r->end && *r->p == c;
}

static bool at_digit(const struct reader *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

/* Four hexadecimal digits at p, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* "\u....": r->p is after the 'u'. Two halves of a surrogate pair are one character; half a pair
 * alone is none, and U+FFFD stands in for it. */
static int read_unicode_escape(struct reader *r, char **out)
{
    int32_t unit = hex4(r->p, r->end);
    if (unit < 0)
        return fail_here(r, SLM_EFORMAT, "\\u needs four hexadecimal digits");
    r->p += 4;
    uint32_t c = (uint32_t)unit;
    if (c >= 0xD800 && c < 0xDC00) {
        int32_t low = -1;
        if (r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u')
            low = hex4(r->p + 2, r->end);
        if (low >= 0xDC00 && low < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
            r->p += 6;
        }
    }
    if (c >= 0xD800 && c < 0xE000)
        c = 0xFFFD;
    *out += slm_utf8_encode(c, *out);
    return SLM_OK;
}

static int read_escape(struct reader *r, char **out)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    r->p++; /* the backslash */
    if (at(r, 'u')) {
        r->p++;
        return read_unicode_escape(r, out);
    }
    const char *letter = r->p < r->end && *r->p ? strchr(letters, *r->p) : NULL;
    if (!letter)
        return fail_here(r, SLM_EFORMAT, "no such escape in a string");
    *(*out)++ = meanings[letter - letters];
    r->p++;
    return SLM_OK;
}

/* A string from its opening quote on, into the pool. */
static int read_string(struct reader *r, uint32_t *text, uint32_t *length)
{
    char *start = r->doc->pool + r->pool_used, *out = start;
    r->p++;
    for (;;) {
        /* Most text is plain: copy it in one go up to the next byte that means something. */
        const char *plain = r->p;
        while (r->p < r->end && *r->p != '"' && *r->p != '\\' && (unsigned char)*r->p >= 0x20 &&
               (unsigned char)*r->p < 0x80)
            r->p++;
        memcpy(out, plain, (size_t)(r->p - plain));
        out += r->p - plain;
        if (r->p == r->end)
            return fail_here(r, SLM_EFORMAT, "the text ends inside a string");
        if (*r->p == '"')
            break;
        if (*r->p == '\\') {
            int code = read_escape(r, &out);
            if (code)
                return code;
        } else if ((unsigned char)*r->p < 0x20) {
            return fail_here(r, SLM_EFORMAT, "a control character must be written as an escape");
        } else {
            uint32_t c;
            size_t n = slm_utf8_decode(r->p, (size_t)(r->end - r->p), &c);
            if (n == 0)
                return fail_here(r, SLM_EFORMAT, "a string is not valid UTF-8");
            memcpy(out, r->p, n);
            out += n;
            r->p += n;
        }
    }
    r->p++;
    *text = (uint32_t)r->pool_used;
    *length = (uint32_t)(out - start);
    *out++ = '\0';
    r->pool_used = (size_t)(out - r->doc->pool);
    return SLM_OK;
}

static void skip_digits(struct reader *r)
{
    while (at_digit(r))
        r->p++;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? : its text goes into the pool. */
static int read_number(struct reader *r, struct node *node)
{
    const char *start = r->p;
    if (at(r, '-'))
        r->p++;
    if (!at_digit(r))
        return fail_here(r, SLM_EFORMAT, "a digit is missing");
    if (at(r, '0'))
        r->p++;
    else
        skip_digits(r);
    if (at_digit(r))
        return fail_here(r, SLM_EFORMAT, "a number can't begin with 0");
    if (at(r, '.')) {
        r->p++;
        if (!at_digit(r))
            return fail_here(r, SLM_EFORMAT, "a digit must follow the decimal point");
        skip_digits(r);
    }
    if (at(r, 'e') || at(r, 'E')) {
        r->p++;
        if (at(r, '+') || at(r, '-'))
            r->p++;
        if (!at_digit(r))
            return fail_here(r, SLM_EFORMAT, "a digit is missing in the exponent");
        skip_digits(r);
    }
    size_t n = (size_t)(r->p - start);
    node->text = (uint32_t)r->pool_used;
    node->length = (uint32_t)n;
    memcpy(r->doc->pool + r->pool_used, start, n);
    r->doc->pool[r->pool_used + n] = '\0';
    r->pool_used += n + 1;
    return SLM_OK;
}

static bool skip_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return false;
    r->p += n;
    return true;
}

/* One value, or the opening bracket of one. */
static int read_value(struct reader *r, struct node *node)
{
    if (r->p == r->end)
        return fail_here(r, SLM_EFORMAT, "the text ends where a value should be");
    switch (*r->p) {
    case '"': node->type = JSON_STRING; return read_string(r, &node->text, &node->length);
    case '[':
    case '{': node->type = *r->p++ == '[' ? JSON_ARRAY : JSON_OBJECT; return SLM_OK;
    case 'n':
        node->type = JSON_NULL;
        if (skip_word(r, "null"))
            return SLM_OK;
        break;
    case 't':
        node->type = JSON_TRUE;
        if (skip_word(r, "true"))
            return SLM_OK;
        break;
    case 'f':
        node->type = JSON_FALSE;
        if (skip_word(r, "false"))
            return SLM_OK;
        break;
    default:
        if (at(r, '-') || at_digit(r)) {
            node->type = JSON_NUMBER;
            return read_number(r, node);
        }
    }
    return fail_here(r, SLM_EFORMAT, "a value should be here");
}

static struct node *node_at(const struct slm_json *doc, slm_json_node i)
{
    return (struct node *)doc->nodes.data + i;
}

/* Append the node and hang it into the container that is open. */
static int add_node(struct reader *r, const struct node *node)
{
    int32_t index = (int32_t)(r->doc->nodes.length / sizeof *node);
    struct node *slot = slm_buf_grow(&r->doc->nodes, sizeof *node);
    if (!slot)
        return SLM_ENOMEM;
    *slot = *node;
    slot->next = -1;
    if (r->depth > 0) {
        struct frame *top = &r->frames[r->depth - 1];
        node_at(r->doc, top->container)->length++;
        if (top->last_child >= 0)
            node_at(r->doc, top->last_child)->next = index;
        top->last_child = index;
    }
    if (node->type == JSON_ARRAY || node->type == JSON_OBJECT) {
        if (r->depth == SLM_LIMIT_JSON_DEPTH)
            return fail_here(r, SLM_ELIMIT, "nested too deep");
        r->frames[r->depth++] = (struct frame){index, -1};
    }
    return SLM_OK;
}

static bool in_object(const struct reader *r)
{
    return r->depth > 0 && node_at(r->doc, r->frames[r->depth - 1].container)->type == JSON_OBJECT;
}

/* "name": before a member's value. */
static int read_key(struct reader *r, struct node *node)
{
    if (!at(r, '"'))
        return fail_here(r, SLM_EFORMAT, "a member's name in quotes should be here");
    int code = read_string(r, &node->key, &node->key_length);
    if (code)
        return code;
    skip_space(r);
    if (!at(r, ':'))
        return fail_here(r, SLM_EFORMAT, "':' should be here");
    r->p++;
    skip_space(r);
    return SLM_OK;
}

/* After a value or an opening bracket: close what ends here. *more tells that another value
 * follows; otherwise the document is complete. */
static int read_separators(struct reader *r, bool opened, bool *more)
{
    while (r->depth > 0) {
        skip_space(r);
        bool object = in_object(r);
        if (at(r, object ? '}' : ']')) {
            r->p++;
            r->depth--;
            opened = false;
        } else if (opened) {
            *more = true;
            return SLM_OK;
        } else if (at(r, ',')) {
            r->p++;
            skip_space(r);
            *more = true;
            return SLM_OK;
        } else {
            return fail_here(r, SLM_EFORMAT,
                             object ? "',' or '}' should be here" : "',' or ']' should be here");
        }
    }
    *more = false;
    return SLM_OK;
}

static int read_document(struct reader *r)
{
    bool more = true;
    skip_space(r);
    while (more) {
        struct node node = {0};
        int code = in_object(r) ? read_key(r, &node) : SLM_OK;
        if (!code)
            code = read_value(r, &node);
        if (!code)
            code = add_node(r, &node);
        if (!code)
            code = read_separators(r, node.type == JSON_ARRAY || node.type == JSON_OBJECT, &more);
        if (code)
            return code;
    }
    skip_space(r);
    return r->p == r->end ? SLM_OK
                          : fail_here(r, SLM_EFORMAT, "something follows the end of the value");
}

int slm_json_parse(struct slm_json **out, const char *text, size_t n, const slm_allocator *a)
{
    *out = NULL;
    if (n > SLM_LIMIT_TEXT)
        return slm_fail(SLM_ELIMIT, "JSON of %zu bytes: the limit is %d", n, SLM_LIMIT_TEXT);
    struct slm_json *doc = slm_calloc(a, sizeof *doc);
    if (!doc)
        return SLM_ENOMEM;
    if (a) {
        doc->allocator_copy = *a;
        doc->allocator = &doc->allocator_copy;
    }
    doc->nodes.allocator = doc->allocator;
    doc->pool_capacity = n + 1;
    doc->pool = slm_alloc(doc->allocator, doc->pool_capacity);
    int code = SLM_ENOMEM;
    if (doc->pool) {
        struct reader r = {.doc = doc, .begin = text, .p = text, .end = text + n};
        skip_word(&r, "\xEF\xBB\xBF"); /* a byte order mark says nothing in UTF-8 */
        code = read_document(&r);
    }
    if (code) {
        slm_json_free(doc);
        return code;
    }
    *out = doc;
    return SLM_OK;
}

void slm_json_free(struct slm_json *doc)
{
    if (!doc)
        return;
    slm_allocator copy = doc->allocator_copy;
    const slm_allocator *a = doc->allocator ? &copy : NULL;
    slm_buf_free(&doc->nodes);
    slm_free(a, doc->pool, doc->pool_capacity);
    slm_free(a, doc, sizeof *doc);
}

/* ------------------------------------------------------------------------------- access --- */

enum slm_json_type slm_json_type(const struct slm_json *doc, slm_json_node node)
{
    return node < 0 ? JSON_NULL : (enum slm_json_type)node_at(doc, node)->type;
}

static bool is_container(const struct slm_json *doc, slm_json_node node)
{
    return node >= 0 &&
           (node_at(doc, node)->type == JSON_ARRAY || node_at(doc, node)->type == JSON_OBJECT);
}

size_t slm_json_count(const struct slm_json *doc, slm_json_node node)
{
    return is_container(doc, node) ? node_at(doc, node)->length : 0;
}

slm_json_node slm_json_first(const struct slm_json *doc, slm_json_node node)
{
    return slm_json_count(doc, node) > 0 ? node + 1 : -1;
}

slm_json_node slm_json_next(const struct slm_json *doc, slm_json_node node)
{
    return node < 0 ? -1 : node_at(doc, node)->next;
}

const char *slm_json_key(const struct slm_json *doc, slm_json_node node, size_t *n)
{
    const struct node *p = node < 0 ? NULL : node_at(doc, node);
    if (n)
        *n = p ? p->key_length : 0;
    return p ? doc->pool + p->key : NULL;
}

slm_json_node slm_json_get(const struct slm_json *doc, slm_json_node node, const char *key)
{
    slm_json_node found = -1;
    if (slm_json_type(doc, node) != JSON_OBJECT)
        return -1;
    size_t n = strlen(key);
    for (slm_json_node i = slm_json_first(doc, node); i >= 0; i = slm_json_next(doc, i)) {
        const struct node *p = node_at(doc, i);
        if (p->key_length == n && memcmp(doc->pool + p->key, key, n) == 0)
            found = i;
    }
    return found;
}

slm_json_node slm_json_at(const struct slm_json *doc, slm_json_node node, size_t i)
{
    slm_json_node child = slm_json_type(doc, node) == JSON_ARRAY ? slm_json_first(doc, node) : -1;
    while (child >= 0 && i-- > 0)
        child = slm_json_next(doc, child);
    return child;
}

const char *slm_json_string(const struct slm_json *doc, slm_json_node node, size_t *n)
{
    bool is_string = slm_json_type(doc, node) == JSON_STRING;
    if (n)
        *n = is_string ? node_at(doc, node)->length : 0;
    return is_string ? doc->pool + node_at(doc, node)->text : NULL;
}

bool slm_json_bool(const struct slm_json *doc, slm_json_node node, bool otherwise)
{
    switch (slm_json_type(doc, node)) {
    case JSON_TRUE: return true;
    case JSON_FALSE: return false;
    default: return otherwise;
    }
}

const char *slm_json_number_text(const struct slm_json *doc, slm_json_node node)
{
    return slm_json_type(doc, node) == JSON_NUMBER ? doc->pool + node_at(doc, node)->text : NULL;
}

/* ------------------------------------------------------------------------------ numbers --- */

bool slm_json_is_integer(const struct slm_json *doc, slm_json_node node, int64_t *value)
{
    const char *text = slm_json_number_text(doc, node);
    if (!text)
        return false;
    bool negative = *text == '-';
    int64_t v = 0; /* built below zero, where there is room for one more */
    for (const char *p = text + negative; *p; p++) {
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, *p - '0', &v))
            return false;
    }
    if (!negative && __builtin_sub_overflow(0, v, &v))
        return false;
    if (value)
        *value = v;
    return true;
}

double slm_json_number(const struct slm_json *doc, slm_json_node node, double otherwise)
{
    const char *text = slm_json_number_text(doc, node);
    if (!text)
        return otherwise;
    double value;
    return slm_number_read(text, &value, doc->allocator) ? value : otherwise;
}

/* ------------------------------------------------------------------------------ writing --- */

static void write_escaped(struct slm_buf *out, unsigned char c)
{
    static const char letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
    const char *meaning = c ? strchr(meanings, c) : NULL;
    if (meaning) {
        slm_buf_byte(out, '\\');
        slm_buf_byte(out, (uint8_t)letters[meaning - meanings]);
    } else {
        slm_buf_format(out, "\\u%04x", c);
    }
}

void slm_json_write_string(struct slm_buf *out, const char *text, size_t n)
{
    slm_buf_byte(out, '"');
    size_t done = 0, i = 0; /* text[done..i) is to be copied as it is */
    while (i < n) {
        unsigned char c = (unsigned char)text[i];
        uint32_t code_point;
        size_t length = slm_utf8_decode(text + i, n - i, &code_point);
        if (length > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += length;
            continue;
        }
        slm_buf_append(out, text + done, i - done);
        if (length == 0)
            slm_buf_text(out, SLM_UTF8_REPLACEMENT);
        else
            write_escaped(out, c);
        done = ++i;
    }
    slm_buf_append(out, text + done, n - done);
    slm_buf_byte(out, '"');
}

void slm_json_write_number(struct slm_buf *out, double value)
{
    if (!isfinite(value)) {
        slm_buf_text(out, "null");
        return;
    }
    char text[SLM_NUMBER_SIZE];
    slm_buf_append(out, text, slm_number_write(text, value));
}
