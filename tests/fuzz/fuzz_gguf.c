/*
 * fuzz_gguf.c - any bytes as a GGUF file. What the reader accepts is used as the importers do: all
 * keys, the configuration, and the values of the first blocks of each tensor.
 */
#include "base/bits.h"
#include "convert/config.h"
#include "source/gguf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that no read is optimised away */

static void walk_keys(const struct slm_gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_keys; i++) {
        const struct slm_gguf_key *key = &gguf->keys[i];
        for (uint64_t k = 0; k < key->count && k < 100; k++)
            sink += (uint64_t)slm_gguf_integer_at(key, k) + (slm_gguf_number_at(key, k) > 0);
        struct slm_gguf_strings strings = slm_gguf_strings(key);
        const char *text;
        size_t n;
        while (slm_gguf_next(&strings, &text, &n))
            for (size_t k = 0; k < n; k++)
                sink += (uint8_t)text[k];
    }
}

static void walk_tensors(const struct slm_gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct slm_source_tensor *t = &gguf->tensors[i];
        const struct slm_source_type *type = slm_source_type(t->type);
        for (uint64_t k = 0; k < t->length; k += 64)
            sink += t->data[k];
        float values[256];
        if (type->decode && t->length) {
            type->decode(t->data, 1, values); /* at least one block: no dimension is 0 */
            sink += slm_bits_of(values[0]);
        }
        if (type->transfer) {
            struct slm_block block;
            type->transfer(t->data + t->length - type->bytes, type->values / 32 - 1, &block);
            sink += block.scale;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slm_gguf *gguf;
    if (slm_gguf_open(&gguf, data, size, NULL) != SLM_OK)
        return 0;
    walk_keys(gguf);
    walk_tensors(gguf);
    struct slm_config *config = calloc(1, sizeof *config);
    if (config && slm_config_from_gguf(config, gguf) == SLM_OK &&
        slm_config_finish(config) == SLM_OK)
        sink += config->layers[config->n_layers - 1].head_dim;
    if (config)
        slm_config_free(config);
    free(config);
    slm_gguf_free(gguf);
    return 0;
}
