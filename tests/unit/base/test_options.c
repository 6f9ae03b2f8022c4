#include "check.h"

#include "base/options.h"
#include "base/size.h"

#include <unistd.h>

static const rz_option table[] = {
    {"port", RZ_OPTION_INT, "8480", .min = 0, .max = 65535, .value = "PORT", .help = "port"},
    {"rate", RZ_OPTION_REAL, "1e-4", .min = 0, .max = 1},
    {"task", RZ_OPTION_LIST, NULL},
    {"once", RZ_OPTION_SWITCH, "false"},
    {"db-path", RZ_OPTION_TEXT, NULL},
    {"key", RZ_OPTION_SECRET, NULL}};

static rz_options *make(void)
{
    rz_error error = {0};
    rz_options *options = NULL;
    check_ok(rz_options_new(table, RZ_COUNT(table), "RZTEST", &options, &error));
    return options;
}

static void the_stronger_source_wins(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_options *options = make();
    char path[] = "/tmp/rezept-options-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    (void)fputs("[other]\nport = x\n[rezeptd]\nport = 1\ndb_path = from-file\nrate = 0.25\n", file);
    (void)fclose(file);
    (void)setenv("RZTEST_PORT", "2", 1);
    char *argv[] = {"x", "--port",   "3",      "operand", "--task",
                    "a", "--task=b", "--once", "--",      "--y"};
    check_ok(rz_options_read_arguments(options, (int)RZ_COUNT(argv), argv, &error));
    check_ok(rz_options_read_environment(options, &error));
    check_ok(rz_options_read_file(options, path, "rezeptd", &error));
    assert_int_equal(rz_options_int(options, "port"), 3);
    assert_int_equal(rz_options_origin(options, "port"), RZ_ORIGIN_FLAG);
    assert_string_equal(rz_options_text(options, "db-path"), "from-file");
    check_near(rz_options_real(options, "rate"), 0.25, 0);
    assert_string_equal(rz_options_text(options, "task"), "a,b");
    assert_true(rz_options_switch(options, "once"));
    const char *const *operands;
    assert_int_equal(rz_options_operands(options, &operands), 2);
    assert_string_equal(operands[0], "operand");
    assert_string_equal(operands[1], "--y");
    assert_false(rz_options_given(options, "key"));
    rz_options_free(options);
    (void)unsetenv("RZTEST_PORT");
    (void)unlink(path);
}

static void wrong_values_are_named(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_options *options = make();
    char *unknown[] = {"x", "--prot", "3"}, *range[] = {"x", "--port", "70000"},
         *word[] = {"x", "--port", "12a"}, *missing[] = {"x", "--port"}, *letter[] = {"x", "-v"},
         *not_bool[] = {"x", "--once=maybe"};
    check_fails(rz_options_read_arguments(options, 3, unknown, &error), RZ_E_USAGE, "--prot");
    check_fails(rz_options_read_arguments(options, 3, range, &error), RZ_E_USAGE, "0 to 65535");
    check_fails(rz_options_read_arguments(options, 3, word, &error), RZ_E_USAGE, "whole number");
    check_fails(rz_options_read_arguments(options, 2, missing, &error), RZ_E_USAGE, "a value");
    check_fails(rz_options_read_arguments(options, 2, letter, &error), RZ_E_USAGE, "-v");
    check_fails(rz_options_read_arguments(options, 2, not_bool, &error), RZ_E_USAGE, "maybe");
    check_fails(rz_options_read_file(options, "/tmp", "rezeptd", &error), RZ_E_IO, "/tmp");
    char *off[] = {"x", "--no-once", "--rate", "2.5e-3"};
    check_ok(rz_options_read_arguments(options, 4, off, &error));
    assert_false(rz_options_switch(options, "once"));
    check_near(rz_options_real(options, "rate"), 0.0025, 1e-18);
    rz_options_free(options);
}

static void secrets_are_not_printed(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_options *options = make();
    char *argv[] = {"x", "--key", "hush", "--help"}, *text = NULL;
    size_t length = 0;
    check_ok(rz_options_read_arguments(options, 4, argv, &error));
    assert_true(rz_options_wants_help(options));
    FILE *out = open_memstream(&text, &length);
    rz_options_print_values(options, out);
    rz_options_print_help(options, out);
    (void)fclose(out);
    assert_null(strstr(text, "hush"));
    assert_non_null(strstr(text, "***  (flag)"));
    assert_non_null(strstr(text, "--port PORT"));
    free(text);
    rz_options_free(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_stronger_source_wins),
                                       cmocka_unit_test(wrong_values_are_named),
                                       cmocka_unit_test(secrets_are_not_printed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
