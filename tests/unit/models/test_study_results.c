/* What a study's folder says is read as it is, and what does not fit is refused with the cell's
 * name. */
#include "study_fixture.h"

#include "study_results.h"

static char folder[64];

static const made_cell tuned = {.name = "ckd-2.2m-pretrained-all-1",
                                .kind = "finetune",
                                .size = "2.2m",
                                .init = "pretrained",
                                .tasks = {"ckd"},
                                .seed = 1,
                                .noise = {1},
                                .cpu_seconds = 20,
                                .parameters = 2191000,
                                .model = true};

static int fresh(void **state)
{
    (void)state;
    static int number;
    char command[128];
    if (number++ > 0) {
        (void)snprintf(command, sizeof command, "rm -rf -- '%s'/*", folder);
        if (system(command) != 0)
            return -1;
    } else {
        (void)snprintf(folder, sizeof folder, "/tmp/study-results-XXXXXX");
        if (temp_folder(folder) == NULL)
            return -1;
    }
    made_folder(folder, MADE_STUDY);
    return 0;
}

static rz_status read_it(bool held_out, study_results *out, rz_error *error)
{
    return study_results_read(folder, held_out, NULL, out, error);
}

static void an_empty_study_is_no_error(void **state)
{
    (void)state;
    rz_error error = {0};
    study_results r;
    check_ok(read_it(true, &r, &error));
    assert_int_equal(r.n_cells, 0);
    assert_int_equal(r.design.n_tasks, 2);
    assert_string_equal(r.design.tasks[1].title_ja, "アムロジピン");
    assert_int_equal(r.design.n_labels, 3);
    assert_int_equal(r.design.labels[0], 100); /* rising, all last */
    assert_int_equal(r.design.labels[1], 1000);
    assert_int_equal(r.design.labels[2], 0);
    assert_int_equal(r.tuning[0].n, 0);
    study_results_done(&r);
}

static void cells_share_their_patients(void **state)
{
    (void)state;
    rz_error error = {0};
    study_results r;
    made_cell shared = tuned, trees = tuned;
    shared.name = "shared-11m-pretrained-all-1";
    shared.size = "11m";
    shared.tasks[1] = "amlodipine";
    trees.name = "xgboost-ckd-100-1";
    trees.kind = "baseline";
    trees.size = trees.init = NULL;
    trees.engine = "xgboost";
    trees.labels = 100;
    trees.model = false;
    made_fit(folder, &tuned, 40, 50);
    made_fit(folder, &shared, 40, 50);
    made_fit(folder, &trees, 40, 50);
    made_scores(folder, &trees, "tuning", 40, true); /* the order of rows means nothing */
    made_text(folder, "cells/.half-written.json.x", "{");
    check_ok(read_it(true, &r, &error));
    assert_int_equal(r.n_cells, 3);
    assert_string_equal(r.cells[0].name, tuned.name);
    assert_string_equal(r.cells[0].model, "models/ckd-2.2m-pretrained-all-1");
    assert_null(r.cells[2].model);
    assert_int_equal(r.cells[1].n_tasks, 2);
    assert_int_equal(r.cells[2].engine, 0);
    assert_int_equal(r.cells[2].labels, 0);
    assert_int_equal(r.cells[0].labels, 2);
    const study_panel *p = &r.tuning[0];
    assert_int_equal(p->n, 40);
    assert_int_equal(p->n_measures, 3);
    assert_int_equal(p->n_scores, 4); /* three scores, and age and sex once for all */
    assert_int_equal(p->measures[0].age_sex, p->measures[2].age_sex);
    assert_true(p->truth_known);
    static made_patients patients;
    made_draw("ckd", "tuning", 40, &patients);
    size_t positives = 0;
    for (size_t i = 0; i < 40; i++) {
        positives += (size_t)patients.label[i];
        assert_int_equal(p->patient[i], i + 1);
        assert_int_equal(p->label[i], patients.label[i]);
        check_near(p->truth[i], rz_sigmoid(patients.eta[i]), 1e-8);
    }
    assert_int_equal(p->positives, positives);
    assert_int_equal(r.tuning[1].n_measures, 1);
    assert_int_equal(r.held_out[0].n, 50);
    study_results_done(&r);
}

static void held_out_stays_closed_unless_asked_for(void **state)
{
    (void)state;
    rz_error error = {0};
    study_results r;
    char path[256];
    made_fit(folder, &tuned, 40, 50);
    (void)snprintf(path, sizeof path, "%s/scores/%s-held_out.csv", folder, tuned.name);
    made_text(folder, "scores/ckd-2.2m-pretrained-all-1-held_out.csv", "not even a table");
    check_ok(read_it(false, &r, &error)); /* would fail if it were opened */
    assert_null(r.held_out);
    study_results_done(&r);
    check_fails(read_it(true, &r, &error), RZ_E_FORMAT, tuned.name);
    assert_int_equal(remove(path), 0);
    check_fails(read_it(true, &r, &error), RZ_E_NOT_FOUND, tuned.name);
}

static void other_patients_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    study_results r;
    made_cell other = tuned;
    other.name = "ckd-2.2m-pretrained-all-2";
    other.seed = 2;
    made_fit(folder, &tuned, 40, 50);
    made_fit(folder, &other, 39, 50);
    check_fails(read_it(false, &r, &error), RZ_E_CONFLICT,
                "cell ckd-2.2m-pretrained-all-2: tuning, task ckd: 39 rows, but cell "
                "ckd-2.2m-pretrained-all-1 has 40");
    static const struct {
        const char *row, *words;
    } cases[] = {{"ckd,9,2019-04-22,tuning,0,0,0.1,0.1,", "1 are of others than"},
                 {"ckd,2,2019-04-23,tuning,0,0,0.1,0.1,", "1 have another index day"},
                 {"ckd,2,2019-04-22,tuning,1,0,0.1,0.1,", "1 another label"},
                 {"ckd,2,2019-04-22,tuning,0,0,0.1,0.1,0.4", "1 another true risk"}};
    static const char head[] =
        "task,patient_key,index_day,split,label,logit,probability,age_sex,truth\n"
        "ckd,1,2019-04-22,tuning,1,0,0.3,0.1,\n";
    made_text(folder, "scores/ckd-2.2m-pretrained-all-1-tuning.csv",
              "task,patient_key,index_day,split,label,logit,probability,age_sex,truth\n"
              "ckd,1,2019-04-22,tuning,1,0,0.3,0.1,\nckd,2,2019-04-22,tuning,0,0,0.2,0.1,0.5\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        (void)snprintf(text, sizeof text, "%s%s\n", head, cases[i].row);
        made_text(folder, "scores/ckd-2.2m-pretrained-all-2-tuning.csv", text);
        check_fails(read_it(false, &r, &error), RZ_E_CONFLICT, cases[i].words);
    }
    char text[512]; /* a truth that only one of them was told is taken from that one */
    (void)snprintf(text, sizeof text, "%sckd,2,2019-04-22,tuning,0,0,0.1,0.1,\n", head);
    made_text(folder, "scores/ckd-2.2m-pretrained-all-2-tuning.csv", text);
    check_ok(read_it(false, &r, &error));
    assert_false(r.tuning[0].truth_known);
    check_near(r.tuning[0].truth[1], 0.5, 0);
    study_results_done(&r);
}

/* 75 patients on two days each. A simulator does not know every true risk: the row that lacks it
 * leaves the panel with its scores; where too many lack it, all stay and there is no truth. */
static void patients_have_several_days(void **state)
{
    (void)state;
    enum { PATIENTS = 75 };
    rz_error error = {0};
    study_results r;
    static char text[PATIENTS * 200];
    made_fit(folder, &tuned, 40, 50);
    for (int unknown = 0; unknown <= 2; unknown++) {
        size_t n = (size_t)snprintf(
            text, sizeof text,
            "task,patient_key,index_day,split,label,logit,probability,age_sex,truth\n");
        for (int i = 2 * PATIENTS - 1; i >= 0; i--) {
            char truth[16] = "";
            if (i >= 2 * unknown || i % 2 == 1) /* the first days of the first ones lack it */
                (void)snprintf(truth, sizeof truth, "%g", 0.001 * i);
            n += (size_t)snprintf(text + n, sizeof text - n,
                                  "ckd,%d,20%02d-04-22,tuning,%d,0,%g,0.1,%s\n", i / 2 + 1,
                                  18 + i % 2, i % 5 == 0, 0.002 * i, truth);
        }
        made_text(folder, "scores/ckd-2.2m-pretrained-all-1-tuning.csv", text);
        check_ok(read_it(false, &r, &error));
        const study_panel *p = &r.tuning[0];
        const size_t left_out = unknown == 1 ? 1 : 0;
        assert_int_equal(p->truth_known, unknown < 2);
        assert_int_equal(p->left_out, left_out);
        assert_int_equal(p->n, 2 * PATIENTS - left_out);
        assert_int_equal(p->patients, PATIENTS);
        assert_int_equal(p->positives, 30 - left_out);
        for (size_t i = 0; i < p->n; i++) {
            size_t row = i + left_out;
            assert_int_equal(p->patient[i], row / 2 + 1);
            assert_int_equal(p->number[i], row / 2);
            check_near(p->score[p->measures[0].score][i], 0.002 * (double)row, 1e-12);
            if (p->truth_known)
                check_near(p->truth[i], 0.001 * (double)row, 1e-12);
        }
        study_results_done(&r);
    }
}

static void bad_rows_name_cell_file_and_line(void **state)
{
    (void)state;
    rz_error error = {0};
    study_results r;
    static const struct {
        const char *row, *words;
    } cases[] = {{"amlodipine,2,2019-04-22,tuning,0,0,0.1,0.1,", "none of the cell's"},
                 {"ckd,2,2019-04-22,held_out,0,0,0.1,0.1,", "split \"held_out\" in a file of"},
                 {"ckd,2x,2019-04-22,tuning,0,0,0.1,0.1,", "patient_key is no number"},
                 {"ckd,2,22.4.2019,tuning,0,0,0.1,0.1,", "index_day is no date"},
                 {"ckd,2,2019-04-22,tuning,2,0,0.1,0.1,", "label \"2\""},
                 {"ckd,2,2019-04-22,tuning,0,0,1.1,0.1,", "probability \"1.1\""},
                 {"ckd,2,2019-04-22,tuning,0,0,nan,0.1,", "probability \"nan\""},
                 {"ckd,2,2019-04-22,tuning,0,0,0.1,,", "age_sex \"\""},
                 {"ckd,2,2019-04-22,tuning,0,0,0.1,0.1,-1", "truth \"-1\""}};
    made_fit(folder, &tuned, 40, 50);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        (void)snprintf(text, sizeof text,
                       "task,patient_key,index_day,split,label,logit,probability,age_sex,truth\n"
                       "ckd,1,2019-04-22,tuning,1,0,0.3,0.1,\n%s\n",
                       cases[i].row);
        made_text(folder, "scores/ckd-2.2m-pretrained-all-1-tuning.csv", text);
        check_fails(read_it(false, &r, &error), i < 2 ? RZ_E_INVALID : RZ_E_FORMAT, cases[i].words);
        (void)read_it(false, &r, &error);
        assert_non_null(strstr(error.text, "cell ckd-2.2m-pretrained-all-1: "));
        assert_non_null(strstr(error.text, "line 3: "));
    }
    made_text(folder, "scores/ckd-2.2m-pretrained-all-1-tuning.csv",
              "task,patient_key,index_day,split,label,logit,probability,age_sex,truth\n"
              "ckd,1,2019-04-22,tuning,1,0,0.3,0.1,\nckd,1,2019-04-22,tuning,1,0,0.2,0.1,\n");
    check_fails(read_it(false, &r, &error), RZ_E_INVALID, "twice on the same index day");
    made_text(folder, "scores/ckd-2.2m-pretrained-all-1-tuning.csv", "task,patient_key\n");
    check_fails(read_it(false, &r, &error), RZ_E_FORMAT, "index_day");
}

static void foreign_and_damaged_cells_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    study_results r;
    static const struct {
        const char *old, *replacement, *words;
        rz_status status;
    } cases[] = {{"\"2.2m\"", "\"7m\"", "no size \"7m\"", RZ_E_INVALID},
                 {"\"ckd\"]", "\"gout\"]", "no task gout", RZ_E_INVALID},
                 {"[\"ckd\"]", "[\"ckd\",\"ckd\"]", "twice", RZ_E_INVALID},
                 {"[\"ckd\"]", "[]", "tasks is empty", RZ_E_FORMAT},
                 {"\"labels\":0", "\"labels\":7", "no label count 7", RZ_E_INVALID},
                 {"\"finetune\"", "\"guess\"", "kind \"guess\"", RZ_E_FORMAT},
                 {"\"finetune\"", "\"baseline\"", "no engine", RZ_E_INVALID},
                 {"\"pretrained\"", "\"warm\"", "init \"warm\"", RZ_E_FORMAT},
                 {"\"cell\":\"ckd", "\"cell\":\"other", "the file is that of cell", RZ_E_INVALID},
                 {"{", "", "damaged: line 1", RZ_E_FORMAT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256], *text = NULL, changed[4096];
        made_fit(folder, &tuned, 40, 50);
        (void)snprintf(path, sizeof path, "%s/cells/%s.json", folder, tuned.name);
        check_ok(rz_file_read(path, 4096, &text, NULL, &error));
        char *at = strstr(text, cases[i].old);
        assert_non_null(at);
        (void)snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text,
                       cases[i].replacement, at + strlen(cases[i].old));
        free(text);
        made_text(folder, "cells/ckd-2.2m-pretrained-all-1.json", changed);
        check_fails(read_it(false, &r, &error), cases[i].status, cases[i].words);
        (void)read_it(false, &r, &error);
        assert_non_null(strstr(error.text, tuned.name));
        rz_error_clear(&error);
    }
    made_cell twice = tuned;
    twice.name = "ckd-again";
    made_fit(folder, &tuned, 40, 50);
    made_fit(folder, &twice, 40, 50);
    check_fails(read_it(false, &r, &error), RZ_E_CONFLICT,
                "cells ckd-2.2m-pretrained-all-1 and ckd-again measure the same");
}

static void bad_designs_are_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    study_results r;
    static const struct {
        const char *text, *words;
        rz_status status;
    } cases[] = {
        {"[]", "an object was expected", RZ_E_FORMAT},
        {"{\"format_version\":2}", "format_version 2", RZ_E_UNSUPPORTED},
        {"{\"format_version\":1}", "tasks is no list", RZ_E_FORMAT},
        {"{\"format_version\":1,\"tasks\":[{\"name\":\"a/b\"}]}", "no name of a task", RZ_E_FORMAT},
        {"{\"format_version\":1,\"tasks\":[{\"name\":\"a\"},{\"name\":\"a\"}]}", "a stands there",
         RZ_E_FORMAT},
        {"{\"format_version\":1,\"tasks\":[{\"name\":\"a\"}],\"labels\":[-1]}", "no count",
         RZ_E_FORMAT},
        {"{\"format_version\":1,\"tasks\":[{\"name\":\"a\"}],\"labels\":[5,5]}", "5 stands there",
         RZ_E_FORMAT},
        {"{\"format_version\":1,\"tasks\":[{\"name\":\"a\"}],\"labels\":[0],\"sizes\":[1]}",
         "sizes: entry 1", RZ_E_FORMAT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        made_text(folder, "study.json", cases[i].text);
        check_fails(read_it(false, &r, &error), cases[i].status, cases[i].words);
    }
    char path[128];
    (void)snprintf(path, sizeof path, "%s/study.json", folder);
    assert_int_equal(remove(path), 0);
    check_fails(read_it(false, &r, &error), RZ_E_NOT_FOUND, "study.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_study_is_no_error, fresh),
        cmocka_unit_test_setup(cells_share_their_patients, fresh),
        cmocka_unit_test_setup(held_out_stays_closed_unless_asked_for, fresh),
        cmocka_unit_test_setup(other_patients_are_refused, fresh),
        cmocka_unit_test_setup(patients_have_several_days, fresh),
        cmocka_unit_test_setup(bad_rows_name_cell_file_and_line, fresh),
        cmocka_unit_test_setup(foreign_and_damaged_cells_are_refused, fresh),
        cmocka_unit_test_setup(bad_designs_are_refused, fresh)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
