/*
 * cmocka.h - the part of cmocka's interface that these tests use, for machines that we cross-build
 * for and that have no cmocka in their sysroot. Unlike cmocka's, a crash ends the program.
 */
#ifndef TESTS_CROSS_CMOCKA_H
#define TESTS_CROSS_CMOCKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef void (*CMUnitTestFunction)(void **state);
typedef int (*CMFixtureFunction)(void **state);

struct CMUnitTest {
    const char *name;
    CMUnitTestFunction test_func;
    CMFixtureFunction setup_func, teardown_func;
    void *initial_state;
};

#define cmocka_unit_test(f)                                                                        \
    {                                                                                              \
#f, f, NULL, NULL, NULL                                                                    \
    }
#define cmocka_unit_test_setup_teardown(f, setup, teardown)                                        \
    {                                                                                              \
#f, f, setup, teardown, NULL                                                               \
    }

/* Returns the number of failures. */
int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t n,
                            CMFixtureFunction setup, CMFixtureFunction teardown);
#define cmocka_run_group_tests_name(name, tests, setup, teardown)                                  \
    _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests)[0], setup, teardown)
#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cmocka_run_group_tests_name(#tests, tests, setup, teardown)

/* Both end the test that runs. */
_Noreturn void slm_test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void slm_test_skip(void);

#define print_message printf
#define fail_msg(...) slm_test_fail(__FILE__, __LINE__, __VA_ARGS__)
#define skip() slm_test_skip()

#define assert_true(x) ((x) ? (void)0 : fail_msg("%s", #x))
#define assert_false(x) ((x) ? fail_msg("not: %s", #x) : (void)0)
#define assert_null(p) assert_true((p) == NULL)
#define assert_non_null(p) assert_true((p) != NULL)

void slm_test_equal(const char *file, int line, const char *what, int64_t a, int64_t b);
void slm_test_range(const char *file, int line, const char *what, uint64_t x, uint64_t low,
                    uint64_t high);
void slm_test_memory(const char *file, int line, const char *what, const void *a, const void *b,
                     size_t n, bool equal);
void slm_test_string(const char *file, int line, const char *what, const char *a, const char *b,
                     bool equal);

#define assert_int_equal(a, b)                                                                     \
    slm_test_equal(__FILE__, __LINE__, #a " = " #b, (int64_t)(a), (int64_t)(b))
#define assert_ptr_equal(a, b) assert_true((const void *)(a) == (const void *)(b))
#define assert_in_range(x, low, high)                                                              \
    slm_test_range(__FILE__, __LINE__, #x, (uint64_t)(x), (uint64_t)(low), (uint64_t)(high))
#define assert_memory_equal(a, b, n) slm_test_memory(__FILE__, __LINE__, #a " = " #b, a, b, n, true)
#define assert_memory_not_equal(a, b, n)                                                           \
    slm_test_memory(__FILE__, __LINE__, #a " differs from " #b, a, b, n, false)
#define assert_string_equal(a, b) slm_test_string(__FILE__, __LINE__, #a " = " #b, a, b, true)
#define assert_string_not_equal(a, b)                                                              \
    slm_test_string(__FILE__, __LINE__, #a " differs from " #b, a, b, false)

#endif
