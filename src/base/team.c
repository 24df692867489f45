/*
 * team.c - one barrier is all the synchronisation there is; see team.h.
 *
 * Workers wait at the barrier for a job, run it, and meet at the barrier again. The barrier counts
 * arrivals; the last one turns the phase over. Those who wait spin on the phase for a while and
 * then sleep on a condition variable. A sleeper registers before it looks at the phase for the last
 * time, and the one who turns it looks for sleepers afterwards; both in sequentially consistent
 * order, so a wake-up can't be lost.
 */
#include "base/team.h"

#include "base/os.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* About 50 microseconds: longer than the gap between two tokens, shorter than anybody's patience
 * with a busy core. */
enum { SPINS = 4000 };

struct worker {
    struct slm_team *team;
    int index;
    pthread_t thread;
};

struct slm_team {
    int n_threads;
    int spins;
    slm_team_job job; /* NULL: the workers shall end */
    void *arg;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint phase;
    _Alignas(64) atomic_int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t turned;
    struct worker workers[]; /* [n_threads - 1] */
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void sleep_until_turned(struct slm_team *team, unsigned phase)
{
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(&team->phase) == phase)
        pthread_cond_wait(&team->turned, &team->lock);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->lock);
}

void slm_team_barrier(struct slm_team *team)
{
    if (team->n_threads == 1)
        return;
    unsigned phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) == team->n_threads - 1) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store(&team->phase, phase + 1);
        if (atomic_load(&team->sleepers) > 0) {
            pthread_mutex_lock(&team->lock);
            pthread_cond_broadcast(&team->turned);
            pthread_mutex_unlock(&team->lock);
        }
        return;
    }
    for (int i = 0; i < team->spins; i++) {
        if (atomic_load_explicit(&team->phase, memory_order_acquire) != phase)
            return;
        relax();
    }
    sleep_until_turned(team, phase);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct slm_team *team = worker->team;
    struct slm_fenv env;
    slm_fenv_enter(&env); /* a new thread inherits its maker's mode */
    for (;;) {
        slm_team_barrier(team);
        if (!team->job)
            return NULL;
        team->job(team->arg, worker->index, team->n_threads);
        slm_team_barrier(team);
    }
}

void slm_team_run(struct slm_team *team, slm_team_job job, void *arg)
{
    team->job = job;
    team->arg = arg;
    slm_team_barrier(team);
    job(arg, 0, team->n_threads);
    slm_team_barrier(team);
}

size_t slm_team_bytes(int n_threads)
{
    return sizeof(struct slm_team) + (size_t)(n_threads - 1) * sizeof(struct worker);
}

/* Ends the team when only the first `started` workers run: the missing arrivals are made up. */
static void stop(struct slm_team *team, int started, const slm_allocator *a)
{
    team->job = NULL;
    atomic_fetch_add(&team->arrived, team->n_threads - 1 - started);
    slm_team_barrier(team);
    for (int i = 0; i < started; i++)
        pthread_join(team->workers[i].thread, NULL);
    pthread_cond_destroy(&team->turned);
    pthread_mutex_destroy(&team->lock);
    slm_free(a, team, slm_team_bytes(team->n_threads));
}

int slm_team_new(struct slm_team **out, int n_threads, const slm_allocator *a)
{
    *out = NULL;
    struct slm_team *team = slm_calloc(a, slm_team_bytes(n_threads));
    if (!team)
        return SLM_ENOMEM;
    team->n_threads = n_threads;
    /* With fewer CPUs than threads, a spinning thread keeps the one that it waits for from running. */
    team->spins = n_threads <= slm_cpu_count() ? SPINS : 0;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->turned, NULL);

    /* The host's signals are for the host's threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 0, rc = 0;
    for (; started < n_threads - 1 && rc == 0; started += rc == 0) {
        struct worker *worker = &team->workers[started];
        worker->team = team;
        worker->index = started + 1;
        rc = pthread_create(&worker->thread, NULL, work, worker);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        stop(team, started, a);
        return slm_fail(SLM_EIO, "can't start thread %d of %d: %s; ask for fewer threads", started + 2,
                        n_threads, strerror(rc));
    }
    *out = team;
    return SLM_OK;
}

void slm_team_free(struct slm_team *team, const slm_allocator *a)
{
    if (team)
        stop(team, team->n_threads - 1, a);
}
