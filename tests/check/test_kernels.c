/*
 * test_kernels.c - runs the checks for every tier that this machine has; with --bench it prints a
 * table of speeds instead.
 *
 *     test_kernels [--bench]            SLM_TEST_SEED=0x... repeats a run
 */
#include "check/check.h"

#include "base/bits.h"

#include <stdio.h>
#include <stdlib.h>

struct slot {
    const char *name;
    CMUnitTestFunction test;
};

static const struct slot slots[] = {
    {"quantize", check_quantize},
    {"quantize infinity and NaN", check_quantize_special},
    {"rms_norm", check_rms_norm},
    {"layer_norm", check_layer_norm},
    {"activations", check_activations},
    {"soft_cap", check_soft_cap},
    {"rope", check_rope},
    {"scale", check_scale},
    {"exp", check_exp},
    {"kv_store", check_kv_store},
    {"kv_store, q8", check_kv_store_q8},
    {"attend", check_attend},
    {"attend, alone or together", check_attend_alone},
    {"attend_merge", check_attend_merge},
    {"attention over spans", check_attention},
};

static const struct slot gemm_slots[] = {
    {"shapes", check_gemm_shapes},
    {"extremes", check_gemm_extremes},
    {"OpenBLAS", check_gemm_blas},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { MAX_TESTS = 32 * (COUNT(slots) + SLM_N_TYPES * COUNT(gemm_slots)) };

static struct check checks[MAX_TESTS];
static struct CMUnitTest tests[MAX_TESTS];
static size_t n_tests;

static void add(const struct check *check, const char *tier, CMUnitTestFunction test,
                const char *name)
{
    struct check *c = &checks[n_tests];
    *c = *check;
    snprintf(c->name, sizeof c->name, "%s: %s", tier, name);
    tests[n_tests++] = (struct CMUnitTest){.name = c->name, .test_func = test, .initial_state = c};
}

static void add_tier(const struct slm_kern *kern, const char *tier, uint64_t seed)
{
    struct check check = {.kern = kern, .c = slm_kern_select(SLM_CPU_C), .seed = seed};
    const struct slm_quant *quant;
    for (size_t t = 0; (quant = slm_quant_at(t)); t++)
        for (size_t i = 0; i < COUNT(gemm_slots); i++) {
            char name[40];
            snprintf(name, sizeof name, "gemm %s, %s", quant->name, gemm_slots[i].name);
            check.type = quant->type;
            add(&check, tier, gemm_slots[i].test, name);
        }
    check.type = 0;
    for (size_t i = 0; i < COUNT(slots); i++)
        add(&check, tier, slots[i].test, slots[i].name);
}

#ifdef HAVE_AVXVNNI_AS_AVX512
extern const struct slm_kern slm_kern_avxvnni_as_avx512;
#endif

int main(int argc, char **argv)
{
    uint64_t seed = random_start("test_kernels");
    unsigned tiers = slm_kern_tiers();
    if (argc == 2 && strcmp(argv[1], "--bench") == 0) {
        bench_kernels(tiers, seed);
        return 0;
    }
    for (unsigned tier = 1; tier && tier <= tiers; tier <<= 1)
        if (tiers & tier)
            add_tier(slm_kern_select(tier), slm_kern_name(tier), seed);
#ifdef HAVE_AVXVNNI_AS_AVX512
    if (tiers & SLM_CPU_AVX512)
        add_tier(&slm_kern_avxvnni_as_avx512, "avxvnni as AVX-512", seed);
#endif
    return _cmocka_run_group_tests("kernels", tests, n_tests, NULL, NULL);
}
