/*
 * string.c - the methods of Python's str. Positions count characters (code points), and
 * marks of data go where their characters go.
 *
 * Left out, with an error when called: encode, translate and the like, which templates have no use
 * for, and questions about letters beyond ASCII.
 */
#include "base/utf8.h"
#include "template/run.h"
#include "template/text.h"

#include <string.h>

/* ------------------------------------------------------------------------------------ case --- */

void slm_builder_mapped(struct builder *out, uint32_t c, size_t (*map)(uint32_t, uint32_t[3]),
                        bool marked)
{
    uint32_t mapped[3];
    char utf8[4];
    size_t n = map(c, mapped);
    for (size_t i = 0; i < n; i++) {
        size_t length = slm_utf8_encode(mapped[i], utf8);
        if (marked)
            slm_builder_data(out, utf8, length);
        else
            slm_builder_add(out, utf8, length, NULL);
    }
}

/* Did the byte come from data? */
static bool marked_at(struct value s, size_t i)
{
    return s.marks && s.marks[i];
}

/* The character at byte i; *n its length. */
static uint32_t character_at(struct value s, size_t i, size_t *n)
{
    uint32_t c = 0;
    *n = slm_utf8_decode(s.text + i, s.length - i, &c);
    if (*n == 0)
        *n = 1;
    return c;
}

enum { CAPITAL_SIGMA = 0x3A3, FINAL_SIGMA = 0x3C2 };

static size_t final_sigma(uint32_t c, uint32_t out[3])
{
    (void)c;
    out[0] = FINAL_SIGMA;
    return 1;
}

/* Is the sigma at byte i the last letter of a word of more than one? */
static bool ends_word(struct value s, size_t i, size_t n)
{
    size_t before = i, length;
    while (before > 0 && (s.text[--before] & 0xC0) == 0x80)
        ;
    if (i == 0 || !slm_char_is_cased(character_at(s, before, &length)))
        return false;
    return i + n >= s.length || !slm_char_is_cased(character_at(s, i + n, &length));
}

/* Every character through `first` where a word begins and through `rest` elsewhere. A word begins
 * at the start (words false), or after each character that has no case. */
static struct value map_string(struct workspace *w, struct value s,
                               size_t (*first)(uint32_t, uint32_t[3]),
                               size_t (*rest)(uint32_t, uint32_t[3]), bool words)
{
    struct builder out = {.w = w};
    bool begin = true;
    for (size_t i = 0, n; i < s.length && !w->code; i += n) {
        uint32_t c = character_at(s, i, &n);
        size_t (*map)(uint32_t, uint32_t[3]) = begin ? first : rest;
        if (c == CAPITAL_SIGMA && map == slm_char_lower && ends_word(s, i, n))
            map = final_sigma;
        slm_builder_mapped(&out, c, map, marked_at(s, i));
        begin = words && !slm_char_is_cased(c);
    }
    struct value v = slm_builder_string(&out);
    v.detail |= s.detail & STRING_MARKUP;
    return v;
}

struct value slm_string_lower(struct workspace *w, struct value s)
{
    return map_string(w, s, slm_char_lower, slm_char_lower, false);
}

struct value slm_string_upper(struct workspace *w, struct value s)
{
    return map_string(w, s, slm_char_upper, slm_char_upper, false);
}

/* The first character gets its title case, which for a few letters differs from the upper one. */
struct value slm_string_capitalize(struct workspace *w, struct value s)
{
    return map_string(w, s, slm_char_title, slm_char_lower, false);
}

/* ------------------------------------------------------------------------ strip and search --- */

/* Is the character in the set, or white space if there is no set? */
static bool set_has(struct value set, uint32_t c)
{
    if (!is_string(set))
        return slm_char_is_space(c);
    for (size_t i = 0, n; i < set.length; i += n)
        if (character_at(set, i, &n) == c)
            return true;
    return false;
}

/* What is left shares the memory of the string. */
struct value slm_string_strip(struct workspace *w, struct value s, struct value set, int sides)
{
    size_t begin = 0, end = s.length, n;
    size_t cost = is_string(set) ? 1 + set.length : 1;
    if (sides & STRIP_LEFT) {
        while (begin < end && set_has(set, character_at(s, begin, &n)) && slm_work_spend(w, cost))
            begin += n;
    }
    while ((sides & STRIP_RIGHT) && begin < end && slm_work_spend(w, cost)) {
        size_t last = end - 1;
        while (last > begin && (s.text[last] & 0xC0) == 0x80)
            last--;
        if (!set_has(set, character_at(s, last, &n)))
            break;
        end = last;
    }
    return value_part(s, begin, end - begin);
}

struct value slm_string_replace(struct workspace *w, struct value s, struct value old,
                                struct value new, int64_t count)
{
    struct builder out = {.w = w};
    size_t done = 0, next = 0; /* s[done..next) stays */
    while (count != 0 && next <= s.length && !w->code) {
        size_t found = slm_text_find(w, s.text + next, s.length - next, old.text, old.length);
        if (found == NOWHERE)
            break;
        next += found;
        slm_builder_value(&out, value_part(s, done, next - done));
        slm_builder_value(&out, new);
        done = next += old.length;
        count--;
        if (old.length == 0) /* between all characters */
            next += next < s.length ? slm_text_offset(s.text + next, s.length - next, 1) : 1;
    }
    slm_builder_value(&out, value_part(s, done, s.length - done));
    struct value v = slm_builder_string(&out);
    v.detail |= s.detail & STRING_MARKUP;
    return v;
}

/* The last place of `part`, or NOWHERE. */
static size_t find_last(struct workspace *w, struct value s, struct value part)
{
    for (size_t i = s.length + 1; i-- > part.length;)
        if (slm_work_spend(w, part.length) &&
            memcmp(s.text + i - part.length, part.text, part.length) == 0)
            return i - part.length;
    return NOWHERE;
}

/* Does `part` begin at byte i? */
static bool starts_at(struct workspace *w, struct value s, size_t i, struct value part)
{
    return slm_work_spend(w, part.length) && s.length - i >= part.length &&
           memcmp(s.text + i, part.text, part.length) == 0;
}

/* ----------------------------------------------------------------------------------- split --- */

/* More than "\n": what str.splitlines() takes for the end of a line. */
static bool is_line_end(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

struct sequence *slm_string_lines(struct workspace *w, struct value s, bool keep_ends)
{
    struct sequence *lines = slm_sequence_new(w, 4);
    size_t begin = 0;
    for (size_t i = 0, n; i < s.length && !w->code; i += n) {
        uint32_t c = character_at(s, i, &n);
        if (!is_line_end(c))
            continue;
        if (c == '\r' && i + 1 < s.length && s.text[i + 1] == '\n')
            n = 2;
        slm_sequence_add(w, lines, value_part(s, begin, i - begin + (keep_ends ? n : 0)));
        begin = i + n;
    }
    if (begin < s.length)
        slm_sequence_add(w, lines, value_part(s, begin, s.length - begin));
    slm_work_spend_slowly(w, s.length);
    return lines;
}

/* At white space: words, the last one with everything after `count` splits. */
static struct sequence *split_words(struct workspace *w, struct value s, int64_t count)
{
    struct sequence *words = slm_sequence_new(w, 4);
    size_t i = 0;
    slm_work_spend_slowly(w, s.length);
    for (;;) {
        i += slm_text_leading_space(s.text + i, s.length - i);
        if (i >= s.length || !slm_work_spend(w, 0))
            return words;
        size_t begin = i, n;
        if (count-- == 0)
            i = s.length;
        while (i < s.length && !slm_char_is_space(character_at(s, i, &n)))
            i += n;
        slm_sequence_add(w, words, value_part(s, begin, i - begin));
    }
}

static void reverse(struct sequence *s)
{
    for (uint32_t i = 0; s && i < s->n / 2; i++) {
        struct value swap = s->items[i];
        s->items[i] = s->items[s->n - 1 - i];
        s->items[s->n - 1 - i] = swap;
    }
}

/* The same from the right. */
static struct sequence *split_words_right(struct workspace *w, struct value s, int64_t count)
{
    struct sequence *words = slm_sequence_new(w, 4);
    size_t end = s.length;
    slm_work_spend_slowly(w, s.length);
    for (;;) {
        end -= slm_text_trailing_space(s.text, end);
        if (end == 0 || !slm_work_spend(w, 0))
            break;
        size_t begin = end;
        if (count-- == 0)
            begin = 0;
        while (begin > 0 && slm_text_trailing_space(s.text, begin) == 0) {
            begin--;
            while (begin > 0 && (s.text[begin] & 0xC0) == 0x80)
                begin--;
        }
        slm_sequence_add(w, words, value_part(s, begin, end - begin));
        end = begin;
    }
    reverse(words);
    return words;
}

/* At a separator, at most `count` times from the left: the last part holds the rest. */
static struct sequence *split_at(struct workspace *w, struct value s, struct value separator,
                                 int64_t count)
{
    struct sequence *parts = slm_sequence_new(w, 4);
    size_t begin = 0;
    while (count-- != 0 && !w->code) {
        size_t found =
            slm_text_find(w, s.text + begin, s.length - begin, separator.text, separator.length);
        if (found == NOWHERE)
            break;
        slm_sequence_add(w, parts, value_part(s, begin, found));
        begin += found + separator.length;
    }
    slm_sequence_add(w, parts, value_part(s, begin, s.length - begin));
    return parts;
}

/* The same from the right: the first part holds the rest. */
static struct sequence *split_at_right(struct workspace *w, struct value s, struct value separator,
                                       int64_t count)
{
    struct sequence *parts = slm_sequence_new(w, 4);
    while (count-- != 0 && !w->code) {
        size_t found = find_last(w, s, separator);
        if (found == NOWHERE)
            break;
        size_t after = found + separator.length;
        slm_sequence_add(w, parts, value_part(s, after, s.length - after));
        s = value_part(s, 0, found);
    }
    slm_sequence_add(w, parts, s);
    reverse(parts);
    return parts;
}

/* --------------------------------------------------------------------------------- methods --- */

/* Both kinds of split: none and no separator mean white space. */
static struct value split(struct render *r, struct value self, const struct arguments *args,
                          struct sequence *(*at)(struct workspace *, struct value, struct value,
                                                 int64_t),
                          struct sequence *(*words)(struct workspace *, struct value, int64_t))
{
    struct value separator = args->values[0];
    int64_t count = slm_argument_integer(r, args->values[1], -1);
    if (is_absent(separator) || separator.type == VALUE_NONE)
        return value_sequence(VALUE_LIST, words(&r->work, self, count));
    separator = slm_argument_text(r, separator);
    if (separator.length == 0)
        return slm_work_fail(&r->work, SLM_EINVAL, "split() at an empty separator");
    return value_sequence(VALUE_LIST, at(&r->work, self, separator, count));
}

BUILTIN(method_split)
{
    return split(r, self, args, split_at, split_words);
}

BUILTIN(method_rsplit)
{
    return split(r, self, args, split_at_right, split_words_right);
}

BUILTIN(method_splitlines)
{
    bool keep = slm_value_truth(args->values[0]);
    return value_sequence(VALUE_LIST, slm_string_lines(&r->work, self, keep));
}

/* (before, separator, after), of which two are empty when there is no separator. */
static struct value partition(struct render *r, struct value self, struct value separator,
                              bool last)
{
    struct workspace *w = &r->work;
    struct sequence *parts = slm_sequence_new(w, 3);
    separator = slm_argument_text(r, separator);
    if (separator.length == 0)
        return slm_work_fail(w, SLM_EINVAL, "partition() at an empty separator");
    size_t found = last
                       ? find_last(w, self, separator)
                       : slm_text_find(w, self.text, self.length, separator.text, separator.length);
    struct value empty = value_text("", 0);
    if (found == NOWHERE) {
        slm_sequence_add(w, parts, last ? empty : self);
        slm_sequence_add(w, parts, empty);
        slm_sequence_add(w, parts, last ? self : empty);
    } else {
        size_t after = found + separator.length;
        slm_sequence_add(w, parts, value_part(self, 0, found));
        slm_sequence_add(w, parts, value_part(self, found, separator.length));
        slm_sequence_add(w, parts, value_part(self, after, self.length - after));
    }
    return value_sequence(VALUE_TUPLE, parts);
}

BUILTIN(method_partition)
{
    return partition(r, self, args->values[0], false);
}

BUILTIN(method_rpartition)
{
    return partition(r, self, args->values[0], true);
}

static struct value strip(struct render *r, struct value self, const struct arguments *args,
                          int sides)
{
    struct value set = args->values[0];
    if (!is_absent(set) && set.type != VALUE_NONE)
        set = slm_argument_text(r, set);
    return slm_string_strip(&r->work, self, set, sides);
}

BUILTIN(method_strip)
{
    return strip(r, self, args, STRIP_LEFT | STRIP_RIGHT);
}

BUILTIN(method_lstrip)
{
    return strip(r, self, args, STRIP_LEFT);
}

BUILTIN(method_rstrip)
{
    return strip(r, self, args, STRIP_RIGHT);
}

/* startswith and endswith: one text, or any of a tuple. */
static struct value affix(struct render *r, struct value self, struct value parts, bool end)
{
    struct value one[1] = {parts};
    bool tuple = parts.type == VALUE_TUPLE && parts.sequence;
    const struct value *items = tuple ? parts.sequence->items : one;
    for (uint32_t i = 0, n = tuple ? parts.sequence->n : 1; i < n && !r->work.code; i++) {
        struct value part = slm_argument_text(r, items[i]);
        if (part.length <= self.length &&
            starts_at(&r->work, self, end ? self.length - part.length : 0, part))
            return value_boolean(true);
    }
    return value_boolean(false);
}

BUILTIN(method_startswith)
{
    return affix(r, self, args->values[0], false);
}

BUILTIN(method_endswith)
{
    return affix(r, self, args->values[0], true);
}

BUILTIN(method_removeprefix)
{
    struct value part = slm_argument_text(r, args->values[0]);
    return starts_at(&r->work, self, 0, part)
               ? value_part(self, part.length, self.length - part.length)
               : self;
}

BUILTIN(method_removesuffix)
{
    struct value part = slm_argument_text(r, args->values[0]);
    bool has =
        part.length <= self.length && starts_at(&r->work, self, self.length - part.length, part);
    return has ? value_part(self, 0, self.length - part.length) : self;
}

BUILTIN(method_replace)
{
    return slm_string_replace(&r->work, self, slm_argument_text(r, args->values[0]),
                              slm_argument_text(r, args->values[1]),
                              slm_argument_integer(r, args->values[2], -1));
}

BUILTIN(method_lower)
{
    return slm_string_lower(&r->work, self);
}

BUILTIN(method_upper)
{
    return slm_string_upper(&r->work, self);
}

BUILTIN(method_capitalize)
{
    return slm_string_capitalize(&r->work, self);
}

BUILTIN(method_title)
{
    return map_string(&r->work, self, slm_char_title, slm_char_lower, true);
}

/* Unlike the filter, this takes only strings. */
BUILTIN(method_join)
{
    struct builder out = {.w = &r->work};
    const struct sequence *items = slm_value_elements(&r->work, args->values[0]);
    for (uint32_t i = 0; items && i < items->n && !r->work.code; i++) {
        if (i)
            slm_builder_value(&out, self);
        slm_builder_value(&out, slm_argument_text(r, items->items[i]));
    }
    return slm_builder_string(&out);
}

/* A place in bytes as one in characters; -1 for none. */
static struct value place(struct render *r, struct value s, size_t found)
{
    slm_work_spend_slowly(&r->work, found == NOWHERE ? 0 : found);
    return value_integer(found == NOWHERE ? -1 : (int64_t)slm_text_characters(s.text, found));
}

BUILTIN(method_find)
{
    struct value part = slm_argument_text(r, args->values[0]);
    return place(r, self, slm_text_find(&r->work, self.text, self.length, part.text, part.length));
}

BUILTIN(method_rfind)
{
    return place(r, self, find_last(&r->work, self, slm_argument_text(r, args->values[0])));
}

static struct value or_fail(struct render *r, struct value index)
{
    return index.integer >= 0 ? index
                              : slm_work_fail(&r->work, SLM_EINVAL, "index(): it is not in there");
}

/* As find, but nothing found is an error. */
BUILTIN(method_index)
{
    return or_fail(r, method_find(r, self, args));
}

BUILTIN(method_rindex)
{
    return or_fail(r, method_rfind(r, self, args));
}

/* Occurrences that do not overlap; the empty string is before, between and after characters. */
BUILTIN(method_count)
{
    struct value part = slm_argument_text(r, args->values[0]);
    if (part.length == 0)
        return value_integer((int64_t)slm_value_characters(&r->work, self) + 1);
    int64_t count = 0;
    for (size_t i = 0; i < self.length; i += part.length, count++) {
        size_t found =
            slm_text_find(&r->work, self.text + i, self.length - i, part.text, part.length);
        if (found == NOWHERE)
            break;
        i += found;
    }
    return value_integer(count);
}

BUILTIN(method_format)
{
    return slm_format_braces(r, self, args);
}

/* In a width; how much of the filling goes to the left: 0 none, 1 half, 2 all of it. */
static struct value justify(struct render *r, struct value self, const struct arguments *args,
                            int before)
{
    struct builder out = {.w = &r->work};
    int64_t width = slm_argument_integer(r, args->values[0], 0);
    struct value fill =
        is_absent(args->values[1]) ? value_text(" ", 1) : slm_argument_text(r, args->values[1]);
    int64_t length = (int64_t)slm_value_characters(&r->work, self);
    int64_t missing = width > length ? width - length : 0;
    /* Python's center() leans left where widths are odd, and right where they are even. */
    int64_t left = before == 0 ? 0 : before == 2 ? missing : missing / 2 + (missing & width & 1);
    if (slm_value_characters(&r->work, fill) != 1)
        return slm_work_fail(&r->work, SLM_EINVAL, "the filling must be one character");
    for (int64_t i = 0; i < left && !r->work.code; i++)
        slm_builder_value(&out, fill);
    slm_builder_value(&out, self);
    for (int64_t i = left; i < missing && !r->work.code; i++)
        slm_builder_value(&out, fill);
    return slm_builder_string(&out);
}

BUILTIN(method_ljust)
{
    return justify(r, self, args, 0);
}

BUILTIN(method_center)
{
    return justify(r, self, args, 1);
}

BUILTIN(method_rjust)
{
    return justify(r, self, args, 2);
}

/* Zeros go after the sign. */
BUILTIN(method_zfill)
{
    struct builder out = {.w = &r->work};
    int64_t width = slm_argument_integer(r, args->values[0], 0);
    int64_t length = (int64_t)slm_value_characters(&r->work, self);
    size_t sign = self.length && (self.text[0] == '-' || self.text[0] == '+');
    slm_builder_value(&out, value_part(self, 0, sign));
    for (; length < width && !r->work.code; length++)
        slm_builder_text(&out, "0");
    slm_builder_value(&out, value_part(self, sign, self.length - sign));
    return slm_builder_string(&out);
}

/* ------------------------------------------------------------------------------- questions --- */

static bool is_ascii_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_ascii_letter(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_ascii_letter_or_digit(uint32_t c)
{
    return is_ascii_digit(c) || is_ascii_letter(c);
}

/* Is there a character, and is each of them so? ascii: we know the answer only there. */
static struct value all_are(struct render *r, struct value s, bool (*is)(uint32_t), bool ascii)
{
    for (size_t i = 0, n; i < s.length; i += n) {
        uint32_t c = character_at(s, i, &n);
        if (ascii && c >= 0x80)
            return slm_work_fail(&r->work, SLM_EINVAL,
                                 "this question about characters beyond ASCII is not supported");
        if (!is(c))
            return value_boolean(false);
    }
    slm_work_spend_slowly(&r->work, s.length);
    return value_boolean(s.length > 0);
}

BUILTIN(method_isdigit)
{
    return all_are(r, self, is_ascii_digit, true);
}

BUILTIN(method_isalpha)
{
    return all_are(r, self, is_ascii_letter, true);
}

BUILTIN(method_isalnum)
{
    return all_are(r, self, is_ascii_letter_or_digit, true);
}

BUILTIN(method_isspace)
{
    return all_are(r, self, slm_char_is_space, false);
}

/* Has it letters with case, and is none of them changed by `map`? */
static struct value is_in_case(struct render *r, struct value s,
                               size_t (*map)(uint32_t, uint32_t[3]))
{
    bool cased = false;
    for (size_t i = 0, n; i < s.length; i += n) {
        uint32_t c = character_at(s, i, &n), out[3];
        if (map(c, out) != 1 || out[0] != c || !slm_work_spend(&r->work, 0))
            return value_boolean(false);
        cased = cased || slm_char_is_cased(c);
    }
    return value_boolean(cased);
}

BUILTIN(method_islower)
{
    return is_in_case(r, self, slm_char_lower);
}

BUILTIN(method_isupper)
{
    return is_in_case(r, self, slm_char_upper);
}

BUILTIN(method_unsupported)
{
    return slm_work_fail(&r->work, SLM_EINVAL, "this method of strings is not supported");
}

/* All of str's: a member that exists must not be undefined, even if calling it is not supported. */
static const struct builtin methods[] = {
    {"capitalize", method_capitalize, "", 0},
    {"casefold", method_unsupported, NULL, 0},
    {"center", method_center, "/width /fillchar", 1},
    {"count", method_count, "/sub", 1},
    {"encode", method_unsupported, NULL, 0},
    {"endswith", method_endswith, "/suffix", 1},
    {"expandtabs", method_unsupported, NULL, 0},
    {"find", method_find, "/sub", 1},
    {"format", method_format, NULL, 0},
    {"format_map", method_unsupported, NULL, 0},
    {"index", method_index, "/sub", 1},
    {"isalnum", method_isalnum, "", 0},
    {"isalpha", method_isalpha, "", 0},
    {"isascii", method_unsupported, NULL, 0},
    {"isdecimal", method_isdigit, "", 0},
    {"isdigit", method_isdigit, "", 0},
    {"isidentifier", method_unsupported, NULL, 0},
    {"islower", method_islower, "", 0},
    {"isnumeric", method_isdigit, "", 0},
    {"isprintable", method_unsupported, NULL, 0},
    {"isspace", method_isspace, "", 0},
    {"istitle", method_unsupported, NULL, 0},
    {"isupper", method_isupper, "", 0},
    {"join", method_join, "/iterable", 1},
    {"ljust", method_ljust, "/width /fillchar", 1},
    {"lower", method_lower, "", 0},
    {"lstrip", method_lstrip, "/chars", 0},
    {"maketrans", method_unsupported, NULL, 0},
    {"partition", method_partition, "/sep", 1},
    {"removeprefix", method_removeprefix, "/prefix", 1},
    {"removesuffix", method_removesuffix, "/suffix", 1},
    {"replace", method_replace, "/old /new /count", 2},
    {"rfind", method_rfind, "/sub", 1},
    {"rindex", method_rindex, "/sub", 1},
    {"rjust", method_rjust, "/width /fillchar", 1},
    {"rpartition", method_rpartition, "/sep", 1},
    {"rsplit", method_rsplit, "sep maxsplit", 0},
    {"rstrip", method_rstrip, "/chars", 0},
    {"split", method_split, "sep maxsplit", 0},
    {"splitlines", method_splitlines, "keepends", 0},
    {"startswith", method_startswith, "/prefix", 1},
    {"strip", method_strip, "/chars", 0},
    {"swapcase", method_unsupported, NULL, 0},
    {"title", method_title, "", 0},
    {"translate", method_unsupported, NULL, 0},
    {"upper", method_upper, "", 0},
    {"zfill", method_zfill, "/width", 1},
};

const struct builtin *slm_template_string_method(struct value name)
{
    return slm_template_find(methods, sizeof methods / sizeof *methods, name);
}
