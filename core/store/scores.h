/* The score cache: the newest risk of every patient and task, what it rests on where that was
 * worked out, and what it was in earlier months. worklist.h lists the highest.
 *
 * A score is fresh while the patient's version, the day, and the context (model, tasks,
 * calibration) are the ones it was made with; anything else is stale and scored again. Scores are
 * derived: they are written with synchronous = NORMAL and may be lost in a power cut. */
#ifndef RZ_STORE_SCORES_H
#define RZ_STORE_SCORES_H

#include "store/store.h"

/* What makes a score: hashes and ids, each at most 127 characters; borrowed. */
typedef struct rz_score_context {
    const char *model_hash, *tasks_hash, *calibration_id;
} rz_score_context;

typedef struct rz_score {
    double probability, low, high; /* NaN when there is a reason instead */
    double average;                /* of people of this age and sex; NaN when unknown */
    char reason[32];               /* "" or "already_recorded", "dead", … */
    int32_t as_of;
    int64_t version;   /* of the patient when scored */
    int64_t scored_at; /* microseconds since 1970 */
} rz_score;

/* One score to be kept. */
typedef struct rz_score_row {
    rz_patient_key patient;
    const char *task;
    rz_score_context context;
    rz_score score; /* scored_at is set by the store */
} rz_score_row;

/* Keeps n scores in one transaction, replacing older ones, those of their month included; scores of
 * patients that were erased meanwhile are left out. Outside a batch. Errors  as rz_store_put. */
RZ_MUST_CHECK rz_status rz_store_scores_put(rz_store *store, const rz_score_row *rows, size_t n,
                                            rz_error *error);

/* The cached score of a patient for a task when it was made with this version, day and context. */
RZ_MUST_CHECK rz_status rz_store_score_get(rz_store *store, rz_patient_key patient, int64_t version,
                                           int32_t as_of, const char *task,
                                           const rz_score_context *context, rz_score *out,
                                           bool *found, rz_error *error);

/* ---- earlier months ------------------------------------------------------------------------- */

enum { RZ_SCORE_MONTHS = 60, RZ_CONTEXT_TEXT = 128 };

/* The month of a day: 12 * year + month - 1. */
int rz_score_month(int32_t day);

/* A score as it was kept of its month, and what made it. */
typedef struct rz_month_score {
    rz_score score; /* version 0: months do not keep it */
    char model_hash[RZ_CONTEXT_TEXT], calibration_id[RZ_CONTEXT_TEXT];
} rz_month_score;

/* The newest score of each month and context of a patient and task, of the last RZ_SCORE_MONTHS
 * months that were scored, from `first_month` on: in the order of time, at most the `cap` newest.
 */
RZ_MUST_CHECK rz_status rz_store_score_months(rz_store *store, rz_patient_key patient,
                                              const char *task, int first_month,
                                              rz_month_score *out, size_t cap, size_t *n,
                                              rz_error *error);

/* ---- explanations --------------------------------------------------------------------------- */

/* What a score rests on, to be kept with it. */
typedef struct rz_explanation_row {
    rz_patient_key patient;
    const char *task;
    rz_score_context context;
    int64_t version; /* of the patient … */
    int32_t as_of;   /* … and the day, both as of the score */
    const char *text;
} rz_explanation_row;

/* Keeps n explanations with their scores, in one transaction; where no such score is kept, or
 * another one by now, the explanation is left out. They go when the score is replaced or erased.
 * Outside a batch. Errors  as rz_store_put. */
RZ_MUST_CHECK rz_status rz_store_explanations_put(rz_store *store, const rz_explanation_row *rows,
                                                  size_t n, rz_error *error);

/* The explanation that was kept with the score of this version, day and context, if the patient
 * still has that version: a new text in the arena, or NULL. */
RZ_MUST_CHECK rz_status rz_store_explanation_get(rz_store *store, rz_patient_key patient,
                                                 int64_t version, int32_t as_of, const char *task,
                                                 const rz_score_context *context, rz_arena *arena,
                                                 char **out, rz_error *error);

/* Those of the `top` first scores of a task's worklist (by excess) that are fresh, of this day and
 * context, and have no explanation, in this order: at most `cap` patients. */
RZ_MUST_CHECK rz_status rz_store_explanations_missing(rz_store *store, const char *task,
                                                      int32_t as_of,
                                                      const rz_score_context *context, size_t top,
                                                      rz_patient_key *out, size_t cap, size_t *n,
                                                      rz_error *error);

/* Up to `cap` patients with key > after that have no fresh score of this task, day and context:
 * the background scorer's work, in the order of keys. */
RZ_MUST_CHECK rz_status rz_store_scores_missing(rz_store *store, const char *task, int32_t as_of,
                                                const rz_score_context *context,
                                                rz_patient_key after, rz_patient_key *out,
                                                size_t cap, size_t *n, rz_error *error);

#endif
