/*
 * parser.h - what the two halves of the parser share.
 *
 * After a failure every function returns quickly: tokens are TOKEN_END from then on, and nodes are
 * a dummy if there is no memory, so nobody has to look at error codes. Recursion follows brackets,
 * prefixes and tags inside one another; slm_parser_enter() bounds it.
 */
#ifndef SLM_TEMPLATE_PARSER_H
#define SLM_TEMPLATE_PARSER_H

#include "template/syntax.h"

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

/* ----------------------------------------------------------------------- parser.c --- */

/* The error at the present token. */
void slm_parser_fail(struct parser *p, const char *message);
void slm_parser_advance(struct parser *p);
/* One more level (`p->depth--` leaves it); false and an error when there were too many. */
bool slm_parser_enter(struct parser *p);

/* A node at the present token; never NULL. */
struct node *slm_parser_node(struct parser *p, enum node_kind kind);
void slm_parser_add(struct parser *p, struct node *node, struct node *item);
/* The number of a variable's name. */
uint32_t slm_parser_symbol(struct parser *p, struct value name);

bool slm_token_is(const struct token *token, enum token_type type, const char *text);
bool slm_parser_at_operator(const struct parser *p, const char *text);
bool slm_parser_at_word(const struct parser *p, const char *text);
/* Go past it if it is there; was it? */
bool slm_parser_skip_operator(struct parser *p, const char *text);
bool slm_parser_skip_word(struct parser *p, const char *text);
void slm_parser_expect_operator(struct parser *p, const char *text);
struct value slm_parser_expect_name(struct parser *p);

/* ------------------------------------------------------------- parse_expression.c --- */

struct node *slm_parse_expression(struct parser *p);
/* An expression without `if`: what stands after {% if %} and after `in`. */
struct node *slm_parse_or(struct parser *p);
/* A name, literal or bracket. */
struct node *slm_parse_primary(struct parser *p);
/* One expression, or with commas a tuple. `part` parses each; () is a tuple only in brackets, and
 * `stop` (may be NULL) is a word that ends it. */
struct node *slm_parse_tuple(struct parser *p, struct node *(*part)(struct parser *),
                             bool in_brackets, const char *stop);
/* After '|': name(arguments). object is NULL where a filter block begins. */
struct node *slm_parse_filter(struct parser *p, struct node *object);
/* At the end of a print or tag: was there an unknown filter that is certain to be reached? */
void slm_parser_check_unknown(struct parser *p);

#endif
