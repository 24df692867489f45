/*
 * gemm_tmpl.h - matrix times activations, panel by panel, for every weight type.
 *
 * A lane is an output row. For each token there is one float accumulator a panel; each tile adds to
 * it once (q4, q8), twice (q4a) or column by column (float types), tiles in order. That order is
 * the whole definition: neither the number of tokens that share a tile nor the machine changes it.
 *
 * A weight type is one tile_<type>() function, its case in tile_of_type() and its line at the end.
 */

/*
 * tile_<type>() adds tile number `index` of a panel to acc[tokens], for tokens t, t + 1...
 */

INLINED const int8_t *act_bytes(const struct slm_gemm *g, size_t t, size_t index)
{
    return g->acts.q + t * g->acts.cols + index * SLM_TILE_COLS;
}

/* Scales and sums of this block of columns, for tokens t, t + 1... */
INLINED struct vm_rows act_blocks(const struct slm_gemm *g, size_t t, size_t index, const int tokens)
{
    size_t stride = g->acts.cols / SLM_TILE_COLS;
    return vm_rows(g->acts.blocks + t * stride + index, stride * sizeof(struct slm_act_block), tokens);
}

INLINED const struct slm_act_block *act_block(const struct vm_rows *blocks, int i)
{
    return vm_row(blocks, i);
}

/* Integer dots of 4-bit weights, as they stand (0 to 15), with the tokens' bytes. */
INLINED void nibble_dots(const uint8_t *groups, size_t index, const struct slm_gemm *g, size_t t,
                         vu *dot, const int tokens)
{
    ROLLED
    for (int c = 0; c < 4; c++)
        vu_dots(dot, groups + 64 * c, act_bytes(g, t, index) + 8 * c, g->acts.cols, tokens);
    vu_split(dot, tokens);
}

INLINED void tile_q4(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t, vf *acc,
                     const int tokens)
{
    const struct vm_rows blocks = act_blocks(g, t, index, tokens);
    vu dot[VM_TOKENS];
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vu_begin(act_block(&blocks, i)->minus8);
    nibble_dots(tile + 32, index, g, t, dot, tokens);
    vf scale = vf_load_f16((const uint16_t *)tile);
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        const struct slm_act_block *x = act_block(&blocks, i);
        acc[i] = vf_fma(vu_end(dot[i], x->minus8), vf_mul(scale, vf_set(x->scale)), acc[i]);
    }
}

INLINED void tile_q4a(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t, vf *acc,
                      const int tokens)
{
    const struct vm_rows blocks = act_blocks(g, t, index, tokens);
    vu dot[VM_TOKENS];
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vu_begin(0);
    nibble_dots(tile + 64, index, g, t, dot, tokens);
    vf scale = vf_load_f16((const uint16_t *)tile);
    vf minimum = vf_load_f16((const uint16_t *)(tile + 32));
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        const struct slm_act_block *x = act_block(&blocks, i);
        acc[i] = vf_fma(vu_end(dot[i], 0), vf_mul(scale, vf_set(x->scale)), acc[i]);
        acc[i] = vf_fma(minimum, vf_set(x->offset), acc[i]);
    }
}

INLINED void tile_q8(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t, vf *acc,
                     const int tokens)
{
    const struct vm_rows blocks = act_blocks(g, t, index, tokens);
    vs dot[VM_TOKENS];
    UNROLLED
    for (int i = 0; i < tokens; i++)
        dot[i] = vs_begin(act_block(&blocks, i)->minus128);
    ROLLED
    for (int c = 0; c < 4; c++)
        vs_dots(dot, tile + 32 + 128 * c, act_bytes(g, t, index) + 8 * c, g->acts.cols, tokens);
    vs_split(dot, tokens);
    vf scale = vf_load_f16((const uint16_t *)tile);
    UNROLLED
    for (int i = 0; i < tokens; i++) {
        vf x = vf_set(act_block(&blocks, i)->scale);
        acc[i] = vf_fma(vs_end(dot[i]), vf_mul(scale, x), acc[i]);
    }
}

INLINED void column(vf w, size_t col, const struct slm_gemm *g, size_t t, vf *acc, const int tokens)
{
    UNROLLED
    for (int i = 0; i < tokens; i++)
        acc[i] = vf_fma(w, vf_set(g->x[(t + (size_t)i) * g->x_stride + col]), acc[i]);
}

/* The type is no constant here: one function serves all three, and asks once for 16 x tokens. */
INLINED void tile_float(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t,
                        vf *acc, const int tokens, const uint32_t type)
{
    for (size_t c = 0; c < SLM_TILE_COLS; c++) {
        vf w = type == SLM_TYPE_F32   ? vf_load((const float *)tile + 16 * c)
               : type == SLM_TYPE_F16 ? vf_load_f16((const uint16_t *)tile + 16 * c)
                                      : vf_load_bf16((const uint16_t *)tile + 16 * c);
        column(w, index * SLM_TILE_COLS + c, g, t, acc, tokens);
    }
}

INLINED void tile_of_type(const uint8_t *tile, size_t index, const struct slm_gemm *g, size_t t,
                          vf *acc, const int tokens, const uint32_t type)
{
    switch (type) {
    case SLM_TYPE_Q8: tile_q8(tile, index, g, t, acc, tokens); break;
    case SLM_TYPE_Q4: tile_q4(tile, index, g, t, acc, tokens); break;
    case SLM_TYPE_Q4A: tile_q4a(tile, index, g, t, acc, tokens); break;
    default: tile_float(tile, index, g, t, acc, tokens, type);
    }
}

/* The end of a panel: sums[tokens] to y. */
static __attribute__((noinline)) void store_panel(const struct slm_gemm *g, size_t panel, size_t t,
                                                  const vf *sums, size_t tokens)
{
    size_t row = panel * SLM_PANEL_ROWS;
    vf bias = vf_set(0);
    if (g->bias)
        bias = vf_load_n(g->bias + row, g->rows - row < 16 ? g->rows - row : 16);
    for (size_t i = 0; i < tokens; i++) {
        float *y = g->y + (t + i) * g->y_stride + row;
        vf v = vf_mul(vf_add(sums[i], bias), vf_set(g->scale));
        vf_store(y, g->add ? vf_add(vf_load(y), v) : v);
    }
}

/*
 * What is asked for while a tile is multiplied. A single token reads weights as fast as memory
 * gives them, and most models are larger than the last cache, so nothing is lost when they pass it
 * by: one of 16 MB decodes 0 to 5 % slower, larger ones 3 to 20 % faster. More tokens share a
 * panel, and take so long over a page of weights that the CPU stops looking ahead at its end: the
 * first of them ask for every line, a page before, and the others find the panel in the cache.
 */
INLINED void read_ahead(const uint8_t *tile, const size_t tile_bytes, const int tokens, size_t t)
{
    enum { PAGE = 4096, LINE = 64 };
    if (tokens == 1)
        ask_once(tile + 2 * LINE, tile_bytes);
    else if (t == 0)
        for (size_t i = 0; i < tile_bytes; i += LINE)
            __builtin_prefetch(tile + PAGE + i);
}

/* One panel for `tokens` tokens from t on; they share every load of weights. */
INLINED void panel_tokens(const struct slm_gemm *g, size_t panel, size_t t, const int tokens,
                          const size_t tile_bytes, const uint32_t type)
{
    const uint8_t *p = g->panels + panel * g->n_tiles * tile_bytes;
    vf acc[VM_TOKENS], sums[VM_TOKENS];
    UNROLLED
    for (int i = 0; i < tokens; i++)
        acc[i] = vf_set(0);
    for (size_t index = 0; index < g->n_tiles; index++, p += tile_bytes) {
        read_ahead(p, tile_bytes, tokens, t);
        tile_of_type(p, index, g, t, acc, tokens, type);
    }
    UNROLLED
    for (int i = 0; i < tokens; i++)
        sums[i] = acc[i];
    store_panel(g, panel, t, sums, (size_t)tokens);
}

INLINED void gemm(const struct slm_gemm *g, size_t first, size_t last, const size_t tile_bytes,
                  const uint32_t type)
{
    for (size_t panel = first; panel < last; panel++) {
        size_t t = 0;
        for (; g->n - t >= VM_TOKENS; t += VM_TOKENS)
            panel_tokens(g, panel, t, VM_TOKENS, tile_bytes, type);
#if VM_TOKENS > 4
        for (; g->n - t >= 4; t += 4)
            panel_tokens(g, panel, t, 4, tile_bytes, type);
#endif
        for (; t < g->n; t++)
            panel_tokens(g, panel, t, 1, tile_bytes, type);
    }
}

static __attribute__((noinline)) void gemm_floats(const struct slm_gemm *g, size_t first,
                                                  size_t last, size_t tile_bytes, uint32_t type)
{
    gemm(g, first, last, tile_bytes, type);
}

#define GEMM(gemm, name, type)                                                                     \
    static void gemm_##name(const struct slm_gemm *g, size_t first, size_t last)                   \
    {                                                                                              \
        gemm(g, first, last, SLM_TILE_##type, SLM_TYPE_##type);                                    \
    }
GEMM(gemm_floats, f32, F32)
GEMM(gemm_floats, f16, F16)
GEMM(gemm_floats, bf16, BF16)
GEMM(gemm, q8, Q8)
GEMM(gemm, q4, Q4)
GEMM(gemm, q4a, Q4A)
#undef GEMM
