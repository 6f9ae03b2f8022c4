/* Drift: windows that take turns, models of before that keep no shares and no ages, and the reasons
 * why there is no ratio. */
#include "check.h"
#include "drift.h"

#include <math.h>

/* A head as files of 0.1.0 describe it; no edges of ages, no shares, no number of tokens. */
static json_t *old_reference(void)
{
    return json_pack("{s:i, s:[f,f,f,f,f,f,f,f,f,f,f], s:[i,i,i,i,i,i,i,i,i,i,i], s:f}", "n", 1000,
                     "score_deciles", 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
                     "token_deciles", 2, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, "unmapped_share",
                     0.1);
}

static rz_risk risk_of(unsigned i)
{
    return (rz_risk){
        .probability = (i % 10 + 0.5) / 10.0, .tokens = 10 * (i % 10) + 5, .unmapped = i % 10};
}

static void windows_take_turns(void **state)
{
    (void)state;
    rz_head head = {.reference = old_reference()};
    drift *d = drift_new(&head, 1);
    assert_non_null(d);
    for (unsigned i = 0; i < DRIFT_PATIENTS_MIN; i++) {
        for (int f = 0; f < DRIFT_FEATURES; f++)
            assert_true(isnan(drift_index(d, 0, (drift_feature)f)));
        rz_risk risk = risk_of(i);
        drift_count(d, &risk, 50.0);
    }
    assert_int_equal(drift_patients(d, 0), DRIFT_PATIENTS_MIN);
    check_near(drift_index(d, 0, DRIFT_SCORE), 0.0, 1e-9);
    check_near(drift_index(d, 0, DRIFT_TOKENS), 0.0, 1e-9);
    assert_true(isnan(drift_index(d, 0, DRIFT_AGE)));
    check_near(drift_index(d, 0, DRIFT_UNMAPPED), 0.0, 2e-3); /* 0.09 */
    /* Others come: what was before is forgotten after two halves. */
    for (unsigned i = 0; i < 2 * DRIFT_HALF; i++) {
        rz_risk risk = {.probability = 0.95, .tokens = 2, .unmapped = 2};
        drift_count(d, &risk, NAN);
        assert_true(drift_patients(d, 0) <= 2 * DRIFT_HALF);
    }
    assert_true(drift_index(d, 0, DRIFT_SCORE) > 2.0);
    for (unsigned i = 0; i < 2 * DRIFT_HALF; i++) {
        rz_risk risk = risk_of(i);
        drift_count(d, &risk, NAN);
    }
    assert_in_range(drift_patients(d, 0), DRIFT_HALF, 2 * DRIFT_HALF);
    check_near(drift_index(d, 0, DRIFT_SCORE), 0.0, 1e-6);
    assert_int_equal(drift_score_bin(d, 0, 0.55), 5);
    drift_free(d);
    json_decref(head.reference);
}

static void a_model_without_reference(void **state)
{
    (void)state;
    rz_head head = {.reference = json_object()};
    drift *d = drift_new(&head, 1);
    assert_non_null(d);
    for (unsigned i = 0; i < 1000; i++) {
        rz_risk risk = risk_of(i);
        drift_count(d, &risk, 40.0);
    }
    for (int f = 0; f < DRIFT_FEATURES; f++)
        assert_true(isnan(drift_index(d, 0, (drift_feature)f)));
    assert_int_equal(drift_score_bin(d, 0, 0.99), 0);
    drift_free(d);
    json_decref(head.reference);
}

static void reasons_for_no_ratio(void **state)
{
    (void)state;
    const char *reason = "";
    drift_outcomes o = {0};
    assert_true(isnan(drift_ratio(&o, &reason)));
    assert_string_equal(reason, "not_computed");
    o = (drift_outcomes){.computed_us = 1, .patients = 90, .observed = 9, .expected = 9.9};
    assert_true(isnan(drift_ratio(&o, &reason)));
    assert_string_equal(reason, "too_few_outcomes");
    o.expected = 40.0; /* many were expected and did not come: that is to be seen */
    check_near(drift_ratio(&o, &reason), 9.0 / 40.0, 1e-12);
    assert_null(reason);
    o.unknown_split = true;
    assert_true(isnan(drift_ratio(&o, &reason)));
    assert_string_equal(reason, "unknown_split");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(windows_take_turns),
                                       cmocka_unit_test(a_model_without_reference),
                                       cmocka_unit_test(reasons_for_no_ratio)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
