/*
 * ranks.c - vocabularies that are lists of byte strings and their ranks: tiktoken's files
 * (Qwen 1, the original Llama 3, cl100k, o200k) and Mistral's tekken.json.
 *
 * Two neighbours merge to the token of the lowest rank that any two make, so a rank is a score with
 * the other sign. Such files say little else. How a text is cut and which tokens are special is known
 * by how many ranks there are, which has told them apart so far; special tokens in
 * tokenizer_config.json count before that.
 */
#include "vocab/vocab.h"

#include "base/json.h"
#include "source/quote.h"

#include <stdio.h>
#include <string.h>

static const struct known {
    uint32_t n;          /* ranks */
    const char *name;    /* as messages call it */
    const char *steps;   /* the name that GGUF has for how texts are cut */
    uint32_t first;      /* id of the first special token */
    const char *special; /* in order, each before a space; "*9" before one: that many of it, where #
                            is the number, counted on; "+9 ": that many ids without a token */
    const char *bos, *eos, *stop;
    bool add_bos;
} KNOWN[] = {
    {50256, "r50k", "gpt-2", 50256, "<|endoftext|> ", NULL, "<|endoftext|>", NULL, false},
    {50280, "p50k", "gpt-2", 50256, "<|endoftext|> ", NULL, "<|endoftext|>", NULL, false},
    {100256, "cl100k", "dbrx", 100257,
     "<|endoftext|> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> +15 <|endofprompt|> ", NULL,
     "<|endoftext|>", NULL, false},
    {199998, "o200k", "gpt-4o", 199999, "<|endoftext|> +18 <|endofprompt|> ", NULL, "<|endoftext|>",
     NULL, false},
    {128000, "Llama 3", "llama-bpe", 128000,
     "<|begin_of_text|> <|end_of_text|> *4<|reserved_special_token_#|> <|start_header_id|> "
     "<|end_header_id|> *1<|reserved_special_token_#|> <|eot_id|> *246<|reserved_special_token_#|> ",
     "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", true},
    {151643, "Qwen", "qwen2", 151643, "<|endoftext|> <|im_start|> <|im_end|> *205<|extra_#|> ", NULL,
     "<|endoftext|>", "<|im_end|>", false},
};
enum { N_KNOWN = sizeof KNOWN / sizeof KNOWN[0] };

/* Of tekken.json, where older files don't list them. */
static const char TEKKEN[] =
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] "
    "[TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] "
    "[/SYSTEM_PROMPT] [TOOL_CONTENT] ";

/* ------------------------------------------------------------------------------- tokens --- */

static int add_rank(struct slm_vocab *v, uint32_t id, const char *base64, size_t n)
{
    struct slm_buf bytes = {.allocator = v->allocator};
    if (!slm_vocab_base64(&bytes, base64, n) || bytes.length == 0) {
        slm_buf_free(&bytes);
        return slm_fail(SLM_EFORMAT, "token %u is no base64", (unsigned)id);
    }
    int rc = slm_buf_ok(&bytes);
    if (rc == SLM_OK && id < v->n_tokens && v->tokens[id].kind)
        rc = slm_fail(SLM_EFORMAT, "rank %u is there twice", (unsigned)id);
    if (rc == SLM_OK)
        rc = slm_vocab_set(v, id, bytes.data, bytes.length, SLM_TOKEN_NORMAL);
    if (rc == SLM_OK) {
        v->tokens[id].in_model = true;
        v->tokens[id].score = -(double)id;
    }
    slm_buf_free(&bytes);
    return rc;
}

/* A token without an id that something else has. */
static int add_special(struct slm_vocab *v, uint32_t id, const char *text, size_t n, bool special)
{
    if (n == 0)
        return SLM_OK;
    if (id < v->n_tokens && v->tokens[id].kind)
        return slm_fail(SLM_EFORMAT, "the id of the special token %s, %u, is another's",
                        slm_quote(text, n).text, (unsigned)id);
    int rc = slm_vocab_set(v, id, text, n, special ? SLM_TOKEN_CONTROL : SLM_TOKEN_USER);
    if (rc == SLM_OK) {
        v->tokens[id].added = true;
        v->tokens[id].flags = special ? SLM_ADDED_SPECIAL : 0;
    }
    return rc;
}

/* The list of a row of KNOWN. */
static int add_list(struct slm_vocab *v, uint32_t id, const char *list)
{
    unsigned counted = 0;
    int rc = SLM_OK;
    for (const char *end; *list && rc == SLM_OK; list = end + 1) {
        unsigned times = 1;
        int used = 0;
        end = strchr(list, ' ');
        if (sscanf(list, "+%u", &times) == 1) {
            id += times;
            continue;
        }
        sscanf(list, "*%u%n", &times, &used);
        const char *name = list + used, *hole = memchr(name, '#', (size_t)(end - name));
        for (; times > 0 && rc == SLM_OK; times--, id++) {
            char text[64];
            if (hole)
                snprintf(text, sizeof text, "%.*s%u%.*s", (int)(hole - name), name, counted++,
                         (int)(end - hole - 1), hole + 1);
            else
                snprintf(text, sizeof text, "%.*s", (int)(end - name), name);
            rc = add_special(v, id, text, strlen(text), true);
        }
    }
    return rc;
}

static uint32_t find(const struct slm_vocab_index *index, const char *text)
{
    return text ? slm_vocab_find(index, text, strlen(text)) : SLM_TEXT_NO_TOKEN;
}

/* What byte-level vocabularies have in common. */
static void finish(struct slm_vocab *v)
{
    v->model = SLM_TEXT_BPE_BYTES;
    v->flags = SLM_TEXT_STRICT_SYMBOLS;
    v->by_score = true;
    v->ignore_merges = true;
}

/* ----------------------------------------------------------------------------- tiktoken --- */

/* "IQ== 0\n": base64, a space, digits. */
static size_t rank_line(const char *text, size_t n, size_t *base64, uint32_t *rank)
{
    size_t at = 0;
    while (at < n && slm_vocab_base64_digit(text[at]) >= 0)
        at++;
    while (at < n && at % 4 != 0 && text[at] == '=')
        at++;
    *base64 = at;
    if (at == 0 || at == n || text[at++] != ' ')
        return 0;
    size_t digits = at;
    for (*rank = 0; at < n && text[at] >= '0' && text[at] <= '9' && *rank < SLM_LIMIT_VOCAB; at++)
        *rank = *rank * 10 + (uint32_t)(text[at] - '0');
    bool whole = at > digits && *rank < SLM_LIMIT_VOCAB;
    at += at < n && text[at] == '\r';
    return whole && (at == n || text[at] == '\n') ? at + 1 : 0;
}

bool slm_vocab_are_ranks(const void *data, size_t n)
{
    size_t base64, line;
    uint32_t rank;
    const char *text = data;
    for (int i = 0; i < 3 && n > 0; i++) { /* a wordlist may begin with a line like that */
        line = rank_line(text, n, &base64, &rank);
        if (line == 0)
            return false;
        line = line < n ? line : n;
        text += line;
        n -= line;
    }
    return data != text;
}

/* Tokens of "added_tokens_decoder", which transformers all takes for special; ids below the highest
 * that have none are reserved. Returns how many, or an error. */
static int add_configured(struct slm_vocab *v, const struct slm_json *config, uint32_t n_ranks)
{
    slm_json_node list = slm_json_get(config, 0, "added_tokens_decoder");
    int n_added = 0;
    for (slm_json_node i = slm_json_first(config, list); i >= 0; i = slm_json_next(config, i)) {
        size_t digits, n;
        unsigned id;
        char number[16] = "";
        const char *key = slm_json_key(config, i, &digits);
        const char *text = slm_json_string(config, slm_json_get(config, i, "content"), &n);
        memcpy(number, key, digits < 8 ? digits : 0);
        if (!text || sscanf(number, "%u", &id) != 1 || id < n_ranks)
            continue;
        int rc = add_special(v, id, text, n, true);
        if (rc < 0)
            return slm_fail_in(rc, "tokenizer_config.json");
        n_added++;
    }
    uint32_t end = v->n_tokens;
    for (uint32_t id = n_ranks; n_added && id < end; id++) {
        char text[48];
        snprintf(text, sizeof text, "<|reserved_token_%u|>", (unsigned)id);
        if (v->tokens[id].kind)
            continue;
        int rc = add_special(v, id, text, strlen(text), true);
        if (rc < 0)
            return rc;
    }
    return n_added;
}

static const struct known *find_known(uint32_t n)
{
    for (size_t i = 0; i < N_KNOWN; i++)
        if (KNOWN[i].n == n)
            return &KNOWN[i];
    return NULL;
}

static int unknown(uint32_t n)
{
    char list[256];
    size_t at = 0;
    for (size_t i = 0; i < N_KNOWN && at < sizeof list; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s (%u)", i ? ", " : "", KNOWN[i].name,
                               (unsigned)KNOWN[i].n);
    return slm_fail(SLM_EUNSUPPORTED,
                    "%u ranks, and no tokenizer_config.json with added_tokens_decoder: how texts are cut "
                    "is not known; known are %s",
                    (unsigned)n, list);
}

static int read_lines(struct slm_vocab *v, const char *text, size_t n, uint32_t *n_ranks)
{
    size_t base64 = 0;
    uint32_t rank = 0;
    for (*n_ranks = 0; n > 0; (*n_ranks)++) {
        size_t line = rank_line(text, n, &base64, &rank);
        if (line == 0)
            return slm_fail(SLM_EFORMAT, "ranks: line %u is no base64, a space and a number",
                            (unsigned)*n_ranks + 1);
        int rc = add_rank(v, rank, text, base64);
        if (rc < 0)
            return slm_fail_in(rc, "ranks: line %u", (unsigned)*n_ranks + 1);
        line = line < n ? line : n;
        text += line;
        n -= line;
    }
    return SLM_OK;
}

/* What configurations say goes before what the file is known by. */
static int read_specials(struct slm_vocab *v, const struct slm_vocab_json *files, uint32_t n_ranks)
{
    struct slm_json *config = NULL;
    const struct known *known = find_known(n_ranks);
    int rc = SLM_OK;
    if (files && files->tokenizer_config)
        rc = slm_json_parse(&config, files->tokenizer_config, files->tokenizer_config_length, v->allocator);
    if (rc < 0)
        return slm_fail_in(rc, "tokenizer_config.json");
    if (config)
        rc = add_configured(v, config, n_ranks);
    slm_json_free(config);
    if (rc < 0)
        return rc;
    if (rc == 0 && !known)
        return unknown(n_ranks);
    if (rc == 0 && (rc = add_list(v, known->first, known->special)) < 0)
        return rc;
    bool add_bos = false;
    const char *steps = known ? known->steps : "dbrx"; /* transformers' choice for all of them */
    rc = slm_vocab_named_steps(v, steps, strlen(steps), &add_bos);
    struct slm_vocab_index index;
    if (rc < 0 || (rc = slm_vocab_index_init(&index, v, false)) < 0)
        return rc;
    if (known) {
        v->bos = find(&index, known->bos);
        v->eos = find(&index, known->eos);
        slm_vocab_add_stop(v, v->eos);
        slm_vocab_add_stop(v, find(&index, known->stop));
        if (known->add_bos && v->bos != SLM_TEXT_NO_TOKEN)
            v->prefix[v->n_prefix++] = v->bos;
    }
    if (files)
        rc = slm_vocab_read_configs(v, files, &index, true);
    slm_vocab_index_free(&index);
    return rc;
}

int slm_vocab_from_tiktoken(struct slm_vocab *v, const char *text, size_t n,
                            const struct slm_vocab_json *files)
{
    uint32_t n_ranks;
    int rc = read_lines(v, text, n, &n_ranks);
    if (rc == SLM_OK)
        rc = read_specials(v, files, n_ranks);
    finish(v);
    return rc < 0 ? rc : slm_buf_ok(&v->pool);
}

/* ------------------------------------------------------------------------------- tekken --- */

static int number(const struct slm_json *doc, const char *key, uint32_t *value)
{
    int64_t n;
    slm_json_node node = slm_json_get(doc, slm_json_get(doc, 0, "config"), key);
    if (!slm_json_is_integer(doc, node, &n) || n < 0 || n > SLM_LIMIT_VOCAB)
        return slm_fail(SLM_EFORMAT, "tekken.json: config.%s is no number from 0 to %d", key,
                        SLM_LIMIT_VOCAB);
    *value = (uint32_t)n;
    return SLM_OK;
}

/* "special_tokens": {"rank", "token_str", "is_control"}, ids below n; ids that it leaves out are
 * numbered. */
static int tekken_specials(struct slm_vocab *v, const struct slm_json *doc, uint32_t n)
{
    slm_json_node list = slm_json_get(doc, 0, "special_tokens");
    bool listed = slm_json_type(doc, list) == JSON_ARRAY;
    int rc = listed ? SLM_OK : add_list(v, 0, TEKKEN);
    for (slm_json_node i = listed ? slm_json_first(doc, list) : -1; i >= 0 && rc == SLM_OK;
         i = slm_json_next(doc, i)) {
        int64_t id;
        size_t length;
        const char *text = slm_json_string(doc, slm_json_get(doc, i, "token_str"), &length);
        if (!text || !slm_json_is_integer(doc, slm_json_get(doc, i, "rank"), &id) || id < 0 || id >= n)
            return slm_fail(SLM_EFORMAT, "tekken.json: a special token lacks token_str, or a rank below %u",
                            (unsigned)n);
        rc = add_special(v, (uint32_t)id, text, length, true);
    }
    for (uint32_t id = 0; id < n && rc == SLM_OK; id++) {
        char text[32];
        snprintf(text, sizeof text, "<SPECIAL_%u>", (unsigned)id);
        if (id >= v->n_tokens || v->tokens[id].kind == 0)
            rc = add_special(v, id, text, strlen(text), true);
    }
    return rc;
}

int slm_vocab_from_tekken(struct slm_vocab *v, const struct slm_json *doc)
{
    uint32_t n_vocab, n_special;
    size_t length;
    const char *pattern =
        slm_json_string(doc, slm_json_get(doc, slm_json_get(doc, 0, "config"), "pattern"), &length);
    int rc = number(doc, "default_vocab_size", &n_vocab);
    if (rc < 0 || (rc = number(doc, "default_num_special_tokens", &n_special)) < 0)
        return rc;
    if (!pattern)
        return slm_fail(SLM_EFORMAT, "tekken.json: config.pattern is missing");
    if ((rc = tekken_specials(v, doc, n_special)) < 0 ||
        (rc = slm_vocab_add_step(v, pattern, length, SLM_SCAN_ISOLATED, 0)) < 0)
        return rc;
    slm_json_node i = slm_json_first(doc, slm_json_get(doc, 0, "vocab"));
    for (uint32_t id = n_special; i >= 0 && id < n_vocab; i = slm_json_next(doc, i), id++) {
        int64_t rank;
        const char *text = slm_json_string(doc, slm_json_get(doc, i, "token_bytes"), &length);
        if (!text || !slm_json_is_integer(doc, slm_json_get(doc, i, "rank"), &rank) ||
            rank != (int64_t)(id - n_special))
            return slm_fail(SLM_EFORMAT, "tekken.json: vocab[%u] lacks token_bytes, or its rank is another",
                            (unsigned)(id - n_special));
        if ((rc = add_rank(v, id, text, length)) < 0)
            return slm_fail_in(rc, "tekken.json");
    }
    struct slm_vocab_index index;
    if ((rc = slm_vocab_index_init(&index, v, false)) < 0)
        return rc;
    v->bos = find(&index, "<s>");
    v->eos = find(&index, "</s>");
    v->padding = v->named[SLM_NAMED_PADDING] = find(&index, "<pad>");
    v->named[SLM_NAMED_UNKNOWN] = find(&index, "<unk>");
    slm_vocab_index_free(&index);
    slm_vocab_add_stop(v, v->eos);
    if (v->bos != SLM_TEXT_NO_TOKEN)
        v->prefix[v->n_prefix++] = v->bos;
    finish(v);
    return slm_buf_ok(&v->pool);
}
