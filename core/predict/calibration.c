/* Applies a calibration, checks it, and brings it to JSON and back. Fitting is train/calibrate. */
#include "predict/calibration.h"

#include "base/portable_math.h"
#include "base/size.h"
#include "claims/day.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const method_names[] = {"platt", "isotonic"};

/* Linear between points, constant beyond the ends. Equal x make a step; the search ends between two
 * different ones. */
static double interpolate(const double *x, const double *y, size_t n, double at)
{
    size_t low = 0, high = n - 1;
    if (at <= x[0])
        return y[0];
    if (at >= x[high])
        return y[high];
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (x[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return y[low] + (y[high] - y[low]) * ((at - x[low]) / (x[high] - x[low]));
}

static double clamp_unit(double p)
{
    return p < 0.0 ? 0.0 : p > 1.0 ? 1.0 : p;
}

void rz_calibration_apply(const rz_calibration *c, double logit, rz_calibrated *out)
{
    double x = logit + (rz_logit(c->prevalence) - rz_logit(c->training_prior));
    double p = c->method == RZ_CALIBRATION_ISOTONIC
                   ? interpolate(c->knot_x, c->knot_y, c->n_knots, x)
                   : rz_sigmoid(c->intercept + c->slope * x);
    p = clamp_unit(p);
    /* Without a band nothing is known of the curve's uncertainty, and the answer says so. */
    double low = c->n_band > 0 ? interpolate(c->band_x, c->band_low, c->n_band, x) : 0.0;
    double high = c->n_band > 0 ? interpolate(c->band_x, c->band_high, c->n_band, x) : 1.0;
    *out = (rz_calibrated){.probability = p,
                           .low = low < p ? clamp_unit(low) : p,
                           .high = high > p ? clamp_unit(high) : p};
    if (c->n_bins > 0) {
        size_t bin = 0;
        while (bin + 1 < c->n_bins && p >= c->bin_edge[bin + 1])
            bin++;
        out->similar_n = c->bin_n[bin];
        out->similar_positives = c->bin_positives[bin];
    }
}

/* ---- checks ---------------------------------------------------------------------------------- */

static bool open_unit(double p)
{
    return p > 0.0 && p < 1.0;
}

static rz_status check_curve(const char *name, const double *x, const double *y, size_t n,
                             bool rising, rz_error *error)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || (i > 0 && x[i] < x[i - 1]))
            return rz_fail(error, RZ_E_INVALID, "calibration: %s: x[%zu] = %g is not ascending",
                           name, i, x[i]);
        if (!(y[i] >= 0.0 && y[i] <= 1.0) || (rising && i > 0 && y[i] < y[i - 1]))
            return rz_fail(error, RZ_E_INVALID,
                           "calibration: %s: y[%zu] = %g is no probability in order", name, i,
                           y[i]);
    }
    return RZ_OK;
}

static rz_status check_bins(const rz_calibration *c, rz_error *error)
{
    for (size_t i = 0; c->n_bins > 0 && i <= c->n_bins; i++)
        if (!(c->bin_edge[i] >= 0.0 && c->bin_edge[i] <= 1.0) ||
            (i > 0 && c->bin_edge[i] < c->bin_edge[i - 1]))
            return rz_fail(error, RZ_E_INVALID,
                           "calibration: bins: edge %zu = %g is no probability in order", i,
                           c->bin_edge[i]);
    for (size_t i = 0; i < c->n_bins; i++)
        if (c->bin_positives[i] > c->bin_n[i])
            return rz_fail(error, RZ_E_INVALID, "calibration: bin %zu has %u positives of %u", i,
                           c->bin_positives[i], c->bin_n[i]);
    for (size_t i = 0; i < c->n_means; i++)
        if (!(c->bin_mean[i] >= 0.0 && c->bin_mean[i] <= 1.0))
            return rz_fail(error, RZ_E_INVALID, "calibration: bin %zu: mean %g is no probability",
                           i, c->bin_mean[i]);
    return RZ_OK;
}

static rz_status check(const rz_calibration *c, rz_error *error)
{
    if (!open_unit(c->training_prior) || !open_unit(c->prevalence))
        return rz_fail(error, RZ_E_INVALID,
                       "calibration: training_prior %g and prevalence %g must lie between 0 and 1",
                       c->training_prior, c->prevalence);
    if (c->method == RZ_CALIBRATION_PLATT &&
        (!isfinite(c->intercept) || !isfinite(c->slope) || !(c->slope > 0.0)))
        return rz_fail(error, RZ_E_INVALID,
                       "calibration: intercept %g and slope %g must be finite, the slope positive",
                       c->intercept, c->slope);
    bool isotonic = c->method == RZ_CALIBRATION_ISOTONIC;
    if (c->n_knots > RZ_ISOTONIC_MAX || (isotonic && c->n_knots == 0) || c->n_band == 1 ||
        c->n_band > RZ_BAND_POINTS || c->n_bins > RZ_SCORE_BINS ||
        (c->n_means > 0 && c->n_means != c->n_bins))
        return rz_fail(error, RZ_E_INVALID,
                       "calibration: %zu knots, %zu points of the band, %zu bins, %zu means of "
                       "them; at most %d, %d and %d, isotonic has a knot, a band two points and "
                       "each bin a mean or none",
                       c->n_knots, c->n_band, c->n_bins, c->n_means, RZ_ISOTONIC_MAX,
                       RZ_BAND_POINTS, RZ_SCORE_BINS);
    rz_status status = check_curve("knots", c->knot_x, c->knot_y, c->n_knots, true, error);
    if (status == RZ_OK)
        status = check_curve("band, low", c->band_x, c->band_low, c->n_band, false, error);
    if (status == RZ_OK)
        status = check_curve("band, high", c->band_x, c->band_high, c->n_band, false, error);
    for (size_t i = 0; i < c->n_band && status == RZ_OK; i++)
        if (c->band_low[i] > c->band_high[i])
            status = rz_fail(error, RZ_E_INVALID, "calibration: band: low %g above high %g",
                             c->band_low[i], c->band_high[i]);
    if (status == RZ_OK)
        status = check_bins(c, error);
    if (status == RZ_OK && c->tuning_positives > c->tuning_n)
        status = rz_fail(error, RZ_E_INVALID, "calibration: %u positives of %u tuning patients",
                         c->tuning_positives, c->tuning_n);
    return status;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *reals(const double *values, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array != NULL && i < n; i++)
        if (json_array_append_new(array, json_real(values[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

static json_t *counts(const uint32_t *values, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array != NULL && i < n; i++)
        if (json_array_append_new(array, json_integer(values[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

static json_t *bins_json(const rz_calibration *c)
{
    json_t *bins = json_pack(
        "{s:o, s:o, s:o}", "edges", reals(c->bin_edge, c->n_bins > 0 ? c->n_bins + 1 : 0), "n",
        counts(c->bin_n, c->n_bins), "positives", counts(c->bin_positives, c->n_bins));
    if (bins != NULL && c->n_means > 0 &&
        json_object_set_new(bins, "means", reals(c->bin_mean, c->n_means)) != 0) {
        json_decref(bins);
        bins = NULL;
    }
    return bins;
}

/* Everything but date and id; the id is the digest of this, keys sorted. */
static json_t *table_json(const rz_calibration *c)
{
    bool isotonic = c->method == RZ_CALIBRATION_ISOTONIC;
    json_t *map = isotonic ? json_pack("{s:o, s:o}", "x", reals(c->knot_x, c->n_knots), "y",
                                       reals(c->knot_y, c->n_knots))
                           : json_pack("{s:f, s:f}", "intercept", c->intercept, "slope", c->slope);
    return json_pack("{s:s, s:f, s:f, s:o, s:{s:o, s:o, s:o}, s:o, s:I, s:I, s:I}", "method",
                     method_names[isotonic], "training_prior", c->training_prior, "prevalence",
                     c->prevalence, "map", map, "band", "x", reals(c->band_x, c->n_band), "low",
                     reals(c->band_low, c->n_band), "high", reals(c->band_high, c->n_band), "bins",
                     bins_json(c), "tuning_n", (json_int_t)c->tuning_n, "tuning_positives",
                     (json_int_t)c->tuning_positives, "bootstraps", (json_int_t)c->bootstraps);
}

static rz_status digest(const rz_calibration *c, char out[RZ_SHA256_TEXT], rz_error *error)
{
    rz_sha256 hash;
    json_t *json = table_json(c);
    char *text = json == NULL
                     ? NULL
                     : json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(json);
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a calibration's id");
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, text, strlen(text));
    rz_sha256_text(&hash, out);
    free(text);
    return RZ_OK;
}

rz_status rz_calibration_seal(rz_calibration *calibration, rz_error *error)
{
    char id[RZ_SHA256_TEXT];
    rz_status status = check(calibration, error);
    if (status == RZ_OK)
        status = digest(calibration, id, error);
    if (status == RZ_OK)
        memcpy(calibration->id, id, sizeof id);
    return status;
}

json_t *rz_calibration_to_json(const rz_calibration *calibration)
{
    json_t *json = table_json(calibration);
    if (json == NULL || json_object_set_new(json, "date", json_string(calibration->date)) != 0 ||
        json_object_set_new(json, "id", json_string(calibration->id)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static rz_status read_real(const json_t *object, const char *key, double *out, rz_error *error)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        return rz_fail(error, RZ_E_INVALID, "calibration: %s must be a number", key);
    *out = json_number_value(value);
    return RZ_OK;
}

static rz_status read_count(const json_t *object, const char *key, uint32_t *out, rz_error *error)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || number > UINT32_MAX)
        return rz_fail(error, RZ_E_INVALID, "calibration: %s must be a count", key);
    *out = (uint32_t)number;
    return RZ_OK;
}

static rz_status read_array(const json_t *object, const char *key, size_t cap, size_t *n,
                            rz_error *error)
{
    const json_t *array = json_object_get(object, key);
    if (!json_is_array(array) || json_array_size(array) > cap)
        return rz_fail(error, RZ_E_INVALID, "calibration: %s must be a list of at most %zu numbers",
                       key, cap);
    *n = json_array_size(array);
    return RZ_OK;
}

static rz_status read_reals(const json_t *object, const char *key, double *out, size_t cap,
                            size_t *n, rz_error *error)
{
    rz_status status = read_array(object, key, cap, n, error);
    for (size_t i = 0; status == RZ_OK && i < *n; i++) {
        const json_t *value = json_array_get(json_object_get(object, key), i);
        if (!json_is_number(value))
            status = rz_fail(error, RZ_E_INVALID, "calibration: %s[%zu] must be a number", key, i);
        else
            out[i] = json_number_value(value);
    }
    return status;
}

static rz_status read_counts(const json_t *object, const char *key, uint32_t *out, size_t cap,
                             size_t *n, rz_error *error)
{
    rz_status status = read_array(object, key, cap, n, error);
    for (size_t i = 0; status == RZ_OK && i < *n; i++) {
        const json_t *value = json_array_get(json_object_get(object, key), i);
        json_int_t number = json_integer_value(value);
        if (!json_is_integer(value) || number < 0 || number > UINT32_MAX)
            status = rz_fail(error, RZ_E_INVALID, "calibration: %s[%zu] must be a count", key, i);
        else
            out[i] = (uint32_t)number;
    }
    return status;
}

static rz_status read_map(const json_t *json, rz_calibration *out, rz_error *error)
{
    const json_t *map = json_object_get(json, "map");
    const char *method = json_string_value(json_object_get(json, "method"));
    size_t n_y = 0;
    rz_status status;
    if (method != NULL && strcmp(method, method_names[RZ_CALIBRATION_PLATT]) == 0) {
        out->method = RZ_CALIBRATION_PLATT;
        status = read_real(map, "intercept", &out->intercept, error);
        return status == RZ_OK ? read_real(map, "slope", &out->slope, error) : status;
    }
    if (method == NULL || strcmp(method, method_names[RZ_CALIBRATION_ISOTONIC]) != 0)
        return rz_fail(error, RZ_E_INVALID, "calibration: method must be platt or isotonic");
    out->method = RZ_CALIBRATION_ISOTONIC;
    status = read_reals(map, "x", out->knot_x, RZ_ISOTONIC_MAX, &out->n_knots, error);
    if (status == RZ_OK)
        status = read_reals(map, "y", out->knot_y, RZ_ISOTONIC_MAX, &n_y, error);
    if (status == RZ_OK && n_y != out->n_knots)
        status = rz_fail(error, RZ_E_INVALID, "calibration: %zu knots x, %zu knots y", out->n_knots,
                         n_y);
    return status;
}

static rz_status read_band_and_bins(const json_t *json, rz_calibration *out, rz_error *error)
{
    const json_t *band = json_object_get(json, "band"), *bins = json_object_get(json, "bins");
    size_t n_low = 0, n_high = 0, n_edges = 0, n_positives = 0;
    rz_status status = read_reals(band, "x", out->band_x, RZ_BAND_POINTS, &out->n_band, error);
    if (status == RZ_OK)
        status = read_reals(band, "low", out->band_low, RZ_BAND_POINTS, &n_low, error);
    if (status == RZ_OK)
        status = read_reals(band, "high", out->band_high, RZ_BAND_POINTS, &n_high, error);
    if (status == RZ_OK)
        status = read_reals(bins, "edges", out->bin_edge, RZ_SCORE_BINS + 1, &n_edges, error);
    if (status == RZ_OK)
        status = read_counts(bins, "n", out->bin_n, RZ_SCORE_BINS, &out->n_bins, error);
    if (status == RZ_OK)
        status =
            read_counts(bins, "positives", out->bin_positives, RZ_SCORE_BINS, &n_positives, error);
    bool means = json_object_get(bins, "means") != NULL;
    if (status == RZ_OK && means)
        status = read_reals(bins, "means", out->bin_mean, RZ_SCORE_BINS, &out->n_means, error);
    if (status == RZ_OK && means && out->n_means != out->n_bins)
        status = rz_fail(error, RZ_E_INVALID, "calibration: bins: %zu n, %zu means", out->n_bins,
                         out->n_means);
    if (status == RZ_OK && (n_low != out->n_band || n_high != out->n_band))
        status = rz_fail(error, RZ_E_INVALID, "calibration: band: %zu x, %zu low, %zu high",
                         out->n_band, n_low, n_high);
    if (status == RZ_OK &&
        (n_positives != out->n_bins || n_edges != (out->n_bins > 0 ? out->n_bins + 1 : 0)))
        status = rz_fail(error, RZ_E_INVALID, "calibration: bins: %zu edges, %zu n, %zu positives",
                         n_edges, out->n_bins, n_positives);
    return status;
}

static rz_status read_name(const json_t *json, rz_calibration *out, rz_error *error)
{
    const char *date = json_string_value(json_object_get(json, "date"));
    const char *id = json_string_value(json_object_get(json, "id"));
    char wanted[RZ_SHA256_TEXT];
    int32_t day;
    if (date == NULL || strlen(date) != 10 || !rz_day_parse(date, &day))
        return rz_fail(error, RZ_E_INVALID, "calibration: date must be YYYY-MM-DD");
    memcpy(out->date, date, 11);
    rz_status status = digest(out, wanted, error);
    if (status == RZ_OK && (id == NULL || strcmp(id, wanted) != 0))
        return rz_fail(error, RZ_E_CORRUPT,
                       "calibration: the table has the id %.12s…, the file says %.12s…", wanted,
                       id == NULL ? "nothing" : id);
    memcpy(out->id, wanted, sizeof out->id);
    return status;
}

rz_status rz_calibration_from_json(const json_t *json, rz_calibration *out, rz_error *error)
{
    rz_calibration *c = calloc(1, sizeof *c); /* 7 kB: not for the stack of every caller */
    if (c == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a calibration");
    rz_status status = read_real(json, "training_prior", &c->training_prior, error);
    if (status == RZ_OK)
        status = read_real(json, "prevalence", &c->prevalence, error);
    if (status == RZ_OK)
        status = read_map(json, c, error);
    if (status == RZ_OK)
        status = read_band_and_bins(json, c, error);
    if (status == RZ_OK)
        status = read_count(json, "tuning_n", &c->tuning_n, error);
    if (status == RZ_OK)
        status = read_count(json, "tuning_positives", &c->tuning_positives, error);
    if (status == RZ_OK)
        status = read_count(json, "bootstraps", &c->bootstraps, error);
    if (status == RZ_OK)
        status = check(c, error);
    if (status == RZ_OK)
        status = read_name(json, c, error);
    if (status == RZ_OK)
        *out = *c;
    free(c);
    return status;
}
