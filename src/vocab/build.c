/*
 * build.c - a vocabulary to the bytes of the tokenizer section.
 *
 * The tables are made one after the other and laid out behind the header. One of them needs the
 * runtime itself, which then runs over the section as far as it is: what added tokens look like
 * after normalization.
 */
#include "text/added.h"
#include "text/normal.h"
#include "text/unigram.h"
#include "vocab/merges.h"
#include "vocab/regex.h"

#include <stdlib.h>
#include <string.h>

struct builder {
    const struct slm_vocab *v;
    const slm_allocator *allocator;
    uint32_t n; /* tokens that the section has */
    struct slm_text_header header;
    struct slm_buf tables[SLM_TEXT_N_TABLES];
    struct slm_vocab_index index; /* tokens of the model */
    struct slm_buf late;          /* struct slm_text_added[]: those of ADDED_LATE, by token */
    struct slm_merge_plan plan;
};

static const uint8_t *pool_at(const struct builder *b, struct slm_vocab_text text)
{
    return b->v->pool.data + text.text;
}

static const struct slm_vocab_token *token_at(const struct builder *b, uint32_t id)
{
    return &b->v->tokens[id];
}

/* Control tokens and the like are never the result of merging, so plain text can't become them. */
static bool can_merge(const struct slm_vocab_token *token)
{
    return token->in_model && token->length > 0 && token->kind != SLM_TOKEN_CONTROL &&
           token->kind != SLM_TOKEN_UNKNOWN && token->kind != SLM_TOKEN_BYTE;
}

/* Whether a piece can be this token: what its own text is encoded to, or any where merges don't
 * count. Of equal texts only one. */
static bool is_reachable(const struct builder *b, uint32_t id)
{
    const struct slm_vocab_token *token = token_at(b, id);
    return can_merge(token) && (b->plan.whole[id] || b->v->ignore_merges) &&
           slm_vocab_find(&b->index, b->v->pool.data + token->text, token->length) == id;
}

/* ------------------------------------------------------------------------------- texts --- */

/* What the token is shown as. For an added token that is looked for in normalized text that is its
 * own text, normalized; *late is where the search for it goes on. */
static const uint8_t *shown_text(const struct builder *b, uint32_t id, size_t *late, uint32_t *n)
{
    const struct slm_text_added *rows = (const struct slm_text_added *)(const void *)b->late.data;
    size_t n_rows = b->late.length / sizeof(*rows);
    while (*late < n_rows && rows[*late].token < id)
        (*late)++;
    if (*late < n_rows && rows[*late].token == id && !can_merge(token_at(b, id))) {
        *n = rows[*late].length;
        return b->tables[SLM_TEXT_ADDED_POOL].data + rows[*late].text;
    }
    *n = token_at(b, id)->length;
    return b->v->pool.data + token_at(b, id)->text;
}

/* Texts one after the other; where each begins takes two bytes, because blocks of tokens share a
 * base. */
static void write_texts(struct builder *b)
{
    size_t late = 0;
    uint32_t length;
    struct slm_buf *pool = &b->tables[SLM_TEXT_POOL], *bases = &b->tables[SLM_TEXT_BASES];
    struct slm_buf *offsets = &b->tables[SLM_TEXT_OFFSETS];
    /* The largest blocks whose texts fit 16 bits. */
    uint32_t shift = 6;
    pool->length = bases->length = offsets->length = 0;
    for (; shift > 0; shift--) {
        uint64_t most = 0, sum = 0;
        late = 0;
        for (uint32_t i = 0; i < b->n; i++) {
            shown_text(b, i, &late, &length);
            sum = i & ((1u << shift) - 1) ? sum + length : length;
            most = sum > most ? sum : most;
        }
        if (most <= UINT16_MAX)
            break;
    }
    b->header.block_shift = shift;
    uint32_t base = 0;
    late = 0;
    for (uint32_t i = 0; i <= b->n; i++) {
        if ((i & ((1u << shift) - 1)) == 0) {
            base = (uint32_t)pool->length;
            slm_buf_u32(bases, base);
        }
        uint16_t offset = (uint16_t)(pool->length - base);
        slm_buf_append(offsets, &offset, 2);
        if (i == b->n)
            return;
        const uint8_t *text = shown_text(b, i, &late, &length);
        slm_buf_append(pool, text, length);
    }
}

/* -------------------------------------------------------------------------------- hash --- */

struct slot {
    uint32_t home, tag, token;
};

static int compare_slots(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;
    if (x->home != y->home)
        return x->home < y->home ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

/* Fill the table with n_slots; false when some token would lie too far from its place. */
static bool place(struct slot *slots, uint32_t n, uint32_t n_slots, uint32_t *table)
{
    uint32_t next = 0;
    qsort(slots, n, sizeof(*slots), compare_slots);
    memset(table, 0, ((size_t)n_slots + SLM_HASH_REACH) * 4);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = slots[i].home > next ? slots[i].home : next;
        uint32_t distance = at - slots[i].home + 1;
        if (distance > SLM_HASH_REACH)
            return false;
        table[at] = (distance << 6 | slots[i].tag) << SLM_HASH_ID_BITS | slots[i].token;
        next = at + 1;
    }
    return true;
}

/* As full as possible, so small: a third is left free, and more only if some token would land too
 * far from home. */
static int write_hash(struct builder *b)
{
    struct slm_buf *out = &b->tables[SLM_TEXT_HASH];
    size_t size = (size_t)b->n * sizeof(struct slot);
    struct slot *slots = slm_alloc(b->allocator, size);
    uint32_t n = 0;
    if (!slots)
        return SLM_ENOMEM;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct slm_vocab_token *t = token_at(b, i);
        if (!is_reachable(b, i))
            continue;
        slots[n++].token = i;
        if (t->length > b->header.max_length)
            b->header.max_length = t->length;
    }
    for (uint64_t n_slots = n + n / 3 + 1;; n_slots += n_slots / 16 + 1) {
        if (n_slots > 4 * (uint64_t)SLM_LIMIT_VOCAB || out->failed) { /* as the reader */
            slm_free(b->allocator, slots, size);
            return out->failed ? SLM_ENOMEM
                               : slm_fail(SLM_EFORMAT, "vocabulary: too many of its texts have the "
                                                       "same hash");
        }
        for (uint32_t i = 0; i < n; i++) {
            const struct slm_vocab_token *t = token_at(b, slots[i].token);
            uint64_t mixed = slm_hash_mix(slm_text_hash(b->v->pool.data + t->text, t->length));
            slots[i].home = slm_hash_slot(mixed, (uint32_t)n_slots);
            slots[i].tag = slm_hash_tag(mixed);
        }
        out->length = 0;
        void *table = slm_buf_grow(out, ((size_t)n_slots + SLM_HASH_REACH) * 4);
        if (table && place(slots, n, (uint32_t)n_slots, table)) {
            b->header.n_slots = (uint32_t)n_slots;
            slm_free(b->allocator, slots, size);
            return SLM_OK;
        }
    }
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return x < y ? -1 : x > y;
}

/* A bit for every beginning of a token that ends with a character, four to eight bits for each of
 * them: where none is set, no token goes on. Only models that try one length after the other ask.
 */
static int write_beginnings(struct builder *b)
{
    struct slm_buf hashes = {.allocator = b->allocator};
    if (b->v->model == SLM_TEXT_BPE_BYTES || b->v->model == SLM_TEXT_BPE_CHARS)
        return SLM_OK;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct slm_vocab_token *t = token_at(b, i);
        const uint8_t *text = b->v->pool.data + t->text;
        uint64_t h = 0;
        for (uint32_t k = 0; is_reachable(b, i) && k < t->length; k++) {
            if (k > 0 && (text[k] & 0xC0) != 0x80) {
                uint64_t mixed = slm_hash_mix(h);
                slm_buf_append(&hashes, &mixed, 8);
            }
            h = h * SLM_HASH_BASE + text[k] + 1;
        }
    }
    uint64_t *hash = (uint64_t *)(void *)hashes.data;
    size_t n = hashes.length / 8, different = 1, n_bytes = 1;
    if (n)
        qsort(hash, n, 8, compare_hashes);
    for (size_t i = 1; i < n; i++)
        different += hash[i] != hash[i - 1];
    uint32_t shift = 61;
    for (; n_bytes * 2 < different; n_bytes *= 2)
        shift--;
    uint8_t *bits = slm_buf_grow(&b->tables[SLM_TEXT_BEGINNINGS], n_bytes);
    if (bits) {
        memset(bits, 0, n_bytes);
        for (size_t i = 0; i < n; i++) {
            uint64_t bit = hash[i] >> shift;
            bits[bit >> 3] = (uint8_t)(bits[bit >> 3] | 1u << (bit & 7));
        }
    }
    int rc = slm_buf_ok(&hashes);
    slm_buf_free(&hashes);
    return rc;
}

/* ------------------------------------------------------------------------ small tables --- */

/* What merging begins with, or what unknown characters fall back to. */
static void write_bytes(struct builder *b)
{
    uint32_t ids[256];
    memset(ids, 0xFF, sizeof(ids));
    for (uint32_t i = b->n; i-- > 0;) {
        const struct slm_vocab_token *t = token_at(b, i);
        bool wanted =
            b->v->model == SLM_TEXT_BPE_BYTES ? is_reachable(b, i) : t->kind == SLM_TOKEN_BYTE;
        if (wanted && t->length == 1)
            ids[b->v->pool.data[t->text]] = i;
    }
    slm_buf_append(&b->tables[SLM_TEXT_BYTES], ids, sizeof(ids));
}

/* Which two bytes meet inside a token, where a character ends: everywhere else a text may be cut.
 * Only worth it where merging would see whole sentences. */
static void write_cuts(struct builder *b)
{
    uint8_t *cuts;
    if ((b->v->model != SLM_TEXT_BPE_CHARS && b->v->model != SLM_TEXT_UNIGRAM) ||
        b->v->ignore_merges)
        return;
    cuts = slm_buf_grow(&b->tables[SLM_TEXT_CUTS], 8192);
    if (!cuts)
        return;
    memset(cuts, 0, 8192);
    for (uint32_t i = 0; i < b->n; i++) {
        const struct slm_vocab_token *t = token_at(b, i);
        const uint8_t *text = b->v->pool.data + t->text;
        for (uint32_t k = 1; is_reachable(b, i) && k < t->length; k++) {
            uint32_t pair = (uint32_t)text[k - 1] << 8 | text[k];
            if ((text[k] & 0xC0) != 0x80)
                cuts[pair >> 3] = (uint8_t)(cuts[pair >> 3] | 1u << (pair & 7));
        }
    }
}

static uint32_t id_or_none(const struct builder *b, uint32_t id)
{
    return id < b->n ? id : SLM_TEXT_NO_TOKEN;
}

/* Tokens that the model has no rows for are left out. */
static void write_ids(struct slm_buf *out, const uint32_t *ids, uint32_t count, uint32_t n_tokens)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] < n_tokens)
            slm_buf_u32(out, ids[i]);
}

/* All of it or nothing: a part would be another model's. */
static void write_pair(struct builder *b)
{
    const struct slm_vocab *v = b->v;
    for (uint32_t i = 0; i < v->n_pair; i++) {
        uint32_t item = v->pair[i] & ~SLM_PAIR_TYPE_1;
        if (item < SLM_PAIR_FIRST && item >= b->n)
            return;
    }
    slm_buf_append(&b->tables[SLM_TEXT_PAIR], v->pair, v->n_pair * sizeof v->pair[0]);
}

/* BOS and EOS are what the importers decided on; the others have a name and nothing else. */
static void write_named(struct builder *b)
{
    for (int i = 0; i < SLM_NAMED_COUNT; i++) {
        uint32_t id = i == SLM_NAMED_BOS   ? b->v->bos
                      : i == SLM_NAMED_EOS ? b->v->eos
                                           : b->v->named[i];
        slm_buf_u32(&b->tables[SLM_TEXT_NAMED], id_or_none(b, id));
    }
}

/* The texts and tables of all normalizers, one after the other. */
static int write_normal(struct builder *b)
{
    struct slm_buf *pool = &b->tables[SLM_TEXT_NORMAL_POOL];
    for (uint32_t i = 0; i < b->v->n_normal; i++) {
        const struct slm_vocab_normal *n = &b->v->normal[i];
        struct slm_text_normal row = {.kind = n->kind, .flags = n->flags};
        slm_buf_align(pool, 4);
        row.a = (uint32_t)pool->length;
        int rc = SLM_OK;
        if (n->kind == SLM_NORMAL_FORM) {
            rc = slm_unicode_normal_tables(pool, (n->flags & SLM_NORMAL_COMPATIBLE) != 0,
                                           (n->flags & SLM_NORMAL_DECOMPOSED) != 0);
        } else if (n->kind == SLM_NORMAL_MAP) {
            struct slm_buf rows = {.allocator = b->allocator};
            slm_buf_append(&rows, pool_at(b, n->a), n->a.length); /* aligned */
            rc = slm_buf_ok(&rows) < 0 ? SLM_ENOMEM : slm_unicode_map_table(&rows, pool);
            slm_buf_free(&rows);
        } else {
            slm_buf_append(pool, pool_at(b, n->a), n->a.length);
        }
        if (rc < 0)
            return rc;
        row.a_length = (uint32_t)pool->length - row.a;
        if (n->clusters)
            slm_buf_align(pool, 4);
        row.b = (uint32_t)pool->length;
        if (n->clusters)
            rc = slm_unicode_cluster_table(pool);
        else
            slm_buf_append(pool, pool_at(b, n->b), n->b.length);
        row.b_length = (uint32_t)pool->length - row.b;
        if (rc < 0)
            return rc;
        slm_buf_append(&b->tables[SLM_TEXT_NORMAL], &row, sizeof(row));
    }
    return slm_buf_ok(pool);
}

/* The pre-tokenizer's patterns, and one for "character of a word" if some added token asks. */
static int write_scanners(struct builder *b)
{
    struct slm_regex_step steps[SLM_TEXT_MAX_STEPS];
    uint32_t n = b->v->n_steps;
    bool words = false;
    for (uint32_t i = 0; i < n; i++) {
        const struct slm_vocab_step *step = &b->v->steps[i];
        steps[i] = (struct slm_regex_step){(const char *)pool_at(b, step->pattern),
                                           step->pattern.length, step->behaviour, step->flags};
    }
    for (uint32_t i = 0; i < b->n; i++)
        words |= token_at(b, i)->added && (token_at(b, i)->flags & SLM_ADDED_SINGLE_WORD);
    if (words && n < SLM_TEXT_MAX_STEPS)
        steps[n++] = (struct slm_regex_step){"\\w", 2, SLM_SCAN_WORD, 0};
    if (n == 0)
        return SLM_OK;
    return slm_regex_compile(steps, n, b->v->meta_space, &b->tables[SLM_TEXT_CLASSES],
                             &b->tables[SLM_TEXT_SCANNERS], b->allocator);
}

/* ------------------------------------------------------------------------------ layout --- */

/* Header and tables as one; the order of the tables is that of their numbers. */
static int lay_out(struct builder *b, struct slm_buf *out)
{
    struct slm_text_table tables[SLM_TEXT_N_TABLES];
    uint64_t at = sizeof(b->header) + sizeof(tables);
    out->length = 0;
    for (uint32_t i = 0; i < SLM_TEXT_N_TABLES; i++) {
        if (slm_buf_ok(&b->tables[i]) < 0)
            return SLM_ENOMEM;
        at = (at + 7) & ~(uint64_t)7;
        tables[i] = (struct slm_text_table){(uint32_t)at, (uint32_t)b->tables[i].length};
        at += b->tables[i].length;
    }
    at = (at + 7) & ~(uint64_t)7;
    if (at > UINT32_MAX)
        return slm_fail(SLM_ELIMIT, "vocabulary: the section would have %llu bytes",
                        (unsigned long long)at);
    b->header.length = (uint32_t)at;
    slm_buf_append(out, &b->header, sizeof(b->header));
    slm_buf_append(out, tables, sizeof(tables));
    for (uint32_t i = 0; i < SLM_TEXT_N_TABLES; i++) {
        slm_buf_align(out, 8);
        slm_buf_append(out, b->tables[i].data, b->tables[i].length);
    }
    slm_buf_align(out, 8);
    return slm_buf_ok(out);
}

/* ------------------------------------------------------------------------ added tokens --- */

struct added_row {
    struct slm_text_added row;
    const uint8_t *text;
    bool changed; /* by normalizing */
};

static int compare_added(const void *a, const void *b)
{
    const struct added_row *x = a, *y = b;
    uint32_t n = x->row.length < y->row.length ? x->row.length : y->row.length;
    int order = memcmp(x->text, y->text, n);
    if (order != 0)
        return order;
    if (x->row.length != y->row.length)
        return x->row.length < y->row.length ? -1 : 1;
    return x->row.token < y->row.token ? -1 : x->row.token > y->row.token;
}

/* What to look for in normalized text is the token's text, normalized. */
static int keep_pattern(struct builder *b, const struct slm_text *runtime, uint32_t id,
                        struct added_row *one)
{
    struct slm_text_added *row = &one->row;
    const struct slm_vocab_token *t = token_at(b, id);
    struct slm_buf *pool = &b->tables[SLM_TEXT_ADDED_POOL];
    bool own = t->pattern_length > 0;
    struct slm_normal_text text = {.data = b->v->pool.data + (own ? t->pattern : t->text),
                                   .length = own ? t->pattern_length : t->length};
    text.buffers[0].allocator = text.buffers[1].allocator = b->allocator;
    bool normalize = (t->flags & SLM_ADDED_NORMALIZED) && !b->v->raw_patterns;
    int rc = normalize ? slm_normal_apply(runtime, &text, true, false) : SLM_OK;
    row->text = (uint32_t)pool->length;
    row->length = (uint32_t)text.length;
    const uint8_t *before = b->v->pool.data + (own ? t->pattern : t->text);
    if (!(t->flags & SLM_ADDED_SPECIAL) &&
        slm_added_is_markup(b->v->chat_template, b->v->n_template, before,
                            own ? t->pattern_length : t->length))
        row->flags |= SLM_ADDED_MARKUP;
    one->changed = rc == SLM_OK && (text.length != (own ? t->pattern_length : t->length) ||
                                    memcmp(text.data, before, text.length) != 0);
    if (rc == SLM_OK)
        slm_buf_append(pool, text.data, text.length);
    slm_normal_free(&text);
    return rc < 0 ? rc : slm_buf_ok(pool);
}

/* One of the two tables. Rows are sorted as bytes, so those with the same beginning are neighbours.
 */
static int write_added(struct builder *b, const struct slm_text *runtime, bool late)
{
    struct slm_text_added_table head = {0};
    struct slm_buf *out = &b->tables[late ? SLM_TEXT_ADDED_LATE : SLM_TEXT_ADDED];
    struct slm_buf rows = {.allocator = b->allocator};
    int rc = SLM_OK;
    for (uint32_t i = 0; i < b->n && rc == SLM_OK; i++) {
        const struct slm_vocab_token *t = token_at(b, i);
        struct added_row one = {{.token = i, .flags = t->flags}, NULL, false};
        if (!t->added || t->length == 0 || late != ((t->flags & SLM_ADDED_NORMALIZED) != 0))
            continue;
        rc = keep_pattern(b, runtime, i, &one);
        if (one.row.length > 0)
            slm_buf_append(&rows, &one, sizeof(one));
    }
    size_t n = rows.length / sizeof(struct added_row);
    struct added_row *r = (struct added_row *)(void *)rows.data;
    if (rc == SLM_OK && (rc = slm_buf_ok(&rows)) == SLM_OK && n > 0) {
        for (size_t i = 0; i < n; i++) {
            r[i].text = b->tables[SLM_TEXT_ADDED_POOL].data + r[i].row.text;
            if (late && r[i].changed)
                slm_buf_append(&b->late, &r[i].row, sizeof(r[i].row));
        }
        qsort(r, n, sizeof(*r), compare_added);
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if (kept == 0 || r[i].row.length != r[kept - 1].row.length ||
                memcmp(r[i].text, r[kept - 1].text, r[i].row.length) != 0)
                r[kept++] = r[i];
        head.n_rows = (uint32_t)kept;
        for (size_t i = 0; i < kept; i++) {
            head.n_ordinary += !(r[i].row.flags & SLM_ADDED_SPECIAL);
            head.index[r[i].text[0] + 1] = (uint32_t)i + 1;
        }
        for (int c = 1; c < 258; c++)
            if (head.index[c] < head.index[c - 1])
                head.index[c] = head.index[c - 1];
        slm_buf_append(out, &head, sizeof(head));
        for (size_t i = 0; i < kept; i++)
            slm_buf_append(out, &r[i].row, sizeof(r[i].row));
        rc = slm_buf_ok(out);
    }
    slm_buf_free(&rows);
    return rc;
}

/* --------------------------------------------------------------------------------- info --- */

/* WordPiece looks at the length of a word before anything else. */
static bool fits_a_word(const struct builder *b, uint32_t id)
{
    const struct slm_vocab_token *t = token_at(b, id);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->length; i++)
        n += (b->v->pool.data[t->text + i] & 0xC0) != 0x80;
    return b->v->model != SLM_TEXT_WORDPIECE || n <= b->v->max_word;
}

/* How the token joins the one before it in a decoded text. */
static uint32_t joining(const struct builder *b, uint32_t id)
{
    static const char *const TIGHT[] = {".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"};
    struct slm_vocab_text text = {token_at(b, id)->text, token_at(b, id)->length};
    struct slm_vocab_text prefix = b->v->continuation;
    if (prefix.length > 0 && text.length >= prefix.length &&
        memcmp(pool_at(b, text), pool_at(b, prefix), prefix.length) == 0)
        return SLM_INFO_CONTINUES;
    for (size_t i = 0; b->v->cleanup && i < sizeof(TIGHT) / sizeof(TIGHT[0]); i++)
        if (text.length >= strlen(TIGHT[i]) &&
            memcmp(pool_at(b, text), TIGHT[i], strlen(TIGHT[i])) == 0)
            return SLM_INFO_TIGHT;
    return 0;
}

static void write_info(struct builder *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        uint32_t kind = token_at(b, i)->kind ? token_at(b, i)->kind : SLM_TOKEN_UNUSED;
        bool whole = is_reachable(b, i) && fits_a_word(b, i) && b->v->model != SLM_TEXT_UNIGRAM;
        uint32_t more = whole ? SLM_INFO_WHOLE : 0;
        if (b->v->flags & SLM_TEXT_SPACED_WORDS)
            more |= joining(b, i);
        uint16_t info = (uint16_t)(b->plan.splits[i] | kind << SLM_INFO_KIND_SHIFT | more);
        slm_buf_append(&b->tables[SLM_TEXT_INFO], &info, 2);
    }
}

/* Scores have 32 bits where that is all there is to them. */
static void write_scores(struct builder *b)
{
    bool wide = false;
    if (b->v->model != SLM_TEXT_UNIGRAM)
        return;
    for (uint32_t i = 0; i < b->n; i++)
        wide |= (double)(float)token_at(b, i)->score != token_at(b, i)->score;
    for (uint32_t i = 0; i < b->n; i++) {
        double score = token_at(b, i)->score;
        float single = (float)score;
        slm_buf_append(&b->tables[SLM_TEXT_SCORES], wide ? (void *)&score : (void *)&single,
                       wide ? sizeof score : sizeof single);
    }
    if (wide)
        b->header.flags |= SLM_TEXT_WIDE_SCORES;
}

/* In a Unigram model a token is whole if its own text is best encoded as this token: the runtime
 * itself finds out. */
static int mark_whole(struct builder *b, const struct slm_text *runtime)
{
    struct slm_unigram unigram;
    uint16_t *info = (uint16_t *)(void *)b->tables[SLM_TEXT_INFO].data;
    int rc = SLM_OK;
    if (b->v->model != SLM_TEXT_UNIGRAM)
        return SLM_OK;
    slm_unigram_init(&unigram, runtime, b->allocator);
    for (uint32_t i = 0; i < b->n && rc == SLM_OK; i++) {
        slm_token token;
        struct slm_token_sink sink = {.out = &token, .capacity = 1};
        const struct slm_vocab_token *t = token_at(b, i);
        if (!is_reachable(b, i))
            continue;
        unigram.sum = 0;
        rc = slm_unigram(&unigram, b->v->pool.data + t->text, t->length, &sink);
        if (sink.n == 1 && token == (slm_token)i)
            info[i] |= SLM_INFO_WHOLE;
    }
    slm_unigram_free(&unigram);
    return rc;
}

/* --------------------------------------------------------------------------------- all --- */

/* Twice through lay_out(): what the runtime needs for normalizing comes first. */
static int build(struct builder *b, uint32_t n_vocab, struct slm_buf *out)
{
    struct slm_text runtime;
    int rc = slm_vocab_index_init(&b->index, b->v, true);
    if (rc < 0 || (rc = slm_merge_plan(&b->plan, b->v, b->n, &b->index, can_merge)) < 0)
        return rc;
    write_texts(b);
    write_info(b);
    if ((rc = write_hash(b)) < 0)
        return rc;
    if (b->plan.ranks)
        slm_buf_append(&b->tables[SLM_TEXT_RANKS], b->plan.ranks, (size_t)b->n * 4);
    slm_buf_append(&b->tables[SLM_TEXT_MERGES], b->plan.rows.data, b->plan.rows.length);
    write_bytes(b);
    write_cuts(b);
    write_ids(&b->tables[SLM_TEXT_PREFIX], b->v->prefix, b->v->n_prefix, b->n);
    write_ids(&b->tables[SLM_TEXT_SUFFIX], b->v->suffix, b->v->n_suffix, b->n);
    write_ids(&b->tables[SLM_TEXT_STOP], b->v->stop, b->v->n_stop, b->n);
    write_named(b);
    write_pair(b);
    slm_buf_append(&b->tables[SLM_TEXT_CONTINUE], pool_at(b, b->v->continuation),
                   b->v->continuation.length);
    write_scores(b);
    if ((rc = write_beginnings(b)) < 0)
        return rc;
    if ((rc = write_normal(b)) < 0 || (rc = write_scanners(b)) < 0 || (rc = lay_out(b, out)) < 0 ||
        (rc = slm_text_open(&runtime, out->data, out->length, n_vocab)) < 0)
        return rc;
    if ((rc = write_added(b, &runtime, false)) < 0 || (rc = write_added(b, &runtime, true)) < 0)
        return rc;
    if ((rc = mark_whole(b, &runtime)) < 0)
        return rc;
    if (slm_buf_ok(&b->late) < 0)
        return SLM_ENOMEM;
    if (b->late.length > 0)
        write_texts(b);
    return lay_out(b, out);
}

/* Added tokens may be more than a model has rows for (an image's, in a model of text); the tokens of
 * the vocabulary may not. */
static int check_rows(const struct slm_vocab *v, uint32_t n_vocab)
{
    uint32_t n = v->n_tokens;
    while (n > n_vocab && !v->tokens[n - 1].in_model)
        n--;
    if (n > n_vocab)
        return slm_fail(SLM_EFORMAT,
                        "vocabulary: it has %u tokens, and the model has embeddings for %u: the "
                        "tokenizer belongs to another model",
                        (unsigned)n, (unsigned)n_vocab);
    return n ? SLM_OK : slm_fail(SLM_EFORMAT, "vocabulary: it has no tokens");
}

int slm_vocab_build(const struct slm_vocab *v, uint32_t n_vocab, struct slm_buf *out)
{
    struct builder b = {.v = v, .allocator = v->allocator};
    int rc = check_rows(v, n_vocab);
    if (rc < 0)
        return rc;
    b.n = v->n_tokens < n_vocab ? v->n_tokens : n_vocab;
    b.header = (struct slm_text_header){
        .magic = SLM_TEXT_MAGIC,
        .major = SLM_TEXT_MAJOR,
        .minor = SLM_TEXT_MINOR,
        .n_tables = SLM_TEXT_N_TABLES,
        .model = v->model,
        .flags = v->flags,
        .max_word = v->max_word,
        .unknown_score = v->unknown_score,
        .n_tokens = b.n,
        .bos = id_or_none(&b, v->bos),
        .eos = id_or_none(&b, v->eos),
        .unknown = id_or_none(&b, v->unknown),
        .padding = id_or_none(&b, v->padding),
    };
    for (int i = 0; i < SLM_TEXT_N_TABLES; i++)
        b.tables[i].allocator = v->allocator;
    b.late.allocator = v->allocator;
    rc = build(&b, n_vocab, out);
    for (int i = 0; i < SLM_TEXT_N_TABLES; i++)
        slm_buf_free(&b.tables[i]);
    slm_buf_free(&b.late);
    slm_merge_plan_free(&b.plan);
    slm_vocab_index_free(&b.index);
    return rc;
}
