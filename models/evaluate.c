/* Cohorts, scores and figures, task by task. Scores are made of what was known on the index day, as
 * the daemon would have made them. */
#include "evaluate.h"

#include "base/size.h"
#include "tasks/age_sex.h"

#include <math.h>
#include <stdlib.h>

enum { TIMELINES_BYTES_MAX = 512 << 20, NAMES_BYTES_MAX = 64 << 20 };

static bool chosen(const void *options, uint64_t patient_hash)
{
    const evaluate_options *o = options;
    return o->all || rz_split_by(o->rule, patient_hash) == o->split;
}

static rz_status choose_members(const evaluate_options *o, rz_report_task *t, double **logit,
                                rz_error *error)
{
    size_t room = t->cohort.n > 0 ? t->cohort.n : 1;
    *logit = calloc(room, sizeof **logit);
    t->member = calloc(room, sizeof *t->member);
    t->probability = calloc(room, sizeof *t->probability);
    t->age_sex = calloc(room, sizeof *t->age_sex);
    t->truth = calloc(room, sizeof *t->truth);
    t->label = calloc(room, sizeof *t->label);
    t->patient = calloc(room, sizeof *t->patient);
    if (*logit == NULL || t->member == NULL || t->probability == NULL || t->age_sex == NULL ||
        t->truth == NULL || t->label == NULL || t->patient == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to evaluate %zu rows", room);
    for (size_t i = 0; i < t->cohort.n; i++) {
        const rz_cohort_member *m = &t->cohort.members[i];
        if (!chosen(o, m->hash))
            continue;
        t->patient[t->n] = rz_patient_number(
            t->patient, t->n, t->n > 0 && t->member[t->n - 1]->patient != m->patient);
        t->member[t->n] = m;
        t->label[t->n++] = m->label ? 1 : 0;
    }
    t->patients = t->n > 0 ? (size_t)t->patient[t->n - 1] + 1 : 0;
    return RZ_OK;
}

/* ---- predictions ---- */

static rz_status load(rz_store *store, const rz_report_task *t, size_t first, size_t n,
                      rz_arena *arena, const rz_timeline **timelines, int32_t *as_of,
                      rz_error *error)
{
    rz_arena_reset(arena);
    for (size_t i = 0; i < n; i++) {
        const rz_cohort_member *m = t->member[first + i];
        rz_timeline *timeline = NULL;
        /* choose_members filled n of them. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        rz_status status = rz_store_timeline(store, m->patient, m->index_day, RZ_RECORDED_NOW,
                                             arena, &timeline, error);
        if (status != RZ_OK)
            return status;
        timelines[i] = timeline;
        as_of[i] = m->index_day;
    }
    return RZ_OK;
}

static rz_status score(rz_store *store, const evaluate_subject *subject, const evaluate_options *o,
                       size_t task, rz_report_task *t, double *logit, rz_arena *arena,
                       const rz_progress *progress, rz_error *error)
{
    const rz_timeline *timelines[EVALUATE_ROWS_PER_CALL];
    evaluate_score scores[EVALUATE_ROWS_PER_CALL];
    int32_t as_of[EVALUATE_ROWS_PER_CALL];
    for (size_t first = 0; first < t->n; first += EVALUATE_ROWS_PER_CALL) {
        size_t left = t->n - first;
        size_t n = left < EVALUATE_ROWS_PER_CALL ? left : EVALUATE_ROWS_PER_CALL;
        rz_status status = load(store, t, first, n, arena, timelines, as_of, error);
        if (status == RZ_OK)
            status = subject->score(subject->context, task, timelines, as_of, n, scores, error);
        if (status != RZ_OK)
            return status;
        for (size_t i = 0; i < n; i++) {
            t->probability[first + i] = scores[i].probability;
            t->age_sex[first + i] = scores[i].age_sex;
            logit[first + i] = scores[i].logit;
        }
        rz_progress_report report = {.phase = t->task.name,
                                     .done = first + n,
                                     .total = t->n,
                                     .unit = o->draws > 1 ? "rows" : "patients",
                                     .rate_per_s = NAN,
                                     .loss = NAN,
                                     .seconds_left = NAN};
        if (!rz_progress_tell(progress, &report))
            return rz_fail(error, RZ_E_CANCELED, "interrupted while evaluating %s", t->task.name);
    }
    return RZ_OK;
}

/* ---- against the truth ---- */

/* The figures over the matched rows, which are packed to the front of the arrays given. */
static rz_status truth_figures(const double *truth, const double *predicted, const uint8_t *label,
                               const uint32_t *patient, const evaluate_options *o,
                               rz_report_truth *out, rz_error *error)
{
    size_t n = out->matched;
    rz_metrics m;
    rz_status status = rz_truth_compute(predicted, truth, patient, n, o->bootstraps, o->seed,
                                        &out->figures, error);
    if (status == RZ_OK)
        status = rz_metrics_compute(truth, label, patient, n, o->bootstraps, o->seed, &m, error);
    if (status != RZ_OK)
        return status;
    out->auroc = m.auroc;
    out->average_precision = m.average_precision;
    return rz_metrics_compare(truth, predicted, label, patient, n, o->bootstraps, o->seed,
                              &out->auroc_lost, &out->precision_lost, error);
}

static rz_status against_truth(const evaluate_options *o, size_t task, rz_report_task *t,
                               rz_error *error)
{
    rz_report_truth figures = {.given = true};
    double *truth = malloc((t->n + 1) * sizeof *truth);
    double *predicted = malloc((t->n + 1) * sizeof *predicted);
    uint8_t *label = malloc(t->n + 1);
    uint32_t *patient = malloc((t->n + 1) * sizeof *patient), last = 0; /* whose was packed last */
    rz_status status = RZ_OK;
    if (truth == NULL || predicted == NULL || label == NULL || patient == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu true risks", t->n);
    for (size_t i = 0; status == RZ_OK && i < t->n; i++) {
        bool other_day;
        t->truth[i] = NAN;
        if (!truth_table_find(o->truth, task, t->member[i]->patient, t->member[i]->index_day,
                              &t->truth[i], &other_day)) {
            figures.other_day += other_day ? 1 : 0;
            figures.missing += other_day ? 0 : 1;
            continue;
        }
        truth[figures.matched] = t->truth[i];
        predicted[figures.matched] = t->probability[i];
        patient[figures.matched] =
            rz_patient_number(patient, figures.matched, t->patient[i] != last);
        last = t->patient[i];
        label[figures.matched++] = t->label[i];
    }
    if (status == RZ_OK)
        status = truth_figures(truth, predicted, label, patient, o, &figures, error);
    if (status == RZ_OK)
        t->against_truth = figures;
    free(truth);
    free(predicted);
    free(label);
    free(patient);
    return status;
}

/* ---- subgroups ---- */

static rz_status subgroups(const evaluate_options *o, const evaluation *e, rz_report_task *t,
                           rz_error *error)
{
    static const char *const sexes[] = {"female", "male"};
    const char *ages[RZ_AGE_BANDS];
    size_t room = t->n > 0 ? t->n : 1, bytes;
    uint32_t *key = NULL;
    for (size_t band = 0; band < RZ_AGE_BANDS; band++)
        ages[band] = rz_age_band_name(band);
    if (rz_size_mul(room, RZ_SUBGROUP_BY_COUNT * sizeof *key, &bytes))
        key = malloc(bytes);
    if (key == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the subgroups of %zu rows", t->n);
    uint32_t *sex = key, *age = key + room, *hospital = key + 2 * room;
    for (size_t i = 0; i < t->n; i++) {
        const rz_cohort_member *m = t->member[i];
        bool known = m->facility >= 0 && (size_t)m->facility < e->n_facilities;
        sex[i] = m->sex == RZ_SEX_FEMALE ? 0 : m->sex == RZ_SEX_MALE ? 1 : 2;
        age[i] = (uint32_t)rz_age_band((double)m->age_years);
        hospital[i] = known ? (uint32_t)m->facility : (uint32_t)e->n_facilities;
    }
    const rz_subgroup_rows rows = {.n = t->n,
                                   .probability = t->probability,
                                   .label = t->label,
                                   .patient = t->patient,
                                   .key = {sex, age, hospital},
                                   .names = {sexes, ages, e->facilities},
                                   .n_names = {RZ_COUNT(sexes), RZ_AGE_BANDS, e->n_facilities}};
    rz_status status = rz_subgroups_measure(&rows, o->bootstraps, o->seed, &t->groups, error);
    free(key);
    return status;
}

/* ---- all of it ---- */

static rz_status figures(const evaluate_options *o, const evaluation *e, size_t task,
                         rz_report_task *t, rz_error *error)
{
    rz_status status = rz_metrics_compute(t->probability, t->label, t->patient, t->n, o->bootstraps,
                                          o->seed, &t->model, error);
    if (status == RZ_OK)
        status = rz_metrics_compute(t->age_sex, t->label, t->patient, t->n, o->bootstraps, o->seed,
                                    &t->baseline, error);
    if (status == RZ_OK)
        status =
            rz_metrics_compare(t->probability, t->age_sex, t->label, t->patient, t->n,
                               o->bootstraps, o->seed, &t->auroc_gain, &t->precision_gain, error);
    if (status == RZ_OK)
        status = subgroups(o, e, t, error);
    if (status == RZ_OK)
        status = rz_decision_compute(t->probability, t->age_sex, t->label, t->patient, t->n,
                                     o->bootstraps, o->seed, &t->decision, error);
    if (status == RZ_OK && o->truth != NULL)
        status = against_truth(o, task, t, error);
    return status;
}

static rz_status build_cohorts(rz_store *store, const evaluate_subject *subject,
                               const evaluate_options *o, const rz_progress *progress,
                               rz_report *report, rz_error *error)
{
    const rz_cohort_options options = {
        .facilities = o->facilities, .draws = o->draws, .again = chosen, .context = o};
    rz_cohort *cohorts = calloc(subject->n_tasks + 1, sizeof *cohorts);
    if (cohorts == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu cohorts", subject->n_tasks);
    rz_status status = rz_cohort_build(store, subject->tasks, subject->n_tasks, &options, progress,
                                       cohorts, error);
    for (size_t i = 0; status == RZ_OK && i < subject->n_tasks; i++) {
        report->tasks[i].task = subject->tasks[i];
        report->tasks[i].cohort = cohorts[i];
    }
    free(cohorts);
    return status;
}

rz_status evaluate(rz_store *store, const evaluate_subject *subject,
                   const evaluate_options *options, const rz_progress *progress, evaluation *e,
                   rz_error *error)
{
    rz_report *report = &e->report;
    rz_arena arena;
    rz_arena_init(&arena, TIMELINES_BYTES_MAX);
    report->tasks = calloc(subject->n_tasks + 1, sizeof *report->tasks);
    e->logit = calloc(subject->n_tasks + 1, sizeof *e->logit);
    e->rule = options->rule;
    report->draws = options->draws > 0 ? options->draws : 1;
    rz_arena_init(&e->names, NAMES_BYTES_MAX);
    rz_status status = RZ_OK;
    if (report->tasks == NULL || e->logit == NULL)
        status =
            rz_fail(error, RZ_E_NO_MEMORY, "no memory to evaluate %zu tasks", subject->n_tasks);
    else
        report->n_tasks = subject->n_tasks;
    if (status == RZ_OK)
        status = rz_store_facilities(store, &e->names, &e->facilities, &e->n_facilities, error);
    if (status == RZ_OK)
        status = build_cohorts(store, subject, options, progress, report, error);
    for (size_t i = 0; status == RZ_OK && i < report->n_tasks; i++) {
        rz_report_task *t = &report->tasks[i];
        status = choose_members(options, t, &e->logit[i], error);
        if (status == RZ_OK)
            status = score(store, subject, options, i, t, e->logit[i], &arena, progress, error);
        if (status == RZ_OK)
            status = figures(options, e, i, t, error);
    }
    rz_arena_done(&arena);
    return status;
}

void evaluation_done(evaluation *e)
{
    for (size_t i = 0; e->logit != NULL && i < e->report.n_tasks; i++)
        free(e->logit[i]);
    free(e->logit);
    rz_arena_done(&e->names);
    rz_report_done(&e->report);
    *e = (evaluation){0};
}
