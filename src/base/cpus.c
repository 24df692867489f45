/*
 * cpus.c - see cpus.h. Linux tells all of it in small files: cgroups their quota, a CPU its
 * capacity relative to the fastest (ARM), which CPUs are performance cores (Intel), and which share
 * a core. What a system does not tell is taken to be no restriction.
 */
#include "base/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 2048 };

/* A small file as a string; false when it can't be read. */
static bool read_text(char *text, const char *root, const char *format, const char *a,
                      const char *b)
{
    char path[TEXT], name[TEXT];
    int n = snprintf(name, sizeof name, format, a, b);
    int m = snprintf(path, sizeof path, "%s%s", root, name);
    FILE *f = n < TEXT && m < TEXT ? fopen(path, "re") : NULL;
    if (!f)
        return false;
    size_t length = fread(text, 1, TEXT - 1, f);
    text[length] = '\0';
    fclose(f);
    return length > 0;
}

/* ------------------------------------------------------------------------ quota --- */

/* Whole CPUs of a quota, rounded up; `most` when it is none or larger. */
static int whole_cpus(long long quota, long long period, int most)
{
    if (quota <= 0 || period <= 0)
        return most;
    long long cpus = quota / period + (quota % period > 0);
    return cpus < most ? (int)cpus : most;
}

/* The quotas of a cgroup and of all above it, of version 2 (one file) or 1 (two). */
static int group_quota(const char *root, const char *mount, char *group, int most)
{
    for (;;) {
        char text[TEXT], period[TEXT];
        if (read_text(text, root, "%s%s/cpu.max", mount, group)) {
            long long quota, length; /* "max 100000": no number, no quota */
            if (sscanf(text, "%lld %lld", &quota, &length) == 2)
                most = whole_cpus(quota, length, most);
        } else if (read_text(text, root, "%s%s/cpu.cfs_quota_us", mount, group) &&
                   read_text(period, root, "%s%s/cpu.cfs_period_us", mount, group)) {
            most = whole_cpus(atoll(text), atoll(period), most);
        }
        char *last = strrchr(group, '/');
        if (!last)
            return most;
        *last = '\0';
    }
}

/* Is "cpu" in a list of controllers like "cpu,cpuacct"? */
static bool names_cpu(const char *list, size_t n)
{
    for (const char *end = list + n; list < end;) {
        size_t length = strcspn(list, ",:");
        if (length == 3 && memcmp(list, "cpu", 3) == 0)
            return true;
        list += length + 1;
    }
    return false;
}

/* Each line of /proc/self/cgroup is number:controllers:path; version 2 has "0::path". */
static int quota(const char *root, int most)
{
    char groups[TEXT], none[1] = "";
    most = group_quota(root, "/sys/fs/cgroup", none, most);
    most = group_quota(root, "/sys/fs/cgroup/cpu", none, most);
    if (!read_text(groups, root, "%s%s", "/proc/self/cgroup", ""))
        return most;
    char *rest = NULL;
    for (char *line = strtok_r(groups, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *controllers = strchr(line, ':'),
             *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        size_t n = (size_t)(path - controllers) - 1;
        if (n == 0)
            most = group_quota(root, "/sys/fs/cgroup", path + 1, most);
        else if (names_cpu(controllers + 1, n))
            most = group_quota(root, "/sys/fs/cgroup/cpu", path + 1, most);
    }
    return most;
}

/* ------------------------------------------------------------------------ cores --- */

/* Is a CPU in a list like "0-3,8"? */
static bool in_list(const char *list, size_t cpu)
{
    for (char *end; *list; list = *end ? end + 1 : end) {
        size_t first = strtoul(list, &end, 10), last = first;
        if (end == list)
            return false;
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        if (first <= cpu && cpu <= last)
            return true;
    }
    return false;
}

static bool read_of_cpu(char *text, const char *root, size_t cpu, const char *name)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", cpu);
    return read_text(text, root, "/sys/devices/system/cpu/cpu%s/%s", number, name);
}

/* Drop the slow cores: below 60 % of the fastest one's capacity (the middle ones of three kinds
 * stay), or not in Intel's list of performance cores. */
static void keep_fast(const char *root, bool *cpus, size_t n)
{
    char text[TEXT];
    long capacity[SLM_MAX_CPUS], most = 0;
    for (size_t i = 0; i < n; i++) {
        capacity[i] = cpus[i] && read_of_cpu(text, root, i, "cpu_capacity") ? atol(text) : 0;
        most = capacity[i] > most ? capacity[i] : most;
    }
    bool intel = read_text(text, root, "%s%s", "/sys/devices/cpu_core/cpus", ""), any = false;
    for (size_t i = 0; i < n && intel; i++)
        any = any || (cpus[i] && in_list(text, i));
    for (size_t i = 0; i < n; i++)
        cpus[i] = cpus[i] && (capacity[i] <= 0 || capacity[i] >= most / 5 * 3) &&
                  (!any || in_list(text, i));
}

/* Of the CPUs that share a core keep the first. */
static void keep_cores(const char *root, bool *cpus, size_t n)
{
    char text[TEXT];
    for (size_t i = 0; i < n; i++) {
        if (!cpus[i] || !read_of_cpu(text, root, i, "topology/thread_siblings_list"))
            continue;
        for (size_t j = 0; j < i; j++)
            if (cpus[j] && in_list(text, j))
                cpus[i] = false;
    }
}

static int count(const bool *cpus, size_t n)
{
    int sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += cpus[i];
    return sum > 0 ? sum : 1;
}

int slm_cpus_count_in(const char *root, const bool *allowed, size_t n)
{
    return quota(root, count(allowed, n));
}

int slm_cpus_threads_in(const char *root, const bool *allowed, size_t n)
{
    bool cpus[SLM_MAX_CPUS];
    memcpy(cpus, allowed, n * sizeof *cpus);
    keep_fast(root, cpus, n);
    keep_cores(root, cpus, n);
    return quota(root, count(cpus, n));
}

/* ----------------------------------------------------------------------- system --- */

/* The process' affinity mask; returns how many CPUs it speaks of. */
static size_t read_affinity(bool *allowed)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (size_t i = 0; i < SLM_MAX_CPUS; i++)
            allowed[i] = i < CPU_SETSIZE && CPU_ISSET(i, &set);
        return SLM_MAX_CPUS;
    }
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    size_t n = online < 1 ? 1 : online > SLM_MAX_CPUS ? SLM_MAX_CPUS : (size_t)online;
    for (size_t i = 0; i < n; i++)
        allowed[i] = true;
    return n;
}

int slm_cpu_count(void)
{
    bool allowed[SLM_MAX_CPUS];
    size_t n = read_affinity(allowed);
    return slm_cpus_count_in("", allowed, n);
}

int slm_cpu_default_threads(void)
{
    bool allowed[SLM_MAX_CPUS];
    size_t n = read_affinity(allowed);
    return slm_cpus_threads_in("", allowed, n);
}
