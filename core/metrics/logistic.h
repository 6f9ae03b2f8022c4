/* One Newton solver under all logistic fits. Private to core/metrics. */
#ifndef RZ_METRICS_LOGISTIC_H
#define RZ_METRICS_LOGISTIC_H

#include "metrics/metrics.h"

enum { RZ_LOGISTIC_FEATURES_MAX = 63 };

/* logit P(label) = offset + beta[0] + Σ beta[j+1] x[j], penalty ridge/2 Σ beta[j+1]² */
typedef struct rz_logistic_problem {
    const double *x;       /* [n, d] row-major; may be NULL when d is 0 */
    const double *offset;  /* [n] or NULL */
    const double *weight;  /* [n] or NULL */
    const uint32_t *count; /* [n] or NULL: a second weight, of a resample */
    const uint8_t *label;
    size_t n, d;
    double ridge;
} rz_logistic_problem;

/* Starts from beta and improves it; false when it does not settle (separated classes, columns that
 * depend on each other), beta is then of no use. */
bool rz_logistic_solve(const rz_logistic_problem *problem, double *beta);

#endif
