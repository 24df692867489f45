/*
 * test_cpus.c - how many threads to start, on machines made of small files: phones with slow and
 * fast cores, desktops with hardware threads, containers with quotas.
 */
#include "base/cpus.h"

#include "support/models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[300];
static int n_roots;

/* From now on files belong to another machine. */
static void new_machine(void)
{
    snprintf(root, sizeof root, "%s/machine%d", temporary_folder(), n_roots++);
    assert_int_equal(mkdir(root, 0700), 0);
}

/* A file of it, with the folders above. */
static void put(const char *path, const char *text)
{
    char full[600];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(full, 0700);
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void put_cpu(int cpu, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/%s", cpu, name);
    put(path, text);
}

/* CPUs and default threads with the first n allowed, but for those in `without` (a bit set). */
static void expect(size_t n, unsigned without, int cpus, int threads)
{
    bool allowed[SLM_MAX_CPUS] = {false};
    for (size_t i = 0; i < n; i++)
        allowed[i] = i >= 32 || !(without >> i & 1);
    assert_int_equal(slm_cpus_count_in(root, allowed, SLM_MAX_CPUS), cpus);
    assert_int_equal(slm_cpus_threads_in(root, allowed, SLM_MAX_CPUS), threads);
}

static void nothing_is_told(void **state)
{
    (void)state;
    new_machine();
    expect(6, 0, 6, 6);
    expect(6, 0x5, 4, 4);
    expect(0, 0, 1, 1);
    expect(1024, 0, 1024, 1024);
    expect(1024, ~0u, 992, 992);
}

static void big_and_little(void **state)
{
    (void)state;
    static const char *const capacity[8] = {"250", "250", "250", "250",
                                            "790", "790", "790", "1024"};
    new_machine();
    for (int i = 0; i < 8; i++)
        put_cpu(i, "cpu_capacity", capacity[i]);
    expect(8, 0, 8, 4);
    expect(8, 0x80, 7, 3); /* without the fastest */
    expect(8, 0xF0, 4, 4); /* in the background: only slow ones are allowed */
    expect(8, 0x70, 5, 1);
}

static void performance_cores(void **state)
{
    (void)state;
    new_machine(); /* 2 performance cores of 2 threads each, 4 efficient ones */
    put("/sys/devices/cpu_core/cpus", "0-3\n");
    put("/sys/devices/cpu_atom/cpus", "4-7\n");
    for (int i = 0; i < 4; i++)
        put_cpu(i, "topology/thread_siblings_list", i < 2 ? "0-1\n" : "2-3\n");
    for (int i = 4; i < 8; i++) {
        char self[8];
        snprintf(self, sizeof self, "%d\n", i);
        put_cpu(i, "topology/thread_siblings_list", self);
    }
    expect(8, 0, 8, 2);
    expect(8, 0x1, 7, 2); /* a thread of each core is enough */
    expect(8, 0xF, 4, 4); /* nothing but efficient ones */
}

static void hardware_threads(void **state)
{
    (void)state;
    new_machine(); /* as servers count: 0 and 4 are one core */
    static const char *const siblings[] = {"0,4\n", "1,5\n", "2,6\n", "3,7\n"};
    for (int i = 0; i < 8; i++)
        put_cpu(i, "topology/thread_siblings_list", siblings[i % 4]);
    expect(8, 0, 8, 4);
    expect(8, 0x0F, 4, 4);
    expect(8, 0xEE, 2, 1);
}

static void quota_version_2(void **state)
{
    (void)state;
    new_machine();
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    expect(16, 0, 16, 16);
    put("/sys/fs/cgroup/cpu.max", "250000 100000\n"); /* a container sees its own group here */
    expect(16, 0, 3, 3);
    expect(2, 0, 2, 2);
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    expect(16, 0, 1, 1);

    new_machine(); /* a service: its own group has none, the one above does */
    put("/proc/self/cgroup", "0::/system.slice/app.service\n");
    put("/sys/fs/cgroup/system.slice/app.service/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/system.slice/cpu.max", "400000 100000\n");
    expect(16, 0, 4, 4);
    put("/sys/fs/cgroup/system.slice/app.service/cpu.max", "200000 100000\n");
    expect(16, 0, 2, 2);
}

static void quota_version_1(void **state)
{
    (void)state;
    new_machine();
    put("/proc/self/cgroup", "12:cpuset:/other\n4:cpu,cpuacct:/docker/ab\n3:cpuacctx:/no\n0::/\n");
    put("/sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/docker/ab/cpu.cfs_period_us", "100000\n");
    expect(16, 0, 16, 16);
    put("/sys/fs/cgroup/cpu/docker/cpu.cfs_quota_us", "500000\n");
    put("/sys/fs/cgroup/cpu/docker/cpu.cfs_period_us", "100000\n");
    expect(16, 0, 5, 5);
    put("/sys/fs/cgroup/cpu/no/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpu/no/cpu.cfs_period_us", "100000\n");
    expect(16, 0, 5, 5); /* not this process' group */
}

static void nonsense(void **state)
{
    (void)state;
    new_machine();
    put("/proc/self/cgroup", ":\n::\nx\n0:\n0::/a\n");
    put("/sys/fs/cgroup/cpu.max", "9223372036854775807 1\n");
    put("/sys/fs/cgroup/a/cpu.max", "0 0\n");
    put("/sys/devices/cpu_core/cpus", "-,7-\n");
    put_cpu(0, "cpu_capacity", "many");
    put_cpu(1, "cpu_capacity", "-5");
    put_cpu(1, "topology/thread_siblings_list", "99999999999999999999-,");
    expect(4, 0, 4, 4);
}

static void this_machine(void **state)
{
    (void)state;
    assert_in_range(slm_cpu_default_threads(), 1, slm_cpu_count());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_told),   cmocka_unit_test(big_and_little),
        cmocka_unit_test(performance_cores), cmocka_unit_test(hardware_threads),
        cmocka_unit_test(quota_version_2),   cmocka_unit_test(quota_version_1),
        cmocka_unit_test(nonsense),          cmocka_unit_test(this_machine),
    };
    return cmocka_run_group_tests_name("cpus", tests, NULL, NULL);
}
