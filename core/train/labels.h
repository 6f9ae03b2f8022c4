/* Labels: what fine-tuning learns from. A row is a patient on an index day; each task that has
 * this patient at this day puts its label there, the others leave NaN. */
#ifndef RZ_TRAIN_LABELS_H
#define RZ_TRAIN_LABELS_H

#include "tasks/cohort.h"
#include "train/dataset.h"
#include "train/split.h"

enum {
    RZ_PART_NONE = 255,   /* a label that this run does not use */
    RZ_PART_AGAIN = 254,  /* a tuning patient on a further day: watched and calibrated on, but not
                             counted among patients, each of whom counts once */
    RZ_CROSSFIT_PARTS = 4 /* of drawn labels, see crossfit.h */
};

typedef struct rz_label_row {
    uint32_t patient; /* in the dataset */
    int32_t index_day;
    uint64_t hash;
    rz_split split;
    rz_sex sex;
    float age_years;       /* NaN when unknown */
    uint8_t crossfit_part; /* of drawn labels, by patient: see crossfit.h */
} rz_label_row;

typedef struct rz_labels {
    size_t n_tasks, n_rows, capacity;
    bool drawn;                      /* by one of the two below: there is no tuning part */
    rz_label_row *rows;              /* owned; in the order of the dataset */
    float *label;                    /* [n_rows, n_tasks] 0, 1 or NaN */
    uint8_t *part;                   /* [n_rows, n_tasks] rz_split, or one of the above */
    rz_cohort cohorts[RZ_TASKS_MAX]; /* attrition, and all members whether used or not */
} rz_labels;

/* Labels of all patients that are not held out, in one pass.
 *   draws  index days that a patient is asked about; the first is the cohort's. Incidence is low:
 *          one day each would show the outcome of few of those who ever have it, too few to learn
 *          from, and on the tuning part to know when to stop and to calibrate. */
RZ_MUST_CHECK rz_status rz_labels_build(rz_dataset *dataset, const rz_task *tasks, size_t n_tasks,
                                        rz_split_rule rule, unsigned draws, rz_labels *out,
                                        rz_error *error);
void rz_labels_done(rz_labels *labels); /* accepts a zeroed one */

/* How many of the labels that are drawn are positive: as they come; half; half, or where there are
 * not so many positives, all there are. */
typedef enum rz_label_mix { RZ_MIX_NATURAL, RZ_MIX_BALANCED, RZ_MIX_ENRICHED } rz_label_mix;

/* Keeps n labels of each task, the first by hash of the training split, mixed as asked for. All of
 * them are learnt from, all else is dropped: a run knows nothing but its own labels. Patients are
 * dealt to the parts of the cross-fitting, positives and negatives evenly. Errors  RZ_E_INVALID
 * when a task has fewer, naming it and the numbers. */
RZ_MUST_CHECK rz_status rz_labels_draw(rz_labels *labels, const rz_task *tasks, size_t n,
                                       rz_label_mix mix, uint64_t seed, rz_error *error);

/* Takes all labels of the training and tuning splits as labels to learn from, dealt likewise: for
 * records that are too small to give a part of them away. */
void rz_labels_crossfit(rz_labels *labels);

/* Is it a label of the tuning part, on whichever day? */
static inline bool rz_part_tunes(uint8_t part)
{
    return part == RZ_SPLIT_TUNING || part == RZ_PART_AGAIN;
}

typedef struct rz_label_counts {
    size_t n, positives;
} rz_label_counts;

rz_label_counts rz_labels_count(const rz_labels *labels, size_t task, rz_split part);

#endif
