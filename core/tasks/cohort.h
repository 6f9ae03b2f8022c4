/* Cohorts: one index day per patient and the label, with the table of who was left out; where
 * patients are few, more index days of each.
 *
 * Index rule: every distinct known_day of a patient's claims is a claim day. It is eligible when
 * index + horizon does not pass the facility's data end and rz_task_eligible agrees. A day is drawn
 * by rz_hash64 of patient hash and seed, evenly from the end of the required history after the
 * first claim day to the last day with a whole horizon in the data; the index is the first eligible
 * claim day from there on.
 *
 * So a day becomes the index for reasons that lie before it. Drawing one of all eligible days would
 * not do: who falls ill has eligible days only before that, the drawn one lies closer to the onset,
 * and risks come out too high (twice, on simulated patients). For the same reason a patient whose
 * outcome, death or last claim came before the drawn day is no member.
 *
 * Further draws of the same rule give further index days of a patient, each of them as good as the
 * first. Outcomes are rare, and with one day each few of those who ever have one show it; with
 * more, what is learnt and what is measured moves less by chance. Rows of one patient depend on
 * each other: intervals resample patients with all their rows (metrics/metrics.h). */
#ifndef RZ_TASKS_COHORT_H
#define RZ_TASKS_COHORT_H

#include "base/progress.h"
#include "store/store.h"
#include "tasks/task.h"

/* The seed of splits and of the index choice in every program (simulate's truth, pretraining,
 * fine-tuning, evaluation): who is held out for one of them is held out for all of them. A run's
 * own --seed is for its draws and never moves a patient. */
enum { RZ_COHORT_SEED = 1, RZ_COHORT_DRAWS_MAX = 100 };

/* The seed of index draw 0 (the cohort's own), 1, 2, … */
static inline uint64_t rz_cohort_draw_seed(unsigned draw)
{
    return RZ_COHORT_SEED + 1000 * (uint64_t)draw;
}

/* Steps of the attrition table; a patient is counted at the last step passed by any claim day. */
#define RZ_ATTRITION_MAP(X)                                                                        \
    X(PATIENTS, "patients in the store")                                                           \
    X(CLAIM_DAY, "with a claim day from the drawn day on")                                         \
    X(FOLLOW_UP, "with the horizon inside the data")                                               \
    X(ALIVE, "alive at the index")                                                                 \
    X(NOT_RECORDED, "outcome not recorded before")                                                 \
    X(POPULATION, "in the population")                                                             \
    X(HISTORY, "with enough history")

typedef enum rz_attrition_step {
#define RZ_ATTRITION_ENUM(id, text) RZ_ATTRITION_##id,
    RZ_ATTRITION_MAP(RZ_ATTRITION_ENUM)
#undef RZ_ATTRITION_ENUM
        RZ_ATTRITION_COUNT
} rz_attrition_step;

const char *rz_attrition_text(rz_attrition_step step); /* borrowed, static */

typedef struct rz_cohort_member {
    rz_patient_key patient;
    uint64_t hash; /* of the patient */
    int32_t index_day;
    int32_t outcome_day; /* RZ_DAY_NONE for a negative */
    bool label;
    bool own; /* of draw 0: the day that stands for the patient where patients are counted */
    rz_split split;
    rz_sex sex;
    float age_years;  /* at the index; NaN when the birth day is unknown */
    int32_t facility; /* that of the index day's claim, as claim days number it */
} rz_cohort_member;

typedef struct rz_cohort {
    rz_cohort_member *members; /* owned, in the order of patient keys, then of draws */
    size_t n, capacity;
    /* Of draw 0 alone, and so of patients: */
    uint64_t passed[RZ_ATTRITION_COUNT];      /* how many passed each step */
    uint64_t positives, died_without_outcome; /* within the horizon */
} rz_cohort;

/* The patients that draw 0 made members. */
static inline uint64_t rz_cohort_patients(const rz_cohort *cohort)
{
    return cohort->passed[RZ_ATTRITION_COUNT - 1];
}

/* The index day of one patient; false when none is eligible.
 * latest_days  the day is drawn from the latest so many that have a whole horizon in the data, for
 *              those who ask about the present; 0 = from all of the record
 * passed       the last step that some claim day passed */
bool rz_cohort_index(const rz_task *task, const rz_timeline *timeline, const rz_claim_day *days,
                     size_t n_days, int32_t latest_days, uint64_t seed, int32_t *index_day,
                     rz_attrition_step *passed);

/* Adds one patient by one draw. Draw 0 comes first and counts the attrition whether or not it makes
 * a member; a later one adds a day that none before it gave. */
RZ_MUST_CHECK rz_status rz_cohort_add(rz_cohort *cohort, const rz_task *task,
                                      const rz_timeline *timeline, const rz_claim_day *days,
                                      size_t n_days, unsigned draw, rz_error *error);

typedef struct rz_cohort_options {
    const rz_facilities *facilities; /* whose patients; NULL for all */
    unsigned draws;                  /* index days asked for; 0 counts as 1 */
    /* Who is asked for more than the first; NULL: everyone. */
    bool (*again)(const void *context, uint64_t patient_hash);
    const void *context;
} rz_cohort_options;

/* The cohorts of several tasks in one pass over the store; zeroed on entry, freed by the caller. An
 * empty cohort is a result, not an error.
 * Errors  those of the store and of rz_store_check_facilities. */
RZ_MUST_CHECK rz_status rz_cohort_build(rz_store *store, const rz_task *tasks, size_t n_tasks,
                                        const rz_cohort_options *options,
                                        const rz_progress *progress, rz_cohort *out,
                                        rz_error *error);
void rz_cohort_done(rz_cohort *cohort);

/* The attrition table as JSON: [{"step": text, "patients": n}, …]; new. */
json_t *rz_cohort_attrition_json(const rz_cohort *cohort);

#endif
