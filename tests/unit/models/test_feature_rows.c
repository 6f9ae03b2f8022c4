/* Rows of features: what is counted, in which window, and that nothing later than the index is. */
#include "check.h"

#include "feature_rows.h"
#include "tasks/age_sex.h"

enum { INDEX = 20000, EVENTS_MAX = 32 };

static rz_vocabulary *vocabulary;
static features *made;

static rz_timeline_event diagnosis(int32_t day, int32_t known_day, const char *code)
{
    return (rz_timeline_event){.day = day,
                               .known_day = known_day,
                               .kind = RZ_KIND_DIAGNOSIS,
                               .system = RZ_SYSTEM_ICD10,
                               .setting = RZ_SETTING_OUTPATIENT,
                               .value = NAN,
                               .code = code};
}

static rz_timeline timeline_of(const rz_timeline_event *events, size_t n)
{
    return (rz_timeline){.patient = 1,
                         .hash = 7,
                         .sex = RZ_SEX_MALE,
                         .birth_day = INDEX - 25568, /* 70 years */
                         .n_events = n,
                         .events = events};
}

static int set_up(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary_builder *builder = NULL;
    const rz_timeline_event events[] = {diagnosis(100, 100, "E119"), diagnosis(100, 100, "I10")};
    const rz_timeline timeline = timeline_of(events, 2);
    check_ok(rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, &error));
    check_ok(rz_vocabulary_builder_add(builder, &timeline, &error));
    check_ok(rz_vocabulary_builder_finish(builder, 1, &vocabulary, &error));
    rz_vocabulary_builder_free(builder);
    check_ok(features_new(vocabulary, &made, &error));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    features_free(made);
    rz_vocabulary_free(vocabulary);
    return 0;
}

static void row_of(const rz_timeline_event *events, size_t n, sparse_rows *out)
{
    rz_error error = {0};
    const rz_timeline timeline = timeline_of(events, n);
    check_ok(sparse_init(out, features_columns(made), &error));
    check_ok(features_add(made, &timeline, INDEX, out, &error));
}

/* The value of a feature by its name, 0 where the row has none. */
static double value_of(const sparse_rows *rows, const char *name)
{
    char text[FEATURE_NAME];
    for (size_t j = 0; j < rows->n_columns; j++) {
        if (strcmp(features_name(made, j, text), name) != 0)
            continue;
        for (size_t i = 0; i < rows->start[1]; i++)
            if (rows->column[i] == j)
                return (double)rows->value[i];
        return 0.0;
    }
    fail_msg("there is no feature \"%s\"", name);
    return NAN;
}

static void check_count(const sparse_rows *rows, const char *name, double count)
{
    double value = value_of(rows, name);
    if (!(fabs(value - log(1.0 + count)) < 1e-6))
        fail_msg("%s: log(1 + x) = %g, so x = %g, not %g", name, value, exp(value) - 1.0, count);
}

static void test_events_are_counted_in_their_windows(void **state)
{
    (void)state;
    rz_timeline_event events[] = {
        diagnosis(INDEX - 800, INDEX - 790, "E1190"), /* E119 in the vocabulary */
        diagnosis(INDEX - 365, INDEX - 365, "E119"),  /* a day too old for the year */
        diagnosis(INDEX - 364, INDEX - 364, "E119"),
        diagnosis(INDEX - 90, INDEX - 89, "I10"), /* known in the 90 days, happened before */
        diagnosis(INDEX - 89, INDEX - 89, "I10"),
        diagnosis(INDEX, INDEX, "Z999"), /* in no vocabulary */
        diagnosis(INDEX, INDEX, "E119"),
        diagnosis(INDEX, INDEX, "C189"),
    };
    events[5].setting = events[6].setting = RZ_SETTING_INPATIENT;
    events[7].flags = RZ_EVENT_SUSPECTED;
    sparse_rows rows;
    row_of(events, 8, &rows);
    check_count(&rows, "diagnosis icd10 E119, all time", 4);
    check_count(&rows, "diagnosis icd10 E119, 365 days", 2);
    check_count(&rows, "diagnosis icd10 E119, 90 days", 1);
    check_count(&rows, "diagnosis icd10 I10, all time", 2);
    check_count(&rows, "diagnosis icd10 I10, 365 days", 2);
    check_count(&rows, "diagnosis icd10 I10, 90 days", 1);
    check_count(&rows, "unknown diagnoses, all time", 1);
    check_count(&rows, "events, all time", 8);
    check_count(&rows, "events, 90 days", 4);
    check_count(&rows, "event days, all time", 6);
    check_count(&rows, "claim days, all time", 5);
    check_count(&rows, "claim days, 90 days", 2);
    check_count(&rows, "inpatient days, 90 days", 1);
    check_count(&rows, "inpatient days, all time", 1);
    check_count(&rows, "different codes", 3);
    check_count(&rows, "days of record", 800);
    check_count(&rows, "days since the last event", 0);
    check_near(value_of(&rows, "age"), 2.0, 1e-3); /* decades from 50 */
    check_near(value_of(&rows, "male"), 1.0, 0.0);
    sparse_done(&rows);
}

static void test_encounters_and_medications(void **state)
{
    (void)state;
    rz_timeline_event events[] = {diagnosis(INDEX - 100, INDEX - 100, ""),
                                  diagnosis(INDEX - 40, INDEX - 40, "2171022F1029")};
    events[0].kind = RZ_KIND_ENCOUNTER;
    events[0].system = RZ_SYSTEM_LOCAL;
    events[1].kind = RZ_KIND_MEDICATION;
    events[1].system = RZ_SYSTEM_YJ;
    sparse_rows rows;
    row_of(events, 2, &rows);
    check_count(&rows, "encounters, all time", 1);
    check_count(&rows, "encounters, 90 days", 0);
    check_count(&rows, "unknown medications, 90 days", 1);
    check_count(&rows, "days since the last event", 40);
    sparse_done(&rows);
}

/* Whatever is appended after the index, or becomes known after it, the row stays the same. */
static void test_the_future_is_not_looked_at(void **state)
{
    (void)state;
    rz_timeline_event events[EVENTS_MAX];
    size_t n = 0;
    events[n++] = diagnosis(INDEX - 400, INDEX - 390, "E119");
    events[n++] = diagnosis(INDEX - 30, INDEX, "I10");
    sparse_rows before, after;
    row_of(events, n, &before);
    rz_timeline_event late = diagnosis(INDEX - 30, INDEX + 1, "E119"); /* known a day too late */
    events[n++] = late;
    for (int32_t day = 1; n < EVENTS_MAX; day++)
        events[n++] = diagnosis(INDEX + day, INDEX + day, day % 2 == 0 ? "E119" : "N189");
    row_of(events, n, &after);
    assert_int_equal(before.start[1], after.start[1]);
    assert_memory_equal(before.column, after.column, before.start[1] * sizeof *before.column);
    assert_memory_equal(before.value, after.value, before.start[1] * sizeof *before.value);
    sparse_done(&after);
    /* The same events a day earlier do change it, so that the comparison means something. */
    events[2].known_day = INDEX;
    row_of(events, 3, &after);
    assert_int_equal(after.start[1] > before.start[1], 1);
    sparse_done(&before);
    sparse_done(&after);
}

static void test_an_empty_history_has_its_common_columns(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_timeline timeline = timeline_of(NULL, 0);
    timeline.sex = RZ_SEX_UNKNOWN;
    timeline.birth_day = RZ_DAY_NONE;
    sparse_rows rows;
    check_ok(sparse_init(&rows, features_columns(made), &error));
    check_ok(features_add(made, &timeline, INDEX, &rows, &error));
    check_near(value_of(&rows, "male"), 0.5, 0.0);
    check_near(value_of(&rows, "age"), 0.0, 0.0); /* counts as 50 */
    check_count(&rows, "events, all time", 0);
    check_count(&rows, "days of record", 0);
    sparse_done(&rows);
}

static void test_every_column_has_a_name_of_its_own(void **state)
{
    (void)state;
    char a[FEATURE_NAME], b[FEATURE_NAME];
    size_t n = features_columns(made);
    assert_int_equal(n, RZ_AGE_SEX_FEATURES + 5 * 3 + 3 + (2 + 2) * 3);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(features_name(made, i, a), features_name(made, j, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_are_counted_in_their_windows),
        cmocka_unit_test(test_encounters_and_medications),
        cmocka_unit_test(test_the_future_is_not_looked_at),
        cmocka_unit_test(test_an_empty_history_has_its_common_columns),
        cmocka_unit_test(test_every_column_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
