/* The population stability index: by hand, at ties, in JSON of today and of before. */
#include "check.h"

#include "metrics/stability.h"

#include <math.h>

static void by_hand(void **state)
{
    (void)state;
    const double even[] = {0.5, 0.5};
    const uint64_t same[] = {100, 100}, moved[] = {150, 50}, none[] = {0, 0}, empty[] = {200, 0};
    check_near(rz_stability_index(even, 1e9, same, 2), 0.0, 1e-12);
    /* a = 150.5/201, 50.5/201 against a half each */
    double high = 150.5 / 201.0, low = 50.5 / 201.0;
    check_near(rz_stability_index(even, 1e15, moved, 2),
               (high - 0.5) * log(high / 0.5) + (low - 0.5) * log(low / 0.5), 1e-9);
    assert_true(isfinite(rz_stability_index(even, 100, empty, 2)));
    assert_true(rz_stability_index(even, 100, empty, 2) > 1.0);
    assert_true(isnan(rz_stability_index(even, 100, none, 2)));
    assert_true(isnan(rz_stability_index(even, 0, same, 2)));
}

/* What a reference was made from has an index of 0 against it, however many values are equal. */
static void a_sample_is_like_itself(void **state)
{
    (void)state;
    enum { N = 1000 };
    static double values[N];
    for (int ties = 1; ties <= 400; ties *= 20) {
        uint64_t count[RZ_STABILITY_BINS] = {0}, below[RZ_STABILITY_BINS] = {0};
        rz_distribution d;
        json_t *object = json_object();
        for (int i = 0; i < N; i++)
            values[i] = i * 7919 % N / ties;
        assert_true(rz_distribution_write(values, N, "token", object));
        assert_true(rz_distribution_read(object, "token", &d));
        for (int i = 0; i < N; i++) {
            count[rz_distribution_bin(&d, values[i])]++;
            below[rz_distribution_bin(&d, values[i] / 2)]++;
        }
        check_near(rz_stability_index(d.share, N, count, RZ_STABILITY_BINS), 0.0, 1e-12);
        assert_true(rz_stability_index(d.share, N, below, RZ_STABILITY_BINS) > 0.25);
        json_decref(object);
    }
}

/* Files that know deciles only: ties at the top, as the context's end makes them. */
static void deciles_without_shares(void **state)
{
    (void)state;
    rz_distribution d;
    json_t *object =
        json_pack("{s:[i,i,i,i,i,i,i,i,i,i,i], s:[i,i], s:[i,i,i,i,i,i,i,i,i,i,i]}",
                  "token_deciles", 3, 10, 20, 20, 30, 40, 50, 60, 512, 512, 512, "short_deciles", 1,
                  2, "falling_deciles", 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0);
    const double expected[] = {0.1, 0.2, 0, 0.1, 0.1, 0.1, 0.1, 0.3, 0, 0};
    assert_true(rz_distribution_read(object, "token", &d));
    for (int i = 0; i < RZ_STABILITY_BINS; i++)
        check_near(d.share[i], expected[i], 1e-12);
    assert_int_equal(rz_distribution_bin(&d, 512), 7);
    assert_int_equal(rz_distribution_bin(&d, 20), 1);
    assert_int_equal(rz_distribution_bin(&d, -1), 0);
    assert_false(rz_distribution_read(object, "age", &d));
    assert_false(rz_distribution_read(object, "short", &d));
    assert_false(rz_distribution_read(object, "falling", &d));
    double nothing = 0.0;
    assert_false(rz_distribution_write(&nothing, 0, "age", object));
    assert_null(json_object_get(object, "age_deciles"));
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand),
                                       cmocka_unit_test(a_sample_is_like_itself),
                                       cmocka_unit_test(deciles_without_shares)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
