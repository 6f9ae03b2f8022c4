#include "check.h"

#include "base/hash.h"
#include "claims/claim_json.h"
#include "simulate/world.h"

enum { PATIENTS = 250 };

static rz_sim_world world;

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    if (rz_hash_setup(&error) != RZ_OK)
        return -1;
    return rz_sim_world_init(&world, 3, 4, 0.0, &error) == RZ_OK ? 0 : -1;
}

/* The item whose code this is; RZ_SIM_ITEMS for background. */
static unsigned item_of(const rz_event *event)
{
    if (event->kind == RZ_KIND_DIAGNOSIS) {
        for (size_t i = 0; i < rz_sim_n_diagnoses; i++)
            if (strcmp(event->code, world.diagnosis[i]) == 0)
                return rz_sim_diagnoses[i].item;
    } else if (event->kind == RZ_KIND_MEDICATION) {
        for (size_t i = 0; i < rz_sim_n_drugs; i++)
            if (strcmp(event->code, world.drug[i]) == 0)
                return rz_sim_drugs[i].item < RZ_SIM_DEATH ? rz_sim_drugs[i].item : RZ_SIM_ITEMS;
    }
    return RZ_SIM_ITEMS;
}

/* The claims hold the state, exactly: an item's first code is on its day, never before, and death
 * is in the record; a suspicion is no code. */
static void claims_hold_the_state(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_arena arena;
    rz_arena_init(&arena, 64 << 20);
    unsigned suspected = 0, deaths = 0, left = 0;
    for (uint64_t number = 1; number <= PATIENTS; number++) {
        rz_sim_patient patient;
        rz_arena_reset(&arena);
        check_ok(rz_sim_patient_make(&world, number, &arena, &patient, &error));
        int32_t first[RZ_SIM_ITEMS + 1], death = RZ_DAY_NONE;
        for (int i = 0; i <= RZ_SIM_ITEMS; i++)
            first[i] = RZ_DAY_NONE;
        for (size_t c = 0; c < patient.n_claims; c++) {
            for (size_t e = 0; e < patient.claims[c].n_events; e++) {
                const rz_event *event = &patient.claims[c].events[e];
                unsigned item = item_of(event);
                assert_in_range(event->day, patient.entry_day, patient.exit_day);
                if (event->kind == RZ_KIND_DEATH)
                    death = event->day;
                suspected += (event->flags & RZ_EVENT_SUSPECTED) != 0;
                if ((event->flags & RZ_EVENT_SUSPECTED) == 0 &&
                    (first[item] == RZ_DAY_NONE || event->day < first[item]))
                    first[item] = event->day;
            }
        }
        for (unsigned i = 0; i < RZ_SIM_DEATH; i++)
            if (first[i] != patient.state.coded[i])
                fail_msg("patient %d, %s: first code on %d, state says %d", (int)number,
                         rz_sim_item_name(i), first[i], patient.state.coded[i]);
        assert_int_equal(death, patient.state.coded[RZ_SIM_DEATH]);
        deaths += death != RZ_DAY_NONE;
        left += patient.state.coded[RZ_SIM_LEAVING] != RZ_DAY_NONE;
    }
    assert_true(suspected > 20 && deaths > 10 && left > 10);
    rz_arena_done(&arena);
}

/* One claim a month and setting, in order, known on the tenth of a later month. */
static void claims_are_monthly(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_arena arena;
    rz_arena_init(&arena, 64 << 20);
    unsigned late = 0, inpatient = 0, all = 0;
    for (uint64_t number = 1; number <= PATIENTS; number++) {
        rz_sim_patient patient;
        rz_arena_reset(&arena);
        check_ok(rz_sim_patient_make(&world, number, &arena, &patient, &error));
        assert_true(patient.n_claims > 0);
        for (size_t c = 0; c < patient.n_claims; c++) {
            const rz_claim *claim = &patient.claims[c];
            int year, month, day, known_year, known_month, known_day;
            rz_day_to_civil(claim->start_day, &year, &month, &day);
            rz_day_to_civil(claim->known_day, &known_year, &known_month, &known_day);
            int months = (known_year - year) * 12 + known_month - month;
            assert_int_equal(known_day, 10);
            assert_in_range(months, 1, 2);
            late += months == 2;
            all++;
            inpatient += claim->setting == RZ_SETTING_INPATIENT;
            rz_day_to_civil(claim->end_day, &known_year, &known_month, &known_day);
            assert_true(known_year == year && known_month == month);
            assert_int_equal(claim->events[0].kind, RZ_KIND_ENCOUNTER);
            assert_true(claim->n_events > 1);
            if (c > 0)
                assert_true(strcmp(claim[-1].claim_id, claim->claim_id) < 0);
        }
    }
    check_near((double)late / all, 0.02, 0.01);
    assert_true(inpatient > 50);
    rz_arena_done(&arena);
}

/* What a reader of the file gets is what the truth was computed from. */
static void claims_survive_the_file(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_arena arena, reading;
    rz_buffer text;
    rz_arena_init(&arena, 64 << 20);
    rz_arena_init(&reading, 64 << 20);
    rz_buffer_init(&text, 1 << 20);
    const rz_claim_rules rules = {.latest_day = world.last_day + 365};
    for (uint64_t number = 1; number <= 40; number++) {
        rz_sim_patient patient;
        rz_arena_reset(&arena);
        check_ok(rz_sim_patient_make(&world, number, &arena, &patient, &error));
        for (size_t c = 0; c < patient.n_claims; c++) {
            unsigned char written[32], read[32];
            json_t *document = NULL;
            rz_claim claim;
            rz_claim_problems problems = {0};
            rz_buffer_clear(&text);
            rz_arena_reset(&reading);
            check_ok(rz_claim_to_json(&patient.claims[c], &text, &error));
            check_ok(rz_json_parse(text.data, text.length, &document, &error));
            check_ok(rz_claim_from_json(document, &rules, &reading, &claim, &problems, &error));
            check_ok(rz_claim_digest(&patient.claims[c], written, &error));
            check_ok(rz_claim_digest(&claim, read, &error));
            assert_memory_equal(written, read, 32);
            json_decref(document);
        }
    }
    rz_buffer_done(&text);
    rz_arena_done(&arena);
    rz_arena_done(&reading);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_sim_patient patient;
    for (size_t limit = 1024; limit < 200000; limit *= 3) {
        rz_arena arena;
        rz_arena_init(&arena, limit);
        rz_status status = rz_sim_patient_make(&world, 1, &arena, &patient, &error);
        assert_true(status == RZ_OK || status == RZ_E_NO_MEMORY);
        if (limit == 1024)
            assert_int_equal(status, RZ_E_NO_MEMORY);
        rz_error_clear(&error);
        rz_arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(claims_hold_the_state),
                                       cmocka_unit_test(claims_are_monthly),
                                       cmocka_unit_test(claims_survive_the_file),
                                       cmocka_unit_test(running_out_of_memory_is_an_error)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
