/* GET /v1/patients/{id}/trend: how a patient's risk of a task came to be what it is. Of each month
 * what was kept of it; of the months without, what today's model says of the history as it was
 * known at the month's end. The two never mix: a point says which it is. */
#include "audit.h"
#include "handlers.h"
#include "http.h"
#include "patients.h"
#include "plan.h"
#include "problem.h"
#include "readers.h"
#include "scorer.h"

#include "store/audit.h"
#include "store/scores.h"

#include <math.h>
#include <string.h>

enum { MONTHS_DEFAULT = 12, KEPT_MAX = 1000 };

typedef struct trend {
    plan plan;
    question question;
    rz_patient patient;
    int first, months; /* rz_score_month of the first one */
    rz_month_score *kept;
    size_t n_kept;
    int32_t days[RZ_SCORE_MONTHS]; /* that are asked about: row i of the job */
    size_t n_days;
    char hash[33]; /* of the patient, for the audit */
} trend;

/* ---- the question --------------------------------------------------------------------------- */

static bool read_question(request *r, trend *t)
{
    const char *task = request_query(r, "task"), *months = request_query(r, "months");
    int64_t n = MONTHS_DEFAULT;
    if (task == NULL || strchr(task, ',') != NULL || onset_named(task, strlen(task))) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "task= names one task, not an onset; /v1/tasks lists the tasks");
        return false;
    }
    if (months != NULL && !number_read(months, 1, RZ_SCORE_MONTHS, &n)) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER, "months is a number from 1 to %d",
                        RZ_SCORE_MONTHS);
        return false;
    }
    t->question = (question){.as_of = scorer_day(&r->server->config), .tasks = task};
    t->months = (int)n;
    t->first = rz_score_month(t->question.as_of) - t->months + 1;
    return true;
}

/* The last day of a month, or today's as the scores count it. */
static int32_t end_of(const trend *t, int month)
{
    int next = month + 1;
    int32_t last = rz_day_from_civil(next / 12, next % 12 + 1, 1) - 1;
    return last < t->question.as_of ? last : t->question.as_of;
}

/* The months that nothing is kept of. */
static void choose_days(trend *t)
{
    size_t k = 0;
    for (int month = t->first; month < t->first + t->months; month++) {
        while (k < t->n_kept && rz_score_month(t->kept[k].score.as_of) < month)
            k++;
        if (k == t->n_kept || rz_score_month(t->kept[k].score.as_of) != month)
            t->days[t->n_days++] = end_of(t, month);
    }
}

static rz_status read_kept(trend *t, rz_store *store, rz_arena *arena, rz_error *error)
{
    t->kept = rz_arena_alloc(arena, KEPT_MAX, sizeof *t->kept);
    if (t->kept == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %d kept scores", KEPT_MAX);
    rz_status status = rz_store_score_months(store, t->patient.key, t->question.tasks, t->first,
                                             t->kept, KEPT_MAX, &t->n_kept, error);
    if (status == RZ_OK)
        status = rz_audit_patient_hash(store, &t->patient, t->hash, error);
    if (status == RZ_OK)
        choose_days(t);
    return status;
}

/* One history for all days: a model reads of it what was known on each. */
static rz_status make_job(request *r, trend *t, rz_store *store, predict_job **out, rz_error *error)
{
    predict_job *j = NULL;
    rz_timeline *timeline = NULL;
    rz_status status = predict_job_new(r->connection, t->n_days, t->plan.n_parts,
                                       r->server->config.history_bytes_max, &j, error);
    if (status == RZ_OK)
        status = rz_store_timeline(store, t->patient.key, t->question.as_of, RZ_RECORDED_NOW,
                                   &j->arena, &timeline, error);
    for (size_t i = 0; status == RZ_OK && i < t->n_days; i++) {
        j->timelines[i] = timeline;
        j->as_of[i] = t->days[i];
    }
    for (size_t k = 0; status == RZ_OK && k < t->plan.n_parts; k++)
        j->parts[k].aside = true; /* no patients of today */
    if (status == RZ_OK)
        *out = j;
    else if (j != NULL)
        job_drop(&j->job);
    return status;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void write_day(json_out *o, const char *name, int32_t day)
{
    char text[RZ_DAY_TEXT];
    json_out_member_text(o, name, rz_day_text(day, text));
}

/* {"model": {"id", "sha256"}, "calibration": {"id", "date"}} without the braces; "" is null. */
static void write_origin(json_out *o, const char *id, const char *sha256, const char *calibration,
                         const char *date)
{
    json_out_name(o, "model");
    json_out_open(o, '{');
    json_out_member_text(o, "id", id[0] != '\0' ? id : NULL);
    json_out_member_text(o, "sha256", sha256);
    json_out_close(o, '}');
    json_out_name(o, "calibration");
    json_out_open(o, '{');
    json_out_member_text(o, "id", calibration);
    json_out_member_text(o, "date", date[0] != '\0' ? date : NULL);
    json_out_close(o, '}');
}

static void write_kept_origin(json_out *o, registry *g, const rz_month_score *kept)
{
    char id[MODEL_ID_TEXT], date[RZ_DAY_TEXT];
    registry_id_of(g, kept->model_hash, id);
    registry_calibration_date(g, kept->calibration_id, date);
    write_origin(o, id, kept->model_hash, kept->calibration_id, date);
}

static void write_risk(json_out *o, const char *reason, double probability, double low, double high,
                       double average)
{
    bool has = reason[0] == '\0';
    json_out_member_real(o, "probability", probability);
    if (!has)
        json_out_member_text(o, "reason", reason);
    json_out_name(o, "interval");
    if (has) {
        json_out_open(o, '[');
        json_out_real(o, low);
        json_out_real(o, high);
        json_out_close(o, ']');
    } else {
        json_out_raw(o, "null");
    }
    json_out_member_real(o, "average_age_sex", average);
}

static void write_kept(json_out *o, registry *g, const rz_month_score *kept)
{
    const rz_score *s = &kept->score;
    json_out_open(o, '{');
    write_day(o, "as_of", s->as_of);
    write_risk(o, s->reason, s->probability, s->low, s->high, s->average);
    write_kept_origin(o, g, kept);
    json_out_member_text(o, "source", "kept");
    json_out_close(o, '}');
}

static void write_recomputed(json_out *o, const trend *t, const predict_job *j, size_t i)
{
    plan_risk p = plan_risk_of(&t->plan, j, 0, i);
    json_out_open(o, '{');
    write_day(o, "as_of", t->days[i]);
    if (p.risk == NULL) {
        write_risk(o, rz_reason_text(RZ_REASON_NO_MODEL), (double)NAN, 0, 0, (double)NAN);
        json_out_member_text(o, "model", NULL);
        json_out_member_text(o, "calibration", NULL);
    } else {
        write_risk(o, rz_reason_text(p.risk->eligibility.reason), p.risk->probability, p.risk->low,
                   p.risk->high, p.risk->age_sex_average);
        write_origin(o, replica_id(p.replica), rz_predictor_sha256(replica_predictor(p.replica)),
                     p.head->calibration.id, p.head->calibration.date);
    }
    json_out_member_text(o, "source", "recomputed");
    json_out_close(o, '}');
}

/* In the order of time; of one month there is only the one kind. */
static void write_points(json_out *o, registry *g, const trend *t, const predict_job *j)
{
    size_t k = 0;
    json_out_open(o, '[');
    for (size_t i = 0; i <= t->n_days; i++) {
        while (k < t->n_kept && (i == t->n_days || t->kept[k].score.as_of < t->days[i]))
            write_kept(o, g, &t->kept[k++]);
        if (i < t->n_days)
            write_recomputed(o, t, j, i);
    }
    json_out_close(o, ']');
}

static void write_changes(json_out *o, registry *g, const trend *t)
{
    json_out_open(o, '[');
    for (size_t k = 1; k < t->n_kept; k++) {
        const rz_month_score *before = &t->kept[k - 1], *after = &t->kept[k];
        if (strcmp(before->model_hash, after->model_hash) == 0 &&
            strcmp(before->calibration_id, after->calibration_id) == 0)
            continue;
        json_out_open(o, '{');
        write_day(o, "date", after->score.as_of);
        json_out_name(o, "from");
        json_out_open(o, '{');
        write_kept_origin(o, g, before);
        json_out_close(o, '}');
        json_out_name(o, "to");
        json_out_open(o, '{');
        write_kept_origin(o, g, after);
        json_out_close(o, '}');
        json_out_close(o, '}');
    }
    json_out_close(o, ']');
}

static void note(request *r, const trend *t, const predict_job *j)
{
    plan_risk p = t->n_days > 0 ? plan_risk_of(&t->plan, j, 0, 0) : (plan_risk){.risk = NULL};
    audit_add(r->server->audit, r, "trend", t->hash,
              p.risk != NULL ? rz_predictor_sha256(replica_predictor(p.replica)) : NULL,
              json_pack("{s:s, s:i, s:I, s:I}", "task", t->question.tasks, "months", t->months,
                        "kept", (json_int_t)t->n_kept, "recomputed", (json_int_t)t->n_days));
}

static void write_answer(request *r, const trend *t, const predict_job *j)
{
    rz_buffer text;
    json_out out = {.to = &text};
    note(r, t, j);
    rz_buffer_init(&text, ANSWER_BYTES_MAX);
    json_out_open(&out, '{');
    json_out_name(&out, "patient");
    json_out_open(&out, '{');
    json_out_member_text(&out, "id", request_parameter(r, "id"));
    json_out_member_text(&out, "facility", t->patient.facility);
    json_out_close(&out, '}');
    json_out_member_text(&out, "task", t->question.tasks);
    json_out_member_int(&out, "months", t->months);
    json_out_name(&out, "points");
    write_points(&out, r->server->registry, t, j);
    json_out_name(&out, "model_changes");
    write_changes(&out, r->server->registry, t);
    json_out_member_text(&out, "disclaimer", SERVER_DISCLAIMER);
    json_out_close(&out, '}');
    request_buffer(r, 200, out.status, &text);
    rz_buffer_done(&text);
}

static void computed(request *r)
{
    const predict_job *j = (predict_job *)r->job;
    rz_error error = {0};
    rz_status status = plan_status(j, &error);
    if (status == RZ_OK)
        write_answer(r, r->context, j);
    else
        problem_from_error(r, status, &error);
}

/* ---- the way there -------------------------------------------------------------------------- */

static void submit(request *r, trend *t, predict_job *j)
{
    rz_error error = {0};
    r->context = t;
    r->resume = computed;
    http_wait(r, &j->job, r->server->config.request_timeout_s);
    rz_status status = plan_submit(r->server->registry, &t->plan, j, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        job_finish(&j->job);
    }
}

void trend_get(request *r)
{
    trend *t = rz_arena_alloc(&r->arena, 1, sizeof *t);
    rz_store *store = NULL;
    predict_job *j = NULL;
    rz_error error = {0};
    if (t == NULL) {
        problem_no_memory(r);
        return;
    }
    if (!read_question(r, t))
        return;
    rz_status status = readers_take(r->server->readers, &store, &error);
    bool found = status == RZ_OK && patient_find(r, store, &t->patient) &&
                 plan_make(r, &t->question, &t->plan);
    if (found)
        status = read_kept(t, store, &r->arena, &error);
    if (found && status == RZ_OK && t->n_days > 0)
        status = make_job(r, t, store, &j, &error);
    readers_give(r->server->readers, store);
    if (status == RZ_E_NOT_FOUND)
        problem_answerf(r, PROBLEM_UNKNOWN_PATIENT, "no claim of such a patient is stored");
    else if (status != RZ_OK)
        problem_from_error(r, status, &error);
    else if (found && j == NULL)
        write_answer(r, t, NULL);
    else if (found)
        submit(r, t, j);
    plan_done(&t->plan);
}
