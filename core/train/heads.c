/* Scores the rows to calibrate on once with all heads, then fits head by head. These are the tuning
 * rows, or with drawn labels all rows, by their scores out of fold. After the calibration only one
 * row of each patient is kept. */
#include "train/heads.h"

#include "base/size.h"
#include "metrics/metrics.h"
#include "metrics/stability.h"
#include "metrics/subgroups.h"
#include "tasks/age_sex.h"
#include "train/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static rz_split calibrated_part(const rz_labels *l)
{
    return l->drawn ? RZ_SPLIT_TRAIN : RZ_SPLIT_TUNING;
}

/* Is it calibrated on? Where patients are counted, only on its cohort's own day. */
static bool calibrates(const rz_labels *l, uint8_t part)
{
    return l->drawn ? part == RZ_SPLIT_TRAIN : rz_part_tunes(part);
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *interval(const rz_interval *i)
{
    return json_pack("{s:o, s:o, s:o}", "value", number(i->value), "low", number(i->low), "high",
                     number(i->high));
}

typedef struct column { /* one head's labelled tuning rows */
    size_t n;
    double *logit, *risk, *base, *other; /* [n], one block */
    uint8_t *label, *own;                /* [n], one block; own: the cohort's own day */
    uint32_t *sex, *age, *patient;       /* [n], one block: which subgroup, and whose */
    uint32_t *row;                       /* [n] of the labels; in the same block */
    double unmapped;                     /* tokens of the rows that count */
} column;

rz_status rz_age_sex_fit(const rz_labels *l, size_t task, double shift, double *beta,
                         rz_error *error)
{
    rz_label_counts counts = rz_labels_count(l, task, RZ_SPLIT_TRAIN);
    if (counts.positives < RZ_CALIBRATION_CLASS_MIN ||
        counts.n - counts.positives < RZ_CALIBRATION_CLASS_MIN)
        return RZ_OK;
    double *x = malloc(counts.n * RZ_AGE_SEX_FEATURES * sizeof *x);
    uint8_t *label = malloc(counts.n);
    rz_status status = RZ_OK;
    size_t n = 0;
    if (x == NULL || label == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu labels", counts.n);
    for (size_t r = 0; status == RZ_OK && r < l->n_rows; r++) {
        size_t at = r * l->n_tasks + task;
        if (l->part[at] != RZ_SPLIT_TRAIN)
            continue;
        rz_age_sex_features((double)l->rows[r].age_years, l->rows[r].sex,
                            x + n * RZ_AGE_SEX_FEATURES);
        label[n++] = l->label[at] > 0.5f;
    }
    /* A penalty of one: enough to keep rare corners finite, too little to be seen elsewhere. */
    double fitted[RZ_AGE_SEX_FEATURES + 1];
    if (status == RZ_OK)
        status = rz_logistic_regression(x, label, n, RZ_AGE_SEX_FEATURES, 1.0, fitted, error);
    if (status == RZ_OK) {
        fitted[0] += shift;
        memcpy(beta, fitted, sizeof fitted);
    }
    free(x);
    free(label);
    return status;
}

/* By sex and age band; [{"by", "name", "n", "positives", "auroc", "observed_to_expected"}, …], the
 * figures null where there are too few outcomes. A dataset does not name hospitals. */
static json_t *subgroups_json(const column *c, const rz_heads_options *o, rz_error *error)
{
    static const char *const sexes[] = {"female", "male"};
    const char *ages[RZ_AGE_BANDS];
    for (size_t band = 0; band < RZ_AGE_BANDS; band++)
        ages[band] = rz_age_band_name(band);
    const rz_subgroup_rows rows = {
        .n = c->n,
        .probability = c->risk,
        .label = c->label,
        .key = {[RZ_SUBGROUP_SEX] = c->sex, [RZ_SUBGROUP_AGE] = c->age},
        .names = {[RZ_SUBGROUP_SEX] = sexes, [RZ_SUBGROUP_AGE] = ages},
        .n_names = {[RZ_SUBGROUP_SEX] = RZ_COUNT(sexes), [RZ_SUBGROUP_AGE] = RZ_AGE_BANDS}};
    rz_subgroups groups;
    if (rz_subgroups_measure(&rows, RZ_BOOTSTRAPS, o->seed, &groups, error) != RZ_OK)
        return NULL;
    json_t *json = json_array();
    for (size_t i = 0; json != NULL && i < groups.n; i++) {
        const rz_subgroup *g = &groups.group[i];
        json_t *row = json_pack(
            "{s:s, s:s, s:I, s:I, s:o, s:o}", "by", rz_subgroup_by_name(g->by), "name", g->name,
            "n", (json_int_t)g->n, "positives", (json_int_t)g->positives, "auroc",
            g->measured ? interval(&g->metrics.auroc) : json_null(), "observed_to_expected",
            g->measured ? interval(&g->metrics.observed_to_expected) : json_null());
        if (json_array_append_new(json, row) != 0) {
            json_decref(json);
            json = NULL;
        }
    }
    rz_subgroups_done(&groups);
    if (json == NULL)
        (void)rz_fail(error, RZ_E_NO_MEMORY, "no memory for metrics");
    return json;
}

static json_t *metrics_json(const column *c, const rz_heads_options *o, bool bounded,
                            rz_error *error)
{
    rz_metrics m, base;
    if (rz_metrics_compute(c->risk, c->label, NULL, c->n, RZ_BOOTSTRAPS, o->seed, &m, error) !=
            RZ_OK ||
        rz_metrics_compute(c->base, c->label, NULL, c->n, RZ_BOOTSTRAPS, o->seed, &base, error) !=
            RZ_OK)
        return NULL;
    json_t *groups = subgroups_json(c, o, error);
    if (groups == NULL)
        return NULL;
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o}, s:o}", "split",
                  o->out_of_fold != NULL ? "train, out of fold" : "tuning", "sample",
                  o->sampled ? "drawn" : "as they come", "n", (json_int_t)m.n, "positives",
                  (json_int_t)m.positives, "auroc", interval(&m.auroc), "average_precision",
                  interval(&m.average_precision), "brier", interval(&m.brier), "ece",
                  interval(&m.ece), "observed_to_expected", interval(&m.observed_to_expected),
                  "age_sex", "auroc", interval(&base.auroc), "average_precision",
                  interval(&base.average_precision), "subgroups", groups);
    if (json != NULL && bounded)
        (void)json_object_set_new(json, "calibration_slope_bounded", json_true());
    if (json == NULL)
        (void)rz_fail(error, RZ_E_NO_MEMORY, "no memory for metrics");
    return json;
}

static uint32_t sex_group(rz_sex sex)
{
    return sex == RZ_SEX_FEMALE ? 0 : sex == RZ_SEX_MALE ? 1 : 2;
}

static rz_status collect(const rz_labels *l, const rz_scored *s, size_t task, column *c,
                         rz_error *error)
{
    *c = (column){.logit = calloc(4 * s->n + 1, sizeof *c->logit),
                  .label = malloc(2 * s->n + 1),
                  .sex = calloc(4 * s->n + 1, sizeof *c->sex)};
    if (c->logit == NULL || c->label == NULL || c->sex == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu labels", s->n);
    c->risk = c->logit + s->n;
    c->base = c->risk + s->n;
    c->other = c->base + s->n;
    c->own = c->label + s->n;
    c->age = c->sex + s->n;
    c->patient = c->age + s->n;
    c->row = c->patient + s->n;
    for (size_t i = 0; i < s->n; i++) {
        const rz_label_row *row = &l->rows[s->row[i]];
        size_t at = s->row[i] * l->n_tasks + task, n = c->n;
        if (!calibrates(l, l->part[at]))
            continue;
        c->logit[n] = (double)s->logit[i * l->n_tasks + task];
        c->label[n] = l->label[at] > 0.5f;
        c->own[n] = l->part[at] == calibrated_part(l);
        c->sex[n] = sex_group(row->sex);
        c->age[n] = (uint32_t)rz_age_band((double)row->age_years);
        c->patient[n] = rz_patient_number(c->patient, n,
                                          n > 0 && l->rows[c->row[n - 1]].patient != row->patient);
        c->row[n] = s->row[i];
        c->other[n] = (double)s->tokens[i];
        c->unmapped += c->own[n] ? s->unmapped[i] : 0.0;
        c->n++;
    }
    return RZ_OK;
}

/* The calibrated risks of the rows that count, packed to the front; the others are done with. */
static void keep_own(const rz_labels *l, const rz_head *head, column *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        const rz_label_row *row = &l->rows[c->row[i]];
        rz_calibrated calibrated;
        if (!c->own[i])
            continue;
        rz_calibration_apply(&head->calibration, c->logit[i], &calibrated);
        c->risk[n] = calibrated.probability;
        c->base[n] = rz_age_sex_risk(head->age_sex_beta, (double)row->age_years, row->sex);
        c->label[n] = c->label[i];
        c->sex[n] = c->sex[i];
        c->age[n] = c->age[i];
        c->row[n] = c->row[i];
        c->other[n++] = c->other[i];
    }
    c->n = n;
}

/* Distributions that drift is later measured against; uses up the columns. */
static json_t *reference_json(const rz_labels *l, column *c)
{
    double tokens = 0.0, *ages = c->base;
    size_t n_ages = 0;
    for (size_t i = 0; i < c->n; i++) {
        double age = (double)l->rows[c->row[i]].age_years;
        tokens += c->other[i];
        if (!isnan(age))
            ages[n_ages++] = age;
    }
    json_t *json = json_pack("{s:I, s:f, s:o}", "n", (json_int_t)c->n, "tokens", tokens,
                             "unmapped_share", number(c->unmapped / tokens));
    bool kept = json != NULL && rz_distribution_write(c->risk, c->n, "score", json) &&
                rz_distribution_write(c->other, c->n, "token", json) &&
                (n_ages == 0 || rz_distribution_write(ages, n_ages, "age", json));
    if (!kept) {
        json_decref(json);
        json = NULL;
    }
    return json;
}

static rz_status fit_head(const rz_labels *l, const rz_scored *s, const rz_task *task, size_t t,
                          rz_precision precision, const rz_heads_options *o, rz_head *head,
                          rz_error *error)
{
    column c = {0};
    rz_head fitted = {.task = *task, .precision = precision};
    memcpy(fitted.age_sex_beta, head->age_sex_beta, sizeof fitted.age_sex_beta);
    rz_label_counts train = rz_labels_count(l, t, RZ_SPLIT_TRAIN);
    double prior = o->training_prior[t], prevalence = o->prevalence[t];
    double counted = train.n > 0 ? (double)train.positives / (double)train.n : NAN;
    if (isnan(prior))
        prior = counted;
    bool known = l->drawn || !isnan(prevalence);
    if (isnan(prevalence))
        prevalence = (double)l->cohorts[t].positives / (double)l->cohorts[t].n;
    const rz_calibration_options options = {.method = o->method,
                                            .training_prior = prior,
                                            .prevalence = prevalence,
                                            .prevalence_known = known,
                                            .bootstraps = RZ_BOOTSTRAPS,
                                            .seed = o->seed};
    rz_status status = collect(l, s, t, &c, error);
    if (status == RZ_OK)
        status = rz_calibration_fit(&(rz_calibration_rows){.n = c.n,
                                                           .logit = c.logit,
                                                           .label = c.label,
                                                           .patient = c.patient,
                                                           .counted = c.own},
                                    &options, &fitted.calibration, error);
    /* As with scores: from the labels at hand to the prevalence where risks are used. */
    double shift = known && train.n > 0
                       ? log(prevalence / (1.0 - prevalence)) - log(counted / (1.0 - counted))
                       : 0.0;
    if (status == RZ_OK)
        status = rz_age_sex_fit(l, t, shift, fitted.age_sex_beta, error);
    if (status == RZ_OK)
        keep_own(l, &fitted, &c);
    bool bounded = fitted.calibration.method == RZ_CALIBRATION_PLATT &&
                   fitted.calibration.slope <= RZ_CALIBRATION_SLOPE_MIN;
    if (status == RZ_OK) {
        fitted.metrics = metrics_json(&c, o, bounded, error);
        fitted.reference = fitted.metrics == NULL ? NULL : reference_json(l, &c);
        if (fitted.reference == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the reference distributions");
    }
    if (status == RZ_OK) {
        rz_head_done(head);
        *head = fitted;
    } else {
        json_decref(fitted.metrics);
        rz_error_prefix(error, "task %s: ", task->name);
    }
    free(c.logit);
    free(c.label);
    free(c.sex);
    return status;
}

rz_status rz_heads_check(const rz_labels *l, const rz_task *tasks, rz_calibration_method method,
                         bool train, rz_error *error)
{
    for (size_t t = 0; t < l->n_tasks; t++) {
        int last = calibrated_part(l);
        for (int part = train ? RZ_SPLIT_TRAIN : last; part <= last; part++) {
            rz_label_counts counts = rz_labels_count(l, t, (rz_split)part);
            size_t wanted = part == last && method == RZ_CALIBRATION_ISOTONIC
                                ? RZ_CALIBRATION_ISOTONIC_MIN
                                : RZ_CALIBRATION_CLASS_MIN;
            if (counts.positives < wanted || counts.n - counts.positives < RZ_CALIBRATION_CLASS_MIN)
                return rz_fail(error, RZ_E_INVALID,
                               "task %s: the %s part has %zu positives among %zu patients, %zu and "
                               "%d negatives are needed; choose other tasks with --task",
                               tasks[t].name, rz_split_name((rz_split)part), counts.positives,
                               counts.n, wanted, RZ_CALIBRATION_CLASS_MIN);
        }
    }
    return RZ_OK;
}

rz_status rz_heads_fit(const rz_model *model, rz_dataset *dataset, const rz_labels *labels,
                       const rz_task *tasks, const rz_heads_options *options, rz_head *heads,
                       rz_error *error)
{
    rz_scored s = {0};
    rz_status status =
        rz_labels_score(model, dataset, labels, calibrated_part(labels), !labels->drawn,
                        options->part_tokens, options->progress, &s, error);
    size_t n = labels->n_tasks;
    for (size_t i = 0; status == RZ_OK && options->out_of_fold != NULL && i < s.n; i++)
        memcpy(s.logit + i * n, options->out_of_fold + s.row[i] * n, n * sizeof *s.logit);
    for (size_t t = 0; status == RZ_OK && t < labels->n_tasks; t++)
        status = fit_head(labels, &s, &tasks[t], t, model->precision, options, &heads[t], error);
    rz_scored_done(&s);
    return status;
}
