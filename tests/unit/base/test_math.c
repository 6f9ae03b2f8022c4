#include "check.h"

#include "base/portable_math.h"
#include "base/rng.h"

static double relative(double a, double b)
{
    return b == 0.0 ? fabs(a) : fabs(a - b) / fabs(b);
}

static void exp_and_log_agree_with_libm(void **state)
{
    (void)state;
    rz_rng rng;
    rz_rng_init(&rng, 2, 2);
    double worst_exp = 0, worst_log = 0;
    for (int i = 0; i < 200000; i++) {
        double x = (rz_rng_uniform(&rng) - 0.5) * 1400.0;
        worst_exp = fmax(worst_exp, relative(rz_exp(x), exp(x)));
        double y = exp((rz_rng_uniform(&rng) - 0.5) * 1400.0);
        worst_log = fmax(worst_log, relative(rz_log(y), log(y)));
        double z = 1.0 + (rz_rng_uniform(&rng) - 0.5) * 1e-3;
        worst_log = fmax(worst_log, relative(rz_log(z), log(z)));
    }
    check_near(worst_exp, 0.0, 5e-16);
    check_near(worst_log, 0.0, 5e-16);
}

static void edges(void **state)
{
    (void)state;
    assert_true(isinf(rz_exp(710.0)));
    assert_true(rz_exp(-750.0) == 0.0);
    assert_true(rz_exp(-744.0) > 0.0);
    assert_true(rz_exp(0.0) == 1.0);
    assert_true(isnan(rz_exp(NAN)) && isnan(rz_log(-1.0)) && isnan(rz_log(NAN)));
    assert_true(isinf(rz_log(0.0)) && isinf(rz_log(INFINITY)));
    check_near(rz_log(5e-324), log(5e-324), 1e-12);
    check_near(rz_sigmoid(-800.0), 0.0, 0.0);
    check_near(rz_sigmoid(800.0), 1.0, 0.0);
    check_near(rz_sigmoid(rz_logit(0.3)), 0.3, 1e-15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(exp_and_log_agree_with_libm),
                                       cmocka_unit_test(edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
