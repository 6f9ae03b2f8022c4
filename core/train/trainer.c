/* One loop for all training. Its order of work per step (learn, log, plan, evaluate, save) is what
 * makes a resumed run take the same decisions: they depend on the saved numbers alone. */
#include "train/trainer.h"

#include "model/checkpoint.h"
#include "tensor/gemm.h"
#include "train/resume.h"
#include "train/train_log.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOGGED_FIRST = 256, LOGGED_ROWS = 2000, PLAN_STEPS = 6 };

typedef struct trainer {
    rz_model *model;
    const rz_course *course;
    const rz_run *run;
    const rz_train_options *options;
    rz_optimizer optimizer;
    double learning_rate;
    rz_feed feed;
    rz_scratch *scratch;
    rz_train_log log;
    rz_resume_state state;
    float *grads, *best;   /* [n_parameters] */
    double started, saved; /* on the clock; `started` lies earlier by what a resumed run had */
    double evaluation_s;   /* of one evaluation */
    double steps_s;        /* of the steps since this process began, without the first two */
    uint64_t steps_timed;
    double limit_gflops; /* of this machine */
    double tokens_per_s; /* smoothed, for the progress line */
    double loss;         /* smoothed */
    double first_loss;
} trainer;

rz_train_options rz_train_options_defaults(void)
{
    return (rz_train_options){.rate_factor = 1.0,
                              .warmup = 0.06,
                              .optimizer = rz_optimizer_options_defaults(),
                              .batch_tokens = 4096,
                              .part_tokens = 4096,
                              .evaluations = 10,
                              .patience = 5,
                              .save_seconds = 60.0};
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Share of the run that is done after `step` steps at (epoch, cursor): of its nearest bound. */
static double progress_of(const trainer *t)
{
    const rz_train_options *o = t->options;
    const rz_resume_state *s = &t->state;
    double share = 0.0;
    if (o->steps > 0)
        share = (double)s->step / (double)o->steps;
    if (o->epochs > 0.0) {
        double items = (double)t->course->n_train;
        double passed = ((double)s->epoch * items + (double)s->cursor) / (items * o->epochs);
        share = passed > share ? passed : share;
    }
    if (s->steps_planned > 0) {
        double passed = (double)s->step / (double)s->steps_planned;
        share = passed > share ? passed : share;
    }
    return share < 1.0 ? share : 1.0;
}

/* Sum and number of a loss term. */
static void term_of(rz_course_terms terms, size_t i, const rz_losses *losses, double *sum,
                    double *n)
{
    const double sums[3] = {losses->diagnosis, losses->medication, losses->age};
    const double counts[3] = {(double)losses->n_diagnoses, (double)losses->n_medications,
                              (double)losses->n_ages};
    if (terms == RZ_TERMS_HEADS) {
        *sum = losses->head[i];
        *n = losses->n_head[i];
    } else if (terms == RZ_TERMS_ONSET) {
        *sum = losses->onset;
        *n = (double)losses->n_onsets;
    } else {
        /* Pretraining has three terms.
         * NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign) */
        *sum = sums[i];
        *n = counts[i];
    }
}

/* The loss terms as means, and the loss: their sum in pretraining, the mean over heads else. */
static double mean_losses(const trainer *t, const rz_losses *losses, double *terms)
{
    double total = 0.0, n, sum;
    size_t present = 0;
    for (size_t i = 0; i < t->course->n_terms; i++) {
        term_of(t->course->terms_are, i, losses, &sum, &n);
        terms[i] = n > 0.0 ? sum / n : NAN;
        total += n > 0.0 ? terms[i] : 0.0;
        present += n > 0.0;
    }
    if (present == 0)
        return NAN;
    return t->course->terms_are == RZ_TERMS_HEADS ? total / (double)present : total;
}

/* What a row of the log says of the work behind it. */
typedef struct work {
    size_t tokens;
    double flop, seconds;
} work;

static rz_status add_row(trainer *t, const char *split, const rz_losses *losses, double rate,
                         double norm, const work *done, double *loss, rz_error *error)
{
    double seconds = done->seconds;
    double terms[RZ_HEADS_MAX + 3];
    *loss = mean_losses(t, losses, terms);
    const rz_train_row row = {.step = t->state.step,
                              .epoch = t->state.epoch,
                              .split = split,
                              .loss = *loss,
                              .terms = terms,
                              .n_terms = t->course->n_terms,
                              .learning_rate = rate,
                              .grad_norm = norm,
                              .tokens_per_s = seconds > 0.0 ? (double)done->tokens / seconds : NAN,
                              .limit_share = 1e-9 * done->flop / (seconds * t->limit_gflops),
                              .ms_per_step = 1e3 * seconds,
                              .seconds = now_s() - t->started};
    return t->run == NULL ? RZ_OK : rz_train_log_add(&t->log, &row, error);
}

/* One packed batch; its losses are added to the sums. */
static rz_status run_part(trainer *t, const rz_feed_part *part, float *grads, rz_losses *sums,
                          work *done, rz_error *error)
{
    done->tokens += part->batch.n_tokens;
    done->flop += (grads != NULL ? 3.0 : 1.0) *
                  t->model->family->forward_flop(&t->model->config, &part->batch, &part->targets);
    rz_losses part_losses = {0};
    rz_status status = t->model->family->train(t->model, &part->batch, &part->targets, grads,
                                               &part_losses, t->scratch, error);
    if (status != RZ_OK)
        return status;
    sums->diagnosis += part_losses.diagnosis;
    sums->medication += part_losses.medication;
    sums->age += part_losses.age;
    sums->n_diagnoses += part_losses.n_diagnoses;
    sums->n_medications += part_losses.n_medications;
    sums->n_ages += part_losses.n_ages;
    for (size_t i = 0; i < t->model->n_heads; i++) {
        sums->head[i] += part_losses.head[i];
        sums->n_head[i] += part_losses.n_head[i];
    }
    sums->onset += part_losses.onset;
    sums->n_onsets += part_losses.n_onsets;
    return RZ_OK;
}

/* The evaluation of the plan that the run has come to: 0 … options->evaluations. */
static unsigned evaluation_of(const trainer *t)
{
    return (unsigned)floor(progress_of(t) * t->options->evaluations);
}

static void keep_best(trainer *t)
{
    t->state.has_best = true;
    t->state.best_step = t->state.step;
    t->state.without_gain = 0;
    memcpy(t->best, t->model->parameters, t->model->n_parameters * sizeof *t->best);
}

static rz_status evaluate(trainer *t, unsigned evaluation, rz_error *error)
{
    rz_losses losses = {0};
    rz_status status = RZ_OK;
    work done = {0};
    double begun = now_s(), loss = NAN;
    if (t->course->n_tuning == 0) {
        t->state.evaluations++;
        keep_best(t);
        return RZ_OK;
    }
    for (size_t item = 0; status == RZ_OK && item < t->course->n_tuning;) {
        status = rz_feed_tuning(&t->feed, &item, error);
        if (status == RZ_OK)
            status = run_part(t, &t->feed.parts[0], NULL, &losses, &done, error);
    }
    done.seconds = now_s() - begun;
    if (status == RZ_OK)
        status = add_row(t, "tuning", &losses, NAN, NAN, &done, &loss, error);
    if (status == RZ_OK && !isfinite(loss))
        status = rz_fail(error, RZ_E_RANGE, "the tuning loss is not finite; use a lower --lr");
    if (status != RZ_OK)
        return status;
    t->evaluation_s = now_s() - begun;
    if (t->state.evaluations++ == 0)
        t->first_loss = loss;
    t->state.without_gain++;
    if (!t->state.has_best || loss < t->state.best_loss) {
        t->state.best_loss = loss;
        keep_best(t);
    }
    return t->course->evaluated != NULL
               ? t->course->evaluated(t->course->context, t->model, evaluation, error)
               : RZ_OK;
}

static rz_status learn(trainer *t, rz_error *error)
{
    const rz_train_options *o = t->options;
    rz_resume_state *s = &t->state;
    rz_losses losses = {0};
    double begun = now_s(), norm = 0.0, loss = NAN, before = progress_of(t);
    work done = {0};
    size_t n = t->model->n_parameters;
    rz_status status =
        rz_feed_step(&t->feed, s->step, o->batch_tokens, &s->epoch, &s->cursor, error);
    memset(t->grads, 0, n * sizeof *t->grads);
    for (size_t i = 0; status == RZ_OK && i < t->feed.n_parts; i++)
        status = run_part(t, &t->feed.parts[i], t->grads, &losses, &done, error);
    if (status == RZ_OK)
        status = rz_exchange_sum(o->exchange, t->grads, n, error);
    if (status != RZ_OK)
        return status;
    s->step++;
    s->tokens += done.tokens;
    /* Before the number of steps is known (the first ones of --minutes) the rate just grows. */
    double share = progress_of(t);
    bool unplanned = o->minutes > 0.0 && s->steps_planned == 0 && o->steps == 0;
    double rate = unplanned ? t->learning_rate * fmin((double)s->step / 50.0, 1.0)
                            : rz_schedule(t->learning_rate, share, o->warmup);
    status = rz_optimizer_update(&t->optimizer, t->model, t->grads, rate, &norm, error);
    done.seconds = now_s() - begun;
    if (status == RZ_OK &&
        (s->step <= LOGGED_FIRST || floor(share * LOGGED_ROWS) > floor(before * LOGGED_ROWS)))
        status = add_row(t, "train", &losses, rate, norm, &done, &loss, error);
    if (++t->steps_timed > 2)
        t->steps_s += done.seconds;
    double speed = (double)done.tokens / done.seconds;
    t->tokens_per_s = isnan(t->tokens_per_s) ? speed : 0.9 * t->tokens_per_s + 0.1 * speed;
    if (isfinite(loss))
        t->loss = isnan(t->loss) ? loss : 0.9 * t->loss + 0.1 * loss;
    return status;
}

static rz_status save(trainer *t, rz_error *error)
{
    t->state.seconds = now_s() - t->started;
    t->saved = now_s();
    if (t->run == NULL)
        return RZ_OK;
    rz_status status = rz_train_log_sync(&t->log, &t->state.log_bytes, error);
    if (status == RZ_OK)
        status = rz_resume_save(t->run->resume, t->model, &t->optimizer, t->best, &t->state, error);
    t->saved = now_s();
    return status;
}

/* Fixes the number of steps from the time per step, once that is known, with the evaluations that
 * are still to come and a reserve for saving. */
static rz_status plan(trainer *t, rz_error *error)
{
    const rz_train_options *o = t->options;
    if (o->minutes <= 0.0 || t->state.steps_planned > 0 || t->steps_timed < 2 + PLAN_STEPS ||
        t->steps_s < fmin(10.0, 6.0 * o->minutes))
        return RZ_OK;
    double step_s = t->steps_s / (double)(t->steps_timed - 2);
    double left = 60.0 * o->minutes - (now_s() - t->started);
    double steps = floor(0.95 * (left - o->evaluations * t->evaluation_s) / step_s);
    t->state.steps_planned = t->state.step + (steps > 1.0 ? (uint64_t)steps : 1);
    return save(t, error);
}

static bool tell(const trainer *t)
{
    double share = progress_of(t), seconds = now_s() - t->started;
    double total = share > 0.0 ? (double)t->state.step / share : 0.0;
    const rz_progress_report report = {.phase = t->course->phase,
                                       .done = t->state.step,
                                       .total = (uint64_t)(total + 0.5),
                                       .unit = "steps",
                                       .rate_per_s = t->tokens_per_s,
                                       .rate_unit = "tokens",
                                       .loss = t->loss,
                                       .seconds_left =
                                           share > 0.0 ? seconds * (1.0 - share) / share : NAN};
    return rz_progress_tell(t->options->progress, &report);
}

static rz_status loop(trainer *t, rz_train_result *result, rz_error *error)
{
    const rz_train_options *o = t->options;
    rz_resume_state *s = &t->state;
    rz_status status = s->evaluations == 0 ? evaluate(t, 0, error) : RZ_OK;
    bool evaluated = true;
    while (status == RZ_OK && progress_of(t) < 1.0 &&
           (o->stop_at == 0 || evaluation_of(t) < o->stop_at)) {
        result->stopped_early = o->patience > 0 && s->without_gain >= o->patience;
        result->time_over = o->minutes > 0.0 && now_s() - t->started > 60.0 * o->minutes;
        if (result->stopped_early || result->time_over)
            break;
        unsigned before = evaluation_of(t);
        status = learn(t, error);
        if (status == RZ_OK)
            status = plan(t, error);
        evaluated = evaluation_of(t) > before;
        if (status == RZ_OK && evaluated)
            status = evaluate(t, evaluation_of(t), error);
        bool wanted = status != RZ_OK || tell(t);
        if (status == RZ_OK && (!wanted || now_s() - t->saved >= o->save_seconds ||
                                (o->save_steps > 0 && s->step % o->save_steps == 0)))
            status = save(t, error);
        if (!wanted && status == RZ_OK)
            status = rz_fail(error, RZ_E_CANCELED, "interrupted at step %llu; %s",
                             (unsigned long long)s->step,
                             t->run != NULL ? "the state is saved, --resume continues"
                                            : "--resume begins this part of the labels anew");
    }
    if (status == RZ_OK && !evaluated)
        status = evaluate(t, o->evaluations, error);
    return status == RZ_OK ? save(t, error) : status;
}

/* Buffers, the log and, when there is one, the saved state. */
static rz_status prepare(trainer *t, const float *rates, const char *config_sha256,
                         const char *data_sha256, rz_error *error)
{
    const rz_train_options *o = t->options;
    char path[PATH_MAX];
    size_t n = t->model->n_parameters;
    t->grads = malloc(n * sizeof *t->grads);
    t->best = calloc(n, sizeof *t->best);
    /* Of the learning rate: the tensor's own multiple times the run's. */
    float *product = calloc(t->model->n_tensors + 1, sizeof *product);
    rz_status status = RZ_OK;
    if (t->grads == NULL || t->best == NULL || product == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to train %zu parameters", n);
    for (size_t i = 0; status == RZ_OK && i < t->model->n_tensors; i++)
        product[i] = t->model->tensors[i].rate * (rates == NULL ? 1.0f : rates[i]);
    if (status == RZ_OK)
        status = rz_optimizer_init(&t->optimizer, t->model, product, &o->optimizer, error);
    free(product);
    if (status == RZ_OK)
        status = rz_feed_init(&t->feed, t->model, t->course, o->seed, o->part_tokens, o->exchange,
                              error);
    if (status == RZ_OK && t->run != NULL)
        status = rz_blas_speed(t->model->pool, &t->limit_gflops, error);
    t->model->training_precision = o->precision;
    if (status == RZ_OK)
        status = t->model->family->scratch_new(t->model, &t->scratch, error);
    if (status == RZ_OK && t->run != NULL && t->run->resuming) {
        status = rz_resume_read(t->run->resume, &t->state, error);
        if (status == RZ_OK && (strcmp(t->state.config_sha256, config_sha256) != 0 ||
                                strcmp(t->state.data_sha256, data_sha256) != 0))
            status = rz_fail(error, RZ_E_CONFLICT,
                             "the run in %s began with other settings; give the same ones with "
                             "--resume or start over with --force",
                             t->run->out);
        if (status == RZ_OK)
            status =
                rz_resume_load(t->run->resume, t->model, &t->optimizer, t->best, &t->state, error);
    }
    (void)snprintf(t->state.config_sha256, RZ_SHA256_TEXT, "%s", config_sha256);
    (void)snprintf(t->state.data_sha256, RZ_SHA256_TEXT, "%s", data_sha256);
    if (status == RZ_OK && t->run != NULL)
        status = rz_checkpoint_begin(t->run->out, error);
    if (status == RZ_OK && t->run != NULL) {
        (void)snprintf(path, sizeof path, "%s/log.csv", t->run->out);
        status = rz_train_log_open(&t->log, path, t->course->terms, t->course->n_terms,
                                   t->state.log_bytes, error);
    }
    return status;
}

rz_status rz_train_options_check(const rz_train_options *o, rz_error *error)
{
    if (o->steps == 0 && !(o->epochs > 0.0) && !(o->minutes > 0.0))
        return rz_fail(error, RZ_E_USAGE, "a run needs an end: --steps, --epochs or --minutes");
    if (o->batch_tokens == 0 || o->part_tokens == 0 || o->evaluations == 0)
        return rz_fail(error, RZ_E_USAGE, "batch tokens and evaluations are at least 1");
    if (o->precision != RZ_FLOAT32 && o->precision != RZ_BF16)
        return rz_fail(error, RZ_E_USAGE, "nothing learns in %s: --precision float32 or bf16",
                       rz_precision_name(o->precision));
    return RZ_OK;
}

static rz_status check_course(const rz_course *course, const rz_train_options *o, rz_error *error)
{
    if (course->n_train == 0 || (course->n_tuning == 0 && o->stop_at == 0) ||
        course->n_train > UINT32_MAX)
        return rz_fail(error, RZ_E_INVALID,
                       "%zu items to learn from and %zu to tune on are too few to train",
                       course->n_train, course->n_tuning);
    return RZ_OK;
}

rz_status rz_train(rz_model *model, const rz_course *course, const rz_run *run,
                   const rz_train_options *options, const float *rates, const char *config_sha256,
                   const char *data_sha256, rz_train_result *result, rz_error *error)
{
    trainer t = {.model = model,
                 .course = course,
                 .run = run,
                 .options = options,
                 .learning_rate =
                     options->rate_factor * (options->learning_rate > 0.0
                                                 ? options->learning_rate
                                                 : rz_learning_rate_default(&model->config)),
                 .tokens_per_s = NAN,
                 .loss = NAN,
                 .first_loss = NAN};
    rz_train_result done = {0};
    rz_status status = rz_train_options_check(options, error);
    if (status == RZ_OK)
        status = check_course(course, options, error);
    if (status == RZ_OK)
        status = prepare(&t, rates, config_sha256, data_sha256, error);
    t.saved = now_s();
    t.started = t.saved - t.state.seconds;
    if (status == RZ_OK)
        status = loop(&t, &done, error);
    if (status == RZ_OK) {
        memcpy(model->parameters, t.best, model->n_parameters * sizeof *t.best);
        model->parameters_version++;
        done.steps = t.state.step;
        done.learning_rate = t.learning_rate;
        done.epochs = t.state.epoch;
        done.tokens = t.state.tokens;
        done.best_step = t.state.best_step;
        done.best_loss = t.state.best_loss;
        done.first_loss = t.first_loss;
        done.seconds = now_s() - t.started;
        *result = done;
    }
    if (t.scratch != NULL)
        model->family->scratch_free(t.scratch);
    rz_train_log_close(&t.log);
    rz_feed_done(&t.feed);
    rz_optimizer_done(&t.optimizer);
    free(t.grads);
    free(t.best);
    return status;
}
