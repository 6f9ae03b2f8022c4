/* Fine-tuning of the onset head: every patient of the training split, every code of the vocabulary
 * at once. What a label is says predict/onset.h; index days are those of a task without outcomes.
 */
#ifndef RZ_TRAIN_ONSET_H
#define RZ_TRAIN_ONSET_H

#include "predict/onset.h"
#include "train/finetune.h"

/* Trains the head over the encoder, calibrates each code on the tuning split, and writes model
 * files and onset.json into the run's folder; the caller adds its own and calls rz_run_finish. base
 * the pretrained model, borrowed; its heads, if any, are left behind options  split, draws,
 * head_rate, freeze, scratch, dropout, tuning_tokens and train count labels   rows and attrition;
 * one "task" whose labels are all 0. To be freed on success, as out Errors  those of rz_train and
 * rz_onset_calibrate, the latter before hours are spent. */
RZ_MUST_CHECK rz_status rz_onset_finetune(rz_dataset *dataset, const rz_run *run,
                                          const rz_checkpoint *base,
                                          const rz_finetune_options *options, rz_onset *out,
                                          rz_labels *labels, rz_train_result *result,
                                          rz_error *error);

/* Calibrates a model's head on the tuning split of a dataset, in the model's precision: codes,
 * kinds, metrics and date of `onset` are set. Age-and-sex baselines and training counts are set
 * where the training split shows the code and else stay as they came. */
RZ_MUST_CHECK rz_status rz_onset_fit(const rz_model *model, rz_dataset *dataset,
                                     const rz_labels *labels, size_t part_tokens,
                                     const rz_progress *progress, rz_onset *onset, rz_error *error);

#endif
