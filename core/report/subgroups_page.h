/* Subgroups (metrics/subgroups.h) as JSON, as a part of a page and as a picture. */
#ifndef RZ_REPORT_SUBGROUPS_PAGE_H
#define RZ_REPORT_SUBGROUPS_PAGE_H

#include "metrics/subgroups.h"
#include "report/page.h"

#include <jansson.h>

/* [{"by", "name", "n", "positives", "reason", "auroc", "average_precision",
 *   "observed_to_expected", "calibration_slope"}, …]; figures null with the reason where there are
 * too few outcomes. New. */
json_t *rz_subgroups_json(const rz_subgroups *groups);

/* A table, and below it the picture. `whole` is of all patients together. */
void rz_subgroups_page(const rz_subgroups *groups, const rz_metrics *whole, rz_page *page,
                       rz_error *error);

/* The picture alone, a complete SVG 640 wide: observed / expected and AUROC of each measured group
 * with their intervals, beside those of all patients. The largest hospitals only, where there are
 * many. */
RZ_MUST_CHECK rz_status rz_chart_subgroups(const rz_subgroups *groups, const rz_metrics *whole,
                                           rz_buffer *out, rz_error *error);

#endif
