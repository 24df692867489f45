/*
 * regex_dfa.c - programs of patterns to automata, and those to the tables of text/scan.c.
 *
 * A state is a list of places in the program, the preferred first, each standing before a
 * character that is still to come. Reading a character of a class walks from each place, in
 * order, to the instructions that consume it; where the walk comes to MATCH, a match ends before
 * that character, and everything less preferred is forgotten. Looking ahead is therefore free:
 * the walk knows the next character. The match that was seen last is the one that a
 * backtracking engine returns.
 */
#include "vocab/regex.h"

#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define MAX_CLASSES 250       /* u8 in the table of blocks */
#define MAX_TRANSITIONS 32767 /* 15 bits in a transition */
#define MINIMIZE_LIMIT 512    /* states; published patterns have up to 40 */

struct compiler {
    struct slm_regex_sets sets;
    struct slm_buf code;       /* struct slm_regex_instruction[]: the programs, one after another */
    struct slm_buf signatures; /* [n_classes][set_bytes]: which sets hold the class */
    uint32_t set_bytes;
    uint32_t n_classes; /* with class 0, the end of the text */
    struct slm_buf *classes, *scanners;
    const slm_allocator *allocator;
};

/* ------------------------------------------------------------------ classes of characters --- */

static int compare_u32(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    return x < y ? -1 : x > y;
}

/* The class with the signature, new if need be; 0 when there are too many. */
static uint32_t class_of_signature(struct compiler *c, const uint8_t *signature)
{
    for (uint32_t i = 1; i < c->n_classes; i++)
        if (memcmp(c->signatures.data + (size_t)i * c->set_bytes, signature, c->set_bytes) == 0)
            return i;
    if (c->n_classes == MAX_CLASSES)
        return 0;
    slm_buf_append(&c->signatures, signature, c->set_bytes);
    return c->signatures.failed ? 0 : c->n_classes++;
}

/* Give every character its class: characters that the same sets hold share one. */
static int classify(struct compiler *c, uint8_t *class_of)
{
    struct slm_buf edges = {.allocator = c->allocator};
    int rc = SLM_OK;
    slm_buf_u32(&edges, 0);
    slm_buf_u32(&edges, SLM_UNICODE_LAST + 1);
    for (uint32_t i = 0; i < c->sets.n; i++) {
        size_t n;
        const struct slm_char_range *r = slm_set_ranges(&c->sets.sets[i], &n);
        for (size_t k = 0; k < n; k++) {
            slm_buf_u32(&edges, r[k].first);
            slm_buf_u32(&edges, r[k].last + 1);
        }
    }
    uint8_t *signature = slm_calloc(c->allocator, c->set_bytes);
    if (!signature || edges.failed) {
        rc = SLM_ENOMEM;
        goto done;
    }
    slm_buf_append(&c->signatures, signature, c->set_bytes); /* class 0 is in no set */
    c->n_classes = 1;
    size_t n_edges = edges.length / 4;
    qsort(edges.data, n_edges, 4, compare_u32);
    for (size_t e = 0; e + 1 < n_edges; e++) {
        uint32_t first = slm_load_u32(edges.data + 4 * e);
        uint32_t end = slm_load_u32(edges.data + 4 * (e + 1));
        if (first == end)
            continue;
        memset(signature, 0, c->set_bytes);
        for (uint32_t i = 0; i < c->sets.n; i++)
            if (slm_set_has(&c->sets.sets[i], first))
                signature[i / 8] = (uint8_t)(signature[i / 8] | 1u << i % 8);
        uint32_t class = class_of_signature(c, signature);
        if (class == 0) {
            rc = c->signatures.failed
                     ? SLM_ENOMEM
                     : slm_fail(SLM_ELIMIT,
                                "pre-tokenizer patterns: more than %d classes of characters",
                                MAX_CLASSES);
            goto done;
        }
        memset(class_of + first, (int)class, end - first);
    }
done:
    slm_free(c->allocator, signature, c->set_bytes);
    slm_buf_free(&edges);
    return rc;
}

/* The table of SLM_TEXT_CLASSES: equal blocks of 128 characters once, and nothing behind the last
 * character that is not of the commonest class of unassigned ones. */
static int write_classes(struct compiler *c, const uint8_t *class_of)
{
    enum { BLOCK = 128, N_BLOCKS = (SLM_UNICODE_LAST + 1) / BLOCK };
    uint32_t default_class = class_of[SLM_UNICODE_LAST], last = SLM_UNICODE_LAST;
    while (last > BLOCK && class_of[last] == default_class)
        last--;
    uint32_t n_stage = last / BLOCK + 1, n_blocks = 0;
    uint16_t stage[N_BLOCKS];
    struct slm_buf blocks = {.allocator = c->allocator};
    for (uint32_t i = 0; i < n_stage; i++) {
        const uint8_t *block = class_of + (size_t)i * BLOCK;
        uint32_t same = 0;
        while (same < n_blocks && memcmp(blocks.data + (size_t)same * BLOCK, block, BLOCK) != 0)
            same++;
        if (same == n_blocks) {
            slm_buf_append(&blocks, block, BLOCK);
            n_blocks++;
        }
        if (blocks.failed)
            break;
        stage[i] = (uint16_t)same;
    }
    slm_buf_u32(c->classes, c->n_classes);
    slm_buf_u32(c->classes, n_stage);
    slm_buf_u32(c->classes, n_blocks);
    slm_buf_u32(c->classes, default_class);
    slm_buf_append(c->classes, stage, n_stage * sizeof(stage[0]));
    slm_buf_align(c->classes, 4);
    slm_buf_append(c->classes, blocks.data, blocks.length);
    c->classes->failed |= blocks.failed;
    slm_buf_free(&blocks);
    return slm_buf_ok(c->classes);
}

/* ----------------------------------------------------------------------------- automaton --- */

struct automaton {
    const struct slm_regex_instruction *code;
    uint32_t n_code;
    uint32_t n_classes;
    struct slm_buf lists;  /* u32: the places of all states, one after another */
    struct slm_buf starts; /* u32[n_states + 1]: in lists */
    struct slm_buf table;  /* u32[n_states][n_classes]: next state << 1 | match */
    uint32_t n_states;
    uint32_t *stack; /* [2 * n_code] */
    uint32_t *seen;  /* [n_code]: stamp of the walk that came by last */
    uint32_t *kept;  /* [n_code]: likewise, of the places of the new state */
    uint32_t stamp;
};

/* A class is in a set or not as a whole; that is what classes are. */
static bool in_set(const struct compiler *c, uint32_t class, int32_t set)
{
    return c->signatures.data[(size_t) class * c->set_bytes + (uint32_t)set / 8] >> set % 8 & 1;
}

/* From one place to everything that consumes `class`, in order of preference; what comes after it
 * is appended to lists. True when MATCH was met: nothing less preferred counts then. */
static bool walk(const struct compiler *c, struct automaton *m, uint32_t from, uint32_t class)
{
    uint32_t depth = 0;
    m->stack[depth++] = from;
    while (depth > 0) {
        uint32_t pc = m->stack[--depth];
        if (m->seen[pc] == m->stamp)
            continue;
        m->seen[pc] = m->stamp;
        const struct slm_regex_instruction *i = &m->code[pc];
        switch (i->op) {
        case SLM_REGEX_SPLIT:
            m->stack[depth++] = pc + (uint32_t)i->b;
            m->stack[depth++] = pc + (uint32_t)i->a;
            break;
        case SLM_REGEX_JUMP: m->stack[depth++] = pc + (uint32_t)i->a; break;
        case SLM_REGEX_AHEAD:
            if (class == 0 ? i->b != 0 : in_set(c, class, i->a))
                m->stack[depth++] = pc + 1;
            break;
        case SLM_REGEX_CLASS:
            if (class != 0 && in_set(c, class, i->a) && m->kept[pc + 1] != m->stamp) {
                m->kept[pc + 1] = m->stamp;
                slm_buf_u32(&m->lists, pc + 1);
            }
            break;
        default: return true;
        }
    }
    return false;
}

/* The number of the state whose list was just appended; the list goes again if it is known. */
static uint32_t state_of_list(struct automaton *m)
{
    uint32_t *starts = (uint32_t *)(void *)m->starts.data;
    uint32_t begin = starts[m->n_states], n = (uint32_t)(m->lists.length / 4) - begin;
    for (uint32_t s = 0; s < m->n_states; s++) {
        if (starts[s + 1] - starts[s] == n &&
            (n == 0 || memcmp(m->lists.data + (size_t)starts[s] * 4,
                              m->lists.data + (size_t)begin * 4, (size_t)n * 4) == 0)) {
            m->lists.length = (size_t)begin * 4;
            return s;
        }
    }
    slm_buf_u32(&m->starts, begin + n);
    return m->n_states++;
}

static int too_large(void)
{
    return slm_fail(SLM_ELIMIT,
                    "pre-tokenizer pattern: its automaton has more than %d transitions; "
                    "long counts make it large",
                    MAX_TRANSITIONS);
}

/* State 0 is dead (an empty list), state 1 the start; the others as they are found. */
static int determinize(const struct compiler *c, struct automaton *m)
{
    slm_buf_u32(&m->starts, 0);
    slm_buf_u32(&m->starts, 0); /* where state 1 begins: state 0 has no places */
    m->n_states = 1;
    slm_buf_u32(&m->lists, 0);
    if (m->lists.failed || m->starts.failed)
        return SLM_ENOMEM;
    state_of_list(m);
    for (uint32_t s = 0; s < m->n_states; s++) {
        for (uint32_t class = 0; class < m->n_classes; class ++) {
            bool match = false;
            m->stamp++;
            uint32_t n = slm_load_u32(m->starts.data + 4 * (size_t)(s + 1));
            for (uint32_t i = slm_load_u32(m->starts.data + 4 * (size_t)s); i < n && !match; i++)
                match = walk(c, m, slm_load_u32(m->lists.data + 4 * (size_t)i), class);
            if (m->lists.failed || m->starts.failed)
                return SLM_ENOMEM;
            slm_buf_u32(&m->table, state_of_list(m) << 1 | match);
            if (m->starts.failed) /* a state without its entry must not be looked at */
                return SLM_ENOMEM;
            if (s == 1 && match)
                return slm_fail(SLM_EUNSUPPORTED,
                                "pre-tokenizer pattern: it matches the empty text");
            if ((uint64_t)m->n_states * m->n_classes > MAX_TRANSITIONS)
                return too_large();
        }
    }
    return slm_buf_ok(&m->table);
}

/* Join states that no text can tell apart: start with all in one group and split until every
 * group agrees on where each class leads. group[] gets the result. */
static uint32_t minimize(const struct automaton *m, uint32_t *group, uint32_t *fresh)
{
    const uint32_t *table = (const uint32_t *)(const void *)m->table.data;
    uint32_t n_groups = 1, before = 0;
    if (m->n_states > MINIMIZE_LIMIT) { /* cubic at worst, and a large table is right as well */
        for (uint32_t s = 0; s < m->n_states; s++)
            group[s] = s;
        return m->n_states;
    }
    memset(group, 0, m->n_states * sizeof(*group));
    while (n_groups != before) {
        before = n_groups;
        n_groups = 0;
        for (uint32_t s = 0; s < m->n_states; s++) {
            uint32_t same = 0;
            for (; same < s; same++) {
                const uint32_t *x = table + (size_t)s * m->n_classes;
                const uint32_t *y = table + (size_t)same * m->n_classes;
                uint32_t k = 0;
                if (group[s] != group[same])
                    continue;
                while (k < m->n_classes && group[x[k] >> 1] == group[y[k] >> 1] &&
                       (x[k] & 1) == (y[k] & 1))
                    k++;
                if (k == m->n_classes)
                    break;
            }
            fresh[s] = same < s ? fresh[same] : n_groups++;
        }
        memcpy(group, fresh, m->n_states * sizeof(*group));
    }
    return n_groups;
}

/* ------------------------------------------------------------------ absorbing a step ----- */

/* Whether all that the automaton matches is one character of some classes, which are put into
 * single[n_classes]. Digits one by one are such a step. */
static bool is_single_character(const struct automaton *m, uint8_t *single)
{
    const uint32_t *table = (const uint32_t *)(const void *)m->table.data;
    const uint32_t *start = table + m->n_classes;
    for (uint32_t k = 0; k < m->n_classes; k++) {
        single[k] = start[k] >> 1 != 0;
        const uint32_t *after = table + (size_t)(start[k] >> 1) * m->n_classes;
        for (uint32_t i = 0; single[k] && i < m->n_classes; i++)
            if (after[i] != 1) /* dead, and a match */
                return false;
    }
    return true;
}

/* Run the step before this one in the same automaton: its characters are pieces, and what lies
 * between them ends there, as at the end of the text. */
static int absorb(struct automaton *m, const uint8_t *single)
{
    uint32_t state = m->n_states;
    if (!memchr(single, 1, m->n_classes))
        return SLM_OK;
    for (uint32_t k = 0; k < m->n_classes; k++)
        slm_buf_u32(&m->table, 1); /* the new state: one character was read, and matches */
    if (slm_buf_ok(&m->table) < 0)
        return SLM_ENOMEM;
    uint32_t *table = (uint32_t *)(void *)m->table.data;
    if ((uint64_t)++m->n_states * m->n_classes > MAX_TRANSITIONS)
        return too_large();
    for (uint32_t s = 1; s < state; s++)
        for (uint32_t k = 1; k < m->n_classes; k++)
            if (single[k])
                table[(size_t)s * m->n_classes + k] =
                    s == 1 ? state << 1 : table[(size_t)s * m->n_classes] & 1;
    return SLM_OK;
}

/* Append the automaton of the program to the transitions. single: classes of the step before that
 * this one absorbs. If what comes out is such a step itself, and may_be_absorbed, it is not
 * appended: single gets its classes, and *n_states is 0. */
static int build_automaton(struct compiler *c, size_t code_start, uint8_t *single,
                           bool may_be_absorbed, struct slm_buf *transitions, uint32_t *n_states)
{
    struct automaton m = {
        .code = (const struct slm_regex_instruction *)(const void *)c->code.data + code_start,
        .n_code = (uint32_t)(c->code.length / sizeof(*m.code) - code_start),
        .n_classes = c->n_classes,
        .lists.allocator = c->allocator,
        .starts.allocator = c->allocator,
        .table.allocator = c->allocator,
    };
    size_t work_size = (size_t)m.n_code * 4 * sizeof(uint32_t), states_size = 0;
    uint32_t *work = slm_calloc(c->allocator, work_size), *groups = NULL;
    int rc = SLM_ENOMEM;
    if (!work)
        goto done;
    m.stack = work;
    m.seen = work + 2 * m.n_code;
    m.kept = work + 3 * m.n_code;
    if ((rc = determinize(c, &m)) < 0 || (rc = absorb(&m, single)) < 0)
        goto done;
    if (may_be_absorbed && is_single_character(&m, single)) {
        *n_states = 0;
        goto done;
    }
    memset(single, 0, MAX_CLASSES);
    states_size = (size_t)m.n_states * 2 * sizeof(uint32_t);
    groups = slm_alloc(c->allocator, states_size);
    if (!groups) {
        rc = SLM_ENOMEM;
        goto done;
    }
    *n_states = minimize(&m, groups, groups + m.n_states);
    if (groups[1] == 0) {
        rc = slm_fail(SLM_EUNSUPPORTED, "pre-tokenizer pattern: it matches nothing");
        goto done;
    }
    /* Groups are numbered by their first state, so dead and start stay 0 and 1. */
    uint32_t written = 0;
    for (uint32_t s = 0; s < m.n_states; s++) {
        if (groups[s] != written)
            continue;
        written++;
        for (uint32_t k = 0; k < m.n_classes; k++) {
            uint32_t entry = slm_load_u32(m.table.data + 4 * ((size_t)s * m.n_classes + k));
            uint16_t next =
                (uint16_t)(groups[entry >> 1] * m.n_classes | (entry & 1 ? SLM_SCAN_MATCH : 0));
            slm_buf_append(transitions, &next, sizeof(next));
        }
    }
    rc = slm_buf_ok(transitions);
done:
    slm_free(c->allocator, work, work_size);
    slm_free(c->allocator, groups, states_size);
    slm_buf_free(&m.lists);
    slm_buf_free(&m.starts);
    slm_buf_free(&m.table);
    return rc;
}

/* --------------------------------------------------------------------------------- all --- */

/* Steps of this kind can be run in one automaton with the next. */
static bool is_plain(const struct slm_regex_step *step)
{
    return step->behaviour == SLM_SCAN_ISOLATED && step->flags == 0;
}

/* All steps in order, those that were absorbed left out. */
static int write_scanners(struct compiler *c, const struct slm_regex_step *steps, size_t n,
                          const size_t *code_starts)
{
    struct slm_buf transitions = {.allocator = c->allocator};
    struct slm_text_scanner rows[SLM_TEXT_MAX_STEPS] = {{0}};
    uint8_t single[MAX_CLASSES] = {0};
    uint32_t n_rows = 0;
    int rc = SLM_OK;
    for (size_t i = 0; i < n && rc == SLM_OK; i++) {
        struct slm_text_scanner *row = &rows[n_rows];
        row->first = (uint32_t)(transitions.length / sizeof(uint16_t));
        row->behaviour = steps[i].behaviour;
        row->flags = steps[i].flags;
        bool absorbed = i + 1 < n && is_plain(&steps[i]) && is_plain(&steps[i + 1]);
        rc = build_automaton(c, code_starts[i], single, absorbed, &transitions, &row->n_states);
        if (rc < 0)
            slm_fail_in(rc, "step %zu", i + 1);
        n_rows += row->n_states > 0;
    }
    if (rc == SLM_OK) {
        slm_buf_u32(c->scanners, n_rows);
        slm_buf_u32(c->scanners, (uint32_t)(transitions.length / sizeof(uint16_t)));
        slm_buf_append(c->scanners, rows, n_rows * sizeof(rows[0]));
        slm_buf_append(c->scanners, transitions.data, transitions.length);
        rc = slm_buf_ok(c->scanners);
    }
    slm_buf_free(&transitions);
    return rc;
}

/* Parse everything first: the classes depend on the sets of all patterns. */
int slm_regex_compile(const struct slm_regex_step *steps, size_t n, bool meta_space,
                      struct slm_buf *classes, struct slm_buf *scanners, const slm_allocator *a)
{
    struct compiler c = {.sets.allocator = a,
                         .code.allocator = a,
                         .signatures.allocator = a,
                         .classes = classes,
                         .scanners = scanners,
                         .allocator = a};
    size_t code_starts[SLM_TEXT_MAX_STEPS];
    uint8_t *class_of = NULL;
    int rc = SLM_OK;
    if (n > SLM_TEXT_MAX_STEPS)
        return slm_fail(SLM_ELIMIT, "pre-tokenizer: %zu steps; the limit is %d", n,
                        SLM_TEXT_MAX_STEPS);
    for (size_t i = 0; i < n; i++) {
        code_starts[i] = c.code.length / sizeof(struct slm_regex_instruction);
        rc = slm_regex_parse(steps[i].pattern, steps[i].length, &c.sets, &c.code);
        if (rc < 0) {
            slm_fail_in(rc, "step %zu", i + 1);
            goto done;
        }
    }
    c.set_bytes = c.sets.n / 8 + 1;
    class_of = slm_alloc(a, SLM_UNICODE_LAST + 1);
    if (!class_of) {
        rc = SLM_ENOMEM;
        goto done;
    }
    if ((rc = classify(&c, class_of)) < 0)
        goto done;
    if (meta_space)
        class_of[' '] = class_of[0x2581];
    if ((rc = write_classes(&c, class_of)) < 0)
        goto done;
    rc = write_scanners(&c, steps, n, code_starts);
done:
    slm_free(a, class_of, SLM_UNICODE_LAST + 1);
    slm_regex_sets_free(&c.sets);
    slm_buf_free(&c.code);
    slm_buf_free(&c.signatures);
    return rc;
}
