/* Drift of one model: how far the patients that it scores lie from those it was calibrated on, and
 * whether what it foretold came true.
 *
 * Inputs: each task has its own reference in tasks.json, and what is held against it are the
 * patients who were given a risk for that task, by a request or in the background. A patient counts
 * once for every time that a model really ran for him, so one who is scored again counts again; an
 * answer that is kept counts once. Two halves of DRIFT_HALF patients take turns: an index is of the
 * last DRIFT_HALF to 2 DRIFT_HALF patients, and there is none below DRIFT_PATIENTS_MIN.
 *
 * Outcomes: see backtest.h, which makes them. Not thread-safe: a replica keeps it under its lock.
 */
#ifndef REZEPTD_DRIFT_H
#define REZEPTD_DRIFT_H

#include "predict/predictor.h"

enum { DRIFT_HALF = 1000, DRIFT_PATIENTS_MIN = 200, DRIFT_OUTCOMES_MIN = 10 };

#define DRIFT_FEATURE_MAP(X)                                                                       \
    X(SCORE, "score")                                                                              \
    X(TOKENS, "tokens")                                                                            \
    X(AGE, "age")                                                                                  \
    X(UNMAPPED, "unmapped")

typedef enum drift_feature {
#define DRIFT_FEATURE_ENUM(id, name) DRIFT_##id,
    DRIFT_FEATURE_MAP(DRIFT_FEATURE_ENUM)
#undef DRIFT_FEATURE_ENUM
        DRIFT_FEATURES
} drift_feature;

const char *drift_feature_name(drift_feature feature); /* static */

/* Expected against observed outcomes of one task. */
typedef struct drift_outcomes {
    int64_t computed_us; /* 0: not yet */
    bool unknown_split;  /* nobody could be asked: whom the model learnt from is not recorded */
    uint64_t patients, observed;
    double expected;
    int32_t first_index, last_index; /* days; nothing without patients */
} drift_outcomes;

/* Observed by expected; NaN with the reason in *reason (static): "not_computed", "unknown_split",
 * or "too_few_outcomes", with fewer than DRIFT_OUTCOMES_MIN both observed and expected. */
double drift_ratio(const drift_outcomes *o, const char **reason);

typedef struct drift drift;

/* The references are copied. NULL when memory is exhausted. */
drift *drift_new(const rz_head *heads, size_t n);
void drift_free(drift *d); /* accepts NULL */

/* Counts a row that has a risk. Age in years, NaN when unknown. */
void drift_count(drift *d, const rz_risk *risk, double age_years);

/* Bin of a score among those of the tuning split; the first where the model knows none. */
size_t drift_score_bin(const drift *d, size_t head, double probability);

/* Patients of the window, and the index of a feature: NaN with too few patients or where the model
 * has no reference. */
uint64_t drift_patients(const drift *d, size_t head);
double drift_index(const drift *d, size_t head, drift_feature feature);

#endif
