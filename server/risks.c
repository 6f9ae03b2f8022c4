/* GET /v1/patients/{id}/risks: a stored patient's risks. An answer is kept under its question and
 * given again, without a look into the store, as long as neither the history of patients with this
 * id nor a model has changed. What risks rest on (explain=) is kept with their scores, besides.
 * Questions about an earlier record (recorded=) are always worked out. */
#include "audit.h"
#include "cache.h"
#include "changes.h"
#include "explained.h"
#include "handlers.h"
#include "http.h"
#include "metrics.h"
#include "patients.h"
#include "plan.h"
#include "problem.h"
#include "readers.h"

#include "base/size.h"
#include "store/audit.h"

#include <stdlib.h>
#include <string.h>

typedef struct asked {
    plan plan;
    rz_patient patient;
    question question;
    uint64_t mark;    /* of everything that was read for the answer */
    const char *name; /* of the question in the cache; NULL: the answer is not kept */
    char hash[33];    /* of the patient, for the audit */
} asked;

static size_t or_none(char *out, const char *text)
{
    size_t n = text != NULL ? strlen(text) : 0;
    out[0] = text != NULL ? '+' : '-';
    memcpy(out + 1, n > 0 ? text : "", n);
    out[n + 1] = '\n';
    return n + 2;
}

/* The question as one text, every part of it in its place: parts hold no line ends, because targets
 * with control bytes are refused. NULL when memory is short. */
static const char *name_of(request *r, const question *q)
{
    const char *const parts[] = {request_parameter(r, "id"), request_query(r, "facility"), q->tasks,
                                 q->model};
    size_t n = 48, used = 0;
    for (size_t i = 0; i < RZ_COUNT(parts); i++)
        n += parts[i] != NULL ? strlen(parts[i]) + 2 : 2;
    char *name = rz_arena_alloc(&r->arena, n, 1);
    if (name == NULL)
        return NULL;
    for (size_t i = 0; i < RZ_COUNT(parts); i++)
        used += or_none(name + used, parts[i]);
    char day[RZ_DAY_TEXT], top[16];
    const char explain[] = {(char)('0' + q->explain), '\0'};
    used += or_none(name + used, rz_day_text(q->as_of, day));
    (void)snprintf(top, sizeof top, "%u", q->top);
    used += or_none(name + used, top);
    text_copy(name + used, n - used, explain);
    return name;
}

static void release(void *owner)
{
    kept_drop(owner);
}

/* Answers from the cache, if it holds an answer. */
static bool answer_again(request *r, const question *q, const char *name)
{
    kept *k = cache_get(r->server->cache, name, strlen(name));
    if (k == NULL)
        return false;
    audit_prediction(r->server->audit, r, k->patient_hash, q->as_of, NULL, NULL, 0);
    request_answer(r, 200, "application/json", k->text, k->length, release, k);
    return true;
}

/* What models have just worked out is kept with the scores; nobody waits for that. */
static void keep_explanations(request *r, const asked *a, predict_job *j)
{
    for (size_t k = 0; a->name != NULL && a->plan.explain > 0 && k < j->n_parts; k++) {
        write_op *op =
            j->parts[k].recalled ? NULL : explained_keep(r->server, j, k, 0, a->patient.version);
        if (op != NULL)
            job_drop(&op->job);
    }
}

static void write_answer(request *r)
{
    asked *a = r->context;
    predict_job *j = (predict_job *)(void *)r->job;
    rz_error error = {0};
    char day[RZ_DAY_TEXT];
    rz_buffer text;
    json_out out = {.to = &text};
    rz_status status = plan_status(j, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        return;
    }
    audit_prediction(r->server->audit, r, a->hash, a->question.as_of, &a->plan, j, 0);
    rz_buffer_init(&text, ANSWER_BYTES_MAX);
    json_out_open(&out, '{');
    json_out_name(&out, "patient");
    json_out_open(&out, '{');
    json_out_member_text(&out, "id", request_parameter(r, "id"));
    json_out_member_text(&out, "facility", a->patient.facility);
    json_out_close(&out, '}');
    json_out_member_text(&out, "as_of", rz_day_text(a->question.as_of, day));
    json_out_name(&out, "risks");
    plan_write_risks(&a->plan, j, 0, &out);
    json_out_member_text(&out, "disclaimer", SERVER_DISCLAIMER);
    json_out_close(&out, '}');
    if (out.status == RZ_OK && a->name != NULL)
        cache_put(r->server->cache, a->name, strlen(a->name), a->mark, changes_place(a->patient.id),
                  a->hash, text.data, text.length);
    request_buffer(r, 200, out.status, &text);
    rz_buffer_done(&text);
    keep_explanations(r, a, j);
}

static bool read_recorded(request *r, int64_t *out)
{
    const char *text = request_query(r, "recorded");
    *out = RZ_RECORDED_NOW;
    if (text != NULL && !instant_read(text, out)) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "recorded is no instant; write 2024-05-01T12:00:00Z");
        return false;
    }
    return true;
}

/* Reads the history into the job; false when the answer is a problem. */
static bool load_history(request *r, rz_store *store, const asked *a, int64_t recorded,
                         predict_job *j)
{
    rz_error error = {0};
    double began = request_seconds(r);
    j->as_of[0] = a->question.as_of;
    rz_status status = rz_store_timeline(store, a->patient.key, a->question.as_of, recorded,
                                         &j->arena, &j->timelines[0], &error);
    metrics_history(r->server->metrics, request_seconds(r) - began);
    if (status == RZ_E_NOT_FOUND)
        problem_answerf(r, PROBLEM_UNKNOWN_PATIENT, "there was no such patient at that time");
    else if (status != RZ_OK)
        problem_from_error(r, status, &error);
    return status == RZ_OK;
}

static void submit(request *r, asked *a, predict_job *j)
{
    rz_error error = {0};
    r->context = a;
    r->resume = write_answer;
    http_wait(r, &j->job, r->server->config.request_timeout_s);
    rz_status status = plan_submit(r->server->registry, &a->plan, j, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        job_finish(&j->job);
    }
    plan_done(&a->plan);
}

/* Works the answer out: from here on the request waits, or its answer is a problem. */
static void work_out(request *r, asked *a, int64_t recorded)
{
    rz_store *store = NULL;
    rz_error error = {0};
    predict_job *j = NULL;
    rz_status status = readers_take(r->server->readers, &store, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        return;
    }
    if (!patient_find(r, store, &a->patient) || !plan_make(r, &a->question, &a->plan))
        goto out;
    status = rz_audit_patient_hash(store, &a->patient, a->hash, &error);
    if (status == RZ_OK)
        status = predict_job_new(r->connection, 1, a->plan.n_parts,
                                 r->server->config.history_bytes_max, &j, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        goto out;
    }
    if (!load_history(r, store, a, recorded, j)) {
        job_drop(&j->job);
        goto out;
    }
    if (a->name != NULL && a->question.explain > 0)
        explained_recall(r->server, store, &a->patient, &a->plan, j);
    readers_give(r->server->readers, store);
    submit(r, a, j);
    return;
out:
    plan_done(&a->plan);
    readers_give(r->server->readers, store);
}

void risks_get(request *r)
{
    uint64_t mark = changes_now(r->server->changes); /* before anything is read */
    question q;
    int64_t recorded;
    const char *name = NULL;
    if (!question_read(r, &q) || !read_recorded(r, &recorded))
        return;
    if (recorded == RZ_RECORDED_NOW)
        name = name_of(r, &q);
    if (name != NULL && answer_again(r, &q, name))
        return;
    asked *a = rz_arena_alloc(&r->arena, 1, sizeof *a);
    if (a == NULL) {
        problem_no_memory(r);
        return;
    }
    a->question = q;
    a->name = name;
    a->mark = mark;
    work_out(r, a, recorded);
}
