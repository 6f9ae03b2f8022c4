/* Reference distributions and the population stability index against them. */
#include "metrics/stability.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME = 64 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

size_t rz_distribution_bin(const rz_distribution *d, double value)
{
    size_t bin = 0;
    while (bin + 1 < RZ_STABILITY_BINS && value > d->edge[bin])
        bin++;
    return bin;
}

/* Takes the array. */
static bool put(json_t *object, const char *feature, const char *what, json_t *array)
{
    char name[NAME];
    (void)snprintf(name, sizeof name, "%s_%s", feature, what);
    return json_object_set_new(object, name, array) == 0;
}

static const json_t *get(const json_t *object, const char *feature, const char *what, size_t n)
{
    char name[NAME];
    (void)snprintf(name, sizeof name, "%s_%s", feature, what);
    const json_t *array = json_object_get(object, name);
    bool numbers = json_array_size(array) == n;
    for (size_t i = 0; numbers && i < n; i++)
        numbers = json_is_number(json_array_get(array, i)) &&
                  isfinite(json_number_value(json_array_get(array, i)));
    return numbers ? array : NULL;
}

bool rz_distribution_write(double *values, size_t n, const char *feature, json_t *object)
{
    rz_distribution d = {0};
    if (n == 0)
        return false;
    json_t *deciles = json_array(), *shares = json_array();
    qsort(values, n, sizeof *values, by_value);
    for (size_t i = 0; i <= RZ_STABILITY_BINS; i++) {
        double value = values[i * (n - 1) / RZ_STABILITY_BINS];
        (void)json_array_append_new(deciles, json_real(value));
        if (i > 0 && i < RZ_STABILITY_BINS)
            d.edge[i - 1] = value;
    }
    for (size_t i = 0; i < n; i++)
        d.share[rz_distribution_bin(&d, values[i])] += 1.0 / (double)n;
    for (size_t i = 0; i < RZ_STABILITY_BINS; i++)
        (void)json_array_append_new(shares, json_real(d.share[i]));
    bool kept = put(object, feature, "deciles", deciles);
    return put(object, feature, "shares", shares) && kept;
}

bool rz_distribution_read(const json_t *object, const char *feature, rz_distribution *out)
{
    const json_t *deciles = get(object, feature, "deciles", RZ_STABILITY_BINS + 1);
    const json_t *shares = get(object, feature, "shares", RZ_STABILITY_BINS);
    rz_distribution d;
    if (deciles == NULL)
        return false;
    for (size_t i = 0; i + 1 < RZ_STABILITY_BINS; i++) {
        d.edge[i] = json_number_value(json_array_get(deciles, i + 1));
        if (i > 0 && d.edge[i] < d.edge[i - 1])
            return false;
    }
    double maximum = json_number_value(json_array_get(deciles, RZ_STABILITY_BINS));
    for (size_t i = 0, wide = 0; i < RZ_STABILITY_BINS; i++) {
        double upper = i + 1 < RZ_STABILITY_BINS ? d.edge[i] : maximum;
        wide = i > 0 && upper <= d.edge[i - 1] ? wide : i;
        d.share[i] = 0.0;
        d.share[wide] += 1.0 / RZ_STABILITY_BINS;
    }
    for (size_t i = 0; shares != NULL && i < RZ_STABILITY_BINS; i++) {
        d.share[i] = json_number_value(json_array_get(shares, i));
        if (!(d.share[i] >= 0.0 && d.share[i] <= 1.0))
            return false;
    }
    *out = d;
    return true;
}

double rz_stability_index(const double *share, double n, const uint64_t *count, size_t bins)
{
    const double half = 0.5;
    double index = 0.0, met = 0.0;
    for (size_t i = 0; i < bins; i++)
        met += (double)count[i];
    if (!(n > 0.0) || !(met > 0.0))
        return NAN;
    for (size_t i = 0; i < bins; i++) {
        double e = (share[i] * n + half) / (n + half * (double)bins);
        double a = ((double)count[i] + half) / (met + half * (double)bins);
        index += (a - e) * log(a / e);
    }
    return index;
}
