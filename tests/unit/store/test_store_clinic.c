/* What clinicians' pages are made of: worklists of several tasks, scores of earlier months,
 * verdicts; how all of it is erased, and how a store of before comes to it. */
#include "store_fixture.h"

#include "store/feedback.h"
#include "store/migrate.h"
#include "store/worklist.h"

#include <sqlite3.h>

static const rz_event one_event[] = {DIAGNOSIS(100, "I10")};
static const rz_score_context context = {"model-a", "tasks-1", "calibration-1"};
static const rz_score_context later_context = {"model-b", "tasks-1", "calibration-2"};
static const char *const both[] = {"amlodipine", "ckd"};

enum { AS_OF = 20000 /* 2024-10-04 */ };

static rz_patient add_patient(rz_store *store, const char *id, int32_t birth_day)
{
    rz_error error = {0};
    rz_patient patient = {0};
    rz_claim claim = fixture_claim(id, id, 110, one_event, 1);
    claim.birth_day = birth_day;
    fixture_post(store, &claim);
    check_ok(rz_store_patient(store, NULL, id, &patient, &error));
    return patient;
}

static void put(rz_store *store, const rz_patient *patient, const char *task, double probability,
                double average, int32_t as_of, const rz_score_context *made_by)
{
    rz_error error = {0};
    rz_score_row row = {.patient = patient->key,
                        .task = task,
                        .context = *made_by,
                        .score = {.probability = probability,
                                  .low = probability / 2,
                                  .high = probability,
                                  .average = average,
                                  .as_of = as_of,
                                  .version = patient->version}};
    if (isnan(probability))
        (void)snprintf(row.score.reason, sizeof row.score.reason, "dead");
    check_ok(rz_store_scores_put(store, &row, 1, &error));
}

/* "p1:ckd p0:ckd" */
static const char *listed(rz_store *store, const rz_worklist_query *query)
{
    static char text[256];
    rz_error error = {0};
    rz_arena arena;
    rz_worklist_row rows[8];
    rz_worklist_counts counts;
    size_t n = 0;
    rz_arena_init(&arena, 1 << 20);
    check_ok(rz_store_worklist(store, query, &arena, rows, 8, &n, &error));
    check_ok(rz_store_worklist_count(store, query, &counts, &error));
    if (query->offset == 0)
        assert_int_equal(counts.matching, n);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%s:%s", i > 0 ? " " : "", rows[i].id,
                       rows[i].task);
    }
    rz_arena_done(&arena);
    return text;
}

static void worklists_of_several_tasks(void **state)
{
    (void)state;
    rz_store *store = fixture_open("worklists", true);
    rz_error error = {0};
    int32_t fifty = rz_day_from_civil(1974, 10, 4);
    rz_patient p0 = add_patient(store, "p0", fifty);
    rz_patient p1 = add_patient(store, "p1", fifty + 1); /* 49 until tomorrow */
    rz_patient p2 = add_patient(store, "p2", RZ_DAY_NONE);
    put(store, &p0, "ckd", 0.50, 0.40, AS_OF, &context);
    put(store, &p1, "ckd", 0.30, 0.05, AS_OF, &context);
    put(store, &p2, "ckd", 0.20, NAN, AS_OF, &context);
    put(store, &p0, "amlodipine", 0.40, 0.05, AS_OF, &context);
    put(store, &p1, "amlodipine", NAN, NAN, AS_OF, &context);
    put(store, &p2, "gone", 0.9, 0.1, AS_OF, &context); /* no model has the task any more */
    rz_worklist_query query = {.tasks = both, .n_tasks = 2};
    assert_string_equal(listed(store, &query), "p0:amlodipine p1:ckd p0:ckd p2:ckd");
    query.order = RZ_WORKLIST_PROBABILITY;
    assert_string_equal(listed(store, &query), "p0:ckd p0:amlodipine p1:ckd p2:ckd");
    query.offset = 3;
    assert_string_equal(listed(store, &query), "p2:ckd");
    query.offset = 0;
    query.min_probability = 0.4;
    assert_string_equal(listed(store, &query), "p0:ckd p0:amlodipine");
    query = (rz_worklist_query){.tasks = both + 1, .n_tasks = 1};
    assert_string_equal(listed(store, &query), "p1:ckd p0:ckd p2:ckd");
    query.by_age = true;
    query.age_min = 50;
    query.age_max = 150;
    assert_string_equal(listed(store, &query), "p0:ckd");
    query.age_min = 0;
    query.age_max = 49;
    assert_string_equal(listed(store, &query), "p1:ckd");
    query = (rz_worklist_query){.tasks = both, .n_tasks = 0};
    assert_string_equal(listed(store, &query), "");

    rz_worklist_counts counts;
    query.n_tasks = 2;
    check_ok(rz_store_worklist_count(store, &query, &counts, &error));
    assert_int_equal(counts.scored, 4);
    assert_int_equal(counts.left_out, 1);
    assert_int_equal(counts.unscored, 1); /* amlodipine of p2 */
    rz_store_close(store);
}

static void a_facility_of_shared_ids(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = NULL;
    rz_store_options options = rz_store_options_defaults();
    options.write = options.shared_patient_ids = true;
    check_ok(rz_store_open(fixture_path("shared"), &options, &store, &error));
    rz_patient p0 = add_patient(store, "p0", -5000), p1 = add_patient(store, "p1", -5000);
    rz_claim claim = fixture_claim("elsewhere", "p1", 110, one_event, 1);
    claim.facility = "F2";
    fixture_post(store, &claim);
    put(store, &p0, "ckd", 0.5, 0.1, AS_OF, &context);
    put(store, &p1, "ckd", 0.4, 0.1, AS_OF, &context);
    rz_worklist_query query = {.tasks = both, .n_tasks = 2, .facility = "F2"};
    assert_string_equal(listed(store, &query), "p1:ckd");
    query.facility = "F1";
    assert_string_equal(listed(store, &query), "p0:ckd p1:ckd");
    rz_store_close(store);
}

static size_t months_of(rz_store *store, const rz_patient *patient, int first, rz_month_score *out)
{
    rz_error error = {0};
    size_t n = 0;
    check_ok(rz_store_score_months(store, patient->key, "ckd", first, out, 8, &n, &error));
    return n;
}

static void months_keep_their_newest_score(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = fixture_open("months", true);
    rz_patient patient = add_patient(store, "p", -5000), other = add_patient(store, "q", -5000);
    rz_month_score months[8];
    int32_t may = rz_day_from_civil(2024, 5, 3), june = rz_day_from_civil(2024, 6, 1);
    assert_int_equal(rz_score_month(may), 2024 * 12 + 4);
    put(store, &patient, "ckd", 0.1, 0.01, may, &context);
    put(store, &patient, "ckd", 0.2, 0.02, may + 28, &context); /* the 31st */
    put(store, &patient, "ckd", NAN, NAN, june, &context);
    put(store, &patient, "ckd", 0.4, 0.04, june + 5, &later_context);
    put(store, &patient, "amlodipine", 0.5, 0.05, june, &context);
    put(store, &other, "ckd", 0.6, 0.06, june, &context);
    assert_int_equal(months_of(store, &patient, 0, months), 3);
    check_near(months[0].score.probability, 0.2, 0);
    check_near(months[0].score.average, 0.02, 0);
    assert_int_equal(months[0].score.as_of, may + 28);
    assert_string_equal(months[1].score.reason, "dead");
    assert_true(isnan(months[1].score.probability));
    assert_string_equal(months[1].model_hash, "model-a");
    assert_string_equal(months[2].model_hash, "model-b");
    assert_string_equal(months[2].calibration_id, "calibration-2");
    assert_int_equal(months_of(store, &patient, rz_score_month(june), months), 2);

    /* Five years on, what is older goes. */
    put(store, &patient, "ckd", 0.7, 0.07, rz_day_from_civil(2029, 5, 1), &context);
    assert_int_equal(months_of(store, &patient, 0, months), 3);
    assert_int_equal(months[0].score.as_of, june);
    put(store, &patient, "ckd", 0.7, 0.07, rz_day_from_civil(2029, 6, 1), &context);
    assert_int_equal(months_of(store, &patient, 0, months), 2);

    check_ok(rz_store_erase_patient(store, patient.key, &error));
    assert_int_equal(months_of(store, &patient, 0, months), 0);
    put(store, &patient, "ckd", 0.7, 0.07, june, &context); /* scored while it was erased */
    assert_int_equal(months_of(store, &patient, 0, months), 0);
    assert_int_equal(months_of(store, &other, 0, months), 1);
    rz_store_close(store);
}

static rz_feedback verdict(const rz_patient *patient, const char *task, const char *text)
{
    return (rz_feedback){.patient = patient->key,
                         .task = task,
                         .verdict = text,
                         .reason = "",
                         .as_of = AS_OF,
                         .probability = 0.25,
                         .model_hash = "m",
                         .actor = "ward"};
}

static void verdicts_are_kept_and_erased(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_arena arena;
    rz_store *store = fixture_open("verdicts", true);
    rz_patient p = add_patient(store, "p", -5000), q = add_patient(store, "q", -5000);
    rz_feedback rows[8], page[8];
    size_t n = 0;
    rz_arena_init(&arena, 1 << 20);
    for (int i = 0; i < 5; i++) {
        rows[i] = verdict(i % 2 == 0 ? &p : &q, i < 3 ? "ckd" : "amlodipine",
                          i == 4 ? "dismiss" : "agree");
        if (i == 4)
            rows[i].reason = "data_wrong";
        check_ok(rz_store_feedback_put(store, &rows[i], &error));
        assert_true(rows[i].recorded_at > 0);
        assert_true(i == 0 || rows[i].id > rows[i - 1].id);
    }
    rz_feedback_query query = {.before = INT64_MAX};
    check_ok(rz_store_feedback(store, &query, &arena, page, 3, &n, &error));
    assert_int_equal(n, 3);
    assert_int_equal(page[0].id, rows[4].id);
    assert_string_equal(page[0].verdict, "dismiss");
    assert_string_equal(page[0].reason, "data_wrong");
    assert_string_equal(page[0].stored_id, "p");
    assert_string_equal(page[0].facility, "F1");
    assert_string_equal(page[0].actor, "ward");
    check_near(page[0].probability, 0.25, 0);
    query.before = page[2].id;
    check_ok(rz_store_feedback(store, &query, &arena, page, 3, &n, &error));
    assert_int_equal(n, 2);
    query = (rz_feedback_query){.before = INT64_MAX, .task = "ckd", .patient = p.key};
    check_ok(rz_store_feedback(store, &query, &arena, page, 8, &n, &error));
    assert_int_equal(n, 2);
    query = (rz_feedback_query){.before = INT64_MAX, .facility = "F1"};
    check_ok(rz_store_feedback(store, &query, &arena, page, 8, &n, &error));
    assert_int_equal(n, 5);
    query.facility = "F9";
    check_ok(rz_store_feedback(store, &query, &arena, page, 8, &n, &error));
    assert_int_equal(n, 0);

    check_ok(rz_store_erase_patient(store, p.key, &error));
    query.facility = NULL;
    check_ok(rz_store_feedback(store, &query, &arena, page, 8, &n, &error));
    assert_int_equal(n, 2);
    check_fails(rz_store_feedback_put(store, &rows[0], &error), RZ_E_NOT_FOUND, "no such patient");
    rz_store_close(store);
    store = fixture_open("verdicts", false);
    check_fails(rz_store_feedback_put(store, &rows[1], &error), RZ_E_USAGE, "reading only");
    rz_store_close(store);
    rz_arena_done(&arena);
}

static void outside(const char *path, const char *sql)
{
    sqlite3 *handle = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

/* A store of schema 3 with a patient and two scores, one of them with what it rests on. */
static void a_store_of_before_is_brought_along(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = NULL;
    const char *path = fixture_path("before");
    for (int i = 0; i < 3; i++)
        outside(path, rz_migrations[i]);
    outside(path, "PRAGMA application_id = 1381650516; PRAGMA user_version = 3;"
                  "INSERT INTO batches (id, source, started_at, recorded_at) VALUES (1, '', 1, 1);"
                  "INSERT INTO facilities VALUES (1, 0, 'F1');"
                  "INSERT INTO patients VALUES (7, 1, 'p', 1, -5000, 1);"
                  "INSERT INTO score_contexts VALUES (1, 'model-a', 'tasks-1', 'calibration-1');"
                  "INSERT INTO scores VALUES (7, 'ckd', 1, 20000, 1, 0.3, 0.2, 0.4, '', 5, '{}');"
                  "INSERT INTO scores VALUES (7, 'amlodipine', 1, 20000, 1, NULL, NULL, NULL, "
                  "'dead', 5, NULL)");
    rz_store_options options = rz_store_options_defaults();
    check_fails(rz_store_open(path, &options, &store, &error), RZ_E_UNSUPPORTED, "older schema 3");
    store = fixture_open("before", true);
    rz_worklist_query query = {.tasks = both, .n_tasks = 2};
    assert_string_equal(listed(store, &query), "p:ckd"); /* shown until it is made again … */
    rz_worklist_counts counts;
    check_ok(rz_store_worklist_count(store, &query, &counts, &error));
    assert_int_equal(counts.stale, 2);
    rz_patient_key missing[4];
    size_t n = 0;
    check_ok(rz_store_scores_missing(store, "ckd", 20000, &context, 0, missing, 4, &n, &error));
    assert_int_equal(n, 1); /* … which the background does */
    rz_month_score months[8];
    rz_patient patient = {.key = 7, .version = 1};
    assert_int_equal(months_of(store, &patient, 0, months), 1);
    assert_int_equal(months[0].score.as_of, 20000);
    check_near(months[0].score.probability, 0.3, 0);
    assert_true(isnan(months[0].score.average));
    put(store, &patient, "ckd", 0.35, 0.05, 20001, &context); /* of the same month */
    assert_int_equal(months_of(store, &patient, 0, months), 1);
    check_near(months[0].score.average, 0.05, 0);
    rz_store_close(store);
    store = fixture_open("before", false);
    rz_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worklists_of_several_tasks),
        cmocka_unit_test(a_facility_of_shared_ids),
        cmocka_unit_test(months_keep_their_newest_score),
        cmocka_unit_test(verdicts_are_kept_and_erased),
        cmocka_unit_test(a_store_of_before_is_brought_along),
    };
    return cmocka_run_group_tests(tests, fixture_make, NULL);
}
