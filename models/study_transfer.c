/* The findings at held-out facilities. The statistics are those of the grid, on other patients;
 * what is compared with what is said here. */
#include "study_transfer.h"

#include "base/size.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const rz_interval unknown = {NAN, NAN, NAN};

const study_statistics *study_transfer_shown(const study_transfer_findings *f)
{
    return f->open ? &f->held_out : &f->tuning;
}

/* ---- rows ---- */

/* Of an arm of the transfer. The labels of what has none of the place are all of the others'. */
static const study_group *find(const study_statistics *s, size_t task, study_transfer transfer,
                               int size, int engine, size_t labels)
{
    const study_arm arm = {.size = size,
                           .engine = engine,
                           .init = engine != STUDY_NONE ? STUDY_SCRATCH : STUDY_PRETRAINED,
                           .transfer = transfer};
    return study_group_find(s, task, labels, arm);
}

static void add_row(study_transfer_findings *f, const study_group *g)
{
    if (g != NULL)
        f->rows[f->n_rows++] = (transfer_row){.group = g,
                                              .minus_zero_shot = unknown,
                                              .minus_local = unknown,
                                              .minus_engine = unknown};
}

static void list_rows(study_transfer_findings *f, const study_design *d)
{
    const study_statistics *s = study_transfer_shown(f);
    const size_t all = d->n_labels - 1;
    for (size_t t = 0; t < d->n_tasks; t++) {
        for (int size = 0; size < (int)d->n_sizes; size++) {
            add_row(f, find(s, t, STUDY_ZERO_SHOT, size, STUDY_NONE, all));
            add_row(f, find(s, t, STUDY_RECALIBRATED, size, STUDY_NONE, all));
            for (int kind = STUDY_TUNED; kind <= STUDY_LOCAL; kind++)
                for (size_t l = 0; l < d->n_labels; l++)
                    add_row(f, find(s, t, (study_transfer)kind, size, STUDY_NONE, l));
        }
        for (int e = 0; e < (int)d->n_engines; e++)
            for (size_t l = 0; l < d->n_labels; l++)
                add_row(f, find(s, t, STUDY_LOCAL, STUDY_NONE, e, l));
    }
}

static rz_status minus(const study_statistics *s, const study_group *a, const study_group *b,
                       rz_interval *out, rz_error *error)
{
    return b == NULL ? RZ_OK
                     : study_difference(s, &a->figure[STUDY_PRECISION], &b->figure[STUDY_PRECISION],
                                        out, error);
}

static rz_status compare(const study_statistics *s, const study_design *d, transfer_row *row,
                         rz_error *error)
{
    const study_group *g = row->group, *engine = NULL;
    const study_transfer kind = g->arm.transfer;
    if (g->arm.engine != STUDY_NONE)
        return RZ_OK;
    for (int e = 0; engine == NULL && e < (int)d->n_engines; e++)
        engine = find(s, g->task, STUDY_LOCAL, STUDY_NONE, e, g->labels);
    rz_status status = minus(s, g, engine, &row->minus_engine, error);
    if (status == RZ_OK && kind != STUDY_ZERO_SHOT)
        status =
            minus(s, g, find(s, g->task, STUDY_ZERO_SHOT, g->arm.size, STUDY_NONE, d->n_labels - 1),
                  &row->minus_zero_shot, error);
    if (status == RZ_OK && kind != STUDY_LOCAL)
        status = minus(s, g, find(s, g->task, STUDY_LOCAL, g->arm.size, STUDY_NONE, g->labels),
                       &row->minus_local, error);
    return status;
}

static rz_status check(const study_results *r, const study_report_options *o, transfer_row *row,
                       rz_error *error)
{
    const study_panel *p = &r->transfer_held_out[row->group->task];
    rz_status status =
        rz_metrics_compute(p->score[row->group->measure[0]->score], p->label, p->number, p->n,
                           o->bootstraps, o->seed, &row->metrics, error);
    row->checked = status == RZ_OK;
    return status;
}

rz_status study_transfer_make(const study_results *r, const study_report_options *o, rz_pool *pool,
                              const rz_progress *progress, study_transfer_findings *out,
                              rz_error *error)
{
    study_transfer_findings f = {.open = o->open_held_out};
    rz_status status = study_statistics_compute(r, r->transfer_tuning, o->bootstraps, o->seed, pool,
                                                progress, &f.tuning, error);
    if (status == RZ_OK && f.open)
        status = study_statistics_compute(r, r->transfer_held_out, o->bootstraps, o->seed, pool,
                                          progress, &f.held_out, error);
    const study_statistics *s = study_transfer_shown(&f);
    f.rows = calloc(s->n_groups + 1, sizeof *f.rows);
    if (status == RZ_OK && f.rows == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu kinds of transfer", s->n_groups);
    if (status == RZ_OK)
        list_rows(&f, &r->design);
    for (size_t i = 0; status == RZ_OK && i < f.n_rows; i++) {
        transfer_row *row = &f.rows[i];
        if (row->group == NULL)
            continue; /* none is: the analyser does not see that add_row sets it */
        status = compare(s, &r->design, row, error);
        if (status == RZ_OK && f.open)
            status = check(r, o, row, error);
    }
    if (status != RZ_OK) {
        study_transfer_done(&f);
        return status;
    }
    *out = f;
    return RZ_OK;
}

void study_transfer_done(study_transfer_findings *f)
{
    study_statistics_done(&f->tuning);
    study_statistics_done(&f->held_out);
    free(f->rows);
    *f = (study_transfer_findings){0};
}

/* ---- words ---- */

const char *study_transfer_text(const study_design *d, const study_group *g,
                                char out[TRANSFER_TEXT])
{
    char labels[STUDY_LABELS_TEXT];
    const char *n = study_labels_text(d->labels[g->labels], labels);
    if (g->arm.engine != STUDY_NONE)
        (void)snprintf(out, TRANSFER_TEXT, "local, %s, %s labels", d->engines[g->arm.engine], n);
    else if (g->arm.transfer == STUDY_ZERO_SHOT || g->arm.transfer == STUDY_RECALIBRATED)
        (void)snprintf(out, TRANSFER_TEXT, "%s",
                       g->arm.transfer == STUDY_ZERO_SHOT ? "zero-shot" : "recalibrated");
    else
        (void)snprintf(out, TRANSFER_TEXT, "%s, %s labels",
                       g->arm.transfer == STUDY_TUNED ? "fine-tuned" : "local", n);
    return out;
}

/* ---- report.json ---- */

static json_t *seeds_json(const study_results *r, const study_group *g)
{
    json_t *seeds = json_array();
    for (size_t i = 0; i < g->n_seeds; i++)
        (void)json_array_append_new(seeds,
                                    json_integer((json_int_t)r->cells[g->measure[i]->cell].seed));
    return seeds;
}

static json_t *row_json(const study_results *r, const transfer_row *row)
{
    const study_design *d = &r->design;
    const study_group *g = row->group;
    const bool model = g->arm.engine == STUDY_NONE;
    const bool without =
        g->arm.transfer < STUDY_TUNED; /* no labels of the place were learnt from */
    char labels[STUDY_LABELS_TEXT];
    return json_pack(
        "{s:s, s:s, s:s?, s:s?, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "task",
        d->tasks[g->task].name, "kind", study_transfer_name(g->arm.transfer), "size",
        model ? d->sizes[g->arm.size] : NULL, "engine", model ? NULL : d->engines[g->arm.engine],
        "labels", without ? NULL : study_labels_text(d->labels[g->labels], labels), "seeds",
        seeds_json(r, g), "average_precision", rz_interval_json(&g->interval[STUDY_PRECISION]),
        "auroc", rz_interval_json(&g->interval[STUDY_AUROC]), "age_sex_average_precision",
        rz_interval_json(&g->age_sex_interval[STUDY_PRECISION]), "minus_zero_shot",
        rz_interval_json(&row->minus_zero_shot), "minus_local", rz_interval_json(&row->minus_local),
        "minus_engine", rz_interval_json(&row->minus_engine), "calibration",
        row->checked ? rz_metrics_json(&row->metrics) : json_null());
}

static json_t *task_json(const study_transfer_findings *f, const study_results *r, size_t task)
{
    const study_panel *tuning = &r->transfer_tuning[task];
    const study_panel *held = f->open ? &r->transfer_held_out[task] : NULL;
    const study_statistics *s = study_transfer_shown(f);
    return json_pack(
        "{s:s, s:{s:I, s:I}, s:o, s:o}", "name", r->design.tasks[task].name, "tuning", "patients",
        (json_int_t)tuning->n, "positives", (json_int_t)tuning->positives, "held_out",
        held == NULL ? json_null()
                     : json_pack("{s:I, s:I}", "patients", (json_int_t)held->n, "positives",
                                 (json_int_t)held->positives),
        "truth_average_precision", rz_interval_json(&s->truth_interval[task][STUDY_PRECISION]));
}

json_t *study_transfer_json(const study_transfer_findings *f, const study_results *r)
{
    const study_design *d = &r->design;
    if (d->n_hold_out == 0)
        return json_null();
    json_t *facilities = json_array(), *tasks = json_array(), *rows = json_array();
    for (size_t i = 0; i < d->n_hold_out; i++)
        (void)json_array_append_new(facilities, json_string(d->hold_out[i]));
    for (size_t t = 0; t < d->n_tasks; t++)
        (void)json_array_append_new(tasks, task_json(f, r, t));
    for (size_t i = 0; i < f->n_rows; i++)
        (void)json_array_append_new(rows, row_json(r, &f->rows[i]));
    return json_pack("{s:o, s:s, s:o, s:o}", "facilities", facilities, "split",
                     f->open ? "held_out" : "tuning", "tasks", tasks, "rows", rows);
}
