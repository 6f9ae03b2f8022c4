/* The statistics of a study: how well each arm ranks the patients of a task in one split, over its
 * seeds, and the differences between arms.
 *
 * An arm is what learns: the encoder at one size, pretrained or from scratch, or a baseline's
 * engine, in the grid or in one kind of transfer (whose contrasts study_transfer.h makes). A group
 * is one arm with one label count on one task: one measure a seed. Its figure is the mean over its
 * seeds. A resample draws patients with replacement, the same for all groups of a task, and seeds
 * with replacement, the same for all groups with equally many seeds; the group's figure is computed
 * again on both. Intervals are percentiles of the resampled figures, differences those of
 * differences within a resample, and so paired. models/STUDY.md has the formulas. */
#ifndef RZ_MODELS_STUDY_STATISTICS_H
#define RZ_MODELS_STUDY_STATISTICS_H

#include "base/pool.h"
#include "metrics/metrics.h"
#include "study_results.h"

/* The two figures, in the order of their weight. */
typedef enum study_figure { STUDY_PRECISION, STUDY_AUROC, STUDY_FIGURES } study_figure;

/* A figure and its resamples. */
typedef struct study_estimate {
    double value;
    double *resampled; /* [bootstraps] owned by the statistics */
} study_estimate;

typedef struct study_arm {
    int size, engine; /* place in the design; STUDY_NONE */
    study_init init;
    study_transfer transfer;
} study_arm;

typedef struct study_group {
    size_t task, labels; /* places in the design */
    study_arm arm;
    size_t n_seeds;
    const study_measure **measure; /* [n_seeds] by seed; the array is owned */
    study_estimate figure[STUDY_FIGURES], age_sex[STUDY_FIGURES];
    rz_interval interval[STUDY_FIGURES], age_sex_interval[STUDY_FIGURES];
} study_group;

typedef enum study_contrast_kind {
    STUDY_SIZES,         /* a larger size minus a smaller one, the same start and labels */
    STUDY_PRETRAINING,   /* pretrained minus from scratch, the same size and labels */
    STUDY_ONSETS,        /* all onsets at once minus pretrained for the task, the same size */
    STUDY_OVER_ENGINE,   /* encoder minus a baseline, the same labels */
    STUDY_OVER_AGE_SEX,  /* group minus age and sex alone, fitted on the same labels */
    STUDY_BELOW_TRUTH,   /* group minus the true risk as a score */
    STUDY_SHARE_OF_TRUTH /* group's figure by that of the true risk */
} study_contrast_kind;

typedef struct study_contrast {
    study_contrast_kind kind;
    size_t a, b; /* groups; b is SIZE_MAX where the kind alone says what is compared with */
    rz_interval interval[STUDY_FIGURES];
} study_contrast;

typedef struct study_statistics {
    unsigned bootstraps;
    uint64_t seed;
    size_t n_tasks, n_groups;
    study_group *groups; /* by task, labels, arm (sizes, pretrained first; then engines) */
    study_estimate (*truth)[STUDY_FIGURES];       /* [n_tasks]; NaN where it is not known */
    rz_interval (*truth_interval)[STUDY_FIGURES]; /* [n_tasks] */
    size_t n_contrasts, contrasts_capacity;
    study_contrast *contrasts;
    double *store; /* the resamples of all estimates, one block */
} study_statistics;

/* All figures of one split.
 *
 *   panels      [results->design.n_tasks], those of the split
 *   bootstraps  0 leaves the intervals NaN
 *   pool        may be NULL; a result never depends on it
 *
 * Errors  RZ_E_NO_MEMORY, RZ_E_CANCELED.
 * Cost    bootstraps · patients · different columns of scores, in each task. */
RZ_MUST_CHECK rz_status study_statistics_compute(const study_results *results,
                                                 const study_panel *panels, unsigned bootstraps,
                                                 uint64_t seed, rz_pool *pool,
                                                 const rz_progress *progress, study_statistics *out,
                                                 rz_error *error);
void study_statistics_done(study_statistics *statistics); /* accepts a zeroed one */

/* NULL where nothing was measured. */
const study_group *study_group_find(const study_statistics *s, size_t task, size_t labels,
                                    study_arm arm);
/* The lower end of the one-sided 95 % interval of a's figure minus b's; NaN without resamples. */
RZ_MUST_CHECK rz_status study_lower_bound(const study_statistics *s, const study_estimate *a,
                                          const study_estimate *b, double *out, rz_error *error);
/* a minus b, paired. */
RZ_MUST_CHECK rz_status study_difference(const study_statistics *s, const study_estimate *a,
                                         const study_estimate *b, rz_interval *out,
                                         rz_error *error);

#endif
