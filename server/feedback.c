/* POST and GET /v1/feedback: what clinicians say of risks. A verdict has no free text, because that
 * would hold patient data. */
#include "audit.h"
#include "handlers.h"
#include "http.h"
#include "log.h"
#include "patients.h"
#include "plan.h"
#include "problem.h"
#include "readers.h"
#include "writer.h"

#include "base/size.h"
#include "claims/claim_json.h"
#include "store/audit.h"
#include "store/feedback.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const verdicts[] = {"agree", "dismiss"};
static const char *const reasons[] = {"known_already", "under_treatment", "not_plausible",
                                      "data_wrong", "other"};
static const char *const members[] = {"patient", "task",        "verdict",     "reason",
                                      "as_of",   "probability", "model_sha256"};

/* ---- one verdict ---------------------------------------------------------------------------- */

typedef struct feedback_op {
    write_op op; /* first */
    rz_arena arena;
    rz_feedback row; /* its texts stand in the arena */
    char hash[33];   /* of the patient, for the audit */
} feedback_op;

static void destroy(job *j)
{
    rz_arena_done(&((feedback_op *)j)->arena);
    free(j);
}

static rz_status run(write_op *op, rz_store *store, rz_error *error)
{
    return rz_store_feedback_put(store, &((feedback_op *)op)->row, error);
}

static void wrong(json_t *errors, const char *pointer, const char *code, const char *detail)
{
    (void)json_array_append_new(
        errors, json_pack("{s:s, s:s, s:s}", "pointer", pointer, "code", code, "detail", detail));
}

static bool one_of(const char *text, const char *const *all, size_t n)
{
    for (size_t i = 0; text != NULL && i < n; i++)
        if (strcmp(text, all[i]) == 0)
            return true;
    return false;
}

static void check_members(json_t *document, json_t *errors)
{
    const char *name;
    json_t *value;
    json_object_foreach(document, name, value)
    {
        if (!one_of(name, members, RZ_COUNT(members)))
            wrong(errors, "", "unknown_member",
                  "patient, task, verdict, reason, as_of, probability and model_sha256 are what a "
                  "verdict has; there is no free text, it would hold patient data");
    }
}

static void check_patient(const json_t *patient, json_t *errors)
{
    const json_t *facility = json_object_get(patient, "facility");
    const char *id = json_string_value(json_object_get(patient, "id"));
    size_t others = json_object_size(patient) - (id != NULL) - (facility != NULL);
    if (id == NULL || id[0] == '\0' || others > 0 ||
        (facility != NULL && !json_is_null(facility) && !json_is_string(facility)))
        wrong(errors, "/patient", "bad_value", "write {\"id\", \"facility\"}, both text");
}

/* What is wrong with a verdict, a new list. */
static json_t *check(json_t *document, rz_feedback *out)
{
    json_t *errors = json_array();
    const json_t *reason = json_object_get(document, "reason"),
                 *probability = json_object_get(document, "probability");
    const char *day = json_string_value(json_object_get(document, "as_of"));
    *out = (rz_feedback){.task = json_string_value(json_object_get(document, "task")),
                         .verdict = json_string_value(json_object_get(document, "verdict")),
                         .reason = json_string_value(reason),
                         .probability = json_number_value(probability),
                         .model_hash = json_string_value(json_object_get(document, "model_sha256")),
                         .as_of = RZ_DAY_NONE};
    check_members(document, errors);
    check_patient(json_object_get(document, "patient"), errors);
    if (out->task == NULL)
        wrong(errors, "/task", "bad_value", "name the task; /v1/tasks lists the tasks");
    if (!one_of(out->verdict, verdicts, RZ_COUNT(verdicts)))
        wrong(errors, "/verdict", "bad_value", "write agree or dismiss");
    if (reason != NULL && !json_is_null(reason) && !one_of(out->reason, reasons, RZ_COUNT(reasons)))
        wrong(errors, "/reason", "bad_value",
              "write known_already, under_treatment, not_plausible, data_wrong or other");
    if (day == NULL || !day_read(day, &out->as_of))
        wrong(errors, "/as_of", "bad_value", "write the day of the risk, YYYY-MM-DD");
    if (!json_is_number(probability) || !(out->probability >= 0.0 && out->probability <= 1.0))
        wrong(errors, "/probability", "bad_value", "write the probability that was shown, 0 to 1");
    if (out->model_hash == NULL || strlen(out->model_hash) != 64 ||
        strspn(out->model_hash, "0123456789abcdef") != 64)
        wrong(errors, "/model_sha256", "bad_value", "write the sha256 of the risk's model");
    return errors;
}

static bool known_task(request *r, const char *task)
{
    question q = {.tasks = task};
    plan p;
    if (strchr(task, ',') != NULL || task[0] == '\0' || onset_named(task, strlen(task))) {
        problem_answerf(r, PROBLEM_UNKNOWN_TASK,
                        "a verdict is of one task, not of an onset; /v1/tasks lists the tasks");
        return false;
    }
    if (!plan_make(r, &q, &p)) /* says which tasks exist */
        return false;
    plan_done(&p);
    return true;
}

static bool find_patient(request *r, const json_t *patient, feedback_op *f)
{
    rz_store *store = NULL;
    rz_error error = {0};
    rz_patient found = {0};
    rz_status status = readers_take(r->server->readers, &store, &error);
    bool good =
        status == RZ_OK &&
        patient_find_named(r, store, json_string_value(json_object_get(patient, "facility")),
                           json_string_value(json_object_get(patient, "id")), &found);
    if (good)
        status = rz_audit_patient_hash(store, &found, f->hash, &error);
    readers_give(r->server->readers, store);
    if (status != RZ_OK)
        problem_from_error(r, status, &error);
    f->row.patient = found.key;
    return good && status == RZ_OK;
}

/* The texts move from the document into the operation. */
static bool keep_texts(const request *r, feedback_op *f)
{
    const char *reason = f->row.reason != NULL ? f->row.reason : "";
    f->row.task = rz_arena_strdup(&f->arena, f->row.task);
    f->row.verdict = rz_arena_strdup(&f->arena, f->row.verdict);
    f->row.reason = rz_arena_strdup(&f->arena, reason);
    f->row.model_hash = rz_arena_strdup(&f->arena, f->row.model_hash);
    f->row.actor = rz_arena_strdup(&f->arena, r->caller);
    return f->row.task != NULL && f->row.verdict != NULL && f->row.reason != NULL &&
           f->row.model_hash != NULL && f->row.actor != NULL;
}

/* False when the answer is a problem. */
static bool read_verdict(request *r, json_t *document, feedback_op *f)
{
    json_t *errors = check(document, &f->row);
    if (json_array_size(errors) > 0) {
        problem_answer(r, &(problem){.kind = PROBLEM_INVALID_FEEDBACK,
                                     .detail = "`errors` names each thing that is wrong",
                                     .errors = errors});
        return false;
    }
    json_decref(errors);
    if (!known_task(r, f->row.task) || !find_patient(r, json_object_get(document, "patient"), f))
        return false;
    if (!keep_texts(r, f)) {
        problem_no_memory(r);
        return false;
    }
    return true;
}

static void kept(request *r)
{
    const feedback_op *f = (const feedback_op *)r->job;
    const rz_feedback *row = &f->row;
    char day[RZ_DAY_TEXT], at[TIME_TEXT];
    if (f->op.status == RZ_E_NOT_FOUND) {
        problem_answerf(r, PROBLEM_UNKNOWN_PATIENT, "no claim of such a patient is stored");
        return;
    }
    if (f->op.status != RZ_OK) {
        problem_from_error(r, f->op.status, &f->op.error);
        return;
    }
    audit_add(r->server->audit, r, "feedback", f->hash, row->model_hash,
              json_pack("{s:I, s:s, s:s, s:s?, s:s, s:f}", "id", (json_int_t)row->id, "task",
                        row->task, "verdict", row->verdict, "reason",
                        row->reason[0] != '\0' ? row->reason : NULL, "as_of",
                        rz_day_text(row->as_of, day), "probability", row->probability));
    request_json(r, 201,
                 json_pack("{s:I, s:s}", "id", (json_int_t)row->id, "recorded_at",
                           time_text(row->recorded_at, at)));
}

void feedback_post(request *r)
{
    enum { TEXTS_BYTES_MAX = 8192 };
    json_t *document = NULL;
    rz_error error = {0};
    rz_status status = rz_json_parse(r->body.data, r->body.length, &document, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        return;
    }
    feedback_op *f = calloc(1, sizeof *f);
    if (f == NULL) {
        json_decref(document);
        problem_no_memory(r);
        return;
    }
    job_init(&f->op.job, r->connection, destroy);
    f->op.run = run;
    f->op.derived = true; /* it changes no history */
    rz_arena_init(&f->arena, TEXTS_BYTES_MAX);
    bool good = read_verdict(r, document, f);
    json_decref(document);
    if (!good) {
        job_drop(&f->op.job);
        return;
    }
    r->resume = kept;
    http_wait(r, &f->op.job, r->server->config.request_timeout_s);
    status = writer_add(r->server->writer, &f->op, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        job_finish(&f->op.job);
    }
}

/* ---- a page --------------------------------------------------------------------------------- */

static json_t *row_json(const rz_feedback *row, const char *asked_id)
{
    char day[RZ_DAY_TEXT], at[TIME_TEXT];
    return json_pack(
        "{s:I, s:{s:s, s:s}, s:s, s:s, s:s?, s:s, s:f, s:s, s:s, s:s}", "id", (json_int_t)row->id,
        "patient", "id", asked_id != NULL ? asked_id : row->stored_id, "facility", row->facility,
        "task", row->task, "verdict", row->verdict, "reason",
        row->reason[0] != '\0' ? row->reason : NULL, "as_of", rz_day_text(row->as_of, day),
        "probability", row->probability, "model_sha256", row->model_hash, "by", row->actor,
        "recorded_at", time_text(row->recorded_at, at));
}

static void write_page(request *r, const rz_feedback *rows, size_t n, size_t cap)
{
    json_t *all = json_array();
    char next[24] = "";
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(all, row_json(&rows[i], request_query(r, "patient")));
    if (n == cap)
        (void)snprintf(next, sizeof next, "%lld", (long long)rows[n - 1].id);
    request_json(r, 200, json_pack("{s:o, s:s?}", "feedback", all, "next", next[0] ? next : NULL));
}

void feedback_list(request *r)
{
    const char *patient = request_query(r, "patient");
    rz_feedback_query query = {.task = request_query(r, "task"),
                               .facility = request_query(r, "facility"),
                               .before = INT64_MAX};
    int64_t cap;
    rz_store *store = NULL;
    rz_error error = {0};
    rz_patient found = {0};
    size_t n = 0;
    if (!page_read(r, &query.before, &cap))
        return;
    rz_feedback *rows = rz_arena_alloc(&r->arena, (size_t)cap, sizeof *rows);
    rz_status status =
        rows == NULL ? RZ_E_NO_MEMORY : readers_take(r->server->readers, &store, &error);
    bool good = status == RZ_OK &&
                (patient == NULL || patient_find_named(r, store, query.facility, patient, &found));
    query.patient = found.key;
    if (good)
        status = rz_store_feedback(store, &query, &r->arena, rows, (size_t)cap, &n, &error);
    readers_give(r->server->readers, store);
    if (status != RZ_OK)
        problem_from_error(r, status, &error);
    else if (good)
        write_page(r, rows, n, (size_t)cap);
}
