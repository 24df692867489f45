/*
 * vm_avx2.h - the virtual machine on AVX2, FMA and F16C.
 *
 * vpmaddubsw multiplies unsigned by signed bytes and adds pairs into int16. A nibble times an int8
 * is at most 15 * 127, so the 8 x 2 products of a tile that meet in one int16 stay below 32,768
 * (30,480): they are widened once a tile. Signed bytes go through |w| and sign(x, w), which is
 * exact since |x| <= 127, and are widened at each step.
 */
#ifndef SLM_KERN_X86_VM_AVX2_H
#define SLM_KERN_X86_VM_AVX2_H

#include "kern/x86/floats_avx2.h"

#define VM_POSITIVE
#define VM_TOKENS 4

typedef vi vu; /* int16: the two pairs of a row side by side */
typedef vi vs;

static inline vu vu_begin(int32_t start)
{
    (void)start;
    return vi_set(0);
}

static inline vu vu_dot(vu acc, vb w, const int8_t *x)
{
    __m256i x4 = four(x);
    return (vu){_mm256_add_epi16(acc.a, _mm256_maddubs_epi16(w.a, x4)),
                _mm256_add_epi16(acc.b, _mm256_maddubs_epi16(w.b, x4))};
}

static inline vf vu_end(vu acc, int32_t start)
{
    __m256i ones = _mm256_set1_epi16(1);
    vi sums = {_mm256_madd_epi16(acc.a, ones), _mm256_madd_epi16(acc.b, ones)};
    return vi_to_f(vi_add(sums, vi_set(start)));
}

static inline vs vs_begin(int32_t shift)
{
    (void)shift;
    return vi_set(0);
}

static inline __m256i signed_dot(__m256i acc, __m256i w, __m256i x4)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x4, w));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

static inline vs vs_dot(vs acc, vb w, const int8_t *x)
{
    __m256i x4 = four(x);
    return (vs){signed_dot(acc.a, w.a, x4), signed_dot(acc.b, w.b, x4)};
}

static inline vf vs_end(vs acc)
{
    return vi_to_f(acc);
}

static inline __m256i positive_dot(__m256i acc, __m256i w, __m256i x4)
{
    __m256i pairs = _mm256_maddubs_epi16(x4, w);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINED void vp_dots(vs *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    vb first = vb_load(p), second = vb_load(p + 64);
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        __m256i x0 = four(x + (size_t)i * stride), x1 = four(x + (size_t)i * stride + 4);
        dot[i].a = positive_dot(positive_dot(dot[i].a, first.a, x0), second.a, x1);
        dot[i].b = positive_dot(positive_dot(dot[i].b, first.b, x0), second.b, x1);
    }
}

#endif
