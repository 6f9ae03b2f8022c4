/* How good a model is within groups of its patients: by sex, by age band and by hospital, because a
 * model that is right on average can be wrong for some. Measured from the same scores and with the
 * same figures as the whole; intervals are bootstraps of the group's own patients. */
#ifndef RZ_METRICS_SUBGROUPS_H
#define RZ_METRICS_SUBGROUPS_H

#include "metrics/metrics.h"

/* Groups with fewer rows with or without the outcome are counted and not measured. */
enum { RZ_SUBGROUP_OUTCOMES = 10, RZ_SUBGROUP_NAME = 128 };

typedef enum rz_subgroup_by {
    RZ_SUBGROUP_SEX,
    RZ_SUBGROUP_AGE,
    RZ_SUBGROUP_HOSPITAL,
    RZ_SUBGROUP_BY_COUNT
} rz_subgroup_by;

const char *rz_subgroup_by_name(rz_subgroup_by by); /* "sex", "age", "hospital"; static */

/* Scores and what tells the groups apart, by rows; borrowed. */
typedef struct rz_subgroup_rows {
    size_t n;
    const double *probability;
    const uint8_t *label;
    const uint32_t *patient; /* [n], may be NULL, as in metrics.h */
    /* [n] into names, or n_names: not known; NULL: no groups of this kind */
    const uint32_t *key[RZ_SUBGROUP_BY_COUNT];
    const char *const *names[RZ_SUBGROUP_BY_COUNT]; /* [n_names] */
    size_t n_names[RZ_SUBGROUP_BY_COUNT];
} rz_subgroup_rows;

typedef struct rz_subgroup {
    rz_subgroup_by by;
    char name[RZ_SUBGROUP_NAME]; /* "unknown" where the row did not say */
    size_t n, positives;
    bool measured; /* false: too few outcomes, and `metrics` is of no meaning */
    rz_metrics metrics;
} rz_subgroup;

typedef struct rz_subgroups {
    rz_subgroup *group; /* [n] owned; sex, then age, then hospitals; none without a patient. Age in
                           its order, hospitals from the largest to the smallest */
    size_t n;
} rz_subgroups;

/* Errors  RZ_E_NO_MEMORY; RZ_E_RANGE as rz_metrics_compute. */
RZ_MUST_CHECK rz_status rz_subgroups_measure(const rz_subgroup_rows *rows, unsigned n_bootstraps,
                                             uint64_t seed, rz_subgroups *out, rz_error *error);
void rz_subgroups_done(rz_subgroups *groups); /* accepts a zeroed one */

#endif
