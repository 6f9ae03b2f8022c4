/* report.json. Keys are stable: programs read them. NaN has no JSON, so figures that do not exist
 * are null and "reason" stands beside them. */
#include "report/report.h"

#include "report/decision_curve.h"
#include "report/subgroups_page.h"

#include <math.h>
#include <stdlib.h>

json_t *rz_number_json(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *rz_interval_json(const rz_interval *i)
{
    return json_pack("{s:o, s:o, s:o}", "value", rz_number_json(i->value), "low",
                     rz_number_json(i->low), "high", rz_number_json(i->high));
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

static json_t *deciles_json(const rz_metrics *metrics)
{
    json_t *rows = json_array();
    for (size_t i = 0; rows != NULL && i < metrics->n_deciles; i++) {
        const rz_calibration_bin *b = &metrics->deciles[i];
        json_t *row =
            json_pack("{s:o, s:o, s:o, s:o, s:I, s:I}", "low", rz_number_json(b->low), "high",
                      rz_number_json(b->high), "mean_predicted", rz_number_json(b->mean_predicted),
                      "observed", rz_number_json(b->observed), "n", (json_int_t)b->n, "positives",
                      (json_int_t)b->positives);
        if (json_array_append_new(rows, row) != 0) {
            json_decref(rows);
            rows = NULL;
        }
    }
    return rows;
}

json_t *rz_metrics_json(const rz_metrics *m)
{
    return json_pack(
        "{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)m->n,
        "positives", (json_int_t)m->positives, "reason", text_or_null(m->reason), "auroc",
        rz_interval_json(&m->auroc), "average_precision", rz_interval_json(&m->average_precision),
        "brier", rz_interval_json(&m->brier), "ece", rz_interval_json(&m->ece), "calibration_slope",
        rz_interval_json(&m->calibration_slope), "calibration_intercept",
        rz_interval_json(&m->calibration_intercept), "observed_to_expected",
        rz_interval_json(&m->observed_to_expected), "deciles", deciles_json(m));
}

static json_t *goal_json(double from, double to, const rz_interval *figure, bool met)
{
    return json_pack("{s:f, s:f, s:o}", "from", from, "to", to, "met",
                     isfinite(figure->value) ? json_boolean(met) : json_null());
}

json_t *rz_truth_goals_json(const rz_truth *f)
{
    return json_pack(
        "{s:o, s:o}", "predicted_to_true",
        goal_json(RZ_TRUTH_RATIO_FROM, RZ_TRUTH_RATIO_TO, &f->ratio, rz_truth_ratio_met(f)),
        "slope",
        goal_json(RZ_TRUTH_SLOPE_FROM, RZ_TRUTH_SLOPE_TO, &f->slope, rz_truth_slope_met(f)));
}

static json_t *truth_intervals_json(const rz_truth *f)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "predicted_to_true", rz_interval_json(&f->ratio),
                     "slope", rz_interval_json(&f->slope), "intercept",
                     rz_interval_json(&f->intercept), "mean_slope",
                     rz_interval_json(&f->mean_slope));
}

static json_t *truth_json(const rz_report_truth *t)
{
    if (!t->given)
        return json_null();
    const rz_truth *f = &t->figures;
    return json_pack(
        "{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "matched",
        (json_int_t)t->matched, "other_index_day", (json_int_t)t->other_day, "missing",
        (json_int_t)t->missing, "mean_predicted", rz_number_json(f->mean_predicted), "mean_true",
        rz_number_json(f->mean_true), "predicted_to_true", rz_number_json(f->ratio.value), "slope",
        rz_number_json(f->slope.value), "intercept", rz_number_json(f->intercept.value),
        "intervals", truth_intervals_json(f), "goals", rz_truth_goals_json(f), "auroc",
        rz_interval_json(&t->auroc), "average_precision", rz_interval_json(&t->average_precision),
        "auroc_lost", rz_interval_json(&t->auroc_lost), "average_precision_lost",
        rz_interval_json(&t->precision_lost));
}

/* NULL where the task has a head of its own. */
static json_t *onset_json(const rz_report_task *t)
{
    if (!t->onset.given)
        return NULL;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "codes", (json_int_t)t->onset.codes,
                     "coarser_codes_left_out", (json_int_t)t->onset.coarse,
                     "positives_without_these_codes", (json_int_t)t->onset.uncovered, "tuning_n",
                     (json_int_t)t->onset.tuning_n, "tuning_positives",
                     (json_int_t)t->onset.tuning_positives, "slope", t->onset.slope, "intercept",
                     t->onset.intercept);
}

static json_t *task_json(const rz_report_task *t)
{
    return json_pack(
        "{s:s, s:o, s:o, s:{s:I, s:I, s:I}, s:I, s:o, s:o, s:{s:o, s:o}, s:o, s:o, s:o, s:o*}",
        "name", t->task.name, "definition", rz_task_to_json(&t->task), "attrition",
        rz_cohort_attrition_json(&t->cohort), "cohort", "n",
        (json_int_t)rz_cohort_patients(&t->cohort), "positives", (json_int_t)t->cohort.positives,
        "died_without_outcome", (json_int_t)t->cohort.died_without_outcome, "patients",
        (json_int_t)t->patients, "model", rz_metrics_json(&t->model), "age_sex",
        rz_metrics_json(&t->baseline), "model_minus_age_sex", "auroc",
        rz_interval_json(&t->auroc_gain), "average_precision", rz_interval_json(&t->precision_gain),
        "subgroups", rz_subgroups_json(&t->groups), "decision_curve",
        rz_decision_json(&t->decision), "truth", truth_json(&t->against_truth), "onset",
        onset_json(t));
}

json_t *rz_report_json(const rz_report *r)
{
    json_t *tasks = json_array();
    for (size_t i = 0; tasks != NULL && i < r->n_tasks; i++) {
        if (json_array_append_new(tasks, task_json(&r->tasks[i])) != 0) {
            json_decref(tasks);
            tasks = NULL;
        }
    }
    return json_pack(
        "{s:s, s:i, s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:o}, s:s, s:s, s:o, s:b, s:I, "
        "s:I, s:I, s:o}",
        "format", "rezept-report", "format_version", 1, "notice", RZ_REPORT_NOTICE, "date", r->date,
        "model", "name", r->model_name, "family", r->model->config.family, "size",
        r->model->config.size, "sha256", r->model_sha256, "tasks_sha256", r->tasks_sha256,
        "learnt_from", rz_facilities_json(&r->learnt_from), "data_sha256", r->data_sha256, "split",
        r->split, "facilities", rz_facilities_json(&r->facilities), "facilities_in_training",
        rz_facilities_meet(&r->facilities, &r->learnt_from), "bootstraps",
        (json_int_t)r->bootstraps, "draws", (json_int_t)r->draws, "seed", (json_int_t)r->seed,
        "tasks", tasks);
}

void rz_report_done(rz_report *report)
{
    for (size_t i = 0; i < report->n_tasks; i++) {
        rz_report_task *t = &report->tasks[i];
        rz_cohort_done(&t->cohort);
        rz_subgroups_done(&t->groups);
        free(t->member);
        free(t->probability);
        free(t->age_sex);
        free(t->truth);
        free(t->label);
        free(t->patient);
    }
    free(report->tasks);
    *report = (rz_report){0};
}
