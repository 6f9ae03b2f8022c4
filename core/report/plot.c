/* Axes with round ticks, and series drawn into their frame. */
#include "report/svg.h"

#include <math.h>
#include <stdio.h>

enum { TICKS_MAX = 16, POINTS_BYTES_MAX = 4 << 20 };

#define GRID "#e5e7eb"
#define EDGE "#9ca3af"
#define SOFT "#4b5563"

double rz_round_up(double value)
{
    if (!(value > 0.0) || !isfinite(value))
        return 1.0;
    double power = pow(10.0, floor(log10(value)));
    static const double steps[] = {1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (steps[i] * power >= value * (1.0 - 1e-9))
            return steps[i] * power;
    return 10.0 * power;
}

static size_t linear_ticks(double low, double high, size_t wanted, double *out, size_t cap)
{
    double rough = (high - low) / (double)(wanted > 0 ? wanted : 1);
    double power = pow(10.0, floor(log10(rough))), step = 10.0 * power;
    static const double steps[] = {1.0, 2.0, 5.0};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (steps[i] * power >= rough * 0.75) {
            step = steps[i] * power;
            break;
        }
    }
    size_t n = 0;
    double first = ceil(low / step - 1e-9);
    for (size_t i = 0; n < cap && i < cap; i++) {
        double value = (first + (double)i) * step;
        if (value > high + 1e-9 * (high - low))
            break;
        out[n++] = fabs(value) < 1e-9 * step ? 0.0 : value;
    }
    return n;
}

/* 1, 2, 5 of each decade while they are few, then whole decades, then every second one … */
static size_t log_ticks(double low, double high, size_t wanted, double *out, size_t cap)
{
    double decades = log10(high) - log10(low);
    bool finer = decades * 3.0 <= 2.0 * (double)wanted;
    int first = (int)floor(log10(low));
    int stride = finer ? 1 : (int)ceil(decades / (double)(wanted + 2));
    size_t n = 0;
    for (int d = first; d <= log10(high) + 1e-9 && n < cap; d += stride) {
        static const double parts[] = {1.0, 2.0, 5.0};
        for (size_t i = 0; i < (finer ? 3u : 1u) && n < cap; i++) {
            double value = parts[i] * pow(10.0, d);
            if (value >= low * (1.0 - 1e-9) && value <= high * (1.0 + 1e-9))
                out[n++] = value;
        }
    }
    return n;
}

size_t rz_ticks(double low, double high, bool logarithmic, size_t wanted, double *out, size_t cap)
{
    if (!(high > low) || !isfinite(low) || !isfinite(high) || (logarithmic && !(low > 0.0)))
        return 0;
    return logarithmic ? log_ticks(low, high, wanted, out, cap)
                       : linear_ticks(low, high, wanted, out, cap);
}

/* 0 … 1 along an axis. */
static double fraction(const rz_axis *axis, double value)
{
    double low = axis->low, high = axis->high;
    if (axis->logarithmic) {
        value = log10(value > low ? value : low);
        low = log10(low);
        high = log10(high);
    }
    double f = (value - low) / (high - low);
    return f < 0.0 || isnan(f) ? 0.0 : f > 1.0 ? 1.0 : f;
}

double rz_plot_x(const rz_plot *plot, double value)
{
    return plot->left + plot->width * fraction(&plot->x, value);
}

double rz_plot_y(const rz_plot *plot, double value)
{
    return plot->top + plot->height * (1.0 - fraction(&plot->y, value));
}

/* As many decimals as tell the ticks apart; thousands as "12k" to keep the numbers short. */
static const char *tick_text(const rz_axis *axis, double value, double step, char out[48])
{
    char number[RZ_NUMBER_TEXT];
    if (axis->percent) {
        value *= 100.0;
        step *= 100.0;
    }
    const char *unit = axis->percent ? " %" : "";
    if (!axis->percent && fabs(step) >= 1e6 - 1.0) {
        value /= 1e6;
        step /= 1e6;
        unit = "M";
    } else if (!axis->percent && fabs(step) >= 1e3 - 1e-3) {
        value /= 1e3;
        step /= 1e3;
        unit = "k";
    }
    int decimals = 0;
    while (decimals < 6 && fabs(step - round(step)) > 1e-6 * step) {
        step *= 10.0;
        decimals++;
    }
    (void)snprintf(out, 48, "%s%s", rz_number_text(value, decimals, number),
                   value == 0.0 && !axis->percent ? "" : unit);
    return out;
}

void rz_plot_frame(rz_svg *svg, const rz_plot *plot)
{
    double ticks[TICKS_MAX], right = plot->left + plot->width, bottom = plot->top + plot->height;
    char text[48];
    size_t n = rz_ticks(plot->y.low, plot->y.high, plot->y.logarithmic,
                        (size_t)(plot->height / 55.0), ticks, TICKS_MAX);
    for (size_t i = 0; i < n; i++) {
        double y = rz_plot_y(plot, ticks[i]);
        double step = plot->y.logarithmic || n < 2 ? ticks[i] : ticks[1] - ticks[0];
        rz_svg_segment(svg, plot->left, y, right, y, GRID, 1.0, NULL);
        rz_svg_text(svg, plot->left - 8.0, y + 4.0, 12.0, RZ_ANCHOR_END, SOFT, false,
                    tick_text(&plot->y, ticks[i], step, text));
    }
    for (size_t i = 0; plot->x.names != NULL && i < plot->x.n_names; i++)
        rz_svg_text(svg, rz_plot_x(plot, (double)i), bottom + 18.0, 12.0, RZ_ANCHOR_MIDDLE, SOFT,
                    false, plot->x.names[i]);
    n = plot->x.names != NULL ? 0
                              : rz_ticks(plot->x.low, plot->x.high, plot->x.logarithmic,
                                         (size_t)(plot->width / 75.0), ticks, TICKS_MAX);
    for (size_t i = 0; i < n; i++) {
        double x = rz_plot_x(plot, ticks[i]);
        double step = plot->x.logarithmic || n < 2 ? ticks[i] : ticks[1] - ticks[0];
        rz_svg_segment(svg, x, plot->top, x, bottom, GRID, 1.0, NULL);
        rz_svg_text(svg, x, bottom + 18.0, 12.0, RZ_ANCHOR_MIDDLE, SOFT, false,
                    tick_text(&plot->x, ticks[i], step, text));
    }
    rz_svg_segment(svg, plot->left, bottom, right, bottom, EDGE, 1.0, NULL);
    rz_svg_segment(svg, plot->left, plot->top, plot->left, bottom, EDGE, 1.0, NULL);
    if (plot->x.label != NULL)
        rz_svg_text(svg, plot->left + plot->width / 2.0, bottom + 40.0, 13.0, RZ_ANCHOR_MIDDLE,
                    NULL, false, plot->x.label);
    if (plot->y.label != NULL)
        rz_svg_vertical_text(svg, plot->left - 52.0, plot->top + plot->height / 2.0, 13.0,
                             plot->y.label);
}

static bool add_point(rz_svg *svg, rz_buffer *points, const rz_plot *plot, double x, double y)
{
    char a[RZ_NUMBER_TEXT], b[RZ_NUMBER_TEXT];
    if (!isfinite(x) || !isfinite(y))
        return false;
    if (svg->failed == RZ_OK)
        svg->failed = rz_buffer_addf(points, "%s,%s ", rz_number_text(rz_plot_x(plot, x), 1, a),
                                     rz_number_text(rz_plot_y(plot, y), 1, b));
    return true;
}

void rz_plot_line(rz_svg *svg, const rz_plot *plot, const double *x, const double *y, size_t n,
                  const char *color, const char *dash)
{
    rz_buffer points;
    size_t drawn = 0, last = 0;
    rz_buffer_init(&points, POINTS_BYTES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (add_point(svg, &points, plot, x[i], y[i])) {
            drawn++;
            last = i;
        }
    }
    /* A line through one point would be invisible. */
    if (drawn == 1)
        rz_svg_circle(svg, rz_plot_x(plot, x[last]), rz_plot_y(plot, y[last]), 3.5, color, 1.0);
    else if (drawn > 1)
        rz_svg_polyline(svg, points.data, color, dash);
    rz_buffer_done(&points);
}

void rz_plot_points(rz_svg *svg, const rz_plot *plot, const double *x, const double *y, size_t n,
                    const char *color, double radius, double opacity)
{
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]) && isfinite(y[i]))
            rz_svg_circle(svg, rz_plot_x(plot, x[i]), rz_plot_y(plot, y[i]), radius, color,
                          opacity);
}

void rz_plot_markers(rz_svg *svg, const rz_plot *plot, const double *x, const double *y, size_t n,
                     size_t shape, const char *color)
{
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]) && isfinite(y[i]))
            rz_svg_marker(svg, rz_plot_x(plot, x[i]), rz_plot_y(plot, y[i]), 4.5, shape, color);
}

void rz_plot_error_bar(rz_svg *svg, const rz_plot *plot, double x, double low, double high,
                       const char *color)
{
    if (!isfinite(x) || !isfinite(low) || !isfinite(high))
        return;
    double at = rz_plot_x(plot, x), top = rz_plot_y(plot, high), bottom = rz_plot_y(plot, low);
    rz_svg_segment(svg, at, top, at, bottom, color, 1.5, NULL);
    rz_svg_segment(svg, at - 3.5, top, at + 3.5, top, color, 1.5, NULL);
    rz_svg_segment(svg, at - 3.5, bottom, at + 3.5, bottom, color, 1.5, NULL);
}

void rz_plot_bar(rz_svg *svg, const rz_plot *plot, double x_low, double x_high, double y,
                 const char *color, double opacity)
{
    if (!isfinite(y) || !(y > plot->y.low))
        return;
    double left = rz_plot_x(plot, x_low), right = rz_plot_x(plot, x_high), top = rz_plot_y(plot, y);
    rz_svg_rectangle(svg, left + 0.5, top, right - left - 1.0, plot->top + plot->height - top,
                     color, opacity);
}

void rz_svg_legend(rz_svg *svg, double x, double y, const char *color, const char *dash,
                   const char *text)
{
    rz_svg_segment(svg, x, y - 4.0, x + 22.0, y - 4.0, color, 2.5, dash);
    rz_svg_text(svg, x + 29.0, y, 12.5, RZ_ANCHOR_START, NULL, false, text);
}
