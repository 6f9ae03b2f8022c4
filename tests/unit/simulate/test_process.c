#include "check.h"

#include "simulate/process.h"

static rz_sim_engine engine;

static int setup(void **state)
{
    (void)state;
    rz_sim_engine_init(&engine);
    return 0;
}

/* A man of 62 on day 18000, at a hospital of way 2, with nothing coded. */
static rz_sim_state plain(void)
{
    rz_sim_state s = {
        .birth_day = 18000 - 62 * 1461 / 4 - 100, .sex = RZ_SEX_MALE, .habit = 2, .frailty = 1.0};
    for (int i = 0; i < RZ_SIM_ITEMS; i++)
        s.coded[i] = RZ_DAY_NONE;
    return s;
}

/* The watched hazard of one day, with nothing else allowed to happen. */
static double rate_on(rz_sim_state s, rz_sim_item item, int32_t day)
{
    bool live[RZ_SIM_ITEMS] = {false};
    rz_rng rng;
    rz_rng_init(&rng, 1, 1);
    return 365.25 * rz_sim_live(&engine, &s, day, day, live, item, &rng);
}

static double addition(rz_sim_item target, rz_sim_item source, bool recent)
{
    for (size_t i = 0; i < rz_sim_n_additions; i++)
        if (rz_sim_additions[i].target == target && rz_sim_additions[i].source == source)
            return rz_sim_additions[i].ever + (recent ? rz_sim_additions[i].recent : 0.0);
    fail_msg("no addition of %d to %d", (int)source, (int)target);
    return 0.0;
}

static double ratio(rz_sim_item target, rz_sim_item source, bool recent)
{
    for (size_t i = 0; i < rz_sim_n_ratios; i++)
        if (rz_sim_ratios[i].target == target && rz_sim_ratios[i].source == source)
            return rz_sim_ratios[i].ever * (recent ? rz_sim_ratios[i].recent : 1.0);
    fail_msg("no ratio of %d on %d", (int)source, (int)target);
    return 1.0;
}

/* The equation of hazards.h, by hand. */
static void rates_follow_the_equation(void **state)
{
    (void)state;
    const rz_sim_item target = RZ_SIM_HYPERTENSION, source = RZ_SIM_HIGH_READING;
    rz_sim_state s = plain();
    double base = rz_sim_bases[target].per_1000[5] / 1000.0;
    check_near(rate_on(s, target, 18000), base, 1e-12);
    /* What is coded today acts from tomorrow, as recent for its days, then as ever. */
    int window = rz_sim_bases[source].recent_days;
    s.coded[source] = 18000;
    double recent = base + addition(target, source, true);
    double ever = base + addition(target, source, false);
    check_near(rate_on(s, target, 18001), recent, 1e-12);
    check_near(rate_on(s, target, 18000 + window), recent, 1e-12);
    check_near(rate_on(s, target, 18000 + window + 1), ever, 1e-12);
    s.coded[RZ_SIM_OBESITY] = 17000;
    double factor = ratio(target, RZ_SIM_OBESITY, false);
    check_near(rate_on(s, target, 18000 + window + 1), ever * factor, 1e-12);
    s.frailty = 1.5;
    check_near(rate_on(s, target, 18000 + window + 1), ever * factor * 1.5, 1e-12);
    s.sex = RZ_SEX_FEMALE;
    double women = base * rz_sim_bases[target].female + addition(target, source, false);
    check_near(rate_on(s, target, 18000 + window + 1), women * factor * 1.5, 1e-12);
    /* Treatments know habits and no frailty. */
    double drug = rz_sim_bases[RZ_SIM_MIROGABALIN].per_1000[5] / 1000.0 *
                  rz_sim_bases[RZ_SIM_MIROGABALIN].female;
    check_near(rate_on(s, RZ_SIM_MIROGABALIN, 18001), drug * 1.90, 1e-12);
}

/* A stretch of days adds up over the end of a window and over a birthday. */
static void stretches_add_up(void **state)
{
    (void)state;
    rz_sim_state s = plain();
    bool live[RZ_SIM_ITEMS] = {false};
    rz_rng rng;
    rz_rng_init(&rng, 1, 1);
    s.coded[RZ_SIM_HIGH_READING] = 17900;
    s.coded[RZ_SIM_ARB] = 17990;
    double sum = 0.0;
    int changes = 0;
    for (int32_t day = 18000; day < 22000; day++) {
        double today = rate_on(s, RZ_SIM_HYPERTENSION, day) / 365.25;
        changes += day > 18000 && today != rate_on(s, RZ_SIM_HYPERTENSION, day - 1) / 365.25;
        sum += today;
    }
    rz_sim_state copy = s;
    check_near(rz_sim_live(&engine, &copy, 18000, 21999, live, RZ_SIM_HYPERTENSION, &rng), sum,
               1e-9);
    assert_int_equal(changes, 3); /* two windows and the seventieth birthday */
}

static double one_minus_exp(double x)
{
    return 1.0 - exp(-x);
}

/* The risk with the outcome suppressed is the frequency of the outcome when it is not. */
static void risk_is_the_frequency(void **state)
{
    (void)state;
    enum { N = 4000, DAY = 18000, YEAR = 365 };
    static const rz_sim_item outcomes[] = {RZ_SIM_HYPERTENSION, RZ_SIM_KIDNEY_DISEASE,
                                           RZ_SIM_AMLODIPINE, RZ_SIM_PREGABALIN,
                                           RZ_SIM_SHINGLES_PAIN};
    rz_sim_state start = plain();
    start.coded[RZ_SIM_HIGH_READING] = DAY - 5;
    start.coded[RZ_SIM_KIDNEY_FUNCTION] = DAY - 50;
    start.coded[RZ_SIM_DIABETES] = DAY - 900;
    start.coded[RZ_SIM_SHINGLES] = DAY - 3;
    start.coded[RZ_SIM_CANCER_LUNG] = DAY - 30; /* so that death matters */
    unsigned counts[5] = {0}, deaths = 0;
    for (unsigned k = 0; k < N; k++) {
        rz_sim_state s = start;
        rz_rng rng;
        rz_rng_init(&rng, 5, k);
        (void)rz_sim_live(&engine, &s, DAY + 1, DAY + YEAR, NULL, RZ_SIM_ITEMS, &rng);
        for (int i = 0; i < 5; i++)
            counts[i] += s.coded[outcomes[i]] != RZ_DAY_NONE;
        deaths += s.coded[RZ_SIM_DEATH] != RZ_DAY_NONE;
    }
    assert_true(deaths > N / 10);
    for (int i = 0; i < 5; i++) {
        double risk, error_of_risk, p = (double)counts[i] / N;
        rz_rng rng;
        rz_rng_init(&rng, 6, (uint64_t)i);
        rz_sim_risk(&engine, &start, outcomes[i], DAY, YEAR, 1000, &rng, &risk, &error_of_risk);
        double deviation = sqrt(p * (1.0 - p) / N + error_of_risk * error_of_risk);
        check_near(risk, p, 4.0 * deviation);
        assert_true(error_of_risk > 0.0 && error_of_risk < 0.02);
        assert_true(p > 0.03); /* or the comparison says little */
    }
}

/* Leaving out what the outcome does not depend on changes nothing but the time it takes. */
static void irrelevant_items_do_not_matter(void **state)
{
    (void)state;
    bool live[RZ_SIM_ITEMS];
    rz_sim_relevant(&engine, RZ_SIM_PREGABALIN, live);
    assert_true(live[RZ_SIM_SHINGLES] && live[RZ_SIM_SHINGLES_PAIN] && live[RZ_SIM_DEATH]);
    assert_true(live[RZ_SIM_DIABETES]); /* through its nerves */
    assert_false(live[RZ_SIM_DRY_EYE_DROPS] || live[RZ_SIM_RHINITIS]);
    rz_sim_state start = plain();
    start.coded[RZ_SIM_SPINAL_STENOSIS] = 17990;
    enum { N = 1500 };
    double sum = 0.0, squares = 0.0, risk, deviation;
    for (unsigned k = 0; k < N; k++) {
        rz_sim_state s = start;
        rz_rng rng;
        rz_rng_init(&rng, 8, k);
        double p =
            one_minus_exp(rz_sim_live(&engine, &s, 18001, 18365, NULL, RZ_SIM_PREGABALIN, &rng));
        sum += p;
        squares += p * p;
    }
    rz_rng rng;
    rz_rng_init(&rng, 9, 0);
    rz_sim_risk(&engine, &start, RZ_SIM_PREGABALIN, 18000, 365, N, &rng, &risk, &deviation);
    double mean = sum / N, variance = (squares / N - mean * mean) / N;
    check_near(risk, mean, 4.0 * sqrt(variance + deviation * deviation));
}

static void the_dead_have_no_risk(void **state)
{
    (void)state;
    rz_sim_state s = plain();
    s.coded[RZ_SIM_DEATH] = 17999;
    rz_rng rng;
    rz_rng_init(&rng, 1, 1);
    double risk, deviation;
    rz_sim_risk(&engine, &s, RZ_SIM_HYPERTENSION, 18000, 365, 10, &rng, &risk, &deviation);
    check_near(risk, 0.0, 0.0);
    check_near(deviation, 0.0, 0.0);
}

static void rewinding_forgets_what_is_later(void **state)
{
    (void)state;
    rz_sim_state s = plain();
    s.coded[RZ_SIM_STROKE] = 100;
    s.coded[RZ_SIM_GOUT] = 101;
    s.coded[RZ_SIM_DEATH] = 300;
    rz_sim_state_rewind(&s, 100);
    assert_int_equal(s.coded[RZ_SIM_STROKE], 100);
    assert_int_equal(s.coded[RZ_SIM_GOUT], RZ_DAY_NONE);
    assert_int_equal(s.coded[RZ_SIM_DEATH], RZ_DAY_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rates_follow_the_equation),
                                       cmocka_unit_test(stretches_add_up),
                                       cmocka_unit_test(risk_is_the_frequency),
                                       cmocka_unit_test(irrelevant_items_do_not_matter),
                                       cmocka_unit_test(the_dead_have_no_risk),
                                       cmocka_unit_test(rewinding_forgets_what_is_later)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
