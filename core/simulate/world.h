/* What all simulated patients share, and one patient made from it. */
#ifndef RZ_SIMULATE_WORLD_H
#define RZ_SIMULATE_WORLD_H

#include "base/arena.h"
#include "simulate/process.h"
#include "simulate/tables.h"

enum {
    RZ_SIM_CODES_MAX = 512, /* rows of any of the three tables */
    RZ_SIM_GROUPS = 6,      /* age and sex classes of background illnesses */
    RZ_SIM_SEASONS = 4,
    RZ_SIM_CODE_TEXT = 16
};

typedef struct rz_sim_world {
    uint64_t seed;
    unsigned hospitals;
    double frailty_deviation;
    int32_t first_day, last_day; /* of the records */
    rz_sim_engine engine;
    /* The tables' rows of an item are [from[item], from[item + 1]). */
    uint16_t diagnosis_from[RZ_SIM_CONDITIONS + 1], drug_from[RZ_SIM_POOLS + 1];
    /* Codes as the store keeps them: upper case, no dots. */
    char diagnosis[RZ_SIM_CODES_MAX][RZ_SIM_CODE_TEXT];
    char drug[RZ_SIM_CODES_MAX][RZ_SIM_CODE_TEXT];
    char background[RZ_SIM_CODES_MAX][RZ_SIM_CODE_TEXT];
    /* Yearly rates of background illnesses, summed up to and including each row. */
    double background_sum[RZ_SIM_GROUPS][RZ_SIM_SEASONS][RZ_SIM_CODES_MAX];
    double terminal_sum[RZ_SIM_CODES_MAX];
} rz_sim_world;

/* Errors  RZ_E_INVALID when the tables do not fit together; names the row. */
RZ_MUST_CHECK rz_status rz_sim_world_init(rz_sim_world *world, uint64_t seed, unsigned hospitals,
                                          double frailty_deviation, rz_error *error);

/* Class of a patient for background illnesses, and the season of a calendar month (1 … 12). */
unsigned rz_sim_group(rz_sex sex, int32_t age_days);
unsigned rz_sim_season_of(int month);

/* What a stream of random numbers is used for; each patient has one of each. */
typedef enum rz_sim_stream {
    RZ_SIM_STREAM_PERSON,
    RZ_SIM_STREAM_LIFE,
    RZ_SIM_STREAM_RECORD,
    RZ_SIM_STREAM_TRUTH /* plus the item, plus RZ_SIM_ITEMS times the index draw */
} rz_sim_stream;

void rz_sim_rng(const rz_sim_world *world, uint64_t patient, unsigned stream, rz_rng *rng);

typedef struct rz_sim_patient {
    uint64_t number;
    unsigned hospital; /* 1 … */
    char facility[16], id[24];
    int32_t entry_day, exit_day; /* first and last day of the record */
    rz_sim_state state;          /* at the end of the record */
    rz_claim *claims;            /* in the arena, by month */
    size_t n_claims;
} rz_sim_patient;

/* Makes patient `number` (from 1): person, life and claims. Depends on the world and the number
 * only. Claims live in the arena. Errors  RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status rz_sim_patient_make(const rz_sim_world *world, uint64_t number,
                                            rz_arena *arena, rz_sim_patient *out, rz_error *error);

/* Writes the life into claims; the second half of the above. */
RZ_MUST_CHECK rz_status rz_sim_record(const rz_sim_world *world, rz_rng *rng, rz_arena *arena,
                                      rz_sim_patient *patient, rz_error *error);

#endif
