/*
 * fuzz_format.c - any bytes as a .slm file.
 *
 * Checksums would stop nearly every mutation at the door, so they are put right first (in a copy,
 * within its bounds); the bytes as they came are parsed too. What the
 * reader accepts is then walked as the rest of the library does: metadata, lookups, one row of
 * every tensor.
 */
#include "base/bits.h"
#include "base/limits.h"
#include "format/format.h"
#include "quant/quant.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Make length and checksums right as far as the directory allows. */
static void repair(uint8_t *data, size_t size)
{
    struct slm_file_header *header = (void *)data;
    if (size < sizeof *header)
        return;
    struct slm_section_entry *entries = (void *)(header + 1);
    memcpy(header->magic, SLM_FILE_MAGIC, 8);
    header->length = size;
    if (header->n_sections > SLM_LIMIT_SECTIONS ||
        header->n_sections * sizeof *entries > size - sizeof *header)
        return;
    for (uint32_t i = 0; i < header->n_sections; i++) {
        struct slm_section_entry *e = &entries[i];
        if (e->offset <= size && e->length <= size - e->offset)
            e->hash =
                e->kind == SLM_SECTION_DATA ? 0 : slm_hash64(data + e->offset, (size_t)e->length);
    }
    header->directory_hash = 0;
    header->directory_hash =
        slm_hash64(data, sizeof *header + header->n_sections * sizeof *entries);
}

static volatile size_t sink; /* so that no read is optimised away */

static void walk(const struct slm_file *file)
{
    const char *key, *value;
    for (uint32_t i = 0; slm_file_metadata(file, i, &key, &value); i++)
        sink += strlen(key) + strlen(value);
    for (uint64_t i = 0; i < file->chat_template_length; i++)
        sink += (size_t)file->chat_template[i];
    for (uint64_t i = 0; i < file->tokenizer_length; i++)
        sink += file->tokenizer[i];
    for (uint32_t role = 0; role < SLM_N_ROLES; role++)
        sink += slm_file_tensor(file, role, 0) != NULL;
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        const struct slm_tensor_entry *t = &file->tensors[i];
        float *row = malloc((size_t)t->cols * sizeof *row);
        if (row && slm_role_info(t->role)->matrix) {
            slm_quant_row(slm_quant(t->type), file->data + t->offset, t->rows - 1, t->cols, row);
            sink += slm_bits_of(row[t->cols - 1]);
        }
        free(row);
    }
    slm_file_verify(file, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slm_file file;
    void *copy = NULL;
    if (posix_memalign(&copy, SLM_FILE_ALIGN, size ? size : 1) != 0)
        return 0;
    if (size)
        memcpy(copy, data, size);
    if (slm_file_parse(&file, copy, size) == SLM_OK)
        walk(&file);
    repair(copy, size);
    if (slm_file_parse(&file, copy, size) == SLM_OK)
        walk(&file);
    free(copy);
    return 0;
}
