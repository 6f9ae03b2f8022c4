/* Evaluation: the risks of tasks on a store's patients, beside age and sex and, where it is known,
 * the truth. Fills what core/report writes. Who scores is the caller's: a model or a baseline. */
#ifndef RZ_MODELS_EVALUATE_H
#define RZ_MODELS_EVALUATE_H

#include "base/progress.h"
#include "report/report.h"
#include "train/split.h"
#include "truth_table.h"

typedef struct evaluate_score {
    double probability, age_sex; /* the risk, and that by age and sex alone */
    double logit;                /* raw, before correction and calibration */
} evaluate_score;

typedef struct evaluate_subject {
    const rz_task *tasks; /* [n_tasks] borrowed */
    size_t n_tasks;
    /* Scores of n rows for task `task`, each a patient from what was known on its index day. */
    rz_status (*score)(void *context, size_t task, const rz_timeline *const *timelines,
                       const int32_t *as_of, size_t n, evaluate_score *out, rz_error *error);
    void *context;
} evaluate_subject;

enum { EVALUATE_ROWS_PER_CALL = 128 }; /* the largest n of a call of score */

typedef struct evaluate_options {
    rz_split split;
    bool all;                        /* every split, whatever `split` says */
    rz_split_rule rule;              /* what `split` is a part of */
    const rz_facilities *facilities; /* whose patients; NULL for all */
    unsigned draws;                  /* index days that each of them is asked for; 0 counts as 1 */
    const truth_table *truth; /* NULL: not known; its tasks are the subject's, in their order */
    unsigned bootstraps;
    uint64_t seed;
} evaluate_options;

/* What came out of it. Zero it and fill report's own members; done frees the rest. */
typedef struct evaluation {
    rz_report report;
    rz_split_rule rule; /* as asked for */
    double **logit;     /* [report.n_tasks][task.n] owned */
    rz_arena names;     /* of the facilities, by number: */
    const char *const *facilities;
    size_t n_facilities;
} evaluation;

/* Builds the cohorts, scores on the index days and computes every figure.
 * Errors  those of the store and of the subject; RZ_E_CANCELED. */
RZ_MUST_CHECK rz_status evaluate(rz_store *store, const evaluate_subject *subject,
                                 const evaluate_options *options, const rz_progress *progress,
                                 evaluation *out, rz_error *error);
void evaluation_done(evaluation *evaluation); /* accepts a zeroed one */

/* ---- what is left of it (evaluation_files.c) ---- */

/* The table on standard output. */
void evaluation_print(const evaluation *evaluation, bool truth);

/* One row a patient and index day: task, patient_key, index_day, split, label, logit, probability,
 * age_sex, truth, sex, age_band, facility. Patient and index day pair the rows of two subjects on
 * one store; the last three are what subgroups are made of. */
RZ_MUST_CHECK rz_status evaluation_write_scores(const evaluation *evaluation, const char *path,
                                                rz_error *error);

/* report.json, report.html and scores.csv in a folder that is there, each whole or not at all. */
RZ_MUST_CHECK rz_status evaluation_write(const evaluation *evaluation, const char *folder,
                                         rz_error *error);

#endif
