/*
 * kern_avx2.c - the kernels for AVX2, FMA and F16C.
 */
#include "kern/kern.h"

#include <math.h>
#include <string.h>

#include "kern/x86/vm_avx2.h"

#include "kern/vm.h"

#include "kern/gemm_tmpl.h"
#include "kern/row_tmpl.h"
#include "kern/attend_tmpl.h"

#include "kern/tiers.h"

const struct slm_kern slm_kern_avx2 = SLM_KERN_TABLE(SLM_CPU_AVX2);
