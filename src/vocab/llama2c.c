/*
 * llama2c.c - the tokenizer.bin of llama2.c into a vocabulary.
 *
 * int32 longest; then for each token f32 score, int32 length, the bytes. Ids 0 to 2 are unknown,
 * BOS and EOS, 3 to 258 the bytes, written "<0x00>"; the rest is SentencePiece with real spaces.
 */
#include "vocab/vocab.h"

#include <math.h>

int slm_vocab_from_llama2c(struct slm_vocab *v, const void *data, size_t length, uint32_t n_vocab)
{
    const uint8_t *p = data;
    size_t at = 4;
    for (uint32_t id = 0; id < n_vocab; id++) {
        if (length < 8 || at > length - 8)
            return slm_fail(SLM_EFORMAT, "llama2.c tokenizer: it ends at token %u of %u", id,
                            n_vocab);
        float score = slm_load_f32(p + at);
        uint32_t n = slm_load_u32(p + at + 4);
        at += 8;
        if (n > length - at || isnan(score))
            return slm_fail(SLM_EFORMAT, "llama2.c tokenizer: token %u at offset %zu is damaged",
                            id, at - 8);
        bool byte = id >= 3 && id < 259;
        uint8_t value = (uint8_t)(id - 3);
        uint32_t kind = id == 0  ? SLM_TOKEN_UNKNOWN
                        : id < 3 ? SLM_TOKEN_CONTROL
                        : byte   ? SLM_TOKEN_BYTE
                                 : SLM_TOKEN_NORMAL;
        int rc = slm_vocab_set(v, id, byte ? &value : p + at, byte ? 1 : n, kind);
        if (rc < 0)
            return rc;
        v->tokens[id].score = score;
        v->tokens[id].in_model = id >= 259;
        if (id < 3) {
            /* tok512.bin has "\n<s>\n" there, for the eye; the token's text is "<s>". */
            static const char *const TEXTS[] = {"<unk>", "<s>", "</s>"};
            rc = slm_vocab_set(v, id, TEXTS[id], id == 0 ? 5 : id == 1 ? 3 : 4, kind);
            if (rc < 0)
                return rc;
            v->tokens[id].added = true;
            v->tokens[id].flags = SLM_ADDED_SPECIAL;
        }
        at += n;
    }
    if (n_vocab < 259)
        return slm_fail(SLM_EFORMAT, "llama2.c tokenizer: %u tokens; it has at least 259", n_vocab);
    v->model = SLM_TEXT_BPE_CHARS;
    v->by_score = true;
    v->meta_space = true;
    v->flags = SLM_TEXT_BYTE_FALLBACK | SLM_TEXT_FUSE_UNKNOWN | SLM_TEXT_DROP_FIRST_SPACE |
               SLM_TEXT_BAD_BYTES_SINGLE | SLM_TEXT_META_SPACE;
    v->unknown = 0;
    v->bos = 1;
    v->eos = 2;
    v->prefix[v->n_prefix++] = 1;
    slm_vocab_add_stop(v, 2);
    slm_vocab_add_stop(v, 1); /* llama2.c ends a story where the next begins */
    int rc = slm_vocab_add_normal(v, SLM_NORMAL_REPLACE, 0, "\xE2\x96\x81", " ");
    return rc < 0 ? rc : slm_vocab_add_normal(v, SLM_NORMAL_PREPEND, 0, " ", "");
}
