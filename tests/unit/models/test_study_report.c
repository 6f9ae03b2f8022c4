/* The three files of a study: what they say is what was measured, at any number of threads, and
 * held_out is opened only when asked. With REZEPT_STUDY_OUT set to a folder the made study and its
 * report are kept there, for looking at them. */
#include "study_fixture.h"

#include "../report/markup.h"
#include "study_report.h"

enum { TUNING = 1200, HELD_OUT = 1500, SEEDS = 3 };

static char folder[256];

/* Those that are fitted, then those that are only pretrained. */
static const char *const sizes[] = {"2.2m", "11m", "32m", "4.7m", "101m"};
static const double parameters[] = {2191000, 11361000, 31847000, 4658000, 101128000};

/* The last loss of a size is 5.76 + 100,000 / parameters: an exponent of 1. */
static double loss_at(int size, double tokens)
{
    return 5.0 + 60.0 * pow(tokens, -0.3) + 1e5 / parameters[size];
}

/* CKD grows with size, amlodipine stops at 11m; few labels and no pretraining cost precision. */
static double noise_of(int task, int size, study_init init, int labels)
{
    static const double growing[] = {1.6, 1.0, 0.4}, saturating[] = {1.5, 0.5, 0.45};
    double least = task == 0 ? growing[size] : saturating[size];
    return least +
           (labels == 100    ? 1.6
            : labels == 1000 ? 0.6
                             : 0.0) +
           (init == STUDY_SCRATCH ? labels == 0 ? 0.3 : 1.2 : 0.0);
}

static void pretrain(int size)
{
    char name[64], more[4096] = ",\"loss_by_tokens\":[";
    for (int i = 1; i <= 25; i++) {
        double tokens = 84000.0 * i;
        double loss = loss_at(size, tokens);
        (void)snprintf(more + strlen(more), sizeof more - strlen(more), "%s[%.0f,%.6f]",
                       i > 1 ? "," : "", tokens, loss);
    }
    (void)snprintf(more + strlen(more), sizeof more - strlen(more), "]");
    (void)snprintf(name, sizeof name, "pretrain-%s", sizes[size]);
    const made_cell c = {.name = name,
                         .kind = "pretrain",
                         .size = sizes[size],
                         .seed = 1,
                         .cpu_seconds = parameters[size] / 3000.0,
                         .parameters = parameters[size],
                         .tuning_loss = loss_at(size, 2.1e6)};
    made_cell_file(folder, &c, more);
}

static void fit(int size, const char *engine, study_init init, int labels, int seed)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s-%s-%d-%d", engine != NULL ? engine : sizes[size],
                   engine != NULL ? "counts" : study_init_name(init), labels, seed);
    made_cell c = {.name = name,
                   .kind = engine != NULL ? "baseline" : "finetune",
                   .engine = engine,
                   .tasks = {"ckd", "amlodipine"},
                   .labels = labels,
                   .seed = seed,
                   .cpu_seconds = engine != NULL ? 14 : 30.0 * (size + 1),
                   .model = engine == NULL};
    if (engine == NULL) {
        c.size = sizes[size];
        c.init = study_init_name(init);
        c.parameters = parameters[size];
    }
    for (int t = 0; t < 2; t++)
        c.noise[t] = engine == NULL ? noise_of(t, size, init, labels)
                     : strcmp(engine, "xgboost") == 0
                         ? noise_of(t, 0, STUDY_PRETRAINED, labels) + 0.1
                         : noise_of(t, 0, STUDY_PRETRAINED, labels) + 0.9;
    made_fit(folder, &c, TUNING, HELD_OUT);
}

static int make_study(void **state)
{
    (void)state;
    static char made[] = "/tmp/study-report-XXXXXX";
    const char *kept = getenv("REZEPT_STUDY_OUT");
    if (kept == NULL && temp_folder(made) == NULL)
        return -1;
    (void)snprintf(folder, sizeof folder, "%s", kept != NULL ? kept : made);
    made_folder(folder, MADE_STUDY);
    static const int labels[] = {100, 1000, 0};
    for (int size = 0; size < 5; size++) {
        pretrain(size);
        for (int l = 0; l < 3 && size < 3; l++)
            for (int seed = 1; seed <= (size == 2 ? 1 : SEEDS); seed++)
                for (study_init init = STUDY_PRETRAINED; init < STUDY_INITS; init++)
                    if (init == STUDY_PRETRAINED || (init == STUDY_SCRATCH && size < 2) ||
                        (init == STUDY_ONSET && labels[l] == 0))
                        fit(size, NULL, init, labels[l], seed);
    }
    for (int l = 0; l < 3; l++)
        for (int seed = 1; seed <= SEEDS; seed++) {
            fit(0, "xgboost", STUDY_PRETRAINED, labels[l], seed);
            fit(0, "logistic", STUDY_PRETRAINED, labels[l], seed);
        }
    return 0;
}

static json_t *read_json(const char *name)
{
    char path[320];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    json_error_t where;
    json_t *json = json_load_file(path, 0, &where);
    if (json == NULL)
        fail_msg("%s: %s", path, where.text);
    return json;
}

static char *read_text(const char *name)
{
    rz_error error = {0};
    char path[320], *text = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    check_ok(rz_file_read(path, 64 << 20, &text, NULL, &error));
    return text;
}

static study_report_options options_of(unsigned bootstraps)
{
    study_report_options o = study_report_options_defaults();
    assert_int_equal(o.bootstraps, 1000);
    assert_false(o.open_held_out);
    o.bootstraps = bootstraps;
    return o;
}

static const char *text_at(const json_t *object, const char *a, const char *b)
{
    return json_string_value(json_object_get(json_object_get(object, a), b));
}

static void tuning_alone(void **state)
{
    (void)state;
    rz_error error = {0};
    study_report_options o = options_of(200);
    o.prefer = STUDY_PREFER_COST;
    o.margin = 0.15; /* so few patients cannot tell 5 % apart */
    check_ok(study_report_write(folder, &o, NULL, NULL, &error));
    char *page = read_text("report.html");
    check_markup(page);
    assert_null(strstr(page, "nan"));
    assert_non_null(strstr(page, "held_out is closed"));
    assert_non_null(strstr(page, "Decision support for research use"));
    assert_null(strstr(page, "src="));
    free(page);
    json_t *report = read_json("report.json"), *routing = read_json("routing.json");
    assert_int_equal(json_array_size(json_object_get(report, "held_out_opened_at")), 0);
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(report, "groups"), i, row)
        assert_string_equal(json_string_value(json_object_get(row, "split")), "tuning");
    const json_t *tasks = json_object_get(routing, "tasks");
    assert_string_equal(text_at(tasks, "ckd", "size"), "32m");
    assert_string_equal(text_at(tasks, "amlodipine", "size"), "11m");
    assert_non_null(strstr(text_at(tasks, "amlodipine", "why"), "smallest of 3 sizes"));
    assert_int_equal(strncmp(text_at(tasks, "amlodipine", "model"), "11m-pretrained-0-", 17), 0);
    const json_t *evidence = json_object_get(json_object_get(tasks, "amlodipine"), "evidence");
    assert_int_equal(json_array_size(json_object_get(evidence, "sizes")), 3);
    assert_string_equal(json_string_value(json_object_get(evidence, "split")), "tuning");
    check_near(json_number_value(json_object_get(evidence, "parameters_saved")),
               1 - 11361000.0 / 31847000, 1e-9);
    json_decref(report);
    json_decref(routing);
}

static double figure(const json_t *row, const char *name)
{
    return json_number_value(json_object_get(row, name));
}

/* Whom the model that answers serves, from the columns that some score files have. */
static void check_groups(const json_t *report)
{
    const json_t *check, *row;
    size_t t, i;
    json_array_foreach(json_object_get(report, "calibration"), t, check)
    {
        double n = figure(json_object_get(check, "metrics"), "n"), patients[3] = {0};
        static const char *const kinds[] = {"sex", "age", "hospital"};
        json_array_foreach(json_object_get(check, "subgroups"), i, row)
        {
            const char *by = json_string_value(json_object_get(row, "by"));
            for (int k = 0; k < 3; k++)
                patients[k] += strcmp(by, kinds[k]) == 0 ? figure(row, "n") : 0.0;
        }
        for (int k = 0; k < 3; k++)
            check_near(patients[k], n, 0);
        const json_t *groups = json_object_get(check, "subgroups");
        assert_int_equal(json_array_size(groups), 6);
        assert_string_equal(json_string_value(json_object_get(json_array_get(groups, 5), "name")),
                            "small, <B>");
        const json_t *curve = json_object_get(check, "decision_curve");
        assert_true(json_array_size(json_object_get(curve, "points")) > 20);
        const json_t *truth = json_object_get(check, "truth");
        const json_t *slope = json_object_get(truth, "slope");
        assert_true(figure(slope, "low") < figure(slope, "value") &&
                    figure(slope, "value") < figure(slope, "high"));
    }
}

static void held_out_is_opened_when_asked_and_that_is_kept(void **state)
{
    (void)state;
    rz_error error = {0};
    study_report_options o = options_of(200);
    rz_pool *pool = NULL;
    check_ok(rz_pool_new(2, &pool, &error));
    o.open_held_out = true;
    o.prefer = STUDY_PREFER_ACCURACY;
    check_ok(study_report_write(folder, &o, NULL, NULL, &error));
    char *routing = read_text("routing.json"), *page = read_text("report.html");
    json_t *report = read_json("report.json");
    check_markup(page);
    assert_null(strstr(page, "nan"));
    assert_null(strstr(page, "closed"));
    assert_int_equal(json_array_size(json_object_get(report, "held_out_opened_at")), 1);
    assert_int_equal(json_array_size(json_object_get(report, "calibration")), 2);
    check_groups(report);
    assert_non_null(strstr(page, "hospital small, &lt;B&gt;"));
    assert_non_null(strstr(page, "was not kept by the version"));
    const json_t *law = json_object_get(json_object_get(report, "power_laws"), "by_parameters");
    check_near(json_number_value(json_object_get(json_object_get(law, "c"), "value")), 1, 0.02);
    check_near(json_number_value(json_object_get(json_object_get(law, "a"), "value")),
               5.0 + 60.0 * pow(2.1e6, -0.3), 0.01);
    const json_t *curve =
        json_object_get(json_object_get(json_object_get(report, "power_laws"), "by_tokens"), "11m");
    check_near(json_number_value(json_object_get(json_object_get(curve, "c"), "value")), 0.3, 0.01);
    json_decref(report);
    /* Choices never see held_out: closed or open, the same file; nor do threads change a byte. */
    o.open_held_out = false;
    check_ok(study_report_write(folder, &o, pool, NULL, &error));
    char *again = read_text("routing.json");
    assert_string_equal(routing, again);
    free(again);
    report = read_json("report.json");
    assert_int_equal(json_array_size(json_object_get(report, "held_out_opened_at")), 1);
    json_decref(report);
    o.open_held_out = true;
    made_text(folder, "cohorts.json",
              "{\"tasks\":[{\"name\":\"ckd\",\"attrition\":[{\"step\":\"with enough <history>\","
              "\"patients\":700}],\"splits\":{}}]}");
    check_ok(study_report_write(folder, &o, pool, NULL, &error));
    report = read_json("report.json");
    assert_int_equal(json_array_size(json_object_get(report, "held_out_opened_at")), 2);
    json_decref(report);
    again = read_text("report.html");
    assert_non_null(strstr(again, "held_out was opened 2 times"));
    assert_non_null(strstr(again, "<td>with enough &lt;history&gt;</td><td>700</td><td>-</td>"));
    const char *a = strstr(page, "Average precision by size"),
               *b = strstr(again, "Average precision by size");
    assert_true(a != NULL && b != NULL);
    assert_string_equal(a, b);
    free(again);
    free(page);
    free(routing);
    rz_pool_free(pool);
}

/* Half of a study is a study: what is missing is absent, and nothing else changes. */
static void cells_that_are_missing_are_absent(void **state)
{
    (void)state;
    rz_error error = {0};
    study_report_options o = options_of(50);
    char command[600], whole[256];
    (void)snprintf(whole, sizeof whole, "%s", folder);
    (void)snprintf(folder, sizeof folder, "%.200s/half", whole);
    (void)snprintf(
        command, sizeof command,
        "mkdir '%s' && cp -r '%s/study.json' '%s/cells' '%s/scores' '%s' && rm '%s'/cells/32m-*",
        folder, whole, whole, whole, folder, folder);
    assert_int_equal(system(command), 0);
    check_ok(study_report_write(folder, &o, NULL, NULL, &error));
    json_t *routing = read_json("routing.json");
    assert_string_equal(text_at(json_object_get(routing, "tasks"), "ckd", "size"), "11m");
    json_decref(routing);
    (void)snprintf(command, sizeof command, "rm '%s'/cells/*", folder);
    assert_int_equal(system(command), 0);
    check_ok(study_report_write(folder, &o, NULL, NULL, &error)); /* none at all */
    char *page = read_text("report.html");
    check_markup(page);
    assert_null(strstr(page, "nan"));
    free(page);
    o.margin = 1.5;
    check_fails(study_report_write(folder, &o, NULL, NULL, &error), RZ_E_RANGE, "1.5");
    o.margin = 0.05;
    made_text(folder, "report.json", "{}");
    check_fails(study_report_write(folder, &o, NULL, NULL, &error), RZ_E_CORRUPT, "report.json");
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    (void)snprintf(folder, sizeof folder, "%s", whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tuning_alone),
        cmocka_unit_test(held_out_is_opened_when_asked_and_that_is_kept),
        cmocka_unit_test(cells_that_are_missing_are_absent)};
    return cmocka_run_group_tests(tests, make_study, NULL);
}
