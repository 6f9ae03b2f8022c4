/* Claims into the store and timelines out of it: every outcome of a put, versions, visibility. */
#include "store_fixture.h"

static void added_unchanged_superseded(void **state)
{
    (void)state;
    rz_store *store = fixture_open("outcomes", true);
    const rz_event first[] = {DIAGNOSIS(100, "I10"), DIAGNOSIS(100, "E119")};
    const rz_event second[] = {DIAGNOSIS(100, "E119"), DIAGNOSIS(101, "N189")};
    rz_claim claim = fixture_claim("c1", "p1", 110, first, 2);
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_ADDED);
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_UNCHANGED);
    rz_patient_key key = fixture_patient(store, "p1");
    assert_string_equal(fixture_codes(store, key, RZ_DAY_MAX, RZ_RECORDED_NOW), "E119 I10");
    claim = fixture_claim("c1", "p1", 110, second, 2);
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_SUPERSEDED);
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_UNCHANGED);
    assert_string_equal(fixture_codes(store, key, RZ_DAY_MAX, RZ_RECORDED_NOW), "E119 N189");
    rz_store_close(store);
}

static void one_event_of_many_claims(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = fixture_open("merged", true);
    rz_event early[] = {DIAGNOSIS(100, "I10")}, late[] = {DIAGNOSIS(100, "I10")};
    early[0].known_day = 120;
    early[0].flags = RZ_EVENT_SUSPECTED;
    late[0].known_day = 150;
    rz_claim a = fixture_claim("a", "p1", 120, early, 1),
             b = fixture_claim("b", "p1", 150, late, 1);
    fixture_post(store, &a);
    fixture_post(store, &b);
    rz_patient_key key = fixture_patient(store, "p1");
    assert_string_equal(fixture_codes(store, key, 119, RZ_RECORDED_NOW), "");
    rz_arena arena;
    rz_timeline *timeline = NULL;
    rz_arena_init(&arena, 1 << 20);
    check_ok(rz_store_timeline(store, key, 120, RZ_RECORDED_NOW, &arena, &timeline, &error));
    assert_int_equal(timeline->n_events, 1);
    assert_int_equal(timeline->events[0].flags, RZ_EVENT_SUSPECTED);
    check_ok(rz_store_timeline(store, key, 150, RZ_RECORDED_NOW, &arena, &timeline, &error));
    assert_int_equal(timeline->n_events, 1);
    assert_int_equal(timeline->events[0].flags, 0);
    assert_int_equal(timeline->events[0].known_day, 150);
    assert_int_equal(timeline->events[0].setting, RZ_SETTING_OUTPATIENT);
    assert_int_equal(timeline->sex, RZ_SEX_FEMALE);
    assert_int_equal(timeline->birth_day, -5000);
    assert_true(timeline->hash == rz_patient_hash("F1", "p1"));
    rz_arena_done(&arena);
    rz_store_close(store);
}

static void contradicting_demographics_change_nothing(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_put_outcome outcome = RZ_PUT_ADDED;
    rz_store *store = fixture_open("demographics", true);
    const rz_event events[] = {DIAGNOSIS(100, "I10")};
    rz_claim claim = fixture_claim("c1", "p1", 110, events, 1);
    claim.sex = RZ_SEX_UNKNOWN;
    claim.birth_day = RZ_DAY_NONE;
    fixture_post(store, &claim);
    claim = fixture_claim("c2", "p1", 111, events, 1);
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_ADDED); /* fills what was unknown */
    rz_patient before, after;
    check_ok(rz_store_patient(store, "F1", "p1", &before, &error));
    assert_int_equal(before.sex, RZ_SEX_FEMALE);
    assert_int_equal(before.birth_day, -5000);

    check_ok(rz_store_begin(store, &error));
    claim.claim_id = "c3";
    claim.sex = RZ_SEX_MALE;
    check_fails(rz_store_put(store, &claim, &outcome, &error), RZ_E_CONFLICT,
                "demographics_conflict: the sex");
    assert_int_equal(outcome, RZ_PUT_REFUSED);
    claim.sex = RZ_SEX_FEMALE;
    claim.birth_day = -4999;
    check_fails(rz_store_put(store, &claim, &outcome, &error), RZ_E_CONFLICT, "the birth date");
    check_ok(rz_store_commit(store, &error)); /* the batch stayed usable */
    check_ok(rz_store_patient(store, "F1", "p1", &after, &error));
    assert_int_equal(after.version, before.version);
    assert_int_equal(after.n_claims, 2);

    /* The way to correct it: void what was wrong, send it again. */
    check_ok(rz_store_void_claim(store, "F1", "c2", &error));
    claim.claim_id = "c2";
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_ADDED);
    check_ok(rz_store_patient(store, "F1", "p1", &after, &error));
    assert_int_equal(after.birth_day, -4999);
    rz_store_close(store);
}

static void refused_claims_name_the_thing(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_put_outcome outcome = RZ_PUT_ADDED;
    rz_store *store = fixture_open("refused", true);
    rz_event events[] = {DIAGNOSIS(100, "I10")};
    rz_claim claim = fixture_claim("c1", "p1", 110, events, 1);
    check_fails(rz_store_put(store, &claim, &outcome, &error), RZ_E_USAGE, "open batch");
    check_fails(rz_store_commit(store, &error), RZ_E_USAGE, "no batch");
    check_ok(rz_store_begin(store, &error));
    check_fails(rz_store_begin(store, &error), RZ_E_USAGE, "already open");
    claim.claim_id = "";
    check_fails(rz_store_put(store, &claim, &outcome, &error), RZ_E_INVALID, "claim_id");
    claim.claim_id = "c1";
    claim.known_day = INT32_MAX;
    check_fails(rz_store_put(store, &claim, &outcome, &error), RZ_E_INVALID, "1800 to 2400");
    claim.known_day = 110;
    events[0].kind = (rz_kind)77;
    check_fails(rz_store_put(store, &claim, &outcome, &error), RZ_E_INVALID, "event 0");
    events[0].kind = RZ_KIND_DIAGNOSIS;
    claim.n_events = 20001;
    check_fails(rz_store_put(store, &claim, &outcome, &error), RZ_E_TOO_LARGE, "20001 events");
    assert_int_equal(outcome, RZ_PUT_REFUSED);
    rz_store_rollback(store);
    rz_store_counts counts;
    check_ok(rz_store_counts_of(store, &counts, &error));
    assert_int_equal(counts.claims, 0);
    rz_store_close(store);
}

static void unfinished_import_is_invisible(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_patient patient;
    rz_store *store = fixture_open("unfinished", true);
    const rz_event old[] = {DIAGNOSIS(100, "I10")}, fresh[] = {DIAGNOSIS(100, "E119")};
    rz_claim claim = fixture_claim("c1", "p1", 110, old, 1);
    claim.sex = RZ_SEX_UNKNOWN;
    fixture_post(store, &claim);
    rz_store *reader = fixture_open("unfinished", false);
    rz_patient_key key = fixture_patient(reader, "p1");
    check_ok(rz_store_begin_import(store, "test", &error));
    claim = fixture_claim("c1", "p1", 110, fresh, 1);
    assert_int_equal(fixture_put(store, &claim), RZ_PUT_SUPERSEDED);
    /* Enough other claims that the import has committed pieces. */
    for (int i = 0; i < 25000; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "x%d", i);
        rz_claim other = fixture_claim(id, id, 200, fresh, 1);
        fixture_put(store, &other);
    }
    assert_string_equal(fixture_codes(reader, key, RZ_DAY_MAX, RZ_RECORDED_NOW), "I10");
    check_fails(rz_store_patient(reader, NULL, "x1", &patient, &error), RZ_E_NOT_FOUND, "no such");
    check_ok(rz_store_patient(reader, NULL, "p1", &patient, &error));
    assert_int_equal(patient.sex, RZ_SEX_UNKNOWN);
    assert_int_equal(patient.version, 1);
    rz_store_counts counts;
    check_ok(rz_store_counts_of(reader, &counts, &error));
    assert_int_equal(counts.patients, 1);
    assert_int_equal(counts.events, 1);

    rz_store_rollback(store);
    assert_string_equal(fixture_codes(reader, key, RZ_DAY_MAX, RZ_RECORDED_NOW), "I10");
    check_ok(rz_store_begin_import(store, "test", &error));
    claim = fixture_claim("c1", "p1", 110, fresh, 1);
    assert_int_equal(fixture_put(store, &claim), RZ_PUT_SUPERSEDED);
    check_ok(rz_store_commit(store, &error));
    assert_string_equal(fixture_codes(reader, key, RZ_DAY_MAX, RZ_RECORDED_NOW), "E119");
    check_ok(rz_store_counts_of(reader, &counts, &error));
    assert_int_equal(counts.claims, 1);
    assert_int_equal(counts.events_by_kind[RZ_KIND_DIAGNOSIS], 1);
    rz_store_close(reader);
    rz_store_close(store);
}

/* The instant of the last finished batch. */
static int64_t last_instant(rz_store *store, const char *claim_id)
{
    rz_error error = {0};
    rz_arena arena;
    const rz_claim_version *versions = NULL;
    size_t n = 0;
    rz_arena_init(&arena, 1 << 20);
    check_ok(rz_store_claim_versions(store, "F1", claim_id, &arena, &versions, &n, &error));
    int64_t instant = versions[n - 1].superseded_at != 0 ? versions[n - 1].superseded_at
                                                         : versions[n - 1].recorded_at;
    rz_arena_done(&arena);
    return instant;
}

static void earlier_instants_stay_readable(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_arena arena;
    rz_timeline *timeline = NULL;
    rz_store *store = fixture_open("recorded", true);
    rz_event one[] = {DIAGNOSIS(100, "I10")}, two[] = {DIAGNOSIS(100, "E119")};
    one[0].value = 7.5;
    one[0].unit = "mmol/L";
    rz_claim claim = fixture_claim("c1", "p1", 110, one, 1);
    claim.sex = RZ_SEX_UNKNOWN;
    fixture_post(store, &claim);
    int64_t first = last_instant(store, "c1");
    rz_patient_key key = fixture_patient(store, "p1");
    claim = fixture_claim("c1", "p1", 112, two, 1);
    fixture_post(store, &claim);
    int64_t second = last_instant(store, "c1");
    check_ok(rz_store_void_claim(store, "F1", "c1", &error));
    int64_t third = last_instant(store, "c1");
    assert_true(first < second && second < third);

    rz_arena_init(&arena, 1 << 20);
    check_fails(rz_store_timeline(store, key, RZ_DAY_MAX, first - 1, &arena, &timeline, &error),
                RZ_E_NOT_FOUND, "no such patient");
    assert_string_equal(fixture_codes(store, key, RZ_DAY_MAX, first), "I10");
    check_ok(rz_store_timeline(store, key, RZ_DAY_MAX, first, &arena, &timeline, &error));
    assert_int_equal(timeline->sex, RZ_SEX_UNKNOWN); /* as it was known then */
    assert_string_equal(fixture_codes(store, key, RZ_DAY_MAX, second - 1), "I10");
    assert_string_equal(fixture_codes(store, key, RZ_DAY_MAX, second), "E119");
    assert_string_equal(fixture_codes(store, key, RZ_DAY_MAX, third), "");
    assert_string_equal(fixture_codes(store, key, RZ_DAY_MAX, RZ_RECORDED_NOW), "");

    const rz_claim_version *versions = NULL;
    size_t n = 0;
    check_ok(rz_store_claim_versions(store, "F1", "c1", &arena, &versions, &n, &error));
    assert_int_equal(n, 2);
    assert_true(versions[0].superseded_at == second && !versions[0].voided);
    assert_true(versions[1].superseded_at == third && versions[1].voided);
    assert_int_equal(versions[0].claim.n_events, 1);
    assert_string_equal(versions[0].claim.events[0].code, "I10");
    assert_string_equal(versions[0].claim.events[0].unit, "mmol/L");
    check_near(versions[0].claim.events[0].value, 7.5, 0);
    assert_string_equal(versions[1].claim.patient_id, "p1");
    check_fails(rz_store_claim_versions(store, "F1", "c9", &arena, &versions, &n, &error),
                RZ_E_NOT_FOUND, "no claim");
    check_fails(rz_store_void_claim(store, "F1", "c1", &error), RZ_E_NOT_FOUND, "no current claim");
    check_fails(rz_store_void_claim(store, "F9", "c1", &error), RZ_E_NOT_FOUND, "no current claim");
    rz_arena_done(&arena);
    rz_store_close(store);
}

static void namespaces_keep_hospitals_apart(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_patient patient, list[4];
    size_t n = 0;
    rz_store *store = fixture_open("namespaces", true);
    const rz_event events[] = {DIAGNOSIS(100, "I10")};
    rz_claim claim = fixture_claim("c1", "p1", 110, events, 1);
    fixture_post(store, &claim);
    claim.facility = "F2";
    claim.sex = RZ_SEX_MALE; /* no contradiction: another person */
    fixture_post(store, &claim);
    check_fails(rz_store_patient(store, NULL, "p1", &patient, &error), RZ_E_CONFLICT,
                "2 facilities");
    check_ok(rz_store_patient(store, "F2", "p1", &patient, &error));
    assert_int_equal(patient.sex, RZ_SEX_MALE);
    assert_string_equal(patient.facility, "F2");
    check_fails(rz_store_patient(store, "F3", "p1", &patient, &error), RZ_E_NOT_FOUND, "patient");
    check_ok(rz_store_patients(store, 0, NULL, list, 4, &n, &error));
    assert_int_equal(n, 2);
    check_ok(rz_store_patients(store, 0, NULL, list, 1, &n, &error));
    assert_int_equal(n, 1);
    check_ok(rz_store_patients(store, list[0].key, NULL, list, 4, &n, &error));
    assert_int_equal(n, 1);
    check_ok(rz_store_patients(store, 0, "F2", list, 4, &n, &error));
    assert_int_equal(n, 1);
    assert_string_equal(list[0].facility, "F2");
    check_ok(rz_store_patients(store, 0, "F3", list, 4, &n, &error));
    assert_int_equal(n, 0);
    rz_store_close(store);
}

static void shared_ids_join_facilities(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_patient patient;
    rz_store *store = NULL;
    rz_store_options options = rz_store_options_defaults();
    options.write = options.shared_patient_ids = true;
    check_ok(rz_store_open(fixture_path("shared"), &options, &store, &error));
    const rz_event events[] = {DIAGNOSIS(100, "I10"), DIAGNOSIS(105, "E119")};
    rz_claim claim = fixture_claim("c1", "p1", 110, events, 1);
    fixture_post(store, &claim);
    claim.facility = "F2";
    claim.events = &events[1];
    fixture_post(store, &claim);
    check_ok(rz_store_patient(store, NULL, "p1", &patient, &error));
    assert_int_equal(patient.n_claims, 2);
    assert_int_equal(patient.n_events, 2);
    assert_string_equal(patient.facility, "");
    check_ok(rz_store_patient(store, "F2", "p1", &patient, &error));

    rz_arena arena;
    const rz_claim_day *days = NULL;
    size_t n = 0;
    rz_arena_init(&arena, 1 << 20);
    check_ok(rz_store_claim_days(store, patient.key, &arena, &days, &n, &error));
    assert_int_equal(n, 1); /* both known on day 110: the shorter follow-up stands */
    assert_int_equal(days[0].day, 110);
    assert_int_equal(days[0].data_end_day, 100);
    const char *const *names = NULL;
    size_t n_names = 0;
    check_ok(rz_store_facilities(store, &arena, &names, &n_names, &error));
    assert_int_equal(n_names, 2);
    assert_string_equal(names[days[0].facility], "F1");
    assert_string_equal(names[1 - days[0].facility], "F2");
    claim.claim_id = "c3";
    claim.known_day = 130;
    const rz_event death[] = {{.day = 400,
                               .known_day = 400,
                               .kind = RZ_KIND_DEATH,
                               .system = RZ_SYSTEM_LOCAL,
                               .code = "DEATH",
                               .value = NAN},
                              DIAGNOSIS(125, "I10")};
    claim.events = death;
    claim.n_events = 2;
    fixture_post(store, &claim);
    check_ok(rz_store_claim_days(store, patient.key, &arena, &days, &n, &error));
    assert_int_equal(n, 2);
    assert_int_equal(days[1].day, 130);
    assert_int_equal(days[1].data_end_day, 125); /* a death date does not lengthen the data */
    check_ok(rz_store_void_claim(store, "F2", "c3", &error));
    check_ok(rz_store_claim_days(store, patient.key, &arena, &days, &n, &error));
    assert_int_equal(n, 1);
    rz_arena_done(&arena);
    rz_store_close(store);
    options.shared_patient_ids = false;
    check_fails(rz_store_open(fixture_path("shared"), &options, &store, &error), RZ_E_CONFLICT,
                "patient_ids = shared");
}

static void a_moved_claim_changes_both_patients(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_patient before, after;
    rz_store *store = fixture_open("moved", true);
    const rz_event events[] = {DIAGNOSIS(100, "I10")};
    rz_claim claim = fixture_claim("c1", "p1", 110, events, 1);
    fixture_post(store, &claim);
    check_ok(rz_store_patient(store, NULL, "p1", &before, &error));
    char hash[65], other[65];
    check_ok(rz_store_data_hash(store, hash, &error));
    claim.patient_id = "p2";
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_SUPERSEDED);
    check_ok(rz_store_data_hash(store, other, &error));
    assert_string_not_equal(hash, other);
    check_ok(rz_store_patient(store, NULL, "p1", &after, &error));
    assert_true(after.version > before.version);
    assert_int_equal(after.n_claims, 0);
    assert_int_equal(after.n_events, 0);
    assert_int_equal(after.last_day, RZ_DAY_NONE);
    check_ok(rz_store_patient(store, NULL, "p2", &after, &error));
    assert_int_equal(after.n_events, 1);
    assert_int_equal(after.first_day, 100);
    rz_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(added_unchanged_superseded),
        cmocka_unit_test(one_event_of_many_claims),
        cmocka_unit_test(contradicting_demographics_change_nothing),
        cmocka_unit_test(refused_claims_name_the_thing),
        cmocka_unit_test(unfinished_import_is_invisible),
        cmocka_unit_test(earlier_instants_stay_readable),
        cmocka_unit_test(namespaces_keep_hospitals_apart),
        cmocka_unit_test(shared_ids_join_facilities),
        cmocka_unit_test(a_moved_claim_changes_both_patients),
    };
    return cmocka_run_group_tests(tests, fixture_make, NULL);
}
