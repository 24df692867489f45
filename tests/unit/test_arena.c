/*
 * test_arena.c - allocation through hooks, sizes that would overflow, and the arena that measures
 * before it takes.
 */
#include "base/alloc.h"

#include "support/hooks.h"
#include "support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void blocks_are_aligned(void **state)
{
    (void)state;
    struct hooks hooks;
    hooks_init(&hooks);
    for (int own = 0; own < 2; own++) {
        const slm_allocator *a = own ? &hooks.allocator : NULL;
        for (size_t size = 0; size < 300; size += 7) {
            uint8_t *p = slm_alloc(a, size), *q = slm_calloc(a, size);
            assert_non_null(p);
            assert_non_null(q);
            assert_int_equal((uintptr_t)p % 64, 0);
            assert_int_equal((uintptr_t)q % 64, 0);
            memset(p, 1, size);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(q[i], 0);
            slm_free(a, p, size);
            slm_free(a, q, size);
        }
        slm_free(a, NULL, 10);
    }
    assert_true(hooks.n_allocs > 0);
    assert_true(hooks_clean(&hooks));
}

static void failure_leaves_a_message(void **state)
{
    (void)state;
    struct hooks hooks;
    hooks_init(&hooks);
    hooks.fail_at = 1;
    assert_null(slm_alloc(&hooks.allocator, 12345));
    assert_non_null(strstr(slm_last_error(), "12345 bytes"));
    hooks.fail_at = 2;
    assert_null(slm_calloc(&hooks.allocator, 77));
    assert_non_null(strstr(slm_last_error(), "77 bytes"));
    assert_true(hooks_clean(&hooks));
}

static void sizes_do_not_wrap(void **state)
{
    (void)state;
    size_t out;
    assert_true(slm_size_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    assert_false(slm_size_add(SIZE_MAX, 1, &out));
    assert_true(slm_size_mul(SIZE_MAX / 2, 2, &out) && out == SIZE_MAX - 1);
    assert_false(slm_size_mul(SIZE_MAX / 2, 3, &out));
    assert_true(slm_size_mul(0, SIZE_MAX, &out) && out == 0);
    assert_int_equal(slm_round_up(0, 32), 0);
    assert_int_equal(slm_round_up(1, 32), 32);
    assert_int_equal(slm_round_up(64, 32), 64);
}

/* Random pieces, laid out twice. */
static void measuring_equals_taking(void **state)
{
    (void)state;
    struct random r = random_stream(random_start("test_arena"), 0);
    for (int round = 0; round < 200; round++) {
        enum { N = 30 };
        size_t counts[N], sizes[N];
        struct slm_arena measure = {0};
        for (int i = 0; i < N; i++) {
            counts[i] = random_between(&r, 0, 20);
            sizes[i] = random_between(&r, 0, 100);
            assert_null(slm_arena_take(&measure, counts[i], sizes[i]));
        }
        assert_false(measure.overflow);

        struct slm_arena arena = {.base = slm_alloc(NULL, measure.used), .capacity = measure.used};
        uint8_t *end = arena.base;
        for (int i = 0; i < N; i++) {
            uint8_t *p = slm_arena_take(&arena, counts[i], sizes[i]);
            assert_ptr_equal(p, end); /* pieces neither overlap nor leave more than alignment */
            assert_int_equal((uintptr_t)p % 64, 0);
            end = p + slm_round_up(counts[i] * sizes[i], 64);
        }
        assert_false(arena.overflow);
        assert_int_equal(arena.used, measure.used);
        assert_null(slm_arena_take(&arena, 1, 1)); /* nothing is left */
        assert_true(arena.overflow);
        slm_free(NULL, arena.base, measure.used);
    }
}

static void too_large_is_noticed(void **state)
{
    (void)state;
    struct slm_arena a = {0}, b = {0}, c = {0};
    assert_null(slm_arena_take(&a, SIZE_MAX / 2, 3));
    assert_true(a.overflow);
    assert_null(slm_arena_take(&b, SIZE_MAX - 10, 1)); /* rounding it up would wrap */
    assert_true(b.overflow);
    for (size_t size = 1; size < 9; size++) {
        struct slm_arena rows = {0};
        assert_null(slm_arena_take_rows(&rows, SIZE_MAX / 2, 3, size)); /* rows * cols would wrap */
        assert_true(rows.overflow);
        rows = (struct slm_arena){0};
        slm_arena_take_rows(&rows, 3, 5, size);
        assert_false(rows.overflow);
        assert_int_equal(rows.used, slm_round_up(15 * size, 64));
    }
    slm_arena_take(&c, SIZE_MAX / 2, 1);
    slm_arena_take(&c, SIZE_MAX / 2, 1);
    assert_false(c.overflow && c.used < SIZE_MAX / 2);
    slm_arena_take(&c, SIZE_MAX / 2, 1);
    assert_true(c.overflow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned),   cmocka_unit_test(failure_leaves_a_message),
        cmocka_unit_test(sizes_do_not_wrap),    cmocka_unit_test(measuring_equals_taking),
        cmocka_unit_test(too_large_is_noticed),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
