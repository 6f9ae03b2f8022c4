/* Bearer tokens on disk: <store>.tokens.json, beside the store and apart from it, so that
 * `rezeptd token` works while a daemon holds the store. Only SHA-256 digests of the tokens, which
 * are 256 random bits, are kept; the file is replaced whole under a lock. */
#ifndef REZEPTD_TOKENS_H
#define REZEPTD_TOKENS_H

#include "base/hash.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

/* The scopes there are; bit i of a mask is row i. The names are part of the interface. */
#define SCOPE_MAP(X)                                                                               \
    X("claims:write")                                                                              \
    X("patients:read")                                                                             \
    X("patients:erase")                                                                            \
    X("risks:read")                                                                                \
    X("models:admin")                                                                              \
    X("metrics:read")                                                                              \
    X("feedback:write")                                                                            \
    X("feedback:read")

enum { TOKENS_MAX = 256, TOKEN_NAME_TEXT = 64 };

typedef struct token {
    char name[TOKEN_NAME_TEXT];
    char sha256[RZ_SHA256_TEXT];
    uint32_t scopes;
    int32_t created_day, expires_day; /* RZ_DAY_NONE: no end */
    bool revoked;
} token;

typedef struct tokens {
    size_t n;
    token item[TOKENS_MAX];
    struct stat seen; /* of the file when it was read; zero without one */
} tokens;

/* Reads the file of the store at `db`; no file is no token.
 * Errors  RZ_E_FORMAT, RZ_E_IO naming the file. */
RZ_MUST_CHECK rz_status tokens_read(const char *db, tokens *out, rz_error *error);
/* True when the file is not the one that was read. Cost: one stat. */
bool tokens_changed(const char *db, const tokens *known);

RZ_MUST_CHECK rz_status scopes_parse(const char *list, uint32_t *mask, rz_error *error);
uint32_t scopes_all(void);
/* The name of the first scope of a mask that is not empty, which is taken off it; static. */
const char *scopes_take(uint32_t *mask);

/* `rezeptd token create | list | revoke`; argv[0] is "token". Prints on standard output. */
RZ_MUST_CHECK rz_status tokens_command(int argc, char *const *argv, rz_error *error);

#endif
