/* Erasing a patient: rows out, freed bytes zeroed, log emptied, and a search of the file itself for
 * what B-tree moves left behind. Only the fact of a batch named "erase" stays. */
#include "store/internal.h"

#include <string.h>

enum { ID_TO_SEARCH_MIN = 6 };

static rz_status run_one(rz_store *store, const char *sql, int64_t key, rz_error *error)
{
    rz_statement *statement = NULL;
    rz_status status = rz_db_statement(store->db, sql, &statement, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(statement, 1, key);
    return rz_run(statement, error);
}

/* Takes the patient's current claims and events off the totals. */
static rz_status uncount(rz_store *store, rz_patient_key key, rz_error *error)
{
    static const char claims_sql[] =
        "SELECT 0, count(*) FROM claims WHERE patient = ?1 AND superseded = 0";
    static const char events_sql[] = "SELECT kind, count(*) FROM events WHERE patient = ?1 AND "
                                     "superseded = 0 GROUP BY kind";
    const char *const queries[] = {claims_sql, events_sql};
    rz_status status = RZ_OK;
    for (int i = 0; i < 2 && status == RZ_OK; i++) {
        rz_statement *select = NULL;
        bool row = false;
        status = rz_db_statement(store->db, queries[i], &select, error);
        if (status != RZ_OK)
            return status;
        rz_bind_int(select, 1, key);
        while ((status = rz_step(select, &row, error)) == RZ_OK && row) {
            int64_t kind = rz_column_int(select, 0), n = rz_column_int(select, 1);
            if (i == 0)
                store->totals.claims -= n;
            else if (kind >= 0 && kind < RZ_KIND_COUNT)
                store->totals.events[kind] -= n;
        }
    }
    store->totals.patients--;
    return status;
}

static rz_status remove_rows(rz_store *store, rz_patient_key key, rz_error *error)
{
    static const char *const deletes[] = {
        "DELETE FROM events WHERE patient = ?1",       "DELETE FROM scores WHERE patient = ?1",
        "DELETE FROM score_months WHERE patient = ?1", "DELETE FROM feedback WHERE patient = ?1",
        "DELETE FROM claims WHERE patient = ?1",       "DELETE FROM patients WHERE key = ?1"};
    rz_status status = uncount(store, key, error);
    for (size_t i = 0; i < sizeof deletes / sizeof deletes[0] && status == RZ_OK; i++)
        status = run_one(store, deletes[i], key, error);
    return status;
}

/* Empties the log, then looks for the id in the file. secure_delete zeroes what is deleted, but a
 * page that was split earlier may keep a copy in its free space; only a rewrite removes that. */
static rz_status wipe(rz_store *store, const char *id, rz_error *error)
{
    bool complete = false, found = false;
    store->log_to_empty = true;
    rz_status status = rz_db_checkpoint(store->db, true, &complete, error);
    if (status == RZ_OK && complete && strlen(id) >= ID_TO_SEARCH_MIN)
        status = rz_db_contains(store->db, id, strlen(id), &found, error);
    else
        found = true; /* too short to be told from chance */
    if (status == RZ_OK && complete && found) {
        status = rz_db_vacuum(store->db, error);
        if (status == RZ_OK)
            status = rz_db_checkpoint(store->db, true, &complete, error);
    }
    if (status != RZ_OK)
        return status;
    if (!complete)
        return rz_fail(error, RZ_E_BUSY,
                       "the patient is erased, but a reader keeps old pages of %s alive; they go "
                       "with the next write or erasure after it has finished",
                       rz_db_path(store->db));
    store->log_to_empty = false;
    return RZ_OK;
}

rz_status rz_store_erase_patient(rz_store *store, rz_patient_key key, rz_error *error)
{
    rz_patient_state patient = {0};
    bool found = false;
    rz_status status = rz_store_begin(store, error);
    if (status != RZ_OK)
        return status;
    memcpy(store->source, "erase", sizeof "erase");
    status = rz_patient_at(store, key, INT64_MAX, false, &patient, &found, error);
    if (status == RZ_OK && !found)
        status = rz_fail(error, RZ_E_NOT_FOUND, "no such patient");
    if (status == RZ_OK)
        status = rz_patient_changed(store, key, error);
    if (status == RZ_OK)
        status = rz_batch_need(store, error);
    if (status == RZ_OK)
        status = remove_rows(store, key, error);
    if (status != RZ_OK) {
        rz_store_rollback(store);
        return status;
    }
    status = rz_store_commit(store, error);
    return status == RZ_OK ? wipe(store, patient.id, error) : status;
}
