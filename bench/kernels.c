/*
 * kernels.c - how fast matrix products are at the shapes of a real model, beside what the machine
 * could do at most.
 *
 *     bench_kernels [TYPE...] [TIER...]      for example: bench_kernels q4a q8 avx512
 *     bench_kernels machine                  only what the machine could do
 *
 * Weights are taken from a buffer much larger than any cache, each call the next piece, as when a
 * model is read through once for every token. With one token the figure is GB of weights per second
 * (memory is the limit, and the first lines say what mere reading reaches); with more it is 10^9
 * operations per second, two for each multiplication. Beside it stands how much that is of what the
 * machine did at most, in percent: of reading, or of the tier's instructions that multiply. The
 * best of several runs is shown: on a machine that does other work too, only figures from the same
 * run may be compared.
 */
#include "base/cpus.h"
#include "base/os.h"
#include "base/team.h"
#include "kern/kern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_CBLAS
#include <cblas.h>
void openblas_set_num_threads(int n);
#endif

enum { MAX_TOKENS = 512, MAX_COLS = 1536, MAX_ROWS = 49152, WEIGHT_BYTES = 256 << 20, RUNS = 40 };
enum { MAX_TEAMS = 2 };                  /* a team of 1 thread, one of 2 */
static const double RUN_SECONDS = 0.002; /* short, so that some run has the machine to itself */

/* SmolLM2-135M: query and output, key and value, gate and up, down, head. */
static const struct {
    size_t rows, cols;
} shapes[] = {{576, 576}, {192, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
static const size_t token_counts[] = {1, 4, 16, 64, 512};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* --------------------------------------------------------------------- measuring --- */

/* One kind of work: every call is a job of one step, shared by a team's threads. */
struct work {
    slm_team_part *job;
    size_t piece;  /* bytes of weights that a call reads */
    size_t offset; /* of this call's */
    double amount; /* of what is counted, a call */

    uint8_t *weights; /* [WEIGHT_BYTES] */
    const struct slm_kern *kern;
    uint32_t type;
    struct slm_gemm gemm;
    volatile uint64_t sink;
};

static double seconds_of(struct slm_team *team, struct work *w, size_t calls)
{
    double start = slm_clock();
    for (size_t i = 0; i < calls; i++) {
        w->offset = w->offset + 2 * w->piece <= WEIGHT_BYTES ? w->offset + w->piece : 0;
        slm_team_run(team, &(struct slm_team_job){w->job, NULL, w, 1});
    }
    return slm_clock() - start;
}

/* Amount a second, in 10^9. */
static double speed(struct slm_team *team, struct work *w)
{
    size_t calls = 1;
    while (seconds_of(team, w, calls) < RUN_SECONDS)
        calls *= 2;
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        double rate = w->amount * (double)calls / seconds_of(team, w, calls) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

static void share(size_t n, int part, int n_parts, size_t *first, size_t *last)
{
    *first = n * (size_t)part / (size_t)n_parts;
    *last = n * (size_t)(part + 1) / (size_t)n_parts;
}

/* ------------------------------------------------------------ what the machine can --- */

/* The sum of a part of the piece; the processor is told what comes `ahead` bytes later. */
static inline void read_part(struct work *w, int part, int n_parts, size_t ahead)
{
    size_t first, last;
    share(w->piece / 64, part, n_parts, &first, &last);
    const uint8_t *piece = w->weights + w->offset;
    uint64_t sums[8] = {0}, word;
    for (const uint8_t *p = piece + 64 * first; p < piece + 64 * last; p += 64) {
        if (ahead > 0)
            __builtin_prefetch(p + ahead);
        for (size_t i = 0; i < 8; i++) {
            memcpy(&word, p + 8 * i, 8);
            sums[i] += word;
        }
    }
    for (size_t i = 0; i < 8; i++)
        w->sink += sums[i];
}

static void read_plainly(void *arg, size_t step, int part, int n_parts)
{
    (void)step;
    read_part(arg, part, n_parts, 0);
}

static void read_ahead(void *arg, size_t step, int part, int n_parts)
{
    (void)step;
    read_part(arg, part, n_parts, 512);
}

enum { PEAK_LOOPS = 20000, CHAINS = 12 };
#if defined(__x86_64__)

/* Nothing but the instructions that multiply, in chains enough to hide their latency. In assembly,
 * because a compiler sees that all chains compute the same, or keeps them in memory. Registers 0
 * to 11 add up, 12 is multiplied with itself. */
#define ALL_CHAINS(v, op)                                                                          \
    op(v, "0") op(v, "1") op(v, "2") op(v, "3") op(v, "4") op(v, "5") op(v, "6") op(v, "7")        \
        op(v, "8") op(v, "9") op(v, "10") op(v, "11")
#define CLEAR(v, i) "vpxor %%xmm" i ", %%xmm" i ", %%xmm" i "\n\t"
#define MADDUBS(v, i)                                                                              \
    "vpmaddubsw %%" v "12, %%" v "12, %%" v "13\n\tvpaddw %%" v "13, %%" v i ", %%" v i "\n\t"
#define FMADD(v, i) "vfmadd231ps %%" v "12, %%" v "12, %%" v i "\n\t"
#define DPBUSD(v, i) "vpdpbusd %%" v "12, %%" v "12, %%" v i "\n\t"
#define PEAK(name, v, op)                                                                          \
    static void name(void *arg, size_t step, int part, int n_parts)                                \
    {                                                                                              \
        (void)arg, (void)step, (void)part, (void)n_parts;                                          \
        int loops = PEAK_LOOPS;                                                                    \
        __asm__ volatile(ALL_CHAINS(v, CLEAR) CLEAR(v, "12") "1:\n\t" ALL_CHAINS(                  \
                             v, op) "dec %0\n\tjnz 1b\n\tvzeroupper"                               \
                         : "+r"(loops)                                                             \
                         :                                                                         \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",   \
                           "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");                    \
    }
PEAK(peak_avx2_int8, "ymm", MADDUBS)
PEAK(peak_avx2_float, "ymm", FMADD)
PEAK(peak_avx512_int8, "zmm", DPBUSD)
PEAK(peak_avx512_float, "zmm", FMADD)
#ifdef HAVE_AVXVNNI
#define DPBUSD_VEX(v, i) "%{vex%} vpdpbusd %%" v "12, %%" v "12, %%" v i "\n\t"
PEAK(peak_avxvnni_int8, "ymm", DPBUSD_VEX)
#endif
#endif

/* The fastest instructions that multiply, for each tier; int8 ones and those of floats. */
static const struct peak {
    const char *name;
    unsigned tier;
    int is_int8;
    slm_team_part *job;
    double operations; /* of one instruction */
} peaks[] = {
#if defined(__x86_64__)
    {"avx2 int8, GOPS", SLM_CPU_AVX2, 1, peak_avx2_int8, 64},
    {"avx2 f32, GFLOPS", SLM_CPU_AVX2, 0, peak_avx2_float, 16},
#ifdef HAVE_AVXVNNI
    {"avx-vnni int8, GOPS", SLM_CPU_AVXVNNI, 1, peak_avxvnni_int8, 64},
    {"avx-vnni f32, GFLOPS", SLM_CPU_AVXVNNI, 0, peak_avx2_float, 16},
#endif
    {"avx512 int8, GOPS", SLM_CPU_AVX512, 1, peak_avx512_int8, 128},
    {"avx512 f32, GFLOPS", SLM_CPU_AVX512, 0, peak_avx512_float, 32},
#endif
    {NULL, 0, 0, NULL, 0},
};

/* What the machine did at most, for a team of 1, 2... threads: rows are measured against it. */
struct roofs {
    double reading[MAX_TEAMS];             /* GB/s, plainly or with prefetches */
    double peaks[COUNT(peaks)][MAX_TEAMS]; /* 10^9 operations a second; 0: no such tier */
};

static void measure_machine(struct roofs *roofs, struct slm_team *const *teams, int n_teams,
                            uint8_t *weights)
{
    enum { PIECE = 8 << 20 };
    static slm_team_part *const reading[] = {read_plainly, read_ahead};
    for (int i = 0; i < n_teams; i++) {
        for (size_t r = 0; r < COUNT(reading); r++) {
            struct work read = {.job = reading[r], .amount = PIECE, .piece = PIECE};
            read.weights = weights;
            double rate = speed(teams[i], &read);
            roofs->reading[i] = rate > roofs->reading[i] ? rate : roofs->reading[i];
        }
        for (size_t p = 0; peaks[p].job; p++) {
            struct work peak = {.job = peaks[p].job, .weights = weights};
            peak.amount = (i + 1) * peaks[p].operations * PEAK_LOOPS * CHAINS;
            roofs->peaks[p][i] = slm_kern_tiers() & peaks[p].tier ? speed(teams[i], &peak) : 0;
        }
    }
}

static void print_machine(const struct roofs *roofs, int n_teams)
{
    printf("| the machine | 1 thread |");
    for (int i = 1; i < n_teams; i++)
        printf(" %d threads |", i + 1);
    printf("\n|---|---|");
    for (int i = 1; i < n_teams; i++)
        printf("---|");
    printf("\n| reading, GB/s |");
    for (int i = 0; i < n_teams; i++)
        printf(" %.1f |", roofs->reading[i]);
    printf("\n");
    for (size_t p = 0; peaks[p].job; p++) {
        if (roofs->peaks[p][0] == 0)
            continue;
        printf("| %s |", peaks[p].name);
        for (int i = 0; i < n_teams; i++)
            printf(" %.0f |", roofs->peaks[p][i]);
        printf("\n");
    }
    printf("\n");
    fflush(stdout);
}

/* The roof of a product on so many threads, or 0 if nothing is known of it. With one token that is
 * memory, with more the multiplications. */
static double roof_of(const struct roofs *roofs, unsigned tier, int is_int8, size_t tokens,
                      int threads)
{
    if (tokens == 1)
        return roofs->reading[threads - 1];
    for (size_t p = 0; peaks[p].job; p++)
        if (peaks[p].tier == tier && peaks[p].is_int8 == is_int8)
            return roofs->peaks[p][threads - 1];
    return 0;
}

static void print_speed(double value, double roof)
{
    if (roof > 0)
        printf(" %.1f (%.0f %%) |", value, 100 * value / roof);
    else
        printf(" %.1f |", value);
    fflush(stdout);
}

/* ---------------------------------------------------------------------- products --- */

static void multiply(void *arg, size_t step, int part, int n_parts)
{
    (void)step;
    struct work *w = arg;
    struct slm_gemm gemm = w->gemm;
    gemm.panels = w->weights + w->offset;
    size_t first, last;
    share(gemm.rows / SLM_PANEL_ROWS, part, n_parts, &first, &last);
    w->kern->gemm[w->type](&gemm, first, last);
}

/* The same valid tile everywhere: what the numbers are costs nothing, as long as none is denormal.
 */
static void fill_weights(uint8_t *weights, const struct slm_quant *quant)
{
    uint8_t tile[2048] = {0};
    for (int row = 0; row < SLM_PANEL_ROWS; row++) {
        float values[32];
        struct slm_block block = {0};
        for (int i = 0; i < 32; i++)
            values[i] = (float)((row * 37 + i * 11) % 64 - 31) / 32;
        quant->encode(&block, values);
        quant->pack(tile, row, &block);
    }
    for (size_t at = 0; at + quant->tile_bytes <= WEIGHT_BYTES; at += quant->tile_bytes)
        memcpy(weights + at, tile, quant->tile_bytes);
}

struct buffers {
    float *x, *y;
    struct slm_acts acts;
};

static void print_row(struct slm_team *team, struct work *w, const struct buffers *b, size_t tokens,
                      int threads, const struct roofs *roofs)
{
    const struct slm_quant *quant = slm_quant(w->type);
    double roof = roof_of(roofs, w->kern->tier, w->type >= SLM_TYPE_Q8, tokens, threads);
    printf("| %s | %s | %zu | %d |", quant->name, slm_kern_name(w->kern->tier), tokens, threads);
    for (size_t s = 0; s < COUNT(shapes); s++) {
        if (tokens > 64 && shapes[s].rows > 10000) { /* nobody wants so many logits */
            printf(" |");
            continue;
        }
        w->gemm = (struct slm_gemm){.n_tiles = shapes[s].cols / SLM_TILE_COLS,
                                    .rows = shapes[s].rows,
                                    .x = b->x,
                                    .x_stride = MAX_COLS,
                                    .acts = {b->acts.q, b->acts.blocks, shapes[s].cols},
                                    .n = tokens,
                                    .y = b->y,
                                    .y_stride = shapes[s].rows,
                                    .scale = 1};
        slm_quant_bytes(quant, shapes[s].rows, shapes[s].cols, &w->piece);
        double multiplications = (double)(shapes[s].rows * shapes[s].cols * tokens);
        w->amount = tokens == 1 ? (double)w->piece : 2 * multiplications;
        print_speed(speed(team, w), roof);
    }
    printf(" %s |\n", tokens == 1 ? "GB/s" : "GOPS");
}

#ifdef HAVE_CBLAS
static void multiply_blas(void *arg, size_t step, int part, int n_parts)
{
    (void)step, (void)part, (void)n_parts;
    struct work *w = arg;
    int rows = (int)w->gemm.rows, cols = (int)(w->gemm.n_tiles * SLM_TILE_COLS), n = (int)w->gemm.n;
    const float *weights = (const float *)(const void *)(w->weights + w->offset);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, rows, cols, 1, w->gemm.x, MAX_COLS,
                weights, cols, 0, w->gemm.y, rows);
}

static void print_blas(struct slm_team *alone, uint8_t *weights, const struct buffers *b,
                       int n_teams, const struct roofs *roofs)
{
    unsigned tier = slm_kern_select(~0u)->tier;
    fill_weights(weights, slm_quant(SLM_TYPE_F32));
    for (size_t t = 0; t < COUNT(token_counts); t++)
        for (int threads = 1; threads <= n_teams; threads++) {
            openblas_set_num_threads(threads);
            double roof = roof_of(roofs, tier, 0, token_counts[t], threads);
            printf("| f32 | OpenBLAS | %zu | %d |", token_counts[t], threads);
            for (size_t s = 0; s < COUNT(shapes); s++) {
                size_t rows = shapes[s].rows, cols = shapes[s].cols, n = token_counts[t];
                if (n > 64 && rows > 10000) {
                    printf(" |");
                    continue;
                }
                struct work w = {
                    .job = multiply_blas, .weights = weights, .piece = rows * cols * 4};
                w.gemm = (struct slm_gemm){
                    .x = b->x, .y = b->y, .n = n, .rows = rows, .n_tiles = cols / SLM_TILE_COLS};
                w.amount = n == 1 ? (double)w.piece : 2.0 * (double)(rows * cols * n);
                print_speed(speed(alone, &w), roof);
            }
            printf(" %s |\n", token_counts[t] == 1 ? "GB/s" : "GOPS");
        }
}
#endif

/* Is the name among the arguments, or is none of its kind? */
static int is_wanted(int argc, char **argv, const char *name, int (*kind)(const char *))
{
    int any = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return 1;
        any |= kind(argv[i]);
    }
    return !any;
}

static int is_type(const char *name)
{
    return slm_quant_named(name) != NULL;
}

static int is_tier(const char *name)
{
    for (unsigned tier = SLM_CPU_C; tier; tier <<= 1) /* no build holds all of them */
        if (slm_kern_name(tier) && strcmp(name, slm_kern_name(tier)) == 0)
            return 1;
    return 0;
}

static void print_products(int argc, char **argv, struct slm_team *const *teams, int n_teams,
                           uint8_t *weights, const struct buffers *b, const struct roofs *roofs)
{
    printf("| type | tier | tokens | threads |");
    for (size_t s = 0; s < COUNT(shapes); s++)
        printf(" %zux%zu |", shapes[s].rows, shapes[s].cols);
    printf(" |\n|---|---|---|---|");
    for (size_t s = 0; s <= COUNT(shapes); s++)
        printf("---|");
    printf("\n");
    const struct slm_quant *quant;
    for (size_t i = 0; (quant = slm_quant_at(i)); i++) {
        if (!is_wanted(argc, argv, quant->name, is_type))
            continue;
        fill_weights(weights, quant);
        for (unsigned tier = SLM_CPU_C << 1; tier; tier <<= 1) {
            if (!(slm_kern_tiers() & tier) || !is_wanted(argc, argv, slm_kern_name(tier), is_tier))
                continue;
            for (size_t t = 0; t < COUNT(token_counts); t++)
                for (int team = 0; team < n_teams; team++) {
                    struct work w = {.job = multiply, .weights = weights, .type = quant->type};
                    w.kern = slm_kern_select(tier);
                    print_row(teams[team], &w, b, token_counts[t], team + 1, roofs);
                }
        }
    }
#ifdef HAVE_CBLAS
    print_blas(teams[0], weights, b, n_teams, roofs);
#endif
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!is_type(argv[i]) && !is_tier(argv[i]) && strcmp(argv[i], "machine") != 0) {
            fprintf(stderr, "%s is neither a weight type nor a CPU tier, nor machine\n", argv[i]);
            return 2;
        }
    struct slm_team *teams[MAX_TEAMS] = {NULL};
    int n_teams = slm_cpu_count() > 1 ? MAX_TEAMS : 1;
    uint8_t *weights = aligned_alloc(64, WEIGHT_BYTES);
    struct buffers b = {
        .x = malloc((size_t)MAX_TOKENS * MAX_COLS * sizeof(float)),
        .y = malloc((size_t)64 * MAX_ROWS * sizeof(float)), /* or 512 rows of fewer */
        .acts = {calloc(MAX_TOKENS, MAX_COLS),
                 calloc((size_t)MAX_TOKENS * MAX_COLS / 32, sizeof(struct slm_act_block)),
                 MAX_COLS},
    };
    if (!weights || !b.x || !b.y || !b.acts.q || !b.acts.blocks) {
        fprintf(stderr, "out of memory\n");
        return 1;
    }
    for (int i = 0; i < n_teams; i++)
        if (slm_team_start(&teams[i], &(slm_team_options){.n_threads = i + 1}) < 0) {
            fprintf(stderr, "%s\n", slm_error_message());
            return 1;
        }
    for (size_t i = 0; i < (size_t)MAX_TOKENS * MAX_COLS; i++)
        b.x[i] = (float)((int)(i * 7 % 256) - 127) / 127;
    const struct slm_kern *kern = slm_kern_select(~0u);
    for (size_t t = 0; t < MAX_TOKENS; t++)
        kern->quantize(b.x + t * MAX_COLS, MAX_COLS, b.acts.q + t * MAX_COLS,
                       b.acts.blocks + t * MAX_COLS / 32);
    memset(weights, 1, WEIGHT_BYTES);
    struct roofs roofs = {0};
    measure_machine(&roofs, teams, n_teams, weights);
    print_machine(&roofs, n_teams);
    int only_machine = argc == 2 && strcmp(argv[1], "machine") == 0;
    if (!only_machine)
        print_products(argc, argv, teams, n_teams, weights, &b, &roofs);
    for (int i = 0; i < n_teams; i++)
        slm_team_unref(teams[i]);
    free(weights);
    free(b.x);
    free(b.y);
    free(b.acts.q);
    free(b.acts.blocks);
    return 0;
}
