/*
 * statement.c - statements: output, variables and their scopes, loops, macros.
 *
 * A loop's body, a macro, and every block that captures its output has a scope of its own;
 * `if` has not. Assignments go to the innermost scope, so a loop can't change what lies outside:
 * that is Jinja's rule, and namespaces are its way around it.
 */
#include "template/run.h"
#include "template/text.h"

#include <string.h>

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

static enum flow execute(struct render *r, const struct node *node);

/* ------------------------------------------------------------------------------- variables --- */

static void set_variable(struct render *r, struct scope *scope, uint32_t symbol, struct value v)
{
    r->work.steps += scope->n / 8;
    for (uint32_t i = 0; i < scope->n; i++) {
        if (scope->variables[i].symbol == symbol) {
            scope->variables[i].value = v;
            return;
        }
    }
    if (scope->n == scope->capacity) {
        uint32_t capacity = scope->capacity ? 2 * scope->capacity : 4;
        struct variable *variables = slm_work_take(&r->work, capacity, sizeof *variables);
        if (!variables)
            return;
        if (scope->n)
            memcpy(variables, scope->variables, scope->n * sizeof *variables);
        scope->variables = variables;
        scope->capacity = capacity;
    }
    scope->variables[scope->n++] = (struct variable){symbol, v};
}

/* A scope inside of `outer`; on failure outer itself, since nothing will run any more. */
static struct scope *new_scope(struct render *r, struct scope *outer)
{
    struct scope *scope = slm_work_take(&r->work, 1, sizeof *scope);
    if (!scope)
        return outer;
    *scope = (struct scope){.outer = outer};
    return scope;
}

struct value slm_template_variable(struct render *r, uint32_t symbol)
{
    for (const struct scope *s = r->scope; s; s = s->outer) {
        r->work.steps += s->n / 8; /* a scope of thousands must not come for free */
        for (uint32_t i = 0; i < s->n; i++)
            if (s->variables[i].symbol == symbol)
                return s->variables[i].value;
    }
    return r->globals[symbol];
}

/* ns.x = v */
static void assign_member(struct render *r, const struct node *target, struct value v)
{
    struct value object = slm_template_variable(r, target->symbol);
    r->work.position = target->position;
    if (object.type != VALUE_NAMESPACE)
        slm_work_fail(&r->work, SLM_EINVAL, "only members of a namespace can be assigned to");
    else if (target->value.text[0] == '_')
        slm_work_fail(&r->work, SLM_EINVAL, "members of a namespace can't begin with '_'");
    else
        slm_dict_set(&r->work, object.dict, target->value, v);
}

/* To a variable, a member, or the parts of a tuple. Its recursion follows brackets in the source.
 */
static void assign(struct render *r, const struct node *target, struct value v)
{
    if (r->work.code)
        return;
    if (target->kind == NODE_NAME) {
        set_variable(r, r->scope, target->symbol, v);
    } else if (target->kind == NODE_MEMBER) {
        assign_member(r, target, v);
    } else {
        r->work.position = target->position;
        const struct sequence *parts = slm_value_elements(&r->work, v);
        if (parts && parts->n != target->n_items)
            slm_work_fail(&r->work, SLM_EINVAL, "%u values can't be assigned to %u variables",
                          (unsigned)parts->n, (unsigned)target->n_items);
        for (uint32_t i = 0; parts && i < target->n_items && !r->work.code; i++)
            assign(r, target->items[i], parts->items[i]);
    }
}

/* --------------------------------------------------------------------------------- capture --- */

/* Run a body in a scope inside of `outer` and return what it wrote. */
static struct value capture(struct render *r, const struct node *body, struct scope *scope)
{
    struct builder text = {.w = &r->work}, *output = r->output;
    struct scope *before = r->scope;
    r->output = &text;
    r->scope = scope;
    execute(r, body);
    r->output = output;
    r->scope = before;
    return slm_builder_string(&text);
}

/* The filters of a block, applied to its text in the block's scope. */
static struct value apply_filters(struct render *r, const struct node *filters, struct value text,
                                  struct scope *scope)
{
    struct value before = r->filtered;
    struct scope *outer = r->scope;
    r->filtered = text;
    r->scope = scope;
    struct value v = slm_template_evaluate(r, filters);
    r->filtered = before;
    r->scope = outer;
    return v;
}

/* What filters make of the text need not be a string. */
static enum flow execute_set_block(struct render *r, const struct node *node)
{
    struct scope *scope = new_scope(r, r->scope);
    struct value v = capture(r, node->c, scope);
    if (node->b)
        v = apply_filters(r, node->b, v, scope);
    assign(r, node->a, v);
    return FLOW_ON;
}

static enum flow execute_filter_block(struct render *r, const struct node *node)
{
    struct scope *scope = new_scope(r, r->scope);
    struct value text = capture(r, node->c, scope);
    slm_write_value(r->output, apply_filters(r, node->b, text, scope));
    return FLOW_ON;
}

/* ---------------------------------------------------------------------------------- macros --- */

/* A macro sees the variables around its definition as they are when it is called. */
static enum flow execute_macro(struct render *r, const struct node *node)
{
    struct macro *macro = slm_work_take(&r->work, 1, sizeof *macro);
    if (!macro)
        return FLOW_ON;
    *macro = (struct macro){node, r->scope};
    for (struct scope *s = r->scope; s; s = s->outer)
        s->captured = true;
    struct value v = value_of_type(VALUE_MACRO);
    v.macro = macro;
    set_variable(r, r->scope, node->symbol, v);
    return FLOW_ON;
}

/* The argument with this name; marks it as used. */
static struct value take_named(struct render *r, const struct arguments *args, struct value name,
                               bool *used)
{
    for (uint32_t i = 0; i < args->n_named; i++) {
        if (slm_value_equal(&r->work, args->names[i], name)) {
            used[i] = true;
            return args->named[i];
        }
    }
    return value_of_type(VALUE_ABSENT);
}

/* What no parameter took goes into varargs and kwargs, if the macro mentions them. */
static void bind_rest(struct render *r, const struct node *node, struct scope *scope,
                      const struct arguments *args, const bool *used)
{
    struct workspace *w = &r->work;
    if (node->operation & USES_VARARGS) {
        struct sequence *rest = slm_sequence_new(w, 0);
        for (uint32_t i = node->n_items; i < args->n; i++)
            slm_sequence_add(w, rest, args->values[i]);
        set_variable(r, scope, SYMBOL_VARARGS, value_sequence(VALUE_TUPLE, rest));
    } else if (args->n > node->n_items) {
        slm_work_fail(w, SLM_EINVAL, "the macro '%.*s' takes at most %u arguments",
                      (int)node->value.length, node->value.text, (unsigned)node->n_items);
    }
    struct dict *named = node->operation & USES_KWARGS ? slm_dict_new(w) : NULL;
    for (uint32_t i = 0; i < args->n_named && !w->code; i++) {
        if (used[i])
            continue;
        if (named)
            slm_dict_set(w, named, args->names[i], args->named[i]);
        else
            slm_work_fail(w, SLM_EINVAL, "the macro '%.*s' takes no argument '%.*s'",
                          (int)node->value.length, node->value.text, (int)args->names[i].length,
                          args->names[i].text);
    }
    if (named)
        set_variable(r, scope, SYMBOL_KWARGS, value_dict(named));
}

/* Arguments to parameters, defaults to those that got none. Defaults may mention the parameters
 * before them, so they are evaluated in the new scope, which is r->scope. */
static void bind_parameters(struct render *r, const struct node *node, const struct arguments *args)
{
    struct scope *scope = r->scope;
    bool *used = slm_work_take(&r->work, args->n_named, sizeof *used);
    if (!used)
        return;
    memset(used, 0, args->n_named);
    for (uint32_t i = 0; i < node->n_items && !r->work.code; i++) {
        const struct node *parameter = node->items[i];
        struct value v =
            i < args->n ? args->values[i] : take_named(r, args, parameter->value, used);
        if (is_absent(v))
            v = parameter->a
                    ? slm_template_evaluate(r, parameter->a)
                    : value_missing(MISSING_NAME, parameter->value.text, parameter->value.length);
        set_variable(r, scope, parameter->symbol, v);
    }
    if (node->operation & USES_CALLER) {
        struct value caller = take_named(r, args, value_text("caller", 6), used);
        if (is_absent(caller))
            caller = value_missing(MISSING_NAME, "caller", 6);
        set_variable(r, scope, SYMBOL_CALLER, caller);
    }
    bind_rest(r, node, scope, args, used);
}

struct value slm_template_call_macro(struct render *r, const struct macro *macro,
                                     const struct arguments *args)
{
    struct scope *before = r->scope;
    if (!slm_template_enter(r))
        return value_of_type(VALUE_UNDEFINED);
    r->scope = new_scope(r, macro->scope);
    bind_parameters(r, macro->node, args);
    struct value v = capture(r, macro->node->c, r->scope);
    r->scope = before;
    r->depth--;
    return v;
}

/* ----------------------------------------------------------------------------------- loops --- */

/* The items for which the loop's own `if` holds. */
static struct sequence *select_items(struct render *r, const struct node *node,
                                     const struct sequence *items)
{
    struct sequence *selected = slm_sequence_new(&r->work, 4);
    struct scope *before = r->scope;
    for (uint32_t i = 0; items && i < items->n && !r->work.code; i++) {
        r->scope = new_scope(r, before);
        assign(r, node->a, items->items[i]);
        if (slm_value_truth(slm_template_evaluate(r, node->items[0])))
            slm_sequence_add(&r->work, selected, items->items[i]);
        r->scope = before;
    }
    return selected;
}

static enum flow execute_for(struct render *r, const struct node *node)
{
    struct value iterable = slm_template_evaluate(r, node->b);
    struct scope *before = r->scope, *scope = NULL;
    bool completed = false; /* Jinja's `else` runs unless some round came to its end */
    r->work.position = node->position;
    struct sequence *items = slm_value_elements(&r->work, iterable);
    if (node->items[0])
        items = select_items(r, node, items);
    struct loop *loop = slm_work_take(&r->work, 1, sizeof *loop);
    if (!items || !loop)
        return FLOW_ON;
    *loop = (struct loop){.items = items, .changed = value_of_type(VALUE_ABSENT)};
    struct value loop_value = value_of_type(VALUE_LOOP);
    loop_value.loop = loop;
    for (uint32_t i = 0; i < items->n && !r->work.code; i++) {
        if (scope && !scope->captured)
            scope->n = 0; /* nobody can have kept it */
        else
            scope = new_scope(r, before);
        loop->index = i;
        r->scope = scope;
        set_variable(r, scope, SYMBOL_LOOP, loop_value);
        assign(r, node->a, items->items[i]);
        enum flow flow = execute(r, node->c);
        r->scope = before;
        completed = completed || flow == FLOW_ON;
        if (flow == FLOW_BREAK)
            break;
    }
    if (!completed && node->items[1]) {
        r->scope = new_scope(r, before);
        enum flow flow = execute(r, node->items[1]);
        r->scope = before;
        return flow; /* a break in here is one of the loop outside */
    }
    return FLOW_ON;
}

/* ------------------------------------------------------------------------------------- rest --- */

static enum flow execute_text(struct render *r, const struct node *node)
{
    slm_builder_value(r->output, node->value);
    return FLOW_ON;
}

static enum flow execute_print(struct render *r, const struct node *node)
{
    struct value v = slm_template_evaluate(r, node->a);
    slm_write_value(r->output, v);
    return FLOW_ON;
}

static enum flow execute_block(struct render *r, const struct node *node)
{
    enum flow flow = FLOW_ON;
    for (uint32_t i = 0; i < node->n_items && flow == FLOW_ON && !r->work.code; i++)
        flow = execute(r, node->items[i]);
    return flow;
}

static enum flow execute_if(struct render *r, const struct node *node)
{
    for (uint32_t i = 0; i + 1 < node->n_items && !r->work.code; i += 2)
        if (slm_value_truth(slm_template_evaluate(r, node->items[i])))
            return execute(r, node->items[i + 1]);
    return node->c ? execute(r, node->c) : FLOW_ON;
}

static enum flow execute_set(struct render *r, const struct node *node)
{
    assign(r, node->a, slm_template_evaluate(r, node->b));
    return FLOW_ON;
}

static enum flow execute_call_block(struct render *r, const struct node *node)
{
    struct value v = slm_template_evaluate(r, node);
    slm_write_value(r->output, v);
    return FLOW_ON;
}

/* Values are evaluated outside, so b in {% with a = 1, b = a %} is the outer a. */
static enum flow execute_with(struct render *r, const struct node *node)
{
    struct scope *before = r->scope, *scope = new_scope(r, before);
    for (uint32_t i = 0; i + 1 < node->n_items && !r->work.code; i += 2) {
        struct value v = slm_template_evaluate(r, node->items[i + 1]); /* seen from outside */
        r->scope = scope;
        assign(r, node->items[i], v);
        r->scope = before;
    }
    r->scope = scope;
    enum flow flow = execute(r, node->c);
    r->scope = before;
    return flow;
}

/* What the assistant is to be trained on, for transformers; a scope for us. */
static enum flow execute_scope(struct render *r, const struct node *node)
{
    struct scope *before = r->scope;
    r->scope = new_scope(r, before);
    enum flow flow = execute(r, node->c);
    r->scope = before;
    return flow;
}

static enum flow execute_break(struct render *r, const struct node *node)
{
    (void)r, (void)node;
    return FLOW_BREAK;
}

static enum flow execute_continue(struct render *r, const struct node *node)
{
    (void)r, (void)node;
    return FLOW_CONTINUE;
}

static enum flow (*const executors[NODE_KINDS])(struct render *, const struct node *) = {
    [NODE_TEXT] = execute_text,
    [NODE_PRINT] = execute_print,
    [NODE_BLOCK] = execute_block,
    [NODE_IF] = execute_if,
    [NODE_FOR] = execute_for,
    [NODE_SET] = execute_set,
    [NODE_SET_BLOCK] = execute_set_block,
    [NODE_MACRO] = execute_macro,
    [NODE_CALL_BLOCK] = execute_call_block,
    [NODE_FILTER_BLOCK] = execute_filter_block,
    [NODE_WITH] = execute_with,
    [NODE_SCOPE] = execute_scope,
    [NODE_BREAK] = execute_break,
    [NODE_CONTINUE] = execute_continue,
};

static enum flow execute(struct render *r, const struct node *node)
{
    if (!slm_work_spend(&r->work, 0))
        return FLOW_ON;
    r->work.position = node->position;
    if (!slm_template_enter(r))
        return FLOW_ON;
    enum flow flow = executors[node->kind](r, node);
    r->depth--;
    return flow;
}

void slm_template_run(struct render *r, const struct node *body)
{
    execute(r, body);
}
