/*
 * template_filters.c - the filters of Jinja that templates of published models use; tojson is
 * transformers' own.
 *
 * What Jinja computes lazily is computed at once here, and remembers only that it can be walked a
 * single time (VALUE_GENERATOR).
 */
#include "base/limits.h"
#include "base/number.h"
#include "base/utf8.h"
#include "text/template_run.h"
#include "text/template_text.h"

#include <math.h>
#include <string.h>

/* -------------------------------------------------------------------------------- arguments --- */

static struct value or_none(struct value v)
{
    return is_absent(v) ? value_none() : v;
}

/* A boolean parameter; absent is false. */
static bool flag(struct value v)
{
    return slm_value_truth(v);
}

static struct value fail_type(struct render *r, const char *filter, struct value v)
{
    if (is_undefined(v))
        return slm_work_fail_undefined(&r->work, v);
    return slm_work_fail(&r->work, SLM_EINVAL, "%s does not work on '%s'", filter,
                         slm_value_type_name(v));
}

static int64_t integer_of(struct render *r, struct value v, int64_t otherwise)
{
    int64_t i = otherwise;
    if (!is_absent(v) && v.type != VALUE_NONE && !slm_value_as_integer(v, &i))
        slm_work_fail(&r->work, SLM_EINVAL, "an integer is needed here, not '%s'",
                      slm_value_type_name(v));
    return i;
}

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

static struct value filter_length(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    switch ((enum value_type)self.type) {
    case VALUE_UNDEFINED: return value_integer(0);
    case VALUE_STRING:
        slm_work_spend(&r->work, self.length);
        return value_integer((int64_t)slm_text_characters(self.text, self.length));
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_VIEW: return value_integer(self.sequence ? self.sequence->n : 0);
    case VALUE_DICT: return value_integer(self.dict ? self.dict->n : 0);
    case VALUE_LOOP: return value_integer(self.loop->items->n);
    default: return fail_type(r, "length", self);
    }
}

/* ------------------------------------------------------------------------------------ text --- */

static struct value filter_lower(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    return slm_string_lower(&r->work, text_of(r, self));
}

static struct value filter_upper(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    return slm_string_upper(&r->work, text_of(r, self));
}

static struct value filter_capitalize(struct render *r, struct value self,
                                      const struct arguments *args)
{
    (void)args;
    return slm_string_capitalize(&r->work, text_of(r, self));
}

/* Words begin at the start and after white space, '-' and opening brackets. */
static struct value filter_title(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    struct value s = text_of(r, self);
    struct builder out = {.w = &r->work};
    bool begin = true;
    for (size_t i = 0; i < s.length && !r->work.code;) {
        uint32_t c = 0;
        size_t n = slm_utf8_decode(s.text + i, s.length - i, &c);
        slm_builder_mapped(&out, c, begin ? slm_char_upper : slm_char_lower, s.marks && s.marks[i]);
        begin = slm_char_is_space(c) || (c < 0x80 && c && strchr("-({[<", (int)c));
        i += n ? n : 1;
    }
    return slm_builder_string(&out);
}

static struct value filter_trim(struct render *r, struct value self, const struct arguments *args)
{
    struct value set = or_none(args->values[0]);
    if (set.type != VALUE_NONE && !is_string(set))
        return fail_type(r, "trim", set);
    return slm_string_strip(&r->work, text_of(r, self), set, STRIP_LEFT | STRIP_RIGHT);
}

static struct value filter_replace(struct render *r, struct value self,
                                   const struct arguments *args)
{
    struct value s = text_of(r, self);
    s.detail &= ~STRING_MARKUP & 0xFF;
    return slm_string_replace(&r->work, s, text_of(r, args->values[0]), text_of(r, args->values[1]),
                              integer_of(r, args->values[2], -1));
}

static struct value filter_string(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    return text_of(r, self);
}

static struct value filter_safe(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    struct value s = text_of(r, self);
    s.detail |= STRING_MARKUP;
    return s;
}

static struct value filter_escape(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    if (is_string(self) && (self.detail & STRING_MARKUP))
        return self;
    return slm_value_escape(&r->work, text_of(r, self));
}

static struct value filter_forceescape(struct render *r, struct value self,
                                       const struct arguments *args)
{
    (void)args;
    return slm_value_escape(&r->work, text_of(r, self));
}

/* All lines but the first, and none that is empty, unless told otherwise. */
static struct value filter_indent(struct render *r, struct value self, const struct arguments *args)
{
    struct value width = args->values[0];
    bool first = flag(args->values[1]), blank = flag(args->values[2]);
    struct builder indent = {.w = &r->work}, out = {.w = &r->work};
    if (!is_string(self))
        return fail_type(r, "indent", self);
    int64_t spaces = is_string(width) ? 0 : integer_of(r, width, 4);
    for (int64_t i = 0; i < spaces && !r->work.code; i++)
        slm_builder_text(&indent, " ");
    struct value indentation = is_string(width) ? width : slm_builder_string(&indent);
    struct value text = slm_value_concat(&r->work, self, value_text("\n", 1));
    const struct sequence *lines = slm_string_lines(&r->work, text, false);
    if (first)
        slm_builder_value(&out, indentation);
    for (uint32_t i = 0; lines && i < lines->n && !r->work.code; i++) {
        if (i) {
            slm_builder_text(&out, "\n");
            if (blank || lines->items[i].length)
                slm_builder_value(&out, indentation);
        }
        slm_builder_value(&out, lines->items[i]);
    }
    return slm_builder_string(&out);
}

static struct value filter_center(struct render *r, struct value self, const struct arguments *args)
{
    struct value width[2] = {args->values[0], value_of_type(VALUE_ABSENT)};
    if (is_absent(width[0]))
        width[0] = value_integer(80);
    struct arguments more = {.n = 1, .values = width};
    const struct builtin *center = slm_template_string_method(value_text("center", 6));
    return slm_template_call_builtin(r, center, text_of(r, self), &more);
}

static struct value filter_truncate(struct render *r, struct value self,
                                    const struct arguments *args)
{
    int64_t length = integer_of(r, args->values[0], 255),
            leeway = integer_of(r, args->values[3], 5);
    struct value end = is_absent(args->values[2]) ? value_text("...", 3) : args->values[2];
    if (!is_string(end))
        return fail_type(r, "truncate", end);
    int64_t ending = (int64_t)slm_text_characters(end.text, end.length);
    if (length < ending || leeway < 0)
        return slm_work_fail(&r->work, SLM_EINVAL, "truncate can't make a text that short");
    if (filter_length(r, self, NULL).integer <= length + leeway) /* of lists, too */
        return self;
    if (!is_string(self))
        return fail_type(r, "truncate", self);
    size_t n = slm_text_offset(self.text, self.length, (size_t)(length - ending));
    if (!flag(args->values[1])) { /* not in the middle of a word */
        size_t space = n;
        while (space > 0 && self.text[space - 1] != ' ')
            space--;
        n = space > 0 ? space - 1 : n;
    }
    return slm_value_concat(&r->work, value_part(self, 0, n), end);
}

static struct value filter_format(struct render *r, struct value self, const struct arguments *args)
{
    struct value values;
    if (args->n_named) {
        values = value_dict(slm_dict_new(&r->work));
        for (uint32_t i = 0; i < args->n_named; i++)
            slm_dict_set(&r->work, values.dict, args->names[i], args->named[i]);
    } else {
        struct sequence *tuple = slm_sequence_new(&r->work, args->n);
        for (uint32_t i = 0; i < args->n; i++)
            slm_sequence_add(&r->work, tuple, args->values[i]);
        values = value_sequence(VALUE_TUPLE, tuple);
    }
    return r->work.code ? values : slm_format_percent(&r->work, text_of(r, self), values);
}

/* json.dumps(value, ensure_ascii=False, indent, separators, sort_keys) */
static struct value filter_tojson(struct render *r, struct value self, const struct arguments *args)
{
    struct value indent = or_none(args->values[1]), separators = or_none(args->values[2]);
    bool lines = indent.type != VALUE_NONE;
    struct json_style style = {
        .item_separator = lines ? value_text(",", 1) : value_text(", ", 2),
        .key_separator = value_text(": ", 2),
        .ascii = flag(args->values[0]),
        .sort = flag(args->values[3]),
    };
    if (is_sequence(separators) && separators.sequence && separators.sequence->n == 2) {
        style.item_separator = text_of(r, separators.sequence->items[0]);
        style.key_separator = text_of(r, separators.sequence->items[1]);
    }
    struct builder spaces = {.w = &r->work}, out = {.w = &r->work};
    if (lines) {
        int64_t n = is_string(indent) ? 0 : integer_of(r, indent, 0);
        for (int64_t i = 0; i < n && !r->work.code; i++)
            slm_builder_text(&spaces, " ");
        struct value s = is_string(indent) ? indent : slm_builder_string(&spaces);
        style.indent = s.text;
        style.n_indent = s.length;
    }
    slm_write_json(&out, self, &style);
    return slm_builder_string(&out);
}

/* --------------------------------------------------------------------------------- numbers --- */

/* int("...", base) as Python reads it. */
static bool read_integer(struct value s, int64_t base, int64_t *out)
{
    size_t begin = slm_text_leading_space(s.text, s.length);
    size_t end = s.length - slm_text_trailing_space(s.text, s.length);
    bool negative = begin < end && s.text[begin] == '-', digit_before = false;
    if (begin < end && (s.text[begin] == '-' || s.text[begin] == '+'))
        begin++;
    if (end > begin + 2 && s.text[begin] == '0') {
        char mark = s.text[begin + 1] | 0x20;
        int64_t marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
        if (marked && (base == marked || base == 0)) {
            base = marked;
            begin += 2;
        }
    }
    base = base == 0 ? 10 : base;
    int64_t value = 0; /* built below zero, where there is room for one more */
    for (size_t i = begin; i < end; i++) {
        char c = s.text[i];
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'z' ? (c | 0x20) - 'a' + 10
                                                             : 99;
        if (c == '_' && digit_before && i + 1 < end) {
            digit_before = false;
            continue;
        }
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return false;
        digit_before = true;
    }
    if (!digit_before || (!negative && __builtin_sub_overflow(0, value, &value)))
        return false;
    *out = value;
    return true;
}

/* float("...") */
static bool read_float(struct render *r, struct value s, double *out)
{
    char text[512];
    size_t n = 0, begin = slm_text_leading_space(s.text, s.length), i = begin;
    size_t end = s.length - slm_text_trailing_space(s.text, s.length);
    bool digits = false, digit_before = false, exponent = false, point = false;
    for (; i < end && n < sizeof text - 1; i++) {
        char c = s.text[i] >= 'A' && s.text[i] <= 'Z' ? (char)(s.text[i] | 0x20) : s.text[i];
        bool sign = (c == '-' || c == '+') && (i == begin || text[n - 1] == 'e');
        bool digit = c >= '0' && c <= '9';
        if (c == '_' && digit_before && i + 1 < end && s.text[i + 1] >= '0' && s.text[i + 1] <= '9')
            continue;
        if (c == '.' && !point && !exponent)
            point = true;
        else if (c == 'e' && digits && !exponent)
            exponent = true, digits = false;
        else if (!digit && !sign)
            break;
        digits = digits || digit;
        digit_before = digit;
        text[n++] = c;
    }
    text[n] = '\0';
    struct value rest = value_part(s, begin, end - begin);
    size_t sign = rest.length && (rest.text[0] == '-' || rest.text[0] == '+');
    struct value word = slm_string_lower(&r->work, value_part(rest, sign, rest.length - sign));
    if (slm_value_is_text(word, "inf") || slm_value_is_text(word, "infinity"))
        *out = rest.text[0] == '-' ? -INFINITY : INFINITY;
    else if (slm_value_is_text(word, "nan"))
        *out = NAN;
    else
        return digits && i == end && slm_number_read(text, out, r->work.allocator);
    return true;
}

/* A float cut to an integer; false when that does not fit. */
static bool cut(double d, int64_t *out)
{
    if (!(fabs(d) < 9.2e18))
        return false;
    *out = (int64_t)d;
    return true;
}

static struct value filter_int(struct render *r, struct value self, const struct arguments *args)
{
    struct value otherwise = is_absent(args->values[0]) ? value_integer(0) : args->values[0];
    int64_t base = integer_of(r, args->values[1], 10), i;
    double d;
    if (is_undefined(self))
        return slm_work_fail_undefined(&r->work, self);
    if (is_string(self) && read_integer(self, base, &i))
        return value_integer(i);
    if (is_string(self) && read_float(r, self, &d) && cut(d, &i))
        return value_integer(i);
    if (self.type == VALUE_BIG || slm_value_as_integer(self, &i))
        return self.type == VALUE_BIG ? self : value_integer(i);
    if (self.type == VALUE_FLOAT && cut(self.number, &i))
        return value_integer(i);
    return otherwise;
}

static struct value filter_float(struct render *r, struct value self, const struct arguments *args)
{
    double d;
    if (is_undefined(self))
        return slm_work_fail_undefined(&r->work, self);
    if (slm_value_as_float(self, &d) || (is_string(self) && read_float(r, self, &d)))
        return value_float(d);
    return is_absent(args->values[0]) ? value_float(0) : args->values[0];
}

static struct value filter_abs(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    int64_t i;
    if (self.type == VALUE_FLOAT)
        return value_float(fabs(self.number));
    if (!slm_value_as_integer(self, &i) || i == INT64_MIN)
        return fail_type(r, "abs", self);
    return value_integer(i < 0 ? -i : i);
}

/* To a number of decimals, halves to even as the exact decimal value decides. */
static struct value filter_round(struct render *r, struct value self, const struct arguments *args)
{
    int64_t precision = integer_of(r, args->values[0], 0), i;
    struct value method = args->values[1];
    double d;
    if (!slm_value_as_float(self, &d))
        return fail_type(r, "round", self);
    if (!is_absent(method) && !slm_value_is_text(method, "common")) {
        double scale = pow(10, (double)precision);
        if (slm_value_is_text(method, "ceil"))
            return value_float(ceil(d * scale) / scale);
        if (slm_value_is_text(method, "floor"))
            return value_float(floor(d * scale) / scale);
        return slm_work_fail(&r->work, SLM_EINVAL, "round knows 'common', 'ceil' and 'floor'");
    }
    if (precision < 0 || precision > 300 || !isfinite(d))
        return precision > 300 || !isfinite(d) ? self : fail_type(r, "round below 0", self);
    if (slm_value_as_integer(self, &i))
        return value_integer(i);
    char text[700];
    slm_number_format(text, sizeof text, 'f', (int)precision, d);
    slm_number_read(text, &d, r->work.allocator);
    return value_float(d);
}

/* ------------------------------------------------------------------------------- sequences --- */

static struct value filter_default(struct render *r, struct value self,
                                   const struct arguments *args)
{
    (void)r;
    bool missing = is_undefined(self) || (flag(args->values[1]) && !slm_value_truth(self));
    if (!missing)
        return self;
    return is_absent(args->values[0]) ? value_text("", 0) : args->values[0];
}

static struct value filter_first(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    struct value empty = value_reason("the first item of an empty sequence");
    if (self.type == VALUE_GENERATOR && self.sequence) /* take one, leave the rest */
        return self.sequence->next < self.sequence->n ? self.sequence->items[self.sequence->next++]
                                                      : empty;
    const struct sequence *items = slm_value_elements(&r->work, self);
    return items && items->n ? items->items[0] : empty;
}

static struct value filter_last(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    if (self.type == VALUE_GENERATOR)
        return fail_type(r, "last", self);
    const struct sequence *items = slm_value_elements(&r->work, self);
    return items && items->n ? items->items[items->n - 1]
                             : value_reason("the last item of an empty sequence");
}

static struct value filter_list(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
    return value_sequence(VALUE_LIST, slm_value_elements(&r->work, self));
}

static struct value filter_reverse(struct render *r, struct value self,
                                   const struct arguments *args)
{
    (void)args;
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

static struct value filter_join(struct render *r, struct value self, const struct arguments *args)
{
    struct value separator = text_of(r, args->values[0]), path = or_none(args->values[1]);
    const struct sequence *items = slm_value_elements(&r->work, self);
    struct builder out = {.w = &r->work};
    if (is_absent(args->values[0]))
        separator = value_text("", 0);
    for (uint32_t i = 0; items && i < items->n && !r->work.code; i++) {
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
        fail_type(r, filter, self);
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

static struct value filter_items(struct render *r, struct value self, const struct arguments *args)
{
    (void)args;
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

static struct value filter_dictsort(struct render *r, struct value self,
                                    const struct arguments *args)
{
    struct value by = args->values[1];
    bool by_value = slm_value_is_text(by, "value");
    if (!is_absent(by) && !by_value && !slm_value_is_text(by, "key"))
        return slm_work_fail(&r->work, SLM_EINVAL, "dictsort sorts by 'key' or by 'value'");
    const struct sequence *pairs = pairs_of(r, self, "dictsort");
    struct value *keys = slm_work_take(&r->work, pairs ? pairs->n : 0, sizeof *keys);
    for (uint32_t i = 0; keys && i < pairs->n; i++)
        keys[i] = folded(r, pairs->items[i].sequence->items[by_value], flag(args->values[0]));
    return sorted(r, pairs, keys, flag(args->values[2]));
}

/* The items of self, and what attribute= and case_sensitive= make of each. */
static struct value *keys_of(struct render *r, const struct sequence *items, struct value path,
                             bool case_sensitive)
{
    struct value *keys = slm_work_take(&r->work, items ? items->n : 0, sizeof *keys);
    path = or_none(path);
    for (uint32_t i = 0; keys && items && i < items->n && !r->work.code; i++) {
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

static struct value filter_sort(struct render *r, struct value self, const struct arguments *args)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    struct value *keys = sort_keys(r, items, args->values[2], flag(args->values[1]));
    return sorted(r, items, keys, flag(args->values[0]));
}

static struct value extreme(struct render *r, struct value self, const struct arguments *args,
                            int wanted)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    const struct value *keys = keys_of(r, items, args->values[1], flag(args->values[0]));
    if (!keys || !items || items->n == 0)
        return value_reason("the least or greatest of an empty sequence");
    uint32_t best = 0;
    for (uint32_t i = 1; i < items->n && !r->work.code; i++)
        if (slm_value_order(&r->work, keys[i], keys[best]) == wanted)
            best = i;
    return items->items[best];
}

static struct value filter_min(struct render *r, struct value self, const struct arguments *args)
{
    return extreme(r, self, args, -1);
}

static struct value filter_max(struct render *r, struct value self, const struct arguments *args)
{
    return extreme(r, self, args, 1);
}

static struct value filter_sum(struct render *r, struct value self, const struct arguments *args)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    struct value path = or_none(args->values[0]);
    struct value sum = is_absent(args->values[1]) ? value_integer(0) : args->values[1];
    for (uint32_t i = 0; items && i < items->n && !r->work.code; i++) {
        struct value v = items->items[i];
        sum = slm_template_add(
            r, sum, path.type == VALUE_NONE ? v : slm_template_path(r, v, path, value_none()));
    }
    return sum;
}

static struct value filter_unique(struct render *r, struct value self, const struct arguments *args)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    const struct value *keys = keys_of(r, items, args->values[1], flag(args->values[0]));
    struct sequence *out = slm_sequence_new(&r->work, 4);
    struct dict *seen = slm_dict_new(&r->work);
    for (uint32_t i = 0; keys && seen && i < items->n && !r->work.code; i++) {
        if (slm_dict_get(&r->work, seen, keys[i]))
            continue;
        slm_dict_set(&r->work, seen, keys[i], value_none());
        slm_sequence_add(&r->work, out, items->items[i]);
    }
    return generator(out);
}

static struct value filter_batch(struct render *r, struct value self, const struct arguments *args)
{
    const struct sequence *items = slm_value_elements(&r->work, self);
    struct value fill = or_none(args->values[1]);
    int64_t size = integer_of(r, args->values[0], 1);
    struct sequence *out = slm_sequence_new(&r->work, 4), *row = NULL;
    if (size < 1)
        return slm_work_fail(&r->work, SLM_EINVAL, "batch needs a size of 1 or more");
    for (uint32_t i = 0; items && i < items->n && !r->work.code; i++) {
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

static struct value filter_map(struct render *r, struct value self, const struct arguments *args)
{
    struct value path = named(args, "attribute"), otherwise = or_none(named(args, "default"));
    struct arguments rest = *args;
    struct sequence *out = slm_sequence_new(&r->work, 4);
    if (!slm_value_truth(self) || !out)
        return generator(out);
    bool by_path = args->n == 0 && !is_absent(path);
    const struct builtin *filter = by_path ? NULL : named_builtin(r, &rest, slm_template_filter);
    const struct sequence *items = slm_value_elements(&r->work, self);
    for (uint32_t i = 0; items && i < items->n && !r->work.code; i++) {
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
    for (uint32_t i = 0; items && i < items->n && !r->work.code; i++) {
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

static struct value filter_select(struct render *r, struct value self, const struct arguments *args)
{
    return choose(r, self, args, false, true);
}

static struct value filter_reject(struct render *r, struct value self, const struct arguments *args)
{
    return choose(r, self, args, false, false);
}

static struct value filter_selectattr(struct render *r, struct value self,
                                      const struct arguments *args)
{
    return choose(r, self, args, true, true);
}

static struct value filter_rejectattr(struct render *r, struct value self,
                                      const struct arguments *args)
{
    return choose(r, self, args, true, false);
}

static struct value filter_attr(struct render *r, struct value self, const struct arguments *args)
{
    struct value v = slm_template_attribute(r, self, text_of(r, args->values[0]));
    bool is_key = self.type == VALUE_DICT && v.type != VALUE_METHOD; /* members only, no keys */
    return is_key ? value_missing(MISSING_MEMBER, "attr", 4) : v;
}

static const struct builtin filters[] = {
    {"abs", filter_abs, "", 0},
    {"attr", filter_attr, "name", 1},
    {"batch", filter_batch, "linecount fill_with", 1},
    {"capitalize", filter_capitalize, "", 0},
    {"center", filter_center, "width", 0},
    {"count", filter_length, "", 0},
    {"d", filter_default, "default_value boolean", 0},
    {"default", filter_default, "default_value boolean", 0},
    {"dictsort", filter_dictsort, "case_sensitive by reverse", 0},
    {"e", filter_escape, "", 0},
    {"escape", filter_escape, "", 0},
    {"first", filter_first, "", 0},
    {"float", filter_float, "default", 0},
    {"forceescape", filter_forceescape, "", 0},
    {"format", filter_format, NULL, 0},
    {"indent", filter_indent, "width first blank", 0},
    {"int", filter_int, "default base", 0},
    {"items", filter_items, "", 0},
    {"join", filter_join, "d attribute", 0},
    {"last", filter_last, "", 0},
    {"length", filter_length, "", 0},
    {"list", filter_list, "", 0},
    {"lower", filter_lower, "", 0},
    {"map", filter_map, NULL, 0},
    {"max", filter_max, "case_sensitive attribute", 0},
    {"min", filter_min, "case_sensitive attribute", 0},
    {"reject", filter_reject, NULL, 0},
    {"rejectattr", filter_rejectattr, NULL, 0},
    {"replace", filter_replace, "old new count", 2},
    {"reverse", filter_reverse, "", 0},
    {"round", filter_round, "precision method", 0},
    {"safe", filter_safe, "", 0},
    {"select", filter_select, NULL, 0},
    {"selectattr", filter_selectattr, NULL, 0},
    {"sort", filter_sort, "reverse case_sensitive attribute", 0},
    {"string", filter_string, "", 0},
    {"sum", filter_sum, "attribute start", 0},
    {"title", filter_title, "", 0},
    {"tojson", filter_tojson, "ensure_ascii indent separators sort_keys", 0},
    {"trim", filter_trim, "chars", 0},
    {"truncate", filter_truncate, "length killwords end leeway", 0},
    {"unique", filter_unique, "case_sensitive attribute", 0},
    {"upper", filter_upper, "", 0},
};

const struct builtin *slm_template_filter(struct value name)
{
    return slm_template_find(filters, sizeof filters / sizeof *filters, name);
}
