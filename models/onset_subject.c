/* Scores tasks by the risks of their codes. The subject is evaluated twice: once, uncalibrated, on
 * the tuning part, which gives the members and their combined logits to calibrate on, and then as
 * asked for. */
#include "onset_subject.h"

#include "base/portable_math.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>

enum { TIMELINE_BYTES_MAX = 256 << 20 };

bool onset_subject_answers(const rz_task *task)
{
    return task->horizon_days == RZ_ONSET_HORIZON_DAYS &&
           task->min_history_days >= RZ_ONSET_HISTORY_DAYS;
}

static rz_status check_task(const rz_task *task, rz_error *error)
{
    if (onset_subject_answers(task))
        return RZ_OK;
    return rz_fail(
        error, RZ_E_INVALID,
        "task %s asks for %d days of record and a horizon of %d, the onset head knows %d "
        "and %d; choose other tasks with --task",
        task->name, task->min_history_days, task->horizon_days, RZ_ONSET_HISTORY_DAYS,
        RZ_ONSET_HORIZON_DAYS);
}

rz_status onset_subject_init(rz_predictor *predictor, rz_task *tasks, size_t n, onset_subject *out,
                             rz_error *error)
{
    onset_subject s = {.predictor = predictor, .n = n, .tasks = tasks};
    if (rz_predictor_onset(predictor) == NULL)
        return rz_fail(error, RZ_E_INVALID,
                       "the model has no onset head to answer --tasks with; its own tasks are "
                       "evaluated without that flag");
    s.found = calloc(n + 1, sizeof *s.found);
    rz_status status =
        s.found == NULL ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tasks", n) : RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        status = check_task(&tasks[i], error);
        if (status == RZ_OK)
            status = onset_task_find(rz_predictor_model(predictor)->vocabulary, &tasks[i],
                                     &s.found[i], error);
    }
    if (status == RZ_OK)
        *out = s;
    else
        onset_subject_done(&s);
    return status;
}

void onset_subject_done(onset_subject *s)
{
    for (size_t i = 0; s->found != NULL && i < s->n; i++)
        onset_task_done(&s->found[i]);
    free(s->found);
    free(s->risks);
    *s = (onset_subject){0};
}

static rz_status reserve(onset_subject *s, size_t n, rz_error *error)
{
    if (n <= s->risks_capacity)
        return RZ_OK;
    rz_risk *larger = realloc(s->risks, n * sizeof *larger);
    if (larger == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu risks", n);
    s->risks = larger;
    s->risks_capacity = n;
    return RZ_OK;
}

static rz_status score(void *context, size_t task, const rz_timeline *const *timelines,
                       const int32_t *as_of, size_t n, evaluate_score *out, rz_error *error)
{
    onset_subject *s = context;
    const onset_task *t = &s->found[task];
    const rz_onset_query query = {.codes = t->codes, .n_codes = t->n_codes};
    rz_status status = reserve(s, n * t->n_codes, error);
    if (status == RZ_OK)
        status =
            rz_predictor_onsets(s->predictor, timelines, as_of, n, &query,
                                rz_predict_options_defaults().batch_tokens_max, s->risks, error);
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        double logit = onset_task_logit(t, s->risks + i * t->n_codes);
        /* Before the calibration nothing but the logits is looked at. */
        out[i] = (evaluate_score){.logit = logit, .probability = rz_sigmoid(logit), .age_sex = 0.5};
        if (!s->calibrated)
            continue;
        rz_calibrated calibrated;
        rz_calibration_apply(&t->calibration, logit, &calibrated);
        out[i].probability = calibrated.probability;
        out[i].age_sex = rz_age_sex_risk(
            t->age_sex_beta, rz_age_years(timelines[i]->birth_day, as_of[i]), timelines[i]->sex);
    }
    return status;
}

evaluate_subject onset_subject_of(onset_subject *s)
{
    return (evaluate_subject){.tasks = s->tasks, .n_tasks = s->n, .score = score, .context = s};
}

/* Fits one task by what its uncalibrated evaluation on the tuning part left. */
static rz_status fit(onset_task *task, const rz_report_task *tuning, const double *logit,
                     rz_split_rule rule, uint64_t seed, rz_error *error)
{
    const rz_cohort_member **train = calloc(tuning->cohort.n + 1, sizeof *train);
    size_t n = 0;
    if (train == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu patients", tuning->cohort.n);
    for (size_t i = 0; i < tuning->cohort.n; i++)
        if (rz_split_by(rule, tuning->cohort.members[i].hash) == RZ_SPLIT_TRAIN)
            train[n++] = &tuning->cohort.members[i];
    rz_status status =
        onset_task_fit(task, logit, tuning->member, tuning->n, train, n, seed, error);
    if (status != RZ_OK)
        rz_error_prefix(error, "task %s through the onset head: ", tuning->task.name);
    free(train);
    return status;
}

rz_status onset_subject_calibrate(onset_subject *s, rz_store *store, rz_split_rule rule,
                                  const rz_facilities *facilities, unsigned draws, uint64_t seed,
                                  const rz_progress *progress, rz_error *error)
{
    const evaluate_options options = {.split = RZ_SPLIT_TUNING,
                                      .rule = rule,
                                      .facilities = facilities,
                                      .draws = draws,
                                      .seed = seed};
    const evaluate_subject subject = onset_subject_of(s);
    evaluation e = {0};
    rz_status status = evaluate(store, &subject, &options, progress, &e, error);
    for (size_t i = 0; status == RZ_OK && i < s->n; i++)
        status = fit(&s->found[i], &e.report.tasks[i], e.logit[i], rule, seed, error);
    s->calibrated = status == RZ_OK;
    evaluation_done(&e);
    return status;
}

static rz_status count_uncovered(const onset_subject *s, size_t task, rz_store *store,
                                 rz_arena *arena, rz_report_task *t, rz_error *error)
{
    const rz_vocabulary *vocabulary = rz_predictor_model(s->predictor)->vocabulary;
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < t->n; i++) {
        const rz_cohort_member *m = t->member[i];
        rz_timeline *timeline = NULL;
        if (!m->label)
            continue;
        rz_arena_reset(arena);
        status = rz_store_timeline(store, m->patient, RZ_DAY_MAX, RZ_RECORDED_NOW, arena, &timeline,
                                   error);
        if (status == RZ_OK && !onset_task_covers(&s->found[task], vocabulary, &s->tasks[task],
                                                  timeline, m->index_day))
            t->onset.uncovered++;
    }
    return status;
}

rz_status onset_subject_tell(const onset_subject *s, rz_store *store, rz_report *report,
                             rz_error *error)
{
    rz_arena arena;
    rz_arena_init(&arena, TIMELINE_BYTES_MAX);
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < s->n; i++) {
        const onset_task *task = &s->found[i];
        rz_report_task *t = &report->tasks[i];
        t->onset.given = true;
        t->onset.codes = task->n_codes;
        t->onset.coarse = task->n_coarse;
        t->onset.tuning_n = task->calibration.tuning_n;
        t->onset.tuning_positives = task->calibration.tuning_positives;
        t->onset.slope = task->calibration.slope;
        t->onset.intercept = task->calibration.intercept;
        status = count_uncovered(s, i, store, &arena, t, error);
    }
    rz_arena_done(&arena);
    return status;
}
