/*
 * json.h - what the two halves of the reader of tokenizer.json share.
 */
#ifndef SLM_VOCAB_JSON_H
#define SLM_VOCAB_JSON_H

#include "base/json.h"
#include "vocab/vocab.h"

#include <string.h>

struct importer {
    struct slm_vocab *v;
    struct slm_json *doc;    /* tokenizer.json */
    struct slm_json *config; /* tokenizer_config.json, or NULL */
    const struct slm_vocab_json *files;
    struct slm_vocab_index index; /* all tokens by their text as written */
    bool byte_level;              /* token texts are in GPT-2's printable alphabet */
    uint32_t step_flags;          /* SLM_SCAN_BYTES once ByteLevel was met */
    bool white_split;             /* the one step so far is WhitespaceSplit */
    bool has_template;            /* the post-processor said what comes before and after */
};

/* ------------------------------------------------------------------------------ helpers --- */

/* Whether a node is exactly this string. */
static inline bool is_text(const struct slm_json *doc, slm_json_node node, const char *text)
{
    size_t n;
    const char *value = slm_json_string(doc, node, &n);
    return value && n == strlen(text) && memcmp(value, text, n) == 0;
}

static inline bool is_type(const struct importer *im, slm_json_node node, const char *type)
{
    return is_text(im->doc, slm_json_get(im->doc, node, "type"), type);
}

static inline const char *type_of(const struct importer *im, slm_json_node node)
{
    const char *type = slm_json_string(im->doc, slm_json_get(im->doc, node, "type"), NULL);
    return type ? type : "(none)";
}

static inline slm_json_node member(const struct importer *im, slm_json_node node, const char *key)
{
    return slm_json_get(im->doc, node, key);
}

static inline bool flag(const struct importer *im, slm_json_node node, const char *key,
                        bool otherwise)
{
    return slm_json_bool(im->doc, slm_json_get(im->doc, node, key), otherwise);
}

/* Every refusal names what was found and what would have been understood. */
static inline int unsupported(const char *what, const char *type, const char *known)
{
    return slm_fail(SLM_EUNSUPPORTED, "tokenizer.json: %s \"%s\" is not supported; known are %s",
                    what, type, known);
}

/* A token id, if the node is one. */
static inline uint32_t id_at(const struct slm_json *doc, slm_json_node node)
{
    int64_t id;
    if (!slm_json_is_integer(doc, node, &id) || id < 0 || id >= SLM_LIMIT_VOCAB)
        return SLM_TEXT_NO_TOKEN;
    return (uint32_t)id;
}

/* Everything but the model and the added tokens: "normalizer", "pre_tokenizer", "post_processor"
 * and "decoder", in that order. */
int slm_tokenizer_json_steps(struct importer *im);

#endif
