/*
 * tiers.h - the tables there are, and the one way to fill them: a tier that includes the templates
 * has every slot. One that does something better by hand names its own function instead, in its
 * own table, and must pass the same comparison.
 */
#ifndef SLM_KERN_TIERS_H
#define SLM_KERN_TIERS_H

#include "kern/kern.h"

extern const struct slm_kern slm_kern_c, slm_kern_avx2, slm_kern_avx512;

#define SLM_KERN_TABLE(cpu)                                                                        \
    {                                                                                              \
        .tier = cpu,                                                                               \
        .gemm = {[SLM_TYPE_F32] = gemm_f32,                                                        \
                 [SLM_TYPE_F16] = gemm_f16,                                                        \
                 [SLM_TYPE_BF16] = gemm_bf16,                                                      \
                 [SLM_TYPE_Q8] = gemm_q8,                                                          \
                 [SLM_TYPE_Q4] = gemm_q4,                                                          \
                 [SLM_TYPE_Q4A] = gemm_q4a},                                                       \
        .quantize = quantize, .rms_norm = rms_norm, .silu_mul = silu_mul, .rope = rope,            \
        .kv_store = kv_store, .attend = attend, .attend_merge = attend_merge, .scale = scale_row,  \
        .exp = exp_row,                                                                            \
    }

#endif
