/*
 * measure.h - what the small measuring programs share: medians, and a file's bytes.
 */
#ifndef SLM_BENCH_MEASURE_H
#define SLM_BENCH_MEASURE_H

#include "base/os.h"

#include <stdio.h>
#include <stdlib.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of n > 0 values, which it sorts. */
static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return (values[n / 2] + values[(n - 1) / 2]) / 2;
}

#endif
