/*
 * engine.h - from what a user typed to a model and a context that are ready.
 *
 * MODEL may be what `slm convert` reads: then it is converted once into a cache, and later runs
 * find it there until the file changes.
 */
#ifndef SLM_CLI_ENGINE_H
#define SLM_CLI_ENGINE_H

#include "cli.h"

struct cli_engine {
    slm_model *model;
    slm_ctx *ctx;
    slm_info info;
    char *converted; /* what MODEL was converted into; NULL: it is a .slm file itself */
    double load_seconds; /* model and context, without a conversion */
};

/* What a command wants beyond the user's -t, --cpu and --kv; zero as in slm_ctx_options. */
struct cli_wants {
    int32_t max_tokens, max_seqs, max_batch, max_logits;
};

/* Two cells a line: what the transformer is made of. */
struct cli_table;
void cli_traits(struct cli_table *table, const slm_model *model);

/* Each returns an exit code and has said why on stderr. cli_engine_close() is safe after any. */
int cli_engine_model(struct cli_engine *engine, const struct cli_settings *settings);
/* The same for what only decoders can do. */
int cli_engine_decoder(struct cli_engine *engine, const struct cli_settings *settings);
/* The same without weights: MODEL may then be a vocabulary, too (see slm_convert_options). */
int cli_engine_vocabulary(struct cli_engine *engine, const struct cli_settings *settings);
int cli_engine_context(struct cli_engine *engine, const struct cli_settings *settings,
                       const struct cli_wants *wants);
void cli_engine_close(struct cli_engine *engine);

/* cache.c: the .slm file to open for what the user named, in *path (the caller frees it); converts
 * when that has to be, tokenizer and template alone if that is all that is needed. */
int cli_cache_resolve(const char *model, bool vocabulary, char **path);
/* A model's name, unless it is "-". */
int cli_check_model(const char *name);

/* A sampler as the command's options say. *seed gets the seed that is used: without --seed one that
 * changes from run to run. */
int cli_engine_sampler(const char *command, const struct cli_engine *engine,
                       const struct cli_settings *settings, slm_sampler **sampler, uint64_t *seed);
/* Are the texts of --stop such that an answer can end before them? */
int cli_check_stop(const char *command, const struct cli_settings *settings);

/* A note if n tokens are more than the model was trained for. `what` are they? */
void cli_note_untrained(const struct cli_engine *engine, const char *what, size_t n);
/* The tokens of -c, or what fits both the model and common sense. */
int32_t cli_engine_context_length(const struct cli_engine *engine,
                                  const struct cli_settings *settings);

/* From now on Ctrl-C does not end the program: it interrupts this context (NULL: none is busy now)
 * and is remembered. */
void cli_catch_interrupt(slm_ctx *ctx);
/* The same for SIGTERM and SIGHUP too: while a file is written, of which no half may stay. What the
 * program was started to ignore (nohup) stays ignored. */
void cli_catch_signals(slm_ctx *ctx);
/* All of them end the program again. */
void cli_release_interrupt(void);
/* Did one come since the last call? */
bool cli_interrupted(void);
/* The exit code after the last one, as shells have it: 130 after Ctrl-C. */
int cli_interrupt_code(void);
/* An slm_progress_fn: draws the struct cli_progress, and ends the work when a signal came. */
int cli_progress_or_stop(void *progress, uint64_t done, uint64_t total);
/* Wait until standard input has bytes, or ends. False: Ctrl-C came first, or while nobody waited.
 */
bool cli_wait_for_input(void);

/* Does the model begin every text with BOS? */
bool cli_adds_bos(const struct cli_engine *engine);

/* Peak resident memory of this process in bytes (VmHWM); 0 where the system does not tell. */
uint64_t cli_peak_memory(void);

#endif
