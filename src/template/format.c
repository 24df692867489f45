/*
 * format.c - the two format languages of Python strings, "%s: %d" % values and
 * "{name}: {0:>5}".format(values), and strftime.
 *
 * All of it is done here and not by printf, so that no locale matters and marks of data survive.
 * Left out, with an error: nested fields in a format specification, and types that templates have
 * no use for (complex, %a).
 */
#include "base/number.h"
#include "base/utf8.h"
#include "template/run.h"
#include "template/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What both languages boil down to. */
struct field {
    char fill[4]; /* one character */
    size_t fill_length;
    char align;     /* '<' '>' '^', '=' (after the sign), 0: by type */
    char sign;      /* '-' only negative, '+', ' ' */
    bool alternate; /* '#': 0x... */
    char group;     /* ',' or '_' between thousands, 0: none */
    int width;      /* characters */
    int precision;  /* -1: none */
    char type;      /* 0: by value */
};

enum { MAX_WIDTH = 10000, MAX_PRECISION = 100, NUMBER_TEXT = 512 };

/* The filling character, n times. */
static void add_fill(struct builder *out, const struct field *f, int n)
{
    for (int i = 0; i < n && !out->w->code; i++)
        slm_builder_add(out, f->fill, f->fill_length, NULL);
}

/* A text in its width; `sign` characters at its beginning stay left of the filling under '='. */
static void add_padded(struct builder *out, const struct field *f, struct value text, char align,
                       size_t sign)
{
    int missing = f->width - (int)slm_value_characters(out->w, text);
    if (missing < 0)
        missing = 0;
    int before = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    add_fill(out, f, before);
    if (align == '=') {
        slm_builder_value(out, value_part(text, 0, sign));
        add_fill(out, f, missing);
        slm_builder_value(out, value_part(text, sign, text.length - sign));
    } else {
        slm_builder_value(out, text);
        add_fill(out, f, missing - before);
    }
}

/* The precision of a string is its greatest length. */
static void add_string(struct builder *out, const struct field *f, struct value text)
{
    if (f->precision >= 0)
        text = value_part(text, 0, slm_text_offset(text.text, text.length, (size_t)f->precision));
    add_padded(out, f, text, f->align ? f->align : '<', 0);
}

/* Digits with sign, prefix and groups, padded. */
static void add_number(struct builder *out, const struct field *f, bool negative,
                       const char *prefix, const char *digits)
{
    char text[2 * NUMBER_TEXT];
    size_t n = 0;
    if (negative || f->sign != '-')
        text[n++] = negative ? '-' : f->sign;
    for (; *prefix; prefix++)
        text[n++] = *prefix;
    size_t sign = n, whole = strspn(digits, "0123456789");
    for (size_t i = 0; digits[i] && n < sizeof text - 2; i++) {
        if (f->group && i > 0 && i < whole && (whole - i) % 3 == 0)
            text[n++] = f->group;
        text[n++] = digits[i];
    }
    add_padded(out, f, value_text(text, n), f->align ? f->align : '>', sign);
}

/* Without type and precision, as str() has it. */
static void add_float(struct builder *out, const struct field *f, double d)
{
    char digits[NUMBER_TEXT], type = f->type ? f->type : 'g';
    int precision = f->precision >= 0 ? f->precision : 6;
    bool percent = type == '%';
    if (percent) {
        d *= 100;
        type = 'f';
    }
    bool upper = type == 'F' || type == 'E' || type == 'G';
    if (!f->type && f->precision < 0) { /* as str() has it */
        struct builder text = {.w = out->w};
        slm_write_float(&text, fabs(d));
        struct value s = slm_builder_string(&text);
        snprintf(digits, sizeof digits, "%.*s", (int)s.length, s.text);
    } else if (slm_number_format(digits, sizeof digits - 1, type, precision, fabs(d)) >=
               sizeof digits - 1) {
        slm_work_fail(out->w, SLM_ELIMIT, "a formatted number is too long");
        return;
    }
    if (isnan(d) || isinf(d))
        snprintf(digits, sizeof digits, "%s",
                 isnan(d) ? upper ? "NAN" : "nan"
                 : upper  ? "INF"
                          : "inf");
    if (percent)
        strcat(digits, "%");
    add_number(out, f, signbit(d) && !isnan(d), "", digits);
}

static void add_integer(struct builder *out, const struct field *f, int64_t i)
{
    char digits[72];
    size_t n = sizeof digits - 1;
    unsigned base = f->type == 'x' || f->type == 'X' ? 16
                    : f->type == 'o'                 ? 8
                    : f->type == 'b'                 ? 2
                                                     : 10;
    uint64_t magnitude = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    digits[n] = '\0';
    do {
        digits[--n] = (f->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[magnitude % base];
        magnitude /= base;
    } while (magnitude);
    char prefix[3] = {'0', f->type, '\0'};
    add_number(out, f, i < 0, f->alternate && base != 10 ? prefix : "", digits + n);
}

/* Read a decimal number of a specification; -1 when there is none. */
static int read_count(const char **p, const char *end, int limit)
{
    int n = -1;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
        if ((n = (n < 0 ? 0 : n) * 10 + (**p - '0')) > limit)
            n = limit;
    return n;
}

/* ------------------------------------------------------------------------------- "%" --- */

struct percent {
    struct workspace *w;
    struct value values;
    uint32_t next; /* of a tuple, or of the one value */
};

/* A tuple gives its elements in turn; anything else is the one value. */
static struct value next_value(struct percent *p)
{
    bool tuple = p->values.type == VALUE_TUPLE;
    uint32_t n = tuple ? p->values.sequence->n : 1;
    if (p->next >= n)
        return slm_work_fail(p->w, SLM_EINVAL, "a format string wants more values than there are");
    return tuple ? p->values.sequence->items[p->next++] : (p->next++, p->values);
}

/* The flags, width and precision after "%". */
static const char *read_percent_field(struct percent *p, struct field *f, const char *s,
                                      const char *end)
{
    *f = (struct field){.fill = " ", .fill_length = 1, .align = '>', .sign = '-', .precision = -1};
    for (; s < end && strchr("-+ #0", *s) && *s; s++) {
        if (*s == '-')
            f->align = '<';
        else if (*s == '#')
            f->alternate = true;
        else if (*s != '0')
            f->sign = *s;
        else if (f->align != '<')
            f->fill[0] = '0', f->align = '=';
    }
    int64_t star;
    if (s < end && *s == '*' && slm_value_as_integer(next_value(p), &star)) {
        f->width = star < 0 ? 0 : star > MAX_WIDTH ? MAX_WIDTH : (int)star;
        s++;
    } else {
        int width = read_count(&s, end, MAX_WIDTH);
        f->width = width < 0 ? 0 : width;
    }
    if (s < end && *s == '.') {
        s++;
        int precision = read_count(&s, end, MAX_PRECISION);
        f->precision = precision < 0 ? 0 : precision;
    }
    while (s < end && (*s == 'h' || *s == 'l' || *s == 'L'))
        s++;
    return s;
}

/* %d cuts floats; %s takes anything. */
static void add_percent_value(struct builder *out, struct field *f, struct value v)
{
    int64_t i;
    double d;
    if (f->align == '=' && strchr("sr", f->type))
        f->align = '>', f->fill[0] = ' ';
    if (f->type == 's' || f->type == 'r') {
        struct builder text = {.w = out->w};
        if (f->type == 's')
            slm_write_value(&text, v);
        else
            slm_write_repr(&text, v);
        add_string(out, f, slm_builder_string(&text));
    } else if (strchr("dixXo", f->type) && slm_value_as_integer(v, &i)) {
        f->type = f->type == 'i' ? 'd' : f->type;
        add_integer(out, f, i);
    } else if (strchr("di", f->type) && v.type == VALUE_FLOAT && fabs(v.number) < 9e18) {
        f->type = 'd';
        add_integer(out, f, (int64_t)v.number);
    } else if (strchr("fFeEgG", f->type) && slm_value_as_float(v, &d)) {
        add_float(out, f, d);
    } else {
        slm_work_fail(out->w, SLM_EINVAL, "the format %%%c does not fit a value of type '%s'",
                      f->type, slm_value_type_name(v));
    }
}

struct value slm_format_percent(struct workspace *w, struct value format, struct value values)
{
    struct percent p = {.w = w, .values = values};
    struct builder out = {.w = w};
    const char *s = format.text, *end = s + format.length;
    while (s < end && !w->code) {
        const char *percent = memchr(s, '%', (size_t)(end - s));
        size_t plain = (size_t)((percent ? percent : end) - s);
        slm_builder_value(&out, value_part(format, (size_t)(s - format.text), plain));
        if (!percent)
            break;
        s = percent + 1;
        struct value v = value_of_type(VALUE_ABSENT);
        const char *name_end;
        if (s < end && *s == '(' && (name_end = memchr(s, ')', (size_t)(end - s))) != NULL) {
            const struct value *member =
                values.type == VALUE_DICT
                    ? slm_dict_get(w, values.dict, value_text(s + 1, (size_t)(name_end - s - 1)))
                    : NULL;
            if (!member)
                return slm_work_fail(w, SLM_EINVAL,
                                     "a format string names a value that is missing");
            v = *member;
            p.next = 1;
            s = name_end + 1;
        }
        struct field f;
        s = read_percent_field(&p, &f, s, end);
        if (s >= end)
            return slm_work_fail(w, SLM_EINVAL, "a format string ends inside a field");
        f.type = *s++;
        if (f.type == '%') {
            slm_builder_text(&out, "%");
        } else if (!strchr("srdixXofFeEgG", f.type)) {
            return slm_work_fail(w, SLM_EINVAL, "the format %%%c is not supported", f.type);
        } else {
            if (is_absent(v))
                v = next_value(&p);
            add_percent_value(&out, &f, v);
        }
    }
    /* What could be looked up by key need not be used: Python asks only that. */
    bool lookup = values.type == VALUE_DICT || values.type == VALUE_LIST ||
                  values.type == VALUE_RANGE || values.type == VALUE_UNDEFINED;
    uint32_t n = values.type == VALUE_TUPLE ? values.sequence->n : 1;
    if (p.next < n && !lookup)
        return slm_work_fail(w, SLM_EINVAL, "a format string has no place for all its values");
    return slm_builder_string(&out);
}

/* ------------------------------------------------------------------------------- "{}" --- */

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static bool read_spec(struct workspace *w, struct field *f, const char *s, const char *end)
{
    uint32_t c;
    *f = (struct field){.fill = " ", .fill_length = 1, .sign = '-', .precision = -1};
    size_t n = s < end ? slm_utf8_decode(s, (size_t)(end - s), &c) : 0;
    if (n && s + n < end && strchr("<>=^", s[n]) && s[n]) {
        memcpy(f->fill, s, n);
        f->fill_length = n;
        f->align = s[n];
        s += n + 1;
    } else if (s < end && strchr("<>=^", *s) && *s) {
        f->align = *s++;
    }
    if (s < end && (*s == '+' || *s == '-' || *s == ' '))
        f->sign = *s++;
    if (s < end && *s == '#') {
        f->alternate = true;
        s++;
    }
    if (s < end && *s == '0') {
        if (!f->align) {
            f->align = '=';
            f->fill[0] = '0';
        }
        s++;
    }
    int width = read_count(&s, end, MAX_WIDTH);
    f->width = width < 0 ? 0 : width;
    if (s < end && (*s == ',' || *s == '_'))
        f->group = *s++;
    if (s < end && *s == '.') {
        s++;
        f->precision = read_count(&s, end, MAX_PRECISION);
    }
    if (s < end)
        f->type = *s++;
    if (s < end || (f->type && !strchr("sdxXobfFeEgG%", f->type)))
        slm_work_fail(w, SLM_EINVAL, "a format specification is not supported");
    return w->code == 0;
}

/* Without type, a number is written as a number and everything else as a string. */
static void add_braces_value(struct builder *out, struct field *f, struct value v)
{
    int64_t i;
    double d;
    bool number = v.type == VALUE_INTEGER || v.type == VALUE_FLOAT ||
                  (v.type == VALUE_BOOLEAN && f->type && f->type != 's');
    if (number && slm_value_as_integer(v, &i) && (!f->type || strchr("dxXob", f->type)))
        add_integer(out, f, i);
    else if (number && slm_value_as_float(v, &d) && (!f->type || strchr("fFeEgG%", f->type)))
        add_float(out, f, d);
    else if (!number && (!f->type || f->type == 's') && f->align != '=')
        add_string(out, f, slm_value_to_string(out->w, v));
    else
        slm_work_fail(out->w, SLM_EINVAL, "the format '%c' does not fit a value of type '%s'",
                      f->type ? f->type : ' ', slm_value_type_name(v));
}

static struct value named_argument(struct render *r, const struct arguments *args,
                                   struct value name)
{
    for (uint32_t i = 0; i < args->n_named; i++)
        if (slm_value_equal(&r->work, args->names[i], name))
            return args->named[i];
    return slm_work_fail(&r->work, SLM_EINVAL, "format() names '%.*s', which was not passed",
                         (int)name.length, name.text);
}

/* How the fields of a format got their positions: Python does not allow both ways in one. */
struct numbering {
    uint32_t automatic; /* fields without a name so far */
    bool manual;
};

/* The value that a field's name means: position or name, then .member or [key] any number of
 * times. */
static struct value field_value(struct render *r, const struct arguments *args, const char *s,
                                const char *end, struct numbering *numbering)
{
    const char *p = s;
    while (p < end && *p != '.' && *p != '[')
        p++;
    const char *digits = s;
    int position = read_count(&digits, p, 1000000);
    struct value v;
    bool named = s != end && (position < 0 || digits < p);
    if (s == end)
        position = (int)numbering->automatic++;
    else if (!named)
        numbering->manual = true;
    if (numbering->manual && numbering->automatic)
        return slm_work_fail(&r->work, SLM_EINVAL, "format() mixes numbered and other fields");
    if (named)
        v = named_argument(r, args, value_text(s, (size_t)(p - s)));
    else if ((uint32_t)position < args->n)
        v = args->values[position];
    else
        return slm_work_fail(&r->work, SLM_EINVAL, "format() has fewer values than fields");
    while (p < end && !r->work.code) {
        bool item = *p++ == '[';
        const char *part = p;
        while (p < end && (item ? *p != ']' : *p != '.' && *p != '['))
            p++;
        struct value key = value_text(part, (size_t)(p - part));
        const char *number = part;
        int index = read_count(&number, p, 1000000);
        if (!item)
            v = slm_template_attribute(r, v, key);
        else
            v = slm_template_item(r, v, index >= 0 && number == p ? value_integer(index) : key);
        p += item && p < end;
    }
    return v;
}

/* One field: [begin, end) is what stands between the braces. */
static void add_field(struct render *r, struct builder *out, const struct arguments *args,
                      const char *begin, const char *end, struct numbering *numbering)
{
    const char *spec = memchr(begin, ':', (size_t)(end - begin));
    const char *name_end = spec ? spec : end;
    char conversion = 's';
    bool converted = name_end - begin >= 2 && name_end[-2] == '!';
    if (converted) {
        conversion = name_end[-1];
        name_end -= 2;
    }
    struct value v = field_value(r, args, begin, name_end, numbering);
    if (converted) {
        struct builder text = {.w = out->w};
        if (conversion == 'r')
            slm_write_repr(&text, v);
        else
            slm_write_value(&text, v);
        v = slm_builder_string(&text);
    }
    struct field f;
    if (!spec || spec + 1 == end)
        slm_write_value(out, v);
    else if (read_spec(out->w, &f, spec + 1, end))
        add_braces_value(out, &f, v);
}

struct value slm_format_braces(struct render *r, struct value format, const struct arguments *args)
{
    struct workspace *w = &r->work;
    struct builder out = {.w = w};
    struct numbering numbering = {0};
    const char *s = format.text, *end = s + format.length;
    while (s < end && !w->code) {
        const char *p = s;
        while (p < end && *p != '{' && *p != '}')
            p++;
        slm_builder_value(&out, value_part(format, (size_t)(s - format.text), (size_t)(p - s)));
        if (p == end)
            break;
        if (p + 1 < end && p[1] == *p) { /* {{ or }} */
            slm_builder_value(&out, value_part(format, (size_t)(p - format.text), 1));
            s = p + 2;
            continue;
        }
        const char *close = *p == '{' ? memchr(p, '}', (size_t)(end - p)) : NULL;
        if (!close || memchr(p + 1, '{', (size_t)(close - p - 1)))
            return slm_work_fail(w, SLM_EINVAL,
                                 "a brace stands alone in a format string, or "
                                 "fields lie inside one another");
        add_field(r, &out, args, p + 1, close, &numbering);
        s = close + 1;
    }
    struct value v = slm_builder_string(&out);
    v.detail |= format.detail & STRING_MARKUP;
    return v;
}

/* ---------------------------------------------------------------------------- strftime --- */

static const char days[][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                "Thursday", "Friday", "Saturday"};
static const char months[][10] = {"January",   "February", "March",    "April",
                                  "May",       "June",     "July",     "August",
                                  "September", "October",  "November", "December"};

/* Flags of GNU strftime: '-' no filling, '_' blanks. */
static void add_time_number(struct builder *out, int value, int width, char flag)
{
    char text[16];
    snprintf(text, sizeof text,
             flag == '-'   ? "%d"
             : flag == '_' ? "%*d"
                           : "%0*d",
             flag == '-' ? value : width, value);
    slm_builder_text(out, text);
}

static void add_time(struct builder *out, const struct tm *t, char letter, char flag);

/* Several letters with one character between. */
static void add_time_fields(struct builder *out, const struct tm *t, const char *letters,
                            const char *between)
{
    for (size_t i = 0; letters[i]; i++) {
        if (i)
            slm_builder_add(out, between, 1, NULL);
        add_time(out, t, letters[i], 0);
    }
}

/* One letter after '%'. */
static void add_time(struct builder *out, const struct tm *t, char letter, char flag)
{
    const char *day = days[(unsigned)t->tm_wday % 7], *month = months[(unsigned)t->tm_mon % 12];
    int hour12 = t->tm_hour % 12 ? t->tm_hour % 12 : 12;
    switch (letter) {
    case 'a': slm_builder_add(out, day, 3, NULL); break;
    case 'A': slm_builder_text(out, day); break;
    case 'b':
    case 'h': slm_builder_add(out, month, 3, NULL); break;
    case 'B': slm_builder_text(out, month); break;
    case 'd': add_time_number(out, t->tm_mday, 2, flag); break;
    case 'e': add_time_number(out, t->tm_mday, 2, flag ? flag : '_'); break;
    case 'H': add_time_number(out, t->tm_hour, 2, flag); break;
    case 'I': add_time_number(out, hour12, 2, flag); break;
    case 'j': add_time_number(out, t->tm_yday + 1, 3, flag); break;
    case 'm': add_time_number(out, t->tm_mon + 1, 2, flag); break;
    case 'M': add_time_number(out, t->tm_min, 2, flag); break;
    case 'S': add_time_number(out, t->tm_sec, 2, flag); break;
    case 'f': slm_builder_text(out, "000000"); break;
    case 'p': slm_builder_text(out, t->tm_hour < 12 ? "AM" : "PM"); break;
    case 'u': add_time_number(out, t->tm_wday ? t->tm_wday : 7, 1, flag); break;
    case 'w': add_time_number(out, t->tm_wday, 1, flag); break;
    case 'y': add_time_number(out, t->tm_year % 100, 2, flag); break;
    case 'Y': add_time_number(out, t->tm_year + 1900, 4, flag); break;
    case 'D':
    case 'x': add_time_fields(out, t, "mdy", "/"); break;
    case 'F': add_time_fields(out, t, "Ymd", "-"); break;
    case 'T':
    case 'X': add_time_fields(out, t, "HMS", ":"); break;
    case 'R': add_time_fields(out, t, "HM", ":"); break;
    case 'c':
        add_time_fields(out, t, "abeX", " ");
        slm_builder_text(out, " ");
        add_time(out, t, 'Y', 0);
        break;
    case 'n': slm_builder_text(out, "\n"); break;
    case 't': slm_builder_text(out, "\t"); break;
    case 'z':
    case 'Z': break; /* the time has no zone */
    case '%': slm_builder_text(out, "%"); break;
    default: slm_work_fail(out->w, SLM_EINVAL, "strftime_now does not know %%%c", letter);
    }
}

struct value slm_format_time(struct workspace *w, struct value format, const struct tm *when)
{
    struct builder out = {.w = w};
    for (size_t i = 0; i < format.length && !w->code; i++) {
        if (format.text[i] != '%' || i + 1 == format.length) {
            slm_builder_value(&out, value_part(format, i, 1));
            continue;
        }
        char flag = format.text[i + 1];
        bool flagged = (flag == '-' || flag == '_' || flag == '0') && i + 2 < format.length;
        i += flagged ? 2 : 1;
        add_time(&out, when, format.text[i], flagged ? flag : 0);
    }
    return slm_builder_string(&out);
}
