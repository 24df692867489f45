/*
 * text.h - how values become text, and what Python knows about characters.
 */
#ifndef SLM_TEMPLATE_TEXT_H
#define SLM_TEMPLATE_TEXT_H

#include "template/value.h"

/* ------------------------------------------------------------------------ write.c --- */

/* str(v): a string as it is, everything else as Python prints it. */
struct value slm_value_to_string(struct workspace *w, struct value v);
/* The same, appended. */
void slm_write_value(struct builder *out, struct value v);
/* repr(v): strings in quotes. */
void slm_write_repr(struct builder *out, struct value v);
void slm_write_integer(struct builder *out, int64_t i);
void slm_write_float(struct builder *out, double d);

/* json.dumps(v): indent NULL is one line; separators "," ":" or those with a blank. */
struct json_style {
    const char *indent; /* [n_indent] a level, NULL: everything in one line */
    size_t n_indent;
    struct value item_separator, key_separator;
    bool ascii; /* \u.... for everything else */
    bool sort;  /* keys */
};
void slm_write_json(struct builder *out, struct value v, const struct json_style *style);

/* & < > ' " as HTML entities, marked up. */
struct value slm_value_escape(struct workspace *w, struct value string);

/* ----------------------------------------------------------------------- format.c --- */

/* "..." % value (a tuple or dict of values, or one). */
struct value slm_format_percent(struct workspace *w, struct value format, struct value values);

/* What a format field such as "{0.name!r:>8}" needs: see format.c. */
struct render;
struct arguments;
struct value slm_format_braces(struct render *r, struct value format, const struct arguments *args);
/* strftime in English and without a locale. */
struct tm;
struct value slm_format_time(struct workspace *w, struct value format, const struct tm *when);

/* ----------------------------------------------------------------------- string.c --- */

/* As the methods of str; all of them move the marks along. */
struct value slm_string_lower(struct workspace *w, struct value s);
struct value slm_string_upper(struct workspace *w, struct value s);
struct value slm_string_capitalize(struct workspace *w, struct value s);
/* Without white space, or without the characters of `set` if that is a string. */
enum strip_sides { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
struct value slm_string_strip(struct workspace *w, struct value s, struct value set, int sides);
/* At most `count` times; negative: all. */
struct value slm_string_replace(struct workspace *w, struct value s, struct value old,
                                struct value new, int64_t count);
struct sequence *slm_string_lines(struct workspace *w, struct value s, bool keep_ends);
/* One character in lower (upper, title) case appended, with its mark. */
void slm_builder_mapped(struct builder *out, uint32_t c, size_t (*map)(uint32_t, uint32_t[3]),
                        bool marked);

/* ---------------------------------------------------------------------- unicode.c --- */

bool slm_char_is_space(uint32_t c);     /* str.isspace */
bool slm_char_is_printable(uint32_t c); /* str.isprintable: what repr() does not escape */
/* The lower, upper or title case of c as up to 3 characters in out[3]; their number. */
size_t slm_char_lower(uint32_t c, uint32_t out[3]);
size_t slm_char_upper(uint32_t c, uint32_t out[3]);
size_t slm_char_title(uint32_t c, uint32_t out[3]);
bool slm_char_is_cased(uint32_t c);

/* Bytes of white space at the beginning or end of a text. */
size_t slm_text_leading_space(const char *text, size_t n);
size_t slm_text_trailing_space(const char *text, size_t n);

#endif
