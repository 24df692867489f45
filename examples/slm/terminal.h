/*
 * terminal.h - what a person sees: messages, colours, tables, progress. Colours and progress only
 * on a terminal (and no colours where NO_COLOR is set); everything but results goes to stderr.
 */
#ifndef SLM_CLI_TERMINAL_H
#define SLM_CLI_TERMINAL_H

#include "cli.h"

#include <stdio.h>

#if defined(__GNUC__)
#define CLI_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define CLI_PRINTF(f, a)
#endif

/* "slm: message" on stderr. Each returns the exit code, so callers write `return cli_fail(...)`. */
int cli_fail(const char *format, ...) CLI_PRINTF(1, 2);
/* The message of the library call that failed with this code. */
int cli_fail_library(int code);
/* The message, and where the command's options are explained. */
int cli_usage_error(const char *command, const char *format, ...) CLI_PRINTF(2, 3);
/* Something to know, no error. */
void cli_note(const char *format, ...) CLI_PRINTF(1, 2);

void cli_print_help(const struct cli_command *command);

enum cli_style { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN };
/* The escape sequence, or "" when the stream is no terminal. CLI_PLAIN ends a style. */
const char *cli_style(FILE *stream, enum cli_style style);
bool cli_is_terminal(FILE *stream);

/* A table: cells in reading order, columns as wide as their widest cell. */
struct cli_table {
    int n_columns;
    const char *align; /* one letter a column: 'l' or 'r' */
    char **cells;      /* [n_cells] */
    size_t n_cells, capacity;
};
/* Control characters and what is no UTF-8 become U+FFFD: texts of a file must not steer a terminal. */
void cli_cell(struct cli_table *table, const char *format, ...) CLI_PRINTF(2, 3);
/* The first row is the head when `head` is set. Frees the cells. */
enum cli_table_style { CLI_TABLE_PLAIN, CLI_TABLE_MARKDOWN, CLI_TABLE_CSV };
void cli_table_print(struct cli_table *table, enum cli_table_style style, bool head);

/* "92.1 MB" */
struct cli_text {
    char text[32];
};
struct cli_text cli_bytes(uint64_t n);
/* The plural's s: "1 token", "2 tokens". */
const char *cli_s(uint64_t n);
/* "134.5 M" */
struct cli_text cli_count(uint64_t n);

/* A progress line on stderr; silent where that is no terminal. Fits slm_progress_fn. */
struct cli_progress {
    const char *label;
    double last; /* when it was drawn */
    bool drawn;
};
int cli_progress_step(void *progress, uint64_t done, uint64_t total);
void cli_progress_text(struct cli_progress *progress, const char *format, ...) CLI_PRINTF(2, 3);
void cli_progress_end(struct cli_progress *progress); /* wipes the line */

/* Seconds of a clock that never goes back, and since the first call of cli_uptime(), which is the
 * program's first line. */
double cli_clock(void);
double cli_uptime(void);

/* Write generated text to stdout at once; false when that does not work. On a terminal control
 * characters become U+FFFD, but for tabs and newlines. */
bool cli_print(const char *text, size_t n);

/* Write it between quotes, and what would not be seen as it is with a backslash: \n, \x1B. */
void cli_print_quoted(const char *text, size_t n);

/* Flush stdout and say so when something could not be written. */
int cli_finish_output(void);

#endif
