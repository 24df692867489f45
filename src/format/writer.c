/*
 * writer.c - a .slm file, streamed to disk.
 *
 *     header | directory (room for 14) | sections as given | metadata | data | tensors
 *
 * Front and back are fixed or come last, so every weight is written once, as it arrives, and
 * hashed on the way; only header and directory are filled in at the end. The bytes depend on what
 * was given and on nothing else: no clock, no path, no address.
 *
 * The temporary file stands beside its target, so that the rename is one step of one file system:
 * whoever looks sees the old file, or none, or the whole new one. What is finished has been read
 * by slm_file_parse(), so a converter's mistake shows when the file is made and not when it is
 * used.
 */
#include "format/format.h"

#include "base/bits.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/utf8.h"
#include "quant/quant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ROOM = 14,            /* entries: header and directory fill 512 bytes */
    BUFFER_SIZE = 1 << 20 /* bytes of one write() */
};

struct slm_writer {
    char *path; /* the target */
    char *temporary;
    size_t path_size; /* of both allocations, NUL included */
    size_t temporary_size;
    int fd;
    bool renamed; /* there is no temporary file any more */
    int failed;   /* the first error; sticky */

    uint8_t *buffer; /* [BUFFER_SIZE] */
    size_t buffered;
    uint64_t length; /* bytes so far, the buffered ones included */

    struct slm_section_entry sections[ROOM];
    uint32_t n_sections;
    struct slm_buf metadata; /* pairs so far */
    uint32_t n_metadata;
    struct slm_buf tensors;        /* slm_tensor_entry[] so far */
    uint64_t tensor_left;          /* bytes that the open tensor still wants */
    struct slm_hasher tensor_hash; /* of the open tensor */
};

/* Tensors have begun: the section DATA is open, and it is the last but one. */
static bool in_data(const struct slm_writer *w)
{
    return w->tensors.length > 0;
}

/* ----------------------------------------------------------------------- bytes --- */

/* Remember the first failure: what follows could only make the file worse. */
static int stick(struct slm_writer *w, int code)
{
    if (code && !w->failed)
        w->failed = code;
    return code;
}

static int system_error(struct slm_writer *w, const char *verb)
{
    int number = errno;
    return stick(w, slm_fail(SLM_EIO, "%s: could not be %s: %s", w->path, verb, strerror(number)));
}

static int check_usable(const struct slm_writer *w)
{
    if (w->failed)
        return slm_fail(w->failed, "%s: writing it has failed before", w->path);
    if (w->renamed)
        return slm_fail(SLM_ESTATE, "%s: is finished", w->path);
    return SLM_OK;
}

/* write() may take less than it was given, and never takes more than 2 GB. */
static int write_all(struct slm_writer *w, const uint8_t *data, size_t n)
{
    while (n) {
        ssize_t written = write(w->fd, data, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return system_error(w, "written");
        data += written;
        n -= (size_t)written;
    }
    return SLM_OK;
}

static int flush(struct slm_writer *w)
{
    int code = write_all(w, w->buffer, w->buffered);
    w->buffered = 0;
    return code;
}

/* Append to the file: through the buffer, or past it. */
static int put(struct slm_writer *w, const void *data, size_t n)
{
    w->length += n;
    if (n >= BUFFER_SIZE) { /* large pieces need no copy */
        int code = flush(w);
        return code ? code : write_all(w, data, n);
    }
    const uint8_t *p = data;
    while (n) {
        size_t room = BUFFER_SIZE - w->buffered, take = n < room ? n : room;
        memcpy(w->buffer + w->buffered, p, take);
        w->buffered += take;
        p += take;
        n -= take;
        if (w->buffered == BUFFER_SIZE) {
            int code = flush(w);
            if (code)
                return code;
        }
    }
    return SLM_OK;
}

/* Zeros up to the next multiple of 64. */
static int pad(struct slm_writer *w)
{
    static const uint8_t zeros[SLM_FILE_ALIGN];
    return put(w, zeros, (size_t)(0 - w->length) % SLM_FILE_ALIGN);
}

/* ----------------------------------------------------------------- new and free --- */

/* A copy with room for `extra` more bytes; *size is what slm_free() wants back. */
static void *copy_text(const char *text, size_t *size, size_t extra)
{
    *size = strlen(text) + 1 + extra;
    char *copy = slm_alloc(NULL, *size);
    if (copy)
        memcpy(copy, text, *size - extra);
    return copy;
}

/* A name that nobody has: the path, ".tmp" and a number. Process numbers keep two converters
 * apart; what a killed one left behind is stepped over. */
static int create_temporary(struct slm_writer *w)
{
    enum { SUFFIX = 40, ATTEMPTS = 100 };
    w->temporary = copy_text(w->path, &w->temporary_size, SUFFIX);
    if (!w->temporary)
        return SLM_ENOMEM;
    size_t n = strlen(w->path);
    for (int i = 0; i < ATTEMPTS; i++) {
        snprintf(w->temporary + n, SUFFIX, ".tmp%ld-%d", (long)getpid(), i);
        w->fd = open(w->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd >= 0)
            return SLM_OK;
        if (errno != EEXIST)
            break;
    }
    return system_error(w, "created");
}

/* Renaming over a device would replace it, and over a folder would fail at the very end. */
static int check_target(const char *path)
{
    struct stat info;
    if (!path[0])
        return slm_fail(SLM_EINVAL, "the path of the file to write is empty");
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return slm_fail(SLM_EIO, "%s: is %s; give the name of a file", path,
                        S_ISDIR(info.st_mode) ? "a directory" : "no regular file");
    return SLM_OK;
}

int slm_writer_new(struct slm_writer **out, const char *path)
{
    *out = NULL;
    int code = check_target(path);
    if (code)
        return code;
    struct slm_writer *w = slm_calloc(NULL, sizeof *w);
    if (!w)
        return SLM_ENOMEM;
    w->fd = -1;
    w->path = copy_text(path, &w->path_size, 0);
    w->buffer = slm_alloc(NULL, BUFFER_SIZE);
    code = w->path && w->buffer ? create_temporary(w) : SLM_ENOMEM;
    if (code) {
        slm_writer_free(w);
        return code;
    }
    /* Header and directory are zeros for now, and no reader takes the file for one. */
    w->length = w->buffered =
        sizeof(struct slm_file_header) + ROOM * sizeof(struct slm_section_entry);
    memset(w->buffer, 0, w->buffered);
    *out = w;
    return SLM_OK;
}

void slm_writer_free(struct slm_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0) {
        close(w->fd);
        if (!w->renamed)
            unlink(w->temporary);
    }
    slm_buf_free(&w->metadata);
    slm_buf_free(&w->tensors);
    slm_free(NULL, w->buffer, BUFFER_SIZE);
    slm_free(NULL, w->path, w->path_size);
    slm_free(NULL, w->temporary, w->temporary_size);
    slm_free(NULL, w, sizeof *w);
}

uint64_t slm_writer_length(const struct slm_writer *w)
{
    return w->length;
}

/* -------------------------------------------------------------------- sections --- */

/* Begin a section at the next multiple of 64. */
static int open_section(struct slm_writer *w, uint32_t kind)
{
    if (w->n_sections == ROOM)
        return stick(w, slm_fail(SLM_ELIMIT, "%s: more than %d sections", w->path, ROOM));
    int code = pad(w);
    w->sections[w->n_sections++] = (struct slm_section_entry){.kind = kind, .offset = w->length};
    return code;
}

/* End the section at the last byte written; padding is not part of it. */
static void close_section(struct slm_writer *w, uint64_t hash)
{
    struct slm_section_entry *e = &w->sections[w->n_sections - 1];
    e->length = w->length - e->offset;
    e->hash = hash;
}

static int put_section(struct slm_writer *w, uint32_t kind, const void *data, uint64_t length)
{
    int code = open_section(w, kind);
    if (!code)
        code = put(w, data, (size_t)length);
    if (!code)
        close_section(w, slm_hash64(data, (size_t)length));
    return code;
}

int slm_writer_section(struct slm_writer *w, uint32_t kind, const void *data, uint64_t length)
{
    int code = check_usable(w);
    if (code)
        return code;
    if (in_data(w))
        return slm_fail(SLM_ESTATE, "%s: sections come before tensors", w->path);
    if (kind == SLM_SECTION_METADATA || kind == SLM_SECTION_TENSORS || kind == SLM_SECTION_DATA)
        return slm_fail(SLM_EINVAL, "%s: section %u is the writer's own", w->path, kind);
    if (length > SIZE_MAX)
        return slm_fail(SLM_EINVAL, "%s: a section exceeds this machine's addresses", w->path);
    return length ? put_section(w, kind, data, length) : SLM_OK;
}

/* Append a text; what is no UTF-8 becomes U+FFFD. Returns its length in bytes. */
static size_t append_text(struct slm_buf *b, const char *text)
{
    size_t start = b->length, n = strlen(text);
    for (size_t i = 0, length; i < n; i += length ? length : 1) {
        uint32_t c;
        length = slm_utf8_decode(text + i, n - i, &c);
        if (length)
            slm_buf_append(b, text + i, length);
        else
            slm_buf_text(b, SLM_UTF8_REPLACEMENT);
    }
    size_t written = b->length - start;
    slm_buf_byte(b, 0);
    return written;
}

/* Whether a key stands among the pairs already. Pairs are kept as they will stand in the file:
 * key length, value length, key, NUL, value, NUL. */
static bool has_key(const struct slm_buf *pairs, const char *key)
{
    for (size_t at = 0; at < pairs->length;) {
        const uint8_t *p = pairs->data + at;
        if (strcmp((const char *)p + 8, key) == 0)
            return true;
        at += 8 + (size_t)slm_load_u32(p) + 1 + slm_load_u32(p + 4) + 1;
    }
    return false;
}

static void store_u32(uint8_t *p, size_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

int slm_writer_metadata(struct slm_writer *w, const char *key, const char *value)
{
    int code = check_usable(w);
    if (code)
        return code;
    if (in_data(w))
        return slm_fail(SLM_ESTATE, "%s: metadata comes before tensors", w->path);
    if (!key[0] || has_key(&w->metadata, key))
        return slm_fail(SLM_EINVAL, "%s: metadata key '%s' is empty or given twice", w->path, key);
    if (w->n_metadata == SLM_LIMIT_METADATA)
        return slm_fail(SLM_ELIMIT, "%s: more than %d metadata pairs", w->path, SLM_LIMIT_METADATA);

    /* The lengths are known only when the texts were cleaned: leave room, fill in later. */
    struct slm_buf *b = &w->metadata;
    size_t start = b->length;
    slm_buf_u32(b, 0);
    slm_buf_u32(b, 0);
    size_t key_length = append_text(b, key);
    size_t value_length = append_text(b, value);
    if (b->failed)
        return stick(w, SLM_ENOMEM);
    if (key_length > SLM_LIMIT_METADATA_TEXT || value_length > SLM_LIMIT_METADATA_TEXT) {
        b->length = start;
        return slm_fail(SLM_ELIMIT, "%s: a metadata text of more than %d bytes", w->path,
                        SLM_LIMIT_METADATA_TEXT);
    }
    store_u32(b->data + start, key_length);
    store_u32(b->data + start + 4, value_length);
    w->n_metadata++;
    return SLM_OK;
}

/* The section that the pairs make, before the first tensor. */
static int put_metadata(struct slm_writer *w)
{
    if (w->n_metadata == 0)
        return SLM_OK;
    struct slm_buf section = {0};
    slm_buf_u32(&section, w->n_metadata);
    slm_buf_u32(&section, 0);
    slm_buf_append(&section, w->metadata.data, w->metadata.length);
    int code = slm_buf_ok(&section);
    if (!code)
        code = put_section(w, SLM_SECTION_METADATA, section.data, section.length);
    slm_buf_free(&section);
    return stick(w, code);
}

/* --------------------------------------------------------------------- tensors --- */

/* The last tensor begun. Entries live in a byte buffer, so this is good until the next append. */
static struct slm_tensor_entry *last_tensor(struct slm_writer *w)
{
    return (void *)(w->tensors.data + w->tensors.length - sizeof(struct slm_tensor_entry));
}

/* Seal the open tensor, if there is one. */
static int close_tensor(struct slm_writer *w)
{
    if (!in_data(w))
        return SLM_OK;
    if (w->tensor_left)
        return slm_fail(SLM_ESTATE, "%s: the last tensor still wants %llu bytes", w->path,
                        (unsigned long long)w->tensor_left);
    last_tensor(w)->hash = slm_hasher_end(&w->tensor_hash);
    return pad(w);
}

int slm_writer_tensor(struct slm_writer *w, uint32_t role, uint32_t layer, uint32_t type,
                      uint32_t rows, uint32_t cols)
{
    int code = check_usable(w);
    if (code)
        return code;
    const struct slm_role_info *info = slm_role_info(role);
    uint64_t bytes;
    if (!info || !rows || !cols || !slm_tensor_bytes(info->matrix, type, rows, cols, &bytes))
        return slm_fail(SLM_EINVAL, "%s: no tensor has role %u, type %u and shape %u x %u", w->path,
                        role, type, rows, cols);
    if ((code = close_tensor(w)))
        return code;
    if (!in_data(w)) {
        if ((code = put_metadata(w)) || (code = open_section(w, SLM_SECTION_DATA)))
            return code;
    }
    struct slm_tensor_entry entry = {.role = role,
                                     .layer = layer,
                                     .type = type,
                                     .rows = rows,
                                     .cols = cols,
                                     .offset = w->length,
                                     .length = bytes};
    slm_buf_append(&w->tensors, &entry, sizeof entry);
    if (w->tensors.failed)
        return stick(w, SLM_ENOMEM);
    w->tensor_left = bytes;
    slm_hasher_start(&w->tensor_hash);
    return SLM_OK;
}

int slm_writer_write(struct slm_writer *w, const void *data, uint64_t length)
{
    int code = check_usable(w);
    if (code)
        return code;
    if (length > w->tensor_left || length > SIZE_MAX)
        return slm_fail(SLM_EINVAL, "%s: %llu bytes for a tensor that wants %llu", w->path,
                        (unsigned long long)length, (unsigned long long)w->tensor_left);
    slm_hasher_add(&w->tensor_hash, data, (size_t)length);
    w->tensor_left -= length;
    return put(w, data, (size_t)length);
}

/* ---------------------------------------------------------------------- finish --- */

/* Header and directory, over the zeros that held their place. Only now is this a .slm file. */
static int put_front(struct slm_writer *w)
{
    struct {
        struct slm_file_header header;
        struct slm_section_entry entries[ROOM];
    } front = {.header = {.major = SLM_FILE_MAJOR,
                          .minor = SLM_FILE_MINOR,
                          .n_sections = w->n_sections,
                          .length = w->length}};
    memcpy(front.header.magic, SLM_FILE_MAGIC, sizeof front.header.magic);
    size_t used = sizeof front.header + w->n_sections * sizeof front.entries[0];
    memcpy(front.entries, w->sections, sizeof front.entries);
    front.header.directory_hash = slm_hash64(&front, used);
    if (lseek(w->fd, 0, SEEK_SET) != 0)
        return system_error(w, "written");
    return write_all(w, (const uint8_t *)&front, used);
}

/* What a user will open must open. */
static int read_back(struct slm_writer *w)
{
    struct slm_mapping map;
    int code = slm_map_fd(&map, w->fd, 0, w->length, false, w->path, NULL);
    if (code)
        return stick(w, code);
    struct slm_file file;
    code = slm_file_parse(&file, map.data, map.length);
    slm_unmap(&map);
    return code ? stick(w, slm_fail_in(code, "%s: as written", w->path)) : SLM_OK;
}

/* The rename itself must survive a power failure. A folder that can't be opened for reading, or a
 * file system that can't sync folders, is no reason to fail: the file is there. */
static int sync_folder(struct slm_writer *w)
{
    const char *slash = strrchr(w->path, '/');
    size_t n = slash ? (size_t)(slash - w->path) + 1 : 1; /* "/" stays "/" */
    char *folder = w->temporary;                          /* longer, and not needed any more */
    memcpy(folder, slash ? w->path : ".", n);
    folder[n] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return SLM_OK;
    int code = SLM_OK;
    if (fsync(fd) != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT))
        code = system_error(w, "synced into its folder");
    close(fd);
    return code;
}

/* The order matters: the bytes are on the disk before they get their name, so that after a power
 * failure the name stands for the whole file or for the one before. */
int slm_writer_finish(struct slm_writer *w)
{
    int code = check_usable(w);
    if (code)
        return code;
    if (w->n_sections == 0)
        return slm_fail(SLM_ESTATE, "%s: a file without sections", w->path);
    if ((code = close_tensor(w)))
        return code;
    if (in_data(w)) {
        close_section(w, 0);
        code = put_section(w, SLM_SECTION_TENSORS, w->tensors.data, w->tensors.length);
    } else { /* a vocabulary: reading back finds out if it is none */
        code = put_metadata(w);
    }
    if (!code)
        code = flush(w);
    if (!code)
        code = put_front(w);
    if (!code && fsync(w->fd) != 0)
        code = system_error(w, "synced");
    if (!code)
        code = read_back(w);
    if (code)
        return code;
    if (rename(w->temporary, w->path) != 0)
        return system_error(w, "renamed");
    w->renamed = true;
    return sync_folder(w);
}
