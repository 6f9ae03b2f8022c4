/* What models of other facilities are worth at those that were held out: every figure on the same
 * patients of these. Private to the report. */
#ifndef RZ_MODELS_STUDY_TRANSFER_H
#define RZ_MODELS_STUDY_TRANSFER_H

#include "report/page.h"
#include "study_report.h"

/* One kind of transfer of a task, at one size or of one engine, with one label count. */
typedef struct transfer_row {
    const study_group *group; /* of the shown split; borrowed from the statistics */
    /* Its average precision minus another's, paired; NaN where there is none. Those of the held-out
     * facilities' own patients have as many labels: without labels of theirs, all. */
    rz_interval minus_zero_shot, minus_local, minus_engine; /* the first engine that was fitted */
    bool checked;       /* on held_out, which is where calibration can be seen */
    rz_metrics metrics; /* of the first seed's model */
} transfer_row;

typedef struct study_transfer_findings {
    bool open;                         /* held_out, which is then what is shown */
    study_statistics tuning, held_out; /* the second empty unless open */
    size_t n_rows;
    transfer_row *rows; /* owned; by task, size, kind and labels, then the engines */
} study_transfer_findings;

/* Empty where no cell of a transfer is finished.
 * Errors  RZ_E_NO_MEMORY, RZ_E_CANCELED. */
RZ_MUST_CHECK rz_status study_transfer_make(const study_results *results,
                                            const study_report_options *options, rz_pool *pool,
                                            const rz_progress *progress,
                                            study_transfer_findings *out, rz_error *error);
void study_transfer_done(study_transfer_findings *findings); /* accepts a zeroed one */

/* The split that is shown. */
const study_statistics *study_transfer_shown(const study_transfer_findings *f);

/* "zero-shot", "recalibrated", "fine-tuned, 100 labels", "local, all labels", "xgboost, …". */
enum { TRANSFER_TEXT = 96 };
const char *study_transfer_text(const study_design *design, const study_group *group,
                                char out[TRANSFER_TEXT]);

/* {"facilities", "split", "tasks", "rows"}; null where the study holds out no facility. New. */
json_t *study_transfer_json(const study_transfer_findings *f, const study_results *results);

/* The section of the page (study_transfer_html.c); nothing where no facility is held out. */
void study_transfer_html(const study_transfer_findings *f, const study_results *results,
                         unsigned bootstraps, rz_page *p, rz_error *error);

#endif
