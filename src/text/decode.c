/*
 * decode.c - tokens to text, a token at a time.
 *
 * What comes out is always whole UTF-8: the beginning of a character waits in `held` until the
 * rest has come. Bytes that can't be part of a character become U+FFFD: one for each longest part
 * that a character could have begun with (Rust, Python), or one for each byte where the section
 * asks for it (SentencePiece).
 */
#include "base/utf8.h"
#include "text/tokenizer.h"

void slm_decoder_init(struct slm_decoder *decoder, const struct slm_text *text, unsigned flags)
{
    *decoder = (struct slm_decoder){.text = text, .flags = flags, .at_start = true};
}

/* Whether `byte` can follow what is held, one byte at least. */
static bool continues(const struct slm_decoder *d, uint8_t byte)
{
    uint8_t low = 0x80, high = 0xBF;
    if (d->n_held == 1) {
        if (d->held[0] == 0xE0)
            low = 0xA0;
        else if (d->held[0] == 0xED)
            high = 0x9F;
        else if (d->held[0] == 0xF0)
            low = 0x90;
        else if (d->held[0] == 0xF4)
            high = 0x8F;
    }
    return byte >= low && byte <= high;
}

/* What is held can't be continued any more. */
static void give_up_held(struct slm_decoder *d, struct slm_buf *out)
{
    bool single = (d->text->header->flags & SLM_TEXT_BAD_BYTES_SINGLE) != 0;
    for (int i = 0; i < (single ? d->n_held : d->n_held > 0); i++)
        slm_buf_text(out, SLM_UTF8_REPLACEMENT);
    d->n_held = 0;
}

/* One byte: it goes on with what is held, or ends it and stands for itself. */
static void push_byte(struct slm_decoder *d, uint8_t byte, struct slm_buf *out)
{
    if (d->n_held > 0 && continues(d, byte)) {
        d->held[d->n_held++] = byte;
        size_t length = d->held[0] >= 0xF0 ? 4 : d->held[0] >= 0xE0 ? 3 : 2;
        if (d->n_held == length) {
            slm_buf_append(out, d->held, length);
            d->n_held = 0;
        }
        return;
    }
    give_up_held(d, out);
    if (byte < 0x80)
        slm_buf_byte(out, byte);
    else if (byte >= 0xC2 && byte <= 0xF4)
        d->held[d->n_held++] = byte;
    else
        slm_buf_text(out, SLM_UTF8_REPLACEMENT);
}

int slm_decoder_push(struct slm_decoder *decoder, slm_token token, struct slm_buf *out)
{
    const struct slm_text *t = decoder->text;
    if (token < 0 || (uint32_t)token >= t->n_vocab)
        return slm_fail(SLM_EINVAL, "token %d: the vocabulary has 0 to %u", (int)token,
                        t->n_vocab - 1);
    if ((uint32_t)token >= t->n_tokens)
        return SLM_OK; /* padding of the model's matrix: no text */
    uint32_t kind = slm_text_kind(t, (uint32_t)token);
    /* Dropped before anything else, so that a special token between two halves of a character does
     * not tear it apart: the reference filters ids first, too. */
    bool special = kind == SLM_TOKEN_CONTROL || kind == SLM_TOKEN_UNKNOWN;
    if (special && !(decoder->flags & SLM_TEXT_SHOW_SPECIAL))
        return SLM_OK;
    size_t n, i = 0;
    const uint8_t *bytes = slm_text_bytes(t, (uint32_t)token, &n);
    if ((t->header->flags & SLM_TEXT_SPACED_WORDS) && !decoder->at_start) {
        uint16_t info = t->info[token];
        if (info & SLM_INFO_CONTINUES)
            i = t->n_continuation < n ? t->n_continuation : n;
        else if (!(info & SLM_INFO_TIGHT))
            push_byte(decoder, ' ', out);
    }
    /* Only the space that encoding put there goes: the first one, if it belongs to ordinary text.
     */
    if (decoder->at_start && n > 0) {
        if (!special && bytes[0] == ' ' && (t->header->flags & SLM_TEXT_DROP_FIRST_SPACE))
            i = 1;
        decoder->at_start = i == n && (t->header->flags & SLM_TEXT_DROP_UNTIL_TEXT);
        while (!special && i < n && bytes[i] == ' ' &&
               (t->header->flags & SLM_TEXT_DROP_FIRST_SPACES))
            i++;
    }
    while (i < n) {
        /* Runs of ASCII, nearly everything in many languages, in one go. */
        size_t plain = i;
        while (decoder->n_held == 0 && plain < n && bytes[plain] < 0x80)
            plain++;
        slm_buf_append(out, bytes + i, plain - i);
        if (plain < n)
            push_byte(decoder, bytes[plain++], out);
        i = plain;
    }
    return slm_buf_ok(out);
}

int slm_decoder_finish(struct slm_decoder *decoder, struct slm_buf *out)
{
    give_up_held(decoder, out);
    decoder->at_start = true;
    return slm_buf_ok(out);
}
