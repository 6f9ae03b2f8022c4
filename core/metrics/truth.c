/* The ratio of means and the line of logits, of all rows and of resamples alike. */
#include "metrics/truth.h"

#include "base/portable_math.h"
#include "base/size.h"
#include "metrics/bootstrap.h"
#include "metrics/logistic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RATIO, SLOPE, INTERCEPT, MEAN_SLOPE, FIGURES };

static const double NEAREST = 1e-4, VARIED = 1e-12;

typedef struct rows {
    const double *predicted, *truth;
    double *block;  /* owned; the next three lie in it */
    double *x, *y;  /* [2n], [n] logits of both; x twice */
    double *weight; /* [2n] the true risk, and its rest */
    uint8_t *label; /* [2n] owned: with the outcome and without it, a fractional outcome's halves */
    uint32_t *count;  /* [2n] owned: a resample's counts, twice */
    double fitted[2]; /* of the whole sample, where fits of resamples start from */
    size_t n;
} rows;

static double logit_of(double risk)
{
    return rz_logit(fmin(fmax(risk, NEAREST), 1.0 - NEAREST));
}

static double times(const uint32_t *count, size_t i)
{
    return count != NULL ? (double)count[i] : 1.0;
}

/* NaN where the predictions are all the same or every true risk is 0 or 1 on one side. */
static double mean_slope(const rows *r, const uint32_t *count, double beta[2])
{
    const rz_logistic_problem problem = {
        .x = r->x, .label = r->label, .weight = r->weight, .count = count, .n = 2 * r->n, .d = 1};
    return rz_logistic_solve(&problem, beta) ? beta[1] : NAN;
}

static void figures_of(void *all, const uint32_t *count, double *out)
{
    rows *r = all;
    double beta[2] = {r->fitted[0], r->fitted[1]};
    double predicted = 0.0, truth = 0.0, total = 0.0, mean_x = 0.0, mean_y = 0.0;
    double xx = 0.0, xy = 0.0;
    for (size_t i = 0; i < r->n; i++) {
        double c = times(count, i);
        predicted += c * r->predicted[i];
        truth += c * r->truth[i];
        mean_x += c * r->x[i];
        mean_y += c * r->y[i];
        total += c;
    }
    mean_x /= total;
    mean_y /= total;
    for (size_t i = 0; i < r->n; i++) {
        double c = times(count, i), x = r->x[i] - mean_x;
        xx += c * x * x;
        xy += c * x * (r->y[i] - mean_y);
    }
    bool varied = xx > VARIED;
    out[RATIO] = truth > 0.0 ? predicted / truth : NAN;
    out[SLOPE] = varied ? xy / xx : NAN;
    out[INTERCEPT] = varied ? mean_y - out[SLOPE] * mean_x : NAN;
    bool mixed = truth > 0.0 && truth < total;
    if (count != NULL) {
        memcpy(r->count, count, r->n * sizeof *count);
        memcpy(r->count + r->n, count, r->n * sizeof *count);
    }
    out[MEAN_SLOPE] = varied && mixed ? mean_slope(r, count != NULL ? r->count : NULL, beta) : NAN;
}

static void rows_done(rows *r)
{
    free(r->block);
    free(r->label);
    free(r->count);
}

static rz_status rows_new(const double *predicted, const double *truth, size_t n, rows *out,
                          rz_error *error)
{
    rows r = {.predicted = predicted, .truth = truth, .n = n};
    size_t bytes;
    for (size_t i = 0; i < n; i++)
        if (!(predicted[i] >= 0.0 && predicted[i] <= 1.0 && truth[i] >= 0.0 && truth[i] <= 1.0))
            return rz_fail(error, RZ_E_RANGE, "row %zu of %zu: %g or %g is no probability", i, n,
                           predicted[i], truth[i]);
    if (rz_size_mul(n, 5 * sizeof *r.block, &bytes)) {
        r.block = malloc(bytes);
        r.label = malloc(2 * n);
        r.count = malloc(2 * n * sizeof *r.count);
    }
    if (r.block == NULL || r.label == NULL || r.count == NULL) {
        rows_done(&r);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu true risks", n);
    }
    r.x = r.block;
    r.y = r.block + 2 * n;
    r.weight = r.block + 3 * n;
    for (size_t i = 0; i < n; i++) {
        r.x[i] = r.x[n + i] = logit_of(predicted[i]);
        r.y[i] = logit_of(truth[i]);
        r.weight[i] = truth[i];
        r.weight[n + i] = 1.0 - truth[i];
        r.label[i] = 1;
        r.label[n + i] = 0;
    }
    *out = r;
    return RZ_OK;
}

rz_status rz_truth_compute(const double *predicted, const double *truth, const uint32_t *patient,
                           size_t n, unsigned n_bootstraps, uint64_t seed, rz_truth *out,
                           rz_error *error)
{
    const rz_interval none = {NAN, NAN, NAN};
    rz_truth t = {.n = n,
                  .mean_predicted = NAN,
                  .mean_true = NAN,
                  .ratio = none,
                  .slope = none,
                  .intercept = none,
                  .mean_slope = none};
    rz_interval *const target[FIGURES] = {[RATIO] = &t.ratio,
                                          [SLOPE] = &t.slope,
                                          [INTERCEPT] = &t.intercept,
                                          [MEAN_SLOPE] = &t.mean_slope};
    double sum_predicted = 0.0, sum_true = 0.0;
    rows r;
    if (n == 0) {
        *out = t;
        return RZ_OK;
    }
    rz_status status = rows_new(predicted, truth, n, &r, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < n; i++) {
        sum_predicted += predicted[i];
        sum_true += truth[i];
    }
    t.mean_predicted = sum_predicted / (double)n;
    t.mean_true = sum_true / (double)n;
    if (sum_true > 0.0 && sum_true < (double)n && isnan(mean_slope(&r, NULL, r.fitted)))
        r.fitted[0] = r.fitted[1] = 0.0;
    const rz_bootstrap figures = {.n = n,
                                  .patient = patient,
                                  .figures = figures_of,
                                  .sample = &r,
                                  .target = target,
                                  .n_figures = FIGURES};
    status = rz_bootstrap_intervals(&figures, n_bootstraps, seed, error);
    rows_done(&r);
    if (status == RZ_OK)
        *out = t;
    return status;
}

bool rz_truth_ratio_met(const rz_truth *t)
{
    return t->ratio.value >= RZ_TRUTH_RATIO_FROM && t->ratio.value <= RZ_TRUTH_RATIO_TO;
}

bool rz_truth_slope_met(const rz_truth *t)
{
    return t->slope.value >= RZ_TRUTH_SLOPE_FROM && t->slope.value <= RZ_TRUTH_SLOPE_TO;
}
