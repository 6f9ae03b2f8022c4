#include "check.h"

#include "base/portable_math.h"
#include "base/rng.h"
#include "metrics/metrics.h"

/* With one yes-or-no feature the fit is the table's own logits. */
static void two_by_two_table(void **state)
{
    (void)state;
    rz_error error = {0};
    double x[100], weight[4] = {30, 10, 20, 40}, short_x[4] = {0, 0, 1, 1};
    uint8_t y[100], short_y[4] = {0, 1, 0, 1};
    for (int i = 0; i < 100; i++) {
        x[i] = i >= 40;
        y[i] = i < 10 || i >= 60; /* 10 of 40, 40 of 60 */
    }
    double a = 0, b = 0, beta[2] = {0};
    check_ok(rz_logistic_fit(x, y, NULL, 100, &a, &b, &error));
    check_near(a, rz_logit(0.25), 1e-10);
    check_near(b, rz_logit(2.0 / 3.0) - rz_logit(0.25), 1e-10);
    check_ok(rz_logistic_fit(short_x, short_y, weight, 4, &a, &b, &error));
    check_near(a, rz_logit(0.25), 1e-10);
    check_near(b, rz_logit(2.0 / 3.0) - rz_logit(0.25), 1e-10);
    check_ok(rz_logistic_regression(x, y, 100, 1, 0.0, beta, &error));
    check_near(beta[0], a, 1e-9);
    check_near(beta[1], b, 1e-9);
}

/* At the solution the score equations hold, however far from zero it lies. */
static void far_starts_converge(void **state)
{
    (void)state;
    rz_error error = {0};
    enum { N = 400 };
    double x[N];
    uint8_t y[N];
    rz_rng rng;
    rz_rng_init(&rng, 4, 0);
    for (int i = 0; i < N; i++) {
        x[i] = 1e4 + 100.0 * rz_rng_normal(&rng);
        y[i] = rz_rng_uniform(&rng) < rz_sigmoid(0.2 * (x[i] - 1e4) - 3.0);
    }
    double a = 0, b = 0, sum = 0, moment = 0;
    check_ok(rz_logistic_fit(x, y, NULL, N, &a, &b, &error));
    for (int i = 0; i < N; i++) {
        double miss = y[i] - rz_sigmoid(a + b * x[i]);
        sum += miss;
        moment += miss * (x[i] - 1e4);
    }
    check_near(sum, 0, 1e-6);
    check_near(moment, 0, 1e-4);
}

/* A row of weight w is w such rows, and one of weight 0 is none. */
static void weights_are_rows(void **state)
{
    (void)state;
    rz_error error = {0};
    const double x[] = {1, 2, 0, 1, 3, 5, 4, 2}, weight[] = {2, 1, 3, 0};
    const uint8_t label[] = {0, 1, 0, 1};
    const double rows[] = {1, 2, 1, 2, 0, 1, 3, 5, 3, 5, 3, 5};
    const uint8_t labels[] = {0, 0, 1, 0, 0, 0};
    double some[3], all[3];
    check_ok(rz_logistic_weighted(x, label, weight, 4, 2, 1.0, some, &error));
    check_ok(rz_logistic_regression(rows, labels, 6, 2, 1.0, all, &error));
    for (int i = 0; i < 3; i++)
        check_near(some[i], all[i], 1e-9);
    const double none[] = {2, 0, 3, 0};
    check_fails(rz_logistic_weighted(x, label, none, 4, 2, 1.0, some, &error), RZ_E_RANGE,
                "negative");
}

static void fits_that_do_not_exist(void **state)
{
    (void)state;
    rz_error error = {0};
    double a = 7, b = 7, beta[3] = {7, 7, 7};
    const double x[] = {1, 2, 3, 4}, same[] = {2, 2, 2, 2}, bad[] = {1, INFINITY, 3, 4};
    const double negative[] = {1, 1, -1, 1}, masking[] = {1, 0, 1, 1};
    const uint8_t up[] = {0, 0, 1, 1}, mixed[] = {0, 1, 0, 1}, none[] = {0, 0, 0, 0};
    check_fails(rz_logistic_fit(x, up, NULL, 4, &a, &b, &error), RZ_E_RANGE, "separate");
    check_fails(rz_logistic_fit(x, none, NULL, 4, &a, &b, &error), RZ_E_RANGE, "negative");
    check_fails(rz_logistic_fit(x, mixed, NULL, 0, &a, &b, &error), RZ_E_RANGE, "0 rows");
    check_fails(rz_logistic_fit(same, mixed, NULL, 4, &a, &b, &error), RZ_E_RANGE, "separate");
    check_fails(rz_logistic_fit(bad, mixed, NULL, 4, &a, &b, &error), RZ_E_RANGE, "row 1");
    check_fails(rz_logistic_fit(x, mixed, negative, 4, &a, &b, &error), RZ_E_RANGE, "weight");
    /* without the second row 1, 3 | 4 are separated */
    check_fails(rz_logistic_fit(x, mixed, masking, 4, &a, &b, &error), RZ_E_RANGE, "separate");
    const double twins[] = {1, 1, 2, 2, 3, 3, 4, 4};
    check_fails(rz_logistic_regression(twins, mixed, 4, 2, 0.0, beta, &error), RZ_E_RANGE, "ridge");
    check_fails(rz_logistic_regression(twins, up, 4, 2, 0.0, beta, &error), RZ_E_RANGE, "ridge");
    check_fails(rz_logistic_regression(twins, mixed, 4, 2, -1.0, beta, &error), RZ_E_RANGE, "0 or");
    check_fails(rz_logistic_regression(twins, mixed, 1, 99, 1.0, beta, &error), RZ_E_TOO_LARGE,
                "99 features");
    check_near(a + b + beta[0] + beta[2], 28, 0);
    check_ok(rz_logistic_regression(twins, up, 4, 2, 1.0, beta, &error));
    check_near(beta[1], beta[2], 1e-9);
    assert_true(beta[1] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_by_two_table), cmocka_unit_test(far_starts_converge),
        cmocka_unit_test(weights_are_rows), cmocka_unit_test(fits_that_do_not_exist)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
