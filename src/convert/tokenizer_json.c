/*
 * tokenizer_json.c - Hugging Face's tokenizer.json into a vocabulary.
 *
 * tokenizer.json is a program: normalizer, pre_tokenizer, model, post_processor, decoder, each a
 * tree of typed objects. Every type is either carried over exactly or refused by name. The token
 * texts are kept as they are written until merges and special tokens have been found by them, and
 * turned into bytes at the end.
 */
#include "convert/tokenizer.h"

#include "base/json.h"

#include <string.h>

#define META SLM_META_SPACE

struct importer {
    struct slm_vocab *v;
    struct slm_json *doc;    /* tokenizer.json */
    struct slm_json *config; /* tokenizer_config.json, or NULL */
    const struct slm_vocab_json *files;
    struct slm_vocab_index index; /* all tokens by their text as written */
    bool byte_level;              /* token texts are in GPT-2's printable alphabet */
    uint32_t step_flags;          /* SLM_SCAN_BYTES once ByteLevel was met */
    bool has_template;            /* the post-processor said what comes before and after */
};

/* ------------------------------------------------------------------------------ helpers --- */

/* Whether a node is exactly this string. */
static bool is_text(const struct slm_json *doc, slm_json_node node, const char *text)
{
    size_t n;
    const char *value = slm_json_string(doc, node, &n);
    return value && n == strlen(text) && memcmp(value, text, n) == 0;
}

static bool is_type(const struct importer *im, slm_json_node node, const char *type)
{
    return is_text(im->doc, slm_json_get(im->doc, node, "type"), type);
}

static const char *type_of(const struct importer *im, slm_json_node node)
{
    const char *type = slm_json_string(im->doc, slm_json_get(im->doc, node, "type"), NULL);
    return type ? type : "(none)";
}

static slm_json_node member(const struct importer *im, slm_json_node node, const char *key)
{
    return slm_json_get(im->doc, node, key);
}

static bool flag(const struct importer *im, slm_json_node node, const char *key, bool otherwise)
{
    return slm_json_bool(im->doc, slm_json_get(im->doc, node, key), otherwise);
}

/* Every refusal names what was found and what would have been understood. */
static int unsupported(const char *what, const char *type, const char *known)
{
    return slm_fail(SLM_EUNSUPPORTED, "tokenizer.json: %s \"%s\" is not supported; known are %s",
                    what, type, known);
}

/* A token id, if the node is one. */
static uint32_t id_at(const struct slm_json *doc, slm_json_node node)
{
    int64_t id;
    if (!slm_json_is_integer(doc, node, &id) || id < 0 || id >= SLM_LIMIT_VOCAB)
        return SLM_TEXT_NO_TOKEN;
    return (uint32_t)id;
}

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
    if (!bpe)
        return unsupported("model", type_of(im, model), "BPE");
    const char *affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++)
        if (slm_json_string(im->doc, member(im, model, affixes[i]), &n) && n > 0)
            return unsupported("model option", affixes[i], "BPE without it");
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
    const char *unknown = slm_json_string(im->doc, member(im, model, "unk_token"), &n);
    if (unknown && n > 0)
        v->unknown = slm_vocab_find(&im->index, unknown, n);
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

/* -------------------------------------------------------------------------- normalizers --- */

/* A text for a step, where U+2581 and the space are the same thing. */
static int add_normal(struct importer *im, uint32_t kind, uint32_t flags, const char *a,
                      const char *b)
{
    return slm_vocab_add_normal(im->v, kind, flags,
                                im->v->meta_space && strcmp(a, META) == 0 ? " " : a,
                                im->v->meta_space && strcmp(b, META) == 0 ? " " : b);
}

/* From here on spaces are written as U+2581: we go the other way, which is the same and shorter. */
static int add_meta_space(struct importer *im, uint32_t flags)
{
    im->v->meta_space = true;
    if (!(flags & SLM_NORMAL_LATE))
        im->v->flags |= SLM_TEXT_META_SPACE;
    return slm_vocab_add_normal(im->v, SLM_NORMAL_REPLACE, flags, META, " ");
}

/* Each is a step; writing spaces as U+2581 becomes its opposite. */
static int read_normalizer(struct importer *im, slm_json_node node)
{
    if (is_type(im, node, "NFC"))
        return slm_vocab_add_normal(im->v, SLM_NORMAL_NFC, 0, "", "");
    if (is_type(im, node, "Prepend")) {
        const char *text = slm_json_string(im->doc, member(im, node, "prepend"), NULL);
        return add_normal(im, SLM_NORMAL_PREPEND, 0,
                          text && strcmp(text, META) == 0 ? " "
                          : text                          ? text
                                                          : "",
                          "");
    }
    if (is_type(im, node, "Replace")) {
        slm_json_node pattern = member(im, member(im, node, "pattern"), "String");
        const char *from = slm_json_string(im->doc, pattern, NULL);
        const char *to = slm_json_string(im->doc, member(im, node, "content"), NULL);
        if (!from || !*from || !to)
            return unsupported("normalizer", "Replace with a pattern",
                               "Replace of a text, NFC, Prepend, Sequence");
        if (strcmp(from, " ") == 0 && strcmp(to, META) == 0)
            return add_meta_space(im, 0);
        return add_normal(im, SLM_NORMAL_REPLACE, 0, from, to);
    }
    return unsupported("normalizer", type_of(im, node), "NFC, Prepend, Replace, Sequence");
}

/* Call `read` for the node, or for each of its parts when it is a Sequence. */
static int each(struct importer *im, slm_json_node node, const char *parts,
                int (*read)(struct importer *, slm_json_node))
{
    int rc = SLM_OK;
    if (slm_json_type(im->doc, node) == JSON_NULL)
        return SLM_OK;
    if (!is_type(im, node, "Sequence"))
        return read(im, node);
    slm_json_node list = member(im, node, parts);
    for (slm_json_node i = slm_json_first(im->doc, list); i >= 0 && rc == SLM_OK;
         i = slm_json_next(im->doc, i))
        rc = is_type(im, i, "Sequence") ? unsupported(parts, "Sequence in a Sequence", "flat ones")
                                        : read(im, i);
    return rc;
}

/* ----------------------------------------------------------------------- pre-tokenizers --- */

/* What happens to matches; the names are those of SplitDelimiterBehavior. */
static int read_behaviour(struct importer *im, slm_json_node node, uint32_t *behaviour)
{
    static const char *const NAMES[] = {"Isolated", "Removed", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    slm_json_node value = member(im, node, "behavior");
    *behaviour = SLM_SCAN_ISOLATED;
    if (value < 0)
        return SLM_OK;
    for (uint32_t i = 0; i < 5; i++) {
        if (is_text(im->doc, value, NAMES[i])) {
            *behaviour = i;
            return SLM_OK;
        }
    }
    const char *text = slm_json_string(im->doc, value, NULL);
    return unsupported("behavior", text ? text : "?",
                       "Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous");
}

/* A literal text as a pattern: every sign that means something gets a backslash. */
static int add_literal_step(struct importer *im, const char *text, size_t n, uint32_t behaviour,
                            uint32_t flags)
{
    struct slm_buf pattern = {.allocator = im->v->allocator};
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '\0' && strchr("\\^$.|?*+()[]{}-&", text[i]))
            slm_buf_byte(&pattern, '\\');
        slm_buf_byte(&pattern, (uint8_t)text[i]);
    }
    int rc = slm_buf_ok(&pattern);
    if (rc == SLM_OK)
        rc =
            slm_vocab_add_step(im->v, (const char *)pattern.data, pattern.length, behaviour, flags);
    slm_buf_free(&pattern);
    return rc;
}

/* The general case: any pattern, or a text. */
static int read_split(struct importer *im, slm_json_node node)
{
    uint32_t behaviour;
    size_t n;
    slm_json_node pattern = member(im, node, "pattern");
    uint32_t flags = im->step_flags | (flag(im, node, "invert", false) ? SLM_SCAN_INVERT : 0);
    int rc = read_behaviour(im, node, &behaviour);
    if (rc < 0)
        return rc;
    const char *text = slm_json_string(im->doc, member(im, pattern, "Regex"), &n);
    if (text)
        return slm_vocab_add_step(im->v, text, n, behaviour, flags);
    text = slm_json_string(im->doc, member(im, pattern, "String"), &n);
    if (!text || n == 0)
        return slm_fail(SLM_EFORMAT, "tokenizer.json: a Split has neither a Regex nor a String");
    /* Once spaces are U+2581 there are none to be found. */
    if (im->v->meta_space && n == 1 && text[0] == ' ')
        return SLM_OK;
    return add_literal_step(im, text, n, behaviour, flags);
}

/* GPT-2's pattern, unless it was given as a Split before; and the printable alphabet from here on.
 */
static int read_byte_level(struct importer *im, slm_json_node node)
{
    im->byte_level = true;
    if (flag(im, node, "add_prefix_space", true)) {
        if (im->v->n_steps > 0 || im->step_flags)
            return unsupported("pre_tokenizer", "ByteLevel with add_prefix_space, not the first",
                               "ByteLevel with it as the first, or without it");
        int rc = slm_vocab_add_normal(im->v, SLM_NORMAL_PREPEND,
                                      SLM_NORMAL_LATE | SLM_PREPEND_UNLESS_THERE, " ", "");
        if (rc < 0)
            return rc;
    }
    int rc = SLM_OK;
    if (flag(im, node, "use_regex", true))
        rc = slm_vocab_add_step(im->v, slm_gpt2_pattern, strlen(slm_gpt2_pattern),
                                SLM_SCAN_ISOLATED, 0);
    im->step_flags = SLM_SCAN_BYTES; /* what comes behind it reads its alphabet */
    return rc;
}

/* SentencePiece's way as a pre-tokenizer: it comes after added tokens were found, so it is late. */
static int read_metaspace(struct importer *im, slm_json_node node)
{
    slm_json_node scheme = member(im, node, "prepend_scheme");
    bool always = is_text(im->doc, scheme, "always") ||
                  (scheme < 0 && flag(im, node, "add_prefix_space", true));
    bool first = is_text(im->doc, scheme, "first");
    if (!is_text(im->doc, member(im, node, "replacement"), META))
        return unsupported("Metaspace replacement", "other than U+2581", "U+2581");
    if (im->v->n_steps > 0)
        return unsupported("pre_tokenizer", "Metaspace that is not the first",
                           "Metaspace as the first");
    int rc = add_meta_space(im, SLM_NORMAL_LATE);
    if (rc == SLM_OK && (always || first))
        rc = slm_vocab_add_normal(im->v, SLM_NORMAL_PREPEND,
                                  SLM_NORMAL_LATE | SLM_PREPEND_UNLESS_THERE |
                                      (first ? SLM_PREPEND_FIRST_ONLY : 0),
                                  " ", "");
    if (rc == SLM_OK && flag(im, node, "split", true))
        rc = slm_vocab_add_step(im->v, META, strlen(META), SLM_SCAN_NEXT, im->step_flags);
    return rc;
}

/* Each becomes a pattern and a behaviour; there is nothing else that a step could be. */
static int read_pre_tokenizer(struct importer *im, slm_json_node node)
{
    static const char DIGIT[] = "\\p{N}", DIGITS[] = "\\p{N}+", WORDS[] = "\\w+|[^\\w\\s]+";
    static const char PUNCTUATION[] = "[\\p{P}$+<=>\\^`|~]", SPACE[] = "\\s";
    uint32_t behaviour;
    if (is_type(im, node, "ByteLevel"))
        return read_byte_level(im, node);
    if (is_type(im, node, "Split"))
        return read_split(im, node);
    if (is_type(im, node, "Metaspace"))
        return read_metaspace(im, node);
    if (is_type(im, node, "Digits")) {
        const char *pattern = flag(im, node, "individual_digits", false) ? DIGIT : DIGITS;
        return slm_vocab_add_step(im->v, pattern, strlen(pattern), SLM_SCAN_ISOLATED,
                                  im->step_flags);
    }
    if (is_type(im, node, "Punctuation")) {
        int rc = read_behaviour(im, node, &behaviour);
        return rc < 0 ? rc
                      : slm_vocab_add_step(im->v, PUNCTUATION, strlen(PUNCTUATION), behaviour,
                                           im->step_flags);
    }
    if (is_type(im, node, "Whitespace"))
        return slm_vocab_add_step(im->v, WORDS, strlen(WORDS), SLM_SCAN_REMOVED,
                                  SLM_SCAN_INVERT | im->step_flags);
    if (is_type(im, node, "WhitespaceSplit"))
        return slm_vocab_add_step(im->v, SPACE, strlen(SPACE), SLM_SCAN_REMOVED, im->step_flags);
    return unsupported("pre_tokenizer", type_of(im, node),
                       "ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace, "
                       "WhitespaceSplit, Sequence");
}

/* ------------------------------------------------------------- post-processor and decoder --- */

static int add_affix(struct importer *im, uint32_t id, bool before)
{
    uint32_t *list = before ? im->v->prefix : im->v->suffix;
    uint32_t *n = before ? &im->v->n_prefix : &im->v->n_suffix;
    if (id >= im->v->n_tokens || *n == SLM_TEXT_MAX_AFFIX)
        return slm_fail(SLM_EFORMAT,
                        "tokenizer.json: post_processor names token %u, which does not "
                        "exist, or more than %d tokens",
                        id, SLM_TEXT_MAX_AFFIX);
    list[(*n)++] = id;
    return SLM_OK;
}

/* "single": special tokens by name, and the place of the text ("A"). */
static int read_template(struct importer *im, slm_json_node node)
{
    slm_json_node names = member(im, node, "special_tokens"), list = member(im, node, "single");
    bool before = true;
    im->has_template = true;
    for (slm_json_node i = slm_json_first(im->doc, list); i >= 0; i = slm_json_next(im->doc, i)) {
        slm_json_node special = member(im, i, "SpecialToken");
        const char *name = slm_json_string(im->doc, member(im, special, "id"), NULL);
        if (special < 0 || !name) {
            before = false;
            continue;
        }
        slm_json_node ids = member(im, member(im, names, name), "ids");
        for (slm_json_node k = slm_json_first(im->doc, ids); k >= 0;
             k = slm_json_next(im->doc, k)) {
            int rc = add_affix(im, id_at(im->doc, k), before);
            if (rc < 0)
                return rc;
        }
    }
    return SLM_OK;
}

/* What stands before and after a single text. Pairs of texts are not our business. */
static int read_post_processor(struct importer *im, slm_json_node node)
{
    if (is_type(im, node, "ByteLevel"))
        return SLM_OK; /* offsets only */
    if (is_type(im, node, "TemplateProcessing"))
        return read_template(im, node);
    if (is_type(im, node, "BertProcessing") || is_type(im, node, "RobertaProcessing")) {
        uint32_t first = id_at(im->doc, slm_json_at(im->doc, member(im, node, "cls"), 1));
        uint32_t last = id_at(im->doc, slm_json_at(im->doc, member(im, node, "sep"), 1));
        im->has_template = true;
        int rc = add_affix(im, first, true);
        return rc < 0 ? rc : add_affix(im, last, false);
    }
    return unsupported(
        "post_processor", type_of(im, node),
        "ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing, Sequence");
}

/* Most of it follows from the vocabulary; what remains is which space goes, and what bad bytes
 * become. */
static int read_decoder(struct importer *im, slm_json_node node)
{
    if (is_type(im, node, "ByteLevel")) {
        im->byte_level = true;
        return SLM_OK;
    }
    if (is_type(im, node, "ByteFallback")) {
        im->v->flags |= SLM_TEXT_BAD_BYTES_SINGLE;
        return SLM_OK;
    }
    if (is_type(im, node, "Fuse"))
        return SLM_OK;
    if (is_type(im, node, "Replace") && im->v->meta_space &&
        is_text(im->doc, member(im, member(im, node, "pattern"), "String"), META) &&
        is_text(im->doc, member(im, node, "content"), " "))
        return SLM_OK;
    if (is_type(im, node, "Strip") && is_text(im->doc, member(im, node, "content"), " ") &&
        slm_json_number(im->doc, member(im, node, "stop"), 0) == 0 &&
        slm_json_number(im->doc, member(im, node, "start"), 0) <= 1) {
        if (slm_json_number(im->doc, member(im, node, "start"), 0) == 1)
            im->v->flags |= SLM_TEXT_DROP_FIRST_SPACE;
        return SLM_OK;
    }
    if (is_type(im, node, "Metaspace")) {
        slm_json_node scheme = member(im, node, "prepend_scheme");
        if (scheme < 0 ? flag(im, node, "add_prefix_space", true)
                       : !is_text(im->doc, scheme, "never"))
            im->v->flags |= SLM_TEXT_DROP_FIRST_SPACES;
        return SLM_OK;
    }
    return unsupported("decoder", type_of(im, node),
                       "ByteLevel, ByteFallback, Fuse, Metaspace, Replace of U+2581, Strip of one "
                       "space, Sequence");
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
    if ((rc = each(im, member(im, 0, "normalizer"), "normalizers", read_normalizer)) < 0 ||
        (rc = each(im, member(im, 0, "pre_tokenizer"), "pretokenizers", read_pre_tokenizer)) < 0 ||
        (rc = each(im, member(im, 0, "post_processor"), "processors", read_post_processor)) < 0 ||
        (rc = each(im, member(im, 0, "decoder"), "decoders", read_decoder)) < 0)
        return rc;
    if ((rc = slm_vocab_read_configs(im->v, im->files, &im->index, im->has_template)) < 0)
        return rc;
    im->v->model = im->byte_level ? SLM_TEXT_BPE_BYTES : SLM_TEXT_BPE_CHARS;
    texts_to_bytes(im->v, im->byte_level);
    return slm_buf_ok(&im->v->pool);
}

int slm_vocab_from_json(struct slm_vocab *v, const struct slm_vocab_json *files)
{
    struct importer im = {.v = v, .files = files};
    int rc = slm_json_parse(&im.doc, files->tokenizer, files->tokenizer_length, v->allocator);
    if (rc < 0)
        slm_fail_in(rc, "tokenizer.json");
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
