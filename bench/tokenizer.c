/*
 * tokenizer.c - how fast text becomes token ids, and ids become text.
 *
 *     bench_tokenizer MODEL TEXT_FILE
 *
 * The whole file in one call, then again a line a call, as a program does that reads messages; then
 * the ids back into text. One thread, medians of several rounds.
 */
#include "measure.h"

#include <slm/slm.h>

#include <string.h>

enum { ROUNDS = 11 };

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
    if (argc != 3) {
        fprintf(stderr, "usage: bench_tokenizer MODEL TEXT_FILE\n");
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
    if (!failed) {
        printf("| %zu bytes | MB/s | million tokens/s |\n|---|---|---|\n", b.n);
        failed = measure(&b, "tokenize, whole", whole) || measure(&b, "tokenize, by line", by_line);
        failed = failed || whole(&b) < 0 || measure(&b, "detokenize", back);
    }
    slm_model_unref(b.model);
    free(b.text);
    free(b.back);
    free(b.tokens);
    return failed;
}
