/* Calibration: fits the map of predict/calibration.h on tuning labels. */
#ifndef RZ_TRAIN_CALIBRATE_H
#define RZ_TRAIN_CALIBRATE_H

#include "predict/calibration.h"

enum {
    RZ_CALIBRATION_CLASS_MIN = 5,     /* positives and negatives that a fit needs */
    RZ_CALIBRATION_ISOTONIC_MIN = 100 /* positives that the isotonic map needs */
};

/* A slope below this would turn the order of scores round or flatten them all; it is then set to
 * this value, the intercept is fitted again, and rz_calibration.slope shows it. */
#define RZ_CALIBRATION_SLOPE_MIN 0.05

typedef struct rz_calibration_options {
    rz_calibration_method method;
    double training_prior; /* share of positives that the model was trained with */
    double prevalence;     /* where risks are used */
    /* The labels are not as patients come (drawn half and half) or come from elsewhere: they are
     * weighted to `prevalence`, and no counts of "patients scored like this" are kept, as the
     * patients at hand do not show them. */
    bool prevalence_known;
    unsigned bootstraps; /* 1,000 */
    uint64_t seed;
} rz_calibration_options;

/* What a map is fitted on; borrowed. */
typedef struct rz_calibration_rows {
    size_t n;
    const double *logit;     /* [n] raw */
    const uint8_t *label;    /* [n] */
    const uint32_t *patient; /* [n] whose, as in metrics/metrics.h; NULL: each another's */
    const uint8_t *counted;  /* [n] 1: the row that stands for its patient where patients are
                                counted ("patients scored like this"); NULL: every row */
} rz_calibration_rows;

/* Fits the map: Platt with both classes softened by equal mass (so that separated classes have a
 * finite slope and the mean stays), or isotonic; the band from resamples of the patients.
 * Errors  RZ_E_INVALID: fewer than 5 positives or negatives, isotonic with fewer than 100
 *         positives, no row counted; RZ_E_RANGE: logits not finite or all equal, a prior not
 *         within (0, 1). */
RZ_MUST_CHECK rz_status rz_calibration_fit(const rz_calibration_rows *rows,
                                           const rz_calibration_options *options,
                                           rz_calibration *out, rz_error *error);

#endif
