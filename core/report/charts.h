/* The pictures of training and evaluation, each a complete SVG of 640 x 420 appended to `out`.
 * What cannot be drawn (no data, one class only) is said in the picture and is no error.
 * Errors of all  RZ_E_NO_MEMORY, RZ_E_TOO_LARGE. */
#ifndef RZ_REPORT_CHARTS_H
#define RZ_REPORT_CHARTS_H

#include "base/buffer.h"
#include "metrics/metrics.h"

enum { RZ_CHART_WIDTH = 640, RZ_CHART_HEIGHT = 420, RZ_CHART_SERIES_MAX = 6 };

/* A named line; x ascending. NaN in y is left out, as where a log has no value in a row. */
typedef struct rz_series {
    const char *name;
    const double *x, *y; /* borrowed */
    size_t n;
} rz_series;

/* Training curves: losses (or any figures of one unit) over steps. Many rows are averaged into
 * as many as can be seen; the vertical axis is logarithmic when the values span decades. */
RZ_MUST_CHECK rz_status rz_chart_curves(const char *title, const char *x_label, const char *y_label,
                                        const rz_series *series, size_t n_series, rz_buffer *out,
                                        rz_error *error);

/* Scores of the same patients, the model's own first. */
typedef struct rz_chart_scores {
    const char *name;
    const double *score; /* [n], borrowed */
} rz_chart_scores;

RZ_MUST_CHECK rz_status rz_chart_roc(const rz_chart_scores *scores, size_t n_scores,
                                     const uint8_t *label, size_t n, rz_buffer *out,
                                     rz_error *error);
RZ_MUST_CHECK rz_status rz_chart_precision_recall(const rz_chart_scores *scores, size_t n_scores,
                                                  const uint8_t *label, size_t n, rz_buffer *out,
                                                  rz_error *error);

/* Observed share by tenth of the score with Wilson's 95 % intervals. */
RZ_MUST_CHECK rz_status rz_chart_calibration(const rz_metrics *metrics, rz_buffer *out,
                                             rz_error *error);

/* Distribution of the predicted probability among those with and without the outcome. */
RZ_MUST_CHECK rz_status rz_chart_histogram(const double *probability, const uint8_t *label,
                                           size_t n, rz_buffer *out, rz_error *error);

/* Predicted against true probability; rows whose truth is NaN are left out. */
RZ_MUST_CHECK rz_status rz_chart_truth(const double *probability, const double *truth, size_t n,
                                       rz_buffer *out, rz_error *error);

/* Wilson's 95 % interval of a share. */
void rz_wilson(size_t positives, size_t n, double *low, double *high);

#endif
