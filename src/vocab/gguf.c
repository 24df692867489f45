/*
 * gguf.c - the tokenizer that a GGUF file carries (keys tokenizer.ggml.*) into a
 * vocabulary: "gpt2" is byte-level BPE with a list of merges, "llama" is SentencePiece with scores,
 * "gemma4" has the texts of the second and the merges of the first; "bert" is WordPiece and "t5"
 * Unigram.
 */
#include "source/gguf.h"
#include "vocab/vocab.h"

#include <math.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

struct importer {
    struct slm_vocab *v;
    const struct slm_gguf *gguf;
    bool byte_level; /* texts are in GPT-2's printable alphabet; else with U+2581 for spaces */
    struct slm_vocab_index model, all; /* by bytes: tokens of the model; all */
};

/* Token types have the numbers of slm_token_kind. */
static int read_tokens(struct importer *im)
{
    struct slm_vocab *v = im->v;
    const struct slm_gguf_key *texts = slm_gguf_find(im->gguf, KEY("tokens"));
    const struct slm_gguf_key *scores = slm_gguf_find(im->gguf, KEY("scores"));
    const struct slm_gguf_key *types = slm_gguf_find(im->gguf, KEY("token_type"));
    struct slm_gguf_strings walk = slm_gguf_strings(texts);
    const char *text;
    size_t n;
    if (!texts || texts->type != SLM_GGUF_STRING || texts->count == 0)
        return slm_fail(SLM_EFORMAT,
                        "GGUF: tokenizer.ggml.tokens is missing, empty or not of texts");
    if ((types && (types->count != texts->count || !slm_gguf_is_integer(types))) ||
        (scores && scores->count != texts->count))
        return slm_fail(SLM_EFORMAT,
                        "GGUF: tokenizer.ggml.token_type or .scores does not fit the "
                        "%llu tokens",
                        (unsigned long long)texts->count);
    if (texts->count > SLM_LIMIT_VOCAB)
        return slm_fail(SLM_ELIMIT, "GGUF: %llu tokens; the limit is %d",
                        (unsigned long long)texts->count, SLM_LIMIT_VOCAB);
    for (uint32_t id = 0; slm_gguf_next(&walk, &text, &n); id++) {
        int64_t kind = types ? slm_gguf_integer_at(types, id) : SLM_TOKEN_NORMAL;
        if (kind < SLM_TOKEN_NORMAL || kind > SLM_TOKEN_BYTE)
            kind = SLM_TOKEN_NORMAL;
        int byte = kind == SLM_TOKEN_BYTE ? slm_vocab_byte_token(text, n) : -1;
        uint8_t value = (uint8_t)byte;
        int rc = byte >= 0 ? slm_vocab_set(v, id, &value, 1, SLM_TOKEN_BYTE)
                           : slm_vocab_set(v, id, text, n, (uint32_t)kind);
        if (rc < 0)
            return rc;
        struct slm_vocab_token *token = &v->tokens[id];
        token->score = scores ? (float)slm_gguf_number_at(scores, id) : 0;
        if (isnan(token->score))
            return slm_fail(SLM_EFORMAT, "GGUF: the score of token %u is no number", id);
        token->in_model = kind == SLM_TOKEN_NORMAL || kind == SLM_TOKEN_UNUSED ||
                          (!im->byte_level && kind == SLM_TOKEN_USER);
        token->added =
            kind == SLM_TOKEN_CONTROL || kind == SLM_TOKEN_UNKNOWN || kind == SLM_TOKEN_USER;
        token->flags = token->added && kind != SLM_TOKEN_USER ? SLM_ADDED_SPECIAL : 0;
        if (token->added) {
            struct slm_vocab_text pattern = slm_vocab_keep(v, text, n);
            token->pattern = pattern.text;
            token->pattern_length = pattern.length;
        }
    }
    return slm_buf_ok(&v->pool);
}

/* Only now, when special tokens have kept their texts as they are written. */
static void texts_to_bytes(struct importer *im)
{
    struct slm_vocab *v = im->v;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        struct slm_vocab_token *token = &v->tokens[i];
        uint8_t *text = v->pool.data + token->text, bytes[SLM_LIMIT_TOKEN_TEXT];
        if (token->length == 0 || token->kind == SLM_TOKEN_BYTE)
            continue;
        if (!im->byte_level) {
            /* Runs of spaces that the user defined are found in the text as it is; to merging,
             * where spaces are U+2581, such a token is none. */
            if (memchr(text, ' ', token->length))
                token->in_model = false;
            token->length = slm_vocab_plain_spaces(text, token->length);
        } else if (token->in_model) {
            size_t n = slm_vocab_printable_bytes((const char *)text, token->length, bytes);
            if (n > 0) {
                memcpy(text, bytes, n);
                token->length = (uint32_t)n;
            }
        }
    }
}

/* ------------------------------------------------------------------------------- merges --- */

/* The token with these bytes. One that was added takes part in merging if the list says so. */
static uint32_t find_part(struct importer *im, const uint8_t *bytes, size_t n)
{
    uint32_t id = n ? slm_vocab_find(&im->model, bytes, n) : SLM_TEXT_NO_TOKEN;
    if (n && id == SLM_TEXT_NO_TOKEN)
        id = slm_vocab_find(&im->all, bytes, n);
    if (id != SLM_TEXT_NO_TOKEN)
        im->v->tokens[id].in_model = true;
    return id;
}

/* One half of a merge as the bytes that it stands for; 0: it can't be. */
static size_t half_to_bytes(const struct importer *im, const char *text, size_t n, uint8_t *bytes)
{
    if (im->byte_level)
        return slm_vocab_printable_bytes(text, n, bytes);
    memcpy(bytes, text, n);
    return slm_vocab_plain_spaces(bytes, (uint32_t)n);
}

/* "left right" to two ids; both parts and what they make must be tokens. */
static bool read_merge(struct importer *im, const char *text, size_t n, uint32_t *left,
                       uint32_t *right)
{
    uint8_t bytes[SLM_LIMIT_TOKEN_TEXT];
    const char *space = n > 1 && n < sizeof(bytes) ? memchr(text + 1, ' ', n - 1) : NULL;
    if (!space)
        return false;
    size_t n_left = (size_t)(space - text), n_right = n - n_left - 1;
    size_t first = half_to_bytes(im, text, n_left, bytes);
    size_t second = half_to_bytes(im, space + 1, n_right, bytes + first);
    *left = find_part(im, bytes, first);
    *right = find_part(im, bytes + first, second);
    return first > 0 && second > 0 && *left != SLM_TEXT_NO_TOKEN && *right != SLM_TEXT_NO_TOKEN &&
           find_part(im, bytes, first + second) != SLM_TEXT_NO_TOKEN;
}

/* Both parts and the result are looked up, so that a list which does not fit its tokens is noticed.
 */
static int read_merges(struct importer *im)
{
    const struct slm_gguf_key *key = slm_gguf_find(im->gguf, KEY("merges"));
    struct slm_gguf_strings walk = slm_gguf_strings(key);
    const char *text;
    size_t n, number = 0;
    if (!key)
        return slm_fail(SLM_EFORMAT, "GGUF: tokenizer.ggml.merges is missing");
    int rc = slm_vocab_index_init(&im->model, im->v, true);
    if (rc == SLM_OK)
        rc = slm_vocab_index_init(&im->all, im->v, false);
    for (; rc == SLM_OK && slm_gguf_next(&walk, &text, &n); number++) {
        uint32_t left = SLM_TEXT_NO_TOKEN, right = SLM_TEXT_NO_TOKEN;
        if (!read_merge(im, text, n, &left, &right))
            rc = slm_fail(SLM_EFORMAT,
                          "GGUF: tokenizer.ggml.merges[%zu] (\"%.*s\") does not name two "
                          "tokens that make a third",
                          number, (int)(n < 60 ? n : 60), text);
        slm_buf_u32(&im->v->merges, left);
        slm_buf_u32(&im->v->merges, right);
    }
    slm_vocab_index_free(&im->model);
    slm_vocab_index_free(&im->all);
    return rc < 0 ? rc : slm_buf_ok(&im->v->merges);
}

/* ---------------------------------------------------------------------- special tokens --- */

/* A token id: absent or out of range (some files have -1 there) leaves *id as it is. */
static int read_id(struct importer *im, const char *name, uint32_t *id)
{
    const struct slm_gguf_key *key = slm_gguf_find(im->gguf, name);
    if (!key)
        return SLM_OK;
    if (key->array || !slm_gguf_is_integer(key))
        return slm_fail(SLM_EFORMAT, "GGUF: %s is no number", name);
    int64_t value = slm_gguf_integer_at(key, 0);
    if (value >= 0 && value < im->v->n_tokens)
        *id = (uint32_t)value;
    return SLM_OK;
}

/* add_bos: what these models do when the file does not say. */
static int read_special(struct importer *im, bool add_bos)
{
    struct slm_vocab *v = im->v;
    bool add_eos = false;
    uint32_t eot = SLM_TEXT_NO_TOKEN, eom = SLM_TEXT_NO_TOKEN;
    int rc;
    if ((rc = read_id(im, KEY("bos_token_id"), &v->bos)) < 0 ||
        (rc = read_id(im, KEY("eos_token_id"), &v->eos)) < 0 ||
        (rc = read_id(im, KEY("unknown_token_id"), &v->unknown)) < 0 ||
        (rc = read_id(im, KEY("padding_token_id"), &v->padding)) < 0 ||
        (rc = read_id(im, KEY("seperator_token_id"), &v->named[SLM_NAMED_SEPARATOR])) < 0 ||
        (rc = read_id(im, KEY("cls_token_id"), &v->named[SLM_NAMED_CLASSIFIER])) < 0 ||
        (rc = read_id(im, KEY("mask_token_id"), &v->named[SLM_NAMED_MASK])) < 0 ||
        (rc = read_id(im, KEY("eot_token_id"), &eot)) < 0 ||
        (rc = read_id(im, KEY("eom_token_id"), &eom)) < 0 ||
        (rc = slm_gguf_bool(im->gguf, KEY("add_bos_token"), &add_bos)) < 0 ||
        (rc = slm_gguf_bool(im->gguf, KEY("add_eos_token"), &add_eos)) < 0)
        return rc;
    v->named[SLM_NAMED_UNKNOWN] = v->unknown;
    v->named[SLM_NAMED_PADDING] = v->padding;
    slm_vocab_add_stop(v, v->eos);
    slm_vocab_add_stop(v, eot);
    slm_vocab_add_stop(v, eom);
    if (add_bos && v->bos < v->n_tokens)
        v->prefix[v->n_prefix++] = v->bos;
    if (add_eos && v->eos < v->n_tokens)
        v->suffix[v->n_suffix++] = v->eos;
    slm_vocab_set_pair(v, v->bos, v->n_prefix, 1);
    return SLM_OK;
}

/* ------------------------------------------------------------------------------- models --- */

/* The pre-tokenizer has a name only; its patterns are in names.c. */
static int read_byte_level(struct importer *im)
{
    const char *name = "default";
    size_t n = strlen(name);
    bool add_bos = false;
    im->byte_level = true;
    int rc = slm_gguf_text(im->gguf, KEY("pre"), &name, &n);
    if (rc < 0 || (rc = slm_vocab_named_steps(im->v, name, n, &add_bos)) < 0 ||
        (rc = read_tokens(im)) < 0)
        return rc;
    texts_to_bytes(im);
    im->v->model = SLM_TEXT_BPE_BYTES;
    im->v->flags = SLM_TEXT_STRICT_SYMBOLS;
    rc = read_merges(im);
    if (rc == SLM_OK)
        rc = read_special(im, add_bos);
    /* Every byte is a token in these vocabularies; what is called unknown is never written. */
    im->v->unknown = SLM_TEXT_NO_TOKEN;
    return rc;
}

/* Everything but merges that two kinds have in common: spaces are U+2581, unknown characters bytes.
 */
static int read_meta_space(struct importer *im, bool prefix, bool squeeze)
{
    struct slm_vocab *v = im->v;
    const struct slm_gguf_key *charsmap = slm_gguf_find(im->gguf, KEY("precompiled_charsmap"));
    int rc;
    if ((rc = read_tokens(im)) < 0 ||
        (rc = slm_gguf_bool(im->gguf, KEY("add_space_prefix"), &prefix)) < 0 ||
        (rc = slm_gguf_bool(im->gguf, KEY("remove_extra_whitespaces"), &squeeze)) < 0)
        return rc;
    texts_to_bytes(im);
    v->model = SLM_TEXT_BPE_CHARS;
    v->meta_space = true;
    v->flags = SLM_TEXT_BYTE_FALLBACK | SLM_TEXT_FUSE_UNKNOWN | SLM_TEXT_BAD_BYTES_SINGLE |
               SLM_TEXT_META_SPACE;
    if (charsmap && charsmap->count > 0) {
        if (charsmap->type != SLM_GGUF_I8 && charsmap->type != SLM_GGUF_U8)
            return slm_fail(SLM_EFORMAT, "GGUF: tokenizer.ggml.precompiled_charsmap is no bytes");
        rc = slm_vocab_add_charsmap(v, charsmap->data, charsmap->count, false);
    }
    return rc < 0 ? rc : slm_vocab_add_spaces(v, prefix, squeeze);
}

/* Phi 3's tokenizer.json takes white space away behind nearly all of its special tokens, so the end
 * of the line behind <|user|> is no part of the prompt. A GGUF can't say so; the model's name does.
 */
static int strip_behind_special(struct importer *im)
{
    static const char *const OTHERS[] = {"<unk>", "<s>", "<|endoftext|>"};
    const char *family = "";
    size_t n = 0;
    int rc = slm_gguf_text(im->gguf, "general.architecture", &family, &n);
    if (rc < 0 || n != 4 || memcmp(family, "phi3", 4) != 0)
        return rc < 0 ? rc : SLM_OK;
    for (uint32_t i = 0; i < im->v->n_tokens; i++) {
        struct slm_vocab_token *token = &im->v->tokens[i];
        const uint8_t *text = im->v->pool.data + token->pattern;
        bool other = !token->added;
        for (int k = 0; k < 3 && !other; k++)
            other = token->pattern_length == strlen(OTHERS[k]) &&
                    memcmp(text, OTHERS[k], token->pattern_length) == 0;
        if (!other)
            token->flags |= SLM_ADDED_STRIP_RIGHT;
    }
    return SLM_OK;
}

/* The ids that SentencePiece has by default. */
static int read_scored(struct importer *im)
{
    im->v->by_score = true;
    im->v->unknown = 0;
    im->v->bos = 1;
    im->v->eos = 2;
    int rc = read_meta_space(im, true, false);
    if (rc >= 0)
        rc = strip_behind_special(im);
    return rc < 0 ? rc : read_special(im, true);
}

/* Here scores decide otherwise, and symbols of the user cost nothing. */
static int read_unigram(struct importer *im)
{
    struct slm_vocab *v = im->v;
    float least = INFINITY;
    int rc = read_meta_space(im, true, true);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        struct slm_vocab_token *token = &v->tokens[i];
        if (token->kind == SLM_TOKEN_NORMAL && (float)token->score < least)
            least = (float)token->score;
        if (token->kind == SLM_TOKEN_USER) {
            token->score = 0;
            token->added = false;
        }
        if (token->kind == SLM_TOKEN_UNUSED)
            token->in_model = false;
    }
    v->model = SLM_TEXT_UNIGRAM;
    v->unknown_score = isfinite(least) ? (double)(least - 10.0f) : 0;
    v->flags &= ~(uint32_t)SLM_TEXT_BYTE_FALLBACK;
    rc = slm_vocab_keep_symbols(v);
    if (rc == SLM_OK)
        rc = read_special(im, false);
    bool add_eos = true;
    if (rc == SLM_OK && v->n_suffix == 0 &&
        (rc = slm_gguf_bool(im->gguf, KEY("add_eos_token"), &add_eos)) >= 0 && add_eos &&
        v->eos < v->n_tokens)
        v->suffix[v->n_suffix++] = v->eos;
    v->n_pair = 0; /* a matter of the model */
    return rc < 0 ? rc : SLM_OK;
}

/* SentencePiece's texts, but the order of merges is a list. */
static int read_listed(struct importer *im)
{
    int rc = read_meta_space(im, false, false);
    if (rc == SLM_OK)
        rc = read_merges(im);
    im->v->flags |= SLM_TEXT_STRICT_SYMBOLS;
    return rc < 0 ? rc : read_special(im, false);
}

/* WordPiece's tokens are written the other way round: those that begin a word have U+2581 before
 * them, those that continue one have nothing, and only what stands in brackets is as it was. */
static int read_bert(struct importer *im)
{
    struct slm_vocab *v = im->v;
    bool lower = true, strip;
    int rc = read_tokens(im);
    for (uint32_t i = 0; i < v->n_tokens && rc == SLM_OK; i++) {
        struct slm_vocab_token *token = &v->tokens[i];
        const char *text = (const char *)v->pool.data + token->text;
        size_t n = token->length;
        if (n > 2 && text[0] == '[' && text[n - 1] == ']')
            continue;
        struct slm_buf continued = {.allocator = v->allocator};
        if (n > 3 && memcmp(text, SLM_META_SPACE, 3) == 0) {
            token->text += 3;
            token->length -= 3;
        } else if (n > 0 && token->kind == SLM_TOKEN_NORMAL) {
            slm_buf_text(&continued, "##");
            slm_buf_append(&continued, text, n);
            rc = slm_buf_ok(&continued);
            if (rc == SLM_OK)
                rc = slm_vocab_set(v, i, continued.data, continued.length, SLM_TOKEN_NORMAL);
        }
        slm_buf_free(&continued);
    }
    if (rc < 0 || (rc = read_special(im, false)) < 0 ||
        (rc = slm_gguf_bool(im->gguf, KEY("normalizer.lowercase"), &lower)) < 0)
        return rc;
    strip = lower;
    if ((rc = slm_gguf_bool(im->gguf, KEY("normalizer.strip_accents"), &strip)) < 0)
        return rc;
    if (v->named[SLM_NAMED_CLASSIFIER] == SLM_TEXT_NO_TOKEN)
        v->named[SLM_NAMED_CLASSIFIER] = v->bos;
    return slm_vocab_finish_bert(v, strip, lower);
}

int slm_vocab_from_gguf(struct slm_vocab *v, const struct slm_gguf *gguf)
{
    struct importer im = {.v = v, .gguf = gguf};
    const char *model;
    size_t n;
    int found = slm_gguf_text(gguf, KEY("model"), &model, &n);
    if (found < 0)
        return found;
    if (found == 0)
        return slm_fail(SLM_EUNSUPPORTED, "GGUF: the file has no tokenizer (tokenizer.ggml.model)");
    if (n == 4 && memcmp(model, "gpt2", 4) == 0)
        return read_byte_level(&im);
    if (n == 5 && memcmp(model, "llama", 5) == 0)
        return read_scored(&im);
    if (n == 6 && memcmp(model, "gemma4", 6) == 0)
        return read_listed(&im);
    if (n == 4 && memcmp(model, "bert", 4) == 0)
        return read_bert(&im);
    if (n == 2 && memcmp(model, "t5", 2) == 0)
        return read_unigram(&im);
    return slm_fail(SLM_EUNSUPPORTED,
                    "GGUF: tokenizer.ggml.model \"%.*s\" is not supported; known are "
                    "gpt2, llama, gemma4, bert and t5",
                    (int)(n < 40 ? n : 40), model);
}
