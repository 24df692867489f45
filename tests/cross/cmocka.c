/* cmocka.c - see cmocka.h. Its lines of output are cmocka's, because tests/summary.py counts them.
 */
#include "cmocka.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FAILED = 1, SKIPPED = 2 };

static jmp_buf running; /* the test, or the fixture, that runs */

_Noreturn void slm_test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%s:%d: ", file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    longjmp(running, FAILED);
}

_Noreturn void slm_test_skip(void)
{
    longjmp(running, SKIPPED);
}

void slm_test_equal(const char *file, int line, const char *what, int64_t a, int64_t b)
{
    if (a != b)
        slm_test_fail(file, line, "%s: %lld, %lld", what, (long long)a, (long long)b);
}

void slm_test_range(const char *file, int line, const char *what, uint64_t x, uint64_t low,
                    uint64_t high)
{
    if (x < low || x > high)
        slm_test_fail(file, line, "%s is %llu, not %llu to %llu", what, (unsigned long long)x,
                      (unsigned long long)low, (unsigned long long)high);
}

void slm_test_memory(const char *file, int line, const char *what, const void *a, const void *b,
                     size_t n, bool equal)
{
    if ((memcmp(a, b, n) == 0) != equal)
        slm_test_fail(file, line, "%s", what);
}

void slm_test_string(const char *file, int line, const char *what, const char *a, const char *b,
                     bool equal)
{
    if ((strcmp(a, b) == 0) != equal)
        slm_test_fail(file, line, "%s: \"%s\", \"%s\"", what, a, b);
}

/* 0, FAILED or SKIPPED. */
static int run(const struct CMUnitTest *test)
{
    static void *state; /* static: longjmp() leaves local variables undefined */
    state = test->initial_state;
    int end = setjmp(running);
    if (end == 0) {
        if (test->setup_func && test->setup_func(&state) != 0)
            return FAILED;
        test->test_func(&state);
    }
    int teardown = setjmp(running);
    if (teardown == 0 && test->teardown_func && test->teardown_func(&state) != 0)
        return FAILED;
    return end ? end : teardown;
}

static int fixture(CMFixtureFunction f)
{
    void *state = NULL;
    return f && (setjmp(running) != 0 || f(&state) != 0);
}

int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t n,
                            CMFixtureFunction setup, CMFixtureFunction teardown)
{
    size_t counts[3] = {0};
    printf("[==========] %s: Running %zu test(s).\n", name, n);
    if (fixture(setup)) {
        printf("[  FAILED  ] 1 test(s): the setup of %s\n", name);
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        int end = run(&tests[i]);
        counts[end]++;
        printf("[ %s ] %s\n",
               end == FAILED ? " FAILED "
               : end         ? "SKIPPED "
                             : "      OK",
               tests[i].name);
        fflush(stdout);
    }
    if (fixture(teardown))
        counts[FAILED]++;
    printf("[  PASSED  ] %zu test(s).\n", counts[0]);
    if (counts[FAILED])
        printf("[  FAILED  ] %zu test(s)\n", counts[FAILED]);
    return (int)counts[FAILED];
}
