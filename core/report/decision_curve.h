/* Decision curves (metrics/decision.h) as JSON, as a picture and as a part of a page. */
#ifndef RZ_REPORT_DECISION_CURVE_H
#define RZ_REPORT_DECISION_CURVE_H

#include "metrics/decision.h"
#include "report/page.h"

#include <jansson.h>

/* {"reason", "prevalence", "points": [{"threshold", "times_prevalence", "treated",
 *   "true_positives", "net_benefit": {"model", "age_sex", "treat_all", "treat_none"},
 *   "model_minus_default", "model_minus_age_sex"}, …]}; new. */
json_t *rz_decision_json(const rz_decision *decision);

/* A complete SVG of 640 x 420: net benefit of the model with its band, of age and sex alone, of
 * treating all and of treating none. Errors  RZ_E_NO_MEMORY, RZ_E_TOO_LARGE. */
RZ_MUST_CHECK rz_status rz_chart_decision(const rz_decision *decision, rz_buffer *out,
                                          rz_error *error);

/* What the curve says, in words and in a table of a few thresholds; the picture is drawn apart. */
void rz_decision_page(const rz_decision *decision, rz_page *page);

#endif
