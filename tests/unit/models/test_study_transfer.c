/* Cells of held-out facilities: kept apart from the grid, compared with each other, and said in the
 * report. Their patients are made up: those of a panel of another size. With REZEPT_STUDY_OUT set
 * to a folder the made study and its report are kept there, for looking at them. */
#include "study_fixture.h"

#include "../report/markup.h"
#include "study_transfer.h"

enum { GRID = 400, TUNING = 300, HELD_OUT = 500, SEEDS = 2 };

static char folder[256];

static const char study[] =
    "{\"format_version\":1,\"code_version\":\"0.1.0\",\"db\":\"s.db\",\"data_sha256\":\"0123ab\","
    "\"tasks\":[{\"name\":\"ckd\",\"kind\":\"disease\",\"title_en\":\"Kidney disease\"}],"
    "\"sizes\":[\"2.2m\"],\"labels\":[100,0],\"seeds\":2,\"engines\":[\"xgboost\"],"
    "\"margin\":0.05,\"prefer\":\"accuracy\",\"hold_out_facilities\":[\"H3\",\"H5\"]}";

/* A cell of `transfer` (NULL: of the grid); what it learnt is worth so much noise. */
static void cell(const char *transfer, const char *engine, int labels, int seed, double noise,
                 size_t n_held_out)
{
    char name[96], more[64] = "";
    (void)snprintf(name, sizeof name, "%s-%s-%d-%d", transfer != NULL ? transfer : "grid",
                   engine != NULL ? engine : "2.2m", labels, seed);
    const made_cell c = {.name = name,
                         .kind = engine != NULL ? "baseline" : "finetune",
                         .size = engine != NULL ? NULL : "2.2m",
                         .init = engine != NULL ? NULL : "pretrained",
                         .engine = engine,
                         .tasks = {"ckd"},
                         .labels = labels,
                         .seed = seed,
                         .noise = {noise},
                         .cpu_seconds = 20,
                         .model = transfer == NULL};
    if (transfer != NULL)
        (void)snprintf(more, sizeof more, ",\"transfer\":\"%s\"", transfer);
    made_scores(folder, &c, "tuning", transfer != NULL ? TUNING : GRID, false);
    made_scores(folder, &c, "held_out", n_held_out, false);
    made_cell_file(folder, &c, more);
}

/* In a folder of its own unless `kept` names one. */
static void write_cells(const char *kept)
{
    char made[] = "/tmp/study-transfer-XXXXXX";
    if (kept == NULL)
        assert_non_null(temp_folder(made));
    (void)snprintf(folder, sizeof folder, "%s", kept != NULL ? kept : made);
    made_folder(folder, study);
    for (int seed = 1; seed <= SEEDS; seed++) {
        cell(NULL, NULL, 0, seed, 0.5, GRID);
        cell("zero_shot", NULL, 0, seed, 1.0, HELD_OUT);
        cell("recalibrated", NULL, 0, seed, 1.0, HELD_OUT);
        cell("tuned", NULL, 0, seed, 0.3, HELD_OUT);
        cell("tuned", NULL, 100, seed, 0.8, HELD_OUT);
        cell("local", NULL, 0, seed, 0.9, HELD_OUT);
        cell("local", NULL, 100, seed, 4.0, HELD_OUT);
        cell("local", "xgboost", 0, seed, 0.7, HELD_OUT);
        cell("local", "xgboost", 100, seed, 3.0, HELD_OUT);
    }
}

static study_report_options options(bool open)
{
    study_report_options o = study_report_options_defaults();
    o.bootstraps = 200;
    o.open_held_out = open;
    return o;
}

static void rows_are_in_order_and_compared(void **state)
{
    (void)state;
    static const char *const texts[] = {"zero-shot",
                                        "recalibrated",
                                        "fine-tuned, 100 labels",
                                        "fine-tuned, all labels",
                                        "local, 100 labels",
                                        "local, all labels",
                                        "local, xgboost, 100 labels",
                                        "local, xgboost, all labels"};
    rz_error error = {0};
    study_results r;
    study_transfer_findings f;
    char text[TRANSFER_TEXT];
    const study_report_options o = options(true);
    write_cells(NULL);
    check_ok(study_results_read(folder, true, NULL, &r, &error));
    assert_int_equal(r.design.n_hold_out, 2);
    assert_int_equal(r.held_out[0].n, GRID);
    assert_int_equal(r.held_out[0].n_measures, SEEDS);
    assert_int_equal(r.transfer_held_out[0].n, HELD_OUT);
    assert_int_equal(r.transfer_tuning[0].n, TUNING);
    check_ok(study_transfer_make(&r, &o, NULL, NULL, &f, &error));
    assert_int_equal(f.n_rows, 8);
    double value[8];
    for (size_t i = 0; i < 8; i++) {
        assert_string_equal(study_transfer_text(&r.design, f.rows[i].group, text), texts[i]);
        assert_int_equal(f.rows[i].group->n_seeds, SEEDS);
        assert_true(f.rows[i].checked);
        assert_int_equal(f.rows[i].metrics.n, HELD_OUT);
        value[i] = f.rows[i].group->interval[STUDY_PRECISION].value;
    }
    const transfer_row *zero = &f.rows[0], *few = &f.rows[2], *local = &f.rows[4],
                       *trees = &f.rows[6];
    check_near(few->minus_zero_shot.value, value[2] - value[0], 1e-12);
    check_near(few->minus_local.value, value[2] - value[4], 1e-12);
    check_near(few->minus_engine.value, value[2] - value[6], 1e-12);
    assert_true(few->minus_local.low > 0.0); /* noise of 0.8 against 4 */
    check_near(zero->minus_local.value, value[0] - value[5], 1e-12);
    check_near(zero->minus_engine.value, value[0] - value[7], 1e-12);
    assert_true(isnan(zero->minus_zero_shot.value));
    check_near(local->minus_zero_shot.value, value[4] - value[0], 1e-12);
    assert_true(isnan(local->minus_local.value));
    assert_true(isnan(trees->minus_engine.value) && isnan(trees->minus_local.value));
    /* The grid's groups are the grid's alone. */
    study_statistics s;
    check_ok(study_statistics_compute(&r, r.held_out, 0, 1, NULL, NULL, &s, &error));
    assert_int_equal(s.n_groups, 1);
    study_statistics_done(&s);
    study_transfer_done(&f);
    study_results_done(&r);
}

static void the_report_says_it(void **state)
{
    (void)state;
    rz_error error = {0};
    char path[320], *page;
    write_cells(getenv("REZEPT_STUDY_OUT"));
    for (int open = 0; open < 2; open++) {
        const study_report_options o = options(open == 1);
        check_ok(study_report_write(folder, &o, NULL, NULL, &error));
        (void)snprintf(path, sizeof path, "%s/report.json", folder);
        json_t *json = json_load_file(path, 0, NULL);
        const json_t *transfer = json_object_get(json, "transfer");
        assert_string_equal(json_string_value(json_object_get(transfer, "split")),
                            open ? "held_out" : "tuning");
        assert_int_equal(json_array_size(json_object_get(transfer, "rows")), 8);
        const json_t *row = json_array_get(json_object_get(transfer, "rows"), 2);
        assert_string_equal(json_string_value(json_object_get(row, "kind")), "tuned");
        assert_string_equal(json_string_value(json_object_get(row, "labels")), "100");
        assert_true(json_is_object(json_object_get(row, "calibration")) == (open == 1));
        assert_int_equal(
            json_integer_value(json_object_get(
                json_object_get(json_object_get(json_object_get(json, "costs"), "transfers"),
                                "local"),
                "cells")),
            4 * SEEDS);
        json_decref(json);
        (void)snprintf(path, sizeof path, "%s/report.html", folder);
        check_ok(rz_file_read(path, 16 << 20, &page, NULL, &error));
        check_markup(page);
        assert_non_null(strstr(page, "Transfer between institutions"));
        assert_non_null(strstr(page, "patients of H3, H5"));
        assert_true((strstr(page, "Calibration by kind of transfer") != NULL) == (open == 1));
        free(page);
    }
}

static void cells_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    study_results r;
    write_cells(NULL);
    cell("tuned", NULL, 100, 3, 1.0, HELD_OUT - 1);
    check_fails(study_results_read(folder, true, NULL, &r, &error), RZ_E_CONFLICT,
                "499 rows, but cell");
    cell("borrowed", NULL, 100, 3, 1.0, HELD_OUT);
    check_fails(study_results_read(folder, false, NULL, &r, &error), RZ_E_FORMAT,
                "none of zero_shot, recalibrated, tuned, local");
    write_cells(NULL);
    char without[sizeof study];
    (void)snprintf(without, sizeof without, "%s", study);
    char *at = strstr(without, ",\"hold_out_facilities\"");
    (void)snprintf(at, 2, "}");
    made_text(folder, "study.json", without);
    check_fails(study_results_read(folder, false, NULL, &r, &error), RZ_E_INVALID,
                "the study holds out no facility");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_in_order_and_compared),
                                       cmocka_unit_test(the_report_says_it),
                                       cmocka_unit_test(cells_that_do_not_fit_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
