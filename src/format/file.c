/*
 * file.c - the reader of .slm: from bytes and a length to a validated directory.
 *
 * The order of the checks is the argument for their safety. Nothing is read before a length that
 * was checked covers it; a checksum is compared before the contents are believed (so an accident
 * is called damage, and only a deliberate file gets further); a value is checked before it is used
 * to find another one. Nothing is allocated and no weight is touched, so the time is that of a
 * few page faults, whatever the size of the model.
 */
#include "format/format.h"

#include "base/bits.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "quant/quant.h"

#include <stdio.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "records are used as they lie in the file, which is little-endian"
#endif

typedef unsigned long long ull;

/* Digits in groups of three: file sizes have many. */
struct grouped {
    char text[32];
};

static struct grouped group(uint64_t n)
{
    struct grouped out;
    char *p = out.text + sizeof out.text - 1;
    *p = '\0';
    for (int digits = 0; digits == 0 || n; digits++, n /= 10) {
        if (digits && digits % 3 == 0)
            *--p = ',';
        *--p = (char)('0' + n % 10);
    }
    memmove(out.text, p, strlen(p) + 1);
    return out;
}

static uint64_t align_up(uint64_t n) /* n is at most a file's length: no overflow */
{
    return (n + SLM_FILE_ALIGN - 1) / SLM_FILE_ALIGN * SLM_FILE_ALIGN;
}

static bool all_zero(const void *data, uint64_t n)
{
    const uint8_t *p = data;
    while (n && *p == 0)
        p++, n--;
    return n == 0;
}

/* What messages call a section. */
static const char *section_name(uint32_t kind)
{
    static const char *const names[] = {
        [SLM_SECTION_TRAITS] = "traits",      [SLM_SECTION_TOKENIZER] = "tokenizer",
        [SLM_SECTION_TEMPLATE] = "template",  [SLM_SECTION_METADATA] = "metadata",
        [SLM_SECTION_TENSORS] = "tensors",    [SLM_SECTION_DATA] = "data",
        [SLM_SECTION_SIGNATURE] = "signature"};
    return kind >= 1 && kind < sizeof names / sizeof names[0] ? names[kind] : "unknown";
}

/* ------------------------------------------------------------ header and directory --- */

/* XXH64 of header and directory with the hash's own field as zeros. */
static uint64_t directory_hash(const struct slm_file_header *header)
{
    struct slm_file_header blank = *header;
    blank.directory_hash = 0;
    struct slm_hasher h;
    slm_hasher_start(&h);
    slm_hasher_add(&h, &blank, sizeof blank);
    slm_hasher_add(&h, header + 1, header->n_sections * sizeof(struct slm_section_entry));
    return slm_hasher_end(&h);
}

/* Magic first: without it nothing else means anything. Then the version, because a newer one may
 * lay out the rest differently; then the length, so that the commonest accident, a copy that was
 * cut, gets its own words and not those of a checksum. Reserved bytes come after the checksum:
 * before it, a flipped bit would send people to look for a newer library. */
static int check_header(const struct slm_file_header *header, uint64_t length)
{
    if (length == 0)
        return slm_fail(SLM_EFORMAT, "the file is empty");
    if (length < sizeof header->magic || memcmp(header->magic, SLM_FILE_MAGIC, 8) != 0) {
        const char *what = slm_foreign_file((const uint8_t *)header, length);
        return slm_fail(SLM_EFORMAT, "%s",
                        what ? what
                             : "this is not a .slm file; `slm convert` makes one of a GGUF, "
                               "safetensors or llama2.c model");
    }
    if (length < sizeof *header)
        return slm_fail(SLM_EFORMAT,
                        "truncated: %llu bytes are less than a header; copy the file again",
                        (ull)length);
    if (header->major > SLM_FILE_MAJOR)
        return slm_fail(SLM_EVERSION,
                        "the file has format version %u.%u, libslm %s reads versions up to %u.x: "
                        "a newer libslm is needed",
                        header->major, header->minor, SLM_VERSION_STRING, SLM_FILE_MAJOR);
    if (header->major == 0)
        return slm_fail(SLM_EFORMAT, "damaged: format version 0 at byte 8; copy the file again");
    if (header->length > length)
        return slm_fail(SLM_EFORMAT,
                        "truncated: the header says %s bytes, there are %s; copy the file again",
                        group(header->length).text, group(length).text);
    if (header->length < length)
        return slm_fail(SLM_EFORMAT,
                        "the header says %s bytes, but there are %s: something was appended, or "
                        "the file is damaged; copy it again",
                        group(header->length).text, group(length).text);
    if (header->n_sections < 1 || header->n_sections > SLM_LIMIT_SECTIONS)
        return slm_fail(SLM_EFORMAT, "damaged: %u sections at byte 12; 1 to %u are possible",
                        header->n_sections, SLM_LIMIT_SECTIONS);
    if (length - sizeof *header < header->n_sections * sizeof(struct slm_section_entry))
        return slm_fail(SLM_EFORMAT,
                        "damaged: the directory of %u sections at byte 64 does not fit %llu bytes",
                        header->n_sections, (ull)length);
    if (directory_hash(header) != header->directory_hash)
        return slm_fail(SLM_EFORMAT, "damaged: the checksum of header and directory at byte 24 "
                                     "does not match; copy the file again");
    if (!all_zero(header->reserved, sizeof header->reserved))
        return slm_fail(SLM_EVERSION,
                        "a reserved byte of the header (32 to 63) is set: the file uses a feature "
                        "that libslm %s does not know; a newer version is needed",
                        SLM_VERSION_STRING);
    return SLM_OK;
}

/* What is read whole when a file is opened must be small, or a sparse file could make that last. */
static uint64_t section_limit(uint32_t kind)
{
    switch (kind) {
    case SLM_SECTION_TRAITS:
        return sizeof(struct slm_traits) + SLM_LIMIT_LAYERS * sizeof(struct slm_layer_traits) +
               SLM_LIMIT_ROPE_TABLES * sizeof(struct slm_rope_traits);
    case SLM_SECTION_TENSORS: return SLM_LIMIT_TENSORS * sizeof(struct slm_tensor_entry);
    case SLM_SECTION_TEMPLATE: return SLM_LIMIT_TEMPLATE;
    case SLM_SECTION_METADATA: return SLM_LIMIT_METADATA_BYTES;
    }
    return UINT64_MAX; /* tokenizer and data are not read then */
}

static int need_section(const struct slm_section_entry *const *known, uint32_t kind)
{
    return known[kind] ? SLM_OK
                       : slm_fail(SLM_EFORMAT, "the section '%s' is missing from the directory",
                                  section_name(kind));
}

/* Sections stand in the order of the file, so overlaps show between neighbours: no section begins
 * before the end of everything that was seen. Unknown kinds obey the same rules and are then
 * skipped, so that a file of a newer minor version can hold more than this reader uses. On success
 * known[] points at the entries of the kinds that this version knows. */
static int check_directory(const struct slm_file *file, const struct slm_section_entry **known)
{
    const struct slm_file_header *header = (const void *)file->data;
    const struct slm_section_entry *entries = (const void *)(header + 1);
    uint64_t end = sizeof *header + header->n_sections * sizeof *entries;
    for (uint32_t i = 0; i < header->n_sections; i++) {
        const struct slm_section_entry *e = &entries[i];
        const char *name = section_name(e->kind);
        ull where = (ull)((const uint8_t *)e - file->data);
        if (e->reserved)
            return slm_fail(SLM_EVERSION,
                            "section %u (%s): the reserved bytes at byte %llu are set; a newer "
                            "libslm is needed",
                            i, name, where + 4);
        if (e->offset % SLM_FILE_ALIGN)
            return slm_fail(SLM_EFORMAT,
                            "section %u (%s): offset %llu at byte %llu is no multiple of %d", i,
                            name, (ull)e->offset, where + 8, SLM_FILE_ALIGN);
        if (e->offset < end)
            return slm_fail(SLM_EFORMAT,
                            "section %u (%s): offset %llu at byte %llu lies before byte %llu, "
                            "where the one before ends",
                            i, name, (ull)e->offset, where + 8, (ull)end);
        if (e->offset > file->length || e->length > file->length - e->offset)
            return slm_fail(SLM_EFORMAT,
                            "section %u (%s): offset %llu and length %llu at byte %llu exceed the "
                            "file's %llu bytes",
                            i, name, (ull)e->offset, (ull)e->length, where + 8, (ull)file->length);
        end = e->offset + e->length; /* within the file: no overflow */
        if (e->kind < SLM_SECTION_TRAITS || e->kind > SLM_SECTION_DATA)
            continue;
        if (known[e->kind])
            return slm_fail(SLM_EFORMAT, "section %u (%s) at byte %llu is there twice", i, name,
                            where);
        if (e->length == 0)
            return slm_fail(SLM_EFORMAT, "section %u (%s) at byte %llu is empty", i, name, where);
        if (e->length > section_limit(e->kind))
            return slm_fail(SLM_ELIMIT, "section %u (%s) at byte %llu has %llu bytes; the limit is %llu",
                            i, name, where, (ull)e->length, (ull)section_limit(e->kind));
        known[e->kind] = e;
    }
    return need_section(known, SLM_SECTION_TRAITS);
}

static int check_section_hash(const struct slm_file *file, const struct slm_section_entry *e)
{
    if (slm_hash64(file->data + e->offset, (size_t)e->length) != e->hash)
        return slm_fail(SLM_EFORMAT,
                        "damaged: the checksum of section '%s' (%s bytes at byte %s) does not "
                        "match; copy the file again",
                        section_name(e->kind), group(e->length).text, group(e->offset).text);
    return SLM_OK;
}

/* ------------------------------------------------------------- template, metadata ---
 *
 * Both are handed out as text, to template engines, JSON writers and bindings that raise an
 * exception at the first byte that is no UTF-8. So it is checked once, here.
 */

/* UTF-8 without NUL: what can be handed to anybody as a C string. */
static bool is_text(const void *data, uint64_t n)
{
    const char *p = data, *end = p + n;
    uint32_t c;
    while (p < end) {
        size_t length = slm_utf8_decode(p, (size_t)(end - p), &c);
        if (length == 0 || c == 0)
            return false;
        p += length;
    }
    return true;
}

static int check_template(const struct slm_file *file)
{
    ull where = (ull)((const uint8_t *)file->chat_template - file->data);
    if (file->chat_template_length > SLM_LIMIT_TEMPLATE)
        return slm_fail(SLM_ELIMIT, "template: %llu bytes at byte %llu; the limit is %d",
                        (ull)file->chat_template_length, where, SLM_LIMIT_TEMPLATE);
    if (!is_text(file->chat_template, file->chat_template_length))
        return slm_fail(SLM_EFORMAT, "template: the text at byte %llu is not UTF-8", where);
    return SLM_OK;
}

/* count, 0, then for each pair: key length, value length, key, NUL, value, NUL. Nothing in it is
 * aligned, so numbers are loaded byte by byte. */
enum { METADATA_HEADER = 8, PAIR_HEADER = 8 };

/* One text of a pair: `length` bytes and a NUL at p, `left` bytes before the section's end. */
static int check_metadata_text(const struct slm_file *file, const char *what, uint32_t i,
                               const uint8_t *p, uint64_t left, uint32_t length)
{
    ull where = (ull)(p - file->data);
    if (length > SLM_LIMIT_METADATA_TEXT)
        return slm_fail(SLM_ELIMIT, "metadata: %s %u at byte %llu has %u bytes; the limit is %d",
                        what, i, where, length, SLM_LIMIT_METADATA_TEXT);
    if (left < (uint64_t)length + 1)
        return slm_fail(SLM_EFORMAT,
                        "metadata: %s %u at byte %llu has %u bytes and a NUL; the section ends "
                        "after %llu",
                        what, i, where, length, (ull)left);
    if (p[length] != 0 || !is_text(p, length))
        return slm_fail(SLM_EFORMAT,
                        "metadata: %s %u at byte %llu is not %u bytes of UTF-8 and a NUL", what, i,
                        where, length);
    return SLM_OK;
}

static int check_metadata(struct slm_file *file)
{
    const uint8_t *p = file->metadata, *end = p + file->metadata_length;
    if (file->metadata_length < METADATA_HEADER)
        return slm_fail(SLM_EFORMAT, "metadata: %llu bytes at byte %llu are too few",
                        (ull)file->metadata_length, (ull)(p - file->data));
    uint32_t count = slm_load_u32(p);
    if (count > SLM_LIMIT_METADATA)
        return slm_fail(SLM_ELIMIT, "metadata: %u pairs at byte %llu; the limit is %d", count,
                        (ull)(p - file->data), SLM_LIMIT_METADATA);
    if (slm_load_u32(p + 4))
        return slm_fail(SLM_EVERSION,
                        "metadata: the reserved bytes at byte %llu are set; a newer "
                        "libslm is needed",
                        (ull)(p + 4 - file->data));
    p += METADATA_HEADER;
    for (uint32_t i = 0; i < count; i++) {
        if (end - p < PAIR_HEADER)
            return slm_fail(SLM_EFORMAT, "metadata: pair %u of %u at byte %llu exceeds the section",
                            i, count, (ull)(p - file->data));
        uint32_t key_length = slm_load_u32(p), value_length = slm_load_u32(p + 4);
        p += PAIR_HEADER;
        int code = check_metadata_text(file, "key", i, p, (uint64_t)(end - p), key_length);
        if (code)
            return code;
        if (key_length == 0)
            return slm_fail(SLM_EFORMAT, "metadata: key %u at byte %llu is empty", i,
                            (ull)(p - file->data));
        p += key_length + 1;
        code = check_metadata_text(file, "value", i, p, (uint64_t)(end - p), value_length);
        if (code)
            return code;
        p += value_length + 1;
    }
    if (p != end)
        return slm_fail(SLM_EFORMAT, "metadata: %llu bytes after the last pair, at byte %llu",
                        (ull)(end - p), (ull)(p - file->data));
    file->n_metadata = count;
    return SLM_OK;
}

/* Lengths were checked by check_metadata(), so this only steps over the pairs before. Reading all
 * of them this way is quadratic in their number, which a limit keeps small. */
bool slm_file_metadata(const struct slm_file *file, uint32_t i, const char **key,
                       const char **value)
{
    if (i >= file->n_metadata)
        return false;
    const uint8_t *p = file->metadata + METADATA_HEADER;
    for (;; i--) {
        uint32_t key_length = slm_load_u32(p), value_length = slm_load_u32(p + 4);
        *key = (const char *)p + PAIR_HEADER;
        *value = *key + key_length + 1;
        if (i == 0)
            return true;
        p = (const uint8_t *)*value + value_length + 1;
    }
}

/* --------------------------------------------------------------------- tensors --- */

/* Which tensors a file has: one bit a role and layer. 128 bytes a role, some KB in all, so it can live
 * on the stack. It finds duplicates and gaps in one pass over a directory that is in no order that
 * would show them. */
struct seen {
    uint64_t bits[SLM_N_ROLES][SLM_LIMIT_LAYERS / 64];
};

/* Mark a tensor as seen; false when it was already. */
static bool see(struct seen *seen, uint32_t role, uint32_t layer)
{
    uint64_t *word = &seen->bits[role][layer == SLM_NO_LAYER ? 0 : layer / 64];
    uint64_t bit = UINT64_C(1) << (layer == SLM_NO_LAYER ? 0 : layer % 64);
    bool first = !(*word & bit);
    *word |= bit;
    return first;
}

/* "attn_q of layer 3": what a message calls a tensor. */
struct tensor_name {
    char text[64];
};

static struct tensor_name name_of(uint32_t role, uint32_t layer)
{
    struct tensor_name name;
    const struct slm_role_info *info = slm_role_info(role);
    if (layer == SLM_NO_LAYER)
        snprintf(name.text, sizeof name.text, "%s", info->name);
    else
        snprintf(name.text, sizeof name.text, "%s of %s %u", info->name,
                 slm_role_of_rope(role) ? "rope" : "layer", layer);
    return name;
}

/* Role, layer, type and shape are what the traits ask for. After this the rest of the library can
 * take the shape of any weight for granted. Called in the file's order; a later check may use what
 * an earlier one has established (slm_role_info() is not NULL, the layer indexes the traits). */
static int check_tensor_kind(const struct slm_file *file, const struct slm_tensor_entry *t,
                             uint32_t i, struct seen *seen)
{
    ull where = (ull)((const uint8_t *)t - file->data);
    const struct slm_role_info *info = slm_role_info(t->role);
    if (!info)
        return slm_fail(SLM_EUNSUPPORTED,
                        "tensor %u: role %u at byte %llu is unknown to libslm %s; a newer version "
                        "may know it",
                        i, t->role, where, SLM_VERSION_STRING);
    if (t->reserved0 || !all_zero(t->reserved, sizeof t->reserved))
        return slm_fail(SLM_EVERSION,
                        "tensor %u (%s): reserved bytes are set at byte %llu; a newer libslm is "
                        "needed",
                        i, info->name, where);
    uint32_t rows, cols;
    if (!slm_role_shape(t->role, t->layer, file->traits, file->layers, file->ropes, &rows, &cols))
        return slm_fail(SLM_EFORMAT, "tensor %u (%s) at byte %llu is not in the traits", i,
                        name_of(t->role, t->layer).text, where);
    struct tensor_name name = name_of(t->role, t->layer);
    if (!see(seen, t->role, t->layer))
        return slm_fail(SLM_EFORMAT, "tensor %u (%s) at byte %llu is there twice", i, name.text,
                        where);
    if (!slm_quant(t->type))
        return slm_fail(SLM_EUNSUPPORTED,
                        "tensor %u (%s): type %u at byte %llu is unknown to libslm %s; a newer "
                        "version may know it",
                        i, name.text, t->type, where + 8, SLM_VERSION_STRING);
    if (!info->matrix && t->type != SLM_TYPE_F32)
        return slm_fail(SLM_EFORMAT, "tensor %u (%s): a vector must be f32; it is %s at byte %llu",
                        i, name.text, slm_quant(t->type)->name, where + 8);
    if (t->rows != rows || t->cols != cols)
        return slm_fail(SLM_EFORMAT,
                        "tensor %u (%s): shape %u x %u at byte %llu; the traits ask for %u x %u", i,
                        name.text, t->rows, t->cols, where + 12, rows, cols);
    return SLM_OK;
}

/* The tensors fill DATA in the order of their entries, each at the next multiple of 64. With only
 * one place where a tensor may be, there is nothing left to say about overlaps and gaps, and a
 * small file can't claim to be a large model by showing the same bytes many times. *next and
 * data_end are multiples of 64 with *next <= data_end. */
static int check_tensor_place(const struct slm_file *file, const struct slm_tensor_entry *t,
                              uint32_t i, uint64_t *next, uint64_t data_end)
{
    ull where = (ull)((const uint8_t *)t - file->data);
    struct tensor_name name = name_of(t->role, t->layer);
    uint64_t bytes;
    if (!slm_tensor_bytes(slm_role_info(t->role)->matrix, t->type, t->rows, t->cols, &bytes) ||
        t->length != bytes)
        return slm_fail(
            SLM_EFORMAT, "tensor %u (%s): length %llu at byte %llu is not that of %u x %u in %s", i,
            name.text, (ull)t->length, where + 32, t->rows, t->cols, slm_quant(t->type)->name);
    if (t->offset != *next)
        return slm_fail(SLM_EFORMAT,
                        "tensor %u (%s): offset %llu at byte %llu; the tensor before ends so that "
                        "it must be %llu",
                        i, name.text, (ull)t->offset, where + 24, (ull)*next);
    if (bytes > data_end - *next)
        return slm_fail(SLM_EFORMAT,
                        "tensor %u (%s): %llu bytes at byte %llu exceed the section 'data', which "
                        "ends at %llu",
                        i, name.text, (ull)bytes, where + 32, (ull)data_end);
    *next = align_up(t->offset + bytes);
    return SLM_OK;
}

/* see() returns true for what was never seen. */
static int check_none_missing(const struct slm_file *file, struct seen *seen)
{
    uint32_t rows, cols;
    for (uint32_t role = 0; role < SLM_N_ROLES; role++) {
        const struct slm_role_info *info = slm_role_info(role);
        if (!info || !info->required)
            continue;
        uint32_t n = info->per_layer ? slm_role_layers(role, file->traits) : 1;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t layer = info->per_layer ? i : SLM_NO_LAYER;
            if (slm_role_shape(role, layer, file->traits, file->layers, file->ropes, &rows, &cols) &&
                see(seen, role, layer))
                return slm_fail(SLM_EFORMAT, "tensor %s is missing", name_of(role, layer).text);
        }
    }
    return SLM_OK;
}

static int check_tensors(const struct slm_file *file, const struct slm_section_entry *directory,
                         const struct slm_section_entry *data)
{
    uint64_t next = data->offset, end = data->offset + data->length;
    struct seen seen = {0};
    if (data->length % SLM_FILE_ALIGN || data->hash)
        return slm_fail(SLM_EFORMAT,
                        "section 'data': its length %llu must be a multiple of %d and its hash 0",
                        (ull)data->length, SLM_FILE_ALIGN);
    if (directory->length % sizeof *file->tensors)
        return slm_fail(SLM_EFORMAT, "section 'tensors': its length %llu is no multiple of %zu",
                        (ull)directory->length, sizeof *file->tensors);
    if (directory->length / sizeof *file->tensors > SLM_LIMIT_TENSORS)
        return slm_fail(SLM_ELIMIT, "section 'tensors': %llu tensors; the limit is %d",
                        (ull)(directory->length / sizeof *file->tensors), SLM_LIMIT_TENSORS);
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        int code = check_tensor_kind(file, &file->tensors[i], i, &seen);
        if (!code)
            code = check_tensor_place(file, &file->tensors[i], i, &next, end);
        if (code)
            return code;
    }
    if (next != end)
        return slm_fail(SLM_EFORMAT,
                        "section 'data' ends at %llu, but its last tensor ends at %llu", (ull)end,
                        (ull)next);
    return check_none_missing(file, &seen);
}

const struct slm_tensor_entry *slm_file_tensor(const struct slm_file *file, uint32_t role,
                                               uint32_t layer)
{
    for (uint32_t i = 0; i < file->n_tensors; i++)
        if (file->tensors[i].role == role && file->tensors[i].layer == layer)
            return &file->tensors[i];
    return NULL;
}

/* ----------------------------------------------------------------------- whole --- */

/* Without layers the file is a vocabulary, and then it has no weights. */
static int parse_tensors(struct slm_file *file, const struct slm_section_entry **known)
{
    const struct slm_section_entry *e = known[SLM_SECTION_TENSORS];
    if (file->traits->n_layers == 0 && (e || known[SLM_SECTION_DATA]))
        return slm_fail(SLM_EFORMAT, "the file has weights, and its traits have no layers");
    if (file->traits->n_layers == 0)
        return SLM_OK;
    int code = need_section(known, SLM_SECTION_TENSORS);
    if (!code)
        code = need_section(known, SLM_SECTION_DATA);
    if (code)
        return code;
    file->tensors = (const void *)(file->data + e->offset);
    file->n_tensors = (uint32_t)(e->length / sizeof *file->tensors);
    return check_tensors(file, e, known[SLM_SECTION_DATA]);
}

/* Everything that this version knows is checked before anything of it is used. The tokenizer's
 * section is left to text/, and its checksum to slm_file_verify(): it is the one large section
 * besides the weights, and hashing it would read all of its pages. */
static int parse(struct slm_file *file)
{
    const struct slm_section_entry *known[SLM_SECTION_DATA + 1] = {0};
    int code = check_header((const void *)file->data, file->length);
    if (!code)
        code = check_directory(file, known);
    for (uint32_t kind = SLM_SECTION_TRAITS; !code && kind <= SLM_SECTION_TENSORS; kind++)
        if (known[kind] && kind != SLM_SECTION_TOKENIZER)
            code = check_section_hash(file, known[kind]);
    if (code)
        return code;

    const struct slm_section_entry *e = known[SLM_SECTION_TRAITS];
    const void *traits = file->data + e->offset;
    code = slm_traits_check(traits, e->length, e->offset);
    if (code)
        return code;
    file->traits = traits;
    file->layers = (const void *)(file->traits + 1);
    file->ropes = (const void *)(file->layers + file->traits->n_layers);

    if ((code = parse_tensors(file, known)))
        return code;

    if ((e = known[SLM_SECTION_TOKENIZER])) {
        file->tokenizer = file->data + e->offset;
        file->tokenizer_length = e->length;
    }
    if ((e = known[SLM_SECTION_TEMPLATE])) {
        file->chat_template = (const char *)file->data + e->offset;
        file->chat_template_length = e->length;
        if ((code = check_template(file)))
            return code;
    }
    if ((e = known[SLM_SECTION_METADATA])) {
        file->metadata = file->data + e->offset;
        file->metadata_length = e->length;
        if ((code = check_metadata(file)))
            return code;
    }
    return SLM_OK;
}

int slm_file_parse(struct slm_file *file, const void *data, uint64_t length)
{
    *file = (struct slm_file){.data = data, .length = length};
    int code = SLM_OK;
    if ((uintptr_t)data % SLM_FILE_ALIGN)
        code =
            slm_fail(SLM_EINVAL, "the file must lie at a multiple of %d in memory", SLM_FILE_ALIGN);
    if (length > SIZE_MAX)
        code = slm_fail(SLM_ELIMIT, "%s bytes do not fit this machine's addresses",
                        group(length).text);
    if (!code)
        code = parse(file);
    if (code)
        *file = (struct slm_file){0};
    return code;
}

/* ---------------------------------------------------------------------- verify --- */

/* One walk from the first byte to the last: `done` only grows, and every step either hashes the
 * bytes up to a place or finds them to be zero. So no byte can escape. The parsed directory is
 * trusted here. */

enum { VERIFY_STEP = 1 << 22 }; /* bytes between two calls of progress: a millisecond from cache */

struct verify {
    const struct slm_file *file;
    slm_progress_fn progress;
    void *user;
    uint64_t done;
};

/* Hash the bytes from done up to end, calling progress on the way. */
static int hash_up_to(struct verify *v, uint64_t end, uint64_t *hash)
{
    struct slm_hasher h;
    slm_hasher_start(&h);
    while (v->done < end) {
        uint64_t n = end - v->done < VERIFY_STEP ? end - v->done : VERIFY_STEP;
        slm_hasher_add(&h, v->file->data + v->done, (size_t)n);
        v->done += n;
        if (v->progress && v->progress(v->user, v->done, v->file->length))
            return slm_fail(SLM_EINTR, "stopped while verifying");
    }
    *hash = slm_hasher_end(&h);
    return SLM_OK;
}

/* The bytes from done up to end are padding. */
static int zero_up_to(struct verify *v, uint64_t end)
{
    if (!all_zero(v->file->data + v->done, end - v->done))
        return slm_fail(SLM_EFORMAT, "damaged: the padding between bytes %llu and %llu is not 0",
                        (ull)v->done, (ull)end);
    v->done = end;
    return SLM_OK;
}

static int verify_tensors(struct verify *v)
{
    for (uint32_t i = 0; i < v->file->n_tensors; i++) {
        const struct slm_tensor_entry *t = &v->file->tensors[i];
        uint64_t hash = 0;
        int code = hash_up_to(v, t->offset + t->length, &hash);
        if (code)
            return code;
        if (hash != t->hash)
            return slm_fail(SLM_EFORMAT,
                            "damaged: the checksum of tensor %s (%s bytes at byte %s) does not "
                            "match; copy the file again",
                            name_of(t->role, t->layer).text, group(t->length).text,
                            group(t->offset).text);
        if ((code = zero_up_to(v, align_up(v->done))))
            return code;
    }
    return SLM_OK;
}

int slm_file_verify(const struct slm_file *file, slm_progress_fn progress, void *user)
{
    const struct slm_file_header *header = (const void *)file->data;
    const struct slm_section_entry *entries = (const void *)(header + 1);
    struct verify v = {file, progress, user, sizeof *header + header->n_sections * sizeof *entries};
    for (uint32_t i = 0; i < header->n_sections; i++) {
        const struct slm_section_entry *e = &entries[i];
        int code = zero_up_to(&v, e->offset);
        if (code)
            return code;
        if (e->kind == SLM_SECTION_DATA) {
            code = verify_tensors(&v);
        } else {
            uint64_t hash = 0;
            code = hash_up_to(&v, e->offset + e->length, &hash);
            if (!code && hash != e->hash)
                code =
                    slm_fail(SLM_EFORMAT,
                             "damaged: the checksum of section '%s' (%s bytes at byte %s) does "
                             "not match; copy the file again",
                             section_name(e->kind), group(e->length).text, group(e->offset).text);
        }
        if (code)
            return code;
    }
    return zero_up_to(&v, file->length);
}
