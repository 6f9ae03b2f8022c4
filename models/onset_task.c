/* Matches a task's prefixes with codes, combines their risks, and calibrates the combination. */
#include "onset_task.h"

#include "base/portable_math.h"
#include "train/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A risk of 0 or 1 in floating point has a large logit, not an infinite one. */
static const double CERTAIN = 1.0 - 1e-12, NEVER = 1e-300;

/* A code is an outcome when a prefix begins it; when it begins a prefix, it holds the outcome and
 * other codes besides. */
static void match(const rz_vocabulary_entry *entry, const rz_task *task, bool *is, bool *coarse)
{
    *is = *coarse = false;
    for (size_t i = 0; entry->kind == task->kind && i < task->n_outcomes; i++) {
        const rz_task_prefix *prefix = &task->outcomes[i];
        size_t n = strlen(prefix->prefix), own = strlen(entry->code);
        if (prefix->system != entry->system ||
            strncmp(entry->code, prefix->prefix, n < own ? n : own) != 0)
            continue;
        *is = *is || n <= own;
        *coarse = *coarse || n > own;
    }
}

rz_status onset_task_find(const rz_vocabulary *v, const rz_task *task, onset_task *out,
                          rz_error *error)
{
    size_t n = v->n_diagnoses + v->n_medications;
    *out = (onset_task){.codes = malloc((n + 1) * sizeof *out->codes)};
    if (out->codes == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu codes", n);
    for (size_t i = 0; i < n; i++) {
        bool is, coarse;
        match(&v->entries[i], task, &is, &coarse);
        if (is)
            out->codes[out->n_codes++] = (uint32_t)i;
        else
            out->n_coarse += coarse;
    }
    if (out->n_codes == 0) {
        size_t coarser = out->n_coarse;
        onset_task_done(out);
        return rz_fail(error, RZ_E_INVALID,
                       "task %s: the vocabulary has none of its outcome codes (%zu that are "
                       "coarser); choose other tasks with --task",
                       task->name, coarser);
    }
    return RZ_OK;
}

void onset_task_done(onset_task *task)
{
    free(task->codes);
    *task = (onset_task){0};
}

double onset_task_logit(const onset_task *task, const rz_risk *risks)
{
    double none = 0.0; /* log of the chance that none comes: sums, as products would round to 1 */
    for (size_t i = 0; i < task->n_codes; i++)
        if (risks[i].eligibility.reason == RZ_REASON_NONE)
            none += log1p(-fmin(risks[i].probability, CERTAIN));
    return log(fmax(-expm1(none), NEVER)) - none;
}

static rz_status fit_age_sex(onset_task *task, const rz_cohort_member *const *members, size_t n,
                             rz_error *error)
{
    double *x = malloc((n + 1) * RZ_AGE_SEX_FEATURES * sizeof *x);
    uint8_t *label = malloc(n + 1);
    rz_status status = RZ_OK;
    if (x == NULL || label == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu patients", n);
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        rz_age_sex_features((double)members[i]->age_years, members[i]->sex,
                            x + i * RZ_AGE_SEX_FEATURES);
        label[i] = members[i]->label;
    }
    if (status == RZ_OK)
        status = rz_logistic_regression(x, label, n, RZ_AGE_SEX_FEATURES, 1.0, task->age_sex_beta,
                                        error);
    free(x);
    free(label);
    return status;
}

rz_status onset_task_fit(onset_task *task, const double *logit,
                         const rz_cohort_member *const *tuning, size_t n_tuning,
                         const rz_cohort_member *const *train, size_t n_train, uint64_t seed,
                         rz_error *error)
{
    uint8_t *label = malloc(2 * n_tuning + 1), *own = label + n_tuning;
    uint32_t *patient = malloc((n_tuning + 1) * sizeof *patient);
    size_t positives = 0;
    if (label == NULL || patient == NULL) {
        free(label);
        free(patient);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows", n_tuning);
    }
    for (size_t i = 0; i < n_tuning; i++) {
        label[i] = tuning[i]->label;
        own[i] = tuning[i]->own;
        patient[i] =
            rz_patient_number(patient, i, i > 0 && tuning[i - 1]->patient != tuning[i]->patient);
        positives += label[i];
    }
    const rz_calibration_rows rows = {
        .n = n_tuning, .logit = logit, .label = label, .patient = patient, .counted = own};
    /* The risks are those of the record already: no prior is to be corrected. */
    double share = ((double)positives + 0.5) / ((double)n_tuning + 1.0);
    const rz_calibration_options options = {
        .method = RZ_CALIBRATION_PLATT, .training_prior = share, .prevalence = share, .seed = seed};
    rz_status status = rz_calibration_fit(&rows, &options, &task->calibration, error);
    if (status == RZ_OK)
        status = fit_age_sex(task, train, n_train, error);
    free(label);
    free(patient);
    return status;
}

bool onset_task_covers(const onset_task *task, const rz_vocabulary *v, const rz_task *definition,
                       const rz_timeline *timeline, int32_t index_day)
{
    for (size_t i = 0; i < timeline->n_events; i++) {
        const rz_timeline_event *event = &timeline->events[i];
        if (event->day <= index_day || event->day - index_day > definition->horizon_days ||
            !rz_task_matches(definition, event))
            continue;
        int32_t token = rz_vocabulary_token(v, event);
        for (size_t k = 0; k < task->n_codes; k++)
            if (token == (int32_t)task->codes[k] + RZ_TOKEN_SPECIALS)
                return true;
    }
    return false;
}
