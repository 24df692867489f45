/*
 * cpu.c - which tiers this machine can run.
 *
 * x86: CPUID says what the processor knows, XGETBV what the operating system saves and restores
 * on a task switch. A tier needs both. (Intel SDM vol. 1, 13.2 and 14.3; vol. 2, CPUID.)
 * ARM: programs may not ask the processor; the operating system tells. Every 64-bit one has NEON.
 */
#include "base/cpu.h"

#include <slm/slm.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum { XSTATE_AVX = 0x06, XSTATE_AVX512 = 0xE6 }; /* xmm, ymm; and opmask, zmm */
enum { LEAF71_AVXVNNI = 1 << 4 }; /* EAX of leaf 7.1; headers call it by two names */

static unsigned xgetbv0(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int has(unsigned value, unsigned bits)
{
    return (value & bits) == bits;
}

unsigned slm_cpu_detect(void)
{
    unsigned tiers = SLM_CPU_C;
    unsigned a, b, c, d, b7, c7, d7;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE) ||
        !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7))
        return tiers;
    unsigned saved = xgetbv0();
    if (!has(saved, XSTATE_AVX) || !has(c, bit_AVX | bit_FMA | bit_F16C) || !has(b7, bit_AVX2))
        return tiers;
    tiers |= SLM_CPU_AVX2;
    unsigned a71, b71, c71, d71;
    if (a >= 1 && __get_cpuid_count(7, 1, &a71, &b71, &c71, &d71) && has(a71, LEAF71_AVXVNNI))
        tiers |= SLM_CPU_AVXVNNI;
    if (has(saved, XSTATE_AVX512) &&
        has(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL) &&
        has(c7, bit_AVX512VNNI))
        tiers |= SLM_CPU_AVX512;
    return tiers;
}

#elif defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>

/* Linux, arch/arm64/include/uapi/asm/hwcap.h; older headers of the C library lack the second. */
enum { HAS_ASIMDDP = 1 << 20, HAS2_I8MM = 1 << 13 };

static int has_dot(void)
{
    return (getauxval(AT_HWCAP) & HAS_ASIMDDP) != 0;
}

static int has_i8mm(void)
{
    return (getauxval(AT_HWCAP2) & HAS2_I8MM) != 0;
}

#elif defined(__APPLE__)
#include <sys/sysctl.h>

static int has(const char *feature)
{
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(feature, &value, &size, NULL, 0) == 0 && value != 0;
}

static int has_dot(void)
{
    return has("hw.optional.arm.FEAT_DotProd");
}

static int has_i8mm(void)
{
    return has("hw.optional.arm.FEAT_I8MM");
}

#else

static int has_dot(void)
{
    return 0;
}

static int has_i8mm(void)
{
    return 0;
}

#endif

unsigned slm_cpu_detect(void)
{
    unsigned tiers = SLM_CPU_C | SLM_CPU_NEON;
    if (has_dot())
        tiers |= SLM_CPU_NEON_DOT;
    if (has_dot() && has_i8mm())
        tiers |= SLM_CPU_NEON_I8MM;
    return tiers;
}

#else

unsigned slm_cpu_detect(void)
{
    return SLM_CPU_C;
}

#endif
