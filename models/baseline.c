/* Labels -> features -> tuning -> the fit that is kept -> calibration. Labels are made from the
 * packed copy, where fine-tuning makes them; features from the store, because the copy keeps only
 * diagnoses and medications and utilisation is more than these. */
#include "baseline.h"

#include "base/portable_math.h"
#include "base/size.h"
#include "metrics/metrics.h"
#include "train/heads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIMELINE_BYTES_MAX = 1 << 30 };

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- features of the labelled rows ---- */

/* The codes of the training split, as pretraining counts them. */
static rz_status make_vocabulary(rz_dataset *dataset, rz_split_rule rule, rz_vocabulary **out,
                                 rz_error *error)
{
    rz_vocabulary_builder *builder = NULL;
    rz_arena arena;
    rz_arena_init(&arena, TIMELINE_BYTES_MAX);
    rz_status status = rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, error);
    for (size_t i = 0; status == RZ_OK && i < rz_dataset_patients(dataset); i++) {
        rz_timeline *timeline = NULL;
        if (rz_split_by(rule, rz_dataset_hash(dataset, i)) != RZ_SPLIT_TRAIN)
            continue;
        rz_arena_reset(&arena);
        status = rz_dataset_timeline(dataset, i, &arena, &timeline, NULL, NULL, error);
        if (status == RZ_OK)
            status = rz_vocabulary_builder_add(builder, timeline, error);
    }
    if (status == RZ_OK)
        status = rz_vocabulary_builder_finish(builder, 0, out, error);
    rz_vocabulary_builder_free(builder);
    rz_arena_done(&arena);
    return status;
}

static rz_status add_row(rz_store *store, rz_dataset *dataset, const rz_labels *l, size_t row,
                         features *f, rz_arena *arena, tuning_rows *rows, rz_error *error)
{
    const rz_label_row *r = &l->rows[row];
    rz_timeline *timeline = NULL;
    rz_arena_reset(arena);
    rz_status status =
        rz_dataset_timeline(dataset, r->patient, arena, &timeline, NULL, NULL, error);
    if (status == RZ_OK)
        status = rz_store_timeline(store, timeline->patient, r->index_day, RZ_RECORDED_NOW, arena,
                                   &timeline, error);
    if (status == RZ_OK)
        status = features_add(f, timeline, r->index_day, &rows->rows, error);
    bool learn = l->part[row] == RZ_SPLIT_TRAIN;
    uint8_t fold = l->drawn ? r->crossfit_part : learn ? TUNING_NO_FOLD : 0;
    if (status == RZ_OK)
        status = tuning_rows_label(rows, l->label[row] > 0.5f, learn, fold, error);
    return status;
}

/* All rows that have a part, in the order of the labels. */
static rz_status make_rows(rz_store *store, rz_dataset *dataset, const rz_labels *l, features *f,
                           const rz_progress *progress, tuning_rows *rows, rz_error *error)
{
    char sha256[RZ_SHA256_TEXT];
    rz_arena arena;
    rz_arena_init(&arena, TIMELINE_BYTES_MAX);
    rows->n_folds = l->drawn ? RZ_CROSSFIT_PARTS : 1;
    rz_status status = sparse_init(&rows->rows, features_columns(f), error);
    for (size_t i = 0; status == RZ_OK && i < l->n_rows; i++) {
        const rz_progress_report report = {.phase = "features",
                                           .done = i + 1,
                                           .total = l->n_rows,
                                           .unit = "rows",
                                           .rate_per_s = NAN,
                                           .loss = NAN,
                                           .seconds_left = NAN};
        if (l->part[i] != RZ_PART_NONE)
            status = add_row(store, dataset, l, i, f, &arena, rows, error);
        if (status == RZ_OK && !rz_progress_tell(progress, &report))
            status = rz_fail(error, RZ_E_CANCELED, "interrupted while counting features");
    }
    rz_arena_done(&arena);
    if (status == RZ_OK)
        status = rz_store_data_hash(store, sha256, error);
    if (status == RZ_E_NOT_FOUND ||
        (status == RZ_OK && strcmp(sha256, rz_dataset_sha256(dataset)) != 0)) {
        rz_error_clear(error);
        status = rz_fail(error, RZ_E_CONFLICT,
                         "the database was written to while it was read; run again, or on a copy");
    }
    return status;
}

/* ---- calibration, as of a head ---- */

typedef struct watched { /* the watched rows, packed */
    size_t n;
    double *logit;             /* [n] owned */
    uint8_t *label, *counted;  /* [n], one block */
    uint32_t *patient, *whose; /* [n], one block: as rows of metrics have it, and in the dataset */
} watched;

static rz_status collect(const rz_labels *l, const tuning_rows *rows, const double *logit,
                         watched *w, rz_error *error)
{
    const size_t room = rows->rows.n + 1;
    *w = (watched){.logit = malloc(room * sizeof *w->logit),
                   .label = malloc(2 * room),
                   .patient = malloc(2 * room * sizeof *w->patient)};
    if (w->logit == NULL || w->label == NULL || w->patient == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to calibrate");
    w->counted = w->label + room;
    w->whose = w->patient + room;
    for (size_t i = 0, row = 0; i < l->n_rows; i++) {
        const size_t at = row, n = w->n;
        if (l->part[i] == RZ_PART_NONE)
            continue;
        row++; /* as make_rows numbered them */
        if (rows->fold[at] == TUNING_NO_FOLD)
            continue;
        w->whose[n] = l->rows[i].patient;
        w->patient[n] = rz_patient_number(w->patient, n, n > 0 && w->whose[n - 1] != w->whose[n]);
        w->logit[n] = logit[at];
        w->label[n] = rows->label[at];
        w->counted[n] = l->part[i] != RZ_PART_AGAIN;
        w->n++;
    }
    return RZ_OK;
}

static rz_status calibrate(const rz_labels *l, const tuning_rows *rows, const baseline_options *o,
                           baseline *b, rz_error *error)
{
    double prior = (double)b->learnt.positives / (double)b->learnt.n;
    bool known = l->drawn || !isnan(o->prevalence);
    const rz_calibration_options options = {.method = o->method,
                                            .training_prior = prior,
                                            .prevalence = isnan(o->prevalence)
                                                              ? (double)l->cohorts[0].positives /
                                                                    (double)l->cohorts[0].n
                                                              : o->prevalence,
                                            .prevalence_known = known,
                                            .bootstraps = RZ_BOOTSTRAPS,
                                            .seed = o->seed};
    watched w;
    rz_status status = collect(l, rows, b->tuning.logit, &w, error);
    if (status == RZ_OK)
        status = rz_calibration_fit(&(rz_calibration_rows){.n = w.n,
                                                           .logit = w.logit,
                                                           .label = w.label,
                                                           .patient = w.patient,
                                                           .counted = w.counted},
                                    &options, &b->head.calibration, error);
    double shift = known ? rz_logit(options.prevalence) - rz_logit(prior) : 0.0;
    if (status == RZ_OK)
        status = rz_age_sex_fit(l, 0, shift, b->head.age_sex_beta, error);
    free(w.logit);
    free(w.label);
    free(w.patient);
    return status;
}

/* ---- all of it ---- */

static rz_status make_labels(rz_dataset *dataset, const rz_task *task, const baseline_options *o,
                             rz_labels *l, rz_error *error)
{
    rz_status status = rz_labels_build(dataset, task, 1, o->split,
                                       o->labels > 0 || o->crossfit ? 1 : o->draws, l, error);
    if (status == RZ_OK && o->labels > 0)
        status = rz_labels_draw(l, task, o->labels, o->mix, o->seed, error);
    else if (status == RZ_OK && o->crossfit)
        rz_labels_crossfit(l);
    if (status == RZ_OK)
        status = rz_heads_check(l, task, o->method, true, error);
    return status;
}

static rz_status learn(const rz_labels *l, const tuning_rows *rows, const baseline_options *o,
                       baseline *b, rz_error *error)
{
    const engine *e = o->engine;
    double began = now_s();
    rz_status status =
        tuning_run(e, o->full_grid ? e->full : e->small, o->full_grid ? e->n_full : e->n_small,
                   &b->engine_options, rows, o->progress, &b->tuning, error);
    b->tuning_s = now_s() - began;
    began = now_s();
    if (status == RZ_OK)
        status = tuned_fit(e, &b->tuning.trials[b->tuning.best], &b->engine_options, rows,
                           o->progress, &b->tuned, error);
    b->fit_s = now_s() - began;
    if (status == RZ_OK)
        status = calibrate(l, rows, o, b, error);
    return status;
}

rz_status baseline_learn(rz_store *store, rz_dataset *dataset, const rz_task *task,
                         const baseline_options *o, baseline *b, rz_error *error)
{
    rz_labels labels = {0};
    tuning_rows rows = {0};
    double began = now_s();
    *b = (baseline){
        .head = {.task = *task},
        .engine_options = {.seed = o->seed, .threads = rz_pool_size(o->pool), .pool = o->pool}};
    rz_status status = o->engine->probe(b->engine_version, error);
    if (status == RZ_OK)
        status = make_labels(dataset, task, o, &labels, error);
    if (status == RZ_OK)
        status = make_vocabulary(dataset, o->split, &b->vocabulary, error);
    if (status == RZ_OK)
        status = features_new(b->vocabulary, &b->features, error);
    if (status == RZ_OK)
        status = sparse_init(&b->asked, features_columns(b->features), error);
    if (status == RZ_OK)
        status = make_rows(store, dataset, &labels, b->features, o->progress, &rows, error);
    b->features_s = now_s() - began;
    if (status == RZ_OK) {
        b->learnt = rz_labels_count(&labels, 0, RZ_SPLIT_TRAIN);
        for (size_t i = 0; i < rows.rows.n; i++) {
            b->watched.n += rows.fold[i] != TUNING_NO_FOLD;
            b->watched.positives += rows.fold[i] != TUNING_NO_FOLD && rows.label[i] != 0;
        }
        status = learn(&labels, &rows, o, b, error);
    }
    rz_labels_done(&labels);
    tuning_rows_done(&rows);
    if (status != RZ_OK)
        baseline_done(b);
    return status;
}

void baseline_done(baseline *b)
{
    tuned_done(&b->tuned);
    tuning_result_done(&b->tuning);
    features_free(b->features);
    rz_vocabulary_free(b->vocabulary);
    sparse_done(&b->asked);
    rz_head_done(&b->head);
    *b = (baseline){0};
}

rz_status baseline_score(void *context, size_t task, const rz_timeline *const *timelines,
                         const int32_t *as_of, size_t n, evaluate_score *out, rz_error *error)
{
    (void)task;
    baseline *b = context;
    const engine *e = b->tuned.engine;
    static const uint8_t no_label[EVALUATE_ROWS_PER_CALL];
    double logit[EVALUATE_ROWS_PER_CALL];
    void *table = NULL;
    rz_status status = RZ_OK;
    b->asked.n = 0;
    for (size_t i = 0; status == RZ_OK && i < n; i++)
        status = features_add(b->features, timelines[i], as_of[i], &b->asked, error);
    if (status == RZ_OK)
        status = e->table_new(&b->asked, no_label, &b->engine_options, &table, error);
    if (status == RZ_OK)
        status = e->logits(b->tuned.fit, table, logit, error);
    e->table_free(table);
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        const rz_timeline *t = timelines[i];
        double age = t->birth_day == RZ_DAY_NONE ? NAN : (as_of[i] - t->birth_day) / 365.25;
        rz_calibrated calibrated;
        rz_calibration_apply(&b->head.calibration, logit[i], &calibrated);
        out[i] = (evaluate_score){.probability = calibrated.probability,
                                  .age_sex = rz_age_sex_risk(b->head.age_sex_beta, age, t->sex),
                                  .logit = logit[i]};
    }
    return status;
}
