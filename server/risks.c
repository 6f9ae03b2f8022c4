/* GET /v1/patients/{id}/risks: a stored patient's risks. An answer is kept under everything it
 * depends on (patient version, day, models, tasks, calibrations, question) and given again as long
 * as all of that is the same. */
#include "audit.h"
#include "cache.h"
#include "handlers.h"
#include "http.h"
#include "patients.h"
#include "plan.h"
#include "problem.h"
#include "readers.h"

#include "store/audit.h"

#include <string.h>

typedef struct asked {
    plan plan;
    rz_patient patient;
    char id[128]; /* as the caller wrote it */
    question question;
    cache_key key;
    char hash[33]; /* of the patient, for the audit */
    bool cacheable;
} asked;

/* Everything the answer depends on, in one digest. */
static cache_key key_of(const asked *a, const plan *p)
{
    cache_key key;
    rz_sha256 hash;
    unsigned char digest[RZ_SHA256_BYTES];
    int64_t numbers[] = {a->patient.key, a->patient.version, a->question.as_of,
                         a->question.explain};
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, numbers, sizeof numbers);
    rz_sha256_add(&hash, a->id, strlen(a->id) + 1);
    for (size_t i = 0; i < p->n; i++) {
        rz_sha256_add(&hash, p->entries[i].task, strlen(p->entries[i].task) + 1);
        if (p->entries[i].part < 0)
            continue;
        const replica *r = p->parts[p->entries[i].part].replica;
        const char *parts[] = {replica_id(r), rz_predictor_sha256(replica_predictor(r)),
                               rz_predictor_tasks_sha256(replica_predictor(r))};
        for (size_t k = 0; k < 3; k++)
            rz_sha256_add(&hash, parts[k], strlen(parts[k]) + 1);
    }
    rz_sha256_done(&hash, digest);
    memcpy(key.bytes, digest, sizeof key.bytes);
    return key;
}

static void write_answer(request *r)
{
    asked *a = r->context;
    predict_job *j = (predict_job *)r->job;
    rz_error error = {0};
    rz_status status;
    char day[RZ_DAY_TEXT];
    json_t *risks = plan_risks(&a->plan, j, 0, &status, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        return;
    }
    audit_prediction(r->server->audit, r, a->hash, rz_day_text(a->question.as_of, day), risks);
    request_json(r, 200,
                 json_pack("{s:o, s:s, s:o, s:s}", "patient", patient_name_json(&a->patient, a->id),
                           "as_of", rz_day_text(a->question.as_of, day), "risks", risks,
                           "disclaimer", SERVER_DISCLAIMER));
    if (r->answer.status == 200 && a->cacheable)
        cache_put(r->server->cache, &a->key, r->answer.body, r->answer.length);
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
    j->as_of[0] = a->question.as_of;
    rz_status status = rz_store_timeline(store, a->patient.key, a->question.as_of, recorded,
                                         &j->arena, &j->timelines[0], &error);
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
    rz_status status = plan_submit(r->server->registry, &a->plan, j, a->question.explain, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        job_finish(&j->job);
    }
    plan_done(&a->plan);
}

void risks_get(request *r)
{
    asked *a = rz_arena_alloc(&r->arena, 1, sizeof *a);
    rz_store *store = NULL;
    rz_error error = {0};
    int64_t recorded;
    predict_job *j = NULL;
    size_t n = 0;
    if (a == NULL) {
        problem_no_memory(r);
        return;
    }
    if (!question_read(r, &a->question) || !read_recorded(r, &recorded))
        return;
    rz_status status = readers_take(r->server->readers, &store, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        return;
    }
    if (!patient_find(r, store, &a->patient) || !plan_make(r, &a->question, &a->plan))
        goto out;
    status = rz_audit_patient_hash(store, &a->patient, a->hash, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        goto out;
    }
    (void)snprintf(a->id, sizeof a->id, "%s", request_parameter(r, "id"));
    a->cacheable = recorded == RZ_RECORDED_NOW;
    a->key = key_of(a, &a->plan);
    char *text = a->cacheable ? cache_get(r->server->cache, &a->key, &n) : NULL;
    if (text != NULL) {
        char day[RZ_DAY_TEXT];
        audit_prediction(r->server->audit, r, a->hash, rz_day_text(a->question.as_of, day), NULL);
        request_take_json(r, 200, text, n);
        goto out;
    }
    status = predict_job_new(r->connection, 1, a->plan.n_parts, r->server->config.history_bytes_max,
                             &j, &error);
    if (status != RZ_OK) {
        problem_from_error(r, status, &error);
        goto out;
    }
    if (!load_history(r, store, a, recorded, j)) {
        job_drop(&j->job);
        goto out;
    }
    readers_give(r->server->readers, store);
    submit(r, a, j);
    return;
out:
    plan_done(&a->plan);
    readers_give(r->server->readers, store);
}
