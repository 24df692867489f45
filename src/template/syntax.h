/*
 * syntax.h - from the text of a template to tokens, and from tokens to a tree.
 */
#ifndef SLM_TEMPLATE_SYNTAX_H
#define SLM_TEMPLATE_SYNTAX_H

#include "base/limits.h"
#include "template/value.h"

/* ---------------------------------------------------------------------------------- tokens --- */

enum token_type {
    TOKEN_END,
    TOKEN_TEXT,        /* value: what stands between tags */
    TOKEN_PRINT_BEGIN, /* {{ */
    TOKEN_PRINT_END,
    TOKEN_TAG_BEGIN, /* {% */
    TOKEN_TAG_END,
    TOKEN_NAME,    /* value */
    TOKEN_STRING,  /* value: without quotes and escapes */
    TOKEN_NUMBER,  /* value: integer or float */
    TOKEN_OPERATOR /* value.text: the operator itself */
};

struct token {
    enum token_type type;
    size_t position; /* in the source */
    struct value value;
};

struct lexer {
    struct workspace *w;
    const char *p, *end;
    enum { IN_TEXT, IN_PRINT, IN_TAG } state;
    bool at_line_start; /* nothing but the end of a line came before the text that follows */
    size_t n_open;      /* brackets: inside them "}}" and "%}" are no end of the tag */
    char open[SLM_LIMIT_TEMPLATE_NESTING];
};

/* Begin with the workspace's source, whose line ends must be "\n". */
void slm_lexer_init(struct lexer *lexer, struct workspace *w);
/* The next token; TOKEN_END at the end and after a failure. */
struct token slm_lexer_next(struct lexer *lexer);

/* ------------------------------------------------------------------------------------ tree --- */

/* What a node is, and which of its fields hold what. Fields that are not named are unused. */
enum node_kind {
    /* expressions */
    NODE_CONSTANT,    /* value */
    NODE_NAME,        /* value: the name; symbol */
    NODE_TUPLE,       /* items */
    NODE_LIST,        /* items */
    NODE_DICT,        /* items: key, value, key, value... */
    NODE_NOT,         /* a */
    NODE_NEGATIVE,    /* a */
    NODE_POSITIVE,    /* a */
    NODE_AND,         /* a, b */
    NODE_OR,          /* a, b */
    NODE_ARITHMETIC,  /* a, b; operator */
    NODE_COMPARE,     /* a, and items: NODE_OPERAND each */
    NODE_OPERAND,     /* operator, a */
    NODE_CONCAT,      /* items */
    NODE_CONDITIONAL, /* a if b else c; c may be NULL */
    NODE_ATTRIBUTE,   /* a.value */
    NODE_SUBSCRIPT,   /* a[b] */
    NODE_SLICE,       /* a[items[0] : items[1] : items[2]], each may be NULL */
    NODE_CALL,        /* a(items): arguments */
    NODE_FILTER,      /* a | value(items); a is NULL in a filter block; builtin */
    NODE_TEST,        /* a is value(items); builtin */
    NODE_KEYWORD,     /* in arguments: value=a */
    NODE_SPREAD,      /* in arguments: *a */
    NODE_SPREAD_DICT, /* in arguments: **a */
    /* statements */
    NODE_TEXT,         /* value */
    NODE_PRINT,        /* a */
    NODE_BLOCK,        /* items: statements one after the other */
    NODE_IF,           /* items: condition, block, condition, block...; c: else block or NULL */
    NODE_FOR,          /* for a in b: body c; items[0]: its `if` or NULL, items[1]: else or NULL */
    NODE_SET,          /* a = b */
    NODE_SET_BLOCK,    /* a = the output of c, through the filters of b (NULL: none) */
    NODE_MEMBER,       /* as a target: value.text of the name in symbol */
    NODE_MACRO,        /* value: name, symbol; items: NODE_PARAMETER; c: body */
    NODE_PARAMETER,    /* value: name, symbol; a: default or NULL */
    NODE_CALL_BLOCK,   /* a: NODE_CALL; b: NODE_MACRO that becomes `caller` */
    NODE_FILTER_BLOCK, /* b: filters; c: body */
    NODE_WITH,         /* items: target, value, target, value...; c: body */
    NODE_SCOPE,        /* c: body with variables of its own */
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_KINDS
};

enum arithmetic { ADD, SUBTRACT, MULTIPLY, DIVIDE, FLOOR_DIVIDE, MODULO, POWER };
enum comparison { EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, IN, NOT_IN };

/* What the body of a macro mentions, and may be passed therefore. */
enum macro_uses { USES_CALLER = 1, USES_VARARGS = 2, USES_KWARGS = 4 };

/* Variables with a meaning of their own come first in every template. */
enum { SYMBOL_LOOP, SYMBOL_CALLER, SYMBOL_VARARGS, SYMBOL_KWARGS };

struct node {
    uint8_t kind;      /* enum node_kind */
    uint8_t operation; /* enum arithmetic or comparison; of a macro: enum macro_uses */
    uint32_t position; /* in the source */
    uint32_t symbol;   /* of a variable: its number in the template */
    uint32_t n_items, n_capacity;
    struct node **items; /* [n_items] */
    struct node *a, *b, *c;
    const struct builtin *builtin; /* filter, test: NULL when there is none of that name */
    struct value value;
};

struct slm_template {
    slm_allocator allocator;
    bool has_allocator;
    struct workspace memory; /* of everything below; not used when rendering */
    const char *source;      /* [source_length] with "\n" for every line end, and no last one */
    size_t source_length;
    struct node *root;     /* NODE_BLOCK */
    struct value *symbols; /* [n_symbols] names of variables */
    uint32_t n_symbols, symbols_capacity;
};

/* Parse template->source into root and symbols. */
int slm_template_parse_source(struct slm_template *template);

#endif
