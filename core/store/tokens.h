/* Bearer tokens: names, scopes and hashes. The token itself is never stored; how it is hashed and
 * compared is the daemon's matter. */
#ifndef RZ_STORE_TOKENS_H
#define RZ_STORE_TOKENS_H

#include "store/store.h"

enum { RZ_TOKEN_HASH_BYTES = 32 };

typedef struct rz_token {
    char name[64];
    char scopes[128]; /* separated by blanks */
    unsigned char hash[RZ_TOKEN_HASH_BYTES];
    int64_t created_at, revoked_at; /* microseconds since 1970; revoked_at 0 while valid */
} rz_token;

/* Keeps a new token; created_at and revoked_at are ignored. Durability as commit.
 * Errors  RZ_E_CONFLICT when the name was ever used; RZ_E_INVALID empty or too long a name. */
RZ_MUST_CHECK rz_status rz_store_token_create(rz_store *store, const rz_token *token,
                                              rz_error *error);

/* Revokes at once and for ever; the row stays for the audit.
 * Errors  RZ_E_NOT_FOUND; RZ_E_CONFLICT when it was revoked before. */
RZ_MUST_CHECK rz_status rz_store_token_revoke(rz_store *store, const char *name, rz_error *error);

/* Up to `cap` tokens in the order of creation, revoked ones included; *n is how many there are. */
RZ_MUST_CHECK rz_status rz_store_tokens(rz_store *store, rz_token *out, size_t cap, size_t *n,
                                        rz_error *error);

/* The valid token with this hash. Errors  RZ_E_NOT_FOUND, also when it was revoked. */
RZ_MUST_CHECK rz_status rz_store_token_find(rz_store *store,
                                            const unsigned char hash[RZ_TOKEN_HASH_BYTES],
                                            rz_token *out, rz_error *error);

#endif
