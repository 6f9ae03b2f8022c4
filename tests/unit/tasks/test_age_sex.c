#include "task_fixture.h"

#include "base/portable_math.h"
#include "base/size.h"
#include "metrics/metrics.h"
#include "tasks/age_sex.h"

static void unknowns_and_limits(void **state)
{
    (void)state;
    double a[RZ_AGE_SEX_FEATURES], b[RZ_AGE_SEX_FEATURES];
    rz_age_sex_features(NAN, RZ_SEX_UNKNOWN, a);
    rz_age_sex_features(50, RZ_SEX_UNKNOWN, b);
    for (int i = 0; i < RZ_AGE_SEX_FEATURES; i++)
        check_near(a[i], b[i], 0);
    check_near(a[3], 0.5, 0);
    rz_age_sex_features(500, RZ_SEX_MALE, a);
    rz_age_sex_features(110, RZ_SEX_MALE, b);
    for (int i = 0; i < RZ_AGE_SEX_FEATURES; i++)
        check_near(a[i], b[i], 0);
    rz_age_sex_features(-3, RZ_SEX_FEMALE, a);
    check_near(a[0], -5, 0);
    for (int i = 1; i < RZ_AGE_SEX_FEATURES; i++)
        check_near(a[i], 0, 0);
}

static void age_bands(void **state)
{
    (void)state;
    static const struct {
        double age;
        const char *name;
    } cases[] = {{-1, "0-17"},  {0, "0-17"},     {17.99, "0-17"}, {18, "18-29"},    {39.9, "30-39"},
                 {40, "40-49"}, {79.9, "70-79"}, {80, "80+"},     {NAN, "unknown"}, {120, "80+"}};
    for (size_t i = 0; i < RZ_COUNT(cases); i++)
        assert_string_equal(rz_age_band_name(rz_age_band(cases[i].age)), cases[i].name);
    assert_string_equal(rz_age_band_name(1000), "unknown");
}

/* Restricted: straight below the first knot and above the last, and smooth between. */
static void straight_at_both_ends(void **state)
{
    (void)state;
    double at[6][RZ_AGE_SEX_FEATURES];
    const double ages[] = {5, 12, 19, 85, 95, 105};
    for (int i = 0; i < 6; i++)
        rz_age_sex_features(ages[i], RZ_SEX_MALE, at[i]);
    for (int j = 0; j < RZ_AGE_SEX_FEATURES; j++) {
        check_near(at[2][j] - at[1][j], at[1][j] - at[0][j], 1e-12);
        check_near(at[5][j] - at[4][j], at[4][j] - at[3][j], 1e-12);
    }
    for (double age = 1; age < 109; age += 0.5) {
        double left[RZ_AGE_SEX_FEATURES], here[RZ_AGE_SEX_FEATURES], right[RZ_AGE_SEX_FEATURES];
        rz_age_sex_features(age - 0.01, RZ_SEX_MALE, left);
        rz_age_sex_features(age, RZ_SEX_MALE, here);
        rz_age_sex_features(age + 0.01, RZ_SEX_MALE, right);
        for (int j = 0; j < RZ_AGE_SEX_FEATURES; j++)
            check_near(right[j] - here[j], here[j] - left[j], 1e-6);
    }
}

/* The fit gives back the risk it was made from: men, women, and a bend with age. */
static void fitted_and_read_back(void **state)
{
    (void)state;
    rz_error error = {0};
    enum { N = 5200 };
    static double x[N * RZ_AGE_SEX_FEATURES];
    static uint8_t y[N];
    double beta[RZ_AGE_SEX_FEATURES + 1];
    int n = 0;
    for (int age = 20; age < 85; age += 5)
        for (int sex = 1; sex <= 2; sex++)
            for (int i = 0; i < 200; i++, n++) {
                double risk = rz_sigmoid(-4 + 0.05 * (age - 20) + (sex == 2 ? 0.7 : 0.0));
                rz_age_sex_features(age, (rz_sex)sex, x + n * RZ_AGE_SEX_FEATURES);
                y[n] = i < (int)(risk * 200 + 0.5);
            }
    assert_int_equal(n, N);
    check_ok(rz_logistic_regression(x, y, N, RZ_AGE_SEX_FEATURES, 1e-3, beta, &error));
    for (int age = 25; age < 85; age += 10) {
        check_near(rz_age_sex_risk(beta, age, RZ_SEX_FEMALE), rz_sigmoid(-4 + 0.05 * (age - 20)),
                   0.012);
        check_near(rz_age_sex_risk(beta, age, RZ_SEX_MALE), rz_sigmoid(-3.3 + 0.05 * (age - 20)),
                   0.012);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknowns_and_limits), cmocka_unit_test(age_bands),
        cmocka_unit_test(straight_at_both_ends), cmocka_unit_test(fitted_and_read_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
