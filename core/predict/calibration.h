/* The calibration map: from a model's logit to a probability with the uncertainty of the curve.
 *
 * logit -> prior correction (training prior to the prevalence where it is used) -> Platt or
 * isotonic map -> probability. The band is the 95 % band of the calibration curve at that score,
 * from patient bootstraps of the tuning split: how sure we are of the frequency among patients
 * scored alike, not about this person. */
#ifndef RZ_PREDICT_CALIBRATION_H
#define RZ_PREDICT_CALIBRATION_H

#include "base/hash.h"
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { RZ_BAND_POINTS = 64, RZ_ISOTONIC_MAX = 256, RZ_SCORE_BINS = 10 };

typedef enum rz_calibration_method {
    RZ_CALIBRATION_PLATT,
    RZ_CALIBRATION_ISOTONIC
} rz_calibration_method;

typedef struct rz_calibration {
    rz_calibration_method method;
    double training_prior, prevalence; /* prior correction: logit shift between the two */
    double intercept, slope;           /* Platt, on the corrected logit; slope > 0 */
    size_t n_knots;                    /* isotonic: x and y non-decreasing */
    double knot_x[RZ_ISOTONIC_MAX], knot_y[RZ_ISOTONIC_MAX];
    size_t n_band; /* points of the band, ascending in the corrected logit; linear between */
    double band_x[RZ_BAND_POINTS], band_low[RZ_BAND_POINTS], band_high[RZ_BAND_POINTS];
    /* "Patients scored like this": tenths of the tuning split by score. */
    size_t n_bins;
    double bin_edge[RZ_SCORE_BINS + 1]; /* probabilities */
    uint32_t bin_n[RZ_SCORE_BINS], bin_positives[RZ_SCORE_BINS];
    size_t n_means;                 /* n_bins, or 0 of files that do not tell … */
    double bin_mean[RZ_SCORE_BINS]; /* … the mean probability of a bin's patients */
    uint32_t tuning_n, tuning_positives, bootstraps;
    char date[11];           /* YYYY-MM-DD */
    char id[RZ_SHA256_TEXT]; /* SHA-256 of the table without date and id */
} rz_calibration;

typedef struct rz_calibrated {
    double probability, low, high;
    uint32_t similar_n, similar_positives; /* the bin of the score */
} rz_calibrated;

/* logit -> risk. Threads: safe. The probability always lies within [low, high]. */
void rz_calibration_apply(const rz_calibration *calibration, double logit, rz_calibrated *out);

/* Sets `id` from the table: whoever has made or changed a calibration calls it last.
 * Errors  RZ_E_NO_MEMORY; RZ_E_INVALID when the table is not one (names the number). */
RZ_MUST_CHECK rz_status rz_calibration_seal(rz_calibration *calibration, rz_error *error);

/* JSON in and out, exact to the last bit. Reading checks every number and the id. */
json_t *rz_calibration_to_json(const rz_calibration *calibration); /* new; NULL: out of memory */
RZ_MUST_CHECK rz_status rz_calibration_from_json(const json_t *json, rz_calibration *out,
                                                 rz_error *error);

#endif
