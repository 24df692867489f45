/*
 * random.h - the random numbers of sampling: PCG32 (Melissa O'Neill, "PCG: A Family of Simple Fast
 * Space-Efficient Statistically Good Algorithms", 2014; the XSH-RR variant with 64 bits of state).
 *
 * Sixteen bytes of state, integer arithmetic only: the same seed gives the same numbers everywhere.
 */
#ifndef SLM_SAMPLE_RANDOM_H
#define SLM_SAMPLE_RANDOM_H

#include <stdint.h>

struct slm_random {
    uint64_t state;
    uint64_t increment; /* odd; selects one of 2^63 streams */
};

static inline uint32_t slm_random_u32(struct slm_random *random)
{
    uint64_t old = random->state;
    random->state = old * UINT64_C(6364136223846793005) + random->increment;
    uint32_t mixed = (uint32_t)((old >> 18 ^ old) >> 27);
    uint32_t turn = (uint32_t)(old >> 59);
    return mixed >> turn | mixed << (-turn & 31);
}

static inline void slm_random_seed(struct slm_random *random, uint64_t seed, uint64_t stream)
{
    random->state = 0;
    random->increment = stream << 1 | 1;
    slm_random_u32(random);
    random->state += seed;
    slm_random_u32(random);
}

/* Uniform in [0, 1), a multiple of 2^-53: 27 bits of one number above 26 of the next. */
static inline double slm_random_unit(struct slm_random *random)
{
    uint64_t high = slm_random_u32(random) >> 5;
    uint64_t low = slm_random_u32(random) >> 6;
    return (double)(high << 26 | low) * 0x1p-53;
}

#endif
