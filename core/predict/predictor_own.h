/* What the predictor's files share. Private to core/predict. */
#ifndef RZ_PREDICT_PREDICTOR_OWN_H
#define RZ_PREDICT_PREDICTOR_OWN_H

#include "predict/predictor.h"

struct rz_predictor {
    rz_checkpoint checkpoint;
    rz_head *heads; /* [RZ_HEADS_MAX], n_heads used; the order of the model's heads */
    size_t n_heads;
    rz_onset onset; /* without codes where the model has no such head */
    rz_scratch *scratch;
    rz_batch batch;
    const rz_timeline **group; /* [group_capacity] the timelines of one packed batch … */
    int32_t *group_days;       /* … and their as_of days */
    size_t group_capacity;
    rz_predict_figures figures; /* of the call under way */
};

/* tasks.json from memory. */
RZ_MUST_CHECK rz_status heads_parse(const char *text, size_t length, rz_head *heads, size_t *n,
                                    rz_error *error);

/* onset.json from memory. */
RZ_MUST_CHECK rz_status onset_parse(const char *text, size_t length,
                                    const rz_vocabulary *vocabulary, rz_onset *out,
                                    rz_error *error);

/* How many timelines from `first` on fit into one batch; at least one. */
size_t predictor_group(const rz_model *model, const rz_timeline *const *timelines, size_t first,
                       size_t n, size_t tokens_max);

typedef struct history_counts { /* of one history */
    uint32_t tokens, unmapped, left_out;
} history_counts;

/* Logits [n, n_heads] and counts [n] of n timelines in packed batches of about `tokens_max` tokens.
 * Each output may be NULL; without logits nothing but the tokens is made, without counts the call's
 * figures count no events. */
RZ_MUST_CHECK rz_status predictor_run(rz_predictor *predictor, const rz_timeline *const *timelines,
                                      const int32_t *as_of, size_t n, size_t tokens_max,
                                      float *logits, history_counts *counts, rz_error *error);

/* A row before the model has run: whether it wants a risk; and the row from its logit. */
bool predictor_begin_row(const rz_predictor *predictor, size_t head, const rz_timeline *timeline,
                         int32_t as_of, rz_risk *risk);
void predictor_finish_row(const rz_predictor *predictor, double logit, rz_risk *risk);

/* Which logits a row's risk comes from: those of task heads or those of onsets. row.head is a place
 * among them. */
typedef struct explained_logits {
    size_t (*first)(const rz_predictor *predictor);  /* as rz_family.attribute counts logits */
    size_t (*stride)(const rz_predictor *predictor); /* floats of one timeline's logits */
    rz_status (*run)(rz_predictor *predictor, const rz_timeline *const *timelines,
                     const int32_t *as_of, size_t n, size_t tokens_max, float *logits,
                     rz_error *error); /* logits [n, stride] */
    void (*apply)(const rz_predictor *predictor, size_t head, double logit, rz_calibrated *out);
} explained_logits;

/* Fills the contributions, at most `limit`, of the rows of one patient that have a risk. */
RZ_MUST_CHECK rz_status predictor_explain(rz_predictor *predictor, const explained_logits *kind,
                                          const rz_timeline *timeline, int32_t as_of,
                                          unsigned limit, size_t tokens_max, rz_risk *rows,
                                          size_t n_rows, rz_error *error);

#endif
