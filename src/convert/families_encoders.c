/*
 * families_encoders.c - the table of encoders: models for embeddings and rerankers. As families.c.
 */
#include "convert/config.h"
#include "convert/families.h"

#include "format/format.h"

#include <string.h>

/* ------------------------------------------------------------------------ tensors --- */

/* clang-format off */

#define TYPES SLM_PART_TOKEN_TYPES
#define SCORE SLM_PART_SCORE
#define OWN SLM_HOW_OWN_NAME

/* BERT's blocks: what a block has added is normalised together with what was there. */
#define BERT_EMBEDDINGS(how)                                                                       \
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "embeddings.word_embeddings", NULL},                             \
    {SLM_ROLE_POSITION_EMBEDDING, 0, 0, how, "embeddings.position_embeddings", NULL},              \
    {SLM_ROLE_TOKEN_TYPE_EMBEDDING, TYPES, 0, 0, "embeddings.token_type_embeddings", NULL},        \
    {SLM_ROLE_EMBEDDING_NORM, 0, ALWAYS, 0, "embeddings.LayerNorm", NULL}
#define BERT_LAYERS                                                                                \
    {SLM_ROLE_ATTN_Q, 0, ALWAYS, 0, "encoder.layer.{}.attention.self.query", NULL},                \
    {SLM_ROLE_ATTN_K, 0, ALWAYS, 0, "encoder.layer.{}.attention.self.key", NULL},                  \
    {SLM_ROLE_ATTN_V, 0, ALWAYS, 0, "encoder.layer.{}.attention.self.value", NULL},                \
    {SLM_ROLE_ATTN_OUT, 0, ALWAYS, 0, "encoder.layer.{}.attention.output.dense", NULL},            \
    {SLM_ROLE_ATTN_SUM_NORM, 0, ALWAYS, 0, "encoder.layer.{}.attention.output.LayerNorm", NULL},   \
    {SLM_ROLE_FFN_UP, 0, ALWAYS, 0, "encoder.layer.{}.intermediate.dense", NULL},                  \
    {SLM_ROLE_FFN_DOWN, 0, ALWAYS, 0, "encoder.layer.{}.output.dense", NULL},                      \
    {SLM_ROLE_FFN_SUM_NORM, 0, ALWAYS, 0, "encoder.layer.{}.output.LayerNorm", NULL}

static const struct slm_family_tensor bert_tensors[] = {
    BERT_EMBEDDINGS(0),
    BERT_LAYERS,
    {SLM_ROLE_SCORE_DENSE, SCORE, ALWAYS, 0, "pooler.dense", NULL},
    {SLM_ROLE_SCORE, SCORE, ALWAYS, OWN, "classifier", NULL},
    END,
};

/* The first two positions are for padding. */
static const struct slm_family_tensor roberta_tensors[] = {
    BERT_EMBEDDINGS(SLM_HOW_OFFSET_2),
    BERT_LAYERS,
    {SLM_ROLE_SCORE_DENSE, SCORE, ALWAYS, OWN, "classifier.dense", NULL},
    {SLM_ROLE_SCORE, SCORE, ALWAYS, OWN, "classifier.out_proj", NULL},
    END,
};

static const struct slm_family_tensor distilbert_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "embeddings.word_embeddings", NULL},
    {SLM_ROLE_POSITION_EMBEDDING, 0, 0, 0, "embeddings.position_embeddings", NULL},
    {SLM_ROLE_EMBEDDING_NORM, 0, ALWAYS, 0, "embeddings.LayerNorm", NULL},
    {SLM_ROLE_ATTN_Q, 0, ALWAYS, 0, "transformer.layer.{}.attention.q_lin", NULL},
    {SLM_ROLE_ATTN_K, 0, ALWAYS, 0, "transformer.layer.{}.attention.k_lin", NULL},
    {SLM_ROLE_ATTN_V, 0, ALWAYS, 0, "transformer.layer.{}.attention.v_lin", NULL},
    {SLM_ROLE_ATTN_OUT, 0, ALWAYS, 0, "transformer.layer.{}.attention.out_lin", NULL},
    {SLM_ROLE_ATTN_SUM_NORM, 0, ALWAYS, 0, "transformer.layer.{}.sa_layer_norm", NULL},
    {SLM_ROLE_FFN_UP, 0, ALWAYS, 0, "transformer.layer.{}.ffn.lin1", NULL},
    {SLM_ROLE_FFN_DOWN, 0, ALWAYS, 0, "transformer.layer.{}.ffn.lin2", NULL},
    {SLM_ROLE_FFN_SUM_NORM, 0, ALWAYS, 0, "transformer.layer.{}.output_layer_norm", NULL},
    {SLM_ROLE_SCORE_DENSE, SCORE, ALWAYS, OWN, "pre_classifier", NULL},
    {SLM_ROLE_SCORE, SCORE, ALWAYS, OWN, "classifier", NULL},
    END,
};

/* The first layer reads what the norm of the embedding has left. */
static const struct slm_family_tensor modernbert_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "embeddings.tok_embeddings", NULL},
    {SLM_ROLE_EMBEDDING_NORM, 0, SLM_PART_NORM_BIAS, 0, "embeddings.norm", NULL},
    {SLM_ROLE_ATTN_NORM, 0, SLM_PART_NORM_BIAS, SLM_HOW_NOT_FIRST, "layers.{}.attn_norm", NULL},
    {SLM_ROLE_ATTN_Q, 0, SLM_PART_QKV_BIAS, SLM_HOW_FUSED, "layers.{}.attn.Wqkv", NULL},
    {SLM_ROLE_ATTN_K, 0, SLM_PART_QKV_BIAS, SLM_HOW_FUSED, "layers.{}.attn.Wqkv", NULL},
    {SLM_ROLE_ATTN_V, 0, SLM_PART_QKV_BIAS, SLM_HOW_FUSED, "layers.{}.attn.Wqkv", NULL},
    {SLM_ROLE_ATTN_OUT, 0, SLM_PART_OUT_BIAS, 0, "layers.{}.attn.Wo", NULL},
    {SLM_ROLE_FFN_NORM, 0, SLM_PART_NORM_BIAS, 0, "layers.{}.mlp_norm", NULL},
    {SLM_ROLE_FFN_GATE, 0, SLM_PART_FFN_BIAS, SLM_HOW_FUSED, "layers.{}.mlp.Wi", NULL},
    {SLM_ROLE_FFN_UP, 0, SLM_PART_FFN_BIAS, SLM_HOW_FUSED, "layers.{}.mlp.Wi", NULL},
    {SLM_ROLE_FFN_DOWN, 0, SLM_PART_FFN_BIAS, 0, "layers.{}.mlp.Wo", NULL},
    {SLM_ROLE_FINAL_NORM, 0, SLM_PART_NORM_BIAS, 0, "final_norm", NULL},
    {SLM_ROLE_SCORE_DENSE, SCORE, SLM_PART_HEAD_BIAS, OWN, "head.dense", NULL},
    {SLM_ROLE_SCORE_NORM, SCORE, SLM_PART_NORM_BIAS, OWN, "head.norm", NULL},
    {SLM_ROLE_SCORE, SCORE, ALWAYS, OWN, "classifier", NULL},
    END,
};

static const struct slm_family_tensor nomic_bert_tensors[] = {
    {SLM_ROLE_EMBEDDING, 0, 0, 0, "embeddings.word_embeddings", NULL},
    {SLM_ROLE_TOKEN_TYPE_EMBEDDING, TYPES, 0, 0, "embeddings.token_type_embeddings", NULL},
    {SLM_ROLE_EMBEDDING_NORM, 0, ALWAYS, 0, "emb_ln", NULL},
    {SLM_ROLE_ATTN_Q, 0, SLM_PART_QKV_BIAS, SLM_HOW_FUSED, "encoder.layers.{}.attn.Wqkv", NULL},
    {SLM_ROLE_ATTN_K, 0, SLM_PART_QKV_BIAS, SLM_HOW_FUSED, "encoder.layers.{}.attn.Wqkv", NULL},
    {SLM_ROLE_ATTN_V, 0, SLM_PART_QKV_BIAS, SLM_HOW_FUSED, "encoder.layers.{}.attn.Wqkv", NULL},
    {SLM_ROLE_ATTN_OUT, 0, SLM_PART_QKV_BIAS, 0, "encoder.layers.{}.attn.out_proj", NULL},
    {SLM_ROLE_ATTN_SUM_NORM, 0, ALWAYS, 0, "encoder.layers.{}.norm1", NULL},
    {SLM_ROLE_FFN_GATE, 0, SLM_PART_FFN_BIAS, 0, "encoder.layers.{}.mlp.fc12", NULL},
    {SLM_ROLE_FFN_UP, 0, SLM_PART_FFN_BIAS, 0, "encoder.layers.{}.mlp.fc11", NULL},
    {SLM_ROLE_FFN_DOWN, 0, SLM_PART_FFN_BIAS, 0, "encoder.layers.{}.mlp.fc2", NULL},
    {SLM_ROLE_FFN_SUM_NORM, 0, ALWAYS, 0, "encoder.layers.{}.norm2", NULL},
    END,
};

/* clang-format on */

/* -------------------------------------------------------------------------- rules --- */

/* What all have: two kinds of tokens where nobody says otherwise; llama.cpp's vectors have
 * length 1. */
static int encoder_rule(struct slm_config *config, const struct slm_keys *keys)
{
    double types = 2;
    int err = slm_keys_number(keys, "type_vocab_size", NULL, &types);
    if (err < 0)
        return err;
    if (!(types >= 0 && types <= SLM_LIMIT_TOKEN_TYPES))
        return slm_fail(SLM_EFORMAT, "%g types of tokens", types);
    if (types == 0)
        config->parts &= ~(uint32_t)SLM_PART_TOKEN_TYPES;
    config->n_token_types = (uint32_t)types;
    config->unit_length = keys->gguf;
    if (keys->json &&
        slm_json_type(keys->json, slm_json_get(keys->json, 0, "position_embedding_type")) ==
            JSON_STRING &&
        !slm_keys_is(keys, "position_embedding_type", "absolute"))
        return slm_fail(SLM_EUNSUPPORTED,
                        "config.json: position_embedding_type is not \"absolute\"; only "
                        "that is supported");
    config->scored = SLM_POOLED_FIRST;
    config->score_activation = SLM_ACT_TANH;
    config->n_separators = 1;
    return SLM_OK;
}

/* GGUF has BERT and RoBERTa under one name, with positions already cut. */
static int bert_rule(struct slm_config *config, const struct slm_keys *keys)
{
    const char *tokenizer;
    size_t n;
    int err = encoder_rule(config, keys);
    if (!err && keys->gguf && slm_gguf_text(keys->gguf, "tokenizer.ggml.model", &tokenizer, &n) == 1 &&
        (n != 4 || memcmp(tokenizer, "bert", 4) != 0))
        config->n_separators = 2;
    return err;
}

static int roberta_rule(struct slm_config *config, const struct slm_keys *keys)
{
    int err = encoder_rule(config, keys);
    if (!err)
        err = slm_keys_expect(keys, "pad_token_id", NULL, 1);
    if (err)
        return err;
    if (config->max_context < 3)
        return slm_fail(SLM_EFORMAT, "config.json: max_position_embeddings is %u",
                        (unsigned)config->max_context);
    config->max_context -= 2;
    config->n_separators = 2;
    return SLM_OK;
}

static int distilbert_rule(struct slm_config *config, const struct slm_keys *keys)
{
    int err = encoder_rule(config, keys);
    config->n_token_types = 0;
    config->score_activation = SLM_ACT_RELU;
    return err;
}

/* One layer of a period sees everything, the others a window, each kind with its own base. */
static int modernbert_rule(struct slm_config *config, const struct slm_keys *keys)
{
    double window = 128, period = 3, local = 10000;
    int err = encoder_rule(config, keys);
    if (!err)
        err = slm_keys_number(keys, "local_attention", "attention.sliding_window", &window);
    if (err >= 0)
        err = slm_keys_number(keys, "global_attn_every_n_layers", "attention.sliding_window_pattern",
                              &period);
    if (err >= 0)
        err = slm_keys_number(keys, "global_rope_theta", NULL, &config->rope.base);
    if (err >= 0 && config->local_rope.base == 0)
        err = slm_keys_number(keys, "local_rope_theta", "rope.freq_base_swa", &local);
    if (err < 0)
        return err;
    if (!(window >= 0 && window < SLM_LIMIT_CONTEXT) || !(period >= 1 && period <= SLM_LIMIT_LAYERS))
        return slm_fail(SLM_EFORMAT, "local attention over %g positions in all but each %g-th layer", window,
                        period);
    config->n_token_types = 0;
    config->n_ropes = 2;
    if (config->local_rope.base == 0)
        config->local_rope.base = local;
    config->window = (uint32_t)window / 2 + 1; /* to each side, and itself */
    for (uint32_t i = 0; i < config->n_layers; i++) {
        config->slides[i] = i % (uint32_t)period != 0;
        config->rope_of[i] = config->slides[i];
    }
    config->score_activation = config->activation;
    if (keys->gguf || slm_keys_is(keys, "classifier_pooling", "mean"))
        config->scored = SLM_POOLED_MEAN;
    if (!keys->json || slm_keys_is(keys, "classifier_activation", "gelu"))
        config->score_activation = SLM_ACT_GELU;
    return SLM_OK;
}

static int nomic_bert_rule(struct slm_config *config, const struct slm_keys *keys)
{
    int err = encoder_rule(config, keys);
    if (!err)
        err = slm_keys_expect(keys, "prenorm", NULL, 0);
    if (!err)
        err = slm_keys_expect(keys, "rotary_emb_interleaved", NULL, 0);
    if (!err)
        err = slm_keys_expect(keys, "causal", "attention.causal", 0);
    if (!err)
        err = slm_keys_expect(keys, "num_experts", NULL, 0);
    return err;
}

/* -------------------------------------------------------------------------- table --- */

/* What was trained on the side, and what a vector does not need. */
#define UNUSED {"pooler.", "cls.predictions.", "cls.seq_relationship.", "position_ids", "lm_head."}

const struct slm_family slm_encoders[] = {
    {
        .name = "bert",
        .models = "BERT, MiniLM, BGE, E5, GTE",
        .classes = {"BertModel", "BertForSequenceClassification", "BertForMaskedLM", "BertForPreTraining"},
        .architectures = {"bert"},
        .prefix = "bert.",
        .encoder = true,
        .parts = SLM_PART_TOKEN_TYPES,
        .norm = SLM_NORM_LAYER,
        .norm_eps = 1e-12,
        .activation = SLM_ACT_GELU,
        .position = SLM_FAMILY_LEARNED,
        .rule = bert_rule,
        .unused = UNUSED,
        .tensors = bert_tensors,
    },
    {
        .name = "roberta",
        .models = "RoBERTa",
        .classes = {"RobertaModel", "RobertaForSequenceClassification", "RobertaForMaskedLM", "CamembertModel"},
        .prefix = "roberta.",
        .encoder = true,
        .parts = SLM_PART_TOKEN_TYPES,
        .norm = SLM_NORM_LAYER,
        .norm_eps = 1e-12,
        .activation = SLM_ACT_GELU,
        .position = SLM_FAMILY_LEARNED,
        .rule = roberta_rule,
        .unused = UNUSED,
        .tensors = roberta_tensors,
    },
    {
        .name = "xlm-roberta",
        .models = "XLM-RoBERTa, multilingual E5, BGE-M3 (dense), BGE rerankers",
        .classes = {"XLMRobertaModel", "XLMRobertaForSequenceClassification", "XLMRobertaForMaskedLM"},
        .prefix = "roberta.",
        .encoder = true,
        .parts = SLM_PART_TOKEN_TYPES,
        .norm = SLM_NORM_LAYER,
        .norm_eps = 1e-12,
        .activation = SLM_ACT_GELU,
        .position = SLM_FAMILY_LEARNED,
        .rule = roberta_rule,
        .unused = UNUSED,
        .tensors = roberta_tensors,
    },
    {
        .name = "distilbert",
        .models = "DistilBERT",
        .classes = {"DistilBertModel", "DistilBertForSequenceClassification", "DistilBertForMaskedLM"},
        .prefix = "distilbert.",
        .encoder = true,
        .norm = SLM_NORM_LAYER,
        .norm_eps = 1e-12,
        .activation = SLM_ACT_GELU,
        .position = SLM_FAMILY_LEARNED,
        .rule = distilbert_rule,
        .unused = {"vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "position_ids"},
        .tensors = distilbert_tensors,
    },
    {
        .name = "modernbert",
        .models = "ModernBERT, GTE-ModernBERT, Granite Embedding R2",
        .classes = {"ModernBertModel", "ModernBertForSequenceClassification", "ModernBertForMaskedLM"},
        .architectures = {"modern-bert"},
        .prefix = "model.",
        .encoder = true,
        .switches = {{"norm_bias", SLM_PART_NORM_BIAS, false},
                     {"attention_bias", SLM_PART_QKV_BIAS | SLM_PART_OUT_BIAS, false},
                     {"mlp_bias", SLM_PART_FFN_BIAS, false},
                     {"classifier_bias", SLM_PART_HEAD_BIAS, false}},
        .norm = SLM_NORM_LAYER,
        .norm_eps = 1e-5,
        .theta = 160000,
        .activation = SLM_ACT_GELU,
        .rule = modernbert_rule,
        .unused = {"head.", "decoder."},
        .tensors = modernbert_tensors,
    },
    {
        .name = "nomic-bert",
        .models = "nomic-embed-text v1 and v1.5",
        .classes = {"NomicBertModel"},
        .architectures = {"nomic-bert"},
        .prefix = "bert.",
        .encoder = true,
        .parts = SLM_PART_TOKEN_TYPES,
        .switches = {{"qkv_proj_bias", SLM_PART_QKV_BIAS, false}, {"mlp_fc1_bias", SLM_PART_FFN_BIAS, false}},
        .norm = SLM_NORM_LAYER,
        .norm_eps = 1e-12,
        .theta = 1000,
        .rule = nomic_bert_rule,
        .unused = UNUSED,
        .tensors = nomic_bert_tensors,
    },
    {.name = NULL},
};
