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

static void add_tokens(struct batch *b, const void *tokens, size_t n)
{
    slm_buf_append(&b->tokens, tokens, n * sizeof(slm_token)); /* its user asks slm_buf_ok() */
}

/* Append the tokens of a text. flags: SLM_TEXT_ADD_SPECIAL or 0. Returns how many, or an error. */
static int64_t add_text(struct batch *b, const char *text, size_t length, unsigned flags)
{
    const struct slm_text *t = &b->model->text;
    int64_t n = slm_text_encode(t, text, length, flags, NULL, 0, NULL, 0, b->allocator);
    if (n <= 0)
        return n;
    slm_token *out = slm_buf_grow(&b->tokens, (size_t)n * sizeof *out);
    return out ? slm_text_encode(t, text, length, flags, NULL, 0, out, (size_t)n, b->allocator)
               : SLM_ENOMEM;
}

/* Special tokens that stand together. */
struct specials {
    slm_token tokens[SLM_TEXT_MAX_AFFIX];
    size_t n;
};

/* Those before text number `place` of a pair (0, 1), back to the one before it; 2: at the end. */
static struct specials around(const struct slm_text *t, uint32_t place)
{
    struct specials s = {.n = 0};
    uint32_t texts = 0;
    for (uint32_t i = 0; i < t->n_pair; i++) {
        uint32_t item = t->pair[i] & ~SLM_PAIR_TYPE_1;
        if (item >= SLM_PAIR_FIRST)
            texts++;
        else if (texts == place)
            s.tokens[s.n++] = (slm_token)item;
    }
    return s;
}

/* Those at the end of a text that stands alone. */
static struct specials suffix_of(const struct slm_text *t)
{
    struct specials s = {.n = t->n_suffix};
    if (s.n)
        memcpy(s.tokens, t->suffix, s.n * sizeof *s.tokens);
    return s;
}

/* "[CLS] text [SEP]", or "[CLS] text [SEP] second [SEP]", of which n_first is where the second one
 * begins. */
static int add_texts(struct batch *b, const slm_input *input, struct slm_passage *p)
{
    const struct slm_text *t = &b->model->text;
    int64_t n, more;
    if (!input->second) {
        n = add_text(b, input->text, input->n, SLM_TEXT_ADD_SPECIAL);
        p->n = p->n_first = n < 0 ? 0 : (size_t)n;
        return n < 0 ? (int)n : SLM_OK;
    }
    if (t->n_pair == 0)
        return slm_fail(SLM_EUNSUPPORTED, "the model takes no pairs of texts: its tokenizer does not say how "
                        "two become one");
    struct specials before = around(t, 0), between = around(t, 1), after = around(t, 2);
    add_tokens(b, before.tokens, before.n);
    if ((n = add_text(b, input->text, input->n, 0)) < 0)
        return (int)n;
    add_tokens(b, between.tokens, between.n);
    if ((more = add_text(b, input->second, input->n_second, 0)) < 0)
        return (int)more;
    add_tokens(b, after.tokens, after.n);
    p->n_first = before.n + (size_t)n + between.n;
    p->n = p->n_first + (size_t)more + after.n;
    return slm_buf_ok(&b->tokens);
}

/* Whether tokens[n] begin (or end) with these. */
static size_t matches(const slm_token *tokens, size_t n, const void *with, size_t n_with, bool end)
{
    return n >= n_with && n_with &&
                   memcmp(tokens + (end ? n - n_with : 0), with, n_with * sizeof *tokens) == 0
               ? n_with
               : 0;
}

/* How much of two lengths stays, of `room` in all: the longer one is cut first, and of a token that
 * is left the longer one, or the second, gets the benefit. As Hugging Face's tokenizers do. */
static void cut_longest(size_t *a, size_t *b, size_t room)
{
    bool swapped = *a > *b;
    size_t shorter = swapped ? *b : *a, longer = swapped ? *a : *b;
    if (shorter + longer <= room)
        return;
    longer = shorter > room || room - shorter < shorter ? shorter : room - shorter;
    if (shorter + longer > room) {
        shorter = room / 2;
        longer = room - shorter;
    }
    *a = swapped ? longer : shorter;
    *b = swapped ? shorter : longer;
}

/* Cut the input at the end of b->tokens, but not its special tokens. Where these alone are too many
 * it stays as it is, and is refused. */
static void cut(struct batch *b, struct slm_passage *p)
{
    slm_token *tokens = (slm_token *)(void *)(b->tokens.data + b->tokens.length) - p->n;
    const struct slm_text *text = &b->model->text;
    bool pair = p->n_first < p->n;
    struct specials none = {.n = 0}, first = none, last = none, start = none;
    if (b->model->has_text) {
        start = around(text, 0);
        first = pair ? around(text, 1) : suffix_of(text);
        last = around(text, 2);
    }
    size_t begin = pair ? matches(tokens, p->n, start.tokens, start.n, false)
                   : b->model->has_text ? matches(tokens, p->n, text->prefix, text->n_prefix, false)
                                        : 0;
    size_t end1 = matches(tokens, p->n_first, first.tokens, first.n, true);
    size_t end2 = pair ? matches(tokens, p->n, last.tokens, last.n, true) : 0;
    size_t special = begin + end1 + end2, from2 = p->n_first, to2 = p->n - end2;
    if (special > b->longest || p->n_first < begin + end1 || to2 < from2)
        return;
    size_t n1 = p->n_first - begin - end1, n2 = to2 - from2, all = p->n;
    cut_longest(&n1, &n2, b->longest - special);
    slm_token *to = tokens + begin + n1;
    memmove(to, tokens + p->n_first - end1, end1 * sizeof *to);
    memmove(to + end1, tokens + from2, n2 * sizeof *to);
    memmove(to + end1 + n2, tokens + to2, end2 * sizeof *to);
    p->n_first = begin + n1 + end1;
    p->n = p->n_first + n2 + end2;
    b->tokens.length -= (all - p->n) * sizeof *to;
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
    if (rc == SLM_OK && b->truncate && p.n > b->longest) {
        if (p.tokens)
            add_tokens(b, p.tokens, p.n);
        p.tokens = NULL;
        rc = slm_buf_ok(&b->tokens);
        if (rc == SLM_OK)
            cut(b, &p);
    }
    if (rc < 0)
        return rc;
    if (p.n == 0)
        return slm_fail(SLM_EINVAL, "it has no tokens");
    if (input->second)
        p.n_first = slm_text_pair_first(&b->model->text, p.n_first, p.n);
    if (p.n > b->longest)
        return slm_fail(SLM_ELIMIT, "it has %zu tokens, and the limit of context and model is %zu: set "
                        "slm_embed_options.truncate, or make the context with a larger max_tokens", p.n,
                        b->longest);
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
        int rc = slm_sized_read_at(&own, sizeof own, inputs, i, "slm_input");
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
    const struct slm_passage *passages = (const struct slm_passage *)(const void *)b->passages.data;
    for (size_t i = 0; i < n && o->n_rows; i++)
        o->n_rows[i] = kind ? 1 : passages[i].n;
    if (!out && cap == 0)
        return (int64_t)rows;
    if (rows > cap)
        return slm_fail(SLM_ELIMIT, "slm_embed: out has room for %zu vectors, and there are %zu", cap, rows);
    bool unit = o->normalise > 0 || (o->normalise == 0 && t->parts & SLM_MODEL_UNIT_LENGTH);
    int rc = slm_embed_passages(ctx, passages, n, kind, unit, out);
    return rc < 0 ? rc : (int64_t)rows;
}

static int64_t score(slm_ctx *ctx, const struct batch *b, size_t n, const slm_embed_options *o, float *out,
                     size_t cap)
{
    if (ctx->model->traits->n_scores == 0)
        return slm_fail(SLM_EUNSUPPORTED, "the model has no score head");
    for (size_t i = 0; i < n && o->n_rows; i++)
        o->n_rows[i] = 1;
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
