/*
 * tokenizer.h - the tokenizer section: its bytes, and the view of them that everything in text/
 * works on. docs/format-tokenizer.md explains the whole; this is the exact layout.
 *
 * Little-endian, every table aligned to 8. slm_text_open() checks what can be checked in a few
 * microseconds: that each table lies inside the section with the size it must have, and the small
 * tables entry by entry. Entries of the large ones (token texts, hash, merges) are checked where
 * they are used, so a damaged section gives wrong tokens at worst, never a wrong access.
 */
#ifndef SLM_TEXT_TOKENIZER_H
#define SLM_TEXT_TOKENIZER_H

#include "base/bits.h"
#include "base/limits.h"
#include "text/text.h"

#define SLM_TEXT_MAGIC 0x4B544D53u /* "SMTK" */
#define SLM_TEXT_MAJOR 2
#define SLM_TEXT_MINOR 0

/* How a piece of text becomes tokens. */
enum slm_text_model {
    SLM_TEXT_BPE_BYTES = 1, /* merging begins with bytes: GPT-2 and its children */
    SLM_TEXT_BPE_CHARS = 2, /* merging begins with characters: SentencePiece */
    SLM_TEXT_WORDPIECE = 3, /* the longest token that fits, again and again: BERT */
    SLM_TEXT_UNIGRAM = 4    /* the tokens with the best sum of scores: SentencePiece, T5, XLM-R */
};

enum slm_text_section_flags {
    SLM_TEXT_BYTE_FALLBACK = 1 << 0,    /* an unknown character becomes its bytes: SLM_TEXT_BYTES */
    SLM_TEXT_FUSE_UNKNOWN = 1 << 1,     /* unknown characters in a row are one unknown token */
    SLM_TEXT_STRICT_SYMBOLS = 1 << 2,   /* a character that is no token takes part in no merge */
    SLM_TEXT_DROP_FIRST_SPACE = 1 << 3, /* decoding: the text does not begin with the space that
                                           encoding put there */
    SLM_TEXT_BAD_BYTES_SINGLE = 1 << 4, /* decoding: one U+FFFD a bad byte, not a bad sequence */
    SLM_TEXT_DROP_FIRST_SPACES = 1 << 5, /* the same, all spaces of the first token */
    SLM_TEXT_META_SPACE = 1 << 6,   /* a space in normalized text is U+2581, so no white space */
    SLM_TEXT_SPACED_WORDS = 1 << 7, /* decoding: a space before each token that does not join */
    SLM_TEXT_WIDE_SCORES = 1 << 8,  /* SCORES has 64 bits each */
    SLM_TEXT_NARROW_SUMS = 1 << 9,  /* Unigram: sums of scores have 32 bits, as SentencePiece's */
    SLM_TEXT_DROP_UNTIL_TEXT = 1 << 10 /* with DROP_FIRST_SPACE: of each token until text came */
};

enum slm_text_table_kind {
    SLM_TEXT_POOL,        /* bytes: the texts of all tokens, one after the other */
    SLM_TEXT_BASES,       /* u32[(n_tokens >> block_shift) + 1]: where in the pool a block begins */
    SLM_TEXT_OFFSETS,     /* u16[n_tokens + 1]: where in its block a token begins */
    SLM_TEXT_INFO,        /* u16[n_tokens]: see SLM_INFO_ */
    SLM_TEXT_HASH,        /* u32[n_slots + SLM_HASH_REACH]: text to token, see slm_text_find() */
    SLM_TEXT_RANKS,       /* u32[n_tokens]; or empty: the rank of a token is its id */
    SLM_TEXT_MERGES,      /* struct slm_text_merge[]: sorted by token */
    SLM_TEXT_BYTES,       /* u32[256]: the token of a byte, or SLM_TEXT_NO_TOKEN */
    SLM_TEXT_CUTS,        /* u8[8192]: bit a * 256 + b: some token has byte a before byte b; empty:
                             not known */
    SLM_TEXT_ADDED,       /* struct slm_text_added_table: looked for in raw text; empty: none */
    SLM_TEXT_ADDED_LATE,  /* the same, looked for in normalized text */
    SLM_TEXT_ADDED_POOL,  /* bytes: what the two tables above look for */
    SLM_TEXT_NORMAL,      /* struct slm_text_normal[]: steps, in order */
    SLM_TEXT_NORMAL_POOL, /* bytes: texts and tables of those steps */
    SLM_TEXT_CLASSES,     /* struct slm_text_classes and what follows it */
    SLM_TEXT_SCANNERS,    /* struct slm_text_scanners and what follows it */
    SLM_TEXT_PREFIX,      /* u32[]: tokens before every text (BOS), under ADD_SPECIAL */
    SLM_TEXT_SUFFIX,      /* u32[]: tokens after it */
    SLM_TEXT_STOP,        /* u32[]: tokens that end an answer; ascending */
    SLM_TEXT_NAMED,       /* u32[SLM_NAMED_COUNT]: by enum slm_text_named, or SLM_TEXT_NO_TOKEN */
    SLM_TEXT_CONTINUE,    /* bytes: WordPiece: what tokens that continue a word begin with: "##" */
    SLM_TEXT_BEGINNINGS,  /* u8[power of two]: a bit for each beginning of a token, by its hash; see
                             slm_text_goes_on(); empty: not known */
    SLM_TEXT_SCORES,      /* f32[n_tokens], or f64: Unigram */
    SLM_TEXT_PAIR,        /* u32[]: what two texts become: see SLM_PAIR_; empty: there is no way */
    SLM_TEXT_N_TABLES
};

/* A reader needs the tables up to STOP; the others may be missing, which means: empty. */
#define SLM_TEXT_MIN_TABLES (SLM_TEXT_STOP + 1)

/* Special tokens as configurations and chat templates name them. What encoding writes for something
 * unknown may be another token, or none: that is in the header. */
enum slm_text_named {
    SLM_NAMED_BOS,
    SLM_NAMED_EOS,
    SLM_NAMED_UNKNOWN,
    SLM_NAMED_SEPARATOR,
    SLM_NAMED_PADDING,
    SLM_NAMED_CLASSIFIER,
    SLM_NAMED_MASK,
    SLM_NAMED_COUNT
};

#define SLM_TEXT_NO_TOKEN 0xFFFFFFFFu

/* SLM_TEXT_PAIR: tokens in order, and the places of the two texts; what has the flag is of token type
 * 1, and nothing behind it is of type 0. */
#define SLM_PAIR_FIRST 0x7FFFFFFEu
#define SLM_PAIR_SECOND 0x7FFFFFFFu
#define SLM_PAIR_TYPE_1 0x80000000u
#define SLM_TEXT_MAX_TABLES 64 /* a newer minor version may have more than we know */
#define SLM_TEXT_MAX_AFFIX 64  /* tokens in PREFIX or SUFFIX; published models have 1 or 2 */
#define SLM_TEXT_MAX_STOP 256  /* tokens in STOP */
#define SLM_TEXT_MAX_STEP_WORK 1024 /* WordPiece, Unigram: bytes of a token and characters of a word,
                                       since that many are tried at each place; published: 100 */
#define SLM_TEXT_MAX_STEPS 16  /* normalizers, and pre-tokenizers; published ones have up to 6 */

struct slm_text_table {
    uint32_t offset, length; /* bytes, from the start of the section */
};

struct slm_text_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t length;   /* of the section */
    uint32_t n_tables; /* entries of tables[] that are present */
    uint32_t model;    /* enum slm_text_model */
    uint32_t flags;    /* enum slm_text_section_flags */
    uint32_t n_tokens;
    uint32_t n_slots;                    /* of the hash */
    uint32_t block_shift;                /* a block of OFFSETS has 1 << block_shift tokens */
    uint32_t max_length;                 /* bytes of the longest token that the hash holds */
    uint32_t bos, eos, unknown, padding; /* or SLM_TEXT_NO_TOKEN */
    uint32_t max_word;     /* WordPiece: characters; a longer word is the unknown token */
    uint32_t reserved;     /* 0 */
    double unknown_score;  /* Unigram: of a character that is no token */
    uint32_t reserved2[2]; /* 0 */
    /* struct slm_text_table tables[n_tables] follow, by enum slm_text_table_kind */
};

_Static_assert(sizeof(struct slm_text_header) == 80, "as in docs/format-tokenizer.md");

static inline const struct slm_text_table *slm_text_tables(const struct slm_text_header *header)
{
    return (const struct slm_text_table *)(const void *)(header + 1);
}

/* SLM_TEXT_INFO: bits 0 to 7 say which merge makes the token: the length of its left half. There is
 * never more than one (vocab/merges.c has the reason). */
#define SLM_INFO_SPLIT 0xFFu
#define SLM_SPLIT_NONE 0u     /* none: merging begins with it, or it is not made */
#define SLM_SPLIT_ROW 255u    /* the one in SLM_TEXT_MERGES */
#define SLM_INFO_KIND_SHIFT 8 /* bits 8 to 10: enum slm_token_kind */
#define SLM_INFO_WHOLE 0x800u /* a piece that is this text is this token */

#define SLM_INFO_CONTINUES 0x1000u /* decoding: it joins what is before, without its prefix */
#define SLM_INFO_TIGHT 0x2000u     /* decoding: no space before it */

enum slm_token_kind {
    SLM_TOKEN_NORMAL = 1,
    SLM_TOKEN_UNKNOWN = 2,
    SLM_TOKEN_CONTROL = 3, /* special: written only by templates, never shown */
    SLM_TOKEN_USER = 4,    /* added, but ordinary text: matched first, and shown */
    SLM_TOKEN_UNUSED = 5,
    SLM_TOKEN_BYTE = 6 /* <0x0A> */
};

/* The order of merges, lowest key first: (rank of the token + 1) << 32. A merge that this does not
 * fit, or whose left half is too long for the info word, has a row; its key may lie between two. */
struct slm_text_merge {
    uint32_t token;
    uint32_t split; /* bytes of the left half */
    uint64_t key;
};

enum slm_added_flags {
    SLM_ADDED_SINGLE_WORD = 1 << 0, /* only between characters that are not of a word */
    SLM_ADDED_STRIP_LEFT = 1 << 1,  /* white space before it belongs to it */
    SLM_ADDED_STRIP_RIGHT = 1 << 2,
    SLM_ADDED_NORMALIZED = 1 << 3, /* it is in ADDED_LATE */
    SLM_ADDED_SPECIAL = 1 << 4,    /* only under SLM_TEXT_PARSE_SPECIAL, never in opaque text */
    SLM_ADDED_KEPT = 1 << 5,       /* no match: only kept from SentencePiece's table of characters */
    SLM_ADDED_MARKUP = 1 << 6      /* ordinary, but the chat template writes it ("</think>",
                                      "<tool_call>"): never in opaque text */
};

struct slm_text_added {
    uint32_t text; /* offset in ADDED_POOL */
    uint32_t length;
    uint32_t token;
    uint32_t flags;
};

struct slm_text_added_table {
    uint32_t n_rows;
    uint32_t n_ordinary; /* rows that are not SLM_ADDED_SPECIAL */
    uint32_t index[258]; /* rows that begin with byte b: from index[b] up to index[b + 1] */
    struct slm_text_added rows[]; /* [n_rows], sorted by text */
};

enum slm_normal_kind {
    SLM_NORMAL_REPLACE = 1, /* text a by text b */
    SLM_NORMAL_PREPEND = 2, /* text a; flags: see below */
    SLM_NORMAL_FORM = 3,    /* a normal form; a: the table of slm_unicode_normal_tables() */
    SLM_NORMAL_SQUEEZE = 4, /* no spaces at the ends, no two in a row */
    SLM_NORMAL_MAP = 5,     /* a: the table of slm_unicode_map_table() */
    SLM_NORMAL_CHARSMAP = 6 /* a: SentencePiece's table of characters; b: empty, or the table of
                               slm_unicode_cluster_table(): by clusters */
};
#define SLM_PREPEND_UNLESS_THERE 1u /* not if the text begins with it */
#define SLM_PREPEND_FIRST_ONLY 2u   /* only at the start of the input, not after an added token */
#define SLM_PREPEND_ALWAYS 256u  /* even when the steps before have left nothing of the text */
#define SLM_NORMAL_LATE 4u          /* any kind: after the added tokens of ADDED_LATE were found */
#define SLM_NORMAL_DECOMPOSED 8u    /* FORM: NFD or NFKD */
#define SLM_NORMAL_COMPATIBLE 16u   /* FORM: NFKC or NFKD; readers see it in the table */
/* SQUEEZE: what it does; the first three, of spaces alone, when none is set. */
#define SLM_SQUEEZE_BEGIN 32u   /* no white space at the start */
#define SLM_SQUEEZE_END 64u     /* ... at the end */
#define SLM_SQUEEZE_INSIDE 128u /* no two spaces in a row */
#define SLM_SQUEEZE_LAST 512u   /* no spaces at the end */

struct slm_text_normal {
    uint32_t kind, flags;
    uint32_t a, a_length; /* in NORMAL_POOL */
    uint32_t b, b_length;
};

/* Classes of characters. Class 0 is the end of the text; a character's class is
 * blocks[stage[c >> 7]][c & 127], and default_class where stage[] has ended. ASCII is block 0. */
struct slm_text_classes {
    uint32_t n_classes; /* with class 0 */
    uint32_t n_stage;   /* entries of stage[] */
    uint32_t n_blocks;
    uint32_t default_class;
    uint16_t stage[]; /* [n_stage], rounded up to an even number */
    /* uint8_t blocks[n_blocks][128]; */
};

/* What becomes of the matches of a pattern, and of what lies between them. */
enum slm_scan_behaviour {
    SLM_SCAN_ISOLATED = 0,   /* both are pieces */
    SLM_SCAN_REMOVED = 1,    /* matches vanish */
    SLM_SCAN_PREVIOUS = 2,   /* a match belongs to the piece before it */
    SLM_SCAN_NEXT = 3,       /* ... or after it */
    SLM_SCAN_CONTIGUOUS = 4, /* matches in a row are one piece */
    SLM_SCAN_WORD = 5        /* not a step, and the last scanner: one character of a word, for added
                                tokens with SLM_ADDED_SINGLE_WORD */
};

enum slm_scan_flags {
    SLM_SCAN_INVERT = 1 << 0, /* what the pattern matches is what lies between */
    SLM_SCAN_BYTES = 1 << 1   /* it reads bytes, each as the character that GPT-2's printable
                                 alphabet has for it: slm_printable() */
};

/* GPT-2 writes each byte as a character that can be seen: those of Latin-1 that can stand for
 * themselves, and for the others, in order, U+0100 and up. */
static inline uint32_t slm_printable(uint8_t byte)
{
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0)
        return 0x121u + (byte - 0x7Fu);
    return byte == 0xAD ? 0x143 : byte;
}

struct slm_text_scanner {
    uint32_t first;     /* of its transitions, counted in u16 */
    uint32_t n_states;  /* state 0 is dead, state 1 the start */
    uint32_t behaviour; /* enum slm_scan_behaviour */
    uint32_t flags;     /* enum slm_scan_flags */
};

/* Transitions: u16[n_states][n_classes], each the next state times n_classes, and SLM_SCAN_MATCH
 * when a match ends before the character that is being read. */
#define SLM_SCAN_MATCH 0x8000u
struct slm_text_scanners {
    uint32_t n_scanners;
    uint32_t n_transitions;
    struct slm_text_scanner
        scanners[]; /* [n_scanners]; uint16_t transitions[n_transitions] follow */
};

/* The view. Everything points into the section. */
struct slm_text {
    const struct slm_text_header *header;
    const uint8_t *pool;
    const uint32_t *bases;
    const uint16_t *offsets;
    const uint16_t *info;
    const uint32_t *hash;
    const uint32_t *ranks;
    const struct slm_text_merge *merges;
    const uint32_t *bytes;
    const uint8_t *cuts;
    const struct slm_text_added_table *added[2]; /* raw, late; NULL: none */
    const uint8_t *added_pool;
    const struct slm_text_normal *normal;
    const uint8_t *normal_pool;
    const struct slm_text_classes *classes;
    const uint8_t *blocks; /* [n_blocks][128] */
    const struct slm_text_scanner *scanners;
    const uint16_t *transitions;
    const uint8_t *continuation; /* [n_continuation] */
    const uint8_t *beginnings;   /* bits; NULL: not known */
    const void *scores;          /* float[n_tokens], or double */
    const uint32_t *prefix, *suffix, *stop, *pair;
    const uint32_t *named; /* [SLM_NAMED_COUNT]; NULL: nothing is known */
    uint32_t pool_length, n_merges, n_normal, n_scanners, n_prefix, n_suffix, n_stop, n_pair;
    uint32_t added_pool_length, n_continuation;
    uint32_t beginnings_shift; /* of a mixed hash: what is left is the number of its bit */
    int32_t word_scanner;      /* the SLM_SCAN_WORD one, or -1 */
    const char *chat_template; /* [n_template]: ordinary added tokens that occur in it are markup, too;
                                  NULL: those with SLM_ADDED_MARKUP alone */
    size_t n_template;
    uint32_t n_tokens;         /* of the section */
    uint32_t n_vocab;          /* of the model: ids above n_tokens are padding without a text */
};

/* Text of a token; *n is 0 for one that has none, or whose entry is damaged. */
static inline const uint8_t *slm_text_bytes(const struct slm_text *t, uint32_t token, size_t *n)
{
    uint32_t shift = t->header->block_shift;
    uint64_t start = (uint64_t)t->bases[token >> shift] + t->offsets[token];
    uint64_t end = (uint64_t)t->bases[(token + 1) >> shift] + t->offsets[token + 1];
    if (start > end || end > t->pool_length)
        start = end = 0;
    *n = (size_t)(end - start);
    return t->pool + start;
}

static inline uint32_t slm_text_kind(const struct slm_text *t, uint32_t token)
{
    return t->info[token] >> SLM_INFO_KIND_SHIFT & 7;
}

/*
 * The hash. A text's hash is a polynomial in its bytes, so that the hash of two neighbours joined
 * follows from theirs. A slot is a token with a tag: the distance from where its hash points to,
 * plus 1 (4 bits), then 6 more bits of the hash; the token has the 22 bits below. Slots are sorted
 * by where they would like to be, so a search ends as soon as the distance in the slot is smaller
 * than its own; an empty slot is 0.
 */
#define SLM_HASH_BASE 0x9E3779B97F4A7C55ull
#define SLM_HASH_REACH 15 /* slots behind the last: a search looks at no more than this many */
#define SLM_HASH_ID_BITS 22

static inline uint64_t slm_text_hash(const uint8_t *p, size_t n)
{
    const uint64_t b = SLM_HASH_BASE, b2 = b * b, b3 = b2 * b, b4 = b2 * b2;
    uint64_t h = 0;
    for (; n >= 4; n -= 4, p += 4) /* four at a time: one multiplication waits for the last */
        h = h * b4 + ((p[0] + 1u) * b3 + (p[1] + 1u) * b2) + ((p[2] + 1u) * b + p[3] + 1u);
    for (; n > 0; n--, p++)
        h = h * b + p[0] + 1;
    return h;
}

static inline uint64_t slm_hash_mix(uint64_t h)
{
    h ^= h >> 32;
    return h * 0xD6E8FEB86659FD93ull;
}

static inline uint32_t slm_hash_slot(uint64_t mixed, uint32_t n_slots)
{
    return (uint32_t)((mixed >> 32) * n_slots >> 32);
}

static inline uint32_t slm_hash_tag(uint64_t mixed)
{
    return (uint32_t)(mixed >> 20) & 63;
}

/* Whether some token may begin with a text that has this hash, and go on. Wrong once in a while,
 * but never when it says no. */
static inline bool slm_text_goes_on(const struct slm_text *t, uint64_t h)
{
    if (!t->beginnings)
        return true;
    uint64_t bit = slm_hash_mix(h) >> t->beginnings_shift;
    return t->beginnings[bit >> 3] >> (bit & 7) & 1;
}

/* Unicode's White_Space. */
static inline bool slm_is_white_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

/* The score of a token in a Unigram model. */
double slm_text_score(const struct slm_text *t, uint32_t token);

/* memcmp for a few bytes: the last words overlap. */
static inline bool slm_same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (n < 4)
        return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
    if (n < 8)
        return slm_load_u32(a) == slm_load_u32(b) &&
               slm_load_u32(a + n - 4) == slm_load_u32(b + n - 4);
    for (size_t i = 0; i + 8 < n; i += 8)
        if (slm_load_u64(a + i) != slm_load_u64(b + i))
            return false;
    return slm_load_u64(a + n - 8) == slm_load_u64(b + n - 8);
}

/* The token that is exactly text[n], whose hash is h; SLM_TEXT_NO_TOKEN if there is none. */
static inline uint32_t slm_text_find(const struct slm_text *t, const uint8_t *text, size_t n,
                                     uint64_t h)
{
    uint64_t mixed = slm_hash_mix(h);
    const uint32_t *slot = t->hash + slm_hash_slot(mixed, t->header->n_slots);
    uint32_t tag = slm_hash_tag(mixed);
    for (uint32_t distance = 1; distance <= SLM_HASH_REACH; distance++, slot++) {
        uint32_t entry = *slot;
        if (entry >> 28 < distance)
            break;
        uint32_t token = entry & ((1u << SLM_HASH_ID_BITS) - 1);
        size_t length;
        if (entry >> SLM_HASH_ID_BITS != (distance << 6 | tag) || token >= t->n_tokens)
            continue;
        const uint8_t *bytes = slm_text_bytes(t, token, &length);
        if (length == n && slm_same_bytes(bytes, text, n))
            return token;
    }
    return SLM_TEXT_NO_TOKEN;
}

#endif
