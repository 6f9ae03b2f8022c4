/* Fits Platt and isotonic maps. Rows are put into groups of equal or neighbouring logits, each with
 * the mass of its positives and negatives; resampling only changes these masses. */
#include "train/calibrate.h"

#include "base/portable_math.h"
#include "base/size.h"
#include "claims/day.h"
#include "metrics/rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS_MAX = 1024, DRAWS_MAX = 100 };

typedef struct row {
    double x;    /* corrected logit */
    uint32_t at; /* place in what was given */
    uint8_t label, counted;
} row;

typedef struct groups {
    size_t n;
    double *x, *positive, *negative; /* [n] */
    double *rows_x, *rows_weight;    /* [2 n] of the regression: label 1, then label 0 */
    uint8_t *rows_label;
} groups;

typedef struct map { /* Platt when n_knots is 0 */
    double intercept, slope;
    size_t n_knots;
    double knot_x[RZ_ISOTONIC_MAX], knot_y[RZ_ISOTONIC_MAX];
} map;

static int by_x(const void *a, const void *b)
{
    double x = ((const row *)a)->x, y = ((const row *)b)->x;
    return (x > y) - (x < y);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void groups_done(groups *g)
{
    free(g->x);
    free(g->rows_x);
    free(g->rows_label);
}

static rz_status groups_init(groups *g, size_t n, rz_error *error)
{
    *g = (groups){.n = n};
    g->x = calloc(3 * n, sizeof *g->x);
    g->rows_x = calloc(4 * n, sizeof *g->rows_x);
    g->rows_label = calloc(2 * n, sizeof *g->rows_label);
    if (g->x == NULL || g->rows_x == NULL || g->rows_label == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to calibrate %zu groups", n);
    g->positive = g->x + n;
    g->negative = g->x + 2 * n;
    g->rows_weight = g->rows_x + 2 * n;
    return RZ_OK;
}

/* The group of sorted row i among n: every row its own up to GROUPS_MAX, else equal shares. */
static size_t group_of(const groups *g, size_t i, size_t n)
{
    return g->n == n ? i : (size_t)((double)i * (double)g->n / (double)n);
}

/* The labels softened by the mass e = min(m+/(n+ + 2), m-/(n- + 2)) on either side: with weights
 * of 1 this is Platt's smoothing, and the mean never moves.
 * Source  Platt 1999, section 2.2. */
static rz_status fit_platt(groups *g, double n_positive, double n_negative, map *out,
                           rz_error *error)
{
    double mass1 = 0.0, mass0 = 0.0, mean = 0.0, spread = 0.0;
    for (size_t i = 0; i < g->n; i++) {
        mass1 += g->positive[i];
        mass0 += g->negative[i];
        mean += (g->positive[i] + g->negative[i]) * g->x[i];
    }
    /* Fitted on standardised logits: a weak model's lie so close together that Newton's steps
     * would lose them in rounding. */
    mean /= mass1 + mass0;
    for (size_t i = 0; i < g->n; i++)
        spread += (g->positive[i] + g->negative[i]) * (g->x[i] - mean) * (g->x[i] - mean);
    spread = sqrt(spread / (mass1 + mass0));
    if (!(spread > 0.0))
        return rz_fail(error, RZ_E_RANGE, "a resample has one score only");
    double soft = fmin(mass1 / (n_positive + 2.0), mass0 / (n_negative + 2.0));
    double share1 = soft / mass1, share0 = soft / mass0;
    for (size_t i = 0; i < g->n; i++) {
        double up = g->positive[i] * (1.0 - share1) + g->negative[i] * share0;
        g->rows_x[2 * i] = g->rows_x[2 * i + 1] = (g->x[i] - mean) / spread;
        g->rows_label[2 * i] = 1;
        g->rows_weight[2 * i] = up;
        g->rows_weight[2 * i + 1] = g->positive[i] + g->negative[i] - up;
    }
    *out = (map){0};
    rz_status status = rz_logistic_fit(g->rows_x, g->rows_label, g->rows_weight, 2 * g->n,
                                       &out->intercept, &out->slope, error);
    out->slope /= spread;
    out->intercept -= out->slope * mean;
    if (status != RZ_OK || out->slope >= RZ_CALIBRATION_SLOPE_MIN)
        return status;
    /* The mean of the map grows with the intercept: halve until it meets the mean of the labels. */
    out->slope = RZ_CALIBRATION_SLOPE_MIN;
    double low = -100.0, high = 100.0;
    for (int step = 0; step < 80; step++) {
        double middle = 0.5 * (low + high), sum = 0.0;
        for (size_t i = 0; i < g->n; i++)
            sum += (g->positive[i] + g->negative[i]) * rz_sigmoid(middle + out->slope * g->x[i]);
        if (sum < mass1)
            low = middle;
        else
            high = middle;
    }
    out->intercept = 0.5 * (low + high);
    return RZ_OK;
}

/* Pool adjacent violators over at most RZ_ISOTONIC_MAX neighbourhoods; a knot at the mean of each
 * block. Shares stay half a patient away from 0 and 1. */
static void fit_isotonic(const groups *g, double n, map *out)
{
    double x[RZ_ISOTONIC_MAX] = {0}, up[RZ_ISOTONIC_MAX] = {0}, mass[RZ_ISOTONIC_MAX] = {0};
    size_t blocks = 0, n_parts = g->n < RZ_ISOTONIC_MAX ? g->n : RZ_ISOTONIC_MAX, at = 0;
    for (size_t part = 0; part < n_parts; part++) {
        double sum_x = 0.0, sum_up = 0.0, sum = 0.0;
        for (size_t end = (part + 1) * g->n / n_parts; at < end; at++) {
            double here = g->positive[at] + g->negative[at];
            sum_x += here * g->x[at];
            sum_up += g->positive[at];
            sum += here;
        }
        if (!(sum > 0.0))
            continue;
        x[blocks] = sum_x;
        up[blocks] = sum_up;
        mass[blocks++] = sum;
        while (blocks > 1 &&
               up[blocks - 2] * mass[blocks - 1] >= up[blocks - 1] * mass[blocks - 2]) {
            blocks--;
            x[blocks - 1] += x[blocks];
            up[blocks - 1] += up[blocks];
            mass[blocks - 1] += mass[blocks];
        }
    }
    double edge = 0.5 / n;
    out->n_knots = 0;
    for (size_t i = 0; i < blocks; i++) {
        double at_x = x[i] / mass[i], y = fmin(fmax(up[i] / mass[i], edge), 1.0 - edge);
        /* Ties of x across two blocks keep the first knot: x must ascend. */
        if (out->n_knots > 0 && !(at_x > out->knot_x[out->n_knots - 1]))
            continue;
        out->knot_x[out->n_knots] = at_x;
        out->knot_y[out->n_knots++] = y;
    }
}

static double map_value(const map *m, double x)
{
    if (m->n_knots == 0)
        return rz_sigmoid(m->intercept + m->slope * x);
    if (x <= m->knot_x[0])
        return m->knot_y[0];
    size_t i = 1;
    while (i < m->n_knots && m->knot_x[i] < x)
        i++;
    if (i == m->n_knots)
        return m->knot_y[i - 1];
    double share = (x - m->knot_x[i - 1]) / (m->knot_x[i] - m->knot_x[i - 1]);
    return m->knot_y[i - 1] + share * (m->knot_y[i] - m->knot_y[i - 1]);
}

static rz_status fit(groups *g, rz_calibration_method method, double n_positive, double n_negative,
                     map *out, rz_error *error)
{
    if (method == RZ_CALIBRATION_PLATT)
        return fit_platt(g, n_positive, n_negative, out, error);
    fit_isotonic(g, n_positive + n_negative, out);
    return RZ_OK;
}

typedef struct sample {
    const row *rows; /* sorted */
    size_t n;
    const uint32_t *patient; /* [n] of the rows as given; may be NULL */
    uint32_t *count;         /* [n] owned: of the rows as given, in a resample */
    double weight1, weight0; /* of a positive and a negative */
} sample;

/* Draws patients with replacement into the groups; again when a class was missed altogether. */
static rz_status resample(const sample *s, groups *g, uint64_t seed, size_t number,
                          double *n_positive, double *n_negative, rz_error *error)
{
    for (uint64_t draw = 0; draw < DRAWS_MAX; draw++) {
        rz_resample(seed, draw << 32 | number, s->patient, s->n, s->count);
        *n_positive = *n_negative = 0.0;
        memset(g->positive, 0, g->n * sizeof *g->positive);
        memset(g->negative, 0, g->n * sizeof *g->negative);
        for (size_t i = 0; i < s->n; i++) {
            const row *r = &s->rows[i];
            double times = (double)s->count[r->at];
            size_t place = group_of(g, i, s->n);
            *(r->label ? n_positive : n_negative) += times;
            if (r->label)
                g->positive[place] += times * s->weight1;
            else
                g->negative[place] += times * s->weight0;
        }
        if (*n_positive > 0.0 && *n_negative > 0.0)
            return RZ_OK;
    }
    return rz_fail(error, RZ_E_RANGE, "%d resamples had one class only", DRAWS_MAX);
}

/* 2.5 and 97.5 % of the resampled curves at points spread evenly over the logits seen. */
static rz_status fit_band(const sample *s, const rz_calibration_options *o, const map *center,
                          rz_calibration *out, rz_error *error)
{
    size_t b = o->bootstraps;
    double positives = 0.0, negatives = 0.0;
    groups g = {0};
    map m;
    double *values = malloc((b * RZ_BAND_POINTS + 1) * sizeof *values);
    rz_status status =
        values == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu curves", b) : RZ_OK;
    if (status == RZ_OK)
        status = groups_init(&g, s->n < GROUPS_MAX ? s->n : GROUPS_MAX, error);
    for (size_t i = 0; status == RZ_OK && i < s->n; i++) {
        size_t place = group_of(&g, i, s->n);
        g.x[place] += s->rows[i].x;
        g.positive[place] += 1.0; /* for the mean; overwritten by the first resample */
    }
    for (size_t i = 0; status == RZ_OK && i < g.n; i++)
        g.x[i] /= g.positive[i];
    double low = s->rows[0].x, span = s->rows[s->n - 1].x - low;
    for (size_t k = 0; k < RZ_BAND_POINTS; k++)
        out->band_x[k] = low + span * (double)k / (RZ_BAND_POINTS - 1);
    for (size_t i = 0; status == RZ_OK && i < b; i++) {
        status = resample(s, &g, o->seed, i, &positives, &negatives, error);
        if (status == RZ_OK)
            status = fit(&g, o->method, positives, negatives, &m, error);
        for (size_t k = 0; status == RZ_OK && k < RZ_BAND_POINTS; k++)
            values[k * b + i] = map_value(&m, out->band_x[k]);
    }
    out->n_band = status == RZ_OK && b > 0 ? RZ_BAND_POINTS : 0;
    for (size_t k = 0; k < out->n_band; k++) {
        qsort(values + k * b, b, sizeof *values, by_value);
        double here = map_value(center, out->band_x[k]);
        size_t cut = (size_t)(0.025 * (double)(b - 1));
        out->band_low[k] = fmin(values[k * b + cut], here);
        out->band_high[k] = fmax(values[k * b + b - 1 - cut], here);
    }
    groups_done(&g);
    free(values);
    return status;
}

/* Tenths of the counted patients by score; tenths that equal scores would split are joined. */
static void fit_bins(const sample *s, const map *m, rz_calibration *out)
{
    size_t bin = 0, seen = 0, n = out->tuning_n;
    bool due = false; /* a tenth is full; the next one begins with the next higher score */
    double last = 0.0;
    out->bin_edge[0] = 0.0;
    for (size_t i = 0; i < s->n; i++) {
        double p = map_value(m, s->rows[i].x);
        if (!s->rows[i].counted)
            continue;
        due = due || (seen > 0 && seen * RZ_SCORE_BINS / n > (seen - 1) * RZ_SCORE_BINS / n);
        seen++;
        if (due && p > last) {
            out->bin_edge[++bin] = 0.5 * (last + p);
            due = false;
        }
        out->bin_n[bin]++;
        out->bin_positives[bin] += s->rows[i].label;
        out->bin_mean[bin] += p;
        last = p;
    }
    out->n_bins = bin + 1;
    out->n_means = out->n_bins;
    for (size_t i = 0; i < out->n_bins; i++)
        out->bin_mean[i] /= out->bin_n[i];
    out->bin_edge[out->n_bins] = 1.0;
}

static rz_status set_id(rz_calibration *c, rz_error *error)
{
    json_t *json = rz_calibration_to_json(c);
    (void)json_object_del(json, "date");
    (void)json_object_del(json, "id");
    char *text = json == NULL
                     ? NULL
                     : json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(json);
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to name a calibration");
    rz_sha256 hash;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, text, strlen(text));
    rz_sha256_text(&hash, c->id);
    free(text);
    (void)rz_day_text(rz_day_today(), c->date);
    return RZ_OK;
}

static rz_status check(const rz_calibration_rows *rows, const rz_calibration_options *o,
                       size_t *positives, rz_error *error)
{
    const size_t n = rows->n;
    *positives = 0;
    bool differ = false, counted = rows->counted == NULL;
    for (size_t i = 0; i < n; i++) {
        counted = counted || rows->counted[i] != 0;
        if (!isfinite(rows->logit[i]))
            return rz_fail(error, RZ_E_RANGE, "logit %zu of %zu is not finite", i, n);
        differ = differ || rows->logit[i] != rows->logit[0];
        *positives += rows->label[i] != 0;
    }
    size_t negatives = n - *positives;
    if (*positives < RZ_CALIBRATION_CLASS_MIN || negatives < RZ_CALIBRATION_CLASS_MIN)
        return rz_fail(error, RZ_E_INVALID,
                       "%zu positives and %zu negatives to calibrate on; %d of each are needed",
                       *positives, negatives, RZ_CALIBRATION_CLASS_MIN);
    if (o->method == RZ_CALIBRATION_ISOTONIC && *positives < RZ_CALIBRATION_ISOTONIC_MIN)
        return rz_fail(error, RZ_E_INVALID,
                       "%zu positives to calibrate on; isotonic needs %d, platt works with fewer",
                       *positives, RZ_CALIBRATION_ISOTONIC_MIN);
    if (!counted)
        return rz_fail(error, RZ_E_INVALID, "none of the %zu rows stands for its patient", n);
    if (!differ)
        return rz_fail(error, RZ_E_RANGE, "all %zu scores are equal: nothing to calibrate", n);
    if (!(o->training_prior > 0.0 && o->training_prior < 1.0 && o->prevalence > 0.0 &&
          o->prevalence < 1.0) ||
        n > UINT32_MAX)
        return rz_fail(error, RZ_E_RANGE, "a training prior of %g and a prevalence of %g",
                       o->training_prior, o->prevalence);
    return RZ_OK;
}

/* The sample's rows, sorted by corrected logit; *out counts those that stand for their patients. */
static void sort_rows(const rz_calibration_rows *given, double shift, row *rows,
                      rz_calibration *out)
{
    for (size_t i = 0; i < given->n; i++) {
        rows[i] = (row){.x = given->logit[i] + shift,
                        .at = (uint32_t)i,
                        .label = given->label[i] != 0,
                        .counted = given->counted == NULL || given->counted[i] != 0};
        out->tuning_n += rows[i].counted;
        out->tuning_positives += rows[i].counted && rows[i].label;
    }
    qsort(rows, given->n, sizeof *rows, by_x);
}

rz_status rz_calibration_fit(const rz_calibration_rows *given, const rz_calibration_options *o,
                             rz_calibration *out, rz_error *error)
{
    const size_t n = given->n;
    size_t positives = 0;
    rz_status status = check(given, o, &positives, error);
    if (status != RZ_OK)
        return status;
    groups g = {0};
    map m = {0};
    row *rows = malloc(n * sizeof *rows);
    double rate = (double)positives / (double)n;
    sample s = {.rows = rows,
                .n = n,
                .patient = given->patient,
                .count = malloc(n * sizeof *s.count),
                .weight1 = 1.0,
                .weight0 = 1.0};
    if (rows == NULL || s.count == NULL) {
        free(rows);
        free(s.count);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to calibrate %zu rows", n);
    }
    if (o->prevalence_known) {
        s.weight1 = o->prevalence / rate;
        s.weight0 = (1.0 - o->prevalence) / (1.0 - rate);
    }
    rz_calibration c = {.method = o->method,
                        .training_prior = o->training_prior,
                        .prevalence = o->prevalence,
                        .slope = 1.0,
                        .bootstraps = o->bootstraps};
    sort_rows(given, rz_logit(o->prevalence) - rz_logit(o->training_prior), rows, &c);
    status = groups_init(&g, n, error);
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        g.x[i] = rows[i].x;
        g.positive[i] = rows[i].label ? s.weight1 : 0.0;
        g.negative[i] = rows[i].label ? 0.0 : s.weight0;
    }
    if (status == RZ_OK)
        status = fit(&g, o->method, (double)positives, (double)(n - positives), &m, error);
    if (status == RZ_OK)
        status = fit_band(&s, o, &m, &c, error);
    if (status == RZ_OK) {
        if (m.n_knots == 0) {
            c.intercept = m.intercept;
            c.slope = m.slope;
        }
        c.n_knots = m.n_knots;
        memcpy(c.knot_x, m.knot_x, m.n_knots * sizeof *c.knot_x);
        memcpy(c.knot_y, m.knot_y, m.n_knots * sizeof *c.knot_y);
        if (!o->prevalence_known)
            fit_bins(&s, &m, &c);
        status = set_id(&c, error);
    }
    if (status == RZ_OK)
        *out = c;
    groups_done(&g);
    free(rows);
    free(s.count);
    return status;
}
