/* Tuning: every setting of an engine's grid, grown round by round until rows that it did not learn
 * from gain no more; the setting and the round with the lowest loss there are chosen. */
#ifndef RZ_MODELS_TUNING_H
#define RZ_MODELS_TUNING_H

#include "base/progress.h"
#include "engine.h"

enum { TUNING_NO_FOLD = 255, TUNING_FOLDS_MAX = 8 };

/* Rows to learn from and rows to watch. In fold k one learns from the rows with `learn` that the
 * fold does not watch, and watches those with fold[i] = k: a tuning part is one fold whose rows are
 * not learnt from, cross-fitting is several whose rows are all learnt from in the end. */
typedef struct tuning_rows {
    sparse_rows rows;
    uint8_t *label, *learn; /* [rows.n] owned, 0 or 1 */
    uint8_t *fold;          /* [rows.n] owned, or TUNING_NO_FOLD */
    size_t capacity;
    unsigned n_folds;
} tuning_rows;

/* One more row, whose features were just appended to rows->rows. */
RZ_MUST_CHECK rz_status tuning_rows_label(tuning_rows *rows, bool label, bool learn, uint8_t fold,
                                          rz_error *error);
void tuning_rows_done(tuning_rows *rows); /* accepts a zeroed one */

typedef struct tuning_trial {
    engine_setting setting;
    unsigned rounds; /* with the lowest loss */
    double loss;     /* mean over all watched rows */
    double seconds;
} tuning_trial;

typedef struct tuning_result {
    size_t n, best;
    tuning_trial *trials; /* [n] owned */
    double *logit;        /* [rows.n] owned: of the best, NaN for rows that no fold watches */
} tuning_result;

/* Errors  those of the engine; RZ_E_INVALID a fold without both classes; RZ_E_CANCELED. */
RZ_MUST_CHECK rz_status tuning_run(const engine *e, const engine_setting *settings, size_t n,
                                   const engine_options *options, const tuning_rows *rows,
                                   const rz_progress *progress, tuning_result *out,
                                   rz_error *error);
void tuning_result_done(tuning_result *result); /* accepts a zeroed one */

/* Some of the rows, in the engine's form as well. */
typedef struct tuning_part {
    sparse_rows rows;
    uint8_t *label;
    size_t *row; /* in the rows that it was taken from */
    size_t positives;
    void *table;
} tuning_part;

/* What is kept in the end: a fit of so many rounds on all rows with `learn`. */
typedef struct tuned {
    const engine *engine;
    tuning_part part;
    void *fit;
} tuned;

RZ_MUST_CHECK rz_status tuned_fit(const engine *e, const tuning_trial *trial,
                                  const engine_options *options, const tuning_rows *rows,
                                  const rz_progress *progress, tuned *out, rz_error *error);
void tuned_done(tuned *tuned); /* accepts a zeroed one */

#endif
