/*
 * number.c - see number.h.
 *
 * The hard part, correct rounding, is left to libc, which does it well everywhere. But its decimal
 * point follows the locale of the host program, which a library must neither obey nor change: so
 * point_of_locale() finds out what it is now, and texts are adapted to it.
 */
#include "base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINT_SIZE = 16 };

/* What printf and strtod of this thread take for the decimal point: ".", "," or longer. */
static void point_of_locale(char point[POINT_SIZE])
{
    char probe[POINT_SIZE + 8];
    int n = snprintf(probe, sizeof probe, "%.1f", 0.5);
    size_t length = n > 2 && n - 2 < POINT_SIZE ? (size_t)n - 2 : 0; /* without the 0 and the 5 */
    memcpy(point, probe + 1, length);
    point[length] = '\0';
}

/* Integers that a double holds and small powers of ten make one exact step: vocabularies have
 * hundreds of thousands of such scores. Sets *value, or returns false. */
static bool read_quickly(const char *text, double *value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    bool negative = *text == '-', after_point = false;
    int64_t digits = 0;
    int decimals = 0;
    for (const char *p = text + negative; *p; p++) {
        if (*p == '.') {
            after_point = true;
            continue;
        }
        if (*p < '0' || *p > '9' || digits >= INT64_C(1) << 49)
            return false; /* times 10 plus 9 must stay below 2^53 */
        digits = digits * 10 + (*p - '0');
        decimals += after_point;
    }
    if (decimals > 22)
        return false;
    double magnitude = (double)digits / powers[decimals];
    *value = negative ? -magnitude : magnitude;
    return true;
}

bool slm_number_read(const char *text, double *value, const slm_allocator *a)
{
    if (read_quickly(text, value))
        return true;
    char point[POINT_SIZE], small[128];
    point_of_locale(point);
    const char *dot = strchr(text, '.');
    if (!dot || strcmp(point, ".") == 0) {
        *value = strtod(text, NULL);
        return true;
    }
    size_t before = (size_t)(dot - text), extra = strlen(point), after = strlen(dot + 1);
    size_t need = before + extra + after + 1;
    char *copy = need <= sizeof small ? small : slm_alloc(a, need);
    if (!copy)
        return false;
    memcpy(copy, text, before);
    memcpy(copy + before, point, extra);
    memcpy(copy + before + extra, dot + 1, after + 1);
    *value = strtod(copy, NULL);
    if (copy != small)
        slm_free(a, copy, need);
    return true;
}

size_t slm_number_format(char *out, size_t size, char conversion, int digits, double value)
{
    char format[] = {'%', '.', '*', conversion, '\0'};
    int n = snprintf(out, size, format, digits, value);
    if (n < 0 || (size_t)n >= size)
        return n < 0 ? 0 : (size_t)n;
    char point[POINT_SIZE];
    point_of_locale(point);
    size_t extra = strlen(point);
    char *found = extra ? strstr(out, point) : NULL;
    if (!found || strcmp(point, ".") == 0)
        return (size_t)n;
    *found = '.';
    memmove(found + 1, found + extra, strlen(found + extra) + 1);
    return (size_t)n + 1 - extra;
}

size_t slm_number_write(char out[SLM_NUMBER_SIZE], double value)
{
    /* 15 digits always survive the way to a double and back, 17 always name one; below the
     * smallest normal number fewer than 15 may do. */
    size_t n = 0;
    for (int digits = fabs(value) < 2.3e-308 ? 1 : 15; digits <= 17; digits++) {
        n = slm_number_format(out, SLM_NUMBER_SIZE, 'g', digits, value);
        double again;
        if (!isfinite(value) || !slm_number_read(out, &again, NULL) || again == value)
            break;
    }
    return n;
}
