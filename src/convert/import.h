/*
 * import.h - a model as its source has it: configuration, tensors, texts.
 *
 * One function for each kind of input fills the struct; what comes after does not know any more
 * where a model came from.
 */
#ifndef SLM_CONVERT_IMPORT_H
#define SLM_CONVERT_IMPORT_H

#include "base/os.h"
#include "convert/config.h"
#include "convert/source.h"
#include "source/safetensors.h"

/* A mapped file and what was read from it. */
struct slm_import_file {
    struct slm_mapping map;
    struct slm_gguf *gguf; /* or */
    struct slm_safetensors *safetensors;
};

struct slm_import {
    const char *path;           /* the caller's: a file or a directory */
    const char *tokenizer_path; /* the caller's: overrides what lies beside the weights; or NULL */
    bool vocabulary;            /* the caller's: tokenizer and chat template alone, no weights */
    const slm_allocator *allocator;
    slm_log_fn log;
    void *log_user;

    struct slm_config config;
    struct slm_family_names names; /* what tensors are called here */
    struct slm_source source;

    struct slm_import_file *files; /* [n_files] */
    size_t n_files, files_capacity;
    struct slm_json *json;      /* config.json of a Hugging Face directory, or NULL */
    bool directory;             /* texts and configurations are files of a folder: */
    struct slm_buf folder;      /* its path, ends with NUL; empty: it is `path` */
    struct slm_buf texts;       /* names of tensors that have none in their file */
    struct slm_buf divisors[2]; /* float[]: config.rope.divisors and long_divisors */

    struct slm_buf chat_template; /* empty: none */
    struct slm_buf metadata;      /* key NUL value NUL ... */
};

/* Zero-initialise, set the first six members, call one of these. Errors are complete sentences
 * that name the file. Free in any case. */
int slm_import_gguf(struct slm_import *import);
int slm_import_hf(struct slm_import *import);
int slm_import_llama2c(struct slm_import *import);
/* A tokenizer without a model: a GGUF file, with or without weights, a directory, a checkpoint with
 * its tokenizer beside it, or a tokenizer's file, of which standard names (tokenizer.json...) stand
 * for the directory that they are in. */
int slm_import_vocabulary(struct slm_import *import);
/* What sentence-transformers has put beside a Hugging Face model: pooling, unit length, how long
 * texts may be. Nothing changes where there is none of it. */
int slm_import_sentence(struct slm_import *import);
void slm_import_free(struct slm_import *import);

/* Then: the tokenizer section, ready to be written. It stays empty, with a warning, when the source
 * has no tokenizer. Of a vocabulary alone config.n_vocab is then known, too. */
int slm_import_tokenizer(struct slm_import *import, struct slm_buf *section);

/* What a file is that can't be read here, by its first bytes ("is a PyTorch archive; save..."), for a
 * message; NULL: nobody knows. */
const char *slm_import_foreign(const uint8_t *head, size_t n);

/* Do the first bytes of a file look like a llama2.c checkpoint? */
bool slm_import_is_llama2c(const uint8_t *head, size_t n);

/* The files of a folder that a tokenizer is looked for in, in that order. */
const char *slm_import_tokenizer_name(size_t i); /* NULL past the last */

/* For the importers ---------------------------------------------------------------------- */

/* Room for n files, none of them open; once. */
int slm_import_files(struct slm_import *import, size_t n);

/* Map one more file. name is appended to the path of a directory; NULL: path is the file. */
int slm_import_map(struct slm_import *import, const char *name, struct slm_import_file **file);

/* The whole of a small file of the directory; 1 found, 0 not there, or an error. */
int slm_import_read(struct slm_import *import, const char *name, struct slm_mapping *map);

bool slm_import_exists(const char *path);

/* A pair for the metadata; empty values are dropped. */
void slm_import_metadata(struct slm_import *import, const char *key, const char *value, size_t n);

/* Take over a chat template, or drop it with a warning when it is no valid text. */
void slm_import_template(struct slm_import *import, const char *text, size_t n);

void slm_import_warn(const struct slm_import *import, const char *format, ...) SLM_PRINTF(2, 3);

/* Name, license and so on of a GGUF file, and its chat template; those of a directory. */
void slm_import_gguf_texts(struct slm_import *import);
int slm_import_template_file(struct slm_import *import);
void slm_import_name(struct slm_import *import);

/* Last step of each importer: parts, vocabulary and traits, from configuration and tensors. */
int slm_import_finish(struct slm_import *import);

/* Parse a JSON file of the directory: 1 found, 0 not there, or an error. */
int slm_import_json(struct slm_import *import, const char *name, struct slm_json **json);

/* "dir/name" into a new buffer that ends with NUL. */
int slm_import_join(struct slm_buf *out, const char *directory, const char *name);

#endif
