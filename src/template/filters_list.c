/*
 * filters_list.c - the filters that take or give lists.
 *
 * What Jinja computes lazily is computed at once here, and remembers only that it can be walked a
 * single time (VALUE_GENERATOR). So an error comes when the filter is met, and not when its result
 * is used.
 */
#include "base/limits.h"
#include "template/run.h"
#include "template/text.h"

#include <string.h>

static struct value text_of(struct render *r, struct value v)
{
    return slm_value_to_string(&r->work, v);
}

/* Strings compare in lower case unless the filter was told otherwise. */
static struct value folded(struct render *r, struct value v, bool case_sensitive)
{
    return is_string(v) && !case_sensitive ? slm_string_lower(&r->work, v) : v;
}

static struct value generator(struct sequence *s)
{
    return value_sequence(VALUE_GENERATOR, s);
}

/* Undefined is empty; what is made lazily has no length. */
BUILTIN(filter_length)
{
    switch ((enum value_type)self.type) {
    case VALUE_UNDEFINED: return value_integer(0);
    case VALUE_STRING: return value_integer((int64_t)slm_value_characters(&r->work, self));
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_VIEW: return value_integer(self.sequence ? self.sequence->n : 0);
    case VALUE_DICT: return value_integer(self.dict ? self.dict->n : 0);
    case VALUE_LOOP: return value_integer(self.loop->items->n);
    default: return slm_argument_fail(r, "length", self);
    }
}

/* For undefined only, unless the second argument asks for everything that is false. */
BUILTIN(filter_default)
{
    bool missing =
        is_undefined(self) || (slm_value_truth(args->values[1]) && !slm_value_truth(self));
    if (!missing)
        return self;
    return is_absent(args->values[0]) ? value_text("", 0) : args->values[0];
}

BUILTIN(filter_first)
{
    struct value empty = value_reason("the first item of an empty sequence");
    if (self.type == VALUE_GENERATOR && self.sequence) /* take one, leave the rest */
        return self.sequence->next < self.sequence->n ? self.sequence->items[self.sequence->next++]
                                                      : empty;
    const struct sequence *items = slm_value_elements(&r->work, self);
    return items && items->n ? items->items[0] : empty;
}

/* Python can't walk a generator backwards. */
BUILTIN(filter_last)
{
    if (self.type == VALUE_GENERATOR)
        return slm_argument_fail(r, "last", self);
    const struct sequence *items = slm_value_elements(&r->work, self);
    return items && items->n ? items->items[items->n - 1]
                             : value_reason("the last item of an empty sequence");
}

/* Of a string: its characters; of a dict: its keys. */
BUILTIN(filter_list)
{
    return value_sequence(VALUE_LIST, slm_value_elements(&r->work, self));
}

/* A string stays one; of a list comes something that can be walked once. */
BUILTIN(filter_reverse)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    struct sequence *out = slm_sequence_new(&r->work, items ? items->n : 0);
    for (uint32_t i = items ? items->n : 0; i-- > 0;)
        slm_sequence_add(&r->work, out, items->items[i]);
    if (self.type == VALUE_GENERATOR)
        return value_sequence(VALUE_LIST, out); /* what has no end to begin at is made a list */
    if (!is_string(self))
        return generator(out);
    struct builder text = {.w = &r->work};
    for (uint32_t i = 0; out && i < out->n; i++)
        slm_builder_value(&text, out->items[i]);
    return slm_builder_string(&text);
}

/* Every element as str() has it, so that numbers may be among them. */
BUILTIN(filter_join)
{
    struct value separator = text_of(r, args->values[0]), path = absent_to_none(args->values[1]);
    const struct sequence *items = slm_value_elements(&r->work, self);
    struct builder out = {.w = &r->work};
    if (is_absent(args->values[0]))
        separator = value_text("", 0);
    for (uint32_t i = 0; items && i < items->n && slm_work_spend(&r->work, 0); i++) {
        struct value v = items->items[i];
        if (path.type != VALUE_NONE)
            v = slm_template_path(r, v, path, value_none());
        if (i)
            slm_builder_value(&out, separator);
        slm_write_value(&out, v);
    }
    return slm_builder_string(&out);
}

/* (key, value) tuples of a dict. */
static struct sequence *pairs_of(struct render *r, struct value self, const char *filter)
{
    if (self.type != VALUE_DICT || !self.dict) {
        slm_argument_fail(r, filter, self);
        return NULL;
    }
    struct sequence *pairs = slm_sequence_new(&r->work, self.dict->n);
    for (uint32_t i = 0; i < self.dict->n && !r->work.code; i++) {
        struct sequence *pair = slm_sequence_new(&r->work, 2);
        slm_sequence_add(&r->work, pair, self.dict->entries[i].key);
        slm_sequence_add(&r->work, pair, self.dict->entries[i].value);
        slm_sequence_add(&r->work, pairs, value_sequence(VALUE_TUPLE, pair));
    }
    return pairs;
}

/* Undefined has no items; that is what this filter adds to the method. */
BUILTIN(filter_items)
{
    return generator(is_undefined(self) ? slm_sequence_new(&r->work, 0)
                                        : pairs_of(r, self, "items"));
}

/* Items in the order of their keys. */
static struct value sorted(struct render *r, const struct sequence *items, const struct value *keys,
                           bool reverse)
{
    struct sequence *out = slm_sequence_new(&r->work, items ? items->n : 0);
    const uint32_t *order =
        items && keys ? slm_value_sort(&r->work, keys, items->n, reverse) : NULL;
    for (uint32_t i = 0; order && i < items->n; i++)
        slm_sequence_add(&r->work, out, items->items[order[i]]);
    return value_sequence(VALUE_LIST, out);
}

/* By key or value; letters compare without case unless asked otherwise. */
BUILTIN(filter_dictsort)
{
    struct value by = args->values[1];
    bool by_value = slm_value_is_text(by, "value");
    if (!is_absent(by) && !by_value && !slm_value_is_text(by, "key"))
        return slm_work_fail(&r->work, SLM_EINVAL, "dictsort sorts by 'key' or by 'value'");
    const struct sequence *pairs = pairs_of(r, self, "dictsort");
    struct value *keys = slm_work_take(&r->work, pairs ? pairs->n : 0, sizeof *keys);
    for (uint32_t i = 0; keys && i < pairs->n; i++)
        keys[i] =
            folded(r, pairs->items[i].sequence->items[by_value], slm_value_truth(args->values[0]));
    return sorted(r, pairs, keys, slm_value_truth(args->values[2]));
}

/* The items of self, and what attribute= and case_sensitive= make of each. */
static struct value *keys_of(struct render *r, const struct sequence *items, struct value path,
                             bool case_sensitive)
{
    struct value *keys = slm_work_take(&r->work, items ? items->n : 0, sizeof *keys);
    path = absent_to_none(path);
    for (uint32_t i = 0; keys && items && i < items->n && slm_work_spend(&r->work, 0); i++) {
        keys[i] = items->items[i];
        if (path.type != VALUE_NONE)
            keys[i] = slm_template_path(r, keys[i], path, value_none());
        keys[i] = folded(r, keys[i], case_sensitive);
    }
    return r->work.code ? NULL : keys;
}

/* One attribute, or a tuple of those between commas. */
static struct value *sort_keys(struct render *r, const struct sequence *items, struct value path,
                               bool case_sensitive)
{
    if (!is_string(path) || !memchr(path.text, ',', path.length))
        return keys_of(r, items, path, case_sensitive);
    struct value *keys = slm_work_take(&r->work, items ? items->n : 0, sizeof *keys);
    for (uint32_t i = 0; keys && i < items->n; i++)
        keys[i] = value_sequence(VALUE_LIST, slm_sequence_new(&r->work, 2));
    for (size_t begin = 0; begin <= path.length && !r->work.code;) {
        const char *comma = memchr(path.text + begin, ',', path.length - begin);
        size_t end = comma ? (size_t)(comma - path.text) : path.length;
        const struct value *column =
            keys_of(r, items, value_part(path, begin, end - begin), case_sensitive);
        for (uint32_t i = 0; column && keys && i < items->n; i++)
            slm_sequence_add(&r->work, keys[i].sequence, column[i]);
        begin = end + 1;
    }
    return r->work.code ? NULL : keys;
}

/* Stable, also in reverse. */
BUILTIN(filter_sort)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    struct value *keys = sort_keys(r, items, args->values[2], slm_value_truth(args->values[1]));
    return sorted(r, items, keys, slm_value_truth(args->values[0]));
}

/* The first of the least (wanted -1) or greatest (wanted 1) elements. */
static struct value extreme(struct render *r, struct value self, const struct arguments *args,
                            int wanted)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    const struct value *keys = keys_of(r, items, args->values[1], slm_value_truth(args->values[0]));
    if (!keys || !items || items->n == 0)
        return value_reason("the least or greatest of an empty sequence");
    uint32_t best = 0;
    for (uint32_t i = 1; i < items->n && slm_work_spend(&r->work, 0); i++)
        if (slm_value_order(&r->work, keys[i], keys[best]) == wanted)
            best = i;
    return items->items[best];
}

BUILTIN(filter_min)
{
    return extreme(r, self, args, -1);
}

BUILTIN(filter_max)
{
    return extreme(r, self, args, 1);
}

/* With `+`, beginning at 0: so strings can't be summed, as in Python. */
BUILTIN(filter_sum)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    struct value path = absent_to_none(args->values[0]);
    struct value sum = is_absent(args->values[1]) ? value_integer(0) : args->values[1];
    for (uint32_t i = 0; items && i < items->n && slm_work_spend(&r->work, 0); i++) {
        struct value v = items->items[i];
        sum = slm_template_add(
            r, sum, path.type == VALUE_NONE ? v : slm_template_path(r, v, path, value_none()));
    }
    return sum;
}

/* The first of equal elements stays. They become keys, so lists can't be among them. */
BUILTIN(filter_unique)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    const struct value *keys = keys_of(r, items, args->values[1], slm_value_truth(args->values[0]));
    struct sequence *out = slm_sequence_new(&r->work, 4);
    struct dict *seen = slm_dict_new(&r->work);
    for (uint32_t i = 0; keys && seen && i < items->n && slm_work_spend(&r->work, 0); i++) {
        if (slm_dict_get(&r->work, seen, keys[i]))
            continue;
        slm_dict_set(&r->work, seen, keys[i], value_none());
        slm_sequence_add(&r->work, out, items->items[i]);
    }
    return generator(out);
}

/* Lists of `linecount` elements; the last one is filled up if there is something to fill it
 * with. */
BUILTIN(filter_batch)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    struct value fill = absent_to_none(args->values[1]);
    int64_t size = slm_argument_integer(r, args->values[0], 1);
    struct sequence *out = slm_sequence_new(&r->work, 4), *row = NULL;
    if (size < 1)
        return slm_work_fail(&r->work, SLM_EINVAL, "batch needs a size of 1 or more");
    for (uint32_t i = 0; items && i < items->n && slm_work_spend(&r->work, 0); i++) {
        if (i % size == 0) {
            row = slm_sequence_new(&r->work, 4);
            slm_sequence_add(&r->work, out, value_sequence(VALUE_LIST, row));
        }
        slm_sequence_add(&r->work, row, items->items[i]);
    }
    while (row && fill.type != VALUE_NONE && row->n < size && slm_work_spend(&r->work, 0))
        slm_sequence_add(&r->work, row, fill);
    return generator(out);
}

/* --------------------------------------------------------------------- map, select, reject --- */

static struct value named(const struct arguments *args, const char *name)
{
    for (uint32_t i = 0; i < args->n_named; i++)
        if (slm_value_is_text(args->names[i], name))
            return args->named[i];
    return value_of_type(VALUE_ABSENT);
}

/* The filter or test that the first of `args` names, with the rest as its arguments. */
static const struct builtin *named_builtin(struct render *r, struct arguments *args,
                                           const struct builtin *(*find)(struct value))
{
    struct value name = args->n ? args->values[0] : value_of_type(VALUE_ABSENT);
    const struct builtin *builtin = is_string(name) ? find(name) : NULL;
    if (!builtin)
        slm_work_fail(&r->work, SLM_EINVAL, "there is no filter or test '%.*s'",
                      is_string(name) ? (int)name.length : 0, is_string(name) ? name.text : "");
    if (args->n) {
        args->values++;
        args->n--;
    }
    return builtin;
}

/* map(attribute=...) looks something up in each element, map('name', ...) applies a filter to
 * it. */
BUILTIN(filter_map)
{
    struct value path = named(args, "attribute"),
                 otherwise = absent_to_none(named(args, "default"));
    struct arguments rest = *args;
    struct sequence *out = slm_sequence_new(&r->work, 4);
    if (!slm_value_truth(self) || !out)
        return generator(out);
    bool by_path = args->n == 0 && !is_absent(path);
    const struct builtin *filter = by_path ? NULL : named_builtin(r, &rest, slm_template_filter);
    const struct sequence *items = slm_value_elements(&r->work, self);
    for (uint32_t i = 0; items && i < items->n && slm_work_spend(&r->work, 0); i++) {
        struct value v = items->items[i];
        slm_sequence_add(&r->work, out,
                         by_path ? slm_template_path(r, v, path, otherwise)
                                 : slm_template_call_builtin(r, filter, v, &rest));
    }
    return generator(out);
}

/* Items for which the test (default: truth) of the item or of its attribute gives `wanted`. */
static struct value choose(struct render *r, struct value self, const struct arguments *args,
                           bool by_attribute, bool wanted)
{
    struct arguments rest = *args;
    struct value path = value_none();
    struct sequence *out = slm_sequence_new(&r->work, 4);
    if (!slm_value_truth(self) || !out)
        return generator(out);
    if (by_attribute && rest.n == 0)
        return slm_work_fail(&r->work, SLM_EINVAL, "the name of an attribute is missing");
    if (by_attribute) {
        path = *rest.values++;
        rest.n--;
    }
    const struct builtin *test = rest.n ? named_builtin(r, &rest, slm_template_test) : NULL;
    const struct sequence *items = slm_value_elements(&r->work, self);
    for (uint32_t i = 0; items && i < items->n && slm_work_spend(&r->work, 0); i++) {
        struct value v = items->items[i];
        if (by_attribute)
            v = slm_template_path(r, v, path, value_none());
        if (test)
            v = slm_template_call_builtin(r, test, v, &rest);
        if (slm_value_truth(v) == wanted)
            slm_sequence_add(&r->work, out, items->items[i]);
    }
    return generator(out);
}

BUILTIN(filter_select)
{
    return choose(r, self, args, false, true);
}

BUILTIN(filter_reject)
{
    return choose(r, self, args, false, false);
}

BUILTIN(filter_selectattr)
{
    return choose(r, self, args, true, true);
}

BUILTIN(filter_rejectattr)
{
    return choose(r, self, args, true, false);
}

BUILTIN(filter_attr)
{
    struct value v = slm_template_attribute(r, self, text_of(r, args->values[0]));
    bool is_key = self.type == VALUE_DICT && v.type != VALUE_METHOD; /* members only, no keys */
    return is_key ? value_missing(MISSING_MEMBER, "attr", 4) : v;
}

static const struct builtin filters[] = {
    {"attr", filter_attr, "name", 1},
    {"batch", filter_batch, "linecount fill_with", 1},
    {"count", filter_length, "", 0},
    {"d", filter_default, "default_value boolean", 0},
    {"default", filter_default, "default_value boolean", 0},
    {"dictsort", filter_dictsort, "case_sensitive by reverse", 0},
    {"first", filter_first, "", 0},
    {"items", filter_items, "", 0},
    {"join", filter_join, "d attribute", 0},
    {"last", filter_last, "", 0},
    {"length", filter_length, "", 0},
    {"list", filter_list, "", 0},
    {"map", filter_map, NULL, 0},
    {"max", filter_max, "case_sensitive attribute", 0},
    {"min", filter_min, "case_sensitive attribute", 0},
    {"reject", filter_reject, NULL, 0},
    {"rejectattr", filter_rejectattr, NULL, 0},
    {"reverse", filter_reverse, "", 0},
    {"select", filter_select, NULL, 0},
    {"selectattr", filter_selectattr, NULL, 0},
    {"sort", filter_sort, "reverse case_sensitive attribute", 0},
    {"sum", filter_sum, "attribute start", 0},
    {"unique", filter_unique, "case_sensitive attribute", 0},
};

const struct builtin *slm_template_list_filter(struct value name)
{
    return slm_template_find(filters, sizeof filters / sizeof *filters, name);
}
