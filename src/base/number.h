/*
 * number.h - doubles from text and back: correctly rounded, whatever the host's locale is.
 */
#ifndef SLM_BASE_NUMBER_H
#define SLM_BASE_NUMBER_H

#include "base/alloc.h"

/* Read a NUL-terminated decimal: [-+]digits[.digits][e[-+]digits], checked by the caller. Too large
 * is infinity. false: only where a number of more than 100 digits needs memory under a foreign
 * locale and gets none. */
bool slm_number_read(const char *text, double *value, const slm_allocator *a);

/* Write the shortest decimal that reads back as the same double ("1e+22", "0.1", "inf", "nan");
 * returns its length. */
enum { SLM_NUMBER_SIZE = 32 };
size_t slm_number_write(char out[SLM_NUMBER_SIZE], double value);

/* printf("%.*f", digits, value), or %e or %g, with a decimal point. out[size]; returns the length
 * that it needs, as snprintf does. */
size_t slm_number_format(char *out, size_t size, char conversion, int digits, double value);

#endif
