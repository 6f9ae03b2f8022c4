#include "task_fixture.h"

static rz_reason reason_of(const rz_task *task, const rz_timeline *timeline, int32_t as_of)
{
    rz_eligibility e;
    rz_task_eligible(task, timeline, as_of, &e);
    rz_task_facts facts;
    rz_task_facts_of(task, timeline, &facts);
    assert_int_equal(rz_task_reason(task, &facts, timeline, as_of), e.reason);
    return e.reason;
}

static void recorded_from_the_day_it_is_known(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    /* happened on 1400, written on the claim of 1430 */
    const rz_timeline_event events[] = {VISIT(1000, 1010), DIAGNOSIS(1400, 1430, "N189"),
                                        DIAGNOSIS(1500, 1501, "N183")};
    const rz_timeline timeline = TIMELINE(events);
    rz_eligibility e;
    assert_int_equal(reason_of(&task, &timeline, 1429), RZ_REASON_NONE);
    rz_task_eligible(&task, &timeline, 1429, &e);
    assert_int_equal(e.history_days, 429);
    assert_int_equal(e.day, RZ_DAY_NONE);
    rz_task_eligible(&task, &timeline, 1600, &e);
    assert_int_equal(e.reason, RZ_REASON_ALREADY_RECORDED);
    assert_string_equal(e.code, "N189");
    assert_int_equal(e.day, 1400);
}

static void suspicion_is_no_outcome(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    const rz_timeline_event events[] = {VISIT(1000, 1010), SUSPECTED(1200, 1201, "N189"),
                                        SUSPECTED(1450, 1451, "N189")};
    const rz_timeline timeline = TIMELINE(events);
    int32_t day = 0;
    assert_int_equal(reason_of(&task, &timeline, 1400), RZ_REASON_NONE);
    assert_false(rz_task_outcome(&task, &timeline, 1400, &day));
    assert_int_equal(day, RZ_DAY_NONE);
    assert_false(rz_task_matches(&task, &events[1]));
}

static void prefixes_belong_to_a_system_and_a_kind(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    rz_timeline_event event = DIAGNOSIS(1, 1, "N189");
    assert_true(rz_task_matches(&task, &event));
    event.code = "N18";
    assert_true(rz_task_matches(&task, &event));
    event.code = "N1";
    assert_false(rz_task_matches(&task, &event));
    event.code = "N179";
    assert_false(rz_task_matches(&task, &event));
    event = fixture_event(1, 1, RZ_KIND_DIAGNOSIS, RZ_SYSTEM_ICD9CM, "5853", 0);
    assert_true(rz_task_matches(&task, &event));
    event.code = "N189";
    assert_false(rz_task_matches(&task, &event));
    event = fixture_event(1, 1, RZ_KIND_PROCEDURE, RZ_SYSTEM_ICD9CM, "5853", 0);
    assert_false(rz_task_matches(&task, &event));
}

static void labels_use_the_days_after_the_index(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    const rz_timeline_event events[] = {VISIT(1000, 1010), DIAGNOSIS(1400, 1700, "N189")};
    const rz_timeline timeline = TIMELINE(events);
    int32_t day;
    assert_false(rz_task_outcome(&task, &timeline, 1400, &day)); /* the same day is not after */
    assert_true(rz_task_outcome(&task, &timeline, 1399, &day));
    assert_int_equal(day, 1400);
    assert_true(rz_task_outcome(&task, &timeline, 1400 - 365, &day));
    assert_false(rz_task_outcome(&task, &timeline, 1400 - 366, &day));
}

static void reasons_come_in_their_order(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    task.age_min = 90;
    const rz_timeline_event events[] = {DIAGNOSIS(1000, 1010, "N189"), VISIT(1000, 1010),
                                        DEATH(1100, 1120)};
    const rz_timeline timeline = TIMELINE(events);
    rz_eligibility e;
    assert_int_equal(reason_of(&task, &timeline, 1009), RZ_REASON_OUTSIDE_POPULATION);
    assert_int_equal(reason_of(&task, &timeline, 1119), RZ_REASON_ALREADY_RECORDED);
    rz_task_eligible(&task, &timeline, 1120, &e);
    assert_int_equal(e.reason, RZ_REASON_DEAD);
    assert_int_equal(e.day, 1100);
    task.age_min = 0;
    assert_int_equal(reason_of(&task, &timeline, 1009), RZ_REASON_SHORT_HISTORY);
    /* nothing known is a short record even when no history is asked for */
    task.min_history_days = 0;
    assert_int_equal(reason_of(&task, &timeline, 999), RZ_REASON_SHORT_HISTORY);
}

static void population(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    const rz_timeline_event events[] = {
        VISIT(14000, 14001),
        fixture_event(14700, 14760, RZ_KIND_LAB, RZ_SYSTEM_LOINC, "4548-4", 0)};
    rz_timeline timeline = TIMELINE(events);
    timeline.birth_day = rz_day_from_civil(1970, 3, 2);
    int32_t birthday = rz_day_from_civil(2010, 3, 2); /* 14670: forty */
    task.age_min = 40;
    task.age_max = 40;
    assert_int_equal(reason_of(&task, &timeline, birthday - 1), RZ_REASON_OUTSIDE_POPULATION);
    assert_int_equal(reason_of(&task, &timeline, birthday), RZ_REASON_NONE);
    assert_int_equal(reason_of(&task, &timeline, birthday + 364), RZ_REASON_NONE);
    assert_int_equal(reason_of(&task, &timeline, birthday + 365), RZ_REASON_OUTSIDE_POPULATION);
    timeline.birth_day = RZ_DAY_NONE;
    assert_int_equal(reason_of(&task, &timeline, birthday), RZ_REASON_OUTSIDE_POPULATION);
    task.age_min = 0;
    task.age_max = RZ_TASK_AGE_ANY;
    assert_int_equal(reason_of(&task, &timeline, birthday), RZ_REASON_NONE);
    task.sex = RZ_SEX_MALE;
    assert_int_equal(reason_of(&task, &timeline, birthday), RZ_REASON_OUTSIDE_POPULATION);
    task.sex = RZ_SEX_FEMALE;
    assert_int_equal(reason_of(&task, &timeline, birthday), RZ_REASON_NONE);
    /* a required code counts, of whatever kind, from the day it is known */
    task.n_required = 1;
    task.required[0] = (rz_task_prefix){RZ_SYSTEM_LOINC, "4548"};
    assert_int_equal(reason_of(&task, &timeline, 14759), RZ_REASON_OUTSIDE_POPULATION);
    assert_int_equal(reason_of(&task, &timeline, 14760), RZ_REASON_NONE);
}

static void history_counts_from_the_first_known_event(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    /* the oldest event is learnt last: at 1400 the record begins with 1100 */
    const rz_timeline_event events[] = {DIAGNOSIS(900, 1500, "I10"), VISIT(1100, 1110)};
    const rz_timeline timeline = TIMELINE(events);
    assert_int_equal(reason_of(&task, &timeline, 1400), RZ_REASON_SHORT_HISTORY);
    assert_int_equal(reason_of(&task, &timeline, 1464), RZ_REASON_SHORT_HISTORY);
    assert_int_equal(reason_of(&task, &timeline, 1465), RZ_REASON_NONE);
    const rz_timeline nobody = {.birth_day = RZ_DAY_NONE};
    assert_int_equal(reason_of(&task, &nobody, 1465), RZ_REASON_SHORT_HISTORY);
}

/* Whatever is learnt after a day leaves the answer of that day as it was. */
static void the_future_never_changes_eligibility(void **state)
{
    (void)state;
    rz_task task = fixture_task();
    task.n_required = 1;
    task.required[0] = (rz_task_prefix){RZ_SYSTEM_ICD10, "I10"};
    const rz_timeline_event events[] = {VISIT(1000, 1010),
                                        DIAGNOSIS(1050, 1300, "I10"),
                                        VISIT(1100, 1101),
                                        DIAGNOSIS(1390, 1480, "N189"),
                                        DIAGNOSIS(1400, 1410, "J00"),
                                        DEATH(1500, 1520)};
    const rz_timeline whole = TIMELINE(events);
    for (int32_t as_of = 990; as_of < 1530; as_of++) {
        rz_timeline_event seen[RZ_COUNT(events)];
        size_t n = 0;
        for (size_t i = 0; i < RZ_COUNT(events); i++)
            if (events[i].known_day <= as_of)
                seen[n++] = events[i];
        rz_timeline then = whole;
        then.events = seen;
        then.n_events = n;
        rz_eligibility a, b;
        rz_task_eligible(&task, &whole, as_of, &a);
        rz_task_eligible(&task, &then, as_of, &b);
        assert_int_equal(a.reason, b.reason);
        assert_int_equal(a.day, b.day);
        assert_int_equal(a.history_days, b.history_days);
        assert_string_equal(a.code, b.code);
    }
    assert_int_equal(reason_of(&task, &whole, 1299), RZ_REASON_OUTSIDE_POPULATION);
    assert_int_equal(reason_of(&task, &whole, 1479), RZ_REASON_NONE);
    assert_string_equal(rz_reason_text(RZ_REASON_SHORT_HISTORY), "short_history");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(recorded_from_the_day_it_is_known),
                                       cmocka_unit_test(suspicion_is_no_outcome),
                                       cmocka_unit_test(prefixes_belong_to_a_system_and_a_kind),
                                       cmocka_unit_test(labels_use_the_days_after_the_index),
                                       cmocka_unit_test(reasons_come_in_their_order),
                                       cmocka_unit_test(population),
                                       cmocka_unit_test(history_counts_from_the_first_known_event),
                                       cmocka_unit_test(the_future_never_changes_eligibility)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
