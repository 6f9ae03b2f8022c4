/* Predicted risks against true ones, which a simulation knows: are they right on the whole, and
 * right along their range? Calibration without the noise of outcomes. */
#ifndef RZ_METRICS_TRUTH_H
#define RZ_METRICS_TRUTH_H

#include "metrics/metrics.h"

/* What Rezept asks of its models on simulated patients. */
#define RZ_TRUTH_RATIO_FROM 0.95
#define RZ_TRUTH_RATIO_TO   1.05
#define RZ_TRUTH_SLOPE_FROM 0.9
#define RZ_TRUTH_SLOPE_TO   1.1

typedef struct rz_truth {
    size_t n;
    double mean_predicted, mean_true;
    rz_interval ratio;            /* mean predicted / mean true */
    rz_interval slope, intercept; /* logit(true) = intercept + slope logit(predicted) */
    rz_interval mean_slope;       /* logit(mean true) = a + mean_slope logit(predicted) */
} rz_truth;

/* Over n rows. The line is that of least squares; risks count as at least 1e-4 from 0 and 1 in
 * it, because a simulated one comes from finitely many continuations. Its slope is 1 for a model
 * that knows every risk. One that is calibrated and knows less has another slope, because the mean
 * of logits is not the logit of the mean; mean_slope is 1 for that one, too: it is the calibration
 * slope with the true risk in place of the outcome (fractional logistic regression, Papke and
 * Wooldridge 1996). Figures that do not exist
 * (nobody, predictions that are all the same) are NaN. Intervals: 95 % percentiles over patients.
 * n_bootstraps  0 leaves the intervals NaN
 * Errors        RZ_E_RANGE for a risk outside [0, 1] or NaN; RZ_E_NO_MEMORY.
 * Threads       safe. */
RZ_MUST_CHECK rz_status rz_truth_compute(const double *predicted, const double *truth,
                                         const uint32_t *patient, size_t n, unsigned n_bootstraps,
                                         uint64_t seed, rz_truth *out, rz_error *error);

/* Does the value lie within from … to? False for NaN. The interval does not decide. */
bool rz_truth_ratio_met(const rz_truth *truth);
bool rz_truth_slope_met(const rz_truth *truth);

#endif
