/* kv.c - see kv.h. Plain bookkeeping on small arrays; the only bytes it moves are a copied page. */
#include "kv/kv.h"

#include <string.h>

static uint32_t pages_for(uint32_t positions)
{
    return (positions + SLM_PAGE - 1) / SLM_PAGE;
}

static int find_group(struct slm_kv *kv, uint32_t window, uint32_t *group)
{
    for (*group = 0; *group < kv->n_groups; ++*group)
        if (kv->groups[*group].window == window)
            return SLM_OK;
    if (kv->n_groups == SLM_LIMIT_KV_GROUPS)
        return slm_fail(SLM_EUNSUPPORTED, "the model's layers have more than %d different windows",
                        SLM_LIMIT_KV_GROUPS);
    kv->groups[kv->n_groups++].window = window;
    return SLM_OK;
}

/* Pages of a group. Every sequence but one may end in a page that it does not fill. A window's group
 * must be able to take one sequence any distance: the window before a call, which stays until the
 * call has succeeded, the window inside it, and a batch. */
static uint32_t pages_of_group(uint32_t window, const struct slm_kv_sizes *sizes)
{
    uint32_t shared = pages_for(window ? sizes->max_window_tokens : sizes->max_tokens);
    uint32_t longest = pages_for(sizes->max_seq_tokens);
    uint32_t least = 2 * pages_for(window) + pages_for(sizes->max_batch) + 3;
    if (window && shared < least)
        shared = least < longest ? least : longest;
    return shared + sizes->max_seqs - 1;
}

static bool same_shapes(const struct slm_layer_traits *layers, uint32_t n_layers)
{
    for (uint32_t i = 1; i < n_layers; i++)
        if (layers[i].n_kv_heads != layers[0].n_kv_heads || layers[i].head_dim != layers[0].head_dim)
            return false;
    return true;
}

int slm_kv_init(struct slm_kv *kv, const struct slm_layer_traits *layers, uint32_t n_layers,
                uint32_t type, const struct slm_kv_sizes *sizes, struct slm_arena *arena)
{
    memset(kv, 0, sizeof *kv);
    kv->type = type;
    kv->n_layers = n_layers;
    kv->max_pages = pages_for(sizes->max_seq_tokens);
    kv->max_batch = sizes->max_batch;
    kv->layers_share_pages = sizes->layers_share_pages && same_shapes(layers, n_layers);
    kv->layers = slm_arena_take(arena, n_layers, sizeof *kv->layers);

    size_t begin = arena->used, end = begin;
    for (uint32_t i = 0; i < n_layers; i++) {
        const struct slm_layer_traits *traits = &layers[i];
        struct slm_kv_layer layer = {0};
        uint32_t window = sizes->layers_share_pages ? 0 : traits->window;
        int rc = find_group(kv, window, &layer.group);
        if (kv->layers_share_pages)
            arena->used = begin;
        if (rc < 0)
            return rc;
        size_t n_pages = pages_of_group(window, sizes);
        layer.n_heads = traits->n_kv_heads;
        layer.shape = slm_kv_shape(type, traits->head_dim);
        layer.key_plane = n_pages * layer.shape.key_bytes;
        layer.value_plane = n_pages * layer.shape.value_bytes;
        layer.keys = slm_arena_take_rows(arena, layer.n_heads, n_pages, layer.shape.key_bytes);
        layer.values = slm_arena_take_rows(arena, layer.n_heads, n_pages, layer.shape.value_bytes);
        if (kv->layers)
            kv->layers[i] = layer;
        end = arena->used > end ? arena->used : end;
    }
    arena->used = end;
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        struct slm_kv_group *group = &kv->groups[g];
        uint32_t n_pages = pages_of_group(group->window, sizes);
        group->n_pages = group->n_free = n_pages;
        group->free = slm_arena_take(arena, n_pages, sizeof *group->free);
        group->counts = slm_arena_take(arena, n_pages, sizeof *group->counts);
        for (uint32_t p = 0; p < n_pages && group->free && group->counts; p++) {
            group->free[p] = n_pages - 1 - p; /* the lowest number is taken first */
            group->counts[p] = 0;
        }
    }
    return SLM_OK;
}

/* The table's last page, when it is not full and somebody else has it too, even after `copied` of
 * its owners took a copy. */
static bool must_copy(const struct slm_kv_group *group, const struct slm_kv_table *table,
                      uint32_t length, uint32_t copied)
{
    return length % SLM_PAGE != 0 && group->counts[table->pages[length / SLM_PAGE]] > 1 + copied;
}

uint32_t slm_kv_missing(const struct slm_kv *kv, uint32_t group, const struct slm_kv_table *table,
                        uint32_t length, uint32_t wanted, uint32_t copied)
{
    return pages_for(wanted) - table->n_pages + must_copy(&kv->groups[group], table, length, copied);
}

uint32_t slm_kv_missing_at_once(const struct slm_kv *kv, uint32_t group,
                                const struct slm_kv_table *table, uint32_t length, uint32_t wanted,
                                uint32_t copied)
{
    uint32_t all = slm_kv_missing(kv, group, table, length, wanted, copied);
    uint32_t window = kv->groups[group].window;
    uint32_t most = pages_for(window) + pages_for(kv->max_batch) + 2;
    return window && most < all ? most : all;
}

static uint32_t take(struct slm_kv_group *group)
{
    uint32_t page = group->free[--group->n_free];
    group->counts[page] = 1;
    return page;
}

static void drop(struct slm_kv_group *group, uint32_t page)
{
    if (--group->counts[page] == 0)
        group->free[group->n_free++] = page;
}

void slm_kv_clear(const struct slm_kv *kv, uint32_t group, uint32_t page)
{
    for (uint32_t i = 0; i < kv->n_layers; i++) {
        const struct slm_kv_layer *layer = &kv->layers[i];
        size_t keys = layer->shape.key_bytes, values = layer->shape.value_bytes;
        for (uint32_t head = 0; head < layer->n_heads; head++)
            if (layer->group == group && !(kv->layers_share_pages && i > 0)) {
                memset(layer->keys + head * layer->key_plane + page * keys, 0, keys);
                memset(layer->values + head * layer->value_plane + page * values, 0, values);
            }
    }
}

static void copy_page(struct slm_kv *kv, uint32_t group, uint32_t to, uint32_t from)
{
    for (uint32_t i = 0; i < kv->n_layers; i++) {
        const struct slm_kv_layer *layer = &kv->layers[i];
        size_t keys = layer->shape.key_bytes, values = layer->shape.value_bytes;
        for (uint32_t head = 0; head < layer->n_heads && layer->group == group; head++) {
            uint8_t *k = layer->keys + head * layer->key_plane;
            uint8_t *v = layer->values + head * layer->value_plane;
            memcpy(k + to * keys, k + from * keys, keys);
            memcpy(v + to * values, v + from * values, values);
        }
    }
}

void slm_kv_grow(struct slm_kv *kv, uint32_t index, struct slm_kv_table *table, uint32_t length,
                 uint32_t wanted)
{
    struct slm_kv_group *group = &kv->groups[index];
    if (must_copy(group, table, length, 0)) {
        uint32_t *last = &table->pages[length / SLM_PAGE], page = take(group);
        copy_page(kv, index, page, *last);
        drop(group, *last);
        *last = page;
    }
    while (table->n_pages < pages_for(wanted))
        table->pages[table->n_pages++] = take(group);
}

void slm_kv_shrink(struct slm_kv *kv, uint32_t index, struct slm_kv_table *table, uint32_t length)
{
    while (table->n_pages > pages_for(length)) {
        uint32_t page = table->pages[--table->n_pages];
        if (page != SLM_NO_PAGE)
            drop(&kv->groups[index], page);
    }
}

/* Pages [*first, *end) of a table lie wholly in positions [from, to). */
static void pages_within(const struct slm_kv_table *table, uint32_t from, uint32_t to, uint32_t *first,
                         uint32_t *end)
{
    *first = pages_for(from);
    *end = to / SLM_PAGE < table->n_pages ? to / SLM_PAGE : table->n_pages;
}

void slm_kv_forget(struct slm_kv *kv, uint32_t index, struct slm_kv_table *table, uint32_t from,
                   uint32_t to)
{
    uint32_t first, end;
    pages_within(table, from, to, &first, &end);
    for (uint32_t i = first; i < end; i++)
        if (table->pages[i] != SLM_NO_PAGE) {
            drop(&kv->groups[index], table->pages[i]);
            table->pages[i] = SLM_NO_PAGE;
        }
}

uint32_t slm_kv_disown(struct slm_kv *kv, uint32_t index, const struct slm_kv_table *table,
                       uint32_t from, uint32_t to)
{
    uint32_t first, end, n = 0;
    pages_within(table, from, to, &first, &end);
    for (uint32_t i = first; i < end; i++)
        n += table->pages[i] != SLM_NO_PAGE && --kv->groups[index].counts[table->pages[i]] == 0;
    return n;
}

void slm_kv_own(struct slm_kv *kv, uint32_t index, const struct slm_kv_table *table, uint32_t from,
                uint32_t to)
{
    uint32_t first, end;
    pages_within(table, from, to, &first, &end);
    for (uint32_t i = first; i < end; i++)
        if (table->pages[i] != SLM_NO_PAGE)
            kv->groups[index].counts[table->pages[i]]++;
}

uint32_t slm_kv_first_seen(const struct slm_kv *kv, uint32_t group, uint32_t position)
{
    uint32_t window = kv->groups[group].window;
    return window && position + 1 > window ? position + 1 - window : 0;
}

bool slm_kv_reaches(const struct slm_kv *kv, uint32_t group, const struct slm_kv_table *table,
                    uint32_t length)
{
    for (uint32_t i = slm_kv_first_seen(kv, group, length) / SLM_PAGE; i < pages_for(length); i++)
        if (table->pages[i] == SLM_NO_PAGE)
            return false;
    return true;
}

void slm_kv_share(struct slm_kv *kv, uint32_t index, struct slm_kv_table *to,
                  const struct slm_kv_table *from)
{
    for (uint32_t i = 0; i < from->n_pages; i++)
        if (from->pages[i] != SLM_NO_PAGE)
            kv->groups[index].counts[from->pages[i]]++;
    memcpy(to->pages, from->pages, from->n_pages * sizeof *to->pages);
    to->n_pages = from->n_pages;
}
