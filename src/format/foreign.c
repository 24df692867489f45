/*
 * foreign.c - a file that is no .slm: what is it, and what should its owner do?
 *
 * Recognised by its first bytes alone. Only for messages; nothing here decides what is read.
 */
#include "format/format.h"

#include "base/bits.h"

#include <string.h>

static const struct {
    const char *prefix;
    const char *what; /* and the remedy */
} kinds[] = {
    {"GGUF", "this is a GGUF file: convert it with `slm convert`"},
    {"FUGG", "this is a big-endian GGUF file, which libslm does not read"},
    {"lmgg", "this is a ggml file from before GGUF: get the model as GGUF or safetensors"},
    {"tjgg", "this is a ggml file from before GGUF: get the model as GGUF or safetensors"},
    {"PK\x03\x04", "this is a ZIP archive or a PyTorch checkpoint: get the model as safetensors"},
    {"\x80\x02", "this is a Python pickle: get the model as safetensors"},
    {"\x1F\x8B", "this is a gzip archive: unpack it first"},
    {"\x28\xB5\x2F\xFD", "this is a Zstandard archive: unpack it first"},
    {"\xFD"
     "7zXZ",
     "this is an xz archive: unpack it first"},
    {"version https://git-lfs", "this is a Git LFS pointer, not the file itself: `git lfs pull`"},
    {"<!DOCTYPE", "this is a web page: the download went wrong"},
    {"<!doctype", "this is a web page: the download went wrong"},
    {"<html", "this is a web page: the download went wrong"},
    {"\x89SLM", "this was a .slm file, but its first bytes were changed, as a transfer in text "
                "mode does: copy it again in binary mode"},
    {"\x7F"
     "ELF",
     "this is a program"},
    {"{", "this is a JSON file: give `slm convert` the directory that it is in"},
};

/* A safetensors file begins with the length of its JSON header and "{". */
static bool is_safetensors(const uint8_t *data, uint64_t length)
{
    return length > 16 && data[8] == '{' && slm_load_u64(data) < (1u << 30) &&
           (data[9] == '"' || data[9] == ' ' || data[9] == '\n' || data[9] == '}');
}

const char *slm_foreign_file(const uint8_t *data, uint64_t length)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t n = strlen(kinds[i].prefix);
        if (length >= n && memcmp(data, kinds[i].prefix, n) == 0)
            return kinds[i].what;
    }
    if (is_safetensors(data, length))
        return "this is a safetensors file: convert the directory that it is in with `slm convert`";
    return NULL;
}
