/*
 * sampler.c - see sampler.h. The steps stand in the order in which slm.h promises them.
 *
 * Top-k, top-p and min-p each keep a beginning of the same order, from the best token down, so what
 * they leave together is described by one thing: the worst token that is kept (struct cut). The
 * draw then walks over the kept tokens by rising id.
 */
#include "sample/sampler.h"

#include "sample/numbers.h"
#include "sample/softmax.h"

#include <float.h>
#include <math.h>

enum {
    DEFAULT_WINDOW = 64,
    STREAM = 54 /* of the random numbers: any constant; this one is in PCG's own test vectors */
};

/* ------------------------------------------------------------------------- the object --- */

/* Lay the arrays out in the arena; run twice, for the size and for the pointers. */
static struct slm_sampler *lay_out(struct slm_arena *arena, size_t n_vocab,
                                   const slm_sampler_options *o, size_t window, bool penalties)
{
    struct slm_sampler *s = slm_arena_take(arena, 1, sizeof *s);
    struct slm_bias *biases = slm_arena_take(arena, o->n_bias, sizeof *biases);
    struct slm_sampler parts = {0};
    if (penalties)
        parts.counts = slm_arena_take(arena, n_vocab, sizeof *parts.counts);
    if (penalties && window > 0)
        parts.recent = slm_arena_take(arena, window, sizeof *parts.recent);
    if (penalties || o->n_bias > 0)
        parts.adjusted = slm_arena_take(arena, n_vocab, sizeof *parts.adjusted);
    if (o->temperature > 0) {
        parts.pool.logits = slm_arena_take(arena, n_vocab, sizeof *parts.pool.logits);
        parts.pool.tokens = slm_arena_take(arena, n_vocab, sizeof *parts.pool.tokens);
    }
    if (!s)
        return NULL;
    for (size_t i = 0; i < o->n_bias; i++)
        biases[i] = (struct slm_bias){o->bias_tokens[i], o->bias_values[i]};
    *s = parts;
    s->biases = biases;
    return s;
}

int slm_sampler_create(struct slm_sampler **out, size_t n_vocab, const slm_sampler_options *o,
                       const slm_allocator *a)
{
    *out = NULL;
    bool repeats = o->repeat_penalty != 0.0f && o->repeat_penalty != 1.0f;
    bool penalties = repeats || o->presence_penalty != 0.0f || o->frequency_penalty != 0.0f;
    size_t window = o->penalty_window == 0  ? DEFAULT_WINDOW
                    : o->penalty_window < 0 ? 0
                                            : (size_t)o->penalty_window;

    struct slm_arena arena = {0};
    lay_out(&arena, n_vocab, o, window, penalties);
    if (arena.overflow)
        return slm_fail(SLM_ENOMEM, "a sampler for %zu tokens does not fit the address space",
                        n_vocab);
    arena.base = slm_alloc(a, arena.used);
    if (!arena.base)
        return SLM_ENOMEM;
    arena.capacity = arena.used;
    arena.used = 0;
    struct slm_sampler *s = lay_out(&arena, n_vocab, o, window, penalties);

    s->allocator = a;
    s->bytes = arena.used;
    s->n_vocab = n_vocab;
    s->temperature = o->temperature;
    s->top_p = o->top_p == 0.0f ? 1.0f : o->top_p;
    s->min_p = o->min_p;
    s->top_k = (size_t)o->top_k < n_vocab ? (size_t)o->top_k : 0;
    s->repeat_penalty = repeats ? o->repeat_penalty : 1.0f;
    s->presence_penalty = o->presence_penalty;
    s->frequency_penalty = o->frequency_penalty;
    s->n_bias = o->n_bias;
    s->logprobs = o->logprobs != 0;
    s->seed = o->seed;
    s->window = window;
    slm_sampler_restart(s);
    *out = s;
    return SLM_OK;
}

void slm_sampler_destroy(struct slm_sampler *s)
{
    if (s)
        slm_free(s->allocator, s, s->bytes);
}

void slm_sampler_restart(struct slm_sampler *s)
{
    slm_random_seed(&s->random, s->seed, STREAM);
    if (s->counts)
        memset(s->counts, 0, s->n_vocab * sizeof *s->counts);
    s->n_recent = 0;
    s->next_recent = 0;
}

void slm_sampler_remember(struct slm_sampler *s, slm_token token)
{
    if (!s->counts)
        return;
    s->counts[token]++;
    if (!s->recent)
        return;
    if (s->n_recent == s->window)
        s->counts[s->recent[s->next_recent]]--; /* the oldest is forgotten */
    else
        s->n_recent++;
    s->recent[s->next_recent] = token;
    s->next_recent = s->next_recent + 1 == s->window ? 0 : s->next_recent + 1;
}

/* ---------------------------------------------------------------- bias and penalties --- */

/* The logits that the choice is made from: the model's own, or a changed copy. */
static const float *adjust(struct slm_sampler *s, const float *logits)
{
    if (!s->adjusted)
        return logits;
    float *x = s->adjusted;
    memcpy(x, logits, s->n_vocab * sizeof *x);
    for (size_t i = 0; i < s->n_bias; i++)
        x[s->biases[i].token] += s->biases[i].value;
    if (!s->counts)
        return x;
    for (size_t i = 0; i < s->n_vocab; i++) {
        if (s->counts[i] == 0)
            continue;
        float v = x[i] > 0 ? x[i] / s->repeat_penalty : x[i] * s->repeat_penalty;
        v -= s->presence_penalty;
        v -= s->frequency_penalty * (float)s->counts[i];
        x[i] = v;
    }
    return x;
}

/* ------------------------------------------------------------- top-k, top-p and min-p --- */

/* The worst token that is kept; all better ones are kept too. */
struct cut {
    float logit;
    slm_token token;
};

static bool kept(const struct cut *cut, float logit, slm_token token)
{
    return logit > cut->logit || (logit == cut->logit && token <= cut->token);
}

/* Put every kept token into the pool, by rising id. */
static void gather(struct slm_sampler *s, const float *logits, const struct cut *cut)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_vocab; i++) {
        if (kept(cut, logits[i], (slm_token)i)) {
            s->pool.logits[n] = logits[i];
            s->pool.tokens[n] = (slm_token)i;
            n++;
        }
    }
    s->pool.n = n;
}

static double weight(float logit, float max)
{
    return (double)slm_exp4(slm_exp_clamp4(slm_all4(logit - max)))[0];
}

/* Probabilities at temperature 1, over what top-k left. The pool holds top-k's tokens, or nothing
 * when that is off. */
static void cut_top_p(struct slm_sampler *s, const float *logits, const struct slm_softmax *all,
                      struct cut *cut)
{
    double total = 0;
    if (s->top_k > 0) {
        for (size_t i = 0; i < s->pool.n; i++)
            total += weight(s->pool.logits[i], all->max);
    } else {
        /* Of n tokens, those below (1 - p) / n have less than 1 - p together, so the others reach
         * p without them: most of the vocabulary never gets into the heap. A margin covers the
         * rounding. */
        double p = (1.0 - (double)s->top_p) / (double)s->n_vocab;
        double least = (double)all->max + all->log_sum + slm_log_double(p) - 0.01;
        gather(s, logits, &(struct cut){(float)least, -1});
        total = all->sum;
    }

    slm_heap_make(&s->pool, SLM_HEAP_BEST_FIRST);
    double reached = 0;
    while (s->pool.n > 0 && reached < (double)s->top_p * total) {
        slm_heap_pop(&s->pool, SLM_HEAP_BEST_FIRST); /* leaves the best behind the others */
        *cut = (struct cut){s->pool.logits[s->pool.n], s->pool.tokens[s->pool.n]};
        reached += weight(cut->logit, all->max);
    }
}

static struct cut find_cut(struct slm_sampler *s, const float *logits,
                           const struct slm_softmax *all)
{
    struct cut cut = {-FLT_MAX, INT32_MAX}; /* all but the forbidden ones */
    if (s->top_k > 0) {
        slm_top_k(&s->pool, s->top_k, logits, s->n_vocab);
        cut = (struct cut){s->pool.logits[0], s->pool.tokens[0]};
    }
    if (s->top_p < 1.0f)
        cut_top_p(s, logits, all, &cut);
    if (s->min_p > 0.0f) {
        /* p >= min_p * p_best, as logits. */
        float least = (float)((double)all->max + slm_log_double((double)s->min_p));
        if (least > cut.logit)
            cut = (struct cut){least, INT32_MAX};
    }
    return cut;
}

/* -------------------------------------------------------------------------- the draw --- */

/* The pool holds the kept tokens by rising id. Turns their logits into weights at the temperature
 * and draws one. */
static slm_token draw(struct slm_sampler *s, float max)
{
    float *x = s->pool.logits;
    for (size_t i = 0; i < s->pool.n; i++)
        x[i] = (x[i] - max) / s->temperature;
    slm_exp_all(x, s->pool.n);
    double total = 0;
    for (size_t i = 0; i < s->pool.n; i++)
        total += (double)x[i];

    /* The first token at which the running sum passes the mark. It always does: the mark is below
     * the total, which the same additions reach. */
    double mark = slm_random_unit(&s->random) * total;
    double sum = 0;
    size_t i = 0;
    for (; i + 1 < s->pool.n; i++) {
        sum += (double)x[i];
        if (sum > mark)
            break;
    }
    return s->pool.tokens[i];
}

/* Most callers only want the token: then nobody computes an exponential for each of the vocabulary.
 * Who asks gets the model's own probabilities, whatever bias and penalties made of the logits. */
int slm_sampler_choose(struct slm_sampler *s, const float *logits, slm_choice *choice)
{
    struct slm_softmax own, all;
    const float *x = adjust(s, logits);
    int code = s->logprobs ? slm_softmax_of(&own, logits, s->n_vocab) : SLM_OK;
    if (code < 0)
        return code;
    if (s->logprobs && x == logits)
        all = own;
    else if (s->temperature > 0 && s->top_p < 1.0f)
        code = slm_softmax_of(&all, x, s->n_vocab);
    else
        code = slm_softmax_best(&all, x, s->n_vocab);
    if (code < 0)
        return code;

    slm_token token = all.best;
    if (s->temperature > 0) {
        struct cut cut = find_cut(s, x, &all);
        gather(s, x, &cut);
        token = draw(s, all.max);
    }
    slm_sampler_remember(s, token);
    choice->token = token;
    choice->logprob = s->logprobs ? slm_softmax_logprob(&own, logits[token]) : NAN;
    choice->entropy = s->logprobs ? (float)own.entropy : NAN;
    return SLM_OK;
}
