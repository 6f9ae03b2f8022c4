/* Tasks that are answered through the onset head, as a subject of evaluation. */
#ifndef RZ_MODELS_ONSET_SUBJECT_H
#define RZ_MODELS_ONSET_SUBJECT_H

#include "evaluate.h"
#include "onset_task.h"

typedef struct onset_subject {
    rz_predictor *predictor; /* borrowed */
    size_t n;
    rz_task *tasks;    /* [n], borrowed */
    onset_task *found; /* [n], owned: the same as codes */
    bool calibrated;
    rz_risk *risks; /* of one call of score; owned */
    size_t risks_capacity;
} onset_subject;

/* True when the task's horizon and history are those of the onset head. */
bool onset_subject_answers(const rz_task *task);

/* Finds the codes of each task.
 * Errors  RZ_E_INVALID for a model without the onset head, a task of another horizon or a shorter
 *         history, or one whose codes the vocabulary lacks, naming it. */
RZ_MUST_CHECK rz_status onset_subject_init(rz_predictor *predictor, rz_task *tasks, size_t n,
                                           onset_subject *out, rz_error *error);
void onset_subject_done(onset_subject *subject); /* accepts a zeroed one */

/* What evaluate asks; borrowed from the subject. */
evaluate_subject onset_subject_of(onset_subject *subject);

/* Calibrates on the tuning part, whose patients are asked for `draws` index days each, and fits age
 * and sex on the training part of `rule`, of the patients of `facilities` (NULL for all). */
RZ_MUST_CHECK rz_status onset_subject_calibrate(onset_subject *subject, rz_store *store,
                                                rz_split_rule rule, const rz_facilities *facilities,
                                                unsigned draws, uint64_t seed,
                                                const rz_progress *progress, rz_error *error);

/* Says in each task of the report how it was answered, and counts the positives among its patients
 * whose codes the vocabulary lacks. */
RZ_MUST_CHECK rz_status onset_subject_tell(const onset_subject *subject, rz_store *store,
                                           rz_report *report, rz_error *error);

#endif
