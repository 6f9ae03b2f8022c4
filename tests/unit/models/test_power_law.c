/* A law that was put in is found, in spite of noise and one wild point; what is none is said. */
#include "check.h"

#include "base/rng.h"
#include "power_law.h"

enum { POINTS = 24 };

static void make(double *x, double *y, size_t n, double noise)
{
    rz_rng rng;
    rz_rng_init(&rng, 4, 0);
    for (size_t i = 0; i < n; i++) {
        x[i] = 1e5 * pow(1.5, (double)i);
        y[i] = 1.7 + 40.0 * pow(x[i], -0.3) + noise * rz_rng_normal(&rng);
    }
}

static void exact_points_are_fitted_exactly(void **state)
{
    (void)state;
    rz_error error = {0};
    double x[POINTS], y[POINTS];
    power_law law;
    make(x, y, POINTS, 0);
    check_ok(power_law_fit(x, y, POINTS, 20, 1, &law, &error));
    assert_null(law.reason);
    assert_int_equal(law.n, POINTS);
    check_near(law.a.value, 1.7, 1e-3);
    check_near(law.b.value, 40, 0.2);
    check_near(law.c.value, 0.3, 1e-3);
    check_near(power_law_at(&law, x[5]), y[5], 1e-5);
    /* four points suffice for three figures */
    check_ok(power_law_fit(x, y, 4, 0, 1, &law, &error));
    check_near(law.c.value, 0.3, 0.02);
    assert_true(isnan(law.c.low));
}

static void noise_widens_and_one_wild_point_does_little(void **state)
{
    (void)state;
    rz_error error = {0};
    double x[POINTS], y[POINTS];
    power_law law, wild;
    make(x, y, POINTS, 0.005);
    check_ok(power_law_fit(x, y, POINTS, 200, 1, &law, &error));
    assert_true(law.c.low < 0.3 && 0.3 < law.c.high);
    assert_true(law.a.low < 1.7 && 1.7 < law.a.high);
    assert_true(law.c.high - law.c.low > 0.001 && law.c.high - law.c.low < 0.1);
    y[9] += 0.3; /* sixty deviations */
    check_ok(power_law_fit(x, y, POINTS, 0, 1, &wild, &error));
    check_near(wild.c.value, law.c.value, 0.02);
    check_near(wild.a.value, law.a.value, 0.02);
}

static void what_is_no_law_is_said(void **state)
{
    (void)state;
    rz_error error = {0};
    double x[POINTS], y[POINTS];
    power_law law;
    make(x, y, POINTS, 0);
    check_ok(power_law_fit(x, y, 3, 20, 1, &law, &error));
    assert_non_null(strstr(law.reason, "fewer than 4 points"));
    assert_true(isnan(law.a.value) && isnan(power_law_at(&law, 1e6)));
    for (int i = 0; i < POINTS; i++)
        y[i] = 1.0 + 0.1 * i; /* grows */
    check_ok(power_law_fit(x, y, POINTS, 20, 1, &law, &error));
    assert_non_null(strstr(law.reason, "no power law"));
    for (int i = 0; i < POINTS; i++)
        y[i] = 3.0;
    check_ok(power_law_fit(x, y, POINTS, 20, 1, &law, &error));
    assert_non_null(law.reason);
    make(x, y, POINTS, 0);
    for (int i = 4; i < POINTS; i++)
        y[i] = NAN; /* a cell that gives no loss is no point */
    x[0] = 0;
    check_ok(power_law_fit(x, y, POINTS, 20, 1, &law, &error));
    assert_int_equal(law.n, 3);
    check_ok(power_law_fit(NULL, NULL, 0, 20, 1, &law, &error));
    assert_int_equal(law.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_points_are_fitted_exactly),
        cmocka_unit_test(noise_widens_and_one_wild_point_does_little),
        cmocka_unit_test(what_is_no_law_is_said)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
