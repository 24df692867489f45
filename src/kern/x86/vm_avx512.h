/*
 * vm_avx512.h - the virtual machine on AVX-512 F, BW, DQ, VL and VNNI: one register is one vector.
 *
 * vpdpbusd multiplies unsigned by signed bytes, so signed weights are shifted by 128 (one xor a
 * load, shared by all tokens) and the sum starts at -128 times the sum of x: exact.
 */
#ifndef SLM_KERN_VM_AVX512_H
#define SLM_KERN_VM_AVX512_H

#include "base/bits.h"

#include <immintrin.h>

#define VM_REGISTERS
#define VM_POSITIVE
#define VM_TOKENS 8
#define VM_ROWS 12

#include "kern/unroll.h"

typedef __m512 vf;
typedef __m512i vi;
typedef __m512i vb;
typedef __m512i vu;
typedef __m512i vs;

static inline __mmask16 lanes_below(size_t n)
{
    return (__mmask16)((1u << n) - 1); /* n is at most 16 */
}

static inline vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vf_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}

static inline vf vf_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(lanes_below(n), p);
}

static inline void vf_store_n(float *p, vf v, size_t n)
{
    _mm512_mask_storeu_ps(p, lanes_below(n), v);
}

static inline vf vf_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline void vf_store_f16(uint16_t *p, vf v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static inline vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

static inline vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

static inline vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

static inline vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

static inline vf vf_abs(vf v)
{
    return _mm512_abs_ps(v);
}

static inline vf vf_first(vf v, size_t n, vf other)
{
    return _mm512_mask_blend_ps(lanes_below(n), other, v);
}

static inline vf vf_swap(vf v, const int n)
{
    return n == 8   ? _mm512_shuffle_f32x4(v, v, 0x4E)
           : n == 4 ? _mm512_shuffle_f32x4(v, v, 0xB1)
           : n == 2 ? _mm512_permute_ps(v, 0x4E)
                    : _mm512_permute_ps(v, 0xB1);
}

static inline vf vf_where_ge(vf x, vf t, vf y)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, t, _CMP_GE_OQ), y);
}

static inline float vf_sum(vf v)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static inline float vf_largest(vf v)
{
    __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

static inline vi vi_set(int32_t x)
{
    return _mm512_set1_epi32(x);
}

static inline vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}

static inline vf vi_to_f(vi v)
{
    return _mm512_cvtepi32_ps(v);
}

static inline vi vf_to_i(vf v)
{
    return _mm512_cvtps_epi32(v);
}

static inline vf vi_power2(vi v)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(127)), 23));
}

static inline int32_t vi_sum(vi v)
{
    return _mm512_reduce_add_epi32(v);
}

static inline void vi_store_i8(int8_t *p, vi v)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(v));
}

static inline __m512i four(const int8_t *x)
{
    int32_t bits;
    memcpy(&bits, x, 4);
    return _mm512_set1_epi32(bits);
}

static inline vb vb_load(const uint8_t *p)
{
    return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8((char)0x80));
}

static inline void vb_nibbles(const uint8_t *p, vb *low, vb *high)
{
    __m512i mask = _mm512_set1_epi8(15), bytes = _mm512_loadu_si512(p);
    *low = _mm512_and_si512(bytes, mask);
    *high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
}

static inline vu vu_begin(int32_t start)
{
    return _mm512_set1_epi32(start);
}

static inline vu vu_dot(vu acc, vb w, const int8_t *x)
{
    return _mm512_dpbusd_epi32(acc, w, four(x));
}

static inline vf vu_end(vu acc, int32_t start)
{
    (void)start;
    return vi_to_f(acc);
}

static inline vs vs_begin(int32_t shift)
{
    return _mm512_set1_epi32(shift);
}

static inline vs vs_dot(vs acc, vb w, const int8_t *x)
{
    return _mm512_dpbusd_epi32(acc, w, four(x));
}

static inline vf vs_end(vs acc)
{
    return vi_to_f(acc);
}

/* The other way round: now x is unsigned, and the weights are not shifted. */
INLINED void vp_dots(vs *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    __m512i first = _mm512_loadu_si512(p), second = _mm512_loadu_si512(p + 64);
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = _mm512_dpbusd_epi32(dot[i], four(x + (size_t)i * stride), first);
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = _mm512_dpbusd_epi32(dot[i], four(x + (size_t)i * stride + 4), second);
}

#endif
