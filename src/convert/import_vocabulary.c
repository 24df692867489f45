/*
 * import_vocabulary.c - a tokenizer and its chat template without a model: what text can be counted,
 * cut and rendered with while the weights are elsewhere.
 */
#include "convert/import.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Weights may be there, of any architecture: nobody looks at them. */
static int import_gguf(struct slm_import *import)
{
    struct slm_import_file *file = &import->files[0];
    int err = slm_gguf_open(&file->gguf, file->map.data, (size_t)file->map.length, import->allocator);
    if (!err)
        slm_import_gguf_texts(import);
    return err;
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
static int import_file(struct slm_import *import)
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

int slm_import_vocabulary(struct slm_import *import)
{
    struct stat info;
    if (stat(import->path, &info) != 0)
        return slm_fail(SLM_EIO, "%s: %s", import->path, strerror(errno));
    int err = SLM_OK;
    if (S_ISDIR(info.st_mode)) {
        import->directory = true;
    } else {
        struct slm_import_file *file;
        err = slm_import_files(import, 1);
        if (!err)
            err = slm_import_map(import, NULL, &file);
        if (!err && file->map.length >= 4 && memcmp(file->map.data, "GGUF", 4) == 0)
            err = import_gguf(import);
        else if (!err)
            err = import_file(import);
    }
    if (!err && import->directory) {
        slm_import_name(import);
        err = slm_import_template_file(import);
    }
    return err ? slm_fail_in(err, "%s", import->path) : SLM_OK;
}
