/*
 * test_kv.c - pages of keys and values: layout, counting, and copies on write, against a naive
 * model in which every sequence owns all of its positions.
 *
 * Instead of keys and values, each position of each layer holds a number that says who wrote it
 * last; whatever happens to other sequences, a sequence must read its own numbers back.
 */
#include "kv/kv.h"

#include "kern/kern.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TOKENS = 500, MAX_SEQS = 5, N_LAYERS = 4 };

static const struct slm_layer_traits layers[N_LAYERS] = {
    {.n_heads = 4, .n_kv_heads = 2, .head_dim = 8},
    {.n_heads = 3, .n_kv_heads = 3, .head_dim = 5, .window = 64},
    {.n_heads = 1, .n_kv_heads = 1, .head_dim = 128},
    {.n_heads = 8, .n_kv_heads = 1, .head_dim = 33, .window = 7},
};

static const struct slm_kv_sizes sizes = {.max_tokens = MAX_TOKENS,
                                          .max_window_tokens = MAX_TOKENS,
                                          .max_seq_tokens = MAX_TOKENS,
                                          .max_seqs = MAX_SEQS,
                                          .max_batch = 64};

struct pool {
    struct slm_kv kv;
    void *block;
    size_t bytes;
};

static struct pool make_pool(uint32_t type)
{
    struct pool p = {0};
    struct slm_arena measure = {0};
    assert_int_equal(slm_kv_init(&p.kv, layers, N_LAYERS, type, &sizes, &measure), 0);
    p.bytes = measure.used;
    p.block = slm_alloc(NULL, p.bytes);
    memset(p.block, 0xFF, p.bytes); /* nobody may count on zeros */
    struct slm_arena arena = {.base = p.block, .capacity = p.bytes};
    assert_int_equal(slm_kv_init(&p.kv, layers, N_LAYERS, type, &sizes, &arena), 0);
    assert_int_equal(arena.used, p.bytes);
    assert_false(arena.overflow);
    return p;
}

/* Where each layer's pages lie: as kern.h says, inside the block, without overlap. */
static void layout(void **state)
{
    (void)state;
    for (uint32_t type = SLM_KV_F16; type <= SLM_KV_Q8; type++) {
        struct pool p = make_pool(type);
        assert_int_equal(p.kv.n_groups, 3);
        assert_int_equal(p.kv.max_pages, (MAX_TOKENS + SLM_PAGE - 1) / SLM_PAGE);
        uint8_t *end = p.block;
        for (uint32_t i = 0; i < N_LAYERS; i++) {
            const struct slm_kv_layer *l = &p.kv.layers[i];
            const struct slm_kv_group *g = &p.kv.groups[l->group];
            size_t dim = layers[i].head_dim, stride = (dim + 15) / 16 * 16,
                   blocks = (dim + 31) / 32;
            assert_int_equal(g->window, layers[i].window);
            assert_int_equal(g->n_free, g->n_pages);
            assert_int_equal(l->n_heads, layers[i].n_kv_heads);
            assert_int_equal(l->shape.value_stride, stride);
            if (type == SLM_KV_Q8) {
                assert_int_equal(l->shape.key_bytes, 32 * blocks * (32 + 2 + 2));
                assert_int_equal(l->shape.value_bytes, 32 * stride);
            } else {
                size_t element = type == SLM_KV_F32 ? 4 : 2;
                assert_int_equal(l->shape.key_bytes, 32 * dim * element);
                assert_int_equal(l->shape.value_bytes, 32 * stride * element);
            }
            assert_int_equal(l->key_plane, g->n_pages * l->shape.key_bytes);
            assert_int_equal(l->value_plane, g->n_pages * l->shape.value_bytes);
            assert_int_equal((uintptr_t)l->keys % 64, 0);
            assert_int_equal((uintptr_t)l->values % 64, 0);
            assert_true(l->keys >= end);
            assert_true(l->values >= l->keys + l->n_heads * l->key_plane);
            end = l->values + l->n_heads * l->value_plane;
        }
        assert_true(end <= (uint8_t *)p.block + p.bytes);
        slm_free(NULL, p.block, p.bytes);
    }
}

/* 8 bits and two scales of 16 for 32 numbers each: 17/32 of what f16 takes. */
static void q8_is_half(void **state)
{
    (void)state;
    struct slm_kv_shape half = slm_kv_shape(SLM_KV_F16, 64), eight = slm_kv_shape(SLM_KV_Q8, 64);
    assert_int_equal(32 * (eight.key_bytes + eight.value_bytes),
                     17 * (half.key_bytes + half.value_bytes));
}

static void too_many_windows(void **state)
{
    (void)state;
    struct slm_layer_traits many[SLM_LIMIT_KV_GROUPS + 1];
    for (uint32_t i = 0; i <= SLM_LIMIT_KV_GROUPS; i++)
        many[i] =
            (struct slm_layer_traits){.n_heads = 1, .n_kv_heads = 1, .head_dim = 8, .window = i};
    struct slm_kv kv;
    struct slm_arena arena = {0};
    assert_int_equal(slm_kv_init(&kv, many, SLM_LIMIT_KV_GROUPS, 0, &sizes, &arena), SLM_OK);
    assert_int_equal(slm_kv_init(&kv, many, SLM_LIMIT_KV_GROUPS + 1, 0, &sizes, &arena),
                     SLM_EUNSUPPORTED);
}

/* ------------------------------------------------------------------ histories --- */

struct sequence {
    uint32_t length;
    uint32_t written[MAX_TOKENS + SLM_PAGE]; /* what each position must hold */
    struct slm_kv_table tables[SLM_LIMIT_KV_GROUPS];
    uint32_t pages[SLM_LIMIT_KV_GROUPS][(MAX_TOKENS + SLM_PAGE - 1) / SLM_PAGE];
};

/* A number of its own for each position, in the values of the last head: 4 bytes that belong to
 * this position alone in f16 and f32, and in q8 (where values of four positions lie side by side)
 * to one of four, at other dimensions. */
static uint8_t *place(const struct slm_kv *kv, uint32_t layer, const struct sequence *s,
                      uint32_t position)
{
    const struct slm_kv_layer *l = &kv->layers[layer];
    uint32_t page = s->tables[l->group].pages[position / SLM_PAGE];
    size_t slot = l->shape.value_bytes / SLM_PAGE;
    return l->values + (l->n_heads - 1) * l->value_plane + page * l->shape.value_bytes +
           position % SLM_PAGE * slot;
}

static void verify(const struct slm_kv *kv, const struct sequence *all)
{
    for (size_t i = 0; i < MAX_SEQS; i++)
        for (uint32_t p = 0; p < all[i].length; p++)
            for (uint32_t layer = 0; layer < N_LAYERS; layer++)
                assert_memory_equal(place(kv, layer, &all[i], p), &all[i].written[p], 4);

    /* Every page is either free or counted once for each table that has it. */
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        const struct slm_kv_group *group = &kv->groups[g];
        uint32_t *owners = calloc(group->n_pages, sizeof *owners), used = 0;
        for (size_t i = 0; i < MAX_SEQS; i++) {
            assert_int_equal(all[i].tables[g].n_pages, (all[i].length + SLM_PAGE - 1) / SLM_PAGE);
            for (uint32_t p = 0; p < all[i].tables[g].n_pages; p++)
                owners[all[i].tables[g].pages[p]]++;
        }
        for (uint32_t p = 0; p < group->n_pages; p++) {
            assert_int_equal(group->counts[p], owners[p]);
            used += owners[p] > 0;
        }
        for (uint32_t f = 0; f < group->n_free; f++)
            assert_int_equal(owners[group->free[f]], 0);
        assert_int_equal(group->n_free, group->n_pages - used);
        free(owners);
    }
}

static void grow(struct slm_kv *kv, struct sequence *s, uint32_t wanted, uint32_t *number)
{
    for (uint32_t g = 0; g < kv->n_groups; g++) {
        uint32_t missing = slm_kv_missing(kv, g, &s->tables[g], s->length, wanted, 0);
        uint32_t n_free = kv->groups[g].n_free;
        if (missing > n_free)
            return; /* all groups have as many pages: the first says no, so nothing was taken */
        slm_kv_grow(kv, g, &s->tables[g], s->length, wanted);
        assert_int_equal(kv->groups[g].n_free, n_free - missing);
    }
    for (; s->length < wanted; s->length++) {
        s->written[s->length] = ++*number;
        for (uint32_t layer = 0; layer < N_LAYERS; layer++)
            memcpy(place(kv, layer, s, s->length), number, 4);
    }
}

static void shrink(struct slm_kv *kv, struct sequence *s, uint32_t length)
{
    for (uint32_t g = 0; g < kv->n_groups; g++)
        slm_kv_shrink(kv, g, &s->tables[g], length);
    s->length = length;
}

static void share(struct slm_kv *kv, struct sequence *to, const struct sequence *from)
{
    for (uint32_t g = 0; g < kv->n_groups; g++)
        slm_kv_share(kv, g, &to->tables[g], &from->tables[g]);
    to->length = from->length;
    memcpy(to->written, from->written, sizeof to->written);
}

static void random_histories(void **state)
{
    (void)state;
    struct random r = random_stream(random_start("test_kv"), 0);
    for (uint32_t round = 0; round < 20; round++) {
        struct pool p = make_pool(round % 3);
        struct sequence *all = calloc(MAX_SEQS, sizeof *all);
        uint32_t number = 0;
        for (size_t i = 0; i < MAX_SEQS; i++)
            for (uint32_t g = 0; g < SLM_LIMIT_KV_GROUPS; g++)
                all[i].tables[g].pages = all[i].pages[g];
        for (int step = 0; step < 300; step++) {
            struct sequence *s = &all[random_between(&r, 0, MAX_SEQS - 1)];
            const struct sequence *from = &all[random_between(&r, 0, MAX_SEQS - 1)];
            switch (random_between(&r, 0, 5)) {
            case 0: shrink(&p.kv, s, (uint32_t)random_between(&r, 0, s->length)); break;
            case 1:
                if (s != from) {
                    shrink(&p.kv, s, 0);
                    share(&p.kv, s, from);
                }
                break;
            default:
                if (s->length < MAX_TOKENS) {
                    uint32_t more = (uint32_t)random_between(&r, 1, random_u64(&r) & 1 ? 3 : 150);
                    more = more < MAX_TOKENS - s->length ? more : MAX_TOKENS - s->length;
                    grow(&p.kv, s, s->length + more, &number);
                }
            }
            verify(&p.kv, all);
        }
        free(all);
        slm_free(NULL, p.block, p.bytes);
    }
}

/* Three tables end in one page: two copies are enough, and slm_kv_missing() knows it. */
static void last_owner_keeps_the_page(void **state)
{
    (void)state;
    struct pool p = make_pool(SLM_KV_F16);
    struct sequence *all = calloc(3, sizeof *all);
    uint32_t number = 0;
    for (size_t i = 0; i < 3; i++)
        for (uint32_t g = 0; g < SLM_LIMIT_KV_GROUPS; g++)
            all[i].tables[g].pages = all[i].pages[g];
    grow(&p.kv, &all[0], 10, &number);
    share(&p.kv, &all[1], &all[0]);
    share(&p.kv, &all[2], &all[0]);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(slm_kv_missing(&p.kv, 0, &all[i].tables[0], 10, 11, i), i < 2);
    uint32_t before = p.kv.groups[0].n_free;
    for (size_t i = 0; i < 3; i++)
        grow(&p.kv, &all[i], 11, &number);
    assert_int_equal(p.kv.groups[0].n_free, before - 2);
    free(all);
    slm_free(NULL, p.block, p.bytes);
}

/* An encoder's layers are done with their pages one after another: one room for all of them, if
 * what the first layer has cleared is where the next ones' pages lie. */
static void layers_that_share_pages(void **state)
{
    (void)state;
    struct slm_layer_traits equal[3], different[3];
    for (uint32_t i = 0; i < 3; i++) {
        equal[i] = (struct slm_layer_traits){
            .n_heads = 4, .n_kv_heads = 2, .head_dim = 8, .window = 10 * i};
        different[i] = equal[i];
        different[i].n_kv_heads = 1 + i % 2;
    }
    struct slm_kv_sizes sharing = sizes;
    sharing.layers_share_pages = true;
    size_t bytes[2];
    for (int i = 0; i < 2; i++) {
        struct slm_kv kv;
        struct slm_arena arena = {0};
        const struct slm_layer_traits *traits = i ? different : equal;
        assert_int_equal(slm_kv_init(&kv, traits, 3, SLM_KV_F32, &sharing, &arena), 0);
        bytes[i] = arena.used;
        arena = (struct slm_arena){.base = slm_alloc(NULL, bytes[i]), .capacity = bytes[i]};
        uint8_t *block = arena.base;
        memset(block, 0, bytes[i]);
        assert_int_equal(slm_kv_init(&kv, traits, 3, SLM_KV_F32, &sharing, &arena), 0);
        assert_int_equal(kv.n_groups, 1);
        assert_int_equal(kv.layers_share_pages, i == 0);
        assert_true(kv.groups[0].n_pages > 0 && kv.layers[2].key_plane > 0);
        for (uint32_t n = 0; n < 3; n++) { /* each page is cleared, wherever its layer has it */
            memset(kv.layers[n].keys, 0xFF, kv.layers[n].n_heads * kv.layers[n].key_plane);
            memset(kv.layers[n].values, 0xFF, kv.layers[n].n_heads * kv.layers[n].value_plane);
        }
        for (uint32_t page = 0; page < kv.groups[0].n_pages; page++)
            slm_kv_clear(&kv, 0, page);
        for (uint32_t n = 0; n < 3; n++)
            for (size_t at = 0; at < kv.layers[n].n_heads * kv.layers[n].key_plane; at++)
                assert_int_equal(kv.layers[n].keys[at], 0);
        slm_free(NULL, block, bytes[i]);
    }
    assert_true(bytes[1] > bytes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout),
        cmocka_unit_test(q8_is_half),
        cmocka_unit_test(layers_that_share_pages),
        cmocka_unit_test(too_many_windows),
        cmocka_unit_test(random_histories),
        cmocka_unit_test(last_owner_keeps_the_page),
    };
    return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
