/*
 * charsmap.c - the table of characters that SentencePiece models carry ("precompiled charsmap").
 *
 * A trie over bytes, as darts-clone lays it out: the children of a unit are where its offset XOR
 * their byte points to, and know their byte. Nothing about it is trusted.
 */
#include "text/charsmap.h"

#include "base/bits.h"
#include "base/utf8.h"

#include <string.h>

#define LONGEST_CLUSTER 6 /* bytes: one of this length is not looked up as a whole */

bool slm_charsmap_open(struct slm_charsmap *map, const uint8_t *data, size_t length)
{
    if (length < 8)
        return false;
    uint32_t bytes = slm_load_u32(data);
    if (bytes % 4 != 0 || bytes == 0 || bytes > length - 4)
        return false;
    *map = (struct slm_charsmap){data + 4, data + 4 + bytes, bytes / 4,
                                 (uint32_t)(length - 4 - bytes)};
    return map->n_texts > 0 && map->texts[map->n_texts - 1] == 0;
}

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & 0x200) >> 6);
}

/* Bytes of the shortest or the longest entry that data[n] begins with, and its text; 0: none. */
static size_t find_entry(const struct slm_charsmap *map, const uint8_t *data, size_t n,
                         bool shortest, const char **text)
{
    size_t found = 0;
    uint32_t at = offset_of(slm_load_u32(map->units));
    for (size_t i = 0; i < n; i++) {
        at ^= data[i];
        uint32_t unit = at < map->n_units ? slm_load_u32(map->units + 4 * (size_t)at) : 0;
        if (at >= map->n_units || (unit & 0x800000FF) != data[i])
            break;
        at ^= offset_of(unit);
        if ((unit >> 8 & 1) && at < map->n_units) {
            uint32_t value = slm_load_u32(map->units + 4 * (size_t)at) & 0x7FFFFFFF;
            if (value >= map->n_texts)
                break;
            *text = (const char *)map->texts + value;
            found = i + 1;
            if (shortest)
                break;
        }
    }
    return found;
}

/* The class and the length of the character at data[0..n), n > 0. */
static uint32_t class_at(const struct slm_nfc_view *clusters, const uint8_t *data, size_t n,
                         size_t *length)
{
    uint32_t c = 0;
    *length = slm_utf8_decode((const char *)data, n, &c);
    if (*length == 0)
        *length = 1; /* can't be: the text was repaired */
    return slm_nfc_class(clusters, c);
}

/* Bytes of the characters at data[0..n) that people see as one (Unicode Standard Annex 29, without
 * the rules for those that have 6 bytes anyway: Hangul, flags, emoji sequences, conjuncts). */
static size_t cluster_length(const struct slm_nfc_view *clusters, const uint8_t *data, size_t n)
{
    size_t end = 1, length;
    if (n > 1 && data[0] == '\r' && data[1] == '\n')
        return 2;
    if (data[0] < 0x80 && (n == 1 || data[1] < 0x80))
        return 1;
    uint32_t class = class_at(clusters, data, n, &end);
    while (class != SLM_CLUSTER_CONTROL && end < n) {
        uint32_t next = class_at(clusters, data + end, n - end, &length);
        if (next == SLM_CLUSTER_CONTROL ||
            (next != SLM_CLUSTER_EXTEND && class != SLM_CLUSTER_PREPEND))
            break;
        class = next;
        end += length;
    }
    return end;
}

static size_t character_length(const uint8_t *data, size_t n)
{
    size_t length = 1;
    while (length < n && (data[length] & 0xC0) == 0x80)
        length++;
    return length;
}

size_t slm_charsmap_next(const struct slm_charsmap *map, const struct slm_nfc_view *clusters,
                         const uint8_t *data, size_t n, size_t *alone, const char **text)
{
    size_t used = 0, character = character_length(data, n);
    *text = NULL;
    if (!clusters) {
        used = find_entry(map, data, n, false, text);
    } else {
        if (*alone == 0) {
            *alone = cluster_length(clusters, data, n);
            if (*alone < LONGEST_CLUSTER && find_entry(map, data, *alone, true, text))
                used = *alone;
        }
        if (used == 0 && find_entry(map, data, character, true, text))
            used = character;
    }
    used = used > 0 ? used : character;
    *alone = *alone > used ? *alone - used : 0;
    return used;
}
