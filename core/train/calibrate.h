/* Calibration: fits the map of predict/calibration.h on a tuning split. */
#ifndef RZ_TRAIN_CALIBRATE_H
#define RZ_TRAIN_CALIBRATE_H

#include "predict/calibration.h"

/* Fits the map on a tuning split: Platt, or isotonic when asked for and at least 100 positives are
 * there; the band from `bootstraps` patient resamples.
 * weights are not needed: tuning patients are as they come, unless `balanced` labels were used,
 * where only the known prevalence is given and the correction does the rest.
 * Errors  RZ_E_INVALID: fewer than 5 positives or negatives; RZ_E_RANGE: logits not finite. */
RZ_MUST_CHECK rz_status rz_calibration_fit(const double *logit, const uint8_t *label, size_t n,
                                           double training_prior, double prevalence,
                                           rz_calibration_method method, unsigned bootstraps,
                                           uint64_t seed, rz_calibration *out, rz_error *error);

#endif
