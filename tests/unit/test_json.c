/*
 * test_json.c - the JSON reader and writer against JSONTestSuite, against Python's json and float
 * (tests/golden/make_json.py), and against itself on random documents; then errors, limits,
 * failing allocations and time.
 */
#include "base/json.h"

#include "base/limits.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* -------------------------------------------------------------------------------- helpers --- */

/* A file of tests/data/json, with a NUL after it; the caller frees. */
static char *load(const char *name, size_t *n)
{
    const char *root = getenv("SLM_TEST_DATA");
    char path[1024];
    snprintf(path, sizeof path, "%s/json/%s", root ? root : "tests/data", name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s is missing: set SLM_TEST_DATA to the folder tests/data", path);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*n + 1);
    assert_int_equal(fread(data, 1, *n, file), *n);
    data[*n] = '\0';
    fclose(file);
    return data;
}

static uint64_t random_state = 1;

static uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static size_t random_below(size_t n)
{
    return (size_t)(random_bits() % n);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return bits;
}

/* Parse from a block of exactly n bytes, so that ASan sees a read past the end. */
static int parse(struct slm_json **doc, const char *text, size_t n)
{
    char *exact = malloc(n ? n : 1);
    if (n)
        memcpy(exact, text, n);
    int code = slm_json_parse(doc, exact, n, NULL);
    free(exact);
    return code;
}

/* The form of expected.txt: compact, numbers as the bits of their double. */
static void canonical(struct slm_buf *out, const struct slm_json *doc, slm_json_node node)
{
    enum slm_json_type type = slm_json_type(doc, node);
    size_t n;
    const char *text;
    if (type == JSON_NUMBER) {
        slm_buf_format(out, "#%016llx", (unsigned long long)bits_of(slm_json_number(doc, node, 0)));
    } else if (type == JSON_STRING) {
        text = slm_json_string(doc, node, &n);
        assert_int_equal(text[n], 0);
        slm_json_write_string(out, text, n);
    } else if (type == JSON_ARRAY || type == JSON_OBJECT) {
        size_t count = 0;
        slm_buf_byte(out, type == JSON_ARRAY ? '[' : '{');
        for (slm_json_node i = slm_json_first(doc, node); i >= 0; i = slm_json_next(doc, i)) {
            if (count++)
                slm_buf_byte(out, ',');
            if (type == JSON_OBJECT) {
                text = slm_json_key(doc, i, &n);
                slm_json_write_string(out, text, n);
                slm_buf_byte(out, ':');
            } else {
                assert_int_equal(slm_json_at(doc, node, count - 1), i);
            }
            canonical(out, doc, i);
        }
        assert_int_equal(slm_json_count(doc, node), count);
        slm_buf_byte(out, type == JSON_ARRAY ? ']' : '}');
    } else {
        slm_buf_text(out, type == JSON_TRUE ? "true" : type == JSON_FALSE ? "false" : "null");
    }
}

static char *canonical_text(const struct slm_json *doc)
{
    struct slm_buf out = {0};
    canonical(&out, doc, 0);
    slm_buf_byte(&out, 0);
    assert_int_equal(slm_buf_ok(&out), 0);
    char *text = strdup((char *)out.data);
    slm_buf_free(&out);
    return text;
}

/* ---------------------------------------------------------------------------------- suite --- */

/* What the standard leaves open and we accept; every other "i_" file is refused. */
static const char *const accepted[] = {
    "i_number_double_huge_neg_exp.json",
    "i_number_huge_exp.json",
    "i_number_neg_int_huge_exp.json",
    "i_number_pos_double_huge_exp.json",
    "i_number_real_neg_overflow.json",
    "i_number_real_pos_overflow.json",
    "i_number_real_underflow.json",
    "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",
    "i_number_very_big_negative_int.json",
    "i_object_key_lone_2nd_surrogate.json",
    "i_string_1st_surrogate_but_2nd_missing.json",
    "i_string_1st_valid_surrogate_2nd_invalid.json",
    "i_string_incomplete_surrogate_and_escape_valid.json",
    "i_string_incomplete_surrogate_pair.json",
    "i_string_incomplete_surrogates_escape_valid.json",
    "i_string_invalid_lonely_surrogate.json",
    "i_string_invalid_surrogate.json",
    "i_string_inverted_surrogates_U+1D11E.json",
    "i_string_lone_second_surrogate.json",
    "i_structure_500_nested_arrays.json",
    "i_structure_UTF-8_BOM_empty_object.json",
};

static bool must_parse(const char *name)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++)
        if (strcmp(accepted[i], name) == 0)
            return true;
    return name[0] == 'y';
}

static void test_suite(void **state)
{
    (void)state;
    size_t n, files = 0;
    char *suite = load("suite.bin", &n);
    for (char *p = suite; p < suite + n;) {
        char name[128];
        size_t length;
        int used;
        assert_int_equal(sscanf(p, "%127s %zu%n", name, &length, &used), 2);
        p += used + 1;
        struct slm_json *doc;
        int code = parse(&doc, p, length);
        if ((code == SLM_OK) != must_parse(name))
            fail_msg("%s: %d %s", name, code, code ? slm_error_message() : "parsed");
        assert_true((doc != NULL) == (code == SLM_OK));
        slm_json_free(doc);
        p += length + 1;
        files++;
    }
    assert_int_equal(files, 316);
    free(suite);
}

/* Our reading of each file that must parse equals Python's. */
static void test_values(void **state)
{
    (void)state;
    size_t n_suite, n_expected, files = 0;
    char *suite = load("suite.bin", &n_suite), *expected = load("expected.txt", &n_expected);
    char *line = expected;
    for (char *p = suite; p < suite + n_suite;) {
        char name[128];
        size_t length;
        int used;
        assert_int_equal(sscanf(p, "%127s %zu%n", name, &length, &used), 2);
        p += used + 1;
        if (name[0] == 'y') {
            struct slm_json *doc;
            assert_int_equal(parse(&doc, p, length), SLM_OK);
            char *got = canonical_text(doc), *end = strchr(line, '\n');
            *end = '\0';
            assert_memory_equal(line, name, strlen(name));
            assert_string_equal(got, strchr(line, '\t') + 1);
            line = end + 1;
            free(got);
            slm_json_free(doc);
            files++;
        }
        p += length + 1;
    }
    assert_int_equal(files, 95);
    assert_int_equal(*line, 0);
    free(suite);
    free(expected);
}

/* -------------------------------------------------------------------------------- numbers --- */

static double read_number(const char *text)
{
    struct slm_json *doc;
    if (parse(&doc, text, strlen(text)) != SLM_OK)
        fail_msg("%s: %s", text, slm_error_message());
    double value = slm_json_number(doc, 0, -1);
    assert_string_equal(slm_json_number_text(doc, 0), text);
    slm_json_free(doc);
    return value;
}

static void write_number(char out[64], double value)
{
    struct slm_buf buf = {0};
    slm_json_write_number(&buf, value);
    assert_int_equal(slm_buf_ok(&buf), 0);
    assert_true(buf.length < 64);
    memcpy(out, buf.data, buf.length);
    out[buf.length] = '\0';
    slm_buf_free(&buf);
}

/* Digits between the first and the last that is not 0, without the exponent. */
static int significant_digits(const char *text)
{
    int digits = 0, up_to_last = 0;
    for (const char *p = text; *p && *p != 'e'; p++) {
        if (*p < '0' || *p > '9' || (digits == 0 && *p == '0'))
            continue;
        digits++;
        if (*p != '0')
            up_to_last = digits;
    }
    return up_to_last ? up_to_last : 1;
}

static void check_numbers(void)
{
    size_t n;
    char *file = load("numbers.txt", &n), *rest = NULL;
    int lines = 0;
    for (char *line = strtok_r(file, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char text[1024], again[64];
        unsigned long long bits;
        int digits;
        assert_int_equal(sscanf(line, "%1023s %llx %d", text, &bits, &digits), 3);
        double value = read_number(text);
        if (bits_of(value) != bits)
            fail_msg("%s reads as %016llx, not %016llx", text, (unsigned long long)bits_of(value),
                     bits);
        lines++;
        if (isinf(value))
            continue; /* JSON can't write it */
        write_number(again, value);
        assert_true(bits_of(read_number(again)) == bits);
        if (significant_digits(again) != digits)
            fail_msg("%s: written as %s, which is not the shortest", text, again);
    }
    assert_true(lines > 300);
    free(file);
}

static void test_numbers(void **state)
{
    (void)state;
    check_numbers();
    char text[64];
    write_number(text, INFINITY);
    assert_string_equal(text, "null");
    write_number(text, NAN);
    assert_string_equal(text, "null");
    write_number(text, 100);
    assert_string_equal(text, "100");
    write_number(text, -0.5);
    assert_string_equal(text, "-0.5");
    assert_true(isinf(read_number("1e999")));
    for (int i = 0; i < 100000; i++) { /* every kind of double survives */
        uint64_t bits = random_bits();
        double value;
        memcpy(&value, &bits, 8);
        if (!isfinite(value))
            continue;
        write_number(text, value);
        assert_true(bits_of(read_number(text)) == bits);
    }
}

/* A host that lives under a locale with a decimal comma gets the same numbers. */
static void test_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ps_AF.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < 4 && !found; i++)
        found = setlocale(LC_ALL, names[i]) != NULL;
    if (!found)
        skip(); /* none is installed here */
    char text[64];
    check_numbers();
    write_number(text, 0.5);
    assert_string_equal(text, "0.5");
    assert_true(
        read_number("0.500000000000000000000000000000000000000000000000000000000000000000000"
                    "0000000000000000000000000000000000000000000000000000000000000000000000"
                    "0") == 0.5);
    setlocale(LC_ALL, "C");
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"42", true, 42},
        {"-7", true, -7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999", false, 0},
        {"1.0", false, 0},
        {"1e2", false, 0},
        {"\"1\"", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slm_json *doc;
        int64_t value = 0;
        assert_int_equal(parse(&doc, cases[i].text, strlen(cases[i].text)), SLM_OK);
        assert_int_equal(slm_json_is_integer(doc, 0, &value), cases[i].is);
        if (cases[i].is)
            assert_true(value == cases[i].value);
        assert_int_equal(slm_json_is_integer(doc, 0, NULL), cases[i].is);
        slm_json_free(doc);
    }
}

/* --------------------------------------------------------------------------------- access --- */

static void test_access(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\": [1, {\"b\": null}], \"s\": \"x\\u0000y\", \"t\": true, \"a b\": 1.5, "
        "\"twice\": 1, \"twice\": 2, \"\": 3}";
    struct slm_json *doc;
    assert_int_equal(parse(&doc, text, sizeof text - 1), SLM_OK);
    size_t n;
    slm_json_node a = slm_json_get(doc, 0, "a");
    assert_int_equal(slm_json_type(doc, 0), JSON_OBJECT);
    assert_int_equal(slm_json_count(doc, 0), 7);
    assert_int_equal(slm_json_count(doc, a), 2);
    assert_true(slm_json_number(doc, slm_json_at(doc, a, 0), 0) == 1);
    assert_int_equal(slm_json_at(doc, a, 2), -1);
    slm_json_node b = slm_json_get(doc, slm_json_at(doc, a, 1), "b");
    assert_true(b > 0);
    assert_int_equal(slm_json_type(doc, b), JSON_NULL);
    assert_memory_equal(slm_json_string(doc, slm_json_get(doc, 0, "s"), &n), "x\0y", 4);
    assert_int_equal(n, 3);
    assert_string_equal(slm_json_key(doc, slm_json_get(doc, 0, "s"), &n), "s");
    assert_true(slm_json_bool(doc, slm_json_get(doc, 0, "t"), false));
    assert_true(slm_json_number(doc, slm_json_get(doc, 0, "a b"), 0) == 1.5);
    assert_true(slm_json_number(doc, slm_json_get(doc, 0, "twice"), 0) == 2);
    assert_true(slm_json_number(doc, slm_json_get(doc, 0, ""), 0) == 3);
    /* What is not there, and what is of another type, is answered and not crashed on. */
    slm_json_node none = slm_json_get(doc, 0, "absent");
    assert_int_equal(none, -1);
    assert_int_equal(slm_json_get(doc, none, "x"), -1);
    assert_int_equal(slm_json_get(doc, a, "x"), -1);
    assert_int_equal(slm_json_at(doc, 0, 0), -1);
    assert_int_equal(slm_json_type(doc, none), JSON_NULL);
    assert_int_equal(slm_json_first(doc, none), -1);
    assert_int_equal(slm_json_next(doc, none), -1);
    assert_int_equal(slm_json_count(doc, none), 0);
    assert_null(slm_json_string(doc, none, &n));
    assert_null(slm_json_string(doc, a, NULL));
    assert_null(slm_json_key(doc, none, NULL));
    assert_null(slm_json_number_text(doc, a));
    assert_true(slm_json_number(doc, a, 8) == 8);
    assert_true(slm_json_bool(doc, a, true));
    assert_false(slm_json_is_integer(doc, none, NULL));
    slm_json_free(doc);
    slm_json_free(NULL);
}

static void test_write_string(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        const char *written;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\""},
        {"\b\f\n\r\t\x01\x1f\x7f", 8, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\""},
        {"x\0y", 3, "\"x\\u0000y\""},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
        {"a\xFF\x62", 3, "\"a\xEF\xBF\xBD\x62\""},
        {"\xC3", 1, "\"\xEF\xBF\xBD\""},
        {"\xC0\x80", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},                 /* overlong */
        {"\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""}, /* surrogate */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slm_buf out = {0};
        slm_json_write_string(&out, cases[i].text, cases[i].n);
        slm_buf_byte(&out, 0);
        assert_string_equal((char *)out.data, cases[i].written);
        slm_buf_free(&out);
    }
}

/* --------------------------------------------------------------------------- errors, time --- */

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1, column 1: the text ends where a value should be"},
        {"[1,\n 2,\n x]", "line 3, column 2: a value should be here"},
        {"[\"\xC3\xA9\xC3\xA9\" 1]", "line 1, column 7: ',' or ']' should be here"},
        {"{\"a\" 1}", "line 1, column 6: ':' should be here"},
        {"{\"a\":1,}", "line 1, column 8: a member's name"},
        {"[1,]", "line 1, column 4: a value should be here"},
        {"{\"a\":1 \"b\"", "',' or '}' should be here"},
        {"\"abc", "line 1, column 5: the text ends inside a string"},
        {"\"a\nb\"", "control character"},
        {"\"\\x\"", "no such escape"},
        {"\"\\u12g4\"", "four hexadecimal digits"},
        {"\"\xFF\"", "not valid UTF-8"},
        {"012", "can't begin with 0"},
        {"1.", "decimal point"},
        {"1e", "exponent"},
        {"-", "a digit is missing"},
        {"nul", "a value should be here"},
        {"1 2", "line 1, column 3: something follows"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slm_json *doc;
        assert_int_equal(parse(&doc, cases[i].text, strlen(cases[i].text)), SLM_EFORMAT);
        assert_null(doc);
        if (!strstr(slm_error_message(), cases[i].message))
            fail_msg("%s: %s", cases[i].text, slm_error_message());
    }
}

static void test_depth(void **state)
{
    (void)state;
    size_t n = 10 * 1000 * 1000;
    char *text = malloc(n);
    struct slm_json *doc;
    for (size_t i = 0; i < 2 * SLM_LIMIT_JSON_DEPTH; i++)
        text[i] = i < SLM_LIMIT_JSON_DEPTH ? '[' : ']';
    assert_int_equal(parse(&doc, text, 2 * SLM_LIMIT_JSON_DEPTH), SLM_OK);
    slm_json_free(doc);
    memset(text, '[', n);
    assert_int_equal(parse(&doc, text, SLM_LIMIT_JSON_DEPTH + 1), SLM_ELIMIT);
    assert_int_equal(parse(&doc, text, 100000), SLM_ELIMIT); /* a file of the suite */
    assert_int_equal(parse(&doc, text, n), SLM_ELIMIT);
    for (size_t i = 0; i < 250000; i += 5) /* the other: [{"":[{"":... */
        memcpy(text + i, "[{\"\":", 5);
    assert_int_equal(parse(&doc, text, 250000), SLM_ELIMIT);
    free(text);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Seconds to read an array or object of n members with text of the given kind. */
static double time_of(size_t n, const char *format, char open, char close)
{
    struct slm_buf text = {0};
    slm_buf_byte(&text, (uint8_t)open);
    for (size_t i = 0; i < n; i++) {
        if (i)
            slm_buf_byte(&text, ',');
        slm_buf_format(&text, format, (int)i, (int)i);
    }
    slm_buf_byte(&text, (uint8_t)close);
    assert_int_equal(slm_buf_ok(&text), 0);
    struct slm_json *doc;
    double start = seconds();
    assert_int_equal(slm_json_parse(&doc, (char *)text.data, text.length, NULL), SLM_OK);
    double took = seconds() - start;
    assert_int_equal(slm_json_count(doc, 0), n);
    slm_json_free(doc);
    slm_buf_free(&text);
    return took;
}

/* Eight times the members take about eight times as long; quadratic would be 64. */
static void test_linear(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        char open, close;
    } cases[] = {{"%d", '[', ']'}, {"\"key %d\": %d", '{', '}'}, {"[\"a%d\",\"b%d\"]", '[', ']'}};
    for (size_t i = 0; i < 3; i++) {
        double small = time_of(50000, cases[i].format, cases[i].open, cases[i].close);
        double large = time_of(400000, cases[i].format, cases[i].open, cases[i].close);
        if (large > 0.05 && large > small * 32)
            fail_msg("50,000 members take %.4f s, 400,000 take %.4f s", small, large);
    }
}

/* --------------------------------------------------------------------------------- random --- */

static void random_space(struct slm_buf *out)
{
    while (random_below(4) == 0)
        slm_buf_byte(out, (uint8_t) " \n\r\t"[random_below(4)]);
}

/* A random string, escaped at random, and beside it in canonical form. */
static void random_string(struct slm_buf *text, struct slm_buf *expected)
{
    static const struct {
        const char *written, *canonical;
    } parts[] = {
        {"a", "a"},
        {"plain text ", "plain text "},
        {"\\n", "\\n"},
        {"\\u000A", "\\n"},
        {"\\\"", "\\\""},
        {"\\/", "/"},
        {"/", "/"},
        {"\\\\", "\\\\"},
        {"\\u00e9", "\xC3\xA9"},
        {"\xC3\xA9", "\xC3\xA9"},
        {"\\uD83D\\uDE00", "\xF0\x9F\x98\x80"},
        {"\\uD83D", "\xEF\xBF\xBD"},
        {"\\u0000", "\\u0000"},
        {"[{,:}]", "[{,:}]"},
    };
    slm_buf_byte(text, '"');
    slm_buf_byte(expected, '"');
    for (size_t n = random_below(6); n > 0; n--) {
        size_t i = random_below(sizeof parts / sizeof *parts);
        slm_buf_text(text, parts[i].written);
        slm_buf_text(expected, parts[i].canonical);
        if (i == 11) { /* half a pair must not meet its other half by chance */
            slm_buf_byte(text, '.');
            slm_buf_byte(expected, '.');
        }
    }
    slm_buf_byte(text, '"');
    slm_buf_byte(expected, '"');
}

static void random_value(struct slm_buf *text, struct slm_buf *expected, int depth)
{
    static const char *const words[] = {"null", "true", "false"};
    size_t kind = random_below(depth > 0 ? 6 : 4);
    random_space(text);
    if (kind == 0) {
        size_t i = random_below(3);
        slm_buf_text(text, words[i]);
        slm_buf_text(expected, words[i]);
    } else if (kind == 1) {
        double value = (double)(int64_t)random_bits() / (double)(1 + random_below(1000000));
        slm_buf_format(text, "%.17g", value);
        slm_buf_format(expected, "#%016llx", (unsigned long long)bits_of(value));
    } else if (kind < 4) {
        random_string(text, expected);
    } else {
        bool object = kind == 5;
        slm_buf_byte(text, object ? '{' : '[');
        slm_buf_byte(expected, object ? '{' : '[');
        random_space(text);
        for (size_t i = 0, n = random_below(5); i < n; i++) {
            if (i) {
                slm_buf_byte(text, ',');
                slm_buf_byte(expected, ',');
            }
            if (object) {
                random_space(text);
                random_string(text, expected);
                random_space(text);
                slm_buf_byte(text, ':');
                slm_buf_byte(expected, ':');
            }
            random_value(text, expected, depth - 1);
        }
        slm_buf_byte(text, object ? '}' : ']');
        slm_buf_byte(expected, object ? '}' : ']');
    }
    random_space(text);
}

/* Documents made at random read back as what they were made of; then every cut of them, and
 * a thousand damaged copies, give an error or a document whose canonical form is stable. */
static void test_random(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct slm_buf text = {0}, expected = {0};
        random_value(&text, &expected, 6);
        slm_buf_byte(&expected, 0);
        struct slm_json *doc;
        assert_int_equal(parse(&doc, (char *)text.data, text.length), SLM_OK);
        char *got = canonical_text(doc);
        assert_string_equal(got, (char *)expected.data);
        free(got);
        slm_json_free(doc);
        for (int i = 0; i < 20 && text.length > 0; i++) {
            size_t at = random_below(text.length);
            uint8_t kept = text.data[at];
            text.data[at] = random_below(2) ? (uint8_t)random_bits()
                                            : (uint8_t) "[]{},:\"\\0-.eu"[random_below(13)];
            size_t n = random_below(4) ? text.length : at;
            if (parse(&doc, (char *)text.data, n) == SLM_OK)
                free(canonical_text(doc));
            slm_json_free(doc);
            text.data[at] = kept;
        }
        slm_buf_free(&text);
        slm_buf_free(&expected);
    }
}

/* -------------------------------------------------------------------------------- memory --- */

struct counting {
    size_t calls, fail_at; /* the call of this number fails; 0: none */
    size_t live;           /* bytes */
};

static void *counting_alloc(void *user, size_t size, size_t align)
{
    struct counting *c = user;
    void *p = NULL;
    if (++c->calls == c->fail_at || posix_memalign(&p, align, size) != 0)
        return NULL;
    c->live += size;
    return p;
}

static void counting_free(void *user, void *p, size_t size)
{
    struct counting *c = user;
    c->live -= size;
    free(p);
}

static void test_allocation_failure(void **state)
{
    (void)state;
    static const char text[] = "[1,2,3,[4,5,{\"a\":6}],7,8,9,10,11,12,13,14,15,16,17,18,19,20]";
    for (size_t fail_at = 1;; fail_at++) {
        struct counting counter = {.fail_at = fail_at};
        slm_allocator a = {counting_alloc, counting_free, &counter};
        struct slm_json *doc;
        int code = slm_json_parse(&doc, text, sizeof text - 1, &a);
        if (code == SLM_OK) {
            assert_true(counter.calls < fail_at && fail_at > 4);
            assert_true(counter.live > 0);
            memset(&a, 0, sizeof a); /* the document has its own copy of the hooks */
        } else {
            assert_int_equal(code, SLM_ENOMEM);
            assert_null(doc);
        }
        slm_json_free(doc);
        assert_int_equal(counter.live, 0);
        if (code == SLM_OK)
            break;
    }
}

int main(void)
{
    const char *seed = getenv("SLM_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),        cmocka_unit_test(test_values),
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_locale),
        cmocka_unit_test(test_integers),     cmocka_unit_test(test_access),
        cmocka_unit_test(test_write_string), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_depth),        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_random),       cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
