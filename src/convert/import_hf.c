/*
 * import_hf.c - a Hugging Face directory: config.json, safetensors (one file, or shards that an
 * index lists), and the chat template.
 */
#include "convert/import.h"
#include "source/quote.h"

#include <stdio.h>
#include <sys/stat.h>

#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"

enum { MAX_SHARDS = 1024 }; /* the largest published models have some 200 */

int slm_import_json(struct slm_import *import, const char *name, struct slm_json **json)
{
    struct slm_mapping map;
    *json = NULL;
    int found = slm_import_read(import, name, &map);
    if (found <= 0)
        return found;
    int err = slm_json_parse(json, (const char *)map.data, (size_t)map.length, import->allocator);
    slm_unmap(&map);
    return err ? slm_fail_in(err, "%s/%s", import->path, name) : 1;
}

/* -------------------------------------------------------------------------- weights --- */

/* A file of tensors; its names join those of the others. */
static int open_shard(struct slm_import *import, const char *name)
{
    struct slm_import_file *file;
    int err = slm_import_map(import, name, &file);
    if (err)
        return err;
    err = slm_safetensors_open(&file->safetensors, file->map.data, (size_t)file->map.length,
                               import->allocator);
    if (!err)
        err = slm_source_add(&import->source, file->safetensors->tensors,
                             file->safetensors->n_tensors);
    return err ? slm_fail_in(err, "%s/%s", import->path, name) : SLM_OK;
}

/* Names of shards come from a file: they must not lead out of the directory. */
static bool plain_name(const char *name, size_t n)
{
    return n > 0 && n < 256 && strlen(name) == n && !strchr(name, '/') && !strchr(name, '\\') &&
           name[0] != '.';
}

/* The distinct values of weight_map, into shards[MAX_SHARDS]; returns how many, or an error. */
static int list_shards(const struct slm_json *index, const char **shards)
{
    slm_json_node map = slm_json_get(index, 0, "weight_map");
    if (slm_json_type(index, map) != JSON_OBJECT)
        return slm_fail(SLM_EFORMAT, "weight_map is missing");
    int n_shards = 0;
    slm_json_node node = slm_json_first(index, map);
    for (; node >= 0; node = slm_json_next(index, node)) {
        size_t n = 0;
        const char *name = slm_json_string(index, node, &n);
        if (!name || !plain_name(name, n))
            return slm_fail(SLM_EFORMAT, "weight_map: %s is no file name",
                            name ? slm_quote(name, n).text : "an entry");
        int i = n_shards; /* the map is mostly in order: look from the end */
        while (i > 0 && strcmp(shards[i - 1], name) != 0)
            i--;
        if (i > 0)
            continue;
        if (n_shards == MAX_SHARDS)
            return slm_fail(SLM_ELIMIT, "weight_map: more than %d files", MAX_SHARDS);
        shards[n_shards++] = name;
    }
    return n_shards;
}

static int open_shards(struct slm_import *import, const struct slm_json *index)
{
    const size_t bytes = MAX_SHARDS * sizeof(const char *);
    const char **shards = slm_alloc(import->allocator, bytes);
    if (!shards)
        return SLM_ENOMEM;
    int n = list_shards(index, shards), err = n < 0 ? n : SLM_OK;
    if (err)
        slm_fail_in(err, "%s/%s", import->path, INDEX);
    else
        err = slm_import_files(import, (size_t)n);
    for (int i = 0; i < n && !err; i++) {
        err = open_shard(import, shards[i]);
        if (err == SLM_EIO)
            slm_fail_in(err, "%s lists a file that can't be read", INDEX);
    }
    slm_free(import->allocator, shards, bytes);
    return err;
}

static int open_sharded(struct slm_import *import)
{
    struct slm_json *index;
    int found = slm_import_json(import, INDEX, &index);
    if (found < 0)
        return found;
    if (!found)
        return slm_fail(SLM_EIO,
                        "%s: has neither %s nor %s (weights in PyTorch's .bin are not read: save "
                        "them as safetensors)",
                        import->path, SINGLE, INDEX);
    int err = open_shards(import, index);
    slm_json_free(index);
    return err;
}

/* A whole file has precedence over shards, as in transformers. */
static int open_weights(struct slm_import *import)
{
    struct slm_buf path = {.allocator = import->allocator};
    int err = slm_import_join(&path, import->path, SINGLE);
    bool single = !err && slm_import_exists((const char *)path.data);
    slm_buf_free(&path);
    if (!err && single)
        err = slm_import_files(import, 1);
    if (!err)
        err = single ? open_shard(import, SINGLE) : open_sharded(import);
    if (err)
        return err;
    err = slm_source_close(&import->source);
    return err ? slm_fail_in(err, "%s", import->path) : SLM_OK;
}

/* ---------------------------------------------------------------------------- texts --- */

/* "chat_template" of a JSON file: a text, or named ones of which "default" is meant. */
static int json_template(struct slm_import *import, const char *file)
{
    struct slm_json *json;
    int found = slm_import_json(import, file, &json);
    if (found <= 0)
        return found;
    slm_json_node node = slm_json_get(json, 0, "chat_template");
    slm_json_node item = slm_json_type(json, node) == JSON_ARRAY ? slm_json_first(json, node) : -1;
    for (; item >= 0; item = slm_json_next(json, item)) {
        const char *name = slm_json_string(json, slm_json_get(json, item, "name"), NULL);
        if (name && strcmp(name, "default") == 0)
            node = slm_json_get(json, item, "template");
    }
    size_t n = 0;
    const char *text = slm_json_string(json, node, &n);
    if (text)
        slm_import_template(import, text, n);
    slm_json_free(json);
    return text != NULL;
}

/* A template in a file of its own has precedence over one inside tokenizer_config.json. */
int slm_import_template_file(struct slm_import *import)
{
    struct slm_mapping map;
    int found = slm_import_read(import, "chat_template.jinja", &map);
    if (found > 0) {
        slm_import_template(import, (const char *)map.data, (size_t)map.length);
        slm_unmap(&map);
    }
    if (found == 0)
        found = json_template(import, "tokenizer_config.json");
    if (found == 0)
        found = json_template(import, "chat_template.json");
    return found < 0 ? found : SLM_OK;
}

void slm_import_name(struct slm_import *import)
{
    size_t n = 0, end = strlen(import->path);
    const char *name = NULL;
    if (import->json)
        name = slm_json_string(import->json, slm_json_get(import->json, 0, "_name_or_path"), &n);
    if (!name || n == 0) { /* the last part of the directory's path */
        while (end > 0 && import->path[end - 1] == '/')
            end--;
        size_t begin = end;
        while (begin > 0 && import->path[begin - 1] != '/')
            begin--;
        name = import->path + begin;
        n = end - begin;
    }
    slm_import_metadata(import, "name", name, n);
    slm_import_metadata(import, "source_format", "Hugging Face", 12);
}

/* The configuration comes first: it is small, and most refusals come from it. */
int slm_import_hf(struct slm_import *import)
{
    int found = slm_import_json(import, "config.json", &import->json);
    if (found < 0)
        return found;
    if (!found)
        return slm_fail(SLM_EIO, "%s: has no config.json", import->path);
    import->directory = true;
    int err = slm_config_from_json(&import->config, import->json);
    if (err)
        return slm_fail_in(err, "%s", import->path);
    if ((err = slm_import_sentence(import)))
        return err;
    if ((err = open_weights(import)) || (err = slm_import_template_file(import)))
        return err;
    err = slm_import_finish(import);
    if (err)
        return slm_fail_in(err, "%s", import->path);
    slm_import_name(import);
    return SLM_OK;
}
