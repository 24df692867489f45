/*
 * verify.c - slm verify: every checksum of a file, the weights' included.
 */
#include "engine.h"
#include "files.h"
#include "terminal.h"

static const struct cli_option options[] = {
    {0, "json", CLI_FLAG, offsetof(struct cli_settings, json), NULL, "print a JSON object", 0, 0,
     NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};
static const struct cli_group groups[] = {{"Options", options}, {NULL, NULL}};

static int print_json(const struct cli_engine *engine, const struct cli_settings *s,
                      const char *wrong)
{
    struct cli_json json = {0};
    cli_json_open(&json, NULL, '{');
    cli_json_name(&json, "model", s->arguments[0]);
    cli_json_name(&json, "converted", engine->converted);
    cli_json_int(&json, "bytes", (int64_t)engine->info.file_size);
    cli_json_bool(&json, "good", !wrong);
    cli_json_name(&json, "error", wrong);
    cli_json_close(&json, '}');
    return cli_json_print(&json);
}

/* Other formats have no checksums: what is verified is the file that was made of them. */
static int print_text(const struct cli_engine *engine, const struct cli_settings *s,
                      const char *wrong)
{
    const char *model = s->arguments[0], *converted = engine->converted;
    if (wrong && converted)
        return cli_fail(
            "%s was converted into %s, which is %s; remove that file, and it is made anew", model,
            converted, wrong);
    if (wrong)
        return cli_fail("%s: %s", model, wrong);
    struct cli_text size = cli_bytes(engine->info.file_size);
    if (!s->json && converted)
        printf("%s was converted into %s, which is good (%s, every checksum agrees)\n", model,
               converted, size.text);
    else if (!s->json)
        printf("%s: good (%s, every checksum agrees)\n", model, size.text);
    return CLI_OK;
}

static int run(const struct cli_settings *s)
{
    struct cli_engine engine = {0};
    const char *wrong = NULL;
    int code = cli_engine_model(&engine, s), printed = CLI_OK;
    bool opened = code == CLI_OK;
    if (opened) {
        struct cli_progress progress = {.label = "verifying"};
        if (slm_model_verify(engine.model, cli_progress_step, &progress) < 0)
            wrong = slm_last_error();
        cli_progress_end(&progress);
    } else if (code == CLI_FAILED) { /* which has been said on stderr */
        wrong = *slm_last_error() ? slm_last_error() : "it can't be opened";
    }
    if (s->json && (opened || wrong))
        printed = print_json(&engine, s, wrong);
    if (opened)
        code = print_text(&engine, s, wrong);
    cli_engine_close(&engine);
    return code == CLI_OK ? printed : code;
}

const struct cli_command cli_verify = {
    .name = "verify",
    .usage = "MODEL [--json]",
    .summary = "check that a file is whole",
    .details =
        "Reads all of it and compares every checksum; the message names what is damaged. Other\n"
        "formats have no checksums: of their models the converted file is checked.",
    .examples = "  slm verify model.slm",
    .min_arguments = 1,
    .max_arguments = 1,
    .groups = groups,
    .run = run,
};
