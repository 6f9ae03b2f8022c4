/* Evaluation: a model's tasks on a store's patients, beside age and sex and, where it is known, the
 * truth. Fills what core/report writes. */
#ifndef RZ_MODELS_EVALUATE_H
#define RZ_MODELS_EVALUATE_H

#include "base/progress.h"
#include "report/report.h"
#include "train/split.h"
#include "truth_table.h"

typedef struct evaluate_options {
    rz_split split;
    bool all;                 /* every split, whatever `split` says */
    rz_split_rule rule;       /* with n_folds > 0: that held-out fold, in place of the split */
    uint64_t heads;           /* bit i: head i */
    const truth_table *truth; /* NULL: not known; its tasks are the model's heads, in their order */
    unsigned bootstraps;
    uint64_t seed;
} evaluate_options;

/* Builds the cohorts with the model's own task definitions, predicts on the index days from what
 * was known then, and computes every figure. report->tasks is filled and to be freed with
 * rz_report_done; the other members are the caller's.
 * Errors  those of the store and the predictor; RZ_E_CANCELED. */
RZ_MUST_CHECK rz_status evaluate(rz_store *store, rz_predictor *predictor,
                                 const evaluate_options *options, const rz_progress *progress,
                                 rz_report *report, rz_error *error);

#endif
