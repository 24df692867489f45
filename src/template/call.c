/*
 * call.c - how arguments reach parameters: of filters, tests, methods and functions, which
 * name theirs in a table; macros bind their own, see statement.c.
 */
#include "template/run.h"

#include <string.h>

/* The parameter `name` of a builtin: its number, or -1. */
static int parameter_number(const char *parameters, struct value name)
{
    int number = 0;
    for (const char *p = parameters; *p; number++) {
        size_t n = strcspn(p, " ");
        if (n == name.length && memcmp(p, name.text, n) == 0)
            return number;
        p += n + strspn(p + n, " ");
    }
    return -1;
}

/* How many names the text holds. */
static uint32_t parameter_count(const char *parameters)
{
    uint32_t n = *parameters != '\0';
    for (const char *p = parameters; *p; p++)
        n += *p == ' ';
    return n;
}

/* Positions first, then names; a parameter may get its argument once. */
struct value slm_template_call_builtin(struct render *r, const struct builtin *builtin,
                                       struct value self, const struct arguments *args)
{
    struct value bound[MAX_PARAMETERS];
    if (!slm_work_spend(&r->work, 0))
        return value_of_type(VALUE_UNDEFINED);
    if (!builtin->parameters)
        return builtin->call(r, self, args);
    struct arguments ordered = {.n = parameter_count(builtin->parameters), .values = bound};
    for (uint32_t i = 0; i < MAX_PARAMETERS; i++)
        bound[i] = i < args->n ? args->values[i] : value_of_type(VALUE_ABSENT);
    if (args->n > ordered.n)
        return slm_work_fail(&r->work, SLM_EINVAL, "%s takes at most %u arguments", builtin->name,
                             (unsigned)ordered.n);
    for (uint32_t i = 0; i < args->n_named; i++) {
        int number = parameter_number(builtin->parameters, args->names[i]);
        if (number < 0 || !is_absent(bound[number]))
            return slm_work_fail(&r->work, SLM_EINVAL, "%s takes no argument '%.*s'%s",
                                 builtin->name, (int)args->names[i].length, args->names[i].text,
                                 number < 0 ? "" : " twice");
        bound[number] = args->named[i];
    }
    for (uint32_t i = 0; i < builtin->required; i++)
        if (is_absent(bound[i]))
            return slm_work_fail(&r->work, SLM_EINVAL, "%s needs %d more arguments", builtin->name,
                                 builtin->required - (int)i);
    return builtin->call(r, self, &ordered);
}

struct value slm_template_call(struct render *r, struct value callee, const struct arguments *args)
{
    if (r->work.code)
        return value_of_type(VALUE_UNDEFINED);
    switch ((enum value_type)callee.type) {
    case VALUE_MACRO: return slm_template_call_macro(r, callee.macro, args);
    case VALUE_FUNCTION: return slm_template_call_builtin(r, callee.builtin, value_none(), args);
    case VALUE_METHOD:
        return slm_template_call_builtin(r, callee.method->builtin, callee.method->self, args);
    case VALUE_JOINER:
        if (callee.cycler->position++ == 0)
            return value_text("", 0);
        return callee.cycler->items->items[0];
    case VALUE_UNDEFINED: return slm_work_fail_undefined(&r->work, callee);
    default:
        return slm_work_fail(&r->work, SLM_EINVAL, "'%s' can't be called",
                             slm_value_type_name(callee));
    }
}

/* One more argument with a name. */
static void add_named(struct render *r, struct sequence *names, struct sequence *named,
                      struct value name, struct value v)
{
    for (uint32_t i = 0; names && i < names->n; i++)
        if (slm_value_equal(&r->work, names->items[i], name))
            slm_work_fail(&r->work, SLM_EINVAL, "the argument '%.*s' is passed twice",
                          (int)name.length, name.text);
    slm_sequence_add(&r->work, names, name);
    slm_sequence_add(&r->work, named, v);
}

struct arguments slm_template_arguments(struct render *r, const struct node *node)
{
    struct arguments args = {0};
    if (node->n_items == 0)
        return args;
    struct sequence *values = slm_sequence_new(&r->work, node->n_items);
    struct sequence *names = slm_sequence_new(&r->work, 0), *named = slm_sequence_new(&r->work, 0);
    for (uint32_t i = 0; i < node->n_items && !r->work.code; i++) {
        const struct node *item = node->items[i];
        if (item->kind == NODE_KEYWORD) {
            add_named(r, names, named, item->value, slm_template_evaluate(r, item->a));
        } else if (item->kind == NODE_SPREAD) {
            struct sequence *more = slm_value_elements(&r->work, slm_template_evaluate(r, item->a));
            for (uint32_t k = 0; more && k < more->n; k++)
                slm_sequence_add(&r->work, values, more->items[k]);
        } else if (item->kind == NODE_SPREAD_DICT) {
            struct value more = slm_template_evaluate(r, item->a);
            if (more.type != VALUE_DICT)
                slm_work_fail(&r->work, SLM_EINVAL, "'**' needs a dict");
            for (uint32_t k = 0; more.type == VALUE_DICT && more.dict && k < more.dict->n; k++)
                add_named(r, names, named, more.dict->entries[k].key, more.dict->entries[k].value);
        } else {
            slm_sequence_add(&r->work, values, slm_template_evaluate(r, item));
        }
    }
    r->work.position = node->position;
    if (!r->work.code) {
        args = (struct arguments){values->n, names->n, values->items, names->items, named->items};
    }
    return args;
}

struct value slm_template_call_block(struct render *r, const struct node *node)
{
    /* {% call f(x) %}: f gets the body as one more argument, `caller`. */
    struct value callee = slm_template_evaluate(r, node->a->a);
    struct arguments args = slm_template_arguments(r, node->a);
    struct value name = value_text("caller", 6), caller = value_of_type(VALUE_MACRO);
    struct macro *macro = slm_work_take(&r->work, 1, sizeof *macro);
    struct sequence *names = slm_sequence_new(&r->work, args.n_named + 1);
    struct sequence *named = slm_sequence_new(&r->work, args.n_named + 1);
    if (!macro || !names || !named)
        return value_of_type(VALUE_UNDEFINED);
    *macro = (struct macro){node->b, r->scope};
    caller.macro = macro;
    for (struct scope *s = r->scope; s; s = s->outer)
        s->captured = true;
    for (uint32_t i = 0; i < args.n_named; i++)
        add_named(r, names, named, args.names[i], args.named[i]);
    add_named(r, names, named, name, caller);
    args.n_named = names->n;
    args.names = names->items;
    args.named = named->items;
    r->work.position = node->position;
    return slm_template_call(r, callee, &args);
}
