/* The score cache. Contexts are interned, because a hash per row would be most of the table. Scores
 * of erased patients go with them (erase.c). */
#include "store/scores.h"

#include "store/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void bind_context(rz_statement *statement, int first, const rz_score_context *context)
{
    rz_bind_text(statement, first, context->model_hash);
    rz_bind_text(statement, first + 1, context->tasks_hash);
    rz_bind_text(statement, first + 2, context->calibration_id);
}

/* The key of a context; 0 when it is unknown. */
static rz_status context_key(rz_store *store, const rz_score_context *context, int64_t *key,
                             rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status = rz_db_statement(store->db,
                                       "SELECT key FROM score_contexts WHERE model = ?1 AND "
                                       "tasks = ?2 AND calibration = ?3",
                                       &select, error);
    if (status != RZ_OK)
        return status;
    bind_context(select, 1, context);
    status = rz_step(select, &row, error);
    if (status != RZ_OK)
        return status;
    *key = row ? rz_column_int(select, 0) : 0;
    return row ? rz_finish(select, error) : RZ_OK;
}

static rz_status context_need(rz_store *store, const rz_score_context *context, int64_t *key,
                              rz_error *error)
{
    rz_statement *insert = NULL;
    rz_status status = context_key(store, context, key, error);
    if (status != RZ_OK || *key != 0)
        return status;
    status = rz_db_statement(
        store->db, "INSERT INTO score_contexts (model, tasks, calibration) VALUES (?1, ?2, ?3)",
        &insert, error);
    if (status != RZ_OK)
        return status;
    bind_context(insert, 1, context);
    status = rz_run(insert, error);
    if (status == RZ_OK)
        *key = rz_db_last_key(store->db);
    return status;
}

/* ---- put and get ---------------------------------------------------------------------------- */

static rz_status put_row(rz_store *store, const rz_score_row *row, int64_t now, rz_error *error)
{
    rz_statement *insert = NULL;
    int64_t context = 0;
    rz_status status = context_need(store, &row->context, &context, error);
    if (status == RZ_OK)
        status = rz_db_statement(
            store->db,
            "INSERT OR REPLACE INTO scores (patient, task, version, as_of, context, probability, "
            "low, high, reason, scored_at, average) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
            "?10, ?11 WHERE EXISTS (SELECT 1 FROM patients WHERE key = ?1)",
            &insert, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(insert, 1, row->patient);
    rz_bind_text(insert, 2, row->task);
    rz_bind_int(insert, 3, row->score.version);
    rz_bind_int(insert, 4, row->score.as_of);
    rz_bind_int(insert, 5, context);
    rz_bind_real(insert, 6, row->score.probability);
    rz_bind_real(insert, 7, row->score.low);
    rz_bind_real(insert, 8, row->score.high);
    rz_bind_text(insert, 9, row->score.reason);
    rz_bind_int(insert, 10, now);
    rz_bind_real(insert, 11, row->score.average);
    status = rz_run(insert, error);
    return status == RZ_OK ? rz_score_month_put(store, row, context, now, error) : status;
}

rz_status rz_store_scores_put(rz_store *store, const rz_score_row *rows, size_t n, rz_error *error)
{
    rz_status status = rz_write_begin(store, RZ_MAY_BE_LOST, error);
    int64_t now = rz_now_us();
    for (size_t i = 0; i < n && status == RZ_OK; i++) {
        if (isnan(rows[i].score.probability) == (rows[i].score.reason[0] == '\0'))
            status =
                rz_fail(error, RZ_E_INVALID, "score %zu needs either a probability or a reason", i);
        else
            status = put_row(store, &rows[i], now, error);
    }
    return rz_write_end(store, status, error);
}

void rz_score_read(rz_statement *select, int first, rz_score *out)
{
    *out = (rz_score){.probability = rz_column_real(select, first),
                      .low = rz_column_real(select, first + 1),
                      .high = rz_column_real(select, first + 2),
                      .average = rz_column_real(select, first + 3),
                      .as_of = (int32_t)rz_column_int(select, first + 5),
                      .version = rz_column_int(select, first + 6),
                      .scored_at = rz_column_int(select, first + 7)};
    (void)snprintf(out->reason, sizeof out->reason, "%s", rz_column_text(select, first + 4));
}

rz_status rz_store_score_get(rz_store *store, rz_patient_key patient, int64_t version,
                             int32_t as_of, const char *task, const rz_score_context *context,
                             rz_score *out, bool *found, rz_error *error)
{
    rz_statement *select = NULL;
    rz_score score;
    rz_status status = rz_db_statement(
        store->db,
        "SELECT " RZ_SCORE_COLUMNS
        " FROM scores s JOIN score_contexts c ON c.key = s.context WHERE s.patient = ?1 AND "
        "s.task = ?2 AND s.version = ?3 AND s.as_of = ?4 AND c.model = ?5 AND c.tasks = ?6 AND "
        "c.calibration = ?7",
        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, patient);
    rz_bind_text(select, 2, task);
    rz_bind_int(select, 3, version);
    rz_bind_int(select, 4, as_of);
    bind_context(select, 5, context);
    bool row = false;
    status = rz_step(select, &row, error);
    if (status == RZ_OK && row) {
        rz_score_read(select, 0, &score);
        status = rz_finish(select, error);
        if (status == RZ_OK)
            *out = score;
    }
    if (status == RZ_OK)
        *found = row;
    return status;
}

rz_status rz_store_scores_missing(rz_store *store, const char *task, int32_t as_of,
                                  const rz_score_context *context, rz_patient_key after,
                                  rz_patient_key *out, size_t cap, size_t *n, rz_error *error)
{
    bool began = false, row = false;
    int64_t key = 0;
    size_t found = 0;
    rz_statement *select = NULL;
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = context_key(store, context, &key, error);
    if (status == RZ_OK)
        status = rz_db_statement(
            store->db,
            "SELECT p.key FROM patients p LEFT JOIN scores s ON s.patient = p.key AND s.task = ?1 "
            "AND s.version = p.version AND s.as_of = ?2 AND s.context = ?3 "
            "WHERE p.key > ?4 AND s.patient IS NULL ORDER BY p.key",
            &select, error);
    if (status == RZ_OK) {
        rz_bind_text(select, 1, task);
        rz_bind_int(select, 2, as_of);
        rz_bind_int(select, 3, key);
        rz_bind_int(select, 4, after);
        while (found < cap && (status = rz_step(select, &row, error)) == RZ_OK && row)
            out[found++] = rz_column_int(select, 0);
        rz_reset(select);
    }
    rz_store_view_end(store, began);
    if (status == RZ_OK)
        *n = found;
    return status;
}
