/* True risks: the index from the cohort code on the claims, the risk from the process. */
#include "simulate/truth.h"

#include "tasks/cohort.h"

#include <stdlib.h>

static bool matches(const rz_sim_world *world, const rz_task *task, unsigned item, unsigned row)
{
    bool condition = item < RZ_SIM_CONDITIONS;
    rz_timeline_event event = {.kind = condition ? RZ_KIND_DIAGNOSIS : RZ_KIND_MEDICATION,
                               .system = condition ? RZ_SYSTEM_ICD10 : RZ_SYSTEM_YJ,
                               .code = condition ? world->diagnosis[row] : world->drug[row]};
    return rz_task_matches(task, &event);
}

rz_status rz_sim_task_item(const rz_sim_world *world, const rz_task *task, rz_sim_item *out,
                           rz_error *error)
{
    unsigned found = RZ_SIM_ITEMS;
    for (unsigned item = 0; item < RZ_SIM_POOLS; item++) {
        bool condition = item < RZ_SIM_CONDITIONS;
        unsigned from = condition ? world->diagnosis_from[item] : world->drug_from[item];
        unsigned to = condition ? world->diagnosis_from[item + 1] : world->drug_from[item + 1];
        unsigned hits = 0;
        for (unsigned row = from; row < to; row++)
            hits += matches(world, task, item, row);
        if (hits == 0)
            continue;
        if (hits < to - from || found != RZ_SIM_ITEMS || item >= RZ_SIM_DEATH)
            return rz_fail(error, RZ_E_INVALID,
                           "task %s: its codes are %u of the %u that the simulator has for %s, so "
                           "there is no true risk; leave the task out of --tasks",
                           task->name, hits, to - from, rz_sim_item_name(item));
        found = item;
    }
    if (found == RZ_SIM_ITEMS)
        return rz_fail(error, RZ_E_INVALID,
                       "task %s: the simulator writes none of its codes, so there is no true risk; "
                       "leave the task out of --tasks",
                       task->name);
    for (size_t row = 0; row < rz_sim_n_backgrounds; row++) {
        rz_timeline_event event = {
            .kind = RZ_KIND_DIAGNOSIS, .system = RZ_SYSTEM_ICD10, .code = world->background[row]};
        if (rz_task_matches(task, &event))
            return rz_fail(error, RZ_E_INVALID,
                           "task %s: background illness %s is among its codes, so there is no true "
                           "risk; leave the task out of --tasks",
                           task->name, event.code);
    }
    *out = found;
    return RZ_OK;
}

static int compare_days(const void *left, const void *right)
{
    const rz_claim_day *a = left, *b = right;
    return a->day < b->day ? -1 : a->day > b->day;
}

/* The distinct known days of the claims, as rz_store_claim_days gives them. */
static rz_claim_day *claim_days(const rz_sim_patient *patient, int32_t data_end_day,
                                rz_arena *arena, size_t *n)
{
    rz_claim_day *days = rz_arena_alloc(arena, patient->n_claims, sizeof *days);
    if (days == NULL)
        return NULL;
    for (size_t i = 0; i < patient->n_claims; i++)
        days[i] = (rz_claim_day){.day = patient->claims[i].known_day, .data_end_day = data_end_day};
    qsort(days, patient->n_claims, sizeof *days, compare_days);
    *n = 0;
    for (size_t i = 0; i < patient->n_claims; i++)
        if (*n == 0 || days[*n - 1].day != days[i].day)
            days[(*n)++] = days[i];
    return days;
}

/* Is the day one that an earlier draw gave the task? They are the last of the rows. */
static bool is_known(const rz_sim_truth *rows, size_t n, size_t task, int32_t day)
{
    while (n-- > 0 && rows[n].task == task)
        if (rows[n].index_day == day)
            return true;
    return false;
}

rz_status rz_sim_truths(const rz_sim_world *world, const rz_sim_patient *patient,
                        const rz_task *tasks, const rz_sim_item *items, size_t n_tasks,
                        int32_t data_end_day, unsigned draws, unsigned continuations,
                        rz_arena *arena, rz_sim_truth *out, size_t *n_out, rz_error *error)
{
    rz_timeline *timeline = NULL;
    *n_out = 0;
    rz_status status =
        rz_timeline_from_claims(patient->claims, patient->n_claims, arena, &timeline, error);
    if (status != RZ_OK)
        return status;
    size_t n_days;
    const rz_claim_day *days = claim_days(patient, data_end_day, arena, &n_days);
    if (days == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the claim days of a patient");
    for (size_t i = 0; i < n_tasks * draws; i++) {
        const size_t task = i / draws;
        const unsigned draw = (unsigned)(i % draws);
        const rz_sim_item item = items[task];
        int32_t index_day;
        rz_attrition_step passed;
        if (!rz_cohort_index(&tasks[task], timeline, days, n_days, 0, rz_cohort_draw_seed(draw),
                             &index_day, &passed) ||
            is_known(out, *n_out, task, index_day))
            continue;
        rz_sim_state state = patient->state;
        rz_sim_state_rewind(&state, index_day);
        if (state.coded[item] != RZ_DAY_NONE)
            continue;
        rz_rng rng;
        rz_sim_rng(world, patient->number, RZ_SIM_STREAM_TRUTH + item + draw * RZ_SIM_ITEMS, &rng);
        rz_sim_truth *row = &out[(*n_out)++];
        *row = (rz_sim_truth){.task = task, .index_day = index_day};
        rz_sim_risk(&world->engine, &state, item, index_day, tasks[task].horizon_days,
                    continuations, &rng, &row->risk, &row->standard_error);
    }
    return RZ_OK;
}
