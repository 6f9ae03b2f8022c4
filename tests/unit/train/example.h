/* A small record made by rule and a model small enough for thousands of steps: what the tests of
 * training share. A quarter of the patients has E119; three quarters of these and one in ten of the
 * others get N189 from month 24 on, a year after any index day. */
#ifndef RZ_TESTS_TRAIN_EXAMPLE_H
#define RZ_TESTS_TRAIN_EXAMPLE_H

#include "check.h"

#include "base/file.h"
#include "base/rng.h"
#include "train/finetune.h"
#include "train/pretrain.h"

enum { EXAMPLE_PATIENTS = 1000, EXAMPLE_MONTHS = 36, EXAMPLE_EVENTS = 4 * EXAMPLE_MONTHS };

/* changed_held_out  makes other histories for held-out patients, and only for them */
static inline rz_dataset *example_dataset(const char *path, size_t patients, bool changed_held_out)
{
    static const char *const diagnoses[] = {"I10", "E780", "K219", "M545", "J459", "H269"};
    static const char *const medications[] = {"2171022F1029", "2149039F1023", "3962002F2027"};
    static const char sha256[RZ_SHA256_TEXT] =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    rz_error error = {0};
    rz_dataset_writer *writer = NULL;
    rz_dataset *dataset = NULL;
    check_ok(rz_dataset_writer_open(path, sha256, &writer, &error));
    for (size_t p = 0; p < patients; p++) {
        rz_timeline_event events[EXAMPLE_EVENTS + 1];
        rz_claim_day days[EXAMPLE_MONTHS];
        char id[32];
        size_t n = 0;
        (void)snprintf(id, sizeof id, "p%zu", p);
        uint64_t hash = rz_patient_hash("H001", id);
        bool held_out = rz_split_of(hash, RZ_COHORT_SEED) == RZ_SPLIT_HELD_OUT;
        rz_rng rng;
        rz_rng_init(&rng, changed_held_out && held_out ? 77 : 7, hash);
        bool diabetes = rz_rng_below(&rng, 4) == 0;
        bool kidney = rz_rng_uniform(&rng) < (diabetes ? 0.75 : 0.1);
        for (int32_t m = 0; m < EXAMPLE_MONTHS; m++) {
            int32_t day = 18000 + 30 * m;
            const rz_timeline_event base = {.day = day,
                                            .known_day = day + 10,
                                            .value = NAN,
                                            .kind = RZ_KIND_DIAGNOSIS,
                                            .system = RZ_SYSTEM_ICD10};
            days[m] = (rz_claim_day){day + 10, 18000 + 30 * EXAMPLE_MONTHS, 0};
            events[n] = base;
            events[n++].code = diagnoses[rz_rng_below(&rng, 6)];
            if (diabetes && m % 6 == 0) {
                events[n] = base;
                events[n++].code = "E119";
            }
            if (kidney && m >= EXAMPLE_MONTHS - 12) {
                events[n] = base;
                events[n++].code = "N189";
            }
            if (rz_rng_below(&rng, 3) == 0) {
                events[n] = base;
                events[n].kind = RZ_KIND_MEDICATION;
                events[n].system = RZ_SYSTEM_YJ;
                events[n++].code = medications[rz_rng_below(&rng, 3)];
            }
        }
        const rz_timeline timeline = {.patient = (int64_t)p + 1,
                                      .hash = hash,
                                      .sex = p % 2 == 0 ? RZ_SEX_FEMALE : RZ_SEX_MALE,
                                      .birth_day = -10000 + (int32_t)(rz_rng_below(&rng, 15000)),
                                      .n_events = n,
                                      .events = events};
        check_ok(rz_dataset_writer_add(writer, &timeline, days, EXAMPLE_MONTHS, &error));
    }
    check_ok(rz_dataset_writer_finish(writer, &error));
    check_ok(rz_dataset_open(path, &dataset, &error));
    return dataset;
}

static inline rz_config example_config(void)
{
    rz_error error = {0};
    rz_config config;
    check_ok(rz_family_find("encoder")->config_for_size("2.2m", &config, &error));
    (void)snprintf(config.size, sizeof config.size, "custom");
    config.hidden = 16;
    config.heads = 2;
    config.layers = 1;
    config.feed_forward = 16;
    config.age_hidden = 16;
    config.context = 64;
    return config;
}

static inline rz_pretrain_options example_pretrain_options(uint64_t steps)
{
    rz_pretrain_options o = {
        .config = example_config(), .tuning_tokens = 500, .train = rz_train_options_defaults()};
    o.train.seed = 3;
    o.train.steps = steps;
    o.train.batch_tokens = 400;
    o.train.part_tokens = 200; /* two packed batches a step */
    o.train.evaluations = 4;
    o.train.learning_rate = 5e-3;
    return o;
}

static inline rz_task example_task(void)
{
    rz_task task = {.name = "ckd",
                    .kind = RZ_KIND_DIAGNOSIS,
                    .title_en = "Chronic kidney disease",
                    .title_ja = "CKD",
                    .n_outcomes = 1,
                    .age_max = 130,
                    .min_history_days = 365,
                    .horizon_days = 365};
    task.outcomes[0] = (rz_task_prefix){RZ_SYSTEM_ICD10, "N18"};
    return task;
}

/* A file's bytes as text; free() it. */
static inline char *example_read(const char *folder, const char *name, size_t *length)
{
    rz_error error = {0};
    char path[256], *data = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    check_ok(rz_file_read(path, 1 << 26, &data, length, &error));
    return data;
}

/* The log without the columns that tell of time (the last four). */
static inline char *example_losses(const char *folder)
{
    char *log = example_read(folder, "log.csv", NULL), *out = log;
    for (const char *line = log; *line != '\0';) {
        size_t n = strcspn(line, "\n"), fields = 0, kept = n;
        while (kept > 0 && fields < 4)
            fields += line[--kept] == ',';
        memmove(out, line, kept);
        out += kept;
        *out++ = '\n';
        line += n + (line[n] == '\n');
    }
    *out = '\0';
    return log;
}

#endif
