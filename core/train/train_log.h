/* log.csv of a run: one row per logged step or evaluation. A resumed run cuts it back to the saved
 * state, so that the file reads as if nothing had happened. */
#ifndef RZ_TRAIN_TRAIN_LOG_H
#define RZ_TRAIN_TRAIN_LOG_H

#include "base/status.h"

#include <stdint.h>
#include <stdio.h>

typedef struct rz_train_log {
    FILE *stream; /* owned */
    char *path;   /* owned */
} rz_train_log;

typedef struct rz_train_row {
    uint64_t step, epoch;
    const char *split;   /* "train" or "tuning" */
    double loss;         /* NaN becomes an empty field, here and below */
    const double *terms; /* [n_terms], in the order of the header's names */
    size_t n_terms;
    double learning_rate, grad_norm, tokens_per_s, ms_per_step;
    double limit_share; /* speed over that of this machine's float32 products, rz_blas_speed */
    double seconds;
} rz_train_row;

/* Opens the log of a run.
 *   term_names  [n_terms] columns "loss_<name>" between loss and lr
 *   keep_bytes  0 starts a new file with its header; else the file is cut to so many bytes
 * Errors  RZ_E_CORRUPT when the file is shorter than that. */
RZ_MUST_CHECK rz_status rz_train_log_open(rz_train_log *log, const char *path,
                                          const char *const *term_names, size_t n_terms,
                                          uint64_t keep_bytes, rz_error *error);
RZ_MUST_CHECK rz_status rz_train_log_add(rz_train_log *log, const rz_train_row *row,
                                         rz_error *error);
/* Everything on disk; gives the length. */
RZ_MUST_CHECK rz_status rz_train_log_sync(rz_train_log *log, uint64_t *bytes, rz_error *error);
void rz_train_log_close(rz_train_log *log); /* accepts a zeroed one */

#endif
