/*
 * team.c - steps handed out by counting; see team.h.
 *
 * Steps of all jobs are numbered through: ticket t is one step. claims[p] is the ticket whose part p
 * is to be taken next; who moves it from t to t + 1 does that part. `done` counts parts: who takes it
 * to (t + 1) * n ends ticket t, and says so in `ended`. A thread looks at ticket t + 1 only after that,
 * so nobody needs to arrive anywhere: a thread that comes late finds its tickets taken and goes on to
 * the current one. It may even still be on its way through an old job when the next one runs; it can
 * claim nothing of the old one, and touches nothing else: what an old announcement points to is only
 * looked at by who has claimed a part of it.
 *
 * Waiting is a short spin, then sleep on a condition variable. A sleeper registers before it looks
 * for the last time, and who changes something looks for sleepers afterwards; both in sequentially
 * consistent order, so a wake-up can't be lost.
 */
#include "base/team.h"

#include "base/cpus.h"
#include "base/os.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* 25 to 350 microseconds, as long as a CPU's pause is: longer than most gaps between two steps, too
 * short to count as busy. */
enum { SPINS = 8000 };
/* With fewer CPUs than threads, one that spins keeps the one that it waits for from running: then it
 * offers its CPU so many times instead. 4 threads on 2 cores decode as fast as 2 this way, and at 0.55
 * of that when they sleep at once. */
enum { YIELDS = 100 };

/* A job as it was announced. A late thread may read it while the next is being written, so the
 * members are atomic and the reader checks the generation before and after. */
struct announcement {
    _Atomic(const struct slm_team_job *) job; /* NULL: the threads shall end */
    atomic_size_t n_steps;
    atomic_uint_fast64_t first; /* ticket of step 0 */
};

struct worker {
    struct slm_team *team;
    pthread_t thread;
    int index;
    _Alignas(64) atomic_uint_fast64_t claim; /* of the part with this index */
};

struct slm_team {
    atomic_int references;
    atomic_flag busy;    /* with somebody's job */
    slm_allocator hooks; /* a copy of the caller's; alloc NULL: malloc */
    slm_parallel_fn parallel_for; /* NULL: threads of its own */
    void *user;
    int n_threads;
    bool crowded; /* more threads than CPUs */
    uint64_t tickets; /* handed out so far; of who made it busy */
    struct announcement announced;
    _Alignas(64) atomic_uint_fast64_t generation; /* of announcements; odd while one is written */
    _Alignas(64) atomic_uint_fast64_t done;       /* parts */
    _Alignas(64) atomic_uint_fast64_t ended;      /* tickets */
    _Alignas(64) atomic_int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct worker workers[]; /* [n_threads]; the first stands for the caller */
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Until *counter is at least `least`. */
static void wait_for(struct slm_team *team, atomic_uint_fast64_t *counter, uint64_t least)
{
    for (int i = 0; i < (team->crowded ? YIELDS : SPINS); i++) {
        if (atomic_load_explicit(counter, memory_order_acquire) >= least)
            return;
        if (team->crowded)
            sched_yield();
        else
            relax();
    }
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(counter) < least)
        pthread_cond_wait(&team->changed, &team->lock);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->lock);
}

static void wake(struct slm_team *team)
{
    if (atomic_load(&team->sleepers) == 0)
        return;
    pthread_mutex_lock(&team->lock);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
}

static void announce(struct slm_team *team, const struct slm_team_job *job)
{
    struct announcement *a = &team->announced;
    atomic_fetch_add(&team->generation, 1);
    atomic_store(&a->job, job);
    atomic_store(&a->n_steps, job ? job->n_steps : 0);
    atomic_store(&a->first, team->tickets);
    atomic_fetch_add(&team->generation, 1);
    wake(team);
}

static void end_step(const struct slm_team_job *job, size_t step)
{
    if (job->end_step)
        job->end_step(job->arg, step);
}

/* This thread's way through a job. */
static void go_through(struct slm_team *team, int thread, const struct slm_team_job *job,
                       size_t n_steps, uint64_t ticket)
{
    int n = team->n_threads;
    for (size_t step = 0; step < n_steps; step++, ticket++) {
        for (int i = 0; i < n; i++) {
            int part = thread + i < n ? thread + i : thread + i - n;
            atomic_uint_fast64_t *claim = &team->workers[part].claim;
            uint_fast64_t expected = ticket;
            if (atomic_load_explicit(claim, memory_order_relaxed) != ticket ||
                !atomic_compare_exchange_strong_explicit(claim, &expected, ticket + 1,
                                                         memory_order_relaxed, memory_order_relaxed))
                continue;
            job->do_part(job->arg, step, part, n);
            if (atomic_fetch_add(&team->done, 1) + 1 == (ticket + 1) * (uint64_t)n) {
                end_step(job, step);
                atomic_store(&team->ended, ticket + 1);
                wake(team);
            }
        }
        wait_for(team, &team->ended, ticket + 1);
    }
}

static void *work(void *arg)
{
    struct worker *self = arg;
    struct slm_team *team = self->team;
    struct slm_fenv env;
    slm_fenv_enter(&env); /* a new thread inherits its maker's mode */
    uint64_t seen = 0;
    for (;;) {
        wait_for(team, &team->generation, seen + 2);
        struct announcement *a = &team->announced;
        uint64_t generation = atomic_load(&team->generation);
        const struct slm_team_job *job = atomic_load(&a->job);
        size_t n_steps = atomic_load(&a->n_steps);
        uint64_t first = atomic_load(&a->first);
        if (generation % 2 != 0 || atomic_load(&team->generation) != generation) {
            relax();
            continue;
        }
        seen = generation;
        if (!job)
            return NULL;
        go_through(team, self->index, job, n_steps, first);
    }
}

/* ------------------------------------------------------------------ other threads --- */

/* A step for the host's threads, which compute in the library's mode meanwhile. */
struct host_step {
    const struct slm_team_job *job;
    size_t step;
    int n_parts;
};

static void host_part(void *arg, int32_t part)
{
    const struct host_step *s = arg;
    struct slm_fenv env;
    slm_fenv_enter(&env);
    s->job->do_part(s->job->arg, s->step, part, s->n_parts);
    slm_fenv_leave(&env);
}

static void run_on_host(struct slm_team *team, const struct slm_team_job *job)
{
    struct host_step s = {job, 0, team->n_threads};
    for (; s.step < job->n_steps; s.step++) {
        team->parallel_for(team->user, s.n_parts, host_part, &s);
        end_step(job, s.step);
    }
}

static void run_alone(int n_parts, const struct slm_team_job *job)
{
    for (size_t step = 0; step < job->n_steps; step++) {
        for (int part = 0; part < n_parts; part++)
            job->do_part(job->arg, step, part, n_parts);
        end_step(job, step);
    }
}

void slm_team_run(struct slm_team *team, const struct slm_team_job *job)
{
    if (team->parallel_for) {
        run_on_host(team, job);
    } else if (team->n_threads == 1 || atomic_flag_test_and_set(&team->busy)) {
        run_alone(team->n_threads, job);
    } else {
        announce(team, job);
        go_through(team, 0, job, job->n_steps, team->tickets);
        team->tickets += job->n_steps;
        atomic_flag_clear(&team->busy);
    }
}

int slm_team_parts(const struct slm_team *team)
{
    return team->n_threads;
}

/* ----------------------------------------------------------------- coming and going --- */

size_t slm_team_bytes(const slm_team_options *options)
{
    size_t workers = options->parallel_for ? 0 : (size_t)options->n_threads;
    return sizeof(struct slm_team) + workers * sizeof(struct worker);
}

static void destroy(struct slm_team *team)
{
    slm_allocator hooks = team->hooks;
    const slm_team_options size = {.n_threads = team->n_threads, .parallel_for = team->parallel_for};
    slm_free(hooks.alloc ? &hooks : NULL, team, slm_team_bytes(&size));
}

/* Ends the first `last` threads. */
static void stop(struct slm_team *team, int last)
{
    announce(team, NULL);
    for (int i = 1; i <= last; i++)
        pthread_join(team->workers[i].thread, NULL);
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->lock);
}

static int start_threads(struct slm_team *team)
{
    team->crowded = team->n_threads > slm_cpu_count();
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->changed, NULL);

    /* The host's signals are for the host's threads; but what a thread itself causes must reach the
     * host's handler (a truncated mapping, a crash reporter), or the system ends the process. */
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGPROF};
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 0, rc = 0;
    while (started < team->n_threads - 1) {
        struct worker *worker = &team->workers[started + 1];
        worker->team = team;
        worker->index = started + 1;
        rc = pthread_create(&worker->thread, NULL, work, worker);
        if (rc != 0)
            break;
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return SLM_OK;
    stop(team, started);
    return slm_fail(SLM_EIO, "can't start thread %d of %d: %s; ask for fewer threads", started + 2,
                    team->n_threads, strerror(rc));
}

int slm_team_start(struct slm_team **out, const slm_team_options *options)
{
    *out = NULL;
    struct slm_team *team = slm_calloc(options->allocator, slm_team_bytes(options));
    if (!team)
        return SLM_ENOMEM;
    atomic_init(&team->references, 1);
    atomic_flag_clear(&team->busy);
    if (options->allocator)
        team->hooks = *options->allocator;
    team->n_threads = options->n_threads;
    team->parallel_for = options->parallel_for;
    team->user = options->user;
    int rc = team->parallel_for ? SLM_OK : start_threads(team);
    if (rc < 0) {
        destroy(team);
        return rc;
    }
    *out = team;
    return SLM_OK;
}

struct slm_team *slm_team_ref(struct slm_team *team)
{
    atomic_fetch_add(&team->references, 1);
    return team;
}

void slm_team_unref(struct slm_team *team)
{
    if (!team || atomic_fetch_sub(&team->references, 1) > 1)
        return;
    if (!team->parallel_for)
        stop(team, team->n_threads - 1);
    destroy(team);
}
