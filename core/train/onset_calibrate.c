/* Empirical Bayes over codes: most have too few positives for a map of their own, together they
 * have many. Code c has logit p = center + a + s x with x = z - center, and (a, s) is drawn from
 * its kind's normal distribution, intercept and slope apart. Means and deviations of the kind are
 * found by expectation-maximisation, a code's posterior is taken as normal around its mode. Source:
 * Efron and Morris 1973 for the idea; Laplace's approximation for the posterior. */
#include "train/onset_calibrate.h"

#include "base/portable_math.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>

enum { ROUNDS_MAX = 200, NEWTON_MAX = 50 };

static const double BIN_FIRST = -24.0, BIN_WIDTH = 1.0 / 32;
static const double VARIANCE_MIN = 1e-4; /* of a kind: codes are never quite alike */
static const double SLOPE_MIN = 0.05;    /* below it, scores would turn round */

rz_status rz_onset_scores_init(rz_onset_scores *s, size_t n_codes, rz_error *error)
{
    size_t n;
    *s = (rz_onset_scores){.n_codes = n_codes};
    if (rz_size_mul(n_codes + 1, RZ_ONSET_BINS, &n)) {
        s->n = calloc(n, sizeof *s->n);
        s->positives = calloc(n, sizeof *s->positives);
    }
    if (s->n != NULL && s->positives != NULL)
        return RZ_OK;
    rz_onset_scores_done(s);
    return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the scores of %zu codes", n_codes);
}

void rz_onset_scores_done(rz_onset_scores *s)
{
    free(s->n);
    free(s->positives);
    *s = (rz_onset_scores){0};
}

void rz_onset_scores_add(rz_onset_scores *s, size_t code, double logit, bool positive)
{
    double place = floor((logit - BIN_FIRST) / BIN_WIDTH);
    size_t bin = place < 0.0 ? 0 : place >= RZ_ONSET_BINS - 1 ? RZ_ONSET_BINS - 1 : (size_t)place;
    s->n[code * RZ_ONSET_BINS + bin]++;
    s->positives[code * RZ_ONSET_BINS + bin] += positive;
}

static double bin_logit(size_t bin)
{
    return BIN_FIRST + BIN_WIDTH * ((double)bin + 0.5);
}

double rz_onset_auroc(const rz_onset_scores *s, size_t code)
{
    const uint32_t *n = s->n + code * RZ_ONSET_BINS,
                   *positives = s->positives + code * RZ_ONSET_BINS;
    double below = 0.0, pairs = 0.0, positive = 0.0;
    for (size_t b = 0; b < RZ_ONSET_BINS; b++) {
        double negatives = (double)(n[b] - positives[b]);
        pairs += (double)positives[b] * (below + 0.5 * negatives);
        positive += (double)positives[b];
        below += negatives;
    }
    return pairs / (positive * below);
}

typedef struct kind { /* whose codes share a distribution */
    double intercept, slope, intercept_variance, slope_variance;
    size_t first, end; /* codes */
} kind;

/* Sums over a code's bins at its (intercept, slope): gradient and information of the likelihood. */
typedef struct moments {
    double g0, g1, h00, h01, h11;
} moments;

static moments moments_of(const rz_onset_scores *s, size_t code, const rz_onset_code *c)
{
    const uint32_t *n = s->n + code * RZ_ONSET_BINS,
                   *positives = s->positives + code * RZ_ONSET_BINS;
    moments m = {0};
    for (size_t b = 0; b < RZ_ONSET_BINS; b++) {
        if (n[b] == 0)
            continue;
        double x = bin_logit(b) - c->center;
        double p = rz_sigmoid(c->center + c->intercept + c->slope * x);
        double error = (double)positives[b] - (double)n[b] * p,
               weight = (double)n[b] * p * (1.0 - p);
        m.g0 += error;
        m.g1 += error * x;
        m.h00 += weight;
        m.h01 += weight * x;
        m.h11 += weight * x * x;
    }
    return m;
}

/* The posterior's mode by Newton's method (it is concave; steps are bounded, as far from the mode a
 * logistic curve is flat) and its covariance, the inverse of the information there. */
static void fit_code(const rz_onset_scores *s, size_t code, const kind *k, rz_onset_code *c)
{
    double a = 1.0 / k->intercept_variance, b = 1.0 / k->slope_variance;
    moments m = {0};
    double determinant = 1.0;
    for (int i = 0; i < NEWTON_MAX; i++) {
        m = moments_of(s, code, c);
        m.g0 -= a * (c->intercept - k->intercept);
        m.g1 -= b * (c->slope - k->slope);
        m.h00 += a;
        m.h11 += b;
        determinant = m.h00 * m.h11 - m.h01 * m.h01;
        double da = (m.h11 * m.g0 - m.h01 * m.g1) / determinant;
        double ds = (m.h00 * m.g1 - m.h01 * m.g0) / determinant;
        if (c->slope + ds < SLOPE_MIN) { /* at the bound the intercept moves alone */
            ds = SLOPE_MIN - c->slope;
            da = (m.g0 - m.h01 * ds) / m.h00;
        }
        c->intercept += fmin(fmax(da, -1.0), 1.0);
        c->slope += fmin(fmax(ds, -0.25), 0.25);
        if (fabs(da) + fabs(ds) < 1e-9)
            break;
    }
    c->intercept_variance = m.h11 / determinant;
    c->covariance = -m.h01 / determinant;
    c->slope_variance = m.h00 / determinant;
}

static void center(const rz_onset_scores *s, size_t code, rz_onset_code *c)
{
    double sum = 0.0, n = 0.0, positives = 0.0;
    for (size_t b = 0; b < RZ_ONSET_BINS; b++) {
        n += (double)s->n[code * RZ_ONSET_BINS + b];
        positives += (double)s->positives[code * RZ_ONSET_BINS + b];
        sum += (double)s->n[code * RZ_ONSET_BINS + b] * bin_logit(b);
    }
    /* Nobody is at risk: any center does, as the kind's map is all there is. */
    c->center = n > 0.0 ? sum / n : 0.0;
    c->tuning_n = (uint32_t)n;
    c->tuning_positives = (uint32_t)positives;
}

/* Expectation (each code's posterior), then maximisation (mean and variance of the kind over them),
 * until nothing moves. */
static void fit_kind(const rz_onset_scores *s, kind *k, rz_onset_code *codes)
{
    double n = (double)(k->end - k->first);
    for (size_t c = k->first; c < k->end; c++) {
        codes[c].intercept = k->intercept;
        codes[c].slope = k->slope;
    }
    for (int round = 0; round < ROUNDS_MAX; round++) {
        kind next = {.first = k->first, .end = k->end};
        for (size_t c = k->first; c < k->end; c++) {
            fit_code(s, c, k, &codes[c]);
            next.intercept += codes[c].intercept / n;
            next.slope += codes[c].slope / n;
        }
        for (size_t c = k->first; c < k->end; c++) {
            double a = codes[c].intercept - next.intercept, b = codes[c].slope - next.slope;
            next.intercept_variance += (a * a + codes[c].intercept_variance) / n;
            next.slope_variance += (b * b + codes[c].slope_variance) / n;
        }
        next.intercept_variance = fmax(next.intercept_variance, VARIANCE_MIN);
        next.slope_variance = fmax(next.slope_variance, VARIANCE_MIN);
        double moved = fabs(next.intercept - k->intercept) + fabs(next.slope - k->slope) +
                       fabs(sqrt(next.intercept_variance) - sqrt(k->intercept_variance)) +
                       fabs(sqrt(next.slope_variance) - sqrt(k->slope_variance));
        *k = next;
        if (moved < 1e-4)
            break;
    }
    for (size_t c = k->first; c < k->end; c++)
        fit_code(s, c, k, &codes[c]);
}

static json_t *kind_json(const kind *k, const char *name, const rz_onset_code *codes)
{
    size_t positives = 0, with5 = 0, with20 = 0;
    for (size_t c = k->first; c < k->end; c++) {
        positives += codes[c].tuning_positives;
        with5 += codes[c].tuning_positives >= 5;
        with20 += codes[c].tuning_positives >= 20;
    }
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:{s:f, s:f}, s:{s:f, s:f}}", "kind", name, "codes",
                     (json_int_t)(k->end - k->first), "tuning_positives", (json_int_t)positives,
                     "codes_with_5_positives", (json_int_t)with5, "codes_with_20_positives",
                     (json_int_t)with20, "intercept", "mean", k->intercept, "deviation",
                     sqrt(k->intercept_variance), "slope", "mean", k->slope, "deviation",
                     sqrt(k->slope_variance));
}

static size_t positives_of(const rz_onset *onset, size_t first, size_t end)
{
    size_t n = 0;
    for (size_t c = first; c < end; c++)
        n += onset->codes[c].tuning_positives;
    return n;
}

rz_status rz_onset_calibrate(const rz_onset_scores *s, size_t n_diagnoses, rz_onset *onset,
                             rz_error *error)
{
    static const kind start = {.slope = 1.0, .intercept_variance = 0.25, .slope_variance = 0.04};
    size_t n = s->n_codes;
    for (size_t c = 0; c < n; c++)
        center(s, c, &onset->codes[c]);
    size_t diagnoses = positives_of(onset, 0, n_diagnoses), all = positives_of(onset, 0, n);
    if (all < RZ_ONSET_POSITIVES_MIN)
        return rz_fail(error, RZ_E_INVALID,
                       "the tuning part has %zu onsets to calibrate on, %d are needed", all,
                       RZ_ONSET_POSITIVES_MIN);
    bool apart = diagnoses >= RZ_ONSET_POSITIVES_MIN && all - diagnoses >= RZ_ONSET_POSITIVES_MIN;
    json_t *kinds = json_array();
    for (size_t first = 0; first < n;) {
        kind k = start;
        k.first = first;
        k.end = apart && first < n_diagnoses ? n_diagnoses : n;
        fit_kind(s, &k, onset->codes);
        const char *name = !apart ? "any" : first < n_diagnoses ? "diagnosis" : "medication";
        (void)json_array_append_new(kinds, kind_json(&k, name, onset->codes));
        first = k.end;
    }
    if (json_array_size(kinds) != (apart ? 2u : 1u)) {
        json_decref(kinds);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the maps of %zu codes", n);
    }
    json_decref(onset->kinds);
    onset->kinds = kinds;
    return RZ_OK;
}
