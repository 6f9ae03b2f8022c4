#include "check.h"

#include "base/hash.h"
#include "metrics/metrics.h"
#include "simulate/truth.h"
#include "tasks/age_sex.h"
#include "tasks/cohort.h"

enum { PATIENTS = 2400, DATES = 3, TASKS_MAX = 8, CONTINUATIONS = 6 };

static rz_sim_world world;
static rz_task tasks[RZ_TASKS_MAX];
static rz_sim_item items[RZ_TASKS_MAX];
static size_t n_tasks;

/* What is known of the risks of one task: a row for each patient and date. */
static struct {
    double risk[PATIENTS * DATES], features[PATIENTS * DATES * RZ_AGE_SEX_FEATURES];
    uint8_t label[PATIENTS * DATES];
    size_t n;
} rows[TASKS_MAX];

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    char folder[512];
    (void)snprintf(folder, sizeof folder, "%s/models/tasks", getenv("REZEPT_SOURCE_ROOT"));
    if (rz_hash_setup(&error) != RZ_OK || rz_sim_world_init(&world, 11, 4, 0.0, &error) != RZ_OK ||
        rz_tasks_load(folder, tasks, &n_tasks, &error) != RZ_OK || n_tasks != 4)
        return -1;
    for (size_t i = 0; i < n_tasks; i++)
        if (rz_sim_task_item(&world, &tasks[i], &items[i], &error) != RZ_OK)
            return -1;
    return 0;
}

static void tasks_find_their_items(void **state)
{
    (void)state;
    static const struct {
        const char *task;
        rz_sim_item item;
    } wanted[] = {{"amlodipine", RZ_SIM_AMLODIPINE},
                  {"ckd", RZ_SIM_KIDNEY_DISEASE},
                  {"hypertension", RZ_SIM_HYPERTENSION},
                  {"pregabalin", RZ_SIM_PREGABALIN}};
    for (size_t i = 0; i < n_tasks; i++) {
        assert_string_equal(tasks[i].name, wanted[i].task);
        assert_int_equal(items[i], wanted[i].item);
    }
}

/* Risk and outcome of everyone who is in the record for a year and without the outcome, on dates a
 * year and more apart. Dates that do not depend on the patient: an index that is chosen by what
 * happens later would favour one side. */
static void collect(void)
{
    rz_error error = {0};
    rz_arena arena;
    rz_arena_init(&arena, 64 << 20);
    for (uint64_t number = 1; number <= PATIENTS; number++) {
        rz_sim_patient patient;
        rz_arena_reset(&arena);
        check_ok(rz_sim_patient_make(&world, number, &arena, &patient, &error));
        for (int d = 0; d < DATES; d++) {
            int32_t day = rz_day_from_civil(2019 + 2 * d, 5, 10);
            if (patient.entry_day > day - 365 || patient.exit_day < day)
                continue;
            for (size_t t = 0; t < n_tasks; t++) {
                int32_t coded = patient.state.coded[items[t]];
                if (coded != RZ_DAY_NONE && coded <= day)
                    continue;
                rz_sim_state then = patient.state;
                rz_rng rng;
                double risk, deviation;
                size_t row = rows[t].n++;
                rz_sim_state_rewind(&then, day);
                rz_rng_init(&rng, 77, number << 8 | (unsigned)d << 4 | (unsigned)t);
                rz_sim_risk(&world.engine, &then, items[t], day, 365, CONTINUATIONS, &rng, &risk,
                            &deviation);
                rows[t].risk[row] = risk;
                rows[t].label[row] = coded != RZ_DAY_NONE && coded <= day + 365;
                rz_age_sex_features((day - then.birth_day) / 365.25, then.sex,
                                    &rows[t].features[row * RZ_AGE_SEX_FEATURES]);
            }
        }
    }
    rz_arena_done(&arena);
}

/* The key test of the truth: what it says is what happens, over all and among the highest tenth. */
static void the_truth_is_calibrated(void **state)
{
    (void)state;
    collect();
    for (size_t t = 0; t < n_tasks; t++) {
        double wanted = 0.0, variance = 0.0, observed = 0.0, high = 0.0, high_variance = 0.0,
               high_observed = 0.0;
        for (size_t i = 0; i < rows[t].n; i++) {
            double p = rows[t].risk[i];
            wanted += p;
            variance += p * (1.0 - p);
            observed += rows[t].label[i];
            if (p >= 0.08) {
                high += p;
                high_variance += p * (1.0 - p);
                high_observed += rows[t].label[i];
            }
        }
        print_message(
            "# %s: n %zu, expected %.1f, observed %.0f; of risk 8 %% and more %.1f, %.0f\n",
            tasks[t].name, rows[t].n, wanted, observed, high, high_observed);
        check_near(observed, wanted, 3.5 * sqrt(variance));
        check_near(high_observed, high, 3.5 * sqrt(high_variance));
        check_near(observed / (double)rows[t].n, 0.085, 0.065); /* 2 to 15 % */
    }
}

/* History tells more than age and sex: otherwise there would be nothing for a model to learn. */
static void history_tells_more_than_age_and_sex(void **state)
{
    (void)state;
    static double baseline[PATIENTS * DATES];
    double gap = 0.0;
    rz_error error = {0};
    for (size_t t = 0; t < n_tasks; t++) {
        double beta[RZ_AGE_SEX_FEATURES + 1];
        assert_true(rows[t].n > 1000);
        check_ok(rz_logistic_regression(rows[t].features, rows[t].label, rows[t].n,
                                        RZ_AGE_SEX_FEATURES, 1.0, beta, &error));
        for (size_t i = 0; i < rows[t].n; i++) {
            baseline[i] = beta[0];
            for (int j = 0; j < RZ_AGE_SEX_FEATURES; j++)
                baseline[i] += beta[j + 1] * rows[t].features[i * RZ_AGE_SEX_FEATURES + (size_t)j];
        }
        double truth = rz_auroc(rows[t].risk, rows[t].label, rows[t].n);
        double age_sex = rz_auroc(baseline, rows[t].label, rows[t].n);
        print_message("# %s: AUROC %.3f, age and sex %.3f\n", tasks[t].name, truth, age_sex);
        assert_true(truth > 0.75 && truth < 0.95);
        /* About a hundred cases a task leave some 0.03 of noise; the mean of the four has less. */
        assert_true(age_sex < truth - 0.02);
        gap += (truth - age_sex) / (double)n_tasks;
    }
    assert_true(gap > 0.05);
}

/* The rows stand where the cohort's indexes are, and only where the outcome is not coded yet. More
 * draws add days and change nothing of the first. */
static void rows_stand_at_the_index(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_arena arena;
    rz_arena_init(&arena, 64 << 20);
    unsigned with = 0, first = 0;
    for (uint64_t number = 1; number <= 300; number++) {
        rz_sim_patient patient;
        rz_sim_truth one[RZ_TASKS_MAX], truths[3 * RZ_TASKS_MAX];
        size_t n_one, n, found = 0;
        rz_arena_reset(&arena);
        check_ok(rz_sim_patient_make(&world, number, &arena, &patient, &error));
        check_ok(rz_sim_truths(&world, &patient, tasks, items, n_tasks, world.last_day, 1, 2,
                               &arena, one, &n_one, &error));
        check_ok(rz_sim_truths(&world, &patient, tasks, items, n_tasks, world.last_day, 3, 2,
                               &arena, truths, &n, &error));
        rz_timeline *timeline = NULL;
        check_ok(
            rz_timeline_from_claims(patient.claims, patient.n_claims, &arena, &timeline, &error));
        for (size_t i = 0; i < n; i++) {
            const rz_sim_truth *row = &truths[i];
            const rz_task *task = &tasks[row->task];
            int32_t coded = patient.state.coded[items[row->task]];
            rz_eligibility eligibility;
            rz_task_eligible(task, timeline, row->index_day, &eligibility);
            assert_int_equal(eligibility.reason, RZ_REASON_NONE);
            assert_true(row->index_day + 365 <= world.last_day);
            assert_true(coded == RZ_DAY_NONE || coded > row->index_day);
            assert_true(row->risk >= 0.0 && row->risk < 1.0);
            for (size_t k = 0; k < i; k++)
                assert_true(truths[k].task != row->task || truths[k].index_day != row->index_day);
            if (found < n_one && one[found].task == row->task &&
                one[found].index_day == row->index_day)
                assert_true(one[found++].risk == row->risk);
        }
        assert_int_equal(found, n_one);
        first += (unsigned)n_one;
        with += (unsigned)n;
    }
    assert_true(first > 200 && with > 2 * first);
    rz_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tasks_find_their_items),
                                       cmocka_unit_test(the_truth_is_calibrated),
                                       cmocka_unit_test(history_tells_more_than_age_and_sex),
                                       cmocka_unit_test(rows_stand_at_the_index)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
