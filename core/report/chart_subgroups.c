/* A forest plot: a row for each group, its counts on the left, two panels of figures with their
 * intervals on the right, and a dashed line where all patients together stand. */
#include "report/subgroups_page.h"

#include "base/size.h"
#include "report/svg.h"

#include <math.h>
#include <stdio.h>

enum {
    WIDTH = 640,
    TOP = 78,
    ROW = 22,
    HOSPITALS_MAX = 15,
    LABEL = 16,   /* where texts begin */
    COUNTS = 214, /* where they end */
    LEFT = 232,   /* of the first panel */
    PANEL = 186,
    APART = 16,
    BELOW = 66
};

typedef struct panel {
    rz_plot plot;
    const char *color;
    double at; /* of the dashed line */
    size_t shape;
} panel;

static const rz_interval *figure(const rz_metrics *m, int which)
{
    return which == 0 ? &m->observed_to_expected : &m->auroc;
}

/* The axis covers all values and intervals; O:E is a ratio, so its axis is logarithmic. */
static rz_axis axis_of(const rz_subgroups *groups, const rz_metrics *whole, int which)
{
    double low = which == 0 ? 0.8 : 0.5, high = which == 0 ? 1.25 : 0.9;
    for (size_t i = 0; i <= groups->n; i++) {
        const rz_metrics *m = i < groups->n ? &groups->group[i].metrics : whole;
        if (i < groups->n && !groups->group[i].measured)
            continue;
        const rz_interval *v = figure(m, which);
        const double values[] = {v->value, v->low, v->high};
        for (int k = 0; k < 3; k++)
            if (isfinite(values[k]) && (which != 0 || values[k] > 0.0)) {
                low = fmin(low, values[k]);
                high = fmax(high, values[k]);
            }
    }
    if (which == 0)
        return (rz_axis){.label = "observed / expected",
                         .low = fmax(low / 1.1, 0.05),
                         .high = fmin(high * 1.1, 20.0),
                         .logarithmic = true};
    return (rz_axis){
        .label = "AUROC", .low = fmax(0.0, low - 0.02), .high = fmin(1.0, high + 0.02)};
}

static void draw_figure(rz_svg *svg, const panel *p, const rz_interval *i, double y)
{
    if (!isfinite(i->value))
        return;
    if (isfinite(i->low) && isfinite(i->high)) {
        double from = rz_plot_x(&p->plot, i->low), to = rz_plot_x(&p->plot, i->high);
        rz_svg_segment(svg, from, y, to, y, p->color, 1.5, NULL);
        rz_svg_segment(svg, from, y - 3.5, from, y + 3.5, p->color, 1.5, NULL);
        rz_svg_segment(svg, to, y - 3.5, to, y + 3.5, p->color, 1.5, NULL);
    }
    rz_svg_marker(svg, rz_plot_x(&p->plot, i->value), y, 4.5, p->shape, p->color);
}

/* The middle of the wider part beside the dashed line, for words that it would cross. */
static double beside_line(const panel *p)
{
    double line = rz_plot_x(&p->plot, isfinite(p->at) ? p->at : p->plot.x.low);
    double before = line - p->plot.left, after = PANEL - before;
    return before > after ? line - before / 2.0 : line + after / 2.0;
}

static void draw_row(rz_svg *svg, const panel panels[2], size_t row, const char *by,
                     const char *name, size_t positives, const rz_metrics *m)
{
    double y = TOP + ROW * ((double)row + 0.5);
    char text[RZ_SUBGROUP_NAME + 16];
    (void)snprintf(text, sizeof text, "%s%s%.18s", by, *by != '\0' ? " " : "", name);
    rz_svg_text(svg, LABEL, y + 4.0, 12.0, RZ_ANCHOR_START, NULL, *by == '\0', text);
    (void)snprintf(text, sizeof text, "%zu", positives);
    rz_svg_text(svg, COUNTS, y + 4.0, 12.0, RZ_ANCHOR_END, RZ_COLOR_GREY, false, text);
    for (int which = 0; which < 2; which++) {
        if (m != NULL)
            draw_figure(svg, &panels[which], figure(m, which), y);
        else
            rz_svg_text(svg, beside_line(&panels[which]), y + 4.0, 11.5, RZ_ANCHOR_MIDDLE,
                        RZ_COLOR_GREY, false, "too few");
    }
}

/* A group is drawn unless it is one of many hospitals: they stand from the largest down. */
static bool drawn(const rz_subgroup *g, size_t *hospitals)
{
    if (g->by != RZ_SUBGROUP_HOSPITAL)
        return true;
    return (*hospitals)++ < HOSPITALS_MAX;
}

/* More ticks than rz_plot_frame has room to ask for: the panels are narrow, their numbers short. */
static void draw_frame(rz_svg *svg, const rz_plot *plot, bool ratio)
{
    static const double ratios[] = {0.1, 0.2, 0.5, 0.7, 1.0, 1.4, 2.0, 5.0, 10.0};
    double ticks[8], bottom = plot->top + plot->height;
    char text[RZ_NUMBER_TEXT];
    size_t n = rz_ticks(plot->x.low, plot->x.high, false, 4, ticks, RZ_COUNT(ticks));
    for (size_t i = 0; i < (ratio ? RZ_COUNT(ratios) : n); i++) {
        double value = ratio ? ratios[i] : ticks[i], x = rz_plot_x(plot, value);
        if (value < plot->x.low || value > plot->x.high)
            continue;
        rz_svg_segment(svg, x, plot->top, x, bottom, "#e5e7eb", 1.0, NULL);
        rz_svg_text(svg, x, bottom + 18.0, 12.0, RZ_ANCHOR_MIDDLE, RZ_COLOR_GREY, false,
                    rz_number_text(value, 1, text));
    }
    rz_svg_segment(svg, plot->left, bottom, plot->left + plot->width, bottom, "#9ca3af", 1.0, NULL);
    rz_svg_text(svg, plot->left + plot->width / 2.0, bottom + 40.0, 13.0, RZ_ANCHOR_MIDDLE, NULL,
                false, plot->x.label);
}

static void draw_panels(rz_svg *svg, panel panels[2], const rz_subgroups *groups,
                        const rz_metrics *whole, double height)
{
    for (int which = 0; which < 2; which++) {
        panel *p = &panels[which];
        p->plot = (rz_plot){.left = LEFT + which * (PANEL + APART),
                            .top = TOP,
                            .width = PANEL,
                            .height = height,
                            .x = axis_of(groups, whole, which)}; /* rows have no numbers */
        draw_frame(svg, &p->plot, which == 0);
        if (isfinite(p->at))
            rz_svg_segment(svg, rz_plot_x(&p->plot, p->at), TOP, rz_plot_x(&p->plot, p->at),
                           TOP + height, RZ_COLOR_GREY, 1.0, "4 3");
    }
}

rz_status rz_chart_subgroups(const rz_subgroups *groups, const rz_metrics *whole, rz_buffer *out,
                             rz_error *error)
{
    static const char title[] = "Subgroups: observed / expected and AUROC";
    size_t rows = 1, hospitals = 0, row = 1;
    for (size_t i = 0; i < groups->n; i++)
        rows += drawn(&groups->group[i], &hospitals);
    double height = ROW * (double)rows;
    panel panels[2] = {{.color = RZ_COLOR_BLUE, .at = 1.0, .shape = 1},
                       {.color = RZ_COLOR_ORANGE, .at = whole->auroc.value}};
    rz_svg svg;
    rz_svg_begin(&svg, WIDTH, TOP + height + BELOW, title);
    rz_svg_text(&svg, LABEL, 26, 16, RZ_ANCHOR_START, NULL, true, title);
    rz_svg_text(&svg, LABEL, TOP - 12, 12, RZ_ANCHOR_START, RZ_COLOR_GREY, false, "group");
    rz_svg_text(&svg, COUNTS, TOP - 12, 12, RZ_ANCHOR_END, RZ_COLOR_GREY, false, "outcomes");
    rz_svg_text(&svg, LEFT, TOP - 12, 12, RZ_ANCHOR_START, RZ_COLOR_GREY, false,
                "dashed: 1, as predicted");
    rz_svg_text(&svg, LEFT + PANEL + APART, TOP - 12, 12, RZ_ANCHOR_START, RZ_COLOR_GREY, false,
                "dashed: all patients");
    draw_panels(&svg, panels, groups, whole, height);
    draw_row(&svg, panels, 0, "", "all", whole->positives, whole);
    hospitals = 0;
    for (size_t i = 0; i < groups->n; i++) {
        const rz_subgroup *g = &groups->group[i];
        if (drawn(g, &hospitals))
            draw_row(&svg, panels, row++, rz_subgroup_by_name(g->by), g->name, g->positives,
                     g->measured ? &g->metrics : NULL);
    }
    return rz_svg_end(&svg, out, error);
}
