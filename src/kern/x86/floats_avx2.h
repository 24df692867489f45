/*
 * floats_avx2.h - what the machines on AVX2, FMA and F16C share: floats, int32 and the unpacking of
 * weights; two registers are one vector. The machines themselves (vm_avx2.h, vm_avxvnni.h) add the
 * integer dots.
 */
#ifndef SLM_KERN_X86_FLOATS_AVX2_H
#define SLM_KERN_X86_FLOATS_AVX2_H

#include "base/bits.h"

#include <immintrin.h>

#define VM_REGISTERS
#define VM_ROWS 4

#include "kern/unroll.h"

typedef struct {
    __m256 a, b;
} vf;
typedef struct {
    __m256i a, b;
} vi;
typedef vi vb;

/* All ones in the lanes below n, of the lanes first..first + 7. */
static inline __m256i lanes_below(size_t n, int first)
{
    __m256i lane =
        _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

static inline vf vf_set(float x)
{
    return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline vf vf_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void vf_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}

static inline vf vf_load_n(const float *p, size_t n)
{
    return (vf){_mm256_maskload_ps(p, lanes_below(n, 0)),
                _mm256_maskload_ps(p + 8, lanes_below(n, 8))};
}

static inline void vf_store_n(float *p, vf v, size_t n)
{
    _mm256_maskstore_ps(p, lanes_below(n, 0), v.a);
    _mm256_maskstore_ps(p + 8, lanes_below(n, 8), v.b);
}

static inline vf vf_load_f16(const uint16_t *p)
{
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}

static inline __m256 bf16_half(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    return (vf){bf16_half(p), bf16_half(p + 8)};
}

static inline void vf_store_f16(uint16_t *p, vf v)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT));
}

static inline vf vf_add(vf x, vf y)
{
    return (vf){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}

static inline vf vf_sub(vf x, vf y)
{
    return (vf){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}

static inline vf vf_mul(vf x, vf y)
{
    return (vf){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}

static inline vf vf_div(vf x, vf y)
{
    return (vf){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}

static inline vf vf_fma(vf x, vf y, vf z)
{
    return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}

static inline vf vf_min(vf x, vf y)
{
    return (vf){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}

static inline vf vf_max(vf x, vf y)
{
    return (vf){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}

static inline vf vf_abs(vf v)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_andnot_ps(sign, v.a), _mm256_andnot_ps(sign, v.b)};
}

static inline vf vf_first(vf v, size_t n, vf other)
{
    return (vf){_mm256_blendv_ps(other.a, v.a, _mm256_castsi256_ps(lanes_below(n, 0))),
                _mm256_blendv_ps(other.b, v.b, _mm256_castsi256_ps(lanes_below(n, 8)))};
}

static inline __m256 swap_half(__m256 v, const int n)
{
    return n == 4   ? _mm256_permute2f128_ps(v, v, 1)
           : n == 2 ? _mm256_permute_ps(v, 0x4E)
                    : _mm256_permute_ps(v, 0xB1);
}

static inline vf vf_swap(vf v, const int n)
{
    return n == 8 ? (vf){v.b, v.a} : (vf){swap_half(v.a, n), swap_half(v.b, n)};
}

static inline vf vf_where_ge(vf x, vf t, vf y)
{
    return (vf){_mm256_and_ps(_mm256_cmp_ps(x.a, t.a, _CMP_GE_OQ), y.a),
                _mm256_and_ps(_mm256_cmp_ps(x.b, t.b, _CMP_GE_OQ), y.b)};
}

static inline float vf_sum(vf v)
{
    __m256 a = _mm256_add_ps(v.a, v.b);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static inline float vf_largest(vf v)
{
    __m256 a = _mm256_max_ps(v.a, v.b);
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

static inline vi vi_set(int32_t x)
{
    return (vi){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}

static inline vi vi_add(vi x, vi y)
{
    return (vi){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}

static inline vf vi_to_f(vi v)
{
    return (vf){_mm256_cvtepi32_ps(v.a), _mm256_cvtepi32_ps(v.b)};
}

static inline vi vf_to_i(vf v)
{
    return (vi){_mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b)};
}

static inline vf vi_power2(vi v)
{
    vi biased = vi_add(v, vi_set(127));
    return (vf){_mm256_castsi256_ps(_mm256_slli_epi32(biased.a, 23)),
                _mm256_castsi256_ps(_mm256_slli_epi32(biased.b, 23))};
}

static inline int32_t vi_sum(vi v)
{
    __m256i a = _mm256_add_epi32(v.a, v.b);
    __m128i b = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_add_epi32(b, _mm_shuffle_epi32(b, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(b, _mm_shuffle_epi32(b, 0xB1)));
}

static inline void vi_store_i8(int8_t *p, vi v)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.a, v.b), 0xD8);
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(words),
                                                   _mm256_extracti128_si256(words, 1)));
}

static inline __m256i four(const int8_t *x)
{
    int32_t bits;
    memcpy(&bits, x, 4);
    return _mm256_set1_epi32(bits);
}

static inline vb vb_load(const uint8_t *p)
{
    return (vb){_mm256_loadu_si256((const __m256i *)p),
                _mm256_loadu_si256((const __m256i *)(p + 32))};
}

static inline void vb_nibbles(const uint8_t *p, vb *low, vb *high)
{
    __m256i mask = _mm256_set1_epi8(15);
    vb bytes = vb_load(p);
    *low = (vb){_mm256_and_si256(bytes.a, mask), _mm256_and_si256(bytes.b, mask)};
    *high = (vb){_mm256_and_si256(_mm256_srli_epi16(bytes.a, 4), mask),
                 _mm256_and_si256(_mm256_srli_epi16(bytes.b, 4), mask)};
}

#endif
