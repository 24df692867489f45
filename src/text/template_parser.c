/*
 * template_parser.c - from tokens to a tree: expressions by precedence, statements by their first
 * word.
 *
 * After a failure every function returns quickly: tokens are TOKEN_END from then on, and nodes are
 * a dummy if there is no memory, so nobody here has to look at error codes. Recursion follows
 * brackets, prefixes and tags inside one another; enter() bounds it.
 */
#include "text/template.h"
#include "text/template_run.h"
#include "text/template_syntax.h"

#include "base/utf8.h"

#include <string.h>

struct parser {
    struct slm_template *template;
    struct workspace *w;
    struct lexer lexer;
    struct token token, ahead; /* where we are, and what comes then */
    size_t tag;                /* position of the tag that we are in */
    size_t depth;
    size_t loops;   /* loops around us, for break and continue */
    bool tentative; /* in an `if`: a filter that does not exist is an error only when reached */
    unsigned uses;  /* what the macro around us mentions: enum macro_uses */
    const struct node *unknown; /* a filter or test that does not exist, outside of any `if` */
    struct node dummy;
};

/* ---------------------------------------------------------------------------------- basics --- */

static void fail_here(struct parser *p, const char *message)
{
    p->w->position = p->token.position;
    slm_work_fail(p->w, SLM_EFORMAT, "%s", message);
    p->token = p->ahead = (struct token){.type = TOKEN_END, .position = p->token.position};
}

static void advance(struct parser *p)
{
    p->token = p->ahead;
    p->ahead = slm_lexer_next(&p->lexer);
    if (p->w->code)
        p->token.type = TOKEN_END;
}

static bool enter(struct parser *p)
{
    if (p->depth < SLM_LIMIT_TEMPLATE_NESTING) {
        p->depth++;
        return true;
    }
    p->w->position = p->token.position;
    slm_work_fail(p->w, SLM_ELIMIT, "it is nested too deep");
    p->token.type = TOKEN_END;
    return false;
}

static struct node *new_node_at(struct parser *p, enum node_kind kind, size_t position)
{
    struct node *node = slm_work_take(p->w, 1, sizeof *node);
    if (!node)
        node = &p->dummy;
    memset(node, 0, sizeof *node);
    node->kind = (uint8_t)kind;
    node->position = (uint32_t)position;
    return node;
}

static struct node *new_node(struct parser *p, enum node_kind kind)
{
    return new_node_at(p, kind, p->token.position);
}

static void add_item(struct parser *p, struct node *node, struct node *item)
{
    if (node->n_items == node->n_capacity) {
        uint32_t capacity = node->n_capacity ? 2 * node->n_capacity : 4;
        struct node **items = slm_work_take(p->w, capacity, sizeof *items);
        if (!items || node == &p->dummy)
            return;
        if (node->n_items)
            memcpy(items, node->items, node->n_items * sizeof *items);
        node->items = items;
        node->n_capacity = capacity;
    }
    node->items[node->n_items++] = item;
}

/* The number of a variable's name. Templates have few dozens of names: a walk will do, counted. */
static uint32_t symbol_of(struct parser *p, struct value name)
{
    struct slm_template *t = p->template;
    for (uint32_t i = 0; i < t->n_symbols && slm_work_spend(p->w, 0); i++)
        if (t->symbols[i].length == name.length &&
            memcmp(t->symbols[i].text, name.text, name.length) == 0)
            return i;
    if (t->n_symbols == t->symbols_capacity) {
        uint32_t capacity = t->symbols_capacity ? 2 * t->symbols_capacity : 32;
        struct value *symbols = slm_work_take(p->w, capacity, sizeof *symbols);
        if (!symbols)
            return 0;
        if (t->n_symbols)
            memcpy(symbols, t->symbols, t->n_symbols * sizeof *symbols);
        t->symbols = symbols;
        t->symbols_capacity = capacity;
    }
    t->symbols[t->n_symbols] = name;
    return t->n_symbols++;
}

static bool token_is(const struct token *token, enum token_type type, const char *text)
{
    return token->type == type && slm_value_is_text(token->value, text);
}

static bool at_operator(const struct parser *p, const char *text)
{
    return token_is(&p->token, TOKEN_OPERATOR, text);
}

static bool at_word(const struct parser *p, const char *text)
{
    return token_is(&p->token, TOKEN_NAME, text);
}

static bool skip_operator(struct parser *p, const char *text)
{
    bool found = at_operator(p, text);
    if (found)
        advance(p);
    return found;
}

static bool skip_word(struct parser *p, const char *text)
{
    bool found = at_word(p, text);
    if (found)
        advance(p);
    return found;
}

static void expect_operator(struct parser *p, const char *text)
{
    if (!skip_operator(p, text)) {
        p->w->position = p->token.position;
        slm_work_fail(p->w, SLM_EFORMAT, "'%s' should be here", text);
        p->token.type = TOKEN_END;
    }
}

static struct value expect_name(struct parser *p)
{
    struct value name = p->token.value;
    if (p->token.type == TOKEN_NAME) {
        advance(p);
        return name;
    }
    fail_here(p, "a name should be here");
    return value_text("", 0);
}

/* ----------------------------------------------------------------------------- expressions --- */

static struct node *parse_expression(struct parser *p);
static struct node *parse_unary(struct parser *p, bool with_filters);
static struct node *parse_postfix(struct parser *p, struct node *node);
static struct node *parse_primary(struct parser *p);

/* Does a list of expressions end here? */
static bool at_tuple_end(const struct parser *p)
{
    return p->token.type == TOKEN_PRINT_END || p->token.type == TOKEN_TAG_END ||
           p->token.type == TOKEN_END || at_operator(p, ")");
}

/* One expression, or with commas a tuple. `part` parses each; () is a tuple only in brackets, and
 * `stop` (may be NULL) is a word that ends it. */
static struct node *parse_tuple(struct parser *p, struct node *(*part)(struct parser *),
                                bool in_brackets, const char *stop)
{
    struct node *tuple = new_node(p, NODE_TUPLE);
    bool comma = false;
    while (!at_tuple_end(p) && !(stop && at_word(p, stop))) {
        add_item(p, tuple, part(p));
        comma = skip_operator(p, ",");
        if (!comma)
            break;
    }
    if (tuple->n_items == 1 && !comma)
        return tuple->items[0];
    if (tuple->n_items == 0 && !in_brackets)
        fail_here(p, "an expression should be here");
    return tuple;
}

static struct node *parse_list(struct parser *p)
{
    struct node *list = new_node(p, NODE_LIST);
    advance(p);
    while (!p->w->code && !at_operator(p, "]")) {
        add_item(p, list, parse_expression(p));
        if (!skip_operator(p, ","))
            break;
    }
    expect_operator(p, "]");
    return list;
}

static struct node *parse_dict(struct parser *p)
{
    struct node *dict = new_node(p, NODE_DICT);
    advance(p);
    while (!p->w->code && !at_operator(p, "}")) {
        add_item(p, dict, parse_expression(p));
        expect_operator(p, ":");
        add_item(p, dict, parse_expression(p));
        if (!skip_operator(p, ","))
            break;
    }
    expect_operator(p, "}");
    return dict;
}

static struct node *parse_strings(struct parser *p)
{
    struct node *node = new_node(p, NODE_CONSTANT);
    node->value = p->token.value;
    advance(p);
    while (p->token.type == TOKEN_STRING) { /* 'a' 'b' is 'ab' */
        node->value = slm_value_concat(p->w, node->value, p->token.value);
        advance(p);
    }
    /* A constant is shared by all renderings: none may extend it. */
    node->value.detail = 0;
    return node;
}

static struct node *parse_name(struct parser *p)
{
    struct node *node = new_node(p, NODE_CONSTANT);
    struct value name = expect_name(p);
    if (slm_value_is_text(name, "true") || slm_value_is_text(name, "True")) {
        node->value = value_boolean(true);
    } else if (slm_value_is_text(name, "false") || slm_value_is_text(name, "False")) {
        node->value = value_boolean(false);
    } else if (slm_value_is_text(name, "none") || slm_value_is_text(name, "None")) {
        node->value = value_none();
    } else {
        node->kind = NODE_NAME;
        node->value = name;
        node->symbol = symbol_of(p, name);
        if (node->symbol >= SYMBOL_CALLER && node->symbol <= SYMBOL_KWARGS)
            p->uses |= 1u << (node->symbol - SYMBOL_CALLER);
    }
    return node;
}

static struct node *parse_primary(struct parser *p)
{
    struct node *node = &p->dummy;
    if (p->token.type == TOKEN_NAME) {
        node = parse_name(p);
    } else if (p->token.type == TOKEN_STRING) {
        node = parse_strings(p);
    } else if (p->token.type == TOKEN_NUMBER) {
        node = new_node(p, NODE_CONSTANT);
        node->value = p->token.value;
        advance(p);
    } else if (skip_operator(p, "(")) {
        node = parse_tuple(p, parse_expression, true, NULL);
        expect_operator(p, ")");
    } else if (at_operator(p, "[")) {
        node = parse_list(p);
    } else if (at_operator(p, "{")) {
        node = parse_dict(p);
    } else {
        fail_here(p, "an expression should be here");
    }
    return node;
}

/* (a, *b, name=c, **d) into node->items. */
static void parse_arguments(struct parser *p, struct node *node)
{
    bool named = false; /* positional arguments come first */
    expect_operator(p, "(");
    while (!p->w->code && !at_operator(p, ")")) {
        struct node *argument = new_node(p, NODE_KEYWORD);
        if (skip_operator(p, "**")) {
            argument->kind = NODE_SPREAD_DICT;
            named = true;
            argument->a = parse_expression(p);
        } else if (skip_operator(p, "*")) {
            argument->kind = NODE_SPREAD;
            argument->a = parse_expression(p);
        } else if (p->token.type == TOKEN_NAME && token_is(&p->ahead, TOKEN_OPERATOR, "=")) {
            named = true;
            argument->value = expect_name(p);
            advance(p);
            argument->a = parse_expression(p);
        } else {
            if (named)
                fail_here(p, "an argument without a name comes after one with a name");
            argument = parse_expression(p);
        }
        add_item(p, node, argument);
        if (!skip_operator(p, ","))
            break;
    }
    expect_operator(p, ")");
}

/* [b], [a:b], [a:b:c] or [a, b] after the opening bracket. */
static struct node *parse_subscript(struct parser *p, struct node *object)
{
    struct node *node = new_node(p, NODE_SUBSCRIPT);
    node->a = object;
    advance(p);
    if (!at_operator(p, ":"))
        node->b = parse_expression(p);
    if (at_operator(p, ",")) {
        struct node *tuple = new_node(p, NODE_TUPLE);
        add_item(p, tuple, node->b);
        while (skip_operator(p, ",") && !at_operator(p, "]"))
            add_item(p, tuple, parse_expression(p));
        node->b = tuple;
    } else if (at_operator(p, ":")) {
        struct node *parts[3] = {node->b, NULL, NULL};
        for (int i = 1; i < 3 && skip_operator(p, ":"); i++)
            if (!at_operator(p, ":") && !at_operator(p, "]"))
                parts[i] = parse_expression(p);
        node->kind = NODE_SLICE;
        for (int i = 0; i < 3; i++)
            add_item(p, node, parts[i]);
    }
    expect_operator(p, "]");
    return node;
}

static struct node *parse_attribute(struct parser *p, struct node *object)
{
    struct node *node = new_node(p, NODE_ATTRIBUTE);
    node->a = object;
    advance(p);
    if (p->token.type == TOKEN_NUMBER && p->token.value.type == VALUE_INTEGER) { /* x.0 is x[0] */
        node->kind = NODE_SUBSCRIPT;
        node->b = new_node(p, NODE_CONSTANT);
        node->b->value = p->token.value;
        advance(p);
    } else {
        node->value = expect_name(p);
    }
    return node;
}

static struct node *parse_call(struct parser *p, struct node *callee)
{
    struct node *node = new_node(p, NODE_CALL);
    node->a = callee;
    parse_arguments(p, node);
    return node;
}

static struct node *parse_postfix(struct parser *p, struct node *node)
{
    for (;;) {
        if (at_operator(p, "."))
            node = parse_attribute(p, node);
        else if (at_operator(p, "["))
            node = parse_subscript(p, node);
        else if (at_operator(p, "("))
            node = parse_call(p, node);
        else
            return node;
    }
}

/* A filter's or test's name, which may hold dots; its table entry, too. */
static void parse_builtin(struct parser *p, struct node *node)
{
    node->value = expect_name(p);
    while (at_operator(p, ".")) {
        advance(p);
        struct value more = expect_name(p);
        if (p->w->code)
            return;
        node->value.length = (uint32_t)(more.text + more.length - node->value.text);
    }
    node->builtin = node->kind == NODE_FILTER ? slm_template_filter(node->value)
                                              : slm_template_test(node->value);
    if (!node->builtin && !p->tentative)
        p->unknown = node;
}

/* At the end of a print or tag: was there an unknown filter that is certain to be reached? */
static void check_unknown(struct parser *p)
{
    const struct node *node = p->unknown;
    if (!node || p->w->code)
        return;
    p->w->position = node->position;
    slm_work_fail(p->w, SLM_EFORMAT, "there is no %s '%.*s'",
                  node->kind == NODE_FILTER ? "filter" : "test", (int)node->value.length,
                  node->value.text);
    p->token.type = TOKEN_END;
}

/* |name(arguments)...; object is NULL where a filter block begins. The first '|' was skipped. */
static struct node *parse_filter(struct parser *p, struct node *object)
{
    struct node *node = new_node(p, NODE_FILTER);
    node->a = object;
    parse_builtin(p, node);
    if (at_operator(p, "("))
        parse_arguments(p, node);
    return node;
}

/* After `is`: [not] name, name(arguments) or name argument. */
static struct node *parse_test(struct parser *p, struct node *object)
{
    struct node *negation = at_word(p, "not") ? new_node(p, NODE_NOT) : NULL;
    if (negation)
        advance(p);
    struct node *node = new_node(p, NODE_TEST);
    node->a = object;
    parse_builtin(p, node);
    bool word = p->token.type == TOKEN_NAME && !at_word(p, "else") && !at_word(p, "or") &&
                !at_word(p, "and");
    if (at_operator(p, "(")) {
        parse_arguments(p, node);
    } else if (at_word(p, "is")) {
        fail_here(p, "tests can't be chained");
    } else if (word || p->token.type == TOKEN_STRING || p->token.type == TOKEN_NUMBER ||
               at_operator(p, "[") || at_operator(p, "{")) {
        add_item(p, node, parse_postfix(p, parse_primary(p)));
    }
    if (!negation)
        return node;
    negation->a = node;
    return negation;
}

static struct node *parse_unary(struct parser *p, bool with_filters)
{
    struct node *node;
    if (!enter(p))
        return &p->dummy;
    if (at_operator(p, "-") || at_operator(p, "+")) {
        node = new_node(p, at_operator(p, "-") ? NODE_NEGATIVE : NODE_POSITIVE);
        advance(p);
        node->a = parse_unary(p, false);
    } else {
        node = parse_primary(p);
    }
    node = parse_postfix(p, node);
    while (with_filters) {
        if (skip_operator(p, "|"))
            node = parse_filter(p, node);
        else if (skip_word(p, "is"))
            node = parse_test(p, node);
        else if (at_operator(p, "("))
            node = parse_call(p, node);
        else
            break;
    }
    p->depth--;
    return node;
}

/* The binary operators between comparison and unary; the higher the level, the tighter. */
static const struct binary_operator {
    const char *text;
    uint8_t level, kind, operation;
} binary_operators[] = {
    {"+", 0, NODE_ARITHMETIC, ADD},    {"-", 0, NODE_ARITHMETIC, SUBTRACT},
    {"~", 1, NODE_CONCAT, 0},          {"*", 2, NODE_ARITHMETIC, MULTIPLY},
    {"/", 2, NODE_ARITHMETIC, DIVIDE}, {"//", 2, NODE_ARITHMETIC, FLOOR_DIVIDE},
    {"%", 2, NODE_ARITHMETIC, MODULO}, {"**", 3, NODE_ARITHMETIC, POWER},
};

static const struct binary_operator *operator_at(const struct parser *p)
{
    for (size_t i = 0; i < sizeof binary_operators / sizeof *binary_operators; i++)
        if (at_operator(p, binary_operators[i].text))
            return &binary_operators[i];
    return NULL;
}

/* Operators of this level and tighter ones. All of them group to the left. */
static struct node *parse_math(struct parser *p, int level)
{
    struct node *left = parse_unary(p, true), *concat = NULL;
    const struct binary_operator *operator;
    while ((operator= operator_at(p)) != NULL && operator->level >= level) {
        bool more = concat && left == concat && operator->kind == NODE_CONCAT;
        struct node *node = more ? concat : new_node(p, operator->kind);
        advance(p);
        struct node *right = parse_math(p, operator->level + 1);
        if (operator->kind == NODE_CONCAT) { /* a ~ b ~ c is one node */
            if (!more)
                add_item(p, node, left);
            add_item(p, node, right);
            concat = node;
        } else {
            node->operation = operator->operation;
            node->a = left;
            node->b = right;
        }
        left = node;
    }
    return left;
}

/* The comparison at the present token, or -1. */
static int comparison_at(const struct parser *p)
{
    static const char *const operators[] = {"==", "!=", "<", "<=", ">", ">="};
    for (int i = 0; i < 6; i++)
        if (at_operator(p, operators[i]))
            return i; /* in the order of enum comparison */
    if (at_word(p, "in"))
        return IN;
    return at_word(p, "not") && token_is(&p->ahead, TOKEN_NAME, "in") ? NOT_IN : -1;
}

static struct node *parse_compare(struct parser *p)
{
    struct node *left = parse_math(p, 0), *node = NULL;
    int comparison;
    while ((comparison = comparison_at(p)) >= 0) {
        if (!node) {
            node = new_node(p, NODE_COMPARE);
            node->a = left;
        }
        struct node *operand = new_node(p, NODE_OPERAND);
        operand->operation = (uint8_t)comparison;
        advance(p);
        if (comparison == NOT_IN)
            advance(p);
        operand->a = parse_math(p, 0);
        add_item(p, node, operand);
    }
    return node ? node : left;
}

static struct node *parse_not(struct parser *p)
{
    if (!at_word(p, "not"))
        return parse_compare(p);
    struct node *node = new_node(p, NODE_NOT);
    if (!enter(p))
        return node;
    advance(p);
    node->a = parse_not(p);
    p->depth--;
    return node;
}

static struct node *parse_and(struct parser *p)
{
    struct node *left = parse_not(p);
    while (at_word(p, "and")) {
        struct node *node = new_node(p, NODE_AND);
        advance(p);
        node->a = left;
        node->b = parse_not(p);
        left = node;
    }
    return left;
}

/* An expression without `if`: what stands after {% if %} and after `in`. */
static struct node *parse_or(struct parser *p)
{
    struct node *left = parse_and(p);
    while (at_word(p, "or")) {
        struct node *node = new_node(p, NODE_OR);
        advance(p);
        node->a = left;
        node->b = parse_and(p);
        left = node;
    }
    return left;
}

/* a if b else c. All three are tentative, but for `a` that shows only afterwards. */
static struct node *parse_expression(struct parser *p)
{
    const struct node *unknown = p->unknown;
    bool tentative = p->tentative;
    struct node *node = parse_or(p);
    if (at_word(p, "if")) {
        p->tentative = true;
        p->unknown = unknown;
    }
    while (at_word(p, "if")) {
        struct node *conditional = new_node(p, NODE_CONDITIONAL);
        advance(p);
        conditional->a = node;
        conditional->b = parse_or(p);
        if (skip_word(p, "else")) {
            if (!enter(p))
                break;
            conditional->c = parse_expression(p);
            p->depth--;
        }
        node = conditional;
    }
    p->tentative = tentative;
    return node;
}

/* ------------------------------------------------------------------------------ statements --- */

static struct node *parse_block(struct parser *p, const char *end1, const char *end2,
                                const char *end3);

/* The rest of a tag that opens a body, the body, and the tag that ends it, of which the word is
 * still to be read if more than one could come. */
static struct node *parse_body(struct parser *p, const char *end1, const char *end2,
                               const char *end3)
{
    skip_operator(p, ":");
    if (p->token.type != TOKEN_TAG_END)
        fail_here(p, "the end of the tag should be here");
    advance(p);
    struct node *block = parse_block(p, end1, end2, end3);
    if (!end2 && !p->w->code)
        advance(p);
    return block;
}

/* The body of something that has its own view of variables and filters. */
static struct node *parse_scoped_body(struct parser *p, const char *end)
{
    bool tentative = p->tentative;
    p->tentative = false;
    struct node *body = parse_body(p, end, NULL, NULL);
    p->tentative = tentative;
    return body;
}

/* The body of a macro, or of a block whose output is kept: no break leaves it. */
static void parse_closed_body(struct parser *p, struct node *node, const char *end)
{
    size_t loops = p->loops;
    unsigned uses = p->uses;
    p->loops = 0;
    p->uses = 0;
    node->c = parse_scoped_body(p, end);
    node->operation = (uint8_t)p->uses;
    p->loops = loops;
    p->uses |= uses;
}

/* A variable, member of a namespace, or bracketed tuple to assign to. */
static struct node *parse_target_part(struct parser *p)
{
    if (p->token.type == TOKEN_NAME && token_is(&p->ahead, TOKEN_OPERATOR, ".")) {
        struct node *node = new_node(p, NODE_MEMBER);
        node->symbol = symbol_of(p, expect_name(p));
        advance(p);
        node->value = expect_name(p);
        return node;
    }
    return parse_primary(p);
}

static void check_target(struct parser *p, const struct node *node, bool members)
{
    bool ok = node->kind == NODE_NAME || (members && node->kind == NODE_MEMBER) ||
              node->kind == NODE_TUPLE;
    if (!ok && !p->w->code) {
        p->w->position = node->position;
        slm_work_fail(p->w, SLM_EFORMAT, "this can't be assigned to");
    }
    for (uint32_t i = 0; node->kind == NODE_TUPLE && i < node->n_items; i++)
        check_target(p, node->items[i], members);
}

static struct node *parse_target(struct parser *p, const char *stop, bool members)
{
    struct node *target = parse_tuple(p, parse_target_part, false, stop);
    check_target(p, target, members);
    return target;
}

static struct node *parse_set(struct parser *p)
{
    struct node *node = new_node(p, NODE_SET);
    node->a = parse_target(p, NULL, true);
    if (skip_operator(p, "=")) {
        node->b = parse_tuple(p, parse_expression, false, NULL);
        return node;
    }
    node->kind = NODE_SET_BLOCK;
    while (skip_operator(p, "|"))
        node->b = parse_filter(p, node->b);
    parse_closed_body(p, node, "endset");
    return node;
}

static struct node *parse_for(struct parser *p)
{
    struct node *node = new_node(p, NODE_FOR), *condition = NULL, *otherwise = NULL;
    bool tentative = p->tentative;
    node->a = parse_target(p, "in", false);
    if (!skip_word(p, "in"))
        fail_here(p, "'in' should be here");
    node->b = parse_tuple(p, parse_or, false, "recursive");
    p->tentative = false;
    if (skip_word(p, "if"))
        condition = parse_expression(p);
    if (at_word(p, "recursive"))
        fail_here(p, "recursive loops are not supported");
    p->loops++;
    node->c = parse_body(p, "endfor", "else", NULL);
    p->loops--;
    if (skip_word(p, "else"))
        otherwise = parse_body(p, "endfor", NULL, NULL);
    else if (!p->w->code)
        advance(p);
    p->tentative = tentative;
    add_item(p, node, condition);
    add_item(p, node, otherwise);
    return node;
}

static struct node *parse_if(struct parser *p)
{
    struct node *node = new_node(p, NODE_IF);
    bool tentative = p->tentative, more = true;
    p->tentative = true;
    while (more && !p->w->code) {
        add_item(p, node, parse_tuple(p, parse_or, false, NULL));
        add_item(p, node, parse_body(p, "elif", "else", "endif"));
        more = skip_word(p, "elif");
    }
    if (skip_word(p, "else"))
        node->c = parse_body(p, "endif", NULL, NULL);
    else if (!p->w->code)
        advance(p);
    p->tentative = tentative;
    return node;
}

/* (a, b=1) of a macro, into its items. */
static void parse_parameters(struct parser *p, struct node *macro)
{
    expect_operator(p, "(");
    while (!p->w->code && !at_operator(p, ")")) {
        struct node *parameter = new_node(p, NODE_PARAMETER);
        parameter->value = expect_name(p);
        parameter->symbol = symbol_of(p, parameter->value);
        if (skip_operator(p, "="))
            parameter->a = parse_expression(p);
        else if (macro->n_items && macro->items[macro->n_items - 1]->a)
            fail_here(p, "a parameter without default follows one that has a default");
        add_item(p, macro, parameter);
        if (!skip_operator(p, ","))
            break;
    }
    expect_operator(p, ")");
}

static struct node *parse_macro(struct parser *p)
{
    struct node *node = new_node(p, NODE_MACRO);
    node->value = expect_name(p);
    node->symbol = symbol_of(p, node->value);
    parse_parameters(p, node);
    parse_closed_body(p, node, "endmacro");
    return node;
}

static struct node *parse_call_block(struct parser *p)
{
    struct node *node = new_node(p, NODE_CALL_BLOCK);
    node->b = new_node(p, NODE_MACRO);
    node->b->value = value_text("caller", 6);
    if (at_operator(p, "("))
        parse_parameters(p, node->b);
    node->a = parse_expression(p);
    if (node->a->kind != NODE_CALL)
        fail_here(p, "{% call %} needs a call");
    parse_closed_body(p, node->b, "endcall");
    return node;
}

static struct node *parse_filter_block(struct parser *p)
{
    struct node *node = new_node(p, NODE_FILTER_BLOCK);
    do
        node->b = parse_filter(p, node->b);
    while (skip_operator(p, "|"));
    parse_closed_body(p, node, "endfilter");
    return node;
}

static struct node *parse_with(struct parser *p)
{
    struct node *node = new_node(p, NODE_WITH);
    while (!p->w->code && p->token.type != TOKEN_TAG_END) {
        if (node->n_items)
            expect_operator(p, ",");
        struct node *target = parse_target_part(p);
        check_target(p, target, false);
        add_item(p, node, target);
        expect_operator(p, "=");
        add_item(p, node, parse_expression(p));
    }
    node->c = parse_scoped_body(p, "endwith");
    return node;
}

/* What transformers marks as the assistant's part: for rendering it is a scope like any other. */
static struct node *parse_generation(struct parser *p)
{
    struct node *node = new_node(p, NODE_SCOPE);
    parse_closed_body(p, node, "endgeneration");
    return node;
}

static struct node *parse_jump(struct parser *p, enum node_kind kind)
{
    if (p->loops == 0)
        fail_here(p, "there is no loop around this");
    return new_node(p, kind);
}

static struct node *parse_break(struct parser *p)
{
    return parse_jump(p, NODE_BREAK);
}

static struct node *parse_continue(struct parser *p)
{
    return parse_jump(p, NODE_CONTINUE);
}

static struct node *parse_print(struct parser *p)
{
    struct node *block = new_node(p, NODE_BLOCK);
    while (!p->w->code && p->token.type != TOKEN_TAG_END) {
        if (block->n_items)
            expect_operator(p, ",");
        struct node *print = new_node(p, NODE_PRINT);
        print->a = parse_expression(p);
        add_item(p, block, print);
    }
    return block;
}

static const struct {
    const char *word;
    struct node *(*parse)(struct parser *);
} statements[] = {
    {"set", parse_set},         {"if", parse_if},
    {"for", parse_for},         {"macro", parse_macro},
    {"call", parse_call_block}, {"filter", parse_filter_block},
    {"with", parse_with},       {"generation", parse_generation},
    {"break", parse_break},     {"continue", parse_continue},
    {"print", parse_print},
};

/* One tag, from the word after "{%" on. */
static struct node *parse_statement(struct parser *p)
{
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!at_word(p, statements[i].word) || !enter(p))
            continue;
        size_t outer = p->tag;
        p->tag = p->token.position;
        advance(p);
        struct node *node = statements[i].parse(p);
        p->tag = outer;
        p->depth--;
        if (p->token.type != TOKEN_TAG_END)
            fail_here(p, "the end of the tag should be here");
        check_unknown(p);
        advance(p);
        return node;
    }
    p->w->position = p->token.position;
    slm_work_fail(p->w, SLM_EFORMAT, "the tag '%.*s' is unknown, or does not belong here",
                  p->token.type == TOKEN_NAME ? (int)p->token.value.length : 0,
                  p->token.type == TOKEN_NAME ? p->token.value.text : "");
    p->token.type = TOKEN_END;
    return &p->dummy;
}

/* Text, prints and tags up to a tag with one of the words (NULL: none), which is the present token
 * then; or up to the end, if there are no words. */
static struct node *parse_block(struct parser *p, const char *end1, const char *end2,
                                const char *end3)
{
    struct node *block = new_node(p, NODE_BLOCK);
    size_t opened = p->tag;
    while (p->token.type != TOKEN_END) {
        struct node *node = new_node(p, NODE_TEXT);
        if (p->token.type == TOKEN_TEXT) {
            node->value = p->token.value;
            advance(p);
        } else if (p->token.type == TOKEN_PRINT_BEGIN) {
            advance(p);
            node->kind = NODE_PRINT;
            node->a = parse_tuple(p, parse_expression, false, NULL);
            if (p->token.type != TOKEN_PRINT_END)
                fail_here(p, "'}}' should be here");
            check_unknown(p);
            advance(p);
        } else {
            advance(p);
            if ((end1 && at_word(p, end1)) || (end2 && at_word(p, end2)) ||
                (end3 && at_word(p, end3)))
                return block;
            node = parse_statement(p);
        }
        add_item(p, block, node);
    }
    if (end1) {
        p->w->position = opened;
        slm_work_fail(p->w, SLM_EFORMAT, "this tag is never closed: {%% %s %%} is missing",
                      end3 ? end3 : end1);
    }
    return block;
}

int slm_template_parse_source(struct slm_template *template)
{
    struct parser p = {.template = template, .w = &template->memory};
    static const char *const own[] = {"loop", "caller", "varargs", "kwargs"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        symbol_of(&p, value_text(own[i], strlen(own[i])));
    slm_lexer_init(&p.lexer, p.w);
    advance(&p);
    advance(&p);
    template->root = parse_block(&p, NULL, NULL, NULL);
    return p.w->code;
}
