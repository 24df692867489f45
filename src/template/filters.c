/*
 * filters.c - the filters of Jinja that templates of published models use, as far as they
 * make text or numbers; those of lists are in filters_list.c. tojson is transformers' own.
 */
#include "base/limits.h"
#include "base/number.h"
#include "base/utf8.h"
#include "template/run.h"
#include "template/text.h"

#include <math.h>
#include <string.h>

/* -------------------------------------------------------------------------------- helpers --- */

static struct value text_of(struct render *r, struct value v)
{
    return slm_value_to_string(&r->work, v);
}

/* ------------------------------------------------------------------------------------ text --- */

BUILTIN(filter_lower)
{
    return slm_string_lower(&r->work, text_of(r, self));
}

BUILTIN(filter_upper)
{
    return slm_string_upper(&r->work, text_of(r, self));
}

BUILTIN(filter_capitalize)
{
    return slm_string_capitalize(&r->work, text_of(r, self));
}

/* Words begin at the start and after white space, '-' and opening brackets. */
static bool separates_words(uint32_t c)
{
    return slm_char_is_space(c) || (c && c < 0x80 && strchr("-({[<", (int)c));
}

BUILTIN(filter_title)
{
    struct value s = text_of(r, self);
    struct builder out = {.w = &r->work};
    for (size_t i = 0, n, end; i < s.length && !r->work.code; i = end) {
        uint32_t c = 0;
        n = slm_utf8_decode(s.text + i, s.length - i, &c);
        slm_builder_mapped(&out, c, slm_char_upper, s.marks && s.marks[i]);
        end = i + n;
        if (separates_words(c))
            continue;
        size_t rest = end;
        while (end < s.length) {
            n = slm_utf8_decode(s.text + end, s.length - end, &c);
            if (separates_words(c))
                break;
            end += n;
        }
        slm_builder_value(&out, slm_string_lower(&r->work, value_part(s, rest, end - rest)));
    }
    return slm_builder_string(&out);
}

/* The argument is a set of characters, not a prefix. */
BUILTIN(filter_trim)
{
    struct value set = absent_to_none(args->values[0]);
    if (set.type != VALUE_NONE && !is_string(set))
        return slm_argument_fail(r, "trim", set);
    return slm_string_strip(&r->work, text_of(r, self), set, STRIP_LEFT | STRIP_RIGHT);
}

/* As in Jinja without escaping: all three become plain strings first, so marked-up text loses
 * that. */
BUILTIN(filter_replace)
{
    struct value s = text_of(r, self);
    s.detail &= ~STRING_MARKUP & 0xFF;
    return slm_string_replace(&r->work, s, text_of(r, args->values[0]), text_of(r, args->values[1]),
                              slm_argument_integer(r, args->values[2], -1));
}

BUILTIN(filter_string)
{
    return text_of(r, self);
}

/* Marking up changes nothing by itself; what is added to such a string later gets escaped. */
BUILTIN(filter_safe)
{
    struct value s = text_of(r, self);
    s.detail |= STRING_MARKUP;
    return s;
}

/* Once only: what is marked up stays as it is. */
BUILTIN(filter_escape)
{
    if (is_string(self) && (self.detail & STRING_MARKUP))
        return self;
    return slm_value_escape(&r->work, text_of(r, self));
}

BUILTIN(filter_forceescape)
{
    return slm_value_escape(&r->work, text_of(r, self));
}

/* All lines but the first, and none that is empty, unless told otherwise. */
BUILTIN(filter_indent)
{
    struct value width = args->values[0];
    bool first = slm_value_truth(args->values[1]), blank = slm_value_truth(args->values[2]);
    struct builder indent = {.w = &r->work}, out = {.w = &r->work};
    if (!is_string(self))
        return slm_argument_fail(r, "indent", self);
    int64_t spaces = is_string(width) ? 0 : slm_argument_integer(r, width, 4);
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

/* The method of strings, with Jinja's own default. */
BUILTIN(filter_center)
{
    struct value width[2] = {args->values[0], value_of_type(VALUE_ABSENT)};
    if (is_absent(width[0]))
        width[0] = value_integer(80);
    struct arguments more = {.n = 1, .values = width};
    const struct builtin *center = slm_template_string_method(value_text("center", 6));
    return slm_template_call_builtin(r, center, text_of(r, self), &more);
}

/* A text that is only `leeway` characters too long stays whole. */
BUILTIN(filter_truncate)
{
    int64_t length = slm_argument_integer(r, args->values[0], 255),
            leeway = slm_argument_integer(r, args->values[3], 5);
    struct value end = is_absent(args->values[2]) ? value_text("...", 3) : args->values[2];
    if (!is_string(end))
        return slm_argument_fail(r, "truncate", end);
    int64_t ending = (int64_t)slm_value_characters(&r->work, end);
    if (length < ending || leeway < 0)
        return slm_work_fail(&r->work, SLM_EINVAL, "truncate can't make a text that short");
    const struct arguments none = {0};
    const struct builtin *count = slm_template_list_filter(value_text("length", 6));
    if (count->call(r, self, &none).integer <= length + leeway) /* a short list, too */
        return self;
    if (!is_string(self))
        return slm_argument_fail(r, "truncate", self);
    size_t n = slm_text_offset(self.text, self.length, (size_t)(length - ending));
    if (!slm_value_truth(args->values[1])) { /* not in the middle of a word */
        size_t space = n;
        while (space > 0 && self.text[space - 1] != ' ')
            space--;
        n = space > 0 ? space - 1 : n;
    }
    return slm_value_concat(&r->work, value_part(self, 0, n), end);
}

/* Values by name become a dict for "%(name)s", others a tuple for "%s". */
BUILTIN(filter_format)
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
BUILTIN(filter_tojson)
{
    struct value indent = absent_to_none(args->values[1]),
                 separators = absent_to_none(args->values[2]);
    bool lines = indent.type != VALUE_NONE;
    struct json_style style = {
        .item_separator = lines ? value_text(",", 1) : value_text(", ", 2),
        .key_separator = value_text(": ", 2),
        .ascii = slm_value_truth(args->values[0]),
        .sort = slm_value_truth(args->values[3]),
    };
    if (is_sequence(separators) && separators.sequence && separators.sequence->n == 2) {
        style.item_separator = text_of(r, separators.sequence->items[0]);
        style.key_separator = text_of(r, separators.sequence->items[1]);
    }
    struct builder spaces = {.w = &r->work}, out = {.w = &r->work};
    if (lines) {
        int64_t n = is_string(indent) ? 0 : slm_argument_integer(r, indent, 0);
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
    size_t end = s.length - slm_text_trailing_space(s.text, s.length); /* may lie before begin */
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

/* The infinities and NaN, as float() spells them after the sign. */
static bool read_special(struct render *r, struct value s, bool negative, double *out)
{
    struct value word = slm_string_lower(&r->work, s);
    bool nan = slm_value_is_text(word, "nan");
    *out = nan ? NAN : negative ? -INFINITY : INFINITY;
    return nan || slm_value_is_text(word, "inf") || slm_value_is_text(word, "infinity");
}

/* float("...") as Python reads it. */
static bool read_float(struct render *r, struct value s, double *out)
{
    char text[512];
    size_t n = 0, i = 0;
    bool digits = false, digit_before = false, exponent = false, point = false;
    s = slm_string_strip(&r->work, s, value_none(), STRIP_LEFT | STRIP_RIGHT);
    size_t sign = s.length && (s.text[0] == '-' || s.text[0] == '+');
    if (s.length - sign <= 8 &&
        read_special(r, value_part(s, sign, s.length - sign), sign && s.text[0] == '-', out))
        return true;
    for (; i < s.length && n < sizeof text - 1; i++) {
        char c = s.text[i] == 'E' ? 'e' : s.text[i];
        bool digit = c >= '0' && c <= '9', between = digit_before && i + 1 < s.length &&
                                                     s.text[i + 1] >= '0' && s.text[i + 1] <= '9';
        if (c == '_' && between)
            continue;
        if (c == '.' && !point && !exponent)
            point = true;
        else if (c == 'e' && digits && !exponent)
            exponent = true, digits = false;
        else if (!digit && !((c == '-' || c == '+') && (i == 0 || text[n - 1] == 'e')))
            break;
        digits = digits || digit;
        digit_before = digit;
        text[n++] = c;
    }
    text[n] = '\0';
    return digits && i == s.length && slm_number_read(text, out, r->work.allocator);
}

/* A float cut to an integer; false when that does not fit. */
static bool cut(double d, int64_t *out)
{
    if (!(fabs(d) < 9.2e18))
        return false;
    *out = (int64_t)d;
    return true;
}

/* What can't be read is the default and no error; "42.7" is 42, and so is 42.7. */
BUILTIN(filter_int)
{
    slm_work_spend_slowly(&r->work, is_string(self) ? self.length : 0);
    struct value otherwise = is_absent(args->values[0]) ? value_integer(0) : args->values[0];
    int64_t base = slm_argument_integer(r, args->values[1], 10), i;
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

/* As filter_int; undefined is an error in both. */
BUILTIN(filter_float)
{
    slm_work_spend_slowly(&r->work, is_string(self) ? self.length : 0);
    double d;
    if (is_undefined(self))
        return slm_work_fail_undefined(&r->work, self);
    if (slm_value_as_float(self, &d) || (is_string(self) && read_float(r, self, &d)))
        return value_float(d);
    return is_absent(args->values[0]) ? value_float(0) : args->values[0];
}

/* The least integer has no positive partner in 64 bits. */
BUILTIN(filter_abs)
{
    int64_t i;
    if (self.type == VALUE_FLOAT)
        return value_float(fabs(self.number));
    if (!slm_value_as_integer(self, &i) || i == INT64_MIN)
        return slm_argument_fail(r, "abs", self);
    return value_integer(i < 0 ? -i : i);
}

/* To a number of decimals, halves to even as the exact decimal value decides. */
BUILTIN(filter_round)
{
    int64_t precision = slm_argument_integer(r, args->values[0], 0), i;
    struct value method = args->values[1];
    double d;
    if (!slm_value_as_float(self, &d))
        return slm_argument_fail(r, "round", self);
    if (!is_absent(method) && !slm_value_is_text(method, "common")) {
        double scale = pow(10, (double)precision);
        if (slm_value_is_text(method, "ceil"))
            return value_float(ceil(d * scale) / scale);
        if (slm_value_is_text(method, "floor"))
            return value_float(floor(d * scale) / scale);
        return slm_work_fail(&r->work, SLM_EINVAL, "round knows 'common', 'ceil' and 'floor'");
    }
    if (precision < 0 || precision > 300 || !isfinite(d))
        return precision > 300 || !isfinite(d) ? self : slm_argument_fail(r, "round below 0", self);
    if (slm_value_as_integer(self, &i))
        return value_integer(i);
    char text[700];
    slm_number_format(text, sizeof text, 'f', (int)precision, d);
    slm_number_read(text, &d, r->work.allocator);
    return value_float(d);
}

static const struct builtin filters[] = {
    {"abs", filter_abs, "", 0},
    {"capitalize", filter_capitalize, "", 0},
    {"center", filter_center, "width", 0},
    {"e", filter_escape, "", 0},
    {"escape", filter_escape, "", 0},
    {"float", filter_float, "default", 0},
    {"forceescape", filter_forceescape, "", 0},
    {"format", filter_format, NULL, 0},
    {"indent", filter_indent, "width first blank", 0},
    {"int", filter_int, "default base", 0},
    {"lower", filter_lower, "", 0},
    {"replace", filter_replace, "old new count", 2},
    {"round", filter_round, "precision method", 0},
    {"safe", filter_safe, "", 0},
    {"string", filter_string, "", 0},
    {"title", filter_title, "", 0},
    {"tojson", filter_tojson, "ensure_ascii indent separators sort_keys", 0},
    {"trim", filter_trim, "chars", 0},
    {"truncate", filter_truncate, "length killwords end leeway", 0},
    {"upper", filter_upper, "", 0},
};

const struct builtin *slm_template_filter(struct value name)
{
    const struct builtin *filter =
        slm_template_find(filters, sizeof filters / sizeof *filters, name);
    return filter ? filter : slm_template_list_filter(name);
}
