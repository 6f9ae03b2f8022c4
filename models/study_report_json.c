/* report.json of a study: every number. Keys are stable, programs read them; what does not exist is
 * null. */
#include "study_findings.h"

#include "report/decision_curve.h"
#include "report/report.h"
#include "report/subgroups_page.h"

#include <math.h>

enum { REPORT_VERSION = 1 };

static json_t *arm_json(const study_design *d, study_arm a)
{
    if (a.engine != STUDY_NONE)
        return json_pack("{s:n, s:n, s:s}", "size", "init", "engine", d->engines[a.engine]);
    return json_pack("{s:s, s:s, s:n}", "size", d->sizes[a.size], "init", study_init_name(a.init),
                     "engine");
}

static json_t *labels_json(const study_design *d, size_t labels)
{
    char text[STUDY_LABELS_TEXT];
    return json_string(study_labels_text(d->labels[labels], text));
}

/* ---- the patients ---- */

static json_t *panel_json(const study_panel *p)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:b, s:I}", "patients", (json_int_t)p->patients, "rows",
                     (json_int_t)p->n, "positives", (json_int_t)p->positives, "left_out",
                     (json_int_t)p->left_out, "truth_known", p->truth_known, "cells",
                     (json_int_t)p->n_measures);
}

static json_t *tasks_json(const study_results *r)
{
    json_t *rows = json_array();
    for (size_t t = 0; t < r->design.n_tasks; t++)
        (void)json_array_append_new(
            rows, json_pack("{s:s, s:o, s:o}", "name", r->design.tasks[t].name, "tuning",
                            panel_json(&r->tuning[t]), "held_out",
                            r->held_out != NULL ? panel_json(&r->held_out[t]) : json_null()));
    return rows;
}

/* ---- the figures of a split ---- */

static json_t *group_json(const study_results *r, const study_group *g, const char *split)
{
    json_t *seeds = json_array();
    for (size_t i = 0; i < g->n_seeds; i++)
        (void)json_array_append_new(seeds,
                                    json_integer((json_int_t)r->cells[g->measure[i]->cell].seed));
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o}}", "split", split, "task",
                     r->design.tasks[g->task].name, "labels", labels_json(&r->design, g->labels),
                     "arm", arm_json(&r->design, g->arm), "seeds", seeds, "average_precision",
                     rz_interval_json(&g->interval[STUDY_PRECISION]), "auroc",
                     rz_interval_json(&g->interval[STUDY_AUROC]), "age_sex", "average_precision",
                     rz_interval_json(&g->age_sex_interval[STUDY_PRECISION]), "auroc",
                     rz_interval_json(&g->age_sex_interval[STUDY_AUROC]));
}

static json_t *contrast_json(const study_results *r, const study_statistics *s,
                             const study_contrast *c, const char *split)
{
    static const char *const kinds[] = {
        [STUDY_SIZES] = "size_minus_smaller_size", [STUDY_PRETRAINING] = "pretrained_minus_scratch",
        [STUDY_ONSETS] = "onset_minus_pretrained", [STUDY_OVER_ENGINE] = "model_minus_engine",
        [STUDY_OVER_AGE_SEX] = "minus_age_sex",    [STUDY_BELOW_TRUTH] = "minus_truth",
        [STUDY_SHARE_OF_TRUTH] = "share_of_truth"};
    const study_group *a = &s->groups[c->a];
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "split", split, "kind",
                     kinds[c->kind], "task", r->design.tasks[a->task].name, "labels",
                     labels_json(&r->design, a->labels), "a", arm_json(&r->design, a->arm), "b",
                     c->b != SIZE_MAX ? arm_json(&r->design, s->groups[c->b].arm) : json_null(),
                     "average_precision", rz_interval_json(&c->interval[STUDY_PRECISION]), "auroc",
                     rz_interval_json(&c->interval[STUDY_AUROC]));
}

static void add_split(const study_results *r, const study_statistics *s, const char *split,
                      json_t *groups, json_t *truth, json_t *contrasts)
{
    for (size_t i = 0; i < s->n_groups; i++)
        (void)json_array_append_new(groups, group_json(r, &s->groups[i], split));
    for (size_t t = 0; t < s->n_tasks; t++)
        if (!isnan(s->truth[t][STUDY_PRECISION].value))
            (void)json_array_append_new(
                truth, json_pack("{s:s, s:s, s:o, s:o}", "split", split, "task",
                                 r->design.tasks[t].name, "average_precision",
                                 rz_interval_json(&s->truth_interval[t][STUDY_PRECISION]), "auroc",
                                 rz_interval_json(&s->truth_interval[t][STUDY_AUROC])));
    for (size_t i = 0; i < s->n_contrasts; i++)
        (void)json_array_append_new(contrasts, contrast_json(r, s, &s->contrasts[i], split));
}

/* ---- choices ---- */

static json_t *size_or_null(const study_results *r, const study_choice *c, int place)
{
    return place != STUDY_NONE ? json_string(r->design.sizes[c->sizes[place].size]) : json_null();
}

static json_t *choices_json(const study_findings *f)
{
    const study_results *r = &f->results;
    json_t *rows = json_array();
    for (size_t i = 0; i < r->design.n_tasks * r->design.n_labels; i++) {
        const study_choice *c = &f->choices[i];
        if (c->n_sizes == 0)
            continue;
        json_t *sizes = json_array();
        for (size_t k = 0; k < c->n_sizes; k++)
            (void)json_array_append_new(
                sizes, json_pack("{s:s, s:o, s:o, s:b}", "size", r->design.sizes[c->sizes[k].size],
                                 "minus_best", rz_interval_json(&c->sizes[k].below_best),
                                 "lower_bound", rz_number_json(c->sizes[k].lower_bound),
                                 "within_margin", c->sizes[k].within));
        (void)json_array_append_new(
            rows,
            json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:b, s:o}", "split", "tuning", "task",
                      r->design.tasks[c->task].name, "labels", labels_json(&r->design, c->labels),
                      "init", study_init_name(c->init), "best", size_or_null(r, c, c->best),
                      "saturated", size_or_null(r, c, c->saturated), "chosen",
                      size_or_null(r, c, c->chosen), "routed",
                      c->labels == f->routed[c->task].labels, "sizes", sizes));
    }
    return rows;
}

/* null where the truth of some patient is not known. */
static json_t *check_truth_json(const study_check *k)
{
    const rz_truth *t = &k->truth;
    if (!k->truth_known)
        return json_null();
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "mean_predicted", rz_number_json(t->mean_predicted),
        "mean_true", rz_number_json(t->mean_true), "predicted_to_true", rz_interval_json(&t->ratio),
        "slope", rz_interval_json(&t->slope), "intercept", rz_interval_json(&t->intercept),
        "mean_slope", rz_interval_json(&t->mean_slope), "goals", rz_truth_goals_json(t));
}

static json_t *checks_json(const study_findings *f)
{
    const study_results *r = &f->results;
    json_t *rows = json_array();
    for (size_t t = 0; t < r->design.n_tasks; t++) {
        const study_check *k = &f->checks[t];
        if (!k->made)
            continue;
        (void)json_array_append_new(
            rows, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "split", "held_out", "task",
                            r->design.tasks[t].name, "cell", r->cells[k->cell].name, "metrics",
                            rz_metrics_json(&k->metrics), "truth", check_truth_json(k), "subgroups",
                            rz_subgroups_json(&k->groups), "decision_curve",
                            rz_decision_json(&k->decision)));
    }
    return rows;
}

/* ---- cost and pretraining ---- */

static json_t *law_json(const power_law *law)
{
    return json_pack("{s:I, s:s?, s:o, s:o, s:o, s:o}", "points", (json_int_t)law->n, "reason",
                     law->reason, "deviation", rz_number_json(law->scale), "a",
                     rz_interval_json(&law->a), "b", rz_interval_json(&law->b), "c",
                     rz_interval_json(&law->c));
}

static json_t *laws_json(const study_findings *f)
{
    json_t *tokens = json_object();
    for (size_t i = 0; i < f->results.design.n_sizes; i++)
        (void)json_object_set_new(tokens, f->results.design.sizes[i], law_json(&f->by_tokens[i]));
    return json_pack("{s:o, s:o}", "by_parameters", law_json(&f->by_parameters), "by_tokens",
                     tokens);
}

static json_t *cost_json(const study_cost *c)
{
    if (c->cells == 0)
        return json_null();
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "cells", (json_int_t)c->cells, "seconds",
                     rz_number_json(c->seconds), "cpu_seconds", rz_number_json(c->cpu_seconds),
                     "peak_bytes", rz_number_json(c->peak_bytes), "parameters",
                     rz_number_json(c->parameters));
}

static json_t *costs_json(const study_findings *f)
{
    const study_design *d = &f->results.design;
    json_t *sizes = json_object(), *engines = json_object();
    for (size_t i = 0; i < d->n_sizes; i++)
        (void)json_object_set_new(sizes, d->sizes[i],
                                  json_pack("{s:o, s:o, s:o, s:o}", "pretrain",
                                            cost_json(&f->pretrain[i]), "pretrained",
                                            cost_json(&f->finetune[i][STUDY_PRETRAINED]), "scratch",
                                            cost_json(&f->finetune[i][STUDY_SCRATCH]), "onset",
                                            cost_json(&f->finetune[i][STUDY_ONSET])));
    for (size_t i = 0; i < d->n_engines; i++)
        (void)json_object_set_new(engines, d->engines[i], cost_json(&f->baseline[i]));
    json_t *transfers = json_object();
    for (int t = STUDY_ZERO_SHOT; t < STUDY_TRANSFERS; t++)
        (void)json_object_set_new(transfers, study_transfer_name((study_transfer)t),
                                  cost_json(&f->transfers[t]));
    return json_pack("{s:o, s:o, s:o}", "sizes", sizes, "engines", engines, "transfers", transfers);
}

json_t *study_report_json(const study_findings *f)
{
    const study_results *r = &f->results;
    const study_report_options *o = &f->options;
    json_t *groups = json_array(), *truth = json_array(), *contrasts = json_array();
    add_split(r, &f->tuning, "tuning", groups, truth, contrasts);
    add_split(r, &f->held_out, "held_out", groups, truth, contrasts);
    return json_pack(
        "{s:s, s:i, s:s, s:s, s:O, s:{s:I, s:I, s:f, s:s, s:b}, s:O, s:{s:I, s:I, s:I}, s:o, s:o, "
        "s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:O, s:O?}",
        "format", "rezept-study-report", "format_version", REPORT_VERSION, "code_version",
        REZEPT_VERSION, "notice", RZ_REPORT_NOTICE, "study", r->design_json, "options",
        "bootstraps", (json_int_t)o->bootstraps, "seed", (json_int_t)o->seed, "margin", o->margin,
        "prefer", o->prefer == STUDY_PREFER_COST ? "cost" : "accuracy", "held_out_open",
        o->open_held_out, "held_out_opened_at", f->held_out_opened, "progress", "cells",
        (json_int_t)r->n_cells, "fits", (json_int_t)f->done, "fits_of_the_grid",
        (json_int_t)f->wanted, "tasks", tasks_json(r), "groups", groups, "truth", truth,
        "contrasts", contrasts, "saturation", choices_json(f), "calibration", checks_json(f),
        "transfer", study_transfer_json(&f->transfer, r), "power_laws", laws_json(f), "costs",
        costs_json(f), "cells", r->cells_json, "cohorts", f->cohorts);
}
