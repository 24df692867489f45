/*
 * value.h - what a template computes with: values as in Python, and the memory that they
 * live in.
 *
 * Strings, lists and dicts never change once they are made (the sandbox that templates are written
 * for forbids it); only a namespace does. So values are passed by value and share their parts.
 *
 * Every string knows which of its bytes came from the caller's data: one mark a byte beside the
 * text. An operation that moves bytes moves their marks the same way.
 */
#ifndef SLM_TEMPLATE_VALUE_H
#define SLM_TEMPLATE_VALUE_H

#include "base/alloc.h"

#include <string.h>

/* ------------------------------------------------------------------------------- workspace --- */

/* What one parse or one rendering holds. Memory is only ever added and is freed all at once. The
 * first failure is kept in `code`; from then on every function returns quickly with whatever is
 * at hand (UNDEFINED, NULL, 0), so that callers check once, at a loop or at the end. */
struct workspace {
    const slm_allocator *allocator;
    struct memory_chunk *chunks;
    size_t memory_used; /* bytes; at most SLM_LIMIT_TEMPLATE_MEMORY */
    uint64_t steps;     /* at most SLM_LIMIT_TEMPLATE_STEPS */
    int code;
    const char *source; /* [source_length] for the line and column of an error... */
    size_t source_length;
    size_t position;     /* ...which is here */
    const uint8_t *ones; /* [n_ones] the marks of any text that is data throughout */
    size_t n_ones;
};

/* n * size bytes aligned to 16, not cleared; NULL when that failed. */
void *slm_work_take(struct workspace *w, size_t n, size_t size);
void slm_work_free(struct workspace *w);

/* Count work: 1 and something for the bytes that are looked at by memchr and the like. False when
 * it has failed, now or before. */
bool slm_work_spend(struct workspace *w, size_t bytes);
/* The same for bytes that are looked at one by one. */
static inline bool slm_work_spend_slowly(struct workspace *w, size_t bytes)
{
    enum { SLOWER = 16 };
    return slm_work_spend(w, SLOWER * bytes);
}

/* Marks for n bytes that all came from data. */
const uint8_t *slm_work_data_marks(struct workspace *w, size_t n);

/* ---------------------------------------------------------------------------------- values --- */

enum value_type {
    VALUE_UNDEFINED, /* text: the name that was looked for; detail: enum missing, and above
                        MISSING_BITS the type of the object that it was looked for in */
    VALUE_NONE,
    VALUE_BOOLEAN,
    VALUE_INTEGER,
    VALUE_BIG, /* an integer beyond 64 bits, as its digits: text; it can be printed and compared */
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_RANGE,     /* range(...), written out */
    VALUE_VIEW,      /* dict.items(), keys(), values(): a sequence without subscripts */
    VALUE_GENERATOR, /* what lazy filters give: it can be walked once, and has no length */
    VALUE_DICT,
    VALUE_NAMESPACE,
    VALUE_MACRO,
    VALUE_FUNCTION,
    VALUE_METHOD,
    VALUE_LOOP,
    VALUE_CYCLER,
    VALUE_JOINER,
    VALUE_ABSENT /* an argument that was not passed; no expression has this value */
};

/* Why a value is undefined, for the message if somebody uses it. */
enum missing { MISSING_NAME, MISSING_MEMBER, MISSING_FORBIDDEN, MISSING_OTHER };
enum { MISSING_BITS = 2 };

enum string_detail {
    STRING_MARKUP = 1, /* came out of |safe or |escape: what is added to it gets escaped */
    STRING_BLOCK = 2   /* lies at the beginning of a struct text_block, and may be extended there */
};

struct value {
    uint8_t type;
    uint8_t detail;
    uint32_t length; /* bytes of text */
    union {
        bool boolean;
        int64_t integer;
        double number;
        const char *text; /* [length], valid UTF-8 */
        struct sequence *sequence;
        struct dict *dict;
        struct macro *macro;
        const struct builtin *builtin;
        struct method *method;
        struct loop *loop;
        struct cycler *cycler;
    };
    const uint8_t *marks; /* string: [length], 1 where a byte came from data; NULL: nowhere */
};

struct sequence {
    uint32_t n, capacity;
    uint32_t next; /* generator: how many were taken */
    struct value *items;
};

struct dict {
    uint32_t n, capacity;
    struct dict_entry *entries; /* [n] in the order of insertion */
    uint32_t *slots;            /* [n_slots] hash table of entry numbers + 1; NULL while small */
    uint32_t n_slots;           /* a power of two */
};

struct dict_entry {
    struct value key, value;
};

struct method {
    const struct builtin *builtin;
    struct value self;
};

struct cycler { /* and joiner: `position` is 0 until its first use, items is the separator */
    uint32_t position;
    struct sequence *items;
};

static inline struct value value_of_type(enum value_type type)
{
    struct value v = {.type = (uint8_t)type};
    return v;
}

static inline struct value value_none(void)
{
    return value_of_type(VALUE_NONE);
}

static inline struct value value_boolean(bool b)
{
    struct value v = {.type = VALUE_BOOLEAN, .boolean = b};
    return v;
}

static inline struct value value_integer(int64_t i)
{
    struct value v = {.type = VALUE_INTEGER, .integer = i};
    return v;
}

static inline struct value value_float(double d)
{
    struct value v = {.type = VALUE_FLOAT, .number = d};
    return v;
}

/* A string that is no data. The text must live as long as the workspace. */
static inline struct value value_text(const char *text, size_t n)
{
    struct value v = {.type = VALUE_STRING, .length = (uint32_t)n, .text = text};
    return v;
}

static inline struct value value_sequence(enum value_type type, struct sequence *sequence)
{
    struct value v = {.type = (uint8_t)type, .sequence = sequence};
    return v;
}

static inline struct value value_dict(struct dict *dict)
{
    struct value v = {.type = VALUE_DICT, .dict = dict};
    return v;
}

/* Undefined, with the name that was looked for. */
static inline struct value value_missing(enum missing why, const char *text, size_t n)
{
    struct value v = {
        .type = VALUE_UNDEFINED, .detail = (uint8_t)why, .length = (uint32_t)n, .text = text};
    return v;
}

/* Undefined for a reason that a message can state. */
static inline struct value value_reason(const char *why)
{
    return value_missing(MISSING_OTHER, why, strlen(why));
}

static inline bool is_undefined(struct value v)
{
    return v.type == VALUE_UNDEFINED;
}

static inline bool is_string(struct value v)
{
    return v.type == VALUE_STRING;
}

/* Something with numbered elements in memory: list, tuple, range, view, generator. */
static inline bool is_sequence(struct value v)
{
    return v.type >= VALUE_LIST && v.type <= VALUE_GENERATOR;
}

static inline bool is_absent(struct value v)
{
    return v.type == VALUE_ABSENT;
}

/* bytes[from, from + n) of a string, marks included. */
static inline struct value value_part(struct value s, size_t from, size_t n)
{
    s.detail &= STRING_MARKUP;
    s.text += from;
    s.length = (uint32_t)n;
    if (s.marks)
        s.marks += from;
    return s;
}

/* The first failure: "chat template, line 3, column 5: ..." for slm_last_error(). Returns
 * undefined, for `return slm_work_fail(...)`. */
struct value slm_work_fail(struct workspace *w, int code, const char *format, ...) SLM_PRINTF(3, 4);

/* The same with SLM_EINVAL: "'x' is undefined". */
struct value slm_work_fail_undefined(struct workspace *w, struct value undefined);

const char *slm_value_type_name(struct value v); /* Python's: "str", "NoneType" */
bool slm_value_truth(struct value v);
bool slm_value_equal(struct workspace *w, struct value a, struct value b);
/* -1, 0, 1 as a <=> b, 2 when neither holds (NaN); fails for types that have no order. */
int slm_value_order(struct workspace *w, struct value a, struct value b);
/* The numbers of keys[n] in ascending (descending) order; equal ones stay as they are. NULL when
 * that failed. */
uint32_t *slm_value_sort(struct workspace *w, const struct value *keys, uint32_t n, bool reverse);
/* item in container; fails where Python does. */
bool slm_value_contains(struct workspace *w, struct value container, struct value item);
/* Integers and booleans as an integer; false otherwise. */
bool slm_value_as_integer(struct value v, int64_t *out);
/* Integers, booleans and floats as a float; false otherwise. */
bool slm_value_as_float(struct value v, double *out);
/* Is it the string `text`? */
bool slm_value_is_text(struct value v, const char *text);

/* The elements that a `for` walks: characters of a string, keys of a dict; nothing for undefined;
 * fails for what can't be walked. A generator is used up. */
struct sequence *slm_value_elements(struct workspace *w, struct value v);

/* ------------------------------------------------------------------------- lists and dicts --- */

/* Never NULL in spirit only: NULL when memory failed; the functions below accept that. */
struct sequence *slm_sequence_new(struct workspace *w, size_t capacity);
void slm_sequence_add(struct workspace *w, struct sequence *s, struct value v);

struct dict *slm_dict_new(struct workspace *w);
/* Add or replace; fails for keys that can't be hashed (lists, dicts). */
void slm_dict_set(struct workspace *w, struct dict *d, struct value key, struct value v);
/* NULL: no such key. Fails as slm_dict_set. */
struct value *slm_dict_get(struct workspace *w, const struct dict *d, struct value key);
struct value *slm_dict_get_text(struct workspace *w, const struct dict *d, const char *key);

/* -------------------------------------------------------------------------- making strings --- */

/* Text with its marks, growing. A string that ends where its block ends can be extended in place,
 * so a template that appends to a variable in a loop takes linear time. */
struct builder {
    struct workspace *w;
    struct text_block *block;
};

/* marks NULL: the bytes are no data. */
void slm_builder_add(struct builder *b, const char *text, size_t n, const uint8_t *marks);
void slm_builder_text(struct builder *b, const char *text);
void slm_builder_value(struct builder *b, struct value string);
void slm_builder_data(struct builder *b, const char *text, size_t n); /* n bytes of data */
size_t slm_builder_length(const struct builder *b);
/* If any byte from `from` on came from data, all of them count as data. */
void slm_builder_spread(struct builder *b, size_t from);
struct value slm_builder_string(const struct builder *b);

struct value slm_value_concat(struct workspace *w, struct value a, struct value b); /* strings */

/* Where part[m] begins in text[n] first, in bytes; NOWHERE if it does not, or on failure. */
#define NOWHERE SIZE_MAX
size_t slm_text_find(struct workspace *w, const char *text, size_t n, const char *part, size_t m);

/* Characters (code points): their number, and the byte where character i begins (i up to the
 * number). */
size_t slm_text_characters(const char *text, size_t n);
static inline size_t slm_value_characters(struct workspace *w, struct value string)
{
    slm_work_spend_slowly(w, string.length);
    return slm_text_characters(string.text, string.length);
}
size_t slm_text_offset(const char *text, size_t n, size_t i);

#endif
