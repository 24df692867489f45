/*
 * parser.c - from tokens to a tree: statements by their first word. Expressions are in
 * parse_expression.c.
 */
#include "template/parser.h"

#include <string.h>

/* ---------------------------------------------------------------------------------- basics --- */

void slm_parser_fail(struct parser *p, const char *message)
{
    p->w->position = p->token.position;
    slm_work_fail(p->w, SLM_EFORMAT, "%s", message);
    p->token = p->ahead = (struct token){.type = TOKEN_END, .position = p->token.position};
}

void slm_parser_advance(struct parser *p)
{
    p->token = p->ahead;
    p->ahead = slm_lexer_next(&p->lexer);
    if (p->w->code)
        p->token.type = TOKEN_END;
}

bool slm_parser_enter(struct parser *p)
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

struct node *slm_parser_node(struct parser *p, enum node_kind kind)
{
    return new_node_at(p, kind, p->token.position);
}

void slm_parser_add(struct parser *p, struct node *node, struct node *item)
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
uint32_t slm_parser_symbol(struct parser *p, struct value name)
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

bool slm_token_is(const struct token *token, enum token_type type, const char *text)
{
    return token->type == type && slm_value_is_text(token->value, text);
}

bool slm_parser_at_operator(const struct parser *p, const char *text)
{
    return slm_token_is(&p->token, TOKEN_OPERATOR, text);
}

bool slm_parser_at_word(const struct parser *p, const char *text)
{
    return slm_token_is(&p->token, TOKEN_NAME, text);
}

bool slm_parser_skip_operator(struct parser *p, const char *text)
{
    bool found = slm_parser_at_operator(p, text);
    if (found)
        slm_parser_advance(p);
    return found;
}

bool slm_parser_skip_word(struct parser *p, const char *text)
{
    bool found = slm_parser_at_word(p, text);
    if (found)
        slm_parser_advance(p);
    return found;
}

void slm_parser_expect_operator(struct parser *p, const char *text)
{
    if (!slm_parser_skip_operator(p, text)) {
        p->w->position = p->token.position;
        slm_work_fail(p->w, SLM_EFORMAT, "'%s' should be here", text);
        p->token.type = TOKEN_END;
    }
}

struct value slm_parser_expect_name(struct parser *p)
{
    struct value name = p->token.value;
    if (p->token.type == TOKEN_NAME) {
        slm_parser_advance(p);
        return name;
    }
    slm_parser_fail(p, "a name should be here");
    return value_text("", 0);
}

/* ------------------------------------------------------------------------------ statements --- */

static struct node *parse_block(struct parser *p, const char *end1, const char *end2,
                                const char *end3);

/* The rest of a tag that opens a body, the body, and the tag that ends it, of which the word is
 * still to be read if more than one could come. */
static struct node *parse_body(struct parser *p, const char *end1, const char *end2,
                               const char *end3)
{
    slm_parser_skip_operator(p, ":");
    if (p->token.type != TOKEN_TAG_END)
        slm_parser_fail(p, "the end of the tag should be here");
    slm_parser_advance(p);
    struct node *block = parse_block(p, end1, end2, end3);
    if (!end2 && !p->w->code)
        slm_parser_advance(p);
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
    if (p->token.type == TOKEN_NAME && slm_token_is(&p->ahead, TOKEN_OPERATOR, ".")) {
        struct node *node = slm_parser_node(p, NODE_MEMBER);
        node->symbol = slm_parser_symbol(p, slm_parser_expect_name(p));
        slm_parser_advance(p);
        node->value = slm_parser_expect_name(p);
        return node;
    }
    return slm_parse_primary(p);
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
    struct node *target = slm_parse_tuple(p, parse_target_part, false, stop);
    check_target(p, target, members);
    return target;
}

/* {% set a = b %}, or {% set a %}...{% endset %}. */
static struct node *parse_set(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_SET);
    node->a = parse_target(p, NULL, true);
    if (slm_parser_skip_operator(p, "=")) {
        node->b = slm_parse_tuple(p, slm_parse_expression, false, NULL);
        return node;
    }
    node->kind = NODE_SET_BLOCK;
    while (slm_parser_skip_operator(p, "|"))
        node->b = slm_parse_filter(p, node->b);
    parse_closed_body(p, node, "endset");
    return node;
}

/* The `if` of a loop is part of the tag, so the list before it can hold no inline if. */
static struct node *parse_for(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_FOR), *condition = NULL, *otherwise = NULL;
    bool tentative = p->tentative;
    node->a = parse_target(p, "in", false);
    if (!slm_parser_skip_word(p, "in"))
        slm_parser_fail(p, "'in' should be here");
    node->b = slm_parse_tuple(p, slm_parse_or, false, "recursive");
    p->tentative = false;
    if (slm_parser_skip_word(p, "if"))
        condition = slm_parse_expression(p);
    if (slm_parser_at_word(p, "recursive"))
        slm_parser_fail(p, "recursive loops are not supported");
    p->loops++;
    node->c = parse_body(p, "endfor", "else", NULL);
    p->loops--;
    if (slm_parser_skip_word(p, "else"))
        otherwise = parse_body(p, "endfor", NULL, NULL);
    else if (!p->w->code)
        slm_parser_advance(p);
    p->tentative = tentative;
    slm_parser_add(p, node, condition);
    slm_parser_add(p, node, otherwise);
    return node;
}

/* Conditions and bodies in turn; an `elif` is no nesting. */
static struct node *parse_if(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_IF);
    bool tentative = p->tentative, more = true;
    p->tentative = true;
    while (more && !p->w->code) {
        slm_parser_add(p, node, slm_parse_tuple(p, slm_parse_or, false, NULL));
        slm_parser_add(p, node, parse_body(p, "elif", "else", "endif"));
        more = slm_parser_skip_word(p, "elif");
    }
    if (slm_parser_skip_word(p, "else"))
        node->c = parse_body(p, "endif", NULL, NULL);
    else if (!p->w->code)
        slm_parser_advance(p);
    p->tentative = tentative;
    return node;
}

/* (a, b=1) of a macro, into its items. */
static void parse_parameters(struct parser *p, struct node *macro)
{
    slm_parser_expect_operator(p, "(");
    while (!p->w->code && !slm_parser_at_operator(p, ")")) {
        struct node *parameter = slm_parser_node(p, NODE_PARAMETER);
        parameter->value = slm_parser_expect_name(p);
        parameter->symbol = slm_parser_symbol(p, parameter->value);
        if (slm_parser_skip_operator(p, "="))
            parameter->a = slm_parse_expression(p);
        else if (macro->n_items && macro->items[macro->n_items - 1]->a)
            slm_parser_fail(p, "a parameter without default follows one that has a default");
        slm_parser_add(p, macro, parameter);
        if (!slm_parser_skip_operator(p, ","))
            break;
    }
    slm_parser_expect_operator(p, ")");
}

/* A macro is a variable like any other. */
static struct node *parse_macro(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_MACRO);
    node->value = slm_parser_expect_name(p);
    node->symbol = slm_parser_symbol(p, node->value);
    parse_parameters(p, node);
    parse_closed_body(p, node, "endmacro");
    return node;
}

/* Its body becomes a macro, which the called one gets as `caller`. */
static struct node *parse_call_block(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_CALL_BLOCK);
    node->b = slm_parser_node(p, NODE_MACRO);
    node->b->value = value_text("caller", 6);
    if (slm_parser_at_operator(p, "("))
        parse_parameters(p, node->b);
    node->a = slm_parse_expression(p);
    if (node->a->kind != NODE_CALL)
        slm_parser_fail(p, "{% call %} needs a call");
    parse_closed_body(p, node->b, "endcall");
    return node;
}

/* The first filter has no object: it gets the text of the block. */
static struct node *parse_filter_block(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_FILTER_BLOCK);
    do
        node->b = slm_parse_filter(p, node->b);
    while (slm_parser_skip_operator(p, "|"));
    parse_closed_body(p, node, "endfilter");
    return node;
}

/* Variables for the body; their values are seen from outside of it. */
static struct node *parse_with(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_WITH);
    while (!p->w->code && p->token.type != TOKEN_TAG_END) {
        if (node->n_items)
            slm_parser_expect_operator(p, ",");
        struct node *target = parse_target_part(p);
        check_target(p, target, false);
        slm_parser_add(p, node, target);
        slm_parser_expect_operator(p, "=");
        slm_parser_add(p, node, slm_parse_expression(p));
    }
    node->c = parse_scoped_body(p, "endwith");
    return node;
}

/* What transformers marks as the assistant's part: for rendering it is a scope like any other. */
static struct node *parse_generation(struct parser *p)
{
    struct node *node = slm_parser_node(p, NODE_SCOPE);
    parse_closed_body(p, node, "endgeneration");
    return node;
}

/* Loops outside of a macro don't count: nothing can leave a macro but its end. */
static struct node *parse_jump(struct parser *p, enum node_kind kind)
{
    if (p->loops == 0)
        slm_parser_fail(p, "there is no loop around this");
    return slm_parser_node(p, kind);
}

static struct node *parse_break(struct parser *p)
{
    return parse_jump(p, NODE_BREAK);
}

static struct node *parse_continue(struct parser *p)
{
    return parse_jump(p, NODE_CONTINUE);
}

/* {% print a, b %} is {{ a }}{{ b }}. */
static struct node *parse_print(struct parser *p)
{
    struct node *block = slm_parser_node(p, NODE_BLOCK);
    while (!p->w->code && p->token.type != TOKEN_TAG_END) {
        if (block->n_items)
            slm_parser_expect_operator(p, ",");
        struct node *print = slm_parser_node(p, NODE_PRINT);
        print->a = slm_parse_expression(p);
        slm_parser_add(p, block, print);
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
        if (!slm_parser_at_word(p, statements[i].word) || !slm_parser_enter(p))
            continue;
        size_t outer = p->tag;
        p->tag = p->token.position;
        slm_parser_advance(p);
        struct node *node = statements[i].parse(p);
        p->tag = outer;
        p->depth--;
        if (p->token.type != TOKEN_TAG_END)
            slm_parser_fail(p, "the end of the tag should be here");
        slm_parser_check_unknown(p);
        slm_parser_advance(p);
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
    struct node *block = slm_parser_node(p, NODE_BLOCK);
    size_t opened = p->tag;
    while (p->token.type != TOKEN_END) {
        struct node *node = slm_parser_node(p, NODE_TEXT);
        if (p->token.type == TOKEN_TEXT) {
            node->value = p->token.value;
            slm_parser_advance(p);
        } else if (p->token.type == TOKEN_PRINT_BEGIN) {
            slm_parser_advance(p);
            node->kind = NODE_PRINT;
            node->a = slm_parse_tuple(p, slm_parse_expression, false, NULL);
            if (p->token.type != TOKEN_PRINT_END)
                slm_parser_fail(p, "'}}' should be here");
            slm_parser_check_unknown(p);
            slm_parser_advance(p);
        } else {
            slm_parser_advance(p);
            if ((end1 && slm_parser_at_word(p, end1)) || (end2 && slm_parser_at_word(p, end2)) ||
                (end3 && slm_parser_at_word(p, end3)))
                return block;
            node = parse_statement(p);
        }
        slm_parser_add(p, block, node);
    }
    if (end1) {
        p->w->position = opened;
        slm_work_fail(p->w, SLM_EFORMAT, "this tag is never closed: {%% %s %%} is missing",
                      end3 ? end3 : end1);
    }
    return block;
}

/* The names with a meaning of their own get their numbers first. */
int slm_template_parse_source(struct slm_template *template)
{
    struct parser p = {.template = template, .w = &template->memory};
    static const char *const own[] = {"loop", "caller", "varargs", "kwargs"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        slm_parser_symbol(&p, value_text(own[i], strlen(own[i])));
    slm_lexer_init(&p.lexer, p.w);
    slm_parser_advance(&p);
    slm_parser_advance(&p);
    template->root = parse_block(&p, NULL, NULL, NULL);
    return p.w->code;
}
