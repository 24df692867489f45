#include <slm/slm.h>
#include <stdio.h>
#include <string.h>

static int print(void *user, const slm_piece *piece)
{
    (void)user;
    fwrite(piece->text, 1, piece->n, stdout);
    return fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *prompt = argc > 2 ? argv[2] : "Once upon a time";
    slm_model *model = NULL;
    slm_ctx *ctx = NULL;
    slm_seq *seq = NULL;
    slm_token tokens[512];
    slm_generate_options options = {.size = sizeof options, .max_tokens = 100};

    int rc = slm_model_open(&model, argc > 1 ? argv[1] : "model.slm", NULL);
    if (rc == 0)
        rc = slm_ctx_new(&ctx, model, NULL);
    if (rc == 0)
        rc = slm_seq_new(&seq, ctx);
    if (rc == 0) {
        int64_t n = slm_tokenize(model, prompt, strlen(prompt), SLM_TEXT_ADD_SPECIAL, tokens, 512);
        rc = n > 512 ? SLM_ELIMIT : (int)n;
    }
    if (rc >= 0)
        rc = slm_generate(seq, NULL, tokens, (size_t)rc, &options, print, NULL);
    puts("");
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", slm_strerror(rc), slm_last_error());
    slm_seq_free(seq);
    slm_ctx_free(ctx);
    slm_model_unref(model);
    return rc < 0;
}
