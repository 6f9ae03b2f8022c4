/* The JSON and the table; the picture is chart_subgroups.c. */
#include "report/subgroups_page.h"

#include "base/size.h"
#include "report/report.h"

enum { TABLE_HOSPITALS_MAX = 30 };

static json_t *figure_json(const rz_subgroup *g, const rz_interval *i)
{
    return g->measured ? rz_interval_json(i) : json_null();
}

json_t *rz_subgroups_json(const rz_subgroups *groups)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows != NULL && i < groups->n; i++) {
        const rz_subgroup *g = &groups->group[i];
        json_t *row = json_pack(
            "{s:s, s:s, s:I, s:I, s:s?, s:o, s:o, s:o, s:o}", "by", rz_subgroup_by_name(g->by),
            "name", g->name, "n", (json_int_t)g->n, "positives", (json_int_t)g->positives, "reason",
            g->measured ? g->metrics.reason : "too few patients with or without the outcome",
            "auroc", figure_json(g, &g->metrics.auroc), "average_precision",
            figure_json(g, &g->metrics.average_precision), "observed_to_expected",
            figure_json(g, &g->metrics.observed_to_expected), "calibration_slope",
            figure_json(g, &g->metrics.calibration_slope));
        if (json_array_append_new(rows, row) != 0) {
            json_decref(rows);
            rows = NULL;
        }
    }
    return rows;
}

/* ---- the table ---- */

static void row_of(rz_page *p, const char *by, const char *name, size_t n, size_t positives,
                   const rz_metrics *m)
{
    rz_page_add(p, "<tr><td>");
    rz_page_text(p, by);
    rz_page_add(p, *by != '\0' ? " " : "");
    rz_page_text(p, name);
    rz_page_add(p, "</td><td>");
    rz_page_count(p, n);
    rz_page_add(p, "</td><td>");
    rz_page_count(p, positives);
    if (m == NULL) {
        rz_page_add(p, "</td><td class=\"soft\">too few</td><td></td><td></td><td></td></tr>\n");
        return;
    }
    const rz_interval *const figures[] = {&m->auroc, &m->average_precision,
                                          &m->observed_to_expected, &m->calibration_slope};
    for (size_t f = 0; f < RZ_COUNT(figures); f++) {
        rz_page_add(p, "</td><td>");
        rz_page_interval(p, figures[f], f < 2 ? 3 : 2);
    }
    rz_page_add(p, "</td></tr>\n");
}

void rz_subgroups_page(const rz_subgroups *groups, const rz_metrics *whole, rz_page *p,
                       rz_error *error)
{
    size_t hospitals = 0, left_out = 0;
    if (groups->n == 0)
        return;
    rz_page_add(p, "<h3>Subgroups</h3><div class=\"scroll\"><table><thead><tr><th>group</th>"
                   "<th>patients</th><th>positive</th><th>AUROC</th><th>average precision</th>"
                   "<th>observed / expected (1)</th><th>calibration slope (1)</th></tr></thead>"
                   "<tbody>\n");
    row_of(p, "", "all", whole->n, whole->positives, whole);
    for (size_t i = 0; i < groups->n; i++) {
        const rz_subgroup *g = &groups->group[i];
        hospitals += g->by == RZ_SUBGROUP_HOSPITAL;
        if (hospitals > TABLE_HOSPITALS_MAX) {
            left_out++;
            continue;
        }
        row_of(p, rz_subgroup_by_name(g->by), g->name, g->n, g->positives,
               g->measured ? &g->metrics : NULL);
    }
    rz_page_add(p, "</tbody></table></div>\n<p class=\"soft\">");
    if (left_out > 0) {
        rz_page_count(p, left_out);
        rz_page_add(p, " smaller hospitals are in report.json only. ");
    }
    rz_page_add(p, "Groups with fewer than ");
    rz_page_count(p, RZ_SUBGROUP_OUTCOMES);
    rz_page_add(
        p, " patients with the outcome, or without it, are too few to measure. Age is that on the "
           "index day; the hospital is that of the claim which made the index day. Average "
           "precision depends on how frequent the outcome is, so that groups differ in it even "
           "where a model serves them equally well. Each group is measured by itself and none of "
           "the intervals is adjusted for the number of groups: of 20, one may miss 1 by "
           "chance.</p>\n<div class=\"charts\">\n");
    if (p->failed == RZ_OK)
        p->failed = rz_chart_subgroups(groups, whole, p->out, error);
    rz_page_add(p, "</div>\n");
}
