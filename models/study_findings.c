/* Findings, in the order that honesty asks for: the tuning split decides, then held_out is looked
 * at. */
#include "study_findings.h"

#include "base/file.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Warm-up: a curve follows its law only after this share of its tokens. */
static const double WARM_UP = 0.1;

/* ---- cost ---- */

static void add_cost(study_cost *cost, const study_cell *c)
{
    bool first = cost->cells == 0;
    cost->parameters = first ? c->parameters : cost->parameters;
    cost->cells++;
    cost->seconds += c->seconds;
    cost->cpu_seconds += c->cpu_seconds;
    /* One that is unknown says nothing. */
    cost->peak_bytes = first ? c->peak_bytes : fmax(cost->peak_bytes, c->peak_bytes);
}

static void add_costs(study_findings *f)
{
    const study_design *d = &f->results.design;
    for (size_t i = 0; i < f->results.n_cells; i++) {
        const study_cell *c = &f->results.cells[i];
        if (c->transfer != STUDY_GRID) {
            add_cost(&f->transfers[c->transfer], c);
            continue;
        }
        add_cost(c->kind == STUDY_PRETRAIN   ? &f->pretrain[c->size]
                 : c->kind == STUDY_FINETUNE ? &f->finetune[c->size][c->init]
                                             : &f->baseline[c->engine],
                 c);
        /* Seeds of an earlier command may be there beside those of the last. */
        f->done += c->kind == STUDY_PRETRAIN || c->seed > d->seeds ? 0 : c->n_tasks;
    }
    f->wanted = d->n_tasks * (2 * d->n_sizes + d->n_engines) * d->n_labels * d->seeds;
    /* Onsets are learnt from the whole record, never from few labels. */
    if (d->onsets && d->n_labels > 0 && d->labels[d->n_labels - 1] == 0)
        f->wanted += d->n_tasks * d->n_sizes * d->seeds;
}

/* ---- power laws ---- */

static rz_status fit_curve(study_findings *f, const study_cell *c, rz_error *error)
{
    size_t n = json_array_size(c->loss_by_tokens), used = 0;
    double *x = calloc(2 * n + 1, sizeof *x), *y = x != NULL ? x + n : NULL;
    if (x == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu points", n);
    const json_t *last = json_array_get(c->loss_by_tokens, n - 1);
    double end = n > 0 ? json_number_value(json_array_get(last, 0)) : NAN;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(c->loss_by_tokens, i);
        double tokens = json_number_value(json_array_get(pair, 0));
        if (!(tokens >= WARM_UP * end))
            continue;
        x[used] = tokens;
        y[used++] = json_number_value(json_array_get(pair, 1));
    }
    rz_status status = power_law_fit(x, y, used, f->options.bootstraps, f->options.seed,
                                     &f->by_tokens[c->size], error);
    free(x);
    return status;
}

static rz_status fit_laws(study_findings *f, rz_error *error)
{
    double parameters[STUDY_SIZES_MAX], loss[STUDY_SIZES_MAX];
    size_t n = 0;
    rz_status status = RZ_OK;
    for (size_t i = 0; i < STUDY_SIZES_MAX; i++)
        f->by_tokens[i].reason = "it was not pretrained here";
    for (int size = 0; status == RZ_OK && size < (int)f->results.design.n_sizes; size++) {
        const study_cell *c = study_pretraining(&f->results, size);
        if (c == NULL)
            continue;
        parameters[n] = c->parameters;
        loss[n++] = c->tuning_loss;
        status = fit_curve(f, c, error);
    }
    return status == RZ_OK ? power_law_fit(parameters, loss, n, f->options.bootstraps,
                                           f->options.seed, &f->by_parameters, error)
                           : status;
}

/* ---- choices and their check ---- */

static rz_status choose(study_findings *f, rz_error *error)
{
    const study_design *d = &f->results.design;
    rz_status status = RZ_OK;
    for (size_t t = 0; status == RZ_OK && t < d->n_tasks; t++) {
        for (size_t l = 0; status == RZ_OK && l < d->n_labels; l++)
            status = study_choose(&f->results, &f->tuning, t, l, f->options.margin,
                                  f->options.prefer, &f->choices[t * d->n_labels + l], error);
        int labels = study_routed_labels(&f->tuning, t);
        if (status == RZ_OK)
            f->routed[t] =
                f->choices[t * d->n_labels + (labels != STUDY_NONE ? (size_t)labels : 0)];
    }
    return status;
}

static rz_status check_task(study_findings *f, size_t task, rz_error *error)
{
    const study_choice *c = &f->routed[task];
    const study_panel *p = &f->results.held_out[task];
    study_check *k = &f->checks[task];
    if (c->chosen == STUDY_NONE)
        return RZ_OK;
    size_t cell = c->cell != SIZE_MAX ? c->cell : c->sizes[c->chosen].group->measure[0]->cell;
    const study_measure *m = NULL;
    for (size_t i = 0; i < p->n_measures; i++)
        m = p->measures[i].cell == cell ? &p->measures[i] : m;
    if (m == NULL)
        return rz_fail(error, RZ_E_INTERNAL, "cell %.100s has no held_out scores",
                       f->results.cells[cell].name);
    const double *predicted = p->score[m->score];
    rz_status status =
        rz_metrics_compute(predicted, p->label, p->number, p->n, f->options.bootstraps,
                           f->options.seed, &k->metrics, error);
    k->made = status == RZ_OK;
    k->cell = cell;
    if (status == RZ_OK)
        status = study_groups_measure(&p->groups, predicted, p->label, p->number, p->n,
                                      f->options.bootstraps, f->options.seed, &k->groups, error);
    if (status == RZ_OK)
        status = rz_decision_compute(predicted, p->score[m->age_sex], p->label, p->number, p->n,
                                     f->options.bootstraps, f->options.seed, &k->decision, error);
    k->truth_known = p->truth_known;
    if (status == RZ_OK && p->truth_known)
        status = rz_truth_compute(predicted, p->truth, p->number, p->n, f->options.bootstraps,
                                  f->options.seed, &k->truth, error);
    return status;
}

/* ---- all of it ---- */

/* What an earlier report says of it. */
static rz_status read_opened(const char *folder, json_t **out, rz_error *error)
{
    enum { REPORT_BYTES_MAX = 64 << 20 };
    char path[PATH_MAX], *text = NULL;
    size_t n = 0;
    rz_error missing = {0};
    (void)snprintf(path, sizeof path, "%s/report.json", folder);
    *out = NULL;
    rz_status status = rz_file_read(path, REPORT_BYTES_MAX, &text, &n, &missing);
    if (status == RZ_OK) {
        json_t *json = json_loadb(text, n, 0, NULL);
        json_t *opened = json_object_get(json, "held_out_opened_at");
        if (!json_is_array(opened))
            status =
                rz_fail(error, RZ_E_CORRUPT,
                        "%s does not tell when held_out was opened; remove it to start anew", path);
        else
            *out = json_incref(opened);
        json_decref(json);
    } else if (status == RZ_E_NOT_FOUND) {
        *out = json_array();
        status = *out != NULL ? RZ_OK : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", path);
    } else {
        status = rz_fail(error, status, "%s", missing.text);
    }
    free(text);
    return status;
}

/* Who was left out; studies of older versions have not kept it. */
static rz_status read_cohorts(const char *folder, json_t **out, rz_error *error)
{
    enum { COHORTS_BYTES_MAX = 16 << 20 };
    char path[PATH_MAX], *text = NULL;
    size_t n = 0;
    rz_error missing = {0};
    (void)snprintf(path, sizeof path, "%s/cohorts.json", folder);
    *out = NULL;
    rz_status status = rz_file_read(path, COHORTS_BYTES_MAX, &text, &n, &missing);
    if (status == RZ_E_NOT_FOUND)
        return RZ_OK;
    if (status != RZ_OK)
        return rz_fail(error, status, "%s", missing.text);
    *out = json_loadb(text, n, 0, NULL);
    free(text);
    return *out != NULL ? RZ_OK : rz_fail(error, RZ_E_CORRUPT, "%s is no JSON", path);
}

rz_status study_findings_make(const char *folder, const study_report_options *options,
                              rz_pool *pool, const rz_progress *progress, study_findings *f,
                              rz_error *error)
{
    *f = (study_findings){.options = *options};
    const study_design *d = &f->results.design;
    rz_status status = read_opened(folder, &f->held_out_opened, error);
    if (status == RZ_OK)
        status = read_cohorts(folder, &f->cohorts, error);
    if (status == RZ_OK)
        status = study_results_read(folder, options->open_held_out, progress, &f->results, error);
    if (status == RZ_OK)
        status = study_statistics_compute(&f->results, f->results.tuning, options->bootstraps,
                                          options->seed, pool, progress, &f->tuning, error);
    f->choices = calloc(d->n_tasks * d->n_labels + 1, sizeof *f->choices);
    f->routed = calloc(d->n_tasks + 1, sizeof *f->routed);
    f->checks = calloc(d->n_tasks + 1, sizeof *f->checks);
    if (status == RZ_OK && (f->choices == NULL || f->routed == NULL || f->checks == NULL))
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tasks", d->n_tasks);
    if (status == RZ_OK && d->n_hold_out > 0)
        status = study_transfer_make(&f->results, options, pool, progress, &f->transfer, error);
    if (status == RZ_OK)
        status = choose(f, error);
    if (status == RZ_OK)
        status = fit_laws(f, error);
    if (status != RZ_OK)
        return status;
    add_costs(f);
    if (!options->open_held_out)
        return RZ_OK;
    status = study_statistics_compute(&f->results, f->results.held_out, options->bootstraps,
                                      options->seed, pool, progress, &f->held_out, error);
    for (size_t t = 0; status == RZ_OK && t < d->n_tasks; t++)
        status = check_task(f, t, error);
    return status;
}

void study_findings_done(study_findings *f)
{
    free(f->choices);
    free(f->routed);
    for (size_t t = 0; f->checks != NULL && t < f->results.design.n_tasks; t++)
        rz_subgroups_done(&f->checks[t].groups);
    free(f->checks);
    json_decref(f->cohorts);
    study_statistics_done(&f->tuning);
    study_statistics_done(&f->held_out);
    study_transfer_done(&f->transfer);
    study_results_done(&f->results);
    json_decref(f->held_out_opened);
    *f = (study_findings){0};
}

const study_statistics *study_shown(const study_findings *f)
{
    return f->options.open_held_out ? &f->held_out : &f->tuning;
}

const char *study_shown_name(const study_findings *f)
{
    return f->options.open_held_out ? "held_out" : "tuning";
}

const char *study_arm_text(const study_design *d, study_arm arm, char out[STUDY_ARM_TEXT])
{
    static const char *const inits[STUDY_INITS] = {"pretrained", "from scratch", "all onsets"};
    if (arm.engine != STUDY_NONE)
        (void)snprintf(out, STUDY_ARM_TEXT, "%s", d->engines[arm.engine]);
    else
        (void)snprintf(out, STUDY_ARM_TEXT, "%s %s", d->sizes[arm.size], inits[arm.init]);
    return out;
}
