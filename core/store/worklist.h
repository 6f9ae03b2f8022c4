/* The worklist: the highest risks of the score cache, of one task or of several, and what the whole
 * list counts. */
#ifndef RZ_STORE_WORKLIST_H
#define RZ_STORE_WORKLIST_H

#include "store/scores.h"

typedef enum rz_worklist_order {
    RZ_WORKLIST_EXCESS,     /* over the average for age and sex; scores without one come last */
    RZ_WORKLIST_PROBABILITY /* the risk itself */
} rz_worklist_order;

typedef struct rz_worklist_query {
    const char *const *tasks; /* [n_tasks] a row is a patient and one of them */
    size_t n_tasks;
    const char *facility; /* NULL for all */
    rz_worklist_order order;
    double min_probability; /* 0 for all */
    bool by_age;            /* only whole years at as_of from age_min to age_max; unknown is out */
    int age_min, age_max;
    size_t offset; /* rows to skip, for pages */
} rz_worklist_query;

typedef struct rz_worklist_row {
    rz_patient_key patient;
    char facility[128], id[128]; /* as stored */
    const char *task;            /* of the query's */
    rz_sex sex;
    int32_t birth_day;
    rz_score score;
    bool stale; /* the patient changed since */
    char model_hash[RZ_CONTEXT_TEXT];
    const char *explanation; /* kept with the score, in the arena; NULL when there is none */
} rz_worklist_row;

/* The highest risks, best first, at most `cap`. A facility that never sent a claim has none. */
RZ_MUST_CHECK rz_status rz_store_worklist(rz_store *store, const rz_worklist_query *query,
                                          rz_arena *arena, rz_worklist_row *out, size_t cap,
                                          size_t *n, rz_error *error);

#define RZ_WORKLIST_REASONS_MAX 8

typedef struct rz_worklist_counts {
    int64_t scored;   /* rows with a probability … */
    int64_t matching; /* … of them those that min_probability and the ages let through */
    int64_t unscored; /* the background has not come to them yet */
    int64_t left_out; /* with a reason instead of a probability */
    size_t n_reasons; /* that occur, in alphabetical order; they add up to left_out */
    struct {
        char reason[32];
        int64_t rows;
    } reasons[RZ_WORKLIST_REASONS_MAX];
    int64_t stale;                /* of scored and left_out: the patient changed since */
    int64_t oldest_at, newest_at; /* scored_at of fresh and stale ones; 0 without any */
} rz_worklist_counts;

/* What the list counts; order and offset do not matter.
 * Cost  a look at every score of these tasks. */
RZ_MUST_CHECK rz_status rz_store_worklist_count(rz_store *store, const rz_worklist_query *query,
                                                rz_worklist_counts *out, rz_error *error);

#endif
