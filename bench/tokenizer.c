/*
 * tokenizer.c - how fast text becomes token ids, and ids become text.
 *
 *     bench_tokenizer MODEL TEXT_FILE [long]
 *
 * Opening the model, which may be a vocabulary without weights; then the whole file in one call,
 * and again a line a call, as a program does that reads messages; then the ids back into text. One
 * thread, medians of several rounds. With "long", 16 MiB each of texts that make tokenizers slow.
 */
#include "measure.h"

#include <slm/slm.h>

#include <stdbool.h>
#include <string.h>

enum { ROUNDS = 11, LONG = 16 << 20 };

struct bench {
    slm_model *model;
    char *text, *back; /* [n + 1] both */
    size_t n;
    slm_token *tokens; /* [n + 16] */
    int64_t n_tokens;
};

static int64_t whole(struct bench *b)
{
    return b->n_tokens = slm_tokenize(b->model, b->text, b->n, 0, b->tokens, b->n + 16);
}

static int64_t by_line(struct bench *b)
{
    int64_t sum = 0;
    for (size_t at = 0; at < b->n;) {
        const char *end = memchr(b->text + at, '\n', b->n - at);
        size_t n = end ? (size_t)(end - b->text) + 1 - at : b->n - at;
        int64_t rc = slm_tokenize(b->model, b->text + at, n, 0, b->tokens, b->n + 16);
        if (rc < 0)
            return rc;
        sum += rc;
        at += n;
    }
    return sum;
}

static int64_t back(struct bench *b)
{
    return slm_detokenize(b->model, b->tokens, (size_t)b->n_tokens, 0, b->back, b->n + 1);
}

static int measure(struct bench *b, const char *what, int64_t (*work)(struct bench *))
{
    double seconds[ROUNDS];
    int64_t rc = 0;
    for (int round = -1; round < ROUNDS && rc >= 0; round++) { /* the first warms up */
        double start = slm_clock();
        rc = work(b);
        if (round >= 0)
            seconds[round] = slm_clock() - start;
    }
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", slm_strerror((int)rc), slm_last_error());
        return 1;
    }
    double time = median(seconds, ROUNDS);
    printf("| %s | %.1f | %.2f |\n", what, (double)b->n / time * 1e-6,
           (double)b->n_tokens / time * 1e-6);
    return 0;
}

static int measure_opening(const char *path)
{
    double ms[ROUNDS];
    for (int round = -1; round < ROUNDS; round++) {
        slm_model *model;
        double start = slm_clock();
        int rc = slm_model_open(&model, path, NULL);
        if (rc < 0) {
            fprintf(stderr, "%s: %s\n", slm_strerror(rc), slm_last_error());
            return 1;
        }
        if (round >= 0)
            ms[round] = 1e3 * (slm_clock() - start);
        slm_model_unref(model);
    }
    printf("opening: %.3f ms\n", median(ms, ROUNDS));
    return 0;
}

/* One letter, spaces, letters without a space, emoji. */
static int measure_long(slm_model *model)
{
    static const char *const NAMES[] = {"one letter", "spaces", "letters, one word", "emoji"};
    char *text = malloc(LONG);
    slm_token *tokens = malloc(LONG * sizeof *tokens); /* touched before: pages cost time, too */
    int failed = !text || !tokens;
    uint32_t state = 1;
    if (!failed) {
        memset(tokens, 0, LONG * sizeof *tokens);
        printf("\n| 16 MiB of | seconds | million tokens |\n|---|---|---|\n");
    }
    for (int kind = 0; kind < 4 && !failed; kind++) {
        for (size_t i = 0; i < LONG; i++) {
            state = state * 1664525 + 1013904223;
            text[i] = kind == 0   ? 'a'
                      : kind == 1 ? ' '
                      : kind == 2 ? (char)('a' + (state >> 24) % 26)
                                  : "\xF0\x9F\x98\x80"[i & 3];
        }
        double start = slm_clock();
        int64_t n = slm_tokenize(model, text, LONG, 0, tokens, LONG);
        double seconds = slm_clock() - start;
        failed = n < 0;
        printf("| %s | %.2f | %.2f |\n", NAMES[kind], seconds, (double)n * 1e-6);
    }
    free(text);
    free(tokens);
    return failed;
}

/* The file's bytes, or NULL after saying why not. */
static char *read_text(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 &&
        fseek(file, 0, SEEK_SET) == 0)
        text = malloc((size_t)size + 1);
    if (text && fread(text, 1, (size_t)size, file) != (size_t)size) {
        free(text);
        text = NULL;
    }
    if (!text)
        perror(path);
    if (file)
        fclose(file);
    *n = (size_t)size;
    return text;
}

int main(int argc, char **argv)
{
    bool with_long = argc == 4 && strcmp(argv[3], "long") == 0;
    if (argc != 3 && !with_long) {
        fprintf(stderr, "usage: bench_tokenizer MODEL TEXT_FILE [long]\n");
        return 2;
    }
    struct bench b = {0};
    b.text = read_text(argv[2], &b.n);
    int rc = b.text ? slm_model_open(&b.model, argv[1], NULL) : 0;
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", slm_strerror(rc), slm_last_error());
    b.back = malloc(b.n + 1);
    b.tokens = malloc((b.n + 16) * sizeof *b.tokens);
    int failed = !b.model || !b.back || !b.tokens;
    failed = failed || measure_opening(argv[1]);
    if (!failed) {
        printf("| %zu bytes | MB/s | million tokens/s |\n|---|---|---|\n", b.n);
        failed = measure(&b, "tokenize, whole", whole) || measure(&b, "tokenize, by line", by_line);
        failed = failed || whole(&b) < 0 || measure(&b, "detokenize", back);
        failed = failed || (with_long && measure_long(b.model));
    }
    slm_model_unref(b.model);
    free(b.text);
    free(b.back);
    free(b.tokens);
    return failed;
}
