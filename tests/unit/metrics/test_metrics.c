#include "check.h"

#include "base/portable_math.h"
#include "base/rng.h"
#include "metrics/metrics.h"
#include "metrics/rank.h"

static void hand_made(void **state)
{
    (void)state;
    const double p[] = {0.9, 0.8, 0.7, 0.6, 0.5};
    const uint8_t y[] = {1, 0, 1, 0, 0};
    /* pairs: 0.9 beats three, 0.7 beats two of three: 5 of 6 */
    check_near(rz_auroc(p, y, 5), 5.0 / 6.0, 1e-15);
    check_near(rz_average_precision(p, y, 5), (1.0 + 2.0 / 3.0) / 2.0, 1e-15);
}

static void ties_count_half(void **state)
{
    (void)state;
    const double same[] = {0.5, 0.5, 0.5, 0.5};
    const uint8_t y[] = {1, 0, 0, 0};
    check_near(rz_auroc(same, y, 4), 0.5, 0);
    /* one step that holds all four: precision 1/4; the trapezoid would say otherwise */
    check_near(rz_average_precision(same, y, 4), 0.25, 0);
    const double some[] = {0.9, 0.5, 0.5, 0.1};
    const uint8_t z[] = {0, 1, 0, 1};
    /* 0.5 loses to 0.9, ties with 0.5; 0.1 loses to both: 0.5 of 4 */
    check_near(rz_auroc(some, z, 4), 0.125, 0);
    check_near(rz_average_precision(some, z, 4), (1.0 / 3.0 + 0.5) / 2.0, 1e-15);
}

static void order_does_not_matter(void **state)
{
    (void)state;
    double p[200], q[200];
    uint8_t y[200], z[200];
    rz_rng rng;
    rz_rng_init(&rng, 3, 0);
    for (int i = 0; i < 200; i++) {
        p[i] = floor(rz_rng_uniform(&rng) * 20) / 20;
        y[i] = rz_rng_uniform(&rng) < p[i];
        q[199 - i] = p[i];
        z[199 - i] = y[i];
    }
    check_near(rz_auroc(p, y, 200), rz_auroc(q, z, 200), 0);
    check_near(rz_average_precision(p, y, 200), rz_average_precision(q, z, 200), 1e-15);
}

static void what_does_not_exist_is_nan(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_metrics m;
    const double p[] = {0.2, 0.4, 0.6};
    const uint8_t none[] = {0, 0, 0}, all[] = {1, 1, 1};
    check_ok(rz_metrics_compute(NULL, NULL, NULL, 0, 10, 1, &m, &error));
    assert_string_equal(m.reason, "no patient");
    assert_true(isnan(m.auroc.value) && isnan(m.brier.value) && isnan(m.ece.value));
    assert_int_equal(m.n_deciles, 0);
    check_ok(rz_metrics_compute(p, none, NULL, 3, 10, 1, &m, &error));
    assert_string_equal(m.reason, "no positive patient");
    assert_true(isnan(m.auroc.value) && isnan(m.auroc.low) && isnan(m.average_precision.value));
    assert_true(isnan(m.calibration_slope.value) && isnan(m.calibration_intercept.value));
    check_near(m.brier.value, (0.04 + 0.16 + 0.36) / 3, 1e-15);
    check_near(m.observed_to_expected.value, 0, 0);
    check_ok(rz_metrics_compute(p, all, NULL, 3, 10, 1, &m, &error));
    assert_string_equal(m.reason, "no negative patient");
    assert_true(isnan(m.auroc.value));
    check_near(m.average_precision.value, 1.0, 0);
    check_near(m.observed_to_expected.value, 3 / 1.2, 1e-12);
    const uint8_t split[] = {0, 0, 1};
    check_ok(rz_metrics_compute(p, split, NULL, 3, 0, 1, &m, &error));
    check_near(m.auroc.value, 1.0, 0);
    assert_true(isnan(m.calibration_slope.value));
    assert_non_null(strstr(m.reason, "separate"));
    const double same[] = {0.3, 0.3, 0.3};
    check_ok(rz_metrics_compute(same, split, NULL, 3, 0, 1, &m, &error));
    check_near(m.auroc.value, 0.5, 0);
    assert_true(isnan(m.calibration_slope.value));
    check_near(m.calibration_intercept.value, rz_logit(1.0 / 3.0) - rz_logit(0.3), 1e-9);
    assert_int_equal(m.n_deciles, 1);
}

static void bad_values(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_metrics m;
    rz_interval a, b;
    const uint8_t y[] = {0, 1};
    const double above[] = {0.5, 1.0000001}, nan_score[] = {NAN, 0.5}, good[] = {0.1, 0.2};
    check_fails(rz_metrics_compute(above, y, NULL, 2, 0, 1, &m, &error), RZ_E_RANGE, "row 1 of 2");
    check_fails(rz_metrics_compute(nan_score, y, NULL, 2, 0, 1, &m, &error), RZ_E_RANGE,
                "row 0 of 2");
    check_fails(rz_metrics_compare(good, nan_score, y, NULL, 2, 0, 1, &a, &b, &error), RZ_E_RANGE,
                "row 0");
    assert_true(isnan(rz_auroc(nan_score, y, 2)));
}

static void ece_has_a_closed_last_bin(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_metrics m;
    const double p[] = {1.0, 0.95, 0.0, 0.05, 0.35};
    const uint8_t y[] = {1, 0, 0, 0, 1};
    check_ok(rz_metrics_compute(p, y, NULL, 5, 0, 1, &m, &error));
    /* last bin |1.95 - 1|, first |0.05 - 0|, fourth |0.35 - 1| */
    check_near(m.ece.value, (0.95 + 0.05 + 0.65) / 5, 1e-12);
    assert_true(isnan(m.ece.low));
}

/* Risks that are right by construction: slope 1, intercept 0, O:E 1, within their own intervals. */
static void true_risks_are_calibrated(void **state)
{
    (void)state;
    rz_error error = {0};
    enum { N = 1500 };
    double p[N], doubled[N];
    uint8_t y[N];
    rz_rng rng;
    rz_metrics m;
    rz_rng_init(&rng, 11, 0);
    for (int i = 0; i < N; i++) {
        double eta = rz_rng_normal(&rng) - 1.0;
        p[i] = rz_sigmoid(eta);
        doubled[i] = rz_sigmoid(2.0 * eta + 0.5);
        y[i] = rz_rng_uniform(&rng) < p[i];
    }
    check_ok(rz_metrics_compute(p, y, NULL, N, 200, 5, &m, &error));
    assert_null(m.reason);
    assert_true(m.calibration_slope.low < 1.0 && 1.0 < m.calibration_slope.high);
    assert_true(m.calibration_intercept.low < 0.0 && 0.0 < m.calibration_intercept.high);
    assert_true(m.observed_to_expected.low < 1.0 && 1.0 < m.observed_to_expected.high);
    assert_true(m.auroc.low < m.auroc.value && m.auroc.value < m.auroc.high);
    assert_true(m.auroc.high - m.auroc.low < 0.08);
    assert_int_equal(m.n_deciles, RZ_METRICS_BINS);
    size_t n = 0, positives = 0;
    for (size_t i = 0; i < m.n_deciles; i++) {
        n += m.deciles[i].n;
        positives += m.deciles[i].positives;
        assert_true(m.deciles[i].low <= m.deciles[i].mean_predicted);
        assert_true(i == 0 || m.deciles[i - 1].high < m.deciles[i].low);
    }
    assert_int_equal(n, N);
    assert_int_equal(positives, m.positives);

    rz_metrics steep, again;
    check_ok(rz_metrics_compute(doubled, y, NULL, N, 0, 5, &steep, &error));
    check_near(steep.calibration_slope.value, m.calibration_slope.value / 2.0, 1e-8);
    check_near(steep.auroc.value, m.auroc.value, 0);
    check_ok(rz_metrics_compute(p, y, NULL, N, 200, 5, &again, &error));
    check_near(again.auroc.low, m.auroc.low, 0);
    check_near(again.calibration_slope.high, m.calibration_slope.high, 0);
}

/* Every patient three times, scored alike: all figures and intervals are those of once, because
 * resamples draw patients; three times as many patients would have narrower ones. */
static void rows_of_one_patient_are_drawn_together(void **state)
{
    (void)state;
    rz_error error = {0};
    enum { N = 300, DAYS = 3 };
    double p[N], q[N], rows_p[DAYS * N], rows_q[DAYS * N];
    uint8_t y[N], rows_y[DAYS * N];
    uint32_t patient[DAYS * N], count[DAYS * N], drawn[N];
    rz_rng rng;
    rz_metrics once, days, apart;
    rz_interval auroc[2], precision[2];
    rz_rng_init(&rng, 13, 0);
    for (int i = 0; i < N; i++) {
        double eta = 1.5 * rz_rng_normal(&rng) - 1.0;
        p[i] = rz_sigmoid(eta);
        q[i] = rz_sigmoid(eta + rz_rng_normal(&rng));
        y[i] = rz_rng_uniform(&rng) < p[i];
    }
    for (uint32_t i = 0; i < DAYS * N; i++) {
        patient[i] = rz_patient_number(patient, i, i % DAYS == 0);
        assert_int_equal(patient[i], i / DAYS);
        rows_p[i] = p[i / DAYS];
        rows_q[i] = q[i / DAYS];
        rows_y[i] = y[i / DAYS];
    }
    rz_resample(3, 7, patient, DAYS * N, count);
    rz_resample(3, 7, NULL, N, drawn);
    for (int i = 0; i < DAYS * N; i++)
        assert_int_equal(count[i], drawn[i / DAYS]);
    check_ok(rz_metrics_compute(p, y, NULL, N, 200, 5, &once, &error));
    check_ok(rz_metrics_compute(rows_p, rows_y, patient, DAYS * N, 200, 5, &days, &error));
    check_ok(rz_metrics_compute(rows_p, rows_y, NULL, DAYS * N, 200, 5, &apart, &error));
    assert_int_equal(days.positives, DAYS * once.positives);
    check_near(days.auroc.low, once.auroc.low, 1e-12);
    check_near(days.average_precision.high, once.average_precision.high, 1e-12);
    check_near(days.calibration_slope.low, once.calibration_slope.low, 1e-8);
    check_near(days.observed_to_expected.high, once.observed_to_expected.high, 1e-12);
    assert_true(apart.auroc.high - apart.auroc.low < 0.75 * (days.auroc.high - days.auroc.low));
    check_ok(rz_metrics_compare(p, q, y, NULL, N, 200, 5, &auroc[0], &precision[0], &error));
    check_ok(rz_metrics_compare(rows_p, rows_q, rows_y, patient, DAYS * N, 200, 5, &auroc[1],
                                &precision[1], &error));
    check_near(auroc[1].low, auroc[0].low, 1e-12);
    check_near(precision[1].high, precision[0].high, 1e-12);
}

static void comparison_is_paired(void **state)
{
    (void)state;
    rz_error error = {0};
    enum { N = 800 };
    double good[N], poor[N];
    uint8_t y[N];
    rz_rng rng;
    rz_interval auroc, precision;
    rz_rng_init(&rng, 12, 0);
    for (int i = 0; i < N; i++) {
        double eta = 1.5 * rz_rng_normal(&rng) - 1.5;
        good[i] = eta;
        poor[i] = eta + 3.0 * rz_rng_normal(&rng);
        y[i] = rz_rng_uniform(&rng) < rz_sigmoid(eta);
    }
    check_ok(rz_metrics_compare(good, poor, y, NULL, N, 200, 5, &auroc, &precision, &error));
    check_near(auroc.value, rz_auroc(good, y, N) - rz_auroc(poor, y, N), 1e-15);
    assert_true(auroc.low > 0.0 && auroc.low < auroc.value && auroc.value < auroc.high);
    assert_true(precision.low > 0.0);
    check_ok(rz_metrics_compare(good, good, y, NULL, N, 50, 5, &auroc, &precision, &error));
    check_near(auroc.value, 0, 0);
    check_near(auroc.low, 0, 0);
    check_near(auroc.high, 0, 0);
    memset(y, 0, sizeof y);
    check_ok(rz_metrics_compare(good, poor, y, NULL, N, 50, 5, &auroc, &precision, &error));
    assert_true(isnan(auroc.value) && isnan(auroc.low) && isnan(precision.value));
}

static void percentiles(void **state)
{
    (void)state;
    double values[] = {4, NAN, 1, 3, 2, 5, INFINITY};
    check_near(rz_percentile(values, 7, 0.05), 1.2, 1e-12);
    check_near(rz_percentile(values, 5, 0.5), 3, 0);
    double few[] = {1, NAN, NAN};
    assert_true(isnan(rz_percentile(few, 3, 0.5)));
    assert_true(isnan(rz_percentile(few, 0, 0.5)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hand_made),
                                       cmocka_unit_test(ties_count_half),
                                       cmocka_unit_test(order_does_not_matter),
                                       cmocka_unit_test(what_does_not_exist_is_nan),
                                       cmocka_unit_test(bad_values),
                                       cmocka_unit_test(ece_has_a_closed_last_bin),
                                       cmocka_unit_test(true_risks_are_calibrated),
                                       cmocka_unit_test(rows_of_one_patient_are_drawn_together),
                                       cmocka_unit_test(comparison_is_paired),

                                       cmocka_unit_test(percentiles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
