/* Figures with intervals and levels. */
#include "report/chart_intervals.h"

#include "base/size.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 480, LEFT = 70, TOP = 40, FRAME_WIDTH = 390, FRAME_HEIGHT = 230, LEGEND_ROW = 20 };

static const char *const colors[RZ_CHART_STYLES] = {
    RZ_COLOR_BLUE, RZ_COLOR_ORANGE, RZ_COLOR_GREEN, RZ_COLOR_PURPLE,
    "#b8860b",     "#0f766e",       "#374151",      "#be185d"};
static const char *const dashes[RZ_CHART_STYLES] = {"12 3", "6 4", "2 3", "9 3 2 3",
                                                    "5 5",  "1 2", "8 4", "10 2 2 2"};

typedef struct range {
    double low, high;
} range;

static void widen(range *r, double value)
{
    if (isfinite(value)) {
        r->low = fmin(r->low, value);
        r->high = fmax(r->high, value);
    }
}

/* Covers the values with some room; 0 is the end where the values come near it. */
static rz_axis value_axis(const char *label, range r)
{
    double room = fmax(0.08 * (r.high - r.low), 1e-3);
    rz_axis axis = {.label = label, .low = r.low - room, .high = r.high + room};
    if (r.low >= 0.0 && r.low < 0.35 * r.high)
        axis.low = 0.0;
    return axis;
}

static rz_axis across(rz_axis x, range r)
{
    if (x.names != NULL) {
        x.low = -0.5;
        x.high = (double)x.n_names - 0.5;
    } else if (x.logarithmic && r.low > 0.0) {
        x.low = r.low / 1.8; /* room for the texts beside the outer marks */
        x.high = r.high * 1.8;
    } else {
        double room = fmax(0.06 * (r.high - r.low), 1e-9 + 1e-3 * fabs(r.high));
        x.logarithmic = false;
        x.low = r.low - room;
        x.high = r.high + room;
    }
    return x;
}

/* Marks at one named place would hide each other. */
static double set_apart(const rz_axis *x, size_t which, size_t n)
{
    return x->names == NULL ? 0.0 : 0.11 * ((double)which - 0.5 * (double)(n - 1));
}

/* Beside its mark, within the picture, and above or below by turns, so that marks of different
 * kinds at one place do not write over each other. */
static void draw_text(rz_svg *svg, const rz_plot *plot, double x, double y, size_t style,
                      const char *text)
{
    double at = rz_plot_x(plot, x);
    bool right = at > plot->left + plot->width - 44.0;
    rz_svg_text(svg, at + (right ? -8.0 : 8.0), rz_plot_y(plot, y) + (style % 2 == 0 ? -6.0 : 15.0),
                11.5, right ? RZ_ANCHOR_END : RZ_ANCHOR_START, colors[style], false, text);
}

static void draw_marks(rz_svg *svg, const rz_plot *plot, const rz_chart_marks *m, size_t which,
                       size_t n_marks)
{
    size_t style = m->style % RZ_CHART_STYLES;
    double apart = set_apart(&plot->x, which, n_marks), last_x = NAN, last_y = NAN;
    for (size_t i = 0; i < m->n; i++) {
        double x = m->x[i] + apart;
        if (!isfinite(m->y[i]) || !isfinite(x))
            continue;
        if ((m->joined || m->bare) && isfinite(last_x))
            rz_svg_segment(svg, rz_plot_x(plot, last_x), rz_plot_y(plot, last_y),
                           rz_plot_x(plot, x), rz_plot_y(plot, m->y[i]), colors[style], 1.5, NULL);
        last_x = x;
        last_y = m->y[i];
        if (m->low != NULL && m->high != NULL)
            rz_plot_error_bar(svg, plot, x, m->low[i], m->high[i], colors[style]);
    }
    for (size_t i = 0; i < m->n; i++) {
        double x = m->x[i] + apart;
        if (!m->bare)
            rz_plot_markers(svg, plot, &x, &m->y[i], 1, style, colors[style]);
        if (m->texts != NULL && isfinite(m->y[i]) && isfinite(x))
            draw_text(svg, plot, x, m->y[i], style, m->texts[i]);
    }
}

static void draw_legend(rz_svg *svg, double top, const rz_chart_marks *marks, size_t n_marks,
                        const rz_chart_level *levels, size_t n_levels)
{
    for (size_t i = 0; i < n_marks + n_levels; i++) {
        size_t row = i / 2;
        double x = LEFT + (i % 2 == 0 ? 0.0 : 206.0), y = top + LEGEND_ROW * (double)row;
        if (i >= n_marks) {
            size_t style = levels[i - n_marks].style % RZ_CHART_STYLES;
            rz_svg_legend(svg, x, y, colors[style], dashes[style], levels[i - n_marks].name);
            continue;
        }
        size_t style = marks[i].style % RZ_CHART_STYLES;
        if (marks[i].joined || marks[i].bare)
            rz_svg_segment(svg, x, y - 4.0, x + 22.0, y - 4.0, colors[style], 1.5, NULL);
        if (!marks[i].bare)
            rz_svg_marker(svg, x + 11.0, y - 4.0, 4.5, style, colors[style]);
        rz_svg_text(svg, x + 29.0, y, 12.5, RZ_ANCHOR_START, NULL, false, marks[i].name);
    }
}

rz_status rz_chart_intervals(const char *title, rz_axis x, const char *y_label,
                             const rz_chart_marks *marks, size_t n_marks,
                             const rz_chart_level *levels, size_t n_levels, rz_buffer *out,
                             rz_error *error)
{
    range rx = {INFINITY, -INFINITY}, ry = {INFINITY, -INFINITY};
    n_marks = n_marks < RZ_CHART_MARKS_MAX ? n_marks : RZ_CHART_MARKS_MAX;
    n_levels = n_levels < RZ_CHART_LEVELS_MAX ? n_levels : RZ_CHART_LEVELS_MAX;
    for (size_t s = 0; s < n_marks; s++)
        for (size_t i = 0; i < marks[s].n; i++) {
            if (!isfinite(marks[s].y[i]))
                continue;
            widen(&rx, marks[s].x[i]);
            widen(&ry, marks[s].y[i]);
            widen(&ry, marks[s].low != NULL ? marks[s].low[i] : NAN);
            widen(&ry, marks[s].high != NULL ? marks[s].high[i] : NAN);
        }
    bool drawn = isfinite(ry.low) && isfinite(rx.low);
    for (size_t i = 0; i < n_levels; i++)
        widen(&ry, levels[i].value);
    double legend = TOP + FRAME_HEIGHT + 66.0;
    size_t rows = (n_marks + n_levels + 1) / 2;
    rz_svg svg;
    rz_svg_begin(&svg, WIDTH, legend + LEGEND_ROW * (double)rows - 4.0, title);
    rz_svg_text(&svg, 16, 22, 14, RZ_ANCHOR_START, NULL, true, title);
    if (!drawn) {
        rz_svg_text(&svg, WIDTH / 2.0, TOP + FRAME_HEIGHT / 2.0, 13, RZ_ANCHOR_MIDDLE,
                    RZ_COLOR_GREY, false, "nothing was measured yet");
        return rz_svg_end(&svg, out, error);
    }
    rz_plot plot = {.left = LEFT,
                    .top = TOP,
                    .width = FRAME_WIDTH,
                    .height = FRAME_HEIGHT,
                    .x = across(x, rx),
                    .y = value_axis(y_label, ry)};
    rz_plot_frame(&svg, &plot);
    for (size_t i = 0; i < n_levels; i++)
        if (isfinite(levels[i].value))
            rz_svg_segment(&svg, LEFT, rz_plot_y(&plot, levels[i].value), LEFT + FRAME_WIDTH,
                           rz_plot_y(&plot, levels[i].value),
                           colors[levels[i].style % RZ_CHART_STYLES], 1.5,
                           dashes[levels[i].style % RZ_CHART_STYLES]);
    for (size_t s = 0; s < n_marks; s++)
        draw_marks(&svg, &plot, &marks[s], s, n_marks);
    draw_legend(&svg, legend, marks, n_marks, levels, n_levels);
    return rz_svg_end(&svg, out, error);
}
