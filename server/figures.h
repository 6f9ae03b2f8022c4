/* What can be drawn of a task on a models page, from what its model's folder holds. */
#ifndef REZEPTD_FIGURES_H
#define REZEPTD_FIGURES_H

#include "predict/predictor.h"

/* {"split", "n", "positives", "training_prior", "prevalence", "bins", "band", "decision_curve"};
 * null for what the calibration lacks. New; NULL when memory is exhausted. */
json_t *figures_json(const rz_head *head);

#endif
