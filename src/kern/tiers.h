/*
 * tiers.h - the tiers that there are for this architecture, from the plainest to the best: the end
 * of its SLM_CPU_ name, the end of its table's name, and what people call it. docs/add-a-kernel.md
 * tells what else a new one needs.
 */
#ifndef SLM_KERN_TIERS_H
#define SLM_KERN_TIERS_H

#include "kern/kern.h"

#if defined(__x86_64__)
#define SLM_TIERS(tier)                                                                            \
    tier(C, c, "c")                                                                                \
    tier(AVX2, avx2, "avx2")                                                                       \
    tier(AVXVNNI, avxvnni, "avxvnni")                                                              \
    tier(AVX512, avx512, "avx512")
#elif defined(__aarch64__)
#define SLM_TIERS(tier)                                                                            \
    tier(C, c, "c")                                                                                \
    tier(NEON, neon, "neon")                                                                       \
    tier(NEON_DOT, neon_dot, "neon-dot")                                                           \
    tier(NEON_I8MM, neon_i8mm, "neon-i8mm")
#else
#define SLM_TIERS(tier) tier(C, c, "c")
#endif

#define SLM_DECLARE_TIER(bit, table, name) extern const struct slm_kern slm_kern_##table;
SLM_TIERS(SLM_DECLARE_TIER)
#undef SLM_DECLARE_TIER

#endif
