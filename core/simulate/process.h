/* The life of one simulated patient: a process in steps of a day. An item coded today acts from
 * tomorrow, items of one day do not see each other, and an item is coded once. */
#ifndef RZ_SIMULATE_PROCESS_H
#define RZ_SIMULATE_PROCESS_H

#include "base/rng.h"
#include "claims/event.h"
#include "simulate/hazards.h"

#include <stdbool.h>

enum { RZ_SIM_ADDITIONS_MAX = 512, RZ_SIM_RATIOS_MAX = 512 };

/* The coefficients in the order in which they are read. Plain data, never changed after init. */
typedef struct rz_sim_engine {
    uint16_t addition_from[RZ_SIM_ITEMS + 1], ratio_from[RZ_SIM_ITEMS + 1];
    rz_sim_addition additions[RZ_SIM_ADDITIONS_MAX];
    rz_sim_ratio ratios[RZ_SIM_RATIOS_MAX];
    double habit[RZ_SIM_HABITS][RZ_SIM_ITEMS];
} rz_sim_engine;

void rz_sim_engine_init(rz_sim_engine *engine);

typedef struct rz_sim_state {
    int32_t birth_day;
    rz_sex sex;
    unsigned habit;              /* 0 … RZ_SIM_HABITS - 1 */
    double frailty;              /* factor on every condition's rate; 1 without the option */
    int32_t coded[RZ_SIM_ITEMS]; /* RZ_DAY_NONE until coded */
} rz_sim_state;

/* Forgets what was coded after `day`. */
void rz_sim_state_rewind(rz_sim_state *state, int32_t day);

/* Marks the items on which `outcome` depends, directly or through others: only they need to be
 * simulated for its risk. The outcome, death and leaving are always marked. */
void rz_sim_relevant(const rz_sim_engine *engine, rz_sim_item outcome, bool out[RZ_SIM_ITEMS]);

/* Lives the days from … to (both included), or until death or leaving.
 *
 *   live        items that may happen; NULL for all
 *   suppressed  an item that is only watched; RZ_SIM_ITEMS for none
 *
 * Returns the watched item's rate times time over the days lived, so that
 * 1 - exp(-returned) = 1 - product over days of (1 - hazard). Deterministic in the state of rng. */
double rz_sim_live(const rz_sim_engine *engine, rz_sim_state *state, int32_t from, int32_t to,
                   const bool *live, rz_sim_item suppressed, rz_rng *rng);

/* The true risk of `outcome` in index+1 … index+horizon for the state at the end of the index day:
 * mean over continuations of 1 - product(1 - hazard) with the outcome suppressed.
 *
 *   state           what is coded on days <= index_day; the outcome must not be among it
 *   standard_error  of the mean, over continuations
 *
 * Someone who has died or left has risk 0. */
void rz_sim_risk(const rz_sim_engine *engine, const rz_sim_state *state, rz_sim_item outcome,
                 int32_t index_day, int horizon_days, unsigned continuations, rz_rng *rng,
                 double *risk, double *standard_error);

#endif
