/*
 * test_format.c - the .slm reader against damage, foreign files and files made to hurt.
 *
 * Every hostile file here has correct checksums, as an attacker's would. Each parse runs on a copy
 * of exactly the file's length, so AddressSanitizer sees a single byte read too far.
 */
#include "unit/tiny_file.h"

#include "base/bits.h"
#include "base/limits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct bytes {
    uint8_t *data; /* aligned to 64 */
    size_t length;
};

static struct bytes tiny; /* the good file, with a tokenizer and an unknown section */

static struct bytes copy_of(struct bytes b)
{
    struct bytes copy = {NULL, b.length};
    assert_int_equal(posix_memalign((void **)&copy.data, 64, b.length ? b.length : 1), 0);
    if (b.length)
        memcpy(copy.data, b.data, b.length);
    return copy;
}

static struct bytes read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    struct bytes b = {NULL, (size_t)ftell(f)};
    rewind(f);
    assert_int_equal(posix_memalign((void **)&b.data, 64, b.length), 0);
    assert_int_equal(fread(b.data, 1, b.length, f), b.length);
    fclose(f);
    return b;
}

static int make_tiny(void **state)
{
    (void)state;
    char folder[] = "/tmp/slm-format-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/tiny.slm", folder);
    if (tiny_file_write(path, true, true, 0) != SLM_OK)
        fail_msg("%s", slm_error_message());
    tiny = read_file(path);
    unlink(path);
    rmdir(folder);
    return 0;
}

static int free_tiny(void **state)
{
    (void)state;
    free(tiny.data);
    return 0;
}

/* Parse a copy of exactly this length; it must fail with this code and these words. */
static void expect(const char *what, struct bytes b, int code, const char *words)
{
    struct bytes copy = copy_of(b);
    struct slm_file file, zero;
    memset(&zero, 0, sizeof zero);
    int got = slm_file_parse(&file, copy.data, copy.length);
    if (got != code || (code && !strstr(slm_error_message(), words)))
        fail_msg("%s: code %d, wanted %d; '%s', wanted '%s'", what, got, code, slm_error_message(),
                 words);
    if (code)
        assert_memory_equal(&file, &zero, sizeof file);
    free(copy.data);
}

/* --------------------------------------------------------------------- patching --- */

static struct slm_file_header *header_of(struct bytes b)
{
    return (void *)b.data;
}

static struct slm_section_entry *entries_of(struct bytes b)
{
    return (void *)(b.data + sizeof(struct slm_file_header));
}

static struct slm_section_entry *section_of(struct bytes b, uint32_t kind)
{
    for (uint32_t i = 0; i < header_of(b)->n_sections; i++)
        if (entries_of(b)[i].kind == kind)
            return &entries_of(b)[i];
    fail_msg("no section %u", kind);
    return NULL;
}

static void rehash_sections(struct bytes b)
{
    for (uint32_t i = 0; i < header_of(b)->n_sections; i++) {
        struct slm_section_entry *e = &entries_of(b)[i];
        if (e->kind != SLM_SECTION_DATA)
            e->hash = slm_hash64(b.data + e->offset, e->length);
    }
}

static void rehash_directory(struct bytes b)
{
    header_of(b)->directory_hash = 0;
    header_of(b)->directory_hash = slm_hash64(b.data, 64 + 32 * header_of(b)->n_sections);
}

static struct slm_tensor_entry *tensor_of(struct bytes b, uint32_t role, uint32_t layer)
{
    struct slm_section_entry *e = section_of(b, SLM_SECTION_TENSORS);
    struct slm_tensor_entry *t = (void *)(b.data + e->offset);
    for (size_t i = 0; i < e->length / sizeof *t; i++)
        if (t[i].role == role && t[i].layer == layer)
            return &t[i];
    fail_msg("no tensor %u", role);
    return NULL;
}

/* ------------------------------------------------------------------------- good --- */

static void a_good_file_is_read(void **state)
{
    (void)state;
    struct slm_file file;
    struct tiny_traits traits = tiny_traits();
    assert_int_equal(slm_file_parse(&file, tiny.data, tiny.length), SLM_OK);
    assert_memory_equal(file.traits, &traits.model, sizeof traits.model);
    assert_memory_equal(file.layers, traits.layers, sizeof traits.layers);
    assert_memory_equal(file.ropes, traits.ropes, sizeof traits.ropes);
    assert_int_equal(file.n_tensors, TINY_TENSORS);
    assert_int_equal(file.tokenizer_length, strlen(TINY_TOKENIZER));
    assert_memory_equal(file.tokenizer, TINY_TOKENIZER, file.tokenizer_length);
    assert_int_equal(file.chat_template_length, strlen(TINY_TEMPLATE));
    assert_memory_equal(file.chat_template, TINY_TEMPLATE, file.chat_template_length);

    static const char *const pairs[][2] = {{"name", "tiny"}, {"license", "MIT"}, {"empty", ""}};
    const char *key, *value;
    assert_int_equal(file.n_metadata, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(slm_file_metadata(&file, i, &key, &value));
        assert_string_equal(key, pairs[i][0]);
        assert_string_equal(value, pairs[i][1]);
    }
    assert_false(slm_file_metadata(&file, 3, &key, &value));

    for (size_t i = 0; i < TINY_TENSORS; i++) {
        const struct tiny_tensor *want = &tiny_tensors[i];
        const struct slm_tensor_entry *t = slm_file_tensor(&file, want->role, want->layer);
        uint64_t length;
        assert_non_null(t);
        assert_ptr_equal(t, &file.tensors[i]);
        assert_int_equal(t->type, want->type);
        assert_int_equal(t->offset % 64, 0);
        uint8_t *bytes = tiny_tensor_bytes(want, t->rows, t->cols, &length);
        assert_int_equal(t->length, length);
        assert_memory_equal(tiny.data + t->offset, bytes, length);
        free(bytes);
    }
    assert_null(slm_file_tensor(&file, SLM_ROLE_HEAD, SLM_NO_LAYER));
    assert_null(slm_file_tensor(&file, SLM_ROLE_ATTN_Q, 2));
    assert_int_equal(slm_file_verify(&file, NULL, NULL), SLM_OK);
}

/* The first bytes, written out by hand. */
static void the_front_is_as_documented(void **state)
{
    (void)state;
    static const uint8_t start[] = {0x89, 'S', 'L', 'M', 13, 10, 26, 10, 1, 0, 0, 0, 7, 0, 0, 0};
    assert_memory_equal(tiny.data, start, sizeof start);
    assert_true(slm_load_u64(tiny.data + 16) == tiny.length);
    uint8_t front[64 + 7 * 32];
    memcpy(front, tiny.data, sizeof front);
    memset(front + 24, 0, 8);
    assert_true(slm_load_u64(tiny.data + 24) == slm_hash64(front, sizeof front));
    /* The first section: traits, at 512, 128 + 2 * 96 + 2 * 48 bytes. */
    assert_int_equal(slm_load_u32(tiny.data + 64), 1);
    assert_int_equal(slm_load_u32(tiny.data + 68), 0);
    assert_true(slm_load_u64(tiny.data + 72) == 512);
    assert_true(slm_load_u64(tiny.data + 80) == 416);
    assert_true(slm_load_u64(tiny.data + 88) == slm_hash64(tiny.data + 512, 416));
    assert_int_equal(slm_load_u32(tiny.data + 512 + 4), 40); /* dim */
}

static void versions_are_told_apart(void **state)
{
    (void)state;
    struct bytes b = copy_of(tiny);
    header_of(b)->minor = 7;
    rehash_directory(b);
    expect("newer minor", b, SLM_OK, "");
    header_of(b)->major = 2;
    rehash_directory(b);
    expect("newer major", b, SLM_EVERSION, "version 2.7");
    expect("newer major", b, SLM_EVERSION, "up to 1.x");
    header_of(b)->major = 0;
    rehash_directory(b);
    expect("major 0", b, SLM_EFORMAT, "format version 0");
    free(b.data);
}

static void data_must_be_aligned(void **state)
{
    (void)state;
    struct slm_file file;
    assert_int_equal(slm_file_parse(&file, tiny.data + 8, tiny.length - 8), SLM_EINVAL);
    assert_non_null(strstr(slm_error_message(), "multiple of 64"));
}

/* ----------------------------------------------------------------------- damage --- */

static void truncated_files_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < 64; i++)
        expect("cut", (struct bytes){tiny.data, tiny.length * i / 64}, SLM_EFORMAT,
               i ? "copy the file again" : "the file is empty");
    for (size_t n = 1; n < 1024; n++)
        expect("cut short", (struct bytes){tiny.data, n}, SLM_EFORMAT, "");
    expect("one byte less", (struct bytes){tiny.data, tiny.length - 1}, SLM_EFORMAT, "truncated");
    struct bytes longer = copy_of((struct bytes){tiny.data, tiny.length});
    longer.data = realloc(longer.data, tiny.length + 64);
    memset(longer.data + tiny.length, 0, 64);
    longer.length += 64;
    expect("64 bytes more", longer, SLM_EFORMAT, "appended");
    free(longer.data);
}

static void truncation_is_said_in_numbers(void **state)
{
    (void)state;
    struct bytes b = copy_of(tiny);
    header_of(b)->length = 92345678;
    rehash_directory(b);
    expect("truncated", (struct bytes){b.data, 4096}, SLM_EFORMAT,
           "truncated: the header says 92,345,678 bytes, there are 4,096; copy the file again");
    free(b.data);
}

static uint32_t next_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

/* A flipped bit anywhere in header or directories is found when the file is opened. */
static void flipped_bits_are_found_at_open(void **state)
{
    (void)state;
    uint32_t x = 2463534242u;
    struct bytes b = copy_of(tiny);
    static const uint32_t hashed[] = {SLM_SECTION_TRAITS, SLM_SECTION_TEMPLATE,
                                      SLM_SECTION_METADATA, SLM_SECTION_TENSORS};
    size_t front = 64 + 32 * header_of(b)->n_sections;
    for (int i = 0; i < 4000; i++) {
        size_t byte = next_random(&x) % front;
        if (i & 1) { /* the sections with directories and tables */
            struct slm_section_entry *e = section_of(b, hashed[i / 2 % 4]);
            byte = e->offset + next_random(&x) % e->length;
        }
        uint8_t bit = (uint8_t)(1 << next_random(&x) % 8);
        b.data[byte] ^= bit;
        struct bytes exact = copy_of(b);
        struct slm_file file;
        int code = slm_file_parse(&file, exact.data, exact.length);
        if (code != SLM_EFORMAT && code != SLM_EVERSION)
            fail_msg("bit %d of byte %zu flipped: code %d", bit, byte, code);
        free(exact.data);
        b.data[byte] ^= bit;
    }
    expect("restored", b, SLM_OK, "");
    free(b.data);
}

/* Every single byte of the file counts: slm_file_verify() finds any flip that open does not. */
static void verify_finds_a_flip_in_any_byte(void **state)
{
    (void)state;
    struct bytes b = copy_of(tiny);
    size_t opened = 0;
    for (size_t byte = 0; byte < b.length; byte += byte < 2048 ? 1 : 7) {
        struct slm_file file;
        b.data[byte] ^= 0x10;
        if (slm_file_parse(&file, b.data, b.length) == SLM_OK) {
            opened++;
            if (slm_file_verify(&file, NULL, NULL) != SLM_EFORMAT)
                fail_msg("a flip in byte %zu was not found", byte);
            assert_non_null(strstr(slm_error_message(), "damaged"));
        }
        b.data[byte] ^= 0x10;
    }
    assert_true(opened > 1000);
    free(b.data);
}

static void verify_names_the_tensor(void **state)
{
    (void)state;
    struct bytes b = copy_of(tiny);
    struct slm_file file;
    b.data[tensor_of(b, SLM_ROLE_FFN_UP, 1)->offset + 3] ^= 1;
    assert_int_equal(slm_file_parse(&file, b.data, b.length), SLM_OK);
    assert_int_equal(slm_file_verify(&file, NULL, NULL), SLM_EFORMAT);
    assert_non_null(strstr(slm_error_message(), "ffn_up of layer 1"));
    free(b.data);
}

static int stop_at_once(void *user, uint64_t done, uint64_t total)
{
    *(uint64_t *)user = total;
    return done > 0;
}

static int never_back(void *user, uint64_t done, uint64_t total)
{
    uint64_t *last = user;
    assert_true(done >= *last && done <= total);
    *last = done;
    return 0;
}

static void verify_reports_and_can_be_stopped(void **state)
{
    (void)state;
    struct slm_file file;
    uint64_t total = 0, last = 0;
    assert_int_equal(slm_file_parse(&file, tiny.data, tiny.length), SLM_OK);
    assert_int_equal(slm_file_verify(&file, stop_at_once, &total), SLM_EINTR);
    assert_int_equal(total, tiny.length);
    assert_int_equal(slm_file_verify(&file, never_back, &last), SLM_OK);
    assert_int_equal(last, tiny.length);
}

static void foreign_files_get_a_friendly_word(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *words;
    } files[] = {
        {"GGUF\3\0\0\0\0\0\0\0", 12, "this is a GGUF file: convert it with `slm convert`"},
        {"GGUF", 4, "this is a GGUF file"},
        {"\x58\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\"", 28, "this is a safetensors file"},
        {"PK\3\4..............", 18, "PyTorch"},
        {"{\"architectures\": []}", 21, "JSON"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS"},
        {"<!DOCTYPE html>", 15, "web page"},
        {"\x89SLM\n\x1a\n\1\0\0\0", 11, "binary mode"},
        {"anything else at all", 20, "this is not a .slm file"},
        {"x", 1, "this is not a .slm file"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0", 12, "this is not a .slm file"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        expect(files[i].words, (struct bytes){(uint8_t *)files[i].bytes, files[i].n}, SLM_EFORMAT,
               files[i].words);
    }
}

/* ---------------------------------------------------------------------- hostile --- */

static uint32_t f32(float f)
{
    return slm_bits_of(f);
}

/* One 32-bit value changed in a section (by kind; 0 is the front of the file), and what must come
 * of it. Tensor entries are addressed by name in hostile_tensors below. */
struct patch {
    const char *what;
    uint32_t section;
    size_t offset;
    uint32_t value;
    int code;
    const char *words;
};

#define MODEL(field) SLM_SECTION_TRAITS, offsetof(struct tiny_traits, model.field)
#define LAYER(field) SLM_SECTION_TRAITS, offsetof(struct tiny_traits, layers[1].field)
#define ROPE(i, field) SLM_SECTION_TRAITS, offsetof(struct tiny_traits, ropes[i].field)

static void check_patches(const struct patch *patches, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct patch *p = &patches[i];
        struct bytes b = copy_of(tiny);
        size_t base = p->section ? section_of(b, p->section)->offset : 0;
        uint32_t old = slm_load_u32(b.data + base + p->offset);
        assert_true(old != p->value || p->code == SLM_OK); /* the patch changes something */
        memcpy(b.data + base + p->offset, &p->value, 4);
        if (p->section)
            rehash_sections(b);
        if (header_of(b)->n_sections <= SLM_LIMIT_SECTIONS)
            rehash_directory(b);
        expect(p->what, b, p->code, p->words);
        free(b.data);
    }
}

/* A vocabulary has no weights, and weights need layers. */
static void weights_and_layers(void **state)
{
    (void)state;
    struct bytes b = copy_of(tiny);
    struct slm_traits *traits = (void *)(b.data + section_of(b, SLM_SECTION_TRAITS)->offset);
    *traits = (struct slm_traits){.n_vocab = 37};
    section_of(b, SLM_SECTION_TRAITS)->length = sizeof *traits;
    rehash_sections(b);
    rehash_directory(b);
    expect("weights", b, SLM_EFORMAT, "has weights, and its traits have no layers");
    section_of(b, SLM_SECTION_TENSORS)->kind = TINY_UNKNOWN_SECTION + 1;
    rehash_directory(b);
    expect("data alone", b, SLM_EFORMAT, "has weights, and its traits have no layers");
    section_of(b, SLM_SECTION_DATA)->kind = TINY_UNKNOWN_SECTION + 2;
    rehash_directory(b);
    expect("a vocabulary", b, SLM_OK, "");
    const struct {
        struct slm_traits traits;
        int code;
        const char *words;
    } BAD[] = {
        {{.n_vocab = 0}, SLM_EFORMAT, "n_vocab is 0"},
        {{.n_vocab = SLM_LIMIT_VOCAB + 1}, SLM_ELIMIT, "n_vocab is 4194305"},
        {{.n_vocab = 37, .reserved = {[11] = 1u << 31}}, SLM_EVERSION, "reserved byte 639"},
        {{.n_vocab = 37, .dim = 40}, SLM_EFORMAT, "n_layers is 0"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        *traits = BAD[i].traits;
        rehash_sections(b);
        rehash_directory(b);
        expect("not a vocabulary", b, BAD[i].code, BAD[i].words);
    }
    free(b.data);
}

static void hostile_traits(void **state)
{
    (void)state;
    const uint32_t nan = f32(NAN), inf = f32(INFINITY);
    const struct patch patches[] = {
        {"no layers", MODEL(n_layers), 0, SLM_EFORMAT, "n_layers is 0 at byte 512"},
        {"one layer less", MODEL(n_layers), 1, SLM_EFORMAT, "1 layers and 2 ropes need 320"},
        {"one layer more", MODEL(n_layers), 3, SLM_EFORMAT, "3 layers and 2 ropes need 512"},
        {"layers", MODEL(n_layers), 0xFFFFFFFF, SLM_ELIMIT, "the limit is 1024"},
        {"dim 0", MODEL(dim), 0, SLM_EFORMAT, "dim is 0 at byte 516"},
        {"dim", MODEL(dim), 65537, SLM_ELIMIT, "dim is 65537"},
        {"other dim", MODEL(dim), 41, SLM_EFORMAT, "shape 37 x 40"},
        {"vocab 0", MODEL(n_vocab), 0, SLM_EFORMAT, "n_vocab is 0"},
        {"vocab", MODEL(n_vocab), SLM_LIMIT_VOCAB + 1, SLM_ELIMIT, "n_vocab"},
        {"other vocab", MODEL(n_vocab), 38, SLM_EFORMAT, "the traits ask for 38 x 40"},
        {"context", MODEL(max_context), SLM_LIMIT_CONTEXT + 1, SLM_ELIMIT, "max_context"},
        {"norm 0", MODEL(norm), 0, SLM_EUNSUPPORTED, "norm is 0"},
        {"norm", MODEL(norm), 3, SLM_EUNSUPPORTED, "norm is 3"},
        {"eps 0", MODEL(norm_eps), 0, SLM_EFORMAT, "norm_eps is 0 at byte 532"},
        {"eps -0", MODEL(norm_eps), 0x80000000, SLM_EFORMAT, "norm_eps"},
        {"eps < 0", MODEL(norm_eps), f32(-1e-5f), SLM_EFORMAT, "norm_eps is -1e-05"},
        {"eps NaN", MODEL(norm_eps), nan, SLM_EFORMAT, "norm_eps is nan"},
        {"eps inf", MODEL(norm_eps), inf, SLM_EFORMAT, "norm_eps is inf"},
        {"positions", MODEL(n_positions), SLM_LIMIT_CONTEXT + 1, SLM_ELIMIT, "n_positions"},
        {"learned", MODEL(n_positions), 9, SLM_EFORMAT, "position_embedding is missing"},
        {"one rope less", MODEL(n_ropes), 1, SLM_EFORMAT, "2 layers and 1 ropes"},
        {"ropes", MODEL(n_ropes), 17, SLM_ELIMIT, "n_ropes is 17"},
        {"attention", MODEL(attention), 3, SLM_EUNSUPPORTED, "attention is 3"},
        {"activation", MODEL(activation), 99, SLM_EUNSUPPORTED, "activation is 99"},
        {"embedding", MODEL(embedding_scale), nan, SLM_EFORMAT, "embedding_scale is nan"},
        {"embedding 0", MODEL(embedding_scale), 0, SLM_EFORMAT, "embedding_scale is 0"},
        {"residual", MODEL(residual_scale), inf, SLM_EFORMAT, "residual_scale is inf"},
        {"logits", MODEL(logit_scale), f32(-INFINITY), SLM_EFORMAT, "logit_scale is -inf"},
        {"cap", MODEL(logit_cap), f32(-1), SLM_EFORMAT, "logit_cap is -1"},
        {"cap NaN", MODEL(logit_cap), nan, SLM_EFORMAT, "logit_cap is nan"},
        {"a cap", MODEL(logit_cap), f32(30), SLM_OK, ""},
        {"parts", MODEL(parts), 0x26, SLM_EUNSUPPORTED, "parts is 0x26 at byte 568: bits 0x20"},
        {"token types", MODEL(n_token_types), 4097, SLM_ELIMIT, "n_token_types is 4097"},
        {"pooling", MODEL(pooling), 4, SLM_EUNSUPPORTED, "pooling is 4 at byte 576"},
        {"scores", MODEL(n_scores), 65537, SLM_ELIMIT, "n_scores is 65537"},
        {"scores of nothing", MODEL(n_scores), 1, SLM_EFORMAT, "pooling is 0"},
        {"score activation", MODEL(score_activation), 7, SLM_EUNSUPPORTED, "score_activation is 7"},
        {"separators", MODEL(n_separators), 17, SLM_ELIMIT, "n_separators is 17"},
        {"no final norm", MODEL(parts), 0, SLM_EFORMAT, "(final_norm) at byte"},
        {"embedding norm", MODEL(parts), 3, SLM_EFORMAT, "embedding_norm is missing"},
        {"reserved", MODEL(reserved[0]), 1, SLM_EVERSION, "reserved byte 592 is set"},
        {"reserved", MODEL(reserved[11]), 1u << 31, SLM_EVERSION, "reserved byte 639"},
        {"heads 0", LAYER(n_heads), 0, SLM_EFORMAT, "layer 1: n_heads is 0"},
        {"heads", LAYER(n_heads), 1025, SLM_ELIMIT, "layer 1: n_heads is 1025"},
        {"kv 0", LAYER(n_kv_heads), 0, SLM_EFORMAT, "n_kv_heads is 0"},
        {"kv 2 of 3", LAYER(n_kv_heads), 2, SLM_EFORMAT, "n_kv_heads 2 does not divide n_heads 3"},
        {"kv > heads", LAYER(n_kv_heads), 6, SLM_EFORMAT, "does not divide"},
        {"other kv", LAYER(n_kv_heads), 3, SLM_EFORMAT, "the traits ask for 36 x 40"},
        {"head_dim 0", LAYER(head_dim), 0, SLM_EFORMAT, "head_dim is 0"},
        {"head_dim", LAYER(head_dim), 1025, SLM_ELIMIT, "head_dim is 1025"},
        {"head_dim < rope", LAYER(head_dim), 7, SLM_EFORMAT, "rotates 8 dimensions of heads"},
        {"ffn 0", LAYER(ffn_dim), 0, SLM_EFORMAT, "ffn_dim is 0"},
        {"ffn", LAYER(ffn_dim), SLM_LIMIT_FFN_DIM + 1, SLM_ELIMIT, "ffn_dim"},
        {"window", LAYER(window), SLM_LIMIT_CONTEXT + 1, SLM_ELIMIT, "window"},
        {"other window", LAYER(window), 1, SLM_OK, ""},
        {"rope 2", LAYER(rope), 2, SLM_EFORMAT, "rope is 2"},
        {"no rope", LAYER(rope), SLM_NO_ROPE, SLM_OK, ""},
        {"scale 0", LAYER(attention_scale), 0, SLM_EFORMAT, "attention_scale is 0"},
        {"scale NaN", LAYER(attention_scale), nan, SLM_EFORMAT, "attention_scale is nan"},
        {"cap", LAYER(attention_cap), inf, SLM_EFORMAT, "layer 1: attention_cap is inf"},
        {"parts", LAYER(parts), 1u << 31, SLM_EUNSUPPORTED, "bits 0x80000000"},
        {"both norms", LAYER(parts), 0xB5, SLM_EFORMAT, "by head or as a whole, not both"},
        {"no norms", LAYER(parts), 0x95, SLM_EFORMAT, "attn_q_norm of layer 1 is missing"},
        {"no slopes", LAYER(parts), 0x185, SLM_EFORMAT, "attn_slopes of layer 1 is missing"},
        {"gate", LAYER(parts), 0x05, SLM_EFORMAT, "(ffn_gate of layer 1)"},
        {"norm", LAYER(parts), 0x84, SLM_EFORMAT, "(attn_norm of layer 1)"},
        {"post norm", LAYER(parts), 0x87, SLM_EFORMAT, "attn_post_norm of layer 1 is missing"},
        {"parallel", LAYER(parts), 0xC5, SLM_OK, ""},
        {"sinks", LAYER(parts), 0x1085, SLM_EFORMAT, "attn_sinks of layer 1 is missing"},
        {"share", LAYER(parts), 0x885, SLM_EFORMAT, "a share needs experts"},
        {"up + 1", LAYER(parts), 0x2005, SLM_EFORMAT, "need a gate"},
        {"experts", LAYER(n_experts), 4, SLM_EFORMAT, "or experts with all of these"},
        {"experts", LAYER(n_experts), 1025, SLM_ELIMIT, "layer 1: n_experts is 1025"},
        {"chosen", LAYER(n_chosen), 2, SLM_EFORMAT, "n_experts 0, n_chosen 2"},
        {"chosen", LAYER(n_chosen), 65, SLM_ELIMIT, "n_chosen is 65"},
        {"expert_dim", LAYER(expert_dim), 16, SLM_EFORMAT, "expert_dim 16"},
        {"expert_dim", LAYER(expert_dim), ~0u, SLM_ELIMIT, "expert_dim"},
        {"router", LAYER(router), 1, SLM_EFORMAT, "router 1"},
        {"router", LAYER(router), 3, SLM_EUNSUPPORTED, "router is 3"},
        {"gate_limit", LAYER(gate_limit), nan, SLM_EFORMAT, "gate_limit is nan"},
        {"gate_limit", LAYER(gate_limit), f32(-1), SLM_EFORMAT, "gate_limit is -1"},
        {"a gate_limit", LAYER(gate_limit), f32(7), SLM_OK, ""},
        {"reserved", LAYER(reserved[9]), 1u << 8, SLM_EVERSION, "layer 1: the reserved byte"},
        {"dims 0", ROPE(0, dims), 0, SLM_EFORMAT, "rope 0: dims is 0"},
        {"dims odd", ROPE(0, dims), 9, SLM_EFORMAT, "rope 0: dims is 9"},
        {"dims > head", ROPE(0, dims), 12, SLM_EFORMAT, "rotates 12 dimensions"},
        {"dims", ROPE(0, dims), 1026, SLM_ELIMIT, "dims is 1026"},
        {"other dims", ROPE(0, dims), 8, SLM_EFORMAT, "the traits ask for 1 x 4"},
        {"dynamic 2", ROPE(1, dims), 2, SLM_EFORMAT, "dims of 4 or more"},
        {"scaling", ROPE(0, scaling), 3, SLM_EUNSUPPORTED, "scaling is 3"},
        {"long", ROPE(1, scaling), 2, SLM_EFORMAT, "rope_long_frequencies of rope 1 is missing"},
        {"dynamic", ROPE(0, scaling), 1, SLM_EFORMAT, "original_context is 0"},
        {"magnitude", ROPE(1, magnitude), nan, SLM_EFORMAT, "rope 1: magnitude is nan"},
        {"base 1", ROPE(1, base), f32(1), SLM_EFORMAT, "base is 1 "},
        {"base", ROPE(1, base), inf, SLM_EFORMAT, "base is inf"},
        {"factor", ROPE(1, factor), f32(0.5f), SLM_EFORMAT, "factor is 0.5"},
        {"factor", ROPE(1, factor), nan, SLM_EFORMAT, "factor is nan"},
        {"original", ROPE(1, original_context), 0, SLM_EFORMAT, "original_context is 0"},
        {"original", ROPE(1, original_context), ~0u, SLM_EFORMAT, "original_context"},
        {"reserved", ROPE(1, reserved[5]), 1, SLM_EVERSION, "rope 1: the reserved byte"},
    };
    check_patches(patches, sizeof patches / sizeof patches[0]);
}

/* What takes more than one field. */
static void hostile_experts(void **state)
{
    (void)state;
    static const struct {
        uint32_t ffn_dim, parts, n_experts, n_chosen, expert_dim, router;
        const char *words; /* NULL: fine */
    } cases[] = {
        {0, 0x85, 8, 2, 40, 1, NULL},
        {33, 0x885, 8, 8, 40, 2, NULL},
        {33, 0x885, 1, 1, 1, 2, NULL},
        {0, 0x85, 8, 9, 40, 1, "n_experts 8, n_chosen 9"},
        {0, 0x85, 0, 0, 0, 0, "ffn_dim is 0"},
        {0, 0x85, 8, 0, 40, 1, "or experts with all of these"},
        {0, 0x85, 8, 2, 0, 1, "or experts with all of these"},
        {0, 0x85, 8, 2, 40, 0, "or experts with all of these"},
        {0, 0x885, 8, 2, 40, 1, "a share needs experts and a feed-forward block"},
        {0, 0x2005, 8, 2, 40, 1, "need a gate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tiny_traits traits = tiny_traits();
        struct slm_layer_traits *l = &traits.layers[1];
        l->ffn_dim = cases[i].ffn_dim;
        l->parts = cases[i].parts;
        l->n_experts = cases[i].n_experts;
        l->n_chosen = cases[i].n_chosen;
        l->expert_dim = cases[i].expert_dim;
        l->router = cases[i].router;
        int code = slm_traits_check(&traits, sizeof traits, 512);
        assert_int_equal(code, cases[i].words ? SLM_EFORMAT : SLM_OK);
        if (cases[i].words && !strstr(slm_last_error(), cases[i].words))
            fail_msg("'%s' lacks '%s'", slm_last_error(), cases[i].words);
    }
}

#define HEADER(field) 0, offsetof(struct slm_file_header, field)
#define ENTRY(i, field) 0, 64 + 32 * i + offsetof(struct slm_section_entry, field)

/* Order in the file: traits, tokenizer, unknown, template, metadata, data, tensors. */
static void hostile_directories(void **state)
{
    (void)state;
    const uint32_t length = (uint32_t)tiny.length;
    const uint32_t after = (length + 63) / 64 * 64; /* the multiple of 64 behind the end */
    const struct patch patches[] = {
        {"no sections", HEADER(n_sections), 0, SLM_EFORMAT, "0 sections at byte 12"},
        {"sections", HEADER(n_sections), 65, SLM_EFORMAT, "65 sections"},
        {"sections", HEADER(n_sections), ~0u, SLM_EFORMAT, "4294967295 sections"},
        {"cut sections", HEADER(n_sections), 6, SLM_EFORMAT, "'tensors' is missing"},
        {"reserved", HEADER(reserved[28]), 1, SLM_EVERSION, "reserved byte of the header"},
        {"reserved", ENTRY(2, reserved), 1, SLM_EVERSION, "section 2 (unknown): the reserved"},
        {"unaligned", ENTRY(0, offset), 513, SLM_EFORMAT, "offset 513 at byte 72 is no multiple"},
        {"on header", ENTRY(0, offset), 0, SLM_EFORMAT, "offset 0 at byte 72 lies before byte 288"},
        {"overlap", ENTRY(1, offset), 576, SLM_EFORMAT, "section 1 (tokenizer): offset 576"},
        {"behind", ENTRY(6, offset), after, SLM_EFORMAT, "exceed the file"},
        {"far", ENTRY(6, offset) + 4, 0x7FFFFFFF, SLM_EFORMAT, "exceed the file"},
        {"far", ENTRY(6, offset) + 4, 0xFFFFFFFF, SLM_EFORMAT, "exceed the file"},
        {"long", ENTRY(6, length), length, SLM_EFORMAT, "exceed the file"},
        {"long", ENTRY(6, length) + 4, 0xFFFFFFFF, SLM_EFORMAT, "exceed the file"},
        {"overlap", ENTRY(0, length), 4096, SLM_EFORMAT, "lies before"},
        {"empty", ENTRY(3, length), 0, SLM_EFORMAT, "section 3 (template) at byte 160 is empty"},
        {"empty", ENTRY(1, length), 0, SLM_EFORMAT, "section 1 (tokenizer)"},
        {"twice", ENTRY(1, kind), SLM_SECTION_TRAITS, SLM_EFORMAT, "is there twice"},
        {"none", ENTRY(0, kind), 1234, SLM_EFORMAT, "'traits' is missing"},
        {"none", ENTRY(5, kind), 1234, SLM_EFORMAT, "'data' is missing"},
        {"unknown twice", ENTRY(1, kind), TINY_UNKNOWN_SECTION, SLM_OK, ""},
        {"signature", ENTRY(2, kind), SLM_SECTION_SIGNATURE, SLM_OK, ""},
        {"kind 0", ENTRY(2, kind), 0, SLM_OK, ""},
        {"kind", ENTRY(2, kind), ~0u, SLM_OK, ""},
        {"traits hash", ENTRY(0, hash), 1, SLM_EFORMAT, "checksum of section 'traits'"},
        {"template hash", ENTRY(3, hash), 1, SLM_EFORMAT, "checksum of section 'template'"},
        {"metadata hash", ENTRY(4, hash), 1, SLM_EFORMAT, "checksum of section 'metadata'"},
        {"tensors hash", ENTRY(6, hash), 1, SLM_EFORMAT, "checksum of section 'tensors'"},
        {"tokenizer hash", ENTRY(1, hash), 1, SLM_OK, ""}, /* slm_file_verify's */
        {"data hash", ENTRY(5, hash), 1, SLM_EFORMAT, "its hash 0"},
        {"data short", ENTRY(5, length), 64, SLM_EFORMAT, "exceed the section 'data'"},
    };
    check_patches(patches, sizeof patches / sizeof patches[0]);
}

/* The section lengths whose change needs new hashes of the section itself. */
static void hostile_section_lengths(void **state)
{
    (void)state;
    static const struct {
        uint32_t kind;
        int64_t change;
        const char *words;
    } cases[] = {
        {SLM_SECTION_TRAITS, -48, "2 layers and 2 ropes need 416"},
        {SLM_SECTION_TRAITS, -300, "its first record alone needs 128"},
        {SLM_SECTION_TRAITS, -1, "need 416"},
        {SLM_SECTION_TENSORS, -1, "no multiple of 64"},
        {SLM_SECTION_TENSORS, -64, "its last tensor ends at"},
        {SLM_SECTION_DATA, -1, "must be a multiple of 64"},
        {SLM_SECTION_DATA, -64, "exceed the section 'data'"},
        {SLM_SECTION_METADATA, -1, "metadata: value 2"},
        {SLM_SECTION_METADATA, -6, "metadata: key 2"},
        {SLM_SECTION_METADATA, -15, "pair 2 of 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes b = copy_of(tiny);
        struct slm_section_entry *e = section_of(b, cases[i].kind);
        e->length = (uint64_t)((int64_t)e->length + cases[i].change);
        rehash_sections(b);
        rehash_directory(b);
        expect(cases[i].words, b, SLM_EFORMAT, cases[i].words);
        free(b.data);
    }
    /* One more byte, where padding leaves room for it. */
    struct bytes b = copy_of(tiny);
    section_of(b, SLM_SECTION_METADATA)->length++;
    rehash_sections(b);
    rehash_directory(b);
    expect("metadata + 1", b, SLM_EFORMAT, "1 bytes after the last pair");
    section_of(b, SLM_SECTION_METADATA)->length = 7;
    rehash_sections(b);
    rehash_directory(b);
    expect("metadata of 7", b, SLM_EFORMAT, "are too few");
    free(b.data);
}

/* count, 0, then "name" "tiny", "license" "MIT", "empty" "": by hand
 *     0 count  4 0  8 4,4  16 name\0tiny\0  26 7,3  34 license\0MIT\0  46 5,0  54 empty\0\0 */
static void hostile_metadata(void **state)
{
    (void)state;
    const struct patch patches[] = {
        {"fewer", SLM_SECTION_METADATA, 0, 2, SLM_EFORMAT, "bytes after the last pair"},
        {"more", SLM_SECTION_METADATA, 0, 4, SLM_EFORMAT, "pair 3 of 4"},
        {"many", SLM_SECTION_METADATA, 0, 4097, SLM_ELIMIT, "4097 pairs"},
        {"reserved", SLM_SECTION_METADATA, 4, 1, SLM_EVERSION, "metadata: the reserved"},
        {"no key", SLM_SECTION_METADATA, 8, 0, SLM_EFORMAT, "key 0"},
        {"short key", SLM_SECTION_METADATA, 8, 3, SLM_EFORMAT, "is not 3 bytes of UTF-8 and a NUL"},
        {"long key", SLM_SECTION_METADATA, 8, 9, SLM_EFORMAT, "is not 9 bytes"},
        {"huge key", SLM_SECTION_METADATA, 8, 1000, SLM_EFORMAT, "has 1000 bytes and a NUL"},
        {"huger key", SLM_SECTION_METADATA, 8, ~0u, SLM_ELIMIT, "has 4294967295 bytes"},
        {"huge value", SLM_SECTION_METADATA, 30, ~0u, SLM_ELIMIT, "value 1"},
        {"long value", SLM_SECTION_METADATA, 50, 1, SLM_EFORMAT, "value 2"},
        {"NUL in value", SLM_SECTION_METADATA, 21, 'a' << 8, SLM_EFORMAT, "value 0"},
        {"Latin-1", SLM_SECTION_METADATA, 21, 'a' | 0xE9 << 8 | 'a' << 16 | 'a' << 24, SLM_EFORMAT,
         "is not 4 bytes of UTF-8"},
        {"other value", SLM_SECTION_METADATA, 21, 'a' | 'b' << 8 | 'c' << 16 | 'd' << 24, SLM_OK,
         ""},
        {"template", SLM_SECTION_TEMPLATE, 0, 0xFF, SLM_EFORMAT, "template: the text"},
        {"template NUL", SLM_SECTION_TEMPLATE, 0, 'a', SLM_EFORMAT, "template: the text"},
    };
    check_patches(patches, sizeof patches / sizeof patches[0]);
}

static void hostile_tensors(void **state)
{
    (void)state;
    enum { ROLE = 0, LAYER_ = 4, TYPE = 8, ROWS = 12, COLS = 16, RESERVED0 = 20, OFFSET = 24 };
    enum { LENGTH = 32, RESERVED = 48 };
    static const struct {
        const char *what;
        uint32_t role, layer;
        size_t field;
        uint32_t value;
        int code;
        const char *words;
    } cases[] = {
        {"role 0", SLM_ROLE_ATTN_Q, 0, ROLE, 0, SLM_EUNSUPPORTED, "role 0"},
        {"role", SLM_ROLE_ATTN_Q, 0, ROLE, 63, SLM_EUNSUPPORTED, "role 63"},
        {"role", SLM_ROLE_ATTN_Q, 0, ROLE, ~0u, SLM_EUNSUPPORTED, "role 4294967295"},
        {"no embedding", SLM_ROLE_EMBEDDING, SLM_NO_LAYER, ROLE, SLM_ROLE_HEAD, SLM_EFORMAT,
         "tensor embedding is missing"},
        {"no bias, a q twice", SLM_ROLE_ATTN_V, 0, ROLE, SLM_ROLE_ATTN_K, SLM_EFORMAT,
         "(attn_k of layer 0) at byte"},
        {"twice", SLM_ROLE_ATTN_NORM, 0, LAYER_, 1, SLM_EFORMAT, "is there twice"},
        {"missing in a layer", SLM_ROLE_FFN_NORM, 1, ROLE, SLM_ROLE_FFN_DOWN_BIAS, SLM_EFORMAT,
         "tensor ffn_norm of layer 1 is missing"},
        {"no rope table", SLM_ROLE_ROPE_FREQUENCIES, 1, ROLE, SLM_ROLE_FFN_GATE, SLM_EFORMAT, ""},
        {"layer 2", SLM_ROLE_ATTN_Q, 0, LAYER_, 2, SLM_EFORMAT, "layer 2) at byte"},
        {"layer", SLM_ROLE_ATTN_Q, 0, LAYER_, 0x7FFFFFFF, SLM_EFORMAT, "is not in the traits"},
        {"no layer", SLM_ROLE_ATTN_Q, 0, LAYER_, SLM_NO_LAYER, SLM_EFORMAT, "is not in the traits"},
        {"layer 0", SLM_ROLE_EMBEDDING, SLM_NO_LAYER, LAYER_, 0, SLM_EFORMAT, "is not in the"},
        {"rope 2", SLM_ROLE_ROPE_FREQUENCIES, 1, LAYER_, 2, SLM_EFORMAT, "rope_frequencies"},
        {"type", SLM_ROLE_ATTN_Q, 0, TYPE, 3, SLM_EUNSUPPORTED, "type 3"},
        {"type", SLM_ROLE_ATTN_Q, 0, TYPE, ~0u, SLM_EUNSUPPORTED, "type 4294967295"},
        {"other type", SLM_ROLE_ATTN_Q, 0, TYPE, SLM_TYPE_F16, SLM_EFORMAT, "in f16"},
        {"vector", SLM_ROLE_ATTN_NORM, 0, TYPE, SLM_TYPE_F16, SLM_EFORMAT, "must be f32; it is"},
        {"rows 0", SLM_ROLE_ATTN_Q, 0, ROWS, 0, SLM_EFORMAT, "shape 0 x 40"},
        {"rows", SLM_ROLE_ATTN_Q, 0, ROWS, ~0u, SLM_EFORMAT, "ask for 40 x 40"},
        {"cols", SLM_ROLE_ATTN_Q, 0, COLS, 41, SLM_EFORMAT, "shape 40 x 41"},
        {"vector rows", SLM_ROLE_ATTN_NORM, 0, ROWS, 2, SLM_EFORMAT, "ask for 1 x 40"},
        {"reserved", SLM_ROLE_ATTN_Q, 0, RESERVED0, 1, SLM_EVERSION, "reserved bytes"},
        {"reserved", SLM_ROLE_ATTN_Q, 0, RESERVED, 1, SLM_EVERSION, "reserved bytes"},
        {"reserved", SLM_ROLE_ATTN_Q, 0, RESERVED + 12, 1, SLM_EVERSION, "reserved bytes"},
        {"offset 0", SLM_ROLE_ATTN_Q, 0, OFFSET, 0, SLM_EFORMAT, "offset 0 at byte"},
        {"offset", SLM_ROLE_ATTN_Q, 0, OFFSET + 4, ~0u, SLM_EFORMAT, "it must be"},
        {"length", SLM_ROLE_ATTN_Q, 0, LENGTH, 0, SLM_EFORMAT, "length 0 at byte"},
        {"length", SLM_ROLE_ATTN_Q, 0, LENGTH + 4, 1, SLM_EFORMAT, "40 x 40 in f32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes b = copy_of(tiny);
        uint8_t *t = (uint8_t *)tensor_of(b, cases[i].role, cases[i].layer);
        memcpy(t + cases[i].field, &cases[i].value, 4);
        rehash_sections(b);
        rehash_directory(b);
        expect(cases[i].what, b, cases[i].code, cases[i].words);
        free(b.data);
    }
}

/* Two tensors that share bytes, or a hole between two. */
static void tensors_fill_the_data_without_overlap(void **state)
{
    (void)state;
    static const int64_t shifts[] = {-64, 64};
    for (size_t i = 0; i < 2; i++) {
        struct bytes b = copy_of(tiny);
        tensor_of(b, SLM_ROLE_FFN_UP, 0)->offset += (uint64_t)shifts[i];
        rehash_sections(b);
        rehash_directory(b);
        expect("shifted", b, SLM_EFORMAT, "ends so that it must be");
        free(b.data);
    }
    /* Swapped entries: each place is right for somebody, but the order of the file is gone. */
    struct bytes b = copy_of(tiny);
    struct slm_tensor_entry *t = tensor_of(b, SLM_ROLE_ATTN_Q, 0), swap = t[0];
    t[0] = t[1];
    t[1] = swap;
    rehash_sections(b);
    rehash_directory(b);
    expect("swapped", b, SLM_EFORMAT, "it must be");
    free(b.data);
}

/* Random 32-bit values with correct checksums: whatever the reader says, it must survive, and
 * what it accepts must be safe to walk. */
static void random_values_with_right_checksums(void **state)
{
    (void)state;
    uint32_t x = 123456789, accepted = 0;
    struct bytes b = copy_of(tiny);
    static const uint32_t kinds[] = {SLM_SECTION_TRAITS, SLM_SECTION_METADATA, SLM_SECTION_TENSORS};
    static const uint32_t favourites[] = {0, 1, 2, 3, 64, 0x7FFFFFFF, 0x80000000, ~0u, 0x7FC00000};
    for (int i = 0; i < 20000; i++) {
        memcpy(b.data, tiny.data, tiny.length);
        bool front = next_random(&x) % 4 == 0;
        struct slm_section_entry *e = section_of(b, kinds[next_random(&x) % 3]);
        size_t word =
            front ? 8 + next_random(&x) % (280 - 8) : e->offset + next_random(&x) % (e->length - 3);
        uint32_t value = next_random(&x);
        if (value % 2)
            value = favourites[value / 2 % 9];
        memcpy(b.data + word, &value, 4);
        if (!front)
            rehash_sections(b);
        if (header_of(b)->n_sections <= SLM_LIMIT_SECTIONS)
            rehash_directory(b);
        struct slm_file file;
        if (slm_file_parse(&file, b.data, b.length) != SLM_OK)
            continue;
        accepted++;
        const char *key, *value_text;
        size_t total = 0;
        for (uint32_t m = 0; slm_file_metadata(&file, m, &key, &value_text); m++)
            total += strlen(key) + strlen(value_text);
        float row[1024];
        for (uint32_t t = 0; t < file.n_tensors; t++) {
            const struct slm_tensor_entry *entry = &file.tensors[t];
            assert_true(entry->cols <= 1024);
            if (slm_role_info(entry->role)->matrix)
                slm_quant_row(slm_quant(entry->type), b.data + entry->offset, entry->rows - 1,
                              entry->cols, row);
            total += b.data[entry->offset + entry->length - 1];
        }
        assert_true(total > 0);
    }
    assert_true(accepted > 50);
    free(b.data);
}

/* ------------------------------------------------------------------------ roles --- */

static void roles_have_names_and_shapes(void **state)
{
    (void)state;
    struct tiny_traits t = tiny_traits();
    uint32_t rows, cols, n = 0;
    t.model.parts = SLM_MODEL_PARTS; /* everything that there can be */
    t.model.n_positions = 5;
    t.model.n_token_types = 3;
    t.model.n_scores = 4;
    for (int i = 0; i < 2; i++) {
        t.layers[i].parts = SLM_LAYER_PARTS;
        t.layers[i].n_experts = 3;
        t.layers[i].expert_dim = 17;
        t.ropes[i].scaling = SLM_ROPE_LONG;
    }
    for (uint32_t role = 0; role < SLM_N_ROLES; role++) {
        const struct slm_role_info *info = slm_role_info(role);
        if (!info)
            continue;
        n++;
        assert_int_equal(info->role, role);
        for (uint32_t other = 0; other < role; other++)
            if (slm_role_info(other))
                assert_string_not_equal(info->name, slm_role_info(other)->name);
        /* In exactly the layers that it has. */
        uint32_t layers = slm_role_layers(role, &t.model);
        assert_int_equal(layers, info->per_layer ? 2 : 0);
        for (uint32_t layer = 0; layer < 4; layer++)
            assert_int_equal(slm_role_shape(role, layer, &t.model, t.layers, t.ropes, &rows, &cols),
                             layer < layers);
        assert_int_equal(
            slm_role_shape(role, SLM_NO_LAYER, &t.model, t.layers, t.ropes, &rows, &cols),
            !info->per_layer);
    }
    assert_int_equal(n, 58);
    assert_null(slm_role_info(SLM_N_ROLES));
    assert_null(slm_role_info(~0u));

    static const uint32_t want[][4] = {
        {SLM_ROLE_EMBEDDING, SLM_NO_LAYER, 37, 40},
        {SLM_ROLE_HEAD, SLM_NO_LAYER, 37, 40},
        {SLM_ROLE_HEAD_BIAS, SLM_NO_LAYER, 1, 37},
        {SLM_ROLE_FINAL_NORM, SLM_NO_LAYER, 1, 40},
        {SLM_ROLE_ROPE_FREQUENCIES, 0, 1, 5},
        {SLM_ROLE_ROPE_FREQUENCIES, 1, 1, 4},
        {SLM_ROLE_ROPE_LONG_FREQUENCIES, 1, 1, 4},
        {SLM_ROLE_ATTN_SINKS, 1, 1, 3},
        {SLM_ROLE_ROUTER, 0, 3, 40},
        {SLM_ROLE_ROUTER_BIAS, 0, 1, 3},
        {SLM_ROLE_SHARED_GATE, 0, 1, 40},
        {SLM_ROLE_EXPERTS_GATE, 0, 3 * 32, 40},
        {SLM_ROLE_EXPERTS_UP_BIAS, 1, 1, 3 * 32},
        {SLM_ROLE_EXPERTS_DOWN, 1, 3 * 48, 17},
        {SLM_ROLE_POSITION_EMBEDDING, SLM_NO_LAYER, 5, 40},
        {SLM_ROLE_EMBEDDING_NORM_BIAS, SLM_NO_LAYER, 1, 40},
        {SLM_ROLE_TOKEN_TYPE_EMBEDDING, SLM_NO_LAYER, 3, 40},
        {SLM_ROLE_SCORE_DENSE, SLM_NO_LAYER, 40, 40},
        {SLM_ROLE_SCORE_NORM_BIAS, SLM_NO_LAYER, 1, 40},
        {SLM_ROLE_SCORE, SLM_NO_LAYER, 4, 40},
        {SLM_ROLE_SCORE_BIAS, SLM_NO_LAYER, 1, 4},
        {SLM_ROLE_ATTN_SUM_NORM_BIAS, 1, 1, 40},
        {SLM_ROLE_ATTN_NORM_BIAS, 1, 1, 40},
        {SLM_ROLE_ATTN_Q_NORM, 1, 1, 36},
        {SLM_ROLE_ATTN_K_NORM_BIAS, 0, 1, 20},
        {SLM_ROLE_ATTN_SLOPES, 1, 1, 3},
        {SLM_ROLE_ATTN_Q, 1, 36, 40},
        {SLM_ROLE_ATTN_K, 0, 20, 40},
        {SLM_ROLE_ATTN_V, 1, 12, 40},
        {SLM_ROLE_ATTN_OUT, 1, 40, 36},
        {SLM_ROLE_ATTN_K_BIAS, 1, 1, 12},
        {SLM_ROLE_ATTN_OUT_BIAS, 1, 1, 40},
        {SLM_ROLE_FFN_GATE, 0, 70, 40},
        {SLM_ROLE_FFN_UP_BIAS, 1, 1, 33},
        {SLM_ROLE_FFN_DOWN, 1, 40, 33},
        {SLM_ROLE_FFN_DOWN_BIAS, 0, 1, 40},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_true(
            slm_role_shape(want[i][0], want[i][1], &t.model, t.layers, t.ropes, &rows, &cols));
        assert_int_equal(rows, want[i][2]);
        assert_int_equal(cols, want[i][3]);
    }
}

static void tensor_bytes_are_checked(void **state)
{
    (void)state;
    uint64_t bytes;
    assert_true(slm_tensor_bytes(true, SLM_TYPE_Q4, 576, 576, &bytes));
    assert_int_equal(bytes, 36 * 18 * 288);
    assert_true(slm_tensor_bytes(true, SLM_TYPE_Q8, 17, 33, &bytes));
    assert_int_equal(bytes, 2 * 2 * 544);
    assert_true(slm_tensor_bytes(false, SLM_TYPE_F32, 1, 37, &bytes));
    assert_int_equal(bytes, 148);
    assert_false(slm_tensor_bytes(false, SLM_TYPE_F32, 2, 37, &bytes));
    assert_false(slm_tensor_bytes(false, SLM_TYPE_F16, 1, 37, &bytes));
    assert_false(slm_tensor_bytes(true, 5, 1, 1, &bytes));
    assert_false(slm_tensor_bytes(true, SLM_TYPE_F32, ~0u, ~0u, &bytes)); /* 2^66 */
    assert_true(slm_tensor_bytes(true, SLM_TYPE_Q4, ~0u, ~0u, &bytes));
    assert_true(bytes == (UINT64_C(1) << 55) * 288);
}

/* What only a later layer has, and what differs from layer to layer. */
static void test_describe(void **state)
{
    (void)state;
    const struct slm_traits traits = {.n_layers = 2, .activation = SLM_ACT_SILU};
    const struct slm_layer_traits layers[] = {
        {.n_heads = 2, .n_kv_heads = 2, .ffn_dim = 64},
        {.n_heads = 4, .n_kv_heads = 2, .ffn_dim = 8, .attention_cap = 50, .gate_limit = 7,
         .n_experts = 4, .n_chosen = 2, .expert_dim = 24},
    };
    const struct slm_tensor_entry tensors[] = {{.role = SLM_ROLE_ROUTER_BIAS, .layer = 1},
                                               {.role = SLM_ROLE_EXPERTS_UP_BIAS, .layer = 1}};
    const struct slm_file file = {
        .traits = &traits, .layers = layers, .tensors = tensors, .n_tensors = 2};
    static const char *const lines[][2] = {
        {"attention", "heads 2 to 4, scale"},
        {"attention", "scores capped at 50"},
        {"feed-forward", "size 8 to 64"},
        {"feed-forward", "held at 7"},
        {"biases", "experts in 1 of 2 layers, router in 1 of 2 layers"},
    };
    for (size_t i = 0, k; i < sizeof lines / sizeof lines[0]; i++) {
        char value[256];
        const char *name = "";
        for (k = 0; slm_traits_describe(&file, k, &name, value, sizeof value); k++)
            if (strcmp(name, lines[i][0]) == 0)
                break;
        if (strcmp(name, lines[i][0]) != 0 || !strstr(value, lines[i][1]))
            fail_msg("%s: '%s' lacks '%s'", lines[i][0], value, lines[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_describe),
        cmocka_unit_test(a_good_file_is_read),
        cmocka_unit_test(the_front_is_as_documented),
        cmocka_unit_test(versions_are_told_apart),
        cmocka_unit_test(data_must_be_aligned),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(truncation_is_said_in_numbers),
        cmocka_unit_test(flipped_bits_are_found_at_open),
        cmocka_unit_test(verify_finds_a_flip_in_any_byte),
        cmocka_unit_test(verify_names_the_tensor),
        cmocka_unit_test(verify_reports_and_can_be_stopped),
        cmocka_unit_test(foreign_files_get_a_friendly_word),
        cmocka_unit_test(hostile_traits),
        cmocka_unit_test(weights_and_layers),
        cmocka_unit_test(hostile_experts),
        cmocka_unit_test(hostile_directories),
        cmocka_unit_test(hostile_section_lengths),
        cmocka_unit_test(hostile_metadata),
        cmocka_unit_test(hostile_tensors),
        cmocka_unit_test(tensors_fill_the_data_without_overlap),
        cmocka_unit_test(random_values_with_right_checksums),
        cmocka_unit_test(roles_have_names_and_shapes),
        cmocka_unit_test(tensor_bytes_are_checked),
    };
    return cmocka_run_group_tests(tests, make_tiny, free_tiny);
}
