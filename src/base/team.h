/*
 * team.h - a fixed group of threads that go through the steps of a job together, and sleep when
 * there is none.
 *
 * A job has steps; a step has as many parts as the team has threads. All parts of a step are done
 * before the next begins. Each thread takes its own part first and then any that nobody has begun,
 * so a thread that the system has put aside holds nobody up unless it was inside a part. The caller
 * of slm_team_run() works too: a team of one has no threads at all.
 */
#ifndef SLM_BASE_TEAM_H
#define SLM_BASE_TEAM_H

#include "base/alloc.h"

struct slm_team;

/* Bytes that slm_team_new() takes from the allocator. */
size_t slm_team_bytes(int n_threads);

/* Starts n_threads - 1 threads. Errors: SLM_ENOMEM, SLM_EIO (the system gives no thread). */
int slm_team_new(struct slm_team **out, int n_threads, const slm_allocator *a);

/* Waits for the threads. `a` is the allocator that slm_team_new() got, which may have moved since.
 * NULL is a no-op. */
void slm_team_free(struct slm_team *team, const slm_allocator *a);

/* Part `part` of `n_parts` of step `step`. */
typedef void (*slm_team_job)(void *arg, size_t step, int part, int n_parts);

/* Does steps 0 to n_steps - 1 of the job. What a step wrote is visible to all parts of the next,
 * and to the caller afterwards. One caller at a time. */
void slm_team_run(struct slm_team *team, slm_team_job job, void *arg, size_t n_steps);

#endif
