/*
 * forward.c - one pass of the transformer over the rows of a batch.
 *
 * Every thread runs this loop. The steps are the model (plan.c); a thread does its share of a
 * step, then all meet. Thread 0 looks at the interrupt before each meeting and everybody reads what
 * it saw after it, so all leave at the same step; two flags alternate, so that no thread can
 * still be reading the one that is written.
 */
#include "fwd/fwd.h"

static void run_plan(void *arg, int thread, int n_threads)
{
    struct slm_fwd *f = arg;
    for (size_t i = 0; i < f->n_steps; i++) {
        const struct slm_step *step = &f->plan[i];
        step->run(f, step, thread, n_threads);
        if (thread == 0)
            f->stop[i % 2] = atomic_load_explicit(f->interrupt, memory_order_relaxed);
        slm_team_barrier(f->team);
        if (f->stop[i % 2])
            return;
    }
}

int slm_forward(struct slm_fwd *f)
{
    f->n_logit_rows = 0;
    for (size_t i = 0; i < f->n_rows; i++)
        if (f->rows[i].logits)
            f->logit_rows[f->n_logit_rows++] = &f->rows[i];
    f->stop[0] = f->stop[1] = false;
    slm_team_run(f->team, run_plan, f);
    if (f->stop[0] || f->stop[1])
        return slm_fail(SLM_EINTR, "evaluation was interrupted; the sequences are unchanged");
    return SLM_OK;
}
