/*
 * import_vocabulary.c - a tokenizer and its chat template without a model: what text can be counted,
 * cut and rendered with while the weights are elsewhere.
 */
#include "base/bits.h"
#include "convert/import.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Weights may be there, of any architecture: nobody looks at them. */
static int import_gguf(struct slm_import *import, struct slm_import_file *file)
{
    int err = slm_gguf_open(&file->gguf, file->map.data, (size_t)file->map.length, import->allocator);
    if (err)
        return slm_fail_in(err, "%s", import->path);
    slm_import_gguf_texts(import);
    return SLM_OK;
}

/* A checkpoint: how many tokens the file beside it has stands in its header, perhaps with a minus.
 */
static int import_llama2c(struct slm_import *import, const struct slm_import_file *file)
{
    int32_t n = (int32_t)slm_load_u32((const uint8_t *)file->map.data + 20);
    import->config.n_vocab = (uint32_t)(n < 0 ? -n : n);
    return SLM_OK;
}

/* Files that belong to a whole folder, by their names. */
static bool is_of_folder(const char *name)
{
    const char *one;
    for (size_t i = 0; (one = slm_import_tokenizer_name(i)); i++)
        if (strcmp(name, one) == 0)
            return true;
    return false;
}

/* A tokenizer's file; slm_import_tokenizer() finds out which. */
static int import_tokenizer(struct slm_import *import)
{
    const char *slash = strrchr(import->path, '/');
    if (!import->tokenizer_path)
        import->tokenizer_path = import->path;
    import->directory = is_of_folder(slash ? slash + 1 : import->path);
    if (!import->directory)
        return SLM_OK;
    if (slash)
        slm_buf_append(&import->folder, import->path, (size_t)(slash + 1 - import->path));
    else
        slm_buf_text(&import->folder, ".");
    slm_buf_byte(&import->folder, 0);
    return slm_buf_ok(&import->folder);
}

static int import_file(struct slm_import *import)
{
    struct slm_import_file *file;
    int err = slm_import_files(import, 1);
    if (err || (err = slm_import_map(import, NULL, &file)))
        return err;
    size_t n = (size_t)file->map.length;
    if (n >= 4 && memcmp(file->map.data, "GGUF", 4) == 0)
        return import_gguf(import, file);
    if (slm_import_is_llama2c(file->map.data, n))
        return import_llama2c(import, file);
    return import_tokenizer(import);
}

int slm_import_vocabulary(struct slm_import *import)
{
    struct stat info;
    if (stat(import->path, &info) != 0)
        return slm_fail(SLM_EIO, "%s: %s", import->path, strerror(errno));
    import->directory = S_ISDIR(info.st_mode);
    int err = import->directory ? SLM_OK : import_file(import);
    if (err || !import->directory)
        return err;
    slm_import_name(import);
    return slm_import_template_file(import);
}
