/*
 * vm_avxvnni.h - the virtual machine on AVX2 with AVX-VNNI: vpdpbusd multiplies 4 unsigned bytes by
 * 4 signed ones and adds them to an int32.
 *
 * Signed weights are shifted by 128 (one xor a load, shared by all tokens) and the sum starts at
 * -128 times the sum of x: exact, as on AVX-512. With AVX-512's flags in place of -mavxvnni the
 * same source is the same arithmetic in that encoding: so it is tested where a CPU has only
 * AVX-512.
 */
#ifndef SLM_KERN_X86_VM_AVXVNNI_H
#define SLM_KERN_X86_VM_AVXVNNI_H

#include "kern/x86/floats_avx2.h"

#define VM_POSITIVE
#define VM_TOKENS 4

typedef vi vu;
typedef vi vs;

static inline __m256i dot4(__m256i acc, __m256i w, __m256i x4)
{
#ifdef __AVXVNNI__
    return _mm256_dpbusd_avx_epi32(acc, w, x4);
#else
    return _mm256_dpbusd_epi32(acc, w, x4);
#endif
}

static inline vu vu_begin(int32_t start)
{
    return vi_set(start);
}

static inline vu vu_dot(vu acc, vb w, const int8_t *x)
{
    __m256i x4 = four(x);
    return (vu){dot4(acc.a, w.a, x4), dot4(acc.b, w.b, x4)};
}

static inline vf vu_end(vu acc, int32_t start)
{
    (void)start;
    return vi_to_f(acc);
}

static inline vs vs_begin(int32_t shift)
{
    return vi_set(shift);
}

static inline vs vs_dot(vs acc, vb w, const int8_t *x)
{
    __m256i x4 = four(x), shift = _mm256_set1_epi8((char)0x80);
    return (vs){dot4(acc.a, _mm256_xor_si256(w.a, shift), x4),
                dot4(acc.b, _mm256_xor_si256(w.b, shift), x4)};
}

static inline vf vs_end(vs acc)
{
    return vi_to_f(acc);
}

/* The other way round: now x is unsigned, and the weights are not shifted. */
INLINED void vp_dots(vs *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    vb first = vb_load(p), second = vb_load(p + 64);
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        __m256i x0 = four(x + (size_t)i * stride), x1 = four(x + (size_t)i * stride + 4);
        dot[i].a = dot4(dot4(dot[i].a, x0, first.a), x1, second.a);
        dot[i].b = dot4(dot4(dot[i].b, x0, first.b), x1, second.b);
    }
}

#endif
