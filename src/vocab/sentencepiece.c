/*
 * sentencepiece.c - SentencePiece's tokenizer.model into a vocabulary.
 *
 * The file is a protobuf message. The reader below knows as much of that format as is needed to
 * walk over fields, and checks every length against the message that it stands in.
 */
#include "vocab/vocab.h"

#include <math.h>
#include <string.h>

/* A message, or what is left of it. */
struct message {
    const uint8_t *at, *end;
};

/* One field: a number (wire types 0, 1 and 5) or bytes (wire type 2). */
struct field {
    uint32_t number, wire;
    uint64_t value;
    struct message bytes;
};

/* Seven bits a byte, the lowest first. */
static bool read_varint(struct message *m, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        uint8_t byte = *m->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* 1: a field; 0: the end; SLM_EFORMAT: neither. */
static int next_field(struct message *m, struct field *f)
{
    uint64_t key;
    if (m->at == m->end)
        return 0;
    bool good = read_varint(m, &key) && key >> 3 <= UINT32_MAX;
    f->number = (uint32_t)(key >> 3);
    f->wire = key & 7;
    if (good && f->wire == 0) {
        good = read_varint(m, &f->value);
    } else if (good && (f->wire == 1 || f->wire == 5)) {
        size_t n = f->wire == 1 ? 8 : 4;
        good = (size_t)(m->end - m->at) >= n;
        if (good) {
            f->value = n == 8 ? slm_load_u64(m->at) : slm_load_u32(m->at);
            m->at += n;
        }
    } else if (good && f->wire == 2) {
        good = read_varint(m, &f->value) && f->value <= (uint64_t)(m->end - m->at);
        if (good) {
            f->bytes = (struct message){m->at, m->at + f->value};
            m->at += f->value;
        }
    } else {
        good = false;
    }
    return good ? 1
                : slm_fail(SLM_EFORMAT, "tokenizer.model: not a SentencePiece model, or damaged");
}

struct model {
    struct slm_vocab *v;
    uint32_t type; /* 1: unigram, 2: BPE, 3: word, 4: char */
    bool byte_fallback, dummy_prefix, extra_spaces_removed, escape_spaces;
    bool suffix_space, has_trainer;
    struct message charsmap;
    uint32_t n_pieces;
};

/* SentencePiece { 1: piece, 2: score, 3: type }; the types have the numbers of slm_token_kind. */
static int read_piece(struct model *model, struct message m)
{
    struct slm_vocab *v = model->v;
    struct field f;
    struct message text = {NULL, NULL};
    uint64_t kind = SLM_TOKEN_NORMAL;
    float score = 0;
    int more;
    while ((more = next_field(&m, &f)) > 0) {
        if (f.number == 1 && f.wire == 2)
            text = f.bytes;
        else if (f.number == 2 && f.wire == 5)
            score = slm_float_of((uint32_t)f.value);
        else if (f.number == 3 && f.wire == 0)
            kind = f.value;
    }
    if (more < 0)
        return more;
    uint32_t id = model->n_pieces++;
    size_t n = (size_t)(text.end - text.at);
    if (kind < SLM_TOKEN_NORMAL || kind > SLM_TOKEN_BYTE || isnan(score))
        return slm_fail(SLM_EFORMAT,
                        "tokenizer.model: piece %u is of type %llu, or its score is no "
                        "number",
                        id, (unsigned long long)kind);
    int byte = kind == SLM_TOKEN_BYTE ? slm_vocab_byte_token((const char *)text.at, n) : 0;
    uint8_t value = (uint8_t)byte;
    if (byte < 0)
        return slm_fail(SLM_EFORMAT, "tokenizer.model: piece %u should be a byte such as <0x0A>",
                        id);
    int rc = kind == SLM_TOKEN_BYTE
                 ? slm_vocab_set(v, id, &value, 1, SLM_TOKEN_BYTE)
                 : slm_vocab_set(v, id, n ? text.at : (const void *)"", n, (uint32_t)kind);
    if (rc < 0)
        return rc;
    struct slm_vocab_token *token = &v->tokens[id];
    token->score = score;
    token->in_model =
        kind == SLM_TOKEN_NORMAL || kind == SLM_TOKEN_USER || kind == SLM_TOKEN_UNUSED;
    token->added = kind == SLM_TOKEN_CONTROL || kind == SLM_TOKEN_UNKNOWN || kind == SLM_TOKEN_USER;
    /* Symbols that the user defined are found after spaces were escaped, the others as they are. */
    token->flags = kind == SLM_TOKEN_USER ? SLM_ADDED_NORMALIZED : SLM_ADDED_SPECIAL;
    if (kind == SLM_TOKEN_UNKNOWN)
        v->unknown = id;
    return SLM_OK;
}

/* TrainerSpec: how it was trained, and the special ids. */
static int read_trainer(struct model *model, struct message m)
{
    struct field f;
    int more;
    model->has_trainer = true;
    while ((more = next_field(&m, &f)) > 0) {
        uint32_t id = (int32_t)f.value < 0 ? SLM_TEXT_NO_TOKEN : (uint32_t)f.value;
        if (f.wire != 0)
            continue;
        switch (f.number) {
        case 3: model->type = (uint32_t)f.value; break;
        case 24: model->suffix_space = f.value != 0; break;
        case 35: model->byte_fallback = f.value != 0; break;
        case 40: model->v->unknown = id; break;
        case 41: model->v->bos = id; break;
        case 42: model->v->eos = id; break;
        case 43: model->v->padding = id; break;
        default: break;
        }
    }
    return more;
}

/* NormalizerSpec: what happens to spaces, and a table of characters. */
static int read_normalizer(struct model *model, struct message m)
{
    struct field f;
    int more;
    while ((more = next_field(&m, &f)) > 0) {
        if (f.number == 2 && f.wire == 2)
            model->charsmap = f.bytes;
        else if (f.number == 3 && f.wire == 0)
            model->dummy_prefix = f.value != 0;
        else if (f.number == 4 && f.wire == 0)
            model->extra_spaces_removed = f.value != 0;
        else if (f.number == 5 && f.wire == 0)
            model->escape_spaces = f.value != 0;
    }
    return more;
}

/* ModelProto: pieces in the order of their ids, then the two specifications. */
static int read_model(struct model *model, struct message m)
{
    struct field f;
    int more, rc = SLM_OK;
    while ((more = next_field(&m, &f)) > 0 && rc == SLM_OK) {
        if (f.wire != 2)
            continue;
        if (f.number == 1)
            rc = read_piece(model, f.bytes);
        else if (f.number == 2)
            rc = read_trainer(model, f.bytes);
        else if (f.number == 3)
            rc = read_normalizer(model, f.bytes);
    }
    return rc < 0 ? rc : more;
}

/* Only what gives the same ids is accepted. */
static int check(const struct model *model)
{
    static const char *const TYPES[] = {"?", "unigram", "BPE", "word", "char"};
    if (model->n_pieces == 0)
        return slm_fail(SLM_EFORMAT, "tokenizer.model: it has no pieces");
    if (!model->has_trainer) /* without it every model would be a unigram one */
        return slm_fail(SLM_EFORMAT, "tokenizer.model: it is cut short behind its pieces");
    if (model->type != 1 && model->type != 2)
        return slm_fail(SLM_EUNSUPPORTED,
                        "tokenizer.model: a %s model is not supported; unigram and BPE are",
                        TYPES[model->type < 5 ? model->type : 0]);
    if (model->suffix_space || !model->escape_spaces)
        return slm_fail(SLM_EUNSUPPORTED, "tokenizer.model: spaces that are not escaped, or belong "
                                          "to the word before, are not supported");
    return SLM_OK;
}

/* What an unknown character costs: 10 more than the worst token. Unused tokens are left out. Symbols
 * that the user defined are worth more than any other way, the longer the better, but they are not
 * found before everything else as in BPE. */
static void read_scores(struct slm_vocab *v)
{
    float least = INFINITY;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        struct slm_vocab_token *token = &v->tokens[i];
        if (token->kind == SLM_TOKEN_NORMAL && (float)token->score < least)
            least = (float)token->score;
        if (token->kind == SLM_TOKEN_UNUSED)
            token->in_model = false;
        if (token->kind == SLM_TOKEN_USER) {
            token->score = (float)(0.1 * ((int)token->length - 1));
            token->added = false;
        }
    }
    v->unknown_score = isfinite(least) ? (double)(least - 10.0f) : 0;
}

/* The texts as they are written, until the configurations have been read by them. */
static int finish(struct model *model, const struct slm_vocab_json *files)
{
    struct slm_vocab *v = model->v;
    struct slm_vocab_index index;
    v->named[SLM_NAMED_UNKNOWN] = v->unknown;
    v->named[SLM_NAMED_PADDING] = v->padding;
    int rc = slm_vocab_index_init(&index, v, false);
    if (rc < 0)
        return rc;
    if (files)
        rc = slm_vocab_read_configs(v, files, &index, false);
    slm_vocab_index_free(&index);
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        struct slm_vocab_token *token = &v->tokens[i];
        if (token->kind != SLM_TOKEN_BYTE && token->length > 0)
            token->length = slm_vocab_plain_spaces(v->pool.data + token->text, token->length);
    }
    return rc < 0 ? rc : slm_vocab_keep_symbols(v);
}

int slm_vocab_from_sentencepiece(struct slm_vocab *v, const void *data, size_t length,
                                 const struct slm_vocab_json *files)
{
    /* Defaults of the format, where a field is left out. */
    struct model model = {.v = v,
                          .type = 1,
                          .dummy_prefix = true,
                          .extra_spaces_removed = true,
                          .escape_spaces = true};
    const uint8_t *bytes = data;
    v->unknown = 0;
    v->bos = 1;
    v->eos = 2;
    int rc = read_model(&model, (struct message){bytes, bytes + length});
    if (rc < 0 || (rc = check(&model)) < 0)
        return rc;
    bool unigram = model.type == 1;
    v->model = unigram ? SLM_TEXT_UNIGRAM : SLM_TEXT_BPE_CHARS;
    v->by_score = true;
    if (unigram)
        read_scores(v);
    v->meta_space = true;
    v->raw_patterns = true;
    v->flags = SLM_TEXT_FUSE_UNKNOWN | SLM_TEXT_BAD_BYTES_SINGLE | SLM_TEXT_META_SPACE |
               (model.byte_fallback ? SLM_TEXT_BYTE_FALLBACK : 0) |
               (unigram ? SLM_TEXT_NARROW_SUMS : 0);
    if (model.charsmap.at != model.charsmap.end)
        rc = slm_vocab_add_charsmap(v, model.charsmap.at,
                                    (size_t)(model.charsmap.end - model.charsmap.at), false);
    if (rc == SLM_OK)
        rc = slm_vocab_add_spaces(v, model.dummy_prefix, model.extra_spaces_removed);
    if (rc < 0)
        return rc;
    if (v->bos < v->n_tokens)
        v->prefix[v->n_prefix++] = v->bos;
    slm_vocab_add_stop(v, v->eos);
    if (!unigram) /* of encoders it is a matter of the model */
        slm_vocab_set_pair(v, v->bos, v->n_prefix, 1);
    return finish(&model, files);
}
