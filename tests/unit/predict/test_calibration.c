/* Calibration: the map by hand, its JSON to the last bit, and numbers that are refused. */
#include "check.h"

#include "example.h"

#include "base/portable_math.h"
#include "base/size.h"

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    return rz_hash_setup(&error) == RZ_OK ? 0 : -1;
}

static void platt_by_hand(void **state)
{
    (void)state;
    rz_calibration c = example_calibration();
    rz_calibrated out;
    /* From prior 1/2 to prevalence 1/10 the logit falls by log 9. */
    double x = 1.5 - log(9.0), p = 1 / (1 + exp(-(0.25 + 0.8 * x)));
    rz_calibration_apply(&c, 1.5, &out);
    check_near(out.probability, p, 1e-14);
    check_near(out.low, 0.08 + (0.5 - 0.08) * (x + 2) / 4, 1e-14);
    check_near(out.high, 0.3 + (0.95 - 0.3) * (x + 2) / 4, 1e-14);
    assert_int_equal(out.similar_n, 20);
    assert_int_equal(out.similar_positives, 6);
    rz_calibration_apply(&c, -3.0, &out);
    assert_int_equal(out.similar_n, 80);
}

static void isotonic_by_hand(void **state)
{
    (void)state;
    rz_calibration c = example_calibration();
    rz_calibrated out;
    c.method = RZ_CALIBRATION_ISOTONIC;
    c.training_prior = c.prevalence = 0.1;
    c.n_knots = 4;
    memcpy(c.knot_x, (double[]){-4, -2, 0, 3}, 4 * sizeof(double));
    memcpy(c.knot_y, (double[]){0, 0.1, 0.1, 1}, 4 * sizeof(double));
    static const double points[][2] = {{-100, 0}, {-4, 0},  {-3, 0.05}, {-2, 0.1}, {-1, 0.1},
                                       {0, 0.1},  {1, 0.4}, {3, 1},     {100, 1}};
    for (size_t i = 0; i < RZ_COUNT(points); i++) {
        rz_calibration_apply(&c, points[i][0], &out);
        check_near(out.probability, points[i][1], 1e-12);
    }
}

/* Whatever the tables say, low <= probability <= high, all in [0, 1]. */
static void the_band_holds_the_probability(void **state)
{
    (void)state;
    rz_calibration c = example_calibration(), none = example_calibration();
    rz_calibrated out;
    none.n_band = none.n_bins = 0;
    c.intercept = -2; /* the curve leaves its band */
    for (double logit = -800; logit <= 800; logit += 0.37) {
        rz_calibration_apply(&c, logit, &out);
        if (!(out.low >= 0 && out.low <= out.probability && out.probability <= out.high &&
              out.high <= 1))
            fail_msg("logit %g: %g in [%g, %g]", logit, out.probability, out.low, out.high);
        rz_calibration_apply(&none, logit, &out);
        check_near(out.low, 0, 0);
        check_near(out.high, 1, 0);
        assert_int_equal(out.similar_n, 0);
    }
}

static void json_is_exact(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_calibration again;
    for (int isotonic = 0; isotonic < 2; isotonic++) {
        rz_calibration c = example_calibration();
        c.slope = 1.0 / 3.0;
        if (isotonic) {
            c.method = RZ_CALIBRATION_ISOTONIC;
            c.intercept = c.slope = 0;
            c.n_knots = 2;
            c.knot_x[0] = -0.1;
            c.knot_x[1] = 0.1 + 0.2;
            c.knot_y[1] = 1e-17;
            c.n_means = 2;
            c.bin_mean[0] = 0.1 + 0.2;
            c.bin_mean[1] = 1.0 / 3.0;
        }
        check_ok(rz_calibration_seal(&c, &error));
        json_t *json = rz_calibration_to_json(&c);
        char *text = json_dumps(json, JSON_REAL_PRECISION(17));
        json_t *parsed = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        check_ok(rz_calibration_from_json(parsed, &again, &error));
        assert_memory_equal(&again, &c, sizeof c);
        json_decref(json);
        json_decref(parsed);
        free(text);
    }
}

static void the_id_is_of_the_table(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_calibration a = example_calibration(), b = example_calibration();
    check_ok(rz_calibration_seal(&a, &error));
    memcpy(b.date, "2027-01-01", 11);
    check_ok(rz_calibration_seal(&b, &error));
    assert_string_equal(a.id, b.id);
    b.band_high[2] = nextafter(b.band_high[2], 1);
    check_ok(rz_calibration_seal(&b, &error));
    assert_string_not_equal(a.id, b.id);
}

/* One number changed to something impossible, by its path, and what the error names. */
static void bad_numbers_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *path[3];
        const char *value; /* JSON */
        const char *words;
    } cases[] = {
        {{"training_prior"}, "0", "training_prior 0"},
        {{"training_prior"}, "1.5", "training_prior 1.5"},
        {{"training_prior"}, "\"x\"", "training_prior must be a number"},
        {{"prevalence"}, "1", "prevalence 1"},
        {{"prevalence"}, "null", "prevalence"},
        {{"method"}, "\"magic\"", "method"},
        {{"map", "slope"}, "0", "slope 0"},
        {{"map", "slope"}, "-1", "slope -1"},
        {{"map", "intercept"}, "[]", "intercept"},
        {{"map"}, "[]", "intercept"},
        {{"band", "x"}, "[-6,-7,2]", "x[1] = -7"},
        {{"band", "x"}, "[1,2]", "band: 2 x"},
        {{"band", "x"}, "[1,2,\"3\"]", "x[2]"},
        {{"band", "low"}, "[0.9,0.9,0.9]", "above high"},
        {{"band", "low"}, "[-1,0,0]", "y[0] = -1"},
        {{"band", "high"}, "[0.1,0.3,1.5]", "y[2] = 1.5"},
        {{"bins", "edges"}, "[0,0.2]", "bins: 2 edges"},
        {{"bins", "edges"}, "[0.5,0.2,1]", "edge 1 = 0.2"},
        {{"bins", "n"}, "[1,1]", "4 positives of 1"},
        {{"bins", "means"}, "[0.1]", "2 n, 1 means"},
        {{"bins", "means"}, "[0.1,1.5]", "mean 1.5"},
        {{"bins", "means"}, "[0.1,null]", "means[1]"},
        {{"bins", "n"}, "[-1,1]", "n[0]"},
        {{"bins", "n"}, "[1,1,1,1,1,1,1,1,1,1,1]", "at most 10"},
        {{"tuning_n"}, "1", "10 positives of 1"},
        {{"tuning_n"}, "4294967296", "tuning_n"},
        {{"bootstraps"}, "1.5", "bootstraps"},
        {{"date"}, "\"2026-02-30\"", "date"},
        {{"date"}, "\"\"", "date"},
    };
    rz_error error = {0};
    rz_calibration good = example_calibration(), out;
    check_ok(rz_calibration_seal(&good, &error));
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        json_t *json = rz_calibration_to_json(&good), *object = json;
        int last = cases[i].path[1] == NULL ? 0 : 1;
        if (last == 1)
            object = json_object_get(json, cases[i].path[0]);
        json_t *value = json_loads(cases[i].value, JSON_DECODE_ANY, NULL);
        assert_int_equal(json_object_set_new(object, cases[i].path[last], value), 0);
        check_fails(rz_calibration_from_json(json, &out, &error), RZ_E_INVALID, cases[i].words);
        json_decref(json);
    }
    json_t *json = rz_calibration_to_json(&good);
    assert_int_equal(json_object_set_new(json, "prevalence", json_real(0.2)), 0);
    check_fails(rz_calibration_from_json(json, &out, &error), RZ_E_CORRUPT, "id");
    json_decref(json);
    check_fails(rz_calibration_from_json(NULL, &out, &error), RZ_E_INVALID, "training_prior");
    good.slope = NAN;
    check_fails(rz_calibration_seal(&good, &error), RZ_E_INVALID, "slope");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(platt_by_hand),
        cmocka_unit_test(isotonic_by_hand),
        cmocka_unit_test(the_band_holds_the_probability),
        cmocka_unit_test(json_is_exact),
        cmocka_unit_test(the_id_is_of_the_table),
        cmocka_unit_test(bad_numbers_are_named),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
