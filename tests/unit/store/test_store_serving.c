/* What the daemon keeps: cached scores and worklists, the audit chain. */
#include "store_fixture.h"

#include "store/audit.h"
#include "store/worklist.h"

#include <sqlite3.h>

static const rz_event one_event[] = {DIAGNOSIS(100, "I10")};
static const rz_score_context context = {"model-a", "tasks-1", "calibration-1"};

static rz_score_row scored(const rz_patient *patient, double probability, const char *reason)
{
    rz_score_row row = {.patient = patient->key,
                        .task = "ckd",
                        .context = context,
                        .score = {.probability = probability,
                                  .low = probability - 0.01,
                                  .high = probability + 0.01,
                                  .as_of = 500,
                                  .version = patient->version}};
    (void)snprintf(row.score.reason, sizeof row.score.reason, "%s", reason);
    return row;
}

static void scores_are_fresh_or_missing(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = fixture_open("scores", true);
    rz_patient patients[4];
    rz_patient_key missing[4];
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "p%d", i);
        rz_claim claim = fixture_claim(id, id, 110, one_event, 1);
        claim.facility = i == 3 ? "F2" : "F1";
        fixture_post(store, &claim);
        check_ok(rz_store_patient(store, NULL, id, &patients[i], &error));
    }
    check_ok(rz_store_scores_missing(store, "ckd", 500, &context, 0, missing, 4, &n, &error));
    assert_int_equal(n, 4);
    rz_score_row rows[] = {scored(&patients[0], 0.1, ""), scored(&patients[1], 0.4, ""),
                           scored(&patients[2], NAN, "dead"), scored(&patients[3], 0.3, ""),
                           scored(&patients[0], 0.2, "")};
    rows[4].patient = 999; /* erased meanwhile */
    check_ok(rz_store_scores_put(store, rows, 5, &error));
    check_ok(rz_store_scores_missing(store, "ckd", 500, &context, 0, missing, 4, &n, &error));
    assert_int_equal(n, 0);
    check_ok(rz_store_scores_missing(store, "ckd", 501, &context, 0, missing, 4, &n, &error));
    assert_int_equal(n, 4);

    rz_score score;
    bool found = false;
    check_ok(rz_store_score_get(store, patients[1].key, patients[1].version, 500, "ckd", &context,
                                &score, &found, &error));
    assert_true(found);
    check_near(score.probability, 0.4, 0);
    check_near(score.high, 0.41, 1e-15);
    assert_true(score.scored_at > 0);
    check_ok(rz_store_score_get(store, patients[2].key, patients[2].version, 500, "ckd", &context,
                                &score, &found, &error));
    assert_true(found && isnan(score.probability));
    assert_string_equal(score.reason, "dead");
    const rz_score_context other = {"model-b", "tasks-1", "calibration-1"};
    check_ok(rz_store_score_get(store, patients[1].key, patients[1].version, 500, "ckd", &other,
                                &score, &found, &error));
    assert_false(found);
    check_ok(rz_store_score_get(store, patients[1].key, patients[1].version + 1, 500, "ckd",
                                &context, &score, &found, &error));
    assert_false(found);
    check_ok(rz_store_score_get(store, patients[1].key, patients[1].version, 501, "ckd", &context,
                                &score, &found, &error));
    assert_false(found);
    rows[0].score.probability = NAN;
    check_fails(rz_store_scores_put(store, rows, 1, &error), RZ_E_INVALID, "score 0");

    rz_claim claim = fixture_claim("again", "p1", 120, one_event, 1);
    fixture_post(store, &claim); /* makes the score of p1 stale */
    check_ok(rz_store_scores_missing(store, "ckd", 500, &context, 0, missing, 4, &n, &error));
    assert_int_equal(n, 1);
    assert_int_equal(missing[0], patients[1].key);

    rz_worklist_row list[4];
    rz_worklist_counts counts;
    const char *const ckd[] = {"ckd"}, *const amlodipine[] = {"amlodipine"};
    rz_worklist_query query = {.tasks = ckd, .n_tasks = 1, .order = RZ_WORKLIST_PROBABILITY};
    rz_arena arena;
    rz_arena_init(&arena, 1 << 20);
#define LOOK(query)                                                                                \
    check_ok(rz_store_worklist(store, &(query), &arena, list, 4, &n, &error));                     \
    check_ok(rz_store_worklist_count(store, &(query), &counts, &error))
    LOOK(query);
    assert_int_equal(n, 3);
    assert_string_equal(list[0].id, "p1");
    assert_string_equal(list[0].task, "ckd");
    assert_string_equal(list[0].model_hash, "model-a");
    assert_true(list[0].stale);
    assert_string_equal(list[1].id, "p3");
    assert_string_equal(list[1].facility, "F2");
    assert_false(list[1].stale);
    assert_int_equal(counts.scored, 3);
    assert_int_equal(counts.matching, 3);
    assert_int_equal(counts.unscored, 0);
    assert_int_equal(counts.left_out, 1);
    assert_int_equal(counts.stale, 1);
    rz_worklist_query other_task = {.tasks = amlodipine, .n_tasks = 1};
    LOOK(other_task);
    assert_int_equal(n, 0);
    assert_int_equal(counts.unscored, 4);
    assert_int_equal(counts.scored + counts.left_out + counts.oldest_at, 0);
    query.min_probability = 0.35;
    LOOK(query);
    assert_int_equal(n, 1);
    assert_int_equal(counts.scored, 3);
    assert_int_equal(counts.matching, 1);
    query.min_probability = 0;
    query.offset = 2;
    LOOK(query);
    assert_int_equal(n, 1);
    query.offset = 0;
    query.facility = "F2";
    LOOK(query);
    assert_int_equal(n, 1);
    assert_int_equal(counts.scored, 1);
    query.facility = "F3";
    LOOK(query);
    assert_int_equal(n, 0);
    assert_int_equal(counts.scored + counts.unscored, 0);

    rows[0] = scored(&patients[0], NAN, "short_history");
    rows[1] = scored(&patients[3], NAN, "dead");
    check_ok(rz_store_scores_put(store, rows, 2, &error));
    query.facility = NULL;
    LOOK(query);
    assert_int_equal(counts.scored, 1);
    assert_int_equal(counts.left_out, 3);
    assert_int_equal(counts.n_reasons, 2);
    assert_string_equal(counts.reasons[0].reason, "dead");
    assert_int_equal(counts.reasons[0].rows, 2);
    assert_string_equal(counts.reasons[1].reason, "short_history");
    assert_int_equal(counts.reasons[1].rows, 1);
    assert_int_equal(counts.stale, 1);
    assert_true(counts.oldest_at > 0 && counts.oldest_at < counts.newest_at);

    check_ok(rz_store_erase_patient(store, patients[1].key, &error));
    LOOK(query);
    assert_int_equal(n, 0);
    assert_int_equal(counts.scored, 0);
#undef LOOK
    rz_arena_done(&arena);
    rz_store_close(store);
}

/* An explanation lives and dies with its score. */
static void explanations_belong_to_scores(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = fixture_open("explanations", true);
    rz_patient patients[3];
    rz_patient_key missing[4];
    rz_arena arena;
    size_t n = 0;
    char *text = NULL;
    rz_arena_init(&arena, 1 << 16);
    for (int i = 0; i < 3; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "p%d", i);
        rz_claim claim = fixture_claim(id, id, 110, one_event, 1);
        fixture_post(store, &claim);
        check_ok(rz_store_patient(store, NULL, id, &patients[i], &error));
    }
    rz_explanation_row rows[3];
    for (int i = 0; i < 3; i++)
        rows[i] = (rz_explanation_row){.patient = patients[i].key,
                                       .task = "ckd",
                                       .context = context,
                                       .version = patients[i].version,
                                       .as_of = 500,
                                       .text = i == 0 ? "{\"a\":1}" : "{}"};
#define GET(i)                                                                                     \
    check_ok(rz_store_explanation_get(store, patients[i].key, patients[i].version, 500, "ckd",     \
                                      &context, &arena, &text, &error))
    check_ok(rz_store_explanations_put(store, rows, 1, &error)); /* no score to belong to */
    rz_score_row scores[] = {scored(&patients[0], 0.1, ""), scored(&patients[1], 0.4, ""),
                             scored(&patients[2], NAN, "dead")};
    check_ok(rz_store_scores_put(store, scores, 3, &error));
    GET(0);
    assert_null(text);
    check_ok(rz_store_explanations_missing(store, "ckd", 500, &context, 2, missing, 4, &n, &error));
    assert_int_equal(n, 2);
    assert_int_equal(missing[0], patients[1].key); /* the highest first */
    check_ok(rz_store_explanations_missing(store, "ckd", 500, &context, 1, missing, 4, &n, &error));
    assert_int_equal(n, 1);
    check_ok(rz_store_explanations_missing(store, "ckd", 501, &context, 2, missing, 4, &n, &error));
    assert_int_equal(n, 0);
    const rz_score_context other = {"model-b", "tasks-1", "calibration-1"};
    check_ok(rz_store_explanations_missing(store, "ckd", 500, &other, 2, missing, 4, &n, &error));
    assert_int_equal(n, 0);

    check_ok(rz_store_explanations_put(store, rows, 3, &error));
    GET(0);
    assert_string_equal(text, "{\"a\":1}");
    GET(2); /* a reason needs no explanation */
    assert_null(text);
    check_ok(rz_store_explanations_missing(store, "ckd", 500, &context, 2, missing, 4, &n, &error));
    assert_int_equal(n, 0);
    check_ok(rz_store_explanation_get(store, patients[0].key, patients[0].version, 500, "ckd",
                                      &other, &arena, &text, &error));
    assert_null(text);
    check_ok(rz_store_explanation_get(store, patients[0].key, patients[0].version, 501, "ckd",
                                      &context, &arena, &text, &error));
    assert_null(text);
    check_ok(rz_store_explanation_get(store, patients[0].key, patients[0].version, 500, "other",
                                      &context, &arena, &text, &error));
    assert_null(text);

    /* A changed history: at once, not when the score is made anew. */
    rz_claim claim = fixture_claim("again", "p0", 120, one_event, 1);
    fixture_post(store, &claim);
    GET(0);
    assert_null(text);
    check_ok(rz_store_explanations_missing(store, "ckd", 500, &context, 2, missing, 4, &n, &error));
    assert_int_equal(n, 0); /* its score comes first */
    GET(1);
    assert_non_null(text);
    check_ok(rz_store_scores_put(store, &scores[1], 1, &error)); /* replaced */
    GET(1);
    assert_null(text);
    rows[1].version++; /* of a history that the kept score has not seen */
    check_ok(rz_store_explanations_put(store, &rows[1], 1, &error));
    GET(1);
    assert_null(text);
#undef GET
    rz_arena_done(&arena);
    rz_store_close(store);
}

static void on_change(void *told, const char *id)
{
    char *seen = told;
    (void)snprintf(seen + strlen(seen), 64 - strlen(seen), "%s ", id);
}

#define check_told(wanted)                                                                         \
    do {                                                                                           \
        assert_string_equal(told, wanted);                                                         \
        told[0] = '\0';                                                                            \
    } while (0)

/* Whoever's history a write changes is told of, and nobody else. */
static void changes_are_told(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = NULL;
    rz_patient patient;
    char told[64] = "";
    rz_store_options options = rz_store_options_defaults();
    options.write = true;
    options.changed = on_change;
    options.changed_context = told;
    check_ok(rz_store_open(fixture_path("told"), &options, &store, &error));
    rz_claim claim = fixture_claim("c1", "p1", 110, one_event, 1);
    fixture_post(store, &claim);
    check_told("p1 ");
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_UNCHANGED);
    check_told("");
    claim.n_events = 0;
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_SUPERSEDED);
    check_told("p1 ");
    claim.patient_id = "p2"; /* the claim goes to another patient: both histories change */
    assert_int_equal(fixture_post(store, &claim), RZ_PUT_SUPERSEDED);
    check_told("p2 p1 ");
    claim.sex = RZ_SEX_MALE;
    rz_put_outcome outcome;
    check_ok(rz_store_begin(store, &error));
    check_fails(rz_store_put(store, &claim, &outcome, &error), RZ_E_CONFLICT, "sex");
    check_ok(rz_store_commit(store, &error));
    check_told("");
    check_ok(rz_store_void_claim(store, "F1", "c1", &error));
    check_told("p2 ");
    check_ok(rz_store_patient_brief(store, "F1", "p2", &patient, &error));
    assert_int_equal(patient.n_claims, 0); /* not counted */
    check_ok(rz_store_erase_patient(store, patient.key, &error));
    check_told("p2 ");
    rz_store_close(store);
}

static void nothing_is_written_beside_an_open_batch(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_store *store = fixture_open("batch", true);
    rz_patient patient;
    rz_claim claim = fixture_claim("c", "p", 110, one_event, 1);
    fixture_post(store, &claim);
    check_ok(rz_store_patient(store, NULL, "p", &patient, &error));
    rz_score_row row = scored(&patient, 0.5, "");
    check_ok(rz_store_begin(store, &error));
    check_fails(rz_store_scores_put(store, &row, 1, &error), RZ_E_USAGE, "a batch is open");
    rz_claim other = fixture_claim("d", "q", 110, one_event, 1);
    assert_int_equal(fixture_put(store, &other), RZ_PUT_ADDED);
    check_ok(rz_store_commit(store, &error));
    assert_true(fixture_patient(store, "q") > 0);
    check_ok(rz_store_scores_put(store, &row, 1, &error));
    rz_store_close(store);
}

static int run_outside(const char *path, const char *sql)
{
    sqlite3 *handle = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    int code = sqlite3_exec(handle, sql, NULL, NULL, NULL);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
    return code;
}

static bool count_rows(void *counter, int64_t number, const rz_audit_entry *entry)
{
    int *n = counter;
    if (number == 2)
        assert_string_equal(entry->action, "erase");
    return ++*n < 2;
}

static void audit_shows_every_change(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_audit_head head;
    rz_store *store = fixture_open("audit", true);
    check_ok(rz_store_audit_verify(store, &head, &error));
    assert_int_equal(head.number, 0);
    rz_patient patient = {.facility = "F1", .id = "p1"};
    char hash[33], other[33];
    check_ok(rz_audit_patient_hash(store, &patient, hash, &error));
    patient.id[1] = '2';
    check_ok(rz_audit_patient_hash(store, &patient, other, &error));
    assert_string_not_equal(hash, other);
    const rz_audit_entry entries[] = {
        {.request_id = "r1",
         .actor = "ward",
         .action = "risk",
         .patient_hash = hash,
         .model_hash = "m",
         .details = "{}",
         .at = 5},
        {.request_id = "r2", .actor = "ward", .action = "erase", .at = 6},
    };
    check_ok(rz_store_audit_append(store, entries, 2, &error));
    check_ok(rz_store_audit_append(store, entries, 1, &error));
    check_ok(rz_store_audit_verify(store, &head, &error));
    assert_int_equal(head.number, 3);
    int n = 0;
    check_ok(rz_store_audit_read(store, 0, count_rows, &n, &error));
    assert_int_equal(n, 2);
    rz_store_close(store);

    const char *path = fixture_path("audit");
    assert_int_equal(run_outside(path, "DELETE FROM audit"), SQLITE_CONSTRAINT);
    assert_int_equal(run_outside(path, "UPDATE audit SET actor = 'x'"), SQLITE_CONSTRAINT);
    /* Who removes the triggers is still seen. */
    assert_int_equal(run_outside(path, "DROP TRIGGER audit_keeps_content; "
                                       "DROP TRIGGER audit_keeps_rows; "
                                       "UPDATE audit SET actor = 'nobody' WHERE number = 2"),
                     SQLITE_OK);
    store = fixture_open("audit", false);
    check_fails(rz_store_audit_verify(store, &head, &error), RZ_E_CORRUPT, "row 2 ");
    rz_store_close(store);
    assert_int_equal(run_outside(path, "UPDATE audit SET actor = 'ward' WHERE number = 2"),
                     SQLITE_OK);
    store = fixture_open("audit", false);
    check_ok(rz_store_audit_verify(store, &head, &error));
    rz_store_close(store);
    assert_int_equal(run_outside(path, "DELETE FROM audit WHERE number = 2"), SQLITE_OK);
    store = fixture_open("audit", false);
    check_fails(rz_store_audit_verify(store, &head, &error), RZ_E_CORRUPT, "row 3 ");
    rz_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_fresh_or_missing),
        cmocka_unit_test(explanations_belong_to_scores),
        cmocka_unit_test(changes_are_told),
        cmocka_unit_test(nothing_is_written_beside_an_open_batch),
        cmocka_unit_test(audit_shows_every_change),
    };
    return cmocka_run_group_tests(tests, fixture_make, NULL);
}
