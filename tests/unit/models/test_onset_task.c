/* A task through the onset head: which codes are its outcomes, and how their risks become one. */
#include "check.h"

#include "base/portable_math.h"
#include "base/rng.h"
#include "base/size.h"
#include "onset_task.h"

static rz_timeline_event event(rz_kind kind, rz_code_system system, const char *code, int32_t day)
{
    return (rz_timeline_event){.day = day,
                               .known_day = day,
                               .kind = (uint8_t)kind,
                               .system = (uint8_t)system,
                               .code = code};
}

/* E111, E119, I10, N18, N183, N189 (ICD-10), N189 (ICD-10-CM), 2171022 (YJ). */
static rz_vocabulary *make_vocabulary(void)
{
    const rz_timeline_event events[] = {event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "E111", 1),
                                        event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "E1190", 2),
                                        event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "I10", 3),
                                        event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N18", 4),
                                        event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N183", 5),
                                        event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N189", 6),
                                        event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10CM, "N189", 7),
                                        event(RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, "2171022F1029", 8)};
    const rz_timeline timeline = {.events = events, .n_events = RZ_COUNT(events)};
    rz_error error = {0};
    rz_vocabulary_builder *builder = NULL;
    rz_vocabulary *out = NULL;
    check_ok(rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, &error));
    check_ok(rz_vocabulary_builder_add(builder, &timeline, &error));
    check_ok(rz_vocabulary_builder_finish(builder, 1, &out, &error));
    rz_vocabulary_builder_free(builder);
    return out;
}

static rz_task task_of(rz_kind kind, rz_code_system system, const char *prefix, const char *other)
{
    rz_task task = {
        .name = "it", .kind = kind, .n_outcomes = other != NULL ? 2 : 1, .horizon_days = 365};
    task.outcomes[0].system = task.outcomes[1].system = system;
    (void)snprintf(task.outcomes[0].prefix, sizeof task.outcomes[0].prefix, "%s", prefix);
    if (other != NULL)
        (void)snprintf(task.outcomes[1].prefix, sizeof task.outcomes[1].prefix, "%s", other);
    return task;
}

static void prefixes_find_their_codes(void **state)
{
    (void)state;
    static const struct {
        rz_kind kind;
        rz_code_system system;
        const char *prefix, *other, *codes;
        size_t coarse;
    } cases[] = {
        {RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N18", NULL, "N18 N183 N189 ", 0},
        {RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N189", NULL, "N189 ", 1}, /* N18 may be another */
        {RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "E1190", "I10", "I10 ", 1},
        {RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N189", "N18", "N18 N183 N189 ", 0},
        {RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10CM, "N", NULL, "N189 ", 0},
        {RZ_KIND_MEDICATION, RZ_SYSTEM_YJ, "217", NULL, "2171022 ", 0},
    };
    rz_error error = {0};
    rz_vocabulary *v = make_vocabulary();
    onset_task found;
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rz_task task = task_of(cases[i].kind, cases[i].system, cases[i].prefix, cases[i].other);
        char codes[100] = "";
        check_ok(onset_task_find(v, &task, &found, &error));
        for (size_t k = 0; k < found.n_codes; k++) {
            strcat(codes, v->entries[found.codes[k]].code);
            strcat(codes, " ");
        }
        assert_string_equal(codes, cases[i].codes);
        assert_int_equal(found.n_coarse, cases[i].coarse);
        onset_task_done(&found);
    }
    rz_task none = task_of(RZ_KIND_MEDICATION, RZ_SYSTEM_ICD10, "N18", NULL);
    check_fails(onset_task_find(v, &none, &found, &error), RZ_E_INVALID, "task it: the vocabulary");
    none = task_of(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N18999", NULL);
    check_fails(onset_task_find(v, &none, &found, &error), RZ_E_INVALID, "(2 that are coarser)");
    rz_vocabulary_free(v);
}

static void risks_become_one(void **state)
{
    (void)state;
    uint32_t codes[3] = {0, 1, 2};
    const onset_task task = {.codes = codes, .n_codes = 3};
    rz_risk risks[3] = {{.probability = 0.1}, {.probability = 0.02}, {.probability = NAN}};
    risks[2].eligibility.reason = RZ_REASON_ALREADY_RECORDED;
    check_near(onset_task_logit(&task, risks), rz_logit(1.0 - 0.9 * 0.98), 1e-12);
    risks[0].probability = risks[1].probability = 1e-14; /* 1 - p would be 1 */
    check_near(onset_task_logit(&task, risks), log(2e-14), 1e-9);
    risks[0].probability = 1.0;
    assert_true(isfinite(onset_task_logit(&task, risks)));
    risks[0].probability = risks[1].probability = 0.0;
    assert_true(isfinite(onset_task_logit(&task, risks)));
}

/* The combination comes out calibrated: here it is twice too high on the odds. */
static void the_combination_is_calibrated(void **state)
{
    (void)state;
    enum { N = 4000 };
    rz_error error = {0};
    rz_rng rng;
    onset_task task = {0};
    double *logit = calloc(N, sizeof *logit), predicted = 0.0, observed = 0.0;
    rz_cohort_member *members = calloc(N, sizeof *members);
    const rz_cohort_member **list = calloc(N, sizeof *list);
    assert_true(logit != NULL && members != NULL && list != NULL);
    rz_rng_init(&rng, 5, 0);
    for (size_t i = 0; i < N; i++) {
        double x = -2.5 + rz_rng_normal(&rng);
        logit[i] = x + log(2.0);
        members[i] = (rz_cohort_member){.patient = (rz_patient_key)(i + 1),
                                        .own = true,
                                        .age_years = 20.0f + (float)(i % 60),
                                        .sex = i % 2 ? RZ_SEX_MALE : RZ_SEX_FEMALE,
                                        .label = rz_rng_uniform(&rng) < rz_sigmoid(x)};
        list[i] = &members[i];
    }
    check_ok(onset_task_fit(&task, logit, list, N, list, N, 1, &error));
    for (size_t i = 0; i < N; i++) {
        rz_calibrated at;
        rz_calibration_apply(&task.calibration, logit[i], &at);
        predicted += at.probability;
        observed += members[i].label;
    }
    check_near(predicted / observed, 1.0, 0.01);
    check_near(task.calibration.slope, 1.0, 0.15);
    check_near(task.calibration.intercept, -log(2.0), 0.3);
    check_near(rz_age_sex_risk(task.age_sex_beta, 50.0, RZ_SEX_MALE), observed / N, 0.03);
    free(logit);
    free(members);
    free(list);
}

static void positives_without_a_code_are_seen(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary *v = make_vocabulary();
    rz_task task = task_of(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, "N18", NULL);
    onset_task found;
    check_ok(onset_task_find(v, &task, &found, &error));
    static const struct {
        const char *code;
        int32_t day;
        bool covered;
    } cases[] = {
        {"N1891", 1001, true}, {"N184", 1001, false}, /* an outcome that the vocabulary lacks */
        {"N189", 1000, false},                        /* the index day itself is no outcome */
        {"N189", 1366, false},                        /* nor is what comes after the horizon */
        {"N189", 1365, true},  {"I10", 1100, false}};
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        const rz_timeline_event one =
            event(RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD10, cases[i].code, cases[i].day);
        const rz_timeline timeline = {.events = &one, .n_events = 1};
        if (onset_task_covers(&found, v, &task, &timeline, 1000) != cases[i].covered)
            fail_msg("case %zu", i);
    }
    onset_task_done(&found);
    rz_vocabulary_free(v);
}

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    return rz_hash_setup(&error) == RZ_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(prefixes_find_their_codes),
                                       cmocka_unit_test(risks_become_one),
                                       cmocka_unit_test(the_combination_is_calibrated),
                                       cmocka_unit_test(positives_without_a_code_are_seen)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
