/*
 * bert.c - BERT's tokenizers where no tokenizer.json describes them: from vocab.txt, and
 * what GGUF has of the kind. Everything but the list of tokens is the same for all of them, but for
 * lower case and accents.
 */
#include "vocab/vocab.h"

#include "base/json.h"
#include "vocab/unicode.h"

#include <string.h>

const char slm_bert_pattern[] = "[" SLM_PUNCTUATION_SET "]|[^\\s" SLM_PUNCTUATION_SET "]+";

/* Cleaning comes first, lower case last, decomposing between them where accents are removed. */
int slm_vocab_bert_normal(struct slm_vocab *v, bool clean, bool space_chinese, bool strip_accents,
                          bool lower)
{
    struct slm_buf first = {.allocator = v->allocator}, last = {.allocator = v->allocator};
    int rc = SLM_OK;
    if (clean)
        slm_unicode_mapping(&first, SLM_MAP_CLEAN);
    if (space_chinese)
        slm_unicode_mapping(&first, SLM_MAP_SPACE_CHINESE);
    if (strip_accents)
        slm_unicode_mapping(&last, SLM_MAP_NO_ACCENTS);
    if (lower)
        slm_unicode_mapping(&last, SLM_MAP_LOWER);
    if (clean || space_chinese)
        rc = slm_vocab_add_map(v, 0, &first);
    if (rc == SLM_OK && strip_accents)
        rc = slm_vocab_add_normal(v, SLM_NORMAL_FORM, SLM_NORMAL_DECOMPOSED, "", "");
    if (rc == SLM_OK && (strip_accents || lower))
        return slm_vocab_add_map(v, 0, &last);
    slm_buf_free(&last);
    return rc;
}

/* A token that only the caller's markup writes, looked for as it is. */
static void make_special(struct slm_vocab *v, uint32_t id)
{
    if (id >= v->n_tokens || v->tokens[id].kind == 0)
        return;
    struct slm_vocab_token *token = &v->tokens[id];
    token->kind = id == v->unknown ? SLM_TOKEN_UNKNOWN : SLM_TOKEN_CONTROL;
    token->flags = SLM_ADDED_SPECIAL;
    token->added = true;
}

int slm_vocab_finish_bert(struct slm_vocab *v, bool strip_accents, bool lower)
{
    uint32_t first = v->named[SLM_NAMED_CLASSIFIER], last = v->named[SLM_NAMED_SEPARATOR];
    if (v->unknown >= v->n_tokens)
        return slm_fail(SLM_EFORMAT, "vocabulary of BERT: it has no unknown token ([UNK])");
    v->named[SLM_NAMED_UNKNOWN] = v->unknown;
    v->named[SLM_NAMED_PADDING] = v->padding;
    for (int i = 0; i < SLM_NAMED_COUNT; i++)
        make_special(v, v->named[i]);
    v->model = SLM_TEXT_WORDPIECE;
    v->flags = SLM_TEXT_SPACED_WORDS;
    v->cleanup = true;
    v->max_word = 100;
    v->continuation = slm_vocab_keep(v, "##", 2);
    v->n_prefix = v->n_suffix = 0;
    if (first < v->n_tokens)
        v->prefix[v->n_prefix++] = first;
    if (last < v->n_tokens)
        v->suffix[v->n_suffix++] = last;
    slm_vocab_set_pair(v, 0, 0, 1);
    int rc = slm_vocab_bert_normal(v, true, true, strip_accents, lower);
    if (rc == SLM_OK)
        rc = slm_vocab_add_step(v, slm_bert_pattern, strlen(slm_bert_pattern), SLM_SCAN_REMOVED,
                                SLM_SCAN_INVERT);
    return rc < 0 ? rc : slm_buf_ok(&v->pool);
}

/* ---------------------------------------------------------------------------- vocab.txt --- */

/* A token a line; its number is the line's. */
static int read_lines(struct slm_vocab *v, const char *text, size_t n)
{
    for (uint32_t id = 0; n > 0; id++) {
        const char *end = memchr(text, '\n', n);
        size_t line = end ? (size_t)(end - text) : n, length = line;
        while (length > 0 && text[length - 1] == '\r')
            length--;
        int rc = slm_vocab_set(v, id, text, length, SLM_TOKEN_NORMAL);
        if (rc < 0)
            return rc;
        v->tokens[id].in_model = true;
        line += end != NULL;
        text += line;
        n -= line;
    }
    return SLM_OK;
}

/* BERT's names for its special tokens, until a configuration says otherwise. */
static void find_special(struct slm_vocab *v, const struct slm_vocab_index *index)
{
    static const char *const TEXTS[SLM_NAMED_COUNT] = {
        [SLM_NAMED_UNKNOWN] = "[UNK]", [SLM_NAMED_SEPARATOR] = "[SEP]",
        [SLM_NAMED_PADDING] = "[PAD]", [SLM_NAMED_CLASSIFIER] = "[CLS]",
        [SLM_NAMED_MASK] = "[MASK]",
    };
    for (int i = 0; i < SLM_NAMED_COUNT; i++)
        if (TEXTS[i])
            v->named[i] = slm_vocab_find(index, TEXTS[i], strlen(TEXTS[i]));
    v->padding = v->named[SLM_NAMED_PADDING];
}

int slm_vocab_from_wordlist(struct slm_vocab *v, const char *text, size_t n,
                            const struct slm_vocab_json *files)
{
    struct slm_vocab_index index;
    struct slm_json *config = NULL;
    int rc = read_lines(v, text, n);
    if (rc == SLM_OK)
        rc = slm_vocab_index_init(&index, v, false);
    if (rc < 0)
        return rc;
    find_special(v, &index);
    if (files && files->tokenizer_config) {
        rc = slm_json_parse(&config, files->tokenizer_config, files->tokenizer_config_length,
                            v->allocator);
        if (rc < 0)
            slm_fail_in(rc, "tokenizer_config.json");
    }
    if (rc == SLM_OK && files)
        rc = slm_vocab_read_configs(v, files, &index, true);
    slm_vocab_index_free(&index);
    v->unknown = v->named[SLM_NAMED_UNKNOWN];
    bool lower = true, strip = true;
    if (config) {
        lower = slm_json_bool(config, slm_json_get(config, 0, "do_lower_case"), true);
        strip = slm_json_bool(config, slm_json_get(config, 0, "strip_accents"), lower);
    }
    slm_json_free(config);
    return rc < 0 ? rc : slm_vocab_finish_bert(v, strip, lower);
}
