/* The score cache and the worklist. Contexts are interned, because a hash per row would be most of
 * the table. Scores of erased patients go with them (erase.c). */
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
            "low, high, reason, scored_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 "
            "WHERE EXISTS (SELECT 1 FROM patients WHERE key = ?1)",
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
    return rz_run(insert, error);
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

static void read_score(rz_statement *select, int first, rz_score *out)
{
    *out = (rz_score){.probability = rz_column_real(select, first),
                      .low = rz_column_real(select, first + 1),
                      .high = rz_column_real(select, first + 2),
                      .as_of = (int32_t)rz_column_int(select, first + 4),
                      .version = rz_column_int(select, first + 5),
                      .scored_at = rz_column_int(select, first + 6)};
    (void)snprintf(out->reason, sizeof out->reason, "%s", rz_column_text(select, first + 3));
}

rz_status rz_store_score_get(rz_store *store, rz_patient_key patient, int64_t version,
                             int32_t as_of, const char *task, const rz_score_context *context,
                             rz_score *out, bool *found, rz_error *error)
{
    rz_statement *select = NULL;
    rz_score score;
    rz_status status = rz_db_statement(
        store->db,
        "SELECT s.probability, s.low, s.high, s.reason, s.as_of, s.version, s.scored_at "
        "FROM scores s JOIN score_contexts c ON c.key = s.context WHERE s.patient = ?1 AND "
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
        read_score(select, 0, &score);
        status = rz_finish(select, error);
        if (status == RZ_OK)
            *out = score;
    }
    if (status == RZ_OK)
        *found = row;
    return status;
}

/* ---- worklist ------------------------------------------------------------------------------- */

/* With shared ids a facility's patients are those it has sent claims of. */
#define OF_FACILITY                                                                                \
    "(?2 = 0 OR p.namespace = ?2 OR (p.namespace = 0 AND EXISTS (SELECT 1 FROM claims k WHERE "    \
    "k.patient = p.key AND k.facility = ?2)))"

/* Adds the patients of one reason; those with a risk have the reason "", those not scored none. */
static void count_reason(rz_statement *select, rz_worklist_counts *counts)
{
    int64_t patients = rz_column_int(select, 1), oldest = rz_column_int(select, 3),
            newest = rz_column_int(select, 4);
    if (rz_column_is_null(select, 0)) {
        counts->unscored = patients;
        return;
    }
    const char *reason = rz_column_text(select, 0);
    if (reason[0] == '\0') {
        counts->scored = patients;
    } else {
        counts->left_out += patients;
        if (counts->n_reasons < RZ_WORKLIST_REASONS_MAX) {
            size_t i = counts->n_reasons++;
            (void)snprintf(counts->reasons[i].reason, sizeof counts->reasons[i].reason, "%s",
                           reason);
            counts->reasons[i].patients = patients;
        }
    }
    counts->stale += rz_column_int(select, 2);
    if (counts->oldest_at == 0 || oldest < counts->oldest_at)
        counts->oldest_at = oldest;
    if (newest > counts->newest_at)
        counts->newest_at = newest;
}

static rz_status count(rz_store *store, const char *task, int64_t facility, rz_worklist_counts *out,
                       rz_error *error)
{
    rz_statement *select = NULL;
    rz_worklist_counts counts = {0};
    bool row = false;
    rz_status status =
        rz_db_statement(store->db,
                        "SELECT s.reason, count(*), sum(s.version <> p.version), min(s.scored_at), "
                        "max(s.scored_at) FROM patients p LEFT JOIN scores s ON s.patient = p.key "
                        "AND s.task = ?1 WHERE " OF_FACILITY " GROUP BY s.reason ORDER BY s.reason",
                        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(select, 1, task);
    rz_bind_int(select, 2, facility);
    while ((status = rz_step(select, &row, error)) == RZ_OK && row)
        count_reason(select, &counts);
    if (status == RZ_OK)
        *out = counts;
    return status;
}

static rz_status rank(rz_store *store, const rz_worklist_query *query, int64_t facility,
                      rz_worklist_row *out, size_t cap, size_t *n_out, rz_error *error)
{
    rz_statement *select = NULL;
    size_t n = 0;
    bool row = false;
    rz_status status = rz_db_statement(
        store->db,
        "SELECT p.key, p.namespace, p.id, p.version, s.probability, s.low, s.high, s.reason, "
        "s.as_of, s.version, s.scored_at FROM scores s JOIN patients p ON p.key = s.patient "
        "WHERE s.task = ?1 AND s.probability >= ?3 AND " OF_FACILITY
        " ORDER BY s.probability DESC, s.patient LIMIT ?4 OFFSET ?5",
        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(select, 1, query->task);
    rz_bind_int(select, 2, facility);
    rz_bind_real(select, 3, query->min_probability);
    rz_bind_int(select, 4, cap > INT32_MAX ? INT32_MAX : (int64_t)cap);
    rz_bind_int(select, 5, query->offset > INT64_MAX ? INT64_MAX : (int64_t)query->offset);
    while ((status = rz_step(select, &row, error)) == RZ_OK && row && n < cap) {
        rz_worklist_row *item = &out[n++];
        rz_name name = {.text = ""};
        *item = (rz_worklist_row){.patient = rz_column_int(select, 0)};
        if (rz_column_int(select, 1) != 0)
            status = rz_names_text(&store->facilities, store->db, rz_column_int(select, 1), &name,
                                   error);
        if (status != RZ_OK) {
            rz_reset(select);
            return status;
        }
        (void)snprintf(item->facility, sizeof item->facility, "%s", name.text);
        (void)snprintf(item->id, sizeof item->id, "%s", rz_column_text(select, 2));
        read_score(select, 4, &item->score);
        item->stale = rz_column_int(select, 3) != item->score.version;
    }
    *n_out = n;
    return status;
}

rz_status rz_store_worklist(rz_store *store, const rz_worklist_query *query, rz_worklist_row *out,
                            size_t cap, size_t *n, rz_worklist_counts *counts, rz_error *error)
{
    bool began = false;
    int64_t facility = 0;
    size_t found = 0;
    rz_worklist_counts counted = {0};
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK && query->facility != NULL)
        status = rz_names_key(&store->facilities, store->db, 0, query->facility, false, &facility,
                              error);
    /* A facility that never sent a claim has an empty list, not everybody's. */
    bool unknown = query->facility != NULL && facility == 0;
    if (status == RZ_OK && !unknown)
        status = count(store, query->task, facility, &counted, error);
    if (status == RZ_OK && !unknown)
        status = rank(store, query, facility, out, cap, &found, error);
    rz_store_view_end(store, began);
    if (status == RZ_OK) {
        *counts = counted;
        *n = found;
    }
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
