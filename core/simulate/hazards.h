/* The coefficients of the simulator: who develops what, how fast.
 *
 * The rate of an item on a day, per year, for a patient who does not have it:
 *
 *     rate = (base(age, sex) + sum of additions) * product of ratios * habit of the hospital
 *
 * where an addition or a ratio counts for each source item that was coded before that day, with a
 * further one while the source is recent. Its hazard on the day is 1 - exp(-rate / 365.25). */
#ifndef RZ_SIMULATE_HAZARDS_H
#define RZ_SIMULATE_HAZARDS_H

#include "simulate/items.h"

#include <stddef.h>

enum { RZ_SIM_AGE_BANDS = 8 };

/* Whole years at which the second and later bands start. */
extern const int rz_sim_age_from[RZ_SIM_AGE_BANDS - 1];

typedef struct rz_sim_base {
    double per_1000[RZ_SIM_AGE_BANDS]; /* men without any source item, a year */
    double female;                     /* ratio of women to men */
    int recent_days;                   /* how long this item counts as recent for others */
} rz_sim_base;

typedef struct rz_sim_addition {
    rz_sim_item target, source;
    double ever, recent; /* per person and year; recent is on top of ever */
} rz_sim_addition;

typedef struct rz_sim_ratio {
    rz_sim_item target, source;
    double ever, recent; /* factors; recent is on top of ever */
} rz_sim_ratio;

typedef struct rz_sim_habit {
    rz_sim_item target;
    double factor[RZ_SIM_HABITS]; /* hospital k has factor[k % RZ_SIM_HABITS] */
} rz_sim_habit;

extern const rz_sim_base rz_sim_bases[RZ_SIM_ITEMS];
extern const rz_sim_addition rz_sim_additions[];
extern const rz_sim_ratio rz_sim_ratios[];
extern const rz_sim_habit rz_sim_habits[];
extern const size_t rz_sim_n_additions, rz_sim_n_ratios, rz_sim_n_habits;

#endif
