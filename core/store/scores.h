/* The score cache: the newest risk of every patient and task, what it rests on where that was
 * worked out, and the worklist made of them.
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

/* Keeps n scores in one transaction, replacing older ones; scores of patients that were erased
 * meanwhile are left out. Outside a batch. Errors  as rz_store_put. */
RZ_MUST_CHECK rz_status rz_store_scores_put(rz_store *store, const rz_score_row *rows, size_t n,
                                            rz_error *error);

/* The cached score of a patient for a task when it was made with this version, day and context. */
RZ_MUST_CHECK rz_status rz_store_score_get(rz_store *store, rz_patient_key patient, int64_t version,
                                           int32_t as_of, const char *task,
                                           const rz_score_context *context, rz_score *out,
                                           bool *found, rz_error *error);

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

/* Those of the `top` highest fresh scores of a task, day and context that have no explanation,
 * highest first: at most `cap` patients. */
RZ_MUST_CHECK rz_status rz_store_explanations_missing(rz_store *store, const char *task,
                                                      int32_t as_of,
                                                      const rz_score_context *context, size_t top,
                                                      rz_patient_key *out, size_t cap, size_t *n,
                                                      rz_error *error);

typedef struct rz_worklist_query {
    const char *task;
    const char *facility;   /* NULL for all */
    double min_probability; /* 0 for all */
    size_t offset;          /* rows to skip, for pages */
} rz_worklist_query;

typedef struct rz_worklist_row {
    rz_patient_key patient;
    char facility[128], id[128]; /* as stored */
    rz_score score;
    bool stale; /* the patient changed since */
} rz_worklist_row;

#define RZ_WORKLIST_REASONS_MAX 8

typedef struct rz_worklist_counts {
    int64_t scored;   /* with a probability */
    int64_t unscored; /* the background has not come to them yet */
    int64_t left_out; /* with a reason instead of a probability */
    size_t n_reasons; /* that occur, in alphabetical order; they add up to left_out */
    struct {
        char reason[32];
        int64_t patients;
    } reasons[RZ_WORKLIST_REASONS_MAX];
    int64_t stale;                /* of scored and left_out: the patient changed since */
    int64_t oldest_at, newest_at; /* scored_at of fresh and stale ones; 0 without any */
} rz_worklist_counts;

/* The highest risks of a task, best first, at most `cap`; and what the whole list counts. */
RZ_MUST_CHECK rz_status rz_store_worklist(rz_store *store, const rz_worklist_query *query,
                                          rz_worklist_row *out, size_t cap, size_t *n,
                                          rz_worklist_counts *counts, rz_error *error);

/* Up to `cap` patients with key > after that have no fresh score of this task, day and context:
 * the background scorer's work, in the order of keys. */
RZ_MUST_CHECK rz_status rz_store_scores_missing(rz_store *store, const char *task, int32_t as_of,
                                                const rz_score_context *context,
                                                rz_patient_key after, rz_patient_key *out,
                                                size_t cap, size_t *n, rz_error *error);

#endif
