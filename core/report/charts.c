/* The charts. All have the title above, the frame on the left and, where the frame is square, the
 * legend to its right. */
#include "report/charts.h"

#include "base/size.h"
#include "metrics/rank.h"
#include "report/svg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CURVE_POINTS = 400, HISTOGRAM_BINS = 40, SCATTER_POINTS = 3000 };

static const char *const colors[RZ_CHART_SERIES_MAX] = {
    RZ_COLOR_BLUE, RZ_COLOR_ORANGE, RZ_COLOR_GREEN, RZ_COLOR_PURPLE, "#56b4e9", "#b8860b"};
static const char *const dashes[RZ_CHART_SERIES_MAX] = {NULL,      "6 4",  "2 3",
                                                        "9 3 2 3", "12 3", "1 3"};

static rz_plot wide(rz_axis x, rz_axis y)
{
    return (rz_plot){.left = 72, .top = 64, .width = 544, .height = 296, .x = x, .y = y};
}

static rz_plot square(rz_axis x, rz_axis y)
{
    return (rz_plot){.left = 72, .top = 48, .width = 312, .height = 312, .x = x, .y = y};
}

static void begin(rz_svg *svg, const char *title)
{
    rz_svg_begin(svg, RZ_CHART_WIDTH, RZ_CHART_HEIGHT, title);
    rz_svg_text(svg, 20, 28, 16, RZ_ANCHOR_START, NULL, true, title);
}

/* What is missing, where the picture would be. */
static rz_status nothing_to_draw(const char *title, const char *why, rz_buffer *out,
                                 rz_error *error)
{
    rz_svg svg;
    begin(&svg, title);
    rz_svg_text(&svg, RZ_CHART_WIDTH / 2.0, RZ_CHART_HEIGHT / 2.0, 14, RZ_ANCHOR_MIDDLE,
                RZ_COLOR_GREY, false, why);
    return rz_svg_end(&svg, out, error);
}

/* ---- training curves ---- */

/* Averages neighbouring rows so that at most CURVE_POINTS remain; returns how many. */
static size_t thin(const rz_series *series, double x[CURVE_POINTS], double y[CURVE_POINTS])
{
    size_t finite = 0, used = 0, seen = 0, in_group = 0;
    for (size_t i = 0; i < series->n; i++)
        finite += isfinite(series->x[i]) && isfinite(series->y[i]);
    double sum_x = 0.0, sum_y = 0.0;
    for (size_t i = 0; i < series->n; i++) {
        if (!isfinite(series->x[i]) || !isfinite(series->y[i]))
            continue;
        sum_x += series->x[i];
        sum_y += series->y[i];
        in_group++;
        seen++;
        /* The group ends where the next row would fall into the next of the places. */
        size_t places = finite < CURVE_POINTS ? finite : CURVE_POINTS;
        if (seen * places >= (used + 1) * finite && used < CURVE_POINTS) {
            x[used] = sum_x / (double)in_group;
            y[used++] = sum_y / (double)in_group;
            sum_x = sum_y = 0.0;
            in_group = 0;
        }
    }
    return used;
}

typedef struct range {
    double low, high;
} range;

static void widen(range *r, const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r->low = fmin(r->low, values[i]);
        r->high = fmax(r->high, values[i]);
    }
}

static rz_axis value_axis(const char *label, range r)
{
    rz_axis axis = {.label = label, .low = r.low, .high = r.high};
    axis.logarithmic = r.low > 0.0 && r.high / r.low > 30.0;
    if (axis.logarithmic) {
        axis.low = r.low / 1.1;
        axis.high = r.high * 1.1;
    } else {
        double room = (r.high - r.low) * 0.05;
        if (!(room > 1e-9 * fmax(1.0, fabs(r.high))))
            room = fmax(1e-3, fabs(r.high) * 0.05); /* a constant still gets an axis around it */
        axis.low = r.low >= 0.0 && r.low - room < 0.0 ? 0.0 : r.low - room;
        axis.high = r.high + room;
    }
    return axis;
}

rz_status rz_chart_curves(const char *title, const char *x_label, const char *y_label,
                          const rz_series *series, size_t n_series, rz_buffer *out, rz_error *error)
{
    size_t n[RZ_CHART_SERIES_MAX] = {0}, total = 0;
    range rx = {INFINITY, -INFINITY}, ry = {INFINITY, -INFINITY};
    if (n_series > RZ_CHART_SERIES_MAX)
        n_series = RZ_CHART_SERIES_MAX;
    double *points = malloc(sizeof *points * 2 * CURVE_POINTS * RZ_CHART_SERIES_MAX);
    if (points == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a chart");
    for (size_t s = 0; s < n_series; s++) {
        double *x = points + s * 2 * CURVE_POINTS, *y = x + CURVE_POINTS;
        n[s] = thin(&series[s], x, y);
        widen(&rx, x, n[s]);
        widen(&ry, y, n[s]);
        total += n[s];
    }
    if (total == 0) {
        free(points);
        return nothing_to_draw(title, "nothing was recorded yet", out, error);
    }
    if (!(rx.high > rx.low)) {
        rx.low -= 0.5;
        rx.high += 0.5;
    }
    rz_svg svg;
    rz_plot plot =
        wide((rz_axis){.label = x_label, .low = rx.low, .high = rx.high}, value_axis(y_label, ry));
    begin(&svg, title);
    rz_plot_frame(&svg, &plot);
    double place = plot.left;
    for (size_t s = 0; s < n_series; s++) {
        const double *x = points + s * 2 * CURVE_POINTS;
        if (n[s] == 0)
            continue;
        rz_plot_line(&svg, &plot, x, x + CURVE_POINTS, n[s], colors[s], dashes[s]);
        rz_svg_legend(&svg, place, 50, colors[s], dashes[s], series[s].name);
        place += 48.0 + 7.2 * (double)strlen(series[s].name);
    }
    free(points);
    return rz_svg_end(&svg, out, error);
}

/* ---- ROC and precision-recall ---- */

typedef enum rank_chart { ROC, PRECISION_RECALL } rank_chart;

/* The corners of one curve; all of them when they are few, else those that move it visibly. */
static size_t rank_curve(const rz_ranked *ranked, size_t n, size_t positives, rank_chart which,
                         double *x, double *y)
{
    double tp = 0.0, fp = 0.0, p = (double)positives, q = (double)(n - positives);
    size_t used = 0;
    if (which == ROC)
        x[used] = y[used] = 0.0, used++;
    for (size_t i = 0; i < n; i++) {
        if (ranked[i].label != 0)
            tp += 1.0;
        else
            fp += 1.0;
        if (ranked[i].tie_end == 0)
            continue;
        double px = which == ROC ? fp / q : tp / p, py = which == ROC ? tp / p : tp / (tp + fp);
        if (which == PRECISION_RECALL) {
            if (px == (used > 0 ? x[used - 1] : 0.0))
                continue; /* no recall gained: the step figure does not see this point */
            x[used] = used > 0 ? x[used - 1] : 0.0; /* step: the new precision from here on */
            y[used++] = py;
        } else if (used > 1 && i + 1 < n &&
                   fabs(px - x[used - 1]) + fabs(py - y[used - 1]) < 2e-3) {
            continue;
        }
        x[used] = px;
        y[used++] = py;
    }
    return used;
}

static rz_status draw_rank_curves(rz_svg *svg, const rz_plot *plot, rank_chart which,
                                  const rz_chart_scores *scores, size_t n_scores,
                                  const uint8_t *label, size_t n, size_t positives)
{
    size_t bytes;
    double *x = NULL;
    char text[96], number[RZ_NUMBER_TEXT];
    if (rz_size_mul(n + 1, 4 * sizeof *x, &bytes))
        x = malloc(bytes);
    if (x == NULL)
        return RZ_E_NO_MEMORY;
    double *y = x + 2 * (n + 1);
    rz_status status = RZ_OK;
    for (size_t s = n_scores; status == RZ_OK && s-- > 0;) { /* the model's own lies on top */
        rz_ranked *ranked = rz_rank(scores[s].score, label, n);
        if (ranked == NULL) {
            status = RZ_E_NO_MEMORY;
            break;
        }
        double auroc, precision;
        rz_rank_figures(ranked, n, NULL, &auroc, &precision);
        size_t used = rank_curve(ranked, n, positives, which, x, y);
        rz_plot_line(svg, plot, x, y, used, colors[s], dashes[s]);
        rz_svg_legend(svg, 412, 84 + 46.0 * (double)s, colors[s], dashes[s], scores[s].name);
        (void)snprintf(text, sizeof text, "%s %s", which == ROC ? "AUROC" : "average precision",
                       rz_number_text(which == ROC ? auroc : precision, 3, number));
        rz_svg_text(svg, 441, 102 + 46.0 * (double)s, 12.5, RZ_ANCHOR_START, RZ_COLOR_GREY, false,
                    text);
        free(ranked);
    }
    free(x);
    return status;
}

static rz_status rank_picture(rank_chart which, const char *title, rz_axis x, rz_axis y,
                              const rz_chart_scores *scores, size_t n_scores, const uint8_t *label,
                              size_t n, rz_buffer *out, rz_error *error)
{
    size_t positives = 0;
    char text[64], number[RZ_NUMBER_TEXT];
    for (size_t i = 0; i < n; i++)
        positives += label[i] != 0;
    if (positives == 0 || positives == n)
        return nothing_to_draw(title,
                               n == 0           ? "the cohort is empty"
                               : positives == 0 ? "no patient has the outcome"
                                                : "every patient has the outcome",
                               out, error);
    if (n_scores > RZ_CHART_SERIES_MAX)
        n_scores = RZ_CHART_SERIES_MAX;
    rz_svg svg;
    rz_plot plot = square(x, y);
    begin(&svg, title);
    rz_plot_frame(&svg, &plot);
    double chance = (double)positives / (double)n;
    const double ends[] = {0.0, 1.0}, level[] = {chance, chance};
    rz_plot_line(&svg, &plot, ends, which == ROC ? ends : level, 2, "#9ca3af", "4 4");
    rz_status status = draw_rank_curves(&svg, &plot, which, scores, n_scores, label, n, positives);
    double below = 84 + 46.0 * (double)n_scores;
    rz_svg_legend(&svg, 412, below, "#9ca3af", "4 4", "chance");
    (void)snprintf(text, sizeof text, "%zu of %zu positive (%s %%)", positives, n,
                   rz_number_text(100.0 * chance, 1, number));
    rz_svg_text(&svg, 412, below + 34, 12.5, RZ_ANCHOR_START, RZ_COLOR_GREY, false, text);
    if (svg.failed == RZ_OK)
        svg.failed = status;
    return rz_svg_end(&svg, out, error);
}

rz_status rz_chart_roc(const rz_chart_scores *scores, size_t n_scores, const uint8_t *label,
                       size_t n, rz_buffer *out, rz_error *error)
{
    rz_axis x = {.label = "1 - specificity", .low = 0.0, .high = 1.0};
    rz_axis y = {.label = "sensitivity", .low = 0.0, .high = 1.0};
    return rank_picture(ROC, "Discrimination (ROC)", x, y, scores, n_scores, label, n, out, error);
}

rz_status rz_chart_precision_recall(const rz_chart_scores *scores, size_t n_scores,
                                    const uint8_t *label, size_t n, rz_buffer *out, rz_error *error)
{
    rz_axis x = {.label = "sensitivity (recall)", .low = 0.0, .high = 1.0};
    rz_axis y = {.label = "positive among those flagged (precision)", .low = 0.0, .high = 1.0};
    return rank_picture(PRECISION_RECALL, "Precision and recall", x, y, scores, n_scores, label, n,
                        out, error);
}

/* ---- calibration ---- */

void rz_wilson(size_t positives, size_t n, double *low, double *high)
{
    if (n == 0) {
        *low = *high = NAN;
        return;
    }
    const double z = 1.959963984540054;
    double size = (double)n, share = (double)positives / size, scale = 1.0 + z * z / size;
    double middle = (share + z * z / (2.0 * size)) / scale;
    double half = z * sqrt(share * (1.0 - share) / size + z * z / (4.0 * size * size)) / scale;
    /* Exact at the ends, where rounding would leave 1e-17 above an observed 0. */
    *low = positives == 0 ? 0.0 : middle - half;
    *high = positives == n ? 1.0 : middle + half;
}

rz_status rz_chart_calibration(const rz_metrics *metrics, rz_buffer *out, rz_error *error)
{
    static const char title[] = "Calibration by tenth of the score";
    double top = 0.0, x[RZ_METRICS_BINS], y[RZ_METRICS_BINS], low[RZ_METRICS_BINS],
           high[RZ_METRICS_BINS];
    size_t n = metrics->n_deciles;
    if (n == 0)
        return nothing_to_draw(title, "the cohort is empty", out, error);
    for (size_t i = 0; i < n; i++) {
        const rz_calibration_bin *bin = &metrics->deciles[i];
        x[i] = bin->mean_predicted;
        y[i] = bin->observed;
        rz_wilson(bin->positives, bin->n, &low[i], &high[i]);
        top = fmax(top, fmax(x[i], high[i]));
    }
    top = fmin(1.0, rz_round_up(top * 1.02));
    rz_axis across = {.label = "mean predicted risk", .low = 0.0, .high = top, .percent = true};
    rz_axis up = {.label = "observed share", .low = 0.0, .high = top, .percent = true};
    rz_svg svg;
    rz_plot plot = square(across, up);
    begin(&svg, title);
    rz_plot_frame(&svg, &plot);
    const double diagonal[] = {0.0, top};
    rz_plot_line(&svg, &plot, diagonal, diagonal, 2, "#9ca3af", "4 4");
    for (size_t i = 0; i < n; i++)
        rz_plot_error_bar(&svg, &plot, x[i], low[i], high[i], RZ_COLOR_BLUE);
    rz_plot_points(&svg, &plot, x, y, n, RZ_COLOR_BLUE, 4.0, 1.0);
    rz_svg_legend(&svg, 412, 84, "#9ca3af", "4 4", "as predicted");
    rz_svg_legend(&svg, 412, 108, RZ_COLOR_BLUE, NULL, "observed, 95 % interval");
    static const char *const names[] = {"slope", "intercept", "observed / expected"};
    const double values[] = {metrics->calibration_slope.value, metrics->calibration_intercept.value,
                             metrics->observed_to_expected.value};
    for (size_t i = 0; i < RZ_COUNT(names); i++) {
        char text[64], number[RZ_NUMBER_TEXT];
        (void)snprintf(text, sizeof text, "%s %s", names[i], rz_number_text(values[i], 2, number));
        rz_svg_text(&svg, 412, 144 + 20.0 * (double)i, 12.5, RZ_ANCHOR_START, RZ_COLOR_GREY, false,
                    text);
    }
    return rz_svg_end(&svg, out, error);
}

/* ---- distribution of the scores ---- */

/* The range that holds all but the largest half percent, so that one outlier does not flatten it.
 */
static double upper_end(const double *probability, const uint8_t *label, size_t n)
{
    rz_ranked *ranked = rz_rank(probability, label, n);
    double end = ranked != NULL ? ranked[n / 200].score : 1.0;
    free(ranked);
    return fmin(1.0, rz_round_up(fmax(end, 1e-3)));
}

rz_status rz_chart_histogram(const double *probability, const uint8_t *label, size_t n,
                             rz_buffer *out, rz_error *error)
{
    static const char title[] = "Predicted risk of those with and without the outcome";
    if (n == 0)
        return nothing_to_draw(title, "the cohort is empty", out, error);
    double end = upper_end(probability, label, n), width = end / HISTOGRAM_BINS;
    double share[2][HISTOGRAM_BINS] = {{0}}, count[2] = {0}, top = 0.0;
    for (size_t i = 0; i < n; i++) {
        size_t bin = (size_t)(fmax(probability[i], 0.0) / width);
        int class = label[i] != 0 ? 1 : 0;
        share[class][bin < HISTOGRAM_BINS ? bin : HISTOGRAM_BINS - 1] += 1.0;
        count[class] += 1.0;
    }
    for (int c = 0; c < 2; c++)
        for (int b = 0; b < HISTOGRAM_BINS; b++) {
            share[c][b] = count[c] > 0.0 ? share[c][b] / count[c] : 0.0;
            top = fmax(top, share[c][b]);
        }
    rz_axis across = {.label = "predicted risk (the last bar holds all above)",
                      .low = 0.0,
                      .high = end,
                      .percent = true};
    rz_axis up = {
        .label = "share of the group", .low = 0.0, .high = rz_round_up(top), .percent = true};
    rz_svg svg;
    rz_plot plot = wide(across, up);
    begin(&svg, title);
    rz_plot_frame(&svg, &plot);
    double x[2 * HISTOGRAM_BINS + 2], y[2 * HISTOGRAM_BINS + 2];
    for (int b = 0; b < HISTOGRAM_BINS; b++) {
        rz_plot_bar(&svg, &plot, b * width, (b + 1) * width, share[0][b], RZ_COLOR_BLUE, 0.45);
        x[2 * b + 1] = b * width;
        x[2 * b + 2] = (b + 1) * width;
        y[2 * b + 1] = y[2 * b + 2] = share[1][b];
    }
    x[0] = y[0] = y[2 * HISTOGRAM_BINS + 1] = 0.0;
    x[2 * HISTOGRAM_BINS + 1] = end;
    if (count[1] > 0.0)
        rz_plot_line(&svg, &plot, x, y, RZ_COUNT(x), RZ_COLOR_ORANGE, NULL);
    char text[64];
    (void)snprintf(text, sizeof text, "without the outcome (%.0f)", count[0]);
    rz_svg_legend(&svg, plot.left, 50, RZ_COLOR_BLUE, NULL, text);
    (void)snprintf(text, sizeof text, "with the outcome (%.0f)", count[1]);
    rz_svg_legend(&svg, plot.left + 240, 50, RZ_COLOR_ORANGE, NULL, text);
    return rz_svg_end(&svg, out, error);
}

/* ---- against the truth ---- */

rz_status rz_chart_truth(const double *probability, const double *truth, size_t n, rz_buffer *out,
                         rz_error *error)
{
    static const char title[] = "Predicted against true risk";
    range r = {INFINITY, -INFINITY};
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(truth[i]))
            continue;
        known++;
        r.low = fmin(r.low, fmin(truth[i], probability[i]));
        r.high = fmax(r.high, fmax(truth[i], probability[i]));
    }
    if (known == 0)
        return nothing_to_draw(title, "no true risk is known for these patients", out, error);
    double low = fmax(1e-4, pow(10.0, floor(2.0 * log10(fmax(r.low, 1e-4))) / 2.0));
    rz_axis across = {
        .label = "predicted risk", .low = low, .high = 1.0, .logarithmic = true, .percent = true};
    rz_axis up = across;
    up.label = "true risk";
    rz_svg svg;
    rz_plot plot = square(across, up);
    begin(&svg, title);
    rz_plot_frame(&svg, &plot);
    const double diagonal[] = {low, 1.0};
    /* Thousands of dots are one cloud: an even choice of them shows the same. */
    size_t stride = (known + SCATTER_POINTS - 1) / SCATTER_POINTS, seen = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(truth[i]) && seen++ % stride == 0)
            rz_plot_points(&svg, &plot, &probability[i], &truth[i], 1, RZ_COLOR_BLUE, 2.0, 0.3);
    rz_plot_line(&svg, &plot, diagonal, diagonal, 2, RZ_COLOR_ORANGE, "6 4");
    rz_svg_legend(&svg, 412, 84, RZ_COLOR_ORANGE, "6 4", "predicted = true");
    char text[64];
    (void)snprintf(text, sizeof text, "%zu patients%s", known,
                   stride > 1 ? ", some of them drawn" : "");
    rz_svg_text(&svg, 412, 108, 12.5, RZ_ANCHOR_START, RZ_COLOR_GREY, false, text);
    return rz_svg_end(&svg, out, error);
}
