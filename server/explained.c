/* From kept texts to risks, and back: an operation of the writer that holds the job it was made
 * from, because its rows borrow from the job's model. */
#include "explained.h"

#include "log.h"
#include "metrics.h"

#include <math.h>
#include <stdlib.h>

enum { TEXT_BYTES_MAX = 1 << 16 }; /* of one risk */

rz_score_context explained_context(const replica *r, size_t head)
{
    const rz_head *heads;
    (void)rz_predictor_heads(replica_predictor(r), &heads);
    return (rz_score_context){.model_hash = rz_predictor_sha256(replica_predictor(r)),
                              .tasks_hash = rz_predictor_tasks_sha256(replica_predictor(r)),
                              .calibration_id = heads[head].calibration.id};
}

static const char *task_of(const replica *r, size_t head)
{
    const rz_head *heads;
    (void)rz_predictor_heads(replica_predictor(r), &heads);
    return heads[head].task.name;
}

/* ---- recalling ------------------------------------------------------------------------------ */

/* One risk; *complete when it needs no model. */
static rz_status recall(rz_store *store, const rz_patient *patient, const replica *r, size_t head,
                        predict_job *j, rz_risk *out, bool *complete, rz_error *error)
{
    const rz_predictor *predictor = replica_predictor(r);
    const rz_score_context context = explained_context(r, head);
    char *text = NULL;
    rz_status status = rz_predictor_recall(predictor, head, j->timelines[0], j->as_of[0], NULL, out,
                                           complete, error);
    if (status != RZ_OK || *complete)
        return status;
    status = rz_store_explanation_get(store, patient->key, patient->version, j->as_of[0],
                                      task_of(r, head), &context, &j->arena, &text, error);
    if (status == RZ_OK && text != NULL)
        status = rz_predictor_recall(predictor, head, j->timelines[0], j->as_of[0], text, out,
                                     complete, error);
    return status;
}

static size_t risks_in(const rz_risk *rows, size_t n)
{
    size_t risks = 0;
    for (size_t i = 0; i < n; i++)
        risks += !isnan(rows[i].probability);
    return risks;
}

static void recall_part(server *s, rz_store *store, const rz_patient *patient, const plan *p,
                        size_t k, predict_job *j)
{
    predict_part *part = &j->parts[k];
    replica *r = p->parts[k].replica;
    uint64_t heads = p->parts[k].heads;
    size_t n = (size_t)__builtin_popcountll(heads), at = 0;
    rz_risk *rows = calloc(n + 1, sizeof *rows);
    rz_error error = {0};
    rz_status status = RZ_OK;
    bool complete = rows != NULL && n > 0;
    for (size_t head = 0; head < RZ_HEADS_MAX && complete && status == RZ_OK; head++)
        if ((heads >> head & 1) != 0)
            status = recall(store, patient, r, head, j, &rows[at++], &complete, &error);
    if (status != RZ_OK)
        log_event("warning", "explanation_unread", "{s:s}", "detail", error.text);
    if (status != RZ_OK || !complete) {
        free(rows);
        return;
    }
    part->replica = replica_keep(r);
    part->options = rz_predict_options_defaults();
    part->options.heads = heads;
    part->options.explain = RZ_CONTRIBUTIONS_MAX;
    part->n_heads = n;
    part->risks = rows;
    part->recalled = true;
    metrics_explained(s->metrics, risks_in(rows, n), 0);
}

void explained_recall(server *s, rz_store *store, const rz_patient *patient, const plan *p,
                      predict_job *j)
{
    for (size_t k = 0; k < p->n_parts; k++)
        recall_part(s, store, patient, p, k, j);
}

/* ---- keeping -------------------------------------------------------------------------------- */

typedef struct keep_op {
    write_op op;      /* first */
    predict_job *job; /* one reference */
    rz_arena arena;   /* of the rows */
    rz_explanation_row *rows;
    size_t n;
} keep_op;

static void destroy(job *base)
{
    keep_op *o = (keep_op *)base;
    if (o->job != NULL)
        job_drop(&o->job->job);
    rz_arena_done(&o->arena);
    free(o);
}

static rz_status run(write_op *op, rz_store *store, rz_error *error)
{
    const keep_op *o = (keep_op *)op;
    return rz_store_explanations_put(store, o->rows, o->n, error);
}

static rz_status add_row(keep_op *o, const predict_part *part, size_t i, int64_t version,
                         const rz_risk *risk, rz_buffer *text, rz_error *error)
{
    rz_buffer_clear(text);
    rz_status status = rz_risk_keep(risk, text, error);
    char *kept = status == RZ_OK ? rz_arena_strdup(&o->arena, text->data) : NULL;
    if (kept == NULL)
        return RZ_E_NO_MEMORY;
    o->rows[o->n++] = (rz_explanation_row){.patient = part->job->timelines[i]->patient,
                                           .task = task_of(part->replica, risk->head),
                                           .context = explained_context(part->replica, risk->head),
                                           .version = version,
                                           .as_of = part->job->as_of[i],
                                           .text = kept};
    return RZ_OK;
}

static rz_status fill(keep_op *o, const predict_part *part, size_t i, int64_t version,
                      rz_error *error)
{
    rz_status status = RZ_OK;
    rz_buffer text;
    rz_buffer_init(&text, TEXT_BYTES_MAX);
    o->rows = rz_arena_alloc(&o->arena, part->n_heads, sizeof *o->rows);
    if (o->rows == NULL)
        status = RZ_E_NO_MEMORY;
    for (size_t row = 0; row < part->n_heads && status == RZ_OK; row++) {
        const rz_risk *risk = &part->risks[i * part->n_heads + row];
        if (risk->eligibility.reason == RZ_REASON_NONE)
            status = add_row(o, part, i, version, risk, &text, error);
    }
    rz_buffer_done(&text);
    return status;
}

write_op *explained_keep(server *s, predict_job *j, size_t k, size_t i, int64_t version)
{
    const predict_part *part = &j->parts[k];
    rz_error error = {0};
    size_t risks = risks_in(part->risks + i * part->n_heads, part->n_heads);
    bool task = part->onsets.n_codes + part->onsets.top == 0; /* onsets have no score to keep */
    metrics_explained(s->metrics, 0, risks);
    keep_op *o = risks > 0 && task && s->config.rescore ? calloc(1, sizeof *o) : NULL;
    if (o == NULL)
        return NULL;
    job_init(&o->op.job, NULL, destroy);
    rz_arena_init(&o->arena, RZ_HEADS_MAX * (size_t)TEXT_BYTES_MAX);
    o->op.run = run;
    o->op.derived = true;
    o->job = (predict_job *)(void *)job_keep(&j->job);
    if (fill(o, part, i, version, &error) != RZ_OK ||
        writer_add(s->writer, &o->op, &error) != RZ_OK) {
        job_drop(&o->op.job);
        return NULL;
    }
    return &o->op;
}
