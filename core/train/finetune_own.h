/* What fine-tuning of tasks and of onsets shares: rows of labels as items, and what a run is known
 * by. Private to core/train. */
#ifndef RZ_TRAIN_FINETUNE_OWN_H
#define RZ_TRAIN_FINETUNE_OWN_H

#include "train/crossfit.h"
#include "train/finetune.h"

typedef struct finetune_course {
    rz_dataset *dataset;
    rz_labels *labels;
    const rz_checkpoint *base;
    const rz_task *tasks;
    const rz_finetune_options *options;
    char config_sha256[RZ_SHA256_TEXT];
    rz_facilities learnt_from; /* the dataset's and the base's */
    uint32_t *train, *tuning;  /* rows that have a label in this part */
    size_t n_train, n_tuning;
    double spared;              /* how many rows without an outcome a kept one stands for */
    double prior[RZ_TASKS_MAX]; /* share of positives among the rows to train on, by weight */
    rz_crossfit *crossfit;      /* NULL, or whom evaluations are told to */
} finetune_course;

/* Fills the rows; the caller frees train and tuning, also after a failure. */
RZ_MUST_CHECK rz_status finetune_choose_rows(finetune_course *course, const rz_model *model,
                                             const rz_finetune_options *options, rz_error *error);
/* rz_course.load: the timeline of a row at its index day. */
rz_status finetune_load(void *context, bool tuning, size_t item, uint64_t epoch, rz_arena *arena,
                        rz_timeline **timeline, int32_t *as_of, rz_error *error);
/* The base must have held out whom this run holds out. Errors  RZ_E_CONFLICT. */
RZ_MUST_CHECK rz_status finetune_check_split(const rz_checkpoint *base, const char *split,
                                             rz_error *error);
/* config_sha256 of all that a result depends on, and learnt_from.
 * Errors  those of rz_facilities_join. */
RZ_MUST_CHECK rz_status finetune_digest(finetune_course *course, rz_error *error);
/* Heads and onset head learn at head_rate, the rest at 1, or not at all with --freeze-encoder.
 * New, [n_tensors]; NULL when memory is short. */
float *finetune_rates(const rz_model *model, const rz_finetune_options *options);
/* The model's own files; what is said of its heads is the caller's. */
RZ_MUST_CHECK rz_status finetune_write_model(const finetune_course *course, const rz_run *run,
                                             const rz_model *model, rz_error *error);

#endif
