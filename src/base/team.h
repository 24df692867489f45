/*
 * team.h - a fixed group of threads that do the same job together, and sleep when there is none.
 *
 * The caller of slm_team_run() is thread 0 and works too, so a team of one has no threads at all.
 * Inside a job the threads meet at slm_team_barrier(). Waiting is a short spin, then sleep: a
 * barrier between two matrices costs a fraction of a microsecond, an idle team costs nothing.
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

typedef void (*slm_team_job)(void *arg, int thread, int n_threads);

/* Runs job on every thread, and returns when all are done. One caller at a time. */
void slm_team_run(struct slm_team *team, slm_team_job job, void *arg);

/* Every thread of the running job must come here equally often. What was written before is
 * visible to all after. */
void slm_team_barrier(struct slm_team *team);

#endif
