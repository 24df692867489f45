/*
 * apart.c - texts dealt to threads, which take them through all steps each by itself.
 *
 * Rows of different texts have nothing to do with each other. With enough of them nobody needs to
 * wait for anybody: a step's rows are in the cache of the thread that reads them next. The price is
 * that every thread reads all weights (one after the other, where one CPU does all parts). A thread
 * with n rows reads some 100 / n GB/s, so there have to be more rows for more threads; and threads
 * have to end at about the same time.
 *
 * A thread's view of the pass is the pass itself with every pointer to rows advanced. What a row
 * becomes depends on that row alone, so this changes no bit.
 */
#include "fwd/fwd.h"

/* Rows that a thread needs: for each of the threads, and for kernels to share weights well. */
enum { LEAST_FOR_THREAD = 4, LEAST = 8 };

/* What a row costs, in positions of attention: these take 2 dim multiply-adds of floats, a layer's
 * matrices some 12 dim^2 of integers, which are four times as fast. */
static size_t cost(const struct slm_fwd *f, const struct slm_row *row)
{
    return (size_t)f->model->traits->dim * 3 / 2 + row->end;
}

static void advance(float **rows, size_t n, size_t stride)
{
    if (*rows)
        *rows += n * stride;
}

/* A thread's view: rows [first, last). */
static void make_view(struct slm_fwd *f, int thread, size_t first, size_t last)
{
    struct slm_fwd *view = &f->apart[thread];
    *view = *f;
    view->first_row = first;
    view->n_rows = last - first;
    view->rows += first;
    view->h = slm_operand_from(&f->h, first);
    view->inner = slm_operand_from(&f->inner, first);
    advance(&view->x, first, f->dim_stride);
    advance(&view->block, first, f->dim_stride);
    advance(&view->q, first, f->query_stride);
    advance(&view->k, first, f->kv_stride);
    advance(&view->v, first, f->kv_stride);
    advance(&view->cosine, first, f->angle_stride);
    advance(&view->sine, first, f->angle_stride);
    view->scratch = slm_scratch(f, thread);
    view->split_rows = 0; /* spans are shared by threads, and here is one */
    view->n_rounds = 1;
    view->n_out_rows = 0;
    for (size_t i = 0; i < f->n_out_rows; i++) {
        view->out_rows += f->out_rows[i] < view->rows;
        view->n_out_rows += f->out_rows[i] >= view->rows && f->out_rows[i] < f->rows + last;
    }
}

/* Rows from `row` on that belong to the same text, and what they cost. */
static size_t rows_of_text(const struct slm_fwd *f, size_t row, size_t *costs)
{
    size_t n = 0;
    *costs = 0;
    do
        *costs += cost(f, &f->rows[row + n++]);
    while (row + n < f->n_rows && f->rows[row + n].sequence == f->rows[row].sequence);
    return n;
}

bool slm_take_apart(struct slm_fwd *f)
{
    int n_threads = slm_team_parts(f->team);
    size_t threads = (size_t)n_threads, all = 0, done = 0, row = 0;
    size_t least = threads * LEAST_FOR_THREAD > LEAST ? threads * LEAST_FOR_THREAD : LEAST;
    /* Experts collect their rows from all texts. */
    if (threads == 1 || f->most_experts || f->n_rows / threads < least)
        return false;
    for (size_t i = 0; i < f->n_rows; i++)
        all += cost(f, &f->rows[i]);
    for (int thread = 0; thread < n_threads; thread++) {
        size_t first = row, before = done, begin, end, n, costs;
        slm_share(all, thread, n_threads, &begin, &end);
        for (; row < f->n_rows; row += n, done += costs) {
            n = rows_of_text(f, row, &costs);
            if (done + costs / 2 > end) /* the next thread is nearer to it */
                break;
        }
        if (row - first < least || done - before > all / threads / 8 * 9)
            return false;
        make_view(f, thread, first, row);
    }
    return true;
}
