/* Pretraining learns which codes go together, beyond how often each occurs, at the rates it picks
 * itself; and no step of it turns all ages into others. */
#include "example.h"

#include "base/size.h"
#include "folder.h"

#include <math.h>

enum { KINDS = 6, CODES = 6, CODES_ALL = KINDS * CODES, EVENTS = 24, PATIENTS = 700 };

static char folder[] = "/tmp/rezept-pretrain-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return temp_folder(folder) == NULL ? -1 : 0;
}

/* A patient is of one of six kinds; a kind has six codes of its own, drawn evenly. So a code alone
 * is worth ln 36 = 3.58, and ln 6 = 1.79 to who reads the rest of the history. */
static void fill(rz_timeline *timeline, rz_timeline_event *events, uint64_t patient)
{
    static char codes[CODES_ALL][8];
    rz_rng rng;
    rz_rng_init(&rng, 11, patient);
    uint32_t kind = rz_rng_below(&rng, KINDS);
    for (size_t e = 0; e < EVENTS; e++) {
        uint32_t code = kind * CODES + rz_rng_below(&rng, CODES);
        (void)snprintf(codes[code], sizeof codes[code], "%c%02u", 'A' + (int)kind, code);
        int32_t day = 18000 + 30 * (int32_t)e;
        events[e] = (rz_timeline_event){.day = day,
                                        .known_day = day,
                                        .value = NAN,
                                        .kind = RZ_KIND_DIAGNOSIS,
                                        .system = RZ_SYSTEM_ICD10,
                                        .code = codes[code]};
    }
    *timeline = (rz_timeline){.patient = (int64_t)patient + 1,
                              .hash = patient * UINT64_C(0x9e3779b97f4a7c15),
                              .sex = patient % 2 == 0 ? RZ_SEX_FEMALE : RZ_SEX_MALE,
                              .birth_day = (int32_t)rz_rng_below(&rng, 15000) - 12000,
                              .n_events = EVENTS,
                              .events = events};
}

static rz_dataset *kinds_dataset(const char *name)
{
    static const char sha256[RZ_SHA256_TEXT] =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    rz_error error = {0};
    rz_dataset_writer *writer = NULL;
    rz_dataset *dataset = NULL;
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s.bin", folder, name);
    check_ok(rz_dataset_writer_open(path, sha256, &writer, &error));
    for (uint64_t p = 0; p < PATIENTS; p++) {
        rz_timeline timeline;
        rz_timeline_event events[EVENTS];
        const rz_claim_day day = {18000, 20000, 0};
        fill(&timeline, events, p);
        check_ok(rz_dataset_writer_add(writer, &timeline, &day, 1, &error));
    }
    check_ok(rz_dataset_writer_finish(writer, &error));
    check_ok(rz_dataset_open(path, &dataset, &error));
    return dataset;
}

static void learn(rz_dataset *dataset, rz_norm norm, uint64_t steps)
{
    rz_error error = {0};
    char path[96];
    rz_run run;
    rz_train_result result;
    rz_pretrain_options o = {
        .config = example_config(), .tuning_tokens = 3000, .train = rz_train_options_defaults()};
    o.config.hidden = 32;
    o.config.layers = 2;
    o.config.heads = 4;
    o.config.feed_forward = 64;
    o.config.age_hidden = 64;
    o.config.norm = norm;
    o.train.seed = 3;
    o.train.steps = steps;
    o.train.batch_tokens = 1000;
    o.train.evaluations = 4;
    (void)snprintf(path, sizeof path, "%s/%s", folder, norm == RZ_NORM_PRE ? "pre" : "post");
    check_ok(rz_run_open(&run, path, false, false, &error));
    check_ok(rz_pretrain(dataset, &run, NULL, &o, NULL, NULL, &result, &error));
    rz_run_close(&run);
    print_message("# norm %d: tuning loss %.3f before, %.3f after %llu steps\n", norm,
                  result.first_loss, result.best_loss, (unsigned long long)result.steps);
    if (!(result.best_loss < log(CODES_ALL) - 0.7))
        fail_msg("norm %d: loss %.3f; how often codes occur is worth %.3f", norm, result.best_loss,
                 log(CODES_ALL));
}

static void learns_what_goes_together(void **state)
{
    (void)state;
    rz_dataset *dataset = kinds_dataset("kinds");
    learn(dataset, RZ_NORM_POST, 300);
    learn(dataset, RZ_NORM_PRE, 120);
    rz_dataset_close(dataset);
}

static double change(const float *a, const float *b, size_t n)
{
    double difference = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / size);
}

/* AdamW moves every weight of an age's many columns by the whole rate, all in one direction. The
 * states, which every token's age goes into, must hardly notice. */
static void a_step_of_the_ages_changes_little(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary *vocabulary = NULL;
    rz_model *model = NULL;
    rz_batch batch = {0}, hidden = {0};
    rz_targets targets = {0};
    rz_scratch *scratch = NULL;
    rz_outputs outputs;
    rz_losses losses;
    rz_config config;
    rz_optimizer optimizer;
    rz_timeline timelines[8];
    rz_timeline_event events[8][EVENTS];
    const rz_timeline *list[8];
    int32_t as_of[8];
    double norm;
    float rates[128], before[8 * 128];
    const rz_family *family = rz_family_find("encoder");
    check_ok(family->config_for_size("2.2m", &config, &error));
    check_ok(rz_vocabulary_synthetic(CODES_ALL, &vocabulary, &error));
    config.pooling = RZ_POOLING_MEAN;
    config.norm = RZ_NORM_PRE;
    check_ok(rz_model_new(&config, vocabulary, NULL, 0, 3, NULL, &model, &error));
    for (size_t i = 0; i < 8; i++) {
        fill(&timelines[i], events[i], i);
        for (size_t e = 0; e < EVENTS; e++) {
            const rz_vocabulary_entry *entry = &vocabulary->entries[(5 * i + e * e) % CODES_ALL];
            events[i][e].kind = (uint8_t)entry->kind;
            events[i][e].system = (uint8_t)entry->system;
            events[i][e].code = entry->code;
        }
        list[i] = &timelines[i];
        as_of[i] = 20000;
    }
    check_ok(family->batch_build(model, list, as_of, 8, &batch, &error));
    check_ok(family->batch_build(model, list, as_of, 8, &hidden, &error));
    check_ok(family->pretrain_targets(model, &hidden, 1, 1, &targets, &error));
    targets.diagnosis_weight = targets.medication_weight = targets.age_weight = 0.01f;
    check_ok(family->scratch_new(model, &scratch, &error));
    check_ok(family->forward(model, &batch, &outputs, scratch, &error));
    memcpy(before, outputs.pooled, sizeof before);
    float *grads = calloc(model->n_parameters, sizeof *grads);
    check_ok(family->train(model, &hidden, &targets, grads, &losses, scratch, &error));
    assert_true(model->n_tensors <= RZ_COUNT(rates));
    for (size_t i = 0; i < model->n_tensors; i++)
        rates[i] = strncmp(model->tensors[i].name, "age.", 4) == 0 ? model->tensors[i].rate : 0.0f;
    const rz_optimizer_options options = rz_optimizer_options_defaults();
    check_ok(rz_optimizer_init(&optimizer, model, rates, &options, &error));
    check_ok(rz_optimizer_update(&optimizer, model, grads, rz_learning_rate_default(&config), &norm,
                                 &error));
    check_ok(family->forward(model, &batch, &outputs, scratch, &error));
    double moved = change(outputs.pooled, before, RZ_COUNT(before));
    print_message("# one step of the ages moves the pooled states by %.1f %%\n", 100.0 * moved);
    if (!(moved > 0.001 && moved < 0.1))
        fail_msg("one step of the ages moves the pooled states by %.1f %%", 100.0 * moved);
    rz_optimizer_done(&optimizer);
    free(grads);
    family->scratch_free(scratch);
    rz_batch_done(&batch);
    rz_batch_done(&hidden);
    rz_targets_done(&targets);
    rz_model_free(model);
    rz_vocabulary_free(vocabulary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(learns_what_goes_together),
                                       cmocka_unit_test(a_step_of_the_ages_changes_little)};
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
