/* Decision curves: what acting on a risk is worth, at each threshold that a clinic might act at.
 *
 * Who has a risk at or above the threshold t is treated. With TP and FP the treated with and
 * without the outcome among n patients,
 *
 *   net benefit(t) = TP / n - FP / n · t / (1 - t)
 *
 * in true positives a patient: treating one person in vain costs t / (1 - t) of what treating one
 * rightly gains, which is what acting at t says. Treating all has prevalence - (1 - prevalence)
 * t / (1 - t), treating none 0. A score is of use at t where it is above both.
 *
 * Thresholds run from half to five times the share of patients with the outcome, in steps of a
 * tenth of it, and end below 0.95: a threshold far below it treats nearly all, one far above it
 * nearly none, whoever scores.
 *
 * Source  Vickers and Elkin 2006, Decision curve analysis: a novel method for evaluating prediction
 *         models, Medical Decision Making 26, 565-574; intervals: patient bootstrap, point by
 *         point, thresholds held. */
#ifndef RZ_METRICS_DECISION_H
#define RZ_METRICS_DECISION_H

#include "metrics/metrics.h"

enum { RZ_DECISION_POINTS_MAX = 46 };
#define RZ_DECISION_FROM          0.5 /* times the prevalence */
#define RZ_DECISION_STEP          0.1
#define RZ_DECISION_THRESHOLD_MAX 0.95

typedef struct rz_decision_point {
    double threshold, times_prevalence;
    size_t treated, true_positives; /* by the model's score */
    double treat_all;               /* net benefit; that of treating none is 0 */
    rz_interval model, reference;   /* net benefit */
    rz_interval over_default;       /* model minus the better one of treating all and none */
    rz_interval over_reference;     /* model minus reference; both paired by patient */
} rz_decision_point;

typedef struct rz_decision {
    const char *reason; /* NULL, or why there is no curve; static */
    size_t n, positives;
    double prevalence;
    size_t n_points;
    rz_decision_point point[RZ_DECISION_POINTS_MAX]; /* thresholds rising */
} rz_decision;

/* Curves of a model's probabilities and of a reference's for the same n rows.
 * n_bootstraps  0 leaves the intervals NaN
 * Errors        RZ_E_RANGE for a probability outside [0, 1] or NaN; RZ_E_NO_MEMORY.
 * Threads       safe. */
RZ_MUST_CHECK rz_status rz_decision_compute(const double *model, const double *reference,
                                            const uint8_t *label, const uint32_t *patient, size_t n,
                                            unsigned n_bootstraps, uint64_t seed, rz_decision *out,
                                            rz_error *error);

#endif
