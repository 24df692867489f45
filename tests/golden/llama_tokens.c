/*
 * llama_tokens.c - texts to tokens and back by llama.cpp, for compare_tokenizers.py. It is no part
 * of the build: where llama.cpp was built, with LLAMA as its folder,
 *
 *     cc -I LLAMA/include -I LLAMA/ggml/include tests/golden/llama_tokens.c -lllama -o llama_tokens
 *
 *     llama_tokens MODEL.gguf encode|encode-special|decode|decode-special < blocks > blocks
 *
 * A block is u32 n and n bytes of text, or n tokens of 32 bits; for each comes one of the other
 * kind.
 */
#include "llama.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void silent(enum ggml_log_level level, const char *text, void *user)
{
    (void)level, (void)text, (void)user;
}

static uint32_t encode(const struct llama_vocab *vocab, const void *in, uint32_t n, bool special,
                       int32_t *out)
{
    int32_t count = llama_tokenize(vocab, in, (int32_t)n, out, (int32_t)n + 64, false, special);
    return count < 0 ? UINT32_MAX : (uint32_t)count;
}

static uint32_t decode(const struct llama_vocab *vocab, const int32_t *in, uint32_t n, bool special,
                       char *out)
{
    int32_t length =
        llama_detokenize(vocab, in, (int32_t)n, out, (int32_t)n * 512 + 512, false, special);
    return length < 0 ? UINT32_MAX : (uint32_t)length;
}

int main(int argc, char **argv)
{
    struct llama_model_params params = llama_model_default_params();
    uint32_t n, length = 0;
    params.vocab_only = true;
    llama_log_set(silent, NULL);
    struct llama_model *model = argc == 3 ? llama_model_load_from_file(argv[1], params) : NULL;
    if (!model)
        return 1;
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    bool encodes = strncmp(argv[2], "encode", 6) == 0, special = strstr(argv[2], "special") != NULL;
    size_t in_width = encodes ? 1 : 4, out_width = encodes ? 4 : 1;
    while (length != UINT32_MAX && fread(&n, 4, 1, stdin) == 1) {
        void *in = malloc(n * in_width + 1), *out = malloc((size_t)n * 512 + 1024);
        if (!in || !out || fread(in, in_width, n, stdin) != n)
            return 1;
        length = encodes ? encode(vocab, in, n, special, out) : decode(vocab, in, n, special, out);
        if (length != UINT32_MAX) {
            fwrite(&length, 4, 1, stdout);
            fwrite(out, out_width, length, stdout);
        }
        free(in);
        free(out);
    }
    return length == UINT32_MAX;
}
