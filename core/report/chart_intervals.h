/* A picture of figures with their intervals: groups of marks, and levels to hold them against. */
#ifndef RZ_REPORT_CHART_INTERVALS_H
#define RZ_REPORT_CHART_INTERVALS_H

#include "base/buffer.h"
#include "report/svg.h"

enum { RZ_CHART_MARKS_MAX = 8, RZ_CHART_LEVELS_MAX = 8, RZ_CHART_STYLES = 8 };

/* Marks of one kind, told apart from others by shape and colour. NaN in y is left out. */
typedef struct rz_chart_marks {
    const char *name;
    size_t style; /* colour and shape, 0 … RZ_CHART_STYLES - 1: the same thing has the same one in
                     every picture */
    const double *x, *y, *low, *high; /* [n] borrowed; low and high may be NULL, or NaN in part */
    size_t n;
    const char *const *texts; /* NULL, or [n] what stands beside each mark */
    bool joined;              /* by a line, in the order given */
    bool bare;                /* joined, and no marks: a curve */
} rz_chart_marks;

/* A value that is the same everywhere: a dashed line across. NaN is left out. */
typedef struct rz_chart_level {
    const char *name;
    size_t style; /* colour and dashes, as above */
    double value;
} rz_chart_level;

/* A complete SVG, 480 wide, so that two fit beside each other on paper; the legend lies below.
 *
 *   x        its label and names, or its label and whether it is logarithmic; low and high are
 *            computed. With names, marks of the same place are set apart a little
 *   y_label  the vertical axis covers all marks, intervals and levels, not necessarily 0
 *
 * Nothing to draw is said in the picture and is no error. Errors  RZ_E_NO_MEMORY, RZ_E_TOO_LARGE.
 */
RZ_MUST_CHECK rz_status rz_chart_intervals(const char *title, rz_axis x, const char *y_label,
                                           const rz_chart_marks *marks, size_t n_marks,
                                           const rz_chart_level *levels, size_t n_levels,
                                           rz_buffer *out, rz_error *error);

#endif
