#include "folder.h"
#include "task_fixture.h"

#include "base/hash.h"
#include "base/rng.h"

#include <unistd.h>

/* The rule of the header, computed another way. */
static int32_t drawn(uint64_t hash, int32_t first_day, int32_t data_end, uint64_t seed)
{
    unsigned char bytes[8];
    memcpy(bytes, &hash, 8);
    int32_t from = first_day + 365, days = data_end - 365 - from + 1;
    return from + (int32_t)(rz_hash64(bytes, sizeof bytes, seed) % (uint64_t)days);
}

static void the_first_eligible_day_from_the_drawn_one(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    const rz_timeline_event events[] = {VISIT(1000, 1010), DIAGNOSIS(2000, 2001, "N189")};
    rz_timeline timeline = TIMELINE(events);
    rz_claim_day days[40];
    for (int i = 0; i < 40; i++)
        days[i] = (rz_claim_day){.day = 1010 + 30 * i, .data_end_day = 3000};
    unsigned chosen = 0, distinct = 0, counts[40] = {0};
    for (uint64_t i = 1; i <= 600; i++) {
        int32_t index = 0, wanted = RZ_DAY_NONE;
        rz_attrition_step passed;
        timeline.hash = i * 0x9E3779B97F4A7C15u;
        int32_t from = drawn(timeline.hash, 1010, 3000, 9);
        assert_in_range(from, 1375, 2635);
        /* eligible: the outcome is not known yet; history and follow-up are there from 1375 on */
        for (int k = 39; k >= 0; k--)
            if (days[k].day >= from && days[k].day < 2001)
                wanted = days[k].day;
        bool found = rz_cohort_index(&task, &timeline, days, 40, 0, 9, &index, &passed);
        assert_int_equal(found, wanted != RZ_DAY_NONE);
        if (!found) /* drawn after the outcome, or after the last claim */
            assert_int_equal(passed,
                             from <= days[39].day ? RZ_ATTRITION_ALIVE : RZ_ATTRITION_PATIENTS);
        if (!found)
            continue;
        assert_int_equal(index, wanted);
        assert_int_equal(passed, RZ_ATTRITION_HISTORY);
        counts[(index - 1010) / 30]++;
        chosen++;
    }
    for (int i = 0; i < 40; i++)
        distinct += counts[i] > 0;
    assert_int_equal(distinct, 21); /* every eligible day is somebody's index */
    /* drawn before the last eligible day in 596 of 1261 cases */
    check_near(chosen, 600 * 616.0 / 1261.0, 45);
}

/* Asked about the present, the day is drawn from the latest ones with a whole horizon alone. */
static void the_latest_days(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    const rz_timeline_event events[] = {VISIT(1000, 1010)};
    rz_timeline timeline = TIMELINE(events);
    rz_claim_day days[2000];
    rz_attrition_step passed;
    for (int i = 0; i < 2000; i++)
        days[i] = (rz_claim_day){.day = 1010 + i, .data_end_day = 3000};
    int32_t first = INT32_MAX, last = 0, index = 0;
    for (uint64_t i = 1; i <= 3000; i++) {
        timeline.hash = i * 0x9E3779B97F4A7C15u;
        assert_true(rz_cohort_index(&task, &timeline, days, 2000, 100, 9, &index, &passed));
        first = index < first ? index : first;
        last = index > last ? index : last;
    }
    assert_int_equal(last, 2635);
    assert_int_equal(first, 2536);
    /* never before the required history */
    assert_true(rz_cohort_index(&task, &timeline, days, 2000, 2000, 9, &index, &passed));
    int32_t whole = 0;
    assert_true(rz_cohort_index(&task, &timeline, days, 2000, 0, 9, &whole, &passed));
    assert_int_equal(index, whole);
}

/* Patients whose outcome comes at a constant rate: the share of positives is that rate. A rule that
 * draws among the days before the outcome finds far more of them. */
static void the_index_does_not_seek_the_outcome(void **state)
{
    (void)state;
    enum { PATIENTS = 6000, FIRST = 1000, END = 4650 };
    rz_task task = fixture_task();
    rz_claim_day days[122];
    rz_rng rng;
    size_t n = 0, members = 0, positives = 0;
    rz_rng_init(&rng, 5, 0);
    for (int32_t day = FIRST; day <= END; day += 30)
        days[n++] = (rz_claim_day){.day = day, .data_end_day = END};
    const double a_year = 0.2; /* hazard */
    for (uint64_t i = 0; i < PATIENTS; i++) {
        double onset = FIRST + 365.0 * rz_rng_exponential(&rng) / a_year;
        int32_t day = onset < END ? (int32_t)onset + 1 : END + 1, index, outcome;
        const rz_timeline_event events[] = {VISIT(FIRST, FIRST), DIAGNOSIS(day, day, "N189")};
        rz_timeline timeline = TIMELINE(events);
        rz_attrition_step passed;
        timeline.hash = rz_rng_u64(&rng);
        if (!rz_cohort_index(&task, &timeline, days, n, 0, 1, &index, &passed))
            continue;
        members++;
        positives += rz_task_outcome(&task, &timeline, index, &outcome);
    }
    double expected = 1.0 - exp(-a_year), share = (double)positives / (double)members;
    assert_true(members > PATIENTS / 4);
    check_near(share, expected, 4.0 * sqrt(expected * (1 - expected) / (double)members));
}

/* The same day for tasks of one population, for which it is eligible. */
static void tasks_share_the_index(void **state)
{
    (void)state;
    rz_task task = fixture_task(), other = fixture_task();
    other.n_outcomes = 1;
    other.outcomes[0] = (rz_task_prefix){RZ_SYSTEM_ICD10, "I10"};
    const rz_timeline_event events[] = {VISIT(1000, 1010)};
    rz_timeline timeline = TIMELINE(events);
    rz_claim_day days[30];
    rz_attrition_step passed;
    unsigned compared = 0;
    for (int i = 0; i < 30; i++)
        days[i] = (rz_claim_day){.day = 1010 + 40 * i, .data_end_day = 2600};
    for (uint64_t seed = 0; seed < 100; seed++) {
        int32_t a = 0, b = 0;
        bool found = rz_cohort_index(&task, &timeline, days, 30, 0, seed, &a, &passed);
        assert_int_equal(rz_cohort_index(&other, &timeline, days, 30, 0, seed, &b, &passed), found);
        assert_int_equal(a, b);
        compared += found;
    }
    assert_true(compared > 50);
}

/* What happens after a day, outcome, death or silence, never makes it the index or unmakes it. */
static void the_choice_is_blind_to_the_future(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    const rz_timeline_event quiet[] = {VISIT(1000, 1010)};
    rz_timeline a = TIMELINE(quiet);
    rz_claim_day days[30];
    rz_attrition_step passed;
    unsigned compared = 0;
    for (int i = 0; i < 30; i++)
        days[i] = (rz_claim_day){.day = 1010 + 40 * i, .data_end_day = 2600};
    for (uint64_t seed = 0; seed < 300; seed++) {
        int32_t one = 0, two = 0;
        if (!rz_cohort_index(&task, &a, days, 30, 0, seed, &one, &passed))
            continue;
        const rz_timeline_event eventful[] = {VISIT(1000, 1010), DIAGNOSIS(one, one + 1, "N189"),
                                              DEATH(one + 1, one + 1)};
        rz_timeline b = TIMELINE(eventful);
        size_t n = 0;
        while (n < 30 && days[n].day <= one) /* the last claim is that of the index */
            n++;
        assert_true(rz_cohort_index(&task, &b, days, n, 0, seed, &two, &passed));
        assert_int_equal(one, two);
        compared++;
    }
    assert_true(compared > 150);
}

static void one_step(const rz_timeline *timeline, const rz_claim_day *days, size_t n,
                     rz_attrition_step wanted)
{
    rz_error error = {0};
    rz_task task = fixture_task();
    rz_cohort cohort = {0};
    task.age_max = 60;
    check_ok(rz_cohort_add(&cohort, &task, timeline, days, n, 0, &error));
    for (int step = 0; step < RZ_ATTRITION_COUNT; step++)
        if (cohort.passed[step] != (step <= (int)wanted))
            fail_msg("step %s: %d patients, wanted last step %s",
                     rz_attrition_text((rz_attrition_step)step), (int)cohort.passed[step],
                     rz_attrition_text(wanted));
    assert_int_equal(cohort.n, wanted == RZ_ATTRITION_HISTORY ? 1 : 0);
    rz_cohort_done(&cohort);
}

static void every_step_of_the_table(void **state)
{
    (void)state;
    const rz_timeline_event events[] = {VISIT(1000, 1010)};
    const rz_timeline_event dead[] = {VISIT(1000, 1010), DEATH(1100, 1100)};
    const rz_timeline_event recorded[] = {VISIT(1000, 1010), DIAGNOSIS(1001, 1010, "N189")};
    rz_timeline timeline = TIMELINE(events), gone = TIMELINE(dead), ill = TIMELINE(recorded);
    rz_timeline old = timeline;
    old.birth_day = -30000;
    /* Of the first day 1135 and a year of history the drawn day can only be 1500. */
    const rz_claim_day at_end[] = {{.day = 1135, .data_end_day = 1864},
                                   {.day = 1500, .data_end_day = 1864}};
    const rz_claim_day in_time[] = {{.day = 1135, .data_end_day = 1865},
                                    {.day = 1500, .data_end_day = 1865},
                                    {.day = 1600, .data_end_day = 1865}};
    const rz_claim_day before[] = {{.day = 1135, .data_end_day = 1865},
                                   {.day = 1499, .data_end_day = 1865}};
    /* A record whose events become known later than its claim days say is short. */
    const rz_timeline_event slow[] = {VISIT(1136, 1140)};
    rz_timeline brief = TIMELINE(slow);
    one_step(&timeline, NULL, 0, RZ_ATTRITION_PATIENTS);
    one_step(&timeline, before, 2, RZ_ATTRITION_PATIENTS);
    one_step(&timeline, at_end, 2, RZ_ATTRITION_CLAIM_DAY);
    one_step(&gone, in_time, 3, RZ_ATTRITION_FOLLOW_UP);
    one_step(&ill, in_time, 3, RZ_ATTRITION_ALIVE);
    one_step(&old, in_time, 3, RZ_ATTRITION_NOT_RECORDED);
    one_step(&brief, in_time, 2, RZ_ATTRITION_POPULATION);
    one_step(&timeline, in_time, 3, RZ_ATTRITION_HISTORY);
}

static void labels_and_deaths(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_task task = fixture_task();
    rz_cohort cohort = {0};
    /* one claim day, and a data end that leaves it as the only day to draw */
    const rz_claim_day day[] = {{.day = 1135, .data_end_day = 1865, .facility = 7},
                                {.day = 1500, .data_end_day = 1865, .facility = 3}};
    const rz_timeline_event ill[] = {VISIT(1000, 1010), DIAGNOSIS(1865, 1900, "N189"),
                                     DEATH(1866, 1866)};
    const rz_timeline_event late[] = {VISIT(1000, 1010), DIAGNOSIS(1866, 1900, "N189")};
    const rz_timeline_event died[] = {VISIT(1000, 1010), DEATH(1700, 1700)};
    const rz_timeline_event died_later[] = {VISIT(1000, 1010), DEATH(1866, 1866)};
    rz_timeline timelines[] = {TIMELINE(ill), TIMELINE(late), TIMELINE(died), TIMELINE(died_later)};
    timelines[1].birth_day = RZ_DAY_NONE;
    for (size_t i = 0; i < RZ_COUNT(timelines); i++)
        check_ok(rz_cohort_add(&cohort, &task, &timelines[i], day, 2, 0, &error));
    assert_int_equal(cohort.n, 4);
    assert_int_equal(cohort.positives, 1);
    assert_int_equal(cohort.died_without_outcome, 1);
    assert_true(cohort.members[0].label);
    assert_int_equal(cohort.members[0].outcome_day, 1865);
    assert_int_equal(cohort.members[0].facility, 3); /* of the index day's claim */
    check_near(cohort.members[0].age_years, 1500 / 365.25, 1e-4);
    assert_false(cohort.members[1].label);
    assert_true(isnan(cohort.members[1].age_years));
    assert_int_equal(cohort.members[1].outcome_day, RZ_DAY_NONE);
    assert_int_equal(cohort.members[2].split, rz_split_of(12345, 1));
    json_t *table = rz_cohort_attrition_json(&cohort);
    assert_int_equal(json_array_size(table), RZ_ATTRITION_COUNT);
    json_t *last = json_array_get(table, RZ_ATTRITION_COUNT - 1);
    assert_string_equal(json_string_value(json_object_get(last, "step")), "with enough history");
    assert_int_equal(json_integer_value(json_object_get(last, "patients")), 4);
    json_decref(table);
    rz_cohort_done(&cohort);
}

/* ---- the pass over a store ---- */

enum { STORED = 600 };

static void fill(rz_store *store)
{
    rz_error error = {0};
    check_ok(rz_store_begin(store, &error));
    for (int i = 0; i < STORED; i++) {
        char patient[16], id[24];
        (void)snprintf(patient, sizeof patient, "p%d", i);
        for (int visit = 0; visit < 4; visit++) {
            int32_t day = 1000 + 400 * visit;
            bool ill = visit == 2 && i % 3 == 0;
            rz_event event = {.day = day,
                              .known_day = day + 5,
                              .kind = RZ_KIND_DIAGNOSIS,
                              .system = RZ_SYSTEM_ICD10,
                              .code = ill ? "N189" : "J00",
                              .value = NAN};
            (void)snprintf(id, sizeof id, "%s-%d", patient, visit);
            rz_claim claim = {.claim_id = id,
                              .facility = "F1",
                              .patient_id = patient,
                              .sex = RZ_SEX_MALE,
                              .birth_day = -9000,
                              .setting = RZ_SETTING_OUTPATIENT,
                              .start_day = day,
                              .end_day = day,
                              .known_day = day + 5,
                              .events = &event,
                              .n_events = 1};
            rz_put_outcome outcome;
            check_ok(rz_store_put(store, &claim, &outcome, &error));
        }
    }
    check_ok(rz_store_commit(store, &error));
}

static bool stop_at_once(void *context, const rz_progress_report *report)
{
    assert_string_equal(report->unit, "patients");
    assert_int_equal(report->total, STORED);
    ++*(int *)context;
    return false;
}

static bool go_on(void *context, const rz_progress_report *report)
{
    *(uint64_t *)context = report->done;
    return true;
}

static bool above(const void *context, uint64_t patient_hash)
{
    return patient_hash > *(const uint64_t *)context;
}

static void from_a_store(void **state)
{
    (void)state;
    rz_error error = {0};
    char folder[] = "/tmp/rezept-cohort-XXXXXX", path[64];
    assert_non_null(temp_folder(folder));
    (void)snprintf(path, sizeof path, "%s/r.db", folder);
    rz_store_options options = rz_store_options_defaults();
    options.write = true;
    rz_store *store = NULL;
    check_ok(rz_store_open(path, &options, &store, &error));
    rz_task tasks[2] = {fixture_task(), fixture_task()};
    rz_cohort cohorts[2];
    check_ok(rz_cohort_build(store, tasks, 2, &(rz_cohort_options){0}, NULL, cohorts, &error));
    assert_int_equal(cohorts[0].n, 0); /* an empty store gives an empty cohort */
    fill(store);
    /* days 1000, 1400, 1800, 2200; known five days later; the data end on 2200 */
    uint64_t reported = 0;
    rz_progress progress = {.fn = go_on, .context = &reported};
    (void)snprintf(tasks[1].name, sizeof tasks[1].name, "nobody");
    tasks[1].age_min = 100;
    check_ok(rz_cohort_build(store, tasks, 2, &(rz_cohort_options){0}, &progress, cohorts, &error));
    assert_int_equal(reported, STORED);
    /* From 1370 to 1835 a day is drawn: 1405 or 1805 is next, or no day with follow-up. On 1805
     * the outcome of 1800 is known; 395 days after 1405 it lies beyond the horizon. */
    size_t wanted = 0, wanted_positive = 0;
    for (int i = 0; i < STORED; i++) {
        char patient[16];
        (void)snprintf(patient, sizeof patient, "p%d", i);
        uint64_t hash = rz_patient_hash("F1", patient);
        int32_t from = drawn(hash, 1005, 2200, RZ_COHORT_SEED);
        wanted += from <= 1405 || (from <= 1805 && i % 3 != 0);
    }
    assert_int_equal(cohorts[0].passed[RZ_ATTRITION_PATIENTS], STORED);
    assert_int_equal(cohorts[0].n, wanted);
    assert_int_equal(cohorts[0].passed[RZ_ATTRITION_HISTORY], wanted);
    assert_int_equal(cohorts[0].positives, 0);
    assert_int_equal(cohorts[1].n, 0);
    assert_int_equal(cohorts[1].passed[RZ_ATTRITION_NOT_RECORDED], wanted);
    assert_int_equal(cohorts[1].passed[RZ_ATTRITION_POPULATION], 0);
    for (size_t i = 0; i < cohorts[0].n; i++) {
        const rz_cohort_member *m = &cohorts[0].members[i];
        assert_true(i == 0 || m[-1].patient < m->patient);
        assert_true(m->index_day == 1405 || m->index_day == 1805);
    }
    for (int i = 0; i < 2; i++)
        rz_cohort_done(&cohorts[i]);
    /* With a horizon that reaches day 1800 those of 1405 are positive. */
    tasks[0].horizon_days = 395;
    for (int i = 0; i < STORED; i += 3) {
        char patient[16];
        unsigned char bytes[8];
        (void)snprintf(patient, sizeof patient, "p%d", i);
        uint64_t hash = rz_patient_hash("F1", patient);
        memcpy(bytes, &hash, 8);
        wanted_positive += rz_hash64(bytes, 8, RZ_COHORT_SEED) % 436 <= 35; /* 1370 … 1405 */
    }
    check_ok(rz_cohort_build(store, tasks, 1, &(rz_cohort_options){0}, NULL, cohorts, &error));
    assert_true(wanted_positive > 5);
    assert_int_equal(cohorts[0].positives, wanted_positive);
    /* More draws: the first rows of all stay, and those asked again have both days at times. */
    rz_cohort once = cohorts[0];
    const uint64_t no_one_below = once.members[0].hash;
    const rz_cohort_options more = {.draws = 8, .again = above, .context = &no_one_below};
    check_ok(rz_cohort_build(store, tasks, 1, &more, NULL, cohorts, &error));
    assert_int_equal(cohorts[0].positives, once.positives);
    assert_int_equal(rz_cohort_patients(&cohorts[0]), once.n);
    assert_memory_equal(cohorts[0].passed, once.passed, sizeof once.passed);
    assert_true(cohorts[0].n > once.n);
    size_t own = 0;
    for (size_t i = 0; i < cohorts[0].n; i++) {
        const rz_cohort_member *m = &cohorts[0].members[i];
        assert_true(i == 0 || m[-1].patient <= m->patient);
        assert_true(i == 0 || m[-1].patient < m->patient || m[-1].index_day != m->index_day);
        if (m->own)
            assert_memory_equal(m, &once.members[own++], sizeof *m);
        else
            assert_true(m->hash > no_one_below);
    }
    assert_int_equal(own, once.n);
    rz_cohort_done(&once);
    rz_cohort_done(&cohorts[0]);

    int calls = 0;
    rz_progress stop = {.fn = stop_at_once, .context = &calls};
    check_fails(rz_cohort_build(store, tasks, 1, &(rz_cohort_options){0}, &stop, cohorts, &error),
                RZ_E_CANCELED, "interrupted after");
    assert_int_equal(calls, 1);
    assert_null(cohorts[0].members);
    rz_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_first_eligible_day_from_the_drawn_one),
                                       cmocka_unit_test(the_latest_days),
                                       cmocka_unit_test(the_index_does_not_seek_the_outcome),
                                       cmocka_unit_test(tasks_share_the_index),
                                       cmocka_unit_test(the_choice_is_blind_to_the_future),
                                       cmocka_unit_test(every_step_of_the_table),
                                       cmocka_unit_test(labels_and_deaths),
                                       cmocka_unit_test(from_a_store)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
