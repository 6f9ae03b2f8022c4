#include "check.h"

#include <errno.h>

static void first_error_wins(void **state)
{
    (void)state;
    rz_error error = {0};
    assert_int_equal(rz_fail(&error, RZ_E_IO, "disk %d", 7), RZ_E_IO);
    assert_int_equal(rz_fail(&error, RZ_E_RANGE, "later"), RZ_E_RANGE);
    assert_string_equal(error.text, "disk 7");
    rz_error_prefix(&error, "file.csv: ");
    assert_string_equal(error.text, "file.csv: disk 7");
}

static void errno_is_mapped(void **state)
{
    (void)state;
    rz_error error = {0};
    assert_int_equal(rz_fail_errno(&error, ENOSPC, "cannot write x"), RZ_E_DISK_FULL);
    assert_non_null(strstr(error.text, "cannot write x: No space left"));
    rz_error_clear(&error);
    assert_int_equal(rz_fail_errno(&error, EFBIG, "x"), RZ_E_DISK_FULL);
    assert_int_equal(rz_fail_errno(&error, EACCES, "x"), RZ_E_IO);
}

static void long_text_is_cut(void **state)
{
    (void)state;
    rz_error error = {0};
    char text[1000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(rz_fail(&error, RZ_E_IO, "%s", text), RZ_E_IO);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    rz_error_prefix(&error, "p: ");
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    assert_memory_equal(error.text, "p: aaa", 6);
}

static void table_is_complete(void **state)
{
    (void)state;
    for (int i = 0; i < RZ_STATUS_COUNT; i++) {
        assert_non_null(rz_status_name((rz_status)i));
        assert_non_null(rz_status_text((rz_status)i));
        assert_in_range(rz_status_http((rz_status)i), 200, 599);
    }
    assert_string_equal(rz_status_name((rz_status)999), "E_INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_error_wins), cmocka_unit_test(errno_is_mapped),
        cmocka_unit_test(long_text_is_cut), cmocka_unit_test(table_is_complete)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
