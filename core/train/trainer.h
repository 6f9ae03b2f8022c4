/* The trainer: steps through a course until it is learnt, keeps the parameters that were best on
 * the tuning part, logs, saves and resumes. It knows neither tasks nor masks: see rz_course. */
#ifndef RZ_TRAIN_TRAINER_H
#define RZ_TRAIN_TRAINER_H

#include "base/progress.h"
#include "train/feed.h"
#include "train/optimizer.h"
#include "train/run.h"

typedef struct rz_train_options {
    uint64_t seed;
    double learning_rate; /* the highest; 0 = rz_learning_rate_default */
    double rate_factor;   /* times that */
    double warmup;        /* share of the run */
    rz_optimizer_options optimizer;
    size_t batch_tokens; /* of one optimiser step */
    size_t part_tokens;  /* of one packed batch: bounds the memory of a step */
    /* The run ends at the first of these; 0 = not bounded by it, but one is needed. */
    uint64_t steps;
    double epochs, minutes;
    rz_precision precision; /* of the layers' products: float32 or bf16, see rz_model */
    unsigned evaluations;   /* on the tuning part, spread evenly over the run */
    unsigned patience;      /* evaluations without a gain before the run ends; 0 = never */
    unsigned stop_at;       /* the run ends at this evaluation of its plan; 0 = at the last */
    double save_seconds;    /* between two saved states */
    uint64_t save_steps;    /* also save every so many steps; 0 = by time alone */
    rz_exchange *exchange;
    const rz_progress *progress; /* may be NULL; asked once a step */
} rz_train_options;

/* Schedules alike for both courses; bounds all 0. */
rz_train_options rz_train_options_defaults(void);
/* Errors  RZ_E_USAGE a run without an end, or one that nothing fits into. rz_train asks it too; a
 * program asks before it copies a store. */
RZ_MUST_CHECK rz_status rz_train_options_check(const rz_train_options *options, rz_error *error);

typedef struct rz_train_result {
    uint64_t steps, epochs, tokens, best_step;
    double learning_rate;         /* the highest of the schedule */
    double best_loss, first_loss; /* on the tuning part */
    double seconds;
    bool stopped_early; /* no gain for `patience` evaluations */
    bool time_over;     /* --minutes passed before the planned steps were done */
} rz_train_result;

/* Trains `model` in place; at the end it holds the best parameters.
 *   rates          NULL or [n_tensors]: multiples of the learning rate, as in optimizer.h, on top
 *                  of the tensors' own
 *   config_sha256  of every setting that a result depends on; a resumed run must have the same
 *   data_sha256    of the data
 *   run            NULL: nothing is logged or saved, and an interrupted run is lost
 * A course without tuning items, which needs `stop_at`, ends with its last parameters.
 * With --minutes the number of steps is fixed from the speed of the first ones and saved, so that
 * a resumed run follows the same schedule.
 * Errors  RZ_E_CANCELED after saving, when progress says stop; RZ_E_CONFLICT when the settings of
 *         a resumed run differ; RZ_E_RANGE when the loss is not finite; those of the files. */
RZ_MUST_CHECK rz_status rz_train(rz_model *model, const rz_course *course, const rz_run *run,
                                 const rz_train_options *options, const float *rates,
                                 const char *config_sha256, const char *data_sha256,
                                 rz_train_result *result, rz_error *error);

#endif
