/*
 * regex.c - a regular expression as a small program.
 *
 * Recursive descent, nesting bounded by DEPTH_LIMIT. There is no syntax tree: jumps are relative,
 * so the code of an operand can be moved and repeated as it is when its quantifier is read.
 * What the patterns mean is Oniguruma's reading, since Hugging Face's tokenizers use that.
 */
#include "vocab/regex.h"

#include "base/utf8.h"

#include <string.h>

#define DEPTH_LIMIT 32
#define CODE_LIMIT 16384  /* instructions: \s{512} and friends exist */
#define REPEAT_LIMIT 1024 /* {m,n} */

struct parser {
    const char *text;
    size_t n, at;
    struct slm_regex_sets *sets;
    struct slm_buf *code;
    size_t code_start; /* in instructions: an earlier pattern's program may stand before ours */
    bool fold_case;
    bool dot_all;
    uint32_t depth;
    /* Possessive loops, to be proven harmless at the end: {where the loop is left, its set}. */
    struct {
        uint32_t exit, set;
    } possessive[16];
    uint32_t n_possessive;
};

static int parse_alternatives(struct parser *p);

/* ------------------------------------------------------------------------ the program --- */

static struct slm_regex_instruction *code_of(struct parser *p)
{
    return (struct slm_regex_instruction *)(void *)p->code->data;
}

static size_t code_length(const struct parser *p)
{
    return p->code->length / sizeof(struct slm_regex_instruction);
}

/* Append one instruction. */
static int emit(struct parser *p, int32_t op, int32_t a, int32_t b)
{
    struct slm_regex_instruction instruction = {op, a, b};
    if (code_length(p) - p->code_start >= CODE_LIMIT)
        return slm_fail(SLM_ELIMIT, "pre-tokenizer pattern: more than %d steps", CODE_LIMIT);
    slm_buf_append(p->code, &instruction, sizeof(instruction));
    return slm_buf_ok(p->code);
}

/* Put one instruction in front of the code that begins at `at`. Jumps never cross that point. */
static int insert(struct parser *p, size_t at, int32_t op, int32_t a, int32_t b)
{
    int rc = emit(p, op, a, b);
    if (rc < 0)
        return rc;
    struct slm_regex_instruction *code = code_of(p), last = code[code_length(p) - 1];
    memmove(code + at + 1, code + at, (code_length(p) - 1 - at) * sizeof(*code));
    code[at] = last;
    for (uint32_t i = 0; i < p->n_possessive; i++)
        p->possessive[i].exit += p->possessive[i].exit >= at;
    return SLM_OK;
}

/* Append a copy of code that stands already; its jumps are relative, so it needs no change. */
static int repeat_code(struct parser *p, size_t from, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        struct slm_regex_instruction copy = code_of(p)[from + i];
        int rc = emit(p, copy.op, copy.a, copy.b);
        if (rc < 0)
            return rc;
    }
    return SLM_OK;
}

/* The number of the set, new or already known. Takes the set over. */
static int keep_set(struct parser *p, struct slm_char_set *set, int32_t *number)
{
    struct slm_regex_sets *all = p->sets;
    if (set->ranges.failed) {
        slm_set_free(set);
        return SLM_ENOMEM;
    }
    for (uint32_t i = 0; i < all->n; i++) {
        if (slm_set_equal(&all->sets[i], set)) {
            slm_set_free(set);
            *number = (int32_t)i;
            return SLM_OK;
        }
    }
    if (all->n == all->capacity) {
        uint32_t capacity = all->capacity ? all->capacity * 2 : 32;
        struct slm_char_set *grown = slm_alloc(all->allocator, capacity * sizeof(*grown));
        if (!grown) {
            slm_set_free(set);
            return SLM_ENOMEM;
        }
        if (all->n)
            memcpy(grown, all->sets, all->n * sizeof(*grown));
        slm_free(all->allocator, all->sets, all->capacity * sizeof(*grown));
        all->sets = grown;
        all->capacity = capacity;
    }
    all->sets[all->n] = *set;
    *number = (int32_t)all->n++;
    return SLM_OK;
}

void slm_regex_sets_free(struct slm_regex_sets *sets)
{
    for (uint32_t i = 0; i < sets->n; i++)
        slm_set_free(&sets->sets[i]);
    slm_free(sets->allocator, sets->sets, sets->capacity * sizeof(*sets->sets));
    *sets = (struct slm_regex_sets){.allocator = sets->allocator};
}

/* An instruction about a set of characters. */
static int emit_set(struct parser *p, int32_t op, struct slm_char_set *set, int32_t b)
{
    int32_t number;
    int rc = keep_set(p, set, &number);
    return rc < 0 ? rc : emit(p, op, number, b);
}

/* -------------------------------------------------------------------------- reading ---- */

static bool more(const struct parser *p)
{
    return p->at < p->n;
}

static bool looking_at(const struct parser *p, const char *what)
{
    size_t n = strlen(what);
    return p->n - p->at >= n && memcmp(p->text + p->at, what, n) == 0;
}

static bool accept(struct parser *p, const char *what)
{
    if (!looking_at(p, what))
        return false;
    p->at += strlen(what);
    return true;
}

static int wrong(const struct parser *p, const char *what)
{
    return slm_fail(SLM_EFORMAT, "pre-tokenizer pattern, at byte %zu: %s", p->at, what);
}

static int unsupported(const struct parser *p, const char *what)
{
    return slm_fail(
        SLM_EUNSUPPORTED,
        "pre-tokenizer pattern, at byte %zu: %s is not supported; known are "
        "classes, \\p{category}, groups, |, ? * + {m,n} and looking ahead one character",
        p->at, what);
}

static int read_character(struct parser *p, uint32_t *c)
{
    size_t length = more(p) ? slm_utf8_decode(p->text + p->at, p->n - p->at, c) : 0;
    if (length == 0)
        return wrong(p, more(p) ? "not UTF-8" : "ends too early");
    p->at += length;
    return SLM_OK;
}

static bool read_hex(struct parser *p, size_t digits_least, size_t digits_most, uint32_t *value)
{
    size_t n = 0;
    for (*value = 0; more(p) && n < digits_most; n++, p->at++) {
        char c = p->text[p->at];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            digit = (uint32_t)((c | 32) - 'a') + 10;
        else
            break;
        *value = *value << 4 | digit;
    }
    return n >= digits_least && *value <= SLM_UNICODE_LAST;
}

/* \p{..} or \P{..}; `at` is behind the letter. */
static int read_property(struct parser *p, bool negated, struct slm_char_set *set)
{
    struct slm_char_set own = {.ranges.allocator = set->ranges.allocator};
    const char *name = p->text + p->at;
    size_t n = 0;
    if (accept(p, "{")) {
        negated ^= accept(p, "^");
        name = p->text + p->at;
        while (more(p) && p->text[p->at] != '}') {
            p->at++;
            n++;
        }
        if (!accept(p, "}"))
            return wrong(p, "\\p{ without }");
    } else if (more(p)) {
        p->at++;
        n = 1;
    }
    if (!slm_set_add_property(&own, name, n)) {
        slm_set_free(&own);
        return slm_fail(SLM_EUNSUPPORTED,
                        "pre-tokenizer pattern: \\p{%.*s} is not supported; known are the general "
                        "categories, such as L, Lu, N, Nd, P, S, M, Z",
                        (int)(n < 40 ? n : 40), name);
    }
    if (negated)
        slm_set_invert(&own);
    slm_set_add_set(set, &own);
    slm_set_free(&own);
    return SLM_OK;
}

/* What follows a backslash, in or outside of [ ]. *single: it is one character, in *c. */
static int read_escape(struct parser *p, struct slm_char_set *set, bool *single, uint32_t *c)
{
    uint32_t letter;
    int rc = read_character(p, &letter);
    if (rc < 0)
        return rc;
    *single = true;
    *c = letter;
    switch (letter) {
    case 'n': *c = '\n'; return SLM_OK;
    case 'r': *c = '\r'; return SLM_OK;
    case 't': *c = '\t'; return SLM_OK;
    case 'f': *c = '\f'; return SLM_OK;
    case 'v': *c = '\v'; return SLM_OK;
    case 'a': *c = '\a'; return SLM_OK;
    case 'e': *c = 0x1B; return SLM_OK;
    case 'x':
        if (accept(p, "{"))
            return read_hex(p, 1, 8, c) && accept(p, "}") ? SLM_OK : wrong(p, "\\x{ is not closed");
        return read_hex(p, 1, 2, c) ? SLM_OK : wrong(p, "\\x without digits");
    case 'u': return read_hex(p, 4, 4, c) ? SLM_OK : wrong(p, "\\u needs four digits");
    case 'p':
    case 'P': *single = false; return read_property(p, letter == 'P', set);
    case 's':
    case 'S':
    case 'd':
    case 'D':
    case 'w':
    case 'W': break;
    default:
        if ((letter | 32) >= 'a' && (letter | 32) <= 'z')
            return unsupported(p, "this escape");
        if (letter >= '0' && letter <= '9')
            return unsupported(p, "a reference to a group");
        return SLM_OK; /* an escaped sign stands for itself */
    }
    *single = false;
    struct slm_char_set own = {.ranges.allocator = set->ranges.allocator};
    if ((letter | 32) == 's')
        slm_set_add_space(&own);
    else if ((letter | 32) == 'd')
        slm_set_add_digit(&own);
    else
        slm_set_add_word(&own);
    if (letter < 'a')
        slm_set_invert(&own);
    slm_set_add_set(set, &own);
    slm_set_free(&own);
    return SLM_OK;
}

/* One side of && : everything up to && or ]. */
/* Items of a set up to its ] or to &&, all added together. */
static int read_set_items(struct parser *p, struct slm_char_set *set);

/* A set; `at` is behind its [. */
static int read_set(struct parser *p, struct slm_char_set *set)
{
    struct slm_char_set own = {.ranges.allocator = set->ranges.allocator};
    struct slm_char_set side = {.ranges.allocator = set->ranges.allocator};
    int rc = SLM_OK;
    if (++p->depth > DEPTH_LIMIT)
        return slm_fail(SLM_ELIMIT, "pre-tokenizer pattern: nested deeper than %d", DEPTH_LIMIT);
    bool negated = accept(p, "^");
    rc = read_set_items(p, &own);
    while (rc == SLM_OK && accept(p, "&&")) {
        rc = read_set_items(p, &side);
        slm_set_intersect(&own, &side);
        slm_set_free(&side);
        side = (struct slm_char_set){.ranges.allocator = set->ranges.allocator};
    }
    if (rc == SLM_OK && !accept(p, "]"))
        rc = wrong(p, "[ without ]");
    if (p->fold_case)
        slm_set_fold_case(&own);
    if (negated)
        slm_set_invert(&own);
    slm_set_add_set(set, &own);
    slm_set_free(&side);
    slm_set_free(&own);
    p->depth--;
    return rc;
}

static int read_set_items(struct parser *p, struct slm_char_set *set)
{
    bool first = true;
    while (more(p) && !looking_at(p, "&&")) {
        uint32_t c, last;
        bool single = true;
        int rc;
        if (!first && looking_at(p, "]"))
            return SLM_OK;
        first = false;
        if (looking_at(p, "[:"))
            return unsupported(p, "[:name:]");
        if (accept(p, "[")) {
            if ((rc = read_set(p, set)) < 0)
                return rc;
            continue;
        }
        rc = accept(p, "\\") ? read_escape(p, set, &single, &c) : read_character(p, &c);
        if (rc < 0)
            return rc;
        if (!single)
            continue;
        last = c;
        if (looking_at(p, "-") && p->n - p->at >= 2 && p->text[p->at + 1] != ']') {
            p->at++;
            rc = accept(p, "\\") ? read_escape(p, set, &single, &last) : read_character(p, &last);
            if (rc < 0)
                return rc;
            if (!single || last < c)
                return wrong(p, "a range that ends before it begins");
        }
        slm_set_add(set, c, last);
    }
    return SLM_OK;
}

/* --------------------------------------------------------------------------- grammar --- */

/* Walk from `at` without consuming anything: which characters are asked for next (their sets are
 * added to *first), and whether `end` can be reached. Looking ahead is asking, unless it is to be
 * passed over. */
static int first_characters(struct parser *p, size_t at, size_t end, bool pass_ahead,
                            struct slm_char_set *first, bool *reaches_end)
{
    size_t n = code_length(p), depth = 0, size = (n + 1) * 2 * sizeof(uint32_t);
    uint32_t *stack = slm_calloc(p->sets->allocator, size);
    if (!stack)
        return SLM_ENOMEM;
    uint32_t *seen = stack + n + 1;
    *reaches_end = false;
    for (size_t pc = at;; pc = stack[--depth]) {
        struct slm_regex_instruction *i = pc < n ? &code_of(p)[pc] : NULL;
        if (pc >= end || i->op == SLM_REGEX_MATCH) {
            *reaches_end = true;
        } else if (!seen[pc]) {
            seen[pc] = 1; /* so no more than n are ever waiting */
            if (i->op == SLM_REGEX_SPLIT)
                stack[depth++] = (uint32_t)(pc + (size_t)(ptrdiff_t)i->b);
            if (i->op == SLM_REGEX_SPLIT || i->op == SLM_REGEX_JUMP)
                stack[depth++] = (uint32_t)(pc + (size_t)(ptrdiff_t)i->a);
            else if (i->op == SLM_REGEX_AHEAD && pass_ahead)
                stack[depth++] = (uint32_t)(pc + 1);
            else
                slm_set_add_set(first, &p->sets->sets[i->a]);
        }
        if (depth == 0)
            break;
    }
    slm_free(p->sets->allocator, stack, size);
    return first->ranges.failed ? SLM_ENOMEM : SLM_OK;
}

/* (?= ) and (?! ): what is inside must be one character wide, or the end of the text. */
static int parse_ahead(struct parser *p, bool negative)
{
    size_t start = code_length(p);
    bool end_of_text = false, wider = false;
    int rc = parse_alternatives(p);
    if (rc < 0)
        return rc;
    if (!accept(p, ")"))
        return wrong(p, "( without )");
    /* Every way through the code is split and jump, then one class or $, then out. */
    struct slm_char_set set = {.ranges.allocator = p->sets->allocator};
    size_t end = code_length(p);
    for (size_t pc = start; pc < end; pc++) {
        struct slm_regex_instruction *i = &code_of(p)[pc];
        size_t after = pc + 1;
        if (i->op == SLM_REGEX_SPLIT)
            continue;
        if (i->op == SLM_REGEX_CLASS)
            slm_set_add_set(&set, &p->sets->sets[i->a]);
        else if (i->op == SLM_REGEX_AHEAD && i->b) {
            slm_set_add_set(&set, &p->sets->sets[i->a]);
            end_of_text = true;
        } else if (i->op != SLM_REGEX_JUMP)
            wider = true;
        if (i->op == SLM_REGEX_JUMP)
            after = pc + (size_t)(ptrdiff_t)i->a;
        while (after < end && code_of(p)[after].op == SLM_REGEX_JUMP)
            after += (size_t)(ptrdiff_t)code_of(p)[after].a;
        wider |= after != end;
    }
    wider |= start == end;
    p->code->length = start * sizeof(struct slm_regex_instruction);
    if (wider) {
        slm_set_free(&set);
        return unsupported(p, "looking ahead more than one character");
    }
    if (negative) {
        slm_set_invert(&set);
        end_of_text = !end_of_text;
    }
    return emit_set(p, SLM_REGEX_AHEAD, &set, end_of_text);
}

/* What follows "(". */
static int parse_group(struct parser *p)
{
    bool fold_case = p->fold_case, dot_all = p->dot_all;
    int rc;
    if (accept(p, "?=") || looking_at(p, "?!")) {
        bool negative = accept(p, "?!");
        rc = parse_ahead(p, negative);
        p->fold_case = fold_case;
        return rc;
    }
    if (accept(p, "?")) {
        bool on = true;
        for (; more(p) && !looking_at(p, ":") && !looking_at(p, ")"); p->at++) {
            char flag = p->text[p->at];
            if (flag == '-')
                on = false;
            else if (flag == 'i')
                p->fold_case = on;
            else if (flag == 's')
                p->dot_all = on;
            else
                return unsupported(p, "this kind of group");
        }
        if (accept(p, ")")) /* (?i): for the rest of the group around it */
            return SLM_OK;
        if (!accept(p, ":"))
            return wrong(p, "( without )");
    }
    rc = parse_alternatives(p);
    p->fold_case = fold_case;
    p->dot_all = dot_all;
    if (rc == SLM_OK && !accept(p, ")"))
        rc = wrong(p, "( without )");
    return rc;
}

/* One operand of a quantifier. */
static int parse_atom(struct parser *p)
{
    struct slm_char_set set = {.ranges.allocator = p->sets->allocator};
    uint32_t c;
    bool single = true;
    int rc = SLM_OK;
    if (accept(p, "("))
        return parse_group(p);
    if (accept(p, "$")) {
        /* The end of a line, as Oniguruma has it. */
        slm_set_add(&set, '\n', '\n');
        return emit_set(p, SLM_REGEX_AHEAD, &set, 1);
    }
    if (accept(p, "\\z"))
        return emit_set(p, SLM_REGEX_AHEAD, &set, 1);
    if (looking_at(p, "^") || looking_at(p, "\\b") || looking_at(p, "\\B") ||
        looking_at(p, "\\A") || looking_at(p, "\\G"))
        return unsupported(p, "looking back (^ \\b \\A)");
    if (looking_at(p, "*") || looking_at(p, "+") || looking_at(p, "?"))
        return wrong(p, "a quantifier with nothing before it");
    if (accept(p, "[")) {
        rc = read_set(p, &set);
        single = false;
    } else if (accept(p, ".")) {
        if (!p->dot_all)
            slm_set_add(&set, '\n', '\n');
        slm_set_invert(&set);
        single = false;
    } else {
        rc = accept(p, "\\") ? read_escape(p, &set, &single, &c) : read_character(p, &c);
    }
    if (rc < 0) {
        slm_set_free(&set);
        return rc;
    }
    if (single) {
        slm_set_add(&set, c, c);
        if (p->fold_case && c > 0x7F) {
            slm_set_free(&set);
            return unsupported(p, "(?i) with letters outside ASCII");
        }
        if (p->fold_case)
            slm_set_fold_case(&set);
    }
    return emit_set(p, SLM_REGEX_CLASS, &set, 0);
}

/* {m}, {m,}, {,n}, {m,n}; a { that is none of these stands for itself. */
static bool read_counts(struct parser *p, uint32_t *least, uint32_t *most)
{
    size_t at = p->at + 1;
    uint32_t values[2] = {0, UINT32_MAX};
    bool given[2] = {false, false}, comma = false;
    if (!looking_at(p, "{"))
        return false;
    for (; at < p->n && p->text[at] != '}'; at++) {
        char c = p->text[at];
        if (c == ',' && !comma) {
            comma = true;
        } else if (c >= '0' && c <= '9') {
            uint32_t *value = &values[comma];
            *value = given[comma] ? *value * 10 + (uint32_t)(c - '0') : (uint32_t)(c - '0');
            given[comma] = true;
            if (*value > 1000000)
                return false;
        } else {
            return false;
        }
    }
    if (at == p->n || (!given[0] && !given[1]))
        return false;
    p->at = at + 1;
    *least = values[0];
    *most = comma ? values[1] : values[0];
    return true;
}

struct quantifier {
    uint32_t least, most;
    bool lazy, possessive;
};

/* False when there is none. */
static bool read_quantifier(struct parser *p, struct quantifier *q)
{
    *q = (struct quantifier){.most = UINT32_MAX};
    bool counted = read_counts(p, &q->least, &q->most);
    if (!counted && accept(p, "?"))
        q->most = 1;
    else if (!counted && accept(p, "+"))
        q->least = 1;
    else if (!counted && !accept(p, "*"))
        return false;
    /* For Oniguruma {m,n}+ and {n}? are one quantifier after the other. */
    if (!counted || q->least != q->most)
        q->lazy = accept(p, "?");
    if (!counted && !q->lazy)
        q->possessive = accept(p, "+");
    return true;
}

/* SPLIT that prefers to go on at the next instruction (greedy) or to go `other` (lazy). */
static int insert_split(struct parser *p, size_t at, int32_t other, bool lazy)
{
    return lazy ? insert(p, at, SLM_REGEX_SPLIT, other, 1)
                : insert(p, at, SLM_REGEX_SPLIT, 1, other);
}

/* Engines differ in what they do when a round of a loop consumes nothing; published patterns have
 * no such loops. */
static int refuse_empty(struct parser *p, size_t start)
{
    struct slm_char_set ignored = {.ranges.allocator = p->sets->allocator};
    bool empty = false;
    int rc = first_characters(p, start, code_length(p), true, &ignored, &empty);
    slm_set_free(&ignored);
    return rc == SLM_OK && empty ? unsupported(p, "repeating what may be empty") : rc;
}

/* Turn the code from `start` on into its repetition. */
static int repeat(struct parser *p, size_t start, const struct quantifier *q)
{
    uint32_t least = q->least, most = q->most;
    bool lazy = q->lazy;
    size_t length = code_length(p) - start;
    int rc = SLM_OK;
    if (least > REPEAT_LIMIT || (most != UINT32_MAX && most > REPEAT_LIMIT))
        return slm_fail(SLM_ELIMIT, "pre-tokenizer pattern: repeated more than %d times",
                        REPEAT_LIMIT);
    if (most < least)
        return wrong(p, "{m,n} with m above n");
    if (length == 0)
        return SLM_OK; /* nothing, however often */
    if (most > 1 && (rc = refuse_empty(p, start)) < 0)
        return rc;
    if (most == 0) {
        p->code->length = start * sizeof(struct slm_regex_instruction);
        return SLM_OK;
    }
    size_t last = start;
    for (uint32_t i = 1; rc == SLM_OK && i < least; i++) {
        last = code_length(p);
        rc = repeat_code(p, start, length);
    }
    if (rc < 0 || most == least)
        return rc;
    if (most == UINT32_MAX) {
        if (least > 0) /* X+ : try X again, or go on */
            return lazy ? emit(p, SLM_REGEX_SPLIT, 1, -(int32_t)length)
                        : emit(p, SLM_REGEX_SPLIT, -(int32_t)length, 1);
        rc = insert_split(p, last, (int32_t)length + 2, lazy);
        return rc < 0 ? rc : emit(p, SLM_REGEX_JUMP, -(int32_t)length - 1, 0);
    }
    /* X{0,n} is (X(X(X)?)?)?: each split leaves to the very end. */
    uint32_t optional = most - least;
    for (uint32_t i = least == 0; rc == SLM_OK && i < optional; i++)
        rc = repeat_code(p, start, length);
    size_t first = least == 0 ? start : start + least * length;
    for (uint32_t i = optional; rc == SLM_OK && i-- > 0;)
        rc = insert_split(p, first + i * length, (int32_t)((optional - i) * (length + 1)), lazy);
    return rc;
}

/* An operand and what stands behind it. Quantifiers may follow one another. */
static int parse_quantified(struct parser *p)
{
    size_t start = code_length(p);
    struct quantifier q;
    int rc = parse_atom(p);
    while (rc == SLM_OK && read_quantifier(p, &q)) {
        bool simple = code_length(p) - start == 1 && code_of(p)[start].op == SLM_REGEX_CLASS;
        int32_t set = simple ? code_of(p)[start].a : 0;
        if (q.possessive && (!simple || p->n_possessive == 16))
            return unsupported(p, "a possessive group");
        rc = repeat(p, start, &q);
        if (q.possessive) {
            p->possessive[p->n_possessive].exit = (uint32_t)code_length(p);
            p->possessive[p->n_possessive++].set = (uint32_t)set;
        }
    }
    return rc;
}

/* Up to | or ) or the end. */
static int parse_sequence(struct parser *p)
{
    int rc = SLM_OK;
    while (rc == SLM_OK && more(p) && !looking_at(p, "|") && !looking_at(p, ")"))
        rc = parse_quantified(p);
    return rc;
}

/* A|B|C: each alternative but the last begins with a split to the next and ends with a jump out.
 * The jumps wait in a chain (a = distance to the one before) until the end is known. */
static int parse_alternatives(struct parser *p)
{
    bool fold_case = p->fold_case;
    size_t jump = SIZE_MAX;
    int rc = SLM_OK;
    if (++p->depth > DEPTH_LIMIT)
        return slm_fail(SLM_ELIMIT, "pre-tokenizer pattern: nested deeper than %d", DEPTH_LIMIT);
    for (;;) {
        size_t start = code_length(p);
        rc = parse_sequence(p);
        if (rc < 0 || !accept(p, "|"))
            break;
        size_t length = code_length(p) - start;
        if ((rc = insert(p, start, SLM_REGEX_SPLIT, 1, (int32_t)length + 2)) < 0)
            break;
        size_t here = code_length(p);
        int32_t before = jump == SIZE_MAX ? 0 : (int32_t)(here - jump);
        if ((rc = emit(p, SLM_REGEX_JUMP, before, 0)) < 0)
            break;
        jump = here;
    }
    while (rc == SLM_OK && jump != SIZE_MAX) {
        struct slm_regex_instruction *i = &code_of(p)[jump];
        size_t before = i->a == 0 ? SIZE_MAX : jump - (size_t)i->a;
        i->a = (int32_t)(code_length(p) - jump);
        jump = before;
    }
    p->fold_case = fold_case;
    p->depth--;
    return rc;
}

/* A possessive loop gives nothing back. That is what the greedy loop does as well if what follows
 * can't begin with a character of the loop, or can't fail. */
static int check_possessive(struct parser *p)
{
    size_t end = code_length(p);
    for (uint32_t i = 0; i < p->n_possessive; i++) {
        struct slm_char_set first = {.ranges.allocator = p->sets->allocator};
        bool can_end = false;
        int rc = first_characters(p, p->possessive[i].exit, end, false, &first, &can_end);
        bool harmless = can_end || slm_set_disjoint(&first, &p->sets->sets[p->possessive[i].set]);
        slm_set_free(&first);
        if (rc < 0)
            return rc;
        if (!harmless)
            return unsupported(p, "a possessive quantifier before the same characters");
    }
    return SLM_OK;
}

int slm_regex_parse(const char *pattern, size_t n, struct slm_regex_sets *sets,
                    struct slm_buf *code)
{
    struct parser p = {.text = pattern, .n = n, .sets = sets, .code = code};
    p.code_start = code_length(&p);
    int rc = parse_alternatives(&p);
    if (rc == SLM_OK && more(&p))
        rc = wrong(&p, ") without (");
    if (rc == SLM_OK)
        rc = emit(&p, SLM_REGEX_MATCH, 0, 0);
    if (rc == SLM_OK)
        rc = check_possessive(&p);
    return rc;
}
