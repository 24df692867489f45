/*
 * answer.h - what run and chat share: an answer on its way out, and its statistics.
 */
#ifndef SLM_CLI_ANSWER_H
#define SLM_CLI_ANSWER_H

#include "engine.h"
#include "files.h"

/* Collects an answer while it is generated. Set the first three fields, zero the rest. */
struct cli_answer {
    const struct cli_engine *engine;
    size_t logprobs; /* likeliest tokens to keep for each token; 0: none */
    bool print;      /* write the text to standard output as it comes */

    struct slm_buf text;
    struct cli_tokens tokens;
    size_t capacity; /* of tokens.ids and the arrays below */
    float *chosen;   /* [tokens.n] log probability; NULL unless logprobs */
    float *entropy;  /* [tokens.n] */
    slm_token *top;  /* [tokens.n][logprobs] */
    float *top_logprobs;
    double first_token; /* cli_uptime() when the first token came */
    bool failed;        /* no memory: the answer was stopped */
};

/* An slm_piece_fn; user is the struct cli_answer. Stops when standard output is gone. */
int cli_answer_piece(void *user, const slm_piece *piece);
void cli_answer_free(struct cli_answer *answer);

/* On a terminal: say that an answer stopped before its end, and which option moves that. Silent
 * where the user set the limit. */
void cli_note_unfinished(int finish, const struct cli_settings *settings);

/* "stop", "length"... of an slm_finish; "interrupted" and "error" for negative codes. */
const char *cli_finish_name(int finish);

/* "logprobs": [{"id", "text", "logprob", "entropy", "top": [...]}...] */
void cli_answer_json_logprobs(const struct cli_answer *answer, const slm_model *model,
                              struct cli_json *json);

/* Chat messages to tokens, by the model's own template. */
int cli_tokenize_chat(const slm_model *model, const slm_message *messages, size_t n,
                      struct cli_tokens *out);

/* What the same messages are as text, on stderr. */
int cli_show_prompt(const slm_model *model, const slm_message *messages, size_t n);
/* The same of a prompt without a template: what its ids say. */
int cli_show_tokens(const slm_model *model, const struct cli_tokens *tokens);

/* Load time, time to the first token, speeds, peak memory and what ended it: lines on stderr, or
 * members of the JSON object that is open. */
void cli_stats_print(const struct cli_engine *engine, const struct cli_answer *answer,
                     size_t n_prompt, int finish);
void cli_stats_json(const struct cli_engine *engine, const struct cli_answer *answer,
                    struct cli_json *json);

#endif
