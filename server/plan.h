/* From a question (tasks, day, model) to parts for replicas, and from their risks to the answer.
 * GET risks, POST predict and the batch all go through here, so that they cannot disagree. */
#ifndef REZEPTD_PLAN_H
#define REZEPTD_PLAN_H

#include "json_out.h"
#include "onsets.h"
#include "registry.h"
#include "request.h"

typedef struct question {
    int32_t as_of;
    unsigned explain;
    unsigned top;      /* also list so many onsets of the largest excess risk */
    const char *tasks; /* comma-separated; NULL = all that there are, or with `top` none */
    const char *model; /* NULL = as routed */
} question;

/* Reads task, top, as_of, model and explain of the query; false when the answer is a problem. */
bool question_read(request *r, question *out);
/* A day of a query or body: "YYYY-MM-DD". */
bool day_read(const char *text, int32_t *out);

typedef struct plan_entry {
    char task[RZ_TASK_NAME];
    int part; /* -1: the task is known, but no model that is ready may answer it */
    size_t head;
} plan_entry;

enum { ONSETS_ASKED_MAX = 64 };

/* Tasks, then the onsets that are named, then the largest: the order of the answer. */
typedef struct plan {
    size_t n, n_parts;
    plan_entry entries[RZ_TASKS_MAX];
    size_t n_onsets, top, onset_part; /* all onsets are one part, of one model */
    unsigned explain;                 /* contributions that the answer shows */
    onset_asked onsets[ONSETS_ASKED_MAX];
    struct {
        replica *replica; /* one reference */
        uint64_t heads;   /* 0 of the onsets */
    } parts[MODELS_MAX + 1];
} plan;

/* Chooses the models. False when the answer of `r` is a problem instead (unknown task or model,
 * loading). Free with plan_done. */
bool plan_make(request *r, const question *q, plan *out);
/* Gives the replicas back; the entries stay readable. A job that was submitted holds its own. */
void plan_done(plan *p); /* accepts a zeroed plan */

/* Hands the job, made with plan->n_parts parts, to the replicas, but for parts that were
 * recalled. A replica that retired in between is replaced by its successor.
 * Errors  RZ_E_QUEUE_FULL, RZ_E_BUSY, RZ_E_NO_MEMORY: the caller ends the job with job_finish. */
RZ_MUST_CHECK rz_status plan_submit(registry *g, plan *p, predict_job *j, rz_error *error);

/* The error of the first part of a finished job that failed. */
RZ_MUST_CHECK rz_status plan_status(const predict_job *j, rz_error *error);
/* Of a finished job without errors: the risks of patient i in the order of the plan, an array. */
void plan_write_risks(const plan *p, const predict_job *j, size_t i, json_out *out);
/* What a finished job without errors says of a task of the plan and of patient i; risk is NULL
 * where no model may answer. Everything is borrowed from the job. */
typedef struct plan_risk {
    const rz_risk *risk;
    const rz_head *head;
    const replica *replica;
} plan_risk;
plan_risk plan_risk_of(const plan *p, const predict_job *j, size_t entry, size_t i);
/* Contributions of a risk, an array of at most `most`. */
void plan_write_contributions(json_out *out, const rz_contribution *all, size_t n, size_t most);
/* The same as the audit keeps them, an object of {"probability" or "reason", "model",
 * "calibration"} by task; returns the SHA-256 of the first model, borrowed, or NULL. */
const char *plan_write_audit(const plan *p, const predict_job *j, size_t i, json_out *out);

#endif
