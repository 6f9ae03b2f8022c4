/* GET /v1/risks: who has the highest risks, of one task or of all, from the scores of the
 * background. */
#include "handlers.h"
#include "log.h"
#include "plan.h"
#include "problem.h"
#include "readers.h"
#include "tally.h"

#include "store/worklist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONTRIBUTIONS_SHOWN = 3, FACILITIES_SHOWN = 1000, AGE_MAX = 150 };

/* ---- the question --------------------------------------------------------------------------- */

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

static bool read_page(request *r, rz_worklist_query *query, size_t *cap)
{
    const char *limit = request_query(r, "limit"), *offset = request_query(r, "offset");
    const char *least = request_query(r, "min_probability");
    int64_t most = (int64_t)r->server->config.page_patients_max, skip = 0;
    int64_t count = most < 100 ? most : 100;
    if ((limit != NULL && !number_read(limit, 1, most, &count)) ||
        (offset != NULL && !number_read(offset, 0, 100000000, &skip)) ||
        (least != NULL && !read_share(least, &query->min_probability))) {
        problem_answer(r, &(problem){.kind = PROBLEM_BAD_PARAMETER,
                                     .detail = "limit is a number from 1 to `limit`, offset a "
                                               "number, min_probability a number from 0 to 1",
                                     .setting = "page-patients-max",
                                     .limit = most});
        return false;
    }
    *cap = (size_t)count;
    query->offset = (size_t)skip;
    return true;
}

static bool read_filter(request *r, rz_worklist_query *query)
{
    const char *sort = request_query(r, "sort"), *from = request_query(r, "age_min"),
               *to = request_query(r, "age_max");
    int64_t age_min = 0, age_max = AGE_MAX;
    query->facility = request_query(r, "facility");
    if (sort != NULL && strcmp(sort, "probability") == 0) {
        query->order = RZ_WORKLIST_PROBABILITY;
    } else if (sort != NULL && strcmp(sort, "excess") != 0) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER, "sort is excess or probability");
        return false;
    }
    if ((from != NULL && !number_read(from, 0, AGE_MAX, &age_min)) ||
        (to != NULL && !number_read(to, 0, AGE_MAX, &age_max))) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "age_min and age_max are whole years from 0 to %d", AGE_MAX);
        return false;
    }
    query->by_age = from != NULL || to != NULL;
    query->age_min = (int)age_min;
    query->age_max = (int)age_max;
    return true;
}

/* The one task of the question, or all that there are; false when the answer is a problem. */
static bool read_tasks(request *r, rz_worklist_query *query)
{
    const char *task = request_query(r, "task");
    question q = {.tasks = task};
    plan p;
    if (task != NULL && (task[0] == '\0' || strchr(task, ',') != NULL)) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "a worklist is of one task, or without task= of all");
        return false;
    }
    if (task != NULL && onset_named(task, strlen(task))) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "worklists are of tasks; onsets are answered patient by patient");
        return false;
    }
    if (!plan_make(r, &q, &p)) /* says which tasks exist, or that models are loading */
        return false;
    plan_done(&p);
    const char **names = rz_arena_alloc(&r->arena, RZ_TASKS_MAX, sizeof *names);
    bool kept = names != NULL;
    for (size_t i = 0; i < p.n && kept; i++) {
        names[i] = rz_arena_strdup(&r->arena, p.entries[i].task);
        kept = names[i] != NULL;
    }
    if (!kept)
        problem_no_memory(r);
    query->tasks = names;
    query->n_tasks = p.n;
    return kept;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void write_time(json_out *o, const char *name, int64_t us)
{
    char text[TIME_TEXT];
    json_out_member_text(o, name, us > 0 ? time_text(us, text) : NULL);
}

static void write_age(json_out *o, const rz_worklist_row *row)
{
    json_out_name(o, "age");
    if (row->birth_day == RZ_DAY_NONE)
        json_out_raw(o, "null");
    else
        json_out_int(o, rz_day_years_between(row->birth_day, row->score.as_of));
}

/* What the score rests on, where that is kept. A text that cannot be read counts as none. */
static void write_reasons(json_out *o, const rz_worklist_row *row)
{
    rz_contribution all[RZ_CONTRIBUTIONS_MAX];
    size_t n = 0;
    rz_error error = {0};
    json_out_name(o, "contributions");
    if (row->explanation != NULL &&
        rz_kept_contributions(row->explanation, all, &n, &error) != RZ_OK)
        log_event("warning", "explanation_unread", "{s:s}", "detail", error.text);
    plan_write_contributions(o, all, n, CONTRIBUTIONS_SHOWN);
}

static void write_row(json_out *o, registry *g, const rz_worklist_row *row)
{
    char day[RZ_DAY_TEXT], model[MODEL_ID_TEXT];
    const rz_score *s = &row->score;
    json_out_open(o, '{');
    json_out_member_text(o, "facility", row->facility);
    json_out_member_text(o, "patient", row->id);
    json_out_member_text(o, "task", row->task);
    json_out_member_text(o, "sex", rz_sex_name(row->sex));
    write_age(o, row);
    json_out_member_real(o, "probability", s->probability);
    json_out_name(o, "interval");
    json_out_open(o, '[');
    json_out_real(o, s->low);
    json_out_real(o, s->high);
    json_out_close(o, ']');
    json_out_member_real(o, "average_age_sex", s->average);
    json_out_member_real(o, "excess", s->probability - s->average);
    json_out_member_text(o, "as_of", rz_day_text(s->as_of, day));
    write_time(o, "scored_at", s->scored_at);
    json_out_name(o, "stale");
    json_out_raw(o, row->stale ? "true" : "false");
    registry_id_of(g, row->model_hash, model);
    json_out_name(o, "model");
    json_out_open(o, '{');
    json_out_member_text(o, "id", model[0] != '\0' ? model : NULL);
    json_out_member_text(o, "sha256", row->model_hash);
    json_out_close(o, '}');
    write_reasons(o, row);
    json_out_close(o, '}');
}

static void write_counts(json_out *o, const rz_worklist_counts *counts)
{
    json_out_member_int(o, "matching", counts->matching);
    json_out_member_int(o, "scored", counts->scored);
    json_out_member_int(o, "unscored", counts->unscored);
    json_out_member_int(o, "left_out", counts->left_out);
    json_out_name(o, "left_out_reasons");
    json_out_open(o, '{');
    for (size_t i = 0; i < counts->n_reasons; i++)
        json_out_member_int(o, counts->reasons[i].reason, counts->reasons[i].rows);
    json_out_close(o, '}');
    json_out_member_int(o, "stale", counts->stale);
    write_time(o, "scored_at", counts->newest_at);
    write_time(o, "oldest_scored_at", counts->oldest_at);
}

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

typedef struct worklist {
    rz_worklist_query query;
    rz_worklist_row *rows;
    size_t n, cap, n_facilities;
    rz_worklist_counts counts;
    const char **facilities; /* by alphabet */
} worklist;

static void write_answer(request *r, const worklist *w)
{
    rz_buffer text;
    json_out out = {.to = &text};
    rz_buffer_init(&text, ANSWER_BYTES_MAX);
    json_out_open(&out, '{');
    json_out_member_text(&out, "task", request_query(r, "task"));
    json_out_member_text(&out, "sort",
                         w->query.order == RZ_WORKLIST_EXCESS ? "excess" : "probability");
    json_out_name(&out, "risks");
    json_out_open(&out, '[');
    for (size_t i = 0; i < w->n; i++)
        write_row(&out, r->server->registry, &w->rows[i]);
    json_out_close(&out, ']');
    write_counts(&out, &w->counts);
    json_out_name(&out, "facilities");
    json_out_open(&out, '[');
    for (size_t i = 0; i < w->n_facilities && i < FACILITIES_SHOWN; i++)
        json_out_text(&out, w->facilities[i]);
    json_out_close(&out, ']');
    json_out_member_text(&out, "disclaimer", SERVER_DISCLAIMER);
    json_out_close(&out, '}');
    request_buffer(r, 200, out.status, &text);
    rz_buffer_done(&text);
}

static rz_status read_facilities(rz_store *store, rz_arena *arena, worklist *w, rz_error *error)
{
    const char *const *names;
    rz_status status = rz_store_facilities(store, arena, &names, &w->n_facilities, error);
    if (status != RZ_OK)
        return status;
    w->facilities = rz_arena_alloc(arena, w->n_facilities + 1, sizeof *w->facilities);
    if (w->facilities == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu facilities", w->n_facilities);
    memcpy(w->facilities, names, w->n_facilities * sizeof *w->facilities);
    qsort(w->facilities, w->n_facilities, sizeof *w->facilities, by_name);
    return RZ_OK;
}

static rz_status count(const server *s, rz_store *store, worklist *w, rz_error *error)
{
    tally_mark mark = tally_now(s); /* before anything is counted */
    if (tally_get(s->tally, &w->query, mark, &w->counts))
        return RZ_OK;
    rz_status status = rz_store_worklist_count(store, &w->query, &w->counts, error);
    if (status == RZ_OK)
        tally_put(s->tally, &w->query, mark, &w->counts);
    return status;
}

void worklist_get(request *r)
{
    worklist *w = rz_arena_alloc(&r->arena, 1, sizeof *w);
    rz_store *store = NULL;
    rz_error error = {0};
    if (w == NULL) {
        problem_no_memory(r);
        return;
    }
    if (!read_page(r, &w->query, &w->cap) || !read_filter(r, &w->query) ||
        !read_tasks(r, &w->query))
        return;
    w->rows = rz_arena_alloc(&r->arena, w->cap, sizeof *w->rows);
    rz_status status =
        w->rows == NULL ? RZ_E_NO_MEMORY : readers_take(r->server->readers, &store, &error);
    if (status == RZ_OK)
        status = rz_store_worklist(store, &w->query, &r->arena, w->rows, w->cap, &w->n, &error);
    if (status == RZ_OK)
        status = count(r->server, store, w, &error);
    if (status == RZ_OK)
        status = read_facilities(store, &r->arena, w, &error);
    readers_give(r->server->readers, store);
    if (status == RZ_OK)
        write_answer(r, w);
    else
        problem_from_error(r, status, &error);
}
