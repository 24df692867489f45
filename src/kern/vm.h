/*
 * vm.h - a virtual vector machine of 16 lanes.
 *
 * Kernels are written for this machine. A real one is a header (c/vm_c.h, x86/vm_avx2.h...) that
 * defines the types and the functions below, all `static inline`. Each does exactly one rounding an
 * operation, in the nearest-even mode, so all machines agree to the bit.
 *
 * types   vf   16 floats            vi   16 int32
 *         vb   64 bytes of weights: for each of 16 rows, 4 consecutive columns
 *         vu   sums of products of unsigned nibbles, in whatever form is fast; at most 8 products
 *              of vb (a tile) may be added up before vu_end
 *         vs   the same for signed bytes
 *
 * floats  vf_set(x)  vf_load(p)  vf_store(p, v)      p: no alignment is assumed
 *         vf_load_n(p, n)  vf_store_n(p, v, n)       the first n lanes; others 0, or untouched
 *         vf_load_f16(p)  vf_load_bf16(p)  vf_store_f16(p, v)
 *         vf_add  vf_sub  vf_mul  vf_div  vf_fma(a, b, c) = a * b + c, rounded once
 *         vf_min(a, b) = a < b ? a : b   vf_max(a, b) = a > b ? a : b    (so a NaN gives b)
 *         vf_abs(v)
 *         vf_first(v, n, other)                      lanes below n of v, the rest of other
 *         vf_where_ge(x, t, y)                       x >= t ? y : 0
 *         vf_sum(v)                                  ((i + i8) + i4) + i2) + i1: a fixed tree
 *         vf_largest(v)
 * ints    vi_set(x)  vi_add  vi_to_f(v)  vf_to_i(v)  nearest even; |v| < 2^31
 *         vi_power2(v)                               2^v as float, v in -126..127
 *         vi_sum(v)  vi_store_i8(p, v)               lanes must fit
 * weights vb_load(p)                                 64 signed bytes
 *         vb_nibbles(p, &low, &high)                 64 bytes: the low and the high halves
 *         vu_begin(start)  vu_end(acc, start)        start + all products, as floats
 *         vu_dot(acc, w, x)                          x: 4 int8 that all rows are multiplied with
 *         vs_begin(shift)  vs_end(acc)  vs_dot(acc, w, x)   shift: -128 * sum of all x, for
 *                                                    machines that shift the weights to unsigned
 *         A machine that does better with 8 columns or two tokens at once defines VM_DOTS and, in
 *         place of vu_dot and vs_dot, what stands at the end of this file.
 *         vm_prefetch(p)
 *
 * numbers VM_TOKENS  tokens that share one unpacked tile in registers
 *         VM_ROWS    query rows that share one key vector, at most SLM_TILE_ROWS
 *         VM_REGISTERS  defined where a vf is registers: loops over tokens are then unrolled
 *
 * This header adds what is the same for all of them.
 */
#ifndef SLM_KERN_VM_H
#define SLM_KERN_VM_H

#if !defined(VM_REGISTERS) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLLED /* checked code grows tenfold when unrolled, and takes minutes to compile */
#elif defined(__clang__)
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif
#define INLINED static inline __attribute__((always_inline))

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

#ifndef VM_DOTS

/* dot[tokens] += 8 columns: `first` holds columns 0 to 3, `second` 4 to 7, of x[token * stride]. */
INLINED void vu_dots(vu *dot, vb first, vb second, const int8_t *x, size_t stride, const int tokens)
{
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vu_dot(dot[i], first, x + (size_t)i * stride);
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vu_dot(dot[i], second, x + (size_t)i * stride + 4);
}

INLINED void vs_dots(vs *dot, vb first, vb second, const int8_t *x, size_t stride, const int tokens)
{
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vs_dot(dot[i], first, x + (size_t)i * stride);
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vs_dot(dot[i], second, x + (size_t)i * stride + 4);
}

/* After all columns: gives each token its own sums again, where tokens have shared registers. */
INLINED void vu_split(vu *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

INLINED void vs_split(vs *dot, const int tokens)
{
    (void)dot, (void)tokens;
}

#endif

#endif
