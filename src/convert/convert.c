/*
 * convert.c - the public functions of libslm-convert: recognise, import, plan, write.
 *
 * Arguments are checked here and nowhere else. Whatever fails, the import and the writer are freed,
 * and with the writer goes its unfinished file.
 */
#include <slm/convert.h>

#include "base/bits.h"
#include "convert/plan.h"
#include "convert/weights.h"
#include "source/quote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------------- detect --- */

static bool exists(const char *directory, const char *name)
{
    struct slm_buf path = {.allocator = NULL};
    /* no allocator of the caller's: detection has none */
    bool found = slm_import_join(&path, directory, name) == SLM_OK &&
                 slm_import_exists((const char *)path.data);
    slm_buf_free(&path);
    return found;
}

const char *slm_import_foreign(const uint8_t *head, size_t n)
{
    if (n == 0)
        return "is empty";
    if (n >= 8 && memcmp(head, SLM_FILE_MAGIC, 8) == 0)
        return "is a .slm file already, to be used as it is; for another type convert what it was "
               "made from";
    if (n >= 9 && head[8] == '{' && slm_load_u64(head) < (uint64_t)1 << 32)
        return "is a safetensors file without its configuration; give the directory that has its "
               "config.json";
    if (head[0] == '{')
        return "is a JSON file; give the directory that it lies in, with the weights";
    if (n >= 4 && memcmp(head, "PK\3\4", 4) == 0)
        return "is a PyTorch archive; save the model as safetensors";
    return slm_foreign_file(head, n);
}

static int detect_bytes(const char *path, const uint8_t *head, size_t n)
{
    if (n >= 4 && memcmp(head, "GGUF", 4) == 0)
        return SLM_CONVERT_GGUF;
    if (slm_import_is_llama2c(head, n))
        return SLM_CONVERT_LLAMA2C;
    const char *what = slm_import_foreign(head, n);
    if (!what && n >= 4 && slm_load_u32(head) == 0x616B3432)
        what = "is a llama2.c checkpoint of version 1 or 2; only the legacy version 0 is supported";
    return slm_fail(SLM_EUNSUPPORTED, "%s: %s", path,
                    what ? what
                         : "is none of GGUF, a Hugging Face directory, and a llama2.c checkpoint");
}

static int detect(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return slm_fail(SLM_EIO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return exists(path, "config.json")
                   ? SLM_CONVERT_HF
                   : slm_fail(SLM_EUNSUPPORTED,
                              "%s: is a directory without config.json, so no Hugging Face model",
                              path);
    if (!S_ISREG(info.st_mode)) /* opening a pipe would wait for its writer */
        return slm_fail(SLM_EIO, "%s: is no regular file", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return slm_fail(SLM_EIO, "%s: %s", path, strerror(errno));
    uint8_t head[64];
    ssize_t n;
    do
        n = read(fd, head, sizeof head);
    while (n < 0 && errno == EINTR);
    int number = errno;
    close(fd);
    if (n < 0)
        return slm_fail(SLM_EIO, "%s: can't read: %s", path, strerror(number));
    return detect_bytes(path, head, (size_t)n);
}

/* As a shared library this one has its own copy of slm_fail() and its message: hand that over to
 * libslm, whose slm_last_error() people ask. */
static int hand_over(int code)
{
    return code < 0 ? slm_set_last_error(code, slm_error_message()) : code;
}

const char *slm_convert_last_error(void)
{
    return slm_last_error();
}

int slm_convert_detect(const char *path)
{
    return hand_over(path ? detect(path) : slm_fail(SLM_EINVAL, "slm_convert_detect: path is NULL"));
}

const char *slm_convert_kind_name(int kind)
{
    switch (kind) {
    case SLM_CONVERT_GGUF: return "GGUF";
    case SLM_CONVERT_HF: return "Hugging Face";
    case SLM_CONVERT_LLAMA2C: return "llama2.c";
    }
    return NULL;
}

int slm_convert_class(size_t i, const char **name, const char **family)
{
    const struct slm_family *f;
    for (size_t k = 0; (f = slm_family_at(k)); k++)
        for (int c = 0; c < 4 && f->classes[c]; c++)
            if (i-- == 0) {
                *name = f->classes[c];
                *family = f->name;
                return 1;
            }
    return 0;
}

int slm_convert_family_at(size_t i, slm_convert_family *family)
{
    const struct slm_family *f = slm_family_at(i);
    if (!family || family->size == 0)
        return hand_over(slm_fail(SLM_EINVAL, "slm_convert_family_at: %s",
                                  family ? "family->size is 0; set it to sizeof *family" : "family is NULL"));
    if (!f)
        return hand_over(slm_fail(SLM_EINVAL, "slm_convert_family_at: there is no family %zu", i));
    slm_convert_family own = {family->size, f->name, f->models, f->classes, f->architectures};
    memcpy(family, &own, family->size < sizeof own ? family->size : sizeof own);
    return SLM_OK;
}

/* -------------------------------------------------------------------------- write --- */

/* A conversion under way. */
struct job {
    slm_convert_options options;
    struct slm_import import;
    struct slm_plan plan;
    struct slm_writer *writer;
    struct slm_buf tokenizer; /* the section */
    uint64_t done;            /* bytes of the source */
};

static int advance(void *user, uint64_t bytes)
{
    struct job *job = user;
    job->done += bytes;
    return job->options.progress ? job->options.progress(job->options.progress_user, job->done,
                                                         job->plan.source_bytes)
                                 : 0;
}

/* The records as they lie in the file: traits, layers, RoPE variants. */
static int write_traits(struct job *job)
{
    const struct slm_config *config = &job->import.config;
    struct slm_buf section = {.allocator = job->options.allocator};
    slm_buf_append(&section, &config->traits, sizeof config->traits);
    slm_buf_append(&section, config->layers, config->n_layers * sizeof *config->layers);
    slm_buf_append(&section, config->rope_traits, config->n_ropes * sizeof *config->rope_traits);
    int err = slm_buf_ok(&section);
    if (!err)
        err = slm_writer_section(job->writer, SLM_SECTION_TRAITS, section.data, section.length);
    slm_buf_free(&section);
    return err;
}

/* "210 q4a, 1 q8": how many matrices have which type. */
static void count_types(const struct slm_plan *plan, bool source, char *text, size_t size)
{
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < plan->n; i++) {
        const struct slm_weight *w = &plan->weights[i];
        if (!w->matrix)
            continue;
        unsigned n = 0;
        bool first = true;
        for (size_t k = 0; k < plan->n; k++) {
            const struct slm_weight *v = &plan->weights[k];
            if (!v->matrix || (source ? slm_weight_source_type(v) != slm_weight_source_type(w)
                                      : v->type != w->type))
                continue;
            first = first && k >= i;
            n++;
        }
        if (first && at < size)
            at += (size_t)snprintf(text + at, size - at, "%s%u %s", at ? ", " : "", n,
                                   source ? slm_weight_source_type(w)->name
                                          : slm_quant(w->type)->name);
    }
}

/* What is known about the model goes in first, then how it came here. */
static int write_metadata(struct job *job)
{
    char types[256];
    struct slm_import *import = &job->import;
    const struct slm_family *family = import->config.family; /* NULL: of a vocabulary */
    if (family)
        slm_import_metadata(import, "architecture", family->name, strlen(family->name));
    const char *slash = strrchr(import->path, '/');
    const char *base = slash && slash[1] ? slash + 1 : import->path;
    slm_import_metadata(import, "source", base, strlen(base));
    count_types(&job->plan, true, types, sizeof types);
    slm_import_metadata(import, "source_type", types, strlen(types));
    count_types(&job->plan, false, types, sizeof types);
    slm_import_metadata(import, "quantization", types, strlen(types));
    const char *converter = "libslm " SLM_VERSION_STRING;
    slm_import_metadata(import, "converter", converter, strlen(converter));

    const struct slm_buf *pairs = &import->metadata;
    int err = slm_buf_ok(pairs);
    for (size_t at = 0; at < pairs->length && !err;) {
        const char *key = (const char *)pairs->data + at, *value = key + strlen(key) + 1;
        err = slm_writer_metadata(job->writer, key, value);
        at += strlen(key) + 1 + strlen(value) + 1;
    }
    return err;
}

/* Source names are not NUL-terminated; a callback wants them so. */
static void report(const struct job *job, const struct slm_weight *w, uint64_t bytes, double error)
{
    if (!job->options.report)
        return;
    char name[SLM_FAMILY_NAME] = "";
    if (w->source) {
        size_t n = w->source->name_length < sizeof name ? w->source->name_length : sizeof name - 1;
        memcpy(name, w->source->name, n);
    }
    slm_convert_tensor line = {
        .size = sizeof line,
        .source_name = name,
        .source_type = w->source ? slm_weight_source_type(w)->name : "computed",
        .role = slm_role_info(w->role)->name,
        .type = slm_quant(w->type)->name,
        .layer = w->layer == SLM_NO_LAYER || slm_role_of_rope(w->role) ? -1 : (int32_t)w->layer,
        .rows = (int32_t)w->rows,
        .cols = (int32_t)w->cols,
        .source_bytes = w->source ? slm_weight_source_bytes(w) : 0,
        .bytes = bytes,
        .error = error,
    };
    job->options.report(job->options.report_user, &line);
}

/* Its pages may leave the memory; only the file that holds it takes it. */
static void let_go(const struct job *job, const struct slm_source_tensor *source)
{
    for (size_t k = 0; k < job->import.n_files; k++)
        slm_map_done(&job->import.files[k].map, source->data, source->length);
}

/* In the order of the plan, which is the order of use: that is how the file will be read ahead. */
static int write_weights(struct job *job)
{
    const struct slm_weight_progress progress = {advance, job};
    for (size_t i = 0; i < job->plan.n; i++) {
        const struct slm_weight *w = &job->plan.weights[i];
        double error = 0;
        uint64_t bytes = 0;
        int err;
        if (!w->source) { /* RoPE's tables and the like, which are computed */
            err = slm_writer_tensor(job->writer, w->role, w->layer, w->type, w->rows, w->cols);
            if (!err)
                err = slm_writer_write(job->writer, w->computed, (uint64_t)w->cols * sizeof(float));
        } else {
            err = slm_weight_write(w, job->writer, job->options.allocator, &progress, &error);
        }
        if (err)
            return err;
        for (uint32_t p = 0; w->source && p < (w->pieces ? w->n_pieces : 1); p++)
            let_go(job, w->pieces ? w->pieces[p] : w->source);
        if (w->scales)
            let_go(job, w->scales);
        slm_tensor_bytes(w->matrix, w->type, w->rows, w->cols, &bytes);
        report(job, w, bytes, error);
    }
    return SLM_OK;
}

/* The tokenizer is made before the weights are touched: an unknown one shows at once, not after
 * minutes. */
static int write_file(struct job *job, const char *out)
{
    int err = slm_import_tokenizer(&job->import, &job->tokenizer);
    if (!err)
        err = slm_writer_new(&job->writer, out);
    if (err || (err = write_traits(job)) ||
        (err = slm_writer_section(job->writer, SLM_SECTION_TOKENIZER, job->tokenizer.data,
                                  job->tokenizer.length)))
        return err;
    const struct slm_buf *template = &job->import.chat_template;
    err = slm_buf_ok(template);
    if (!err && template->length)
        err =
            slm_writer_section(job->writer, SLM_SECTION_TEMPLATE, template->data, template->length);
    if (err || (err = write_metadata(job)) || (err = write_weights(job)))
        return err;
    return slm_writer_finish(job->writer);
}

/* ------------------------------------------------------------------------ convert --- */

/* "keep" and NULL: -1. */
static int type_number(const char *option, const char *name, int32_t otherwise, int32_t *type)
{
    *type = otherwise;
    if (!name)
        return SLM_OK;
    *type = -1;
    if (strcmp(name, "keep") == 0)
        return SLM_OK;
    const struct slm_quant *quant = slm_quant_named(name);
    if (!quant) {
        char known[128] = "keep";
        for (size_t i = 0, n = 4; (quant = slm_quant_at(i)) && n < sizeof known; i++)
            n += (size_t)snprintf(known + n, sizeof known - n, ", %s", quant->name);
        return slm_fail(SLM_EINVAL, "%s %s: there is no such type; there are %s", option,
                        slm_quote(name, strlen(name)).text, known);
    }
    *type = (int32_t)quant->type;
    return SLM_OK;
}

/* By what it is, not by how it is called: suffixes are wrong too often. */
static int import(struct job *job, const char *in)
{
    job->import.path = in;
    job->import.tokenizer_path = job->options.tokenizer;
    job->import.vocabulary = job->options.vocabulary != 0;
    job->import.allocator = job->options.allocator;
    job->import.log = job->options.log;
    job->import.log_user = job->options.log_user;
    job->import.config.allocator = job->options.allocator;
    job->import.source.tensors.allocator = job->options.allocator;
    job->import.folder.allocator = job->tokenizer.allocator = job->options.allocator;
    if (job->options.vocabulary)
        return slm_import_vocabulary(&job->import);
    int kind = detect(in);
    switch (kind) {
    case SLM_CONVERT_GGUF: return slm_import_gguf(&job->import);
    case SLM_CONVERT_HF: return slm_import_hf(&job->import);
    case SLM_CONVERT_LLAMA2C: return slm_import_llama2c(&job->import);
    }
    return kind;
}

/* "12", or where layers differ "12 to 20". */
struct words {
    char text[32];
};

static struct words range_of(const struct slm_config *c, size_t offset)
{
    struct words words;
    struct slm_extent r = slm_layer_extent(c->layers, c->n_layers, offset);
    int n = snprintf(words.text, sizeof words.text, "%u", (unsigned)r.least);
    if (r.least < r.most)
        snprintf(words.text + n, sizeof words.text - (size_t)n, " to %u", (unsigned)r.most);
    return words;
}

/* The lines of the log that say what was understood. */
static void describe(const struct job *job)
{
    static const char *const scalings[] = {"none", "linear", "dynamic", "yarn", "llama3",
                                           "longrope"};
    const struct slm_config *c = &job->import.config;
    if (!job->options.log || !c->family)
        return;
    char line[256];
    snprintf(line, sizeof line,
             "%s: %u layers, width %u, %s heads (%s key-value) of %u, feed-forward %s, vocabulary "
             "%u%s",
             c->family->name, (unsigned)c->n_layers, (unsigned)c->dim,
             range_of(c, offsetof(struct slm_layer_traits, n_heads)).text,
             range_of(c, offsetof(struct slm_layer_traits, n_kv_heads)).text, (unsigned)c->head_dim,
             range_of(c, offsetof(struct slm_layer_traits, ffn_dim)).text, (unsigned)c->n_vocab,
             c->parts & SLM_PART_HEAD ? "" : ", head tied to embedding");
    job->options.log(job->options.log_user, SLM_LOG_INFO, line);
    snprintf(line, sizeof line,
             "context %u, RoPE base %g over %u dimensions, scaling %s, norm epsilon %g",
             (unsigned)c->max_context, c->rope.base, (unsigned)c->rope_traits[0].dims,
             c->rope.divisors ? "by a table of the file" : scalings[c->rope.kind], c->norm_eps);
    job->options.log(job->options.log_user, SLM_LOG_INFO, line);
}

/* Only a .slm file is replaced: whatever else stands under that name (the source itself, its
 * tokenizer) is not ours to lose. What can't be opened is left to the writer, which says why. */
static int check_target(const char *out)
{
    struct slm_mapping map;
    char magic[sizeof SLM_FILE_MAGIC - 1] = {0};
    struct stat st;
    if (stat(out, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0 ||
        slm_map_path(&map, out, false, NULL) < 0)
        return SLM_OK;
    memcpy(magic, map.data, map.length < sizeof magic ? (size_t)map.length : sizeof magic);
    slm_unmap(&map);
    if (memcmp(magic, SLM_FILE_MAGIC, sizeof magic) == 0)
        return SLM_OK;
    return slm_fail(SLM_EINVAL, "%s exists and is no .slm file: it is not replaced; give another name, or "
                    "remove it first", out);
}

static int convert(const char *in, const char *out, const slm_convert_options *options)
{
    if (!in || !out)
        return slm_fail(SLM_EINVAL, "slm_convert: %s is NULL", in ? "out" : "in");
    if (options && options->size == 0)
        return slm_fail(SLM_EINVAL, "slm_convert: options->size is 0; set it to sizeof *options");
    struct job job = {.writer = NULL};
    if (options)
        memcpy(&job.options, options,
               options->size < sizeof job.options ? options->size : sizeof job.options);
    struct slm_plan_types types;
    int err = type_number("type", job.options.type, -1, &types.type);
    if (!err)
        err = type_number("head_type", job.options.head_type, types.type, &types.head);
    if (!err)
        err = check_target(out);
    if (err)
        return err;
    /* Rounding to integers follows the mode of the thread: make it the usual one meanwhile. */
    struct slm_fenv env;
    slm_fenv_enter(&env);
    err = import(&job, in);
    if (!err) {
        describe(&job);
        if (!job.options.vocabulary)
            err = slm_plan_make(&job.plan, &job.import, &types);
        if (err)
            slm_fail_in(err, "%s", in);
        else
            err = write_file(&job, out);
    }
    slm_writer_free(job.writer);
    slm_plan_free(&job.plan);
    slm_buf_free(&job.tokenizer);
    slm_import_free(&job.import);
    slm_fenv_leave(&env);
    return err;
}

int slm_convert(const char *in, const char *out, const slm_convert_options *options)
{
    return hand_over(convert(in, out, options));
}
