/* Indexes over the tables, made once, and checked: a table that does not fit is an error here
 * rather than a strange history later. */
#include "simulate/world.h"

#include "base/hash.h"
#include "base/size.h"

#include <string.h>

#define YEARS(n) ((int32_t)((n)*1461 / 4))

static const char *const names[RZ_SIM_POOLS] = {
#define RZ_SIM_NAME(id, course) [RZ_SIM_##id] = #id,
    RZ_SIM_CONDITION_MAP(RZ_SIM_NAME) RZ_SIM_TREATMENT_MAP(RZ_SIM_NAME)
#undef RZ_SIM_NAME
        [RZ_SIM_DEATH] = "DEATH",
    [RZ_SIM_LEAVING] = "LEAVING",
#define RZ_SIM_NAME(id) [RZ_SIM_##id] = #id,
    RZ_SIM_POOL_MAP(RZ_SIM_NAME)
#undef RZ_SIM_NAME
};

static const int16_t courses[RZ_SIM_POOLS] = {
#define RZ_SIM_COURSE(id, course) [RZ_SIM_##id] = course,
    RZ_SIM_CONDITION_MAP(RZ_SIM_COURSE) RZ_SIM_TREATMENT_MAP(RZ_SIM_COURSE)
#undef RZ_SIM_COURSE
};

const char *rz_sim_item_name(rz_sim_item item)
{
    return (unsigned)item < RZ_SIM_POOLS ? names[item] : "NO_DRUG";
}

int rz_sim_item_course(rz_sim_item item)
{
    return (unsigned)item < RZ_SIM_POOLS ? courses[item] : 0;
}

enum { CHILD, WOMAN_TO_49, WOMAN_TO_64, MAN_TO_64, WOMAN_ELDER, MAN_ELDER };

unsigned rz_sim_group(rz_sex sex, int32_t age_days)
{
    if (age_days < YEARS(15))
        return CHILD;
    if (age_days >= YEARS(65))
        return sex == RZ_SEX_FEMALE ? WOMAN_ELDER : MAN_ELDER;
    if (sex != RZ_SEX_FEMALE)
        return MAN_TO_64;
    return age_days < YEARS(50) ? WOMAN_TO_49 : WOMAN_TO_64;
}

unsigned rz_sim_season_of(int month)
{
    return (unsigned)(month % 12) / 3; /* 0 from December, 1 from March, … */
}

static bool belongs(rz_sim_profile profile, unsigned group)
{
    switch (profile) {
    case RZ_SIM_ANYONE:
        return true;
    case RZ_SIM_CHILD:
        return group == CHILD;
    case RZ_SIM_ADULT:
        return group != CHILD;
    case RZ_SIM_ELDER:
        return group == WOMAN_ELDER || group == MAN_ELDER;
    case RZ_SIM_WOMAN:
        return group == WOMAN_TO_49;
    case RZ_SIM_MAN:
        return group == MAN_TO_64 || group == MAN_ELDER;
    case RZ_SIM_TERMINAL:
        break;
    }
    return false;
}

/* winter, spring, summer, autumn; each row's mean is 1 */
static const double season_factor[4][RZ_SIM_SEASONS] = {
    [RZ_SIM_ALL_YEAR] = {1.0, 1.0, 1.0, 1.0},
    [RZ_SIM_WINTER] = {2.1, 0.9, 0.3, 0.7},
    [RZ_SIM_SPRING] = {0.6, 2.4, 0.4, 0.6},
    [RZ_SIM_SUMMER] = {0.4, 0.8, 2.0, 0.8},
};

static void sum_backgrounds(rz_sim_world *world)
{
    for (unsigned group = 0; group < RZ_SIM_GROUPS; group++) {
        for (unsigned season = 0; season < RZ_SIM_SEASONS; season++) {
            double sum = 0.0;
            for (size_t i = 0; i < rz_sim_n_backgrounds; i++) {
                const rz_sim_background *row = &rz_sim_backgrounds[i];
                if (belongs(row->profile, group))
                    sum += row->per_1000 * 0.001 * season_factor[row->season][season];
                world->background_sum[group][season][i] = sum;
            }
        }
    }
    double sum = 0.0;
    for (size_t i = 0; i < rz_sim_n_backgrounds; i++) {
        if (rz_sim_backgrounds[i].profile == RZ_SIM_TERMINAL)
            sum += rz_sim_backgrounds[i].per_1000;
        world->terminal_sum[i] = sum;
    }
}

static rz_status keep_code(rz_code_system system, const char *text, char out[RZ_SIM_CODE_TEXT],
                           rz_error *error)
{
    char code[RZ_CODE_TEXT];
    rz_status status = rz_code_normalise(system, text, strlen(text), code, error);
    if (status != RZ_OK)
        return status;
    size_t n = strlen(code);
    if (n >= RZ_SIM_CODE_TEXT)
        return rz_fail(error, RZ_E_INVALID, "simulator: code %s is too long", code);
    memcpy(out, code, n + 1);
    return RZ_OK;
}

static rz_status index_diagnoses(rz_sim_world *world, rz_error *error)
{
    size_t row = 0;
    for (unsigned item = 0; item < RZ_SIM_CONDITIONS; item++) {
        world->diagnosis_from[item] = (uint16_t)row;
        while (row < rz_sim_n_diagnoses && rz_sim_diagnoses[row].item == item) {
            rz_status status = keep_code(RZ_SYSTEM_ICD10, rz_sim_diagnoses[row].code,
                                         world->diagnosis[row], error);
            if (status != RZ_OK)
                return status;
            row++;
        }
        if (row == world->diagnosis_from[item])
            return rz_fail(error, RZ_E_INVALID, "simulator: no diagnosis row in place for %s",
                           names[item]);
    }
    world->diagnosis_from[RZ_SIM_CONDITIONS] = (uint16_t)row;
    if (row != rz_sim_n_diagnoses)
        return rz_fail(error, RZ_E_INVALID, "simulator: diagnosis row %zu is out of order", row);
    return RZ_OK;
}

static rz_status index_drugs(rz_sim_world *world, rz_error *error)
{
    size_t row = 0;
    for (unsigned item = 0; item < RZ_SIM_POOLS; item++) {
        world->drug_from[item] = (uint16_t)row;
        if (item < RZ_SIM_CONDITIONS || item == RZ_SIM_DEATH || item == RZ_SIM_LEAVING)
            continue;
        while (row < rz_sim_n_drugs && rz_sim_drugs[row].item == item) {
            rz_status status =
                keep_code(RZ_SYSTEM_YJ, rz_sim_drugs[row].code, world->drug[row], error);
            if (status != RZ_OK)
                return status;
            row++;
        }
        if (row == world->drug_from[item])
            return rz_fail(error, RZ_E_INVALID, "simulator: no drug row in place for %s",
                           names[item]);
    }
    world->drug_from[RZ_SIM_POOLS] = (uint16_t)row;
    if (row != rz_sim_n_drugs)
        return rz_fail(error, RZ_E_INVALID, "simulator: drug row %zu is out of order", row);
    return RZ_OK;
}

rz_status rz_sim_world_init(rz_sim_world *world, uint64_t seed, unsigned hospitals,
                            double frailty_deviation, rz_error *error)
{
    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->hospitals = hospitals;
    world->frailty_deviation = frailty_deviation;
    world->first_day = rz_day_from_civil(2017, 1, 1);
    world->last_day = rz_day_from_civil(2024, 12, 31);
    rz_sim_engine_init(&world->engine);
    if (rz_sim_n_diagnoses > RZ_SIM_CODES_MAX || rz_sim_n_drugs > RZ_SIM_CODES_MAX ||
        rz_sim_n_backgrounds > RZ_SIM_CODES_MAX)
        return rz_fail(error, RZ_E_INVALID, "simulator: a table has more than %d rows",
                       (int)RZ_SIM_CODES_MAX);
    rz_status status = index_diagnoses(world, error);
    if (status == RZ_OK)
        status = index_drugs(world, error);
    for (size_t i = 0; i < rz_sim_n_backgrounds && status == RZ_OK; i++)
        status =
            keep_code(RZ_SYSTEM_ICD10, rz_sim_backgrounds[i].code, world->background[i], error);
    if (status == RZ_OK)
        sum_backgrounds(world);
    return status;
}

void rz_sim_rng(const rz_sim_world *world, uint64_t patient, unsigned stream, rz_rng *rng)
{
    rz_rng_init(rng, world->seed, patient << 10 | stream);
}
