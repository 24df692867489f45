/*
 * traits.c - is this a transformer that we can compute?
 *
 * Each record is checked against a table of its fields; what then remains are the relations
 * between fields. Whatever passes is safe to index and to divide by: no count is zero, no product
 * of two dimensions overflows, no scale is NaN or infinite.
 */
#include "format/traits.h"

#include "base/error.h"
#include "base/limits.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum rule {
    COUNT,    /* low..high; above is a limit of the library */
    CHOICE,   /* an enum of which this library knows low..high */
    BITS,     /* a set of which this library knows `high` */
    POSITIVE, /* a float: finite and above 0 */
    CAP,      /* a float: finite, 0 or above */
    FREE,     /* anything here; checked elsewhere, or not used */
    RESERVED  /* 0 from here to the end of the record */
};

struct field {
    const char *name;
    size_t offset;
    enum rule rule;
    uint32_t low, high;
};

/* Records are little-endian u32 and f32 throughout; the tables below follow docs/format.md line by
 * line. A field that the computation divides by, or loops over, has its range here. */
static const struct field traits_fields[] = {
    {"n_layers", offsetof(struct slm_traits, n_layers), COUNT, 1, SLM_LIMIT_LAYERS},
    {"dim", offsetof(struct slm_traits, dim), COUNT, 1, SLM_LIMIT_DIM},
    {"n_vocab", offsetof(struct slm_traits, n_vocab), COUNT, 1, SLM_LIMIT_VOCAB},
    {"max_context", offsetof(struct slm_traits, max_context), COUNT, 0, SLM_LIMIT_CONTEXT},
    {"norm", offsetof(struct slm_traits, norm), CHOICE, SLM_NORM_RMS, SLM_NORM_LAYER},
    {"norm_eps", offsetof(struct slm_traits, norm_eps), POSITIVE, 0, 0},
    {"n_positions", offsetof(struct slm_traits, n_positions), COUNT, 0, SLM_LIMIT_CONTEXT},
    {"n_ropes", offsetof(struct slm_traits, n_ropes), COUNT, 0, SLM_LIMIT_ROPE_TABLES},
    {"attention", offsetof(struct slm_traits, attention), CHOICE, SLM_ATTENTION_CAUSAL,
     SLM_ATTENTION_BOTH},
    {"activation", offsetof(struct slm_traits, activation), CHOICE, SLM_ACT_SILU, SLM_ACT_RELU},
    {"embedding_scale", offsetof(struct slm_traits, embedding_scale), POSITIVE, 0, 0},
    {"residual_scale", offsetof(struct slm_traits, residual_scale), POSITIVE, 0, 0},
    {"logit_scale", offsetof(struct slm_traits, logit_scale), POSITIVE, 0, 0},
    {"logit_cap", offsetof(struct slm_traits, logit_cap), CAP, 0, 0},
    {"parts", offsetof(struct slm_traits, parts), BITS, 0, SLM_MODEL_PARTS},
    {"n_token_types", offsetof(struct slm_traits, n_token_types), COUNT, 0, SLM_LIMIT_TOKEN_TYPES},
    {"pooling", offsetof(struct slm_traits, pooling), CHOICE, 0, SLM_POOLED_LAST},
    {"n_scores", offsetof(struct slm_traits, n_scores), COUNT, 0, SLM_LIMIT_SCORES},
    {"score_activation", offsetof(struct slm_traits, score_activation), CHOICE, 0, SLM_ACT_TANH},
    {"n_separators", offsetof(struct slm_traits, n_separators), COUNT, 0, SLM_LIMIT_SEPARATORS},
    {"reserved", offsetof(struct slm_traits, reserved), RESERVED, 0, 0},
};

/* Of a vocabulary alone. */
static const struct field vocabulary_fields[] = {
    {"n_vocab", offsetof(struct slm_traits, n_vocab), COUNT, 1, SLM_LIMIT_VOCAB},
    {"reserved", offsetof(struct slm_traits, reserved), RESERVED, 0, 0},
};

static const struct field layer_fields[] = {
    {"n_heads", offsetof(struct slm_layer_traits, n_heads), COUNT, 1, SLM_LIMIT_HEADS},
    {"n_kv_heads", offsetof(struct slm_layer_traits, n_kv_heads), COUNT, 1, SLM_LIMIT_HEADS},
    {"head_dim", offsetof(struct slm_layer_traits, head_dim), COUNT, 1, SLM_LIMIT_HEAD_DIM},
    {"ffn_dim", offsetof(struct slm_layer_traits, ffn_dim), COUNT, 0, SLM_LIMIT_FFN_DIM},
    {"window", offsetof(struct slm_layer_traits, window), COUNT, 0, SLM_LIMIT_CONTEXT},
    {"rope", offsetof(struct slm_layer_traits, rope), FREE, 0, 0},
    {"attention_scale", offsetof(struct slm_layer_traits, attention_scale), POSITIVE, 0, 0},
    {"attention_cap", offsetof(struct slm_layer_traits, attention_cap), CAP, 0, 0},
    {"parts", offsetof(struct slm_layer_traits, parts), BITS, 0, SLM_LAYER_PARTS},
    {"n_experts", offsetof(struct slm_layer_traits, n_experts), COUNT, 0, SLM_LIMIT_EXPERTS},
    {"n_chosen", offsetof(struct slm_layer_traits, n_chosen), COUNT, 0, SLM_LIMIT_CHOSEN},
    {"expert_dim", offsetof(struct slm_layer_traits, expert_dim), COUNT, 0, SLM_LIMIT_FFN_DIM},
    {"router", offsetof(struct slm_layer_traits, router), CHOICE, 0, SLM_ROUTER_CHOSEN},
    {"gate_limit", offsetof(struct slm_layer_traits, gate_limit), CAP, 0, 0},
    {"reserved", offsetof(struct slm_layer_traits, reserved), RESERVED, 0, 0},
};

/* The fields of a scaling are checked beside its formula, below. */
static const struct field rope_fields[] = {
    {"dims", offsetof(struct slm_rope_traits, dims), COUNT, 2, SLM_LIMIT_HEAD_DIM},
    {"scaling", offsetof(struct slm_rope_traits, scaling), CHOICE, SLM_ROPE_TABLE,
     SLM_ROPE_LONG},
    {"magnitude", offsetof(struct slm_rope_traits, magnitude), POSITIVE, 0, 0},
    {"base", offsetof(struct slm_rope_traits, base), FREE, 0, 0},
    {"factor", offsetof(struct slm_rope_traits, factor), FREE, 0, 0},
    {"original_context", offsetof(struct slm_rope_traits, original_context), FREE, 0, 0},
    {"reserved", offsetof(struct slm_rope_traits, reserved), RESERVED, 0, 0},
};

/* A record and where it stands, for messages. */
struct record {
    const void *bytes;
    size_t size;
    const struct field *fields;
    size_t n_fields;
    char name[16];   /* "layer 3" */
    uint64_t offset; /* in the file */
};

static unsigned long long at(const struct record *r, size_t field_offset)
{
    return (unsigned long long)(r->offset + field_offset);
}

/* One message a rule: what, where, which value, and what would be right. */
static int check_field(const struct record *r, const struct field *f)
{
    const uint8_t *p = (const uint8_t *)r->bytes + f->offset;
    unsigned long long where = at(r, f->offset);
    uint32_t value;
    float number;
    memcpy(&value, p, 4);
    memcpy(&number, p, 4);
    switch (f->rule) {
    case COUNT:
        if (value < f->low)
            return slm_fail(SLM_EFORMAT, "%s: %s is %u at byte %llu; it must be at least %u",
                            r->name, f->name, value, where, f->low);
        if (value > f->high)
            return slm_fail(SLM_ELIMIT, "%s: %s is %u at byte %llu; the limit is %u", r->name,
                            f->name, value, where, f->high);
        break;
    case CHOICE:
        if (value < f->low || value > f->high)
            return slm_fail(SLM_EUNSUPPORTED,
                            "%s: %s is %u at byte %llu, a kind that libslm %s does not know; "
                            "a newer version may",
                            r->name, f->name, value, where, SLM_VERSION_STRING);
        break;
    case BITS:
        if (value & ~f->high)
            return slm_fail(SLM_EUNSUPPORTED,
                            "%s: %s is 0x%x at byte %llu: bits 0x%x are nothing that libslm %s "
                            "knows; a newer version may",
                            r->name, f->name, value, where, value & ~f->high, SLM_VERSION_STRING);
        break;
    case CAP:
        if (!isfinite(number) || !(number >= 0))
            return slm_fail(SLM_EFORMAT, "%s: %s is %g at byte %llu; it must be finite, 0 or more",
                            r->name, f->name, (double)number, where);
        break;
    case POSITIVE:
        if (!isfinite(number) || !(number > 0))
            return slm_fail(SLM_EFORMAT, "%s: %s is %g at byte %llu; it must be finite and above 0",
                            r->name, f->name, (double)number, where);
        break;
    case RESERVED:
        for (size_t i = 0; f->offset + i < r->size; i++)
            if (p[i])
                return slm_fail(SLM_EVERSION,
                                "%s: the reserved byte %llu is set: this model uses a feature that "
                                "libslm %s does not know; a newer version is needed",
                                r->name, at(r, f->offset + i), SLM_VERSION_STRING);
        break;
    case FREE: break;
    }
    return SLM_OK;
}

static int check_record(const struct record *r)
{
    for (size_t i = 0; i < r->n_fields; i++) {
        int code = check_field(r, &r->fields[i]);
        if (code)
            return code;
    }
    return SLM_OK;
}

/* Experts are there whole or not at all, and a layer has a feed-forward block of either kind. */
static int check_experts(const struct record *r)
{
    const struct slm_layer_traits *l = r->bytes;
    unsigned long long where = at(r, offsetof(struct slm_layer_traits, n_experts));
    bool experts = l->n_experts > 0;
    if ((l->n_chosen > 0) != experts || (l->expert_dim > 0) != experts ||
        (l->router > 0) != experts || l->n_chosen > l->n_experts || (!experts && l->ffn_dim == 0))
        return slm_fail(SLM_EFORMAT, "%s: ffn_dim is %u, n_experts %u, n_chosen %u, expert_dim %u and "
                        "router %u at byte %llu; a layer has a feed-forward block, or experts with all "
                        "of these, or both", r->name, l->ffn_dim, l->n_experts, l->n_chosen,
                        l->expert_dim, l->router, where);
    bool bad_share = l->parts & SLM_LAYER_SHARED_GATE && !(experts && l->ffn_dim);
    bool no_gate = (l->parts & SLM_LAYER_UP_PLUS_ONE || l->gate_limit > 0) && !(l->parts & SLM_LAYER_GATE);
    if (bad_share || no_gate)
        return slm_fail(SLM_EFORMAT, "%s: parts is 0x%x at byte %llu: %s", r->name, l->parts,
                        at(r, offsetof(struct slm_layer_traits, parts)),
                        no_gate ? "gate_limit and up + 1 need a gate"
                                : "a share needs experts and a feed-forward block");
    return SLM_OK;
}

/* Relations within a layer, and to the ropes, which were checked before. */
static int check_layer(const struct record *r, const struct slm_traits *traits,
                       const struct slm_rope_traits *ropes)
{
    const struct slm_layer_traits *l = r->bytes;
    if (l->n_heads % l->n_kv_heads)
        return slm_fail(SLM_EFORMAT, "%s: n_kv_heads %u does not divide n_heads %u at byte %llu",
                        r->name, l->n_kv_heads, l->n_heads,
                        at(r, offsetof(struct slm_layer_traits, n_kv_heads)));
    if ((l->parts & SLM_LAYER_HEAD_NORMS) && (l->parts & SLM_LAYER_WIDE_NORMS))
        return slm_fail(SLM_EFORMAT, "%s: parts is 0x%x at byte %llu: queries are normalised by "
                        "head or as a whole, not both", r->name, l->parts,
                        at(r, offsetof(struct slm_layer_traits, parts)));
    if ((l->parts & SLM_LAYER_SLOPES) && traits->attention != SLM_ATTENTION_CAUSAL)
        return slm_fail(SLM_EUNSUPPORTED, "%s: parts is 0x%x at byte %llu: slopes need causal "
                        "attention", r->name, l->parts, at(r, offsetof(struct slm_layer_traits, parts)));
    int code = check_experts(r);
    if (code || l->rope == SLM_NO_ROPE)
        return code;
    unsigned long long where = at(r, offsetof(struct slm_layer_traits, rope));
    if (l->rope >= traits->n_ropes)
        return slm_fail(SLM_EFORMAT, "%s: rope is %u at byte %llu, but the file has %u", r->name,
                        l->rope, where, traits->n_ropes);
    if (ropes[l->rope].dims > l->head_dim)
        return slm_fail(SLM_EFORMAT,
                        "%s: rope %u at byte %llu rotates %u dimensions of heads that have %u",
                        r->name, l->rope, where, ropes[l->rope].dims, l->head_dim);
    return SLM_OK;
}

/* The denominators and logarithms of dynamic scaling must exist. Without scaling base, factor and
 * original_context are not read by anybody. */
static int check_rope(const struct record *r)
{
    const struct slm_rope_traits *rope = r->bytes;
    if (rope->dims % 2)
        return slm_fail(SLM_EFORMAT, "%s: dims is %u at byte %llu; it must be even", r->name,
                        rope->dims, at(r, offsetof(struct slm_rope_traits, dims)));
    if (rope->scaling == SLM_ROPE_TABLE)
        return SLM_OK;
    if (rope->original_context < 1 || rope->original_context > SLM_LIMIT_CONTEXT)
        return slm_fail(SLM_EFORMAT, "%s: original_context is %u at byte %llu; it must be 1 to %u",
                        r->name, rope->original_context,
                        at(r, offsetof(struct slm_rope_traits, original_context)),
                        SLM_LIMIT_CONTEXT);
    if (rope->scaling == SLM_ROPE_LONG)
        return SLM_OK;

    /* theta = base * (factor * n / original_context - (factor - 1)) ^ (dims / (dims - 2)) */
    if (rope->dims < 4)
        return slm_fail(SLM_EFORMAT, "%s: dynamic scaling needs dims of 4 or more; %u at byte %llu",
                        r->name, rope->dims, at(r, offsetof(struct slm_rope_traits, dims)));
    if (!isfinite(rope->base) || !(rope->base > 1))
        return slm_fail(SLM_EFORMAT, "%s: base is %g at byte %llu; it must be finite and above 1",
                        r->name, (double)rope->base, at(r, offsetof(struct slm_rope_traits, base)));
    if (!isfinite(rope->factor) || !(rope->factor >= 1))
        return slm_fail(SLM_EFORMAT, "%s: factor is %g at byte %llu; it must be finite, 1 or more",
                        r->name, (double)rope->factor,
                        at(r, offsetof(struct slm_rope_traits, factor)));
    return SLM_OK;
}

/* Bytes of the whole section. */
static uint64_t section_length(const struct slm_traits *traits)
{
    return sizeof *traits + (uint64_t)traits->n_layers * sizeof(struct slm_layer_traits) +
           (uint64_t)traits->n_ropes * sizeof(struct slm_rope_traits);
}

#define FIELDS(table) .fields = table, .n_fields = sizeof(table) / sizeof(table)[0]

int slm_traits_check(const void *section, uint64_t length, uint64_t offset)
{
    const struct slm_traits *traits = section;
    if (length < sizeof *traits)
        return slm_fail(SLM_EFORMAT,
                        "traits: the section has %llu bytes at byte %llu; its first "
                        "record alone needs %zu",
                        (unsigned long long)length, (unsigned long long)offset, sizeof *traits);
    if (traits->n_layers == 0 && length == sizeof *traits) {
        const struct slm_traits vocabulary = {.n_vocab = traits->n_vocab};
        struct record alone = {traits, sizeof *traits, FIELDS(vocabulary_fields), "traits", offset};
        int code = check_record(&alone);
        if (code || memcmp(traits, &vocabulary, sizeof vocabulary) == 0)
            return code; /* else it lacks its layers */
    }
    struct record whole = {traits, sizeof *traits, FIELDS(traits_fields), "traits", offset};
    int code = check_record(&whole);
    if (code)
        return code;
    if (traits->n_scores && !traits->pooling)
        return slm_fail(SLM_EFORMAT, "traits: n_scores is %u at byte %llu and pooling is 0: what is scored?",
                        traits->n_scores, at(&whole, offsetof(struct slm_traits, n_scores)));
    if (length != section_length(traits))
        return slm_fail(SLM_EFORMAT,
                        "traits: the section has %llu bytes at byte %llu; %u layers "
                        "and %u ropes need %llu",
                        (unsigned long long)length, (unsigned long long)offset, traits->n_layers,
                        traits->n_ropes, (unsigned long long)section_length(traits));
    /* From here on the section is known to hold all of its records. */
    const struct slm_layer_traits *layers = (const void *)(traits + 1);
    const struct slm_rope_traits *ropes = (const void *)(layers + traits->n_layers);
    for (uint32_t i = 0; i < traits->n_ropes; i++) {
        struct record r = {&ropes[i], sizeof ropes[i], FIELDS(rope_fields), "", 0};
        r.offset = offset + (uint64_t)((const uint8_t *)&ropes[i] - (const uint8_t *)section);
        snprintf(r.name, sizeof r.name, "rope %u", i % 1000);
        if ((code = check_record(&r)) || (code = check_rope(&r)))
            return code;
    }
    for (uint32_t i = 0; i < traits->n_layers; i++) {
        struct record r = {&layers[i], sizeof layers[i], FIELDS(layer_fields), "", 0};
        r.offset = offset + (uint64_t)((const uint8_t *)&layers[i] - (const uint8_t *)section);
        snprintf(r.name, sizeof r.name, "layer %u", i % 10000);
        if ((code = check_record(&r)) || (code = check_layer(&r, traits, ropes)))
            return code;
    }
    return SLM_OK;
}
