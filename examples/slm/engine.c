/*
 * engine.c - see engine.h.
 */
#include "engine.h"

#include "terminal.h"

#include "base/utf8.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_CONTEXT = 4096 };

/* ------------------------------------------------------------------ model and context --- */

static int open_model(struct cli_engine *engine, const struct cli_settings *settings,
                      bool vocabulary)
{
    *engine = (struct cli_engine){.info = {.size = sizeof engine->info}};
    char *path = NULL;
    int code = cli_cache_resolve(settings->arguments[0], vocabulary, &path);
    if (code != CLI_OK)
        return code;
    double start = cli_clock();
    int opened = slm_model_open(&engine->model, path, NULL);
    if (strcmp(path, settings->arguments[0]) != 0)
        engine->converted = path;
    else
        free(path);
    if (opened < 0)
        return cli_fail_library(opened);
    slm_model_info(engine->model, &engine->info);
    engine->load_seconds = cli_clock() - start;
    return CLI_OK;
}

int cli_engine_model(struct cli_engine *engine, const struct cli_settings *settings)
{
    return open_model(engine, settings, false);
}

int cli_engine_decoder(struct cli_engine *engine, const struct cli_settings *settings)
{
    int code = open_model(engine, settings, false);
    if (code == CLI_OK && engine->info.n_layers == 0)
        code = cli_fail(
            "%s is a vocabulary, no weights: 'slm tokenize' and 'slm template' work with it",
            settings->arguments[0]);
    if (code == CLI_OK && engine->info.is_encoder)
        code = cli_fail(
            "%s is an encoder, which can't continue a text: 'slm embed' makes vectors with it",
            settings->arguments[0]);
    return code;
}

int cli_engine_vocabulary(struct cli_engine *engine, const struct cli_settings *settings)
{
    return open_model(engine, settings, true);
}

/* --cpu by name: the bit, 0 for "whatever is best", or -1 after saying which names there are. */
static int64_t find_cpu(const char *name)
{
    if (!name)
        return 0;
    unsigned tiers = slm_cpu_tiers();
    char known[128] = "";
    for (unsigned bit = 1; bit; bit <<= 1) {
        if (!(tiers & bit))
            continue;
        const char *tier = slm_cpu_tier_name(bit);
        if (strcmp(tier, name) == 0)
            return bit;
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", tier);
    }
    cli_fail("--cpu: this machine has no tier '%s'; it has %s", name, known);
    return -1;
}

int cli_engine_context(struct cli_engine *engine, const struct cli_settings *settings,
                       const struct cli_wants *wants)
{
    int64_t cpu = find_cpu(settings->cpu);
    if (cpu < 0)
        return CLI_USAGE;
    slm_ctx_options options = {
        .size = sizeof options,
        .n_threads = settings->threads,
        .max_tokens = wants->max_tokens,
        .max_seqs = wants->max_seqs,
        .max_batch = wants->max_batch,
        .max_logits = wants->max_logits,
        .kv_type = settings->kv,
        .cpu = (uint32_t)cpu,
    };
    double start = cli_clock();
    int code = slm_ctx_new(&engine->ctx, engine->model, &options);
    int64_t bytes = code < 0 ? slm_ctx_memory(engine->model, &options) : 0;
    if (code == SLM_ENOMEM && bytes > 0)
        return cli_fail("there is no memory for a context of %d token%s: it takes %s",
                        (int)options.max_tokens, cli_s((uint64_t)options.max_tokens),
                        cli_bytes((uint64_t)bytes).text);
    if (code < 0)
        return cli_fail_library(code);
    engine->load_seconds += cli_clock() - start;
    return CLI_OK;
}

void cli_engine_close(struct cli_engine *engine)
{
    cli_release_interrupt();
    slm_ctx_free(engine->ctx);
    slm_model_unref(engine->model);
    free(engine->converted);
    engine->ctx = NULL;
    engine->model = NULL;
    engine->converted = NULL;
}

void cli_note_untrained(const struct cli_engine *engine, const char *what, size_t n)
{
    int32_t trained = engine->info.max_context;
    if (trained > 0 && n > (size_t)trained)
        cli_note("note: %s of %zu is more than the %d tokens that the model was trained for", what,
                 n, (int)trained);
}

int32_t cli_engine_context_length(const struct cli_engine *engine,
                                  const struct cli_settings *settings)
{
    int32_t trained = engine->info.max_context;
    if (settings->context > 0) {
        cli_note_untrained(engine, "a context", (size_t)settings->context);
        return settings->context;
    }
    return trained > 0 && trained < DEFAULT_CONTEXT ? trained : DEFAULT_CONTEXT;
}

bool cli_adds_bos(const struct cli_engine *engine)
{
    slm_token first = SLM_TOKEN_NONE;
    slm_tokenize(engine->model, "", 0, SLM_TEXT_ADD_SPECIAL, &first, 1);
    return first != SLM_TOKEN_NONE && first == engine->info.bos;
}

/* ---------------------------------------------------------------------------- sampling --- */

/* "ID=VALUE" from --bias. */
static int parse_bias(const char *command, const char *text, int32_t n_vocab, slm_token *token,
                      float *value)
{
    char *end;
    long long id = strtoll(text, &end, 10);
    if (end == text || *end != '=')
        return cli_usage_error(command, "--bias: '%s' is not ID=VALUE, as in 42=-1.5 or 42=-inf",
                               text);
    if (id < 0 || id >= n_vocab)
        return cli_usage_error(command, "--bias %s: the model's token ids are 0 to %d", text,
                               (int)n_vocab - 1);
    const char *number = end + 1;
    *value = strtof(number, &end);
    if (end == number || *end || isnan(*value) || *value == INFINITY)
        return cli_usage_error(command, "--bias %s: '%s' is not a number or -inf", text, number);
    *token = (slm_token)id;
    return CLI_OK;
}

/* Without a temperature the likeliest token is taken: say so to who wants a choice among others. */
static void note_ignored(const struct cli_settings *s)
{
    if (s->temperature > 0)
        return;
    const char *ignored = s->top_k > 0                   ? "--top-k"
                          : s->top_p > 0 && s->top_p < 1 ? "--top-p"
                          : s->min_p > 0                 ? "--min-p"
                          : s->seed_given                ? "--seed"
                                                         : NULL;
    if (ignored)
        cli_note("note: %s changes nothing without --temp: the likeliest token is taken each time",
                 ignored);
}

int cli_check_stop(const char *command, const struct cli_settings *s)
{
    for (size_t i = 0; i < s->stop.n; i++) {
        const char *text = s->stop.items[i];
        size_t n = strlen(text), step;
        if (n == 0)
            return cli_usage_error(command, "--stop: the text is empty");
        for (size_t at = 0; at < n; at += step) {
            uint32_t c;
            step = slm_utf8_decode(text + at, n - at, &c);
            if (step == 0)
                return cli_usage_error(command, "--stop: the text is not UTF-8 at byte %zu", at);
        }
    }
    return CLI_OK;
}

int cli_engine_sampler(const char *command, const struct cli_engine *engine,
                       const struct cli_settings *s, slm_sampler **sampler, uint64_t *seed)
{
    note_ignored(s);
    *seed = s->seed;
    if (!s->seed_given) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        *seed = (uint64_t)now.tv_sec * 1000003u ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 32;
    }
    size_t n = s->bias.n;
    if (n > (size_t)engine->info.n_vocab)
        return cli_usage_error(command,
                               "--bias stands there %zu times, and the model has %d tokens", n,
                               (int)engine->info.n_vocab);
    slm_token *tokens = calloc(n + 1, sizeof *tokens);
    float *values = calloc(n + 1, sizeof *values);
    int code = tokens && values ? CLI_OK : cli_fail("out of memory");
    for (size_t i = 0; i < n && code == CLI_OK; i++)
        code = parse_bias(command, s->bias.items[i], engine->info.n_vocab, &tokens[i], &values[i]);
    if (code == CLI_OK) {
        slm_sampler_options options = {
            .size = sizeof options,
            .temperature = s->temperature,
            .top_k = s->top_k,
            .top_p = s->top_p,
            .min_p = s->min_p,
            .repeat_penalty = s->repeat_penalty,
            .presence_penalty = s->presence_penalty,
            .frequency_penalty = s->frequency_penalty,
            .penalty_window = s->penalty_window,
            .bias_tokens = tokens,
            .bias_values = values,
            .n_bias = n,
            .seed = *seed,
            .logprobs = s->logprobs > 0,
        };
        int made = slm_sampler_new(sampler, engine->model, &options);
        if (made < 0)
            code = cli_fail_library(made);
    }
    free(tokens);
    free(values);
    return code;
}

/* -------------------------------------------------------------------------- interrupts --- */

/* What a signal handler may touch. */
static slm_ctx *volatile interrupt_context;
static volatile sig_atomic_t interrupt_seen, interrupt_number = SIGINT;

static void on_interrupt(int number)
{
    interrupt_number = number;
    interrupt_seen = 1;
    if (interrupt_context)
        slm_ctx_interrupt(interrupt_context);
}

static void catch_signal(int number)
{
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

void cli_catch_interrupt(slm_ctx *ctx)
{
    interrupt_context = ctx;
    catch_signal(SIGINT);
}

void cli_catch_signals(slm_ctx *ctx)
{
    cli_catch_interrupt(ctx);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP);
}

static void release_signal(int number)
{
    struct sigaction before;
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler == on_interrupt)
        signal(number, SIG_DFL);
}

int cli_interrupt_code(void)
{
    return 128 + interrupt_number;
}

void cli_release_interrupt(void)
{
    release_signal(SIGINT); /* first: the handler must not see a context that is gone */
    release_signal(SIGTERM);
    release_signal(SIGHUP);
    interrupt_context = NULL;
    interrupt_seen = 0;
}

bool cli_interrupted(void)
{
    bool seen = interrupt_seen;
    interrupt_seen = 0;
    return seen;
}

int cli_progress_or_stop(void *progress, uint64_t done, uint64_t total)
{
    cli_progress_step(progress, done, total);
    return cli_interrupted();
}

bool cli_wait_for_input(void)
{
    /* The signal is held back but for the wait itself. A signal that came between a look at the
     * flag and a plain read() would be noticed only after the next line. */
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, &before);
    bool interrupted = cli_interrupted();
    while (!interrupted) {
        fd_set input;
        FD_ZERO(&input);
        FD_SET(STDIN_FILENO, &input);
        int ready = pselect(STDIN_FILENO + 1, &input, NULL, NULL, NULL, &before);
        interrupted = cli_interrupted();
        if (ready > 0 || (ready < 0 && errno != EINTR))
            break; /* read() tells what is wrong */
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !interrupted;
}

/* ------------------------------------------------------------------------------ memory --- */

uint64_t cli_peak_memory(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    if (!status)
        return 0;
    char line[256];
    unsigned long long kilobytes = 0;
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %llu kB", &kilobytes) == 1)
            break;
    fclose(status);
    return (uint64_t)kilobytes * 1024;
}
