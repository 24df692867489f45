/*
 * test_safetensors.c - the safetensors reader on good, bad and mutilated files.
 */
#include "unit/source_files.h"

#include "source/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int open_copy(struct slm_safetensors **out, const uint8_t *data, size_t n, uint8_t **copy)
{
    *copy = malloc(n ? n : 1); /* exact: the sanitizer watches the end */
    assert_non_null(*copy);
    if (n)
        memcpy(*copy, data, n);
    return slm_safetensors_open(out, *copy, n, NULL);
}

static volatile uint64_t sink;

static void walk(const struct slm_safetensors *file)
{
    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct slm_source_tensor *t = &file->tensors[i];
        for (size_t k = 0; k < t->name_length; k++)
            sink += (uint64_t)t->name[k];
        for (uint64_t k = 0; k < t->length; k++)
            sink += t->data[k];
    }
}

static void expect_bytes(struct slm_buf file, int code, const char *text)
{
    struct slm_safetensors *s;
    uint8_t *copy;
    int err = open_copy(&s, file.data, file.length, &copy);
    if (err != code || !strstr(slm_error_message(), text))
        fail_msg("code %d, message \"%s\"; wanted %d and \"%s\"", err, slm_error_message(), code,
                 text);
    assert_null(s);
    free(copy);
    slm_buf_free(&file);
}

/* The same for a header over `length` zero bytes of data. */
static void expect(const char *header, size_t length, int code, const char *text)
{
    uint8_t *zeros = calloc(1, length + 1);
    expect_bytes(safetensors_raw(header, zeros, length), code, text);
    free(zeros);
}

static struct slm_buf rich(void)
{
    struct safetensors_builder s = {0};
    float floats[6] = {1, 2, 3, 4, 5, 6};
    uint16_t halves[4] = {0x3C00, 0xC000, 0x3555, 1};
    slm_buf_text(&s.header, "{\"__metadata__\":{\"format\":\"pt\"}");
    safetensors_add(&s, "model.a.weight", "F32", 2, 3, floats, sizeof floats);
    safetensors_add(&s, "model.b.weight", "BF16", 0, 4, halves, sizeof halves);
    safetensors_add(&s, "empty", "F32", 0, 0, floats, 0);
    safetensors_add(&s, "model.c.weight", "F16", 4, 1, halves, sizeof halves);
    safetensors_add(&s, "counter", "I64", 0, 1, halves, 8);
    return safetensors_finish(&s);
}

static void reads_tensors(void **state)
{
    (void)state;
    struct slm_buf file = rich();
    struct slm_safetensors *s;
    uint8_t *copy;
    assert_int_equal(open_copy(&s, file.data, file.length, &copy), SLM_OK);
    assert_int_equal(s->n_tensors, 5);
    const struct slm_source_tensor *t = s->tensors;
    assert_memory_equal(t[0].name, "model.a.weight", 14);
    assert_int_equal(t[0].name_length, 14);
    assert_int_equal(t[0].type, SLM_SOURCE_F32);
    assert_int_equal(t[0].n_dims, 2);
    assert_int_equal(t[0].shape[0], 2);
    assert_int_equal(t[0].shape[1], 3);
    assert_true(slm_load_f32(t[0].data + 20) == 6);
    assert_int_equal(t[1].type, SLM_SOURCE_BF16);
    assert_int_equal(t[1].n_dims, 1);
    assert_int_equal(t[1].shape[0], 4);
    assert_int_equal(t[2].length, 0);
    assert_int_equal(t[3].type, SLM_SOURCE_F16);
    assert_int_equal(t[4].type, SLM_SOURCE_I64);
    assert_ptr_equal(t[4].data + 8, copy + file.length);
    walk(s);
    slm_safetensors_free(s);
    free(copy);
    slm_buf_free(&file);
}

static void reads_any_order_and_no_tensors(void **state)
{
    (void)state;
    struct slm_safetensors *s;
    uint8_t *copy;
    struct slm_buf file =
        safetensors_raw("{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]},"
                        "\"a\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[0,1]}}  ",
                        "abcd", 4);
    assert_int_equal(open_copy(&s, file.data, file.length, &copy), SLM_OK);
    assert_memory_equal(s->tensors[0].name, "a", 1);
    assert_int_equal(s->tensors[0].n_dims, 0);
    assert_memory_equal(s->tensors[1].data, "bcd", 3);
    slm_safetensors_free(s);
    free(copy);
    slm_buf_free(&file);

    file = safetensors_raw("{}", "", 0);
    assert_int_equal(open_copy(&s, file.data, file.length, &copy), SLM_OK);
    assert_int_equal(s->n_tensors, 0);
    slm_safetensors_free(s);
    free(copy);
    slm_buf_free(&file);
}

static void refuses_bad_headers(void **state)
{
    (void)state;
    struct slm_buf file = {0};
    expect_bytes(file, SLM_EFORMAT, "0 bytes are too few");
    slm_buf_text(&file, "1234567");
    expect_bytes(file, SLM_EFORMAT, "7 bytes are too few");
    uint64_t lengths[] = {(uint64_t)1 << 60, UINT64_MAX, UINT64_MAX - 7, 100000001, 3};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct slm_buf b = {0};
        put_u64(&b, lengths[i]);
        slm_buf_text(&b, "{}");
        expect_bytes(b, SLM_EFORMAT, "is announced in a file of 10");
    }
    expect("", 4, SLM_EFORMAT, "header: ");
    expect("{\"a\":", 4, SLM_EFORMAT, "header: ");
    expect("[]", 0, SLM_EFORMAT, "no JSON object");
    expect("{}", 1, SLM_EFORMAT, "end at offset 0 of 1 bytes");
}

#define TENSOR(dtype, shape, offsets)                                                              \
    "{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void refuses_bad_tensors(void **state)
{
    (void)state;
    expect("{\"t\":1}", 4, SLM_EFORMAT, "'t': no object");
    expect("{\"t\":{}}", 4, SLM_EFORMAT, "'t': dtype is missing");
    expect(TENSOR("F33", "[1]", "[0,4]"), 4, SLM_EUNSUPPORTED, "'t': unknown dtype 'F33'");
    expect(TENSOR("F32", "7", "[0,4]"), 4, SLM_EFORMAT, "shape is no array");
    expect(TENSOR("F32", "[1,1,1,1,1]", "[0,4]"), 4, SLM_EUNSUPPORTED, "more than 4 dimensions");
    expect(TENSOR("F32", "[-1]", "[0,4]"), 4, SLM_EFORMAT, "impossible shape");
    expect(TENSOR("F32", "[1.5]", "[0,4]"), 4, SLM_EFORMAT, "impossible shape");
    expect(TENSOR("F32", "[4294967296,4294967296]", "[0,4]"), 4, SLM_EFORMAT, "impossible shape");
    expect(TENSOR("F32", "[4611686018427387905]", "[0,4]"), 4, SLM_EFORMAT, "impossible shape");
    expect(TENSOR("F32", "[1]", "[0]"), 4, SLM_EFORMAT, "not two byte offsets");
    expect(TENSOR("F32", "[1]", "\"0,4\""), 4, SLM_EFORMAT, "not two byte offsets");
    expect(TENSOR("F32", "[1]", "[-4,0]"), 4, SLM_EFORMAT, "not two byte offsets");
    expect(TENSOR("F32", "[1]", "[4,0]"), 4, SLM_EFORMAT, "lie outside");
    expect(TENSOR("F32", "[1]", "[4,8]"), 4, SLM_EFORMAT, "lie outside the 4 bytes");
    expect(TENSOR("F32", "[1]", "[0,18446744073709551620]"), 4, SLM_EFORMAT, "not two byte");
    expect(TENSOR("F32", "[2]", "[0,4]"), 4, SLM_EFORMAT,
           "4 bytes of data, but its dtype and "
           "shape need 8");
    expect(TENSOR("F16", "[1]", "[0,4]"), 4, SLM_EFORMAT, "need 2");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
           "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
           12, SLM_EFORMAT, "'b' begins at offset 4, within the one before, which ends at 8");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
           "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
           12, SLM_EFORMAT, "'b' begins at offset 8, leaving a gap after 4");
    expect(TENSOR("F32", "[1]", "[4,8]"), 8, SLM_EFORMAT, "leaving a gap after 0");
    expect(TENSOR("F32", "[1]", "[0,4]"), 8, SLM_EFORMAT, "end at offset 4 of 8 bytes");
    expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
           "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
           4, SLM_EFORMAT, "'a' begins at offset 0, within");
}

static void refuses_truncated_files(void **state)
{
    (void)state;
    struct slm_buf file = rich();
    for (size_t n = 0; n < file.length; n++) {
        struct slm_safetensors *s;
        uint8_t *copy;
        assert_int_equal(open_copy(&s, file.data, n, &copy), SLM_EFORMAT);
        assert_null(s);
        free(copy);
    }
    slm_buf_free(&file);
}

static void survives_flipped_bits(void **state)
{
    (void)state;
    struct slm_buf file = rich();
    uint64_t seed = 20261021;
    size_t header = 8 + (size_t)slm_load_u64(file.data);
    int refused = 0;
    for (int i = 0; i < 4000; i++) {
        struct slm_safetensors *s;
        uint8_t *copy = malloc(file.length);
        memcpy(copy, file.data, file.length);
        copy[random_u32(&seed) % header] ^= (uint8_t)(1 << random_u32(&seed) % 8);
        if (slm_safetensors_open(&s, copy, file.length, NULL) == SLM_OK)
            walk(s);
        else
            refused++;
        slm_safetensors_free(s);
        free(copy);
    }
    assert_true(refused > 2000);
    slm_buf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_tensors),           cmocka_unit_test(reads_any_order_and_no_tensors),
        cmocka_unit_test(refuses_bad_headers),     cmocka_unit_test(refuses_bad_tensors),
        cmocka_unit_test(refuses_truncated_files), cmocka_unit_test(survives_flipped_bits),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
