/* Each row is looked at once for how many thresholds it reaches; a resample then only counts. */
#include "metrics/decision.h"

#include "metrics/bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL, REFERENCE, SCORES };
enum { BENEFIT, REFERENCE_BENEFIT, OVER_DEFAULT, OVER_REFERENCE, FIGURES };
enum { PLACES = RZ_DECISION_POINTS_MAX + 1 };

typedef struct reach {
    rz_decision *decision;
    uint8_t *thresholds[SCORES]; /* [n] owned: how many of them the score is at or above */
    const uint8_t *label;
    const uint32_t *patient; /* may be NULL */
    size_t n;
} reach;

/* Treated at each threshold, with and without the outcome. */
typedef struct treated {
    double positive[SCORES][PLACES], negative[SCORES][PLACES];
    double positives, total;
} treated;

static void count_treated(const reach *r, const uint32_t *count, treated *out)
{
    *out = (treated){.total = 0.0};
    for (size_t i = 0; i < r->n; i++) {
        double c = count != NULL ? (double)count[i] : 1.0;
        out->total += c;
        out->positives += r->label[i] != 0 ? c : 0.0;
        for (int s = 0; s < SCORES; s++)
            (r->label[i] != 0 ? out->positive : out->negative)[s][r->thresholds[s][i]] += c;
    }
    /* Who reaches k thresholds reaches all before: place k becomes "above threshold k - 1". */
    for (int s = 0; s < SCORES; s++)
        for (size_t k = PLACES - 1; k-- > 0;) {
            out->positive[s][k] += out->positive[s][k + 1];
            out->negative[s][k] += out->negative[s][k + 1];
        }
}

static double benefit(double true_positives, double false_positives, double n, double threshold)
{
    return (true_positives - false_positives * threshold / (1.0 - threshold)) / n;
}

static double treat_all(const treated *t, double threshold)
{
    return benefit(t->positives, t->total - t->positives, t->total, threshold);
}

/* The figures of point k, whose threshold is reached from place k + 1 on. */
static void figures_at(const treated *t, size_t k, double threshold, double out[FIGURES])
{
    for (int s = 0; s < SCORES; s++)
        out[s] = benefit(t->positive[s][k + 1], t->negative[s][k + 1], t->total, threshold);
    out[OVER_DEFAULT] = out[BENEFIT] - fmax(treat_all(t, threshold), 0.0);
    out[OVER_REFERENCE] = out[BENEFIT] - out[REFERENCE_BENEFIT];
}

static void place_thresholds(rz_decision *d)
{
    for (size_t k = 0; k < RZ_DECISION_POINTS_MAX; k++) {
        double times = RZ_DECISION_FROM + RZ_DECISION_STEP * (double)k;
        double threshold = times * d->prevalence;
        if (threshold > RZ_DECISION_THRESHOLD_MAX)
            break;
        d->point[d->n_points++] =
            (rz_decision_point){.threshold = threshold, .times_prevalence = times};
    }
}

static uint8_t reached(const rz_decision *d, double score)
{
    size_t low = 0, high = d->n_points;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (score >= d->point[middle].threshold)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint8_t)low;
}

static rz_interval *target(rz_decision_point *p, int figure)
{
    rz_interval *const all[FIGURES] = {[BENEFIT] = &p->model,
                                       [REFERENCE_BENEFIT] = &p->reference,
                                       [OVER_DEFAULT] = &p->over_default,
                                       [OVER_REFERENCE] = &p->over_reference};
    return all[figure];
}

static void figures_of(void *patients, const uint32_t *count, double *out)
{
    const reach *r = patients;
    const rz_decision *d = r->decision;
    treated t;
    count_treated(r, count, &t);
    for (size_t k = 0; k < d->n_points; k++)
        figures_at(&t, k, d->point[k].threshold, out + k * FIGURES);
}

static rz_status points_of(reach *r, unsigned n_bootstraps, uint64_t seed, rz_error *error)
{
    rz_decision *d = r->decision;
    rz_interval *all[RZ_DECISION_POINTS_MAX * FIGURES];
    const rz_bootstrap curve = {.n = r->n,
                                .patient = r->patient,
                                .figures = figures_of,
                                .sample = r,
                                .target = all,
                                .n_figures = d->n_points * FIGURES};
    treated t;
    count_treated(r, NULL, &t);
    for (size_t k = 0; k < d->n_points; k++) {
        rz_decision_point *p = &d->point[k];
        p->treat_all = treat_all(&t, p->threshold);
        p->true_positives = (size_t)t.positive[MODEL][k + 1];
        p->treated = p->true_positives + (size_t)t.negative[MODEL][k + 1];
        for (int f = 0; f < FIGURES; f++)
            all[k * FIGURES + (size_t)f] = target(p, f);
    }
    return rz_bootstrap_intervals(&curve, n_bootstraps, seed, error);
}

rz_status rz_decision_compute(const double *model, const double *reference, const uint8_t *label,
                              const uint32_t *patient, size_t n, unsigned n_bootstraps,
                              uint64_t seed, rz_decision *out, rz_error *error)
{
    const double *const score[SCORES] = {model, reference};
    rz_decision d = {.n = n, .prevalence = NAN};
    reach r = {.decision = &d, .label = label, .patient = patient, .n = n};
    rz_status status = RZ_OK;
    for (size_t i = 0; i < n; i++) {
        for (int s = 0; s < SCORES; s++)
            if (!(score[s][i] >= 0.0 && score[s][i] <= 1.0))
                return rz_fail(error, RZ_E_RANGE, "row %zu of %zu: %g is no probability", i, n,
                               score[s][i]);
        d.positives += label[i] != 0;
    }
    if (d.positives == 0 || d.positives == n) {
        d.reason = n == 0             ? "no patient"
                   : d.positives == 0 ? "no positive patient"
                                      : "no negative patient";
        *out = d;
        return RZ_OK;
    }
    d.prevalence = (double)d.positives / (double)n;
    place_thresholds(&d);
    for (int s = 0; s < SCORES; s++) {
        r.thresholds[s] = malloc(n);
        if (r.thresholds[s] == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for a decision curve of %zu", n);
        for (size_t i = 0; status == RZ_OK && i < n; i++)
            r.thresholds[s][i] = reached(&d, score[s][i]);
    }
    if (status == RZ_OK)
        status = points_of(&r, n_bootstraps, seed, error);
    for (int s = 0; s < SCORES; s++)
        free(r.thresholds[s]);
    if (status == RZ_OK)
        *out = d;
    return status;
}
