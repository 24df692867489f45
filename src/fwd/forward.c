/*
 * forward.c - one pass of the transformer over the rows of a batch, or of the score head over texts.
 *
 * The steps are the model (plan.c). The team goes through them, each thread doing parts; all parts
 * of a step are done before the next begins. Once the interrupt is seen, the parts that are left do
 * nothing, so the rest of the plan takes microseconds; long parts look for it on their way.
 */
#include "fwd/fwd.h"

static void do_part(void *arg, size_t step, int part, int n_parts)
{
    struct slm_fwd *f = arg;
    if (!slm_interrupted(f))
        f->order[step]->run(f, f->order[step], part, n_parts);
}

/* The n steps of f->order. */
static int run(struct slm_fwd *f, size_t n)
{
    atomic_store(&f->interrupted, false);
    slm_team_run(f->team, &(struct slm_team_job){do_part, NULL, f, n});
    if (atomic_load(&f->interrupted))
        return slm_fail(SLM_EINTR, "evaluation was interrupted; no sequence has what it was computing");
    return SLM_OK;
}

int slm_forward(struct slm_fwd *f)
{
    f->n_out_rows = 0;
    for (size_t i = 0; i < f->n_rows; i++)
        if (f->rows[i].logits || f->rows[i].pooled)
            f->out_rows[f->n_out_rows++] = &f->rows[i];
    f->n_rounds = slm_attention_rounds(f);
    size_t n = 0;
    for (size_t i = 0; i < f->n_steps; i++)
        if (f->plan[i].round < f->n_rounds)
            f->order[n++] = &f->plan[i];
    return run(f, n);
}

int slm_forward_scores(struct slm_fwd *f)
{
    for (size_t i = 0; i < f->n_score_steps; i++)
        f->order[i] = &f->score_plan[i];
    return run(f, f->n_score_steps);
}
