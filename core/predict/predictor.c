/* The predictor: opens a model's folder, groups timelines into packed batches, and turns logits
 * into risks. A row of a batch does not depend on its neighbours, so grouping never shows in an
 * answer. */
#include "predict/predictor_own.h"

#include "base/file.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

rz_predict_options rz_predict_options_defaults(void)
{
    return (rz_predict_options){.heads = UINT64_MAX, .batch_tokens_max = 16384};
}

const rz_model *rz_predictor_model(const rz_predictor *predictor)
{
    return predictor->checkpoint.model;
}

const char *rz_predictor_sha256(const rz_predictor *predictor)
{
    return predictor->checkpoint.sha256;
}

const char *rz_predictor_tasks_sha256(const rz_predictor *predictor)
{
    return predictor->checkpoint.tasks_sha256;
}

const rz_checkpoint_origin *rz_predictor_origin(const rz_predictor *predictor)
{
    return &predictor->checkpoint.origin;
}

size_t rz_predictor_heads(const rz_predictor *predictor, const rz_head **out)
{
    *out = predictor->heads;
    return predictor->n_heads;
}

const rz_onset *rz_predictor_onset(const rz_predictor *predictor)
{
    return predictor->checkpoint.model->config.onset ? &predictor->onset : NULL;
}

void rz_predictor_close(rz_predictor *predictor)
{
    if (predictor == NULL)
        return;
    rz_model *model = predictor->checkpoint.model;
    if (model != NULL && predictor->scratch != NULL)
        model->family->scratch_free(predictor->scratch);
    rz_batch_done(&predictor->batch);
    for (size_t i = 0; i < predictor->n_heads; i++)
        rz_head_done(&predictor->heads[i]);
    rz_onset_done(&predictor->onset);
    rz_model_free(model);
    free(predictor->heads);
    free(predictor->group);
    free(predictor->group_days);
    free(predictor);
}

/* Head i of the weights and task i of tasks.json must be the same task. */
static rz_status check_heads(const rz_predictor *predictor, const char *folder, rz_error *error)
{
    const rz_model *model = predictor->checkpoint.model;
    if (predictor->n_heads != model->n_heads)
        return rz_fail(error, RZ_E_CORRUPT, "%s: tasks.json has %zu tasks, the model %zu heads",
                       folder, predictor->n_heads, model->n_heads);
    for (size_t i = 0; i < model->n_heads; i++)
        if (strcmp(predictor->heads[i].task.name, model->head_names[i]) != 0)
            return rz_fail(error, RZ_E_CORRUPT,
                           "%s: task %zu of tasks.json is %s, the model's head is %s", folder, i,
                           predictor->heads[i].task.name, model->head_names[i]);
    return RZ_OK;
}

/* The bytes that are parsed are those that the checkpoint has verified. */
static rz_status read_tasks(rz_predictor *predictor, const char *folder, rz_error *error)
{
    char sha256[RZ_SHA256_TEXT];
    rz_status status = rz_heads_read(folder, predictor->heads, &predictor->n_heads, sha256, error);
    if (status == RZ_OK && strcmp(sha256, predictor->checkpoint.tasks_sha256) != 0)
        status = rz_fail(error, RZ_E_CORRUPT,
                         "%s: tasks.json has SHA-256 %.12s…, not the %.12s… of a moment ago",
                         folder, sha256, predictor->checkpoint.tasks_sha256);
    if (status == RZ_OK)
        status = check_heads(predictor, folder, error);
    if (status == RZ_E_FORMAT || status == RZ_E_INVALID || status == RZ_E_TOO_LARGE) {
        status = RZ_E_CORRUPT;
        if (error != NULL)
            error->status = status;
    }
    return status;
}

rz_status rz_predictor_open(const char *folder, rz_pool *pool, rz_predictor **out, rz_error *error)
{
    rz_predictor *predictor = calloc(1, sizeof *predictor);
    if (predictor != NULL)
        predictor->heads = calloc(RZ_HEADS_MAX, sizeof *predictor->heads);
    if (predictor == NULL || predictor->heads == NULL) {
        free(predictor);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to open %s", folder);
    }
    rz_status status = rz_checkpoint_load(folder, pool, &predictor->checkpoint, error);
    const rz_model *model = predictor->checkpoint.model;
    if (status == RZ_OK && model->n_heads == 0 && !model->config.onset)
        status = rz_fail(error, RZ_E_INVALID,
                         "%s: this model has no task heads and answers nothing; fine-tune it first",
                         folder);
    if (status == RZ_OK && model->n_heads > 0)
        status = read_tasks(predictor, folder, error);
    if (status == RZ_OK && model->config.onset)
        status = rz_onset_read(folder, model->vocabulary, &predictor->onset, error);
    if (status == RZ_OK && model->n_heads > 0 && model->config.onset &&
        predictor->heads[0].precision != predictor->onset.precision)
        status = rz_fail(error, RZ_E_CORRUPT, "%s: tasks of %s and onsets of %s in one model",
                         folder, rz_precision_name(predictor->heads[0].precision),
                         rz_precision_name(predictor->onset.precision));
    if (status == RZ_OK) {
        predictor->checkpoint.model->precision =
            model->n_heads > 0 ? predictor->heads[0].precision : predictor->onset.precision;
        status = model->family->scratch_new(model, &predictor->scratch, error);
    }
    if (status == RZ_OK)
        *out = predictor;
    else
        rz_predictor_close(predictor);
    return status;
}

/* ---- logits ---------------------------------------------------------------------------------- */

static rz_status group_reserve(rz_predictor *predictor, size_t n, rz_error *error)
{
    if (n <= predictor->group_capacity)
        return RZ_OK;
    const rz_timeline **group = NULL;
    int32_t *days = NULL;
    size_t bytes;
    if (rz_size_mul(n, sizeof *group, &bytes)) {
        group = malloc(bytes);
        days = malloc(n * sizeof *days);
    }
    if (group == NULL || days == NULL) {
        free(group);
        free(days);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu timelines", n);
    }
    free(predictor->group);
    free(predictor->group_days);
    predictor->group = group;
    predictor->group_days = days;
    predictor->group_capacity = n;
    return RZ_OK;
}

size_t predictor_group(const rz_model *model, const rz_timeline *const *timelines, size_t first,
                       size_t n, size_t tokens_max)
{
    size_t tokens = 0, k = first;
    while (k < n) {
        size_t context = (size_t)model->config.context;
        size_t most = timelines[k]->n_events < context ? timelines[k]->n_events + 2 : context;
        most = most < context ? most : context;
        if (k > first && (most > tokens_max || tokens > tokens_max - most))
            break;
        tokens += most;
        k++;
    }
    return k - first;
}

static rz_status check_finite(const rz_model *model, const float *logits, size_t n_seqs,
                              rz_error *error)
{
    for (size_t i = 0; i < n_seqs * model->n_heads; i++)
        if (!isfinite(logits[i]))
            return rz_fail(error, RZ_E_CORRUPT,
                           "the model's head %s gives a score that is not a number",
                           model->head_names[i % model->n_heads]);
    return RZ_OK;
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void count_histories(const rz_batch *batch, history_counts *counts,
                            rz_predict_figures *figures)
{
    for (size_t i = 0; i < batch->n_seqs; i++)
        counts[i] = (history_counts){.tokens = batch->offsets[i + 1] - batch->offsets[i],
                                     .unmapped = batch->unmapped[i],
                                     .left_out = batch->left_out[i]};
    for (int system = 0; system < RZ_SYSTEM_COUNT; system++)
        figures->unmapped[system] += batch->unmapped_systems[system];
}

rz_status predictor_run(rz_predictor *predictor, const rz_timeline *const *timelines,
                        const int32_t *as_of, size_t n, size_t tokens_max, float *logits,
                        history_counts *counts, rz_error *error)
{
    const rz_model *model = predictor->checkpoint.model;
    rz_batch *batch = &predictor->batch;
    rz_status status = RZ_OK;
    for (size_t first = 0, k; first < n && status == RZ_OK; first += k) {
        k = predictor_group(model, timelines, first, n, tokens_max);
        double began = now_s();
        status =
            model->family->batch_build(model, timelines + first, as_of + first, k, batch, error);
        predictor->figures.tokenize_s += now_s() - began;
        if (status == RZ_OK && counts != NULL)
            count_histories(batch, counts + first, &predictor->figures);
        if (status != RZ_OK || logits == NULL)
            continue;
        rz_outputs outputs = {0};
        status = model->family->forward(model, batch, &outputs, predictor->scratch, error);
        if (status == RZ_OK)
            status = check_finite(model, outputs.logits, k, error);
        if (status == RZ_OK)
            memcpy(logits + first * model->n_heads, outputs.logits,
                   k * model->n_heads * sizeof *logits);
    }
    return status;
}

/* ---- risks ----------------------------------------------------------------------------------- */

bool predictor_begin_row(const rz_predictor *predictor, size_t h, const rz_timeline *timeline,
                         int32_t as_of, rz_risk *risk)
{
    const rz_head *head = &predictor->heads[h];
    *risk = (rz_risk){.head = h, .probability = NAN, .low = NAN, .high = NAN, .logit = NAN};
    rz_task_eligible(&head->task, timeline, as_of, &risk->eligibility);
    risk->age_sex_average = rz_age_sex_risk(
        head->age_sex_beta, rz_age_years(timeline->birth_day, as_of), timeline->sex);
    return risk->eligibility.reason == RZ_REASON_NONE;
}

/* The rows of one patient before any model has run; true when one of them wants a risk. */
static bool begin_rows(const rz_predictor *predictor, const rz_timeline *timeline, int32_t as_of,
                       uint64_t asked, rz_risk *rows)
{
    bool wanted = false;
    for (size_t h = 0; h < predictor->n_heads; h++)
        if ((asked >> h & 1) != 0)
            wanted = predictor_begin_row(predictor, h, timeline, as_of, rows++) || wanted;
    return wanted;
}

void predictor_finish_row(const rz_predictor *predictor, double logit, rz_risk *risk)
{
    rz_calibrated calibrated;
    if (risk->eligibility.reason != RZ_REASON_NONE)
        return;
    risk->logit = logit;
    rz_calibration_apply(&predictor->heads[risk->head].calibration, risk->logit, &calibrated);
    risk->probability = calibrated.probability;
    risk->low = calibrated.low;
    risk->high = calibrated.high;
    risk->similar_n = calibrated.similar_n;
    risk->similar_positives = calibrated.similar_positives;
}

/* ---- what explanations rest on --------------------------------------------------------------- */

static size_t first_head(const rz_predictor *predictor)
{
    (void)predictor;
    return 0;
}

static size_t head_stride(const rz_predictor *predictor)
{
    return predictor->n_heads;
}

static rz_status run_heads(rz_predictor *predictor, const rz_timeline *const *timelines,
                           const int32_t *as_of, size_t n, size_t tokens_max, float *logits,
                           rz_error *error)
{
    return predictor_run(predictor, timelines, as_of, n, tokens_max, logits, NULL, error);
}

static void apply_head(const rz_predictor *predictor, size_t head, double logit, rz_calibrated *out)
{
    rz_calibration_apply(&predictor->heads[head].calibration, logit, out);
}

static const explained_logits head_logits = {
    .first = first_head, .stride = head_stride, .run = run_heads, .apply = apply_head};

/* ---- calls ----------------------------------------------------------------------------------- */

/* Memory of one call, for n patients. */
typedef struct call {
    size_t n_wanted;
    size_t *order;          /* [n] patients that want a risk first, then the others */
    float *logits;          /* [n_wanted, n_heads], in that order */
    history_counts *counts; /* [n], in that order */
} call;

static void call_done(call *c)
{
    free(c->order);
    free(c->logits);
    free(c->counts);
}

static rz_status call_init(call *c, size_t n, size_t n_heads, rz_error *error)
{
    size_t floats;
    if (rz_size_mul(n, n_heads * sizeof *c->logits, &floats)) {
        c->order = malloc(n * sizeof *c->order);
        c->logits = malloc(floats);
        c->counts = malloc(n * sizeof *c->counts);
    }
    if (c->order == NULL || c->logits == NULL || c->counts == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the risks of %zu patients", n);
    return RZ_OK;
}

/* Eligibility of all, then the wanted ones through the model; of the others only tokens are made,
 * for the counts of unmapped codes. */
static rz_status run_call(rz_predictor *predictor, const rz_timeline *const *timelines,
                          const int32_t *as_of, size_t n, const rz_predict_options *options,
                          size_t n_rows, call *c, rz_risk *out, rz_error *error)
{
    size_t others = n;
    for (size_t i = 0; i < n; i++)
        c->order[begin_rows(predictor, timelines[i], as_of[i], options->heads, out + i * n_rows)
                     ? c->n_wanted++
                     : --others] = i;
    for (size_t i = 0; i < n; i++) {
        predictor->group[i] = timelines[c->order[i]];
        predictor->group_days[i] = as_of[c->order[i]];
    }
    rz_status status =
        predictor_run(predictor, predictor->group, predictor->group_days, c->n_wanted,
                      options->batch_tokens_max, c->logits, c->counts, error);
    if (status == RZ_OK)
        status = predictor_run(predictor, predictor->group + c->n_wanted,
                               predictor->group_days + c->n_wanted, n - c->n_wanted,
                               options->batch_tokens_max, NULL, c->counts + c->n_wanted, error);
    return status;
}

rz_status rz_predictor_risks(rz_predictor *predictor, const rz_timeline *const *timelines,
                             const int32_t *as_of, size_t n, const rz_predict_options *options,
                             rz_risk *out, rz_error *error)
{
    size_t n_rows = 0;
    call c = {0};
    for (size_t h = 0; h < predictor->n_heads; h++)
        n_rows += options->heads >> h & 1;
    if (n_rows == 0)
        return rz_fail(error, RZ_E_INVALID, "none of the model's %zu tasks is asked for",
                       predictor->n_heads);
    if (n == 0)
        return RZ_OK;
    predictor->figures = (rz_predict_figures){0};
    rz_status status = group_reserve(predictor, n, error);
    if (status == RZ_OK)
        status = call_init(&c, n, predictor->n_heads, error);
    if (status == RZ_OK)
        status = run_call(predictor, timelines, as_of, n, options, n_rows, &c, out, error);
    for (size_t i = 0; i < n && status == RZ_OK; i++) {
        rz_risk *rows = out + c.order[i] * n_rows;
        for (size_t k = 0; k < n_rows; k++) {
            rows[k].tokens = c.counts[i].tokens;
            rows[k].unmapped = c.counts[i].unmapped;
            rows[k].left_out = c.counts[i].left_out;
            if (i < c.n_wanted)
                predictor_finish_row(
                    predictor, (double)c.logits[i * predictor->n_heads + rows[k].head], &rows[k]);
        }
        if (i < c.n_wanted && options->explain > 0)
            status =
                predictor_explain(predictor, &head_logits, timelines[c.order[i]], as_of[c.order[i]],
                                  options->explain, options->batch_tokens_max, rows, n_rows, error);
    }
    if (status == RZ_OK && options->figures != NULL)
        *options->figures = predictor->figures;
    call_done(&c);
    return status;
}
