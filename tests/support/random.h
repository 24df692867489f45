/*
 * random.h - numbers for tests: SplitMix64 (Sebastiano Vigna's, public domain algorithm).
 *
 * A program calls random_start() once; it prints the seed, and SLM_TEST_SEED=0x... in the
 * environment repeats a run. Every test then takes a generator of its own, so that one test alone
 * sees the same numbers as in the whole suite.
 */
#ifndef TESTS_SUPPORT_RANDOM_H
#define TESTS_SUPPORT_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_u64(struct random *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* low to high, both included. */
static inline size_t random_between(struct random *r, size_t low, size_t high)
{
    return low + (size_t)(random_u64(r) % (high - low + 1));
}

/* -1 to 1, evenly. */
static inline float random_unit(struct random *r)
{
    return (float)(int32_t)(random_u64(r) >> 32) * 0x1p-31f;
}

/* About normal, deviation 1: twelve even numbers added up. */
static inline float random_normal(struct random *r)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += random_unit(r);
    return sum * 0.5f;
}

/* Any float but NaN and infinity: all exponents alike. */
static inline float random_finite(struct random *r)
{
    union {
        uint32_t bits;
        float f;
    } u;
    do
        u.bits = (uint32_t)random_u64(r);
    while ((u.bits & 0x7F800000) == 0x7F800000);
    return u.f;
}

/* The generator number `stream` of this run. */
static inline struct random random_stream(uint64_t seed, uint64_t stream)
{
    struct random r = {seed ^ stream * 0xD1342543DE82EF95u};
    random_u64(&r);
    return r;
}

static inline uint64_t random_start(const char *program)
{
    const char *given = getenv("SLM_TEST_SEED");
    struct random clock = {(uint64_t)time(NULL) * 1000003u + (uint64_t)getpid()};
    uint64_t seed = given ? strtoull(given, NULL, 0) : random_u64(&clock);
    printf("# %s: SLM_TEST_SEED=0x%llx\n", program, (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

#endif
