/* A baseline: one task learnt from counts by an engine (engine.h), with the patients, the split,
 * the index days and the labels that fine-tuning takes, calibrated as its heads are. */
#ifndef RZ_MODELS_BASELINE_H
#define RZ_MODELS_BASELINE_H

#include "evaluate.h"
#include "feature_rows.h"
#include "predict/predictor.h"
#include "train/calibrate.h"
#include "train/labels.h"
#include "tuning.h"

typedef struct baseline_options {
    const engine *engine;
    bool full_grid;
    rz_split_rule split;
    /* These six mean what they mean in rz_finetune_options, and the same values give the same
     * labels. With `labels` or `crossfit` there is no tuning part: settings and rounds are chosen,
     * and risks calibrated, on scores out of fold. */
    size_t labels;
    rz_label_mix mix;
    bool crossfit;
    unsigned draws;
    rz_calibration_method method;
    double prevalence;
    uint64_t seed;
    rz_pool *pool; /* borrowed */
    const rz_progress *progress;
} baseline_options;

typedef struct baseline {
    rz_head head; /* task, calibration, age and sex; no metrics */
    rz_vocabulary *vocabulary;
    features *features;
    tuning_result tuning;
    tuned tuned;
    engine_options engine_options;
    char engine_version[ENGINE_VERSION];
    rz_label_counts learnt, watched;
    sparse_rows asked; /* rows of the scores being made */
    double features_s, tuning_s, fit_s;
} baseline;

/* Learns a task. Labels come from `dataset`, histories from `store`, of which it is a copy.
 * Errors  those of rz_labels_draw, rz_heads_check, the engine and the calibration; RZ_E_CONFLICT
 *         when the store is no longer what was copied. */
RZ_MUST_CHECK rz_status baseline_learn(rz_store *store, rz_dataset *dataset, const rz_task *task,
                                       const baseline_options *options, baseline *out,
                                       rz_error *error);
void baseline_done(baseline *baseline); /* accepts a zeroed one */

/* evaluate_subject.score, the context being a baseline. */
RZ_MUST_CHECK rz_status baseline_score(void *context, size_t task,
                                       const rz_timeline *const *timelines, const int32_t *as_of,
                                       size_t n, evaluate_score *out, rz_error *error);

#endif
