/*
 * forward.c - one pass of the transformer over the rows of a batch, or of the score head over
 * texts.
 *
 * The steps are the model (plan.c). Those with much to do are shared by the team: all parts of one
 * are done before the next begins. Calling the others for the rest would take longer than doing it:
 * between two shared steps, who ends the one does what is little before the next. When one token
 * is decoded that is half of the steps.
 *
 * Many texts together need not share: each thread takes some of them through all steps (apart.c).
 *
 * Once the interrupt is seen, what is left does nothing, so the rest of the plan takes
 * microseconds; long parts look for it on their way.
 */
#include "fwd/fwd.h"

static bool belongs(const struct slm_fwd *f, const struct slm_step *step)
{
    return step->round < f->n_rounds;
}

static bool is_shared(const struct slm_fwd *f, const struct slm_step *step)
{
    return belongs(f, step) && (step->width == 0 || f->n_rows * step->width > SLM_LITTLE_WORK);
}

static void do_step(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts)
{
    if (!slm_interrupted(f))
        step->run(f, step, part, n_parts);
}

/* Steps from here on, up to one that is shared. */
static void do_little(struct slm_fwd *f, const struct slm_step *step)
{
    for (; step < f->end && !is_shared(f, step); step++)
        if (belongs(f, step))
            do_step(f, step, 0, 1);
}

static void do_part(void *arg, size_t shared, int part, int n_parts)
{
    struct slm_fwd *f = arg;
    do_step(f, f->shared[shared], part, n_parts);
}

static void end_step(void *arg, size_t shared)
{
    struct slm_fwd *f = arg;
    do_little(f, f->shared[shared] + 1);
}

/* All steps together. */
static void run_shared(struct slm_fwd *f, const struct slm_step *steps)
{
    struct slm_team_job job = {do_part, end_step, f, 0};
    for (const struct slm_step *step = steps; step < f->end; step++)
        if (is_shared(f, step))
            f->shared[job.n_steps++] = step;
    do_little(f, steps);
    slm_team_run(f->team, &job);
}

/* All steps for the texts of one thread. */
static void do_texts(void *arg, size_t shared, int part, int n_parts)
{
    struct slm_fwd *own = &((struct slm_fwd *)arg)->apart[part];
    (void)shared, (void)n_parts;
    for (const struct slm_step *step = own->plan; step < own->end; step++)
        if (belongs(own, step))
            do_step(own, step, 0, 1);
}

static void run_apart(struct slm_fwd *f)
{
    const struct slm_team_job job = {do_texts, NULL, f, 1};
    slm_team_run(f->team, &job);
}

static int run(struct slm_fwd *f, const struct slm_step *steps, size_t n)
{
    f->end = steps + n;
    atomic_store(f->interrupted, false);
    f->is_apart = steps == f->plan && slm_take_apart(f);
    if (f->is_apart)
        run_apart(f);
    else
        run_shared(f, steps);
    if (atomic_load(f->interrupted))
        return slm_fail(SLM_EINTR,
                        "evaluation was interrupted; no sequence has what it was computing");
    return SLM_OK;
}

int slm_forward(struct slm_fwd *f)
{
    f->n_out_rows = 0;
    for (size_t i = 0; i < f->n_rows; i++)
        if (f->rows[i].logits || f->rows[i].pooled)
            f->out_rows[f->n_out_rows++] = &f->rows[i];
    f->n_rounds = slm_attention_rounds(f);
    return run(f, f->plan, f->n_steps);
}

int slm_forward_scores(struct slm_fwd *f)
{
    f->n_rounds = 1;
    return run(f, f->score_plan, f->n_score_steps);
}
