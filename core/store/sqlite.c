/* The one file that meets SQLite: settings, the cache of prepared statements, error mapping. */
#include "store/sqlite.h"

#include "base/size.h"
#include "claims/day.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STATEMENT_SLOTS = 256, STATEMENTS_MAX = 192 };
enum { CHECKPOINT_PAGES = 4000 /* of 4 KiB: a commit that leaves a longer log moves it */ };

struct rz_statement {
    rz_db *db;
    const char *sql; /* the caller's constant: the key of the cache */
    sqlite3_stmt *handle;
    int failure; /* kept back by a bind or a column */
};

struct rz_db {
    sqlite3 *handle;
    char *path;
    rz_statement *slots[STATEMENT_SLOTS]; /* open addressing by address */
    int n_statements;
    rz_db_options options;
};

static rz_status status_of(int code, int sys_errno)
{
    /* A full quota or a file size limit arrives as a write error with its errno. */
    if ((code & 0xff) == SQLITE_IOERR &&
        (sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == EFBIG))
        return RZ_E_DISK_FULL;
    if (code == SQLITE_IOERR_NOMEM)
        return RZ_E_NO_MEMORY;
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return RZ_E_BUSY;
    case SQLITE_NOMEM:
        return RZ_E_NO_MEMORY;
    case SQLITE_FULL:
        return RZ_E_DISK_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return RZ_E_CORRUPT;
    case SQLITE_TOOBIG:
        return RZ_E_TOO_LARGE;
    case SQLITE_INTERRUPT:
        return RZ_E_CANCELED;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_PROTOCOL:
        return RZ_E_IO;
    default:
        return RZ_E_INTERNAL;
    }
}

/* SQLite's messages name tables and conditions, never values, so they may be passed on. */
static rz_status fail(rz_db *db, int code, rz_error *error)
{
    int sys_errno = sqlite3_system_errno(db->handle);
    rz_status status = status_of(code, sys_errno);
    switch (status) {
    case RZ_E_DISK_FULL:
        return rz_fail(error, status, "%s: no space left to write; free some and repeat", db->path);
    case RZ_E_CORRUPT:
        return rz_fail(error, status, "%s is damaged or not a database (%s); restore a backup",
                       db->path, sqlite3_errstr(code));
    case RZ_E_BUSY:
        return rz_fail(error, status, "%s is locked by another program", db->path);
    default:
        return rz_fail(error, status, "%s: %s", db->path, sqlite3_errstr(code));
    }
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- waiting and checkpoints ---------------------------------------------------------------- */

/* Waits longer from time to time, as sqlite3_busy_timeout does, until the timeout is used up; ours
 * because that one tells nobody. `times`: how often this lock was waited for already. */
static int on_busy(void *context, int times)
{
    static const int delays_ms[] = {1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100};
    const rz_db *db = context;
    int waited_ms = 0, delay_ms = 0;
    for (int i = 0; i <= times; i++) {
        waited_ms += delay_ms;
        delay_ms = delays_ms[(size_t)i < RZ_COUNT(delays_ms) ? (size_t)i : RZ_COUNT(delays_ms) - 1];
        if (waited_ms >= db->options.busy_timeout_ms)
            break;
    }
    if (times == 0 && db->options.busy != NULL)
        db->options.busy(db->options.watch_context);
    int left_ms = db->options.busy_timeout_ms - waited_ms;
    if (left_ms <= 0)
        return 0;
    (void)sqlite3_sleep(delay_ms < left_ms ? delay_ms : left_ms);
    return 1;
}

static int checkpoint(rz_db *db, int mode, int *frames, int *moved)
{
    double began = now_s();
    int code = sqlite3_wal_checkpoint_v2(db->handle, NULL, mode, frames, moved);
    if (code == SQLITE_OK && db->options.checkpointed != NULL)
        db->options.checkpointed(db->options.watch_context, now_s() - began);
    return code;
}

/* What PRAGMA wal_autocheckpoint does after a commit, with its time told. A failure is the next
 * commit's to try again: the log holds everything meanwhile. */
static int on_commit(void *context, sqlite3 *handle, const char *name, int pages)
{
    int frames = 0, moved = 0;
    (void)handle;
    (void)name;
    if (pages >= CHECKPOINT_PAGES)
        (void)checkpoint(context, SQLITE_CHECKPOINT_PASSIVE, &frames, &moved);
    return SQLITE_OK;
}

static void set_limits(sqlite3 *handle)
{
    (void)sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, 4 << 20);
    (void)sqlite3_limit(handle, SQLITE_LIMIT_SQL_LENGTH, 100000);
    (void)sqlite3_limit(handle, SQLITE_LIMIT_VDBE_OP, 25000);
    (void)sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_limit(handle, SQLITE_LIMIT_TRIGGER_DEPTH, 4);
    (void)sqlite3_limit(handle, SQLITE_LIMIT_WORKER_THREADS, 0);
    (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_extended_result_codes(handle, 1);
}

static void years_between(sqlite3_context *context, int n, sqlite3_value **values)
{
    (void)n;
    if (sqlite3_value_type(values[0]) == SQLITE_INTEGER &&
        sqlite3_value_type(values[1]) == SQLITE_INTEGER)
        sqlite3_result_int(context, rz_day_years_between((int32_t)sqlite3_value_int(values[0]),
                                                         (int32_t)sqlite3_value_int(values[1])));
}

static int add_functions(sqlite3 *handle)
{
    return sqlite3_create_function_v2(handle, "years_between", 2,
                                      SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                      years_between, NULL, NULL, NULL);
}

rz_status rz_db_open(const char *path, rz_db_mode mode, const rz_db_options *options, rz_db **out,
                     rz_error *error)
{
    rz_db *db = calloc(1, sizeof *db);
    rz_status status = RZ_OK;
    if (db == NULL || (db->path = strdup(path)) == NULL) {
        free(db);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to open %s", path);
    }
    db->options = *options;
    int flags = mode == RZ_DB_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (mode == RZ_DB_CREATE)
        flags |= SQLITE_OPEN_CREATE;
    int code = sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK) {
        int sys_errno = db->handle != NULL ? sqlite3_system_errno(db->handle) : ENOMEM;
        status = sys_errno != 0 ? rz_fail_errno(error, sys_errno, "cannot open %s", path)
                                : fail(db, code, error);
        goto out;
    }
    /* SQLite opens what it may not write for reading, and would say so with the first claim. */
    if (mode != RZ_DB_READ && sqlite3_db_readonly(db->handle, "main") == 1) {
        status = rz_fail(error, RZ_E_IO,
                         "%s may only be read by this user; give it to the user that writes to it",
                         path);
        goto out;
    }
    set_limits(db->handle);
    (void)sqlite3_busy_handler(db->handle, on_busy, db);
    code = add_functions(db->handle);
    if (code != SQLITE_OK) {
        status = fail(db, code, error);
        goto out;
    }
    status = rz_db_execute(db,
                           "PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON;"
                           "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;",
                           error);
    if (status == RZ_OK && mode != RZ_DB_READ)
        status = rz_db_execute(db,
                               "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                               "PRAGMA journal_size_limit = 67108864;"
                               "PRAGMA secure_delete = ON; PRAGMA cache_size = -65536;",
                               error);
    if (status == RZ_OK && mode != RZ_DB_READ)
        (void)sqlite3_wal_hook(db->handle, on_commit, db);
    if (status == RZ_OK) {
        *out = db;
        db = NULL;
    }
out:
    rz_db_close(db);
    return status;
}

void rz_db_close(rz_db *db)
{
    if (db == NULL)
        return;
    for (size_t i = 0; i < STATEMENT_SLOTS; i++)
        if (db->slots[i] != NULL) {
            (void)sqlite3_finalize(db->slots[i]->handle);
            free(db->slots[i]);
        }
    (void)sqlite3_close(db->handle);
    free(db->path);
    free(db);
}

const char *rz_db_path(const rz_db *db)
{
    return db->path;
}

bool rz_db_in_transaction(const rz_db *db)
{
    return sqlite3_get_autocommit(db->handle) == 0;
}

int64_t rz_db_last_key(const rz_db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

void rz_db_rollback(rz_db *db)
{
    if (rz_db_in_transaction(db))
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

rz_status rz_db_execute(rz_db *db, const char *sql, rz_error *error)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? RZ_OK : fail(db, code, error);
}

rz_status rz_db_query_int(rz_db *db, const char *sql, int64_t *out, rz_error *error)
{
    sqlite3_stmt *handle = NULL;
    int code = sqlite3_prepare_v2(db->handle, sql, -1, &handle, NULL);
    int64_t value = 0;
    if (code == SQLITE_OK) {
        code = sqlite3_step(handle);
        if (code == SQLITE_ROW)
            value = sqlite3_column_int64(handle, 0);
        if (code == SQLITE_ROW || code == SQLITE_DONE)
            code = SQLITE_OK;
    }
    rz_status status = code == SQLITE_OK ? RZ_OK : fail(db, code, error);
    (void)sqlite3_finalize(handle);
    if (status == RZ_OK)
        *out = value;
    return status;
}

/* ---- statements ----------------------------------------------------------------------------- */

rz_status rz_db_statement(rz_db *db, const char *sql, rz_statement **out, rz_error *error)
{
    size_t slot = (size_t)(((uintptr_t)sql >> 3) * 0x9e3779b1u) % STATEMENT_SLOTS;
    while (db->slots[slot] != NULL && db->slots[slot]->sql != sql)
        slot = (slot + 1) % STATEMENT_SLOTS;
    if (db->slots[slot] == NULL) {
        if (db->n_statements == STATEMENTS_MAX)
            return rz_fail(error, RZ_E_INTERNAL, "more than %d kinds of statements",
                           STATEMENTS_MAX);
        rz_statement *fresh = calloc(1, sizeof *fresh);
        if (fresh == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a statement");
        int code = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                      &fresh->handle, NULL);
        if (code != SQLITE_OK) {
            free(fresh);
            return fail(db, code, error);
        }
        fresh->db = db;
        fresh->sql = sql;
        db->slots[slot] = fresh;
        db->n_statements++;
    }
    db->slots[slot]->failure = SQLITE_OK;
    *out = db->slots[slot];
    return RZ_OK;
}

static void keep(rz_statement *statement, int code)
{
    if (statement->failure == SQLITE_OK)
        statement->failure = code;
}

void rz_bind_int(rz_statement *statement, int index, int64_t value)
{
    keep(statement, sqlite3_bind_int64(statement->handle, index, value));
}

void rz_bind_real(rz_statement *statement, int index, double value)
{
    keep(statement, sqlite3_bind_double(statement->handle, index, value));
}

void rz_bind_text(rz_statement *statement, int index, const char *value)
{
    keep(statement, sqlite3_bind_text(statement->handle, index, value, -1, SQLITE_STATIC));
}

void rz_bind_blob(rz_statement *statement, int index, const void *value, size_t n)
{
    keep(statement, sqlite3_bind_blob64(statement->handle, index, value, n, SQLITE_STATIC));
}

void rz_bind_null(rz_statement *statement, int index)
{
    keep(statement, sqlite3_bind_null(statement->handle, index));
}

void rz_reset(rz_statement *statement)
{
    if (statement != NULL)
        (void)sqlite3_reset(statement->handle);
}

rz_status rz_finish(rz_statement *statement, rz_error *error)
{
    rz_status status =
        statement->failure == SQLITE_OK ? RZ_OK : fail(statement->db, statement->failure, error);
    rz_reset(statement);
    return status;
}

rz_status rz_step(rz_statement *statement, bool *row, rz_error *error)
{
    int code =
        statement->failure != SQLITE_OK ? statement->failure : sqlite3_step(statement->handle);
    *row = code == SQLITE_ROW;
    if (code == SQLITE_ROW)
        return RZ_OK;
    rz_status status = code == SQLITE_DONE ? RZ_OK : fail(statement->db, code, error);
    rz_reset(statement);
    return status;
}

rz_status rz_run(rz_statement *statement, rz_error *error)
{
    bool row = true;
    rz_status status = RZ_OK;
    while (status == RZ_OK && row)
        status = rz_step(statement, &row, error);
    return status;
}

int64_t rz_column_int(rz_statement *statement, int column)
{
    return sqlite3_column_int64(statement->handle, column);
}

double rz_column_real(rz_statement *statement, int column)
{
    sqlite3_value *value = sqlite3_column_value(statement->handle, column);
    return sqlite3_value_type(value) == SQLITE_NULL ? (double)NAN : sqlite3_value_double(value);
}

bool rz_column_is_null(rz_statement *statement, int column)
{
    return sqlite3_column_type(statement->handle, column) == SQLITE_NULL;
}

const char *rz_column_text(rz_statement *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement->handle, column);
    if (text == NULL && sqlite3_errcode(statement->db->handle) == SQLITE_NOMEM)
        keep(statement, SQLITE_NOMEM);
    return text != NULL ? text : "";
}

const void *rz_column_blob(rz_statement *statement, int column, size_t *n)
{
    const void *blob = sqlite3_column_blob(statement->handle, column);
    if (blob == NULL && sqlite3_errcode(statement->db->handle) == SQLITE_NOMEM)
        keep(statement, SQLITE_NOMEM);
    *n = blob != NULL ? (size_t)sqlite3_column_bytes(statement->handle, column) : 0;
    return blob;
}

/* ---- the file as a whole -------------------------------------------------------------------- */

rz_status rz_db_checkpoint(rz_db *db, bool truncate, bool *complete, rz_error *error)
{
    int frames = 0, moved = 0;
    int code = checkpoint(db, truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
                          &frames, &moved);
    *complete = code == SQLITE_OK && frames == moved;
    if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY)
        return RZ_OK;
    return fail(db, code, error);
}

static int out_of_time(void *deadline)
{
    struct timespec now;
    const struct timespec *end = deadline;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec);
}

rz_status rz_db_quick_check(rz_db *db, int limit_ms, rz_error *error)
{
    struct timespec deadline;
    (void)clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += limit_ms / 1000;
    deadline.tv_nsec += (long)(limit_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    sqlite3_progress_handler(db->handle, 10000, out_of_time, &deadline);
    sqlite3_stmt *handle = NULL;
    rz_status status = RZ_OK;
    int code = sqlite3_prepare_v2(db->handle, "PRAGMA quick_check(1)", -1, &handle, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(handle);
    if (code == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(handle, 0);
        /* The finding names pages and cells; its text is SQLite's and holds no values. */
        if (text == NULL || strcmp(text, "ok") != 0)
            status = rz_fail(error, RZ_E_CORRUPT, "%s is damaged (%.120s); restore a backup",
                             db->path, text != NULL ? text : "no result");
    } else if (code != SQLITE_DONE && (code & 0xff) != SQLITE_INTERRUPT) {
        status = fail(db, code, error);
    }
    sqlite3_progress_handler(db->handle, 0, NULL, NULL);
    (void)sqlite3_finalize(handle);
    return status;
}

rz_status rz_db_contains(rz_db *db, const void *bytes, size_t n, bool *found, rz_error *error)
{
    enum { PIECE = 1 << 16 };
    sqlite3_file *file = NULL;
    int code = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    sqlite3_int64 size = 0;
    if (code == SQLITE_OK && (file == NULL || file->pMethods == NULL))
        code = SQLITE_IOERR;
    if (code == SQLITE_OK)
        code = file->pMethods->xFileSize(file, &size);
    if (code != SQLITE_OK)
        return fail(db, code, error);
    size_t room;
    char *piece = rz_size_add(PIECE, n, &room) ? malloc(room) : NULL;
    if (piece == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to search %s", db->path);
    bool seen = n == 0;
    /* Pieces overlap by n - 1 bytes so that nothing hides on a border. */
    for (sqlite3_int64 at = 0; at < size && !seen && code == SQLITE_OK; at += PIECE) {
        size_t length =
            size - at < (sqlite3_int64)(PIECE + n - 1) ? (size_t)(size - at) : PIECE + n - 1;
        code = file->pMethods->xRead(file, piece, (int)length, at);
        const char *from = piece, *end = piece + length;
        while (code == SQLITE_OK && !seen && (size_t)(end - from) >= n) {
            from = memchr(from, *(const unsigned char *)bytes, (size_t)(end - from) - n + 1);
            if (from == NULL)
                break;
            seen = memcmp(from, bytes, n) == 0;
            from++;
        }
    }
    free(piece);
    if (code != SQLITE_OK)
        return fail(db, code, error);
    *found = seen;
    return RZ_OK;
}

rz_status rz_db_vacuum(rz_db *db, rz_error *error)
{
    /* VACUUM attaches its copy and must not build it in memory. */
    (void)sqlite3_limit(db->handle, SQLITE_LIMIT_ATTACHED, 1);
    rz_status status = rz_db_execute(db, "PRAGMA temp_store = FILE; VACUUM", error);
    (void)sqlite3_limit(db->handle, SQLITE_LIMIT_ATTACHED, 0);
    rz_error ignored = {0};
    rz_status restored = rz_db_execute(db, "PRAGMA temp_store = MEMORY", &ignored);
    return status != RZ_OK ? status : restored;
}
