/*
 * options.c - one parser for all commands, driven by their tables. See cli.h.
 *
 * It takes "-p TEXT", "-pTEXT", "--prompt TEXT" and "--prompt=TEXT"; "--" ends the options, and
 * "-" alone is an argument (standard input, where a file is wanted).
 */
#include "cli.h"
#include "terminal.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------ did you mean --- */

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to insert, drop, change or swap with their neighbour, to get from a to b. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 31 };
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    size_t d[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            size_t change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = least_of(change, 1 + least_of(d[i - 1][j], d[i][j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least_of(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[n][m];
}

const char *cli_did_you_mean(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) > 4 ? 3 : 2; /* must be below */
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(word);
        /* A beginning counts as near: "perp" for "perplexity". */
        bool begins = length > 1 && strncmp(word, names[i], length) == 0;
        size_t d = begins ? 0 : distance(word, names[i]);
        if (d < best_distance) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

/* ----------------------------------------------------------------------------- values --- */

bool cli_parse_int(const char *text, int64_t *value)
{
    char *end;
    *value = strtoll(text, &end, 10);
    return end != text && *end == '\0';
}

static int bad_value(const struct cli_command *c, const struct cli_option *o, const char *text,
                     const char *wanted)
{
    return cli_usage_error(c->name, "--%s: '%s' is not %s", o->name, text, wanted);
}

static int out_of_range(const struct cli_command *c, const struct cli_option *o, const char *text,
                        double value)
{
    /* %.10g writes every limit that stands in a table as people do: 2147483647, 0.5. */
    if (value < o->least && o->most >= 1e9)
        return cli_usage_error(c->name, "--%s: %s is not allowed, it must be %.10g or more",
                               o->name, text, o->least);
    return cli_usage_error(c->name, "--%s: %s is not allowed, it must be from %.10g to %.10g",
                           o->name, text, o->least, o->most);
}

static int set_choice(const struct cli_command *c, const struct cli_option *o, const char *text,
                      int *field)
{
    char names[128] = "";
    for (const struct cli_choice *choice = o->choices; choice->name; choice++) {
        if (strcmp(choice->name, text) == 0) {
            *field = choice->value;
            return CLI_OK;
        }
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", choice->name);
    }
    return cli_usage_error(c->name, "--%s: '%s' is not one of %s", o->name, text, names);
}

static int append(struct cli_list *list, const char *text)
{
    const char **items = realloc(list->items, (list->n + 1) * sizeof *items);
    if (!items)
        return cli_fail("out of memory");
    list->items = items;
    list->items[list->n++] = text;
    return CLI_OK;
}

static int set_value(const struct cli_command *c, const struct cli_option *o, const char *text,
                     struct cli_settings *settings)
{
    void *field = (char *)settings + o->offset;
    int64_t whole;
    char *end;
    switch (o->kind) {
    case CLI_FLAG: *(int *)field = 1; return CLI_OK;
    case CLI_TEXT:
        if ((double)strlen(text) < o->least)
            return cli_usage_error(c->name, "--%s: the value is empty", o->name);
        *(const char **)field = text;
        return CLI_OK;
    case CLI_LIST: return append(field, text);
    case CLI_CHOICE: return set_choice(c, o, text, field);
    case CLI_INT:
        if (!cli_parse_int(text, &whole))
            return bad_value(c, o, text, "a whole number");
        if ((double)whole < o->least || (double)whole > o->most)
            return out_of_range(c, o, text, (double)whole);
        *(int32_t *)field = (int32_t)whole;
        return CLI_OK;
    case CLI_FLOAT: {
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v))
            return bad_value(c, o, text, "a number");
        if (v < o->least || v > o->most)
            return out_of_range(c, o, text, v);
        *(float *)field = (float)v;
        return CLI_OK;
    }
    case CLI_SEED:
        errno = 0;
        *(uint64_t *)field = strtoull(text, &end, 10);
        if (end == text || *end || errno || *text == '-')
            return bad_value(c, o, text, "a whole number of 0 or more");
        settings->seed_given = 1;
        return CLI_OK;
    }
    return CLI_USAGE;
}

/* ----------------------------------------------------------------------------- parsing --- */

/* The option with this letter, or with this name of n bytes; NULL: none. */
static const struct cli_option *find(const struct cli_command *c, char letter, const char *name,
                                     size_t n)
{
    for (const struct cli_group *g = c->groups; g->title; g++)
        for (const struct cli_option *o = g->options; o->name; o++)
            if (name ? strlen(o->name) == n && memcmp(o->name, name, n) == 0
                     : o->letter && o->letter == letter)
                return o;
    return NULL;
}

/* What other programs of this kind call our options. */
static const char *find_elsewhere(const struct cli_command *c, const char *name)
{
    static const char *const names[][2] = {
        {"temperature", "temp"},
        {"max-tokens", "tokens"},
        {"n-predict", "tokens"},
        {"predict", "tokens"},
        {"max-new-tokens", "tokens"},
        {"ctx", "context"},
        {"ctx-size", "context"},
        {"num-ctx", "context"},
        {"system-prompt", "system"},
        {"text", "prompt"},
        {"input", "file"},
        {"out", "output"},
        {"outfile", "output"},
        {"outtype", "type"},
        {"quantize", "type"},
        {"no-template", "raw"},
        {"cache-type-k", "kv"},
        {"repetition-penalty", "repeat-penalty"},
        {"logit-bias", "bias"},
        {"verbose", "stats"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i][0]) == 0 && find(c, 0, names[i][1], strlen(names[i][1])))
            return names[i][1];
    return NULL;
}

static int unknown_option(const struct cli_command *c, const char *word)
{
    enum { MOST = 64 };
    const char *names[MOST] = {"help"};
    size_t n = 1, length = strcspn(word, "=");
    for (const struct cli_group *g = c->groups; g->title; g++)
        for (const struct cli_option *o = g->options; o->name && n < MOST; o++)
            names[n++] = o->name;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    if (strcmp(name, "--model") == 0 || strcmp(name, "-m") == 0)
        return cli_usage_error(c->name, "there is no option %s: the model comes first, slm %s %s",
                               name, c->name, c->usage);
    if (strchr(name, ' ') && strstr(c->usage, "TEXT"))
        return cli_usage_error(c->name, "'%s' looks like an option: put -- before a text that begins so",
                               name);
    const char *meant = NULL;
    if (strncmp(name, "--", 2) == 0)
        meant = cli_did_you_mean(name + 2, names, n);
    if (strncmp(name, "--", 2) == 0 && !meant)
        meant = find_elsewhere(c, name + 2);
    if (meant)
        return cli_usage_error(c->name, "there is no option %s; did you mean --%s?", name, meant);
    return cli_usage_error(c->name, "there is no option %s", name);
}

/* One option at argv[*i]; *i moves on to the value if that is a word of its own. */
static int parse_option(const struct cli_command *c, int argc, char **argv, int *i,
                        struct cli_settings *settings)
{
    const char *word = argv[*i], *value = NULL;
    const struct cli_option *o;
    if (word[1] == '-') {
        size_t n = strcspn(word + 2, "=");
        o = find(c, 0, word + 2, n);
        if (word[2 + n] == '=')
            value = word + 2 + n + 1;
    } else {
        o = find(c, word[1], NULL, 0);
        if (word[2])
            value = word + 2;
    }
    if (!o || (o->kind == CLI_FLAG && value && word[1] != '-'))
        return unknown_option(c, word);
    if (o->kind == CLI_FLAG) {
        if (value)
            return cli_usage_error(c->name, "--%s takes no value", o->name);
    } else if (!value) {
        if (*i + 1 >= argc)
            return cli_usage_error(c->name, "--%s needs a value: --%s %s", o->name, o->name,
                                   o->argument);
        value = argv[++*i];
    }
    return set_value(c, o, value, settings);
}

int cli_options_parse(const struct cli_command *c, int argc, char **argv,
                      struct cli_settings *settings)
{
    memset(settings, 0, sizeof *settings);
    if (c->defaults)
        c->defaults(settings);
    bool options = true;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        int code = CLI_OK;
        if (options && strcmp(word, "--") == 0) {
            options = false;
        } else if (options && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            cli_print_help(c);
            return CLI_DONE;
        } else if (options && word[0] == '-' && word[1]) {
            code = parse_option(c, argc, argv, &i, settings);
        } else if (settings->n_arguments == c->max_arguments) {
            code = cli_usage_error(
                c->name,
                strstr(c->usage, "TEXT") && c->max_arguments > 1
                    ? "unexpected argument '%s': put a text of several words in quotes"
                    : "unexpected argument '%s': slm %s %s",
                word, c->name, c->usage);
        } else if (!*word && settings->n_arguments == 0) {
            code = cli_usage_error(c->name, "an argument is empty: slm %s %s", c->name, c->usage);
        } else if (settings->n_arguments == 0 && strlen(word) >= PATH_MAX) {
            code = cli_fail("'%.40s...' is no file's name: it has %zu bytes", word, strlen(word));
        } else {
            settings->arguments[settings->n_arguments++] = word;
        }
        if (code != CLI_OK)
            return code;
    }
    if (settings->n_arguments < c->min_arguments)
        return cli_usage_error(c->name, "an argument is missing: slm %s %s", c->name, c->usage);
    return CLI_OK;
}

void cli_options_free(const struct cli_command *c, struct cli_settings *settings)
{
    for (const struct cli_group *g = c->groups; g->title; g++)
        for (const struct cli_option *o = g->options; o->name; o++)
            if (o->kind == CLI_LIST)
                free(((struct cli_list *)((char *)settings + o->offset))->items);
}
