/*
 * class.c - vocab.json and merges.txt: a vocabulary whose other half is code, a class of
 * transformers.
 *
 * The classes are rows of a table; with one of them the files are written as the tokenizer.json that
 * transformers would make of them, so that nothing else has to know such directories. Special tokens
 * are what tokenizer_config.json says, or before it had "added_tokens_decoder", special_tokens_map.json
 * and added_tokens.json; and what none of them names is the class's.
 */
#include "vocab/vocab.h"

#include "base/json.h"
#include "source/quote.h"

#include <stdio.h>
#include <string.h>

enum { MAX_ADDED = 4096 }; /* published models have some hundreds */

#define SPACES "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define SHORT_FORMS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define END_OF_TEXT(name) "\"" name "_token\":\"<|endoftext|>\""

/* clang-format off */
static const struct class {
    const char *names; /* each between two spaces: of classes, without "Fast"; of model_type */
    const char *normalizer;
    const char *pattern; /* NULL: GPT-2's */
    bool roberta;        /* <s> A </s> */
    const char *tokens;  /* what special tokens are called unless a file says otherwise */
} CLASSES[] = {
    {" GPT2Tokenizer CodeGenTokenizer gpt2 gpt_neo gptj opt phi codegen starcoder2 gpt_bigcode ", "null",
     NULL, false, "{" END_OF_TEXT("unk") "," END_OF_TEXT("bos") "," END_OF_TEXT("eos") "}"},
    {" GPTNeoXTokenizer gpt_neox mpt olmo olmoe mamba mamba2 falcon_mamba ", "{\"type\":\"NFC\"}", NULL,
     false, "{" END_OF_TEXT("unk") "," END_OF_TEXT("bos") "," END_OF_TEXT("eos")
            ",\"pad_token\":\"<|padding|>\"}"},
    {" RobertaTokenizer BartTokenizer LongformerTokenizer roberta bart longformer data2vec-text ibert ",
     "null", NULL, true,
     "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"sep_token\":\"</s>\",\"cls_token\":\"<s>\","
     "\"unk_token\":\"<unk>\",\"pad_token\":\"<pad>\",\"mask_token\":\"<mask>\"}"},
    {" Qwen2Tokenizer qwen2 qwen2_moe qwen3 qwen3_moe ", "{\"type\":\"NFC\"}",
     SHORT_FORMS "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|" SPACES,
     false, "{" END_OF_TEXT("unk") "," END_OF_TEXT("eos") "," END_OF_TEXT("pad") "}"},
    {" Qwen3_5Tokenizer qwen3_5 qwen3_5_text qwen3_5_moe ", "{\"type\":\"NFC\"}",
     SHORT_FORMS "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{L}\\\\p{M}]+|\\\\p{N}|"
     " ?[^\\\\s\\\\p{L}\\\\p{M}\\\\p{N}]+[\\\\r\\\\n]*|" SPACES,
     false, "{" END_OF_TEXT("unk") "," END_OF_TEXT("eos") "," END_OF_TEXT("pad") "}"},
};
/* clang-format on */
enum { N_CLASSES = sizeof CLASSES / sizeof CLASSES[0] };

/* A token that is looked for in the text before anything else. */
struct added {
    const char *text;
    size_t n;
    uint32_t id;
};

struct maker {
    struct slm_buf *out;
    const struct slm_json *vocabulary;
    struct slm_json *config, *special, *more, *model, *defaults; /* NULL: not there */
    const struct class *class;
    uint32_t next;         /* the first id that is free */
    struct slm_buf tokens; /* struct added[] */
};

/* ---------------------------------------------------------------------------- the class --- */

static const char *text_of(const struct slm_json *doc, const char *key, size_t *n)
{
    *n = 0;
    return doc ? slm_json_string(doc, slm_json_get(doc, 0, key), n) : NULL;
}

static const struct class *find_class(const char *name, size_t n)
{
    if (n > 4 && memcmp(name + n - 4, "Fast", 4) == 0)
        n -= 4;
    for (size_t i = 0; n > 0 && !memchr(name, ' ', n) && i < N_CLASSES; i++)
        for (const char *at = CLASSES[i].names; at[1]; at = strchr(at + 1, ' '))
            if (strncmp(at + 1, name, n) == 0 && at[1 + n] == ' ')
                return &CLASSES[i];
    return NULL;
}

/* As transformers looks for it; a vocabulary that comes alone is GPT-2's, who had them first. */
static int choose_class(struct maker *m)
{
    const struct slm_json *const docs[] = {m->model, m->model, m->config};
    static const char *const KEYS[] = {"model_type", "tokenizer_class", "tokenizer_class"};
    const char *name = NULL;
    size_t n = 0;
    for (int i = 2; i >= 0 && !m->class; i--) {
        size_t length;
        const char *found = text_of(docs[i], KEYS[i], &length);
        m->class = found ? find_class(found, length) : NULL;
        n = name ? n : length;
        name = name ? name : found;
    }
    if (!name && slm_json_get(m->vocabulary, 0, "<|endoftext|>") >= 0)
        m->class = &CLASSES[0];
    if (m->class)
        return SLM_OK;
    return slm_fail(SLM_EUNSUPPORTED,
                    "vocab.json: how it is used is not known%s%s (tokenizer_class in tokenizer_config.json or "
                    "config.json, or model_type); known are GPT2Tokenizer, GPTNeoXTokenizer, "
                    "RobertaTokenizer, Qwen2Tokenizer and Qwen3_5Tokenizer: with transformers save it as "
                    "tokenizer.json",
                    name ? " of " : "", name ? slm_quote(name, n).text : "");
}

/* ------------------------------------------------------------------------- added tokens --- */

static uint32_t id_at(const struct slm_json *doc, slm_json_node node)
{
    int64_t id;
    bool valid = slm_json_is_integer(doc, node, &id) && id >= 0 && id < SLM_LIMIT_VOCAB;
    return valid ? (uint32_t)id : SLM_TEXT_NO_TOKEN;
}

static const struct added *find_added(const struct maker *m, const char *text, size_t n)
{
    const struct added *list = (const void *)m->tokens.data;
    for (size_t i = 0; i < m->tokens.length / sizeof *list; i++)
        if (list[i].n == n && memcmp(list[i].text, text, n) == 0)
            return &list[i];
    return NULL;
}

static void put_flag(struct slm_buf *out, const char *name, bool value)
{
    slm_buf_text(out, ",\"");
    slm_buf_text(out, name);
    slm_buf_text(out, value ? "\":true" : "\":false");
}

/* One more: `node` of `doc` is its text, or an object with its flags. id: what it has if it is not of
 * the vocabulary; SLM_TEXT_NO_TOKEN: the next. What was added before stays as it is. */
static int add(struct maker *m, const struct slm_json *doc, slm_json_node node, const char *text,
               size_t n, uint32_t id, bool special)
{
    static const char *const FLAGS[] = {"lstrip", "rstrip", "single_word"};
    if (!text || n == 0 || memchr(text, 0, n) || find_added(m, text, n))
        return SLM_OK;
    if (m->tokens.length / sizeof(struct added) == MAX_ADDED)
        return slm_fail(SLM_ELIMIT, "tokenizer_config.json: more than %d added tokens", MAX_ADDED);
    uint32_t own = id_at(m->vocabulary, slm_json_get(m->vocabulary, 0, text));
    if (own != SLM_TEXT_NO_TOKEN)
        id = own;
    if (id == SLM_TEXT_NO_TOKEN)
        id = m->next;
    m->next = id >= m->next ? id + 1 : m->next;
    struct added token = {text, n, id};
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)id);
    slm_buf_text(m->out, m->tokens.length ? ",{\"id\":" : "{\"id\":");
    slm_buf_text(m->out, number);
    slm_buf_text(m->out, ",\"content\":");
    slm_json_write_string(m->out, text, n);
    put_flag(m->out, "special", special);
    put_flag(m->out, "normalized",
             slm_json_bool(doc, slm_json_get(doc, node, "normalized"), !special));
    for (size_t i = 0; i < sizeof FLAGS / sizeof FLAGS[0]; i++)
        put_flag(m->out, FLAGS[i], slm_json_bool(doc, slm_json_get(doc, node, FLAGS[i]), false));
    slm_buf_byte(m->out, '}');
    slm_buf_append(&m->tokens, &token, sizeof token);
    return slm_buf_ok(&m->tokens);
}

/* A text, or an object with "content". */
static const char *content(const struct slm_json *doc, slm_json_node node, size_t *n)
{
    slm_json_node inner = slm_json_get(doc, node, "content");
    *n = 0;
    return slm_json_string(doc, inner >= 0 ? inner : node, n);
}

/* {"50257": {"content": "<|im_end|>", "special": true...}...} */
static int add_decoder(struct maker *m, slm_json_node list)
{
    int rc = SLM_OK;
    for (slm_json_node i = slm_json_first(m->config, list); i >= 0 && rc == SLM_OK;
         i = slm_json_next(m->config, i)) {
        size_t n, digits;
        uint32_t id = 0;
        const char *key = slm_json_key(m->config, i, &digits);
        for (size_t k = 0; k < digits && id < SLM_LIMIT_VOCAB; k++)
            id = key[k] >= '0' && key[k] <= '9' ? id * 10 + (uint32_t)(key[k] - '0') : SLM_LIMIT_VOCAB;
        const char *text = content(m->config, i, &n);
        if (digits > 0 && id < SLM_LIMIT_VOCAB)
            rc = add(m, m->config, i, text, n, id,
                     slm_json_bool(m->config, slm_json_get(m->config, i, "special"), false));
    }
    return rc;
}

/* Whether one of the named tokens, or of a list, is this text. */
static bool is_special(const struct maker *m, const char *text, size_t n);

/* {"<|im_end|>": 50257...} */
static int add_encoder(struct maker *m)
{
    int rc = SLM_OK;
    slm_json_node i = m->more ? slm_json_first(m->more, 0) : -1;
    for (; i >= 0 && rc == SLM_OK; i = slm_json_next(m->more, i)) {
        size_t n;
        const char *text = slm_json_key(m->more, i, &n);
        rc = add(m, m->more, -1, text, n, id_at(m->more, i), is_special(m, text, n));
    }
    return rc;
}

/* Call `use` for each special token that has a name, and for those of lists. */
typedef int (*token_fn)(void *user, const struct slm_json *doc, slm_json_node node);

static int for_special(const struct maker *m, token_fn use, void *user)
{
    static const char *const NAMES[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    static const char *const LISTS[] = {"extra_special_tokens", "additional_special_tokens"};
    const struct slm_json *docs[] = {m->special, m->config, m->defaults};
    int rc = SLM_OK;
    for (size_t k = 0; k < sizeof NAMES / sizeof NAMES[0] && rc == SLM_OK; k++) {
        slm_json_node node = -1;
        size_t d = 0;
        while (d < 3 && (!docs[d] || (node = slm_json_get(docs[d], 0, NAMES[k])) < 0))
            d++;
        if (node >= 0)
            rc = use(user, docs[d], node);
    }
    for (size_t d = 0; d < 2; d++)
        for (size_t k = 0; docs[d] && k < 2; k++) {
            slm_json_node list = slm_json_get(docs[d], 0, LISTS[k]);
            for (slm_json_node i = slm_json_first(docs[d], list); i >= 0 && rc == SLM_OK;
                 i = slm_json_next(docs[d], i))
                rc = use(user, docs[d], i);
        }
    return rc;
}

struct sought {
    const char *text;
    size_t n;
};

static int compare(void *user, const struct slm_json *doc, slm_json_node node)
{
    const struct sought *s = user;
    size_t n;
    const char *text = content(doc, node, &n);
    return text && n == s->n && memcmp(text, s->text, n) == 0;
}

static bool is_special(const struct maker *m, const char *text, size_t n)
{
    struct sought s = {text, n};
    return for_special(m, compare, &s) != 0;
}

static int add_special(void *user, const struct slm_json *doc, slm_json_node node)
{
    size_t n;
    const char *text = content(doc, node, &n);
    return add(user, doc, node, text, n, SLM_TEXT_NO_TOKEN, true);
}

static int put_added(struct maker *m)
{
    slm_json_node list = m->config ? slm_json_get(m->config, 0, "added_tokens_decoder") : -1;
    slm_buf_text(m->out, "{\"added_tokens\":[");
    int rc = list >= 0 ? add_decoder(m, list) : add_encoder(m);
    if (rc == SLM_OK)
        rc = for_special(m, add_special, m);
    slm_buf_text(m->out, "]");
    return rc;
}

/* --------------------------------------------------------------------------- the others --- */

static void put_token(struct maker *m, const char *key, const char *name)
{
    const struct slm_json *docs[] = {m->special, m->config, m->defaults};
    const struct added *token = NULL;
    for (size_t d = 0, n; d < 3 && !token; d++) {
        const char *text = docs[d] ? content(docs[d], slm_json_get(docs[d], 0, name), &n) : NULL;
        token = text ? find_added(m, text, n) : NULL;
    }
    char number[24];
    snprintf(number, sizeof number, ",%lld]", token ? (long long)token->id : -1);
    slm_buf_text(m->out, key);
    slm_json_write_string(m->out, token ? token->text : "", token ? token->n : 0);
    slm_buf_text(m->out, number);
}

/* A merge a line; the first may say which version the file has. */
static int put_merges(struct maker *m, const char *text, size_t n)
{
    size_t number = 0;
    bool first = true;
    slm_buf_text(m->out, ",\"merges\":[");
    for (; n > 0; number++) {
        const char *end = memchr(text, '\n', n);
        size_t line = end ? (size_t)(end - text) : n, length = line;
        while (length > 0 && text[length - 1] == '\r')
            length--;
        if (length > 0 && !(length >= 8 && memcmp(text, "#version", 8) == 0)) {
            const char *space = memchr(text, ' ', length);
            if (!space || space == text || space + 1 == text + length ||
                memchr(space + 1, ' ', length - (size_t)(space + 1 - text)))
                return slm_fail(SLM_EFORMAT, "merges.txt: line %zu is no pair of texts: %s", number + 1,
                                slm_quote(text, length).text);
            slm_buf_text(m->out, first ? "" : ",");
            slm_json_write_string(m->out, text, length);
            first = false;
        }
        line += end != NULL;
        text += line;
        n -= line;
    }
    slm_buf_text(m->out, "]");
    return SLM_OK;
}

static void put_steps(struct maker *m)
{
    bool prefix = m->config && slm_json_bool(m->config, slm_json_get(m->config, 0, "add_prefix_space"),
                                             false);
    struct slm_buf *out = m->out;
    slm_buf_text(out, ",\"normalizer\":");
    slm_buf_text(out, m->class->normalizer);
    slm_buf_text(out, ",\"pre_tokenizer\":");
    if (m->class->pattern) {
        slm_buf_text(out, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":"
                          "\"Isolated\",\"invert\":false,\"pattern\":{\"Regex\":\"");
        slm_buf_text(out, m->class->pattern);
        slm_buf_text(out, "\"}},");
    }
    slm_buf_text(out, "{\"type\":\"ByteLevel\"");
    put_flag(out, "add_prefix_space", prefix);
    put_flag(out, "use_regex", !m->class->pattern);
    slm_buf_text(out, m->class->pattern ? "}]}" : "}");
    slm_buf_text(out, ",\"decoder\":{\"type\":\"ByteLevel\"},\"post_processor\":");
    if (m->class->roberta) {
        put_token(m, "{\"type\":\"RobertaProcessing\",\"sep\":[", "sep_token");
        put_token(m, ",\"cls\":[", "cls_token");
    }
    slm_buf_text(out, m->class->roberta ? "}" : "null");
}

/* The highest id of the vocabulary. */
static int find_next(struct maker *m)
{
    if (slm_json_type(m->vocabulary, 0) != JSON_OBJECT)
        return slm_fail(SLM_EFORMAT, "vocab.json: it is no object of texts and ids");
    for (slm_json_node i = slm_json_first(m->vocabulary, 0); i >= 0;
         i = slm_json_next(m->vocabulary, i)) {
        uint32_t id = id_at(m->vocabulary, i);
        size_t n;
        const char *text = slm_json_key(m->vocabulary, i, &n);
        if (id == SLM_TEXT_NO_TOKEN)
            return slm_fail(SLM_EFORMAT, "vocab.json: the id of %s is no number from 0 to %d",
                            slm_quote(text, n).text, SLM_LIMIT_VOCAB - 1);
        m->next = id >= m->next ? id + 1 : m->next;
    }
    return SLM_OK;
}

/* Files that were written on Windows often begin with a byte order mark. What goes on as it is must
 * not have it. */
static const char *without_mark(const char *text, size_t *n)
{
    bool mark = *n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0;
    *n -= mark ? 3 : 0;
    return mark ? text + 3 : text;
}

static int make(struct maker *m, const struct slm_vocab_json *files)
{
    size_t length = files->tokenizer_length, n_merges = files->merges_length;
    int rc = find_next(m);
    if (rc < 0 || (rc = choose_class(m)) < 0)
        return rc;
    if (!files->merges)
        return slm_fail(SLM_EFORMAT, "vocab.json: there is no merges.txt beside it");
    rc = slm_json_parse(&m->defaults, m->class->tokens, strlen(m->class->tokens), m->out->allocator);
    if (rc < 0 || (rc = put_added(m)) < 0)
        return rc;
    put_steps(m);
    slm_buf_text(m->out, ",\"model\":{\"type\":\"BPE\",\"vocab\":");
    const char *vocabulary = without_mark(files->tokenizer, &length);
    slm_buf_append(m->out, vocabulary, length);
    const char *merges = without_mark(files->merges, &n_merges);
    rc = put_merges(m, merges, n_merges);
    slm_buf_text(m->out, "}}");
    return rc < 0 ? rc : slm_buf_ok(m->out);
}

static int parse(struct slm_json **doc, const char *text, size_t n, const char *name,
                 const slm_allocator *a)
{
    int rc = text ? slm_json_parse(doc, text, n, a) : SLM_OK;
    return rc < 0 ? slm_fail_in(rc, "%s", name) : SLM_OK;
}

int slm_vocab_json_of_class(struct slm_buf *out, const struct slm_json *vocabulary,
                            const struct slm_vocab_json *files, const char **tokens)
{
    const slm_allocator *a = out->allocator;
    struct maker m = {.out = out, .vocabulary = vocabulary, .tokens.allocator = a};
    int rc = parse(&m.config, files->tokenizer_config, files->tokenizer_config_length,
                   "tokenizer_config.json", a);
    if (rc == SLM_OK)
        rc = parse(&m.model, files->config, files->config_length, "config.json", a);
    bool old = !m.config || slm_json_get(m.config, 0, "added_tokens_decoder") < 0;
    if (rc == SLM_OK && old)
        rc = parse(&m.special, files->special_tokens, files->special_tokens_length,
                   "special_tokens_map.json", a);
    if (rc == SLM_OK && old)
        rc = parse(&m.more, files->added_tokens, files->added_tokens_length, "added_tokens.json", a);
    if (rc == SLM_OK)
        rc = make(&m, files);
    *tokens = m.class ? m.class->tokens : NULL;
    slm_json_free(m.config);
    slm_json_free(m.model);
    slm_json_free(m.special);
    slm_json_free(m.more);
    slm_json_free(m.defaults);
    slm_buf_free(&m.tokens);
    return rc;
}
