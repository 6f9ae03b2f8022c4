/* The committed tables of the simulator: codes and background illnesses. Coefficients of the
 * hazards are in hazards.h. All of it is read-only data. */
#ifndef RZ_SIMULATE_TABLES_H
#define RZ_SIMULATE_TABLES_H

#include "simulate/items.h"

#include <stddef.h>

typedef struct rz_sim_diagnosis {
    rz_sim_item item;
    const char *code;
    double weight; /* how common this way of coding is */
    const char *title;
} rz_sim_diagnosis;

typedef struct rz_sim_drug {
    rz_sim_item item; /* a treatment or a pool */
    const char *code; /* twelve characters of the price list */
    const char *ingredient, *name;
} rz_sim_drug;

/* Who gets a background illness, and when. */
typedef enum rz_sim_profile {
    RZ_SIM_ANYONE,
    RZ_SIM_CHILD,
    RZ_SIM_ADULT,
    RZ_SIM_ELDER,
    RZ_SIM_WOMAN, /* of 15 to 49 years */
    RZ_SIM_MAN,
    RZ_SIM_TERMINAL /* coded in a last stay in hospital */
} rz_sim_profile;

typedef enum rz_sim_season {
    RZ_SIM_ALL_YEAR,
    RZ_SIM_WINTER,
    RZ_SIM_SPRING,
    RZ_SIM_SUMMER
} rz_sim_season;

typedef struct rz_sim_background {
    const char *code;
    double per_1000; /* occurrences a year among 1,000 people of the profile */
    rz_sim_profile profile;
    rz_sim_season season;
    rz_sim_item drugs; /* a pool; RZ_SIM_NO_DRUG for none */
    const char *title;
} rz_sim_background;

extern const rz_sim_diagnosis rz_sim_diagnoses[];
extern const rz_sim_drug rz_sim_drugs[];
extern const rz_sim_background rz_sim_backgrounds[];
extern const size_t rz_sim_n_diagnoses, rz_sim_n_drugs, rz_sim_n_backgrounds;

/* "HYPERTENSION", "BG_SKIN"; borrowed, static. */
const char *rz_sim_item_name(rz_sim_item item);
/* Days that an item is treated for; 0 when it stays. Pools and the two ends have 0. */
int rz_sim_item_course(rz_sim_item item);

#endif
