/* cpu.h - which of the kernels' tiers this processor and operating system can run. */
#ifndef SLM_BASE_CPU_H
#define SLM_BASE_CPU_H

/* SLM_CPU_ bits; always has SLM_CPU_C. Looks every time: it costs a microsecond and keeps no state. */
unsigned slm_cpu_detect(void);

#endif
