/* What is written about a model for people and for other programs: sections of its card, and the
 * report of an evaluation as JSON and as a page that prints. Everything is self-contained text.
 *
 * Errors of all  RZ_E_NO_MEMORY, RZ_E_TOO_LARGE. */
#ifndef RZ_REPORT_REPORT_H
#define RZ_REPORT_REPORT_H

#include "base/buffer.h"
#include "metrics/decision.h"
#include "metrics/subgroups.h"
#include "metrics/truth.h"
#include "predict/predictor.h"
#include "tasks/cohort.h"

#define RZ_REPORT_NOTICE "Decision support for research use, not a diagnosis."

/* ---- the model card ------------------------------------------------------------------------ */

/* Sections of card.md without their headings, appended to `out`; the programs that train write the
 * others between them. Errors  those of the buffer. */
RZ_MUST_CHECK rz_status rz_card_use(rz_buffer *out); /* what it is for, and what not */
RZ_MUST_CHECK rz_status rz_card_outcomes(const rz_head *heads, size_t n_heads, rz_buffer *out);
RZ_MUST_CHECK rz_status rz_card_limits(rz_buffer *out);

/* ---- the report of an evaluation ----------------------------------------------------------- */

/* Against true risks, where a simulation knows them; over the matched rows only. */
typedef struct rz_report_truth {
    bool given;
    size_t matched;   /* rows whose true risk is known */
    size_t other_day; /* the truth knows them, but at another index day */
    size_t missing;   /* the truth does not know them for this task */
    rz_truth figures;
    rz_interval auroc, average_precision;   /* of the true risk as a score: the best reachable */
    rz_interval auroc_lost, precision_lost; /* truth minus model, paired */
} rz_report_truth;

/* One task of the model on one cohort. Arrays are owned, a row is a patient on an index day. */
typedef struct rz_report_task {
    rz_task task;
    rz_cohort cohort;                /* owned; all splits */
    size_t n, patients;              /* rows, and whose they are */
    const rz_cohort_member **member; /* [n], into the cohort */
    uint32_t *patient;               /* [n] as in metrics/metrics.h */
    double *probability, *age_sex;   /* [n] the model's risk, and by age and sex alone */
    double *truth;                   /* [n], NaN where unknown */
    uint8_t *label;                  /* [n] */
    rz_metrics model, baseline;
    rz_interval auroc_gain, precision_gain; /* model minus age and sex, paired */
    rz_subgroups groups;  /* of the model; owned, none where they were not asked for */
    rz_decision decision; /* model and age and sex alone; no points where it was not asked for */
    rz_report_truth against_truth;
    struct {
        bool given;                        /* the task was answered through the onset head */
        size_t codes;                      /* of the vocabulary that are its outcomes */
        size_t coarse;                     /* codes left out, as they hold more than its outcomes */
        size_t uncovered;                  /* positives by codes that the vocabulary lacks */
        size_t tuning_n, tuning_positives; /* that the combined risk is calibrated on */
        double slope, intercept;
    } onset;
} rz_report_task;

typedef struct rz_report {
    const char *model_name, *model_sha256, *tasks_sha256, *data_sha256; /* borrowed */
    const rz_model *model;                                              /* borrowed */
    const char *date, *split;              /* "held_out", "fold 2/5"; borrowed */
    rz_facilities facilities, learnt_from; /* whose patients; and whose the model had */
    unsigned bootstraps, draws;            /* resamples; index days that a patient was asked for */
    uint64_t seed;
    size_t n_tasks;
    rz_report_task *tasks; /* owned */
} rz_report;

void rz_report_done(rz_report *report); /* accepts a zeroed one */

/* What reports in JSON are made of; new, NULL when memory is exhausted. NaN becomes null. */
json_t *rz_number_json(double value);
json_t *rz_interval_json(const rz_interval *interval);
json_t *rz_metrics_json(const rz_metrics *metrics);
/* {"predicted_to_true": {"from", "to", "met"}, "slope": …}; met is null where there is no figure.
 */
json_t *rz_truth_goals_json(const rz_truth *truth);

/* Figures that do not exist are null and the task's "reason" says why; new. */
json_t *rz_report_json(const rz_report *report);
RZ_MUST_CHECK rz_status rz_report_html(const rz_report *report, rz_buffer *out, rz_error *error);

#endif
