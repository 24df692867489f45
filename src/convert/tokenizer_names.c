/*
 * tokenizer_names.c - the pre-tokenizers that GGUF files only name (tokenizer.ggml.pre).
 *
 * The patterns are those of the models' own tokenizer.json. A new name is a new row.
 */
#include "convert/tokenizer.h"

#include <string.h>

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define SHORT_FORMS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SIGNS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
#define WORDS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(after) \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" after "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" after
#define SIGNS_SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES
#define HAN_AND_KANA "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define DEEPSEEK_MAIN                                                                             \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| " \
    "?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
#define SENTENCE_SIGNS " ?[^(\\s|.,!?…。，、।۔،)]+"

const char slm_gpt2_pattern[] = GPT2;

/* LATER_BYTES: all patterns but the first two read GPT-2's printable alphabet, since they stand
 * behind ByteLevel in tokenizer.json. */
enum { ADD_BOS = 1, IGNORE_MERGES = 2, NFC = 4, LATER_BYTES = 8 };

static const struct {
    const char *names; /* each between two spaces */
    unsigned flags;
    const char *patterns[5];
} TABLE[] = {
    {" gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert exaone4 "
     "jais trillion granite-docling jina-v1-en jina-v2-code roberta-bpe ",
     0,
     {GPT2}},
    {" mpt olmo ", NFC, {GPT2}},
    {" smollm starcoder refact codeshell exaone minerva-7b ", 0, {"\\p{N}", GPT2}},
    {" command-r ", NFC, {"\\p{N}", GPT2}},
    {" llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ",
     ADD_BOS | IGNORE_MERGES,
     {SHORT_FORMS "|" WORDS "\\p{N}{1,3}|" SIGNS}},
    {" dbrx smaug-bpe chatglm-bpe ", 0, {SHORT_FORMS "|" WORDS "\\p{N}{1,3}|" SIGNS}},
    {" glm4 glm5 ", IGNORE_MERGES, {SHORT_FORMS "|" WORDS "\\p{N}{1,3}|" SIGNS}},
    {" qwen2 deepseek-r1-qwen kormo f2llmv2 megrez ", NFC, {SHORT_FORMS "|" WORDS "\\p{N}|" SIGNS}},
    {" stablelm2 hunyuan solar-open grok-2 ", 0, {SHORT_FORMS "|" WORDS "\\p{N}|" SIGNS}},
    {" qwen35 ",
     0,
     {SHORT_FORMS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES}},
    {" gpt-4o llama4 kanana2 minimax-m2 ",
     0,
     {CASED(SHORT_FORMS "?") "|\\p{N}{1,3}|" SIGNS_SLASH}},
    {" tekken ", ADD_BOS | IGNORE_MERGES, {CASED("") "|\\p{N}|" SIGNS_SLASH}},
    {" seed-coder ",
     0,
     {SHORT_FORMS "|" WORDS "\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {" falcon ",
     LATER_BYTES,
     {"[\\p{P}$+<=>\\^`|~]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {" deepseek-coder ",
     0,
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+",
      "\\p{N}"}},
    {" deepseek-v3 joyai-llm hunyuan-dense ", 0, {"\\p{N}{1,3}", HAN_AND_KANA, DEEPSEEK_MAIN}},
    {" bloom gpt3-finnish poro-chat ", 0, {SENTENCE_SIGNS}},
    {" viking ", 0, {SENTENCE_SIGNS, "\\p{N}"}},
    /* What llama.cpp does when a file does not say. */
    {" default ", 0, {"[\\p{P}$+<=>\\^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

static bool has_name(const char *names, const char *name, size_t n)
{
    for (const char *at = strchr(names, ' '); at && at[1]; at = strchr(at + 1, ' '))
        if (strncmp(at + 1, name, n) == 0 && at[1 + n] == ' ')
            return true;
    return false;
}

static int not_known(const char *name, size_t n)
{
    struct slm_buf list = {0};
    for (size_t i = 0; i < sizeof(TABLE) / sizeof(TABLE[0]); i++)
        slm_buf_append(&list, TABLE[i].names, strlen(TABLE[i].names) - 1);
    slm_buf_byte(&list, 0);
    int rc = slm_fail(SLM_EUNSUPPORTED, "GGUF: pre-tokenizer \"%.*s\" (tokenizer.ggml.pre) is not "
                                        "supported; known are%s",
                      (int)(n < 60 ? n : 60), name, list.failed ? " others" : (char *)list.data);
    slm_buf_free(&list);
    return rc;
}

int slm_vocab_named_steps(struct slm_vocab *v, const char *name, size_t n, bool *add_bos)
{
    size_t row = 0, n_rows = sizeof(TABLE) / sizeof(TABLE[0]);
    while (row < n_rows && (n == 0 || memchr(name, ' ', n) || !has_name(TABLE[row].names, name, n)))
        row++;
    if (row == n_rows)
        return not_known(name, n);
    int rc = TABLE[row].flags & NFC ? slm_vocab_add_normal(v, SLM_NORMAL_NFC, 0, "", "") : SLM_OK;
    for (int i = 0; i < 5 && TABLE[row].patterns[i] && rc == SLM_OK; i++)
        rc = slm_vocab_add_step(v, TABLE[row].patterns[i], strlen(TABLE[row].patterns[i]),
                                SLM_SCAN_ISOLATED,
                                i > 1 && (TABLE[row].flags & LATER_BYTES) ? SLM_SCAN_BYTES : 0);
    v->ignore_merges = (TABLE[row].flags & IGNORE_MERGES) != 0;
    *add_bos = (TABLE[row].flags & ADD_BOS) != 0;
    return rc;
}
