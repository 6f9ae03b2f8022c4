/* Scores: the logits of all heads for labelled rows. */
#ifndef RZ_TRAIN_SCORE_H
#define RZ_TRAIN_SCORE_H

#include "base/progress.h"
#include "model/model.h"
#include "train/labels.h"

typedef struct rz_scored { /* the rows with a label in one part, in the order of the labels */
    size_t n;
    uint32_t *row;
    float *logit; /* [n, n_heads] */
    uint32_t *tokens, *unmapped;
} rz_scored;

/* Frees with rz_scored_done, also after a failure.
 *   again     the tuning part with its patients' further days (RZ_PART_AGAIN)
 *   progress  may be NULL
 * Errors  RZ_E_CANCELED, RZ_E_NO_MEMORY; those of the family's forward pass. */
RZ_MUST_CHECK rz_status rz_labels_score(const rz_model *model, rz_dataset *dataset,
                                        const rz_labels *labels, rz_split part, bool again,
                                        size_t part_tokens, const rz_progress *progress,
                                        rz_scored *out, rz_error *error);
void rz_scored_done(rz_scored *scored);

/* The forward pass of n of those rows: outputs in their order, borrowed until it returns; the
 * scratch is that of the pass. */
typedef rz_status rz_score_visit(void *context, const uint32_t *rows, size_t n,
                                 const rz_batch *batch, const rz_outputs *outputs,
                                 rz_scratch *scratch, rz_error *error);

/* Runs the rows with a label in one part through the model and shows each packed batch. */
RZ_MUST_CHECK rz_status rz_labels_visit(const rz_model *model, rz_dataset *dataset,
                                        const rz_labels *labels, rz_split part, bool again,
                                        size_t part_tokens, const rz_progress *progress,
                                        rz_score_visit *visit, void *context, rz_error *error);

#endif
