#include "task_fixture.h"

#include "base/file.h"

#include <unistd.h>

#define HEAD  "{\"name\":\"a\",\"kind\":\"disease\",\"title\":{\"en\":\"A\",\"ja\":\"A\"}"
#define WHOLE HEAD ",\"outcome\":{\"icd10\":[\"N18\"]}"

static rz_status parse(const char *text, rz_task *out, rz_error *error)
{
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (json == NULL)
        fail_msg("not JSON: %s", text);
    rz_status status = rz_task_from_json(json, out, error);
    json_decref(json);
    return status;
}

static void defaults(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_task task;
    check_ok(parse(WHOLE "}", &task, &error));
    assert_int_equal(task.kind, RZ_KIND_DIAGNOSIS);
    assert_int_equal(task.min_history_days, 365);
    assert_int_equal(task.horizon_days, 365);
    assert_int_equal(task.age_min, 0);
    assert_int_equal(task.age_max, RZ_TASK_AGE_ANY);
    assert_int_equal(task.sex, RZ_SEX_UNKNOWN);
    assert_int_equal(task.n_required, 0);
}

static void prefixes_are_written_as_codes_are_stored(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_task task;
    check_ok(parse(HEAD ",\"outcome\":{\"icd10\":[\"n18.9\",\"E1\"],\"local\":[\"aB c\"]}}", &task,
                   &error));
    assert_int_equal(task.n_outcomes, 3);
    assert_string_equal(task.outcomes[0].prefix, "N189");
    assert_string_equal(task.outcomes[1].prefix, "E1");
    assert_string_equal(task.outcomes[2].prefix, "aB c");
}

static void there_and_back(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_task task, again;
    check_ok(
        parse("{\"name\":\"x-1\",\"kind\":\"medication\",\"title\":{\"en\":\"X\",\"ja\":\"薬\"},"
              "\"outcome\":{\"yj\":[\"2171022\",\"2171023\"],\"atc\":[\"C08CA01\"]},"
              "\"population\":{\"age_min\":18,\"age_max\":90,\"sex\":\"F\","
              "\"required\":{\"icd10\":[\"I10\"]}},\"washout\":\"all_history\","
              "\"min_history_days\":180,\"horizon_days\":730}",
              &task, &error));
    assert_int_equal(task.sex, RZ_SEX_FEMALE);
    json_t *json = rz_task_to_json(&task);
    assert_non_null(json);
    check_ok(rz_task_from_json(json, &again, &error));
    assert_memory_equal(&task, &again, sizeof task);
    json_decref(json);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {WHOLE ",\"horizn_days\":3}", "no member \"horizn_days\""},
        {WHOLE ",\"horizon_days\":0}", "horizon_days: a whole number of 1"},
        {WHOLE ",\"horizon_days\":365.0}", "horizon_days"},
        {WHOLE ",\"min_history_days\":-1}", "min_history_days"},
        {WHOLE ",\"washout\":\"1 year\"}", "all_history"},
        {WHOLE ",\"index\":\"random\"}", "claim_day_by_patient_hash"},
        {WHOLE ",\"population\":{\"age_min\":50,\"age_max\":40}}", "age_max: a whole number of 50"},
        {WHOLE ",\"population\":{\"sex\":\"U\"}}", "population.sex"},
        {WHOLE ",\"population\":{\"required\":{}}}", "population.required: at least one"},
        {WHOLE ",\"population\":[]}", "population"},
        {HEAD "}", "outcome: an object"},
        {HEAD ",\"outcome\":{\"icd11\":[\"X\"]}}", "no code system \"icd11\""},
        {HEAD ",\"outcome\":{\"icd10\":\"N18\"}}", "a list"},
        {HEAD ",\"outcome\":{\"icd10\":[18]}}", "icd10[0]: a text"},
        {HEAD ",\"outcome\":{\"icd10\":[\"N 18\"]}}", "no prefix"},
        {HEAD ",\"outcome\":{\"icd10\":[\".\"]}}", "empty prefix"},
        {HEAD ",\"outcome\":{\"icd10\":[\"N23456789012345678901234\"]}}", "at most 23"},
        {"{\"name\":\"A\"}", "name: \"A\""},
        {"{\"name\":\"-a\"}", "beginning"},
        {"{\"name\":\"a\",\"kind\":\"lab\"}", "\"disease\" or"},
        {"{\"name\":\"a\",\"kind\":\"disease\",\"title\":{\"en\":\"A\"}}", "title.ja"},
        {"{}", "name: a text"},
    };
    rz_error error = {0};
    rz_task task = {.horizon_days = 77};
    for (size_t i = 0; i < RZ_COUNT(cases); i++)
        check_fails(parse(cases[i].text, &task, &error), RZ_E_INVALID, cases[i].words);
    assert_int_equal(task.horizon_days, 77); /* outputs are written only on success */
    check_fails(parse("[]", &task, &error), RZ_E_FORMAT, "object");
}

static void too_many_prefixes(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_task task;
    char text[1024] = HEAD ",\"outcome\":{\"icd10\":[\"A00\"";
    for (int i = 1; i <= RZ_TASK_PREFIXES_MAX; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), ",\"A%02d\"", i);
    (void)snprintf(text + strlen(text), sizeof text - strlen(text), "]}}");
    check_fails(parse(text, &task, &error), RZ_E_INVALID, "at most 32");
}

static void the_tasks_of_the_house(void **state)
{
    (void)state;
    static const char *const names[] = {"amlodipine", "ckd", "hypertension", "pregabalin"};
    static rz_task tasks[RZ_TASKS_MAX];
    rz_error error = {0};
    char folder[1024];
    size_t n = 0;
    const char *root = getenv("REZEPT_SOURCE_ROOT");
    assert_non_null(root);
    (void)snprintf(folder, sizeof folder, "%s/models/tasks", root);
    check_ok(rz_tasks_load(folder, tasks, &n, &error));
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(tasks[i].name, names[i]);
    rz_timeline_event amlodipine =
        fixture_event(1, 1, RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, "2171022F1029", 0);
    assert_true(rz_task_matches(&tasks[0], &amlodipine));
    assert_false(rz_task_matches(&tasks[3], &amlodipine));
    (void)snprintf(folder, sizeof folder, "%s/models/tasks/extra", root);
    check_ok(rz_tasks_load(folder, tasks, &n, &error));
    assert_int_equal(n, 2);
    assert_string_equal(tasks[0].name, "gi_bleed");
    rz_timeline_event bleeding = DIAGNOSIS(1, 1, "K922");
    assert_true(rz_task_matches(&tasks[0], &bleeding));
}

static void folders_that_cannot_be_used(void **state)
{
    (void)state;
    static rz_task tasks[RZ_TASKS_MAX];
    rz_error error = {0};
    char folder[] = "/tmp/rezept-tasks-XXXXXX", path[64];
    size_t n = 99;
    assert_non_null(mkdtemp(folder));
    check_fails(rz_tasks_load(folder, tasks, &n, &error), RZ_E_NOT_FOUND, "holds no task");
    (void)snprintf(path, sizeof path, "%s/a.json", folder);
    check_ok(rz_file_write(path, WHOLE "}", strlen(WHOLE "}"), &error));
    (void)snprintf(path, sizeof path, "%s/b.json", folder);
    check_ok(rz_file_write(path, WHOLE "}", strlen(WHOLE "}"), &error));
    check_fails(rz_tasks_load(folder, tasks, &n, &error), RZ_E_CONFLICT, "already in a.json");
    check_ok(rz_file_write(path, "{\n\"name\":\n}", 11, &error));
    check_fails(rz_tasks_load(folder, tasks, &n, &error), RZ_E_FORMAT, "b.json:3");
    check_ok(rz_file_write(path, "{\"name\":7}", 10, &error));
    check_fails(rz_tasks_load(folder, tasks, &n, &error), RZ_E_INVALID, "b.json: name");
    assert_int_equal(n, 99);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/a.json", folder);
    (void)unlink(path);
    (void)rmdir(folder);
    check_fails(rz_tasks_load(folder, tasks, &n, &error), RZ_E_NOT_FOUND, folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(defaults),
                                       cmocka_unit_test(prefixes_are_written_as_codes_are_stored),
                                       cmocka_unit_test(there_and_back),
                                       cmocka_unit_test(refused),
                                       cmocka_unit_test(too_many_prefixes),
                                       cmocka_unit_test(the_tasks_of_the_house),
                                       cmocka_unit_test(folders_that_cannot_be_used)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
