/* report.html of an evaluation; every picture is inline SVG. */
#include "report/report.h"

#include "report/charts.h"
#include "report/decision_curve.h"
#include "report/page.h"
#include "report/subgroups_page.h"

#include <math.h>

/* ---- the overview ---- */

static void overview_row(rz_page *p, const rz_report_task *t, bool truth)
{
    rz_page_add(p, "<tr><td><a href=\"#");
    rz_page_add(p, t->task.name); /* letters, digits, - and _ only */
    rz_page_add(p, "\">");
    rz_page_text(p, t->task.title_en);
    rz_page_add(p, "</a></td><td>");
    rz_page_count(p, t->model.n);
    rz_page_add(p, "</td><td>");
    rz_page_count(p, t->model.positives);
    rz_page_add(p, "</td><td>");
    rz_page_interval(p, &t->model.auroc, 3);
    rz_page_add(p, "</td><td>");
    rz_page_number(p, t->baseline.auroc.value, 3);
    rz_page_add(p, "</td><td>");
    rz_page_interval(p, &t->model.average_precision, 3);
    rz_page_add(p, "</td><td>");
    rz_page_number(p, t->baseline.average_precision.value, 3);
    if (truth) {
        rz_page_add(p, "</td><td>");
        rz_page_number(p, t->against_truth.given ? t->against_truth.average_precision.value : NAN,
                       3);
    }
    rz_page_add(p, "</td><td>");
    rz_page_number(p, t->model.calibration_slope.value, 2);
    rz_page_add(p, "</td><td>");
    rz_page_number(p, t->model.observed_to_expected.value, 2);
    rz_page_add(p, "</td></tr>\n");
}

static void overview(rz_page *p, const rz_report *r)
{
    char facilities[RZ_FACILITIES_TEXT], note[RZ_FACILITIES_NOTE];
    bool truth = false;
    for (size_t i = 0; i < r->n_tasks; i++)
        truth = truth || r->tasks[i].against_truth.given;
    rz_page_add(p, "<h1>Evaluation of ");
    rz_page_text(p, r->model_name);
    rz_page_add(p, "</h1>\n<p class=\"soft\">");
    rz_page_text(p, r->date);
    rz_page_add(p, ", split ");
    rz_page_text(p, r->split);
    if (r->facilities.n > 0) {
        rz_page_add(p, ", facilities ");
        rz_page_text(p, rz_facilities_text(&r->facilities, facilities));
    }
    rz_page_add(p, "</p>\n<p class=\"notice\">" RZ_REPORT_NOTICE
                   "</p>\n<div class=\"scroll\"><table><thead><tr><th>task</th>"
                   "<th>patients</th><th>positive</th><th>AUROC</th><th>by age and sex</th>"
                   "<th>average precision</th><th>by age and sex</th>");
    rz_page_add(p, truth ? "<th>of the truth</th>" : "");
    rz_page_add(p, "<th>slope</th><th>observed / expected</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < r->n_tasks; i++)
        overview_row(p, &r->tasks[i], truth);
    rz_page_add(
        p,
        "</tbody></table></div>\n<p class=\"soft\">In brackets: 95 % percentile intervals from ");
    rz_page_count(p, r->bootstraps);
    rz_page_add(p, " patient bootstraps (seed ");
    rz_page_count(p, (size_t)r->seed);
    rz_page_add(
        p, "). A dash stands for a figure that does not exist; the reason is given below.</p>\n");
    rz_page_add(p, "<h3>Model</h3><table>\n");
    rz_page_row(p, "family", r->model->config.family, "");
    rz_page_row(p, "size", r->model->config.size, "");
    rz_page_row(p, "facilities learnt from", rz_facilities_text(&r->learnt_from, facilities), "");
    if (*rz_facilities_note(&r->facilities, &r->learnt_from, note) != '\0')
        rz_page_row(p, "of those evaluated", note, "");
    rz_page_row(p, "weights (SHA-256)", r->model_sha256, "hash");
    rz_page_row(p, "tasks and calibration (SHA-256)", r->tasks_sha256, "hash");
    rz_page_row(p, "claims evaluated on (SHA-256)", r->data_sha256, "hash");
    rz_page_add(p, "</table>\n");
}

/* ---- one task ---- */

static void put_codes(rz_page *p, const rz_task_prefix *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        rz_page_add(p, i > 0 ? ", " : "");
        rz_page_text(p, rz_code_system_name(prefixes[i].system));
        rz_page_add(p, " ");
        rz_page_text(p, prefixes[i].prefix);
    }
}

static void definition(rz_page *p, const rz_report_task *t)
{
    rz_page_add(p, "<p>Outcome: first record of ");
    put_codes(p, t->task.outcomes, t->task.n_outcomes);
    rz_page_add(p, " within ");
    rz_page_count(p, (size_t)t->task.horizon_days);
    rz_page_add(p, " days after the index day, among those without it before and with at least ");
    rz_page_count(p, (size_t)t->task.min_history_days);
    rz_page_add(p, " days of record.</p>\n");
}

static void attrition(rz_page *p, const rz_report_task *t)
{
    rz_page_add(
        p, "<h3>Cohort</h3><table><thead><tr><th>step</th><th>patients</th><th>left out</th></tr>"
           "</thead><tbody>\n");
    for (int step = 0; step < RZ_ATTRITION_COUNT; step++) {
        rz_page_add(p, "<tr><td>");
        rz_page_text(p, rz_attrition_text((rz_attrition_step)step));
        rz_page_add(p, "</td><td>");
        rz_page_count(p, (size_t)t->cohort.passed[step]);
        rz_page_add(p, "</td><td>");
        if (step > 0)
            rz_page_count(p, (size_t)(t->cohort.passed[step - 1] - t->cohort.passed[step]));
        rz_page_add(p, "</td></tr>\n");
    }
    rz_page_add(p, "<tr><td>of these, evaluated here</td><td>");
    rz_page_count(p, t->patients);
    rz_page_add(p, "</td><td></td></tr></tbody></table>\n<p class=\"soft\">");
    if (t->n > t->patients) {
        rz_page_add(p, "They are evaluated on ");
        rz_page_count(p, t->n);
        rz_page_add(p, " index days, some on several; intervals resample patients. ");
    }
    rz_page_add(p, "In the whole cohort ");
    rz_page_count(p, (size_t)t->cohort.positives);
    rz_page_add(p, " have the outcome; ");
    rz_page_count(p, (size_t)t->cohort.died_without_outcome);
    rz_page_add(p, " died within the horizon without it and count as negatives.</p>\n");
}

static void figure_row(rz_page *p, const char *name, const rz_interval *model,
                       const rz_interval *baseline, int decimals)
{
    rz_page_add(p, "<tr><td>");
    rz_page_add(p, name);
    rz_page_add(p, "</td><td>");
    rz_page_interval(p, model, decimals);
    rz_page_add(p, "</td><td>");
    rz_page_interval(p, baseline, decimals);
    rz_page_add(p, "</td></tr>\n");
}

static void figures(rz_page *p, const rz_report_task *t)
{
    const rz_metrics *m = &t->model, *b = &t->baseline;
    rz_page_add(p, "<h3>Figures</h3>");
    if (m->reason != NULL) {
        rz_page_add(p, "<p class=\"notice\">Some figures do not exist: ");
        rz_page_text(p, m->reason);
        rz_page_add(p, ".</p>\n");
    }
    rz_page_add(p,
                "<table><thead><tr><th></th><th>model</th><th>age and sex alone</th></tr></thead>"
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
    rz_page_add(
        p, "</tbody></table>\n<p>Model minus age and sex, paired on the same patients: AUROC ");
    rz_page_interval(p, &t->auroc_gain, 3);
    rz_page_add(p, ", average precision ");
    rz_page_interval(p, &t->precision_gain, 3);
    rz_page_add(p, ".</p>\n");
}

static void calibration(rz_page *p, const rz_metrics *m)
{
    if (m->n_deciles == 0)
        return;
    rz_page_add(
        p, "<h3>Calibration by tenth of the score</h3><table><thead><tr><th>predicted from, to</th>"
           "<th>patients</th><th>mean predicted</th><th>observed</th><th>positive</th></tr></thead>"
           "<tbody>\n");
    for (size_t i = 0; i < m->n_deciles; i++) {
        const rz_calibration_bin *bin = &m->deciles[i];
        rz_interval observed = {.value = 100.0 * bin->observed};
        rz_wilson(bin->positives, bin->n, &observed.low, &observed.high);
        observed.low *= 100.0;
        observed.high *= 100.0;
        rz_page_add(p, "<tr><td>");
        rz_page_number(p, 100.0 * bin->low, 2);
        rz_page_add(p, " to ");
        rz_page_number(p, 100.0 * bin->high, 2);
        rz_page_add(p, " %</td><td>");
        rz_page_count(p, bin->n);
        rz_page_add(p, "</td><td>");
        rz_page_number(p, 100.0 * bin->mean_predicted, 2);
        rz_page_add(p, " %</td><td>");
        rz_page_interval(p, &observed, 2);
        rz_page_add(p, " %</td><td>");
        rz_page_count(p, bin->positives);
        rz_page_add(p, "</td></tr>\n");
    }
    rz_page_add(
        p,
        "</tbody></table>\n<p class=\"soft\">Intervals of the observed share after Wilson.</p>\n");
}

static void goal_row(rz_page *p, const char *name, const rz_interval *figure, double from,
                     double to, bool met)
{
    rz_page_add(p, "<tr><td>");
    rz_page_add(p, name);
    rz_page_add(p, "</td><td>");
    rz_page_interval(p, figure, 3);
    rz_page_add(p, met ? ", within " : isfinite(figure->value) ? ", <b>outside</b> " : ", goal ");
    rz_page_number(p, from, 2);
    rz_page_add(p, " to ");
    rz_page_number(p, to, 2);
    rz_page_add(p, "</td></tr>\n");
}

static void truth_section(rz_page *p, const rz_report_truth *t)
{
    const rz_truth *f = &t->figures;
    if (!t->given)
        return;
    rz_page_add(p, "<h3>Against the true risks of the simulation</h3>\n<p>");
    rz_page_count(p, t->matched);
    rz_page_add(p, " of the evaluated patients have a known true risk; ");
    rz_page_count(p, t->other_day);
    rz_page_add(p, " are known at another index day only, ");
    rz_page_count(p, t->missing);
    rz_page_add(p, " not at all.</p>\n<table><tbody>\n<tr><td>mean predicted, mean true</td><td>");
    rz_page_number(p, 100.0 * f->mean_predicted, 2);
    rz_page_add(p, " %, ");
    rz_page_number(p, 100.0 * f->mean_true, 2);
    rz_page_add(p, " %</td></tr>\n");
    goal_row(p, "mean predicted / mean true", &f->ratio, RZ_TRUTH_RATIO_FROM, RZ_TRUTH_RATIO_TO,
             rz_truth_ratio_met(f));
    goal_row(p, "slope of logit(true) on logit(predicted)", &f->slope, RZ_TRUTH_SLOPE_FROM,
             RZ_TRUTH_SLOPE_TO, rz_truth_slope_met(f));
    rz_page_add(p, "<tr><td>intercept of the same line</td><td>");
    rz_page_interval(p, &f->intercept, 3);
    rz_page_add(p,
                "</td></tr>\n<tr><td>slope of logit(mean true) on logit(predicted) (1)</td><td>");
    rz_page_interval(p, &f->mean_slope, 3);
    rz_page_add(p, "</td></tr>\n<tr><td>AUROC of the truth itself</td><td>");
    rz_page_interval(p, &t->auroc, 3);
    rz_page_add(p, "</td></tr>\n<tr><td>average precision of the truth itself</td><td>");
    rz_page_interval(p, &t->average_precision, 3);
    rz_page_add(p, "</td></tr>\n<tr><td>AUROC, truth minus model (paired)</td><td>");
    rz_page_interval(p, &t->auroc_lost, 3);
    rz_page_add(p, "</td></tr>\n<tr><td>average precision, truth minus model (paired)</td><td>");
    rz_page_interval(p, &t->precision_lost, 3);
    rz_page_add(p, "</td></tr>\n</tbody></table>\n");
}

static void charts(rz_page *p, const rz_report_task *t, rz_error *error)
{
    /* The truth is drawn beside the scores only where every patient has one. */
    bool whole_truth = t->against_truth.given && t->against_truth.matched == t->n;
    const rz_chart_scores scores[] = {{"model", t->probability},
                                      {"age and sex alone", t->age_sex},
                                      {"the truth itself", t->truth}};
    size_t n_scores = whole_truth ? 3 : 2;
    rz_page_add(p, "<div class=\"charts\">\n");
    if (p->failed == RZ_OK)
        p->failed = rz_chart_roc(scores, n_scores, t->label, t->n, p->out, error);
    if (p->failed == RZ_OK)
        p->failed = rz_chart_precision_recall(scores, n_scores, t->label, t->n, p->out, error);
    if (p->failed == RZ_OK)
        p->failed = rz_chart_calibration(&t->model, p->out, error);
    if (p->failed == RZ_OK)
        p->failed = rz_chart_histogram(t->probability, t->label, t->n, p->out, error);
    if (p->failed == RZ_OK && t->decision.n_points > 0)
        p->failed = rz_chart_decision(&t->decision, p->out, error);
    if (p->failed == RZ_OK && t->against_truth.given)
        p->failed = rz_chart_truth(t->probability, t->truth, t->n, p->out, error);
    rz_page_add(p, "</div>\n");
}

static void task_section(rz_page *p, const rz_report_task *t, rz_error *error)
{
    rz_page_add(p, "<section id=\"");
    rz_page_add(p, t->task.name);
    rz_page_add(p, "\">\n<h2>");
    rz_page_text(p, t->task.title_en);
    rz_page_add(p, " <span class=\"soft\">");
    rz_page_text(p, t->task.title_ja);
    rz_page_add(p, "</span></h2>\n");
    definition(p, t);
    figures(p, t);
    truth_section(p, &t->against_truth);
    charts(p, t, error);
    calibration(p, &t->model);
    rz_subgroups_page(&t->groups, &t->model, p, error);
    rz_decision_page(&t->decision, p);
    attrition(p, t);
    rz_page_add(p, "</section>\n");
}

rz_status rz_report_html(const rz_report *report, rz_buffer *out, rz_error *error)
{
    rz_page p;
    rz_page_begin(&p, "Rezept evaluation", out);
    overview(&p, report);
    for (size_t i = 0; i < report->n_tasks; i++)
        task_section(&p, &report->tasks[i], error);
    return rz_page_end(&p, error);
}
