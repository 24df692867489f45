/*
 * utf8.h - one character of UTF-8 at a time, strictly: no overlong forms, no surrogates, nothing
 * above U+10FFFF.
 */
#ifndef SLM_BASE_UTF8_H
#define SLM_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define SLM_UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD: what stands for something undecodable */

/* Decode the character at p[0..n), n at least 1. Returns its length, 1 to 4, and the code point in
 * *c; 0 when the bytes are no UTF-8. */
static inline size_t slm_utf8_decode(const char *p, size_t n, uint32_t *c)
{
    const unsigned char *b = (const unsigned char *)p;
    if (b[0] < 0x80) {
        *c = b[0];
        return 1;
    }
    /* The least code point that needs this length rules out overlong forms. */
    size_t length;
    uint32_t least;
    if (b[0] < 0xC2)
        return 0;
    if (b[0] < 0xE0) {
        length = 2;
        least = 0x80;
        *c = b[0] & 0x1Fu;
    } else if (b[0] < 0xF0) {
        length = 3;
        least = 0x800;
        *c = b[0] & 0x0Fu;
    } else if (b[0] < 0xF5) {
        length = 4;
        least = 0x10000;
        *c = b[0] & 0x07u;
    } else {
        return 0;
    }
    if (n < length)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((b[i] & 0xC0) != 0x80)
            return 0;
        *c = *c << 6 | (b[i] & 0x3Fu);
    }
    if (*c < least || *c > 0x10FFFF || (*c >= 0xD800 && *c < 0xE000))
        return 0;
    return length;
}

/* Write a code point (a valid one) to out[4]; returns its length. */
static inline size_t slm_utf8_encode(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

#endif
