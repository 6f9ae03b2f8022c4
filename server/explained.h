/* Explanations that are kept with scores. What a stored patient's risks rest on is worked out once:
 * by the first question or, for the top of the worklists, in the background (scorer.h); it stands
 * in the score's row of the store, and answers without a model as long as that score holds
 * (history, day, model, tasks, calibration). */
#ifndef REZEPTD_EXPLAINED_H
#define REZEPTD_EXPLAINED_H

#include "plan.h"
#include "writer.h"

#include "store/scores.h"

/* What makes a head's scores; borrowed from the replica. */
rz_score_context explained_context(const replica *r, size_t head);

/* Fills the parts of a job of one patient whose risks are all kept; the patient was read before the
 * history that the job holds. What cannot be read counts as not kept. */
void explained_recall(server *s, rz_store *store, const rz_patient *patient, const plan *p,
                      predict_job *j);

/* Queues what part k of a finished job says of patient i, to be kept with the scores of this
 * version. The operation, one reference, or NULL where there is nothing to keep or no room in the
 * queue: it is worked out again when it is asked for. */
write_op *explained_keep(server *s, predict_job *j, size_t k, size_t i, int64_t version);

#endif
