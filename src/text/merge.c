/*
 * merge.c - byte pair encoding of one piece.
 *
 * The piece starts as a list of symbols (bytes or characters). Of all neighbours that make a token
 * together, those with the lowest key merge, the leftmost of equals, until none are left.
 *
 * The keys lie in a tree of minima, 4 children a node (8 and 16 are slower), so that finding the
 * best pair and changing a key cost the depth of the tree: 2 for a word, 5 for a window.
 *
 * A long piece is encoded through a window, in linear time and constant space. That is exact, and
 * here is why. Call a text's encoding the end of merging all of it. Where it has a boundary, no
 * merge ever reached across, so the two sides developed independently: every stretch of
 * consecutive tokens is the encoding of its own bytes. The other way round, if every two
 * neighbours of a sequence of tokens are the encoding of their own bytes, the sequence is the
 * encoding of the whole: the first merge across any boundary would also have happened when
 * those two were alone, for it is the same symbols in the same order. So windows may be joined
 * if each pair of neighbours has been seen together within one window. Each window therefore
 * starts with the last token of the one before and must find that token again. If it does not,
 * the window was too small for this vocabulary: everything starts again with twice the size.
 */
#include "text/merge.h"

#include <string.h>

#define NO_MERGE UINT64_MAX
#define FANOUT 4
#define LEVELS 16   /* 4^16 symbols */
#define WINDOW 1024 /* bytes at first; longer pieces go through a window */

/* -------------------------------------------------------------------------- work space --- */

/* Numbers in a tree over n keys: each row is filled up to whole nodes. */
static size_t tree_size(size_t n)
{
    size_t total = 0;
    do {
        n = (n + FANOUT - 1) / FANOUT;
        total += n * FANOUT;
    } while (n > 1);
    return total;
}

/* Room for `capacity` symbols. The old content is lost, the powers apart. */
static int reserve(struct slm_merger *m, size_t capacity)
{
    size_t n_powers = (size_t)m->text->header->max_length + 1;
    size_t pairs_size = SLM_MERGE_PAIRS * sizeof(struct slm_merge_pair);
    size_t words = n_powers + (capacity + 1) + tree_size(capacity);
    size_t size = pairs_size + words * 8 + (5 * capacity + 1) * 4;
    if (capacity <= m->capacity)
        return SLM_OK;
    slm_merger_free(m);
    m->block = slm_alloc(m->allocator, size);
    if (!m->block)
        return SLM_ENOMEM;
    m->block_size = size;
    m->capacity = (uint32_t)capacity;
    m->pairs = m->block;
    memset(m->pairs, 0xFF, pairs_size); /* SLM_TEXT_NO_TOKEN: empty */
    m->powers = (uint64_t *)(m->pairs + SLM_MERGE_PAIRS);
    m->hashes = m->powers + n_powers;
    m->keys = m->hashes + capacity + 1;
    m->tokens = (uint32_t *)(m->keys + tree_size(capacity));
    m->merged = m->tokens + capacity;
    m->next = m->merged + capacity;
    m->before = m->next + capacity;
    m->starts = m->before + capacity;
    m->powers[0] = 1;
    for (size_t i = 1; i < n_powers; i++)
        m->powers[i] = m->powers[i - 1] * SLM_HASH_BASE;
    return SLM_OK;
}

void slm_merger_init(struct slm_merger *m, const struct slm_text *text, const slm_allocator *a)
{
    *m = (struct slm_merger){.text = text, .allocator = a};
}

void slm_merger_free(struct slm_merger *m)
{
    slm_free(m->allocator, m->block, m->block_size);
    m->block = NULL;
    m->capacity = 0;
}

/* ------------------------------------------------------------------------ tree of keys --- */

struct tree {
    uint64_t *levels[LEVELS]; /* levels[0] has the keys, the last one node */
    int depth;
};

/* The first of equals wins, and with it the leftmost pair. */
static uint64_t least_of_node(const uint64_t *node, size_t *index)
{
    size_t best = 0;
    for (size_t i = 1; i < FANOUT; i++)
        best = node[i] < node[best] ? i : best;
    *index = best;
    return node[best];
}

/* The first row holds n keys and is filled up; make the rows above it. */
static void tree_build(struct tree *tree, uint64_t *keys, size_t n)
{
    tree->depth = 0;
    for (;;) {
        size_t nodes = (n + FANOUT - 1) / FANOUT, ignored;
        tree->levels[tree->depth++] = keys;
        for (size_t i = n; i < nodes * FANOUT; i++)
            keys[i] = NO_MERGE;
        if (nodes <= 1)
            return;
        uint64_t *above = keys + nodes * FANOUT;
        for (size_t i = 0; i < nodes; i++)
            above[i] = least_of_node(keys + i * FANOUT, &ignored);
        keys = above;
        n = nodes;
    }
}

/* Change a key and every minimum above it that changes with it. */
static void tree_set(struct tree *tree, size_t at, uint64_t key)
{
    tree->levels[0][at] = key;
    for (int level = 1; level < tree->depth; level++) {
        size_t node = at / FANOUT, ignored;
        key = least_of_node(tree->levels[level - 1] + node * FANOUT, &ignored);
        if (tree->levels[level][node] == key)
            return;
        tree->levels[level][node] = key;
        at = node;
    }
}

/* The leftmost of the lowest keys; its place in *at. */
static uint64_t tree_least(const struct tree *tree, size_t *at)
{
    size_t node = 0, index;
    uint64_t key = NO_MERGE;
    for (int level = tree->depth - 1; level >= 0; level--) {
        key = least_of_node(tree->levels[level] + node * FANOUT, &index);
        node = node * FANOUT + index;
    }
    *at = node;
    return key;
}

/* ----------------------------------------------------------------------------- merging --- */

/* The row of a token, or NULL. */
static const struct slm_text_merge *row_of(const struct slm_text *t, uint32_t token)
{
    uint32_t low = 0, high = t->n_merges;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (t->merges[middle].token < token)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->n_merges && t->merges[low].token == token ? &t->merges[low] : NULL;
}

/* What merging symbol i with its right neighbour makes, looked up in the section. */
static struct slm_merge_pair find_pair(const struct slm_merger *m, const uint8_t *data, uint32_t i,
                                       uint32_t right)
{
    const struct slm_text *t = m->text;
    struct slm_merge_pair pair = {m->tokens[i], m->tokens[right], SLM_TEXT_NO_TOKEN, NO_MERGE};
    uint32_t begin = m->starts[i], end = m->starts[m->next[right]];
    uint32_t length = end - begin, left_length = m->starts[right] - begin;
    if (length > t->header->max_length)
        return pair;
    if ((t->header->flags & SLM_TEXT_STRICT_SYMBOLS) &&
        (pair.left == SLM_TEXT_NO_TOKEN || pair.right == SLM_TEXT_NO_TOKEN))
        return pair;
    uint64_t hash = m->hashes[end] - m->hashes[begin] * m->powers[length];
    uint32_t token = slm_text_find(t, data + begin, length, hash);
    if (token == SLM_TEXT_NO_TOKEN)
        return pair;
    uint32_t split = t->info[token] & SLM_INFO_SPLIT;
    uint64_t key = ((uint64_t)(t->ranks ? t->ranks[token] : token) + 1) << 32;
    if (split == SLM_SPLIT_ROW) {
        const struct slm_text_merge *row = row_of(t, token);
        split = row ? row->split : 0;
        key = row ? row->key : NO_MERGE;
    }
    if (split == left_length) {
        pair.merged = token;
        pair.key = key;
    }
    return pair;
}

/* The key of merging symbol i with its right neighbour, of n; what it makes goes to merged[i]. */
static uint64_t look_at_pair(struct slm_merger *m, const uint8_t *data, uint32_t i, uint32_t n)
{
    uint32_t right = m->next[i];
    if (right >= n)
        return NO_MERGE;
    uint32_t a = m->tokens[i], b = m->tokens[right];
    struct slm_merge_pair *pair =
        &m->pairs[(a * 0x9E3779B1u ^ b * 0x85EBCA77u) >> 16 & (SLM_MERGE_PAIRS - 1)];
    /* A character that is no token may be any: its pairs are not remembered. */
    if (pair->left != a || pair->right != b || a == SLM_TEXT_NO_TOKEN || b == SLM_TEXT_NO_TOKEN)
        *pair = find_pair(m, data, i, right);
    m->merged[i] = pair->merged;
    return pair->key;
}

/* The symbols that merging begins with; returns how many. */
static uint32_t first_symbols(struct slm_merger *m, const uint8_t *data, uint32_t n)
{
    const struct slm_text *t = m->text;
    uint32_t count = 0;
    m->hashes[0] = 0;
    for (uint32_t i = 0; i < n; i++)
        m->hashes[i + 1] = m->hashes[i] * SLM_HASH_BASE + data[i] + 1;
    for (uint32_t at = 0; at < n; count++) {
        uint32_t end = at + 1;
        if (t->header->model == SLM_TEXT_BPE_BYTES) {
            m->tokens[count] = t->bytes[data[at]];
        } else {
            while (end < n && (data[end] & 0xC0) == 0x80)
                end++;
            uint64_t hash = end - at > t->header->max_length
                                ? 0
                                : m->hashes[end] - m->hashes[at] * m->powers[end - at];
            m->tokens[count] = slm_text_find(t, data + at, end - at, hash);
        }
        m->starts[count] = at;
        m->next[count] = count + 1;
        m->before[count] = count - 1; /* wraps for the first, which is never looked at */
        at = end;
    }
    m->starts[count] = n;
    return count;
}

/* Merge all of data[n], n at most capacity. The tokens are then the list that begins at symbol 0.
 * Returns the number of symbols that the list started with: the end of the list. */
static uint32_t merge_window(struct slm_merger *m, const uint8_t *data, uint32_t n)
{
    uint32_t count = first_symbols(m, data, n);
    struct tree tree;
    for (uint32_t i = 0; i < count; i++)
        m->keys[i] = look_at_pair(m, data, i, count);
    tree_build(&tree, m->keys, count);
    for (;;) {
        size_t best;
        if (tree_least(&tree, &best) == NO_MERGE)
            return count;
        uint32_t left = (uint32_t)best, right = m->next[left], after = m->next[right];
        m->tokens[left] = m->merged[left];
        m->next[left] = after;
        if (after < count)
            m->before[after] = left;
        tree_set(&tree, right, NO_MERGE);
        tree_set(&tree, left, look_at_pair(m, data, left, count));
        if (left > 0) {
            uint32_t before = m->before[left];
            tree_set(&tree, before, look_at_pair(m, data, before, count));
        }
    }
}

void slm_put_symbol(const struct slm_text *t, const uint8_t *bytes, size_t n, uint32_t token,
                    struct slm_token_sink *sink)
{
    if (token != SLM_TEXT_NO_TOKEN) {
        slm_sink_put(sink, token);
        return;
    }
    bool have_bytes = (t->header->flags & SLM_TEXT_BYTE_FALLBACK) != 0;
    for (size_t i = 0; i < n; i++)
        have_bytes = have_bytes && t->bytes[bytes[i]] != SLM_TEXT_NO_TOKEN;
    if (have_bytes) {
        for (size_t i = 0; i < n; i++)
            slm_sink_put(sink, t->bytes[bytes[i]]);
    } else if (t->header->unknown != SLM_TEXT_NO_TOKEN) {
        bool fuse = (t->header->flags & SLM_TEXT_FUSE_UNKNOWN) != 0;
        if (!fuse || !sink->after_unknown)
            slm_sink_put(sink, t->header->unknown);
        sink->after_unknown = true;
    }
}

/* Where a character begins, at or before `at`. */
static size_t character_start(const struct slm_text *t, const uint8_t *data, size_t at)
{
    while (t->header->model == SLM_TEXT_BPE_CHARS && at > 0 && (data[at] & 0xC0) == 0x80)
        at--;
    return at;
}

/* One pass over a long piece with windows of a given size. Returns 1 when it worked, 0 when the
 * window was too small. */
static int merge_windows(struct slm_merger *m, const uint8_t *data, size_t n, size_t window,
                         struct slm_token_sink *sink)
{
    size_t at = 0,
           known = 0; /* the window begins with a token of `known` bytes that is out already */
    for (;;) {
        bool last = n - at <= window;
        size_t length = last ? n - at : character_start(m->text, data, at + window) - at;
        size_t keep = last ? length : length - window / 8;
        uint32_t count = merge_window(m, data + at, (uint32_t)length);
        if (known > 0 && m->starts[m->next[0]] != known)
            return 0;
        uint32_t i = known > 0 ? m->next[0] : 0, kept = UINT32_MAX;
        while (i < count && m->starts[m->next[i]] <= keep) {
            uint32_t start = m->starts[i];
            slm_put_symbol(m->text, data + at + start, m->starts[m->next[i]] - start, m->tokens[i],
                           sink);
            kept = i;
            i = m->next[i];
        }
        if (last)
            return 1;
        if (kept == UINT32_MAX)
            return 0;
        known = m->starts[m->next[kept]] - m->starts[kept];
        at += m->starts[kept];
    }
}

/* A piece that fits one window is done in one; so is, in the end, any other. */
int slm_merge(struct slm_merger *m, const uint8_t *data, size_t n, struct slm_token_sink *sink)
{
    size_t window = WINDOW;
    struct slm_token_sink mark = *sink;
    for (;;) {
        int rc = reserve(m, window < n || n < WINDOW ? window : n);
        if (rc < 0)
            return rc;
        if (merge_windows(m, data, n, window, sink))
            return SLM_OK;
        *sink = mark;
        window *= 2;
    }
}
