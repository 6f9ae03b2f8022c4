/* Logistic regression with an L2 penalty on sparse rows, whose columns are standardised as they are
 * read: z = (x - mean) / deviation. The dense one for a few columns is rz_logistic_regression. */
#ifndef RZ_MODELS_RIDGE_H
#define RZ_MODELS_RIDGE_H

#include "base/pool.h"
#include "sparse.h"

typedef struct ridge_scale {
    double *mean, *scale; /* [n_columns] owned; scale is 1 / deviation, 0 of a constant column */
} ridge_scale;

/* Of the rows of a table, empty places being 0. Freed with ridge_scale_done, also after failure. */
RZ_MUST_CHECK rz_status ridge_scale_of(const sparse_rows *rows, ridge_scale *out, rz_error *error);
void ridge_scale_done(ridge_scale *scale); /* accepts a zeroed one */

/* Minimises  Σ -log P(label)  +  penalty / 2 Σ beta[j+1]²,  logit P = beta[0] + Σ beta[j+1] z[j].
 *   penalty  > 0; scikit-learn's C is its reciprocal
 *   beta     [n_columns + 1] in: where to begin, out: the minimum, every place within 1e-6 of it
 *   pool     may be NULL; its size never changes a bit of the result
 * Errors  RZ_E_INVALID one class only; RZ_E_RANGE when it does not settle.
 * Source  Newton's method with conjugate gradients: Nocedal and Wright 2006, algorithm 7.1. */
RZ_MUST_CHECK rz_status ridge_fit(const sparse_rows *rows, const uint8_t *label,
                                  const ridge_scale *scale, double penalty, rz_pool *pool,
                                  double *beta, rz_error *error);

/* The logit of every row. */
void ridge_logits(const sparse_rows *rows, const ridge_scale *scale, const double *beta,
                  double *out);

#endif
