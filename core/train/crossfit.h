/* Cross-fitting: what a run with few labels learns about itself. The labels are cut into four parts
 * by patient; four models, each taught on three parts, score the fourth. The scores out of fold
 * tell where to stop and give the calibration, and all labels are free to be learnt from. */
#ifndef RZ_TRAIN_CROSSFIT_H
#define RZ_TRAIN_CROSSFIT_H

#include "train/labels.h"
#include "train/trainer.h"

typedef struct rz_crossfit rz_crossfit; /* what one part's training reports to */

/* Trains one part and calls rz_crossfit_evaluated at each evaluation. The parts of `labels` are
 * set: the fourth that is left out is RZ_SPLIT_TUNING. No folder: nothing is saved. */
typedef rz_status (*rz_crossfit_train)(void *context, rz_crossfit *crossfit,
                                       const rz_train_options *options, rz_train_result *result,
                                       rz_error *error);

/* Scores the part that is left out; `evaluation` counts to options->evaluations. */
RZ_MUST_CHECK rz_status rz_crossfit_evaluated(rz_crossfit *crossfit, const rz_model *model,
                                              unsigned evaluation, rz_error *error);

typedef struct rz_crossfit_result {
    unsigned evaluation;     /* with the lowest loss: 1 … evaluations */
    uint64_t steps;          /* that --minutes came to; 0 when it was not given */
    double loss, first_loss; /* mean over tasks, there and before the first step */
    float *logit;            /* [n_rows, n_tasks] out of fold, NaN without a label; free() it */
} rz_crossfit_result;

/* Runs the parts one after the other over drawn labels (rz_labels_draw), whose parts are all
 * RZ_SPLIT_TRAIN before and after. A finished part is kept as <resume>/part-N.json and not done
 * again; an interrupted one starts over, which gives the same bytes.
 *   config_sha256, data_sha256  a kept part must have the same
 * Errors  those of training; RZ_E_CONFLICT when a kept part belongs to other settings or data. */
RZ_MUST_CHECK rz_status rz_crossfit_run(rz_labels *labels, rz_dataset *dataset, const char *resume,
                                        const rz_train_options *options, const char *config_sha256,
                                        const char *data_sha256, rz_crossfit_train train,
                                        void *context, rz_crossfit_result *out, rz_error *error);

#endif
