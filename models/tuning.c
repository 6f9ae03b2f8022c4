/* Knows nothing of patients. All folds grow in step, so that one round number is right for all, and
 * the loss that ends a setting is that of all watched rows at once. */
#include "tuning.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

rz_status tuning_rows_label(tuning_rows *rows, bool label, bool learn, uint8_t fold,
                            rz_error *error)
{
    size_t at = rows->rows.n - 1, larger = rows->capacity == 0 ? 1024 : 2 * rows->capacity;
    uint8_t **const columns[] = {&rows->label, &rows->learn, &rows->fold};
    for (size_t i = 0; rows->rows.n > rows->capacity && i < 3; i++) {
        uint8_t *column = realloc(*columns[i], larger);
        if (column == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu labels", larger);
        *columns[i] = column;
    }
    rows->capacity = rows->rows.n > rows->capacity ? larger : rows->capacity;
    rows->label[at] = label;
    rows->learn[at] = learn;
    rows->fold[at] = fold;
    return RZ_OK;
}

void tuning_rows_done(tuning_rows *rows)
{
    sparse_done(&rows->rows);
    free(rows->label);
    free(rows->learn);
    free(rows->fold);
    *rows = (tuning_rows){0};
}

/* ---- one part of the rows, in the engine's form ---- */

static void part_done(const engine *e, tuning_part *p)
{
    e->table_free(p->table);
    sparse_done(&p->rows);
    free(p->label);
    free(p->row);
    *p = (tuning_part){0};
}

typedef bool chooses(const tuning_rows *rows, size_t row, unsigned fold);

static bool learns(const tuning_rows *rows, size_t row, unsigned fold)
{
    return rows->learn[row] != 0 && rows->fold[row] != fold;
}

static bool watches(const tuning_rows *rows, size_t row, unsigned fold)
{
    return rows->fold[row] == fold;
}

static bool learns_in_the_end(const tuning_rows *rows, size_t row, unsigned fold)
{
    (void)fold;
    return rows->learn[row] != 0;
}

static rz_status part_make(const engine *e, const tuning_rows *from, chooses *chosen, unsigned fold,
                           const engine_options *options, tuning_part *p, rz_error *error)
{
    size_t n = from->rows.n;
    rz_status status = sparse_init(&p->rows, from->rows.n_columns, error);
    p->label = malloc(n + 1);
    p->row = malloc((n + 1) * sizeof *p->row);
    if (status == RZ_OK && (p->label == NULL || p->row == NULL))
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows", n);
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        if (!chosen(from, i, fold))
            continue;
        p->row[p->rows.n] = i;
        p->label[p->rows.n] = from->label[i];
        p->positives += from->label[i];
        status = sparse_copy(&p->rows, &from->rows, i, error);
    }
    if (status == RZ_OK && chosen != watches && (p->positives == 0 || p->positives == p->rows.n))
        status = rz_fail(error, RZ_E_INVALID,
                         "%zu of %zu rows to learn from are positive: both classes are needed",
                         p->positives, p->rows.n);
    if (status == RZ_OK)
        status = e->table_new(&p->rows, p->label, options, &p->table, error);
    return status;
}

static double prior_of(const tuning_part *p)
{
    return (double)p->positives / (double)p->rows.n;
}

/* ---- the grid ---- */

typedef struct tuner {
    const engine *engine;
    const engine_options *options;
    const tuning_rows *rows;
    const rz_progress *progress;
    tuning_part train[TUNING_FOLDS_MAX], watched[TUNING_FOLDS_MAX];
    void *fit[TUNING_FOLDS_MAX];
    double *logit, *part_logit; /* [rows.n] of the round at hand; of one fold */
    tuning_result *result;
    double best_loss; /* of all trials so far */
} tuner;

static bool tell(const rz_progress *progress, const char *phase, uint64_t done, uint64_t total,
                 double loss)
{
    const rz_progress_report report = {.phase = phase,
                                       .done = done,
                                       .total = total,
                                       .unit = "settings",
                                       .rate_per_s = NAN,
                                       .loss = loss,
                                       .seconds_left = NAN};
    return rz_progress_tell(progress, &report);
}

static rz_status grow(tuner *t, double *loss, rz_error *error)
{
    double sum = 0.0, n = 0.0;
    rz_status status = RZ_OK;
    for (unsigned k = 0; status == RZ_OK && k < t->rows->n_folds; k++) {
        const tuning_part *w = &t->watched[k];
        status = t->engine->grow(t->fit[k], error);
        if (status == RZ_OK)
            status = t->engine->logits(t->fit[k], w->table, t->part_logit, error);
        for (size_t i = 0; status == RZ_OK && i < w->rows.n; i++) {
            double z = t->part_logit[i];
            t->logit[w->row[i]] = z;
            sum += fmax(z, 0.0) - z * w->label[i] + log1p(exp(-fabs(z)));
            n += 1.0;
        }
    }
    *loss = sum / n;
    return status;
}

static rz_status try_setting(tuner *t, size_t trial, size_t n, rz_error *error)
{
    const engine *e = t->engine;
    tuning_trial *out = &t->result->trials[trial];
    double began = now_s();
    rz_status status = RZ_OK;
    out->loss = INFINITY;
    for (unsigned k = 0; status == RZ_OK && k < t->rows->n_folds; k++) {
        engine_options options = *t->options;
        options.prior = prior_of(&t->train[k]);
        status = e->fit_new(t->train[k].table, t->watched[k].table, &out->setting, &options,
                            &t->fit[k], error);
    }
    for (unsigned round = 1;
         status == RZ_OK && round <= e->rounds_max && round - out->rounds <= e->patience; round++) {
        double loss;
        status = grow(t, &loss, error);
        if (status == RZ_OK && loss < out->loss) {
            out->loss = loss;
            out->rounds = round;
            if (loss < t->best_loss) {
                t->best_loss = loss;
                t->result->best = trial;
                memcpy(t->result->logit, t->logit, t->rows->rows.n * sizeof *t->logit);
            }
        }
        if (status == RZ_OK && !tell(t->progress, "tuning", trial, n, t->best_loss))
            status = rz_fail(error, RZ_E_CANCELED, "interrupted while tuning");
    }
    if (status == RZ_OK && !isfinite(out->loss))
        status = rz_fail(error, RZ_E_INTERNAL, "%s gave logits that are not finite", e->name);
    for (unsigned k = 0; k < t->rows->n_folds; k++) {
        e->fit_free(t->fit[k]);
        t->fit[k] = NULL;
    }
    out->seconds = now_s() - began;
    return status;
}

rz_status tuning_run(const engine *e, const engine_setting *settings, size_t n,
                     const engine_options *options, const tuning_rows *rows,
                     const rz_progress *progress, tuning_result *result, rz_error *error)
{
    tuner t = {.engine = e,
               .options = options,
               .rows = rows,
               .progress = progress,
               .result = result,
               .best_loss = INFINITY};
    size_t room = rows->rows.n + 1;
    *result = (tuning_result){.n = n,
                              .trials = calloc(n, sizeof *result->trials),
                              .logit = malloc(room * sizeof *result->logit)};
    t.logit = malloc(room * sizeof *t.logit);
    t.part_logit = malloc(room * sizeof *t.part_logit);
    rz_status status = RZ_OK;
    if (result->trials == NULL || result->logit == NULL || t.logit == NULL || t.part_logit == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to tune on %zu rows", room);
    for (size_t i = 0; status == RZ_OK && i < rows->rows.n; i++)
        t.logit[i] = NAN;
    for (unsigned k = 0; status == RZ_OK && k < rows->n_folds; k++) {
        status = part_make(e, rows, learns, k, options, &t.train[k], error);
        if (status == RZ_OK)
            status = part_make(e, rows, watches, k, options, &t.watched[k], error);
    }
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        result->trials[i].setting = settings[i];
        status = try_setting(&t, i, n, error);
    }
    if (status == RZ_OK)
        (void)tell(progress, "tuning", n, n, t.best_loss);
    for (unsigned k = 0; k < rows->n_folds; k++) {
        part_done(e, &t.train[k]);
        part_done(e, &t.watched[k]);
    }
    free(t.logit);
    free(t.part_logit);
    if (status != RZ_OK)
        tuning_result_done(result);
    return status;
}

void tuning_result_done(tuning_result *result)
{
    free(result->trials);
    free(result->logit);
    *result = (tuning_result){0};
}

/* ---- the fit that is kept ---- */

rz_status tuned_fit(const engine *e, const tuning_trial *trial, const engine_options *options,
                    const tuning_rows *rows, const rz_progress *progress, tuned *out,
                    rz_error *error)
{
    *out = (tuned){.engine = e};
    engine_options own = *options;
    rz_status status = part_make(e, rows, learns_in_the_end, 0, options, &out->part, error);
    if (status == RZ_OK) {
        own.prior = prior_of(&out->part);
        status = e->fit_new(out->part.table, NULL, &trial->setting, &own, &out->fit, error);
    }
    for (unsigned round = 0; status == RZ_OK && round < trial->rounds; round++) {
        status = e->grow(out->fit, error);
        if (status == RZ_OK && !tell(progress, "fit", 0, 1, trial->loss))
            status = rz_fail(error, RZ_E_CANCELED, "interrupted while fitting");
    }
    if (status != RZ_OK)
        tuned_done(out);
    return status;
}

void tuned_done(tuned *t)
{
    if (t->engine == NULL)
        return;
    t->engine->fit_free(t->fit);
    part_done(t->engine, &t->part);
    *t = (tuned){0};
}
