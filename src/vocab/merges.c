/*
 * merges.c - which merge makes a token, and in which order merges go, in a byte a token.
 *
 * A list may have many merges that make the same token: all ways to split it, where the list was
 * made from tiktoken or SentencePiece. Only one of them is ever carried out. For when a token comes
 * to be somewhere in a text, no merge has reached across its two ends before; so what happened
 * between them is what happens when the token's text is merged alone, always the same, and the last
 * step of it too. That step is found here by merging each token's text alone; the other ways, and
 * tokens that their own text does not lead to, need not be stored.
 *
 * The order of what is left nearly always is that of the tokens' ids. Tokens that don't follow it
 * get a row each with a key of its own; if there are many, all ranks go into a table.
 */
#include "vocab/merges.h"

#include <stdlib.h>
#include <string.h>

#define NO_ORDER UINT32_MAX

/* Two neighbours and their place in the list. */
struct pair {
    uint32_t left, right, token, order;
};

struct planner {
    const struct slm_vocab *v;
    const struct slm_vocab_index *index;
    bool (*mergeable)(const struct slm_vocab_token *);
    struct slm_merge_plan *plan;
    uint32_t n;         /* tokens */
    uint32_t *order;    /* [n]: by score: of merges to this token; else: of the one that makes it */
    uint32_t *work;     /* [3 * n] */
    struct pair *pairs; /* [mask + 1], a hash table: the list */
    size_t mask;
    struct slm_buf work_text; /* see joined_token(), merge_alone() */
};

static const uint8_t *text_of(const struct planner *p, uint32_t token)
{
    return p->v->pool.data + p->v->tokens[token].text;
}

/* -------------------------------------------------------------------------- the list ---- */

/* Where the pair is, or would be. */
static struct pair *pair_slot(const struct planner *p, uint32_t left, uint32_t right)
{
    uint64_t hash = slm_hash_mix((uint64_t)left << 32 | right);
    size_t at = (size_t)(hash >> 20) & p->mask;
    while (p->pairs[at].token != SLM_TEXT_NO_TOKEN &&
           (p->pairs[at].left != left || p->pairs[at].right != right))
        at = (at + 1) & p->mask;
    return &p->pairs[at];
}

/* What two tokens make together. */
static uint32_t joined_token(struct planner *p, uint32_t left, uint32_t right)
{
    const struct slm_vocab_token *a = &p->v->tokens[left], *b = &p->v->tokens[right];
    p->work_text.length = 0;
    slm_buf_append(&p->work_text, text_of(p, left), a->length);
    slm_buf_append(&p->work_text, text_of(p, right), b->length);
    if (p->work_text.failed)
        return SLM_TEXT_NO_TOKEN;
    return slm_vocab_find(p->index, p->work_text.data, a->length + b->length);
}

/* A pair that is listed twice has the rank of its last mention, as in the reference. */
static int read_list(struct planner *p)
{
    const uint32_t *list = (const uint32_t *)(const void *)p->v->merges.data;
    size_t n = p->v->merges.length / 8, slots = 1024;
    while (slots < 2 * n)
        slots *= 2;
    p->pairs = slm_alloc(p->v->allocator, slots * sizeof(*p->pairs));
    if (!p->pairs)
        return SLM_ENOMEM;
    p->mask = slots - 1;
    memset(p->pairs, 0xFF, slots * sizeof(*p->pairs));
    for (size_t i = 0; i < n; i++) {
        uint32_t left = list[2 * i], right = list[2 * i + 1];
        if (left >= p->n || right >= p->n)
            continue; /* of tokens that the model has no rows for */
        uint32_t token = joined_token(p, left, right);
        if (p->work_text.failed)
            return SLM_ENOMEM;
        if (token == SLM_TEXT_NO_TOKEN)
            return slm_fail(
                SLM_EFORMAT,
                "vocabulary: merge %zu joins tokens %u and %u to a text that is no token", i, left,
                right);
        if (token < p->n)
            *pair_slot(p, left, right) = (struct pair){left, right, token, (uint32_t)i};
    }
    return SLM_OK;
}

/* ------------------------------------------------------------------------- the scores ---- */

static int compare_u64(const void *a, const void *b)
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

/* The order of tokens by score, equal for equal ones. */
static int read_scores(struct planner *p)
{
    uint64_t *sorted = slm_alloc(p->v->allocator, (size_t)p->n * 8);
    uint32_t order = 0;
    if (!sorted)
        return SLM_ENOMEM;
    for (uint32_t t = 0; t < p->n; t++)
        sorted[t] = (uint64_t)score_bits((float)p->v->tokens[t].score) << 32 | t;
    qsort(sorted, p->n, 8, compare_u64);
    for (uint32_t i = 0; i < p->n; i++) {
        order += i > 0 && sorted[i] >> 32 != sorted[i - 1] >> 32;
        p->order[(uint32_t)sorted[i]] = order;
    }
    slm_free(p->v->allocator, sorted, (size_t)p->n * 8);
    return SLM_OK;
}

/* ----------------------------------------------------------------------- merging alone --- */

/* A stretch of the token's text, and what merging it with the next one gives. */
struct symbol {
    uint32_t start, token;
    uint32_t order, merged; /* NO_ORDER: nothing */
    uint32_t next, before;  /* symbols; the last one's next is the end */
};

/* The text being merged. The heap has a number for each possible merge, order << 32 | symbol, and
 * some that are possible no longer. */
struct alone {
    const uint8_t *text;
    struct symbol *s; /* [n + 1]: the last is the end of the text */
    uint64_t *heap;
    size_t n_heap;
    uint32_t n;
};

static void push(struct alone *a, uint64_t key)
{
    size_t at = a->n_heap++;
    for (; at > 0 && a->heap[(at - 1) / 2] > key; at = (at - 1) / 2)
        a->heap[at] = a->heap[(at - 1) / 2];
    a->heap[at] = key;
}

static uint64_t pop(struct alone *a)
{
    uint64_t least = a->heap[0], last = a->heap[--a->n_heap];
    size_t at = 0;
    for (size_t child = 1; child < a->n_heap; child = 2 * at + 1) {
        child += child + 1 < a->n_heap && a->heap[child + 1] < a->heap[child];
        if (a->heap[child] >= last)
            break;
        a->heap[at] = a->heap[child];
        at = child;
    }
    a->heap[at] = last;
    return least;
}

/* Look at symbol i and its right neighbour. */
static void look_at_pair(const struct planner *p, struct alone *a, uint32_t i)
{
    struct symbol *left = &a->s[i], *right = &a->s[left->next];
    left->order = NO_ORDER;
    if (left->next == a->n)
        return;
    if (p->v->by_score) {
        uint32_t length = a->s[right->next].start - left->start;
        uint32_t token = slm_vocab_find(p->index, a->text + left->start, length);
        if (token < p->n && p->mergeable(&p->v->tokens[token])) {
            left->order = p->order[token];
            left->merged = token;
        }
    } else if (left->token != SLM_TEXT_NO_TOKEN && right->token != SLM_TEXT_NO_TOKEN) {
        const struct pair *pair = pair_slot(p, left->token, right->token);
        left->order = pair->order; /* NO_ORDER in an empty slot */
        left->merged = pair->token;
    }
    if (left->order != NO_ORDER)
        push(a, (uint64_t)left->order << 32 | i);
}

/* The symbols that merging begins with. */
static void first_symbols(const struct planner *p, struct alone *a, uint32_t length)
{
    a->n = 0;
    for (uint32_t at = 0; at < length; a->n++) {
        uint32_t end = at + 1;
        while (p->v->model == SLM_TEXT_BPE_CHARS && end < length && (a->text[end] & 0xC0) == 0x80)
            end++;
        uint32_t token = slm_vocab_find(p->index, a->text + at, end - at);
        bool usable = token < p->n && p->mergeable(&p->v->tokens[token]);
        a->s[a->n] = (struct symbol){
            at, usable ? token : SLM_TEXT_NO_TOKEN, NO_ORDER, 0, a->n + 1, a->n - 1};
        at = end;
    }
    a->s[a->n] = (struct symbol){.start = length, .order = NO_ORDER};
}

/* Merge the text of a token alone. Sets plan->whole, and if it took merges, *split (bytes of the
 * left half in the last one) and *order; else *split is 0. */
static int merge_alone(struct planner *p, uint32_t t, uint32_t *split, uint32_t *order)
{
    size_t length = p->v->tokens[t].length;
    struct alone a = {.text = text_of(p, t)};
    p->work_text.length = 0;
    /* Each merge takes away a symbol and gives two pairs to look at. */
    a.heap = slm_buf_grow(&p->work_text, 3 * length * 8 + (length + 1) * sizeof(*a.s));
    if (!a.heap)
        return SLM_ENOMEM;
    a.s = (struct symbol *)(void *)(a.heap + 3 * length);
    first_symbols(p, &a, (uint32_t)length);
    *split = 0;
    *order = NO_ORDER;
    for (uint32_t i = 0; i < a.n; i++)
        look_at_pair(p, &a, i);
    while (a.n_heap > 0) {
        uint64_t least = pop(&a);
        uint32_t i = (uint32_t)least;
        struct symbol *left = &a.s[i], *right = &a.s[left->next];
        if (left->order != least >> 32)
            continue;
        *split = right->start - left->start;
        *order = left->order;
        left->token = left->merged;
        left->next = right->next;
        right->order = NO_ORDER;
        a.s[left->next].before = i;
        look_at_pair(p, &a, i);
        if (i > 0)
            look_at_pair(p, &a, left->before);
    }
    p->plan->whole[t] = a.s[0].next == a.n && a.s[0].token == t;
    if (!p->plan->whole[t])
        *split = 0;
    return SLM_OK;
}

/* --------------------------------------------------------------------- order of tokens --- */

/* Every token that merging makes: its split, and in work[t] the order of the merge that makes it.
 */
static int find_merges(struct planner *p)
{
    uint32_t *orders = p->work;
    for (uint32_t t = 0; t < p->n; t++) {
        uint32_t split;
        orders[t] = NO_ORDER;
        if (!p->mergeable(&p->v->tokens[t]))
            continue;
        int rc = merge_alone(p, t, &split, &orders[t]);
        if (rc < 0)
            return rc;
        if (split == 0)
            orders[t] = NO_ORDER;
        p->plan->splits[t] = split < SLM_SPLIT_ROW ? (uint8_t)split : SLM_SPLIT_ROW;
    }
    /* Only now: with scores, order[] was what merging went by. */
    memcpy(p->order, orders, (size_t)p->n * 4);
    return SLM_OK;
}

/* Such tokens give the order its backbone; rows are fitted in between. */
static bool has_rank(const struct planner *p, uint32_t t)
{
    return p->order[t] != NO_ORDER && p->plan->splits[t] != SLM_SPLIT_ROW;
}

/* Let ids be ranks: keep the longest sequence of tokens whose merges come in the order of their
 * ids, and give rows to the rest. If that takes more room than a table of ranks, have one. */
static int choose_ranks(struct planner *p)
{
    uint32_t *tails = p->work, *before = p->work + p->n, *keep = p->work + 2 * (size_t)p->n;
    uint32_t length = 0, n_ranked = 0;
    memset(keep, 0, (size_t)p->n * 4);
    for (uint32_t t = 0; t < p->n; t++) {
        if (!has_rank(p, t))
            continue;
        uint32_t low = 0, high = length; /* tails[k] ends the best sequence of k + 1 tokens */
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (p->order[tails[middle]] < p->order[t])
                low = middle + 1;
            else
                high = middle;
        }
        before[t] = low > 0 ? tails[low - 1] : SLM_TEXT_NO_TOKEN;
        tails[low] = t;
        length += low == length;
        n_ranked++;
    }
    for (uint32_t t = length ? tails[length - 1] : SLM_TEXT_NO_TOKEN; t != SLM_TEXT_NO_TOKEN;
         t = before[t])
        keep[t] = 1;
    if ((uint64_t)(n_ranked - length) * sizeof(struct slm_text_merge) > (uint64_t)p->n * 4) {
        p->plan->ranks = slm_alloc(p->plan->allocator, (size_t)p->n * 4);
        if (!p->plan->ranks)
            return SLM_ENOMEM;
        for (uint32_t t = 0; t < p->n; t++)
            p->plan->ranks[t] = has_rank(p, t) ? p->order[t] : 0;
        return SLM_OK;
    }
    for (uint32_t t = 0; t < p->n; t++)
        if (has_rank(p, t) && !keep[t])
            p->plan->splits[t] = SLM_SPLIT_ROW;
    return SLM_OK;
}

/* -------------------------------------------------------------------------------- rows --- */

static int compare_rows(const void *a, const void *b)
{
    const struct slm_text_merge *x = a, *y = b;
    return x->token < y->token ? -1 : x->token > y->token;
}

/* Keys between those of the tokens that have ranks. Equal orders get equal keys. */
static int make_rows(struct planner *p)
{
    size_t size = (size_t)p->n * 8, n = 0;
    uint64_t *sorted = slm_alloc(p->v->allocator, size), rank_key = 0;
    uint32_t number = 0;
    if (!sorted)
        return SLM_ENOMEM;
    for (uint32_t t = 0; t < p->n; t++)
        if (p->order[t] != NO_ORDER)
            sorted[n++] = (uint64_t)p->order[t] << 32 | t;
    qsort(sorted, n, 8, compare_u64);
    for (size_t i = 0; i < n;) {
        size_t end = i;
        uint64_t key = 0;
        for (; end < n && sorted[end] >> 32 == sorted[i] >> 32; end++) {
            uint32_t t = (uint32_t)sorted[end];
            if (has_rank(p, t))
                key = rank_key = ((uint64_t)(p->plan->ranks ? p->plan->ranks[t] : t) + 1) << 32;
        }
        if (key == 0)
            key = rank_key | ++number;
        for (; i < end; i++) {
            uint32_t t = (uint32_t)sorted[i], split, order;
            if (has_rank(p, t))
                continue;
            /* The split may be longer than a byte can say. */
            int rc = merge_alone(p, t, &split, &order);
            struct slm_text_merge row = {t, split, key};
            if (rc == SLM_OK)
                slm_buf_append(&p->plan->rows, &row, sizeof(row));
            p->plan->rows.failed |= rc < 0;
        }
    }
    slm_free(p->v->allocator, sorted, size);
    if (p->plan->rows.length)
        qsort(p->plan->rows.data, p->plan->rows.length / sizeof(struct slm_text_merge),
              sizeof(struct slm_text_merge), compare_rows);
    return slm_buf_ok(&p->plan->rows);
}

int slm_merge_plan(struct slm_merge_plan *plan, const struct slm_vocab *v, uint32_t n_tokens,
                   const struct slm_vocab_index *index,
                   bool (*mergeable)(const struct slm_vocab_token *))
{
    struct planner p = {
        .v = v, .index = index, .mergeable = mergeable, .plan = plan, .n = n_tokens};
    bool merging = v->model == SLM_TEXT_BPE_BYTES || v->model == SLM_TEXT_BPE_CHARS;
    int rc = SLM_ENOMEM;
    *plan = (struct slm_merge_plan){
        .n_tokens = n_tokens, .allocator = v->allocator, .rows.allocator = v->allocator};
    p.work_text.allocator = v->allocator;
    plan->splits = slm_calloc(v->allocator, n_tokens);
    plan->whole = slm_calloc(v->allocator, n_tokens);
    p.order = merging ? slm_alloc(v->allocator, (size_t)n_tokens * 16) : NULL;
    if (plan->splits && plan->whole && !merging) {
        for (uint32_t t = 0; t < n_tokens; t++)
            plan->whole[t] = mergeable(&v->tokens[t]);
        rc = SLM_OK;
    } else if (plan->splits && plan->whole && p.order) {
        p.work = p.order + n_tokens;
        rc = v->by_score ? read_scores(&p) : read_list(&p);
        if (rc == SLM_OK)
            rc = find_merges(&p);
        if (rc == SLM_OK)
            rc = choose_ranks(&p);
        if (rc == SLM_OK)
            rc = make_rows(&p);
    }
    if (p.order)
        slm_free(v->allocator, p.order, (size_t)n_tokens * 16);
    if (p.pairs)
        slm_free(v->allocator, p.pairs, (p.mask + 1) * sizeof(*p.pairs));
    slm_buf_free(&p.work_text);
    return rc;
}

void slm_merge_plan_free(struct slm_merge_plan *plan)
{
    slm_free(plan->allocator, plan->splits, plan->n_tokens);
    slm_free(plan->allocator, plan->whole, plan->n_tokens);
    if (plan->ranks)
        slm_free(plan->allocator, plan->ranks, (size_t)plan->n_tokens * 4);
    slm_buf_free(&plan->rows);
    plan->splits = NULL;
    plan->whole = NULL;
    plan->ranks = NULL;
}
