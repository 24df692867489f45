/*
 * import_tokenizer.c - finds a model's tokenizer beside its weights, or takes the file that the
 * caller names, and has the section built. What is in such files is vocab/'s business.
 */
#include "base/bits.h"
#include "convert/import.h"
#include "vocab/unicode.h"
#include "vocab/vocab.h"

#include <stdio.h>
#include <sys/stat.h>

/* Small files that stay mapped while the vocabulary is read. */
enum file { TOKENIZER, MERGES, TOKENIZER_CONFIG, GENERATION_CONFIG, CONFIG, SPECIAL, ADDED, N_FILES };
struct texts {
    struct slm_mapping maps[N_FILES];
};

static void close_texts(struct texts *t)
{
    for (int i = 0; i < N_FILES; i++)
        slm_unmap(&t->maps[i]);
}

/* What lies beside a tokenizer in a Hugging Face directory; each may be missing. */
static int open_beside(struct slm_import *import, struct texts *t)
{
    static const char *const NAMES[N_FILES] = {
        [MERGES] = "merges.txt",
        [TOKENIZER_CONFIG] = "tokenizer_config.json",
        [GENERATION_CONFIG] = "generation_config.json",
        [CONFIG] = "config.json",
        [SPECIAL] = "special_tokens_map.json",
        [ADDED] = "added_tokens.json",
    };
    int found = 0;
    for (int i = MERGES; i < N_FILES && found >= 0; i++)
        found = slm_import_read(import, NAMES[i], &t->maps[i]);
    return found < 0 ? found : SLM_OK;
}

static struct slm_vocab_json as_json(const struct texts *t)
{
    /* Older models name their end of text in config.json, under the same keys. */
    const enum file ends = t->maps[GENERATION_CONFIG].data ? GENERATION_CONFIG : CONFIG;
#define TEXT(member, file)                                                                         \
    .member = (const char *)t->maps[file].data, .member##_length = (size_t)t->maps[file].length
    return (struct slm_vocab_json){
        TEXT(tokenizer, TOKENIZER), TEXT(merges, MERGES),
        TEXT(tokenizer_config, TOKENIZER_CONFIG), TEXT(generation_config, ends),
        TEXT(config, CONFIG), TEXT(special_tokens, SPECIAL), TEXT(added_tokens, ADDED),
    };
#undef TEXT
}

/* BERT's vocab.txt: text, with the unknown token on a line of its own. */
static bool is_wordlist(const uint8_t *data, size_t n)
{
    static const char UNKNOWN[] = "[UNK]";
    const size_t length = sizeof UNKNOWN - 1;
    const uint8_t *end = data + n, *line = data;
    if (n == 0 || data[0] < ' ' || memchr(data, 0, n))
        return false;
    while (line && (size_t)(end - line) > length) {
        if (memcmp(line, UNKNOWN, length) == 0)
            return line[length] == '\r' || line[length] == '\n';
        line = memchr(line, '\n', (size_t)(end - line));
        line = line ? line + 1 : NULL;
    }
    return false;
}

/* Whatever tokenizer file the bytes are: GGUF, JSON of three kinds, tiktoken's ranks, vocab.txt,
 * llama2.c's tokenizer.bin (which begins with the length of the longest token, 32 bits), or a
 * SentencePiece model. */
static int read_any(struct slm_import *import, struct slm_vocab *vocab, const struct texts *t)
{
    const uint8_t *data = t->maps[TOKENIZER].data;
    size_t n = (size_t)t->maps[TOKENIZER].length;
    size_t mark = n >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0; /* a byte order mark */
    size_t at = mark;
    while (at < n && (data[at] == ' ' || (data[at] >= '\t' && data[at] <= '\r')))
        at++;
    struct slm_vocab_json json = as_json(t);
    if (at < n && data[at] == '{')
        return slm_vocab_from_json(vocab, &json);
    if (n >= 4 && memcmp(data, "GGUF", 4) == 0) {
        struct slm_gguf *gguf;
        int err = slm_gguf_open(&gguf, data, n, import->allocator);
        if (!err)
            err = slm_vocab_from_gguf(vocab, gguf);
        slm_gguf_free(gguf);
        return err;
    }
    const char *text = (const char *)data + mark;
    if (slm_vocab_are_ranks(text, n - mark))
        return slm_vocab_from_tiktoken(vocab, text, n - mark, &json);
    if (is_wordlist(data + mark, n - mark))
        return slm_vocab_from_wordlist(vocab, text, n - mark, &json);
    const char *foreign = slm_import_foreign(data, n);
    if (foreign)
        return slm_fail(SLM_EUNSUPPORTED, "%s", foreign);
    bool is_llama2c = n >= 4 && slm_load_u32(data) < 256;
    if (is_llama2c && import->config.n_vocab == 0)
        return slm_fail(SLM_EUNSUPPORTED,
                        "seems to be llama2.c's tokenizer.bin, which does not say how "
                        "many tokens it has: give the checkpoint that it lies beside");
    if (is_llama2c)
        return slm_vocab_from_llama2c(vocab, data, n, import->config.n_vocab);
    if (n >= 3 && data[0] == '\n' && data[2] == '\n') /* a piece, and its text */
        return slm_vocab_from_sentencepiece(vocab, data, n, &json);
    return slm_fail(SLM_EUNSUPPORTED,
                    "is no tokenizer that can be read: tokenizer.json, tekken.json, vocab.json, "
                    "SentencePiece's tokenizer.model, BERT's vocab.txt, ranks of tiktoken, GGUF, "
                    "llama2.c's tokenizer.bin");
}

/* merges.txt beside a vocab.json that the caller named. */
static int open_merges(struct slm_import *import, struct texts *t, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct slm_buf other = {.allocator = import->allocator};
    if (strcmp(name, "vocab.json") != 0)
        return SLM_OK;
    slm_buf_append(&other, path, (size_t)(name - path));
    slm_buf_text(&other, "merges.txt");
    slm_buf_byte(&other, 0);
    int err = slm_buf_ok(&other);
    if (!err && slm_import_exists((const char *)other.data)) {
        slm_unmap(&t->maps[MERGES]);
        err = slm_map_path(&t->maps[MERGES], (const char *)other.data, false,
                           import->allocator);
    }
    slm_buf_free(&other);
    return err;
}

/* The file of that path, read as whatever it is. */
static int read_path(struct slm_import *import, struct slm_vocab *vocab, struct texts *t,
                     const char *path)
{
    int err = slm_map_path(&t->maps[TOKENIZER], path, false, import->allocator);
    if (!err)
        err = open_merges(import, t, path);
    if (err)
        return err;
    err = read_any(import, vocab, t);
    return err ? slm_fail_in(err, "%s", path) : 1;
}

const char *slm_import_tokenizer_name(size_t i)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "tekken.json",
                                        "vocab.json",     "vocab.txt",       "qwen.tiktoken",
                                        "tiktoken.model"};
    return i < sizeof names / sizeof names[0] ? names[i] : NULL;
}

/* A folder where none of them is. */
static int fail_without(int code, const char *path)
{
    char names[160] = "";
    const char *name;
    for (size_t i = 0, n = 0; (name = slm_import_tokenizer_name(i)) && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s",
                              i == 0 ? "" : slm_import_tokenizer_name(i + 1) ? ", " : " or ", name);
    return slm_fail(code, "%s: is a directory without a tokenizer: no %s", path, names);
}

static int read_hf(struct slm_import *import, struct slm_vocab *vocab, struct texts *t)
{
    const char *name;
    int err = open_beside(import, t);
    if (err)
        return err;
    for (size_t i = 0; (name = slm_import_tokenizer_name(i)); i++) {
        int found = slm_import_read(import, name, &t->maps[TOKENIZER]);
        if (found < 0)
            return found;
        if (!found)
            continue;
        err = read_any(import, vocab, t);
        return err ? slm_fail_in(err, "%s/%s", import->path, name) : 1;
    }
    return 0;
}

/* What the caller names: a file, or a folder with the tokenizer of a Hugging Face model. */
static int read_named(struct slm_import *import, struct slm_vocab *vocab, struct texts *t)
{
    struct stat st;
    const char *path = import->tokenizer_path, *model = import->path;
    if (!path[0])
        return 0;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        struct slm_buf folder = import->folder;
        import->path = path;
        import->folder.data = NULL;
        int found = read_hf(import, vocab, t);
        import->path = model;
        import->folder = folder;
        return found ? found : fail_without(SLM_EIO, path);
    }
    int err = import->directory ? open_beside(import, t) : SLM_OK;
    return err ? err : read_path(import, vocab, t, path);
}

/* "tok512.bin" or "tokenizer.bin" in the folder of the checkpoint. */
static int read_llama2c(struct slm_import *import, struct slm_vocab *vocab, struct texts *t)
{
    char numbered[32];
    snprintf(numbered, sizeof numbered, "tok%u.bin", (unsigned)import->config.n_vocab);
    const char *const names[] = {numbered, "tokenizer.bin"};
    const char *slash = strrchr(import->path, '/');
    int result = 0;
    for (int i = 0; i < 2 && result == 0; i++) {
        struct slm_buf path = {.allocator = import->allocator};
        slm_buf_append(&path, import->path, slash ? (size_t)(slash + 1 - import->path) : 0);
        slm_buf_text(&path, names[i]);
        slm_buf_byte(&path, 0);
        result = slm_buf_ok(&path);
        if (!result && slm_import_exists((const char *)path.data))
            result = read_path(import, vocab, t, (const char *)path.data);
        slm_buf_free(&path);
    }
    return result;
}

/* 1: the vocabulary is filled; 0: there is none. */
static int read_vocab(struct slm_import *import, struct slm_vocab *vocab, struct texts *t)
{
    if (import->tokenizer_path)
        return read_named(import, vocab, t);
    if (import->directory)
        return read_hf(import, vocab, t);
    const struct slm_gguf *gguf = import->files[0].gguf;
    if (!gguf)
        return read_llama2c(import, vocab, t);
    if (!slm_gguf_find(gguf, "tokenizer.ggml.model"))
        return 0;
    int err = slm_vocab_from_gguf(vocab, gguf);
    return err ? slm_fail_in(err, "%s", import->path) : 1;
}

/* Lower case before all other steps. */
static int lower_first(struct slm_vocab *v)
{
    struct slm_buf rows = {.allocator = v->allocator};
    if (v->n_normal == SLM_TEXT_MAX_STEPS)
        return slm_fail(SLM_ELIMIT, "tokenizer: more than %d normalizers", SLM_TEXT_MAX_STEPS);
    slm_unicode_mapping(&rows, SLM_MAP_LOWER);
    int rc = slm_vocab_add_map(v, 0, &rows);
    if (rc < 0)
        return rc;
    struct slm_vocab_normal lower = v->normal[v->n_normal - 1];
    memmove(v->normal + 1, v->normal, (v->n_normal - 1) * sizeof lower);
    v->normal[0] = lower;
    return SLM_OK;
}

int slm_import_tokenizer(struct slm_import *import, struct slm_buf *section)
{
    struct slm_vocab vocab;
    struct texts t = {.maps = {{0}}};
    struct slm_text text;
    slm_vocab_init(&vocab, import->allocator);
    int err = read_vocab(import, &vocab, &t);
    if (err == 0 && import->vocabulary)
        err = import->directory
                  ? fail_without(SLM_EUNSUPPORTED, import->path)
                  : slm_fail(SLM_EUNSUPPORTED, "%s: there is no tokenizer in it or beside it",
                             import->path);
    else if (err == 0)
        slm_import_warn(import, "no tokenizer: the model will only take token ids");
    int lowered = err > 0 && import->config.lower_case ? lower_first(&vocab) : SLM_OK;
    err = lowered < 0 ? lowered : err;
    if (err > 0) {
        if (import->vocabulary)
            import->config.n_vocab = import->config.traits.n_vocab = vocab.n_tokens;
        /* Encoders whose tokenizer says nothing of pairs: type 1 begins with the second text. */
        uint32_t n = import->config.n_separators;
        if (vocab.n_pair == 0 && n > 0 && vocab.n_suffix > 0)
            slm_vocab_set_pair(&vocab, vocab.eos, n > 1 ? n - 1 : 0, n == 1);
        vocab.chat_template = (const char *)import->chat_template.data;
        vocab.n_template = import->chat_template.length;
        err = slm_vocab_build(&vocab, import->config.n_vocab, section);
        if (!err) /* what was built must be what the runtime takes */
            err = slm_text_open(&text, section->data, section->length, import->config.n_vocab);
        if (err)
            slm_fail_in(err, "%s: tokenizer", import->path);
    }
    slm_vocab_free(&vocab);
    close_texts(&t);
    return err;
}
