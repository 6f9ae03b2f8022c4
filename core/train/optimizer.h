/* AdamW with decoupled weight decay, clipping by the global norm, and the learning-rate schedule.
 * It walks the model's table of tensors; sums are taken in a fixed order, so that the result does
 * not depend on which thread did what. */
#ifndef RZ_TRAIN_OPTIMIZER_H
#define RZ_TRAIN_OPTIMIZER_H

#include "model/model.h"

typedef struct rz_optimizer_options {
    double beta1, beta2, epsilon; /* 0.9, 0.999, 1e-8 */
    double weight_decay;          /* of tensors marked `decay`; 0.01 */
    double clip;                  /* largest global gradient norm; 0 = no clipping; 1 */
} rz_optimizer_options;

rz_optimizer_options rz_optimizer_options_defaults(void);

typedef struct rz_optimizer_piece { /* a part of one tensor: the unit of parallel work */
    size_t offset, count;
    float rate; /* multiple of the learning rate */
    bool decay;
} rz_optimizer_piece;

typedef struct rz_optimizer {
    rz_optimizer_options options;
    uint64_t step;            /* updates made */
    float *moment1, *moment2; /* [n_parameters], owned */
    size_t n_parameters;
    rz_optimizer_piece *pieces; /* owned */
    double *partial;            /* [n_pieces] sums of squares */
    size_t n_pieces;
} rz_optimizer;

/* rates  NULL, or [n_tensors] multiples of the learning rate; with 0 a tensor keeps its values, and
 *        its gradient counts neither for the norm nor for the update */
RZ_MUST_CHECK rz_status rz_optimizer_init(rz_optimizer *optimizer, const rz_model *model,
                                          const float *rates, const rz_optimizer_options *options,
                                          rz_error *error);
void rz_optimizer_done(rz_optimizer *optimizer); /* accepts a zeroed one */

/* One update of the model's parameters from `grads` [n_parameters]; gives the norm before
 * clipping and changes model->parameters_version.
 * Errors  RZ_E_RANGE when the norm is not finite; nothing is then changed.
 * Source  Loshchilov and Hutter 2019, algorithm 2. */
RZ_MUST_CHECK rz_status rz_optimizer_update(rz_optimizer *optimizer, rz_model *model,
                                            const float *grads, double learning_rate,
                                            double *grad_norm, rz_error *error);

/* The highest learning rate of a run that does not say otherwise: 1.5e-3 for 128 hidden, falling
 * with the width above (every unit's step adds to the next layer's sums) and with its square root
 * below; a fifth of that with norm = post, whose residual path passes a norm in each layer and
 * collapses at rates that norm = pre takes. */
double rz_learning_rate_default(const rz_config *config);

/* Linear warm-up over `warmup` of the run, then half a cosine down to a tenth at its end.
 *   progress  share of the run that is done, 0 … 1
 *   warmup    share, 0 … 1 */
double rz_schedule(double learning_rate, double progress, double warmup);

#endif
