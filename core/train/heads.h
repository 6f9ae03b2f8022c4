/* What a model's folder says of its heads (tasks.json): calibration, the age-and-sex baseline,
 * tuning metrics and reference distributions, all from labels of the tuning part; with drawn labels
 * from scores out of fold (crossfit.h), and the baseline's own figures are then in sample. The
 * calibration is fitted on all index days of the tuning patients, what is counted and measured has
 * each of them once, on its cohort's own day. */
#ifndef RZ_TRAIN_HEADS_H
#define RZ_TRAIN_HEADS_H

#include "predict/predictor.h"
#include "train/calibrate.h"
#include "train/labels.h"

typedef struct rz_heads_options {
    rz_calibration_method method;
    const float *out_of_fold; /* [n_rows, n_tasks] logits to calibrate drawn labels on, whose
                                 prevalence is taken as known; NULL with all labels */
    bool sampled;             /* those labels are a draw; else all that there are */
    size_t part_tokens;       /* of one packed batch */
    uint64_t seed;
    double prevalence[RZ_TASKS_MAX];     /* where risks are used; NaN = counted in the record */
    double training_prior[RZ_TASKS_MAX]; /* NaN = counted in the training part */
    const rz_progress *progress;         /* may be NULL */
} rz_heads_options;

/* Fits heads[i] for task i of `labels`, which is head i of the model. Heads come in zeroed or as
 * they were read: an old age-and-sex baseline stays where the training part has fewer than 5
 * positives or negatives. On failure a head is either as it was or wholly new.
 * Errors  those of rz_calibration_fit, naming the task. */
RZ_MUST_CHECK rz_status rz_heads_fit(const rz_model *model, rz_dataset *dataset,
                                     const rz_labels *labels, const rz_task *tasks,
                                     const rz_heads_options *options, rz_head *heads,
                                     rz_error *error);

/* The age-and-sex baseline of a task, from the labels that are learnt from.
 *   shift  added to its intercept: logit of the prevalence minus that of the labels
 *   beta   [RZ_AGE_SEX_FEATURES + 1] stays as it is with fewer than 5 positives or negatives
 * Errors  RZ_E_NO_MEMORY; those of rz_logistic_regression. */
RZ_MUST_CHECK rz_status rz_age_sex_fit(const rz_labels *labels, size_t task, double shift,
                                       double *beta, rz_error *error);

/* Refuses tasks whose parts are too small to learn from or to calibrate on, before hours are spent.
 * Errors  RZ_E_INVALID naming the task, the part and the numbers. */
RZ_MUST_CHECK rz_status rz_heads_check(const rz_labels *labels, const rz_task *tasks,
                                       rz_calibration_method method, bool train, rz_error *error);

#endif
