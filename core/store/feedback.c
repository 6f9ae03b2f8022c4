/* The table of verdicts: rows are added and read, never changed. */
#include "store/feedback.h"

#include "store/internal.h"

static rz_status insert_row(rz_store *store, const rz_feedback *row, int64_t now, rz_error *error)
{
    rz_statement *insert = NULL;
    rz_status status = rz_db_statement(
        store->db,
        "INSERT INTO feedback (patient, task, verdict, reason, as_of, probability, model, actor, "
        "recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &insert, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(insert, 1, row->patient);
    rz_bind_text(insert, 2, row->task);
    rz_bind_text(insert, 3, row->verdict);
    rz_bind_text(insert, 4, row->reason);
    rz_bind_int(insert, 5, row->as_of);
    rz_bind_real(insert, 6, row->probability);
    rz_bind_text(insert, 7, row->model_hash);
    rz_bind_text(insert, 8, row->actor);
    rz_bind_int(insert, 9, now);
    return rz_run(insert, error);
}

rz_status rz_store_feedback_put(rz_store *store, rz_feedback *row, rz_error *error)
{
    rz_patient_state patient;
    bool found = false;
    int64_t now = rz_now_us(), id = 0;
    rz_status status = rz_write_begin(store, RZ_DURABLE, error);
    if (status == RZ_OK)
        status = rz_patient_at(store, row->patient, INT64_MAX, false, &patient, &found, error);
    if (status == RZ_OK && !found)
        status = rz_fail(error, RZ_E_NOT_FOUND, "no such patient");
    if (status == RZ_OK)
        status = insert_row(store, row, now, error);
    if (status == RZ_OK)
        id = rz_db_last_key(store->db);
    status = rz_write_end(store, status, error);
    if (status == RZ_OK) {
        row->id = id;
        row->recorded_at = now;
    }
    return status;
}

/* By id downwards; a patient's rows are found by their index, which holds the ids, too. */
#define LIST(of_patient)                                                                           \
    "SELECT f.id, f.patient, f.task, f.verdict, f.reason, f.as_of, f.probability, f.model, "       \
    "f.actor, f.recorded_at, p.namespace, p.id FROM feedback f CROSS JOIN patients p ON p.key = "  \
    "f.patient WHERE f.id < ?1 AND (?3 = '' OR f.task = ?3) AND " RZ_OF_FACILITY("?2") of_patient  \
        " ORDER BY f.id DESC LIMIT ?4"

static const char list_all[] = LIST("");
static const char list_patient[] = LIST(" AND f.patient = ?5");

static rz_status read_row(rz_store *store, rz_statement *select, rz_arena *arena, rz_feedback *out,
                          rz_error *error)
{
    rz_name facility = {.text = ""};
    rz_status status = RZ_OK;
    if (rz_column_int(select, 10) != 0)
        status = rz_names_text(&store->facilities, store->db, rz_column_int(select, 10), &facility,
                               error);
    if (status != RZ_OK)
        return status;
    *out = (rz_feedback){.id = rz_column_int(select, 0),
                         .patient = rz_column_int(select, 1),
                         .task = rz_arena_strdup(arena, rz_column_text(select, 2)),
                         .verdict = rz_arena_strdup(arena, rz_column_text(select, 3)),
                         .reason = rz_arena_strdup(arena, rz_column_text(select, 4)),
                         .as_of = (int32_t)rz_column_int(select, 5),
                         .probability = rz_column_real(select, 6),
                         .model_hash = rz_arena_strdup(arena, rz_column_text(select, 7)),
                         .actor = rz_arena_strdup(arena, rz_column_text(select, 8)),
                         .recorded_at = rz_column_int(select, 9),
                         .facility = rz_arena_strdup(arena, facility.text),
                         .stored_id = rz_arena_strdup(arena, rz_column_text(select, 11))};
    bool complete = out->task != NULL && out->verdict != NULL && out->reason != NULL &&
                    out->model_hash != NULL && out->actor != NULL && out->facility != NULL &&
                    out->stored_id != NULL;
    return complete ? RZ_OK : rz_fail(error, RZ_E_NO_MEMORY, "no memory for a page of feedback");
}

static rz_status list(rz_store *store, const rz_feedback_query *query, int64_t facility,
                      rz_arena *arena, rz_feedback *out, size_t cap, size_t *n_out, rz_error *error)
{
    rz_statement *select = NULL;
    size_t n = 0;
    bool row = false;
    rz_status status =
        rz_db_statement(store->db, query->patient != 0 ? list_patient : list_all, &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, query->before);
    rz_bind_int(select, 2, facility);
    rz_bind_text(select, 3, query->task != NULL ? query->task : "");
    rz_bind_int(select, 4, cap > INT32_MAX ? INT32_MAX : (int64_t)cap);
    if (query->patient != 0)
        rz_bind_int(select, 5, query->patient);
    while (status == RZ_OK && n < cap && (status = rz_step(select, &row, error)) == RZ_OK && row)
        status = read_row(store, select, arena, &out[n++], error);
    rz_reset(select);
    if (status == RZ_OK)
        *n_out = n;
    return status;
}

rz_status rz_store_feedback(rz_store *store, const rz_feedback_query *query, rz_arena *arena,
                            rz_feedback *out, size_t cap, size_t *n, rz_error *error)
{
    bool began = false;
    int64_t facility = 0;
    size_t found = 0;
    rz_status status = rz_store_view(store, &began, error);
    if (status == RZ_OK && query->facility != NULL)
        status = rz_names_key(&store->facilities, store->db, 0, query->facility, false, &facility,
                              error);
    bool nobody = query->facility != NULL && facility == 0; /* it never sent a claim */
    if (status == RZ_OK && !nobody)
        status = list(store, query, facility, arena, out, cap, &found, error);
    rz_store_view_end(store, began);
    if (status == RZ_OK)
        *n = found;
    return status;
}
