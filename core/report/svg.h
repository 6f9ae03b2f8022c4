/* A small SVG writer: a drawing is text in a bounded buffer, a plot is a frame with two axes in it.
 *
 *     rz_svg svg;
 *     rz_svg_begin(&svg, 640, 420, "Losses");
 *     rz_plot plot = {.left = 70, .top = 50, .width = 540, .height = 310,
 *                     .x = {.label = "step", .low = 0, .high = 900}, .y = {…}};
 *     rz_plot_frame(&svg, &plot);
 *     rz_plot_line(&svg, &plot, x, y, n, RZ_COLOR_BLUE, NULL);
 *     check(rz_svg_end(&svg, &text, &error));
 *
 * Drawing calls never fail one by one: the first failure is kept and rz_svg_end returns it. No
 * scripts, fonts or references to anything outside; all text is escaped. Numbers are written with a
 * point whatever the locale. */
#ifndef RZ_REPORT_SVG_H
#define RZ_REPORT_SVG_H

#include "base/buffer.h"

#include <stdbool.h>

/* Okabe and Ito's palette, which people with any common colour blindness can tell apart. */
#define RZ_COLOR_BLUE   "#0072b2"
#define RZ_COLOR_ORANGE "#d55e00"
#define RZ_COLOR_GREEN  "#009e73"
#define RZ_COLOR_PURPLE "#a0568c"
#define RZ_COLOR_GREY   "#6b7280"

typedef struct rz_svg {
    rz_buffer text;
    rz_status failed;
} rz_svg;

typedef enum rz_anchor { RZ_ANCHOR_START, RZ_ANCHOR_MIDDLE, RZ_ANCHOR_END } rz_anchor;

/* `title` is what a screen reader says of the drawing. */
void rz_svg_begin(rz_svg *svg, double width, double height, const char *title);
void rz_svg_text(rz_svg *svg, double x, double y, double size, rz_anchor anchor, const char *color,
                 bool bold, const char *text);
void rz_svg_segment(rz_svg *svg, double x1, double y1, double x2, double y2, const char *color,
                    double width, const char *dash);
void rz_svg_rectangle(rz_svg *svg, double x, double y, double width, double height,
                      const char *fill, double opacity);
void rz_svg_circle(rz_svg *svg, double x, double y, double radius, const char *fill,
                   double opacity);

/* A filled mark of another shape for each number (circle, square, triangle, diamond, triangle on
 * its head, upright cross, then again), so that colour is never all that tells series apart. */
void rz_svg_marker(rz_svg *svg, double x, double y, double radius, size_t shape, const char *fill);

/* Text that runs upwards, for a vertical axis. */
void rz_svg_vertical_text(rz_svg *svg, double x, double y, double size, const char *text);
/* points: "x,y x,y …" in the drawing's units; the polygon is filled lightly. */
void rz_svg_polyline(rz_svg *svg, const char *points, const char *color, const char *dash);

/* Closes the drawing and appends it to `out`; frees the writer on any outcome. */
RZ_MUST_CHECK rz_status rz_svg_end(rz_svg *svg, rz_buffer *out, rz_error *error);

/* ---- plots -------------------------------------------------------------------------------- */

typedef struct rz_axis {
    const char *label;
    double low, high; /* low < high; both > 0 on a logarithmic axis */
    bool logarithmic;
    bool percent;             /* 0.25 is written "25 %" */
    const char *const *names; /* NULL, or [n_names] what stands at 0, 1, 2 … in place of numbers */
    size_t n_names;
} rz_axis;

typedef struct rz_plot {
    double left, top, width, height; /* of the frame, in the drawing's units */
    rz_axis x, y;
} rz_plot;

/* Place of a value within the drawing; values outside the axis stop at its end. */
double rz_plot_x(const rz_plot *plot, double value);
double rz_plot_y(const rz_plot *plot, double value);

/* Grid, ticks, numbers and labels. */
void rz_plot_frame(rz_svg *svg, const rz_plot *plot);
/* Points that are not finite are left out. dash: NULL or an SVG dash pattern. */
void rz_plot_line(rz_svg *svg, const rz_plot *plot, const double *x, const double *y, size_t n,
                  const char *color, const char *dash);
void rz_plot_points(rz_svg *svg, const rz_plot *plot, const double *x, const double *y, size_t n,
                    const char *color, double radius, double opacity);
/* Marks of one shape, as rz_svg_marker has them. */
void rz_plot_markers(rz_svg *svg, const rz_plot *plot, const double *x, const double *y, size_t n,
                     size_t shape, const char *color);
void rz_plot_error_bar(rz_svg *svg, const rz_plot *plot, double x, double low, double high,
                       const char *color);
void rz_plot_bar(rz_svg *svg, const rz_plot *plot, double x_low, double x_high, double y,
                 const char *color, double opacity);
/* One row of a legend: a line sample and text, at a place of the drawing. */
void rz_svg_legend(rz_svg *svg, double x, double y, const char *color, const char *dash,
                   const char *text);

/* Round tick values (1, 2 or 5 times a power of ten) within low … high, at most `cap`; about
 * `wanted` of them. Returns how many. */
size_t rz_ticks(double low, double high, bool logarithmic, size_t wanted, double *out, size_t cap);
/* The smallest round number that is not below `value` (> 0). */
double rz_round_up(double value);

/* ---- text --------------------------------------------------------------------------------- */

enum { RZ_NUMBER_TEXT = 40 };

/* A number with so many decimals, with a point; "-" stands for one that is not finite. */
const char *rz_number_text(double value, int decimals, char out[RZ_NUMBER_TEXT]);
/* Appends text with & < > " ' escaped and control characters left out (new line and tab stay). */
RZ_MUST_CHECK rz_status rz_escape(rz_buffer *out, const char *text);

#endif
