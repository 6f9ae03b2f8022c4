/* What scores rest on: a column of their rows. Whoever replaces a score leaves it empty, so an
 * explanation holds exactly as long as its score. */
#include "store/scores.h"

#include "store/internal.h"

/* The score of (?1 patient, ?2 task) that was made with ?3 version, ?4 day and ?5 … ?7 context. */
#define THE_SCORE                                                                                  \
    "patient = ?1 AND task = ?2 AND version = ?3 AND as_of = ?4 AND context = (SELECT key FROM "   \
    "score_contexts WHERE model = ?5 AND tasks = ?6 AND calibration = ?7)"

static void bind_score(rz_statement *statement, rz_patient_key patient, const char *task,
                       int64_t version, int32_t as_of, const rz_score_context *context)
{
    rz_bind_int(statement, 1, patient);
    rz_bind_text(statement, 2, task);
    rz_bind_int(statement, 3, version);
    rz_bind_int(statement, 4, as_of);
    rz_bind_text(statement, 5, context->model_hash);
    rz_bind_text(statement, 6, context->tasks_hash);
    rz_bind_text(statement, 7, context->calibration_id);
}

rz_status rz_store_explanations_put(rz_store *store, const rz_explanation_row *rows, size_t n,
                                    rz_error *error)
{
    rz_status status = rz_write_begin(store, RZ_MAY_BE_LOST, error);
    for (size_t i = 0; i < n && status == RZ_OK; i++) {
        rz_statement *update = NULL;
        status = rz_db_statement(
            store->db, "UPDATE scores SET explanation = ?8 WHERE " THE_SCORE " AND reason = ''",
            &update, error);
        if (status != RZ_OK)
            break;
        bind_score(update, rows[i].patient, rows[i].task, rows[i].version, rows[i].as_of,
                   &rows[i].context);
        rz_bind_text(update, 8, rows[i].text);
        status = rz_run(update, error);
    }
    return rz_write_end(store, status, error);
}

rz_status rz_store_explanation_get(rz_store *store, rz_patient_key patient, int64_t version,
                                   int32_t as_of, const char *task, const rz_score_context *context,
                                   rz_arena *arena, char **out, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    char *text = NULL;
    rz_status status = rz_db_statement(store->db,
                                       "SELECT explanation FROM scores WHERE " THE_SCORE
                                       " AND explanation IS NOT NULL AND EXISTS (SELECT 1 FROM "
                                       "patients WHERE key = ?1 AND version = ?3)",
                                       &select, error);
    if (status != RZ_OK)
        return status;
    bind_score(select, patient, task, version, as_of, context);
    status = rz_step(select, &row, error);
    if (status == RZ_OK && row) {
        text = rz_arena_strdup(arena, rz_column_text(select, 0));
        status = rz_finish(select, error);
        if (status == RZ_OK && text == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for an explanation");
    }
    if (status == RZ_OK)
        *out = text;
    return status;
}

rz_status rz_store_explanations_missing(rz_store *store, const char *task, int32_t as_of,
                                        const rz_score_context *context, size_t top,
                                        rz_patient_key *out, size_t cap, size_t *n, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    size_t found = 0;
    rz_status status = rz_db_statement(
        store->db,
        "SELECT t.patient FROM (SELECT patient, version, as_of, context, explanation, excess FROM "
        "scores WHERE task = ?1 AND probability >= 0 ORDER BY excess DESC, patient LIMIT ?2) t "
        "JOIN patients p ON p.key = t.patient AND p.version = t.version WHERE t.explanation IS "
        "NULL AND t.as_of = ?3 AND t.context = (SELECT key FROM score_contexts WHERE model = ?4 "
        "AND tasks = ?5 AND calibration = ?6) ORDER BY t.excess DESC, t.patient",
        &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_text(select, 1, task);
    rz_bind_int(select, 2, top > INT32_MAX ? INT32_MAX : (int64_t)top);
    rz_bind_int(select, 3, as_of);
    rz_bind_text(select, 4, context->model_hash);
    rz_bind_text(select, 5, context->tasks_hash);
    rz_bind_text(select, 6, context->calibration_id);
    while (found < cap && (status = rz_step(select, &row, error)) == RZ_OK && row)
        out[found++] = rz_column_int(select, 0);
    rz_reset(select);
    if (status == RZ_OK)
        *n = found;
    return status;
}
