#include "check.h"

#include "query.h"
#include "risk_table.h"
#include "table.h"

static void queries_are_escaped(void **state)
{
    (void)state;
    rz_buffer path;
    rz_buffer_init(&path, 200);
    assert_int_equal(rz_buffer_add_text(&path, "/v1/patients/"), RZ_OK);
    assert_int_equal(query_escape(&path, "a/b c%é"), RZ_OK);
    assert_int_equal(query_add(&path, "facility", "H&1"), RZ_OK);
    assert_int_equal(query_add(&path, "task", NULL), RZ_OK);
    assert_int_equal(query_add(&path, "as_of", "2024-01-01"), RZ_OK);
    assert_string_equal(path.data,
                        "/v1/patients/a%2Fb%20c%25%C3%A9?facility=H%261&as_of=2024-01-01");
    rz_buffer_done(&path);
}

static char *printed(void (*print)(const void *, FILE *), const void *what)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    print(what, out);
    (void)fclose(out);
    return text;
}

static void print_table(const void *t, FILE *out)
{
    table_print(t, out);
}

static void tables_align_wide_letters(void **state)
{
    (void)state;
    rz_error error = {0};
    table t = {0};
    table_column(&t, "task", false);
    table_column(&t, "n", true);
    table_column(&t, "end", false);
    const char *one[] = {"高血圧", "5", "x"}, *two[] = {"ckd", "1234", "a\tb"};
    check_ok(table_row(&t, one, &error));
    check_ok(table_row(&t, two, &error));
    char *text = printed(print_table, &t);
    assert_string_equal(text, "task       n  end\n"
                              "高血圧     5  x\n"
                              "ckd     1234  a?b\n");
    free(text);
    table_done(&t);
}

static void print_risks(const void *risks, FILE *out)
{
    rz_error error = {0};
    check_ok(risk_table_print(risks, out, &error));
}

static void risks_are_readable(void **state)
{
    (void)state;
    json_t *risks = json_loads(
        "[{\"task\":\"ckd\",\"title\":\"Chronic kidney disease\",\"probability\":0.1234,"
        "\"interval\":[0.1,0.15],\"similar\":{\"n\":80,\"positives\":10},"
        "\"average_age_sex\":0.05,\"unmapped_codes\":7,\"model\":{\"id\":\"risks\"},"
        "\"contributions\":[{\"system\":\"icd10\",\"code\":\"E119\",\"first_day\":\"2024-01-01\","
        "\"last_day\":\"2024-05-01\",\"logit_change\":-0.5,\"risk_change\":-0.034}]},"
        "{\"task\":\"hypertension\",\"probability\":null,\"reason\":\"already_recorded\","
        "\"recorded\":{\"code\":\"I10\",\"date\":\"2024-02-01\"}}]",
        0, NULL);
    assert_non_null(risks);
    char *text = printed(print_risks, risks);
    assert_non_null(strstr(text, "12.3 %"));
    assert_non_null(strstr(text, "10.0 % to 15.0 %"));
    assert_non_null(strstr(text, "10 of 80"));
    assert_non_null(strstr(text, "\n7 codes of this history are unknown to the model.\n"));
    assert_non_null(strstr(text, "already recorded (I10 on 2024-02-01)"));
    assert_non_null(strstr(text, "- 3.4 points (-0.50)  icd10 E119  2024-01-01 to 2024-05-01"));
    free(text);
    json_decref(risks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(queries_are_escaped),
                                       cmocka_unit_test(tables_align_wide_letters),
                                       cmocka_unit_test(risks_are_readable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
