/* The packed copy of a store, and which facilities' patients are in it. */
#include "check.h"
#include "folder.h"

#include "model/vocabulary.h"
#include "tasks/cohort.h"
#include "train/dataset.h"

static char folder[] = "/tmp/rezept-copy-XXXXXX", cache[64];

enum { PATIENTS = 12 /* of each facility */ };

static int make_folder(void **state)
{
    (void)state;
    if (temp_folder(folder) == NULL)
        return -1;
    (void)snprintf(cache, sizeof cache, "%s/cache.bin", folder);
    return 0;
}

static rz_store *open_store(const char *name, bool write, bool shared)
{
    char path[128];
    rz_error error = {0};
    rz_store *store = NULL;
    rz_store_options options = rz_store_options_defaults();
    options.write = write;
    options.shared_patient_ids = shared;
    (void)snprintf(path, sizeof path, "%s/%s.db", folder, name);
    check_ok(rz_store_open(path, &options, &store, &error));
    return store;
}

static void put(rz_store *store, const char *facility, const char *patient, const char *code)
{
    char id[64];
    rz_error error = {0};
    rz_put_outcome outcome;
    for (int month = 0; month < 30; month++) {
        const int32_t day = 18000 + 30 * month;
        const rz_event event = {.day = day,
                                .known_day = day,
                                .kind = RZ_KIND_DIAGNOSIS,
                                .system = RZ_SYSTEM_ICD10,
                                .code = month % 2 ? code : "I10",
                                .value = NAN};
        (void)snprintf(id, sizeof id, "%s-%d", patient, month);
        const rz_claim claim = {.claim_id = id,
                                .facility = facility,
                                .patient_id = patient,
                                .sex = RZ_SEX_FEMALE,
                                .birth_day = -5000,
                                .setting = RZ_SETTING_OUTPATIENT,
                                .start_day = day,
                                .end_day = day,
                                .known_day = day,
                                .events = &event,
                                .n_events = 1};
        check_ok(rz_store_put(store, &claim, &outcome, &error));
    }
}

/* Facilities H1, H2 and H3 with as many patients each; only H3 codes G35. */
static rz_store *three_facilities(const char *name, bool shared)
{
    rz_error error = {0};
    rz_store *store = open_store(name, true, shared);
    check_ok(rz_store_begin(store, &error));
    for (int i = 0; i < PATIENTS; i++)
        for (int h = 1; h <= 3; h++) {
            char facility[8], patient[16];
            (void)snprintf(facility, sizeof facility, "H%d", h);
            (void)snprintf(patient, sizeof patient, "p%d-%d", h, i);
            put(store, facility, patient, h == 3 ? "G35" : "E119");
        }
    if (shared) /* somebody of H1 goes to H3 as well */
        put(store, "H3", "p1-0", "G35");
    check_ok(rz_store_commit(store, &error));
    return store;
}

static rz_facilities select(const char *list, bool without)
{
    rz_error error = {0};
    rz_facilities f;
    check_ok(rz_facilities_read(list, without, &f, &error));
    return f;
}

/* Copies, and counts what is there; the vocabulary is made of every copied patient. */
static size_t copy(rz_store *store, const rz_facilities *facilities, bool *knows_g35)
{
    rz_error error = {0};
    rz_dataset *dataset = NULL;
    rz_vocabulary_builder *builder = NULL;
    rz_vocabulary *vocabulary = NULL;
    rz_arena arena;
    rz_arena_init(&arena, 1 << 20);
    check_ok(rz_dataset_copy(store, cache, facilities, NULL, &error));
    check_ok(rz_dataset_open(cache, &dataset, &error));
    check_ok(rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, &error));
    size_t n = rz_dataset_patients(dataset), coded = 0;
    for (size_t i = 0; i < n; i++) {
        rz_timeline *timeline;
        rz_arena_reset(&arena);
        check_ok(rz_dataset_timeline(dataset, i, &arena, &timeline, NULL, NULL, &error));
        check_ok(rz_vocabulary_builder_add(builder, timeline, &error));
        for (size_t k = 0; k < timeline->n_events; k++)
            coded += strcmp(timeline->events[k].code, "G35") == 0;
    }
    check_ok(rz_vocabulary_builder_finish(builder, 1, &vocabulary, &error));
    const rz_timeline_event g35 = {
        .kind = RZ_KIND_DIAGNOSIS, .system = RZ_SYSTEM_ICD10, .code = "G35"};
    *knows_g35 = rz_vocabulary_token(vocabulary, &g35) >= RZ_TOKEN_SPECIALS;
    assert_true(*knows_g35 == (coded > 0));
    rz_vocabulary_free(vocabulary);
    rz_vocabulary_builder_free(builder);
    rz_dataset_close(dataset);
    rz_arena_done(&arena);
    return n;
}

static void left_out_facilities_are_not_in_the_copy(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool without;
        size_t n, n_shared; /* patients where ids belong to facilities, and where they are shared */
        bool knows_g35;
    } rows[] = {{NULL, false, 3 * PATIENTS, 3 * PATIENTS, true},
                {"H3", true, 2 * PATIENTS, 2 * PATIENTS - 1, false},
                {"H3", false, PATIENTS, PATIENTS + 1, true},
                {"H1,H2", false, 2 * PATIENTS, 2 * PATIENTS, false},
                {"H1,H2", true, PATIENTS, PATIENTS, true}};
    for (int shared = 0; shared < 2; shared++) {
        rz_store *store = three_facilities(shared ? "shared" : "own", shared != 0);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const rz_facilities f = select(rows[i].list, rows[i].without);
            bool knows = false;
            size_t n = copy(store, &f, &knows);
            assert_int_equal(n, shared ? rows[i].n_shared : rows[i].n);
            /* Shared, H1 and H2 have the one patient who goes to H3 as well. */
            assert_true(knows == (rows[i].knows_g35 || (shared && i == 3)));
            rz_error error = {0};
            const rz_task task = {
                .name = "any", .n_outcomes = 0, .min_history_days = 365, .horizon_days = 365};
            rz_cohort cohort = {0};
            check_ok(rz_cohort_build(store, &task, 1, &(rz_cohort_options){.facilities = &f}, NULL,
                                     &cohort, &error));
            assert_int_equal(cohort.passed[RZ_ATTRITION_PATIENTS], n);
            rz_cohort_done(&cohort);
        }
        rz_store_close(store);
    }
}

static void facilities_that_are_not_there_are_named(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_cohort cohort = {0};
    const rz_task task = {.name = "any"};
    rz_store *store = three_facilities("named", false);
    const rz_facilities wrong = select("H2,H9", true), all = select("H1,H2,H3", true),
                        every = select("H1,H2,H3", false);
    check_fails(rz_dataset_copy(store, cache, &wrong, NULL, &error), RZ_E_NOT_FOUND,
                "no facility H9");
    check_fails(rz_store_check_facilities(store, &wrong, &error), RZ_E_NOT_FOUND,
                "there are H1, H2, H3");
    check_fails(rz_cohort_build(store, &task, 1, &(rz_cohort_options){.facilities = &wrong}, NULL,
                                &cohort, &error),
                RZ_E_NOT_FOUND, "no facility H9");
    check_fails(rz_dataset_copy(store, cache, &all, NULL, &error), RZ_E_INVALID,
                "no facility but those left out: H1, H2, H3");
    check_ok(rz_store_check_facilities(store, &every, &error));
    rz_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(left_out_facilities_are_not_in_the_copy),
                                       cmocka_unit_test(facilities_that_are_not_there_are_named)};
    return cmocka_run_group_tests(tests, make_folder, NULL);
}
