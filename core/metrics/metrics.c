/* All figures of one score, and their bootstrap. The point estimates and the resamples run through
 * the same function with different counts, so that they cannot mean different things. */
#include "metrics/metrics.h"

#include "base/portable_math.h"
#include "base/size.h"
#include "metrics/bootstrap.h"
#include "metrics/logistic.h"
#include "metrics/rank.h"

#include <math.h>
#include <stdlib.h>

enum { AUROC, PRECISION, BRIER, ECE, SLOPE, INTERCEPT, RATIO, FIGURES };

/* Probabilities of 0 and 1 have no logit; for slope and intercept they count as this close. */
static const double NEAREST = 1e-12;

typedef struct sample {
    const double *probability;
    const uint8_t *label;
    double *logit;     /* owned */
    rz_ranked *ranked; /* owned */
    size_t n;
    double fitted[2], shift; /* of the whole sample, where resamples start from */
} sample;

static size_t width_bin(double probability)
{
    size_t bin = (size_t)(probability * RZ_METRICS_BINS);
    return bin < RZ_METRICS_BINS ? bin : RZ_METRICS_BINS - 1; /* the last one is closed */
}

/* Brier, ECE and O:E in one walk. */
static void walk_figures(const sample *s, const uint32_t *count, double out[FIGURES])
{
    double predicted[RZ_METRICS_BINS] = {0}, observed[RZ_METRICS_BINS] = {0};
    double brier = 0.0, total = 0.0, expected = 0.0, positives = 0.0, gap = 0.0;
    for (size_t i = 0; i < s->n; i++) {
        double c = count != NULL ? (double)count[i] : 1.0, p = s->probability[i];
        double y = s->label[i] != 0 ? 1.0 : 0.0;
        size_t bin = width_bin(p);
        brier += c * (p - y) * (p - y);
        predicted[bin] += c * p;
        observed[bin] += c * y;
        total += c;
    }
    for (size_t b = 0; b < RZ_METRICS_BINS; b++) {
        gap += fabs(predicted[b] - observed[b]);
        expected += predicted[b];
        positives += observed[b];
    }
    out[BRIER] = total > 0.0 ? brier / total : NAN;
    out[ECE] = total > 0.0 ? gap / total : NAN;
    out[RATIO] = expected > 0.0 ? positives / expected : NAN;
}

static bool both_classes(const sample *s, const uint32_t *count)
{
    bool seen[2] = {false, false};
    for (size_t i = 0; i < s->n && !(seen[0] && seen[1]); i++)
        if (count == NULL || count[i] > 0)
            seen[s->label[i] != 0 ? 1 : 0] = true;
    return seen[0] && seen[1];
}

static void figures_of(void *whole, const uint32_t *count, double *out)
{
    const sample *s = whole;
    double beta[2] = {s->fitted[0], s->fitted[1]}, shift = s->shift;
    rz_rank_figures(s->ranked, s->n, count, &out[AUROC], &out[PRECISION]);
    walk_figures(s, count, out);
    out[SLOPE] = out[INTERCEPT] = NAN;
    if (!both_classes(s, count))
        return;
    rz_logistic_problem slope = {
        .x = s->logit, .label = s->label, .count = count, .n = s->n, .d = 1};
    /* Calibration in the large: the intercept where the slope is held at 1. */
    rz_logistic_problem large = {
        .offset = s->logit, .label = s->label, .count = count, .n = s->n, .d = 0};
    /* At AUROC 0 or 1 the classes are separated and no slope exists. */
    if (out[AUROC] > 0.0 && out[AUROC] < 1.0 && rz_logistic_solve(&slope, beta))
        out[SLOPE] = beta[1];
    if (rz_logistic_solve(&large, &shift))
        out[INTERCEPT] = shift;
}

/* The whole sample's fit is the start of the resamples' fits; zero where it does not exist. */
static void start_fits(sample *s)
{
    if (!both_classes(s, NULL))
        return;
    double beta[2] = {0.0, 0.0}, shift = 0.0;
    rz_logistic_problem slope = {.x = s->logit, .label = s->label, .n = s->n, .d = 1};
    rz_logistic_problem large = {.offset = s->logit, .label = s->label, .n = s->n, .d = 0};
    if (rz_logistic_solve(&slope, beta)) {
        s->fitted[0] = beta[0];
        s->fitted[1] = beta[1];
    }
    if (rz_logistic_solve(&large, &shift))
        s->shift = shift;
}

static rz_status sample_new(const double *probability, const uint8_t *label, size_t n, sample *out,
                            rz_error *error)
{
    size_t bytes;
    for (size_t i = 0; i < n; i++)
        if (!(probability[i] >= 0.0 && probability[i] <= 1.0))
            return rz_fail(error, RZ_E_RANGE, "row %zu of %zu: %g is no probability", i, n,
                           probability[i]);
    sample s = {.probability = probability, .label = label, .n = n};
    if (rz_size_mul(n > 0 ? n : 1, sizeof *s.logit, &bytes))
        s.logit = malloc(bytes);
    s.ranked = rz_rank(probability, label, n);
    if (s.logit == NULL || s.ranked == NULL) {
        free(s.logit);
        free(s.ranked);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the figures of %zu rows", n);
    }
    for (size_t i = 0; i < n; i++)
        s.logit[i] = rz_logit(fmin(fmax(probability[i], NEAREST), 1.0 - NEAREST));
    start_fits(&s);
    *out = s;
    return RZ_OK;
}

/* Tenths of the rows by score; equal scores stay together, so that there may be fewer. */
static void deciles_of(const sample *s, rz_metrics *out)
{
    size_t end = s->n, bins = 0; /* ranked falls: the lowest tenth is at its end */
    for (size_t tenth = 1; tenth <= RZ_METRICS_BINS && end > 0; tenth++) {
        size_t begin = s->n - s->n * tenth / RZ_METRICS_BINS;
        while (begin > 0 && s->ranked[begin - 1].tie_end == 0)
            begin--;
        if (begin >= end)
            continue;
        rz_calibration_bin bin = {
            .low = s->ranked[end - 1].score, .high = s->ranked[begin].score, .n = end - begin};
        for (size_t i = begin; i < end; i++) {
            bin.mean_predicted += s->ranked[i].score;
            bin.positives += s->ranked[i].label;
        }
        bin.mean_predicted /= (double)bin.n;
        bin.observed = (double)bin.positives / (double)bin.n;
        out->deciles[bins++] = bin;
        end = begin;
    }
    out->n_deciles = bins;
}

static const char *reason_for(const rz_metrics *m)
{
    if (m->n == 0)
        return "no patient";
    if (m->positives == 0)
        return "no positive patient";
    if (m->positives == m->n)
        return "no negative patient";
    if (isnan(m->calibration_slope.value))
        return "the scores are all the same or separate the classes: no calibration slope";
    return NULL;
}

rz_status rz_metrics_compute(const double *probability, const uint8_t *label,
                             const uint32_t *patient, size_t n, unsigned n_bootstraps,
                             uint64_t seed, rz_metrics *out, rz_error *error)
{
    sample s = {0};
    rz_metrics m = {.n = n};
    rz_status status = sample_new(probability, label, n, &s, error);
    if (status != RZ_OK)
        return status;
    rz_interval *const target[FIGURES] = {[AUROC] = &m.auroc,
                                          [PRECISION] = &m.average_precision,
                                          [BRIER] = &m.brier,
                                          [ECE] = &m.ece,
                                          [SLOPE] = &m.calibration_slope,
                                          [INTERCEPT] = &m.calibration_intercept,
                                          [RATIO] = &m.observed_to_expected};
    for (size_t i = 0; i < n; i++)
        m.positives += label[i] != 0;
    const rz_bootstrap figures = {.n = n,
                                  .patient = patient,
                                  .figures = figures_of,
                                  .sample = &s,
                                  .target = target,
                                  .n_figures = FIGURES};
    status = rz_bootstrap_intervals(&figures, n_bootstraps, seed, error);
    if (status == RZ_OK) {
        deciles_of(&s, &m);
        m.reason = reason_for(&m);
        *out = m;
    }
    free(s.logit);
    free(s.ranked);
    return status;
}

/* Two scores of the same rows. */
typedef struct pair {
    rz_ranked *first, *second; /* owned */
    size_t n;
} pair;

enum { AUROC_DIFFERENCE, PRECISION_DIFFERENCE, DIFFERENCES };

static void differences_of(void *both, const uint32_t *count, double *out)
{
    const pair *p = both;
    double first[DIFFERENCES], second[DIFFERENCES];
    rz_rank_figures(p->first, p->n, count, &first[0], &first[1]);
    rz_rank_figures(p->second, p->n, count, &second[0], &second[1]);
    out[AUROC_DIFFERENCE] = first[0] - second[0];
    out[PRECISION_DIFFERENCE] = first[1] - second[1];
}

rz_status rz_metrics_compare(const double *a, const double *b, const uint8_t *label,
                             const uint32_t *patient, size_t n, unsigned n_bootstraps,
                             uint64_t seed, rz_interval *auroc, rz_interval *average_precision,
                             rz_error *error)
{
    rz_interval *const target[DIFFERENCES] = {
        [AUROC_DIFFERENCE] = auroc, [PRECISION_DIFFERENCE] = average_precision};
    for (size_t i = 0; i < n; i++)
        if (isnan(a[i]) || isnan(b[i]))
            return rz_fail(error, RZ_E_RANGE, "row %zu of %zu: a score is not a number", i, n);
    pair p = {.first = rz_rank(a, label, n), .second = rz_rank(b, label, n), .n = n};
    const rz_bootstrap differences = {.n = n,
                                      .patient = patient,
                                      .figures = differences_of,
                                      .sample = &p,
                                      .target = target,
                                      .n_figures = DIFFERENCES};
    rz_status status = p.first != NULL && p.second != NULL
                           ? rz_bootstrap_intervals(&differences, n_bootstraps, seed, error)
                           : rz_fail(error, RZ_E_NO_MEMORY, "no memory to compare %zu scores", n);
    free(p.first);
    free(p.second);
    return status;
}
