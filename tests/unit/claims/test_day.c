#include "check.h"

#include "claims/day.h"

static void every_day_goes_there_and_back(void **state)
{
    (void)state;
    assert_int_equal(rz_day_from_civil(1970, 1, 1), 0);
    assert_int_equal(rz_day_from_civil(1800, 1, 1), RZ_DAY_MIN);
    assert_int_equal(rz_day_from_civil(2400, 12, 31), RZ_DAY_MAX);
    for (int32_t day = RZ_DAY_MIN; day <= RZ_DAY_MAX; day++) {
        char text[RZ_DAY_TEXT];
        int32_t back = 0;
        assert_true(rz_day_parse(rz_day_text(day, text), &back));
        assert_int_equal(back, day);
    }
}

static void impossible_dates(void **state)
{
    (void)state;
    const char *wrong[] = {"",           "2024-02-30", "2023-02-29",  "2024-13-01",
                           "2024-00-10", "2024-01-00", "2024-1-01",   "20240101",
                           "1799-12-31", "2401-01-01", "2024-01-01 ", "2024-01-01T",
                           "١٩٩٠-01-01"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int32_t day = 77;
        if (rz_day_parse(wrong[i], &day) || day != 77)
            fail_msg("\"%s\" was accepted", wrong[i]);
    }
    int32_t day;
    assert_true(rz_day_parse_loose("20240229", 8, &day));
    assert_true(rz_day_parse_loose("2024-02-29T10:00:00", 19, &day));
    assert_true(rz_day_parse_loose("2024-02-29 10:00:00", 19, &day));
    assert_false(rz_day_parse_loose("2024022", 7, &day));
    assert_false(rz_day_parse_loose("2024-02-29x", 11, &day));
}

static void ages(void **state)
{
    (void)state;
    int32_t born = rz_day_from_civil(1956, 2, 29);
    assert_int_equal(rz_day_years_between(born, rz_day_from_civil(2023, 2, 28)), 66);
    assert_int_equal(rz_day_years_between(born, rz_day_from_civil(2023, 3, 1)), 67);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_day_goes_there_and_back),
                                       cmocka_unit_test(impossible_dates), cmocka_unit_test(ages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
