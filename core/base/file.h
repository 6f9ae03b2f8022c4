/* Whole-file reading and atomic writing: a file appears complete under its name or not at all. */
#ifndef RZ_BASE_FILE_H
#define RZ_BASE_FILE_H

#include "base/hash.h"
#include "base/status.h"

#include <stdint.h>
#include <stdio.h>

/* Reads a regular file of at most `limit` bytes into new memory (free() it), NUL appended.
 * Errors  RZ_E_NOT_FOUND, RZ_E_TOO_LARGE, RZ_E_IO, RZ_E_NO_MEMORY, all naming the path. */
RZ_MUST_CHECK rz_status rz_file_read(const char *path, size_t limit, char **data, size_t *length,
                                     rz_error *error);

/* A file being written beside its final name. Zero it, open, write through `stream`, commit. */
typedef struct rz_atomic_file {
    FILE *stream; /* borrowed; valid between open and commit or abort */
    char *path, *temporary_path;
} rz_atomic_file;

RZ_MUST_CHECK rz_status rz_atomic_file_open(rz_atomic_file *file, const char *path,
                                            rz_error *error);
/* Flush, fsync, rename, fsync of the folder. On failure the old file is still in place. */
RZ_MUST_CHECK rz_status rz_atomic_file_commit(rz_atomic_file *file, rz_error *error);
/* Removes the temporary file. Accepts a zeroed or committed file. */
void rz_atomic_file_abort(rz_atomic_file *file);

/* The three steps at once. */
RZ_MUST_CHECK rz_status rz_file_write(const char *path, const void *data, size_t length,
                                      rz_error *error);

/* SHA-256 (hex) and size of a file, read in pieces. */
RZ_MUST_CHECK rz_status rz_file_digest(const char *path, char sha256[RZ_SHA256_TEXT],
                                       uint64_t *size_bytes, rz_error *error);

/* Makes a folder and its parents; an existing folder is fine. */
RZ_MUST_CHECK rz_status rz_folder_make(const char *path, rz_error *error);

/* "folder/name" in new memory (free() it), NULL when memory is exhausted. */
char *rz_path_join(const char *folder, const char *name);

/* What a program has printed is out. `what` names it in the error ("the answer").
 * Errors  RZ_E_DISK_FULL, RZ_E_IO; also of what failed earlier in this stream. */
RZ_MUST_CHECK rz_status rz_output_flush(FILE *stream, const char *what, rz_error *error);

#endif
