/* Recalibration: the same weights, fitted anew to the patients of a store, as when a model moves to
 * another hospital. The new folder is made beside its place and takes it in one step, so that a
 * reader always finds a whole model. */
#ifndef RZ_TRAIN_RECALIBRATE_H
#define RZ_TRAIN_RECALIBRATE_H

#include "train/heads.h"

typedef struct rz_recalibration {
    char *folder, *out; /* the model's folder and that of the new one, often the same; owned */
    char *work;         /* hidden, beside `out`; owned */
} rz_recalibration;

/* How far the average precision of a task may lie from that of float32 scores, by rz_precision. */
#define RZ_BF16_AP_DIFFERENCE 0.001
#define RZ_INT8_AP_DIFFERENCE 0.002

typedef struct rz_recalibrate_options {
    rz_split_rule split;
    rz_calibration_method method;
    unsigned draws; /* index days of a tuning patient, see labels.h */
    size_t part_tokens;
    uint64_t seed;
    double prevalence[RZ_TASKS_MAX]; /* by head; NaN = counted in the store */
    const rz_progress *progress;
} rz_recalibrate_options;

/* out  folder of the new model, on the model's file system (its files are linked); NULL replaces
 *      the model itself */
RZ_MUST_CHECK rz_status rz_recalibration_open(rz_recalibration *recalibration, const char *folder,
                                              const char *out, rz_error *error);

/* Fits the heads read from the model's folder on the tuning split of `dataset` and writes all of
 * the new folder but DONE; the caller may replace its card before rz_recalibration_finish. Scores
 * are made in the model's precision, and it must rank as float32 does.
 *   heads   [RZ_HEADS_MAX] the model's, refitted in place
 * Errors  those of rz_heads_check and rz_heads_fit; RZ_E_INVALID naming a task whose average
 *         precision is too far from float32's. */
RZ_MUST_CHECK rz_status rz_recalibrate(const rz_recalibration *recalibration,
                                       const rz_checkpoint *checkpoint, rz_dataset *dataset,
                                       const rz_recalibrate_options *options, rz_head *heads,
                                       size_t n_heads, rz_error *error);

/* Writes DONE and puts the new folder in its place; what was there goes. Errors RZ_E_IO where the
 * file system cannot exchange folders (network mounts); the model is then as it was. */
RZ_MUST_CHECK rz_status rz_recalibration_finish(rz_recalibration *recalibration, rz_error *error);
void rz_recalibration_close(rz_recalibration *recalibration); /* removes what is left over */

#endif
