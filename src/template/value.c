/*
 * value.c - see value.h: comparison, lists, dicts and strings of templates. How
 * values are written as text is in write.c.
 *
 * Whatever recurses here recurses on values that lie inside one another, and stops at
 * SLM_LIMIT_TEMPLATE_VALUES with an error.
 */
#include "template/value.h"

#include "base/bits.h"
#include "base/limits.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------------ comparison --- */

const char *slm_value_type_name(struct value v)
{
    static const char names[][12] = {
        [VALUE_UNDEFINED] = "Undefined",
        [VALUE_NONE] = "NoneType",
        [VALUE_BOOLEAN] = "bool",
        [VALUE_INTEGER] = "int",
        [VALUE_BIG] = "int",
        [VALUE_FLOAT] = "float",
        [VALUE_STRING] = "str",
        [VALUE_LIST] = "list",
        [VALUE_TUPLE] = "tuple",
        [VALUE_RANGE] = "range",
        [VALUE_VIEW] = "dict view",
        [VALUE_GENERATOR] = "generator",
        [VALUE_DICT] = "dict",
        [VALUE_NAMESPACE] = "Namespace",
        [VALUE_MACRO] = "Macro",
        [VALUE_FUNCTION] = "function",
        [VALUE_METHOD] = "method",
        [VALUE_LOOP] = "LoopContext",
        [VALUE_CYCLER] = "Cycler",
        [VALUE_JOINER] = "Joiner",
        [VALUE_ABSENT] = "nothing",
    };
    return names[v.type];
}

bool slm_value_truth(struct value v)
{
    switch ((enum value_type)v.type) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
    case VALUE_ABSENT: return false;
    case VALUE_BOOLEAN: return v.boolean;
    case VALUE_INTEGER: return v.integer != 0;
    case VALUE_FLOAT: return v.number != 0;
    case VALUE_STRING: return v.length > 0;
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_VIEW: return v.sequence && v.sequence->n > 0;
    case VALUE_DICT: return v.dict && v.dict->n > 0;
    default: return true;
    }
}

bool slm_value_as_integer(struct value v, int64_t *out)
{
    if (v.type == VALUE_BOOLEAN)
        *out = v.boolean;
    else if (v.type == VALUE_INTEGER)
        *out = v.integer;
    else
        return false;
    return true;
}

bool slm_value_as_float(struct value v, double *out)
{
    int64_t i;
    if (v.type == VALUE_FLOAT)
        *out = v.number;
    else if (slm_value_as_integer(v, &i))
        *out = (double)i;
    else
        return false;
    return true;
}

bool slm_value_is_text(struct value v, const char *text)
{
    return is_string(v) && v.length == strlen(text) && memcmp(v.text, text, v.length) == 0;
}

/* Booleans are numbers, as in Python. */
static bool is_number(struct value v)
{
    return v.type == VALUE_BOOLEAN || v.type == VALUE_INTEGER || v.type == VALUE_FLOAT;
}

/* -1, 0, 1; 2 when one is not a number. Integers compare exactly. */
static int order_numbers(struct value a, struct value b)
{
    int64_t i, j;
    if (slm_value_as_integer(a, &i) && slm_value_as_integer(b, &j))
        return (i > j) - (i < j);
    double x = 0, y = 0;
    slm_value_as_float(a, &x);
    slm_value_as_float(b, &y);
    return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
}

/* By bytes, which for UTF-8 is by code points. */
static int order_texts(struct workspace *w, struct value a, struct value b)
{
    size_t common = a.length < b.length ? a.length : b.length;
    if (!slm_work_spend(w, common))
        return 0;
    int order = memcmp(a.text, b.text, common); /* UTF-8 sorts as code points do */
    return order ? (order > 0) - (order < 0) : (a.length > b.length) - (a.length < b.length);
}

static bool equal_at(struct workspace *w, struct value a, struct value b, int depth);

/* NULL, from an allocation that failed, equals only itself. */
static bool equal_sequences(struct workspace *w, const struct sequence *a, const struct sequence *b,
                            int depth)
{
    if (!a || !b || a->n != b->n)
        return a == b;
    for (uint32_t i = 0; i < a->n; i++)
        if (!equal_at(w, a->items[i], b->items[i], depth))
            return false;
    return true;
}

/* The order of entries does not matter. */
static bool equal_dicts(struct workspace *w, const struct dict *a, const struct dict *b, int depth)
{
    if (!a || !b || a->n != b->n)
        return a == b;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct value *other = slm_dict_get(w, b, a->entries[i].key);
        if (!other || !equal_at(w, a->entries[i].value, *other, depth))
            return false;
    }
    return true;
}

static bool equal_at(struct workspace *w, struct value a, struct value b, int depth)
{
    if (!slm_work_spend(w, 0))
        return false;
    if (depth > SLM_LIMIT_TEMPLATE_VALUES) {
        slm_work_fail(w, SLM_ELIMIT, "values lie too deep inside one another");
        return false;
    }
    if (is_number(a) && is_number(b))
        return order_numbers(a, b) == 0;
    if (a.type != b.type)
        return false;
    switch ((enum value_type)a.type) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
    case VALUE_ABSENT: return true;
    case VALUE_STRING:
    case VALUE_BIG: return a.length == b.length && order_texts(w, a, b) == 0;
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE: return equal_sequences(w, a.sequence, b.sequence, depth + 1);
    case VALUE_DICT: return equal_dicts(w, a.dict, b.dict, depth + 1);
    default: return a.sequence == b.sequence; /* the same object: any pointer of the union */
    }
}

bool slm_value_equal(struct workspace *w, struct value a, struct value b)
{
    return equal_at(w, a, b, 0);
}

/* Lists compare at the first place where they differ. */
static int order_at(struct workspace *w, struct value a, struct value b, int depth)
{
    if (!slm_work_spend(w, 0))
        return 0;
    if (is_number(a) && is_number(b))
        return order_numbers(a, b);
    if (is_string(a) && is_string(b))
        return order_texts(w, a, b);
    if ((a.type == VALUE_LIST || a.type == VALUE_TUPLE) && a.type == b.type && a.sequence &&
        b.sequence && depth < SLM_LIMIT_TEMPLATE_VALUES) {
        uint32_t n = a.sequence->n, m = b.sequence->n;
        for (uint32_t i = 0; i < n && i < m; i++)
            if (!slm_value_equal(w, a.sequence->items[i], b.sequence->items[i]))
                return order_at(w, a.sequence->items[i], b.sequence->items[i], depth + 1);
        return (n > m) - (n < m);
    }
    if (is_undefined(a) || is_undefined(b))
        slm_work_fail_undefined(w, is_undefined(a) ? a : b);
    else
        slm_work_fail(w, SLM_EINVAL, "'%s' and '%s' have no order", slm_value_type_name(a),
                      slm_value_type_name(b));
    return 0;
}

int slm_value_order(struct workspace *w, struct value a, struct value b)
{
    return order_at(w, a, b, 0);
}

uint32_t *slm_value_sort(struct workspace *w, const struct value *keys, uint32_t n, bool reverse)
{
    uint32_t *order = slm_work_take(w, n, sizeof *order);
    uint32_t *merged = slm_work_take(w, n, sizeof *merged);
    if (!order || !merged)
        return NULL;
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    /* Merge runs of 1, 2, 4... The left one goes first unless the right one must. */
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * run) {
            size_t i = begin, middle = begin + run < n ? begin + run : n;
            size_t j = middle, end = middle + run < n ? middle + run : n;
            for (size_t k = begin; k < end; k++) {
                bool right = i == middle;
                if (!right && j < end)
                    right =
                        slm_value_order(w, keys[order[j]], keys[order[i]]) == (reverse ? 1 : -1);
                merged[k] = right ? order[j++] : order[i++];
            }
        }
        uint32_t *swap = order;
        order = merged;
        merged = swap;
        if (w->code)
            return NULL;
    }
    return order;
}

/* A dict is asked for its keys, everything else is walked. */
bool slm_value_contains(struct workspace *w, struct value container, struct value item)
{
    if (is_string(container)) {
        if (is_string(item))
            return slm_text_find(w, container.text, container.length, item.text, item.length) !=
                   NOWHERE;
        slm_work_fail(w, SLM_EINVAL, "'in' looks for a string in a string, not for '%s'",
                      slm_value_type_name(item));
        return false;
    }
    if (container.type == VALUE_DICT)
        return slm_dict_get(w, container.dict, item) != NULL;
    const struct sequence *elements = slm_value_elements(w, container);
    for (uint32_t i = 0; elements && i < elements->n && !w->code; i++)
        if (slm_value_equal(w, elements->items[i], item))
            return true;
    return false;
}

/* ------------------------------------------------------------------------- lists and dicts --- */

struct sequence *slm_sequence_new(struct workspace *w, size_t capacity)
{
    struct sequence *s = slm_work_take(w, 1, sizeof *s);
    struct value *items = slm_work_take(w, capacity, sizeof *items);
    if (!s || !items)
        return NULL;
    *s = (struct sequence){.capacity = (uint32_t)capacity, .items = items};
    return s;
}

void slm_sequence_add(struct workspace *w, struct sequence *s, struct value v)
{
    if (!s || w->code)
        return;
    if (s->n == s->capacity) {
        uint32_t capacity = s->capacity < 4 ? 8 : 2 * s->capacity; /* memory limits it below 2^24 */
        struct value *items = slm_work_take(w, capacity, sizeof *items);
        if (!items)
            return;
        if (s->n)
            memcpy(items, s->items, s->n * sizeof *items);
        s->items = items;
        s->capacity = capacity;
    }
    s->items[s->n++] = v;
}

/* Each character as a string that shares the memory. */
static struct sequence *characters_of(struct workspace *w, struct value s)
{
    struct sequence *out = slm_sequence_new(w, s.length);
    s.detail = 0; /* characters are not marked up, whatever the string is */
    for (size_t i = 0; out && i < s.length;) {
        size_t n = slm_text_offset(s.text + i, s.length - i, 1);
        slm_sequence_add(w, out, value_part(s, i, n));
        i += n;
    }
    return slm_work_spend_slowly(w, s.length) ? out : NULL;
}

struct sequence *slm_value_elements(struct workspace *w, struct value v)
{
    if (v.type == VALUE_GENERATOR && v.sequence) {
        /* What is left of it; afterwards it is empty. */
        struct sequence *rest = slm_sequence_new(w, 0);
        if (!rest)
            return NULL;
        rest->n = v.sequence->n - v.sequence->next;
        rest->items = v.sequence->items + v.sequence->next;
        v.sequence->next = v.sequence->n;
        return rest;
    }
    if (is_sequence(v))
        return v.sequence;
    if (is_string(v))
        return characters_of(w, v);
    if (v.type == VALUE_DICT && v.dict) {
        struct sequence *keys = slm_sequence_new(w, v.dict->n);
        for (uint32_t i = 0; i < v.dict->n; i++)
            slm_sequence_add(w, keys, v.dict->entries[i].key);
        return keys;
    }
    if (is_undefined(v))
        return slm_sequence_new(w, 0);
    slm_work_fail(w, SLM_EINVAL, "'%s' can't be walked through", slm_value_type_name(v));
    return NULL;
}

/* Equal values have equal hashes; lists and dicts have none. */
static uint64_t hash_of(struct workspace *w, struct value v, int depth)
{
    int64_t i;
    slm_work_spend(w, v.type == VALUE_STRING ? v.length : 0);
    if (v.type == VALUE_FLOAT && v.number == floor(v.number) && fabs(v.number) < 9e18)
        v = value_integer((int64_t)v.number); /* 1.0 and 1 are one key */
    if (slm_value_as_integer(v, &i))
        return slm_hash64(&i, sizeof i);
    switch ((enum value_type)v.type) {
    case VALUE_STRING:
    case VALUE_BIG: return slm_hash64(v.text, v.length);
    case VALUE_FLOAT: return slm_hash64(&v.number, sizeof v.number);
    case VALUE_TUPLE: {
        uint64_t hash = 1;
        for (uint32_t k = 0; v.sequence && depth < 8 && k < v.sequence->n && !w->code; k++)
            hash = hash * 31 + hash_of(w, v.sequence->items[k], depth + 1);
        return hash;
    }
    case VALUE_LIST:
    case VALUE_DICT:
        slm_work_fail(w, SLM_EINVAL, "'%s' can't be a key", slm_value_type_name(v));
        return 0;
    default: return v.type;
    }
}

struct dict *slm_dict_new(struct workspace *w)
{
    struct dict *d = slm_work_take(w, 1, sizeof *d);
    if (d)
        *d = (struct dict){0};
    return d;
}

enum { SMALL_DICT = 8 }; /* up to here a walk is faster than a hash table */

/* The entry of a key, or the number of entries when there is none; *slot gets where the hash
 * table has it or wants it. */
static uint32_t find_entry(struct workspace *w, const struct dict *d, struct value key,
                           uint32_t *slot)
{
    uint64_t hash = d->slots || !is_string(key) ? hash_of(w, key, 0) : 0; /* or fail */
    if (!d->slots) {
        for (uint32_t i = 0; i < d->n; i++)
            if (slm_value_equal(w, d->entries[i].key, key))
                return i;
        return d->n;
    }
    uint32_t mask = d->n_slots - 1, i = (uint32_t)hash & mask;
    while (d->slots[i] && slm_work_spend(w, 0)) {
        if (slm_value_equal(w, d->entries[d->slots[i] - 1].key, key)) {
            *slot = i;
            return d->slots[i] - 1;
        }
        i = (i + 1) & mask;
    }
    *slot = i;
    return d->n;
}

struct value *slm_dict_get(struct workspace *w, const struct dict *d, struct value key)
{
    uint32_t slot;
    if (!d || w->code)
        return NULL;
    uint32_t i = find_entry(w, d, key, &slot);
    return i < d->n && !w->code ? &d->entries[i].value : NULL;
}

struct value *slm_dict_get_text(struct workspace *w, const struct dict *d, const char *key)
{
    return slm_dict_get(w, d, value_text(key, strlen(key)));
}

/* Room for one more entry; beyond SMALL_DICT also a hash table that is at most half full. */
static bool grow_dict(struct workspace *w, struct dict *d)
{
    if (d->n < d->capacity)
        return true;
    uint32_t capacity = d->capacity ? 2 * d->capacity : 4;
    struct dict_entry *entries = slm_work_take(w, capacity, sizeof *entries);
    if (!entries)
        return false;
    if (d->n)
        memcpy(entries, d->entries, d->n * sizeof *entries);
    d->entries = entries;
    d->capacity = capacity;
    if (capacity <= SMALL_DICT)
        return true;
    uint32_t n_slots = 2 * capacity;
    uint32_t *slots = slm_work_take(w, n_slots, sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0, n_slots * sizeof *slots);
    for (uint32_t k = 0; k < d->n; k++) {
        uint32_t i = (uint32_t)hash_of(w, entries[k].key, 0) & (n_slots - 1);
        while (slots[i] && slm_work_spend(w, 0))
            i = (i + 1) & (n_slots - 1);
        slots[i] = k + 1;
    }
    d->slots = slots;
    d->n_slots = n_slots;
    return true;
}

void slm_dict_set(struct workspace *w, struct dict *d, struct value key, struct value v)
{
    uint32_t slot = 0;
    if (!d || w->code || !grow_dict(w, d))
        return;
    uint32_t i = find_entry(w, d, key, &slot);
    if (w->code)
        return;
    if (i < d->n) { /* the first key stays, as in Python */
        d->entries[i].value = v;
        return;
    }
    d->entries[d->n++] = (struct dict_entry){key, v};
    if (d->slots)
        d->slots[slot] = d->n;
}

/* -------------------------------------------------------------------------- making strings --- */

struct text_block {
    uint32_t capacity, used;
    bool marked; /* some mark is set */
    char text[]; /* [capacity], then marks[capacity] */
};

/* The marks lie behind the text, one for each byte of capacity. */
static uint8_t *marks_of(struct text_block *block)
{
    return (uint8_t *)block->text + block->capacity;
}

/* Make room for n more bytes; NULL when that failed. */
static struct text_block *reserve(struct builder *b, size_t n)
{
    struct text_block *block = b->block;
    size_t used = block ? block->used : 0;
    if (b->w->code)
        return NULL;
    if (block && block->capacity - used >= n)
        return block;
    if (n > SLM_LIMIT_TEMPLATE_OUTPUT || used + n > SLM_LIMIT_TEMPLATE_OUTPUT) {
        slm_work_fail(b->w, SLM_ELIMIT, "it makes a text of more than %d MB",
                      SLM_LIMIT_TEMPLATE_OUTPUT >> 20);
        return NULL;
    }
    size_t capacity = block ? 2 * (used + n) : n < 24 ? 24 : n;
    struct text_block *bigger = slm_work_take(b->w, 1, sizeof *bigger + 2 * capacity);
    if (!bigger)
        return NULL;
    *bigger = (struct text_block){.capacity = (uint32_t)capacity, .used = (uint32_t)used};
    memset(marks_of(bigger), 0, capacity);
    if (block) {
        bigger->marked = block->marked;
        memcpy(bigger->text, block->text, used);
        memcpy(marks_of(bigger), marks_of(block), used);
    }
    b->block = bigger;
    return bigger;
}

void slm_builder_add(struct builder *b, const char *text, size_t n, const uint8_t *marks)
{
    struct text_block *block = n && slm_work_spend(b->w, n) ? reserve(b, n) : NULL;
    if (!block)
        return;
    memcpy(block->text + block->used, text, n);
    if (marks) {
        memcpy(marks_of(block) + block->used, marks, n);
        block->marked = block->marked || memchr(marks, 1, n) != NULL;
    }
    block->used += (uint32_t)n;
}

void slm_builder_text(struct builder *b, const char *text)
{
    slm_builder_add(b, text, strlen(text), NULL);
}

void slm_builder_value(struct builder *b, struct value string)
{
    slm_builder_add(b, string.text, string.length, string.marks);
}

void slm_builder_data(struct builder *b, const char *text, size_t n)
{
    slm_builder_add(b, text, n, slm_work_data_marks(b->w, n));
}

size_t slm_builder_length(const struct builder *b)
{
    return b->block ? b->block->used : 0;
}

void slm_builder_spread(struct builder *b, size_t from)
{
    struct text_block *block = b->block;
    if (!block || !block->marked || from >= block->used)
        return;
    if (memchr(marks_of(block) + from, 1, block->used - from))
        memset(marks_of(block) + from, 1, block->used - from);
}

struct value slm_builder_string(const struct builder *b)
{
    struct text_block *block = b->block;
    if (!block)
        return value_text("", 0);
    struct value v = value_text(block->text, block->used);
    v.detail = STRING_BLOCK;
    v.marks = block->marked ? marks_of(block) : NULL;
    return v;
}

struct value slm_value_concat(struct workspace *w, struct value a, struct value b)
{
    if (b.length == 0)
        return a;
    if (a.length == 0) {
        b.detail = (uint8_t)((b.detail & ~STRING_MARKUP) | ((a.detail | b.detail) & STRING_MARKUP));
        return b;
    }
    struct builder builder = {.w = w};
    struct text_block *block = NULL;
    if (a.detail & STRING_BLOCK)
        block = (struct text_block *)(a.text - offsetof(struct text_block, text));
    /* Only the string that ends where the block ends may grow: others share the bytes before. */
    if (block && block->used == a.length)
        builder.block = block;
    else
        slm_builder_value(&builder, a);
    slm_builder_value(&builder, b);
    if (w->code)
        return value_of_type(VALUE_UNDEFINED);
    struct value v = slm_builder_string(&builder);
    v.detail |= (a.detail | b.detail) & STRING_MARKUP;
    return v;
}

/* By its first byte, then all of it: the work is counted. */
size_t slm_text_find(struct workspace *w, const char *text, size_t n, const char *part, size_t m)
{
    if (m == 0)
        return 0;
    for (size_t i = 0; n - i >= m;) {
        const char *found = memchr(text + i, part[0], n - i - m + 1);
        size_t looked_at = found ? (size_t)(found - text) - i + m : n - i;
        if (!slm_work_spend(w, looked_at) || !found)
            return NOWHERE;
        if (memcmp(found, part, m) == 0)
            return (size_t)(found - text);
        i = (size_t)(found - text) + 1;
    }
    return NOWHERE;
}

size_t slm_text_characters(const char *text, size_t n)
{
    size_t characters = 0;
    for (size_t i = 0; i < n; i++)
        characters += (text[i] & 0xC0) != 0x80;
    return characters;
}

size_t slm_text_offset(const char *text, size_t n, size_t i)
{
    size_t offset = 0;
    while (offset < n && i > 0) {
        offset++;
        while (offset < n && (text[offset] & 0xC0) == 0x80)
            offset++;
        i--;
    }
    return offset;
}
