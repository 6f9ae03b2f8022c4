/* Everything that a study's report says, before it is written. Private to the report. */
#ifndef RZ_MODELS_STUDY_FINDINGS_H
#define RZ_MODELS_STUDY_FINDINGS_H

#include "base/buffer.h"
#include "metrics/decision.h"
#include "metrics/truth.h"
#include "power_law.h"
#include "report/page.h"
#include "study_report.h"
#include "study_transfer.h"

/* What cells of one kind took together; a size's, or an engine's. NaN where a cell does not say. */
typedef struct study_cost {
    size_t cells;
    double seconds, cpu_seconds; /* sums */
    double peak_bytes;           /* the highest */
    double parameters;
} study_cost;

/* The chosen cell of a task on held_out. */
typedef struct study_check {
    bool made;
    size_t cell;
    rz_metrics metrics;
    bool truth_known;     /* of every patient */
    rz_truth truth;       /* of no meaning where it is not known */
    rz_subgroups groups;  /* none where the scores do not tell them */
    rz_decision decision; /* beside age and sex alone */
} study_check;

typedef struct study_findings {
    study_report_options options;
    study_results results;
    study_statistics tuning, held_out; /* the second empty unless it was opened */
    study_transfer_findings transfer;
    study_choice *choices; /* [n_tasks][n_labels] owned */
    study_choice *routed;  /* [n_tasks] owned: those at the most labels measured */
    study_check *checks;   /* [n_tasks] owned */
    power_law by_parameters;
    power_law by_tokens[STUDY_SIZES_MAX];
    study_cost pretrain[STUDY_SIZES_MAX], finetune[STUDY_SIZES_MAX][STUDY_INITS];
    study_cost baseline[STUDY_ENGINES_MAX];
    study_cost transfers[STUDY_TRANSFERS]; /* of what is not in the grid */
    size_t done, wanted;     /* fits: task, arm, label count and seed, of the whole grid */
    json_t *held_out_opened; /* when, oldest first; owned */
    json_t *cohorts;         /* cohorts.json (study_cohorts.c), NULL without it; owned */
} study_findings;

RZ_MUST_CHECK rz_status study_findings_make(const char *folder, const study_report_options *options,
                                            rz_pool *pool, const rz_progress *progress,
                                            study_findings *out, rz_error *error);
void study_findings_done(study_findings *findings); /* accepts a zeroed one */

/* The split that figures are shown on: held_out where it is open, else tuning. */
const study_statistics *study_shown(const study_findings *f);
const char *study_shown_name(const study_findings *f);

/* "11m pretrained", "11m from scratch", "11m all onsets", "xgboost". */
enum { STUDY_ARM_TEXT = 80 };
const char *study_arm_text(const study_design *design, study_arm arm, char out[STUDY_ARM_TEXT]);

json_t *study_report_json(const study_findings *f); /* new; NULL when memory is exhausted */
RZ_MUST_CHECK rz_status study_report_html(const study_findings *f, rz_buffer *out, rz_error *error);

/* Two parts of the page and one of report.json (study_trust.c): who was left out, and the models
 * that answer by subgroup and with their decision curves. */
void study_page_attrition(const study_findings *f, rz_page *p);
void study_page_groups(const study_findings *f, rz_page *p, rz_error *error);

/* The pictures, each added to the page (study_report_charts.c). */
void study_draw_pretraining(const study_findings *f, rz_page *p, rz_error *error);
void study_draw_sizes(const study_findings *f, size_t task, rz_page *p, rz_error *error);
void study_draw_labels(const study_findings *f, size_t task, rz_page *p, rz_error *error);
void study_draw_cost(const study_findings *f, size_t task, rz_page *p, rz_error *error);

#endif
