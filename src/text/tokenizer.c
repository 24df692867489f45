/*
 * tokenizer.c - opening the tokenizer section, and the small questions about tokens.
 *
 * Opening takes time for the small tables only: the automata, the classes of characters, the lists
 * of special tokens. They are walked whole, so that scanning needs no checks. The tables that
 * grow with the vocabulary get their length checked here and their entries where they are read.
 */
#include "text/tokenizer.h"

#define MAX_CLASSES 256
#define MAX_REPLACEMENT 1024 /* bytes that a normalizer writes; published ones have 1 to 3 */

/* One table: where it is, and that it has the right size. count gets the number of elements. */
static const void *table(const struct slm_text_header *h, uint32_t kind, size_t element,
                         uint32_t *count, int *rc)
{
    *count = 0;
    if (*rc < 0 || kind >= h->n_tables)
        return NULL;
    struct slm_text_table t = slm_text_tables(h)[kind];
    if (t.offset > h->length || t.length > h->length - t.offset || t.offset % 8 != 0 ||
        t.length % element != 0) {
        *rc = slm_fail(SLM_EFORMAT,
                       "tokenizer section: table %u (offset %u, length %u) does not fit "
                       "the section of %u bytes",
                       kind, t.offset, t.length, h->length);
        return NULL;
    }
    *count = (uint32_t)(t.length / element);
    return (const uint8_t *)h + t.offset;
}

/* One sentence for all kinds of damage: what is wrong, and the only remedy there is. */
static int wrong(const char *what)
{
    return slm_fail(SLM_EFORMAT, "tokenizer section: %s; convert the model again", what);
}

/* The classes of characters, walked whole: scanners use what they find there as an index without
 * looking at it again. Some 30 KB, so some microseconds. */
static int open_classes(struct slm_text *t, const void *data, uint32_t length)
{
    const struct slm_text_classes *c = data;
    if (length < sizeof(*c))
        return wrong("the classes of characters are missing");
    uint64_t stage_bytes = ((uint64_t)c->n_stage * 2 + 3) & ~(uint64_t)3;
    uint64_t need = sizeof(*c) + stage_bytes + (uint64_t)c->n_blocks * 128;
    if (c->n_classes < 2 || c->n_classes > MAX_CLASSES || c->n_stage < 1 ||
        c->n_stage > (0x110000 >> 7) || c->n_blocks < 1 || c->n_blocks > c->n_stage ||
        need > length || c->default_class >= c->n_classes)
        return wrong("the table of character classes contradicts itself");
    t->classes = c;
    t->blocks = (const uint8_t *)c->stage + stage_bytes;
    /* The first block is ASCII, which the scanner reads without the detour over stage[]. Adding up
     * bad entries instead of stopping at the first lets the compiler use vectors. */
    uint32_t bad = c->stage[0] != 0;
    for (uint32_t i = 0; i < c->n_stage; i++)
        bad |= c->stage[i] >= c->n_blocks;
    for (size_t i = 0; i < (size_t)c->n_blocks * 128; i++)
        bad |= t->blocks[i] >= c->n_classes;
    return bad ? wrong("a character class is out of range") : SLM_OK;
}

/* The automata: every transition must lead to the beginning of a row of its own table. */
static int open_scanners(struct slm_text *t, const void *data, uint32_t length)
{
    const struct slm_text_scanners *s = data;
    bool bytes = false;
    if (length < sizeof(*s) || s->n_scanners > SLM_TEXT_MAX_STEPS ||
        sizeof(*s) + (uint64_t)s->n_scanners * sizeof(s->scanners[0]) +
                (uint64_t)s->n_transitions * 2 >
            length)
        return wrong("the scanners do not fit their table");
    t->scanners = s->scanners;
    t->n_scanners = s->n_scanners;
    t->transitions = (const uint16_t *)(const void *)(s->scanners + s->n_scanners);
    for (uint32_t i = 0; i < s->n_scanners; i++) {
        const struct slm_text_scanner *one = &s->scanners[i];
        uint64_t size = (uint64_t)one->n_states * t->classes->n_classes;
        if (one->n_states < 2 || size > SLM_SCAN_MATCH || one->first > s->n_transitions ||
            size > s->n_transitions - one->first || one->behaviour > SLM_SCAN_WORD)
            return wrong("a scanner is out of range");
        if (one->behaviour == SLM_SCAN_WORD)
            t->word_scanner = (int32_t)i;
        /* A piece that was cut between bytes is no UTF-8 any more, which a scanner of characters
         * would read past the end of. */
        else if (bytes && !(one->flags & SLM_SCAN_BYTES))
            return wrong("a scanner for characters stands behind one for bytes");
        bytes = (one->flags & SLM_SCAN_BYTES) != 0;
        for (uint32_t k = 0; k < size; k++) {
            uint32_t next = t->transitions[one->first + k] & ~SLM_SCAN_MATCH;
            if (next >= size || next % t->classes->n_classes != 0)
                return wrong("a scanner leads out of its table");
        }
    }
    if (t->word_scanner >= 0 && (uint32_t)t->word_scanner != --t->n_scanners)
        return wrong("the scanner for words is not the last");
    return SLM_OK;
}

/* One of the two tables of added tokens. The index is checked, since it bounds the search; rows are
 * checked when a search comes by. */
static int open_added(struct slm_text *t, int which, const void *data, uint32_t length)
{
    const struct slm_text_added_table *a = data;
    if (length == 0)
        return SLM_OK;
    if (length < sizeof(*a) || sizeof(*a) + (uint64_t)a->n_rows * sizeof(a->rows[0]) > length)
        return wrong("the added tokens do not fit their table");
    for (uint32_t b = 0; b < 256; b++)
        if (a->index[b] > a->index[b + 1] || a->index[b + 1] > a->n_rows)
            return wrong("the index of the added tokens is out of range");
    if (a->n_rows > 0)
        t->added[which] = a;
    return SLM_OK;
}

/* The normalizers: kinds that we know, texts inside their pool, and short enough that no text can
 * explode. */
static int open_normal(struct slm_text *t, uint32_t pool_length)
{
    if (t->n_normal > SLM_TEXT_MAX_STEPS)
        return wrong("too many normalizers");
    for (uint32_t i = 0; i < t->n_normal; i++) {
        const struct slm_text_normal *n = &t->normal[i];
        if (n->kind < SLM_NORMAL_REPLACE || n->kind > SLM_NORMAL_CHARSMAP)
            return slm_fail(SLM_EUNSUPPORTED,
                            "tokenizer section: normalizer %u is not known to this "
                            "version of the library",
                            n->kind);
        if (n->a > pool_length || n->a_length > pool_length - n->a || n->b > pool_length ||
            n->b_length > pool_length - n->b || n->a % 4 != 0 ||
            (n->kind == SLM_NORMAL_REPLACE && n->a_length == 0) ||
            (n->kind != SLM_NORMAL_CHARSMAP && n->b_length > MAX_REPLACEMENT) ||
            (n->kind == SLM_NORMAL_CHARSMAP && n->b_length > 0 && n->b % 4 != 0) ||
            (n->kind == SLM_NORMAL_PREPEND && n->a_length > MAX_REPLACEMENT))
            return wrong("a normalizer is out of range");
    }
    return SLM_OK;
}

/* Each text once and in order, the first of type 0, tokens that exist, types that ascend. */
static int open_pair(const struct slm_text *t)
{
    uint32_t next = SLM_PAIR_FIRST, type = 0;
    for (uint32_t i = 0; i < t->n_pair; i++) {
        uint32_t item = t->pair[i] & ~SLM_PAIR_TYPE_1;
        if (item >= SLM_PAIR_FIRST ? item != next++ : item >= t->n_tokens)
            return wrong("what two texts become is damaged");
        if (t->pair[i] == (SLM_PAIR_FIRST | SLM_PAIR_TYPE_1))
            return wrong("the first of two texts is of token type 1");
        if ((t->pair[i] & SLM_PAIR_TYPE_1) < type)
            return wrong("the token types of two texts do not ascend");
        type = t->pair[i] & SLM_PAIR_TYPE_1;
    }
    if (t->n_pair > SLM_TEXT_MAX_AFFIX || (t->n_pair && next != SLM_PAIR_SECOND + 1))
        return wrong("what two texts become is damaged");
    return SLM_OK;
}

/* Ids that stand in the section by themselves must exist. The caller may then use them as rows of
 * the embedding without a second look. */
static int open_ids(const struct slm_text *t)
{
    const uint32_t *lists[] = {t->prefix, t->suffix, t->stop};
    const uint32_t counts[] = {t->n_prefix, t->n_suffix, t->n_stop};
    if (t->n_prefix > SLM_TEXT_MAX_AFFIX || t->n_suffix > SLM_TEXT_MAX_AFFIX ||
        t->n_stop > SLM_TEXT_MAX_STOP)
        return wrong("a list of special tokens is too long");
    for (int k = 0; k < 3; k++)
        for (uint32_t i = 0; i < counts[k]; i++)
            if (lists[k][i] >= t->n_tokens)
                return wrong("a special token is out of range");
    const struct slm_text_header *h = t->header;
    const uint32_t single[] = {h->bos, h->eos, h->unknown, h->padding};
    for (int k = 0; k < 4; k++)
        if (single[k] != SLM_TEXT_NO_TOKEN && single[k] >= t->n_tokens)
            return wrong("a special token is out of range");
    for (int k = 0; t->named && k < SLM_NAMED_COUNT; k++)
        if (t->named[k] != SLM_TEXT_NO_TOKEN && t->named[k] >= t->n_tokens)
            return wrong("a special token is out of range");
    for (int b = 0; b < 256; b++)
        if (t->bytes[b] != SLM_TEXT_NO_TOKEN && t->bytes[b] >= t->n_tokens)
            return wrong("the token of a byte is out of range");
    return SLM_OK;
}

/* What has to hold before any table can be found. */
static int check_header(const struct slm_text_header *h, size_t length, uint32_t n_vocab)
{
    if ((uintptr_t)h % 8 != 0)
        return slm_fail(SLM_EINVAL, "tokenizer section: it must be aligned to 8 bytes in memory");
    if (length < sizeof(*h) || h->magic != SLM_TEXT_MAGIC)
        return wrong("it does not begin as one");
    if (h->major != SLM_TEXT_MAJOR)
        return slm_fail(SLM_EVERSION,
                        "tokenizer section: version %u.%u; this library reads %d.x: %s", h->major,
                        h->minor, SLM_TEXT_MAJOR,
                        h->major < SLM_TEXT_MAJOR ? "the file is older, convert its model again"
                                                  : "a newer libslm is needed");
    if ((h->reserved | h->reserved2[0] | h->reserved2[1]) != 0) /* 2.0 was shorter at first */
        return slm_fail(SLM_EVERSION,
                        "tokenizer section: an older or newer libslm made the file: convert its "
                        "model again with this one");
    if (h->length > length || h->n_tables < SLM_TEXT_MIN_TABLES ||
        h->n_tables > SLM_TEXT_MAX_TABLES ||
        h->length < sizeof(*h) + h->n_tables * sizeof(struct slm_text_table))
        return wrong("it is cut short");
    if (h->model < SLM_TEXT_BPE_BYTES || h->model > SLM_TEXT_UNIGRAM)
        return slm_fail(SLM_EUNSUPPORTED,
                        "tokenizer section: model %u is not known to this version "
                        "of the library",
                        h->model);
    /* More tokens than the model has rows would give ids that the first evaluation refuses. */
    if (h->n_tokens == 0 || h->n_tokens > n_vocab || h->n_tokens > SLM_LIMIT_VOCAB ||
        h->block_shift > 16 || h->max_length > SLM_LIMIT_TOKEN_TEXT ||
        h->n_slots > 4 * SLM_LIMIT_VOCAB)
        return slm_fail(SLM_EFORMAT,
                        "tokenizer section: its %u tokens do not fit the model's "
                        "vocabulary of %u, or its header is damaged",
                        h->n_tokens, n_vocab);
    if (h->model >= SLM_TEXT_WORDPIECE &&
        (h->max_length > SLM_TEXT_MAX_STEP_WORK || h->max_word > SLM_TEXT_MAX_STEP_WORK))
        return slm_fail(SLM_ELIMIT,
                        "tokenizer section: tokens of %u bytes and words of %u characters; the limit of "
                        "both is %d in WordPiece and Unigram",
                        h->max_length, h->max_word, SLM_TEXT_MAX_STEP_WORK);
    return SLM_OK;
}

/* Header, where the tables are, what the small ones hold. *text is written only
 * when all is well. */
int slm_text_open(struct slm_text *text, const void *section, size_t length, uint32_t n_vocab)
{
    const struct slm_text_header *h = section;
    int rc = check_header(h, length, n_vocab);
    if (rc < 0)
        return rc;
    struct slm_text t = {
        .header = h, .n_tokens = h->n_tokens, .n_vocab = n_vocab, .word_scanner = -1};
    uint32_t n_bases, n_offsets, n_info, n_hash, n_ranks, n_bytes, n_cuts, added[2], classes,
        scanners;
    uint32_t normal_pool, n_named, n_beginnings, n_scores;
    bool wide = (h->flags & SLM_TEXT_WIDE_SCORES) != 0;
    t.pool = table(h, SLM_TEXT_POOL, 1, &t.pool_length, &rc);
    t.bases = table(h, SLM_TEXT_BASES, 4, &n_bases, &rc);
    t.offsets = table(h, SLM_TEXT_OFFSETS, 2, &n_offsets, &rc);
    t.info = table(h, SLM_TEXT_INFO, 2, &n_info, &rc);
    t.hash = table(h, SLM_TEXT_HASH, 4, &n_hash, &rc);
    t.ranks = table(h, SLM_TEXT_RANKS, 4, &n_ranks, &rc);
    t.merges = table(h, SLM_TEXT_MERGES, sizeof(*t.merges), &t.n_merges, &rc);
    t.bytes = table(h, SLM_TEXT_BYTES, 4, &n_bytes, &rc);
    t.cuts = table(h, SLM_TEXT_CUTS, 1, &n_cuts, &rc);
    const void *added_data[2], *classes_data, *scanners_data;
    added_data[0] = table(h, SLM_TEXT_ADDED, 1, &added[0], &rc);
    added_data[1] = table(h, SLM_TEXT_ADDED_LATE, 1, &added[1], &rc);
    t.added_pool = table(h, SLM_TEXT_ADDED_POOL, 1, &t.added_pool_length, &rc);
    t.normal = table(h, SLM_TEXT_NORMAL, sizeof(*t.normal), &t.n_normal, &rc);
    t.normal_pool = table(h, SLM_TEXT_NORMAL_POOL, 1, &normal_pool, &rc);
    classes_data = table(h, SLM_TEXT_CLASSES, 1, &classes, &rc);
    scanners_data = table(h, SLM_TEXT_SCANNERS, 1, &scanners, &rc);
    t.prefix = table(h, SLM_TEXT_PREFIX, 4, &t.n_prefix, &rc);
    t.suffix = table(h, SLM_TEXT_SUFFIX, 4, &t.n_suffix, &rc);
    t.stop = table(h, SLM_TEXT_STOP, 4, &t.n_stop, &rc);
    t.named = table(h, SLM_TEXT_NAMED, 4, &n_named, &rc);
    t.continuation = table(h, SLM_TEXT_CONTINUE, 1, &t.n_continuation, &rc);
    t.scores = table(h, SLM_TEXT_SCORES, wide ? 8 : 4, &n_scores, &rc);
    t.beginnings = table(h, SLM_TEXT_BEGINNINGS, 1, &n_beginnings, &rc);
    t.pair = table(h, SLM_TEXT_PAIR, 4, &t.n_pair, &rc);
    if (rc < 0)
        return rc;
    if (n_bases < (h->n_tokens >> h->block_shift) + 1 || n_offsets < h->n_tokens + 1 ||
        n_info < h->n_tokens || n_hash < h->n_slots + SLM_HASH_REACH || n_bytes != 256 ||
        (n_ranks != 0 && n_ranks < h->n_tokens) || (n_cuts != 0 && n_cuts != 8192) ||
        t.n_continuation > SLM_LIMIT_TOKEN_TEXT ||
        (h->model == SLM_TEXT_UNIGRAM && n_scores < h->n_tokens))
        return wrong("a table is too short for the vocabulary");
    /* Some tables may be left out; what they would say then follows from the rest. */
    if (n_ranks == 0)
        t.ranks = NULL;
    if (n_cuts == 0)
        t.cuts = NULL;
    if (n_named < SLM_NAMED_COUNT)
        t.named = NULL;
    if (n_beginnings == 0)
        t.beginnings = NULL;
    else if (n_beginnings & (n_beginnings - 1))
        return wrong("the beginnings of tokens are no power of two");
    for (t.beginnings_shift = 61; n_beginnings > 1; n_beginnings /= 2)
        t.beginnings_shift--;
    if (scanners > 0) {
        if ((rc = open_classes(&t, classes_data, classes)) < 0 ||
            (rc = open_scanners(&t, scanners_data, scanners)) < 0)
            return rc;
    }
    if ((rc = open_added(&t, 0, added_data[0], added[0])) < 0 ||
        (rc = open_added(&t, 1, added_data[1], added[1])) < 0 ||
        (rc = open_normal(&t, normal_pool)) < 0 || (rc = open_ids(&t)) < 0 ||
        (rc = open_pair(&t)) < 0)
        return rc;
    *text = t;
    return SLM_OK;
}

const char *slm_text_token(const struct slm_text *text, slm_token token, size_t *n)
{
    *n = 0;
    if (token < 0 || (uint32_t)token >= text->n_vocab)
        return NULL;
    if ((uint32_t)token >= text->n_tokens)
        return "";
    return (const char *)slm_text_bytes(text, (uint32_t)token, n);
}

slm_token slm_text_named(const struct slm_text *text, int name)
{
    return text->named ? (slm_token)text->named[name] : SLM_TOKEN_NONE;
}

slm_token slm_text_bos(const struct slm_text *text)
{
    return (slm_token)text->header->bos;
}

slm_token slm_text_eos(const struct slm_text *text)
{
    return (slm_token)text->header->eos;
}

bool slm_text_is_stop(const struct slm_text *text, slm_token token)
{
    for (uint32_t i = 0; i < text->n_stop; i++)
        if ((slm_token)text->stop[i] == token)
            return true;
    return false;
}
