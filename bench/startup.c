/*
 * startup.c - what happens before the first token is there, step by step.
 *
 *     bench_startup MODEL [THREADS]
 *
 * Within one process, page cache warm: opening the model, making a context, turning a prompt of a
 * few tokens into ids, evaluating it and taking the likeliest next token, and closing all. Medians
 * of many rounds. What a new process costs beside that, bench/peers/peers.py --only start tells.
 */
#include "measure.h"

#include <slm/slm.h>

#include <string.h>

enum { ROUNDS = 41, MAX_PROMPT = 64 };
static const char prompt[] = "The capital of France is";

/* The times at which each step was done. */
enum step { BEGIN, OPENED, CONTEXT, TOKENIZED, EVALUATED, CHOSEN, CLOSED, N_STEPS };
static const char *const names[N_STEPS] = {NULL,
                                           "open the model",
                                           "make a context of 2048 tokens",
                                           "tokenize the prompt",
                                           "evaluate the prompt",
                                           "choose the first token",
                                           "close"};

static int start_once(const char *path, int32_t threads, double *times, int64_t *n_tokens)
{
    slm_model *model = NULL;
    slm_ctx *ctx = NULL;
    slm_seq *seq = NULL;
    slm_sampler *sampler = NULL;
    slm_token tokens[MAX_PROMPT];
    const slm_ctx_options options = {
        .size = sizeof options, .n_threads = threads, .max_tokens = 2048};
    times[BEGIN] = slm_clock();
    int rc = slm_model_open(&model, path, NULL);
    times[OPENED] = slm_clock();
    if (rc == 0)
        rc = slm_ctx_new(&ctx, model, &options);
    if (rc == 0)
        rc = slm_seq_new(&seq, ctx);
    if (rc == 0)
        rc = slm_sampler_new(&sampler, model, NULL);
    times[CONTEXT] = slm_clock();
    if (rc == 0) {
        *n_tokens =
            slm_tokenize(model, prompt, strlen(prompt), SLM_TEXT_ADD_SPECIAL, tokens, MAX_PROMPT);
        rc = *n_tokens < 0 ? (int)*n_tokens : *n_tokens > MAX_PROMPT ? SLM_ELIMIT : 0;
    }
    times[TOKENIZED] = slm_clock();
    if (rc == 0) {
        const slm_span span = {.size = sizeof span,
                               .seq = seq,
                               .tokens = tokens,
                               .n = (size_t)*n_tokens,
                               .n_logits = 1};
        rc = slm_eval(ctx, &span, 1);
    }
    times[EVALUATED] = slm_clock();
    slm_choice choice = {.size = sizeof choice};
    if (rc >= 0)
        rc = slm_sample(sampler, slm_logits(ctx, 0, 0), &choice);
    times[CHOSEN] = slm_clock();
    slm_sampler_free(sampler);
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    slm_model_unref(model);
    times[CLOSED] = slm_clock();
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: bench_startup MODEL [THREADS]\n");
        return 2;
    }
    int32_t threads = argc > 2 ? (int32_t)strtol(argv[2], NULL, 10) : 0;
    double times[N_STEPS], steps[N_STEPS][ROUNDS];
    int64_t n_tokens = 0;
    for (int round = -1; round < ROUNDS; round++) { /* the first warms up */
        int rc = start_once(argv[1], threads, times, &n_tokens);
        if (rc < 0) {
            fprintf(stderr, "%s: %s\n", slm_strerror(rc), slm_last_error());
            return 1;
        }
        for (int step = OPENED; step < N_STEPS && round >= 0; step++)
            steps[step][round] = 1e3 * (times[step] - times[step - 1]);
        if (round >= 0)
            steps[BEGIN][round] = 1e3 * (times[CHOSEN] - times[BEGIN]);
    }
    printf("| step, prompt of %d tokens | ms |\n|---|---|\n", (int)n_tokens);
    for (int step = OPENED; step < N_STEPS; step++)
        printf("| %s | %.3f |\n", names[step], median(steps[step], ROUNDS));
    printf("| all until the first token | %.3f |\n", median(steps[BEGIN], ROUNDS));
    return 0;
}
