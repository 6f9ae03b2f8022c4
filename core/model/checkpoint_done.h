/* DONE, the list that closes a model's folder. Private to core/model. */
#ifndef RZ_MODEL_CHECKPOINT_DONE_H
#define RZ_MODEL_CHECKPOINT_DONE_H

#include "base/hash.h"

enum { RZ_DONE_FILES_MAX = 128, RZ_DONE_NAME = 112 };

typedef struct done_file {
    char name[RZ_DONE_NAME];
    uint64_t size_bytes;
    char sha256[RZ_SHA256_TEXT];
} done_file;

typedef struct done_list {
    size_t n;
    done_file files[RZ_DONE_FILES_MAX]; /* ascending by name */
} done_list;

const done_file *done_find(const done_list *list, const char *name); /* NULL when not listed */

/* Digests every file of the open folder and writes DONE into it; `path` is the folder's name. */
RZ_MUST_CHECK rz_status done_write(int folder, const char *path, rz_error *error);

/* Reads DONE and holds every file against it, sizes first. `loading`: but for the digests of
 * model.safetensors, config.json and vocab.json, which the caller compares as it reads them, so
 * that the bytes that are used are the very bytes that were verified. */
RZ_MUST_CHECK rz_status done_verify(int folder, bool loading, done_list *out, rz_error *error);

/* Whether a file has the digest that the list gives it. Errors  RZ_E_CORRUPT naming both. */
RZ_MUST_CHECK rz_status done_match(const done_list *list, const char *name, const char *sha256,
                                   rz_error *error);

/* A whole listed file of the open folder, never through a link, whose bytes match the list; new
 * memory, NUL appended. */
RZ_MUST_CHECK rz_status done_read(int folder, const done_list *list, const char *name, size_t limit,
                                  char **data, size_t *length, rz_error *error);

#endif
