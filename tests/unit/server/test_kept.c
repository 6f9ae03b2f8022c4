/* Kept answers and the clock of changes, and JSON without a tree against jansson's. */
#include "cache.h"
#include "changes.h"
#include "check.h"
#include "json_out.h"

#include "base/hash.h"
#include "base/size.h"

#include <jansson.h>

static const char hash[33] = "0123456789abcdef0123456789abcdef";

static void put(cache *c, const char *question, uint64_t mark, size_t place, const char *text)
{
    cache_put(c, question, strlen(question), mark, place, hash, text, strlen(text));
}

static bool holds(cache *c, const char *question, const char *text)
{
    kept *k = cache_get(c, question, strlen(question));
    bool same = k != NULL && k->length == strlen(text) && strcmp(k->text, text) == 0 &&
                strcmp(k->patient_hash, hash) == 0;
    kept_drop(k);
    return same;
}

static void answers_hold_until_their_patient_changes(void **state)
{
    (void)state;
    rz_error error = {0};
    changes *all = NULL;
    cache *c = NULL;
    size_t a = changes_place("a"), b = changes_place("b");
    check_ok(changes_new(&all, &error));
    check_ok(cache_new(100000, all, &c, &error));
    put(c, "a?", changes_now(all), a, "one");
    put(c, "b?", changes_now(all), b, "two");
    assert_true(holds(c, "a?", "one") && holds(c, "b?", "two"));
    changes_note(all, "a");
    assert_true(holds(c, "a?", "one")); /* nobody has been told yet */
    uint64_t early = changes_now(all);
    changes_publish(all);
    assert_false(holds(c, "a?", "one"));
    assert_true(holds(c, "b?", "two"));
    put(c, "a?", early, a, "old"); /* its reading began before */
    assert_false(holds(c, "a?", "old"));
    put(c, "a?", changes_now(all), a, "new");
    assert_true(holds(c, "a?", "new"));
    changes_publish(all); /* nothing was noted */
    assert_true(holds(c, "a?", "new"));
    changes_all(all);
    assert_false(holds(c, "a?", "new") || holds(c, "b?", "two"));
    uint64_t hits, misses;
    size_t bytes;
    cache_figures(c, &hits, &misses, &bytes);
    assert_int_equal(hits, 6);
    assert_int_equal(misses, 4);
    assert_int_equal(bytes, 0);
    cache_free(c);
    changes_free(all);
}

/* More notes than there is room for change everything rather than nothing. */
static void too_many_changes_are_one_change_of_all(void **state)
{
    (void)state;
    rz_error error = {0};
    changes *all = NULL;
    check_ok(changes_new(&all, &error));
    uint64_t mark = changes_now(all);
    for (int i = 0; i < 1000; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "p%d", i);
        changes_note(all, id);
    }
    changes_publish(all);
    assert_false(changes_none_since(all, mark, changes_place("p0")));
    assert_false(changes_none_since(all, mark, changes_place("p999")));
    assert_true(changes_none_since(all, mark, changes_place("nobody of these")));
    for (int i = 0; i < 300000; i++)
        changes_note(all, i % 2 == 0 ? "even" : "odd");
    mark = changes_now(all);
    changes_publish(all);
    assert_false(changes_none_since(all, mark, changes_place("nobody of these")));
    changes_free(all);
}

static void the_cache_is_bounded(void **state)
{
    (void)state;
    rz_error error = {0};
    changes *all = NULL;
    cache *c = NULL;
    char text[1001], question[16];
    uint64_t hits, misses;
    size_t bytes = 0;
    memset(text, 'x', 1000);
    text[1000] = '\0';
    check_ok(changes_new(&all, &error));
    check_ok(cache_new(20000, all, &c, &error));
    put(c, "held", 0, 1, text);
    kept *held = cache_get(c, "held", 4);
    assert_non_null(held);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(question, sizeof question, "q%d", i);
        put(c, question, 0, 1, text);
        assert_true(holds(c, question, text));
        cache_figures(c, &hits, &misses, &bytes);
        assert_true(bytes <= 20000);
    }
    assert_true(bytes > 10000);
    assert_int_equal(held->length, 1000); /* it gave way, and is still ours */
    assert_string_equal(held->text, text);
    kept_drop(held);
    put(c, "again", 0, 1, "first");
    put(c, "again", 0, 1, "second");
    assert_true(holds(c, "again", "second"));
    cache_free(c);
    check_ok(cache_new(0, all, &c, &error));
    put(c, "q", 0, 1, "");
    assert_null(cache_get(c, "q", 1));
    cache_free(c);
    changes_free(all);
}

static void numbers_and_texts_are_janssons(void **state)
{
    (void)state;
    static const double numbers[] = {0.0,     -0.0,     1.0,       -1.0,       0.5,        1e-5,
                                     -1e-300, 123456.0, 1234567.0, 0.00012345, 1e20,       1e100,
                                     2.5e-7,  1.0 / 3,  99999.95,  999999.5,   1e-4,       1e15,
                                     1e16,    1e17,     5e-324,    1.7e308,    0.123456789};
    static const char *const texts[] = {"", "plain", "quote \" backslash \\ slash /",
                                        "\b\f\n\r\t\x01\x1f\x7f", "アムロジピン é 😀"};
    static const int64_t integers[] = {0, 1, -1, 42, INT64_MAX, INT64_MIN};
    rz_buffer buffer;
    rz_buffer_init(&buffer, 100000);
    json_out out = {.to = &buffer};
    json_t *all = json_array();
    json_out_open(&out, '[');
    for (size_t i = 0; i < RZ_COUNT(numbers); i++) {
        json_out_real(&out, numbers[i]);
        (void)json_array_append_new(all, json_real(numbers[i]));
    }
    for (size_t i = 0; i < RZ_COUNT(integers); i++) {
        json_out_int(&out, integers[i]);
        (void)json_array_append_new(all, json_integer(integers[i]));
    }
    for (size_t i = 0; i < RZ_COUNT(texts); i++) {
        json_out_open(&out, '{');
        json_out_member_text(&out, "text", texts[i]);
        json_out_name(&out, "empty");
        json_out_open(&out, '[');
        json_out_close(&out, ']');
        json_out_member_text(&out, "none", NULL);
        json_out_close(&out, '}');
        (void)json_array_append_new(
            all, json_pack("{s:s, s:[], s:n}", "text", texts[i], "empty", "none"));
    }
    json_out_real(&out, NAN);
    (void)json_array_append_new(all, json_null());
    json_out_close(&out, ']');
    char *wanted = json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(6));
    assert_int_equal(out.status, RZ_OK);
    assert_string_equal(buffer.data, wanted);
    free(wanted);
    json_decref(all);
    rz_buffer_clear(&buffer);
    out = (json_out){.to = &buffer};
    json_out_text(&out, "a\xff\xc3(\xed\xa0\x80z\xe3");
    assert_string_equal(buffer.data, "\"a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf"
                                     "\xbdz\xef\xbf\xbd\"");
    rz_buffer_done(&buffer);
    char small[8];
    rz_buffer_init_in(&buffer, small, sizeof small);
    out = (json_out){.to = &buffer};
    json_out_int(&out, 1234567);
    assert_int_equal(out.status, RZ_OK);
    json_out_int(&out, 8);
    assert_int_equal(out.status, RZ_E_TOO_LARGE);
    assert_string_equal(buffer.data, "1234567");
    rz_buffer_done(&buffer);
}

int main(void)
{
    rz_error error = {0};
    if (rz_hash_setup(&error) != RZ_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_hold_until_their_patient_changes),
                                       cmocka_unit_test(too_many_changes_are_one_change_of_all),
                                       cmocka_unit_test(the_cache_is_bounded),
                                       cmocka_unit_test(numbers_and_texts_are_janssons)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
