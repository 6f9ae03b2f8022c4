/* The page, the JSON and the sections of the card, for ordinary, empty and single-class cohorts.
 * With REZEPT_CHARTS_OUT set to a folder the page is kept there. */
#include "markup.h"

#include "base/file.h"
#include "base/portable_math.h"
#include "base/rng.h"
#include "report/report.h"

enum { N = 900 };

static rz_task task_of(const char *name)
{
    rz_task task = {
        .kind = RZ_KIND_DIAGNOSIS,
        .title_en = "Disease <one> & \"two\"",
        .title_ja = "慢性腎臓病",
        .n_outcomes = 3,
        .outcomes = {{RZ_SYSTEM_ICD10, "N18"}, {RZ_SYSTEM_ICD10, "N19"}, {RZ_SYSTEM_ICD9CM, "585"}},
        .age_max = RZ_TASK_AGE_ANY,
        .min_history_days = 365,
        .horizon_days = 365};
    (void)snprintf(task.name, sizeof task.name, "%s", name);
    return task;
}

/* A third men and 9 in 10 of age 40-49, the others unknown; hospitals with names that must be
 * escaped, the second one small. */
static void subgroups_of(rz_report_task *t)
{
    static const char *const sexes[] = {"female", "male"}, *const ages[] = {"40-49"},
                             *const hospitals[] = {"<A> & \"B\"", "small"};
    rz_error error = {0};
    uint32_t *key = calloc(3 * t->n + 1, sizeof *key), *age = key + t->n, *hospital = age + t->n;
    for (size_t i = 0; i < t->n; i++) {
        key[i] = i % 3 == 0;
        age[i] = i % 10 == 0;
        hospital[i] = i % 100 == 0;
    }
    const rz_subgroup_rows rows = {.n = t->n,
                                   .probability = t->probability,
                                   .label = t->label,
                                   .key = {key, age, hospital},
                                   .names = {sexes, ages, hospitals},
                                   .n_names = {2, 1, 2}};
    check_ok(rz_subgroups_measure(&rows, 50, 1, &t->groups, &error));
    free(key);
}

/* n patients; `positive` false gives a single class. */
static void fill(rz_report_task *t, const char *name, size_t n, bool positive, bool truth)
{
    rz_error error = {0};
    rz_rng rng;
    rz_rng_init(&rng, n, 1);
    *t = (rz_report_task){.task = task_of(name), .n = n};
    t->probability = calloc(n + 1, sizeof *t->probability);
    t->age_sex = calloc(n + 1, sizeof *t->age_sex);
    t->truth = calloc(n + 1, sizeof *t->truth);
    t->label = calloc(n + 1, 1);
    for (size_t i = 0; i < n; i++) {
        double age = rz_rng_normal(&rng), eta = age + rz_rng_normal(&rng) - 2;
        t->truth[i] = t->probability[i] = rz_sigmoid(eta);
        t->age_sex[i] = rz_sigmoid(age - 2);
        t->label[i] = positive && rz_rng_uniform(&rng) < t->truth[i];
    }
    for (int step = 0; step < RZ_ATTRITION_COUNT; step++)
        t->cohort.passed[step] = 5000 - 500 * (uint64_t)step;
    check_ok(rz_metrics_compute(t->probability, t->label, NULL, n, 50, 1, &t->model, &error));
    check_ok(rz_metrics_compute(t->age_sex, t->label, NULL, n, 50, 1, &t->baseline, &error));
    check_ok(rz_metrics_compare(t->probability, t->age_sex, t->label, NULL, n, 50, 1,
                                &t->auroc_gain, &t->precision_gain, &error));
    check_ok(rz_decision_compute(t->probability, t->age_sex, t->label, NULL, n, 50, 1, &t->decision,
                                 &error));
    subgroups_of(t);
    if (truth)
        t->against_truth = (rz_report_truth){.given = true,
                                             .matched = n,
                                             .figures = {.mean_predicted = 0.1,
                                                         .mean_true = 0.2,
                                                         .ratio = {0.5, 0.4, 0.6},
                                                         .slope = {NAN, NAN, NAN},
                                                         .intercept = {NAN, NAN, NAN},
                                                         .mean_slope = {1, 0.9, 1.1}},
                                             .auroc = t->model.auroc,
                                             .average_precision = t->model.average_precision};
}

static rz_model model = {.config = {.family = "encoder", .size = "2.2m"}};

static rz_report report_of(size_t n_tasks)
{
    rz_report r = {.model_name = "a<b>&c",
                   .model_sha256 = "00ff",
                   .tasks_sha256 = "11ee",
                   .data_sha256 = "22dd",
                   .model = &model,
                   .date = "2024-05-01",
                   .split = "held_out",
                   .bootstraps = 50,
                   .seed = 1,
                   .n_tasks = n_tasks};
    r.tasks = calloc(n_tasks + 1, sizeof *r.tasks);
    return r;
}

static void json(void **state)
{
    (void)state;
    rz_report r = report_of(3);
    fill(&r.tasks[0], "ckd", N, true, true);
    fill(&r.tasks[1], "none", 40, false, false);
    fill(&r.tasks[2], "empty", 0, true, false);
    json_t *json = rz_report_json(&r);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "format")), "rezept-report");
    json_t *tasks = json_object_get(json, "tasks");
    assert_int_equal(json_array_size(tasks), 3);
    json_t *ckd = json_array_get(tasks, 0), *none = json_array_get(tasks, 1);
    json_t *auroc = json_object_get(json_object_get(ckd, "model"), "auroc");
    check_near(json_number_value(json_object_get(auroc, "value")), r.tasks[0].model.auroc.value,
               1e-15);
    assert_true(json_is_null(json_object_get(json_object_get(ckd, "model"), "reason")));
    json_t *truth = json_object_get(ckd, "truth");
    assert_true(json_is_null(json_object_get(truth, "slope")));
    check_near(json_number_value(json_object_get(truth, "predicted_to_true")), 0.5, 0);
    json_t *goals = json_object_get(truth, "goals");
    assert_true(json_is_false(json_object_get(json_object_get(goals, "predicted_to_true"), "met")));
    assert_true(json_is_null(json_object_get(json_object_get(goals, "slope"), "met")));
    json_t *groups = json_object_get(ckd, "subgroups");
    assert_int_equal(json_array_size(groups), 6); /* two sexes, one age, unknown, two hospitals */
    assert_string_equal(json_string_value(json_object_get(json_array_get(groups, 3), "name")),
                        "unknown");
    json_t *small = json_array_get(groups, 5);
    assert_string_equal(json_string_value(json_object_get(small, "name")), "small");
    assert_true(json_is_null(json_object_get(small, "auroc")));
    assert_non_null(strstr(json_string_value(json_object_get(small, "reason")), "too few"));
    assert_int_equal(json_array_size(json_object_get(none, "subgroups")), 6);
    assert_int_equal(json_array_size(json_object_get(json_array_get(tasks, 2), "subgroups")), 0);
    json_t *curve = json_object_get(ckd, "decision_curve");
    assert_int_equal(json_array_size(json_object_get(curve, "points")),
                     r.tasks[0].decision.n_points);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(none, "decision_curve"), "reason")),
        "no positive patient");
    json_t *single = json_object_get(none, "model");
    assert_string_equal(json_string_value(json_object_get(single, "reason")),
                        "no positive patient");
    assert_true(json_is_null(json_object_get(json_object_get(single, "auroc"), "value")));
    assert_true(json_is_number(json_object_get(json_object_get(single, "brier"), "value")));
    assert_true(json_is_null(json_object_get(none, "truth")));
    json_t *empty = json_object_get(json_array_get(tasks, 2), "model");
    assert_string_equal(json_string_value(json_object_get(empty, "reason")), "no patient");
    char *text = json_dumps(json, JSON_REAL_PRECISION(9));
    assert_non_null(text); /* no NaN got in: jansson would refuse */
    free(text);
    json_decref(json);
    rz_report_done(&r);
    assert_null(r.tasks);
}

static void html(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_buffer out;
    rz_report r = report_of(3);
    fill(&r.tasks[0], "ckd", N, true, true);
    fill(&r.tasks[1], "none", 40, false, false);
    fill(&r.tasks[2], "empty", 0, true, false);
    rz_buffer_init(&out, 16 << 20);
    check_ok(rz_report_html(&r, &out, &error));
    check_markup(out.data);
    assert_non_null(strstr(out.data, "Evaluation of a&lt;b&gt;&amp;c"));
    assert_non_null(strstr(out.data, "Disease &lt;one&gt; &amp; &quot;two&quot;"));
    assert_non_null(strstr(out.data, "no positive patient"));
    assert_non_null(strstr(out.data, "the cohort is empty"));
    assert_non_null(strstr(out.data, RZ_REPORT_NOTICE));
    assert_non_null(strstr(out.data, "hospital &lt;A&gt; &amp; &quot;B&quot;"));
    assert_non_null(strstr(out.data, "<b>outside</b> 0.95 to 1.05"));
    assert_non_null(strstr(out.data, "Vickers and Elkin 2006"));
    assert_null(strstr(out.data, "nan"));
    assert_null(strstr(out.data, "http://www.w3.org/1999/xhtml"));
    assert_null(strstr(out.data, "<script"));
    assert_null(strstr(out.data, "https:")); /* nothing is fetched from anywhere */
    const char *folder = getenv("REZEPT_CHARTS_OUT");
    if (folder != NULL) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/report.html", folder);
        check_ok(rz_file_write(path, out.data, out.length, &error));
    }
    rz_buffer_done(&out);
    rz_buffer_init(&out, 1000);
    check_fails(rz_report_html(&r, &out, &error), RZ_E_TOO_LARGE, "the report");
    rz_buffer_done(&out);
    rz_report_done(&r);
}

static void card_sections(void **state)
{
    (void)state;
    rz_buffer out;
    static rz_head heads[2];
    heads[0].task = task_of("ckd");
    heads[0].calibration = (rz_calibration){.training_prior = 0.5,
                                            .prevalence = 0.0712,
                                            .tuning_n = 800,
                                            .tuning_positives = 57,
                                            .date = "2024-05-01"};
    heads[1].task = task_of("old");
    heads[1].task.age_min = 65;
    heads[1].task.n_required = 1;
    heads[1].task.required[0] = (rz_task_prefix){RZ_SYSTEM_ICD10, "I10"};
    rz_buffer_init(&out, 1 << 16);
    assert_int_equal(rz_card_use(&out), RZ_OK);
    assert_int_equal(rz_card_outcomes(heads, 2, &out), RZ_OK);
    assert_int_equal(rz_card_limits(&out), RZ_OK);
    assert_non_null(strstr(out.data, RZ_REPORT_NOTICE));
    assert_non_null(strstr(out.data, "#### Disease \\<one\\> & \"two\" (慢性腎臓病)"));
    assert_non_null(strstr(out.data, "icd10 `N18`, `N19`; icd9cm `585` within 365 days"));
    assert_non_null(strstr(out.data, "Population: everybody."));
    assert_non_null(strstr(out.data, "Population: age 65 and above with one of icd10 `I10`."));
    assert_non_null(strstr(out.data, "calibrated to: 7.12 %"));
    assert_non_null(strstr(out.data, "- The weights are made from claims"));
    rz_buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(json), cmocka_unit_test(html),
                                       cmocka_unit_test(card_sections)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
