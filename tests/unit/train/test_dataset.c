#include "check.h"
#include "folder.h"

#include "base/file.h"
#include "tasks/task.h"
#include "train/dataset.h"

#include <unistd.h>

static char folder[] = "/tmp/rezept-dataset-XXXXXX", path[64];
static const char sha256[RZ_SHA256_TEXT] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static int make_folder(void **state)
{
    (void)state;
    if (temp_folder(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/cache.bin", folder);
    return 0;
}

/* Day, known day, kind: two labs of which only the first decides a first day of record. */
static const rz_timeline_event events[] = {
    {10, 40, RZ_KIND_LAB, RZ_SYSTEM_LOINC, RZ_SETTING_OUTPATIENT, 0, 1.0f, "4548-4"},
    {20, 50, RZ_KIND_LAB, RZ_SYSTEM_LOINC, RZ_SETTING_OUTPATIENT, 0, 1.0f, "4548-4"},
    {20, 30, RZ_KIND_ENCOUNTER, RZ_SYSTEM_LOCAL, RZ_SETTING_INPATIENT, 0, NAN, "visit"},
    {30, 60, RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, RZ_SETTING_INPATIENT, 0, NAN, "N189"},
    {31, 60, RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, RZ_SETTING_PHARMACY, 0, 30.0f, "2171022F1029"},
    {40, 70, RZ_KIND_PROCEDURE, RZ_SYSTEM_CPT, RZ_SETTING_INPATIENT, 0, NAN, "99213"},
    {90, 99, RZ_KIND_DEATH, RZ_SYSTEM_LOCAL, RZ_SETTING_INPATIENT, 0, NAN, "death"},
};
enum { N_EVENTS = sizeof events / sizeof events[0] };
static const rz_claim_day claim_days[] = {{60, 900, 0}, {70, 901, 1}};

static void write_cache(size_t patients)
{
    rz_error error = {0};
    rz_dataset_writer *writer = NULL;
    check_ok(rz_dataset_writer_open(path, sha256, &writer, &error));
    for (size_t i = 0; i < patients; i++) {
        const rz_timeline timeline = {.patient = (int64_t)i + 1,
                                      .hash = 1000 + i,
                                      .sex = RZ_SEX_FEMALE,
                                      .birth_day = i == 1 ? RZ_DAY_NONE : -9000,
                                      .n_events = i == 2 ? 0 : N_EVENTS,
                                      .events = events};
        check_ok(rz_dataset_writer_add(writer, &timeline, claim_days, i == 2 ? 0 : 2, &error));
    }
    check_ok(rz_dataset_writer_finish(writer, &error));
}

/* A task that requires the code, of whatever kind, finds it from the same day as in the store. */
static void check_required(const rz_timeline *timeline, rz_code_system system, const char *prefix,
                           int32_t known_from)
{
    rz_task task = {.kind = RZ_KIND_DIAGNOSIS, .n_required = 1};
    const rz_timeline whole = {.n_events = N_EVENTS, .events = events};
    rz_task_facts kept, stored;
    task.required[0].system = system;
    (void)snprintf(task.required[0].prefix, sizeof task.required[0].prefix, "%s", prefix);
    rz_task_facts_of(&task, timeline, &kept);
    rz_task_facts_of(&task, &whole, &stored);
    assert_int_equal(stored.required_from, known_from);
    assert_int_equal(kept.required_from, known_from);
}

static void what_matters_comes_back(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_dataset *dataset = NULL;
    rz_arena arena;
    rz_timeline *timeline;
    const rz_claim_day *days;
    size_t n_days;
    write_cache(3);
    rz_arena_init(&arena, 1 << 20);
    check_ok(rz_dataset_open(path, &dataset, &error));
    assert_int_equal(rz_dataset_patients(dataset), 3);
    assert_string_equal(rz_dataset_sha256(dataset), sha256);
    check_ok(rz_dataset_timeline(dataset, 1, &arena, &timeline, &days, &n_days, &error));
    assert_int_equal(timeline->patient, 2);
    assert_int_equal(timeline->hash, 1001);
    assert_int_equal(timeline->birth_day, RZ_DAY_NONE);
    assert_int_equal(timeline->sex, RZ_SEX_FEMALE);
    assert_int_equal(timeline->n_events, 6); /* the second lab is left out */
    assert_string_equal(timeline->events[2].code, "N189");
    assert_int_equal(timeline->events[3].known_day, 60);
    assert_int_equal(timeline->events[3].setting, RZ_SETTING_PHARMACY);
    assert_int_equal(n_days, 2);
    assert_int_equal(days[1].data_end_day, 901);
    assert_int_equal(days[1].facility, 1);
    /* The first day of record is the store's for every as_of. */
    const rz_timeline whole = {.n_events = N_EVENTS, .events = events};
    for (int32_t day = 0; day < 120; day++)
        assert_int_equal(rz_timeline_first_day(timeline, day), rz_timeline_first_day(&whole, day));
    check_required(timeline, RZ_SYSTEM_CPT, "992", 70);
    check_required(timeline, RZ_SYSTEM_LOINC, "4548", 40);
    check_required(timeline, RZ_SYSTEM_LOCAL, "visit", 30);
    check_ok(rz_dataset_timeline(dataset, 2, &arena, &timeline, NULL, NULL, &error));
    assert_int_equal(timeline->n_events, 0);
    rz_dataset_close(dataset);
    rz_arena_done(&arena);
}

/* Every byte of the file matters: one changed anywhere is noticed, at open or at reading. */
static void changed_bytes_are_noticed(void **state)
{
    (void)state;
    rz_error error = {0};
    char *bytes = NULL;
    size_t length;
    write_cache(2);
    check_ok(rz_file_read(path, 1 << 20, &bytes, &length, &error));
    for (size_t at = 0; at < length; at++) {
        rz_dataset *dataset = NULL;
        rz_arena arena;
        rz_timeline *timeline;
        rz_status status = RZ_OK;
        rz_arena_init(&arena, 1 << 20);
        bytes[at] ^= 0x21;
        FILE *file = fopen(path, "wb");
        assert_int_equal(fwrite(bytes, 1, length, file), length);
        (void)fclose(file);
        rz_error_clear(&error);
        status = rz_dataset_open(path, &dataset, &error);
        bool same_hash = status == RZ_OK && strcmp(rz_dataset_sha256(dataset), sha256) == 0;
        for (size_t i = 0; status == RZ_OK && i < rz_dataset_patients(dataset); i++)
            status = rz_dataset_timeline(dataset, i, &arena, &timeline, NULL, NULL, &error);
        /* Past its NUL the hash's own field is padding. */
        bool padding = at >= length - 16 + 1 && at < length - 8;
        if (status == RZ_OK && same_hash && !padding)
            fail_msg("byte %zu of %zu", at, length);
        bytes[at] ^= 0x21;
        rz_dataset_close(dataset);
        rz_arena_done(&arena);
    }
    free(bytes);
}

static void cut_files_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_dataset *dataset = NULL;
    char *bytes = NULL;
    size_t length;
    write_cache(2);
    check_ok(rz_file_read(path, 1 << 20, &bytes, &length, &error));
    for (size_t cut = 0; cut < length; cut += 7) {
        check_ok(rz_file_write(path, bytes, cut, &error));
        assert_int_not_equal(rz_dataset_open(path, &dataset, NULL), RZ_OK);
    }
    free(bytes);
    check_fails(rz_dataset_open("/nowhere/cache", &dataset, &error), RZ_E_NOT_FOUND, "/nowhere");
}

static void an_abandoned_writer_leaves_nothing(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_dataset_writer *writer = NULL;
    (void)unlink(path);
    check_ok(rz_dataset_writer_open(path, sha256, &writer, &error));
    rz_dataset_writer_abort(writer);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_matters_comes_back),
                                       cmocka_unit_test(changed_bytes_are_noticed),
                                       cmocka_unit_test(cut_files_are_refused),
                                       cmocka_unit_test(an_abandoned_writer_leaves_nothing)};
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
