/* Net benefit is written per 1,000 patients: "3 true positives more" is easier to picture than
 * "0.003". */
#include "report/decision_curve.h"

#include "base/size.h"
#include "report/charts.h"
#include "report/report.h"
#include "report/svg.h"

#include <math.h>
#include <string.h>

static const double PER = 1000.0;

/* ---- JSON ---- */

static json_t *point_json(const rz_decision_point *p)
{
    return json_pack("{s:f, s:f, s:I, s:I, s:{s:o, s:o, s:o, s:f}, s:o, s:o}", "threshold",
                     p->threshold, "times_prevalence", p->times_prevalence, "treated",
                     (json_int_t)p->treated, "true_positives", (json_int_t)p->true_positives,
                     "net_benefit", "model", rz_interval_json(&p->model), "age_sex",
                     rz_interval_json(&p->reference), "treat_all", rz_number_json(p->treat_all),
                     "treat_none", 0.0, "model_minus_default", rz_interval_json(&p->over_default),
                     "model_minus_age_sex", rz_interval_json(&p->over_reference));
}

json_t *rz_decision_json(const rz_decision *d)
{
    json_t *points = json_array();
    for (size_t k = 0; points != NULL && k < d->n_points; k++) {
        if (json_array_append_new(points, point_json(&d->point[k])) != 0) {
            json_decref(points);
            points = NULL;
        }
    }
    return json_pack("{s:s?, s:o, s:o}", "reason", d->reason, "prevalence",
                     rz_number_json(d->prevalence), "points", points);
}

/* ---- the picture ---- */

/* A curve as two rows; what lies below the picture is left out of it. */
typedef struct curve {
    double x[RZ_DECISION_POINTS_MAX], y[RZ_DECISION_POINTS_MAX];
} curve;

static double value_of(const rz_decision_point *p, int which)
{
    const double values[] = {p->model.value,     p->model.low, p->model.high,
                             p->reference.value, p->treat_all, 0.0};
    return values[which];
}

enum { MODEL, LOW, HIGH, REFERENCE, TREAT_ALL, TREAT_NONE, CURVES };

static void draw_curve(rz_svg *svg, const rz_plot *plot, const rz_decision *d, int which,
                       const char *color, const char *dash)
{
    curve c;
    for (size_t k = 0; k < d->n_points; k++) {
        double y = value_of(&d->point[k], which) * PER;
        c.x[k] = d->point[k].threshold;
        c.y[k] = y >= plot->y.low ? y : NAN;
    }
    rz_plot_line(svg, plot, c.x, c.y, d->n_points, color, dash);
}

/* The band of the model: between its interval's ends at each threshold, as thin upright bars. */
static void draw_band(rz_svg *svg, const rz_plot *plot, const rz_decision *d)
{
    double half = d->n_points > 1 ? 0.5 * (rz_plot_x(plot, d->point[1].threshold) -
                                           rz_plot_x(plot, d->point[0].threshold))
                                  : 2.0;
    for (size_t k = 0; k < d->n_points; k++) {
        const rz_interval *i = &d->point[k].model;
        if (!isfinite(i->low) || !isfinite(i->high))
            continue;
        double x = rz_plot_x(plot, d->point[k].threshold), top = rz_plot_y(plot, i->high * PER);
        double left = fmax(x - half, plot->left), right = fmin(x + half, plot->left + plot->width);
        rz_svg_rectangle(svg, left, top, right - left, rz_plot_y(plot, i->low * PER) - top,
                         RZ_COLOR_BLUE, 0.15);
    }
}

static rz_plot frame_of(const rz_decision *d)
{
    double high = 0.0, low = 0.0;
    for (size_t k = 0; k < d->n_points; k++)
        for (int which = 0; which < CURVES; which++) {
            double y = value_of(&d->point[k], which) * PER;
            high = isfinite(y) ? fmax(high, y) : high;
            low = isfinite(y) && which != TREAT_ALL ? fmin(low, y) : low;
        }
    high = rz_round_up(fmax(high, 1e-3) * 1.02);
    return (rz_plot){.left = 72,
                     .top = 90,
                     .width = 544,
                     .height = 270,
                     .x = {.label = "threshold: treat who has at least this risk",
                           .low = d->point[0].threshold,
                           .high = d->point[d->n_points - 1].threshold,
                           .percent = true},
                     .y = {.label = "net benefit per 1,000",
                           .low = fmin(-0.15 * high, 1.05 * low),
                           .high = high}};
}

rz_status rz_chart_decision(const rz_decision *d, rz_buffer *out, rz_error *error)
{
    static const char title[] = "Decision curve";
    static const struct {
        const char *name, *color, *dash;
        int which;
        double x, y;
    } lines[] = {{"treat none", "#374151", "2 3", TREAT_NONE, 420, 72},
                 {"treat all", RZ_COLOR_GREY, "9 3 2 3", TREAT_ALL, 420, 52},
                 {"age and sex alone", RZ_COLOR_ORANGE, "6 4", REFERENCE, 72, 72},
                 {"model, and its 95 % interval", RZ_COLOR_BLUE, NULL, MODEL, 72, 52}};
    rz_svg svg;
    rz_svg_begin(&svg, RZ_CHART_WIDTH, RZ_CHART_HEIGHT, title);
    rz_svg_text(&svg, 20, 28, 16, RZ_ANCHOR_START, NULL, true, title);
    if (d->n_points < 2) {
        rz_svg_text(&svg, RZ_CHART_WIDTH / 2.0, RZ_CHART_HEIGHT / 2.0, 14, RZ_ANCHOR_MIDDLE,
                    RZ_COLOR_GREY, false,
                    d->reason != NULL ? d->reason : "the outcome is too frequent for a curve");
        return rz_svg_end(&svg, out, error);
    }
    rz_plot plot = frame_of(d);
    rz_plot_frame(&svg, &plot);
    draw_band(&svg, &plot, d);
    for (size_t i = 0; i < RZ_COUNT(lines); i++) {
        draw_curve(&svg, &plot, d, lines[i].which, lines[i].color, lines[i].dash);
        rz_svg_legend(&svg, lines[i].x, lines[i].y, lines[i].color, lines[i].dash, lines[i].name);
    }
    return rz_svg_end(&svg, out, error);
}

/* ---- the page ---- */

static void per_thousand(rz_page *p, const rz_interval *i)
{
    const rz_interval scaled = {i->value * PER, i->low * PER, i->high * PER};
    rz_page_add(p, "</td><td>");
    rz_page_interval(p, &scaled, 1);
}

static void row_of(rz_page *p, const rz_decision *d, const rz_decision_point *at)
{
    rz_page_add(p, "<tr><td>");
    rz_page_number(p, 100.0 * at->threshold, 1);
    rz_page_add(p, " % <span class=\"soft\">(");
    rz_page_number(p, at->times_prevalence, 1);
    rz_page_add(p, " times the share)</span></td><td>");
    rz_page_number(p, PER * (double)at->treated / (double)d->n, 1);
    rz_page_add(p, "</td><td>");
    rz_page_number(p, PER * (double)at->true_positives / (double)d->n, 1);
    per_thousand(p, &at->model);
    per_thousand(p, &at->reference);
    rz_page_add(p, "</td><td>");
    rz_page_number(p, PER * at->treat_all, 1);
    per_thousand(p, &at->over_default);
    per_thousand(p, &at->over_reference);
    rz_page_add(p, "</td></tr>\n");
}

void rz_decision_page(const rz_decision *d, rz_page *p)
{
    static const double shown[] = {0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0};
    if (d->n_points == 0)
        return;
    rz_page_add(
        p, "<h3>Is acting on it worthwhile? (decision curve)</h3>\n<p>Suppose that everybody with "
           "at least a threshold's risk is treated, or looked at. Net benefit is the number with "
           "the outcome among them, minus the number without it, these weighted by threshold / (1 "
           "- threshold): who acts at 5 % holds 19 people treated in vain to be as bad as one "
           "missed. The model is of use at a threshold where it is above treating all and above "
           "treating none, which has 0. Thresholds: from half to five times the share with the "
           "outcome here (");
    rz_page_number(p, 100.0 * d->prevalence, 1);
    rz_page_add(p, " %).</p>\n<div class=\"scroll\"><table><caption>Per 1,000 patients</caption>"
                   "<thead><tr><th>threshold</th><th>treated</th><th>of them positive</th><th>net "
                   "benefit, model</th><th>age and sex alone</th><th>treat all</th><th>model minus "
                   "the better of all and none</th><th>model minus age and sex</th></tr></thead>"
                   "<tbody>\n");
    for (size_t s = 0; s < RZ_COUNT(shown); s++)
        for (size_t k = 0; k < d->n_points; k++)
            if (fabs(d->point[k].times_prevalence - shown[s]) < 1e-9)
                row_of(p, d, &d->point[k]);
    rz_page_add(p, "</tbody></table></div>\n<p class=\"soft\">After Vickers and Elkin 2006. "
                   "Intervals are patient bootstraps, threshold by threshold.</p>\n");
}
