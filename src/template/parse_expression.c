/*
 * parse_expression.c - expressions, by precedence: if, or, and, not, comparison, sums, ~,
 * products, powers, signs, and what follows a name.
 */
#include "template/parser.h"
#include "template/run.h"

#include <string.h>

static struct node *parse_unary(struct parser *p, bool with_filters);
static struct node *parse_postfix(struct parser *p, struct node *node);

/* Does a list of expressions end here? */
static bool at_tuple_end(const struct parser *p)
{
    return p->token.type == TOKEN_PRINT_END || p->token.type == TOKEN_TAG_END ||
           p->token.type == TOKEN_END || slm_parser_at_operator(p, ")");
}

/* One expression, or with commas a tuple. `part` parses each; () is a tuple only in brackets, and
 * `stop` (may be NULL) is a word that ends it. */
struct node *slm_parse_tuple(struct parser *p, struct node *(*part)(struct parser *),
                             bool in_brackets, const char *stop)
{
    struct node *tuple = slm_parser_node(p, NODE_TUPLE);
    bool comma = false;
    while (!at_tuple_end(p) && !(stop && slm_parser_at_word(p, stop))) {
        slm_parser_add(p, tuple, part(p));
        comma = slm_parser_skip_operator(p, ",");
        if (!comma)
            break;
    }
    if (tuple->n_items == 1 && !comma)
        return tuple->items[0];
    if (tuple->n_items == 0 && !in_brackets)
        slm_parser_fail(p, "an expression should be here");
    return tuple;
}

/* [a, b,] */
static struct node *parse_list(struct parser *p)
{
    struct node *list = slm_parser_node(p, NODE_LIST);
    slm_parser_advance(p);
    while (!p->w->code && !slm_parser_at_operator(p, "]")) {
        slm_parser_add(p, list, slm_parse_expression(p));
        if (!slm_parser_skip_operator(p, ","))
            break;
    }
    slm_parser_expect_operator(p, "]");
    return list;
}

/* {a: b, c: d,} */
static struct node *parse_dict(struct parser *p)
{
    struct node *dict = slm_parser_node(p, NODE_DICT);
    slm_parser_advance(p);
    while (!p->w->code && !slm_parser_at_operator(p, "}")) {
        slm_parser_add(p, dict, slm_parse_expression(p));
        slm_parser_expect_operator(p, ":");
        slm_parser_add(p, dict, slm_parse_expression(p));
        if (!slm_parser_skip_operator(p, ","))
            break;
    }
    slm_parser_expect_operator(p, "}");
    return dict;
}

/* One string, or several that stand side by side. */
static struct node *parse_strings(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_CONSTANT);
    node->value = p->token.value;
    slm_parser_advance(p);
    while (p->token.type == TOKEN_STRING) { /* 'a' 'b' is 'ab' */
        node->value = slm_value_concat(p->w, node->value, p->token.value);
        slm_parser_advance(p);
    }
    /* A constant is shared by all renderings: none may extend it. */
    node->value.detail = 0;
    return node;
}

/* A variable, or one of the three words that are constants, in both spellings. */
static struct node *parse_name(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_CONSTANT);
    struct value name = slm_parser_expect_name(p);
    if (slm_value_is_text(name, "true") || slm_value_is_text(name, "True")) {
        node->value = value_boolean(true);
    } else if (slm_value_is_text(name, "false") || slm_value_is_text(name, "False")) {
        node->value = value_boolean(false);
    } else if (slm_value_is_text(name, "none") || slm_value_is_text(name, "None")) {
        node->value = value_none();
    } else {
        node->kind = NODE_NAME;
        node->value = name;
        node->symbol = slm_parser_symbol(p, name);
        if (node->symbol >= SYMBOL_CALLER && node->symbol <= SYMBOL_KWARGS)
            p->uses |= 1u << (node->symbol - SYMBOL_CALLER);
    }
    return node;
}

struct node *slm_parse_primary(struct parser *p)
{
    struct node *node = &p->dummy;
    if (p->token.type == TOKEN_NAME) {
        node = parse_name(p);
    } else if (p->token.type == TOKEN_STRING) {
        node = parse_strings(p);
    } else if (p->token.type == TOKEN_NUMBER) {
        node = slm_parser_node(p, NODE_CONSTANT);
        node->value = p->token.value;
        slm_parser_advance(p);
    } else if (slm_parser_skip_operator(p, "(")) {
        node = slm_parse_tuple(p, slm_parse_expression, true, NULL);
        slm_parser_expect_operator(p, ")");
    } else if (slm_parser_at_operator(p, "[")) {
        node = parse_list(p);
    } else if (slm_parser_at_operator(p, "{")) {
        node = parse_dict(p);
    } else {
        slm_parser_fail(p, "an expression should be here");
    }
    return node;
}

/* (a, *b, name=c, **d) into node->items. */
static void parse_arguments(struct parser *p, struct node *node)
{
    bool named = false; /* positional arguments come first */
    slm_parser_expect_operator(p, "(");
    while (!p->w->code && !slm_parser_at_operator(p, ")")) {
        struct node *argument = slm_parser_node(p, NODE_KEYWORD);
        if (slm_parser_skip_operator(p, "**")) {
            argument->kind = NODE_SPREAD_DICT;
            named = true;
            argument->a = slm_parse_expression(p);
        } else if (slm_parser_skip_operator(p, "*")) {
            argument->kind = NODE_SPREAD;
            argument->a = slm_parse_expression(p);
        } else if (p->token.type == TOKEN_NAME && slm_token_is(&p->ahead, TOKEN_OPERATOR, "=")) {
            named = true;
            argument->value = slm_parser_expect_name(p);
            slm_parser_advance(p);
            argument->a = slm_parse_expression(p);
        } else {
            if (named)
                slm_parser_fail(p, "an argument without a name comes after one with a name");
            argument = slm_parse_expression(p);
        }
        slm_parser_add(p, node, argument);
        if (!slm_parser_skip_operator(p, ","))
            break;
    }
    slm_parser_expect_operator(p, ")");
}

/* [b], [a:b], [a:b:c] or [a, b] after the opening bracket. */
static struct node *parse_subscript(struct parser *p, struct node *object)
{
    struct node *node = slm_parser_node(p, NODE_SUBSCRIPT);
    node->a = object;
    slm_parser_advance(p);
    if (!slm_parser_at_operator(p, ":"))
        node->b = slm_parse_expression(p);
    if (slm_parser_at_operator(p, ",")) {
        struct node *tuple = slm_parser_node(p, NODE_TUPLE);
        slm_parser_add(p, tuple, node->b);
        while (slm_parser_skip_operator(p, ",") && !slm_parser_at_operator(p, "]"))
            slm_parser_add(p, tuple, slm_parse_expression(p));
        node->b = tuple;
    } else if (slm_parser_at_operator(p, ":")) {
        struct node *parts[3] = {node->b, NULL, NULL};
        for (int i = 1; i < 3 && slm_parser_skip_operator(p, ":"); i++)
            if (!slm_parser_at_operator(p, ":") && !slm_parser_at_operator(p, "]"))
                parts[i] = slm_parse_expression(p);
        node->kind = NODE_SLICE;
        for (int i = 0; i < 3; i++)
            slm_parser_add(p, node, parts[i]);
    }
    slm_parser_expect_operator(p, "]");
    return node;
}

/* x.name, or x.0 for x[0]. */
static struct node *parse_attribute(struct parser *p, struct node *object)
{
    struct node *node = slm_parser_node(p, NODE_ATTRIBUTE);
    node->a = object;
    slm_parser_advance(p);
    if (p->token.type == TOKEN_NUMBER && p->token.value.type == VALUE_INTEGER) { /* x.0 is x[0] */
        node->kind = NODE_SUBSCRIPT;
        node->b = slm_parser_node(p, NODE_CONSTANT);
        node->b->value = p->token.value;
        slm_parser_advance(p);
    } else {
        node->value = slm_parser_expect_name(p);
    }
    return node;
}

static struct node *parse_call(struct parser *p, struct node *callee)
{
    struct node *node = slm_parser_node(p, NODE_CALL);
    node->a = callee;
    parse_arguments(p, node);
    return node;
}

static struct node *parse_postfix(struct parser *p, struct node *node)
{
    for (;;) {
        if (slm_parser_at_operator(p, "."))
            node = parse_attribute(p, node);
        else if (slm_parser_at_operator(p, "["))
            node = parse_subscript(p, node);
        else if (slm_parser_at_operator(p, "("))
            node = parse_call(p, node);
        else
            return node;
    }
}

/* A filter's or test's name, which may hold dots; its table entry, too. */
static void parse_builtin(struct parser *p, struct node *node)
{
    node->value = slm_parser_expect_name(p);
    while (slm_parser_at_operator(p, ".")) {
        slm_parser_advance(p);
        struct value more = slm_parser_expect_name(p);
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
void slm_parser_check_unknown(struct parser *p)
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
struct node *slm_parse_filter(struct parser *p, struct node *object)
{
    struct node *node = slm_parser_node(p, NODE_FILTER);
    node->a = object;
    parse_builtin(p, node);
    if (slm_parser_at_operator(p, "("))
        parse_arguments(p, node);
    return node;
}

/* After `is`: [not] name, name(arguments) or name argument. */
static struct node *parse_test(struct parser *p, struct node *object)
{
    struct node *negation = slm_parser_at_word(p, "not") ? slm_parser_node(p, NODE_NOT) : NULL;
    if (negation)
        slm_parser_advance(p);
    struct node *node = slm_parser_node(p, NODE_TEST);
    node->a = object;
    parse_builtin(p, node);
    bool word = p->token.type == TOKEN_NAME && !slm_parser_at_word(p, "else") &&
                !slm_parser_at_word(p, "or") && !slm_parser_at_word(p, "and");
    if (slm_parser_at_operator(p, "(")) {
        parse_arguments(p, node);
    } else if (slm_parser_at_word(p, "is")) {
        slm_parser_fail(p, "tests can't be chained");
    } else if (word || p->token.type == TOKEN_STRING || p->token.type == TOKEN_NUMBER ||
               slm_parser_at_operator(p, "[") || slm_parser_at_operator(p, "{")) {
        slm_parser_add(p, node, parse_postfix(p, slm_parse_primary(p)));
    }
    if (!negation)
        return node;
    negation->a = node;
    return negation;
}

/* A sign, then what follows a value. The sign comes first: -1|abs is abs(-1). */
static struct node *parse_unary(struct parser *p, bool with_filters)
{
    struct node *node;
    if (!slm_parser_enter(p))
        return &p->dummy;
    if (slm_parser_at_operator(p, "-") || slm_parser_at_operator(p, "+")) {
        node = slm_parser_node(p, slm_parser_at_operator(p, "-") ? NODE_NEGATIVE : NODE_POSITIVE);
        slm_parser_advance(p);
        node->a = parse_unary(p, false);
    } else {
        node = slm_parse_primary(p);
    }
    node = parse_postfix(p, node);
    while (with_filters) {
        if (slm_parser_skip_operator(p, "|"))
            node = slm_parse_filter(p, node);
        else if (slm_parser_skip_word(p, "is"))
            node = parse_test(p, node);
        else if (slm_parser_at_operator(p, "("))
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
        if (slm_parser_at_operator(p, binary_operators[i].text))
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
        struct node *node = more ? concat : slm_parser_node(p, operator->kind);
        slm_parser_advance(p);
        struct node *right = parse_math(p, operator->level + 1);
        if (operator->kind == NODE_CONCAT) { /* a ~ b ~ c is one node */
            if (!more)
                slm_parser_add(p, node, left);
            slm_parser_add(p, node, right);
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
        if (slm_parser_at_operator(p, operators[i]))
            return i; /* in the order of enum comparison */
    if (slm_parser_at_word(p, "in"))
        return IN;
    return slm_parser_at_word(p, "not") && slm_token_is(&p->ahead, TOKEN_NAME, "in") ? NOT_IN : -1;
}

static struct node *parse_compare(struct parser *p)
{
    struct node *left = parse_math(p, 0), *node = NULL;
    int comparison;
    while ((comparison = comparison_at(p)) >= 0) {
        if (!node) {
            node = slm_parser_node(p, NODE_COMPARE);
            node->a = left;
        }
        struct node *operand = slm_parser_node(p, NODE_OPERAND);
        operand->operation = (uint8_t)comparison;
        slm_parser_advance(p);
        if (comparison == NOT_IN)
            slm_parser_advance(p);
        operand->a = parse_math(p, 0);
        slm_parser_add(p, node, operand);
    }
    return node ? node : left;
}

/* `not` binds looser than comparisons: not a == b is not (a == b). */
static struct node *parse_not(struct parser *p)
{
    if (!slm_parser_at_word(p, "not"))
        return parse_compare(p);
    struct node *node = slm_parser_node(p, NODE_NOT);
    if (!slm_parser_enter(p))
        return node;
    slm_parser_advance(p);
    node->a = parse_not(p);
    p->depth--;
    return node;
}

static struct node *parse_and(struct parser *p)
{
    struct node *left = parse_not(p);
    while (slm_parser_at_word(p, "and")) {
        struct node *node = slm_parser_node(p, NODE_AND);
        slm_parser_advance(p);
        node->a = left;
        node->b = parse_not(p);
        left = node;
    }
    return left;
}

/* An expression without `if`: what stands after {% if %} and after `in`. */
struct node *slm_parse_or(struct parser *p)
{
    struct node *left = parse_and(p);
    while (slm_parser_at_word(p, "or")) {
        struct node *node = slm_parser_node(p, NODE_OR);
        slm_parser_advance(p);
        node->a = left;
        node->b = parse_and(p);
        left = node;
    }
    return left;
}

/* a if b else c. All three are tentative, but for `a` that shows only afterwards. */
struct node *slm_parse_expression(struct parser *p)
{
    const struct node *unknown = p->unknown;
    bool tentative = p->tentative;
    struct node *node = slm_parse_or(p);
    if (slm_parser_at_word(p, "if")) {
        p->tentative = true;
        p->unknown = unknown;
    }
    while (slm_parser_at_word(p, "if")) {
        struct node *conditional = slm_parser_node(p, NODE_CONDITIONAL);
        slm_parser_advance(p);
        conditional->a = node;
        conditional->b = slm_parse_or(p);
        if (slm_parser_skip_word(p, "else")) {
            if (!slm_parser_enter(p))
                break;
            conditional->c = slm_parse_expression(p);
            p->depth--;
        }
        node = conditional;
    }
    p->tentative = tentative;
    return node;
}
