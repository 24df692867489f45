/*
 * error.h - errors go up by return; the sentence about them waits in the thread.
 *
 * A function that fails calls slm_fail() once, where it knows most, and returns its value. Callers
 * pass the code on, and may put the context in front with slm_fail_in().
 */
#ifndef SLM_BASE_ERROR_H
#define SLM_BASE_ERROR_H

#include <slm/slm.h>

#if defined(__GNUC__)
#define SLM_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define SLM_PRINTF(f, a)
#endif

/* Store the message for slm_last_error() and return code. */
int slm_fail(int code, const char *format, ...) SLM_PRINTF(2, 3);

/* Put "context: " in front of the message that is stored, and return code. */
int slm_fail_in(int code, const char *format, ...) SLM_PRINTF(2, 3);

/* What slm_last_error() and slm_strerror() give out. */
const char *slm_error_message(void);
const char *slm_error_name(int code);

#endif
