/* A power law with a floor, L = a + b x^-c: how a loss falls with parameters or tokens. */
#ifndef RZ_MODELS_POWER_LAW_H
#define RZ_MODELS_POWER_LAW_H

#include "metrics/metrics.h"

enum { POWER_LAW_POINTS_MIN = 4 }; /* three figures are fitted; one point must be left over */

typedef struct power_law {
    size_t n;            /* points that it was fitted to */
    const char *reason;  /* NULL, or why there is no fit (the rest is NaN then); static */
    rz_interval a, b, c; /* b in units of x^c */
    double scale;        /* robust deviation of the points from the curve */
} power_law;

/* Robust fit, a >= 0, b > 0, c within 0.02 … 2. Intervals: 95 %, from refits to the curve plus
 * residuals drawn with replacement, widened for the three figures fitted.
 *
 *   x, y        [n] both above 0; points that are not finite are left out
 *   bootstraps  0 leaves the intervals NaN
 *
 * Errors  RZ_E_NO_MEMORY. A fit that does not exist is no error: `reason` tells.
 * Source  Kaplan et al. 2020, arXiv:2001.08361, section 3, with the floor of Hoffmann et al. 2022,
 *         arXiv:2203.15556; Huber 1964 for the loss; Efron 1979 for the residuals. */
RZ_MUST_CHECK rz_status power_law_fit(const double *x, const double *y, size_t n,
                                      unsigned bootstraps, uint64_t seed, power_law *out,
                                      rz_error *error);

/* NaN without a fit. */
double power_law_at(const power_law *law, double x);

#endif
