/*
 * tokenizer_merges.c - the order of merges, compactly.
 *
 * A merge is a token and the place where its text is split. Nearly always the order follows from
 * little: each token has one merge (GPT-2, Qwen), or all splits into tokens in a regular order
 * (what is made from tiktoken or SentencePiece), and the tokens' order is that of their ids.
 * What does not follow gets a row of its own with an explicit key. So any list of merges is kept
 * exactly, and the usual ones in a byte a token.
 */
#include "convert/tokenizer_merges.h"

#include <stdlib.h>
#include <string.h>

/* One merge. Merges with equal scores have the same order. */
struct item {
    uint32_t token, split, order, left;
};

struct planner {
    const struct slm_vocab *v;
    const struct slm_vocab_index *index;
    struct slm_merge_plan *plan;
    uint32_t n;           /* tokens */
    struct slm_buf items; /* struct item[]: of a list, sorted by token and order */
    uint32_t *starts;     /* [n + 1]: items of a token */
    uint32_t *first;      /* [n]: order of the token's first merge */
    uint32_t *work;       /* [3 * n] */
};

#define NO_ORDER UINT32_MAX

static const uint8_t *text_of(const struct planner *p, uint32_t token)
{
    return p->v->pool.data + p->v->tokens[token].text;
}

/* ----------------------------------------------------------------------- reading merges --- */

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->token != y->token)
        return x->token < y->token ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int compare_splits(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->token == y->token && x->split != y->split)
        return x->split < y->split ? -1 : 1;
    return compare_items(a, b);
}

/* A merge that is listed twice has the rank of its last mention, as in the reference. */
static size_t drop_repetitions(struct item *items, size_t n)
{
    size_t kept = 0;
    if (n)
        qsort(items, n, sizeof(*items), compare_splits);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || items[i].token != items[i + 1].token ||
            items[i].split != items[i + 1].split)
            items[kept++] = items[i];
    return kept;
}

/* The list as items. Both halves and the result must be tokens. */
static int read_list(struct planner *p)
{
    const struct slm_vocab *v = p->v;
    const uint32_t *pairs = (const uint32_t *)(const void *)v->merges.data;
    size_t n_pairs = v->merges.length / 8;
    uint8_t joined[2 * SLM_LIMIT_TOKEN_TEXT];
    for (size_t i = 0; i < n_pairs; i++) {
        uint32_t left = pairs[2 * i], right = pairs[2 * i + 1];
        if (left >= p->n || right >= p->n)
            continue; /* of tokens that the model has no rows for */
        uint32_t n_left = v->tokens[left].length, n_right = v->tokens[right].length;
        memcpy(joined, text_of(p, left), n_left);
        memcpy(joined + n_left, text_of(p, right), n_right);
        uint32_t token = slm_vocab_find(p->index, joined, n_left + n_right);
        if (token == SLM_TEXT_NO_TOKEN)
            return slm_fail(SLM_EFORMAT,
                            "vocabulary: merge %zu joins tokens %u and %u to a text that "
                            "is no token",
                            i, left, right);
        if (token >= p->n)
            continue;
        struct item item = {token, n_left, (uint32_t)i, left};
        slm_buf_append(&p->items, &item, sizeof(item));
    }
    if (slm_buf_ok(&p->items) < 0)
        return SLM_ENOMEM;
    struct item *items = (struct item *)(void *)p->items.data;
    size_t n = drop_repetitions(items, p->items.length / sizeof(*items)), at = 0;
    p->items.length = n * sizeof(*items);
    if (n)
        qsort(items, n, sizeof(*items), compare_items);
    for (uint32_t t = 0; t < p->n; t++) {
        p->starts[t] = (uint32_t)at;
        p->first[t] = at < n && items[at].token == t ? items[at].order : NO_ORDER;
        while (at < n && items[at].token == t)
            at++;
    }
    p->starts[p->n] = (uint32_t)at;
    return SLM_OK;
}

static uint32_t count_characters(const uint8_t *text, uint32_t n)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += (text[i] & 0xC0) != 0x80;
    return count;
}

static int compare_scores(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return x < y ? -1 : x > y;
}

/* A float as an unsigned number of the same order, reversed: the best score becomes the lowest. */
static uint32_t score_bits(float score)
{
    uint32_t bits = slm_bits_of(score == 0 ? 0.0f : score); /* -0 is 0 */
    return bits >> 31 ? bits : ~bits & 0x7FFFFFFF;
}

/* Every token of two or more characters may be made from any two parts, the best score first. */
static int read_scores(struct planner *p)
{
    uint64_t *sorted = slm_alloc(p->v->allocator, (size_t)p->n * 8);
    uint32_t n = 0, order = 0;
    if (!sorted)
        return SLM_ENOMEM;
    for (uint32_t t = 0; t < p->n; t++) {
        const struct slm_vocab_token *token = &p->v->tokens[t];
        p->first[t] = NO_ORDER;
        if (!token->in_model || count_characters(text_of(p, t), token->length) < 2)
            continue;
        sorted[n++] = (uint64_t)score_bits(token->score) << 32 | t;
    }
    qsort(sorted, n, 8, compare_scores);
    for (uint32_t i = 0; i < n; i++) {
        order += i > 0 && sorted[i] >> 32 != sorted[i - 1] >> 32;
        p->first[(uint32_t)sorted[i]] = order;
    }
    slm_free(p->v->allocator, sorted, (size_t)p->n * 8);
    memset(p->starts, 0, ((size_t)p->n + 1) * 4);
    return SLM_OK;
}

/* ------------------------------------------------------------------------- classifying --- */

/* The merges that make a token, best first. */
static const struct item *items_of(const struct planner *p, uint32_t token, uint32_t *n)
{
    *n = p->starts[token + 1] - p->starts[token];
    return (const struct item *)(const void *)p->items.data + p->starts[token];
}

/* Whether the order among the splits of one token is what the tie rule says. */
static bool in_tie_order(const struct item *items, uint32_t n, uint32_t tie)
{
    for (uint32_t i = 1; i < n; i++)
        if (tie == SLM_TEXT_TIE_LEFT_ID ? items[i].left <= items[i - 1].left
                                        : items[i].split >= items[i - 1].split)
            return false;
    return true;
}

/* Whether the items are all ways to split the token into two, one right after the other. */
static bool all_splits_in_a_row(const struct planner *p, uint32_t token, const struct item *items,
                                uint32_t n)
{
    const uint8_t *text = text_of(p, token);
    uint32_t length = p->v->tokens[token].length, ways = 0;
    if (items[n - 1].order - items[0].order != n - 1)
        return false;
    for (uint32_t i = 1; i < length; i++)
        ways += slm_vocab_find(p->index, text, i) != SLM_TEXT_NO_TOKEN &&
                slm_vocab_find(p->index, text + i, length - i) != SLM_TEXT_NO_TOKEN;
    return ways == n;
}

/* Decide for each token which of the four kinds of splits says it all. Of the two tie rules the one
 * that explains more tokens is taken. */
static void classify(struct planner *p)
{
    struct slm_merge_plan *plan = p->plan;
    uint32_t regular[SLM_TEXT_TIE_LEFT_LENGTH + 1] = {0}, n;
    plan->tie = SLM_TEXT_TIE_POSITION;
    if (p->v->by_score) {
        for (uint32_t t = 0; t < p->n; t++)
            plan->splits[t] = p->first[t] == NO_ORDER ? SLM_SPLIT_NONE : SLM_SPLIT_ANY;
        return;
    }
    for (uint32_t t = 0; t < p->n; t++) {
        const struct item *items = items_of(p, t, &n);
        for (uint32_t tie = SLM_TEXT_TIE_LEFT_ID; n > 1 && tie <= SLM_TEXT_TIE_LEFT_LENGTH; tie++)
            regular[tie] += in_tie_order(items, n, tie);
    }
    if (regular[SLM_TEXT_TIE_LEFT_ID] + regular[SLM_TEXT_TIE_LEFT_LENGTH] > 0)
        plan->tie = regular[SLM_TEXT_TIE_LEFT_ID] >= regular[SLM_TEXT_TIE_LEFT_LENGTH]
                        ? SLM_TEXT_TIE_LEFT_ID
                        : SLM_TEXT_TIE_LEFT_LENGTH;
    for (uint32_t t = 0; t < p->n; t++) {
        const struct item *items = items_of(p, t, &n);
        if (n == 0)
            plan->splits[t] = SLM_SPLIT_NONE;
        else if (n == 1 && items[0].split < SLM_SPLIT_ROWS)
            plan->splits[t] = (uint8_t)items[0].split;
        else if (n > 1 && in_tie_order(items, n, plan->tie) && all_splits_in_a_row(p, t, items, n))
            plan->splits[t] = SLM_SPLIT_ANY;
        else
            plan->splits[t] = SLM_SPLIT_ROWS;
    }
}

/* How many rows a token would need. */
static uint32_t rows_of(const struct planner *p, uint32_t token)
{
    if (p->v->by_score)
        return count_characters(text_of(p, token), p->v->tokens[token].length) - 1;
    return p->starts[token + 1] - p->starts[token];
}

/* Such tokens give the order its backbone; rows are fitted in between. */
static bool has_rank(const struct planner *p, uint32_t token)
{
    return p->plan->splits[token] != SLM_SPLIT_NONE && p->plan->splits[token] != SLM_SPLIT_ROWS;
}

/* Let ids be ranks: keep the longest sequence of tokens whose merges come in the order of their
 * ids, and give rows to the rest. If that takes more room than a table of ranks, have one. */
static int choose_ranks(struct planner *p)
{
    struct slm_merge_plan *plan = p->plan;
    uint32_t *tails = p->work, *before = p->work + p->n, *keep = p->work + 2 * (size_t)p->n;
    uint32_t length = 0;
    uint64_t n_rows = 0;
    memset(keep, 0, (size_t)p->n * 4);
    for (uint32_t t = 0; t < p->n; t++) {
        if (!has_rank(p, t))
            continue;
        uint32_t low = 0, high = length; /* tails[k] ends the best sequence of k + 1 tokens */
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (p->first[tails[middle]] < p->first[t])
                low = middle + 1;
            else
                high = middle;
        }
        before[t] = low > 0 ? tails[low - 1] : SLM_TEXT_NO_TOKEN;
        tails[low] = t;
        length += low == length;
    }
    for (uint32_t t = length ? tails[length - 1] : SLM_TEXT_NO_TOKEN; t != SLM_TEXT_NO_TOKEN;
         t = before[t])
        keep[t] = 1;
    for (uint32_t t = 0; t < p->n; t++)
        if (has_rank(p, t) && !keep[t])
            n_rows += rows_of(p, t);
    if (n_rows * sizeof(struct slm_text_merge) > (uint64_t)p->n * 4) {
        plan->ranks = slm_alloc(plan->allocator, (size_t)p->n * 4);
        if (!plan->ranks)
            return SLM_ENOMEM;
        memcpy(plan->ranks, p->first, (size_t)p->n * 4);
        return SLM_OK;
    }
    for (uint32_t t = 0; t < p->n; t++)
        if (has_rank(p, t) && !keep[t])
            plan->splits[t] = SLM_SPLIT_ROWS;
    return SLM_OK;
}

/* -------------------------------------------------------------------------------- rows --- */

static int compare_orders(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int compare_rows(const void *a, const void *b)
{
    const struct slm_text_merge *x = a, *y = b;
    if (x->token != y->token)
        return x->token < y->token ? -1 : 1;
    return x->split < y->split ? -1 : x->split > y->split;
}

/* Everything that has an order: merges that need rows, and (split 0) tokens that have a rank. */
static int collect(const struct planner *p, struct slm_buf *all)
{
    for (uint32_t t = 0; t < p->n; t++) {
        if (has_rank(p, t)) {
            struct item item = {t, 0, p->first[t], 0};
            slm_buf_append(all, &item, sizeof(item));
        } else if (p->plan->splits[t] == SLM_SPLIT_ROWS && !p->v->by_score) {
            uint32_t n;
            const struct item *items = items_of(p, t, &n);
            slm_buf_append(all, items, n * sizeof(*items));
        } else if (p->plan->splits[t] == SLM_SPLIT_ROWS) {
            const uint8_t *text = text_of(p, t);
            for (uint32_t i = 1; i < p->v->tokens[t].length; i++) {
                struct item item = {t, i, p->first[t], 0};
                if ((text[i] & 0xC0) != 0x80)
                    slm_buf_append(all, &item, sizeof(item));
            }
        }
    }
    return slm_buf_ok(all);
}

/* Keys between those of the tokens that have ranks. Equal orders get equal keys. */
static int make_rows(struct planner *p)
{
    struct slm_buf all = {.allocator = p->v->allocator};
    int rc = collect(p, &all);
    struct item *items = (struct item *)(void *)all.data;
    size_t n = all.length / sizeof(*items);
    uint64_t rank_key = 0;
    uint32_t number = 0;
    if (rc == SLM_OK && n > 0)
        qsort(items, n, sizeof(*items), compare_orders);
    for (size_t i = 0; i < n && rc == SLM_OK;) {
        size_t end = i;
        uint64_t key = 0;
        for (; end < n && items[end].order == items[i].order; end++) {
            uint32_t t = items[end].token;
            if (items[end].split == 0)
                key = rank_key = ((uint64_t)(p->plan->ranks ? p->plan->ranks[t] : t) + 1) << 32;
        }
        if (key == 0)
            key = rank_key | SLM_KEY_ROW | number++;
        for (; i < end; i++) {
            struct slm_text_merge row = {items[i].token, items[i].split, key};
            if (row.split != 0)
                slm_buf_append(&p->plan->rows, &row, sizeof(row));
        }
    }
    if (rc == SLM_OK)
        rc = slm_buf_ok(&p->plan->rows);
    if (rc == SLM_OK && p->plan->rows.length)
        qsort(p->plan->rows.data, p->plan->rows.length / sizeof(struct slm_text_merge),
              sizeof(struct slm_text_merge), compare_rows);
    slm_buf_free(&all);
    return rc;
}

/* Read, classify, rank, and write rows for what is left. */
int slm_merge_plan(struct slm_merge_plan *plan, const struct slm_vocab *v, uint32_t n_tokens,
                   const struct slm_vocab_index *index)
{
    struct planner p = {.v = v, .index = index, .plan = plan, .n = n_tokens};
    size_t words = (size_t)n_tokens * 5 + 1;
    int rc = SLM_ENOMEM;
    *plan = (struct slm_merge_plan){
        .n_tokens = n_tokens, .allocator = v->allocator, .rows.allocator = v->allocator};
    p.items.allocator = v->allocator;
    plan->splits = slm_calloc(v->allocator, n_tokens);
    uint32_t *block = slm_alloc(v->allocator, words * 4);
    if (plan->splits && block) {
        p.starts = block;
        p.first = p.starts + n_tokens + 1;
        p.work = p.first + n_tokens;
        rc = v->by_score ? read_scores(&p) : read_list(&p);
        if (rc == SLM_OK) {
            classify(&p);
            rc = choose_ranks(&p);
        }
        if (rc == SLM_OK)
            rc = make_rows(&p);
    }
    slm_free(v->allocator, block, words * 4);
    slm_buf_free(&p.items);
    return rc;
}

void slm_merge_plan_free(struct slm_merge_plan *plan)
{
    slm_free(plan->allocator, plan->splits, plan->n_tokens);
    if (plan->ranks)
        slm_free(plan->allocator, plan->ranks, (size_t)plan->n_tokens * 4);
    slm_buf_free(&plan->rows);
    plan->splits = NULL;
    plan->ranks = NULL;
}
