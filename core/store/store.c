/* Opening and closing a store: the writer's lock, migrations, the settings a file was made with.
 * The order matters: lock first, then the database, so that two writers never meet in it. */
#include "store/store.h"

#include "base/hash.h"
#include "store/internal.h"
#include "store/lock.h"
#include "store/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DAMAGE_SEARCH_MS = 2000 };

rz_store_options rz_store_options_defaults(void)
{
    return (rz_store_options){.busy_timeout_ms = 5000};
}

/* ---- settings of the file ------------------------------------------------------------------- */

static rz_status setting_read(rz_db *db, const char *name, char *out, size_t cap, bool *found,
                              rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status =
        rz_db_statement(db, "SELECT value FROM settings WHERE name = ?1", &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(select, 1, name);
    status = rz_step(select, &row, error);
    if (status == RZ_OK && row) {
        (void)snprintf(out, cap, "%s", rz_column_text(select, 0));
        status = rz_finish(select, error);
    }
    *found = row;
    return status;
}

static rz_status setting_write(rz_db *db, const char *name, const char *value, rz_error *error)
{
    rz_statement *insert = NULL;
    rz_status status =
        rz_db_statement(db, "INSERT INTO settings (name, value) VALUES (?1, ?2)", &insert, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(insert, 1, name);
    rz_bind_text(insert, 2, value);
    return rz_run(insert, error);
}

/* A writer must agree with the file in both settings; a reader takes the file's, and only a key
 * that is given and wrong is an error, because training reads without ids. */
static rz_status settings_agree(rz_store *store, const rz_store_options *options, rz_error *error)
{
    static const char check_text[] = "rezept pseudonym_key";
    const char *mode = options->shared_patient_ids ? "shared" : "facility";
    char own_check[33] = "none", kept_mode[16] = "", kept_check[40] = "";
    bool found = false;
    if (options->pseudonym_key != NULL)
        rz_hmac_text(options->pseudonym_key, check_text, sizeof check_text - 1, own_check);
    rz_status status =
        setting_read(store->db, "patient_ids", kept_mode, sizeof kept_mode, &found, error);
    if (status != RZ_OK)
        return status;
    if (!found && store->write) {
        unsigned char salt[RZ_HMAC_KEY_BYTES];
        char salt_text[2 * sizeof salt + 1];
        rz_random_bytes(salt, sizeof salt);
        rz_hex(salt_text, salt, sizeof salt);
        status = rz_db_execute(store->db, "BEGIN IMMEDIATE", error);
        if (status == RZ_OK)
            status = setting_write(store->db, "patient_ids", mode, error);
        if (status == RZ_OK)
            status = setting_write(store->db, "pseudonym_check", own_check, error);
        if (status == RZ_OK)
            status = setting_write(store->db, "salt", salt_text, error);
        if (status == RZ_OK)
            status = rz_db_execute(store->db, "COMMIT", error);
        rz_db_rollback(store->db);
        if (status != RZ_OK)
            return status;
        (void)snprintf(kept_mode, sizeof kept_mode, "%s", mode);
        (void)snprintf(kept_check, sizeof kept_check, "%s", own_check);
    } else {
        status = setting_read(store->db, "pseudonym_check", kept_check, sizeof kept_check, &found,
                              error);
        if (status != RZ_OK)
            return status;
    }
    if (store->write && strcmp(kept_mode, mode) != 0)
        return rz_fail(error, RZ_E_CONFLICT,
                       "%s was made with patient_ids = %s and cannot be written with %s",
                       rz_db_path(store->db), kept_mode, mode);
    if ((store->write || options->pseudonym_key != NULL) && strcmp(kept_check, own_check) != 0)
        return rz_fail(error, RZ_E_CONFLICT, "%s was made with %s; set pseudonym_key accordingly",
                       rz_db_path(store->db),
                       strcmp(kept_check, "none") == 0 ? "plain patient ids"
                                                       : "another pseudonym_key");
    store->shared_ids = strcmp(kept_mode, "shared") == 0;
    store->pseudonyms = strcmp(kept_check, "none") != 0;
    return RZ_OK;
}

/* ---- open and close ------------------------------------------------------------------------- */

/* An empty file is a database to SQLite, which would make it readable for everybody. */
static rz_status make_file(const char *path, rz_error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return errno == EEXIST ? RZ_OK : rz_fail_errno(error, errno, "cannot make %s", path);
    (void)close(fd);
    return RZ_OK;
}

static rz_status open_database(rz_store *store, const char *path, const rz_store_options *options,
                               rz_error *error)
{
    const rz_db_options db_options = {.busy_timeout_ms = options->busy_timeout_ms,
                                      .busy = options->busy,
                                      .checkpointed = options->checkpointed,
                                      .watch_context = options->watch_context};
    rz_status status = RZ_OK;
    if (store->write)
        status = make_file(path, error);
    if (status == RZ_OK && store->write)
        status = rz_writer_lock(path, &store->lock_fd, error);
    if (status == RZ_OK)
        status = rz_db_open(path, store->write ? RZ_DB_CREATE : RZ_DB_READ, &db_options, &store->db,
                            error);
    if (status == RZ_OK && store->write)
        status = rz_db_quick_check(store->db, DAMAGE_SEARCH_MS, error);
    if (status == RZ_OK)
        status = rz_migrate(store->db, store->write, error);
    if (status == RZ_OK)
        status = settings_agree(store, options, error);
    if (status == RZ_OK && store->write)
        status = rz_batch_clean(store, error);
    return status;
}

rz_status rz_store_open(const char *path, const rz_store_options *options, rz_store **out,
                        rz_error *error)
{
    const rz_store_options defaults = rz_store_options_defaults();
    if (options == NULL)
        options = &defaults;
    rz_status status = rz_hash_setup(error);
    if (status != RZ_OK)
        return status;
    rz_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to open %s", path);
    store->lock_fd = -1;
    store->data_ends_limit = -1;
    store->write = options->write;
    store->changed = options->changed;
    store->changed_context = options->changed_context;
    if (options->pseudonym_key != NULL) {
        memcpy(store->key, options->pseudonym_key, sizeof store->key);
        store->has_key = true;
    }
    rz_names_init(&store->codes, "SELECT key, system, name FROM codes WHERE key > ?1 ORDER BY key",
                  "INSERT INTO codes (key, system, name) VALUES (?1, ?2, ?3)");
    rz_names_init(&store->units, "SELECT key, system, name FROM units WHERE key > ?1 ORDER BY key",
                  "INSERT INTO units (key, system, name) VALUES (?1, ?2, ?3)");
    rz_names_init(&store->facilities,
                  "SELECT key, system, name FROM facilities WHERE key > ?1 ORDER BY key",
                  "INSERT INTO facilities (key, system, name) VALUES (?1, ?2, ?3)");
    status = open_database(store, path, options, error);
    if (status != RZ_OK) {
        rz_store_close(store);
        return status;
    }
    *out = store;
    return RZ_OK;
}

void rz_store_close(rz_store *store)
{
    if (store == NULL)
        return;
    if (store->db != NULL)
        rz_store_rollback(store);
    rz_db_close(store->db);
    rz_names_clear(&store->codes);
    rz_names_clear(&store->units);
    rz_names_clear(&store->facilities);
    free(store->order);
    free(store->rows);
    free(store->data_ends);
    /* Last, so that no other writer comes in before SQLite has let go of the file. */
    if (store->lock_fd >= 0)
        (void)close(store->lock_fd);
    memset(store->key, 0, sizeof store->key);
    free(store);
}

/* ---- shared by the rooms -------------------------------------------------------------------- */

rz_status rz_store_view(rz_store *store, bool *began, rz_error *error)
{
    *began = false;
    if (rz_db_in_transaction(store->db))
        return RZ_OK;
    rz_statement *begin = NULL;
    rz_status status = rz_db_statement(store->db, "BEGIN", &begin, error);
    if (status == RZ_OK)
        status = rz_run(begin, error);
    *began = status == RZ_OK;
    return status;
}

void rz_store_view_end(rz_store *store, bool began)
{
    rz_statement *commit = NULL;
    if (began && (rz_db_statement(store->db, "COMMIT", &commit, NULL) != RZ_OK ||
                  rz_run(commit, NULL) != RZ_OK))
        rz_db_rollback(store->db);
}

rz_status rz_store_id(const rz_store *store, const char *id, char *out, rz_error *error)
{
    size_t n = strlen(id);
    if (n == 0 || n > RZ_ID_MAX)
        return rz_fail(error, RZ_E_INVALID, "a patient id has %zu characters, 1 to %d are allowed",
                       n, RZ_ID_MAX);
    if (!store->pseudonyms) {
        memcpy(out, id, n + 1);
        return RZ_OK;
    }
    if (!store->has_key)
        return rz_fail(error, RZ_E_CONFLICT,
                       "the ids in %s are pseudonyms; set pseudonym_key to look one up",
                       rz_db_path(store->db));
    rz_hmac_text(store->key, id, n, out);
    return RZ_OK;
}

rz_status rz_store_salt(rz_store *store, unsigned char out[RZ_HMAC_KEY_BYTES], rz_error *error)
{
    char text[2 * RZ_HMAC_KEY_BYTES + 1] = "";
    bool found = false;
    rz_sha256 hash;
    if (store->has_salt) {
        memcpy(out, store->salt, sizeof store->salt);
        return RZ_OK;
    }
    rz_status status = setting_read(store->db, "salt", text, sizeof text, &found, error);
    if (status == RZ_OK && !found)
        status = rz_fail(error, RZ_E_CORRUPT, "%s has no salt", rz_db_path(store->db));
    if (status != RZ_OK)
        return status;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, text, strlen(text));
    rz_sha256_done(&hash, store->salt);
    store->has_salt = true;
    memcpy(out, store->salt, sizeof store->salt);
    return RZ_OK;
}

rz_status rz_store_must_write(const rz_store *store, rz_error *error)
{
    return store->write
               ? RZ_OK
               : rz_fail(error, RZ_E_USAGE, "%s is open for reading only", rz_db_path(store->db));
}
