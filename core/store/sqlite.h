/* SQLite as the rooms of the store see it: a connection with our settings, statements that are
 * prepared once, and our statuses. Private to core/store; the only file behind it that includes
 * sqlite3.h is sqlite.c.
 *
 * Binding and reading columns never report by themselves: a failure is kept in the statement and
 * comes out of the next rz_step, rz_run or rz_finish, one of which ends every use. */
#ifndef RZ_STORE_SQLITE_H
#define RZ_STORE_SQLITE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rz_db rz_db;
typedef struct rz_statement rz_statement;

typedef enum rz_db_mode {
    RZ_DB_READ,  /* an existing file */
    RZ_DB_CREATE /* read and write, an existing file or a new one */
} rz_db_mode;

typedef struct rz_db_options {
    int busy_timeout_ms; /* how long a call waits for a lock in all */
    /* As in rz_store_options; each may be NULL. */
    void (*busy)(void *context);
    void (*checkpointed)(void *context, double seconds);
    void *watch_context;
} rz_db_options;

/* Opens with the settings of every connection. SQL has one function more: years_between(day, day)
 * is rz_day_years_between, NULL where a day is.
 * Errors  RZ_E_NOT_FOUND, RZ_E_CORRUPT, RZ_E_NO_MEMORY, RZ_E_IO. */
RZ_MUST_CHECK rz_status rz_db_open(const char *path, rz_db_mode mode, const rz_db_options *options,
                                   rz_db **out, rz_error *error);
void rz_db_close(rz_db *db); /* accepts NULL */

const char *rz_db_path(const rz_db *db);    /* borrowed from the connection */
bool rz_db_in_transaction(const rz_db *db); /* of this connection */
int64_t rz_db_last_key(const rz_db *db);    /* of the last INSERT */
void rz_db_rollback(rz_db *db);             /* safe without a transaction */

/* Runs SQL text without results: schema, settings, transactions. */
RZ_MUST_CHECK rz_status rz_db_execute(rz_db *db, const char *sql, rz_error *error);
/* The first column of the first row; 0 when there is none. */
RZ_MUST_CHECK rz_status rz_db_query_int(rz_db *db, const char *sql, int64_t *out, rz_error *error);

/* A statement for this SQL, prepared at its first use and kept; borrowed from the connection.
 * sql  a string constant: the cache goes by its address */
RZ_MUST_CHECK rz_status rz_db_statement(rz_db *db, const char *sql, rz_statement **out,
                                        rz_error *error);

/* Parameters count from 1. Text and blobs are borrowed until the statement is finished. */
void rz_bind_int(rz_statement *statement, int index, int64_t value);
void rz_bind_real(rz_statement *statement, int index, double value); /* NaN becomes NULL */
void rz_bind_text(rz_statement *statement, int index, const char *value);
void rz_bind_blob(rz_statement *statement, int index, const void *value, size_t n);
void rz_bind_null(rz_statement *statement, int index);

/* The next row; *row is false after the last one, and the statement is then ready for reuse. */
RZ_MUST_CHECK rz_status rz_step(rz_statement *statement, bool *row, rz_error *error);
/* Steps to the end. */
RZ_MUST_CHECK rz_status rz_run(rz_statement *statement, rz_error *error);
/* Ends a statement before its last row and reports what reading its columns kept back. */
RZ_MUST_CHECK rz_status rz_finish(rz_statement *statement, rz_error *error);
/* The same where an error is already known. Accepts NULL. */
void rz_reset(rz_statement *statement);

/* Columns count from 0 and are borrowed until the next step. */
int64_t rz_column_int(rz_statement *statement, int column);
double rz_column_real(rz_statement *statement, int column); /* NULL becomes NaN */
bool rz_column_is_null(rz_statement *statement, int column);
const char *rz_column_text(rz_statement *statement, int column); /* never NULL */
const void *rz_column_blob(rz_statement *statement, int column, size_t *n);

/* Moves the write-ahead log into the file; with `truncate` waits for readers (busy timeout) and
 * leaves an empty log. *complete tells whether everything was moved. */
RZ_MUST_CHECK rz_status rz_db_checkpoint(rz_db *db, bool truncate, bool *complete, rz_error *error);

/* Looks for damage for at most `limit_ms`; running out of time is no error. */
RZ_MUST_CHECK rz_status rz_db_quick_check(rz_db *db, int limit_ms, rz_error *error);

/* Whether the bytes stand anywhere in the database file, free space included. The log must be
 * empty. Reads through SQLite's own descriptor, because closing another one would drop its locks.
 */
RZ_MUST_CHECK rz_status rz_db_contains(rz_db *db, const void *bytes, size_t n, bool *found,
                                       rz_error *error);

/* Rewrites the whole file without its free space. */
RZ_MUST_CHECK rz_status rz_db_vacuum(rz_db *db, rz_error *error);

#endif
