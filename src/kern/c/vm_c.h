/*
 * vm_c.h - the virtual machine in plain C: the meaning of every operation, and the tier for CPUs
 * without vectors. fmaf() rounds once even where the CPU has no such instruction.
 */
#ifndef SLM_KERN_VM_C_H
#define SLM_KERN_VM_C_H

#include "base/bits.h"

#include <math.h>

#define VM_TOKENS 1
#define VM_ROWS 1

typedef struct {
    float f[16];
} vf;
typedef struct {
    int32_t i[16];
} vi;
typedef struct {
    int8_t b[64];
} vb;
typedef vi vu;
typedef vi vs;

#define LANES(i) for (int i = 0; i < 16; i++)

static inline vf vf_set(float x)
{
    vf r;
    LANES(i) r.f[i] = x;
    return r;
}

static inline vf vf_load(const float *p)
{
    vf r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline void vf_store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

static inline vf vf_load_n(const float *p, size_t n)
{
    vf r = vf_set(0);
    memcpy(&r, p, n * sizeof *p);
    return r;
}

static inline void vf_store_n(float *p, vf v, size_t n)
{
    memcpy(p, &v, n * sizeof *p);
}

static inline vf vf_load_f16(const uint16_t *p)
{
    vf r;
    LANES(i) r.f[i] = slm_f16_to_f32(p[i]);
    return r;
}

static inline vf vf_load_bf16(const uint16_t *p)
{
    vf r;
    LANES(i) r.f[i] = slm_bf16_to_f32(p[i]);
    return r;
}

static inline void vf_store_f16(uint16_t *p, vf v)
{
    LANES(i) p[i] = slm_f32_to_f16(v.f[i]);
}

static inline vf vf_add(vf a, vf b)
{
    LANES(i) a.f[i] += b.f[i];
    return a;
}

static inline vf vf_sub(vf a, vf b)
{
    LANES(i) a.f[i] -= b.f[i];
    return a;
}

static inline vf vf_mul(vf a, vf b)
{
    LANES(i) a.f[i] *= b.f[i];
    return a;
}

static inline vf vf_div(vf a, vf b)
{
    LANES(i) a.f[i] /= b.f[i];
    return a;
}

static inline vf vf_fma(vf a, vf b, vf c)
{
    LANES(i) c.f[i] = fmaf(a.f[i], b.f[i], c.f[i]);
    return c;
}

static inline vf vf_min(vf a, vf b)
{
    LANES(i) b.f[i] = a.f[i] < b.f[i] ? a.f[i] : b.f[i];
    return b;
}

static inline vf vf_max(vf a, vf b)
{
    LANES(i) b.f[i] = a.f[i] > b.f[i] ? a.f[i] : b.f[i];
    return b;
}

static inline vf vf_abs(vf v)
{
    LANES(i) v.f[i] = slm_float_of(slm_bits_of(v.f[i]) & 0x7FFFFFFF);
    return v;
}

static inline vf vf_first(vf v, size_t n, vf other)
{
    LANES(i) v.f[i] = (size_t)i < n ? v.f[i] : other.f[i];
    return v;
}

static inline vf vf_swap(vf v, const int n)
{
    vf r;
    LANES(i) r.f[i] = v.f[i ^ n];
    return r;
}

static inline vf vf_where_ge(vf x, vf t, vf y)
{
    LANES(i) y.f[i] = x.f[i] >= t.f[i] ? y.f[i] : 0.0f;
    return y;
}

static inline float vf_sum(vf v)
{
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            v.f[i] += v.f[i + half];
    return v.f[0];
}

static inline float vf_largest(vf v)
{
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            v.f[i] = v.f[i] > v.f[i + half] ? v.f[i] : v.f[i + half];
    return v.f[0];
}

static inline vi vi_set(int32_t x)
{
    vi r;
    LANES(i) r.i[i] = x;
    return r;
}

static inline vi vi_add(vi a, vi b)
{
    LANES(i) a.i[i] += b.i[i];
    return a;
}

static inline vf vi_to_f(vi v)
{
    vf r;
    LANES(i) r.f[i] = (float)v.i[i];
    return r;
}

static inline vi vf_to_i(vf v)
{
    vi r;
    LANES(i) r.i[i] = (int32_t)lrintf(v.f[i]);
    return r;
}

static inline vf vi_power2(vi v)
{
    vf r;
    LANES(i) r.f[i] = slm_float_of((uint32_t)(v.i[i] + 127) << 23);
    return r;
}

static inline int32_t vi_sum(vi v)
{
    int32_t sum = 0;
    LANES(i) sum += v.i[i];
    return sum;
}

static inline void vi_store_i8(int8_t *p, vi v)
{
    LANES(i) p[i] = (int8_t)v.i[i];
}

static inline vb vb_load(const uint8_t *p)
{
    vb r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline void vb_nibbles(const uint8_t *p, vb *low, vb *high)
{
    for (int i = 0; i < 64; i++) {
        low->b[i] = (int8_t)(p[i] & 15);
        high->b[i] = (int8_t)(p[i] >> 4);
    }
}

static inline vi dot4(vi acc, vb w, const int8_t *x)
{
    LANES(i)
        acc.i[i] += w.b[4 * i] * x[0] + w.b[4 * i + 1] * x[1] + w.b[4 * i + 2] * x[2] +
                    w.b[4 * i + 3] * x[3];
    return acc;
}

static inline vu vu_begin(int32_t start)
{
    return vi_set(start);
}

static inline vu vu_dot(vu acc, vb w, const int8_t *x)
{
    return dot4(acc, w, x);
}

static inline vf vu_end(vu acc, int32_t start)
{
    (void)start;
    return vi_to_f(acc);
}

static inline vs vs_begin(int32_t shift)
{
    (void)shift;
    return vi_set(0);
}

static inline vs vs_dot(vs acc, vb w, const int8_t *x)
{
    return dot4(acc, w, x);
}

static inline vf vs_end(vs acc)
{
    return vi_to_f(acc);
}

#undef LANES

#endif
