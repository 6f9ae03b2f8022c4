/* Scores sorted once, so that every bootstrap only recounts: a resample is a count per patient,
 * never a new sort. For core/metrics and the curves of core/report. */
#ifndef RZ_METRICS_RANK_H
#define RZ_METRICS_RANK_H

#include "base/rng.h"
#include "metrics/metrics.h"

typedef struct rz_ranked {
    double score;
    uint32_t row;    /* in the caller's arrays */
    uint8_t label;   /* 0 or 1 */
    uint8_t tie_end; /* the next score is lower, or there is none */
} rz_ranked;

/* Rows in falling order of their score; new (free() it), NULL when memory is exhausted. */
rz_ranked *rz_rank(const double *score, const uint8_t *label, size_t n);

/* AUROC and average precision where the patient of `row` counts count[row] times (NULL: once).
 * NaN where they do not exist. */
void rz_rank_figures(const rz_ranked *ranked, size_t n, const uint32_t *count, double *auroc,
                     double *average_precision);

/* Draws patients with replacement, as many as there are: count[i] says how often that of row i was
 * drawn, with all its rows. The draw depends only on seed and number.
 *   patient  [n] of each row: 0, 1, … , the rows of one side by side; NULL: each row is another's
 */
void rz_resample(uint64_t seed, uint64_t number, const uint32_t *patient, size_t n,
                 uint32_t *count);

/* The percentile q (0 … 1) of the finite values, which are sorted in place; NaN where fewer than
 * half of them are finite, because those that exist would then be a selection. */
double rz_percentile(double *values, size_t n, double q);
/* Those at 2.5 and 97.5 %, likewise. */
void rz_percentiles(double *values, size_t n, double *low, double *high);

#endif
