/* report.html: one page without scripts, fonts or images from anywhere else; every picture is
 * inline SVG. Made for reading on a screen and for printing on A4. */
#include "report/report.h"

#include "report/charts.h"
#include "report/svg.h"

#include <math.h>
#include <stdio.h>

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n<title>Rezept evaluation</title>\n<style>\n"
    "body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica "
    "Neue',Arial,sans-serif;"
    "color:#1f2937;background:#fff;max-width:1320px;margin:0 auto;padding:24px}\n"
    "h1{font-size:26px;margin:0 0 4px}h2{font-size:21px;margin:40px 0 8px;padding-top:12px;"
    "border-top:2px solid #0072b2}h3{font-size:16px;margin:22px 0 6px}\n"
    "p{max-width:80ch}.soft{color:#4b5563}.notice{border-left:4px solid #d55e00;padding:6px 12px;"
    "background:#fff7ed}\n"
    "table{border-collapse:collapse;margin:6px 0 14px;font-variant-numeric:tabular-nums}"
    "th,td{padding:4px 12px;border-bottom:1px solid #e5e7eb;text-align:right}"
    "th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid #9ca3af}\n"
    ".hash{font-family:ui-monospace,monospace;font-size:12px;overflow-wrap:anywhere}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(480px,100%),1fr));"
    "gap:12px;margin:12px 0}.charts svg{width:100%;height:auto;border:1px solid #e5e7eb;"
    "border-radius:6px}td,td .soft{white-space:nowrap}td.hash{white-space:normal}\n"
    "@page{size:A4;margin:14mm}@media print{body{font-size:10pt;padding:0;max-width:none}"
    "section{break-before:page}table,svg,h3{break-inside:avoid}h2,h3{break-after:avoid}"
    ".charts{grid-template-columns:1fr 1fr;gap:6px}th,td{padding:2px 6px}"
    "table{font-size:9pt}}\n"
    "</style>\n</head>\n<body>\n";

/* The page under construction: after a failure nothing more is written. */
typedef struct page {
    rz_buffer *out;
    rz_status failed;
} page;

static void put(page *p, const char *html)
{
    if (p->failed == RZ_OK)
        p->failed = rz_buffer_add_text(p->out, html);
}

static void put_text(page *p, const char *text)
{
    if (p->failed == RZ_OK)
        p->failed = rz_escape(p->out, text);
}

static void put_count(page *p, size_t n)
{
    if (p->failed == RZ_OK)
        p->failed = rz_buffer_addf(p->out, "%zu", n);
}

static void put_number(page *p, double value, int decimals)
{
    char text[RZ_NUMBER_TEXT];
    put(p, rz_number_text(value, decimals, text));
}

static void put_interval(page *p, const rz_interval *i, int decimals)
{
    put_number(p, i->value, decimals);
    if (!isfinite(i->low) || !isfinite(i->high))
        return;
    put(p, " <span class=\"soft\">(");
    put_number(p, i->low, decimals);
    put(p, " to ");
    put_number(p, i->high, decimals);
    put(p, ")</span>");
}

static void row_text(page *p, const char *name, const char *value, const char *class)
{
    put(p, "<tr><td>");
    put(p, name);
    put(p, "</td><td class=\"");
    put(p, class);
    put(p, "\">");
    put_text(p, value);
    put(p, "</td></tr>\n");
}

/* ---- the overview ---- */

static void overview_row(page *p, const rz_report_task *t, bool truth)
{
    put(p, "<tr><td><a href=\"#");
    put(p, t->task.name); /* letters, digits, - and _ only */
    put(p, "\">");
    put_text(p, t->task.title_en);
    put(p, "</a></td><td>");
    put_count(p, t->model.n);
    put(p, "</td><td>");
    put_count(p, t->model.positives);
    put(p, "</td><td>");
    put_interval(p, &t->model.auroc, 3);
    put(p, "</td><td>");
    put_number(p, t->baseline.auroc.value, 3);
    put(p, "</td><td>");
    put_interval(p, &t->model.average_precision, 3);
    put(p, "</td><td>");
    put_number(p, t->baseline.average_precision.value, 3);
    if (truth) {
        put(p, "</td><td>");
        put_number(p, t->against_truth.given ? t->against_truth.average_precision.value : NAN, 3);
    }
    put(p, "</td><td>");
    put_number(p, t->model.calibration_slope.value, 2);
    put(p, "</td><td>");
    put_number(p, t->model.observed_to_expected.value, 2);
    put(p, "</td></tr>\n");
}

static void overview(page *p, const rz_report *r)
{
    bool truth = false;
    for (size_t i = 0; i < r->n_tasks; i++)
        truth = truth || r->tasks[i].against_truth.given;
    put(p, "<h1>Evaluation of ");
    put_text(p, r->model_name);
    put(p, "</h1>\n<p class=\"soft\">");
    put_text(p, r->date);
    put(p, ", split ");
    put_text(p, r->split);
    put(p, "</p>\n<p class=\"notice\">" RZ_REPORT_NOTICE "</p>\n<table><thead><tr><th>task</th>"
           "<th>patients</th><th>positive</th><th>AUROC</th><th>by age and sex</th>"
           "<th>average precision</th><th>by age and sex</th>");
    put(p, truth ? "<th>of the truth</th>" : "");
    put(p, "<th>slope</th><th>observed / expected</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < r->n_tasks; i++)
        overview_row(p, &r->tasks[i], truth);
    put(p, "</tbody></table>\n<p class=\"soft\">In brackets: 95 % percentile intervals from ");
    put_count(p, r->bootstraps);
    put(p, " patient bootstraps (seed ");
    put_count(p, (size_t)r->seed);
    put(p, "). A dash stands for a figure that does not exist; the reason is given below.</p>\n");
    put(p, "<h3>Model</h3><table>\n");
    row_text(p, "family", r->model->config.family, "");
    row_text(p, "size", r->model->config.size, "");
    row_text(p, "weights (SHA-256)", r->model_sha256, "hash");
    row_text(p, "tasks and calibration (SHA-256)", r->tasks_sha256, "hash");
    row_text(p, "claims evaluated on (SHA-256)", r->data_sha256, "hash");
    put(p, "</table>\n");
}

/* ---- one task ---- */

static void put_codes(page *p, const rz_task_prefix *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        put(p, i > 0 ? ", " : "");
        put_text(p, rz_code_system_name(prefixes[i].system));
        put(p, " ");
        put_text(p, prefixes[i].prefix);
    }
}

static void definition(page *p, const rz_report_task *t)
{
    put(p, "<p>Outcome: first record of ");
    put_codes(p, t->task.outcomes, t->task.n_outcomes);
    put(p, " within ");
    put_count(p, (size_t)t->task.horizon_days);
    put(p, " days after the index day, among those without it before and with at least ");
    put_count(p, (size_t)t->task.min_history_days);
    put(p, " days of record.</p>\n");
}

static void attrition(page *p, const rz_report_task *t)
{
    put(p, "<h3>Cohort</h3><table><thead><tr><th>step</th><th>patients</th><th>left out</th></tr>"
           "</thead><tbody>\n");
    for (int step = 0; step < RZ_ATTRITION_COUNT; step++) {
        put(p, "<tr><td>");
        put_text(p, rz_attrition_text((rz_attrition_step)step));
        put(p, "</td><td>");
        put_count(p, (size_t)t->cohort.passed[step]);
        put(p, "</td><td>");
        if (step > 0)
            put_count(p, (size_t)(t->cohort.passed[step - 1] - t->cohort.passed[step]));
        put(p, "</td></tr>\n");
    }
    put(p, "<tr><td>of these, evaluated here</td><td>");
    put_count(p, t->n);
    put(p, "</td><td></td></tr></tbody></table>\n<p class=\"soft\">In the whole cohort ");
    put_count(p, (size_t)t->cohort.positives);
    put(p, " have the outcome; ");
    put_count(p, (size_t)t->cohort.died_without_outcome);
    put(p, " died within the horizon without it and count as negatives.</p>\n");
}

static void figure_row(page *p, const char *name, const rz_interval *model,
                       const rz_interval *baseline, int decimals)
{
    put(p, "<tr><td>");
    put(p, name);
    put(p, "</td><td>");
    put_interval(p, model, decimals);
    put(p, "</td><td>");
    put_interval(p, baseline, decimals);
    put(p, "</td></tr>\n");
}

static void figures(page *p, const rz_report_task *t)
{
    const rz_metrics *m = &t->model, *b = &t->baseline;
    put(p, "<h3>Figures</h3>");
    if (m->reason != NULL) {
        put(p, "<p class=\"notice\">Some figures do not exist: ");
        put_text(p, m->reason);
        put(p, ".</p>\n");
    }
    put(p, "<table><thead><tr><th></th><th>model</th><th>age and sex alone</th></tr></thead>"
           "<tbody>\n");
    figure_row(p, "AUROC", &m->auroc, &b->auroc, 3);
    figure_row(p, "average precision", &m->average_precision, &b->average_precision, 3);
    figure_row(p, "Brier score", &m->brier, &b->brier, 4);
    figure_row(p, "expected calibration error", &m->ece, &b->ece, 4);
    figure_row(p, "calibration slope (1 is right)", &m->calibration_slope, &b->calibration_slope,
               2);
    figure_row(p, "calibration intercept (0 is right)", &m->calibration_intercept,
               &b->calibration_intercept, 2);
    figure_row(p, "observed / expected (1 is right)", &m->observed_to_expected,
               &b->observed_to_expected, 2);
    put(p, "</tbody></table>\n<p>Model minus age and sex, paired on the same patients: AUROC ");
    put_interval(p, &t->auroc_gain, 3);
    put(p, ", average precision ");
    put_interval(p, &t->precision_gain, 3);
    put(p, ".</p>\n");
}

static void calibration(page *p, const rz_metrics *m)
{
    if (m->n_deciles == 0)
        return;
    put(p, "<h3>Calibration by tenth of the score</h3><table><thead><tr><th>predicted from, to</th>"
           "<th>patients</th><th>mean predicted</th><th>observed</th><th>positive</th></tr></thead>"
           "<tbody>\n");
    for (size_t i = 0; i < m->n_deciles; i++) {
        const rz_calibration_bin *bin = &m->deciles[i];
        rz_interval observed = {.value = 100.0 * bin->observed};
        rz_wilson(bin->positives, bin->n, &observed.low, &observed.high);
        observed.low *= 100.0;
        observed.high *= 100.0;
        put(p, "<tr><td>");
        put_number(p, 100.0 * bin->low, 2);
        put(p, " to ");
        put_number(p, 100.0 * bin->high, 2);
        put(p, " %</td><td>");
        put_count(p, bin->n);
        put(p, "</td><td>");
        put_number(p, 100.0 * bin->mean_predicted, 2);
        put(p, " %</td><td>");
        put_interval(p, &observed, 2);
        put(p, " %</td><td>");
        put_count(p, bin->positives);
        put(p, "</td></tr>\n");
    }
    put(p,
        "</tbody></table>\n<p class=\"soft\">Intervals of the observed share after Wilson.</p>\n");
}

static void truth_section(page *p, const rz_report_truth *t)
{
    if (!t->given)
        return;
    put(p, "<h3>Against the true risks of the simulation</h3>\n<p>");
    put_count(p, t->matched);
    put(p, " of the evaluated patients have a known true risk; ");
    put_count(p, t->other_day);
    put(p, " are known at another index day only, ");
    put_count(p, t->missing);
    put(p, " not at all.</p>\n<table><tbody>\n<tr><td>mean predicted / mean true</td><td>");
    put_number(p, 100.0 * t->mean_predicted, 2);
    put(p, " % / ");
    put_number(p, 100.0 * t->mean_true, 2);
    put(p, " % = ");
    put_number(p, t->ratio, 3);
    put(p, "</td></tr>\n<tr><td>logit(true) on logit(predicted): slope, intercept</td><td>");
    put_number(p, t->slope, 3);
    put(p, ", ");
    put_number(p, t->intercept, 3);
    put(p, "</td></tr>\n<tr><td>AUROC of the truth itself</td><td>");
    put_interval(p, &t->auroc, 3);
    put(p, "</td></tr>\n<tr><td>average precision of the truth itself</td><td>");
    put_interval(p, &t->average_precision, 3);
    put(p, "</td></tr>\n<tr><td>AUROC, truth minus model (paired)</td><td>");
    put_interval(p, &t->auroc_lost, 3);
    put(p, "</td></tr>\n<tr><td>average precision, truth minus model (paired)</td><td>");
    put_interval(p, &t->precision_lost, 3);
    put(p, "</td></tr>\n</tbody></table>\n");
}

static void charts(page *p, const rz_report_task *t, rz_error *error)
{
    /* The truth is drawn beside the scores only where every patient has one. */
    bool whole_truth = t->against_truth.given && t->against_truth.matched == t->n;
    const rz_chart_scores scores[] = {{"model", t->probability},
                                      {"age and sex alone", t->age_sex},
                                      {"the truth itself", t->truth}};
    size_t n_scores = whole_truth ? 3 : 2;
    put(p, "<div class=\"charts\">\n");
    if (p->failed == RZ_OK)
        p->failed = rz_chart_roc(scores, n_scores, t->label, t->n, p->out, error);
    if (p->failed == RZ_OK)
        p->failed = rz_chart_precision_recall(scores, n_scores, t->label, t->n, p->out, error);
    if (p->failed == RZ_OK)
        p->failed = rz_chart_calibration(&t->model, p->out, error);
    if (p->failed == RZ_OK)
        p->failed = rz_chart_histogram(t->probability, t->label, t->n, p->out, error);
    if (p->failed == RZ_OK && t->against_truth.given)
        p->failed = rz_chart_truth(t->probability, t->truth, t->n, p->out, error);
    put(p, "</div>\n");
}

static void task_section(page *p, const rz_report_task *t, rz_error *error)
{
    put(p, "<section id=\"");
    put(p, t->task.name);
    put(p, "\">\n<h2>");
    put_text(p, t->task.title_en);
    put(p, " <span class=\"soft\">");
    put_text(p, t->task.title_ja);
    put(p, "</span></h2>\n");
    definition(p, t);
    figures(p, t);
    truth_section(p, &t->against_truth);
    charts(p, t, error);
    calibration(p, &t->model);
    attrition(p, t);
    put(p, "</section>\n");
}

rz_status rz_report_html(const rz_report *report, rz_buffer *out, rz_error *error)
{
    page p = {.out = out, .failed = RZ_OK};
    put(&p, head);
    overview(&p, report);
    for (size_t i = 0; i < report->n_tasks; i++)
        task_section(&p, &report->tasks[i], error);
    put(&p, "</body>\n</html>\n");
    if (p.failed != RZ_OK)
        return rz_fail(error, p.failed, "the report could not be written after %zu bytes",
                       out->length);
    return RZ_OK;
}
