/* The engines on rows made by rule: what they learn, what tuning chooses, and that the same call
 * gives the same bytes. */
#include "check.h"

#include "base/rng.h"
#include "metrics/metrics.h"
#include "tuning.h"

enum { COLUMNS = 30, ROWS = 1500 };

/* Row i has column j with probability 0.3. The outcome: columns 0 and 1 differ (no single column
 * tells of it) or, rarely, column 2. Rows from `first` on watch in fold 0, all others are learnt.
 */
static void make_rows(uint64_t seed, bool linear, size_t first, tuning_rows *rows)
{
    rz_error error = {0};
    *rows = (tuning_rows){.n_folds = 1};
    check_ok(sparse_init(&rows->rows, COLUMNS, &error));
    for (size_t i = 0; i < ROWS; i++) {
        uint32_t column[COLUMNS];
        float value[COLUMNS];
        bool has[COLUMNS];
        size_t n = 0;
        rz_rng rng;
        rz_rng_init(&rng, seed, i);
        for (uint32_t j = 0; j < COLUMNS; j++) {
            has[j] = rz_rng_uniform(&rng) < (j < 2 ? 0.5 : 0.3);
            if (!has[j])
                continue;
            column[n] = j;
            value[n++] = (float)(1 + rz_rng_below(&rng, 3));
        }
        double risk =
            linear ? (has[0] ? 0.6 : 0.1) + (has[2] ? 0.2 : 0.0) : (has[0] != has[1] ? 0.8 : 0.1);
        check_ok(sparse_add(&rows->rows, column, value, n, &error));
        check_ok(tuning_rows_label(rows, rz_rng_uniform(&rng) < risk, i < first,
                                   i < first ? TUNING_NO_FOLD : 0, &error));
    }
}

static rz_pool *pool;

static engine_options options(uint64_t seed)
{
    return (engine_options){.seed = seed, .threads = 2, .pool = pool};
}

static int set_up(void **state)
{
    (void)state;
    rz_error error = {0};
    check_ok(rz_pool_new(2, &pool, &error));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rz_pool_free(pool);
    return 0;
}

/* Tunes, fits and scores fresh rows; gives the AUROC there and, when asked for, the saved bytes. */
static double learn(const engine *e, bool linear, rz_buffer *saved, tuning_trial *chosen)
{
    rz_error error = {0};
    char version[ENGINE_VERSION];
    const engine_options o = options(3);
    tuning_rows rows, fresh;
    tuning_result result;
    tuned kept;
    void *table = NULL;
    double logit[ROWS];
    make_rows(1, linear, 1000, &rows);
    make_rows(2, linear, 0, &fresh);
    check_ok(e->probe(version, &error));
    check_ok(tuning_run(e, e->small, e->n_small, &o, &rows, NULL, &result, &error));
    check_ok(tuned_fit(e, &result.trials[result.best], &o, &rows, NULL, &kept, &error));
    check_ok(e->table_new(&fresh.rows, fresh.label, &o, &table, &error));
    check_ok(e->logits(kept.fit, table, logit, &error));
    double auroc = rz_auroc(logit, fresh.label, ROWS);
    if (saved != NULL)
        check_ok(e->save(kept.fit, saved, &error));
    /* The logits that tuning gives are those of the chosen fit on the rows watched. */
    void *watched = NULL;
    check_ok(e->table_new(&rows.rows, rows.label, &o, &watched, &error));
    check_ok(e->logits(kept.fit, watched, logit, &error));
    for (size_t i = 0; i < ROWS; i++) {
        if (rows.fold[i] == TUNING_NO_FOLD)
            assert_int_equal(isnan(result.logit[i]), 1);
        else
            check_near(result.logit[i], logit[i], 1e-5);
    }
    if (chosen != NULL)
        *chosen = result.trials[result.best];
    e->table_free(watched);
    e->table_free(table);
    tuned_done(&kept);
    tuning_result_done(&result);
    tuning_rows_done(&rows);
    tuning_rows_done(&fresh);
    return auroc;
}

static void test_trees_learn_what_a_line_cannot(void **state)
{
    (void)state;
    tuning_trial chosen;
    double trees = learn(&engine_xgboost, false, NULL, &chosen);
    double line = learn(&engine_logistic, false, NULL, NULL);
    print_message("# AUROC: trees %.3f, line %.3f\n", trees, line);
    assert_int_equal(trees > 0.78, 1);
    assert_int_equal(line < 0.6, 1);
    assert_int_equal(chosen.rounds > 1 && chosen.rounds < engine_xgboost.rounds_max, 1);
}

static void test_both_learn_a_line(void **state)
{
    (void)state;
    double trees = learn(&engine_xgboost, true, NULL, NULL);
    double line = learn(&engine_logistic, true, NULL, NULL);
    print_message("# AUROC: trees %.3f, line %.3f\n", trees, line);
    assert_int_equal(trees > 0.72 && line > 0.72, 1);
}

static void check_repeats(const engine *e)
{
    rz_buffer first, second;
    rz_buffer_init(&first, 1 << 26);
    rz_buffer_init(&second, 1 << 26);
    (void)learn(e, true, &first, NULL);
    (void)learn(e, true, &second, NULL);
    assert_int_equal(first.length > 100, 1);
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    rz_buffer_done(&first);
    rz_buffer_done(&second);
}

static void test_the_same_call_gives_the_same_bytes(void **state)
{
    (void)state;
    check_repeats(&engine_xgboost);
    check_repeats(&engine_logistic);
}

/* Four folds of rows that are all learnt from in the end: each is scored by a fit that has not seen
 * it, which a label that only memory could tell gives away. */
static void test_folds_do_not_see_what_they_watch(void **state)
{
    (void)state;
    rz_error error = {0};
    const engine_options o = options(1);
    const engine *const both[] = {&engine_xgboost, &engine_logistic};
    for (size_t e = 0; e < 2; e++) {
        tuning_rows rows;
        tuning_result result;
        tuned kept;
        double logit[ROWS];
        make_rows(1, true, ROWS, &rows);
        rows.n_folds = 4;
        rz_rng rng;
        rz_rng_init(&rng, 9, 9);
        for (size_t i = 0; i < ROWS; i++) {
            rows.fold[i] = (uint8_t)(i % 4);
            rows.label[i] = rz_rng_below(&rng, 2) != 0; /* nothing to learn */
        }
        check_ok(tuning_run(both[e], both[e]->small, 1, &o, &rows, NULL, &result, &error));
        double apart = rz_auroc(result.logit, rows.label, ROWS);
        tuning_trial many = result.trials[0];
        many.rounds = both[e]->trees ? 100 : 1;
        check_ok(tuned_fit(both[e], &many, &o, &rows, NULL, &kept, &error));
        assert_int_equal(kept.part.rows.n, ROWS);
        check_ok(both[e]->logits(kept.fit, kept.part.table, logit, &error));
        double within = rz_auroc(logit, rows.label, ROWS);
        print_message("# %s: AUROC out of fold %.3f, of its own rows %.3f\n", both[e]->name, apart,
                      within);
        assert_int_equal(apart > 0.44 && apart < 0.56, 1);
        assert_int_equal(within > 0.58, 1);
        tuned_done(&kept);
        tuning_result_done(&result);
        tuning_rows_done(&rows);
    }
}

static bool never(void *context, const rz_progress_report *report)
{
    (void)report;
    return --*(int *)context > 0;
}

static void test_refusals(void **state)
{
    (void)state;
    rz_error error = {0};
    const engine_options o = options(1);
    tuning_rows rows;
    tuning_result result;
    assert_null(engine_find("catboost"));
    assert_ptr_equal(engine_find("xgboost"), &engine_xgboost);
    make_rows(1, true, 1000, &rows);
    int calls = 5;
    const rz_progress progress = {never, &calls};
    check_fails(
        tuning_run(&engine_xgboost, engine_xgboost.full, 2, &o, &rows, &progress, &result, &error),
        RZ_E_CANCELED, "interrupted");
    /* What the library itself says comes back as an error. */
    const engine_setting wrong = {.rate = -1.0, .depth = 3, .leaves = 10};
    check_fails(tuning_run(&engine_xgboost, &wrong, 1, &o, &rows, NULL, &result, &error),
                RZ_E_INTERNAL, "XGBoost cannot");
    memset(rows.label, 0, ROWS);
    check_fails(
        tuning_run(&engine_logistic, engine_logistic.full, 2, &o, &rows, NULL, &result, &error),
        RZ_E_INVALID, "0 of 1000 rows to learn from are positive");
    tuning_rows_done(&rows);
}

/* With the stand-in of this folder on LD_LIBRARY_PATH: see meson.build. */
static void test_lightgbm_is_called_as_it_declares(void **state)
{
    (void)state;
    rz_error error = {0};
    const engine_options o = options(1);
    tuning_rows rows;
    tuning_result result;
    if (getenv("REZEPT_STANDIN") == NULL) {
        skip();
        return;
    }
    double auroc = learn(&engine_lightgbm, true, NULL, NULL);
    print_message("# AUROC of the stand-in: %.3f\n", auroc);
    assert_int_equal(auroc > 0.72, 1);
    check_repeats(&engine_lightgbm);
    make_rows(1, true, 1000, &rows);
    const engine_setting wrong = {.rate = 0.1, .depth = 3, .leaves = 1};
    check_fails(tuning_run(&engine_lightgbm, &wrong, 1, &o, &rows, NULL, &result, &error),
                RZ_E_INTERNAL, "LightGBM cannot begin: Check failed");
    tuning_rows_done(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees_learn_what_a_line_cannot),
        cmocka_unit_test(test_both_learn_a_line),
        cmocka_unit_test(test_the_same_call_gives_the_same_bytes),
        cmocka_unit_test(test_folds_do_not_see_what_they_watch),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lightgbm_is_called_as_it_declares),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
