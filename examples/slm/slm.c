/*
 * slm.c - the command: which commands there are, and what `slm` alone, --help and --version say.
 */
#include "engine.h"
#include "terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command *const commands[] = {
    &cli_run,      &cli_chat,  &cli_convert, &cli_info,       &cli_verify, &cli_tokenize,
    &cli_template, &cli_embed, &cli_logits,  &cli_perplexity, &cli_bench,
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_overview(FILE *out)
{
    const char *bold = cli_style(out, CLI_BOLD), *plain = cli_style(out, CLI_PLAIN);
    fprintf(out, "%sslm%s runs small language models.\n\n", bold, plain);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  slm %s%-12s%s%s\n", bold, commands[i]->name, plain, commands[i]->summary);
    fputs("\n'slm COMMAND --help' explains a command, 'slm --version' tells the version.\n"
          "MODEL is a .slm file, or a .gguf file, a Hugging Face directory or a llama2.c\n"
          "checkpoint, which are converted once into a cache.\n",
          out);
}

static void print_version(void)
{
    printf("slm %s (", slm_version_string());
    unsigned tiers = slm_cpu_tiers();
    const char *separator = "";
    for (unsigned bit = 1; bit; bit <<= 1) {
        if (!(tiers & bit))
            continue;
        printf("%s%s", separator, slm_cpu_tier_name(bit));
        separator = " ";
    }
    puts(")");
}

static int unknown_command(const char *word)
{
    const char *names[N_COMMANDS + 2] = {"--help", "--version"};
    for (int i = 0; i < N_COMMANDS; i++)
        names[i + 2] = commands[i]->name;
    const char *meant = cli_did_you_mean(word, names, N_COMMANDS + 2);
    const char *what = word[0] == '-' ? "option" : "command";
    if (meant)
        return cli_usage_error("", "there is no %s '%s'; did you mean '%s'?", what, word, meant);
    return cli_usage_error("", "there is no %s '%s'", what, word);
}

static int run_command(const struct cli_command *command, int argc, char **argv)
{
    struct cli_settings settings;
    int code = cli_options_parse(command, argc, argv, &settings);
    if (code == CLI_OK)
        code = command->run(&settings);
    cli_options_free(command, &settings);
    int flushed = cli_finish_output();
    if (code == CLI_DONE)
        code = CLI_OK;
    if (code == CLI_INTERRUPTED)
        code = cli_interrupt_code();
    return code == CLI_OK ? flushed : code;
}

/* Somebody may have closed a standard stream (>&-). Without this the next file that is opened would
 * take its number, and get what is meant for the stream. What is opened instead goes the wrong way,
 * so that using it fails and is reported. */
static void occupy_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(CLI_FAILED); /* there is nobody to tell */
}

int main(int argc, char **argv)
{
    cli_uptime();
    occupy_standard_streams();
    signal(SIGXFSZ, SIG_IGN); /* a file beyond the limit is an error like any other */
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 || strcmp(word, "version") == 0) {
        print_version();
        return cli_finish_output();
    }
    bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
    if (help && argc == 2) {
        print_overview(stdout);
        return cli_finish_output();
    }
    const char *name = help ? argv[2] : word;
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) != 0)
            continue;
        if (help) {
            cli_print_help(commands[i]);
            return cli_finish_output();
        }
        return run_command(commands[i], argc - 2, argv + 2);
    }
    return unknown_command(name);
}
