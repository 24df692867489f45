/*
 * tokenize_cases.c - many texts to ids, or many sequences of ids to texts, for
 * tests/golden/compare_tokenizers.py.
 *
 *     tokenize_cases MODEL encode|encode-special|decode|decode-special < CASES > RESULTS
 *
 * Both streams are blocks: u32 n and n bytes (a text) or n ids. "special" recognises special tokens
 * in texts, and shows them. Decoding goes token by token through slm_text_stream: each piece must
 * be whole UTF-8, and all of them must give what slm_detokenize() gives.
 */
#include <slm/slm.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what)
{
    fprintf(stderr, "tokenize_cases: %s: %s\n", what, slm_last_error());
    exit(1);
}

/* A block, allocated; NULL at the end of the input. */
static char *read_block(uint32_t *n, size_t width)
{
    if (fread(n, sizeof *n, 1, stdin) != 1)
        return NULL;
    char *data = malloc(*n * width + 1);
    if (!data || fread(data, width, *n, stdin) != *n)
        fail("the input is cut short");
    return data;
}

static void write_block(const void *data, uint32_t n, size_t width)
{
    fwrite(&n, sizeof n, 1, stdout);
    fwrite(data, width, n, stdout);
}

static void encode(const slm_model *model, const char *text, uint32_t n, unsigned flags)
{
    size_t room = 4 * (size_t)n + 64;
    slm_token *ids = malloc(room * sizeof *ids);
    int64_t count = ids ? slm_tokenize(model, text, n, flags, ids, room) : SLM_ENOMEM;
    if (count < 0 || (size_t)count > room)
        fail("slm_tokenize");
    write_block(ids, (uint32_t)count, sizeof *ids);
    free(ids);
}

/* Whether every character is whole: a lead byte with as many others as it says. */
static bool is_whole(const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        uint8_t lead = (uint8_t)text[at];
        size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if (length == 0 || lead > 0xF4 || length > n - at)
            return false;
        for (size_t i = 1; i < length; i++)
            if (((uint8_t)text[at + i] & 0xC0) != 0x80)
                return false;
        at += length;
    }
    return true;
}

static void decode(slm_model *model, const slm_token *ids, uint32_t n, unsigned flags)
{
    int64_t length = slm_detokenize(model, ids, n, flags, NULL, 0);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (!text || slm_detokenize(model, ids, n, flags, text, (size_t)length + 1) != length)
        fail("slm_detokenize");
    slm_text_stream *stream;
    if (slm_text_stream_new(&stream, model, flags) < 0)
        fail("slm_text_stream_new");
    size_t at = 0;
    for (uint32_t i = 0; i <= n; i++) {
        const char *piece;
        size_t bytes;
        if (slm_text_stream_push(stream, i < n ? ids[i] : SLM_TOKEN_NONE, &piece, &bytes) < 0)
            fail("slm_text_stream_push");
        if (!is_whole(piece, bytes) || at + bytes > (size_t)length ||
            memcmp(text + at, piece, bytes) != 0)
            fail("a piece is not whole, or not what the full text has");
        at += bytes;
    }
    if (at != (size_t)length)
        fail("the pieces are less than the full text");
    slm_text_stream_free(stream);
    write_block(text, (uint32_t)length, 1);
    free(text);
}

int main(int argc, char **argv)
{
    slm_model *model = NULL;
    if (argc != 3) {
        fprintf(stderr,
                "usage: tokenize_cases MODEL encode|encode-special|decode|decode-special\n");
        return 2;
    }
    if (slm_model_open(&model, argv[1], NULL) < 0)
        fail(argv[1]);
    bool decodes = argv[2][0] == 'd', special = strchr(argv[2], '-') != NULL;
    char *block;
    for (uint32_t n; (block = read_block(&n, decodes ? sizeof(slm_token) : 1)) != NULL; free(block))
        if (decodes)
            decode(model, (slm_token *)(void *)block, n, special ? SLM_TEXT_SHOW_SPECIAL : 0);
        else
            encode(model, block, n, special ? SLM_TEXT_PARSE_SPECIAL : 0);
    slm_model_unref(model);
    return 0;
}
