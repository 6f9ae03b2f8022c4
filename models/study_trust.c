/* Two parts of a study's page: who was left out of each task, and whether the models that answer
 * serve all kinds of patients and are worth acting on. */
#include "study_findings.h"

#include "report/decision_curve.h"
#include "report/subgroups_page.h"

#include <string.h>

/* ---- attrition ---- */

/* The task's part of cohorts.json; NULL where it has none. */
static const json_t *cohort_of(const study_findings *f, size_t task)
{
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(f->cohorts, "tasks"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name != NULL && strcmp(name, f->results.design.tasks[task].name) == 0)
            return row;
    }
    return NULL;
}

static void cell_number(const json_t *number, rz_page *p)
{
    rz_page_add(p, "</td><td>");
    if (json_is_integer(number) && json_integer_value(number) >= 0)
        rz_page_count(p, (size_t)json_integer_value(number));
    else
        rz_page_add(p, "-");
}

static void attrition_row(const study_findings *f, size_t step, rz_page *p)
{
    const json_t *first = NULL;
    for (size_t t = 0; first == NULL && t < f->results.design.n_tasks; t++)
        first = json_array_get(json_object_get(cohort_of(f, t), "attrition"), step);
    const char *name = json_string_value(json_object_get(first, "step"));
    rz_page_add(p, "<tr><td>");
    rz_page_text(p, name != NULL ? name : "-");
    for (size_t t = 0; t < f->results.design.n_tasks; t++)
        cell_number(
            json_object_get(json_array_get(json_object_get(cohort_of(f, t), "attrition"), step),
                            "patients"),
            p);
    rz_page_add(p, "</td></tr>\n");
}

static void split_row(const study_findings *f, const char *name, const char *split,
                      const char *what, rz_page *p)
{
    rz_page_add(p, "<tr><td>");
    rz_page_add(p, name);
    for (size_t t = 0; t < f->results.design.n_tasks; t++)
        cell_number(json_object_get(
                        json_object_get(json_object_get(cohort_of(f, t), "splits"), split), what),
                    p);
    rz_page_add(p, "</td></tr>\n");
}

void study_page_attrition(const study_findings *f, rz_page *p)
{
    const study_design *d = &f->results.design;
    size_t steps = 0;
    rz_page_add(p, "<h2>Who took part</h2>\n");
    for (size_t t = 0; t < d->n_tasks; t++) {
        size_t own = json_array_size(json_object_get(cohort_of(f, t), "attrition"));
        steps = own > steps ? own : steps;
    }
    if (steps == 0) {
        rz_page_add(p, "<p>Who was left out, and why, was not kept by the version that ran this "
                       "study.</p>\n");
        return;
    }
    rz_page_add(p, "<div class=\"scroll\"><table><caption>Patients by the last step they passed"
                   "</caption><thead><tr><th></th>");
    for (size_t t = 0; t < d->n_tasks; t++) {
        rz_page_add(p, "<th>");
        rz_page_text(p, d->tasks[t].title_en);
        rz_page_add(p, "</th>");
    }
    rz_page_add(p, "</tr></thead><tbody>\n");
    for (size_t step = 0; step < steps; step++)
        attrition_row(f, step, p);
    split_row(f, "of these, to learn from", "train", "patients", p);
    split_row(f, "with the outcome", "train", "positives", p);
    split_row(f, "to tune and choose on", "tuning", "patients", p);
    split_row(f, "with the outcome", "tuning", "positives", p);
    split_row(f, "held out", "held_out", "patients", p);
    rz_page_add(p, "</tbody></table></div>\n");
}

/* ---- subgroups and decision curves ---- */

static void task_pictures(const study_findings *f, size_t task, rz_page *p, rz_error *error)
{
    const study_check *k = &f->checks[task];
    rz_page_add(p, "<figure><figcaption>");
    rz_page_text(p, f->results.design.tasks[task].title_en);
    rz_page_add(p, ", held_out: subgroups</figcaption>\n");
    if (k->groups.n == 0)
        rz_page_add(p, "<p>The scores were made by a version that kept no sex, age and hospital "
                       "beside them.</p>\n");
    else if (p->failed == RZ_OK)
        p->failed = rz_chart_subgroups(&k->groups, &k->metrics, p->out, error);
    rz_page_add(p, "</figure>\n<figure><figcaption>");
    rz_page_text(p, f->results.design.tasks[task].title_en);
    rz_page_add(p, ", held_out: net benefit</figcaption>\n");
    if (p->failed == RZ_OK)
        p->failed = rz_chart_decision(&k->decision, p->out, error);
    rz_page_add(p, "</figure>\n");
}

void study_page_groups(const study_findings *f, rz_page *p, rz_error *error)
{
    size_t made = 0;
    for (size_t t = 0; t < f->results.design.n_tasks; t++)
        made += f->checks[t].made;
    if (made == 0)
        return;
    rz_page_add(p, "<h2>For whom it holds, and whether acting on it is worthwhile <span "
                   "class=\"soft\">(held_out patients)</span></h2>\n<p>Of the model that answers. "
                   "Left: observed / expected and AUROC by sex, age band and hospital; groups with "
                   "fewer than ");
    rz_page_count(p, RZ_SUBGROUP_OUTCOMES);
    rz_page_add(
        p, " patients with or without the outcome are too few to measure. Right: the net benefit "
           "of acting on everybody with at least the threshold's risk, true positives minus false "
           "ones weighted by threshold / (1 - threshold), per 1,000 patients (Vickers and Elkin "
           "2006); the model is of use where it is above treating all and above treating none. "
           "Tables are in report.json.</p>\n<div class=\"charts\">\n");
    for (size_t t = 0; t < f->results.design.n_tasks; t++)
        if (f->checks[t].made)
            task_pictures(f, t, p, error);
    rz_page_add(p, "</div>\n");
}
