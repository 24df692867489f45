/*
 * json.h - one small strict JSON reader and writer (RFC 8259), for every part of the project.
 *
 * The reader turns a text into a flat array of nodes: no recursion, depth bounded, linear time.
 * Nothing points into the source text, which may be freed at once. Strings are valid UTF-8 without
 * escapes (a lone surrogate becomes U+FFFD) and may hold NUL bytes: use the length; one NUL
 * follows. A parsed document is immutable, and any number of threads may read it.
 */
#ifndef SLM_BASE_JSON_H
#define SLM_BASE_JSON_H

#include "base/buf.h"

enum slm_json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct slm_json; /* a parsed document */

/* A value in a document: an index; 0 is the root, -1 "not there". All readers below accept -1. */
typedef int32_t slm_json_node;

/* Parse exactly one value that fills the text (white space around it and a byte order mark are
 * fine). SLM_EFORMAT names line and column; SLM_ELIMIT: deeper than SLM_LIMIT_JSON_DEPTH or 2 GiB.
 */
int slm_json_parse(struct slm_json **out, const char *text, size_t n, const slm_allocator *a);
void slm_json_free(struct slm_json *doc);

enum slm_json_type slm_json_type(const struct slm_json *doc,
                                 slm_json_node node); /* -1: JSON_NULL */

/* Children in source order. An object's children are its values; slm_json_key gives the name. */
slm_json_node slm_json_first(const struct slm_json *doc, slm_json_node node);
slm_json_node slm_json_next(const struct slm_json *doc, slm_json_node node);
size_t slm_json_count(const struct slm_json *doc, slm_json_node node);
const char *slm_json_key(const struct slm_json *doc, slm_json_node node, size_t *n);

/* Member of an object by name (the last one wins when a name stands twice), else -1. */
slm_json_node slm_json_get(const struct slm_json *doc, slm_json_node node, const char *key);
/* Element of an array, else -1. Linear; walk with first/next instead of looping over this. */
slm_json_node slm_json_at(const struct slm_json *doc, slm_json_node node, size_t i);

/* NULL when it is no string; n may be NULL, here and in slm_json_key. */
const char *slm_json_string(const struct slm_json *doc, slm_json_node node, size_t *n);
/* Correctly rounded; 1e999 is infinity, as strtod has it. */
double slm_json_number(const struct slm_json *doc, slm_json_node node, double otherwise);
/* Written without '.' and exponent, and within int64_t; value may be NULL. */
bool slm_json_is_integer(const struct slm_json *doc, slm_json_node node, int64_t *value);
bool slm_json_bool(const struct slm_json *doc, slm_json_node node, bool otherwise);
/* The number as it was written ("1e5"), for printing it back; NULL when it is none. */
const char *slm_json_number_text(const struct slm_json *doc, slm_json_node node);

/* Writing: a quoted, escaped string; invalid UTF-8 becomes U+FFFD. */
void slm_json_write_string(struct slm_buf *out, const char *text, size_t n);
/* The shortest decimal that reads back as the same double ("null" for NaN and infinities),
 * whatever the locale. */
void slm_json_write_number(struct slm_buf *out, double value);

#endif
