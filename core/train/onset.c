/* Rows of patients on index days are the items; their labels are read off the timelines whenever
 * they are needed, a bit for each code, so that nothing grows with patients times codes. */
#include "train/onset.h"

#include "base/portable_math.h"
#include "base/size.h"
#include "claims/day.h"
#include "metrics/metrics.h"
#include "train/finetune_own.h"
#include "train/onset_calibrate.h"
#include "train/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TIMELINE_BYTES_MAX = 1 << 30, SCORED_ROWS = 64 };

/* People are counted by sex and whole year of age, the last year for those of unknown age: a fit
 * over these cells costs the same for ten patients and for ten million. */
enum { YEARS = 112, AGE_UNKNOWN = YEARS - 1, CELLS = 3 * YEARS };

/* ---- labels ---------------------------------------------------------------------------------- */

/* The bits of a row: codes that come, then codes that do not count; keeps the timeline for the next
 * row, which often is of the same patient. */
typedef struct reader {
    rz_dataset *dataset;
    const rz_vocabulary *vocabulary;
    size_t n_codes, words;
    rz_arena arena;
    rz_timeline *timeline;
    uint32_t patient; /* of the timeline */
} reader;

static reader reader_make(rz_dataset *dataset, const rz_vocabulary *vocabulary)
{
    size_t n = vocabulary->n_diagnoses + vocabulary->n_medications;
    reader r = {
        .dataset = dataset, .vocabulary = vocabulary, .n_codes = n, .words = rz_onset_words(n)};
    rz_arena_init(&r.arena, TIMELINE_BYTES_MAX);
    return r;
}

static rz_status read_bits(reader *r, const rz_label_row *row, uint64_t *bits, rz_error *error)
{
    if (r->timeline == NULL || r->patient != row->patient) {
        rz_arena_reset(&r->arena);
        r->timeline = NULL;
        rz_status status = rz_dataset_timeline(r->dataset, row->patient, &r->arena, &r->timeline,
                                               NULL, NULL, error);
        if (status != RZ_OK)
            return status;
        r->patient = row->patient;
    }
    rz_onset_coming(r->vocabulary, r->timeline, row->index_day, bits);
    rz_onset_recorded(r->vocabulary, r->timeline, row->index_day, bits + r->words);
    return RZ_OK;
}

typedef struct onset_course {
    finetune_course rows; /* first: rz_course.load reads it */
    reader reader;
} onset_course;

static rz_status targets(void *context, bool tuning, const uint32_t *items, size_t n,
                         uint64_t stream, rz_batch *batch, float *labels, rz_targets *out,
                         rz_error *error)
{
    (void)stream, (void)batch, (void)labels;
    onset_course *c = context;
    reader *r = &c->reader;
    uint64_t *bits = (uint64_t *)(uintptr_t)out->onset_bits; /* const only for the model */
    size_t uncounted = 0;
    for (size_t i = 0; i < n; i++, bits += 2 * r->words) {
        uint32_t row = tuning ? c->rows.tuning[items[i]] : c->rows.train[items[i]];
        rz_status status = read_bits(r, &c->rows.labels->rows[row], bits, error);
        if (status != RZ_OK)
            return status;
        for (size_t w = 0; w < r->words; w++)
            uncounted += (size_t)__builtin_popcountll(bits[r->words + w]);
    }
    out->pretrain = out->finetune = false;
    out->onset = true;
    out->n_onsets = n * r->n_codes - uncounted;
    return RZ_OK;
}

/* ---- counts ---------------------------------------------------------------------------------- */

typedef struct counts { /* of the training part, by cell; and of the tuning part, all together */
    size_t n_codes, tuning_positives;
    uint32_t rows[CELLS];
    uint32_t *positives, *uncounted; /* [n_codes, CELLS] */
} counts;

static size_t cell_of(const rz_label_row *row)
{
    size_t year = AGE_UNKNOWN;
    if (!isnan(row->age_years))
        year = (size_t)fmin(fmax((double)row->age_years, 0.0), (double)(AGE_UNKNOWN - 1));
    return (size_t)row->sex * YEARS + year;
}

static void counts_done(counts *c)
{
    free(c->positives);
    free(c->uncounted);
}

/* Adds each set bit to its code's place. */
static void count_bits(const uint64_t *bits, size_t words, size_t cell, uint32_t *out)
{
    for (size_t w = 0; w < words; w++)
        for (uint64_t left = bits[w]; left != 0; left &= left - 1)
            out[(64 * w + (size_t)__builtin_ctzll(left)) * CELLS + cell]++;
}

static rz_status count_labels(reader *r, const rz_labels *l, counts *c, rz_error *error)
{
    size_t n;
    uint64_t *bits = calloc(2 * r->words + 1, sizeof *bits);
    *c = (counts){.n_codes = r->n_codes};
    if (rz_size_mul(r->n_codes + 1, CELLS, &n)) {
        c->positives = calloc(n, sizeof *c->positives);
        c->uncounted = calloc(n, sizeof *c->uncounted);
    }
    rz_status status = RZ_OK;
    if (bits == NULL || c->positives == NULL || c->uncounted == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to count the onsets of %zu codes",
                         r->n_codes);
    for (size_t i = 0; status == RZ_OK && i < l->n_rows; i++) {
        size_t cell = cell_of(&l->rows[i]);
        status = read_bits(r, &l->rows[i], bits, error);
        if (status != RZ_OK)
            break;
        for (size_t w = 0; w < r->words; w++)
            bits[w] &= ~bits[r->words + w];
        if (l->part[i] == RZ_SPLIT_TUNING) {
            for (size_t w = 0; w < r->words; w++)
                c->tuning_positives += (size_t)__builtin_popcountll(bits[w]);
        } else if (l->part[i] == RZ_SPLIT_TRAIN) {
            c->rows[cell]++;
            count_bits(bits, r->words, cell, c->positives);
            count_bits(bits + r->words, r->words, cell, c->uncounted);
        }
    }
    free(bits);
    return status;
}

/* ---- age and sex ----------------------------------------------------------------------------- */

typedef struct cells { /* rows of the regression: each cell as positive, then as negative */
    size_t n;
    double *x, *weight;
    uint8_t *label;
} cells;

static rz_status cells_init(cells *e, rz_error *error)
{
    size_t n = 2 * (CELLS + 1);
    *e = (cells){.x = calloc(n * RZ_AGE_SEX_FEATURES, sizeof *e->x),
                 .weight = calloc(n, sizeof *e->weight),
                 .label = calloc(n, 1)};
    return e->x == NULL || e->weight == NULL || e->label == NULL
               ? rz_fail(error, RZ_E_NO_MEMORY, "no memory for %d cells of age and sex", CELLS)
               : RZ_OK;
}

static void cells_done(cells *e)
{
    free(e->x);
    free(e->weight);
    free(e->label);
}

static void cells_add(cells *e, double age_years, rz_sex sex, double positives, double negatives)
{
    for (int label = 1; label >= 0; label--) {
        double weight = label == 1 ? positives : negatives;
        if (!(weight > 0.0))
            continue;
        rz_age_sex_features(age_years, sex, e->x + e->n * RZ_AGE_SEX_FEATURES);
        e->weight[e->n] = weight;
        e->label[e->n++] = (uint8_t)label;
    }
}

/* As the baseline of a task (train/heads.c), with half a person of average age and unknown sex on
 * either side, so that a code that nobody got still has a finite, small risk. */
static rz_status fit_age_sex(const counts *c, size_t code, cells *e, rz_onset_code *out,
                             rz_error *error)
{
    uint32_t n = 0, positives = 0;
    e->n = 0;
    cells_add(e, NAN, RZ_SEX_UNKNOWN, 0.5, 0.5);
    for (size_t cell = 0; cell < CELLS; cell++) {
        uint32_t here = c->rows[cell] - c->uncounted[code * CELLS + cell];
        uint32_t up = c->positives[code * CELLS + cell];
        double age = cell % YEARS == AGE_UNKNOWN ? NAN : (double)(cell % YEARS) + 0.5;
        n += here;
        positives += up;
        cells_add(e, age, (rz_sex)(cell / YEARS), (double)up, (double)(here - up));
    }
    rz_status status = rz_logistic_weighted(e->x, e->label, e->weight, e->n, RZ_AGE_SEX_FEATURES,
                                            1.0, out->age_sex_beta, error);
    out->train_n = n;
    out->train_positives = positives;
    return status;
}

static rz_status fit_all_age_sex(const rz_vocabulary *vocabulary, const counts *c, rz_onset *out,
                                 rz_error *error)
{
    cells e;
    rz_status status = cells_init(&e, error);
    for (size_t code = 0; status == RZ_OK && code < c->n_codes; code++) {
        status = fit_age_sex(c, code, &e, &out->codes[code], error);
        if (status != RZ_OK)
            rz_error_prefix(error, "age and sex of %s: ", vocabulary->entries[code].code);
    }
    cells_done(&e);
    return status;
}

/* ---- calibration ----------------------------------------------------------------------------- */

typedef struct scoring {
    const rz_model *model;
    const rz_labels *labels;
    const rz_onset *onset;
    reader reader;
    uint64_t *bits; /* [2 words] */
    float *logits;  /* [SCORED_ROWS, stride] */
    rz_onset_scores scores, age_sex;
} scoring;

static void score_row(scoring *s, const rz_label_row *row, const float *logits)
{
    double x[RZ_AGE_SEX_FEATURES];
    rz_age_sex_features((double)row->age_years, row->sex, x);
    for (size_t code = 0; code < s->reader.n_codes; code++) {
        const double *beta = s->onset->codes[code].age_sex_beta;
        double base = beta[0];
        if (rz_onset_bit(s->bits + s->reader.words, code))
            continue;
        for (size_t j = 0; j < RZ_AGE_SEX_FEATURES; j++)
            base += beta[j + 1] * x[j];
        bool positive = rz_onset_bit(s->bits, code);
        rz_onset_scores_add(&s->scores, code, (double)logits[code], positive);
        rz_onset_scores_add(&s->age_sex, code, base, positive);
    }
}

static rz_status visit(void *context, const uint32_t *rows, size_t n, const rz_batch *batch,
                       const rz_outputs *outputs, rz_scratch *scratch, rz_error *error)
{
    (void)batch, (void)outputs;
    scoring *s = context;
    size_t stride = rz_onset_stride(s->reader.n_codes);
    rz_status status = RZ_OK;
    for (size_t first = 0; status == RZ_OK && first < n; first += SCORED_ROWS) {
        size_t here = n - first < SCORED_ROWS ? n - first : SCORED_ROWS;
        status = s->model->family->onsets(s->model, first, here, s->logits, scratch, error);
        for (size_t i = 0; status == RZ_OK && i < here; i++) {
            const rz_label_row *row = &s->labels->rows[rows[first + i]];
            status = read_bits(&s->reader, row, s->bits, error);
            if (status == RZ_OK)
                score_row(s, row, s->logits + i * stride);
        }
    }
    return status;
}

/* How well codes are ranked, over those with enough positives of the tuning part. */
static json_t *metrics_json(const scoring *s, size_t patients)
{
    size_t ranked = 0, better = 0;
    uint64_t onsets = 0;
    double sum = 0.0, base_sum = 0.0;
    for (size_t c = 0; c < s->reader.n_codes; c++) {
        const rz_onset_code *code = &s->onset->codes[c];
        onsets += code->tuning_positives;
        double auroc = rz_onset_auroc(&s->scores, c), base = rz_onset_auroc(&s->age_sex, c);
        if (code->tuning_positives < RZ_ONSET_RANKED_POSITIVES || isnan(auroc) || isnan(base))
            continue;
        ranked++;
        better += auroc > base;
        sum += auroc;
        base_sum += base;
    }
    double n = (double)ranked;
    return json_pack("{s:s, s:I, s:I, s:i, s:I, s:I, s:o, s:o}", "split", "tuning", "patients",
                     (json_int_t)patients, "onsets", (json_int_t)onsets, "ranked_from_positives",
                     RZ_ONSET_RANKED_POSITIVES, "codes_ranked", (json_int_t)ranked,
                     "codes_above_age_sex", (json_int_t)better, "auroc_mean",
                     ranked > 0 ? json_real(sum / n) : json_null(), "age_sex_auroc_mean",
                     ranked > 0 ? json_real(base_sum / n) : json_null());
}

static rz_status calibrate(const rz_model *model, rz_dataset *dataset, const rz_labels *labels,
                           size_t part_tokens, const rz_progress *progress, rz_onset *onset,
                           rz_error *error)
{
    scoring s = {.model = model,
                 .labels = labels,
                 .onset = onset,
                 .reader = reader_make(dataset, model->vocabulary)};
    size_t n = s.reader.n_codes;
    s.bits = calloc(2 * s.reader.words + 1, sizeof *s.bits);
    s.logits = calloc(SCORED_ROWS * rz_onset_stride(n) + 1, sizeof *s.logits);
    rz_status status = s.bits == NULL || s.logits == NULL
                           ? rz_fail(error, RZ_E_NO_MEMORY, "no memory to score %zu codes", n)
                           : rz_onset_scores_init(&s.scores, n, error);
    if (status == RZ_OK)
        status = rz_onset_scores_init(&s.age_sex, n, error);
    if (status == RZ_OK)
        status = rz_labels_visit(model, dataset, labels, RZ_SPLIT_TUNING, false, part_tokens,
                                 progress, visit, &s, error);
    if (status == RZ_OK)
        status = rz_onset_calibrate(&s.scores, model->vocabulary->n_diagnoses, onset, error);
    if (status == RZ_OK) {
        json_decref(onset->metrics);
        onset->metrics = metrics_json(&s, rz_labels_count(labels, 0, RZ_SPLIT_TUNING).n);
        if (onset->metrics == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for metrics");
    }
    (void)rz_day_text(rz_day_today(), onset->date);
    onset->precision = model->precision;
    rz_onset_scores_done(&s.scores);
    rz_onset_scores_done(&s.age_sex);
    rz_arena_done(&s.reader.arena);
    free(s.bits);
    free(s.logits);
    return status;
}

static rz_status check_counts(const counts *c, const rz_labels *l, rz_error *error)
{
    rz_label_counts train = rz_labels_count(l, 0, RZ_SPLIT_TRAIN),
                    tuning = rz_labels_count(l, 0, RZ_SPLIT_TUNING);
    if (train.n == 0 || c->tuning_positives < RZ_ONSET_POSITIVES_MIN)
        return rz_fail(error, RZ_E_INVALID,
                       "%zu training rows, and %zu onsets among %zu tuning patients; %d onsets are "
                       "needed to calibrate on. A patient needs %d days of record and as many to "
                       "follow",
                       train.n, c->tuning_positives, tuning.n, RZ_ONSET_POSITIVES_MIN,
                       RZ_ONSET_HISTORY_DAYS);
    return RZ_OK;
}

rz_status rz_onset_fit(const rz_model *model, rz_dataset *dataset, const rz_labels *labels,
                       size_t part_tokens, const rz_progress *progress, rz_onset *onset,
                       rz_error *error)
{
    reader r = reader_make(dataset, model->vocabulary);
    counts c;
    rz_status status = count_labels(&r, labels, &c, error);
    if (status == RZ_OK)
        status = check_counts(&c, labels, error);
    if (status == RZ_OK)
        status = fit_all_age_sex(model->vocabulary, &c, onset, error);
    if (status == RZ_OK)
        status = calibrate(model, dataset, labels, part_tokens, progress, onset, error);
    counts_done(&c);
    rz_arena_done(&r.arena);
    return status;
}

/* ---- training -------------------------------------------------------------------------------- */

/* Each code's bias starts at the logit of its share, which else takes many steps to reach. */
static void start_biases(rz_model *model, const counts *c)
{
    float *bias = model->parameters + rz_model_tensor(model, "onset.bias")->offset;
    for (size_t code = 0; code < c->n_codes; code++) {
        double n = 0.0, positives = 0.0;
        for (size_t cell = 0; cell < CELLS; cell++) {
            n += (double)(c->rows[cell] - c->uncounted[code * CELLS + cell]);
            positives += (double)c->positives[code * CELLS + cell];
        }
        bias[code] = (float)rz_logit((positives + 0.5) / (n + 1.0));
    }
    model->parameters_version++;
}

static rz_status make_model(const finetune_course *c, const counts *labels, rz_model **out,
                            rz_error *error)
{
    const rz_finetune_options *o = c->options;
    const rz_model *base = c->base->model;
    rz_model *model = NULL;
    rz_config config = base->config;
    config.onset = true;
    rz_status status = o->scratch
                           ? rz_model_new(&config, base->vocabulary, NULL, 0, o->train.seed,
                                          base->pool, &model, error)
                           : rz_model_with_heads(base, NULL, 0, true, o->train.seed, &model, error);
    if (status != RZ_OK)
        return status;
    if (!isnan(o->dropout))
        model->config.dropout = o->dropout;
    if (!o->scratch)
        model->family->onset_start(model);
    start_biases(model, labels);
    *out = model;
    return RZ_OK;
}

static rz_status learn(onset_course *c, rz_model *model, const rz_run *run, rz_train_result *result,
                       rz_error *error)
{
    static const char *const terms[] = {"onset"};
    float *rates = finetune_rates(model, c->rows.options);
    if (rates == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to train %zu tensors", model->n_tensors);
    const rz_course course = {.phase = "onset",
                              .context = c,
                              .n_train = c->rows.n_train,
                              .n_tuning = c->rows.n_tuning,
                              .terms = terms,
                              .n_terms = 1,
                              .terms_are = RZ_TERMS_ONSET,
                              .load = finetune_load,
                              .targets = targets};
    rz_status status =
        rz_train(model, &course, run, &c->rows.options->train, rates, c->rows.config_sha256,
                 rz_dataset_sha256(c->rows.dataset), result, error);
    free(rates);
    return status;
}

static rz_status train(onset_course *c, const rz_run *run, rz_onset *out, rz_train_result *result,
                       rz_error *error)
{
    const finetune_course *rows = &c->rows;
    const rz_train_options *o = &rows->options->train;
    counts labels;
    rz_model *model = NULL;
    rz_status status = count_labels(&c->reader, rows->labels, &labels, error);
    if (status == RZ_OK)
        status = check_counts(&labels, rows->labels, error);
    if (status == RZ_OK)
        status = make_model(rows, &labels, &model, error);
    if (status == RZ_OK)
        status = finetune_choose_rows(&c->rows, rows->base->model, rows->options, error);
    if (status == RZ_OK)
        status = finetune_digest(&c->rows, error);
    if (status == RZ_OK)
        status = learn(c, model, run, result, error);
    if (status == RZ_OK)
        status = fit_all_age_sex(model->vocabulary, &labels, out, error);
    if (status == RZ_OK)
        status =
            calibrate(model, rows->dataset, rows->labels, o->part_tokens, o->progress, out, error);
    if (status == RZ_OK)
        status = finetune_write_model(rows, run, model, error);
    if (status == RZ_OK)
        status = rz_onset_write(run->out, model->vocabulary, out, error);
    counts_done(&labels);
    rz_model_free(model);
    return status;
}

rz_status rz_onset_finetune(rz_dataset *dataset, const rz_run *run, const rz_checkpoint *base,
                            const rz_finetune_options *o, rz_onset *out, rz_labels *labels,
                            rz_train_result *result, rz_error *error)
{
    const rz_task task = rz_onset_task();
    const rz_vocabulary *vocabulary = base->model->vocabulary;
    onset_course c = {
        .rows = {.dataset = dataset, .labels = labels, .base = base, .tasks = &task, .options = o},
        .reader = reader_make(dataset, vocabulary)};
    rz_onset onset = {0};
    char split[RZ_SPLIT_TEXT];
    rz_split_rule_text(o->split, split);
    rz_status status = o->scratch ? RZ_OK : finetune_check_split(base, split, error);
    if (status == RZ_OK)
        status = rz_labels_build(dataset, &task, 1, o->split, o->draws, labels, error);
    if (status != RZ_OK)
        return status;
    status = rz_onset_init(&onset, c.reader.n_codes, error);
    if (status == RZ_OK)
        status = train(&c, run, &onset, result, error);
    free(c.rows.train);
    free(c.rows.tuning);
    rz_arena_done(&c.reader.arena);
    if (status == RZ_OK) {
        *out = onset;
    } else {
        rz_onset_done(&onset);
        rz_labels_done(labels);
    }
    return status;
}
