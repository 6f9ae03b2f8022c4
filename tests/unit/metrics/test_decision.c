/* Decision curves by hand, at their limits and paired; figures against the true risks. */
#include "check.h"

#include "base/portable_math.h"
#include "base/rng.h"
#include "metrics/decision.h"
#include "metrics/truth.h"

/* Ten patients, two with the outcome: thresholds 0.1, 0.12 … 0.9 (0.2 times 4.5 is below 0.95). */
static void by_hand(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_decision d;
    const double model[] = {0.8, 0.3, 0.2, 0.2, 0.1, 0.05, 0.05, 0.01, 0, 1};
    const double reference[] = {0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2};
    const uint8_t label[] = {1, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    check_ok(rz_decision_compute(model, reference, label, NULL, 10, 0, 1, &d, &error));
    assert_null(d.reason);
    check_near(d.prevalence, 0.2, 1e-15);
    assert_int_equal(d.n_points, 43); /* up to 4.7 times 0.2 = 0.94 */
    check_near(d.point[0].threshold, 0.1, 1e-15);
    assert_int_equal(d.point[0].treated, 6); /* a risk at the threshold is treated */
    assert_int_equal(d.point[0].true_positives, 2);
    check_near(d.point[0].model.value, 0.2 - 0.4 * 0.1 / 0.9, 1e-15);
    check_near(d.point[0].treat_all, 0.2 - 0.8 * 0.1 / 0.9, 1e-15);
    check_near(d.point[0].reference.value, d.point[0].treat_all, 1e-15);
    check_near(d.point[0].over_default.value, 0.4 * 0.1 / 0.9, 1e-15);
    assert_true(isnan(d.point[0].model.low) && isnan(d.point[0].model.high));
    const rz_decision_point *p = &d.point[5]; /* at the prevalence treating all is worth nothing */
    check_near(p->times_prevalence, 1, 1e-15);
    check_near(p->treat_all, 0, 1e-15);
    assert_int_equal(p->treated, 5);
    check_near(p->model.value, 0.2 - 0.3 * 0.25, 1e-15);
    check_near(p->over_reference.value, p->model.value - p->reference.value, 1e-15);
    p = &d.point[25]; /* 0.6: one rightly, one in vain */
    check_near(p->threshold, 0.6, 1e-12);
    check_near(p->model.value, 0.1 - 0.1 * 1.5, 1e-12);
    check_near(p->reference.value, 0, 0);
    check_near(p->over_default.value, p->model.value, 0); /* treating none is the better default */
}

static void without_both_classes(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_decision d;
    const double risk[] = {0.1, 0.2, NAN};
    const uint8_t none[] = {0, 0, 0}, all[] = {1, 1, 1}, some[] = {0, 1, 0};
    check_ok(rz_decision_compute(risk, risk, none, NULL, 2, 10, 1, &d, &error));
    assert_string_equal(d.reason, "no positive patient");
    assert_int_equal(d.n_points, 0);
    check_ok(rz_decision_compute(risk, risk, all, NULL, 2, 10, 1, &d, &error));
    assert_string_equal(d.reason, "no negative patient");
    check_ok(rz_decision_compute(risk, risk, none, NULL, 0, 10, 1, &d, &error));
    assert_string_equal(d.reason, "no patient");
    check_fails(rz_decision_compute(risk, risk, some, NULL, 3, 10, 1, &d, &error), RZ_E_RANGE,
                "row 2");
}

/* The interval covers the value, is narrower with more patients, and a model against itself has no
 * difference in any resample. */
static void intervals(void **state)
{
    (void)state;
    enum { N = 4000 };
    rz_error error = {0};
    static double risk[N];
    static uint8_t label[N];
    static rz_decision few, many, same;
    rz_rng rng;
    rz_rng_init(&rng, 3, 1);
    for (int i = 0; i < N; i++) {
        risk[i] = rz_sigmoid(rz_rng_normal(&rng) * 1.2 - 2.5);
        label[i] = rz_rng_uniform(&rng) < risk[i];
    }
    check_ok(rz_decision_compute(risk, risk, label, NULL, N / 10, 200, 1, &few, &error));
    check_ok(rz_decision_compute(risk, risk, label, NULL, N, 200, 1, &many, &error));
    check_ok(rz_decision_compute(risk, risk, label, NULL, N, 200, 1, &same, &error));
    assert_memory_equal(&same, &many, sizeof same);
    assert_int_equal(many.n_points, RZ_DECISION_POINTS_MAX);
    for (size_t k = 0; k < many.n_points; k++) {
        const rz_decision_point *p = &many.point[k];
        assert_true(p->model.low <= p->model.value && p->model.value <= p->model.high);
        check_near(p->over_reference.low, 0, 0);
        check_near(p->over_reference.high, 0, 0);
        assert_true(k == 0 || p->threshold > p[-1].threshold);
        assert_true(k == 0 || p->treated <= p[-1].treated);
    }
    assert_true(many.point[5].model.high - many.point[5].model.low <
                0.6 * (few.point[5].model.high - few.point[5].model.low));
    assert_true(many.point[5].over_default.low > 0.0); /* it knows the true risk */
}

static void lines_against_the_truth(void **state)
{
    (void)state;
    enum { N = 50 };
    rz_error error = {0};
    rz_truth t;
    double predicted[N], truth[N];
    for (int i = 0; i < N; i++) {
        double eta = -4 + 0.1 * i;
        predicted[i] = rz_sigmoid(eta);
        truth[i] = rz_sigmoid(0.8 * eta - 0.5);
    }
    check_ok(rz_truth_compute(predicted, truth, NULL, N, 100, 1, &t, &error));
    check_near(t.slope.value, 0.8, 1e-12);
    check_near(t.intercept.value, -0.5, 1e-12);
    check_near(t.mean_slope.value, 0.8, 1e-8); /* no spread: both lines are the same */
    check_near(t.slope.low, 0.8, 1e-9);
    check_near(t.slope.high, 0.8, 1e-9);
    check_near(t.ratio.value, t.mean_predicted / t.mean_true, 1e-12);
    assert_true(t.ratio.low < t.ratio.value && t.ratio.value < t.ratio.high);
    assert_false(rz_truth_slope_met(&t) || rz_truth_ratio_met(&t));
    check_ok(rz_truth_compute(truth, truth, NULL, N, 0, 1, &t, &error));
    check_near(t.slope.value, 1, 1e-12);
    assert_true(isnan(t.slope.low));
    assert_true(rz_truth_slope_met(&t) && rz_truth_ratio_met(&t));
    predicted[0] = 0; /* has no logit of its own */
    check_ok(rz_truth_compute(predicted, truth, NULL, N, 0, 1, &t, &error));
    assert_true(isfinite(t.slope.value) && t.slope.value < 0.8);
    for (int i = 0; i < N; i++)
        predicted[i] = 0.2;
    check_ok(rz_truth_compute(predicted, truth, NULL, N, 20, 1, &t, &error));
    assert_true(isnan(t.slope.value) && isnan(t.intercept.value) && isnan(t.mean_slope.value));
    assert_true(isfinite(t.ratio.low));
    assert_false(rz_truth_slope_met(&t));
    check_ok(rz_truth_compute(NULL, NULL, NULL, 0, 20, 1, &t, &error));
    assert_true(isnan(t.slope.value) && isnan(t.ratio.value));
    predicted[3] = 1.5;
    check_fails(rz_truth_compute(predicted, truth, NULL, N, 0, 1, &t, &error), RZ_E_RANGE, "row 3");
}

/* A calibrated model that does not know all: each prediction is the mean of two true risks. The
 * line of logits is another one; the mean's slope is right. */
static void calibrated_and_ignorant(void **state)
{
    (void)state;
    enum { N = 400 };
    rz_error error = {0};
    rz_truth t;
    static double predicted[N], truth[N];
    for (int i = 0; i < N; i += 2) {
        predicted[i] = predicted[i + 1] = 0.002 + 0.4 * i / N;
        truth[i] = predicted[i] * 0.02;
        truth[i + 1] = predicted[i] * 1.98;
    }
    check_ok(rz_truth_compute(predicted, truth, NULL, N, 50, 1, &t, &error));
    check_near(t.ratio.value, 1, 1e-12);
    check_near(t.mean_slope.value, 1, 1e-8);
    assert_true(t.mean_slope.low < 1.0 && t.mean_slope.high > 1.0);
    assert_true(fabs(t.slope.value - 1.0) > 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand), cmocka_unit_test(without_both_classes),
        cmocka_unit_test(intervals), cmocka_unit_test(lines_against_the_truth),
        cmocka_unit_test(calibrated_and_ignorant)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
