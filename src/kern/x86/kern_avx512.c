/*
 * kern_avx512.c - the kernels for AVX-512 with VNNI.
 */
#include "kern/kern.h"

#include <math.h>
#include <string.h>

#include "kern/x86/vm_avx512.h"

#include "kern/vm.h"

#include "kern/gemm_tmpl.h"
#include "kern/row_tmpl.h"
#include "kern/attend_tmpl.h"

#include "kern/tiers.h"

const struct slm_kern slm_kern_avx512 = SLM_KERN_TABLE(SLM_CPU_AVX512);
