/*
 * row_tmpl.h - what happens to one row between matrix products: quantizing, norms, activation,
 * rotation. Sums run over 16 accumulators, lane i taking elements i mod 16, then vf_sum's tree.
 */

/* Below this magnitude a block counts as zero: its scale's reciprocal would overflow. */
#define TINY 0x1p-100f

static void quantize(const float *x, size_t n, int8_t *q, struct slm_act_block *blocks)
{
    for (size_t i = 0; i < n; i += 32, blocks++) {
        vf a = vf_load(x + i), b = vf_load(x + i + 16);
        float largest = vf_largest(vf_max(vf_abs(a), vf_abs(b)));
        bool tiny = !(largest >= TINY);
        float scale = tiny ? 0.0f : largest / 127.0f;
        vf inverse = vf_set(tiny ? 0.0f : 1.0f / scale), low = vf_set(-127), high = vf_set(127);
        vi qa = vf_to_i(vf_max(vf_min(vf_mul(a, inverse), high), low));
        vi qb = vf_to_i(vf_max(vf_min(vf_mul(b, inverse), high), low));
        vi_store_i8(q + i, qa);
        vi_store_i8(q + i + 16, qb);
        int32_t sum = vi_sum(vi_add(qa, qb));
        *blocks = (struct slm_act_block){scale, scale * (float)sum, -8 * sum, -128 * sum};
    }
}

static void rms_norm(float *out, const float *x, const float *weight, size_t n, float eps)
{
    vf squares = vf_set(0);
    for (size_t i = 0; i < n; i += 16) {
        vf v = vf_load(x + i);
        squares = vf_fma(v, v, squares);
    }
    vf inverse = vf_set(1.0f / sqrtf(vf_sum(squares) / (float)n + eps));
    for (size_t i = 0; i < n; i += 16) {
        vf w = n - i < 16 ? vf_load_n(weight + i, n - i) : vf_load(weight + i);
        vf_store(out + i, vf_mul(vf_mul(vf_load(x + i), inverse), w));
    }
    if ((n - 1) % 32 < 16) /* the padding that the loop did not reach */
        vf_store(out + slm_round_up(n, 16), vf_set(0));
}

static void silu_mul(float *gate, const float *up, size_t n)
{
    vf one = vf_set(1), zero = vf_set(0);
    for (size_t i = 0; i < n; i += 16) {
        vf g = vf_load(gate + i);
        vf silu = vf_div(g, vf_add(one, vf_exp(vf_sub(zero, g))));
        vf_store(gate + i, vf_mul(silu, vf_load(up + i)));
    }
}

static void rope(float *head, const float *cosine, const float *sine, size_t half)
{
    for (size_t i = 0; i < half; i += 16) {
        size_t n = half - i < 16 ? half - i : 16;
        vf a = vf_load_n(head + i, n), b = vf_load_n(head + half + i, n);
        vf c = vf_load_n(cosine + i, n), s = vf_load_n(sine + i, n);
        vf_store_n(head + i, vf_sub(vf_mul(a, c), vf_mul(b, s)), n);
        vf_store_n(head + half + i, vf_fma(a, s, vf_mul(b, c)), n);
    }
}

static void scale_row(float *out, const float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        size_t lanes = n - i < 16 ? n - i : 16;
        vf_store_n(out + i, vf_mul(vf_load_n(x + i, lanes), vf_set(factor)), lanes);
    }
}

static void exp_row(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16)
        vf_store(y + i, vf_exp(vf_load(x + i)));
}
