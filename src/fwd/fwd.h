/*
 * fwd.h - the transformer at work: its activations, and the plan of steps that fills them.
 *
 * The struct below documents the model: every pointer says its shape. `rows` are the tokens that
 * are computed together (a chunk of a prompt, one token of each of many sequences, or both); all
 * row buffers are padded to 32 floats with zeros.
 *
 * A plan is made once for a context from the model's traits. A step is done in as many parts as the
 * team has threads, or as a single one when it has little to do (forward.c); all are done before
 * the next step begins. Or each thread goes through all steps with texts of its own (apart.c).
 */
#ifndef SLM_FWD_FWD_H
#define SLM_FWD_FWD_H

#include "base/team.h"
#include "kern/kern.h"
#include "kv/kv.h"
#include "model/model.h"

struct slm_fwd;
struct slm_step;
typedef void slm_step_fn(struct slm_fwd *f, const struct slm_step *step, int part, int n_parts);

/* Rows that matrices read: float matrices the floats, integer matrices the same quantized. Who leaves
 * them writes what is read. */
struct slm_operand {
    float *rows;           /* [rows][stride], or NULL where nobody reads floats */
    size_t stride;
    struct slm_acts acts;  /* [rows][acts.cols] */
};

/* y (+)= (w * input + bias) * scale */
struct slm_product {
    const struct slm_matrix *w;
    float *y;         /* [rows][y_stride] */
    size_t y_stride;
    float scale;
    bool add;
};

struct slm_step {
    slm_step_fn *run;
    uint32_t layer;
    uint32_t width;                 /* numbers of a row that it goes through; 0: always much to do */
    uint32_t round;                 /* left out of passes that have fewer rounds (attention.c) */
    const struct slm_norm_weights *norm;    /* without a weight: rows go on as they are */
    const struct slm_operand *input;  /* what its matrices read */
    struct slm_product products[3];
    uint32_t n_products;
    bool quantize;                  /* an integer matrix reads what this step leaves */
};

/* One of the experts that a row goes through. */
struct slm_chosen {
    uint32_t expert;
    uint32_t slot;  /* its place among all rows' choices, expert by expert */
    float weight;   /* of what comes out */
};

struct slm_row {
    slm_token token;
    uint32_t type;                   /* of the token: for embeddings of token types */
    uint32_t position;               /* in its sequence */
    uint32_t end;                    /* one past the last position that it may see */
    uint32_t sequence;               /* rows of one sequence follow each other and have its number */
    const struct slm_kv_table *tables; /* [n_groups] */
    float *logits;                   /* [n_vocab padded to 16], or NULL: not wanted */
    float *pooled;                   /* [dim] gets what the head would read added, or NULL */
};

struct slm_fwd {
    const struct slm_model *model;
    const struct slm_kern *kern;
    const struct slm_kv *kv;
    struct slm_team *team;
    const atomic_bool *interrupt;
    atomic_bool *interrupted; /* a part was left out because of it */

    struct slm_step *plan; /* [n_steps] */
    size_t n_steps;
    const struct slm_step **shared; /* [n_steps and n_score_steps] of a pass, in turn */
    const struct slm_step *end;     /* of the plan that is gone through */
    uint32_t n_rounds;     /* of attention in this pass */
    uint32_t max_rounds;   /* that the plan has */
    struct slm_step *score_plan; /* [n_score_steps] from pooled vectors in x to scores */
    size_t n_score_steps;

    size_t max_rows, n_rows;
    struct slm_row *rows;  /* [max_rows] */
    bool is_apart;         /* in this pass each thread has texts of its own (apart.c); for tests */
    struct slm_fwd *apart; /* [threads] the same with these texts' rows */
    size_t first_row; /* of all rows: pointers of steps, which know only all, are advanced so far */

    size_t dim_stride, query_stride, kv_stride; /* floats from row to row */
    float *x;              /* [rows][dim]                  residual stream */
    float *block;          /* [rows][dim]                  what a block adds, where that has a norm */
    struct slm_operand h;    /* [rows][dim or n_heads * head_dim]   what norms and attention leave */
    struct slm_operand inner;/* [rows][ffn_dim]              what `down` reads */
    float *q;              /* [rows][n_heads * head_dim] */
    float *k, *v;          /* [rows][n_kv_heads * head_dim] */
    float *scores;         /* [rows][n_scores padded to 16]  of texts, from the score head */
    size_t scores_stride;

    /* Experts: what a row goes through, then the same in slots, those of one expert side by side. */
    size_t most_experts, most_chosen, router_stride;
    float *router;         /* [rows][n_experts]            logits */
    float *share;          /* [rows][16] the first: how much the block beside the experts counts */
    struct slm_chosen *chosen; /* [rows][n_chosen of the layer] in order of weight */
    uint32_t *expert_slots; /* [n_experts + 1] where an expert's slots begin */
    struct slm_operand slots; /* [slots][dim]              what experts read, then what they leave */
    struct slm_operand slots_inner; /* [slots][expert_dim] what their `down` reads */

    float *cosine, *sine;  /* [n_ropes][rows][angle_stride] */
    size_t angle_stride;   /* most pairs that any rope rotates */
    bool long_text;        /* ropes with two tables use the one for long texts */

    size_t scratch_bytes;
    float *scratch;        /* [threads][scratch_bytes / 4] of a part, for a step */

    /* Attention: where several threads share a row's positions, results of single spans and what was
     * merged of them: a fixed number of slots, however long texts are, divided among the rows of a
     * pass. */
    size_t split_rows;     /* at most so many rows are split by spans */
    size_t attend_scratch; /* floats of a part's scratch that attend() works in */
    size_t n_slots, max_heads, value_stride;
    float *span_largest, *span_total; /* [n_slots][max_heads] */
    float *span_out;       /* [n_slots][max_heads][value_stride] */

    struct slm_row **out_rows; /* [max_rows] rows whose logits, or whose pooling, are wanted */
    size_t n_out_rows;
};

/* Lay out everything in the arena (which may only be measuring) and make the plan. */
int slm_fwd_init(struct slm_fwd *f, const struct slm_model *model, const struct slm_kern *kern,
                 const struct slm_kv *kv, size_t max_rows, size_t max_tokens, int n_threads,
                 struct slm_arena *arena);

/* Compute rows [0, n_rows): keys and values go into the pages, logits where rows want them.
 * SLM_EINTR when *interrupt became true. */
int slm_forward(struct slm_fwd *f);

/* The score head: rows [0, n_rows) of x are pooled texts; `scores` gets what it says. */
int slm_forward_scores(struct slm_fwd *f);

/* Rows times width of a step that one thread does alone: 1 to 2 microseconds, as long as it takes to
 * call the other threads and to wait for the last of them. */
enum { SLM_LITTLE_WORK = 4096 };

/* An interrupt must not wait for a large matrix or a long text: every thread looks for it at least
 * once in so many multiply-adds of products and of attention, or what takes as long: 3 milliseconds
 * without vectors. (A kernel call does no less than one row of one panel, or one span of a tile.) */
enum { SLM_INTERRUPT_WORK = 1 << 21 };

/* Bytes of rows that a product takes through all its panels together: with the weights of a panel
 * they stay in a level 2 cache of half a megabyte. */
enum { SLM_CACHED_ROWS = 3 << 17 };

/* Floats of ffn.c's scratch for each of its two matrices. */
enum { SLM_FFN_PIECE = 1 << 14 };

/* For stages with much to do: true once the pass is to be given up. Then it stays true, even if
 * somebody clears the interrupt meanwhile: what was left out leaves buffers that must not be read. */
static inline bool slm_interrupted(struct slm_fwd *f)
{
    if (atomic_load_explicit(f->interrupted, memory_order_relaxed))
        return true;
    if (!atomic_load_explicit(f->interrupt, memory_order_relaxed))
        return false;
    atomic_store_explicit(f->interrupted, true, memory_order_relaxed);
    return true;
}

/* apart.c: deals texts to threads, f->apart[thread] with its rows; false where steps are to be
 * shared. */
bool slm_take_apart(struct slm_fwd *f);

/* plan.c */
size_t slm_plan(struct slm_fwd *f, struct slm_step *steps); /* steps NULL: only counts */
size_t slm_plan_scores(struct slm_fwd *f, struct slm_step *steps);

/* One file a stage. */
slm_step_fn slm_embed_rows, slm_norm, slm_products, slm_rotate_store, slm_attention,
    slm_attention_merge, slm_attention_finish, slm_ffn, slm_add_normed, slm_sum_norm,
    slm_head_norm, slm_head, slm_pool, slm_score_activate, slm_route, slm_experts_gather,
    slm_experts_in, slm_experts_out, slm_experts_add;

/* Panels [first, last) of a product with rows [0, rows) of `in`. */
void slm_product_rows(struct slm_fwd *f, const struct slm_product *p, const struct slm_operand *in,
                      size_t rows, size_t first, size_t last);

/* Rows from `row` on. */
static inline struct slm_operand slm_operand_from(const struct slm_operand *in, size_t row)
{
    struct slm_operand from = *in;
    from.rows += in->rows ? row * in->stride : 0;
    from.acts.q += row * in->acts.cols;
    from.acts.blocks += row * (in->acts.cols / SLM_TILE_COLS);
    return from;
}

/* `rows` rows of w, from a panel on. Of a matrix that there is not, only its shape changes. */
static inline struct slm_matrix slm_matrix_from(const struct slm_matrix *w, size_t panel, size_t rows)
{
    struct slm_matrix some = *w;
    some.panels = w->panels ? w->panels + panel * w->n_tiles * w->quant->tile_bytes : NULL;
    some.bias = w->bias ? w->bias + panel * SLM_PANEL_ROWS : NULL;
    some.rows = rows;
    some.n_panels = (rows + SLM_PANEL_ROWS - 1) / SLM_PANEL_ROWS;
    return some;
}

/* Of `rows` rows, how many are taken through panels of w together. */
size_t slm_rows_at_once(const struct slm_matrix *w, size_t rows);

/* A part of: rows [0, n_rows) of `out`, for `down`, become act(gate * in) * (up * in), or
 * act(up * in) where gate has no panels. The layer says what is done to gate and up before that. */
struct slm_ffn {
    const struct slm_layer_traits *traits;
    const struct slm_matrix *up, *gate, *down;
    float *scratch; /* slm_scratch() of whoever computes it */
};
void slm_ffn_rows(struct slm_fwd *f, const struct slm_ffn *ffn, const struct slm_operand *in,
                  const struct slm_operand *out, size_t n_rows, int part, int n_parts);

/* Row `row` of `in` has its `width` floats: fill them up with zeros, and quantize them. */
void slm_complete_row(const struct slm_fwd *f, const struct slm_operand *in, size_t row, size_t width,
                      bool quantize);

/* Rounds of attention that a pass over rows [0, n_rows) takes. */
uint32_t slm_attention_rounds(const struct slm_fwd *f);

/* Slots for the spans of `rows` rows that are split, and the rounds that the longest text takes. */
size_t slm_attention_slots(size_t rows, size_t max_spans);
uint32_t slm_attention_most_rounds(size_t rows, size_t max_spans);

/* The model's kind of norm: out[n] of x[n], which may be the same. */
void slm_norm_values(const struct slm_fwd *f, const struct slm_norm_weights *norm, float *out, const float *x,
                     size_t n);

/* cos and sin of the angles of rows [0, n_rows), for every rope; called by slm_embed_rows. */
void slm_rope_angles(struct slm_fwd *f, int part, int n_parts);

/* This part's own, for as long as its step. */
static inline float *slm_scratch(const struct slm_fwd *f, int part)
{
    return f->scratch + (size_t)part * (f->scratch_bytes / sizeof(float));
}

/* The share of part `part` in `n` equal units: [*first, *last). */
static inline void slm_share(size_t n, int part, int n_parts, size_t *first, size_t *last)
{
    *first = (size_t)((uint64_t)n * (uint64_t)part / (uint64_t)n_parts);
    *last = (size_t)((uint64_t)n * (uint64_t)(part + 1) / (uint64_t)n_parts);
}

#endif
