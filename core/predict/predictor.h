/* The predictor: a loaded checkpoint with its tasks and calibrations. Timelines in, risks out.
 *
 * tasks.json in the model's folder:
 *   {"format_version": 1, "tasks": [{"task": {definition}, "precision": "float32",
 *     "calibration": {…}, "age_sex": {"beta": [8]}, "metrics": {…},
 *     "reference": {"n": tuning patients, "tokens": theirs, "unmapped_share": of these,
 *       "score_deciles": [11], "score_shares": [10], "token_…": …, "age_…": …}}, …]}
 * Shares, ages and "tokens" are missing in files of 0.1.0. The file is missing where the model has
 * the onset head alone, which onset.json describes (onset.h). */
#ifndef RZ_PREDICT_PREDICTOR_H
#define RZ_PREDICT_PREDICTOR_H

#include "base/buffer.h"
#include "model/checkpoint.h"
#include "predict/onset.h"

enum { RZ_CONTRIBUTIONS_MAX = 8 };

/* What a model's folder says of one head. */
typedef struct rz_head {
    rz_task task;
    rz_precision precision; /* of the products that made the scores it is calibrated on */
    rz_calibration calibration;
    double age_sex_beta[RZ_AGE_SEX_FEATURES + 1];
    json_t *metrics;   /* owned; validation figures with intervals, shown as they are */
    json_t *reference; /* owned; distributions for drift */
} rz_head;

/* tasks.json in and out. `heads` holds RZ_HEADS_MAX; free each with rz_head_done. sha256: of the
 * bytes that were read; may be NULL. */
RZ_MUST_CHECK rz_status rz_heads_read(const char *folder, rz_head *heads, size_t *n,
                                      char sha256[RZ_SHA256_TEXT], rz_error *error);
RZ_MUST_CHECK rz_status rz_heads_write(const char *folder, const rz_head *heads, size_t n,
                                       rz_error *error);
void rz_head_done(rz_head *head);

/* One code of the history, by leaving out all of its events. */
typedef struct rz_contribution {
    rz_kind kind;
    rz_code_system system;
    char code[RZ_CODE_TEXT];
    int32_t first_day, last_day;
    uint32_t events;
    double logit_change; /* with minus without: > 0 speaks for the outcome … */
    double risk_change;  /* … and the same of the probability */
} rz_contribution;

typedef struct rz_risk {
    size_t head; /* index of the task within the predictor; of an onset: of the code */
    rz_eligibility eligibility;
    double probability, low, high;         /* NaN unless eligibility.reason is RZ_REASON_NONE */
    double logit;                          /* raw, before correction */
    uint32_t similar_n, similar_positives; /* of an onset: of the whole tuning part */
    double age_sex_average; /* risk of people of this age and sex in the training record */
    uint32_t tokens, unmapped, left_out; /* of the history, as the model reads it */
    size_t n_contributions;
    rz_contribution contributions[RZ_CONTRIBUTIONS_MAX]; /* the largest by absolute change */
} rz_risk;

typedef struct rz_predictor rz_predictor;

/* Loads and verifies a model folder with tasks.json or onset.json. pool is borrowed.
 * Errors  as rz_checkpoint_load; RZ_E_CORRUPT when these do not fit the heads. */
RZ_MUST_CHECK rz_status rz_predictor_open(const char *folder, rz_pool *pool, rz_predictor **out,
                                          rz_error *error);
void rz_predictor_close(rz_predictor *predictor); /* accepts NULL */

const rz_model *rz_predictor_model(const rz_predictor *predictor);    /* borrowed */
const char *rz_predictor_sha256(const rz_predictor *predictor);       /* of the weights */
const char *rz_predictor_tasks_sha256(const rz_predictor *predictor); /* of tasks.json, or "" */
const rz_checkpoint_origin *rz_predictor_origin(const rz_predictor *predictor); /* borrowed */
size_t rz_predictor_heads(const rz_predictor *predictor, const rz_head **out);  /* borrowed */
const rz_onset *
rz_predictor_onset(const rz_predictor *predictor); /* borrowed; NULL: no such head */

/* What one call took, and what it met; explanations are in the time, not in the counts. */
typedef struct rz_predict_figures {
    double tokenize_s;                  /* of the call's time: from timelines to packed batches */
    uint32_t unmapped[RZ_SYSTEM_COUNT]; /* events that the vocabulary lacks, by code system */
} rz_predict_figures;

/* Options of one call. */
typedef struct rz_predict_options {
    uint64_t heads;          /* bit i: answer head i; all bits set = all */
    unsigned explain;        /* contributions per risk, 0 … RZ_CONTRIBUTIONS_MAX */
    size_t batch_tokens_max; /* packed batches of at most so many tokens (at least one timeline) */
    rz_predict_figures *figures; /* out, written on success; may be NULL */
} rz_predict_options;

rz_predict_options rz_predict_options_defaults(void); /* all heads, none, 16384 */

/* Risks of n timelines at their as_of days: n x (number of heads asked for) rows in `out`, patient
 * by patient in the order of the heads. The same patient gets the same bytes alone or in any batch.
 * Threads  one call at a time per predictor. */
RZ_MUST_CHECK rz_status rz_predictor_risks(rz_predictor *predictor,
                                           const rz_timeline *const *timelines,
                                           const int32_t *as_of, size_t n,
                                           const rz_predict_options *options, rz_risk *out,
                                           rz_error *error);

/* An explained risk as it is kept with its score: what the model made of it (logit, counts of
 * tokens, contributions), as JSON that is exact to the last bit. The rest of a row follows from the
 * history and tasks.json. Appends to `out`. Errors  RZ_E_NO_MEMORY, RZ_E_TOO_LARGE. */
RZ_MUST_CHECK rz_status rz_risk_keep(const rz_risk *risk, rz_buffer *out, rz_error *error);

/* The row of one head as rz_predictor_risks gives it with all contributions, without the model:
 * from a kept text of the same history, day and predictor, or without one (NULL) where the patient
 * has no risk; token counts of such rows are 0. *complete: false when a text is missing.
 * Errors  RZ_E_CORRUPT for a text that was not written by rz_risk_keep.
 * Threads  safe, also while the predictor works. */
RZ_MUST_CHECK rz_status rz_predictor_recall(const rz_predictor *predictor, size_t head,
                                            const rz_timeline *timeline, int32_t as_of,
                                            const char *text, rz_risk *out, bool *complete,
                                            rz_error *error);

/* The contributions of a kept text alone, at most RZ_CONTRIBUTIONS_MAX in `out`, the largest first.
 * Errors  RZ_E_CORRUPT for a text that was not written by rz_risk_keep. Threads: safe. */
RZ_MUST_CHECK rz_status rz_kept_contributions(const char *text, rz_contribution *out, size_t *n,
                                              rz_error *error);

enum { RZ_ONSET_TOP_MAX = 100 };
#define RZ_ONSET_NONE SIZE_MAX /* as rz_risk.head: no code */

typedef struct rz_onset_query {
    const uint32_t *codes; /* [n_codes] by their place in the vocabulary */
    size_t n_codes;
    size_t top;       /* also the largest excess risks over age and sex, at most so many */
    unsigned explain; /* contributing codes of each risk, at most RZ_CONTRIBUTIONS_MAX; 0 = none */
} rz_onset_query;

/* Onset risks of n timelines: n x (n_codes + top) rows, patient by patient; the codes in the order
 * asked, then those with the largest probability - age_sex_average > 0, largest first; rows that no
 * code is left for have RZ_ONSET_NONE and the patient's eligibility.
 * Errors  RZ_E_INVALID without an onset head; RZ_E_RANGE for a code that is none.
 * Threads  one call at a time per predictor. */
RZ_MUST_CHECK rz_status rz_predictor_onsets(rz_predictor *predictor,
                                            const rz_timeline *const *timelines,
                                            const int32_t *as_of, size_t n,
                                            const rz_onset_query *query, size_t batch_tokens_max,
                                            rz_risk *out, rz_error *error);

#endif
