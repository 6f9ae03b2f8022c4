/* The table of bearer tokens. */
#include "store/tokens.h"

#include "store/internal.h"

#include <stdio.h>
#include <string.h>

static rz_status find_name(rz_store *store, const char *name, bool *found, bool *revoked,
                           rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status = rz_db_statement(
        store->db, "SELECT revoked_at IS NOT NULL FROM tokens WHERE name = ?1", &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(select, 1, name);
    status = rz_step(select, &row, error);
    if (status != RZ_OK)
        return status;
    *found = row;
    *revoked = row && rz_column_int(select, 0) != 0;
    return row ? rz_finish(select, error) : RZ_OK;
}

static rz_status insert(rz_store *store, const rz_token *token, rz_error *error)
{
    rz_statement *statement = NULL;
    bool found = false, revoked = false;
    rz_status status = find_name(store, token->name, &found, &revoked, error);
    if (status == RZ_OK && found)
        return rz_fail(error, RZ_E_CONFLICT, "a token named %s exists%s; choose another name",
                       token->name, revoked ? " (revoked)" : "");
    if (status == RZ_OK)
        status = rz_db_statement(
            store->db,
            "INSERT INTO tokens (name, scopes, hash, created_at) VALUES (?1, ?2, ?3, ?4)",
            &statement, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(statement, 1, token->name);
    rz_bind_text(statement, 2, token->scopes);
    rz_bind_blob(statement, 3, token->hash, sizeof token->hash);
    rz_bind_int(statement, 4, rz_now_us());
    return rz_run(statement, error);
}

rz_status rz_store_token_create(rz_store *store, const rz_token *token, rz_error *error)
{
    if (token->name[0] == '\0' || memchr(token->name, '\0', sizeof token->name) == NULL ||
        memchr(token->scopes, '\0', sizeof token->scopes) == NULL)
        return rz_fail(error, RZ_E_INVALID, "a token needs a name of 1 to %zu characters",
                       sizeof token->name - 1);
    rz_status status = rz_write_begin(store, RZ_DURABLE, error);
    if (status == RZ_OK)
        status = insert(store, token, error);
    return rz_write_end(store, status, error);
}

static rz_status revoke(rz_store *store, const char *name, rz_error *error)
{
    rz_statement *statement = NULL;
    bool found = false, revoked = false;
    rz_status status = find_name(store, name, &found, &revoked, error);
    if (status == RZ_OK && !found)
        return rz_fail(error, RZ_E_NOT_FOUND, "no token is named %.63s", name);
    if (status == RZ_OK && revoked)
        return rz_fail(error, RZ_E_CONFLICT, "the token %.63s was revoked before", name);
    if (status == RZ_OK)
        status = rz_db_statement(store->db, "UPDATE tokens SET revoked_at = ?2 WHERE name = ?1",
                                 &statement, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(statement, 1, name);
    rz_bind_int(statement, 2, rz_now_us());
    return rz_run(statement, error);
}

rz_status rz_store_token_revoke(rz_store *store, const char *name, rz_error *error)
{
    rz_status status = rz_write_begin(store, RZ_DURABLE, error);
    if (status == RZ_OK)
        status = revoke(store, name, error);
    return rz_write_end(store, status, error);
}

static void read_token(rz_statement *select, rz_token *out)
{
    size_t n = 0;
    *out =
        (rz_token){.created_at = rz_column_int(select, 3), .revoked_at = rz_column_int(select, 4)};
    (void)snprintf(out->name, sizeof out->name, "%s", rz_column_text(select, 0));
    (void)snprintf(out->scopes, sizeof out->scopes, "%s", rz_column_text(select, 1));
    const void *hash = rz_column_blob(select, 2, &n);
    if (n == sizeof out->hash)
        memcpy(out->hash, hash, n);
}

rz_status rz_store_tokens(rz_store *store, rz_token *out, size_t cap, size_t *n, rz_error *error)
{
    rz_statement *select = NULL;
    size_t found = 0;
    bool row = false;
    rz_status status = rz_db_statement(
        store->db, "SELECT name, scopes, hash, created_at, revoked_at FROM tokens ORDER BY key",
        &select, error);
    if (status != RZ_OK)
        return status;
    while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
        if (found < cap)
            read_token(select, &out[found]);
        found++;
    }
    if (status == RZ_OK)
        *n = found;
    return status;
}

rz_status rz_store_token_find(rz_store *store, const unsigned char hash[RZ_TOKEN_HASH_BYTES],
                              rz_token *out, rz_error *error)
{
    rz_statement *select = NULL;
    rz_token token;
    bool row = false;
    rz_status status =
        rz_db_statement(store->db,
                        "SELECT name, scopes, hash, created_at, revoked_at FROM tokens "
                        "WHERE hash = ?1 AND revoked_at IS NULL",
                        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_blob(select, 1, hash, RZ_TOKEN_HASH_BYTES);
    status = rz_step(select, &row, error);
    if (status == RZ_OK && !row)
        return rz_fail(error, RZ_E_NOT_FOUND, "no valid token fits");
    if (status != RZ_OK)
        return status;
    read_token(select, &token);
    status = rz_finish(select, error);
    if (status == RZ_OK)
        *out = token;
    return status;
}
