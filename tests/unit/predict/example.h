/* A calibration, a task and a head that are right in every number, for tests to start from. */
#ifndef RZ_TESTS_PREDICT_EXAMPLE_H
#define RZ_TESTS_PREDICT_EXAMPLE_H

#include "predict/predictor.h"

#include <string.h>

static inline rz_calibration example_calibration(void)
{
    return (rz_calibration){.method = RZ_CALIBRATION_PLATT,
                            .training_prior = 0.5,
                            .prevalence = 0.1,
                            .intercept = 0.25,
                            .slope = 0.8,
                            .n_band = 3,
                            .band_x = {-6, -2, 2},
                            .band_low = {0.001, 0.08, 0.5},
                            .band_high = {0.01, 0.3, 0.95},
                            .n_bins = 2,
                            .bin_edge = {0, 0.2, 1},
                            .bin_n = {80, 20},
                            .bin_positives = {4, 6},
                            .tuning_n = 100,
                            .tuning_positives = 10,
                            .bootstraps = 1000,
                            .date = "2026-02-28"};
}

static inline rz_task example_task(const char *name)
{
    rz_task task = {.kind = RZ_KIND_DIAGNOSIS,
                    .title_en = "Chronic kidney disease",
                    .title_ja = "慢性腎臓病",
                    .n_outcomes = 1,
                    .outcomes = {{RZ_SYSTEM_ICD10, "N18"}},
                    .age_min = 0,
                    .age_max = 120,
                    .sex = RZ_SEX_UNKNOWN,
                    .min_history_days = 365,
                    .horizon_days = 365};
    (void)snprintf(task.name, sizeof task.name, "%s", name);
    return task;
}

/* Free with rz_head_done. */
static inline rz_head example_head(const char *name)
{
    return (rz_head){.task = example_task(name),
                     .calibration = example_calibration(),
                     .age_sex_beta = {-3, 0.5, 0.25, -0.125, 0.1, 0, 0, 0},
                     .metrics = json_pack("{s:f}", "auroc", 0.75),
                     .reference = json_pack("{s:[f,f]}", "score_deciles", 0.1, 0.9)};
}

#endif
