/* Rows of labels are the items; the loss of a head is its mean over the labels it has. */
#include "train/finetune_own.h"

#include "train/pretrain.h"
#include "train/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the loss out of fold: less of a gain may be chance. */
#define GAIN_SEEN 0.05

rz_finetune_options rz_finetune_options_defaults(void)
{
    rz_finetune_options options = {.draws = 6,
                                   .negatives = 0.0,
                                   .head_rate = 10.0,
                                   .dropout = NAN,
                                   .method = RZ_CALIBRATION_PLATT,
                                   .train = rz_train_options_defaults()};
    for (size_t i = 0; i < RZ_TASKS_MAX; i++)
        options.prevalence[i] = NAN;
    return options;
}

rz_status finetune_load(void *context, bool tuning, size_t item, uint64_t epoch, rz_arena *arena,
                        rz_timeline **timeline, int32_t *as_of, rz_error *error)
{
    (void)epoch;
    const finetune_course *c = context;
    const rz_label_row *row = &c->labels->rows[tuning ? c->tuning[item] : c->train[item]];
    *as_of = row->index_day;
    return rz_dataset_timeline(c->dataset, row->patient, arena, timeline, NULL, NULL, error);
}

static bool has_outcome(const rz_labels *l, size_t row)
{
    for (size_t t = 0; t < l->n_tasks; t++)
        if (l->part[row * l->n_tasks + t] == RZ_SPLIT_TRAIN &&
            l->label[row * l->n_tasks + t] > 0.5f)
            return true;
    return false;
}

static float row_weight(const finetune_course *c, size_t row)
{
    return has_outcome(c->labels, row) ? 1.0f : (float)c->spared;
}

static rz_status targets(void *context, bool tuning, const uint32_t *items, size_t n,
                         uint64_t stream, rz_batch *batch, float *labels, rz_targets *out,
                         rz_error *error)
{
    (void)stream, (void)batch, (void)error;
    const finetune_course *c = context;
    size_t n_tasks = c->labels->n_tasks;
    float *weights = labels + n * n_tasks;
    for (size_t i = 0; i < n; i++) {
        size_t row = tuning ? c->tuning[items[i]] : c->train[items[i]];
        for (size_t t = 0; t < n_tasks; t++) {
            size_t at = row * n_tasks + t;
            uint8_t part = c->labels->part[at];
            bool used = tuning ? rz_part_tunes(part) : part == RZ_SPLIT_TRAIN;
            labels[i * n_tasks + t] = used ? c->labels->label[at] : (float)NAN;
        }
        weights[i] = tuning ? 1.0f : row_weight(c, row);
    }
    out->pretrain = false;
    out->finetune = true;
    out->labels = labels;
    out->seq_weights = weights;
    return RZ_OK;
}

typedef struct tuning_row {
    uint64_t hash;
    uint32_t row;
} tuning_row;

static int by_hash(const void *a, const void *b)
{
    const tuning_row *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* Sorts tuning rows by patient hash and cuts them to about so many tokens. */
static rz_status cut_tuning(finetune_course *c, const rz_model *model, tuning_row *rows,
                            size_t tuning_tokens, rz_error *error)
{
    rz_status status = RZ_OK;
    rz_arena arena;
    rz_arena_init(&arena, 1 << 30);
    qsort(rows, c->n_tuning, sizeof *rows, by_hash);
    rz_batch probe = {0};
    size_t n = 0;
    for (size_t tokens = 0, own = 0; status == RZ_OK && n < c->n_tuning; n++) {
        const rz_label_row *row = &c->labels->rows[rows[n].row];
        rz_timeline *timeline = NULL;
        c->tuning[n] = rows[n].row;
        if (tuning_tokens == 0)
            continue;
        if (tokens >= tuning_tokens)
            break;
        rz_arena_reset(&arena);
        status =
            rz_dataset_timeline(c->dataset, row->patient, &arena, &timeline, NULL, NULL, error);
        if (status == RZ_OK)
            status = rz_feed_tokens(model, timeline, row->index_day, &probe, &own, error);
        tokens += own;
    }
    c->n_tuning = n;
    rz_batch_done(&probe);
    rz_arena_done(&arena);
    return status;
}

/* Keeps every training row with an outcome and, of the others, so many for each of those, by a hash
 * of patient and day. Most rows have no outcome and tell little; those kept stand for the rest with
 * their weight, so that loss, risks and prior stay those of the whole record. */
static rz_status thin_train(finetune_course *c, double negatives, uint64_t seed, rz_error *error)
{
    const rz_labels *l = c->labels;
    tuning_row *others = calloc(c->n_train + 1, sizeof *others);
    size_t n_others = 0, kept = 0;
    if (others == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to choose of %zu rows", c->n_train);
    for (size_t i = 0; i < c->n_train; i++) {
        const rz_label_row *row = &l->rows[c->train[i]];
        if (has_outcome(l, c->train[i])) {
            c->train[kept++] = c->train[i];
        } else {
            uint64_t name[2] = {row->hash, (uint64_t)(int64_t)row->index_day};
            others[n_others++] = (tuning_row){rz_hash64(name, sizeof name, seed), c->train[i]};
        }
    }
    qsort(others, n_others, sizeof *others, by_hash);
    size_t wanted = (size_t)((double)kept * negatives + 0.5);
    wanted = wanted < n_others ? wanted : n_others;
    for (size_t i = 0; i < wanted; i++)
        c->train[kept++] = others[i].row;
    c->n_train = kept;
    c->spared = wanted > 0 ? (double)n_others / (double)wanted : 1.0;
    free(others);
    return RZ_OK;
}

/* The share of positives among the labels that a head learns from. */
static double prior_of(const finetune_course *c, size_t task)
{
    const rz_labels *l = c->labels;
    double n = 0.0, positives = 0.0;
    for (size_t i = 0; i < c->n_train; i++) {
        size_t at = c->train[i] * l->n_tasks + task;
        if (l->part[at] != RZ_SPLIT_TRAIN)
            continue;
        double weight = (double)row_weight(c, c->train[i]);
        n += weight;
        positives += l->label[at] > 0.5f ? weight : 0.0;
    }
    return positives / n;
}

rz_status finetune_choose_rows(finetune_course *c, const rz_model *model,
                               const rz_finetune_options *o, rz_error *error)
{
    const rz_labels *l = c->labels;
    tuning_row *tuning = calloc(l->n_rows + 1, sizeof *tuning);
    c->train = calloc(l->n_rows + 1, sizeof *c->train);
    c->tuning = calloc(l->n_rows + 1, sizeof *c->tuning);
    rz_status status = RZ_OK;
    if (tuning == NULL || c->train == NULL || c->tuning == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows of labels", l->n_rows);
    for (size_t r = 0; status == RZ_OK && r < l->n_rows; r++) {
        bool trains = false, tunes = false;
        for (size_t t = 0; t < l->n_tasks; t++) {
            trains = trains || l->part[r * l->n_tasks + t] == RZ_SPLIT_TRAIN;
            tunes = tunes || rz_part_tunes(l->part[r * l->n_tasks + t]);
        }
        if (trains)
            c->train[c->n_train++] = (uint32_t)r;
        if (tunes)
            tuning[c->n_tuning++] = (tuning_row){l->rows[r].hash, (uint32_t)r};
    }
    c->spared = 1.0;
    if (status == RZ_OK && o->negatives > 0.0 && !l->drawn)
        status = thin_train(c, o->negatives, o->train.seed, error);
    if (status == RZ_OK)
        status = cut_tuning(c, model, tuning, o->tuning_tokens, error);
    free(tuning);
    return status;
}

/* The model to train: fresh heads over the given encoder, or all fresh. Each head's bias starts at
 * the logit of its training prior, which else takes many steps to reach. */
static rz_status make_model(const rz_checkpoint *base, const rz_task *tasks, const double *prior,
                            const rz_labels *l, const rz_finetune_options *o, rz_model **out,
                            rz_error *error)
{
    const char *names[RZ_TASKS_MAX];
    rz_model *model = NULL;
    for (size_t t = 0; t < l->n_tasks; t++)
        names[t] = tasks[t].name;
    rz_config config = base->model->config;
    config.onset = false;
    rz_status status = o->scratch
                           ? rz_model_new(&config, base->model->vocabulary, names, l->n_tasks,
                                          o->train.seed, base->model->pool, &model, error)
                           : rz_model_with_heads(base->model, names, l->n_tasks, false,
                                                 o->train.seed, &model, error);
    if (status != RZ_OK)
        return status;
    if (!isnan(o->dropout))
        model->config.dropout = o->dropout;
    size_t t = 0;
    for (size_t i = model->n_tensors - model->n_head_tensors; i < model->n_tensors; i++) {
        const rz_tensor_spec *tensor = &model->tensors[i];
        if (tensor->count != 1 || t >= l->n_tasks)
            continue;
        double share = prior[t++];
        model->parameters[tensor->offset] = (float)log(share / (1.0 - share));
    }
    model->parameters_version++;
    *out = model;
    return RZ_OK;
}

rz_status finetune_digest(finetune_course *c, rz_error *error)
{
    const rz_finetune_options *o = c->options;
    const rz_model *model = c->base->model;
    rz_config config = model->config;
    if (!isnan(o->dropout))
        config.dropout = o->dropout;
    rz_status status =
        rz_facilities_join(&o->facilities, &c->base->origin.facilities, &c->learnt_from, error);
    if (status != RZ_OK)
        return status;
    json_t *list = json_array();
    for (size_t t = 0; t < c->labels->n_tasks; t++)
        (void)json_array_append_new(list, rz_task_to_json(&c->tasks[t]));
    return rz_settings_digest(
        json_pack("{s:s, s:o, s:o, s:o, s:s, s:i, s:i, s:I, s:I, s:b, s:i, s:f, s:f, s:b, s:b, "
                  "s:b, s:o*, s:o*}",
                  "course", "finetune", "model", model->family->config_write(&config), "train",
                  rz_train_options_json(&o->train), "tasks", list, "parent", c->base->sha256,
                  "fold", (int)o->split.fold, "folds", (int)o->split.n_folds, "tuning_tokens",
                  (json_int_t)o->tuning_tokens, "labels", (json_int_t)o->labels, "balanced",
                  o->mix == RZ_MIX_BALANCED, "draws", (int)o->draws, "negatives", o->negatives,
                  "head_rate", o->head_rate, "freeze", o->freeze, "scratch", o->scratch, "crossfit",
                  o->crossfit, "enriched", o->mix == RZ_MIX_ENRICHED ? json_true() : NULL,
                  "facilities", o->facilities.n > 0 ? rz_facilities_json(&o->facilities) : NULL),
        c->config_sha256, error);
}

static rz_status evaluated(void *context, const rz_model *model, unsigned evaluation,
                           rz_error *error)
{
    const finetune_course *c = context;
    return rz_crossfit_evaluated(c->crossfit, model, evaluation, error);
}

float *finetune_rates(const rz_model *model, const rz_finetune_options *options)
{
    float *rates = calloc(model->n_tensors, sizeof *rates);
    for (size_t i = 0; rates != NULL && i < model->n_tensors; i++)
        rates[i] = i >= model->n_tensors - model->n_head_tensors ? (float)options->head_rate
                   : options->freeze                             ? 0.0f
                                                                 : 1.0f;
    return rates;
}

static rz_status learn(finetune_course *c, rz_model *model, const rz_run *run,
                       const rz_train_options *options, rz_train_result *result, rz_error *error)
{
    const char *names[RZ_TASKS_MAX];
    for (size_t t = 0; t < c->labels->n_tasks; t++)
        names[t] = c->tasks[t].name;
    float *rates = finetune_rates(model, c->options);
    if (rates == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to train %zu tensors", model->n_tensors);
    const rz_course course = {.phase = c->crossfit != NULL ? "cross-fit" : "finetune",
                              .context = c,
                              .n_train = c->n_train,
                              .n_tuning = c->n_tuning,
                              .terms = names,
                              .n_terms = c->labels->n_tasks,
                              .terms_are = RZ_TERMS_HEADS,
                              .load = finetune_load,
                              .targets = targets,
                              .evaluated = c->crossfit != NULL ? evaluated : NULL};
    rz_status status = rz_train(model, &course, run, options, rates, c->config_sha256,
                                rz_dataset_sha256(c->dataset), result, error);
    free(rates);
    return status;
}

/* Rows, model and training as the parts of the labels say: the run itself, or one part of its
 * cross-fitting. */
static rz_status teach(finetune_course *c, const rz_run *run, const rz_train_options *options,
                       rz_model **out, rz_train_result *result, rz_error *error)
{
    rz_model *model = NULL;
    rz_status status = finetune_choose_rows(c, c->base->model, c->options, error);
    for (size_t t = 0; status == RZ_OK && t < c->labels->n_tasks; t++)
        c->prior[t] = prior_of(c, t);
    if (status == RZ_OK)
        status = make_model(c->base, c->tasks, c->prior, c->labels, c->options, &model, error);
    if (status == RZ_OK)
        status = learn(c, model, run, options, result, error);
    free(c->train);
    free(c->tuning);
    c->train = c->tuning = NULL;
    c->n_train = c->n_tuning = 0;
    if (status == RZ_OK)
        *out = model;
    else
        rz_model_free(model);
    return status;
}

static rz_status teach_part(void *context, rz_crossfit *crossfit, const rz_train_options *options,
                            rz_train_result *result, rz_error *error)
{
    finetune_course *c = context;
    rz_model *model = NULL;
    c->crossfit = crossfit;
    rz_status status = teach(c, NULL, options, &model, result, error);
    c->crossfit = NULL;
    rz_model_free(model);
    return status;
}

/* The run over all labels has no tuning part to judge it. It must at least fit its own labels half
 * as well as its parts did labels that they had not seen, or their calibration is not its own.
 * Errors  RZ_E_RANGE with both losses. */
static rz_status check_learnt(const finetune_course *c, const rz_model *model,
                              const rz_crossfit_result *crossfit, rz_error *error)
{
    const rz_labels *l = c->labels;
    rz_scored scored = {0};
    double sum[RZ_TASKS_MAX] = {0}, n[RZ_TASKS_MAX] = {0}, loss = 0.0;
    double gain = crossfit->first_loss - crossfit->loss;
    rz_status status = rz_labels_score(model, c->dataset, l, RZ_SPLIT_TRAIN, false,
                                       c->options->train.part_tokens, NULL, &scored, error);
    for (size_t i = 0; status == RZ_OK && i < scored.n; i++)
        for (size_t t = 0; t < l->n_tasks; t++) {
            size_t at = scored.row[i] * l->n_tasks + t;
            double z = (double)scored.logit[i * l->n_tasks + t];
            if (l->part[at] == RZ_PART_NONE)
                continue;
            sum[t] += fmax(z, 0.0) - z * (double)l->label[at] + log1p(exp(-fabs(z)));
            n[t] += 1.0;
        }
    for (size_t t = 0; t < l->n_tasks; t++)
        loss += sum[t] / n[t] / (double)l->n_tasks;
    rz_scored_done(&scored);
    if (status == RZ_OK && gain > GAIN_SEEN && crossfit->first_loss - loss < 0.5 * gain)
        status =
            rz_fail(error, RZ_E_RANGE,
                    "the run over all labels ended with a loss of %.3f, its parts with %.3f on "
                    "labels they had not seen; choose another --seed or a lower --lr",
                    loss, crossfit->loss);
    return status;
}

/* With drawn labels the cross-fitting says where the run over all of them ends, and gives the
 * scores to calibrate on; else the tuning part does both. */
static rz_status teach_all(finetune_course *c, const rz_run *run, rz_model **out,
                           float **out_of_fold, rz_train_result *result, rz_error *error)
{
    rz_train_options options = c->options->train;
    rz_crossfit_result crossfit = {0};
    if (!c->labels->drawn)
        return teach(c, run, &options, out, result, error);
    rz_status status =
        rz_crossfit_run(c->labels, c->dataset, run->resume, &options, c->config_sha256,
                        rz_dataset_sha256(c->dataset), teach_part, c, &crossfit, error);
    options.stop_at = crossfit.evaluation;
    if (crossfit.steps > 0) {
        options.minutes = 0.0;
        options.steps = crossfit.steps;
    }
    if (status == RZ_OK)
        status = teach(c, run, &options, out, result, error);
    if (status == RZ_OK)
        status = check_learnt(c, *out, &crossfit, error);
    if (status == RZ_OK) {
        result->best_loss = crossfit.loss;
        result->first_loss = crossfit.first_loss;
        *out_of_fold = crossfit.logit;
    } else {
        free(crossfit.logit);
    }
    return status;
}

/* Values from another split have seen patients that this one holds out. */
rz_status finetune_check_split(const rz_checkpoint *base, const char *split, rz_error *error)
{
    if (strcmp(base->origin.split, split) == 0)
        return RZ_OK;
    return rz_fail(error, RZ_E_CONFLICT,
                   "the given model was trained on the split %s, this run asks for %s; pretrain "
                   "with the same --fold",
                   rz_split_text_shown(base->origin.split), split);
}

rz_status finetune_write_model(const finetune_course *c, const rz_run *run, const rz_model *model,
                               rz_error *error)
{
    rz_checkpoint_origin origin = {.seed = c->options->train.seed, .code_version = REZEPT_VERSION};
    memcpy(origin.training_config_sha256, c->config_sha256, RZ_SHA256_TEXT);
    (void)snprintf(origin.data_sha256, RZ_SHA256_TEXT, "%s", rz_dataset_sha256(c->dataset));
    (void)snprintf(origin.parent_sha256, RZ_SHA256_TEXT, "%s",
                   c->options->scratch ? "" : c->base->sha256);
    rz_split_rule_text(c->options->split, origin.split);
    origin.facilities = c->learnt_from; /* of a fresh start, too: it has the base's vocabulary */
    return rz_checkpoint_write(run->out, model, &origin, error);
}

rz_status rz_finetune(rz_dataset *dataset, const rz_run *run, const rz_checkpoint *base,
                      const rz_task *tasks, size_t n_tasks, const rz_finetune_options *o,
                      rz_head *heads, rz_labels *labels, rz_train_result *result, rz_error *error)
{
    finetune_course c = {
        .dataset = dataset, .labels = labels, .base = base, .tasks = tasks, .options = o};
    rz_model *model = NULL;
    float *out_of_fold = NULL;
    char split[RZ_SPLIT_TEXT];
    rz_heads_options fit = {.method = o->method,
                            .part_tokens = o->train.part_tokens,
                            .seed = o->train.seed,
                            .sampled = o->labels > 0,
                            .progress = o->train.progress};
    memcpy(fit.prevalence, o->prevalence, sizeof fit.prevalence);
    rz_split_rule_text(o->split, split);
    rz_status status = o->scratch ? RZ_OK : finetune_check_split(base, split, error);
    if (status == RZ_OK)
        status = rz_labels_build(dataset, tasks, n_tasks, o->split,
                                 o->labels > 0 || o->crossfit ? 1 : o->draws, labels, error);
    if (status != RZ_OK)
        return status;
    if (o->labels > 0)
        status = rz_labels_draw(labels, tasks, o->labels, o->mix, o->train.seed, error);
    else if (o->crossfit)
        rz_labels_crossfit(labels);
    if (status == RZ_OK)
        status = rz_heads_check(labels, tasks, o->method, true, error);
    if (status == RZ_OK)
        status = finetune_digest(&c, error);
    if (status == RZ_OK)
        status = teach_all(&c, run, &model, &out_of_fold, result, error);
    fit.out_of_fold = out_of_fold;
    memcpy(fit.training_prior, c.prior, sizeof c.prior);
    if (status == RZ_OK)
        status = rz_heads_fit(model, dataset, labels, tasks, &fit, heads, error);
    if (status == RZ_OK)
        status = finetune_write_model(&c, run, model, error);
    if (status == RZ_OK)
        status = rz_heads_write(run->out, heads, n_tasks, error);
    for (size_t t = 0; status != RZ_OK && t < n_tasks; t++)
        rz_head_done(&heads[t]);
    if (status != RZ_OK)
        rz_labels_done(labels);
    rz_model_free(model);
    free(out_of_fold);
    return status;
}
