/*
 * gemm_tmpl.h - matrix times activations, panel by panel, for every weight type.
 *
 * A lane is an output row. For each token there is one float accumulator a panel; each tile adds to
 * it once (q4, q8), twice (q4a) or column by column (float types), tiles in order. That order is
 * the whole definition: neither the number of tokens that share a tile nor the machine changes it.
 *
 * A weight type is one tile_<type>() function and its line at the end.
 */

/* How far ahead of the tile in work the next ones are called for; panels lie one after another. */
enum { PREFETCH = 2048 };

/* Adds tile number `index` of a panel to acc[tokens], for tokens t, t + 1... */
typedef void tile_fn(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t, vf *acc,
                     const int tokens);

INLINED const int8_t *act_bytes(const struct slm_gemm *g, size_t t, size_t index)
{
    return g->acts.q + t * g->acts.cols + index * SLM_TILE_COLS;
}

INLINED const struct slm_act_block *act_block(const struct slm_gemm *g, size_t t, size_t index)
{
    return g->acts.blocks + t * g->n_tiles + index;
}

/* Integer dots of 4-bit weights, as they stand (0 to 15), with the tokens' bytes. */
INLINED void nibble_dots(const uint8_t *groups, size_t index, const struct slm_gemm *g, size_t t,
                         vu *dot, const int tokens)
{
    UNROLLED
    for (int c = 0; c < 4; c++)
        vu_dots(dot, groups + 64 * c, act_bytes(g, t, index) + 8 * c, g->acts.cols, tokens);
    vu_split(dot, tokens);
}

INLINED void tile_q4(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t, vf *acc,
                     const int tokens)
{
    vu dot[VM_TOKENS];
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vu_begin(act_block(g, t + (size_t)i, index)->minus8);
    nibble_dots(tile + 32, index, g, t, dot, tokens);
    vf scale = vf_load_f16((const uint16_t *)tile);
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        const struct slm_act_block *x = act_block(g, t + (size_t)i, index);
        acc[i] = vf_fma(vu_end(dot[i], x->minus8), vf_mul(scale, vf_set(x->scale)), acc[i]);
    }
}

INLINED void tile_q4a(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t, vf *acc,
                      const int tokens)
{
    vu dot[VM_TOKENS];
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vu_begin(0);
    nibble_dots(tile + 64, index, g, t, dot, tokens);
    vf scale = vf_load_f16((const uint16_t *)tile);
    vf minimum = vf_load_f16((const uint16_t *)(tile + 32));
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        const struct slm_act_block *x = act_block(g, t + (size_t)i, index);
        acc[i] = vf_fma(vu_end(dot[i], 0), vf_mul(scale, vf_set(x->scale)), acc[i]);
        acc[i] = vf_fma(minimum, vf_set(x->offset), acc[i]);
    }
}

INLINED void tile_q8(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t, vf *acc,
                     const int tokens)
{
    vs dot[VM_TOKENS];
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vs_begin(act_block(g, t + (size_t)i, index)->minus128);
    UNROLLED
    for (int c = 0; c < 4; c++)
        vs_dots(dot, tile + 32 + 128 * c, act_bytes(g, t, index) + 8 * c, g->acts.cols, tokens);
    vs_split(dot, tokens);
    vf scale = vf_load_f16((const uint16_t *)tile);
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        float x = act_block(g, t + (size_t)i, index)->scale;
        acc[i] = vf_fma(vs_end(dot[i]), vf_mul(scale, vf_set(x)), acc[i]);
    }
}

INLINED void column(vf w, size_t col, const struct slm_gemm *g, size_t t, vf *acc, const int tokens)
{
    UNROLLED
    for (int i = 0; i < tokens; i++)
        acc[i] = vf_fma(w, vf_set(g->x[(t + (size_t)i) * g->x_stride + col]), acc[i]);
}

INLINED void tile_f32(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t, vf *acc,
                      const int tokens)
{
    for (size_t c = 0; c < SLM_TILE_COLS; c++)
        column(vf_load((const float *)tile + 16 * c), index * SLM_TILE_COLS + c, g, t, acc, tokens);
}

INLINED void tile_f16(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t, vf *acc,
                      const int tokens)
{
    for (size_t c = 0; c < SLM_TILE_COLS; c++)
        column(vf_load_f16((const uint16_t *)tile + 16 * c), index * SLM_TILE_COLS + c, g, t, acc,
               tokens);
}

INLINED void tile_bf16(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t,
                       vf *acc, const int tokens)
{
    for (size_t c = 0; c < SLM_TILE_COLS; c++)
        column(vf_load_bf16((const uint16_t *)tile + 16 * c), index * SLM_TILE_COLS + c, g, t, acc,
               tokens);
}

/* One panel for `tokens` tokens from t on; they share every load of weights. */
INLINED void panel_tokens(const struct slm_gemm *g, size_t panel, size_t t, const int tokens,
                          const size_t tile_bytes, tile_fn *tile)
{
    const uint8_t *p = g->panels + panel * g->n_tiles * tile_bytes;
    vf acc[VM_TOKENS];
    UNROLLED
    for (int i = 0; i < tokens; i++)
        acc[i] = vf_set(0);
    for (size_t index = 0; index < g->n_tiles; index++, p += tile_bytes) {
        if (t == 0) { /* the first pass over a panel brings it in */
            UNROLLED
            for (size_t ahead = 0; ahead < tile_bytes; ahead += 64)
                vm_prefetch(p + PREFETCH + ahead);
        }
        tile(p, index, g, t, acc, tokens);
    }
    size_t row = panel * SLM_PANEL_ROWS;
    vf bias = vf_set(0);
    if (g->bias)
        bias = vf_load_n(g->bias + row, g->rows - row < 16 ? g->rows - row : 16);
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        float *y = g->y + (t + (size_t)i) * g->y_stride + row;
        vf v = vf_mul(vf_add(acc[i], bias), vf_set(g->scale));
        vf_store(y, g->add ? vf_add(vf_load(y), v) : v);
    }
}

INLINED void gemm(const struct slm_gemm *g, size_t first, size_t last, const size_t tile_bytes,
                  tile_fn *tile)
{
    for (size_t panel = first; panel < last; panel++) {
        size_t t = 0;
        for (; g->n - t >= VM_TOKENS; t += VM_TOKENS)
            panel_tokens(g, panel, t, VM_TOKENS, tile_bytes, tile);
#if VM_TOKENS > 4
        for (; g->n - t >= 4; t += 4)
            panel_tokens(g, panel, t, 4, tile_bytes, tile);
#endif
        for (; t < g->n; t++)
            panel_tokens(g, panel, t, 1, tile_bytes, tile);
    }
}

#define GEMM(type, tile_bytes)                                                                     \
    static void gemm_##type(const struct slm_gemm *g, size_t first, size_t last)                   \
    {                                                                                              \
        gemm(g, first, last, tile_bytes, tile_##type);                                             \
    }
GEMM(f32, SLM_TILE_F32)
GEMM(f16, SLM_TILE_F16)
GEMM(bf16, SLM_TILE_BF16)
GEMM(q8, SLM_TILE_Q8)
GEMM(q4, SLM_TILE_Q4)
GEMM(q4a, SLM_TILE_Q4A)
#undef GEMM
