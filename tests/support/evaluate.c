/* evaluate.c - see evaluate.h. */
#include "support/evaluate.h"

#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void must(int64_t rc)
{
    if (rc < 0)
        fail_msg("%s: %s", slm_strerror((int)rc), slm_last_error());
}

slm_model *open_tiny(const struct tiny_model *m)
{
    slm_model *model = NULL;
    must(slm_model_open(&model, tiny_model_path(m), NULL));
    return model;
}

slm_token *make_text(const struct tiny_model *m, size_t n, uint64_t stream)
{
    struct random r = random_stream(0x7E47, stream);
    slm_token *tokens = malloc((n + 1) * sizeof *tokens);
    for (size_t i = 0; i < n; i++)
        tokens[i] = (slm_token)random_between(&r, 0, m->n_vocab - 1);
    return tokens;
}

/* An allocator whose memory begins with bytes of one value, and not with zeros as fresh pages do. */
static void *filled(void *user, size_t size, size_t align)
{
    size_t rounded = (size + align - 1) / align * align;
    void *p = aligned_alloc(align, rounded);
    return p ? memset(p, *(const uint8_t *)user, rounded) : NULL;
}

static void release(void *user, void *p, size_t size)
{
    (void)user;
    (void)size;
    free(p);
}

slm_ctx *make_context(slm_model *model, const struct way *way, size_t max_tokens, size_t max_seqs)
{
    slm_ctx_options options = {
        .size = sizeof options,
        .n_threads = way->threads ? way->threads : 1,
        .max_tokens = (int32_t)max_tokens,
        .max_window_tokens = way->window_tokens,
        .max_seqs = (int32_t)max_seqs,
        .max_batch = way->max_batch,
        .max_logits = (int32_t)max_tokens,
        .kv_type = way->kv_type,
        .cpu = way->cpu,
    };
    static uint8_t bytes[256];
    bytes[way->fill] = way->fill;
    const slm_allocator allocator = {filled, release, &bytes[way->fill]};
    options.allocator = way->fill ? &allocator : NULL;
    slm_ctx *ctx = NULL;
    must(slm_ctx_new(&ctx, model, &options));
    return ctx;
}

size_t vocab_of(const slm_model *model)
{
    slm_info info = {.size = sizeof info};
    must(slm_model_info(model, &info));
    return (size_t)info.n_vocab;
}

/* What slm_logits() gives has no size to ask for: it comes from the model's. */
static void copy_logits(const slm_ctx *ctx, size_t span, size_t n_logits, size_t n_vocab,
                        float *out)
{
    for (size_t i = 0; i < n_logits; i++) {
        const float *row = slm_logits(ctx, span, i);
        assert_non_null(row);
        if (out)
            memcpy(out + i * n_vocab, row, n_vocab * sizeof *out);
    }
    assert_null(slm_logits(ctx, span, n_logits));
}

void append(slm_ctx *ctx, slm_seq *seq, const slm_token *tokens, size_t n, size_t n_logits,
            size_t n_vocab, float *out)
{
    slm_span span = {sizeof span, seq, tokens, n, n_logits};
    must(slm_eval(ctx, &span, 1));
    copy_logits(ctx, 0, n_logits, n_vocab, out);
}

float *text_logits(slm_model *model, const struct way *way, const slm_token *tokens, size_t n)
{
    size_t n_vocab = vocab_of(model), chunk = way->chunk ? way->chunk : n;
    float *out = malloc(n * n_vocab * sizeof *out);
    slm_ctx *ctx = make_context(model, way, way->room ? way->room : n, 1);
    slm_seq *seq = NULL;
    must(slm_seq_new(&seq, ctx));
    for (size_t i = 0, part; i < n; i += part) {
        part = i == 0 && way->first ? way->first : chunk;
        part = part < n - i ? part : n - i;
        append(ctx, seq, tokens + i, part, part, n_vocab, out + i * n_vocab);
    }
    assert_int_equal(slm_seq_length(seq), n);
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    return out;
}

void same_logits(const float *a, const float *b, size_t n, size_t n_vocab, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i * n_vocab, b + i * n_vocab, n_vocab * sizeof *a) != 0)
            fail_msg("%s: other logits from position %zu of %zu on", what, i, n);
}
