/*
 * real.h - elementary functions in double that give the same bits on every system.
 *
 * libm's differ from one C library to the next. These use IEEE operations in a fixed order only;
 * errors are a few units in the last place, far below what a float can show.
 */
#ifndef SLM_BASE_REAL_H
#define SLM_BASE_REAL_H

double slm_exp(double x);           /* 0 below -708, infinity above 709.7 */
double slm_log(double x);           /* x > 0 and normal */
double slm_pow(double x, double y); /* x > 0: e^(y log x) */

/* Rounded to float. NaN beyond |x| = 2^24, where neighbouring floats are whole turns apart: only a
 * damaged file asks for it. */
void slm_sincos(float x, float *sine, float *cosine);

#endif
