/* version.c - the exported functions about the library itself: version, errors, CPU tiers. */
#include "kern/kern.h"

int slm_version_number(void)
{
    return SLM_VERSION_NUMBER;
}

const char *slm_version_string(void)
{
    return SLM_VERSION_STRING;
}

const char *slm_strerror(int code)
{
    return slm_error_name(code);
}

const char *slm_last_error(void)
{
    return slm_error_message();
}

int slm_set_last_error(int code, const char *message)
{
    return slm_fail(code, "%s", message ? message : "");
}

unsigned slm_cpu_tiers(void)
{
    return slm_kern_tiers();
}

const char *slm_cpu_tier_name(unsigned tier)
{
    return slm_kern_name(tier);
}
