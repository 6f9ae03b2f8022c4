/* Batches: the unit in which changes become visible. A POST is one transaction; an import is a
 * series of them under one batch row whose recorded_at is set last. Because there is one writer,
 * an unfinished batch is always the newest, and its claims are the last rows of their table. */
#include "store/internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    /* Keeps the log below 64 MB even when every row touches pages of its own. */
    ROWS_PER_TRANSACTION = 10000,
    UNDO_PER_TRANSACTION = 500 /* claims */
};

int64_t rz_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static rz_status run(rz_store *store, const char *sql, rz_error *error)
{
    rz_statement *statement = NULL;
    rz_status status = rz_db_statement(store->db, sql, &statement, error);
    return status == RZ_OK ? rz_run(statement, error) : status;
}

rz_status rz_batch_limit(rz_store *store, int64_t recorded, int64_t *limit, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status = rz_db_statement(store->db,
                                       "SELECT id FROM batches WHERE recorded_at <= ?1 "
                                       "ORDER BY recorded_at DESC LIMIT 1",
                                       &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, recorded);
    status = rz_step(select, &row, error);
    if (status != RZ_OK)
        return status;
    *limit = row ? rz_column_int(select, 0) : 0;
    return row ? rz_finish(select, error) : RZ_OK;
}

rz_status rz_batch_totals(rz_store *store, int64_t limit, rz_totals *out, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_totals totals = {.first_day = RZ_DAY_NONE, .last_day = RZ_DAY_NONE};
    rz_status status = rz_db_statement(
        store->db,
        "SELECT patients, claims, diagnoses, medications, procedures, labs, encounters, deaths, "
        "first_day, last_day FROM batches WHERE id = ?1",
        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, limit);
    status = rz_step(select, &row, error);
    if (status != RZ_OK)
        return status;
    if (row) {
        totals.patients = rz_column_int(select, 0);
        totals.claims = rz_column_int(select, 1);
        for (int kind = 0; kind < RZ_KIND_COUNT; kind++)
            totals.events[kind] = rz_column_int(select, 2 + kind);
        if (!rz_column_is_null(select, 8)) {
            totals.first_day = (int32_t)rz_column_int(select, 8);
            totals.last_day = (int32_t)rz_column_int(select, 9);
        }
        status = rz_finish(select, error);
    }
    *out = totals;
    return status;
}

/* ---- begin, commit, rollback ---------------------------------------------------------------- */

static rz_status begin(rz_store *store, rz_batch_kind kind, const char *source, rz_error *error)
{
    rz_status status = rz_store_must_write(store, error);
    if (status != RZ_OK)
        return status;
    if (store->batch_kind != RZ_BATCH_NONE)
        return rz_fail(error, RZ_E_USAGE, "a batch is already open in %s", rz_db_path(store->db));
    if (store->leftovers)
        status = rz_batch_clean(store, error);
    /* An import may lose its newest pieces in a power cut: it is invisible until the last commit,
     * which is made with FULL and syncs everything before it. */
    if (status == RZ_OK && kind == RZ_BATCH_IMPORT)
        status = rz_db_execute(store->db, "PRAGMA synchronous = NORMAL", error);
    if (status == RZ_OK)
        status = run(store, "BEGIN IMMEDIATE", error);
    int64_t last = 0;
    if (status == RZ_OK)
        status = rz_batch_limit(store, RZ_RECORDED_NOW, &last, error);
    if (status == RZ_OK)
        status = rz_batch_totals(store, last, &store->totals, error);
    if (status == RZ_OK)
        status = rz_db_query_int(store->db, "SELECT max(recorded_at) FROM batches",
                                 &store->previous_recorded, error);
    store->batch_kind = kind;
    store->batch = 0;
    store->failed = RZ_OK;
    store->rows_in_transaction = 0;
    store->patient.key = 0;
    (void)snprintf(store->source, sizeof store->source, "%s", source);
    if (status != RZ_OK)
        rz_store_rollback(store);
    return status;
}

rz_status rz_store_begin(rz_store *store, rz_error *error)
{
    return begin(store, RZ_BATCH_POST, "post", error);
}

rz_status rz_store_begin_import(rz_store *store, const char *source, rz_error *error)
{
    return begin(store, RZ_BATCH_IMPORT, source, error);
}

rz_status rz_batch_need(rz_store *store, rz_error *error)
{
    rz_statement *insert = NULL;
    if (store->batch != 0)
        return RZ_OK;
    rz_status status = rz_db_statement(
        store->db, "INSERT INTO batches (source, started_at) VALUES (?1, ?2)", &insert, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(insert, 1, store->source);
    rz_bind_int(insert, 2, rz_now_us());
    status = rz_run(insert, error);
    if (status == RZ_OK)
        store->batch = rz_db_last_key(store->db);
    return status;
}

rz_status rz_batch_wrote(rz_store *store, size_t n, rz_error *error)
{
    store->rows_in_transaction += n;
    if (store->batch_kind != RZ_BATCH_IMPORT || store->rows_in_transaction < ROWS_PER_TRANSACTION)
        return RZ_OK;
    store->rows_in_transaction = 0;
    rz_status status = run(store, "COMMIT", error);
    return status == RZ_OK ? run(store, "BEGIN IMMEDIATE", error) : status;
}

static rz_status finish_row(rz_store *store, rz_error *error)
{
    rz_statement *update = NULL;
    const rz_totals *totals = &store->totals;
    rz_status status = rz_db_statement(
        store->db,
        "UPDATE batches SET recorded_at = ?2, patients = ?3, claims = ?4, diagnoses = ?5, "
        "medications = ?6, procedures = ?7, labs = ?8, encounters = ?9, deaths = ?10, "
        "first_day = ?11, last_day = ?12 WHERE id = ?1",
        &update, error);
    if (status != RZ_OK)
        return status;
    int64_t recorded = rz_now_us();
    if (recorded <= store->previous_recorded)
        recorded = store->previous_recorded + 1;
    rz_bind_int(update, 1, store->batch);
    rz_bind_int(update, 2, recorded);
    rz_bind_int(update, 3, totals->patients);
    rz_bind_int(update, 4, totals->claims);
    for (int kind = 0; kind < RZ_KIND_COUNT; kind++)
        rz_bind_int(update, 5 + kind, totals->events[kind]);
    rz_bind_null(update, 11);
    rz_bind_null(update, 12);
    if (totals->first_day != RZ_DAY_NONE) {
        rz_bind_int(update, 11, totals->first_day);
        rz_bind_int(update, 12, totals->last_day);
    }
    return rz_run(update, error);
}

/* Puts the log into the file and empties it where readers allow it. */
static void empty_log(rz_store *store)
{
    bool complete = false;
    rz_error ignored = {0};
    if (rz_db_checkpoint(store->db, true, &complete, &ignored) == RZ_OK && complete)
        store->log_to_empty = false;
}

rz_status rz_store_commit(rz_store *store, rz_error *error)
{
    rz_status status = RZ_OK;
    if (store->batch_kind == RZ_BATCH_NONE)
        return rz_fail(error, RZ_E_USAGE, "no batch is open in %s", rz_db_path(store->db));
    bool import = store->batch_kind == RZ_BATCH_IMPORT;
    if (store->failed != RZ_OK)
        status = rz_fail(error, store->failed,
                         "the batch cannot be finished: an earlier write to "
                         "%s failed (%s)",
                         rz_db_path(store->db), rz_status_text(store->failed));
    if (status == RZ_OK && import) {
        status = run(store, "COMMIT", error);
        if (status == RZ_OK)
            status = rz_db_execute(store->db, "PRAGMA synchronous = FULL", error);
        if (status == RZ_OK)
            status = run(store, "BEGIN IMMEDIATE", error);
    }
    if (status == RZ_OK && store->batch != 0)
        status = finish_row(store, error);
    if (status == RZ_OK)
        status = run(store, "COMMIT", error);
    if (status != RZ_OK) {
        rz_store_rollback(store);
        return status;
    }
    store->batch_kind = RZ_BATCH_NONE;
    if (import || store->log_to_empty)
        empty_log(store);
    return RZ_OK;
}

void rz_store_rollback(rz_store *store)
{
    if (store->batch_kind == RZ_BATCH_NONE)
        return;
    bool import = store->batch_kind == RZ_BATCH_IMPORT;
    rz_db_rollback(store->db);
    store->batch_kind = RZ_BATCH_NONE;
    store->patient.key = 0;
    /* Names that were interned in the lost transaction do not exist any more. */
    rz_names_clear(&store->codes);
    rz_names_clear(&store->units);
    rz_names_clear(&store->facilities);
    if (import) {
        rz_error ignored = {0};
        /* What cannot be removed now (a full disk) is invisible and goes with the next begin or
         * open, both of which report why it does not go. */
        store->leftovers =
            rz_db_execute(store->db, "PRAGMA synchronous = FULL", &ignored) != RZ_OK ||
            rz_batch_clean(store, &ignored) != RZ_OK;
    }
}

/* ---- tables beside the claims ---------------------------------------------------------------- */

rz_status rz_write_begin(rz_store *store, rz_durability durability, rz_error *error)
{
    rz_status status = rz_store_must_write(store, error);
    if (status == RZ_OK && (store->batch_kind != RZ_BATCH_NONE || store->side_write))
        status = rz_fail(error, RZ_E_USAGE, "a batch is open in %s", rz_db_path(store->db));
    if (status != RZ_OK)
        return status;
    if (durability == RZ_MAY_BE_LOST)
        status = rz_db_execute(store->db, "PRAGMA synchronous = NORMAL", error);
    if (status == RZ_OK)
        status = run(store, "BEGIN IMMEDIATE", error);
    store->side_write = true;
    return status;
}

rz_status rz_write_end(rz_store *store, rz_status status, rz_error *error)
{
    if (!store->side_write)
        return status;
    store->side_write = false;
    if (status == RZ_OK)
        status = run(store, "COMMIT", error);
    if (status != RZ_OK)
        rz_db_rollback(store->db);
    rz_status restored = rz_db_execute(store->db, "PRAGMA synchronous = FULL", error);
    return status != RZ_OK ? status : restored;
}

void rz_store_tidy(rz_store *store)
{
    if (store->write && store->batch_kind == RZ_BATCH_NONE)
        empty_log(store);
}

/* ---- leftovers ------------------------------------------------------------------------------ */

typedef struct undo_claim {
    int64_t key, patient, facility;
    char claim_id[RZ_ID_MAX + 1];
} undo_claim;

/* The newest claim when it belongs to the batch; *found is false when nothing of it is left. */
static rz_status newest_claim(rz_store *store, int64_t batch, undo_claim *out, bool *found,
                              rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status = rz_db_statement(store->db,
                                       "SELECT key, patient, facility, claim_id, batch "
                                       "FROM claims ORDER BY key DESC LIMIT 1",
                                       &select, error);
    if (status == RZ_OK)
        status = rz_step(select, &row, error);
    *found = false;
    if (status != RZ_OK || !row)
        return status;
    *found = rz_column_int(select, 4) == batch;
    out->key = rz_column_int(select, 0);
    out->patient = rz_column_int(select, 1);
    out->facility = rz_column_int(select, 2);
    (void)snprintf(out->claim_id, sizeof out->claim_id, "%s", rz_column_text(select, 3));
    return rz_finish(select, error);
}

static rz_status run_two(rz_store *store, const char *sql, int64_t first, int64_t second,
                         rz_error *error)
{
    rz_statement *statement = NULL;
    rz_status status = rz_db_statement(store->db, sql, &statement, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(statement, 1, first);
    rz_bind_int(statement, 2, second);
    return rz_run(statement, error);
}

/* Gives the version before back its place: the last one that this batch superseded. */
static rz_status restore_predecessor(rz_store *store, const undo_claim *claim, int64_t batch,
                                     rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status = rz_db_statement(store->db,
                                       "SELECT key, patient FROM claims WHERE facility = ?1 AND "
                                       "claim_id = ?2 AND superseded = ?3 ORDER BY key DESC "
                                       "LIMIT 1",
                                       &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, claim->facility);
    rz_bind_text(select, 2, claim->claim_id);
    rz_bind_int(select, 3, batch);
    status = rz_step(select, &row, error);
    if (status != RZ_OK || !row)
        return status;
    int64_t key = rz_column_int(select, 0), patient = rz_column_int(select, 1);
    status = rz_finish(select, error);
    if (status == RZ_OK)
        status = run_two(store, "UPDATE claims SET superseded = 0 WHERE key = ?1 AND ?2 > 0", key,
                         batch, error);
    if (status == RZ_OK)
        status =
            run_two(store, "UPDATE events SET superseded = 0 WHERE patient = ?1 AND claim = ?2",
                    patient, key, error);
    return status == RZ_OK ? rz_patient_recompute(store, patient, error) : status;
}

static rz_status undo(rz_store *store, const undo_claim *claim, int64_t batch, rz_error *error)
{
    rz_status status = run_two(store, "DELETE FROM events WHERE patient = ?1 AND claim = ?2",
                               claim->patient, claim->key, error);
    if (status == RZ_OK)
        status = run_two(store, "DELETE FROM claims WHERE key = ?1 AND batch = ?2", claim->key,
                         batch, error);
    if (status == RZ_OK)
        status = restore_predecessor(store, claim, batch, error);
    return status == RZ_OK ? rz_patient_recompute(store, claim->patient, error) : status;
}

rz_status rz_batch_clean(rz_store *store, rz_error *error)
{
    int64_t batch = 0;
    rz_status status = rz_db_query_int(
        store->db, "SELECT max(id) FROM batches WHERE recorded_at IS NULL", &batch, error);
    if (status != RZ_OK || batch == 0) {
        store->leftovers = status != RZ_OK;
        return status;
    }
    bool found = true;
    undo_claim claim;
    store->leftovers = true;
    while (status == RZ_OK && found) {
        status = run(store, "BEGIN IMMEDIATE", error);
        for (int i = 0; status == RZ_OK && found && i < UNDO_PER_TRANSACTION; i++) {
            status = newest_claim(store, batch, &claim, &found, error);
            if (status == RZ_OK && found)
                status = undo(store, &claim, batch, error);
        }
        if (status == RZ_OK && !found)
            status =
                run_two(store, "DELETE FROM batches WHERE id = ?1 AND ?2 = 0", batch, 0, error);
        if (status == RZ_OK)
            status = run(store, "COMMIT", error);
        if (status != RZ_OK)
            rz_db_rollback(store->db);
    }
    if (status != RZ_OK) {
        rz_error_prefix(error, "removing an unfinished import: ");
        return status;
    }
    store->leftovers = false;
    empty_log(store);
    return RZ_OK;
}
