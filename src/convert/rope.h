/*
 * rope.h - inverse frequencies of rotary embeddings, with every scaling of the LLaMA family.
 *
 * The table goes into the file ready to use, so the runtime knows nothing of scalings but dynamic
 * NTK, whose frequencies depend on how long a text has become.
 */
#ifndef SLM_CONVERT_ROPE_H
#define SLM_CONVERT_ROPE_H

#include "base/alloc.h"

enum slm_rope_kind {
    SLM_ROPE_KIND_DEFAULT,
    SLM_ROPE_KIND_LINEAR,
    SLM_ROPE_KIND_DYNAMIC,
    SLM_ROPE_KIND_YARN,
    SLM_ROPE_KIND_LLAMA3,
    SLM_ROPE_KIND_LONG /* longrope: one table of divisors for short texts, one for long ones */
};

/* What a source says. Zero everywhere means "not said" but for dims, base and truncate. */
struct slm_rope_config {
    enum slm_rope_kind kind;
    uint32_t dims; /* dimensions of a head that rotate */
    double base;   /* theta */
    double factor; /* how much longer than trained; 0 in yarn: max_context / original_context */
    double original_context;
    double attention_factor; /* yarn: multiplies cos and sin; 0: follows from factor */
    double mscale, mscale_all_dim;
    double beta_fast, beta_slow; /* yarn: rotations at which interpolation begins and is complete */
    bool truncate;               /* yarn: round those dimensions outwards */
    double low_freq_factor, high_freq_factor; /* llama3 */
    const float *divisors; /* [dims / 2] of a file that holds its scaling as a table; or NULL */
    const float *long_divisors; /* [dims / 2] longrope, where divisors are for short texts */
};

/* Fill table[dims / 2] and *magnitude, which multiplies cos and sin. The arithmetic is that of
 * transformers: f32, operation by operation. Errors: SLM_EFORMAT, naming the number that is out
 * of range. */
int slm_rope_table(const struct slm_rope_config *rope, float *table, float *magnitude);
int slm_rope_long_table(const struct slm_rope_config *rope, float *table); /* longrope's other */

#endif
