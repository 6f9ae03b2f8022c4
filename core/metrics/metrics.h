/* How good risks are: discrimination, calibration and their uncertainty. Scores and labels come as
 * arrays of rows, a patient on a day; NaN scores are a caller's mistake and an error.
 *
 * Intervals are bootstraps over patients. `patient` [n] says which row is whose, where a patient
 * has several: 0, 1, … , the rows of one side by side. NULL: each row is another patient's.
 *
 * A figure that does not exist (one class only, nothing at all) is NaN and `reason` says why. */
#ifndef RZ_METRICS_METRICS_H
#define RZ_METRICS_METRICS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RZ_METRICS_BINS = 10, RZ_BOOTSTRAPS = 1000 };

/* patient[n] of a row that is appended to n rows: of another patient than the last one, or not. */
static inline uint32_t rz_patient_number(const uint32_t *patient, size_t n, bool another)
{
    return n == 0 ? 0 : patient[n - 1] + (another ? 1 : 0);
}

/* NaN without both classes (average precision: without a positive), with a NaN score, or when
 * memory is exhausted; rz_metrics_compute tells which. */
double rz_auroc(const double *score, const uint8_t *label, size_t n);
double rz_average_precision(const double *score, const uint8_t *label, size_t n);

/* One row of a calibration table; deciles of the score, or equal-width bins for the ECE. */
typedef struct rz_calibration_bin {
    double low, high; /* edges of the predicted probability */
    double mean_predicted, observed;
    size_t n, positives;
} rz_calibration_bin;

typedef struct rz_interval {
    double value, low, high; /* 95 %, percentile bootstrap over patients */
} rz_interval;

typedef struct rz_metrics {
    size_t n, positives;
    const char *reason; /* NULL, or why some figures are NaN ("no positive patient", …); static */
    rz_interval auroc, average_precision, brier, ece;
    rz_interval calibration_slope,
        calibration_intercept; /* logit(y) = a + b logit(p); a at b = 1 */
    rz_interval observed_to_expected;
    rz_calibration_bin deciles[RZ_METRICS_BINS];
    size_t n_deciles;
} rz_metrics;

/* All of them. ECE has 10 equal-width bins, the last one closed; deciles keep equal scores together
 * and may be fewer. Probabilities of 0 and 1 count as 1e-12 from it in slope and intercept.
 * n_bootstraps  0 leaves the intervals NaN
 * Errors        RZ_E_NO_MEMORY; RZ_E_RANGE for a probability outside [0, 1] or NaN.
 * Threads       safe. */
RZ_MUST_CHECK rz_status rz_metrics_compute(const double *probability, const uint8_t *label,
                                           const uint32_t *patient, size_t n, unsigned n_bootstraps,
                                           uint64_t seed, rz_metrics *out, rz_error *error);

/* Maximum likelihood of logit(y) = intercept + slope x, by Newton's method; weights may be NULL.
 * Errors  RZ_E_RANGE when the classes are separated or only one exists. */
RZ_MUST_CHECK rz_status rz_logistic_fit(const double *x, const uint8_t *label, const double *weight,
                                        size_t n, double *intercept, double *slope,
                                        rz_error *error);

/* Logistic regression on a dense row-major matrix [n, d] with an L2 penalty (ridge / 2 times the
 * squared coefficients against the summed log-likelihood, not on the intercept): what the
 * age-and-sex baseline is fitted with. beta has d + 1 places, the intercept first. Errors
 * RZ_E_RANGE as above and for values that are not finite; RZ_E_TOO_LARGE: d above 63. */
RZ_MUST_CHECK rz_status rz_logistic_regression(const double *x, const uint8_t *label, size_t n,
                                               size_t d, double ridge, double *beta,
                                               rz_error *error);
/* The same with a weight for each row, as of rows that are counted in cells; weight may be NULL. */
RZ_MUST_CHECK rz_status rz_logistic_weighted(const double *x, const uint8_t *label,
                                             const double *weight, size_t n, size_t d, double ridge,
                                             double *beta, rz_error *error);

/* Difference of two scores' AUROC or average precision on the same rows, paired bootstrap. */
RZ_MUST_CHECK rz_status rz_metrics_compare(const double *a, const double *b, const uint8_t *label,
                                           const uint32_t *patient, size_t n, unsigned n_bootstraps,
                                           uint64_t seed, rz_interval *auroc,
                                           rz_interval *average_precision, rz_error *error);

#endif
