/* import.c - what the importers share; see import.h. */
#include "convert/import.h"

#include "base/utf8.h"
#include "format/format.h"
#include "source/quote.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

void slm_import_free(struct slm_import *import)
{
    for (size_t i = 0; i < import->n_files; i++) {
        slm_gguf_free(import->files[i].gguf);
        slm_safetensors_free(import->files[i].safetensors);
        slm_unmap(&import->files[i].map);
    }
    slm_free(import->allocator, import->files, import->files_capacity * sizeof *import->files);
    slm_json_free(import->json);
    slm_config_free(&import->config);
    slm_source_free(&import->source);
    slm_buf_free(&import->texts);
    slm_buf_free(&import->folder);
    slm_buf_free(&import->divisors[0]);
    slm_buf_free(&import->divisors[1]);
    slm_buf_free(&import->chat_template);
    slm_buf_free(&import->metadata);
}

/* -------------------------------------------------------------------------- files --- */

int slm_import_join(struct slm_buf *out, const char *directory, const char *name)
{
    size_t n = strlen(directory);
    slm_buf_text(out, directory);
    if (n && directory[n - 1] != '/')
        slm_buf_byte(out, '/');
    slm_buf_text(out, name);
    slm_buf_byte(out, 0);
    return slm_buf_ok(out);
}

bool slm_import_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

int slm_import_files(struct slm_import *import, size_t n)
{
    import->files = slm_calloc(import->allocator, n * sizeof *import->files);
    if (!import->files)
        return SLM_ENOMEM;
    import->files_capacity = n;
    return SLM_OK;
}

int slm_import_map(struct slm_import *import, const char *name, struct slm_import_file **file)
{
    *file = &import->files[import->n_files];
    struct slm_buf path = {.allocator = import->allocator};
    int err = name ? slm_import_join(&path, import->path, name) : SLM_OK;
    if (!err)
        err = slm_map_path(&(*file)->map, name ? (const char *)path.data : import->path, false,
                           import->allocator);
    slm_buf_free(&path);
    if (!err)
        import->n_files++;
    return err;
}

/* A missing file is an answer; one that can't be read is an error. */
int slm_import_read(struct slm_import *import, const char *name, struct slm_mapping *map)
{
    struct slm_buf path = {.allocator = import->allocator};
    struct stat info;
    memset(map, 0, sizeof *map);
    const char *folder = import->folder.data ? (const char *)import->folder.data : import->path;
    int err = slm_import_join(&path, folder, name);
    if (!err && stat((const char *)path.data, &info) != 0 && errno == ENOENT) {
        slm_buf_free(&path);
        return 0;
    }
    if (!err)
        err = slm_map_path(map, (const char *)path.data, false, import->allocator);
    slm_buf_free(&path);
    return err ? err : 1;
}

/* -------------------------------------------------------------------------- texts --- */

void slm_import_warn(const struct slm_import *import, const char *format, ...)
{
    if (!import->log)
        return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    import->log(import->log_user, SLM_LOG_WARNING, line);
}

void slm_import_metadata(struct slm_import *import, const char *key, const char *value, size_t n)
{
    const char *nul = n ? memchr(value, 0, n) : NULL;
    if (nul) /* a NUL would end the value: cut there */
        n = (size_t)(nul - value);
    if (n == 0 || n > SLM_LIMIT_METADATA_TEXT)
        return;
    import->metadata.allocator = import->allocator;
    slm_buf_text(&import->metadata, key);
    slm_buf_byte(&import->metadata, 0);
    slm_buf_append(&import->metadata, value, n);
    slm_buf_byte(&import->metadata, 0);
}

/* The last one given counts. */
void slm_import_template(struct slm_import *import, const char *text, size_t n)
{
    uint32_t c;
    size_t at = 0, step = 1;
    while (at < n && (step = slm_utf8_decode(text + at, n - at, &c)))
        at += step;
    if (step == 0 || n > SLM_LIMIT_TEMPLATE) {
        slm_import_warn(import, "the chat template is left out: it is %s",
                        step == 0 ? "not valid UTF-8" : "too long");
        return;
    }
    import->chat_template.allocator = import->allocator;
    import->chat_template.length = 0;
    slm_buf_append(&import->chat_template, text, n);
}

/* --------------------------------------------------------------------- completion --- */

/* Whether the first layer, or the model, has a tensor of the family's table, or its bias. */
static bool has(const struct slm_import *import, const struct slm_family_tensor *t, bool bias)
{
    char name[SLM_FAMILY_NAME];
    slm_family_name(&import->names, t, 0, 0, bias, name);
    return slm_source_find(&import->source, name) != NULL;
}

/* Parts that the configuration does not tell: a model has them when it has all of their tensors. */
static void parts_from_tensors(struct slm_import *import, uint32_t unknown)
{
    uint32_t seen = 0, missing = 0;
    const struct slm_family_tensor *t = import->config.family->tensors;
    for (; t->role; t++) {
        bool there = has(import, t, false);
        *(there ? &seen : &missing) |= t->part;
        if (there)
            *(has(import, t, true) ? &seen : &missing) |= t->bias;
    }
    import->config.parts |= seen & ~missing & unknown;
}

/* Rows of a tensor of the model; 0: it has none. */
static uint32_t rows_of(const struct slm_import *import, uint32_t role)
{
    for (const struct slm_family_tensor *t = import->config.family->tensors; t->role; t++) {
        char name[SLM_FAMILY_NAME];
        if (t->role != role)
            continue;
        slm_family_name(&import->names, t, 0, 0, false, name);
        const struct slm_source_tensor *tensor = slm_source_find(&import->source, name);
        if (tensor && tensor->n_dims == 2 && tensor->shape[0] <= SLM_LIMIT_SCORES)
            return (uint32_t)tensor->shape[0];
    }
    return 0;
}

/* How many scores there are is seen at the tensor alone; in GGUF, types of tokens too. */
static void counts_from_tensors(struct slm_import *import)
{
    struct slm_config *config = &import->config;
    config->n_scores = rows_of(import, SLM_ROLE_SCORE);
    if (!import->names.gguf)
        return;
    config->n_token_types = rows_of(import, SLM_ROLE_TOKEN_TYPE_EMBEDDING);
    if (config->n_token_types == 0)
        config->parts &= ~(uint32_t)SLM_PART_TOKEN_TYPES;
}

/* Rows of the embedding, where the configuration does not know the vocabulary. */
static int vocab_from_tensors(struct slm_import *import)
{
    char name[SLM_FAMILY_NAME];
    slm_family_name(&import->names, slm_family_tensor_of(import->config.family, SLM_ROLE_EMBEDDING),
                    0, 0, false, name);
    const struct slm_source_tensor *embedding = slm_source_find(&import->source, name);
    if (!embedding)
        return slm_fail(SLM_EFORMAT, "tensor '%s' is missing", name);
    if (embedding->shape[0] > SLM_LIMIT_VOCAB)
        return slm_fail(SLM_ELIMIT, "a vocabulary of more than %d tokens", SLM_LIMIT_VOCAB);
    import->config.n_vocab = (uint32_t)embedding->shape[0];
    return SLM_OK;
}

/* Files of a base model, and old ones, leave out "model." or "transformer.". */
static void find_prefix(struct slm_import *import)
{
    const struct slm_family_tensor *t =
        slm_family_tensor_of(import->config.family, SLM_ROLE_EMBEDDING);
    bool there = has(import, t, false);
    import->names.bare = true;
    import->names.bare = !there && has(import, t, false);
}

/* llama.cpp's converter has an option that joins q, k and v, and it has left them as they were in
 * the source at one time or another; so files of any family have them either way. */
static void find_fused(struct slm_import *import)
{
    import->names.fused_qkv = slm_source_find(&import->source, "blk.0.attn_qkv.weight");
    import->names.fused_gate = !slm_source_find(&import->source, "blk.0.ffn_gate.weight");
}

int slm_import_finish(struct slm_import *import)
{
    import->names.family = import->config.family;
    if (import->names.gguf) {
        find_fused(import);
        parts_from_tensors(import, SLM_PARTS_OF_TENSORS);
    } else {
        find_prefix(import);
    }
    if (import->config.head_not_said)
        parts_from_tensors(import, SLM_PART_HEAD);
    counts_from_tensors(import);
    int err = import->config.n_vocab ? SLM_OK : vocab_from_tensors(import);
    return err ? err : slm_config_finish(&import->config);
}
