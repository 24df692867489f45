/*
 * embed.c - the exported functions that make vectors and scores of texts: argument checks, and texts
 * to tokens, around src/run/embed.c.
 */
#include "api/sized.h"
#include "run/run.h"

_Static_assert((int)SLM_POOL_MEAN == (int)SLM_POOLED_MEAN, "options go by the numbers of the file");
_Static_assert((int)SLM_POOL_LAST == (int)SLM_POOLED_LAST, "options go by the numbers of the file");

/* The inputs of a call as tokens. */
struct batch {
    const slm_model *model;
    const slm_allocator *allocator;
    bool truncate;
    size_t longest;            /* tokens that an input can have */
    struct slm_buf passages;   /* struct slm_passage[]; of texts, tokens come at the end */
    struct slm_buf tokens;     /* slm_token[] of all texts */
    size_t n_tokens;           /* of all inputs */
};

/* Append the tokens of a text; *n gets how many. flags: SLM_TEXT_ADD_SPECIAL or 0. */
static int add_text(struct batch *b, const char *text, size_t length, unsigned flags, size_t *n)
{
    const struct slm_text *t = &b->model->text;
    int64_t count = slm_text_encode(t, text, length, flags, NULL, 0, NULL, 0, b->allocator);
    if (count < 0)
        return (int)count;
    *n = (size_t)count;
    if (*n == 0)
        return SLM_OK;
    slm_token *out = slm_buf_grow(&b->tokens, *n * sizeof *out);
    if (!out)
        return SLM_ENOMEM;
    count = slm_text_encode(t, text, length, flags, NULL, 0, out, *n, b->allocator);
    return count < 0 ? (int)count : SLM_OK;
}

static slm_token *last_tokens(const struct batch *b, size_t n)
{
    return (slm_token *)(void *)(b->tokens.data + b->tokens.length) - n;
}

/* Of the last n tokens, a text's, keep the first `kept` and the special ones at the end. */
static size_t cut(struct batch *b, size_t n, size_t kept)
{
    size_t n_suffix = b->model->text.n_suffix;
    slm_token *tokens = last_tokens(b, n);
    if (kept >= n || kept < n_suffix)
        return n;
    memmove(tokens + kept - n_suffix, tokens + n - n_suffix, n_suffix * sizeof *tokens);
    b->tokens.length -= (n - kept) * sizeof *tokens;
    return kept;
}

/* "[CLS] text [SEP]", or "[CLS] text [SEP] second [SEP]" with as many separators as the model has. */
static int add_texts(struct batch *b, const slm_input *input, struct slm_passage *p)
{
    const struct slm_traits *traits = b->model->traits;
    const struct slm_text *text = &b->model->text;
    int rc = add_text(b, input->text, input->n, SLM_TEXT_ADD_SPECIAL, &p->n);
    if (rc < 0)
        return rc;
    if (!input->second) {
        if (b->truncate && p->n > b->longest)
            p->n = cut(b, p->n, b->longest);
        p->n_first = p->n;
        return SLM_OK;
    }
    slm_token eos = slm_text_eos(text);
    if (traits->n_separators == 0 ||
        (traits->n_separators > 1 ? eos == SLM_TOKEN_NONE : text->n_suffix == 0))
        return slm_fail(SLM_EUNSUPPORTED, "the model takes no pairs of texts");
    for (uint32_t i = 1; i < traits->n_separators; i++, p->n++)
        slm_buf_append(&b->tokens, &eos, sizeof eos); /* checked below */
    p->n_first = p->n;
    size_t n;
    rc = add_text(b, input->second, input->n_second, 0, &n);
    if (rc == SLM_OK && text->n_suffix)
        slm_buf_append(&b->tokens, text->suffix, text->n_suffix * sizeof eos);
    if (rc == SLM_OK)
        rc = slm_buf_ok(&b->tokens);
    if (rc < 0)
        return rc;
    n += text->n_suffix;
    if (b->truncate && p->n < b->longest && p->n + n > b->longest)
        n = cut(b, n, b->longest - p->n);
    p->n += n;
    return SLM_OK;
}

static int add_input(struct batch *b, const slm_input *input)
{
    struct slm_passage p = {input->tokens, input->n_tokens, input->n_first};
    if (input->tokens ? input->text || input->second : !input->text)
        return slm_fail(SLM_EINVAL, "give either text or tokens");
    if (input->tokens && p.n_first > p.n)
        return slm_fail(SLM_EINVAL, "n_first is %zu, and there are %zu tokens", p.n_first, p.n);
    if (input->tokens && p.n_first == 0)
        p.n_first = p.n;
    if (!input->tokens && !b->model->has_text)
        return slm_fail(SLM_EUNSUPPORTED, "the model file has no tokenizer: give tokens, or convert it "
                        "again from a source that has one");
    if (input->n > SLM_LIMIT_TEXT || input->n_second > SLM_LIMIT_TEXT)
        return slm_fail(SLM_ELIMIT, "the limit of a text is %u bytes", (unsigned)SLM_LIMIT_TEXT);
    int rc = input->tokens ? SLM_OK : add_texts(b, input, &p);
    if (rc < 0)
        return rc;
    if (p.n == 0)
        return slm_fail(SLM_EINVAL, "it has no tokens");
    if (b->truncate && input->tokens && p.n > b->longest)
        p.n = b->longest;
    if (p.n > b->longest)
        return slm_fail(SLM_ELIMIT, "it has %zu tokens, and the limit of context and model is %zu: set "
                        "slm_embed_options.truncate, or make the context with a larger max_tokens", p.n,
                        b->longest);
    p.n_first = p.n_first < p.n ? p.n_first : p.n;
    b->n_tokens += p.n; /* each below 2^32 */
    slm_buf_append(&b->passages, &p, sizeof p);
    return slm_buf_ok(&b->passages);
}

/* Texts' tokens lie one after another, in a buffer that has moved while it grew. */
static void find_tokens(struct batch *b, size_t n)
{
    struct slm_passage *p = (struct slm_passage *)(void *)b->passages.data;
    const slm_token *next = (const slm_token *)(const void *)b->tokens.data;
    for (size_t i = 0; i < n; i++)
        if (!p[i].tokens) {
            p[i].tokens = next;
            next += p[i].n;
        }
}

static int read_inputs(struct batch *b, const slm_ctx *ctx, const slm_input *inputs, size_t n)
{
    b->model = ctx->model;
    b->allocator = b->passages.allocator = b->tokens.allocator = ctx->allocator;
    b->longest = slm_longest_passage(ctx);
    for (size_t i = 0; i < n; i++) {
        slm_input own;
        int rc = slm_sized_read(&own, sizeof own, (const char *)inputs + i * inputs->size, "slm_input");
        if (rc == SLM_OK && own.size != inputs->size)
            rc = slm_fail(SLM_EINVAL, "its size differs from the first one's");
        if (rc == SLM_OK)
            rc = add_input(b, &own);
        if (rc < 0)
            return slm_fail_in(rc, "input %zu", i);
    }
    find_tokens(b, n);
    return SLM_OK;
}

static void free_batch(struct batch *b)
{
    slm_buf_free(&b->passages);
    slm_buf_free(&b->tokens);
}

static int check(const slm_ctx *ctx, const slm_input *inputs, size_t n, const slm_embed_options *options,
                 slm_embed_options *own, const float *out, size_t cap, const char *function)
{
    if (!ctx || (!inputs && n) || (!out && cap))
        return slm_fail(SLM_EINVAL, "%s: %s is NULL", function, !ctx ? "ctx" : inputs ? "out" : "inputs");
    int rc = slm_sized_read(own, sizeof *own, options, "slm_embed_options");
    if (rc < 0)
        return rc;
    if (own->pooling < 0 || own->pooling > SLM_POOL_NONE || own->normalise < -1 || own->normalise > 1)
        return slm_fail(SLM_EINVAL, "%s: pooling is %d, of 0 to %d; normalise is %d, of -1 to 1", function,
                        (int)own->pooling, SLM_POOL_NONE, (int)own->normalise);
    return SLM_OK;
}

static int64_t embed(slm_ctx *ctx, const struct batch *b, size_t n, const slm_embed_options *o, float *out,
                     size_t cap)
{
    const struct slm_traits *t = ctx->model->traits;
    uint32_t kind = o->pooling == SLM_POOL_NONE ? 0 : (uint32_t)o->pooling;
    if (o->pooling == SLM_POOL_MODEL && (kind = t->pooling) == 0)
        return slm_fail(SLM_EINVAL, "slm_embed: the model does not say how it makes one vector of a text; "
                        "set slm_embed_options.pooling");
    size_t rows = kind ? n : b->n_tokens;
    if (!out && cap == 0)
        return (int64_t)rows;
    if (rows > cap)
        return slm_fail(SLM_ELIMIT, "slm_embed: out has room for %zu vectors, and there are %zu", cap, rows);
    bool unit = o->normalise > 0 || (o->normalise == 0 && t->parts & SLM_MODEL_UNIT_LENGTH);
    int rc = slm_embed_passages(ctx, (const struct slm_passage *)(const void *)b->passages.data, n, kind,
                                unit, out);
    return rc < 0 ? rc : (int64_t)rows;
}

static int64_t score(slm_ctx *ctx, const struct batch *b, size_t n, const slm_embed_options *o, float *out,
                     size_t cap)
{
    (void)o;
    if (ctx->model->traits->n_scores == 0)
        return slm_fail(SLM_EUNSUPPORTED, "slm_score: the model has no score head");
    if (!out && cap == 0)
        return (int64_t)n;
    if (n > cap)
        return slm_fail(SLM_ELIMIT, "slm_score: out has room for %zu texts, and there are %zu", cap, n);
    int rc = slm_score_passages(ctx, (const struct slm_passage *)(const void *)b->passages.data, n, out);
    return rc < 0 ? rc : (int64_t)n;
}

/* What the two have in common: the options, the texts as tokens, and the host's arithmetic mode. */
static int64_t compute(slm_ctx *ctx, const slm_input *inputs, size_t n, const slm_embed_options *options,
                       float *out, size_t cap, const char *name,
                       int64_t (*of)(slm_ctx *, const struct batch *, size_t, const slm_embed_options *,
                                     float *, size_t))
{
    slm_embed_options own;
    struct batch b = {0};
    struct slm_fenv env;
    int64_t rc = check(ctx, inputs, n, options, &own, out, cap, name);
    if (rc < 0)
        return rc;
    slm_fenv_enter(&env);
    b.truncate = own.truncate != 0;
    rc = read_inputs(&b, ctx, inputs, n);
    if (rc == SLM_OK)
        rc = of(ctx, &b, n, &own, out, cap);
    free_batch(&b);
    slm_fenv_leave(&env);
    return rc;
}

int64_t slm_embed(slm_ctx *ctx, const slm_input *inputs, size_t n, const slm_embed_options *options,
                  float *out, size_t cap)
{
    return compute(ctx, inputs, n, options, out, cap, "slm_embed", embed);
}

int64_t slm_score(slm_ctx *ctx, const slm_input *inputs, size_t n, const slm_embed_options *options,
                  float *out, size_t cap)
{
    return compute(ctx, inputs, n, options, out, cap, "slm_score", score);
}
