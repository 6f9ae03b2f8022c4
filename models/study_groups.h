/* Which subgroup each patient of a study is in, as score files tell in the columns sex, age_band
 * and facility. Files of versions before these columns say nothing. Private to the study. */
#ifndef RZ_MODELS_STUDY_GROUPS_H
#define RZ_MODELS_STUDY_GROUPS_H

#include "import/csv.h"
#include "metrics/subgroups.h"

typedef struct study_groups {
    uint32_t *key[RZ_SUBGROUP_BY_COUNT]; /* [n] owned; NULL: the files do not say */
    char **hospital;                     /* [n_hospitals] owned names */
    size_t n_hospitals, capacity, last;  /* last: the one found last */
} study_groups;

/* The three columns of a file; column[0] is -1 where it lacks one. */
void study_groups_columns(const rz_csv *csv, int column[RZ_SUBGROUP_BY_COUNT]);

/* Keys of the row just read; new hospitals are added to `names`.
 * Errors  RZ_E_FORMAT for a sex or an age band that is none; RZ_E_NO_MEMORY. */
RZ_MUST_CHECK rz_status study_groups_read(const rz_csv *csv, const int column[RZ_SUBGROUP_BY_COUNT],
                                          study_groups *names, uint32_t key[RZ_SUBGROUP_BY_COUNT],
                                          rz_error *error);

/* Room for the keys of n patients, and a copy of the names. */
RZ_MUST_CHECK rz_status study_groups_take(const study_groups *names, size_t n, study_groups *out,
                                          rz_error *error);
void study_groups_done(study_groups *groups); /* accepts a zeroed one */

/* Figures of the groups for these scores; none where the files do not say. */
RZ_MUST_CHECK rz_status study_groups_measure(const study_groups *groups, const double *probability,
                                             const uint8_t *label, const uint32_t *patient,
                                             size_t n, unsigned bootstraps, uint64_t seed,
                                             rz_subgroups *out, rz_error *error);

#endif
