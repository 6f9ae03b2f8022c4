/* Calibration recovers maps that are known because the labels were drawn from them. */
#include "check.h"

#include "base/portable_math.h"
#include "base/rng.h"
#include "train/calibrate.h"

typedef struct patients {
    size_t n;
    double *logit;
    uint8_t *label;
    double *truth; /* the chance the label was drawn with */
} patients;

/* Labels from sigmoid(a + b x), x normal. */
static patients draw(size_t n, double a, double b, uint64_t seed)
{
    patients p = {.n = n,
                  .logit = malloc(n * sizeof *p.logit),
                  .label = malloc(n),
                  .truth = malloc(n * sizeof *p.truth)};
    rz_rng rng;
    rz_rng_init(&rng, seed, 0);
    for (size_t i = 0; i < n; i++) {
        p.logit[i] = -1.0 + 1.5 * rz_rng_normal(&rng);
        p.truth[i] = rz_sigmoid(a + b * p.logit[i]);
        p.label[i] = rz_rng_uniform(&rng) < p.truth[i];
    }
    return p;
}

static void done(patients *p)
{
    free(p->logit);
    free(p->label);
    free(p->truth);
}

static rz_calibration_options options_for(double prior, double prevalence)
{
    return (rz_calibration_options){
        .training_prior = prior, .prevalence = prevalence, .bootstraps = 200, .seed = 1};
}

static void platt_finds_the_line(void **state)
{
    (void)state;
    rz_error error = {0};
    patients p = draw(20000, -0.7, 0.6, 1);
    rz_calibration c;
    rz_calibration_options o = options_for(0.2, 0.2);
    check_ok(rz_calibration_fit(
        &(rz_calibration_rows){.n = p.n, .logit = p.logit, .label = p.label}, &o, &c, &error));
    check_near(c.slope, 0.6, 0.04);
    check_near(c.intercept, -0.7, 0.06);
    assert_int_equal(c.n_bins, 10);
    uint32_t n = 0, positives = 0;
    double expected = 0.0;
    for (size_t i = 0; i < c.n_bins; i++) {
        n += c.bin_n[i];
        positives += c.bin_positives[i];
        check_near(c.bin_n[i], 2000, 2);
        assert_true(c.bin_edge[i] < c.bin_edge[i + 1]);
        assert_true(c.bin_edge[i] <= c.bin_mean[i] && c.bin_mean[i] <= c.bin_edge[i + 1]);
        expected += c.bin_n[i] * c.bin_mean[i];
    }
    assert_int_equal(c.n_means, 10);
    check_near(expected, positives, 1.0); /* what a fitted line promises */
    assert_int_equal(n, 20000);
    assert_int_equal(positives, c.tuning_positives);
    assert_int_equal(strlen(c.id), 64);
    /* The band holds the curve and is narrow where many patients are. */
    for (double x = -4.0; x <= 2.0; x += 0.5) {
        rz_calibrated r;
        rz_calibration_apply(&c, x, &r);
        assert_true(r.low <= r.probability && r.probability <= r.high);
        check_near(r.probability, rz_sigmoid(-0.7 + 0.6 * x), 0.02);
        assert_true(r.high - r.low < 0.05);
    }
    done(&p);
}

/* A model trained half and half: the correction alone moves it to the prevalence, and the labels,
 * also half and half, are weighted to it. */
static void balanced_labels_reach_the_prevalence(void **state)
{
    (void)state;
    rz_error error = {0};
    patients p = draw(200000, -3.0, 1.0, 2), half = {0};
    size_t positives = 0;
    for (size_t i = 0; i < p.n; i++)
        positives += p.label[i];
    double prevalence = (double)positives / (double)p.n;
    half.logit = malloc(p.n * sizeof *half.logit);
    half.label = malloc(p.n);
    double shift = rz_logit(0.5) - rz_logit(prevalence); /* what such a model has learnt */
    for (size_t i = 0, negatives = 0; i < p.n; i++) {
        if (!p.label[i] && negatives++ >= positives)
            continue;
        half.logit[half.n] = -3.0 + p.logit[i] + shift;
        half.label[half.n++] = p.label[i];
    }
    rz_calibration c;
    rz_calibration_options o = options_for(0.5, prevalence);
    o.prevalence_known = true;
    check_ok(rz_calibration_fit(
        &(rz_calibration_rows){.n = half.n, .logit = half.logit, .label = half.label}, &o, &c,
        &error));
    check_near(c.slope, 1.0, 0.06);
    check_near(c.intercept, 0.0, 0.15);
    assert_int_equal(c.n_bins, 0); /* no counts of patients that are not as they come */
    double sum = 0.0;
    for (size_t i = 0; i < p.n; i++) {
        rz_calibrated r;
        rz_calibration_apply(&c, -3.0 + p.logit[i] + shift, &r);
        sum += r.probability;
    }
    check_near(sum / (double)p.n, prevalence, 0.05 * prevalence);
    free(half.logit);
    free(half.label);
    done(&p);
}

static void isotonic_follows_any_rising_curve(void **state)
{
    (void)state;
    rz_error error = {0};
    enum { N = 20000 };
    double *x = malloc(N * sizeof *x);
    uint8_t *label = malloc(N);
    rz_rng rng;
    rz_rng_init(&rng, 5, 0);
    for (size_t i = 0; i < N; i++) {
        x[i] = 6.0 * rz_rng_uniform(&rng) - 3.0;
        label[i] = rz_rng_uniform(&rng) < (x[i] < 0.0 ? 0.1 : 0.5);
    }
    rz_calibration c;
    rz_calibration_options o = options_for(0.3, 0.3);
    o.method = RZ_CALIBRATION_ISOTONIC;
    check_ok(rz_calibration_fit(&(rz_calibration_rows){.n = N, .logit = x, .label = label}, &o, &c,
                                &error));
    rz_calibrated low, high;
    rz_calibration_apply(&c, -1.5, &low);
    rz_calibration_apply(&c, 1.5, &high);
    check_near(low.probability, 0.1, 0.03);
    check_near(high.probability, 0.5, 0.04);
    for (size_t i = 1; i < c.n_knots; i++)
        assert_true(c.knot_x[i] > c.knot_x[i - 1] && c.knot_y[i] >= c.knot_y[i - 1]);
    free(x);
    free(label);
}

/* A patient on four days is no four patients: the map is the same, the band as wide as that of one
 * day each, and half as wide where the days are taken for patients. Who is counted is counted once.
 */
static void days_of_one_patient_belong_together(void **state)
{
    (void)state;
    enum { DAYS = 4, PATIENTS = 250 };
    rz_error error = {0};
    patients p = draw(PATIENTS, -1.0, 1.0, 5);
    double logit[DAYS * PATIENTS], wide = 0.0, narrow = 0.0;
    uint8_t label[DAYS * PATIENTS], counted[DAYS * PATIENTS];
    uint32_t patient[DAYS * PATIENTS];
    for (uint32_t i = 0; i < DAYS * PATIENTS; i++) {
        patient[i] = i / DAYS;
        logit[i] = p.logit[patient[i]];
        label[i] = p.label[patient[i]];
        counted[i] = i % DAYS == 1;
    }
    rz_calibration once, days, apart;
    rz_calibration_options o = options_for(0.3, 0.3);
    rz_calibration_rows rows = {.n = p.n, .logit = p.logit, .label = p.label};
    check_ok(rz_calibration_fit(&rows, &o, &once, &error));
    rows = (rz_calibration_rows){.n = DAYS * PATIENTS,
                                 .logit = logit,
                                 .label = label,
                                 .patient = patient,
                                 .counted = counted};
    check_ok(rz_calibration_fit(&rows, &o, &days, &error));
    check_near(days.slope, once.slope, 0.03); /* smoothing has more to go by */
    check_near(days.intercept, once.intercept, 0.03);
    assert_int_equal(days.tuning_n, once.tuning_n);
    assert_int_equal(days.tuning_positives, once.tuning_positives);
    assert_int_equal(days.n_bins, once.n_bins);
    for (size_t i = 0; i < once.n_bins; i++) {
        assert_int_equal(days.bin_n[i], once.bin_n[i]);
        assert_int_equal(days.bin_positives[i], once.bin_positives[i]);
    }
    rows.patient = NULL;
    check_ok(rz_calibration_fit(&rows, &o, &apart, &error));
    for (size_t k = 0; k < RZ_BAND_POINTS; k++) {
        wide += (days.band_high[k] - days.band_low[k]) / (once.band_high[k] - once.band_low[k]);
        narrow += (apart.band_high[k] - apart.band_low[k]) / (once.band_high[k] - once.band_low[k]);
    }
    check_near(wide / RZ_BAND_POINTS, 1.0, 0.1);
    check_near(narrow / RZ_BAND_POINTS, 0.5, 0.1);
    memset(counted, 0, sizeof counted);
    check_fails(rz_calibration_fit(&rows, &o, &apart, &error), RZ_E_INVALID,
                "none of the 1000 rows");
    done(&p);
}

static void separated_and_reversed_scores_stay_finite(void **state)
{
    (void)state;
    rz_error error = {0};
    double x[20];
    uint8_t label[20];
    rz_calibration c;
    rz_calibration_options o = options_for(0.5, 0.5);
    for (int i = 0; i < 20; i++) {
        x[i] = i - 10;
        label[i] = i >= 10;
    }
    check_ok(rz_calibration_fit(&(rz_calibration_rows){.n = 20, .logit = x, .label = label}, &o, &c,
                                &error));
    assert_true(isfinite(c.slope) && c.slope > 0.0 && c.slope < 5.0);
    for (int i = 0; i < 20; i++)
        label[i] = i < 10;
    check_ok(rz_calibration_fit(&(rz_calibration_rows){.n = 20, .logit = x, .label = label}, &o, &c,
                                &error));
    assert_true(c.slope == RZ_CALIBRATION_SLOPE_MIN);
    rz_calibrated r;
    rz_calibration_apply(&c, -0.5, &r);
    check_near(r.probability, 0.5, 0.02); /* the mean stays */
}

static void too_little_is_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    patients p = draw(300, -1.0, 1.0, 3);
    rz_calibration c;
    rz_calibration_options o = options_for(0.3, 0.3);
    o.method = RZ_CALIBRATION_ISOTONIC;
    check_fails(
        rz_calibration_fit(&(rz_calibration_rows){.n = p.n, .logit = p.logit, .label = p.label}, &o,
                           &c, &error),
        RZ_E_INVALID, "isotonic needs 100");
    o.method = RZ_CALIBRATION_PLATT;
    check_fails(
        rz_calibration_fit(&(rz_calibration_rows){.n = 6, .logit = p.logit, .label = p.label}, &o,
                           &c, &error),
        RZ_E_INVALID, "5 of each are needed");
    p.logit[7] = NAN;
    check_fails(
        rz_calibration_fit(&(rz_calibration_rows){.n = p.n, .logit = p.logit, .label = p.label}, &o,
                           &c, &error),
        RZ_E_RANGE, "logit 7");
    for (size_t i = 0; i < p.n; i++)
        p.logit[i] = 1.0;
    check_fails(
        rz_calibration_fit(&(rz_calibration_rows){.n = p.n, .logit = p.logit, .label = p.label}, &o,
                           &c, &error),
        RZ_E_RANGE, "equal");
    done(&p);
}

static void the_same_seed_gives_the_same_table(void **state)
{
    (void)state;
    rz_error error = {0};
    patients p = draw(500, -1.0, 1.0, 4);
    rz_calibration a, b;
    rz_calibration_options o = options_for(0.3, 0.3);
    check_ok(rz_calibration_fit(
        &(rz_calibration_rows){.n = p.n, .logit = p.logit, .label = p.label}, &o, &a, &error));
    check_ok(rz_calibration_fit(
        &(rz_calibration_rows){.n = p.n, .logit = p.logit, .label = p.label}, &o, &b, &error));
    assert_string_equal(a.id, b.id);
    o.seed = 2;
    check_ok(rz_calibration_fit(
        &(rz_calibration_rows){.n = p.n, .logit = p.logit, .label = p.label}, &o, &b, &error));
    assert_string_not_equal(a.id, b.id);
    done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(platt_finds_the_line),
                                       cmocka_unit_test(balanced_labels_reach_the_prevalence),
                                       cmocka_unit_test(isotonic_follows_any_rising_curve),
                                       cmocka_unit_test(days_of_one_patient_belong_together),
                                       cmocka_unit_test(separated_and_reversed_scores_stay_finite),
                                       cmocka_unit_test(too_little_is_refused),
                                       cmocka_unit_test(the_same_seed_gives_the_same_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
