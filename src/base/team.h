/*
 * team.h - a fixed group of threads that go through the steps of a job together, and sleep when
 * there is none. Counted: contexts can share one.
 *
 * A job has steps; a step has as many parts as the team has threads. All parts of a step are done
 * before the next begins. Each thread takes its own part first and then any that nobody has begun,
 * so a thread that the system has put aside holds nobody up unless it was inside a part. The caller
 * of slm_team_run() works too: a team of one has no threads at all.
 *
 * A team serves one job at a time and nobody waits for it: who finds it busy does all parts itself.
 * The threads may also be the host's: then it has none, and hands the parts to parallel_for.
 */
#ifndef SLM_BASE_TEAM_H
#define SLM_BASE_TEAM_H

#include "base/alloc.h"

/* Bytes that slm_team_start() takes from the allocator; `options` complete, as in slm.h, with
 * n_threads from 1 on. */
size_t slm_team_bytes(const slm_team_options *options);

/* Starts n_threads - 1 threads, or none where the host has its own; the caller is the first owner.
 * The allocator is copied. Errors: SLM_ENOMEM, SLM_EIO (the system gives no thread). */
int slm_team_start(struct slm_team **out, const slm_team_options *options);

/* One owner more; one less (NULL is a no-op): the last one waits for the threads. */
struct slm_team *slm_team_ref(struct slm_team *team);
void slm_team_unref(struct slm_team *team);

/* Parts of a step. */
int slm_team_parts(const struct slm_team *team);

/* Part `part` of `n_parts` of step `step`. */
typedef void slm_team_part(void *arg, size_t step, int part, int n_parts);

struct slm_team_job {
    slm_team_part *do_part;
    /* NULL, or called once when all parts of a step are done, before the next begins, by the thread
     * that did the last: for what takes less time than to call the others. */
    void (*end_step)(void *arg, size_t step);
    void *arg;
    size_t n_steps;
};

/* Does the steps of the job. What a step wrote is visible to all parts of the next, and to the
 * caller afterwards. Any thread. */
void slm_team_run(struct slm_team *team, const struct slm_team_job *job);

#endif
