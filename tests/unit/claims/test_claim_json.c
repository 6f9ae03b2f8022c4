#include "check.h"

#include "base/size.h"
#include "claims/claim_json.h"

static const char whole[] =
    "{\"claim_id\":\"c1\",\"facility\":\"H001\",\"patient\":{\"id\":\"p1\",\"sex\":\"F\","
    "\"birth_date\":\"1956-03-02\"},\"setting\":\"outpatient\",\"start\":\"2024-05-01\","
    "\"end\":\"2024-05-31\",\"known\":\"2024-06-10\",\"diagnoses\":[{\"system\":\"icd10\","
    "\"code\":\"N189\",\"date\":\"2024-05-01\",\"suspected\":false},{\"system\":\"icd10\","
    "\"code\":\"C349\",\"date\":\"2019-01-07\",\"suspected\":true}],\"medications\":["
    "{\"system\":\"yj\",\"code\":\"2171022F1029\",\"date\":\"2024-05-01\",\"days\":30}],"
    "\"procedures\":[],\"labs\":[{\"system\":\"loinc\",\"code\":\"4548-4\",\"date\":\"2024-05-01\","
    "\"value\":7.1,\"unit\":\"%\"}],\"death\":\"2024-06-01\"}";

typedef struct fixture {
    rz_arena arena;
    json_t *document;
    rz_claim claim;
    rz_claim_problems problems;
    rz_error error;
} fixture;

static rz_status read_claim(fixture *f, const char *text)
{
    rz_claim_rules rules = {.latest_day = rz_day_from_civil(2025, 1, 1)};
    json_decref(f->document);
    f->document = NULL;
    rz_arena_reset(&f->arena);
    rz_error_clear(&f->error);
    rz_status status = rz_json_parse(text, strlen(text), &f->document, &f->error);
    if (status == RZ_OK)
        status =
            rz_claim_from_json(f->document, &rules, &f->arena, &f->claim, &f->problems, &f->error);
    return status;
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (f == NULL)
        return -1;
    rz_arena_init(&f->arena, 1 << 24);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    json_decref(f->document);
    rz_arena_done(&f->arena);
    free(f);
    return 0;
}

static void a_claim_goes_there_and_back(void **state)
{
    fixture *f = *state;
    rz_error error = {0};
    if (read_claim(f, whole) != RZ_OK)
        fail_msg("%s", f->error.text);
    const rz_claim *c = &f->claim;
    assert_string_equal(c->claim_id, "c1");
    assert_int_equal(c->sex, RZ_SEX_FEMALE);
    assert_int_equal(c->birth_day, rz_day_from_civil(1956, 3, 2));
    assert_int_equal(c->known_day, rz_day_from_civil(2024, 6, 10));
    assert_int_equal(c->n_events, 6);
    assert_int_equal(c->events[0].kind, RZ_KIND_ENCOUNTER);
    assert_string_equal(c->events[0].code, "outpatient");
    assert_int_equal(c->events[0].day, c->start_day);
    assert_int_equal(c->events[2].flags, RZ_EVENT_SUSPECTED);
    assert_int_equal(c->events[2].known_day, c->known_day);
    check_near(c->events[3].value, 30, 0);
    assert_string_equal(c->events[3].unit, "d");
    check_near(c->events[4].value, 7.1, 0);
    assert_int_equal(c->events[5].kind, RZ_KIND_DEATH);
    rz_buffer out;
    rz_buffer_init(&out, 1 << 16);
    check_ok(rz_claim_to_json(c, &out, &error));
    assert_string_equal(out.data, whole);
    rz_buffer_done(&out);
    rz_buffer_init(&out, 40);
    check_fails(rz_claim_to_json(c, &out, &error), RZ_E_TOO_LARGE, "40 bytes");
    rz_buffer_done(&out);
}

static void defaults_and_null(void **state)
{
    fixture *f = *state;
    if (read_claim(f, "{\"claim_id\":\"c\",\"facility\":\"h\",\"patient\":{\"id\":\"p\"},\"start\":"
                      "\"2024-02-29\",\"end\":null,\"labs\":null}") != RZ_OK)
        fail_msg("%s", f->error.text);
    assert_int_equal(f->claim.end_day, rz_day_from_civil(2024, 2, 29));
    assert_int_equal(f->claim.known_day, f->claim.end_day);
    assert_int_equal(f->claim.birth_day, RZ_DAY_NONE);
    assert_int_equal(f->claim.n_events, 1);
    assert_string_equal(f->claim.events[0].code, "unknown");
}

/* Awkward text and numbers survive; the reader gets back what was written. */
static void escapes_and_numbers(void **state)
{
    fixture *f = *state;
    rz_error error = {0};
    static const double values[] = {0.1,   1e300, -2.5e-7, 123456789.25, 1.0 / 3.0,
                                    -17.0, 0.0,   1e15,    7.0000001,    5e-324};
    rz_event events[RZ_COUNT(values)];
    for (size_t i = 0; i < RZ_COUNT(values); i++)
        events[i] = (rz_event){.kind = RZ_KIND_LAB,
                               .system = RZ_SYSTEM_LOCAL,
                               .code = "a\"b\\c/日本",
                               .value = values[i],
                               .unit = "µg"};
    rz_claim claim = {.claim_id = "x\"\\",
                      .facility = "f",
                      .patient_id = "日本\x01",
                      .birth_day = RZ_DAY_NONE,
                      .events = events,
                      .n_events = RZ_COUNT(values)};
    rz_buffer out;
    rz_buffer_init(&out, 1 << 16);
    check_ok(rz_claim_to_json(&claim, &out, &error));
    json_t *document = NULL;
    check_ok(rz_json_parse(out.data, out.length, &document, &error));
    assert_string_equal(json_string_value(json_object_get(document, "claim_id")), "x\"\\");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(document, "patient"), "id")), "日本\x01");
    for (size_t i = 0; i < RZ_COUNT(values); i++) {
        const json_t *lab = json_array_get(json_object_get(document, "labs"), i);
        check_near(json_number_value(json_object_get(lab, "value")), values[i], 0);
        assert_string_equal(json_string_value(json_object_get(lab, "code")), "a\"b\\c/日本");
    }
    json_decref(document);
    rz_buffer_done(&out);
    (void)f;
}

#define HEAD  "{\"claim_id\":\"c\",\"facility\":\"h\",\"patient\":{\"id\":\"p\"},"
#define START "\"start\":\"2024-05-01\""

static void every_problem_is_named(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *text, *pointer, *code;
    } cases[] = {
        {"{\"facility\":\"h\",\"patient\":{\"id\":\"p\"}," START "}", "/claim_id", "missing"},
        {"{\"claim_id\":\"\",\"facility\":\"h\",\"patient\":{\"id\":\"p\"}," START "}", "/claim_id",
         "missing"},
        {"{\"claim_id\":\"c\",\"patient\":{\"id\":\"p\"}," START "}", "/facility", "missing"},
        {"{\"claim_id\":\"c\",\"facility\":\"h\"," START "}", "/patient", "missing"},
        {"{\"claim_id\":\"c\",\"facility\":\"h\",\"patient\":\"p\"," START "}", "/patient",
         "bad_type"},
        {"{\"claim_id\":\"c\",\"facility\":\"h\",\"patient\":{}," START "}", "/patient/id",
         "missing"},
        {"{\"claim_id\":7,\"facility\":\"h\",\"patient\":{\"id\":\"p\"}," START "}", "/claim_id",
         "bad_type"},
        {"{\"claim_id\":\"a\\tb\",\"facility\":\"h\",\"patient\":{\"id\":\"p\"}," START "}",
         "/claim_id", "control_character"},
        {"{\"claim_id\":\"c\",\"facility\":\"h\",\"patient\":{\"id\":\"p\",\"sex\":\"W\"}," START
         "}",
         "/patient/sex", "bad_value"},
        {"{\"claim_id\":\"c\",\"facility\":\"h\",\"patient\":{\"id\":\"p\",\"name\":\"x\"}," START
         "}",
         "/patient/name", "unknown_member"},
        {"{\"claim_id\":\"c\",\"facility\":\"h\",\"patient\":{\"id\":\"p\",\"birth_date\":"
         "\"2024-06-01\"}," START "}",
         "/start", "before_birth"},
        {HEAD "\"setting\":\"inpatient\"}", "/start", "missing"},
        {HEAD "\"start\":20240501}", "/start", "bad_type"},
        {HEAD "\"start\":\"2024-02-30\"}", "/start", "impossible_date"},
        {HEAD "\"start\":\"2025-01-02\"}", "/start", "future"},
        {HEAD START ",\"end\":\"2024-04-30\"}", "/end", "end_before_start"},
        {HEAD START ",\"end\":\"2024-05-09\",\"known\":\"2024-05-08\"}", "/known",
         "known_before_end"},
        {HEAD START ",\"setting\":\"ward\"}", "/setting", "bad_value"},
        {HEAD START ",\"note\":\"x\"}", "/note", "unknown_member"},
        {HEAD START ",\"a/b~\":1}", "/a~1b~0", "unknown_member"},
        {HEAD START ",\"labs\":{}}", "/labs", "bad_type"},
        {HEAD START ",\"labs\":[3]}", "/labs/0", "bad_type"},
        {HEAD START ",\"diagnoses\":[{\"code\":\"I10\",\"date\":\"2024-05-01\"}]}",
         "/diagnoses/0/system", "missing"},
        {HEAD START ",\"diagnoses\":[{\"system\":\"icd11\",\"code\":\"I10\",\"date\":"
                    "\"2024-05-01\"}]}",
         "/diagnoses/0/system", "unknown_system"},
        {HEAD START ",\"diagnoses\":[{\"system\":\"icd10\",\"code\":\"10\",\"date\":"
                    "\"2024-05-01\"}]}",
         "/diagnoses/0/code", "bad_code"},
        {HEAD START ",\"diagnoses\":[{\"system\":\"icd10\",\"code\":\"I10\"}]}",
         "/diagnoses/0/date", "missing"},
        {HEAD START ",\"diagnoses\":[{\"system\":\"icd10\",\"code\":\"I10\",\"date\":"
                    "\"2024-05-02\"}]}",
         "/diagnoses/0/date", "after_known"},
        {HEAD START ",\"diagnoses\":[{\"system\":\"icd10\",\"code\":\"I10\",\"date\":"
                    "\"2024-05-01\",\"suspected\":1}]}",
         "/diagnoses/0/suspected", "bad_type"},
        {HEAD START ",\"diagnoses\":[{\"system\":\"icd10\",\"code\":\"I10\",\"date\":"
                    "\"2024-05-01\",\"days\":1}]}",
         "/diagnoses/0/days", "unknown_member"},
        {HEAD START ",\"medications\":[{\"system\":\"atc\",\"code\":\"A10\",\"date\":"
                    "\"2024-05-01\",\"days\":-1}]}",
         "/medications/0/days", "out_of_range"},
        {HEAD START ",\"medications\":[{\"system\":\"atc\",\"code\":\"A10\",\"date\":"
                    "\"2024-05-01\",\"days\":\"30\"}]}",
         "/medications/0/days", "bad_type"},
        {HEAD START ",\"labs\":[{\"system\":\"local\",\"code\":\"A\",\"date\":\"2024-05-01\","
                    "\"value\":\"high\"}]}",
         "/labs/0/value", "bad_type"},
        {HEAD START ",\"death\":\"2024-05-02\"}", "/death", "after_known"},
    };
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        if (read_claim(f, cases[i].text) != RZ_E_INVALID)
            fail_msg("accepted: %s", cases[i].text);
        assert_int_equal(f->problems.count, 1);
        assert_string_equal(f->problems.item[0].pointer, cases[i].pointer);
        assert_string_equal(f->problems.item[0].code, cases[i].code);
        assert_true(strlen(f->problems.item[0].detail) > 10);
    }
}

static void all_problems_come_at_once(void **state)
{
    fixture *f = *state;
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text, "{\"x\":1,\"start\":\"2024-05-01\",\"labs\":[");
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s{\"code\":1}", i > 0 ? "," : "");
    (void)snprintf(text + n, sizeof text - n, "]}");
    assert_int_equal(read_claim(f, text), RZ_E_INVALID);
    /* x, claim_id, facility, patient; of each lab the system, the code and the date */
    assert_int_equal(f->problems.count, 4 + 3 * 40);
    assert_string_equal(f->problems.item[0].pointer, "/x");
    assert_string_equal(f->problems.item[RZ_CLAIM_PROBLEMS_MAX - 1].code, "missing");
    assert_non_null(strstr(f->error.text, "124 problems"));
    assert_non_null(strstr(f->problems.item[1].detail, "give claim_id, a text of 1 to"));
}

static void malformed_json(void **state)
{
    (void)state;
    rz_error error = {0};
    json_t *document = NULL;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "line 1"},
        {"[]", "object is expected"},
        {"3", "line 1"},
        {"{\"a\":1,\"a\":2}", "duplicate"},
        {"{\"a\":1}x", "end of file"},
        {"{\n\"a\":tru}", "line 2"},
        {"{\"a\":\"\xff\"}", "decode byte"},
        {"{\"a\":\"\\u0000\"}", "u0000"},
        {"{\"a\":1e999}", "overflow"},
        {"{\"secret\":\"name\" \"x\"}", "expected"},
    };
    for (size_t i = 0; i < RZ_COUNT(cases); i++)
        check_fails(rz_json_parse(cases[i].text, strlen(cases[i].text), &document, &error),
                    RZ_E_FORMAT, cases[i].words);
    assert_int_equal(rz_json_parse(cases[9].text, strlen(cases[9].text), &document, &error),
                     RZ_E_FORMAT);
    assert_null(strstr(error.text, "name"));
    char deep[100] = "";
    memset(deep, '[', 33);
    memcpy(deep, "{\"a\":", 5);
    check_fails(rz_json_parse(deep, 38, &document, &error), RZ_E_FORMAT, "line 1");
    memset(deep + 5, '[', 40);
    check_fails(rz_json_parse(deep, 45, &document, &error), RZ_E_FORMAT, "deeper than 32");
    /* Brackets inside strings do not nest. */
    rz_error_clear(&error);
    char flat[] = "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[\"}";
    check_ok(rz_json_parse(flat, strlen(flat), &document, &error));
    json_decref(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_claim_goes_there_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(defaults_and_null, set_up, tear_down),
        cmocka_unit_test_setup_teardown(escapes_and_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_problem_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_problems_come_at_once, set_up, tear_down),
        cmocka_unit_test(malformed_json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
