/* A bounded list of rows and one write operation at a time that empties it. */
#include "audit.h"

#include "log.h"
#include "writer.h"

#include "store/audit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 20000, APPEND_MAX = 500 };

typedef struct row {
    char request_id[REQUEST_ID_TEXT], actor[64], action[24], patient[33], model[RZ_SHA256_TEXT];
    char *details; /* owned */
    int64_t at;
    struct row *next;
} row;

struct audit {
    server *server;
    pthread_mutex_t lock;
    row *first, *last;
    size_t n;
    bool flushing; /* an operation is queued or running */
    uint64_t lost;
};

typedef struct flush_op {
    write_op op; /* first */
    audit *audit;
} flush_op;

static void free_rows(row *first)
{
    while (first != NULL) {
        row *next = first->next;
        free(first->details);
        free(first);
        first = next;
    }
}

static void destroy(job *j)
{
    free(j);
}

/* Takes up to APPEND_MAX rows off the list. */
static row *take(audit *a, size_t *n)
{
    (void)pthread_mutex_lock(&a->lock);
    row *first = a->first, *last = NULL;
    for (*n = 0; *n < APPEND_MAX && a->first != NULL; (*n)++) {
        last = a->first;
        a->first = last->next;
        a->n--;
    }
    if (last != NULL)
        last->next = NULL;
    if (a->first == NULL)
        a->last = NULL;
    if (*n == 0)
        a->flushing = false;
    (void)pthread_mutex_unlock(&a->lock);
    return *n > 0 ? first : NULL;
}

static rz_status append(rz_store *store, const row *first, size_t n, rz_error *error)
{
    rz_audit_entry *entries = calloc(n, sizeof *entries);
    if (entries == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu audit rows", n);
    size_t i = 0;
    for (const row *r = first; r != NULL; r = r->next)
        entries[i++] = (rz_audit_entry){.request_id = r->request_id,
                                        .actor = r->actor,
                                        .action = r->action,
                                        .patient_hash = r->patient,
                                        .model_hash = r->model,
                                        .details = r->details,
                                        .at = r->at};
    rz_status status = rz_store_audit_append(store, entries, n, error);
    free(entries);
    return status;
}

static rz_status run(write_op *op, rz_store *store, rz_error *error)
{
    audit *a = ((flush_op *)op)->audit;
    size_t n;
    for (row *rows = take(a, &n); rows != NULL; rows = take(a, &n)) {
        rz_error why = {0};
        rz_status status = append(store, rows, n, &why);
        free_rows(rows);
        if (status == RZ_OK)
            continue;
        (void)pthread_mutex_lock(&a->lock);
        a->lost += n;
        a->flushing = false;
        (void)pthread_mutex_unlock(&a->lock);
        return rz_fail(error, status, "%zu audit rows are lost: %.300s", n, why.text);
    }
    return RZ_OK;
}

rz_status audit_new(server *s, audit **out, rz_error *error)
{
    audit *a = calloc(1, sizeof *a);
    if (a == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the audit");
    a->server = s;
    (void)pthread_mutex_init(&a->lock, NULL);
    *out = a;
    return RZ_OK;
}

void audit_free(audit *a)
{
    if (a == NULL)
        return;
    free_rows(a->first);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
}

static void start_flush(audit *a)
{
    rz_error error = {0};
    flush_op *f = calloc(1, sizeof *f);
    rz_status status = RZ_E_NO_MEMORY;
    if (f != NULL) {
        job_init(&f->op.job, NULL, destroy);
        f->op.run = run;
        f->op.derived = true;
        f->audit = a;
        status = writer_add(a->server->writer, &f->op, &error);
        job_drop(&f->op.job);
    }
    if (status != RZ_OK) { /* the next row tries again */
        (void)pthread_mutex_lock(&a->lock);
        a->flushing = false;
        (void)pthread_mutex_unlock(&a->lock);
    }
}

void audit_add(audit *a, const request *r, const char *action, const char *patient_hash,
               const char *model_hash, json_t *details)
{
    row *fresh = calloc(1, sizeof *fresh);
    char *text = details != NULL ? json_text(details) : NULL;
    bool flush = false, kept = false;
    json_decref(details);
    if (fresh != NULL) {
        (void)snprintf(fresh->request_id, sizeof fresh->request_id, "%s", r->id);
        (void)snprintf(fresh->actor, sizeof fresh->actor, "%s", r->caller);
        (void)snprintf(fresh->action, sizeof fresh->action, "%s", action);
        (void)snprintf(fresh->patient, sizeof fresh->patient, "%s",
                       patient_hash != NULL ? patient_hash : "");
        (void)snprintf(fresh->model, sizeof fresh->model, "%s",
                       model_hash != NULL ? model_hash : "");
        fresh->details = text;
        fresh->at = time_now_us();
    }
    (void)pthread_mutex_lock(&a->lock);
    if (fresh != NULL && a->n < ROWS_MAX) {
        if (a->last != NULL)
            a->last->next = fresh;
        else
            a->first = fresh;
        a->last = fresh;
        a->n++;
        kept = true;
    } else {
        a->lost++;
    }
    flush = !a->flushing;
    a->flushing = true;
    (void)pthread_mutex_unlock(&a->lock);
    if (!kept && fresh != NULL)
        free_rows(fresh);
    if (!kept && fresh == NULL)
        free(text);
    if (flush)
        start_flush(a);
}

uint64_t audit_lost(audit *a)
{
    (void)pthread_mutex_lock(&a->lock);
    uint64_t lost = a->lost;
    (void)pthread_mutex_unlock(&a->lock);
    return lost;
}

void audit_prediction(audit *a, const request *r, const char *patient_hash, const char *as_of,
                      const json_t *risks)
{
    const char *model = NULL;
    json_t *details = json_pack("{s:s, s:s, s:b}", "as_of", as_of, "version", REZEPT_VERSION,
                                "cached", risks == NULL);
    json_t *tasks = json_object();
    for (size_t i = 0; i < json_array_size(risks); i++) {
        const json_t *risk = json_array_get(risks, i);
        const char *task = json_string_value(json_object_get(risk, "task"));
        const char *sha256 =
            json_string_value(json_object_get(json_object_get(risk, "model"), "sha256"));
        json_t *value = json_object_get(risk, "reason");
        model = model == NULL ? sha256 : model;
        (void)json_object_set_new(
            tasks, task,
            json_pack("{s:O, s:s?, s:O?}", value != NULL ? "reason" : "probability",
                      value != NULL ? value : json_object_get(risk, "probability"), "model", sha256,
                      "calibration", json_object_get(json_object_get(risk, "calibration"), "id")));
    }
    (void)json_object_set_new(details, "tasks", tasks);
    audit_add(a, r, "predict", patient_hash, model, details);
}
