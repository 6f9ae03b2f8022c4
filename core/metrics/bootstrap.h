/* The bootstrap over patients: figures of a sample and how far they move when its patients are
 * drawn again with replacement. One function makes the figures of the sample and of every
 * resample, so that the two cannot mean different things. For core/metrics. */
#ifndef RZ_METRICS_BOOTSTRAP_H
#define RZ_METRICS_BOOTSTRAP_H

#include "metrics/metrics.h"

typedef struct rz_bootstrap {
    size_t n;                /* rows */
    const uint32_t *patient; /* [n] of each row, as rz_resample has it; may be NULL */
    /* Writes figures [n_figures] of the rows, each counted count[i] times (NULL: once); NaN
     * for what does not exist. May use room of its own in the sample. */
    void (*figures)(void *sample, const uint32_t *count, double *figures);
    void *sample;
    rz_interval *const *target; /* [n_figures] */
    size_t n_figures;
} rz_bootstrap;

/* Writes all targets: value, and the percentiles at 2.5 and 97.5 % of n_bootstraps resamples, which
 * depend only on the seed; these are NaN where the value is, and for 0 rows or resamples.
 * Errors  RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_bootstrap_intervals(const rz_bootstrap *b, unsigned n_bootstraps,
                                               uint64_t seed, rz_error *error);

#endif
