/*
 * vm.h - a virtual vector machine of 16 lanes.
 *
 * Kernels are written for this machine. A real one is a header (c/vm_c.h, x86/vm_avx2.h...) that
 * defines the types and the functions below, all `static inline`. Each does exactly one rounding an
 * operation, in the nearest-even mode, so all machines agree to the bit.
 *
 * types   vf   16 floats            vi   16 int32
 *         vu   16 sums of products of unsigned nibbles with int8, in whatever form is fast; at most
 *              32 columns (a tile) may be added up before vu_end
 *         vs   the same for signed bytes
 *
 * floats  vf_set(x)  vf_load(p)  vf_store(p, v)      p: no alignment is assumed
 *         vf_load_n(p, n)  vf_store_n(p, v, n)       the first n lanes; others 0, or untouched
 *         vf_load_f16(p)  vf_load_bf16(p)  vf_store_f16(p, v)
 *         vf_add  vf_sub  vf_mul  vf_div  vf_fma(a, b, c) = a * b + c, rounded once
 *         vf_min(a, b) = a < b ? a : b   vf_max(a, b) = a > b ? a : b    (so a NaN gives b)
 *         vf_abs(v)
 *         vf_first(v, n, other)                      lanes below n of v, the rest of other
 *         vf_swap(v, n)                              lane i is lane i ^ n of v; n: 1, 2, 4 or 8
 *         vf_where_ge(x, t, y)                       x >= t ? y : 0
 *         vf_sum(v)                                  ((i + i8) + i4) + i2) + i1: a fixed tree
 *         vf_largest(v)
 * ints    vi_set(x)  vi_add  vi_to_f(v)  vf_to_i(v)  nearest even; |v| < 2^31
 *         vi_power2(v)                               2^v as float, v in -126..127
 *         vi_sum(v)  vi_store_i8(p, v)               lanes must fit
 * weights vu_begin(start)  vu_end(acc, start)        start + all products, as floats
 *         vs_begin(shift)  vs_end(acc)               shift: -128 * sum of all x, for machines
 *                                                    that shift the weights to unsigned
 *         vu_dots(dot, p, x, stride, tokens)         dot[i] += 8 columns times 8 of x + i * stride;
 *         vs_dots(dot, p, x, stride, tokens)         p: the tile's next 64, or 128, bytes
 *         vu_split(dot, tokens)  vs_split            after all columns: gives each token its own
 *                                                    sums again, where tokens share registers
 *         A machine without VM_DOTS leaves these four to this header, and defines instead
 *         vb   64 bytes of weights: for each of 16 rows, 4 consecutive columns
 *         vb_load(p)  vb_nibbles(p, &low, &high)     64 signed bytes, or nibbles of twice as many
 *         vu_dot(acc, w, x)  vs_dot(acc, w, x)       x: 4 int8 that all rows are multiplied with
 *         vp_dots(dot, p, x, stride, tokens)         vs_dots where no x is negative, for a dot that
 *                                                    began with shift 0: a machine that does shift
 *                                                    has its own, and says so by VM_POSITIVE
 *
 * numbers VM_TOKENS  tokens that share one unpacked tile in registers
 *         VM_ROWS    sums of attention that registers hold: query rows that share one vector of
 *                    keys or values, or vectors that fewer rows share; at most SLM_TILE_ROWS
 *         VM_REGISTERS  defined where a vf is registers: loops over tokens are then unrolled
 *
 * This header adds what is the same for all of them.
 */
#ifndef SLM_KERN_VM_H
#define SLM_KERN_VM_H

#include "kern/unroll.h"

/*
 * e^x, relative error below 1e-7; exactly 0 below -87 (so there are no denormals) and
 * e^88 above 88. x = n ln2 + r with |r| <= ln2 / 2, e^r by its Taylor polynomial of degree 7.
 */
static inline vf vf_exp(vf x)
{
    vf clamped = vf_max(vf_min(x, vf_set(88.0f)), vf_set(-87.0f));
    vi n = vf_to_i(vf_mul(clamped, vf_set(0x1.715476p+0f)));
    vf whole = vi_to_f(n);
    vf r = vf_fma(whole, vf_set(-0x1.62e400p-1f), clamped); /* ln2 in two parts: exact product */
    r = vf_fma(whole, vf_set(-0x1.7f7d1cp-20f), r);
    vf p = vf_set(0x1.a01a02p-13f);
    p = vf_fma(p, r, vf_set(0x1.6c16c2p-10f));
    p = vf_fma(p, r, vf_set(0x1.111112p-7f));
    p = vf_fma(p, r, vf_set(0x1.555556p-5f));
    p = vf_fma(p, r, vf_set(0x1.555556p-3f));
    p = vf_fma(p, r, vf_set(0.5f));
    p = vf_fma(p, r, vf_set(1.0f));
    p = vf_fma(p, r, vf_set(1.0f));
    return vf_where_ge(x, vf_set(-87.0f), vf_mul(p, vi_power2(n)));
}

/*
 * tanh x, relative error below 3e-7: an odd polynomial of degree 11 where |x| < 0.7, else
 * 1 - 2 / (e^(2 |x|) + 1), with the sign put back. The coefficients interpolate tanh(x) / x at
 * Chebyshev's points.
 */
static inline vf vf_tanh(vf x)
{
    vf zero = vf_set(0), one = vf_set(1), size = vf_abs(x), near = vf_min(size, vf_set(0.7f));
    vf z = vf_mul(near, near);
    vf p = vf_set(-0x1.6a56280p-8f);
    p = vf_fma(p, z, vf_set(0x1.50be220p-6f));
    p = vf_fma(p, z, vf_set(-0x1.b8450e0p-5f));
    p = vf_fma(p, z, vf_set(0x1.1109de0p-3f));
    p = vf_fma(p, z, vf_set(-0x1.55554c0p-2f));
    vf small = vf_fma(vf_mul(p, z), near, near);
    vf large = vf_sub(one, vf_div(vf_set(2), vf_add(vf_exp(vf_add(size, size)), one)));
    vf rest = vf_where_ge(size, vf_set(0.7f), vf_sub(large, small)); /* large - small, or 0 */
    vf both = vf_add(small, rest);
    return vf_sub(vf_where_ge(x, zero, both), vf_where_ge(vf_sub(zero, x), zero, both));
}

/*
 * The share of a normal distribution below x, error below 4e-7 relative: where x < 0 it is
 * e^(-x^2/2) * t * p(t) with t = 1 / (1 + |x| / 4), p of degree 8; above, 1 - that of -x.
 */
static inline vf vf_normal(vf x)
{
    vf zero = vf_set(0), one = vf_set(1), size = vf_abs(x);
    vf t = vf_div(one, vf_fma(size, vf_set(0.25f), one));
    vf p = vf_set(0x1.e335560p-6f);
    p = vf_fma(p, t, vf_set(-0x1.5e7d520p-3f));
    p = vf_fma(p, t, vf_set(0x1.560a960p-2f));
    p = vf_fma(p, t, vf_set(-0x1.fe69ca0p-3f));
    p = vf_fma(p, t, vf_set(0x1.dadfa60p-3f));
    p = vf_fma(p, t, vf_set(0x1.4821260p-6f));
    p = vf_fma(p, t, vf_set(0x1.b6953a0p-4f));
    p = vf_fma(p, t, vf_set(0x1.9196dc0p-4f));
    p = vf_fma(p, t, vf_set(0x1.98e2da0p-4f));
    vf e = vf_exp(vf_mul(vf_mul(x, x), vf_set(-0.5f)));
    vf below = vf_mul(e, vf_mul(t, p));
    return vf_add(vf_where_ge(x, zero, vf_sub(one, vf_add(below, below))), below);
}

/*
 * The CPU looks ahead in a stream of memory, but not beyond the page: the first lines of the next one
 * let it begin there before they are waited for.
 */
INLINED void show_next_page(const uint8_t *stream)
{
    enum { PAGE = 4096, LINE = 64 };
    const uint8_t *next = stream + (PAGE - (uintptr_t)stream % PAGE);
    __builtin_prefetch(next);
    __builtin_prefetch(next + LINE);
}

/*
 * Asking for memory before it is read: n bytes from p on, line by line. Addresses beyond the end of
 * what is there do no harm.
 *
 * ask_once   what won't be read again before the caches are full of other things, just before it is
 *            read: it stays out of the last cache. The CPU sees a stream in the requests, as in
 * reads, and looks ahead itself. ask_soon   what the next piece of work reads, into the level 2
 * cache.
 */
INLINED void ask_once(const void *p, size_t n)
{
    if (__builtin_constant_p(n)) { /* else it would be unrolled with tests for every length */
        UNROLLED
        for (size_t i = 0; i < n; i += 64)
            __builtin_prefetch((const char *)p + i, 0, 0);
    } else {
        ROLLED
        for (size_t i = 0; i < n; i += 64)
            __builtin_prefetch((const char *)p + i, 0, 0);
    }
}

INLINED void ask_soon(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i += 64)
        __builtin_prefetch((const char *)p + i, 0, 2);
}

/*
 * What each of a few tokens has in memory, `stride` bytes apart. An instruction can add 0, 1 or 2
 * strides to a register, so three tokens share a pointer: a compiler left to itself keeps one for
 * each, and runs out of registers.
 */
struct vm_rows {
    const int8_t *base[(VM_TOKENS + 2) / 3];
    size_t stride;
};

INLINED struct vm_rows vm_rows(const void *first, size_t stride, const int tokens)
{
    struct vm_rows rows = {{first}, stride};
    __asm__("" : "+r"(rows.base[0]));
    UNROLLED
    for (int i = 1; 3 * i < tokens; i++) {
        rows.base[i] = rows.base[i - 1] + 3 * stride;
        __asm__("" : "+r"(rows.base[i])); /* where it came from is not known any more */
    }
    return rows;
}

INLINED const void *vm_row(const struct vm_rows *rows, int i)
{
    return rows->base[i / 3] + (size_t)(i % 3) * rows->stride;
}

#ifndef VM_DOTS

INLINED void vu_dots(vu *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    const struct vm_rows rows = vm_rows(x, stride, tokens);
    vb low, high;
    vb_nibbles(p, &low, &high);
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vu_dot(dot[i], low, vm_row(&rows, i));
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vu_dot(dot[i], high, (const int8_t *)vm_row(&rows, i) + 4);
}

INLINED void vs_dots(vs *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    const struct vm_rows rows = vm_rows(x, stride, tokens);
    vb first = vb_load(p), second = vb_load(p + 64);
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vs_dot(dot[i], first, vm_row(&rows, i));
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vs_dot(dot[i], second, (const int8_t *)vm_row(&rows, i) + 4);
}

INLINED void vu_split(vu *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

INLINED void vs_split(vs *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

#endif

#ifndef VM_POSITIVE

INLINED void vp_dots(vs *dot, const uint8_t *p, const int8_t *x, size_t stride, const int tokens)
{
    vs_dots(dot, p, x, stride, tokens);
}

#endif

#endif
