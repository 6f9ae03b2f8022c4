#include "check.h"

#include "base/hash.h"
#include "base/size.h"
#include "claims/timeline.h"

static rz_event event(int32_t day, int32_t known, rz_kind kind, const char *code, double value,
                      uint32_t flags)
{
    return (rz_event){.day = day,
                      .known_day = known,
                      .kind = kind,
                      .system = RZ_SYSTEM_LOCAL,
                      .code = code,
                      .value = value,
                      .flags = flags};
}

static rz_claim claim_of(const rz_event *events, size_t n)
{
    return (rz_claim){.claim_id = "c",
                      .facility = "h",
                      .patient_id = "p",
                      .birth_day = RZ_DAY_NONE,
                      .setting = RZ_SETTING_OUTPATIENT,
                      .events = events,
                      .n_events = n};
}

static void one_event_a_day(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_arena arena;
    rz_arena_init(&arena, 1 << 20);
    rz_event first[] = {event(9, 30, RZ_KIND_LAB, "a", 1, 0), event(9, 20, RZ_KIND_LAB, "a", 2, 0),
                        event(5, 40, RZ_KIND_DIAGNOSIS, "x", NAN, 0),
                        event(5, 6, RZ_KIND_DIAGNOSIS, "x", NAN, RZ_EVENT_SUSPECTED)};
    rz_event second[] = {event(9, 20, RZ_KIND_LAB, "b", 3, 0),
                         event(5, 50, RZ_KIND_DIAGNOSIS, "x", NAN, 0),
                         event(60, 60, RZ_KIND_DEATH, "death", NAN, 0)};
    rz_claim claims[] = {claim_of(first, 4), claim_of(second, 3)};
    claims[1].birth_day = -20000;
    claims[1].sex = RZ_SEX_MALE;
    rz_timeline *t = NULL;
    check_ok(rz_timeline_from_claims(claims, 2, &arena, &t, &error));
    assert_int_equal(t->n_events, 4);
    assert_int_equal(t->sex, RZ_SEX_MALE);
    assert_int_equal(t->birth_day, -20000);
    assert_true(t->hash == rz_patient_hash("h", "p"));
    assert_int_equal(t->events[0].day, 5);
    assert_int_equal(t->events[0].flags, 0);
    assert_int_equal(t->events[0].known_day, 40);
    assert_string_equal(t->events[1].code, "a");
    check_near(t->events[1].value, 2, 0);
    assert_int_equal(t->events[1].known_day, 20);
    assert_string_equal(t->events[2].code, "b");
    assert_int_equal(rz_timeline_first_day(t, 19), RZ_DAY_NONE);
    assert_int_equal(rz_timeline_first_day(t, 20), 9);
    assert_int_equal(rz_timeline_first_day(t, 40), 5);
    assert_int_equal(rz_timeline_death_day(t, 59), RZ_DAY_NONE);
    assert_int_equal(rz_timeline_death_day(t, 60), 60);
    rz_arena_done(&arena);
}

static void histories_that_are_none(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_arena arena;
    rz_arena_init(&arena, 1 << 20);
    rz_event one = event(1, 1, RZ_KIND_LAB, "a", 1, 0);
    rz_claim claims[] = {claim_of(&one, 1), claim_of(&one, 1)};
    rz_timeline *t = NULL;
    check_fails(rz_timeline_from_claims(claims, 0, &arena, &t, &error), RZ_E_INVALID, "at least");
    claims[1].patient_id = "q";
    check_fails(rz_timeline_from_claims(claims, 2, &arena, &t, &error), RZ_E_INVALID, "several");
    claims[1].patient_id = "p";
    claims[0].sex = RZ_SEX_MALE;
    claims[1].sex = RZ_SEX_FEMALE;
    check_fails(rz_timeline_from_claims(claims, 2, &arena, &t, &error), RZ_E_CONFLICT, "sex");
    rz_arena_done(&arena);
    rz_arena_init(&arena, 64);
    check_fails(rz_timeline_from_claims(claims, 1, &arena, &t, &error), RZ_E_NO_MEMORY, "1 events");
    rz_arena_done(&arena);
}

static void splits_are_stable_and_balanced(void **state)
{
    (void)state;
    unsigned splits[3] = {0}, folds[5] = {0}, held_in_fold[5] = {0};
    for (int i = 0; i < 20000; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "p%d", i);
        uint64_t hash = rz_patient_hash("h", id);
        rz_split split = rz_split_of(hash, 1);
        unsigned fold = rz_fold_of(hash, 1, 5);
        splits[split]++;
        folds[fold]++;
        held_in_fold[fold] += split == RZ_SPLIT_HELD_OUT;
        assert_int_equal(rz_split_of(hash, 1), split);
    }
    check_near(splits[RZ_SPLIT_TRAIN], 14000, 260);
    check_near(splits[RZ_SPLIT_TUNING], 3000, 210);
    check_near(splits[RZ_SPLIT_HELD_OUT], 3000, 210);
    for (int i = 0; i < 5; i++) {
        check_near(folds[i], 4000, 250);
        check_near(held_in_fold[i], 600, 100);
    }
    assert_true(rz_patient_hash("ab", "c") != rz_patient_hash("a", "bc"));
    /* For ever: a store made today must be split the same way by every later version. */
    assert_int_equal(rz_patient_hash("H001", "p1"), 0xd68cc5dbfdb806cf);
    assert_string_equal(rz_split_name(RZ_SPLIT_HELD_OUT), "held_out");
}

static void digests_see_content_not_order(void **state)
{
    (void)state;
    rz_error error = {0};
    unsigned char a[32], b[32];
    rz_event events[100], reversed[100];
    for (int i = 0; i < 100; i++) {
        events[i] = event(i % 7, 10, RZ_KIND_LAB, i % 2 == 0 ? "a" : "b", i, 0);
        reversed[99 - i] = events[i];
    }
    rz_claim claim = claim_of(events, 100), other = claim_of(reversed, 100);
    check_ok(rz_claim_digest(&claim, a, &error));
    check_ok(rz_claim_digest(&other, b, &error));
    assert_memory_equal(a, b, 32);
    static const char *const units[] = {NULL, "mg"};
    for (int change = 0; change < 9; change++) {
        rz_event one = event(1, 2, RZ_KIND_LAB, "a", 3, 0), two = one;
        claim = claim_of(&one, 1);
        other = claim_of(&two, 1);
        two.day += change == 0;
        two.known_day += change == 1;
        two.kind = change == 2 ? RZ_KIND_PROCEDURE : two.kind;
        two.code = change == 3 ? "b" : two.code;
        two.value = change == 4 ? (double)NAN : two.value;
        two.unit = units[change == 5];
        two.flags = change == 6;
        other.sex = change == 7 ? RZ_SEX_MALE : other.sex;
        other.known_day += change == 8;
        check_ok(rz_claim_digest(&claim, a, &error));
        check_ok(rz_claim_digest(&other, b, &error));
        if (memcmp(a, b, 32) == 0)
            fail_msg("change %d is not seen", change);
    }
    rz_event zero = event(1, 2, RZ_KIND_LAB, "a", 0.0, 0), minus = zero;
    minus.value = -0.0;
    claim = claim_of(&zero, 1);
    other = claim_of(&minus, 1);
    check_ok(rz_claim_digest(&claim, a, &error));
    check_ok(rz_claim_digest(&other, b, &error));
    assert_memory_equal(a, b, 32);
}

static int set_up(void **state)
{
    (void)state;
    return rz_hash_setup(NULL) == RZ_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_event_a_day),
                                       cmocka_unit_test(histories_that_are_none),
                                       cmocka_unit_test(splits_are_stable_and_balanced),
                                       cmocka_unit_test(digests_see_content_not_order)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
