/* At a given exponent the curve is a straight line in z = (x / x0)^-c; so the exponent is searched
 * for, on a grid and then between its neighbours, and a and b follow by least squares. A second
 * search repeats this with Huber's loss, whose bend is 1.345 robust deviations of the first. */
#include "power_law.h"

#include "base/rng.h"
#include "base/size.h"
#include "metrics/rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GRID = 60, GOLDEN_STEPS = 30, REWEIGHTINGS = 12 };

static const double C_LOW = 0.02, C_HIGH = 2.0, HUBER = 1.345, TO_DEVIATION = 1.4826;

typedef struct curve {
    double a, b, c, loss;
} curve;

/* The points, x as its logarithm relative to their middle so that numbers stay near 1. */
typedef struct points {
    const double *log_x, *y;
    double *z, *scratch; /* [n] */
    size_t n;
    double bend; /* of Huber's loss; INFINITY: squares */
} points;

static double loss_of(double residual, double bend)
{
    double r = fabs(residual);
    return r <= bend ? 0.5 * r * r : bend * (r - 0.5 * bend);
}

/* Best a and b at an exponent. */
static curve fit_at(const points *p, double c)
{
    curve best = {.c = c, .loss = INFINITY};
    for (size_t i = 0; i < p->n; i++)
        p->z[i] = exp(-c * p->log_x[i]);
    double a = 0.0, b = 0.0;
    for (int round = 0; round < REWEIGHTINGS; round++) {
        double w = 0.0, wz = 0.0, wy = 0.0, wzz = 0.0, wzy = 0.0;
        for (size_t i = 0; i < p->n; i++) {
            double r = fabs(p->y[i] - a - b * p->z[i]);
            double weight = round == 0 || r <= p->bend ? 1.0 : p->bend / r;
            w += weight;
            wz += weight * p->z[i];
            wy += weight * p->y[i];
            wzz += weight * p->z[i] * p->z[i];
            wzy += weight * p->z[i] * p->y[i];
        }
        double spread = wzz - wz * wz / w;
        if (!(spread > 0.0))
            return best;
        b = (wzy - wz * wy / w) / spread;
        a = (wy - b * wz) / w;
        if (a < 0.0) { /* no loss is below 0 */
            a = 0.0;
            b = wzy / wzz;
        }
        if (isinf(p->bend))
            break;
    }
    /* Rounding alone makes a constant rise or fall a little: that is no law. */
    double fall = 0.0, highest = 0.0;
    for (size_t i = 0; i < p->n; i++) {
        fall = fmax(fall, b * fabs(p->z[i] - p->z[0]));
        highest = fmax(highest, fabs(p->y[i]));
    }
    if (!(fall > 1e-9 * highest))
        return best;
    best.a = a;
    best.b = b;
    best.loss = 0.0;
    for (size_t i = 0; i < p->n; i++)
        best.loss += loss_of(p->y[i] - a - b * p->z[i], p->bend);
    return best;
}

static double grid_at(int i)
{
    return C_LOW * pow(C_HIGH / C_LOW, (double)i / (GRID - 1));
}

/* False where no exponent inside the grid is best. */
static bool search(const points *p, curve *out)
{
    curve best = {.loss = INFINITY};
    int at = 0;
    for (int i = 0; i < GRID; i++) {
        curve one = fit_at(p, grid_at(i));
        if (one.loss < best.loss) {
            best = one;
            at = i;
        }
    }
    if (isinf(best.loss) || at == 0 || at == GRID - 1)
        return false;
    const double part = 0.6180339887498949;
    double low = log(grid_at(at - 1)), high = log(grid_at(at + 1));
    for (int step = 0; step < GOLDEN_STEPS; step++) {
        double left = high - part * (high - low), right = low + part * (high - low);
        curve l = fit_at(p, exp(left)), r = fit_at(p, exp(right));
        curve nearer = l.loss <= r.loss ? l : r;
        if (l.loss <= r.loss)
            high = right;
        else
            low = left;
        best = nearer.loss <= best.loss ? nearer : best;
    }
    *out = best;
    return true;
}

static double at(const curve *c, double log_x)
{
    return c->a + c->b * exp(-c->c * log_x);
}

/* Squares first, then Huber's loss with a bend that the first residuals give. */
static bool fit(points *p, curve *out, double *scale)
{
    p->bend = INFINITY;
    if (!search(p, out))
        return false;
    for (size_t i = 0; i < p->n; i++)
        p->scratch[i] = fabs(p->y[i] - at(out, p->log_x[i]));
    double deviation = TO_DEVIATION * rz_percentile(p->scratch, p->n, 0.5);
    if (scale != NULL)
        *scale = deviation;
    p->bend = HUBER * deviation;
    return !(deviation > 1e-12 * fabs(out->a + out->b)) || search(p, out);
}

/* Refits to the curve plus drawn residuals; resamples without a fit count as missing. */
static rz_status bootstrap(points *p, const curve *fitted, double log_middle, unsigned n,
                           uint64_t seed, power_law *law, rz_error *error)
{
    size_t doubles;
    double *values = NULL, *residual = calloc(p->n, sizeof *residual), *y = calloc(p->n, sizeof *y);
    if (rz_size_mul((size_t)n, 3, &doubles))
        values = calloc(doubles + 1, sizeof *values);
    rz_status status = RZ_OK;
    if (values == NULL || residual == NULL || y == NULL) {
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %u resamples of a fit", n);
        goto out;
    }
    double mean = 0.0, wider = sqrt((double)p->n / (double)(p->n - 3));
    for (size_t i = 0; i < p->n; i++) {
        residual[i] = p->y[i] - at(fitted, p->log_x[i]);
        mean += residual[i] / (double)p->n;
    }
    points again = *p;
    again.y = y;
    for (unsigned k = 0; k < n; k++) {
        rz_rng rng;
        curve c;
        rz_rng_init(&rng, seed, k);
        for (size_t i = 0; i < p->n; i++)
            y[i] = at(fitted, p->log_x[i]) +
                   wider * (residual[rz_rng_below(&rng, (uint32_t)p->n)] - mean);
        bool found = fit(&again, &c, NULL);
        values[k] = found ? c.a : NAN;
        values[n + k] = found ? c.b * exp(c.c * log_middle) : NAN;
        values[2 * (size_t)n + k] = found ? c.c : NAN;
    }
    rz_percentiles(values, n, &law->a.low, &law->a.high);
    rz_percentiles(values + n, n, &law->b.low, &law->b.high);
    rz_percentiles(values + 2 * (size_t)n, n, &law->c.low, &law->c.high);
out:
    free(values);
    free(residual);
    free(y);
    return status;
}

/* Keeps the usable points; x becomes its logarithm. Returns how many. */
static size_t take(const double *x, const double *y, size_t n, double *log_x, double *kept_y)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(x[i] > 0.0) || !isfinite(x[i]) || !isfinite(y[i]))
            continue;
        log_x[used] = log(x[i]);
        kept_y[used++] = y[i];
    }
    return used;
}

rz_status power_law_fit(const double *x, const double *y, size_t n, unsigned bootstraps,
                        uint64_t seed, power_law *out, rz_error *error)
{
    const rz_interval none = {NAN, NAN, NAN};
    power_law law = {.a = none, .b = none, .c = none, .scale = NAN};
    double *room = calloc(4 * n + 1, sizeof *room);
    rz_status status = RZ_OK;
    curve fitted;
    if (room == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to fit %zu points", n);
    double *log_x = room, *kept = room + n, middle = 0.0;
    law.n = take(x, y, n, log_x, kept);
    for (size_t i = 0; i < law.n; i++)
        middle += log_x[i] / (double)law.n;
    for (size_t i = 0; i < law.n; i++)
        log_x[i] -= middle;
    points p = {.log_x = log_x, .y = kept, .z = room + 2 * n, .scratch = room + 3 * n, .n = law.n};
    if (law.n < POWER_LAW_POINTS_MIN) {
        law.reason = "fewer than 4 points; a power law with a floor needs 4";
    } else if (!fit(&p, &fitted, &law.scale)) {
        law.reason = "the points follow no power law with a floor: no exponent between 0.02 and 2 "
                     "is best";
    } else {
        law.a.value = fitted.a;
        law.b.value = fitted.b * exp(fitted.c * middle);
        law.c.value = fitted.c;
        if (bootstraps > 0)
            status = bootstrap(&p, &fitted, middle, bootstraps, seed, &law, error);
    }
    free(room);
    if (status == RZ_OK)
        *out = law;
    return status;
}

double power_law_at(const power_law *law, double x)
{
    return law->reason == NULL ? law->a.value + law->b.value * pow(x, -law->c.value) : NAN;
}
