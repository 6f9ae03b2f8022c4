/* Rows of labels are the items; the loss of a head is its mean over the labels it has. */
#include "train/finetune.h"

#include "train/pretrain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct finetune_course {
    rz_dataset *dataset;
    const rz_labels *labels;
    uint32_t *train, *tuning; /* rows that have a label in this part */
    size_t n_train, n_tuning;
} finetune_course;

rz_finetune_options rz_finetune_options_defaults(void)
{
    rz_finetune_options options = {.draws = 6,
                                   .negatives = 2.0,
                                   .dropout = NAN,
                                   .method = RZ_CALIBRATION_PLATT,
                                   .train = rz_train_options_defaults()};
    for (size_t i = 0; i < RZ_TASKS_MAX; i++)
        options.prevalence[i] = NAN;
    return options;
}

static rz_status load(void *context, bool tuning, size_t item, uint64_t epoch, rz_arena *arena,
                      rz_timeline **timeline, int32_t *as_of, rz_error *error)
{
    (void)epoch;
    const finetune_course *c = context;
    const rz_label_row *row = &c->labels->rows[tuning ? c->tuning[item] : c->train[item]];
    *as_of = row->index_day;
    return rz_dataset_timeline(c->dataset, row->patient, arena, timeline, NULL, NULL, error);
}

static rz_status targets(void *context, bool tuning, const uint32_t *items, size_t n,
                         uint64_t stream, rz_batch *batch, float *labels, rz_targets *out,
                         rz_error *error)
{
    (void)stream, (void)batch, (void)error;
    const finetune_course *c = context;
    size_t n_tasks = c->labels->n_tasks;
    uint8_t part = tuning ? RZ_SPLIT_TUNING : RZ_SPLIT_TRAIN;
    for (size_t i = 0; i < n; i++) {
        size_t row = tuning ? c->tuning[items[i]] : c->train[items[i]];
        for (size_t t = 0; t < n_tasks; t++) {
            size_t at = row * n_tasks + t;
            labels[i * n_tasks + t] =
                c->labels->part[at] == part ? c->labels->label[at] : (float)NAN;
        }
    }
    out->pretrain = false;
    out->finetune = true;
    out->labels = labels;
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
    size_t n = 0;
    for (size_t tokens = 0; status == RZ_OK && n < c->n_tuning; n++) {
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
            tokens += rz_feed_tokens(model, timeline, row->index_day);
    }
    c->n_tuning = n;
    rz_arena_done(&arena);
    return status;
}

static bool has_outcome(const rz_labels *l, size_t row)
{
    for (size_t t = 0; t < l->n_tasks; t++)
        if (l->part[row * l->n_tasks + t] == RZ_SPLIT_TRAIN &&
            l->label[row * l->n_tasks + t] > 0.5f)
            return true;
    return false;
}

/* Keeps every training row with an outcome and, of the others, so many for each of those, by a hash
 * of patient and day. Most rows have no outcome and tell little. */
static rz_status thin_train(finetune_course *c, double negatives, uint64_t seed, rz_error *error)
{
    const rz_labels *l = c->labels;
    tuning_row *others = malloc((c->n_train + 1) * sizeof *others);
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
    for (size_t i = 0; i < n_others && i < wanted; i++)
        c->train[kept++] = others[i].row;
    c->n_train = kept;
    free(others);
    return RZ_OK;
}

/* The share of positives among the labels that a head learns from. */
static double prior_of(const finetune_course *c, size_t task)
{
    const rz_labels *l = c->labels;
    size_t n = 0, positives = 0;
    for (size_t i = 0; i < c->n_train; i++) {
        size_t at = c->train[i] * l->n_tasks + task;
        if (l->part[at] != RZ_SPLIT_TRAIN)
            continue;
        n++;
        positives += l->label[at] > 0.5f;
    }
    return (double)positives / (double)n;
}

static rz_status choose_rows(finetune_course *c, const rz_model *model,
                             const rz_finetune_options *o, rz_error *error)
{
    const rz_labels *l = c->labels;
    tuning_row *tuning = malloc((l->n_rows + 1) * sizeof *tuning);
    c->train = malloc((l->n_rows + 1) * sizeof *c->train);
    c->tuning = malloc((l->n_rows + 1) * sizeof *c->tuning);
    rz_status status = RZ_OK;
    if (tuning == NULL || c->train == NULL || c->tuning == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu rows of labels", l->n_rows);
    for (size_t r = 0; status == RZ_OK && r < l->n_rows; r++) {
        bool trains = false, tunes = false;
        for (size_t t = 0; t < l->n_tasks; t++) {
            trains = trains || l->part[r * l->n_tasks + t] == RZ_SPLIT_TRAIN;
            tunes = tunes || l->part[r * l->n_tasks + t] == RZ_SPLIT_TUNING;
        }
        if (trains)
            c->train[c->n_train++] = (uint32_t)r;
        if (tunes)
            tuning[c->n_tuning++] = (tuning_row){l->rows[r].hash, (uint32_t)r};
    }
    if (status == RZ_OK && o->negatives > 0.0 && o->labels == 0)
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
    rz_status status =
        o->scratch
            ? rz_model_new(&config, base->model->vocabulary, names, l->n_tasks, o->train.seed,
                           base->model->pool, &model, error)
            : rz_model_with_heads(base->model, names, l->n_tasks, o->train.seed, &model, error);
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

static rz_status digest(const rz_finetune_options *o, const rz_model *model,
                        const rz_checkpoint *base, const rz_task *tasks, size_t n_tasks,
                        char out[RZ_SHA256_TEXT], rz_error *error)
{
    json_t *list = json_array();
    for (size_t t = 0; t < n_tasks; t++)
        (void)json_array_append_new(list, rz_task_to_json(&tasks[t]));
    return rz_settings_digest(
        json_pack("{s:s, s:o, s:o, s:o, s:s, s:i, s:i, s:I, s:I, s:b, s:i, s:f, s:b, s:b}",
                  "course", "finetune", "model", model->family->config_write(&model->config),
                  "train", rz_train_options_json(&o->train), "tasks", list, "parent", base->sha256,
                  "fold", (int)o->split.fold, "folds", (int)o->split.n_folds, "tuning_tokens",
                  (json_int_t)o->tuning_tokens, "labels", (json_int_t)o->labels, "balanced",
                  o->balanced, "draws", (int)o->draws, "negatives", o->negatives, "freeze",
                  o->freeze, "scratch", o->scratch),
        out, error);
}

static rz_status learn(finetune_course *c, rz_model *model, const rz_task *tasks, const rz_run *run,
                       const rz_finetune_options *o, const char *config_sha256,
                       rz_train_result *result, rz_error *error)
{
    const char *names[RZ_TASKS_MAX];
    for (size_t t = 0; t < c->labels->n_tasks; t++)
        names[t] = tasks[t].name;
    bool *frozen = calloc(model->n_tensors, sizeof *frozen);
    if (frozen == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu tensors", model->n_tensors);
    for (size_t i = 0; o->freeze && i < model->n_tensors - model->n_head_tensors; i++)
        frozen[i] = true;
    const rz_course course = {.phase = "finetune",
                              .context = c,
                              .n_train = c->n_train,
                              .n_tuning = c->n_tuning,
                              .terms = names,
                              .n_terms = c->labels->n_tasks,
                              .heads = true,
                              .load = load,
                              .targets = targets};
    rz_status status = rz_train(model, &course, run, &o->train, frozen, config_sha256,
                                rz_dataset_sha256(c->dataset), result, error);
    free(frozen);
    return status;
}

rz_status rz_finetune(rz_dataset *dataset, const rz_run *run, const rz_checkpoint *base,
                      const rz_task *tasks, size_t n_tasks, const rz_finetune_options *o,
                      rz_head *heads, rz_labels *labels, rz_train_result *result, rz_error *error)
{
    finetune_course c = {.dataset = dataset, .labels = labels};
    rz_model *model = NULL;
    rz_checkpoint_origin origin = {.seed = o->train.seed, .code_version = REZEPT_VERSION};
    (void)snprintf(origin.data_sha256, RZ_SHA256_TEXT, "%s", rz_dataset_sha256(dataset));
    (void)snprintf(origin.parent_sha256, RZ_SHA256_TEXT, "%s", o->scratch ? "" : base->sha256);
    rz_heads_options fit = {.method = o->method,
                            .drawn = o->labels > 0,
                            .part_tokens = o->train.part_tokens,
                            .seed = o->train.seed,
                            .progress = o->train.progress};
    for (size_t t = 0; t < RZ_TASKS_MAX; t++) {
        fit.prevalence[t] = o->prevalence[t];
        fit.training_prior[t] = NAN;
    }
    rz_split_rule_text(o->split, origin.split);
    /* Values from another split have seen patients that this one holds out. */
    if (!o->scratch && strcmp(base->origin.split, origin.split) != 0)
        return rz_fail(
            error, RZ_E_CONFLICT,
            "the given model was trained on the split %s, this run asks for %s; pretrain "
            "with the same --fold",
            rz_split_text_shown(base->origin.split), origin.split);
    rz_status status = rz_labels_build(dataset, tasks, n_tasks, o->split,
                                       o->labels > 0 ? 1 : o->draws, labels, error);
    if (status != RZ_OK)
        return status;
    if (o->labels > 0)
        status = rz_labels_draw(labels, tasks, o->labels, o->balanced, o->train.seed, error);
    if (status == RZ_OK)
        status = rz_heads_check(labels, tasks, o->method, true, error);
    if (status == RZ_OK)
        status = choose_rows(&c, base->model, o, error);
    for (size_t t = 0; status == RZ_OK && t < n_tasks; t++)
        fit.training_prior[t] = prior_of(&c, t);
    if (status == RZ_OK)
        status = make_model(base, tasks, fit.training_prior, labels, o, &model, error);
    if (status == RZ_OK)
        status = digest(o, model, base, tasks, n_tasks, origin.training_config_sha256, error);
    if (status == RZ_OK)
        status = learn(&c, model, tasks, run, o, origin.training_config_sha256, result, error);
    if (status == RZ_OK)
        status = rz_heads_fit(model, dataset, labels, tasks, &fit, heads, error);
    if (status == RZ_OK)
        status = rz_checkpoint_write(run->out, model, &origin, error);
    if (status == RZ_OK)
        status = rz_heads_write(run->out, heads, n_tasks, error);
    for (size_t t = 0; status != RZ_OK && t < n_tasks; t++)
        rz_head_done(&heads[t]);
    if (status != RZ_OK)
        rz_labels_done(labels);
    rz_model_free(model);
    free(c.train);
    free(c.tuning);
    return status;
}
