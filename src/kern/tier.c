/*
 * tier.c - the kernels of one tier: the templates, over the virtual machine that meson.build names.
 *
 * Compiled once a tier with its CPU's flags, and with
 *     VM_HEADER  the machine: "kern/x86/vm_avx2.h"
 *     VM_TIER    its bit:     SLM_CPU_AVX2
 *     VM_TABLE   its table:   slm_kern_avx2, as in tiers.h
 */
#include "kern/kern.h"

#include <math.h>
#include <string.h>

#include VM_HEADER

#include "kern/vm.h"

#include "kern/gemm_tmpl.h"
#include "kern/row_tmpl.h"
#include "kern/attend_tmpl.h"

#include "kern/tiers.h"

const struct slm_kern VM_TABLE = {
    .tier = VM_TIER,
    .gemm = {[SLM_TYPE_F32] = gemm_f32,
             [SLM_TYPE_F16] = gemm_f16,
             [SLM_TYPE_BF16] = gemm_bf16,
             [SLM_TYPE_Q8] = gemm_q8,
             [SLM_TYPE_Q4] = gemm_q4,
             [SLM_TYPE_Q4A] = gemm_q4a},
    .quantize = quantize,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .activate = {[SLM_KERN_SILU] = act_silu,
                 [SLM_KERN_GELU] = act_gelu,
                 [SLM_KERN_GELU_TANH] = act_gelu_tanh,
                 [SLM_KERN_GELU_QUICK] = act_gelu_quick,
                 [SLM_KERN_RELU] = act_relu},
    .soft_cap = soft_cap,
    .rope = rope,
    .kv_store = kv_store,
    .kv_query = kv_query,
    .attend = attend,
    .attend_merge = attend_merge,
    .scale = scale_row,
    .exp = exp_row,
};
