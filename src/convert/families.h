/*
 * families.h - what the tables of families are written in: the tensors that several have, under the
 * names that LLaMA began and most families kept, and the parts that keys switch together.
 */
#ifndef SLM_CONVERT_FAMILIES_H
#define SLM_CONVERT_FAMILIES_H

#include "convert/family.h"

/* clang-format off */

/* What it is, when it is there, when it has a bias, how it is stored, its names. */
#define ALWAYS SLM_PART_ALWAYS
#define END {0, 0, 0, 0, NULL, NULL}

#define EMBEDDING {SLM_ROLE_EMBEDDING, 0, 0, 0, "embed_tokens", NULL}
#define NORM(role, name, how) {SLM_ROLE_##role, 0, SLM_PART_NORM_BIAS, how, name, NULL}
#define QKV                                                                                        \
    {SLM_ROLE_ATTN_Q, 0, SLM_PART_QKV_BIAS, SLM_HOW_ROTATES, "layers.{}.self_attn.q_proj", NULL},  \
    {SLM_ROLE_ATTN_K, 0, SLM_PART_QKV_BIAS, SLM_HOW_ROTATES, "layers.{}.self_attn.k_proj", NULL},  \
    {SLM_ROLE_ATTN_V, 0, SLM_PART_QKV_BIAS, 0, "layers.{}.self_attn.v_proj", NULL}
#define QK_NORMS(how)                                                                              \
    {SLM_ROLE_ATTN_Q_NORM, SLM_PART_QK_NORM, SLM_PART_NORM_BIAS, how,                              \
     "layers.{}.self_attn.q_norm", NULL},                                                          \
    {SLM_ROLE_ATTN_K_NORM, SLM_PART_QK_NORM, SLM_PART_NORM_BIAS, how,                              \
     "layers.{}.self_attn.k_norm", NULL}
#define OUT {SLM_ROLE_ATTN_OUT, 0, SLM_PART_OUT_BIAS, 0, "layers.{}.self_attn.o_proj", NULL}
#define GATED                                                                                      \
    {SLM_ROLE_FFN_GATE, 0, SLM_PART_FFN_BIAS, 0, "layers.{}.mlp.gate_proj", NULL},                 \
    {SLM_ROLE_FFN_UP, 0, SLM_PART_FFN_BIAS, 0, "layers.{}.mlp.up_proj", NULL},                     \
    {SLM_ROLE_FFN_DOWN, 0, SLM_PART_FFN_BIAS, 0, "layers.{}.mlp.down_proj", NULL}
#define HEAD                                                                                       \
    {SLM_ROLE_HEAD, SLM_PART_HEAD, SLM_PART_HEAD_BIAS, 0, "lm_head", NULL},                        \
    {SLM_ROLE_SCORE, SLM_PART_SCORE, 0, SLM_HOW_OWN_NAME, "score", NULL}

/* One matrix for q, k and v. */
#define FUSED_QKV(name, how)                                                                       \
    {SLM_ROLE_ATTN_Q, 0, SLM_PART_QKV_BIAS, SLM_HOW_FUSED | SLM_HOW_ROTATES | (how), name, NULL},  \
    {SLM_ROLE_ATTN_K, 0, SLM_PART_QKV_BIAS, SLM_HOW_FUSED | SLM_HOW_ROTATES | (how), name, NULL},  \
    {SLM_ROLE_ATTN_V, 0, SLM_PART_QKV_BIAS, SLM_HOW_FUSED | (how), name, NULL}

/* The feed-forward block has a norm of its own, or reads what attention reads. */
#define FFN_NORM(name, attention)                                                                  \
    {SLM_ROLE_FFN_NORM, SLM_PART_FFN_NORM, SLM_PART_NORM_BIAS, 0, name, NULL},                     \
    {SLM_ROLE_FFN_NORM, SLM_PART_SHARED_NORM, SLM_PART_NORM_BIAS, 0, attention,                    \
     "blk.{}.attn_norm"}

/* clang-format on */

#define ATTENTION_BIAS (SLM_PART_QKV_BIAS | SLM_PART_OUT_BIAS)

#endif
