/* A task answered through the onset head: the chance that any of its outcome codes is recorded,
 * from the risks of those codes that the vocabulary has. */
#ifndef RZ_MODELS_ONSET_TASK_H
#define RZ_MODELS_ONSET_TASK_H

#include "predict/predictor.h"
#include "report/report.h"
#include "train/split.h"

typedef struct onset_task {
    uint32_t *codes; /* owned; of the vocabulary, whose every code is an outcome */
    size_t n_codes;
    size_t n_coarse; /* codes of the vocabulary that also hold what is no outcome: left out */
    rz_calibration calibration;
    double age_sex_beta[RZ_AGE_SEX_FEATURES + 1];
} onset_task;

/* Errors  RZ_E_INVALID when the vocabulary has none of the task's codes, naming the task. */
RZ_MUST_CHECK rz_status onset_task_find(const rz_vocabulary *vocabulary, const rz_task *task,
                                        onset_task *out, rz_error *error);
void onset_task_done(onset_task *task); /* accepts a zeroed one */

/* logit of 1 - Π (1 - p) over the codes' risks, as if they came independently of each other. They
 * do not, which is what the calibration is for. */
double onset_task_logit(const onset_task *task, const rz_risk *risks);

/* Fits calibration (Platt) and age and sex.
 *   logit, tuning  [n_tuning] combined logits of the tuning members, on one or more days each
 *   train          [n_train] members that age and sex are fitted on
 * Errors  those of rz_calibration_fit. */
RZ_MUST_CHECK rz_status onset_task_fit(onset_task *task, const double *logit,
                                       const rz_cohort_member *const *tuning, size_t n_tuning,
                                       const rz_cohort_member *const *train, size_t n_train,
                                       uint64_t seed, rz_error *error);

/* True when an outcome of the horizon is one of the codes. */
bool onset_task_covers(const onset_task *task, const rz_vocabulary *vocabulary,
                       const rz_task *definition, const rz_timeline *timeline, int32_t index_day);

#endif
