/*
 * builtins.c - tests (`is ...`), global functions, and the methods of dicts, lists, loops
 * and cyclers. A method without a function is one that would change its object: the sandbox
 * forbids those.
 */
#include "base/limits.h"
#include "template/run.h"
#include "template/text.h"

#include <math.h>
#include <string.h>
#include <time.h>

const struct builtin *slm_template_find(const struct builtin *table, size_t n, struct value name)
{
    for (size_t i = 0; i < n; i++)
        if (slm_value_is_text(name, table[i].name))
            return &table[i];
    return NULL;
}

int64_t slm_argument_integer(struct render *r, struct value v, int64_t otherwise)
{
    int64_t i = otherwise;
    if (!is_absent(v) && v.type != VALUE_NONE && !slm_value_as_integer(v, &i))
        slm_work_fail(&r->work, SLM_EINVAL, "an integer is needed here, not '%s'",
                      slm_value_type_name(v));
    return i;
}

struct value slm_argument_text(struct render *r, struct value v)
{
    if (is_string(v))
        return v;
    if (is_undefined(v))
        slm_work_fail_undefined(&r->work, v);
    slm_work_fail(&r->work, SLM_EINVAL, "a string is needed here, not '%s'",
                  slm_value_type_name(v));
    return value_text("", 0);
}

struct value slm_argument_fail(struct render *r, const char *builtin, struct value v)
{
    if (is_undefined(v))
        return slm_work_fail_undefined(&r->work, v);
    return slm_work_fail(&r->work, SLM_EINVAL, "%s does not work on '%s'", builtin,
                         slm_value_type_name(v));
}

#define FIND(table, name) slm_template_find(table, sizeof(table) / sizeof *(table), name)

/* ----------------------------------------------------------------------------------- tests --- */

#define TEST(name, condition)                                                                      \
    BUILTIN(test_##name)                                                                           \
    {                                                                                              \
        return value_boolean(condition);                                                           \
    }

TEST(defined, !is_undefined(self))
TEST(undefined, is_undefined(self))
TEST(none, self.type == VALUE_NONE)
TEST(boolean, self.type == VALUE_BOOLEAN)
TEST(true, self.type == VALUE_BOOLEAN && self.boolean)
TEST(false, self.type == VALUE_BOOLEAN && !self.boolean)
TEST(integer, self.type == VALUE_INTEGER || self.type == VALUE_BIG)
TEST(float, self.type == VALUE_FLOAT)
TEST(number, self.type >= VALUE_BOOLEAN && self.type <= VALUE_FLOAT)
TEST(string, is_string(self))
TEST(mapping, self.type == VALUE_DICT)
TEST(sequence, is_string(self) || is_undefined(self) || self.type == VALUE_DICT ||
                   (self.type >= VALUE_LIST && self.type <= VALUE_RANGE))
TEST(iterable, is_string(self) || is_undefined(self) || is_sequence(self) ||
                   self.type == VALUE_DICT || self.type == VALUE_LOOP)
TEST(callable, is_undefined(self) || self.type == VALUE_MACRO || self.type == VALUE_FUNCTION ||
                   self.type == VALUE_METHOD || self.type == VALUE_JOINER ||
                   self.type == VALUE_LOOP)
TEST(escaped, is_string(self) && (self.detail & STRING_MARKUP))
TEST(filter, is_string(self) && slm_template_filter(self))
TEST(test, is_string(self) && slm_template_test(self))
TEST(eq, slm_value_equal(&r->work, self, args->values[0]))
TEST(ne, !slm_value_equal(&r->work, self, args->values[0]))
TEST(lt, slm_value_order(&r->work, self, args->values[0]) == -1)
TEST(gt, slm_value_order(&r->work, self, args->values[0]) == 1)
TEST(in, slm_value_contains(&r->work, args->values[0], self))

/* Not "not greater": numbers that are none have no order at all. */
BUILTIN(test_le)
{
    int order = slm_value_order(&r->work, self, args->values[0]);
    return value_boolean(order == -1 || order == 0);
}

BUILTIN(test_ge)
{
    int order = slm_value_order(&r->work, self, args->values[0]);
    return value_boolean(order == 1 || order == 0);
}

/* self % by == rest, for numbers. */
static struct value remainder_is(struct render *r, struct value self, struct value by, double rest)
{
    double x, y;
    if (!slm_value_as_float(self, &x) || !slm_value_as_float(by, &y) || y == 0) {
        if (is_undefined(self))
            return slm_work_fail_undefined(&r->work, self);
        return slm_work_fail(&r->work, SLM_EINVAL, "'%s' has no remainder by '%s'",
                             slm_value_type_name(self), slm_value_type_name(by));
    }
    return value_boolean(fabs(fmod(x, y)) == rest);
}

BUILTIN(test_odd)
{
    return remainder_is(r, self, value_integer(2), 1);
}

BUILTIN(test_even)
{
    return remainder_is(r, self, value_integer(2), 0);
}

BUILTIN(test_divisibleby)
{
    return remainder_is(r, self, args->values[0], 0);
}

/* A question that is a method of strings, asked of str(self). */
static struct value ask_string(struct render *r, struct value self, const char *method)
{
    struct arguments none = {0};
    return slm_template_call_builtin(r,
                                     slm_template_string_method(value_text(method, strlen(method))),
                                     slm_value_to_string(&r->work, self), &none);
}

BUILTIN(test_lower)
{
    return ask_string(r, self, "islower");
}

BUILTIN(test_upper)
{
    return ask_string(r, self, "isupper");
}

/* The same object: what has no parts is the same when it is equal. */
BUILTIN(test_sameas)
{
    struct value other = args->values[0];
    if (self.type != other.type)
        return value_boolean(false);
    if (self.type >= VALUE_LIST && self.type <= VALUE_NAMESPACE)
        return value_boolean(self.sequence == other.sequence);
    return value_boolean(slm_value_equal(&r->work, self, other));
}

static const struct builtin tests[] = {
    {"!=", test_ne, "other", 1},
    {"<", test_lt, "other", 1},
    {"<=", test_le, "other", 1},
    {"==", test_eq, "other", 1},
    {">", test_gt, "other", 1},
    {">=", test_ge, "other", 1},
    {"boolean", test_boolean, "", 0},
    {"callable", test_callable, "", 0},
    {"defined", test_defined, "", 0},
    {"divisibleby", test_divisibleby, "num", 1},
    {"eq", test_eq, "other", 1},
    {"equalto", test_eq, "other", 1},
    {"escaped", test_escaped, "", 0},
    {"even", test_even, "", 0},
    {"false", test_false, "", 0},
    {"filter", test_filter, "", 0},
    {"float", test_float, "", 0},
    {"ge", test_ge, "other", 1},
    {"greaterthan", test_gt, "other", 1},
    {"gt", test_gt, "other", 1},
    {"in", test_in, "seq", 1},
    {"integer", test_integer, "", 0},
    {"iterable", test_iterable, "", 0},
    {"le", test_le, "other", 1},
    {"lessthan", test_lt, "other", 1},
    {"lower", test_lower, "", 0},
    {"lt", test_lt, "other", 1},
    {"mapping", test_mapping, "", 0},
    {"ne", test_ne, "other", 1},
    {"none", test_none, "", 0},
    {"number", test_number, "", 0},
    {"odd", test_odd, "", 0},
    {"sameas", test_sameas, "other", 1},
    {"sequence", test_sequence, "", 0},
    {"string", test_string, "", 0},
    {"test", test_test, "", 0},
    {"true", test_true, "", 0},
    {"undefined", test_undefined, "", 0},
    {"upper", test_upper, "", 0},
};

const struct builtin *slm_template_test(struct value name)
{
    return FIND(tests, name);
}

/* ------------------------------------------------------------------------------- functions --- */

/* The template refuses: its own words are the error. */
BUILTIN(function_raise)
{
    struct value message = slm_value_to_string(&r->work, args->values[0]);
    return slm_work_fail(&r->work, SLM_EINVAL, "%.*s",
                         message.length < 700 ? (int)message.length : 700, message.text);
}

/* All calls of one rendering see the same moment. */
BUILTIN(function_strftime)
{
    if (!is_string(args->values[0]))
        return slm_work_fail(&r->work, SLM_EINVAL, "strftime_now needs a string");
    if (r->now.tm_mday == 0) {
        time_t now = time(NULL);
        localtime_r(&now, &r->now);
    }
    return slm_format_time(&r->work, args->values[0], &r->now);
}

/* Written out as a list: it is short, see SLM_LIMIT_TEMPLATE_RANGE. */
BUILTIN(function_range)
{
    int64_t bounds[3] = {0, 0, 1};
    for (uint32_t i = 0; i < args->n && i < 3 && !is_absent(args->values[i]); i++)
        if (!slm_value_as_integer(args->values[i], &bounds[i]))
            return slm_work_fail(&r->work, SLM_EINVAL, "range() needs integers, not '%s'",
                                 slm_value_type_name(args->values[i]));
    if (is_absent(args->values[1])) { /* range(stop) */
        bounds[1] = bounds[0];
        bounds[0] = 0;
    }
    if (bounds[2] == 0)
        return slm_work_fail(&r->work, SLM_EINVAL, "range() with a step of 0");
    struct sequence *out = slm_sequence_new(&r->work, 0);
    for (int64_t i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1];) {
        if (out && out->n == SLM_LIMIT_TEMPLATE_RANGE)
            return slm_work_fail(&r->work, SLM_EINVAL, "range() of more than %d numbers",
                                 SLM_LIMIT_TEMPLATE_RANGE);
        slm_sequence_add(&r->work, out, value_integer(i));
        if (!slm_work_spend(&r->work, 0) || __builtin_add_overflow(i, bounds[2], &i))
            break;
    }
    return value_sequence(VALUE_RANGE, out);
}

/* dict(other, name=value...), also of pairs. */
static struct dict *new_dict(struct render *r, const struct arguments *args)
{
    struct dict *d = slm_dict_new(&r->work);
    struct value other = args->n ? args->values[0] : value_none();
    if (args->n > 1)
        slm_work_fail(&r->work, SLM_EINVAL, "dict() takes one argument without a name");
    if (other.type == VALUE_DICT) {
        for (uint32_t i = 0; other.dict && i < other.dict->n; i++)
            slm_dict_set(&r->work, d, other.dict->entries[i].key, other.dict->entries[i].value);
    } else if (args->n) {
        const struct sequence *pairs = slm_value_elements(&r->work, other);
        for (uint32_t i = 0; pairs && i < pairs->n && !r->work.code; i++) {
            const struct sequence *pair = slm_value_elements(&r->work, pairs->items[i]);
            if (pair && pair->n == 2)
                slm_dict_set(&r->work, d, pair->items[0], pair->items[1]);
            else
                slm_work_fail(&r->work, SLM_EINVAL, "dict() needs pairs");
        }
    }
    for (uint32_t i = 0; i < args->n_named; i++)
        slm_dict_set(&r->work, d, args->names[i], args->named[i]);
    return d;
}

BUILTIN(function_dict)
{
    return value_dict(new_dict(r, args));
}

/* The one thing that can be changed; a dict inside. */
BUILTIN(function_namespace)
{
    struct value v = value_of_type(VALUE_NAMESPACE);
    v.dict = new_dict(r, args);
    for (uint32_t i = 0; v.dict && i < v.dict->n; i++) {
        struct value key = v.dict->entries[i].key;
        if (is_string(key) && key.length && key.text[0] == '_')
            return slm_work_fail(&r->work, SLM_EINVAL,
                                 "members of a namespace can't begin with '_'");
    }
    return v;
}

/* A cycler or joiner with its items. */
static struct value new_cycler(struct render *r, enum value_type type, const struct value *items,
                               uint32_t n)
{
    struct cycler *cycler = slm_work_take(&r->work, 1, sizeof *cycler);
    struct value v = value_of_type(type);
    struct sequence *copy = slm_sequence_new(&r->work, n);
    for (uint32_t i = 0; i < n; i++)
        slm_sequence_add(&r->work, copy, items[i]);
    if (!cycler || !copy)
        return value_of_type(VALUE_UNDEFINED);
    *cycler = (struct cycler){0, copy};
    v.cycler = cycler;
    return v;
}

BUILTIN(function_cycler)
{
    if (args->n == 0)
        return slm_work_fail(&r->work, SLM_EINVAL, "cycler() needs items");
    return new_cycler(r, VALUE_CYCLER, args->values, args->n);
}

BUILTIN(function_joiner)
{
    struct value separator = is_absent(args->values[0]) ? value_text(", ", 2) : args->values[0];
    return new_cycler(r, VALUE_JOINER, &separator, 1);
}

static const struct builtin functions[] = {
    {"cycler", function_cycler, NULL, 0},
    {"dict", function_dict, NULL, 0},
    {"joiner", function_joiner, "sep", 0},
    {"namespace", function_namespace, NULL, 0},
    {"raise_exception", function_raise, "message", 1},
    {"range", function_range, "start stop step", 1},
    {"strftime_now", function_strftime, "format", 1},
};

const struct builtin *slm_template_function(struct value name)
{
    return FIND(functions, name);
}

/* ------------------------------------------------------------------------- dicts and lists --- */

/* None where nothing is found and no default was passed; a default that is undefined stays that. */
BUILTIN(dict_get)
{
    const struct value *v = slm_dict_get(&r->work, self.dict, args->values[0]);
    if (v)
        return *v;
    return is_absent(args->values[1]) ? value_none() : args->values[1];
}

enum view { VIEW_ITEMS, VIEW_KEYS, VIEW_VALUES }; /* the detail of a VALUE_VIEW */

static struct value view(struct render *r, const struct dict *d, enum view which)
{
    struct sequence *out = slm_sequence_new(&r->work, d->n);
    for (uint32_t i = 0; i < d->n && !r->work.code; i++) {
        const struct dict_entry *entry = &d->entries[i];
        struct value v = which == VIEW_KEYS ? entry->key : entry->value;
        if (which == VIEW_ITEMS) {
            struct sequence *pair = slm_sequence_new(&r->work, 2);
            slm_sequence_add(&r->work, pair, entry->key);
            slm_sequence_add(&r->work, pair, entry->value);
            v = value_sequence(VALUE_TUPLE, pair);
        }
        slm_sequence_add(&r->work, out, v);
    }
    struct value v = value_sequence(VALUE_VIEW, out);
    v.detail = (uint8_t)which;
    return v;
}

BUILTIN(dict_items)
{
    return view(r, self.dict, VIEW_ITEMS);
}

BUILTIN(dict_keys)
{
    return view(r, self.dict, VIEW_KEYS);
}

BUILTIN(dict_values)
{
    return view(r, self.dict, VIEW_VALUES);
}

/* Dicts and lists don't change: the copy may be the same one. */
BUILTIN(copy)
{
    return self;
}

BUILTIN(list_count)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < self.sequence->n && !r->work.code; i++)
        count += slm_value_equal(&r->work, self.sequence->items[i], args->values[0]);
    return value_integer(count);
}

/* The first place of a value; none is an error. */
BUILTIN(list_index)
{
    for (uint32_t i = 0; i < self.sequence->n && !r->work.code; i++)
        if (slm_value_equal(&r->work, self.sequence->items[i], args->values[0]))
            return value_integer(i);
    return slm_work_fail(&r->work, SLM_EINVAL, "index(): it is not in there");
}

static const struct builtin dict_methods[] = {
    {"clear", NULL, NULL, 0},
    {"copy", copy, "", 0},
    {"get", dict_get, "/key /default", 1},
    {"items", dict_items, "", 0},
    {"keys", dict_keys, "", 0},
    {"pop", NULL, NULL, 0},
    {"popitem", NULL, NULL, 0},
    {"setdefault", NULL, NULL, 0},
    {"update", NULL, NULL, 0},
    {"values", dict_values, "", 0},
};

static const struct builtin list_methods[] = {
    {"count", list_count, "/value", 1},
    {"index", list_index, "/value", 1},
    {"copy", copy, "", 0},
    {"append", NULL, NULL, 0},
    {"clear", NULL, NULL, 0},
    {"extend", NULL, NULL, 0},
    {"insert", NULL, NULL, 0},
    {"pop", NULL, NULL, 0},
    {"remove", NULL, NULL, 0},
    {"reverse", NULL, NULL, 0},
    {"sort", NULL, NULL, 0},
};
enum { TUPLE_METHODS = 2 }; /* the first ones of a list's */

/* ----------------------------------------------------------------------- loops and cyclers --- */

/* The arguments in turn, by the number of the round. */
BUILTIN(loop_cycle)
{
    if (args->n == 0)
        return slm_work_fail(&r->work, SLM_EINVAL, "loop.cycle() needs items");
    return args->values[self.loop->index % args->n];
}

/* Did the arguments differ from the last call's? */
BUILTIN(loop_changed)
{
    struct sequence *now = slm_sequence_new(&r->work, args->n);
    for (uint32_t i = 0; i < args->n; i++)
        slm_sequence_add(&r->work, now, args->values[i]);
    struct value tuple = value_sequence(VALUE_TUPLE, now);
    if (slm_value_equal(&r->work, self.loop->changed, tuple))
        return value_boolean(false);
    self.loop->changed = tuple;
    return value_boolean(true);
}

BUILTIN(cycler_next)
{
    struct cycler *c = self.cycler;
    struct value v = c->items->items[c->position];
    c->position = (c->position + 1) % c->items->n;
    return v;
}

BUILTIN(cycler_reset)
{
    self.cycler->position = 0;
    return value_none();
}

static const struct builtin loop_methods[] = {
    {"changed", loop_changed, NULL, 0},
    {"cycle", loop_cycle, NULL, 0},
};

static const struct builtin cycler_methods[] = {
    {"next", cycler_next, "", 0},
    {"reset", cycler_reset, "", 0},
};

/* Strings have a table of their own in string.c. */
const struct builtin *slm_template_object_method(struct value object, struct value name)
{
    switch ((enum value_type)object.type) {
    case VALUE_DICT: return FIND(dict_methods, name);
    case VALUE_LIST: return FIND(list_methods, name);
    case VALUE_TUPLE:
    case VALUE_RANGE: return slm_template_find(list_methods, TUPLE_METHODS, name);
    case VALUE_LOOP: return FIND(loop_methods, name);
    case VALUE_CYCLER: return FIND(cycler_methods, name);
    default: return NULL;
    }
}
