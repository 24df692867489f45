/*
 * test_team.c - threads that work together: every part of every step is done once and in order,
 * nobody is forgotten asleep, and a team without work uses no processor.
 */
#include "base/team.h"

#include "base/os.h"
#include "support/hooks.h"
#include "support/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { MOST = 64 };
static const int counts[] = {1, 2, 3, 7, 40};
enum { N_COUNTS = sizeof counts / sizeof *counts };

static void pause_for(long nanoseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL);
}

static struct slm_team *make(int n)
{
    struct slm_team *team = NULL;
    assert_int_equal(slm_team_start(&team, &(slm_team_options){.n_threads = n}), SLM_OK);
    return team;
}

/* -------------------------------------------------------------------- working --- */

/* How often each part was called; part 0 also counts steps. */
struct roll {
    int calls[MOST];
    int n_parts;
};

static void answer(void *arg, size_t step, int part, int n_parts)
{
    (void)step;
    struct roll *roll = arg;
    roll->calls[part]++; /* of one step; the next step's call is ordered after it */
    if (part == 0)
        roll->n_parts = n_parts;
}

static void every_part_is_done_once(void **state)
{
    (void)state;
    for (int i = 0; i < N_COUNTS; i++) {
        struct slm_team *team = make(counts[i]);
        struct roll roll = {{0}, 0};
        int expected = 0;
        for (size_t n_steps = 0; n_steps < 20; n_steps++) {
            slm_team_run(team, &(struct slm_team_job){answer, NULL, &roll, n_steps});
            expected += (int)n_steps;
            assert_int_equal(roll.n_parts, n_steps ? counts[i] : 0);
            roll.n_parts = 0;
            for (int part = 0; part < counts[i]; part++)
                assert_int_equal(roll.calls[part], expected); /* visible without any other lock */
        }
        slm_team_unref(team);
    }
    slm_team_unref(NULL);
}

/* What is done between two steps is done once, after all parts of the one and before any of the
 * next. */
struct relay {
    size_t parts, between; /* plain memory */
    int out_of_turn;
    atomic_int begun;      /* parts of this step */
};

static void run_leg(void *arg, size_t step, int part, int n_parts)
{
    struct relay *r = arg;
    (void)part;
    if (r->between != step)
        r->out_of_turn = 1;
    if (atomic_fetch_add(&r->begun, 1) + 1 == n_parts)
        r->parts += (size_t)n_parts;
}

static void hand_over(void *arg, size_t step)
{
    struct relay *r = arg;
    if (r->between != step || atomic_load(&r->begun) == 0)
        r->out_of_turn = 1;
    atomic_store(&r->begun, 0);
    r->between++;
}

static void steps_end_once_and_in_turn(void **state)
{
    (void)state;
    enum { STEPS = 300 };
    for (int i = 0; i < N_COUNTS; i++) {
        struct slm_team *team = make(counts[i]);
        for (int run = 0; run < 3; run++) {
            struct relay r = {0};
            slm_team_run(team, &(struct slm_team_job){run_leg, hand_over, &r, STEPS});
            assert_int_equal(r.between, STEPS);
            assert_int_equal(r.parts, STEPS * counts[i]);
            assert_false(r.out_of_turn);
        }
        slm_team_unref(team);
    }
}

struct march {
    bool stumble; /* some are late now and then: others fall asleep, or do their parts */
    uint64_t seed;
    size_t mark[2][MOST]; /* plain memory: the steps alone order it. What step s writes into
                             mark[s % 2] is read in step s + 1 and written again in s + 2. */
    atomic_int out_of_step;
};

static void march(void *arg, size_t step, int part, int n_parts)
{
    struct march *m = arg;
    for (int other = 0; step > 0 && other < n_parts; other++)
        if (m->mark[(step - 1) % 2][other] != step - 1)
            atomic_fetch_add(&m->out_of_step, 1);
    if (m->stumble) {
        struct random r = random_stream(m->seed, step * MOST + (size_t)part);
        if (random_between(&r, 0, 20) == 0)
            pause_for((long)random_between(&r, 0, 300000));
    }
    m->mark[step % 2][part] = step;
}

static void no_step_begins_early(void **state)
{
    (void)state;
    uint64_t seed = random_start("test_team");
    for (int i = 0; i < N_COUNTS; i++)
        for (int stumble = 0; stumble < 2; stumble++) {
            struct slm_team *team = make(counts[i]);
            struct march m = {.stumble = stumble, .seed = seed};
            for (int run = 0; run < 3; run++) {
                memset(m.mark, 0xFF, sizeof m.mark);
                slm_team_run(team, &(struct slm_team_job){march, NULL, &m, stumble ? 200 : 500});
            }
            assert_int_equal(m.out_of_step, 0);
            slm_team_unref(team);
        }
}

/* The gap between jobs is around the time after which a waiting thread goes to sleep. */
static void nobody_sleeps_for_ever(void **state)
{
    (void)state;
    struct random r = random_stream(random_start("test_team"), 1);
    struct slm_team *team = make(3);
    struct roll roll = {{0}, 0};
    for (int run = 0; run < 3000; run++) {
        slm_team_run(team, &(struct slm_team_job){answer, NULL, &roll, 1 + random_between(&r, 0, 1)});
        if (random_u64(&r) & 1)
            pause_for((long)random_between(&r, 0, 150000));
    }
    for (int part = 1; part < 3; part++)
        assert_int_equal(roll.calls[part], roll.calls[0]);
    slm_team_unref(team);
}

/* One part of each step is a hundred times as long: whoever is free does the others' parts. A job
 * where every thread could only do its own would take as long, so this is about order, not time. */
static void uneven(void *arg, size_t step, int part, int n_parts)
{
    if (part == (int)(step % (size_t)n_parts))
        pause_for(200000);
    march(arg, step, part, n_parts);
}

static void uneven_parts(void **state)
{
    (void)state;
    for (int i = 0; i < N_COUNTS; i++) {
        struct slm_team *team = make(counts[i]);
        struct march m = {.stumble = false};
        memset(m.mark, 0xFF, sizeof m.mark);
        slm_team_run(team, &(struct slm_team_job){uneven, NULL, &m, 100});
        assert_int_equal(m.out_of_step, 0);
        slm_team_unref(team);
    }
}

static void teams_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        struct slm_team *team = make(1 + i % 5);
        struct roll roll = {{0}, 0};
        if (i % 3) /* some end without having worked */
            slm_team_run(team, &(struct slm_team_job){answer, NULL, &roll, (size_t)i % 4});
        slm_team_unref(team);
    }
}

/* -------------------------------------------------------------- shared, or the host's --- */

enum { N_CALLERS = 4 };

struct caller {
    struct slm_team *team;
    struct march march;
    pthread_t thread;
};

static void *call_often(void *arg)
{
    struct caller *c = arg;
    for (int run = 0; run < 30; run++) {
        memset(c->march.mark, 0xFF, sizeof c->march.mark);
        slm_team_run(c->team, &(struct slm_team_job){march, NULL, &c->march, 100});
    }
    slm_team_unref(c->team);
    return NULL;
}

/* Several callers at once: whoever finds the team at work does the job alone, in order. The last
 * owner ends the threads, whoever that is. */
static void callers_share(void **state)
{
    (void)state;
    struct slm_team *team = make(3);
    struct caller callers[N_CALLERS];
    memset(callers, 0, sizeof callers);
    for (int i = 0; i < N_CALLERS; i++) {
        callers[i].team = slm_team_ref(team);
        callers[i].march = (struct march){.stumble = i % 2, .seed = (uint64_t)i};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    }
    slm_team_unref(team);
    for (int i = 0; i < N_CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].march.out_of_step, 0);
    }
}

/* A host's parallel_for: backwards in its own thread, or each part in a new one. */
struct host {
    int kind, calls;
};

struct host_task {
    void (*part)(void *arg, int32_t i);
    void *arg;
    int32_t i;
};

static void *host_thread(void *arg)
{
    struct host_task *t = arg;
    t->part(t->arg, t->i);
    return NULL;
}

static void host_for(void *user, int32_t n, void (*part)(void *arg, int32_t i), void *arg)
{
    struct host *host = user;
    host->calls++;
    if (host->kind == 0) {
        for (int32_t i = n; i-- > 0;)
            part(arg, i);
        return;
    }
    struct host_task tasks[MOST];
    pthread_t threads[MOST];
    for (int32_t i = 0; i < n; i++) {
        tasks[i] = (struct host_task){part, arg, i};
        if (pthread_create(&threads[i], NULL, host_thread, &tasks[i]) != 0)
            abort();
    }
    for (int32_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void host_threads(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct host host = {kind, 0};
        const slm_team_options options = {.n_threads = 5, .parallel_for = host_for, .user = &host};
        struct slm_team *team = NULL;
        assert_int_equal(slm_team_start(&team, &options), SLM_OK);
        struct march m = {.stumble = false};
        memset(m.mark, 0xFF, sizeof m.mark);
        slm_team_run(team, &(struct slm_team_job){march, NULL, &m, 50});
        assert_int_equal(m.out_of_step, 0);
        assert_int_equal(host.calls, 50);
        for (int part = 0; part < 5; part++)
            assert_int_equal(m.mark[1][part], 49);
        slm_team_unref(team);
    }
}

/* ----------------------------------------------------------------------- idle --- */

static double process_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void idle_costs_nothing(void **state)
{
    (void)state;
    struct slm_team *teams[3];
    struct roll roll = {{0}, 0};
    for (int i = 0; i < 3; i++) {
        teams[i] = make(4);
        slm_team_run(teams[i], &(struct slm_team_job){answer, NULL, &roll, 3});
    }
    /* The last look at the clock, then sleep: on a busy machine that may take a while. Who does not
     * sleep uses up every one of these half seconds. */
    double used = 1;
    for (int tries = 0; tries < 10 && used > 0.0025; tries++) {
        double before = process_seconds();
        pause_for(500000000);
        used = process_seconds() - before;
    }
    if (used > 0.0025)
        fail_msg("three idle teams used %.1f ms of processor in 0.5 s", used * 1000);
    for (int i = 0; i < 3; i++)
        slm_team_unref(teams[i]);
}

/* -------------------------------------------------------------- thread state --- */

struct inside {
    pthread_t caller;
    atomic_int n_workers, n_wrong; /* parts that were done by others than the caller */
};

static void look_around(void *arg, size_t step, int part, int n_parts)
{
    (void)step, (void)part, (void)n_parts;
    struct inside *inside = arg;
    pause_for(2000000); /* leave something for the others */
    if (pthread_equal(pthread_self(), inside->caller))
        return;
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    bool right =
        sigismember(&set, SIGINT) && sigismember(&set, SIGALRM) && sigismember(&set, SIGTERM);
#if defined(__x86_64__)
    right = right && (_mm_getcsr() & 0xFFC0) == 0x1F80; /* without the flags that stick */
#endif
    atomic_fetch_add(&inside->n_workers, 1);
    atomic_fetch_add(&inside->n_wrong, !right);
}

/* Workers leave the host's signals to the host, and have the library's arithmetic. */
static void workers_mind_their_business(void **state)
{
    (void)state;
    struct inside inside = {.caller = pthread_self()};
#if defined(__x86_64__)
    unsigned host = _mm_getcsr();
    _mm_setcsr(host | 0x8040 | 0x6000);
#endif
    struct slm_team *team = make(4);
    slm_team_run(team, &(struct slm_team_job){look_around, NULL, &inside, 5});
    slm_team_unref(team);
#if defined(__x86_64__)
    _mm_setcsr(host);
#endif
    assert_true(inside.n_workers > 0);
    assert_int_equal(inside.n_wrong, 0);
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    assert_false(sigismember(&set, SIGINT)); /* the maker's own mask is back */
}

/* --------------------------------------------------------------------- memory --- */

static void bytes_are_known(void **state)
{
    (void)state;
    for (int n = 1; n < 6; n++) {
        struct hooks hooks;
        hooks_init(&hooks);
        const slm_team_options options = {.n_threads = n, .allocator = &hooks.allocator};
        struct slm_team *team = NULL;
        assert_int_equal(slm_team_start(&team, &options), SLM_OK);
        assert_int_equal(hooks.live_bytes, slm_team_bytes(&options));
        assert_int_equal(hooks.n_allocs, 1);
        slm_team_unref(team);
        assert_true(hooks_clean(&hooks));
        hooks.fail_at = 2;
        assert_int_equal(slm_team_start(&team, &options), SLM_ENOMEM);
        assert_null(team);
        assert_true(hooks_clean(&hooks));
    }
}

/* In a process that may not map much more memory, stacks run out: exit status 0 is success. */
static void starve(void)
{
    struct hooks hooks;
    hooks_init(&hooks);
    struct slm_team *team = NULL;
    struct rlimit limit = {64u << 20, 64u << 20};
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        _exit(2);
    int rc = slm_team_start(&team, &(slm_team_options){.n_threads = 60, .allocator = &hooks.allocator}); /* 60 stacks of 8 MB */
    if (rc != SLM_EIO || team || !hooks_clean(&hooks))
        _exit(3);
    if (!strstr(slm_last_error(), "ask for fewer threads"))
        _exit(4);
    if (slm_team_start(&team, &(slm_team_options){.n_threads = 2, .allocator = &hooks.allocator}) != SLM_OK) /* and later some work again */
        _exit(5);
    slm_team_unref(team);
    _exit(hooks_clean(&hooks) ? 0 : 6);
}

static void no_more_threads(void **state)
{
    (void)state;
    if (SANITIZED) /* their shadow memory needs the address space */
        skip();
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        starve();
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_is_done_once),
        cmocka_unit_test(steps_end_once_and_in_turn),
        cmocka_unit_test(no_step_begins_early),
        cmocka_unit_test(nobody_sleeps_for_ever),
        cmocka_unit_test(uneven_parts),
        cmocka_unit_test(teams_come_and_go),
        cmocka_unit_test(callers_share),
        cmocka_unit_test(host_threads),
        cmocka_unit_test(idle_costs_nothing),
        cmocka_unit_test(workers_mind_their_business),
        cmocka_unit_test(bytes_are_known),
        cmocka_unit_test(no_more_threads),
    };
    return cmocka_run_group_tests_name("team", tests, NULL, NULL);
}
