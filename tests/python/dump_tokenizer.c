/*
 * dump_tokenizer.c - the tokenizer section of a tokenizer.json, a SentencePiece model or a GGUF, to stdout.
 */
#include "source/gguf.h"
#include "vocab/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    static _Alignas(64) char file[1 << 20];
    struct slm_vocab vocab;
    struct slm_gguf *gguf = NULL;
    struct slm_buf section = {0};
    FILE *f = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!f) {
        fprintf(stderr, "usage: dump_tokenizer FILE\n");
        return 2;
    }
    struct slm_vocab_json files = {.tokenizer = file,
                                   .tokenizer_length = fread(file, 1, sizeof file, f)};
    fclose(f);
    slm_vocab_init(&vocab, NULL);
    int rc;
    if (file[0] == '{')
        rc = slm_vocab_from_json(&vocab, &files);
    else if (memcmp(file, "GGUF", 4) != 0)
        rc = slm_vocab_from_sentencepiece(&vocab, file, files.tokenizer_length, NULL);
    else if ((rc = slm_gguf_open(&gguf, file, files.tokenizer_length, NULL)) == SLM_OK)
        rc = slm_vocab_from_gguf(&vocab, gguf);
    slm_gguf_free(gguf);
    if (rc == SLM_OK)
        rc = slm_vocab_build(&vocab, vocab.n_tokens, &section);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", argv[1], slm_error_message());
    else
        fwrite(section.data, 1, section.length, stdout);
    slm_buf_free(&section);
    slm_vocab_free(&vocab);
    return rc < 0;
}
