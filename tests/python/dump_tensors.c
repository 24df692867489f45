/*
 * dump_tensors.c - every weight of a model as the library sees it, for comparison with another
 * reader.
 *
 *     dump_tensors MODEL.slm > weights
 *
 * For each tensor a line "role layer type rows cols" and then rows * cols little-endian f32.
 */
#include <slm/slm.h>

#include <stdio.h>
#include <stdlib.h>

static int failed(const char *what)
{
    fprintf(stderr, "dump_tensors: %s: %s\n", what, slm_last_error());
    return 1;
}

static int dump(const slm_model *model, size_t i, const slm_tensor_info *info)
{
    float *row = malloc((size_t)info->cols * sizeof *row);
    int code = row ? SLM_OK : SLM_ENOMEM;
    int layer = info->rope >= 0 ? info->rope : info->layer;
    printf("%s %d %s %d %d\n", info->role, layer, info->type, (int)info->rows,
           (int)info->cols);
    for (int32_t r = 0; code == SLM_OK && r < info->rows; r++) {
        code = slm_model_tensor_row(model, i, (size_t)r, row);
        if (code == SLM_OK)
            fwrite(row, sizeof *row, (size_t)info->cols, stdout);
    }
    free(row);
    return code;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: dump_tensors MODEL.slm\n");
        return 2;
    }
    slm_model *model;
    if (slm_model_open(&model, argv[1], NULL) != SLM_OK)
        return failed(argv[1]);
    int code = SLM_OK;
    slm_tensor_info info = {.size = sizeof info};
    for (size_t i = 0; code == SLM_OK && slm_model_tensor(model, i, &info) == SLM_OK; i++)
        code = dump(model, i, &info);
    slm_model_unref(model);
    return code == SLM_OK && fflush(stdout) == 0 && !ferror(stdout) ? 0 : failed("a tensor");
}
