/* All onsets at once: what a model's folder says of its onset head (onset.json), and what "first
 * recorded" means, the same for training and for serving.
 *
 * A patient has a risk for a code when the code is in no event known by as_of; it comes when an
 * event of the code lies 1 … horizon_days after as_of. Codes are compared as the vocabulary writes
 * them (truncated), so N18.9 and N18.91 are one code; a shorter one (N18) is another.
 *
 * onset.json: {"format_version": 1, "vocabulary_sha256", "precision", "date", "min_history_days",
 *   "horizon_days", "kinds": […], "metrics": {…}, "columns": […], "codes": [[a number for each
 *   column], …]}, codes in the order of the vocabulary. */
#ifndef RZ_PREDICT_ONSET_H
#define RZ_PREDICT_ONSET_H

#include "model/checkpoint.h"
#include "predict/calibration.h"
#include "tasks/age_sex.h"
#include "tasks/task.h"

enum { RZ_ONSET_HORIZON_DAYS = 365, RZ_ONSET_HISTORY_DAYS = 365 };

/* logit of the risk = center + intercept + slope (z - center), z the head's logit. Intercept and
 * slope are shrunken towards those of the code's kind; their covariance is that of the posterior,
 * so that a code that was hardly ever seen has a wide band. Source: models/MODEL.md, Onsets. */
typedef struct rz_onset_code {
    double center; /* mean logit of the tuning patients */
    double intercept, slope;
    double intercept_variance, covariance, slope_variance;
    double age_sex_beta[RZ_AGE_SEX_FEATURES + 1];
    uint32_t train_n, train_positives;   /* labels that count, and those that are positive … */
    uint32_t tuning_n, tuning_positives; /* … of the tuning part: one day a patient */
} rz_onset_code;

typedef struct rz_onset {
    size_t n_codes;
    rz_onset_code *codes; /* [n_codes], owned; in the order of the vocabulary */
    rz_precision precision;
    json_t *kinds, *metrics;     /* owned; shown as they are */
    char date[11];               /* YYYY-MM-DD */
    char sha256[RZ_SHA256_TEXT]; /* of onset.json: the calibration's id; set by reading and writing
                                  */
} rz_onset;

/* Room for n codes, all zero. */
RZ_MUST_CHECK rz_status rz_onset_init(rz_onset *onset, size_t n_codes, rz_error *error);
void rz_onset_done(rz_onset *onset); /* accepts a zeroed one */

/* onset.json of a model's folder. Errors  RZ_E_CORRUPT naming the code and the column, or when it
 * was made for another vocabulary; RZ_E_UNSUPPORTED (format version); RZ_E_NOT_FOUND. */
RZ_MUST_CHECK rz_status rz_onset_read(const char *folder, const rz_vocabulary *vocabulary,
                                      rz_onset *out, rz_error *error);
RZ_MUST_CHECK rz_status rz_onset_write(const char *folder, const rz_vocabulary *vocabulary,
                                       rz_onset *onset, rz_error *error);

/* logit -> risk with its band; similar_n and similar_positives are those of the tuning part. */
void rz_onset_apply(const rz_onset_code *code, double logit, rz_calibrated *out);

/* The population as a task without outcomes: it decides who has any onset risk on a day, and which
 * day is a patient's index. */
rz_task rz_onset_task(void);

/* Bits of the codes, rz_onset_words of the vocabulary each, overwritten: those known by as_of, and
 * those recorded within the horizon after it. Suspected diagnoses are neither. */
void rz_onset_recorded(const rz_vocabulary *vocabulary, const rz_timeline *timeline, int32_t as_of,
                       uint64_t *bits);
void rz_onset_coming(const rz_vocabulary *vocabulary, const rz_timeline *timeline, int32_t as_of,
                     uint64_t *bits);

#endif
