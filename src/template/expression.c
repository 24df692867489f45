/*
 * expression.c - what expressions are worth.
 *
 * One function for each kind of node, called through a table, so that none of them is inlined into
 * a frame that all levels of recursion would pay for. The rules are Python's; where Jinja's
 * sandbox differs (members before keys, undefined instead of exceptions), Jinja's.
 */
#include "base/limits.h"
#include "template/run.h"
#include "template/text.h"

#include <math.h>
#include <string.h>

bool slm_template_enter(struct render *r)
{
    if (r->depth >= SLM_LIMIT_TEMPLATE_DEPTH) {
        slm_work_fail(&r->work, SLM_ELIMIT, "evaluations or macros are nested too deep");
        return false;
    }
    r->depth++;
    return true;
}

/* Errors from here on are this node's: its parts have been evaluated. */
static void back_at(struct render *r, const struct node *node)
{
    r->work.position = node->position;
}

/* ------------------------------------------------------------------------------ arithmetic --- */

static struct value fail_operands(struct render *r, const char *operation, struct value a,
                                  struct value b)
{
    if (is_undefined(a) || is_undefined(b))
        return slm_work_fail_undefined(&r->work, is_undefined(a) ? a : b);
    return slm_work_fail(&r->work, SLM_EINVAL, "'%s' does not work between '%s' and '%s'",
                         operation, slm_value_type_name(a), slm_value_type_name(b));
}

/* list + list or tuple + tuple, of one type. */
static struct value join_sequences(struct render *r, struct value a, struct value b)
{
    struct sequence *out = slm_sequence_new(&r->work, (a.sequence ? a.sequence->n : 0) +
                                                          (size_t)(b.sequence ? b.sequence->n : 0));
    for (uint32_t i = 0; a.sequence && i < a.sequence->n; i++)
        slm_sequence_add(&r->work, out, a.sequence->items[i]);
    for (uint32_t i = 0; b.sequence && i < b.sequence->n; i++)
        slm_sequence_add(&r->work, out, b.sequence->items[i]);
    return value_sequence((enum value_type)a.type, out);
}

static struct value fail_overflow(struct render *r)
{
    return slm_work_fail(&r->work, SLM_ELIMIT, "a number does not fit 64 bits");
}

struct value slm_template_add(struct render *r, struct value a, struct value b)
{
    int64_t i, j;
    double x, y;
    if (is_string(a) && is_string(b)) {
        /* Marked-up text escapes what is put beside it. */
        if ((a.detail & STRING_MARKUP) && !(b.detail & STRING_MARKUP))
            b = slm_value_escape(&r->work, b);
        else if ((b.detail & STRING_MARKUP) && !(a.detail & STRING_MARKUP))
            a = slm_value_escape(&r->work, a);
        return slm_value_concat(&r->work, a, b);
    }
    if (slm_value_as_integer(a, &i) && slm_value_as_integer(b, &j))
        return __builtin_add_overflow(i, j, &i) ? fail_overflow(r) : value_integer(i);
    if (slm_value_as_float(a, &x) && slm_value_as_float(b, &y))
        return value_float(x + y);
    if (a.type == b.type && (a.type == VALUE_LIST || a.type == VALUE_TUPLE))
        return join_sequences(r, a, b);
    return fail_operands(r, "+", a, b);
}

/* text * n, by doubling, or list * n */
static struct value repeat(struct render *r, struct value v, int64_t times)
{
    if (is_string(v)) {
        struct value out = value_text("", 0);
        for (; times > 0 && v.length && !r->work.code; times /= 2) {
            out = times % 2 ? slm_value_concat(&r->work, out, v) : out;
            v = times > 1 ? slm_value_concat(&r->work, v, v) : v;
        }
        return out;
    }
    struct sequence *out = slm_sequence_new(&r->work, 4);
    for (int64_t i = 0; i < times && v.sequence && v.sequence->n && !r->work.code; i++)
        for (uint32_t k = 0; k < v.sequence->n && slm_work_spend(&r->work, 0); k++)
            slm_sequence_add(&r->work, out, v.sequence->items[k]);
    return value_sequence((enum value_type)v.type, out);
}

/* What `*` repeats. */
static bool repeats(struct value v)
{
    return is_string(v) || v.type == VALUE_LIST || v.type == VALUE_TUPLE;
}

/* By squaring; a negative exponent gives a float, as in Python. */
static struct value power_of_integers(struct render *r, int64_t base, int64_t exponent)
{
    int64_t result = 1;
    if (exponent < 0)
        return value_float(pow((double)base, (double)exponent));
    while (exponent > 0) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
            return fail_overflow(r);
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base))
            return fail_overflow(r);
    }
    return value_integer(result);
}

static struct value integer_arithmetic(struct render *r, enum arithmetic operation, int64_t i,
                                       int64_t j)
{
    int64_t result = 0;
    bool overflow = false;
    switch (operation) {
    case SUBTRACT: overflow = __builtin_sub_overflow(i, j, &result); break;
    case MULTIPLY: overflow = __builtin_mul_overflow(i, j, &result); break;
    case POWER: return power_of_integers(r, i, j);
    case DIVIDE: return value_float((double)i / (double)j);
    case FLOOR_DIVIDE:
    case MODULO:
        if (j == -1) { /* INT64_MIN / -1 would trap */
            overflow = __builtin_sub_overflow(0, i, &result);
            result = operation == MODULO ? 0 : result;
            overflow = overflow && operation != MODULO;
            break;
        }
        /* The quotient goes down, the remainder has the divisor's sign. */
        result = operation == MODULO ? i % j : i / j;
        if (i % j != 0 && (i % j < 0) != (j < 0))
            result += operation == MODULO ? j : -1;
        break;
    default: break;
    }
    return overflow ? fail_overflow(r) : value_integer(result);
}

/* The remainder has the sign of the divisor here too. */
static struct value float_arithmetic(enum arithmetic operation, double x, double y)
{
    switch (operation) {
    case SUBTRACT: return value_float(x - y);
    case MULTIPLY: return value_float(x * y);
    case DIVIDE: return value_float(x / y);
    case POWER: return value_float(pow(x, y));
    case FLOOR_DIVIDE: return value_float(floor(x / y));
    default: {
        double rest = fmod(x, y);
        if (rest != 0 && (rest < 0) != (y < 0))
            rest += y;
        return value_float(rest);
    }
    }
}

static struct value evaluate_arithmetic(struct render *r, const struct node *node)
{
    static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};
    struct value a = slm_template_evaluate(r, node->a), b = slm_template_evaluate(r, node->b);
    enum arithmetic operation = node->operation;
    int64_t i, j;
    double x, y;
    back_at(r, node);
    if (operation == ADD)
        return slm_template_add(r, a, b);
    if (operation == MODULO && is_string(a))
        return slm_format_percent(&r->work, a, b);
    if (operation == MULTIPLY && repeats(a) && slm_value_as_integer(b, &j))
        return repeat(r, a, j);
    if (operation == MULTIPLY && repeats(b) && slm_value_as_integer(a, &i))
        return repeat(r, b, i);
    if (!slm_value_as_float(a, &x) || !slm_value_as_float(b, &y))
        return fail_operands(r, signs[operation], a, b);
    if (operation >= DIVIDE && operation <= MODULO && y == 0)
        return slm_work_fail(&r->work, SLM_EINVAL, "division by zero");
    if (slm_value_as_integer(a, &i) && slm_value_as_integer(b, &j))
        return integer_arithmetic(r, operation, i, j);
    return float_arithmetic(operation, x, y);
}

/* +true is 1: Python's booleans are numbers. */
static struct value evaluate_sign(struct render *r, const struct node *node)
{
    struct value v = slm_template_evaluate(r, node->a);
    bool negative = node->kind == NODE_NEGATIVE;
    int64_t i;
    back_at(r, node);
    if (v.type == VALUE_FLOAT)
        return value_float(negative ? -v.number : v.number);
    if (slm_value_as_integer(v, &i))
        return negative ? integer_arithmetic(r, SUBTRACT, 0, i) : value_integer(i);
    return fail_operands(r, negative ? "-" : "+", value_integer(0), v);
}

/* a ~ b: everything as str() has it, and nothing gets escaped. */
static struct value evaluate_concat(struct render *r, const struct node *node)
{
    struct value text = value_text("", 0);
    for (uint32_t i = 0; i < node->n_items && !r->work.code; i++) {
        struct value v = slm_value_to_string(&r->work, slm_template_evaluate(r, node->items[i]));
        v.detail &= ~STRING_MARKUP & 0xFF;
        text = slm_value_concat(&r->work, text, v);
    }
    return text;
}

/* ------------------------------------------------------------------------ logic, comparison --- */

static struct value evaluate_not(struct render *r, const struct node *node)
{
    return value_boolean(!slm_value_truth(slm_template_evaluate(r, node->a)));
}

/* The value of `and` and `or` is that of the operand that decided, not a boolean. */
static struct value evaluate_and(struct render *r, const struct node *node)
{
    struct value a = slm_template_evaluate(r, node->a);
    return slm_value_truth(a) ? slm_template_evaluate(r, node->b) : a;
}

static struct value evaluate_or(struct render *r, const struct node *node)
{
    struct value a = slm_template_evaluate(r, node->a);
    return slm_value_truth(a) ? a : slm_template_evaluate(r, node->b);
}

static struct value evaluate_conditional(struct render *r, const struct node *node)
{
    if (slm_value_truth(slm_template_evaluate(r, node->b)))
        return slm_template_evaluate(r, node->a);
    if (node->c)
        return slm_template_evaluate(r, node->c);
    return value_reason("an inline if was false and has no else");
}

/* 2, the order of something that is no number, is neither of the others. */
static bool compare(struct workspace *w, enum comparison comparison, struct value a, struct value b)
{
    switch (comparison) {
    case EQUAL: return slm_value_equal(w, a, b);
    case NOT_EQUAL: return !slm_value_equal(w, a, b);
    case IN: return slm_value_contains(w, b, a);
    case NOT_IN: return !slm_value_contains(w, b, a);
    default: break;
    }
    int order = slm_value_order(w, a, b);
    return comparison == LESS         ? order == -1
           : comparison == LESS_EQUAL ? order == -1 || order == 0
           : comparison == GREATER    ? order == 1
                                      : order == 1 || order == 0;
}

/* a < b < c is a < b and b < c. */
static struct value evaluate_compare(struct render *r, const struct node *node)
{
    struct value left = slm_template_evaluate(r, node->a);
    for (uint32_t i = 0; i < node->n_items && !r->work.code; i++) {
        const struct node *operand = node->items[i];
        struct value right = slm_template_evaluate(r, operand->a);
        back_at(r, operand);
        if (!compare(&r->work, operand->operation, left, right))
            return value_boolean(false);
        left = right;
    }
    return value_boolean(true);
}

/* -------------------------------------------------------------------------------- literals --- */

static struct value evaluate_constant(struct render *r, const struct node *node)
{
    (void)r;
    return node->value;
}

static struct value evaluate_name(struct render *r, const struct node *node)
{
    return slm_template_variable(r, node->symbol);
}

/* [a, b] or (a, b) */
static struct value evaluate_sequence(struct render *r, const struct node *node)
{
    struct sequence *s = slm_sequence_new(&r->work, node->n_items);
    for (uint32_t i = 0; i < node->n_items && !r->work.code; i++)
        slm_sequence_add(&r->work, s, slm_template_evaluate(r, node->items[i]));
    return value_sequence(node->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, s);
}

/* {a: b}; a key that stands twice keeps its place and takes the later value. */
static struct value evaluate_dict(struct render *r, const struct node *node)
{
    struct dict *d = slm_dict_new(&r->work);
    for (uint32_t i = 0; i + 1 < node->n_items && !r->work.code; i += 2) {
        struct value key = slm_template_evaluate(r, node->items[i]);
        slm_dict_set(&r->work, d, key, slm_template_evaluate(r, node->items[i + 1]));
    }
    return value_dict(d);
}

/* ------------------------------------------------------------------------ members and items --- */

/* x.upper without call: a value that remembers x. */
static struct value bound_method(struct render *r, const struct builtin *builtin, struct value self)
{
    struct method *method = slm_work_take(&r->work, 1, sizeof *method);
    if (!method)
        return value_of_type(VALUE_UNDEFINED);
    *method = (struct method){builtin, self};
    struct value v = value_of_type(VALUE_METHOD);
    v.method = method;
    return v;
}

/* The numbers of a loop, made when asked for; ABSENT when it has no such member. */
static struct value loop_member(const struct loop *loop, struct value name)
{
    int64_t n = loop->items->n, i = loop->index;
    bool next = slm_value_is_text(name, "nextitem");
    if (next || slm_value_is_text(name, "previtem")) {
        i += next ? 1 : -1;
        return i >= 0 && i < n
                   ? loop->items->items[i]
                   : value_reason("there is no item before the first or after the last");
    }
    const struct {
        const char *name;
        struct value value;
    } members[] = {
        {"index", value_integer(i + 1)},    {"index0", value_integer(i)},
        {"revindex", value_integer(n - i)}, {"revindex0", value_integer(n - i - 1)},
        {"first", value_boolean(i == 0)},   {"last", value_boolean(i + 1 == n)},
        {"length", value_integer(n)},       {"depth", value_integer(1)},
        {"depth0", value_integer(0)},
    };
    for (size_t k = 0; k < sizeof members / sizeof *members; k++)
        if (slm_value_is_text(name, members[k].name))
            return members[k].value;
    return value_of_type(VALUE_ABSENT);
}

static struct value no_member(enum missing why, struct value object, struct value name)
{
    struct value v = value_missing(why, name.text, name.length);
    v.detail |= (uint8_t)(object.type << MISSING_BITS);
    return v;
}

/* Members that are no keys: methods, a loop's numbers, a namespace's variables. Undefined when
 * there is none, with MISSING_FORBIDDEN for methods that would change something. */
static struct value member(struct render *r, struct value object, struct value name)
{
    const struct builtin *builtin = NULL;
    if (is_string(object)) {
        builtin = slm_template_string_method(name);
    } else if (object.type == VALUE_NAMESPACE) {
        const struct value *v = slm_dict_get(&r->work, object.dict, name);
        if (v)
            return *v;
    } else {
        builtin = slm_template_object_method(object, name);
        if (builtin && !builtin->call)
            return no_member(MISSING_FORBIDDEN, object, name);
    }
    if (builtin)
        return bound_method(r, builtin, object);
    if (object.type == VALUE_LOOP) {
        struct value v = loop_member(object.loop, name);
        if (!is_absent(v))
            return v;
    }
    if (object.type == VALUE_CYCLER && slm_value_is_text(name, "current"))
        return object.cycler->items->items[object.cycler->position];
    if (object.type == VALUE_MACRO && slm_value_is_text(name, "name"))
        return object.macro->node->value;
    return no_member(MISSING_MEMBER, object, name);
}

/* x.name: members come before keys, so {"items": 1}.items is the method. */
struct value slm_template_attribute(struct render *r, struct value object, struct value name)
{
    if (is_undefined(object))
        return slm_work_fail_undefined(&r->work, object);
    struct value v = member(r, object, name);
    bool missing = is_undefined(v) && (v.detail & ((1 << MISSING_BITS) - 1)) == MISSING_MEMBER;
    if (missing && object.type == VALUE_DICT) {
        const struct value *found = slm_dict_get(&r->work, object.dict, name);
        if (found)
            return *found;
    }
    return v;
}

/* The element of a list or the character of a string; undefined when there is none. */
static struct value element(struct value object, int64_t i)
{
    struct value nothing = value_reason("there is no element with that number");
    if (is_string(object)) {
        int64_t n = (int64_t)slm_text_characters(object.text, object.length);
        i += i < 0 ? n : 0;
        if (i < 0 || i >= n)
            return nothing;
        size_t from = slm_text_offset(object.text, object.length, (size_t)i);
        return value_part(object, from,
                          slm_text_offset(object.text + from, object.length - from, 1));
    }
    int64_t n = object.sequence ? object.sequence->n : 0;
    i += i < 0 ? n : 0;
    return i < 0 || i >= n ? nothing : object.sequence->items[i];
}

/* x[key]: keys come before members. What is not there is undefined, also in none[0]. */
struct value slm_template_item(struct render *r, struct value object, struct value key)
{
    int64_t i;
    if (is_undefined(object))
        return slm_work_fail_undefined(&r->work, object);
    if (object.type == VALUE_DICT && key.type != VALUE_LIST && key.type != VALUE_DICT) {
        const struct value *found = slm_dict_get(&r->work, object.dict, key);
        if (found)
            return *found;
    }
    bool numbered = is_string(object) || (object.type >= VALUE_LIST && object.type <= VALUE_RANGE);
    if (numbered && slm_value_as_integer(key, &i)) {
        slm_work_spend_slowly(&r->work, is_string(object) ? object.length : 0);
        return element(object, i);
    }
    if (is_string(key))
        return member(r, object, key);
    return value_reason("the object has no such element");
}

static struct value evaluate_attribute(struct render *r, const struct node *node)
{
    struct value object = slm_template_evaluate(r, node->a);
    back_at(r, node);
    return slm_template_attribute(r, object, node->value);
}

static struct value evaluate_subscript(struct render *r, const struct node *node)
{
    struct value object = slm_template_evaluate(r, node->a);
    struct value key = slm_template_evaluate(r, node->b);
    back_at(r, node);
    return slm_template_item(r, object, key);
}

/* One bound of a slice; false when it is left out or none. */
static bool slice_bound(struct render *r, const struct node *node, int64_t *out)
{
    struct value v = node ? slm_template_evaluate(r, node) : value_none();
    if (v.type == VALUE_NONE)
        return false;
    if (!slm_value_as_integer(v, out))
        slm_work_fail(&r->work, SLM_EINVAL, "the bounds of a slice are integers, not '%s'",
                      slm_value_type_name(v));
    return r->work.code == 0;
}

static int64_t clamp(int64_t i, int64_t low, int64_t high)
{
    return i < low ? low : i > high ? high : i;
}

static struct value slice_text(struct render *r, struct value s, int64_t start, int64_t stop,
                               int64_t step)
{
    if (step == 1) {
        size_t from = slm_text_offset(s.text, s.length, (size_t)start);
        size_t n = stop > start
                       ? slm_text_offset(s.text + from, s.length - from, (size_t)(stop - start))
                       : 0;
        return value_part(s, from, n);
    }
    struct builder out = {.w = &r->work};
    const struct sequence *characters = slm_value_elements(&r->work, s);
    for (int64_t i = start; characters && (step > 0 ? i < stop : i > stop); i += step)
        slm_builder_value(&out, characters->items[i]);
    return slm_builder_string(&out);
}

static struct value evaluate_slice(struct render *r, const struct node *node)
{
    struct value object = slm_template_evaluate(r, node->a);
    int64_t start = 0, stop = 0, step = 1, n;
    bool has_start = slice_bound(r, node->items[0], &start);
    bool has_stop = slice_bound(r, node->items[1], &stop);
    if (!slice_bound(r, node->items[2], &step))
        step = 1;
    back_at(r, node);
    if (is_undefined(object))
        return slm_work_fail_undefined(&r->work, object);
    bool numbered = object.type >= VALUE_LIST && object.type <= VALUE_RANGE;
    if ((!is_string(object) && !numbered) || step == 0)
        return slm_work_fail(&r->work, SLM_EINVAL,
                             step == 0 ? "a slice can't have a step of 0" : "'%s' can't be sliced",
                             slm_value_type_name(object));
    if (is_string(object))
        n = (int64_t)slm_text_characters(object.text, object.length);
    else
        n = object.sequence ? object.sequence->n : 0;
    if (step > n + 1 || step < -n - 1) /* one step goes past the end: any larger one is the same */
        step = step > 0 ? n + 1 : -n - 1;
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    start = has_start ? clamp(start < 0 ? start + n : start, low, high) : step > 0 ? low : high;
    stop = has_stop ? clamp(stop < 0 ? stop + n : stop, low, high) : step > 0 ? high : low;
    if (!slm_work_spend_slowly(&r->work, is_string(object) ? object.length : 0))
        return value_of_type(VALUE_UNDEFINED);
    if (is_string(object))
        return slice_text(r, object, start, stop, step);
    struct sequence *out = slm_sequence_new(&r->work, 4);
    for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step)
        slm_sequence_add(&r->work, out, object.sequence->items[i]);
    return value_sequence((enum value_type)object.type, out);
}

/* One part of a path: digits are a position. */
static struct value path_key(struct value part)
{
    int64_t number = 0;
    bool digits = part.length > 0 && part.length < 10;
    for (size_t i = 0; i < part.length && digits; i++) {
        digits = part.text[i] >= '0' && part.text[i] <= '9';
        number = number * 10 + (part.text[i] - '0');
    }
    return digits ? value_integer(number) : part;
}

struct value slm_template_path(struct render *r, struct value object, struct value path,
                               struct value otherwise)
{
    for (size_t begin = 0, end; !r->work.code; begin = end + 1) {
        const char *dot = NULL;
        if (is_string(path))
            dot = memchr(path.text + begin, '.', path.length - begin);
        end = dot ? (size_t)(dot - path.text) : path.length;
        struct value key = is_string(path) ? path_key(value_part(path, begin, end - begin)) : path;
        object = slm_template_item(r, object, key);
        if (is_undefined(object) && otherwise.type != VALUE_NONE)
            object = otherwise;
        if (!dot)
            break;
    }
    return object;
}

/* ----------------------------------------------------------------------------------- calls --- */

static struct value evaluate_call(struct render *r, const struct node *node)
{
    struct value callee = slm_template_evaluate(r, node->a);
    struct arguments args = slm_template_arguments(r, node);
    back_at(r, node);
    return slm_template_call(r, callee, &args);
}

/* In a tentative place (see the parser) an unknown filter is an error only here. */
static struct value evaluate_filter(struct render *r, const struct node *node)
{
    struct value self = node->a ? slm_template_evaluate(r, node->a) : r->filtered;
    struct arguments args = slm_template_arguments(r, node);
    back_at(r, node);
    if (!node->builtin)
        return slm_work_fail(&r->work, SLM_EINVAL, "there is no filter '%.*s'",
                             (int)node->value.length, node->value.text);
    return slm_template_call_builtin(r, node->builtin, self, &args);
}

static struct value evaluate_test(struct render *r, const struct node *node)
{
    struct value self = slm_template_evaluate(r, node->a);
    struct arguments args = slm_template_arguments(r, node);
    back_at(r, node);
    if (!node->builtin)
        return slm_work_fail(&r->work, SLM_EINVAL, "there is no test '%.*s'",
                             (int)node->value.length, node->value.text);
    return slm_template_call_builtin(r, node->builtin, self, &args);
}

/* ------------------------------------------------------------------------------------- all --- */

static struct value (*const evaluators[NODE_KINDS])(struct render *, const struct node *) = {
    [NODE_CONSTANT] = evaluate_constant,
    [NODE_NAME] = evaluate_name,
    [NODE_TUPLE] = evaluate_sequence,
    [NODE_LIST] = evaluate_sequence,
    [NODE_DICT] = evaluate_dict,
    [NODE_NOT] = evaluate_not,
    [NODE_NEGATIVE] = evaluate_sign,
    [NODE_POSITIVE] = evaluate_sign,
    [NODE_AND] = evaluate_and,
    [NODE_OR] = evaluate_or,
    [NODE_ARITHMETIC] = evaluate_arithmetic,
    [NODE_COMPARE] = evaluate_compare,
    [NODE_CONCAT] = evaluate_concat,
    [NODE_CONDITIONAL] = evaluate_conditional,
    [NODE_ATTRIBUTE] = evaluate_attribute,
    [NODE_SUBSCRIPT] = evaluate_subscript,
    [NODE_SLICE] = evaluate_slice,
    [NODE_CALL] = evaluate_call,
    [NODE_FILTER] = evaluate_filter,
    [NODE_TEST] = evaluate_test,
    [NODE_CALL_BLOCK] = slm_template_call_block,
};

struct value slm_template_evaluate(struct render *r, const struct node *node)
{
    if (!slm_work_spend(&r->work, 0))
        return value_of_type(VALUE_UNDEFINED);
    r->work.position = node->position;
    if (!slm_template_enter(r))
        return value_of_type(VALUE_UNDEFINED);
    struct value v = evaluators[node->kind](r, node);
    r->depth--;
    return v;
}
