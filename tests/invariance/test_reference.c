/*
 * test_reference.c - the decoder against a naive transformer in double precision.
 *
 * With float weights and f32 keys and values the two differ by rounding alone. With integer weights
 * the library rounds activations to 8 bits: then only the direction of the logits is compared.
 */
#include "support/evaluate.h"
#include "support/reference.h"

#include "base/os.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LENGTH = 300, MAX_TESTS = 32 };

struct comparison {
    double error;  /* largest difference, relative to the largest logit of its row */
    double cosine; /* smallest cosine of the angle between two rows */
};

static struct comparison compare(const struct tiny_model *tiny)
{
    slm_model *model = open_tiny(tiny);
    struct slm_mapping map;
    struct slm_file file;
    must(slm_map_path(&map, tiny_model_path(tiny), true, NULL));
    must(slm_file_parse(&file, map.data, map.length));

    size_t n_vocab = vocab_of(model);
    slm_token *text = make_text(tiny, LENGTH, 5);
    struct way way = {.kv_type = SLM_KV_F32, .threads = 2};
    float *logits = text_logits(model, &way, text, LENGTH);
    double *expected = reference_logits(&file, text, LENGTH);
    struct comparison result = {0, 1};
    for (size_t i = 0; i < LENGTH; i++) {
        double largest = 0, error = 0, dot = 0, a = 0, b = 0;
        for (size_t j = 0; j < n_vocab; j++) {
            double x = logits[i * n_vocab + j], y = expected[i * n_vocab + j];
            largest = fmax(largest, fabs(y));
            error = fmax(error, fabs(x - y));
            dot += x * y;
            a += x * x;
            b += y * y;
        }
        result.error = fmax(result.error, error / largest);
        result.cosine = fmin(result.cosine, dot / sqrt(a * b));
    }
    free(logits);
    free(expected);
    free(text);
    slm_unmap(&map);
    slm_model_unref(model);
    return result;
}

/* The same model with every matrix in f32. */
static void in_floats(void **state)
{
    const struct tiny_model *tiny = *state;
    struct tiny_model floats = *tiny;
    char name[64];
    snprintf(name, sizeof name, "%s-f32", tiny->name);
    floats.name = name;
    floats.types[0] = SLM_TYPE_F32;
    floats.n_types = 1;
    struct comparison c = compare(&floats);
    if (!(c.error < 1e-5))
        fail_msg("logits are off by %g of the largest", c.error);
}

static void as_it_is(void **state)
{
    struct comparison c = compare(*state);
    if (!(c.cosine > 0.995))
        fail_msg("the cosine between logits and reference falls to %g", c.cosine);
}

int main(void)
{
    static struct CMUnitTest tests[MAX_TESTS];
    static char names[MAX_TESTS][64];
    size_t n = 0;
    for (const struct tiny_model *m = tiny_models; m->name; m++, n += 2) {
        snprintf(names[n], sizeof names[n], "%s in f32", m->name);
        snprintf(names[n + 1], sizeof names[n], "%s with its own types", m->name);
        tests[n] = (struct CMUnitTest){names[n], in_floats, NULL, NULL, (void *)(uintptr_t)m};
        tests[n + 1] =
            (struct CMUnitTest){names[n + 1], as_it_is, NULL, NULL, (void *)(uintptr_t)m};
    }
    return _cmocka_run_group_tests("reference", tests, n, NULL, NULL);
}
