/*
 * terminal.c - see terminal.h.
 */
#include "terminal.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

bool cli_is_terminal(FILE *stream)
{
    return isatty(fileno(stream)) == 1;
}

const char *cli_style(FILE *stream, enum cli_style style)
{
    static const char *const codes[] = {"\033[0m", "\033[1m", "\033[2m", "\033[31m", "\033[32m"};
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if ((no_color && *no_color) || (term && strcmp(term, "dumb") == 0) || !cli_is_terminal(stream))
        return "";
    return codes[style];
}

/* ----------------------------------------------------------------------------- foreign --- */

/* Would a terminal obey it instead of showing it? */
static bool is_control(uint32_t c)
{
    return c < ' ' || (c >= 0x7F && c < 0xA0);
}

/* The character at text[0..n) as it may be shown, in 4 bytes and a NUL; what it must not is U+FFFD.
 * Returns how many bytes it took. */
static size_t harmless(const char *text, size_t n, char shown[5])
{
    uint32_t c;
    size_t length = slm_utf8_decode(text, n, &c);
    bool good = length > 0 && !is_control(c);
    snprintf(shown, 5, "%.*s", good ? (int)length : 3, good ? text : SLM_UTF8_REPLACEMENT);
    return length ? length : 1;
}

static void write_harmless(FILE *stream, const char *text, size_t n)
{
    char shown[5];
    for (size_t at = 0; at < n;) {
        if (text[at] == '\n' || text[at] == '\t') {
            fputc(text[at++], stream);
            continue;
        }
        at += harmless(text + at, n - at, shown);
        fputs(shown, stream);
    }
}

/* ---------------------------------------------------------------------------- messages --- */

static void message(enum cli_style style, const char *kind, const char *format, va_list args)
{
    fflush(stdout); /* so that both come in order on a terminal */
    fprintf(stderr, "%s%s%s", cli_style(stderr, style), kind, cli_style(stderr, CLI_PLAIN));
    char *text = NULL;
    if (!cli_is_terminal(stderr) || vasprintf(&text, format, args) < 0)
        vfprintf(stderr, format, args);
    else
        write_harmless(stderr, text, strlen(text)); /* it may name a file that somebody else made */
    free(text);
    fputc('\n', stderr);
}

int cli_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    message(CLI_RED, "slm: ", format, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_fail_library(int code)
{
    if (code == SLM_EINTR)
        return CLI_INTERRUPTED;
    const char *text = slm_last_error();
    return cli_fail("%s", *text ? text : slm_strerror(code));
}

int cli_usage_error(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    message(CLI_RED, "slm: ", format, args);
    va_end(args);
    fprintf(stderr, "     'slm %s%s--help' lists what there is.\n", command, *command ? " " : "");
    return CLI_USAGE;
}

void cli_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    message(CLI_DIM, "slm: ", format, args);
    va_end(args);
}

void cli_print_quoted(const char *text, size_t n)
{
    putchar('"');
    for (size_t at = 0; at < n;) {
        uint32_t c;
        size_t length = slm_utf8_decode(text + at, n - at, &c);
        if (length > 0 && !is_control(c)) {
            printf("%s%.*s", c == '"' || c == '\\' ? "\\" : "", (int)length, text + at);
        } else if (text[at] == '\n' || text[at] == '\t') {
            fputs(text[at] == '\n' ? "\\n" : "\\t", stdout);
        } else {
            length = length ? length : 1;
            for (size_t i = 0; i < length; i++)
                printf("\\x%02X", (unsigned char)text[at + i]);
        }
        at += length ? length : 1;
    }
    putchar('"');
}

static int output_error; /* errno of the first write that failed */

bool cli_print(const char *text, size_t n)
{
    if (cli_is_terminal(stdout))
        write_harmless(stdout, text, n);
    else
        fwrite(text, 1, n, stdout);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    if (output_error == 0)
        output_error = errno;
    return false;
}

int cli_finish_output(void)
{
    bool failed = ferror(stdout);
    if (cli_print("", 0) && !failed)
        return CLI_OK;
    return cli_fail("standard output can't be written: %s",
                    output_error ? strerror(output_error) : "not all of it could");
}

/* -------------------------------------------------------------------------------- help --- */

void cli_print_help(const struct cli_command *c)
{
    const char *bold = cli_style(stdout, CLI_BOLD), *plain = cli_style(stdout, CLI_PLAIN);
    printf("%sslm %s%s %s\n\n%c%s.\n", bold, c->name, plain, c->usage, toupper(c->summary[0]),
           c->summary + 1);
    if (c->details)
        printf("\n%s\n", c->details);

    enum { COLUMN = 30 }; /* where the explanations begin */
    for (const struct cli_group *g = c->groups; g->title; g++) {
        printf("\n%s%s%s\n", bold, g->title, plain);
        for (const struct cli_option *o = g->options; o->name; o++) {
            char left[64];
            int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                              : snprintf(left, sizeof left, "      --%s", o->name);
            if (o->argument)
                n += snprintf(left + n, sizeof left - (size_t)n, " %s", o->argument);
            if (n >= COLUMN)
                printf("%s\n%*s", left, COLUMN, "");
            else
                printf("%-*s", COLUMN, left);
            /* A newline in the explanation goes on below its beginning. */
            for (const char *p = o->help; *p; p++) {
                putchar(*p);
                if (*p == '\n')
                    printf("%*s", COLUMN, "");
            }
            putchar('\n');
        }
        if (g == c->groups)
            printf("  -h, --help%*sthis page\n", COLUMN - 12, "");
    }
    if (c->examples)
        printf("\n%sExamples%s\n%s\n", bold, plain, c->examples);
    printf("\n%sExit code%s\n  0 it worked, 1 it failed, 2 the command line is wrong, 130 Ctrl-C\n",
           bold, plain);
}

/* ------------------------------------------------------------------------------ tables --- */

void cli_cell(struct cli_table *table, const char *format, ...)
{
    if (table->n_cells == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 64;
        char **cells = realloc(table->cells, capacity * sizeof *cells);
        if (!cells)
            return;
        table->cells = cells;
        table->capacity = capacity;
    }
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    struct slm_buf clean = {0};
    size_t n = text ? strlen(text) : 0;
    char shown[5];
    for (size_t at = 0; at < n;) {
        at += harmless(text + at, n - at, shown);
        slm_buf_text(&clean, shown);
    }
    slm_buf_byte(&clean, 0);
    table->cells[table->n_cells++] =
        slm_buf_ok(&clean) == 0 ? strdup((const char *)clean.data) : NULL;
    slm_buf_free(&clean);
    free(text);
}

/* Columns that a character takes: none where it is set onto the one before, two for those of East
 * Asia and for pictures. In ranges, as Unicode's EastAsianWidth has them. */
static int columns_of(uint32_t c)
{
    static const struct {
        uint32_t first, last;
        int columns;
    } ranges[] = {
        {0x0300, 0x036F, 0},   {0x1100, 0x115F, 2},   {0x200B, 0x200F, 0},   {0x20D0, 0x20FF, 0},
        {0x2E80, 0x303E, 2},   {0x3041, 0xA4CF, 2},   {0xAC00, 0xD7A3, 2},   {0xF900, 0xFAFF, 2},
        {0xFE00, 0xFE0F, 0},   {0xFE30, 0xFE6F, 2},   {0xFF00, 0xFF60, 2},   {0xFFE0, 0xFFE6, 2},
        {0x1F300, 0x1F64F, 2}, {0x1F680, 0x1F6FF, 2}, {0x1F900, 0x1F9FF, 2}, {0x20000, 0x3FFFD, 2},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return ranges[i].columns;
    return 1;
}

/* Columns, not bytes; the text is UTF-8. */
static int width_of(const char *text)
{
    int columns = 0;
    uint32_t c;
    for (size_t n = text ? strlen(text) : 0; n > 0;) {
        size_t length = slm_utf8_decode(text, n, &c);
        columns += columns_of(c);
        text += length;
        n -= length;
    }
    return columns;
}

static void print_csv_cell(const char *text)
{
    if (!strpbrk(text, ",\"\n")) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static void print_row(const struct cli_table *t, size_t first, const int *widths,
                      enum cli_table_style style)
{
    bool markdown = style == CLI_TABLE_MARKDOWN;
    for (int i = 0; i < t->n_columns; i++) {
        const char *text = t->cells[first + (size_t)i] ? t->cells[first + (size_t)i] : "";
        bool last = i == t->n_columns - 1;
        if (style == CLI_TABLE_CSV) {
            print_csv_cell(text);
            fputs(last ? "" : ",", stdout);
            continue;
        }
        int pad = widths[i] - width_of(text);
        fputs(markdown ? "| " : "", stdout);
        if (t->align[i] == 'r')
            printf("%*s%s", pad, "", text);
        else if (last && !markdown)
            fputs(text, stdout); /* no blanks at the end of a line */
        else
            printf("%s%*s", text, pad, "");
        fputs(markdown ? " " : last ? "" : "  ", stdout);
    }
    puts(markdown ? "|" : "");
}

/* The line below the head that makes it one. */
static void print_markdown_rule(const struct cli_table *t, const int *widths)
{
    for (int i = 0; i < t->n_columns; i++) {
        printf("| ");
        for (int k = 0; k < widths[i]; k++)
            putchar(t->align[i] == 'r' && k == widths[i] - 1 ? ':' : '-');
        putchar(' ');
    }
    puts("|");
}

void cli_table_print(struct cli_table *t, enum cli_table_style style, bool head)
{
    enum { MOST_COLUMNS = 16 };
    int widths[MOST_COLUMNS] = {0};
    for (size_t i = 0; i < t->n_cells; i++) {
        int w = width_of(t->cells[i]);
        int *widest = &widths[i % (size_t)t->n_columns];
        *widest = w > *widest ? w : *widest;
    }
    for (int i = 0; i < t->n_columns && style == CLI_TABLE_MARKDOWN; i++)
        widths[i] = widths[i] < 3 ? 3 : widths[i];
    for (size_t i = 0; i + (size_t)t->n_columns <= t->n_cells; i += (size_t)t->n_columns) {
        bool bold = head && i == 0 && style == CLI_TABLE_PLAIN;
        fputs(bold ? cli_style(stdout, CLI_BOLD) : "", stdout);
        print_row(t, i, widths, style);
        fputs(bold ? cli_style(stdout, CLI_PLAIN) : "", stdout);
        if (i == 0 && head && style == CLI_TABLE_MARKDOWN)
            print_markdown_rule(t, widths);
    }
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->n_cells = t->capacity = 0;
}

/* ----------------------------------------------------------------------------- numbers --- */

static struct cli_text scaled(double n, const char *const *units, int n_units)
{
    int unit = 0;
    while (n >= 999.95 && unit < n_units - 1) {
        n /= 1000;
        unit++;
    }
    struct cli_text out;
    snprintf(out.text, sizeof out.text, unit == 0 ? "%.0f%s%s" : "%.1f%s%s", n,
             *units[unit] ? " " : "", units[unit]);
    return out;
}

struct cli_text cli_bytes(uint64_t n)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    return scaled((double)n, units, 5);
}

struct cli_text cli_count(uint64_t n)
{
    static const char *const units[] = {"", "k", "M", "G"};
    return scaled((double)n, units, 4);
}

const char *cli_s(uint64_t n)
{
    return n == 1 ? "" : "s";
}

double cli_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double cli_uptime(void)
{
    static double start;
    double now = cli_clock();
    if (start == 0)
        start = now;
    return now - start;
}

/* ---------------------------------------------------------------------------- progress --- */

/* Ten times a second at most. */
static bool due(struct cli_progress *p)
{
    double now = cli_clock();
    if (!cli_is_terminal(stderr) || (p->drawn && now - p->last < 0.1))
        return false;
    p->last = now;
    p->drawn = true;
    return true;
}

/* Columns of the terminal behind stderr; 80 if it does not say. */
static int terminal_columns(void)
{
    struct winsize size = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* One line over the last one, cut where the terminal ends: a line that goes on below could not be
 * wiped. */
static void draw(const char *line)
{
    fprintf(stderr, "\r%.*s\033[K", terminal_columns() - 1, line);
    fflush(stderr);
}

int cli_progress_step(void *progress, uint64_t done, uint64_t total)
{
    enum { WIDTH = 30 };
    struct cli_progress *p = progress;
    if (!due(p))
        return 0;
    double part = total ? (double)done / (double)total : 1;
    int full = (int)(part * WIDTH);
    char line[128];
    snprintf(line, sizeof line, "%s %3.0f %% [%.*s%*s] %s", p->label, part * 100, full,
             "##############################", WIDTH - full, "", cli_bytes(done).text);
    draw(line);
    return 0;
}

void cli_progress_text(struct cli_progress *p, const char *format, ...)
{
    if (!due(p))
        return;
    char line[128];
    int n = snprintf(line, sizeof line, "%s ", p->label);
    va_list args;
    va_start(args, format);
    vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    draw(line);
}

void cli_progress_end(struct cli_progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}
