/*
 * kern_c.c - the kernels for plain C: the reference that the others are compared with.
 */
#include "kern/kern.h"

#include <math.h>
#include <string.h>

#include "kern/c/vm_c.h"

#include "kern/vm.h"

#include "kern/gemm_tmpl.h"
#include "kern/row_tmpl.h"
#include "kern/attend_tmpl.h"

#include "kern/tiers.h"

const struct slm_kern slm_kern_c = SLM_KERN_TABLE(SLM_CPU_C);
