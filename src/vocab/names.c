/*
 * names.c - the pre-tokenizers that GGUF files only name (tokenizer.ggml.pre).
 *
 * The patterns are those of the models' own tokenizer.json, which the files were made from. A new
 * name is a new word in a row, or a new row; there is no code for a single model.
 */
#include "vocab/vocab.h"

#include <string.h>

/* What many patterns are put together from. */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define SHORT_FORMS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SIGNS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
#define WORDS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define QWEN2 SHORT_FORMS "|" WORDS "|\\p{N}|" SIGNS
#define LLAMA3 SHORT_FORMS "|" WORDS "|\\p{N}{1,3}|" SIGNS
/* Words by case (o200k): capitals, then small letters; `after` may follow. */
#define BEFORE "[^\\r\\n\\p{L}\\p{N}]?"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(after) BEFORE UPPER "*" LOWER "+" after "|" BEFORE UPPER "+" LOWER "*" after
#define SIGNS_SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES
#define O200K CASED(SHORT_FORMS "?") "|\\p{N}{1,3}|" SIGNS_SLASH
/* DeepSeek's classes are lists of ranges: Chinese and Korean, Japanese, and letters with case. */
#define HAN "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define HAN_AND_KANA "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define ASCII_SIGN "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
#define DEEPSEEK3                                                                                  \
    ASCII_SIGN "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"                            \
               " ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
#define WIDE_SIGNS                                                                                 \
    "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+"
#define SENTENCE_SIGNS " ?[^(\\s|.,!?…。，、।۔،)]+"
#define CASED_LETTERS                                                                              \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"                 \
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"         \
    "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}"                  \
    "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}"                       \
    "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"                 \
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"                 \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}"        \
    "\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}"         \
    "\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}"                 \
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"                  \
    "\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}"                   \
    "\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}"        \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"         \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}"                  \
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}"                 \
    "\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"               \
    "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}"         \
    "\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"

const char slm_gpt2_pattern[] = GPT2;

/* LATER_BYTES: all patterns but the first two read GPT-2's printable alphabet, since they stand
 * behind ByteLevel in tokenizer.json. */
enum { ADD_BOS = 1, IGNORE_MERGES = 2, NFC = 4, LATER_BYTES = 8 };

/* clang-format off */
static const struct {
    const char *names; /* each between two spaces */
    unsigned flags;
    const char *patterns[6];
} TABLE[] = {
    {" gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert exaone4"
     " jais trillion granite-docling jina-v1-en jina-v2-code roberta-bpe ", 0, {GPT2}},
    {" mpt olmo ", NFC, {GPT2}},
    {" smollm starcoder refact codeshell exaone minerva-7b ", 0, {"\\p{N}", GPT2}},
    {" command-r ", NFC, {"\\p{N}", GPT2}},
    {" llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ",
     ADD_BOS | IGNORE_MERGES, {LLAMA3}},
    {" dbrx smaug-bpe chatglm-bpe ", 0, {LLAMA3}},
    {" glm4 glm5 ", IGNORE_MERGES, {LLAMA3}},
    {" qwen2 deepseek-r1-qwen kormo f2llmv2 megrez ", NFC, {QWEN2}},
    {" stablelm2 hunyuan solar-open grok-2 ", 0, {QWEN2}},
    {" qwen35 ", 0, {SHORT_FORMS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|"
                     " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES}},
    {" gpt-4o llama4 kanana2 minimax-m2 ", 0, {O200K}},
    {" tekken ", ADD_BOS | IGNORE_MERGES, {CASED("") "|\\p{N}|" SIGNS_SLASH}},
    {" seed-coder ", 0, {SHORT_FORMS "|" WORDS "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES}},
    {" bailingmoe bailingmoe2 llada-moe ", 0,
     {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|"
      "\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {" minicpm5 ", IGNORE_MERGES, {"\\p{N}{1,3}", SHORT_FORMS "|" WORDS "|\\p{N}+|" SIGNS}},
    {" laguna ", 0, {"[^\\n]+|[\\n]+", QWEN2}},
    {" ufakzeka ", 0, {WORDS "|\\p{N}|" SIGNS}},
    {" falcon ", LATER_BYTES, {"[\\p{P}$+<=>\\^`|~]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {" deepseek-coder ", 0, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN, "\\p{N}"}},
    {" deepseek-llm ", 0,
     {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+", WIDE_SIGNS, "\\s+$", HAN, "\\p{N}+"}},
    {" deepseek-v3 joyai-llm hunyuan-dense ", 0, {"\\p{N}{1,3}", HAN_AND_KANA, DEEPSEEK3}},
    {" bloom gpt3-finnish poro-chat ", 0, {SENTENCE_SIGNS}},
    {" viking ", 0, {SENTENCE_SIGNS, "\\p{N}"}},
    /* What llama.cpp does with a file that has no name. */
    {" default ", 0, {"[\\p{P}$+<=>\\^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};
/* clang-format on */

/* Whole words only: "qwen" must not find "qwen2". */
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
    int rc = slm_fail(SLM_EUNSUPPORTED,
                      "GGUF: pre-tokenizer \"%.*s\" (tokenizer.ggml.pre) is not "
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
    int rc = TABLE[row].flags & NFC ? slm_vocab_add_normal(v, SLM_NORMAL_FORM, 0, "", "") : SLM_OK;
    for (int i = 0; i < 6 && TABLE[row].patterns[i] && rc == SLM_OK; i++)
        rc = slm_vocab_add_step(v, TABLE[row].patterns[i], strlen(TABLE[row].patterns[i]),
                                SLM_SCAN_ISOLATED,
                                i > 1 && (TABLE[row].flags & LATER_BYTES) ? SLM_SCAN_BYTES : 0);
    v->ignore_merges = (TABLE[row].flags & IGNORE_MERGES) != 0;
    *add_bos = (TABLE[row].flags & ADD_BOS) != 0;
    return rc;
}
