/*
 * import_sentence.c - what sentence-transformers writes beside a model: modules.json lists what a
 * text goes through, 1_Pooling/config.json says how a vector is made, sentence_bert_config.json how
 * long a text may be, and whether it is put into lower case first.
 */
#include "convert/import.h"
#include "source/quote.h"

#include <stdio.h>

/* A file of a module's own folder; names come from a file and must not lead elsewhere. */
static int module_json(struct slm_import *import, const char *folder, struct slm_json **json)
{
    char path[128];
    if (strchr(folder, '/') || strchr(folder, '\\') || folder[0] == '.' || strlen(folder) > 100)
        return slm_fail(SLM_EFORMAT, "%s/modules.json: %s is no folder", import->path,
                        slm_quote(folder, strlen(folder)).text);
    snprintf(path, sizeof path, "%s/config.json", folder);
    return slm_import_json(import, path, json);
}

static int read_pooling(struct slm_import *import, const char *folder)
{
    static const struct {
        const char *flag, *mode;
        uint32_t pooling; /* 0: not supported */
    } modes[] = {
        {"pooling_mode_cls_token", "cls", SLM_POOLED_FIRST},
        {"pooling_mode_mean_tokens", "mean", SLM_POOLED_MEAN},
        {"pooling_mode_lasttoken", "lasttoken", SLM_POOLED_LAST},
        {"pooling_mode_max_tokens", "max", 0},
        {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", 0},
        {"pooling_mode_weightedmean_tokens", "weightedmean", 0},
    };
    struct slm_json *json;
    int found = module_json(import, folder, &json), n = 0, err = SLM_OK;
    if (found <= 0)
        return found;
    const char *mode = slm_json_string(json, slm_json_get(json, 0, "pooling_mode"), NULL);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (!slm_json_bool(json, slm_json_get(json, 0, modes[i].flag), false) &&
            !(mode && strcmp(mode, modes[i].mode) == 0))
            continue;
        n++;
        import->config.pooling = modes[i].pooling;
    }
    if (n != 1 || import->config.pooling == 0)
        err = slm_fail(SLM_EUNSUPPORTED,
                       "%s/%s/config.json: one of cls, mean and lasttoken pooling is supported, alone",
                       import->path, folder);
    slm_json_free(json);
    return err;
}

/* "sentence_transformers.models.Pooling": the last word counts. */
static int read_module(struct slm_import *import, const struct slm_json *json, slm_json_node module)
{
    const char *type = slm_json_string(json, slm_json_get(json, module, "type"), NULL);
    const char *folder = slm_json_string(json, slm_json_get(json, module, "path"), NULL);
    const char *dot = type ? strrchr(type, '.') : NULL;
    const char *name = dot ? dot + 1 : type;
    if (!name || !folder)
        return slm_fail(SLM_EFORMAT, "%s/modules.json: a module has no type or path", import->path);
    if (strcmp(name, "Transformer") == 0) {
        if (!folder[0])
            return SLM_OK;
        return slm_fail(SLM_EUNSUPPORTED,
                        "%s/modules.json: the transformer lies in %s; convert that folder",
                        import->path, slm_quote(folder, strlen(folder)).text);
    }
    if (strcmp(name, "Pooling") == 0)
        return read_pooling(import, folder);
    if (strcmp(name, "Normalize") == 0) {
        import->config.unit_length = true;
        return SLM_OK;
    }
    return slm_fail(SLM_EUNSUPPORTED, "%s/modules.json: a text goes through %s, which is not supported",
                    import->path, slm_quote(name, strlen(name)).text);
}

static int read_modules(struct slm_import *import)
{
    struct slm_json *json;
    int found = slm_import_json(import, "modules.json", &json);
    if (found <= 0)
        return found < 0 ? found : read_pooling(import, "1_Pooling");
    int err = SLM_OK;
    slm_json_node module = slm_json_first(json, 0);
    for (; module >= 0 && !err; module = slm_json_next(json, module))
        err = read_module(import, json, module);
    slm_json_free(json);
    return err;
}

int slm_import_sentence(struct slm_import *import)
{
    struct slm_json *json;
    int err = read_modules(import);
    if (err < 0)
        return err;
    int found = slm_import_json(import, "sentence_bert_config.json", &json);
    if (found <= 0)
        return found;
    double most = slm_json_number(json, slm_json_get(json, 0, "max_seq_length"), 0);
    if (most >= 1 && most <= SLM_LIMIT_CONTEXT)
        import->config.max_text = (uint32_t)most;
    import->config.lower_case = slm_json_bool(json, slm_json_get(json, 0, "do_lower_case"), false);
    slm_json_free(json);
    return SLM_OK;
}
