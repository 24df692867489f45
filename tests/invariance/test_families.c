/*
 * test_families.c - every family's tiny model gives the same bits, whatever the CPU tier, the
 * number of threads, the way in which a text is cut, and what is evaluated beside it.
 *
 * As test_model.c, but on the models of tests/data/golden, converted to 8 bits: each trait that a
 * family needs is there, with the text that PyTorch has seen.
 */
#include "golden/golden.h"
#include "run/run.h"
#include "support/evaluate.h"

#include <dirent.h>

enum { N_MODELS = 50, LONGEST = 200 };

struct subject {
    slm_model *model;
    struct golden golden;
    float *truth; /* [n][n_vocab] */
};

static void compare_way(const struct subject *s, struct way way, const char *what)
{
    float *logits = text_logits(s->model, &way, s->golden.ids, s->golden.n);
    same_logits(logits, s->truth, s->golden.n, s->golden.n_vocab, what);
    free(logits);
}

static void every_way(const struct subject *s)
{
    for (uint32_t tier = 1; tier <= slm_cpu_tiers(); tier <<= 1) {
        if (!(slm_cpu_tiers() & tier))
            continue;
        compare_way(s, (struct way){.cpu = tier, .threads = 1}, slm_cpu_tier_name(tier));
        compare_way(s, (struct way){.cpu = tier, .threads = 3}, "3 threads");
    }
    compare_way(s, (struct way){.chunk = 1}, "token by token");
    compare_way(s, (struct way){.chunk = 7, .threads = 2}, "7 tokens at a time, 2 threads");
    compare_way(s, (struct way){.first = 31, .chunk = 2}, "31 tokens, then 2 at a time");
    compare_way(s, (struct way){.max_batch = 5}, "batches of 5");
    compare_way(s, (struct way){.max_batch = 1, .threads = 2}, "batches of 1, 2 threads");
}

/* Two sequences in one call: the text, and the text from its second token on. */
static void side_by_side(const struct subject *s)
{
    size_t n = s->golden.n, n_vocab = s->golden.n_vocab, half = n / 2;
    struct way way = {.max_batch = 16};
    slm_ctx *ctx = make_context(s->model, &way, 2 * n, 2);
    slm_seq *text, *other;
    must(slm_seq_new(&text, ctx));
    must(slm_seq_new(&other, ctx));
    for (size_t at = 0; at < n; at += half) {
        size_t count = half < n - at ? half : n - at;
        slm_span spans[] = {
            {sizeof *spans, other, s->golden.ids + (at ? at : 1), count - !at, 0},
            {sizeof *spans, text, s->golden.ids + at, count, count},
        };
        must(slm_eval(ctx, spans, 2));
        for (size_t i = 0; i < count; i++)
            same_logits(slm_logits(ctx, 1, i), s->truth + (at + i) * n_vocab, 1, n_vocab,
                        "beside another text");
    }
    slm_seq_free(text);
    slm_seq_free(other);
    slm_ctx_free(ctx);
}

/* The text in many sequences at once, which threads take apart; every other one has become a fork.
 */
static void many_together(const struct subject *s, int32_t threads, int32_t kv_type)
{
    enum { TEXTS = 9, CHUNK = 11 };
    size_t n = s->golden.n, n_vocab = s->golden.n_vocab;
    struct way way = {.max_batch = TEXTS * CHUNK, .threads = threads, .kv_type = kv_type};
    struct way alone = {.cpu = SLM_CPU_C, .threads = 1, .kv_type = kv_type};
    float *truth = text_logits(s->model, &alone, s->golden.ids, n);
    slm_ctx *ctx = make_context(s->model, &way, TEXTS * (n + SLM_PAGE), TEXTS);
    slm_seq *seqs[TEXTS];
    for (int i = 0; i < TEXTS; i++)
        must(slm_seq_new(&seqs[i], ctx));
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t count = CHUNK < n - at ? CHUNK : n - at;
        slm_span spans[TEXTS];
        for (int i = 0; i < TEXTS; i++) {
            if (at == CHUNK && i % 2) {
                slm_seq_free(seqs[i]);
                must(slm_seq_fork(&seqs[i], seqs[i - 1]));
            }
            spans[i] = (slm_span){sizeof *spans, seqs[i], s->golden.ids + at, count, count};
        }
        must(slm_eval(ctx, spans, TEXTS));
        if (count == CHUNK)
            assert_int_equal(ctx->fwd.is_apart, ctx->fwd.most_experts == 0);
        for (size_t i = 0; i < TEXTS * count; i++)
            same_logits(slm_logits(ctx, i / count, i % count), truth + (at + i % count) * n_vocab,
                        1, n_vocab, "one of many");
    }
    for (int i = 0; i < TEXTS; i++)
        slm_seq_free(seqs[i]);
    slm_ctx_free(ctx);
    free(truth);
}

/* The context of two texts is twice as large, which models with two RoPE tables notice. */
static bool depends_on_context(const char *name)
{
    return strstr(name, "phi3-short") != NULL;
}

static void check_model(const char *name)
{
    char folder[300], in[PATH_SIZE];
    const char *out = temporary_path("model.slm");
    struct subject s;
    snprintf(folder, sizeof folder, "golden/%s", name);
    data_path(in, folder, "");
    convert(in, out, "q8");
    must(slm_model_open(&s.model, out, NULL));
    golden_load(&s.golden, folder, "ids.txt", "logits.f32", vocab_of(s.model), 0);
    if (s.golden.n <= LONGEST) {
        struct way way = {.cpu = SLM_CPU_C, .threads = 1};
        s.truth = text_logits(s.model, &way, s.golden.ids, s.golden.n);
        every_way(&s);
        if (!depends_on_context(name)) {
            side_by_side(&s);
            many_together(&s, 2, SLM_KV_Q8);
            many_together(&s, 3, SLM_KV_F16);
        }
        free(s.truth);
    }
    golden_free(&s.golden);
    slm_model_unref(s.model);
}

static void all_models(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    data_path(path, "golden", "");
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort), models = 0;
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            print_message("%s\n", names[i]->d_name);
            check_model(names[i]->d_name);
            models++;
        }
        free(names[i]);
    }
    free(names);
    assert_true(models >= N_MODELS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
