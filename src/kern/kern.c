/*
 * kern.c - which tiers there are and which one a context gets: the last in the list that is
 * compiled in, that the machine can run and that the caller allows.
 */
#include "kern/kern.h"

#include "base/cpu.h"
#include "kern/tiers.h"

static const struct {
    const struct slm_kern *kern;
    unsigned tier;
    const char *name;
} tiers[] = {
#define ROW(bit, table, name) {&slm_kern_##table, SLM_CPU_##bit, name},
    SLM_TIERS(ROW)
#undef ROW
};
enum { N_TIERS = sizeof tiers / sizeof tiers[0] };

unsigned slm_kern_tiers(void)
{
    unsigned detected = slm_cpu_detect(), usable = 0;
    for (int i = 0; i < N_TIERS; i++)
        usable |= tiers[i].tier & detected;
    return usable;
}

const struct slm_kern *slm_kern_select(unsigned allowed)
{
    unsigned usable = slm_kern_tiers() & allowed;
    for (int i = N_TIERS - 1; i >= 0; i--)
        if (tiers[i].tier & usable)
            return tiers[i].kern;
    return NULL;
}

const char *slm_kern_name(unsigned tier)
{
    for (int i = 0; i < N_TIERS; i++)
        if (tiers[i].tier == tier)
            return tiers[i].name;
    return NULL;
}
