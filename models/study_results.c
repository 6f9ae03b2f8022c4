/* Everything of a folder, cells first, then their scores. */
#include "study_results.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static rz_status read_split(const char *folder, const char *split, const rz_progress *progress,
                            const study_results *r, study_panel *grid, study_panel *transfer,
                            rz_error *error)
{
    for (size_t i = 0; i < r->n_cells; i++) {
        if (r->cells[i].kind == STUDY_PRETRAIN)
            continue;
        rz_status status = study_scores_read(
            folder, split, i, r, r->cells[i].transfer == STUDY_GRID ? grid : transfer, error);
        if (status != RZ_OK)
            return status;
        rz_progress_report report = {.phase = split,
                                     .done = i + 1,
                                     .total = r->n_cells,
                                     .unit = "cells",
                                     .rate_per_s = NAN,
                                     .loss = NAN,
                                     .seconds_left = NAN};
        if (!rz_progress_tell(progress, &report))
            return rz_fail(error, RZ_E_CANCELED, "interrupted while reading scores");
    }
    return RZ_OK;
}

/* Keeps the rows that have a true risk. */
static void keep_known(study_panel *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (isnan(p->truth[i]))
            continue;
        p->patient[n] = p->patient[i];
        p->index_day[n] = p->index_day[i];
        p->label[n] = p->label[i];
        p->truth[n] = p->truth[i];
        for (size_t s = 0; s < p->n_scores; s++)
            p->score[s][n] = p->score[s][i];
        for (int by = 0; by < RZ_SUBGROUP_BY_COUNT && p->groups.key[0] != NULL; by++)
            p->groups.key[by][n] = p->groups.key[by][i];
        n++;
    }
    p->left_out = p->n - n;
    p->n = n;
}

/* A true risk is of use where every row has one. A simulator does not tell it for the few patients
 * whose outcome was there already and unknown to the hospital: these few leave the panel. */
static void finish(study_panel *panels, size_t n_tasks)
{
    for (size_t t = 0; t < n_tasks; t++) {
        study_panel *p = &panels[t];
        size_t unknown = 0;
        for (size_t i = 0; i < p->n; i++)
            unknown += isnan(p->truth[i]) ? 1 : 0;
        p->truth_known = p->n > 0 && unknown <= p->n / STUDY_UNKNOWN_TRUTH;
        if (p->truth_known && unknown > 0)
            keep_known(p);
        for (size_t i = 0; i < p->n; i++) {
            p->positives += p->label[i];
            p->number[i] =
                rz_patient_number(p->number, i, i > 0 && p->patient[i - 1] != p->patient[i]);
        }
        p->patients = p->n > 0 ? (size_t)p->number[p->n - 1] + 1 : 0;
    }
}

rz_status study_results_read(const char *folder, bool open_held_out, const rz_progress *progress,
                             study_results *out, rz_error *error)
{
    study_results r = {0};
    rz_status status = study_cells_read(folder, &r, error);
    if (status == RZ_OK) {
        r.tuning = calloc(r.design.n_tasks, sizeof *r.tuning);
        r.transfer_tuning = calloc(r.design.n_tasks, sizeof *r.transfer_tuning);
        r.held_out = open_held_out ? calloc(r.design.n_tasks, sizeof *r.held_out) : NULL;
        r.transfer_held_out =
            open_held_out ? calloc(r.design.n_tasks, sizeof *r.transfer_held_out) : NULL;
        if (r.tuning == NULL || r.transfer_tuning == NULL ||
            (open_held_out && (r.held_out == NULL || r.transfer_held_out == NULL)))
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tasks", r.design.n_tasks);
    }
    if (status == RZ_OK)
        status = read_split(folder, "tuning", progress, &r, r.tuning, r.transfer_tuning, error);
    if (status == RZ_OK && open_held_out)
        status =
            read_split(folder, "held_out", progress, &r, r.held_out, r.transfer_held_out, error);
    if (status != RZ_OK) {
        study_results_done(&r);
        return status;
    }
    finish(r.tuning, r.design.n_tasks);
    finish(r.transfer_tuning, r.design.n_tasks);
    if (open_held_out) {
        finish(r.held_out, r.design.n_tasks);
        finish(r.transfer_held_out, r.design.n_tasks);
    }
    *out = r;
    return RZ_OK;
}

static void panels_free(study_panel *panels, size_t n)
{
    for (size_t t = 0; panels != NULL && t < n; t++) {
        study_panel *p = &panels[t];
        for (size_t i = 0; i < p->n_scores; i++)
            free(p->score[i]);
        free(p->score);
        free(p->measures);
        free(p->patient);
        free(p->number);
        free(p->index_day);
        free(p->label);
        free(p->truth);
        study_groups_done(&p->groups);
    }
    free(panels);
}

void study_results_done(study_results *r)
{
    panels_free(r->tuning, r->design.n_tasks);
    panels_free(r->held_out, r->design.n_tasks);
    panels_free(r->transfer_tuning, r->design.n_tasks);
    panels_free(r->transfer_held_out, r->design.n_tasks);
    free(r->cells);
    json_decref(r->design_json);
    json_decref(r->cells_json);
    *r = (study_results){0};
}

const study_cell *study_pretraining(const study_results *r, int size)
{
    for (size_t i = 0; i < r->n_cells; i++)
        if (r->cells[i].kind == STUDY_PRETRAIN && r->cells[i].transfer == STUDY_GRID &&
            r->cells[i].size == size)
            return &r->cells[i];
    return NULL;
}

const char *study_init_name(study_init init)
{
    static const char *const names[STUDY_INITS] = {"pretrained", "scratch", "onset"};
    return names[init];
}

const char *study_transfer_name(study_transfer transfer)
{
    static const char *const names[STUDY_TRANSFERS] = {"grid", "zero_shot", "recalibrated", "tuned",
                                                       "local"};
    return names[transfer];
}

const char *study_labels_text(size_t labels, char out[STUDY_LABELS_TEXT])
{
    if (labels == 0)
        (void)snprintf(out, STUDY_LABELS_TEXT, "all");
    else
        (void)snprintf(out, STUDY_LABELS_TEXT, "%zu", labels);
    return out;
}
