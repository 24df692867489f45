/*
 * quote.h - names out of untrusted files, made fit for an error message.
 */
#ifndef SLM_SOURCE_QUOTE_H
#define SLM_SOURCE_QUOTE_H

#include <stddef.h>
#include <string.h>

struct slm_quoted {
    char text[84];
};

/* 'name', cut to 80 bytes, with '?' for whatever is not printable ASCII:
 * slm_fail(..., "tensor %s: ...", slm_quote(name, n).text). */
static inline struct slm_quoted slm_quote(const char *name, size_t n)
{
    struct slm_quoted quoted = {"'"};
    size_t at = 1;
    for (size_t i = 0; i < n && at < 78; i++)
        quoted.text[at++] = (char)(name[i] >= ' ' && name[i] <= '~' ? name[i] : '?');
    if (n > 77)
        memcpy(&quoted.text[at - 3], "...", 3);
    quoted.text[at++] = '\'';
    return quoted;
}

#endif
