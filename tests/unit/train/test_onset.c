/* Onsets learnt: calibration on codes whose truth is known, and a run on a record whose rule is. */
#include "example.h"

#include "base/portable_math.h"
#include "base/size.h"
#include "folder.h"
#include "metrics/metrics.h"
#include "train/onset.h"
#include "train/onset_calibrate.h"

#include <unistd.h>

static char folder[] = "/tmp/rezept-train-onset-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return temp_folder(folder) == NULL ? -1 : 0;
}

/* ---- calibration ------------------------------------------------------------------------------
 */

enum { CODES = 400, DIAGNOSES = 250, PEOPLE = 3000 };

typedef struct world {
    double center[CODES], intercept[CODES], slope[CODES]; /* of the truth */
    rz_onset_scores scores;
    rz_onset onset;
} world;

/* Codes from 1 in 30 to 1 in 30,000; the head is off by 0.3 (diagnoses) or -0.2 (medications) on
 * average, and each code a little more. */
static world *make_world(uint64_t seed)
{
    rz_error error = {0};
    rz_rng rng;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    rz_rng_init(&rng, seed, 0);
    check_ok(rz_onset_scores_init(&w->scores, CODES, &error));
    check_ok(rz_onset_init(&w->onset, CODES, &error));
    for (size_t c = 0; c < CODES; c++) {
        bool diagnosis = c < DIAGNOSES;
        w->center[c] = -3.4 - 6.9 * rz_rng_uniform(&rng);
        w->intercept[c] = (diagnosis ? 0.3 : -0.2) + 0.3 * rz_rng_normal(&rng);
        w->slope[c] = (diagnosis ? 0.8 : 1.1) + 0.1 * rz_rng_normal(&rng);
        for (size_t i = 0; i < PEOPLE; i++) {
            double x = 1.2 * rz_rng_normal(&rng);
            double p = rz_sigmoid(w->center[c] + w->intercept[c] + w->slope[c] * x);
            rz_onset_scores_add(&w->scores, c, w->center[c] + x, rz_rng_uniform(&rng) < p);
        }
    }
    return w;
}

static void world_free(world *w)
{
    rz_onset_scores_done(&w->scores);
    rz_onset_done(&w->onset);
    free(w);
}

static double truth(const world *w, size_t code, double logit)
{
    return rz_sigmoid(w->center[code] + w->intercept[code] +
                      w->slope[code] * (logit - w->center[code]));
}

static double kind_number(const rz_onset *onset, size_t kind, const char *part, const char *name)
{
    return json_number_value(
        json_object_get(json_object_get(json_array_get(onset->kinds, kind), part), name));
}

/* Predicted against observed positives of a code, from the bins it was fitted on. */
static double predicted(const world *w, size_t code)
{
    double sum = 0.0;
    for (size_t b = 0; b < RZ_ONSET_BINS; b++) {
        rz_calibrated at;
        uint32_t n = w->scores.n[code * RZ_ONSET_BINS + b];
        if (n == 0)
            continue;
        rz_onset_apply(&w->onset.codes[code], -24.0 + ((double)b + 0.5) / 32.0, &at);
        sum += n * at.probability;
    }
    return sum;
}

static void codes_lean_on_their_kind(void **state)
{
    (void)state;
    rz_error error = {0};
    world *w = make_world(1);
    check_ok(rz_onset_calibrate(&w->scores, DIAGNOSES, &w->onset, &error));
    assert_int_equal(json_array_size(w->onset.kinds), 2);
    check_near(kind_number(&w->onset, 0, "intercept", "mean"), 0.3, 0.08);
    check_near(kind_number(&w->onset, 1, "intercept", "mean"), -0.2, 0.12);
    check_near(kind_number(&w->onset, 0, "intercept", "deviation"), 0.3, 0.1);
    check_near(kind_number(&w->onset, 0, "slope", "mean"), 0.8, 0.06);
    check_near(kind_number(&w->onset, 1, "slope", "mean"), 1.1, 0.1);
    size_t positives = 0, without = 0, frequent = 0;
    double all = 0.0, variance = 0.0, worst = 0.0;
    for (size_t c = 0; c < CODES; c++) {
        const rz_onset_code *code = &w->onset.codes[c];
        double mean = predicted(w, c), observed = code->tuning_positives;
        assert_int_equal(code->tuning_n, PEOPLE);
        positives += code->tuning_positives;
        all += mean;
        variance += mean;
        without += code->tuning_positives == 0;
        if (observed < 20)
            continue;
        /* Poisson: with 20 and more the code's own record outweighs its kind's. */
        frequent++;
        worst = fmax(worst, fabs(mean - observed) / sqrt(observed));
    }
    if (!(without > 30 && frequent > 60))
        fail_msg("%zu codes without and %zu with many positives", without, frequent);
    if (!(worst < 1.5))
        fail_msg("a code lies %.2f deviations from what was observed", worst);
    check_near((all - (double)positives) / sqrt(variance), 0.0, 1.0);
    world_free(w);
}

/* The band holds the true curve about as often as it says, for rare codes as for frequent ones. */
static void bands_hold_the_truth(void **state)
{
    (void)state;
    rz_error error = {0};
    size_t n[2] = {0}, held[2] = {0};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        world *w = make_world(seed);
        check_ok(rz_onset_calibrate(&w->scores, DIAGNOSES, &w->onset, &error));
        for (size_t c = 0; c < CODES; c++)
            for (int at = -1; at <= 2; at++) {
                rz_calibrated risk;
                double logit = w->center[c] + 1.2 * at, true_risk = truth(w, c, logit);
                bool frequent = w->onset.codes[c].tuning_positives >= 20;
                rz_onset_apply(&w->onset.codes[c], logit, &risk);
                n[frequent]++;
                held[frequent] += risk.low <= true_risk && true_risk <= risk.high;
            }
        world_free(w);
    }
    for (int frequent = 0; frequent < 2; frequent++) {
        double share = (double)held[frequent] / (double)n[frequent];
        print_message("# %s codes: %.3f of %zu bands hold the truth\n",
                      frequent ? "frequent" : "rare", share, n[frequent]);
        if (!(share > 0.91 && share < 0.99))
            fail_msg("%s codes: %.3f of the bands hold the truth", frequent ? "frequent" : "rare",
                     share);
    }
}

/* A code that nobody got has its kind's map and a band as wide as its kind is various; one that was
 * seen often is as sure as patients drawn anew would be. */
static void little_is_known_of_rare_codes(void **state)
{
    (void)state;
    rz_error error = {0};
    world *w = make_world(2);
    check_ok(rz_onset_calibrate(&w->scores, DIAGNOSES, &w->onset, &error));
    double deviation = kind_number(&w->onset, 0, "intercept", "deviation");
    size_t checked = 0;
    for (size_t c = 0; c < DIAGNOSES; c++) {
        const rz_onset_code *code = &w->onset.codes[c];
        double own = sqrt(code->intercept_variance);
        if (!(own < deviation * 1.001))
            fail_msg("code %zu: deviation %.3f above the kind's %.3f", c, own, deviation);
        if (w->center[c] < -9.0) {
            check_near(own, deviation, 0.1 * deviation);
            checked++;
        }
    }
    assert_true(checked > 10);
    /* Patients drawn anew (a Poisson bootstrap of the bins), of some of the codes. */
    enum { FEW = 60, DRAWS = 40 };
    const rz_onset_scores few = {FEW, w->scores.n, w->scores.positives};
    rz_onset onset;
    check_ok(rz_onset_init(&onset, FEW, &error));
    check_ok(rz_onset_calibrate(&few, FEW, &onset, &error));
    size_t most = 0;
    for (size_t c = 1; c < FEW; c++)
        if (onset.codes[c].tuning_positives > onset.codes[most].tuning_positives)
            most = c;
    const rz_onset_code fitted = onset.codes[most];
    double sum = 0.0, squares = 0.0;
    uint32_t *n = few.n + most * RZ_ONSET_BINS, *positives = few.positives + most * RZ_ONSET_BINS;
    uint32_t old_n[RZ_ONSET_BINS], old_positives[RZ_ONSET_BINS];
    memcpy(old_n, n, sizeof old_n);
    memcpy(old_positives, positives, sizeof old_positives);
    for (uint64_t draw = 0; draw < DRAWS; draw++) {
        rz_rng rng;
        rz_rng_init(&rng, 77, draw);
        memset(n, 0, sizeof old_n);
        memset(positives, 0, sizeof old_positives);
        for (size_t b = 0; b < RZ_ONSET_BINS; b++)
            for (uint32_t i = 0; i < old_n[b]; i++) {
                uint32_t times = 0;
                for (double product = rz_rng_uniform(&rng); product > exp(-1.0); times++)
                    product *= rz_rng_uniform(&rng);
                n[b] += times;
                positives[b] += i < old_positives[b] ? times : 0;
            }
        check_ok(rz_onset_calibrate(&few, FEW, &onset, &error));
        rz_calibrated at;
        rz_onset_apply(&onset.codes[most], fitted.center, &at);
        double logit = rz_logit(at.probability);
        sum += logit;
        squares += logit * logit;
    }
    rz_onset_done(&onset);
    double spread = sqrt(squares / DRAWS - sum * sum / DRAWS / DRAWS);
    double posterior = sqrt(fitted.intercept_variance);
    print_message("# deviation of the intercept: posterior %.4f, bootstrap %.4f, %u positives\n",
                  posterior, spread, fitted.tuning_positives);
    check_near(posterior / spread, 1.0, 0.35);
    world_free(w);
}

static void too_little_is_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_onset_scores scores;
    rz_onset onset;
    check_ok(rz_onset_scores_init(&scores, 3, &error));
    check_ok(rz_onset_init(&onset, 3, &error));
    for (int i = 0; i < 100; i++)
        rz_onset_scores_add(&scores, 0, -3.0 + 0.01 * i, i % 6 == 0); /* 17 positives */
    check_fails(rz_onset_calibrate(&scores, 2, &onset, &error), RZ_E_INVALID, "has 17 onsets");
    for (int i = 0; i < 100; i++)
        rz_onset_scores_add(&scores, 1, -3.0 + 0.01 * i, i % 9 == 0);
    /* Medications have none: one map for all. A code that nobody is at risk of has one, too. */
    check_ok(rz_onset_calibrate(&scores, 2, &onset, &error));
    assert_int_equal(json_array_size(onset.kinds), 1);
    rz_calibrated at;
    rz_onset_apply(&onset.codes[2], -5.0, &at);
    assert_true(at.low < at.probability && at.probability < at.high);
    assert_int_equal(at.similar_n, 0);
    /* Logits beyond the bins count in the last ones. */
    rz_onset_scores_add(&scores, 2, -1e9, false);
    rz_onset_scores_add(&scores, 2, 1e9, true);
    check_near(rz_onset_auroc(&scores, 2), 1.0, 0.0);
    memset(scores.positives, 0, (size_t)3 * RZ_ONSET_BINS * sizeof *scores.positives);
    assert_true(isnan(rz_onset_auroc(&scores, 2)));
    rz_onset_scores_done(&scores);
    rz_onset_done(&onset);
}

/* ---- a run ------------------------------------------------------------------------------------
 */

static rz_dataset *open_example(const char *name, bool changed_held_out)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s.bin", folder, name);
    return example_dataset(path, EXAMPLE_PATIENTS, changed_held_out);
}

static rz_finetune_options onset_options(uint64_t steps)
{
    rz_finetune_options o = rz_finetune_options_defaults();
    o.head_rate = 1.0;
    o.train.seed = 5;
    o.train.steps = steps;
    o.train.batch_tokens = 2000;
    o.train.part_tokens = 900; /* several packed batches a step */
    o.train.learning_rate = 5e-3;
    o.train.evaluations = 6;
    return o;
}

/* Pretrains as <folder>/<name>-base unless it is there. */
static void load_base(rz_dataset *dataset, const char *name, rz_checkpoint *base)
{
    rz_error error = {0};
    char path[96];
    rz_run run;
    rz_train_result ignored;
    const rz_pretrain_options pretrain = example_pretrain_options(30);
    (void)snprintf(path, sizeof path, "%s/%s-base", folder, name);
    if (access(path, F_OK) != 0) {
        check_ok(rz_run_open(&run, path, false, false, &error));
        check_ok(rz_pretrain(dataset, &run, NULL, &pretrain, NULL, NULL, &ignored, &error));
        check_ok(rz_run_finish(&run, &error));
        rz_run_close(&run);
    }
    check_ok(rz_checkpoint_load(path, NULL, base, &error));
}

static rz_status learn(rz_dataset *dataset, const rz_checkpoint *base, const char *name,
                       bool resume, const rz_finetune_options *o, rz_onset *onset,
                       rz_labels *labels, rz_train_result *result, rz_error *error)
{
    char path[96];
    rz_run run;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    rz_status status = rz_run_open(&run, path, resume, false, error);
    if (status == RZ_OK)
        status = rz_onset_finetune(dataset, &run, base, o, onset, labels, result, error);
    if (status == RZ_OK)
        status = rz_run_finish(&run, error);
    rz_run_close(&run);
    return status;
}

static size_t code_of(const rz_vocabulary *v, const char *code)
{
    for (size_t i = 0; i < v->n_diagnoses + v->n_medications; i++)
        if (strcmp(v->entries[i].code, code) == 0)
            return i;
    fail_msg("the vocabulary lacks %s", code);
    return 0;
}

/* N189 is told by E119; the same rows as the task of N18, whose one code it is. */
static void learns_the_rule(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_dataset *dataset = open_example("rule", false);
    rz_checkpoint base;
    rz_onset onset;
    rz_labels *labels = calloc(1, sizeof *labels), *task_labels = calloc(1, sizeof *task_labels);
    rz_train_result result;
    rz_predictor *predictor;
    const rz_finetune_options o = onset_options(240);
    char path[96];
    load_base(dataset, "rule", &base);
    check_ok(learn(dataset, &base, "rule-onset", false, &o, &onset, labels, &result, &error));
    assert_true(result.best_loss < result.first_loss);
    (void)snprintf(path, sizeof path, "%s/rule-onset", folder);
    check_ok(rz_predictor_open(path, NULL, &predictor, &error));
    const rz_vocabulary *v = rz_predictor_model(predictor)->vocabulary;
    uint32_t kidney = (uint32_t)code_of(v, "N189");
    const rz_onset *read = rz_predictor_onset(predictor);
    assert_memory_equal(read->codes, onset.codes, onset.n_codes * sizeof *onset.codes);
    assert_string_equal(read->sha256, onset.sha256);
    /* Who may have the task's risk has the onset's, on the same day, with the same label. */
    const rz_task task = example_task();
    check_ok(rz_labels_build(dataset, &task, 1, o.split, 1, task_labels, &error));
    double score[EXAMPLE_PATIENTS], sum = 0.0;
    uint8_t label[EXAMPLE_PATIENTS];
    size_t n = 0, positives = 0;
    const rz_onset_query query = {.codes = &kidney, .n_codes = 1};
    rz_arena arena;
    rz_arena_init(&arena, 1 << 20);
    for (size_t r = 0; r < task_labels->n_rows; r++) {
        const rz_label_row *row = &task_labels->rows[r];
        rz_timeline *timeline;
        rz_risk risk;
        if (task_labels->part[r] != RZ_SPLIT_TUNING)
            continue;
        rz_arena_reset(&arena);
        check_ok(rz_dataset_timeline(dataset, row->patient, &arena, &timeline, NULL, NULL, &error));
        const rz_timeline *one = timeline;
        check_ok(
            rz_predictor_onsets(predictor, &one, &row->index_day, 1, &query, 4096, &risk, &error));
        assert_int_equal(risk.eligibility.reason, RZ_REASON_NONE);
        label[n] = task_labels->label[r] > 0.5f;
        score[n++] = risk.probability;
        positives += task_labels->label[r] > 0.5f;
        sum += risk.probability;
    }
    assert_int_equal(n, read->codes[kidney].tuning_n);
    assert_int_equal(positives, read->codes[kidney].tuning_positives);
    double auroc = rz_auroc(score, label, n);
    if (!(auroc > 0.75))
        fail_msg("AUROC %.3f of %zu patients", auroc, n);
    check_near(sum, (double)positives, 2.0 * sqrt((double)positives));
    /* Its average over age and sex is that of the training part. */
    double base_risk = rz_age_sex_risk(read->codes[kidney].age_sex_beta, 50.0, RZ_SEX_MALE);
    check_near(base_risk, (double)read->codes[kidney].train_positives / read->codes[kidney].train_n,
               0.1);
    rz_arena_done(&arena);
    rz_predictor_close(predictor);
    rz_onset_done(&onset);
    rz_labels_done(labels);
    rz_labels_done(task_labels);
    free(labels);
    free(task_labels);
    rz_model_free(base.model);
    rz_dataset_close(dataset);
}

/* Histories of held-out patients change nothing, to the byte. */
static void nothing_is_learnt_from_the_held_out(void **state)
{
    (void)state;
    rz_error error = {0};
    char *weights[2], *table[2], path[96];
    size_t length[2], table_length[2];
    rz_checkpoint base;
    for (int changed = 0; changed < 2; changed++) {
        char name[16];
        rz_onset onset;
        rz_train_result result;
        rz_labels *labels = calloc(1, sizeof *labels);
        const rz_finetune_options o = onset_options(12);
        (void)snprintf(name, sizeof name, "held-%d", changed);
        rz_dataset *dataset = open_example(name, changed != 0);
        load_base(dataset, "rule", &base);
        check_ok(learn(dataset, &base, name, false, &o, &onset, labels, &result, &error));
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        weights[changed] = example_read(path, "model.safetensors", &length[changed]);
        table[changed] = example_read(path, "onset.json", &table_length[changed]);
        rz_onset_done(&onset);
        rz_labels_done(labels);
        free(labels);
        rz_model_free(base.model);
        rz_dataset_close(dataset);
    }
    assert_int_equal(table_length[0], table_length[1]);
    assert_memory_equal(table[0], table[1], table_length[0]);
    assert_int_equal(length[0], length[1]);
    assert_memory_equal(weights[0], weights[1], length[0]);
    for (int i = 0; i < 2; i++) {
        free(weights[i]);
        free(table[i]);
    }
}

static bool stop_at_9(void *context, const rz_progress_report *report)
{
    unsigned *stops = context;
    if (strcmp(report->phase, "onset") != 0 || report->done != 9)
        return true;
    ++*stops;
    return false;
}

/* An interrupted run goes on to the bytes that it would have come to. */
static void an_interrupted_run_goes_on(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_dataset *dataset = open_example("resume", false);
    rz_checkpoint base;
    rz_onset onset;
    rz_train_result result;
    rz_labels *labels = calloc(1, sizeof *labels);
    unsigned stops = 0;
    const rz_progress progress = {.fn = stop_at_9, .context = &stops};
    rz_finetune_options o = onset_options(24);
    char path[96], *bytes[2], *losses[2];
    size_t length[2];
    load_base(dataset, "rule", &base);
    check_ok(learn(dataset, &base, "whole", false, &o, &onset, labels, &result, &error));
    rz_onset_done(&onset);
    rz_labels_done(labels);
    o.train.progress = &progress;
    assert_int_equal(learn(dataset, &base, "broken", false, &o, &onset, labels, &result, &error),
                     RZ_E_CANCELED);
    rz_error_clear(&error);
    o.train.progress = NULL;
    o.draws = 2;
    check_fails(learn(dataset, &base, "broken", true, &o, &onset, labels, &result, &error),
                RZ_E_CONFLICT, "other settings");
    o.draws = 6;
    check_ok(learn(dataset, &base, "broken", true, &o, &onset, labels, &result, &error));
    assert_int_equal(stops, 1);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, i == 0 ? "whole" : "broken");
        bytes[i] = example_read(path, "model.safetensors", &length[i]);
        losses[i] = example_losses(path);
    }
    assert_int_equal(length[0], length[1]);
    assert_memory_equal(bytes[0], bytes[1], length[0]);
    assert_string_equal(losses[0], losses[1]);
    for (int i = 0; i < 2; i++) {
        free(bytes[i]);
        free(losses[i]);
    }
    rz_onset_done(&onset);
    rz_labels_done(labels);
    free(labels);
    rz_model_free(base.model);
    rz_dataset_close(dataset);
}

/* Without anyone to calibrate on nothing is trained. */
static void a_small_record_is_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    char path[96];
    rz_checkpoint base;
    rz_onset onset;
    rz_train_result result;
    rz_labels *labels = calloc(1, sizeof *labels);
    const rz_finetune_options o = onset_options(12);
    (void)snprintf(path, sizeof path, "%s/small.bin", folder);
    rz_dataset *all = open_example("rule2", false), *few = example_dataset(path, 20, false);
    load_base(all, "rule", &base);
    check_fails(learn(few, &base, "small", false, &o, &onset, labels, &result, &error),
                RZ_E_INVALID, "20 onsets are needed");
    free(labels);
    rz_model_free(base.model);
    rz_dataset_close(all);
    rz_dataset_close(few);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(codes_lean_on_their_kind),
                                       cmocka_unit_test(bands_hold_the_truth),
                                       cmocka_unit_test(little_is_known_of_rare_codes),
                                       cmocka_unit_test(too_little_is_refused),
                                       cmocka_unit_test(learns_the_rule),
                                       cmocka_unit_test(nothing_is_learnt_from_the_held_out),
                                       cmocka_unit_test(an_interrupted_run_goes_on),
                                       cmocka_unit_test(a_small_record_is_refused)};
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
