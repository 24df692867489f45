/*
 * files.h - bytes in and out: whole files, lists of token ids, and a JSON writer.
 */
#ifndef SLM_CLI_FILES_H
#define SLM_CLI_FILES_H

#include "cli.h"

#include "base/json.h"

#include <stdio.h>

/* The most bytes that are read of a text for a model to answer, and of one that is only counted or
 * measured. Files without an end (/dev/urandom) end here too. */
#define CLI_TEXT_LIMIT ((size_t)64000000)
#define CLI_CORPUS_LIMIT ((size_t)1000000000)

/* Append a file ("-": standard input) of at most `limit` bytes to *out, which the caller frees. */
int cli_read_file(const char *path, size_t limit, struct slm_buf *out);

/* The text that a command works on: its second argument, -p TEXT, -f FILE, or standard input if it is no terminal. */
int cli_read_prompt(const char *command, const struct cli_settings *settings, size_t limit,
                    struct slm_buf *out);
/* Where that came from, for messages: "-p", "the text", the file's name or "standard input". */
const char *cli_prompt_source(const struct cli_settings *settings);

struct cli_tokens {
    slm_token *ids; /* [n] */
    size_t n;
};
void cli_tokens_free(struct cli_tokens *tokens);

/* "1,2,3", "1 2 3" or "[1, 2, 3]". source is named when there is something wrong; with a command it
 * is an option of that, so that this is a wrong command line; NULL for a file's ids. */
int cli_parse_ids(const char *command, const char *source, const char *text, size_t n,
                  const slm_info *info, struct cli_tokens *out);

/* Text to ids; flags as in slm_tokenize(). */
int cli_tokenize_text(const slm_model *model, const char *text, size_t n, unsigned flags,
                      struct cli_tokens *out);
/* Ids to text, special tokens included, onto `stream`. */
int cli_write_text_of(const slm_model *model, const struct cli_tokens *tokens, FILE *stream);

/* JSON with its commas: cli_json_key() or nothing comes before each value. Zero-initialise. */
struct cli_json {
    struct slm_buf text;
    bool comma; /* something stands in the present array or object already */
};
void cli_json_open(struct cli_json *json, const char *key,
                   char bracket); /* key NULL: in an array */
void cli_json_close(struct cli_json *json, char bracket);
void cli_json_text(struct cli_json *json, const char *key, const char *text, size_t n);
/* The bytes of a text that JSON can't hold because it is no UTF-8 (a token that is part of a
 * character), as an array of numbers; null where the text itself says all. */
void cli_json_bytes(struct cli_json *json, const char *key, const char *text, size_t n);
void cli_json_name(struct cli_json *json, const char *key, const char *text); /* NULL: null */
void cli_json_number(struct cli_json *json, const char *key, double value);
void cli_json_int(struct cli_json *json, const char *key, int64_t value);
void cli_json_bool(struct cli_json *json, const char *key, bool value);
/* Print it with a newline and free it. */
int cli_json_print(struct cli_json *json);

#endif
