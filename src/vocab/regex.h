/*
 * regex.h - from the regular expressions of a pre-tokenizer to the tables that text/scan.c walks.
 *
 * A pattern becomes a small program (Pike's), the program an automaton over classes of characters.
 * The automaton finds what a backtracking engine finds: the first alternative that matches, and
 * of that the match that the greedy or lazy quantifiers prefer.
 *
 * Understood: literals, escapes, . [sets] with ranges, negation, nesting and &&, \s \S \d \D \w \W,
 * \p{category} \P{category}, ( ) (?: ) (?i: ) (?i), | ? * + {m} {m,} {m,n}, lazy, possessive where
 * it changes nothing, $ \z, and looking ahead one character: (?! ) (?= ). Everything else:
 * SLM_EUNSUPPORTED, by name.
 */
#ifndef SLM_VOCAB_REGEX_H
#define SLM_VOCAB_REGEX_H

#include "vocab/unicode.h"

enum slm_regex_op {
    SLM_REGEX_CLASS, /* consume one character of set a */
    SLM_REGEX_SPLIT, /* go on at a, and if that fails, at b; both relative to this instruction */
    SLM_REGEX_JUMP,  /* go on at a, relative */
    SLM_REGEX_AHEAD, /* go on if the next character is in set a, or at the end if b is 1 */
    SLM_REGEX_MATCH
};

struct slm_regex_instruction {
    int32_t op, a, b;
};

/* Programs that share their sets, so that one classification of characters serves all. */
struct slm_regex_sets {
    struct slm_char_set *sets; /* [n] */
    uint32_t n, capacity;
    const slm_allocator *allocator;
};

/* Append the program of the pattern to `code` (struct slm_regex_instruction[]). The pattern is
 * UTF-8. Errors name the place in the pattern: SLM_EFORMAT, SLM_EUNSUPPORTED, SLM_ELIMIT. */
int slm_regex_parse(const char *pattern, size_t n, struct slm_regex_sets *sets,
                    struct slm_buf *code);
void slm_regex_sets_free(struct slm_regex_sets *sets);

/* One automaton for each of n patterns, with one table of character classes for all of them:
 * the bytes of SLM_TEXT_CLASSES and of SLM_TEXT_SCANNERS as text/tokenizer.h has them.
 * meta_space: the patterns will see U+2581 wherever the text has a space. */
struct slm_regex_step {
    const char *pattern; /* UTF-8 */
    size_t length;
    uint32_t behaviour; /* enum slm_scan_behaviour */
    uint32_t flags;     /* enum slm_scan_flags */
};
int slm_regex_compile(const struct slm_regex_step *steps, size_t n, bool meta_space,
                      struct slm_buf *classes, struct slm_buf *scanners, const slm_allocator *a);

#endif
