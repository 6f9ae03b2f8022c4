/* Fine-tuning on a record whose rule is known, and what a run may not look at. */
#include "example.h"

#include "base/portable_math.h"
#include "folder.h"
#include "metrics/metrics.h"
#include "train/score.h"

#include <unistd.h>

static char folder[] = "/tmp/rezept-finetune-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return temp_folder(folder) == NULL ? -1 : 0;
}

static rz_dataset *open_example(const char *name, bool changed)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s.bin", folder, name);
    return example_dataset(path, EXAMPLE_PATIENTS, changed);
}

/* Pretrains and fine-tunes as <folder>/<name>-base and -risk; the folders are then finished. */
static void train(rz_dataset *dataset, const char *name, const rz_finetune_options *finetune,
                  rz_head *head, rz_train_result *result)
{
    rz_error error = {0};
    char path[96];
    rz_run run;
    rz_train_result ignored;
    rz_checkpoint base;
    const rz_task task = example_task();
    rz_labels *labels = calloc(1, sizeof *labels);
    rz_pretrain_options pretrain = example_pretrain_options(30);
    (void)snprintf(path, sizeof path, "%s/%s-base", folder, name);
    check_ok(rz_run_open(&run, path, false, false, &error));
    check_ok(rz_pretrain(dataset, &run, NULL, &pretrain, NULL, NULL, &ignored, &error));
    check_ok(rz_run_finish(&run, &error));
    rz_run_close(&run);
    check_ok(rz_checkpoint_load(path, NULL, &base, &error));
    (void)snprintf(path, sizeof path, "%s/%s-risk", folder, name);
    check_ok(rz_run_open(&run, path, false, false, &error));
    check_ok(rz_finetune(dataset, &run, &base, &task, 1, finetune, head, labels, result, &error));
    check_ok(rz_run_finish(&run, &error));
    rz_run_close(&run);
    rz_labels_done(labels);
    free(labels);
    rz_model_free(base.model);
}

static rz_finetune_options finetune_options(uint64_t steps)
{
    rz_finetune_options o = rz_finetune_options_defaults();
    o.train.seed = 5;
    o.train.steps = steps;
    o.train.batch_tokens = 2000;
    o.train.learning_rate = 3e-3;
    o.train.evaluations = 6;
    return o;
}

static double metric(const rz_head *head, const char *name)
{
    return json_number_value(json_object_get(json_object_get(head->metrics, name), "value"));
}

static void learns_the_rule(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_dataset *dataset = open_example("rule", false);
    rz_head head = {0};
    rz_train_result result;
    const rz_finetune_options o = finetune_options(240);
    train(dataset, "rule", &o, &head, &result);
    /* E119 tells: three quarters against one in ten. Age and sex tell nothing. */
    if (!(metric(&head, "auroc") > 0.8))
        fail_msg("AUROC %.3f", metric(&head, "auroc"));
    check_near(head.calibration.prevalence, 0.26, 0.06);
    assert_true(result.best_loss < result.first_loss);
    rz_head read[RZ_HEADS_MAX];
    size_t n = 0;
    char path[96];
    (void)snprintf(path, sizeof path, "%s/rule-risk", folder);
    check_ok(rz_checkpoint_verify(path, &error));
    check_ok(rz_heads_read(path, read, &n, NULL, &error));
    assert_int_equal(n, 1);
    assert_string_equal(read[0].calibration.id, head.calibration.id);
    rz_head_done(&read[0]);
    rz_head_done(&head);
    rz_dataset_close(dataset);
}

/* Other histories of held-out patients: not one byte of the models changes. */
static void held_out_patients_change_nothing(void **state)
{
    (void)state;
    size_t n[2][3];
    char *bytes[2][3] = {{0}};
    static const char *const files[3] = {"base/model.safetensors", "risk/model.safetensors",
                                         "risk/tasks.json"};
    for (int changed = 0; changed < 2; changed++) {
        const char *name = changed ? "other" : "same";
        rz_dataset *dataset = open_example(name, changed);
        rz_head head = {0};
        rz_train_result result;
        const rz_finetune_options o = finetune_options(8);
        train(dataset, name, &o, &head, &result);
        for (int i = 0; i < 3; i++) {
            char path[128];
            (void)snprintf(path, sizeof path, "%s-%s", name, files[i]);
            bytes[changed][i] = example_read(folder, path, &n[changed][i]);
        }
        rz_head_done(&head);
        rz_dataset_close(dataset);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(n[0][i], n[1][i]);
        assert_memory_equal(bytes[0][i], bytes[1][i], n[0][i]);
        free(bytes[0][i]);
        free(bytes[1][i]);
    }
}

/* Of the rows without an outcome one for each with one is kept: the prior, and so the risks, are
 * still those of all rows. */
static void thinned_rows_stand_for_all(void **state)
{
    (void)state;
    rz_dataset *dataset = open_example("thin", false);
    rz_head heads[2];
    memset(heads, 0, sizeof heads);
    rz_train_result result;
    rz_finetune_options o = finetune_options(8);
    train(dataset, "all", &o, &heads[0], &result);
    o.train.steps = 160;
    o.negatives = 1.0;
    train(dataset, "thin", &o, &heads[1], &result);
    check_near(heads[1].calibration.training_prior, heads[0].calibration.training_prior, 1e-6);
    check_near(heads[0].calibration.training_prior, 0.26, 0.06);
    if (!(metric(&heads[1], "auroc") > 0.8))
        fail_msg("AUROC %.3f", metric(&heads[1], "auroc"));
    /* Early stopping compares losses under that prior: those of the untrained model, which says
     * the prior to everyone, are near its entropy. */
    check_near(result.first_loss, 0.573, 0.08);
    assert_true(result.best_loss < result.first_loss - 0.05);
    rz_head_done(&heads[0]);
    rz_head_done(&heads[1]);
    rz_dataset_close(dataset);
}

static void few_balanced_labels(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_dataset *dataset = open_example("few", false);
    rz_head head = {0};
    rz_train_result result;
    rz_finetune_options o = finetune_options(20);
    o.labels = 60;
    o.mix = RZ_MIX_BALANCED;
    train(dataset, "few", &o, &head, &result);
    check_near(head.calibration.training_prior, 0.5, 1e-12);
    check_near(head.calibration.prevalence, 0.26, 0.06); /* counted, and the only thing known */
    assert_int_equal(head.calibration.n_bins, 0);
    rz_head_done(&head);
    const rz_task task = example_task();
    rz_labels *labels = calloc(1, sizeof *labels);
    check_ok(rz_labels_build(dataset, &task, 1, (rz_split_rule){0}, 1, labels, &error));
    check_ok(rz_labels_draw(labels, &task, 60, RZ_MIX_BALANCED, 5, &error));
    rz_label_counts learnt = rz_labels_count(labels, 0, RZ_SPLIT_TRAIN);
    assert_int_equal(learnt.n, 60);
    assert_int_equal(learnt.positives, 30);
    assert_int_equal(rz_labels_count(labels, 0, RZ_SPLIT_TUNING).n, 0);
    unsigned dealt[RZ_CROSSFIT_PARTS][2] = {{0}};
    for (size_t r = 0; r < labels->n_rows; r++)
        if (labels->part[r] != RZ_PART_NONE)
            dealt[labels->rows[r].crossfit_part][labels->label[r] > 0.5f]++;
    for (unsigned k = 0; k < RZ_CROSSFIT_PARTS; k++)
        for (unsigned label = 0; label < 2; label++)
            assert_in_range(dealt[k][label], 7, 8);
    for (size_t r = 0; r < labels->n_rows; r++) /* none comes from another split */
        if (labels->part[r] != RZ_PART_NONE)
            assert_int_equal(labels->rows[r].split, RZ_SPLIT_TRAIN);
    rz_labels_done(labels);
    check_ok(rz_labels_build(dataset, &task, 1, (rz_split_rule){0}, 1, labels, &error));
    const rz_label_counts all = rz_labels_count(labels, 0, RZ_SPLIT_TRAIN);
    check_fails(rz_labels_draw(labels, &task, 600, RZ_MIX_BALANCED, 5, &error), RZ_E_INVALID,
                "positives to learn from, not 300");
    rz_labels_done(labels);
    /* Enriched, all positives there are when half would be more, else half. */
    const size_t asked[] = {60, 2 * all.positives + 40};
    for (size_t i = 0; i < 2; i++) {
        check_ok(rz_labels_build(dataset, &task, 1, (rz_split_rule){0}, 1, labels, &error));
        check_ok(rz_labels_draw(labels, &task, asked[i], RZ_MIX_ENRICHED, 5, &error));
        learnt = rz_labels_count(labels, 0, RZ_SPLIT_TRAIN);
        assert_int_equal(learnt.n, asked[i]);
        assert_int_equal(learnt.positives, i == 0 ? 30 : all.positives);
        rz_labels_done(labels);
    }
    check_ok(rz_labels_build(dataset, &task, 1, (rz_split_rule){0}, 1, labels, &error));
    check_fails(rz_labels_draw(labels, &task, all.n + 1, RZ_MIX_ENRICHED, 5, &error), RZ_E_INVALID,
                "negatives to learn from");
    rz_labels_done(labels);
    free(labels);
    rz_dataset_close(dataset);
}

/* Tuning patients have several days to stop and calibrate by, and count once. */
static void tuning_patients_have_more_days(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_dataset *dataset = open_example("days", false);
    const rz_task task = example_task();
    rz_labels once, more;
    check_ok(rz_labels_build(dataset, &task, 1, (rz_split_rule){0}, 1, &once, &error));
    check_ok(rz_labels_build(dataset, &task, 1, (rz_split_rule){0}, 6, &more, &error));
    size_t again = 0, tuned = 0;
    for (size_t r = 0; r < more.n_rows; r++) {
        again += more.part[r] == RZ_PART_AGAIN;
        tuned += rz_part_tunes(more.part[r]);
        if (more.part[r] == RZ_PART_AGAIN)
            assert_int_equal(more.rows[r].split, RZ_SPLIT_TUNING);
    }
    const rz_label_counts tuning = rz_labels_count(&once, 0, RZ_SPLIT_TUNING);
    assert_int_equal(rz_labels_count(&more, 0, RZ_SPLIT_TUNING).n, tuning.n);
    assert_int_equal(rz_labels_count(&more, 0, RZ_SPLIT_TUNING).positives, tuning.positives);
    assert_true(again > 0);
    assert_int_equal(tuned, tuning.n + again);
    assert_true(rz_labels_count(&more, 0, RZ_SPLIT_TRAIN).n >
                rz_labels_count(&once, 0, RZ_SPLIT_TRAIN).n);
    rz_labels_done(&once);
    rz_labels_done(&more);

    rz_head head = {0};
    rz_train_result result;
    rz_finetune_options o = finetune_options(20);
    o.draws = 6;
    train(dataset, "days", &o, &head, &result);
    assert_int_equal(head.calibration.tuning_n, tuning.n);
    assert_int_equal(head.calibration.tuning_positives, tuning.positives);
    assert_int_equal(json_integer_value(json_object_get(head.metrics, "n")), tuning.n);
    rz_head_done(&head);
    rz_dataset_close(dataset);
}

/* All labels without a tuning part: each counts once, out of fold, under its own prior. */
static void all_labels_out_of_fold(void **state)
{
    (void)state;
    rz_dataset *dataset = open_example("crossfit", false);
    rz_head head = {0};
    rz_train_result result;
    rz_finetune_options o = finetune_options(120);
    o.crossfit = true;
    train(dataset, "crossfit", &o, &head, &result);
    assert_in_range(head.calibration.tuning_n, EXAMPLE_PATIENTS * 3 / 4, EXAMPLE_PATIENTS);
    check_near(head.calibration.training_prior, 0.26, 0.06);
    check_near(head.calibration.prevalence, head.calibration.training_prior, 1e-6);
    assert_string_equal(json_string_value(json_object_get(head.metrics, "sample")), "as they come");
    if (!(metric(&head, "auroc") > 0.75))
        fail_msg("AUROC %.3f", metric(&head, "auroc"));
    rz_head_done(&head);
    rz_dataset_close(dataset);
}

/* 100 balanced labels and the known prevalence: risks of patients that the run has not seen are
 * neither too high nor too sure. */
static void few_labels_are_calibrated(void **state)
{
    (void)state;
    enum { PATIENTS = 2000 };
    rz_error error = {0};
    char path[96];
    (void)snprintf(path, sizeof path, "%s/fresh.bin", folder);
    rz_dataset *dataset = example_dataset(path, PATIENTS, false);
    rz_head head = {0};
    rz_train_result result;
    rz_checkpoint model;
    rz_scored scored = {0};
    const rz_task task = example_task();
    rz_labels *labels = calloc(1, sizeof *labels), *drawn = calloc(1, sizeof *drawn);
    rz_finetune_options o = finetune_options(300);
    o.train.batch_tokens = 500;
    o.train.learning_rate = 5e-3;
    o.labels = 100;
    o.mix = RZ_MIX_BALANCED;
    train(dataset, "fresh", &o, &head, &result);
    (void)snprintf(path, sizeof path, "%s/fresh-risk", folder);
    check_ok(rz_checkpoint_load(path, NULL, &model, &error));
    check_ok(rz_labels_build(dataset, &task, 1, (rz_split_rule){0}, 1, labels, &error));
    check_ok(rz_labels_build(dataset, &task, 1, (rz_split_rule){0}, 1, drawn, &error));
    check_ok(rz_labels_draw(drawn, &task, o.labels, true, o.train.seed, &error));
    for (size_t r = 0; r < labels->n_rows; r++)
        labels->part[r] = drawn->part[r] == RZ_PART_NONE ? RZ_SPLIT_TUNING : RZ_PART_NONE;
    check_ok(rz_labels_score(model.model, dataset, labels, RZ_SPLIT_TUNING, false, 4096, NULL,
                             &scored, &error));
    double *x = malloc(scored.n * sizeof *x), *weight = malloc(scored.n * sizeof *weight);
    uint8_t *label = malloc(scored.n);
    double mean = 0.0, positives = 0.0, intercept, slope;
    assert_in_range(scored.n, PATIENTS / 2, PATIENTS);
    for (size_t i = 0; i < scored.n; i++) {
        rz_calibrated risk;
        rz_calibration_apply(&head.calibration, (double)scored.logit[i], &risk);
        x[i] = rz_logit(risk.probability);
        label[i] = labels->label[scored.row[i]] > 0.5f;
        weight[i] = 1.0;
        mean += risk.probability;
        positives += label[i];
    }
    check_ok(rz_logistic_fit(x, label, weight, scored.n, &intercept, &slope, &error));
    double ratio = mean / positives;
    if (!(ratio > 1.0 / 1.5 && ratio < 1.5 && slope > 0.5 && slope < 2.0))
        fail_msg("predicted / observed %.3f, slope %.3f", ratio, slope);
    assert_int_equal(head.calibration.tuning_n, 100); /* all labels calibrate, out of fold */
    assert_int_equal(head.calibration.tuning_positives, 50);
    free(x);
    free(weight);
    free(label);
    rz_scored_done(&scored);
    rz_labels_done(labels);
    rz_labels_done(drawn);
    free(labels);
    free(drawn);
    rz_head_done(&head);
    rz_model_free(model.model);
    rz_dataset_close(dataset);
}

static void folds_cover_everyone_once(void **state)
{
    (void)state;
    for (uint64_t hash = 1; hash < 500; hash++) {
        int held_out = 0;
        for (unsigned fold = 0; fold < 5; fold++)
            held_out += rz_split_by((rz_split_rule){5, fold}, hash * 0x9e3779b97f4a7c15) ==
                        RZ_SPLIT_HELD_OUT;
        assert_int_equal(held_out, 1);
    }
}

/* The shares that a model records of its splits are those that patients get. */
static void shares_are_as_recorded(void **state)
{
    (void)state;
    enum { PATIENTS = 20000 };
    unsigned recorded[3], seen[3] = {0};
    char text[RZ_SPLIT_TEXT];
    rz_split_rule_text((rz_split_rule){0}, text);
    assert_int_equal(sscanf(text, "%u/%u/%u", &recorded[0], &recorded[1], &recorded[2]), 3);
    for (uint64_t hash = 1; hash <= PATIENTS; hash++)
        seen[rz_split_by((rz_split_rule){0}, hash * 0x9e3779b97f4a7c15)]++;
    for (int s = RZ_SPLIT_TRAIN; s <= RZ_SPLIT_HELD_OUT; s++)
        check_near(100.0 * seen[s] / PATIENTS, recorded[s], 1.0);
    rz_split_rule_text((rz_split_rule){.n_folds = 5, .fold = 1}, text);
    assert_string_equal(text, "fold 2/5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(learns_the_rule),
                                       cmocka_unit_test(held_out_patients_change_nothing),
                                       cmocka_unit_test(thinned_rows_stand_for_all),
                                       cmocka_unit_test(few_balanced_labels),
                                       cmocka_unit_test(tuning_patients_have_more_days),
                                       cmocka_unit_test(all_labels_out_of_fold),
                                       cmocka_unit_test(few_labels_are_calibrated),
                                       cmocka_unit_test(folds_cover_everyone_once),
                                       cmocka_unit_test(shares_are_as_recorded)};
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
