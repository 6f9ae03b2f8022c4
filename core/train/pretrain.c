/* Every training patient is an item; each epoch sees it from another day of its history. */
#include "train/pretrain.h"

#include "base/rng.h"
#include "model/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MIN = 2, TIMELINE_BYTES_MAX = 1 << 30 };

typedef struct pretrain_course {
    rz_dataset *dataset;
    const rz_model *model;
    uint64_t seed;
    uint32_t *train, *tuning; /* [n_train], [n_tuning] patients; tuning in the order of hashes */
    size_t n_train, n_tuning;
} pretrain_course;

static bool is_token(const rz_timeline_event *event)
{
    return (event->kind == RZ_KIND_DIAGNOSIS || event->kind == RZ_KIND_MEDICATION) &&
           (event->flags & RZ_EVENT_SUSPECTED) == 0;
}

static size_t count_tokens(const rz_timeline *timeline)
{
    size_t n = 0;
    for (size_t i = 0; i < timeline->n_events; i++)
        n += is_token(&timeline->events[i]);
    return n;
}

/* The day from which an item is seen: on which one of its tokens became known, the k-th of n with
 * k drawn with density 2 k / n², so that two thirds of a history are shown on average and every
 * part of it still comes last in its turn. */
static int32_t draw_as_of(const rz_timeline *timeline, uint64_t seed, uint64_t epoch)
{
    uint64_t name[2] = {timeline->hash, epoch};
    rz_rng rng;
    rz_rng_init(&rng, seed,
                rz_draw_stream(RZ_DRAW_AS_OF, rz_hash64(name, sizeof name, RZ_DRAW_AS_OF)));
    size_t n = count_tokens(timeline);
    size_t k = (size_t)((double)n * sqrt(rz_rng_uniform(&rng)));
    if (k + 1 < TOKENS_MIN)
        k = TOKENS_MIN - 1;
    for (size_t i = 0; i < timeline->n_events; i++) {
        if (is_token(&timeline->events[i]) && k-- == 0)
            return timeline->events[i].known_day;
    }
    return RZ_DAY_MAX;
}

static rz_status load(void *context, bool tuning, size_t item, uint64_t epoch, rz_arena *arena,
                      rz_timeline **timeline, int32_t *as_of, rz_error *error)
{
    const pretrain_course *c = context;
    uint32_t patient = tuning ? c->tuning[item] : c->train[item];
    rz_status status = rz_dataset_timeline(c->dataset, patient, arena, timeline, NULL, NULL, error);
    if (status == RZ_OK)
        *as_of = draw_as_of(*timeline, c->seed, tuning ? UINT64_MAX : epoch);
    return status;
}

static rz_status targets(void *context, bool tuning, const uint32_t *items, size_t n,
                         uint64_t stream, rz_batch *batch, float *labels, rz_targets *out,
                         rz_error *error)
{
    (void)tuning, (void)items, (void)n, (void)labels;
    const pretrain_course *c = context;
    rz_status status =
        c->model->family->pretrain_targets(c->model, batch, c->seed, stream, out, error);
    out->pretrain = true;
    out->finetune = false;
    return status;
}

typedef struct tuning_patient {
    uint64_t hash;
    uint32_t patient;
    size_t tokens;
} tuning_patient;

static int by_hash(const void *a, const void *b)
{
    const tuning_patient *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->patient > y->patient) - (x->patient < y->patient);
}

/* One pass over the copy: who is learnt from, and the vocabulary when it is to be made. */
static rz_status scan(pretrain_course *c, rz_split_rule rule, size_t tuning_tokens,
                      rz_vocabulary_builder *builder, rz_error *error)
{
    size_t n = rz_dataset_patients(c->dataset), n_tuning = 0, tokens = 0;
    rz_arena arena;
    rz_arena_init(&arena, TIMELINE_BYTES_MAX);
    tuning_patient *tuning = malloc((n + 1) * sizeof *tuning);
    c->train = malloc((n + 1) * sizeof *c->train);
    c->tuning = malloc((n + 1) * sizeof *c->tuning);
    rz_status status = RZ_OK;
    if (tuning == NULL || c->train == NULL || c->tuning == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu patients", n);
    for (size_t i = 0; status == RZ_OK && i < n; i++) {
        uint64_t hash = rz_dataset_hash(c->dataset, i);
        rz_split split = rz_split_by(rule, hash);
        rz_timeline *timeline = NULL;
        if (split == RZ_SPLIT_HELD_OUT)
            continue;
        rz_arena_reset(&arena);
        status = rz_dataset_timeline(c->dataset, i, &arena, &timeline, NULL, NULL, error);
        size_t here = status == RZ_OK ? count_tokens(timeline) : 0;
        if (here < TOKENS_MIN)
            continue;
        if (split == RZ_SPLIT_TUNING) {
            tuning[n_tuning++] = (tuning_patient){hash, (uint32_t)i, here};
            continue;
        }
        c->train[c->n_train++] = (uint32_t)i;
        if (builder != NULL)
            status = rz_vocabulary_builder_add(builder, timeline, error);
    }
    if (status == RZ_OK && c->n_train == 0)
        status =
            rz_fail(error, RZ_E_INVALID,
                    "none of the %zu patients has a training history of %d codes", n, TOKENS_MIN);
    if (status == RZ_OK)
        qsort(tuning, n_tuning, sizeof *tuning, by_hash);
    for (size_t i = 0; status == RZ_OK && i < n_tuning; i++) {
        if (tuning_tokens > 0 && tokens >= tuning_tokens)
            break;
        c->tuning[c->n_tuning++] = tuning[i].patient;
        /* Two thirds are shown (draw_as_of). */
        tokens += tuning[i].tokens * 2 / 3 + 2;
    }
    free(tuning);
    rz_arena_done(&arena);
    return status;
}

json_t *rz_train_options_json(const rz_train_options *o)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:f, s:f, s:i, s:i, s:s}",
                     "seed", (json_int_t)o->seed, "lr", o->learning_rate, "lr_factor",
                     o->rate_factor, "warmup", o->warmup, "weight_decay", o->optimizer.weight_decay,
                     "clip", o->optimizer.clip, "batch_tokens", (json_int_t)o->batch_tokens,
                     "part_tokens", (json_int_t)o->part_tokens, "steps", (json_int_t)o->steps,
                     "epochs", o->epochs, "minutes", o->minutes, "evaluations", (int)o->evaluations,
                     "patience", (int)o->patience, "precision", rz_precision_name(o->precision));
}

rz_status rz_settings_digest(json_t *settings, char out[RZ_SHA256_TEXT], rz_error *error)
{
    char *text =
        settings == NULL
            ? NULL
            : json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(settings);
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the settings of a run");
    rz_sha256 hash;
    rz_sha256_init(&hash);
    rz_sha256_add(&hash, text, strlen(text));
    rz_sha256_text(&hash, out);
    free(text);
    return RZ_OK;
}

static rz_status digest(const rz_pretrain_options *o, const rz_model *model,
                        char out[RZ_SHA256_TEXT], rz_error *error)
{
    return rz_settings_digest(
        json_pack("{s:s, s:o, s:o, s:s, s:i, s:i, s:I, s:o*}", "course", "pretrain", "model",
                  model->family->config_write(&model->config), "train",
                  rz_train_options_json(&o->train), "vocabulary", model->vocabulary->sha256, "fold",
                  (int)o->split.fold, "folds", (int)o->split.n_folds, "tuning_tokens",
                  (json_int_t)o->tuning_tokens, "facilities",
                  o->facilities.n > 0 ? rz_facilities_json(&o->facilities) : NULL),
        out, error);
}

rz_status rz_pretrain(rz_dataset *dataset, const rz_run *run, const rz_vocabulary *vocabulary,
                      const rz_pretrain_options *options, rz_pool *pool, rz_model **out,
                      rz_train_result *result, rz_error *error)
{
    static const char *const terms[] = {"diagnosis", "medication", "age"};
    pretrain_course c = {.dataset = dataset, .seed = options->train.seed};
    rz_vocabulary_builder *builder = NULL;
    rz_vocabulary *made = NULL;
    rz_model *model = NULL;
    rz_checkpoint_origin origin = {.seed = options->train.seed, .code_version = REZEPT_VERSION};
    rz_split_rule_text(options->split, origin.split);
    origin.facilities = options->facilities;
    rz_status status = RZ_OK;
    if (vocabulary == NULL)
        status = rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, error);
    if (status == RZ_OK)
        status = scan(&c, options->split, options->tuning_tokens, builder, error);
    if (status == RZ_OK && vocabulary == NULL)
        status = rz_vocabulary_builder_finish(builder, options->min_patients, &made, error);
    if (status == RZ_OK)
        status = rz_model_new(&options->config, vocabulary != NULL ? vocabulary : made, NULL, 0,
                              options->train.seed, pool, &model, error);
    if (status == RZ_OK && (model->family->capabilities & RZ_CAN_PRETRAIN) == 0)
        status = rz_fail(error, RZ_E_UNSUPPORTED, "the family %s cannot be pretrained",
                         model->family->name);
    if (status == RZ_OK)
        status = digest(options, model, origin.training_config_sha256, error);
    c.model = model;
    const rz_course course = {.phase = "pretrain",
                              .context = &c,
                              .n_train = c.n_train,
                              .n_tuning = c.n_tuning,
                              .terms = terms,
                              .n_terms = 3,
                              .load = load,
                              .targets = targets};
    if (status == RZ_OK)
        status = rz_train(model, &course, run, &options->train, NULL, origin.training_config_sha256,
                          rz_dataset_sha256(dataset), result, error);
    (void)snprintf(origin.data_sha256, sizeof origin.data_sha256, "%s", rz_dataset_sha256(dataset));
    if (status == RZ_OK)
        status = rz_checkpoint_write(run->out, model, &origin, error);
    if (status == RZ_OK && out != NULL) {
        *out = model;
        model = NULL;
    }
    rz_model_free(model);
    rz_vocabulary_free(made);
    rz_vocabulary_builder_free(builder);
    free(c.train);
    free(c.tuning);
    return status;
}
