/* Calibration of all onsets: the maps of predict/onset.h, fitted on scores of the tuning part that
 * are counted in bins, so that memory grows with codes and not with patients. */
#ifndef RZ_TRAIN_ONSET_CALIBRATE_H
#define RZ_TRAIN_ONSET_CALIBRATE_H

#include "predict/onset.h"

enum {
    RZ_ONSET_BINS = 1024,          /* of logits, 1/32 wide, from -24 to 8; beyond: the last ones */
    RZ_ONSET_POSITIVES_MIN = 20,   /* of a kind, for maps of its own; of all codes, for any */
    RZ_ONSET_RANKED_POSITIVES = 10 /* of a code whose AUROC is worth a look */
};

typedef struct rz_onset_scores {
    size_t n_codes;
    uint32_t *n, *positives; /* [n_codes, RZ_ONSET_BINS], owned: labels that count */
} rz_onset_scores;

RZ_MUST_CHECK rz_status rz_onset_scores_init(rz_onset_scores *scores, size_t n_codes,
                                             rz_error *error);
void rz_onset_scores_done(rz_onset_scores *scores); /* accepts a zeroed one */
void rz_onset_scores_add(rz_onset_scores *scores, size_t code, double logit, bool positive);

/* Fits center, intercept, slope, covariance and the tuning counts of every code of `onset`, and
 * fills onset->kinds. A kind with fewer than RZ_ONSET_POSITIVES_MIN positives shares its map with
 * the other.
 *   n_diagnoses  the first codes are diagnoses
 * Errors  RZ_E_INVALID with fewer positives than that in all. */
RZ_MUST_CHECK rz_status rz_onset_calibrate(const rz_onset_scores *scores, size_t n_diagnoses,
                                           rz_onset *onset, rz_error *error);

/* AUROC of a code from the bins (ties within a bin count half); NaN without both classes. */
double rz_onset_auroc(const rz_onset_scores *scores, size_t code);

#endif
