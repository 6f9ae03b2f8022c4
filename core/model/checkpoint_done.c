/* DONE: one line "sha256  size  name" for each file of a model's folder, written last. Whoever
 * loads a model first holds the folder against it, so an interrupted copy, a changed file and a
 * swapped one are all noticed before any of them is believed. */
#include "model/checkpoint_done.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/size.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DONE_BYTES_MAX = 64 << 10, PIECE_BYTES = 1 << 16 };

const done_file *done_find(const done_list *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->files[i].name, name) == 0)
            return &list->files[i];
    return NULL;
}

/* Opens a regular file of the folder. O_NONBLOCK keeps a pipe in its place from stopping us. */
static rz_status open_regular(int folder, const char *name, int *out, uint64_t *size_bytes,
                              rz_error *error)
{
    struct stat info;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return errno == ELOOP ? rz_fail(error, RZ_E_CORRUPT,
                                        "%s is a symbolic link; a model's folder holds "
                                        "files only",
                                        name)
                              : rz_fail_errno(error, errno, "cannot open %s", name);
    rz_status status = RZ_OK;
    if (fstat(fd, &info) != 0)
        status = rz_fail_errno(error, errno, "cannot inspect %s", name);
    else if (!S_ISREG(info.st_mode))
        status = rz_fail(error, RZ_E_CORRUPT, "%s is not a regular file", name);
    if (status != RZ_OK) {
        (void)close(fd);
        return status;
    }
    *out = fd;
    *size_bytes = (uint64_t)info.st_size;
    return RZ_OK;
}

static rz_status read_piece(int fd, void *out, size_t n, const char *name, size_t *got,
                            rz_error *error)
{
    ssize_t bytes;
    do
        bytes = read(fd, out, n);
    while (bytes < 0 && errno == EINTR);
    if (bytes < 0)
        return rz_fail_errno(error, errno, "cannot read %s", name);
    *got = (size_t)bytes;
    return RZ_OK;
}

/* A whole file within the open folder, never through a link; new memory, NUL appended. */
static rz_status folder_read(int folder, const char *name, size_t limit, char **data,
                             size_t *length, rz_error *error)
{
    int fd;
    uint64_t size;
    size_t used = 0, got = 1;
    rz_status status = open_regular(folder, name, &fd, &size, error);
    if (status != RZ_OK)
        return status;
    char *bytes = NULL;
    if (size > limit)
        status = rz_fail(error, RZ_E_CORRUPT, "%s has %" PRIu64 " bytes, at most %zu are read",
                         name, size, limit);
    else if ((bytes = malloc((size_t)size + 1)) == NULL)
        status =
            rz_fail(error, RZ_E_NO_MEMORY, "no memory for the %" PRIu64 " bytes of %s", size, name);
    while (status == RZ_OK && used < size && got > 0) {
        status = read_piece(fd, bytes + used, (size_t)size - used, name, &got, error);
        used += status == RZ_OK ? got : 0;
    }
    (void)close(fd);
    if (status != RZ_OK) {
        free(bytes);
        return status;
    }
    bytes[used] = '\0';
    *data = bytes;
    *length = used;
    return RZ_OK;
}

static rz_status digest_file(int folder, const char *name, char sha256[RZ_SHA256_TEXT],
                             uint64_t *size_bytes, rz_error *error)
{
    int fd;
    uint64_t size;
    rz_status status = open_regular(folder, name, &fd, &size, error);
    if (status != RZ_OK)
        return status;
    char *piece = malloc(PIECE_BYTES);
    rz_sha256 hash;
    size_t got = 1;
    uint64_t total = 0;
    rz_sha256_init(&hash);
    if (piece == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to read %s", name);
    while (status == RZ_OK && got > 0) {
        status = read_piece(fd, piece, PIECE_BYTES, name, &got, error);
        if (status == RZ_OK) {
            rz_sha256_add(&hash, piece, got);
            total += got;
        }
    }
    if (status == RZ_OK) {
        rz_sha256_text(&hash, sha256);
        *size_bytes = total;
    }
    free(piece);
    (void)close(fd);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Names that a line can hold and that cannot lead out of the folder. */
static bool name_fits(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n >= RZ_DONE_NAME || name[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '/')
            return false;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const done_file *)a)->name, ((const done_file *)b)->name);
}

static rz_status list_entry(int folder, const char *name, done_list *list, rz_error *error)
{
    struct stat info;
    if (name[0] == '.' || strcmp(name, "DONE") == 0)
        return RZ_OK;
    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return rz_fail_errno(error, errno, "cannot inspect %s", name);
    if (S_ISDIR(info.st_mode)) /* resume/: not part of the model */
        return RZ_OK;
    if (!name_fits(name))
        return rz_fail(error, RZ_E_INVALID,
                       "a file of %zu characters in its name, or with control characters, cannot "
                       "be in a model's folder",
                       strlen(name));
    if (list->n == RZ_DONE_FILES_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "more than %d files", RZ_DONE_FILES_MAX);
    done_file *file = &list->files[list->n++];
    memcpy(file->name, name, strlen(name) + 1);
    return digest_file(folder, name, file->sha256, &file->size_bytes, error);
}

static rz_status list_folder(int folder, done_list *list, rz_error *error)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy >= 0 ? fdopendir(copy) : NULL;
    if (entries == NULL) {
        rz_status status = rz_fail_errno(error, errno, "cannot list the folder");
        if (copy >= 0)
            (void)close(copy);
        return status;
    }
    rz_status status = RZ_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(entries);
        if (entry == NULL) {
            if (errno != 0)
                status = rz_fail_errno(error, errno, "cannot list the folder");
            break;
        }
        status = list_entry(folder, entry->d_name, list, error);
        if (status != RZ_OK)
            break;
    }
    (void)closedir(entries);
    qsort(list->files, list->n, sizeof *list->files, by_name);
    return status;
}

rz_status done_write(int folder, const char *path, rz_error *error)
{
    rz_buffer text;
    char *done = NULL;
    rz_buffer_init(&text, DONE_BYTES_MAX);
    done_list *list = calloc(1, sizeof *list);
    if (list == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to list %s", path);
    rz_status status = list_folder(folder, list, error);
    for (size_t i = 0; i < list->n && status == RZ_OK; i++) {
        const done_file *file = &list->files[i];
        status = rz_buffer_addf(&text, "%s  %" PRIu64 "  %s\n", file->sha256, file->size_bytes,
                                file->name);
    }
    if (status == RZ_OK && (done = rz_path_join(path, "DONE")) == NULL)
        status = RZ_E_NO_MEMORY;
    if (status == RZ_OK)
        status = rz_file_write(done, text.data, text.length, error);
    else
        (void)rz_fail(error, status, "cannot list %s: %s", path, rz_status_text(status));
    free(done);
    free(list);
    rz_buffer_done(&text);
    return status;
}

/* ---- verifying ------------------------------------------------------------------------------- */

static bool is_sha256(const char *text, size_t n)
{
    if (n < RZ_SHA256_TEXT - 1)
        return false;
    for (size_t i = 0; i < RZ_SHA256_TEXT - 1; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
            return false;
    return true;
}

/* "sha256  size  name" of n characters without the newline. */
static bool parse_line(const char *line, size_t n, done_file *out)
{
    size_t at = RZ_SHA256_TEXT - 1, digits = 0;
    uint64_t size = 0;
    if (!is_sha256(line, n) || n < at + 2 || memcmp(line + at, "  ", 2) != 0)
        return false;
    memcpy(out->sha256, line, at);
    out->sha256[at] = '\0';
    for (at += 2; at < n && line[at] >= '0' && line[at] <= '9' && digits < 18; at++, digits++)
        size = size * 10 + (uint64_t)(line[at] - '0');
    if (digits == 0 || n < at + 3 || memcmp(line + at, "  ", 2) != 0)
        return false;
    at += 2;
    if (n - at >= sizeof out->name)
        return false;
    memcpy(out->name, line + at, n - at);
    out->name[n - at] = '\0';
    out->size_bytes = size;
    return strlen(out->name) == n - at && name_fits(out->name);
}

static rz_status parse_done(const char *text, size_t n, done_list *list, rz_error *error)
{
    size_t at = 0;
    for (size_t line = 1; at < n; line++) {
        const char *end = memchr(text + at, '\n', n - at);
        if (end == NULL)
            return rz_fail(error, RZ_E_CORRUPT, "DONE, line %zu: it does not end", line);
        if (list->n == RZ_DONE_FILES_MAX)
            return rz_fail(error, RZ_E_CORRUPT, "DONE lists more than %d files", RZ_DONE_FILES_MAX);
        done_file *file = &list->files[list->n];
        if (!parse_line(text + at, (size_t)(end - text) - at, file))
            return rz_fail(error, RZ_E_CORRUPT,
                           "DONE, line %zu: \"sha256  size  name\" is expected", line);
        if (list->n > 0 && by_name(&list->files[list->n - 1], file) >= 0)
            return rz_fail(error, RZ_E_CORRUPT, "DONE, line %zu: %s is twice there or out of order",
                           line, file->name);
        list->n++;
        at = (size_t)(end - text) + 1;
    }
    return RZ_OK;
}

/* What a loader reads, and holds against the list as it does. */
static const char *const needed[] = {"model.safetensors", "config.json", "vocab.json"};

static bool is_needed(const char *name)
{
    for (size_t i = 0; i < RZ_COUNT(needed); i++)
        if (strcmp(needed[i], name) == 0)
            return true;
    return false;
}

/* Files that a loader reads must be listed, and must be there or not as DONE says. */
static rz_status check_names(int folder, const done_list *list, rz_error *error)
{
    static const char *const optional[] = {"tasks.json", "card.md"};
    struct stat info;
    for (size_t i = 0; i < RZ_COUNT(needed); i++)
        if (done_find(list, needed[i]) == NULL)
            return rz_fail(error, RZ_E_CORRUPT, "DONE does not list %s", needed[i]);
    for (size_t i = 0; i < RZ_COUNT(optional); i++)
        if (done_find(list, optional[i]) == NULL &&
            fstatat(folder, optional[i], &info, AT_SYMLINK_NOFOLLOW) == 0)
            return rz_fail(error, RZ_E_CORRUPT, "%s is there, but DONE does not list it",
                           optional[i]);
    return RZ_OK;
}

static rz_status check_sizes(int folder, const done_list *list, rz_error *error)
{
    for (size_t i = 0; i < list->n; i++) {
        const done_file *file = &list->files[i];
        struct stat info;
        if (fstatat(folder, file->name, &info, AT_SYMLINK_NOFOLLOW) != 0)
            return errno == ENOENT
                       ? rz_fail(error, RZ_E_CORRUPT, "%s is missing, DONE lists it", file->name)
                       : rz_fail_errno(error, errno, "cannot inspect %s", file->name);
        if (S_ISLNK(info.st_mode))
            return rz_fail(error, RZ_E_CORRUPT, "%s is a symbolic link", file->name);
        if ((uint64_t)info.st_size != file->size_bytes)
            return rz_fail(error, RZ_E_CORRUPT, "%s has %jd bytes, DONE says %" PRIu64, file->name,
                           (intmax_t)info.st_size, file->size_bytes);
    }
    return RZ_OK;
}

rz_status done_match(const done_list *list, const char *name, const char *sha256, rz_error *error)
{
    const done_file *file = done_find(list, name);
    if (file == NULL || strcmp(sha256, file->sha256) != 0)
        return rz_fail(error, RZ_E_CORRUPT, "%s has SHA-256 %.12s…, DONE says %.12s…", name, sha256,
                       file != NULL ? file->sha256 : "nothing");
    return RZ_OK;
}

rz_status done_read(int folder, const done_list *list, const char *name, size_t limit, char **data,
                    size_t *length, rz_error *error)
{
    char *bytes = NULL, sha256[RZ_SHA256_TEXT];
    size_t n = 0;
    rz_sha256 hash;
    rz_status status = folder_read(folder, name, limit, &bytes, &n, error);
    if (status != RZ_OK)
        return status;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, bytes, n);
    rz_sha256_text(&hash, sha256);
    status = done_match(list, name, sha256, error);
    if (status != RZ_OK) {
        free(bytes);
        return status;
    }
    *data = bytes;
    *length = n;
    return RZ_OK;
}

rz_status done_verify(int folder, bool loading, done_list *out, rz_error *error)
{
    char *text = NULL;
    size_t n = 0;
    out->n = 0;
    rz_status status = folder_read(folder, "DONE", DONE_BYTES_MAX, &text, &n, error);
    if (status != RZ_OK)
        return status;
    status = parse_done(text, n, out, error);
    free(text);
    if (status == RZ_OK)
        status = check_names(folder, out, error);
    if (status == RZ_OK)
        status = check_sizes(folder, out, error);
    for (size_t i = 0; i < out->n && status == RZ_OK; i++) {
        const char *name = out->files[i].name;
        char sha256[RZ_SHA256_TEXT];
        uint64_t size;
        if (loading && is_needed(name))
            continue;
        status = digest_file(folder, name, sha256, &size, error);
        if (status == RZ_OK)
            status = done_match(out, name, sha256, error);
    }
    return status;
}
