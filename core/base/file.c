/* Atomic files by temporary name, fsync and rename; whole-file reads with a limit. */
#include "base/file.h"

#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *rz_path_join(const char *folder, const char *name)
{
    size_t n = strlen(folder), bytes;
    if (!rz_size_add(n, strlen(name), &bytes) || !rz_size_add(bytes, 2, &bytes))
        return NULL;
    char *path = malloc(bytes);
    if (path != NULL)
        (void)snprintf(path, bytes, "%s%s%s", folder, n > 0 && folder[n - 1] == '/' ? "" : "/",
                       name);
    return path;
}

rz_status rz_file_read(const char *path, size_t limit, char **data, size_t *length, rz_error *error)
{
    rz_status status = RZ_OK;
    char *bytes = NULL;
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return rz_fail_errno(error, errno, "cannot open %s", path);
    struct stat info;
    if (fstat(fd, &info) != 0) {
        status = rz_fail_errno(error, errno, "cannot inspect %s", path);
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        status = rz_fail(error, RZ_E_INVALID, "%s is not a regular file", path);
        goto out;
    }
    if ((uintmax_t)info.st_size > limit) {
        status = rz_fail(error, RZ_E_TOO_LARGE, "%s has %jd bytes, at most %zu are read", path,
                         (intmax_t)info.st_size, limit);
        goto out;
    }
    size_t size = (size_t)info.st_size;
    bytes = malloc(size + 1);
    if (bytes == NULL) {
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the %zu bytes of %s", size, path);
        goto out;
    }
    while (used < size) {
        ssize_t got = read(fd, bytes + used, size - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status = rz_fail_errno(error, errno, "cannot read %s", path);
            goto out;
        }
        if (got == 0)
            break;
        used += (size_t)got;
    }
    bytes[used] = '\0';
    *data = bytes;
    if (length != NULL)
        *length = used;
    bytes = NULL;
out:
    free(bytes);
    (void)close(fd);
    return status;
}

rz_status rz_atomic_file_open(rz_atomic_file *file, const char *path, rz_error *error)
{
    *file = (rz_atomic_file){0};
    size_t bytes = strlen(path) + sizeof ".XXXXXX";
    char *own_path = strdup(path), *temporary_path = malloc(bytes);
    if (own_path == NULL || temporary_path == NULL) {
        free(own_path);
        free(temporary_path);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to write %s", path);
    }
    (void)snprintf(temporary_path, bytes, "%s.XXXXXX", path);
    int fd = mkstemp(temporary_path);
    int failure = errno;
    FILE *stream = NULL;
    if (fd >= 0) {
        /* mkstemp gives 0600; follow the umask-free default of our own files instead. */
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (fchmod(fd, 0640) == 0)
            stream = fdopen(fd, "wb");
        failure = errno;
    }
    if (stream == NULL) {
        if (fd >= 0) {
            (void)close(fd);
            (void)unlink(temporary_path);
        }
        free(own_path);
        free(temporary_path);
        return rz_fail_errno(error, failure, "cannot create a file beside %s", path);
    }
    *file = (rz_atomic_file){.stream = stream, .path = own_path, .temporary_path = temporary_path};
    return RZ_OK;
}

static rz_status sync_folder_of(const char *path, rz_error *error)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        (void)snprintf(folder, sizeof folder, ".");
    else if (slash == path)
        (void)snprintf(folder, sizeof folder, "/");
    else
        (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return rz_fail_errno(error, errno, "cannot open the folder %s", folder);
    rz_status status = RZ_OK;
    if (fsync(fd) != 0 && errno != EINVAL)
        status = rz_fail_errno(error, errno, "cannot sync the folder %s", folder);
    (void)close(fd);
    return status;
}

rz_status rz_atomic_file_commit(rz_atomic_file *file, rz_error *error)
{
    rz_status status = RZ_OK;
    if (fflush(file->stream) != 0 || ferror(file->stream) || fsync(fileno(file->stream)) != 0) {
        status = rz_fail_errno(error, errno != 0 ? errno : EIO, "cannot write %s", file->path);
        rz_atomic_file_abort(file);
        return status;
    }
    int closed = fclose(file->stream);
    file->stream = NULL;
    if (closed != 0 || rename(file->temporary_path, file->path) != 0)
        status = rz_fail_errno(error, errno, "cannot put %s in place", file->path);
    else
        status = sync_folder_of(file->path, error);
    if (status != RZ_OK)
        (void)unlink(file->temporary_path);
    free(file->path);
    free(file->temporary_path);
    *file = (rz_atomic_file){0};
    return status;
}

void rz_atomic_file_abort(rz_atomic_file *file)
{
    if (file->stream != NULL)
        (void)fclose(file->stream);
    if (file->temporary_path != NULL)
        (void)unlink(file->temporary_path);
    free(file->path);
    free(file->temporary_path);
    *file = (rz_atomic_file){0};
}

rz_status rz_file_write(const char *path, const void *data, size_t length, rz_error *error)
{
    rz_atomic_file file = {0};
    rz_status status = rz_atomic_file_open(&file, path, error);
    if (status != RZ_OK)
        return status;
    if (length > 0 && fwrite(data, 1, length, file.stream) != length) {
        status = rz_fail_errno(error, errno, "cannot write %s", path);
        rz_atomic_file_abort(&file);
        return status;
    }
    return rz_atomic_file_commit(&file, error);
}

rz_status rz_file_digest(const char *path, char sha256[RZ_SHA256_TEXT], uint64_t *size_bytes,
                         rz_error *error)
{
    enum { PIECE = 1 << 16 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return rz_fail_errno(error, errno, "cannot open %s", path);
    unsigned char *piece = malloc(PIECE);
    rz_status status = RZ_OK;
    rz_sha256 hash;
    uint64_t total = 0;
    rz_sha256_init(&hash);
    if (piece == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to read %s", path);
    while (status == RZ_OK) {
        ssize_t got = read(fd, piece, PIECE);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = rz_fail_errno(error, errno, "cannot read %s", path);
        if (got <= 0)
            break;
        rz_sha256_add(&hash, piece, (size_t)got);
        total += (uint64_t)got;
    }
    if (status == RZ_OK) {
        rz_sha256_text(&hash, sha256);
        *size_bytes = total;
    }
    free(piece);
    (void)close(fd);
    return status;
}

rz_status rz_folder_make(const char *path, rz_error *error)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return rz_fail(error, RZ_E_INVALID, "a folder name of %zu characters cannot be used",
                       length);
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        char kept = part[i];
        part[i] = '\0';
        if (mkdir(part, 0750) != 0 && errno != EEXIST)
            return rz_fail_errno(error, errno, "cannot make the folder %s", part);
        part[i] = kept;
    }
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return rz_fail(error, RZ_E_INVALID, "%s is not a folder", path);
    return RZ_OK;
}

rz_status rz_output_flush(FILE *stream, const char *what, rz_error *error)
{
    if (fflush(stream) != 0)
        return rz_fail_errno(error, errno, "%s cannot be printed", what);
    /* A write that failed earlier has left its mark, but no longer its reason. */
    return ferror(stream) ? rz_fail(error, RZ_E_IO, "%s cannot be printed", what) : RZ_OK;
}
