/*
 * write.c - values as text: str() and repr() as Python has them, json.dumps() as
 * transformers' tojson calls it, and HTML entities.
 *
 * Where the text of a list or dict holds any byte of data, all of it counts as data: which of its
 * brackets and quotes could complete something else is not worth knowing.
 */
#include "base/limits.h"
#include "base/number.h"
#include "base/utf8.h"
#include "template/run.h"
#include "template/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------- numbers --- */

void slm_write_integer(struct builder *out, int64_t i)
{
    char text[24];
    size_t n = sizeof text;
    uint64_t magnitude = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    do
        text[--n] = (char)('0' + magnitude % 10);
    while ((magnitude /= 10) != 0);
    if (i < 0)
        text[--n] = '-';
    slm_builder_add(out, text + n, sizeof text - n, NULL);
}

/* The shortest digits that name the double, laid out as Python's repr() does: an exponent from
 * 1e+16 on and below 1e-4, otherwise always with a point. */
__attribute__((noinline)) void slm_write_float(struct builder *out, double d)
{
    char text[SLM_NUMBER_SIZE], digits[SLM_NUMBER_SIZE];
    if (!isfinite(d)) {
        slm_builder_text(out, isnan(d) ? "nan" : d < 0 ? "-inf" : "inf");
        return;
    }
    slm_number_write(text, d);
    /* Take it apart: digits without point and outer zeros, and the power of ten before them. */
    int n = 0, exponent = 0;
    bool point = false;
    for (const char *p = text; *p; p++) {
        if (*p == 'e') {
            exponent += atoi(p + 1);
            break;
        }
        if (*p == '.')
            point = true;
        if (*p < '0' || *p > '9')
            continue;
        if (n > 0 || *p != '0') {
            digits[n++] = *p;
            exponent += !point;
        } else if (point) {
            exponent--;
        }
    }
    while (n > 1 && digits[n - 1] == '0')
        n--;
    if (n == 0) {
        digits[n++] = '0';
        exponent = 1;
    }
    digits[n] = '\0';
    char layout[64];
    if (exponent > 16 || exponent < -3) { /* d.ddde+XX */
        snprintf(layout, sizeof layout, "%.1s%s%se%c%02d", digits, n > 1 ? "." : "", digits + 1,
                 exponent > 0 ? '+' : '-', abs(exponent - 1));
    } else if (exponent <= 0) {
        snprintf(layout, sizeof layout, "0.%.*s%s", -exponent, "0000", digits);
    } else if (n <= exponent) {
        snprintf(layout, sizeof layout, "%s%.*s.0", digits, exponent - n, "0000000000000000");
    } else {
        snprintf(layout, sizeof layout, "%.*s.%s", exponent, digits, digits + exponent);
    }
    if (signbit(d))
        slm_builder_text(out, "-");
    slm_builder_text(out, layout);
}

/* ---------------------------------------------------------------------------- str and repr --- */

/* Not inlined, so that the recursion below does not carry its variables along. */
static __attribute__((noinline)) void write_quoted(struct builder *out, struct value s)
{
    bool single = memchr(s.text, '\'', s.length) != NULL;
    char quote = single && !memchr(s.text, '"', s.length) ? '"' : '\'';
    slm_builder_add(out, &quote, 1, NULL);
    for (size_t i = 0; i < s.length && !out->w->code;) {
        uint32_t c;
        size_t n = slm_utf8_decode(s.text + i, s.length - i, &c);
        char escaped[12];
        const uint8_t *mark = s.marks ? s.marks + i : NULL;
        if (n == 0)
            break;
        if (c == (uint32_t)quote || c == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escaped, sizeof escaped, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (slm_char_is_printable(c))
            escaped[0] = '\0';
        else
            snprintf(escaped, sizeof escaped,
                     c < 0x100     ? "\\x%02" PRIx32
                     : c < 0x10000 ? "\\u%04" PRIx32
                                   : "\\U%08" PRIx32,
                     c);
        if (!*escaped)
            slm_builder_add(out, s.text + i, n, mark);
        else if (mark && *mark)
            slm_builder_data(out, escaped, strlen(escaped));
        else
            slm_builder_text(out, escaped);
        i += n;
    }
    slm_builder_add(out, &quote, 1, NULL);
}

static void write_repr(struct builder *out, struct value v, int depth);

/* Elements with ", " between. */
static void write_items(struct builder *out, const struct sequence *s, int depth)
{
    for (uint32_t i = 0; s && i < s->n && !out->w->code; i++) {
        if (i)
            slm_builder_text(out, ", ");
        write_repr(out, s->items[i], depth);
    }
}

/* {key: value}, both as repr() has them. */
static void write_entries(struct builder *out, const struct dict *d, int depth)
{
    slm_builder_text(out, "{");
    for (uint32_t i = 0; d && i < d->n && !out->w->code; i++) {
        if (i)
            slm_builder_text(out, ", ");
        write_repr(out, d->entries[i].key, depth);
        slm_builder_text(out, ": ");
        write_repr(out, d->entries[i].value, depth);
    }
    slm_builder_text(out, "}");
}

/* From its first two elements; how far it could have gone is not known any more. */
static __attribute__((noinline)) void write_range(struct builder *out, const struct sequence *s)
{
    int64_t first = s && s->n ? s->items[0].integer : 0, step = 1;
    if (s && s->n > 1)
        step = s->items[1].integer - first;
    slm_builder_text(out, "range(");
    slm_write_integer(out, first);
    slm_builder_text(out, ", ");
    slm_write_integer(out, first + (s ? (int64_t)s->n : 0) * step);
    if (step != 1) {
        slm_builder_text(out, ", ");
        slm_write_integer(out, step);
    }
    slm_builder_text(out, ")");
}

static void write_repr(struct builder *out, struct value v, int depth)
{
    if (depth > SLM_LIMIT_TEMPLATE_VALUES) {
        slm_work_fail(out->w, SLM_ELIMIT, "values lie too deep inside one another");
        return;
    }
    switch ((enum value_type)v.type) {
    case VALUE_UNDEFINED: slm_builder_text(out, "Undefined"); break;
    case VALUE_NONE: slm_builder_text(out, "None"); break;
    case VALUE_BOOLEAN: slm_builder_text(out, v.boolean ? "True" : "False"); break;
    case VALUE_INTEGER: slm_write_integer(out, v.integer); break;
    case VALUE_FLOAT: slm_write_float(out, v.number); break;
    case VALUE_BIG: slm_builder_value(out, v); break;
    case VALUE_STRING:
        if (v.detail & STRING_MARKUP)
            slm_builder_text(out, "Markup(");
        write_quoted(out, v);
        if (v.detail & STRING_MARKUP)
            slm_builder_text(out, ")");
        break;
    case VALUE_LIST:
        slm_builder_text(out, "[");
        write_items(out, v.sequence, depth + 1);
        slm_builder_text(out, "]");
        break;
    case VALUE_TUPLE:
        slm_builder_text(out, "(");
        write_items(out, v.sequence, depth + 1);
        slm_builder_text(out, v.sequence && v.sequence->n == 1 ? ",)" : ")");
        break;
    case VALUE_RANGE: write_range(out, v.sequence); break;
    case VALUE_VIEW: /* of items, keys or values: by their look */
        slm_builder_text(out, v.detail == 0   ? "dict_items(["
                              : v.detail == 1 ? "dict_keys(["
                                              : "dict_values([");
        write_items(out, v.sequence, depth + 1);
        slm_builder_text(out, "])");
        break;
    case VALUE_NAMESPACE:
        slm_builder_text(out, "<Namespace ");
        write_entries(out, v.dict, depth + 1);
        slm_builder_text(out, ">");
        break;
    case VALUE_DICT: write_entries(out, v.dict, depth + 1); break;
    default: /* Python would show an address here */
        slm_builder_text(out, "<");
        slm_builder_text(out, slm_value_type_name(v));
        slm_builder_text(out, ">");
    }
}

/* A string keeps its marks byte by byte; everything else is data as a whole or not at all. */
void slm_write_repr(struct builder *out, struct value v)
{
    size_t from = slm_builder_length(out);
    write_repr(out, v, 0);
    if (!is_string(v))
        slm_builder_spread(out, from);
}

void slm_write_value(struct builder *out, struct value v)
{
    if (is_string(v))
        slm_builder_value(out, v);
    else if (!is_undefined(v))
        slm_write_repr(out, v);
}

struct value slm_value_to_string(struct workspace *w, struct value v)
{
    if (is_string(v))
        return v;
    struct builder out = {.w = w};
    slm_write_value(&out, v);
    return slm_builder_string(&out);
}

/* ------------------------------------------------------------------------------------ JSON --- */

/* \u.... of one UTF-16 unit. */
static void write_unit(struct builder *out, uint32_t unit)
{
    char text[16];
    snprintf(text, sizeof text, "\\u%04" PRIx32, unit);
    slm_builder_text(out, text);
}

static __attribute__((noinline)) void write_json_string(struct builder *out, struct value s,
                                                        bool ascii)
{
    static const char letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
    slm_builder_text(out, "\"");
    size_t done = 0, i = 0; /* text[done..i) is to be copied as it is */
    slm_work_spend_slowly(out->w, s.length);
    while (i < s.length && !out->w->code) {
        uint32_t c = 0xFFFD;
        size_t n = slm_utf8_decode(s.text + i, s.length - i, &c);
        n = n ? n : 1;
        if (c >= 0x20 && c != '"' && c != '\\' && !(ascii && c > 0x7E)) {
            i += n;
            continue;
        }
        slm_builder_value(out, value_part(s, done, i - done));
        const char *meaning = c && c < 0x80 ? strchr(meanings, (int)c) : NULL;
        if (meaning) {
            slm_builder_text(out, "\\");
            slm_builder_add(out, &letters[meaning - meanings], 1, NULL);
        } else if (c >= 0x10000) { /* a surrogate pair */
            write_unit(out, 0xD7C0 + (c >> 10));
            write_unit(out, 0xDC00 + (c & 0x3FF));
        } else {
            write_unit(out, c);
        }
        done = i += n;
    }
    slm_builder_value(out, value_part(s, done, s.length - done));
    slm_builder_text(out, "\"");
}

static void write_json(struct builder *out, struct value v, const struct json_style *style,
                       int depth);

/* Only with indentation: then every element has a line. */
static void new_line(struct builder *out, const struct json_style *style, int depth)
{
    if (!style->indent)
        return;
    slm_builder_text(out, "\n");
    for (int i = 0; i < depth && !out->w->code; i++)
        slm_builder_add(out, style->indent, style->n_indent, NULL);
}

/* Not JSON, but what Python writes. */
static void write_json_number(struct builder *out, double d)
{
    if (isnan(d))
        slm_builder_text(out, "NaN");
    else if (isinf(d))
        slm_builder_text(out, d < 0 ? "-Infinity" : "Infinity");
    else
        slm_write_float(out, d);
}

/* A key: what is no string gets quotes. */
static void write_json_key(struct builder *out, struct value key, const struct json_style *style)
{
    if (is_string(key)) {
        write_json_string(out, key, style->ascii);
    } else if (key.type == VALUE_NONE || key.type == VALUE_BOOLEAN || key.type == VALUE_INTEGER ||
               key.type == VALUE_FLOAT || key.type == VALUE_BIG) {
        slm_builder_text(out, "\"");
        write_json(out, key, style, 0);
        slm_builder_text(out, "\"");
    } else {
        slm_work_fail(out->w, SLM_EINVAL, "tojson can't write '%s' as a key",
                      slm_value_type_name(key));
    }
}

static void write_json_dict(struct builder *out, const struct dict *d,
                            const struct json_style *style, int depth)
{
    if (!d || d->n == 0) {
        slm_builder_text(out, "{}");
        return;
    }
    struct value *keys = style->sort ? slm_work_take(out->w, d->n, sizeof *keys) : NULL;
    for (uint32_t i = 0; keys && i < d->n; i++)
        keys[i] = d->entries[i].key;
    const uint32_t *order = keys ? slm_value_sort(out->w, keys, d->n, false) : NULL;
    slm_builder_text(out, "{");
    for (uint32_t i = 0; i < d->n && !out->w->code; i++) {
        const struct dict_entry *entry = &d->entries[order ? order[i] : i];
        if (i)
            slm_builder_value(out, style->item_separator);
        new_line(out, style, depth + 1);
        write_json_key(out, entry->key, style);
        slm_builder_value(out, style->key_separator);
        write_json(out, entry->value, style, depth + 1);
    }
    new_line(out, style, depth);
    slm_builder_text(out, "}");
}

static void write_json_list(struct builder *out, const struct sequence *s,
                            const struct json_style *style, int depth)
{
    if (!s || s->n == 0) {
        slm_builder_text(out, "[]");
        return;
    }
    slm_builder_text(out, "[");
    for (uint32_t i = 0; i < s->n && !out->w->code; i++) {
        if (i)
            slm_builder_value(out, style->item_separator);
        new_line(out, style, depth + 1);
        write_json(out, s->items[i], style, depth + 1);
    }
    new_line(out, style, depth);
    slm_builder_text(out, "]");
}

static void write_json(struct builder *out, struct value v, const struct json_style *style,
                       int depth)
{
    if (depth > SLM_LIMIT_TEMPLATE_VALUES) {
        slm_work_fail(out->w, SLM_ELIMIT, "values lie too deep inside one another");
        return;
    }
    switch ((enum value_type)v.type) {
    case VALUE_NONE: slm_builder_text(out, "null"); break;
    case VALUE_BOOLEAN: slm_builder_text(out, v.boolean ? "true" : "false"); break;
    case VALUE_INTEGER: slm_write_integer(out, v.integer); break;
    case VALUE_BIG: slm_builder_value(out, v); break;
    case VALUE_FLOAT: write_json_number(out, v.number); break;
    case VALUE_STRING: write_json_string(out, v, style->ascii); break;
    case VALUE_LIST:
    case VALUE_TUPLE: write_json_list(out, v.sequence, style, depth); break;
    case VALUE_DICT: write_json_dict(out, v.dict, style, depth); break;
    default: slm_work_fail(out->w, SLM_EINVAL, "tojson can't write '%s'", slm_value_type_name(v));
    }
}

void slm_write_json(struct builder *out, struct value v, const struct json_style *style)
{
    size_t from = slm_builder_length(out);
    write_json(out, v, style, 0);
    slm_builder_spread(out, from);
}

/* ------------------------------------------------------------------------------------ HTML --- */

struct value slm_value_escape(struct workspace *w, struct value string)
{
    struct builder out = {.w = w};
    size_t done = 0;
    slm_work_spend_slowly(w, string.length);
    for (size_t i = 0; i < string.length; i++) {
        const char *entity;
        switch (string.text[i]) {
        case '&': entity = "&amp;"; break;
        case '<': entity = "&lt;"; break;
        case '>': entity = "&gt;"; break;
        case '\'': entity = "&#39;"; break;
        case '"': entity = "&#34;"; break;
        default: continue;
        }
        slm_builder_value(&out, value_part(string, done, i - done));
        if (string.marks && string.marks[i])
            slm_builder_data(&out, entity, strlen(entity));
        else
            slm_builder_text(&out, entity);
        done = i + 1;
    }
    slm_builder_value(&out, value_part(string, done, string.length - done));
    struct value v = slm_builder_string(&out);
    v.detail |= STRING_MARKUP;
    return v;
}
