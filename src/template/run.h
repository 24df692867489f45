/*
 * run.h - the state of a rendering, and what the parts of the interpreter offer each
 * other.
 */
#ifndef SLM_TEMPLATE_RUN_H
#define SLM_TEMPLATE_RUN_H

#include "template/syntax.h"

#include <time.h>

/* Variables of one body: a loop's, a macro's. A name that is not here is looked for outside. */
struct scope {
    struct scope *outer;
    struct variable *variables; /* [n] */
    uint32_t n, capacity;
    bool captured; /* a macro was defined in here, so it must stay as it is */
};

struct variable {
    uint32_t symbol;
    struct value value;
};

struct render {
    struct workspace work;
    const struct slm_template *template;
    struct value *globals; /* [n_symbols] by symbol: the caller's variables, then functions */
    struct scope *scope;
    struct builder *output; /* where text goes now: the prompt, or what a macro returns */
    struct value filtered;  /* what the first filter of a filter block gets */
    uint32_t depth;
    struct tm now; /* what strftime_now tells; tm_mday 0: ask the system */
};

struct macro {
    const struct node *node;
    struct scope *scope; /* where it was defined */
};

struct loop {
    const struct sequence *items;
    uint32_t index;
    struct value changed; /* the last arguments of loop.changed(), a tuple */
};

/* What a call passes. */
struct arguments {
    uint32_t n, n_named;
    struct value *values; /* [n] by position */
    struct value *names;  /* [n_named] */
    struct value *named;  /* [n_named] */
};

/* A filter, test, method or function. self: what is filtered, tested, or before the dot.
 * args->values are the parameters in the order of `parameters`, ABSENT where nothing was passed;
 * if parameters is NULL, whatever was passed. */
struct builtin {
    char name[16]; /* no pointer, which would have to be relocated when the library is loaded */
    struct value (*call)(struct render *r, struct value self, const struct arguments *args);
    const char *parameters; /* "old new count"; "/old" can't be passed by name */
    uint8_t required;       /* how many of them must be passed */
};

enum { MAX_PARAMETERS = 6 };

/* The head of a builtin's function. */
#define BUILTIN(function)                                                                          \
    static struct value function(__attribute__((unused)) struct render *r,                         \
                                 __attribute__((unused)) struct value self,                        \
                                 __attribute__((unused)) const struct arguments *args)

/* An argument as an integer; `otherwise` if it is absent or none; fails for anything else. */
int64_t slm_argument_integer(struct render *r, struct value v, int64_t otherwise);
/* An argument that must be a string: fails for anything else, and gives the empty one. */
struct value slm_argument_text(struct render *r, struct value v);
/* "trim does not work on 'list'", or that the value is undefined. */
struct value slm_argument_fail(struct render *r, const char *builtin, struct value v);

static inline struct value absent_to_none(struct value v)
{
    return is_absent(v) ? value_none() : v;
}

/* ------------------------------------------------ expression.c, call.c --- */

struct value slm_template_evaluate(struct render *r, const struct node *node);
/* x.name, x[key] and x|attr: what Jinja's sandbox gives. */
struct value slm_template_attribute(struct render *r, struct value object, struct value name);
struct value slm_template_item(struct render *r, struct value object, struct value key);
/* The arguments of a call, filter or test, evaluated. */
struct arguments slm_template_arguments(struct render *r, const struct node *node);
struct value slm_template_call_block(struct render *r, const struct node *node);
struct value slm_template_call(struct render *r, struct value callee, const struct arguments *args);
struct value slm_template_call_builtin(struct render *r, const struct builtin *builtin,
                                       struct value self, const struct arguments *args);
struct value slm_template_add(struct render *r, struct value a, struct value b);

/* One more level of recursion; false and an error when there were too many. */
bool slm_template_enter(struct render *r);

/* ------------------------------------------------------------------- statement.c --- */

/* Run a body; what it writes goes to r->output. */
void slm_template_run(struct render *r, const struct node *body);
struct value slm_template_variable(struct render *r, uint32_t symbol);
struct value slm_template_call_macro(struct render *r, const struct macro *macro,
                                     const struct arguments *args);

/* -------------------------------------------------------- filters, tests, methods, functions ---
 */

/* NULL: there is none of that name. */
const struct builtin *slm_template_filter(struct value name);
const struct builtin *slm_template_list_filter(struct value name); /* those of lists */
const struct builtin *slm_template_test(struct value name);
const struct builtin *slm_template_function(struct value name);
const struct builtin *slm_template_string_method(struct value name);
/* Of dicts, lists, loops and cyclers. */
const struct builtin *slm_template_object_method(struct value object, struct value name);
/* In a table of n entries. */
const struct builtin *slm_template_find(const struct builtin *table, size_t n, struct value name);

/* What `attribute=` of filters means: a member or a position, or several with dots between; at any
 * of them `otherwise`, unless that is none, takes the place of undefined. */
struct value slm_template_path(struct render *r, struct value object, struct value path,
                               struct value otherwise);

#endif
