/*
 * config.c - what tokenizer_config.json and generation_config.json say about special
 * tokens: which begin and end a text, and which end an answer.
 */
#include "vocab/vocab.h"

#include "base/json.h"

#include <string.h>

struct configs {
    struct slm_vocab *v;
    const struct slm_vocab_index *index;
    struct slm_json *tokenizer, *generation; /* NULL: not there */
    /* special_tokens_map.json counts before tokenizer_config.json, unless that is of the newer kind;
     * what neither of them names is the class's. */
    struct slm_json *special, *class;
};

/* A token by its text, which is a string or an object with "content". */
static uint32_t named(const struct configs *c, const char *key)
{
    const struct slm_json *const docs[] = {c->special, c->tokenizer, c->class};
    for (int i = 0; i < 3; i++) {
        slm_json_node node = docs[i] ? slm_json_get(docs[i], 0, key) : -1;
        if (node < 0)
            continue;
        size_t n;
        if (slm_json_type(docs[i], node) == JSON_OBJECT)
            node = slm_json_get(docs[i], node, "content");
        const char *text = slm_json_string(docs[i], node, &n);
        return text && n > 0 ? slm_vocab_find(c->index, text, n) : SLM_TEXT_NO_TOKEN;
    }
    return SLM_TEXT_NO_TOKEN;
}

/* What a file does not name stays as it was. */
static void set(uint32_t *id, uint32_t value)
{
    if (value != SLM_TEXT_NO_TOKEN)
        *id = value;
}

/* The class without a mind of its own: tokenizer.json alone decides. */
static bool is_generic(const struct configs *c)
{
    static const char *const GENERIC[] = {"PreTrainedTokenizerFast", "TokenizersBackend"};
    size_t n;
    slm_json_node node = slm_json_get(c->tokenizer, 0, "tokenizer_class");
    const char *name = slm_json_string(c->tokenizer, node, &n);
    for (int i = 0; i < 2; i++)
        if (name && n == strlen(GENERIC[i]) && memcmp(name, GENERIC[i], n) == 0)
            return true;
    return false;
}

static void read_tokenizer(struct configs *c, bool has_template)
{
    struct slm_vocab *v = c->v;
    set(&v->bos, named(c, "bos_token"));
    set(&v->eos, named(c, "eos_token"));
    set(&v->padding, named(c, "pad_token"));
    static const char *const NAMES[SLM_NAMED_COUNT] = {
        [SLM_NAMED_UNKNOWN] = "unk_token", [SLM_NAMED_SEPARATOR] = "sep_token",
        [SLM_NAMED_PADDING] = "pad_token", [SLM_NAMED_CLASSIFIER] = "cls_token",
        [SLM_NAMED_MASK] = "mask_token",
    };
    for (int i = 0; i < SLM_NAMED_COUNT; i++)
        if (NAMES[i])
            set(&v->named[i], named(c, NAMES[i]));
    slm_vocab_add_stop(v, v->eos);
    if (!c->tokenizer)
        return;
    /* Tokenizer classes of their own build what comes before and after from these two, whatever
     * tokenizer.json says. */
    slm_json_node bos = slm_json_get(c->tokenizer, 0, "add_bos_token");
    slm_json_node eos = slm_json_get(c->tokenizer, 0, "add_eos_token");
    if (bos < 0 || (has_template && is_generic(c)))
        return;
    v->n_prefix = v->n_suffix = 0;
    if (slm_json_bool(c->tokenizer, bos, false) && v->bos != SLM_TEXT_NO_TOKEN)
        v->prefix[v->n_prefix++] = v->bos;
    if (slm_json_bool(c->tokenizer, eos, false) && v->eos != SLM_TEXT_NO_TOKEN)
        v->suffix[v->n_suffix++] = v->eos;
    slm_vocab_set_pair(v, v->bos, v->n_prefix, 1);
}

/* Ids that the tokenizer does not have are ignored: configurations are often copied from elsewhere.
 */
static uint32_t id_at(const struct configs *c, slm_json_node node)
{
    int64_t id;
    if (!slm_json_is_integer(c->generation, node, &id) || id < 0 || id >= c->v->n_tokens)
        return SLM_TEXT_NO_TOKEN;
    return (uint32_t)id;
}

/* Ids come alone or as a list; the first of a list is the EOS. */
static void read_generation(struct configs *c)
{
    struct slm_vocab *v = c->v;
    slm_json_node eos = slm_json_get(c->generation, 0, "eos_token_id");
    bool list = slm_json_type(c->generation, eos) == JSON_ARRAY;
    slm_json_node i = list ? slm_json_first(c->generation, eos) : eos;
    if (v->eos == SLM_TEXT_NO_TOKEN)
        v->eos = id_at(c, i);
    if (v->bos == SLM_TEXT_NO_TOKEN)
        v->bos = id_at(c, slm_json_get(c->generation, 0, "bos_token_id"));
    if (!list)
        slm_vocab_add_stop(v, id_at(c, eos));
    for (; list && i >= 0; i = slm_json_next(c->generation, i))
        slm_vocab_add_stop(v, id_at(c, i));
}

static int parse(struct slm_json **doc, const char *text, size_t n, const char *name,
                 const slm_allocator *a)
{
    int rc = text ? slm_json_parse(doc, text, n, a) : SLM_OK;
    return rc < 0 ? slm_fail_in(rc, "%s", name) : SLM_OK;
}

int slm_vocab_read_configs(struct slm_vocab *v, const struct slm_vocab_json *files,
                           const struct slm_vocab_index *index, bool has_template)
{
    struct configs c = {.v = v, .index = index};
    int rc = parse(&c.tokenizer, files->tokenizer_config, files->tokenizer_config_length,
                   "tokenizer_config.json", v->allocator);
    if (rc == SLM_OK)
        rc = parse(&c.generation, files->generation_config, files->generation_config_length,
                   "generation_config.json", v->allocator);
    if (rc == SLM_OK && (!c.tokenizer || slm_json_get(c.tokenizer, 0, "added_tokens_decoder") < 0))
        rc = parse(&c.special, files->special_tokens, files->special_tokens_length,
                   "special_tokens_map.json", v->allocator);
    if (rc == SLM_OK)
        rc = parse(&c.class, files->class_tokens, files->class_tokens ? strlen(files->class_tokens) : 0,
                   "special tokens", v->allocator);
    if (rc == SLM_OK && (c.tokenizer || c.special || c.class))
        read_tokenizer(&c, has_template);
    if (rc == SLM_OK && c.generation)
        read_generation(&c);
    slm_json_free(c.tokenizer);
    slm_json_free(c.generation);
    slm_json_free(c.special);
    slm_json_free(c.class);
    return rc;
}
