/* What scores were in earlier months: the newest of each month and context, written beside the
 * score cache and never read for it. */
#include "store/scores.h"

#include "store/internal.h"

#include <stdio.h>

int rz_score_month(int32_t day)
{
    int year, month, day_of_month;
    rz_day_to_civil(day, &year, &month, &day_of_month);
    return 12 * year + month - 1;
}

static rz_status forget_older(rz_store *store, const rz_score_row *row, int month, rz_error *error)
{
    rz_statement *erase = NULL;
    rz_status status = rz_db_statement(
        store->db, "DELETE FROM score_months WHERE patient = ?1 AND task = ?2 AND month <= ?3",
        &erase, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(erase, 1, row->patient);
    rz_bind_text(erase, 2, row->task);
    rz_bind_int(erase, 3, month - RZ_SCORE_MONTHS);
    return rz_run(erase, error);
}

rz_status rz_score_month_put(rz_store *store, const rz_score_row *row, int64_t context, int64_t now,
                             rz_error *error)
{
    rz_statement *insert = NULL;
    int month = rz_score_month(row->score.as_of);
    rz_status status = forget_older(store, row, month, error);
    if (status == RZ_OK)
        status = rz_db_statement(
            store->db,
            "INSERT OR REPLACE INTO score_months (patient, task, month, context, as_of, "
            "probability, low, high, average, reason, scored_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, "
            "?7, ?8, ?9, ?10, ?11 WHERE EXISTS (SELECT 1 FROM patients WHERE key = ?1)",
            &insert, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(insert, 1, row->patient);
    rz_bind_text(insert, 2, row->task);
    rz_bind_int(insert, 3, month);
    rz_bind_int(insert, 4, context);
    rz_bind_int(insert, 5, row->score.as_of);
    rz_bind_real(insert, 6, row->score.probability);
    rz_bind_real(insert, 7, row->score.low);
    rz_bind_real(insert, 8, row->score.high);
    rz_bind_real(insert, 9, row->score.average);
    rz_bind_text(insert, 10, row->score.reason);
    rz_bind_int(insert, 11, now);
    return rz_run(insert, error);
}

rz_status rz_store_score_months(rz_store *store, rz_patient_key patient, const char *task,
                                int first_month, rz_month_score *out, size_t cap, size_t *n_out,
                                rz_error *error)
{
    rz_statement *select = NULL;
    size_t n = 0;
    bool row = false;
    rz_status status = rz_db_statement(
        store->db,
        "SELECT * FROM (SELECT s.probability, s.low, s.high, s.average, s.reason, s.as_of, 0, "
        "s.scored_at, c.model, c.calibration FROM score_months s JOIN score_contexts c ON c.key = "
        "s.context WHERE s.patient = ?1 AND s.task = ?2 AND s.month >= ?3 ORDER BY s.as_of DESC, "
        "s.scored_at DESC LIMIT ?4) ORDER BY 6, 8",
        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, patient);
    rz_bind_text(select, 2, task);
    rz_bind_int(select, 3, first_month);
    rz_bind_int(select, 4, cap > INT32_MAX ? INT32_MAX : (int64_t)cap);
    while (n < cap && (status = rz_step(select, &row, error)) == RZ_OK && row) {
        rz_month_score *kept = &out[n++];
        rz_score_read(select, 0, &kept->score);
        (void)snprintf(kept->model_hash, sizeof kept->model_hash, "%s", rz_column_text(select, 8));
        (void)snprintf(kept->calibration_id, sizeof kept->calibration_id, "%s",
                       rz_column_text(select, 9));
    }
    rz_reset(select);
    if (status == RZ_OK)
        *n_out = n;
    return status;
}
