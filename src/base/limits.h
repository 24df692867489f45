/*
 * limits.h - every limit of the library, and why it is what it is.
 *
 * A file or a caller that exceeds one gets an error that names it. They exist so that the product of
 * any two counts fits 64 bits, and so that a hostile file can't make us allocate by the gigabyte.
 */
#ifndef SLM_BASE_LIMITS_H
#define SLM_BASE_LIMITS_H

#define SLM_LIMIT_LAYERS 1024       /* the deepest published small models have about 100 */
#define SLM_LIMIT_DIM 65536         /* residual width; 3B models have 2,048 to 4,096 */
#define SLM_LIMIT_HEADS 1024        /* query heads of a layer */
#define SLM_LIMIT_HEAD_DIM 1024     /* attention keeps a few rows of this size for each thread */
#define SLM_LIMIT_FFN_DIM 1048576   /* inner width of a feed-forward block */
#define SLM_LIMIT_EXPERTS 1024      /* of a layer; published models have up to 512 */
#define SLM_LIMIT_CHOSEN 64         /* of them for a token: scratch memory grows with it; 2 to 10 */
#define SLM_LIMIT_VOCAB 4194304     /* tokens; Gemma has 262,144 */
#define SLM_LIMIT_CONTEXT 16777216  /* positions of one sequence: exact as a float */
#define SLM_LIMIT_TOKEN_TYPES 4096  /* BERT has 2 */
#define SLM_LIMIT_SCORES 65536      /* labels of a classifier; a reranker has 1 */
#define SLM_LIMIT_SEPARATORS 16     /* tokens between two texts; known models have 1 or 2 */
#define SLM_LIMIT_SEQS 4096         /* sequences of one context */
#define SLM_LIMIT_BATCH 8192        /* tokens computed together: scratch memory grows with it */
#define SLM_LIMIT_LOGITS 65536      /* rows of logits kept by a call */
#define SLM_LIMIT_THREADS 256       /* more never helped models of this size */
#define SLM_LIMIT_SECTIONS 64       /* of a file; version 1 knows 7 kinds */
#define SLM_LIMIT_TENSORS 1048576   /* 1,024 layers with experts */
#define SLM_LIMIT_METADATA 4096     /* key and value pairs */
#define SLM_LIMIT_METADATA_TEXT 1048576 /* bytes of one key or value */
#define SLM_LIMIT_METADATA_BYTES 16777216 /* the section: it is read whole when a model opens */
#define SLM_LIMIT_TEMPLATE 1048576  /* bytes of a chat template; published ones reach 30 KB */
/* Templates come with models from anywhere: what one may cost. */
#define SLM_LIMIT_TEMPLATE_NESTING 64   /* tags and brackets inside one another; 12 are common */
#define SLM_LIMIT_TEMPLATE_DEPTH 500    /* evaluations inside one another, macros included: each level
                                           takes about 200 bytes of C stack */
#define SLM_LIMIT_TEMPLATE_VALUES 512   /* lists in lists: as deep as JSON; also recursion in C */
#define SLM_LIMIT_TEMPLATE_STEPS 50000000 /* about a second; long conversations take 100,000 */
#define SLM_LIMIT_TEMPLATE_MEMORY 268435456 /* bytes of one rendering, all freed after it */
#define SLM_LIMIT_TEMPLATE_OUTPUT 16777216 /* bytes: 4 million tokens */
#define SLM_LIMIT_TEMPLATE_RANGE 100000 /* elements of range(), as in Jinja's sandbox */
#define SLM_LIMIT_TOKEN_TEXT 65536  /* bytes of one token */
#define SLM_LIMIT_ROPE_TABLES 16    /* RoPE variants in one model; Gemma 3 has 2 */
#define SLM_LIMIT_JSON_DEPTH 512    /* nested arrays and objects */
#define SLM_LIMIT_TEXT 2147483647   /* bytes of text in one call: token counts fit int32 */

#endif
