/* Titles of codes: found as stored and as a vocabulary shortens them; damaged tables are refused.
 */
#include "files.h"

#include "base/size.h"
#include "import/titles.h"

static rz_titles *table_of(const char *text)
{
    rz_error error = {0};
    rz_titles *titles = NULL;
    char path[256];
    make_file(path, sizeof path, "titles.csv", text, strlen(text));
    check_ok(rz_titles_read(path, &titles, &error));
    remove_file(path);
    return titles;
}

static void check_title(const rz_titles *t, rz_code_system system, const char *code, const char *en,
                        const char *ja)
{
    rz_title found;
    assert_int_equal(rz_titles_find(t, system, code, &found), en != NULL || ja != NULL);
    if (en == NULL)
        assert_null(found.en);
    else
        assert_string_equal(found.en, en);
    if (ja == NULL)
        assert_null(found.ja);
    else
        assert_string_equal(found.ja, ja);
}

static void codes_are_found_whole_and_shortened(void **state)
{
    (void)state;
    rz_titles *t = table_of("system,code,title,title_ja\n"
                            "yj,2149042F2021,telmisartan,ミカルディス錠40mg\n"
                            "icd10,E11.9,\"Diabetes, type 2\",２型糖尿病\n"
                            "yj,2149042F1017,telmisartan,テルミサルタン20mg錠\n"
                            "icd10,e78.5,<script>alert(1)</script>,\n"
                            "icd10,E78.0,other,\n"
                            "icd10,E11.9,\"Diabetes, type 2\",２型糖尿病\n"
                            "local,outpatient,,\n");
    assert_int_equal(rz_titles_count(t), 5);
    check_title(t, RZ_SYSTEM_ICD10, "E119", "Diabetes, type 2", "２型糖尿病");
    check_title(t, RZ_SYSTEM_ICD10, "E11", "Diabetes, type 2", "２型糖尿病");
    check_title(t, RZ_SYSTEM_ICD10, "E785", "<script>alert(1)</script>", NULL);
    check_title(t, RZ_SYSTEM_ICD10, "E78", NULL, NULL); /* two titles: neither is its own */
    check_title(t, RZ_SYSTEM_YJ, "2149042", "telmisartan", NULL);
    check_title(t, RZ_SYSTEM_YJ, "2149042F1017", "telmisartan", "テルミサルタン20mg錠");
    check_title(t, RZ_SYSTEM_YJ, "2149043", NULL, NULL);
    check_title(t, RZ_SYSTEM_ICD10CM, "E119", NULL, NULL);
    check_title(t, RZ_SYSTEM_ICD10, "E1191", NULL, NULL); /* longer than any */
    check_title(t, RZ_SYSTEM_LOCAL, "outpatient", NULL, NULL);
    rz_titles_free(t);
    rz_titles_free(NULL);
}

static void a_table_without_japanese_or_rows_is_one(void **state)
{
    (void)state;
    rz_titles *t = table_of("code,title,system\nI10,High blood pressure,icd10\n");
    check_title(t, RZ_SYSTEM_ICD10, "I10", "High blood pressure", NULL);
    rz_titles_free(t);
    t = table_of("system,code,title\n");
    assert_int_equal(rz_titles_count(t), 0);
    check_title(t, RZ_SYSTEM_ICD10, "I10", NULL, NULL);
    rz_titles_free(t);
}

static void damaged_tables_are_refused(void **state)
{
    (void)state;
    char longest[RZ_TITLE_BYTES_MAX + 64];
    (void)snprintf(longest, sizeof longest, "system,code,title\nicd10,I10,%0*d\n",
                   RZ_TITLE_BYTES_MAX + 1, 0);
    const struct {
        const char *text, *says;
    } cases[] = {{"system,code\nicd10,I10\n", "title"},
                 {"", "header"},
                 {"system,code,title\nicd11,I10,x\n", "line 2: no code system is called \"icd11\""},
                 {"system,code,title\nicd10,I10,x\nicd10,1,x\n", "line 3: "},
                 {"system,code,title\nicd10,I10,x\nicd10,I10,y\n", "lines 2 and 3 give icd10 I10"},
                 {"system,code,title\nicd10,I10,\xFF\n", "not UTF-8"},
                 {"system,code,title\nicd10,I10\n", "line 2"},
                 {longest, "401 bytes, 400 at most"}};
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rz_error error = {0};
        rz_titles *titles = NULL;
        char path[256];
        make_file(path, sizeof path, "titles.csv", cases[i].text, strlen(cases[i].text));
        rz_status status = rz_titles_read(path, &titles, &error);
        assert_int_equal(status, RZ_E_FORMAT);
        if (strstr(error.text, cases[i].says) == NULL || strstr(error.text, "titles.csv") == NULL)
            fail_msg("case %zu says: %s", i, error.text);
        remove_file(path);
    }
    rz_error error = {0};
    rz_titles *titles = NULL;
    check_fails(rz_titles_read("/nowhere/titles.csv", &titles, &error), RZ_E_NOT_FOUND,
                "/nowhere/titles.csv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_found_whole_and_shortened),
        cmocka_unit_test(a_table_without_japanese_or_rows_is_one),
        cmocka_unit_test(damaged_tables_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
