/* Opening, and what ends an import. */
#include "files.h"

#include "base/hash.h"
#include "base/size.h"
#include "import/reader.h"

static rz_status import_file(const char *format, const char *path, rz_import_options options,
                             rz_import_summary *summary, rz_error *error)
{
    rz_import *import = NULL;
    bool more = true;
    rz_status status = rz_import_open(format, &path, 1, &options, &import, error);
    while (status == RZ_OK && more) {
        rz_claim claim;
        status = rz_import_next(import, &claim, &more, error);
    }
    if (import != NULL && summary != NULL)
        *summary = *rz_import_summary_of(import);
    rz_import_close(import);
    return status;
}

static void mistakes_at_the_door(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_import *import = NULL;
    rz_import_options options = rz_import_options_defaults();
    char path[256];
    make_file(path, sizeof path, "x.txt", "", 0);
    const char *file = path;
    check_fails(rz_import_open("fhir", &file, 1, &options, &import, &error), RZ_E_UNSUPPORTED,
                "no import format fhir; use native");
    check_fails(rz_import_open("native", &file, 0, &options, &import, &error), RZ_E_USAGE,
                "at least one");
    check_fails(import_file("native", "/nowhere", options, NULL, &error), RZ_E_NOT_FOUND,
                "/nowhere");
    options.facility = "a\tb";
    check_fails(import_file("omop", path, options, NULL, &error), RZ_E_USAGE, "facility");
    options.facility = NULL;
    check_fails(import_file("omop", path, options, NULL, &error), RZ_E_NOT_FOUND,
                "none of the 1 files");
    check_fails(import_file("synpuf", path, options, NULL, &error), RZ_E_NOT_FOUND, "Beneficiary");
    options.prefix_map = "/nowhere/map.csv";
    check_fails(import_file("meds", path, options, NULL, &error), RZ_E_NOT_FOUND, "map.csv");
    options.prefix_map = NULL;
    char folder[256];
    (void)snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    check_fails(import_file("native", folder, options, NULL, &error), RZ_E_NOT_FOUND, "*.ndjson");
    remove_file(path);
    make_file(path, sizeof path, "condition_occurrence.csv", "a,b\n", 4);
    check_fails(import_file("omop", path, options, NULL, &error), RZ_E_NOT_FOUND, "person.csv");
    remove_file(path);
}

static void damaged_claims_end_the_import(void **state)
{
    (void)state;
    rz_error error = {0};
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{\"claim_id\":\"c\"}\n{\"claim_id\":", "x.ndjson: line 2, column"},
        {"\n\n[1]\n", "x.ndjson: line 3, column 1: a JSON object"},
        {"{\"a\":1,\"a\":2}\n", "line 1, column 10: duplicate object key"},
        {"{}\n{\"a\":\"caf\xE9\"}\n", "line 2, column 10: byte 0xe9"},
    };
    char path[256];
    make_file(path, sizeof path, "x.ndjson", "", 0);
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rewrite_file(path, cases[i].text, strlen(cases[i].text));
        check_fails(import_file("native", path, rz_import_options_defaults(), NULL, &error),
                    RZ_E_FORMAT, cases[i].words);
    }
    remove_file(path);
}

static void wrong_columns_and_order(void **state)
{
    (void)state;
    rz_error error = {0};
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"subject_id,time\n1,\n", "line 1: there is no column code"},
        {"subject_id;time;code\n1;;A\n", "commas must separate them"},
        {"subject_id,time,code\n1,2001-01-01,ICD10/I10\n2,2001-01-01,ICD10/I10\n"
         "1,2001-01-02,ICD10/I10\n",
         "line 4: the rows of a subject lie apart"},
        {"subject_id,time,code\n1,2001-01-01\n", "line 2, column 13: 2 fields"},
    };
    char path[256];
    make_file(path, sizeof path, "x.csv", "", 0);
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rewrite_file(path, cases[i].text, strlen(cases[i].text));
        check_fails(import_file("meds", path, rz_import_options_defaults(), NULL, &error),
                    RZ_E_FORMAT, cases[i].words);
    }
    remove_file(path);
}

static void prefixes_from_a_file(void **state)
{
    (void)state;
    rz_error error = {0};
    static const char rows[] = "subject_id,time,code\n1,2001-01-01,DX:I10\n1,2001-01-01,IN\n"
                               "1,2001-01-01,ICD10/I10\n";
    static const char map[] = "prefix,kind,system\nDX:,diagnosis,icd10\nIN,encounter,inpatient\n";
    char path[256], map_path[256];
    rz_import_summary s;
    rz_import_options options = rz_import_options_defaults();
    make_file(path, sizeof path, "x.csv", rows, sizeof rows - 1);
    make_file(map_path, sizeof map_path, "map.csv", map, sizeof map - 1);
    options.prefix_map = map_path;
    check_ok(import_file("meds", path, options, &s, &error));
    assert_int_equal(s.events, 2);
    assert_int_equal(s.events_by_system[RZ_SYSTEM_ICD10], 1);
    assert_int_equal(s.refusals[0].rows, 1);
    assert_string_equal(s.refusals[0].reason, "code without a known prefix");
    static const char *const wrong[] = {"X,disease,icd10\n", "X,diagnosis,icd11\n",
                                        "X,encounter,icd10\n", ",diagnosis,icd10\n"};
    for (size_t i = 0; i < RZ_COUNT(wrong); i++) {
        char text[128];
        int n = snprintf(text, sizeof text, "prefix,kind,system\n%s", wrong[i]);
        rewrite_file(map_path, text, (size_t)n);
        check_fails(import_file("meds", path, options, NULL, &error), RZ_E_FORMAT,
                    "line 2: give a prefix");
    }
    remove_file(path);
    remove_file(map_path);
}

static void refusals_are_bounded(void **state)
{
    (void)state;
    rz_error error = {0};
    char path[256], text[4096];
    size_t n = 0;
    rz_import_summary s;
    for (int i = 0; i < 9; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "{\"claim_id\":\"c%d\"}\n", i);
    make_file(path, sizeof path, "x.ndjson", text, n);
    check_ok(import_file("native", path, rz_import_options_defaults(), &s, &error));
    assert_int_equal(s.rows_read, 9);
    assert_int_equal(s.claims, 0);
    assert_int_equal(s.n_refusals, 1);
    assert_int_equal(s.refusals[0].rows, 9);
    for (unsigned i = 0; i < RZ_IMPORT_EXAMPLES_MAX; i++) {
        assert_string_equal(s.refusals[0].examples[i].file, "x.ndjson");
        assert_int_equal(s.refusals[0].examples[i].line, i + 1);
    }
    remove_file(path);
}

/* Thousands of claims through the thread that reads ahead: in order, with what the caller refuses
 * at its line, an error where it stands in the file, and an end in the middle. */
static void reading_ahead(void **state)
{
    (void)state;
    enum { CLAIMS = 3000, BYTES = CLAIMS * 400 };
    rz_error error = {0};
    char path[256], *text = malloc(BYTES);
    size_t n = 0;
    assert_non_null(text);
    for (int i = 0; i < CLAIMS; i++)
        n += (size_t)snprintf(
            text + n, BYTES - n,
            "{\"claim_id\":\"c%d\",\"facility\":\"H1\",\"patient\":{\"id\":\"p%d\",\"sex\":\"F\","
            "\"birth_date\":\"1950-01-02\"},\"setting\":\"outpatient\",\"start\":\"2020-01-01\","
            "\"end\":\"2020-01-31\",\"diagnoses\":[{\"system\":\"icd10\",\"code\":\"I10\","
            "\"date\":\"2020-01-01\"}],\"medications\":[],\"procedures\":[],\"labs\":[]}\n",
            i, i / 10);
    make_file(path, sizeof path, "x.ndjson", text, n);
    const char *file = path;
    rz_import_options options = rz_import_options_defaults();
    options.read_ahead = true;
    rz_import *import = NULL;
    check_ok(rz_import_open("native", &file, 1, &options, &import, &error));
    rz_claim claim;
    bool more = true;
    for (int i = 0; i < CLAIMS; i++) {
        char id[16];
        check_ok(rz_import_next(import, &claim, &more, &error));
        assert_true(more);
        (void)snprintf(id, sizeof id, "c%d", i);
        assert_string_equal(claim.claim_id, id);
        if (i % 1000 == 7)
            rz_import_refuse(import, &claim, "demographics conflict");
    }
    check_ok(rz_import_next(import, &claim, &more, &error));
    assert_false(more);
    check_ok(rz_import_next(import, &claim, &more, &error));
    assert_false(more);
    const rz_import_summary *s = rz_import_summary_of(import);
    assert_int_equal(s->claims, CLAIMS - 3);
    assert_int_equal(s->events_by_kind[RZ_KIND_DIAGNOSIS], CLAIMS - 3);
    assert_int_equal(s->rows_read, CLAIMS);
    assert_int_equal(s->n_refusals, 1);
    assert_int_equal(s->refusals[0].rows, 3);
    assert_int_equal(s->refusals[0].examples[2].line, 2008);
    assert_int_equal(s->bytes_read, s->bytes_total);
    rz_import_close(import);
    check_ok(rz_import_open("native", &file, 1, &options, &import, &error));
    check_ok(rz_import_next(import, &claim, &more, &error));
    rz_import_close(import); /* the thread is somewhere in the file, or waits for room */
    text[n - 2] = '!';
    rewrite_file(path, text, n);
    check_ok(rz_import_open("native", &file, 1, &options, &import, &error));
    for (int i = 0; i < CLAIMS - 1; i++)
        check_ok(rz_import_next(import, &claim, &more, &error));
    check_fails(rz_import_next(import, &claim, &more, &error), RZ_E_FORMAT, "line 3000");
    rz_import_close(import);
    remove_file(path);
    free(text);
}

static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0", 0},          {"7.1", 7.1},   {"-1.50", -1.5},   {".5", 0.5},
        {"12.", 12},       {"1e3", 1000},  {"2.5E-2", 0.025}, {"1e+2", 100},
        {"5e-324", 0},     {"1e309", NAN}, {"", NAN},         {"-", NAN},
        {"1,5", NAN},      {"0x10", NAN},  {"nan", NAN},      {"1e", NAN},
        {"1e9999", NAN},   {"1.2.3", NAN}, {"98.6", 98.6},    {"123456789.125", 123456789.125},
        {"0.000001", 1e-6}};
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        double got = rz_reader_number((rz_field){cases[i].text, strlen(cases[i].text)});
        if (isnan(cases[i].value) ? !isnan(got) : !(fabs(got - cases[i].value) <= 1e-300))
            fail_msg("%s: %.17g, wanted %.17g", cases[i].text, got, cases[i].value);
    }
    int64_t n = 7;
    assert_true(rz_reader_integer((rz_field){"-9223372036854775808", 20}, &n));
    assert_true(n == INT64_MIN);
    assert_true(rz_reader_integer((rz_field){"9223372036854775807", 19}, &n));
    assert_true(n == INT64_MAX);
    assert_false(rz_reader_integer((rz_field){"9223372036854775808", 19}, &n));
    assert_false(rz_reader_integer((rz_field){"", 0}, &n));
    assert_false(rz_reader_integer((rz_field){"-", 1}, &n));
    assert_false(rz_reader_integer((rz_field){"1.0", 3}, &n));
}

static int set_up(void **state)
{
    (void)state;
    return rz_hash_setup(NULL) == RZ_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(mistakes_at_the_door),
                                       cmocka_unit_test(damaged_claims_end_the_import),
                                       cmocka_unit_test(wrong_columns_and_order),
                                       cmocka_unit_test(prefixes_from_a_file),
                                       cmocka_unit_test(refusals_are_bounded),
                                       cmocka_unit_test(reading_ahead),
                                       cmocka_unit_test(numbers)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
