/* The report of a study: report.html, report.json and routing.json in its folder, from whatever is
 * finished so far. */
#ifndef RZ_MODELS_STUDY_REPORT_H
#define RZ_MODELS_STUDY_REPORT_H

#include "base/pool.h"
#include "base/progress.h"
#include "study_choice.h"

typedef struct study_report_options {
    unsigned bootstraps; /* of patients and seeds, behind each interval */
    uint64_t seed;       /* of the resamples */
    double margin;       /* of saturation, a share of the best average precision; 0 … 1 */
    study_prefer prefer; /* which size answers: the best one, or the saturated one */
    bool open_held_out;  /* once all is decided; report.json keeps when it was opened */
} study_report_options;

/* 1,000 resamples, seed 1, 5 %, accuracy, held_out closed. */
study_report_options study_report_options_defaults(void);

/* Reads the study in `folder`, computes and writes the three files, each whole or not at all. The
 * choice of sizes is made on the tuning split whether held_out is open or not.
 *
 *   pool  may be NULL; the files never depend on it
 *
 * Errors  those of study_results_read; RZ_E_RANGE for a margin outside 0 … 1; RZ_E_CORRUPT when an
 *         earlier report.json cannot be read, because it tells when held_out was opened. */
RZ_MUST_CHECK rz_status study_report_write(const char *folder, const study_report_options *options,
                                           rz_pool *pool, const rz_progress *progress,
                                           rz_error *error);

#endif
