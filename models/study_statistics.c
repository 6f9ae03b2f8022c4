/* Every column of scores is sorted once; a resample is a count per row and one walk down the
 * sorted rows (metrics/rank.h). What comes of it, one figure a column and resample, is then
 * averaged over the seeds that the resample drew. All draws depend on (seed, number of the
 * resample) only. */
#include "study_statistics.h"

#include "base/rng.h"
#include "base/size.h"
#include "metrics/rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RESAMPLES_A_ROUND = 32 }; /* between two looks at whether to stop */

/* ---- resampled figures of the columns of one panel ---- */

/* Columns are the panel's scores and, last, the true risk where it is known. */
typedef struct columns {
    const study_panel *panel;
    rz_ranked **ranked; /* [n] owned */
    double *figure;     /* [n][STUDY_FIGURES] owned, of the patients as they are */
    double *resampled;  /* [n][STUDY_FIGURES][bootstraps] owned */
    uint32_t *count;    /* [workers][rows] owned */
    size_t n;
    unsigned bootstraps, first; /* resample that a round begins with */
    uint64_t seed;
} columns;

static void rank_one(void *context, size_t column, unsigned worker)
{
    columns *c = context;
    const study_panel *p = c->panel;
    (void)worker;
    c->ranked[column] = rz_rank(column < p->n_scores ? p->score[column] : p->truth, p->label, p->n);
    if (c->ranked[column] != NULL)
        rz_rank_figures(c->ranked[column], p->n, NULL,
                        &c->figure[column * STUDY_FIGURES + STUDY_AUROC],
                        &c->figure[column * STUDY_FIGURES + STUDY_PRECISION]);
}

static void resample_one(void *context, size_t number, unsigned worker)
{
    columns *c = context;
    size_t n = c->panel->n, b = c->first + number;
    uint32_t *count = c->count + worker * n;
    rz_resample(c->seed, b, c->panel->number, n, count);
    for (size_t i = 0; i < c->n; i++) {
        double auroc, precision;
        double *out = c->resampled + i * STUDY_FIGURES * c->bootstraps + b;
        rz_rank_figures(c->ranked[i], n, count, &auroc, &precision);
        out[(size_t)STUDY_AUROC * c->bootstraps] = auroc;
        out[(size_t)STUDY_PRECISION * c->bootstraps] = precision;
    }
}

static void columns_done(columns *c)
{
    for (size_t i = 0; c->ranked != NULL && i < c->n; i++)
        free(c->ranked[i]);
    free(c->ranked);
    free(c->figure);
    free(c->resampled);
    free(c->count);
}

static rz_status columns_new(const study_panel *p, unsigned bootstraps, uint64_t seed,
                             rz_pool *pool, columns *out, rz_error *error)
{
    size_t figures, counts;
    *out = (columns){.panel = p,
                     .n = p->n_scores + (p->truth_known ? 1 : 0),
                     .bootstraps = bootstraps,
                     .seed = seed};
    if (!rz_size_mul(out->n * STUDY_FIGURES, (size_t)bootstraps, &figures) ||
        !rz_size_mul(p->n, rz_pool_size(pool), &counts))
        return rz_fail(error, RZ_E_TOO_LARGE, "%u resamples of %zu columns of scores are too many",
                       bootstraps, out->n);
    out->ranked = calloc(out->n + 1, sizeof *out->ranked);
    out->figure = calloc(out->n * STUDY_FIGURES + 1, sizeof *out->figure);
    out->resampled = calloc(figures + 1, sizeof *out->resampled);
    out->count = calloc(counts + 1, sizeof *out->count);
    if (out->ranked == NULL || out->figure == NULL || out->resampled == NULL || out->count == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %u resamples of %zu columns",
                       bootstraps, out->n);
    rz_pool_run(pool, out->n, rank_one, out);
    for (size_t i = 0; i < out->n; i++)
        if (out->ranked[i] == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory to sort %zu scores", p->n);
    return RZ_OK;
}

static rz_status columns_resample(columns *c, const char *task, rz_pool *pool,
                                  const rz_progress *progress, rz_error *error)
{
    while (c->panel->n > 0 && c->first < c->bootstraps) {
        unsigned left = c->bootstraps - c->first;
        unsigned round = left < RESAMPLES_A_ROUND ? left : RESAMPLES_A_ROUND;
        rz_pool_run(pool, round, resample_one, c);
        c->first += round;
        rz_progress_report report = {.phase = task,
                                     .done = c->first,
                                     .total = c->bootstraps,
                                     .unit = "resamples",
                                     .rate_per_s = NAN,
                                     .loss = NAN,
                                     .seconds_left = NAN};
        if (!rz_progress_tell(progress, &report))
            return rz_fail(error, RZ_E_CANCELED, "interrupted while resampling %s", task);
    }
    return RZ_OK;
}

/* ---- groups ---- */

static int arm_order(study_arm a)
{
    enum { ARMS = STUDY_INITS * STUDY_SIZES_MAX + STUDY_ENGINES_MAX };
    int own = a.engine != STUDY_NONE ? STUDY_INITS * STUDY_SIZES_MAX + a.engine
                                     : a.size + (int)a.init * STUDY_SIZES_MAX;
    return ARMS * (int)a.transfer + own;
}

static study_arm arm_of(const study_cell *c)
{
    bool engine = c->kind == STUDY_BASELINE;
    return (study_arm){.size = engine ? STUDY_NONE : c->size,
                       .engine = engine ? c->engine : STUDY_NONE,
                       .init = engine ? STUDY_SCRATCH : c->init,
                       .transfer = c->transfer};
}

/* A measure with what it is sorted by. */
typedef struct sorted_measure {
    const study_measure *measure;
    size_t labels;
    int arm;
    uint64_t seed;
} sorted_measure;

static int by_group(const void *left, const void *right)
{
    const sorted_measure *a = left, *b = right;
    if (a->labels != b->labels)
        return a->labels < b->labels ? -1 : 1;
    if (a->arm != b->arm)
        return a->arm < b->arm ? -1 : 1;
    return a->seed < b->seed ? -1 : a->seed > b->seed;
}

/* Adds the groups of a task, without their figures. */
static rz_status add_groups(const study_results *r, const study_panel *p, size_t task,
                            study_statistics *s, rz_error *error)
{
    sorted_measure *all = calloc(p->n_measures + 1, sizeof *all);
    rz_status status = RZ_OK;
    if (all == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu measures", p->n_measures);
    for (size_t i = 0; i < p->n_measures; i++) {
        const study_cell *c = &r->cells[p->measures[i].cell];
        all[i] = (sorted_measure){&p->measures[i], c->labels, arm_order(arm_of(c)), c->seed};
    }
    qsort(all, p->n_measures, sizeof *all, by_group);
    for (size_t i = 0; status == RZ_OK && i < p->n_measures;) {
        study_group *g = &s->groups[s->n_groups];
        size_t end = i;
        while (end < p->n_measures && all[end].labels == all[i].labels &&
               all[end].arm == all[i].arm)
            end++;
        *g = (study_group){.task = task,
                           .labels = all[i].labels,
                           .arm = arm_of(&r->cells[all[i].measure->cell]),
                           .n_seeds = end - i,
                           .measure = calloc(end - i, sizeof *g->measure)};
        if (g->measure == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu seeds", end - i);
        else
            s->n_groups++;
        for (size_t k = i; status == RZ_OK && k < end; k++)
            g->measure[k - i] = all[k].measure;
        i = end;
    }
    free(all);
    return status;
}

/* Which of n seeds a resample draws. One seed cannot be drawn otherwise than it is. Groups with
 * equally many seeds draw alike, so that the same seeds, and with them the same labels, meet. */
static void draw_seeds(uint64_t seed, unsigned number, size_t n, size_t *out)
{
    rz_rng rng;
    rz_rng_init(&rng, seed, (uint64_t)n << 32 | number); /* patients draw below 2^32 */
    for (size_t i = 0; i < n; i++)
        out[i] = rz_rng_below(&rng, (uint32_t)n);
}

static void average(const columns *c, const study_group *g, bool age_sex, const size_t *drawn,
                    study_estimate out[STUDY_FIGURES])
{
    for (int f = 0; f < STUDY_FIGURES; f++) {
        double sum = 0.0;
        for (size_t i = 0; i < g->n_seeds; i++) {
            const study_measure *m = g->measure[i];
            sum += c->figure[(age_sex ? m->age_sex : m->score) * STUDY_FIGURES + (size_t)f];
        }
        out[f].value = sum / (double)g->n_seeds;
        for (unsigned b = 0; b < c->bootstraps; b++) {
            sum = 0.0;
            for (size_t i = 0; i < g->n_seeds; i++) {
                const study_measure *m = g->measure[drawn[b * g->n_seeds + i]];
                size_t column = age_sex ? m->age_sex : m->score;
                sum += c->resampled[(column * STUDY_FIGURES + (size_t)f) * c->bootstraps + b];
            }
            out[f].resampled[b] = sum / (double)g->n_seeds;
        }
    }
}

/* A place for the resamples of one figure pair; the block was made for all of them. */
static void give_room(study_statistics *s, size_t *used, study_estimate out[STUDY_FIGURES])
{
    for (int f = 0; f < STUDY_FIGURES; f++)
        out[f] = (study_estimate){.value = NAN, .resampled = s->store + s->bootstraps * (*used)++};
}

static rz_status fill_group(const columns *c, study_group *g, rz_error *error)
{
    size_t cells;
    size_t *drawn = NULL;
    if (rz_size_mul((size_t)c->bootstraps, g->n_seeds, &cells))
        drawn = calloc(cells + 1, sizeof *drawn);
    if (drawn == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for draws of %zu seeds", g->n_seeds);
    for (unsigned b = 0; b < c->bootstraps; b++)
        draw_seeds(c->seed, b, g->n_seeds, drawn + b * g->n_seeds);
    average(c, g, false, drawn, g->figure);
    average(c, g, true, drawn, g->age_sex);
    free(drawn);
    return RZ_OK;
}

static void fill_truth(const columns *c, study_estimate out[STUDY_FIGURES])
{
    size_t column = c->panel->n_scores;
    for (int f = 0; f < STUDY_FIGURES; f++) {
        out[f].value = c->figure[column * STUDY_FIGURES + (size_t)f];
        if (c->bootstraps > 0)
            memcpy(out[f].resampled,
                   c->resampled + (column * STUDY_FIGURES + (size_t)f) * c->bootstraps,
                   c->bootstraps * sizeof(double));
    }
}

/* ---- intervals and differences ---- */

typedef double combine_fn(double a, double b);

static double first_of(double a, double b)
{
    (void)b;
    return a;
}

static double minus(double a, double b)
{
    return a - b;
}

static double by(double a, double b)
{
    return b > 0.0 ? a / b : NAN;
}

/* The combination of two estimates on each resample; `scratch` has room for all. */
static rz_interval interval_of(unsigned n, const study_estimate *a, const study_estimate *b,
                               combine_fn *combine, double *scratch)
{
    rz_interval out = {.value = combine(a->value, b->value), .low = NAN, .high = NAN};
    for (unsigned i = 0; i < n; i++)
        scratch[i] = combine(a->resampled[i], b->resampled[i]);
    if (n > 0 && !isnan(out.value))
        rz_percentiles(scratch, n, &out.low, &out.high);
    return out;
}

static rz_status scratch_new(unsigned n, double **out, rz_error *error)
{
    *out = malloc(((size_t)n + 1) * sizeof **out);
    return *out != NULL ? RZ_OK : rz_fail(error, RZ_E_NO_MEMORY, "no memory for %u resamples", n);
}

rz_status study_difference(const study_statistics *s, const study_estimate *a,
                           const study_estimate *b, rz_interval *out, rz_error *error)
{
    double *scratch;
    rz_status status = scratch_new(s->bootstraps, &scratch, error);
    if (status != RZ_OK)
        return status;
    *out = interval_of(s->bootstraps, a, b, minus, scratch);
    free(scratch);
    return RZ_OK;
}

rz_status study_lower_bound(const study_statistics *s, const study_estimate *a,
                            const study_estimate *b, double *out, rz_error *error)
{
    double *scratch;
    rz_status status = scratch_new(s->bootstraps, &scratch, error);
    if (status != RZ_OK)
        return status;
    for (unsigned i = 0; i < s->bootstraps; i++)
        scratch[i] = a->resampled[i] - b->resampled[i];
    *out = rz_percentile(scratch, s->bootstraps, 0.05);
    free(scratch);
    return RZ_OK;
}

static rz_status add_contrast(study_statistics *s, study_contrast_kind kind, size_t a, size_t b,
                              const study_estimate *with, double *scratch, rz_error *error)
{
    if (s->n_contrasts == s->contrasts_capacity) {
        size_t capacity = s->contrasts_capacity == 0 ? 256 : 2 * s->contrasts_capacity;
        study_contrast *grown = realloc(s->contrasts, capacity * sizeof *grown);
        if (grown == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu comparisons", capacity);
        s->contrasts = grown;
        s->contrasts_capacity = capacity;
    }
    study_contrast *c = &s->contrasts[s->n_contrasts++];
    *c = (study_contrast){.kind = kind, .a = a, .b = b};
    for (int f = 0; f < STUDY_FIGURES; f++)
        c->interval[f] = interval_of(s->bootstraps, &s->groups[a].figure[f], &with[f],
                                     kind == STUDY_SHARE_OF_TRUTH ? by : minus, scratch);
    return RZ_OK;
}

/* What a and b are to each other; false where nothing is to be learnt from their difference. */
static bool contrast_of(const study_group *a, const study_group *b, study_contrast_kind *kind)
{
    if (a->task != b->task || a->labels != b->labels || a->arm.engine != STUDY_NONE ||
        a->arm.transfer != STUDY_GRID)
        return false;
    *kind = b->arm.engine != STUDY_NONE       ? STUDY_OVER_ENGINE
            : a->arm.size != b->arm.size      ? STUDY_SIZES
            : a->arm.init == STUDY_PRETRAINED ? STUDY_PRETRAINING
                                              : STUDY_ONSETS;
    return *kind == STUDY_OVER_ENGINE ||
           (*kind == STUDY_PRETRAINING && b->arm.init == STUDY_SCRATCH) ||
           (*kind == STUDY_ONSETS && a->arm.init == STUDY_ONSET &&
            b->arm.init == STUDY_PRETRAINED) ||
           (*kind == STUDY_SIZES && a->arm.init == b->arm.init && a->arm.size > b->arm.size);
}

static rz_status add_contrasts(study_statistics *s, const study_panel *panels, size_t a,
                               double *scratch, rz_error *error)
{
    const study_group *g = &s->groups[a];
    rz_status status = add_contrast(s, STUDY_OVER_AGE_SEX, a, SIZE_MAX, g->age_sex, scratch, error);
    if (status == RZ_OK && panels[g->task].truth_known)
        status = add_contrast(s, STUDY_BELOW_TRUTH, a, SIZE_MAX, s->truth[g->task], scratch, error);
    if (status == RZ_OK && panels[g->task].truth_known)
        status =
            add_contrast(s, STUDY_SHARE_OF_TRUTH, a, SIZE_MAX, s->truth[g->task], scratch, error);
    for (size_t b = 0; status == RZ_OK && b < s->n_groups; b++) {
        study_contrast_kind kind;
        if (contrast_of(g, &s->groups[b], &kind))
            status = add_contrast(s, kind, a, b, s->groups[b].figure, scratch, error);
    }
    return status;
}

static rz_status compare(study_statistics *s, const study_panel *panels, rz_error *error)
{
    double *scratch;
    rz_status status = scratch_new(s->bootstraps, &scratch, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; status == RZ_OK && i < s->n_groups; i++) {
        study_group *g = &s->groups[i];
        for (int f = 0; f < STUDY_FIGURES; f++) {
            g->interval[f] =
                interval_of(s->bootstraps, &g->figure[f], &g->figure[f], first_of, scratch);
            g->age_sex_interval[f] =
                interval_of(s->bootstraps, &g->age_sex[f], &g->age_sex[f], first_of, scratch);
        }
        status = add_contrasts(s, panels, i, scratch, error);
    }
    for (size_t t = 0; status == RZ_OK && t < s->n_tasks; t++)
        for (int f = 0; f < STUDY_FIGURES; f++)
            s->truth_interval[t][f] =
                interval_of(s->bootstraps, &s->truth[t][f], &s->truth[t][f], first_of, scratch);
    free(scratch);
    return status;
}

/* ---- all of it ---- */

static rz_status make_room(const study_results *r, const study_panel *panels, study_statistics *s,
                           rz_error *error)
{
    size_t measures = 0, estimates, doubles, used = 0;
    for (size_t t = 0; t < s->n_tasks; t++)
        measures += panels[t].n_measures;
    s->groups = calloc(measures + 1, sizeof *s->groups);
    s->truth = calloc(s->n_tasks, sizeof *s->truth);
    s->truth_interval = calloc(s->n_tasks, sizeof *s->truth_interval);
    rz_status status = RZ_OK;
    if (s->groups == NULL || s->truth == NULL || s->truth_interval == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu measures", measures);
    for (size_t t = 0; status == RZ_OK && t < s->n_tasks; t++)
        status = add_groups(r, &panels[t], t, s, error);
    if (status != RZ_OK)
        return status;
    estimates = STUDY_FIGURES * (2 * s->n_groups + s->n_tasks);
    if (rz_size_mul(estimates, (size_t)s->bootstraps, &doubles))
        s->store = calloc(doubles + 1, sizeof *s->store);
    if (s->store == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %u resamples of %zu figures",
                       s->bootstraps, estimates);
    for (size_t i = 0; i < s->n_groups; i++) {
        give_room(s, &used, s->groups[i].figure);
        give_room(s, &used, s->groups[i].age_sex);
    }
    for (size_t t = 0; t < s->n_tasks; t++)
        give_room(s, &used, s->truth[t]);
    return RZ_OK;
}

static rz_status compute_task(const study_results *r, const study_panel *p, size_t task,
                              rz_pool *pool, const rz_progress *progress, study_statistics *s,
                              rz_error *error)
{
    columns c;
    rz_status status = columns_new(p, s->bootstraps, s->seed, pool, &c, error);
    if (status == RZ_OK)
        status = columns_resample(&c, r->design.tasks[task].name, pool, progress, error);
    for (size_t i = 0; status == RZ_OK && i < s->n_groups; i++)
        if (s->groups[i].task == task)
            status = fill_group(&c, &s->groups[i], error);
    if (status == RZ_OK && p->truth_known)
        fill_truth(&c, s->truth[task]);
    columns_done(&c);
    return status;
}

rz_status study_statistics_compute(const study_results *r, const study_panel *panels,
                                   unsigned bootstraps, uint64_t seed, rz_pool *pool,
                                   const rz_progress *progress, study_statistics *out,
                                   rz_error *error)
{
    study_statistics s = {.bootstraps = bootstraps, .seed = seed, .n_tasks = r->design.n_tasks};
    rz_status status = make_room(r, panels, &s, error);
    for (size_t t = 0; status == RZ_OK && t < s.n_tasks; t++)
        status = compute_task(r, &panels[t], t, pool, progress, &s, error);
    if (status == RZ_OK)
        status = compare(&s, panels, error);
    if (status != RZ_OK) {
        study_statistics_done(&s);
        return status;
    }
    *out = s;
    return RZ_OK;
}

void study_statistics_done(study_statistics *s)
{
    for (size_t i = 0; s->groups != NULL && i < s->n_groups; i++)
        free(s->groups[i].measure);
    free(s->groups);
    free(s->truth);
    free(s->truth_interval);
    free(s->contrasts);
    free(s->store);
    *s = (study_statistics){0};
}

const study_group *study_group_find(const study_statistics *s, size_t task, size_t labels,
                                    study_arm arm)
{
    for (size_t i = 0; i < s->n_groups; i++) {
        const study_group *g = &s->groups[i];
        if (g->task == task && g->labels == labels && arm_order(g->arm) == arm_order(arm))
            return g;
    }
    return NULL;
}
