/* Saturation and the choice by it. Nothing here ever sees the held_out split. */
#include "study_choice.h"

#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROUTING_VERSION = 1 };

/* Mean over the group's cells of their CPU time for one task. */
static double fit_cpu_seconds(const study_results *r, const study_group *g)
{
    double sum = 0.0;
    for (size_t i = 0; i < g->n_seeds; i++) {
        const study_cell *c = &r->cells[g->measure[i]->cell];
        sum += c->cpu_seconds / (double)c->n_tasks;
    }
    return sum / (double)g->n_seeds;
}

static study_size size_of(const study_results *r, const study_group *g)
{
    const study_cell *pretrained =
        g->arm.init == STUDY_PRETRAINED ? study_pretraining(r, g->arm.size) : NULL;
    return (study_size){.size = g->arm.size,
                        .group = g,
                        .lower_bound = NAN,
                        .parameters = r->cells[g->measure[0]->cell].parameters,
                        .fit_cpu_seconds = fit_cpu_seconds(r, g),
                        .pretrain_cpu_seconds = pretrained != NULL ? pretrained->cpu_seconds : NAN};
}

static void add_sizes(const study_results *r, const study_statistics *s, study_choice *c)
{
    for (int size = 0; size < (int)r->design.n_sizes; size++) {
        const study_arm arm = {.size = size, .engine = STUDY_NONE, .init = c->init};
        const study_group *g = study_group_find(s, c->task, c->labels, arm);
        if (g != NULL)
            c->sizes[c->n_sizes++] = size_of(r, g);
    }
}

static rz_status compare_with_best(const study_statistics *s, study_choice *c, rz_error *error)
{
    const study_estimate *best = &c->sizes[c->best].group->figure[STUDY_PRECISION];
    for (size_t i = 0; i < c->n_sizes; i++) {
        study_size *z = &c->sizes[i];
        const study_estimate *own = &z->group->figure[STUDY_PRECISION];
        rz_status status = study_difference(s, own, best, &z->below_best, error);
        if (status == RZ_OK)
            status = study_lower_bound(s, own, best, &z->lower_bound, error);
        if (status != RZ_OK)
            return status;
        z->within = (int)i == c->best || z->lower_bound > -c->margin * best->value;
        if (z->within && c->saturated == STUDY_NONE)
            c->saturated = (int)i;
    }
    return RZ_OK;
}

/* The model that answers: its seed is chosen on the tuning split as well. */
static size_t cell_of(const study_results *r, const study_choice *c)
{
    const study_group *g = c->sizes[c->chosen].group;
    const study_panel *p = &r->tuning[c->task];
    size_t best = SIZE_MAX;
    double highest = -INFINITY;
    for (size_t i = 0; i < g->n_seeds; i++) {
        const study_measure *m = g->measure[i];
        double precision = rz_average_precision(p->score[m->score], p->label, p->n);
        if (r->cells[m->cell].model != NULL && precision > highest) {
            highest = precision;
            best = m->cell;
        }
    }
    return best;
}

rz_status study_choose(const study_results *r, const study_statistics *tuning, size_t task,
                       size_t labels, double margin, study_prefer prefer, study_choice *out,
                       rz_error *error)
{
    study_choice c = {.task = task,
                      .labels = labels,
                      .init = STUDY_PRETRAINED,
                      .best = STUDY_NONE,
                      .saturated = STUDY_NONE,
                      .chosen = STUDY_NONE,
                      .margin = margin,
                      .prefer = prefer,
                      .cell = SIZE_MAX};
    add_sizes(r, tuning, &c);
    if (c.n_sizes == 0) {
        c.init = STUDY_SCRATCH;
        add_sizes(r, tuning, &c);
    }
    double highest = -INFINITY;
    for (size_t i = 0; i < c.n_sizes; i++) {
        double value = c.sizes[i].group->figure[STUDY_PRECISION].value;
        if (value > highest) {
            highest = value;
            c.best = (int)i;
        }
    }
    rz_status status = c.best != STUDY_NONE ? compare_with_best(tuning, &c, error) : RZ_OK;
    if (status == RZ_OK && c.best != STUDY_NONE) {
        c.chosen = prefer == STUDY_PREFER_COST ? c.saturated : c.best;
        c.cell = cell_of(r, &c);
    }
    if (status == RZ_OK)
        *out = c;
    return status;
}

int study_routed_labels(const study_statistics *tuning, size_t task)
{
    int labels = STUDY_NONE;
    for (size_t i = 0; i < tuning->n_groups; i++) {
        const study_group *g = &tuning->groups[i];
        if (g->task == task && g->arm.engine == STUDY_NONE && (int)g->labels > labels)
            labels = (int)g->labels;
    }
    return labels;
}

/* ---- what it saves ---- */

static double saved(double own, double largest)
{
    return largest > 0.0 ? 1.0 - own / largest : NAN;
}

double study_choice_parameters_saved(const study_choice *c)
{
    return c->chosen == STUDY_NONE
               ? NAN
               : saved(c->sizes[c->chosen].parameters, c->sizes[c->n_sizes - 1].parameters);
}

static double whole_cpu_seconds(const study_size *z, study_init init)
{
    return z->fit_cpu_seconds + (init == STUDY_PRETRAINED ? z->pretrain_cpu_seconds : 0.0);
}

double study_choice_cpu_saved(const study_choice *c)
{
    return c->chosen == STUDY_NONE ? NAN
                                   : saved(whole_cpu_seconds(&c->sizes[c->chosen], c->init),
                                           whole_cpu_seconds(&c->sizes[c->n_sizes - 1], c->init));
}

const char *study_choice_model(const study_results *r, const study_choice *c)
{
    if (c->cell == SIZE_MAX)
        return NULL;
    const char *folder = r->cells[c->cell].model, *slash = strrchr(folder, '/');
    return slash != NULL ? slash + 1 : folder;
}

/* " (0.380 to 0.441)", or nothing without resamples. */
static const char *range_text(const rz_interval *i, char out[32])
{
    out[0] = '\0';
    if (isfinite(i->low) && isfinite(i->high))
        (void)snprintf(out, 32, " (%.3f to %.3f)", i->low, i->high);
    return out;
}

const char *study_choice_why(const study_results *r, const study_choice *c, char out[STUDY_WHY])
{
    if (c->chosen == STUDY_NONE) {
        (void)snprintf(out, STUDY_WHY, "no size of this task could be measured");
        return out;
    }
    const study_size *z = &c->sizes[c->chosen], *best = &c->sizes[c->best];
    const rz_interval *own = &z->group->interval[STUDY_PRECISION];
    const char *name = r->design.sizes[z->size];
    char fewer[64] = "", range[32];
    double share = study_choice_parameters_saved(c);
    if (share >= 0.005)
        (void)snprintf(fewer, sizeof fewer, "; %.0f %% fewer parameters than %s", 100.0 * share,
                       r->design.sizes[c->sizes[c->n_sizes - 1].size]);
    if (c->n_sizes == 1)
        (void)snprintf(out, STUDY_WHY,
                       "%s is the only size measured: average precision %.3f%s on tuning "
                       "patients",
                       name, own->value, range_text(own, range));
    else if (c->chosen == c->best)
        (void)snprintf(out, STUDY_WHY,
                       "%s has the highest average precision of %zu sizes on tuning patients, "
                       "%.3f%s%s",
                       name, c->n_sizes, own->value, range_text(own, range), fewer);
    else
        (void)snprintf(out, STUDY_WHY,
                       "%s is the smallest of %zu sizes within %.3g %% of the best (%s) on tuning "
                       "patients: average precision %.3f against %.3f%s",
                       name, c->n_sizes, 100.0 * c->margin, r->design.sizes[best->size], own->value,
                       best->group->interval[STUDY_PRECISION].value, fewer);
    return out;
}

/* ---- routing.json ---- */

static json_t *sizes_json(const study_results *r, const study_choice *c)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < c->n_sizes; i++) {
        const study_size *z = &c->sizes[i];
        (void)json_array_append_new(
            rows,
            json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "size",
                      r->design.sizes[z->size], "seeds", (json_int_t)z->group->n_seeds,
                      "average_precision", rz_interval_json(&z->group->interval[STUDY_PRECISION]),
                      "auroc", rz_interval_json(&z->group->interval[STUDY_AUROC]), "minus_best",
                      rz_interval_json(&z->below_best), "lower_bound",
                      rz_number_json(z->lower_bound), "parameters", rz_number_json(z->parameters),
                      "within_margin", z->within, "fit_cpu_seconds",
                      rz_number_json(z->fit_cpu_seconds), "pretrain_cpu_seconds",
                      rz_number_json(z->pretrain_cpu_seconds)));
    }
    return rows;
}

static json_t *choice_json(const study_results *r, const study_choice *c)
{
    char why[STUDY_WHY], labels[STUDY_LABELS_TEXT];
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:f, s:s, s:s, s:o, s:o, s:o}}", "model",
                     study_choice_model(r, c), "size", r->design.sizes[c->sizes[c->chosen].size],
                     "why", study_choice_why(r, c, why), "evidence", "split", "tuning", "labels",
                     study_labels_text(r->design.labels[c->labels], labels), "prefer",
                     c->prefer == STUDY_PREFER_COST ? "cost" : "accuracy", "margin", c->margin,
                     "best", r->design.sizes[c->sizes[c->best].size], "saturated",
                     r->design.sizes[c->sizes[c->saturated].size], "parameters_saved",
                     rz_number_json(study_choice_parameters_saved(c)), "cpu_seconds_saved",
                     rz_number_json(study_choice_cpu_saved(c)), "sizes", sizes_json(r, c));
}

json_t *study_routing_json(const study_results *r, const study_choice *choices, size_t n)
{
    json_t *tasks = json_object();
    for (size_t i = 0; tasks != NULL && i < n; i++) {
        if (study_choice_model(r, &choices[i]) == NULL)
            continue;
        if (json_object_set_new(tasks, r->design.tasks[choices[i].task].name,
                                choice_json(r, &choices[i])) != 0) {
            json_decref(tasks);
            tasks = NULL;
        }
    }
    return tasks == NULL ? NULL
                         : json_pack("{s:i, s:s, s:s, s:o}", "format_version", ROUTING_VERSION,
                                     "code_version", r->design.code_version, "data_sha256",
                                     r->design.data_sha256, "tasks", tasks);
}
