#include "check.h"

#include "claims/facilities.h"

#include <stdio.h>

static rz_facilities read(const char *list, bool without)
{
    rz_error error = {0};
    rz_facilities f;
    check_ok(rz_facilities_read(list, without, &f, &error));
    return f;
}

/* "-H3,H5" leaves out, "H3,H5" keeps, "" is all. */
static rz_facilities of(const char *text)
{
    return *text == '\0' ? read(NULL, false) : read(*text == '-' ? text + 1 : text, *text == '-');
}

static void lists_are_sorted_and_named_once(void **state)
{
    (void)state;
    char text[RZ_FACILITIES_TEXT];
    const rz_facilities f = read("H5,H3,H5,H 4", true);
    assert_int_equal(f.n, 3);
    assert_string_equal(rz_facilities_text(&f, text), "all but H 4, H3, H5");
    assert_string_equal(rz_facilities_list(&f, text), "H 4,H3,H5");
    const rz_facilities only = read("東京,H3", false), all = read(NULL, true);
    assert_string_equal(rz_facilities_text(&only, text), "H3, 東京");
    assert_string_equal(rz_facilities_text(&all, text), "all");
    assert_false(all.without);
}

static void names_that_are_none_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_facilities f;
    char many[RZ_FACILITIES_MAX * 4 + 8] = "", long_name[RZ_FACILITY_NAME + 1];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    const char *const wrong[] = {"", ",", "H1,", ",H1", "H1,,H2", long_name};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        check_fails(rz_facilities_read(wrong[i], true, &f, &error), RZ_E_USAGE, "1 to 127 bytes");
    long_name[RZ_FACILITY_NAME - 1] = '\0';
    check_ok(rz_facilities_read(long_name, true, &f, &error));
    for (int i = 0; i <= RZ_FACILITIES_MAX; i++)
        (void)snprintf(many + strlen(many), 5, "%sH%02d", i > 0 ? "," : "", i);
    check_fails(rz_facilities_read(many, false, &f, &error), RZ_E_TOO_LARGE, "more than 32");
    many[strlen(many) - 4] = '\0';
    check_ok(rz_facilities_read(many, false, &f, &error));
    assert_int_equal(f.n, RZ_FACILITIES_MAX);
}

static void who_is_in(void **state)
{
    (void)state;
    const rz_facilities all = of(""), only = of("H3,H5"), but = of("-H3,H5");
    assert_true(rz_facilities_has(&all, "H3"));
    assert_true(rz_facilities_has(&only, "H3") && !rz_facilities_has(&but, "H3"));
    assert_true(!rz_facilities_has(&only, "H4") && rz_facilities_has(&but, "H4"));
    assert_true(!rz_facilities_has(&only, "H") && rz_facilities_has(&but, "H"));
}

static void selections_are_joined(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *joined;
        bool meet;
    } rows[] = {
        {"", "", "all", true},
        {"", "H3", "all", true},
        {"", "-H3", "all", true},
        {"H3", "H5", "H3, H5", false},
        {"H3,H5", "H5", "H3, H5", true},
        {"-H3", "H3", "all", false},
        {"-H3,H5", "H3", "all but H5", false},
        {"-H3,H5", "H3,H4", "all but H5", true},
        {"-H3,H5", "H4", "all but H3, H5", true},
        {"-H3,H5", "-H5,H6", "all but H5", true},
        {"-H3", "-H5", "all", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const rz_facilities a = of(rows[i].a), b = of(rows[i].b);
        char text[RZ_FACILITIES_TEXT];
        for (int turn = 0; turn < 2; turn++) {
            rz_error error = {0};
            rz_facilities joined;
            const rz_facilities *x = turn ? &b : &a, *y = turn ? &a : &b;
            check_ok(rz_facilities_join(x, y, &joined, &error));
            assert_string_equal(rz_facilities_text(&joined, text), rows[i].joined);
            if (rz_facilities_meet(x, y) != rows[i].meet)
                fail_msg("row %zu: meet is not %d", i, rows[i].meet);
        }
    }
}

static void what_does_not_fit_is_not_joined(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_facilities a = {0}, b = of("X"), out = of("Y");
    for (a.n = 0; a.n < RZ_FACILITIES_MAX; a.n++)
        (void)snprintf(a.name[a.n], 5, "H%02zu", a.n);
    check_fails(rz_facilities_join(&a, &b, &out, &error), RZ_E_TOO_LARGE, "more than 32");
    assert_string_equal(out.name[0], "Y");
}

static void notes_say_who_was_in_training(void **state)
{
    (void)state;
    static const struct {
        const char *looked_at, *learnt_from, *note;
    } rows[] = {
        {"", "", ""},
        {"H3", "-H3", "none of them in training"},
        {"H3", "", "in training: H3"},
        {"H3,H4", "-H3", "in training: H4"},
        {"", "-H3", "in training: all but H3"},
        {"-H3", "H4", "in training: H4"},
        {"-H3", "H3", "none of them in training"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char note[RZ_FACILITIES_NOTE];
        const rz_facilities a = of(rows[i].looked_at), b = of(rows[i].learnt_from);
        assert_string_equal(rz_facilities_note(&a, &b, note), rows[i].note);
    }
}

static void json_goes_there_and_back(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "H3", "-H3,東京"};
    static const char *const wrong[] = {"[]",
                                        "{}",
                                        "{\"only\": []}",
                                        "{\"only\": \"H3\"}",
                                        "{\"only\": [3]}",
                                        "{\"only\": [\"\"]}",
                                        "{\"only\": [\"H3\"], \"all_but\": [\"H4\"]}",
                                        "{\"some\": [\"H3\"]}"};
    rz_error error = {0};
    rz_facilities back;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const rz_facilities f = of(texts[i]);
        json_t *json = rz_facilities_json(&f);
        check_ok(rz_facilities_from_json(json, &back, &error));
        assert_memory_equal(&back, &f, sizeof f);
        json_decref(json);
    }
    check_ok(rz_facilities_from_json(NULL, &back, &error));
    assert_int_equal(back.n, 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *json = json_loads(wrong[i], 0, NULL);
        assert_non_null(json);
        check_fails(rz_facilities_from_json(json, &back, &error), RZ_E_FORMAT, "facilities");
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lists_are_sorted_and_named_once),
                                       cmocka_unit_test(names_that_are_none_are_refused),
                                       cmocka_unit_test(who_is_in),
                                       cmocka_unit_test(selections_are_joined),
                                       cmocka_unit_test(what_does_not_fit_is_not_joined),
                                       cmocka_unit_test(notes_say_who_was_in_training),
                                       cmocka_unit_test(json_goes_there_and_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
