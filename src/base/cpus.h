/*
 * cpus.h - how many CPUs there are for this process, and how many of them are worth a thread.
 */
#ifndef SLM_BASE_CPUS_H
#define SLM_BASE_CPUS_H

#include <stdbool.h>
#include <stddef.h>

/* CPUs that this process may use at once: affinity mask and cgroup quota. At least 1. */
int slm_cpu_count(void);

/* How many threads to start unless the caller says: the fast cores among those CPUs, each once. The
 * parts of a step are equal, so slow cores would hold up the others, and two hardware threads of a
 * core share its multipliers. At least 1. */
int slm_cpu_default_threads(void);

/* The same from the files under `root` ("" for the system's own) and allowed[n], which says of each
 * CPU whether the affinity mask has it. For tests. */
enum { SLM_MAX_CPUS = 1024 };
int slm_cpus_count_in(const char *root, const bool *allowed, size_t n);
int slm_cpus_threads_in(const char *root, const bool *allowed, size_t n);

#endif
