/*
 * test_gguf.c - the GGUF reader on good, bad and mutilated files, and the values of every weight
 * type against gguf-py (tests/golden/make_gguf_blocks.py).
 */
#include "unit/source_files.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Open an exact copy of the bytes, so that the sanitizer watches their end. */
static int open_copy(struct slm_gguf **out, const struct slm_buf *file, size_t n, uint8_t **copy)
{
    *copy = malloc(n ? n : 1);
    assert_non_null(*copy);
    if (n)
        memcpy(*copy, file->data, n);
    return slm_gguf_open(out, *copy, n, NULL);
}

/* Everything that users of the reader do; the sanitizers judge it. */
static volatile uint64_t sink;

static void walk(const struct slm_gguf *g)
{
    for (size_t i = 0; i < g->n_keys; i++) {
        const struct slm_gguf_key *key = &g->keys[i];
        for (uint64_t k = 0; k < key->count && k < 1000; k++)
            sink +=
                (uint64_t)slm_gguf_integer_at(key, k) + (slm_gguf_number_at(key, k) > 0 ? 1 : 0);
        const char *text;
        size_t n;
        struct slm_gguf_strings strings = slm_gguf_strings(key);
        while (slm_gguf_next(&strings, &text, &n))
            for (size_t k = 0; k < n; k++)
                sink += (uint64_t)text[k];
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        for (uint64_t k = 0; k < g->tensors[i].length; k++)
            sink += g->tensors[i].data[k];
}

/* The file must be refused with this code, and the message must have the text in it. */
static void expect(struct slm_buf file, int code, const char *text)
{
    struct slm_gguf *g;
    uint8_t *copy;
    int err = open_copy(&g, &file, file.length, &copy);
    if (err != code || !strstr(slm_error_message(), text))
        fail_msg("code %d, message \"%s\"; wanted %d and \"%s\"", err, slm_error_message(), code,
                 text);
    assert_null(g);
    free(copy);
    slm_buf_free(&file);
}

/* A file with a bit of everything. */
static struct slm_buf rich(void)
{
    struct gguf_builder g = {0};
    gguf_text(&g, "general.architecture", "llama");
    gguf_u32(&g, "a.u32", 4000000000u);
    gguf_f32(&g, "a.f32", 0.5f);
    gguf_key(&g, "a.u8", SLM_GGUF_U8), slm_buf_byte(&g.keys, 200);
    gguf_key(&g, "a.i8", SLM_GGUF_I8), slm_buf_byte(&g.keys, 200);
    gguf_key(&g, "a.u16", SLM_GGUF_U16), slm_buf_append(&g.keys, "\x01\xF0", 2);
    gguf_key(&g, "a.i16", SLM_GGUF_I16), slm_buf_append(&g.keys, "\x01\xF0", 2);
    gguf_key(&g, "a.i32", SLM_GGUF_I32), slm_buf_u32(&g.keys, (uint32_t)-7);
    gguf_key(&g, "a.u64", SLM_GGUF_U64), put_u64(&g.keys, UINT64_MAX);
    gguf_key(&g, "a.i64", SLM_GGUF_I64), put_u64(&g.keys, (uint64_t)-9);
    gguf_key(&g, "a.f64", SLM_GGUF_F64), put_u64(&g.keys, 0x3FD5555555555555u);
    gguf_key(&g, "a.bool", SLM_GGUF_BOOL), slm_buf_byte(&g.keys, 1);
    gguf_array(&g, "a.strings", SLM_GGUF_STRING, 3);
    put_text(&g.keys, "one"), put_text(&g.keys, ""), put_text(&g.keys, "three");
    gguf_array(&g, "a.i32s", SLM_GGUF_I32, 2);
    slm_buf_u32(&g.keys, 5), slm_buf_u32(&g.keys, (uint32_t)-5);
    gguf_array(&g, "a.floats", SLM_GGUF_F32, 2);
    put_f32(&g.keys, -1.5f), put_f32(&g.keys, 3);
    gguf_array(&g, "a.nested", SLM_GGUF_ARRAY, 2);
    slm_buf_u32(&g.keys, SLM_GGUF_U8), put_u64(&g.keys, 3), slm_buf_text(&g.keys, "abc");
    slm_buf_u32(&g.keys, SLM_GGUF_ARRAY), put_u64(&g.keys, 1);
    slm_buf_u32(&g.keys, SLM_GGUF_STRING), put_u64(&g.keys, 1), put_text(&g.keys, "deep");
    gguf_text(&g, "z.last", "end");
    const float floats[6] = {1, 2, 3, 4, 5, 6};
    const uint8_t blocks[2 * 34] = {0};
    gguf_tensor(&g, "matrix", SLM_SOURCE_F32, 2, 3, floats, sizeof floats);
    gguf_tensor(&g, "vector", SLM_SOURCE_F32, 0, 6, floats, sizeof floats);
    gguf_tensor(&g, "blocks", SLM_SOURCE_Q8_0, 1, 64, blocks, sizeof blocks);
    return gguf_finish(&g);
}

/* --------------------------------------------------------------------------- reading --- */

static void reads_keys(void **state)
{
    (void)state;
    struct slm_buf file = rich();
    struct slm_gguf *g;
    uint8_t *copy;
    assert_int_equal(open_copy(&g, &file, file.length, &copy), SLM_OK);
    assert_int_equal(g->version, 3);
    assert_int_equal(g->n_keys, 17);

    static const struct {
        const char *name;
        int64_t integer;
    } integers[] = {{"a.u8", 200}, {"a.i8", -56}, {"a.u16", 0xF001},    {"a.i16", -4095},
                    {"a.i32", -7}, {"a.i64", -9}, {"a.u32", 4000000000}};
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        const struct slm_gguf_key *key = slm_gguf_find(g, integers[i].name);
        assert_non_null(key);
        assert_true(slm_gguf_is_integer(key));
        assert_int_equal(slm_gguf_integer_at(key, 0), integers[i].integer);
        assert_true(slm_gguf_number_at(key, 0) == (double)integers[i].integer);
        assert_int_equal(slm_gguf_integer_at(key, 1), 0); /* past the end */
    }
    assert_true(slm_gguf_number_at(slm_gguf_find(g, "a.u64"), 0) == 18446744073709551615.0);
    assert_true(slm_gguf_number_at(slm_gguf_find(g, "a.f64"), 0) == 1.0 / 3);
    assert_true(slm_gguf_number_at(slm_gguf_find(g, "a.floats"), 0) == -1.5);
    assert_int_equal(slm_gguf_integer_at(slm_gguf_find(g, "a.i32s"), 1), -5);
    assert_true(slm_gguf_find(g, "a.nested")->type == SLM_GGUF_ARRAY);
    assert_null(slm_gguf_find(g, "a.u"));
    assert_null(slm_gguf_find(g, ""));

    const char *text;
    size_t n;
    assert_int_equal(slm_gguf_text(g, "z.last", &text, &n), 1); /* the nested array was skipped */
    assert_memory_equal(text, "end", n);
    struct slm_gguf_strings walk_strings = slm_gguf_strings(slm_gguf_find(g, "a.strings"));
    const char *expected[] = {"one", "", "three"};
    for (int i = 0; i < 3; i++) {
        assert_true(slm_gguf_next(&walk_strings, &text, &n));
        assert_int_equal(n, strlen(expected[i]));
        assert_memory_equal(text, expected[i], n);
    }
    assert_false(slm_gguf_next(&walk_strings, &text, &n));
    walk_strings = slm_gguf_strings(slm_gguf_find(g, "a.u8"));
    assert_false(slm_gguf_next(&walk_strings, &text, &n));
    walk(g);
    slm_gguf_free(g);
    free(copy);
    slm_buf_free(&file);
}

static void checks_types_of_keys(void **state)
{
    (void)state;
    struct slm_buf file = rich();
    struct slm_gguf *g;
    uint8_t *copy;
    assert_int_equal(open_copy(&g, &file, file.length, &copy), SLM_OK);
    uint32_t u = 77;
    double d = 77;
    bool b = false;
    const char *text = NULL;
    size_t n = 0;
    assert_int_equal(slm_gguf_u32(g, "missing", &u), 0);
    assert_int_equal(slm_gguf_f64(g, "missing", &d), 0);
    assert_int_equal(slm_gguf_bool(g, "missing", &b), 0);
    assert_int_equal(slm_gguf_text(g, "missing", &text, &n), 0);
    assert_true(u == 77 && d == 77 && !b && !text);
    assert_int_equal(slm_gguf_u32(g, "a.u32", &u), 1);
    assert_int_equal(u, 4000000000u);
    assert_int_equal(slm_gguf_f64(g, "a.i32", &d), 1);
    assert_true(d == -7);
    assert_int_equal(slm_gguf_bool(g, "a.bool", &b), 1);
    assert_true(b);

    assert_int_equal(slm_gguf_u32(g, "a.i32", &u), SLM_EFORMAT); /* negative */
    assert_non_null(strstr(slm_error_message(), "'a.i32'"));
    assert_int_equal(slm_gguf_u32(g, "a.i64", &u), SLM_EFORMAT);
    assert_int_equal(slm_gguf_u32(g, "a.u64", &u), SLM_EFORMAT);
    assert_int_equal(slm_gguf_u32(g, "a.f32", &u), SLM_EFORMAT);
    assert_int_equal(slm_gguf_u32(g, "a.i32s", &u), SLM_EFORMAT);
    assert_int_equal(slm_gguf_f64(g, "z.last", &d), SLM_EFORMAT);
    assert_int_equal(slm_gguf_bool(g, "a.u8", &b), SLM_EFORMAT);
    assert_int_equal(slm_gguf_text(g, "a.strings", &text, &n), SLM_EFORMAT);
    assert_int_equal(slm_gguf_text(g, "a.u8", &text, &n), SLM_EFORMAT);
    slm_gguf_free(g);
    free(copy);
    slm_buf_free(&file);
}

static void reads_tensors(void **state)
{
    (void)state;
    struct slm_buf file = rich();
    struct slm_gguf *g;
    uint8_t *copy;
    assert_int_equal(open_copy(&g, &file, file.length, &copy), SLM_OK);
    assert_int_equal(g->n_tensors, 3);
    const struct slm_source_tensor *t = g->tensors;
    assert_memory_equal(t[0].name, "matrix", 6);
    assert_int_equal(t[0].n_dims, 2);
    assert_int_equal(t[0].shape[0], 2);
    assert_int_equal(t[0].shape[1], 3);
    assert_int_equal(t[0].length, 24);
    assert_true(slm_load_f32(t[0].data + 20) == 6);
    assert_int_equal(t[1].n_dims, 1);
    assert_int_equal(t[1].shape[0], 6);
    assert_int_equal(t[1].shape[1], 1);
    assert_int_equal(t[2].type, SLM_SOURCE_Q8_0);
    assert_int_equal(t[2].length, 68);
    assert_int_equal((t[2].data - copy) % 32, 0);
    slm_gguf_free(g);
    free(copy);
    slm_buf_free(&file);
}

static void reads_version_2_and_no_tensors(void **state)
{
    (void)state;
    struct gguf_builder b = {.version = 2};
    gguf_text(&b, "k", "v");
    struct slm_buf file = gguf_finish(&b);
    struct slm_gguf *g;
    uint8_t *copy;
    assert_int_equal(open_copy(&g, &file, file.length, &copy), SLM_OK);
    assert_int_equal(g->version, 2);
    assert_int_equal(g->n_tensors, 0);
    slm_gguf_free(g);
    free(copy);
    slm_buf_free(&file);
}

/* ------------------------------------------------------------------------- bad files --- */

static struct slm_buf header_only(uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    struct slm_buf file = {0};
    slm_buf_text(&file, "GGUF");
    slm_buf_u32(&file, version);
    put_u64(&file, n_tensors);
    put_u64(&file, n_keys);
    return file;
}

static void refuses_bad_headers(void **state)
{
    (void)state;
    struct slm_buf empty = {0}, other = {0};
    expect(empty, SLM_EFORMAT, "does not begin with \"GGUF\"");
    slm_buf_text(&other, "GGML and more");
    expect(other, SLM_EFORMAT, "does not begin with \"GGUF\"");
    expect(header_only(1, 0, 0), SLM_EUNSUPPORTED, "version 1");
    expect(header_only(4, 0, 0), SLM_EUNSUPPORTED, "version 4");
    expect(header_only(0x03000000, 0, 0), SLM_EUNSUPPORTED, "big-endian");
    expect(header_only(3, 0, UINT64_MAX), SLM_EFORMAT, "more than 24 bytes can hold");
    expect(header_only(3, (uint64_t)1 << 60, 0), SLM_EFORMAT, "more than 24 bytes can hold");
    expect(header_only(3, 0, 1), SLM_EFORMAT, "can hold");
}

static void refuses_bad_keys(void **state)
{
    (void)state;
    struct gguf_builder g = {0};
    gguf_key(&g, "long", SLM_GGUF_STRING), put_u64(&g.keys, (uint64_t)1 << 60);
    expect(gguf_finish(&g), SLM_EFORMAT, "'long'");
    gguf_array(&g, "many", SLM_GGUF_STRING, (uint64_t)1 << 61);
    expect(gguf_finish(&g), SLM_EFORMAT, "'many'");
    gguf_array(&g, "numbers", SLM_GGUF_U64, ((uint64_t)1 << 61) + 1); /* times 8 overflows */
    expect(gguf_finish(&g), SLM_EFORMAT, "'numbers'");
    gguf_key(&g, "strange", 13);
    slm_buf_append(&g.keys, "12345678", 8);
    expect(gguf_finish(&g), SLM_EFORMAT, "unknown type 13");
    gguf_key(&g, "type", 0xFFFFFFFF);
    expect(gguf_finish(&g), SLM_EFORMAT, "unknown type");
    gguf_u32(&g, "twice", 1);
    gguf_u32(&g, "twice", 2);
    expect(gguf_finish(&g), SLM_EFORMAT, "'twice' stands twice");
    gguf_u32(&g, "", 1);
    expect(gguf_finish(&g), SLM_EFORMAT, "has 0 bytes");
    gguf_array(&g, "deep", SLM_GGUF_ARRAY, 1);
    for (int i = 0; i < 20; i++)
        slm_buf_u32(&g.keys, SLM_GGUF_ARRAY), put_u64(&g.keys, 1);
    expect(gguf_finish(&g), SLM_EFORMAT, "nested deeper");
    gguf_array(&g, "wide", SLM_GGUF_ARRAY, (uint64_t)1 << 60);
    expect(gguf_finish(&g), SLM_EFORMAT, "ends at byte");
    /* What a message repeats is printable and short. */
    char name[300];
    memset(name, '\x1B', 299);
    name[299] = '\0';
    gguf_key(&g, name, 99);
    expect(gguf_finish(&g), SLM_EFORMAT, "'????");
    assert_null(strchr(slm_error_message(), '\x1B'));
    assert_true(strlen(slm_error_message()) < 200);
}

static void refuses_bad_tensors(void **state)
{
    (void)state;
    struct gguf_builder g = {0};
    const float x[8] = {0};
    gguf_tensor(&g, "t", SLM_SOURCE_F32, 1, 0, x, 0);
    expect(gguf_finish(&g), SLM_EFORMAT, "'t' at byte 24 has an impossible shape");
    gguf_tensor(&g, "t", SLM_SOURCE_F32, (uint64_t)1 << 32, (uint64_t)1 << 32, x, sizeof x);
    expect(gguf_finish(&g), SLM_EFORMAT, "impossible shape");
    gguf_tensor(&g, "t", SLM_SOURCE_F32, (uint64_t)1 << 31, (uint64_t)1 << 31, x, sizeof x);
    expect(gguf_finish(&g), SLM_EFORMAT, "impossible shape"); /* times 4 bytes */
    gguf_tensor(&g, "t", SLM_SOURCE_F32, 3, 3, x, sizeof x);
    expect(gguf_finish(&g), SLM_EFORMAT, "reach beyond the end of the file");
    gguf_tensor(&g, "t", SLM_SOURCE_Q4_K, 1, 128, x, sizeof x);
    expect(gguf_finish(&g), SLM_EFORMAT, "no whole number of Q4_K blocks of 256");
    gguf_tensor(&g, "t", 17, 1, 256, x, sizeof x);
    expect(gguf_finish(&g), SLM_EUNSUPPORTED, "'t' has the type IQ2_XS (17)");
    gguf_tensor(&g, "t", 1000, 1, 8, x, sizeof x); /* our own number for another format's type */
    expect(gguf_finish(&g), SLM_EUNSUPPORTED, "not supported; supported: F32, F16");

    slm_buf_byte(&g.data, 0); /* the next offset is 1 */
    gguf_tensor(&g, "t", SLM_SOURCE_F32, 1, 1, x, 4);
    expect(gguf_finish(&g), SLM_EFORMAT, "offset 1 is not aligned to 32");
    gguf_tensor(&g, "first", SLM_SOURCE_F32, 0, 8, x, sizeof x);
    g.data.length = 0;
    gguf_tensor(&g, "second", SLM_SOURCE_F32, 0, 8, x, sizeof x);
    expect(gguf_finish(&g), SLM_EFORMAT, "overlap");
    for (uint32_t align = 0; align < 49; align += 48) {
        gguf_u32(&g, "general.alignment", align);
        gguf_tensor(&g, "t", SLM_SOURCE_F32, 0, 8, x, sizeof x);
        expect(gguf_finish(&g), SLM_EFORMAT, "general.alignment is");
    }
    gguf_u32(&g, "general.alignment", 0x80000000u);
    gguf_tensor(&g, "t", SLM_SOURCE_F32, 0, 8, x, sizeof x);
    expect(gguf_finish(&g), SLM_EFORMAT, "general.alignment is");

    /* Dimensions: 0, and more than 4. */
    for (uint32_t n_dims = 0; n_dims < 6; n_dims += 5) {
        put_text(&g.tensors, "t");
        slm_buf_u32(&g.tensors, n_dims);
        for (int i = 0; i < 5; i++)
            put_u64(&g.tensors, 1);
        slm_buf_u32(&g.tensors, 0);
        put_u64(&g.tensors, 0);
        g.n_tensors = 1;
        expect(gguf_finish(&g), SLM_EFORMAT, "dimensions, not 1 to 4");
    }
}

/* A file that ends anywhere is refused: at every byte of the header, at every 1/64 of the rest. */
static void refuses_truncated_files(void **state)
{
    (void)state;
    struct slm_buf file = rich();
    size_t step = 1;
    for (size_t n = 0; n < file.length - 31; n += step) { /* the last bytes are padding */
        struct slm_gguf *g;
        uint8_t *copy;
        int err = open_copy(&g, &file, n, &copy);
        assert_true(err == SLM_EFORMAT);
        assert_true(strlen(slm_error_message()) > 10);
        assert_null(g);
        free(copy);
    }
    slm_buf_free(&file);
}

/* Any bit may be wrong: either an error, or a file that is safe to walk. */
static void survives_flipped_bits(void **state)
{
    (void)state;
    struct slm_buf file = rich();
    uint64_t seed = 20261021;
    int refused = 0;
    for (int i = 0; i < 4000; i++) {
        struct slm_gguf *g;
        uint8_t *copy = malloc(file.length);
        memcpy(copy, file.data, file.length);
        for (uint32_t flips = 1 + random_u32(&seed) % 3; flips > 0; flips--)
            copy[random_u32(&seed) % file.length] ^= (uint8_t)(1 << random_u32(&seed) % 8);
        if (slm_gguf_open(&g, copy, file.length, NULL) == SLM_OK)
            walk(g);
        else
            refused++;
        slm_gguf_free(g);
        free(copy);
    }
    assert_true(refused > 1000);
    slm_buf_free(&file);
}

/* Every allocation may fail. */
struct failing {
    int left; /* allocations that still succeed */
    int alive;
};

static void *failing_alloc(void *user, size_t size, size_t align)
{
    struct failing *f = user;
    void *p = NULL;
    if (f->left-- <= 0 || posix_memalign(&p, align, size) != 0)
        return NULL;
    f->alive++;
    return p;
}

static void failing_free(void *user, void *p, size_t size)
{
    (void)size;
    ((struct failing *)user)->alive--;
    free(p);
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    struct slm_buf file = rich();
    for (int i = 0;; i++) {
        struct failing f = {.left = i};
        slm_allocator a = {failing_alloc, failing_free, &f};
        struct slm_gguf *g;
        int err = slm_gguf_open(&g, file.data, file.length, &a);
        slm_gguf_free(g);
        assert_int_equal(f.alive, 0);
        if (err == SLM_OK) {
            assert_true(i > 2);
            break;
        }
        assert_int_equal(err, SLM_ENOMEM);
    }
    slm_buf_free(&file);
}

/* ---------------------------------------------------------------------------- values --- */

/* For each type: decode equals gguf-py bit for bit; where a transfer exists, our block is worth the
 * same (or, for Q4_K, as close as its rounded scales allow). */
static void values_equal_the_reference(void **state)
{
    (void)state;
    size_t n;
    uint8_t *data = load_data("gguf/blocks.bin", &n);
    if (!data)
        fail_msg("gguf/blocks.bin is missing: set SLM_TEST_DATA to the folder tests/data");
    int seen = 0;
    for (size_t at = 0; at < n; seen++) {
        char name[16];
        unsigned block_bytes, block_values, n_blocks;
        assert_int_equal(sscanf((char *)data + at, "%15s %u %u %u", name, &block_bytes,
                                &block_values, &n_blocks),
                         4);
        at += strcspn((char *)data + at, "\n") + 1;
        const struct slm_source_type *type = NULL;
        for (uint32_t id = 0; id < 64 && (!type || strcmp(type->name, name) != 0); id++)
            type = slm_source_type(id) ? slm_source_type(id) : type;
        assert_string_equal(type->name, name);
        assert_int_equal(type->bytes, block_bytes);
        assert_int_equal(type->values, block_values);

        /* Exact copies: the sanitizer watches both ends. */
        size_t n_values = (size_t)n_blocks * block_values;
        uint8_t *blocks = malloc((size_t)n_blocks * block_bytes);
        float *values = malloc(n_values * sizeof *values);
        memcpy(blocks, data + at, (size_t)n_blocks * block_bytes);
        at += (size_t)n_blocks * block_bytes;
        type->decode(blocks, n_blocks, values);
        if (memcmp(values, data + at, n_values * 4) != 0)
            fail_msg("%s: values differ from the reference", name);

        for (size_t i = 0; type->transfer && i < n_values; i += 32) {
            struct slm_block block = {0}; /* not every transfer writes a minimum */
            float worth[32];
            type->transfer(blocks + i / block_values * block_bytes,
                           (unsigned)(i % block_values / 32), &block);
            slm_quant(type->keep)->decode(&block, worth);
            if (type->exact)
                assert_memory_equal(worth, values + i, sizeof worth);
            float scale = slm_f16_to_f32(block.scale), minimum = slm_f16_to_f32(block.minimum);
            for (int k = 0; k < 32; k++) /* half of the last bit of scale * 15 and of minimum */
                assert_true(fabsf(worth[k] - values[i + (size_t)k]) <=
                            (15 * fabsf(scale) + fabsf(minimum)) / 2048 + 15 * 6e-8f);
        }
        at += n_values * 4;
        free(blocks);
        free(values);
    }
    assert_int_equal(seen, 14); /* every supported type but F32 */
    free(data);
}

/* The list in error messages is the table's. */
static void supported_types_are_listed(void **state)
{
    (void)state;
    char list[256] = "";
    for (uint32_t id = 0; id < 64; id++) {
        const struct slm_source_type *type = slm_source_type(id);
        if (!type || !type->decode)
            continue;
        assert_non_null(strstr(slm_source_types_supported(), type->name));
        snprintf(list + strlen(list), sizeof list - strlen(list), ", %s", type->name);
    }
    assert_int_equal(strlen(list) - 2, strlen(slm_source_types_supported()));
    assert_string_equal(slm_source_type_name(17), "IQ2_XS");
    assert_null(slm_source_type_name(63));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_keys),
        cmocka_unit_test(checks_types_of_keys),
        cmocka_unit_test(reads_tensors),
        cmocka_unit_test(reads_version_2_and_no_tensors),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(refuses_bad_keys),
        cmocka_unit_test(refuses_bad_tensors),
        cmocka_unit_test(refuses_truncated_files),
        cmocka_unit_test(survives_flipped_bits),
        cmocka_unit_test(survives_failing_allocations),
        cmocka_unit_test(values_equal_the_reference),
        cmocka_unit_test(supported_types_are_listed),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
