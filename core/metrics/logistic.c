/* Logistic regression by Newton's method with a Cholesky factorisation.
 *
 *   gradient  g = Σ w (y - p) z - ridge beta      z = (1, x)
 *   Hessian   H = Σ w p (1 - p) z zᵀ + ridge I    (not on the intercept)
 *   step      H s = g
 *
 * The log-likelihood is concave, so a full step that overshoots shows as a slope along the step
 * that has turned against it; the step is then halved. Settled means that no logit moves by more
 * than 1e-8: quadratic convergence makes the next error smaller than rounding. */
#include "metrics/logistic.h"

#include "base/portable_math.h"

#include <math.h>
#include <string.h>

enum { ITERATIONS_MAX = 60, HALVINGS_MAX = 30, SIDE = RZ_LOGISTIC_FEATURES_MAX + 1 };

static double row_weight(const rz_logistic_problem *p, size_t i)
{
    double w = p->weight != NULL ? p->weight[i] : 1.0;
    return p->count != NULL ? w * (double)p->count[i] : w;
}

/* Gradient and, unless it is NULL, the lower triangle of the Hessian [SIDE, SIDE]. */
static void derivatives(const rz_logistic_problem *p, const double *beta, double *gradient,
                        double *hessian)
{
    size_t side = p->d + 1;
    memset(gradient, 0, side * sizeof *gradient);
    for (size_t j = 0; hessian != NULL && j < side; j++)
        memset(hessian + j * SIDE, 0, side * sizeof *hessian);
    for (size_t i = 0; i < p->n; i++) {
        double w = row_weight(p, i);
        if (w == 0.0)
            continue;
        const double *x = p->d > 0 ? p->x + i * p->d : NULL;
        double eta = beta[0] + (p->offset != NULL ? p->offset[i] : 0.0);
        for (size_t j = 0; j < p->d; j++)
            eta += beta[j + 1] * x[j];
        double risk = rz_sigmoid(eta);
        double residual = w * ((p->label[i] != 0 ? 1.0 : 0.0) - risk);
        gradient[0] += residual;
        for (size_t j = 0; j < p->d; j++)
            gradient[j + 1] += residual * x[j];
        if (hessian == NULL)
            continue;
        double curvature = w * risk * (1.0 - risk);
        hessian[0] += curvature;
        for (size_t j = 0; j < p->d; j++) {
            double *row = hessian + (j + 1) * SIDE, scaled = curvature * x[j];
            row[0] += scaled;
            for (size_t k = 0; k <= j; k++)
                row[k + 1] += scaled * x[k];
        }
    }
    for (size_t j = 1; j < side; j++) {
        gradient[j] -= p->ridge * beta[j];
        if (hessian != NULL)
            hessian[j * SIDE + j] += p->ridge;
    }
}

/* Solves H s = g, H overwritten; false when H is not positive definite to working precision. */
static bool cholesky_solve(double *h, size_t side, const double *g, double *s)
{
    for (size_t j = 0; j < side; j++) {
        double pivot = h[j * SIDE + j], full = pivot;
        for (size_t k = 0; k < j; k++)
            pivot -= h[j * SIDE + k] * h[j * SIDE + k];
        if (!(pivot > 1e-13 * full) || !isfinite(pivot))
            return false;
        double root = sqrt(pivot);
        h[j * SIDE + j] = root;
        for (size_t i = j + 1; i < side; i++) {
            double sum = h[i * SIDE + j];
            for (size_t k = 0; k < j; k++)
                sum -= h[i * SIDE + k] * h[j * SIDE + k];
            h[i * SIDE + j] = sum / root;
        }
    }
    for (size_t i = 0; i < side; i++) {
        double sum = g[i];
        for (size_t k = 0; k < i; k++)
            sum -= h[i * SIDE + k] * s[k];
        s[i] = sum / h[i * SIDE + i];
    }
    for (size_t i = side; i-- > 0;) {
        double sum = s[i];
        for (size_t k = i + 1; k < side; k++)
            sum -= h[k * SIDE + i] * s[k];
        s[i] = sum / h[i * SIDE + i];
    }
    return true;
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

bool rz_logistic_solve(const rz_logistic_problem *problem, double *beta)
{
    double hessian[SIDE * SIDE], gradient[SIDE], step[SIDE], tried[SIDE], next[SIDE], reach[SIDE];
    size_t side = problem->d + 1;
    reach[0] = 1.0;
    for (size_t j = 1; j < side; j++) {
        reach[j] = 0.0;
        for (size_t i = 0; i < problem->n; i++)
            reach[j] = fmax(reach[j], fabs(problem->x[i * problem->d + j - 1]));
    }
    for (int iteration = 0; iteration < ITERATIONS_MAX; iteration++) {
        derivatives(problem, beta, gradient, hessian);
        if (!cholesky_solve(hessian, side, gradient, step))
            return false;
        double slope = dot(gradient, step, side), scale = 1.0, moved = 0.0;
        for (size_t j = 0; j < side; j++)
            moved += fabs(step[j]) * reach[j];
        if (!isfinite(moved))
            return false;
        for (int halving = 0; moved > 1e-3 && halving < HALVINGS_MAX; halving++) {
            for (size_t j = 0; j < side; j++)
                tried[j] = beta[j] + scale * step[j];
            derivatives(problem, tried, next, NULL);
            if (dot(next, step, side) >= -0.5 * slope)
                break;
            scale *= 0.5;
        }
        for (size_t j = 0; j < side; j++)
            beta[j] += scale * step[j];
        if (moved < 1e-8)
            return true;
    }
    return false;
}

static rz_status check_rows(const rz_logistic_problem *p, bool *positive, bool *negative,
                            rz_error *error)
{
    *positive = *negative = false;
    for (size_t i = 0; i < p->n; i++) {
        for (size_t j = 0; j < p->d; j++)
            if (!isfinite(p->x[i * p->d + j]))
                return rz_fail(error, RZ_E_RANGE, "row %zu of %zu: feature %zu is not finite", i,
                               p->n, j);
        if (p->weight != NULL && !(p->weight[i] >= 0.0 && isfinite(p->weight[i])))
            return rz_fail(error, RZ_E_RANGE,
                           "row %zu of %zu: the weight is negative or not finite", i, p->n);
        if (p->weight != NULL && p->weight[i] == 0.0)
            continue;
        if (p->label[i] != 0)
            *positive = true;
        else
            *negative = true;
    }
    return RZ_OK;
}

/* One dimension decides separation exactly: no value of one class lies below one of the other. */
static bool separated(const rz_logistic_problem *p)
{
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (size_t i = 0; i < p->n; i++) {
        if (p->weight != NULL && p->weight[i] == 0.0)
            continue;
        int c = p->label[i] != 0 ? 1 : 0;
        low[c] = fmin(low[c], p->x[i]);
        high[c] = fmax(high[c], p->x[i]);
    }
    return high[0] <= low[1] || high[1] <= low[0];
}

static rz_status one_class(size_t n, bool positive, rz_error *error)
{
    return rz_fail(error, RZ_E_RANGE, "all %zu rows are %s; a logistic fit needs both classes", n,
                   positive ? "positive" : "negative");
}

rz_status rz_logistic_fit(const double *x, const uint8_t *label, const double *weight, size_t n,
                          double *intercept, double *slope, rz_error *error)
{
    rz_logistic_problem problem = {.x = x, .label = label, .weight = weight, .n = n, .d = 1};
    double beta[2] = {0.0, 0.0};
    bool positive, negative;
    rz_status status = check_rows(&problem, &positive, &negative, error);
    if (status != RZ_OK)
        return status;
    if (!positive || !negative)
        return one_class(n, positive, error);
    if (separated(&problem))
        return rz_fail(error, RZ_E_RANGE,
                       "the scores separate the classes of all %zu rows: no finite fit exists", n);
    if (!rz_logistic_solve(&problem, beta))
        return rz_fail(error, RZ_E_RANGE, "the logistic fit of %zu rows does not settle", n);
    *intercept = beta[0];
    *slope = beta[1];
    return RZ_OK;
}

rz_status rz_logistic_regression(const double *x, const uint8_t *label, size_t n, size_t d,
                                 double ridge, double *beta, rz_error *error)
{
    return rz_logistic_weighted(x, label, NULL, n, d, ridge, beta, error);
}

rz_status rz_logistic_weighted(const double *x, const uint8_t *label, const double *weight,
                               size_t n, size_t d, double ridge, double *beta, rz_error *error)
{
    rz_logistic_problem problem = {
        .x = x, .weight = weight, .label = label, .n = n, .d = d, .ridge = ridge};
    double found[SIDE] = {0};
    bool positive, negative;
    if (d > RZ_LOGISTIC_FEATURES_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "%zu features, at most %d are possible", d,
                       RZ_LOGISTIC_FEATURES_MAX);
    if (!(ridge >= 0.0) || !isfinite(ridge))
        return rz_fail(error, RZ_E_RANGE, "the ridge penalty must be 0 or more");
    rz_status status = check_rows(&problem, &positive, &negative, error);
    if (status != RZ_OK)
        return status;
    if (!positive || !negative)
        return one_class(n, positive, error);
    if (!rz_logistic_solve(&problem, found))
        return rz_fail(error, RZ_E_RANGE,
                       "the logistic regression of %zu rows and %zu features does not settle: the "
                       "classes are separated or features depend on each other; give a ridge",
                       n, d);
    memcpy(beta, found, (d + 1) * sizeof *beta);
    return RZ_OK;
}
