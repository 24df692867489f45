/*
 * verify.c - slm verify: every checksum of a file, the weights' included.
 */
#include "engine.h"
#include "terminal.h"

static const struct cli_option options[] = {{0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL}};
static const struct cli_group groups[] = {{"Options", options}, {NULL, NULL}};

static int run(const struct cli_settings *s)
{
    struct cli_engine engine = {0};
    int code = cli_engine_model(&engine, s);
    if (code == CLI_OK) {
        struct cli_progress progress = {.label = "verifying"};
        int rc = slm_model_verify(engine.model, cli_progress_step, &progress);
        cli_progress_end(&progress);
        if (rc < 0)
            code = cli_fail("%s: %s", s->arguments[0], slm_last_error());
        else
            printf("%s: good (%s, every checksum agrees)\n", s->arguments[0],
                   cli_bytes(engine.info.file_size).text);
    }
    cli_engine_close(&engine);
    return code;
}

const struct cli_command cli_verify = {
    .name = "verify",
    .usage = "MODEL",
    .summary = "check that a file is whole",
    .details = "Reads all of it and compares every checksum; the message names what is damaged.",
    .min_arguments = 1,
    .max_arguments = 1,
    .groups = groups,
    .run = run,
};
