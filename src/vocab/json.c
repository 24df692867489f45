/*
 * json.c - Hugging Face's tokenizer.json into a vocabulary.
 *
 * tokenizer.json is a program: normalizer, pre_tokenizer, model, post_processor, decoder, each a
 * tree of typed objects. Every type is either carried over exactly or refused by name. The token
 * texts are kept as they are written until merges and special tokens have been found by them, and
 * turned into bytes at the end.
 */
#include "vocab/json.h"

#include "base/number.h"
#include "source/quote.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* -------------------------------------------------------------------------------- model --- */

/* model.vocab: text to id. Ids may come in any order and have gaps. */
static int read_vocabulary(struct importer *im, slm_json_node model)
{
    slm_json_node vocabulary = member(im, model, "vocab");
    if (slm_json_type(im->doc, vocabulary) != JSON_OBJECT)
        return slm_fail(SLM_EFORMAT, "tokenizer.json: model.vocab must be an object");
    for (slm_json_node i = slm_json_first(im->doc, vocabulary); i >= 0;
         i = slm_json_next(im->doc, i)) {
        size_t n;
        const char *text = slm_json_key(im->doc, i, &n);
        uint32_t id = id_at(im->doc, i);
        if (id == SLM_TEXT_NO_TOKEN)
            return slm_fail(SLM_EFORMAT,
                            "tokenizer.json: model.vocab: the id of \"%.40s\" is no "
                            "number from 0 to %d",
                            text, SLM_LIMIT_VOCAB - 1);
        const struct slm_vocab_token *other = id < im->v->n_tokens ? &im->v->tokens[id] : NULL;
        if (other && other->kind != 0 &&
            (other->length != n || memcmp(im->v->pool.data + other->text, text, n) != 0))
            return slm_fail(SLM_EFORMAT,
                            "tokenizer.json: model.vocab: %s and another token have the id %u",
                            slm_quote(text, n).text, (unsigned)id);
        int rc = slm_vocab_set(im->v, id, text, n, SLM_TOKEN_NORMAL);
        if (rc < 0)
            return rc;
        im->v->tokens[id].in_model = true;
    }
    return SLM_OK;
}

/* A merge is "left right" or ["left", "right"]. */
static int read_merge(struct importer *im, slm_json_node node, size_t number)
{
    const char *parts[2];
    size_t lengths[2];
    const char *text = slm_json_string(im->doc, node, &lengths[0]);
    if (text) {
        const char *space = memchr(text, ' ', lengths[0]);
        parts[0] = text;
        parts[1] = space ? space + 1 : NULL;
        lengths[1] = space ? lengths[0] - (size_t)(space + 1 - text) : 0;
        lengths[0] = space ? (size_t)(space - text) : 0;
    } else {
        parts[0] = slm_json_string(im->doc, slm_json_at(im->doc, node, 0), &lengths[0]);
        parts[1] = slm_json_string(im->doc, slm_json_at(im->doc, node, 1), &lengths[1]);
    }
    if (!parts[0] || !parts[1])
        return slm_fail(SLM_EFORMAT, "tokenizer.json: model.merges[%zu] is no pair of texts",
                        number);
    for (int i = 0; i < 2; i++) {
        uint32_t id = slm_vocab_find(&im->index, parts[i], lengths[i]);
        if (id == SLM_TEXT_NO_TOKEN)
            return slm_fail(SLM_EFORMAT,
                            "tokenizer.json: model.merges[%zu]: \"%.*s\" is not in "
                            "model.vocab",
                            number, (int)(lengths[i] < 40 ? lengths[i] : 40), parts[i]);
        slm_buf_u32(&im->v->merges, id);
    }
    return SLM_OK;
}

static void read_unknown(struct importer *im, slm_json_node model)
{
    size_t n;
    const char *unknown = slm_json_string(im->doc, member(im, model, "unk_token"), &n);
    if (unknown && n > 0)
        im->v->unknown = slm_vocab_find(&im->index, unknown, n);
}

static int read_wordpiece(struct importer *im, slm_json_node model)
{
    struct slm_vocab *v = im->v;
    size_t n;
    int64_t most = 100;
    slm_json_node limit = member(im, model, "max_input_chars_per_word");
    const char *prefix =
        slm_json_string(im->doc, member(im, model, "continuing_subword_prefix"), &n);
    if (limit >= 0 && (!slm_json_is_integer(im->doc, limit, &most) || most < 0 || most > INT32_MAX))
        return slm_fail(SLM_EFORMAT, "tokenizer.json: model.max_input_chars_per_word must be a "
                                     "number of characters");
    int rc = read_vocabulary(im, model);
    if (rc < 0 || (rc = slm_vocab_index_init(&im->index, v, false)) < 0)
        return rc;
    v->model = SLM_TEXT_WORDPIECE;
    v->max_word = (uint32_t)most;
    v->continuation = prefix ? slm_vocab_keep(v, prefix, n) : slm_vocab_keep(v, "##", 2);
    read_unknown(im, model);
    if (v->unknown == SLM_TEXT_NO_TOKEN)
        return slm_fail(SLM_EFORMAT, "tokenizer.json: model.unk_token is not in model.vocab");
    return slm_buf_ok(&v->pool);
}

/* Append a decimal digit; false: the number would not fit. */
static bool push_digit(uint64_t *number, char c)
{
    uint64_t digit = (uint64_t)(c - '0');
    bool fits = *number <= (UINT64_MAX - digit) / 10;
    *number = fits ? *number * 10 + digit : *number;
    return fits;
}

/* A score as Hugging Face's tokenizers read it: all digits as one number, times a power of ten or
 * divided by it. Both steps round, so many a score is not the double that is nearest to what is
 * written; and where the sums of two ways are equal but for that, it decides. */
static double score_of(const char *text)
{
    enum { MOST = 308 }; /* 1e308 is the largest power that is a double */
    bool negative = *text == '-', room = true;
    uint64_t digits = 0;
    long long power = 0;
    double value, factor = 1;
    char name[8];
    for (text += negative; *text >= '0' && *text <= '9'; text++)
        if (!room || !(room = push_digit(&digits, *text)))
            power++;
    room = true;
    if (*text == '.')
        for (text++; *text >= '0' && *text <= '9'; text++)
            if (room && (room = push_digit(&digits, *text)))
                power--;
    if (*text) { /* e */
        long more = strtol(text + 1, NULL, 10);
        power += more > INT32_MAX ? INT32_MAX : more < -INT32_MAX ? -INT32_MAX : more;
    }
    value = (double)digits;
    for (; power < -MOST && value > 0; power += MOST)
        value /= 1e308;
    if (digits == 0 || power < -MOST || power > MOST)
        return digits == 0 || power < 0 ? 0 : INFINITY;
    snprintf(name, sizeof name, "1e%d", (int)(power < 0 ? -power : power));
    slm_number_read(name, &factor, NULL);
    value = power < 0 ? value / factor : value * factor;
    return negative ? -value : value;
}

/* model.vocab: an array of [text, score]; the place is the id. What is unknown costs 10 more than
 * the worst token, special ones among them. */
static int read_unigram(struct importer *im, slm_json_node model)
{
    struct slm_vocab *v = im->v;
    slm_json_node list = member(im, model, "vocab");
    double least = 0;
    uint32_t id = 0;
    int rc = SLM_OK;
    for (slm_json_node i = slm_json_first(im->doc, list); i >= 0 && rc == SLM_OK;
         i = slm_json_next(im->doc, i), id++) {
        size_t n;
        const char *text = slm_json_string(im->doc, slm_json_at(im->doc, i, 0), &n);
        slm_json_node number = slm_json_at(im->doc, i, 1);
        const char *written = slm_json_number_text(im->doc, number);
        double score = written ? score_of(written) : NAN;
        if (!text || !isfinite(score))
            return slm_fail(SLM_EFORMAT,
                            "tokenizer.json: model.vocab[%u] is no pair of text and score", id);
        if ((rc = slm_vocab_set(v, id, text, n, SLM_TOKEN_NORMAL)) < 0)
            return rc;
        v->tokens[id].in_model = true;
        v->tokens[id].score = score;
        least = id == 0 || score < least ? score : least;
    }
    if (v->n_tokens == 0)
        return slm_fail(SLM_EFORMAT, "tokenizer.json: model.vocab must be a list of tokens");
    v->model = SLM_TEXT_UNIGRAM;
    v->unknown_score = least - 10;
    v->unknown = id_at(im->doc, member(im, model, "unk_id"));
    if (v->unknown < v->n_tokens)
        v->tokens[v->unknown].kind = SLM_TOKEN_UNKNOWN;
    v->flags |= SLM_TEXT_FUSE_UNKNOWN;
    if (flag(im, model, "byte_fallback", false))
        v->flags |= SLM_TEXT_BYTE_FALLBACK;
    return slm_vocab_index_init(&im->index, v, false);
}

/* Options that change the ids are carried over or refused. "dropout" does not: it is for training.
 */
static int read_model(struct importer *im)
{
    slm_json_node model = member(im, 0, "model");
    struct slm_vocab *v = im->v;
    /* Files from before there was a "type" are BPE when they have merges. */
    bool bpe = is_type(im, model, "BPE") ||
               (member(im, model, "type") < 0 && member(im, model, "merges") >= 0);
    size_t n;
    if (is_type(im, model, "WordPiece"))
        return read_wordpiece(im, model);
    /* So are those of lists of pairs Unigram. */
    if (is_type(im, model, "Unigram") ||
        (member(im, model, "type") < 0 && member(im, model, "unk_id") >= 0))
        return read_unigram(im, model);
    if (!bpe)
        return unsupported("model", type_of(im, model), "BPE, WordPiece, Unigram");
    const char *affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        const char *affix = slm_json_string(im->doc, member(im, model, affixes[i]), &n);
        if (affix && n > 0)
            return slm_fail(
                SLM_EUNSUPPORTED,
                "tokenizer.json: model.%s is %s: tokens of BPE that mark the %s of a word "
                "(as CLIP's do) are not supported",
                affixes[i], slm_quote(affix, n).text, i ? "end" : "inside");
    }
    int rc = read_vocabulary(im, model);
    if (rc < 0 || (rc = slm_vocab_index_init(&im->index, v, false)) < 0)
        return rc;
    size_t number = 0;
    slm_json_node merges = member(im, model, "merges");
    for (slm_json_node i = slm_json_first(im->doc, merges); i >= 0; i = slm_json_next(im->doc, i))
        if ((rc = read_merge(im, i, number++)) < 0)
            return rc;
    v->ignore_merges = flag(im, model, "ignore_merges", false);
    v->flags |= SLM_TEXT_STRICT_SYMBOLS;
    if (flag(im, model, "fuse_unk", false))
        v->flags |= SLM_TEXT_FUSE_UNKNOWN;
    if (flag(im, model, "byte_fallback", false))
        v->flags |= SLM_TEXT_BYTE_FALLBACK;
    read_unknown(im, model);
    return slm_buf_ok(&v->merges);
}

/* ------------------------------------------------------------------------- added tokens --- */

/* One added token. If its text is in the model's vocabulary, it is that token, whatever id is
 * given. */
static int add_token(struct importer *im, const struct slm_json *doc, slm_json_node node,
                     uint32_t id)
{
    size_t n;
    struct slm_vocab *v = im->v;
    const char *text = slm_json_string(doc, slm_json_get(doc, node, "content"), &n);
    if (!text || id == SLM_TEXT_NO_TOKEN)
        return slm_fail(SLM_EFORMAT, "tokenizer.json: an added token lacks its id or its content");
    bool special = slm_json_bool(doc, slm_json_get(doc, node, "special"), false);
    uint32_t own = slm_vocab_find(&im->index, text, n); /* the model's id counts, if it has one */
    if (own != SLM_TEXT_NO_TOKEN && v->tokens[own].in_model)
        id = own;
    bool known = id < v->n_tokens && v->tokens[id].kind != 0;
    if (!known || v->tokens[id].length != n ||
        memcmp(v->pool.data + v->tokens[id].text, text, n) != 0) {
        int rc = slm_vocab_set(v, id, text, n, SLM_TOKEN_NORMAL);
        if (rc < 0)
            return rc;
        v->tokens[id].in_model = false;
    }
    struct slm_vocab_token *token = &v->tokens[id];
    token->kind = !special           ? SLM_TOKEN_USER
                  : id == v->unknown ? SLM_TOKEN_UNKNOWN
                                     : SLM_TOKEN_CONTROL;
    static const struct {
        const char *key;
        uint8_t bit;
        bool otherwise;
    } FLAGS[] = {{"single_word", SLM_ADDED_SINGLE_WORD, false},
                 {"lstrip", SLM_ADDED_STRIP_LEFT, false},
                 {"rstrip", SLM_ADDED_STRIP_RIGHT, false},
                 {"normalized", SLM_ADDED_NORMALIZED, false},
                 {"special", SLM_ADDED_SPECIAL, false}};
    struct slm_vocab_text pattern = slm_vocab_keep(v, text, n);
    token->pattern = pattern.text;
    token->pattern_length = pattern.length;
    token->added = true;
    token->flags = 0;
    for (size_t i = 0; i < sizeof(FLAGS) / sizeof(FLAGS[0]); i++)
        if (slm_json_bool(doc, slm_json_get(doc, node, FLAGS[i].key), FLAGS[i].otherwise))
            token->flags |= FLAGS[i].bit;
    return SLM_OK;
}

/* Those of tokenizer.json, in its own order. */
static int read_added(struct importer *im)
{
    slm_json_node list = member(im, 0, "added_tokens");
    int rc = SLM_OK;
    for (slm_json_node i = slm_json_first(im->doc, list); i >= 0 && rc == SLM_OK;
         i = slm_json_next(im->doc, i))
        rc = add_token(im, im->doc, i, id_at(im->doc, member(im, i, "id")));
    /* tokenizer_config.json may add more, by id. */
    slm_json_node more = im->config ? slm_json_get(im->config, 0, "added_tokens_decoder") : -1;
    for (slm_json_node i = slm_json_first(im->config, more); i >= 0 && rc == SLM_OK;
         i = slm_json_next(im->config, i)) {
        size_t n;
        uint32_t id = 0;
        const char *key = slm_json_key(im->config, i, &n);
        bool number = n > 0 && n < 8;
        for (size_t k = 0; k < n && number; k++) {
            number = key[k] >= '0' && key[k] <= '9';
            id = id * 10 + (uint32_t)(key[k] - '0');
        }
        if (number && (id >= im->v->n_tokens || im->v->tokens[id].kind == 0))
            rc = add_token(im, im->config, i, id);
    }
    if (rc < 0)
        return rc;
    slm_vocab_index_free(&im->index);
    return slm_vocab_index_init(&im->index, im->v, false);
}

/* ---------------------------------------------------------------------------- to bytes --- */

/* Turn the texts of the model's tokens into what they stand for; bytes never get more. */
static void texts_to_bytes(struct slm_vocab *v, bool byte_level)
{
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        struct slm_vocab_token *token = &v->tokens[i];
        uint8_t *text = v->pool.data + token->text;
        if (token->kind == 0 || token->length == 0)
            continue;
        if (byte_level) {
            /* Added tokens as well: the reference decodes them so, too. */
            uint8_t bytes[SLM_LIMIT_TOKEN_TEXT];
            size_t n = slm_vocab_printable_bytes((const char *)text, token->length, bytes);
            if (n > 0) {
                memcpy(text, bytes, n);
                token->length = (uint32_t)n;
            }
            continue;
        }
        int byte = v->flags & SLM_TEXT_BYTE_FALLBACK
                       ? slm_vocab_byte_token((const char *)text, token->length)
                       : -1;
        if (byte >= 0 && token->in_model) {
            token->kind = SLM_TOKEN_BYTE;
            token->in_model = false; /* the text of <0x20> is not that of U+2581 */
            text[0] = (uint8_t)byte;
            token->length = 1;
        } else if (v->meta_space) {
            if (memchr(text, ' ', token->length))
                token->in_model = false; /* a text with spaces in it no longer exists there */
            token->length = slm_vocab_plain_spaces(text, token->length);
        }
    }
}

/* The model first, since everything else names its tokens; bytes last. */
static int import(struct importer *im)
{
    int rc = read_model(im);
    if (rc < 0 || (rc = read_added(im)) < 0)
        return rc;
    if ((rc = slm_tokenizer_json_steps(im)) < 0 ||
        (rc = slm_vocab_read_configs(im->v, im->files, &im->index, im->has_template)) < 0)
        return rc;
    if (im->v->model == 0)
        im->v->model = im->byte_level ? SLM_TEXT_BPE_BYTES : SLM_TEXT_BPE_CHARS;
    else if (im->byte_level)
        return unsupported("ByteLevel with model", type_of(im, member(im, 0, "model")), "BPE");
    if (im->v->model != SLM_TEXT_WORDPIECE)
        texts_to_bytes(im->v, im->byte_level);
    return slm_buf_ok(&im->v->pool);
}

/* vocab.json instead: the document becomes what tokenizer.json would say. */
static int complete(struct importer *im, struct slm_vocab_json *files)
{
    struct slm_buf text = {.allocator = im->v->allocator};
    int rc = slm_vocab_json_of_class(&text, im->doc, files, &files->class_tokens);
    slm_json_free(im->doc);
    im->doc = NULL;
    if (rc == SLM_OK)
        rc = slm_json_parse(&im->doc, (const char *)text.data, text.length, im->v->allocator);
    slm_buf_free(&text);
    return rc;
}

int slm_vocab_from_json(struct slm_vocab *v, const struct slm_vocab_json *given)
{
    struct slm_vocab_json own = *given;
    const struct slm_vocab_json *files = &own;
    struct importer im = {.v = v, .files = files};
    int rc = slm_json_parse(&im.doc, files->tokenizer, files->tokenizer_length, v->allocator);
    if (rc < 0)
        slm_fail_in(rc, "tokenizer.json");
    if (rc == SLM_OK && slm_json_type(im.doc, member(&im, 0, "config")) == JSON_OBJECT &&
        slm_json_type(im.doc, member(&im, 0, "vocab")) == JSON_ARRAY) {
        rc = slm_vocab_from_tekken(v, im.doc);
        slm_json_free(im.doc);
        return rc;
    }
    slm_json_node first = rc == SLM_OK ? slm_json_first(im.doc, 0) : -1;
    if (first >= 0 && slm_json_type(im.doc, first) == JSON_NUMBER)
        rc = complete(&im, &own);
    if (rc == SLM_OK && files->tokenizer_config) {
        rc = slm_json_parse(&im.config, files->tokenizer_config, files->tokenizer_config_length,
                            v->allocator);
        if (rc < 0)
            slm_fail_in(rc, "tokenizer_config.json");
    }
    if (rc == SLM_OK)
        rc = import(&im);
    slm_vocab_index_free(&im.index);
    slm_json_free(im.doc);
    slm_json_free(im.config);
    return rc;
}
