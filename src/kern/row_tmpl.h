/*
 * row_tmpl.h - what happens to one row between matrix products: quantizing, norms, activation,
 * rotation. Sums run over 16 accumulators, lane i taking elements i mod 16, then vf_sum's tree.
 */

/* Below this magnitude a block counts as zero: its scale's reciprocal would overflow. */
#define TINY 0x1p-100f

/* 32 numbers times the inverse of their scale, rounded: their sum. */
INLINED int32_t to_bytes(vf a, vf b, float inverse, int8_t *q)
{
    vf factor = vf_set(inverse), low = vf_set(-127), high = vf_set(127);
    vi qa = vf_to_i(vf_max(vf_min(vf_mul(a, factor), high), low));
    vi qb = vf_to_i(vf_max(vf_min(vf_mul(b, factor), high), low));
    vi_store_i8(q, qa);
    vi_store_i8(q + 16, qb);
    return vi_sum(vi_add(qa, qb));
}

static void quantize(const float *x, size_t n, int8_t *q, struct slm_act_block *blocks)
{
    for (size_t i = 0; i < n; i += 32, blocks++) {
        vf a = vf_load(x + i), b = vf_load(x + i + 16);
        float largest = vf_largest(vf_max(vf_abs(a), vf_abs(b)));
        bool tiny = !(largest >= TINY);
        float scale = tiny ? 0.0f : largest / 127.0f;
        int32_t sum = to_bytes(a, b, tiny ? 0.0f : 1.0f / scale, q + i);
        *blocks = (struct slm_act_block){scale, scale * (float)sum, -8 * sum, -128 * sum};
    }
}

INLINED vf load_up_to(const float *p, size_t n)
{
    return n < 16 ? vf_load_n(p, n) : vf_load(p);
}

/* centre: LayerNorm, which takes the mean away first. */
INLINED void norm_row(float *out, const float *x, const float *weight, const float *bias, size_t n,
                      float eps, const bool centre)
{
    vf zero = vf_set(0), sum = zero, squares = zero;
    if (centre)
        for (size_t i = 0; i < n; i += 16)
            sum = vf_add(sum, load_up_to(x + i, n - i));
    vf mean = centre ? vf_set(vf_sum(sum) / (float)n) : zero;
    for (size_t i = 0; i < n; i += 16) {
        vf v = load_up_to(x + i, n - i);
        if (centre)
            v = vf_sub(v, n - i < 16 ? vf_first(mean, n - i, zero) : mean);
        squares = vf_fma(v, v, squares);
    }
    vf inverse = vf_set(1.0f / sqrtf(vf_sum(squares) / (float)n + eps));
    for (size_t i = 0; i < n; i += 16) {
        vf v = load_up_to(x + i, n - i);
        v = vf_mul(vf_mul(centre ? vf_sub(v, mean) : v, inverse), load_up_to(weight + i, n - i));
        if (bias)
            v = vf_add(v, load_up_to(bias + i, n - i));
        vf_store_n(out + i, v, n - i < 16 ? n - i : 16);
    }
}

static void rms_norm(float *out, const float *x, const float *weight, const float *bias, size_t n,
                     float eps)
{
    norm_row(out, x, weight, bias, n, eps, false);
}

static void layer_norm(float *out, const float *x, const float *weight, const float *bias, size_t n,
                       float eps)
{
    norm_row(out, x, weight, bias, n, eps, true);
}

/* x = act(x) * up, or act(x) where there is no up. */
#define ACTIVATION(name, body)                                                                     \
    static void act_##name(float *x, const float *up, size_t n)                                    \
    {                                                                                              \
        vf one = vf_set(1), zero = vf_set(0);                                                      \
        (void)one;                                                                                 \
        (void)zero;                                                                                \
        for (size_t i = 0; i < n; i += 16) {                                                       \
            vf v = vf_load(x + i);                                                                 \
            v = body;                                                                              \
            vf_store(x + i, up ? vf_mul(v, vf_load(up + i)) : v);                                  \
        }                                                                                          \
    }

/* v / (1 + e^-u) */
INLINED vf times_logistic(vf v, vf u)
{
    vf one = vf_set(1), zero = vf_set(0);
    return vf_div(v, vf_add(one, vf_exp(vf_sub(zero, u))));
}

/* tanh(u) = 2 / (1 + e^-2u) - 1, so that half of x * (1 + tanh(u)) is x / (1 + e^-2u) */
INLINED vf gelu_tanh(vf v)
{
    vf cube = vf_mul(vf_mul(v, v), v);
    vf u = vf_fma(cube, vf_set(0x1.6e4e26p-5f), v); /* 0.044715 */
    return times_logistic(v, vf_mul(u, vf_set(0x1.988454p+0f))); /* 2 * sqrt(2 / pi) */
}

ACTIVATION(silu, times_logistic(v, v))
ACTIVATION(gelu, vf_mul(v, vf_normal(v)))
ACTIVATION(gelu_tanh, gelu_tanh(v))
ACTIVATION(gelu_quick, times_logistic(v, vf_mul(v, vf_set(0x1.b3b646p+0f)))) /* 1.702 */
ACTIVATION(relu, vf_max(v, zero))
#undef ACTIVATION

static void soft_cap(float *x, size_t n, float cap)
{
    vf c = vf_set(cap);
    for (size_t i = 0; i < n; i += 16)
        vf_store(x + i, vf_mul(c, vf_tanh(vf_div(vf_load(x + i), c))));
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
