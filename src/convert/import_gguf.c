/* import_gguf.c - a GGUF file as struct slm_import: keys to configuration, tensors as they are. */
#include "base/bits.h"
#include "convert/import.h"
#include "source/quote.h"

#include <math.h>
#include <stdio.h>

/* A vector of divisors, one a pair of dimensions, into *divisors; or nothing. */
static int read_divisors(struct slm_import *import, const char *name, struct slm_buf *buf,
                         const float **divisors)
{
    const struct slm_config *config = &import->config;
    const struct slm_source_tensor *t = slm_source_take(&import->source, name);
    if (!t)
        return SLM_OK;
    uint32_t head_dim = config->head_dim ? config->head_dim : config->dim / config->n_heads;
    uint32_t pairs = (config->rope.dims ? config->rope.dims : head_dim) / 2;
    if (t->type != SLM_SOURCE_F32 || t->n_dims != 1 || t->shape[0] != pairs)
        return slm_fail(SLM_EFORMAT, "tensor '%s' is not a vector of %u F32", name,
                        (unsigned)pairs);
    buf->allocator = import->allocator;
    float *out = slm_buf_grow(buf, pairs * sizeof *out);
    if (!out)
        return SLM_ENOMEM;
    for (uint32_t i = 0; i < pairs; i++) {
        out[i] = slm_load_f32(t->data + 4 * i);
        if (!isfinite(out[i]) || out[i] <= 0)
            return slm_fail(SLM_EFORMAT, "tensor '%s': element %u is %g", name, (unsigned)i,
                            (double)out[i]);
    }
    *divisors = out;
    return SLM_OK;
}

/* Llama 3 models carry their RoPE scaling as a table of divisors, longrope as two. */
static int rope_divisors(struct slm_import *import)
{
    struct slm_rope_config *rope = &import->config.rope;
    int err = read_divisors(import, "rope_freqs.weight", &import->divisors[0], &rope->divisors);
    if (err || !slm_source_find(&import->source, "rope_factors_long.weight"))
        return err;
    rope->kind = SLM_ROPE_KIND_LONG;
    import->divisors[0].length = 0;
    err = read_divisors(import, "rope_factors_short.weight", &import->divisors[0], &rope->divisors);
    return err ? err
               : read_divisors(import, "rope_factors_long.weight", &import->divisors[1],
                               &rope->long_divisors);
}

/* A key of another type than text is not worth an error here. */
void slm_import_gguf_texts(struct slm_import *import)
{
    const struct slm_gguf *gguf = import->files[0].gguf;
    static const char *const pairs[][2] = {
        {"name", "general.name"},
        {"author", "general.author"},
        {"organization", "general.organization"},
        {"license", "general.license"},
        {"url", "general.url"},
        {"description", "general.description"},
    };
    const char *text;
    size_t n;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (slm_gguf_text(gguf, pairs[i][1], &text, &n) == 1)
            slm_import_metadata(import, pairs[i][0], text, n);
    if (slm_gguf_text(gguf, "tokenizer.chat_template", &text, &n) == 1)
        slm_import_template(import, text, n);
    char format[32];
    int length = snprintf(format, sizeof format, "GGUF v%u", (unsigned)gguf->version);
    slm_import_metadata(import, "source_format", format, (size_t)length);
}

int slm_import_gguf(struct slm_import *import)
{
    struct slm_import_file *file;
    int err = slm_import_files(import, 1);
    if (err || (err = slm_import_map(import, NULL, &file)))
        return err;
    import->names.gguf = true;
    err = slm_gguf_open(&file->gguf, file->map.data, (size_t)file->map.length, import->allocator);
    if (!err)
        err = slm_config_from_gguf(&import->config, file->gguf);
    if (!err)
        err = slm_source_add(&import->source, file->gguf->tensors, file->gguf->n_tensors);
    if (!err)
        err = slm_source_close(&import->source);
    if (!err && slm_source_count(&import->source) == 0)
        err = slm_fail(SLM_EUNSUPPORTED, "this GGUF holds a vocabulary only, no weights; slm convert "
                       "--vocabulary takes that");
    if (!err)
        err = rope_divisors(import);
    if (!err)
        err = slm_import_finish(import);
    if (err)
        return slm_fail_in(err, "%s", import->path);
    slm_import_gguf_texts(import);
    return SLM_OK;
}
