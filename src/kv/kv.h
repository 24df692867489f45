/*
 * kv.h - keys and values of all sequences, in pages.
 *
 * A page holds SLM_PAGE positions of every layer of a group; a sequence is a table of page numbers.
 * Pages are counted, so sequences share them: to fork is to count up, to truncate is to count
 * down, and who writes into a shared page copies it first. Layers are grouped by their attention
 * window, since a group that looks back less far needs other pages: those that its window has left
 * behind can be given back, and then the table has a hole (SLM_NO_PAGE) in their place.
 */
#ifndef SLM_KV_KV_H
#define SLM_KV_KV_H

#include "base/alloc.h"
#include "format/traits.h"
#include "kern/kern.h"

#define SLM_NO_PAGE UINT32_MAX

enum { SLM_LIMIT_KV_GROUPS = 8 }; /* different windows in one model; known models have 1 or 2 */

struct slm_kv_group {
    uint32_t window;   /* 0: all positions */
    uint32_t n_pages;
    uint32_t n_free;
    uint32_t *free;    /* [n_pages] stack of free page numbers */
    uint32_t *counts;  /* [n_pages] owners */
};

/* Where a layer's part of its group's pages lies: for each KV head the keys of all pages one after
 * another, then for each head the values. A text's pages mostly follow each other too, so a head's
 * keys are read from memory as one stream. */
struct slm_kv_layer {
    uint32_t group, n_heads;
    struct slm_kv_shape shape;     /* of a head's page: as in kern/kern.h */
    uint8_t *keys;                 /* [n_heads][n_pages][shape.key_bytes] */
    uint8_t *values;               /* [n_heads][n_pages][shape.value_bytes] */
    size_t key_plane, value_plane; /* bytes from head to head */
};

struct slm_kv {
    uint32_t type;        /* SLM_KV_ */
    uint32_t n_layers, n_groups;
    bool layers_share_pages; /* all layers have the same room: slm_kv_sizes */
    uint32_t max_pages;   /* of one sequence in one group: the length of tables */
    uint32_t max_batch;
    struct slm_kv_layer *layers; /* [n_layers] */
    struct slm_kv_group groups[SLM_LIMIT_KV_GROUPS];
};

/* A sequence's pages in one group. */
struct slm_kv_table {
    uint32_t *pages;   /* [max_pages]; holes are SLM_NO_PAGE */
    uint32_t n_pages;  /* holes included */
};

struct slm_kv_sizes {
    uint32_t max_tokens;        /* positions of groups that see all of them */
    uint32_t max_window_tokens; /* of groups with a window; more where one sequence needs it */
    uint32_t max_seq_tokens;    /* the longest sequence */
    uint32_t max_seqs;
    uint32_t max_batch;         /* positions that are written before any are given back */
    bool layers_share_pages;    /* nobody reads a layer's keys and values once the next layer has
                                   begun: one group, and where all layers have the same shape one
                                   room (else the pages that the first has cleared would not be the
                                   next one's) */
};

/* Lay out the pages in the arena (which may only be measuring).
 * SLM_EUNSUPPORTED: more groups than SLM_LIMIT_KV_GROUPS. */
int slm_kv_init(struct slm_kv *kv, const struct slm_layer_traits *layers, uint32_t n_layers,
                uint32_t type, const struct slm_kv_sizes *sizes, struct slm_arena *arena);

/* Pages that group `group` must have free to take a table from `length` positions to `wanted`.
 * `copied`: how many tables that share the page in which `length` ends grow before this one; each
 * of them takes a copy, so that the last owner keeps the page. */
uint32_t slm_kv_missing(const struct slm_kv *kv, uint32_t group, const struct slm_kv_table *table,
                        uint32_t length, uint32_t wanted, uint32_t copied);

/* The most of them that are ever needed at once when positions that no window reaches are given back
 * between batches (slm_kv_forget): at most the above. */
uint32_t slm_kv_missing_at_once(const struct slm_kv *kv, uint32_t group,
                                const struct slm_kv_table *table, uint32_t length, uint32_t wanted,
                                uint32_t copied);

/* Take them, not cleared, and make the page that `length` ends in the table's own. There must be enough. */
void slm_kv_grow(struct slm_kv *kv, uint32_t group, struct slm_kv_table *table, uint32_t length,
                 uint32_t wanted);

/* Make a page all zeros: attention reads whole vectors of positions and drops those that do not exist,
 * and what another text left behind should not even be read. Who writes a page's first position does
 * this before, so it is shared by threads as the rows are; a call that takes pages only takes them. */
void slm_kv_clear(const struct slm_kv *kv, uint32_t group, uint32_t page);

/* Give back all pages but those of the first `length` positions. */
void slm_kv_shrink(struct slm_kv *kv, uint32_t group, struct slm_kv_table *table, uint32_t length);

/* Give back the pages that lie wholly in positions [from, to) of a group with a window, and leave
 * holes: nobody may look there again. */
void slm_kv_forget(struct slm_kv *kv, uint32_t group, struct slm_kv_table *table, uint32_t from,
                   uint32_t to);

/* Count one owner less, or one more, of each page that slm_kv_forget() would give back now, without
 * giving it: how many of them have none then. Who takes owners away must put them back. */
uint32_t slm_kv_disown(struct slm_kv *kv, uint32_t group, const struct slm_kv_table *table,
                       uint32_t from, uint32_t to);
void slm_kv_own(struct slm_kv *kv, uint32_t group, const struct slm_kv_table *table, uint32_t from,
                uint32_t to);

/* The first position that a token at `position` sees. */
uint32_t slm_kv_first_seen(const struct slm_kv *kv, uint32_t group, uint32_t position);

/* Whether all is there that a token at `length` would see: a table can be cut to that length. */
bool slm_kv_reaches(const struct slm_kv *kv, uint32_t group, const struct slm_kv_table *table,
                    uint32_t length);

/* An empty table gets the pages of another. */
void slm_kv_share(struct slm_kv *kv, uint32_t group, struct slm_kv_table *to,
                  const struct slm_kv_table *from);

#endif
