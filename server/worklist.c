/* GET /v1/risks?task=: who has the highest risk of a task, from the scores of the background. */
#include "handlers.h"
#include "log.h"
#include "plan.h"
#include "problem.h"
#include "readers.h"
#include "scorer.h"

#include "store/scores.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool read_size(const char *text, size_t least, size_t most, size_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least ||
        value > most)
        return false;
    *out = (size_t)value;
    return true;
}

/* A probability like 0.25, read without the locale. */
static bool read_share(const char *text, double *out)
{
    double value = 0.0, scale = 1.0;
    bool point = false, any = false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '.' && !point) {
            point = true;
        } else if (*p >= '0' && *p <= '9') {
            value = value * 10.0 + (*p - '0');
            scale *= point ? 10.0 : 1.0;
            any = true;
        } else {
            return false;
        }
    }
    *out = value / scale;
    return any && *out <= 1.0;
}

static bool read_query(request *r, rz_worklist_query *query, size_t *cap)
{
    const char *limit = request_query(r, "limit"), *offset = request_query(r, "offset");
    const char *least = request_query(r, "min_probability");
    size_t most = r->server->config.page_patients_max;
    *query = (rz_worklist_query){.task = request_query(r, "task"),
                                 .facility = request_query(r, "facility")};
    *cap = most < 100 ? most : 100;
    if (query->task == NULL) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER, "task= is required; /v1/tasks lists the tasks");
        return false;
    }
    if ((limit != NULL && !read_size(limit, 1, most, cap)) ||
        (offset != NULL && !read_size(offset, 0, 100000000, &query->offset)) ||
        (least != NULL && !read_share(least, &query->min_probability))) {
        problem_answer(r, &(problem){.kind = PROBLEM_BAD_PARAMETER,
                                     .detail = "limit is a number from 1 to `limit`, offset a "
                                               "number, min_probability a number from 0 to 1",
                                     .setting = "page-patients-max",
                                     .limit = (int64_t)most});
        return false;
    }
    return true;
}

static json_t *time_json(int64_t us)
{
    char text[TIME_TEXT];
    return us > 0 ? json_string(time_text(us, text)) : json_null();
}

static json_t *row_json(const rz_worklist_row *row)
{
    char day[RZ_DAY_TEXT];
    return json_pack("{s:s, s:s, s:o, s:[o, o], s:s, s:o, s:b}", "facility", row->facility,
                     "patient", row->id, "probability", json_number_or_null(row->score.probability),
                     "interval", json_number_or_null(row->score.low),
                     json_number_or_null(row->score.high), "as_of",
                     rz_day_text(row->score.as_of, day), "scored_at",
                     time_json(row->score.scored_at), "stale", (int)row->stale);
}

static json_t *reasons_json(const rz_worklist_counts *counts)
{
    json_t *all = json_object();
    for (size_t i = 0; i < counts->n_reasons; i++)
        (void)json_object_set_new(all, counts->reasons[i].reason,
                                  json_integer((json_int_t)counts->reasons[i].patients));
    return all;
}

void worklist_get(request *r)
{
    rz_worklist_query query;
    rz_worklist_counts counts = {0};
    question q = {.as_of = 0};
    plan p;
    rz_store *store = NULL;
    rz_error error = {0};
    size_t cap, n = 0;
    if (!read_query(r, &query, &cap))
        return;
    q.tasks = query.task;
    if (strchr(query.task, ',') != NULL) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER, "a worklist is of one task");
        return;
    }
    if (onset_named(query.task, strlen(query.task))) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "worklists are of tasks; onsets are answered patient by patient");
        return;
    }
    if (!plan_make(r, &q, &p)) /* says which tasks exist */
        return;
    plan_done(&p);
    rz_worklist_row *rows = rz_arena_alloc(&r->arena, cap, sizeof *rows);
    rz_status status =
        rows == NULL ? RZ_E_NO_MEMORY : readers_take(r->server->readers, &store, &error);
    if (status == RZ_OK)
        status = rz_store_worklist(store, &query, rows, cap, &n, &counts, &error);
    readers_give(r->server->readers, store);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        return;
    }
    json_t *all = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(all, row_json(&rows[i]));
    request_json(r, 200,
                 json_pack("{s:s, s:o, s:I, s:I, s:I, s:o, s:I, s:o, s:o, s:s}", "task", query.task,
                           "risks", all, "scored", (json_int_t)counts.scored, "unscored",
                           (json_int_t)counts.unscored, "left_out", (json_int_t)counts.left_out,
                           "left_out_reasons", reasons_json(&counts), "stale",
                           (json_int_t)counts.stale, "scored_at", time_json(counts.newest_at),
                           "oldest_scored_at", time_json(counts.oldest_at), "disclaimer",
                           SERVER_DISCLAIMER));
}
