/*
 * json_steps.c - what tokenizer.json does to a text before and after the model: its
 * normalizers, pre-tokenizers, post-processors and decoders.
 */
#include "vocab/json.h"

#include "source/quote.h"
#include "vocab/unicode.h"

#define META SLM_META_SPACE
#define NORMALIZERS                                                                                \
    "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Nmt, BertNormalizer, Precompiled, Strip, "     \
    "Prepend, Replace, Sequence"

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

static int add_map(struct importer *im, enum slm_unicode_mapping which, uint32_t flags)
{
    struct slm_buf rows = {.allocator = im->v->allocator};
    slm_unicode_mapping(&rows, which);
    return slm_vocab_add_map(im->v, flags, &rows);
}

/* SentencePiece's table of characters, in base64. */
static int read_charsmap(struct importer *im, slm_json_node node)
{
    struct slm_buf bytes = {.allocator = im->v->allocator};
    size_t n = 0;
    const char *text = slm_json_string(im->doc, member(im, node, "precompiled_charsmap"), &n);
    if (!text || n == 0)
        return SLM_OK; /* null: there is none */
    if (!slm_vocab_base64(&bytes, text, n)) {
        slm_buf_free(&bytes);
        return slm_fail(SLM_EFORMAT, "tokenizer.json: the precompiled charsmap is no base64");
    }
    int rc = slm_buf_ok(&bytes);
    if (rc == SLM_OK)
        rc = slm_vocab_add_charsmap(im->v, bytes.data, bytes.length, true);
    slm_buf_free(&bytes);
    return rc;
}

/* A text by another; or of patterns those that make one space, or U+2581, which is a space to us,
 * of several, or of any white space. */
static int read_replace(struct importer *im, slm_json_node node)
{
    slm_json_node pattern = member(im, node, "pattern"), regex = member(im, pattern, "Regex");
    const char *from = slm_json_string(im->doc, member(im, pattern, "String"), NULL);
    const char *to = slm_json_string(im->doc, member(im, node, "content"), NULL);
    bool white = is_text(im->doc, regex, "\\s+"),
         space = to && (!strcmp(to, " ") || !strcmp(to, META));
    if (space && (white || is_text(im->doc, regex, " {2,}") || is_text(im->doc, regex, " +"))) {
        int rc = white ? add_map(im, SLM_MAP_WHITE, 0) : SLM_OK;
        return rc < 0 ? rc
                      : slm_vocab_add_normal(im->v, SLM_NORMAL_SQUEEZE, SLM_SQUEEZE_INSIDE, "", "");
    }
    const char *unknown = slm_json_string(im->doc, regex, NULL);
    if (unknown)
        return slm_fail(
            SLM_EUNSUPPORTED,
            "tokenizer.json: normalizer Replace with the pattern %s is not supported; known are "
            "\"\\s+\", \" +\" and \" {2,}\" by a space",
            slm_quote(unknown, strlen(unknown)).text);
    if (!from || !*from || !to)
        return slm_fail(SLM_EFORMAT,
                        "tokenizer.json: normalizer Replace lacks its pattern or its content");
    if (strcmp(from, " ") == 0 && strcmp(to, META) == 0)
        return add_meta_space(im, 0);
    return add_normal(im, SLM_NORMAL_REPLACE, 0, from, to);
}

/* Each is a step; writing spaces as U+2581 becomes its opposite. */
static int read_normalizer(struct importer *im, slm_json_node node)
{
    if (is_type(im, node, "Precompiled"))
        return read_charsmap(im, node);
    if (is_type(im, node, "Strip")) {
        uint32_t sides = (flag(im, node, "strip_left", false) ? SLM_SQUEEZE_BEGIN : 0) |
                         (flag(im, node, "strip_right", false) ? SLM_SQUEEZE_END : 0);
        return sides ? slm_vocab_add_normal(im->v, SLM_NORMAL_SQUEEZE, sides, "", "") : SLM_OK;
    }
    static const struct {
        const char *name;
        uint32_t flags;
    } FORMS[] = {{"NFC", 0},
                 {"NFD", SLM_NORMAL_DECOMPOSED},
                 {"NFKC", SLM_NORMAL_COMPATIBLE},
                 {"NFKD", SLM_NORMAL_COMPATIBLE | SLM_NORMAL_DECOMPOSED}};
    for (size_t i = 0; i < sizeof(FORMS) / sizeof(FORMS[0]); i++)
        if (is_type(im, node, FORMS[i].name))
            return slm_vocab_add_normal(im->v, SLM_NORMAL_FORM, FORMS[i].flags, "", "");
    if (is_type(im, node, "Lowercase"))
        return add_map(im, SLM_MAP_LOWER, 0);
    if (is_type(im, node, "StripAccents"))
        return add_map(im, SLM_MAP_NO_MARKS, 0);
    if (is_type(im, node, "Nmt"))
        return add_map(im, SLM_MAP_NMT, 0);
    if (is_type(im, node, "BertNormalizer")) {
        bool lower = flag(im, node, "lowercase", true);
        return slm_vocab_bert_normal(im->v, flag(im, node, "clean_text", true),
                                     flag(im, node, "handle_chinese_chars", true),
                                     flag(im, node, "strip_accents", lower), lower);
    }
    if (is_type(im, node, "Prepend")) {
        const char *text = slm_json_string(im->doc, member(im, node, "prepend"), NULL);
        return add_normal(im, SLM_NORMAL_PREPEND, 0,
                          text && strcmp(text, META) == 0 ? " "
                          : text                          ? text
                                                          : "",
                          "");
    }
    if (is_type(im, node, "Replace"))
        return read_replace(im, node);
    return unsupported("normalizer", type_of(im, node), NORMALIZERS);
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

/* Behind WhitespaceSplit every word gets its U+2581. The same comes out when white space becomes
 * single spaces, one is put first, and those that a U+2581 follows vanish. */
static int read_metaspace_words(struct importer *im, slm_json_node node)
{
    im->v->n_steps = 0;
    im->v->meta_space = true;
    int rc = add_map(im, SLM_MAP_WHITE, SLM_NORMAL_LATE);
    if (rc == SLM_OK)
        rc = slm_vocab_add_normal(im->v, SLM_NORMAL_SQUEEZE, SLM_NORMAL_LATE, "", "");
    if (rc == SLM_OK)
        rc = slm_vocab_add_normal(im->v, SLM_NORMAL_PREPEND, SLM_NORMAL_LATE, " ", "");
    if (rc == SLM_OK)
        rc = slm_vocab_add_normal(im->v, SLM_NORMAL_REPLACE, SLM_NORMAL_LATE, " " META, META);
    if (rc == SLM_OK)
        rc = add_meta_space(im, SLM_NORMAL_LATE);
    if (rc == SLM_OK && flag(im, node, "split", true))
        rc = slm_vocab_add_step(im->v, META, strlen(META), SLM_SCAN_NEXT, im->step_flags);
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
    if (im->white_split && always)
        return read_metaspace_words(im, node);
    if (im->v->n_steps > 0)
        return unsupported("pre_tokenizer", "Metaspace that is not the first",
                           "Metaspace as the first, or behind WhitespaceSplit with the prefix "
                           "always");
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
    static const char PUNCTUATION[] = "[" SLM_PUNCTUATION_SET "]";
    static const char DIGIT[] = "\\p{N}", DIGITS[] = "\\p{N}+", WORDS[] = "\\w+|[^\\w\\s]+";
    static const char SPACE[] = "\\s";
    uint32_t behaviour;
    if (is_type(im, node, "ByteLevel"))
        return read_byte_level(im, node);
    if (is_type(im, node, "Split"))
        return read_split(im, node);
    if (is_type(im, node, "Metaspace"))
        return read_metaspace(im, node);
    if (is_type(im, node, "BertPreTokenizer"))
        return slm_vocab_add_step(im->v, slm_bert_pattern, strlen(slm_bert_pattern),
                                  SLM_SCAN_REMOVED, SLM_SCAN_INVERT | im->step_flags);
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
    bool first = im->v->n_steps == 0;
    im->white_split = false;
    if (is_type(im, node, "WhitespaceSplit")) {
        im->white_split = first;
        return slm_vocab_add_step(im->v, SPACE, strlen(SPACE), SLM_SCAN_REMOVED, im->step_flags);
    }
    return unsupported("pre_tokenizer", type_of(im, node),
                       "ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace, "
                       "WhitespaceSplit, BertPreTokenizer, Sequence");
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

/* "pair": the same with two places, and token types. Types that descend again are of models that are
 * not ours; then there is no pair. */
static int read_pair(struct importer *im, slm_json_node node)
{
    slm_json_node names = member(im, node, "special_tokens"), list = member(im, node, "pair");
    struct slm_vocab *v = im->v;
    bool fits = true;
    double before = 0;
    v->n_pair = 0;
    for (slm_json_node i = slm_json_first(im->doc, list); i >= 0 && fits; i = slm_json_next(im->doc, i)) {
        slm_json_node special = member(im, i, "SpecialToken"), text = member(im, i, "Sequence");
        slm_json_node item = special >= 0 ? special : text;
        double type = slm_json_number(im->doc, member(im, item, "type_id"), 0);
        fits = type == before || (type == 1 && before == 0);
        before = type;
        if (special < 0) {
            uint32_t place = is_text(im->doc, member(im, text, "id"), "B") ? SLM_PAIR_SECOND : SLM_PAIR_FIRST;
            fits = fits && !(place == SLM_PAIR_FIRST && type == 1) &&
                   slm_vocab_add_pair(v, &place, 1, type == 1);
            continue;
        }
        const char *name = slm_json_string(im->doc, member(im, special, "id"), NULL);
        slm_json_node ids = member(im, member(im, names, name ? name : ""), "ids");
        for (slm_json_node k = slm_json_first(im->doc, ids); k >= 0 && fits;
             k = slm_json_next(im->doc, k)) {
            uint32_t id = id_at(im->doc, k);
            fits = id < v->n_tokens && slm_vocab_add_pair(v, &id, 1, type == 1);
        }
    }
    uint32_t texts = 0, wanted = SLM_PAIR_FIRST;
    for (uint32_t i = 0; i < v->n_pair; i++)
        if ((v->pair[i] & ~SLM_PAIR_TYPE_1) >= SLM_PAIR_FIRST)
            texts += (v->pair[i] & ~SLM_PAIR_TYPE_1) == wanted++;
    if (!fits || texts != 2 || wanted != SLM_PAIR_SECOND + 1)
        v->n_pair = 0;
    return SLM_OK;
}

/* What stands before and after a text, and around two. */
static int read_post_processor(struct importer *im, slm_json_node node)
{
    if (is_type(im, node, "ByteLevel"))
        return SLM_OK; /* offsets only */
    if (is_type(im, node, "TemplateProcessing")) {
        int rc = read_template(im, node);
        return rc < 0 ? rc : read_pair(im, node);
    }
    if (is_type(im, node, "BertProcessing") || is_type(im, node, "RobertaProcessing")) {
        uint32_t first = id_at(im->doc, slm_json_at(im->doc, member(im, node, "cls"), 1));
        uint32_t last = id_at(im->doc, slm_json_at(im->doc, member(im, node, "sep"), 1));
        im->has_template = true;
        int rc = add_affix(im, first, true);
        if (rc < 0 || (rc = add_affix(im, last, false)) < 0)
            return rc;
        bool bert = is_type(im, node, "BertProcessing");
        slm_vocab_set_pair(im->v, last, bert ? 0 : 1, bert);
        return SLM_OK;
    }
    return unsupported(
        "post_processor", type_of(im, node),
        "ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing, Sequence");
}

static bool is_same(const struct slm_vocab *v, struct slm_vocab_text text, const char *other)
{
    return text.length == strlen(other) &&
           memcmp(v->pool.data + text.text, other, text.length) == 0;
}

/* Most of it follows from the vocabulary; what remains is which space goes, and what bad bytes
 * become. */
static int read_decoder(struct importer *im, slm_json_node node)
{
    if (is_type(im, node, "ByteLevel")) {
        im->byte_level = true;
        return SLM_OK;
    }
    if (is_type(im, node, "WordPiece")) {
        im->v->flags |= SLM_TEXT_SPACED_WORDS;
        im->v->cleanup = flag(im, node, "cleanup", true);
        const char *prefix = slm_json_string(im->doc, member(im, node, "prefix"), NULL);
        if (prefix && *prefix && !is_same(im->v, im->v->continuation, prefix))
            return unsupported("decoder WordPiece with prefix", prefix, "that of the model");
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
                       "ByteLevel, WordPiece, ByteFallback, Fuse, Metaspace, Replace of U+2581, "
                       "Strip of one space, Sequence");
}

int slm_tokenizer_json_steps(struct importer *im)
{
    int rc;
    if ((rc = each(im, member(im, 0, "normalizer"), "normalizers", read_normalizer)) < 0 ||
        (rc = each(im, member(im, 0, "pre_tokenizer"), "pretokenizers", read_pre_tokenizer)) < 0 ||
        (rc = each(im, member(im, 0, "post_processor"), "processors", read_post_processor)) < 0)
        return rc;
    if (!im->has_template) /* one behind the other */
        slm_vocab_set_pair(im->v, 0, 0, 1);
    return each(im, member(im, 0, "decoder"), "decoders", read_decoder);
}
