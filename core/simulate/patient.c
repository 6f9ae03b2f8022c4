/* The person behind a record: who comes to which hospital when, with what history. */
#include "simulate/world.h"

#include "base/portable_math.h"

#include <stdio.h>
#include <string.h>

#define YEARS(n) ((int32_t)((n)*1461 / 4))

/* Ages of people who use a hospital: Japan's pyramid, leaning to the old [chosen, no source]. */
static const struct {
    int from, to;
    double share;
} ages[] = {{0, 10, .05},  {10, 20, .05}, {20, 30, .06}, {30, 40, .08}, {40, 50, .13},
            {50, 60, .16}, {60, 70, .19}, {70, 80, .18}, {80, 90, .09}, {90, 98, .01}};

enum {
    ENTRY_SPREAD = 90, /* days over which the first patients appear */
    LAST_ENTRY = 366   /* nobody enters within so many days of the end */
};
static const double share_at_start = 0.5, share_women = 0.53;

/* An old illness is known to the new hospital, and treated there, with this probability. */
static const double share_carried = 0.5;

static int32_t draw_age_days(rz_rng *rng)
{
    double mark = rz_rng_uniform(rng);
    size_t band = 0;
    while (band + 1 < sizeof ages / sizeof *ages && mark >= ages[band].share)
        mark -= ages[band++].share;
    uint32_t days = (uint32_t)(YEARS(ages[band].to) - YEARS(ages[band].from));
    return YEARS(ages[band].from) + (int32_t)rz_rng_below(rng, days);
}

static void draw_person(const rz_sim_world *world, rz_rng *rng, rz_sim_patient *out)
{
    out->hospital = 1 + rz_rng_below(rng, world->hospitals);
    (void)snprintf(out->facility, sizeof out->facility, "H%03u", out->hospital);
    (void)snprintf(out->id, sizeof out->id, "%06llu", (unsigned long long)out->number);
    out->state.sex = rz_rng_uniform(rng) < share_women ? RZ_SEX_FEMALE : RZ_SEX_MALE;
    out->state.habit = (out->hospital - 1) % RZ_SIM_HABITS;
    bool at_start = rz_rng_uniform(rng) < share_at_start;
    uint32_t spread = at_start ? (uint32_t)ENTRY_SPREAD
                               : (uint32_t)(world->last_day - world->first_day - LAST_ENTRY);
    out->entry_day = world->first_day + (int32_t)rz_rng_below(rng, spread);
    out->state.birth_day = out->entry_day - draw_age_days(rng);
    double d = world->frailty_deviation, z = rz_rng_normal(rng);
    out->state.frailty = d > 0.0 ? rz_exp(d * z - 0.5 * d * d) : 1.0;
}

/* Life before the record, by the same hazards. What lasts is coded on the first day of the record,
 * for the record is all that hazards read; what has passed, or was not carried over, is unknown. */
static void live_before(const rz_sim_world *world, rz_rng *rng, rz_sim_patient *out)
{
    bool live[RZ_SIM_ITEMS];
    for (unsigned i = 0; i < RZ_SIM_ITEMS; i++)
        live[i] = i != RZ_SIM_DEATH && i != RZ_SIM_LEAVING;
    (void)rz_sim_live(&world->engine, &out->state, out->state.birth_day, out->entry_day - 1, live,
                      RZ_SIM_ITEMS, rng);
    for (unsigned i = 0; i < RZ_SIM_ITEMS; i++) {
        if (out->state.coded[i] == RZ_DAY_NONE)
            continue;
        bool carried = rz_rng_uniform(rng) < share_carried;
        out->state.coded[i] = carried && rz_sim_item_course(i) == 0 ? out->entry_day : RZ_DAY_NONE;
    }
}

rz_status rz_sim_patient_make(const rz_sim_world *world, uint64_t number, rz_arena *arena,
                              rz_sim_patient *out, rz_error *error)
{
    memset(out, 0, sizeof *out);
    out->number = number;
    for (unsigned i = 0; i < RZ_SIM_ITEMS; i++)
        out->state.coded[i] = RZ_DAY_NONE;
    rz_rng rng;
    rz_sim_rng(world, number, RZ_SIM_STREAM_PERSON, &rng);
    draw_person(world, &rng, out);
    rz_sim_rng(world, number, RZ_SIM_STREAM_LIFE, &rng);
    live_before(world, &rng, out);
    (void)rz_sim_live(&world->engine, &out->state, out->entry_day + 1, world->last_day, NULL,
                      RZ_SIM_ITEMS, &rng);
    out->exit_day = world->last_day;
    for (unsigned end = RZ_SIM_DEATH; end <= RZ_SIM_LEAVING; end++)
        if (out->state.coded[end] != RZ_DAY_NONE)
            out->exit_day = out->state.coded[end];
    rz_sim_rng(world, number, RZ_SIM_STREAM_RECORD, &rng);
    return rz_sim_record(world, &rng, arena, out, error);
}
