/* Fine-tuning: from a pretrained encoder to a model that answers tasks, calibrated. */
#ifndef RZ_TRAIN_FINETUNE_H
#define RZ_TRAIN_FINETUNE_H

#include "train/heads.h"
#include "train/trainer.h"

typedef struct rz_finetune_options {
    rz_split_rule split;
    rz_facilities facilities; /* whose patients the dataset holds: recorded, and a setting */
    size_t labels;            /* so many of each task and no more; 0 = all */
    rz_label_mix mix;         /* how many of them are positive */
    bool crossfit;            /* all labels, but as with `labels` no tuning part: see crossfit.h */
    unsigned draws;           /* index days of a patient, see labels.h; 1 with cross-fitting */
    double negatives; /* training rows without an outcome for each row with one; 0 = all of them.
                         Those kept stand for the others by their weight in the loss. */
    double head_rate; /* learning rate of the fresh heads, as a multiple of the encoder's */
    bool freeze;      /* the encoder keeps its values: heads alone learn */
    bool scratch;     /* size and vocabulary of the given model, but none of its values */
    float dropout;    /* NaN = as the model says */
    rz_calibration_method method;
    double prevalence[RZ_TASKS_MAX]; /* NaN = counted in the training and tuning splits */
    size_t tuning_tokens; /* early stopping looks at rows of about so many tokens; 0 = all */
    rz_train_options train;
} rz_finetune_options;

rz_finetune_options rz_finetune_options_defaults(void);

/* Trains one head for each task over one shared encoder and writes model files and tasks.json into
 * the run's folder; the caller adds its own and calls rz_run_finish.
 *   base    the pretrained model, borrowed; its heads, if any, are left behind
 *   heads   [n_tasks] zeroed; each to be freed with rz_head_done on success
 *   labels  the labels used with their cohorts; to be freed with rz_labels_done on success
 * Errors  those of rz_train and rz_heads_check. */
RZ_MUST_CHECK rz_status rz_finetune(rz_dataset *dataset, const rz_run *run,
                                    const rz_checkpoint *base, const rz_task *tasks, size_t n_tasks,
                                    const rz_finetune_options *options, rz_head *heads,
                                    rz_labels *labels, rz_train_result *result, rz_error *error);

#endif
