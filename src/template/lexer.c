/*
 * lexer.c - cuts a template into tokens, one at a time.
 *
 * White space follows Jinja with trim_blocks and lstrip_blocks: the newline after a tag belongs to
 * the tag, and so do blanks before it that begin the line. "-" at either end of a tag takes all
 * white space beside it, "+" leaves it alone.
 */
#include "base/number.h"
#include "base/utf8.h"
#include "template/syntax.h"
#include "template/text.h"

#include <string.h>

void slm_lexer_init(struct lexer *lexer, struct workspace *w)
{
    *lexer = (struct lexer){
        .w = w, .p = w->source, .end = w->source + w->source_length, .at_line_start = true};
}

static size_t position_of(const struct lexer *lexer, const char *p)
{
    return (size_t)(p - lexer->w->source);
}

static struct token end_token(const struct lexer *lexer)
{
    return (struct token){.type = TOKEN_END, .position = position_of(lexer, lexer->p)};
}

static struct token fail_at(struct lexer *lexer, const char *p, const char *message)
{
    lexer->w->position = position_of(lexer, p);
    slm_work_fail(lexer->w, SLM_EFORMAT, "%s", message);
    lexer->p = lexer->end;
    return end_token(lexer);
}

/* Is `text` what stands at p? */
static bool starts_with(const char *p, const char *end, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(end - p) >= n && memcmp(p, text, n) == 0;
}

static const char *skip_space(const char *p, const char *end)
{
    return p + slm_text_leading_space(p, (size_t)(end - p));
}

/* ------------------------------------------------------------------------------------ text --- */

/* The end of a tag or comment at p: "%}" with its signs and the white space that it takes, or NULL
 * if there is none. closing is "%}", "}}" or "#}". */
static const char *tag_end(const char *p, const char *end, const char *closing)
{
    bool print = closing[0] == '}';
    if (p < end && *p == '-' && starts_with(p + 1, end, closing))
        return skip_space(p + 3, end);
    if (!print && p < end && *p == '+' && starts_with(p + 1, end, closing))
        return p + 3;
    if (!starts_with(p, end, closing))
        return NULL;
    p += 2;
    return !print && p < end && *p == '\n' ? p + 1 : p;
}

/* At "{%": the end of a tag that holds only `word`, or NULL. For {% raw %} the newline after it
 * stays. */
static const char *tag_of_word(const char *p, const char *end, const char *word)
{
    if (!starts_with(p, end, "{%"))
        return NULL;
    p += 2;
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    p = skip_space(p, end);
    if (!starts_with(p, end, word))
        return NULL;
    p = skip_space(p + strlen(word), end);
    if (strcmp(word, "raw") == 0 && starts_with(p, end, "%}"))
        return p + 2;
    if (strcmp(word, "raw") == 0 && starts_with(p, end, "+%}"))
        return NULL;
    return tag_end(p, end, "%}");
}

/* The text [begin, tag) without what the tag takes of it: everything blank before "-", blanks that
 * begin the line before a tag or comment without sign. Returns its end. */
static const char *trim_before(const struct lexer *lexer, const char *begin, const char *tag)
{
    char sign = tag + 2 < lexer->end ? tag[2] : ' ';
    if (sign == '-')
        return tag - slm_text_trailing_space(begin, (size_t)(tag - begin));
    if (sign == '+' || tag[1] == '{')
        return tag;
    const char *line = tag;
    while (line > begin && line[-1] != '\n')
        line--;
    bool whole_line = line > begin || lexer->at_line_start;
    return whole_line && skip_space(line, tag) == tag ? line : tag;
}

/* [begin, end) of the source as it is. */
static struct token text_token(const struct lexer *lexer, const char *begin, const char *end)
{
    return (struct token){.type = TOKEN_TEXT,
                          .position = position_of(lexer, begin),
                          .value = value_text(begin, (size_t)(end - begin))};
}

/* Go on at p, which is behind a tag. */
static void go_to(struct lexer *lexer, const char *p)
{
    lexer->p = p;
    lexer->at_line_start = p[-1] == '\n';
}

/* {% raw %}...{% endraw %}: `p` is after the first. */
static struct token raw_text(struct lexer *lexer, const char *p)
{
    for (const char *q = p; q < lexer->end; q++) {
        const char *after = *q == '{' ? tag_of_word(q, lexer->end, "endraw") : NULL;
        if (after) {
            lexer->at_line_start = false; /* "%}" came before */
            struct token token = text_token(lexer, p, trim_before(lexer, p, q));
            go_to(lexer, after);
            return token;
        }
    }
    return fail_at(lexer, lexer->p, "{% raw %} is never closed");
}

/* Go past "{#...#}". */
static bool skip_comment(struct lexer *lexer)
{
    const char *begin = lexer->p, *p = begin + 2;
    if (p < lexer->end && (*p == '-' || *p == '+'))
        p++;
    for (; p < lexer->end; p++) {
        const char *after = tag_end(p, lexer->end, "#}");
        if (after) {
            go_to(lexer, after);
            return true;
        }
    }
    fail_at(lexer, begin, "a comment is never closed");
    return false;
}

/* The text up to the next tag, then the tag's beginning; comments and raw blocks are dealt with
 * here. */
static struct token next_in_text(struct lexer *lexer)
{
    while (lexer->p < lexer->end) {
        const char *begin = lexer->p, *tag = begin;
        while (tag < lexer->end && !(*tag == '{' && tag + 1 < lexer->end &&
                                     (tag[1] == '{' || tag[1] == '%' || tag[1] == '#')))
            tag++;
        if (tag > begin) { /* text first; the tag is met again by the next call */
            const char *text_end = tag < lexer->end ? trim_before(lexer, begin, tag) : tag;
            lexer->p = tag;
            if (text_end > begin)
                return text_token(lexer, begin, text_end);
            continue;
        }
        if (tag[1] == '#') {
            if (!skip_comment(lexer))
                break;
            continue;
        }
        const char *raw = tag_of_word(tag, lexer->end, "raw");
        if (raw)
            return raw_text(lexer, raw);
        lexer->state = tag[1] == '{' ? IN_PRINT : IN_TAG;
        lexer->p = tag + 2;
        if (lexer->p < lexer->end && (*lexer->p == '-' || *lexer->p == '+'))
            lexer->p++;
        return (struct token){.type = tag[1] == '{' ? TOKEN_PRINT_BEGIN : TOKEN_TAG_BEGIN,
                              .position = position_of(lexer, tag)};
    }
    return end_token(lexer);
}

/* ------------------------------------------------------------------------ inside of a tag --- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of characters beyond ASCII may be in names; which of them Python allows is not checked. */
static bool is_name_character(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static int digit_of(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

enum { NUMBER_SIZE = 64 };

/* Append digits of the base; "_" may stand between two. Returns where they end. */
static const char *copy_digits(const char *p, const char *end, int base, char *text, size_t *n)
{
    while (p < end && *n < NUMBER_SIZE - 8) {
        bool between = *p == '_' && *n > 0 && end - p > 1 && digit_of(p[1]) < base;
        if (digit_of(*p) < base)
            text[(*n)++] = *p;
        else if (!between)
            break;
        p++;
    }
    return p;
}

/* [.digits][e[-+]digits] after the digits of a number: copied too. Returns where it ends. */
static const char *copy_fraction(const char *p, const char *end, char *text, size_t *n)
{
    if (end - p > 1 && *p == '.' && is_digit(p[1])) {
        text[(*n)++] = '.';
        p = copy_digits(p + 1, end, 10, text, n);
    }
    if (end - p > 1 && (*p | 0x20) == 'e') {
        bool sign = p[1] == '-' || p[1] == '+';
        if (end - p > 1 + sign && is_digit(p[1 + sign])) {
            text[(*n)++] = 'e';
            if (sign)
                text[(*n)++] = p[1];
            p = copy_digits(p + 1 + sign, end, 10, text, n);
        }
    }
    return p;
}

static struct token number_token(struct lexer *lexer)
{
    const char *p = lexer->p, *end = lexer->end;
    struct token token = {.type = TOKEN_NUMBER, .position = position_of(lexer, p)};
    char text[NUMBER_SIZE + 8];
    size_t n = 0;
    int base = 10;
    if (*p == '0' && end - p > 2) {
        char mark = p[1] | 0x20;
        base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    }
    p = copy_digits(base == 10 ? p : p + 2, end, base, text, &n);
    size_t digits = n;
    if (base == 10 && (p == lexer->w->source || lexer->p[-1] != '.')) /* x.0.1 has no fraction */
        p = copy_fraction(p, end, text, &n);
    text[n] = '\0';
    if (n >= NUMBER_SIZE - 8)
        return fail_at(lexer, lexer->p, "the number is too long");
    if (n > digits) {
        double number = 0;
        slm_number_read(text, &number, NULL); /* short: it takes no memory */
        token.value = value_float(number);
    } else {
        int64_t integer = 0;
        bool overflow = false;
        for (size_t i = 0; i < n; i++)
            overflow = overflow || __builtin_mul_overflow(integer, base, &integer) ||
                       __builtin_add_overflow(integer, digit_of(text[i]), &integer);
        if (overflow && (base != 10 || (size_t)(p - lexer->p) != n))
            return fail_at(lexer, lexer->p, "the number does not fit 64 bits");
        token.value = overflow ? value_text(lexer->p, n) : value_integer(integer);
        token.value.type = overflow ? VALUE_BIG : VALUE_INTEGER;
    }
    lexer->p = p;
    return token;
}

/* After a backslash at p: the character that the escape stands for, appended; returns where it
 * ends, or NULL. */
static const char *read_escape(struct builder *out, const char *p, const char *end)
{
    static const char letters[] = "\\'\"abfnrtv", meanings[] = "\\'\"\a\b\f\n\r\t\v";
    char utf8[4];
    uint32_t c = 0;
    size_t digits = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
    if (digits) {
        if ((size_t)(end - p) <= digits)
            return NULL;
        for (size_t i = 1; i <= digits; i++) {
            if (digit_of(p[i]) > 15)
                return NULL;
            c = c << 4 | (uint32_t)digit_of(p[i]);
        }
        p += digits + 1;
    } else if (digit_of(*p) < 8) {
        for (int i = 0; i < 3 && p < end && digit_of(*p) < 8; i++)
            c = c << 3 | (uint32_t)digit_of(*p++);
    } else if (*p == '\n') { /* the line goes on */
        return p + 1;
    } else {
        const char *letter = *p ? strchr(letters, *p) : NULL;
        if (letter)
            slm_builder_add(out, &meanings[letter - letters], 1, NULL);
        else
            slm_builder_add(out, p - 1, 2, NULL); /* no escape: both characters stay */
        return p + 1;
    }
    if (c > 0x10FFFF)
        return NULL;
    if (c >= 0xD800 && c < 0xE000)
        c = 0xFFFD;
    slm_builder_add(out, utf8, slm_utf8_encode(c, utf8), NULL);
    return p;
}

/* A string in either kind of quotes, over several lines if need be. */
static struct token string_token(struct lexer *lexer)
{
    const char *begin = lexer->p, *end = lexer->end, *p = begin + 1, *plain = p;
    struct token token = {.type = TOKEN_STRING, .position = position_of(lexer, begin)};
    struct builder out = {.w = lexer->w};
    while (p < end && *p != *begin) {
        if (*p++ != '\\')
            continue;
        slm_builder_add(&out, plain, (size_t)(p - 1 - plain), NULL);
        const char *after = p < end ? read_escape(&out, p, end) : NULL;
        if (!after)
            return fail_at(lexer, p - 1, "the string holds an escape that does not exist");
        /* A character of several bytes after the backslash goes on here. */
        p = plain = after;
    }
    if (p == end)
        return fail_at(lexer, begin, "a string is never closed");
    lexer->p = p + 1;
    if (plain == begin + 1) { /* nothing was escaped: the text can stay where it is */
        token.value = value_text(plain, (size_t)(p - plain));
    } else {
        slm_builder_add(&out, plain, (size_t)(p - plain), NULL);
        token.value = slm_builder_string(&out);
    }
    return token;
}

/* Brackets must match; they also hide the end of the tag. */
static bool balance(struct lexer *lexer, char c)
{
    const char *closing = c == '(' ? ")" : c == '[' ? "]" : c == '{' ? "}" : NULL;
    if (closing) {
        if (lexer->n_open == SLM_LIMIT_TEMPLATE_NESTING) {
            lexer->w->position = position_of(lexer, lexer->p);
            slm_work_fail(lexer->w, SLM_ELIMIT, "brackets are nested too deep");
            return false;
        }
        lexer->open[lexer->n_open++] = *closing;
    } else if (c == ')' || c == ']' || c == '}') {
        if (lexer->n_open == 0 || lexer->open[lexer->n_open - 1] != c) {
            fail_at(lexer, lexer->p, "a bracket is closed that was not opened");
            return false;
        }
        lexer->n_open--;
    }
    return true;
}

/* The longest operator that fits. */
static struct token operator_token(struct lexer *lexer)
{
    static const char operators[][3] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                        "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                        ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!starts_with(lexer->p, lexer->end, operators[i]))
            continue;
        struct token token = {.type = TOKEN_OPERATOR,
                              .position = position_of(lexer, lexer->p),
                              .value = value_text(operators[i], strlen(operators[i]))};
        if (!balance(lexer, *operators[i])) {
            lexer->p = lexer->end;
            return end_token(lexer);
        }
        lexer->p += token.value.length;
        return token;
    }
    return fail_at(lexer, lexer->p, "a character that means nothing in a tag");
}

/* White space goes first; the end of the tag counts only outside of brackets. */
static struct token next_in_tag(struct lexer *lexer)
{
    const char *closing = lexer->state == IN_PRINT ? "}}" : "%}";
    for (;;) {
        size_t position = position_of(lexer, lexer->p);
        const char *after = lexer->n_open == 0 ? tag_end(lexer->p, lexer->end, closing) : NULL;
        if (after) {
            struct token token = {.type =
                                      lexer->state == IN_PRINT ? TOKEN_PRINT_END : TOKEN_TAG_END,
                                  .position = position};
            lexer->state = IN_TEXT;
            go_to(lexer, after);
            return token;
        }
        const char *p = skip_space(lexer->p, lexer->end);
        if (p == lexer->p)
            break;
        lexer->p = p;
    }
    if (lexer->p == lexer->end)
        return fail_at(lexer, lexer->p, "the template ends inside a tag");
    if (is_digit(*lexer->p))
        return number_token(lexer);
    if (*lexer->p == '"' || *lexer->p == '\'')
        return string_token(lexer);
    if (!is_name_character(*lexer->p))
        return operator_token(lexer);
    const char *begin = lexer->p;
    while (lexer->p < lexer->end && is_name_character(*lexer->p))
        lexer->p++;
    return (struct token){.type = TOKEN_NAME,
                          .position = position_of(lexer, begin),
                          .value = value_text(begin, (size_t)(lexer->p - begin))};
}

struct token slm_lexer_next(struct lexer *lexer)
{
    if (lexer->w->code)
        return end_token(lexer);
    return lexer->state == IN_TEXT ? next_in_text(lexer) : next_in_tag(lexer);
}
