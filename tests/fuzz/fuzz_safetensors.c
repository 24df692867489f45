/*
 * fuzz_safetensors.c - any bytes as a safetensors file, and as a config.json.
 */
#include "convert/config.h"
#include "source/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that no read is optimised away */

static void as_config(const uint8_t *data, size_t size)
{
    struct slm_json *json;
    if (slm_json_parse(&json, (const char *)data, size, NULL) != SLM_OK)
        return;
    struct slm_config *config = calloc(1, sizeof *config);
    if (config && slm_config_from_json(config, json) == SLM_OK &&
        slm_config_finish(config) == SLM_OK)
        sink += config->layers[config->n_layers - 1].head_dim;
    if (config)
        slm_config_free(config);
    free(config);
    slm_json_free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slm_safetensors *file;
    if (slm_safetensors_open(&file, data, size, NULL) == SLM_OK) {
        for (size_t i = 0; i < file->n_tensors; i++) {
            const struct slm_source_tensor *t = &file->tensors[i];
            for (uint64_t k = 0; k < t->length; k++)
                sink += t->data[k];
            for (size_t k = 0; k < t->name_length; k++)
                sink += (uint8_t)t->name[k];
        }
        slm_safetensors_free(file);
    }
    as_config(data, size);
    return 0;
}
