/* Each order is a walk along an index of the scores that ends when the page is full; counting is a
 * walk along all patients. */
#include "store/worklist.h"

#include "store/internal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What both statements ask of a score s and its patient p: ?2 the facility, ?3 the least
 * probability, ?4 whether ages matter, ?5 and ?6 from which to which. */
#define OF_FACILITY RZ_OF_FACILITY("?2")
#define AGE_FITS    "(?4 = 0 OR years_between(p.birth_day, s.as_of) BETWEEN ?5 AND ?6)"

/* ?1 is a task, or of several a JSON list of them. */
#define ONE_TASK  "s.task = ?1"
#define ANY_TASKS "s.task IN (SELECT value FROM json_each(?1))"

/* The index says in which order the rows come; without it SQLite could sort them all. */
#define RANK(index, task, column)                                                                  \
    "SELECT " RZ_SCORE_COLUMNS ", p.key, p.namespace, p.id, p.version, p.sex, p.birth_day, "       \
    "s.task, c.model, s.explanation FROM scores s INDEXED BY " index                               \
    " CROSS JOIN patients p ON p.key = s.patient JOIN score_contexts c ON c.key = s.context "      \
    "WHERE " task " AND s.probability >= ?3 AND " AGE_FITS " AND " OF_FACILITY                     \
    " ORDER BY s." column " DESC, s.patient, s.task LIMIT ?7 OFFSET ?8"

static const char one_by_excess[] = RANK("scores_excess", ONE_TASK, "excess");
static const char one_by_probability[] = RANK("scores_ranked", ONE_TASK, "probability");
static const char any_by_excess[] = RANK("scores_all_excess", ANY_TASKS, "excess");
static const char any_by_probability[] = RANK("scores_all_ranked", ANY_TASKS, "probability");

/* The + keeps a patient's few scores one look into the table instead of one for each task. */
static const char counting[] =
    "SELECT s.reason, count(*), sum(s.version <> p.version), min(s.scored_at), max(s.scored_at), "
    "sum(s.probability >= ?3 AND " AGE_FITS ") FROM patients p CROSS JOIN scores s ON s.patient = "
    "p.key AND +" ANY_TASKS " WHERE " OF_FACILITY " GROUP BY s.reason ORDER BY s.reason";

/* The tasks as JSON; free() it. */
static rz_status tasks_text(const rz_worklist_query *query, char **out, rz_error *error)
{
    json_t *list = json_array();
    for (size_t i = 0; i < query->n_tasks; i++)
        (void)json_array_append_new(list, json_string(query->tasks[i]));
    *out = json_array_size(list) == query->n_tasks ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return *out != NULL ? RZ_OK
                        : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tasks", query->n_tasks);
}

static void bind_filter(rz_statement *select, const rz_worklist_query *query, const char *tasks,
                        int64_t facility)
{
    rz_bind_text(select, 1, tasks);
    rz_bind_int(select, 2, facility);
    rz_bind_real(select, 3, query->min_probability);
    rz_bind_int(select, 4, query->by_age);
    rz_bind_int(select, 5, query->age_min);
    rz_bind_int(select, 6, query->age_max);
}

/* The facility's key, 0 for all; *nobody: it never sent a claim. */
static rz_status facility_of(rz_store *store, const rz_worklist_query *query, int64_t *key,
                             bool *nobody, rz_error *error)
{
    rz_status status = RZ_OK;
    *key = 0;
    if (query->facility != NULL)
        status = rz_names_key(&store->facilities, store->db, 0, query->facility, false, key, error);
    *nobody = query->facility != NULL && *key == 0;
    return status;
}

/* ---- the rows ------------------------------------------------------------------------------- */

static rz_status read_row(rz_store *store, rz_statement *select, const rz_worklist_query *query,
                          rz_arena *arena, rz_worklist_row *out, rz_error *error)
{
    rz_name facility = {.text = ""};
    int64_t namespace = rz_column_int(select, 9);
    const char *task = rz_column_text(select, 14);
    *out = (rz_worklist_row){.patient = rz_column_int(select, 8),
                             .sex = (rz_sex)rz_column_int(select, 12),
                             .birth_day = rz_column_is_null(select, 13)
                                              ? RZ_DAY_NONE
                                              : (int32_t)rz_column_int(select, 13)};
    rz_score_read(select, 0, &out->score);
    out->stale = rz_column_int(select, 11) != out->score.version;
    (void)snprintf(out->id, sizeof out->id, "%s", rz_column_text(select, 10));
    (void)snprintf(out->model_hash, sizeof out->model_hash, "%s", rz_column_text(select, 15));
    for (size_t i = 0; i < query->n_tasks && out->task == NULL; i++)
        if (strcmp(query->tasks[i], task) == 0)
            out->task = query->tasks[i];
    if (!rz_column_is_null(select, 16)) {
        out->explanation = rz_arena_strdup(arena, rz_column_text(select, 16));
        if (out->explanation == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for an explanation");
    }
    rz_status status = RZ_OK;
    if (namespace != 0)
        status = rz_names_text(&store->facilities, store->db, namespace, &facility, error);
    (void)snprintf(out->facility, sizeof out->facility, "%s", facility.text);
    return status;
}

static rz_status rank(rz_store *store, const rz_worklist_query *query, const char *tasks,
                      int64_t facility, rz_arena *arena, rz_worklist_row *out, size_t cap,
                      size_t *n_out, rz_error *error)
{
    rz_statement *select = NULL;
    size_t n = 0;
    bool row = false, one = query->n_tasks == 1, excess = query->order == RZ_WORKLIST_EXCESS;
    const char *sql = one      ? (excess ? one_by_excess : one_by_probability)
                      : excess ? any_by_excess
                               : any_by_probability;
    rz_status status = rz_db_statement(store->db, sql, &select, error);
    if (status != RZ_OK)
        return status;
    bind_filter(select, query, one ? query->tasks[0] : tasks, facility);
    rz_bind_int(select, 7, cap > INT32_MAX ? INT32_MAX : (int64_t)cap);
    rz_bind_int(select, 8, query->offset > INT64_MAX ? INT64_MAX : (int64_t)query->offset);
    while (status == RZ_OK && n < cap && (status = rz_step(select, &row, error)) == RZ_OK && row)
        status = read_row(store, select, query, arena, &out[n++], error);
    rz_reset(select);
    if (status == RZ_OK)
        *n_out = n;
    return status;
}

rz_status rz_store_worklist(rz_store *store, const rz_worklist_query *query, rz_arena *arena,
                            rz_worklist_row *out, size_t cap, size_t *n, rz_error *error)
{
    bool began = false, nobody = false;
    int64_t facility = 0;
    size_t found = 0;
    char *tasks = NULL;
    rz_status status = tasks_text(query, &tasks, error);
    if (status == RZ_OK)
        status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = facility_of(store, query, &facility, &nobody, error);
    if (status == RZ_OK && !nobody)
        status = rank(store, query, tasks, facility, arena, out, cap, &found, error);
    rz_store_view_end(store, began);
    free(tasks);
    if (status == RZ_OK)
        *n = found;
    return status;
}

/* ---- counting ------------------------------------------------------------------------------- */

/* Adds the rows of one reason; those with a risk have the reason "". */
static void count_reason(rz_statement *select, rz_worklist_counts *counts)
{
    int64_t rows = rz_column_int(select, 1), oldest = rz_column_int(select, 3),
            newest = rz_column_int(select, 4);
    const char *reason = rz_column_text(select, 0);
    if (reason[0] == '\0') {
        counts->scored = rows;
        counts->matching = rz_column_int(select, 5);
    } else {
        counts->left_out += rows;
        if (counts->n_reasons < RZ_WORKLIST_REASONS_MAX) {
            size_t i = counts->n_reasons++;
            (void)snprintf(counts->reasons[i].reason, sizeof counts->reasons[i].reason, "%s",
                           reason);
            counts->reasons[i].rows = rows;
        }
    }
    counts->stale += rz_column_int(select, 2);
    if (counts->oldest_at == 0 || oldest < counts->oldest_at)
        counts->oldest_at = oldest;
    if (newest > counts->newest_at)
        counts->newest_at = newest;
}

static rz_status count_patients(rz_store *store, int64_t facility, int64_t *out, rz_error *error)
{
    rz_statement *select = NULL;
    bool row = false;
    rz_status status = rz_db_statement(
        store->db, "SELECT count(*) FROM patients p WHERE " RZ_OF_FACILITY("?1"), &select, error);
    if (status != RZ_OK)
        return status;
    rz_bind_int(select, 1, facility);
    status = rz_step(select, &row, error);
    if (status != RZ_OK)
        return status;
    *out = rz_column_int(select, 0);
    return rz_finish(select, error);
}

static rz_status count(rz_store *store, const rz_worklist_query *query, const char *tasks,
                       int64_t facility, rz_worklist_counts *out, rz_error *error)
{
    rz_statement *select = NULL;
    rz_worklist_counts counts = {0};
    int64_t patients = 0;
    bool row = false;
    rz_status status = count_patients(store, facility, &patients, error);
    if (status == RZ_OK)
        status = rz_db_statement(store->db, counting, &select, error);
    if (status != RZ_OK)
        return status;
    bind_filter(select, query, tasks, facility);
    while ((status = rz_step(select, &row, error)) == RZ_OK && row)
        count_reason(select, &counts);
    counts.unscored = patients * (int64_t)query->n_tasks - counts.scored - counts.left_out;
    if (status == RZ_OK)
        *out = counts;
    return status;
}

rz_status rz_store_worklist_count(rz_store *store, const rz_worklist_query *query,
                                  rz_worklist_counts *out, rz_error *error)
{
    bool began = false, nobody = false;
    int64_t facility = 0;
    char *tasks = NULL;
    rz_worklist_counts counts = {0};
    rz_status status = tasks_text(query, &tasks, error);
    if (status == RZ_OK)
        status = rz_store_view(store, &began, error);
    if (status == RZ_OK)
        status = facility_of(store, query, &facility, &nobody, error);
    if (status == RZ_OK && !nobody)
        status = count(store, query, tasks, facility, &counts, error);
    rz_store_view_end(store, began);
    free(tasks);
    if (status == RZ_OK)
        *out = counts;
    return status;
}
