/*
 * vocab.c - the vocabulary that importers fill: growing it, and finding tokens by text.
 */
#include "vocab/vocab.h"

#include "base/utf8.h"
#include "text/charsmap.h"

#include <string.h>

void slm_vocab_init(struct slm_vocab *v, const slm_allocator *a)
{
    *v = (struct slm_vocab){
        .bos = SLM_TEXT_NO_TOKEN,
        .eos = SLM_TEXT_NO_TOKEN,
        .unknown = SLM_TEXT_NO_TOKEN,
        .padding = SLM_TEXT_NO_TOKEN,
        .pool.allocator = a,
        .merges.allocator = a,
        .allocator = a,
    };
    memset(v->named, 0xFF, sizeof(v->named)); /* SLM_TEXT_NO_TOKEN */
}

void slm_vocab_free(struct slm_vocab *v)
{
    slm_buf_free(&v->pool);
    slm_buf_free(&v->merges);
    slm_free(v->allocator, v->tokens, v->capacity * sizeof(*v->tokens));
    slm_vocab_init(v, v->allocator);
}

/* Offsets have 32 bits: a pool of more than 2 GiB counts as a failed allocation. */
struct slm_vocab_text slm_vocab_keep(struct slm_vocab *v, const void *text, size_t n)
{
    struct slm_vocab_text kept = {(uint32_t)v->pool.length, (uint32_t)n};
    slm_buf_append(&v->pool, text, n);
    if (v->pool.length > UINT32_MAX / 2)
        v->pool.failed = true;
    return kept;
}

/* Room for ids below n. New ones are no tokens yet. */
static int grow(struct slm_vocab *v, uint32_t n)
{
    uint32_t capacity = v->capacity ? v->capacity : 1024;
    while (capacity < n)
        capacity *= 2;
    if (capacity > v->capacity) {
        struct slm_vocab_token *tokens = slm_calloc(v->allocator, capacity * sizeof(*tokens));
        if (!tokens)
            return SLM_ENOMEM;
        if (v->n_tokens)
            memcpy(tokens, v->tokens, v->n_tokens * sizeof(*tokens));
        slm_free(v->allocator, v->tokens, v->capacity * sizeof(*tokens));
        v->tokens = tokens;
        v->capacity = capacity;
    }
    if (n > v->n_tokens)
        v->n_tokens = n;
    return SLM_OK;
}

int slm_vocab_set(struct slm_vocab *v, uint32_t id, const void *text, size_t n, uint32_t kind)
{
    if (id >= SLM_LIMIT_VOCAB)
        return slm_fail(SLM_ELIMIT, "vocabulary: token id %u; the limit is %d", id,
                        SLM_LIMIT_VOCAB);
    if (n > SLM_LIMIT_TOKEN_TEXT - 1)
        return slm_fail(SLM_ELIMIT, "vocabulary: token %u has %zu bytes; the limit is %d", id, n,
                        SLM_LIMIT_TOKEN_TEXT - 1);
    int rc = grow(v, id + 1);
    if (rc < 0)
        return rc;
    struct slm_vocab_text kept = slm_vocab_keep(v, text, n);
    struct slm_vocab_token *token = &v->tokens[id];
    token->text = kept.text;
    token->length = kept.length;
    token->kind = (uint8_t)kind;
    return slm_buf_ok(&v->pool);
}

static int add_normal(struct slm_vocab *v, uint32_t kind, uint32_t flags, struct slm_vocab_text a,
                      struct slm_vocab_text b)
{
    if (v->n_normal == SLM_TEXT_MAX_STEPS)
        return slm_fail(SLM_ELIMIT, "tokenizer: more than %d normalizers", SLM_TEXT_MAX_STEPS);
    struct slm_vocab_normal *step = &v->normal[v->n_normal++];
    step->kind = kind;
    step->flags = flags;
    step->a = a;
    step->b = b;
    return slm_buf_ok(&v->pool);
}

int slm_vocab_add_normal(struct slm_vocab *v, uint32_t kind, uint32_t flags, const char *a,
                         const char *b)
{
    return add_normal(v, kind, flags, slm_vocab_keep(v, a, strlen(a)),
                      slm_vocab_keep(v, b, strlen(b)));
}

int slm_vocab_add_charsmap(struct slm_vocab *v, const void *data, size_t n, bool clusters)
{
    struct slm_charsmap map;
    if (!slm_charsmap_open(&map, data, n))
        return slm_fail(SLM_EFORMAT, "tokenizer: the precompiled charsmap is damaged");
    int rc = add_normal(v, SLM_NORMAL_CHARSMAP, 0, slm_vocab_keep(v, data, n),
                        (struct slm_vocab_text){0});
    if (rc == SLM_OK)
        v->normal[v->n_normal - 1].clusters = clusters;
    return rc;
}

int slm_vocab_add_spaces(struct slm_vocab *v, bool prefix, bool squeeze)
{
    /* A U+2581 in a text is no space yet when those in a row are one, but is one at the end. */
    int rc = squeeze ? slm_vocab_add_normal(v, SLM_NORMAL_SQUEEZE, 0, "", "") : SLM_OK;
    if (rc == SLM_OK)
        rc = slm_vocab_add_normal(v, SLM_NORMAL_REPLACE, 0, SLM_META_SPACE, " ");
    if (rc == SLM_OK && prefix)
        rc = slm_vocab_add_normal(v, SLM_NORMAL_PREPEND, SLM_PREPEND_ALWAYS, " ", "");
    if (rc == SLM_OK && squeeze)
        rc = slm_vocab_add_normal(v, SLM_NORMAL_SQUEEZE, SLM_SQUEEZE_LAST, "", "");
    if (prefix || squeeze)
        v->flags |= SLM_TEXT_DROP_FIRST_SPACE;
    if (squeeze)
        v->flags |= SLM_TEXT_DROP_UNTIL_TEXT;
    return rc;
}

int slm_vocab_keep_symbols(struct slm_vocab *v)
{
    bool mapped = false;
    struct slm_buf text = {.allocator = v->allocator};
    for (uint32_t i = 0; i < v->n_normal; i++)
        mapped |= v->normal[i].kind == SLM_NORMAL_CHARSMAP && !v->normal[i].clusters;
    for (uint32_t i = 0; i < v->n_tokens && mapped && v->model == SLM_TEXT_UNIGRAM; i++) {
        struct slm_vocab_token *token = &v->tokens[i];
        if (token->kind != SLM_TOKEN_USER || token->length == 0)
            continue;
        text.length = 0;
        for (uint32_t k = 0; k < token->length; k++) { /* in a text, its spaces are U+2581 */
            uint8_t byte = v->pool.data[token->text + k];
            slm_buf_append(&text, byte == ' ' ? SLM_META_SPACE : (const char *)&byte,
                           byte == ' ' ? 3 : 1);
        }
        struct slm_vocab_text pattern = slm_vocab_keep(v, text.data, text.length);
        token->pattern = pattern.text;
        token->pattern_length = pattern.length;
        token->flags = SLM_ADDED_NORMALIZED | SLM_ADDED_KEPT;
        token->added = true;
    }
    v->pool.failed |= text.failed;
    slm_buf_free(&text);
    return slm_buf_ok(&v->pool);
}

int slm_vocab_add_map(struct slm_vocab *v, uint32_t flags, struct slm_buf *rows)
{
    int rc = slm_buf_ok(rows);
    if (rc == SLM_OK)
        rc = add_normal(v, SLM_NORMAL_MAP, flags, slm_vocab_keep(v, rows->data, rows->length),
                        (struct slm_vocab_text){0});
    slm_buf_free(rows);
    return rc;
}

int slm_vocab_add_step(struct slm_vocab *v, const char *pattern, size_t n, uint32_t behaviour,
                       uint32_t flags)
{
    if (v->n_steps == SLM_TEXT_MAX_STEPS)
        return slm_fail(SLM_ELIMIT, "tokenizer: more than %d pre-tokenizers", SLM_TEXT_MAX_STEPS);
    struct slm_vocab_step *step = &v->steps[v->n_steps++];
    step->pattern = slm_vocab_keep(v, pattern, n);
    step->behaviour = behaviour;
    step->flags = flags;
    return slm_buf_ok(&v->pool);
}

/* Kept ascending and without repetition; the runtime only asks whether a token is in it. */
void slm_vocab_add_stop(struct slm_vocab *v, uint32_t id)
{
    uint32_t at = 0;
    if (id >= v->n_tokens || v->n_stop == SLM_TEXT_MAX_STOP)
        return;
    while (at < v->n_stop && v->stop[at] < id)
        at++;
    if (at < v->n_stop && v->stop[at] == id)
        return;
    memmove(v->stop + at + 1, v->stop + at, (v->n_stop - at) * sizeof(v->stop[0]));
    v->stop[at] = id;
    v->n_stop++;
}

bool slm_vocab_add_pair(struct slm_vocab *v, const uint32_t *items, size_t n, uint32_t type)
{
    for (size_t i = 0; i < n; i++) {
        if (v->n_pair == SLM_TEXT_MAX_AFFIX)
            return false;
        v->pair[v->n_pair++] = items[i] | (type ? SLM_PAIR_TYPE_1 : 0);
    }
    return true;
}

void slm_vocab_set_pair(struct slm_vocab *v, uint32_t between, uint32_t n, uint32_t type)
{
    static const uint32_t FIRST = SLM_PAIR_FIRST, SECOND = SLM_PAIR_SECOND;
    v->n_pair = 0;
    bool fits = (n == 0 || between < SLM_PAIR_FIRST) &&
                slm_vocab_add_pair(v, v->prefix, v->n_prefix, 0) && slm_vocab_add_pair(v, &FIRST, 1, 0) &&
                slm_vocab_add_pair(v, v->suffix, v->n_suffix, 0);
    while (n-- > 0 && fits)
        fits = slm_vocab_add_pair(v, &between, 1, type);
    if (!fits || !slm_vocab_add_pair(v, &SECOND, 1, type) ||
        !slm_vocab_add_pair(v, v->suffix, v->n_suffix, type))
        v->n_pair = 0;
}

/* The other way round of slm_printable(). */
static int byte_of_printable(uint32_t c)
{
    uint32_t byte = c < 0x100 ? c : c <= 0x120 ? c - 0x100 : c <= 0x142 ? c - 0x121 + 0x7F : 0xAD;
    return slm_printable((uint8_t)byte) == c ? (int)byte : -1;
}

/* All or nothing: a text with a character outside the alphabet was never written in it. */
size_t slm_vocab_printable_bytes(const char *text, size_t n, uint8_t *out)
{
    size_t length = 0;
    while (n > 0) {
        uint32_t c;
        size_t used = slm_utf8_decode(text, n, &c);
        int byte = used ? byte_of_printable(c) : -1;
        if (byte < 0)
            return 0;
        out[length++] = (uint8_t)byte;
        text += used;
        n -= used;
    }
    return length;
}

int slm_vocab_byte_token(const char *text, size_t n)
{
    int value = 0;
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    for (int i = 3; i < 5; i++) {
        int c = text[i] | 32;
        if (text[i] >= '0' && text[i] <= '9')
            value = value * 16 + text[i] - '0';
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + c - 'a' + 10;
        else
            return -1;
    }
    return value;
}

int slm_vocab_base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

bool slm_vocab_base64(struct slm_buf *out, const char *text, size_t n)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < n && text[i] != '='; i++) {
        int digit = slm_vocab_base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 0)
            slm_buf_byte(out, (uint8_t)(bits >> (6 - 2 * (i % 4))));
    }
    return true;
}

uint32_t slm_vocab_plain_spaces(uint8_t *text, uint32_t n)
{
    uint32_t length = 0;
    for (uint32_t i = 0; i < n;) {
        if (n - i >= 3 && memcmp(text + i, SLM_META_SPACE, 3) == 0) {
            text[length++] = ' ';
            i += 3;
        } else {
            text[length++] = text[i++];
        }
    }
    return length;
}

/* ------------------------------------------------------------------------------- index --- */

/* Open addressing with a table twice the size; the same hash function as the section's. */
static uint32_t slot_of(const struct slm_vocab_index *index, const uint8_t *text, size_t n)
{
    uint32_t at = (uint32_t)(slm_hash_mix(slm_text_hash(text, n)) >> 32) & index->mask;
    while (index->slots[at] != 0) {
        const struct slm_vocab_token *token = &index->vocab->tokens[index->slots[at] - 1];
        if (token->length == n && memcmp(index->vocab->pool.data + token->text, text, n) == 0)
            break;
        at = (at + 1) & index->mask;
    }
    return at;
}

/* A later token replaces an earlier one with the same text, as maps do when they are filled in
 * order. */
int slm_vocab_index_init(struct slm_vocab_index *index, const struct slm_vocab *v, bool only_model)
{
    uint32_t n_slots = 1024;
    while (n_slots < 2 * v->n_tokens)
        n_slots *= 2;
    index->slots = slm_calloc(v->allocator, n_slots * sizeof(uint32_t));
    index->mask = n_slots - 1;
    index->vocab = v;
    if (!index->slots)
        return SLM_ENOMEM;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        const struct slm_vocab_token *token = &v->tokens[i];
        if (token->kind == 0 || token->length == 0 || (only_model && !token->in_model))
            continue;
        index->slots[slot_of(index, v->pool.data + token->text, token->length)] = i + 1;
    }
    return SLM_OK;
}

void slm_vocab_index_free(struct slm_vocab_index *index)
{
    if (index->slots)
        slm_free(index->vocab->allocator, index->slots,
                 ((size_t)index->mask + 1) * sizeof(uint32_t));
    index->slots = NULL;
}

uint32_t slm_vocab_find(const struct slm_vocab_index *index, const void *text, size_t n)
{
    uint32_t entry = index->slots[slot_of(index, text, n)];
    return entry == 0 ? SLM_TEXT_NO_TOKEN : entry - 1;
}
