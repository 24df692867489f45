/*
 * cli.h - what every command shares: its settings, its options, and how it ends.
 *
 * A command is one file and one row in slm.c. Its options are a table that the parser, --help and
 * the "did you mean" all read; parsing fills a struct cli_settings. Functions return an exit code
 * (enum cli_exit) after they have said on stderr what went wrong.
 */
#ifndef SLM_CLI_H
#define SLM_CLI_H

#include <slm/slm.h>

#include <stdbool.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,        /* it was tried, and did not work */
    CLI_USAGE = 2,         /* the command line makes no sense */
    CLI_INTERRUPTED = 130, /* Ctrl-C; after another signal the program ends with its number + 128 */
    CLI_DONE = -1          /* --help was printed: nothing else to do */
};

/* Texts of an option that may be given several times; they point into argv. */
struct cli_list {
    const char **items; /* [n] */
    size_t n;
};

/* Every option of every command. Zero is "not given" unless defaults say otherwise. */
struct cli_settings {
    const char *arguments[2]; /* MODEL and TEXT, or what the command's usage line names */
    int n_arguments;

    /* text that goes in */
    const char *prompt, *second, *file, *system, *ids;
    /* text that comes out */
    const char *output;
    int json, markdown, csv, stats;

    /* the engine */
    int32_t threads, context;
    const char *cpu;
    int kv; /* SLM_KV_ */

    /* sampling */
    float temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    int32_t top_k, penalty_window;
    uint64_t seed;
    int seed_given;
    struct cli_list bias;

    /* run and chat */
    int32_t n; /* longest answer in tokens; 0: until the context is full */
    struct cli_list stop;
    int raw, ignore_stop;
    int32_t logprobs;

    int show_prompt;

    /* convert */
    const char *type, *head_type, *tokenizer;
    int vocabulary;

    /* template */
    const char *template_file, *tools, *documents, *bos, *eos;
    struct cli_list variables;
    int no_generation_prompt;

    /* info, tokenize, logits */
    int tensors, short_form, print_ids, count, add_special, parse_special, decode, all;
    int32_t chunk;

    /* embed */
    const char *query;
    int scores, truncate;
    int pooling; /* SLM_POOL_ */

    /* perplexity and bench */
    int32_t window, n_chunks, n_prompt, n_generate, depth, batch, repetitions;
};

enum cli_option_kind {
    CLI_FLAG,  /* int: 1 when given */
    CLI_TEXT,  /* const char *, of `least` bytes or more */
    CLI_LIST,  /* struct cli_list */
    CLI_INT,   /* int32_t, least to most */
    CLI_FLOAT, /* float, least to most */
    CLI_SEED,  /* uint64_t; also sets seed_given */
    CLI_CHOICE /* int: the value of one of `choices` */
};

struct cli_choice {
    const char *name;
    int value;
};

struct cli_option {
    char letter;      /* 'p' for -p; 0: none */
    const char *name; /* "prompt" for --prompt */
    enum cli_option_kind kind;
    size_t offset;        /* in struct cli_settings */
    const char *argument; /* as --help shows it; NULL for a flag */
    const char *help;
    double least, most;
    const struct cli_choice *choices; /* ends with name NULL */
};

/* Options that belong together, under a title in --help. Ends with name NULL. */
struct cli_group {
    const char *title;
    const struct cli_option *options;
};

struct cli_command {
    const char *name;
    const char *usage;   /* what follows "slm NAME" */
    const char *summary; /* one line */
    const char *details; /* paragraphs for --help, wrapped by hand */
    const char *examples;
    int min_arguments, max_arguments;
    const struct cli_group *groups;                  /* ends with title NULL */
    void (*defaults)(struct cli_settings *settings); /* NULL: all zero */
    int (*run)(const struct cli_settings *settings);
};

/* An answer ends here unless -n says otherwise: small models tend to loop. */
enum { CLI_DEFAULT_TOKENS = 1024 };
#define CLI_TOKENS_HELP "longest answer, in tokens (default: 1024; 0: until the\ncontext is full)"

extern const struct cli_command cli_run, cli_chat, cli_convert, cli_info, cli_verify, cli_tokenize,
    cli_template, cli_embed, cli_logits, cli_perplexity, cli_bench;

/* Groups that several commands share. */
extern const struct cli_option cli_engine_options[]; /* -t --cpu --kv */
const char *cli_kv_name(int kv);                     /* as --kv takes it */
extern const struct cli_option cli_sampling_options[];

/* options.c: fill settings from argv[0..argc), which starts after the command's name. Returns
 * CLI_OK, CLI_USAGE or CLI_DONE. cli_options_free() frees the lists. */
int cli_options_parse(const struct cli_command *command, int argc, char **argv,
                      struct cli_settings *settings);
void cli_options_free(const struct cli_command *command, struct cli_settings *settings);

/* The nearest of n names if it is near enough to have been meant, else NULL. */
const char *cli_did_you_mean(const char *word, const char *const *names, size_t n);

/* One whole number that fills the text, cut to 64 bits; false otherwise. */
bool cli_parse_int(const char *text, int64_t *value);

#endif
