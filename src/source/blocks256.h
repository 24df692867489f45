/*
 * blocks256.h - GGUF's "K" types: blocks of 256 weights whose parts of 16 or 32 have small
 * integer scales of their own. See types.h for what the functions are.
 */
#ifndef SLM_SOURCE_BLOCKS256_H
#define SLM_SOURCE_BLOCKS256_H

#include "quant/quant.h"

void slm_q2_k_decode(const uint8_t *blocks, size_t n, float *out);
void slm_q3_k_decode(const uint8_t *blocks, size_t n, float *out);
void slm_q4_k_decode(const uint8_t *blocks, size_t n, float *out);
void slm_q5_k_decode(const uint8_t *blocks, size_t n, float *out);
void slm_q6_k_decode(const uint8_t *blocks, size_t n, float *out);

/* 32 weights of a Q4_K block as q4a: its scale and minimum are products of an f16 and a 6-bit
 * integer, so they are rounded to f16, and the integers are chosen anew for the rounded ones. */
void slm_q4_k_transfer(const uint8_t *block, unsigned part, struct slm_block *out);

#endif
