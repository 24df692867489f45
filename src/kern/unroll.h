/*
 * unroll.h - UNROLLED stands before a loop over tokens, rows or quarters, whose bound is a constant
 * once its function is INLINED: what it indexes then stays in registers. ROLLED: before one around
 * these, that is not to be unrolled although its bound is a constant.
 */
#ifndef SLM_KERN_UNROLL_H
#define SLM_KERN_UNROLL_H

#if !defined(VM_REGISTERS) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLLED /* checked code grows tenfold when unrolled, and takes minutes to compile */
#elif defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif
#ifdef __clang__
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define ROLLED _Pragma("GCC unroll 1")
#endif
#if defined(VM_REGISTERS)
#define INLINED static inline __attribute__((always_inline))
#else
#define INLINED static /* lanes in memory: inlining what many call only makes it larger */
#endif

#endif
