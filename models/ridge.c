/* Newton's method for the penalised likelihood; the Hessian is never made, only multiplied with:
 *
 *   gradient  g = Zᵀ (p - y) + penalty beta        Z: columns standardised, a column of ones first
 *   Hessian   H v = Zᵀ D Z v + penalty v           D = p (1 - p); no penalty on the intercept
 *
 * Rows stay as they are: with w[j] = scale[j] v[j], Z v = v[0] - Σ mean[j] w[j] + X w, and likewise
 * Zᵀ r = scale (Xᵀ r - mean Σ r). Rows are summed in a fixed number of blocks, whatever threads
 * there are. The penalty bounds the curvature from below, so a gradient of norm e leaves every
 * coefficient within e / penalty of the minimum. */
#include "ridge.h"

#include "base/portable_math.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 16, STEPS_MAX = 100, HALVINGS_MAX = 40, PRODUCTS_MAX = 1000 };
#define NEAR_ENOUGH 1e-6

typedef struct problem {
    const sparse_rows *rows;
    const uint8_t *label;
    const ridge_scale *scale;
    double penalty;
    rz_pool *pool;
    size_t side;       /* n_columns + 1 */
    double *curvature; /* [rows] D of the last gradient */
    double *weight;    /* [n_columns] of the vector being multiplied */
    double offset;     /* … and its part that is the same in every row */
    bool gradient;     /* the pass makes the gradient, else a product with the Hessian */
    double *partial;   /* [BLOCKS, n_columns] Xᵀ r */
    double sum[BLOCKS], loss[BLOCKS];
} problem;

rz_status ridge_scale_of(const sparse_rows *rows, ridge_scale *out, rz_error *error)
{
    size_t d = rows->n_columns;
    *out = (ridge_scale){calloc(d + 1, sizeof *out->mean), calloc(d + 1, sizeof *out->scale)};
    if (out->mean == NULL || out->scale == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to scale %zu columns", d);
    double n = (double)rows->n;
    for (size_t i = 0; i < rows->start[rows->n]; i++)
        out->mean[rows->column[i]] += (double)rows->value[i] / n;
    /* Empty places lie -mean away; they are counted in first and taken out where there is a value.
     */
    for (size_t j = 0; j < d; j++)
        out->scale[j] = n * out->mean[j] * out->mean[j];
    for (size_t i = 0; i < rows->start[rows->n]; i++) {
        double mean = out->mean[rows->column[i]], away = (double)rows->value[i] - mean;
        out->scale[rows->column[i]] += away * away - mean * mean;
    }
    for (size_t j = 0; j < d; j++) {
        double deviation = sqrt(fmax(out->scale[j], 0.0) / n);
        out->scale[j] = deviation > 1e-6 * (1.0 + fabs(out->mean[j])) ? 1.0 / deviation : 0.0;
    }
    return RZ_OK;
}

void ridge_scale_done(ridge_scale *scale)
{
    free(scale->mean);
    free(scale->scale);
    *scale = (ridge_scale){0};
}

static double row_dot(const sparse_rows *rows, size_t row, const double *weight)
{
    double sum = 0.0;
    for (size_t i = rows->start[row]; i < rows->start[row + 1]; i++)
        sum += (double)rows->value[i] * weight[rows->column[i]];
    return sum;
}

static void pass_block(void *context, size_t block, unsigned worker)
{
    (void)worker;
    problem *p = context;
    const sparse_rows *rows = p->rows;
    double *out = p->partial + block * (p->side - 1), sum = 0.0, loss = 0.0;
    memset(out, 0, (p->side - 1) * sizeof *out);
    for (size_t r = block * rows->n / BLOCKS; r < (block + 1) * rows->n / BLOCKS; r++) {
        double z = p->offset + row_dot(rows, r, p->weight), residual;
        if (p->gradient) {
            double risk = rz_sigmoid(z), y = p->label[r] != 0 ? 1.0 : 0.0;
            residual = risk - y;
            p->curvature[r] = risk * (1.0 - risk);
            loss += fmax(z, 0.0) - z * y + log1p(rz_exp(-fabs(z)));
        } else {
            residual = p->curvature[r] * z;
        }
        sum += residual;
        for (size_t i = rows->start[r]; i < rows->start[r + 1]; i++)
            out[rows->column[i]] += residual * (double)rows->value[i];
    }
    p->sum[block] = sum;
    p->loss[block] = loss;
}

/* The gradient at v, or the Hessian's product with it; gives the penalised loss at v. */
static double pass(problem *p, bool gradient, const double *v, double *out)
{
    const ridge_scale *s = p->scale;
    double sum = 0.0, loss = 0.0;
    p->gradient = gradient;
    p->offset = v[0];
    for (size_t j = 1; j < p->side; j++) {
        p->weight[j - 1] = s->scale[j - 1] * v[j];
        p->offset -= s->mean[j - 1] * p->weight[j - 1];
    }
    rz_pool_run(p->pool, BLOCKS, pass_block, p);
    memset(out, 0, p->side * sizeof *out);
    for (size_t b = 0; b < BLOCKS; b++) {
        const double *part = p->partial + b * (p->side - 1);
        sum += p->sum[b];
        loss += p->loss[b];
        for (size_t j = 1; j < p->side; j++)
            out[j] += part[j - 1];
    }
    out[0] = sum;
    for (size_t j = 1; j < p->side; j++) {
        out[j] = s->scale[j - 1] * (out[j] - s->mean[j - 1] * sum) + p->penalty * v[j];
        loss += 0.5 * p->penalty * v[j] * v[j];
    }
    return loss;
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Conjugate gradients on H step = -g until the residual is `share` of the gradient. */
static void newton_step(problem *p, const double *g, double share, double *step, double *residual,
                        double *direction, double *product)
{
    size_t n = p->side;
    for (size_t j = 0; j < n; j++) {
        step[j] = 0.0;
        residual[j] = direction[j] = -g[j];
    }
    double size = dot(residual, residual, n), enough = share * share * size;
    for (int i = 0; i < PRODUCTS_MAX && size > enough; i++) {
        (void)pass(p, false, direction, product);
        double bend = dot(direction, product, n);
        if (!(bend > 0.0))
            return;
        double along = size / bend, before = size;
        for (size_t j = 0; j < n; j++) {
            step[j] += along * direction[j];
            residual[j] -= along * product[j];
        }
        size = dot(residual, residual, n);
        for (size_t j = 0; j < n; j++)
            direction[j] = residual[j] + size / before * direction[j];
    }
}

/* work holds five vectors of `side`. */
static bool solve(problem *p, double *beta, double *work)
{
    size_t n = p->side;
    double *g = work, *step = g + n, *tried = step + n, *next = tried + n, *spare = next + n;
    double loss = pass(p, true, beta, g), first = sqrt(dot(g, g, n));
    for (int i = 0; i < STEPS_MAX; i++) {
        double norm = sqrt(dot(g, g, n)), scale = 1.0, found = INFINITY;
        if (norm <= NEAR_ENOUGH * p->penalty)
            return true;
        newton_step(p, g, fmin(0.1, sqrt(norm / first)) * 0.1, step, tried, next, spare);
        double slope = dot(g, step, n);
        for (int h = 0; h < HALVINGS_MAX; h++, scale *= 0.5) {
            for (size_t j = 0; j < n; j++)
                tried[j] = beta[j] + scale * step[j];
            found = pass(p, true, tried, next);
            /* Near the minimum the loss no longer tells steps apart, but its slope does. */
            if (found <= loss + 1e-4 * scale * slope || dot(next, next, n) < 0.25 * norm * norm)
                break;
        }
        loss = found;
        memcpy(beta, tried, n * sizeof *beta);
        memcpy(g, next, n * sizeof *g);
    }
    return false;
}

rz_status ridge_fit(const sparse_rows *rows, const uint8_t *label, const ridge_scale *scale,
                    double penalty, rz_pool *pool, double *beta, rz_error *error)
{
    size_t positives = 0, d = rows->n_columns, n = d + 1;
    for (size_t i = 0; i < rows->n; i++)
        positives += label[i] != 0;
    if (positives == 0 || positives == rows->n)
        return rz_fail(error, RZ_E_INVALID, "%zu of %zu rows are positive: both classes are needed",
                       positives, rows->n);
    problem p = {.rows = rows,
                 .label = label,
                 .scale = scale,
                 .penalty = penalty,
                 .pool = pool,
                 .side = n,
                 .curvature = malloc(rows->n * sizeof *p.curvature),
                 .weight = malloc(n * sizeof *p.weight),
                 .partial = malloc(BLOCKS * n * sizeof *p.partial)};
    double *work = malloc(6 * n * sizeof *work);
    rz_status status = RZ_OK;
    if (p.curvature == NULL || p.weight == NULL || p.partial == NULL || work == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for a regression of %zu columns", d);
    if (status == RZ_OK) {
        memcpy(work + 5 * n, beta, n * sizeof *beta);
        if (solve(&p, work + 5 * n, work))
            memcpy(beta, work + 5 * n, n * sizeof *beta);
        else
            status = rz_fail(error, RZ_E_RANGE,
                             "the regression of %zu rows and %zu columns with a penalty of %g does "
                             "not settle",
                             rows->n, d, penalty);
    }
    free(p.curvature);
    free(p.weight);
    free(p.partial);
    free(work);
    return status;
}

void ridge_logits(const sparse_rows *rows, const ridge_scale *scale, const double *beta,
                  double *out)
{
    double offset = beta[0];
    for (size_t j = 0; j < rows->n_columns; j++)
        offset -= beta[j + 1] * scale->scale[j] * scale->mean[j];
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = offset;
        for (size_t i = rows->start[r]; i < rows->start[r + 1]; i++) {
            size_t j = rows->column[i];
            out[r] += (double)rows->value[i] * scale->scale[j] * beta[j + 1];
        }
    }
}
